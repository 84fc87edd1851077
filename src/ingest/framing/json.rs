//! Where a JSON object of a stream ends, however many lines it takes: at the brace that closes it. Whether it is good
//! JSON is for the decoder; here only what shows that its end will not be found.
//!
//! Two things cannot be inside of an object, and so end a bad one before it costs its neighbours: a line break in a
//! text, and a brace that opens after anything but `:`, `,` and `[`. Every byte is looked at once.

use crate::limits::JSON_RECORD_BYTES_MAX;

/// What a stream of objects begins with. All places are counted from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstObject {
    /// From brace to brace.
    Object { start: usize, end: usize },
    /// No object. The stream goes on at the next line that begins with a brace; a block ends here.
    Bad { start: usize, end: usize },
    /// Past [`JSON_RECORD_BYTES_MAX`], else as [`FirstObject::Bad`].
    TooLong { start: usize, end: usize },
    /// It ends before the object does.
    Open { start: usize },
    /// Nothing but what may stand between objects.
    Between,
}

/// The first object, for whoever has a block of them.
#[allow(dead_code)] // Until a decoder of this style is there.
pub(crate) fn first_object(stream: &[u8]) -> FirstObject {
    Progress::default().first(stream)
}

/// Where the next object starts after a bad one: at a brace that begins a line.
pub(super) fn next_start(stream: &[u8], after_newline: bool) -> Option<usize> {
    if after_newline && stream.first() == Some(&b'{') {
        return Some(0);
    }
    memchr::memmem::find(stream, b"\n{").map(|newline| newline + 1)
}

/// What is known of the first object of a stream that grows.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes that were looked at.
    at: usize,
    start: usize,
    /// Braces that are open. At 0 the object has not begun.
    depth: u32,
    in_text: bool,
    /// It begins with something else than a brace.
    is_junk: bool,
}

impl Progress {
    /// `stream` begins as it did in the last call; after a whole object, with the next one.
    pub(super) fn first(&mut self, stream: &[u8]) -> FirstObject {
        let found = self.look(stream);
        if !matches!(found, FirstObject::Open { .. }) {
            *self = Progress::default();
        }
        found
    }

    #[cfg(test)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn look(&mut self, stream: &[u8]) -> FirstObject {
        if self.depth == 0 && !self.is_junk {
            let rest = stream.get(self.at..).unwrap_or(&[]);
            let Some(begin) = rest.iter().position(|b| !is_between(*b)) else { return FirstObject::Between };
            self.start = self.at + begin;
            self.at = self.start;
            match stream.get(self.start) {
                Some(b'{') => (self.depth, self.at) = (1, self.start + 1),
                _ => self.is_junk = true,
            }
        }
        let start = self.start;
        let too_long = start + JSON_RECORD_BYTES_MAX + 1;
        let window = stream.get(..too_long).unwrap_or(stream);
        let found = if self.is_junk { self.end_of_line(window) } else { self.end_of_object(window) };
        match found {
            Some(found) => found,
            None if window.len() == too_long => FirstObject::TooLong { start, end: too_long },
            None => FirstObject::Open { start },
        }
    }

    fn end_of_line(&mut self, window: &[u8]) -> Option<FirstObject> {
        let newline = memchr::memchr(b'\n', window.get(self.at..)?).map(|found| self.at + found);
        self.at = window.len();
        newline
            .filter(|newline| newline - self.start < JSON_RECORD_BYTES_MAX)
            .map(|newline| FirstObject::Bad { start: self.start, end: newline + 1 })
    }

    fn end_of_object(&mut self, window: &[u8]) -> Option<FirstObject> {
        let start = self.start;
        loop {
            let rest = window.get(self.at..)?;
            let found = match self.in_text {
                true => memchr::memchr3(b'"', b'\\', b'\n', rest),
                false => memchr::memchr3(b'"', b'{', b'}', rest),
            };
            let Some(found) = found else {
                self.at = window.len();
                return None;
            };
            let at = self.at + found;
            if at - start >= JSON_RECORD_BYTES_MAX {
                self.at = window.len();
                return None;
            }
            match rest.get(found..) {
                Some([b'"', ..]) => self.in_text = !self.in_text,
                Some([b'\n', ..]) => return Some(FirstObject::Bad { start, end: at + 1 }),
                Some([b'\\']) => {
                    self.at = at;
                    return None;
                }
                // The next turn looks at the line break itself.
                Some([b'\\', b'\n', ..]) => {}
                Some([b'\\', ..]) => self.at += 1,
                Some([b'{', ..]) if opens_value(window.get(start..at)?) => self.depth = self.depth.saturating_add(1),
                Some([b'{', ..]) => return Some(FirstObject::Bad { start, end: at + 1 }),
                _ => self.depth -= 1,
            }
            self.at += found + 1;
            if self.depth == 0 {
                return Some(FirstObject::Object { start, end: self.at });
            }
        }
    }
}

/// Whether a value may follow this much of an object.
fn opens_value(before: &[u8]) -> bool {
    matches!(before.trim_ascii_end().last(), Some(b':' | b',' | b'['))
}

/// White space, the separator of RFC 7464, and what makes objects a list.
fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x1e | b'[' | b']' | b',')
}
