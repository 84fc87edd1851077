//! What a kit is rendered with: what the book knows of an incident, and what its author adds.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::record::Incident;
use super::{Severity, incident_name};
use crate::clock::Timestamp;
use crate::kit::{Fact, Facts};

/// What the author of a message hands in, by the names of the kit's variables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    #[serde(default)]
    pub texts: BTreeMap<String, String>,
    /// When the customer hears more.
    #[serde(default)]
    pub next_update: Option<Timestamp>,
}

impl Given {
    /// With these instead of what was given before; the rest stays.
    pub(super) fn with(mut self, other: Given) -> Given {
        self.texts.extend(other.texts);
        self.next_update = other.next_update.or(self.next_update);
        self
    }
}

/// Facts of an incident as they are at `now`, on the customer's clock.
pub(super) fn of_incident(
    incident: &Incident,
    customer: &str,
    escalation: &str,
    zone: &TimeZone,
    given: &Given,
    now: Timestamp,
) -> Facts {
    let mut facts = Facts::default();
    // What people write wins where a kit asks for it, but never over what the book knows.
    for (name, text) in &given.texts {
        facts.set(name, Fact::text(text));
    }
    let mut text = |name: &str, value: String| facts.set(name, Fact::Text(value));
    text("customer", customer.to_owned());
    text("incident", incident_name(incident.id));
    text("severity_word", incident.severity.word().to_owned());
    text("certainty", incident.certainty().to_owned());
    text("what", incident.what.clone());
    text("escalation", escalation.to_owned());
    text("duration", duration(incident.first, incident.resolved.unwrap_or(now)));
    if let Some(old) = incident.severity_told.map(Severity::number) {
        facts.set("old_severity", Fact::Number(i64::from(old)));
    }
    for (name, value) in [("findings", &incident.findings), ("recommendations", &incident.recommendations)] {
        if let (Some(value), false) = (value, given.texts.contains_key(name)) {
            facts.set(name, Fact::text(value));
        }
    }
    facts.set("severity", Fact::Number(i64::from(incident.severity.number())));
    facts.set("n_violations", Fact::Number(i64::try_from(incident.violations).unwrap_or(i64::MAX)));
    for (name, at) in [("as_of", Some(now)), ("since", Some(incident.first)), ("next_update", given.next_update)] {
        if let Some(at) = at {
            facts.set(name, time(at, zone, now));
        }
    }
    facts
}

/// `Mon 2 Mar 10:04 CST`, and spoken `10:04 AM`, with the day where it is not today.
fn time(at: Timestamp, zone: &TimeZone, now: Timestamp) -> Fact {
    let local = |at: Timestamp| {
        let clamped = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        clamped.to_zoned(zone.clone())
    };
    let (at, today) = (local(at), local(now).date());
    let spoken = if at.date() == today { "%-I:%M %p" } else { "%A, %-I:%M %p" };
    Fact::time(at.strftime("%a %-d %b %H:%M %Z").to_string(), at.strftime(spoken).to_string())
}

/// `Mon 2 Mar 10:04 CST`.
pub(super) fn local(at: Timestamp, zone: &TimeZone) -> String {
    let clamped = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    clamped.to_zoned(zone.clone()).strftime("%a %-d %b %H:%M %Z").to_string()
}

/// `2 h 5 min`.
fn duration(from: Timestamp, to: Timestamp) -> String {
    let minutes = to.0.saturating_sub(from.0).max(0) / 60_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
