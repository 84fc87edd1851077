//! What thresholds put on dynamic lists, and until when (2-rules 2.9 point 17).
//!
//! An entry holds while the episode that made it is open and for `ttl` after it closed, where an episode counts as
//! closed from the instant at which it would close without a further event. Working that out costs a walk over the
//! window, so it is put off: as long as event time has not passed the earliest instant at which the entry could end,
//! it holds; only then is the exact end computed, once per change of the key.

mod saved;
mod swap;

pub(crate) use saved::Places;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::kept::Kept;
use super::numbers::Numbers;
use super::table::EpisodeId;
use crate::clock::Timestamp;
use crate::policy::DynamicLists;
use crate::policy::dynamic::Listed;

/// Entries of a list that names no `max_entries`.
const ENTRIES_MAX_DEFAULT: usize = 1_000_000;

/// An episode of one counter's table, and the slot it is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// See [`super::plan::Plan::rule_numbers`].
    pub(crate) rule: u16,
    pub(crate) episode: EpisodeId,
    pub(crate) slot: u32,
}

/// See the module. The lists themselves are what predicates look into; here they are known by their numbers, see
/// [`super::plan::Plan::list_numbers`].
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) lists: DynamicLists,
    numbers: HashMap<Origin, u64>,
    made: Kept<u64, Made>,
    /// Who holds an entry, and until when closed episodes do.
    holders: Kept<(usize, Listed), Holders>,
    /// Origins whose entries may end, by the earliest instant.
    ends: BinaryHeap<Reverse<(i64, u64)>>,
    next: u64,
    /// Full lists, until one of their entries may end: an attack need not search them again and again.
    full_until: HashMap<usize, i64>,
    /// What a save under way has yet to write beside entries and who made them.
    saving: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Holders {
    open: Vec<u64>,
    until: i64,
    /// When the list itself says that the entry ends; `None`: it is not there.
    listed: Option<i64>,
}

/// What one open episode has put on lists.
#[derive(Debug)]
struct Made {
    origin: Origin,
    entries: Vec<(usize, Listed, i64)>,
    /// Earliest instant at which the episode may count as closed.
    bound: i64,
    /// The instant at which it counts as closed, where it was worked out since the key last changed.
    closes_at: Option<i64>,
}

impl Blocks {
    pub(crate) fn new(lists: &Numbers) -> Blocks {
        let mut blocks = Blocks::default();
        blocks.lists.set_numbers(lists.all().to_vec());
        blocks
    }

    /// Puts a value on a list, by its place in the policy, for as long as `origin` is open and `ttl_ms` more. False where the list is full.
    pub(crate) fn add(
        &mut self,
        (list, value, ttl_ms): (usize, Listed, i64),
        origin: Origin,
        now: i64,
        entries_max: Option<usize>,
    ) -> bool {
        let list = self.lists.number(list);
        if !self.make_room(list, &value, now, entries_max.unwrap_or(ENTRIES_MAX_DEFAULT)) {
            return false;
        }
        let number = *self.numbers.entry(origin).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.made.add(number, Made { origin, entries: Vec::new(), bound: i64::MAX, closes_at: Some(i64::MAX) });
        let mut is_new = false;
        self.holders.change((list, value.clone()), |holders| {
            is_new = !holders.open.contains(&number);
            if is_new {
                holders.open.push(number);
            }
        });
        if is_new && let Some(made) = self.made.get_mut(&number) {
            made.entries.push((list, value.clone(), ttl_ms));
        }
        self.publish(list, &value);
        true
    }

    /// Puts a value on a list, by its place in the policy, until then, whatever becomes of the episode. False where the
    /// list is full.
    pub(crate) fn note(
        &mut self,
        list: usize,
        value: Listed,
        now: i64,
        until: i64,
        entries_max: Option<usize>,
    ) -> bool {
        let list = self.lists.number(list);
        if !self.make_room(list, &value, now, entries_max.unwrap_or(ENTRIES_MAX_DEFAULT)) {
            return false;
        }
        self.holders.change((list, value.clone()), |holders| holders.until = holders.until.max(until));
        self.publish(list, &value);
        true
    }

