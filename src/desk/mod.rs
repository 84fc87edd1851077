//! The desk: one thread that owns the incident book and makes durable whatever it says.
//!
//! Violations come to it through the store's inbox, orders of people through [`Desk::order`]. What the book makes of them
//! is written in one transaction, and only then is anybody answered or told. The book in memory is nothing but what the
//! store would give: after a write of which nobody knows what became, it is read again.

mod restore;
pub(crate) mod steady;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use crate::clock::Timestamp;
use crate::incident::{Actor, Answer, BookCounts, Command, Refusal, Renamed, Terms};
use crate::limits::{DESK_ORDERS_MAX, DESK_WAIT_MS};
use crate::store::{Store, StoreError};

/// Why an order was not done.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It may have been done: whoever asked looks again.
    #[error("it could not be made durable in time: look whether it was done")]
    Unknown,
    #[error("too many orders wait, or the service is stopping: come again")]
    Busy,
}

/// What the desk is set up with.
pub struct Charge {
    pub store: Arc<Store>,
    pub terms: Terms,
    /// Ids of the rules that are there.
    pub rules: Vec<String>,
    /// What rules are called now, by the ids they had.
    pub renamed: BTreeMap<String, Renamed>,
    /// What each rule looks for, in a sentence.
    pub whats: BTreeMap<String, String>,
}

/// A handle to the desk; with the last one, or by [`Desk::stop`], the thread ends.
#[derive(Clone, Debug)]
pub struct Desk {
    inputs: Sender<Input>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What others see of it.
#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<BookCounts>,
    breaches: AtomicU64,
    round: AtomicI64,
    /// Everything of the inbox so far was taken.
    is_idle: AtomicBool,
}

enum Input {
    Order(Box<Order>),
    /// A message was taken for the customer at this time, by whom.
    Accepted(i64, Timestamp, String),
    /// Other rules, customers' files or kits.
    Renew(Box<Renewal>),
    Stop,
}

/// What the desk goes by, as the files are now.
pub struct Renewal {
    pub terms: Terms,
    pub rules: Vec<String>,
    /// Rules that go on under another id, by the old one.
    pub renamed: BTreeMap<String, Renamed>,
    pub whats: BTreeMap<String, String>,
}

struct Order {
    by: Actor,
    command: Command,
    reply: Sender<Result<Answer, OrderError>>,
}

impl Desk {
    /// Reads the book and begins.
    pub fn start(charge: Charge) -> Result<Desk, StoreError> {
        let (inputs, received) = bounded(DESK_ORDERS_MAX);
        let shared: Arc<Shared> = Arc::default();
        let work = work::Work::new(charge, Arc::clone(&shared))?;
        let run = move || work.run(&received);
        let thread = thread::Builder::new().name("desk".into()).spawn(run);
        let thread = thread.map_err(|e| StoreError::Begin(format!("no thread for the desk: {e}")))?;
        Ok(Desk { inputs, shared, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Does what a person orders, or says why not; when this returns, it is durable. Blocks for an fsync or two.
    pub fn order(&self, by: Actor, command: Command) -> Result<Answer, OrderError> {
        let (reply, answer) = bounded(1);
        let order = Box::new(Order { by, command, reply });
        self.inputs.try_send(Input::Order(order)).map_err(|_| OrderError::Busy)?;
        answer.recv_timeout(Duration::from_millis(DESK_WAIT_MS)).map_err(|_| OrderError::Unknown)?
    }

    /// A provider took a message for somebody who counts as the customer; that is on record already. Where the desk cannot
    /// hear it now, it reads it at its next start.
    pub fn accepted(&self, message: i64, at: Timestamp, by: String) {
        drop(self.inputs.send(Input::Accepted(message, at, by)));
    }

    /// Goes by other rules, customers' files and kits from now on.
    pub fn renew(&self, renewal: Renewal) {
        drop(self.inputs.send(Input::Renew(Box::new(renewal))));
    }

    pub fn counts(&self) -> BookCounts {
        self.shared.counts.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Commitments that were missed, since the start.
    pub fn breaches(&self) -> u64 {
        self.shared.breaches.load(Ordering::Relaxed)
    }

    /// When it last looked what there is to do.
    pub fn last_round(&self) -> Timestamp {
        Timestamp(self.shared.round.load(Ordering::Relaxed))
    }

    /// Nothing waits in the inbox that it has not taken.
    pub fn is_idle(&self) -> bool {
        self.shared.is_idle.load(Ordering::Acquire)
    }

    /// Takes what is in the inbox, and the thread ends.
    pub fn stop(&self) {
        drop(self.inputs.send(Input::Stop));
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        // A panic was printed where it happened.
        drop(thread.map(JoinHandle::join));
    }
}
