//! When people call: the hours of a working day, and of the days that are none.

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

const MINUTE_MS: i64 = 60_000;

/// Weight of each hour of a working day, local time; calls an hour against the busiest.
const WORKDAY: [f64; 24] = [
    0.02, 0.01, 0.01, 0.01, 0.02, 0.05, 0.2, 0.5, 0.85, 1.0, 1.0, 0.9, 0.7, 0.9, 0.95, 0.9, 0.75, 0.5, 0.3, 0.22, 0.18,
    0.12, 0.07, 0.04,
];
/// A weekend hour against the same hour of a working day.
const WEEKEND: f64 = 0.25;

/// How likely a call comes at each minute of a run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    start_ms: i64,
    end_ms: i64,
    /// Weight of all minutes up to and with this one.
    up_to: Vec<f64>,
    office: Vec<bool>,
}

impl Profile {
    /// Office hours of a zone; without one, every minute is alike.
    pub(crate) fn new(start_ms: i64, duration_ms: i64, zone: Option<&TimeZone>) -> Profile {
        let minutes = ((duration_ms + MINUTE_MS - 1) / MINUTE_MS).max(1);
        let (mut up_to, mut office, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for minute in 0..minutes {
            let at = start_ms + minute * MINUTE_MS;
            let (hour, weekend) = zone.map_or((9, false), |zone| local_hour(at, zone));
            let last = (duration_ms - minute * MINUTE_MS).min(MINUTE_MS) as f64 / MINUTE_MS as f64;
            sum += WORKDAY[hour % 24] * if weekend { WEEKEND } else { 1.0 } * last;
            up_to.push(sum);
            office.push(!weekend && (7..18).contains(&hour));
        }
        Profile { start_ms, end_ms: start_ms + duration_ms, up_to, office }
    }

    /// Minutes of the busiest hour that the whole run weighs.
    pub(crate) fn busy_minutes(&self) -> f64 {
        self.up_to.last().copied().unwrap_or(1.0)
    }

    /// The instant before which this share of the calls comes.
    pub(crate) fn instant(&self, share: f64) -> i64 {
        let weight = share * self.busy_minutes();
        let minute = self.up_to.partition_point(|w| *w <= weight).min(self.up_to.len() - 1);
        let before = if minute == 0 { 0.0 } else { self.up_to[minute - 1] };
        let within = ((weight - before) / (self.up_to[minute] - before).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        self.start_ms + minute as i64 * MINUTE_MS + (within * (MINUTE_MS - 1) as f64) as i64
    }

    pub(crate) fn end_ms(&self) -> i64 {
        self.end_ms
    }

    /// Are offices open at this instant of the run?
    pub(crate) fn is_office(&self, at_ms: i64) -> bool {
        let minute = usize::try_from((at_ms - self.start_ms) / MINUTE_MS).unwrap_or(0);
        self.office.get(minute).copied().unwrap_or(true)
    }

    /// The first instant at or after `from_ms` at which offices are closed; `from_ms` where there is none.
    pub(crate) fn after_hours(&self, from_ms: i64) -> i64 {
        let from = usize::try_from((from_ms - self.start_ms) / MINUTE_MS).unwrap_or(0);
        match self.office.iter().enumerate().skip(from).find(|(_, office)| !**office) {
            Some((minute, _)) => from_ms.max(self.start_ms + minute as i64 * MINUTE_MS),
            None => from_ms,
        }
    }
}

fn local_hour(at_ms: i64, zone: &TimeZone) -> (usize, bool) {
    let Ok(at) = Instant::from_millisecond(at_ms) else { return (12, false) };
    let local = at.to_zoned(zone.clone());
    (usize::try_from(local.hour()).unwrap_or(0), local.weekday().to_monday_zero_offset() >= 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offices_open_and_close_and_weekends_have_no_hours() {
        // Friday 2026-03-06 and the weekend.
        let start = 1_772_755_200_000;
        let hours = |h: i64| start + h * 3_600_000;
        let profile = Profile::new(start, 72 * 3_600_000, Some(&TimeZone::UTC));
        assert!(profile.is_office(hours(12)) && !profile.is_office(hours(6)) && !profile.is_office(hours(36)));
        assert_eq!(profile.after_hours(hours(12)), hours(18));
        assert_eq!(profile.after_hours(hours(36) + 1), hours(36) + 1);
        assert_eq!(profile.end_ms(), hours(72));
        assert!(profile.instant(0.0) < hours(1) && profile.instant(0.999_999) < hours(72));
    }
}
