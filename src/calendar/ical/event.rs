//! Content lines to events, and events to the time they take.

use std::collections::{BTreeSet, HashMap};

use calcard::common::timezone::Tz;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::lines::Line;
use super::repeat::{self, Budget};
use super::{Mistakes, Wanted};
use crate::clock::{Timestamp, civil_from_days, days_from_civil};
use crate::limits::{CALENDAR_NAME_CHARS_MAX, ICAL_EVENT_DAYS_MAX, ICAL_LISTED_DATES_MAX, ICAL_ZONE_BYTES_MAX};

const DAY_S: i64 = 86_400;

/// A date, or a time of day on some clock.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) local: DateTime,
    /// `None` is whatever clock the reader has.
    pub(super) zone: Option<TimeZone>,
    pub(super) is_date: bool,
}

impl Moment {
    /// `20261225`, `20261225T130000`, `20261225T190000Z`.
    pub(super) fn parse(text: &str, zone: Option<TimeZone>) -> Option<Moment> {
        let (date, time) = text.split_once(['T', 't']).map_or((text, None), |(date, time)| (date, Some(time)));
        let date = match digits(date)?.as_slice() {
            [a, b, c, d, m1, m2, d1, d2] => Date::new(
                i16::from(*a) * 1000 + i16::from(*b) * 100 + i16::from(*c) * 10 + i16::from(*d),
                m1 * 10 + m2,
                d1 * 10 + d2,
            ),
            _ => return None,
        };
        let date = date.ok()?;
        let Some(time) = time else {
            return Some(Moment { local: date.to_datetime(Time::midnight()), zone: None, is_date: true });
        };
        let (time, zone) = match time.strip_suffix(['Z', 'z']) {
            Some(time) => (time, Some(TimeZone::UTC)),
            None => (time, zone),
        };
        let time = match digits(time)?.as_slice() {
            // A leap second is the second before it.
            [h1, h2, m1, m2, s1, s2] => Time::new(h1 * 10 + h2, m1 * 10 + m2, (s1 * 10 + s2).min(59), 0),
            _ => return None,
        };
        Some(Moment { local: date.to_datetime(time.ok()?), zone, is_date: false })
    }

    pub(super) fn end_of_day(&self) -> Option<DateTime> {
        Some(self.local.date().to_datetime(Time::new(23, 59, 59, 0).ok()?))
    }

    /// The same instant as the clock of the other shows it; as it stands where one of the two has no clock.
    pub(super) fn on_clock_of(&self, other: &Moment) -> Option<DateTime> {
        match (&self.zone, &other.zone) {
            (Some(mine), Some(theirs)) if !self.is_date => {
                Some(self.local.to_zoned(mine.clone()).ok()?.with_time_zone(theirs.clone()).datetime())
            }
            _ => Some(self.local),
        }
    }
}

fn digits(text: &str) -> Option<Vec<i8>> {
    text.bytes().map(|b| b.is_ascii_digit().then(|| (b - b'0') as i8)).collect()
}

fn day_of(date: Date) -> i64 {
    days_from_civil(i64::from(date.year()), date.month().unsigned_abs().into(), date.day().unsigned_abs().into())
}

/// How long an event takes.
#[derive(Clone, Copy, Debug)]
enum Length {
    Days(i64),
    Seconds(i64),
}

/// What an event takes of the reader's time: whole dates, both included, or from one instant to another.
pub(super) enum Span {
    Days(i64, i64),
    Time(Timestamp, Timestamp),
}

/// One VEVENT.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) uid: Option<String>,
    pub(super) name: String,
    /// The day of a repetition that this event stands in for.
    pub(super) replaces: Option<i64>,
    pub(super) is_cancelled: bool,
    start: Moment,
    length: Length,
    rule: Option<&'a Line>,
    also: Vec<Moment>,
    except: Vec<Moment>,
}

/// Every VEVENT that has a start. Components of other kinds, and what stands inside an event, are passed over.
pub(super) fn events<'a>(lines: &'a [Line], mistakes: &mut Mistakes) -> Vec<Event<'a>> {
    let mut events = Vec::new();
    let mut zones = Zones::default();
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut own: Vec<&Line> = Vec::new();
    if !lines.iter().any(|l| l.name == "BEGIN" && l.value.eq_ignore_ascii_case("VCALENDAR")) {
        mistakes.tell(1, "no BEGIN:VCALENDAR: this is no iCalendar file");
    }
    for line in lines {
        let is_event = open.last().is_some_and(|(kind, _)| kind == "VEVENT");
        match line.name.as_str() {
            "BEGIN" => {
                let kind = line.value.to_ascii_uppercase();
                if kind == "VEVENT" {
                    own.clear();
                }
                open.push((kind, line.number));
            }
            "END" => {
                let kind = line.value.to_ascii_uppercase();
                let Some(place) = open.iter().rposition(|(k, _)| *k == kind) else {
                    mistakes.tell(line.number, format!("END:{} without its BEGIN", short(&line.value)));
                    continue;
                };
                for (kind, at) in open.drain(place..).skip(1) {
                    mistakes.tell(at, format!("BEGIN:{} without its END", short(&kind)));
                }
                if kind == "VEVENT" {
                    events.extend(event(line.number, &std::mem::take(&mut own), &mut zones, mistakes));
                }
            }
            _ if is_event => own.push(line),
            _ => {}
        }
    }
    for (kind, at) in open {
        mistakes.tell(at, format!("BEGIN:{} without its END; the file may be cut off", short(&kind)));
    }
    events
}

