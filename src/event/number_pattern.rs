//! Numbers as operators write them in rules and lists: exact, `+4670*`, `+1???976*`, `short:*21#`, `a..b`.
//!
//! Always international or marked `short:`; a national form in a rule could mean a number in any country.

use std::fmt;

use super::number::{Number, POWERS};
use crate::limits::E164_DIGITS_MAX;

/// Most `?` a pattern may have. Each costs a division a look-up, and five would already stand for 100,000 numbers.
pub const WILDCARDS_MAX: u32 = 4;

/// One value of a list or one literal of a rule, other than a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberPattern {
    /// An E.164 number or a short code.
    Exact(Number),
    /// `+4670*`: 1 to 15 digits, then any rest or none.
    Prefix(Number),
    /// At least one `?`.
    Digits(DigitPattern),
}

/// Digits of which some may be any digit, then the end of the number or any rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DigitPattern {
    shape: Shape,
    /// The digits, 0 where any may stand.
    value: u64,
}

/// Where a [`DigitPattern`] has its `?`, how long it is, and whether more may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    len: u8,
    /// Bit i: the digit i places from the right of the pattern may be any.
    any: u16,
    tail: bool,
}

/// Numbers of one length from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumberRange {
    low: Number,
    high: Number,
}

/// Why a text is no number pattern. [`fmt::Display`] tells the operator what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    Empty,
    /// Digits without `+`.
    NoPlus,
    /// `4.47900E+11`.
    Spreadsheet,
    LeadingZero,
    TooShort(usize),
    TooLong(usize),
    TooManyWildcards(u32),
    /// `+?46`: the first symbol must be a digit.
    LeadingWildcard,
    /// `*` anywhere but at the end.
    StarInside,
    /// Byte offset of what is no digit.
    Symbol(usize),
    ShortSymbol,
    ShortTooLong,
    /// Range: the ends differ in length or kind, or are no plain numbers.
    RangeEnds,
    /// Range: the first number is above the second.
    RangeOrder,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => f.write_str("phone number is empty"),
            PatternError::NoPlus => f.write_str(
                "phone number without country code; write it as `+` and all digits, or `short:` for an extension or short code",
            ),
            PatternError::Spreadsheet => {
                f.write_str("phone number mangled by a spreadsheet: digits are lost; export the column as text")
            }
            PatternError::LeadingZero => f.write_str("no country code begins with 0"),
            PatternError::TooShort(n) => write!(f, "phone number has {n} digits, needs at least 3; add `*` for a prefix"),
            PatternError::TooLong(n) => write!(f, "phone number has {n} digits, limit is {E164_DIGITS_MAX}"),
            PatternError::TooManyWildcards(n) => write!(f, "pattern has {n} `?`, limit is {WILDCARDS_MAX}"),
            PatternError::LeadingWildcard => f.write_str("pattern must begin with a digit after the `+`"),
            PatternError::StarInside => f.write_str("`*` may only stand at the end of a number"),
            PatternError::Symbol(at) => write!(f, "byte {} is no digit of a phone number", at + 1),
            PatternError::ShortSymbol => f.write_str("a short code has only the symbols 0-9, `*` and `#`"),
            PatternError::ShortTooLong => f.write_str("short code has more than 13 symbols"),
            PatternError::RangeEnds => f.write_str("a range needs two whole numbers of equal length"),
            PatternError::RangeOrder => f.write_str("the first number of a range must not be above the second"),
        }
    }
}

impl std::error::Error for PatternError {}

/// Signs that people write between digits and that mean nothing.
pub(crate) fn is_separator(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'-' | b'.' | b'(' | b')' | b'/')
}

impl NumberPattern {
    /// From `+46701234567`, `+46 70-123 45 67`, `+4670*`, `+1???976*`, `short:2001`, `short:*21#`.
    pub fn parse(text: &[u8]) -> Result<NumberPattern, PatternError> {
        let text = text.trim_ascii();
        if let Some(symbols) = text.strip_prefix(b"short:") {
            return short(symbols);
        }
        let Some(rest) = text.strip_prefix(b"+") else {
            return Err(without_plus(text));
        };
        let mut digits = Digits::default();
        for (i, &b) in rest.iter().enumerate() {
            if digits.tail {
                return Err(PatternError::StarInside);
            }
            match b {
                b'0'..=b'9' => digits.push(Some(b - b'0')),
                b'?' => digits.push(None),
                b'*' => digits.tail = true,
                b if is_separator(b) => {}
                _ => return Err(PatternError::Symbol(i + 1)),
            }
        }
        digits.finish()
    }

