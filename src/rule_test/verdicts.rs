//! What the firewall said of the calls of a test, against what the test says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::call::Call;
use super::failure::{Failure, What};
use super::file::Test;
use super::reason::{self, Moment, Who, after, named};
use super::stage::{Heard, Origin, Play, Stage};
use crate::engine::output;
use crate::policy::trace::Rule;
use crate::policy::{Action, DynamicLists, FirewallRule, Mode};

/// What was said of one call.
struct Said<'a> {
    who: Who,
    /// Its place among the entries of the test.
    entry: usize,
    events: Vec<Heard<'a>>,
    /// What rules marked it with, in the order of their names.
    flags: Vec<&'a str>,
}

/// Calls that are alike in what is wrong with them.
#[derive(Default)]
struct Wrong {
    calls: Vec<Who>,
    notes: Vec<String>,
}

/// Calls that were told something else than the test says.
pub(super) fn judge(test: &Test, play: &Play, stage: &Stage) -> Vec<Failure> {
    let minds = |call: &Call| call.verdict.is_some() || call.by.is_some() || call.flags.is_some();
    if !test.calls.iter().any(minds) {
        return Vec::new();
    }
    let mut wrong: BTreeMap<(usize, String), Wrong> = BTreeMap::new();
    for said in said(test, play, stage).values() {
        let Some(call) = test.calls.get(said.entry) else { continue };
        for (text, by) in [verdict(call, said, stage), flags(call, said)].into_iter().flatten() {
            let wrong = wrong.entry((said.entry, text)).or_default();
            // The first of them explains it.
            if wrong.calls.is_empty() {
                wrong.notes = by.iter().flat_map(|id| why(id, said, test, play, stage)).collect();
            }
            wrong.calls.push(said.who);
        }
    }
    let failure = |((entry, text), Wrong { calls, notes }): ((usize, String), Wrong)| {
        let line = test.calls.get(entry).map_or(test.line, |call| call.line);
        Failure { notes, ..Failure::new(What::Verdict, line, format!("{}: {text}", named(&calls))) }
    };
    wrong.into_iter().map(failure).collect()
}

fn said<'a>(test: &Test, play: &'a Play, stage: &'a Stage) -> BTreeMap<u64, Said<'a>> {
    let mut all: BTreeMap<u64, Said<'_>> = BTreeMap::new();
    for heard in play.events() {
        let Origin::Call(moment) = heard.origin else { continue };
        let Some(call) = test.calls.get(moment.entry) else { continue };
        let who = Who { number: moment.call, is_call: true, at_ms: call.begins_ms(moment.number) };
        let said = all.entry(moment.call).or_insert_with(|| Said {
            who,
            entry: moment.entry,
            events: Vec::new(),
            flags: Vec::new(),
        });
        said.flags.extend(heard.flags().filter_map(|i| stage.policy.firewall.get(i)?.flag.as_deref()));
        said.events.push(heard);
    }
    for said in all.values_mut() {
        said.flags.sort_unstable();
        said.flags.dedup();
    }
    all
}

/// What is wrong with the verdict, and the rules that tell why.
fn verdict<'a>(call: &'a Call, said: &Said<'_>, stage: &'a Stage) -> Option<(String, Vec<&'a str>)> {
    // What is said last stands: later events repeat the verdict of their call, unless a rule decides of them alone.
    let last = said.events.last()?.verdict;
    let by = output::rule_id(&stage.policy, last.rule);
    let wanted_by = call.by.as_deref();
    if call.verdict.is_none_or(|wanted| wanted == last.action) && wanted_by.is_none_or(|wanted| wanted == by) {
        return None;
    }
    let wanted = match (call.verdict, wanted_by) {
        (Some(verdict), Some(by)) => format!("{} by {by}", verdict.as_str()),
        (Some(verdict), None) => verdict.as_str().to_owned(),
        (None, by) => format!("by {}", by.unwrap_or_default()),
    };
    let mut rules: Vec<&str> = wanted_by.into_iter().collect();
    if !rules.contains(&by) {
        rules.push(by);
    }
    Some((format!("{} by {by}, expected {wanted}", last.action.as_str()), rules))
}

fn flags<'a>(call: &Call, said: &Said<'_>) -> Option<(String, Vec<&'a str>)> {
    let wanted = call.flags.as_ref()?;
    if wanted.iter().eq(&said.flags) {
        return None;
    }
    let told =
        |flags: &[&str]| if flags.is_empty() { "no flags".to_owned() } else { format!("flags {}", flags.join(", ")) };
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    Some((format!("{}, expected {}", told(&said.flags), told(&wanted)), Vec::new()))
}

/// Why the firewall rule with this id decided of a call, or did not.
fn why(id: &str, said: &Said<'_>, test: &Test, play: &Play, stage: &Stage) -> Option<String> {
    let rules = || stage.policy.firewall.iter().filter(|rule| rule.id == id);
    let first = said.events.first()?;
    let empty = DynamicLists::default();
    let without = Moment { stage, lists: &empty };
    // What overrides a rule for a customer has its id.
    let concerned = rules().find(|rule| reason::unconcerned(&rule.concern, first, &without).is_none());
    let rule = concerned.or(rules().next())?;
    let Some(heard) = said.events.iter().find(|heard| reason::is_looked_at(rule.on, heard)) else {
        return Some(format!("{id} runs on nothing that happens to this call"));
    };
    let decided = said.events.last().map(|last| output::rule_id(&stage.policy, last.verdict.rule));
    if decided == Some(id) && without.explained(Rule::Firewall(rule), heard).why_not().is_some() {
        return listed(rule, heard, play, stage, test);
    }
    let mut made = None;
    play.walk(stage, |other, lists| {
        if !other.is(heard) {
            return ControlFlow::Continue(());
        }
        let at = Moment { stage, lists };
        let unconcerned = reason::unconcerned(&rule.concern, heard, &at);
        let explained = at.explained(Rule::Firewall(rule), heard);
        made = Some((unconcerned.or_else(|| explained.why_not()), explained));
        ControlFlow::Break(())
    });
    let (why_not, explained) = made?;
    if let Some(why_not) = why_not {
        return Some(format!("{id} does not match: {why_not}"));
    }
    let tests: Vec<String> = explained.deciding().into_iter().map(|step| step.told()).collect();
    let because = if tests.is_empty() { String::new() } else { format!(": {}", tests.join(", ")) };
    Some(match rule.mode {
        _ if decided == Some(id) => format!("{id} matches{because}"),
        Mode::Monitor => format!(
            "{id} matches, but it is in mode monitor and only watches; force_mode = \"enforce\" tries it in force"
        ),
        _ if rule.action == Action::Flag => format!("{id} flags and goes on: it never decides"),
        _ => format!("{id} matches too, but {} comes before it", decided.unwrap_or_default()),
    })
}

/// What thresholds had put on the lists that a rule looks into, where that made it match.
fn listed(rule: &FirewallRule, heard: &Heard<'_>, play: &Play, stage: &Stage, test: &Test) -> Option<String> {
    let puts = play.listed().filter(|(at, _)| *at <= heard.event.time);
    let (at, put) = puts.filter(|(_, put)| rule.when.any_list(&mut |list| list == put.list)).last()?;
    let list = stage.policy.lists.get(put.list).map_or("", |list| list.name.as_str());
    let (by, at) = (output::rule_id(&stage.policy, put.rule), after(at.0 - test.start.0));
    Some(format!("{} matches by ${list}; {by} put {} there at {at}", rule.id, put.value))
}
