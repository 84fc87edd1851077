//! The disk, as those see it who must not lose anything: files that are created, written, made durable and renamed.
//!
//! A name is durable only once its folder is synced too; what replaces a file is written beside it first, so that a
//! crash leaves the old or the new one and never half of either.

use std::fs::{File, OpenOptions, create_dir_all, read_dir, remove_file, rename};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Faults, Operation};

/// A disk: the real one, or one that fails by plan. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    faults: Option<Arc<Faults>>,
}

/// A file open for writing at its end.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    faults: Option<Arc<Faults>>,
    bytes: u64,
    /// How much of it was there when it was last made durable; a planned fault of a sync loses the rest.
    durable_bytes: u64,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
}

impl Disk {
    pub fn real() -> Disk {
        Disk::default()
    }

    pub fn failing(faults: Arc<Faults>) -> Disk {
        Disk { faults: Some(faults) }
    }

    /// The real disk, or in builds for tests what `RINGFENCE_DISK_FAULTS` plans.
    pub fn from_environment() -> Disk {
        #[cfg(any(test, feature = "fuzzing"))]
        if let Some(faults) = std::env::var("RINGFENCE_DISK_FAULTS").ok().and_then(|plan| Faults::parse(&plan)) {
            return Disk::failing(Arc::new(faults));
        }
        Disk::real()
    }

    fn begin(&self, operation: Operation) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.begin(operation))
    }

    /// A new, empty file; one of that name is emptied.
    pub fn create(&self, path: &Path) -> io::Result<DiskFile> {
        self.begin(Operation::Create)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        Ok(DiskFile { file, faults: self.faults.clone(), bytes: 0, durable_bytes: 0 })
    }

    /// Goes on at the end of a file, which is created where it is missing.
    pub fn append(&self, path: &Path) -> io::Result<DiskFile> {
        self.begin(Operation::Create)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(DiskFile { file, faults: self.faults.clone(), bytes, durable_bytes: bytes })
    }

    /// The whole of a file of up to so many bytes; a longer one is an error, not a surprise in memory.
    pub fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.begin(Operation::Read)?;
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        if bytes > bytes_max {
            let text = format!("file {}: has {bytes} bytes, but at most {bytes_max} are read", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let mut read = Vec::with_capacity(bytes as usize);
        (&file).take(bytes_max).read_to_end(&mut read)?;
        Ok(read)
    }

    /// For reading where one likes; faults do not come in between.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.begin(Operation::Read)?;
        File::open(path)
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::Remove)?;
        remove_file(path)
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Operation::Rename)?;
        rename(from, to)
    }

    /// Cuts a file that is not open, durably.
    pub fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.begin(Operation::Truncate)?;
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        self.begin(Operation::Sync)?;
        file.sync_all()
    }

    /// Makes the folder's names durable.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.begin(Operation::SyncFolder)?;
        File::open(folder)?.sync_all()
    }

    /// A folder with those above it; it is there durably when this returns.
    pub fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        create_dir_all(folder)?;
        match folder.parent() {
            Some(above) if !above.as_os_str().is_empty() => self.sync_folder(above),
            _ => self.sync_folder(Path::new(".")),
        }
    }

    /// The files of a folder by name; a folder that is missing has none.
    pub fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let entries = match read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A file may go while the folder is listed.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                found.push(Listed { name, bytes: metadata.len() });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Puts a file in the place of another, or where there was none: whoever looks finds the old one or the new one,
    /// whole, also after a crash. `write` fills it.
    pub fn replace_file(&self, path: &Path, write: impl FnOnce(&mut DiskFile) -> io::Result<()>) -> io::Result<()> {
        let beside = beside(path);
        let result = self.write_beside(&beside, write).and_then(|()| self.rename(&beside, path));
        if let Err(e) = result {
            // What is left of it is of no use; the next attempt empties it if this fails too.
            drop(remove_file(&beside));
            return Err(e);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.sync_folder(folder)
    }

    fn write_beside(&self, path: &Path, write: impl FnOnce(&mut DiskFile) -> io::Result<()>) -> io::Result<()> {
        let mut file = self.create(path)?;
        write(&mut file)?;
        file.sync()
    }

    /// Bytes that are free for this process on the disk of a folder.
    pub fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// Name of what is written before it takes the place of `path`: in the same folder, since a rename does not cross disks.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    PathBuf::from(name)
}

