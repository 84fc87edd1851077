//! A policy laid out for the engine: which rules an event of each kind meets, and what each of them counts.

use std::sync::Arc;

use super::episode::{AlsoTerms, Terms, Weeks};
use super::judged::{RuleRef, Watch};
use super::key::KeyHasher;
use super::numbers::Numbers;
use super::walk::{Rule, Walks};
use crate::clock::Timestamp;
use crate::event::{CallEvent, CustomerId, Field, Flags, Kind, Names, Which};
use crate::limits::{CALL_AGE_MS_MAX, CALLS_MAX, EXACT_ITEMS_MAX, MAX_BYTES_DEFAULT, MAX_KEYS_DEFAULT, PARTITIONS};
use crate::policy::{
    Concern, FirewallRule, Level, ListContent, Measure, Mode, On, Operand, Operator, Policy, Predicate, ThresholdRule,
    View,
};
use crate::window::{PartKind, PartWidth, Width};

/// What an event is at once: a `cdr` is a whole call in one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases(u8);

impl Phases {
    pub(crate) const ATTEMPT: Phases = Phases(1);
    pub(crate) const ANSWER: Phases = Phases(2);
    pub(crate) const END: Phases = Phases(4);
    pub(crate) const REGISTER: Phases = Phases(8);
    pub(crate) const REQUEST: Phases = Phases(16);

    pub(crate) fn meets(self, other: Phases) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn with(self, other: Phases, unless: bool) -> Phases {
        if unless { self } else { Phases(self.0 | other.0) }
    }

    /// The phases of an event that were not counted before.
    pub(crate) fn of(event: &CallEvent) -> Phases {
        let seen = |flag| event.flags.has(flag);
        let attempt = Phases(Phases::ATTEMPT.0 | Phases::REQUEST.0);
        match event.kind {
            Kind::Attempt => Phases(0).with(attempt, seen(Flags::ATTEMPT_SEEN)),
            Kind::Answer => Phases(0).with(Phases::ANSWER, seen(Flags::ANSWER_SEEN)),
            Kind::End => Phases(0).with(Phases::END, seen(Flags::END_SEEN)),
            Kind::Cdr => Phases(0)
                .with(attempt, seen(Flags::ATTEMPT_SEEN))
                .with(Phases::ANSWER, seen(Flags::ANSWER_SEEN) || !event.answered())
                .with(Phases::END, seen(Flags::END_SEEN)),
            Kind::Register => Phases(Phases::REGISTER.0 | Phases::REQUEST.0),
            Kind::Options | Kind::Message => Phases::REQUEST,
            Kind::Interim => Phases(0),
        }
    }

    fn of_rule(on: On) -> Phases {
        match on {
            On::Attempt => Phases::ATTEMPT,
            On::Answer => Phases::ANSWER,
            On::End => Phases::END,
            On::Register => Phases::REGISTER,
            On::Request => Phases::REQUEST,
            On::Call => Phases(0),
        }
    }
}

/// Which meter a rule's keys have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MeterKind {
    Count,
    Distinct,
    Sum,
    Ratio,
    Run,
    Concurrent,
    /// Several measures of one key.
    Joint,
}

/// One rule that counts: a threshold, or a firewall rule that is tracked.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) rule: RuleRef,
    pub(crate) position: u32,
    pub(crate) phases: Phases,
    pub(crate) meter: MeterKind,
    pub(crate) terms: Terms,
    pub(crate) key: KeyChoice,
    pub(crate) count_blocked: bool,
    pub(crate) mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyChoice {
    /// Index into [`Policy::keys`].
    Spec(usize),
    /// Of tracked firewall rules: the caller, else the source address.
    CallerElseAddress,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) policy: Arc<Policy>,
    pub(crate) names: Arc<Names>,
    pub(crate) hasher: KeyHasher,
    pub(crate) n_shards: u32,
    pub(crate) counters: Vec<Counter>,
    /// Which rules an event may meet.
    pub(crate) walks: Walks,
    pub(crate) has_call_rules: bool,
    /// Counter of each firewall rule that is tracked.
    pub(crate) tracked: Vec<Option<u16>>,
    /// Parties that are looked up in large lists, to be brought into the caches for many events at once.
    pub(crate) looked_up: Vec<(Which, usize)>,
    /// Some rule counts answers or ends, but not those of calls that were blocked.
    pub(crate) minds_blocked: bool,
    /// Some rule reads what thresholds write to: events are judged one after the other, on one shard.
    pub(crate) is_coupled: bool,
    pub(crate) watch: Watch,
    /// What counters are known by to lists, those of calls to the calls that are up, and lists to what stands on them.
    pub(crate) rule_numbers: Numbers,
    pub(crate) call_numbers: Numbers,
    pub(crate) list_numbers: Numbers,
}

