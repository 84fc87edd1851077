//! What a violation becomes: alerts, incidents that they fold into, and the messages said of them.
//!
//! Three small state machines, each with one table of what may follow what: [`Alert`], [`Incident`], [`Message`]; beside
//! them a clock that says until when a customer must have heard. The [`Book`] owns them all. It is pure: what happened,
//! who asked for what and what time it is come in, and what is to be written comes out as [`Entries`], each change of a
//! state a row of its own with who, when and why. It reads no clock and no file; whoever owns it makes the entries durable
//! before anybody is told of them.

mod alert;
mod book;
mod command;
mod deadline;
mod entry;
mod facts;
mod folding;
mod message;
mod orders;
mod page;
mod people;
mod record;
mod renamed;
mod telling;
mod terms;
mod timers;
mod wording;

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod telling_tests;
#[cfg(test)]
mod tests;

pub use alert::{Alert, AlertState};
pub use book::{Book, BookCounts};
pub use command::{Answer, Command, Refusal};
pub use deadline::{ClockState, Mark, NotifyClock};
pub use entry::{Entries, Row, Stop, Subject, SubjectKind};
pub use facts::Given;
pub use folding::{Ending, Sighting};
pub use message::{Check, Message, MessageState};
pub use page::Page;
pub use people::{Actor, Role, Roles};
pub use record::{Incident, IncidentState, Position};
pub use renamed::Renamed;
pub use telling::{About, Purpose, Recipient, STDOUT, Telling, once, words};
pub use terms::Terms;

/// Names and values, in the order of the rule.
pub type Pairs = Vec<(String, String)>;

/// The name of the service itself where it acts by itself.
pub const SELF: &str = "ringfence";

/// 1 disaster, 2 major, 3 minor, 4 low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Severity(u8);

impl Severity {
    pub const DISASTER: Severity = Severity(1);
    pub const MAJOR: Severity = Severity(2);
    pub const MINOR: Severity = Severity(3);
    pub const LOW: Severity = Severity(4);
    pub const ALL: [Severity; 4] = [Severity(1), Severity(2), Severity(3), Severity(4)];

    pub fn new(number: u8) -> Option<Severity> {
        (1..=4).contains(&number).then_some(Severity(number))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    pub fn word(self) -> &'static str {
        match self.0 {
            1 => "disaster",
            2 => "major",
            3 => "minor",
            _ => "low",
        }
    }

    /// 1 and 2: notices are checked by a second person, and stand on the public portal.
    pub fn is_grave(self) -> bool {
        self.0 <= 2
    }

    /// Unsure means the higher: the smaller number.
    pub fn graver(self, other: Severity) -> Severity {
        self.min(other)
    }
}

impl TryFrom<u8> for Severity {
    type Error = String;

    fn try_from(number: u8) -> Result<Severity, String> {
        Severity::new(number).ok_or_else(|| format!("severity {number} is not one of 1, 2, 3, 4"))
    }
}

impl From<Severity> for u8 {
    fn from(severity: Severity) -> u8 {
        severity.0
    }
}

/// `INC-000123`, as people write it.
pub fn incident_name(id: i64) -> String {
    format!("INC-{id:06}")
}

/// `MSG-000123`.
pub fn message_name(id: i64) -> String {
    format!("MSG-{id:06}")
}

/// `DLV-000123`.
pub fn delivery_name(id: i64) -> String {
    format!("DLV-{id:06}")
}

/// The number in `INC-000123`, `inc-123` or `123`.
pub fn parse_name(text: &str, prefix: &str) -> Option<i64> {
    let text = text.trim();
    let cut = text.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix));
    let digits = cut.and_then(|_| text.get(prefix.len()..)).map_or(text, |rest| rest.trim_start_matches('-'));
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
