//! What the desk's thread does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::steady::Steady;
use super::{Charge, Input, Order, OrderError, Renewal, Shared, restore};
use crate::clock::Clock;
use crate::incident::{Actor, Answer, Book, Entries, Renamed, Terms};
use crate::limits::{DESK_BATCH_MAX, DESK_RETRY_MS};
use crate::store::{Audit, Change, Inbox, Store, StoreError, Written};

/// How often it looks whether something is due or has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Work {
    store: Arc<Store>,
    book: Book,
    terms: Terms,
    whats: BTreeMap<String, String>,
    rules: Vec<String>,
    renamed: BTreeMap<String, Renamed>,
    clock: Steady,
    shared: Arc<Shared>,
    /// What of the inbox was read: what lies before and is still there cannot be read.
    read_to: i64,
    /// Rows that are taken at once: one by one where a whole page was refused.
    batch: usize,
    seen: u64,
    /// The inbox may hold something.
    is_behind: bool,
}

/// What became of a write.
enum Wrote {
    Done,
    /// The book was read again: what it said before counts for nothing.
    Undone,
    /// The store is closed.
    Over,
}

impl Work {
    pub(super) fn new(charge: Charge, shared: Arc<Shared>) -> Result<Work, StoreError> {
        let Charge { store, terms, rules, renamed, whats } = charge;
        let mut book = restore::book(&store, terms.clone(), Clock.now())?;
        book.rename_rules(&renamed, Clock.now());
        book.keep_rules(|rule| rules.iter().any(|id| id == rule), Clock.now());
        let clock = Steady::new();
        Ok(Work {
            store,
            book,
            terms,
            whats,
            rules,
            renamed,
            clock,
            shared,
            read_to: 0,
            batch: DESK_BATCH_MAX,
            seen: 0,
            is_behind: true,
        })
    }

    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let input = match inputs.recv_timeout(if self.is_behind { Duration::ZERO } else { LOOK_EVERY }) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Input::Stop),
            };
            let stops = matches!(input, Some(Input::Stop));
            self.shared.round.store(Clock.now().0, Ordering::Relaxed);
            if let Some(input) = input {
                self.input(input);
            }
            let now = self.clock.now();
            self.book.pass(now);
            let written = self.look_in(stops);
            self.show();
            if stops || matches!(written, Wrote::Over) {
                return;
            }
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Order(order) => self.order(*order),
            Input::Accepted(id, at, by) => self.book.accepted(id, &by, at),
            Input::Renew(renewal) => self.renew(*renewal),
            Input::Stop => {}
        }
    }

    fn renew(&mut self, renewal: Renewal) {
        let Renewal { terms, rules, renamed, whats } = renewal;
        self.book.set_terms(terms.clone());
        (self.terms, self.rules, self.renamed, self.whats) = (terms, rules, renamed, whats);
        let now = self.clock.now();
        self.book.rename_rules(&self.renamed, now);
        self.book.keep_rules(|rule| self.rules.iter().any(|id| id == rule), now);
    }

    fn order(&mut self, order: Order) {
        let Order { by, command, reply } = order;
        let now = self.clock.now();
        self.book.pass(now);
        // What time has done is on record before anything is read back.
        let entries = self.book.drain();
        if !matches!(self.write(entries, Vec::new(), Vec::new()), Wrote::Done) {
            drop(reply.try_send(Err(OrderError::Busy)));
            return;
        }
        if let Err(error) = self.recall(&command) {
            tracing::error!(%error, "an incident could not be read");
        }
        let answer = self.book.order(&by, &command, now);
        let mut audit = Vec::new();
        if let Ok(done) = &answer {
            audit.push(entry(&by, command.name(), done));
        }
        let entries = self.book.drain();
        let answer = match self.write(entries, Vec::new(), audit) {
            Wrote::Done => answer.map_err(OrderError::Refused),
            Wrote::Undone | Wrote::Over => Err(OrderError::Unknown),
        };
        // Whoever asked may have gone.
        drop(reply.try_send(answer));
    }

    /// What an order is about may have been forgotten.
    fn recall(&mut self, command: &crate::incident::Command) -> Result<(), StoreError> {
        let mut wanted: Vec<i64> = command.incident().into_iter().collect();
        if let crate::incident::Command::Fold { into, .. } = command {
            wanted.push(*into);
        }
        if let Some(message) = command.message() {
            restore::recall_message(&mut self.book, &self.store, message)?;
            wanted.extend(self.book.message(message).map(|message| message.incident));
        }
        for id in wanted {
            if self.book.incident(id).is_none() {
                restore::recall(&mut self.book, &self.store, id)?;
            }
        }
        Ok(())
    }

    /// Takes a part of the inbox, all of it where `all`, and writes what has become of it and of time.
    fn look_in(&mut self, all: bool) -> Wrote {
        loop {
            let arrived = self.store.arrived();
            self.is_behind |= std::mem::replace(&mut self.seen, arrived) != arrived;
            let mut take = Vec::new();
            if self.is_behind {
                match self.store.inbox(self.read_to, self.batch) {
                    Ok(page) => {
                        if page.damaged > 0 {
                            tracing::error!(rows = page.damaged, "what was found is damaged, and becomes no alert");
                        }
                        take = self.take(page.rows, page.next);
                    }
                    Err(StoreError::Busy) => {}
                    Err(StoreError::Closed) => return Wrote::Over,
                    Err(error) => {
                        tracing::error!(%error, "the inbox of the incident book could not be read");
                        // It is looked at again with the next round.
                        self.seen = self.seen.wrapping_sub(1);
                        self.is_behind = false;
                    }
                }
            }
            self.shared.is_idle.store(!self.is_behind && take.is_empty(), Ordering::Release);
            let entries = self.book.drain();
            if entries.is_empty() && take.is_empty() {
                return Wrote::Done;
            }
            let (last, n) = (take.last().copied(), take.len());
            let written = self.write(entries, take, Vec::new());
            self.batch = match (&written, n) {
                (Wrote::Undone, 1) => {
                    // Whatever it is, what comes behind it must not wait for it.
                    tracing::error!(row = last, "a row of the inbox could not be taken");
                    self.read_to = last.unwrap_or(self.read_to);
                    1
                }
                (Wrote::Undone, _) => 1,
                (_, 0) => self.batch,
                _ => (self.batch * 2).min(DESK_BATCH_MAX),
            };
            if !all || !self.is_behind || matches!(written, Wrote::Over) {
                return written;
            }
        }
    }

    fn take(&mut self, rows: Vec<(i64, Inbox)>, next: Option<i64>) -> Vec<i64> {
        let now = self.clock.now();
        let mut taken = Vec::with_capacity(rows.len());
        for (seq, found) in rows {
            taken.push(seq);
            match found {
                // It has an alert: a database that was put together again asks twice.
                Inbox::Violation(violation) if violation.alert.is_some() => {}
                Inbox::Violation(violation) => {
                    let what = self.whats.get(&violation.rule);
                    self.book.take(&restore::sighting(*violation, what), now);
                }
                Inbox::Closed(closing) => self.book.end(&restore::ending(closing), now),
            }
        }
        self.read_to = next.or(taken.last().copied()).unwrap_or(self.read_to).max(self.read_to);
        self.is_behind = next.is_some();
        taken
    }

    /// Makes durable what the book says.
    fn write(&mut self, entries: Entries, take: Vec<i64>, audit: Vec<Audit>) -> Wrote {
        if entries.is_empty() && take.is_empty() && audit.is_empty() {
            return Wrote::Done;
        }
        let n_breaches = entries.rows.iter().filter(|row| row.what == "breached").count();
        let mut changes = vec![Change::Book(restore::change(entries, take, audit))];
        let receipt = loop {
            match self.store.record(changes) {
                Ok(receipt) => break receipt,
                Err(refused) if matches!(refused.why, StoreError::Closed) => return Wrote::Over,
                Err(refused) => {
                    changes = refused.changes;
                    std::thread::sleep(Duration::from_millis(DESK_RETRY_MS));
                }
            }
        };
        match receipt.wait() {
            Ok(written) if !matches!(written.first(), Some(Written::Stale)) => {
                self.shared.breaches.fetch_add(n_breaches as u64, Ordering::Relaxed);
                return Wrote::Done;
            }
            Ok(_) => tracing::error!("the inbox of the incident book was taken by somebody else"),
            Err(StoreError::Closed) => return Wrote::Over,
            Err(error) => tracing::error!(%error, "what the incident book says is not known to be durable"),
        }
        self.read_again()
    }

    /// What the store holds is what is so.
    fn read_again(&mut self) -> Wrote {
        loop {
            let read = self.store.flush().and_then(|()| restore::book(&self.store, self.terms.clone(), Clock.now()));
            match read {
                Ok(book) => {
                    self.book = book;
                    let now = self.clock.now();
                    self.book.rename_rules(&self.renamed, now);
                    self.book.keep_rules(|rule| self.rules.iter().any(|id| id == rule), now);
                    (self.read_to, self.is_behind) = (0, true);
                    std::thread::sleep(Duration::from_millis(DESK_RETRY_MS));
                    return Wrote::Undone;
                }
                Err(StoreError::Closed) => return Wrote::Over,
                Err(error) => {
                    tracing::error!(%error, "the incident book cannot be read, it is tried again");
                    std::thread::sleep(Duration::from_millis(DESK_RETRY_MS));
                }
            }
        }
    }

    fn show(&self) {
        let counts = self.book.counts();
        *self.shared.counts.lock().unwrap_or_else(|e| e.into_inner()) = counts;
    }
}

fn entry(by: &Actor, action: &str, done: &Answer) -> Audit {
    let subject = match (done.message, done.incident) {
        (Some(id), _) => crate::incident::message_name(id),
        (None, Some(id)) => crate::incident::incident_name(id),
        (None, None) => String::new(),
    };
    Audit {
        time: Clock.now(),
        who: by.name.clone(),
        from: by.from.clone(),
        action: format!("incident {action}"),
        subject,
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
    }
}
