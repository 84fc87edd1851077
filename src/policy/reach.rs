//! Finds firewall rules that can never decide, because one above them takes every event they would match.
//!
//! Sound, not complete: a rule is told only where every test of one above it is also a test of its own. Tests are
//! compared as compiled, so spelling and order do not matter.

use std::collections::BTreeSet;
use std::ops::Range;

use super::problem::Problem;
use super::{Action, FirewallRule, Mode, Predicate};

/// Rules are compared each with each; past this many that would be felt.
const RULES_MAX: usize = 2000;

/// Where a firewall rule stands, by its place among the compiled ones.
pub(crate) struct RulePlace {
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
}

/// Notes each rule that can never match, beside the rule that takes its events.
pub(crate) fn check(rules: &[FirewallRule], places: &[RulePlace], problems: &mut Vec<Problem>) {
    if rules.len() > RULES_MAX {
        return;
    }
    let tests: Vec<BTreeSet<String>> = rules.iter().map(|rule| conjuncts(&rule.when)).collect();
    let all = || rules.iter().zip(&tests).zip(places);
    for (index, ((rule, own), place)) in all().enumerate() {
        let above = all().take(index).find(|((above, theirs), _)| {
            let decides = above.mode == Mode::Enforce && above.action != Action::Flag;
            decides && above.on == rule.on && theirs.is_subset(own) && above.concern.covers(&rule.concern)
        });
        let Some(((above, _), first)) = above else { continue };
        let problem = Problem::warning("W101", format!("{} can never match", rule.id));
        let problem = problem.at(&place.path, place.span.clone()).note(format!(
            "{} ({}line {}) already decides every event that this rule would match",
            above.id,
            if first.path == place.path { String::new() } else { format!("{} ", first.path) },
            first.line,
        ));
        problems.push(if above.action == rule.action {
            problem.help("take it out, or move it above")
        } else {
            problem.note(format!(
                "the actions differ ({} comes before {}): move {} above {}",
                above.action.as_str(),
                rule.action.as_str(),
                rule.id,
                above.id
            ))
        });
    }
}

/// The tests that must all hold, as compiled.
fn conjuncts(when: &Predicate) -> BTreeSet<String> {
    match when {
        Predicate::Always => BTreeSet::new(),
        Predicate::All(all) => all.iter().flat_map(conjuncts).collect(),
        one => BTreeSet::from([format!("{one:?}")]),
    }
}
