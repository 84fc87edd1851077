//! The cells of one row become one event: what each column is used for, and what follows from several together.

use std::net::{IpAddr, Ipv4Addr};

use super::dialect::{Cells, Column, Dialect};
use crate::clock::Timestamp;
use crate::event::{CallEvent, CallType, Direction, Flags, HangupBy, Kind, Reject, Status, Text};
use crate::ingest::cause;
use crate::ingest::origin::{bytes, keep};
use crate::ingest::value::{self, Decimal};
use crate::ingest::wire::{self, Origin, WireField};
use crate::limits::{ID_BYTES_MAX, TEXT_BYTES_MAX};

/// One record on its way to an event.
pub(super) struct Row<'a> {
    dialect: &'a Dialect,
    pub(super) event: CallEvent,
    origin: Origin,
    start: Option<Timestamp>,
    answer: Option<Timestamp>,
    /// Whether somebody answered, where a column is there to tell.
    answered: Option<bool>,
    /// Why the call ended, of one that was not answered.
    cause: Status,
    caller_cause: u8,
    callee_cause: u8,
    /// The subscriber's side hung up.
    released_locally: Option<bool>,
    total_ms: Option<u32>,
    user: Text,
    other: Text,
    clid_number: Text,
    redirector: Text,
    id_parts: [Text; 2],
    pub(super) from_tag: Text,
    pub(super) to_tag: Text,
    problem: Option<Reject>,
    /// A time could have been read, had the settings named a zone.
    pub(super) lacks_zone: bool,
    pub(super) n_unknown_words: u64,
}

/// The time of an event that has none yet.
pub(super) const NEVER: Timestamp = Timestamp(i64::MIN);

