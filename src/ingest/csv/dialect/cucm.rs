//! Cisco Unified Communications Manager: files with a row of names, a row of SQL types, then the calls.
//!
//! Built from the published columns; not seen with real files. Times are epoch seconds in UTC. The callee is who the
//! call went to in the end; the dialled number stands in for it where that is empty, and `diverting` is who sent the
//! call on. Conferences and transfers give several rows, each a call of its own as CUCM counts them.

use super::{Cells, Column, Own, by_name};
use crate::ingest::csv::when::TimeFormat;
use crate::ingest::wire::WireField;

pub(super) const OWN: Own =
    Own { times: TimeFormat::Epoch, header: Some(header), passes_over: is_row_of_types, ..Own::COMMON };

fn header(names: &[&[u8]]) -> Option<Vec<(Column, usize)>> {
    by_name(NAMES, names, &["callingPartyNumber", "finalCalledPartyNumber", "dateTimeDisconnect"])
}

/// `INTEGER,INTEGER,VARCHAR(50),...`
fn is_row_of_types(row: Cells<'_>) -> bool {
    let is_type = |cell: &[u8]| {
        let word = cell.split(|b| *b == b'(').next().unwrap_or(cell);
        ["INTEGER", "VARCHAR", "BIGINT", "UNIQUEIDENTIFIER"].iter().any(|t| t.as_bytes().eq_ignore_ascii_case(word))
    };
    is_type(row.cell(0)) && is_type(row.cell(1))
}

const NAMES: &[(&str, Column)] = &[
    ("dateTimeOrigination", Column::Start),
    ("dateTimeConnect", Column::Answer),
    ("dateTimeDisconnect", Column::Field(WireField::Time)),
    ("duration", Column::Field(WireField::Duration)),
    ("callingPartyNumber", Column::Field(WireField::Caller)),
    ("originalCalledPartyNumber", Column::Field(WireField::Callee)),
    ("finalCalledPartyNumber", Column::Field(WireField::Callee)),
    ("lastRedirectDn", Column::Redirector),
    ("origCause_value", Column::CallerCause),
    ("destCause_value", Column::CalleeCause),
    ("origIpAddr", Column::LittleEndianAddress),
    ("origIpv4v6Addr", Column::Address),
    ("origDeviceName", Column::Field(WireField::Trunk)),
    ("callingPartyUnicodeLoginUserID", Column::Field(WireField::Account)),
    ("globalCallID_callManagerId", Column::IdPart),
    ("globalCallID_callId", Column::IdPart),
    ("incomingProtocolCallRef", Column::SipCallId),
];
