//! What was judged, put back into the order in which it happened: what time brought and closed comes before the event
//! that let it be seen, what the event did comes after it.

use crate::engine::{Closed, Judged, Put, Violation};

/// One event of a batch, or what came behind its last, and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Turn<'j> {
    /// In order of time.
    pub(crate) before: Vec<Before<'j>>,
    /// Its place in the batch; `None` behind the last.
    pub(crate) event: Option<usize>,
    /// What it raised.
    pub(crate) raised: Vec<&'j Violation>,
    /// What it put on dynamic lists.
    pub(crate) listed: Vec<&'j Put>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Before<'j> {
    Closed(&'j Closed),
    /// A level that was raised because time passed, and what that put on dynamic lists goes behind it.
    Timed(&'j Violation),
    Listed(&'j Put),
}

/// The turns of a batch.
pub(crate) fn turns(judged: &Judged) -> impl Iterator<Item = Turn<'_>> {
    let mut closed = judged.closed.iter().peekable();
    let mut violations = judged.violations.iter().peekable();
    let mut listed = judged.listed.iter().peekable();
    let events = judged.batch.events.iter().map(Some).chain([None]).enumerate();
    events.map(move |(i, event)| {
        let is_its = |of: u32| event.is_none() || of as usize <= i;
        let (mut timed, mut raised) = (Vec::new(), Vec::new());
        while let Some(violation) = violations.next_if(|violation| is_its(violation.event)) {
            if violation.is_timed || event.is_none() { &mut timed } else { &mut raised }.push(violation);
        }
        // Those of several rules stand one rule after the other.
        timed.sort_by_key(|violation| violation.time);
        let mut turn = Turn { before: Vec::new(), event: event.map(|_| i), raised, listed: Vec::new() };
        let mut timed = timed.into_iter().peekable();
        let mut puts = Vec::new();
        while let Some(put) = listed.next_if(|put| is_its(put.event)) {
            let made = |violation: &Violation| {
                violation.rule == put.rule && violation.customer == put.customer && violation.key == put.key
            };
            if turn.raised.iter().any(|violation| made(violation)) { &mut turn.listed } else { &mut puts }.push(put);
        }
        loop {
            let next = timed.peek().map(|violation| violation.time);
            // A cooldown that ends at an instant has ended before what happens then.
            let is_over =
                |one: &&Closed| event.is_none_or(|e| one.time <= e.time) && next.is_none_or(|next| one.time <= next);
            if let Some(one) = closed.next_if(is_over) {
                turn.before.push(Before::Closed(one));
            } else if let Some(violation) = timed.next() {
                turn.before.push(Before::Timed(violation));
                let of_it = |put: &&Put| put.rule == violation.rule && put.key == violation.key;
                turn.before.extend(puts.iter().copied().filter(of_it).map(Before::Listed));
            } else {
                return turn;
            }
        }
    })
}
