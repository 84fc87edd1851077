//! What came of a test against what it expects: both ways, nothing missing and nothing beside it.

use std::collections::BTreeMap;

use super::expected::Expected;
use super::file::Test;
use super::probe;
use super::reason::{self, Counted, Who, after, named};
use super::stage::{Found, Heard, Origin, Play, Stage};
use crate::engine::{RuleRef, output};
use crate::event::CallEvent;
use crate::policy::{Action, DynamicLists, Level, Mode, Policy, Severity, View};

/// Reasons told for one failure: the first few explain it.
const REASONS_MAX: usize = 4;
/// How far two figures may lie apart and be the same: six decimals are shown.
const FIGURE: f64 = 0.000_000_5;

/// One thing that is not as the test says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) kind: What,
    /// Where the test says otherwise, counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// What explains it, a line each.
    pub(super) notes: Vec<String>,
    /// The violation, as `replay` prints it.
    pub(super) violation: Option<String>,
    /// Which entry of `expect` it is about.
    expected: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Missing,
    Unexpected,
    Different,
    Verdict,
    Unreadable,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            What::Missing => "missing",
            What::Unexpected => "unexpected",
            What::Different => "different",
            What::Verdict => "verdict",
            What::Unreadable => "unreadable",
        }
    }
}

impl Failure {
    fn new(kind: What, line: usize, text: String) -> Failure {
        Failure { kind, line, text, notes: Vec::new(), violation: None, expected: None }
    }
}

/// Everything that is not as the test says. `found` are all violations of the play.
pub(super) fn judge(test: &Test, play: &Play, found: &[Found], stage: &Stage) -> Vec<Failure> {
    let mut failures: Vec<Failure> =
        play.unread.iter().map(|why| Failure::new(What::Unreadable, test.line, why.clone())).collect();
    failures.extend(verdicts(test, play, stage));
    let watched = |found: &&Found| test.rules.as_ref().is_none_or(|rules| rules.contains(&found.id));
    let mut left: Vec<&Found> = found.iter().filter(watched).collect();
    let mut missing: Vec<usize> = Vec::new();
    for (i, expected) in test.expect.iter().enumerate() {
        match left.iter().position(|found| is_met(expected, found)) {
            Some(at) => drop(left.remove(at)),
            None => missing.push(i),
        }
    }
    for is_near in [same_but_when as fn(&Expected, &Found) -> bool, same_but_level, same_but_key] {
        missing.retain(|i| {
            let expected = &test.expect[*i];
            let near = left.iter().enumerate().filter(|(_, found)| is_near(expected, found));
            let Some((at, _)) = near.min_by_key(|(_, found)| found.at_ms.abs_diff(expected.at_ms)) else { return true };
            failures.push(different(*i, expected, left.remove(at), play, stage, test));
            false
        });
    }
    for i in missing {
        failures.push(absent(i, &test.expect[i], found, play, stage, test));
    }
    for found in left {
        failures.push(unexpected(found, play, stage, test));
    }
    failures
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

fn shown_key(found: &Found) -> String {
    let parts: Vec<String> = found.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join(", ")
}

/// The key that is expected, as a violation would show it; `None`: whichever.
fn wanted_key(expected: &Expected, policy: &Policy) -> Option<String> {
    let values = expected.key.as_ref()?;
    let rule = policy.thresholds.iter().find(|rule| rule.id == expected.rule);
    let spec = rule.and_then(|rule| policy.keys.get(rule.key));
    let name = |i: usize| spec.and_then(|spec| spec.parts.get(i)).map_or("caller", |part| part.name.as_str());
    let parts: Vec<String> = values.iter().enumerate().map(|(i, value)| format!("{}={value}", name(i))).collect();
    Some(parts.join(", "))
}

fn title(rule: &str, level: Severity, key: Option<String>, at_ms: i64) -> String {
    let key = key.map(|key| format!(", {key}")).unwrap_or_default();
    format!("{rule} {}{key}, {}", level.as_str(), after(at_ms))
}

fn rule_ref(policy: &Policy, id: &str) -> Option<RuleRef> {
    let threshold = policy.thresholds.iter().position(|rule| rule.id == id).map(|i| RuleRef::Threshold(i as u16));
    threshold.or_else(|| policy.firewall.iter().position(|rule| rule.id == id).map(|i| RuleRef::Firewall(i as u16)))
}

fn level_of<'p>(policy: &'p Policy, rule: RuleRef, level: Severity) -> Option<&'p Level> {
    let RuleRef::Threshold(i) = rule else { return None };
    let levels = &policy.thresholds.get(usize::from(i))?.levels;
    match level {
        Severity::Warning => levels.warning.as_ref(),
        Severity::Critical => levels.critical.as_ref(),
    }
}

