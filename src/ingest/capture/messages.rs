//! SIP and HEP messages told from everything else, and cut out of TCP streams.
//!
//! Decides by the first line and by lengths alone; what a message says is for `hep` and `sip` to read.

use memchr::{memchr, memchr_iter, memmem};

use crate::ingest::hep::{self, Framed};
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// Longest first line of a message, and longest method.
const START_LINE_BYTES_MAX: usize = 8 * 1024;
const METHOD_BYTES_MAX: usize = 64;

/// Longest message that is passed over by its length, instead of looking for the next one.
const SKIPPED_BYTES_MAX: u64 = 16 << 20;

/// Whether bytes begin with the first line of a SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartLine {
    Yes,
    No,
    /// As far as they go.
    Maybe,
}

pub(super) fn start_line(bytes: &[u8]) -> StartLine {
    const STATUS: &[u8] = b"SIP/2.0 ";
    let begun = bytes.get(..STATUS.len()).unwrap_or(bytes);
    if STATUS.get(..begun.len()).is_some_and(|status| status.eq_ignore_ascii_case(begun)) {
        return if begun.len() == STATUS.len() { StartLine::Yes } else { StartLine::Maybe };
    }
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(b);
    let method = bytes.iter().take(METHOD_BYTES_MAX + 1).take_while(|b| is_token(b)).count();
    match bytes.get(method) {
        Some(b' ') if (1..=METHOD_BYTES_MAX).contains(&method) => {}
        None if method <= METHOD_BYTES_MAX => return StartLine::Maybe,
        _ => return StartLine::No,
    }
    let within = bytes.get(..START_LINE_BYTES_MAX).unwrap_or(bytes);
    // Binary data has a control character long before it has a line end.
    let end = within.iter().position(|b| b.is_ascii_control() && *b != b'\t');
    match end.map(|end| within.split_at(end)) {
        Some((line, [b'\n', ..] | [b'\r', b'\n', ..])) if is_request_line(line) => StartLine::Yes,
        Some((line, [b'\r'])) if is_request_line(line) => StartLine::Maybe,
        None if bytes.len() < START_LINE_BYTES_MAX => StartLine::Maybe,
        _ => StartLine::No,
    }
}

fn is_request_line(line: &[u8]) -> bool {
    const VERSION: &[u8] = b" SIP/2.0";
    let line = line.trim_ascii_end();
    let end = line.len().checked_sub(VERSION.len()).and_then(|at| line.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(VERSION))
}

/// The SIP message of a datagram, without what may stand before it: line ends always, as RFC 3261 7.5 says, and
/// `with_junk` lines and control characters too.
pub(super) fn sip_of(datagram: &[u8], with_junk: bool) -> Option<&[u8]> {
    const JUNK_BYTES_MAX: usize = 256;
    let begun = datagram.iter().position(|b| !b.is_ascii_whitespace() && *b != 0)?;
    let mut rest = datagram.get(begun..)?;
    loop {
        let is_message = match start_line(rest) {
            StartLine::Yes => true,
            StartLine::No => false,
            // A datagram that is nothing but a first line.
            StartLine::Maybe => is_request_line(rest),
        };
        if is_message {
            return Some(rest);
        }
        let searched = rest.get(..JUNK_BYTES_MAX.saturating_sub(datagram.len() - rest.len())).unwrap_or(rest);
        let junk = searched.iter().position(|b| b.is_ascii_control()).filter(|_| with_junk)?;
        rest = rest.get(junk + 1..)?;
    }
}

/// Bytes up to and with the empty line after the header, if that has come. `from`: how far it is known that none is;
/// kept up to date.
fn head_bytes(message: &[u8], from: &mut usize) -> Option<usize> {
    for newline in memchr_iter(b'\n', message.get(*from..)?) {
        let next = *from + newline + 1;
        match message.get(next..) {
            Some([b'\n', ..]) => return Some(next + 1),
            Some([b'\r', b'\n', ..]) => return Some(next + 2),
            // The line end alone tells nothing yet.
            Some([] | [b'\r']) | None => {
                *from = next - 1;
                return None;
            }
            _ => {}
        }
    }
    *from = message.len();
    None
}

