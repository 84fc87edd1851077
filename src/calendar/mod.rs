//! Business hours: weekly intervals, closed and open dates, in a zone of their own.
//!
//! A calendar answers whether an instant is inside its hours, and reckons with business time: all on the local clock
//! of its zone, so that the hour that autumn repeats counts twice and the one that spring skips not at all. It reads
//! no clock and no file; what ships is compiled in.
//!
//! - [`Calendar`] holds the hours; `walk` reckons with them, `trace` says why, step by step.
//! - [`ical`] reads the closed dates that others publish, for people to review.

mod dated;
pub mod ical;
mod instant;
mod local_clock;
mod shipped;
mod text;
mod trace;
mod walk;

use jiff::tz::TimeZone;

use crate::clock::{Timestamp, civil_from_days};
use crate::limits::CALENDAR_ENTRIES_MAX;
use dated::Dated;

pub use instant::instant;
pub use local_clock::LocalClock;
pub use shipped::SHIPPED;
pub use text::parse_date;
pub use trace::{Reason, Step, duration_text};
pub use walk::ServiceDay;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const DAY_MINUTES: u16 = 24 * 60;

/// `Mon`..`Sun`, in the order of the week.
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A named set of hours.
#[derive(Debug)]
pub struct Calendar {
    pub name: String,
    local: LocalClock,
    /// By weekday, Monday first.
    week: [Vec<Hours>; 7],
    closed: Dated<Option<Box<str>>>,
    /// What replaces the week on these days, closed or not.
    open: Dated<OpenDate>,
}

#[derive(Debug)]
struct OpenDate {
    hours: Hours,
    name: Option<Box<str>>,
}

/// Minutes after midnight of the start day, the end not included; past 1440 it is the next morning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    const WHOLE_DAY: Hours = Hours { from: 0, to: DAY_MINUTES };

    fn has(self, minute: u16) -> bool {
        self.from <= minute && minute < self.to
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let to = if self.to > DAY_MINUTES { self.to - DAY_MINUTES } else { self.to };
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, to / 60, to % 60)
    }
}

impl Calendar {
    /// Never open, until hours are added.
    pub fn new(name: impl Into<String>, zone: TimeZone) -> Calendar {
        Calendar {
            name: name.into(),
            local: LocalClock::new(zone),
            week: Default::default(),
            closed: Dated::default(),
            open: Dated::default(),
        }
    }

    /// `"Mon-Fri 07:00-18:00"`, `"Mon,Wed 08:00-12:00, 13:00-17:00"`, `"Sat"` for the whole day. The end may lie
    /// before the start: then it is the next day's.
    pub fn add_open(&mut self, text: &str) -> Result<(), String> {
        let (days, hours) = text::split_word(text);
        let days = text::parse_days(days)?;
        let hours = text::parse_hours(hours)?;
        for (day, _) in days.iter().enumerate().filter(|(_, on)| **on) {
            let Some(list) = self.week.get_mut(day) else { continue };
            if list.len() + hours.len() > CALENDAR_ENTRIES_MAX {
                return Err(format!("a calendar holds at most {CALENDAR_ENTRIES_MAX} intervals a day"));
            }
            list.extend_from_slice(&hours);
        }
        Ok(())
    }

    /// `"2026-12-24"` or `"2026-12-24..2026-12-26"`, with a name where one is given: `"2026-12-25 Christmas Day"`. No
    /// hours start on these days.
    pub fn add_closed(&mut self, text: &str) -> Result<(), String> {
        let (dates, name) = text::split_word(text);
        let (from, to) = text::parse_dates(dates)?;
        let name = text::parse_name(name)?;
        if self.closed.len() >= CALENDAR_ENTRIES_MAX {
            return Err(format!("a calendar holds at most {CALENDAR_ENTRIES_MAX} closed dates"));
        }
        self.closed.add(from, to, name);
        Ok(())
    }

    /// As [`Calendar::add_closed`], with hours where it is not the whole day, and a name after them:
    /// `"2026-12-19 09:00-15:00 Open day"`. Replaces the hours of the week, and wins over a closed date.
    pub fn add_open_dates(&mut self, text: &str) -> Result<(), String> {
        let (dates, rest) = text::split_word(text);
        let (from, to) = text::parse_dates(dates)?;
        let (hours, name) = text::split_name(rest);
        let name = text::parse_name(name)?;
        for hours in text::parse_hours(hours)? {
            if self.open.len() >= CALENDAR_ENTRIES_MAX {
                return Err(format!("a calendar holds at most {CALENDAR_ENTRIES_MAX} open dates"));
            }
            self.open.add(from, to, OpenDate { hours, name: name.clone() });
        }
        Ok(())
    }

