//! A bounded map whose entries end at an event time of their own.

use std::collections::VecDeque;
use std::hash::Hash;

use hashbrown::HashMap;

/// Entries end by time, or, when the map is full, in the order in which they came. Each insertion looks at the two
/// entries at the front, so that what has ended is gone after as many insertions as there are entries, and no call
/// does more than constant work.
#[derive(Debug)]
pub(crate) struct Expiring<K, V> {
    entries: HashMap<K, (i64, V)>,
    order: VecDeque<K>,
    entries_max: usize,
}

impl<K: Hash + Eq + Copy, V> Expiring<K, V> {
    pub(crate) fn new(entries_max: usize) -> Expiring<K, V> {
        Expiring { entries: HashMap::new(), order: VecDeque::new(), entries_max }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry, unless it ended before event time `at`.
    pub(crate) fn get_mut(&mut self, key: &K, at: i64) -> Option<&mut V> {
        self.entries.get_mut(key).filter(|(ends, _)| at <= *ends).map(|(_, value)| value)
    }

    /// Moves the end of an entry.
    pub(crate) fn set_end(&mut self, key: &K, ends: i64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.0 = ends;
        }
    }

    /// Moves the end of an entry, but never to before where it is.
    pub(crate) fn prolong(&mut self, key: &K, ends: i64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.0 = entry.0.max(ends);
        }
    }

    /// Adds or replaces an entry. What has to go, ended or for want of room, is handed to `gone`.
    pub(crate) fn insert(&mut self, key: K, value: V, at: i64, ends: i64, mut gone: impl FnMut(V)) {
        for _ in 0..2 {
            let Some(front) = self.order.pop_front() else { break };
            let over = self.entries.get(&front).is_none_or(|(ends, _)| *ends < at);
            if over || self.entries.len() >= self.entries_max {
                if let Some((_, value)) = self.entries.remove(&front) {
                    gone(value);
                }
            } else {
                self.order.push_back(front);
            }
        }
        match self.entries.insert(key, (ends, value)) {
            Some((_, old)) => gone(old),
            None => self.order.push_back(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_by_time_and_the_first_goes_when_there_is_no_room() {
        let (mut map, mut gone) = (Expiring::new(3), Vec::new());
        for key in 0..4u8 {
            map.insert(key, key, 0, 100, |v| gone.push(v));
        }
        assert!(map.entries.len() <= 3 && gone.contains(&0));
        assert_eq!(map.get_mut(&3, 100), Some(&mut 3));
        assert_eq!(map.get_mut(&3, 101), None);
        map.set_end(&3, 200);
        assert_eq!(map.get_mut(&3, 200), Some(&mut 3));
    }

    #[test]
    fn what_has_ended_does_not_pile_up() {
        let mut map = Expiring::new(1_000_000);
        for at in 0..10_000i64 {
            map.insert(at, (), at, at + 10, |()| {});
        }
        assert!(map.entries.len() < 40 && map.order.len() < 80, "{} {}", map.entries.len(), map.order.len());
    }
}
