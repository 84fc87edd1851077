//! A table goes on under the terms of another policy.

use super::Table;
use crate::engine::episode::{Clearing, Terms};
use crate::window::Meter;

impl<M: Meter> Table<M> {
    /// What is open is held against the new terms from now on. Where these differ in when an episode closes or a level
    /// holds, how long it was so by the old ones does not count.
    pub(crate) fn set_terms(&mut self, terms: &Terms) {
        let (closes_like, holds_like) = (self.terms.closes_like(terms), self.terms.holds_like(terms));
        self.terms = terms.clone();
        if closes_like && holds_like {
            return;
        }
        for part in &mut self.partitions {
            for episode in part.episodes.values_mut().filter(|_| !closes_like) {
                (episode.clearing, episode.closes_at) = (Clearing::default(), None);
            }
            for timers in part.timers.values_mut().filter(|_| !holds_like) {
                timers.since = [None; 2];
            }
        }
    }

    /// Changes a partition, by its number of all, with that of a table of another number of shards.
    pub(crate) fn swap_partition(&mut self, other: &mut Table<M>, partition: u32) {
        let own = self.partitions.get_mut((partition >> self.shards_log2) as usize);
        if let (Some(own), Some(other)) = (own, other.partitions.get_mut((partition >> other.shards_log2) as usize)) {
            std::mem::swap(own, other);
        }
    }
}
