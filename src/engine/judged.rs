//! What the engine says of a batch.

use std::sync::Arc;

use super::warming::Quiet;
use super::{LaneOptions, Restored};
use crate::clock::Timestamp;
use crate::event::{Batch, CallEvent, CustomerId, Flags};
use crate::policy::{Action, Cause, Policy, Severity};

/// A batch with everything that was decided about it.
#[derive(Debug, Default)]
pub struct Judged {
    pub batch: Batch,
    /// One an event.
    pub verdicts: Vec<Verdict>,
    /// `(event, firewall rule)` of each `flag` rule that matched, in order of events.
    pub flags: Vec<(u32, u16)>,
    /// By event, then rule order.
    pub violations: Vec<Violation>,
    /// What thresholds put on dynamic lists.
    pub listed: Vec<Put>,
    /// Episodes that closed, by events of this batch or by a tick.
    pub closed: Vec<Closed>,
    /// Events no rule saw because they came before.
    pub duplicates: u32,
    /// What the rules counted.
    pub counts: Counts,
    /// Its place in the engine's order.
    pub sequence: u64,
    /// What its source promised.
    pub options: LaneOptions,
    /// `(event, firewall rule)` of each rule that is counted for its own sake and was met.
    pub tracked: Vec<(u32, u16)>,
    /// Event time that passed for idle keys; such a batch has no events.
    pub tick: Option<Timestamp>,
    /// The save whose place in the order this is, by [`super::Save::number`]; nothing else came with it.
    pub marker: Option<u64>,
    /// The journal's number of its record and the position of its first event there, set by whoever journals; 0: none.
    pub record: u64,
    pub position: u64,
    /// The journal had no room for it: nobody may be told that it is kept. Set by whoever journals.
    pub is_outside: bool,
    /// What was told of it before a crash is told of it again.
    pub is_recovered: bool,
    /// Events of the past that warmed the windows of rules and did nothing else: not to be journaled, counted or told of.
    /// Only what `closed` is news.
    pub is_warm: bool,
    /// What an engine that is watched says besides, by event, then rule order; else empty.
    pub observed: Vec<Observation>,
    /// `(event, firewall rule)` of each match of a rule that is not in force; of an engine that is watched.
    pub would: Vec<(u32, u16)>,
    /// The rules that judged it: what its numbers of rules and lists stand for.
    pub policy: Arc<Policy>,
    /// The rules that judge what comes behind it. Nothing else came with it, but that episodes closed whose rules are
    /// there no more or begin anew.
    pub swapped: Option<Box<Successor>>,
}

/// The policy that comes into force behind a place in the engine's order.
#[derive(Debug)]
pub struct Successor {
    pub policy: Arc<Policy>,
    /// What became of the rules, by their numbers in it.
    pub rules: Restored,
}

/// What an engine tells besides what it found. Costs memory by the event: for those who replay and measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    #[default]
    Nothing,
    /// Each event that a threshold counted for a key whose episode was open, the crossing ones included.
    Open,
    /// Each event that a threshold counted.
    All,
}

/// An event that a threshold counted, and what the key's window showed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Index of the event into its batch.
    pub event: u32,
    pub rule: RuleRef,
    /// The key's hash; the same in every engine of one seed.
    pub key: u64,
    /// The end of the window: the event's time, but for a late one.
    pub time: Timestamp,
    /// The value is `top / bottom`, in the unit of the rule's limits; for shares a part of one.
    pub top: u64,
    pub bottom: u64,
    /// There is something to divide by, and `min_count` is met.
    pub counts: bool,
    /// Of the episode that is open.
    pub level: Option<Severity>,
    /// Counted under `(other)`.
    pub other: bool,
}

/// What a batch was told before a crash, by the rules of now; recovery applies it instead of judging again.
#[derive(Debug, Default)]
pub struct Recorded {
    /// One an event.
    pub verdicts: Vec<Verdict>,
    /// As in [`Judged`].
    pub flags: Vec<(u32, u16)>,
    pub tracked: Vec<(u32, u16)>,
    pub record: u64,
    pub position: u64,
    /// Rules that were not there then: what is past must not raise an alarm because a rule is new today.
    pub quiet: Quiet,
}

