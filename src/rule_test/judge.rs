//! What came of a test against what it expects: both ways, nothing missing and nothing beside it.

use std::collections::HashMap;

use super::expected::Expected;
use super::failure::{Failure, What};
use super::file::Test;
use super::probe::{self, But};
use super::reason::{self, Counted, Who, after, named, shown_key};
use super::stage::{Found, Origin, Play, Stage};
use super::verdicts;
use crate::engine::RuleRef;
use crate::policy::measure::Unit;
use crate::policy::{Level, Policy, Severity, ThresholdRule};

/// Reasons told for one failure: the first few explain it.
const REASONS_MAX: usize = 4;
/// Failures told of one test; who has more has one cause, most likely.
const FAILURES_MAX: usize = 50;
/// How far two figures may lie apart and be the same: six decimals are shown.
const FIGURE: f64 = 0.000_000_5;

/// Everything that is not as the test says. `found` are all violations of the play.
pub(super) fn judge(test: &Test, play: &Play, found: &[Found], stage: &Stage) -> Vec<Failure> {
    let mut judge = Judge { test, play, stage, found, counted: HashMap::new(), failures: Vec::new() };
    for why in &play.unread {
        judge.failures.push(Failure::new(What::Unreadable, test.line, why.clone()));
    }
    judge.failures.extend(verdicts::judge(test, play, stage));
    let watched = |found: &&Found| test.rules.as_ref().is_none_or(|rules| rules.contains(&found.id));
    judge.violations(found.iter().filter(watched).collect());
    let mut failures = judge.failures;
    if failures.len() > FAILURES_MAX {
        let more = failures.len() - FAILURES_MAX;
        failures.truncate(FAILURES_MAX);
        if let Some(last) = failures.last_mut() {
            last.notes.push(format!("and {more} more differences"));
        }
    }
    failures
}

struct Judge<'a> {
    test: &'a Test,
    play: &'a Play,
    stage: &'a Stage,
    found: &'a [Found],
    /// What rules made of the calls, of those that were asked for.
    counted: HashMap<RuleRef, Counted>,
    failures: Vec<Failure>,
}

impl<'a> Judge<'a> {
    /// Holds what is expected and what came against each other; what is near is told as one difference, not as two.
    fn violations(&mut self, mut left: Vec<&'a Found>) {
        let test = self.test;
        let mut missing: Vec<usize> = Vec::new();
        for (i, expected) in test.expect.iter().enumerate() {
            match left.iter().position(|found| is_met(expected, found)) {
                Some(at) => drop(left.remove(at)),
                None => missing.push(i),
            }
        }
        for is_near in [same_but_when as fn(&Expected, &Found) -> bool, same_but_level, same_but_key] {
            missing.retain(|i| {
                let Some(expected) = test.expect.get(*i) else { return false };
                let near = left.iter().enumerate().filter(|(_, found)| is_near(expected, found));
                let nearest = near.min_by_key(|(_, found)| found.at_ms.abs_diff(expected.at_ms));
                let Some((at, _)) = nearest else { return true };
                let found = left.remove(at);
                self.different(*i, expected, found);
                false
            });
        }
        for i in missing {
            self.missing(i);
        }
        for found in left {
            self.unexpected(found);
        }
        self.failures.sort_by_key(|failure| failure.expected.is_none() && failure.kind == What::Unexpected);
    }

    /// Explanations beyond the failures that are told would be for nobody.
    fn is_full(&self) -> bool {
        self.failures.len() > FAILURES_MAX
    }

    fn counted(&mut self, rule: RuleRef) -> &Counted {
        let (play, stage, start) = (self.play, self.stage, self.test.start);
        self.counted.entry(rule).or_insert_with(|| reason::counted(play, stage, start, rule))
    }