impl<'a> Row<'a> {
    pub(super) fn new(dialect: &'a Dialect, template: (CallEvent, Origin)) -> Row<'a> {
        Row {
            dialect,
            event: template.0,
            origin: template.1,
            start: None,
            answer: None,
            answered: None,
            cause: Status::Unknown,
            caller_cause: 0,
            callee_cause: 0,
            released_locally: None,
            total_ms: None,
            user: Text::ABSENT,
            other: Text::ABSENT,
            clid_number: Text::ABSENT,
            redirector: Text::ABSENT,
            id_parts: [Text::ABSENT; 2],
            from_tag: Text::ABSENT,
            to_tag: Text::ABSENT,
            problem: None,
            lacks_zone: false,
            n_unknown_words: 0,
        }
    }

    /// Of two columns that fill the same field the later one counts, where it is not empty.
    pub(super) fn take_all(&mut self, columns: &[(Column, usize)], cells: Cells<'_>) {
        for (column, index) in columns {
            let cell = cells.cells.get(*index).copied().unwrap_or_default();
            self.take(*column, cell, cells.cell(*index));
        }
    }

    fn take(&mut self, column: Column, cell: Text, text: &[u8]) {
        if column == Column::Answer {
            self.answered = Some(!matches!(text, b"" | b"0"));
        }
        if text.is_empty() {
            return;
        }
        let taken = match column {
            // 0 is nobody's time: the writer had none.
            Column::Field(WireField::Time) | Column::Start if text == b"0" => Ok(()),
            Column::Field(WireField::Time) => self.time(text).map(|time| self.event.time = time),
            Column::Field(WireField::Seq | WireField::Kind) if self.dialect.own.pairs => Ok(()),
            Column::Field(field) => self.field(field, cell, text),
            Column::Start => self.time(text).map(|time| self.start = Some(time)),
            Column::Answer if self.answered == Some(false) => Ok(()),
            Column::Answer => self.time(text).map(|time| self.answered_at(time)),
            Column::Total => seconds(text).map(|ms| self.total_ms = Some(ms)),
            Column::User => fitting(cell).map(|text| self.user = text),
            Column::Other => fitting(cell).map(|text| self.other = text),
            Column::Clid => self.clid(cell, text),
            Column::Channel => {
                let peer = text.iter().rposition(|b| *b == b'-').unwrap_or(text.len());
                fitting(Text { at: cell.at, len: peer as u32 }).map(|text| self.event.trunk = text)
            }
            Column::Redirector => fitting(cell).map(|text| self.redirector = text),
            Column::NameAddr(field) => self.name_addr(field, cell, text),
            Column::Milliseconds(field) => self.milliseconds(field, text),
            Column::SipCallId if !text.contains(&b'@') => Ok(()),
            Column::SipCallId => self.field(WireField::CallId, cell, text),
            Column::IdPart => self.id_part(cell),
            Column::FromTag => fitting(cell).map(|text| self.from_tag = text),
            Column::ToTag => fitting(cell).map(|text| self.to_tag = text),
            _ => {
                self.hint(column, text);
                Ok(())
            }
        };
        if let Err(reason) = taken {
            self.problem.get_or_insert(reason);
        }
    }

    fn field(&mut self, field: WireField, cell: Text, text: &[u8]) -> Result<(), Reject> {
        set(field, cell, text, self.dialect, &mut self.event, &mut self.origin)
            .map(|known| self.n_unknown_words += u64::from(!known))
    }

    /// Columns that are no reason to lose a call where they hold something else.
    fn hint(&mut self, column: Column, text: &[u8]) {
        let number = || Decimal::parse(text).and_then(|n| n.whole()).and_then(|n| u8::try_from(n).ok());
        match column {
            Column::Answered => self.answered = text.first().map(|b| matches!(b, b'Y' | b'y' | b'1' | b'T' | b't')),
            Column::ChannelDirection if !self.dialect.has_meaning(WireField::Direction, text) => {}
            Column::Context | Column::Side | Column::ChannelDirection => {
                let meaning = self.dialect.meaning(WireField::Direction, text);
                self.event.direction = Direction::parse(meaning).unwrap_or(self.event.direction);
            }
            Column::Cause => match number().map(|n| (n, cause::status_of_q850(n))).or_else(|| cause::named(text)) {
                Some((number, status)) => (self.event.q850, self.cause) = (number, status),
                None => self.n_unknown_words += 1,
            },
            Column::CallerCause => self.caller_cause = number().unwrap_or(0),
            Column::CalleeCause => self.callee_cause = number().unwrap_or(0),
            Column::LittleEndianAddress => {
                let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
                // As 32 bits, with or without a sign.
                let bits = address.filter(|a| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(a) && *a != 0);
                let ip = bits.map(|bits| IpAddr::V4(Ipv4Addr::from((bits as u32).to_le_bytes())));
                self.event.source_ip = ip.or(self.event.source_ip);
            }
            Column::Address => self.event.source_ip = address(text).or(self.event.source_ip),
            Column::Presentation => {
                let hides =
                    |word: &str| text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word.as_bytes()));
                if hides("private") || hides("anonymous") || hides("restricted") {
                    self.event.flags.set(Flags::ANONYMOUS);
                }
            }
            Column::ReleasedBy => {
                self.released_locally = match text {
                    b"local" => Some(true),
                    b"remote" => Some(false),
                    _ => None,
                };
            }
            _ => {}
        }
    }

    fn time(&mut self, text: &[u8]) -> Result<Timestamp, Reject> {
        let time = self.dialect.times.read(text);
        self.lacks_zone |= time.is_none() && self.dialect.times.lacks_zone(text);
        time.ok_or(Reject::BadTime)
    }

    /// Some write 1970 where nobody answered.
    fn answered_at(&mut self, time: Timestamp) {
        if time.0 == 0 {
            self.answered = Some(false);
        } else {
            self.answer = Some(time);
        }
    }

    fn milliseconds(&mut self, field: WireField, text: &[u8]) -> Result<(), Reject> {
        let ms = Decimal::parse(text).and_then(|n| n.whole()).and_then(|n| u32::try_from(n).ok());
        let ms = ms.filter(|ms| *ms != CallEvent::NO_TIME).ok_or(Reject::BadValue)?;
        match field {
            WireField::Setup => self.event.setup_ms = ms,
            WireField::Ring => self.event.ring_ms = ms,
            _ => self.event.duration_ms = ms,
        }
        Ok(())
    }

    fn id_part(&mut self, cell: Text) -> Result<(), Reject> {
        let part = fitting(cell)?;
        if let Some(place) = self.id_parts.iter_mut().find(|place| place.is_absent()) {
            *place = part;
        }
        Ok(())
    }

    /// `"Name" <number>`, `Name <number>`, `"" <number>` or the number alone.
    fn clid(&mut self, cell: Text, text: &[u8]) -> Result<(), Reject> {
        let (name, number) = name_and_address(cell, text);
        self.clid_number = fitting(number)?;
        fitting(name).map(|name| self.event.caller_name = name)
    }

    /// What stands between angle brackets, else what stands before the parameters.
    fn name_addr(&mut self, field: WireField, cell: Text, text: &[u8]) -> Result<(), Reject> {
        let (name, mut address) = name_and_address(cell, text);
        if address.is_absent() {
            let end = memchr::memchr(b';', text).unwrap_or(text.len());
            address = Text { at: cell.at, len: end as u32 };
        } else if field == WireField::Caller {
            self.event.caller_name = fitting(name)?;
        }
        let from = address.at.saturating_sub(cell.at) as usize;
        self.field(field, address, text.get(from..from + address.len as usize).unwrap_or(&[]))
    }

    /// The event; its time is [`NEVER`] where `needs_time` says that it may be.
    pub(super) fn finish(
        mut self,
        needs_time: bool,
        block: &[u8],
        side: &mut Vec<u8>,
    ) -> Result<(CallEvent, Origin), Reject> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.parties(block, side);
        self.times();
        let known = |ms: u32| if ms == CallEvent::NO_TIME { 0 } else { ms };
        if self.event.time == NEVER && needs_time {
            let told = i64::from(known(self.event.duration_ms)) + i64::from(known(self.event.ring_ms));
            let length = self.total_ms.map_or(told, i64::from);
            self.event.time = self.start.ok_or(Reject::NoTime)?.plus_ms(length);
        }
        self.outcome();
        self.id(block, side);
        Ok((self.event, self.origin))
    }

    fn parties(&mut self, block: &[u8], side: &[u8]) {
        let event = &mut self.event;
        let (from, to) = match event.direction {
            Direction::Inbound => (self.other, self.user),
            _ => (self.user, self.other),
        };
        let first = |texts: [Text; 3]| texts.into_iter().find(|text| !text.is_absent()).unwrap_or_default();
        event.caller.raw = first([event.caller.raw, from, self.clid_number]);
        event.callee.raw = first([event.callee.raw, to, Text::ABSENT]);
        if !self.redirector.is_absent() && bytes(block, side, self.redirector) != bytes(block, side, event.callee.raw) {
            event.diverting.raw = self.redirector;
        }
    }

    /// Talk and ringing, where times or a total tell them.
    fn times(&mut self) {
        let event = &mut self.event;
        let known = |ms: u32| if ms == CallEvent::NO_TIME { 0 } else { ms };
        let between = |from: Option<Timestamp>, to: Timestamp| {
            let from = from.filter(|_| to != NEVER)?;
            u32::try_from((to.0 - from.0).max(0)).ok().filter(|ms| *ms != CallEvent::NO_TIME)
        };
        let unknown = |ms: u32| ms == CallEvent::NO_TIME;
        if unknown(event.duration_ms) && self.answered == Some(false) {
            event.duration_ms = 0;
        }
        // The clock was put back during the call: what seems to come before the start was told afterwards.
        let times = &self.dialect.times;
        let after = |time: Timestamp, start: Timestamp| {
            if time < start { times.second_pass(time).unwrap_or(time) } else { time }
        };
        if let Some(start) = self.start {
            self.answer = self.answer.map(|answer| after(answer, start));
        }
        if let Some(begun) = self.answer.or(self.start).filter(|_| event.time != NEVER) {
            event.time = after(event.time, begun);
        }
        if let Some(total) = self.total_ms.filter(|_| !unknown(event.duration_ms)) {
            if unknown(event.ring_ms) {
                // Records with more talk than call exist; they rang for no time.
                event.ring_ms = total.saturating_sub(event.duration_ms);
            }
        } else if let Some(total) = self.total_ms {
            event.duration_ms = total.saturating_sub(known(event.ring_ms));
        }
        if unknown(event.duration_ms) && self.answered == Some(true) {
            event.duration_ms = between(self.answer, event.time).unwrap_or(CallEvent::NO_TIME);
        }
        if unknown(event.ring_ms) {
            let until = self.answer.or(Some(event.time).filter(|_| self.answered == Some(false)));
            event.ring_ms = until.and_then(|until| between(self.start, until)).unwrap_or(CallEvent::NO_TIME);
        }
    }

    /// How the call ended, and by whom.
    fn outcome(&mut self) {
        let event = &mut self.event;
        if event.q850 == 0 && (self.caller_cause, self.callee_cause) != (0, 0) {
            event.q850 = if self.caller_cause != 0 { self.caller_cause } else { self.callee_cause };
            self.cause = cause::status_of_q850(event.q850);
        }
        let hangup_by = match (self.caller_cause, self.callee_cause) {
            (0, 0) => HangupBy::Unknown,
            (_, 0) => HangupBy::Caller,
            (0, _) => HangupBy::Callee,
            _ => HangupBy::Unknown,
        };
        let released = match (self.released_locally, event.direction) {
            (Some(true), Direction::Outbound) | (Some(false), Direction::Inbound) => HangupBy::Caller,
            (Some(false), Direction::Outbound) | (Some(true), Direction::Inbound) => HangupBy::Callee,
            _ => hangup_by,
        };
        if event.hangup_by == HangupBy::Unknown {
            event.hangup_by = released;
        }
        if event.status != Status::Unknown {
            return;
        }
        let said = self.dialect.columns.iter().any(|(c, _)| *c == Column::Field(WireField::Status));
        let by_talk = self.dialect.is_custom && !said;
        event.status = match (self.answered, event.duration_ms) {
            (Some(true), _) => Status::Answered,
            (Some(false), _) => {
                let told = [self.cause, cause::status_of_sip(event.sip_code)];
                let told = told.into_iter().find(|s| !matches!(s, Status::Unknown | Status::Answered));
                told.unwrap_or(Status::NoAnswer)
            }
            (None, CallEvent::NO_TIME) => Status::Unknown,
            (None, 0) if by_talk => Status::NoAnswer,
            (None, _) if by_talk => Status::Answered,
            _ => Status::Unknown,
        };
    }

    fn id(&mut self, block: &[u8], side: &mut Vec<u8>) {
        let [first, second] = self.id_parts;
        if self.event.call_id.is_absent() && !second.is_absent() {
            let id = [bytes(block, side, first), b"-", bytes(block, side, second)].concat();
            if id.len() <= ID_BYTES_MAX {
                self.event.call_id = keep(side, &id);
            }
        }
    }
}

