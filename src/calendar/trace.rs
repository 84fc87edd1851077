//! Why a calendar reckons as it does: the steps that a person can follow, on the clock of its zone.

use jiff::Zoned;

use super::{Calendar, DAY_MS, MINUTE_MS, weekday};
use crate::clock::Timestamp;
use crate::limits::CALENDAR_STEPS_MAX;

/// One stretch of time and what it is: `from <= t < to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub from: Timestamp,
    pub to: Timestamp,
    pub reason: Reason,
}

/// Why it is open or closed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Open,
    /// Open by an entry for this date, and its name.
    OpenDate(Option<String>),
    /// The day has hours; these are not among them.
    OutsideHours,
    /// The weekday has no hours.
    NoHours,
    /// Closed on this date, and its name.
    ClosedDate(Option<String>),
}

impl Reason {
    pub fn is_open(&self) -> bool {
        matches!(self, Reason::Open | Reason::OpenDate(_))
    }

    /// For machines that read the explanation.
    pub fn as_str(&self) -> &'static str {
        match self {
            Reason::Open => "open",
            Reason::OpenDate(_) => "open_date",
            Reason::OutsideHours => "outside_hours",
            Reason::NoHours => "no_hours",
            Reason::ClosedDate(_) => "closed_date",
        }
    }

    pub fn name(&self) -> Option<&str> {
        match self {
            Reason::OpenDate(name) | Reason::ClosedDate(name) => name.as_deref(),
            _ => None,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self, self.name()) {
            (Reason::Open, _) => f.write_str("open"),
            (Reason::OpenDate(_), None) => f.write_str("open on this date"),
            (Reason::OpenDate(_), Some(name)) => write!(f, "open: {name}"),
            (Reason::OutsideHours, _) => f.write_str("closed: outside the hours of the day"),
            (Reason::NoHours, _) => f.write_str("closed: a weekday without hours"),
            (Reason::ClosedDate(_), None) => f.write_str("closed on this date"),
            (Reason::ClosedDate(_), Some(name)) => write!(f, "closed: {name}"),
        }
    }
}

impl Calendar {
    /// What lies between the two instants, without a gap. The steps of a very long time are cut off at a bound; then
    /// the last one ends before `to`.
    pub fn steps(&self, from: Timestamp, to: Timestamp) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for stretch in self.walk(from, to) {
            let reason = self.reason(stretch.from, stretch.is_open);
            let n = steps.len();
            match steps.last_mut() {
                Some(last) if last.reason == reason => last.to = stretch.to,
                _ if n == CALENDAR_STEPS_MAX => break,
                _ => steps.push(Step { from: stretch.from, to: stretch.to, reason }),
            }
        }
        steps
    }

    fn reason(&self, at: Timestamp, is_open: bool) -> Reason {
        let (today, minute) = self.local.day_and_minute(at);
        let owned = |name: &Option<Box<str>>| name.as_deref().map(str::to_owned);
        if is_open {
            // Hours that came over midnight are explained by the day they started on.
            let day = if self.day_has(today, minute) { today } else { today - 1 };
            return self.open.on(day).next().map_or(Reason::Open, |entry| Reason::OpenDate(owned(&entry.what.name)));
        }
        if self.open.on(today).next().is_some() {
            return Reason::OutsideHours;
        }
        let mut closed = self.closed.on(today).peekable();
        if closed.peek().is_some() {
            return Reason::ClosedDate(closed.find_map(|entry| owned(&entry.what)));
        }
        match self.week.get(weekday(today)).is_some_and(|hours| !hours.is_empty()) {
            true => Reason::OutsideHours,
            false => Reason::NoHours,
        }
    }

    /// The instant on the calendar's clock: `Thu 2026-07-02 16:30 CDT`, with seconds where there are any.
    pub fn local_text(&self, at: Timestamp) -> String {
        match self.zoned(at) {
            Some(local) => format!("{} {}", local.strftime("%a %Y-%m-%d"), clock_text(&local)),
            None => at.to_string(),
        }
    }

    /// A step as a line: from, to, how long that is, and why.
    pub fn step_text(&self, step: &Step) -> String {
        let from = self.local_text(step.from);
        let to = match (self.zoned(step.from), self.zoned(step.to)) {
            (Some(from), Some(to)) if from.date() == to.date() => clock_text(&to),
            _ => self.local_text(step.to),
        };
        let changed = self.local.offset_ms(step.to) - self.local.offset_ms(step.from);
        let note = match changed {
            0 => String::new(),
            _ if changed > 0 => format!(" (the clock goes forward {})", duration_text(changed)),
            _ => format!(" (the clock goes back {})", duration_text(-changed)),
        };
        let lasts = duration_text(step.to.0 - step.from.0);
        format!("{from} - {to:<24}  {lasts:>12}  {}{note}", step.reason)
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone().clone()))
    }
}

fn clock_text(local: &Zoned) -> String {
    let form = match (local.second(), local.millisecond()) {
        (0, 0) => "%H:%M %Z",
        (_, 0) => "%H:%M:%S %Z",
        _ => "%H:%M:%S%.3f %Z",
    };
    local.strftime(form).to_string()
}

/// `1 h 30 min`, `2 d 15 h`: of time that passes, so a day is 24 hours.
pub fn duration_text(ms: i64) -> String {
    let units = [(DAY_MS, "d"), (60 * MINUTE_MS, "h"), (MINUTE_MS, "min"), (1000, "s"), (1, "ms")];
    let mut left = ms.max(0);
    let mut parts = Vec::new();
    for (unit, name) in units {
        if left >= unit {
            parts.push(format!("{} {name}", left / unit));
            left %= unit;
        }
    }
    if parts.is_empty() { "0 min".to_owned() } else { parts.join(" ") }
}
