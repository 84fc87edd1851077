//! Where one JSON object of a stream ends and the next begins, whatever the spacing: one line each, or many lines.
//!
//! Only the structure is checked, value by value of it as it comes: so an object that was cut off is told apart from the
//! one behind it at the first byte that fits neither, and costs no neighbour. What stands inside of texts and numbers
//! is the decoder's. Every byte is looked at once, however the stream is cut into reads.

use crate::limits::JSON_CDR_BYTES_MAX;

/// Deepest nesting of an object. Call records nest eight deep.
const DEPTH_MAX: u32 = 64;

/// What a stream goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// An object, with the space before it, ends here.
    Whole(usize),
    /// No object: the mistake stands here. What is lost by it is for [`Bounds::skip`] to say.
    Bad(usize),
    /// The object that goes on here is longer than [`JSON_CDR_BYTES_MAX`]. As with [`Next::Bad`].
    TooLong(usize),
    /// The stream ends before an object does; with `is_blank` nothing of one has come.
    Open { is_blank: bool },
}

/// Finds the objects of a stream that comes in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    state: State,
    /// One bit a level: 1 in an object.
    levels: u64,
    depth: u32,
    /// Bytes of the object that is open.
    len: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Outside of objects. Spaces may stand there, and what an array has around its items.
    #[default]
    Between,
    /// Behind a mistake.
    Lost(Hope),
    FirstKey,
    Key,
    Colon,
    FirstItem,
    Value,
    /// A value has ended.
    After,
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    /// A number, or `true` and the like.
    Word,
}

/// May the next byte begin an object? Braces inside of what is lost shall not pass for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hope {
    /// A line begins here, or here is where the mistake was seen: the object before may have been cut off.
    Now,
    /// Something has ended by a brace; spaces may follow.
    Soon,
    No,
}

impl Bounds {
    /// Goes on with `stream`, which begins where the last call ended: where it said, or, after [`Next::Open`], behind all
    /// that it was given.
    pub(crate) fn next(&mut self, stream: &[u8]) -> Next {
        let mut at = 0;
        while let Some(byte) = stream.get(at) {
            let step = match self.state {
                State::Lost(_) => break,
                State::Text { is_key } => {
                    let rest = stream.get(at..).unwrap_or(&[]);
                    // Past the limit nothing more is looked at, however much of the text has come.
                    let room = rest.get(..JSON_CDR_BYTES_MAX + 1 - self.len.min(JSON_CDR_BYTES_MAX)).unwrap_or(rest);
                    let len = memchr::memchr3(b'"', b'\\', b'\n', room).unwrap_or(room.len());
                    (at, self.len) = (at + len, self.len + len);
                    if self.len <= JSON_CDR_BYTES_MAX
                        && let Some(end) = room.get(len)
                    {
                        self.end_of_text(*end, is_key)
                    } else {
                        Step::Again
                    }
                }
                _ => self.step(*byte),
            };
            match step {
                Step::On => at += 1,
                Step::Again => {}
                Step::End => return Next::Whole(at + 1),
                Step::Bad(hope) => {
                    *self = Bounds { state: State::Lost(hope), ..Bounds::default() };
                    return Next::Bad(at);
                }
            }
            if self.len > JSON_CDR_BYTES_MAX {
                *self = Bounds { state: State::Lost(Hope::No), ..Bounds::default() };
                return Next::TooLong(at);
            }
        }
        Next::Open { is_blank: matches!(self.state, State::Between | State::Lost(_)) }
    }

    /// How many bytes are lost before an object begins; all of them, and of what comes next, if none does.
    pub(crate) fn skip(&mut self, stream: &[u8]) -> usize {
        let State::Lost(mut hope) = self.state else { return 0 };
        for (at, byte) in stream.iter().enumerate() {
            hope = match (hope, byte) {
                (Hope::Now | Hope::Soon, b'{') => {
                    self.state = State::Between;
                    return at;
                }
                (_, b'}') => Hope::Soon,
                (Hope::Soon, b' ' | b'\t' | b'\r' | b'\n') => Hope::Soon,
                (_, b'\n') => Hope::Now,
                _ => Hope::No,
            };
        }
        self.state = State::Lost(hope);
        stream.len()
    }

