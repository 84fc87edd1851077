//! Call detail records from files and streams, one `cdr` event a call: rows of CSV, and BroadWorks' XML.
//!
//! `time` is the end of a call; where a file gives only the start, it is start and talk and ringing time. Where a file
//! has no status, a call that talked was answered and another was not.

mod cells;
mod dialect;
mod elements;
mod pairs;
mod row;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_dialects;
mod when;

use std::sync::Arc;

pub use dialect::{Dialect, DialectName, Place, Settings};

use super::Counts;
use super::framing::{First, first_record};
use super::origin::{Attribution, bytes, keep};
use super::wire::{Origin, WireField};
use crate::clock::Timestamp;
use crate::event::{Batch, CallEvent, Reject, Rejected, Text};
use crate::limits::LINE_BYTES_MAX;
use dialect::{Cells, Column, Shape};
use elements::Encoding;
use pairs::Pairs;
use row::{NEVER, Row};

/// Decodes blocks of records. A clone reads other blocks of the same stream, unless [`Reader::is_stateful`].
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    dialect: Arc<Dialect>,
    layout: Layout,
    /// The header row as it stood. Rows equal to it are passed over: files are appended to each other.
    header: Option<Vec<u8>>,
    /// Between cells: the first row may show another than the dialect's.
    delimiter: u8,
    encoding: Encoding,
    /// Rows were rejected for want of a zone.
    lacks_zone: bool,
    cells: Vec<Text>,
    /// Calls of which a part was read, in dialects that tell a call in several rows.
    pairs: Option<Pairs>,
    noted: Option<Noted>,
}

/// A column that is read beside the events, for who asks: see [`Reader::note`].
#[derive(Clone, Debug)]
struct Noted {
    column: String,
    at: Option<usize>,
    /// Why there is none, once the first row has been seen.
    problem: Option<String>,
    /// Of each event of the last block.
    texts: Vec<String>,
}

/// Which column stands where.
#[derive(Clone, Debug)]
enum Layout {
    /// The first row has not been seen.
    Unknown,
    /// Each row tells by itself.
    ByRow,
    /// Column and its index. Rows have `n_cells`, or with `None` at least what the indexes ask for.
    Fixed { columns: Vec<(Column, usize)>, n_cells: Option<usize> },
    /// The header lacks a column.
    Broken(String),
}

/// What stands next in a block.
enum Next {
    /// `len` bytes at `at`; the next one starts at `end`.
    Record {
        at: usize,
        len: usize,
        end: usize,
    },
    Bad {
        reason: Reject,
        end: usize,
    },
    Nothing,
}

/// What became of a record.
type Decoded = Result<Option<(CallEvent, Origin)>, (Reject, u64)>;

impl Reader {
    pub(crate) fn new(dialect: Arc<Dialect>) -> Reader {
        let (delimiter, pairs) = (dialect.delimiter(), dialect.own.pairs.then(|| Pairs::new(dialect.times.clone())));
        let (layout, encoding) = (Layout::Unknown, Encoding::default());
        Reader {
            dialect,
            layout,
            header: None,
            delimiter,
            encoding,
            lacks_zone: false,
            cells: Vec::new(),
            pairs,
            noted: None,
        }
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        match &self.layout {
            Layout::Broken(problem) => Some(problem),
            _ if let Some(problem) = self.noted.as_ref().and_then(|noted| noted.problem.as_deref()) => Some(problem),
            _ if self.lacks_zone => Some("csv: times are local and of no zone: set `time_zone`"),
            _ => None,
        }
    }

    /// Reads one more column, by its name in the header row or its number, from 1, into no field: see [`Reader::take_noted`].
    /// Before the first block; of readers that are not stateful.
    pub(crate) fn note(&mut self, column: &str) {
        self.noted = Some(Noted { column: column.to_owned(), at: None, problem: None, texts: Vec::new() });
    }

    pub(crate) fn notes(&self) -> bool {
        self.noted.is_some()
    }

    /// What stood in that column, for each event of the last block.
    pub(crate) fn take_noted(&mut self) -> Vec<String> {
        self.noted.as_mut().map(|noted| std::mem::take(&mut noted.texts)).unwrap_or_default()
    }

    /// Rows mean what rows before them said: one reader must see all blocks, in order.
    pub(crate) fn is_stateful(&self) -> bool {
        self.pairs.is_some()
    }

    pub(crate) fn holds_calls(&self) -> bool {
        self.pairs.as_ref().is_some_and(Pairs::holds_calls)
    }

