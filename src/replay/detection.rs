//! What rules found of labelled attacks: which, after how many of their calls, how soon, and how often they were wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::input::Told;
use super::labels::{Label, Labels};
use super::rules::{Effect, Rules};
use crate::clock::Timestamp;
use crate::engine::{Engine, Judged, RuleRef, Violation, Watch};
use crate::event::{Batch, CustomerId, Flags, Kind};
use crate::policy::{Action, Level, Measure, Operator, Policy, ThresholdRule};

/// Counts what the rules of one set or of two find.
#[derive(Debug)]
pub(super) struct Detection {
    labels: Arc<Labels>,
    /// By label.
    attacks: Vec<Attack>,
    clean_calls: u64,
    /// By set, then line.
    scores: Vec<Vec<Score>>,
    engines: Vec<Engine>,
    /// The last attack that a key was counted for, of rules that tell of it when time has passed.
    last: HashMap<Subject, (Label, Timestamp)>,
}

/// Set, line, customer and key.
type Subject = (usize, usize, CustomerId, Vec<(String, String)>);
/// What was told of: event, line, and what it belongs to where that is not the event's own label.
type Alarm = (u32, usize, Option<Label>);

#[derive(Clone, Copy, Debug, Default)]
struct Attack {
    first: Option<Timestamp>,
    calls: u64,
}

#[derive(Clone, Debug, Default)]
struct Score {
    found: BTreeMap<Label, Found>,
    alarms: u64,
    false_alarms: u64,
}

/// When a rule first told of an attack.
#[derive(Clone, Copy, Debug)]
struct Found {
    calls: u64,
    lead_ms: i64,
}

/// What came of one set of rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detected {
    pub clean_calls: u64,
    pub attacks: Vec<AttackFound>,
    pub rules: Vec<RuleFound>,
    /// Attacks that no rule told of.
    pub missed: Vec<String>,
}

/// One label other than `clean`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackFound {
    pub attack: String,
    pub calls: u64,
    /// The soonest first.
    pub found_by: Vec<FoundBy>,
}

/// How soon a rule told of an attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundBy {
    pub rule: String,
    /// Calls of the attack until then, the one that told included.
    pub calls: u64,
    /// From the attack's first event on.
    pub lead_seconds: f64,
}

/// What one rule is good for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleFound {
    pub rule: String,
    pub found: Vec<String>,
    pub median_calls: Option<f64>,
    pub median_lead_seconds: Option<f64>,
    /// Violations of a threshold, calls that a firewall rule met; those below with them.
    pub alarms: u64,
    /// Of clean calls.
    pub false_alarms: u64,
    pub false_alarms_per_million_clean_calls: f64,
}

impl Detection {
    /// `engines`: of each set.
    pub(super) fn new(labels: Arc<Labels>, rules: &Rules, engines: Vec<Engine>) -> Detection {
        let scores = vec![vec![Score::default(); rules.lines.len()]; engines.len()];
        Detection { labels, attacks: Vec::new(), clean_calls: 0, scores, engines, last: HashMap::new() }
    }

    pub(super) fn take(&mut self, told: &Told, rules: &Rules, policies: &[Arc<Policy>]) {
        let Some(batch) = told.judged.last().map(|last| &last.batch) else { return };
        let mut alarms: Vec<Vec<Alarm>> = Vec::new();
        for (set, policy) in policies.iter().enumerate() {
            self.note_subjects(told, set, rules, batch);
            if !told.is_warm {
                alarms.push(self.alarms(told, set, rules, policy));
            }
        }
        if told.is_warm {
            return;
        }
        let mut at = vec![0; alarms.len()];
        for (i, event) in batch.events.iter().enumerate() {
            let label = told.labels.get(i).copied().unwrap_or_default();
            self.meet(label, event.kind, event.time);
            for (set, alarms) in alarms.iter().enumerate() {
                while let Some((_, line, own)) = alarms.get(at[set]).filter(|(event, ..)| *event as usize == i) {
                    at[set] += 1;
                    self.alarm(set, *line, own.unwrap_or(label), event.time);
                }
            }
        }
    }

    /// What time brought once the input had ended.
    pub(super) fn tick(&mut self, set: usize, judged: &Judged, rules: &Rules) {
        for violation in judged.violations.iter().filter(|violation| !violation.is_reminder) {
            let Some(line) = rules.line(set, violation.rule) else { continue };
            let label = self.subject_label(set, line, violation, &judged.policy);
            self.alarm(set, line, label, violation.time);
        }
    }

