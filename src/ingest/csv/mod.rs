//! CSV: call detail records from files and streams, one `cdr` event a row.
//!
//! `time` is the end of a call; where a file gives only the start, it is start and talk and ringing time. Where a file
//! has no status, a call that talked was answered and another was not.

mod cells;
mod dialect;
#[cfg(test)]
mod tests;
mod when;

use std::sync::Arc;

pub use dialect::{Dialect, DialectName, Place, Settings};

use super::Counts;
use super::framing::{First, first_record};
use super::origin::{Attribution, bytes, keep};
use super::value::{self, Decimal};
use super::wire::{self, Origin, WireField};
use crate::clock::Timestamp;
use crate::event::{Batch, CallEvent, CallType, Direction, Flags, HangupBy, Kind, Reject, Rejected, Status, Text};
use crate::limits::{LINE_BYTES_MAX, TEXT_BYTES_MAX};
use dialect::{ASTERISK_CSV, ASTERISK_CSV_ID, ASTERISK_CUSTOM, Column, asterisk_header};

/// Decodes blocks of records. A clone reads other blocks of the same stream.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    dialect: Arc<Dialect>,
    layout: Layout,
    /// The header row as it stood. Rows equal to it are passed over: files are appended to each other.
    header: Option<Vec<u8>>,
    cells: Vec<Text>,
}

/// Which column stands where.
#[derive(Clone, Debug)]
enum Layout {
    /// The first row has not been seen.
    Unknown,
    /// By the rows themselves: see [`asterisk_columns`].
    Asterisk,
    /// Column and its index. Rows have `n_cells`, or with `None` at least what the indexes ask for.
    Fixed { columns: Vec<(Column, usize)>, n_cells: Option<usize> },
    /// The header lacks a column.
    Broken(String),
}

impl Reader {
    pub(crate) fn new(dialect: Arc<Dialect>) -> Reader {
        Reader { dialect, layout: Layout::Unknown, header: None, cells: Vec::new() }
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        match &self.layout {
            Layout::Broken(problem) => Some(problem),
            _ => None,
        }
    }

    /// Finds out about the header, once.
    pub(crate) fn learn(&mut self, block: &[u8]) {
        if !matches!(self.layout, Layout::Unknown) {
            return;
        }
        let Some((at, len)) = first_row(block, self.dialect.delimiter) else { return };
        let mut side = Vec::new();
        cells::split(block, at, len, self.dialect.delimiter, &mut side, &mut self.cells);
        let row: Vec<&[u8]> = self.cells.iter().map(|cell| bytes(block, &side, *cell)).collect();
        let (layout, is_header) = layout(&self.dialect, &row);
        self.layout = layout;
        if is_header {
            self.header = block.get(at..at + len).map(<[u8]>::to_vec);
        }
    }

    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        arrival: Option<Timestamp>,
        attribution: &mut Attribution,
        counts: &mut Counts,
        out: &mut Batch,
    ) {
        self.learn(block);
        let mut template = (CallEvent::BLANK, Origin::default());
        template.0.time = Timestamp(i64::MIN);
        let mut problem = None;
        for (field, value) in &self.dialect.constants {
            let text = keep(&mut out.side, value);
            let _known = set(*field, text, value, &self.dialect, &mut template.0, &mut template.1).map_err(|reason| {
                problem.get_or_insert(reason);
            });
        }
        let mut at = 0;
        while at < block.len() {
            let first = at;
            let result = match first_record(block.get(at..).unwrap_or(&[]), self.dialect.delimiter) {
                First::Record { len, end } => {
                    at += end;
                    self.record(block, first, len, template, counts, out)
                }
                First::Open { in_quotes: false } => {
                    at = block.len();
                    self.record(block, first, block.len() - first, template, counts, out)
                }
                First::TooLong => {
                    at = next_line(block, at);
                    Err((Reject::LineTooLong, 0))
                }
                First::Unclosed { .. } | First::Open { in_quotes: true } => {
                    at = next_line(block, at);
                    Err((Reject::Incomplete, 0))
                }
            };
            let result = result.and_then(|found| {
                let Some((mut event, origin)) = found else { return Ok(None) };
                let completed = match problem {
                    Some(reason) => Err(reason),
                    None => attribution.complete(&mut event, origin, arrival, block, &mut out.side, counts),
                };
                completed.map(|()| Some(event)).map_err(|reason| (reason, event.seq))
            });
            match result {
                Ok(event) => out.events.extend(event),
                Err((reason, seq)) => {
                    out.rejects.push(Rejected { before: out.events.len() as u32, seq, reason });
                }
            }
        }
    }

    /// One record; `None` where it is empty or the header.
    fn record(
        &mut self,
        block: &[u8],
        at: usize,
        len: usize,
        template: (CallEvent, Origin),
        counts: &mut Counts,
        out: &mut Batch,
    ) -> Result<Option<(CallEvent, Origin)>, (Reject, u64)> {
        let record = block.get(at..at + len).unwrap_or(&[]);
        if record.trim_ascii().is_empty() || self.header.as_deref() == Some(record) {
            return Ok(None);
        }
        if len > LINE_BYTES_MAX {
            return Err((Reject::LineTooLong, 0));
        }
        if std::str::from_utf8(record).is_err() {
            return Err((Reject::NotUtf8, 0));
        }
        let dialect = &*self.dialect;
        cells::split(block, at, len, dialect.delimiter, &mut out.side, &mut self.cells);
        let columns = match &self.layout {
            Layout::Fixed { columns, n_cells } => {
                let n_needed = columns.iter().map(|(_, at)| at + 1).max().unwrap_or(0);
                if n_cells.unwrap_or(self.cells.len().max(n_needed)) != self.cells.len() {
                    return Err((Reject::WrongColumns, 0));
                }
                columns
            }
            Layout::Asterisk => asterisk_columns(&self.cells, block, &out.side).ok_or((Reject::WrongColumns, 0))?,
            Layout::Unknown | Layout::Broken(_) => return Err((Reject::WrongColumns, 0)),
        };
        let mut row = Row {
            dialect,
            event: template.0,
            origin: template.1,
            start: None,
            total_ms: None,
            user: Text::ABSENT,
            other: Text::ABSENT,
            clid_number: Text::ABSENT,
            problem: None,
            n_unknown_words: 0,
        };
        for (column, index) in columns {
            if let Some(cell) = self.cells.get(*index) {
                row.take(*column, *cell, bytes(block, &out.side, *cell));
            }
        }
        counts.unknown_words += row.n_unknown_words;
        let seq = row.event.seq;
        row.finish().map(Some).map_err(|reason| (reason, seq))
    }
}

