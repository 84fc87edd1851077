//! Rules that are warming: their windows lack what was before the rule began, until a backfill has told it or a window has
//! passed (2-rules 2.9 point 18).
//!
//! Meanwhile they count what comes. What counts too little is right when it fires; one thing it may fire for that a rule
//! with a past would not: an event that is too late for the past's windows, whose level did hold when it was. A quotient of
//! too little may be anything, a value to fall below is met by nothing at all, and to who remembers nothing all is new:
//! such rules raise nothing until they are warm.
//!
//! Which rules these are changes at a place in the engine's order, like everything else: it is kept at the turnstile,
//! goes with each batch, and is saved as it was where the marker passed. Nothing here reads an archive or a clock.

use std::sync::Arc;

use super::judged::{RuleRef, Verdict};
use super::plan::{Counter, MeterKind, Plan};
use super::{Engine, enter};
use crate::clock::Timestamp;
use crate::event::{CallEvent, Flags};
use crate::policy::Action;
use crate::window::PartKind;

/// What a rule's windows are short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Everything before it began. Saved state that says so is not read again: the rule begins anew once more, since
    /// how much of its past it has been told is not known.
    Past,
    /// Something, that nobody will tell it; from this instant on it is out of every window. [`Timestamp::MAX`]: until
    /// whoever knows the time says when.
    Until(Timestamp),
}

/// A rule that is warming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub rule: RuleRef,
    pub lack: Lack,
    /// How long an event stays in its windows, ms.
    pub window_ms: i64,
    /// Events of the past can warm it: not where it counts the calls that are up, or asks what a list held then.
    pub can_be_told: bool,
    /// How long it is not warm yet when it has been told, ms: what came before the telling was held against too little, and
    /// may count as new until it leaves the window.
    pub settles_ms: i64,
}

/// Rules whose levels are not tested: they count alone.
#[derive(Clone, Debug, Default)]
pub struct Quiet(Option<Arc<[bool]>>);

impl Quiet {
    fn of(counters: impl Iterator<Item = bool>) -> Quiet {
        let of: Vec<bool> = counters.collect();
        Quiet(of.contains(&true).then(|| of.into()))
    }

    pub(crate) fn has(&self, counter: u16) -> bool {
        self.0.as_ref().is_some_and(|of| of.get(usize::from(counter)).copied().unwrap_or_default())
    }
}

/// Since when events of the past count, by counter; for the others they never do.
#[derive(Clone, Debug)]
pub struct Past(Arc<[i64]>);

impl Past {
    pub(crate) fn wants(&self, counter: u16, event: &CallEvent) -> bool {
        self.0.get(usize::from(counter)).is_some_and(|from| *from <= event.time.0)
    }
}

/// What is still told of an event of the past.
#[derive(Debug)]
pub(crate) struct PastWork {
    pub(crate) past: Past,
    pub(crate) verdicts: Vec<Verdict>,
}

impl PastWork {
    /// The verdict as thresholds count it, see [`super::judged::Recorded`].
    pub(crate) fn counted_as(&self, index: usize, event: &CallEvent) -> Verdict {
        let told = self.verdicts.get(index).copied().unwrap_or_default();
        // It was blocked by what it was counted for.
        if event.flags.has(Flags::OWN_BLOCK) { Verdict { action: Action::Allow, ..told } } else { told }
    }
}

/// The rules that are warming at one place in the engine's order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warming {
    /// By counter; empty: none.
    pub(crate) lacks: Vec<Option<Lack>>,
    /// Of those, the rules that may be wrong before they are warm: what counts too little is right when it fires, a
    /// quotient of too little is not.
    pub(crate) quiet: Quiet,
}

impl Warming {
    pub(crate) fn new(lacks: Vec<Option<Lack>>, plan: &Plan) -> Warming {
        let counters = plan.counters.iter().zip(&lacks);
        let quiet = Quiet::of(counters.map(|(counter, lack)| lack.is_some() && may_be_wrong(counter)));
        Warming { quiet, lacks }
    }

    pub(crate) fn lack(&self, counter: usize) -> Option<Lack> {
        self.lacks.get(counter).copied().flatten()
    }
}

/// Does it tell new values from those it has seen?
fn remembers(counter: &Counter) -> bool {
    let mut parts = counter.terms.width.parts.iter().flat_map(|parts| parts.iter());
    parts.any(|part| matches!(part.kind, PartKind::FirstSeen(_)))
}

/// May a level seem to hold because something is missing: of a quotient, a value to fall below, or one that was not seen?
fn may_be_wrong(counter: &Counter) -> bool {
    let terms = &counter.terms;
    let mut parts = terms.width.parts.iter().flat_map(|parts| parts.iter());
    counter.meter == MeterKind::Ratio
        || parts.any(|part| part.kind == PartKind::Ratio)
        || remembers(counter)
        || terms.is_downward
        || terms.also.iter().any(|also| !also.level.is_upward())
}

/// A rule without a window has no past.
pub(crate) fn has_past(counter: &Counter) -> bool {
    counter.terms.width.window_ms > 0
}

impl Engine {
    /// The rules that are warming.
    pub fn lacking(&self) -> Vec<Lacking> {
        let (generation, warming) = {
            let turnstile = enter(&self.0.turnstile);
            (Arc::clone(&turnstile.generation), turnstile.warming.clone())
        };
        let plan = &generation.plan;
        let lacking = |(i, counter): (usize, &Counter)| {
            Some(Lacking {
                rule: counter.rule,
                lack: warming.lack(i)?,
                window_ms: counter.terms.width.reach_ms(),
                settles_ms: if remembers(counter) { counter.terms.width.window_ms } else { 0 },
                can_be_told: counter.meter != MeterKind::Concurrent && !plan.reads_dynamic(counter),
            })
        };
        plan.counters.iter().enumerate().filter_map(lacking).collect()
    }

    /// What a rule is short of, from this place in the order on; `None`: it is warm.
    pub fn set_lack(&self, rule: RuleRef, lack: Option<Lack>) {
        self.set_lacks(|counter, before| if counter.rule == rule { lack } else { before });
    }

    /// The state was lost: every rule is short of the past.
    pub fn lack_all(&self) {
        self.set_lacks(|counter, _| has_past(counter).then_some(Lack::Past));
    }

    fn set_lacks(&self, lack: impl Fn(&Counter, Option<Lack>) -> Option<Lack>) {
        let mut turnstile = enter(&self.0.turnstile);
        let plan = Arc::clone(&turnstile.generation.plan);
        let before = &turnstile.warming;
        let counters = plan.counters.iter().enumerate();
        let lacks = counters.map(|(i, counter)| lack(counter, before.lack(i)).filter(|_| has_past(counter))).collect();
        turnstile.warming = Warming::new(lacks, &plan);
    }

    /// The rules of which `is_quiet`, for [`super::Recorded::quiet`].
    pub fn quiet(&self, is_quiet: impl Fn(RuleRef) -> bool) -> Quiet {
        Quiet::of(self.0.generation().plan.counters.iter().map(|counter| is_quiet(counter.rule)))
    }

    /// Rules that are to be told of the past, each from an instant on, for [`super::Ticket::submit_past`].
    pub fn past(&self, from: &[(RuleRef, Timestamp)]) -> Past {
        let from = |counter: &Counter| from.iter().find(|(rule, _)| *rule == counter.rule).map_or(i64::MAX, |f| f.1.0);
        Past(self.0.generation().plan.counters.iter().map(from).collect())
    }
}
