//! Writing a table key by key while it goes on counting, and reading it again.
//!
//! A key is written with its window and its open episode, so that one that changes is written before as a whole. Places
//! of keys are kept, and the hand that looks for the next one to go, since they decide which key makes room. The index
//! is built anew, once all keys of a partition are there.

use super::timed::{Timers, other_customer};
use super::{Episode, INDEX_MIN, Partition, Slot, Table, partition_of};
use crate::codec::{Malformed, Put, Take, require};
use crate::engine::episode::{Clearing, Terms};
use crate::engine::key::{KeptKey, Key, KeyHasher};
use crate::engine::pending::{Pending, Saving};
use crate::engine::saved::frames::{Frames, Kind};
use crate::limits::SAVED_SLACK_BYTES_MAX;
use crate::window::{Meter, Pool};

/// A partition that is being read, until all of its keys are there.
#[derive(Debug)]
pub(super) struct Coming<M> {
    n: usize,
    vacant: Vec<u32>,
    index_len: usize,
    slots: Vec<(u32, Slot<M>)>,
}

impl<M: Meter> Table<M> {
    /// From here on, keys are written as they are now.
    pub(crate) fn mark(&mut self) {
        self.forget_save();
        self.is_saving = true;
    }

    /// Ends a save, complete or not.
    pub(crate) fn forget_save(&mut self) {
        self.is_saving = false;
        self.partitions.iter_mut().for_each(|part| part.saving = Saving::Untouched);
    }

    /// Writes a piece; true when there is no more.
    pub(crate) fn save_some(&mut self, counter: u16, shard: u32, out: &mut Frames<'_>) -> bool {
        if self.is_saving {
            for (i, part) in self.partitions.iter_mut().enumerate() {
                let global = ((i as u32) << self.shards_log2) + shard;
                if out.is_full() || !part.save_some((counter, global as u8), out) {
                    return false;
                }
            }
            self.forget_save();
        }
        true
    }

    fn part_mut(&mut self, global: u8) -> Result<&mut Partition<M>, Malformed> {
        self.partitions.get_mut(usize::from(global) >> self.shards_log2).ok_or(Malformed)
    }

    /// What [`Partition::begin_save`] wrote.
    pub(crate) fn restore_partition(&mut self, global: u8, from: &mut Take<'_>) -> Result<(), Malformed> {
        let hasher = self.hasher;
        let part = self.part_mut(global)?;
        require(part.slots.is_empty() && part.coming.is_none())?;
        let (n, index_len) = (from.u32()? as usize, from.u32()? as usize);
        (part.hand, part.episodes_opened) = (from.u32()?, from.u64()?);
        // Numbers go on from it.
        require(part.episodes_opened < 1 << 63)?;
        for _ in 0..from.len(9)? {
            let (customer, slot) = (from.u32()?, from.u32()?);
            part.other.insert(customer, slot);
        }
        for _ in 0..from.len(8)? {
            let slot = from.u32()?;
            require((slot as usize) < n)?;
            part.timers.insert(slot, Timers::take(from)?);
        }
        let vacant = from.u32s()?;
        from.end()?;
        require(vacant.len() <= n)?;
        part.coming = Some(Box::new(Coming { n, vacant, index_len, slots: Vec::new() }));
        part.settle(global, &hasher)
    }

    /// Keys of a partition.
    pub(crate) fn restore_keys(&mut self, global: u8, from: &mut Take<'_>) -> Result<(), Malformed> {
        let (hasher, terms) = (self.hasher, self.terms.clone());
        let part = self.part_mut(global)?;
        if from.is_empty() {
            return Ok(());
        }
        part.take_slots(&terms, from)?;
        part.settle(global, &hasher)
    }

    /// Has every partition that was begun been read to its end?
    pub(crate) fn is_restored(&self) -> bool {
        self.partitions.iter().all(|part| part.coming.is_none())
    }

    /// Is the episode open, and has it reached `critical`?
    pub(crate) fn is_critical(&self, partition: u32, slot: u32) -> bool {
        let part = self.partitions.get((partition >> self.shards_log2) as usize);
        part.and_then(|part| part.slots.get(slot as usize)).is_some_and(|slot| slot.meter.head().is_critical())
    }

