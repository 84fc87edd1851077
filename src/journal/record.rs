//! What a record says, once it is read.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::engine::{LaneOptions, Verdict};
use crate::event::Batch;

/// What the numbers in records stand for; each segment begins with one, and each change of rules writes another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub policy_version: String,
    /// Names of feeds, by the number in [`crate::event::Source`].
    pub feeds: Vec<String>,
    /// Ids of the firewall rules and of the thresholds, by the number in [`crate::engine::RuleRef`].
    pub firewall: Vec<String>,
    pub thresholds: Vec<String>,
}

/// One record and what its numbers stand for.
#[derive(Debug)]
pub struct Record {
    pub number: u64,
    pub context: Arc<Context>,
    pub entry: Entry,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "ticks are few, and entries are not kept")]
pub enum Entry {
    /// Events as the engine took them, without duplicates and with the flags it set; their texts stand in `side`.
    Batch {
        /// Position of the first event; the others follow it.
        position: u64,
        options: LaneOptions,
        batch: Batch,
        /// What each event was told. With [`crate::event::Flags::TOLD_AGAIN`]: the verdict of its call.
        verdicts: Vec<Verdict>,
        /// `(event, firewall rule)` of `flag` rules that were met, and of rules that are counted for their own sake.
        flags: Vec<(u32, u16)>,
        tracked: Vec<(u32, u16)>,
    },
    /// Event time that passed for idle keys.
    Tick(Timestamp),
}
