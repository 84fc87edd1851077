//! Whom and what a rule concerns beside its condition: which customers, until when, and what it leaves alone.
//!
//! What is excepted is judged by the time of the event, so that a replay of last month uses what was in force then.
//! Nothing here allocates where an event is looked at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{FirewallRule, Policy, Predicate, ThresholdRule, View};
use crate::clock::Timestamp;

/// Whom a rule concerns, and what it leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Concern {
    /// Sorted; `None`: all customers.
    pub customers: Option<Box<[String]>>,
    /// Customers for whom a variant stands in the rule's place, and when they have the rule itself again.
    pub spared: BTreeMap<String, Option<Timestamp>>,
    /// What made the rule a variant; its one customer stands in `customers`.
    pub variant: Option<Variant>,
    /// The firewall rule does not match what these are of, the threshold does not count it.
    pub except: Exceptions,
    /// What these are of is counted and recorded; nobody is told. Empty for firewall rules.
    pub mute: Exceptions,
}

/// An `[[override]]`.
#[derive(Clone, Debug)]
pub struct Variant {
    pub reason: String,
    pub ticket: Option<String>,
    /// From this instant on it is in force no more.
    pub until: Option<Timestamp>,
}

/// Entries of `except` or `mute` of one rule, and those that customers' files add.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    everybody: Vec<Arc<Exception>>,
    by_customer: HashMap<String, Vec<Arc<Exception>>>,
}

/// One entry of `except` or `mute`.
#[derive(Debug)]
pub struct Exception {
    pub condition: Predicate,
    pub reason: String,
    pub owner: Option<String>,
    pub ticket: Option<String>,
    /// From this instant on it has no effect.
    pub until: Option<Timestamp>,
}

impl Exception {
    fn is_of(&self, view: &View<'_>) -> bool {
        self.until.is_none_or(|until| view.event.time < until) && self.condition.eval(view)
    }
}

impl Exceptions {
    pub(crate) fn add(&mut self, exception: Arc<Exception>) {
        self.everybody.push(exception);
    }

    pub(crate) fn add_for(&mut self, customer: &str, exception: Arc<Exception>) {
        self.by_customer.entry(customer.to_owned()).or_default().push(exception);
    }

    pub fn is_empty(&self) -> bool {
        self.everybody.is_empty() && self.by_customer.is_empty()
    }

    /// The first that is of the event.
    pub fn find(&self, view: &View<'_>) -> Option<&Exception> {
        if let Some(found) = self.everybody.iter().find(|exception| exception.is_of(view)) {
            return Some(found);
        }
        // Most rules have none: no name is looked up for them.
        if self.by_customer.is_empty() {
            return None;
        }
        let own = self.by_customer.get(view.names.customer_text(view.event.customer))?;
        own.iter().find(|exception| exception.is_of(view)).map(|exception| &**exception)
    }

    /// Is any of them in force?
    pub(crate) fn is_any_in_force(&self, at: Timestamp) -> bool {
        self.iter().any(|(_, exception)| exception.until.is_none_or(|until| at < until))
    }

    /// All of them, with the customer that each is for.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &Exception)> {
        let everybody = self.everybody.iter().map(|exception| (None, &**exception));
        let own = self.by_customer.iter().flat_map(|(customer, exceptions)| {
            exceptions.iter().map(move |exception| (Some(customer.as_str()), &**exception))
        });
        everybody.chain(own)
    }
}

impl Concern {
    /// Does the rule look at an event of this customer and time at all?
    pub fn is_of(&self, customer: &str, at: Timestamp) -> bool {
        let until = self.variant.as_ref().and_then(|variant| variant.until);
        self.names(customer)
            && until.is_none_or(|until| at < until)
            && self.spared.get(customer).is_none_or(|again| again.is_some_and(|again| again <= at))
    }

    /// At all times, too.
    pub(crate) fn is_everybodys(&self) -> bool {
        self.customers.is_none() && self.variant.is_none() && self.spared.is_empty()
    }

    /// The customer is one of those that it may concern.
    pub(crate) fn names(&self, customer: &str) -> bool {
        let customers = self.customers.as_deref();
        customers.is_none_or(|all| all.binary_search_by(|one| one.as_str().cmp(customer)).is_ok())
    }

    /// The customer that a variant is for.
    pub fn variant_of(&self) -> Option<&str> {
        self.variant.as_ref().and(self.customers.as_deref()?.first()).map(String::as_str)
    }

    /// The same, of the variant of one customer.
    pub(crate) fn of_variant(self, customer: &str, variant: Variant) -> Concern {
        let customers = Some([customer.to_owned()].into());
        Concern { customers, variant: Some(variant), spared: BTreeMap::new(), ..self }
    }

    /// A variant stands in the rule's place for this customer, until the instant where there is one.
    pub(crate) fn spare(&mut self, customer: &str, again: Option<Timestamp>) {
        self.spared.insert(customer.to_owned(), again);
    }

    /// Every event that concerns the other concerns this one too.
    pub(crate) fn covers(&self, other: &Concern) -> bool {
        let has_all = match (self.customers.as_deref(), other.customers.as_deref()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(theirs)) => theirs.iter().all(|customer| self.names(customer)),
        };
        has_all && self.spared.is_empty() && self.variant.is_none() && self.except.is_empty()
    }

    /// Every condition that is asked.
    pub(crate) fn predicates(&self) -> impl Iterator<Item = &Predicate> {
        self.except.iter().chain(self.mute.iter()).map(|(_, exception)| &exception.condition)
    }

    /// The rule's id, told apart from that of its variants: what state and records that are read again know it by.
    pub(crate) fn name(&self, id: &str) -> String {
        match self.variant_of() {
            Some(customer) => format!("{id} for {customer}"),
            None => id.to_owned(),
        }
    }
}

impl Policy {
    /// The threshold of this id that counts the events of a customer at a time.
    pub fn threshold_of(&self, id: &str, customer: &str, at: Timestamp) -> Option<&ThresholdRule> {
        self.thresholds.iter().find(|rule| rule.id == id && rule.concern.is_of(customer, at))
    }

    /// The firewall rule of this id that judges the events of a customer at a time.
    pub fn firewall_of(&self, id: &str, customer: &str, at: Timestamp) -> Option<&FirewallRule> {
        self.firewall.iter().find(|rule| rule.id == id && rule.concern.is_of(customer, at))
    }
}
