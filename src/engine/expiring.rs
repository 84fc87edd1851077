//! A bounded map whose entries end at an event time of their own.

mod saved;

use std::collections::VecDeque;

use hashbrown::HashTable;

use self::saved::Coming;
use super::pending::Saving;
use crate::codec::Written;

/// How the keys of a map spread over its parts and in them: the same in every run, since a full part is part of the
/// result.
pub(crate) trait Spread {
    fn spread(&self) -> u64;
}

/// A hash already.
impl Spread for [u64; 2] {
    fn spread(&self) -> u64 {
        self[0]
    }
}

/// A customer and a number.
impl Spread for (u32, u64) {
    fn spread(&self) -> u64 {
        (self.1 ^ u64::from(self.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }
}

/// Parts of a map. One that holds a million calls grows in steps of a 64th, or each step would hold up every verdict
/// for tens of milliseconds.
const PARTS: usize = 64;

/// Entries end by time, or, when there is no room, about in the order in which they came. Each insertion looks at the
/// two entries at the front, so that what has ended is gone after as many insertions as there are entries, and no
/// call does more than constant work.
#[derive(Debug)]
pub(crate) struct Expiring<K, V> {
    parts: Vec<Part<K, V>>,
    n: usize,
    /// A save is under way that has not written all of it.
    is_saving: bool,
    /// The part that was last read into.
    restoring: u8,
}

/// Entries stand in one row; what finds them and what orders them names their place alone. A free place holds the
/// default of its value.
#[derive(Debug)]
struct Part<K, V> {
    index: HashTable<u32>,
    entries: Vec<Entry<K, V>>,
    free: Vec<u32>,
    order: VecDeque<u32>,
    entries_max: usize,
    saving: Saving,
    /// What has been read of it so far.
    coming: Option<Box<Coming<K, V>>>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    ends: i64,
    value: V,
}

impl<K: Eq + Copy + Default + Spread + Written, V: Default + Written> Expiring<K, V> {
    pub(crate) fn new(entries_max: usize) -> Expiring<K, V> {
        let entries_max = entries_max.div_ceil(PARTS);
        let part = || Part {
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            entries_max,
            saving: Saving::Untouched,
            coming: None,
        };
        Expiring { parts: (0..PARTS).map(|_| part()).collect(), n: 0, is_saving: false, restoring: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n == 0
    }

    fn part(&mut self, key: &K) -> &mut Part<K, V> {
        let part = &mut self.parts[key.spread() as usize % PARTS];
        if self.is_saving {
            part.begin_save();
        }
        part
    }

    /// The entry, unless it ended before event time `at`.
    pub(crate) fn get_mut(&mut self, key: &K, at: i64) -> Option<&mut V> {
        self.part(key).find(key).filter(|entry| at <= entry.ends).map(|entry| &mut entry.value)
    }

    /// Brings what an entry needs near: its own memory, and that of the entries which an insertion would look at.
    pub(crate) fn touch(&self, key: &K) -> u64 {
        let Some(part) = self.parts.get(key.spread() as usize % PARTS) else { return 0 };
        let Part { index, entries, order, .. } = part;
        let ends = |at: &u32| entries.get(*at as usize).map_or(0, |entry| entry.ends as u64);
        let own = index.find(place(key), |at| entries.get(*at as usize).is_some_and(|e| e.key == *key)).map_or(0, ends);
        own ^ order.iter().take(2).fold(0, |seen, at| seen ^ ends(at))
    }

    /// Moves the end of an entry.
    pub(crate) fn set_end(&mut self, key: &K, ends: i64) {
        if let Some(entry) = self.part(key).find(key) {
            entry.ends = ends;
        }
    }

    /// Moves the end of an entry, but never to before where it is.
    pub(crate) fn prolong(&mut self, key: &K, ends: i64) {
        if let Some(entry) = self.part(key).find(key) {
            entry.ends = entry.ends.max(ends);
        }
    }

    /// Adds or replaces an entry. What has to go, ended or for want of room, is handed to `gone`.
    pub(crate) fn insert(&mut self, key: K, value: V, at: i64, ends: i64, mut gone: impl FnMut(V)) {
        let part = self.part(&key);
        let before = part.index.len();
        part.make_room(at, &mut gone);
        match part.find(&key) {
            Some(entry) => {
                entry.ends = ends;
                gone(std::mem::replace(&mut entry.value, value));
            }
            None => part.add(Entry { key, ends, value }),
        }
        let after = part.index.len();
        self.n = self.n + after - before;
    }
}

/// The bits that chose the part are the same for all of its keys.
fn place<K: Spread>(key: &K) -> u64 {
    (key.spread() / PARTS as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<K: Eq + Copy + Default + Spread + Written, V: Default + Written> Part<K, V> {
    fn find(&mut self, key: &K) -> Option<&mut Entry<K, V>> {
        let Part { index, entries, .. } = self;
        let at = *index.find(place(key), |at| entries.get(*at as usize).is_some_and(|e| e.key == *key))?;
        self.keep(at);
        self.entries.get_mut(at as usize)
    }

    fn add(&mut self, entry: Entry<K, V>) {
        let Part { index, entries, free, order, .. } = self;
        let hash = place(&entry.key);
        let at = match free.pop() {
            Some(at) => {
                entries[at as usize] = entry;
                at
            }
            None => {
                entries.push(entry);
                entries.len() as u32 - 1
            }
        };
        let rehash = |at: &u32| entries.get(*at as usize).map_or(0, |e| place(&e.key));
        index.insert_unique(hash, at, rehash);
        order.push_back(at);
    }

    fn make_room(&mut self, at: i64, gone: &mut impl FnMut(V)) {
        for _ in 0..2 {
            let Some(front) = self.order.pop_front() else { break };
            let Some(entry) = self.entries.get(front as usize) else { continue };
            if entry.ends >= at && self.index.len() < self.entries_max {
                self.order.push_back(front);
                continue;
            }
            self.keep(front);
            let Some(entry) = self.entries.get_mut(front as usize) else { continue };
            if let Ok(found) = self.index.find_entry(place(&entry.key), |at| *at == front) {
                found.remove();
            }
            self.free.push(front);
            gone(std::mem::take(&mut entry.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_by_time_and_the_first_goes_when_there_is_no_room() {
        let (mut map, mut gone) = (Expiring::new(3 * PARTS), Vec::new());
        // Of one part, by their lowest bits.
        let key = |i: u64| [0, i];
        for i in 0..4 {
            map.insert(key(i), i, 0, 100, |v| gone.push(v));
        }
        assert!(map.n <= 3 && gone.contains(&0));
        assert_eq!(map.get_mut(&key(3), 100), Some(&mut 3));
        assert_eq!(map.get_mut(&key(3), 101), None);
        map.set_end(&key(3), 200);
        assert_eq!(map.get_mut(&key(3), 200), Some(&mut 3));
    }

    #[test]
    fn what_has_ended_does_not_pile_up() {
        let mut map = Expiring::new(1_000_000);
        for at in 0..10_000i64 {
            map.insert([at as u64, 0], (), at, at + 10, |()| {});
        }
        let held: usize = map.parts.iter().map(|p| p.order.len()).sum();
        assert!(map.n < 40 * PARTS && held < 80 * PARTS, "{} {held}", map.n);
    }
}
