//! Values as gateways write them: decimals, times, addresses. Exact, total, no allocation.

use std::net::{IpAddr, Ipv4Addr};

use crate::clock::{Timestamp, days_from_civil};
use crate::event::number::{POWERS, leading_digits, leading_of_eight};

/// A decimal number as written: `mantissa * 10^exponent`.
///
/// Digits past the 19th or so are dropped, which never changes what a caller sees: the results asked for are
/// far shorter, and rounding looks at one digit past them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) negative: bool,
    mantissa: u64,
    exponent: i32,
    /// Written with digits alone: no fraction, no exponent.
    pub(crate) plain: bool,
    /// Dropped digits that were not 0.
    inexact: bool,
}

/// 10^19 is the largest power of ten a `u64` holds.
const POWER_MAX: u32 = 19;

impl Decimal {
    /// The number that `bytes` starts with, by the grammar of JSON, and its length.
    #[inline]
    pub(crate) fn scan(bytes: &[u8]) -> Option<(Decimal, usize)> {
        match Decimal::scan_common(bytes) {
            Some(scanned) => Some(scanned),
            None => Decimal::scan_any(bytes),
        }
    }

    /// Up to 15 digits before and up to 7 after the point, whole words at a time; `None` for other forms.
    #[inline(always)]
    pub(crate) fn scan_common(bytes: &[u8]) -> Option<(Decimal, usize)> {
        let (mut mantissa, n_digits) = leading_digits(bytes.first_chunk::<16>()?);
        let mut at = n_digits as usize;
        let starts_well = at == 1 || bytes.first() != Some(&b'0');
        if !(1..=15).contains(&at) || !starts_well {
            return None;
        }
        let (mut exponent, mut plain) = (0, true);
        if bytes.get(at) == Some(&b'.') {
            let word = u64::from_le_bytes(*bytes.get(at + 1..)?.first_chunk::<8>()?);
            let (fraction, n_places) = leading_of_eight(word);
            if !(1..=7).contains(&n_places) || at > 11 {
                return None;
            }
            mantissa = mantissa * POWERS.get(n_places as usize)? + fraction;
            (exponent, plain) = (-(n_places as i32), false);
            at += 1 + n_places as usize;
        }
        match bytes.get(at) {
            Some(b'e' | b'E') => None,
            _ => Some((Decimal { negative: false, mantissa, exponent, plain, inexact: false }, at)),
        }
    }

    #[inline(never)]
    fn scan_any(bytes: &[u8]) -> Option<(Decimal, usize)> {
        let mut at = 0;
        let negative = bytes.first() == Some(&b'-');
        if negative {
            at += 1;
        }
        let mut number = Decimal { negative, mantissa: 0, exponent: 0, plain: true, inexact: false };
        let first = at;
        // The first 18 digits cannot overflow.
        while let Some(digit) = digit_at(bytes, at)
            && at - first < 18
        {
            number.mantissa = number.mantissa * 10 + u64::from(digit);
            at += 1;
        }
        while let Some(digit) = digit_at(bytes, at) {
            number.exponent += i32::from(!number.push(digit));
            at += 1;
        }
        if at == first || (bytes.get(first) == Some(&b'0') && at - first > 1) {
            return None;
        }
        match bytes.get(at) {
            Some(b'.' | b'e' | b'E') => number.scan_rest(bytes, at),
            _ => Some((number, at)),
        }
    }

    /// Fraction and exponent, from `at`.
    fn scan_rest(mut self, bytes: &[u8], mut at: usize) -> Option<(Decimal, usize)> {
        self.plain = false;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let first = at;
            while let Some(digit) = digit_at(bytes, at) {
                self.exponent -= i32::from(self.push(digit));
                at += 1;
            }
            if at == first {
                return None;
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            let down = bytes.get(at) == Some(&b'-');
            if matches!(bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            let first = at;
            let mut power = 0i32;
            while let Some(digit) = digit_at(bytes, at) {
                power = power.saturating_mul(10).saturating_add(i32::from(digit));
                at += 1;
            }
            if at == first {
                return None;
            }
            self.exponent = self.exponent.saturating_add(if down { -power } else { power });
        }
        Some((self, at))
    }

    /// A whole text as people write numbers into files: spaces around, a sign, leading zeros.
    pub(crate) fn parse(text: &[u8]) -> Option<Decimal> {
        let text = text.trim_ascii();
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            _ => (false, text),
        };
        let zeros = digits.iter().take_while(|b| **b == b'0').count();
        // The last zero stays where nothing but a fraction follows it.
        let kept = if digits.get(zeros).is_some_and(u8::is_ascii_digit) { zeros } else { zeros.saturating_sub(1) };
        let (mut number, len) = Decimal::scan(digits.get(kept..)?)?;
        if number.negative || kept + len != digits.len() {
            return None;
        }
        number.negative = negative;
        Some(number)
    }

