//! What the peaks of a rule say: how they are spread, what each threshold would have raised, and which ones to try.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::peaks::{Days, KeyPeaks, Peaks, day_text, of_week};
use super::scale::Scale;
use crate::event::{CustomerId, Names};
use crate::policy::{Levels, Policy};

/// Keys that are shown, the largest first, besides those that stand out.
const TOP_KEYS: usize = 5;
/// Keys that stand out; more are a rule whose key is not the right one.
const OUTLIERS: usize = 20;
/// Days on which a key must have been seen before it is said to stand out.
const OUTLIER_DAYS: usize = 3;

/// Keys whose own weeks are written, the largest; the others are held against all.
const USUAL_KEYS: usize = 1000;

/// The baseline of one rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RuleBaseline {
    pub(crate) rule: String,
    pub(crate) measure: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) per: Vec<String>,
    pub(crate) window: String,
    /// Where the rule is for some customers only, or a variant for one.
    pub(crate) customers: Option<Vec<String>>,
    pub(crate) keys: usize,
    /// Of the daily peaks of all keys.
    pub(crate) peaks: Option<Quantiles>,
    pub(crate) by_day: Vec<Day>,
    /// From Monday midnight: the mean, over the weeks, of the largest value of any key in that hour.
    pub(crate) by_hour_of_week: Vec<f64>,
    pub(crate) top_keys: Vec<Key>,
    /// What each threshold would have raised, the lowest first.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) suggested: Option<Suggestion>,
    /// Keys that gave way to others for want of room: values may be too small.
    pub(crate) evicted: u64,
    /// Its levels are held against what is usual: there is nothing to suggest.
    #[serde(skip)]
    pub(crate) is_of_usual: bool,
    #[serde(skip)]
    pub(crate) scale: Scale,
    #[serde(skip)]
    pub(crate) expected: Vec<Expected>,
}

/// The smallest values that so many of a hundred are no greater than.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) n: usize,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// The peaks of one day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Day {
    pub(crate) date: String,
    pub(crate) keys: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// A key that is large.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Key {
    pub(crate) customer: String,
    pub(crate) key: String,
    pub(crate) peaks: Quantiles,
    /// Of all peaks above the rule's p99.9.
    pub(crate) share_above: f64,
    /// Above the suggested level on most days: it needs levels of its own.
    pub(crate) stands_out: bool,
    pub(crate) suggested: Option<Suggestion>,
}

/// A threshold, and what it would have raised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Candidate {
    pub(crate) level: String,
    /// Where it comes from.
    pub(crate) what: String,
    pub(crate) value: f64,
    /// Days with at least one alarm.
    pub(crate) days: usize,
    pub(crate) keys: usize,
    /// Alarms, if each key raises one a day.
    pub(crate) key_days: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Suggestion {
    pub(crate) warning: String,
    pub(crate) critical: Option<String>,
    /// Where that of the rule would hold at the suggested warning.
    pub(crate) clear: Option<String>,
}

/// What is usual of a key, or of all of a customer's, in each hour of the week that had an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) customer: String,
    /// `None`: the largest of all keys.
    pub(crate) key: Option<String>,
    pub(crate) hours: BTreeMap<usize, f64>,
}

/// Peaks of one day of one key, in the unit of limits.
type Found<'a> = Vec<(&'a KeyPeaks, BTreeMap<i64, u64>)>;

impl RuleBaseline {
    pub(crate) fn of(
        index: usize,
        policy: &Policy,
        was: &Levels,
        peaks: &Peaks,
        days: &Days,
        names: &Names,
    ) -> RuleBaseline {
        let rule = &policy.thresholds[index];
        let scale = Scale::of(&rule.measure);
        let of_rule = &peaks.rules[index];
        let found: Found<'_> = of_rule
            .keys
            .iter()
            .map(|key| &peaks.keys[*key as usize])
            .map(|key| (key, key.by_day(days)))
            .filter(|(_, by_day)| !by_day.is_empty())
            .collect();
        let mut all: Vec<u64> = found.iter().flat_map(|(_, by_day)| by_day.values().copied()).collect();
        all.sort_unstable();
        // Levels of what is usual have their numbers in the file of it.
        let largest = if was.has_usual() { None } else { quantile(&all, 0.999) };
        let suggested = largest.and_then(|value| scale.suggest(value));
        let expected = expected(&found, days, &scale, names);
        RuleBaseline {
            rule: rule.id.clone(),
            measure: rule.measure.as_str(),
            unit: scale.unit(),
            per: policy
                .keys
                .get(rule.key)
                .map_or(Vec::new(), |spec| spec.parts.iter().map(|p| p.name.clone()).collect()),
            window: rule.window_text.clone(),
            customers: rule.concern.customers.as_ref().map(|customers| customers.to_vec()),
            keys: found.len(),
            peaks: quantiles(&all, &scale),
            by_day: by_day(&found, days, &scale),
            by_hour_of_week: week_of_all(found.iter().map(|(key, _)| *key), days, &scale),
            top_keys: top_keys(&found, &all, suggested.map(|(warning, _)| warning), &scale, names),
            candidates: candidates(&found, &all, was, suggested, &scale),
            suggested: suggested
                .map(|levels| Suggestion { clear: scale.clear(was, levels.0), ..scale.suggestion(levels) }),
            evicted: of_rule.evicted,
            is_of_usual: was.has_usual(),
            scale,
            expected,
        }
    }
}

