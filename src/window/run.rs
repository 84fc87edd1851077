//! `run(field, step)`: the longest chain of neighbouring numbers, in whatever order they were dialled.

use super::{Head, Heap, Meter, NOTHING, Reading, Width, full, low, put_row, take_row};
use crate::codec::{Malformed, Put, Take, require};
use crate::limits::RUN_NUMBERS_MAX;

/// The distinct numbers of one key with their last-seen times, sorted by number.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    head: Head,
    numbers: Vec<(u64, u32)>,
}

impl Run {
    fn age(&self, at: u32) -> u32 {
        low(self.head.clock()).wrapping_sub(at)
    }
}

impl Meter for Run {
    type Pool = Heap;

    fn empty(at: i64) -> Run {
        Run { head: Head::new(at), numbers: Vec::new() }
    }

    fn head(&self) -> Head {
        self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn is_empty(&self, _pool: &Heap) -> bool {
        self.numbers.is_empty()
    }

    fn oldest_before(&self, _pool: &Heap, edge: i64) -> Option<i64> {
        let clock = self.head.clock();
        self.numbers.iter().map(|(_, at)| full(clock, *at)).min().filter(|at| *at < edge)
    }

    fn expire(&mut self, pool: &mut Heap, edge: i64) {
        let clock = self.head.clock();
        self.numbers.retain(|(_, at)| full(clock, *at) > edge);
        if self.numbers.is_empty() {
            self.release(pool);
        }
    }

    fn insert(&mut self, pool: &mut Heap, _width: &Width, at: i64, value: u64) {
        self.head.advance(at);
        if value == NOTHING {
            return;
        }
        let clock = self.head.clock();
        match self.numbers.binary_search_by_key(&value, |(number, _)| *number) {
            Ok(i) => {
                let last = &mut self.numbers[i].1;
                if full(clock, *last) < at {
                    *last = low(at);
                }
            }
            Err(i) => {
                let had = self.numbers.capacity();
                self.numbers.insert(i, (value, low(at)));
                pool.bytes += (self.numbers.capacity() - had) * size_of::<(u64, u32)>();
                if self.numbers.len() > RUN_NUMBERS_MAX {
                    // The one seen longest ago goes: the cap can only under-count.
                    let oldest = (0..self.numbers.len()).max_by_key(|i| self.age(self.numbers[*i].1));
                    if let Some(oldest) = oldest {
                        self.numbers.remove(oldest);
                    }
                }
            }
        }
    }

    fn reading(&self, _pool: &Heap, width: &Width) -> Reading {
        let (mut best, mut chain, mut before) = (0u64, 0u64, None);
        for (number, _) in &self.numbers {
            chain = match before {
                Some(last) if number - last <= width.step => chain + 1,
                _ => 1,
            };
            best = best.max(chain);
            before = Some(*number);
        }
        Reading { items: self.numbers.len() as u64, ..Reading::whole(best) }
    }

    fn release(&mut self, pool: &mut Heap) {
        pool.bytes -= std::mem::take(&mut self.numbers).capacity() * size_of::<(u64, u32)>();
    }

    fn shrink(&mut self, pool: &mut Heap) {
        pool.bytes -= self.numbers.capacity() * size_of::<(u64, u32)>();
        self.numbers.shrink_to_fit();
        pool.bytes += self.numbers.capacity() * size_of::<(u64, u32)>();
    }

    fn copy(&self, _pool: &Heap, other: &mut Heap) -> Run {
        let copy = self.clone();
        other.bytes += copy.numbers.capacity() * size_of::<(u64, u32)>();
        copy
    }

    fn put(&self, _pool: &Heap, out: &mut Put<'_>) {
        self.head.put(out);
        put_row(out, self.numbers.len(), self.numbers.capacity());
        for (number, at) in &self.numbers {
            out.u64(*number);
            out.u32(*at);
        }
    }

    fn take(from: &mut Take<'_>, pool: &mut Heap, _width: &Width, room: usize) -> Result<Run, Malformed> {
        let head = Head::take(from, 0)?;
        let (n, capacity) = take_row(from, 12, size_of::<(u64, u32)>(), room)?;
        let mut numbers: Vec<(u64, u32)> = Vec::with_capacity(capacity);
        for _ in 0..n {
            let item = (from.u64()?, from.u32()?);
            // In order, or the chains that are looked for would be no chains.
            require(numbers.last().is_none_or(|last| last.0 < item.0))?;
            numbers.push(item);
        }
        pool.bytes += numbers.capacity() * size_of::<(u64, u32)>();
        Ok(Run { head, numbers })
    }
}