    /// False where there is no room left for the digit.
    fn push(&mut self, digit: u8) -> bool {
        let grown = self.mantissa.checked_mul(10).and_then(|m| m.checked_add(u64::from(digit)));
        match grown {
            Some(grown) if !self.inexact => {
                self.mantissa = grown;
                true
            }
            _ => {
                // From here on nothing may be appended, or places would shift.
                self.inexact |= digit != 0 || grown.is_none();
                false
            }
        }
    }

    /// The value times `10^places`, rounded half away from zero; `None` past 2^64. The sign is the caller's.
    #[inline]
    pub(crate) fn scaled(&self, places: i32) -> Option<u64> {
        let power = self.exponent.saturating_add(places);
        match usize::try_from(power).ok().and_then(|power| POWERS.get(power)) {
            Some(unit) => self.mantissa.checked_mul(*unit),
            None => (*self).scaled_far(places),
        }
    }

    #[inline(never)]
    fn scaled_far(self, places: i32) -> Option<u64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let power = self.exponent.saturating_add(places);
        if power >= 0 {
            return self.mantissa.checked_mul(10u64.checked_pow(power.unsigned_abs())?);
        }
        if power.unsigned_abs() > POWER_MAX {
            return Some(0);
        }
        let unit = 10u64.pow(power.unsigned_abs());
        let (whole, rest) = (self.mantissa / unit, self.mantissa % unit);
        Some(whole + u64::from(rest >= unit - rest))
    }

    /// The value times `10^places`, cut; `None` past 2^64. The sign is the caller's.
    pub(crate) fn floor(&self, places: i32) -> Option<u64> {
        let power = self.exponent.saturating_add(places);
        if power >= 0 || self.mantissa == 0 {
            return self.scaled(places);
        }
        Some(10u64.checked_pow(power.unsigned_abs()).map_or(0, |unit| self.mantissa / unit))
    }

    /// The value, where it is a whole number of 0 or more.
    #[inline]
    pub(crate) fn whole(&self) -> Option<u64> {
        if self.plain && self.exponent == 0 && !self.negative {
            return Some(self.mantissa);
        }
        (*self).whole_of_any()
    }

    #[inline(never)]
    fn whole_of_any(self) -> Option<u64> {
        if (self.negative && self.mantissa != 0) || self.inexact {
            return None;
        }
        if self.exponent < 0 && self.mantissa != 0 {
            let unit = 10u64.checked_pow(self.exponent.unsigned_abs())?;
            return self.mantissa.is_multiple_of(unit).then_some(self.mantissa / unit);
        }
        self.scaled(0)
    }

    /// Seconds as milliseconds, rounded half up; `None` where negative or more than 49 days.
    #[inline]
    pub(crate) fn seconds_ms(&self) -> Option<u32> {
        if self.negative && self.mantissa != 0 {
            return None;
        }
        // u32::MAX stands for "absent".
        u32::try_from(self.scaled(3)?).ok().filter(|ms| *ms != u32::MAX)
    }

    /// Money in 1/10,000, rounded half away from zero.
    pub(crate) fn ten_thousandths(&self) -> Option<i64> {
        let value = i64::try_from(self.scaled(4)?).ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// An instant written as an integer of epoch seconds (< 10^11), milliseconds (< 10^14) or microseconds.
    #[inline]
    pub(crate) fn epoch(&self) -> Option<Timestamp> {
        if !self.plain || self.exponent != 0 {
            return None;
        }
        let value = i64::try_from(self.mantissa).ok()?;
        let value = if self.negative { -value } else { value };
        let ms = match value {
            v if v < 100_000_000_000 => v.checked_mul(1000)?,
            v if v < 100_000_000_000_000 => v,
            v => v / 1000,
        };
        in_range(ms)
    }
}

