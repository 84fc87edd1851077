//! Several measures of one key that are judged together (`also`), and values that were not seen before (`first_seen`).
//!
//! Each measure is a meter of its own, with what it keeps beside its items. That takes more room than a key of one
//! measure does, and rules that ask for it are few.

use super::{Count, Distinct, Head, Meter, NOTHING, Ratio, Reading, Run, Slab, Sum, Width};
use crate::codec::{Malformed, Put, Take, require};

/// One of the measures.
#[derive(Clone, Debug)]
pub(crate) struct PartWidth {
    pub(crate) kind: PartKind,
    pub(crate) width: Width,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    Count,
    Distinct,
    Sum,
    Ratio,
    Run,
    /// How long values are remembered, ms.
    FirstSeen(i64),
}

/// See the module. The first part is the measure of the rule, and its clock is that of all.
#[derive(Debug)]
pub(crate) struct Joint {
    head: Head,
    id: Option<u32>,
    week: Option<u32>,
}

/// A meter and its storage.
#[derive(Debug, Default)]
pub(crate) struct Alone<M: Meter> {
    meter: Option<M>,
    pool: M::Pool,
}

impl<M: Meter> Alone<M> {
    fn read<T>(&self, read: impl FnOnce(&M, &M::Pool) -> T) -> Option<T> {
        self.meter.as_ref().map(|meter| read(meter, &self.pool))
    }

    fn change(&mut self, change: impl FnOnce(&mut M, &mut M::Pool)) {
        if let Some(meter) = &mut self.meter {
            change(meter, &mut self.pool);
        }
    }

    fn insert(&mut self, width: &Width, at: i64, value: u64) {
        let pool = &mut self.pool;
        self.meter.get_or_insert_with(|| M::empty(at)).insert(pool, width, at, value);
    }

    fn copy(&self) -> Alone<M> {
        let mut pool = M::Pool::default();
        let meter = self.meter.as_ref().map(|meter| meter.copy(&self.pool, &mut pool));
        Alone { meter, pool }
    }

    fn put(&self, out: &mut Put<'_>) {
        out.u8(u8::from(self.meter.is_some()));
        if let Some(meter) = &self.meter {
            meter.put(&self.pool, out);
        }
    }

    fn take(from: &mut Take<'_>, width: &Width, room: usize) -> Result<Alone<M>, Malformed> {
        let mut pool = M::Pool::default();
        let meter = if from.bool()? { Some(M::take(from, &mut pool, width, room)?) } else { None };
        Ok(Alone { meter, pool })
    }

    fn bytes(&self) -> usize {
        use super::Pool;
        size_of::<Alone<M>>() + self.pool.bytes()
    }
}

#[derive(Debug)]
pub(crate) enum Part {
    Count(Alone<Count>),
    Distinct(Alone<Distinct>),
    Sum(Alone<Sum>),
    Ratio(Alone<Ratio>),
    Run(Alone<Run>),
    /// Values with when they were last seen, and those that were new then.
    FirstSeen(Alone<Distinct>, Alone<Distinct>),
}

macro_rules! each_part {
    ($part:expr, $alone:ident => $do:expr) => {
        match $part {
            Part::Count($alone) => $do,
            Part::Distinct($alone) | Part::FirstSeen(_, $alone) => $do,
            Part::Sum($alone) => $do,
            Part::Ratio($alone) => $do,
            Part::Run($alone) => $do,
        }
    };
}

impl Part {
    fn new(kind: PartKind) -> Part {
        fn alone<M: Meter>() -> Alone<M> {
            Alone { meter: None, pool: M::Pool::default() }
        }
        match kind {
            PartKind::Count => Part::Count(alone()),
            PartKind::Distinct => Part::Distinct(alone()),
            PartKind::Sum => Part::Sum(alone()),
            PartKind::Ratio => Part::Ratio(alone()),
            PartKind::Run => Part::Run(alone()),
            PartKind::FirstSeen(_) => Part::FirstSeen(alone(), alone()),
        }
    }

