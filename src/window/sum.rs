//! `sum(field)`: the newest values whose sum reaches the strictest level; zeros are not kept.

use std::collections::VecDeque;

use super::{Head, Meter, NOTHING, Reading, Slab, Width, full, low, pane_ms, put_row, take_row};
use crate::codec::{Malformed, Put, Take, require};
use crate::limits::EXACT_ITEMS_MAX;

/// One value in the slot itself, more in the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    head: Head,
    /// Sum of what is kept.
    total: u64,
    /// Of the single value: the low bits of its time. Spilled: id in the pool.
    at: u32,
}

const ONE: u32 = 1;
const SPILLED: u32 = 2;

/// Values of one key in order of time. Past [`EXACT_ITEMS_MAX`] they are gathered into panes of 1/256 of the window
/// on a grid from the epoch; a pane's time is its start, so that it leaves early rather than late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    items: VecDeque<(u32, [u32; 2])>,
    /// Width of a pane, 0 while exact.
    pane_ms: i64,
}

fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn whole(halves: [u32; 2]) -> u64 {
    u64::from(halves[0]) | u64::from(halves[1]) << 32
}

impl Values {
    fn bytes(&self) -> usize {
        size_of::<Values>() + self.items.capacity() * size_of::<(u32, [u32; 2])>()
    }

    fn insert(&mut self, clock: i64, at: i64, value: u64) {
        let at = if self.pane_ms > 0 { at.div_euclid(self.pane_ms) * self.pane_ms } else { at };
        let place = super::place(&self.items, at, |item| full(clock, item.0));
        if self.pane_ms > 0
            && let Some(last) = place.checked_sub(1).and_then(|i| self.items.get_mut(i))
            && full(clock, last.0) == at
        {
            last.1 = halves(whole(last.1).saturating_add(value));
            return;
        }
        self.items.insert(place, (low(at), halves(value)));
    }

    fn into_panes(self, clock: i64, window_ms: i64) -> Values {
        let mut panes = Values { items: VecDeque::new(), pane_ms: pane_ms(window_ms) };
        for (at, value) in self.items {
            panes.insert(clock, full(clock, at), whole(value));
        }
        panes
    }
}

impl Sum {
    /// Drops from the old end what the strictest level does not need.
    fn trim(&mut self, values: &mut Values, enough: u64) {
        while let Some((_, value)) = values.items.front() {
            let without = self.total - whole(*value);
            if without < enough {
                break;
            }
            self.total = without;
            values.items.pop_front();
        }
    }
}

impl Meter for Sum {
    type Pool = Slab<Values>;

    fn empty(at: i64) -> Sum {
        Sum { head: Head::new(at), total: 0, at: 0 }
    }

