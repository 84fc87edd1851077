//! What a shard counted changes hands when another policy comes into force.

use super::{AnyTable, Shard};
use crate::clock::Timestamp;
use crate::engine::answers::Answers;
use crate::engine::blocks::Origin;
use crate::engine::judged::Closed;
use crate::engine::saved::shape::Mapping;
use crate::limits::PARTITIONS;

impl Shard {
    /// Ends the episodes of rules that do not go on (`None` in `moved`), no earlier than they began.
    pub(crate) fn close_gone(&mut self, moved: &[Option<u16>], at: Timestamp) -> Vec<Closed> {
        let mut gone = Vec::new();
        for (counter, rule) in self.plan.counters.iter().enumerate().filter(|(c, _)| moved.get(*c) == Some(&None)) {
            let number = self.plan.rule_numbers.of(counter);
            let Some(open) = self.open.get(counter) else { continue };
            for (episode, subject) in open.iter() {
                let time = Timestamp(at.0.max(subject.since));
                self.blocks.closed(&Origin { rule: number, episode: *episode, slot: subject.slot }, time.0);
                let (customer, key) = (subject.customer, std::sync::Arc::clone(&subject.key));
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
        let Some(counter) = new.plan.counters.get(place) else { return };
        if let (Some(from), Some(to)) = (self.tables.get_mut(was), new.tables.get_mut(place)) {
            std::mem::swap(from, to);
            each_table!(to, t => t.set_terms(&counter.terms));
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
    let Some(counter) = new.first().and_then(|shard| shard.plan.counters.get(place)) else { return };
    for table in old.iter_mut().filter_map(|shard| shard.tables.get_mut(was)) {
        each_table!(table, t => t.set_terms(&counter.terms));
    }
    for partition in 0..PARTITIONS {
        let Some(from) = old.get_mut(partition % n_old).and_then(|shard| shard.tables.get_mut(was)) else { continue };
        let Some(to) = new.get_mut(partition % n_new).and_then(|shard| shard.tables.get_mut(place)) else { continue };
        from.swap_partition(to, partition as u32);
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
    fn swap_partition(&mut self, other: &mut AnyTable, partition: u32) {
        match (self, other) {
            (AnyTable::Count(from), AnyTable::Count(to)) => from.swap_partition(to, partition),
            (AnyTable::Distinct(from), AnyTable::Distinct(to)) => from.swap_partition(to, partition),
            (AnyTable::Sum(from), AnyTable::Sum(to)) => from.swap_partition(to, partition),
            (AnyTable::Ratio(from), AnyTable::Ratio(to)) => from.swap_partition(to, partition),
            (AnyTable::Run(from), AnyTable::Run(to)) => from.swap_partition(to, partition),
            (AnyTable::Concurrent(from), AnyTable::Concurrent(to)) => from.swap_partition(to, partition),
            (AnyTable::Joint(from), AnyTable::Joint(to)) => from.swap_partition(to, partition),
            // Rules of two measures are not the same. Each kind of table stands above: with one left out, its keys would be
            // lost where the number of shards changes.
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
