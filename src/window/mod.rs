//! Sliding windows over event time: what one key of one threshold rule remembers, and how little of it suffices.
//!
//! A [`Meter`] holds the items of the window `(clock - width, clock]` of one key, where `clock` is the newest event
//! time the key has counted. An item that is exactly one width old is out; an event in between (a late one) is
//! inserted in its sorted place. Meters that are held against upward levels keep only what can still decide: the
//! newest N timestamps for a count of N, the newest values whose sum reaches the level, and so on.
//!
//! Pure state: no clock, no randomness, the same calls give the same result. Small keys live inside the table's
//! slot; what grows past that is kept in the partition's [`Meter::Pool`].

use std::collections::VecDeque;
use std::sync::Arc;

mod count;
mod distinct;
mod joint;
mod ratio;
mod run;
mod seen;
mod sum;

pub(crate) use count::Count;
pub(crate) use distinct::{Concurrent, Distinct};
pub(crate) use joint::{Joint, PartKind, PartWidth};
pub(crate) use ratio::Ratio;
pub(crate) use run::Run;
pub(crate) use sum::Sum;

use crate::codec::{Malformed, Put, Take, require};

/// What the meters of one rule have in common: its window, and how much is worth keeping.
#[derive(Clone, Debug)]
pub(crate) struct Width {
    /// Window in ms.
    pub(crate) window_ms: i64,
    /// Items, or units of the sum, beyond which nothing can change a decision.
    pub(crate) enough: u64,
    /// `run`: largest step between neighbours.
    pub(crate) step: u64,
    /// Of a rule with several measures.
    pub(crate) parts: Option<Arc<[PartWidth]>>,
}

impl Width {
    /// How far back an event still counts, or is remembered, ms.
    pub(crate) fn reach_ms(&self) -> i64 {
        let remembered = self.parts.iter().flat_map(|parts| parts.iter()).map(|part| match part.kind {
            PartKind::FirstSeen(memory_ms) => memory_ms,
            _ => 0,
        });
        remembered.fold(self.window_ms, i64::max)
    }
}

/// A value that is not there, for [`Meter::insert`].
pub(crate) const NOTHING: u64 = u64::MAX;

/// What a meter shows: `top / bottom`; `bottom` is 1 but for averages and shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) top: u64,
    pub(crate) bottom: u64,
    /// Items in the window, for `min_count`.
    pub(crate) items: u64,
    /// False where there is nothing to divide by.
    pub(crate) known: bool,
    /// What else the rule asks for holds.
    pub(crate) joined: bool,
    /// What is usual of the key in that hour of the week, in thousandths, where levels are held against it.
    pub(crate) usual: Option<u64>,
}

impl Reading {
    pub(crate) fn whole(value: u64) -> Reading {
        Reading { top: value, bottom: 1, items: value, known: true, joined: true, usual: None }
    }
}

/// The window of one key.
///
/// Times are milliseconds; `clock` is that of [`Meter::head`]. The caller expires what has left before it inserts a
/// newer item, so that every item stays within one width of the clock and 32 bits tell its time.
pub(crate) trait Meter: Sized + std::fmt::Debug {
    /// Shared storage of a partition for what does not fit into the slot.
    type Pool: Pool;

