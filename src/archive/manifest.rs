//! The manifest: which files make up the archive, and up to where.
//!
//! A log of lines, each with its checksum and its number: a round appends one line, however many files the archive has,
//! where a file that is replaced would be written whole each time. What the manifest does not name is no part of the
//! archive. A last line that is torn was never committed; any other damage is an error, and nothing is thrown away
//! because of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checked::Sums;
use super::partition;
use super::{ArchiveError, damaged, io_error};
use crate::limits::ARCHIVE_MANIFEST_LINE_BYTES_MAX;
use crate::storage::{Disk, DiskFile};

const FORMAT: u32 = 1;

/// Lines are written anew, without what is gone, when so many times more files were named than are there.
const DEAD_TIMES_MAX: usize = 4;

/// What the numbers of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As they came.
    #[default]
    Clear,
    /// Keyed hashes of what they were.
    Pseudonymous,
    /// Gone.
    Erased,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Clear => "clear",
            State::Pseudonymous => "pseudonymous",
            State::Erased => "erased",
        }
    }
}

/// One file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the archive's folder.
    pub path: String,
    pub customer: String,
    /// Hours since 1970, UTC.
    pub hour: i64,
    /// Smallest and largest position.
    pub first: u64,
    pub last: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Smallest and largest event time, ms.
    pub from: i64,
    pub to: i64,
    pub state: State,
    /// How often it was written anew.
    pub generation: u32,
    pub(crate) sums: Sums,
}

/// As it stands in a line.
#[derive(Serialize, Deserialize)]
struct WireEntry {
    path: String,
    customer: String,
    hour: i64,
    positions: [u64; 2],
    rows: u64,
    bytes: u64,
    times: [i64; 2],
    #[serde(default)]
    state: State,
    #[serde(default)]
    generation: u32,
    crc32: String,
}

/// What a line says; what it does not say stays as it is.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
    /// Where the next round begins: record and position.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<[u64; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    add: Vec<WireEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remove: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
}

/// A change of the archive, whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Where the next round begins, after a round.
    pub(crate) next: Option<[u64; 2]>,
    pub(crate) add: Vec<Entry>,
    pub(crate) remove: Vec<String>,
    pub(crate) why: &'static str,
}

#[derive(Debug)]
pub(crate) struct Manifest {
    path: PathBuf,
    pub(crate) files: BTreeMap<String, Entry>,
    /// Record and position at which the next round begins.
    pub(crate) next: [u64; 2],
    lines: u64,
    /// Files ever named in the lines that are there.
    named: usize,
    /// Bytes of whole lines.
    len: u64,
    log: Option<DiskFile>,
}

impl Manifest {
    /// Of an archive that holds nothing.
    fn blank(path: &Path) -> Manifest {
        Manifest { path: path.to_owned(), files: BTreeMap::new(), next: [1, 1], lines: 0, named: 0, len: 0, log: None }
    }

