//! A byte stream becomes blocks of whole records: the sole owner of "incomplete".
//!
//! However the stream is cut into reads, the records are the same. A line longer than
//! [`LINE_BYTES_MAX`] is passed on cut to one byte more than that, by which the decoders know and reject
//! it in its place; what follows it is not lost.
//!
//! A CSV record may go on over line breaks inside quotes, within [`RECORD_LINES_MAX`] and [`LINE_BYTES_MAX`]. Where
//! no quote closes it within those, or closes it in the middle of a text, its first line alone is bad and the next
//! line starts a record: a stray quote costs one line.

use memchr::memmem;

use crate::limits::{LINE_BYTES_MAX, RECORD_LINES_MAX};

/// What ends a record of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Every newline does.
    Lines,
    /// A newline outside of quotes does; this byte stands between fields.
    Quoted(u8),
    /// This closing tag does, wherever it stands.
    Elements(&'static [u8]),
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
    /// Nothing was looked at yet: a byte order mark may come.
    at_start: bool,
    spare: Vec<u8>,
}

/// What some spreadsheets begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Framer {
    pub fn new(style: Style) -> Framer {
        Framer { style, pending: Vec::new(), seen: 0, skipping: false, at_start: true, spare: Vec::new() }
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
        if let Style::Elements(close) = self.style {
            return self.elements(close);
        }
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
                whole_records(&self.pending, delimiter)
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
        Some(self.split_off(whole))
    }

    /// As [`Framer::block`], of records that end with a tag. One that is too long is passed on cut, as a line is.
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
        Some(self.split_off(whole))
    }

    /// What is left when the stream has ended. A last line needs no newline.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.pending);
        let skipping = std::mem::take(&mut self.skipping);
        self.seen = 0;
        (!skipping && !rest.is_empty()).then_some(rest)
    }

    fn skip_byte_order_mark(&mut self) {
        self.at_start = false;
        if self.pending.starts_with(BYTE_ORDER_MARK) {
            self.pending.drain(..BYTE_ORDER_MARK.len());
        }
    }

    /// The first `whole` bytes as a block. Only the tail is copied.
    fn split_off(&mut self, whole: usize) -> Vec<u8> {
        let mut next = std::mem::take(&mut self.spare);
        next.extend_from_slice(self.pending.get(whole..).unwrap_or(&[]));
        self.seen = next.len();
        self.pending.truncate(whole);
        std::mem::replace(&mut self.pending, next)
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

/// Bytes of `stream` that are whole quoted records, however it goes on.
fn whole_records(stream: &[u8], delimiter: u8) -> usize {
    let mut at = 0;
    while let Some(rest) = stream.get(at..) {
        match first_record(rest, delimiter) {
            First::Record { end, .. } | First::Unclosed { line_end: end } => at += end,
            First::TooLong => match memchr::memchr(b'\n', rest) {
                Some(newline) => at += newline + 1,
                None => break,
            },
            First::Open { .. } => break,
        }
    }
    at
}

/// What stands at the start of a stream of quoted records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A record of `len` bytes; the next starts at `end`.
    Record { len: usize, end: usize },
    /// A quote is opened and not closed within bounds: the line is bad, the next one starts a record.
    Unclosed { line_end: usize },
    /// A line past [`LINE_BYTES_MAX`].
    TooLong,
    /// The stream ends before the record does, inside or outside of quotes.
    Open { in_quotes: bool },
}

