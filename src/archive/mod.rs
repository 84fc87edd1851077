//! The archive: every event with its verdict, in files that other tools read.
//!
//! Parquet, one folder for each customer, day and hour, written from the journal's records in rounds. A round is there
//! whole or not at all: its files are named by the [`manifest`](self) only when all of them are on the disk. What a
//! crash leaves is invisible to every reader and goes once its events are in the archive again, so that each event is
//! there exactly once. The archive never reads the journal and never decides when a round is due.

mod checked;
mod event;
#[cfg(test)]
mod forgetting_tests;
mod group;
mod manifest;
mod partition;
mod pseudonym;
mod read;
mod rewrite;
mod round;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod verify;

use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

pub use event::Told;
pub use manifest::{Entry, State};
pub use pseudonym::PseudonymKey;
pub use read::{Events, Parties, Query, Slice};
pub use rewrite::{Done, Erase, Retention};
pub use round::Round;
pub use verify::Finding;

use crate::storage::{self, Disk, FolderLock};
use manifest::Manifest;

/// The file of the key of pseudonyms, in the data folder beside the archive.
pub const KEY_FILE: &str = "archive-key";

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("archive file `{path}`")]
    File { path: PathBuf, source: ParquetError },
    #[error("archive `{path}`: {problem}")]
    Damaged { path: PathBuf, problem: String },
    #[error("archive `{0}`: there is no such folder")]
    Missing(PathBuf),
    #[error("archive: too many names of customers and gateways")]
    Names,
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> ArchiveError + 'a {
    move |source| ArchiveError::Io { action, path: path.to_owned(), source }
}

fn file_error(path: &Path) -> impl FnOnce(ParquetError) -> ArchiveError + '_ {
    move |source| ArchiveError::File { path: path.to_owned(), source }
}

fn damaged(path: &Path, problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged { path: path.to_owned(), problem: problem.into() }
}

/// What is in the folder beside the files of events. Tools that read folders of Parquet pass over names like these.
pub(crate) const MANIFEST: &str = "_manifest";
pub(crate) const LOCK: &str = "_lock";

/// An archive, open for reading or, by one process at a time, for writing.
#[derive(Debug)]
pub struct Archive {
    disk: Disk,
    folder: PathBuf,
    manifest: Manifest,
    /// Files that the manifest does not name: of rounds that were not finished, or replaced and not yet gone.
    leftovers: Vec<String>,
    /// Whether `leftovers` are all there are: not after a round that failed.
    is_whole: bool,
    /// Of whoever may change the archive.
    lock: Option<FolderLock>,
}

impl Archive {
    /// Opens an archive to be written, or begins one; removes what is known to be replaced.
    pub fn open(disk: &Disk, folder: &Path) -> Result<Archive, ArchiveError> {
        storage::create_folders(disk, folder).map_err(io_error("create", folder))?;
        let lock = FolderLock::take_as(folder, LOCK).map_err(io_error("lock", folder))?;
        let path = folder.join(MANIFEST);
        let files = files_below(folder)?;
        let manifest = match Manifest::read(&path)? {
            Some(manifest) => manifest,
            // The manifest is made before the first file: without it the files cannot be told from leftovers.
            None if files.iter().any(|file| file.ends_with(".parquet")) => {
                return Err(damaged(
                    &path,
                    "there are files but no manifest that names them; restore it from a backup",
                ));
            }
            None => Manifest::create(disk, &path)?,
        };
        disk.sync_folder(folder).map_err(io_error("sync", folder))?;
        let (disk, folder, leftovers) = (disk.clone(), folder.to_owned(), Vec::new());
        let mut archive = Archive { disk, folder, manifest, leftovers, is_whole: true, lock: Some(lock) };
        if archive.manifest.is_worn() {
            archive.manifest.renew(&archive.disk)?;
        }
        archive.find_leftovers(true)?;
        Ok(archive)
    }

    /// Opens an archive to be read, while another process may write it: what is there now is what is read.
    pub fn read(folder: &Path) -> Result<Archive, ArchiveError> {
        if !folder.is_dir() {
            return Err(ArchiveError::Missing(folder.to_owned()));
        }
        let path = folder.join(MANIFEST);
        let manifest = Manifest::read(&path)?.ok_or_else(|| damaged(&path, "there is no manifest here"))?;
        let (folder, leftovers) = (folder.to_owned(), Vec::new());
        Ok(Archive { disk: Disk::real(), folder, manifest, leftovers, is_whole: true, lock: None })
    }

    /// Whether a folder looks like an archive.
    pub fn is_at(folder: &Path) -> bool {
        folder.is_dir() && folder.join(MANIFEST).is_file()
    }

    /// The record at which the next round begins: all before it are archived.
    pub fn reached(&self) -> u64 {
        self.manifest.next[0]
    }

    /// The position at which the next round begins.
    pub fn next_position(&self) -> u64 {
        self.manifest.next[1]
    }

    /// Every file, in order of its path.
    pub fn files(&self) -> impl Iterator<Item = &Entry> {
        self.manifest.files.values()
    }

    /// Files that are no part of it: what a crash left, until a round has their events again.
    pub fn leftovers(&self) -> &[String] {
        &self.leftovers
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks for leftovers anew where `looks`, and removes those that can go.
    fn find_leftovers(&mut self, looks: bool) -> Result<(), ArchiveError> {
        if looks {
            self.leftovers = files_below(&self.folder)?;
        }
        let files = &self.manifest.files;
        self.leftovers.retain(|path| !files.contains_key(path));
        self.sweep()
    }

    /// Removes leftovers whose events are known to be archived, or were removed on purpose: all but those of a round
    /// that is still to be done again.
    fn sweep(&mut self) -> Result<(), ArchiveError> {
        let next = self.manifest.next[1];
        let is_done = |path: &str| match partition::positions(path) {
            Some((_, last)) => last < next,
            // What never got its name.
            None => path.ends_with(".tmp"),
        };
        let (done, kept) = std::mem::take(&mut self.leftovers).into_iter().partition(|path| is_done(path));
        self.leftovers = kept;
        let done: Vec<String> = done;
        for (i, path) in done.iter().enumerate() {
            let full = self.folder.join(path);
            if let Err(error) = storage::remove_if_there(&self.disk, &full) {
                self.leftovers.extend_from_slice(done.get(i..).unwrap_or_default());
                return Err(io_error("remove", &full)(error));
            }
            self.remove_empty_folders(&full);
        }
        Ok(())
    }

    /// The folders of an hour, a day and a customer go with their last file. One that stays is no harm.
    fn remove_empty_folders(&self, file: &Path) {
        for folder in file.ancestors().skip(1).take(3).take_while(|folder| *folder != self.folder) {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Every file in the folders of customers, by its path below the archive.
fn files_below(folder: &Path) -> Result<Vec<String>, ArchiveError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, below)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(io_error("read", &folder))? {
            let entry = entry.map_err(io_error("read", &folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().map_err(io_error("read", &folder))?.is_dir() {
                folders.push((entry.path(), format!("{below}{name}/")));
            } else if !below.is_empty() {
                found.push(format!("{below}{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}