fn next_line(block: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', block.get(at..).unwrap_or(&[])).map_or(block.len(), |newline| at + newline + 1)
}

/// The first record that is whole and not empty.
fn first_row(block: &[u8], delimiter: u8) -> Option<(usize, usize)> {
    let mut at = 0;
    while at < block.len() {
        let rest = block.get(at..).unwrap_or(&[]);
        let (len, end) = match first_record(rest, delimiter) {
            First::Record { len, end } => (len, end),
            First::Open { in_quotes: false } => (rest.len(), rest.len()),
            // A bad line is rejected and names no columns.
            _ => {
                at = next_line(block, at);
                continue;
            }
        };
        if !rest.get(..len).unwrap_or(&[]).trim_ascii().is_empty() {
            return Some((at, len));
        }
        at += end;
    }
    None
}

/// What the first row tells, and whether it is a header.
fn layout(dialect: &Dialect, row: &[&[u8]]) -> (Layout, bool) {
    if dialect.columns.is_empty() {
        return match asterisk_header(row) {
            Some(columns) if dialect.header != Some(false) => {
                (Layout::Fixed { columns, n_cells: Some(row.len()) }, true)
            }
            _ => (Layout::Asterisk, dialect.header == Some(true)),
        };
    }
    let (mut columns, mut by_name) = (Vec::new(), false);
    for (column, place) in &dialect.columns {
        match place {
            Place::Number(number) => columns.push((*column, number.saturating_sub(1))),
            Place::Name(name) => {
                by_name = true;
                match row.iter().position(|cell| cell.eq_ignore_ascii_case(name.as_bytes())) {
                    Some(at) => columns.push((*column, at)),
                    None => return (Layout::Broken(format!("csv: the header has no column `{name}`")), true),
                }
            }
        }
    }
    if by_name {
        return (Layout::Fixed { columns, n_cells: Some(row.len()) }, true);
    }
    let is_time = |column: &Column| matches!(column, Column::Start | Column::Field(WireField::Time));
    let time_cell = columns.iter().find(|(column, _)| is_time(column)).and_then(|(_, at)| row.get(*at));
    // A name has letters and no digit; no time is so.
    let looks_like_name = time_cell.is_some_and(|cell| !cell.is_empty() && !cell.iter().any(u8::is_ascii_digit));
    (Layout::Fixed { columns, n_cells: None }, dialect.header.unwrap_or(looks_like_name))
}