impl Recorded {
    /// What the event was told for its own sake; `None`: nothing, it got the verdict of its call.
    pub(crate) fn own(&self, index: usize, event: &CallEvent) -> Option<Verdict> {
        self.verdicts.get(index).copied().filter(|_| !event.flags.has(Flags::TOLD_AGAIN))
    }
}

/// How often rules were met by the events of a batch.
#[derive(Debug, Default)]
pub struct Counts {
    /// By firewall rule: events that it decided, flagged, or would have.
    pub firewall: Vec<u32>,
    /// Of the rules that counted anything.
    pub rules: Vec<RuleCounts>,
}

#[derive(Clone, Copy, Debug)]
pub struct RuleCounts {
    pub rule: RuleRef,
    pub counted: u64,
    pub late: u64,
    pub too_late: u64,
    pub evicted: u64,
    /// Blocks that a full or forbidden list refused.
    pub refused: u64,
    /// How many more keys, and bytes, the rule holds than at the tick before; told with ticks only.
    pub keys: i64,
    pub bytes: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub action: Action,
    pub cause: Cause,
    pub rule: RuleRef,
}

/// Which rule decided or was violated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleRef {
    #[default]
    Default,
    Emergency,
    /// Index into [`crate::policy::Policy::firewall`].
    Firewall(u16),
    /// Index into [`crate::policy::Policy::thresholds`].
    Threshold(u16),
}

/// One crossing of one threshold by one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Index of the event into its batch; where time brought it, only its place in the order.
    pub event: u32,
    /// A level had held for long enough, a call grew too old, a window emptied: no event is to blame.
    pub is_timed: bool,
    /// The episode goes on, and it is time to say so again.
    pub is_reminder: bool,
    pub rule: RuleRef,
    pub level: Severity,
    pub time: Timestamp,
    pub value: f64,
    /// What is usual of the key in that hour of the week, in thousandths of what levels are in, where they are held
    /// against it.
    pub usual: Option<u64>,
    /// Found by an event older than the key's newest.
    pub late: bool,
    /// One of the rule's `mute`: it goes on record, and nobody is told.
    pub is_muted: bool,
    pub customer: CustomerId,
    /// `per` entry and value.
    pub key: Arc<[(String, String)]>,
}

impl Judged {
    /// The event that crossed the level; none where time did.
    pub fn event_of(&self, violation: &Violation) -> Option<&CallEvent> {
        self.batch.events.get(violation.event as usize).filter(|_| !violation.is_timed)
    }
}

/// A value that a threshold put on a dynamic list. It holds until the episode closes, and the rule's `ttl` more.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// Index of the event into its batch; none of it where a tick brought it.
    pub event: u32,
    /// When it was put there.
    pub time: Timestamp,
    pub rule: RuleRef,
    pub customer: CustomerId,
    /// The key whose episode holds it.
    pub key: Arc<[(String, String)]>,
    /// Index into [`crate::policy::Policy::lists`].
    pub list: usize,
    pub value: String,
    pub ttl_ms: i64,
}

/// An episode that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenEpisode {
    pub rule: RuleRef,
    /// The highest it has reached.
    pub level: Severity,
    /// Time of its first violation.
    pub since: Timestamp,
    /// See [`Violation::is_muted`].
    pub is_muted: bool,
    pub customer: CustomerId,
    /// `per` entry and value, as in the violation that opened it.
    pub key: Arc<[(String, String)]>,
}

/// An episode that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    pub rule: RuleRef,
    pub customer: CustomerId,
    /// `per` entry and value, as in the violation that opened it.
    pub key: Arc<[(String, String)]>,
    /// The instant from which it counts as closed.
    pub time: Timestamp,
}
