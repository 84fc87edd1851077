//! How far event time has come, by the connections: what ticks may close.
//!
//! A connection that is alive and silent has told everything up to now, less its feed's delay. One that is sending
//! history has told everything only up to what it has sent, and one that has just been made may be about to: gateways
//! come back with what they kept while they were away, or while the service was. For as long as gateways take to come
//! back, time does not pass what they had told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::clock::{Clock, Timestamp};
use crate::event::Batch;
use crate::limits::GATEWAY_RETURN_MS;

/// A connection that received something within this, or its feed's delay, counts as sending.
const SENDING_MS: i64 = 5_000;

/// The clocks of all open connections. One per service.
#[derive(Debug)]
pub struct Clocks {
    open: Mutex<Open>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Open {
    readings: HashMap<u64, Arc<Reading>>,
    /// What a gateway that went had told, and when it went.
    left: Option<Left>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    reached: Timestamp,
    at: Timestamp,
    /// It was the service that went: not one gateway has to come back but all of them.
    all: bool,
}

#[derive(Debug)]
struct Reading {
    delay_ms: i64,
    received_at: AtomicI64,
    /// When it last received something that gave events, as far as that is applied.
    told_at: AtomicI64,
    /// Blocks that were received and are not applied.
    n_open: AtomicI64,
    newest: AtomicI64,
}

/// One open connection's clock; gone with it.
#[derive(Debug)]
pub(super) struct FeedClock {
    clocks: Arc<Clocks>,
    id: u64,
    reading: Arc<Reading>,
}

impl Clocks {
    /// `resumed`: gateways were connected to the process before, and come back to this one.
    pub fn new(now: Timestamp, resumed: bool) -> Clocks {
        let left = resumed.then_some(Left { reached: Timestamp::MIN, at: now, all: true });
        let open = Open { readings: HashMap::new(), left };
        Clocks { open: Mutex::new(open), next_id: AtomicU64::new(0) }
    }

    /// For what nobody sends: it holds no time back.
    pub(super) fn aside(self: &Arc<Clocks>, delay_ms: i64) -> FeedClock {
        let clock = self.open(delay_ms);
        self.open.lock().unwrap_or_else(|e| e.into_inner()).readings.remove(&clock.id);
        clock
    }

    pub(super) fn open(self: &Arc<Clocks>, delay_ms: i64) -> FeedClock {
        self.open_at(delay_ms, Clock.now())
    }

    fn open_at(self: &Arc<Clocks>, delay_ms: i64, now: Timestamp) -> FeedClock {
        let at = |time: Timestamp| AtomicI64::new(time.0);
        let (received_at, told_at, newest) = (at(now), at(now), at(Timestamp::MIN));
        let reading = Reading { delay_ms, received_at, told_at, n_open: AtomicI64::new(0), newest };
        let reading = Arc::new(reading);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(|e| e.into_inner()).readings.insert(id, Arc::clone(&reading));
        FeedClock { clocks: Arc::clone(self), id, reading }
    }

    /// Event time that all connections have reached; `now` less `lateness_ms` where there is none.
    pub fn reached(&self, now: Timestamp, lateness_ms: i64) -> Timestamp {
        let open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        let reached = open.readings.values().map(|r| r.reached(now)).min();
        let reached = reached.unwrap_or_else(|| now.minus_ms(lateness_ms));
        match open.left {
            Some(left) if left.holds(&open.readings, now) => reached.min(left.reached),
            _ => reached,
        }
    }

    fn close_at(&self, id: u64, now: Timestamp) {
        let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        let Open { readings, left } = &mut *open;
        let Some(gone) = readings.remove(&id) else { return };
        let newest = Timestamp(gone.newest.load(Ordering::Relaxed));
        let is_held = left.is_some_and(|left| left.all && left.holds(readings, now));
        if newest > Timestamp::MIN && !is_held {
            *left = Some(Left { reached: gone.reached(now).min(newest), at: now, all: false });
        }
    }
}

impl Left {
    fn holds(&self, readings: &HashMap<u64, Arc<Reading>>, now: Timestamp) -> bool {
        let is_back = |reading: &Arc<Reading>| reading.newest.load(Ordering::Relaxed) >= self.reached.0;
        let in_time = now.0.saturating_sub(self.at.0) <= GATEWAY_RETURN_MS;
        in_time && (self.all || !readings.values().any(is_back))
    }
}

impl Reading {
    fn reached(&self, now: Timestamp) -> Timestamp {
        let told = now.minus_ms(self.delay_ms);
        // What gives no events tells no time, and must not hold that of others back: media reports, keep-alives.
        let since = if self.n_open.load(Ordering::Relaxed) > 0 { &self.received_at } else { &self.told_at };
        let silent_ms = now.0.saturating_sub(since.load(Ordering::Relaxed));
        if silent_ms > self.delay_ms.max(SENDING_MS) {
            return told;
        }
        told.min(Timestamp(self.newest.load(Ordering::Relaxed)))
    }
}

impl FeedClock {
    /// Something came in. Until it is applied, nothing of it is reached.
    pub(super) fn received(&self, at: Timestamp) {
        self.reading.n_open.fetch_add(1, Ordering::Relaxed);
        self.reading.received_at.store(at.0, Ordering::Relaxed);
    }