    pub fn zone(&self) -> &TimeZone {
        self.local.zone()
    }

    /// The weekly hours as they are written: `Mon-Fri 08:00-17:00`, one entry for each run of days that are alike.
    pub fn week_text(&self) -> Vec<String> {
        let mut found: Vec<(usize, usize, &[Hours])> = Vec::new();
        for (day, list) in self.week.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
            match found.last_mut() {
                Some((_, to, hours)) if *to + 1 == day && *hours == list.as_slice() => *to = day,
                _ => found.push((day, day, list)),
            }
        }
        let name = |day: usize| WEEKDAYS.get(day).copied().unwrap_or_default();
        let text = |(from, to, list): (usize, usize, &[Hours])| {
            let days = if from == to { name(from).to_owned() } else { format!("{}-{}", name(from), name(to)) };
            let hours: Vec<String> = list.iter().map(|h| h.to_string()).collect();
            format!("{days} {}", hours.join(", "))
        };
        found.into_iter().map(text).collect()
    }

    /// Closed dates from-to, as day numbers and both included, with their names; by their first day.
    pub fn closed_dates(&self) -> impl Iterator<Item = (i64, i64, Option<&str>)> {
        self.closed.iter().map(|e| (e.from, e.to, e.what.as_deref()))
    }

    /// The last day that is named as closed. Holidays after it are not known, and the calendar would take them for
    /// working days; `None` where it names none and so does not run out.
    pub fn runs_out(&self) -> Option<i64> {
        self.closed.last_day()
    }

    /// What to say where the closed dates end within a year of `now`: data to extend before it is missed.
    pub fn runs_out_within_a_year(&self, now: Timestamp) -> Option<String> {
        let last = self.runs_out()?;
        let (today, _) = self.local.day_and_minute(now);
        let days = last - today;
        let (year, month, day) = civil_from_days(last);
        let when = if days < 0 { "it has passed" } else { "less than a year ahead" };
        (days < 365).then(|| {
            format!("calendar `{}` names no closed date after {year:04}-{month:02}-{day:02}: {when}", self.name)
        })
    }

    /// Is the instant inside the hours, on the local clock?
    pub fn is_open(&self, at: Timestamp) -> bool {
        let local_ms = self.local.local_ms(at);
        let day = local_ms.div_euclid(DAY_MS);
        let minute = (local_ms.rem_euclid(DAY_MS) / MINUTE_MS) as u16;
        self.day_has(day, minute) || self.day_has(day - 1, minute + DAY_MINUTES)
    }

    /// Do the hours that start on `day` hold the minute, counted from that day's midnight?
    fn day_has(&self, day: i64, minute: u16) -> bool {
        self.hours_on(day).any(|hours| hours.has(minute))
    }

    /// The hours that start on `day`, in no order; they may overlap.
    fn hours_on(&self, day: i64) -> impl Iterator<Item = Hours> {
        let replaced = self.open.on(day).next().is_some();
        let closed = replaced || self.closed.on(day).next().is_some();
        let dated = self.open.on(day).map(|entry| entry.what.hours);
        let weekly: &[Hours] = if closed { &[] } else { self.week.get(weekday(day)).map_or(&[], Vec::as_slice) };
        dated.chain(weekly.iter().copied())
    }
}

