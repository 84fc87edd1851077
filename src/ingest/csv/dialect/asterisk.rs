//! Asterisk's `cdr_csv` and `cdr_custom`: two orders of columns, some of them left out as configured.

use super::{Cells, Column, Own, Shape, Zone};
use crate::ingest::value;
use crate::ingest::wire::WireField;

pub(super) const OWN: Own = Own {
    words: WORDS,
    zone: Zone::Needed("Asterisk writes local times; say of which zone, or `UTC`"),
    header: Some(header),
    shape: Some(shape),
    ..Own::COMMON
};

/// What Asterisk's dispositions mean.
const WORDS: &[(WireField, &str, &str)] = &[
    (WireField::Status, "ANSWERED", "answered"),
    (WireField::Status, "ANSWER", "answered"),
    (WireField::Status, "NO ANSWER", "no_answer"),
    (WireField::Status, "NOANSWER", "no_answer"),
    (WireField::Status, "BUSY", "busy"),
    (WireField::Status, "CANCEL", "cancelled"),
    (WireField::Status, "FAILED", "failed"),
    (WireField::Status, "CONGESTION", "failed"),
    (WireField::Status, "CHANUNAVAIL", "failed"),
];

/// The order shows in where the start stands, the unique id in its shape.
fn shape(row: Cells<'_>) -> Shape {
    let is_time = |at: usize| row.cell(at).first_chunk().is_some_and(|head| value::civil_ms(head).is_some());
    let is_word = |at: usize| row.cell(at).first().is_some_and(u8::is_ascii_alphabetic);
    if (15..=22).contains(&row.len()) && is_time(8) && is_word(13) {
        return Shape::Columns(CUSTOM);
    }
    if !(16..=21).contains(&row.len()) {
        return Shape::Foreign;
    }
    Shape::Columns(if is_unique_id(row.cell(16)) { CSV_ID } else { CSV })
}

/// `1270167992.0`, also behind a system name: `pbx1-1270167992.0`.
fn is_unique_id(text: &[u8]) -> bool {
    let last = text.rsplit(|b| *b == b'-').next().unwrap_or(&[]);
    let mut parts = last.splitn(2, |b| *b == b'.');
    let digits = |part: Option<&[u8]>| part.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
    digits(parts.next()) && digits(parts.next())
}

/// The names Asterisk gives its columns (`cdr_csv.c`, `cdr_custom.conf`, database exports), and their use.
const NAMES: &[(&str, Column)] = &[
    ("accountcode", Column::Field(WireField::Account)),
    ("src", Column::Field(WireField::Caller)),
    ("dst", Column::Field(WireField::Callee)),
    ("dcontext", Column::Context),
    ("clid", Column::Clid),
    ("channel", Column::Channel),
    ("start", Column::Start),
    ("calldate", Column::Start),
    ("end", Column::Field(WireField::Time)),
    ("duration", Column::Total),
    ("billsec", Column::Field(WireField::Duration)),
    ("disposition", Column::Field(WireField::Status)),
    ("uniqueid", Column::Field(WireField::CallId)),
];

/// The columns of an Asterisk header row; `None` where the row is none.
fn header(names: &[&[u8]]) -> Option<Vec<(Column, usize)>> {
    let lower: Vec<Vec<u8>> = names.iter().map(|n| n.to_ascii_lowercase()).collect();
    let has = |name: &[u8]| lower.iter().any(|n| n == name);
    if !has(b"src") || !has(b"dst") {
        return None;
    }
    let column = |name: &Vec<u8>| NAMES.iter().find(|(n, _)| n.as_bytes() == name).map(|(_, c)| *c);
    Some(lower.iter().enumerate().filter_map(|(at, name)| Some((column(name)?, at))).collect())
}

/// `cdr_csv`: account, src, dst, context, clid, channel, dstchannel, app, data, start, answer, end, duration, billsec,
/// disposition, amaflags.
const CSV: &[(Column, usize)] = &[
    (Column::Field(WireField::Account), 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Context, 3),
    (Column::Clid, 4),
    (Column::Channel, 5),
    (Column::Start, 9),
    (Column::Field(WireField::Time), 11),
    (Column::Total, 12),
    (Column::Field(WireField::Duration), 13),
    (Column::Field(WireField::Status), 14),
];

/// As [`CSV`], with the unique id, which that file has only where it is configured.
const CSV_ID: &[(Column, usize)] = &[
    (Column::Field(WireField::Account), 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Context, 3),
    (Column::Clid, 4),
    (Column::Channel, 5),
    (Column::Start, 9),
    (Column::Field(WireField::Time), 11),
    (Column::Total, 12),
    (Column::Field(WireField::Duration), 13),
    (Column::Field(WireField::Status), 14),
    (Column::Field(WireField::CallId), 16),
];

/// The order of the sample `cdr_custom.conf`: clid first, account and unique id behind the flags.
const CUSTOM: &[(Column, usize)] = &[
    (Column::Clid, 0),
    (Column::Field(WireField::Caller), 1),
    (Column::Field(WireField::Callee), 2),
    (Column::Context, 3),
    (Column::Channel, 4),
    (Column::Start, 8),
    (Column::Field(WireField::Time), 10),
    (Column::Total, 11),
    (Column::Field(WireField::Duration), 12),
    (Column::Field(WireField::Status), 13),
    (Column::Field(WireField::Account), 15),
    (Column::Field(WireField::CallId), 16),
];
