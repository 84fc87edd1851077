//! A clock for what people wait for: it never goes back, and where the machine's is set back it goes on, at half the pace,
//! until that has caught up. Deadlines come later then, but they come.

use std::time::Instant;

use crate::clock::{Clock, Timestamp};

/// See the module.
#[derive(Debug)]
pub(crate) struct Steady {
    told: Timestamp,
    at: Instant,
}

impl Steady {
    pub(crate) fn new() -> Steady {
        Steady { told: Clock.now(), at: Clock.monotonic() }
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        self.tell(Clock.now(), Clock.monotonic())
    }

    fn tell(&mut self, wall: Timestamp, monotonic: Instant) -> Timestamp {
        let passed = monotonic.saturating_duration_since(self.at);
        let half_ms = i64::try_from(passed.as_millis() / 2).unwrap_or(i64::MAX);
        let next = wall.max(self.told.plus_ms(half_ms));
        if next > self.told {
            (self.told, self.at) = (next, monotonic);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_by_an_hour_stops_nothing_and_is_caught_up_with() {
        let at = Instant::now();
        let mut steady = Steady { told: Timestamp(10_000_000), at };
        let after = |s: u64| at + Duration::from_secs(s);
        assert_eq!(steady.tell(Timestamp(10_060_000), after(60)), Timestamp(10_060_000));
        // Set back by an hour.
        assert_eq!(steady.tell(Timestamp(6_520_000), after(120)), Timestamp(10_090_000));
        for second in 121..=7_400 {
            steady.tell(Timestamp(6_400_000 + second * 1000), after(second as u64));
        }
        assert_eq!(steady.tell(Timestamp(6_400_000 + 7_400_000), after(7_400)), Timestamp(13_800_000));
    }
}
