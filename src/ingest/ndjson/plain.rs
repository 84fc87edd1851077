//! Values in their commonest form: texts without escapes, `+` and digits, short decimals.
//!
//! Each function reads the value that the bytes begin with into its place and returns what follows, or changes nothing
//! and returns `None`; then the general way reads the value and says what is wrong with it, if anything. They are
//! kept out of line, since together they have more constants than a processor has registers.

use std::net::IpAddr;

use super::scan::plain_len;
use crate::event::{CallEvent, Number, Party, Text};
use crate::ingest::value::{self, Decimal};
use crate::limits::TEXT_BYTES_MAX;

/// A text of at least one byte; `at` is where `value` stands in its block.
#[inline(never)]
pub(super) fn text<'a>(value: &'a [u8], at: usize, place: &mut Text, len_max: usize) -> Option<&'a [u8]> {
    let (text, rest) = quoted(value)?;
    if text.len() > len_max {
        return None;
    }
    *place = Text { at: at as u32 + 1, len: text.len() as u32 };
    Some(rest)
}

#[inline(never)]
pub(super) fn word<'a, T>(value: &'a [u8], place: &mut T, parse: impl Fn(&[u8]) -> Option<T>) -> Option<&'a [u8]> {
    let (text, rest) = quoted(value)?;
    *place = parse(text)?;
    Some(rest)
}

/// `+46701234567` is read as the number it is; any other text is left to the dial plan.
#[inline(never)]
pub(super) fn party<'a>(value: &'a [u8], at: usize, party: &mut Party) -> Option<&'a [u8]> {
    if let Some((number, n_digits)) = value.strip_prefix(b"\"+").and_then(Number::leading_e164)
        && let Some((b'"', rest)) = value.get(n_digits + 2..)?.split_first()
    {
        party.number = number;
        party.raw = Text { at: at as u32 + 1, len: n_digits as u32 + 1 };
        return Some(rest);
    }
    let rest = text(value, at, &mut party.raw, TEXT_BYTES_MAX)?;
    party.number = Number::ABSENT;
    Some(rest)
}

#[inline(never)]
pub(super) fn address<'a>(value: &'a [u8], event: &mut CallEvent) -> Option<&'a [u8]> {
    let (b'"', inside) = value.split_first()? else { return None };
    let (address, len) = value::leading_ipv4(inside)?;
    let (b'"', rest) = inside.get(len..)?.split_first()? else { return None };
    event.source_ip = Some(IpAddr::V4(address));
    Some(rest)
}

#[inline(never)]
pub(super) fn number<'a, T>(
    value: &'a [u8],
    place: &mut T,
    meaning: impl Fn(Decimal) -> Option<T>,
) -> Option<&'a [u8]> {
    let (number, len) = Decimal::scan_common(value)?;
    let rest = value.get(len..)?;
    *place = meaning(number)?;
    Some(rest)
}

#[inline(always)]
fn quoted(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (b'"', inside) = value.split_first()? else { return None };
    let (text, rest) = inside.split_at_checked(plain_len(inside))?;
    let (b'"', rest) = rest.split_first()? else { return None };
    (!text.is_empty()).then_some((text, rest))
}