    /// A violation that came, but not quite as expected.
    fn different(&mut self, index: usize, expected: &Expected, found: &Found) {
        let policy = &self.stage.policy;
        let key = wanted_key(expected, policy).unwrap_or_else(|| shown_key(&found.key));
        let value = figure(policy, found.rule, found.value);
        let mut says = Vec::new();
        if expected.at_ms != found.at_ms {
            says.push(format!("came at {} with value {value}", after(found.at_ms)));
        }
        if expected.level != found.level {
            says.push(format!("came as {}", found.level.as_str()));
        }
        if !is_of(expected, found) {
            says.push(format!("came for {}", shown_key(&found.key)));
        }
        if let Some(wanted) = expected.value.filter(|wanted| (wanted - found.value).abs() >= FIGURE) {
            says.push(format!("value {value}, not {}", figure(policy, found.rule, wanted)));
        }
        if expected.late.is_some_and(|late| late != found.late) {
            says.push(if found.late { "came late" } else { "was not late" }.to_owned());
        }
        let title = title(&expected.rule, expected.level, Some(&key), expected.at_ms);
        let mut failure = Failure::new(What::Different, expected.line, format!("{title}: {}", says.join("; ")));
        failure.expected = Some(index);
        failure.violation = Some(found.line.clone());
        if !self.is_full() {
            failure.notes.extend(self.contributed(found));
            if found.at_ms > expected.at_ms {
                failure.notes.extend(left_out(self.counted(found.rule), found.at_ms));
            }
        }
        self.failures.push(failure);
    }

    /// An expected violation that did not come.
    fn missing(&mut self, index: usize) {
        let Some(expected) = self.test.expect.get(index) else { return };
        let policy = &self.stage.policy;
        let key = wanted_key(expected, policy);
        let title = title(&expected.rule, expected.level, key.as_deref(), expected.at_ms);
        let mut failure = Failure::new(What::Missing, expected.line, title);
        failure.expected = Some(index);
        failure.rule = self.likeliest(expected, key.as_deref());
        failure.notes = match failure.rule {
            Some(rule) if !self.is_full() => match never(policy, rule, expected) {
                Some(never) => vec![never],
                None => self.why_missing(rule, expected, key.as_deref()),
            },
            _ => Vec::new(),
        };
        self.failures.push(failure);
    }

    /// Of the rules with the id that is expected, the one that should have raised it: most have no other.
    fn likeliest(&mut self, expected: &Expected, key: Option<&str>) -> Option<RuleRef> {
        let rules = rules_of(&self.stage.policy, &expected.rule);
        if rules.len() < 2 || self.is_full() {
            return rules.first().copied();
        }
        let counted = |judge: &mut Self, rule: RuleRef| {
            let by_key = &judge.counted(rule).by_key;
            (key.is_some_and(|key| by_key.contains_key(key)), !by_key.is_empty())
        };
        // The first of those that are equal is the rule itself.
        rules.into_iter().rev().max_by_key(|rule| counted(self, *rule))
    }

    fn why_missing(&mut self, rule: RuleRef, expected: &Expected, key: Option<&str>) -> Vec<String> {
        let mut notes = Vec::new();
        let is_before =
            |found: &&Found| is_of(expected, found) && found.level >= expected.level && found.at_ms <= expected.at_ms;
        if let Some(found) = self.found.iter().rev().find(is_before) {
            let (level, at) = (found.level.as_str(), after(found.at_ms));
            notes.push(format!(
                "it raised {level} at {at} already: an episode is told once, and ends when it was clear for `cooldown`"
            ));
        }
        let told = self.counted(rule);
        if let Some(key) = key {
            notes.push(match told.by_key.get(key) {
                Some(calls) => format!("counted {}: {}", calls.len(), named(calls)),
                None => format!("nothing was counted for {key}"),
            });
            let others = told.by_key.iter().filter(|(other, _)| *other != key);
            notes.extend(others.take(2).map(|(other, calls)| format!("{} counted for {other}", named(calls))));
        }
        notes.extend(left_out(told, i64::MAX));
        notes
    }

