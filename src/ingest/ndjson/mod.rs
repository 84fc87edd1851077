//! NDJSON: one JSON object a line becomes one event, without building the object.
//!
//! Gateways write the same keys in the same order line after line, so the order of the last line is tried
//! first and a key costs one comparison. Any other order, spacing and escapes are read as well, slower.
//!
//! Of a key that stands twice the last value counts; a first value of the wrong type still rejects.
//! `null` and the empty text are absent.

mod scan;
#[cfg(test)]
mod tests;

use super::Counts;
use super::origin::{Attribution, bytes};
use super::value::{self, Decimal};
use super::wire::{self, Origin, WireField};
use crate::clock::Timestamp;
use crate::event::{Batch, CallEvent, CallType, Direction, Flags, HangupBy, Kind, Reject, Rejected, Status, Text};
use crate::limits::LINE_BYTES_MAX;
use scan::Scanner;

/// Decodes blocks of lines. Holds what it learned of the key order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    order: Vec<Slot>,
}

/// Keys whose place is remembered. Longer events fall back to the general way past it.
const ORDER_MAX: usize = 64;

/// A key with its quotes, as the next 16 bytes show it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u128,
    mask: u128,
    len: usize,
    field: Option<WireField>,
}

impl Reader {
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        arrival: Option<Timestamp>,
        attribution: &mut Attribution,
        counts: &mut Counts,
        out: &mut Batch,
    ) {
        // Checked once a block; only a block that has a bad line pays for each of its lines.
        let is_utf8 = std::str::from_utf8(block).is_ok();
        let mut scanner = Scanner { block, at: 0 };
        while scanner.at < block.len() {
            let first = scanner.at;
            scanner.skip_space();
            if scanner.peek() == b'\n' {
                scanner.at += 1;
                continue;
            }
            let mut line = Line {
                scanner: &mut scanner,
                side: &mut out.side,
                order: &mut self.order,
                origin: Origin::default(),
                problem: None,
                unknown_fields: false,
                unknown_words: 0,
            };
            out.events.push(CallEvent::BLANK);
            let Some(event) = out.events.last_mut() else { return };
            let mut result = line.read(event);
            let (origin, unknown_fields, unknown_words) = (line.origin, line.unknown_fields, line.unknown_words);
            let end = match result {
                Ok(()) => scanner.at,
                Err(_) => line_end(block, scanner.at),
            };
            if end - first > LINE_BYTES_MAX {
                result = Err(Reject::LineTooLong);
            } else if !is_utf8 && block.get(first..end).is_none_or(|line| std::str::from_utf8(line).is_err()) {
                result = Err(Reject::NotUtf8);
            }
            let result =
                result.and_then(|()| attribution.complete(event, origin, arrival, block, &mut out.side, counts));
            scanner.at = end + 1;
            match result {
                Ok(()) => {
                    counts.unknown_fields += u64::from(unknown_fields);
                    counts.unknown_words += u64::from(unknown_words);
                }
                Err(reason) => {
                    let seq = event.seq;
                    out.events.pop();
                    out.rejects.push(Rejected { before: out.events.len() as u32, seq, reason });
                }
            }
        }
    }
}

/// The newline at or after `at`, or the end of the block.
#[cold]
fn line_end(block: &[u8], at: usize) -> usize {
    let rest = block.get(at..).unwrap_or(&[]);
    at + memchr::memchr(b'\n', rest).unwrap_or(rest.len())
}

/// One line on its way to an event.
struct Line<'a, 'b> {
    scanner: &'a mut Scanner<'b>,
    side: &'a mut Vec<u8>,
    order: &'a mut Vec<Slot>,
    origin: Origin,
    /// The first value that does not fit its field. Reading goes on, for `seq` may come later.
    problem: Option<Reject>,
    unknown_fields: bool,
    unknown_words: u32,
}

