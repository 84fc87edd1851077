//! `distinct(field)`: the N most recently seen values. `concurrent`: the calls that are up, by call id.

use super::seen::Seen;
use super::{Head, Meter, NOTHING, Reading, Slab, Width, full, low};
use crate::codec::{Malformed, Put, Take, require};

/// One value in the slot itself, more in the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distinct {
    head: Head,
    value: u64,
    /// Of the single value: the low bits of when it was last seen. Spilled: id in the pool.
    at: u32,
}

const ONE: u32 = 1;
const SPILLED: u32 = 2;

fn seen_bytes(seen: &Seen) -> usize {
    size_of::<Seen>() + seen.heap_bytes()
}

/// The calls that are up. The same store without a cap, since a call may end before older ones do.
pub(crate) type Concurrent = Distinct;

impl Distinct {
    /// When the value was last seen.
    pub(super) fn last(&self, pool: &Slab<Seen>, value: u64) -> Option<i64> {
        let at = match self.head.own() {
            ONE => Some(self.at).filter(|_| self.value == value),
            SPILLED => pool.get(self.at).last(value),
            _ => None,
        };
        at.map(|at| full(self.head.clock(), at))
    }
}

impl Meter for Distinct {
    type Pool = Slab<Seen>;

    fn empty(at: i64) -> Distinct {
        Distinct { head: Head::new(at), value: 0, at: 0 }
    }

    fn head(&self) -> Head {
        self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn touch(&self, pool: &Self::Pool) -> u64 {
        if self.head.own() == SPILLED { pool.get(self.at).len() as u64 } else { 0 }
    }

    fn touch_items(&self, pool: &Self::Pool) -> u64 {
        if self.head.own() == SPILLED { pool.get(self.at).touch() } else { 0 }
    }

    fn is_empty(&self, _pool: &Self::Pool) -> bool {
        self.head.own() == 0
    }

    fn oldest_before(&self, pool: &Self::Pool, edge: i64) -> Option<i64> {
        let clock = self.head.clock();
        let oldest = match self.head.own() {
            ONE => full(clock, self.at),
            SPILLED => {
                let seen = pool.get(self.at);
                // A clock before the edge has older items only.
                if u32::try_from(clock - edge).is_ok_and(|age| seen.is_surely_younger(low(clock), age)) {
                    return None;
                }
                clock - i64::from(seen.oldest_age(low(clock))?)
            }
            _ => return None,
        };
        Some(oldest).filter(|at| *at < edge)
    }

    fn expire(&mut self, pool: &mut Self::Pool, edge: i64) {
        let clock = self.head.clock();
        match self.head.own() {
            ONE if full(clock, self.at) <= edge => self.head.set_own(0),
            SPILLED => {
                if edge >= clock {
                    self.release(pool);
                    return;
                }
                let seen = pool.get_mut(self.at);
                let Ok(age_ms) = u32::try_from(clock - edge) else { return };
                if seen.is_surely_younger(low(clock), age_ms) {
                    return;
                }
                let had = seen.heap_bytes();
                seen.expire(low(clock), age_ms);
                let (has, is_empty) = (seen.heap_bytes(), seen.len() == 0);
                pool.bytes = pool.bytes + has - had;
                if is_empty {
                    self.release(pool);
                }
            }
            _ => {}
        }
    }

    fn insert(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, value: u64) {
        self.head.advance(at);
        if value == NOTHING {
            return;
        }
        let clock = self.head.clock();
        let enough = usize::try_from(width.enough).unwrap_or(usize::MAX);
        match self.head.own() {
            ONE if self.value == value => {
                if full(clock, self.at) < at {
                    self.at = low(at);
                }
            }
            ONE => {
                let mut seen = Seen::default();
                seen.see(low(clock), enough, self.value, self.at);
                seen.see(low(clock), enough, value, low(at));
                pool.bytes += seen_bytes(&seen);
                self.at = pool.add(seen);
                self.head.set_own(SPILLED);
            }
            SPILLED => {
                let seen = pool.get_mut(self.at);
                let had = seen.heap_bytes();
                seen.see(low(clock), enough, value, low(at));
                let has = seen.heap_bytes();
                pool.bytes = pool.bytes + has - had;
            }
            _ => {
                (self.value, self.at) = (value, low(at));
                self.head.set_own(ONE);
            }
        }
    }

    fn reading(&self, pool: &Self::Pool, _width: &Width) -> Reading {
        Reading::whole(match self.head.own() {
            ONE => 1,
            SPILLED => pool.get(self.at).len() as u64,
            _ => 0,
        })
    }

    fn holds(&self, pool: &Self::Pool, value: u64) -> bool {
        match self.head.own() {
            ONE => self.value == value,
            SPILLED => pool.get(self.at).holds(value),
            _ => false,
        }
    }

    fn remove(&mut self, pool: &mut Self::Pool, value: u64) {
        match self.head.own() {
            ONE if self.value == value => self.head.set_own(0),
            SPILLED => {
                pool.get_mut(self.at).remove(value);
                if pool.get(self.at).len() == 0 {
                    self.release(pool);
                }
            }
            _ => {}
        }
    }

    fn release(&mut self, pool: &mut Self::Pool) {
        if self.head.own() == SPILLED {
            pool.bytes -= seen_bytes(&pool.remove(self.at));
        }
        self.head.set_own(0);
    }

    fn shrink(&mut self, pool: &mut Self::Pool) {
        if self.head.own() == SPILLED {
            let seen = pool.get_mut(self.at);
            let had = seen_bytes(seen);
            seen.shrink();
            let has = seen_bytes(seen);
            pool.bytes -= had - has;
        }
    }

    fn copy(&self, pool: &Self::Pool, other: &mut Self::Pool) -> Distinct {
        let mut copy = *self;
        if self.head.own() == SPILLED {
            let seen = pool.get(self.at).clone();
            other.bytes += seen_bytes(&seen);
            copy.at = other.add(seen);
        }
        copy
    }

    fn put(&self, pool: &Self::Pool, out: &mut Put<'_>) {
        self.head.put(out);
        match self.head.own() {
            ONE => {
                out.u64(self.value);
                out.u32(self.at);
            }
            SPILLED => pool.get(self.at).put(out),
            _ => {}
        }
    }

    fn take(from: &mut Take<'_>, pool: &mut Self::Pool, _width: &Width, room: usize) -> Result<Distinct, Malformed> {
        let mut distinct = Distinct { head: Head::take(from, SPILLED)?, value: 0, at: 0 };
        match distinct.head.own() {
            ONE => (distinct.value, distinct.at) = (from.u64()?, from.u32()?),
            SPILLED => {
                let seen = Seen::take(from, room)?;
                require(seen.len() > 0)?;
                pool.bytes += seen_bytes(&seen);
                distinct.at = pool.add(seen);
            }
            _ => {}
        }
        Ok(distinct)
    }
}