    /// Reads what is there; `None` where there is no manifest.
    pub(crate) fn read(path: &Path) -> Result<Option<Manifest>, ArchiveError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io_error("open", path))?,
        };
        let mut manifest = Manifest::blank(path);
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limited = &mut (&mut reader).take(ARCHIVE_MANIFEST_LINE_BYTES_MAX);
            let n = limited.read_until(b'\n', &mut line).map_err(io_error("read", path))?;
            if n == 0 {
                break;
            }
            // A line without its end was never committed, unless something follows.
            if line.last() != Some(&b'\n') {
                if n as u64 >= ARCHIVE_MANIFEST_LINE_BYTES_MAX {
                    return Err(damaged(path, format!("line {} is too long", manifest.lines + 1)));
                }
                break;
            }
            manifest.take(&line)?;
            manifest.len += n as u64;
        }
        if manifest.lines == 0 {
            // Not even the first line came to be written, or it is gone.
            return Ok(None);
        }
        Ok(Some(manifest))
    }

    /// Begins an archive.
    pub(crate) fn create(disk: &Disk, path: &Path) -> Result<Manifest, ArchiveError> {
        let mut manifest = Manifest::blank(path);
        manifest.append(disk, Line { format: Some(FORMAT), next: Some([1, 1]), ..Line::default() })?;
        Ok(manifest)
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ArchiveError> {
        let n = self.lines + 1;
        let wrong = |problem: &str| damaged(&self.path, format!("line {n}: {problem}"));
        let text = std::str::from_utf8(line).ok().and_then(|line| line.trim_ascii_end().split_once(' '));
        let (sum, text) = text.ok_or_else(|| wrong("is no line of a manifest"))?;
        if u32::from_str_radix(sum, 16).ok() != Some(crc32fast::hash(text.as_bytes())) {
            return Err(wrong("checksum does not match"));
        }
        let line: Line = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        if line.n != n {
            return Err(wrong(&format!("it says it is line {}", line.n)));
        }
        match line.format {
            Some(format) if format > FORMAT => {
                return Err(wrong(&format!("format {format} is newer than this build reads ({FORMAT})")));
            }
            None if n == 1 => return Err(wrong("does not say which format it is")),
            _ => {}
        }
        let mut add = Vec::new();
        for wire in line.add {
            add.push(Entry::from_wire(wire).ok_or_else(|| wrong("names a file in a way that cannot be"))?);
        }
        self.apply(&Change { next: line.next, add, remove: line.remove, why: "" });
        self.lines = n;
        Ok(())
    }

    fn apply(&mut self, change: &Change) {
        for path in &change.remove {
            self.files.remove(path);
        }
        self.named += change.add.len();
        self.files.extend(change.add.iter().map(|entry| (entry.path.clone(), entry.clone())));
        self.next = change.next.unwrap_or(self.next);
    }

    /// Makes a change last. After an error it has not happened.
    pub(crate) fn commit(&mut self, disk: &Disk, change: &Change) -> Result<(), ArchiveError> {
        let line = Line {
            next: change.next,
            add: change.add.iter().map(Entry::to_wire).collect(),
            remove: change.remove.clone(),
            why: change.why.to_owned(),
            ..Line::default()
        };
        self.append(disk, line)?;
        self.apply(change);
        Ok(())
    }

    fn append(&mut self, disk: &Disk, mut line: Line) -> Result<(), ArchiveError> {
        line.n = self.lines + 1;
        let bytes = encode(&line);
        // The handle is kept only while it works: opening again cuts off what could not be taken back.
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.open_log(disk).map_err(io_error("open", &self.path))?,
        };
        if let Err(error) = log.write_all(&bytes).and_then(|()| log.sync()) {
            if log.truncate(self.len).and_then(|()| log.sync()).is_err() {
                tracing::debug!(path = %self.path.display(), "a line that was not committed stays until the next one");
            }
            return Err(io_error("write", &self.path)(error));
        }
        self.log = Some(log);
        self.lines += 1;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn open_log(&self, disk: &Disk) -> std::io::Result<DiskFile> {
        let mut log = disk.append(&self.path)?;
        if log.bytes() > self.len {
            log.truncate(self.len)?;
        }
        Ok(log)
    }

    /// Whether most of what the lines name is gone.
    pub(crate) fn is_worn(&self) -> bool {
        self.named > DEAD_TIMES_MAX * self.files.len().max(1024)
    }

    /// Writes the manifest anew, with what is there alone.
    pub(crate) fn renew(&mut self, disk: &Disk) -> Result<(), ArchiveError> {
        let (mut n, mut len) = (0, 0);
        let entries: Vec<&Entry> = self.files.values().collect();
        let head = Line { format: Some(FORMAT), next: Some(self.next), ..Line::default() };
        let lines = entries
            .chunks(1024)
            .map(|part| Line { add: part.iter().map(|entry| entry.to_wire()).collect(), ..Line::default() });
        let written = disk.replace_file(&self.path, |file| {
            std::iter::once(head).chain(lines).try_for_each(|mut line| {
                n += 1;
                line.n = n;
                let bytes = encode(&line);
                len += bytes.len() as u64;
                file.write_all(&bytes)
            })
        });
        self.log = None;
        written.map_err(io_error("replace", &self.path))?;
        (self.lines, self.len, self.named) = (n, len, self.files.len());
        Ok(())
    }
}

