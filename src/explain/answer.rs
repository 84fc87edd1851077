//! What is told of a call, as values: programs read it as it is, people as a [`super::text::page`] made from it.
//!
//! Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a call was let through or not, and what it counted towards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// Empty where the event has none.
    pub call_id: String,
    pub customer: String,
    /// Of the rules it is explained by.
    pub ruleset: String,
    /// Of the times that people are shown.
    pub time_zone: String,
    /// What is known of the call, in the order in which it came.
    pub events: Vec<EventAnswer>,
    /// Earlier events were gone through, so that counts are those of the moment; else it is explained by itself.
    pub has_history: bool,
    /// From where on; counts and episodes before it are not known.
    pub from: Option<String>,
    pub events_read: u64,
    /// What could not be seen: sentences.
    pub notes: Vec<String>,
}

/// One event, rule by rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventAnswer {
    pub time: String,
    /// `attempt`, `end`, `cdr`, ...
    pub kind: String,
    /// Every field that the event says, as rules name it and as people write it.
    pub fields: BTreeMap<String, String>,
    /// `allow`, `block` or `divert`, by the rules of the answer.
    pub action: String,
    /// Id of the rule that decided; `default` where none did.
    pub decided_by: String,
    /// In words: `default_action`, `builtin:emergency: ...`, `fw-harassers`.
    pub decided: String,
    /// What it was told when it came, where that is another verdict than the rules of now give.
    pub told_then: Option<String>,
    /// Firewall rules in the order in which they were asked, up to the one that decided.
    pub firewall: Vec<RuleAnswer>,
    /// Firewall rules that run on such events and were not asked any more.
    pub not_asked: u64,
    /// Thresholds that run on such events; those that counted it first.
    pub thresholds: Vec<RuleAnswer>,
    /// Rules that run on other events than this.
    pub other_rules: u64,
    /// Rules that run on such events, of other customers.
    pub other_customers: u64,
}

/// What one rule made of an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuleAnswer {
    pub rule: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// Of a firewall rule: `allow`, `block`, `divert`, `flag`; of a threshold what it measures.
    pub does: String,
    /// A firewall rule matched; a threshold counted it.
    pub met: bool,
    /// The one shortest reason where it was not.
    pub why_not: Option<String>,
    /// What decides where it was met, test by test, in words.
    pub because: Vec<String>,
    /// Every test of its condition, outermost first.
    pub tests: Vec<TestAnswer>,
    /// Where its words stand: `ips/wangiri.toml:12`.
    pub place: String,
    /// The override that made it what it is for this customer, and why there is one.
    pub overridden: Option<String>,
    /// Why nobody is told of what the event raises.
    pub muted: Option<String>,
    /// Of a threshold that counted it.
    pub count: Option<CountAnswer>,
}

/// One test of a condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TestAnswer {
    /// How deep it stands: below the test before it of a lower depth.
    pub depth: u64,
    /// As written.
    pub test: String,
    pub holds: bool,
    /// What it must be for the rule to be met: false below a `not`.
    pub wanted: bool,
    /// What the event says to it; empty where the tests below it say it.
    pub because: String,
}

/// Where a threshold stood for the key of an event once that was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CountAnswer {
    /// `per` entry and value.
    pub key: BTreeMap<String, String>,
    /// `count`, `distinct`, ...
    pub measure: String,
    pub window: String,
    /// As people write it: `7`, `83.3%`, `5h12m`; `None` where earlier events were not gone through.
    pub value: Option<String>,
    /// Its levels as written.
    pub warning: Option<String>,
    pub critical: Option<String>,
    /// How long a level must hold before it is raised.
    pub held_for: Option<String>,
    /// `warning` or `critical`, where an episode was open after the event.
    pub level: Option<String>,
    /// When that began.
    pub since: Option<String>,
    /// The level that this very event raised.
    pub raised: Option<String>,
    /// What must hold beside the level, and how that stands.
    pub also: Vec<String>,
    /// Why no level is tested: too few events for `min_count`.
    pub held_back: Option<String>,
    /// The calls in the window, the newest first.
    pub calls: Vec<CallAnswer>,
    /// How many more there are.
    pub more_calls: u64,
}

/// A call that a threshold counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallAnswer {
    pub call_id: String,
    pub time: String,
    pub caller: String,
    pub callee: String,
    /// What it added, where that is not one: the value of a distinct field, a duration.
    pub adds: String,
}
