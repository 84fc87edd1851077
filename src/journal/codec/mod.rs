//! A batch as bytes: what the engine took of it and what it said, and back again, exactly.
//!
//! ```text
//! prelude: options, arrival, feed, gateway, highest seq, counts and lengths of what follows
//! heads:   an event each: a word that tells which fields it has, then those fields
//! texts:   the bytes of all texts, in the order in which the heads name their lengths
//! hits:    flags, then tracked rules
//! annex:   the rest
//! ```
//!
//! Texts stand apart so that reading copies them at once. A number as the gateway wrote it is left out where the
//! number itself tells it. Times and running numbers are differences to the event before.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::Encoder;

/// The word before an event: its small fields as they are, and one bit for each of the others that is there.
mod word {
    pub(super) const DIRECTION: u32 = 3;
    pub(super) const CALL_TYPE: u32 = 5;
    pub(super) const STATUS: u32 = 8;
    pub(super) const HANGUP_BY: u32 = 11;
    pub(super) const ATTESTATION: u32 = 13;

    pub(super) const SEQ: u64 = 1 << 16;
    pub(super) const CUSTOMER: u64 = 1 << 17;
    pub(super) const GATEWAY: u64 = 1 << 18;
    pub(super) const FLAGS: u64 = 1 << 19;
    pub(super) const Q850: u64 = 1 << 20;
    pub(super) const SIP_CODE: u64 = 1 << 21;
    pub(super) const DURATION: u64 = 1 << 22;
    pub(super) const RING: u64 = 1 << 23;
    pub(super) const SETUP: u64 = 1 << 24;
    pub(super) const COST: u64 = 1 << 25;
    pub(super) const IPV4: u64 = 1 << 26;
    pub(super) const IPV6: u64 = 1 << 27;
    /// The verdict is not that of the event before.
    pub(super) const VERDICT: u64 = 1 << 28;
    /// Four bits a party, in the order caller, callee, asserted, diverting.
    pub(super) const PARTIES: u32 = 29;
    pub(super) const PARTY_BITS: u32 = 4;
    /// One bit a text, in the order of [`super::texts`].
    pub(super) const TEXTS: u32 = PARTIES + 4 * PARTY_BITS;
    pub(super) const END: u32 = TEXTS + 9;

    /// Within the bits of a party.
    pub(super) const NUMBER: u64 = 1;
    /// What the gateway wrote, two bits: nothing, the number as it prints, its digits without the `+`, or a text.
    pub(super) const RAW: u32 = 1;
    pub(super) const RAW_PRINTED: u64 = 1;
    pub(super) const RAW_DIGITS: u64 = 2;
    pub(super) const RAW_TEXT: u64 = 3;
    pub(super) const TEXT: u64 = 1 << 3;
}

use crate::event::{CallEvent, Text};

/// The texts of an event that are no party's, in the order in which they are written.
#[inline(always)]
fn texts(event: &CallEvent) -> [Text; 9] {
    [
        event.call_id,
        event.trunk,
        event.leg,
        event.account,
        event.extension,
        event.caller_name,
        event.domain,
        event.user_agent,
        event.method,
    ]
}

/// Bits of the lane's options in the prelude.
mod options {
    use crate::engine::LaneOptions;

    pub(super) fn to_bits(options: LaneOptions) -> u64 {
        let LaneOptions { merge, dedup, verdict, both_legs } = options;
        u64::from(merge) | u64::from(dedup) << 1 | u64::from(verdict) << 2 | u64::from(both_legs) << 3
    }

    pub(super) fn from_bits(bits: u64) -> Option<LaneOptions> {
        let has = |i: u32| bits >> i & 1 != 0;
        (bits < 16).then(|| LaneOptions { merge: has(0), dedup: has(1), verdict: has(2), both_legs: has(3) })
    }
}

/// What [`word`] leaves out is zero, and a field it has no bit for cannot be written.
const _: () = assert!(word::END <= u64::BITS);
/// Shortest head of an event: the word and its time. Bounds what a count of events may claim.
const HEAD_BYTES_MIN: usize = size_of::<u64>() + 1;