/// A violation that came, but not quite as expected.
fn different(index: usize, expected: &Expected, found: &Found, play: &Play, stage: &Stage, test: &Test) -> Failure {
    let key = wanted_key(expected, &stage.policy).or_else(|| Some(shown_key(found)));
    let mut says = Vec::new();
    if expected.at_ms != found.at_ms {
        says.push(format!("came at {} with value {}", after(found.at_ms), figure(found.value)));
    }
    if expected.level != found.level {
        says.push(format!("came as {}", found.level.as_str()));
    }
    if !is_of(expected, found) {
        says.push(format!("came for {}", shown_key(found)));
    }
    if let Some(value) = expected.value.filter(|value| (value - found.value).abs() >= FIGURE) {
        says.push(format!("value {}, not {}", figure(found.value), figure(value)));
    }
    if expected.late.is_some_and(|late| late != found.late) {
        says.push(if found.late { "came late" } else { "was not late" }.to_owned());
    }
    let title = title(&expected.rule, expected.level, key, expected.at_ms);
    let mut failure = Failure::new(What::Different, expected.line, format!("{title}: {}", says.join("; ")));
    failure.expected = Some(index);
    failure.violation = Some(found.line.clone());
    let told = reason::counted(play, stage, test.start, found.rule);
    failure.notes.extend(contributed(found, &told, stage));
    if found.at_ms > expected.at_ms {
        failure.notes.extend(left_out(&told, found.at_ms));
    }
    failure
}

/// An expected violation that did not come.
fn absent(index: usize, expected: &Expected, all: &[Found], play: &Play, stage: &Stage, test: &Test) -> Failure {
    let policy = &stage.policy;
    let key = wanted_key(expected, policy);
    let title = title(&expected.rule, expected.level, key.clone(), expected.at_ms);
    let mut failure = Failure::new(What::Missing, expected.line, title);
    failure.expected = Some(index);
    let Some(rule) = rule_ref(policy, &expected.rule) else { return failure };
    if let RuleRef::Threshold(_) = rule
        && level_of(policy, rule, expected.level).is_none()
    {
        failure.notes.push(format!("{} has no {} level", expected.rule, expected.level.as_str()));
        return failure;
    }
    if let RuleRef::Firewall(i) = rule
        && policy.firewall.get(usize::from(i)).is_some_and(|rule| rule.track != Some(expected.level))
    {
        let level = expected.level.as_str();
        failure.notes.push(format!("{} raises no {level}: it has no track = [\"alert:{level}\"]", expected.rule));
        return failure;
    }
    let before = all
        .iter()
        .rev()
        .find(|found| is_of(expected, found) && found.level >= expected.level && found.at_ms <= expected.at_ms);
    if let Some(found) = before {
        let (level, at) = (found.level.as_str(), after(found.at_ms));
        failure.notes.push(format!(
            "its {level} of {at} may not have ended: an episode is told once, until it has been clear for `cooldown`"
        ));
    }
    let told = reason::counted(play, stage, test.start, rule);
    if let Some(key) = &key
        && !told.by_key.contains_key(key)
    {
        failure.notes.push(format!("nothing was counted for {key}"));
    }
    for (other, calls) in told.by_key.iter().filter(|(other, _)| key.as_ref().is_some_and(|key| key != *other)).take(2)
    {
        failure.notes.push(format!("{} counted for {other}", named(calls)));
    }
    failure.notes.extend(left_out(&told, i64::MAX));
    if told.by_key.is_empty() && told.not.is_empty() {
        failure.notes.push(format!("no call of the test reaches what {} runs on", expected.rule));
    }
    failure
}