    /// Remembers whom attacks were about, for rules that tell of it later, by no event.
    fn note_subjects(&mut self, told: &Told, set: usize, rules: &Rules, batch: &Batch) {
        for seen in &told.judged[set].observed {
            let label = told.labels.get(seen.event as usize).copied().unwrap_or_default();
            let (false, RuleRef::Threshold(i)) = (label == Label::CLEAN, seen.rule) else { continue };
            let policy = &told.judged[set].policy;
            let is_timed = policy.thresholds.get(usize::from(i)).is_some_and(may_be_timed);
            let (true, Some(line), Some(event)) =
                (is_timed, rules.line(set, seen.rule), batch.events.get(seen.event as usize))
            else {
                continue;
            };
            // The other engines' batch has the same events.
            let key = self.engines[set].key_of(batch, seen);
            self.last.insert((set, line, event.customer, key), (label, event.time));
        }
    }

    /// What a violation belongs to that no event is to blame for: the last attack its key was counted for, unless that is
    /// out of the rule's reach.
    fn subject_label(&self, set: usize, line: usize, violation: &Violation, policy: &Policy) -> Label {
        let RuleRef::Threshold(i) = violation.rule else { return Label::CLEAN };
        let reach = policy.thresholds.get(usize::from(i)).map_or(0, ThresholdRule::tells_ms);
        let subject = (set, line, violation.customer, violation.key.to_vec());
        let last = self.last.get(&subject).filter(|(_, at)| violation.time.0 - at.0 <= reach);
        last.map_or(Label::CLEAN, |(label, _)| *label)
    }

    /// Each time a rule of a set told of something, in the order of the events. A rule that allows tells of nothing.
    fn alarms(&self, told: &Told, set: usize, rules: &Rules, policy: &Policy) -> Vec<Alarm> {
        let judged = &told.judged[set];
        let alarm = |violation: &Violation| {
            let line = rules.line(set, violation.rule)?;
            let own = violation.is_timed.then(|| self.subject_label(set, line, violation, policy));
            Some((violation.event, line, own))
        };
        let mut alarms: Vec<Alarm> = judged.violations.iter().filter(|v| !v.is_reminder).filter_map(alarm).collect();
        let met = met(told, set, rules, policy).into_iter();
        let is_alarm = |effect: &Effect| effect.action != Action::Allow;
        alarms.extend(met.filter(|(.., effect)| is_alarm(effect)).map(|(event, line, _)| (event, line, None)));
        // A rule that is tracked tells of the call that it meets by a violation of its own.
        alarms.sort_unstable();
        alarms.dedup_by(|a, b| a == b && a.2.is_none());
        alarms
    }

    /// Another event of what the label names.
    fn meet(&mut self, label: Label, kind: Kind, time: Timestamp) {
        let begins = !matches!(kind, Kind::Answer | Kind::Interim | Kind::End);
        if label == Label::CLEAN {
            self.clean_calls += u64::from(matches!(kind, Kind::Attempt | Kind::Cdr));
            return;
        }
        let at = label.0 as usize;
        if self.attacks.len() <= at {
            self.attacks.resize(at + 1, Attack::default());
        }
        let attack = &mut self.attacks[at];
        attack.first = Some(attack.first.map_or(time, |first| first.min(time)));
        attack.calls += u64::from(begins);
    }

    fn alarm(&mut self, set: usize, line: usize, label: Label, time: Timestamp) {
        let score = &mut self.scores[set][line];
        score.alarms += 1;
        if label == Label::CLEAN {
            score.false_alarms += 1;
            return;
        }
        // One that has come to nothing yet in the time that is reported is neither clean nor to be found.
        let attack = self.attacks.get(label.0 as usize).copied().unwrap_or_default();
        if let Some(first) = attack.first {
            score.found.entry(label).or_insert(Found { calls: attack.calls, lead_ms: time.0 - first.0 });
        }
    }

    /// What came of each set.
    pub(super) fn finish(&self, rules: &Rules) -> Vec<Detected> {
        (0..self.scores.len()).map(|set| self.of_set(set, rules)).collect()
    }

