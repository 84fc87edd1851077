//! What can be decided of an event by itself: which rules it meets, what they say and count, under which keys.

use std::iter::Peekable;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::slice;

use super::judged::{Recorded, RuleRef, Verdict, Watch};
use super::key::{KeptKey, Key, KeyBytes, KeyValue};
use super::plan::{Counter, KeyChoice, MeterKind, Phases, Plan};
use super::table::{Act, Hit, partition_of};
use super::walk::{Met, Stage};
use super::work::{Decided, Work};
use crate::clock::Timestamp;
use crate::event::{Batch, CallEvent, CustomerId, Field, Flags, NumberKind, Which};
use crate::policy::predicate::{Value, write_value};
use crate::policy::{Action, Cause, DynamicLists, KeySpec, ListContent, Measure, Mode, Operand, View};
use crate::window::NOTHING;

/// Decides all events of a batch and lists the hits of every shard. For policies whose events do not depend on one
/// another; the others are decided by their one shard.
pub(crate) fn prepare(work: &mut Work, plan: &Plan, nothing: &DynamicLists) {
    let n_shards = plan.n_shards as usize;
    work.hits.resize_with(plan.counters.len() * n_shards, Vec::new);
    let Work { batch, key_bytes, decided, hits, touched, shards, recorded, .. } = work;
    decided.matched.resize(plan.policy.firewall.len(), 0);
    let mut told = recorded.as_ref().map(|recorded| Told::new(recorded, plan));
    let mut put = |counter: u16, hit: Hit| list_hit(hits, touched, shards, (counter, hit), n_shards);
    let mut calls = work.call_hits.drain(..).peekable();
    for (i, event) in batch.events.iter().enumerate() {
        if i % WARM_EVENTS == 0 {
            warm_lists(plan, &batch.events[i..]);
        }
        let view = View { event, batch, policy: &plan.policy, names: &plan.names, dynamic: nothing };
        let verdict = match &mut told {
            None => judge(&view, plan, i as u32, decided, key_bytes, &mut put),
            Some(told) => told.next(&view, i as u32, decided, key_bytes, &mut put),
        };
        decided.verdicts.push(verdict);
        count(&view, plan, (i as u32, verdict), |_| true, key_bytes, &mut put);
        while let Some((counter, hit)) = calls.next_if(|(_, hit)| hit.event == i as u32) {
            if is_up(verdict, hit.act) {
                put(counter, hit);
            }
        }
    }
}

/// Lists what the rules that are told of the past count of its events. The gate marked them then.
pub(crate) fn prepare_past(work: &mut Work, plan: &Plan, nothing: &DynamicLists) {
    let n_shards = plan.n_shards as usize;
    work.hits.resize_with(plan.counters.len() * n_shards, Vec::new);
    let Work { batch, key_bytes, hits, touched, shards, past, .. } = work;
    let Some(past) = past else { return };
    let mut put = |counter: u16, hit: Hit| list_hit(hits, touched, shards, (counter, hit), n_shards);
    for (i, event) in batch.events.iter().enumerate() {
        let view = View { event, batch, policy: &plan.policy, names: &plan.names, dynamic: nothing };
        let told = (i as u32, past.counted_as(i, event));
        count(&view, plan, told, |counter| past.past.wants(counter, event), key_bytes, &mut put);
    }
}

/// Puts a hit on the list of its counter and shard.
#[inline]
fn list_hit(
    hits: &mut [Vec<Hit>],
    touched: &mut Vec<u32>,
    shards: &mut u64,
    (counter, hit): (u16, Hit),
    n_shards: usize,
) {
    let shard = partition_of(hit.hash) as usize & (n_shards - 1);
    let list = counter as usize * n_shards + shard;
    if hits[list].is_empty() {
        touched.push(list as u32);
        *shards |= 1 << shard;
    }
    hits[list].push(hit);
}

