//! What of a rule its state hangs on, and which rules of saved state are still the same.
//!
//! A change of `on`, `where`, `measure`, `per` or `window` begins a rule anew (2-rules 2.9 point 18); levels, `cooldown`,
//! `clear`, `max_keys`, exceptions and what follows from a crossing may change and the state stays. Rules are found by
//! their ids, whatever their numbers are now, and variants by their customers too.

use std::collections::HashMap;
use std::fmt::Write;

use super::Restored;
use crate::clock::Timestamp;
use crate::codec::{Malformed, Put, Take, require};
use crate::engine::judged::RuleRef;
use crate::engine::key::KeyHasher;
use crate::engine::numbers::NO_NUMBER;
use crate::engine::plan::{Counter, MeterKind, Plan};
use crate::engine::warming::{Lack, has_past};
use crate::policy::{Measure, Policy, Predicate};

/// Of the frames of keys, of the gate, of answers and of lists: raised where what they mean changes.
const VERSIONS: [u8; 4] = [5, 2, 1, 2];

/// Where the rules and lists that saved state knows by other numbers are now.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    pub(crate) counters: Vec<Option<u16>>,
    pub(crate) firewall: Vec<Option<u16>>,
    /// By the numbers that [`Plan::rule_numbers`], [`Plan::call_numbers`] and [`Plan::list_numbers`] gave them.
    pub(crate) rules: Vec<Option<u16>>,
    pub(crate) calls: Vec<Option<u16>>,
    pub(crate) lists: Vec<Option<u16>>,
    /// Lists by their places of then.
    pub(crate) list_places: Vec<Option<u16>>,
    /// What rules are short of now, by their numbers of now.
    pub(crate) lacks: Vec<Option<Lack>>,
}

/// Why a header cannot be read.
#[derive(Debug)]
pub(crate) enum HeaderFault {
    Malformed,
    Version([u8; 4]),
    OtherSeed,
}

impl From<Malformed> for HeaderFault {
    fn from(_: Malformed) -> HeaderFault {
        HeaderFault::Malformed
    }
}

/// Tells one seed of the hash from another.
fn seed_print(hasher: KeyHasher) -> u64 {
    hasher.hash_bytes(b"the seed that keys were spread with")
}

pub(crate) fn put_header(plan: &Plan, lacks: &[Option<Lack>], out: &mut Put<'_>) {
    out.0.extend_from_slice(&VERSIONS);
    out.u64(seed_print(plan.hasher));
    out.len(plan.counters.len());
    for (i, counter) in plan.counters.iter().enumerate() {
        out.bytes(rule_name(counter, &plan.policy).as_bytes());
        let shape = shape(counter, plan);
        out.u64(shape as u64);
        out.u64((shape >> 64) as u64);
        out.u64(enough(counter));
        put_lack(lacks.get(i).copied().flatten(), out);
    }
    out.len(plan.policy.firewall.len());
    plan.policy.firewall.iter().for_each(|rule| out.bytes(rule.concern.name(&rule.id).as_bytes()));
    out.len(plan.policy.lists.len());
    plan.policy.lists.iter().for_each(|list| out.bytes(list.name.as_bytes()));
    [&plan.rule_numbers, &plan.call_numbers, &plan.list_numbers].into_iter().for_each(|numbers| {
        out.len(numbers.places().len());
        numbers.places().iter().for_each(|place| out.u16(place.unwrap_or(NO_NUMBER)));
    });
}

/// Where what had these numbers is now; `moved`: where its places of then are.
fn take_numbers(from: &mut Take<'_>, moved: &[Option<u16>]) -> Result<Vec<Option<u16>>, Malformed> {
    let n = from.len(2)?;
    (0..n).map(|_| Ok(moved.get(usize::from(from.u16()?)).copied().flatten())).collect()
}