    /// A key that has counted nothing; its clock is `at`.
    fn empty(at: i64) -> Self;
    fn head(&self) -> Head;
    fn head_mut(&mut self) -> &mut Head;
    fn is_empty(&self, pool: &Self::Pool) -> bool;
    /// Time of the item that leaves next, if it is older than `edge`.
    fn oldest_before(&self, pool: &Self::Pool, edge: i64) -> Option<i64>;
    /// Drops the items of `edge` and before.
    fn expire(&mut self, pool: &mut Self::Pool, edge: i64);
    /// Takes an item of time `at`, moving the clock to it if it is newer. An older one is inside the window.
    /// [`NOTHING`] counts for `min_count` only.
    fn insert(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, value: u64);
    fn reading(&self, pool: &Self::Pool, width: &Width) -> Reading;
    /// Takes an item of every measure of the key, eight bytes each.
    fn insert_all(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, values: &[u8]) {
        let value = values.first_chunk::<8>().map_or(NOTHING, |word| u64::from_le_bytes(*word));
        self.insert(pool, width, at, value);
    }
    /// An item of every measure that is too old for the window: what tells new values from old ones remembers it.
    fn remember(&mut self, _pool: &mut Self::Pool, _width: &Width, _at: i64, _values: &[u8]) {}
    /// What the measure of that number shows.
    fn reading_of(&self, pool: &Self::Pool, width: &Width, _part: usize) -> Reading {
        self.reading(pool, width)
    }
    /// Is the value among the items (a call that is up)?
    fn holds(&self, _pool: &Self::Pool, _value: u64) -> bool {
        false
    }
    /// Reads a word of what the pool holds for this key, so that a later look finds it in the caches: first of its
    /// header, then of its items.
    fn touch(&self, _pool: &Self::Pool) -> u64 {
        0
    }
    fn touch_items(&self, _pool: &Self::Pool) -> u64 {
        0
    }
    /// Takes back a value before its time (a call that ended).
    fn remove(&mut self, _pool: &mut Self::Pool, _value: u64) {}
    /// Where what is usual of the key stands, see [`crate::policy::Usual`]: only meters of rules that ask for it keep it, and
    /// none writes it.
    fn week(&self) -> Option<u32> {
        None
    }
    fn set_week(&mut self, _week: Option<u32>) {}
    /// Frees what the pool holds for this key.
    fn release(&mut self, pool: &mut Self::Pool);
    /// Gives back the room that its items do not need.
    fn shrink(&mut self, pool: &mut Self::Pool);
    /// A copy that lives in another pool.
    fn copy(&self, pool: &Self::Pool, other: &mut Self::Pool) -> Self;
    /// Writes all that decides what it will do, for [`Meter::take`].
    fn put(&self, pool: &Self::Pool, out: &mut Put<'_>);
    /// Reads what [`Meter::put`] wrote, perhaps damaged. `room`: bytes that rows may reserve beyond their items.
    fn take(from: &mut Take<'_>, pool: &mut Self::Pool, width: &Width, room: usize) -> Result<Self, Malformed>;
}

/// Writes how many items a row has, and how many it has room for: that decides when it grows, and so what the pool
/// tells that it holds.
fn put_row(out: &mut Put<'_>, n: usize, capacity: usize) {
    out.len(capacity);
    out.len(n);
}

/// What [`put_row`] wrote: items, each of `written` bytes, and the capacity of their row. More than there is `room`
/// for, items held in `held` bytes, is not reserved.
fn take_row(from: &mut Take<'_>, written: usize, held: usize, room: usize) -> Result<(usize, usize), Malformed> {
    let capacity = from.u32()? as usize;
    let n = from.len(written)?;
    let fits = capacity.checked_mul(held).is_some_and(|bytes| bytes <= room);
    Ok((n, if fits { capacity.max(n) } else { n }))
}

/// Width of a pane, where there are some.
fn pane_ms(window_ms: i64) -> i64 {
    (window_ms / 256).max(1)
}

/// See [`Meter::Pool`].
pub(crate) trait Pool: Default + std::fmt::Debug {
    /// Bytes held for all keys of the partition, kept up to date by the meters.
    fn bytes(&self) -> usize;
}

/// The pool of meters that hold their items themselves: it only adds up.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    bytes: usize,
}

impl Pool for Heap {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<T: Default + std::fmt::Debug> Pool for Slab<T> {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A key's clock and state in 64 bits: 48 of signed milliseconds, 16 of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head(u64);

impl Head {
    const OPEN: u64 = 1 << 48;
    const CRITICAL: u64 = 1 << 49;
    /// The 14 bits above are the meter's own.
    const OWN_SHIFT: u32 = 50;
    /// Earliest and latest clock that fits: the years -2491 to 6429.
    pub(crate) const CLOCK_MIN: i64 = -(1 << 47);
    pub(crate) const CLOCK_MAX: i64 = (1 << 47) - 1;

