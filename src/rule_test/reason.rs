//! What a rule made of each call of a test: counted under which key, or why not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::call;
use super::stage::{Heard, Origin, Play, Stage};
use crate::clock::Timestamp;
use crate::engine::RuleRef;
use crate::event::{Field, Flags, Kind, NumberKind, Which};
use crate::policy::predicate::{Operand, write_value};
use crate::policy::trace::{self, Explained, Rule};
use crate::policy::{Action, Concern, DynamicLists, KeySpec, On, Policy, View};

/// Calls that are named one by one; of more the first and last are told.
const RANGES_MAX: usize = 4;
/// Events of a rule that are explained test by test; of more only whether they count.
const EXPLAINED_MAX: usize = 2_000;

/// A call, or a recorded event, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) number: u64,
    pub(super) is_call: bool,
    /// After the start of the test.
    pub(super) at_ms: i64,
}

/// What a rule made of the calls of a test.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// By key, as it is shown.
    pub(super) by_key: BTreeMap<String, Vec<Who>>,
    /// What was not counted, by what kept it out, in the order in which that came up.
    pub(super) not: Vec<NotCounted>,
}

/// Calls that were not counted for the same reason.
#[derive(Debug)]
pub(super) struct NotCounted {
    /// In the words of the first of them.
    why: String,
    /// The words of others differ: each has another number, say.
    varies: bool,
    pub(super) calls: Vec<Who>,
}

/// A rule that counts: a threshold, or a firewall rule that is tracked.
#[derive(Clone, Copy)]
struct Counting<'p> {
    rule: Rule<'p>,
    concern: &'p Concern,
    on: On,
    /// None of a tracked rule, which counts callers.
    key: Option<&'p KeySpec>,
    counts_blocked: bool,
}

impl Who {
    pub(super) fn of(origin: Origin, time: Timestamp, start: Timestamp) -> Who {
        match origin {
            Origin::Call(call::Moment { call, .. }) => Who { number: call, is_call: true, at_ms: time.0 - start.0 },
            Origin::Record(number) => Who { number, is_call: false, at_ms: time.0 - start.0 },
        }
    }
}

impl NotCounted {
    /// `call 3 (+4m00s) not counted: direction is outbound`, of the calls up to a time; `None` where there are none.
    pub(super) fn told(&self, until_ms: i64) -> Option<String> {
        let calls: Vec<Who> = self.calls.iter().copied().filter(|who| who.at_ms <= until_ms).collect();
        let link = if self.varies && calls.len() > 1 { ", the first because " } else { ": " };
        (!calls.is_empty()).then(|| format!("{} not counted{link}{}", named(&calls), self.why))
    }
}

/// What the rule made of each call.
pub(super) fn counted(play: &Play, stage: &Stage, start: Timestamp, rule: RuleRef) -> Counted {
    let mut told = Counted::default();
    let Some(counting) = counting(&stage.policy, rule) else { return told };
    let mut looked_at = BTreeSet::new();
    let mut others: Vec<Who> = Vec::new();
    let mut causes: HashMap<String, usize> = HashMap::new();
    let mut n_explained = 0;
    play.walk(stage, |heard, lists| {
        let who = Who::of(heard.origin, heard.event.time, start);
        if !is_looked_at(counting.on, &heard) {
            others.push(who);
            return ControlFlow::Continue(());
        }
        looked_at.insert((who.is_call, who.number));
        match made(counting, &heard, &Moment { stage, lists }, n_explained < EXPLAINED_MAX) {
            Ok(key) => told.by_key.entry(key).or_default().push(who),
            Err((cause, why)) => {
                n_explained += 1;
                told.leave_out(&mut causes, cause, why, who);
            }
        }
        ControlFlow::Continue(())
    });
    // Of what happens to a call, a rule sees one thing; a call without that is not counted either.
    others.retain(|who| who.is_call && looked_at.insert((true, who.number)));
    for who in others {
        let why = without(counting.on).to_owned();
        told.leave_out(&mut causes, why.clone(), why, who);
    }
    told
}

impl Counted {
    fn leave_out(&mut self, causes: &mut HashMap<String, usize>, cause: String, why: String, who: Who) {
        match causes.get(&cause).and_then(|at| self.not.get_mut(*at)) {
            Some(not) => {
                not.varies |= not.why != why;
                not.calls.push(who);
            }
            None => {
                causes.insert(cause, self.not.len());
                self.not.push(NotCounted { why, varies: false, calls: vec![who] });
            }
        }
    }
}