    /// What was received at `at` is applied.
    pub(super) fn applied(&self, batch: &Batch, at: Timestamp) -> Option<Timestamp> {
        let newest = batch.events.iter().map(|e| e.time).max();
        if let Some(newest) = newest {
            self.reading.newest.fetch_max(newest.0, Ordering::Relaxed);
            self.reading.told_at.fetch_max(at.0, Ordering::Relaxed);
        }
        self.reading.n_open.fetch_sub(1, Ordering::Relaxed);
        newest
    }
}

impl Drop for FeedClock {
    fn drop(&mut self) {
        self.clocks.close_at(self.id, Clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CallEvent;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn batch(time: Timestamp) -> Batch {
        Batch { events: vec![CallEvent { time, ..CallEvent::BLANK }], ..Batch::default() }
    }

    #[test]
    fn the_slowest_connection_decides_and_none_leaves_the_lateness() {
        let clocks = Arc::new(Clocks::new(NOW, false));
        assert_eq!(clocks.reached(NOW, 5_000), NOW.minus_ms(5_000));
        let live = clocks.open_at(5_000, NOW);
        assert_eq!(clocks.reached(NOW, 5_000), Timestamp::MIN, "it may bring what happened while it was away");
        let later = NOW.plus_ms(900_001);
        let files = clocks.open_at(900_000, NOW);
        assert_eq!(clocks.reached(later, 5_000), later.minus_ms(900_000));
        clocks.close_at(files.id, later);
        assert_eq!(clocks.reached(later, 5_000), later.minus_ms(5_000));
        live.applied(&batch(NOW), NOW);
        clocks.close_at(live.id, later);
        assert_eq!(clocks.reached(later.plus_ms(GATEWAY_RETURN_MS), 5_000), NOW, "as far as was told");
        let alone = later.plus_ms(GATEWAY_RETURN_MS + 1);
        assert_eq!(clocks.reached(alone, 5_000), alone.minus_ms(5_000));
    }

    #[test]
    fn a_gateway_that_comes_back_lets_time_go_on_and_after_a_restart_all_are_waited_for() {
        let clocks = Arc::new(Clocks::new(NOW, false));
        let probe = clocks.open_at(5_000, NOW);
        clocks.close_at(probe.id, NOW);
        let later = NOW.plus_ms(10_000);
        assert_eq!(clocks.reached(later, 5_000), later.minus_ms(5_000), "who told nothing is not waited for");
        let gone = clocks.open_at(5_000, NOW);
        gone.applied(&batch(NOW), NOW);
        clocks.close_at(gone.id, later);
        let back = clocks.open_at(5_000, later);
        back.applied(&batch(later.plus_ms(1)), later.plus_ms(1));
        assert_eq!(clocks.reached(later.plus_ms(20_000), 5_000), later.plus_ms(15_000));

        let clocks = Arc::new(Clocks::new(NOW, true));
        let back = clocks.open_at(5_000, NOW);
        back.applied(&batch(NOW), NOW);
        assert_eq!(clocks.reached(NOW.plus_ms(GATEWAY_RETURN_MS), 5_000), Timestamp::MIN);
        let on = NOW.plus_ms(GATEWAY_RETURN_MS + 1);
        assert_eq!(clocks.reached(on, 5_000), on.minus_ms(5_000));
    }

    #[test]
    fn history_being_sent_holds_time_back_until_it_falls_silent() {
        let clocks = Arc::new(Clocks::new(NOW, false));
        let clock = clocks.open_at(1_000, NOW);
        let old = NOW.minus_ms(86_400_000);
        clock.received(NOW);
        assert_eq!(clocks.reached(NOW, 5_000), Timestamp::MIN, "nothing of it is applied yet");
        clock.applied(&batch(old), NOW);
        assert_eq!(clocks.reached(NOW, 5_000), old);
        assert_eq!(clocks.reached(NOW.plus_ms(5_000), 5_000), old);
        assert_eq!(clocks.reached(NOW.plus_ms(5_001), 5_000), NOW.plus_ms(4_001));
    }

    #[test]
    fn what_gives_no_events_holds_no_time_back_once_it_is_applied() {
        let clocks = Arc::new(Clocks::new(NOW, false));
        let clock = clocks.open_at(1_000, NOW.minus_ms(SENDING_MS + 1));
        for _ in 0..3 {
            clock.received(NOW);
            assert_eq!(clocks.reached(NOW, 5_000), Timestamp::MIN, "it may hold anything yet");
            clock.applied(&Batch::default(), NOW);
            assert_eq!(clocks.reached(NOW, 5_000), NOW.minus_ms(1_000));
        }
    }
}
