//! Business hours: weekly intervals, closed and open dates, in a zone of their own.
//!
//! A calendar answers one question, whether an instant is inside its hours, on the local clock of its zone: the
//! hour that autumn repeats is asked about twice, the one that spring skips never. It reads no clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::tz::TimeZone;

use crate::clock::{Timestamp, civil_from_days, days_from_civil};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const DAY_MINUTES: u16 = 24 * 60;
/// Dates and intervals a calendar may list: a century of holidays and then some.
const ENTRIES_MAX: usize = 10_000;

/// `Mon`..`Sun`, in the order of the week.
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A named set of hours.
#[derive(Debug)]
pub struct Calendar {
    pub name: String,
    local: LocalClock,
    /// By weekday, Monday first.
    week: [Vec<Hours>; 7],
    /// Day numbers from-to, both included.
    closed: Vec<(i64, i64)>,
    /// What replaces the week on these days, closed or not.
    open: Vec<(i64, i64, Hours)>,
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

impl Calendar {
    /// Never open, until hours are added.
    pub fn new(name: impl Into<String>, zone: TimeZone) -> Calendar {
        Calendar {
            name: name.into(),
            local: LocalClock::new(zone),
            week: Default::default(),
            closed: Vec::new(),
            open: Vec::new(),
        }
    }

    /// `"Mon-Fri 07:00-18:00"`, `"Mon,Wed 08:00-12:00, 13:00-17:00"`, `"Sat"` for the whole day. The end may lie
    /// before the start: then it is the next day's.
    pub fn add_open(&mut self, text: &str) -> Result<(), String> {
        let (days, hours) = match text.trim().split_once(char::is_whitespace) {
            Some((days, hours)) => (days, hours.trim()),
            None => (text.trim(), ""),
        };
        let days = parse_days(days)?;
        let hours = parse_hours(hours)?;
        for (day, _) in days.iter().enumerate().filter(|(_, on)| **on) {
            let Some(list) = self.week.get_mut(day) else { continue };
            if list.len() + hours.len() > ENTRIES_MAX {
                return Err(format!("a calendar holds at most {ENTRIES_MAX} intervals a day"));
            }
            list.extend_from_slice(&hours);
        }
        Ok(())
    }

    /// `"2026-12-24"` or `"2026-12-24..2026-12-26"`: no hours start on these days.
    pub fn add_closed(&mut self, text: &str) -> Result<(), String> {
        let days = parse_dates(text)?;
        if self.closed.len() >= ENTRIES_MAX {
            return Err(format!("a calendar holds at most {ENTRIES_MAX} closed dates"));
        }
        self.closed.push(days);
        Ok(())
    }

    /// As [`Calendar::add_closed`], with hours where it is not the whole day: `"2026-12-19 09:00-15:00"`. Replaces
    /// the hours of the week, and wins over a closed date.
    pub fn add_open_dates(&mut self, text: &str) -> Result<(), String> {
        let (dates, hours) = match text.trim().split_once(char::is_whitespace) {
            Some((dates, hours)) => (dates, hours.trim()),
            None => (text.trim(), ""),
        };
        let (from, to) = parse_dates(dates)?;
        for hours in parse_hours(hours)? {
            if self.open.len() >= ENTRIES_MAX {
                return Err(format!("a calendar holds at most {ENTRIES_MAX} open dates"));
            }
            self.open.push((from, to, hours));
        }
        Ok(())
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
        let mut replaced = false;
        for (from, to, hours) in &self.open {
            if (*from..=*to).contains(&day) {
                replaced = true;
                if hours.has(minute) {
                    return true;
                }
            }
        }
        if replaced || self.closed.iter().any(|(from, to)| (*from..=*to).contains(&day)) {
            return false;
        }
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3).rem_euclid(7) as usize;
        self.week.get(weekday).is_some_and(|list| list.iter().any(|hours| hours.has(minute)))
    }
}

/// The wall clock of a zone: its offsets from UTC laid out as a table, so that asking is a comparison where
/// events of one hour come one after another.
#[derive(Debug)]
pub struct LocalClock {
    zone: TimeZone,
    /// `(from, offset)` in ms, by `from`; each holds until the next. Covers [`LocalClock::COVERED`].
    offsets: Vec<(i64, i64)>,
    /// Where the last answer stood. A guess that is checked, so a race costs a search and no more.
    last: AtomicUsize,
}

impl LocalClock {
    /// 1970 to 2100, ms; outside it the zone itself is asked.
    const COVERED: std::ops::Range<i64> = 0..4_102_444_800_000;

