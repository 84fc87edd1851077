//! How much a rule can come to hold, before the first event: what its keys cost at their level, times the keys it
//! may have, and never more than its `max_bytes`.

use super::{Measure, Policy, ThresholdRule};
use crate::limits::{EXACT_ITEMS_MAX, RUN_NUMBERS_MAX};

/// A key with its episode and its place in the table, before what it measures.
const KEY_BYTES: u64 = 48;
/// A time.
const TIME_BYTES: u64 = 4;
/// A value with the time it was last seen.
const SEEN_BYTES: u64 = 16;
/// A time and an amount.
const AMOUNT_BYTES: u64 = 12;
/// A Call-ID, as the call table and the key hold it.
const CALL_BYTES: u64 = 64;

impl ThresholdRule {
    /// Bytes the rule's state can come to, at most.
    pub fn memory_bytes_max(&self) -> u64 {
        let also: u64 = self.also.iter().map(|also| self.held_bytes_max(&also.measure, also.level.enough())).sum();
        let held = self.held_bytes_max(&self.measure, self.levels.enough()).saturating_add(also);
        self.max_keys.saturating_mul(KEY_BYTES.saturating_add(held)).min(self.max_bytes)
    }

    /// Of one key, for one measure.
    fn held_bytes_max(&self, measure: &Measure, level: u64) -> u64 {
        let exact = level.min(EXACT_ITEMS_MAX as u64);
        match measure {
            Measure::Count => level.saturating_mul(TIME_BYTES),
            Measure::Distinct(_) => exact * SEEN_BYTES,
            Measure::FirstSeen(..) => EXACT_ITEMS_MAX as u64 * SEEN_BYTES,
            Measure::Sum(_) | Measure::Avg(_) => EXACT_ITEMS_MAX as u64 * AMOUNT_BYTES,
            Measure::Share(_) => EXACT_ITEMS_MAX as u64 * TIME_BYTES,
            Measure::Run(..) => RUN_NUMBERS_MAX as u64 * SEEN_BYTES,
            Measure::Concurrent => level.saturating_mul(CALL_BYTES),
            // However many calls are up.
            Measure::Longest => self.max_bytes,
        }
    }
}

impl Policy {
    /// [`ThresholdRule::memory_bytes_max`] of all rules together.
    pub fn memory_bytes_max(&self) -> u64 {
        self.thresholds.iter().fold(0u64, |sum, rule| sum.saturating_add(rule.memory_bytes_max()))
    }

    /// Thresholds, the one that may hold most first.
    pub fn largest(&self) -> Vec<&ThresholdRule> {
        let mut rules: Vec<_> = self.thresholds.iter().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.memory_bytes_max()));
        rules
    }
}

/// `1.5 GiB`
pub fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let name = UNITS.get(unit).copied().unwrap_or("bytes");
    if unit == 0 || value.fract() == 0.0 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, RuleSource, load};
    use super::*;

    fn bytes(measure: &str, rest: &str) -> u64 {
        let rules = format!(
            "ringfence = 1\ndefault_action = \"allow\"\n[[threshold]]\nid = \"a\"\non = \"end\"\nmeasure = \"{measure}\"\n\
             per = [\"caller\"]\nwindow = \"1h\"\n{rest}\n"
        );
        let loaded = load(&RuleSource::memory([("ruleset.toml", rules)]), LoadOptions::default());
        loaded.policy.unwrap().memory_bytes_max()
    }

    #[test]
    fn a_rule_holds_what_its_level_asks_for_each_key_and_no_more_than_its_bound() {
        assert_eq!(bytes("count", "warning = \">= 3\"\ncritical = \">= 10\"\nmax_keys = 1000"), 1000 * (48 + 40));
        assert_eq!(bytes("distinct(callee)", "warning = \"> 9\"\nmax_keys = 10"), 10 * (48 + 160));
        assert_eq!(bytes("sum(duration)", "warning = \">= 1h\""), 1 << 30);
        assert_eq!(bytes("sum(duration)", "warning = \">= 1h\"\nmax_bytes = 1000000"), 1_000_000);
    }

    #[test]
    fn bytes_are_told_in_words() {
        assert_eq!(in_words(0), "0 bytes");
        assert_eq!(in_words(1024), "1 KiB");
        assert_eq!(in_words(3 << 29), "1.5 GiB");
        assert_eq!(in_words(u64::MAX), "16777216 TiB");
    }
}