/// Which calls a rule did not count, up to a time.
fn left_out(told: &Counted, until_ms: i64) -> Vec<String> {
    let mut notes = Vec::new();
    for (why, calls) in &told.not {
        let calls: Vec<Who> = calls.iter().copied().filter(|who| who.at_ms <= until_ms).collect();
        if !calls.is_empty() {
            notes.push(format!("{} not counted: {why}", named(&calls)));
        }
    }
    if notes.len() > REASONS_MAX {
        let more = notes.len() - REASONS_MAX;
        notes.truncate(REASONS_MAX);
        notes.push(format!("and {more} other reasons"));
    }
    notes
}

/// Which calls made a violation: those of its key in its window.
fn contributed(found: &Found, told: &Counted, stage: &Stage) -> Option<String> {
    let window_ms = match found.rule {
        RuleRef::Threshold(i) => stage.policy.thresholds.get(usize::from(i)).map_or(0, |rule| rule.window_ms),
        _ => 0,
    };
    let is_inside = |who: &&Who| who.at_ms <= found.at_ms && (window_ms == 0 || who.at_ms > found.at_ms - window_ms);
    let calls: Vec<Who> = told.by_key.get(&shown_key(found))?.iter().filter(is_inside).copied().collect();
    (!calls.is_empty()).then(|| format!("counted {}", named(&calls)))
}

/// A violation that nobody expects.
fn unexpected(found: &Found, play: &Play, stage: &Stage, test: &Test) -> Failure {
    let title = title(&found.id, found.level, Some(shown_key(found)), found.at_ms);
    let value = match found.rule {
        RuleRef::Threshold(_) => {
            let level = level_of(&stage.policy, found.rule, found.level).map_or("", |level| level.text.as_str());
            format!(" (value {}, level {level})", figure(found.value))
        }
        _ => String::new(),
    };
    let late = if found.late { ", late" } else { "" };
    let line = match found.origin {
        Some(Origin::Call(moment)) => test.calls.get(moment.entry).map_or(test.line, |call| call.line),
        _ => test.line,
    };
    let mut failure = Failure::new(What::Unexpected, line, format!("{title}{late}{value}"));
    failure.violation = Some(found.line.clone());
    let told = reason::counted(play, stage, test.start, found.rule);
    failure.notes.extend(contributed(found, &told, stage));
    failure
}

/// Adds to what is missing how far its rule got. The stage is nobody else's for the time being.
pub(super) fn explain(test: &Test, failures: &mut [Failure], n_events: usize, stage: &mut Stage) {
    for failure in failures.iter_mut().filter(|failure| failure.kind == What::Missing) {
        let Some(expected) = failure.expected.and_then(|i| test.expect.get(i)) else { continue };
        let Some(rule) = rule_ref(&stage.policy, &expected.rule) else { continue };
        let Some(level) = level_of(&stage.policy, rule, expected.level).cloned() else { continue };
        let wanted = |found: &Found| is_of(expected, found);
        if let Some(reached) = probe::highest(stage, test, n_events, rule, &level, &wanted) {
            let (value, at) = (figure(reached.value), after(reached.at_ms));
            let when = if reached.at_ms == expected.at_ms { String::new() } else { format!(" at {at}") };
            failure.text.push_str(&format!(" (value reached {value}{when}, needs {})", level.text));
        }
    }
}