impl Plan {
    pub(crate) fn new(policy: Arc<Policy>, names: Arc<Names>, hasher: KeyHasher, n_threads: usize) -> Plan {
        let mut counters: Vec<Counter> =
            policy.thresholds.iter().enumerate().map(|(i, r)| threshold(i, r, &names)).collect();
        let mut tracked = vec![None; policy.firewall.len()];
        for (i, rule) in policy.firewall.iter().enumerate() {
            if rule.track.is_some() {
                tracked[i] = Some(counters.len() as u16);
                counters.push(tracked_counter(i, &policy));
            }
        }
        let (walks, has_call_rules) = walks(&policy, &counters);
        let notes = |r: &ThresholdRule| r.mode == Mode::Enforce && has_block(r) || !r.chains.is_empty();
        let blocks = policy.thresholds.iter().any(notes);
        let is_coupled = blocks && reads_dynamic(&policy);
        let n_shards = match n_threads {
            _ if is_coupled => 1,
            0 | 1 => 1,
            // A power of two, for cheap arithmetic; two a thread: a busy one does not hold up the rest, and small
            // batches do not pay for many.
            n => (n * 2).next_power_of_two().min(PARTITIONS) as u32,
        };
        Plan {
            rule_numbers: Numbers::first(counters.len()),
            call_numbers: Numbers::first(counters.len()),
            list_numbers: Numbers::first(policy.lists.len()),
            hasher,
            n_shards,
            has_call_rules,
            walks,
            tracked,
            looked_up: looked_up(&policy),
            minds_blocked: counters
                .iter()
                .any(|c| !c.count_blocked && c.phases.meets(Phases(Phases::ANSWER.0 | Phases::END.0))),
            is_coupled,
            watch: Watch::Nothing,
            counters,
            policy,
            names,
        }
    }

    /// Does what a threshold counts hang on a list that thresholds write to?
    pub(crate) fn reads_dynamic(&self, counter: &Counter) -> bool {
        let RuleRef::Threshold(i) = counter.rule else { return false };
        self.policy.thresholds.get(usize::from(i)).is_some_and(|rule| threshold_reads_dynamic(rule, &self.policy))
    }

    pub(crate) fn condition(&self, counter: &Counter) -> Option<&Predicate> {
        match counter.rule {
            RuleRef::Threshold(i) => self.policy.thresholds[i as usize].condition.as_ref(),
            _ => None,
        }
    }

    /// The event is none of those that the threshold counts, though it meets its condition.
    pub(crate) fn excepts(&self, counter: &Counter, view: &View<'_>) -> bool {
        let RuleRef::Threshold(i) = counter.rule else { return false };
        self.policy.thresholds[i as usize].concern.except.find(view).is_some()
    }

    /// Does the rule look at the customer's events at that time?
    pub(crate) fn concerns(&self, counter: &Counter, customer: CustomerId, at: Timestamp) -> bool {
        let RuleRef::Threshold(i) = counter.rule else { return true };
        let concern = &self.policy.thresholds[i as usize].concern;
        concern.is_everybodys() || concern.is_of(self.names.customer_text(customer), at)
    }

