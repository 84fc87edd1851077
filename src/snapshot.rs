//! Snapshots: the whole state at one place in the journal, in one file that is whole or is not used.
//!
//! A file is a row of frames, each with its checksum; the first says where in the journal the state was cut, the last that
//! nothing is missing. What the frames hold belongs to those whose state it is. A file is written beside and renamed when
//! it is on the disk, so that a crash leaves the one before.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{SNAPSHOT_FRAME_BYTES_MAX, SNAPSHOTS_KEPT};
use crate::storage::{Disk, DiskFile};

/// Newest format this build reads, and the one it writes.
const FORMAT: u16 = 1;
const MAGIC: &[u8; 8] = b"RFSNAP\r\n";
const ENDING: &str = "snap";
const UNFINISHED: &str = "part";
/// One frame: whose, how long as stored, how long as it was, checksum of what is stored and of all this.
const HEAD_BYTES: usize = 1 + 4 + 4 + 4;
/// Shorter frames are stored as they are.
const PACKED_BYTES_MIN: usize = 256;
const PACK_LEVEL: i32 = 1;

/// Whose state a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Cut = 1,
    Engine = 2,
    Calls = 3,
    End = 255,
}

impl Section {
    fn parse(code: u8) -> Option<Section> {
        [Section::Cut, Section::Engine, Section::Calls, Section::End].into_iter().find(|s| *s as u8 == code)
    }
}

/// Where in the journal the state was cut, and what is known of the journal there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The last record that the state contains.
    pub record: u64,
    /// Position of the event that comes next.
    pub next_position: u64,
    /// Highest `seq` by number of the gateway.
    pub ledger: Vec<(u32, u64)>,
    /// When it was taken, ms of the machine's clock.
    pub taken_at: i64,
    pub policy_version: String,
    /// Names of customers and gateways by their ids, for the day the journal's own are damaged.
    #[serde(default)]
    pub customers: Vec<String>,
    #[serde(default)]
    pub gateways: Vec<String>,
}

#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("cannot read snapshot `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("snapshot `{}`: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("snapshot `{}`: format {found} is newer than this build reads ({FORMAT})", path.display())]
    Newer { path: PathBuf, found: u16 },
}

/// One that is being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Disk,
    folder: PathBuf,
    file: DiskFile,
    temporary: PathBuf,
    finished: PathBuf,
    out: Vec<u8>,
    n_frames: u64,
    bytes: u64,
}

/// Written out at once.
const OUT_BYTES: usize = 1 << 20;

impl SnapshotWriter {
    pub fn create(disk: &Disk, folder: &Path, cut: &Cut) -> io::Result<SnapshotWriter> {
        disk.create_folder(folder)?;
        let finished = folder.join(format!("{:020}.{ENDING}", cut.record));
        let temporary = finished.with_extension(UNFINISHED);
        let mut writer = SnapshotWriter {
            file: disk.create(&temporary)?,
            disk: disk.clone(),
            folder: folder.to_owned(),
            temporary,
            finished,
            out: Vec::with_capacity(OUT_BYTES),
            n_frames: 0,
            bytes: 0,
        };
        writer.out.extend_from_slice(MAGIC);
        writer.out.extend_from_slice(&FORMAT.to_le_bytes());
        let cut = serde_json::to_vec(cut).map_err(io::Error::other)?;
        writer.frame(Section::Cut, &cut)?;
        Ok(writer)
    }

