//! Values in their commonest form: texts without escapes, `+` and digits, short decimals.
//!
//! Each function reads the value that the bytes begin with into its place and returns what follows, or `None`; then the general way reads the value and says what is wrong with it, if anything. They are
//! kept out of line, since together they have more constants than a processor has registers.

use std::net::IpAddr;

use super::scan::{plain_len_from, short_plain_len, short_word_len};
use crate::event::{CallEvent, Number, Party, Text};
use crate::ingest::value::{self, Decimal};
use crate::limits::TEXT_BYTES_MAX;

/// A text of at least one byte; `at` is where `value` stands in its block.
#[inline(never)]
pub(super) fn text<'a>(value: &'a [u8], at: usize, place: &mut Text, len_max: usize) -> Option<&'a [u8]> {
    match short_plain_len(value.get(1..)?) {
        Some(len) => text_of(value, at, place, len_max, len),
        None => long_text(value, at, place, len_max),
    }
}

#[inline(never)]
fn long_text<'a>(value: &'a [u8], at: usize, place: &mut Text, len_max: usize) -> Option<&'a [u8]> {
    // What `short_plain_len` has looked at, if so many bytes followed.
    let len = if value.len() > 16 { plain_len_from(value.get(1..)?, 16) } else { plain_len_from(value.get(1..)?, 0) };
    text_of(value, at, place, len_max, len)
}

#[inline(always)]
fn text_of<'a>(value: &'a [u8], at: usize, place: &mut Text, len_max: usize, len: usize) -> Option<&'a [u8]> {
    let (text, rest) = quoted(value, len)?;
    if text.len() > len_max {
        return None;
    }
    *place = Text { at: at as u32 + 1, len: text.len() as u32 };
    Some(rest)
}

#[inline(never)]
pub(super) fn word<'a, T>(value: &'a [u8], place: &mut T, parse: impl Fn(&[u8]) -> Option<T>) -> Option<&'a [u8]> {
    let (text, rest) = quoted(value, short_word_len(value.get(1..)?)?)?;
    *place = parse(text)?;
    Some(rest)
}

/// `+46701234567` is read as the number it is; any other text is left to the dial plan.
#[inline(never)]
pub(super) fn party<'a>(value: &'a [u8], at: usize, party: &mut Party) -> Option<&'a [u8]> {
    if let Some((number, n_digits)) = value.strip_prefix(b"\"+").and_then(Number::leading_e164)
        && let Some((b'"', rest)) = value.get(n_digits + 2..).unwrap_or(&[]).split_first()
    {
        party.number = number;
        party.raw = Text { at: at as u32 + 1, len: n_digits as u32 + 1 };
        return Some(rest);
    }
    party.number = Number::ABSENT;
    text(value, at, &mut party.raw, TEXT_BYTES_MAX)
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

/// `200` and the like, else as [`number`].
#[inline(never)]
pub(super) fn code<'a>(value: &'a [u8], place: &mut u16) -> Option<&'a [u8]> {
    match short_integer(value) {
        Some((code, rest @ [b',' | b'}', ..])) if code <= u32::from(u16::MAX) => {
            *place = code as u16;
            Some(rest)
        }
        _ => number(value, place, |n| n.whole().and_then(|code| u16::try_from(code).ok())),
    }
}

/// Seconds without a fraction or with three digits of it as milliseconds, else as [`number`].
#[inline(never)]
pub(super) fn seconds<'a>(value: &'a [u8], place: &mut u32) -> Option<&'a [u8]> {
    match short_integer(value) {
        Some((whole, rest @ [b',' | b'}', ..])) => {
            *place = whole * 1000;
            Some(rest)
        }
        Some((whole, [b'.', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]))
            if matches!(rest.first(), Some(b',' | b'}')) =>
        {
            let digit = |b: &u8| u32::from(b - b'0');
            *place = whole * 1000 + digit(a) * 100 + digit(b) * 10 + digit(c);
            Some(rest)
        }
        _ => number(value, place, |n| n.seconds_ms()),
    }
}

/// An integer of one to six digits, and what follows.
#[inline(always)]
fn short_integer(value: &[u8]) -> Option<(u32, &[u8])> {
    let (first, mut rest) = value.split_first().filter(|(first, _)| first.is_ascii_digit())?;
    let mut integer = u32::from(first - b'0');
    for _ in 1..6 {
        let Some((digit @ b'0'..=b'9', after)) = rest.split_first() else { break };
        // A zero stands before no other digit.
        if integer == 0 {
            return None;
        }
        integer = integer * 10 + u32::from(digit - b'0');
        rest = after;
    }
    Some((integer, rest))
}

/// The text of `len` plain bytes between the quotes that `value` begins with, and what follows.
#[inline(always)]
fn quoted(value: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (b'"', inside) = value.split_first()? else { return None };
    let (text, rest) = inside.split_at_checked(len)?;
    let (b'"', rest) = rest.split_first()? else { return None };
    (!text.is_empty()).then_some((text, rest))
}