    /// Nobody is to be told of a violation by the event.
    pub(crate) fn mutes(&self, counter: &Counter, view: &View<'_>) -> bool {
        let RuleRef::Threshold(i) = counter.rule else { return false };
        self.policy.thresholds[i as usize].concern.mute.find(view).is_some()
    }

    /// Is there a `mute` of the rule in force, whatever it is for?
    pub(crate) fn may_mute(&self, counter: &Counter, at: Timestamp) -> bool {
        let RuleRef::Threshold(i) = counter.rule else { return false };
        self.policy.thresholds[i as usize].concern.mute.is_any_in_force(at)
    }

    /// Records know a firewall rule by its id: the variant of it that judges the event, or the rule itself.
    pub(crate) fn variant_for(&self, rule: u16, event: &CallEvent) -> u16 {
        let Some(named) = self.policy.firewall.get(usize::from(rule)) else { return rule };
        if named.concern.spared.is_empty() && named.concern.variant.is_none() {
            return rule;
        }
        let customer = self.names.customer_text(event.customer);
        let is_it = |rule: &FirewallRule| rule.id == named.id && rule.concern.is_of(customer, event.time);
        self.policy.firewall.iter().position(is_it).map_or(rule, |found| found as u16)
    }
}

/// The rules by when they run and whom they concern; and whether some follow calls.
fn walks(policy: &Policy, counters: &[Counter]) -> (Walks, bool) {
    let thresholds = |wanted: &dyn Fn(&Counter) -> bool| {
        let rules = policy.thresholds.iter().zip(counters).zip(0..).filter(|((_, counter), _)| wanted(counter));
        let rule = rules.map(|((rule, _), number)| Rule {
            number,
            concern: &rule.concern,
            condition: rule.condition.as_ref(),
        });
        rule.collect::<Vec<_>>()
    };
    let mut by_kind: Vec<Vec<Rule<'_>>> = Kind::ALL.iter().map(|_| Vec::new()).collect();
    for kind in Kind::ALL {
        let event = CallEvent { kind: *kind, status: crate::event::Status::Answered, ..CallEvent::BLANK };
        let phases = Phases::of(&event);
        by_kind[*kind as usize] = thresholds(&|counter| counter.phases.meets(phases));
    }
    let firewall = |on: &[On]| {
        let rules = policy.firewall.iter().zip(0..).filter(|(rule, _)| on.contains(&rule.on));
        rules.map(|(rule, number)| Rule { number, concern: &rule.concern, condition: Some(&rule.when) }).collect()
    };
    // In the order of `Stage`.
    let stages: [&[On]; 4] = [&[On::Attempt, On::Request], &[On::Answer], &[On::End], &[On::Request]];
    let calls = thresholds(&|counter| counter.meter == MeterKind::Concurrent);
    (Walks::new(&by_kind, &stages.map(firewall), &calls), !calls.is_empty())
}

fn has_block(rule: &ThresholdRule) -> bool {
    rule.on_warning.block.is_some() || rule.on_critical.block.is_some()
}

fn reads_dynamic(policy: &Policy) -> bool {
    policy.firewall.iter().any(|r| is_dynamic(&r.when, policy) || concern_reads_dynamic(&r.concern, policy))
        || policy.thresholds.iter().any(|r| threshold_reads_dynamic(r, policy))
}

fn threshold_reads_dynamic(rule: &ThresholdRule, policy: &Policy) -> bool {
    rule.condition.as_ref().is_some_and(|condition| is_dynamic(condition, policy))
        || matches!(&rule.measure, Measure::Share(of) if is_dynamic(of, policy))
        || concern_reads_dynamic(&rule.concern, policy)
}

fn concern_reads_dynamic(concern: &Concern, policy: &Policy) -> bool {
    concern.predicates().any(|predicate| is_dynamic(predicate, policy))
}

fn is_dynamic(predicate: &Predicate, policy: &Policy) -> bool {
    let is_dynamic = |list: usize| matches!(policy.lists.get(list).map(|l| &l.content), Some(ListContent::Dynamic(_)));
    predicate.uses_dynamic(&is_dynamic)
}