    /// Adds a piece of somebody's state, at most [`SNAPSHOT_FRAME_BYTES_MAX`].
    pub fn frame(&mut self, section: Section, bytes: &[u8]) -> io::Result<()> {
        let n_bytes = u32::try_from(bytes.len()).ok().filter(|n| *n as usize <= SNAPSHOT_FRAME_BYTES_MAX);
        let n_bytes = n_bytes.ok_or_else(|| io::Error::other("a piece of the state is too large for a snapshot"))?;
        let packed = match bytes.len() {
            PACKED_BYTES_MIN.. => Some(zstd::bulk::compress(bytes, PACK_LEVEL)?).filter(|p| p.len() < bytes.len()),
            _ => None,
        };
        let stored = packed.as_deref().unwrap_or(bytes);
        let head = head(section, stored, n_bytes, self.n_frames);
        self.out.extend_from_slice(&head);
        self.out.extend_from_slice(stored);
        self.n_frames += 1;
        if self.out.len() >= OUT_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(&self.out)?;
        self.bytes += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Puts it in its place, on the disk for good; its bytes. Older ones than those that are kept go.
    pub fn finish(mut self) -> io::Result<u64> {
        self.frame(Section::End, &[])?;
        self.write_out()?;
        self.file.sync()?;
        self.disk.rename(&self.temporary, &self.finished)?;
        self.disk.sync_folder(&self.folder)?;
        for (_, path) in list(&self.disk, &self.folder)?.into_iter().skip(SNAPSHOTS_KEPT) {
            self.disk.remove(&path)?;
        }
        Ok(self.bytes)
    }

    /// Takes away what was written so far.
    pub fn abandon(self) -> io::Result<()> {
        self.disk.remove(&self.temporary)
    }
}

/// The checksum also covers the frame's number: one that is missing or in another's place is found.
fn head(section: Section, stored: &[u8], n_bytes: u32, number: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[0] = section as u8;
    head[1..5].copy_from_slice(&(stored.len() as u32).to_le_bytes());
    head[5..9].copy_from_slice(&n_bytes.to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&number.to_le_bytes());
    checksum.update(&head[..9]);
    checksum.update(stored);
    head[9..].copy_from_slice(&checksum.finalize().to_le_bytes());
    head
}

/// Takes away what a crash left half-written.
pub fn clear(disk: &Disk, folder: &Path) -> io::Result<()> {
    for listed in disk.list(folder)? {
        let path = folder.join(&listed.name);
        if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

/// The snapshots of a folder, newest first, each with the last record it contains. What a crash left half-written is no
/// snapshot.
pub fn list(disk: &Disk, folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for listed in disk.list(folder)? {
        let path = folder.join(&listed.name);
        let is_snapshot = path.extension().is_some_and(|ending| ending == ENDING);
        let record = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        found.extend(record.filter(|_| is_snapshot).map(|record| (record, path)));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// One that is being read, frame by frame.
#[derive(Debug)]
pub struct SnapshotReader {
    path: PathBuf,
    file: BufReader<File>,
    n_frames: u64,
    stored: Vec<u8>,
    has_ended: bool,
}

impl SnapshotReader {
    pub fn open(disk: &Disk, path: &Path) -> Result<(SnapshotReader, Cut), SnapshotError> {
        let unreadable = |source| SnapshotError::Read { path: path.to_owned(), source };
        let file = BufReader::with_capacity(OUT_BYTES, disk.open(path).map_err(unreadable)?);
        let mut reader =
            SnapshotReader { path: path.to_owned(), file, n_frames: 0, stored: Vec::new(), has_ended: false };
        let mut start = [0; MAGIC.len() + 2];
        reader.fill(&mut start)?;
        let (magic, format) = start.split_at(MAGIC.len());
        if magic != MAGIC || format == [0, 0] {
            return Err(reader.damaged("is no snapshot, or its beginning is damaged"));
        }
        let format = u16::from_le_bytes([format[0], format[1]]);
        if format > FORMAT {
            return Err(SnapshotError::Newer { path: path.to_owned(), found: format });
        }
        match reader.next()? {
            Some((Section::Cut, bytes)) => {
                let cut = serde_json::from_slice(&bytes).map_err(|e| reader.damaged(&format!("its cut: {e}")))?;
                Ok((reader, cut))
            }
            _ => Err(reader.damaged("does not say where in the journal it was cut")),
        }
    }

    /// The next piece of state; `None` at the end of a whole snapshot.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which an iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<(Section, Vec<u8>)>, SnapshotError> {
        if self.has_ended {
            return Ok(None);
        }
        let mut head_bytes = [0; HEAD_BYTES];
        self.fill(&mut head_bytes)?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| head_bytes[at + i]));
        let (n_stored, n_bytes) = (word(1) as usize, word(5));
        let section = Section::parse(head_bytes[0]).filter(|_| n_stored <= SNAPSHOT_FRAME_BYTES_MAX);
        let section = section.ok_or_else(|| self.damaged(&format!("frame {}: no such frame", self.n_frames)))?;
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(n_stored, 0);
        self.fill(&mut stored)?;
        if head(section, &stored, n_bytes, self.n_frames) != head_bytes {
            return Err(self.damaged(&format!("frame {}: its checksum is wrong", self.n_frames)));
        }
        let bytes = if stored.len() == n_bytes as usize {
            stored.clone()
        } else {
            let limit = (n_bytes as usize).min(SNAPSHOT_FRAME_BYTES_MAX);
            let unpacked = zstd::bulk::decompress(&stored, limit);
            let unpacked = unpacked.ok().filter(|bytes| bytes.len() == n_bytes as usize);
            unpacked.ok_or_else(|| self.damaged(&format!("frame {}: cannot be unpacked", self.n_frames)))?
        };
        self.stored = stored;
        self.n_frames += 1;
        if section == Section::End {
            self.has_ended = true;
            let mut rest = [0; 1];
            return match self.file.read(&mut rest) {
                Ok(0) => Ok(None),
                _ => Err(self.damaged("goes on behind its end")),
            };
        }
        Ok(Some((section, bytes)))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.file.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(&format!("ends within frame {}", self.n_frames)),
            _ => SnapshotError::Read { path: self.path.clone(), source },
        })
    }

