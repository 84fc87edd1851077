//! The archive's part of a backup: its manifest, and with it every file that this one names, while rounds are written and
//! old files go.
//!
//! Files are never changed, and go only after the manifest no longer names them. So what was listed between two readings of
//! one and the same manifest has all that it names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::archive::{LOCK, MANIFEST};
use crate::limits::{BACKUP_FILES_MAX, BACKUP_MANIFEST_BYTES_MAX};
use crate::storage::Disk;

/// Not before so many changes of the manifest, each during a pass that copied less than the one before, is it given up.
const PASSES_MAX: usize = 50;

pub(super) struct ArchiveCopy<'a> {
    disk: &'a Disk,
    from: PathBuf,
    to: PathBuf,
}

impl<'a> ArchiveCopy<'a> {
    pub(super) fn new(disk: &'a Disk, from: &Path, to: &Path) -> ArchiveCopy<'a> {
        ArchiveCopy { disk, from: from.to_owned(), to: to.to_owned() }
    }

    /// Brings the copy up to date. What is there already is not copied again.
    pub(super) fn catch_up(&self) -> io::Result<()> {
        let mut manifest = self.manifest()?;
        for _ in 0..PASSES_MAX {
            self.copy_files()?;
            let now = self.manifest()?;
            if now == manifest {
                return match manifest {
                    Some(bytes) => self.disk.replace_file(&self.to.join(MANIFEST), |file| file.write_all(&bytes)),
                    None => Ok(()),
                };
            }
            manifest = now;
        }
        Err(io::Error::other(format!("archive {}: changes faster than it can be copied", self.from.display())))
    }

    fn manifest(&self) -> io::Result<Option<Vec<u8>>> {
        match self.disk.read(&self.from.join(MANIFEST), BACKUP_MANIFEST_BYTES_MAX) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn copy_files(&self) -> io::Result<()> {
        let is_file = |path: &String| path.as_str() != MANIFEST && path.as_str() != LOCK && !is_unfinished(path);
        let there: BTreeSet<String> =
            self.disk.list_below(&self.from, BACKUP_FILES_MAX)?.into_iter().filter(is_file).collect();
        for path in &there {
            match self.copy_file(path) {
                // It was replaced meanwhile, and the manifest says so.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
        }
        for path in self.disk.list_below(&self.to, BACKUP_FILES_MAX)?.iter().filter(|path| is_file(path)) {
            if !there.contains(path) {
                self.disk.remove(&self.to.join(path))?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, path: &str) -> io::Result<()> {
        let (from, to) = (self.from.join(path), self.to.join(path));
        let mut file = File::open(&from)?;
        let there = file.metadata()?;
        match std::fs::metadata(&to) {
            Ok(copy) if copy.ino() == there.ino() && copy.dev() == there.dev() => return Ok(()),
            Ok(copy) if copy.len() == there.len() && copy.mtime() >= there.mtime() => return Ok(()),
            Ok(_) => self.disk.remove(&to)?,
            Err(_) => {}
        }
        if let Some(folder) = to.parent() {
            self.disk.create_folder(folder)?;
        }
        // Another disk, or one without links.
        if self.disk.link(&from, &to).is_err() {
            self.disk.copy(&mut file, &to, u64::MAX, |_| {})?;
        }
        Ok(())
    }
}

/// What is still being written.
fn is_unfinished(path: &str) -> bool {
    path.ends_with(".tmp") || path.ends_with(".new") || path.ends_with(".part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_what_the_manifest_names_after_any_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::real();
        let (from, to) = (folder.path().join("archive"), folder.path().join("copy"));
        let put = |path: &str, text: &str| {
            disk.create_folder(from.join(path).parent().expect("it has one")).expect("creates");
            disk.replace_file(&from.join(path), |file| file.write_all(text.as_bytes())).expect("writes");
        };
        disk.create_folder(&to).expect("creates");
        let copy = ArchiveCopy::new(&disk, &from, &to);
        copy.catch_up().expect("there is nothing");
        assert_eq!(disk.list_below(&to, 10).expect("lists"), [""; 0]);
        put("c/1.parquet", "one");
        put("c/2.parquet.tmp", "half");
        put(LOCK, "7");
        put(MANIFEST, "1\n");
        copy.catch_up().expect("copies");
        assert_eq!(disk.list_below(&to, 10).expect("lists"), [MANIFEST, "c/1.parquet"]);
        disk.remove(&from.join("c/1.parquet")).expect("removes");
        put("c/1-rewritten.parquet", "one");
        put(MANIFEST, "1\n2\n");
        copy.catch_up().expect("copies");
        assert_eq!(disk.list_below(&to, 10).expect("lists"), [MANIFEST, "c/1-rewritten.parquet"]);
        assert_eq!(std::fs::read_to_string(to.join(MANIFEST)).expect("reads"), "1\n2\n");
    }
}
