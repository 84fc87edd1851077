//! One process a data folder: a lock that goes with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io::{self, Write};
use std::path::Path;

const LOCK: &str = "lock";

/// Held as long as this value lives. The file stays behind; only the lock on it means something.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "the lock goes when the file is closed")] File);

impl FolderLock {
    /// Takes `lock` in the folder, which is created where it is missing; refused with a sentence where another process
    /// has it. The file names the process, for people.
    pub fn take(folder: &Path) -> io::Result<FolderLock> {
        FolderLock::take_as(folder, LOCK)
    }

    /// [`FolderLock::take`] by another name, where others read the folder.
    pub fn take_as(folder: &Path, name: &str) -> io::Result<FolderLock> {
        create_dir_all(folder)?;
        let path = folder.join(name);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = io::read_to_string(&file).unwrap_or_default();
                let holder = holder.trim();
                let who = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
                let text = format!("data folder {}: in use by {who}; stop it first", folder.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Who holds it is a courtesy: a full disk does not keep the service from starting.
        let told = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        drop(told);
        Ok(FolderLock(file))
    }
}

/// Who has the folder, as the holder wrote it; `None` where nobody has. Changes nothing.
pub fn holder_of(folder: &Path) -> io::Result<Option<String>> {
    let file = match File::open(folder.join(LOCK)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let holder = io::read_to_string(&file).unwrap_or_default();
            Ok(Some(holder.trim().to_owned()))
        }
        Err(TryLockError::Error(e)) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_in_use_is_refused_by_name_until_it_is_let_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        let lock = FolderLock::take(&data).expect("the first has it");
        let refused = FolderLock::take(&data).expect_err("the second has not");
        assert!(refused.to_string().contains(&format!("in use by process {}", std::process::id())), "{refused}");
        assert_eq!(holder_of(&data).expect("readable"), Some(std::process::id().to_string()));
        drop(lock);
        assert_eq!(holder_of(&data).expect("readable"), None);
        FolderLock::take(&data).expect("free again");
    }
}
