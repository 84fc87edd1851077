//! What tests show of the rules: which have a test, which were met, which fired.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::file::Test;
use super::stage::{Found, Play};
use crate::engine::RuleRef;
use crate::policy::coverage::Named;
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
    /// Tests that name it, of those that were read.
    pub(super) tests: u64,
    /// Some test of the rule set names it, whether it was read here or not.
    is_tested: bool,
    pub(super) met: Met,
}

/// How often a rule was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Events that it counted or that it decided.
    matched: u64,
    warning: u64,
    critical: u64,
}

/// Every rule of a set.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    rules: Vec<Covered>,
    /// Places in `rules`, by the index of each firewall rule; a rule may stand there more than once.
    firewall: Vec<usize>,
    thresholds: Vec<usize>,
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
        let mut coverage = Coverage::default();
        let mut places = HashMap::new();
        coverage.firewall = firewall.map(|rule| coverage.take(rule, &mut places)).collect();
        coverage.thresholds = thresholds.map(|rule| coverage.take(rule, &mut places)).collect();
        coverage
    }

    /// The place of a rule: its own, or that of another with its id.
    fn take(&mut self, rule: Covered, places: &mut HashMap<String, usize>) -> usize {
        if let Some(known) = places.get(&rule.id) {
            return *known;
        }
        places.insert(rule.id.clone(), self.rules.len());
        self.rules.push(rule);
        self.rules.len() - 1
    }

    fn place(&self, rule: RuleRef) -> Option<usize> {
        match rule {
            RuleRef::Firewall(i) => self.firewall.get(usize::from(i)).copied(),
            RuleRef::Threshold(i) => self.thresholds.get(usize::from(i)).copied(),
            RuleRef::Default | RuleRef::Emergency => None,
        }
    }

    /// Which rules have a test at all.
    pub(super) fn tested(&mut self, named: &Named) {
        for rule in &mut self.rules {
            rule.is_tested |= named.has(&rule.id, rule.flag.as_deref());
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

    /// How often a test met each rule, in the order in which they are kept here.
    pub(super) fn met(&self, play: &Play, found: &[Found]) -> Vec<Met> {
        let mut met = vec![Met::default(); self.rules.len()];
        let mut add = |rule: RuleRef, what: fn(&mut Met) -> &mut u64, n: u64| {
            if let Some(met) = self.place(rule).and_then(|at| met.get_mut(at)) {
                *what(met) += n;
            }
        };
        for counts in play.counts() {
            for (i, matched) in (0..).zip(&counts.firewall) {
                add(RuleRef::Firewall(i), |met| &mut met.matched, u64::from(*matched));
            }
            for counted in counts.rules.iter().filter(|counts| matches!(counts.rule, RuleRef::Threshold(_))) {
                add(counted.rule, |met| &mut met.matched, counted.counted);
            }
        }
        for violation in found {
            match violation.level {
                Severity::Warning => add(violation.rule, |met| &mut met.warning, 1),
                Severity::Critical => add(violation.rule, |met| &mut met.critical, 1),
            }
        }
        met
    }

    /// Adds what one test met.
    pub(super) fn add(&mut self, met: &[Met]) {
        for (rule, more) in self.rules.iter_mut().zip(met) {
            rule.met.matched += more.matched;
            rule.met.warning += more.warning;
            rule.met.critical += more.critical;
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
        self.ordered().into_iter().filter(|rule| !rule.is_tested).map(|rule| rule.id.as_str()).collect()
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
                rule.met.matched,
                level(rule.has_warning, rule.met.warning),
                level(rule.has_critical, rule.met.critical),
                rule.remark()
            );
            out.push_str(line.trim_end());
            out.push('\n');
        }
        let n_tested = rules.iter().filter(|rule| rule.is_tested).count();
        out.push_str(&format!("{n_tested} of {} rules have a test\n", rules.len()));
        out
    }

    pub(super) fn json(&self) -> Value {
        let rule = |rule: &Covered| {
            json!({
                "rule": rule.id,
                "tests": rule.tests,
                "matched": rule.met.matched,
                "warning": rule.has_warning.then_some(rule.met.warning),
                "critical": rule.has_critical.then_some(rule.met.critical),
            })
        };
        self.ordered().into_iter().map(rule).collect()
    }
}

impl Covered {
    /// What is not shown of it yet.
    fn remark(&self) -> String {
        if self.met.matched == 0 {
            return if !self.is_tested { "no test, never matched" } else { "never matched" }.to_owned();
        }
        let mut says = Vec::new();
        if !self.is_tested {
            says.push("no test");
        }
        if self.has_warning && self.met.warning == 0 {
            says.push("warning never fired");
        }
        if self.has_critical && self.met.critical == 0 {
            says.push("critical never fired");
        }
        says.join(", ")
    }
}
