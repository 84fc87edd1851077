//! Ranges of numbers, cut at their ends into pieces that do not overlap.

use crate::clock::Timestamp;
use crate::event::{Number, NumberRange};

/// Disjoint pieces in rising order. Where ranges overlap, a piece belongs to the one that expires last.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    starts: Vec<Place>,
    ends: Vec<Place>,
    values: Vec<u32>,
}

/// Kind and length, then place: see [`Number::place`].
type Place = (u64, u64);

impl Ranges {
    /// `(range, value, expires)`; of two that expire together the first wins.
    pub(super) fn new(ranges: &[(NumberRange, u32, Timestamp)]) -> Ranges {
        let mut edges: Vec<(Place, bool, usize)> = Vec::with_capacity(ranges.len() * 2);
        for (i, (range, _, _)) in ranges.iter().enumerate() {
            if let (Some(low), Some(high)) = (range.low().place(), range.high().place()) {
                edges.push((low, true, i));
                edges.push(((high.0, high.1 + 1), false, i));
            }
        }
        edges.sort_unstable();
        let mut pieces = Ranges::default();
        // Open ranges, the one that expires last at the end.
        let mut open: std::collections::BTreeSet<(Timestamp, std::cmp::Reverse<usize>)> = Default::default();
        let mut from = (0, 0);
        for (at, opens, i) in edges {
            if let Some((_, best)) = open.last()
                && from < at
            {
                pieces.push(from, (at.0, at.1 - 1), ranges.get(best.0).map_or(0, |r| r.1));
            }
            let entry = (ranges.get(i).map_or(Timestamp::MAX, |r| r.2), std::cmp::Reverse(i));
            match opens {
                true => open.insert(entry),
                false => open.remove(&entry),
            };
            from = at;
        }
        pieces
    }

    fn push(&mut self, start: Place, end: Place, value: u32) {
        let joins = self.values.last() == Some(&value)
            && self.ends.last().is_some_and(|last| last.0 == start.0 && last.1 + 1 == start.1);
        if joins && let Some(last) = self.ends.last_mut() {
            *last = end;
            return;
        }
        self.starts.push(start);
        self.ends.push(end);
        self.values.push(value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(super) fn get(&self, number: Number) -> Option<u32> {
        let place = number.place()?;
        let at = self.starts.partition_point(|start| *start <= place).checked_sub(1)?;
        (*self.ends.get(at)? >= place).then(|| self.values.get(at).copied()).flatten()
    }

    /// The piece that holds the number: `+4684000000..+4684009999`.
    pub(super) fn text(&self, number: Number) -> Option<String> {
        let place = number.place()?;
        let at = self.starts.partition_point(|start| *start <= place).checked_sub(1)?;
        let (low, high) = (self.starts.get(at)?.1, self.ends.get(at).filter(|end| **end >= place)?.1);
        let (sign, width) = match number.digits() {
            Some((_, digits)) => ("+", digits as usize),
            None => ("short:", number.symbol_count() as usize),
        };
        Some(format!("{sign}{low:0width$}..{sign}{high:0width$}"))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        (self.starts.capacity() + self.ends.capacity()) * size_of::<Place>() + self.values.capacity() * 4
    }
}
