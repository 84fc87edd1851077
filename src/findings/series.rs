//! Counts over time: what came, and what the rule made of it in its window.
//!
//! The value is that of the rule's own sliding window, computed anew from the events; only of measures that add up.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::tally::{Call, Hit};
use super::watch::Rule;
use crate::clock::Timestamp;
use crate::event::Field;
use crate::limits::FINDINGS_BUCKETS_MAX;
use crate::policy::{Level, Measure};

/// Widths that people read easily, in ms.
const WIDTHS_MS: [i64; 17] = [
    1_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
];

/// A stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    pub at: Timestamp,
    /// Calls that began in it: let through, and turned away.
    pub passed: u64,
    pub blocked: u64,
    /// The highest the rule's value was in it.
    pub value: Option<f64>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    pub bucket_ms: i64,
    pub points: Vec<Point>,
    /// Whose value it is: the rule and the key of most violations.
    pub rule: String,
    pub key: String,
    /// `calls`, `different numbers`, `minutes`; empty where the rule's measure does not add up.
    pub unit: String,
    pub window: String,
    pub warning: Option<f64>,
    pub critical: Option<f64>,
    /// The highest of all.
    pub peak: Option<f64>,
}

/// How high other keys of the same rule came, and the incident's own before it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Peaks {
    pub keys: u64,
    pub median: f64,
    /// One key in a hundred came higher.
    pub p99: f64,
    pub highest: f64,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// How the values of a rule are counted and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Count,
    Distinct,
    /// Of milliseconds, shown as minutes.
    Minutes,
    /// Of 1/10,000, shown as money.
    Money,
}

/// What can be computed anew of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    pub(super) kind: Kind,
    pub(super) window_ms: i64,
}

impl Meter {
    pub(super) fn of(rule: Rule<'_>) -> Option<Meter> {
        let Rule::Threshold(rule) = rule else { return None };
        let kind = match &rule.measure {
            Measure::Count => Kind::Count,
            Measure::Distinct(_) => Kind::Distinct,
            Measure::Sum(Field::Cost) => Kind::Money,
            Measure::Sum(_) => Kind::Minutes,
            _ => return None,
        };
        Some(Meter { kind, window_ms: rule.window_ms })
    }

    pub(super) fn unit(self, is_request: bool) -> &'static str {
        match self.kind {
            Kind::Count if is_request => "attempts",
            Kind::Count => "calls",
            Kind::Distinct => "different values",
            Kind::Minutes => "minutes",
            Kind::Money => "cost",
        }
    }

    pub(super) fn shown(self, value: u64) -> f64 {
        match self.kind {
            Kind::Count | Kind::Distinct => value as f64,
            Kind::Minutes => value as f64 / 60_000.0,
            Kind::Money => value as f64 / 10_000.0,
        }
    }

    pub(super) fn level(self, level: Option<&Level>) -> Option<f64> {
        level.map(|level| self.shown(u64::try_from(level.smallest()).unwrap_or(u64::MAX)))
    }
}

/// A rule's sliding window: events with `time > now - window` count.
struct Sliding {
    meter: Meter,
    inside: VecDeque<(i64, u64)>,
    sum: u64,
    values: HashMap<u64, u32>,
}

impl Sliding {
    fn new(meter: Meter) -> Sliding {
        Sliding { meter, inside: VecDeque::new(), sum: 0, values: HashMap::new() }
    }

    fn pass(&mut self, now: i64) {
        while let Some((time, value)) = self.inside.front().copied() {
            if time > now.saturating_sub(self.meter.window_ms) {
                return;
            }
            self.inside.pop_front();
            self.sum = self.sum.saturating_sub(value);
            if let Some(n) = self.values.get_mut(&value) {
                *n -= 1;
                if *n == 0 {
                    self.values.remove(&value);
                }
            }
        }
    }

    fn take(&mut self, time: i64, value: u64) {
        self.pass(time);
        self.inside.push_back((time, value));
        match self.meter.kind {
            Kind::Distinct => *self.values.entry(value).or_default() += 1,
            _ => self.sum = self.sum.saturating_add(value),
        }
    }

    fn value(&self) -> u64 {
        match self.meter.kind {
            Kind::Count => self.inside.len() as u64,
            Kind::Distinct => self.values.len() as u64,
            Kind::Minutes | Kind::Money => self.sum,
        }
    }
}

/// The highest value of some events of one key, in order of time.
pub(super) fn peak<'h>(meter: Meter, hits: impl Iterator<Item = &'h Hit>) -> u64 {
    let mut sliding = Sliding::new(meter);
    let mut highest = 0;
    for hit in hits {
        sliding.take(hit.time, hit.value);
        highest = highest.max(sliding.value());
    }
    highest
}

/// Buckets of calls, without values.
pub(super) fn buckets(calls: &[Call], from: Timestamp, to: Timestamp) -> Series {
    let span = (to.0 - from.0).max(1);
    let width = WIDTHS_MS.into_iter().find(|width| span / width < FINDINGS_BUCKETS_MAX as i64 - 1);
    let width = width.unwrap_or_else(|| (span / (FINDINGS_BUCKETS_MAX as i64 - 1)).max(1));
    let start = from.0.div_euclid(width) * width;
    let n = ((to.0 - start) / width + 1).clamp(1, FINDINGS_BUCKETS_MAX as i64);
    let point = |i: i64| Point { at: Timestamp(start + i * width), ..Point::default() };
    let mut points: Vec<Point> = (0..n).map(point).collect();
    for call in calls {
        let at = usize::try_from((call.time.0 - start).div_euclid(width)).unwrap_or(0);
        let last = points.len() - 1;
        if let Some(point) = points.get_mut(at.min(last)) {
            point.passed += u64::from(call.blocked_by.is_none());
            point.blocked += u64::from(call.blocked_by.is_some());
        }
    }
    Series { bucket_ms: width, points, ..Series::default() }
}

/// The values of one key, from its events in order of time, into the buckets.
pub(super) fn values<'h>(series: &mut Series, meter: Meter, hits: impl Iterator<Item = &'h Hit>) {
    let mut sliding = Sliding::new(meter);
    let mut hits = hits.peekable();
    let mut highest = 0;
    for point in &mut series.points {
        let (start, end) = (point.at.0, point.at.0 + series.bucket_ms);
        while let Some(hit) = hits.next_if(|hit| hit.time < start) {
            sliding.take(hit.time, hit.value);
        }
        sliding.pass(start);
        let mut most = sliding.value();
        while let Some(hit) = hits.next_if(|hit| hit.time < end) {
            sliding.take(hit.time, hit.value);
            most = most.max(sliding.value());
        }
        highest = highest.max(most);
        point.value = Some(meter.shown(most));
    }
    series.peak = Some(meter.shown(highest));
}

/// The peaks of keys, from lowest to highest, as a few numbers.
pub(super) fn peaks(meter: Meter, mut peaks: Vec<u64>, from: Timestamp, to: Timestamp) -> Option<Peaks> {
    peaks.sort_unstable();
    let highest = *peaks.last()?;
    let n = peaks.len();
    // The smallest that so many percent of all do not exceed.
    let at = |percent: usize| peaks.get((n * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(highest);
    let (median, p99) = (meter.shown(at(50)), meter.shown(at(99)));
    Some(Peaks { keys: n as u64, median, p99, highest: meter.shown(highest), from, to })
}