    pub fn new(zone: TimeZone) -> LocalClock {
        let mut offsets = vec![(Self::COVERED.start, ask_offset_ms(&zone, Self::COVERED.start))];
        if let Ok(start) = jiff::Timestamp::from_millisecond(Self::COVERED.start) {
            for change in zone.following(start) {
                let at = change.timestamp().as_millisecond();
                if at >= Self::COVERED.end {
                    break;
                }
                offsets.push((at, i64::from(change.offset().seconds()) * 1000));
            }
        }
        LocalClock { zone, offsets, last: AtomicUsize::new(0) }
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The instant as the wall clock shows it, counted in ms as if the wall clock were UTC.
    pub fn local_ms(&self, at: Timestamp) -> i64 {
        at.0.saturating_add(self.offset_ms(at))
    }

    /// Day number since 1970-01-01, and minute of that day, on the wall clock.
    pub fn day_and_minute(&self, at: Timestamp) -> (i64, u16) {
        let local_ms = self.local_ms(at);
        (local_ms.div_euclid(DAY_MS), (local_ms.rem_euclid(DAY_MS) / MINUTE_MS) as u16)
    }

    fn offset_ms(&self, at: Timestamp) -> i64 {
        if !Self::COVERED.contains(&at.0) {
            return ask_offset_ms(&self.zone, at.0);
        }
        let guess = self.last.load(Ordering::Relaxed);
        if let Some((from, offset)) = self.offsets.get(guess)
            && *from <= at.0
            && self.offsets.get(guess + 1).is_none_or(|(next, _)| at.0 < *next)
        {
            return *offset;
        }
        let index = self.offsets.partition_point(|(from, _)| *from <= at.0).saturating_sub(1);
        self.last.store(index, Ordering::Relaxed);
        self.offsets.get(index).map_or(0, |(_, offset)| *offset)
    }
}

fn ask_offset_ms(zone: &TimeZone, at_ms: i64) -> i64 {
    jiff::Timestamp::from_millisecond(at_ms).map_or(0, |t| i64::from(zone.to_offset(t).seconds()) * 1000)
}

/// `Mon-Fri`, `Sat`, `Mon,Wed,Fri-Sun`; ranges wrap.
fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (parse_weekday(from)?, parse_weekday(to)?);
        let mut day = from;
        loop {
            if let Some(on) = days.get_mut(day) {
                *on = true;
            }
            if day == to {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Ok(days)
}

fn parse_weekday(text: &str) -> Result<usize, String> {
    WEEKDAYS.iter().position(|w| w.eq_ignore_ascii_case(text.trim())).ok_or_else(|| {
        format!("`{}` is no weekday; write `Mon-Fri 07:00-18:00` (Mon Tue Wed Thu Fri Sat Sun)", text.trim())
    })
}

/// `08:00-12:00, 13:00-17:00`; nothing is the whole day.
fn parse_hours(text: &str) -> Result<Vec<Hours>, String> {
    if text.is_empty() {
        return Ok(vec![Hours::WHOLE_DAY]);
    }
    let mut all = Vec::new();
    for part in text.split([',', ' ']).filter(|p| !p.is_empty()) {
        let (from, to) = part.split_once('-').ok_or_else(|| format!("`{part}` is no interval; write `07:00-18:00`"))?;
        let (from, to) = (parse_minute(from)?, parse_minute(to)?);
        if from == DAY_MINUTES {
            return Err(format!("`{part}` starts at the end of the day; write `00:00` and the next day"));
        }
        if from == to {
            return Err(format!("`{part}` is empty; the whole day is `00:00-24:00`"));
        }
        all.push(Hours { from, to: if to < from { to + DAY_MINUTES } else { to } });
    }
    Ok(all)
}

fn parse_minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{text}` is no time of day; write `07:00`, at most `24:00`");
    let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
    if hours.len() != 2 || minutes.len() != 2 || !text.trim().bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return Err(wrong());
    }
    let (hours, minutes): (u16, u16) = (hours.parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
    let all = hours * 60 + minutes;
    if minutes > 59 || all > DAY_MINUTES { Err(wrong()) } else { Ok(all) }
}

/// One date, or two with `..` between them.
fn parse_dates(text: &str) -> Result<(i64, i64), String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (parse_date(from)?, parse_date(to)?);
    if to < from {
        return Err(format!("`{}` ends before it starts", text.trim()));
    }
    Ok((from, to))
}

/// Day number of `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is no date; write `2026-12-24`");
    let mut parts = text.splitn(3, '-');
    let mut part = |len: usize| -> Option<u32> {
        let digits = parts.next()?;
        (digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    let (Some(year), Some(month), Some(day)) = (part(4), part(2), part(2)) else { return Err(wrong()) };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(wrong());
    }
    let days = days_from_civil(i64::from(year), month, day);
    if civil_from_days(days) != (i64::from(year), month, day) {
        return Err(format!("`{text}` is no date: the month has no such day"));
    }
    Ok(days)
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

    #[test]
    fn the_table_of_offsets_agrees_with_the_zone_at_every_change_and_outside_its_years() {
        for zone in ["Europe/Stockholm", "America/St_Johns", "Australia/Lord_Howe", "Africa/Monrovia", "UTC"] {
            let zone = TimeZone::get(zone).unwrap();
            let clock = LocalClock::new(zone.clone());
            let mut probes = vec![-1, 0, LocalClock::COVERED.end - 1, LocalClock::COVERED.end, -50 * 365 * DAY_MS];
            for (from, _) in clock.offsets.clone() {
                probes.extend([from - 1, from, from + 1]);
            }
            for at in probes {
                assert_eq!(clock.offset_ms(Timestamp(at)), ask_offset_ms(&zone, at), "{zone:?} {at}");
            }
        }
    }
}
