//! Files of the journal and the snapshots, held open: what is open can be read to its end, even when its name has gone.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::journal;
use crate::limits::BACKUP_TRIES_MAX;
use crate::snapshot;
use crate::storage::Disk;

/// An open file and how long it was when it was opened; what is added later is not read.
#[derive(Debug)]
pub(super) struct Pinned {
    /// The number in its name.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    file: File,
    bytes: u64,
}

impl Pinned {
    fn open(number: u64, path: PathBuf) -> io::Result<Pinned> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Pinned { number, path, file, bytes })
    }

    pub(super) fn read(&self) -> impl Read {
        (&self.file).take(self.bytes)
    }
}

/// The snapshots, newest first.
pub(super) fn snapshots(disk: &Disk, folder: &Path) -> io::Result<Vec<Pinned>> {
    pin(|| snapshot::list(disk, folder))
}

/// The segments, in order.
pub(super) fn segments(disk: &Disk, folder: &Path) -> io::Result<Vec<Pinned>> {
    pin(|| Ok(journal::segments(disk, folder)?.into_iter().map(|segment| (segment.first, segment.path)).collect()))
}

/// Opens all that is listed. Where one goes between the two, another came, and all is listed anew.
fn pin(list: impl Fn() -> io::Result<Vec<(u64, PathBuf)>>) -> io::Result<Vec<Pinned>> {
    let mut tries = 1;
    loop {
        let opened = list()?.into_iter().map(|(number, path)| Pinned::open(number, path)).collect();
        match opened {
            Err(e) if e.kind() == ErrorKind::NotFound && tries < BACKUP_TRIES_MAX => tries += 1,
            other => return other,
        }
    }
}