    /// Behind a mistake, with no object in sight.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost(_))
    }

    fn end_of_text(&mut self, byte: u8, is_key: bool) -> Step {
        self.state = match byte {
            b'"' if is_key => State::Colon,
            b'"' => State::After,
            b'\\' => State::Escape { is_key },
            // No text goes on over a line's end: this one was cut off.
            _ => return Step::Bad(Hope::Now),
        };
        self.len += 1;
        Step::On
    }

    /// A byte outside of texts.
    fn step(&mut self, byte: u8) -> Step {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if self.state == State::Between {
            return match byte {
                b'{' => self.open(true),
                b',' | b'[' | b']' => Step::On,
                _ if is_space => Step::On,
                _ => Step::Bad(Hope::Now),
            };
        }
        self.len += 1;
        match (self.state, byte) {
            (State::Escape { is_key }, _) => self.state = State::Text { is_key },
            (State::Word, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') => {}
            (State::Word, _) => {
                self.len -= 1;
                self.state = State::After;
                return Step::Again;
            }
            _ if is_space => {}
            (State::FirstKey | State::Key, b'"') => self.state = State::Text { is_key: true },
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => self.state = if self.in_object() { State::Key } else { State::Value },
            (State::FirstKey, b'}') | (State::FirstItem, b']') => return self.close(),
            (State::After, b'}') if self.in_object() => return self.close(),
            (State::After, b']') if !self.in_object() => return self.close(),
            (State::Value | State::FirstItem, b'"') => self.state = State::Text { is_key: false },
            (State::Value | State::FirstItem, b'{') => return self.open(true),
            (State::Value | State::FirstItem, b'[') => return self.open(false),
            (State::Value | State::FirstItem, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.state = State::Word,
            _ => return Step::Bad(Hope::Now),
        }
        Step::On
    }

    fn in_object(&self) -> bool {
        self.levels & 1 == 1
    }

    fn open(&mut self, is_object: bool) -> Step {
        if self.depth == DEPTH_MAX {
            return Step::Bad(Hope::No);
        }
        self.len = self.len.max(1);
        self.depth += 1;
        self.levels = self.levels << 1 | u64::from(is_object);
        self.state = if is_object { State::FirstKey } else { State::FirstItem };
        Step::On
    }

    fn close(&mut self) -> Step {
        self.depth -= 1;
        self.levels >>= 1;
        if self.depth == 0 && self.len <= JSON_CDR_BYTES_MAX {
            *self = Bounds::default();
            return Step::End;
        }
        self.state = State::After;
        Step::On
    }
}

enum Step {
    /// To the next byte.
    On,
    /// The same byte in another state.
    Again,
    /// The object ends with this byte.
    End,
    Bad(Hope),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream is found to hold, cut into reads of `read` bytes: objects as they stand, `!` for what is none and
    /// `long` for what is too long.
    fn found(stream: &[u8], read: usize) -> Vec<String> {
        let (mut bounds, mut found) = (Bounds::default(), Vec::new());
        let mut pending = Vec::new();
        let mut seen = 0;
        for piece in stream.chunks(read) {
            pending.extend_from_slice(piece);
            loop {
                if bounds.is_lost() {
                    let lost = bounds.skip(&pending);
                    (pending, seen) = (pending.split_off(lost), 0);
                }
                let (end, told) = match bounds.next(&pending[seen..]) {
                    Next::Whole(n) => {
                        let object = String::from_utf8_lossy(&pending[..seen + n]).into_owned();
                        (seen + n, object.trim_matches([' ', '\n', ',']).to_owned())
                    }
                    Next::Bad(n) => (seen + n, "!".into()),
                    Next::TooLong(n) => (seen + n, "long".into()),
                    Next::Open { .. } => break,
                };
                found.push(told);
                (pending, seen) = (pending.split_off(end), 0);
            }
            seen = pending.len();
        }
        found
    }

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        for read in [1, 2, 3, 7, 1 << 20] {
            assert_eq!(found(stream.as_bytes(), read), expected, "{read} bytes a read: {stream:?}");
        }
    }

    #[test]
    fn objects_end_at_their_own_brace_whatever_the_spacing() {
        check(
            "{}{\"a\":[{}, -1.5e3,true ]}\n\n {\"b\" : \"}{\"}",
            &["{}", r#"{"a":[{}, -1.5e3,true ]}"#, r#"{"b" : "}{"}"#],
        );
        check("{\n  \"a\": {\n    \"b\": null\n  }\n}\n", &["{\n  \"a\": {\n    \"b\": null\n  }\n}"]);
        check(r#"{"a":"\\"}{"a":"\""}"#, &[r#"{"a":"\\"}"#, r#"{"a":"\""}"#]);
    }

    #[test]
    fn an_array_of_objects_is_as_good_as_a_stream_of_them() {
        check("[{\"a\":1},\n{\"a\":2}]\n", &["[{\"a\":1}", "{\"a\":2}"]);
    }

    #[test]
    fn an_object_that_was_cut_off_costs_no_neighbour() {
        for cut in ["{\"a\":{\"b\":1}\n", "{\"a\":\"no end\n", "{\"a\":1", "{", "{\"a\"", "{\"a\":1,\n"] {
            check(&format!("{{\"x\":1}}\n{cut}{{\"y\":2}}\n"), &["{\"x\":1}", "!", "{\"y\":2}"]);
        }
    }

    #[test]
    fn what_is_no_object_is_told_once_and_braces_inside_of_it_begin_none() {
        check("GET / HTTP/1.1\r\nHost: x{y}\r\n\r\n{}", &["!", "{}"]);
        check("{\"a\":bad {\"b\":1}}\n{}", &["!", "{}"]);
        check("\"text\" 5 {}\n", &["!"]);
    }

    #[test]
    fn nesting_past_its_limit_is_no_object() {
        let nested = |n: usize| "{\"a\":".repeat(n) + "1" + &"}".repeat(n);
        let fine = nested(DEPTH_MAX as usize);
        check(&fine, &[&fine]);
        check(&(nested(DEPTH_MAX as usize + 1) + "\n{}"), &["!", "{}"]);
    }

    #[test]
    fn an_object_of_the_limit_passes_and_a_longer_one_costs_itself_alone() {
        for (more, expected) in [(0, 0), (1, 1), (3 * JSON_CDR_BYTES_MAX, 1)] {
            let long = format!("{{\"a\":\"{}\"}}", "x".repeat(JSON_CDR_BYTES_MAX - 8 + more));
            let stream = format!("{{}}\n{long}\n{{\"b\":1}}");
            for read in [1000, 4096, 1 << 22] {
                let all = found(stream.as_bytes(), read);
                assert_eq!(all.len(), 3, "{more} {read}");
                assert_eq!(all.iter().filter(|o| *o == "long").count(), expected, "{more} {read}");
                assert_eq!(all[2], "{\"b\":1}");
            }
        }
    }
}
