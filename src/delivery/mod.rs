//! The outbox: one delivery for each message, person and channel, tried until a provider took it or it makes no sense any
//! more, and known to people in each of its steps.
//!
//! Deliveries come into the store with what they tell of, in one transaction; one thread takes those that are due, says
//! on record that it does (`leased`), hands each to a provider of its channel, and writes what became of it. What was
//! under way when the service ended is `unknown`: the provider is asked before anything is sent again. Severity 1 and 2
//! wait for no provider that fails: they go by the next one, by text message instead of mail, and at last stand on the
//! call sheet for a person to phone. The outbox decides when and by whom something is sent, never what is said or to whom.

mod announcer;
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
pub mod told;
pub mod webhook;
mod words;
mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Sender as Queue, bounded};
use tokio::runtime::Handle;

use crate::acd::Board;
use crate::clock::Timestamp;
use crate::current::Current;
use crate::customer::Customers;
use crate::desk::Desk;
use crate::incident::STDOUT;
use crate::limits::{OUTBOX_INPUTS_MAX, OUTBOX_SENDING_MAX, OUTBOX_WAIT_MS};
use crate::notify::Output;
use crate::store::Store;
use link::Links;
use mail::Mail;
use pagerduty::PagerDuty;
pub use parcel::{Found, Outcome, Parcel};
pub use route::CALL_SHEET;
use route::{ACD, MAIL, Provider, Route, SMS, Sender};
use sms::Sms;
use stdout::Stdout;
pub use step::By;
use syslog::Syslog;
use webhook::Webhook;
pub use words::says;

/// What a delivery that a person tries again is worth at least.
const RETRY_BY_HAND_MS: i64 = 3_600_000;

/// Where everything goes. A channel without a provider of its own is written to `notices`.
#[derive(Debug, Default)]
pub struct Settings {
    pub notices: Output,
    pub mail: Option<Arc<Mail>>,
    /// Groups of incidents that concern the mail path itself.
    pub mail_groups: BTreeSet<String>,
    /// The first is asked first.
    pub sms: Vec<Sms>,
    pub webhooks: Vec<Webhook>,
    pub pagerduty: Option<PagerDuty>,
    pub syslog: Option<Syslog>,
}

/// What the outbox is set up with.
pub struct Charge {
    pub store: Arc<Store>,
    pub desk: Desk,
    pub customers: Current<Customers>,
    /// How people say by link that they look after something.
    pub links: Links,
    /// What callers hear.
    pub board: Arc<Board>,
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

impl From<sms::Receipt> for Receipt {
    fn from(receipt: sms::Receipt) -> Receipt {
        let failed = match &receipt.state {
            sms::State::Failed(why) => Some(why.clone()),
            sms::State::Accepted | sms::State::Delivered => None,
        };
        Receipt {
            // What is no number of ours is nobody's.
            delivery: crate::incident::parse_name(&receipt.delivery, "DLV").unwrap_or(0),
            provider: receipt.provider,
            is_delivered: receipt.state == sms::State::Delivered,
            failed,
        }
    }
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
    is_stopping: AtomicBool,
    dead: AtomicU64,
    round: AtomicI64,
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
    /// What callers are told of these messages was fetched again: it is what was released, or why it is not.
    ReadBack(Vec<i64>, String, Result<(), String>),
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
        let groups = settings.mail_groups.clone();
        Outbox::run(routes(settings, Arc::clone(&charge.board))?, groups, charge, runtime)
    }

    fn run(
        routes: BTreeMap<String, Route>,
        mail_groups: BTreeSet<String>,
        charge: Charge,
        runtime: Handle,
    ) -> Result<Outbox, String> {
        let (inputs, received) = bounded(OUTBOX_INPUTS_MAX);
        let shared: Arc<Shared> = Arc::default();
        let work = work::Work::new(charge, routes, mail_groups, runtime, inputs.clone(), Arc::clone(&shared));
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

    /// The announcement of these messages was fetched as callers get it.
    pub fn was_read_back(&self, queue: &str, messages: &[i64], outcome: Result<(), String>) {
        // Where there is no room, the delivery stays handed over: nothing is lost but a word.
        drop(self.inputs.try_send(Input::ReadBack(messages.to_vec(), queue.to_owned(), outcome)));
    }

    /// Deliveries of the last day that were given up, and for which no other way was found.
    pub fn dead_letters(&self) -> u64 {
        self.shared.dead.load(Ordering::Relaxed)
    }

    /// When the outbox last looked what is due.
    pub fn last_round(&self) -> Timestamp {
        Timestamp(self.shared.round.load(Ordering::Relaxed))
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
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        drop(self.inputs.send(Input::Stop));
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        // A panic was printed where it happened.
        drop(thread.map(JoinHandle::join));
    }
}

/// Names of the channels in the metrics.
pub fn channels<'w>(webhooks: impl Iterator<Item = &'w String>) -> Vec<String> {
    let plain = [STDOUT, MAIL, SMS, CALL_SHEET, ACD, "pagerduty", "syslog"].map(str::to_owned);
    plain.into_iter().chain(webhooks.map(|name| format!("webhook:{name}"))).collect()
}

fn routes(settings: Settings, board: Arc<Board>) -> Result<BTreeMap<String, Route>, String> {
    let mut providers: BTreeMap<String, Vec<Provider>> = BTreeMap::new();
    let mut add = |channel: &str, provider: Option<Provider>| {
        providers.entry(channel.to_owned()).or_default().extend(provider);
    };
    add(CALL_SHEET, Some(Provider::new(CALL_SHEET, Sender::Sheet)));
    add(ACD, Some(Provider::new(ACD, Sender::Acd(board))));
    let mail_connections = settings.mail.as_ref().map(|mail| mail.connections());
    add(
        MAIL,
        settings.mail.map(|mail| {
            let per_minute = mail.per_minute();
            Provider::new(MAIL, Sender::Mail(mail)).at_most(per_minute)
        }),
    );
    add(SMS, None);
    for sms in settings.sms {
        let (name, per_minute) = (sms.name().to_owned(), sms.per_minute());
        add(SMS, Some(Provider::new(name, Sender::Sms(sms)).at_most(per_minute)));
    }
    for webhook in settings.webhooks {
        let name = format!("webhook:{}", webhook.name());
        add(&name, Some(Provider::new(name.clone(), Sender::Webhook(webhook))));
    }
    add("pagerduty", settings.pagerduty.map(|pagerduty| Provider::new("pagerduty", Sender::PagerDuty(pagerduty))));
    add("syslog", settings.syslog.map(|syslog| Provider::new("syslog", Sender::Syslog(syslog))));
    add(STDOUT, None);
    let stdout = Stdout::new(&settings.notices).map_err(|e| format!("notices: {e}"))?;
    for channel in [STDOUT, MAIL, SMS] {
        let own = providers.entry(channel.to_owned()).or_default();
        if own.is_empty() {
            own.extend(stdout.clone().map(|stdout| Provider::new("standard output", Sender::Stdout(stdout))));
        }
    }
    let mut routes = with_providers(providers);
    if let (Some(route), Some(n)) = (routes.get_mut(MAIL), mail_connections) {
        // Whoever waits for a connection for too long would count as a failure of the server's.
        route.n_sending_max = 2 * n;
    }
    Ok(routes)
}

fn with_providers(providers: BTreeMap<String, Vec<Provider>>) -> BTreeMap<String, Route> {
    let route = |(channel, providers): (String, Vec<Provider>)| {
        let route = Route { providers, n_sending: 0, n_sending_max: OUTBOX_SENDING_MAX };
        (channel, route)
    };
    providers.into_iter().map(route).collect()
}
