//! How people write hours and dates: `Mon-Fri 07:00-18:00`, `2026-12-24..2026-12-26 Christmas`.

use super::{DAY_MINUTES, Hours, WEEKDAYS};
use crate::clock::{civil_from_days, days_from_civil};
use crate::limits::CALENDAR_NAME_CHARS_MAX;

/// `Mon-Fri`, `Sat`, `Mon,Wed,Fri-Sun`; ranges wrap.
pub(super) fn parse_days(text: &str) -> Result<[bool; 7], String> {
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
pub(super) fn parse_hours(text: &str) -> Result<Vec<Hours>, String> {
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

/// What stands before the first blank, and what after it.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// `09:00-12:00, 13:00-15:00 Stocktaking`: the hours, and the name that may follow them. A name starts with a letter.
pub(super) fn split_name(text: &str) -> (&str, &str) {
    let mut place = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        if place > 0 && word.starts_with(char::is_alphabetic) {
            let (hours, name) = text.split_at(place);
            return (hours.trim(), name.trim());
        }
        place += word.len();
    }
    (text.trim(), "")
}

/// The name of a date, as explanations and the portal show it.
pub(super) fn parse_name(text: &str) -> Result<Option<Box<str>>, String> {
    if text.chars().count() > CALENDAR_NAME_CHARS_MAX {
        return Err(format!("the name of a date has at most {CALENDAR_NAME_CHARS_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("the name of a date is one line of plain text".to_owned());
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

/// One date, or two with `..` between them.
pub(super) fn parse_dates(text: &str) -> Result<(i64, i64), String> {
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
