//! Findings and recommendations of an incident, drafted from the data.
//!
//! Reads the archive and the journal behind it for the calls that the rules of an incident counted, and says in plain
//! language what happened, what it may have cost and what to change, each change as it would be typed. A person reads,
//! betters and sends it: a draft changes nothing, and it says what it could not see. Work and memory are bounded, and a
//! bound that was reached is told. It blocks, so it wants a thread of its own.

mod advice;
mod chart;
mod drafter;
mod edits;
mod evidence;
mod ranking;
mod reading;
mod ruleset;
mod series;
mod tally;
mod text;
mod watch;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::event::Names;
use crate::incident::{Alert, Incident};
use crate::policy::{Policy, RuleSource};
use crate::storage::Disk;
use crate::store::{Store, StoreError};

pub use advice::Recommendation;
pub use drafter::Drafter;
pub use ranking::{Ranked, Ranking};
pub use series::{Peaks, Point, Series};
pub use tally::{Call, Risk};

/// What a draft is made from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub disk: &'a Disk,
    /// The folder of the archive, and that of the journal.
    pub archive: &'a Path,
    pub journal: &'a Path,
    pub store: &'a Store,
    pub policy: &'a Policy,
    /// Those of the service: the journal's events name customers by them.
    pub names: &'a Arc<Names>,
    /// The files that the policy came from: edits say where in them.
    pub rules: &'a RuleSource,
    pub now: Timestamp,
}

/// Why there is no draft. What is missing of the calls is no reason: the draft says so.
#[derive(Debug, thiserror::Error)]
pub enum FindingsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("findings: incident {0} has no alerts: there is nothing to look for")]
    NoAlerts(String),
}

/// What was found, as values; its texts and its picture are made from them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Draft {
    pub incident: String,
    pub customer: String,
    /// Of the times in its texts.
    pub time_zone: String,
    pub made: Timestamp,
    /// What of event time was looked at for the incident's calls.
    pub from: Timestamp,
    pub to: Timestamp,
    /// The rules of its alerts, that of most violations first.
    pub rules: Vec<RuleFacts>,
    /// Calls are counted once, whatever was told of each; of registrations and other requests, each is one.
    pub calls: u64,
    pub answered: u64,
    pub blocked: u64,
    pub first_call: Option<Timestamp>,
    pub last_call: Option<Timestamp>,
    pub first_violation: Timestamp,
    /// When a rule first turned one of the calls away.
    pub first_block: Option<Timestamp>,
    /// When the customer was told, by notices that were released.
    pub notices: Vec<Timestamp>,
    /// Values of the keys of its alerts.
    pub keys: Ranking,
    pub callers: Ranking,
    pub caller_prefixes: Ranking,
    pub callees: Ranking,
    pub callee_prefixes: Ranking,
    pub accounts: Ranking,
    pub trunks: Ranking,
    pub addresses: Ranking,
    /// Rules that turned calls away, and how many.
    pub blocked_by: Ranking,
    pub risk: Risk,
    /// Ten of them, spread over the whole.
    pub samples: Vec<Call>,
    pub series: Series,
    /// What the same rule saw of other keys, and of these before it began.
    pub normal: Option<Peaks>,
    pub recommended: Vec<Recommendation>,
    /// What could not be seen, and which bounds were reached: sentences.
    pub notes: Vec<String>,
}

/// A rule that raised alerts of the incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleFacts {
    pub id: String,
    pub description: String,
    /// What it measures; empty where the rule is not there any more.
    pub measure: String,
    pub window: String,
    /// As written: `>= 30`.
    pub warning: Option<String>,
    pub critical: Option<String>,
    /// It tells nobody and blocks nothing.
    pub is_monitor: bool,
    pub alerts: u64,
    pub violations: u64,
}

/// Drafts the findings of an incident from what there is now. The alerts are those of the incident.
pub fn draft(sources: &Sources<'_>, incident: &Incident, alerts: &[Alert]) -> Result<Draft, FindingsError> {
    let mut evidence = evidence::gather(sources, incident, alerts)?;
    let recommended = advice::recommend(sources, incident, alerts, &mut evidence);
    Ok(evidence.into_draft(recommended))
}

/// A text from outside as one line that does no harm wherever it is shown: no controls, nothing that hides or reorders,
/// and no longer than a name is.
fn plain(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let is_hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    let shown = text.chars().filter(|c| !is_hidden(*c));
    // A text that opens a tag for whoever forgets to escape it does not.
    let shown = shown.map(|c| match c {
        '<' => '(',
        '>' => ')',
        c if c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') => ' ',
        c => c,
    });
    let line: String = shown.take(CHARS_MAX).collect();
    line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