/// What was said of a batch before a crash, event by event.
pub(crate) struct Told<'a> {
    recorded: &'a Recorded,
    plan: &'a Plan,
    flags: Peekable<slice::Iter<'a, (u32, u16)>>,
    tracked: Peekable<slice::Iter<'a, (u32, u16)>>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(recorded: &'a Recorded, plan: &'a Plan) -> Told<'a> {
        Told { recorded, plan, flags: recorded.flags.iter().peekable(), tracked: recorded.tracked.iter().peekable() }
    }

    /// In place of [`judge`]: the verdict of then, and the hits of the rules that are tracked.
    pub(crate) fn next(
        &mut self,
        view: &View<'_>,
        index: u32,
        decided: &mut Decided,
        key_bytes: &mut KeyBytes,
        put: &mut impl FnMut(u16, Hit),
    ) -> Verdict {
        let event = view.event;
        while let Some((_, rule)) = self.tracked.next_if(|(event, _)| *event <= index) {
            let rule = self.plan.variant_for(*rule, event);
            if let Some(counter) = self.plan.tracked.get(usize::from(rule)).copied().flatten()
                && let Some((hash, key)) = caller_else_address(view, self.plan, key_bytes)
            {
                put(
                    counter,
                    Hit { hash, key, value: 0, time: event.time.0, event: index, act: Act::Count, is_muted: false },
                );
            }
        }
        let own = self.recorded.own(index as usize, event);
        while let Some(flag) = self.flags.next_if(|(event, _)| *event <= index) {
            // The others are those of its call, which it is given again.
            if own.is_some() {
                decided.flags.push(*flag);
            }
        }
        own.unwrap_or(Verdict { action: self.plan.policy.default_action, ..Verdict::default() })
    }
}

/// Events whose look-ups in large lists are started together.
const WARM_EVENTS: usize = 32;

fn warm_lists(plan: &Plan, events: &[CallEvent]) {
    for (which, list) in &plan.looked_up {
        if let Some(ListContent::Numbers(set)) = plan.policy.lists.get(*list).map(|l| &l.content) {
            set.warm(events.iter().take(WARM_EVENTS).map(|e| e.party(*which).number));
        }
    }
}

/// A call that was blocked never is up.
pub(crate) fn is_up(verdict: Verdict, act: Act) -> bool {
    act != Act::Count || verdict.action != Action::Block
}

/// The firewall's word on one event. Hits of tracked rules go to `put`.
pub(crate) fn judge(
    view: &View<'_>,
    plan: &Plan,
    index: u32,
    decided: &mut Decided,
    key_bytes: &mut KeyBytes,
    put: &mut impl FnMut(u16, Hit),
) -> Verdict {
    let event = view.event;
    if event.flags.has(Flags(Flags::EMERGENCY.0 | Flags::EMERGENCY_CALLBACK.0)) {
        return Verdict { action: Action::Allow, cause: Cause::Policy, rule: RuleRef::Emergency };
    }
    let default = Verdict { action: plan.policy.default_action, cause: Cause::None, rule: RuleRef::Default };
    if event.flags.has(Flags::DUPLICATE) {
        return default;
    }
    let phases = Phases::of(event);
    let stages = [(Phases::ATTEMPT, Stage::Attempt), (Phases::ANSWER, Stage::Answer), (Phases::END, Stage::End)];
    let is_call = stages.iter().any(|(phase, _)| phases.meets(*phase));
    let request = (!is_call && phases.meets(Phases::REQUEST)).then_some(Stage::Request);
    let mut met = stages.into_iter().filter(|(phase, _)| phases.meets(*phase)).map(|(_, stage)| stage).chain(request);
    let mut ask = |number: u16| {
        let rule = &plan.policy.firewall[number as usize];
        if !rule.when.eval(view) || rule.concern.except.find(view).is_some() {
            return ControlFlow::Continue(());
        }
        decided.matched[number as usize] += 1;
        if let Some(counter) = plan.tracked[number as usize]
            && let Some((hash, key)) = caller_else_address(view, plan, key_bytes)
        {
            put(
                counter,
                Hit { hash, key, value: 0, time: event.time.0, event: index, act: Act::Count, is_muted: false },
            );
            decided.tracked.push((index, number));
        }
        if rule.mode != Mode::Enforce {
            if plan.watch != Watch::Nothing {
                decided.would.push((index, number));
            }
            return ControlFlow::Continue(());
        }
        if rule.action == Action::Flag {
            decided.flags.push((index, number));
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Verdict { action: rule.action, cause: rule.cause, rule: RuleRef::Firewall(number) })
    };
    met.find_map(|stage| plan.walks.each_firewall(stage, view, &mut ask)).unwrap_or(default)
}

