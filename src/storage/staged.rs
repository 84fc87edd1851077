//! Files that appear whole or not at all, many to a commit: written beside their place, synced, renamed; the folder is
//! synced once for all of them, by whoever knows when the last one is there.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile};

/// A file under a name of its own until [`Staged::commit`] gives it its place. Dropped before that, it goes.
#[derive(Debug)]
pub struct Staged {
    disk: Disk,
    file: DiskFile,
    path: PathBuf,
    is_committed: bool,
}

impl Staged {
    /// Begins, or begins anew, the file `path`.
    pub fn create(disk: &Disk, path: &Path) -> io::Result<Staged> {
        let file = disk.create(path)?;
        Ok(Staged { disk: disk.clone(), file, path: path.to_owned(), is_committed: false })
    }

    /// What was written survives a loss of power, and stands at `path` of the same folder once that folder is synced.
    pub fn commit(mut self, path: &Path) -> io::Result<()> {
        self.file.sync()?;
        self.disk.rename(&self.path, path)?;
        self.is_committed = true;
        Ok(())
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_committed
            && let Err(error) = self.disk.remove(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "a file that was not finished could not be removed");
        }
    }
}

/// Makes a folder and those above it, each known to the one that holds it.
pub fn create_folders(disk: &Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    create_folders(disk, path.parent().unwrap_or(Path::new("")))?;
    disk.create_folder(path)
}

/// Removes a file; one that is gone already is fine.
pub fn remove_if_there(disk: &Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a file that only its owner can read, with `content`; one that is there already is an error.
pub fn create_secret(disk: &Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    disk.sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_has_its_name_only_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, temporary, place) = (Disk::real(), folder.path().join("x.tmp"), folder.path().join("x"));
        let mut file = Staged::create(&disk, &temporary).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(!temporary.exists() && !place.exists());
        let mut file = Staged::create(&disk, &temporary).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit(&place).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
    }
}
