//! `count`: the newest N timestamps of a key, N the strictest level.

use std::collections::VecDeque;

use super::{Head, Meter, Reading, Slab, Width, full, low, put_row, take_row};
use crate::codec::{Malformed, Put, Take, require};

/// Up to three timestamps in the slot itself, more in the pool.
///
/// The newest item is always the clock, since every counted event moves it or is late; so the slot form stores
/// the two before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    head: Head,
    /// Slot form: low bits of the two items before the newest. Spilled: id in the pool, and nothing.
    rest: [u32; 2],
}

/// Of the meter's own bits: the items the slot holds, or that they are in the pool.
const SPILLED: u32 = 4;

fn ring_bytes(capacity: usize) -> usize {
    size_of::<VecDeque<u32>>() + 4 * capacity
}

impl Count {
    /// Slot form only. The newest is the clock: an event either moves it or is late.
    fn inline(&self) -> ([u32; 3], usize) {
        let n = if self.spilled().is_some() { 0 } else { self.head.own() as usize };
        let newest = low(self.head.clock());
        match n {
            0 => ([0; 3], 0),
            1 => ([newest, 0, 0], 1),
            2 => ([self.rest[0], newest, 0], 2),
            _ => ([self.rest[0], self.rest[1], newest], 3),
        }
    }

    fn spilled(&self) -> Option<u32> {
        (self.head.own() == SPILLED).then_some(self.rest[0])
    }

    fn set_inline(&mut self, items: &[u32]) {
        self.head.set_own(items.len() as u32);
        self.rest = [items.first().copied().unwrap_or(0), items.get(1).copied().unwrap_or(0)];
    }
}

impl Meter for Count {
    type Pool = Slab<VecDeque<u32>>;

    fn empty(at: i64) -> Count {
        Count { head: Head::new(at), rest: [0; 2] }
    }

    fn head(&self) -> Head {
        self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn touch(&self, pool: &Self::Pool) -> u64 {
        self.spilled().map_or(0, |id| pool.get(id).len() as u64)
    }

    fn touch_items(&self, pool: &Self::Pool) -> u64 {
        let Some(id) = self.spilled() else { return 0 };
        let ring = pool.get(id);
        ring.front().map_or(0, |t| u64::from(*t)) ^ ring.back().map_or(0, |t| u64::from(*t))
    }

    fn is_empty(&self, _pool: &Self::Pool) -> bool {
        self.head.own() == 0
    }

    fn oldest_before(&self, pool: &Self::Pool, edge: i64) -> Option<i64> {
        let clock = self.head.clock();
        let oldest = match self.spilled() {
            Some(id) => *pool.get(id).front()?,
            None if self.head.own() == 0 => return None,
            None => self.inline().0[0],
        };
        Some(full(clock, oldest)).filter(|at| *at < edge)
    }

    fn expire(&mut self, pool: &mut Self::Pool, edge: i64) {
        let clock = self.head.clock();
        if let Some(id) = self.spilled() {
            let ring = pool.get_mut(id);
            while ring.front().is_some_and(|t| full(clock, *t) <= edge) {
                ring.pop_front();
            }
            if ring.is_empty() {
                self.release(pool);
            }
            return;
        }
        let (items, n) = self.inline();
        let gone = items[..n].iter().take_while(|t| full(clock, **t) <= edge).count();
        if gone > 0 {
            // What stays still ends with the clock, or nothing stays.
            self.set_inline(&items[gone..n]);
        }
    }

    fn insert(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, _value: u64) {
        let (items, n) = self.inline();
        self.head.advance(at);
        let clock = self.head.clock();
        let enough = usize::try_from(width.enough).unwrap_or(usize::MAX).max(1);
        let ring = match self.spilled() {
            Some(id) => pool.get_mut(id),
            None => {
                if n < 3.min(enough) || enough <= 3 {
                    let mut all = [0u32; 4];
                    all[..n].copy_from_slice(&items[..n]);
                    let place = items[..n].iter().take_while(|t| full(clock, **t) <= at).count();
                    all.copy_within(place..n, place + 1);
                    all[place] = low(at);
                    let surplus = (n + 1).saturating_sub(enough);
                    self.set_inline(&all[surplus..n + 1]);
                    return;
                }
                let id = pool.add(VecDeque::with_capacity(8));
                pool.bytes += ring_bytes(8);
                self.head.set_own(SPILLED);
                self.rest = [id, 0];
                let ring = pool.get_mut(id);
                ring.extend(items);
                ring
            }
        };
        let had = ring.capacity();
        let mut place = super::place(ring, at, |t| full(clock, *t));
        if ring.len() >= enough {
            if place == 0 {
                return;
            }
            ring.pop_front();
            place -= 1;
        }
        if place == ring.len() {
            ring.push_back(low(at));
        } else {
            ring.insert(place, low(at));
        }
        if ring.capacity() != had {
            let grown = 4 * (ring.capacity() - had);
            pool.bytes += grown;
        }
    }

    fn reading(&self, pool: &Self::Pool, _width: &Width) -> Reading {
        let n = match self.spilled() {
            Some(id) => pool.get(id).len() as u64,
            None => u64::from(self.head.own()),
        };
        Reading::whole(n)
    }

    fn release(&mut self, pool: &mut Self::Pool) {
        if let Some(id) = self.spilled() {
            pool.bytes -= ring_bytes(pool.remove(id).capacity());
        }
        self.set_inline(&[]);
    }

    fn shrink(&mut self, pool: &mut Self::Pool) {
        if let Some(id) = self.spilled() {
            let ring = pool.get_mut(id);
            let had = ring_bytes(ring.capacity());
            ring.shrink_to_fit();
            let has = ring_bytes(ring.capacity());
            pool.bytes -= had - has;
        }
    }

    fn copy(&self, pool: &Self::Pool, other: &mut Self::Pool) -> Count {
        let mut copy = *self;
        if let Some(id) = self.spilled() {
            let ring = pool.get(id).clone();
            other.bytes += ring_bytes(ring.capacity());
            copy.rest[0] = other.add(ring);
        }
        copy
    }

    fn put(&self, pool: &Self::Pool, out: &mut Put<'_>) {
        self.head.put(out);
        match self.spilled() {
            None => self.rest.iter().take((self.head.own() as usize).saturating_sub(1)).for_each(|at| out.u32(*at)),
            Some(id) => {
                let ring = pool.get(id);
                put_row(out, ring.len(), ring.capacity());
                ring.iter().for_each(|at| out.u32(*at));
            }
        }
    }

    fn take(from: &mut Take<'_>, pool: &mut Self::Pool, _width: &Width, room: usize) -> Result<Count, Malformed> {
        let mut count = Count { head: Head::take(from, SPILLED)?, rest: [0; 2] };
        if count.head.own() != SPILLED {
            for at in count.rest.iter_mut().take((count.head.own() as usize).saturating_sub(1)) {
                *at = from.u32()?;
            }
            return Ok(count);
        }
        let (n, capacity) = take_row(from, 4, 4, room)?;
        require(n > 0)?;
        let mut ring = VecDeque::with_capacity(capacity);
        for _ in 0..n {
            ring.push_back(from.u32()?);
        }
        pool.bytes += ring_bytes(ring.capacity());
        count.rest[0] = pool.add(ring);
        Ok(count)
    }
}
