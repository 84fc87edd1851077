//! Reading a field of an event, or a function of one: the left side of tests, and the parts of keys.

use std::io::Write;
use std::net::IpAddr;

use super::field::{Type, Vocabulary};
use super::predicate::{Flag, View};
use crate::calendar::LocalClock;
use crate::clock::{Timestamp, civil_from_days};
use crate::event::{CallEvent, Class, Country, Field, Flags, Number, Text, Which};

/// A field, or a function of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    Field(Field),
    /// The first n digits.
    Prefix(Field, u32),
    /// Count of digits or characters.
    Len(Field),
    Lower(Field),
}

/// What an operand is for one event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// With its text where only that tells it from others: [`Number::is_text`].
    Number(Number, &'a [u8]),
    /// The first digits of a longer number.
    Prefix(Number),
    Text(&'a [u8]),
    /// To be read in lower case.
    Lower(&'a [u8]),
    Int(i64),
    /// Milliseconds.
    Duration(i64),
    /// 1/10,000.
    Money(i64),
    Ip(IpAddr),
    /// A word of an enum, a country or a day of the week.
    Word(&'static str),
    Country(Country),
    Bool(bool),
    /// Minute of the day.
    Time(i64),
    /// Days since 1970-01-01.
    Date(i64),
}

impl Value<'_> {
    /// Equal as the rule language has it: a prefix is a number, and case counts only where nothing lowers it.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Number(a, _) | Value::Prefix(a), Value::Number(b, _) | Value::Prefix(b)) if !a.is_text() => a == b,
            (Value::Text(a), Value::Lower(b)) | (Value::Lower(b), Value::Text(a)) => lowered(b, |b| *a == b),
            (Value::Lower(a), Value::Lower(b)) => lowered(a, |a| lowered(b, |b| a == b)),
            _ => self == other,
        }
    }
}

impl Operand {
    pub fn field(&self) -> Field {
        match self {
            Operand::Field(f) | Operand::Prefix(f, _) | Operand::Len(f) | Operand::Lower(f) => *f,
        }
    }

    /// Does the event say it? An `unknown` enum is a value, and yet not present.
    pub fn is_present(&self, view: &View<'_>) -> bool {
        !matches!(self.value(view), None | Some(Value::Word("unknown")))
    }

    /// `None`: the event does not say. Enums then are `unknown`.
    pub fn value<'a>(&self, view: &View<'a>) -> Option<Value<'a>> {
        match self {
            Operand::Field(field) => value(*field, view),
            Operand::Prefix(field, n) => {
                let whole = number(*field, view)?;
                let cut = whole.prefix(*n)?;
                Some(if cut == whole { Value::Number(whole, b"") } else { Value::Prefix(cut) })
            }
            Operand::Len(_) => self.integer(view, None).map(Value::Int),
            Operand::Lower(field) => text(*field, view).map(Value::Lower),
        }
    }

    /// The number of a Number field or of its prefix; of a prefix, whether or not digits were cut off.
    pub fn number(&self, view: &View<'_>) -> Option<Number> {
        match self {
            Operand::Field(field) => number(*field, view),
            Operand::Prefix(field, n) => number(*field, view)?.prefix(*n),
            Operand::Len(_) | Operand::Lower(_) => None,
        }
    }

    /// Integers and what is held as one. The fields of the clock need it: `clock` is that of the policy.
    pub(super) fn integer(&self, view: &View<'_>, clock: Option<&LocalClock>) -> Option<i64> {
        let event = view.event;
        let field = match self {
            Operand::Field(field) => *field,
            Operand::Len(field) => return len(*field, view),
            Operand::Prefix(..) | Operand::Lower(_) => return None,
        };
        match field {
            Field::Duration => milliseconds(event.duration_ms),
            Field::Ring => milliseconds(event.ring_ms),
            Field::Setup => milliseconds(event.setup_ms),
            Field::Cost => (event.cost != CallEvent::NO_COST).then_some(event.cost),
            Field::SipCode => (event.sip_code != 0).then_some(i64::from(event.sip_code)),
            Field::Q850 => (event.q850 != 0).then_some(i64::from(event.q850)),
            Field::Time | Field::Weekday | Field::Date => {
                let (day, minute) = clock?.day_and_minute(event.call_start());
                Some(of_clock(field, day, i64::from(minute)))
            }
            _ => None,
        }
    }

    /// Gives a present text to `read`, in lower case where the operand asks for it.
    pub(crate) fn with_text<R>(&self, view: &View<'_>, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Operand::Field(field) => text(*field, view).map(read),
            Operand::Lower(field) => text(*field, view).map(|t| lowered(t, read)),
            Operand::Prefix(..) | Operand::Len(_) => None,
        }
    }
}

