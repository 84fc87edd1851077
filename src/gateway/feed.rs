//! What all connections of one feed share, and the way of one block through it: decoded, counted, handed to the engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::clocks::{Clocks, FeedClock};
use super::durable::Durable;
use super::greeting::Token;
use super::judges::{Judges, Turn};
use super::listener::Close;
use super::reply::{Mode, Overdue};
use super::sequence::{self, Account, Ledger};
use crate::clock::{Clock, Timestamp};
use crate::current::Current;
use crate::engine::{Engine, Judged, LaneOptions, Ticket};
use crate::event::{Batch, GatewayId, Kind, Names, Reject, Rejected, Source};
use crate::ingest::{Counts, Decoder, FeedContext, Format};
use crate::metrics::{FeedMetrics, Metrics};

/// One feed, as its connections see it.
#[derive(Debug)]
pub struct Feed {
    pub format: Format,
    pub context: Current<FeedContext>,
    /// Its gateway's name where no hello gives one.
    pub gateway: String,
    /// Not empty: a hello with one of these is required.
    pub tokens: Vec<Token>,
    /// `None`: as the reply mode has it.
    pub merge: Option<bool>,
    pub dedup: bool,
    pub both_legs: bool,
    pub delay_ms: i64,
    pub verdict_deadline: Duration,
    pub engine: Engine,
    pub judges: Arc<Judges>,
    pub names: Arc<Names>,
    pub metrics: Arc<Metrics>,
    pub counters: Arc<FeedMetrics>,
    pub ledger: Arc<Ledger>,
    /// Its place in the settings, as the journal names it.
    pub number: u16,
    pub durable: Durable,
    pub clocks: Arc<Clocks>,
    pub sample: Sample,
    pub problems: Sample,
}

/// Lets one log line a second through and counts the rest.
#[derive(Debug)]
pub struct Sample {
    last_ms: AtomicI64,
    n_held_back: AtomicU64,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample { last_ms: AtomicI64::new(Timestamp::MIN.0), n_held_back: AtomicU64::new(0) }
    }
}

impl Sample {
    /// How many were held back since the last line, if it is time for one.
    pub(super) fn next(&self, n: u64) -> Option<u64> {
        let (now, last) = (Clock.now().0, self.last_ms.load(Ordering::Relaxed));
        // The machine's clock may be set back; then the next line is due.
        let due = now >= last.saturating_add(1000) || now < last;
        if due && self.last_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(self.n_held_back.swap(0, Ordering::Relaxed));
        }
        self.n_held_back.fetch_add(n, Ordering::Relaxed);
        None
    }
}

impl Feed {
    pub(super) fn lane_options(&self, mode: Mode) -> LaneOptions {
        let verdict = mode == Mode::Verdict;
        let merges = verdict || self.format.is_signalling();
        LaneOptions { merge: self.merge.unwrap_or(merges), dedup: self.dedup, verdict, both_legs: self.both_legs }
    }

    /// Notes how a connection ended.
    pub(super) fn closed(&self, close: Close, peer: std::net::SocketAddr) {
        self.counters.closed(close as usize);
        let (feed, reason) = (&self.counters.name, close.as_str());
        if matches!(close, Close::Ended | Close::Stopped | Close::Idle) {
            tracing::debug!(feed, %peer, reason, "connection closed");
        } else if let Some(held_back) = self.sample.next(1) {
            tracing::warn!(feed, %peer, reason, held_back, "connection closed");
        }
    }

    fn count(&self, batch: &Batch, counts: Counts) {
        let mut kinds = [0u64; Kind::ALL.len()];
        for event in &batch.events {
            if let Some(n) = kinds.get_mut(event.kind as usize) {
                *n += 1;
            }
        }
        for (kind, n) in kinds.into_iter().enumerate() {
            self.counters.events(kind, n);
        }
        for reject in &batch.rejects {
            self.counters.rejects(reject.reason as usize, 1);
        }
        if counts.future > 0 {
            self.counters.future.increment(counts.future);
        }
        if counts.messages > 0 {
            self.counters.messages.increment(counts.messages);
        }
        if counts.other_payloads > 0 {
            self.counters.other_payloads.increment(counts.other_payloads);
        }
        if counts.unknown_fields > 0 {
            self.counters.unknown_fields.increment(counts.unknown_fields);
        }
        if let Some(first) = batch.rejects.first()
            && let Some(held_back) = self.sample.next(batch.rejects.len() as u64)
        {
            self.log_reject(*first, batch.rejects.len(), held_back);
        }
    }

    /// A posted body that holds no record at all.
    pub(super) fn reject_body(&self) {
        self.counters.rejects(Reject::Malformed as usize, 1);
        if let Some(held_back) = self.sample.next(1) {
            self.log_reject(Rejected { before: 0, seq: 0, reason: Reject::Malformed }, 1, held_back);
        }
    }

    /// Why nothing of a stream can be read.
    fn log_problem(&self, problem: &str) {
        if let Some(held_back) = self.problems.next(1) {
            tracing::error!(feed = self.counters.name, problem, held_back, "a stream cannot be read");
        }
    }

    fn log_reject(&self, reject: Rejected, n: usize, held_back: u64) {
        let (feed, reason, seq) = (&self.counters.name, reject.reason.as_str(), reject.seq);
        tracing::warn!(feed, reason, seq, n, held_back, "records rejected");
    }
}