/// The message without its body; all of it where no empty line ends the header.
pub(super) fn head_of(message: &[u8]) -> &[u8] {
    head_bytes(message, &mut 0).and_then(|n| message.get(..n)).unwrap_or(message)
}

/// What can be read of a message whose end was not captured: a header line that was cut says something else.
pub(super) fn whole_lines(message: &[u8]) -> &[u8] {
    if head_bytes(message, &mut 0).is_some() {
        return message;
    }
    memchr::memrchr(b'\n', message).and_then(|newline| message.get(..=newline)).unwrap_or(&[])
}

/// What the header says of the body's length; 0 where it says nothing that can be read.
fn content_length(head: &[u8]) -> u64 {
    for line in head.split(|b| *b == b'\n') {
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l") {
            let digits = value.get(1..).unwrap_or(&[]).trim_ascii();
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(digits).ok().filter(|_| is_number);
            return number.map_or(0, |number| number.parse().unwrap_or(u64::MAX));
        }
    }
    0
}

/// Without a message among its first bytes a stream that was joined in its middle has none.
const SOUGHT_BYTES_MAX: usize = 1 << 20;

/// What a stream was cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Whole, or up to the place in its body where the stream was broken.
    Sip(&'a [u8]),
    /// A whole packet.
    Hep(&'a [u8]),
    /// A SIP message of more than [`SIP_MESSAGE_BYTES_MAX`], passed over.
    TooLong,
}

/// Cuts messages out of one direction of a TCP stream, of which parts may be missing.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    bytes: Vec<u8>,
    /// Where the next message begins.
    at: usize,
    /// How far behind `at` no header ends.
    seen: usize,
    /// How long the message at `at` is, once its header is there.
    length: Option<usize>,
    /// What is still to come of a message that is passed over.
    skip: u64,
    /// A message may begin anywhere: the stream was joined or broken in its middle.
    is_lost: bool,
    /// The message at `at` will never be whole.
    is_broken: bool,
    /// A message came already.
    has_spoken: bool,
    /// Bytes passed over before the first one.
    sought: usize,
    /// It began with something else; nothing of it is looked at.
    is_other: bool,
}

impl Cutter {
    /// `is_joined`: the capture began after the stream did.
    pub(super) fn new(is_joined: bool) -> Cutter {
        Cutter { is_lost: is_joined, ..Cutter::default() }
    }

    /// Whether what came last was no part of a message, as far as can be told.
    pub(super) fn is_other(&self) -> bool {
        self.is_other || (self.is_lost && self.bytes.len() <= self.at)
    }