fn looked_up(policy: &Policy) -> Vec<(Which, usize)> {
    let mut tests = Vec::new();
    policy.firewall.iter().for_each(|r| r.when.list_tests(&mut tests));
    policy.thresholds.iter().filter_map(|r| r.condition.as_ref()).for_each(|p| p.list_tests(&mut tests));
    let mut found = Vec::new();
    for (operand, list) in tests {
        if let Operand::Field(Field::Party(which)) = operand
            && !found.contains(&(*which, list))
        {
            found.push((*which, list));
        }
    }
    found
}

/// The meter of a measure, and what a reading of it is multiplied with before it is held against a level.
fn meter(measure: &Measure) -> (MeterKind, i128) {
    match measure {
        Measure::Count => (MeterKind::Count, 1),
        Measure::Distinct(_) => (MeterKind::Distinct, 1),
        Measure::Sum(_) => (MeterKind::Sum, 1),
        Measure::Avg(_) => (MeterKind::Ratio, 1),
        Measure::Share(_) => (MeterKind::Ratio, Level::SHARE_SCALE),
        Measure::Run(..) => (MeterKind::Run, 1),
        Measure::Concurrent | Measure::Longest => (MeterKind::Concurrent, 1),
        Measure::FirstSeen(..) => (MeterKind::Joint, 1),
    }
}

fn threshold(index: usize, rule: &ThresholdRule, names: &Arc<Names>) -> Counter {
    let (alone, scale) = meter(&rule.measure);
    let usual = rule.usual.as_ref().map(|usual| Weeks { usual: Arc::clone(usual), names: Arc::clone(names) });
    let is_joint = alone == MeterKind::Joint || !rule.also.is_empty() || rule.levels.has_usual() || asks_presence(rule);
    let is_downward = rule.levels.is_downward();
    let is_ratio = |meter: MeterKind| meter == MeterKind::Ratio;
    let min_count = |meter: MeterKind| if is_ratio(meter) { u64::from(rule.min_count) } else { 0 };
    let also = rule.also.iter().map(|also| {
        let (meter, scale) = meter(&also.measure);
        AlsoTerms { level: also.level.clone(), scale, min_count: min_count(meter) }
    });
    Counter {
        rule: RuleRef::Threshold(index as u16),
        position: rule.position,
        phases: Phases::of_rule(rule.on),
        meter: if is_joint { MeterKind::Joint } else { alone },
        terms: Terms {
            width: width(rule, is_joint),
            warning: rule.levels.warning.clone(),
            critical: rule.levels.critical.clone(),
            clear: rule.levels.clear.clone(),
            cooldown_ms: rule.cooldown_ms,
            hold_ms: rule.hold_ms,
            remind_ms: rule.remind_ms,
            is_age: matches!(rule.measure, Measure::Longest),
            is_timed: rule.hold_ms > 0
                || rule.remind_ms.is_some()
                || is_downward
                || matches!(rule.measure, Measure::Longest),
            is_downward,
            also: also.collect(),
            min_count: min_count(alone),
            scale,
            lowest: if is_downward { 0 } else { rule.levels.lowest().map_or(0, |level| whole(level, rule.least)) },
            usual,
            least: rule.least,
            keys_max: rule.max_keys.div_ceil(PARTITIONS as u64) as usize,
            bytes_max: rule.max_bytes.div_ceil(PARTITIONS as u64) as usize,
            is_quiet: false,
        },
        key: KeyChoice::Spec(rule.key),
        count_blocked: rule.count_blocked,
        mode: rule.mode,
    }
}

/// A window of events that have no value for the measure is not empty, and a level to fall below may hold of it: a count
/// tells, where the measure does not.
fn asks_presence(rule: &ThresholdRule) -> bool {
    let keeps_values =
        matches!(rule.measure, Measure::Distinct(_) | Measure::Sum(_) | Measure::Run(..) | Measure::FirstSeen(..));
    rule.levels.is_downward() && keeps_values
}

