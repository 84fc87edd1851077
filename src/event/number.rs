//! Telephone numbers: E.164 digits and other dialled forms, held as one integer where they fit.
//!
//! A [`Number`] is equal to another iff they are the same number; matching never looks at text.
//! Normalising what a gateway writes is the dial plan's work, see [`super::dialplan`].

use std::fmt;

use crate::limits::E164_DIGITS_MAX;

/// A normalised number, or the kind of what is no number.
///
/// The top four bits tell the form. E.164: value and count of digits. Short and national forms of up to
/// 13 symbols of `0-9*#`: a nibble each. Everything else is told apart by its text in
/// [`super::Party::text`]; then [`Number::is_text`] is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

/// `caller.kind` and `callee.kind` of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NumberKind {
    E164,
    Short,
    National,
    Anonymous,
    Invalid,
}

impl NumberKind {
    pub const ALL: &'static [NumberKind] =
        &[NumberKind::E164, NumberKind::Short, NumberKind::National, NumberKind::Anonymous, NumberKind::Invalid];

    pub fn as_str(self) -> &'static str {
        match self {
            NumberKind::E164 => "e164",
            NumberKind::Short => "short",
            NumberKind::National => "national",
            NumberKind::Anonymous => "anonymous",
            NumberKind::Invalid => "invalid",
        }
    }
}

const E164: u64 = 1 << 60;
const SHORT: u64 = 2 << 60;
const NATIONAL: u64 = 3 << 60;
const ANONYMOUS: u64 = 4 << 60;
const INVALID: u64 = 5 << 60;
const SHORT_TEXT: u64 = 6 << 60;
const NATIONAL_TEXT: u64 = 7 << 60;
const FORM: u64 = 15 << 60;
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
/// Symbols of a short or national form that fit beside the form and the count.
const SYMBOLS_MAX: usize = 13;