fn event<'a>(end: usize, own: &[&'a Line], zones: &mut Zones, mistakes: &mut Mistakes) -> Option<Event<'a>> {
    let find = |name: &str| own.iter().find(|line| line.name == name).copied();
    let text = |name: &str| find(name).map(|line| unescaped(&line.value));
    let name = plain(&text("SUMMARY").unwrap_or_default());
    let Some(line) = find("DTSTART") else {
        let at = own.first().map_or(end, |line| line.number);
        mistakes.tell(at, "the event has no DTSTART; it was left out");
        return None;
    };
    let Some(start) = zones.moment(line, &line.value, mistakes) else {
        mistakes.tell(line.number, format!("DTSTART `{}` is no date; the event was left out", short(&line.value)));
        return None;
    };
    let length = length(&start, find("DTEND"), find("DURATION"), zones, mistakes);
    let n_days = match length {
        Length::Days(n) => n,
        Length::Seconds(n) => n / DAY_S,
    };
    if n_days > ICAL_EVENT_DAYS_MAX {
        let message = format!("the event takes {n_days} days, the limit is {ICAL_EVENT_DAYS_MAX}; it was left out");
        mistakes.tell(line.number, message);
        return None;
    }
    let replaces = find("RECURRENCE-ID").and_then(|line| {
        let moment = zones.moment(line, &line.value, mistakes)?;
        moment.on_clock_of(&start).map(|local| day_of(local.date()))
    });
    Some(Event {
        uid: text("UID").filter(|uid| !uid.is_empty()),
        name,
        replaces,
        is_cancelled: text("STATUS").is_some_and(|s| s.eq_ignore_ascii_case("CANCELLED")),
        length,
        rule: find("RRULE"),
        also: listed("RDATE", own, zones, mistakes),
        except: listed("EXDATE", own, zones, mistakes),
        start,
    })
}

fn length(
    start: &Moment,
    end: Option<&Line>,
    duration: Option<&Line>,
    zones: &mut Zones,
    mistakes: &mut Mistakes,
) -> Length {
    let shortest = if start.is_date { Length::Days(1) } else { Length::Seconds(0) };
    if let Some(line) = end {
        let told = zones.moment(line, &line.value, mistakes);
        let Some(end) = told.filter(|end| end.is_date == start.is_date) else {
            mistakes.tell(line.number, format!("DTEND `{}` does not go with DTSTART; not used", short(&line.value)));
            return shortest;
        };
        let seconds = end.on_clock_of(start).map_or(0, |end| end.duration_since(start.local).as_secs());
        if seconds < 0 {
            mistakes.tell(line.number, "the event ends before it starts; its end is not used");
            return shortest;
        }
        return if start.is_date { Length::Days((seconds / DAY_S).max(1)) } else { Length::Seconds(seconds) };
    }
    let Some(line) = duration else { return shortest };
    match duration_s(&line.value) {
        Some(seconds) if start.is_date => Length::Days((seconds / DAY_S).max(1)),
        Some(seconds) => Length::Seconds(seconds),
        None => {
            mistakes.tell(line.number, format!("DURATION `{}` cannot be read; not used", short(&line.value)));
            shortest
        }
    }
}

/// `P1D`, `P2W`, `PT1H30M`; an event does not last a negative time.
fn duration_s(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let rest = text.strip_prefix('+').unwrap_or(&text).strip_prefix('P')?;
    let (mut seconds, mut number, mut is_time) = (0_i64, None::<i64>, false);
    for c in rest.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
            continue;
        }
        let unit = match c {
            'T' if number.is_none() && !is_time => {
                is_time = true;
                continue;
            }
            'W' if !is_time => 7 * DAY_S,
            'D' if !is_time => DAY_S,
            'H' if is_time => 3600,
            'M' if is_time => 60,
            'S' if is_time => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && rest.len() > 1).then_some(seconds)
}

/// The dates of RDATE or EXDATE; of a period, its start.
fn listed(name: &str, own: &[&Line], zones: &mut Zones, mistakes: &mut Mistakes) -> Vec<Moment> {
    let mut found = Vec::new();
    for line in own.iter().filter(|line| line.name == name) {
        for text in line.value.split(',').map(str::trim) {
            let start = text.split('/').next().unwrap_or_default();
            match zones.moment(line, start, mistakes) {
                Some(moment) if found.len() < ICAL_LISTED_DATES_MAX => found.push(moment),
                Some(_) => {
                    mistakes
                        .tell(line.number, format!("more than {ICAL_LISTED_DATES_MAX} dates; the rest was left out"));
                    return found;
                }
                None => mistakes.tell(line.number, format!("{name} `{}` is no date; left out", short(text))),
            }
        }
    }
    found
}