    fn insert(&mut self, of: &PartWidth, at: i64, value: u64) {
        match self {
            Part::FirstSeen(..) => self.meet(of, at, value, true),
            _ => each_part!(self, alone => alone.insert(&of.width, at, value)),
        }
    }

    /// Notes a value where values are remembered, and since when it is new.
    fn meet(&mut self, of: &PartWidth, at: i64, value: u64, is_in_window: bool) {
        let (Part::FirstSeen(seen, fresh), PartKind::FirstSeen(memory_ms)) = (self, of.kind) else { return };
        let clock = seen.read(|meter, _| meter.head().clock()).unwrap_or(at).max(at);
        if value == NOTHING || at <= clock - memory_ms {
            return;
        }
        seen.change(|meter, pool| meter.expire(pool, clock - memory_ms));
        let mut is_new = !seen.read(|meter, pool| meter.holds(pool, value)).unwrap_or(false);
        seen.insert(&Width { window_ms: memory_ms, ..of.width.clone() }, at, value);
        let began = fresh.read(|meter, pool| meter.last(pool, value)).flatten();
        if began.is_some_and(|began| at < began) {
            // It is older than it looked, by what comes late.
            fresh.change(|meter, pool| meter.remove(pool, value));
            is_new = true;
        }
        if is_new && is_in_window {
            fresh.insert(&of.width, at, value);
        }
    }

    fn copy(&self) -> Part {
        match self {
            Part::Count(alone) => Part::Count(alone.copy()),
            Part::Distinct(alone) => Part::Distinct(alone.copy()),
            Part::Sum(alone) => Part::Sum(alone.copy()),
            Part::Ratio(alone) => Part::Ratio(alone.copy()),
            Part::Run(alone) => Part::Run(alone.copy()),
            Part::FirstSeen(seen, fresh) => Part::FirstSeen(seen.copy(), fresh.copy()),
        }
    }

    fn bytes(&self) -> usize {
        each_part!(self, alone => alone.bytes()) + if let Part::FirstSeen(seen, _) = self { seen.bytes() } else { 0 }
    }

    fn put(&self, out: &mut Put<'_>) {
        if let Part::FirstSeen(seen, _) = self {
            seen.put(out);
        }
        each_part!(self, alone => alone.put(out));
    }

    fn take(from: &mut Take<'_>, of: &PartWidth, room: usize) -> Result<Part, Malformed> {
        Ok(match of.kind {
            PartKind::Count => Part::Count(Alone::take(from, &of.width, room)?),
            PartKind::Distinct => Part::Distinct(Alone::take(from, &of.width, room)?),
            PartKind::Sum => Part::Sum(Alone::take(from, &of.width, room)?),
            PartKind::Ratio => Part::Ratio(Alone::take(from, &of.width, room)?),
            PartKind::Run => Part::Run(Alone::take(from, &of.width, room)?),
            PartKind::FirstSeen(memory_ms) => {
                let seen = Alone::take(from, &Width { window_ms: memory_ms, ..of.width.clone() }, room)?;
                Part::FirstSeen(seen, Alone::take(from, &of.width, room)?)
            }
        })
    }
}

impl Joint {
    fn parts<'p>(&self, pool: &'p Slab<Vec<Part>>) -> &'p [Part] {
        self.id.map_or(&[], |id| pool.get(id))
    }

    /// Changes the parts and keeps account of their size.
    fn change(&mut self, pool: &mut Slab<Vec<Part>>, change: impl FnOnce(&mut Vec<Part>)) {
        let Some(id) = self.id else { return };
        let parts = pool.get_mut(id);
        let had: usize = parts.iter().map(Part::bytes).sum();
        change(parts);
        let has: usize = parts.iter().map(Part::bytes).sum();
        pool.bytes = pool.bytes + has - had;
    }

    fn shown(part: Option<(&Part, &PartWidth)>) -> Reading {
        let nothing = Reading { known: false, ..Reading::whole(0) };
        let Some((part, of)) = part else { return nothing };
        let read = each_part!(part, alone => alone.read(|meter, pool| meter.reading(pool, &of.width)));
        // Of events without a value there is none of anything, and nothing to divide.
        read.unwrap_or(if matches!(part, Part::Ratio(_)) { nothing } else { Reading::whole(0) })
    }
}