/// What the rule's meters keep.
fn width(rule: &ThresholdRule, is_joint: bool) -> Width {
    let of = |measure: &Measure, enough: u64| {
        let step = if let Measure::Run(_, step) = measure { *step } else { 0 };
        // What is usual tomorrow may be more than today, and more than so many are not kept one by one.
        let enough = match measure {
            Measure::Count | Measure::Distinct(_) if enough == u64::MAX => EXACT_ITEMS_MAX as u64,
            _ => enough.max(1),
        };
        Width { window_ms: rule.window_ms, enough, step, parts: None }
    };
    let own = of(&rule.measure, rule.levels.enough());
    if rule.measure.is_of_calls() {
        return Width { window_ms: CALL_AGE_MS_MAX, enough: CALLS_MAX as u64, ..own };
    }
    if !is_joint {
        return own;
    }
    let part = |measure: &Measure, width: Width| {
        let kind = match meter(measure).0 {
            MeterKind::Count | MeterKind::Concurrent => PartKind::Count,
            MeterKind::Distinct => PartKind::Distinct,
            MeterKind::Sum => PartKind::Sum,
            MeterKind::Ratio => PartKind::Ratio,
            MeterKind::Run => PartKind::Run,
            MeterKind::Joint => match measure {
                // What is in the window is remembered, whatever else.
                Measure::FirstSeen(_, memory_ms) => PartKind::FirstSeen(rule.window_ms.max(*memory_ms)),
                _ => PartKind::Count,
            },
        };
        let enough = if matches!(kind, PartKind::FirstSeen(_)) { EXACT_ITEMS_MAX as u64 } else { width.enough };
        PartWidth { kind, width: Width { enough, ..width } }
    };
    let also = rule.also.iter().map(|also| part(&also.measure, of(&also.measure, also.level.enough())));
    let presence = asks_presence(rule).then(|| part(&Measure::Count, of(&Measure::Count, 1)));
    let parts = std::iter::once(part(&rule.measure, own.clone())).chain(also).chain(presence).collect();
    Width { parts: Some(parts), ..own }
}

/// The smallest whole reading that meets an upward level.
fn whole(level: &Level, least: i128) -> u64 {
    let smallest = if level.is_of_usual { least } else { level.smallest() };
    smallest.clamp(0, i128::from(u64::MAX)) as u64
}

/// How long a tracked firewall rule stays quiet about a caller after it last matched.
const MATCH_COOLDOWN_MS: i64 = 5 * 60_000;

/// `track = ["alert:..."]`: a count of one in a window of no width, so that each match is an episode's beginning or
/// its going on.
fn tracked_counter(index: usize, policy: &Policy) -> Counter {
    let rule = &policy.firewall[index];
    let text = ">= 1".to_owned();
    let level = Some(Level { operator: Operator::AtLeast, limit: 1, is_of_usual: false, text });
    let is_critical = rule.track == Some(crate::policy::Severity::Critical);
    let (warning, critical) = if is_critical { (None, level) } else { (level, None) };
    Counter {
        rule: RuleRef::Firewall(index as u16),
        position: rule.position,
        phases: Phases::default(),
        meter: MeterKind::Count,
        terms: Terms {
            width: Width { window_ms: 0, enough: 1, step: 0, parts: None },
            warning,
            critical,
            clear: None,
            cooldown_ms: MATCH_COOLDOWN_MS,
            hold_ms: 0,
            remind_ms: None,
            is_age: false,
            is_timed: false,
            also: Vec::new(),
            is_downward: false,
            min_count: 0,
            scale: 1,
            lowest: 1,
            usual: None,
            least: 0,
            keys_max: MAX_KEYS_DEFAULT.div_ceil(PARTITIONS as u64) as usize,
            bytes_max: MAX_BYTES_DEFAULT.div_ceil(PARTITIONS as u64) as usize,
            is_quiet: false,
        },
        key: KeyChoice::CallerElseAddress,
        count_blocked: true,
        mode: rule.mode,
    }
}
