//! What the outbox's thread does.
//!
//! A round takes what came back, looks what is due, and writes both in one transaction; only what was leased by that is
//! sent. So at most one try of a delivery is under way, whatever is killed when, and a try that nobody saw the end of is
//! known as such.

mod outcome;
mod sending;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use tokio::runtime::Handle;

use self::sending::answer;
use super::route::{CALL_SHEET, MAIL, Route};
use super::step::{By, ITSELF, Steps};
use super::{Answered, Charge, Found, Input, Order, OrderError, Receipt, Shared, Tick, announcer, digest, fallback};
use crate::clock::{Clock, Timestamp};
use crate::desk::steady::Steady;
use crate::incident::{Incident, Message, delivery_name};
use crate::limits::{OUTBOX_BATCH_MAX, OUTBOX_STOP_MS};
use crate::store::{DeliveryRow, Store, StoreError, SubjectKind};

/// How often it looks whether something is due or has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// While something is under way.
const HEAR_EVERY: Duration = Duration::from_millis(5);
/// How often channels are looked for that nobody serves, and figures are taken.
const SURVEY_MS: i64 = 2_000;
/// Rest while everything that is due is with providers.
const REST_MS: i64 = 20;
/// How long a delivery that was given up is somebody's to look at.
const DEAD_MS: i64 = 24 * 3_600_000;

pub(super) struct Work {
    store: Arc<Store>,
    charge: Charge,
    runtime: Handle,
    routes: BTreeMap<String, Route>,
    mail_groups: BTreeSet<String>,
    /// Changes of the store that the announcements were last looked at with.
    announced: Option<u64>,
    inputs: Sender<Input>,
    shared: Arc<Shared>,
    /// What is with a provider, or being asked for, by number.
    out: HashMap<i64, DeliveryRow>,
    messages: HashMap<i64, Arc<Message>>,
    /// Nothing is due before, as far as is known; what arrives moves it.
    idle_until: Timestamp,
    clock: Steady,
    /// Announcements that were fetched before it was on record that they are given.
    read_early: Vec<(i64, String, Result<(), String>)>,
    /// Receipts that were quicker than the answer of the provider.
    early: HashMap<i64, Receipt>,
    /// Those whose turn it is now.
    after: Vec<Receipt>,
    /// Since when nobody knows what became of something that was asked for.
    unknown_since: HashMap<i64, Timestamp>,
    seen: u64,
    surveyed: Timestamp,
    is_stopping: bool,
}

impl Work {
    pub(super) fn new(
        charge: Charge,
        routes: BTreeMap<String, Route>,
        mail_groups: BTreeSet<String>,
        runtime: Handle,
        inputs: Sender<Input>,
        shared: Arc<Shared>,
    ) -> Work {
        Work {
            store: Arc::clone(&charge.store),
            charge,
            runtime,
            routes,
            mail_groups,
            announced: None,
            inputs,
            shared,
            out: HashMap::new(),
            messages: HashMap::new(),
            idle_until: Timestamp(0),
            clock: Steady::new(),
            read_early: Vec::new(),
            early: HashMap::new(),
            after: Vec::new(),
            unknown_since: HashMap::new(),
            seen: 0,
            surveyed: Timestamp(0),
            is_stopping: false,
        }
    }

