//! An incident: what people call a problem, with all alerts that are the same one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::page::Page;
use super::telling::Recipient;
use super::{Pairs, Severity};
use crate::clock::Timestamp;

/// How far an incident has come. [`IncidentState::may_become`] is the whole of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Somebody should look.
    Candidate,
    Suspected,
    Confirmed,
    Mitigating,
    Monitoring,
    Resolved,
    Reviewed,
    /// A false alarm.
    Dismissed,
    /// Part of another one, until it is unfolded.
    Merged,
}

impl IncidentState {
    pub const ALL: [IncidentState; 9] = [
        IncidentState::Candidate,
        IncidentState::Suspected,
        IncidentState::Confirmed,
        IncidentState::Mitigating,
        IncidentState::Monitoring,
        IncidentState::Resolved,
        IncidentState::Reviewed,
        IncidentState::Dismissed,
        IncidentState::Merged,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            IncidentState::Candidate => "candidate",
            IncidentState::Suspected => "suspected",
            IncidentState::Confirmed => "confirmed",
            IncidentState::Mitigating => "mitigating",
            IncidentState::Monitoring => "monitoring",
            IncidentState::Resolved => "resolved",
            IncidentState::Reviewed => "reviewed",
            IncidentState::Dismissed => "dismissed",
            IncidentState::Merged => "merged",
        }
    }

    pub fn parse(text: &str) -> Option<IncidentState> {
        IncidentState::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Somebody is still to do something about it.
    pub fn is_open(self) -> bool {
        use IncidentState::{Candidate, Confirmed, Mitigating, Monitoring, Suspected};
        matches!(self, Candidate | Suspected | Confirmed | Mitigating | Monitoring)
    }

    /// The table of legal transitions. From `merged` it goes back to where it came from.
    pub fn may_become(self, next: IncidentState) -> bool {
        use IncidentState::{
            Candidate, Confirmed, Dismissed, Merged, Mitigating, Monitoring, Resolved, Reviewed, Suspected,
        };
        match (self, next) {
            (Candidate, Suspected)
            | (Suspected, Confirmed)
            | (Confirmed, Mitigating)
            | (Mitigating, Monitoring)
            | (Monitoring, Resolved)
            | (Resolved, Reviewed | Confirmed)
            | (Candidate | Suspected, Dismissed) => true,
            (open, Merged) => open.is_open(),
            (Merged, open) => open.is_open(),
            _ => false,
        }
    }

    /// The way from one state to a later one along the table, the first step first. Skipping ahead passes through what
    /// lies between, so that every row has its place. `None` where it does not lie ahead.
    pub(super) fn way(self, to: IncidentState) -> Option<Vec<IncidentState>> {
        let path = &IncidentState::ALL[..7];
        let place = |state| path.iter().position(|s| *s == state);
        let (from, until) = (place(self)?, place(to)?);
        (from < until).then(|| path[from + 1..=until].to_vec())
    }
}

/// What a person does in an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    Commander,
    Scribe,
    Responder,
}

impl Position {
    pub const ALL: [Position; 3] = [Position::Commander, Position::Scribe, Position::Responder];

    pub fn as_str(self) -> &'static str {
        match self {
            Position::Commander => "commander",
            Position::Scribe => "scribe",
            Position::Responder => "responder",
        }
    }

    pub fn parse(text: &str) -> Option<Position> {
        Position::ALL.into_iter().find(|position| position.as_str() == text)
    }
}

/// See the module. `first` and `last` are in event time, the rest is the desk's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: i64,
    pub customer: String,
    /// Of the rules whose alerts fold into it; empty where a person opened it.
    pub group: String,
    /// Equal values of these fold into it.
    pub target: Pairs,
    /// What it is, in a sentence.
    pub what: String,
    pub state: IncidentState,
    pub severity: Severity,
    /// A person set the severity: the rules no longer change it.
    pub severity_is_set: bool,
    /// The gravest it ever had: lowering it spares no message the second person.
    pub gravest: Severity,
    /// What the customer was last told it is.
    pub severity_told: Option<Severity>,
    pub opened: Timestamp,
    pub changed: Timestamp,
    /// First and last violation.
    pub first: Timestamp,
    pub last: Timestamp,
    pub violations: u64,
    pub alerts: u64,
    /// Alerts that are open now.
    pub open_alerts: u64,
    pub commander: Option<String>,
    pub scribe: Option<String>,
    pub responders: Vec<String>,
    pub findings: Option<String>,
    pub recommendations: Option<String>,
    /// Its messages, by number.
    pub messages: Vec<i64>,
    pub merged_into: Option<i64>,
    /// Where it was before it was merged.
    pub state_before: Option<IncidentState>,
    pub reopened: u32,
    /// When a message of it was first accepted for the customer.
    pub notified: Option<Timestamp>,
    /// It came back after the customer was told, or may have been told, that it is over.
    pub is_to_be_told_again: bool,
    /// Since when the first notice waits for a commander, and who has been asked so far.
    pub asked_since: Option<Timestamp>,
    pub asked: u8,
    pub resolved: Option<Timestamp>,
    /// Everybody who was to be told, by which way: they are told of its end.
    #[serde(default)]
    pub told: BTreeSet<Recipient>,
    /// Calling those on call.
    #[serde(default)]
    pub page: Option<Page>,
}

impl Incident {
    /// One that nobody has looked at.
    pub(super) fn new(id: i64, customer: String, group: String, target: Pairs, severity: Severity) -> Incident {
        Incident {
            id,
            customer,
            group,
            target,
            what: String::new(),
            state: IncidentState::Candidate,
            severity,
            severity_is_set: false,
            gravest: severity,
            severity_told: None,
            opened: Timestamp(0),
            changed: Timestamp(0),
            first: Timestamp(0),
            last: Timestamp(0),
            violations: 0,
            alerts: 0,
            open_alerts: 0,
            commander: None,
            scribe: None,
            responders: Vec::new(),
            findings: None,
            recommendations: None,
            messages: Vec::new(),
            merged_into: None,
            state_before: None,
            reopened: 0,
            notified: None,
            is_to_be_told_again: false,
            asked_since: None,
            asked: 0,
            resolved: None,
            told: BTreeSet::new(),
            page: None,
        }
    }

    /// Suspected ones are told apart from confirmed ones wherever they are shown.
    pub fn certainty(&self) -> &'static str {
        let unsure = [IncidentState::Candidate, IncidentState::Suspected, IncidentState::Dismissed];
        let state = self.state_before.unwrap_or(self.state);
        if unsure.contains(&state) { "suspected" } else { "confirmed" }
    }

    /// The customer knows of it, so the customer hears of its end.
    pub fn is_notified(&self) -> bool {
        self.notified.is_some()
    }

    /// The customer knows what is so.
    pub(super) fn is_told(&self) -> bool {
        self.is_notified() && !self.is_to_be_told_again
    }
}