/// Compares the rules of saved state with those of now.
pub(crate) fn take_header(plan: &Plan, from: &mut Take<'_>, restored: &mut Restored) -> Result<Mapping, HeaderFault> {
    let versions = <[u8; 4]>::try_from(from.exact(4)?).map_err(|_| Malformed)?;
    if versions != VERSIONS {
        return Err(HeaderFault::Version(versions));
    }
    if from.u64()? != seed_print(plan.hasher) {
        return Err(HeaderFault::OtherSeed);
    }
    let policy = &plan.policy;
    let mut mapping = Mapping { lacks: vec![None; plan.counters.len()], ..Mapping::default() };
    let mut known = vec![false; plan.counters.len()];
    let places = places(plan);
    for _ in 0..from.len(29)? {
        let id = from.text()?;
        let was = (u128::from(from.u64()?) | u128::from(from.u64()?) << 64, from.u64()?);
        let lacked = take_lack(from)?;
        let place = places.get(id).copied();
        let Some((place, counter)) = place.and_then(|place| Some((place, plan.counters.get(place)?))) else {
            restored.gone.push(id.to_owned());
            mapping.counters.push(None);
            continue;
        };
        require(known.get(place) == Some(&false))?;
        if lacked == Some(Lack::Past) {
            // As if it were not there: it is new still.
            mapping.counters.push(None);
            continue;
        }
        known.iter_mut().skip(place).take(1).for_each(|known| *known = true);
        if shape(counter, plan) != was.0 {
            restored.changed.push(counter.rule);
            mapping.counters.push(None);
            continue;
        }
        let lack = if enough(counter) > was.1 { Some(Lack::Until(Timestamp::MAX)) } else { lacked };
        let list = if lack.is_some() { &mut restored.warming } else { &mut restored.restored };
        list.push(counter.rule);
        mapping.lacks.iter_mut().skip(place).take(1).for_each(|place| *place = lack);
        mapping.counters.push(Some(place as u16));
    }
    let new = plan.counters.iter().zip(known).filter(|(_, known)| !known);
    restored.new = new.map(|(counter, _)| counter.rule).collect();
    for (counter, lack) in plan.counters.iter().zip(&mut mapping.lacks).filter(|(counter, _)| has_past(counter)) {
        let begins_anew = restored.new.contains(&counter.rule) || restored.changed.contains(&counter.rule);
        *lack = if begins_anew { Some(Lack::Past) } else { *lack };
    }
    let firewall: HashMap<String, u16> =
        policy.firewall.iter().zip(0..).map(|(rule, place)| (rule.concern.name(&rule.id), place)).collect();
    for _ in 0..from.len(4)? {
        mapping.firewall.push(firewall.get(from.text()?).copied());
    }
    let mut lists = Vec::new();
    for _ in 0..from.len(4)? {
        let name = from.text()?;
        lists.push(policy.lists.iter().position(|list| list.name == name).map(|place| place as u16));
    }
    mapping.rules = take_numbers(from, &mapping.counters)?;
    mapping.calls = take_numbers(from, &mapping.counters)?;
    mapping.lists = take_numbers(from, &lists)?;
    mapping.list_places = lists;
    from.end()?;
    Ok(mapping)
}

fn put_lack(lack: Option<Lack>, out: &mut Put<'_>) {
    match lack {
        None => out.u8(0),
        Some(Lack::Past) => out.u8(1),
        Some(Lack::Until(at)) => {
            out.u8(2);
            out.i64(at.0);
        }
    }
}

fn take_lack(from: &mut Take<'_>) -> Result<Option<Lack>, Malformed> {
    Ok(match from.u8()? {
        0 => None,
        1 => Some(Lack::Past),
        2 => Some(Lack::Until(Timestamp(from.i64()?))),
        _ => return Err(Malformed),
    })
}

/// Rules by the name that saved state knows them by: a rule that was renamed by the old one too. A rule's own name goes
/// first; that no rule has the old one is seen to where rules are read.
fn places(plan: &Plan) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    for (place, counter) in plan.counters.iter().enumerate() {
        places.insert(rule_name(counter, &plan.policy), place);
    }
    for (place, counter) in plan.counters.iter().enumerate() {
        let RuleRef::Threshold(i) = counter.rule else { continue };
        let Some(rule) = plan.policy.thresholds.get(usize::from(i)) else { continue };
        if let Some(old) = &rule.renamed_from {
            places.entry(rule.concern.name(old)).or_insert(place);
        }
    }
    places
}