/// Asterisk writes two orders and leaves columns out as configured. The order shows in where the start stands, the
/// unique id in its shape. `None` where the row is of neither.
fn asterisk_columns<'a>(cells: &[Text], block: &[u8], side: &[u8]) -> Option<&'a [(Column, usize)]> {
    let cell = |at: usize| bytes(block, side, cells.get(at).copied().unwrap_or_default());
    let is_time = |at: usize| cell(at).first_chunk().is_some_and(|head| value::civil_ms(head).is_some());
    let is_word = |at: usize| cell(at).first().is_some_and(u8::is_ascii_alphabetic);
    if (15..=22).contains(&cells.len()) && is_time(8) && is_word(13) {
        return Some(ASTERISK_CUSTOM);
    }
    if !(16..=21).contains(&cells.len()) {
        return None;
    }
    Some(if is_unique_id(cell(16)) { ASTERISK_CSV_ID } else { ASTERISK_CSV })
}

/// `1270167992.0`, also behind a system name: `pbx1-1270167992.0`.
fn is_unique_id(text: &[u8]) -> bool {
    let last = text.rsplit(|b| *b == b'-').next().unwrap_or(&[]);
    let mut parts = last.splitn(2, |b| *b == b'.');
    let digits = |part: Option<&[u8]>| part.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
    digits(parts.next()) && digits(parts.next())
}

/// One record on its way to an event.
struct Row<'a> {
    dialect: &'a Dialect,
    event: CallEvent,
    origin: Origin,
    start: Option<Timestamp>,
    total_ms: Option<u32>,
    user: Text,
    other: Text,
    clid_number: Text,
    problem: Option<Reject>,
    n_unknown_words: u64,
}

impl Row<'_> {
    fn take(&mut self, column: Column, cell: Text, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let taken = match column {
            Column::Field(WireField::Time) => self.time(text).map(|time| self.event.time = time),
            Column::Start => self.time(text).map(|time| self.start = Some(time)),
            Column::Total => seconds(text).map(|ms| self.total_ms = Some(ms)),
            Column::User => fitting(cell).map(|text| self.user = text),
            Column::Other => fitting(cell).map(|text| self.other = text),
            Column::Clid => self.clid(cell, text),
            Column::Channel => {
                let peer = text.iter().rposition(|b| *b == b'-').unwrap_or(text.len());
                fitting(Text { at: cell.at, len: peer as u32 }).map(|text| self.event.trunk = text)
            }
            Column::Field(field) => {
                // A dial plan context says which way a call goes only where the settings say what it means.
                let meaning = self.dialect.meaning(field, text);
                let is_context = field == WireField::Direction && self.dialect.name == DialectName::Asterisk;
                if is_context && Direction::parse(meaning).is_none() {
                    return;
                }
                set(field, cell, text, self.dialect, &mut self.event, &mut self.origin)
                    .map(|known| self.n_unknown_words += u64::from(!known))
            }
        };
        if let Err(reason) = taken {
            self.problem.get_or_insert(reason);
        }
    }

    fn time(&self, text: &[u8]) -> Result<Timestamp, Reject> {
        self.dialect.times.read(text).ok_or(Reject::BadTime)
    }

    /// `"Name" <number>`, `Name <number>`, `"" <number>` or the number alone.
    fn clid(&mut self, cell: Text, text: &[u8]) -> Result<(), Reject> {
        let part = |from: usize, to: usize| Text { at: cell.at + from as u32, len: to.saturating_sub(from) as u32 };
        let open = text.iter().rposition(|b| *b == b'<').unwrap_or(text.len());
        let close = text.iter().rposition(|b| *b == b'>').unwrap_or(text.len());
        if open < close && open < text.len() {
            self.clid_number = fitting(part(open + 1, close))?;
        }
        let name = text.get(..open).unwrap_or(&[]);
        let junk = |b: &&u8| matches!(**b, b'"' | b' ' | b'\t');
        let lead = name.iter().take_while(junk).count();
        let trail = name.iter().rev().take_while(junk).count();
        fitting(part(lead, name.len().saturating_sub(trail))).map(|name| self.event.caller_name = name)
    }

    fn finish(mut self) -> Result<(CallEvent, Origin), Reject> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let event = &mut self.event;
        let (from, to) = match event.direction {
            Direction::Inbound => (self.other, self.user),
            _ => (self.user, self.other),
        };
        let first = |texts: [Text; 3]| texts.into_iter().find(|text| !text.is_absent()).unwrap_or_default();
        event.caller.raw = first([event.caller.raw, from, self.clid_number]);
        event.callee.raw = first([event.callee.raw, to, Text::ABSENT]);
        let known = |ms: u32| if ms == CallEvent::NO_TIME { 0 } else { ms };
        if let Some(total) = self.total_ms {
            if event.duration_ms == CallEvent::NO_TIME {
                event.duration_ms = total.saturating_sub(known(event.ring_ms));
            } else if event.ring_ms == CallEvent::NO_TIME {
                // Records with more talk than call exist; they rang for no time.
                event.ring_ms = total.saturating_sub(event.duration_ms);
            }
        }
        if event.time == Timestamp(i64::MIN) {
            let told = i64::from(known(event.duration_ms)) + i64::from(known(event.ring_ms));
            let length = self.total_ms.map_or(told, i64::from);
            event.time = self.start.ok_or(Reject::NoTime)?.plus_ms(length);
        }
        let said = self.dialect.columns.iter().any(|(c, _)| *c == Column::Field(WireField::Status));
        if event.status == Status::Unknown && self.dialect.name == DialectName::Custom && !said {
            event.status = match event.duration_ms {
                CallEvent::NO_TIME => Status::Unknown,
                0 => Status::NoAnswer,
                _ => Status::Answered,
            };
        }
        Ok((self.event, self.origin))
    }
}

