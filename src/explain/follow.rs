//! Follows what keys count while events go through the engine: which calls stand in their windows, since when their
//! episodes are open, and what dynamic lists hold.
//!
//! The engine judges; this only remembers what it said and, of the few keys that somebody asks about, which events they
//! counted. Those are told by the same conditions and keys, and by the verdicts that the engine gave.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::lists::Lists;
use super::turns::{Before, turns};
use super::value::Sample;
use crate::clock::Timestamp;
use crate::engine::{Closed, Judged, Put, RuleRef, Verdict, Violation, output};
use crate::event::{Batch, CallEvent, CustomerId, Flags, Kind, Names};
use crate::limits::{CALL_AGE_MS_MAX, EXPLAIN_PLACED_MAX};
use crate::policy::dynamic::Listed;
use crate::policy::trace::{self, Key, Rule};
use crate::policy::{Action, DynamicLists, Measure, Policy, Predicate, Severity, ThresholdRule, View};

/// A key of a threshold that is asked about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watched {
    /// Index into [`Policy::thresholds`].
    pub(super) threshold: usize,
    pub(super) customer: CustomerId,
    pub(super) key: Key,
}

/// An event that a key counted.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) time: Timestamp,
    pub(super) call_id: String,
    pub(super) caller: String,
    pub(super) callee: String,
    pub(super) sample: Sample,
    /// What the measures of `also` take of it.
    pub(super) also: Vec<Sample>,
}

/// An episode as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) level: Severity,
    pub(super) since: Timestamp,
}

/// What somebody may look at while events go by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'s> {
    /// By its place in the batch; all it did is known.
    Event(usize),
    /// A level that was raised because time passed.
    Timer(&'s Violation),
}

/// What is known of one watched key.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) watched: Watched,
    /// What its window holds, in order of time.
    pub(super) window: VecDeque<Counted>,
    pub(super) open: Option<Open>,
    /// The newest event time it has counted.
    pub(super) clock: i64,
    /// `first_seen`: when each value was last there.
    seen: HashMap<String, i64>,
}

/// See the module.
pub(super) struct Follower {
    pub(super) policy: Arc<Policy>,
    pub(super) names: Arc<Names>,
    pub(super) trails: Vec<Trail>,
    lists: Lists,
    /// The newest of each value, whether or not it still holds.
    placed: Vec<Placed>,
}

/// A value that a threshold put on a dynamic list.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) list: usize,
    pub(super) value: Listed,
    pub(super) text: String,
    pub(super) rule: String,
    pub(super) time: Timestamp,
    pub(super) call_id: String,
}

impl Follower {
    pub(super) fn new(policy: Arc<Policy>, names: Arc<Names>, watched: Vec<Watched>) -> Follower {
        let trail =
            |watched| Trail { watched, window: VecDeque::new(), open: None, clock: i64::MIN, seen: HashMap::new() };
        Follower {
            trails: watched.into_iter().map(trail).collect(),
            lists: Lists::new(Arc::clone(&policy)),
            placed: Vec::new(),
            policy,
            names,
        }
    }

