//! Lines of a message head: where they end, which go on folded, and the blank one behind them.
//!
//! A line ends with CRLF or LF alone, as files and some senders have it. The blank line is where `framing` sees it too,
//! or what follows a message of a stream would depend on who looks.

use memchr::memchr;

/// Header fields of a head, one an item; folded values keep their folds.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// `after_start` begins behind the start line.
    pub(super) fn new(after_start: &'a [u8]) -> Fields<'a> {
        Fields { rest: after_start }
    }

    /// What follows the fields given so far: once there are no more, the body.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    /// Name and value, both trimmed. A line without a colon has no name.
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let text = self.rest;
        let mut end = memchr(b'\n', text).unwrap_or(text.len());
        if is_blank(text.get(..end)?) {
            self.rest = text.get(end + 1..).unwrap_or_default();
            return None;
        }
        while let Some(b' ' | b'\t') = text.get(end + 1) {
            let more = text.get(end + 1..)?;
            end += 1 + memchr(b'\n', more).unwrap_or(more.len());
        }
        self.rest = text.get(end + 1..).unwrap_or_default();
        let field = text.get(..end)?;
        // Names are short: shorter than what a vector search costs to begin.
        let Some(colon) = field.iter().position(|b| *b == b':') else { return Some((&[], field)) };
        Some((trimmed_end(field.get(..colon)?), field.get(colon + 1..)?.trim_ascii()))
    }
}

/// Only white space behind a name falls away: a line that begins with it is no field of its own.
fn trimmed_end(name: &[u8]) -> &[u8] {
    match name.last() {
        Some(b' ' | b'\t') => name.trim_ascii_end(),
        _ => name,
    }
}

/// Nothing but the rest of a line end before the LF.
fn is_blank(line: &[u8]) -> bool {
    matches!(line, [] | [b'\r'])
}

/// The first line without its end, and what follows it.
pub(super) fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', text).unwrap_or(text.len());
    (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default())
}
