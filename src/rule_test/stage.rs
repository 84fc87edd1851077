//! A test played through the engine: one thread, one lane whose calls are merged by their ids, in the time of the test.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::call::Moment;
use super::file::Test;
use crate::clock::Timestamp;
use crate::engine::{Counts, Engine, Judged, LaneOptions, Put, RuleRef, Settings, Verdict, output};
use crate::event::{Batch, CallEvent, Reject};
use crate::explain::lists::Lists;
use crate::explain::turns::turns;
use crate::ingest::{Decoder, FeedContext, Format, Source};
use crate::limits::{EMERGENCY_CALLBACK_MS, TEST_EVENTS_MAX};
use crate::policy::{DynamicLists, Mode, Policy, Severity};

/// As in `replay`: keys are spread the same way in every run.
const SETTINGS: Settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
/// As of a gateway that tells of calls as they go on.
const LANE: LaneOptions = LaneOptions { merge: true, dedup: false, verdict: false, both_legs: false };
/// Events judged at once.
const BATCH_EVENTS: usize = 1024;

/// The rules, and what is needed to read events for them.
pub(super) struct Stage {
    pub(super) policy: Arc<Policy>,
    pub(super) context: Arc<FeedContext>,
}

/// What came of a test.
#[derive(Debug, Default)]
pub(super) struct Play {
    batches: Vec<Judged>,
    /// What each event is of: by place among the events of all batches.
    origins: Vec<Origin>,
    /// Why calls of the test, or records, are no events.
    pub(super) unread: Vec<String>,
}

/// What an event is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Call(Moment),
    /// The event of this place among those recorded, from 1.
    Record(u64),
}

/// An event with what was said of it.
#[derive(Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) event: &'a CallEvent,
    pub(super) batch: &'a Batch,
    /// Its place in the batch.
    index: u32,
    judged: &'a Judged,
    pub(super) verdict: Verdict,
    pub(super) origin: Origin,
}

impl Heard<'_> {
    /// Is it the very same event?
    pub(super) fn is(&self, other: &Heard<'_>) -> bool {
        std::ptr::eq(self.event, other.event)
    }

    /// The firewall rules that marked it, by their indices.
    pub(super) fn flags(&self) -> impl Iterator<Item = usize> {
        let first = self.judged.flags.partition_point(|(event, _)| *event < self.index);
        let own = self.judged.flags.get(first..).unwrap_or_default().iter();
        own.take_while(|(event, _)| *event == self.index).map(|(_, rule)| usize::from(*rule))
    }
}

/// A violation of a test.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) rule: RuleRef,
    pub(super) id: String,
    pub(super) level: Severity,
    /// After the start of the test.
    pub(super) at_ms: i64,
    pub(super) key: Arc<[(String, String)]>,
    pub(super) customer: String,
    /// As the line shows it.
    pub(super) value: f64,
    pub(super) late: bool,
    /// What raised it; `None`: time alone.
    pub(super) origin: Option<Origin>,
    /// As `replay` prints it.
    pub(super) line: String,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage({})", self.policy.version)
    }
}

impl Stage {
    /// Sets all rules to a mode. Nobody else may be using them.
    pub(super) fn force(&mut self, mode: Mode) {
        let policy = Arc::get_mut(&mut self.policy).expect("an engine is gone when its test is over");
        policy.firewall.iter_mut().for_each(|rule| rule.mode = mode);
        policy.thresholds.iter_mut().for_each(|rule| rule.mode = mode);
    }

    /// Plays the test. An error says why its recorded events cannot be read.
    pub(super) fn play(&self, test: &Test) -> Result<Play, String> {
        let mut play = Play::default();
        let (calls, moments) = self.calls(test, &mut play);
        let records = match &test.events {
            Some((path, written)) => self.records(path, written, &mut play)?,
            None => Vec::new(),
        };
        let heard: Arc<Mutex<Vec<Judged>>> = Arc::default();
        let emit = {
            let heard = Arc::clone(&heard);
            Box::new(move |judged: &mut Judged| lock(&heard).push(std::mem::take(judged)))
        };
        let engine = Engine::new(Arc::clone(&self.policy), Arc::clone(&self.context.names), SETTINGS, emit);
        let mut lane = engine.lane(LANE);
        let until = test.until_ms.map(|ms| test.start.plus_ms(ms));
        let order =
            Order::new(test.start, &calls, &moments, &records).filter(|next| until.is_none_or(|u| next.arrival <= u));
        let mut batch = Batch::default();
        let mut latest = None;
        for next in order {
            batch.adopt(next.from, next.event);
            play.origins.push(next.origin);
            latest = latest.max(Some(next.event.time));
            if batch.events.len() == BATCH_EVENTS {
                lane.ticket().submit(std::mem::take(&mut batch), None);
            }
        }
        lane.ticket().submit(batch, None);
        drop(lane);
        if let Some(at) = until.or(latest) {
            engine.tick(at);
        }
        drop(engine);
        play.batches = std::mem::take(&mut *lock(&heard));
        Ok(play)
    }

