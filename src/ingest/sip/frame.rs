//! Where a message of a TCP stream ends: behind as many bytes of body as its Content-Length says.

use super::header::Header;
use super::line::{Fields, first_line, head_len};
use super::value::integer;
use super::{Start, is_keep_alive};
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// What stands at the start of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A message of `len` bytes behind `skip` bytes of keep-alives.
    Whole { skip: usize, len: usize },
    /// More must come. The first `skip` bytes are keep-alives that may be dropped; behind them a message is whole at
    /// `need` bytes at the earliest, and `seen` is for [`first_message_after`].
    Incomplete { skip: usize, need: usize, seen: usize },
    /// No message, or one whose end cannot be told: nothing that follows can be read.
    Broken,
}

/// Length of the first whole message. Says the same of a stream however much of it has come.
pub fn first_message(stream: &[u8]) -> Framed {
    first_message_after(stream, 0)
}

/// As [`first_message`], of a stream that was found [`Framed::Incomplete`] before and has lost what was to skip. Looks
/// no second time for the end of the head in what was seen; whoever also waits for `need` bytes reads each head once.
pub fn first_message_after(stream: &[u8], seen: usize) -> Framed {
    let skip = stream.iter().take_while(|b| is_keep_alive(**b)).count();
    let message = stream.get(skip..).unwrap_or_default();
    let Some(head) = head_len(message, seen) else {
        return match message.len() >= SIP_MESSAGE_BYTES_MAX {
            true => Framed::Broken,
            false => Framed::Incomplete { skip, need: message.len() + 1, seen: message.len() },
        };
    };
    let Some(body) = message.get(..head).and_then(body_len) else { return Framed::Broken };
    let len = head.saturating_add(body);
    match len {
        _ if len > SIP_MESSAGE_BYTES_MAX => Framed::Broken,
        _ if len > message.len() => Framed::Incomplete { skip, need: len, seen: head - 1 },
        _ => Framed::Whole { skip, len },
    }
}

/// What the Content-Length of a whole head says; none is none. `None` where there is no start line, or lengths that are
/// no number or contradict each other.
fn body_len(head: &[u8]) -> Option<usize> {
    let (start, fields) = first_line(head);
    Start::parse(start).ok()?;
    let mut said = None;
    for (_, value) in Fields::new(fields).filter(|(name, _)| Header::of(name) == Some(Header::ContentLength)) {
        let len = usize::try_from(integer(value)?).ok()?;
        if said.replace(len).is_some_and(|before| before != len) {
            return None;
        }
    }
    Some(said.unwrap_or(0))
}
