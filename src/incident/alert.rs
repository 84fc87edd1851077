//! One key of one rule that crossed its threshold, from the first time to the last.

use serde::{Deserialize, Serialize};

use super::Pairs;
use crate::clock::Timestamp;

/// How often an alert may come back within [`FLAP_WINDOW_MS`] before it counts as flapping.
const FLAPS_MAX: usize = 5;
const FLAP_WINDOW_MS: i64 = 3_600_000;

/// `open -> quiet -> closed`, and back to `open` inside the reopen window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The threshold is crossed.
    Open,
    /// It no longer is; should it be crossed again soon, it is the same alert.
    Quiet,
    Closed,
}

impl AlertState {
    pub const ALL: [AlertState; 3] = [AlertState::Open, AlertState::Quiet, AlertState::Closed];

    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Open => "open",
            AlertState::Quiet => "quiet",
            AlertState::Closed => "closed",
        }
    }

    /// The table of legal transitions.
    pub fn may_become(self, next: AlertState) -> bool {
        use AlertState::{Closed, Open, Quiet};
        matches!((self, next), (Open, Quiet) | (Quiet, Closed) | (Quiet, Open) | (Closed, Open))
    }
}

/// See the module. What is said of calls is in event time; `opened` and `changed` are the desk's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub id: i64,
    pub customer: String,
    pub rule: String,
    pub key: Pairs,
    /// It stands for all keys that found no room.
    pub is_others: bool,
    /// In `monitor` mode: recorded, and nobody is told.
    pub is_silent: bool,
    /// All that was found so far was muted: nobody was told.
    #[serde(default)]
    pub is_muted: bool,
    pub state: AlertState,
    /// It reached the critical level.
    pub is_critical: bool,
    /// Violations that folded in.
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub opened: Timestamp,
    /// When its state last changed.
    pub changed: Timestamp,
    /// When its last violation was taken.
    pub seen: Timestamp,
    pub incident: Option<i64>,
    /// When it came back, the last hour's; more than a handful is flapping.
    pub flaps: Vec<Timestamp>,
    pub n_flaps: u64,
    pub is_flapping: bool,
}

impl Alert {
    /// Notes that it came back; true where that makes it flapping, which is said once.
    pub(super) fn flap(&mut self, now: Timestamp) -> bool {
        self.n_flaps += 1;
        self.flaps.retain(|at| now.0 - at.0 < FLAP_WINDOW_MS);
        self.flaps.push(now);
        let was = self.is_flapping;
        self.is_flapping |= self.flaps.len() >= FLAPS_MAX;
        // Kept short whatever comes.
        let extra = self.flaps.len().saturating_sub(FLAPS_MAX);
        self.flaps.drain(..extra);
        self.is_flapping && !was
    }

    /// True where it stops flapping now: nothing came back for as long as made it flapping.
    pub(super) fn settle(&mut self, now: Timestamp) -> bool {
        let rests = self.flaps.last().is_none_or(|last| now.0 - last.0 >= FLAP_WINDOW_MS);
        let ends = self.is_flapping && rests;
        self.is_flapping &= !rests;
        ends
    }

    /// `caller=+46..., trunk=x`.
    pub fn key_text(&self) -> String {
        pairs_text(&self.key)
    }
}

pub(super) fn pairs_text(pairs: &Pairs) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}