    /// Takes what was judged, event by event; `see` is shown each event once all it did is known here.
    pub(super) fn take(&mut self, judged: &Judged, mut see: impl FnMut(&Follower, &Judged, Seen<'_>)) {
        for turn in turns(judged) {
            self.lists.before(&turn);
            for before in &turn.before {
                match before {
                    Before::Closed(closed) => self.close(closed),
                    Before::Timed(violation) => {
                        self.open(violation);
                        see(self, judged, Seen::Timer(violation));
                    }
                    Before::Listed(put) => self.place(put, &judged.batch, None),
                }
            }
            let Some((i, event)) = turn.event.and_then(|i| Some((i, judged.batch.events.get(i)?))) else {
                self.lists.after(&turn);
                continue;
            };
            self.count(&judged.batch, event, judged.verdicts.get(i).copied().unwrap_or_default());
            turn.raised.iter().for_each(|violation| self.open(violation));
            turn.listed.iter().for_each(|put| self.place(put, &judged.batch, Some(event)));
            // The event was judged by what stood on the lists before.
            see(self, judged, Seen::Event(i));
            self.lists.after(&turn);
        }
    }

    pub(super) fn view<'v>(&'v self, batch: &'v Batch, event: &'v CallEvent) -> View<'v> {
        View { event, batch, policy: &self.policy, names: &self.names, dynamic: &self.lists.dynamic }
    }

    /// What is known of a key.
    pub(super) fn trail(&self, threshold: usize, customer: CustomerId, key: &Key) -> Option<&Trail> {
        self.trails
            .iter()
            .find(|t| t.watched.threshold == threshold && t.watched.customer == customer && t.watched.key == *key)
    }

    fn count(&mut self, batch: &Batch, event: &CallEvent, verdict: Verdict) {
        let Follower { policy, names, trails, lists, .. } = self;
        let view = View { event, batch, policy, names, dynamic: &lists.dynamic };
        for trail in trails.iter_mut().filter(|trail| trail.watched.customer == event.customer) {
            let Some(rule) = policy.thresholds.get(trail.watched.threshold) else { continue };
            let call_id = || String::from_utf8_lossy(batch.text(event.call_id)).into_owned();
            let is_of_calls = rule.measure.is_of_calls();
            if is_of_calls && matches!(event.kind, Kind::End | Kind::Cdr) && !event.call_id.is_absent() {
                let over = call_id();
                trail.window.retain(|counted| counted.call_id != over);
            }
            if why_not_counted(rule, &view, verdict).is_some() || is_of_calls && event.call_id.is_absent() {
                continue;
            }
            let is_same = policy.keys.get(rule.key).and_then(|spec| trace::key_of(spec, &view).ok());
            if is_same.as_ref() != Some(&trail.watched.key) {
                continue;
            }
            let mut sample = Sample::of(&rule.measure, &view);
            if let (Measure::FirstSeen(_, memory_ms), Sample::Text(value)) = (&rule.measure, &sample) {
                let before = trail.seen.insert(value.clone(), event.time.0);
                if before.is_some_and(|before| event.time.0.saturating_sub(before) < *memory_ms) {
                    sample = Sample::Nothing;
                }
            }
            let counted = Counted {
                time: event.time,
                call_id: call_id(),
                caller: party(&view, "caller"),
                callee: party(&view, "callee"),
                sample,
                also: rule.also.iter().map(|also| Sample::of(&also.measure, &view)).collect(),
            };
            trail.add(counted, if is_of_calls { CALL_AGE_MS_MAX } else { rule.window_ms }, is_of_calls);
        }
    }

    fn open(&mut self, violation: &Violation) {
        let RuleRef::Threshold(i) = violation.rule else { return };
        let fits = |t: &&mut Trail| {
            t.watched.threshold == usize::from(i)
                && t.watched.customer == violation.customer
                && t.watched.key.as_slice() == &*violation.key
        };
        if let Some(trail) = self.trails.iter_mut().find(fits) {
            let since = trail.open.map_or(violation.time, |open| open.since);
            trail.open = Some(Open { level: violation.level, since });
        }
    }

    fn close(&mut self, closed: &Closed) {
        let RuleRef::Threshold(i) = closed.rule else { return };
        let fits = |t: &&mut Trail| {
            t.watched.threshold == usize::from(i)
                && t.watched.customer == closed.customer
                && t.watched.key.as_slice() == &*closed.key
        };
        self.trails.iter_mut().filter(fits).for_each(|trail| trail.open = None);
    }

    /// The values on dynamic lists for which a condition holds for an event, each as if it stood there alone.
    pub(super) fn met_by(&self, condition: &Predicate, batch: &Batch, event: &CallEvent) -> Vec<&Placed> {
        let holds = |placed: &&Placed| {
            // What the event itself put there counts for it too (2-rules 2.9 point 17).
            let is_there = self.lists.dynamic.holds(placed.list, placed.value.probe(), event.time);
            if !is_there && placed.time != event.time {
                return false;
            }
            let mut alone = DynamicLists::new(self.policy.lists.len());
            alone.set(placed.list, &placed.value, Timestamp::MAX);
            let view = View { event, batch, policy: &self.policy, names: &self.names, dynamic: &alone };
            condition.eval(&view)
        };
        self.placed.iter().filter(holds).collect()
    }

    /// `event`: what put it there; `None`: time did.
    fn place(&mut self, put: &Put, batch: &Batch, event: Option<&CallEvent>) {
        let Some((_, value)) = self.lists.value_of(put) else { return };
        self.placed.retain(|placed| placed.list != put.list || placed.value != value);
        if self.placed.len() >= EXPLAIN_PLACED_MAX {
            self.placed.remove(0);
        }
        let call_id = event.map(|event| String::from_utf8_lossy(batch.text(event.call_id)).into_owned());
        // What time put there was seen with the next event.
        let at = event.or_else(|| batch.events.get(put.event as usize)).map_or(Timestamp::MIN, |event| event.time);
        self.placed.push(Placed {
            list: put.list,
            value,
            text: put.value.clone(),
            rule: output::rule_id(&self.policy, put.rule).to_owned(),
            time: at,
            call_id: call_id.unwrap_or_default(),
        });
    }
}

impl Trail {
    /// 2-rules 2.9 point 3: what came too late for any window to come is not counted.
    fn add(&mut self, counted: Counted, window_ms: i64, is_of_calls: bool) {
        let at = counted.time.0;
        if self.clock != i64::MIN && at <= self.clock.saturating_sub(window_ms) {
            return;
        }
        if is_of_calls && self.window.iter().any(|other| other.call_id == counted.call_id) {
            return;
        }
        self.clock = self.clock.max(at);
        let place = self.window.iter().rposition(|other| other.time.0 <= at).map_or(0, |i| i + 1);
        self.window.insert(place, counted);
        let edge = self.clock.saturating_sub(window_ms);
        while self.window.front().is_some_and(|oldest| oldest.time.0 <= edge) {
            self.window.pop_front();
        }
    }
}

/// Why a threshold does not count an event that was told `verdict`; `None` where it does.
pub(super) fn why_not_counted(rule: &ThresholdRule, view: &View<'_>, verdict: Verdict) -> Option<&'static str> {
    let event = view.event;
    let is_repeated = verdict.rule == RuleRef::Default && event.flags.has(Flags::CALL_BLOCKED);
    let is_blocked = verdict.action == Action::Block || is_repeated;
    if !trace::runs(Rule::Threshold(rule), event) || !Rule::Threshold(rule).concerns(view) {
        return Some("it is not asked about such events");
    }
    if is_blocked && rule.measure.is_of_calls() {
        return Some("the call was blocked and never is up");
    }
    if is_blocked && !rule.count_blocked {
        return Some("the call was blocked, and the rule says count_blocked = false");
    }
    if !Rule::Threshold(rule).holds(view) {
        return Some("its condition does not hold");
    }
    None
}

fn party(view: &View<'_>, name: &str) -> String {
    trace::field(name, view).unwrap_or_default()
}
