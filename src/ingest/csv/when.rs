//! Times of CDR files: formats people choose, and local times that need a zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::ingest::value::{self, Decimal};

/// How a file writes its times.
#[derive(Clone, Debug)]
pub(super) enum TimeFormat {
    /// RFC 3339, an epoch integer in s, ms or us, epoch seconds with a fraction, or `YYYY-MM-DD HH:MM:SS` local.
    Common,
    /// Epoch seconds, also with a fraction.
    Epoch,
    EpochMs,
    /// `YYYYMMDDHHMMSS`, also with a fraction.
    Compact,
    /// `18:05:58.123 UTC JUL 26 2010`, with or without the weekday; a zone that is neither UTC nor GMT is the feed's.
    /// Other times are read as [`TimeFormat::Common`].
    Clock,
    /// As `strptime` reads it.
    Pattern(String),
}

/// Format and zone together.
#[derive(Clone, Debug)]
pub(super) struct TimeReader {
    pub(super) format: TimeFormat,
    /// Of times that carry no offset.
    pub(super) zone: Option<TimeZone>,
}

impl TimeReader {
    /// `None` where the text is no time of this format, or is local and there is no zone.
    pub(super) fn read(&self, text: &[u8]) -> Option<Timestamp> {
        match &self.format {
            TimeFormat::Common => self.common(text),
            TimeFormat::Epoch => epoch(text, 3),
            TimeFormat::EpochMs => epoch(text, 0),
            TimeFormat::Compact => self.civil(compact(text)?),
            TimeFormat::Clock => match clock(text) {
                Some((ms, true)) => Some(Timestamp(ms)),
                Some((ms, false)) => self.civil(ms),
                None => self.common(text),
            },
            TimeFormat::Pattern(pattern) => {
                let told = jiff::fmt::strtime::parse(pattern, text).ok()?;
                if told.offset().is_some() || told.timestamp().is_some() {
                    return told.to_timestamp().ok().map(|t| Timestamp(t.as_millisecond()));
                }
                self.local(told.to_datetime().ok()?)
            }
        }
    }

    /// The time is local and nobody said of which zone.
    pub(super) fn lacks_zone(&self, text: &[u8]) -> bool {
        let utc = TimeReader { format: self.format.clone(), zone: Some(TimeZone::UTC) };
        self.zone.is_none() && utc.read(text).is_some()
    }

    /// What a time means if it was told as clocks had gone back already; `None` where it is told only once.
    pub(super) fn second_pass(&self, first: Timestamp) -> Option<Timestamp> {
        let zone = self.zone.as_ref()?;
        let told = zone.to_datetime(jiff::Timestamp::from_millisecond(first.0).ok()?);
        let later = zone.to_ambiguous_timestamp(told).later().ok()?;
        Some(Timestamp(later.as_millisecond())).filter(|later| *later > first)
    }

    fn common(&self, text: &[u8]) -> Option<Timestamp> {
        if let Some((head, rest)) = text.split_first_chunk::<19>()
            && let Some(ms) = value::civil_ms(head)
        {
            let (fraction, rest) = value::fraction_ms(rest)?;
            if !rest.is_empty() {
                return value::rfc3339(text);
            }
            return self.civil(ms + fraction);
        }
        Decimal::parse(text)?.epoch().or_else(|| epoch(text, 3))
    }

    /// A local time, as milliseconds since 1970 began there.
    fn civil(&self, ms: i64) -> Option<Timestamp> {
        match &self.zone {
            Some(zone) if *zone == TimeZone::UTC => Some(Timestamp(ms)),
            _ => self.local(civil(ms)?),
        }
    }

    /// A time told twice, as clocks go back, is taken for the first of the two; one that never was, as they go
    /// forward, for what the clock would have shown had it not.
    fn local(&self, time: DateTime) -> Option<Timestamp> {
        let zone = self.zone.as_ref()?;
        let instant = zone.to_ambiguous_timestamp(time).compatible().ok()?;
        Some(Timestamp(instant.as_millisecond()))
    }
}

