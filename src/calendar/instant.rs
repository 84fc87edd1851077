//! The ends of a stretch of time as people write them: a day of a zone, or an instant.

use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// `2026-02-28`, its first instant or, where it `is_end`, the one behind its last; or an RFC 3339 time.
pub fn instant(text: &str, zone: &TimeZone, is_end: bool) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(time.as_millisecond()));
    }
    let mut date = text.parse::<jiff::civil::Date>().ok()?;
    if is_end {
        date = date.tomorrow().ok()?;
    }
    Some(Timestamp(date.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_whole_day_of_its_zone_and_a_time_is_itself() {
        let zone = TimeZone::get("Europe/Stockholm").unwrap();
        let told = |text: &str, is_end| instant(text, &zone, is_end).map(|at| at.to_string()).unwrap_or_default();
        assert_eq!(told("2026-02-28", false), "2026-02-27T23:00:00.000Z");
        assert_eq!(told("2026-02-28", true), "2026-02-28T23:00:00.000Z");
        assert_eq!(told("2026-02-28T12:00:00Z", true), "2026-02-28T12:00:00.000Z");
        assert_eq!(told("yesterday", false), "");
    }
}