/// The name before angle brackets, without its quotes, and what stands in the brackets.
fn name_and_address(cell: Text, text: &[u8]) -> (Text, Text) {
    let part = |from: usize, to: usize| Text { at: cell.at + from as u32, len: to.saturating_sub(from) as u32 };
    let open = text.iter().rposition(|b| *b == b'<').unwrap_or(text.len());
    let close = text.iter().rposition(|b| *b == b'>').unwrap_or(text.len());
    let address = if open < close && open < text.len() { part(open + 1, close) } else { Text::ABSENT };
    let name = text.get(..open).unwrap_or(&[]);
    let junk = |b: &&u8| matches!(**b, b'"' | b' ' | b'\t');
    let lead = name.iter().take_while(junk).count();
    let trail = name.iter().rev().take_while(junk).count();
    (part(lead, name.len().saturating_sub(trail)), address)
}

/// An address, also in front of a port: `10.0.0.1:5060`, `[2001:db8::1]:5060`.
fn address(text: &[u8]) -> Option<IpAddr> {
    value::ip(text).or_else(|| {
        let colon = text.iter().rposition(|b| *b == b':')?;
        value::ip(text.get(..colon)?)
    })
}

/// A text that is not too long.
fn fitting(text: Text) -> Result<Text, Reject> {
    if text.len as usize > TEXT_BYTES_MAX {
        return Err(Reject::FieldTooLong);
    }
    Ok(if text.len == 0 { Text::ABSENT } else { text })
}