    fn damaged(&self, problem: &str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), problem: problem.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(record: u64) -> Cut {
        Cut {
            record,
            next_position: 7,
            ledger: vec![(1, 9)],
            taken_at: 1,
            policy_version: "v".to_owned(),
            ..Cut::default()
        }
    }

    fn write(folder: &Path, record: u64) -> PathBuf {
        let mut writer = SnapshotWriter::create(&Disk::real(), folder, &cut(record)).unwrap();
        writer.frame(Section::Engine, &vec![b'x'; 10_000]).unwrap();
        writer.frame(Section::Engine, b"").unwrap();
        writer.frame(Section::Calls, b"calls").unwrap();
        writer.finish().unwrap();
        folder.join(format!("{record:020}.snap"))
    }

    type Whole = (Cut, Vec<(Section, Vec<u8>)>);

    /// Reads to the end.
    fn read(path: &Path) -> Result<Whole, SnapshotError> {
        let (mut reader, cut) = SnapshotReader::open(&Disk::real(), path)?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
        Ok((cut, frames))
    }

    #[test]
    fn what_was_written_is_read_and_the_two_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        (1..=3).for_each(|record| drop(write(folder.path(), record)));
        drop(SnapshotWriter::create(&Disk::real(), folder.path(), &cut(4)).unwrap());
        clear(&Disk::real(), folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let kept: Vec<u64> =
            list(&Disk::real(), folder.path()).unwrap().into_iter().map(|(record, _)| record).collect();
        assert_eq!(kept, [3, 2]);
        let (cut, frames) = read(&folder.path().join("00000000000000000003.snap")).unwrap();
        assert_eq!(cut, self::cut(3));
        let engine = vec![b'x'; 10_000];
        assert_eq!(
            frames,
            [(Section::Engine, engine), (Section::Engine, Vec::new()), (Section::Calls, b"calls".to_vec())]
        );
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(write(folder.path(), 1)).unwrap();
        let path = folder.path().join("damaged.snap");
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(read(&path).is_err(), "cut to {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).unwrap();
            assert!(read(&path).is_err(), "bit {bit} flipped");
        }
        std::fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn a_newer_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[MAGIC.len()] = 2;
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.ends_with("format 2 is newer than this build reads (1)"), "{error}");
    }
}