    /// The events of the calls in the order in which they come in, and what each is of.
    fn calls(&self, test: &Test, play: &mut Play) -> (Batch, Vec<Moment>) {
        let mut moments = Vec::new();
        let mut before = 0;
        for (entry, call) in test.calls.iter().enumerate() {
            call.moments(entry, before, &mut moments);
            before += call.times;
        }
        moments.sort_by_key(|moment| moment.arrival_ms);
        let mut lines = Vec::new();
        for moment in &moments {
            if let Some(call) = test.calls.get(moment.entry) {
                call.write(moment, test.start, &mut lines);
            }
        }
        let mut batch = Batch::default();
        Decoder::new(&Format::Ndjson, Arc::clone(&self.context)).decode(lines, None, &mut batch);
        let mut rejects = batch.rejects.iter().peekable();
        let mut index = 0;
        let mut told = 0;
        moments.retain(|moment| match rejects.next_if(|rejected| rejected.before == index) {
            Some(rejected) => {
                if told != moment.call {
                    play.unread.push(format!("call {} is no event: {}", moment.call, unreadable(rejected.reason)));
                }
                told = moment.call;
                false
            }
            None => {
                index += 1;
                true
            }
        });
        (batch, moments)
    }

    /// Recorded events, in the order in which they stand.
    fn records(&self, path: &Path, written: &str, play: &mut Play) -> Result<Vec<Batch>, String> {
        let failed = |e: &dyn std::error::Error| match e.source() {
            Some(why) => format!("{e}: {why}"),
            None => e.to_string(),
        };
        let format = Format::of_file(path, None).map_err(|e| failed(&e))?;
        let mut source = Source::open(path, format.style()).map_err(|e| failed(&e))?;
        let format = if source.capture().is_some() { Format::Hep } else { format };
        let mut decoder = Decoder::new(&format, Arc::clone(&self.context));
        let mut batches = Vec::new();
        let mut n_events = 0;
        while let Some(block) = source.block().map_err(|e| failed(&e))? {
            let mut batch = Batch::default();
            decoder.decode(block, None, &mut batch);
            if let Some(problem) = decoder.problem() {
                return Err(format!("`{written}`: {problem}"));
            }
            n_events += batch.events.len() as u64;
            if n_events > TEST_EVENTS_MAX {
                return Err(format!("`{written}` has more events than a test takes ({TEST_EVENTS_MAX})"));
            }
            batches.push(batch);
        }
        let mut rest = Batch::default();
        decoder.finish(None, &mut rest);
        batches.push(rest);
        let n_rejects: usize = batches.iter().map(|batch| batch.rejects.len()).sum();
        if let Some(first) = batches.iter().find_map(|batch| batch.rejects.first()) {
            let why = unreadable(first.reason);
            play.unread.push(match n_rejects {
                1 => format!("`{written}`: one record is no event: {why}"),
                n => format!("`{written}`: {n} records are no events, the first: {why}"),
            });
        }
        Ok(batches)
    }
}

