//! BroadWorks: CSV by the published order of columns, and the XML files of version 19.
//!
//! The XML was seen with real files; the CSV is built from the published columns and was not. Times are UTC in one
//! run of digits, unless the settings name another zone. Rows and elements of the type `Normal` are calls; those of a
//! call that still goes on and the marks of a file's start and end are passed over.

use super::{Cells, Column, Elements, Own, Shape, Zone};
use crate::ingest::csv::when::TimeFormat;
use crate::ingest::wire::WireField;

pub(super) const OWN: Own =
    Own { words: WORDS, times: TimeFormat::Compact, zone: Zone::Utc, shape: Some(shape), ..Own::COMMON };

pub(super) const OWN_XML: Own = Own { words: WORDS, times: TimeFormat::Compact, zone: Zone::Utc, ..XML };

const XML: Own = Own {
    elements: Some(&Elements { open: b"<cdrData", close: b"</cdrData>", root: b"broadWorksCDR", names: NAMES }),
    passes_over: |record| !record.cell(0).eq_ignore_ascii_case(b"Normal"),
    ..Own::COMMON
};

const WORDS: &[(WireField, &str, &str)] = &[
    (WireField::Direction, "Originating", "outbound"),
    (WireField::Direction, "Terminating", "inbound"),
    (WireField::Direction, "Group", "internal"),
    (WireField::Direction, "Enterprise", "internal"),
];

/// Up to and with the Call-ID of the network.
const N_MIN: usize = 25;

fn shape(row: Cells<'_>) -> Shape {
    match row.cell(2) {
        b"Normal" if row.len() >= N_MIN => Shape::Columns(COLUMNS),
        b"Start" | b"End" | b"Interim" | b"Long Duration" | b"Duration" | b"Failover" => Shape::PassedOver,
        _ => Shape::Foreign,
    }
}

const COLUMNS: &[(Column, usize)] = &[
    (Column::Side, 5),
    (Column::Field(WireField::Caller), 6),
    (Column::Presentation, 7),
    (Column::Field(WireField::Callee), 8),
    (Column::Start, 9),
    (Column::Answer, 12),
    (Column::Answered, 11),
    (Column::Field(WireField::Time), 13),
    (Column::Cause, 14),
    (Column::ReleasedBy, 22),
    (Column::Field(WireField::Trunk), 23),
    // The access side's Call-ID, and the network's where the call left the system.
    (Column::Field(WireField::CallId), 27),
    (Column::Field(WireField::CallId), 24),
    (Column::Address, 26),
    (Column::Redirector, 38),
    (Column::Field(WireField::Account), 120),
];

/// The type stands first: see [`XML`].
const NAMES: &[(&str, Column)] = &[
    ("type", Column::Nothing),
    ("direction", Column::Side),
    ("asCallType", Column::Side),
    ("callingNumber", Column::Field(WireField::Caller)),
    ("callingPresentationIndicator", Column::Presentation),
    ("calledNumber", Column::Field(WireField::Callee)),
    ("startTime", Column::Start),
    ("answerTime", Column::Answer),
    ("answerIndicator", Column::Answered),
    ("releaseTime", Column::Field(WireField::Time)),
    ("terminationCause", Column::Cause),
    ("releasingParty", Column::ReleasedBy),
    ("route", Column::Field(WireField::Trunk)),
    ("trunkGroupName", Column::Field(WireField::Trunk)),
    ("localCallId", Column::Field(WireField::CallId)),
    ("accessCallID", Column::Field(WireField::CallId)),
    ("networkCallID", Column::Field(WireField::CallId)),
    ("accessDeviceAddress", Column::Address),
    ("redirectingNumber", Column::Redirector),
    ("userAgent", Column::Field(WireField::UserAgent)),
    ("userId", Column::Field(WireField::Account)),
];
