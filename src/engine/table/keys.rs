//! The keys of a table as people look at them, and keys that they take back.

use super::{EpisodeId, Table, Yield};
use crate::engine::key::{KeptKey, Key};
use crate::window::{Meter, Reading};

/// One key as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) key: KeptKey,
    /// Where it is: partition of all, and slot.
    pub(crate) place: (u32, u32),
    /// What its window shows at the instant that was asked for.
    pub(crate) reading: Reading,
    /// Time of its newest event.
    pub(crate) newest: i64,
    /// Open, and whether critical.
    pub(crate) episode: Option<(EpisodeId, bool)>,
}

impl<M: Meter> Table<M> {
    /// The keys of up to `n` slots of a partition, from slot `from` on, as they are at `at`; where to go on, if there is
    /// more. Keys whose windows are empty and of which nothing is open are not told.
    pub(crate) fn look(&self, partition: u32, from: usize, n: usize, at: i64) -> (Vec<Look>, Option<usize>) {
        let Some(part) = self.partitions.get((partition >> self.shards_log2) as usize) else {
            return (Vec::new(), None);
        };
        let others =
            |slot: u32| part.other.iter().find(|(_, place)| **place == slot).map_or(0, |(customer, _)| *customer);
        let mut looks = Vec::new();
        for (place, slot) in
            part.slots.iter().enumerate().skip(from).take(n).filter(|(_, slot)| slot.key != Key::VACANT)
        {
            let number = place as u32;
            let mut pool = M::Pool::default();
            let mut meter = slot.meter.copy(&part.pool, &mut pool);
            let newest = meter.head().clock();
            if at > newest {
                meter.expire(&mut pool, at.saturating_sub(self.terms.width.window_ms));
            }
            let episode = part.episodes.get(&number).filter(|_| meter.head().is_open());
            if meter.is_empty(&pool) && episode.is_none() {
                continue;
            }
            let other = if slot.key == Key::OTHER { others(number) } else { 0 };
            looks.push(Look {
                key: KeptKey::new(slot.key, &part.keys, other),
                place: (partition, number),
                reading: self.terms.reading(&meter, &pool, at.max(newest)),
                newest,
                episode: episode.map(|e| (EpisodeId { partition, number: e.number }, meter.head().is_critical())),
            });
        }
        let next = from + n;
        (looks, (next < part.slots.len()).then_some(next))
    }

    /// Takes back a key: its window is forgotten and its episode closes at `at`. False where another key is there by now.
    pub(crate) fn take_back(&mut self, (partition, slot): (u32, u32), key: &KeptKey, at: i64, out: &mut Yield) -> bool {
        let Some(part) = self.partitions.get_mut((partition >> self.shards_log2) as usize) else { return false };
        let Some(held) = part.slots.get(slot as usize).filter(|held| held.key != Key::VACANT) else { return false };
        let is_other = held.key == Key::OTHER;
        if KeptKey::new(held.key, &part.keys, key.customer()) != *key {
            return false;
        }
        if held.meter.head().is_open() {
            part.close(slot, at.max(held.meter.head().clock()), out, partition);
        }
        part.timers.remove(&slot);
        let Some(held) = part.slots.get_mut(slot as usize) else { return false };
        held.meter.release(&mut part.pool);
        if !is_other {
            let gone = std::mem::replace(&mut held.key, Key::VACANT);
            part.index_remove(self.hasher.hash_kept(gone, &part.keys) as u32, slot);
            part.key_bytes -= gone.discard(&mut part.keys);
            part.vacant.push(slot);
        }
        true
    }
}