/// Decoders of one connection; as many as blocks are decoded at once.
#[derive(Debug)]
pub(super) struct Decoders {
    greeted: Decoder,
    spare: Mutex<Vec<Decoder>>,
}

impl Decoders {
    pub(super) fn new(greeted: Decoder) -> Decoders {
        Decoders { greeted, spare: Mutex::default() }
    }

    fn take(&self) -> Decoder {
        let spare = self.spare.lock().unwrap_or_else(|e| e.into_inner()).pop();
        spare.unwrap_or_else(|| self.greeted.clone())
    }

    fn give_back(&self, decoder: Decoder) {
        self.spare.lock().unwrap_or_else(|e| e.into_inner()).push(decoder);
    }

    /// Frees what can be had again. A header row and calls that were begun are not.
    pub(super) fn release(&self) {
        self.spare.lock().unwrap_or_else(|e| e.into_inner()).retain(Decoder::has_learned);
    }

    /// Calls of which only a part was read.
    pub(super) fn hold_calls(&self) -> bool {
        self.spare.lock().unwrap_or_else(|e| e.into_inner()).iter().any(Decoder::holds_calls)
    }
}

/// A block on its way to the engine, with everything its reply will need.
#[derive(Debug)]
pub(super) struct Job {
    pub feed: Arc<Feed>,
    pub decoders: Arc<Decoders>,
    pub clock: Arc<FeedClock>,
    pub account: Option<(GatewayId, Arc<Account>)>,
    pub mode: Mode,
    /// Its place in the connection's order: for the check of its `seq`, and for the engine.
    pub turn: Option<Turn>,
    pub ticket: Ticket,
    /// `None`: the stream has ended.
    pub block: Option<Vec<u8>>,
    /// Memory to decode into.
    pub batch: Batch,
    pub read_at: Instant,
    pub arrival: Timestamp,
    /// Verdict mode: set as soon as the block is decoded.
    pub overdue: Option<Arc<OnceLock<Overdue>>>,
    /// See [`Finished::highest_seq`]; known once admitted.
    pub highest_seq: u64,
    pub done: oneshot::Sender<Finished>,
}

/// A block that has been judged.
#[derive(Debug)]
pub(super) struct Finished {
    pub judged: Judged,
    /// Highest `seq` it brought, with those of duplicates and rejects; 0: none.
    pub highest_seq: u64,
}

impl Job {
    /// All that is to be done with a block.
    pub(super) fn run(mut self: Box<Self>) {
        self.decode();
        self.pass_on();
    }

    /// All that is to be done with a decoded block, now or in its turn.
    pub(super) fn pass_on(mut self: Box<Self>) {
        match self.turn.take() {
            Some(turn) => turn.pass(self),
            None => {
                self.admit();
                self.submit();
            }
        }
    }

    /// Bytes to events. A decoder that panics costs its block, not the connection, and says so.
    pub(super) fn decode(&mut self) {
        let (block, mut batch) = (self.block.take(), std::mem::take(&mut self.batch));
        let mut decoder = self.decoders.take();
        decoder.go_by(&self.feed.context.get());
        let arrival = Some(self.arrival);
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            match block {
                Some(block) => decoder.decode(block, arrival, &mut batch),
                None => decoder.finish(arrival, &mut batch),
            }
            (decoder, batch)
        }));
        match decoded {
            Ok((mut decoder, batch)) => {
                self.feed.count(&batch, decoder.take_counts());
                if let (Some(problem), false) = (decoder.problem(), batch.rejects.is_empty()) {
                    self.feed.log_problem(problem);
                }
                self.decoders.give_back(decoder);
                self.batch = batch;
            }
            Err(_) => {
                tracing::error!(feed = self.feed.counters.name, "the decoder panicked; a block is lost");
                self.feed.counters.rejects(Reject::Malformed as usize, 1);
            }
        }
        if let Some(overdue) = &self.overdue {
            // Set once, here.
            overdue.set(Overdue::of(&self.batch)).unwrap_or_default();
        }
    }

    /// Checks `seq`. In the order of the connection's blocks, see [`Turn`].
    pub(super) fn admit(&mut self) {
        self.highest_seq = if self.mode == Mode::None { 0 } else { sequence::highest(&self.batch) };
        if let (Mode::Ack, Some((_, account))) = (self.mode, &self.account) {
            self.feed.counters.duplicates.increment(account.admit(&mut self.batch));
        }
    }

    /// Hands the events to the engine, and does whatever of its work is ready.
    pub(super) fn submit(self: Box<Self>) {
        let Job { feed, clock, account, ticket, mut batch, read_at, arrival, highest_seq, done, .. } = *self;
        let gateway = account.as_ref().map_or(GatewayId(0), |(gateway, _)| *gateway);
        batch.source = Source { arrival, feed: feed.number, gateway, highest_seq };
        let note = move |judged: Judged| {
            let n_events = judged.batch.events.len() as u64;
            let took = Clock.monotonic().saturating_duration_since(read_at);
            feed.metrics.latency.record(took, n_events);
            if let Some(newest) = clock.applied(&judged.batch, arrival) {
                feed.counters.lag_s.set((arrival.0 - newest.0).max(0) as f64 / 1000.0);
            }
            if let (Some((_, account)), true) = (account, feed.durable.is_off()) {
                account.keep(highest_seq);
            }
            // A connection that has gone wants no reply.
            drop(done.send(Finished { judged, highest_seq }));
        };
        ticket.submit(batch, Some(Box::new(note)));
    }
}