    /// Which calls made a violation: those of its key in its window.
    fn contributed(&mut self, found: &Found) -> Option<String> {
        let window_ms = threshold(&self.stage.policy, found.rule).map_or(0, |rule| rule.window_ms);
        let is_inside =
            |who: &&Who| who.at_ms <= found.at_ms && (window_ms == 0 || who.at_ms > found.at_ms - window_ms);
        let counted = self.counted(found.rule).by_key.get(&shown_key(&found.key))?;
        let calls: Vec<Who> = counted.iter().filter(is_inside).copied().collect();
        match calls.len() {
            0 => None,
            1 => Some(format!("counted {}", named(&calls))),
            n => Some(format!("counted {n}: {}", named(&calls))),
        }
    }

    /// A violation that nobody expects.
    fn unexpected(&mut self, found: &Found) {
        let policy = &self.stage.policy;
        let title = title(&found.id, found.level, Some(&shown_key(&found.key)), found.at_ms);
        let value = match level_of(policy, found.rule, found.level) {
            Some(level) => format!(" (value {}, level {})", figure(policy, found.rule, found.value), level.text),
            None => String::new(),
        };
        let late = if found.late { ", late" } else { "" };
        let line = match found.origin {
            Some(Origin::Call(moment)) => self.test.calls.get(moment.entry).map(|call| call.line),
            _ => None,
        };
        let line = line.unwrap_or(self.test.line);
        let mut failure = Failure::new(What::Unexpected, line, format!("{title}{late}{value}"));
        failure.violation = Some(found.line.clone());
        if !self.is_full() {
            failure.notes.extend(self.contributed(found));
        }
        self.failures.push(failure);
    }
}

fn is_met(expected: &Expected, found: &Found) -> bool {
    is_of(expected, found)
        && expected.level == found.level
        && expected.at_ms == found.at_ms
        && expected.value.is_none_or(|value| (value - found.value).abs() < FIGURE)
        && expected.late.is_none_or(|late| late == found.late)
}

/// Same rule, same key.
fn is_of(expected: &Expected, found: &Found) -> bool {
    expected.rule == found.id
        && expected.customer.as_ref().is_none_or(|customer| *customer == found.customer)
        && expected.key.as_ref().is_none_or(|key| key.iter().eq(found.key.iter().map(|(_, value)| value)))
}

fn same_but_when(expected: &Expected, found: &Found) -> bool {
    is_of(expected, found) && expected.level == found.level
}

fn same_but_level(expected: &Expected, found: &Found) -> bool {
    is_of(expected, found) && expected.at_ms == found.at_ms
}

fn same_but_key(expected: &Expected, found: &Found) -> bool {
    expected.rule == found.id && expected.level == found.level && expected.at_ms == found.at_ms
}

/// The key that is expected, as a violation would show it; `None`: whichever.
fn wanted_key(expected: &Expected, policy: &Policy) -> Option<String> {
    let values = expected.key.as_ref()?;
    let rule = policy.thresholds.iter().find(|rule| rule.id == expected.rule);
    let spec = rule.and_then(|rule| policy.keys.get(rule.key));
    let name = |i: usize| spec.and_then(|spec| spec.parts.get(i)).map_or("caller", |part| part.name.as_str());
    let parts: Vec<(String, String)> =
        values.iter().enumerate().map(|(i, value)| (name(i).to_owned(), value.clone())).collect();
    Some(shown_key(&parts))
}

fn title(rule: &str, level: Severity, key: Option<&str>, at_ms: i64) -> String {
    let key = key.map(|key| format!(", {key}")).unwrap_or_default();
    format!("{rule} {}{key}, {}", level.as_str(), after(at_ms))
}