impl Meter for Joint {
    type Pool = Slab<Vec<Part>>;

    fn empty(at: i64) -> Joint {
        Joint { head: Head::new(at), id: None, week: None }
    }

    fn head(&self) -> Head {
        self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn is_empty(&self, pool: &Self::Pool) -> bool {
        let is_empty = |part: &Part| each_part!(part, alone => alone.read(|meter, pool| meter.is_empty(pool)));
        self.parts(pool).iter().all(|part| is_empty(part).unwrap_or(true))
    }

    fn oldest_before(&self, pool: &Self::Pool, edge: i64) -> Option<i64> {
        let oldest = |part: &Part| each_part!(part, alone => alone.read(|meter, pool| meter.oldest_before(pool, edge)).flatten());
        self.parts(pool).iter().filter_map(oldest).min()
    }

    fn expire(&mut self, pool: &mut Self::Pool, edge: i64) {
        self.change(pool, |parts| {
            for part in parts {
                each_part!(part, alone => alone.change(|meter, pool| meter.expire(pool, edge)));
            }
        });
    }

    fn insert(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, value: u64) {
        self.insert_all(pool, width, at, &value.to_le_bytes());
    }

    fn insert_all(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, values: &[u8]) {
        self.head.advance(at);
        let Some(kinds) = &width.parts else { return };
        if self.id.is_none() {
            let parts: Vec<Part> = kinds.iter().map(|of| Part::new(of.kind)).collect();
            pool.bytes += size_of::<Vec<Part>>() + parts.iter().map(Part::bytes).sum::<usize>();
            self.id = Some(pool.add(parts));
        }
        let (words, _) = values.as_chunks::<8>();
        self.change(pool, |parts| {
            for ((part, of), word) in parts.iter_mut().zip(kinds.iter()).zip(words) {
                part.insert(of, at, u64::from_le_bytes(*word));
            }
        });
    }

    fn remember(&mut self, pool: &mut Self::Pool, width: &Width, at: i64, values: &[u8]) {
        let Some(kinds) = &width.parts else { return };
        let (words, _) = values.as_chunks::<8>();
        self.change(pool, |parts| {
            for ((part, of), word) in parts.iter_mut().zip(kinds.iter()).zip(words) {
                part.meet(of, at, u64::from_le_bytes(*word), false);
            }
        });
    }

    fn reading(&self, pool: &Self::Pool, width: &Width) -> Reading {
        self.reading_of(pool, width, 0)
    }

    fn reading_of(&self, pool: &Self::Pool, width: &Width, part: usize) -> Reading {
        let kinds = width.parts.as_deref().unwrap_or_default();
        Joint::shown(self.parts(pool).get(part).zip(kinds.get(part)))
    }

    fn week(&self) -> Option<u32> {
        self.week
    }

    fn set_week(&mut self, week: Option<u32>) {
        self.week = week;
    }

    fn release(&mut self, pool: &mut Self::Pool) {
        if let Some(id) = self.id.take() {
            let parts = pool.remove(id);
            pool.bytes -= size_of::<Vec<Part>>() + parts.iter().map(Part::bytes).sum::<usize>();
        }
    }

    fn shrink(&mut self, pool: &mut Self::Pool) {
        self.change(pool, |parts| {
            for part in parts {
                each_part!(part, alone => alone.change(|meter, pool| meter.shrink(pool)));
            }
        });
    }

    fn copy(&self, pool: &Self::Pool, other: &mut Self::Pool) -> Joint {
        let copy = |id: u32| {
            let parts: Vec<Part> = pool.get(id).iter().map(Part::copy).collect();
            other.bytes += size_of::<Vec<Part>>() + parts.iter().map(Part::bytes).sum::<usize>();
            other.add(parts)
        };
        Joint { head: self.head, id: self.id.map(copy), week: self.week }
    }

    fn put(&self, pool: &Self::Pool, out: &mut Put<'_>) {
        self.head.put(out);
        out.u8(u8::from(self.id.is_some()));
        self.parts(pool).iter().for_each(|part| part.put(out));
    }

    fn take(from: &mut Take<'_>, pool: &mut Self::Pool, width: &Width, room: usize) -> Result<Joint, Malformed> {
        let head = Head::take(from, 0)?;
        if !from.bool()? {
            return Ok(Joint { head, id: None, week: None });
        }
        let kinds = width.parts.as_deref().unwrap_or_default();
        require(!kinds.is_empty())?;
        let parts: Vec<Part> = kinds.iter().map(|of| Part::take(from, of, room)).collect::<Result<_, _>>()?;
        pool.bytes += size_of::<Vec<Part>>() + parts.iter().map(Part::bytes).sum::<usize>();
        Ok(Joint { head, id: Some(pool.add(parts)), week: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn width(kinds: &[PartKind]) -> Width {
        let alone = Width { window_ms: 10_000, enough: 100, step: 0, parts: None };
        let parts = kinds.iter().map(|kind| PartWidth { kind: *kind, width: alone.clone() }).collect();
        Width { parts: Some(parts), ..alone }
    }

    fn insert(joint: &mut Joint, pool: &mut Slab<Vec<Part>>, width: &Width, at: i64, values: &[u64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        joint.expire(pool, at - width.window_ms);
        joint.insert_all(pool, width, at, &bytes);
    }

    #[test]
    fn each_measure_reads_as_it_would_alone_and_gives_back_its_room() {
        let width = width(&[PartKind::Count, PartKind::Distinct]);
        let (mut pool, mut joint) = (Slab::default(), Joint::empty(0));
        for (at, value) in [(0, 7), (1_000, 7), (2_000, 8), (3_000, NOTHING)] {
            insert(&mut joint, &mut pool, &width, at, &[0, value]);
        }
        let read = |joint: &Joint, pool: &_| [0, 1].map(|part| joint.reading_of(pool, &width, part).top);
        assert_eq!(read(&joint, &pool), [4, 2]);
        assert_eq!(joint.oldest_before(&pool, i64::MAX), Some(0));
        joint.expire(&mut pool, 1_000);
        assert_eq!(read(&joint, &pool), [2, 1]);
        let mut written = Vec::new();
        joint.put(&pool, &mut Put(&mut written));
        let mut other = Slab::default();
        let again = Joint::take(&mut Take::new(&written), &mut other, &width, 1 << 20).unwrap();
        assert_eq!(read(&again, &other), [2, 1]);
        joint.release(&mut pool);
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn a_value_is_new_until_it_was_seen_and_again_when_it_is_forgotten() {
        let mut width = width(&[PartKind::FirstSeen(60_000)]);
        width.parts = width.parts.map(|parts| Arc::clone(&parts));
        let (mut pool, mut joint) = (Slab::default(), Joint::empty(0));
        let mut news = Vec::new();
        for (at, value) in [(0, 1), (1_000, 1), (20_000, 2), (70_000, 1), (79_999, 2), (140_000, 2)] {
            insert(&mut joint, &mut pool, &width, at, &[value]);
            news.push(joint.reading(&pool, &width).top);
        }
        // Of 10 s: 1, still 1; 2; 1 was last seen 69 s before; 2 59.999 s before; 2 60.001 s before.
        assert_eq!(news, [1, 1, 1, 1, 1, 1]);
        let mut seen = Vec::new();
        let (mut pool, mut joint) = (Slab::default(), Joint::empty(0));
        for (at, value) in [(0, 1), (30_000, 1), (90_000, 1), (149_999, 1)] {
            insert(&mut joint, &mut pool, &width, at, &[value]);
            seen.push(joint.reading(&pool, &width).top);
        }
        assert_eq!(seen, [1, 0, 1, 0]);
    }
}