    /// The first block has told what the later ones mean.
    pub(crate) fn has_learned(&self) -> bool {
        self.is_stateful() || !matches!(self.layout, Layout::Unknown | Layout::ByRow)
    }

    /// Another file follows in the same stream: its header is its own, the calls go on.
    pub(crate) fn begin_file(&mut self) {
        self.layout = Layout::Unknown;
        self.header = None;
    }

    /// Finds out about the header, once.
    pub(crate) fn learn(&mut self, block: &[u8]) {
        if !matches!(self.layout, Layout::Unknown) {
            return;
        }
        if self.dialect.own.elements.is_some() {
            self.encoding = Encoding::declared(block);
            self.layout = Layout::ByRow;
            return;
        }
        let Some((at, len)) = first_row(block, self.dialect.delimiter()) else { return };
        self.delimiter = self.dialect.delimiter_of(block.get(at..at + len).unwrap_or(&[]));
        let mut side = Vec::new();
        cells::split(block, at, len, self.delimiter, &mut side, &mut self.cells);
        let row: Vec<&[u8]> = self.cells.iter().map(|cell| bytes(block, &side, *cell)).collect();
        let (layout, is_header) = layout(&self.dialect, &row);
        if let Some(noted) = &mut self.noted {
            let named = || row.iter().position(|cell| cell.eq_ignore_ascii_case(noted.column.as_bytes()));
            let at = noted.column.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            noted.at = at.or_else(|| if is_header { named() } else { None });
            let missing = || format!("csv: the header has no column `{}`", noted.column);
            noted.problem = noted.at.is_none().then(missing);
        }
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
        let dialect = Arc::clone(&self.dialect);
        let (template, problem) = self.template(&mut out.side);
        let mut complete = |found: (CallEvent, Origin), out: &mut Batch, counts: &mut Counts| {
            let (mut event, origin) = found;
            let completed = match problem {
                Some(reason) => Err(reason),
                None => attribution.complete(&mut event, origin, arrival, block, &mut out.side, counts),
            };
            match completed {
                Ok(()) => out.events.push(event),
                Err(reason) => reject(out, reason, event.seq),
            }
        };
        let mut at = 0;
        loop {
            let decoded = match self.next(block, at) {
                Next::Nothing => break,
                Next::Record { at: first, len, end } => {
                    at = end;
                    self.record(&dialect, block, (first, len), template, counts, out)
                }
                Next::Bad { reason, end } => {
                    at = end;
                    Err((reason, 0))
                }
            };
            match decoded {
                Ok(Some(found)) => {
                    let n_before = out.events.len();
                    complete(found, out, counts);
                    if let Some(noted) = self.noted.as_mut().filter(|_| out.events.len() > n_before) {
                        let cell = noted.at.and_then(|at| self.cells.get(at)).copied().unwrap_or(Text::ABSENT);
                        noted.texts.push(String::from_utf8_lossy(bytes(block, &out.side, cell)).into_owned());
                    }
                }
                Ok(None) => {}
                Err((reason, seq)) => reject(out, reason, seq),
            }
            while let Some(pairs) = &mut self.pairs
                && let Some(left) = pairs.take_left(&mut out.side)
            {
                match left {
                    Ok(found) => complete(found, out, counts),
                    Err(reason) => reject(out, reason, 0),
                }
            }
        }
    }

    /// The calls that are still open once the stream has ended: what is known of them.
    pub(crate) fn finish(
        &mut self,
        arrival: Option<Timestamp>,
        attribution: &mut Attribution,
        counts: &mut Counts,
        out: &mut Batch,
    ) {
        let Some(pairs) = &mut self.pairs else { return };
        pairs.close();
        while let Some(left) = pairs.take_left(&mut out.side) {
            let completed = left.and_then(|(mut event, origin)| {
                attribution.complete(&mut event, origin, arrival, &[], &mut out.side, counts).map(|()| event)
            });
            match completed {
                Ok(event) => out.events.push(event),
                Err(reason) => reject(out, reason, 0),
            }
        }
    }

    /// What is the same for every row, and what is wrong with it.
    fn template(&self, side: &mut Vec<u8>) -> ((CallEvent, Origin), Option<Reject>) {
        let mut template = (CallEvent::BLANK, Origin::default());
        template.0.time = NEVER;
        let mut problem = None;
        for (field, value) in &self.dialect.constants {
            let text = keep(side, value);
            if let Err(reason) = row::set(*field, text, value, &self.dialect, &mut template.0, &mut template.1) {
                problem.get_or_insert(reason);
            }
        }
        (template, problem)
    }

