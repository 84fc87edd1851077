//! NDJSON: one JSON object a line becomes one event, without building the object.
//!
//! Gateways write the same keys in the same order and spacing line after line, so those of the last line are tried
//! first, and a key costs one comparison. Any other order, spacing and escapes are read as well, slower.
//!
//! Of a key that stands twice the last value counts; a first value of the wrong type still rejects.
//! `null` and the empty text are absent.

mod plain;
mod scan;
#[cfg(test)]
mod tests;

use super::Counts;
use super::origin::{Attribution, bytes};
use super::value::{self, Decimal};
use super::wire::{self, Origin, WireField};
use crate::clock::Timestamp;
use crate::event::{
    Batch, CallEvent, CallType, Direction, Flags, HangupBy, Kind, Number, Reject, Rejected, Status, Text,
};
use crate::limits::LINE_BYTES_MAX;
use scan::Scanner;

/// Decodes blocks of lines. Holds what it learned of the key order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    order: Vec<Slot>,
}

/// Keys whose place is remembered. Longer events fall back to the general way past it.
const ORDER_MAX: usize = 64;

/// A key with what stands around it, as the next 16 bytes show it: `{"time":`, `,"kind":`.
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
        let is_utf8 = block.is_ascii() || std::str::from_utf8(block).is_ok();
        let mut at = 0;
        while at < block.len() {
            let first = at;
            at = scan::skip_space(block, at);
            if scan::peek(block, at) == b'\n' {
                at += 1;
                continue;
            }
            let mut line = Line {
                block,
                side: &mut out.side,
                origin: Origin::default(),
                problem: None,
                unknown_fields: false,
                unknown_words: 0,
            };
            out.events.push(CallEvent::BLANK);
            let Some(event) = out.events.last_mut() else { return };
            let read = line.read(&mut self.order, at, event);
            let (origin, unknown_fields, unknown_words) = (line.origin, line.unknown_fields, line.unknown_words);
            // No token holds a newline, so the line ends at the first, however much of it was read.
            let end = read.unwrap_or_else(|_| line_end(block, at));
            let mut result = read.map(|_| ());
            if end - first > LINE_BYTES_MAX {
                result = Err(Reject::LineTooLong);
            } else if !is_utf8 && block.get(first..end).is_none_or(|line| std::str::from_utf8(line).is_err()) {
                result = Err(Reject::NotUtf8);
            }
            let result =
                result.and_then(|()| attribution.complete(event, origin, arrival, block, &mut out.side, counts));
            at = end + 1;
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

/// One line on its way to an event. Where reading stands goes from call to call as `at`.
struct Line<'a, 'b> {
    block: &'b [u8],
    side: &'a mut Vec<u8>,
    origin: Origin,
    /// The first value that does not fit its field. Reading goes on, for `seq` may come later.
    problem: Option<Reject>,
    unknown_fields: bool,
    unknown_words: u32,
}

impl Line<'_, '_> {
    /// Reads the line that begins at `at`; returns where its newline stands.
    #[inline]
    fn read(&mut self, order: &mut Vec<Slot>, mut at: usize, event: &mut CallEvent) -> Result<usize, Reject> {
        event.time = Timestamp(i64::MIN);
        let mut place = 0;
        loop {
            (at, place) = self.remembered(order, at, place, event);
            if place > 0 && scan::peek(self.block, at) == b'}' {
                at += 1;
                break;
            }
            match self.any_key(order, at, place)? {
                Next::Member(field, value_at) => at = self.any_value(value_at, field, event)?,
                Next::End(end) => {
                    at = end;
                    break;
                }
            }
            place += 1;
        }
        at = end(self.block, at)?;
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if event.time == Timestamp(i64::MIN) {
            return Err(Reject::NoTime);
        }
        Ok(at)
    }

    /// Reads members as long as they have the keys of the last line and plain values, which is nearly always to the
    /// end; returns where that ends.
    // Out of line, so that the places in the event are offsets from one register.
    #[inline(never)]
    fn remembered(&mut self, order: &[Slot], at: usize, mut place: usize, event: &mut CallEvent) -> (usize, usize) {
        let block = self.block;
        let mut rest = block.get(at..).unwrap_or(&[]);
        for slot in order.get(place..).unwrap_or(&[]) {
            let Some(chunk) = rest.first_chunk::<16>() else { break };
            if u128::from_le_bytes(*chunk) & slot.mask != slot.key {
                break;
            }
            let (Some(value), Some(field)) = (rest.get(slot.len..), slot.field) else { break };
            let Some(next) = self.plain_value(field, value, block.len() - value.len(), event) else { break };
            rest = next;
            place += 1;
        }
        (block.len() - rest.len(), place)
    }

    /// Reads the value that `value` begins with, which stands at `at`, if it has a common form and fits its field;
    /// returns what follows.
    #[inline(always)]
    fn plain_value<'v>(
        &mut self,
        field: WireField,
        value: &'v [u8],
        at: usize,
        event: &mut CallEvent,
    ) -> Option<&'v [u8]> {
        match field {
            WireField::Time => plain::number(value, &mut event.time, |n| n.epoch()),
            WireField::Seq => plain::number(value, &mut event.seq, |n| n.whole()),
            WireField::Duration => plain::seconds(value, &mut event.duration_ms),
            WireField::Ring => plain::seconds(value, &mut event.ring_ms),
            WireField::Setup => plain::seconds(value, &mut event.setup_ms),
            WireField::SipCode => plain::code(value, &mut event.sip_code),
            WireField::Kind => plain::word(value, &mut event.kind, Kind::parse),
            WireField::Direction => plain::word(value, &mut event.direction, Direction::parse),
            WireField::Status => plain::word(value, &mut event.status, Status::parse),
            WireField::SourceIp => plain::address(value, event),
            field => match wire::party(field, event) {
                Some(party) => plain::party(value, at, party),
                None => {
                    let (place, len_max) = wire::text_place(field, event, &mut self.origin)?;
                    plain::text(value, at, place, len_max)
                }
            },
        }
    }

    /// The key that is next, with the brace or comma before it and the colon behind it, in any form.
    #[inline(never)]
    fn any_key(&mut self, order: &mut Vec<Slot>, at: usize, place: usize) -> Result<Next, Reject> {
        let mut scanner = Scanner { block: self.block, at };
        if place == 0 && scanner.peek() != b'{' {
            scanner.skip_value()?;
            end(self.block, scanner.at)?;
            return Err(Reject::NotAnObject);
        }
        if place > 0 {
            scanner.skip_space();
            match scanner.peek() {
                b',' => {}
                b'}' => return Ok(Next::End(scanner.at + 1)),
                _ => return Err(Reject::Malformed),
            }
        }
        // Spaces before a comma are not worth remembering.
        let first = scanner.at;
        scanner.at += 1;
        scanner.skip_space();
        match scanner.peek() {
            b'"' => {}
            b'}' if place == 0 => return Ok(Next::End(scanner.at + 1)),
            _ => return Err(Reject::Malformed),
        }
        let kept = self.side.len();
        let name = scanner.string(self.side)?;
        let field = WireField::parse(bytes(self.block, self.side, name));
        self.side.truncate(kept);
        scanner.skip_space();
        scanner.word(b":")?;
        remember(order, place, self.block.get(first..scanner.at).unwrap_or(&[]), field);
        Ok(Next::Member(field, scanner.at))
    }

    /// Reads a value of any form into its field; returns where it ends. An error is one of grammar; what only does not
    /// fit is a problem.
    #[inline(never)]
    fn any_value(&mut self, at: usize, field: Option<WireField>, event: &mut CallEvent) -> Result<usize, Reject> {
        let mut scanner = Scanner { block: self.block, at };
        scanner.skip_space();
        let Some(field) = field else {
            self.unknown_fields = true;
            scanner.skip_value()?;
            return Ok(scanner.at);
        };
        match scanner.peek() {
            b'"' => {
                let text = scanner.string(self.side)?;
                // The side buffer may not be lent out while problems are noted.
                let side = std::mem::take(self.side);
                match bytes(self.block, &side, text) {
                    b"" => self.absent(field, event),
                    bytes => self.text(field, text, bytes, event),
                }
                *self.side = side;
            }
            b'-' | b'0'..=b'9' => {
                let rest = self.block.get(scanner.at..).unwrap_or(&[]);
                let (number, len) = Decimal::scan(rest).ok_or(Reject::Malformed)?;
                scanner.at += len;
                self.number(field, number, event);
            }
            b'n' => {
                scanner.word(b"null")?;
                self.absent(field, event);
            }
            b't' => {
                scanner.word(b"true")?;
                self.boolean(field, true, event);
            }
            b'f' => {
                scanner.word(b"false")?;
                self.boolean(field, false, event);
            }
            _ => {
                scanner.skip_value()?;
                self.problem(Reject::WrongType);
            }
        }
        Ok(scanner.at)
    }

    #[cold]
    fn problem(&mut self, reason: Reject) {
        self.problem.get_or_insert(reason);
    }

    /// The empty text and `null` take back what an earlier value said.
    fn absent(&mut self, field: WireField, event: &mut CallEvent) {
        match wire::text_place(field, event, &mut self.origin) {
            Some((place, _)) => *place = Text::ABSENT,
            None => blank(field, event),
        }
        if let Some(party) = wire::party(field, event) {
            party.number = Number::ABSENT;
        }
    }

    fn text(&mut self, field: WireField, span: Text, text: &[u8], event: &mut CallEvent) {
        if let Some((place, len_max)) = wire::text_place(field, event, &mut self.origin) {
            *place = span;
            // What an earlier value of the same key may have left.
            if let Some(party) = wire::party(field, event) {
                party.number = Number::ABSENT;
            }
            if text.len() > len_max {
                self.problem(Reject::FieldTooLong);
            }
            return;
        }
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
            field if wire::party(field, event).is_some() => self.problem(Reject::NumberNotText),
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

fn remember(order: &mut Vec<Slot>, place: usize, written: &[u8], field: Option<WireField>) {
    if written.len() > 16 || place > order.len() || place >= ORDER_MAX {
        return;
    }
    let (mut key, mut mask) = ([0; 16], [0; 16]);
    for ((key, mask), b) in key.iter_mut().zip(&mut mask).zip(written) {
        (*key, *mask) = (*b, 0xff);
    }
    let slot = Slot { key: u128::from_le_bytes(key), mask: u128::from_le_bytes(mask), len: written.len(), field };
    match order.get_mut(place) {
        Some(old) => *old = slot,
        None => order.push(slot),
    }
}

/// What stands behind a member.
enum Next {
    /// A key's field, where it has one, and where its value begins.
    Member(Option<WireField>, usize),
    /// The closing brace; where what follows it stands.
    End(usize),
}

/// Where the newline stands that must be all that follows.
#[inline]
fn end(block: &[u8], at: usize) -> Result<usize, Reject> {
    let at = scan::skip_space(block, at);
    if scan::peek(block, at) == b'\n' { Ok(at) } else { Err(Reject::Malformed) }
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
