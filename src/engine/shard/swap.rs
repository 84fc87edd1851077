//! What a shard counted changes hands when another policy comes into force.

use super::{AnyTable, Shard, Subject};
use crate::clock::Timestamp;
use crate::engine::answers::Answers;
use crate::engine::blocks::Origin;
use crate::engine::judged::Closed;
use crate::engine::saved::shape::Mapping;
use crate::engine::table::{EpisodeId, Table};
use crate::event::CustomerId;
use crate::limits::PARTITIONS;
use crate::window::Meter;

impl Shard {
    /// Ends the episodes that do not go on, no earlier than they began. `ends`: those of a counter of a customer.
    pub(crate) fn close_gone(&mut self, ends: impl Fn(usize, CustomerId) -> bool, at: Timestamp) -> Vec<Closed> {
        let mut gone = Vec::new();
        for (counter, rule) in self.plan.counters.iter().enumerate() {
            let number = self.plan.rule_numbers.of(counter);
            let (Some(open), Some(table)) = (self.open.get_mut(counter), self.tables.get_mut(counter)) else {
                continue;
            };
            let over = open.iter().filter(|(_, subject)| ends(counter, subject.customer));
            let over: Vec<(EpisodeId, Subject)> = over.map(|(episode, subject)| (*episode, subject.clone())).collect();
            for (episode, Subject { customer, key, slot, since, .. }) in over {
                open.remove(&episode);
                each_table!(table, t => t.abandon(episode, slot));
                let time = Timestamp(at.0.max(since));
                self.blocks.closed(&Origin { rule: number, episode, slot }, time.0);
                gone.push(Closed { rule: rule.rule, customer, key, time });
            }
        }
        gone
    }

    /// What calls were told, for a shard that judges them itself.
    pub(crate) fn set_answers(&mut self, answers: Answers) {
        self.answers = answers;
    }
}

/// Hands the tables of rules that go on from the shards of one policy to those of another, which have counted nothing yet.
pub(crate) fn hand_over(old: &mut [&mut Shard], new: &mut [&mut Shard], mapping: &Mapping) {
    let moved = || mapping.counters.iter().enumerate().filter_map(|(was, place)| Some((was, usize::from((*place)?))));
    if old.len() == new.len() {
        for (old, new) in old.iter_mut().zip(&mut *new) {
            moved().for_each(|(was, place)| old.hand_table(was, new, place));
        }
    } else {
        moved().for_each(|(was, place)| hand_partitions(old, was, new, place));
    }
    if let ([old], [new]) = (old, new)
        && old.plan.is_coupled
        && new.plan.is_coupled
    {
        new.blocks = std::mem::take(&mut old.blocks);
        new.blocks.set_lists(&new.plan.list_numbers);
    }
}

impl Shard {
    fn hand_table(&mut self, was: usize, new: &mut Shard, place: usize) {
        if let (Some(from), Some(to)) = (self.tables.get_mut(was), new.tables.get_mut(place)) {
            to.take_over(from, None);
        }
        if let (Some(from), Some(to)) = (self.open.get_mut(was), new.open.get_mut(place)) {
            std::mem::swap(from, to);
        }
        if let (Some(from), Some(to)) = (self.told.get(was), new.told.get_mut(place)) {
            *to = *from;
        }
    }
}

/// Where the number of shards changes, each partition goes to the shard that has it now.
fn hand_partitions(old: &mut [&mut Shard], was: usize, new: &mut [&mut Shard], place: usize) {
    let (n_old, n_new) = (old.len(), new.len());
    for partition in 0..PARTITIONS {
        let Some(from) = old.get_mut(partition % n_old).and_then(|shard| shard.tables.get_mut(was)) else { continue };
        let Some(to) = new.get_mut(partition % n_new).and_then(|shard| shard.tables.get_mut(place)) else { continue };
        to.take_over(from, Some(partition as u32));
    }
    let mut told = (0, 0);
    for shard in old {
        for (episode, subject) in shard.open.get(was).into_iter().flat_map(|open| open.iter()) {
            let open = new.get_mut(episode.partition as usize % n_new).and_then(|shard| shard.open.get_mut(place));
            if let Some(open) = open {
                open.add(*episode, subject.clone());
            }
        }
        let (keys, bytes) = shard.told.get(was).copied().unwrap_or_default();
        told = (told.0 + keys, told.1 + bytes);
    }
    // The difference is told with the next tick, by all of them together.
    if let Some(first) = new.first_mut().and_then(|shard| shard.told.get_mut(place)) {
        *first = told;
    }
}

impl AnyTable {
    /// Everything, or one partition.
    fn take_over(&mut self, old: &mut AnyTable, partition: Option<u32>) {
        fn take_over<M: Meter>(new: &mut Table<M>, old: &mut Table<M>, partition: Option<u32>) {
            match partition {
                None => new.take_over(old),
                Some(partition) => new.take_partition(old, partition),
            }
        }
        match (self, old) {
            (AnyTable::Count(new), AnyTable::Count(old)) => take_over(new, old, partition),
            (AnyTable::Distinct(new), AnyTable::Distinct(old)) => take_over(new, old, partition),
            (AnyTable::Sum(new), AnyTable::Sum(old)) => take_over(new, old, partition),
            (AnyTable::Ratio(new), AnyTable::Ratio(old)) => take_over(new, old, partition),
            (AnyTable::Run(new), AnyTable::Run(old)) => take_over(new, old, partition),
            (AnyTable::Concurrent(new), AnyTable::Concurrent(old)) => take_over(new, old, partition),
            (AnyTable::Joint(new), AnyTable::Joint(old)) => take_over(new, old, partition),
            // Rules of two measures are not the same. Each kind of table stands above: with one left out, its keys would be
            // lost.
            (
                AnyTable::Count(_)
                | AnyTable::Distinct(_)
                | AnyTable::Sum(_)
                | AnyTable::Ratio(_)
                | AnyTable::Run(_)
                | AnyTable::Concurrent(_)
                | AnyTable::Joint(_),
                _,
            ) => {}
        }
    }
}