/// Lists what the thresholds that are `wanted` count of one event, which was told `verdict`.
pub(crate) fn count(
    view: &View<'_>,
    plan: &Plan,
    (index, verdict): (u32, Verdict),
    wanted: impl Fn(u16) -> bool,
    key_bytes: &mut KeyBytes,
    put: &mut impl FnMut(u16, Hit),
) {
    let event = view.event;
    if event.flags.has(Flags::DUPLICATE) {
        return;
    }
    let phases = Phases::of(event);
    if phases.is_empty() {
        return;
    }
    let is_repeated = verdict.rule == RuleRef::Default && event.flags.has(Flags::CALL_BLOCKED);
    let is_blocked = verdict.action == Action::Block || is_repeated;
    // Rules of one `per` list follow each other more often than not.
    let mut last: Option<(KeyChoice, Option<(u64, Key)>)> = None;
    plan.walks.each_threshold(view, |number| {
        let counter = &plan.counters[number as usize];
        if !counter.phases.meets(phases) || !counter.count_blocked && is_blocked || !wanted(number) {
            return;
        }
        if plan.condition(counter).is_some_and(|condition| !condition.eval(view)) || plan.excepts(counter, view) {
            return;
        }
        let keyed = match last {
            Some((choice, keyed)) if choice == counter.key => keyed,
            _ => key_of(view, plan, counter, key_bytes),
        };
        last = Some((counter.key, keyed));
        if let Some((hash, key)) = keyed {
            let value = sample(view, plan, counter, key_bytes);
            let is_muted = counter.terms.is_timed && plan.mutes(counter, view);
            put(number, Hit { hash, key, value, time: event.time.0, event: index, act: Act::Count, is_muted });
        }
    });
}

/// The key of a call for one `concurrent` rule, where it meets its condition; and whether the rule mutes it.
pub(crate) fn call_key(
    event: &CallEvent,
    batch: &Batch,
    key_bytes: &mut KeyBytes,
    plan: &Plan,
    counter: u16,
    nothing: &DynamicLists,
) -> Option<(u64, Key, bool)> {
    let view = View { event, batch, policy: &plan.policy, names: &plan.names, dynamic: nothing };
    let counter = &plan.counters[counter as usize];
    if plan.condition(counter).is_some_and(|condition| !condition.eval(&view)) || plan.excepts(counter, &view) {
        return None;
    }
    let (hash, key) = key_of(&view, plan, counter, key_bytes)?;
    Some((hash, key, counter.terms.is_timed && plan.mutes(counter, &view)))
}

/// Counters of the rules that may follow a call.
pub(crate) fn call_counters<'p>(event: &CallEvent, batch: &Batch, plan: &'p Plan, nothing: &DynamicLists) -> Met<'p> {
    plan.walks.calls(&View { event, batch, policy: &plan.policy, names: &plan.names, dynamic: nothing })
}