fn counting(policy: &Policy, rule: RuleRef) -> Option<Counting<'_>> {
    match rule {
        RuleRef::Threshold(i) => policy.thresholds.get(usize::from(i)).map(|rule| Counting {
            rule: Rule::Threshold(rule),
            concern: &rule.concern,
            on: rule.on,
            key: policy.keys.get(rule.key),
            counts_blocked: rule.count_blocked,
        }),
        RuleRef::Firewall(i) => policy.firewall.get(usize::from(i)).map(|rule| Counting {
            rule: Rule::Firewall(rule),
            concern: &rule.concern,
            on: rule.on,
            key: None,
            counts_blocked: true,
        }),
        RuleRef::Default | RuleRef::Emergency => None,
    }
}

/// Does a rule of this `on` look at the event?
pub(super) fn is_looked_at(on: On, heard: &Heard<'_>) -> bool {
    let kind = heard.event.kind;
    match on {
        On::Attempt => matches!(kind, Kind::Attempt | Kind::Cdr),
        On::Answer => kind == Kind::Answer || (kind == Kind::Cdr && heard.event.answered()),
        On::End => matches!(kind, Kind::End | Kind::Cdr),
        On::Call => kind == Kind::Attempt,
        On::Register => kind == Kind::Register,
        On::Request => {
            matches!(kind, Kind::Attempt | Kind::Cdr | Kind::Register | Kind::Options | Kind::Message)
        }
    }
}

/// Why a call has nothing that a rule of this `on` would look at.
fn without(on: On) -> &'static str {
    match on {
        On::Attempt => "the rule runs on attempt, and no attempt was told",
        On::Answer => "the rule runs on answer, and nobody answered",
        On::End => "the rule runs on end, and it had not ended",
        On::Call => "the rule follows calls that are up, and none began",
        On::Register => "the rule runs on register",
        On::Request => "the rule runs on requests",
    }
}

/// The rules, and what stood on dynamic lists when an event was judged.
#[derive(Clone, Copy)]
pub(super) struct Moment<'m> {
    pub(super) stage: &'m Stage,
    pub(super) lists: &'m DynamicLists,
}

impl Moment<'_> {
    fn view<'a>(&'a self, heard: &Heard<'a>) -> View<'a> {
        let (event, batch) = (heard.event, heard.batch);
        View { event, batch, policy: &self.stage.policy, names: &self.stage.context.names, dynamic: self.lists }
    }

    /// What the rule says of an event, test by test.
    pub(super) fn explained(&self, rule: Rule<'_>, heard: &Heard<'_>) -> Explained {
        trace::explain_rule(&self.stage.policy, rule, &self.view(heard))
    }
}

/// Why a rule does not look at the event, or leaves it alone, whatever its condition says.
pub(super) fn unconcerned(concern: &Concern, heard: &Heard<'_>, at: &Moment<'_>) -> Option<String> {
    let customer = at.stage.context.names.customer_text(heard.event.customer);
    if !concern.is_of(customer, heard.event.time) {
        return Some(match (concern.variant_of(), concern.spared.contains_key(customer)) {
            (None, true) => format!("an override of customer {customer} stands in the rule's place"),
            (Some(other), _) if other != customer => format!("this override is for customer {other}, not {customer}"),
            (Some(_), _) => format!("the override of customer {customer} had expired"),
            (None, false) => format!("the rule is not for customer {customer}"),
        });
    }
    let exception = concern.except.find(&at.view(heard))?;
    Some(format!("it is excepted: {}", exception.reason))
}