    /// Whether nothing that comes is looked at any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_other
    }

    /// Whether a message lacks only some of its body.
    pub(super) fn is_waiting(&self) -> bool {
        self.length.is_some()
    }

    /// Whether the stream is known to carry messages.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.is_other {
            self.bytes.drain(..self.at.min(self.bytes.len()));
            self.at = 0;
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Bytes are missing here. Call [`Cutter::next`] until there is nothing before pushing what follows.
    pub(super) fn break_off(&mut self) {
        if !self.is_other {
            self.is_broken = true;
            self.skip = 0;
        }
    }

    /// The next piece of what was pushed.
    pub(super) fn next(&mut self) -> Option<Piece<'_>> {
        let found = self.find();
        if found.is_none() {
            self.settle();
        }
        match found? {
            Found::Sip(at, end) => self.bytes.get(at..end).map(Piece::Sip),
            Found::Hep(at, end) => self.bytes.get(at..end).map(Piece::Hep),
            Found::TooLong => Some(Piece::TooLong),
        }
    }

    /// Nothing more can be cut until more comes.
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_broken) {
            self.is_lost = true;
            self.forget(self.bytes.len());
        }
        if self.at >= self.bytes.len() {
            self.at = 0;
            self.bytes.clear();
            // Most streams are quiet most of the time.
            self.bytes.shrink_to(4096);
        }
        if self.is_other {
            self.bytes = Vec::new();
        }
    }

    fn find(&mut self) -> Option<Found> {
        loop {
            if self.skip > 0 {
                let here = self.rest().len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= here as u64;
                self.forget(self.at + here);
            }
            // Line ends between messages keep connections alive.
            let blank = self.rest().iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            if blank > 0 && self.length.is_none() {
                self.forget(self.at + blank);
            }
            if self.rest().is_empty() || self.is_other {
                return None;
            }
            match hep::first_packet(self.rest()) {
                Framed::Whole(length) => return Some(self.found(length, Found::Hep)),
                Framed::Incomplete if self.rest().len() >= 4 => return None,
                Framed::Incomplete | Framed::Broken => {}
            }
            match start_line(self.rest()) {
                StartLine::Maybe => return None,
                StartLine::Yes => match self.sip() {
                    Sip::Found(found) => return Some(found),
                    Sip::Incomplete => return None,
                    Sip::Endless => {
                        self.is_lost = true;
                        self.seek();
                        return Some(Found::TooLong);
                    }
                },
                StartLine::No if !self.is_lost && !self.has_spoken => self.is_other = true,
                StartLine::No => {
                    self.is_lost = true;
                    self.seek();
                }
            }
        }
    }

    /// The SIP message at `at`, of which the first line is there.
    fn sip(&mut self) -> Sip {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(head) = head_bytes(rest, &mut self.seen) else {
                    return if rest.len() > SIP_MESSAGE_BYTES_MAX { Sip::Endless } else { Sip::Incomplete };
                };
                let told = content_length(rest.get(..head).unwrap_or(rest)).saturating_add(head as u64);
                match usize::try_from(told) {
                    Ok(length) if length <= SIP_MESSAGE_BYTES_MAX => length,
                    _ if told <= SKIPPED_BYTES_MAX => {
                        (self.has_spoken, self.is_lost) = (true, false);
                        self.skip = told;
                        return Sip::Found(Found::TooLong);
                    }
                    _ => return Sip::Endless,
                }
            }
        };
        if rest.len() >= length {
            return Sip::Found(self.found(length, Found::Sip));
        }
        if self.is_broken {
            return Sip::Found(self.found(rest.len(), Found::Sip));
        }
        self.length = Some(length);
        Sip::Incomplete
    }

    fn found(&mut self, length: usize, found: fn(usize, usize) -> Found) -> Found {
        let at = self.at;
        self.forget(at + length);
        (self.has_spoken, self.is_lost) = (true, false);
        found(at, at + length)
    }

    /// On to the next place where a message may begin: a line, or the magic of HEP.
    fn seek(&mut self) {
        let behind = self.at + 1;
        let rest = self.bytes.get(behind..).unwrap_or(&[]);
        let newline = memchr(b'\n', rest);
        let line = rest.get(..newline.map_or(rest.len(), |n| n + 1)).unwrap_or(rest);
        let magic = memmem::find(line, b"HEP3");
        // The magic may be cut in two.
        let begun = [b"HEP".as_slice(), b"HE", b"H"].into_iter().find(|begun| line.ends_with(begun));
        let on = magic.or(newline.map(|n| n + 1)).unwrap_or(rest.len() - begun.map_or(0, <[u8]>::len));
        self.forget(behind + on);
        self.sought = self.sought.saturating_add(on + 1);
        self.is_other |= !self.has_spoken && self.sought > SOUGHT_BYTES_MAX;
    }

    fn forget(&mut self, up_to: usize) {
        self.at = up_to;
        self.seen = 0;
        self.length = None;
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }
}

enum Found {
    Sip(usize, usize),
    Hep(usize, usize),
    TooLong,
}