/// What the measures of a rule take of an event; of several, where that stands among the bytes of the batch.
fn sample(view: &View<'_>, plan: &Plan, counter: &Counter, key_bytes: &mut KeyBytes) -> u64 {
    let RuleRef::Threshold(i) = counter.rule else { return 0 };
    let rule = &plan.policy.thresholds[i as usize];
    if counter.meter != MeterKind::Joint {
        return sample_of(view, plan, &rule.measure);
    }
    let at = key_bytes.0.len();
    for measure in std::iter::once(&rule.measure).chain(rule.also.iter().map(|also| &also.measure)) {
        key_bytes.0.extend_from_slice(&sample_of(view, plan, measure).to_le_bytes());
    }
    // There is a part more where the rule asks whether there was anything at all.
    key_bytes.0.extend_from_slice(&[0; 8]);
    at as u64
}

fn sample_of(view: &View<'_>, plan: &Plan, measure: &Measure) -> u64 {
    match measure {
        Measure::Count | Measure::Concurrent | Measure::Longest => 0,
        Measure::Distinct(operand) | Measure::FirstSeen(operand, _) => word(operand, view, plan).unwrap_or(NOTHING),
        Measure::Sum(field) | Measure::Avg(field) => quantity(*field, view.event),
        Measure::Share(condition) => u64::from(condition.eval(view)),
        Measure::Run(operand, _) => ordinal(operand, view),
    }
}

fn quantity(field: Field, event: &CallEvent) -> u64 {
    let ms = |ms: u32| if ms == CallEvent::NO_TIME { NOTHING } else { u64::from(ms) };
    match field {
        Field::Duration => ms(event.duration_ms),
        Field::Ring => ms(event.ring_ms),
        Field::Setup => ms(event.setup_ms),
        Field::Cost => u64::try_from(event.cost).unwrap_or(NOTHING),
        _ => NOTHING,
    }
}

fn ordinal(operand: &Operand, view: &View<'_>) -> u64 {
    match operand.value(view) {
        Some(Value::Number(number, _)) => number.ordinal().unwrap_or(NOTHING),
        _ => NOTHING,
    }
}

/// A value as one word, for `distinct`: itself where it fits, else 60 bits of its hash, of which two in 65,536 agree
/// once in 500 million windows.
fn word(operand: &Operand, view: &View<'_>, plan: &Plan) -> Option<u64> {
    const HASHED: u64 = 15 << 60;
    const CUT: u64 = 1 << 58;
    let hashed = |bytes: &[u8]| (plan.hasher.hash_bytes(bytes) >> 5) | HASHED;
    if let Operand::Field(Field::Party(which)) = operand {
        let party = view.event.party(*which);
        let number = party.number;
        return match number.kind()? {
            _ if number.is_text() => Some(hashed(view.batch.text(party.text))),
            _ => Some(number.bits()),
        };
    }
    if let Operand::Prefix(Field::Party(which), n) = operand {
        let (digits, cut) = prefix(view.event, *which, *n)?;
        return Some(digits << 4 | if cut { CUT } else { 0 });
    }
    Some(match operand.value(view)? {
        Value::Number(number, text) if number.is_text() => hashed(text),
        Value::Number(number, _) => number.bits(),
        Value::Text(text) => hashed(text),
        Value::Ip(IpAddr::V4(ip)) => u64::from(u32::from(ip)),
        Value::Ip(IpAddr::V6(ip)) => hashed(&ip.octets()),
        other => {
            let mut text = Vec::new();
            write_value(&other, &mut text);
            hashed(&text)
        }
    })
}

/// Digits of a prefix, and whether the number was longer.
fn prefix(event: &CallEvent, which: Which, n: u32) -> Option<(u64, bool)> {
    let number = event.party(which).number;
    let (_, len) = number.digits()?;
    let (digits, _) = number.prefix(n)?.digits()?;
    Some((digits, len > n))
}