/// Seconds as `13`, `13.5`, `1:02:03` or `02:03`.
fn seconds(text: &[u8]) -> Result<u32, Reject> {
    if !text.contains(&b':') {
        return Decimal::parse(text).and_then(|number| number.seconds_ms()).ok_or(Reject::BadValue);
    }
    let mut total = 0u64;
    let mut n_parts = 0;
    for part in text.split(|b| *b == b':') {
        let ms = Decimal::parse(part).and_then(|number| number.seconds_ms()).ok_or(Reject::BadValue)?;
        total = total * 60 + u64::from(ms);
        n_parts += 1;
    }
    if n_parts > 3 {
        return Err(Reject::BadValue);
    }
    u32::try_from(total).ok().filter(|ms| *ms != CallEvent::NO_TIME).ok_or(Reject::BadValue)
}

/// Sets a field from its text. False where a word is none of the vocabulary.
pub(super) fn set(
    field: WireField,
    cell: Text,
    text: &[u8],
    dialect: &Dialect,
    event: &mut CallEvent,
    origin: &mut Origin,
) -> Result<bool, Reject> {
    if let Some((place, len_max)) = wire::text_place(field, event, origin) {
        if text.len() > len_max {
            return Err(Reject::FieldTooLong);
        }
        *place = cell;
        return Ok(true);
    }
    let text = dialect.meaning(field, text);
    let whole = || Decimal::parse(text).and_then(|number| number.whole());
    match field {
        WireField::Time => event.time = dialect.times.read(text).ok_or(Reject::BadTime)?,
        WireField::Kind => event.kind = Kind::parse(text).ok_or(Reject::UnknownKind)?,
        WireField::SourceIp => event.source_ip = Some(value::ip(text).ok_or(Reject::BadValue)?),
        WireField::Duration => event.duration_ms = seconds(text)?,
        WireField::Ring => event.ring_ms = seconds(text)?,
        WireField::Setup => event.setup_ms = seconds(text)?,
        WireField::Seq => event.seq = whole().ok_or(Reject::BadValue)?,
        WireField::SipCode => {
            event.sip_code = whole().and_then(|v| u16::try_from(v).ok()).ok_or(Reject::BadValue)?;
        }
        WireField::Q850 => event.q850 = whole().and_then(|v| u8::try_from(v).ok()).ok_or(Reject::BadValue)?,
        WireField::Cost => {
            event.cost = Decimal::parse(text).and_then(|n| n.ten_thousandths()).ok_or(Reject::BadValue)?;
        }
        WireField::Anonymous => flag(event, Flags::ANONYMOUS, text)?,
        WireField::AuthFailed => flag(event, Flags::AUTH_FAILED, text)?,
        WireField::Direction => return Ok(word(&mut event.direction, Direction::parse(text))),
        WireField::Status => return Ok(word(&mut event.status, Status::parse(text))),
        WireField::CallType => return Ok(word(&mut event.call_type, CallType::parse(text))),
        WireField::HangupBy => return Ok(word(&mut event.hangup_by, HangupBy::parse(text))),
        WireField::Attestation => return Ok(word(&mut event.attestation, wire::attestation(text))),
        _ => {}
    }
    Ok(true)
}

fn word<T: Default>(place: &mut T, found: Option<T>) -> bool {
    let known = found.is_some();
    *place = found.unwrap_or_default();
    known
}

fn flag(event: &mut CallEvent, flag: Flags, text: &[u8]) -> Result<(), Reject> {
    let is_any = |words: [&str; 5]| words.iter().any(|w| w.as_bytes().eq_ignore_ascii_case(text));
    if is_any(["true", "yes", "y", "1", "t"]) {
        event.flags.set(flag);
    } else if !is_any(["false", "no", "n", "0", "f"]) {
        return Err(Reject::BadValue);
    }
    Ok(())
}
