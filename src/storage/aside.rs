//! Files that cannot be used make room for new ones, and are kept for people to look at.

use std::fs::{File, rename};
use std::io;
use std::path::{Path, PathBuf};

/// Renames `x` to `x.damaged-1`, or the first number that is free, and with it the files beside it that have one of the
/// `endings` added to their name: `x-wal` becomes `x.damaged-1-wal`. Returns the new name of `x`.
pub fn set_aside(path: &Path, endings: &[&str]) -> io::Result<PathBuf> {
    let with = |path: &Path, ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let taken = |aside: &Path| aside.exists() || endings.iter().any(|e| with(aside, e).exists());
    let aside = (1..u32::MAX).map(|n| with(path, &format!(".damaged-{n}"))).find(|aside| !taken(aside));
    let aside = aside.ok_or(io::ErrorKind::AlreadyExists)?;
    for ending in endings.iter().chain(&[""]) {
        match rename(with(path, ending), with(&aside, ending)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    sync_folder_of(path)?;
    Ok(aside)
}

/// Gives a finished file the name it is known by, in place of whatever has it.
pub fn put_in_place(finished: &Path, path: &Path) -> io::Result<()> {
    File::open(finished)?.sync_all()?;
    rename(finished, path)?;
    sync_folder_of(path)
}

/// Names are as durable as the folder they stand in.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_keeps_its_companions_and_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        for n in 1..=2 {
            std::fs::write(&path, format!("body {n}")).unwrap();
            std::fs::write(folder.path().join("x.db-wal"), format!("log {n}")).unwrap();
            let aside = set_aside(&path, &["-wal", "-shm"]).unwrap();
            assert_eq!(aside, folder.path().join(format!("x.db.damaged-{n}")));
            assert_eq!(std::fs::read_to_string(&aside).unwrap(), format!("body {n}"));
            let log = std::fs::read_to_string(folder.path().join(format!("x.db.damaged-{n}-wal"))).unwrap();
            assert_eq!(log, format!("log {n}"));
            assert!(!path.exists());
        }
    }
}