impl Event<'_> {
    /// Everything it takes within the wanted dates, and near them. `moved`: days of its repetition that others stand in
    /// for.
    pub(super) fn spans(
        &self,
        wanted: &Wanted,
        moved: Option<&BTreeSet<i64>>,
        budget: &mut Budget,
        mistakes: &mut Mistakes,
    ) -> Vec<Span> {
        let mut starts = BTreeSet::from([self.start.local]);
        if let Some(rule) = self.rule {
            let (year, ..) = civil_from_days(wanted.to);
            let to_year = i16::try_from(year).unwrap_or(i16::MAX);
            starts.extend(repeat::occurrences(rule, &self.start, to_year, budget, mistakes));
        }
        starts.extend(self.also.iter().filter_map(|moment| moment.on_clock_of(&self.start)));
        let except: BTreeSet<i64> =
            self.except.iter().filter_map(|m| m.on_clock_of(&self.start)).map(|local| day_of(local.date())).collect();
        let reach = (wanted.from - ICAL_EVENT_DAYS_MAX - 2)..=(wanted.to + 2);
        let is_meant = |local: &&DateTime| {
            let day = day_of(local.date());
            reach.contains(&day) && !except.contains(&day) && !moved.is_some_and(|days| days.contains(&day))
        };
        starts.iter().filter(is_meant).filter_map(|local| self.span(*local, wanted)).collect()
    }

    fn span(&self, local: DateTime, wanted: &Wanted) -> Option<Span> {
        let seconds = match self.length {
            Length::Days(n) => {
                let from = day_of(local.date());
                return Some(Span::Days(from, from + n - 1));
            }
            Length::Seconds(seconds) => seconds,
        };
        let zone = self.start.zone.as_ref().unwrap_or(&wanted.zone);
        let start = local.to_zoned(zone.clone()).ok()?.with_time_zone(wanted.zone.clone());
        // Lengths are told between two readings of one clock, so the end is a reading of it as well.
        let end = local.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        let end = end.to_zoned(zone.clone()).ok()?.with_time_zone(wanted.zone.clone());
        let (from, last) = (day_of(start.date()), day_of(end.date()));
        let is_midnight = |time: Time| time == Time::midnight();
        if is_midnight(start.time()) && is_midnight(end.time()) && last > from {
            return Some(Span::Days(from, last - 1));
        }
        let is_near = last >= wanted.from && from <= wanted.to;
        let (from, to) = (start.timestamp().as_millisecond(), end.timestamp().as_millisecond());
        (is_near && to >= from).then_some(Span::Time(Timestamp(from), Timestamp(to)))
    }
}

/// Zones by their names in the file; one that nobody knows is told once.
#[derive(Debug, Default)]
struct Zones {
    known: HashMap<String, Option<TimeZone>>,
}

impl Zones {
    fn moment(&mut self, line: &Line, text: &str, mistakes: &mut Mistakes) -> Option<Moment> {
        let zone = line.param("TZID").and_then(|id| self.find(id, line.number, mistakes));
        Moment::parse(text, zone)
    }

    fn find(&mut self, id: &str, number: usize, mistakes: &mut Mistakes) -> Option<TimeZone> {
        if let Some(known) = self.known.get(id) {
            return known.clone();
        }
        let found = zone(id);
        if found.is_none() {
            let message = format!("unknown time zone `{}`; its times are taken as local ones", short(id));
            mistakes.tell(number, message);
        }
        self.known.insert(id.to_owned(), found.clone());
        found
    }
}

/// An IANA name, with whatever registry stands before it, or one of Windows.
fn zone(id: &str) -> Option<TimeZone> {
    if id.len() > ICAL_ZONE_BYTES_MAX || !id.is_ascii() || id.is_empty() {
        return None;
    }
    if let Ok(zone) = TimeZone::get(id) {
        return Some(zone);
    }
    let pieces: Vec<&str> = id.rsplitn(3, '/').collect();
    if let [city, region, _] = pieces.as_slice()
        && let Ok(zone) = TimeZone::get(&format!("{region}/{city}"))
    {
        return Some(zone);
    }
    let named = id.parse::<Tz>().ok()?;
    TimeZone::get(&named.name()?).ok()
}

/// RFC 5545's escapes of text.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            _ => out.push(c),
        }
    }
    out
}

/// One line of plain text that fits a name.
pub(super) fn plain(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(CALENDAR_NAME_CHARS_MAX).collect();
    name.trim_end().to_owned()
}

/// What a message shows of a text of the file.
pub(super) fn short(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let shown = plain(text);
    if shown.chars().count() <= CHARS_MAX {
        return shown;
    }
    shown.chars().take(CHARS_MAX).chain(['\u{2026}']).collect()
}
