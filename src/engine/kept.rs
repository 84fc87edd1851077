//! A map that can be written row by row while it goes on changing. The order of its entries means nothing.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::pending::Pending;
use super::saved::frames::{Frames, Kind};
use crate::codec::{Put, Written};

/// See the module. Entries stand in one row; what finds them names their place alone.
#[derive(Debug)]
pub(crate) struct Kept<K, V> {
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    rows: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    saving: Option<Box<Pending>>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Kept<K, V> {
        Kept {
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            rows: Vec::new(),
            free: Vec::new(),
            saving: None,
        }
    }
}

impl<K: Eq + Hash + Written, V: Written> Kept<K, V> {
    fn place(&self, key: &K) -> Option<u32> {
        let is_it = |row: &u32| matches!(self.rows.get(*row as usize), Some(Some((k, _))) if k == key);
        self.index.find(self.hasher.hash_one(key), is_it).copied()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(self.place(key)? as usize)?.as_ref().map(|(_, value)| value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    /// The value, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let row = self.place(key)?;
        self.keep(row);
        self.rows.get_mut(row as usize)?.as_mut().map(|(_, value)| value)
    }

    /// Before a row changes: what a save under way has not written yet is written now.
    fn keep(&mut self, row: u32) {
        if let Some(pending) = &mut self.saving
            && pending.take(row)
            && let Some(Some(entry)) = self.rows.get(row as usize)
        {
            put_entry(entry, &mut pending.before_change());
        }
    }

    /// Adds an entry; one that is there already stays as it is.
    pub(crate) fn add(&mut self, key: K, value: V) {
        if !self.contains_key(&key) {
            self.insert(key, value);
        }
    }

    fn insert(&mut self, key: K, value: V) -> u32 {
        let hash = self.hasher.hash_one(&key);
        let row = match self.free.pop() {
            Some(row) => {
                // It held nothing when the save began, or was written when it was freed.
                self.keep(row);
                row
            }
            None => {
                self.rows.push(None);
                (self.rows.len() - 1) as u32
            }
        };
        if let Some(place) = self.rows.get_mut(row as usize) {
            *place = Some((key, value));
        }
        let Kept { index, hasher, rows, .. } = self;
        let rehash = |row: &u32| match rows.get(*row as usize) {
            Some(Some((key, _))) => hasher.hash_one(key),
            _ => 0,
        };
        index.insert_unique(hash, row, rehash);
        row
    }

    /// Changes the value; a blank one where there was none.
    pub(crate) fn change(&mut self, key: K, change: impl FnOnce(&mut V))
    where
        V: Default,
    {
        let row = match self.place(&key) {
            Some(row) => row,
            None => self.insert(key, V::default()),
        };
        self.keep(row);
        if let Some(Some((_, value))) = self.rows.get_mut(row as usize) {
            change(value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.place(key)?;
        self.keep(row);
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.index.find_entry(hash, |at| *at == row) {
            found.remove();
        }
        self.free.push(row);
        self.rows.get_mut(row as usize)?.take().map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().flatten().map(|(key, value)| (key, value))
    }

    /// From here on, entries are written as they are now.
    pub(crate) fn mark(&mut self) {
        self.saving = Some(Box::new(Pending::new(self.rows.len())));
    }

    /// Ends a save, complete or not.
    pub(crate) fn forget_save(&mut self) {
        self.saving = None;
    }

    /// Writes a piece; true when there is no more. `id` is what tells this map from others.
    pub(crate) fn save_some(&mut self, kind: Kind, id: &[u8], out: &mut Frames<'_>) -> bool {
        let Kept { rows, saving, .. } = self;
        let Some(pending) = saving else { return true };
        while let Some(changed) = pending.take_changed() {
            out.frame(kind, |put, _| {
                put.0.extend_from_slice(id);
                put.0.extend_from_slice(&changed);
            });
            if out.is_full() {
                return false;
            }
        }
        let done = out.frame(kind, |put, limit| {
            put.0.extend_from_slice(id);
            // One at the least, or it might never end.
            loop {
                let Some(row) = pending.next() else { return true };
                if let Some(Some(entry)) = rows.get(row as usize) {
                    put_entry(entry, put);
                }
                if put.0.len() >= limit {
                    return false;
                }
            }
        });
        if done {
            *saving = None;
        }
        done
    }
}

fn put_entry<K: Written, V: Written>((key, value): &(K, V), out: &mut Put<'_>) {
    key.put(out);
    value.put(out);
}