fn milliseconds(ms: u32) -> Option<i64> {
    (ms != CallEvent::NO_TIME).then_some(i64::from(ms))
}

fn of_clock(field: Field, day: i64, minute: i64) -> i64 {
    match field {
        Field::Time => minute,
        // 1970-01-01 was a Thursday.
        Field::Weekday => (day + 3).rem_euclid(7),
        _ => day,
    }
}

/// Without an allocation but for text that is not ASCII or longer than any field.
fn lowered<R>(text: &[u8], read: impl FnOnce(&[u8]) -> R) -> R {
    let mut buffer = [0u8; 256];
    match buffer.get_mut(..text.len()) {
        Some(lower) if text.is_ascii() => {
            lower.copy_from_slice(text);
            lower.make_ascii_lowercase();
            read(lower)
        }
        _ => read(String::from_utf8_lossy(text).to_lowercase().as_bytes()),
    }
}

fn number(field: Field, view: &View<'_>) -> Option<Number> {
    match field {
        Field::Party(which) => Some(view.event.party(which).number).filter(|n| !n.is_absent()),
        _ => None,
    }
}

fn len(field: Field, view: &View<'_>) -> Option<i64> {
    let characters = |text: &[u8]| text.iter().filter(|b| **b & 0xc0 != 0x80).count() as i64;
    match field {
        Field::Party(which) => {
            let number = number(field, view)?;
            match number.digits() {
                Some((_, n)) => Some(i64::from(n)),
                None if number.is_text() => {
                    Some(view.batch.text(view.event.party(which).text)).filter(|t| !t.is_empty()).map(characters)
                }
                None => Some(i64::from(number.symbol_count())),
            }
        }
        _ => text(field, view).map(characters),
    }
}

pub(super) fn country(which: Which, view: &View<'_>) -> Option<Country> {
    view.policy.numbering.country(view.event.party(which).number)
}

fn class(which: Which, view: &View<'_>) -> Class {
    if which == Which::Callee && view.event.flags.has(Flags::EMERGENCY) {
        return Class::Emergency;
    }
    view.policy.numbering.class(view.event.party(which).number)
}

/// The value of an enum by its place among the words; `None` where it is absent and has no `unknown`.
pub(super) fn word(field: Field, view: &View<'_>) -> Option<u8> {
    let event = view.event;
    Some(match field {
        Field::Direction => event.direction as u8,
        Field::CallType => event.call_type as u8,
        Field::Status => event.status as u8,
        Field::HangupBy => event.hangup_by as u8,
        Field::Attestation => event.attestation as u8,
        Field::Class(which) => class(which, view) as u8,
        Field::NumberKind(which) => event.party(which).number.kind()? as u8,
        _ => u8::from(Flag::of(field)?.get(event)),
    })
}

fn text<'a>(field: Field, view: &View<'a>) -> Option<&'a [u8]> {
    let event = view.event;
    let span: Text = match field {
        Field::Customer => return Some(view.names.customer_text(event.customer).as_bytes()),
        Field::Gateway => return Some(view.names.gateway_text(event.gateway).as_bytes()),
        Field::Trunk => event.trunk,
        Field::Raw(which) => event.party(which).raw,
        Field::Domain => event.domain,
        Field::CallerName => event.caller_name,
        Field::Account => event.account,
        Field::Extension => event.extension,
        Field::UserAgent => event.user_agent,
        Field::Method => event.method,
        _ => return None,
    };
    Some(view.batch.text(span)).filter(|t| !t.is_empty())
}

