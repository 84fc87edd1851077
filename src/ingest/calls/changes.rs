//! What a block changes in the call table, and the annex that says so: each call and each request as it is after the
//! block, once, and which of them are gone.
//!
//! Each part of the table counts what changes, under its lock. An annex says how far its parts had counted, so that of two
//! accounts of one call the later is known, in whatever order they are read: feeds may tell of one call at once.

use super::bytes::put_number;
use super::{CallTable, Key, Part};

/// Of the annex, and of nothing else.
pub(super) const ANNEX_VERSION: u8 = 1;

/// What an entry of the annex is of and what it says. One that says neither state nor place is of what is gone; the
/// entries of a part end with a zero.
pub(super) const ENTRY: u8 = 1;
pub(super) const REQUEST: u8 = 1 << 1;
pub(super) const STATE: u8 = 1 << 2;
/// Its place in the order in which calls are looked at.
pub(super) const PLACE: u8 = 1 << 3;

/// Memory that is kept for the next block. More is changed only when many calls end at once.
const KEPT_MAX: usize = 16 * 1024;

/// Collects what one block changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    is_wanted: bool,
    part: u8,
    list: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    key: Key,
    /// How far the part had counted when it went to the end of the order; 0: it stays where it is.
    place: u64,
    part: u8,
    is_request: bool,
    has_state: bool,
}

/// Writes down what changes in one part, which counts it.
#[derive(Debug)]
pub(super) struct Pen<'a> {
    pub(super) changes: &'a mut Changes,
    pub(super) n_changes: &'a mut u64,
}

impl Changes {
    /// Whatever is told from here on is of this part.
    pub(super) fn enter(&mut self, part: usize) {
        self.part = part as u8;
    }

    /// A call was changed, made or removed.
    pub(super) fn call(&mut self, key: Key) {
        self.add(key, 0, false, true);
    }

    /// A call stands last in the order of its part, which had counted so far.
    pub(super) fn call_moved(&mut self, key: Key, place: u64) {
        self.add(key, place, false, false);
    }

    fn add(&mut self, key: Key, place: u64, is_request: bool, has_state: bool) {
        if self.is_wanted {
            self.list.push(Change { key, place, part: self.part, is_request, has_state });
        }
    }
}

impl Pen<'_> {
    pub(super) fn request(&mut self, key: Key) {
        self.changes.add(key, 0, true, true);
    }

    pub(super) fn request_moved(&mut self, key: Key) {
        *self.n_changes += 1;
        self.changes.add(key, *self.n_changes, true, false);
    }
}

impl CallTable {
    /// Has `changes` collect what the next block changes, if that is wanted.
    pub(crate) fn begin_block(&self, changes: &mut Changes) {
        changes.is_wanted = self.has_annex;
        changes.list.clear();
        changes.list.shrink_to(KEPT_MAX);
    }

    /// Writes what the block has changed, as it is now. Nothing where nothing was.
    pub(crate) fn write_annex(&self, changes: &mut Changes, annex: &mut Vec<u8>) {
        let list = &mut changes.list;
        if list.is_empty() {
            return;
        }
        list.sort_unstable_by_key(|change| (change.part, change.is_request, change.key));
        annex.push(ANNEX_VERSION);
        for of_part in list.chunk_by(|a, b| a.part == b.part) {
            let Some((part, first)) =
                of_part.first().and_then(|first| Some((self.parts.get(usize::from(first.part))?, first)))
            else {
                continue;
            };
            let part = &mut *part.lock().unwrap_or_else(|e| e.into_inner());
            part.n_changes += 1;
            annex.push(first.part);
            put_number(annex, part.n_changes);
            for of_one in of_part.chunk_by(|a, b| (a.is_request, a.key) == (b.is_request, b.key)) {
                let has_state = of_one.iter().any(|change| change.has_state);
                let place = of_one.iter().map(|change| change.place).max().unwrap_or_default();
                if let Some(change) = of_one.first() {
                    part.note(&Change { has_state, place, ..*change }, annex);
                }
            }
            annex.push(0);
        }
        list.clear();
    }
}

impl Part {
    fn note(&mut self, change: &Change, annex: &mut Vec<u8>) {
        let Change { key, place, is_request, has_state, .. } = *change;
        let call = if is_request { None } else { self.find(key) };
        let is_here = call.is_some() || is_request && self.requests.has(&key);
        let says = |says: bool, bit: u8| if is_here && says { bit } else { 0 };
        let tag = says(has_state, STATE) | says(place > 0, PLACE);
        annex.push(ENTRY | tag | if is_request { REQUEST } else { 0 });
        if tag & PLACE != 0 {
            put_number(annex, self.n_changes.saturating_sub(place));
        }
        if tag & STATE == 0 {
            annex.extend_from_slice(&key.to_le_bytes());
            return;
        }
        let Part { calls, requests, words, .. } = self;
        match call.and_then(|slot| calls.get_mut(slot as usize)?.as_mut()) {
            Some(call) => call.note(words, annex),
            None => requests.write(&key, words, annex),
        }
    }
}