fn encode(line: &Line) -> Vec<u8> {
    let text = serde_json::to_string(line).expect("plain values always serialise");
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

impl Entry {
    fn to_wire(&self) -> WireEntry {
        WireEntry {
            path: self.path.clone(),
            customer: self.customer.clone(),
            hour: self.hour,
            positions: [self.first, self.last],
            rows: self.rows,
            bytes: self.bytes,
            times: [self.from, self.to],
            state: self.state,
            generation: self.generation,
            crc32: self.sums.to_hex(),
        }
    }

    /// `None` where it is not what we write: a path that leads elsewhere, sums that do not fit.
    fn from_wire(wire: WireEntry) -> Option<Entry> {
        let sums = Sums::from_hex(&wire.crc32).filter(|sums| sums.fit(wire.bytes))?;
        let [first, last] = wire.positions;
        let path = partition::file(&partition::folder(&wire.customer, wire.hour), first, last, wire.generation);
        (path == wire.path && first <= last && wire.rows > 0).then_some(Entry {
            path,
            customer: wire.customer,
            hour: wire.hour,
            first,
            last,
            rows: wire.rows,
            bytes: wire.bytes,
            from: wire.times[0],
            to: wire.times[1],
            state: wire.state,
            generation: wire.generation,
            sums,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::MANIFEST;

    fn entry(first: u64) -> Entry {
        let path = partition::file(&partition::folder("a", 0), first, first + 9, 0);
        Entry {
            path,
            customer: "a".into(),
            hour: 0,
            first,
            last: first + 9,
            rows: 10,
            bytes: 100,
            from: 0,
            to: 9,
            state: State::Clear,
            generation: 0,
            sums: Sums::from_hex("0000abcd").unwrap(),
        }
    }

    fn filled(path: &Path) -> Manifest {
        let mut manifest = Manifest::create(&Disk::real(), path).unwrap();
        for n in 0..3 {
            let change = Change { next: Some([n + 2, n * 10 + 11]), add: vec![entry(n * 10 + 1)], ..Change::default() };
            manifest.commit(&Disk::real(), &change).unwrap();
        }
        manifest
    }

    #[test]
    fn what_was_committed_is_read_again_and_what_was_removed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST);
        let mut manifest = filled(&path);
        manifest
            .commit(&Disk::real(), &Change { remove: vec![entry(11).path], why: "age", ..Change::default() })
            .unwrap();
        let read = Manifest::read(&path).unwrap().unwrap();
        assert_eq!(read.files, manifest.files);
        assert_eq!(read.files.values().map(|e| e.first).collect::<Vec<_>>(), [1, 21]);
        assert_eq!(read.next, [4, 31]);
        manifest.renew(&Disk::real()).unwrap();
        manifest.commit(&Disk::real(), &Change { next: Some([9, 99]), ..Change::default() }).unwrap();
        let read = Manifest::read(&path).unwrap().unwrap();
        assert_eq!((&read.files, read.next), (&manifest.files, [9, 99]));
    }

    #[test]
    fn a_manifest_cut_anywhere_is_that_of_before_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST);
        filled(&path);
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let lines = whole[..len].iter().filter(|b| **b == b'\n').count();
            match Manifest::read(&path).unwrap() {
                None => assert_eq!(lines, 0),
                Some(mut read) => {
                    assert_eq!(read.files.len(), lines - 1);
                    read.commit(&Disk::real(), &Change { next: Some([7, 7]), ..Change::default() }).unwrap();
                    assert_eq!(Manifest::read(&path).unwrap().unwrap().next, [7, 7]);
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_or_a_missing_line_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST);
        filled(&path);
        let whole = std::fs::read(&path).unwrap();
        let last_line = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            match Manifest::read(&path) {
                Err(_) => {}
                // The end of the last line became something else, or a bit of it that means nothing (`a`, `A`).
                Ok(read) => assert!(at > last_line && read.unwrap().files.len() == 2, "{at}"),
            }
        }
        let text = String::from_utf8(whole).unwrap();
        let without: String =
            text.lines().enumerate().filter(|(i, _)| *i != 2).map(|(_, l)| format!("{l}\n")).collect();
        std::fs::write(&path, without).unwrap();
        assert!(Manifest::read(&path).unwrap_err().to_string().contains("line 3"));
    }
}