#[inline]
fn digit_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10)
}

#[inline]
fn in_range(ms: i64) -> Option<Timestamp> {
    (Timestamp::MIN.0..=Timestamp::MAX.0).contains(&ms).then_some(Timestamp(ms))
}

/// RFC 3339 with any offset; finer than a millisecond is cut. A leap second is the first of the next minute.
pub(crate) fn rfc3339(text: &[u8]) -> Option<Timestamp> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let ms = civil_ms(head)?;
    let (fraction, rest) = fraction_ms(rest)?;
    in_range(ms + fraction - offset_ms(rest)?)
}

/// Local milliseconds since 1970 of `YYYY-MM-DD?HH:MM:SS`, `?` being `T`, `t` or a space.
pub(crate) fn civil_ms(text: &[u8; 19]) -> Option<i64> {
    if text[4] != b'-'
        || text[7] != b'-'
        || text[13] != b':'
        || text[16] != b':'
        || !matches!(text[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let two = |at: usize| Some(u32::from(digit_at(text, at)?) * 10 + u32::from(digit_at(text, at + 1)?));
    let year = i64::from(two(0)? * 100 + two(2)?);
    let (month, day, hour, minute, second) = (two(5)?, two(8)?, two(11)?, two(14)?, two(17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let s = i64::from(hour * 3600 + minute * 60 + second);
    Some(days_from_civil(year, month, day) * 86_400_000 + s * 1000)
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Milliseconds of `.123456`, cut, and what follows; 0 where there is no fraction.
pub(crate) fn fraction_ms(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.' | b',', digits)) = text.split_first() else { return Some((0, text)) };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let place = |at: usize| digits.get(at).filter(|_| at < len).map_or(0, |b| i64::from(b - b'0'));
    Some((place(0) * 100 + place(1) * 10 + place(2), digits.get(len..)?))
}

/// Milliseconds east of UTC of `Z`, `+01:00` or `-00:00`, as the whole text.
fn offset_ms(text: &[u8]) -> Option<i64> {
    if matches!(text, b"Z" | b"z") {
        return Some(0);
    }
    let &[sign @ (b'+' | b'-'), _, _, b':', _, _] = text else { return None };
    let two = |at: usize| Some(i64::from(digit_at(text, at)?) * 10 + i64::from(digit_at(text, at + 1)?));
    let (hours, minutes) = (two(1)?, two(4)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ms = (hours * 60 + minutes) * 60_000;
    Some(if sign == b'-' { -ms } else { ms })
}

/// An address, also in brackets; IPv4 inside IPv6 is IPv4.
pub(crate) fn ip(text: &[u8]) -> Option<IpAddr> {
    if let Some((v4, len)) = leading_ipv4(text)
        && len == text.len()
    {
        return Some(IpAddr::V4(v4));
    }
    let inner = text.strip_prefix(b"[").and_then(|t| t.strip_suffix(b"]")).unwrap_or(text);
    let address: IpAddr = std::str::from_utf8(inner).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Four decimals without leading zeros, as the standard library has it, that `text` begins with, and their length.
#[inline(always)]
pub(crate) fn leading_ipv4(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let (mut octets, mut at) = ([0u8; 4], 0);
    for (part, octet) in octets.iter_mut().enumerate() {
        if part > 0 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let mut value = u32::from(digit_at(text, at)?);
        at += 1;
        // "01" is octal to some and decimal to others; a digit after a lone zero is met as no dot, or as no end.
        if value != 0
            && let Some(second) = digit_at(text, at)
        {
            value = value * 10 + u32::from(second);
            at += 1;
            if let Some(third) = digit_at(text, at) {
                value = value * 10 + u32::from(third);
                at += 1;
            }
        }
        *octet = u8::try_from(value).ok()?;
    }
    Some((Ipv4Addr::from(octets), at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn seconds_become_milliseconds_rounded_half_up_without_binary_surprises() {
        for (text, ms) in [
            ("0", 0),
            ("1.0005", 1001),
            ("1.0004999999999999999999999", 1000),
            ("0.0005", 1),
            ("8.1015", 8102),
            ("1e3", 1_000_000),
            ("1.5E-3", 2),
            ("4294967.294", u32::MAX - 1),
            ("007", 7000),
            ("00.25", 250),
            ("0e99999999999", 0),
            ("1e-99999999999", 0),
        ] {
            assert_eq!(decimal(text).seconds_ms(), Some(ms), "{text}");
        }
        for text in ["-1", "4294967.295", "1e30", "99999999999999999999999"] {
            assert_eq!(decimal(text).seconds_ms(), None, "{text}");
        }
        assert_eq!(decimal("-0").seconds_ms(), Some(0));
    }

    #[test]
    fn money_keeps_four_places_and_its_sign() {
        assert_eq!(decimal("0.12345").ten_thousandths(), Some(1235));
        assert_eq!(decimal("-3.5").ten_thousandths(), Some(-35_000));
        assert_eq!(decimal("1e15").ten_thousandths(), None);
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_of_zero() {
        assert_eq!(decimal("200.0").whole(), Some(200));
        assert_eq!(decimal("2e2").whole(), Some(200));
        assert_eq!(decimal("18446744073709551615").whole(), Some(u64::MAX));
        for text in ["18446744073709551616", "1.5", "-1", "1.00000000000000000000000001"] {
            assert_eq!(decimal(text).whole(), None, "{text}");
        }
    }

    #[test]
    fn json_numbers_follow_the_grammar() {
        for text in ["01", "-", "+1", ".5", "1.", "1e", "1e+", "--1", ""] {
            let scanned = Decimal::scan(text.as_bytes());
            assert!(scanned.is_none_or(|(_, len)| len < text.len()), "{text}");
        }
        assert_eq!(Decimal::scan(b"12,").unwrap().1, 2);
    }

    #[test]
    fn epoch_integers_tell_their_unit_by_their_size() {
        let ms = |text| decimal(text).epoch().map(|t| t.0);
        assert_eq!(ms("1767225600"), Some(1_767_225_600_000));
        assert_eq!(ms("1767225600123"), Some(1_767_225_600_123));
        assert_eq!(ms("1767225600123456"), Some(1_767_225_600_123));
        assert_eq!(ms("-1"), Some(-1000));
        assert_eq!(ms("99999999999"), Some(99_999_999_999_000));
        for text in ["1767225600.5", "1e12", "-99999999999999", "999999999999999999", "18446744073709551616"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn rfc_3339_is_read_with_any_offset_and_cut_to_milliseconds() {
        let ms = |text: &str| rfc3339(text.as_bytes()).map(|t| t.to_string());
        assert_eq!(ms("2026-03-02T10:00:00Z").as_deref(), Some("2026-03-02T10:00:00.000Z"));
        assert_eq!(ms("2026-03-02t10:00:00.1239z").as_deref(), Some("2026-03-02T10:00:00.123Z"));
        assert_eq!(ms("2026-03-02 10:00:00.5+05:30").as_deref(), Some("2026-03-02T04:30:00.500Z"));
        assert_eq!(ms("2024-02-29T00:00:00-01:00").as_deref(), Some("2024-02-29T01:00:00.000Z"));
        assert_eq!(ms("2016-12-31T23:59:60Z").as_deref(), Some("2017-01-01T00:00:00.000Z"));
        for text in [
            "2026-03-02T10:00:00",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-03-02T24:00:00Z",
            "2026-03-02T10:00:00.Z",
            "2026-03-02T10:00:00+0100",
            "2026-03-02T10:00:00Zx",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_read_as_the_standard_library_reads_them_and_brackets_fall_away() {
        for text in ["10.0.0.1", "255.255.255.255", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1..2.3", "", "::1"]
        {
            assert_eq!(ip(text.as_bytes()), text.parse().ok(), "{text}");
        }
        assert_eq!(ip(b"[2001:db8::1]"), "2001:db8::1".parse().ok());
        assert_eq!(ip(b"::ffff:10.1.2.3"), "10.1.2.3".parse().ok());
        assert_eq!(ip(b"10.0.0.1:5060"), None);
    }
}
