//! A byte stream becomes blocks of whole records: the sole owner of "incomplete".
//!
//! However the stream is cut into reads, the records are the same. Three ways of losing one's place:
//!
//! - **Lines.** A line longer than [`LINE_BYTES_MAX`] is passed on cut to one byte more than that, by which the decoders
//!   know and reject it in its place; what follows it is not lost. A CSV record may go on over line breaks inside
//!   quotes, within [`RECORD_LINES_MAX`](crate::limits::RECORD_LINES_MAX) and [`LINE_BYTES_MAX`]. Where no quote closes
//!   it within those, or closes it in the middle of a text, its first line alone is bad and the next line starts a
//!   record: a stray quote costs one line.
//! - **JSON objects.** What is no object, or too long for one, is passed on in its place, up to what showed it; what
//!   follows is read from where [`Bounds`] says that an object starts.
//! - **HEP and SIP** say in each record where the next one starts. After one that is wrong nothing can be found again:
//!   the stream is [broken](Framer::broken), and nothing after that is read.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod property;
mod quoted;
mod sip;
#[cfg(test)]
mod tests;

pub(crate) use quoted::{First, first_record};
pub(crate) use sip::{FirstMessage, first_message};

use memchr::memmem;

use super::hep;
use super::json_cdr::{Bounds, Next};
use crate::event::Reject;
use crate::limits::LINE_BYTES_MAX;

/// What ends a record of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Every newline does.
    Lines,
    /// A newline outside of quotes does; this byte stands between fields.
    Quoted(u8),
    /// The length in its header does.
    Hep,
    /// Its `Content-Length` after the blank line does. Line breaks between messages keep connections alive.
    Sip,
    /// This closing tag does, wherever it stands.
    Elements(&'static [u8]),
    /// The brace that closes the object does. White space may stand between objects, and what makes them a list.
    Json,
}

/// Cuts blocks. The reader appends to [`Framer::space`] and takes [`Framer::block`] until there is none.
#[derive(Debug)]
pub struct Framer {
    style: Style,
    /// What came and is not in a block yet. Starts at a record.
    pending: Vec<u8>,
    /// Bytes of `pending` in which no record ends unless more comes.
    seen: usize,
    /// Inside a line that is too long: its rest is dropped.
    skipping: bool,
    /// What is known of the message, or the object, that `pending` begins with.
    message: sip::Progress,
    object: Bounds,
    broken: Option<Reject>,
    /// Nothing was looked at yet: a byte order mark may come.
    at_start: bool,
    spare: Vec<u8>,
}