    pub fn matches(&self, number: Number) -> bool {
        match self {
            NumberPattern::Exact(exact) => *exact == number,
            NumberPattern::Prefix(prefix) => {
                let digits = prefix.digits().map_or(0, |(_, n)| n);
                number.digits().is_some_and(|(_, n)| n >= digits) && number.prefix(digits) == Some(*prefix)
            }
            NumberPattern::Digits(pattern) => pattern.matches(number),
        }
    }
}

/// As it may be written: `+4670*`, `+1???976*`, `short:2001`.
impl fmt::Display for NumberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberPattern::Exact(n) if n.is_e164() => write!(f, "{n}"),
            NumberPattern::Exact(n) => write!(f, "short:{n}"),
            NumberPattern::Prefix(n) => write!(f, "{n}*"),
            NumberPattern::Digits(p) => {
                f.write_str("+")?;
                for i in (0..u32::from(p.shape.len)).rev() {
                    match p.shape.any >> i & 1 {
                        0 => write!(f, "{}", p.value / POWERS[i as usize] % 10)?,
                        _ => f.write_str("?")?,
                    }
                }
                f.write_str(if p.shape.tail { "*" } else { "" })
            }
        }
    }
}

impl DigitPattern {
    pub fn matches(&self, number: Number) -> bool {
        self.shape.key(number) == Some(self.value)
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What [`Shape::key`] gives for the numbers that match.
    pub fn key(&self) -> u64 {
        self.value
    }
}

impl Shape {
    /// The pattern of this shape that a number of this [`Shape::key`] matches.
    pub(crate) fn pattern(self, key: u64) -> DigitPattern {
        DigitPattern { shape: self, value: key }
    }

    /// The number's digits that a pattern of this shape looks at; `None` where none can match.
    pub fn key(self, number: Number) -> Option<u64> {
        let (value, len) = number.digits()?;
        let own = u32::from(self.len);
        if len < own || (len > own && !self.tail) {
            return None;
        }
        let mut value = value / POWERS[(len - own) as usize];
        let mut any = self.any;
        while any != 0 {
            let power = POWERS[any.trailing_zeros() as usize & 15];
            value -= value / power % 10 * power;
            any &= any - 1;
        }
        Some(value)
    }

    /// Digits a number must have at least.
    pub fn digits(self) -> u32 {
        u32::from(self.len)
    }
}

impl NumberRange {
    /// Two E.164 numbers, or two short codes of digits, of the same length.
    pub fn new(low: NumberPattern, high: NumberPattern) -> Result<NumberRange, PatternError> {
        let (NumberPattern::Exact(low), NumberPattern::Exact(high)) = (low, high) else {
            return Err(PatternError::RangeEnds);
        };
        match (low.place(), high.place()) {
            (Some((shape, a)), Some((other, b))) if shape == other => match a <= b {
                true => Ok(NumberRange { low, high }),
                false => Err(PatternError::RangeOrder),
            },
            _ => Err(PatternError::RangeEnds),
        }
    }

    pub fn low(&self) -> Number {
        self.low
    }

    pub fn high(&self) -> Number {
        self.high
    }

    pub fn contains(&self, number: Number) -> bool {
        match (number.place(), self.low.place(), self.high.place()) {
            (Some(n), Some(low), Some(high)) => low <= n && n <= high,
            _ => false,
        }
    }
}

fn short(symbols: &[u8]) -> Result<NumberPattern, PatternError> {
    match Number::short(symbols.trim_ascii()) {
        Some(number) if number.is_text() => Err(PatternError::ShortTooLong),
        Some(number) => Ok(NumberPattern::Exact(number)),
        None if symbols.trim_ascii().is_empty() => Err(PatternError::Empty),
        None => Err(PatternError::ShortSymbol),
    }
}

fn without_plus(text: &[u8]) -> PatternError {
    let exponent = text.iter().position(|b| matches!(b, b'e' | b'E'));
    let is_float = |t: &[u8]| !t.is_empty() && t.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'+'));
    match exponent {
        _ if text.is_empty() => PatternError::Empty,
        Some(at) if text.get(..at).is_some_and(is_float) && text.get(at + 1..).is_some_and(is_float) => {
            PatternError::Spreadsheet
        }
        _ => match text.iter().position(|b| !b.is_ascii_digit() && !is_separator(*b)) {
            Some(at) if !matches!(text.get(at), Some(b'*' | b'?' | b'#')) => PatternError::Symbol(at),
            _ => PatternError::NoPlus,
        },
    }
}

#[derive(Default)]
struct Digits {
    value: u64,
    len: usize,
    any: u64,
    tail: bool,
    leading: Option<Option<u8>>,
}

impl Digits {
    fn push(&mut self, digit: Option<u8>) {
        self.leading.get_or_insert(digit);
        self.len += 1;
        self.any = self.any << 1 | u64::from(digit.is_none());
        self.value = self.value.wrapping_mul(10).wrapping_add(u64::from(digit.unwrap_or(0)));
    }