    fn head(&self) -> Head {
        self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn is_empty(&self, _pool: &Self::Pool) -> bool {
        self.head.own() == 0
    }

    fn oldest_before(&self, pool: &Self::Pool, edge: i64) -> Option<i64> {
        let clock = self.head.clock();
        let oldest = match self.head.own() {
            ONE => full(clock, self.at),
            SPILLED => full(clock, pool.get(self.at).items.front()?.0),
            _ => return None,
        };
        Some(oldest).filter(|at| *at < edge)
    }

    fn expire(&mut self, pool: &mut Self::Pool, edge: i64) {
        let clock = self.head.clock();
        match self.head.own() {
            ONE if full(clock, self.at) <= edge => {
                self.total = 0;
                self.head.set_own(0);
            }
            SPILLED => {
                let values = pool.get_mut(self.at);
                while let Some((at, value)) = values.items.front() {
                    if full(clock, *at) > edge {
                        break;
                    }
                    self.total -= whole(*value);
                    values.items.pop_front();
                }
                if values.items.is_empty() {
                    self.release(pool);
                }
            }
            _ => {}
        }
    }

    fn insert(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, value: u64) {
        self.head.advance(at);
        if value == NOTHING || value == 0 {
            return;
        }
        let clock = self.head.clock();
        if self.head.own() == 0 {
            (self.total, self.at) = (value, low(at));
            self.head.set_own(ONE);
            return;
        }
        if self.head.own() == ONE {
            let mut values = Values::default();
            values.items.reserve(2);
            values.insert(clock, full(clock, self.at), self.total);
            pool.bytes += values.bytes();
            self.at = pool.add(values);
            self.head.set_own(SPILLED);
        }
        // A sum that would pass 2^64 holds any level already.
        let value = value.min(u64::MAX - self.total);
        let values = pool.get_mut(self.at);
        let had = values.bytes();
        values.insert(clock, at, value);
        self.total += value;
        self.trim(values, width.enough);
        if values.items.len() > EXACT_ITEMS_MAX {
            *values = std::mem::take(values).into_panes(clock, width.window_ms);
        }
        let has = values.bytes();
        pool.bytes = pool.bytes + has - had;
    }

    fn reading(&self, _pool: &Self::Pool, _width: &Width) -> Reading {
        Reading::whole(self.total)
    }

    fn release(&mut self, pool: &mut Self::Pool) {
        if self.head.own() == SPILLED {
            pool.bytes -= pool.remove(self.at).bytes();
        }
        self.total = 0;
        self.head.set_own(0);
    }

    fn shrink(&mut self, pool: &mut Self::Pool) {
        if self.head.own() == SPILLED {
            let values = pool.get_mut(self.at);
            let had = values.bytes();
            values.items.shrink_to_fit();
            let has = values.bytes();
            pool.bytes -= had - has;
        }
    }

    fn copy(&self, pool: &Self::Pool, other: &mut Self::Pool) -> Sum {
        let mut copy = *self;
        if self.head.own() == SPILLED {
            let values = pool.get(self.at).clone();
            other.bytes += values.bytes();
            copy.at = other.add(values);
        }
        copy
    }

    fn put(&self, pool: &Self::Pool, out: &mut Put<'_>) {
        self.head.put(out);
        match self.head.own() {
            ONE => {
                out.u64(self.total);
                out.u32(self.at);
            }
            SPILLED => {
                let values = pool.get(self.at);
                out.u8(u8::from(values.pane_ms > 0));
                put_row(out, values.items.len(), values.items.capacity());
                for (at, value) in &values.items {
                    out.u32(*at);
                    out.u64(whole(*value));
                }
            }
            _ => {}
        }
    }

    fn take(from: &mut Take<'_>, pool: &mut Self::Pool, width: &Width, room: usize) -> Result<Sum, Malformed> {
        let mut sum = Sum { head: Head::take(from, SPILLED)?, total: 0, at: 0 };
        match sum.head.own() {
            ONE => (sum.total, sum.at) = (from.u64()?, from.u32()?),
            SPILLED => {
                let pane_ms = if from.bool()? { pane_ms(width.window_ms) } else { 0 };
                let (n, capacity) = take_row(from, 12, size_of::<(u32, [u32; 2])>(), room)?;
                require(n > 0)?;
                let mut values = Values { items: VecDeque::with_capacity(capacity), pane_ms };
                for _ in 0..n {
                    let (at, value) = (from.u32()?, from.u64()?);
                    // The total is that of the items, or taking them off would pass below 0.
                    sum.total = sum.total.checked_add(value).ok_or(Malformed)?;
                    values.items.push_back((at, halves(value)));
                }
                pool.bytes += values.bytes();
                sum.at = pool.add(values);
            }
            _ => {}
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    #[test]
    fn past_65_536_values_the_sum_is_at_most_a_pane_short() {
        let width = Width { window_ms: 256_000, enough: u64::MAX, step: 0, parts: None };
        let (mut sum, mut pool) = (Sum::empty(0), <Sum as Meter>::Pool::default());
        // A value of 7 each 3 ms: 85,333 in a window.
        for i in 0..200_000i64 {
            let now = i * 3;
            sum.expire(&mut pool, now - width.window_ms);
            sum.insert(&mut pool, &width, now, 7);
            let exact = 7 * (i + 1).min(width.window_ms / 3 + 1) as u64;
            let shown = sum.reading(&pool, &width).top;
            assert!(shown <= exact, "{i}: {shown} of {exact}: a sum is never told too high");
            let pane = 7 * 1000 / 3 + 14;
            assert!(shown + pane >= exact, "{i}: {shown} of {exact}: more than a pane is missing");
        }
        assert!(pool.bytes() < 64 * 1024 * 32, "{} bytes", pool.bytes());
        sum.expire(&mut pool, 600_000 - 3 + 256_000);
        assert_eq!((sum.reading(&pool, &width).top, pool.bytes()), (0, 0));
    }
}