impl DiskFile {
    /// Bytes in it, with those that are not durable yet.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes durable what was written: the contents and the length.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(faults) = &self.faults
            && let Err(e) = faults.begin(Operation::Sync)
        {
            self.forget()?;
            return Err(e);
        }
        self.file.sync_data()?;
        self.durable_bytes = self.bytes;
        Ok(())
    }

    /// Cuts what is behind `bytes`.
    pub fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.begin(Operation::Truncate))?;
        self.file.set_len(bytes)?;
        self.bytes = self.file.seek(SeekFrom::Start(bytes))?;
        self.durable_bytes = self.durable_bytes.min(bytes);
        Ok(())
    }

    /// What a kernel does with pages it could not write: they are gone, whatever is written after them.
    fn forget(&mut self) -> io::Result<()> {
        self.file.set_len(self.durable_bytes)?;
        self.file.set_len(self.bytes)
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut allowed = bytes;
        if let Some(faults) = &self.faults {
            if let Err(e) = faults.begin(Operation::Write) {
                let torn = self.file.write(bytes.get(..bytes.len() / 2).unwrap_or(bytes))?;
                self.bytes += torn as u64;
                return Err(e);
            }
            let n = faults.allowance(bytes.len())?;
            allowed = bytes.get(..n).unwrap_or(bytes);
        }
        let n = self.file.write(allowed)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(disk: &Disk, path: &Path, text: &str) -> io::Result<()> {
        disk.replace_file(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one_whatever_fails() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep").join("x");
        Disk::real().create_folder(&folder.path().join("deep")).expect("created");
        for k in 1..20 {
            replace(&Disk::real(), &path, "old").expect("no faults");
            let faults = Arc::new(Faults::default());
            faults.fail(None, k, 1);
            faults.set_write_bytes_max(Some(2));
            let outcome = replace(&Disk::failing(Arc::clone(&faults)), &path, "newer");
            let text = std::fs::read_to_string(&path).expect("there is always one");
            let n_synced = faults.n_begun_of(Operation::SyncFolder);
            assert_eq!(text, if n_synced > 0 { "newer" } else { "old" }, "fault {k}");
            assert_eq!(outcome.is_ok(), faults.n_begun() < k, "fault {k}");
            assert_eq!(Disk::real().list(path.parent().expect("it has one")).expect("lists").len(), 1);
            if outcome.is_ok() {
                return;
            }
        }
        panic!("more operations than thought");
    }

    #[test]
    fn a_disk_without_room_takes_what_fits_and_goes_on_when_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let faults = Arc::new(Faults::default());
        let disk = Disk::failing(Arc::clone(&faults));
        let mut file = disk.append(&folder.path().join("log")).expect("opens");
        faults.set_room(Some(4));
        let full = file.write_all(b"seven b").expect_err("there is no room");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.bytes(), 4);
        file.truncate(0).expect("cuts");
        faults.set_room(None);
        file.write_all(b"seven b").expect("there is room again");
        assert_eq!(disk.read(&folder.path().join("log"), 7).expect("reads"), b"seven b");
        let long = disk.read(&folder.path().join("log"), 6).expect_err("too long");
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
        assert!(disk.free_bytes(folder.path()).expect("a disk has a size") > 0);
    }

    #[test]
    fn a_failed_sync_loses_what_was_written_since_the_last_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let faults = Arc::new(Faults::default());
        let disk = Disk::failing(Arc::clone(&faults));
        let mut file = disk.create(&folder.path().join("x")).expect("creates");
        file.write_all(b"kept").and_then(|()| file.sync()).expect("durable");
        faults.fail(Some(Operation::Sync), 2, 1);
        file.write_all(b"lost").expect("written");
        assert!(file.sync().is_err());
        assert_eq!(disk.read(&folder.path().join("x"), 100).expect("reads"), b"kept\0\0\0\0");
    }
}
