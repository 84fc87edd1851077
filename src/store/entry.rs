//! What the store keeps, as plain values, and the sums that tell a damaged row from a good one. Knows no SQL.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::book::BookChange;
use super::deliveries::DeliveryChange;
use super::firing::Firing;
use super::inbox::Closing;
use super::people::{Token, User};
use crate::clock::Timestamp;

/// Who changed what, and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    pub time: Timestamp,
    /// A person, or a part of the service that acts by itself.
    pub who: String,
    /// An address, `local` for the machine itself.
    pub from: String,
    pub action: String,
    pub subject: String,
    /// What was and what is, [`Value::Null`] where there is no such thing. What is no change, a login, tells its
    /// details in `after`.
    pub before: Value,
    pub after: Value,
}

/// [`Violation::mode`] of what a rule in force mutes: an incident, of which nobody is told.
pub const MUTED: &str = "muted";

/// A violation as people look it up.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// `POSITION/RULE/LEVEL`, of what time brought `TIME/RULE/LEVEL/KEY` with a digest of customer and key.
    pub id: String,
    pub position: u64,
    pub time: Timestamp,
    pub customer: String,
    pub rule: String,
    pub level: String,
    pub key: Key,
    /// Rules of one group fold into one incident where their `target` is the same. Empty in rows from before there was
    /// an incident book.
    pub group: String,
    /// The entries of the key that tell the group's incidents apart.
    pub target: Key,
    pub measure: String,
    pub value: f64,
    pub threshold: f64,
    pub window: String,
    /// Empty where the event had none.
    pub call_id: String,
    /// That of the rule, or [`MUTED`].
    pub mode: String,
    pub late: bool,
    pub told_at: Option<Timestamp>,
    /// Which alert took it; None while the incident book has not.
    pub alert: Option<i64>,
    /// What it is about, in a line, where no rule of ours says it; else empty.
    pub what: String,
}

/// `per` entries and their values, in the order of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key(pub Vec<(String, String)>);

/// What a threshold put on a dynamic list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub list: String,
    pub value: String,
    pub customer: String,
    pub rule: String,
    /// Of the event that did it.
    pub position: u64,
    pub added: Timestamp,
    /// None while the episode is open.
    pub until: Option<Timestamp>,
    /// When a person took it off before its time.
    pub removed: Option<Timestamp>,
}

/// One thing to write. All of them may be told again, as recovery does: the second time changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Audit(Audit),
    /// A new one is put into the inbox of the incident book too.
    Violation(Violation),
    /// A violation has been told to those who listen.
    Told {
        id: String,
        at: Timestamp,
    },
    Block(Block),
    /// The episode behind a block has closed; the block holds `until`. Blocks that a later event than `position` made, or
    /// one that was not earlier than the close, belong to another episode and stay as they are: a batch may hold the end
    /// of one and the beginning of the next.
    BlockEnds {
        list: String,
        value: String,
        customer: String,
        rule: String,
        position: u64,
        closed: Timestamp,
        until: Timestamp,
    },
    /// A person took the value off the list; what was put there by events after `position` stays.
    BlockRemoved {
        list: String,
        value: String,
        position: u64,
        removed: Timestamp,
    },
    /// An episode has ended. A new one is put into the inbox too.
    Closed(Closing),
    Book(BookChange),
    Deliveries(DeliveryChange),
    /// A new user, or all of one that is there.
    User(User),
    /// A new token; one that is there stays as it is. Refused where there is no such user.
    Token(Token),
    TokenUsed {
        id: String,
        at: Timestamp,
    },
    TokenRevoked {
        id: String,
        at: Timestamp,
    },
    /// An Alertmanager is about to be told that this fires.
    Firing(Firing),
    /// It took the end; by the labels alone.
    FiringEnded(Firing),
}

impl Change {
    /// Would anybody tell it again after a loss? What recovery finds in the journal, it tells; what people did, nobody.
    pub(super) fn is_told_once(&self) -> bool {
        match self {
            Change::Audit(_) | Change::User(_) | Change::Token(_) | Change::TokenRevoked { .. } => true,
            // What other programs told us and was acknowledged stands in no journal.
            Change::Violation(violation) => violation.position == 0,
            Change::Closed(closing) => closing.position == 0,
            Change::Book(change) => !change.transitions.is_empty() || !change.audit.is_empty(),
            Change::Deliveries(change) => !change.audit.is_empty(),
            _ => false,
        }
    }
}

