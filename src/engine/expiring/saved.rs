//! Writing a map part by part while it goes on changing, and reading it again: with the order in which entries go and
//! places are used again, since both are part of what it will do.

use hashbrown::HashTable;

use super::{Entry, Expiring, PARTS, Part, Spread, place};
use crate::codec::{Malformed, Put, Take, Written, require};
use crate::engine::pending::{Pending, Saving};
use crate::engine::saved::frames::{Frames, Kind};

/// Rows of a part that is being read, until all of them are there.
#[derive(Debug)]
pub(super) struct Coming<K, V> {
    n: usize,
    free: Vec<u32>,
    order: Vec<u32>,
    rows: Vec<(u32, Entry<K, V>)>,
}

impl<K: Eq + Copy + Default + Spread + Written, V: Default + Written> Expiring<K, V> {
    /// From here on, entries are written as they are now.
    pub(crate) fn mark(&mut self) {
        self.forget_save();
        self.is_saving = true;
    }

    /// Ends a save, complete or not.
    pub(crate) fn forget_save(&mut self) {
        self.is_saving = false;
        self.parts.iter_mut().for_each(|part| part.saving = Saving::Untouched);
    }

    /// Writes a piece; true when there is no more. `id` is what tells this map from others.
    pub(crate) fn save_some(&mut self, id: &[u8], out: &mut Frames<'_>) -> bool {
        if self.is_saving {
            for (number, part) in self.parts.iter_mut().enumerate() {
                let head = |put: &mut Put<'_>| {
                    put.0.extend_from_slice(id);
                    put.u8(number as u8);
                };
                if out.is_full() || !part.save_some(&head, out) {
                    return false;
                }
            }
            self.forget_save();
        }
        true
    }

    /// What [`Part::begin_save`] wrote of a part.
    pub(crate) fn restore_part(&mut self, from: &mut Take<'_>) -> Result<(), Malformed> {
        let part = self.part_of(from)?;
        require(part.entries.is_empty() && part.coming.is_none())?;
        let n = from.u32()? as usize;
        let (free, order) = (from.u32s()?, from.u32s()?);
        from.end()?;
        require(free.len() <= n && order.len() == n - free.len())?;
        part.coming = Some(Box::new(Coming { n, free, order, rows: Vec::new() }));
        self.settle()
    }

    fn part_of(&mut self, from: &mut Take<'_>) -> Result<&mut Part<K, V>, Malformed> {
        self.restoring = from.u8()?;
        self.parts.get_mut(usize::from(self.restoring)).ok_or(Malformed)
    }

    /// Entries of a part, each read by `key` and `value`.
    pub(crate) fn restore_entries(
        &mut self,
        from: &mut Take<'_>,
        key: impl Fn(&mut Take<'_>) -> Result<K, Malformed>,
        mut value: impl FnMut(&mut Take<'_>) -> Result<V, Malformed>,
    ) -> Result<(), Malformed> {
        let part = self.part_of(from)?;
        if from.is_empty() {
            return Ok(());
        }
        let coming = part.coming.as_mut().ok_or(Malformed)?;
        while !from.is_empty() {
            let (row, key, ends) = (from.u32()?, key(from)?, from.i64()?);
            coming.rows.push((row, Entry { key, ends, value: value(from)? }));
        }
        self.settle()
    }

    /// Puts the rows of the part in their places once all of them are there.
    fn settle(&mut self) -> Result<(), Malformed> {
        let number = self.restoring;
        let Some(part) = self.parts.get_mut(usize::from(number)) else { return Err(Malformed) };
        let Some(coming) = part.coming.take_if(|coming| coming.rows.len() >= coming.n - coming.free.len()) else {
            return Ok(());
        };
        let is_own = |key: &K| key.spread() as usize % PARTS == usize::from(number);
        require(coming.rows.iter().all(|(_, entry)| is_own(&entry.key)))?;
        self.n += coming.rows.len();
        part.fill(*coming)
    }

    /// Of all entries, ended ones included, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts
            .iter()
            .flat_map(|part| part.index.iter().filter_map(|row| part.entries.get(*row as usize)))
            .map(|entry| &entry.value)
    }

    /// Has every part that was begun been read to its end?
    pub(crate) fn is_restored(&self) -> bool {
        self.parts.iter().all(|part| part.coming.is_none())
    }
}

