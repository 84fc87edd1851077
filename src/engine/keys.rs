//! The keys that a rule holds, as people look at them while calls flow, and keys that they take back.
//!
//! A look takes a few thousand slots at a time, so that no call waits for it for long; what it shows is not of one instant.
//! Taking back is an input in the engine's order like a tick. It is not in the journal: whoever orders it has a snapshot
//! taken, and a crash before that brings the keys back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::judged::RuleRef;
use super::key::KeptKey;
use super::output::{in_units, rule_id};
use super::table::Look;
use super::{Engine, Generation, LaneOptions, enter, prepare};
use crate::clock::Timestamp;
use crate::event::{Batch, CustomerId};
use crate::limits::{KEYS_LOOKED_AT_ONCE, PARTITIONS};
use crate::policy::Severity;

/// One key of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningKey {
    pub customer: CustomerId,
    /// `per` entry and value, as in violations.
    pub key: Vec<(String, String)>,
    /// As in violations: counts, seconds, money, percent.
    pub value: f64,
    /// The level its open episode has reached, and since when it is open.
    pub level: Option<Severity>,
    pub since: Option<Timestamp>,
    /// Time of its newest event.
    pub newest: Timestamp,
}

/// What was found of a rule's keys.
#[derive(Clone, Debug, Default)]
pub struct RunningKeys {
    /// The largest, largest first; among equals by customer and key.
    pub keys: Vec<RunningKey>,
    /// How many there are that were asked for.
    pub n: u64,
}

/// Which keys are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyQuery<'a> {
    pub customer: Option<CustomerId>,
    /// These, each by its values with `,` between them; empty: all.
    pub keys: &'a [String],
}

/// Keys to be taken back.
#[derive(Debug)]
pub(crate) struct Reset {
    pub(crate) counter: u16,
    pub(crate) at: Timestamp,
    /// Partition and slot, and what is to be there.
    pub(crate) keys: Vec<((u32, u32), KeptKey)>,
    n: AtomicU64,
}

impl Reset {
    pub(crate) fn count(&self, n: u64) {
        self.n.fetch_add(n, Ordering::Relaxed);
    }
}

/// By value, then by name.
type Rank = (std::cmp::Reverse<Value>, CustomerId, Vec<(String, String)>);

impl KeyQuery<'_> {
    fn wants(&self, customer: CustomerId, key: &[(String, String)]) -> bool {
        let is_named = || {
            let text = joined(key);
            self.keys.contains(&text)
        };
        self.customer.is_none_or(|wanted| wanted == customer) && (self.keys.is_empty() || is_named())
    }
}

/// Values with `,` between them: how people name a key.
pub fn joined(key: &[(String, String)]) -> String {
    key.iter().map(|(_, value)| value.as_str()).collect::<Vec<&str>>().join(",")
}

impl Engine {
    /// Does a rule of this id count anything?
    pub fn counts(&self, id: &str) -> bool {
        counters_of(&self.0.generation(), id).next().is_some()
    }

    /// The largest keys of the rule of this id, as of event time `at`; `None` where no rule of that id counts.
    pub fn keys(&self, id: &str, query: &KeyQuery<'_>, limit: usize, at: Timestamp) -> Option<RunningKeys> {
        let generation = self.0.generation();
        counters_of(&generation, id).next()?;
        let mut found = RunningKeys::default();
        // By value, then by name: the smallest goes when there are too many.
        let mut largest: BTreeMap<Rank, RunningKey> = BTreeMap::new();
        for counter in counters_of(&generation, id) {
            look(&generation, counter, at, |look, since| {
                let key = shown(&generation, counter, look, since);
                if !query.wants(key.customer, &key.key) {
                    return;
                }
                found.n += 1;
                largest.insert((std::cmp::Reverse(Value(key.value)), key.customer, key.key.clone()), key);
                if largest.len() > limit {
                    drop(largest.pop_last());
                }
            });
        }
        found.keys = largest.into_values().collect();
        Some(found)
    }

    /// Takes back the keys of a rule that are meant, at their place in the engine's order; how many went, once it is done.
    /// `None` where no rule of that id counts, or a save or a swap is under way: to be tried again.
    pub fn reset_keys(&self, id: &str, query: &KeyQuery<'_>, at: Timestamp) -> Option<u64> {
        let core = &self.0;
        let generation = core.generation();
        counters_of(&generation, id).next()?;
        let mut resets = Vec::new();
        for counter in counters_of(&generation, id) {
            let mut keys = Vec::new();
            look(&generation, counter, at, |look, since| {
                let key = shown(&generation, counter, look, since);
                if query.wants(key.customer, &key.key) {
                    keys.push((look.place, look.key.clone()));
                }
            });
            resets.push(Reset { counter: counter as u16, at, keys, n: AtomicU64::new(0) });
        }
        // Places are those of these shards, and what a save has yet to write must not go.
        if core.is_saving.swap(true, Ordering::SeqCst) {
            return None;
        }
        let is_in_force = Arc::ptr_eq(&core.generation(), &generation);
        let n = if is_in_force { resets.into_iter().map(|reset| self.reset(reset)).sum() } else { 0 };
        core.is_saving.store(false, Ordering::SeqCst);
        is_in_force.then_some(n)
    }

    /// Waits until it is done; how many keys went.
    fn reset(&self, reset: Reset) -> u64 {
        let (core, reset) = (&self.0, Arc::new(reset));
        let (give, taken) = std::sync::mpsc::channel();
        let done = Box::new(move |_| give.send(()).unwrap_or_default());
        let mut work = Box::new(core.work(LaneOptions::default(), Batch::default(), Some(done)));
        work.reset = Some(Arc::clone(&reset));
        core.visit_all(work);
        // The other end is let go of where a panic hit it.
        taken.recv().unwrap_or_default();
        reset.n.load(Ordering::Relaxed)
    }
}

/// Values are never no number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value(f64);

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The rule itself, and what customers' overrides make of it.
fn counters_of(generation: &Generation, id: &str) -> impl Iterator<Item = usize> {
    let plan = &generation.plan;
    plan.counters.iter().zip(0..).filter(move |(counter, _)| rule_id(&plan.policy, counter.rule) == id).map(|(_, i)| i)
}

fn look(generation: &Generation, counter: usize, at: Timestamp, mut found: impl FnMut(&Look, Option<i64>)) {
    let n_shards = generation.seats.len();
    for partition in 0..PARTITIONS {
        let Some(seat) = generation.seats.get(partition % n_shards) else { continue };
        let mut from = Some(0);
        while let Some(slot) = from {
            let (looks, next) = enter(&seat.shard).look(counter, partition as u32, slot, KEYS_LOOKED_AT_ONCE, at.0);
            looks.iter().for_each(|(look, since)| found(look, *since));
            from = next;
        }
    }
}

fn shown(generation: &Generation, counter: usize, look: &Look, since: Option<i64>) -> RunningKey {
    let plan = &generation.plan;
    let (rule, key) = match plan.counters.get(counter) {
        Some(counter) => (counter.rule, prepare::kept_key_text(&look.key, plan, counter)),
        None => (RuleRef::Default, Vec::new()),
    };
    let raw = look.reading.top as f64 / look.reading.bottom.max(1) as f64;
    let level = |is_critical: bool| if is_critical { Severity::Critical } else { Severity::Warning };
    RunningKey {
        customer: CustomerId(look.key.customer()),
        key,
        value: in_units(&plan.policy, rule, raw),
        level: look.episode.map(|(_, is_critical)| level(is_critical)),
        since: since.map(Timestamp),
        newest: Timestamp(look.newest),
    }
}