    fn finish(self) -> Result<NumberPattern, PatternError> {
        match self.leading {
            None => return Err(PatternError::Empty),
            Some(None) => return Err(PatternError::LeadingWildcard),
            Some(Some(0)) => return Err(PatternError::LeadingZero),
            Some(Some(_)) => {}
        }
        if self.len > E164_DIGITS_MAX {
            return Err(PatternError::TooLong(self.len));
        }
        if self.any.count_ones() > WILDCARDS_MAX {
            return Err(PatternError::TooManyWildcards(self.any.count_ones()));
        }
        let (value, digits) = (self.value, self.len as u32);
        if self.any != 0 {
            let shape = Shape { len: self.len as u8, any: self.any as u16, tail: self.tail };
            return Ok(NumberPattern::Digits(DigitPattern { shape, value }));
        }
        match self.tail {
            true => Ok(NumberPattern::Prefix(Number::e164_from_value(value, digits))),
            false if self.len < 3 => Err(PatternError::TooShort(self.len)),
            false => Ok(NumberPattern::Exact(Number::e164_from_value(value, digits))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NumberPattern {
        NumberPattern::parse(text.as_bytes()).unwrap()
    }

    fn number(text: &str) -> Number {
        Number::e164(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_form_parses_and_prints_as_written() {
        for text in ["+46701234567", "+4*", "+46*", "+4670*", "+1???976*", "+1??5", "short:2001", "short:*21#"] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse(" +46 (8) 400-00.00 ").to_string(), "+4684000000");
    }

    #[test]
    fn patterns_match_digit_by_digit_and_prefixes_not_what_is_shorter() {
        let pattern = parse("+1???976*");
        assert!(pattern.matches(number("12129761234")) && pattern.matches(number("1212976")));
        assert!(!pattern.matches(number("12129751234")) && !pattern.matches(number("121297")));
        assert!(parse("+1?2").matches(number("172")) && !parse("+1?2").matches(number("1720")));
        assert!(parse("+46700*").matches(number("46700")) && !parse("+46700*").matches(number("4670")));
        assert!(!parse("+112*").matches(Number::short(b"112").unwrap()));
    }

    #[test]
    fn a_range_matches_its_own_length_and_kind_only() {
        let range = NumberRange::new(parse("+46840000"), parse("+46849999")).unwrap();
        assert!(range.contains(number("46840000")) && range.contains(number("46849999")));
        assert!(!range.contains(number("468400001")) && !range.contains(number("46850000")));
        let short = NumberRange::new(parse("short:0200"), parse("short:0299")).unwrap();
        assert!(short.contains(Number::short(b"0250").unwrap()));
        assert!(!short.contains(Number::short(b"250").unwrap()) && !short.contains(number("250")));
        assert_eq!(NumberRange::new(parse("+46850000"), parse("+46840000")), Err(PatternError::RangeOrder));
        assert_eq!(NumberRange::new(parse("+4685000"), parse("+46850000")), Err(PatternError::RangeEnds));
        assert_eq!(NumberRange::new(parse("+4685*"), parse("+4686*")), Err(PatternError::RangeEnds));
        assert_eq!(NumberRange::new(parse("short:*1"), parse("short:*2")), Err(PatternError::RangeEnds));
    }

    #[test]
    fn each_mistake_is_told_from_the_others() {
        let error = |text: &str| NumberPattern::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error(""), PatternError::Empty);
        assert_eq!(error("+"), PatternError::Empty);
        assert_eq!(error("short:"), PatternError::Empty);
        assert_eq!(error("0701234567"), PatternError::NoPlus);
        assert_eq!(error("4670*"), PatternError::NoPlus);
        assert_eq!(error("4.47900E+11"), PatternError::Spreadsheet);
        assert_eq!(error("4,479E11"), PatternError::Spreadsheet);
        assert_eq!(error("+0701234567"), PatternError::LeadingZero);
        assert_eq!(error("+46"), PatternError::TooShort(2));
        assert_eq!(error("+1234567890123456"), PatternError::TooLong(16));
        assert_eq!(error("+1?????"), PatternError::TooManyWildcards(5));
        assert_eq!(error("+?46"), PatternError::LeadingWildcard);
        assert_eq!(error("+46*70"), PatternError::StarInside);
        assert_eq!(error("+46a"), PatternError::Symbol(3));
        assert_eq!(error("alice"), PatternError::Symbol(0));
        assert_eq!(error("short:12a"), PatternError::ShortSymbol);
        assert_eq!(error("short:12345678901234"), PatternError::ShortTooLong);
        assert!(NumberPattern::parse(&[b'+'; 70000]).is_err() && NumberPattern::parse(&[b'1'; 70000]).is_err());
        assert_eq!(error(&format!("+{}", "1".repeat(70_000))), PatternError::TooLong(70_000));
    }
}
