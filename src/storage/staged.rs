//! Files that appear whole or not at all: written beside their place, synced, then renamed.
//!
//! Knows nothing of what the files hold. Every step that a disk can refuse goes through [`step`], so that a test can
//! let any of them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file under a name of its own until [`Staged::commit`] gives it its place. Dropped before that, it goes.
#[derive(Debug)]
pub struct Staged {
    file: File,
    path: PathBuf,
    is_committed: bool,
}

impl Staged {
    /// Begins, or begins anew, the file `path`.
    pub fn create(path: &Path) -> io::Result<Staged> {
        step()?;
        let file = File::create(path)?;
        Ok(Staged { file, path: path.to_owned(), is_committed: false })
    }

    /// What was written survives a loss of power, and stands at `path` of the same folder once that folder is synced.
    pub fn commit(mut self, path: &Path) -> io::Result<()> {
        step()?;
        self.file.sync_all()?;
        step()?;
        std::fs::rename(&self.path, path)?;
        self.is_committed = true;
        Ok(())
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = step() {
            // A disk that fills up, or a crash, takes a part.
            self.file.write_all(bytes.get(..bytes.len() / 2).unwrap_or(&[]))?;
            return Err(error);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_committed
            && let Err(error) = remove(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "a file that was not finished could not be removed");
        }
    }
}

/// A file that grows by whole pieces. A piece that could not be written and synced whole leaves nothing behind, as far
/// as the disk lets it be taken back; the reader has to tell a torn one.
#[derive(Debug)]
pub struct Appended {
    file: File,
    len: u64,
}

impl Appended {
    /// Goes on after the first `len` bytes; what stands behind them is cut off.
    pub fn open(path: &Path, len: u64) -> io::Result<Appended> {
        step()?;
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if file.metadata()?.len() > len {
            step()?;
            file.set_len(len)?;
        }
        Ok(Appended { file, len })
    }

    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let written = self.write(piece);
        match &written {
            Ok(()) => self.len += piece.len() as u64,
            Err(_) => {
                step()?;
                self.file.set_len(self.len)?;
            }
        }
        written
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Err(error) = step() {
            self.file.write_all(piece.get(..piece.len() / 2).unwrap_or(&[]))?;
            return Err(error);
        }
        self.file.write_all(piece)?;
        step()?;
        self.file.sync_data()
    }
}

/// Makes a folder and those above it, each known to the one that holds it.
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new(""));
    create_folders(above)?;
    step()?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    sync_folder(above)
}

/// What was made, renamed or removed in the folder stays so after a loss of power.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    step()?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Removes a file; one that is gone already is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    step()?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a folder if nothing is in it.
pub fn remove_empty_folder(path: &Path) -> io::Result<()> {
    step()?;
    match std::fs::remove_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
        other => other,
    }
}

/// Makes a file that only its owner can read, with `content`, unless it is there already.
pub fn create_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    step()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    sync_folder(path.parent().unwrap_or(Path::new("")))
}

/// A folder that one process at a time may change; it is free again when this goes.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// `None` where somebody else holds it.
    pub fn take(path: &Path) -> io::Result<Option<FolderLock>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FolderLock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(not(test))]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
fn step() -> io::Result<()> {
    faults::step()
}

/// The plan of a test: which step of this thread is the last that the disk does.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
        static TAKEN: Cell<u32> = const { Cell::new(0) };
    }

    /// After `n` more steps every one fails, as after a crash, until [`heal`].
    pub(crate) fn crash_after(n: u32) {
        LEFT.set(Some(n));
    }

    /// Steps taken since the last time.
    pub(crate) fn heal() -> u32 {
        LEFT.set(None);
        TAKEN.replace(0)
    }

    pub(crate) fn step() -> io::Result<()> {
        TAKEN.set(TAKEN.get() + 1);
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the disk is gone, as the test wants")),
            Some(n) => {
                LEFT.set(Some(n - 1));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_has_its_name_only_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, place) = (folder.path().join("x.tmp"), folder.path().join("x"));
        let mut file = Staged::create(&temporary).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(!temporary.exists() && !place.exists());
        let mut file = Staged::create(&temporary).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit(&place).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
    }

    #[test]
    fn a_piece_that_could_not_be_written_whole_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Appended::open(&path, 0).unwrap();
        log.append(b"one\n").unwrap();
        std::fs::write(&path, b"one\ntorn").unwrap();
        let mut log = Appended::open(&path, 4).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn one_holds_a_folder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FolderLock::take(&path).unwrap();
        assert!(held.is_some() && FolderLock::take(&path).unwrap().is_none());
        drop(held);
        assert!(FolderLock::take(&path).unwrap().is_some());
    }
}
