//! One record on its way to an event: what its members say, read as text, number or word, and set where it belongs.

use std::borrow::Cow;

use super::members::{Kept, Member, Members};
use crate::event::{CallEvent, Reject, Status};
use crate::ingest::origin::keep;
use crate::ingest::value::Decimal;
use crate::ingest::wire::{self, Origin, WireField};

pub(super) struct Draft<'m, 'a> {
    pub(super) members: &'m Members<'a>,
    pub(super) event: &'m mut CallEvent,
    pub(super) origin: &'m mut Origin,
    pub(super) side: &'m mut Vec<u8>,
    /// Values of variables have percent escapes.
    pub(super) is_encoded: bool,
    /// The first value that does not fit its field.
    pub(super) problem: Option<Reject>,
    pub(super) n_unknown_words: u64,
}

impl<'m, 'a> Draft<'m, 'a> {
    pub(super) fn problem(&mut self, reason: Reject) {
        self.problem.get_or_insert(reason);
    }

    /// A member's text without the spaces around it. `None`: it is absent, empty or no text.
    pub(super) fn text(&self, name: Member) -> Option<Cow<'m, str>> {
        let text: &'m str = match self.members.get(name)? {
            Kept::Text(text) => text,
            Kept::Bare(text) => text,
            Kept::Wrong => return None,
        };
        let text = text.trim();
        if matches!(text, "" | "_undef_") {
            return None;
        }
        if self.is_encoded && text.contains('%') {
            let plain = unescape(text);
            return Some(Cow::Owned(first_of(&plain).to_owned()));
        }
        Some(Cow::Borrowed(first_of(text)))
    }

    pub(super) fn is_there(&self, name: Member) -> bool {
        self.text(name).is_some()
    }

    /// The first of the members that is there becomes the field.
    pub(super) fn set(&mut self, field: WireField, names: &[Member]) {
        let Some(name) = names.iter().find(|name| self.is_told(**name)) else { return };
        match self.members.get(*name) {
            Some(Kept::Wrong) => self.problem(Reject::WrongType),
            Some(Kept::Bare(_)) if wire::party(field, self.event).is_some() => self.problem(Reject::NumberNotText),
            _ => {
                if let Some(text) = self.text(*name) {
                    self.set_text(field, &text);
                }
            }
        }
    }

    fn is_told(&self, name: Member) -> bool {
        matches!(self.members.get(name), Some(Kept::Wrong)) || self.is_there(name)
    }

    pub(super) fn set_text(&mut self, field: WireField, text: &str) {
        let Some((place, len_max)) = wire::text_place(field, self.event, self.origin) else { return };
        if text.len() > len_max {
            return self.problem(Reject::FieldTooLong);
        }
        *place = keep(self.side, text.as_bytes());
    }

    /// A number, however it is written. Not a number: a problem.
    pub(super) fn number(&mut self, name: Member) -> Option<Decimal> {
        if matches!(self.members.get(name), Some(Kept::Wrong)) {
            self.problem(Reject::WrongType);
        }
        let text = self.text(name)?;
        let number = Decimal::parse(text.as_bytes());
        if number.is_none() {
            self.problem(Reject::BadValue);
        }
        number
    }

    /// A time span in units of `10^-places` seconds, as milliseconds.
    pub(super) fn span_ms(&mut self, name: Member, places: i32) -> Option<u32> {
        let number = self.number(name)?;
        // A clock that was set back makes a call end before it began: it took no time.
        let ms = if number.negative { Some(0) } else { number.scaled(3 - places) };
        let ms = ms.and_then(|ms| u32::try_from(ms).ok()).filter(|ms| *ms != CallEvent::NO_TIME);
        if ms.is_none() {
            self.problem(Reject::BadValue);
        }
        ms
    }

    /// A call that was not answered ended so, by the name or number of its cause.
    pub(super) fn unanswered(&mut self, cause: &str) {
        let meaning = meaning(cause);
        self.n_unknown_words += u64::from(meaning.is_none());
        self.event.status = match meaning.unwrap_or(Cause::Failure) {
            Cause::Normal => Status::NoAnswer,
            Cause::Busy => Status::Busy,
            Cause::NoAnswer => Status::NoAnswer,
            Cause::Cancelled => Status::Cancelled,
            Cause::Rejected => Status::Rejected,
            Cause::Failure => Status::Failed,
        };
    }
}

/// The first value of a variable that was set several times, as by a header that came several times; any other as it is.
fn first_of(text: &str) -> &str {
    match text.strip_prefix("ARRAY::") {
        Some(values) => values.split("|:").next().unwrap_or_default(),
        None => text,
    }
}

/// What a cause says of a call that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It ended as calls do, which leaves open why it was not answered.
    Normal,
    Busy,
    NoAnswer,
    Cancelled,
    Rejected,
    Failure,
}

/// FreeSWITCH's names of Q.850 causes and its own, or a cause's number. `None`: of neither.
pub(super) fn meaning(cause: &str) -> Option<Cause> {
    if let Ok(number) = cause.parse::<u16>() {
        return Some(match number {
            0 | 16 | 31 => Cause::Normal,
            17 | 486 | 600 => Cause::Busy,
            18 | 19 | 408 | 480 => Cause::NoAnswer,
            487 => Cause::Cancelled,
            21 | 403 | 603 | 607 | 608 => Cause::Rejected,
            _ => Cause::Failure,
        });
    }
    Some(match cause {
        "NONE" | "UNSPECIFIED" | "SUCCESS" | "NORMAL_CLEARING" | "NORMAL_UNSPECIFIED" | "CALL_AWARDED_DELIVERED" => {
            Cause::Normal
        }
        "USER_BUSY" | "BUSY_EVERYWHERE" => Cause::Busy,
        "NO_ANSWER" | "NO_USER_RESPONSE" | "ALLOTTED_TIMEOUT" | "PROGRESS_TIMEOUT" | "RECOVERY_ON_TIMER_EXPIRE" => {
            Cause::NoAnswer
        }
        "ORIGINATOR_CANCEL" | "LOSE_RACE" | "PICKED_OFF" => Cause::Cancelled,
        "CALL_REJECTED" | "DECLINE" | "UNWANTED" | "USER_CHALLENGE" => Cause::Rejected,
        word if word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') => Cause::Failure,
        _ => return None,
    })
}

/// `%20` and the like become what they stand for. Bytes that are no UTF-8 then are marked as such: a name in an odd
/// alphabet shall not cost a record.
pub(super) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match escaped(bytes.get(at..).unwrap_or(&[])) {
            Some(value) => {
                plain.push(value);
                at += 3;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// The byte that an escape stands for, where one begins `bytes`.
pub(super) fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}
