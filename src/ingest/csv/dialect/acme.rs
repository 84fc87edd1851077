//! Acme Packet and Oracle session border controllers: the local CSV files, in the RADIUS layout.
//!
//! Built from the published column lists; not seen with real files. The lists of releases 6.2 to 6.4 agree on every
//! column used here and differ behind them; shorter rows give what the first columns tell. Only the record of a call's end
//! gives an event: those of its start and of its middle are passed over, since the end repeats what they say.
//!
//! `cdr-output-inclusive` must be enabled: without it, the gateway leaves empty columns out and nothing tells which.

use super::{Cells, Column, Own, Shape, Zone};
use crate::ingest::csv::when::TimeFormat;
use crate::ingest::wire::WireField;

pub(super) const OWN: Own =
    Own { words: WORDS, times: TimeFormat::Clock, zone: Zone::Local, shape: Some(shape), ..Own::COMMON };

/// Acme-Disconnect-Initiator.
const WORDS: &[(WireField, &str, &str)] = &[
    (WireField::HangupBy, "0", "unknown"),
    (WireField::HangupBy, "1", "caller"),
    (WireField::HangupBy, "2", "callee"),
    (WireField::HangupBy, "3", "network"),
];

/// Columns up to and with Acme-SIP-Status.
const N_OF_STOP: usize = 135;
/// Columns up to and with h323-disconnect-cause, which stand in the same place in every list.
const N_OF_HEAD: usize = 17;

fn shape(row: Cells<'_>) -> Shape {
    match row.cell(0) {
        b"2" | b"Stop" if row.len() >= N_OF_STOP => Shape::Columns(STOP),
        b"2" | b"Stop" if row.len() >= N_OF_HEAD => Shape::Columns(HEAD),
        b"1" | b"Start" | b"3" | b"Interim-Update" | b"7" | b"Accounting-On" | b"8" | b"Accounting-Off" => {
            Shape::PassedOver
        }
        _ => Shape::Foreign,
    }
}

const HEAD: &[(Column, usize)] = &[
    (Column::Field(WireField::CallId), 4),
    (Column::NameAddr(WireField::Caller), 9),
    (Column::NameAddr(WireField::Callee), 10),
    (Column::Field(WireField::Duration), 12),
    (Column::Start, 13),
    (Column::Answer, 14),
    (Column::Field(WireField::Time), 15),
];

const STOP: &[(Column, usize)] = &[
    (Column::Field(WireField::CallId), 4),
    (Column::NameAddr(WireField::Caller), 9),
    (Column::NameAddr(WireField::Callee), 10),
    (Column::Field(WireField::Duration), 12),
    (Column::Start, 13),
    (Column::Answer, 14),
    (Column::Field(WireField::Time), 15),
    // The ingress realm; the originating trunk group where there is one.
    (Column::Field(WireField::Trunk), 22),
    (Column::Milliseconds(WireField::Setup), 119),
    (Column::Field(WireField::Trunk), 121),
    (Column::NameAddr(WireField::Asserted), 125),
    (Column::Address, 127),
    (Column::NameAddr(WireField::Diverting), 130),
    (Column::Field(WireField::HangupBy), 132),
    (Column::Cause, 133),
    (Column::Field(WireField::SipCode), 134),
];