pub(crate) const POWERS: [u64; 16] = {
    let mut table = [1u64; 16];
    let mut i = 1;
    while i < 16 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

impl Number {
    pub const ABSENT: Number = Number(0);
    pub const ANONYMOUS: Number = Number(ANONYMOUS);
    pub const INVALID: Number = Number(INVALID);

    /// From the digits after the `+`: 3 to 15 of them, the first not 0; `None` otherwise.
    #[inline(always)]
    pub fn e164(digits: &[u8]) -> Option<Number> {
        let len = digits.len();
        if !(3..=E164_DIGITS_MAX).contains(&len) || digits.first() == Some(&b'0') {
            return None;
        }
        // Eight digits at a time: most numbers have 10 to 13, so byte by byte is the slower half of a decoder.
        let value = match (digits.first_chunk::<8>(), digits.last_chunk::<8>()) {
            (Some(head), Some(tail)) => {
                // The head gives only what the tail does not hold.
                let head = keep_low_bytes(u64::from_le_bytes(*head) ^ ZEROS, (len - 8) as u32);
                let tail = u64::from_le_bytes(*tail) ^ ZEROS;
                if past_nine(head) | past_nine(tail) != 0 {
                    return None;
                }
                value_of_eight(head) * 100_000_000 + value_of_eight(tail)
            }
            _ => small(digits)?,
        };
        Some(Number(E164 | value << 4 | len as u64))
    }

    /// The number whose digits, without a `+`, `bytes` begin with, and how many they are. `None` also where too few
    /// bytes follow to tell quickly.
    #[inline]
    pub(crate) fn leading_e164(bytes: &[u8]) -> Option<(Number, usize)> {
        let (value, n_digits) = leading_digits(bytes.first_chunk::<16>()?);
        let len = n_digits as usize;
        let is_number = (3..=E164_DIGITS_MAX).contains(&len) && bytes.first() != Some(&b'0');
        is_number.then(|| (Number(E164 | value << 4 | u64::from(n_digits)), len))
    }

    /// Like [`Number::e164`], but of 1 to 15 digits: what numbers may begin with.
    pub fn e164_prefix(digits: &[u8]) -> Option<Number> {
        let is_prefix = (1..=E164_DIGITS_MAX).contains(&digits.len()) && digits.first() != Some(&b'0');
        if !is_prefix || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = digits.iter().fold(0, |value, d| value * 10 + u64::from(d - b'0'));
        Some(Self::e164_from_value(value, digits.len() as u32))
    }

    /// From value and count of digits; the caller vouches that they agree.
    pub(crate) fn e164_from_value(value: u64, digits: u32) -> Number {
        debug_assert!(digits <= 15 && value < POWERS[digits as usize]);
        Number(E164 | value << 4 | u64::from(digits))
    }

    /// A short code, extension or star code; `None` where a symbol is not one of `0-9*#`.
    pub fn short(symbols: &[u8]) -> Option<Number> {
        Self::symbols(symbols, SHORT, SHORT_TEXT)
    }

    /// A national form that no dial plan has mapped.
    pub fn national(symbols: &[u8]) -> Option<Number> {
        Self::symbols(symbols, NATIONAL, NATIONAL_TEXT)
    }

    fn symbols(symbols: &[u8], packed: u64, text: u64) -> Option<Number> {
        let mut nibbles = 0u64;
        for s in symbols {
            let nibble = match s {
                b'0'..=b'9' => s - b'0',
                b'*' => 10,
                b'#' => 11,
                _ => return None,
            };
            nibbles = nibbles << 4 | u64::from(nibble);
        }
        match symbols.len() {
            0 => None,
            n if n <= SYMBOLS_MAX => Some(Number(packed | nibbles << 4 | n as u64)),
            _ => Some(Number(text)),
        }
    }

    pub fn is_absent(self) -> bool {
        self.0 == 0
    }

    /// Not told apart by this integer alone but by the party's text.
    pub fn is_text(self) -> bool {
        self.0 & FORM >= ANONYMOUS
    }

    pub fn is_e164(self) -> bool {
        self.0 & FORM == E164
    }

    /// `None` where the number is absent.
    pub fn kind(self) -> Option<NumberKind> {
        Some(match self.0 & FORM {
            E164 => NumberKind::E164,
            SHORT | SHORT_TEXT => NumberKind::Short,
            NATIONAL | NATIONAL_TEXT => NumberKind::National,
            ANONYMOUS => NumberKind::Anonymous,
            INVALID => NumberKind::Invalid,
            _ => return None,
        })
    }

    /// Digits of an E.164 number as an integer, and how many; `None` for other kinds.
    pub fn digits(self) -> Option<(u64, u32)> {
        self.is_e164().then_some(((self.0 & !FORM) >> 4, (self.0 & 15) as u32))
    }

    /// The first `n` digits, or the whole number where it is not longer; `None` for what is no E.164 number.
    pub fn prefix(self, n: u32) -> Option<Number> {
        let (value, len) = self.digits()?;
        if len <= n {
            return Some(self);
        }
        Some(Number(E164 | (value / POWERS[(len - n) as usize]) << 4 | u64::from(n)))
    }

    /// The integer itself, for keys and tables: injective for what is not [`Number::is_text`].
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The number whose [`Number::bits`] these are.
    pub(crate) fn from_bits(bits: u64) -> Number {
        Number(bits)
    }

    /// For `run`: the digits as an integer, of E.164 numbers and of packed forms without `*` and `#`.
    pub fn ordinal(self) -> Option<u64> {
        match self.0 & FORM {
            E164 => Some((self.0 & !FORM) >> 4),
            SHORT | NATIONAL => {
                let mut value = 0u64;
                for i in (0..self.symbol_count()).rev() {
                    let nibble = self.symbol(i);
                    if nibble > 9 {
                        return None;
                    }
                    value = value * 10 + nibble;
                }
                Some(value)
            }
            _ => None,
        }
    }

    /// What a number shares with its neighbours in a range (kind and length), and its place among them; `None`
    /// where it has none: `*`, `#`, texts.
    pub(crate) fn place(self) -> Option<(u64, u64)> {
        Some((self.0 & (FORM | 15), self.ordinal()?))
    }

    pub(crate) fn symbol_count(self) -> u32 {
        (self.0 & 15) as u32
    }

    /// Counted from the right.
    fn symbol(self, i: u32) -> u64 {
        self.0 >> (4 + 4 * i) & 15
    }
}

/// The value of up to eight digits.
fn small(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + u64::from(b - b'0')))
}

