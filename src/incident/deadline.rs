//! The clock of one incident: until when its customer must have heard, and what became of that.
//!
//! Every row of it bears the time it is about, not the time at which somebody looked: a breach stands at its deadline, also
//! where the service was down then.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::objective::{Deadline, Objective, Warning};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyClock {
    pub incident: i64,
    pub customer: String,
    /// The first critical violation.
    pub start: Timestamp,
    /// What we aim at.
    pub target: Timestamp,
    /// What we owe.
    pub commit: Timestamp,
    pub marks: Vec<Mark>,
    /// How many of the marks were said.
    pub said: usize,
    pub state: ClockState,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    Running,
    /// Past the commitment, and nobody told yet.
    Breached,
    /// Told in time.
    Met,
    /// Told after the commitment.
    Late,
    /// It was a false alarm.
    Stopped,
}

impl ClockState {
    pub const ALL: [ClockState; 5] =
        [ClockState::Running, ClockState::Breached, ClockState::Met, ClockState::Late, ClockState::Stopped];

    pub fn as_str(self) -> &'static str {
        match self {
            ClockState::Running => "running",
            ClockState::Breached => "breached",
            ClockState::Met => "met",
            ClockState::Late => "late",
            ClockState::Stopped => "stopped",
        }
    }

    pub fn is_open(self) -> bool {
        matches!(self, ClockState::Running | ClockState::Breached)
    }

    /// The table of legal transitions.
    pub fn may_become(self, next: ClockState) -> bool {
        use ClockState::{Breached, Late, Met, Running, Stopped};
        matches!((self, next), (Running, Breached | Met | Stopped) | (Breached, Late | Stopped))
    }
}

/// So much of the way to a deadline is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub at: Timestamp,
    pub is_commit: bool,
    pub percent: u8,
}

impl Mark {
    pub(super) fn is_breach(&self) -> bool {
        self.is_commit && self.percent == 100
    }

    /// `target 80 %`.
    pub(super) fn text(&self) -> String {
        let deadline = if self.is_commit { Deadline::Commit } else { Deadline::Target };
        format!("{} {} %", deadline.as_str(), self.percent)
    }
}

impl NotifyClock {
    pub(super) fn new(incident: i64, customer: String, objective: &Objective, warnings: Vec<Warning>) -> NotifyClock {
        let mark = |w: Warning| Mark { at: w.at, is_commit: w.deadline == Deadline::Commit, percent: w.percent };
        NotifyClock {
            incident,
            customer,
            start: objective.start,
            target: objective.target,
            commit: objective.commit,
            marks: warnings.into_iter().map(mark).collect(),
            said: 0,
            state: ClockState::Running,
            ended: None,
        }
    }

    /// What it has to say by `now`, each once. What is done at the very instant of a deadline is in time.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Mark> {
        if !self.state.is_open() {
            return Vec::new();
        }
        let is_due = |mark: &&Mark| if mark.percent == 100 { mark.at < now } else { mark.at <= now };
        let due: Vec<Mark> = self.marks.iter().skip(self.said).take_while(is_due).copied().collect();
        self.said += due.len();
        due
    }

    /// When it has something to say next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let next = self.marks.get(self.said).filter(|_| self.state.is_open());
        next.map(|mark| if mark.percent == 100 { mark.at.plus_ms(1) } else { mark.at })
    }

    /// Milliseconds until the commitment; below zero once it is past.
    pub fn left_ms(&self, now: Timestamp) -> i64 {
        self.commit.0.saturating_sub(now.0)
    }
}
