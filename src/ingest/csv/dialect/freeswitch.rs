//! FreeSWITCH's `mod_cdr_csv`: the templates that ship as "example" (and "snom" and "linksys", which go on behind it),
//! "asterisk" and "opencdrrate", told apart by where their times stand.
//!
//! "example" was seen with real rows; the two others are built from the templates. Stamps are local times. The
//! `direction` of "opencdrrate" is that of a channel and not of the customer, so it counts only where the settings
//! say what its words mean; so does the context.

use super::{Cells, Column, Own, Shape, Zone};
use crate::ingest::value;
use crate::ingest::wire::WireField;

pub(super) const OWN: Own = Own {
    zone: Zone::Needed("FreeSWITCH writes local times; say of which zone, or `UTC`"),
    shape: Some(shape),
    ..Own::COMMON
};

fn shape(row: Cells<'_>) -> Shape {
    let is_time = |at: usize| row.cell(at).first_chunk().is_some_and(|head| value::civil_ms(head).is_some());
    match row.len() {
        13.. if is_time(4) && is_time(6) => Shape::Columns(EXAMPLE),
        17.. if is_time(9) && is_time(11) => Shape::Columns(ASTERISK),
        13 if is_time(6) => Shape::Columns(OPENCDRRATE),
        _ => Shape::Foreign,
    }
}

/// caller name, caller number, destination, context, start, answer, end, duration, billsec, cause, uuid, uuid of the
/// B-leg, account, codecs.
const EXAMPLE: &[(Column, usize)] = &[
    (Column::Field(WireField::CallerName), 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Context, 3),
    (Column::Start, 4),
    (Column::Answer, 5),
    (Column::Field(WireField::Time), 6),
    (Column::Total, 7),
    (Column::Field(WireField::Duration), 8),
    (Column::Cause, 9),
    (Column::Field(WireField::CallId), 10),
    (Column::Field(WireField::Account), 12),
];

/// As Asterisk orders them, with the cause of the hangup for its disposition.
const ASTERISK: &[(Column, usize)] = &[
    (Column::Field(WireField::Account), 0),
    (Column::Clid, 4),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Context, 3),
    (Column::Start, 9),
    (Column::Answer, 10),
    (Column::Field(WireField::Time), 11),
    (Column::Total, 12),
    (Column::Field(WireField::Duration), 13),
    (Column::Cause, 14),
    (Column::Field(WireField::CallId), 16),
];

/// uuid, bond, direction, ani, destination, answer, end, billsec, account, user field, address, initial of the caller's
/// name, gateway.
const OPENCDRRATE: &[(Column, usize)] = &[
    (Column::Field(WireField::CallId), 0),
    (Column::ChannelDirection, 2),
    (Column::Field(WireField::Caller), 3),
    (Column::Field(WireField::Callee), 4),
    (Column::Answer, 5),
    (Column::Field(WireField::Time), 6),
    (Column::Field(WireField::Duration), 7),
    (Column::Field(WireField::Account), 8),
    (Column::Address, 10),
    (Column::Field(WireField::Trunk), 12),
];
