//! What comes back from providers, and what it makes of a delivery.

use super::Work;
use crate::clock::Timestamp;
use crate::delivery::route::{ACD, CALL_SHEET, SMS};
use crate::delivery::step::{By, ITSELF, Steps};
use crate::delivery::{Answered, Done, Found, Outcome, Receipt, circuit, digest, fallback};
use crate::limits::{OUTBOX_ASK_AGAIN_MS, OUTBOX_ASK_MS, OUTBOX_INPUTS_MAX};
use crate::store::{DeliveryQuery, DeliveryRow};

impl Work {
    /// A try has ended.
    pub(super) fn done(&mut self, done: Done, now: Timestamp, steps: &mut Steps) {
        let Done { id, provider, outcome } = done;
        let Some(row) = self.out.remove(&id) else { return };
        self.unknown_since.remove(&id);
        let n_providers = self.route_of(&row).map_or(1, |route| route.providers.len());
        if let Some(route) = self.routes.get_mut(&row.channel) {
            route.n_sending = route.n_sending.saturating_sub(1);
            if let Some(provider) = route.provider(&provider) {
                match &outcome {
                    Outcome::Handed { .. } | Outcome::Never(_) => provider.circuit.works(),
                    Outcome::Later(_) | Outcome::Unknown(_) => provider.circuit.fails(now),
                }
            }
        }
        match outcome {
            Outcome::Handed { receipt } => {
                let why = format!("{provider} took it");
                let is_sheet = row.channel == CALL_SHEET;
                let step = steps.push(&row, ITSELF.step(&row, "handed", now, "handed", &why));
                step.receipt = Some(receipt);
                // Nobody has been told by standing on a sheet.
                step.handed = (!is_sheet).then_some(now);
                if row.is_contact && !is_sheet {
                    steps.told.extend(row.message.map(|message| (message, now, row.id, provider)));
                } else if row.message.is_none() && row.incident.is_none() {
                    self.tell_held(&row, &provider, now, steps);
                }
            }
            Outcome::Later(why) => {
                let why = format!("{provider}: {why}");
                let tried_all = (row.attempts as usize).is_multiple_of(n_providers.max(1));
                let rounds = row.attempts / n_providers.max(1) as u32;
                let wait = if tried_all { circuit::wait_ms(rounds, row.id) } else { 0 };
                let step = steps.push(&row, ITSELF.step(&row, "queued", now, "retried", &why));
                step.due = Some(now.plus_ms(wait).min(row.valid_until));
                if tried_all {
                    self.fall_back(&row, &why, now, steps);
                }
            }
            Outcome::Never(why) => {
                let why = format!("{provider}: {why}");
                steps.push(&row, ITSELF.step(&row, "failed", now, "refused", &why));
                self.fall_back(&row, &why, now, steps);
            }
            Outcome::Unknown(why) => {
                let why = format!("{provider}: {why}");
                steps.push(&row, ITSELF.step(&row, "unknown", now, "unanswered", &why)).due =
                    Some(now.plus_ms(OUTBOX_ASK_MS));
                if !goes_by_the_next(&row, n_providers) {
                    self.fall_back(&row, &why, now, steps);
                }
            }
        }
    }

    /// Whoever got a digest was told of everything that it held.
    pub(super) fn tell_held(&self, digest: &DeliveryRow, provider: &str, now: Timestamp, steps: &mut Steps) {
        let held = self.insist(|| digest::held(digest, &self.store)).unwrap_or_default();
        for row in held.into_iter().filter(|row| row.is_contact) {
            steps.told.extend(row.message.map(|message| (message, now, digest.id, provider.to_owned())));
        }
    }

    /// A provider said what became of something.
    pub(super) fn answered(&mut self, answered: Answered, now: Timestamp, steps: &mut Steps) {
        let Answered { id, found } = answered;
        let Some(row) = self.out.remove(&id) else { return };
        let provider = row.provider.clone();
        let n_providers = self.route_of(&row).map_or(1, |route| route.providers.len());
        let is_first = !self.unknown_since.contains_key(&id);
        if !matches!(found, Found::Unclear(_)) || row.channel != SMS || !is_first {
            self.unknown_since.remove(&id);
        }
        match found {
            Found::Handed { receipt } => {
                let step = steps.push(&row, ITSELF.step(&row, "handed", now, "found", &format!("{provider} has it")));
                step.receipt = Some(receipt);
                step.handed = Some(now);
                if row.is_contact {
                    steps.told.extend(row.message.map(|message| (message, now, row.id, provider)));
                }
            }
            Found::Absent => {
                let why = format!("{provider} has not got it, or knows what comes twice");
                steps.push(&row, ITSELF.step(&row, "queued", now, "requeued", &why)).due = Some(now);
            }
            // Whoever must know now does not wait for a receipt while there is another provider.
            Found::Unclear(why) if goes_by_the_next(&row, n_providers) => {
                let why = format!("{provider}: {why}; sent by the next provider, it may come twice");
                steps.push(&row, ITSELF.step(&row, "queued", now, "requeued", &why)).due = Some(now);
            }
            // A receipt may still come.
            Found::Unclear(why) if row.channel == SMS && is_first => {
                self.unknown_since.insert(id, now);
                let why = format!("{provider}: {why}");
                let step = steps.push(&row, ITSELF.step(&row, "unknown", now, "asked", &why));
                step.due = Some(now.plus_ms(OUTBOX_ASK_AGAIN_MS));
            }
            Found::Unclear(why) => {
                let why = format!("{provider}: {why}; sent again, it may come twice");
                let step = steps.push(&row, ITSELF.step(&row, "queued", now, "requeued", &why));
                step.due = Some(now.plus_ms(circuit::wait_ms(row.attempts, row.id)).min(row.valid_until));
            }
        }
    }

