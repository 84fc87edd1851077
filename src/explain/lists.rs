//! What dynamic lists hold while events go by: what thresholds put there, until their episodes have closed, and what
//! violations note for the rules that come after them.
//!
//! The engine judges; this follows what it said, so that conditions can be asked again as they stood at an event.

use std::collections::HashMap;
use std::sync::Arc;

use super::turns::{Before, Turn};
use crate::clock::Timestamp;
use crate::engine::{Closed, Put, RuleRef, Violation};
use crate::event::{CustomerId, NumberPattern};
use crate::policy::dynamic::Listed;
use crate::policy::predicate::chained;
use crate::policy::{DynamicKind, DynamicLists, ListContent, Policy};

/// See the module.
#[derive(Debug)]
pub(crate) struct Lists {
    policy: Arc<Policy>,
    pub(crate) dynamic: DynamicLists,
    /// What episodes put on lists, until they have closed.
    holding: HashMap<Episode, Vec<Held>>,
    holders: HashMap<(usize, Listed), Holders>,
}

/// Threshold, customer and key: one episode of these is open at a time.
type Episode = (u16, CustomerId, Arc<[(String, String)]>);

/// List, value, and how long that outlives its episode, ms.
type Held = (usize, Listed, i64);

/// What keeps a value on a list.
#[derive(Debug, Default)]
struct Holders {
    /// Episodes that are open.
    open: usize,
    /// It stays until then in any case.
    until: Option<Timestamp>,
}

impl Lists {
    pub(crate) fn new(policy: Arc<Policy>) -> Lists {
        let dynamic = DynamicLists::new(policy.lists.len());
        Lists { policy, dynamic, holding: HashMap::new(), holders: HashMap::new() }
    }

    /// What was over before an event.
    pub(crate) fn before(&mut self, turn: &Turn<'_>) {
        for before in &turn.before {
            if let Before::Closed(closed) = before {
                self.close(closed);
            }
        }
    }

    /// What an event did, or let be seen: later ones are judged by it, and it was not itself.
    pub(crate) fn after(&mut self, turn: &Turn<'_>) {
        for before in &turn.before {
            match before {
                Before::Timed(violation) => self.note(violation),
                Before::Listed(put) => self.put(put),
                // What time put there may be over already.
                Before::Closed(closed) => self.close(closed),
            }
        }
        turn.raised.iter().for_each(|violation| self.note(violation));
        turn.listed.iter().for_each(|put| self.put(put));
    }

    /// The threshold that put a value on a list, and the value.
    pub(crate) fn value_of(&self, put: &Put) -> Option<(u16, Listed)> {
        let RuleRef::Threshold(i) = put.rule else { return None };
        let ListContent::Dynamic(kind) = &self.policy.lists.get(put.list)?.content else { return None };
        Some((i, listed(*kind, &put.value)?))
    }

    fn put(&mut self, put: &Put) {
        let Some((i, value)) = self.value_of(put) else { return };
        let held = self.holding.entry((i, put.customer, Arc::clone(&put.key))).or_default();
        if held.iter().any(|(list, other, _)| *list == put.list && *other == value) {
            return;
        }
        held.push((put.list, value.clone(), put.ttl_ms));
        self.change(put.list, value, |holders| holders.open += 1);
    }

    fn close(&mut self, closed: &Closed) {
        let RuleRef::Threshold(i) = closed.rule else { return };
        let episode = (i, closed.customer, Arc::clone(&closed.key));
        for (list, value, ttl_ms) in self.holding.remove(&episode).unwrap_or_default() {
            let until = Some(closed.time.plus_ms(ttl_ms));
            self.change(list, value, |holders| {
                holders.open = holders.open.saturating_sub(1);
                holders.until = holders.until.max(until);
            });
        }
    }

    /// For the rules that follow the one that was violated.
    fn note(&mut self, violation: &Violation) {
        let RuleRef::Threshold(i) = violation.rule else { return };
        let policy = Arc::clone(&self.policy);
        for chain in policy.thresholds.get(usize::from(i)).into_iter().flat_map(|rule| &rule.chains) {
            let values =
                chain.parts.iter().filter_map(|part| violation.key.get(*part)).map(|(_, value)| value.as_str());
            let value = Listed::Text(chained(violation.customer, values).into());
            let until = Some(violation.time.plus_ms(chain.within_ms));
            self.change(chain.list, value, |holders| holders.until = holders.until.max(until));
        }
    }

    fn change(&mut self, list: usize, value: Listed, change: impl FnOnce(&mut Holders)) {
        let holders = self.holders.entry((list, value.clone())).or_default();
        change(holders);
        let until = if holders.open > 0 { Timestamp::MAX } else { holders.until.unwrap_or(Timestamp::MIN) };
        self.dynamic.set(list, &value, until);
    }
}

/// A value of a dynamic list, from the words it is told in.
fn listed(kind: DynamicKind, text: &str) -> Option<Listed> {
    Some(match kind {
        DynamicKind::Addresses => Listed::Address(text.parse().ok()?),
        DynamicKind::Texts => Listed::Text(text.as_bytes().into()),
        DynamicKind::Numbers => match NumberPattern::parse(text.as_bytes()) {
            Ok(NumberPattern::Exact(number)) => Listed::Number(number),
            Ok(NumberPattern::Prefix(digits)) => Listed::Prefix(digits),
            _ => Listed::Text(text.as_bytes().into()),
        },
    })
}