impl<K: Eq + Copy + Default + Spread + Written, V: Default + Written> Part<K, V> {
    /// Notes what the part knows beside its entries, before the first change of any of it.
    #[cold]
    pub(super) fn begin_save(&mut self) {
        if !matches!(self.saving, Saving::Untouched) {
            return;
        }
        let mut pending = Pending::new(self.entries.len());
        let mut put = Put(&mut pending.head);
        put.len(self.entries.len());
        put.len(self.free.len());
        self.free.iter().for_each(|row| put.u32(*row));
        put.len(self.order.len());
        self.order.iter().for_each(|row| put.u32(*row));
        for row in &self.free {
            // It holds nothing.
            pending.take(*row);
        }
        self.saving = Saving::Under(Box::new(pending));
    }

    /// Before a row changes: what a save under way has not written yet is written now.
    #[inline]
    pub(super) fn keep(&mut self, row: u32) {
        let Part { saving, entries, .. } = self;
        if let Saving::Under(pending) = saving
            && pending.take(row)
        {
            put_entry(entries, row, &mut pending.before_change());
        }
    }

    fn save_some(&mut self, id: &impl Fn(&mut Put<'_>), out: &mut Frames<'_>) -> bool {
        self.begin_save();
        let Part { saving, entries, .. } = self;
        let Saving::Under(pending) = saving else { return true };
        if !pending.head.is_empty() {
            let head = std::mem::take(&mut pending.head);
            out.frame(Kind::Part, |put, _| {
                id(put);
                put.0.extend_from_slice(&head);
            });
        }
        while let Some(changed) = pending.take_changed() {
            out.frame(Kind::Entries, |put, _| {
                id(put);
                put.0.extend_from_slice(&changed);
            });
            if out.is_full() {
                return false;
            }
        }
        let done = out.frame(Kind::Entries, |put, limit| {
            id(put);
            // One at the least, or it might never end.
            loop {
                let Some(row) = pending.next() else { return true };
                put_entry(entries, row, put);
                if put.0.len() >= limit {
                    return false;
                }
            }
        });
        if done {
            *saving = Saving::Written;
        }
        done
    }

    fn fill(&mut self, coming: Coming<K, V>) -> Result<(), Malformed> {
        let Coming { n, free, order, rows } = coming;
        require(rows.len() + free.len() == n)?;
        let mut seen = vec![false; n];
        let mut once = |row: u32| {
            let place = seen.get_mut(row as usize).ok_or(Malformed)?;
            require(!std::mem::replace(place, true))
        };
        rows.iter().try_for_each(|(row, _)| once(*row))?;
        free.iter().try_for_each(|row| once(*row))?;
        let mut left = vec![false; n];
        free.iter().filter_map(|row| left.get_mut(*row as usize).map(|left| *left = true)).count();
        for row in &order {
            let place = left.get_mut(*row as usize).ok_or(Malformed)?;
            require(!std::mem::replace(place, true))?;
        }
        let blank = || Entry { key: K::default(), ends: 0, value: V::default() };
        self.entries = std::iter::repeat_with(blank).take(n).collect();
        self.index = HashTable::with_capacity(rows.len());
        for (row, entry) in rows {
            let hash = place(&entry.key);
            self.index.insert_unique(hash, row, |_| hash);
            if let Some(place) = self.entries.get_mut(row as usize) {
                *place = entry;
            }
        }
        self.free = free;
        self.order = order.into();
        Ok(())
    }
}

fn put_entry<K: Written, V: Written>(entries: &[Entry<K, V>], row: u32, out: &mut Put<'_>) {
    let Some(entry) = entries.get(row as usize) else { return };
    out.u32(row);
    entry.key.put(out);
    out.i64(entry.ends);
    entry.value.put(out);
}