    fn make_room(&mut self, list: usize, value: &Listed, now: i64, entries_max: usize) -> bool {
        if self.lists.len(list) < entries_max || self.holders.contains_key(&(list, value.clone())) {
            return true;
        }
        if self.full_until.get(&list).is_some_and(|until| now < *until) {
            return false;
        }
        let ended = |h: &Holders| h.listed.is_some_and(|until| until <= now) || h.open.is_empty() && h.until <= now;
        let of_list = self.holders.iter().filter(|((l, _), h)| *l == list && ended(h));
        let gone: Vec<(usize, Listed)> = of_list.map(|(key, _)| key.clone()).collect();
        for key in &gone {
            match self.holders.get_mut(key) {
                Some(holders) if !holders.open.is_empty() || holders.until > now => holders.listed = None,
                _ => drop(self.holders.remove(key)),
            }
        }
        let next_end = self.lists.retain(list, Timestamp(now));
        if self.lists.len(list) < entries_max {
            return true;
        }
        self.full_until.insert(list, next_end.0);
        false
    }

    /// The key of an open episode has counted: it closes at `bound` at the earliest.
    pub(crate) fn counted(&mut self, origin: &Origin, bound: i64) {
        let Some(number) = self.numbers.get(origin).copied() else { return };
        let Some(made) = self.made.get_mut(&number) else { return };
        made.bound = bound;
        if made.closes_at.take().is_some() {
            self.ends.push(Reverse((bound, number)));
            self.publish_all(number);
        }
    }

    /// Before an event of time `now` is judged: makes exact what may have ended by then.
    pub(crate) fn settle(&mut self, now: i64, mut closes_at: impl FnMut(&Origin) -> Option<i64>) {
        while let Some(Reverse((bound, number))) = self.ends.peek().copied()
            && bound <= now
        {
            self.ends.pop();
            let Some(made) = self.made.get_mut(&number) else { continue };
            if made.bound > now {
                self.ends.push(Reverse((made.bound, number)));
                continue;
            }
            made.closes_at = closes_at(&made.origin);
            self.publish_all(number);
        }
    }

    /// An episode has closed: its entries end `ttl` later, unless another episode holds them longer.
    pub(crate) fn closed(&mut self, origin: &Origin, closed_at: i64) {
        let Some(made) = self.numbers.remove(origin).and_then(|number| {
            let made = self.made.remove(&number)?;
            Some((number, made))
        }) else {
            return;
        };
        let (number, made) = made;
        self.close_entries(number, made, closed_at);
    }

    fn close_entries(&mut self, number: u64, made: Made, closed_at: i64) {
        for (list, value, ttl_ms) in made.entries {
            self.holders.change((list, value.clone()), |holders| {
                holders.open.retain(|n| *n != number);
                holders.until = holders.until.max(closed_at.saturating_add(ttl_ms));
            });
            self.publish(list, &value);
        }
    }

    fn publish_all(&mut self, number: u64) {
        let Some(made) = self.made.get(&number) else { return };
        let entries: Vec<(usize, Listed)> =
            made.entries.iter().map(|(list, value, _)| (*list, value.clone())).collect();
        entries.iter().for_each(|(list, value)| self.publish(*list, value));
    }

    /// Writes the end of an entry into the list: the latest of those who hold it.
    fn publish(&mut self, list: usize, value: &Listed) {
        let Blocks { made, holders, .. } = self;
        let Some(holders) = holders.get_mut(&(list, value.clone())) else { return };
        let mut until = holders.until;
        for number in &holders.open {
            let Some(made) = made.get(number) else { continue };
            let ttl_ms = made.entries.iter().find(|(l, v, _)| *l == list && v == value).map_or(0, |e| e.2);
            until = until.max(made.closes_at.map_or(i64::MAX, |at| at.saturating_add(ttl_ms)));
        }
        holders.listed = Some(until);
        if until != i64::MAX {
            self.full_until.remove(&list);
        }
        self.lists.set(list, value, Timestamp(until));
    }
}