/// Looks no further than [`LINE_BYTES_MAX`] and [`RECORD_LINES_MAX`], so that it says the same of a longer stream.
pub(crate) fn first_record(stream: &[u8], delimiter: u8) -> First {
    let window = stream.get(..LINE_BYTES_MAX + 1).unwrap_or(stream);
    let (mut at, mut n_lines, mut first_newline) = (0, 1, None);
    let mut in_quotes = window.first() == Some(&b'"');
    at += usize::from(in_quotes);
    loop {
        let rest = window.get(at..).unwrap_or(&[]);
        if in_quotes {
            let Some(found) = memchr::memchr2(b'"', b'\n', rest) else { break };
            at += found + 1;
            if rest.get(found) == Some(&b'\n') {
                first_newline.get_or_insert(at);
                n_lines += 1;
                if n_lines > RECORD_LINES_MAX {
                    break;
                }
            } else if window.get(at) == Some(&b'"') {
                at += 1;
            } else {
                in_quotes = false;
                // A quote that closes inside of text, lines later, was opening: the one before it was astray.
                let is_end = |b: &u8| *b == delimiter || matches!(b, b'\n' | b'\r');
                if let (Some(line_end), Some(false)) = (first_newline, window.get(at).map(is_end)) {
                    return First::Unclosed { line_end };
                }
            }
        } else {
            let Some(found) = memchr::memchr2(delimiter, b'\n', rest) else { break };
            at += found + 1;
            if rest.get(found) == Some(&b'\n') {
                return First::Record { len: at - 1, end: at };
            }
            if window.get(at) == Some(&b'"') {
                (in_quotes, at) = (true, at + 1);
            }
        }
    }
    match first_newline {
        _ if window.len() <= LINE_BYTES_MAX && n_lines <= RECORD_LINES_MAX => First::Open { in_quotes },
        Some(line_end) => First::Unclosed { line_end },
        None => First::TooLong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All records, as the decoders would find them; long lines by their mark alone.
    fn records(style: Style, stream: &[u8], reads: &[usize]) -> Vec<Vec<u8>> {
        let mut framer = Framer::new(style);
        let mut blocks = Vec::new();
        let mut rest = stream;
        let mut reads = reads.iter().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*reads.next().unwrap()).clamp(1, rest.len()));
            framer.space(now.len()).extend_from_slice(now);
            rest = later;
            while let Some(block) = framer.block() {
                blocks.push(block);
            }
            assert!(framer.pending_bytes() <= 2 * LINE_BYTES_MAX + now.len());
        }
        blocks.extend(framer.finish());
        let mut found = Vec::new();
        for block in blocks {
            let mut rest = block.as_slice();
            while !rest.is_empty() {
                let newline = memchr::memchr(b'\n', rest);
                let end = match style {
                    Style::Lines => newline.map_or(rest.len(), |at| at + 1),
                    Style::Elements(close) => memmem::find(rest, close).map_or(rest.len(), |at| at + close.len()),
                    Style::Quoted(delimiter) => match first_record(rest, delimiter) {
                        First::Record { end, .. } | First::Unclosed { line_end: end } => end,
                        First::TooLong | First::Open { .. } => newline.map_or(rest.len(), |at| at + 1),
                    },
                };
                let record = &rest[..end];
                let long = record.len() > LINE_BYTES_MAX + 1;
                found.push(if long { b"too long".to_vec() } else { record.to_vec() });
                rest = &rest[end..];
            }
        }
        found
    }

    #[test]
    fn a_last_line_without_newline_counts() {
        assert_eq!(records(Style::Lines, b"a\nb", &[100]), [b"a\n".to_vec(), b"b".to_vec()]);
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_is_cut_and_costs_no_neighbour() {
        for (len, expected) in
            [(LINE_BYTES_MAX, None), (LINE_BYTES_MAX + 1, Some("too long")), (300_000, Some("too long"))]
        {
            let line = vec![b'x'; len];
            let stream = [b"first\n".as_slice(), &line, b"\nlast\n"].concat();
            for read in [1 << 20, 4096, 1000, 65_536] {
                let found = records(Style::Lines, &stream, &[read]);
                assert_eq!(found.len(), 3, "{len} {read}");
                assert_eq!((&found[0][..], &found[2][..]), (&b"first\n"[..], &b"last\n"[..]));
                if let Some(mark) = expected {
                    assert_eq!(found[1], mark.as_bytes(), "{len} {read}");
                }
            }
        }
    }

    #[test]
    fn quoted_records_go_on_over_newlines_and_a_stray_quote_costs_one_line() {
        let stream = b"a,\"b\nc\",d\r\n1,\"stray\n2,3\n4,5\n";
        let expected = [&b"a,\"b\nc\",d\r\n"[..], b"1,\"stray\n", b"2,3\n", b"4,5\n"];
        for read in [1, 2, 3, 7, 100] {
            assert_eq!(records(Style::Quoted(b','), stream, &[read]), expected, "{read}");
        }
        assert_eq!(first_record(b"x\"y,\"open", b','), First::Open { in_quotes: true });
        assert_eq!(first_record(b"x\"y\n", b','), First::Record { len: 3, end: 4 });
    }

    #[test]
    fn an_unclosed_quote_is_given_up_after_so_many_lines() {
        let stream = [b"\"\n".as_slice(), &b"x\n".repeat(RECORD_LINES_MAX)].concat();
        assert_eq!(first_record(&stream, b','), First::Unclosed { line_end: 2 });
    }

    proptest! {
        #[test]
        fn records_are_the_same_however_the_stream_is_split(
            stream in proptest::collection::vec(prop_oneof![
                4 => Just(b"\"".to_vec()), 4 => Just(b"\n".to_vec()), 4 => Just(b",".to_vec()), 4 => Just(b"ab".to_vec()),
                1 => Just(vec![b'y'; 70_000]), 1 => Just(vec![b'z'; 40_000]), 1 => Just(b"\n".repeat(40)),
            ], 0..60),
            reads in proptest::collection::vec(1usize..100_000, 1..20),
        ) {
            let stream = stream.concat();
            for style in [Style::Lines, Style::Quoted(b',')] {
                prop_assert_eq!(records(style, &stream, &reads), records(style, &stream, &[usize::MAX]));
            }
        }
    }
}
