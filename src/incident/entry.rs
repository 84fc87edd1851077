//! What the book wants written: rows that never change, and how things stand after them.

use serde::Serialize;
use serde_json::Value;

use super::people::{Actor, ITSELF};
use super::telling::Telling;
use crate::clock::Timestamp;

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    Alert,
    Incident,
    Message,
    /// The clock of an incident, by the incident's number.
    Objective,
}

impl SubjectKind {
    pub const ALL: [SubjectKind; 4] =
        [SubjectKind::Alert, SubjectKind::Incident, SubjectKind::Message, SubjectKind::Objective];

    pub fn as_str(self) -> &'static str {
        match self {
            SubjectKind::Alert => "alert",
            SubjectKind::Incident => "incident",
            SubjectKind::Message => "message",
            SubjectKind::Objective => "objective",
        }
    }
}

/// One thing that happened to one subject: who, when, why. Where the state did not change, both are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub time: Timestamp,
    pub kind: SubjectKind,
    pub id: i64,
    pub from: &'static str,
    pub to: &'static str,
    pub who: String,
    pub came_from: String,
    /// What was done, in one word: `opened`, `confirmed`, `severity`.
    pub what: &'static str,
    pub why: String,
    /// Details, null where there are none.
    pub data: Value,
}

/// How a subject stands after the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    pub kind: SubjectKind,
    pub id: i64,
    pub customer: String,
    /// What an alert, a message or a clock belongs to.
    pub incident: Option<i64>,
    pub state: &'static str,
    pub is_open: bool,
    pub changed: Timestamp,
    pub body: Value,
}

/// What is to be written together, all or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    pub rows: Vec<Row>,
    pub subjects: Vec<Subject>,
    /// Violations, and the alerts that took them.
    pub folded: Vec<(String, i64)>,
    /// What is to go out.
    pub tellings: Vec<Telling>,
    /// Incidents of which a message says more than those before it.
    pub supersede: Vec<(i64, i64, Timestamp)>,
    /// What is not to go out any more.
    pub stops: Vec<(Timestamp, Stop)>,
}

impl Entries {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.subjects.is_empty()
            && self.folded.is_empty()
            && self.tellings.is_empty()
            && self.stops.is_empty()
    }
}

/// Deliveries that are not to be made any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Of a message that was taken back.
    Withdrawn { message: i64, why: String },
    /// Calls of people on call: somebody looks after the incident, or it is over.
    Calls { incident: i64, why: String },
}

/// A row in the making.
pub(super) struct Event<'a> {
    pub(super) time: Timestamp,
    pub(super) by: &'a Actor,
    pub(super) what: &'static str,
    pub(super) why: &'a str,
    pub(super) data: Value,
}

impl<'a> Event<'a> {
    pub(super) fn new(time: Timestamp, by: &'a Actor, what: &'static str, why: &'a str) -> Event<'a> {
        Event { time, by, what, why, data: Value::Null }
    }

    /// Of the service itself.
    pub(super) fn own(time: Timestamp, what: &'static str, why: &'a str) -> Event<'a> {
        Event::new(time, &ITSELF, what, why)
    }

    pub(super) fn with(mut self, data: impl Serialize) -> Event<'a> {
        self.data = serde_json::to_value(data).expect("texts and numbers always serialise");
        self
    }

    pub(super) fn row(self, kind: SubjectKind, id: i64, from: &'static str, to: &'static str) -> Row {
        Row {
            time: self.time,
            kind,
            id,
            from,
            to,
            who: self.by.name.clone(),
            came_from: self.by.from.clone(),
            what: self.what,
            why: self.why.to_owned(),
            data: self.data,
        }
    }
}