/// The smallest of `sorted` that is no less than the share `q` of them.
pub(crate) fn quantile(sorted: &[u64], q: f64) -> Option<u64> {
    let rank = (q * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

fn quantiles(sorted: &[u64], scale: &Scale) -> Option<Quantiles> {
    let at = |q| quantile(sorted, q).map(|value| scale.shown(value));
    Some(Quantiles {
        n: sorted.len(),
        p50: at(0.5)?,
        p95: at(0.95)?,
        p99: at(0.99)?,
        p99_9: at(0.999)?,
        max: scale.shown(*sorted.last()?),
    })
}

fn by_day(found: &Found<'_>, days: &Days, scale: &Scale) -> Vec<Day> {
    let mut peaks: BTreeMap<i64, Vec<u64>> = days.kept.iter().map(|day| (*day, Vec::new())).collect();
    for (day, value) in found.iter().flat_map(|(_, by_day)| by_day) {
        peaks.entry(*day).or_default().push(*value);
    }
    let day = |(day, mut values): (i64, Vec<u64>)| {
        values.sort_unstable();
        let at = |q| quantile(&values, q).map_or(0.0, |value| scale.shown(value));
        Day { date: day_text(day), keys: values.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    };
    peaks.into_iter().map(day).collect()
}

fn key_text(key: &KeyPeaks) -> String {
    key.parts.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("|")
}

fn top_keys(found: &Found<'_>, all: &[u64], warning: Option<u64>, scale: &Scale, names: &Names) -> Vec<Key> {
    let edge = quantile(all, 0.999).unwrap_or(0);
    let n_above = all.iter().filter(|value| **value > edge).count();
    let mut keys: Vec<(u64, Key)> = Vec::new();
    for (key, by_day) in found {
        let mut values: Vec<u64> = by_day.values().copied().collect();
        values.sort_unstable();
        let (Some(peaks), Some(max)) = (quantiles(&values, scale), values.last().copied()) else { continue };
        let median = quantile(&values, 0.5).unwrap_or(0);
        let stands_out = values.len() >= OUTLIER_DAYS && warning.is_some_and(|warning| median >= warning);
        let above = values.iter().filter(|value| **value > edge).count();
        let suggested = if stands_out { quantile(&values, 0.999).and_then(|v| scale.suggest(v)) } else { None };
        let shown = Key {
            customer: names.customer_name(key.customer),
            key: key_text(key),
            peaks,
            share_above: above as f64 / n_above.max(1) as f64,
            stands_out,
            suggested: suggested.map(|levels| scale.suggestion(levels)),
        };
        keys.push((max, shown));
    }
    keys.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| (&x.customer, &x.key).cmp(&(&y.customer, &y.key))));
    let (mut n_top, mut n_out) = (0, 0);
    keys.retain(|(_, key)| {
        n_top += 1;
        n_out += usize::from(key.stands_out);
        n_top <= TOP_KEYS || key.stands_out && n_out <= OUTLIERS
    });
    keys.into_iter().map(|(_, key)| key).collect()
}

fn candidates(
    found: &Found<'_>,
    all: &[u64],
    was: &Levels,
    suggested: Option<(u64, Option<u64>)>,
    scale: &Scale,
) -> Vec<Candidate> {
    let mut values: Vec<(u64, String)> = Vec::new();
    let levels = [("now warning", &was.warning), ("now critical", &was.critical)];
    for (what, level) in levels.into_iter().filter_map(|(what, level)| Some((what, level.as_ref()?))) {
        if level.is_of_usual {
            continue;
        }
        let least = u64::try_from(level.smallest()).unwrap_or(u64::MAX);
        values.push((least, format!("{what} {}", level.text)));
    }
    for (what, q) in [("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        values.extend(quantile(all, q).map(|value| (scale.round_down(value), what.to_owned())));
    }
    if let Some((warning, critical)) = suggested {
        values.push((warning, "suggested warning, p99.9 x 1.25".to_owned()));
        values.extend(critical.map(|critical| (critical, "suggested critical".to_owned())));
    }
    let mut by_value: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    values.into_iter().for_each(|(value, what)| by_value.entry(value).or_default().push(what));
    let candidate = |(value, what): (u64, Vec<String>)| {
        let (mut days, mut keys, mut key_days) = (BTreeSet::new(), 0, 0);
        for (_, by_day) in found {
            let raised: Vec<i64> = by_day.iter().filter(|(_, peak)| **peak >= value).map(|(day, _)| *day).collect();
            keys += usize::from(!raised.is_empty());
            key_days += raised.len();
            days.extend(raised);
        }
        let level = format!(">= {}", scale.text(value));
        Candidate { level, what: what.join(", "), value: scale.shown(value), days: days.len(), keys, key_days }
    };
    by_value.into_iter().map(candidate).collect()
}

/// The largest value of any of the keys, hour by hour.
fn hours_of_all<'a>(keys: impl Iterator<Item = &'a KeyPeaks>, days: &Days) -> BTreeMap<i64, u64> {
    let mut largest: BTreeMap<i64, u64> = BTreeMap::new();
    for (hour, value) in keys.flat_map(|key| key.hours(days).collect::<Vec<_>>()) {
        let peak = largest.entry(hour).or_default();
        *peak = value.max(*peak);
    }
    largest
}

fn week_of_all<'a>(keys: impl Iterator<Item = &'a KeyPeaks>, days: &Days, scale: &Scale) -> Vec<f64> {
    let week = of_week(hours_of_all(keys, days).into_iter(), days);
    (0..7 * 24).map(|at| scale.shown_f64(week.get(&at).copied().unwrap_or(0.0))).collect()
}