/// A text that is not too long.
fn fitting(text: Text) -> Result<Text, Reject> {
    if text.len as usize > TEXT_BYTES_MAX {
        return Err(Reject::FieldTooLong);
    }
    Ok(if text.len == 0 { Text::ABSENT } else { text })
}

/// Seconds as `13`, `13.5`, `1:02:03` or `02:03`.
fn seconds(text: &[u8]) -> Result<u32, Reject> {
    if !text.contains(&b':') {
        return Decimal::parse(text).and_then(|number| number.seconds_ms()).ok_or(Reject::BadValue);
    }
    let mut total = 0u64;
    let mut n_parts = 0;
    for part in text.split(|b| *b == b':') {
        let ms = Decimal::parse(part).and_then(|number| number.seconds_ms()).ok_or(Reject::BadValue)?;
        total = total * 60 + u64::from(ms);
        n_parts += 1;
    }
    if n_parts > 3 {
        return Err(Reject::BadValue);
    }
    u32::try_from(total).ok().filter(|ms| *ms != CallEvent::NO_TIME).ok_or(Reject::BadValue)
}

/// Sets a field from its text. False where a word is none of the vocabulary.
fn set(
    field: WireField,
    cell: Text,
    text: &[u8],
    dialect: &Dialect,
    event: &mut CallEvent,
    origin: &mut Origin,
) -> Result<bool, Reject> {
    if let Some((place, len_max)) = wire::text_place(field, event, origin) {
        if text.len() > len_max {
            return Err(Reject::FieldTooLong);
        }
        *place = cell;
        return Ok(true);
    }
    let text = dialect.meaning(field, text);
    let whole = || Decimal::parse(text).and_then(|number| number.whole());
    match field {
        WireField::Time => event.time = dialect.times.read(text).ok_or(Reject::BadTime)?,
        WireField::Kind => event.kind = Kind::parse(text).ok_or(Reject::UnknownKind)?,
        WireField::SourceIp => event.source_ip = Some(value::ip(text).ok_or(Reject::BadValue)?),
        WireField::Duration => event.duration_ms = seconds(text)?,
        WireField::Ring => event.ring_ms = seconds(text)?,
        WireField::Setup => event.setup_ms = seconds(text)?,
        WireField::Seq => event.seq = whole().ok_or(Reject::BadValue)?,
        WireField::SipCode => {
            event.sip_code = whole().and_then(|v| u16::try_from(v).ok()).ok_or(Reject::BadValue)?;
        }
        WireField::Q850 => event.q850 = whole().and_then(|v| u8::try_from(v).ok()).ok_or(Reject::BadValue)?,
        WireField::Cost => {
            event.cost = Decimal::parse(text).and_then(|n| n.ten_thousandths()).ok_or(Reject::BadValue)?;
        }
        WireField::Anonymous => flag(event, Flags::ANONYMOUS, text)?,
        WireField::AuthFailed => flag(event, Flags::AUTH_FAILED, text)?,
        WireField::Direction => return Ok(word(&mut event.direction, Direction::parse(text))),
        WireField::Status => return Ok(word(&mut event.status, Status::parse(text))),
        WireField::CallType => return Ok(word(&mut event.call_type, CallType::parse(text))),
        WireField::HangupBy => return Ok(word(&mut event.hangup_by, HangupBy::parse(text))),
        WireField::Attestation => return Ok(word(&mut event.attestation, wire::attestation(text))),
        _ => {}
    }
    Ok(true)
}

fn word<T: Default>(place: &mut T, found: Option<T>) -> bool {
    let known = found.is_some();
    *place = found.unwrap_or_default();
    known
}

fn flag(event: &mut CallEvent, flag: Flags, text: &[u8]) -> Result<(), Reject> {
    let is_any = |words: [&str; 5]| words.iter().any(|w| w.as_bytes().eq_ignore_ascii_case(text));
    if is_any(["true", "yes", "y", "1", "t"]) {
        event.flags.set(flag);
    } else if !is_any(["false", "no", "n", "0", "f"]) {
        return Err(Reject::BadValue);
    }
    Ok(())
}
