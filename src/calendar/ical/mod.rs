//! The closed dates that others publish as iCalendar (RFC 5545), for people to review before anything uses them.
//!
//! Reads bytes of any kind: what cannot be read is told with its line, the rest is read all the same. Repetitions are
//! followed over the years that are asked for and no further. Nothing here becomes part of a calendar by itself.

mod event;
mod lines;
mod repeat;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::tz::TimeZone;

use crate::clock::{Timestamp, civil_from_days};
use crate::limits::{CALENDAR_ENTRIES_MAX, ICAL_BYTES_MAX, ICAL_MISTAKES_MAX};
use event::{Event, Span};
use repeat::Budget;

/// What to look for: dates `from..=to`, as day numbers, on the clock of `zone`.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub zone: TimeZone,
    pub from: i64,
    pub to: i64,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Whole dates, by their first day.
    pub closed: Vec<ClosedDates>,
    /// Events that take a part of a day, by their start: whether that closes anything is for a person to say.
    pub timed: Vec<Timed>,
    /// By line, bounded; `n_mistakes` counts them all.
    pub mistakes: Vec<Mistake>,
    pub n_mistakes: usize,
    pub n_events: usize,
}

/// Day numbers, both included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClosedDates {
    pub from: i64,
    pub to: i64,
    /// Empty where the event has none.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timed {
    pub from: Timestamp,
    pub to: Timestamp,
    pub name: String,
}

/// Something that could not be read as it stands, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Counted from 1, as editors do.
    pub line: usize,
    pub message: String,
}

impl ClosedDates {
    /// As an entry of `closed_dates`.
    pub fn entry(&self) -> String {
        let date = |day| {
            let (year, month, day) = civil_from_days(day);
            format!("{year:04}-{month:02}-{day:02}")
        };
        let dates =
            if self.from == self.to { date(self.from) } else { format!("{}..{}", date(self.from), date(self.to)) };
        format!("{dates} {}", self.name).trim_end().to_owned()
    }
}

/// Mistakes as they are found; more than the bound are only counted.
#[derive(Debug, Default)]
struct Mistakes {
    kept: Vec<Mistake>,
    n: usize,
}

impl Mistakes {
    fn tell(&mut self, line: usize, message: impl Into<String>) {
        self.n += 1;
        if self.kept.len() < ICAL_MISTAKES_MAX {
            self.kept.push(Mistake { line, message: message.into() });
        }
    }
}

/// A text on one line and of bounded length, as names of dates are.
pub fn plain_name(text: &str) -> String {
    event::plain(text)
}

/// Reads a file whole.
pub fn read(bytes: &[u8], wanted: &Wanted) -> Import {
    let mut mistakes = Mistakes::default();
    if bytes.len() > ICAL_BYTES_MAX {
        mistakes
            .tell(1, format!("the file has {} bytes, the limit is {ICAL_BYTES_MAX}; nothing was read", bytes.len()));
        return Import { n_mistakes: mistakes.n, mistakes: mistakes.kept, ..Import::default() };
    }
    let lines = lines::unfold(bytes, &mut mistakes);
    let events = event::events(&lines, &mut mistakes);
    let mut found = Import { n_events: events.len(), ..Import::default() };
    let moved = moved(&events);
    let mut budget = Budget::default();
    for event in events.iter().filter(|event| !event.is_cancelled) {
        let moved = event.uid.as_deref().filter(|_| event.replaces.is_none()).and_then(|uid| moved.get(uid));
        for span in event.spans(wanted, moved, &mut budget, &mut mistakes) {
            match span {
                Span::Days(from, to) if to >= wanted.from && from <= wanted.to => {
                    found.closed.push(ClosedDates { from, to, name: event.name.clone() });
                }
                Span::Time(from, to) => found.timed.push(Timed { from, to, name: event.name.clone() }),
                Span::Days(..) => {}
            }
        }
    }
    found.closed = merged(found.closed);
    if found.closed.len() > CALENDAR_ENTRIES_MAX {
        mistakes.tell(1, format!("{} closed dates; a calendar holds {CALENDAR_ENTRIES_MAX}", found.closed.len()));
        found.closed.truncate(CALENDAR_ENTRIES_MAX);
    }
    found.timed.sort();
    found.timed.dedup();
    mistakes.kept.sort();
    Import { mistakes: mistakes.kept, n_mistakes: mistakes.n, ..found }
}

/// By identity of an event: the dates of its repetition that another event stands in for.
fn moved<'a>(events: &'a [Event<'_>]) -> HashMap<&'a str, BTreeSet<i64>> {
    let mut all: HashMap<&'a str, BTreeSet<i64>> = HashMap::new();
    for event in events {
        if let (Some(uid), Some(day)) = (event.uid.as_deref(), event.replaces) {
            all.entry(uid).or_default().insert(day);
        }
    }
    all
}

/// The same dates once, with all their names.
fn merged(closed: Vec<ClosedDates>) -> Vec<ClosedDates> {
    let mut names: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
    for dates in closed {
        let known = names.entry((dates.from, dates.to)).or_default();
        // A handful of holidays share a date; a file that puts thousands on one is cut to what a line can hold.
        if !dates.name.is_empty() && known.len() < 8 && !known.contains(&dates.name) {
            known.push(dates.name);
        }
    }
    let name = |names: Vec<String>| event::plain(&names.join(" / "));
    names.into_iter().map(|((from, to), names)| ClosedDates { from, to, name: name(names) }).collect()
}

/// What must hold of any bytes: reading them ends, within bounds, and what is printed can be read back as dates.
#[cfg(any(test, feature = "fuzzing"))]
pub fn check_any(bytes: &[u8]) {
    let wanted = Wanted { zone: TimeZone::UTC, from: 20_000, to: 20_000 + 5 * 366 };
    let import = read(bytes, &wanted);
    assert!(import.mistakes.len() <= import.n_mistakes.min(ICAL_MISTAKES_MAX));
    let mut calendar = super::Calendar::new("read back", TimeZone::UTC);
    for dates in &import.closed {
        calendar.add_closed(&dates.entry()).expect("an entry is one that a calendar takes");
    }
    let read_back: Vec<(i64, i64)> = calendar.closed_dates().map(|(from, to, _)| (from, to)).collect();
    assert_eq!(read_back, import.closed.iter().map(|d| (d.from, d.to)).collect::<Vec<_>>());
    assert!(import.timed.iter().all(|t| t.from <= t.to));
}

#[cfg(test)]
mod tests;
