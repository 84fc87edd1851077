//! What happens in the demo's hour: when which attack begins, and the calls that are placed by hand.

use anyhow::Result;
use jiff::tz::TimeZone;

use crate::event::{Attestation, Direction, Status};
use crate::simulate::call::{Call, Party};
use crate::simulate::{Intensity, Plan, Planned};

pub(super) const MINUTE_MS: i64 = 60_000;
/// Event time that is played.
pub(super) const LENGTH_MS: i64 = 60 * MINUTE_MS;
/// When the office closes. Toll fraud comes after.
pub(super) const OFFICE_CLOSES_MS: i64 = 42 * MINUTE_MS;
const CLEAN_CALLS: u64 = 3_000;

/// One of the attacks.
pub(super) struct Act {
    /// The attack's name and label.
    pub name: &'static str,
    pub title: &'static str,
    pub story: &'static str,
    /// The rule that should find it.
    pub rule: &'static str,
    pub intensity: Intensity,
    pub begin_ms: i64,
    pub length_ms: i64,
}

pub(super) const ACTS: [Act; 3] = [
    Act {
        name: "wangiri",
        title: "Wangiri",
        story: "somebody abroad rings number after number here, once and briefly, hoping to be called back",
        rule: "demo-wangiri",
        intensity: Intensity::Medium,
        begin_ms: 12 * MINUTE_MS,
        length_ms: 10 * MINUTE_MS,
    },
    Act {
        name: "tdos",
        title: "TDoS",
        story: "one main number is flooded from everywhere, a call a second, each hung up at once",
        rule: "demo-tdos",
        intensity: Intensity::Medium,
        begin_ms: 27 * MINUTE_MS,
        length_ms: 9 * MINUTE_MS,
    },
    Act {
        name: "irsf",
        title: "Toll fraud",
        story: "the office is closed, and a stolen account begins to call premium numbers abroad, many at a time",
        rule: "demo-toll-fraud",
        intensity: Intensity::Strong,
        begin_ms: 46 * MINUTE_MS,
        length_ms: 10 * MINUTE_MS,
    },
];

/// Labels of the calls placed by hand, after those of the acts.
pub(super) const NUISANCE: u16 = ACTS.len() as u16;
pub(super) const EMERGENCY: u16 = NUISANCE + 1;
pub(super) const BY_HAND: [&str; 2] = ["nuisance", "emergency"];

/// The traffic: clean calls evenly, and the acts.
pub(super) fn plan(start_ms: i64, seed: u64) -> Result<Plan> {
    let planned = |act: &Act| Planned::shipped(act.name, act.intensity, act.begin_ms, act.length_ms);
    Ok(Plan {
        calls: CLEAN_CALLS,
        seed,
        start_ms,
        duration_ms: LENGTH_MS,
        zone: TimeZone::UTC,
        customers: Vec::new(),
        registers: false,
        even: true,
        attacks: ACTS.iter().map(planned).collect::<Result<_>>()?,
    })
}

/// An own number: of the first company, by its place.
fn own(place: u64) -> Party {
    Party::Number(4_684_000_000 + place)
}

/// Callers that the written rules turn away: one of the block list, and one that borrows our own number.
pub(super) fn nuisances(start_ms: i64) -> [Call; 2] {
    let mut harasser = Call {
        attack: Some(NUISANCE),
        number: 1,
        start_ms: start_ms + 3 * MINUTE_MS,
        direction: Direction::Inbound,
        caller: Party::Number(46_705_550_199),
        callee: own(5),
        trunk: Some(4),
        source_ip: 0xc633_640e,
        account: 1,
        ring_ms: 8_000,
        talk_ms: 4_000,
        ..Call::BLANK
    };
    harasser.come_out(Status::Answered);
    let spoofed = Call {
        number: 2,
        start_ms: start_ms + 6 * MINUTE_MS,
        caller: own(7),
        callee: own(12),
        trunk: Some(0),
        source_ip: 0xc633_640a,
        attestation: Attestation::C,
        ..harasser
    };
    [harasser, spoofed]
}

/// A desk on the very account that was just blocked dials 112, and the rescue centre calls back.
pub(super) fn emergency(blocked: &Call) -> [Call; 2] {
    let mut call = Call {
        attack: Some(EMERGENCY),
        number: 1,
        start_ms: blocked.start_ms + 10_000,
        callee: Party::Short(112),
        trunk: Some(0),
        source_ip: 0xc633_640a,
        ring_ms: 3_000,
        talk_ms: 45_000,
        ..*blocked
    };
    call.come_out(Status::Answered);
    let back = Call {
        number: 2,
        start_ms: call.start_ms + 90_000,
        direction: Direction::Inbound,
        // A number of the block list: the call-back passes whoever it seems to come from.
        caller: Party::Number(46_705_550_142),
        callee: call.caller,
        attestation: Attestation::Unknown,
        ..call
    };
    [call, back]
}