impl Line<'_, '_> {
    /// Leaves the scanner at the newline.
    fn read(&mut self, event: &mut CallEvent) -> Result<(), Reject> {
        event.time = Timestamp(i64::MIN);
        if self.scanner.peek() != b'{' {
            self.scanner.skip_value()?;
            self.end()?;
            return Err(Reject::NotAnObject);
        }
        self.scanner.at += 1;
        self.scanner.skip_space();
        if self.scanner.peek() != b'}' {
            let mut place = 0;
            loop {
                let field = self.key(place)?;
                self.scanner.skip_space();
                self.value(field, event)?;
                place += 1;
                self.scanner.skip_space();
                match self.scanner.peek() {
                    b',' => self.scanner.at += 1,
                    b'}' => break,
                    _ => return Err(Reject::Malformed),
                }
                self.scanner.skip_space();
            }
        }
        self.scanner.at += 1;
        self.end()?;
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if event.time == Timestamp(i64::MIN) {
            return Err(Reject::NoTime);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Reject> {
        self.scanner.skip_space();
        if self.scanner.peek() == b'\n' { Ok(()) } else { Err(Reject::Malformed) }
    }

    /// The key that is next, with its colon.
    #[inline]
    fn key(&mut self, place: usize) -> Result<Option<WireField>, Reject> {
        let at = self.scanner.at;
        if let Some(slot) = self.order.get(place)
            && let Some(chunk) = self.scanner.block.get(at..).and_then(<[u8]>::first_chunk::<16>)
            && u128::from_le_bytes(*chunk) & slot.mask == slot.key
        {
            let field = slot.field;
            self.scanner.at = at + slot.len;
            if self.scanner.peek() == b':' {
                self.scanner.at += 1;
                return Ok(field);
            }
            self.scanner.at = at;
        }
        self.any_key(place)
    }

    fn any_key(&mut self, place: usize) -> Result<Option<WireField>, Reject> {
        let first = self.scanner.at;
        if self.scanner.peek() != b'"' {
            return Err(Reject::Malformed);
        }
        let kept = self.side.len();
        let name = self.scanner.string(self.side)?;
        let field = WireField::parse(bytes(self.scanner.block, self.side, name));
        self.side.truncate(kept);
        self.remember(place, first, field);
        self.scanner.skip_space();
        self.scanner.word(b":")?;
        Ok(field)
    }

    fn remember(&mut self, place: usize, first: usize, field: Option<WireField>) {
        let written = self.scanner.block.get(first..self.scanner.at).unwrap_or(&[]);
        if written.len() > 16 || place > self.order.len() || place >= ORDER_MAX {
            return;
        }
        let mut key = [0; 16];
        let mut mask = [0; 16];
        for (at, b) in written.iter().enumerate() {
            (key[at], mask[at]) = (*b, 0xff);
        }
        let slot = Slot { key: u128::from_le_bytes(key), mask: u128::from_le_bytes(mask), len: written.len(), field };
        match self.order.get_mut(place) {
            Some(old) => *old = slot,
            None => self.order.push(slot),
        }
    }

    /// Reads a value into its field. An error is one of grammar; what only does not fit is a problem.
    #[inline]
    fn value(&mut self, field: Option<WireField>, event: &mut CallEvent) -> Result<(), Reject> {
        let Some(field) = field else {
            self.unknown_fields = true;
            return self.scanner.skip_value();
        };
        match self.scanner.peek() {
            b'"' => {
                let text = self.scanner.string(self.side)?;
                self.text(field, text, event);
                Ok(())
            }
            b'-' | b'0'..=b'9' => {
                let rest = self.scanner.block.get(self.scanner.at..).unwrap_or(&[]);
                let (number, len) = Decimal::scan(rest).ok_or(Reject::Malformed)?;
                self.scanner.at += len;
                self.number(field, number, event);
                Ok(())
            }
            b'n' => {
                self.scanner.word(b"null")?;
                self.text(field, Text::ABSENT, event);
                Ok(())
            }
            b't' => {
                self.scanner.word(b"true")?;
                self.boolean(field, true, event);
                Ok(())
            }
            b'f' => {
                self.scanner.word(b"false")?;
                self.boolean(field, false, event);
                Ok(())
            }
            _ => {
                self.scanner.skip_value()?;
                self.problem(Reject::WrongType);
                Ok(())
            }
        }
    }

    #[cold]
    fn problem(&mut self, reason: Reject) {
        self.problem.get_or_insert(reason);
    }

    /// Text, or nothing: the empty text and `null` take back what an earlier value said.
    #[inline]
    fn text(&mut self, field: WireField, text: Text, event: &mut CallEvent) {
        if let Some((place, len_max)) = wire::text_place(field, event, &mut self.origin) {
            *place = if text.len == 0 { Text::ABSENT } else { text };
            if text.len as usize > len_max {
                self.problem(Reject::FieldTooLong);
            }
            return;
        }
        if text.len == 0 {
            return blank(field, event);
        }
        let (block, side) = (self.scanner.block, &*self.side);
        let text = bytes(block, side, text);
        let known = match field {
            WireField::Time => match value::rfc3339(text) {
                Some(time) => {
                    event.time = time;
                    true
                }
                None => return self.problem(Reject::BadTime),
            },
            WireField::Kind => match Kind::parse(text) {
                Some(kind) => {
                    event.kind = kind;
                    true
                }
                None => return self.problem(Reject::UnknownKind),
            },
            WireField::SourceIp => match value::ip(text) {
                Some(ip) => {
                    event.source_ip = Some(ip);
                    true
                }
                None => return self.problem(Reject::BadValue),
            },
            WireField::Direction => set(&mut event.direction, Direction::parse(text)),
            WireField::Status => set(&mut event.status, Status::parse(text)),
            WireField::CallType => set(&mut event.call_type, CallType::parse(text)),
            WireField::HangupBy => set(&mut event.hangup_by, HangupBy::parse(text)),
            WireField::Attestation => set(&mut event.attestation, wire::attestation(text)),
            _ => return self.problem(Reject::WrongType),
        };
        self.unknown_words += u32::from(!known);
    }

    #[inline]
    fn number(&mut self, field: WireField, number: Decimal, event: &mut CallEvent) {
        match field {
            WireField::Time => match number.epoch() {
                Some(time) => event.time = time,
                None => self.problem(Reject::BadTime),
            },
            WireField::Duration => self.seconds(&mut event.duration_ms, number),
            WireField::Ring => self.seconds(&mut event.ring_ms, number),
            WireField::Setup => self.seconds(&mut event.setup_ms, number),
            WireField::SipCode => match number.whole().and_then(|v| u16::try_from(v).ok()) {
                Some(code) => event.sip_code = code,
                None => self.problem(Reject::BadValue),
            },
            WireField::Q850 => match number.whole().and_then(|v| u8::try_from(v).ok()) {
                Some(cause) => event.q850 = cause,
                None => self.problem(Reject::BadValue),
            },
            WireField::Seq => match number.whole() {
                Some(seq) => event.seq = seq,
                None => self.problem(Reject::BadValue),
            },
            WireField::Cost => match number.ten_thousandths() {
                Some(cost) => event.cost = cost,
                None => self.problem(Reject::BadValue),
            },
            field if wire::is_party(field) => self.problem(Reject::NumberNotText),
            _ => self.problem(Reject::WrongType),
        }
    }

    #[inline]
    fn seconds(&mut self, place: &mut u32, number: Decimal) {
        match number.seconds_ms() {
            Some(ms) => *place = ms,
            None => self.problem(Reject::BadValue),
        }
    }

    fn boolean(&mut self, field: WireField, said: bool, event: &mut CallEvent) {
        let flag = match field {
            WireField::Anonymous => Flags::ANONYMOUS,
            WireField::AuthFailed => Flags::AUTH_FAILED,
            _ => return self.problem(Reject::WrongType),
        };
        event.flags.0 &= !flag.0;
        if said {
            event.flags.set(flag);
        }
    }
}

/// False where the word is none of the vocabulary.
#[inline]
fn set<T: Default>(place: &mut T, word: Option<T>) -> bool {
    let known = word.is_some();
    *place = word.unwrap_or_default();
    known
}

/// Takes back what an earlier value of a field that is no text said.
#[cold]
fn blank(field: WireField, event: &mut CallEvent) {
    let none = CallEvent::BLANK;
    match field {
        WireField::Time => event.time = Timestamp(i64::MIN),
        WireField::Kind => event.kind = none.kind,
        WireField::SourceIp => event.source_ip = none.source_ip,
        WireField::Direction => event.direction = none.direction,
        WireField::Status => event.status = none.status,
        WireField::CallType => event.call_type = none.call_type,
        WireField::HangupBy => event.hangup_by = none.hangup_by,
        WireField::Attestation => event.attestation = none.attestation,
        WireField::Duration => event.duration_ms = none.duration_ms,
        WireField::Ring => event.ring_ms = none.ring_ms,
        WireField::Setup => event.setup_ms = none.setup_ms,
        WireField::SipCode => event.sip_code = none.sip_code,
        WireField::Q850 => event.q850 = none.q850,
        WireField::Seq => event.seq = none.seq,
        WireField::Cost => event.cost = none.cost,
        WireField::Anonymous => event.flags.0 &= !Flags::ANONYMOUS.0,
        WireField::AuthFailed => event.flags.0 &= !Flags::AUTH_FAILED.0,
        _ => {}
    }
}
