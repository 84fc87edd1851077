//! How long events take from the read that brought them to their verdict, over the last minute.
//!
//! A histogram a slot of [`SLOT_S`] seconds; the ring of slots is merged when somebody asks. Sum and count go on for the
//! life of the process, as Prometheus wants of a summary. A batch is one look at the clock and one `record_n`.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::clock::Clock;

const SLOT_S: u64 = 5;
const SLOTS: usize = 12;
/// Longer times are counted as this: whoever waits so long has given up.
const LONGEST_US: u64 = 100_000_000;
const QUANTILES: [(f64, &str); 5] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999"), (1.0, "1")];

/// Recorder and reader of the latency summary.
#[derive(Debug)]
pub struct Latency {
    name: &'static str,
    help: &'static str,
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Slot `n` of the process's life lies at `n % SLOTS`; in tenths of a microsecond.
    slots: Vec<(u64, Histogram<u64>)>,
    sum_s: f64,
    count: u64,
}

impl Latency {
    pub(super) fn new(name: &'static str, help: &'static str) -> Latency {
        let slot = |_| (0, Histogram::new_with_bounds(1, LONGEST_US * 10, 2).expect("the bounds are constants"));
        let inner = Inner { slots: (0..SLOTS).map(slot).collect(), sum_s: 0.0, count: 0 };
        Latency { name, help, started: Clock.monotonic(), inner: Mutex::new(inner) }
    }

    /// `n` events that took `took` each.
    pub fn record(&self, took: Duration, n: u64) {
        if n == 0 {
            return;
        }
        let now = self.slot_now();
        let tenths = (took.as_nanos() / 100).min(u128::from(LONGEST_US) * 10) as u64;
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.sum_s += took.as_secs_f64() * n as f64;
        inner.count += n;
        if let Some((number, histogram)) = inner.slots.get_mut(now as usize % SLOTS) {
            if *number != now {
                histogram.clear();
                *number = now;
            }
            histogram.saturating_record_n(tenths.max(1), n);
        }
    }

    fn slot_now(&self) -> u64 {
        Clock.monotonic().saturating_duration_since(self.started).as_secs() / SLOT_S
    }

    pub(super) fn render(&self, out: &mut String) {
        let now = self.slot_now();
        let inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        let mut merged = Histogram::<u64>::new_with_bounds(1, LONGEST_US * 10, 2).expect("the bounds are constants");
        for (_, slot) in inner.slots.iter().filter(|(number, _)| now - *number < SLOTS as u64) {
            // Same bounds, so it cannot fail; were it to, the summary would miss a slot.
            merged.add(slot).unwrap_or_default();
        }
        let Latency { name, help, .. } = self;
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} summary\n");
        for (quantile, label) in QUANTILES {
            // Before the first event there is nothing to tell: Prometheus writes that as NaN.
            let value =
                if merged.is_empty() { f64::NAN } else { merged.value_at_quantile(quantile) as f64 / 10_000_000.0 };
            writeln!(text, "{name}{{quantile=\"{label}\"}} {value}").unwrap_or_default();
        }
        writeln!(text, "{name}_sum {}\n{name}_count {}\n", inner.sum_s, inner.count).unwrap_or_default();
        out.push_str(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latency = Latency::new("ringfence_event_latency_seconds", "help");
        latency.record(Duration::from_micros(50), 99);
        latency.record(Duration::from_millis(2), 1);
        let mut text = String::new();
        latency.render(&mut text);
        let value = |label: &str| -> f64 {
            let line = text.lines().find(|l| l.contains(&format!("quantile=\"{label}\""))).expect("a line a quantile");
            line.rsplit(' ').next().expect("a value").parse().expect("a number")
        };
        assert!((value("0.5") - 50e-6).abs() < 1e-6);
        assert!((value("0.99") - 50e-6).abs() < 1e-6);
        assert!((value("1") - 2e-3).abs() < 3e-5);
        assert!(text.contains("_count 100"));
    }
}
