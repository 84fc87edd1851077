//! Why a call was let through or not, rule by rule, and what it counted towards.
//!
//! Events of the past go through an engine of their own, by the rules that are asked about; what the call met is told by
//! [`crate::policy::trace`], and which calls stand in the windows it counted in by [`follow`]. Nothing is kept for it
//! while calls flow. It reads what it is given: [`history`] the archive and the journal of a service, the command files.

mod account;
mod answer;
mod follow;
pub mod history;
pub(crate) mod lists;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod turns;
mod value;

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

pub use answer::{Answer, CallAnswer, CountAnswer, EventAnswer, RuleAnswer, TestAnswer};
pub use text::{Detail, page};

use self::account::Teller;
use self::follow::{Follower, Seen, Watched};
use crate::clock::Timestamp;
use crate::engine::{Engine, Judged, LaneOptions, RuleRef, Settings, Verdict, Violation, output};
use crate::event::{Batch, CustomerId, Names};
use crate::limits::{CALL_AGE_MS_MAX, EMERGENCY_CALLBACK_MS};
use crate::policy::trace::{self, Rule};
use crate::policy::{Action, DynamicLists, Policy, Severity, ThresholdRule, View};

/// Spreads keys the same way in every explanation.
const HASH_SEED: u64 = 0;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub about: About,
    /// Only this customer's calls.
    pub customer: Option<String>,
    /// Where the call is looked for, event time; `to` is not included.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Calls of a window that are named; the others are counted.
    pub calls_max: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// Every event there is, each by itself.
    Each,
    /// A call, by its Call-ID.
    Call(String),
    /// The event at this position of the journal, and its rule.
    Position {
        position: u64,
        rule: String,
    },
    Crossing(Crossing),
}

/// A violation, as a line of `replay` or of a sink tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// What the service calls it.
    pub id: Option<String>,
    pub rule: String,
    pub level: Severity,
    pub time: Timestamp,
    pub customer: String,
    pub key: BTreeMap<String, String>,
    pub call_id: Option<String>,
}

/// Some events of the past, in the engine's order.
#[derive(Debug, Default)]
pub struct Piece {
    pub batch: Batch,
    /// One an event, where it is known.
    pub positions: Vec<u64>,
    /// What each was told, where it is known.
    pub told: Vec<(Action, String)>,
}

/// What of the past is wanted; everything unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    pub from: Option<Timestamp>,
    /// Not itself included.
    pub to: Option<Timestamp>,
    pub customer: Option<String>,
    pub position: Option<u64>,
}

/// Takes a piece; false where no more is wanted.
pub type Take<'t> = &'t mut dyn FnMut(Piece) -> bool;

/// By what the past is judged again.
#[derive(Clone, Debug)]
pub struct Ground {
    pub policy: Arc<Policy>,
    pub names: Arc<Names>,
    pub options: LaneOptions,
    /// About the time of the newest event, where a stretch can be read without what is beside it.
    pub newest: Option<Timestamp>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E> {
    /// The call is not there, or the violation does not come of these rules and calls: a sentence.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Read(E),
}

impl<E> Failure<E> {
    pub fn map<F>(self, of: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Failure::NotFound(sentence) => Failure::NotFound(sentence),
            Failure::Read(error) => Failure::Read(of(error)),
        }
    }
}

/// The events that are asked about, as the first reading finds them.
#[derive(Debug, Default)]
struct Found {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    customer: Option<CustomerId>,
    call_id: String,
    n: usize,
    n_read: u64,
    watched: Vec<Watched>,
    /// The same Call-ID of somebody else.
    others: Vec<CustomerId>,
}

