//! What a rule made of each call of a test: counted under which key, or why not.

use std::collections::BTreeMap;

use super::call::Moment;
use super::stage::{Heard, Origin, Play, Stage};
use crate::clock::Timestamp;
use crate::engine::RuleRef;
use crate::event::{Field, Flags, Kind, NumberKind, Which};
use crate::policy::predicate::{Operand, write_value};
use crate::policy::{Action, DynamicLists, On, Policy, Predicate, View};

/// Calls that are named one by one; of more the first and last are told.
const RANGES_MAX: usize = 4;

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
    /// By reason, in the order in which they came.
    pub(super) not: Vec<(String, Vec<Who>)>,
}

/// A rule that counts: a threshold, or a firewall rule that is tracked.
struct Counting<'p> {
    on: On,
    condition: Option<&'p Predicate>,
    /// Parts of the key; none of a tracked rule, which counts callers.
    key: Option<&'p crate::policy::KeySpec>,
    counts_blocked: bool,
}

impl Who {
    pub(super) fn of(origin: Origin, time: Timestamp, start: Timestamp) -> Who {
        match origin {
            Origin::Call(Moment { call, .. }) => Who { number: call, is_call: true, at_ms: time.0 - start.0 },
            Origin::Record(number) => Who { number, is_call: false, at_ms: time.0 - start.0 },
        }
    }
}

/// What the rule made of each call.
pub(super) fn counted(play: &Play, stage: &Stage, start: Timestamp, rule: RuleRef) -> Counted {
    let mut told = Counted::default();
    let Some(counting) = counting(&stage.policy, rule) else { return told };
    let nothing = DynamicLists::default();
    for heard in play.events().filter(|heard| is_looked_at(counting.on, heard)) {
        let Heard { event, batch, .. } = heard;
        let view = View { event, batch, policy: &stage.policy, names: &stage.context.names, dynamic: &nothing };
        let who = Who::of(heard.origin, event.time, start);
        match made(&counting, &heard, &view) {
            Ok(key) => told.by_key.entry(key).or_default().push(who),
            Err(why) => match told.not.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, calls)) => calls.push(who),
                None => told.not.push((why, vec![who])),
            },
        }
    }
    told
}

fn counting(policy: &Policy, rule: RuleRef) -> Option<Counting<'_>> {
    match rule {
        RuleRef::Threshold(i) => policy.thresholds.get(usize::from(i)).map(|rule| Counting {
            on: rule.on,
            condition: rule.condition.as_ref(),
            key: policy.keys.get(rule.key),
            counts_blocked: rule.count_blocked,
        }),
        RuleRef::Firewall(i) => policy.firewall.get(usize::from(i)).map(|rule| Counting {
            on: rule.on,
            condition: Some(&rule.when),
            key: None,
            counts_blocked: true,
        }),
        RuleRef::Default | RuleRef::Emergency => None,
    }
}

/// Does the rule look at events of this kind?
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

/// The key under which the event counts, or why it does not.
fn made(counting: &Counting<'_>, heard: &Heard<'_>, view: &View<'_>) -> Result<String, String> {
    let event = heard.event;
    if event.flags.has(Flags::DUPLICATE) {
        return Err("it is a duplicate, or another leg of its call".to_owned());
    }
    let seen = match event.kind {
        Kind::Attempt => Flags::ATTEMPT_SEEN,
        Kind::Answer => Flags::ANSWER_SEEN,
        Kind::End => Flags::END_SEEN,
        _ => Flags(0),
    };
    if event.flags.has(seen) {
        return Err(format!("the {} of this call was counted before", event.kind.as_str()));
    }
    if counting.condition.is_some_and(|condition| !condition.eval(view)) {
        return Err("its condition is false".to_owned());
    }
    let is_blocked = heard.verdict.action == Action::Block && !event.flags.has(Flags::OWN_BLOCK);
    if is_blocked && !counting.counts_blocked {
        return Err("it was blocked, and count_blocked = false".to_owned());
    }
    if is_blocked && counting.on == On::Call {
        return Err("it was blocked, so it was never up".to_owned());
    }
    match counting.key {
        Some(spec) => {
            let mut shown = Vec::new();
            for part in &spec.parts {
                match part_text(&part.operand, view) {
                    Some(value) => shown.push(format!("{}={value}", part.name)),
                    None if spec.merge_missing => shown.push(format!("{}=", part.name)),
                    None => return Err(format!("it has no `{}`", part.name)),
                }
            }
            Ok(shown.join(", "))
        }
        None => {
            let caller = Operand::Field(Field::Party(Which::Caller));
            let caller = part_text(&caller, view).map(|value| format!("caller={value}"));
            let address =
                || part_text(&Operand::Field(Field::SourceIp), view).map(|value| format!("source_ip={value}"));
            caller.or_else(address).ok_or_else(|| "it has neither `caller` nor `source_ip`".to_owned())
        }
    }
}

/// One value of a key, as violations show it; `None` where the event does not say it.
fn part_text(operand: &Operand, view: &View<'_>) -> Option<String> {
    let is_caller = *operand == Operand::Field(Field::Party(Which::Caller));
    if is_caller && view.event.caller.number.kind() == Some(NumberKind::Anonymous) {
        return None;
    }
    let mut text = Vec::new();
    write_value(&operand.value(view)?, &mut text);
    Some(String::from_utf8_lossy(&text).into_owned())
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