fn rule_name(counter: &Counter, policy: &Policy) -> String {
    let name = match counter.rule {
        RuleRef::Threshold(i) => policy.thresholds.get(usize::from(i)).map(|rule| rule.concern.name(&rule.id)),
        RuleRef::Firewall(i) => policy.firewall.get(usize::from(i)).map(|rule| rule.concern.name(&rule.id)),
        RuleRef::Default | RuleRef::Emergency => None,
    };
    name.unwrap_or_default()
}

/// How much each key keeps: where it was less, a key may be short of what a raised level needs.
fn enough(counter: &Counter) -> u64 {
    match counter.meter {
        MeterKind::Count | MeterKind::Distinct | MeterKind::Sum => counter.terms.width.enough,
        MeterKind::Ratio | MeterKind::Run | MeterKind::Concurrent | MeterKind::Joint => 0,
    }
}

/// 128 bits of hash of a text that says all that a rule's state hangs on.
fn shape(counter: &Counter, plan: &Plan) -> u128 {
    let mut text = format!("{:?};{};", counter.meter, counter.terms.width.window_ms);
    let policy = &plan.policy;
    match counter.rule {
        RuleRef::Threshold(i) => {
            if let Some(rule) = policy.thresholds.get(usize::from(i)) {
                write_to(&mut text, format_args!("{:?};{:?};", rule.on, policy.keys.get(rule.key)));
                describe_measure(&rule.measure, policy, &mut text);
                for also in &rule.also {
                    describe_measure(&also.measure, policy, &mut text);
                }
                // Several meters keep what their levels need, and no more.
                if let Some(parts) = &counter.terms.width.parts {
                    parts.iter().for_each(|part| write_to(&mut text, format_args!("{};", part.width.enough)));
                }
                if let Some(condition) = &rule.condition {
                    describe(condition, policy, &mut text);
                }
            }
        }
        RuleRef::Firewall(i) => {
            if let Some(rule) = policy.firewall.get(usize::from(i)) {
                write_to(&mut text, format_args!("match;{:?};", rule.on));
                describe(&rule.when, policy, &mut text);
            }
        }
        RuleRef::Default | RuleRef::Emergency => {}
    }
    KeyHasher::new(0).hash_wide(text.as_bytes())
}

fn write_to(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).unwrap_or_default();
}

fn describe_measure(measure: &Measure, policy: &Policy, text: &mut String) {
    match measure {
        Measure::Share(predicate) => {
            text.push_str("share(");
            describe(predicate, policy, text);
            text.push(')');
        }
        other => write_to(text, format_args!("{other:?};")),
    }
}

/// A condition as text: with the names of lists and calendars, since their numbers change with others, and without
/// what only makes it fast.
fn describe(predicate: &Predicate, policy: &Policy, text: &mut String) {
    let list = |list: &usize| policy.lists.get(*list).map_or("", |list| &list.name);
    let parts = |name: &str, parts: &[Predicate], text: &mut String| {
        text.push_str(name);
        for part in parts {
            describe(part, policy, text);
            text.push(',');
        }
        text.push(')');
    };
    match predicate {
        Predicate::Not(inner) => parts("not(", std::slice::from_ref(&**inner), text),
        Predicate::All(all) => parts("all(", all, text),
        Predicate::Any(any) => parts("any(", any, text),
        Predicate::Within { operand, clock: _, ranges } => write_to(text, format_args!("{operand:?}~{ranges:?}")),
        Predicate::Compare { left, operator, right, clock: _ } => {
            write_to(text, format_args!("{left:?}{operator:?}{right:?}"));
        }
        Predicate::List(operand, of) => write_to(text, format_args!("{operand:?}@{}", list(of))),
        Predicate::ListAffix(operand, affix, of) => {
            write_to(text, format_args!("{operand:?}{affix:?}@{}", list(of)));
        }
        Predicate::After { list: of, same } => write_to(text, format_args!("{}{same:?}", list(of))),
        Predicate::Schedule { calendar, inside } => {
            let name = policy.calendars.get(*calendar).map_or("", |calendar| &calendar.name);
            write_to(text, format_args!("during({name},{inside})"));
        }
        other => write_to(text, format_args!("{other:?}")),
    }
}