/// What is usual: of all keys of each customer, then of each key.
fn expected(found: &Found<'_>, days: &Days, scale: &Scale, names: &Names) -> Vec<Expected> {
    let shown = |week: BTreeMap<usize, f64>| week.into_iter().map(|(at, v)| (at, scale.shown_f64(v))).collect();
    let mut expected = Vec::new();
    let customers: BTreeSet<CustomerId> = found.iter().map(|(key, _)| key.customer).collect();
    for customer in customers {
        let keys = found.iter().map(|(key, _)| *key).filter(|key| key.customer == customer);
        let hours = shown(of_week(hours_of_all(keys, days).into_iter(), days));
        expected.push(Expected { customer: names.customer_name(customer), key: None, hours });
    }
    let mut largest: Vec<(std::cmp::Reverse<Option<u64>>, &KeyPeaks)> =
        found.iter().map(|(key, by_day)| (std::cmp::Reverse(by_day.values().max().copied()), *key)).collect();
    largest.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| (x.customer, &x.parts).cmp(&(y.customer, &y.parts))));
    for (_, key) in largest.into_iter().take(USUAL_KEYS) {
        let hours = shown(of_week(key.hours(days), days));
        expected.push(Expected { customer: names.customer_name(key.customer), key: Some(key_text(key)), hours });
    }
    expected.sort_by(|a, b| (&a.customer, &a.key).cmp(&(&b.customer, &b.key)));
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let sorted: Vec<u64> = (1..=1000).collect();
        let at = |q| quantile(&sorted, q).unwrap();
        assert_eq!([at(0.5), at(0.95), at(0.99), at(0.999), at(1.0)], [500, 950, 990, 999, 1000]);
        assert_eq!((quantile(&[7], 0.5), quantile(&[7], 0.999), quantile(&[], 0.5)), (Some(7), Some(7), None));
        assert_eq!(quantile(&[1, 2, 3], 0.5), Some(2));
    }

    #[test]
    fn quantiles_are_those_of_a_count_by_hand() {
        let mut state = 5u64;
        let mut values: Vec<u64> = (0..777)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                (state >> 33) % 50
            })
            .collect();
        values.sort_unstable();
        for q in [0.5, 0.95, 0.99, 0.999, 1.0] {
            // The smallest value such that the share of those no greater is at least q.
            let brute = values
                .iter()
                .find(|v| values.iter().filter(|w| w <= v).count() as f64 >= q * values.len() as f64 - 1e-9)
                .copied();
            assert_eq!(quantile(&values, q), brute, "{q}");
        }
    }
}
