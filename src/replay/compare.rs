//! Two rule sets over the same calls: `replay --compare`.
//!
//! Every block is decoded once and judged by both engines; here what they said of it meets, event by event. The same
//! violation is one of the same rule, level and key by the same event; one that comes at another event while the other
//! set's episode is open is the same alarm, earlier or later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use super::detection::{Detection, met};
use super::difference::{Change, Sample};
use super::input::Told;
use super::rules::{Effect, Rules};
use crate::clock::Timestamp;
use crate::engine::{Closed, Judged, RuleRef, Verdict, Violation, output};
use crate::event::{Batch, CallEvent, CustomerId, Flags, Kind, Names, Party};
use crate::limits::COMPARE_SAMPLES;
use crate::policy::{Action, Policy, Severity};

/// See the module.
pub(super) struct Comparison {
    pub(super) policies: [Arc<Policy>; 2],
    pub(super) names: Arc<Names>,
    pub(super) rules: Rules,
    pub(super) detection: Option<Detection>,
    /// By line, then [`Part`].
    pub(super) rows: Vec<[Row; 3]>,
    pub(super) events: u64,
    pub(super) calls: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// Calls by what was done with them, of each set.
    pub(super) actions: [[u64; Action::ALL.len()]; 2],
    /// Violations of each set that the other has not, so far.
    open: [HashMap<Alarm, Open>; 2],
    days: Days,
    n_seen: u64,
    n_blocks: u64,
}

/// What a rule is told of by: calls that the firewall met, and the levels of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Firewall,
    Warning,
    Critical,
}

impl Part {
    pub(super) const ALL: [Part; 3] = [Part::Firewall, Part::Warning, Part::Critical];

    fn of(level: Severity) -> Part {
        match level {
            Severity::Warning => Part::Warning,
            Severity::Critical => Part::Critical,
        }
    }
}

/// What both sets said of one rule.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) sides: [Side; 2],
    /// Only in the first, only in the second.
    pub(super) only: [u64; 2],
    pub(super) earlier: u64,
    pub(super) later: u64,
    /// Another action for the same call.
    pub(super) changed: u64,
    pub(super) samples: Samples,
}

#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) episodes: u64,
    pub(super) calls: u64,
    pub(super) keys: HashSet<u64>,
    /// Episodes, of firewall rules calls.
    pub(super) by_day: BTreeMap<i64, u64>,
}

/// The first few differences of each kind.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(Change, u64), Sample>);

impl Samples {
    fn add(&mut self, seen: u64, sample: Sample) {
        let kind = sample.change;
        self.0.insert((kind, seen), sample);
        let mut of_kind = self.0.range((kind, 0)..=(kind, u64::MAX)).map(|(at, _)| *at);
        if of_kind.clone().count() > COMPARE_SAMPLES
            && let Some(last) = of_kind.next_back()
        {
            self.0.remove(&last);
        }
    }

    /// Whether what is seen now would be kept.
    fn has_room(&self, kind: Change) -> bool {
        self.0.range((kind, 0)..=(kind, u64::MAX)).count() < COMPARE_SAMPLES
    }