    /// What a provider told later. False: come again.
    pub(super) fn receipt(&mut self, receipt: Receipt, now: Timestamp, steps: &mut Steps) -> bool {
        let row = match self.store.delivery(receipt.delivery) {
            Ok(Some(row)) => row,
            // Somebody else's, or nobody's: nothing will come of it.
            Ok(None) => return true,
            Err(_) => return false,
        };
        let who = By::person(&receipt.provider, "provider");
        // What is to be tried again is only settled by having come.
        let comes_late = row.state == "queued" && row.attempts > 0 && receipt.is_delivered;
        let is_sent = comes_late || matches!(row.state.as_str(), "leased" | "unknown" | "handed");
        if row.provider != receipt.provider || !is_sent {
            return true;
        }
        if row.state == "leased" || steps.has(row.id) {
            // The provider's own answer is on the way: first that, then what came of it. It is told to come again, since
            // nothing of this is on record.
            let is_weightier = |known: &Receipt| known.failed.is_none() && !known.is_delivered;
            if self.early.len() < OUTBOX_INPUTS_MAX && self.early.get(&row.id).is_none_or(is_weightier) {
                self.early.insert(row.id, receipt);
            }
            return false;
        }
        match &receipt.failed {
            None if receipt.is_delivered => {
                let step = steps.push(&row, who.step(&row, "delivered", now, "delivered", "the provider says so"));
                step.handed = row.handed.or(Some(now));
            }
            None if row.state == "unknown" => {
                let step = steps.push(&row, who.step(&row, "handed", now, "found", "the provider has it"));
                step.handed = Some(now);
            }
            None => return true,
            Some(why) => {
                steps.push(&row, who.step(&row, "failed", now, "undelivered", why));
                self.fall_back(&row, why, now, steps);
                self.out.remove(&row.id);
                return true;
            }
        }
        self.unknown_since.remove(&row.id);
        self.out.remove(&row.id);
        if row.is_contact && row.handed.is_none() {
            steps.told.extend(row.message.map(|message| (message, now, row.id, receipt.provider.clone())));
        }
        true
    }

    /// The announcement of these messages was fetched as callers get it.
    pub(super) fn read_back(
        &mut self,
        messages: &[i64],
        queue: &str,
        outcome: Result<(), String>,
        now: Timestamp,
        steps: &mut Steps,
    ) {
        for message in messages {
            let query =
                DeliveryQuery { message: Some(*message), channel: Some(ACD.to_owned()), ..DeliveryQuery::default() };
            let rows = self.store.deliveries(&query).map(|page| page.rows).unwrap_or_default();
            for row in &rows {
                if row.state == "leased" || steps.has(row.id) {
                    // Whoever fetched it was quicker than what is written of it.
                    self.read_early.push((*message, queue.to_owned(), outcome.clone()));
                    continue;
                }
                if row.state != "handed" {
                    continue;
                }
                match &outcome {
                    Ok(()) => {
                        let why = format!("callers of queue `{queue}` hear what was released");
                        steps.push(row, ITSELF.step(row, "delivered", now, "read back", &why));
                    }
                    Err(why) => {
                        let why = format!("queue `{queue}`: {why}");
                        steps.push(row, ITSELF.step(row, "handed", now, "not read back", &why));
                    }
                }
            }
        }
    }

    /// Another way for somebody who must know now.
    pub(super) fn fall_back(&mut self, row: &DeliveryRow, why: &str, now: Timestamp, steps: &mut Steps) {
        let Some(new) = self.insist(|| fallback::instead(row, why, &self.charge.customers.get(), &self.store, now))
        else {
            return;
        };
        steps.queue.extend(new);
        if row.severity <= fallback::SEVERITY_MAX
            && let Some(step) = steps.steps.iter_mut().find(|step| step.id == row.id)
        {
            step.fell_back = Some(true);
        }
    }
}

/// A grave text of which nobody knows whether it went is given to each provider once before anything else is tried.
fn goes_by_the_next(row: &DeliveryRow, n_providers: usize) -> bool {
    row.channel == SMS && row.severity <= fallback::SEVERITY_MAX && (row.attempts as usize) < n_providers
}