/// `20160419210005.247`: each pair of digits in its place of the form that [`value::civil_ms`] reads.
fn compact(text: &[u8]) -> Option<i64> {
    let (head, rest) = text.split_first_chunk::<14>()?;
    let mut civil = *b"0000-00-00 00:00:00";
    for (digit, place) in head.iter().zip([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]) {
        *civil.get_mut(place)? = *digit;
    }
    let (fraction, rest) = value::fraction_ms(rest)?;
    rest.is_empty().then_some(value::civil_ms(&civil)? + fraction)
}

/// Milliseconds since 1970, and whether they are UTC.
fn clock(text: &[u8]) -> Option<(i64, bool)> {
    let mut words = text.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let (time, zone) = (words.next()?, words.next()?);
    let rest: Vec<&[u8]> = words.take(4).collect();
    let (month, day, year) = match rest.as_slice() {
        [month, day, year] | [_, month, day, year] => (*month, *day, *year),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let (hms, fraction) = time.split_first_chunk::<8>()?;
    // Some write the milliseconds behind a colon.
    let fraction = match fraction.split_first() {
        Some((b':', digits)) => value::fraction_ms(&[b".", digits].concat())?.0,
        _ => value::fraction_ms(fraction)?.0,
    };
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u16>().ok();
    let (day, year) = (number(day)?, number(year)?);
    let civil = format!("{year:04}-{month:02}-{day:02} {}", std::str::from_utf8(hms).ok()?);
    let ms = value::civil_ms(civil.as_bytes().first_chunk::<19>().filter(|_| civil.len() == 19)?)?;
    Some((ms + fraction, [&b"UTC"[..], b"GMT", b"Z"].iter().any(|utc| utc.eq_ignore_ascii_case(zone))))
}

const MONTHS: [&[u8]; 12] =
    [b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"];

/// The civil time so many milliseconds after 1970 began.
fn civil(ms: i64) -> Option<DateTime> {
    let utc = jiff::Timestamp::from_millisecond(ms).ok()?;
    Some(TimeZone::UTC.to_datetime(utc))
}

/// A decimal in units of 10^-places seconds, cut to milliseconds.
fn epoch(text: &[u8], places: i32) -> Option<Timestamp> {
    let number = Decimal::parse(text)?;
    let ms = i64::try_from(number.floor(places)?).ok()?;
    let ms = if number.negative { -ms } else { ms };
    (Timestamp::MIN.0..=Timestamp::MAX.0).contains(&ms).then_some(Timestamp(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: TimeFormat, zone: Option<&str>, text: &str) -> Option<String> {
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        TimeReader { format, zone }.read(text.as_bytes()).map(|t| t.to_string())
    }

    #[test]
    fn common_forms_are_told_apart() {
        let utc = |text| read(TimeFormat::Common, Some("UTC"), text).unwrap_or_default();
        assert_eq!(utc("2010-04-02 00:26:32"), "2010-04-02T00:26:32.000Z");
        assert_eq!(utc("2010-04-02 00:26:32.789123"), "2010-04-02T00:26:32.789Z");
        assert_eq!(utc("2010-04-02T00:26:32+02:00"), "2010-04-01T22:26:32.000Z");
        assert_eq!(utc("1335310195.513823"), "2012-04-24T23:29:55.513Z");
        assert_eq!(utc("1335310195"), "2012-04-24T23:29:55.000Z");
        for text in ["", "0000-00-00 00:00:00", "2010-04-02", "yesterday", "2010-04-02 00:26:32 CEST"] {
            assert_eq!(utc(text), "", "{text}");
        }
    }

    #[test]
    fn a_local_time_needs_a_zone_and_follows_its_summer() {
        assert_eq!(read(TimeFormat::Common, None, "2026-07-01 12:00:00"), None);
        let stockholm = |text| read(TimeFormat::Common, Some("Europe/Stockholm"), text).unwrap();
        assert_eq!(stockholm("2026-07-01 12:00:00"), "2026-07-01T10:00:00.000Z");
        assert_eq!(stockholm("2026-01-01 12:00:00"), "2026-01-01T11:00:00.000Z");
        assert_eq!(stockholm("2026-10-25 02:30:00"), "2026-10-25T00:30:00.000Z", "the first of two");
        assert_eq!(stockholm("2026-03-29 02:30:00"), "2026-03-29T01:30:00.000Z", "one that never was");
    }

    #[test]
    fn a_time_told_twice_has_a_second_meaning_and_no_other_has() {
        let reader = |zone: &str| TimeReader { format: TimeFormat::Common, zone: Some(TimeZone::get(zone).unwrap()) };
        let second = |zone: &str, text: &str| {
            let first = reader(zone).read(text.as_bytes()).unwrap();
            reader(zone).second_pass(first).map(|later| later.0 - first.0)
        };
        assert_eq!(second("Europe/Stockholm", "2026-10-25 02:30:00"), Some(3_600_000));
        assert_eq!(second("Australia/Lord_Howe", "2026-04-05 01:45:00"), Some(1_800_000));
        for text in ["2026-10-25 01:59:59", "2026-10-25 03:00:00", "2026-03-29 02:30:00"] {
            assert_eq!(second("Europe/Stockholm", text), None, "{text}");
        }
        assert_eq!(second("UTC", "2026-10-25 02:30:00"), None);
    }

    #[test]
    fn patterns_are_those_of_strptime() {
        let pattern = || TimeFormat::Pattern("%a %b %d %H:%M:%S %z %Y".into());
        let handset = |text| read(pattern(), None, text);
        assert_eq!(handset("Wed Sep 15 19:17:44 +0100 2010").as_deref(), Some("2010-09-15T18:17:44.000Z"));
        assert_eq!(handset("Mon Feb 11 07:18:23 +0000 1980").as_deref(), Some("1980-02-11T07:18:23.000Z"));
        assert_eq!(handset("Wed Sep 15 19:17:44 2010"), None);
        assert_eq!(
            read(TimeFormat::Pattern("%d.%m.%Y %H:%M".into()), Some("UTC"), "24.12.2025 18:00").as_deref(),
            Some("2025-12-24T18:00:00.000Z")
        );
    }

    #[test]
    fn times_of_switches_are_read_in_their_own_order() {
        let compact = |zone, text| read(TimeFormat::Compact, Some(zone), text);
        assert_eq!(compact("UTC", "20160419210005.247").as_deref(), Some("2016-04-19T21:00:05.247Z"));
        assert_eq!(compact("Europe/Berlin", "20160419210005").as_deref(), Some("2016-04-19T19:00:05.000Z"));
        for text in ["2016041921000", "20161319210005", "20160419210005x", "2016-04-19 21:00:05", ""] {
            assert_eq!(compact("UTC", text), None, "{text}");
        }
        let clock = |zone, text| read(TimeFormat::Clock, zone, text);
        for text in
            ["18:05:58.123 UTC JUL 26 2010", "18:05:58:123 GMT Mon Jul 26 2010", "18:05:58.1239  utc jul 26 2010"]
        {
            assert_eq!(clock(None, text).as_deref(), Some("2010-07-26T18:05:58.123Z"), "{text}");
        }
        assert_eq!(clock(None, "18:05:58 EDT JUL 26 2010"), None, "a zone by its letters is none");
        assert_eq!(
            clock(Some("America/New_York"), "18:05:58 EDT JUL 26 2010").as_deref(),
            Some("2010-07-26T22:05:58.000Z")
        );
        assert_eq!(clock(None, "2010-07-26T18:05:58Z").as_deref(), Some("2010-07-26T18:05:58.000Z"));
        for text in ["18:05:58 UTC JUX 26 2010", "18:05:58 UTC JUL 32 2010", "25:05:58 UTC JUL 26 2010", "UTC JUL"] {
            assert_eq!(clock(None, text), None, "{text}");
        }
    }

    #[test]
    fn epoch_formats_have_their_unit_and_cut() {
        assert_eq!(read(TimeFormat::EpochMs, None, "1335310195999").as_deref(), Some("2012-04-24T23:29:55.999Z"));
        assert_eq!(read(TimeFormat::Epoch, None, "1335310195.9999").as_deref(), Some("2012-04-24T23:29:55.999Z"));
        assert_eq!(read(TimeFormat::Epoch, None, "99999999999999"), None);
    }
}