/// Whole where it is, else up to six decimals.
pub(super) fn figure(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What was said of one call.
struct Said<'a> {
    who: Who,
    last: Heard<'a>,
    all: Vec<Heard<'a>>,
}

/// Calls that were told another verdict than the test says.
fn verdicts(test: &Test, play: &Play, stage: &Stage) -> Vec<Failure> {
    if !test.calls.iter().any(|call| call.verdict.is_some() || call.by.is_some()) {
        return Vec::new();
    }
    let mut said: BTreeMap<u64, Said<'_>> = BTreeMap::new();
    for heard in play.events() {
        let Origin::Call(moment) = heard.origin else { continue };
        let Some(call) = test.calls.get(moment.entry) else { continue };
        let begins_ms = call.begins_ms(moment.number);
        let who = Who { number: moment.call, is_call: true, at_ms: begins_ms };
        let said = said.entry(moment.call).or_insert_with(|| Said { who, last: heard, all: Vec::new() });
        // What is said last stands: later events repeat the verdict of their call, unless a rule decides of them alone.
        said.last = heard;
        said.all.push(heard);
    }
    let mut wrong: BTreeMap<(usize, String), (Vec<Who>, Vec<String>)> = BTreeMap::new();
    for said in said.values() {
        let Origin::Call(moment) = said.last.origin else { continue };
        let Some(call) = test.calls.get(moment.entry) else { continue };
        let (action, by) = (said.last.verdict.action, output::rule_id(&stage.policy, said.last.verdict.rule));
        let is_as_said =
            call.verdict.is_none_or(|verdict| verdict == action) && call.by.as_ref().is_none_or(|wanted| wanted == by);
        if is_as_said {
            continue;
        }
        let got = format!("{} by {by}", action.as_str());
        let wanted = match (call.verdict, &call.by) {
            (Some(verdict), Some(by)) => format!("{} by {by}", verdict.as_str()),
            (Some(verdict), None) => verdict.as_str().to_owned(),
            (None, by) => format!("by {}", by.as_deref().unwrap_or_default()),
        };
        let entry = wrong.entry((moment.entry, format!("{got}, expected {wanted}"))).or_default();
        entry.0.push(said.who);
        if entry.1.is_empty() {
            entry.1 = call.by.as_ref().map(|id| undecided(id, said, action, stage)).unwrap_or_default();
        }
    }
    let failure = |((entry, text), (calls, notes)): ((usize, String), (Vec<Who>, Vec<String>))| {
        let line = test.calls.get(entry).map_or(test.line, |call| call.line);
        Failure { notes, ..Failure::new(What::Verdict, line, format!("{}: {text}", named(&calls))) }
    };
    wrong.into_iter().map(failure).collect()
}

/// Why the firewall rule with this id did not decide of a call.
fn undecided(id: &str, said: &Said<'_>, got: Action, stage: &Stage) -> Vec<String> {
    let Some(rule) = stage.policy.firewall.iter().find(|rule| rule.id == id) else { return Vec::new() };
    let nothing = DynamicLists::default();
    let Some(heard) = said.all.iter().find(|heard| reason::is_looked_at(rule.on, heard)) else {
        return vec![format!("{id} does not run on any event of this call")];
    };
    let event: &CallEvent = heard.event;
    let view =
        View { event, batch: heard.batch, policy: &stage.policy, names: &stage.context.names, dynamic: &nothing };
    let holds = rule.when.eval(&view);
    match rule.mode {
        Mode::Monitor if holds => vec![format!(
            "{id} matches, but its mode is monitor: it only watches; force_mode = \"enforce\" tries it in force"
        )],
        _ if holds && rule.action == Action::Flag => vec![format!("{id} flags and goes on: it never decides")],
        _ if holds => vec![format!("{id} matches, but a rule above it decides: {}", got.as_str())],
        _ => vec![format!("{id} does not match: its condition is false")],
    }
}
