//! What tests show of the rules: which have a test, which were met, which fired.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::file::Test;
use super::stage::{Found, Play};
use crate::engine::RuleRef;
use crate::policy::{Policy, Severity};

/// One rule, over all tests of its set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) id: String,
    position: u32,
    has_warning: bool,
    has_critical: bool,
    /// What a firewall rule marks calls with.
    flag: Option<String>,
    /// Tests that name it.
    pub(super) tests: u64,
    /// Events that it counted or that it decided.
    pub(super) matched: u64,
    pub(super) warning: u64,
    pub(super) critical: u64,
}

/// Every rule of a set, firewall rules first until they are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    rules: Vec<Covered>,
    n_firewall: usize,
}

impl Coverage {
    pub(super) fn new(policy: &Policy) -> Coverage {
        let firewall = policy.firewall.iter().map(|rule| Covered {
            id: rule.id.clone(),
            position: rule.position,
            has_warning: rule.track == Some(Severity::Warning),
            has_critical: rule.track == Some(Severity::Critical),
            flag: rule.flag.clone(),
            ..Covered::default()
        });
        let thresholds = policy.thresholds.iter().map(|rule| Covered {
            id: rule.id.clone(),
            position: rule.position,
            has_warning: rule.levels.warning.is_some(),
            has_critical: rule.levels.critical.is_some(),
            ..Covered::default()
        });
        Coverage { rules: firewall.chain(thresholds).collect(), n_firewall: policy.firewall.len() }
    }

    fn rule(&mut self, rule: RuleRef) -> Option<&mut Covered> {
        match rule {
            RuleRef::Firewall(i) => self.rules.get_mut(usize::from(i)),
            RuleRef::Threshold(i) => self.rules.get_mut(self.n_firewall + usize::from(i)),
            RuleRef::Default | RuleRef::Emergency => None,
        }
    }

    /// Every test that is there counts as a test of the rules it names, whether it is played or not.
    pub(super) fn name(&mut self, tests: &[Test]) {
        for test in tests {
            let expected = test.expect.iter().map(|expected| expected.rule.as_str());
            let deciding = test.calls.iter().filter_map(|call| call.by.as_deref());
            let watched = test.rules.iter().flatten().map(String::as_str);
            let named: HashSet<&str> = expected.chain(deciding).chain(watched).collect();
            let flags: HashSet<&str> =
                test.calls.iter().flat_map(|call| call.flags.iter().flatten()).map(String::as_str).collect();
            for rule in &mut self.rules {
                let is_named =
                    named.contains(rule.id.as_str()) || rule.flag.as_deref().is_some_and(|f| flags.contains(f));
                rule.tests += u64::from(is_named);
            }
        }
    }

    /// Adds what came of a test.
    pub(super) fn add(&mut self, play: &Play, found: &[Found]) {
        for counts in play.counts() {
            for (rule, matched) in self.rules.iter_mut().zip(&counts.firewall) {
                rule.matched += u64::from(*matched);
            }
            for counted in counts.rules.iter().filter(|counts| matches!(counts.rule, RuleRef::Threshold(_))) {
                if let Some(rule) = self.rule(counted.rule) {
                    rule.matched += counted.counted;
                }
            }
        }
        for violation in found {
            if let Some(rule) = self.rule(violation.rule) {
                match violation.level {
                    Severity::Warning => rule.warning += 1,
                    Severity::Critical => rule.critical += 1,
                }
            }
        }
    }

    /// Adds up two parts of one set.
    pub(super) fn merge(&mut self, other: &Coverage) {
        for (rule, more) in self.rules.iter_mut().zip(&other.rules) {
            rule.tests += more.tests;
            rule.matched += more.matched;
            rule.warning += more.warning;
            rule.critical += more.critical;
        }
    }

    /// In evaluation order.
    fn ordered(&self) -> Vec<&Covered> {
        let mut rules: Vec<&Covered> = self.rules.iter().collect();
        rules.sort_by_key(|rule| rule.position);
        rules
    }

    /// Ids of the rules that no test names, in evaluation order.
    pub(super) fn untested(&self) -> Vec<&str> {
        self.ordered().into_iter().filter(|rule| rule.tests == 0).map(|rule| rule.id.as_str()).collect()
    }

    /// A table for people.
    pub(super) fn text(&self) -> String {
        let rules = self.ordered();
        let width = rules.iter().map(|rule| rule.id.chars().count()).max().unwrap_or(0).max(4);
        let mut out = format!("{:width$}  tests  matched  warning  critical\n", "rule");
        for rule in &rules {
            let level = |has: bool, n: u64| if has { n.to_string() } else { "-".to_owned() };
            let line = format!(
                "{:width$}  {:>5}  {:>7}  {:>7}  {:>8}  {}",
                rule.id,
                rule.tests,
                rule.matched,
                level(rule.has_warning, rule.warning),
                level(rule.has_critical, rule.critical),
                rule.remark()
            );
            out.push_str(line.trim_end());
            out.push('\n');
        }
        let n_tested = rules.iter().filter(|rule| rule.tests > 0).count();
        out.push_str(&format!("{n_tested} of {} rules have a test\n", rules.len()));
        out
    }

    pub(super) fn json(&self) -> Value {
        let rule = |rule: &Covered| {
            json!({
                "rule": rule.id,
                "tests": rule.tests,
                "matched": rule.matched,
                "warning": rule.has_warning.then_some(rule.warning),
                "critical": rule.has_critical.then_some(rule.critical),
            })
        };
        self.ordered().into_iter().map(rule).collect()
    }
}

impl Covered {
    /// What is not shown of it yet.
    fn remark(&self) -> String {
        if self.matched == 0 {
            return if self.tests == 0 { "no test, never matched" } else { "never matched" }.to_owned();
        }
        let mut says = Vec::new();
        if self.tests == 0 {
            says.push("no test");
        }
        if self.has_warning && self.warning == 0 {
            says.push("warning never fired");
        }
        if self.has_critical && self.critical == 0 {
            says.push("critical never fired");
        }
        says.join(", ")
    }
}
