//! `--output summary`: one object for the whole input.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::engine::{Judged, RuleRef, output};
use crate::event::{CallEvent, Kind};
use crate::policy::{Action, Policy, Severity};

/// What it says.
pub(super) struct Summary {
    pub(super) events: u64,
    attempts: u64,
    first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    rejects: BTreeMap<&'static str, u64>,
    duplicates: u64,
    verdicts: [u64; Action::ALL.len()],
    firewall: Vec<RuleSummary>,
    thresholds: Vec<RuleSummary>,
}

#[derive(Clone, Copy, Debug, Default)]
struct RuleSummary {
    matched: u64,
    late: u64,
    too_late: u64,
    warning: u64,
    critical: u64,
    keys: i64,
    evicted: u64,
}

impl RuleSummary {
    fn add(&mut self, other: &RuleSummary) {
        self.matched += other.matched;
        self.late += other.late;
        self.too_late += other.too_late;
        self.warning += other.warning;
        self.critical += other.critical;
        self.keys += other.keys;
        self.evicted += other.evicted;
    }
}

impl Summary {
    pub(super) fn new(policy: &Policy) -> Summary {
        Summary {
            events: 0,
            attempts: 0,
            first: None,
            last: None,
            rejects: BTreeMap::new(),
            duplicates: 0,
            verdicts: [0; Action::ALL.len()],
            firewall: vec![RuleSummary::default(); policy.firewall.len()],
            thresholds: vec![RuleSummary::default(); policy.thresholds.len()],
        }
    }

    fn rule(&mut self, rule: RuleRef) -> Option<&mut RuleSummary> {
        match rule {
            RuleRef::Firewall(i) => self.firewall.get_mut(i as usize),
            RuleRef::Threshold(i) => self.thresholds.get_mut(i as usize),
            RuleRef::Default | RuleRef::Emergency => None,
        }
    }

    pub(super) fn add(&mut self, judged: &Judged, whole: bool) {
        self.events += judged.batch.events.len() as u64;
        let last = judged.batch.events.iter().map(|e| e.time).max();
        self.last = self.last.max(last);
        if !whole {
            return;
        }
        let starts = |e: &&CallEvent| matches!(e.kind, Kind::Attempt | Kind::Cdr);
        self.attempts += judged.batch.events.iter().filter(starts).count() as u64;
        let first = judged.batch.events.iter().map(|e| e.time).min();
        self.first = [self.first, first].into_iter().flatten().min();
        for reject in &judged.batch.rejects {
            *self.rejects.entry(reject.reason.as_str()).or_default() += 1;
        }
        self.duplicates += u64::from(judged.duplicates);
        for verdict in &judged.verdicts {
            self.verdicts[verdict.action as usize] += 1;
        }
        for (rule, matched) in self.firewall.iter_mut().zip(&judged.counts.firewall) {
            rule.matched += u64::from(*matched);
        }
        for counts in &judged.counts.rules {
            let is_threshold = matches!(counts.rule, RuleRef::Threshold(_));
            if let Some(rule) = self.rule(counts.rule) {
                if is_threshold {
                    rule.matched += counts.counted;
                    rule.late += counts.late;
                    rule.too_late += counts.too_late;
                }
                rule.keys += counts.keys;
                rule.evicted += counts.evicted;
            }
        }
        for violation in &judged.violations {
            if let Some(rule) = self.rule(violation.rule) {
                match violation.level {
                    Severity::Warning => rule.warning += 1,
                    Severity::Critical => rule.critical += 1,
                }
            }
        }
    }

    pub(super) fn to_json(&self, policy: &Policy) -> serde_json::Value {
        let verdicts: serde_json::Map<String, serde_json::Value> = Action::ALL
            .iter()
            .filter(|action| **action != Action::Flag)
            .map(|action| (action.as_str().to_owned(), self.verdicts[*action as usize].into()))
            .collect();
        let rules = self.firewall.iter().enumerate().map(|(i, r)| (RuleRef::Firewall(i as u16), r));
        let rules = rules.chain(self.thresholds.iter().enumerate().map(|(i, r)| (RuleRef::Threshold(i as u16), r)));
        // A rule and its variants for customers are one rule to people.
        let mut by_id: Vec<(&str, RuleSummary)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (rule, counts) in rules {
            let id = output::rule_id(policy, rule);
            let place = *places.entry(id).or_insert_with(|| {
                by_id.push((id, RuleSummary::default()));
                by_id.len() - 1
            });
            by_id[place].1.add(counts);
        }
        let mut told = serde_json::Map::new();
        for (id, counts) in by_id {
            told.insert(
                id.to_owned(),
                serde_json::json!({
                    "matched": counts.matched,
                    "warning": counts.warning,
                    "critical": counts.critical,
                    "keys": counts.keys,
                    "evicted": counts.evicted,
                }),
            );
        }
        let sum = |of: fn(&RuleSummary) -> u64| -> u64 { self.thresholds.iter().map(of).sum() };
        serde_json::json!({
            "events": self.events,
            "attempts": self.attempts,
            "first": self.first.map(|t| t.to_string()),
            "last": self.last.map(|t| t.to_string()),
            "rejects": self.rejects,
            "late": sum(|r| r.late),
            "too_late": sum(|r| r.too_late),
            "duplicates": self.duplicates,
            "verdicts": verdicts,
            "rules": told,
        })
    }
}
