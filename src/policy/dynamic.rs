//! Lists that thresholds fill while calls flow.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hashbrown::{Equivalent, HashMap};

use crate::clock::Timestamp;
use crate::event::Number;

/// A value on a dynamic list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    Number(Number),
    Address(IpAddr),
    /// Text, and numbers that only their text tells apart.
    Text(Box<[u8]>),
}

/// A value to look up, not owned: what an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe<'a> {
    Number(Number),
    Address(IpAddr),
    Text(&'a [u8]),
}

impl Listed {
    pub fn probe(&self) -> Probe<'_> {
        match self {
            Listed::Number(number) => Probe::Number(*number),
            Listed::Address(ip) => Probe::Address(*ip),
            Listed::Text(text) => Probe::Text(text),
        }
    }
}

/// As its probe hashes, so that a look-up owns nothing.
impl Hash for Listed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.probe().hash(state);
    }
}

impl Equivalent<Listed> for Probe<'_> {
    fn equivalent(&self, key: &Listed) -> bool {
        *self == key.probe()
    }
}

/// What the dynamic lists of a policy hold, by the policy's list index. Owned by the one thread that
/// judges events in order; pure state, no clock.
#[derive(Debug, Default)]
pub struct DynamicLists {
    lists: Vec<HashMap<Listed, Timestamp>>,
}

impl DynamicLists {
    pub fn new(n_lists: usize) -> DynamicLists {
        DynamicLists { lists: (0..n_lists).map(|_| HashMap::new()).collect() }
    }

    /// Does the list hold the value at event time `at`?
    pub fn contains(&self, list: usize, value: &Listed, at: Timestamp) -> bool {
        self.holds(list, value.probe(), at)
    }

    /// [`DynamicLists::contains`] for a value that is not owned.
    pub fn holds(&self, list: usize, value: Probe<'_>, at: Timestamp) -> bool {
        self.lists.get(list).is_some_and(|l| l.get(&value).is_some_and(|until| at < *until))
    }

    /// Entries of a list, ended ones included until [`DynamicLists::retain`].
    pub fn len(&self, list: usize) -> usize {
        self.lists.get(list).map_or(0, HashMap::len)
    }

    /// Puts a value on a list, or moves its end.
    pub(crate) fn set(&mut self, list: usize, value: &Listed, until: Timestamp) {
        let Some(entries) = self.lists.get_mut(list) else { return };
        match entries.get_mut(value) {
            Some(end) => *end = until,
            None => {
                entries.insert(value.clone(), until);
            }
        }
    }

    /// Forgets what ended by `now`.
    pub(crate) fn retain(&mut self, list: usize, now: Timestamp) {
        if let Some(entries) = self.lists.get_mut(list) {
            entries.retain(|_, until| *until > now);
        }
    }
}
