//! What each rule counts. Rules come and go while the service runs; their series stay.

use metrics::{Counter, Gauge, counter, gauge};

use super::add;

/// The rules that are in force at one time.
#[derive(Debug)]
pub struct RulesMetrics {
    /// Firewall rules, then thresholds, each with its id.
    rules: Vec<(String, RuleMetrics)>,
    n_firewall: usize,
}

#[derive(Debug)]
pub struct RuleMetrics {
    pub matches: Counter,
    /// By level.
    violations: Vec<Counter>,
    pub keys: Gauge,
    pub evictions: Counter,
    pub late: Counter,
    pub too_late: Counter,
    /// Blocks that a full or forbidden list did not take.
    pub refused: Counter,
    pub bytes: Gauge,
}

impl RuleMetrics {
    pub fn violation(&self, level: usize) {
        add(self.violations.get(level), 1);
    }
}

impl RulesMetrics {
    pub(super) fn register<'a>(
        firewall: impl Iterator<Item = &'a str>,
        thresholds: impl Iterator<Item = &'a str>,
        levels: &[&'static str],
    ) -> RulesMetrics {
        let one = |id: &str| (id.to_owned(), rule(id, levels));
        let mut rules: Vec<(String, RuleMetrics)> = firewall.map(one).collect();
        let n_firewall = rules.len();
        rules.extend(thresholds.map(one));
        RulesMetrics { rules, n_firewall }
    }

    pub fn firewall(&self, index: usize) -> Option<&RuleMetrics> {
        self.rules.get(..self.n_firewall)?.get(index).map(|(_, metrics)| metrics)
    }

    pub fn threshold(&self, index: usize) -> Option<&RuleMetrics> {
        self.rules.get(self.n_firewall..)?.get(index).map(|(_, metrics)| metrics)
    }

    /// Of those that are not among the others any more, and of these.
    pub(super) fn hold_nothing(&self, others: &RulesMetrics, begins_anew: &[&str]) {
        let stays = |id: &str| others.rules.iter().any(|(other, _)| other == id) && !begins_anew.contains(&id);
        for (_, metrics) in self.rules.iter().filter(|(id, _)| !stays(id)) {
            metrics.keys.set(0.0);
            metrics.bytes.set(0.0);
        }
    }
}

fn rule(id: &str, levels: &[&'static str]) -> RuleMetrics {
    let violations =
        |level: &&'static str| counter!("ringfence_violations_total", "rule" => id.to_owned(), "level" => *level);
    RuleMetrics {
        matches: counter!("ringfence_rule_matches_total", "rule" => id.to_owned()),
        violations: levels.iter().map(violations).collect(),
        keys: gauge!("ringfence_rule_keys", "rule" => id.to_owned()),
        evictions: counter!("ringfence_rule_evictions_total", "rule" => id.to_owned()),
        late: counter!("ringfence_rule_late_total", "rule" => id.to_owned()),
        too_late: counter!("ringfence_rule_too_late_total", "rule" => id.to_owned()),
        refused: counter!("ringfence_rule_blocks_refused_total", "rule" => id.to_owned()),
        bytes: gauge!("ringfence_rule_bytes", "rule" => id.to_owned()),
    }
}
