//! Which journal this is: made at the first start, found again ever after, in a file of its own or in any segment.

use std::io::{self, Write};
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use super::bytes::Bytes;
use super::frame::{self, FrameKind, Header, Step, step};
use super::segment::{Identity, decode_identity, encode_identity, segments};
use crate::limits::JOURNAL_SEGMENT_READ_BYTES_MAX;
use crate::storage::Disk;

const FILE: &str = "identity";
/// The one frame has some 70; more is something else.
const FILE_BYTES_MAX: u64 = 4096;

impl Identity {
    /// That of the journal in the folder, which is created where it is missing. A new one is made only where there is
    /// no segment that names one; the file is written again where it was gone or damaged.
    pub fn open(disk: &Disk, folder: &Path) -> io::Result<Identity> {
        disk.create_folder(folder)?;
        let path = folder.join(FILE);
        let read = match disk.read(&path, FILE_BYTES_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) if e.kind() == io::ErrorKind::FileTooLarge => None,
            other => Some(other?),
        };
        if let Some((identity, true)) = read.as_deref().and_then(identity_of) {
            return Ok(identity);
        }
        let known = match read.as_deref().and_then(identity_of) {
            Some((mended, _)) => Some(mended),
            None => identity_of_segments(disk, folder)?,
        };
        let identity = match known {
            Some(identity) => identity,
            None => new_identity()?,
        };
        let mut payload = Vec::new();
        encode_identity(&identity, &mut payload);
        let header = Header { kind: FrameKind::Identity, n_events: 0, number: 0, position: 0, n_uncommitted: 0 };
        let mut bytes = Vec::new();
        frame::append(&header, &mut bytes, &payload);
        disk.replace_file(&path, |file| file.write_all(&bytes))?;
        Ok(identity)
    }
}

/// What the first frame names, and whether it needed no mending.
fn identity_of(bytes: &[u8]) -> Option<(Identity, bool)> {
    let Step::Frame(frame) = step(bytes, 0) else { return None };
    let is_named = matches!(frame.header.kind, FrameKind::Identity | FrameKind::Opening);
    let identity = decode_identity(&mut Bytes::new(&frame.payload))?;
    is_named.then_some((identity, frame.n_mended == 0))
}

fn identity_of_segments(disk: &Disk, folder: &Path) -> io::Result<Option<Identity>> {
    for segment in segments(disk, folder)? {
        let bytes = disk.read(&segment.path, JOURNAL_SEGMENT_READ_BYTES_MAX)?;
        if let Some((identity, _)) = identity_of(&bytes) {
            return Ok(Some(identity));
        }
    }
    Ok(None)
}

fn new_identity() -> io::Result<Identity> {
    let mut random = [0; 24];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    decode_identity(&mut Bytes::new(&random)).ok_or_else(|| io::Error::other("too few random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_whatever_becomes_of_its_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (disk, path) = (Disk::real(), folder.path().join(FILE));
        let open = || Identity::open(&disk, folder.path()).expect("opens");
        let first = open();
        assert_eq!(open(), first);
        let whole = std::fs::read(&path).expect("reads");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).expect("writes");
            assert_eq!(open(), first, "bit {bit}");
            assert_eq!(std::fs::read(&path).expect("reads"), whole, "it is written anew");
        }
        let mut opening = Vec::new();
        encode_identity(&first, &mut opening);
        let mut segment = Vec::new();
        let header = Header { kind: FrameKind::Opening, n_events: 0, number: 9, position: 9, n_uncommitted: 0 };
        frame::append(&header, &mut segment, &opening);
        std::fs::write(super::super::segment::path(folder.path(), 9), segment).expect("writes");
        for damaged in [&b""[..], &whole[..whole.len() / 2], &[0; 5000]] {
            std::fs::write(&path, damaged).expect("writes");
            assert_eq!(open(), first, "a segment knows it");
        }
        std::fs::remove_file(&path).expect("removes");
        assert_eq!(open(), first);
    }

    #[test]
    fn two_folders_are_two_journals() {
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        let [a, b] = folders.each_ref().map(|f| Identity::open(&Disk::real(), f.path()).expect("opens"));
        assert_ne!(a, b);
    }
}
