//! Where a SIP message of a stream ends: so many bytes after its blank line as `Content-Length` says. Nothing else of
//! it is read.

use crate::event::Reject;
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// What a stream of messages begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstMessage {
    /// A message of `len` bytes after `skip` that keep the connection alive.
    Whole { skip: usize, len: usize },
    /// A message begins that is not whole yet.
    Incomplete,
    /// Nothing but what may stand between messages.
    Between,
    /// Nothing tells where the next message starts.
    Broken(Reject),
}

/// The first message, for whoever has a block of whole ones. The last of a stream may be [`FirstMessage::Incomplete`].
pub(crate) fn first_message(stream: &[u8]) -> FirstMessage {
    Progress::default().first(stream)
}

/// Line breaks, and the zeros of some phones: they keep connections alive.
pub(super) fn is_between(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// What is known of the first message of a stream that grows, so that no byte of its head is looked at twice.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What stood before it.
    skip: usize,
    /// Bytes of the message in which the head does not end.
    looked: usize,
    has_start_line: bool,
    /// Once the head is whole.
    len: Option<usize>,
}

impl Progress {
    /// `stream` begins as it did in the last call; after a whole message, with the next one.
    pub(super) fn first(&mut self, stream: &[u8]) -> FirstMessage {
        let len = match self.len {
            Some(len) => len,
            None => match self.read_head(stream) {
                Ok(len) => len,
                Err(otherwise) => {
                    if otherwise == FirstMessage::Between {
                        *self = Progress::default();
                    }
                    return otherwise;
                }
            },
        };
        self.len = Some(len);
        if stream.len() < self.skip + len {
            return FirstMessage::Incomplete;
        }
        let skip = self.skip;
        *self = Progress::default();
        FirstMessage::Whole { skip, len }
    }

    #[cfg(test)]
    pub(super) fn looked(&self) -> usize {
        self.looked
    }

    /// Whether what came before the stream ended is worth reading: a whole head, or one that lacks its blank line
    /// alone. Half a line is not, since half a number is another number.
    pub(super) fn is_readable(&self, rest: &[u8]) -> bool {
        self.len.is_some() || (self.has_start_line && rest.ends_with(b"\n"))
    }

    /// The length of the message, once its head is whole.
    fn read_head(&mut self, stream: &[u8]) -> Result<usize, FirstMessage> {
        if self.looked == 0 {
            let rest = stream.get(self.skip..).unwrap_or(&[]);
            self.skip += rest.iter().position(|b| !is_between(b)).ok_or(FirstMessage::Between)?;
        }
        let message = stream.get(self.skip..).unwrap_or(&[]);
        let window = message.get(..SIP_MESSAGE_BYTES_MAX).unwrap_or(message);
        if self.looked == 0 && !window.first().is_some_and(u8::is_ascii_graphic) {
            return Err(FirstMessage::Broken(Reject::FramingLost));
        }
        let Some(head_len) = self.head_len(window)? else {
            let is_full = window.len() == SIP_MESSAGE_BYTES_MAX;
            return Err(if is_full { FirstMessage::Broken(Reject::MessageTooLong) } else { FirstMessage::Incomplete });
        };
        let head = window.get(..head_len).unwrap_or(window);
        let body_len = content_length(head).ok_or(FirstMessage::Broken(Reject::FramingLost))?;
        match head_len.saturating_add(body_len) {
            len if len <= SIP_MESSAGE_BYTES_MAX => Ok(len),
            _ => Err(FirstMessage::Broken(Reject::MessageTooLong)),
        }
    }

    /// Up to and with the blank line, if it is there.
    fn head_len(&mut self, window: &[u8]) -> Result<Option<usize>, FirstMessage> {
        while let Some(found) = memchr::memchr(b'\n', window.get(self.looked..).unwrap_or(&[])) {
            let newline = self.looked + found;
            if !self.has_start_line {
                if !is_start_line(window.get(..newline).unwrap_or(&[])) {
                    return Err(FirstMessage::Broken(Reject::FramingLost));
                }
                self.has_start_line = true;
            }
            self.looked = newline;
            match window.get(newline + 1..) {
                Some([b'\n', ..]) => return Ok(Some(newline + 2)),
                Some([b'\r', b'\n', ..]) => return Ok(Some(newline + 3)),
                Some([] | [b'\r']) | None => return Ok(None),
                Some(_) => self.looked = newline + 1,
            }
        }
        self.looked = window.len();
        Ok(None)
    }
}

/// `SIP/2.0 200 OK`, or a request that ends so. Which version, and whether the rest is right, is the parser's to say.
pub(super) fn is_start_line(line: &[u8]) -> bool {
    let begins = |at: usize| line.get(at..at + 4).is_some_and(|word| word.eq_ignore_ascii_case(b"SIP/"));
    begins(0) || memchr::memchr_iter(b' ', line).any(|space| begins(space + 1))
}

/// What the head says of the body. A stream's message without it has none; `None` where it says two things or
/// nothing that is a number.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut said = None;
    for newline in memchr::memchr_iter(b'\n', head) {
        let line = head.get(newline + 1..).unwrap_or(&[]);
        let Some(value) = after_name(line) else { continue };
        let length = number(value)?;
        if said.is_some_and(|said| said != length) {
            return None;
        }
        said = Some(length);
    }
    Some(said.unwrap_or(0))
}

/// What follows `Content-Length:` or `l:`, if the line begins so.
fn after_name(line: &[u8]) -> Option<&[u8]> {
    const LONG: &[u8] = b"content-length";
    let rest = match line {
        [b'c' | b'C', ..] => line.split_at_checked(LONG.len()).filter(|(name, _)| name.eq_ignore_ascii_case(LONG))?.1,
        [b'l' | b'L', rest @ ..] => rest,
        _ => return None,
    };
    after_blanks(rest).strip_prefix(b":")
}

/// The number of a header's value, which may begin on the next line.
fn number(value: &[u8]) -> Option<usize> {
    let mut value = after_blanks(value);
    while let [b'\r', b'\n', b' ' | b'\t', ..] | [b'\n', b' ' | b'\t', ..] = value {
        value = value.trim_ascii_start();
    }
    let n_digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = value.split_at_checked(n_digits).filter(|(digits, _)| !digits.is_empty())?;
    let ends = matches!(after_blanks(rest), [] | [b'\n', ..] | [b'\r', ..]);
    let add = |sum: usize, digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit & 0x0f));
    ends.then(|| digits.iter().fold(0, add))
}

fn after_blanks(text: &[u8]) -> &[u8] {
    let n_blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    text.get(n_blanks..).unwrap_or(&[])
}
