//! One batch on its way through the engine.

use std::sync::{Arc, Mutex};

use super::judged::{Closed, Observation, Put, Recorded, Verdict, Violation};
use super::key::KeyBytes;
use super::keys::Reset;
use super::saved::Marker;
use super::swap::Swap;
use super::table::Hit;
use super::warming::{PastWork, Quiet};
use super::{Done, LaneOptions};
use crate::event::Batch;

/// See the module. Built by the thread that submits, then shared read-only by the threads that run its shards.
pub(crate) struct Work {
    pub(crate) sequence: u64,
    pub(crate) options: LaneOptions,
    pub(crate) batch: Batch,
    /// In a mutex only because works are shared; taken once, by the thread that finishes.
    pub(crate) done: Mutex<Option<Done>>,
    /// Event time that passes for idle keys; such work has no events.
    pub(crate) tick: Option<i64>,
    /// The place of a save; such work has no events.
    pub(crate) marker: Option<Arc<Marker>>,
    /// Keys that somebody takes back; such work has no events.
    pub(crate) reset: Option<Arc<Reset>>,
    /// The place at which another policy comes into force; such work has no events.
    pub(crate) swap: Option<Arc<Swap>>,
    pub(crate) has_emergency: bool,
    /// What was told of the batch before a crash.
    pub(crate) recorded: Option<Recorded>,
    /// Events of the past, for the rules that are told of them alone.
    pub(crate) past: Option<PastWork>,
    /// Rules that are not to be tested for the time being.
    pub(crate) quiet: Quiet,
    /// Per event, where the verdict of its call is kept; empty on lanes that neither merge nor ask.
    pub(crate) slots: Vec<u32>,
    pub(crate) duplicates: u32,
    /// What the gate found `concurrent` rules to count, by counter.
    pub(crate) call_hits: Vec<(u16, Hit)>,
    pub(crate) decided: Decided,
    pub(crate) key_bytes: KeyBytes,
    /// Hits by counter and shard: `counter * n_shards + shard`.
    pub(crate) hits: Vec<Vec<Hit>>,
    /// Indices of `hits` that are not empty.
    pub(crate) touched: Vec<u32>,
    /// Shards that have something to do, a bit each.
    pub(crate) shards: u64,
    pub(crate) outcomes: Mutex<Vec<Outcome>>,
}

/// What the firewall said of a batch, and how often each rule was met.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) flags: Vec<(u32, u16)>,
    /// Rules that are counted for their own sake, by event.
    pub(crate) tracked: Vec<(u32, u16)>,
    /// Rules that matched and are not in force, by event, where the engine is watched.
    pub(crate) would: Vec<(u32, u16)>,
    /// Events that only their own crossing blocked, see [`crate::event::Flags::OWN_BLOCK`].
    pub(crate) own_blocks: Vec<u32>,
    /// By firewall rule: events that it decided, flagged or would have.
    pub(crate) matched: Vec<u32>,
}

/// What one shard made of a batch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// With the rule's position and the order in which they were found, to be sorted by.
    pub(crate) violations: Vec<(u32, Violation)>,
    pub(crate) listed: Vec<Put>,
    pub(crate) closed: Vec<Closed>,
    /// With the rule's position.
    pub(crate) observed: Vec<(u32, Observation)>,
    /// A coupled shard judges events itself.
    pub(crate) decided: Option<Decided>,
    pub(crate) tallies: Vec<(u16, Tally)>,
}

/// What a batch did to one rule's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) counted: u64,
    pub(crate) late: u64,
    pub(crate) too_late: u64,
    pub(crate) evicted: u64,
    /// Blocks that a full or forbidden list refused.
    pub(crate) refused: u64,
    /// How many more keys and bytes the shard holds than at the tick before; 0 but in ticks.
    pub(crate) keys: i64,
    pub(crate) bytes: i64,
}

impl Work {
    pub(crate) const NO_SLOT: u32 = u32::MAX;

    /// Does the rule count this without its levels being tested?
    pub(crate) fn is_quiet(&self, counter: u16) -> bool {
        let was_not_there = || self.recorded.as_ref().is_some_and(|recorded| recorded.quiet.has(counter));
        self.past.is_some() || self.quiet.has(counter) || was_not_there()
    }

    pub(crate) fn new(options: LaneOptions, batch: Batch, done: Option<Done>, lists: Lists) -> Work {
        Work {
            sequence: 0,
            options,
            batch,
            done: Mutex::new(done),
            tick: None,
            marker: None,
            reset: None,
            swap: None,
            has_emergency: false,
            recorded: None,
            past: None,
            quiet: Quiet::default(),
            slots: Vec::new(),
            duplicates: 0,
            call_hits: Vec::new(),
            decided: Decided::default(),
            key_bytes: lists.key_bytes,
            hits: lists.hits,
            touched: lists.touched,
            shards: 0,
            outcomes: Mutex::default(),
        }
    }
}

/// The buffers of a [`Work`] that outlive it.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) hits: Vec<Vec<Hit>>,
    pub(crate) touched: Vec<u32>,
    pub(crate) key_bytes: KeyBytes,
}
