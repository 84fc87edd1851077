//! What a rule may name of an event: each field's name, type, and when it is known.

use crate::event::{Attestation, CallType, Class, Direction, Field, HangupBy, NumberKind, Status, Which};

use super::On;

/// Type of a field and of what it is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Number,
    Text,
    Word(Vocabulary),
    Country,
    Int,
    /// Milliseconds.
    Duration,
    /// 1/10,000.
    Money,
    Ip,
    /// Minute of the local day.
    Time,
    /// Monday is 0.
    Weekday,
    /// Days since 1970-01-01.
    Date,
}

/// A closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// `false` and `true`.
    Bool,
    Direction,
    CallType,
    Kind,
    Class,
    Attestation,
    Status,
    HangupBy,
}

impl Vocabulary {
    /// In the order of the values they stand for.
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Vocabulary::Bool => vec!["false", "true"],
            Vocabulary::Direction => Direction::ALL.iter().map(|w| w.as_str()).collect(),
            Vocabulary::CallType => CallType::ALL.iter().map(|w| w.as_str()).collect(),
            Vocabulary::Kind => NumberKind::ALL.iter().map(|w| w.as_str()).collect(),
            Vocabulary::Class => Class::ALL.iter().map(|w| w.as_str()).collect(),
            Vocabulary::Attestation => Attestation::ALL.iter().map(|w| w.as_str()).collect(),
            Vocabulary::Status => Status::ALL.iter().map(|w| w.as_str()).collect(),
            Vocabulary::HangupBy => HangupBy::ALL.iter().map(|w| w.as_str()).collect(),
        }
    }
}

impl Type {
    /// With its article.
    pub fn describe(self) -> &'static str {
        match self {
            Type::Number => "a phone number",
            Type::Text => "a text",
            Type::Word(Vocabulary::Bool) => "yes or no",
            Type::Word(_) => "one of a few words",
            Type::Country => "a country code",
            Type::Int => "an integer",
            Type::Duration => "a duration",
            Type::Money => "an amount",
            Type::Ip => "an IP address",
            Type::Time => "a time of day",
            Type::Weekday => "a day of the week",
            Type::Date => "a date",
        }
    }

    /// Are there a less and a more?
    pub fn is_ordered(self) -> bool {
        matches!(self, Type::Int | Type::Duration | Type::Money | Type::Time | Type::Date)
    }
}

/// When a field is known: a bit a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    const END: Phases = Phases(1);
    const ANSWER: Phases = Phases(2 | 1);
    /// From the attempt on.
    const CALL: Phases = Phases(4 | 2 | 1);
    const REQUEST: Phases = Phases(8);

    const fn and(self, other: Phases) -> Phases {
        Phases(self.0 | other.0)
    }

    pub fn include(self, on: On) -> bool {
        let bit = match on {
            On::Attempt | On::Call => 4,
            On::Answer => 2,
            On::End => 1,
            On::Register | On::Request => 8,
        };
        self.0 & bit != 0
    }

    /// `known from: end`
    pub fn describe(self) -> String {
        let call = [(4, "attempt"), (2, "answer"), (1, "end")].into_iter().find(|(bit, _)| self.0 & bit != 0);
        match (call, self.0 & Self::REQUEST.0 != 0) {
            (Some((_, from)), false) => format!("known from: {from}"),
            (Some((_, from)), true) => format!("known from: {from}; and on register and request"),
            _ => "known on: register, request".to_owned(),
        }
    }

    /// The `on` to use instead.
    pub fn advice(self) -> &'static str {
        match self.0 {
            bits if bits & 4 != 0 => "attempt",
            bits if bits & 2 != 0 => "answer",
            bits if bits & 1 != 0 => "end",
            _ => "register",
        }
    }
}

/// One field of the rule language.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub name: &'static str,
    pub field: Field,
    pub ty: Type,
    pub phases: Phases,
    /// An event may not say it. Enums then are `unknown` and booleans false, which is a value.
    pub may_be_absent: bool,
}

const fn spec(name: &'static str, field: Field, ty: Type, phases: Phases) -> Spec {
    let may_be_absent = match ty {
        Type::Word(Vocabulary::Kind) => true,
        Type::Word(_) | Type::Time | Type::Weekday | Type::Date => false,
        _ => !matches!(field, Field::Customer | Field::Gateway),
    };
    Spec { name, field, ty, phases, may_be_absent }
}

const EVERYWHERE: Phases = Phases::CALL.and(Phases::REQUEST);
const CALL: Phases = Phases::CALL;
const END: Phases = Phases::END;