    fn next(&self, block: &[u8], at: usize) -> Next {
        if at >= block.len() {
            return Next::Nothing;
        }
        if let Some(elements) = self.dialect.own.elements {
            return elements::next(elements, block, at);
        }
        match first_record(block.get(at..).unwrap_or(&[]), self.dialect.delimiter()) {
            First::Record { len, end } => Next::Record { at, len, end: at + end },
            First::Open { in_quotes: false } => Next::Record { at, len: block.len() - at, end: block.len() },
            First::TooLong => Next::Bad { reason: Reject::LineTooLong, end: next_line(block, at) },
            First::Unclosed { .. } | First::Open { in_quotes: true } => {
                Next::Bad { reason: Reject::Incomplete, end: next_line(block, at) }
            }
        }
    }

    /// One record; `None` where it is empty, the header, or no call of its own.
    fn record(
        &mut self,
        dialect: &Dialect,
        block: &[u8],
        (at, len): (usize, usize),
        template: (CallEvent, Origin),
        counts: &mut Counts,
        out: &mut Batch,
    ) -> Decoded {
        let record = block.get(at..at + len).unwrap_or(&[]);
        if record.trim_ascii().is_empty() || self.header.as_deref() == Some(record) {
            return Ok(None);
        }
        if len > LINE_BYTES_MAX {
            return Err((Reject::LineTooLong, 0));
        }
        let mut row = Row::new(dialect, template);
        if let Some(elements) = dialect.own.elements {
            elements::split(elements, record, self.encoding, &mut out.side, &mut self.cells).map_err(|r| (r, 0))?;
            let cells = Cells { cells: &self.cells, block, side: &out.side };
            if (dialect.own.passes_over)(cells) {
                return Ok(None);
            }
            for (index, (_, column)) in elements.names.iter().enumerate() {
                row.take_all(&[(*column, index)], cells);
            }
        } else {
            if std::str::from_utf8(record).is_err() {
                return Err((Reject::NotUtf8, 0));
            }
            cells::split(block, at, len, self.delimiter, &mut out.side, &mut self.cells);
            let cells = Cells { cells: &self.cells, block, side: &out.side };
            if !self.take_row(dialect, cells, &mut row).map_err(|reason| (reason, 0))? {
                return Ok(None);
            }
        }
        counts.unknown_words += row.n_unknown_words;
        let seq = row.event.seq;
        let tags = (row.from_tag, row.to_tag);
        self.lacks_zone |= row.lacks_zone;
        let (event, origin) = row.finish(!dialect.own.pairs, block, &mut out.side).map_err(|reason| (reason, seq))?;
        match &mut self.pairs {
            None => Ok(Some((event, origin))),
            Some(pairs) => pairs.take(event, origin, tags, block, &mut out.side).map_err(|reason| (reason, seq)),
        }
    }

    /// False where the row is none that gives an event.
    fn take_row(&self, dialect: &Dialect, cells: Cells<'_>, row: &mut Row<'_>) -> Result<bool, Reject> {
        match &self.layout {
            Layout::Fixed { columns, n_cells } => {
                if (dialect.own.passes_over)(cells) {
                    return Ok(false);
                }
                let n_needed = columns.iter().map(|(_, at)| at + 1).max().unwrap_or(0);
                if n_cells.unwrap_or(cells.len().max(n_needed)) != cells.len() {
                    return Err(Reject::WrongColumns);
                }
                row.take_all(columns, cells);
            }
            Layout::ByRow => match dialect.shape(cells) {
                Some(Shape::Columns(columns)) => {
                    row.take_all(columns, cells);
                    for column in dialect.numbered() {
                        row.take_all(&[column], cells);
                    }
                }
                Some(Shape::PassedOver) => return Ok(false),
                Some(Shape::Foreign) | None => return Err(Reject::WrongColumns),
            },
            Layout::Unknown | Layout::Broken(_) => return Err(Reject::WrongColumns),
        }
        Ok(true)
    }
}

fn reject(out: &mut Batch, reason: Reject, seq: u64) {
    out.rejects.push(Rejected { before: out.events.len() as u32, seq, reason });
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
    if dialect.has_columns_of_its_own() {
        return match dialect.own_header(row) {
            Some(columns) => (Layout::Fixed { columns, n_cells: Some(row.len()) }, true),
            None if dialect.reads_rows() => (Layout::ByRow, dialect.header == Some(true)),
            None => (Layout::Broken("csv: the first row is no header of this dialect".into()), false),
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
