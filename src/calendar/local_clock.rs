//! The wall clock of a zone, fast where events of one hour come one after another.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::tz::TimeZone;

use super::{DAY_MS, MINUTE_MS};
use crate::clock::Timestamp;

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

    /// When the wall clock is next set forward or back, after the instant; `None` where it never is again.
    pub(super) fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        if Self::COVERED.contains(&at.0) {
            let index = self.offsets.partition_point(|(from, _)| *from <= at.0);
            if let Some((from, _)) = self.offsets.get(index) {
                return Some(Timestamp(*from));
            }
        }
        let start = jiff::Timestamp::from_millisecond(at.0).ok()?;
        // The zone tells whole seconds: what it says may lie in the second that has begun.
        let mut changes = self.zone.following(start).map(|change| change.timestamp().as_millisecond());
        changes.find(|change| *change > at.0).map(Timestamp)
    }

    pub(super) fn offset_ms(&self, at: Timestamp) -> i64 {
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

#[cfg(test)]
mod tests {
    use super::*;

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
