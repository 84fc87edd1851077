//! The outbox: one delivery for each message, person and channel, tried until a provider took it or it makes no sense any
//! more, and known to people in each of its steps.
//!
//! Deliveries come into the store with what they tell of, in one transaction; one thread takes those that are due, says
//! on record that it does (`leased`), hands each to a provider of its channel, and writes what became of it. What was
//! under way when the service ended is `unknown`: the provider is asked before anything is sent again. Severity 1 and 2
//! wait for no provider that fails: they go by the next one, by text message instead of mail, and at last stand on the
//! call sheet for a person to phone. The outbox decides when and by whom something is sent, never what is said or to whom.

mod cef;
mod circuit;
mod digest;
mod fallback;
mod limit;
pub mod link;
pub mod mail;
pub mod pagerduty;
mod parcel;
mod route;
pub mod sms;
mod stdout;
mod step;
pub mod syslog;
pub mod webhook;
mod words;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Sender as Queue, bounded};
use tokio::runtime::Handle;

use crate::customer::Customers;
use crate::desk::Desk;
use crate::incident::STDOUT;
use crate::limits::{OUTBOX_INPUTS_MAX, OUTBOX_SENDING_MAX, OUTBOX_WAIT_MS};
use crate::notify::Output;
use crate::store::Store;
use link::Links;
pub use parcel::{Found, Outcome, Parcel};
use route::{CALL_SHEET, MAIL, Provider, Route, SMS, Sender};
use stdout::Stdout;
pub use step::By;

/// What a delivery that a person tries again is worth at least.
const RETRY_BY_HAND_MS: i64 = 3_600_000;

/// Where everything goes. A channel without a provider of its own is written to `notices`.
#[derive(Debug, Default)]
pub struct Settings {
    pub notices: Output,
}

/// What the outbox is set up with.
pub struct Charge {
    pub store: Arc<Store>,
    pub desk: Desk,
    pub customers: Arc<Customers>,
    /// How people say by link that they look after something.
    pub links: Links,
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge").finish_non_exhaustive()
    }
}

/// A handle to the outbox; by [`Outbox::stop`] the thread ends.
#[derive(Clone, Debug)]
pub struct Outbox {
    inputs: Queue<Input>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What a provider told after it had taken something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub delivery: i64,
    pub provider: String,
    /// It reached the person.
    pub is_delivered: bool,
    /// It never will, and why.
    pub failed: Option<String>,
}

/// What people do about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tried again at once, also where it had been given up.
    Retry { delivery: i64 },
    /// Somebody on the call sheet was phoned.
    Tick { delivery: i64, tick: Tick, note: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    Reached,
    NotReached,
}

impl Order {
    fn delivery(&self) -> i64 {
        match self {
            Order::Retry { delivery } | Order::Tick { delivery, .. } => *delivery,
        }
    }
}

/// Why an order about a delivery was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
    #[error("the outbox is busy or stopping: come again")]
    Busy,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Deliveries that nobody has got yet, and the age of the oldest.
    pub waiting: u64,
    pub oldest_ms: i64,
    /// Providers that are left alone for now.
    pub down: Vec<String>,
    pub is_mail_down: bool,
    /// Since they were asked for last: channel, state, how many came to it.
    pub outcomes: Vec<(String, String, u64)>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicU64,
    oldest_ms: AtomicI64,
    is_mail_down: AtomicBool,
    down: Mutex<Vec<String>>,
    outcomes: Mutex<BTreeMap<(String, String), u64>>,
}

impl Shared {
    fn count(&self, outcomes: Vec<(String, String)>) {
        let mut counts = self.outcomes.lock().unwrap_or_else(|e| e.into_inner());
        outcomes.into_iter().for_each(|outcome| *counts.entry(outcome).or_default() += 1);
    }
}

enum Input {
    Done(Done),
    Answered(Answered),
    /// A provider's; true once it is on record, or where it is nobody's.
    Receipt(Receipt, Queue<bool>),
    Order(By, Order, Queue<Result<(), OrderError>>),
    MailDown(bool),
    Stop,
}

/// A try that has ended.
struct Done {
    id: i64,
    provider: String,
    outcome: Outcome,
}

