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
    /// All numbers that begin with these digits.
    Prefix(Number),
    Address(IpAddr),
    /// Text, and numbers that only their text tells apart.
    Text(Box<[u8]>),
}

/// A value to look up, not owned: what an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe<'a> {
    Number(Number),
    Prefix(Number),
    Address(IpAddr),
    Text(&'a [u8]),
}

impl Listed {
    pub fn probe(&self) -> Probe<'_> {
        match self {
            Listed::Number(number) => Probe::Number(*number),
            Listed::Prefix(digits) => Probe::Prefix(*digits),
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

/// What the dynamic lists of a policy hold. Rules look a list up by its place in the policy; whoever fills it knows it by
/// a number that it keeps when the policy changes. Owned by the one thread that judges events in order; pure state, no
/// clock.
#[derive(Debug, Default)]
pub struct DynamicLists {
    /// By number.
    lists: Vec<DynamicList>,
    /// The number of each list of the policy.
    numbers: Vec<u16>,
}

#[derive(Debug, Default)]
struct DynamicList {
    entries: HashMap<Listed, Timestamp>,
    /// Counts of digits of the prefixes among them, a bit each.
    prefix_lengths: u32,
}

impl DynamicList {
    fn has(&self, probe: Probe<'_>, at: Timestamp) -> bool {
        self.entries.get(&probe).is_some_and(|until| at < *until)
    }
}

impl DynamicLists {
    pub fn new(n_lists: usize) -> DynamicLists {
        let mut lists = DynamicLists::default();
        lists.set_numbers((0..n_lists as u16).collect());
        lists
    }

    /// The policy has changed: the numbers of its lists, by place. What stood on the others is forgotten.
    pub(crate) fn set_numbers(&mut self, numbers: Vec<u16>) {
        let n_lists = numbers.iter().max().map_or(0, |last| usize::from(*last) + 1);
        self.lists.resize_with(n_lists, DynamicList::default);
        for (number, list) in self.lists.iter_mut().enumerate() {
            if !list.entries.is_empty() && !numbers.iter().any(|known| usize::from(*known) == number) {
                *list = DynamicList::default();
            }
        }
        self.numbers = numbers;
    }

    pub(crate) fn number(&self, place: usize) -> usize {
        self.numbers.get(place).map_or(usize::MAX, |number| usize::from(*number))
    }

    /// Does the list hold the value at event time `at`? A number is held by its prefixes too.
    pub fn holds(&self, list: usize, value: Probe<'_>, at: Timestamp) -> bool {
        let Some(list) = self.lists.get(self.number(list)) else { return false };
        if list.entries.is_empty() {
            return false;
        }
        let Probe::Number(number) = value else { return list.has(value, at) };
        let digits = number.digits().map_or(0, |(_, n)| n);
        let mut prefixes = (1..=digits).filter(|n| list.prefix_lengths >> n & 1 != 0);
        list.has(value, at)
            || prefixes.any(|n| number.prefix(n).is_some_and(|prefix| list.has(Probe::Prefix(prefix), at)))
    }

    /// Until when the list holds just this value, or held it.
    pub fn until(&self, list: usize, value: Probe<'_>) -> Option<Timestamp> {
        self.lists.get(self.number(list))?.entries.get(&value).copied()
    }

    /// Entries of a list, ended ones included until [`DynamicLists::retain`].
    pub(crate) fn len(&self, list: usize) -> usize {
        self.lists.get(list).map_or(0, |l| l.entries.len())
    }

    /// Puts a value on a list, or moves its end.
    pub(crate) fn set(&mut self, list: usize, value: &Listed, until: Timestamp) {
        let Some(list) = self.lists.get_mut(list) else { return };
        if let Listed::Prefix(digits) = value {
            list.prefix_lengths |= 1 << digits.digits().map_or(0, |(_, n)| n);
        }
        match list.entries.get_mut(value) {
            Some(end) => *end = until,
            None => {
                list.entries.insert(value.clone(), until);
            }
        }
    }

    /// Forgets what ended by `now`; the first end of what is left.
    pub(crate) fn retain(&mut self, list: usize, now: Timestamp) -> Timestamp {
        let Some(list) = self.lists.get_mut(list) else { return Timestamp::MAX };
        list.entries.retain(|_, until| *until > now);
        list.entries.values().copied().min().unwrap_or(Timestamp::MAX)
    }
}
