//! How far event time has come, by the connections: what ticks may close.
//!
//! A connection that is alive and silent has told everything up to now, less its feed's delay. One that is sending
//! history has told everything only up to what it has sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::clock::Timestamp;
use crate::event::Batch;

/// A connection that received something within this, or its feed's delay, counts as sending.
const SENDING_MS: i64 = 5_000;

/// The clocks of all open connections. One per service.
#[derive(Debug, Default)]
pub struct Clocks {
    open: Mutex<HashMap<u64, Arc<Reading>>>,
    next_id: AtomicU64,
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
    pub(super) fn open(self: &Arc<Clocks>, delay_ms: i64) -> FeedClock {
        let never = || AtomicI64::new(Timestamp::MIN.0);
        let (received_at, told_at, newest) = (never(), never(), never());
        let reading = Reading { delay_ms, received_at, told_at, n_open: AtomicI64::new(0), newest };
        let reading = Arc::new(reading);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(|e| e.into_inner()).insert(id, Arc::clone(&reading));
        FeedClock { clocks: Arc::clone(self), id, reading }
    }

    /// Event time that all connections have reached; `now` less `lateness_ms` where there is none.
    pub fn reached(&self, now: Timestamp, lateness_ms: i64) -> Timestamp {
        let open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        open.values().map(|r| r.reached(now)).min().unwrap_or_else(|| now.minus_ms(lateness_ms))
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
        self.clocks.open.lock().unwrap_or_else(|e| e.into_inner()).remove(&self.id);
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
        let clocks = Arc::new(Clocks::default());
        assert_eq!(clocks.reached(NOW, 5_000), NOW.minus_ms(5_000));
        let _live = clocks.open(5_000);
        let files = clocks.open(900_000);
        assert_eq!(clocks.reached(NOW, 5_000), NOW.minus_ms(900_000));
        drop(files);
        assert_eq!(clocks.reached(NOW, 5_000), NOW.minus_ms(5_000));
    }

    #[test]
    fn history_being_sent_holds_time_back_until_it_falls_silent() {
        let clocks = Arc::new(Clocks::default());
        let clock = clocks.open(1_000);
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
        let clocks = Arc::new(Clocks::default());
        let clock = clocks.open(1_000);
        for _ in 0..3 {
            clock.received(NOW);
            assert_eq!(clocks.reached(NOW, 5_000), Timestamp::MIN, "it may hold anything yet");
            clock.applied(&Batch::default(), NOW);
            assert_eq!(clocks.reached(NOW, 5_000), NOW.minus_ms(1_000));
        }
    }
}
