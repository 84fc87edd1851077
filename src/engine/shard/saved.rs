//! Writing a shard while it goes on counting, and reading it again.

use std::sync::Arc;

use super::{AnyTable, Shard, Subject};
use crate::clock::Timestamp;
use crate::codec::{Malformed, Put, Take, Written, require};
use crate::engine::answers::Answers;
use crate::engine::blocks::Places;
use crate::engine::judged::OpenEpisode;
use crate::engine::saved::Marker;
use crate::engine::saved::frames::{Frames, Kind};
use crate::engine::table::EpisodeId;
use crate::event::CustomerId;
use crate::limits::KEY_PARTS_MAX;
use crate::policy::Severity;

impl Written for EpisodeId {
    fn put(&self, out: &mut Put<'_>) {
        out.u8(self.partition as u8);
        out.u64(self.number);
    }
}

impl Written for Subject {
    fn put(&self, out: &mut Put<'_>) {
        out.u32(self.slot);
        out.u32(self.customer.0);
        out.i64(self.since);
        out.u8(u8::from(self.is_muted));
        out.u8(self.key.len() as u8);
        for (name, value) in self.key.iter() {
            out.bytes(name.as_bytes());
            out.bytes(value.as_bytes());
        }
    }
}

impl Subject {
    fn take(from: &mut Take<'_>) -> Result<Subject, Malformed> {
        let (slot, customer, since) = (from.u32()?, CustomerId(from.u32()?), from.i64()?);
        let is_muted = from.u8()?;
        require(is_muted <= 1)?;
        let n = from.u8()?;
        require(usize::from(n) <= KEY_PARTS_MAX)?;
        let mut key = Vec::new();
        for _ in 0..n {
            key.push((from.text()?.to_owned(), from.text()?.to_owned()));
        }
        Ok(Subject { customer, key: key.into(), slot, since, is_muted: is_muted == 1 })
    }
}

impl Shard {
    /// From here on, the shard is written as it is now.
    pub(crate) fn mark(&mut self, marker: &Arc<Marker>) {
        if marker.is_dropped() {
            return;
        }
        for table in &mut self.tables {
            each_table!(table, t => t.mark());
        }
        self.open.iter_mut().for_each(|open| open.mark());
        if self.plan.is_coupled {
            self.blocks.mark();
        }
        self.marker = Some(Arc::clone(marker));
    }

    /// Has the place of this save come?
    pub(crate) fn is_marked(&self, marker: &Arc<Marker>) -> bool {
        self.marker.as_ref().is_some_and(|own| Arc::ptr_eq(own, marker))
    }

    /// Ends a save, complete or not.
    pub(crate) fn forget_save(&mut self) {
        self.marker = None;
        for table in &mut self.tables {
            each_table!(table, t => t.forget_save());
        }
        self.open.iter_mut().for_each(|open| open.forget_save());
        self.blocks.forget_save();
    }

    /// Writes a piece; true when there is no more.
    pub(crate) fn save_some(&mut self, out: &mut Frames<'_>) -> bool {
        let shard = self.number;
        let open = self.open.iter_mut().enumerate();
        let done = open.into_iter().all(|(counter, open)| {
            !out.is_full() && open.save_some(Kind::Subjects, &(counter as u16).to_le_bytes(), out)
        });
        let tables = self.tables.iter_mut().enumerate();
        done && tables
            .into_iter()
            .all(|(counter, table)| each_table!(table, t => t.save_some(counter as u16, shard, out)))
            && self.blocks.save_some(out)
    }

    /// What a partition knows beside its keys, and its keys.
    pub(crate) fn restore_partition(
        &mut self,
        kind: Kind,
        counter: u16,
        partition: u8,
        from: &mut Take<'_>,
    ) -> Result<(), Malformed> {
        let table = self.tables.get_mut(usize::from(counter)).ok_or(Malformed)?;
        match kind {
            Kind::Partition => each_table!(table, t => t.restore_partition(partition, from)),
            _ => each_table!(table, t => t.restore_keys(partition, from)),
        }
    }

    pub(crate) fn restore_lists(
        &mut self,
        kind: Kind,
        from: &mut Take<'_>,
        places: Places<'_>,
    ) -> Result<(), Malformed> {
        if !self.plan.is_coupled {
            return Ok(());
        }
        match kind {
            Kind::Lists => self.blocks.restore_lists(from, places),
            Kind::Made => self.blocks.restore_made(from, places),
            _ => self.blocks.restore_holders(from, places),
        }
    }

    /// Everything is read: what follows from it is made.
    pub(crate) fn finish_restore(&mut self, answers: &Answers) -> Result<(), Malformed> {
        require(self.tables.iter().all(|table| each_table!(table, t => t.is_restored())))?;
        let Shard { tables, blocks, .. } = self;
        blocks.finish_restore(|origin| {
            // Numbers begin with the places.
            let table = tables.get(usize::from(origin.rule));
            table.is_some_and(|table| is_open(table, origin.episode, origin.slot))
        });
        if self.plan.is_coupled {
            self.answers = answers.clone();
        }
        Ok(())
    }

    /// Episodes that are open, of all rules.
    pub(crate) fn open_episodes(&self) -> impl Iterator<Item = OpenEpisode> {
        self.open.iter().enumerate().flat_map(move |(counter, open)| {
            open.iter().filter_map(move |(episode, subject)| {
                let table = self.tables.get(counter)?;
                let (partition, slot) = (episode.partition, subject.slot);
                let is_critical = each_table!(table, t => t.is_critical(partition, slot));
                Some(OpenEpisode {
                    rule: self.plan.counters.get(counter)?.rule,
                    level: if is_critical { Severity::Critical } else { Severity::Warning },
                    since: Timestamp(subject.since),
                    is_muted: subject.is_muted,
                    customer: subject.customer,
                    key: Arc::clone(&subject.key),
                })
            })
        })
    }
}

fn is_open(table: &AnyTable, episode: EpisodeId, slot: u32) -> bool {
    each_table!(table, t => t.is_open(episode.partition, episode.number, slot))
}

/// Who open episodes are about goes to the shards that have their partitions now.
pub(crate) fn restore_subjects(
    shards: &mut [impl std::ops::DerefMut<Target = Shard>],
    counter: u16,
    from: &mut Take<'_>,
) -> Result<(), Malformed> {
    let n_shards = shards.len();
    while !from.is_empty() {
        let episode = EpisodeId { partition: u32::from(from.u8()?), number: from.u64()? };
        let subject = Subject::take(from)?;
        let shard = shards.get_mut(episode.partition as usize % n_shards.max(1)).ok_or(Malformed)?;
        shard.open.get_mut(usize::from(counter)).ok_or(Malformed)?.add(episode, subject);
    }
    Ok(())
}
