//! A file of lines that people and shippers read, kept small by giving way to the next.

use std::fs::{File, OpenOptions, create_dir_all, rename};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that grows by whole pieces and gives way to a new one at a size: `x`, then `x.1`, `x.2` and so on, the highest
/// number the oldest. Opening goes on where the last process stopped.
#[derive(Debug)]
pub struct RotatedFile {
    path: PathBuf,
    bytes_max: u64,
    n_kept: u32,
    file: File,
    bytes: u64,
    /// It ends with half a line: a process was killed or a disk was full in the middle of a write.
    is_torn: bool,
}

impl RotatedFile {
    /// `n_kept` old files are kept beside the current one.
    pub fn open(path: &Path, bytes_max: u64, n_kept: u32) -> io::Result<RotatedFile> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            create_dir_all(folder)?;
        }
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        let is_torn = file.metadata()?.is_file() && bytes > 0 && last_byte(path)? != b'\n';
        Ok(RotatedFile { path: path.to_owned(), bytes_max, n_kept, file, bytes, is_torn })
    }

    /// Appends a piece whole; a piece is never split between two files. Half a line before it stays a line of its own,
    /// which readers of lines skip, and takes no whole one with it.
    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + piece.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.bytes += 1;
        }
        self.is_torn = true;
        self.file.write_all(piece)?;
        self.is_torn = false;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for n in (0..self.n_kept).rev() {
            let (from, to) = (self.numbered(n), self.numbered(n + 1));
            match rename(&from, &to) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        if self.n_kept == 0 {
            self.file.set_len(0)?;
        }
        self.file = append_to(&self.path)?;
        (self.bytes, self.is_torn) = (0, false);
        Ok(())
    }

    fn numbered(&self, n: u32) -> PathBuf {
        if n == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_gives_way_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/violations.jsonl");
        let mut file = RotatedFile::open(&path, 10, 2).expect("opens");
        for piece in ["one-1\n", "two-2\n", "three-3\n", "four-4\n"] {
            file.append(piece.as_bytes()).expect("appends");
        }
        let read = |n: u32| std::fs::read_to_string(file.numbered(n)).ok();
        assert_eq!(read(0).as_deref(), Some("four-4\n"));
        assert_eq!(read(1).as_deref(), Some("three-3\n"));
        assert_eq!(read(2).as_deref(), Some("two-2\n"));
        assert_eq!(read(3), None);
    }

    #[test]
    fn opening_again_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("v.jsonl");
        for piece in ["a\n", "b\n"] {
            RotatedFile::open(&path, 100, 1).and_then(|mut f| f.append(piece.as_bytes())).expect("appends");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "a\nb\n");
    }

    #[test]
    fn half_a_line_of_a_process_that_was_killed_takes_no_whole_one_with_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("v.jsonl");
        std::fs::write(&path, "{}\n{\"id").expect("writes");
        let mut file = RotatedFile::open(&path, 100, 1).expect("opens");
        file.append(b"{1}\n").and_then(|()| file.append(b"{2}\n")).expect("appends");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "{}\n{\"id\n{1}\n{2}\n");
    }
}