fn value<'a>(field: Field, view: &View<'a>) -> Option<Value<'a>> {
    let event = view.event;
    let word = |word: &'static str| Some(Value::Word(word));
    match field {
        Field::Party(which) => {
            let number = number(field, view)?;
            let text: &[u8] = if number.is_text() { view.batch.text(event.party(which).text) } else { b"" };
            Some(Value::Number(number, text))
        }
        Field::Direction => word(event.direction.as_str()),
        Field::CallType => word(event.call_type.as_str()),
        Field::Status => word(event.status.as_str()),
        Field::HangupBy => word(event.hangup_by.as_str()),
        Field::Attestation => word(event.attestation.as_str()),
        Field::Class(which) => word(class(which, view).as_str()),
        Field::NumberKind(which) => event.party(which).number.kind().map(|k| Value::Word(k.as_str())),
        Field::Country(which) => country(which, view).map(Value::Country),
        Field::Anonymous | Field::Answered | Field::AuthFailed => Flag::of(field).map(|f| Value::Bool(f.get(event))),
        Field::SourceIp => event.source_ip.map(Value::Ip),
        Field::Duration | Field::Ring | Field::Setup => Operand::Field(field).integer(view, None).map(Value::Duration),
        Field::Cost => Operand::Field(field).integer(view, None).map(Value::Money),
        Field::SipCode | Field::Q850 => Operand::Field(field).integer(view, None).map(Value::Int),
        Field::Time | Field::Weekday | Field::Date => local(field, view),
        _ => text(field, view).map(Value::Text),
    }
}

/// The fields of the clock where nothing compiled a [`LocalClock`] for them: parts of keys.
fn local<'a>(field: Field, view: &View<'a>) -> Option<Value<'a>> {
    let Timestamp(start) = view.event.call_start();
    let instant = jiff::Timestamp::from_millisecond(start).ok()?;
    let offset = i64::from(view.policy.time_zone.to_offset(instant).seconds());
    let local = start.div_euclid(1000) + offset;
    let found = of_clock(field, local.div_euclid(86_400), local.rem_euclid(86_400) / 60);
    Some(match field {
        Field::Time => Value::Time(found),
        Field::Weekday => Value::Word(WEEKDAYS.get(found as usize).copied().unwrap_or_default()),
        _ => Value::Date(found),
    })
}

/// Monday is 0.
pub(super) const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Prints a value as the `key` of a violation shows it: `+46701234567`, `+4670123*`, `pbx-22`, `1.5`.
pub fn write_value(value: &Value<'_>, out: &mut Vec<u8>) {
    let written = match value {
        Value::Number(number, text) if number.is_text() && !text.is_empty() => out.write_all(text),
        Value::Number(number, _) => match number.kind() {
            Some(kind) if number.is_text() => out.write_all(kind.as_str().as_bytes()),
            _ => write!(out, "{number}"),
        },
        Value::Prefix(number) => write!(out, "{number}*"),
        Value::Text(text) => out.write_all(text),
        Value::Lower(text) => lowered(text, |lower| out.write_all(lower)),
        Value::Int(n) => write!(out, "{n}"),
        Value::Duration(ms) => write!(out, "{}", *ms as f64 / 1000.0),
        Value::Money(parts) => write!(out, "{}", *parts as f64 / 10_000.0),
        Value::Ip(ip) => write!(out, "{ip}"),
        Value::Word(word) => out.write_all(word.as_bytes()),
        Value::Country(country) => out.write_all(country.as_str().as_bytes()),
        Value::Bool(yes) => write!(out, "{yes}"),
        Value::Time(minute) => write!(out, "{:02}:{:02}", minute / 60, minute % 60),
        Value::Date(days) => {
            let (year, month, day) = civil_from_days(*days);
            write!(out, "{year:04}-{month:02}-{day:02}")
        }
    };
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

impl Operand {
    /// What it is compared with, given the type of its field.
    pub(super) fn ty(&self, field: Type) -> Type {
        match self {
            Operand::Len(_) => Type::Int,
            _ => field,
        }
    }

    /// Is it true or false by itself?
    pub(super) fn is_bool(&self, field: Type) -> bool {
        matches!((self, field), (Operand::Field(_), Type::Word(Vocabulary::Bool)))
    }
}
