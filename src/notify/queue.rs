//! A bounded queue from the engine to one sink that never makes the engine wait.
//!
//! Full, it gives up its oldest entries and counts them: whoever reads late wants to know what is, not what was, and a
//! stuck disk or web server must not hold up verdicts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::metrics::ChannelMetrics;

#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    wake: Notify,
    weight_max: usize,
    metrics: Arc<ChannelMetrics>,
}

#[derive(Debug)]
struct Inner<T> {
    entries: VecDeque<Entry<T>>,
    weight: usize,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub item: T,
    weight: usize,
    /// Messages the item stands for.
    count: u64,
    pub since: Instant,
}

impl<T> Queue<T> {
    /// Holds items of a summed weight of `weight_max`, in whatever unit [`Queue::push`] is told.
    pub(super) fn new(weight_max: usize, metrics: Arc<ChannelMetrics>) -> Queue<T> {
        metrics.capacity.set(weight_max as f64);
        let inner = Inner { entries: VecDeque::new(), weight: 0, closed: false };
        Queue { inner: Mutex::new(inner), wake: Notify::new(), weight_max, metrics }
    }

    /// Never waits. An item heavier than the whole queue takes its place alone.
    pub(super) fn push(&self, item: T, weight: usize, count: u64) {
        let mut inner = self.lock();
        while inner.weight + weight > self.weight_max {
            let Some(oldest) = inner.entries.pop_front() else { break };
            inner.weight -= oldest.weight;
            self.metrics.dropped.increment(oldest.count);
        }
        inner.weight += weight;
        inner.entries.push_back(Entry { item, weight, count, since: Clock.monotonic() });
        self.metrics.depth.set(inner.weight as f64);
        drop(inner);
        self.wake.notify_one();
    }

    /// Waits for an item and takes up to `n_max`; none once the queue is closed and empty. One reader only.
    pub(super) async fn take(&self, n_max: usize) -> Vec<Entry<T>> {
        loop {
            {
                let mut inner = self.lock();
                if !inner.entries.is_empty() {
                    let n = n_max.min(inner.entries.len());
                    let taken: Vec<_> = inner.entries.drain(..n).collect();
                    inner.weight -= taken.iter().map(|e| e.weight).sum::<usize>();
                    self.metrics.depth.set(inner.weight as f64);
                    return taken;
                }
                if inner.closed {
                    return Vec::new();
                }
            }
            self.wake.notified().await;
        }
    }

    /// No more will come; the reader ends when it has taken what is there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Age of the oldest entry.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.lock().entries.front().map(|e| Clock.monotonic().saturating_duration_since(e.since))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Labels, Metrics};

    fn channel() -> (Metrics, Arc<ChannelMetrics>) {
        let metrics = Metrics::new(&Labels { channels: vec!["test".into()], ..Labels::default() });
        let channel = metrics.channel("test");
        (metrics, channel)
    }

    #[tokio::test]
    async fn a_full_queue_gives_up_its_oldest_and_counts_them() {
        let (metrics, channel) = channel();
        let queue = Queue::new(3, channel);
        for n in 0..5 {
            queue.push(n, 1, 1);
        }
        let taken: Vec<i32> = queue.take(10).await.into_iter().map(|e| e.item).collect();
        assert_eq!(taken, [2, 3, 4]);
        assert!(metrics.render().contains("ringfence_deliveries_total{channel=\"test\",outcome=\"dropped\"} 2"));
    }

    #[tokio::test]
    async fn a_closed_queue_gives_what_it_holds_and_then_ends() {
        let queue = Queue::new(3, channel().1);
        queue.push("last words", 1, 1);
        queue.close();
        assert_eq!(queue.take(10).await.len(), 1);
        assert!(queue.take(10).await.is_empty());
    }
}
