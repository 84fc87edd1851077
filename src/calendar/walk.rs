//! Reckoning with business time: what is open from when to when, and what follows from it.
//!
//! Everything here goes over instants in order and reads the local clock at each change, so a day that is an hour
//! longer or shorter needs no case of its own. Every search has an end; where it finds nothing the answer is `None`.

use super::{Calendar, DAY_MINUTES, DAY_MS, MINUTE_MS};
use crate::clock::Timestamp;
use crate::limits::{CALENDAR_REACH_DAYS_MAX, CALENDAR_SEARCH_DAYS_MAX};

/// No zone's clock is further from UTC.
const OFFSET_MS_MAX: i64 = 26 * 60 * MINUTE_MS;

/// A time in which nothing opens or closes: `from <= t < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) is_open: bool,
}

/// The hours that start on one day, as instants: the first opening and the last close, breaks included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceDay {
    /// Day number on the local clock.
    pub day: i64,
    pub opens: Timestamp,
    pub ends: Timestamp,
}

impl Calendar {
    /// The first open instant at or after this one.
    pub fn next_open(&self, at: Timestamp) -> Option<Timestamp> {
        let end = at.plus_ms(CALENDAR_SEARCH_DAYS_MAX * DAY_MS);
        self.walk(at, end).find(|s| s.is_open).map(|s| s.from)
    }

    /// The instant at which so much open time has passed. Where it is closed, it starts at the next opening; what is
    /// used up exactly at a close ends there, not at the opening after it. Nothing is added where `ms` is negative.
    pub fn add(&self, at: Timestamp, ms: i64) -> Option<Timestamp> {
        let mut left = ms.max(0);
        let mut closed_since = at;
        for stretch in self.walk(at, at.plus_ms(CALENDAR_REACH_DAYS_MAX * DAY_MS)) {
            if !stretch.is_open {
                if stretch.to.0.saturating_sub(closed_since.0) > CALENDAR_SEARCH_DAYS_MAX * DAY_MS {
                    return None;
                }
                continue;
            }
            let room = stretch.to.0 - stretch.from.0;
            if left <= room {
                return Some(stretch.from.plus_ms(left));
            }
            left -= room;
            closed_since = stretch.to;
        }
        None
    }

    /// How much open time lies between the two, in ms; nothing where the second is not the later one.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> i64 {
        self.walk(from, to).filter(|s| s.is_open).map(|s| s.to.0 - s.from.0).sum()
    }

    /// The hours that start on the day. A day without any is none, and so is one whose only hours the clock skips.
    pub fn service_day(&self, day: i64) -> Option<ServiceDay> {
        let midnight = day.checked_mul(DAY_MS)?;
        let mut found: Option<ServiceDay> = None;
        for hours in self.hours_on(day) {
            let from = midnight.saturating_add(i64::from(hours.from) * MINUTE_MS);
            let to = midnight.saturating_add(i64::from(hours.to) * MINUTE_MS);
            self.read_as(from, to, |opens, ends| {
                let sofar = found.unwrap_or(ServiceDay { day, opens, ends });
                found = Some(ServiceDay { day, opens: opens.min(sofar.opens), ends: ends.max(sofar.ends) });
            });
        }
        found
    }

    /// The end of the service day whose hours hold the instant; `None` where it is closed. Hours over midnight belong
    /// to the day they start on; where those of two days overlap it is the end of the later.
    pub fn end_of_service_day(&self, at: Timestamp) -> Option<Timestamp> {
        let (day, minute) = self.local.day_and_minute(at);
        let candidates = [(day, minute), (day - 1, minute + DAY_MINUTES)];
        let holding = candidates.into_iter().filter(|(day, minute)| self.day_has(*day, *minute));
        holding.filter_map(|(day, _)| self.service_day(day)).map(|s| s.ends).max()
    }

    /// The end of the service day that is open at this instant or, where none is, of the one that opens next. After a
    /// break within a day, that is the day which goes on.
    pub fn end_of_first_service_day(&self, at: Timestamp) -> Option<Timestamp> {
        self.end_of_service_day(self.next_open(at)?)
    }

    /// The end of the first service day after the date of the instant on the local clock, whatever that date itself is.
    pub fn end_of_next_service_day(&self, at: Timestamp) -> Option<Timestamp> {
        let (today, _) = self.local.day_and_minute(at);
        (1..=CALENDAR_SEARCH_DAYS_MAX).find_map(|n| self.service_day(today + n)).map(|s| s.ends)
    }

    /// Open and closed from `from` on, up to `to`, without a gap. Neighbours may be alike: they are cut at midnights
    /// and where the clock is set as well.
    pub(super) fn walk(&self, from: Timestamp, to: Timestamp) -> Walk<'_> {
        let inside = |t: Timestamp| t.clamp(Timestamp::MIN, Timestamp::MAX);
        Walk { calendar: self, at: inside(from), end: inside(to) }
    }

    fn stretch(&self, at: Timestamp) -> Stretch {
        let local_ms = self.local.local_ms(at);
        let day = local_ms.div_euclid(DAY_MS);
        let passed = local_ms.rem_euclid(DAY_MS);
        let (mut closes, mut opens) = (None, DAY_MS);
        for (shift, day) in [(0, day), (DAY_MS, day - 1)] {
            for hours in self.hours_on(day) {
                let from = i64::from(hours.from) * MINUTE_MS - shift;
                let to = i64::from(hours.to) * MINUTE_MS - shift;
                if from <= passed && passed < to {
                    closes = closes.max(Some(to));
                } else if from > passed {
                    opens = opens.min(from);
                }
            }
        }
        let next = at.plus_ms(closes.unwrap_or(opens) - passed);
        let to = self.local.next_change(at).map_or(next, |change| next.min(change));
        Stretch { from: at, to, is_open: closes.is_some() }
    }

    /// Calls with every stretch of instants at which the local clock reads `from <= local < to`: none where the clock
    /// skips it, two where it shows it twice.
    fn read_as(&self, from: i64, to: i64, mut found: impl FnMut(Timestamp, Timestamp)) {
        let mut at = Timestamp(from.saturating_sub(OFFSET_MS_MAX));
        let end = Timestamp(to.saturating_add(OFFSET_MS_MAX));
        while at < end {
            let offset = self.local.offset_ms(at);
            let until = self.local.next_change(at).map_or(end, |change| change.min(end));
            let opens = at.max(Timestamp(from.saturating_sub(offset)));
            let ends = until.min(Timestamp(to.saturating_sub(offset)));
            if opens < ends {
                found(opens, ends);
            }
            at = until;
        }
    }
}

/// See [`Calendar::walk`].
pub(super) struct Walk<'a> {
    calendar: &'a Calendar,
    at: Timestamp,
    end: Timestamp,
}

impl Iterator for Walk<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        if self.at >= self.end {
            return None;
        }
        let stretch = self.calendar.stretch(self.at);
        let to = stretch.to.min(self.end);
        self.at = to;
        Some(Stretch { to, ..stretch })
    }
}