enum Sip {
    Found(Found),
    Incomplete,
    /// Nothing tells where it ends.
    Endless,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_first_line() {
        for line in [
            "SIP/2.0 200 OK\r\n",
            "sip/2.0 100 Trying\n",
            "INVITE sip:a@b SIP/2.0\r\n",
            "INVITE  sip:a@b  SIP/2.0  \r\n",
            "RE%47IST%45R sip:a sip/2.0\n",
        ] {
            assert_eq!(start_line(line.as_bytes()), StartLine::Yes, "{line:?}");
            let n_told = (0..line.len()).find(|n| start_line(&line.as_bytes()[..*n]) != StartLine::Maybe);
            assert!(n_told.is_none_or(|n| start_line(&line.as_bytes()[..n]) == StartLine::Yes), "{line:?}");
        }
        for line in [
            "GET / HTTP/1.1\r\n",
            "INVITE\tsip:a SIP/2.0\r\n",
            " INVITE sip:a SIP/2.0\n",
            "b HEP3\0\u{1}INVITE a SIP/2.0\n",
            "\u{80}\0\0",
            "a: b\n",
        ] {
            assert_eq!(start_line(line.as_bytes()), StartLine::No, "{line:?}");
        }
        let endless = [b"INVITE ".as_slice(), &vec![b'x'; START_LINE_BYTES_MAX]].concat();
        assert_eq!(start_line(&endless), StartLine::No);
        assert_eq!(start_line(&[b'x'; METHOD_BYTES_MAX + 1]), StartLine::No);
    }

    #[test]
    fn the_length_of_a_body_is_what_a_header_says_and_else_none() {
        for (head, length) in [
            ("INVITE a SIP/2.0\r\nContent-Length: 12\r\n\r\n", 12),
            ("INVITE a SIP/2.0\nCONTENT-LENGTH :7\n\n", 7),
            ("INVITE a SIP/2.0\r\nl:5\r\n\r\n", 5),
            ("INVITE a SIP/2.0\r\nContent-Length: bad\r\n\r\n", 0),
            ("INVITE a SIP/2.0\r\nContent-Length: +5\r\n\r\n", 0),
            ("INVITE a SIP/2.0\r\nl: 99999999999999999999999\r\n\r\n", u64::MAX),
            ("INVITE a SIP/2.0\r\nX-l: 5\r\n\r\n", 0),
        ] {
            assert_eq!(content_length(head.as_bytes()), length, "{head:?}");
            assert_eq!(head_of(format!("{head}body").as_bytes()), head.as_bytes());
        }
        assert_eq!(whole_lines(b"INVITE a SIP/2.0\r\nCall-ID: 12"), b"INVITE a SIP/2.0\r\n");
        assert_eq!(whole_lines(b"INVITE a"), b"");
    }

    #[test]
    fn a_message_without_an_end_is_passed_over_and_the_next_one_found() {
        let endless =
            [b"INVITE sip:a SIP/2.0\r\n".as_slice(), &b"X: y\r\n".repeat(SIP_MESSAGE_BYTES_MAX / 6 + 1)].concat();
        let mut cutter = Cutter::new(false);
        cutter.push(&endless);
        assert_eq!(cutter.next(), Some(Piece::TooLong));
        assert_eq!(cutter.next(), None);
        cutter.push(b"Y: z\r\n\r\nSIP/2.0 200 OK\r\n\r\n");
        assert_eq!(cutter.next(), Some(Piece::Sip(b"SIP/2.0 200 OK\r\n\r\n")));
        cutter.push(b"BYE sip:a SIP/2.0\r\nl: 18000000000000000000\r\n\r\nACK sip:a SIP/2.0\r\n\r\n");
        assert_eq!(cutter.next(), Some(Piece::TooLong));
        assert_eq!(cutter.next(), Some(Piece::Sip(b"ACK sip:a SIP/2.0\r\n\r\n")));
        assert_eq!(cutter.next(), None);
    }

    #[test]
    fn a_joined_stream_is_searched_for_the_magic_of_hep_and_not_without_end() {
        let mut cutter = Cutter::new(true);
        cutter.push(b"some \0bytes HE");
        assert_eq!(cutter.next(), None);
        cutter.push(b"P3\0\x06HEP3\0\x07x");
        assert_eq!(cutter.next(), Some(Piece::Hep(b"HEP3\0\x06")));
        assert_eq!(cutter.next(), Some(Piece::Hep(b"HEP3\0\x07x")));
        let mut cutter = Cutter::new(true);
        for _ in 0..=SOUGHT_BYTES_MAX / 1000 {
            cutter.push(&[b'\0'; 1000]);
            assert_eq!(cutter.next(), None);
        }
        assert!(cutter.is_closed() && cutter.held_bytes() == 0);
    }
}