/// What a provider said of something it may have.
struct Answered {
    id: i64,
    found: Found,
}

impl Outbox {
    /// Begins where the last one ended.
    pub fn start(settings: Settings, charge: Charge, runtime: Handle) -> Result<Outbox, String> {
        Outbox::run(routes(settings)?, charge, runtime)
    }

    fn run(routes: BTreeMap<String, Route>, charge: Charge, runtime: Handle) -> Result<Outbox, String> {
        let (inputs, received) = bounded(OUTBOX_INPUTS_MAX);
        let shared: Arc<Shared> = Arc::default();
        let work = work::Work::new(charge, routes, runtime, inputs.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("outbox".into()).spawn(move || work.run(&received));
        let thread = thread.map_err(|e| format!("no thread for the outbox: {e}"))?;
        Ok(Outbox { inputs, shared, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Does what a person wants done about a delivery. Blocks until it is durable.
    pub fn order(&self, by: By, order: Order) -> Result<(), OrderError> {
        let (reply, answer) = bounded(1);
        self.inputs.try_send(Input::Order(by, order, reply)).map_err(|_| OrderError::Busy)?;
        answer.recv_timeout(Duration::from_millis(OUTBOX_WAIT_MS)).map_err(|_| OrderError::Busy)?
    }

    /// True where it is on record, or nothing to anybody; else the provider comes again. Blocks.
    pub fn receipt(&self, receipt: Receipt) -> bool {
        let (reply, answer) = bounded(1);
        let sent = self.inputs.try_send(Input::Receipt(receipt, reply));
        sent.is_ok() && answer.recv_timeout(Duration::from_millis(OUTBOX_WAIT_MS)).unwrap_or(false)
    }

    /// What is sent by mail does not come through, or does again.
    pub fn mail_is_down(&self, is_down: bool) {
        drop(self.inputs.send(Input::MailDown(is_down)));
    }

    pub fn take_figures(&self) -> Figures {
        let mut counts = self.shared.outcomes.lock().unwrap_or_else(|e| e.into_inner());
        let counts = std::mem::take(&mut *counts);
        let outcomes = counts.into_iter().map(|((channel, state), n)| (channel, state, n)).collect();
        Figures {
            waiting: self.shared.waiting.load(Ordering::Relaxed),
            oldest_ms: self.shared.oldest_ms.load(Ordering::Relaxed),
            down: self.shared.down.lock().unwrap_or_else(|e| e.into_inner()).clone(),
            is_mail_down: self.shared.is_mail_down.load(Ordering::Relaxed),
            outcomes,
        }
    }

    /// Waits a moment for what is with providers, writes what became of it, and the thread ends.
    pub fn stop(&self) {
        drop(self.inputs.send(Input::Stop));
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        // A panic was printed where it happened.
        drop(thread.map(JoinHandle::join));
    }
}

/// Names of the channels in the metrics.
pub fn channels() -> Vec<String> {
    [STDOUT, MAIL, SMS, CALL_SHEET].map(str::to_owned).to_vec()
}

fn routes(settings: Settings) -> Result<BTreeMap<String, Route>, String> {
    let mut providers: BTreeMap<String, Vec<Provider>> = BTreeMap::new();
    providers.insert(CALL_SHEET.to_owned(), vec![Provider::new(CALL_SHEET, Sender::Sheet)]);
    for channel in [STDOUT, MAIL, SMS] {
        let own = providers.entry(channel.to_owned()).or_default();
        if own.is_empty() {
            let stdout = Stdout::new(&settings.notices).map_err(|e| format!("notices: {e}"))?;
            own.extend(stdout.map(|stdout| Provider::new("standard output", Sender::Stdout(stdout))));
        }
    }
    Ok(with_providers(providers))
}

fn with_providers(providers: BTreeMap<String, Vec<Provider>>) -> BTreeMap<String, Route> {
    let route = |(channel, providers): (String, Vec<Provider>)| {
        let route = Route { providers, n_sending: 0, n_sending_max: OUTBOX_SENDING_MAX };
        (channel, route)
    };
    providers.into_iter().map(route).collect()
}