    pub(super) fn take(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// What a violation is told apart by, but for when it came.
type Alarm = (usize, Severity, CustomerId, Arc<[(String, String)]>);

/// A violation that the other set has not had.
struct Open {
    time: Timestamp,
    /// The event that crossed: block, and place in it. `None`: time brought it.
    event: Option<(u64, u32)>,
    seen: u64,
    is_warm: bool,
    sample: Sample,
}

impl Comparison {
    pub(super) fn new(
        policies: [Arc<Policy>; 2],
        names: Arc<Names>,
        rules: Rules,
        detection: Option<Detection>,
    ) -> Comparison {
        let zone = policies[1].time_zone.clone();
        Comparison {
            rows: rules.lines.iter().map(|_| Default::default()).collect(),
            policies,
            names,
            rules,
            detection,
            events: 0,
            calls: 0,
            first: None,
            last: None,
            actions: Default::default(),
            open: Default::default(),
            days: Days { zone, known: None },
            n_seen: 0,
            n_blocks: 0,
        }
    }

    pub(super) fn take(&mut self, told: &Told) {
        let [_, second] = told.judged.as_slice() else { return };
        let batch = &second.batch;
        self.n_blocks += 1;
        if let Some(detection) = &mut self.detection {
            detection.take(told, &self.rules, &self.policies);
        }
        let [first, second] = [&told.judged[0], second];
        self.compare_violations([first, second], told.is_warm, batch);
        if !told.is_warm {
            self.count_calls(told, batch);
            self.compare_verdicts(told, batch);
            self.count_hits(told, batch);
        }
    }

    fn count_calls(&mut self, told: &Told, batch: &Batch) {
        self.events += batch.events.len() as u64;
        let times = || batch.events.iter().map(|event| event.time);
        self.first = [self.first, times().min()].into_iter().flatten().min();
        self.last = self.last.max(times().max());
        for (i, event) in batch.events.iter().enumerate() {
            let is_call = matches!(event.kind, Kind::Attempt | Kind::Cdr);
            if !is_call || event.flags.has(Flags(Flags::REPEATED.0 | Flags::DUPLICATE.0)) {
                continue;
            }
            self.calls += 1;
            for (actions, judged) in self.actions.iter_mut().zip(&told.judged) {
                if let Some(verdict) = judged.verdicts.get(i) {
                    actions[verdict.action as usize] += 1;
                }
            }
        }
    }

    /// Calls that were counted for a key that was in alarm.
    fn count_hits(&mut self, told: &Told, batch: &Batch) {
        for (set, judged) in told.judged.iter().enumerate() {
            for seen in &judged.observed {
                let (Some(line), true) = (self.rules.line(set, seen.rule), seen.level.is_some()) else { continue };
                if !matches!(seen.rule, RuleRef::Threshold(_)) || batch.events.get(seen.event as usize).is_none() {
                    continue;
                }
                let policy = &self.policies[set];
                // Who is critical is told of by the warning level too, where there is one.
                if has_level(policy, seen.rule, Severity::Warning) {
                    self.rows[line][Part::Warning as usize].sides[set].calls += 1;
                }
                if seen.level == Some(Severity::Critical) {
                    self.rows[line][Part::Critical as usize].sides[set].calls += 1;
                }
            }
        }
    }

    /// What firewall rules did with each event, in force or not.
    fn compare_verdicts(&mut self, told: &Told, batch: &Batch) {
        let [first, second] = [0, 1].map(|set| met(told, set, &self.rules, &self.policies[set]));
        for (set, met) in [&first, &second].into_iter().enumerate() {
            for (event, line, _) in met {
                let Some(event) = batch.events.get(*event as usize) else { continue };
                let day = self.days.of(event.time);
                let side = &mut self.rows[*line][Part::Firewall as usize].sides[set];
                side.calls += 1;
                side.keys.insert(hash_of(&(event.customer, party(batch, &event.caller))));
                *side.by_day.entry(day).or_default() += 1;
            }
        }
        let (mut a, mut b) = (first.into_iter().peekable(), second.into_iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (None, None) => return,
                (Some(a), None) => (a.0, a.1),
                (None, Some(b)) => (b.0, b.1),
                (Some(a), Some(b)) => (a.0, a.1).min((b.0, b.1)),
            };
            let is_next = |met: &(u32, usize, Effect)| (met.0, met.1) == next;
            let effects = [a.next_if(is_next), b.next_if(is_next)].map(|met| met.map(|(.., effect)| effect));
            let row = &mut self.rows[next.1][Part::Firewall as usize];
            let change = match effects {
                [Some(before), Some(after)] if before == after => continue,
                [Some(_), Some(_)] => {
                    row.changed += 1;
                    Change::Changed
                }
                [before, _] => {
                    let set = usize::from(before.is_none());
                    row.only[set] += 1;
                    Change::only(set)
                }
            };
            self.n_seen += 1;
            if row.samples.has_room(change) {
                let index = next.0 as usize;
                let sides = [0, 1].map(|set| (&*self.policies[set], &told.judged[set], effects[set]));
                let [before, after] = sides.map(|(policy, judged, effect)| said(policy, judged, index, effect));
                let sample = sample(batch, index, &self.names, change, before, after);
                row.samples.add(self.n_seen, sample);
            }
        }
    }

    /// What time brought to one set once the input had ended.
    pub(super) fn tick(&mut self, set: usize, judged: &Judged) {
        if let Some(detection) = &mut self.detection {
            detection.tick(set, judged, &self.rules);
        }
        for violation in judged.violations.iter().filter(|violation| !violation.is_reminder) {
            self.violation(set, violation, &[], false, &judged.batch);
        }
    }

    fn compare_violations(&mut self, judged: [&Judged; 2], is_warm: bool, batch: &Batch) {
        let mut rest = judged.map(|judged| judged.violations.as_slice());
        while let Some(event) = rest.iter().filter_map(|rest| rest.first()).map(|v| v.event).min() {
            for (set, rest) in rest.iter_mut().enumerate() {
                while let Some((violation, others)) = rest.split_first().filter(|(v, _)| v.event == event) {
                    *rest = others;
                    if !violation.is_reminder {
                        self.violation(set, violation, &judged[1 - set].closed, is_warm, batch);
                    }
                }
            }
        }
        for (set, judged) in judged.into_iter().enumerate() {
            for closed in &judged.closed {
                let Some(line) = self.rules.line(set, closed.rule) else { continue };
                for level in Severity::ALL {
                    let alarm = (line, *level, closed.customer, Arc::clone(&closed.key));
                    if self.open[set].get(&alarm).is_some_and(|open| open.time < closed.time)
                        && let Some(open) = self.open[set].remove(&alarm)
                    {
                        self.settle(set, line, *level, open);
                    }
                }
            }
        }
    }

    /// `closed`: what the other set closed meanwhile.
    fn violation(&mut self, set: usize, violation: &Violation, closed: &[Closed], is_warm: bool, batch: &Batch) {
        let Some(line) = self.rules.line(set, violation.rule) else { return };
        let alarm: Alarm = (line, violation.level, violation.customer, Arc::clone(&violation.key));
        self.n_seen += 1;
        if !is_warm {
            let day = self.days.of(violation.time);
            let side = &mut self.rows[line][Part::of(violation.level) as usize].sides[set];
            side.episodes += 1;
            side.keys.insert(hash_of(&(violation.customer, &violation.key)));
            *side.by_day.entry(day).or_default() += 1;
        }
        let other = 1 - set;
        let is_over = |open: &Open| {
            let is_its = |c: &&Closed| c.customer == violation.customer && c.key == violation.key;
            let of_rule = |c: &&Closed| self.rules.line(other, c.rule) == Some(line);
            let is_between = |c: &Closed| open.time < c.time && c.time <= violation.time;
            closed.iter().filter(is_its).filter(of_rule).any(is_between)
        };
        let event = (!violation.is_timed).then_some((self.n_blocks, violation.event));
        let met = self.open[other].get(&alarm).is_some_and(|open| !is_over(open));
        if met && let Some(open) = self.open[other].remove(&alarm) {
            // Of what time brought, only the time can be the same.
            let is_same = open.event == event && (event.is_some() || open.time == violation.time);
            if !(is_same || is_warm && open.is_warm) {
                self.meet(set, line, violation, open);
            }
            return;
        }
        let mut said = [String::new(), String::new()];
        said[set] = described(&self.policies[set], violation);
        let [before, after] = said;
        let mut sample = sample(batch, violation.event as usize, &self.names, Change::only(set), before, after);
        if violation.is_timed {
            // The event only let it be seen.
            sample.time = violation.time;
            sample.customer = self.names.customer_name(violation.customer);
            [&mut sample.call_id, &mut sample.caller, &mut sample.callee].into_iter().for_each(String::clear);
        }
        let sample = Sample { key: violation.key.to_vec(), ..sample };
        let open = Open { time: violation.time, event, seen: self.n_seen, is_warm, sample };
        if let Some(before) = self.open[set].insert(alarm, open) {
            self.settle(set, line, violation.level, before);
        }
    }

    /// Both sets have it, and the other had it first.
    fn meet(&mut self, set: usize, line: usize, violation: &Violation, open: Open) {
        let row = &mut self.rows[line][Part::of(violation.level) as usize];
        // The first set is what was. At one instant, what was met first was first.
        let (before, after) = if set == 1 { (open.time, violation.time) } else { (violation.time, open.time) };
        let is_later = after > before || after == before && set == 1;
        let change = if is_later { Change::Later } else { Change::Earlier };
        match change {
            Change::Later => row.later += 1,
            _ => row.earlier += 1,
        }
        if row.samples.has_room(change) {
            let mut sample = Sample { change, ..open.sample };
            let text = described(&self.policies[set], violation);
            *(if set == 1 { &mut sample.after } else { &mut sample.before }) = text;
            row.samples.add(open.seen, sample);
        }
    }

    /// The other set never had it.
    fn settle(&mut self, set: usize, line: usize, level: Severity, open: Open) {
        if open.is_warm {
            return;
        }
        let row = &mut self.rows[line][Part::of(level) as usize];
        row.only[set] += 1;
        row.samples.add(open.seen, open.sample);
    }

    /// What is still open is settled: the input has ended.
    pub(super) fn finish(&mut self) {
        for set in 0..2 {
            let mut open: Vec<(Alarm, Open)> = self.open[set].drain().collect();
            open.sort_by_key(|(_, open)| open.seen);
            for ((line, level, ..), open) in open {
                self.settle(set, line, level, open);
            }
        }
    }

    /// Days of the reported time, the empty ones between them included.
    pub(super) fn n_days(&mut self) -> usize {
        match (self.first, self.last) {
            (Some(first), Some(last)) => (self.days.of(last) - self.days.of(first) + 1).max(1) as usize,
            _ => 0,
        }
    }
}

fn has_level(policy: &Policy, rule: RuleRef, level: Severity) -> bool {
    let RuleRef::Threshold(i) = rule else { return false };
    policy.thresholds.get(usize::from(i)).is_some_and(|rule| match level {
        Severity::Warning => rule.levels.warning.is_some(),
        Severity::Critical => rule.levels.critical.is_some(),
    })
}

/// `value 5 at 2026-03-02T10:00:07.000Z`.
fn described(policy: &Policy, violation: &Violation) -> String {
    let value = output::shown(policy, violation).map_or(0.0, |(value, _)| value);
    let late = if violation.late { ", by a late event" } else { "" };
    format!("value {} at {}{late}", rounded(value), violation.time)
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a set said of an event, as far as one of its rules is concerned.
fn said(policy: &Policy, judged: &Judged, index: usize, effect: Option<Effect>) -> String {
    let Verdict { action, rule, .. } = judged.verdicts.get(index).copied().unwrap_or_default();
    let verdict = format!("{} ({})", action.as_str(), output::rule_id(policy, rule));
    match effect {
        Some(effect) if !effect.is_in_force => format!("{verdict}, {}", effect.text()),
        Some(Effect { action: Action::Flag, .. }) => format!("{verdict}, flag"),
        _ => verdict,
    }
}

fn call_id(batch: &Batch, index: usize) -> String {
    let text = batch.events.get(index).map_or(&b""[..], |event| batch.text(event.call_id));
    String::from_utf8_lossy(text).into_owned()
}

fn sample(batch: &Batch, index: usize, names: &Names, change: Change, before: String, after: String) -> Sample {
    let event = batch.events.get(index).copied().unwrap_or(CallEvent::BLANK);
    Sample {
        change,
        time: event.time,
        call_id: call_id(batch, index),
        customer: names.customer_name(event.customer),
        caller: party(batch, &event.caller),
        callee: party(batch, &event.callee),
        key: Vec::new(),
        before,
        after,
    }
}

/// A number as people know it; else as it came.
fn party(batch: &Batch, party: &Party) -> String {
    let text = if party.number.is_text() { batch.text(party.text) } else { &[] };
    match text {
        [] if party.number.is_absent() => String::from_utf8_lossy(batch.text(party.raw)).into_owned(),
        [] => party.number.to_string(),
        text => String::from_utf8_lossy(text).into_owned(),
    }
}

fn hash_of(key: &impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

/// Days of the rules' time zone. Neighbouring events are of one day, which is looked up once.
#[derive(Debug)]
struct Days {
    zone: jiff::tz::TimeZone,
    /// From, until, and its number.
    known: Option<(Timestamp, Timestamp, i64)>,
}

impl Days {
    /// Counted from 1970-01-01.
    fn of(&mut self, time: Timestamp) -> i64 {
        if let Some((from, until, day)) = self.known
            && (from..until).contains(&time)
        {
            return day;
        }
        let Ok(instant) = jiff::Timestamp::from_millisecond(time.0) else { return 0 };
        let local = instant.to_zoned(self.zone.clone());
        let date = local.date();
        let day = crate::clock::days_from_civil(i64::from(date.year()), date.month() as u32, date.day() as u32);
        let begins = |date: jiff::civil::Date| {
            date.to_zoned(self.zone.clone()).ok().map(|midnight| Timestamp(midnight.timestamp().as_millisecond()))
        };
        let until = date.tomorrow().ok().and_then(begins);
        self.known = begins(date).zip(until).map(|(from, until)| (from, until, day));
        day
    }
}