/// Index into [`WEEKDAYS`]. 1970-01-01 was a Thursday.
pub fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stockholm(open: &[&str], closed: &[&str], opened: &[&str]) -> Calendar {
        let mut calendar = Calendar::new("business", TimeZone::get("Europe/Stockholm").unwrap());
        open.iter().for_each(|t| calendar.add_open(t).unwrap());
        closed.iter().for_each(|t| calendar.add_closed(t).unwrap());
        opened.iter().for_each(|t| calendar.add_open_dates(t).unwrap());
        calendar
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn hours_are_local_and_the_end_is_not_included() {
        let c = stockholm(&["Mon-Fri 07:00-18:00"], &[], &[]);
        assert!(!c.is_open(at("2026-03-02T05:59:59.999Z")));
        assert!(c.is_open(at("2026-03-02T06:00:00Z")));
        assert!(c.is_open(at("2026-03-02T16:59:59.999Z")));
        assert!(!c.is_open(at("2026-03-02T17:00:00Z")));
        assert!(!c.is_open(at("2026-03-01T10:00:00Z")), "a Sunday");
        assert!(c.is_open(at("2026-07-01T05:00:00Z")), "summer time");
    }

    #[test]
    fn hours_over_midnight_belong_to_their_start_day() {
        let c = stockholm(&["Fri 22:00-06:00"], &["2026-03-13"], &[]);
        assert!(c.is_open(at("2026-03-06T21:30:00Z")), "Friday 22:30");
        assert!(c.is_open(at("2026-03-07T04:59:00Z")), "Saturday 05:59");
        assert!(!c.is_open(at("2026-03-07T05:00:00Z")), "Saturday 06:00");
        assert!(!c.is_open(at("2026-03-06T04:00:00Z")), "Friday 05:00 is Thursday's night");
        assert!(!c.is_open(at("2026-03-14T02:00:00Z")), "the night of a closed Friday");
    }

    #[test]
    fn the_hour_that_autumn_repeats_counts_twice() {
        let c = stockholm(&["Sun 02:00-03:00"], &[], &[]);
        let open_minutes =
            (0..24 * 60).filter(|m| c.is_open(Timestamp(at("2026-10-24T22:00:00Z").0 + m * MINUTE_MS))).count();
        assert_eq!(open_minutes, 120);
    }

    #[test]
    fn the_hour_that_spring_skips_counts_not_at_all() {
        let c = stockholm(&["Sun 02:00-03:00"], &[], &[]);
        let open_minutes =
            (0..24 * 60).filter(|m| c.is_open(Timestamp(at("2026-03-28T23:00:00Z").0 + m * MINUTE_MS))).count();
        assert_eq!(open_minutes, 0);
        let night = stockholm(&["Sat 23:00-04:00"], &[], &[]);
        let open_minutes =
            (0..12 * 60).filter(|m| night.is_open(Timestamp(at("2026-03-28T20:00:00Z").0 + m * MINUTE_MS))).count();
        assert_eq!(open_minutes, 4 * 60, "five hours on the clock, four that pass");
    }

    #[test]
    fn closed_dates_close_and_open_dates_win_over_them() {
        let c = stockholm(
            &["Mon-Fri 07:00-18:00"],
            &["2026-12-24..2026-12-26", "2027-01-01"],
            &["2026-12-25 10:00-12:00", "2026-12-27"],
        );
        assert!(c.is_open(at("2026-12-23T10:00:00Z")));
        assert!(!c.is_open(at("2026-12-24T10:00:00Z")));
        assert!(c.is_open(at("2026-12-25T10:00:00Z")), "11:00 of an open date");
        assert!(!c.is_open(at("2026-12-25T12:00:00Z")), "13:00 of it");
        assert!(!c.is_open(at("2026-12-26T10:00:00Z")));
        assert!(c.is_open(at("2026-12-27T22:59:00Z")), "a Sunday, whole");
        assert!(!c.is_open(at("2027-01-01T10:00:00Z")));
    }

    #[test]
    fn weekday_ranges_wrap_and_lists_add_up() {
        let c = stockholm(&["Sat-Mon,Wed 08:00-12:00, 13:00-17:00"], &[], &[]);
        let open_on = |day: u32| c.is_open(at(&format!("2026-06-{day:02}T08:00:00Z")));
        // 2026-06-01 is a Monday.
        assert_eq!((1..=7).map(open_on).collect::<Vec<_>>(), [true, false, true, false, false, true, true]);
        assert!(!c.is_open(at("2026-06-01T10:30:00Z")), "the lunch break");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_advice() {
        let mut c = Calendar::new("c", TimeZone::UTC);
        for (text, part) in [
            ("Mon-Fry 07:00-18:00", "`Fry` is no weekday"),
            ("Mon 7-18", "`7` is no time of day"),
            ("Mon 07:00", "is no interval"),
            ("Mon 07:00-07:00", "is empty"),
            ("Mon 07:00-25:00", "at most `24:00`"),
            ("Mon 07:60-08:00", "is no time of day"),
            ("", "is no weekday"),
        ] {
            let error = c.add_open(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(c.add_closed("2026-02-29").unwrap_err().contains("no such day"));
        assert!(c.add_closed("2026-12-26..2026-12-24").unwrap_err().contains("ends before"));
        assert!(c.add_closed("24/12/2026").unwrap_err().contains("write `2026-12-24`"));
    }
}