/// Key and hash of an event for one rule; `None` where a part is missing and the rule skips such events.
fn key_of(view: &View<'_>, plan: &Plan, counter: &Counter, key_bytes: &mut KeyBytes) -> Option<(u64, Key)> {
    let spec = match counter.key {
        KeyChoice::CallerElseAddress => return caller_else_address(view, plan, key_bytes),
        KeyChoice::Spec(i) => &plan.policy.keys[i],
    };
    let key = match short_key(view, spec) {
        Some(key) => key,
        None => long_key(view, spec, key_bytes)?,
    };
    Some((plan.hasher.hash(key, key_bytes), key))
}

/// The key where it fits into eight bytes: one number, or one short text.
fn short_key(view: &View<'_>, spec: &KeySpec) -> Option<Key> {
    let [part] = spec.parts.as_slice() else { return None };
    let customer = view.event.customer.0;
    match part.operand {
        Operand::Field(Field::Party(which)) => {
            let (digits, _) = view.event.party(which).number.digits()?;
            Key::number(customer, digits, false)
        }
        Operand::Prefix(Field::Party(which), n) => {
            let (digits, is_cut) = prefix(view.event, which, n)?;
            Key::number(customer, digits, is_cut)
        }
        Operand::Field(Field::Trunk) => short_text(view, view.event.trunk),
        Operand::Field(Field::Account) => short_text(view, view.event.account),
        _ => None,
    }
}

fn short_text(view: &View<'_>, text: crate::event::Text) -> Option<Key> {
    if text.is_absent() { None } else { Key::text(view.event.customer.0, view.batch.text(text)) }
}

/// Any key, part by part: a tag, the length, the value.
fn long_key(view: &View<'_>, spec: &KeySpec, key_bytes: &mut KeyBytes) -> Option<Key> {
    let start = key_bytes.0.len();
    key_bytes.0.extend_from_slice(&view.event.customer.0.to_le_bytes());
    for part in &spec.parts {
        if !push_part(view, &part.operand, key_bytes) {
            if !spec.merge_missing {
                key_bytes.0.truncate(start);
                return None;
            }
            key_bytes.0.push(0);
        }
    }
    Some(Key::long(start, key_bytes.0.len() - start))
}

/// False where the part is missing: absent, or a caller that withholds the number.
fn push_part(view: &View<'_>, operand: &Operand, key_bytes: &mut KeyBytes) -> bool {
    let out = &mut key_bytes.0;
    if let Operand::Prefix(Field::Party(which), n) = operand {
        let Some((digits, is_cut)) = prefix(view.event, *which, *n) else { return false };
        out.push(1 + u8::from(is_cut));
        out.extend_from_slice(&digits.to_le_bytes());
        return true;
    }
    let is_caller = *operand == Operand::Field(Field::Party(Which::Caller));
    if is_caller && view.event.caller.number.kind() == Some(NumberKind::Anonymous) {
        return false;
    }
    let Some(value) = operand.value(view) else { return false };
    match value {
        Value::Number(number, text) => {
            out.push(3);
            out.extend_from_slice(&number.bits().to_le_bytes());
            if number.is_text() {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text);
            }
        }
        other => {
            out.push(4);
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            write_value(&other, out);
            let len = (out.len() - at - 4) as u32;
            out[at..at + 4].copy_from_slice(&len.to_le_bytes());
        }
    }
    true
}

/// The key of a tracked firewall rule.
fn caller_else_address(view: &View<'_>, plan: &Plan, key_bytes: &mut KeyBytes) -> Option<(u64, Key)> {
    let customer = view.event.customer.0;
    let caller = Operand::Field(Field::Party(Which::Caller));
    let start = key_bytes.0.len();
    if let Some((digits, _)) = view.event.caller.number.digits()
        && let Some(key) = Key::number(customer, digits, false)
    {
        return Some((plan.hasher.hash(key, key_bytes), key));
    }
    key_bytes.0.extend_from_slice(&customer.to_le_bytes());
    if !push_part(view, &caller, key_bytes) && !push_part(view, &Operand::Field(Field::SourceIp), key_bytes) {
        key_bytes.0.truncate(start);
        return None;
    }
    let key = Key::long(start, key_bytes.0.len() - start);
    Some((plan.hasher.hash(key, key_bytes), key))
}

