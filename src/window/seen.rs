//! Values by when they were last seen, in bounded memory: what `distinct` and `concurrent` stand on.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::{put_row, take_row};
use crate::codec::{Malformed, Put, Take, require};

/// Values with their last-seen times.
///
/// Few values are scanned; many are hashed, with a queue in order of time in which an entry that was seen again
/// later is stale and skipped. Times are the low 32 bits, told apart by the `age` that the caller's clock gives.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// With a time no younger than the oldest entry, so that most clock moves need no look at them.
    Few(Vec<Entry>, u32),
    Many(Box<Many>),
}

/// 12 bytes: the value in halves keeps the alignment at four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    at: u32,
    value: [u32; 2],
}

impl Entry {
    fn new(value: u64, at: u32) -> Entry {
        Entry { at, value: [value as u32, (value >> 32) as u32] }
    }

    fn value(self) -> u64 {
        u64::from(self.value[0]) | u64::from(self.value[1]) << 32
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Many {
    last: HashMap<u64, u32>,
    order: VecDeque<Entry>,
    /// The most values there were since room was last given back.
    most: usize,
}

/// Values up to which a scan is cheaper than a hash.
const FEW: usize = 48;

impl Default for Seen {
    fn default() -> Seen {
        Seen::Few(Vec::new(), 0)
    }
}

/// Milliseconds from the item back from the clock; larger is older.
fn age(clock: u32, at: u32) -> u32 {
    clock.wrapping_sub(at)
}

impl Seen {
    pub(crate) fn len(&self) -> usize {
        match self {
            Seen::Few(items, _) => items.len(),
            Seen::Many(many) => many.last.len(),
        }
    }

    /// Reads the first, the middle and the last of few values: every cache line or nearly.
    pub(crate) fn touch(&self) -> u64 {
        let Seen::Few(items, _) = self else { return 0 };
        let word = |i: usize| items.get(i).map_or(0, |e| u64::from(e.at));
        word(0) ^ word(items.len() / 2) ^ word(items.len().wrapping_sub(1))
    }

    /// Is every value younger than this? A no may be wrong.
    pub(crate) fn is_surely_younger(&self, clock: u32, age_ms: u32) -> bool {
        matches!(self, Seen::Few(_, bound) if age(clock, *bound) < age_ms)
    }

    /// Age of the value that leaves next.
    pub(crate) fn oldest_age(&self, clock: u32) -> Option<u32> {
        match self {
            Seen::Few(items, _) => items.iter().map(|e| age(clock, e.at)).max(),
            Seen::Many(many) => many.order.iter().find(|e| many.is_current(e)).map(|e| age(clock, e.at)),
        }
    }

    /// Forgets the values not seen for `age_ms` or longer.
    pub(crate) fn expire(&mut self, clock: u32, age_ms: u32) {
        match self {
            Seen::Few(items, bound) => {
                if age(clock, *bound) < age_ms {
                    return;
                }
                let mut oldest = 0;
                items.retain(|e| {
                    let age = age(clock, e.at);
                    let stays = age < age_ms;
                    oldest = if stays { age.max(oldest) } else { oldest };
                    stays
                });
                *bound = clock.wrapping_sub(oldest);
            }
            Seen::Many(many) => {
                while let Some(first) = many.order.front().copied() {
                    let current = many.is_current(&first);
                    if current && age(clock, first.at) < age_ms {
                        break;
                    }
                    many.order.pop_front();
                    if current {
                        many.last.remove(&first.value());
                    }
                }
                if many.last.is_empty() {
                    *self = Seen::default();
                }
            }
        }
    }

    /// Sees a value, keeping the `enough` most recently seen.
    pub(crate) fn see(&mut self, clock: u32, enough: usize, value: u64, at: u32) {
        if let Seen::Few(items, bound) = self {
            if items.is_empty() || age(clock, at) > age(clock, *bound) {
                *bound = at;
            }
            if let Some(known) = items.iter_mut().find(|e| e.value() == value) {
                if age(clock, at) < age(clock, known.at) {
                    known.at = at;
                }
                return;
            }
            if items.len() < enough && items.len() < FEW {
                items.push(Entry::new(value, at));
                return;
            }
            if items.len() >= enough {
                // Full: the newcomer takes the place of the one seen longest ago, unless it is that itself.
                if let Some(oldest) = items.iter_mut().max_by_key(|e| age(clock, e.at))
                    && age(clock, at) < age(clock, oldest.at)
                {
                    *oldest = Entry::new(value, at);
                }
                return;
            }
            let mut many = Many::default();
            items.sort_by_key(|e| std::cmp::Reverse(age(clock, e.at)));
            for e in items.drain(..) {
                many.last.insert(e.value(), e.at);
                many.order.push_back(e);
            }
            many.most = many.last.len();
            *self = Seen::Many(Box::new(many));
        }
        if let Seen::Many(many) = self {
            many.see(clock, enough, value, at);
        }
    }

    pub(crate) fn holds(&self, value: u64) -> bool {
        match self {
            Seen::Few(items, _) => items.iter().any(|e| e.value() == value),
            Seen::Many(many) => many.last.contains_key(&value),
        }
    }

    /// When the value was last seen.
    pub(crate) fn last(&self, value: u64) -> Option<u32> {
        match self {
            Seen::Few(items, _) => items.iter().find(|e| e.value() == value).map(|e| e.at),
            Seen::Many(many) => many.last.get(&value).copied(),
        }
    }

    /// Gives back the room that its values do not need.
    pub(crate) fn shrink(&mut self) {
        match self {
            Seen::Few(items, _) => items.shrink_to_fit(),
            Seen::Many(many) => {
                let last = &many.last;
                many.order.retain(|e| last.get(&e.value()) == Some(&e.at));
                many.order.shrink_to_fit();
                many.last.shrink_to_fit();
                many.most = many.last.len();
            }
        }
    }

    /// Takes a value back.
    pub(crate) fn remove(&mut self, value: u64) {
        match self {
            Seen::Few(items, _) => items.retain(|e| e.value() != value),
            Seen::Many(many) => {
                many.last.remove(&value);
            }
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Seen::Few(items, _) => items.capacity() * size_of::<Entry>(),
            Seen::Many(many) => size_of::<Many>() + map_bytes(many.most) + many.order.capacity() * size_of::<Entry>(),
        }
    }

    pub(crate) fn put(&self, out: &mut Put<'_>) {
        match self {
            Seen::Few(items, bound) => {
                out.u8(0);
                out.u32(*bound);
                put_row(out, items.len(), items.capacity());
                for e in items {
                    out.u32(e.at);
                    out.u64(e.value());
                }
            }
            Seen::Many(many) => {
                out.u8(1);
                out.len(many.most);
                put_row(out, many.order.len(), many.order.capacity());
                for e in &many.order {
                    out.u8(u8::from(many.is_current(e)));
                    out.u32(e.at);
                    out.u64(e.value());
                }
            }
        }
    }

    /// See [`super::Meter::take`].
    pub(crate) fn take(from: &mut Take<'_>, room: usize) -> Result<Seen, Malformed> {
        if !from.bool()? {
            let bound = from.u32()?;
            let (n, capacity) = take_row(from, 12, size_of::<Entry>(), room)?;
            require(n <= FEW)?;
            let mut items = Vec::with_capacity(capacity);
            for _ in 0..n {
                let at = from.u32()?;
                items.push(Entry::new(from.u64()?, at));
            }
            return Ok(Seen::Few(items, bound));
        }
        let most = from.u32()? as usize;
        let (n, capacity) = take_row(from, 13, size_of::<Entry>(), room)?;
        let mut many = Many { order: VecDeque::with_capacity(capacity), ..Many::default() };
        for _ in 0..n {
            let (is_current, at, value) = (from.bool()?, from.u32()?, from.u64()?);
            many.order.push_back(Entry::new(value, at));
            if is_current {
                many.last.insert(value, at);
            }
        }
        require(many.last.len() <= most)?;
        many.most = most;
        Ok(Seen::Many(Box::new(many)))
    }
}

/// What a map of so many values holds at the least. Told from their number, since what it really holds depends on how
/// its own, random hash spread them, and bytes decide which keys are kept.
fn map_bytes(n: usize) -> usize {
    (n * 8 / 7 + 1).next_power_of_two() * (size_of::<(u64, u32)>() + 1)
}

impl Many {
    fn is_current(&self, entry: &Entry) -> bool {
        self.last.get(&entry.value()) == Some(&entry.at)
    }

    fn see(&mut self, clock: u32, enough: usize, value: u64, at: u32) {
        match self.last.get_mut(&value) {
            Some(last) if age(clock, at) >= age(clock, *last) => return,
            Some(last) => *last = at,
            None => {
                self.last.insert(value, at);
                self.most = self.most.max(self.last.len());
            }
        }
        let place = super::place(&self.order, -i64::from(age(clock, at)), |e| -i64::from(age(clock, e.at)));
        self.order.insert(place, Entry::new(value, at));
        while self.last.len() > enough {
            let Some(first) = self.order.pop_front() else { break };
            if self.is_current(&first) {
                self.last.remove(&first.value());
            }
        }
        if self.order.len() > 2 * self.last.len() + 64 {
            let last = &self.last;
            self.order.retain(|e| last.get(&e.value()) == Some(&e.at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_most_recently_seen_values_are_those_of_a_plain_list(
            enough in 1usize..80,
            steps in prop::collection::vec((0u64..90, 0u32..50, 0u32..9), 1..400),
        ) {
            let (mut seen, mut plain, mut clock) = (Seen::default(), Vec::<(u64, u32)>::new(), 1_000u32);
            for (value, late, step) in steps {
                clock += step;
                seen.expire(clock, 200);
                plain.retain(|(_, at)| clock - at < 200);
                seen.see(clock, enough, value, clock - late);
                match plain.iter_mut().find(|(v, _)| *v == value) {
                    Some((_, at)) => *at = (*at).max(clock - late),
                    None => plain.push((value, clock - late)),
                }
                // Never forgotten where it could matter: the newest `enough` decide.
                prop_assert_eq!(seen.len(), plain.len().min(enough));
                let mut ages: Vec<u32> = plain.iter().map(|(_, at)| clock - at).collect();
                ages.sort_unstable();
                ages.truncate(enough);
                prop_assert_eq!(seen.oldest_age(clock), ages.last().copied());
            }
        }
    }
}
