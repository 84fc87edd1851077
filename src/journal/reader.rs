//! The records of a journal, one after the other, with a report of what was wrong with them.
//!
//! A segment is read at once and its records are handed out raw, sharing its bytes: decoding them may happen on other
//! threads. A later segment rules over an earlier one: what an earlier one has from its first record on was given up
//! there and written again.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bytes::Bytes;
use super::codec;
use super::frame::{Frame, FrameKind, Header, Step, step};
use super::record::{Context, Entry, Record};
use super::segment::{Identity, Segment, decode_context, decode_identity, segments};
use crate::clock::Timestamp;
use crate::limits::{JOURNAL_DAMAGES_TOLD_MAX, JOURNAL_SEGMENT_READ_BYTES_MAX};
use crate::storage::Disk;

/// Why a journal cannot be read on. Damage is none of these: it is reported, and reading goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("journal {}: cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("journal {}: format {version} is newer than this build reads ({})", path.display(), super::frame::VERSION)]
    Newer { path: PathBuf, version: u8 },
    #[error("journal {}: is of another journal than the segments before it", path.display())]
    OtherIdentity { path: PathBuf },
    #[error("journal: record {number} is whole but says nothing this build understands")]
    Meaningless { number: u64 },
}

/// What was met on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bits that were wrong and are right again.
    pub n_mended: u64,
    /// Places that could not be read; the first of them stand in `damages`.
    pub n_damages: u64,
    pub damages: Vec<Damage>,
    /// Records that are gone, in order; the first of such stretches.
    pub lost: Vec<Lost>,
    pub n_lost_records: u64,
    pub n_lost_events: u64,
    /// The end of the last segment, if nothing that can be read stands there: what was being written.
    pub cut: Option<Cut>,
    /// The last record that was read or passed over, and the position behind it. 0: none.
    pub last_record: u64,
    pub next_position: u64,
    pub bytes: u64,
    /// Of the first segment that says it.
    pub identity: Option<Identity>,
}

/// Bytes of a segment that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: PathBuf,
    pub bytes: Range<u64>,
}

/// Records that are gone, and the positions of their events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub records: Range<u64>,
    pub positions: Range<u64>,
}

/// A torn end: the segment is good up to `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub segment: PathBuf,
    pub at: u64,
    pub bytes: u64,
}

/// A record whose frame is whole; its payload shares the bytes of its segment.
#[derive(Clone, Debug)]
pub struct RawRecord {
    pub number: u64,
    /// Of its first event.
    pub position: u64,
    pub n_events: u32,
    pub context: Arc<Context>,
    is_tick: bool,
    bytes: Arc<Vec<u8>>,
    place: Range<usize>,
}

impl RawRecord {
    /// The record as it was encoded.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.place.clone()).unwrap_or_default()
    }

    /// Any thread may do it.
    pub fn decode(&self) -> Result<Record, ReadError> {
        let payload = self.payload();
        let entry = match self.is_tick {
            true => Bytes::new(payload).signed().map(|at| Entry::Tick(Timestamp(at))),
            false => codec::decode(payload, self.position),
        };
        let entry = entry.ok_or(ReadError::Meaningless { number: self.number })?;
        Ok(Record { number: self.number, context: Arc::clone(&self.context), entry })
    }
}

/// Reads the records of a folder in order.
#[derive(Debug)]
pub struct Reader {
    disk: Disk,
    waiting: VecDeque<Segment>,
    current: Option<Open>,
    wanted: RangeInclusive<u64>,
    /// The record that comes next if nothing is lost, and the position of its first event, once known.
    expected: u64,
    position: Option<u64>,
    context: Arc<Context>,
    report: Report,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    bytes: Arc<Vec<u8>>,
    at: usize,
    /// Where the last good frame ends.
    good: usize,
    /// First record of the segment behind it, from which on that one counts.
    end: Option<u64>,
}

