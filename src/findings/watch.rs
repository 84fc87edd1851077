//! Which events the rules of an incident counted: their conditions and keys, as the policy of now has them.
//!
//! A rule's own condition decides, on the event as it is kept. Of a rule that is not there any more only the key is
//! known, which is said.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::{CallEvent, Field, Flags, Kind, NumberKind, Which};
use crate::incident::Alert;
use crate::limits::FINDINGS_OPEN_KEYS_MAX;
use crate::policy::predicate::{Value, write_value};
use crate::policy::{FirewallRule, Measure, On, Operand, Policy, ThresholdRule, View};

/// The rules of an incident's alerts, and their keys.
pub(super) struct Watch<'a> {
    pub(super) rules: Vec<Watched<'a>>,
    /// Alerts whose keys cannot be looked for.
    pub(super) n_unknown_keys: usize,
}

pub(super) struct Watched<'a> {
    pub(super) id: String,
    pub(super) rule: Rule<'a>,
    /// The parts of its key.
    operands: Vec<Operand>,
    /// The alerts' keys, as [`Watched::key`] writes them.
    keys: HashMap<Vec<u8>, i64>,
    /// Keys of which some parts stand for all values.
    open_keys: Vec<Vec<Option<Vec<u8>>>>,
}

#[derive(Clone, Copy)]
pub(super) enum Rule<'a> {
    Threshold(&'a ThresholdRule),
    /// One that is tracked.
    Firewall(&'a FirewallRule),
    Gone,
}

/// What one rule says of one event.
pub(super) struct Seen {
    pub(super) rule: usize,
    pub(super) key: Vec<u8>,
    /// The key is that of an alert.
    pub(super) is_alerted: bool,
    /// The rule counted it.
    pub(super) is_counted: bool,
    /// What its measure takes of it.
    pub(super) value: u64,
}

impl<'a> Watch<'a> {
    pub(super) fn new(policy: &'a Policy, alerts: &[Alert]) -> Watch<'a> {
        let mut watch = Watch { rules: Vec::new(), n_unknown_keys: 0 };
        for alert in alerts {
            let names: Vec<&str> = alert.key.iter().map(|(name, _)| name.as_str()).collect();
            let Some(operands) = names.iter().map(|name| operand(name)).collect::<Option<Vec<_>>>() else {
                watch.n_unknown_keys += 1;
                continue;
            };
            let fits = |rule: &&mut Watched<'_>| rule.id == alert.rule && rule.operands == operands;
            let at = match watch.rules.iter_mut().find(fits) {
                Some(rule) => rule,
                None => {
                    let (id, rule) = (alert.rule.clone(), Rule::of(policy, alert));
                    let (keys, open_keys) = (HashMap::new(), Vec::new());
                    watch.rules.push(Watched { id, rule, operands, keys, open_keys });
                    let last = watch.rules.len() - 1;
                    &mut watch.rules[last]
                }
            };
            if !at.add(alert) {
                watch.n_unknown_keys += 1;
            }
        }
        watch
    }

    /// What each rule says of the event; nothing of one whose key it has not.
    pub(super) fn look(&self, view: &View<'_>, is_blocked: bool, seen: &mut Vec<Seen>) {
        seen.clear();
        if view.event.flags.has(Flags::DUPLICATE) {
            return;
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let is_met = rule.counts(view, is_blocked);
            // A call that was turned away is known by its key alone.
            if !is_met && !is_blocked {
                continue;
            }
            let Some(key) = rule.key(view) else { continue };
            let is_alerted = rule.is_alerted(&key);
            let is_counted = is_met && (is_alerted || !matches!(rule.rule, Rule::Gone));
            if is_alerted || is_counted {
                seen.push(Seen { rule: at, key, is_alerted, is_counted, value: rule.value(view) });
            }
        }
    }
}

impl<'a> Rule<'a> {
    fn of(policy: &'a Policy, alert: &Alert) -> Rule<'a> {
        let (id, customer, at) = (&alert.rule, &alert.customer, alert.last);
        let threshold = policy.threshold_of(id, customer, at).map(Rule::Threshold);
        let firewall = || policy.firewall_of(id, customer, at).map(Rule::Firewall);
        threshold.or_else(firewall).unwrap_or(Rule::Gone)
    }
}

impl Watched<'_> {
    /// False where there is no room for one more key of its kind.
    fn add(&mut self, alert: &Alert) -> bool {
        let is_open = |value: &str| alert.is_others && matches!(value, "(others)" | "(other)");
        if alert.key.iter().any(|(_, value)| is_open(value) || value == "(other)") {
            let part = |value: &String| (!is_open(value) && value != "(other)").then(|| value.clone().into_bytes());
            let key = alert.key.iter().map(|(_, value)| part(value)).collect();
            if self.open_keys.len() >= FINDINGS_OPEN_KEYS_MAX {
                return false;
            }
            self.open_keys.push(key);
            return true;
        }
        let mut key = Vec::new();
        for (_, value) in &alert.key {
            put_part(&mut key, value.as_bytes());
        }
        self.keys.insert(key, alert.id);
        true
    }

    /// The key of the event, part by part, with the length of each before it.
    fn key(&self, view: &View<'_>) -> Option<Vec<u8>> {
        let merges = match self.rule {
            Rule::Threshold(rule) => view.policy.keys.get(rule.key).is_some_and(|key| key.merge_missing),
            _ => false,
        };
        let mut key = Vec::with_capacity(32);
        let mut part = Vec::with_capacity(24);
        for operand in &self.operands {
            let is_caller = *operand == Operand::Field(Field::Party(Which::Caller));
            let is_withheld = is_caller && view.event.caller.number.kind() == Some(NumberKind::Anonymous);
            part.clear();
            match operand.value(view).filter(|_| !is_withheld) {
                Some(value) => write_value(&value, &mut part),
                None if merges => part.extend_from_slice(b"(none)"),
                None => return None,
            }
            put_part(&mut key, &part);
        }
        Some(key)
    }

    fn is_alerted(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
            || self.open_keys.iter().any(|open| {
                let parts = parts(key);
                open.len() == parts.len() && open.iter().zip(parts).all(|(o, p)| o.as_ref().is_none_or(|o| o == p))
            })
    }

    fn counts(&self, view: &View<'_>, is_blocked: bool) -> bool {
        match self.rule {
            Rule::Threshold(rule) => {
                let is_blocked = is_blocked && !view.event.flags.has(Flags::OWN_BLOCK);
                meets(rule.on, view.event)
                    && (rule.count_blocked || !is_blocked)
                    && rule.condition.as_ref().is_none_or(|condition| condition.eval(view))
            }
            Rule::Firewall(rule) => meets(rule.on, view.event) && rule.when.eval(view),
            Rule::Gone => meets(On::Attempt, view.event) || meets(On::Register, view.event),
        }
    }

    fn value(&self, view: &View<'_>) -> u64 {
        let Rule::Threshold(rule) = self.rule else { return 1 };
        match &rule.measure {
            Measure::Distinct(operand) => operand.value(view).map_or(0, |value| word(&value)),
            Measure::Sum(Field::Duration) => known(view.event.duration_ms),
            Measure::Sum(Field::Ring) => known(view.event.ring_ms),
            Measure::Sum(Field::Setup) => known(view.event.setup_ms),
            Measure::Sum(Field::Cost) => u64::try_from(view.event.cost).unwrap_or(0),
            _ => 1,
        }
    }

    /// The condition asks for what a threshold put on a list, which nobody remembers.
    pub(super) fn asks_dynamic(&self, policy: &Policy) -> bool {
        let is_dynamic = |list: usize| {
            let content = policy.lists.get(list).map(|list| &list.content);
            matches!(content, Some(crate::policy::ListContent::Dynamic(_)))
        };
        match self.rule {
            Rule::Threshold(rule) => rule.condition.as_ref().is_some_and(|c| c.uses_dynamic(&is_dynamic)),
            Rule::Firewall(rule) => rule.when.uses_dynamic(&is_dynamic),
            Rule::Gone => false,
        }
    }
}

fn known(ms: u32) -> u64 {
    if ms == CallEvent::NO_TIME { 0 } else { u64::from(ms) }
}

fn word(value: &Value<'_>) -> u64 {
    let mut text = Vec::new();
    write_value(value, &mut text);
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Is the event one that a rule of this kind looks at, and not one that another event has told it of?
fn meets(on: On, event: &CallEvent) -> bool {
    let seen = |flag| event.flags.has(flag);
    let is_attempt = matches!(event.kind, Kind::Attempt | Kind::Cdr) && !seen(Flags::ATTEMPT_SEEN);
    match on {
        On::Attempt | On::Call => is_attempt,
        On::Answer => match event.kind {
            Kind::Answer => !seen(Flags::ANSWER_SEEN),
            Kind::Cdr => event.answered() && !seen(Flags::ANSWER_SEEN),
            _ => false,
        },
        On::End => matches!(event.kind, Kind::End | Kind::Cdr) && !seen(Flags::END_SEEN),
        On::Register => event.kind == Kind::Register,
        On::Request => is_attempt || matches!(event.kind, Kind::Register | Kind::Options | Kind::Message),
    }
}

fn put_part(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&(part.len() as u32).to_le_bytes());
    key.extend_from_slice(part);
}

/// The parts of a key again.
pub(super) fn parts(mut key: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((len, rest)) = key.split_first_chunk::<4>() {
        let Some((part, rest)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else { break };
        found.push(part);
        key = rest;
    }
    found
}

/// The field, or the prefix of one, that a key's part is called after.
pub(super) fn operand(name: &str) -> Option<Operand> {
    let field = |name: &str| Field::named(name.trim()).map(|spec| spec.field);
    let inside = |function: &str| name.strip_prefix(function)?.strip_suffix(')');
    if let Some((name, digits)) = inside("prefix(").and_then(|inside| inside.split_once(',')) {
        return Some(Operand::Prefix(field(name)?, digits.trim().parse().ok()?));
    }
    if let Some(name) = inside("lower(") {
        return Some(Operand::Lower(field(name)?));
    }
    if let Some(name) = inside("len(") {
        return Some(Operand::Len(field(name)?));
    }
    field(name).map(Operand::Field)
}