fn unreadable(reason: Reject) -> String {
    match reason {
        Reject::UnknownCustomer => "no file in customers/ is its customer's".to_owned(),
        other => format!("a feed would reject it ({})", other.as_str()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// An event on its way in.
struct Next<'a> {
    arrival: Timestamp,
    from: &'a Batch,
    event: &'a CallEvent,
    origin: Origin,
}

/// Calls and records by the time they come in; each keeps its own order, and records are first where the times are equal.
struct Order<'a> {
    calls: Box<dyn Iterator<Item = Next<'a>> + 'a>,
    records: Box<dyn Iterator<Item = Next<'a>> + 'a>,
    call: Option<Next<'a>>,
    record: Option<Next<'a>>,
}

impl<'a> Order<'a> {
    fn new(start: Timestamp, calls: &'a Batch, moments: &'a [Moment], records: &'a [Batch]) -> Order<'a> {
        let calls = calls.events.iter().zip(moments).map(move |(event, moment)| Next {
            arrival: start.plus_ms(moment.arrival_ms),
            from: calls,
            event,
            origin: Origin::Call(*moment),
        });
        let records = records.iter().flat_map(|batch| batch.events.iter().map(move |event| (batch, event)));
        let records = records.zip(1..).map(|((from, event), n)| Next {
            arrival: event.time,
            from,
            event,
            origin: Origin::Record(n),
        });
        let mut order = Order { calls: Box::new(calls), records: Box::new(records), call: None, record: None };
        order.call = order.calls.next();
        order.record = order.records.next();
        order
    }
}

impl<'a> Iterator for Order<'a> {
    type Item = Next<'a>;

    fn next(&mut self) -> Option<Next<'a>> {
        let is_call = match (&self.call, &self.record) {
            (Some(call), Some(record)) => call.arrival < record.arrival,
            (call, _) => call.is_some(),
        };
        if is_call {
            std::mem::replace(&mut self.call, self.calls.next())
        } else {
            std::mem::replace(&mut self.record, self.records.next())
        }
    }
}

impl Play {
    /// Every event, in the order in which they were judged.
    pub(super) fn events(&self) -> impl Iterator<Item = Heard<'_>> {
        let events =
            self.batches.iter().flat_map(|judged| judged.batch.events.iter().zip(0..).map(move |e| (judged, e)));
        events.zip(&self.origins).map(|((judged, (event, index)), origin)| Heard {
            event,
            batch: &judged.batch,
            index,
            judged,
            verdict: judged.verdicts.get(index as usize).copied().unwrap_or_default(),
            origin: *origin,
        })
    }

    /// As [`Play::events`], with what stood on dynamic lists when each was judged, until `each` has seen enough.
    pub(super) fn walk<'p>(&'p self, stage: &Stage, mut each: impl FnMut(Heard<'p>, &DynamicLists) -> ControlFlow<()>) {
        let mut lists = Lists::new(Arc::clone(&stage.policy));
        let mut events = self.events();
        for judged in &self.batches {
            for turn in turns(judged) {
                lists.before(&turn);
                let heard = turn.event.and_then(|_| events.next());
                if heard.is_some_and(|heard| each(heard, &lists.dynamic).is_break()) {
                    return;
                }
                lists.after(&turn);
            }
        }
    }

    pub(super) fn n_events(&self) -> usize {
        self.origins.len()
    }

    /// Events that were recorded, not made of calls.
    pub(super) fn n_records(&self) -> u64 {
        self.origins.iter().filter(|origin| matches!(origin, Origin::Record(_))).count() as u64
    }

    /// What thresholds put on dynamic lists, and when.
    pub(super) fn listed(&self) -> impl Iterator<Item = (Timestamp, &Put)> {
        self.batches.iter().flat_map(|judged| {
            let time = |put: &Put| judged.batch.events.get(put.event as usize).map(|event| event.time);
            judged.listed.iter().filter_map(move |put| Some((time(put)?, put)))
        })
    }

    /// What rules counted, a batch each.
    pub(super) fn counts(&self) -> impl Iterator<Item = &Counts> {
        self.batches.iter().map(|judged| &judged.counts)
    }

    /// Every violation, in the order in which they came.
    pub(super) fn violations(&self, stage: &Stage, start: Timestamp) -> Vec<Found> {
        let (policy, names) = (&stage.policy, &stage.context.names);
        let mut found = Vec::new();
        let mut first = 0;
        for judged in &self.batches {
            for violation in &judged.violations {
                let mut line = Vec::new();
                output::violation_line(&mut line, judged, violation, policy, names, None);
                let (value, _) = output::shown(policy, violation).unwrap_or_default();
                let is_of_event = judged.batch.events.get(violation.event as usize).is_some();
                let origin = self.origins.get(first + violation.event as usize).filter(|_| is_of_event);
                found.push(Found {
                    rule: violation.rule,
                    id: output::rule_id(policy, violation.rule).to_owned(),
                    level: violation.level,
                    at_ms: violation.time.0 - start.0,
                    key: Arc::clone(&violation.key),
                    customer: names.customer_name(violation.customer),
                    value,
                    late: violation.late,
                    origin: origin.copied(),
                    line: String::from_utf8_lossy(&line).into_owned(),
                });
            }
            first += judged.batch.events.len();
        }
        found
    }
}
