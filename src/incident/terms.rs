//! What the book goes by: the customers' files and the kits.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::Severity;
use super::deadline::NotifyClock;
use crate::clock::Timestamp;
use crate::customer::{Customer, Customers};
use crate::kit::{Kind, Kit, Kits};
use crate::objective::{Allowed, Objective, Promise};
use crate::policy::Severity as Level;

/// Where a customer has no escalation contact.
const NOBODY: &str = "your service desk";

/// As the files are; the book is given others when they are read again.
#[derive(Clone, Debug)]
pub struct Terms {
    pub customers: Arc<Customers>,
    pub kits: Arc<Kits>,
    /// Of customers that have their own, by customer.
    pub own_kits: BTreeMap<String, Arc<Kits>>,
}

/// Whom a commander's silence leads to, one after the other.
pub(super) const CHAIN: [&str; 3] = ["commander", "deputy", "manager"];

impl Terms {
    pub(super) fn customer(&self, id: &str) -> &Customer {
        self.customers.of(id)
    }

    /// The customer's own, or everybody's.
    pub fn kit(&self, customer: &str, kind: Kind) -> &Kit {
        self.own_kits.get(customer).unwrap_or(&self.kits).get(kind)
    }

    /// By the customer's table.
    pub(super) fn severity(&self, customer: &str, rule: &str, group: &str, level: Level) -> Severity {
        let number = self.customer(customer).severity.of(rule, group, level);
        Severity::new(number).unwrap_or(Severity::MAJOR)
    }

    /// The clock of a critical violation; `None` where the calendar never opens again.
    pub(super) fn clock(&self, incident: i64, customer: &str, start: Timestamp) -> Option<NotifyClock> {
        let calendar = &self.customer(customer).response;
        let objective = Objective::new(Promise::Notify, calendar, start, Allowed::default())?;
        Some(NotifyClock::new(incident, customer.to_owned(), &objective, objective.warnings(calendar)))
    }

    pub(super) fn zone(&self, customer: &str) -> TimeZone {
        self.customer(customer).time_zone.clone()
    }

    /// `Security desk, +1 210 555 0100`.
    pub(super) fn escalation(&self, customer: &str) -> String {
        let contact = self.customer(customer).escalation.as_ref();
        contact.map_or_else(
            || NOBODY.to_owned(),
            |contact| {
                let reach = contact.phone.as_deref().or(contact.email.as_deref());
                reach.map_or_else(|| contact.name.clone(), |reach| format!("{}, {reach}", contact.name))
            },
        )
    }

    /// Who is asked at a step of [`CHAIN`]; where nobody stands there, the customer's escalation contact.
    pub(super) fn asked(&self, customer: &str, step: usize) -> Vec<String> {
        let command = &self.customer(customer).command;
        let names = match step {
            0 => &command.commanders,
            1 => &command.deputies,
            _ => &command.managers,
        };
        if names.is_empty() { vec![self.escalation(customer)] } else { names.clone() }
    }

    pub(super) fn deputy_after_ms(&self, customer: &str) -> i64 {
        self.customer(customer).command.deputy_after_ms
    }

    /// When the manager is asked and the holding kit goes out.
    pub(super) fn manager_after_ms(&self, customer: &str) -> i64 {
        self.customer(customer).command.manager_after_ms
    }
}
