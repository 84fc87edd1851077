//! The largest value of each key in each hour of the rules' clock: all that a baseline is made of.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::engine::{Engine, Judged, Observation, RuleRef};
use crate::event::{CustomerId, Flags, Kind};
use crate::limits::BASELINE_KEY_HOURS_MAX;
use crate::policy::measure::Unit;
use crate::policy::{Level, Policy, ThresholdRule};

/// Collects what windows showed.
#[derive(Debug)]
pub(crate) struct Peaks {
    hours: Hours,
    /// By rule, in the order of the policy.
    pub(crate) rules: Vec<RulePeaks>,
    known: HashMap<(u16, u64), u32>,
    pub(crate) keys: Vec<KeyPeaks>,
    n_key_hours: usize,
    /// There was more than there is room for.
    pub(crate) is_full: bool,
    /// By day of the local clock.
    calls: BTreeMap<i64, u64>,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
}

/// What concerns all keys of a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct RulePeaks {
    pub(crate) keys: Vec<u32>,
    /// Keys that gave way to others: their values are too small.
    pub(crate) evicted: u64,
}

/// One key of one rule.
#[derive(Debug)]
pub(crate) struct KeyPeaks {
    pub(crate) customer: CustomerId,
    pub(crate) parts: Vec<(String, String)>,
    /// Hour since 1970 of the local clock, and the largest value in it, in the order of time.
    pub(crate) hours: Vec<(i64, u64)>,
}

impl Peaks {
    pub(crate) fn new(policy: &Policy) -> Peaks {
        Peaks {
            hours: Hours { zone: policy.time_zone.clone(), known: None },
            rules: vec![RulePeaks::default(); policy.thresholds.len()],
            known: HashMap::new(),
            keys: Vec::new(),
            n_key_hours: 0,
            is_full: false,
            calls: BTreeMap::new(),
            first: None,
            last: None,
        }
    }

    pub(crate) fn take(&mut self, judged: &Judged, engine: &Engine) {
        let times = || judged.batch.events.iter().map(|event| event.time);
        self.first = [self.first, times().min()].into_iter().flatten().min();
        self.last = self.last.max(times().max());
        let seen = Flags(Flags::REPEATED.0 | Flags::DUPLICATE.0);
        let is_call = |kind| matches!(kind, Kind::Attempt | Kind::Cdr);
        for call in judged.batch.events.iter().filter(|e| is_call(e.kind) && !e.flags.has(seen)) {
            *self.calls.entry(self.hours.of(call.time).div_euclid(24)).or_default() += 1;
        }
        for counts in &judged.counts.rules {
            if let RuleRef::Threshold(rule) = counts.rule
                && let Some(rule) = self.rules.get_mut(usize::from(rule))
            {
                rule.evicted += counts.evicted;
            }
        }
        for seen in &judged.observed {
            self.add(seen, judged, engine);
        }
    }

    fn add(&mut self, seen: &Observation, judged: &Judged, engine: &Engine) {
        let RuleRef::Threshold(rule) = seen.rule else { return };
        let Some(of) = judged.policy.thresholds.get(usize::from(rule)) else { return };
        // What is counted under `(other)` is no key's value.
        if !seen.counts || seen.other {
            return;
        }
        let hour = self.hours.of(seen.time);
        let key = match self.known.get(&(rule, seen.key)) {
            Some(key) => *key,
            None => self.meet(rule, seen, judged, engine),
        };
        let value = value(of, seen);
        let hours = &mut self.keys[key as usize].hours;
        // Nearly always the last hour or a new one; a late event may be of one before.
        let at = match hours.last() {
            Some((last, _)) if *last == hour => hours.len() - 1,
            Some((last, _)) if *last > hour => hours.partition_point(|(known, _)| *known < hour),
            _ => hours.len(),
        };
        match hours.get_mut(at) {
            Some((known, peak)) if *known == hour => *peak = value.max(*peak),
            _ if self.n_key_hours >= BASELINE_KEY_HOURS_MAX => self.is_full = true,
            _ => {
                hours.insert(at, (hour, value));
                self.n_key_hours += 1;
            }
        }
    }

