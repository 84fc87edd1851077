//! Lists that thresholds fill while calls flow.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::event::Number;

/// A value on a dynamic list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    Number(Number),
    Address(IpAddr),
    /// Text, and numbers that only their text tells apart.
    Text(Box<[u8]>),
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
        self.lists.get(list).is_some_and(|l| l.get(value).is_some_and(|until| at < *until))
    }
}