/// Answers a question; `read` hands out the events of a stretch, as often as it is asked to.
pub fn answer<E>(
    ground: &Ground,
    question: &Question,
    mut read: impl FnMut(&Stretch, Take<'_>) -> Result<(), E>,
) -> Result<Answer, Failure<E>> {
    let found = match &question.about {
        About::Crossing(crossing) if is_threshold(&ground.policy, &crossing.rule) => of_crossing(ground, crossing)?,
        About::Each => Found::default(),
        _ => find(ground, question, &mut read)?,
    };
    let has_history = question.about != About::Each;
    let mut stretch = Stretch::default();
    if ground.newest.is_some() && has_history {
        stretch.from = found.first.map(|first| Timestamp(first.0.saturating_sub(lookback_ms(&ground.policy, &found))));
        stretch.to = found.last.map(|last| last.plus_ms(1));
        // What others put on a dynamic list may have blocked this one's call.
        let alone =
            !ground.policy.lists.iter().any(|list| matches!(list.content, crate::policy::ListContent::Dynamic(_)));
        stretch.customer = found.customer.filter(|_| alone).map(|id| ground.names.customer_name(id));
    }
    let mut answer = again(ground, question, &found, &stretch, &mut read).map_err(Failure::Read)?;
    answer.has_history = has_history;
    answer.from = stretch.from.map(|from| from.to_string());
    for other in found.others {
        let name = ground.names.customer_text(other);
        answer.notes.push(format!("customer {name} has a call of this id too: `--customer {name}` tells of it"));
    }
    if !answer.events.is_empty() || question.about == About::Each {
        return Ok(answer);
    }
    Err(Failure::NotFound(match &question.about {
        About::Crossing(crossing) => format!(
            "these rules and calls raise no {} of {} for this key at {}: were other rules in force, or are calls missing?",
            crossing.level.as_str(),
            crossing.rule,
            crossing.time
        ),
        _ => "the call was found, and then no more: is somebody changing the files?".to_owned(),
    }))
}

fn is_threshold(policy: &Policy, rule: &str) -> bool {
    policy.thresholds.iter().any(|threshold| threshold.id == rule)
}

/// A violation names its key: nothing has to be looked for.
fn of_crossing<E>(ground: &Ground, crossing: &Crossing) -> Result<Found, Failure<E>> {
    let policy = &ground.policy;
    let is_it =
        |rule: &ThresholdRule| rule.id == crossing.rule && rule.concern.is_of(&crossing.customer, crossing.time);
    let threshold = policy.thresholds.iter().position(is_it);
    let spec = threshold.and_then(|i| policy.keys.get(policy.thresholds.get(i)?.key));
    let (Some(threshold), Some(spec)) = (threshold, spec) else {
        return Err(Failure::NotFound(format!("these rules have no `{}` that is in use", crossing.rule)));
    };
    let value = |name: &str| crossing.key.get(name).map(|value| (name.to_owned(), value.clone()));
    let key: Option<Vec<(String, String)>> = spec.parts.iter().map(|part| value(&part.name)).collect();
    let Some(key) = key.filter(|key| key.len() == crossing.key.len()) else {
        let per: Vec<&str> = spec.parts.iter().map(|part| part.name.as_str()).collect();
        let text = format!("the key of this violation is not that of the rule, which counts per {}", per.join(", "));
        return Err(Failure::NotFound(text));
    };
    let customer = ground.names.customer(&crossing.customer);
    let watched = customer.map(|customer| Watched { threshold, customer, key });
    Ok(Found {
        first: Some(crossing.time),
        last: Some(crossing.time),
        customer,
        call_id: crossing.call_id.clone().unwrap_or_default(),
        watched: watched.into_iter().collect(),
        ..Found::default()
    })
}

/// The first reading: where the call is, and which keys may have counted it.
fn find<E>(
    ground: &Ground,
    question: &Question,
    read: &mut impl FnMut(&Stretch, Take<'_>) -> Result<(), E>,
) -> Result<Found, Failure<E>> {
    let mut found = Found::default();
    let mut looked = Vec::new();
    for stretch in question.stretches(ground.newest) {
        look(ground, question, &stretch, &mut found, read)?;
        looked.push(stretch);
        if found.n > 0 {
            break;
        }
    }
    // What is told of a call is told within its life: it may have begun before the stretch that it was found in.
    let reaches = |from: Timestamp| found.first.filter(|first| first.minus_ms(CALL_AGE_MS_MAX) < from);
    let before = looked.last().and_then(|stretch| stretch.from).and_then(reaches);
    if let Some(first) = before.filter(|_| question.from.is_none() && matches!(question.about, About::Call(_))) {
        let (from, to) = (first.minus_ms(CALL_AGE_MS_MAX), first.plus_ms(CALL_AGE_MS_MAX));
        let whole = Stretch { from: Some(from), to: Some(to), customer: question.customer.clone(), position: None };
        found = Found { n_read: found.n_read, ..Found::default() };
        look(ground, question, &whole, &mut found, read)?;
    }
    if found.n > 0 {
        return Ok(found);
    }
    Err(Failure::NotFound(match (&question.about, found.n_read) {
        (_, 0) => "there are no calls to look among: no events were read".to_owned(),
        (About::Call(id), n) => format!("call `{id}` is not among the {n} events that were read"),
        (About::Crossing(Crossing { call_id: Some(id), .. }), n) => {
            format!("call `{id}` is not among the {n} events that were read")
        }
        (About::Crossing(_), _) => "this violation is of a firewall rule and names no call".to_owned(),
        (_, n) => format!("the event of this violation is not among the {n} that were read"),
    }))
}

/// Goes through one stretch for the events that are asked about.
fn look<E>(
    ground: &Ground,
    question: &Question,
    stretch: &Stretch,
    found: &mut Found,
    read: &mut impl FnMut(&Stretch, Take<'_>) -> Result<(), E>,
) -> Result<(), Failure<E>> {
    let wanted = question.customer.as_deref().and_then(|name| ground.names.customer(name));
    let nothing = DynamicLists::new(ground.policy.lists.len());
    read(stretch, &mut |piece| {
        found.n_read += piece.batch.events.len() as u64;
        for (i, event) in piece.batch.events.iter().enumerate() {
            if !question.is_about(&piece, i)
                || !question.spans(event.time)
                || wanted.is_some_and(|wanted| wanted != event.customer)
            {
                continue;
            }
            if found.customer.is_some_and(|customer| customer != event.customer) {
                if !found.others.contains(&event.customer) {
                    found.others.push(event.customer);
                }
                continue;
            }
            let view =
                View { event, batch: &piece.batch, policy: &ground.policy, names: &ground.names, dynamic: &nothing };
            found.add(&view);
        }
        true
    })
    .map_err(Failure::Read)
}

impl Question {
    /// Where to look, one after the other: people ask about calls of today.
    fn stretches(&self, newest: Option<Timestamp>) -> Vec<Stretch> {
        const DAY_MS: i64 = 86_400_000;
        let of = |from, to| Stretch { from, to, customer: self.customer.clone(), position: None };
        let at = |crossing: &Crossing| of(Some(crossing.time), Some(crossing.time.plus_ms(1)));
        match (&self.about, newest) {
            (About::Position { position, .. }, _) => {
                vec![Stretch { position: Some(*position), ..of(self.from, self.to) }]
            }
            (About::Crossing(crossing), Some(_)) => vec![at(crossing)],
            (_, Some(newest)) if self.from.is_none() && self.to.is_none() => {
                let (day, week) = (newest.minus_ms(DAY_MS), newest.minus_ms(8 * DAY_MS));
                vec![of(Some(day), None), of(Some(week), Some(day)), of(None, Some(week))]
            }
            _ => vec![of(self.from, self.to)],
        }
    }

    /// Is the call looked for at that time?
    fn spans(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    /// Is the event one of those that are asked about?
    fn is_about(&self, piece: &Piece, index: usize) -> bool {
        let Some(event) = piece.batch.events.get(index) else { return false };
        let call_id = piece.batch.text(event.call_id);
        match &self.about {
            About::Each => true,
            About::Call(id) => call_id == id.as_bytes(),
            About::Position { position, .. } => piece.positions.get(index) == Some(position),
            About::Crossing(crossing) => {
                crossing.call_id.as_ref().is_some_and(|id| id.as_bytes() == call_id) && event.time == crossing.time
            }
        }
    }
}

impl Found {
    fn add(&mut self, view: &View<'_>) {
        let event = view.event;
        self.n += 1;
        self.customer = Some(event.customer);
        self.call_id = String::from_utf8_lossy(view.batch.text(event.call_id)).into_owned();
        self.first = Some(self.first.map_or(event.time, |first| first.min(event.time)));
        self.last = self.last.max(Some(event.time));
        for (threshold, rule) in view.policy.thresholds.iter().enumerate() {
            // What is on the dynamic lists then is not known yet, so that a condition may still turn out otherwise.
            let key = view.policy.keys.get(rule.key).and_then(|spec| trace::key_of(spec, view).ok());
            let Some(key) =
                key.filter(|_| trace::runs(Rule::Threshold(rule), event) && Rule::Threshold(rule).concerns(view))
            else {
                continue;
            };
            let watched = Watched { threshold, customer: event.customer, key };
            if !self.watched.contains(&watched) {
                self.watched.push(watched);
            }
        }
    }
}

/// How far back a past that can be read in part is read: as far as it decides what is watched, and somewhat more, since
/// an episode may have gone on for a while.
fn lookback_ms(policy: &Policy, found: &Found) -> i64 {
    const LEAST_MS: i64 = 3_600_000;
    let rules = found.watched.iter().filter_map(|watched| policy.thresholds.get(watched.threshold));
    policy.lookback_ms(rules).max(LEAST_MS)
}

/// What the second reading has seen so far.
struct Again {
    question: Question,
    found_n: usize,
    call_id: String,
    customer: Option<CustomerId>,
    answer: Answer,
    /// Of the piece that is being judged.
    positions: Vec<u64>,
    told: Vec<(Action, String)>,
    n_seen: usize,
}

/// The second reading: everything through an engine, up to what is asked about.
fn again<E>(
    ground: &Ground,
    question: &Question,
    found: &Found,
    stretch: &Stretch,
    read: &mut impl FnMut(&Stretch, Take<'_>) -> Result<(), E>,
) -> Result<Answer, E> {
    let policy = &ground.policy;
    let answer = Answer {
        call_id: found.call_id.clone(),
        customer: found.customer.map(|id| ground.names.customer_name(id)).unwrap_or_default(),
        ruleset: policy.version.clone(),
        time_zone: policy.time_zone.iana_name().unwrap_or("UTC").to_owned(),
        ..Answer::default()
    };
    let follower = Follower::new(Arc::clone(policy), Arc::clone(&ground.names), found.watched.clone());
    let again = Again {
        question: question.clone(),
        found_n: found.n,
        call_id: found.call_id.clone(),
        customer: found.customer,
        answer,
        positions: Vec::new(),
        told: Vec::new(),
        n_seen: 0,
    };
    let state = Arc::new(Mutex::new((follower, again)));
    let emit = {
        let state = Arc::clone(&state);
        Box::new(move |judged: &mut Judged| {
            let (follower, again) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
            again.answer.events_read += judged.batch.events.len() as u64;
            follower.take(judged, |follower, judged, seen| again.see(follower, judged, seen));
        })
    };
    let settings = Settings { n_threads: 1, hash_seed: HASH_SEED, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
    let engine = Engine::new(Arc::clone(policy), Arc::clone(&ground.names), settings, emit);
    let mut lane = engine.lane(ground.options);
    read(stretch, &mut |piece| {
        let ticket = lane.ticket();
        {
            let again = &mut state.lock().unwrap_or_else(PoisonError::into_inner).1;
            (again.positions, again.told) = (piece.positions, piece.told);
        }
        ticket.submit(piece.batch, None);
        !state.lock().unwrap_or_else(PoisonError::into_inner).1.is_done()
    })?;
    if let About::Crossing(crossing) = &question.about {
        // What time brings comes before the next event, and here nothing comes any more.
        engine.tick(crossing.time);
    }
    drop((lane, engine));
    let answer = take(&mut state.lock().unwrap_or_else(PoisonError::into_inner).1.answer);
    Ok(answer)
}

impl Again {
    fn is_done(&self) -> bool {
        match self.question.about {
            About::Each => false,
            About::Crossing(_) if self.found_n == 0 => self.n_seen > 0,
            _ => self.n_seen >= self.found_n,
        }
    }

    fn see(&mut self, follower: &Follower, judged: &Judged, seen: Seen<'_>) {
        match seen {
            Seen::Event(i) => self.event(follower, judged, i),
            Seen::Timer(violation) => self.timer(follower, violation),
        }
    }

    fn timer(&mut self, follower: &Follower, violation: &Violation) {
        let About::Crossing(crossing) = &self.question.about else { return };
        if self.found_n > 0 || !crossing.is_it(&follower.policy, violation) {
            return;
        }
        let teller = Teller {
            follower,
            verdict: Verdict::default(),
            raised: Vec::new(),
            told_then: None,
            only: None,
            has_history: true,
            calls_max: self.question.calls_max,
        };
        self.n_seen += 1;
        self.answer.events.extend(teller.timer(violation));
    }

    fn event(&mut self, follower: &Follower, judged: &Judged, i: usize) {
        let Some(event) = judged.batch.events.get(i) else { return };
        let raised: Vec<&Violation> =
            judged.violations.iter().filter(|v| v.event as usize == i && !v.is_timed).collect();
        let call_id = judged.batch.text(event.call_id);
        let is_call = || call_id == self.call_id.as_bytes() && self.customer.is_none_or(|c| c == event.customer);
        let is_asked = match &self.question.about {
            About::Each => true,
            About::Call(_) => is_call() && self.question.spans(event.time),
            About::Position { position, .. } => self.positions.get(i) == Some(position),
            About::Crossing(crossing) if self.found_n > 0 => is_call() && event.time == crossing.time,
            About::Crossing(crossing) => raised.iter().any(|violation| crossing.is_it(&follower.policy, violation)),
        };
        if !is_asked {
            return;
        }
        self.n_seen += 1;
        let only = match &self.question.about {
            About::Position { rule, .. } => Some(rule.as_str()),
            About::Crossing(crossing) => Some(crossing.rule.as_str()),
            _ => None,
        };
        let view = follower.view(&judged.batch, event);
        let teller = Teller {
            follower,
            verdict: judged.verdicts.get(i).copied().unwrap_or_default(),
            raised,
            told_then: self.told.get(i),
            only,
            has_history: self.question.about != About::Each,
            calls_max: self.question.calls_max,
        };
        let told = teller.event(&view);
        if self.answer.call_id.is_empty() {
            self.answer.call_id = String::from_utf8_lossy(call_id).into_owned();
        }
        if self.answer.customer.is_empty() {
            self.answer.customer = follower.names.customer_name(event.customer);
        }
        self.answer.events.push(told);
    }
}

impl Crossing {
    fn is_it(&self, policy: &Policy, violation: &Violation) -> bool {
        let is_rule =
            matches!(violation.rule, RuleRef::Threshold(_)) && output::rule_id(policy, violation.rule) == self.rule;
        let is_key = violation.key.len() == self.key.len()
            && violation.key.iter().all(|(name, value)| self.key.get(name) == Some(value));
        is_rule && is_key && violation.level == self.level && violation.time == self.time
    }
}
