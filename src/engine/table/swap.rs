//! What a table holds goes on under the terms of another policy.

use super::timed::other_customer;
use super::{EpisodeId, KeptKey, Partition, Table, Yield};
use crate::engine::episode::{Clearing, Terms};
use crate::window::Meter;

impl<M: Meter> Table<M> {
    /// Takes everything from a table of the same shard, a pointer: most go on under the same terms, and then none of their
    /// memory is looked at.
    pub(crate) fn take_over(&mut self, old: &mut Table<M>) {
        std::mem::swap(&mut self.partitions, &mut old.partitions);
        let same = Same::of(&old.terms, &self.terms);
        if !(same.closes && same.holds) {
            self.partitions.iter_mut().for_each(|part| part.go_by(same));
        }
        self.partitions.iter_mut().for_each(|part| part.find_weeks(&self.terms));
    }

    /// An episode is over, whatever the key's window shows, and time brings none of it again.
    pub(crate) fn abandon(&mut self, id: EpisodeId, slot: u32) {
        let Some(part) = self.partitions.get_mut((id.partition >> self.shards_log2) as usize) else { return };
        if part.episodes.get(&slot).is_some_and(|episode| episode.number == id.number) {
            part.close(slot, 0, &mut Yield::default(), id.partition);
            part.timers.remove(&slot);
        }
    }

    /// Takes one partition, by its number of all, from a table of another number of shards.
    pub(crate) fn take_partition(&mut self, old: &mut Table<M>, partition: u32) {
        let own = self.partitions.get_mut((partition >> self.shards_log2) as usize);
        if let (Some(own), Some(other)) = (own, old.partitions.get_mut((partition >> old.shards_log2) as usize)) {
            std::mem::swap(own, other);
            own.go_by(Same::of(&old.terms, &self.terms));
            own.find_weeks(&self.terms);
        }
    }
}

/// In what two terms are the same: in when an episode closes, in when a level holds.
#[derive(Clone, Copy, Debug)]
struct Same {
    closes: bool,
    holds: bool,
}

impl Same {
    fn of(old: &Terms, new: &Terms) -> Same {
        Same { closes: old.closes_like(new), holds: old.holds_like(new) }
    }
}

impl<M: Meter> Partition<M> {
    /// What is usual stands in another file by now.
    fn find_weeks(&mut self, terms: &Terms) {
        let Some(weeks) = &terms.usual else { return };
        for place in 0..self.slots.len() {
            let other = other_customer(&self.other, place as u32);
            let slot = &mut self.slots[place];
            slot.meter.set_week(weeks.of(&KeptKey::new(slot.key, &self.keys, other)));
        }
    }

    /// What is open is held against other terms from now on. Where these differ, how long it was clear, or a level held, by
    /// the old ones does not count.
    fn go_by(&mut self, same: Same) {
        if !same.closes {
            for episode in self.episodes.values_mut() {
                let not_before = episode.clearing.not_before;
                (episode.clearing, episode.closes_at) = (Clearing { not_before, ..Clearing::default() }, None);
            }
        }
        if !same.holds {
            for timers in self.timers.values_mut() {
                (timers.since, timers.breaks) = ([None; 2], [false; 2]);
            }
        }
    }
}
