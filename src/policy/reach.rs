//! Finds firewall rules that can never decide: because rules above them take every event they would match, or because
//! their own tests exclude each other.
//!
//! Sound, not complete: nothing is told of a rule that some event could reach. Conditions are compared as compiled
//! ([`cover`]), so spelling and order do not matter, and by what their sets hold.

mod cover;
mod numbers;
mod spans;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::cover::{Cases, Condition, Names};
use super::problem::Problem;
use super::{Action, FirewallRule, Mode, On};

/// Rules are compared each with each; past this many that would be felt.
const RULES_MAX: usize = 2000;
/// Rules above that are tried together; past this many only one by one.
const TOGETHER_MAX: usize = 200;

/// Where a firewall rule stands, by its place among the compiled ones.
pub(crate) struct RulePlace {
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
}

/// Notes each rule that can never match, beside the rules that take its events.
pub(crate) fn check(rules: &[FirewallRule], places: &[RulePlace], problems: &mut Vec<Problem>) {
    if rules.len() > RULES_MAX {
        return;
    }
    let mut names = Names::default();
    let conditions: Vec<Condition> = rules.iter().map(|rule| Condition::of(&rule.when, &mut names)).collect();
    for (index, ((rule, own), place)) in rules.iter().zip(&conditions).zip(places).enumerate() {
        let never = |note: String| {
            let problem = Problem::warning("W101", format!("{} can never match", rule.id));
            problem.at(&place.path, place.span.clone()).note(note)
        };
        let own = Cases::of(own);
        if own.are_none() {
            let problem = never("its own tests exclude each other: no event passes all of them".to_owned());
            problems.push(problem.help("look for an `and` that should be an `or`"));
            continue;
        }
        let above: Vec<usize> =
            (0..index).filter(|i| rules.get(*i).is_some_and(|above| decides(above, rule))).collect();
        let taken = takers(&own, &above, &conditions);
        let Some(first) = taken.first().and_then(|i| rules.get(*i)) else { continue };
        let named: Vec<String> = taken
            .iter()
            .filter_map(|i| Some((rules.get(*i)?, places.get(*i)?)))
            .map(|(above, at)| {
                let file = if at.path == place.path { String::new() } else { format!("{} ", at.path) };
                format!("{} ({file}line {})", above.id, at.line)
            })
            .collect();
        let decide = if named.len() == 1 { "already decides" } else { "together already decide" };
        let problem = never(format!("{} {decide} every event that this rule would match", named.join(" and ")));
        let differs = taken.iter().filter_map(|i| rules.get(*i)).find(|above| above.action != rule.action);
        problems.push(match differs {
            None => problem.help("take it out, or move it above"),
            Some(other) => problem.note(format!(
                "the actions differ ({} comes before {}): move {} above {}",
                other.action.as_str(),
                rule.action.as_str(),
                rule.id,
                first.id
            )),
        });
    }
}

/// Does a match of `above` end the search for every event that `rule` is asked about?
fn decides(above: &FirewallRule, rule: &FirewallRule) -> bool {
    // An attempt is a request as well, so rules on requests are asked of it too.
    let is_asked = above.on == rule.on || above.on == On::Request && rule.on == On::Attempt;
    is_asked && above.mode == Mode::Enforce && above.action != Action::Flag && above.concern.covers(&rule.concern)
}

/// The fewest of the rules above that take every event of `own`: one, else some of them together, else none.
fn takers(own: &Cases, above: &[usize], conditions: &[Condition]) -> Vec<usize> {
    let one = above.iter().find(|i| conditions.get(**i).is_some_and(|theirs| own.imply(theirs)));
    if let Some(one) = one {
        return vec![*one];
    }
    let together = |some: &[usize]| {
        let all = some.iter().filter_map(|i| conditions.get(*i)).cloned().collect();
        own.imply(&Condition::any(all))
    };
    if above.len() > TOGETHER_MAX || !together(above) {
        return Vec::new();
    }
    let mut needed = above.to_vec();
    for i in above {
        let without: Vec<usize> = needed.iter().copied().filter(|other| other != i).collect();
        if together(&without) {
            needed = without;
        }
    }
    needed
}