/// What became of a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// A new row; for an audit entry its number, for a change of the book that of its last transition.
    Added(i64),
    /// It was there already, nothing changed.
    Known,
    /// So many rows changed, none where it had been told before.
    Changed(usize),
    /// What a change of the book takes from the inbox is not all there any more: nothing of the change was written.
    Stale,
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

/// A map of JSON would be sorted by name.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Key, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Key(pairs))
    }
}

impl Key {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts always serialise")
    }
}

/// JSON of a value, none for null.
pub(super) fn json(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}

/// Positions past what SQLite can hold are 292 thousand years of a million events a second away.
pub(super) fn stored(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// The sum of a row: every field behind a mark of its kind and length, so that no two rows read alike.
#[derive(Default)]
pub(super) struct Sum(crc32fast::Hasher);

impl Sum {
    pub(super) fn text(mut self, text: &str) -> Sum {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(super) fn int(mut self, value: i64) -> Sum {
        self.0.update(&value.to_le_bytes());
        self
    }

    pub(super) fn time(self, time: Option<Timestamp>) -> Sum {
        match time {
            None => self.int(0),
            Some(time) => self.int(1).int(time.0),
        }
    }

    fn real(self, value: f64) -> Sum {
        // Zero is stored without its sign, and what is no number without its bits.
        let bits = if value == 0.0 || value.is_nan() { 0 } else { value.to_bits() };
        self.int(bits as i64).int(i64::from(value.is_nan()))
    }

    pub(super) fn end(self) -> i64 {
        i64::from(self.0.finalize())
    }
}

impl Audit {
    /// Of the JSON as it is stored: numbers need not print as they were read.
    pub(super) fn sum(&self, id: i64, before: Option<&str>, after: Option<&str>) -> i64 {
        let sum = Sum::default().int(id).int(self.time.0).text(&self.who).text(&self.from);
        let sum = sum.text(&self.action).text(&self.subject);
        sum.text(before.unwrap_or_default()).text(after.unwrap_or_default()).end()
    }
}

impl Violation {
    pub(super) fn sum(&self) -> i64 {
        let sum = Sum::default().text(&self.id).int(stored(self.position)).int(self.time.0).text(&self.customer);
        let sum = sum.text(&self.rule).text(&self.level).text(&self.key.to_json()).text(&self.measure);
        let sum = sum.real(self.value).real(self.threshold).text(&self.window).text(&self.call_id);
        let sum = sum.text(&self.mode).int(i64::from(self.late)).time(self.told_at);
        if self.group.is_empty() && self.target.0.is_empty() && self.alert.is_none() && self.what.is_empty() {
            // As rows were summed before there was an incident book.
            return sum.end();
        }
        let sum = sum.text(&self.group).text(&self.target.to_json());
        let sum = sum.int(i64::from(self.alert.is_some())).int(self.alert.unwrap_or_default());
        // As they were summed before other programs' alerts came in.
        if self.what.is_empty() { sum.end() } else { sum.text(&self.what).end() }
    }
}

impl Block {
    pub(super) fn sum(&self) -> i64 {
        let sum = Sum::default().text(&self.list).text(&self.value).text(&self.customer).text(&self.rule);
        sum.int(stored(self.position)).time(Some(self.added)).time(self.until).time(self.removed).end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_the_order_of_its_rule_as_json() {
        let key = Key(vec![("trunk".into(), "t\"1".into()), ("caller".into(), "+46700001".into())]);
        assert_eq!(key.to_json(), r#"{"trunk":"t\"1","caller":"+46700001"}"#);
        assert_eq!(serde_json::from_str::<Key>(&key.to_json()).unwrap(), key);
        assert!(serde_json::from_str::<Key>("[1]").is_err());
    }

    #[test]
    fn texts_that_are_cut_elsewhere_have_another_sum() {
        let block = |list: &str, value: &str| {
            let (customer, rule) = (String::new(), String::new());
            let (list, value) = (list.to_owned(), value.to_owned());
            Block { list, value, customer, rule, position: 1, added: Timestamp(1), until: None, removed: None }.sum()
        };
        assert_ne!(block("ab", "c"), block("a", "bc"));
    }
}
