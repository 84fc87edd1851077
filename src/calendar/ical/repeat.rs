//! The dates on which an event repeats, within bounds on how many there are.

use calcard::icalendar::dates::CalendarErrorType;
use calcard::{Entry, Parser};
use jiff::civil::DateTime;

use super::Mistakes;
use super::event::{Moment, short};
use super::lines::Line;
use crate::limits::{ICAL_OCCURRENCES_MAX, ICAL_RULE_BYTES_MAX, ICAL_RULES_MAX};

/// What the repetitions of one file may still cost.
#[derive(Debug)]
pub(super) struct Budget {
    rules: usize,
    occurrences: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { rules: ICAL_RULES_MAX, occurrences: ICAL_OCCURRENCES_MAX }
    }
}

/// The starts that the rule gives, on the clock of the event's own zone, in order. The first is not always `start`.
pub(super) fn occurrences(
    rule: &Line,
    start: &Moment,
    to_year: i16,
    budget: &mut Budget,
    mistakes: &mut Mistakes,
) -> Vec<DateTime> {
    let parts = match readable(rule, start) {
        Ok(parts) => parts,
        Err(message) => {
            mistakes.tell(rule.number, format!("{message}; only the first date was taken"));
            return Vec::new();
        }
    };
    if start.local.year() > to_year {
        return Vec::new();
    }
    let value = rule.value.to_ascii_uppercase();
    if !start.is_date && ["BYHOUR=", "BYMINUTE=", "BYSECOND="].iter().any(|part| value.contains(part)) {
        let message = "RRULE: the time of day is that of DTSTART; BYHOUR, BYMINUTE and BYSECOND are not used";
        mistakes.tell(rule.number, message);
    }
    if budget.rules == 0 || budget.occurrences == 0 {
        mistakes.tell(rule.number, "too many repetitions in one file; only the first date was taken");
        return Vec::new();
    }
    budget.rules -= 1;
    let first = start.local.strftime("%Y%m%dT%H%M%S");
    let text = format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:{first}\r\nRRULE:{parts}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    );
    let Entry::ICalendar(calendar) = Parser::new(&text).entry() else {
        mistakes
            .tell(rule.number, format!("RRULE `{}` cannot be read; only the first date was taken", short(&rule.value)));
        return Vec::new();
    };
    let found = calendar.expand_dates(calcard::common::timezone::Tz::Floating, budget.occurrences);
    budget.occurrences -= found.events.len().min(budget.occurrences);
    for error in &found.errors {
        let why = match &error.error {
            CalendarErrorType::RRule(why) => why.to_string(),
            other => format!("{other:?}"),
        };
        mistakes.tell(rule.number, format!("RRULE: {}; only the first date was taken", short(&why)));
    }
    if budget.occurrences == 0 {
        mistakes.tell(rule.number, "it repeats too often for a calendar of holidays; the rest was left out");
    }
    // Through its text: what the library's own types of time can do is not needed here.
    found.events.iter().filter_map(|event| event.start.naive_local().to_string().parse().ok()).collect()
}

/// The rule as it may be given to the library: of dates, of days and longer, its end on the event's own clock.
fn readable(rule: &Line, start: &Moment) -> Result<String, String> {
    let value = rule.value.to_ascii_uppercase();
    if value.len() > ICAL_RULE_BYTES_MAX {
        return Err(format!("an RRULE of more than {ICAL_RULE_BYTES_MAX} bytes"));
    }
    let mut parts = Vec::new();
    let mut has_frequency = false;
    for part in value.split(';').filter(|part| !part.is_empty()) {
        let (name, text) = part.split_once('=').ok_or_else(|| format!("RRULE: `{}` has no value", short(part)))?;
        match name {
            "FREQ" if matches!(text, "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY") => has_frequency = true,
            "FREQ" if matches!(text, "HOURLY" | "MINUTELY" | "SECONDLY") => {
                return Err(format!("RRULE: FREQ={text} is no repetition of a closed date"));
            }
            "FREQ" => return Err(format!("RRULE: there is no FREQ={}", short(text))),
            // The time of day is that of the event.
            "BYHOUR" | "BYMINUTE" | "BYSECOND" => continue,
            "UNTIL" => {
                let until = Moment::parse(text, start.zone.clone())
                    .ok_or_else(|| format!("RRULE: UNTIL={} is no date", short(text)))?;
                let until = if until.is_date { until.end_of_day() } else { until.on_clock_of(start) };
                let until = until.ok_or("RRULE: UNTIL is out of range")?;
                parts.push(format!("UNTIL={}", until.strftime("%Y%m%dT%H%M%S")));
                continue;
            }
            "COUNT" | "INTERVAL" | "BYDAY" | "BYMONTHDAY" | "BYYEARDAY" | "BYWEEKNO" | "BYMONTH" | "BYSETPOS"
            | "WKST" => {
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b',' | b'+' | b'-');
                if text.is_empty() || !text.bytes().all(is_plain) {
                    return Err(format!("RRULE: {name}={} cannot be read", short(text)));
                }
            }
            _ => return Err(format!("RRULE: `{}` is not known here", short(name))),
        }
        parts.push(part.to_owned());
    }
    if has_frequency { Ok(parts.join(";")) } else { Err("RRULE without FREQ".to_owned()) }
}
