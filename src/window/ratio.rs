//! `avg(field)` and `share(expr)`: all events of the window, since every one of them moves the quotient.

use std::collections::VecDeque;

use super::{Head, Heap, Meter, NOTHING, Reading, Width, full, low, pane_ms, put_row, take_row};
use crate::codec::{Malformed, Put, Take, require};
use crate::limits::EXACT_ITEMS_MAX;

/// The window of one key; boxed, as no rule of this kind is worth its levels below a handful of events.
#[derive(Clone, Debug)]
pub(crate) struct Ratio {
    head: Head,
    state: Option<Box<State>>,
}

/// Events in order of time. Past [`EXACT_ITEMS_MAX`] they are gathered into panes of 1/256 of the window on a grid
/// from the epoch, each as old as its start.
#[derive(Clone, Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Width of a pane, 0 while exact.
    pane_ms: i64,
    n: u64,
    known: u64,
    total: u64,
}

/// One event, or a pane of them.
#[derive(Clone, Copy, Debug)]
struct Item {
    at: u32,
    n: u32,
    known: u32,
    total: u64,
}

impl State {
    fn bytes(&self) -> usize {
        size_of::<State>() + self.items.capacity() * size_of::<Item>()
    }

    fn insert(&mut self, clock: i64, at: i64, item: Item) {
        self.n += u64::from(item.n);
        self.known += u64::from(item.known);
        self.total = self.total.saturating_add(item.total);
        let at = if self.pane_ms > 0 { at.div_euclid(self.pane_ms) * self.pane_ms } else { at };
        let place = super::place(&self.items, at, |item| full(clock, item.at));
        if self.pane_ms > 0
            && let Some(last) = place.checked_sub(1).and_then(|i| self.items.get_mut(i))
            && full(clock, last.at) == at
        {
            last.n = last.n.saturating_add(item.n);
            last.known = last.known.saturating_add(item.known);
            last.total = last.total.saturating_add(item.total);
            return;
        }
        self.items.insert(place, Item { at: low(at), ..item });
    }

    fn into_panes(self, clock: i64, window_ms: i64) -> State {
        let mut panes = State { pane_ms: pane_ms(window_ms), ..State::default() };
        for item in self.items {
            panes.insert(clock, full(clock, item.at), item);
        }
        panes
    }
}

impl Meter for Ratio {
    type Pool = Heap;

    fn empty(at: i64) -> Ratio {
        Ratio { head: Head::new(at), state: None }
    }

    fn head(&self) -> Head {
        self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn is_empty(&self, _pool: &Heap) -> bool {
        self.state.is_none()
    }

    fn oldest_before(&self, _pool: &Heap, edge: i64) -> Option<i64> {
        let oldest = self.state.as_ref()?.items.front()?.at;
        Some(full(self.head.clock(), oldest)).filter(|at| *at < edge)
    }

    fn expire(&mut self, pool: &mut Heap, edge: i64) {
        let clock = self.head.clock();
        let Some(state) = &mut self.state else { return };
        while let Some(item) = state.items.front() {
            if full(clock, item.at) > edge {
                break;
            }
            state.n -= u64::from(item.n);
            state.known -= u64::from(item.known);
            state.total = state.total.saturating_sub(item.total);
            state.items.pop_front();
        }
        if state.items.is_empty() {
            self.release(pool);
        }
    }

    fn insert(&mut self, pool: &mut Heap, width: &Width, at: i64, value: u64) {
        self.head.advance(at);
        let clock = self.head.clock();
        let state = self.state.get_or_insert_with(|| {
            pool.bytes += State::default().bytes();
            Box::default()
        });
        let had = state.bytes();
        let known = u32::from(value != NOTHING);
        let total = if value == NOTHING { 0 } else { value };
        state.insert(clock, at, Item { at: 0, n: 1, known, total });
        if state.items.len() > EXACT_ITEMS_MAX {
            **state = std::mem::take(&mut **state).into_panes(clock, width.window_ms);
        }
        pool.bytes = pool.bytes + state.bytes() - had;
    }

    fn reading(&self, _pool: &Heap, _width: &Width) -> Reading {
        match &self.state {
            Some(s) => {
                Reading { top: s.total, bottom: s.known.max(1), items: s.n, known: s.known > 0, ..Reading::whole(0) }
            }
            None => Reading { known: false, ..Reading::whole(0) },
        }
    }

    fn release(&mut self, pool: &mut Heap) {
        if let Some(state) = self.state.take() {
            pool.bytes -= state.bytes();
        }
    }

    fn shrink(&mut self, pool: &mut Heap) {
        if let Some(state) = &mut self.state {
            pool.bytes -= state.bytes();
            state.items.shrink_to_fit();
            pool.bytes += state.bytes();
        }
    }

    fn copy(&self, _pool: &Heap, other: &mut Heap) -> Ratio {
        let copy = self.clone();
        other.bytes += copy.state.as_ref().map_or(0, |s| s.bytes());
        copy
    }

    fn put(&self, _pool: &Heap, out: &mut Put<'_>) {
        self.head.put(out);
        out.u8(u8::from(self.state.is_some()));
        let Some(state) = &self.state else { return };
        out.u8(u8::from(state.pane_ms > 0));
        out.u64(state.total);
        put_row(out, state.items.len(), state.items.capacity());
        for item in &state.items {
            out.u32(item.at);
            out.u32(item.n);
            out.u32(item.known);
            out.u64(item.total);
        }
    }

    fn take(from: &mut Take<'_>, pool: &mut Heap, width: &Width, room: usize) -> Result<Ratio, Malformed> {
        let head = Head::take(from, 0)?;
        if !from.bool()? {
            return Ok(Ratio { head, state: None });
        }
        let pane_ms = if from.bool()? { pane_ms(width.window_ms) } else { 0 };
        let total = from.u64()?;
        let (n, capacity) = take_row(from, 20, size_of::<Item>(), room)?;
        require(n > 0)?;
        let mut state = State { items: VecDeque::with_capacity(capacity), pane_ms, total, n: 0, known: 0 };
        for _ in 0..n {
            let item = Item { at: from.u32()?, n: from.u32()?, known: from.u32()?, total: from.u64()? };
            state.n += u64::from(item.n);
            state.known += u64::from(item.known);
            state.items.push_back(item);
        }
        pool.bytes += state.bytes();
        Ok(Ratio { head, state: Some(Box::new(state)) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    #[test]
    fn past_65_536_events_a_share_is_told_from_panes_and_ends_with_nothing() {
        let width = Width { window_ms: 256_000, enough: u64::MAX, step: 0, parts: None };
        let (mut ratio, mut pool) = (Ratio::empty(0), Heap::default());
        for i in 0..200_000i64 {
            let now = i * 3;
            ratio.expire(&mut pool, now - width.window_ms);
            // One in four.
            ratio.insert(&mut pool, &width, now, u64::from(i % 4 == 0));
            if i > 100_000 {
                let Reading { top, bottom, items, known, .. } = ratio.reading(&pool, &width);
                assert!(known && items == bottom && (84_990..=85_334).contains(&items), "{i}: {items} events");
                assert!((top * 4).abs_diff(bottom) <= 8, "{i}: {top} of {bottom}");
            }
        }
        ratio.expire(&mut pool, 600_000 + 256_000);
        assert!(ratio.is_empty(&pool) && pool.bytes() == 0 && !ratio.reading(&pool, &width).known);
    }
}
