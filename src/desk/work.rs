//! What the desk's thread does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::outlet::Outlet;
use super::steady::Steady;
use super::{Charge, Input, Order, OrderError, Shared, restore};
use crate::clock::Clock;
use crate::incident::{Actor, Answer, Book, Entries, Terms};
use crate::limits::{DESK_BATCH_MAX, DESK_RETRY_MS};
use crate::store::{Audit, Change, Inbox, Store, StoreError, Written};

/// How often it looks whether something is due or has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Work {
    store: Arc<Store>,
    book: Book,
    terms: Terms,
    whats: BTreeMap<String, String>,
    outlet: Outlet,
    rules: Vec<String>,
    clock: Steady,
    /// Notices that were handed out, and not answered for yet.
    handed: BTreeSet<i64>,
    /// Notices that were taken, until that is durable: they went out, whatever the store comes to.
    taken: BTreeSet<i64>,
    /// Notices that nobody took are left alone until then.
    retry_at: Option<Instant>,
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
    pub(super) fn new(charge: Charge, inputs: Sender<Input>, shared: Arc<Shared>) -> Result<Work, StoreError> {
        let Charge { store, terms, notices, rules, whats } = charge;
        let mut book = restore::book(&store, terms.clone(), Clock.now())?;
        book.keep_rules(|rule| rules.iter().any(|id| id == rule), Clock.now());
        let clock = Steady::new();
        let outlet = Outlet::start(&notices, inputs).map_err(|e| StoreError::Begin(format!("notices: {e}")))?;
        Ok(Work {
            store,
            book,
            terms,
            whats,
            rules,
            clock,
            outlet,
            handed: BTreeSet::new(),
            taken: BTreeSet::new(),
            retry_at: None,
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
            if let Some(input) = input {
                self.input(input);
            }
            let now = self.clock.now();
            self.book.pass(now);
            let mut written = self.look_in(stops);
            if !matches!(written, Wrote::Over) {
                self.hand_out();
            }
            if stops && !matches!(written, Wrote::Over) {
                // What is only released now, too.
                self.hear_out(inputs);
                written = self.look_in(stops);
            }
            self.show();
            if stops || matches!(written, Wrote::Over) {
                return;
            }
        }
    }

    /// What was handed out is waited for a moment, or it would be handed out again after the next start.
    fn hear_out(&mut self, inputs: &Receiver<Input>) {
        let until = Clock.monotonic() + Duration::from_millis(DESK_RETRY_MS);
        while !self.handed.is_empty() {
            let Ok(input) = inputs.recv_deadline(until) else { return };
            // Whoever orders now is told that nobody is there any more.
            if matches!(input, Input::Accepted(..) | Input::NotTaken(_)) {
                self.input(input);
            }
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Order(order) => self.order(*order),
            Input::Accepted(id, at) => {
                self.handed.remove(&id);
                self.taken.insert(id);
                self.book.accepted(id, at);
            }
            Input::NotTaken(id) => {
                self.handed.remove(&id);
                self.retry_at = Some(Clock.monotonic() + Duration::from_millis(DESK_RETRY_MS));
            }
            Input::Stop => {}
        }
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
                self.taken.clear();
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
                    self.book.keep_rules(|rule| self.rules.iter().any(|id| id == rule), now);
                    (self.read_to, self.is_behind) = (0, true);
                    // What is being given out goes on, and what has gone out is not given out again.
                    self.taken.iter().for_each(|id| self.book.accepted(*id, now));
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

    /// Released messages go out; what was released and not taken before a crash, again.
    fn hand_out(&mut self) {
        if self.retry_at.is_some_and(|at| Clock.monotonic() < at) {
            return;
        }
        self.retry_at = None;
        for message in self.book.unsent() {
            if self.handed.contains(&message.id) {
                continue;
            }
            if !self.outlet.hand(message) {
                return;
            }
            self.handed.insert(message.id);
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

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;

    use super::*;
    use crate::desk::tests::{anna, charge};
    use crate::incident::{Command, Given, Severity};

    #[test]
    fn what_went_out_is_not_given_out_again_when_the_book_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (inputs, received) = bounded(100);
        let mut work = Work::new(charge(folder.path()), inputs, Arc::default()).unwrap();
        let order = |work: &mut Work, command| {
            let (reply, answer) = bounded(1);
            work.order(Order { by: anna(), command, reply });
            answer.recv().unwrap().unwrap().message
        };
        for n in 1..=2 {
            let (customer, severity) = ("acme".to_owned(), Severity::MINOR);
            order(&mut work, Command::Open { customer, what: "noise".into(), severity, why: String::new() });
            let draft = Command::Draft { incident: n, kit: "holding".into(), given: Given::default() };
            let message = order(&mut work, draft).unwrap();
            let hash = work.book.message(message).unwrap().hash.clone();
            order(&mut work, Command::Check { message, hash: hash.clone() });
            order(&mut work, Command::Release { message, hash });
        }
        work.hand_out();
        // Of the first it is heard that it went out, and then nobody knows what became of that; the other is under way.
        work.input(received.recv().unwrap());
        assert!(matches!(work.read_again(), Wrote::Undone));
        work.hand_out();
        work.input(received.recv().unwrap());
        assert!(matches!(work.look_in(false), Wrote::Done));
        work.hand_out();
        assert!(work.book.unsent().is_empty() && work.handed.is_empty() && work.taken.is_empty());
        let notices = std::fs::read_to_string(folder.path().join("notices")).unwrap();
        assert_eq!(notices.lines().count(), 2, "{notices}");
    }
}