    fn meet(&mut self, rule: u16, seen: &Observation, judged: &Judged, engine: &Engine) -> u32 {
        let key = self.keys.len() as u32;
        let event = judged.batch.events.get(seen.event as usize);
        let customer = event.map(|event| event.customer).unwrap_or_default();
        self.keys.push(KeyPeaks { customer, parts: engine.key_of(&judged.batch, seen), hours: Vec::new() });
        self.known.insert((rule, seen.key), key);
        self.rules[usize::from(rule)].keys.push(key);
        key
    }

    /// Calls of the days that count.
    pub(crate) fn calls(&self, days: &Days) -> u64 {
        self.calls.iter().filter(|(day, _)| days.has(**day)).map(|(_, calls)| calls).sum()
    }

    /// Days from the first event to the last, both included.
    pub(crate) fn days(&mut self) -> Option<(i64, i64)> {
        let (first, last) = (self.first?, self.last?);
        Some((self.hours.of(first).div_euclid(24), self.hours.of(last).div_euclid(24)))
    }
}

/// In the unit of the rule's limits, a share in parts of [`Level::SHARE_SCALE`].
fn value(rule: &ThresholdRule, seen: &Observation) -> u64 {
    let (top, bottom) = (u128::from(seen.top), u128::from(seen.bottom.max(1)));
    let scaled = match rule.measure.unit() {
        Unit::Percent => top * Level::SHARE_SCALE as u128 / bottom,
        _ => (top + bottom / 2) / bottom,
    };
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The hours of a local clock. Neighbouring events are of one hour, which is looked up once.
#[derive(Debug)]
struct Hours {
    zone: TimeZone,
    known: Option<(i64, i64, i64)>,
}

const QUARTER_MS: i64 = 15 * 60_000;

impl Hours {
    /// Counted from the midnight that began 1970-01-01; an hour that a clock shows twice is one.
    fn of(&mut self, time: Timestamp) -> i64 {
        if let Some((from, until, hour)) = self.known
            && (from..until).contains(&time.0)
        {
            return hour;
        }
        let Ok(instant) = jiff::Timestamp::from_millisecond(time.0) else { return 0 };
        let local = instant.to_zoned(self.zone.clone());
        let hour = day_number(local.date()) * 24 + i64::from(local.hour());
        let into = (i64::from(local.minute()) * 60 + i64::from(local.second())) * 1000
            + i64::from(local.subsec_nanosecond()) / 1_000_000;
        // Offsets change on the quarter of an hour at the soonest.
        let from = time.0 - into.rem_euclid(QUARTER_MS);
        self.known = Some((from, from + QUARTER_MS, hour));
        hour
    }
}

/// Days since 1970-01-01.
pub(crate) fn day_number(date: Date) -> i64 {
    crate::clock::days_from_civil(i64::from(date.year()), date.month() as u32, date.day() as u32)
}

/// `2026-03-02`.
pub(crate) fn day_text(day: i64) -> String {
    let (year, month, day) = crate::clock::civil_from_days(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// 0 for Monday.
pub(crate) fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

/// The days that count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Days {
    /// In order.
    pub(crate) kept: Vec<i64>,
    /// Of those in between.
    pub(crate) left_out: Vec<i64>,
}

impl Days {
    /// The last `n` from `first` to `last`, without those of the spans.
    pub(crate) fn choose((first, last): (i64, i64), n: Option<u32>, spans: &[(i64, i64)]) -> Days {
        let first = n.map_or(first, |n| first.max(last - i64::from(n) + 1));
        let is_out = |day: &i64| spans.iter().any(|(from, to)| (from..=to).contains(&day));
        let (left_out, kept) = (first..=last).partition(is_out);
        Days { kept, left_out }
    }

    pub(crate) fn has(&self, day: i64) -> bool {
        self.kept.binary_search(&day).is_ok()
    }

    /// How often each day of the week is among them.
    pub(crate) fn of_week(&self) -> [u32; 7] {
        let mut n = [0; 7];
        self.kept.iter().for_each(|day| n[weekday(*day)] += 1);
        n
    }
}

impl KeyPeaks {
    /// Of the days that count: the hours.
    pub(crate) fn hours<'a>(&'a self, days: &'a Days) -> impl Iterator<Item = (i64, u64)> + 'a {
        self.hours.iter().copied().filter(|(hour, _)| days.has(hour.div_euclid(24)))
    }

    /// Of the days that count: the largest value of each.
    pub(crate) fn by_day(&self, days: &Days) -> BTreeMap<i64, u64> {
        let mut peaks = BTreeMap::new();
        for (hour, value) in self.hours(days) {
            let peak: &mut u64 = peaks.entry(hour.div_euclid(24)).or_default();
            *peak = value.max(*peak);
        }
        peaks
    }
}

/// By hour of the week, from Monday midnight: the mean, over the weeks, of the largest value in that hour. An hour
/// without an event counts as 0.
pub(crate) fn of_week(hours: impl Iterator<Item = (i64, u64)>, days: &Days) -> BTreeMap<usize, f64> {
    let n = days.of_week();
    let mut sums: BTreeMap<usize, u128> = BTreeMap::new();
    for (hour, value) in hours {
        let at = weekday(hour.div_euclid(24)) * 24 + hour.rem_euclid(24) as usize;
        *sums.entry(at).or_default() += u128::from(value);
    }
    sums.into_iter().map(|(at, sum)| (at, sum as f64 / f64::from(n[at / 24].max(1)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_the_local_clock_also_where_it_is_changed() {
        let mut hours = Hours { zone: TimeZone::get("Europe/Stockholm").unwrap(), known: None };
        let mut at = |text: &str| hours.of(Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()));
        let day = |text: &str| day_number(text.parse().unwrap()) * 24;
        assert_eq!(at("2026-03-02T22:59:59.999Z"), day("2026-03-02") + 23);
        assert_eq!(at("2026-03-02T23:00:00Z"), day("2026-03-03"));
        // Clocks go from 2 to 3, and in autumn from 3 back to 2.
        assert_eq!(at("2026-03-29T00:59:00Z"), day("2026-03-29") + 1);
        assert_eq!(at("2026-03-29T01:00:00Z"), day("2026-03-29") + 3);
        assert_eq!(at("2026-10-25T00:30:00Z"), day("2026-10-25") + 2);
        assert_eq!(at("2026-10-25T01:30:00Z"), day("2026-10-25") + 2);
        assert_eq!(at("2026-03-29T00:59:00Z"), day("2026-03-29") + 1, "a late event finds its own hour");
        assert_eq!(day_text(day_number("2026-03-02".parse().unwrap())), "2026-03-02");
        assert_eq!(weekday(day_number("2026-03-02".parse().unwrap())), 0);
    }

    #[test]
    fn days_are_the_last_ones_without_those_left_out() {
        let days = Days::choose((100, 110), Some(5), &[(108, 109), (90, 91)]);
        assert_eq!(days, Days { kept: vec![106, 107, 110], left_out: vec![108, 109] });
        assert!(days.has(107) && !days.has(108) && !days.has(105));
    }

    #[test]
    fn a_week_is_the_mean_of_its_hours_and_quiet_hours_are_zero() {
        let monday = day_number("2026-03-02".parse().unwrap());
        let days = Days::choose((monday, monday + 13), None, &[]);
        let hours = [(monday * 24 + 9, 10), ((monday + 7) * 24 + 9, 5), ((monday + 6) * 24 + 23, 7)];
        assert_eq!(of_week(hours.into_iter(), &days), BTreeMap::from([(9, 7.5), (6 * 24 + 23, 3.5)]));
    }
}