    fn of_set(&self, set: usize, rules: &Rules) -> Detected {
        let mut attacks: Vec<AttackFound> = Vec::new();
        for (at, attack) in self.attacks.iter().enumerate().filter(|(_, attack)| attack.first.is_some()) {
            let label = Label(at as u32);
            let found = |(line, score): (usize, &Score)| {
                let Found { calls, lead_ms } = *score.found.get(&label)?;
                Some(FoundBy { rule: rules.lines[line].id.clone(), calls, lead_seconds: lead_ms as f64 / 1000.0 })
            };
            let mut found_by: Vec<FoundBy> = self.scores[set].iter().enumerate().filter_map(found).collect();
            found_by.sort_by(|a, b| a.calls.cmp(&b.calls).then(a.lead_seconds.total_cmp(&b.lead_seconds)));
            attacks.push(AttackFound { attack: self.labels.name(label), calls: attack.calls, found_by });
        }
        attacks.sort_by(|a, b| a.attack.cmp(&b.attack));
        let missed = attacks.iter().filter(|attack| attack.found_by.is_empty()).map(|a| a.attack.clone()).collect();
        let has_rule = |(line, _): &(usize, &Score)| rules.lines[*line].places[set].is_some();
        let rule = |(line, score): (usize, &Score)| self.rule(&rules.lines[line].id, score);
        let rules = self.scores[set].iter().enumerate().filter(has_rule).map(rule).collect();
        Detected { clean_calls: self.clean_calls, attacks, rules, missed }
    }

    fn rule(&self, id: &str, score: &Score) -> RuleFound {
        let mut found: Vec<String> = score.found.keys().map(|label| self.labels.name(*label)).collect();
        found.sort();
        RuleFound {
            rule: id.to_owned(),
            found,
            median_calls: median(score.found.values().map(|found| found.calls as f64).collect()),
            median_lead_seconds: median(score.found.values().map(|found| found.lead_ms as f64 / 1000.0).collect()),
            alarms: score.alarms,
            false_alarms: score.false_alarms,
            false_alarms_per_million_clean_calls: score.false_alarms as f64 * 1e6 / self.clean_calls.max(1) as f64,
        }
    }
}

/// Whether a rule tells of what no event is to blame for.
fn may_be_timed(rule: &ThresholdRule) -> bool {
    let is_low = |level: &Level| matches!(level.operator, Operator::Below | Operator::AtMost);
    rule.hold_ms > 0 || matches!(rule.measure, Measure::Longest) || rule.levels.lowest().is_some_and(is_low)
}

/// What an engine has to tell so that labels find what it says.
pub(super) fn watch(policies: &[Arc<Policy>]) -> Watch {
    let is_timed = policies.iter().flat_map(|policy| &policy.thresholds).any(may_be_timed);
    if is_timed { Watch::All } else { Watch::Open }
}

/// `(event, line, what it does)` of each firewall rule that decided an event, marked it or would have decided it.
pub(super) fn met(told: &Told, set: usize, rules: &Rules, policy: &Policy) -> Vec<(u32, usize, Effect)> {
    let judged = &told.judged[set];
    let mut met = Vec::new();
    let mut add = |event: u32, rule: u16| {
        let line = rules.line(set, RuleRef::Firewall(rule));
        met.extend(line.map(|line| (event, line, Effect::of(policy, rule))));
    };
    for (i, verdict) in judged.verdicts.iter().enumerate() {
        if let RuleRef::Firewall(rule) = verdict.rule
            && !flags_of(told, set, i).has(Flags(Flags::TOLD_AGAIN.0 | Flags::DUPLICATE.0))
        {
            add(i as u32, rule);
        }
    }
    for (event, rule) in &judged.flags {
        if !flags_of(told, set, *event as usize).has(Flags::TOLD_AGAIN) {
            add(*event, *rule);
        }
    }
    judged.would.iter().for_each(|(event, rule)| add(*event, *rule));
    met.sort_unstable_by_key(|(event, line, _)| (*event, *line));
    met
}

/// What an engine made of the flags of an event.
pub(super) fn flags_of(told: &Told, set: usize, event: usize) -> Flags {
    match told.flags.get(set) {
        Some(flags) => flags.get(event).copied(),
        None => told.judged.last().and_then(|Judged { batch, .. }| batch.events.get(event)).map(|event| event.flags),
    }
    .unwrap_or_default()
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some((values[last / 2] + values[values.len() / 2]) / 2.0)
}