/// A kept key as a violation shows it.
pub(crate) fn kept_key_text(kept: &KeptKey, plan: &Plan, counter: &Counter) -> Vec<(String, String)> {
    let KeyChoice::Spec(spec) = counter.key else { return Vec::new() };
    let mut values = kept.parts().into_iter();
    let parts = plan.policy.keys[spec].parts.iter();
    parts.map(|part| (part.name.clone(), values.next().map_or("(other)".to_owned(), |value| value.shown()))).collect()
}

/// Is what time found of a key to be told to nobody? A mute is asked of an event, so of one that says what the key does.
pub(crate) fn mutes_kept(kept: &KeptKey, plan: &Plan, counter: &Counter, at: i64) -> bool {
    let KeyChoice::Spec(spec) = counter.key else { return false };
    let mut batch = Batch::default();
    let mut event = CallEvent { customer: CustomerId(kept.customer()), time: Timestamp(at), ..CallEvent::BLANK };
    for (part, value) in plan.policy.keys[spec].parts.iter().zip(kept.parts()) {
        let (Operand::Field(field) | Operand::Prefix(field, _)) = part.operand else { continue };
        match (field, value.value()) {
            (Field::Party(which), Some(Value::Number(number, _) | Value::Prefix(number))) => {
                let party = match which {
                    Which::Caller => &mut event.caller,
                    Which::Callee => &mut event.callee,
                    Which::Asserted => &mut event.asserted,
                    Which::Diverting => &mut event.diverting,
                };
                party.number = number;
            }
            (Field::Trunk, Some(Value::Text(text))) => event.trunk = batch.keep(text),
            (Field::Account, Some(Value::Text(text))) => event.account = batch.keep(text),
            _ => {}
        }
    }
    let nothing = DynamicLists::default();
    let view = View { event: &event, batch: &batch, policy: &plan.policy, names: &plan.names, dynamic: &nothing };
    plan.mutes(counter, &view)
}

/// What a kept key has for an entry of `per`.
pub(crate) fn kept_part(kept: &KeptKey, plan: &Plan, counter: &Counter, field: &Operand) -> Option<KeyValue> {
    let KeyChoice::Spec(spec) = counter.key else { return None };
    let place = plan.policy.keys[spec].parts.iter().position(|part| part.operand == *field)?;
    kept.parts().into_iter().nth(place)
}

/// The key as a violation shows it: `per` entry and value.
pub(crate) fn key_text(view: &View<'_>, plan: &Plan, counter: &Counter, other: bool) -> Vec<(String, String)> {
    let shown = |operand: &Operand| {
        let mut text = Vec::new();
        let is_caller = *operand == Operand::Field(Field::Party(Which::Caller));
        let withheld = is_caller && view.event.caller.number.kind() == Some(NumberKind::Anonymous);
        match operand.value(view) {
            _ if other => text.extend_from_slice(b"(other)"),
            None => text.extend_from_slice(b"(none)"),
            Some(_) if withheld => text.extend_from_slice(b"(none)"),
            Some(value) => write_value(&value, &mut text),
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    match counter.key {
        KeyChoice::Spec(i) => {
            plan.policy.keys[i].parts.iter().map(|part| (part.name.clone(), shown(&part.operand))).collect()
        }
        KeyChoice::CallerElseAddress => {
            let caller = view.event.caller.number;
            let is_caller = !caller.is_absent() && caller.kind() != Some(NumberKind::Anonymous);
            let (name, operand) = if is_caller {
                ("caller", Operand::Field(Field::Party(Which::Caller)))
            } else {
                ("source_ip", Operand::Field(Field::SourceIp))
            };
            vec![(name.to_owned(), shown(&operand))]
        }
    }
}
