//! What a round of the outbox decides, before it is written.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::clock::Timestamp;
use crate::incident::delivery_name;
use crate::store::{Audit, DeliveryRow, DeliveryStep, NewDelivery};

/// Who does a step.
#[derive(Clone, Debug)]
pub struct By {
    who: String,
    from: String,
}

impl By {
    pub fn person(name: impl Into<String>, from: impl Into<String>) -> By {
        By { who: name.into(), from: from.into() }
    }

    pub(super) fn name(&self) -> &str {
        &self.who
    }

    /// What a person ordered, from the state the row was in to another.
    pub(super) fn audit(&self, row: &DeliveryRow, action: &str, to: &str, time: Timestamp) -> Audit {
        Audit {
            time,
            who: self.who.clone(),
            from: self.from.clone(),
            action: format!("delivery {action}"),
            subject: delivery_name(row.id),
            before: serde_json::json!({ "state": row.state }),
            after: serde_json::json!({ "state": to }),
        }
    }

    /// From the state the row is in.
    pub(super) fn step(&self, row: &DeliveryRow, to: &str, time: Timestamp, what: &str, why: &str) -> DeliveryStep {
        DeliveryStep {
            id: row.id,
            from: row.state.clone(),
            to: to.to_owned(),
            time,
            what: what.to_owned(),
            who: self.who.clone(),
            came_from: self.from.clone(),
            why: bounded(why),
            ..DeliveryStep::default()
        }
    }
}

/// The outbox where it acts by itself.
pub(super) static ITSELF: LazyLock<By> = LazyLock::new(|| By::person(crate::incident::SELF, "local"));

/// What a message was handed over by: its number, when, the delivery, who took it.
pub(super) type Told = (i64, Timestamp, i64, String);

/// Everything one round decides; written together.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<DeliveryStep>,
    pub(super) queue: Vec<NewDelivery>,
    /// What people ordered.
    pub(super) audit: Vec<Audit>,
    /// To be sent once that is on record.
    pub(super) leased: Vec<i64>,
    pub(super) told: Vec<Told>,
    /// What became of which channel's, for the figures.
    pub(super) outcomes: Vec<(String, String)>,
    /// Answers that are given once all of it is on record.
    pub(super) replies: Vec<Box<dyn FnOnce() + Send>>,
    ids: HashSet<i64>,
    /// Providers that one delivery of this round tries out.
    pub(super) probes: HashSet<String>,
    leased_to: HashMap<(String, String), usize>,
}

impl Steps {
    pub(super) fn push(&mut self, row: &DeliveryRow, step: DeliveryStep) -> &mut DeliveryStep {
        self.ids.insert(step.id);
        if step.to != step.from && step.to != "leased" {
            self.outcomes.push((row.channel.clone(), step.to.clone()));
        }
        self.steps.push(step);
        self.steps.last_mut().expect("one was just put there")
    }

    /// It is sent once that is on record.
    pub(super) fn lease(&mut self, row: &DeliveryRow) {
        self.leased.push(row.id);
        *self.leased_to.entry((row.channel.clone(), row.address.clone())).or_default() += 1;
    }

    /// How many are leased to the same address in this round.
    pub(super) fn n_leased_to(&self, row: &DeliveryRow) -> usize {
        self.leased_to.get(&(row.channel.clone(), row.address.clone())).copied().unwrap_or(0)
    }

    /// Something is decided about it already.
    pub(super) fn has(&self, id: i64) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.queue.is_empty()
    }
}

/// What others say may be long.
fn bounded(why: &str) -> String {
    const WHY_CHARS_MAX: usize = 300;
    match why.char_indices().nth(WHY_CHARS_MAX) {
        Some((end, _)) => format!("{}...", why.get(..end).unwrap_or_default()),
        None => why.to_owned(),
    }
}
