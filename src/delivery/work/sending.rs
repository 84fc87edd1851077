//! What a round decided is made durable, and only then sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam::channel::Sender;

use super::{HEAR_EVERY, LOOK_EVERY, Work};
use crate::delivery::route::{ACD, Load};
use crate::delivery::step::Steps;
use crate::delivery::{Done, Input, Outcome, Receipt, digest, words};
use crate::incident::{About, Message, Purpose, delivery_name};
use crate::limits::{OUTBOX_BATCH_MAX, OUTBOX_MESSAGES_KEPT, STORE_PAGE_ROWS_MAX};
use crate::store::{Change, DeliveryChange, DeliveryQuery, DeliveryRow, StoreError, SubjectKind};

impl Work {
    /// What the store says, however long that takes; `None` where it is closed, or the service stops.
    pub(super) fn insist<T>(&self, mut read: impl FnMut() -> Result<T, StoreError>) -> Option<T> {
        loop {
            match read() {
                Ok(found) => return Some(found),
                Err(StoreError::Closed) => return None,
                Err(error) => {
                    if self.shared.is_stopping.load(Ordering::Relaxed) {
                        return None;
                    }
                    if !matches!(error, StoreError::Busy) {
                        tracing::error!(%error, "deliveries cannot be read, it is tried again");
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
    }

    /// Makes it durable, and sends what was leased by it. False where the store is closed.
    pub(super) fn write(&mut self, steps: Steps) -> bool {
        let Steps { steps, queue, audit, leased, told, replies, outcomes, .. } = steps;
        if steps.is_empty() && queue.is_empty() {
            replies.into_iter().for_each(|reply| reply());
            return true;
        }
        let early: Vec<Receipt> = steps.iter().filter_map(|step| self.early.remove(&step.id)).collect();
        let whole = DeliveryChange { steps, queue, audit };
        let is_written = match self.put(&whole) {
            Err(StoreError::Refused(why)) => {
                tracing::error!(why, "what became of deliveries cannot be written together; each by itself");
                self.put_each(&whole)
            }
            written => written.is_ok(),
        };
        if !is_written {
            return false;
        }
        self.shared.count(outcomes);
        replies.into_iter().for_each(|reply| reply());
        for (message, at, delivery, by) in told {
            let name = delivery_name(delivery);
            self.charge.desk.accepted(message, at, format!("{name}: {by} took it"));
        }
        self.send(&leased);
        self.after.extend(early);
        true
    }

    /// Until it is durable; [`StoreError::Refused`] where it never will be, [`StoreError::Closed`] where nobody waits any more.
    pub(super) fn put(&self, change: &DeliveryChange) -> Result<(), StoreError> {
        let mut changes = vec![Change::Deliveries(change.clone())];
        let mut written = loop {
            match self.store.record(changes) {
                Ok(receipt) => break receipt.wait().map(drop),
                Err(refused) => changes = refused.changes,
            }
            self.rest()?;
        };
        loop {
            match written {
                // It waits to be written: nothing is sent before it is.
                Err(StoreError::NotYet(_) | StoreError::Full { .. } | StoreError::Busy) => {
                    self.rest()?;
                    written = self.store.flush();
                }
                written => return written,
            }
        }
    }

    pub(super) fn put_each(&self, whole: &DeliveryChange) -> bool {
        let steps = whole.steps.iter().map(|step| DeliveryChange { steps: vec![step.clone()], ..Default::default() });
        let queue = whole.queue.iter().map(|new| DeliveryChange { queue: vec![new.clone()], ..Default::default() });
        let audit = whole.audit.iter().map(|audit| DeliveryChange { audit: vec![audit.clone()], ..Default::default() });
        for one in steps.chain(queue).chain(audit) {
            match self.put(&one) {
                Ok(()) => {}
                Err(StoreError::Refused(why)) => tracing::error!(why, "a step of a delivery cannot be written"),
                Err(_) => return false,
            }
        }
        true
    }

    pub(super) fn rest(&self) -> Result<(), StoreError> {
        if self.shared.is_stopping.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        std::thread::sleep(LOOK_EVERY);
        Ok(())
    }

    /// Those that are leased on record: somebody else may have been quicker.
    pub(super) fn send(&mut self, leased: &[i64]) {
        for ids in leased.chunks(STORE_PAGE_ROWS_MAX.min(OUTBOX_BATCH_MAX)) {
            let query = DeliveryQuery { ids: Some(ids.to_vec()), ..DeliveryQuery::default() };
            let Some(page) = self.insist(|| self.store.deliveries(&query)) else { return };
            let by_id: HashMap<i64, DeliveryRow> = page.rows.into_iter().map(|row| (row.id, row)).collect();
            for row in ids.iter().filter_map(|id| by_id.get(id)).filter(|row| row.state == "leased") {
                self.send_one(row.clone());
            }
        }
    }

    pub(super) fn send_one(&mut self, row: DeliveryRow) {
        let now = self.clock.now();
        if row.channel == ACD
            && let Err(error) = self.announce(now)
        {
            tracing::error!(%error, "announcements cannot be read, they are looked at again");
        }
        let (id, provider, inputs, load) = (row.id, row.provider.clone(), self.inputs.clone(), self.load(&row));
        let Some(route) = self.routes.get_mut(&row.channel) else { return };
        route.n_sending += 1;
        let sender = route.provider(&provider).map(|provider| {
            provider.circuit.tries();
            Arc::clone(&provider.sender)
        });
        self.out.insert(id, row);
        self.runtime.spawn(async move {
            let outcome = match (sender, load) {
                (Some(sender), Ok(load)) => sender.send(&load).await,
                (None, _) => Outcome::Later("the provider is no more".to_owned()),
                (_, Err(why)) => Outcome::Never(why.to_owned()),
            };
            answer(inputs, Input::Done(Done { id, provider, outcome })).await;
        });
    }

    pub(super) fn load(&mut self, row: &DeliveryRow) -> Result<Load, &'static str> {
        const UNREADABLE: &str = "its words cannot be read";
        let about: About = serde_json::from_str(&row.body).map_err(|_| UNREADABLE)?;
        let message = match row.message {
            Some(id) => Some(self.message(id).ok_or(UNREADABLE)?),
            None => None,
        };
        let link = match about.purpose {
            Purpose::Page => row.incident.and_then(|id| self.charge.links.acknowledge(id, &about.person, row.queued)),
            _ => None,
        };
        let mut parcel = words::parcel(row, &about, message.as_deref(), link);
        if about.purpose == Purpose::Digest {
            parcel.text = self.insist(|| digest::text(row, &self.store)).ok_or(UNREADABLE)?;
        }
        Ok(Load { parcel, channel: row.channel.clone(), message })
    }

    pub(super) fn message(&mut self, id: i64) -> Option<Arc<Message>> {
        if let Some(message) = self.messages.get(&id) {
            return Some(Arc::clone(message));
        }
        let row = self.insist(|| self.store.subject(SubjectKind::Message, id))??;
        let message: Arc<Message> = Arc::new(serde_json::from_str(&row.body).ok()?);
        if self.messages.len() >= OUTBOX_MESSAGES_KEPT {
            self.messages.clear();
        }
        self.messages.insert(id, Arc::clone(&message));
        Some(message)
    }
}

/// The queue has room for all that can be under way; where it is full for a moment, this waits on the runtime's behalf.
pub(super) async fn answer(inputs: Sender<Input>, input: Input) {
    let mut input = Some(input);
    while let Some(one) = input.take() {
        match inputs.try_send(one) {
            Ok(()) => {}
            Err(crossbeam::channel::TrySendError::Full(back)) => {
                tokio::time::sleep(HEAR_EVERY).await;
                input = Some(back);
            }
            Err(crossbeam::channel::TrySendError::Disconnected(_)) => return,
        }
    }
}