    /// Is there an open episode of that number?
    pub(crate) fn is_open(&self, partition: u32, number: u64, slot: u32) -> bool {
        let part = self.partitions.get((partition >> self.shards_log2) as usize);
        part.and_then(|part| part.episodes.get(&slot)).is_some_and(|episode| episode.number == number)
    }
}

impl<M: Meter> Partition<M> {
    /// Notes what the partition knows beside its keys, before the first change of any of it.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_save(&mut self) {
        if !matches!(self.saving, Saving::Untouched) {
            return;
        }
        let mut pending = Pending::new(self.slots.len());
        let mut put = Put(&mut pending.head);
        put.len(self.slots.len());
        put.len(self.index.len());
        put.u32(self.hand);
        put.u64(self.episodes_opened);
        let mut other: Vec<(u32, u32)> = self.other.iter().map(|(customer, slot)| (*customer, *slot)).collect();
        other.sort_unstable();
        put.len(other.len());
        for (customer, slot) in other {
            put.u32(customer);
            put.u32(slot);
        }
        let mut timers: Vec<(u32, Timers)> = self.timers.iter().map(|(slot, timers)| (*slot, *timers)).collect();
        timers.sort_unstable_by_key(|(slot, _)| *slot);
        put.len(timers.len());
        for (slot, timers) in timers {
            put.u32(slot);
            timers.put(&mut put);
        }
        put.len(self.vacant.len());
        self.vacant.iter().for_each(|slot| put.u32(*slot));
        for slot in &self.vacant {
            // It holds nothing.
            pending.take(*slot);
        }
        self.saving = Saving::Under(Box::new(pending));
    }

    /// Before a slot changes: what a save under way has not written yet is written now.
    #[inline]
    pub(super) fn keep(&mut self, slot: u32) {
        if matches!(self.saving, Saving::Under(_)) {
            self.keep_slot(slot);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_slot(&mut self, slot: u32) {
        if let Saving::Under(mut pending) = std::mem::take(&mut self.saving) {
            if pending.take(slot) {
                self.put_slot(slot, &mut pending.before_change());
            }
            self.saving = Saving::Under(pending);
        }
    }

    fn put_slot(&self, place: u32, out: &mut Put<'_>) {
        let Some(slot) = self.slots.get(place as usize) else { return };
        out.u32(place);
        slot.key.put(&self.keys, out);
        slot.meter.put(&self.pool, out);
        if slot.meter.head().is_open() {
            let episode = self.episodes.get(&place);
            out.u64(episode.map_or(0, |e| e.number));
            out.option(episode.and_then(|e| e.clearing.since));
            out.option(episode.and_then(|e| e.clearing.closed_at));
            out.option(episode.and_then(|e| e.clearing.not_before));
            out.i64(episode.map_or(0, |e| e.reminded));
        }
    }

    fn save_some(&mut self, (counter, global): (u16, u8), out: &mut Frames<'_>) -> bool {
        self.begin_save();
        let mut pending = match std::mem::take(&mut self.saving) {
            Saving::Under(pending) => pending,
            other => {
                self.saving = other;
                return true;
            }
        };
        let id = |put: &mut Put<'_>| {
            put.u16(counter);
            put.u8(global);
        };
        if !pending.head.is_empty() {
            let head = std::mem::take(&mut pending.head);
            out.frame(Kind::Partition, |put, _| {
                id(put);
                put.0.extend_from_slice(&head);
            });
        }
        while let Some(changed) = pending.take_changed() {
            out.frame(Kind::Keys, |put, _| {
                id(put);
                put.0.extend_from_slice(&changed);
            });
            if out.is_full() {
                self.saving = Saving::Under(pending);
                return false;
            }
        }
        let done = out.frame(Kind::Keys, |put, limit| {
            id(put);
            // One at the least, or it might never end.
            loop {
                let Some(slot) = pending.next() else { return true };
                self.put_slot(slot, put);
                if put.0.len() >= limit {
                    return false;
                }
            }
        });
        self.saving = if done { Saving::Written } else { Saving::Under(pending) };
        done
    }

    fn take_slots(&mut self, terms: &Terms, from: &mut Take<'_>) -> Result<(), Malformed> {
        let coming = self.coming.as_mut().ok_or(Malformed)?;
        // What rows reserve beyond their items was bounded when they were written, by a limit that may have changed.
        let slack = terms.bytes_max.saturating_mul(2).min(SAVED_SLACK_BYTES_MAX);
        while !from.is_empty() {
            let place = from.u32()?;
            let (key, kept) = Key::take(from, &mut self.keys)?;
            self.key_bytes += kept;
            let room = slack.saturating_sub(self.pool.bytes());
            let mut meter = M::take(from, &mut self.pool, &terms.width, room)?;
            if let Some(weeks) = &terms.usual {
                meter.set_week(weeks.of(&KeptKey::new(key, &self.keys, other_customer(&self.other, place))));
            }
            if meter.head().is_open() {
                let number = from.u64()?;
                let clearing =
                    Clearing { since: from.option()?, closed_at: from.option()?, not_before: from.option()? };
                self.episodes.insert(place, Episode { number, clearing, closes_at: None, reminded: from.i64()? });
            }
            coming.slots.push((place, Slot { key, meter }));
        }
        Ok(())
    }

    /// Puts the keys in their places once all of them are there.
    fn settle(&mut self, global: u8, hasher: &KeyHasher) -> Result<(), Malformed> {
        let done = |coming: &mut Box<Coming<M>>| coming.slots.len() >= coming.n - coming.vacant.len();
        match self.coming.take_if(done) {
            Some(coming) => self.fill(*coming, global, hasher),
            None => Ok(()),
        }
    }

    fn fill(&mut self, coming: Coming<M>, global: u8, hasher: &KeyHasher) -> Result<(), Malformed> {
        let Coming { n, vacant, index_len, mut slots } = coming;
        require(slots.len() + vacant.len() == n)?;
        let is_in_order = vacant.is_empty() && slots.iter().enumerate().all(|(i, (place, _))| i == *place as usize);
        if !is_in_order {
            slots.extend(vacant.iter().map(|place| (*place, Slot { key: Key::VACANT, meter: M::empty(0) })));
            slots.sort_unstable_by_key(|(place, _)| *place);
            require(slots.iter().enumerate().all(|(i, (place, _))| i == *place as usize))?;
        }
        self.slots = Vec::with_capacity(n);
        self.slots.extend(slots.into_iter().map(|(_, slot)| slot));
        self.vacant = vacant;
        let is_other = |slot: &u32| self.slots.get(*slot as usize).is_some_and(|slot| slot.key == Key::OTHER);
        let n_other = self.slots.iter().filter(|slot| slot.key == Key::OTHER).count();
        require(self.other.len() == n_other && self.other.values().all(is_other))?;
        let n_indexed = (n - self.vacant.len()).checked_sub(n_other).ok_or(Malformed)?;
        // One place stays free, or a search would not end; and no larger than so many keys ever made it.
        let is_sized =
            index_len.is_power_of_two() && index_len > n_indexed && index_len <= (4 * (n + 1)).max(INDEX_MIN);
        require(is_sized || index_len == 0 && n_indexed == 0)?;
        self.index = vec![0; index_len];
        for place in 0..n as u32 {
            let Some(slot) = self.slots.get(place as usize) else { continue };
            if slot.key == Key::OTHER || slot.key == Key::VACANT {
                continue;
            }
            let hash = hasher.hash_kept(slot.key, &self.keys);
            require(partition_of(hash) == u32::from(global))?;
            self.index_place(u64::from(hash as u32) << 32 | u64::from(place + 1));
        }
        Ok(())
    }
}

impl Timers {
    fn put(&self, out: &mut Put<'_>) {
        self.since.iter().for_each(|since| out.option(*since));
        out.option(self.seen);
        out.option(self.ended);
        let [warning, critical] = self.breaks.map(u8::from);
        out.u8(warning | critical << 1 | u8::from(self.is_muted) << 2);
    }

    fn take(from: &mut Take<'_>) -> Result<Timers, Malformed> {
        let (since, seen) = ([from.option()?, from.option()?], from.option()?);
        let (ended, bits) = (from.option()?, from.u8()?);
        require(bits < 8)?;
        Ok(Timers { since, seen, ended, breaks: [bits & 1 != 0, bits & 2 != 0], is_muted: bits & 4 != 0 })
    }
}
