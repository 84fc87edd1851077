//! Where a record of quoted fields ends.

use crate::limits::{LINE_BYTES_MAX, RECORD_LINES_MAX};

/// Bytes of `stream` that are whole quoted records, however it goes on.
pub(super) fn whole_records(stream: &[u8], delimiter: u8) -> usize {
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
