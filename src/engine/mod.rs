//! How batches of events meet the state they count in, on any number of threads, as if on one.
//!
//! Sources submit batches through a [`Lane`], in their own order; the engine judges every event, counts it, and
//! hands the batch back [`Judged`], in one order for all lanes.

pub mod judged;

use std::sync::Arc;

pub use judged::{Closed, Judged, RuleRef, Verdict, Violation};

use crate::clock::Timestamp;
use crate::event::{Batch, Names};
use crate::policy::Policy;

/// How an engine is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that will submit batches; decides the number of shards, never the result.
    pub n_threads: usize,
    /// Seed of the hash that spreads keys: random in `serve`, constant in `replay`.
    pub hash_seed: u64,
    /// How long an emergency call keeps the way open for the call-back, ms of event time.
    pub emergency_callback_ms: i64,
}

/// What a source promises of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneOptions {
    /// Its calls are merged with those of the other merging lanes by customer and Call-ID.
    pub merge: bool,
    /// Repeated events are found by gateway, call id, leg, kind and time.
    pub dedup: bool,
    /// Its attempts are verdict requests: one asked again soon gets the same answer.
    pub verdict: bool,
    /// B-legs are judged too.
    pub both_legs: bool,
}

/// Called with every judged batch, in the engine's order.
pub type Emit = Box<dyn Fn(&Judged) + Send + Sync>;
/// Takes a batch back when it is judged.
pub type Done = Box<dyn FnOnce(Judged) + Send>;

/// The engine. Cheap to clone; threads that submit batches do its work.
#[derive(Clone, Debug)]
pub struct Engine {}

impl Engine {
    pub fn new(_policy: Arc<Policy>, _names: Arc<Names>, _settings: Settings, _emit: Emit) -> Engine {
        Engine {}
    }

    /// A new ordered source of batches.
    pub fn lane(&self, _options: LaneOptions) -> Lane {
        Lane {}
    }

    /// Lets event time pass for keys that are idle: closes the episodes that end by `at`.
    pub fn tick(&self, _at: Timestamp) {}
}

/// One ordered source: a connection or a file.
#[derive(Debug)]
pub struct Lane {}

impl Lane {
    /// The place of the next block in this lane's order. Taken when the block is read; the block may be decoded
    /// on any thread. Every ticket must be submitted, an unreadable block as an empty batch.
    pub fn ticket(&mut self) -> Ticket {
        Ticket {}
    }
}

/// See [`Lane::ticket`].
#[derive(Debug)]
pub struct Ticket {}

impl Ticket {
    /// Judges the batch, now or when the batches before it have come. The calling thread does whatever work is
    /// ready, its own or others'; it never waits.
    pub fn submit(self, _batch: Batch, _done: Option<Done>) {}
}