/// The key under which the event counts; or the tests that keep it out, and what they say of it.
fn made(
    counting: Counting<'_>,
    heard: &Heard<'_>,
    at: &Moment<'_>,
    is_explained: bool,
) -> Result<String, (String, String)> {
    let alike = |why: &str| Err((why.to_owned(), why.to_owned()));
    let event = heard.event;
    if let Some(why) = unconcerned(counting.concern, heard, at) {
        return alike(&why);
    }
    let seen = match event.kind {
        Kind::Attempt => Flags::ATTEMPT_SEEN,
        Kind::Answer => Flags::ANSWER_SEEN,
        Kind::End => Flags::END_SEEN,
        _ => Flags(0),
    };
    if event.flags.has(Flags(Flags::DUPLICATE.0 | seen.0)) || !counting.rule.holds(&at.view(heard)) {
        if !is_explained {
            return alike("its condition is false");
        }
        let explained = at.explained(counting.rule, heard);
        let tests: Vec<&str> = explained.deciding().into_iter().map(|step| step.test.as_str()).collect();
        let why = explained.why_not().unwrap_or_else(|| "its condition is false".to_owned());
        let cause = if tests.is_empty() { why.clone() } else { tests.join("; ") };
        return Err((cause, why));
    }
    let is_blocked = heard.verdict.action == Action::Block && !event.flags.has(Flags::OWN_BLOCK);
    if is_blocked && !counting.counts_blocked {
        return alike("it was blocked, and count_blocked = false");
    }
    if is_blocked && counting.on == On::Call {
        return alike("it was blocked, so it was never up");
    }
    let view = at.view(heard);
    let Some(spec) = counting.key else {
        let caller = tracked_part(Field::Party(Which::Caller), "caller", &view);
        let address = || tracked_part(Field::SourceIp, "source_ip", &view);
        return caller.or_else(address).map_or_else(|| alike("it has neither `caller` nor `source_ip`"), Ok);
    };
    match trace::key_of(spec, &view) {
        Ok(parts) => Ok(shown_key(&parts)),
        Err(why) => Err((why.clone(), why)),
    }
}

/// `account=pbx-22, trunk=pstn-1`
pub(super) fn shown_key(parts: &[(String, String)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join(", ")
}

/// One value by which tracked rules count, as violations show it; `None` where the event does not say it.
fn tracked_part(field: Field, name: &str, view: &View<'_>) -> Option<String> {
    if name == "caller" && view.event.caller.number.kind() == Some(NumberKind::Anonymous) {
        return None;
    }
    let mut text = Vec::new();
    write_value(&Operand::Field(field).value(view)?, &mut text);
    Some(format!("{name}={}", String::from_utf8_lossy(&text)))
}

/// `call 3 (+4m00s)`, `calls 3, 5 to 9 and 12 (+4m00s to +12m00s)`.
pub(super) fn named(calls: &[Who]) -> String {
    let (Some(first), Some(last)) = (calls.first(), calls.last()) else { return String::new() };
    let what = if first.is_call { "call" } else { "event" };
    if calls.len() == 1 {
        return format!("{what} {} ({})", first.number, after(first.at_ms));
    }
    let mut numbers: Vec<u64> = calls.iter().map(|who| who.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = |(from, to): &(u64, u64)| match to - from {
        0 => from.to_string(),
        1 => format!("{from}, {to}"),
        _ => format!("{from} to {to}"),
    };
    let mut words: Vec<String> = ranges.iter().take(RANGES_MAX).map(shown).collect();
    if ranges.len() > RANGES_MAX {
        words.push(format!("... {}", ranges.last().map_or(0, |(_, to)| *to)));
    }
    let (from, to) = (calls.iter().map(|who| who.at_ms).min(), calls.iter().map(|who| who.at_ms).max());
    let (from, to) = (from.unwrap_or(first.at_ms), to.unwrap_or(last.at_ms));
    let when = if from == to { after(from) } else { format!("{} to {}", after(from), after(to)) };
    format!("{what}s {} ({when})", words.join(", "))
}

/// `+4m00s`, `+1h02m03s`, `+0.250s`: time since the start of the test.
pub(super) fn after(ms: i64) -> String {
    let sign = if ms < 0 { '-' } else { '+' };
    let ms = ms.unsigned_abs();
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}") };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds:02}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes:02}m{seconds:02}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_as_people_write_it() {
        let told = [0, 12_000, 250, 82_000, 840_000, 3_723_004, -5_000].map(after);
        assert_eq!(told, ["+0s", "+12s", "+0.250s", "+1m22s", "+14m00s", "+1h02m03.004s", "-5s"]);
    }

    #[test]
    fn calls_are_named_by_their_numbers_and_their_times() {
        let call = |number: u64| Who { number, is_call: true, at_ms: number as i64 * 60_000 };
        let all = |numbers: &[u64]| named(&numbers.iter().map(|n| call(*n)).collect::<Vec<_>>());
        assert_eq!(all(&[3]), "call 3 (+3m00s)");
        assert_eq!(all(&[3, 4]), "calls 3, 4 (+3m00s to +4m00s)");
        assert_eq!(all(&[1, 2, 3, 7]), "calls 1 to 3, 7 (+1m00s to +7m00s)");
        assert_eq!(all(&[1, 3, 5, 7, 9, 11]), "calls 1, 3, 5, 7, ... 11 (+1m00s to +11m00s)");
        assert_eq!(all(&[]), "");
    }
}