impl Reader {
    /// Reads the wanted records, those that are there of them. A journal that is being written is read up to what is
    /// committed; beyond it may stand what will be given up.
    pub fn open(disk: &Disk, folder: &Path, wanted: RangeInclusive<u64>) -> Result<Reader, ReadError> {
        let listed = segments(disk, folder).map_err(|source| ReadError::Io { path: folder.to_owned(), source })?;
        let mut waiting = VecDeque::from(listed);
        while waiting.get(1).is_some_and(|second| second.first <= *wanted.start()) {
            waiting.pop_front();
        }
        let mut report = Report::default();
        let expected = waiting.front().map_or(0, |segment| segment.first);
        report.last_record = expected.saturating_sub(1);
        let mut reader = Reader {
            disk: disk.clone(),
            waiting,
            current: None,
            wanted,
            expected,
            position: None,
            context: Arc::default(),
            report,
        };
        // What was trimmed, or is gone with its file.
        let wanted = (*reader.wanted.start()).max(1);
        if expected > wanted {
            reader.lose(wanted..expected, 0..0);
        }
        Ok(reader)
    }

    /// Reads bytes as the one segment of a folder.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of_segment(first: u64, bytes: Vec<u8>) -> Reader {
        let segment = Segment { first, bytes: bytes.len() as u64, path: PathBuf::new() };
        Reader {
            disk: Disk::real(),
            waiting: VecDeque::new(),
            current: Some(Open { segment, bytes: Arc::new(bytes), at: 0, good: 0, end: None }),
            wanted: 1..=u64::MAX,
            expected: first,
            position: None,
            context: Arc::default(),
            report: Report::default(),
        }
    }

    /// What was met so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The next record, not decoded. Nothing comes behind an error.
    pub fn next_raw(&mut self) -> Option<Result<RawRecord, ReadError>> {
        loop {
            match self.advance() {
                Ok(Next::Record(record)) => return Some(Ok(record)),
                Ok(Next::Passed) => {}
                Ok(Next::End) => return None,
                Err(e) => {
                    self.current = None;
                    self.waiting.clear();
                    return Some(Err(e));
                }
            }
        }
    }

    fn advance(&mut self) -> Result<Next, ReadError> {
        if self.expected > *self.wanted.end() {
            return Ok(Next::End);
        }
        let Some(mut open) = self.current.take() else { return self.open_next() };
        // What an earlier segment holds beyond was written again.
        if open.end.is_some_and(|end| self.expected >= end) {
            return Ok(Next::Passed);
        }
        let bytes = Arc::clone(&open.bytes);
        match step(&bytes, open.at) {
            Step::Newer(version) => Err(ReadError::Newer { path: open.segment.path, version }),
            Step::End => {
                self.leave(&open);
                Ok(Next::Passed)
            }
            Step::Damage(place) => {
                if self.is_torn_end(&open, &place) {
                    let path = open.segment.path.clone();
                    let (at, bytes) = (open.good as u64, (bytes.len() - open.good) as u64);
                    self.report.cut = Some(Cut { segment: path, at, bytes });
                    self.leave(&open);
                    return Ok(Next::Passed);
                }
                self.note_damage(&open.segment, &place);
                open.at = place.end;
                self.current = Some(open);
                Ok(Next::Passed)
            }
            Step::Frame(frame) => {
                open.at = frame.place.end;
                open.good = frame.place.end;
                self.report.n_mended += u64::from(frame.n_mended);
                self.catch_up(&frame.header);
                let next = match frame.header.kind.is_record() {
                    true => self.record(&frame, &bytes),
                    false => self.words(&frame.header, &frame.payload, &open.segment)?,
                };
                self.current = Some(open);
                Ok(next)
            }
        }
    }

    fn open_next(&mut self) -> Result<Next, ReadError> {
        let Some(segment) = self.waiting.pop_front() else { return Ok(Next::End) };
        let read = self.disk.read(&segment.path, JOURNAL_SEGMENT_READ_BYTES_MAX);
        let bytes = read.map_err(|source| ReadError::Io { path: segment.path.clone(), source })?;
        self.report.bytes += bytes.len() as u64;
        let end = self.waiting.front().map(|next| next.first);
        self.current = Some(Open { segment, bytes: Arc::new(bytes), at: 0, good: 0, end });
        Ok(Next::Passed)
    }

    /// A segment is behind us. Its name alone says that the records before it were there.
    fn leave(&mut self, open: &Open) {
        if self.expected < open.segment.first {
            let position = self.position.unwrap_or(0);
            self.lose(self.expected..open.segment.first, position..position);
        }
    }

    /// Whether damage of the last segment is the end of what counts: nothing readable behind it, or only what was
    /// written together with what is gone and was never known to be durable, so that nobody was told of either.
    fn is_torn_end(&self, open: &Open, place: &Range<usize>) -> bool {
        if open.end.is_some() {
            return false;
        }
        let (mut at, mut is_first) = (place.end, true);
        loop {
            match step(&open.bytes, at) {
                Step::Frame(frame) => {
                    let is_gap = frame.header.number > self.expected;
                    if is_first && !is_gap || frame.header.committed() >= self.expected {
                        return false;
                    }
                    is_first = false;
                    at = frame.place.end;
                }
                Step::Damage(place) => at = place.end,
                Step::Newer(_) => return false,
                Step::End => return true,
            }
        }
    }

    fn note_damage(&mut self, segment: &Segment, place: &Range<usize>) {
        self.report.n_damages += 1;
        if self.report.damages.len() < JOURNAL_DAMAGES_TOLD_MAX {
            let bytes = place.start as u64..place.end as u64;
            self.report.damages.push(Damage { segment: segment.path.clone(), bytes });
        }
    }

    /// Records between the one that was expected and this frame are gone.
    fn catch_up(&mut self, header: &Header) {
        if header.number > self.expected {
            self.lose(self.expected..header.number, self.position.unwrap_or(header.position)..header.position);
        }
        if header.number >= self.expected && self.position.is_none_or(|position| position < header.position) {
            self.position = Some(header.position);
            self.report.next_position = header.position;
        }
    }

    fn lose(&mut self, records: Range<u64>, positions: Range<u64>) {
        self.expected = records.end;
        self.report.last_record = records.end.saturating_sub(1);
        // What was not asked for is not missed.
        let records = records.start.max(*self.wanted.start()).max(1)..records.end;
        if records.is_empty() {
            return;
        }
        self.report.n_lost_records += records.end - records.start;
        self.report.n_lost_events += positions.end.saturating_sub(positions.start);
        if self.report.lost.len() < JOURNAL_DAMAGES_TOLD_MAX {
            self.report.lost.push(Lost { records, positions });
        }
    }

    fn record(&mut self, frame: &Frame<'_>, bytes: &Arc<Vec<u8>>) -> Next {
        let header = frame.header;
        if header.number < self.expected || header.number == u64::MAX {
            return Next::Passed;
        }
        self.expected = header.number + 1;
        let position = header.position.saturating_add(u64::from(header.n_events));
        self.position = Some(position);
        (self.report.last_record, self.report.next_position) = (header.number, position);
        if header.number < *self.wanted.start() {
            return Next::Passed;
        }
        let (bytes, place) = match &frame.payload {
            Cow::Borrowed(_) => (Arc::clone(bytes), frame.place.clone()),
            Cow::Owned(mended) => (Arc::new(mended.clone()), 0..mended.len()),
        };
        Next::Record(RawRecord {
            number: header.number,
            position: header.position,
            n_events: header.n_events,
            context: Arc::clone(&self.context),
            is_tick: header.kind == FrameKind::Tick,
            bytes,
            place,
        })
    }

    /// What stands between records.
    fn words(&mut self, header: &Header, payload: &[u8], segment: &Segment) -> Result<Next, ReadError> {
        let mut bytes = Bytes::new(payload);
        if header.kind == FrameKind::Opening {
            let Some(identity) = decode_identity(&mut bytes) else { return Ok(Next::Passed) };
            if *self.report.identity.get_or_insert(identity) != identity {
                return Err(ReadError::OtherIdentity { path: segment.path.clone() });
            }
        }
        if matches!(header.kind, FrameKind::Opening | FrameKind::Context)
            && let Some(context) = decode_context(&mut bytes)
        {
            self.context = Arc::new(context);
        }
        Ok(Next::Passed)
    }
}

/// What one step of reading gave.
enum Next {
    Record(RawRecord),
    /// Nothing to hand out; there may be more.
    Passed,
    End,
}

impl Iterator for Reader {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Result<Record, ReadError>> {
        self.next_raw().map(|raw| raw.and_then(|raw| raw.decode()))
    }
}