    pub(crate) fn new(clock: i64) -> Head {
        Head(clock.clamp(Self::CLOCK_MIN, Self::CLOCK_MAX) as u64 & (Self::OPEN - 1))
    }

    fn put(self, out: &mut Put<'_>) {
        out.u64(self.0);
    }

    /// `own_max`: largest value of the meter's own bits.
    fn take(from: &mut Take<'_>, own_max: u32) -> Result<Head, Malformed> {
        let head = Head(from.u64()?);
        require(head.own() <= own_max && (head.is_open() || !head.is_critical()))?;
        Ok(head)
    }

    pub(crate) fn clock(self) -> i64 {
        ((self.0 << 16) as i64) >> 16
    }

    /// Moves the clock to `at`, unless it is there or beyond.
    pub(crate) fn advance(&mut self, at: i64) {
        if at > self.clock() {
            self.0 = self.0 & !(Self::OPEN - 1) | Head::new(at).0;
        }
    }

    pub(crate) fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    pub(crate) fn is_critical(self) -> bool {
        self.0 & Self::CRITICAL != 0
    }

    pub(crate) fn set_episode(&mut self, open: bool, critical: bool) {
        self.0 &= !(Self::OPEN | Self::CRITICAL);
        self.0 |= (u64::from(open) * Self::OPEN) | (u64::from(critical) * Self::CRITICAL);
    }

    pub(crate) fn own(self) -> u32 {
        (self.0 >> Self::OWN_SHIFT) as u32
    }

    pub(crate) fn set_own(&mut self, own: u32) {
        self.0 = self.0 & ((1 << Self::OWN_SHIFT) - 1) | u64::from(own) << Self::OWN_SHIFT;
    }
}

/// The low 32 bits of a time, which tell it apart within 49.7 days of the key's clock.
fn low(at: i64) -> u32 {
    at as u32
}

/// The time whose low bits these are, `clock` or before.
fn full(clock: i64, low_bits: u32) -> i64 {
    clock - i64::from(low(clock).wrapping_sub(low_bits))
}

/// Where an item of time `at` goes among items in order of time: behind those of its own time. Nearly always the end;
/// else halving finds it, since a gateway may send an hour once more.
fn place<T>(items: &VecDeque<T>, at: i64, time: impl Fn(&T) -> i64) -> usize {
    match items.back() {
        Some(last) if time(last) > at => items.partition_point(|item| time(item) <= at),
        _ => items.len(),
    }
}

/// Storage by small integer, with a free list.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
    /// What the items hold outside of themselves, and they themselves; see [`Pool::bytes`].
    bytes: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { items: Vec::new(), free: Vec::new(), bytes: 0 }
    }
}

impl<T: Default> Slab<T> {
    pub(crate) fn add(&mut self, item: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.items[id as usize] = item;
            return id;
        }
        self.items.push(item);
        (self.items.len() - 1) as u32
    }

    pub(crate) fn get(&self, id: u32) -> &T {
        &self.items[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        &mut self.items[id as usize]
    }

    pub(crate) fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        std::mem::take(&mut self.items[id as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_clocks_before_and_after_1970_beside_its_flags() {
        for clock in [0, 1, -1, 1_767_225_600_000, -62_167_219_200_000, Head::CLOCK_MAX, Head::CLOCK_MIN] {
            let mut head = Head::new(clock);
            head.set_own(0x2abc);
            head.set_episode(true, false);
            head.advance(clock);
            assert_eq!((head.clock(), head.own(), head.is_open(), head.is_critical()), (clock, 0x2abc, true, false));
        }
    }

    #[test]
    fn low_bits_tell_a_time_within_a_window_of_the_clock() {
        let clock = (5i64 << 32) + 7;
        for age in [0i64, 1, 7, 8, 49 * 86_400_000] {
            assert_eq!(full(clock, low(clock - age)), clock - age);
        }
    }
}