    pub(super) fn run(mut self, received: &Receiver<Input>) {
        while let Err(error) = self.find_interrupted() {
            if matches!(error, StoreError::Closed) {
                return;
            }
            tracing::error!(%error, "deliveries that were under way cannot be read, it is tried again");
            std::thread::sleep(LOOK_EVERY);
        }
        let mut stop_at = None;
        loop {
            let wait = if self.out.is_empty() { LOOK_EVERY } else { HEAR_EVERY };
            let mut steps = Steps::default();
            let mut input = match received.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Input::Stop),
            };
            let mut n = 0;
            while let Some(one) = input.take() {
                n += 1;
                self.input(one, &mut steps);
                input = if n < OUTBOX_BATCH_MAX { received.try_recv().ok() } else { None };
            }
            let now = self.clock.now();
            for receipt in std::mem::take(&mut self.after) {
                self.receipt(receipt, now, &mut steps);
            }
            for (message, queue, outcome) in std::mem::take(&mut self.read_early) {
                self.read_back(&[message], &queue, outcome, now, &mut steps);
            }
            if self.is_stopping {
                let until = *stop_at.get_or_insert_with(|| Clock.monotonic() + Duration::from_millis(OUTBOX_STOP_MS));
                if !self.write(steps) || self.out.is_empty() || Clock.monotonic() >= until {
                    return;
                }
                continue;
            }
            let looked = self.look(&mut steps);
            if let Err(error) = &looked {
                if matches!(error, StoreError::Closed) {
                    return;
                }
                if !matches!(error, StoreError::Busy) {
                    tracing::error!(%error, "deliveries cannot be read, it is tried again");
                }
            }
            if !self.write(steps) {
                return;
            }
        }
    }

    /// What was with a provider when the service ended: nobody knows what became of it.
    fn find_interrupted(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        loop {
            let rows = self.store.deliveries_leased(OUTBOX_BATCH_MAX)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut steps = Steps::default();
            for row in &rows {
                let why = "the service ended while it was being sent";
                steps.push(row, ITSELF.step(row, "unknown", now, "interrupted", why)).due = Some(now);
                self.fall_back(row, why, now, &mut steps);
            }
            if !self.write(steps) {
                return Err(StoreError::Closed);
            }
        }
    }

    fn input(&mut self, input: Input, steps: &mut Steps) {
        let now = self.clock.now();
        match input {
            Input::Done(done) => self.done(done, now, steps),
            Input::Answered(answered) => self.answered(answered, now, steps),
            Input::Receipt(receipt, reply) => {
                let is_taken = self.receipt(receipt, now, steps);
                // Whoever asked may have gone.
                steps.replies.push(Box::new(move || reply.try_send(is_taken).unwrap_or_default()));
            }
            Input::Order(by, order, reply) => {
                let done = self.order(&by, &order, now, steps);
                steps.replies.push(Box::new(move || reply.try_send(done).unwrap_or_default()));
            }
            Input::MailDown(is_down) => {
                self.shared.is_mail_down.store(is_down, Ordering::Relaxed);
                if let (false, Some(route)) = (is_down, self.routes.get_mut(MAIL)) {
                    // The canary came through: nothing needs to wait for a probe.
                    route.providers.iter_mut().for_each(|provider| provider.circuit.works());
                }
                self.idle_until = Timestamp(0);
            }
            Input::ReadBack(messages, queue, outcome) => self.read_back(&messages, &queue, outcome, now, steps),
            Input::Stop => self.is_stopping = true,
        }
    }

    /// Callers hear what is to be announced now.
    fn announce(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let written = self.store.health().written;
        if self.announced == Some(written) {
            return Ok(());
        }
        let all = announcer::all(&self.store)?;
        self.charge.board.show(now, &all);
        self.announced = Some(written);
        Ok(())
    }

    /// What people do about a delivery.
    fn order(&mut self, by: &By, order: &Order, now: Timestamp, steps: &mut Steps) -> Result<(), OrderError> {
        let id = order.delivery();
        let name = delivery_name(id);
        let row = self.store.delivery(id).map_err(|_| OrderError::Busy)?;
        let row = row.ok_or_else(|| OrderError::NotFound(format!("there is no delivery {name}")))?;
        if steps.has(id) {
            return Err(OrderError::Busy);
        }
        match order {
            Order::Retry { .. } => {
                if !matches!(row.state.as_str(), "queued" | "failed" | "expired") {
                    return Err(OrderError::Refused(format!("{name} is {}: there is nothing to try again", row.state)));
                }
                let step = steps.push(&row, by.step(&row, "queued", now, "retried by hand", ""));
                step.due = Some(now);
                step.valid_until = Some(row.valid_until.max(now.plus_ms(super::RETRY_BY_HAND_MS)));
                steps.audit.push(by.audit(&row, "retry", "queued", now));
            }
            Order::Tick { tick, note, .. } => {
                if row.channel != CALL_SHEET || row.state != "handed" {
                    let (state, channel) = (&row.state, &row.channel);
                    return Err(OrderError::Refused(format!(
                        "{name} is {state} by {channel}: only what stands on the call sheet is ticked off"
                    )));
                }
                match tick {
                    Tick::Reached => {
                        let step = steps.push(&row, by.step(&row, "delivered", now, "reached", note));
                        step.handed = Some(now);
                        steps.audit.push(by.audit(&row, "reached", "delivered", now));
                        if row.is_contact {
                            let who = format!("{} by phone", by.name());
                            steps.told.extend(row.message.map(|message| (message, now, row.id, who)));
                        }
                    }
                    Tick::NotReached => {
                        let why = if note.is_empty() { "not reached by phone" } else { note };
                        steps.push(&row, by.step(&row, "failed", now, "not reached", why));
                        steps.audit.push(by.audit(&row, "not reached", "failed", now));
                    }
                }
            }
        }
        Ok(())
    }

    fn route_of(&self, row: &DeliveryRow) -> Option<&Route> {
        self.routes.get(&row.channel)
    }

    /// Looks what is due, and says what becomes of it.
    fn look(&mut self, steps: &mut Steps) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.shared.round.store(now.0, Ordering::Relaxed);
        let queued = self.store.queued();
        let is_news = std::mem::replace(&mut self.seen, queued) != queued;
        if now >= Timestamp(self.surveyed.0.saturating_add(SURVEY_MS)) || now < self.surveyed {
            self.survey(now, steps)?;
        }
        if !is_news && now < self.idle_until && steps.is_empty() {
            return Ok(());
        }
        self.ask_for_unknown(now, steps)?;
        let channels: Vec<String> = self.routes.keys().cloned().collect();
        for channel in channels {
            self.look_at(&channel, now, steps)?;
        }
        self.idle_until = match (steps.is_empty(), self.out.is_empty()) {
            (true, true) => {
                let next = self.store.deliveries_next()?;
                next.unwrap_or(now.plus_ms(SURVEY_MS)).max(now).min(now.plus_ms(SURVEY_MS))
            }
            // What comes back is looked at when it does.
            (true, false) => now.plus_ms(REST_MS),
            (false, _) => now,
        };
        Ok(())
    }

    fn look_at(&mut self, channel: &str, now: Timestamp, steps: &mut Steps) -> Result<(), StoreError> {
        let Some(route) = self.routes.get(channel) else { return Ok(()) };
        let is_mail_down = channel == MAIL && self.shared.is_mail_down.load(Ordering::Relaxed);
        if route.is_down() || is_mail_down {
            let why = if is_mail_down { "mail does not come through" } else { "no provider of the channel works" };
            for row in self.store.deliveries_stranded(channel, OUTBOX_BATCH_MAX)? {
                if steps.has(row.id) {
                    continue;
                }
                steps.push(&row, ITSELF.step(&row, "queued", now, "another way", why));
                self.fall_back(&row, why, now, steps);
            }
        }
        let Some(route) = self.routes.get(channel) else { return Ok(()) };
        let room = route.room().min(OUTBOX_BATCH_MAX);
        if room == 0 || route.next("", 1, now).is_none() {
            return Ok(());
        }
        for row in self.store.deliveries_due(channel, now, room)? {
            if self.out.contains_key(&row.id) || steps.has(row.id) {
                continue;
            }
            self.lease(row, now, steps)?;
        }
        Ok(())
    }

    fn lease(&mut self, row: DeliveryRow, now: Timestamp, steps: &mut Steps) -> Result<(), StoreError> {
        if now >= row.valid_until {
            let why = format!("not worth sending after {}; last: {}", row.valid_until, row.reason);
            steps.push(&row, ITSELF.step(&row, "expired", now, "expired", &why));
            return Ok(());
        }
        let is_same = |other: &&DeliveryRow| other.channel == row.channel && other.address == row.address;
        let n_sending = self.out.values().filter(is_same).count() + steps.n_to(&row);
        if let Some(new) = digest::instead(&row, n_sending, &self.store, now)? {
            let why = digest::reason(&row, &new);
            steps.push(&row, ITSELF.step(&row, "suppressed", now, "held back", &why));
            steps.queue.push(new);
            return Ok(());
        }
        let concerns_mail = self.concerns_mail(&row)?;
        let Some(route) = self.routes.get_mut(&row.channel) else { return Ok(()) };
        let Some(place) = route.next(&row.provider, row.severity, now) else { return Ok(()) };
        let Some(provider) = route.providers.get_mut(place) else { return Ok(()) };
        let name = provider.name.clone();
        if provider.circuit.is_open() && !steps.probes.insert(name.clone()) {
            // One that probes is enough.
            return Ok(());
        }
        provider.gave(now);
        let step = steps.push(&row, ITSELF.step(&row, "leased", now, "leased", &name));
        step.provider = Some(name);
        step.attempts = Some(row.attempts + 1);
        steps.lease(&row);
        if concerns_mail {
            self.fall_back(&row, "the incident concerns mail itself", now, steps);
        }
        Ok(())
    }

    /// A grave notice by mail of something that mail itself may suffer from.
    fn concerns_mail(&self, row: &DeliveryRow) -> Result<bool, StoreError> {
        let is_candidate = row.channel == MAIL && row.severity <= fallback::SEVERITY_MAX && !row.fell_back;
        let Some(incident) = row.incident.filter(|_| is_candidate && !self.mail_groups.is_empty()) else {
            return Ok(false);
        };
        let Some(incident) = self.store.subject(SubjectKind::Incident, incident)? else { return Ok(false) };
        let group = serde_json::from_str::<Incident>(&incident.body).map(|incident| incident.group);
        Ok(group.is_ok_and(|group| self.mail_groups.contains(&group)))
    }

    fn ask_for_unknown(&mut self, now: Timestamp, steps: &mut Steps) -> Result<(), StoreError> {
        for row in self.store.deliveries_unknown(now, OUTBOX_BATCH_MAX)? {
            if self.out.contains_key(&row.id) || steps.has(row.id) {
                continue;
            }
            if now >= row.valid_until {
                let why = format!("nobody knows whether it came; {}", row.reason);
                steps.push(&row, ITSELF.step(&row, "expired", now, "expired", &why));
                continue;
            }
            self.ask(row);
        }
        Ok(())
    }

    fn ask(&mut self, row: DeliveryRow) {
        let provider = self.routes.get_mut(&row.channel).and_then(|route| route.provider(&row.provider));
        let sender = provider.map(|provider| Arc::clone(&provider.sender));
        let (id, inputs, load) = (row.id, self.inputs.clone(), self.load(&row));
        self.out.insert(id, row);
        self.runtime.spawn(async move {
            let found = match (sender, load) {
                (Some(sender), Ok(load)) => sender.find(&load).await,
                (None, _) => Found::Unclear("the provider is no more".to_owned()),
                (_, Err(why)) => Found::Unclear(why.to_owned()),
            };
            answer(inputs, Input::Answered(Answered { id, found })).await;
        });
    }

    /// Channels that nobody serves, and figures.
    fn survey(&mut self, now: Timestamp, steps: &mut Steps) -> Result<(), StoreError> {
        self.surveyed = now;
        self.announce(now)?;
        for channel in self.store.delivery_channels()? {
            if self.routes.get(&channel).is_some_and(|route| !route.providers.is_empty()) {
                continue;
            }
            for row in self.store.deliveries_due(&channel, Timestamp(i64::MAX), OUTBOX_BATCH_MAX)? {
                let why = format!("the settings have no provider for `{channel}`");
                steps.push(&row, ITSELF.step(&row, "failed", now, "refused", &why));
                self.fall_back(&row, &why, now, steps);
            }
        }
        for row in self.store.deliveries_unphoned(now, OUTBOX_BATCH_MAX)? {
            if !steps.has(row.id) {
                steps.push(&row, ITSELF.step(&row, "expired", now, "expired", "nobody phoned while it made sense"));
            }
        }
        self.shared.dead.store(self.store.deliveries_dead(now.plus_ms(-DEAD_MS))?, Ordering::Relaxed);
        let (oldest, waiting) = self.store.deliveries_waiting()?;
        self.shared.oldest_ms.store(oldest.map_or(0, |at| now.0.saturating_sub(at.0).max(0)), Ordering::Relaxed);
        self.shared.waiting.store(waiting, Ordering::Relaxed);
        let down: Vec<String> = self
            .routes
            .values()
            .flat_map(|route| &route.providers)
            .filter(|p| p.circuit.is_open())
            .map(|p| p.name.clone())
            .collect();
        *self.shared.down.lock().unwrap_or_else(|e| e.into_inner()) = down;
        Ok(())
    }
}
