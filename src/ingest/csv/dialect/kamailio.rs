//! Kamailio's and OpenSIPS' `acc`: one row a transaction, from `db_flatstore` (`|`) or out of a database (commas, often
//! with an id in front). Rows are paired into calls: see [`super::super::pairs`].
//!
//! The seven columns of `acc` are known; what an installation adds (`db_extra`) is numbered in the settings, except
//! the order of Kamailio's sample configuration, which shows in its shape.

use super::{Cells, Column, Own, Shape, by_name};
use crate::ingest::value;
use crate::ingest::wire::WireField;

pub(super) const OWN: Own =
    Own { delimiter: b'|', header: Some(header), shape: Some(shape), adds_columns: true, pairs: true, ..Own::COMMON };

fn header(names: &[&[u8]]) -> Option<Vec<(Column, usize)>> {
    by_name(NAMES, names, &["method", "callid", "sip_code", "time"])
}

const NAMES: &[(&str, Column)] = &[
    ("method", Column::Field(WireField::Method)),
    ("from_tag", Column::FromTag),
    ("to_tag", Column::ToTag),
    ("callid", Column::Field(WireField::CallId)),
    ("sip_code", Column::Field(WireField::SipCode)),
    ("time", Column::Field(WireField::Time)),
    ("duration", Column::Field(WireField::Duration)),
    ("setuptime", Column::Field(WireField::Setup)),
    ("src_user", Column::Field(WireField::Caller)),
    ("caller", Column::Field(WireField::Caller)),
    ("src_domain", Column::Field(WireField::Domain)),
    ("src_ip", Column::Address),
    ("dst_ouser", Column::Field(WireField::Callee)),
    ("dst_user", Column::Field(WireField::Callee)),
    ("callee", Column::Field(WireField::Callee)),
];

/// Columns of `acc` itself.
const N_PLAIN: usize = 7;
/// With those of the sample configuration.
const N_SAMPLE: usize = 13;

fn shape(row: Cells<'_>) -> Shape {
    let is_method = |at: usize| {
        let cell = row.cell(at);
        cell.len() >= 3 && cell.iter().all(u8::is_ascii_uppercase)
    };
    let first = match (is_method(0), is_method(1)) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => return Shape::Foreign,
    };
    let code = row.cell(first + 4);
    if row.len() < first + N_PLAIN || code.len() != 3 || !code.iter().all(u8::is_ascii_digit) {
        return Shape::Foreign;
    }
    let is_sample = row.len() >= first + N_SAMPLE
        && value::ip(row.cell(first + 9)).is_some()
        && !row.cell(first + 8).contains(&b'@')
        && !row.cell(first + 10).contains(&b':')
        && !row.cell(first + 11).contains(&b':')
        && value::ip(row.cell(first + 10)).is_none();
    Shape::Columns(match (is_sample, first) {
        (false, 0) => &columns::<0>().0,
        (false, _) => &columns::<1>().0,
        (true, 0) => &columns::<0>().1,
        (true, _) => &columns::<1>().1,
    })
}

type Tables = ([(Column, usize); 6], [(Column, usize); 11]);

/// method, from tag, to tag, Call-ID, code, reason, time; of the sample: src_user, src_domain, src_ip, dst_ouser, dst_user,
/// dst_domain. They begin at `FIRST`.
fn columns<const FIRST: usize>() -> &'static Tables {
    const {
        &(
            [
                (Column::Field(WireField::Method), FIRST),
                (Column::FromTag, FIRST + 1),
                (Column::ToTag, FIRST + 2),
                (Column::Field(WireField::CallId), FIRST + 3),
                (Column::Field(WireField::SipCode), FIRST + 4),
                (Column::Field(WireField::Time), FIRST + 6),
            ],
            [
                (Column::Field(WireField::Method), FIRST),
                (Column::FromTag, FIRST + 1),
                (Column::ToTag, FIRST + 2),
                (Column::Field(WireField::CallId), FIRST + 3),
                (Column::Field(WireField::SipCode), FIRST + 4),
                (Column::Field(WireField::Time), FIRST + 6),
                (Column::Field(WireField::Caller), FIRST + 7),
                (Column::Field(WireField::Domain), FIRST + 8),
                (Column::Address, FIRST + 9),
                (Column::Field(WireField::Callee), FIRST + 10),
                (Column::Field(WireField::Callee), FIRST + 11),
            ],
        )
    }
}
