//! The clocks of a promise: by when a request is acknowledged and done, and a critical violation told.
//!
//! Each has a *target*, so much business time after the start, and a *commit*, which is owed. Both are instants that
//! follow from the calendar and the start alone, so they are the same whenever they are reckoned, and a breach lies at
//! the deadline itself, not where somebody noticed it. Reads no clock.

use crate::calendar::{Calendar, Step, duration_text};
use crate::clock::Timestamp;

const MINUTE_MS: i64 = 60_000;

/// Shares of the way to a deadline at which there is a warning. The last one is the deadline.
pub const WARNINGS_PERCENT: [u8; 3] = [50, 80, 100];

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// A request is acknowledged.
    Acknowledge,
    /// A request is completed.
    Complete,
    /// The customer is told of a critical violation.
    Notify,
}

impl Promise {
    pub const ALL: [Promise; 3] = [Promise::Acknowledge, Promise::Complete, Promise::Notify];

    pub fn as_str(self) -> &'static str {
        match self {
            Promise::Acknowledge => "acknowledge",
            Promise::Complete => "complete",
            Promise::Notify => "notify",
        }
    }

    pub fn parse(text: &str) -> Option<Promise> {
        Promise::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// How much business time each target allows, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub acknowledge_ms: i64,
    pub complete_ms: i64,
    pub notify_ms: i64,
}

impl Default for Allowed {
    fn default() -> Allowed {
        Allowed { acknowledge_ms: 60 * MINUTE_MS, complete_ms: 4 * 60 * MINUTE_MS, notify_ms: 60 * MINUTE_MS }
    }
}

impl Allowed {
    pub fn ms(self, promise: Promise) -> i64 {
        match promise {
            Promise::Acknowledge => self.acknowledge_ms,
            Promise::Complete => self.complete_ms,
            Promise::Notify => self.notify_ms,
        }
    }
}

/// The two deadlines of one promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective {
    pub promise: Promise,
    /// When the request came in, or the violation occurred.
    pub start: Timestamp,
    pub target: Timestamp,
    pub commit: Timestamp,
    pub basis: Basis,
}

/// What the commit follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It began in service hours: the commit is the target.
    InHours,
    /// It began outside: the end of the first service day that opens after it.
    FirstServiceDay,
    /// The end of the next business day after the day it began on.
    NextServiceDay,
}

impl Basis {
    pub fn as_str(self) -> &'static str {
        match self {
            Basis::InHours => "in_hours",
            Basis::FirstServiceDay => "first_service_day",
            Basis::NextServiceDay => "next_service_day",
        }
    }
}

impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Basis::InHours => "began in service hours: the same as the target",
            Basis::FirstServiceDay => {
                "began outside service hours: the end of the first service day that opens after it"
            }
            Basis::NextServiceDay => "the end of the next business day after the day it began on",
        })
    }
}

/// One of the two deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deadline {
    Target,
    Commit,
}

impl Deadline {
    pub const ALL: [Deadline; 2] = [Deadline::Target, Deadline::Commit];

    pub fn as_str(self) -> &'static str {
        match self {
            Deadline::Target => "target",
            Deadline::Commit => "commit",
        }
    }
}

/// When so much of the way to a deadline is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    pub deadline: Deadline,
    pub percent: u8,
    pub at: Timestamp,
}

impl Objective {
    /// The deadlines of what began at `start`. `None` where the calendar does not open again within years: nothing can
    /// be promised then, which the caller tells instead of waiting for ever.
    pub fn new(promise: Promise, calendar: &Calendar, start: Timestamp, allowed: Allowed) -> Option<Objective> {
        let target = calendar.add(start, allowed.ms(promise))?;
        let (basis, commit) = match promise {
            Promise::Complete => (Basis::NextServiceDay, calendar.end_of_next_service_day(start)?),
            Promise::Acknowledge | Promise::Notify if calendar.is_open(start) => (Basis::InHours, target),
            Promise::Acknowledge | Promise::Notify => {
                (Basis::FirstServiceDay, calendar.end_of_first_service_day(start)?)
            }
        };
        Some(Objective { promise, start, target, commit, basis })
    }

    pub fn at(&self, deadline: Deadline) -> Timestamp {
        match deadline {
            Deadline::Target => self.target,
            Deadline::Commit => self.commit,
        }
    }

    /// Every warning, by time; a target and a commit at the same instant warn once, as the commit. The way is measured
    /// in business time: half of the way from Friday 16:30 to Monday 08:30 is Friday 17:00, not Sunday at noon, when
    /// nobody is there to hurry.
    pub fn warnings(&self, calendar: &Calendar) -> Vec<Warning> {
        let mut all = Vec::new();
        for deadline in Deadline::ALL.into_iter().filter(|d| *d == Deadline::Commit || self.target != self.commit) {
            let end = self.at(deadline);
            let way_ms = calendar.between(self.start, end);
            for percent in WARNINGS_PERCENT {
                let part_ms = i64::try_from(i128::from(way_ms) * i128::from(percent) / 100).unwrap_or(way_ms);
                let at =
                    if percent == 100 { end } else { calendar.add(self.start, part_ms).map_or(end, |t| t.min(end)) };
                all.push(Warning { deadline, percent, at });
            }
        }
        all.sort_by_key(|w| (w.at, w.deadline, w.percent));
        all
    }

    /// What the target counted, from the start to it.
    pub fn steps(&self, calendar: &Calendar) -> Vec<Step> {
        calendar.steps(self.start, self.target)
    }

    /// How both deadlines came about, for people.
    pub fn explain(&self, calendar: &Calendar) -> String {
        let zone = calendar.zone().iana_name().unwrap_or("its own zone");
        let mut lines = vec![
            format!("{}, from {} ({}, {zone})", self.promise.as_str(), calendar.local_text(self.start), calendar.name),
            String::new(),
            format!(
                "target  {:<28} {} of business time",
                calendar.local_text(self.target),
                duration_text(calendar.between(self.start, self.target))
            ),
            format!("commit  {:<28} {}", calendar.local_text(self.commit), self.basis),
            String::new(),
            "How the target was counted:".to_owned(),
        ];
        let mut counted_ms = 0;
        for step in self.steps(calendar) {
            let mut line = format!("  {}", calendar.step_text(&step));
            if step.reason.is_open() {
                counted_ms += step.to.0 - step.from.0;
                line += &format!("; {} counted", duration_text(counted_ms));
            }
            lines.push(line);
        }
        if self.commit > self.target {
            lines.extend([String::new(), "From there to the commit:".to_owned()]);
            let on = calendar.steps(self.target, self.commit);
            lines.extend(on.iter().map(|step| format!("  {}", calendar.step_text(step))));
        }
        lines.extend([String::new(), "Warnings, by the share of business time gone:".to_owned()]);
        for warning in self.warnings(calendar) {
            let what = format!("{} % of the way to the {}", warning.percent, warning.deadline.as_str());
            lines.push(format!("  {:<28} {what}", calendar.local_text(warning.at)));
        }
        lines.join("\n") + "\n"
    }
}