/// Every field, in the order of the language's description.
pub const FIELDS: &[Spec] = &[
    spec("customer", Field::Customer, Type::Text, EVERYWHERE),
    spec("gateway", Field::Gateway, Type::Text, EVERYWHERE),
    spec("direction", Field::Direction, Type::Word(Vocabulary::Direction), CALL),
    spec("call_type", Field::CallType, Type::Word(Vocabulary::CallType), CALL),
    spec("trunk", Field::Trunk, Type::Text, EVERYWHERE),
    spec("caller", Field::Party(Which::Caller), Type::Number, EVERYWHERE),
    spec("caller.raw", Field::Raw(Which::Caller), Type::Text, EVERYWHERE),
    spec("caller.country", Field::Country(Which::Caller), Type::Country, EVERYWHERE),
    spec("caller.kind", Field::NumberKind(Which::Caller), Type::Word(Vocabulary::Kind), EVERYWHERE),
    spec("caller.class", Field::Class(Which::Caller), Type::Word(Vocabulary::Class), EVERYWHERE),
    spec("callee", Field::Party(Which::Callee), Type::Number, CALL),
    spec("callee.raw", Field::Raw(Which::Callee), Type::Text, CALL),
    spec("callee.country", Field::Country(Which::Callee), Type::Country, CALL),
    spec("callee.kind", Field::NumberKind(Which::Callee), Type::Word(Vocabulary::Kind), CALL),
    spec("callee.class", Field::Class(Which::Callee), Type::Word(Vocabulary::Class), CALL),
    spec("anonymous", Field::Anonymous, Type::Word(Vocabulary::Bool), CALL),
    spec("domain", Field::Domain, Type::Text, EVERYWHERE),
    spec("caller_name", Field::CallerName, Type::Text, CALL),
    spec("asserted", Field::Party(Which::Asserted), Type::Number, CALL),
    spec("diverting", Field::Party(Which::Diverting), Type::Number, CALL),
    spec("account", Field::Account, Type::Text, EVERYWHERE),
    spec("extension", Field::Extension, Type::Text, CALL),
    spec("attestation", Field::Attestation, Type::Word(Vocabulary::Attestation), CALL),
    spec("source_ip", Field::SourceIp, Type::Ip, EVERYWHERE),
    spec("user_agent", Field::UserAgent, Type::Text, EVERYWHERE),
    spec("method", Field::Method, Type::Text, EVERYWHERE),
    spec("time", Field::Time, Type::Time, EVERYWHERE),
    spec("weekday", Field::Weekday, Type::Weekday, EVERYWHERE),
    spec("date", Field::Date, Type::Date, EVERYWHERE),
    spec("ring", Field::Ring, Type::Duration, Phases::ANSWER),
    spec("setup", Field::Setup, Type::Duration, Phases::ANSWER),
    spec("answered", Field::Answered, Type::Word(Vocabulary::Bool), END),
    spec("status", Field::Status, Type::Word(Vocabulary::Status), END),
    spec("sip_code", Field::SipCode, Type::Int, END.and(Phases::REQUEST)),
    spec("q850", Field::Q850, Type::Int, END),
    spec("duration", Field::Duration, Type::Duration, END),
    spec("hangup_by", Field::HangupBy, Type::Word(Vocabulary::HangupBy), END),
    spec("cost", Field::Cost, Type::Money, END),
    spec("auth_failed", Field::AuthFailed, Type::Word(Vocabulary::Bool), Phases::REQUEST),
];

impl Field {
    /// The field of this name.
    pub fn named(name: &str) -> Option<&'static Spec> {
        FIELDS.iter().find(|spec| spec.name == name)
    }

    /// `None` for what no rule can name (`asserted.country`).
    pub fn spec(self) -> Option<&'static Spec> {
        FIELDS.iter().find(|spec| spec.field == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_from_their_phase_on() {
        let known = |name: &str, on| Field::named(name).unwrap().phases.include(on);
        assert!(!known("duration", On::Attempt) && !known("duration", On::Answer) && known("duration", On::End));
        assert!(!known("ring", On::Call) && known("ring", On::Answer) && known("ring", On::End));
        assert!(known("auth_failed", On::Register) && !known("auth_failed", On::End));
        assert!(known("sip_code", On::Request) && known("sip_code", On::End) && !known("sip_code", On::Attempt));
        assert!(!known("callee", On::Request) && known("caller.country", On::Register));
        assert_eq!(Field::named("duration").unwrap().phases.describe(), "known from: end");
        assert_eq!(Field::named("auth_failed").unwrap().phases.describe(), "known on: register, request");
    }

    #[test]
    fn words_stand_in_the_order_of_their_values() {
        for (i, word) in Vocabulary::Status.words().into_iter().enumerate() {
            assert_eq!(Status::parse(word.as_bytes()).unwrap() as usize, i);
        }
        for (i, kind) in NumberKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, i);
        }
    }
}