/// The rule with this id, and what overrides it for customers.
fn rules_of(policy: &Policy, id: &str) -> Vec<RuleRef> {
    let thresholds = (0..).zip(&policy.thresholds).filter(|(_, rule)| rule.id == id);
    let firewall = (0..).zip(&policy.firewall).filter(|(_, rule)| rule.id == id);
    let thresholds = thresholds.map(|(i, _)| RuleRef::Threshold(i));
    thresholds.chain(firewall.map(|(i, _)| RuleRef::Firewall(i))).collect()
}

fn threshold(policy: &Policy, rule: RuleRef) -> Option<&ThresholdRule> {
    match rule {
        RuleRef::Threshold(i) => policy.thresholds.get(usize::from(i)),
        _ => None,
    }
}

fn level_of(policy: &Policy, rule: RuleRef, level: Severity) -> Option<&Level> {
    let levels = &threshold(policy, rule)?.levels;
    match level {
        Severity::Warning => levels.warning.as_ref(),
        Severity::Critical => levels.critical.as_ref(),
    }
}

/// Why the rule raises no such violation whatever comes.
fn never(policy: &Policy, rule: RuleRef, expected: &Expected) -> Option<String> {
    let (id, level) = (&expected.rule, expected.level.as_str());
    match rule {
        RuleRef::Threshold(_) if level_of(policy, rule, expected.level).is_none() => {
            Some(format!("{id} has no {level} level"))
        }
        RuleRef::Firewall(i) if policy.firewall.get(usize::from(i))?.track != Some(expected.level) => {
            Some(format!("{id} raises no {level}: it has no track = [\"alert:{level}\"]"))
        }
        _ => None,
    }
}

/// Which calls a rule did not count, up to a time.
fn left_out(told: &Counted, until_ms: i64) -> Vec<String> {
    let mut notes: Vec<String> = told.not.iter().filter_map(|not| not.told(until_ms)).collect();
    if notes.len() > REASONS_MAX {
        let more = notes.len() - REASONS_MAX;
        notes.truncate(REASONS_MAX);
        notes.push(format!("and {more} more reasons"));
    }
    notes
}

/// Adds to what is missing how far its rule got. The stage is nobody else's for the time being.
pub(super) fn explain(test: &Test, failures: &mut [Failure], n_events: usize, stage: &mut Stage) {
    for failure in failures.iter_mut().filter(|failure| failure.kind == What::Missing) {
        let Some(expected) = failure.expected.and_then(|i| test.expect.get(i)) else { continue };
        let Some(rule) = failure.rule else { continue };
        let Some(level) = level_of(&stage.policy, rule, expected.level).cloned() else { continue };
        let wanted = |found: &Found| is_of(expected, found);
        if let Some(reached) = probe::nearest(stage, test, n_events, rule, &level, &wanted) {
            let value = figure(&stage.policy, rule, reached.value);
            let is_then = reached.at_ms == expected.at_ms;
            let when = if is_then { String::new() } else { format!(" at {}", after(reached.at_ms)) };
            let text = &level.text;
            let but = match reached.but {
                Some(But::NotForLong(ms)) => format!("but {text} must hold for {}", lasting(ms)),
                Some(But::NotAlso) => format!("which meets {text}, but `also` does not hold"),
                None => format!("needs {text}"),
            };
            failure.text.push_str(&format!(" (value reached {value}{when}, {but})"));
        }
    }
}

/// `30s`, `4h30m00s`
fn lasting(ms: i64) -> String {
    after(ms).trim_start_matches('+').to_owned()
}

/// A value as people write the levels of its rule: `7`, `5h`, `82.5%`.
fn figure(policy: &Policy, rule: RuleRef, value: f64) -> String {
    let plain = || {
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match threshold(policy, rule).map(|rule| rule.measure.unit()) {
        Some(Unit::Milliseconds) => lasting((value * 1000.0).round() as i64),
        Some(Unit::Percent) => format!("{}%", plain()),
        _ => plain(),
    }
}
