//! Copies and second names of files, and folders that nobody else may look into.

use std::fs::{DirBuilder, Permissions, hard_link, remove_dir, set_permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::Disk;

/// Copied at once: large enough that a disk is read in long runs.
const PIECE_BYTES: usize = 1 << 20;

impl Disk {
    /// Copies what `from` gives into a new file, which is on the disk for good on return. `each` sees every piece.
    /// More than `bytes_max` is an error. How many bytes there were.
    pub fn copy(&self, from: &mut dyn Read, to: &Path, bytes_max: u64, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut file = self.create(to)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let bytes = piece.get(..n).unwrap_or_default();
            if file.bytes() + n as u64 > bytes_max {
                let text = format!("file {}: longer than the {bytes_max} bytes it should have", to.display());
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
            each(bytes);
            file.write_all(bytes)?;
        }
        file.sync()?;
        Ok(file.bytes())
    }

    /// Gives a file that is never changed again a second name on the same disk.
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        hard_link(from, to)
    }

    /// A folder that others of this machine cannot look into, where there was none.
    pub fn create_private_folder(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)
    }

    /// Lets nobody but its owner read a file.
    pub fn make_private(&self, path: &Path) -> io::Result<()> {
        set_permissions(path, Permissions::from_mode(0o600))
    }

    /// Removes a folder and everything in it, one file at a time; what is a link is not followed. One that is missing
    /// is no mistake.
    pub fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let entries = match std::fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => self.remove_folder(&entry.path())?,
                false => self.remove(&entry.path())?,
            }
        }
        remove_dir(folder)
    }

    /// Makes durable the names of a folder and of all folders below it.
    pub fn sync_folders(&self, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.sync_folders(&entry.path())?;
            }
        }
        self.sync_folder(folder)
    }

    /// Every regular file below a folder, as its path below it, sorted. Links are passed over; more than `n_max` files
    /// are an error. A folder that is missing has none.
    pub fn list_below(&self, folder: &Path, n_max: usize) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(below) = folders.pop() {
            let entries = match std::fs::read_dir(folder.join(&below)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                let entry = entry?;
                // A file may go while the folder is listed.
                let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
                let path = if below.is_empty() { name } else { format!("{below}/{name}") };
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    found.push(path);
                }
                if found.len() + folders.len() > n_max {
                    let text = format!("folder {}: holds more than {n_max} files", folder.display());
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_private_and_never_longer_than_it_should_be() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::real();
        let inside = folder.path().join("inside");
        disk.create_private_folder(&inside).expect("creates");
        let mode = std::fs::metadata(&inside).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let bytes = vec![7; PIECE_BYTES + 5];
        let mut seen = 0;
        let copied = disk.copy(&mut bytes.as_slice(), &inside.join("a"), u64::MAX, |piece| seen += piece.len());
        assert_eq!((copied.expect("copies"), seen), (bytes.len() as u64, bytes.len()));
        assert_eq!(std::fs::read(inside.join("a")).expect("reads"), bytes);
        let refused = disk.copy(&mut bytes.as_slice(), &inside.join("b"), bytes.len() as u64 - 1, |_| {});
        assert_eq!(refused.expect_err("too long").kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_below_a_folder_is_listed_by_path_and_goes_with_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::real();
        let top = folder.path().join("top");
        disk.create_folder(&top.join("a/b")).expect("creates");
        for name in ["x", "a/y", "a/b/z"] {
            disk.replace_file(&top.join(name), |_| Ok(())).expect("writes");
        }
        let outside = folder.path().join("outside");
        disk.replace_file(&outside, |_| Ok(())).expect("writes");
        std::os::unix::fs::symlink(&outside, top.join("link")).expect("links");
        assert_eq!(disk.list_below(&top, 10).expect("lists"), ["a/b/z", "a/y", "x"]);
        assert_eq!(disk.list_below(&top.join("none"), 10).expect("lists"), [""; 0]);
        assert!(disk.list_below(&top, 2).is_err());
        disk.sync_folders(&top).expect("syncs");
        disk.remove_folder(&top).expect("removes");
        assert!(!top.exists() && outside.exists());
        disk.remove_folder(&top).expect("is gone already");
    }
}