/// What some spreadsheets begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Framer {
    pub fn new(style: Style) -> Framer {
        Framer {
            style,
            pending: Vec::new(),
            seen: 0,
            skipping: false,
            message: sip::Progress::default(),
            object: Bounds::default(),
            broken: None,
            at_start: style != Style::Hep,
            spare: Vec::new(),
        }
    }

    /// Append what was read here. Has room for `room` bytes.
    pub fn space(&mut self, room: usize) -> &mut Vec<u8> {
        self.pending.reserve(room);
        &mut self.pending
    }

    /// Bytes of a record that is not whole yet: a sender that stops now is slow.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Why nothing more can be read of this stream, once all blocks before that were taken. After
    /// [`Framer::finish`] also: that it ended inside of a record.
    pub fn broken(&self) -> Option<Reject> {
        self.broken
    }

    /// Gives back an empty block's memory, for the next one.
    pub fn recycle(&mut self, mut block: Vec<u8>) {
        block.clear();
        self.spare = block;
    }

    /// Frees what memory it can; for connections that have fallen idle.
    pub fn release(&mut self) {
        self.spare = Vec::new();
        self.pending.shrink_to_fit();
    }

    /// All whole records that came. `None` until more comes.
    pub fn block(&mut self) -> Option<Vec<u8>> {
        if self.at_start {
            if self.pending.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.pending) {
                return None;
            }
            self.skip_byte_order_mark();
        }
        if self.broken.is_some() {
            self.pending.clear();
            return None;
        }
        match self.style {
            Style::Lines | Style::Quoted(_) => self.lines(),
            Style::Elements(close) => self.elements(close),
            Style::Hep => self.packets(),
            Style::Sip => self.messages(),
            Style::Json => self.objects(),
        }
    }

    /// What is left when the stream has ended. A last line needs no newline, a last SIP message neither a blank line
    /// nor all of its body.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.pending);
        if self.style == Style::Sip {
            // What stood before the message may have been taken off by an earlier read.
            let between = rest.iter().take_while(|b| sip::is_between(b)).count();
            rest.drain(..between);
        }
        let skipping = std::mem::take(&mut self.skipping);
        (self.seen, self.object) = (0, Bounds::default());
        let message = std::mem::take(&mut self.message);
        if rest.is_empty() || skipping || self.broken.is_some() {
            return None;
        }
        let is_record = match self.style {
            Style::Lines | Style::Quoted(_) | Style::Elements(_) | Style::Json => true,
            Style::Hep => false,
            Style::Sip => message.is_readable(&rest),
        };
        if !is_record {
            self.broken = Some(Reject::Incomplete);
        }
        is_record.then_some(rest)
    }

    fn skip_byte_order_mark(&mut self) {
        self.at_start = false;
        if self.pending.starts_with(BYTE_ORDER_MARK) {
            self.pending.drain(..BYTE_ORDER_MARK.len());
        }
    }

    fn lines(&mut self) -> Option<Vec<u8>> {
        if self.skipping {
            let Some(newline) = memchr::memchr(b'\n', &self.pending) else {
                self.pending.clear();
                return None;
            };
            self.pending.drain(..=newline);
            (self.skipping, self.seen) = (false, 0);
        }
        let fresh = self.pending.get(self.seen..).unwrap_or(&[]);
        let whole = match (memchr::memrchr(b'\n', fresh), self.style) {
            (Some(newline), Style::Lines) => self.seen + newline + 1,
            // A full window decides without a newline: the quote that was open is not closed in time.
            (found, Style::Quoted(delimiter)) if found.is_some() || self.pending.len() > LINE_BYTES_MAX => {
                quoted::whole_records(&self.pending, delimiter)
            }
            _ => 0,
        };
        let open = self.pending.get(whole..).unwrap_or(&[]);
        if open.len() > LINE_BYTES_MAX && memchr::memchr(b'\n', open).is_none() {
            return Some(self.cut_long_line(whole));
        }
        if whole == 0 {
            self.seen = self.pending.len();
            return None;
        }
        let block = self.split_off(whole);
        self.seen = self.pending.len();
        Some(block)
    }

    /// As lines, of records that end with a tag. One that is too long is passed on cut, as a line is.
    fn elements(&mut self, close: &[u8]) -> Option<Vec<u8>> {
        // A tag may have come in two parts.
        let overlap = close.len().saturating_sub(1);
        if self.skipping {
            let Some(at) = memmem::find(&self.pending, close) else {
                self.pending.drain(..self.pending.len().saturating_sub(overlap));
                return None;
            };
            self.pending.drain(..at + close.len());
            (self.skipping, self.seen) = (false, 0);
        }
        let from = self.seen.saturating_sub(overlap);
        let fresh = self.pending.get(from..).unwrap_or(&[]);
        let whole = memmem::rfind(fresh, close).map_or(0, |at| from + at + close.len());
        if self.pending.len() - whole > LINE_BYTES_MAX {
            let cut = whole + LINE_BYTES_MAX + 1;
            let rest = self.pending.get(cut.saturating_sub(overlap)..).unwrap_or(&[]).to_vec();
            self.pending.truncate(cut);
            (self.skipping, self.seen) = (true, 0);
            return Some(std::mem::replace(&mut self.pending, rest));
        }
        if whole == 0 {
            self.seen = self.pending.len();
            return None;
        }
        let block = self.split_off(whole);
        self.seen = self.pending.len();
        Some(block)
    }

    fn packets(&mut self) -> Option<Vec<u8>> {
        let mut whole = 0;
        while let Some(rest) = self.pending.get(whole..) {
            match hep::first_packet(rest) {
                hep::Framed::Whole(len) => whole += len,
                hep::Framed::Incomplete => break,
                hep::Framed::Broken => {
                    self.broken = Some(Reject::FramingLost);
                    break;
                }
            }
        }
        self.whole_before_break(whole)
    }

    fn messages(&mut self) -> Option<Vec<u8>> {
        let mut whole = 0;
        while let Some(rest) = self.pending.get(whole..) {
            match self.message.first(rest) {
                FirstMessage::Whole { skip, len } => whole += skip + len,
                FirstMessage::Between if whole == 0 => self.pending.clear(),
                FirstMessage::Between => whole = self.pending.len(),
                FirstMessage::Incomplete => break,
                FirstMessage::Broken(reason) => {
                    self.broken = Some(reason);
                    break;
                }
            }
            if whole == self.pending.len() {
                break;
            }
        }
        self.whole_before_break(whole)
    }

    /// What is no object stays in its place: the decoder finds it as [`Bounds`] does here, and says so.
    fn objects(&mut self) -> Option<Vec<u8>> {
        if self.object.is_lost() {
            let lost = self.object.skip(&self.pending);
            self.pending.drain(..lost);
        }
        let mut whole = 0;
        while let Some(fresh) = self.pending.get(self.seen..) {
            match self.object.next(fresh) {
                Next::Whole(len) => self.seen += len,
                Next::Bad(len) | Next::TooLong(len) => {
                    self.seen += len;
                    self.seen += self.object.skip(self.pending.get(self.seen..).unwrap_or(&[]));
                }
                Next::Open { is_blank } => {
                    match whole {
                        0 if is_blank => self.pending.clear(),
                        _ if is_blank => whole = self.pending.len(),
                        _ => {}
                    }
                    break;
                }
            }
            whole = self.seen;
        }
        let block = (whole > 0).then(|| self.split_off(whole));
        self.seen = self.pending.len();
        block
    }

    /// The first `whole` bytes as a block. Only the tail is copied.
    fn split_off(&mut self, whole: usize) -> Vec<u8> {
        let mut next = std::mem::take(&mut self.spare);
        next.extend_from_slice(self.pending.get(whole..).unwrap_or(&[]));
        self.pending.truncate(whole);
        std::mem::replace(&mut self.pending, next)
    }

    /// As [`Framer::split_off`], without what can not be read.
    fn whole_before_break(&mut self, whole: usize) -> Option<Vec<u8>> {
        if self.broken.is_some() {
            self.pending.truncate(whole);
        }
        (whole > 0).then(|| self.split_off(whole))
    }

    /// The records before `whole` and, cut, the line that starts there.
    #[cold]
    fn cut_long_line(&mut self, whole: usize) -> Vec<u8> {
        self.pending.truncate(whole + LINE_BYTES_MAX + 1);
        self.pending.push(b'\n');
        (self.skipping, self.seen) = (true, 0);
        std::mem::replace(&mut self.pending, std::mem::take(&mut self.spare))
    }
}