/// Sets the top bit of the lowest byte above nine; what lies above that byte is not to be relied on.
#[inline]
fn past_nine(bytes: u64) -> u64 {
    const REST: u64 = u64::from_le_bytes([0x80 - 10; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    (bytes.wrapping_add(REST) | bytes) & TOPS
}

/// The value of eight digits, each as its value, the first in the lowest byte.
#[inline]
fn value_of_eight(ones: u64) -> u64 {
    let pairs = ones.wrapping_mul(10).wrapping_add(ones >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// The digits that the bytes begin with: their value, and how many they are.
#[inline(always)]
pub(crate) fn leading_digits(bytes: &[u8; 16]) -> (u64, u32) {
    let both = u128::from_le_bytes(*bytes);
    let (high, n_high) = leading_of_eight(both as u64);
    if n_high < 8 {
        return (high, n_high);
    }
    let (low, n_low) = leading_of_eight((both >> 64) as u64);
    (high * POWERS[n_low as usize & 15] + low, 8 + n_low)
}

/// As [`leading_digits`], of eight bytes, the first in the lowest.
#[inline(always)]
pub(crate) fn leading_of_eight(bytes: u64) -> (u64, u32) {
    let ones = bytes ^ ZEROS;
    let n_digits = past_nine(ones).trailing_zeros() / 8;
    (value_of_eight(keep_low_bytes(ones, n_digits)), n_digits)
}

/// The lowest `n` of eight bytes, moved up as far as they go.
#[inline]
fn keep_low_bytes(bytes: u64, n: u32) -> u64 {
    // In halves, since no shift goes 64 far.
    let half = 32 - 4 * n;
    bytes << half << half
}

/// E.164 with its `+`; packed forms as dialled; nothing for what only the text tells.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & FORM {
            E164 => {
                let (value, len) = self.digits().unwrap_or((0, 0));
                write!(f, "+{value:0width$}", width = len as usize)
            }
            SHORT | NATIONAL => (0..self.symbol_count()).rev().try_for_each(|i| {
                f.write_str(
                    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]
                        .get(self.symbol(i) as usize)
                        .copied()
                        .unwrap_or(""),
                )
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e164_numbers_print_as_they_came_and_cut_to_prefixes() {
        let n = Number::e164(b"46701234567").unwrap();
        assert_eq!(n.to_string(), "+46701234567");
        assert_eq!(n.prefix(4).unwrap().to_string(), "+4670");
        assert_eq!(n.prefix(11), Some(n));
        assert_eq!(n.kind(), Some(NumberKind::E164));
        assert_eq!(Number::e164(b"999999999999999").unwrap().to_string(), "+999999999999999");
        assert_eq!(Number::e164(b"1234567890123456"), None);
        assert_eq!(Number::e164(b"12"), None);
    }

    #[test]
    fn e164_reads_every_length_and_refuses_every_other_byte_at_every_place() {
        for len in 3..=15 {
            let digits: Vec<u8> = (0..len).map(|i| b'1' + (i % 9) as u8).collect();
            let value: u64 = std::str::from_utf8(&digits).unwrap().parse().unwrap();
            assert_eq!(Number::e164(&digits).unwrap().digits(), Some((value, len as u32)));
            for place in 0..len {
                for byte in (0..=255u8).filter(|b| !b.is_ascii_digit()) {
                    let mut wrong = digits.clone();
                    wrong[place] = byte;
                    assert_eq!(Number::e164(&wrong), None, "{wrong:?}");
                }
            }
        }
        assert_eq!(Number::e164(b"100000000000000").unwrap().digits(), Some((100_000_000_000_000, 15)));
    }

    #[test]
    fn digits_end_at_the_first_byte_that_is_none() {
        for len in 0..=16usize {
            for byte in (0..=255u8).filter(|b| len == 16 || !b.is_ascii_digit()) {
                let mut bytes = *b"9876543210987654";
                bytes.iter_mut().skip(len).for_each(|b| *b = byte);
                let digits = std::str::from_utf8(bytes.get(..len).unwrap()).unwrap();
                let value: u64 = if len == 0 { 0 } else { digits.parse().unwrap() };
                assert_eq!(leading_digits(&bytes), (value, len as u32), "{bytes:?}");
                let number = Number::e164(digits.as_bytes()).map(|number| (number, len));
                assert_eq!(Number::leading_e164(&bytes), number, "{bytes:?}");
            }
        }
        assert_eq!(leading_digits(b"12.3456789012345"), (12, 2));
        assert_eq!(Number::leading_e164(b"0123456789\"     "), None);
        assert_eq!(Number::leading_e164(b"123456789\""), None, "too few bytes");
    }

    #[test]
    fn short_and_national_forms_keep_their_zeros_and_differ_from_each_other() {
        let (s, n) = (Number::short(b"0701").unwrap(), Number::national(b"0701").unwrap());
        assert_eq!((s.to_string(), n.to_string()), ("0701".into(), "0701".into()));
        assert_ne!(s, n);
        assert_ne!(s, Number::short(b"701").unwrap());
        assert_eq!(Number::short(b"*21#").unwrap().to_string(), "*21#");
        assert_eq!(s.ordinal(), Some(701));
        assert_eq!(Number::short(b"*21#").unwrap().ordinal(), None);
        assert!(Number::national(b"01234567890123").unwrap().is_text());
    }
}
