//! Sets of phone numbers: exact ones, prefixes, ranges and patterns as one set that can be compared with another.

use std::collections::BTreeSet;

use super::spans::{NONE, Spans};
use crate::event::{Number, NumberPattern, NumberRange};
use crate::limits::E164_DIGITS_MAX;

/// Prefixes that one pattern may stand for; a pattern of more is only compared with itself.
const EXPANDED_MAX: usize = 1000;

/// What a test of a number takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// E.164 numbers: by count of digits, their values.
    by_digits: Vec<Spans>,
    /// Short codes, by their bits.
    codes: BTreeSet<u64>,
    /// What is neither: compared as it is written.
    odd: BTreeSet<String>,
}

impl Numbers {
    pub(super) fn exact(number: Number) -> Numbers {
        match number.digits() {
            Some((value, digits)) => Numbers::span(digits, value, value),
            None => Numbers { codes: BTreeSet::from([number.bits()]), ..Numbers::default() },
        }
    }

    pub(super) fn pattern(pattern: &NumberPattern) -> Numbers {
        match pattern {
            NumberPattern::Exact(number) => Numbers::exact(*number),
            NumberPattern::Prefix(_) | NumberPattern::Digits(_) => {
                Numbers::written(&pattern.to_string()).unwrap_or_else(|| Numbers::odd(pattern.to_string()))
            }
        }
    }

    pub(super) fn range(range: &NumberRange) -> Numbers {
        Numbers::between(range.low(), range.high()).unwrap_or_else(|| Numbers::odd(format!("{range:?}")))
    }

    /// E.164 numbers from one to another of the same length.
    pub(super) fn between(low: Number, high: Number) -> Option<Numbers> {
        let ((low, digits), (high, others)) = (low.digits()?, high.digits()?);
        (digits == others).then(|| Numbers::span(digits, low, high))
    }

    /// `+46*`, `+1???976*`: each prefix that it stands for, in every length it may have.
    fn written(text: &str) -> Option<Numbers> {
        let body = text.strip_prefix('+')?;
        let (body, has_tail) = body.strip_suffix('*').map_or((body, false), |body| (body, true));
        // Any digit at the end is a span; only those before it multiply.
        let fixed = body.trim_end_matches('?');
        let n_open = body.len() - fixed.len();
        let mut heads: Vec<u64> = vec![0];
        for symbol in fixed.chars() {
            let digits: Vec<u64> = match symbol {
                '?' => (0..10).collect(),
                digit => vec![u64::from(digit.to_digit(10)?)],
            };
            heads = heads.iter().flat_map(|head| digits.iter().map(move |digit| head * 10 + digit)).collect();
            if heads.len() > EXPANDED_MAX {
                return None;
            }
        }
        let longest = if has_tail { E164_DIGITS_MAX } else { body.len() };
        let mut by_digits = vec![Spans::default(); E164_DIGITS_MAX + 1];
        for digits in body.len()..=longest {
            let n_free = u32::try_from(digits - body.len() + n_open).ok()?;
            let scale = 10u128.pow(n_free);
            let spans = heads.iter().map(|head| (u128::from(*head) * scale, (u128::from(*head) + 1) * scale - 1));
            *by_digits.get_mut(digits)? = Spans::new(spans);
        }
        Some(Numbers { by_digits, ..Numbers::default() })
    }

    fn span(digits: u32, low: u64, high: u64) -> Numbers {
        let mut by_digits = vec![Spans::default(); E164_DIGITS_MAX + 1];
        if let Some(spans) = by_digits.get_mut(digits as usize) {
            *spans = Spans::new([(u128::from(low), u128::from(high))]);
        }
        Numbers { by_digits, ..Numbers::default() }
    }

    fn odd(text: String) -> Numbers {
        Numbers { odd: BTreeSet::from([text]), ..Numbers::default() }
    }

    fn of_digits(&self, digits: usize) -> &Spans {
        self.by_digits.get(digits).unwrap_or(&NONE)
    }

    fn each(&self, other: &Numbers, join: impl Fn(&Spans, &Spans) -> Spans) -> Vec<Spans> {
        (0..=E164_DIGITS_MAX).map(|digits| join(self.of_digits(digits), other.of_digits(digits))).collect()
    }

    /// Certainly a part of the other.
    pub(super) fn is_within(&self, other: &Numbers) -> bool {
        (0..=E164_DIGITS_MAX).all(|digits| self.of_digits(digits).is_within(other.of_digits(digits)))
            && self.codes.is_subset(&other.codes)
            && self.odd.is_subset(&other.odd)
    }

    /// Certainly without anything.
    pub(super) fn is_empty(&self) -> bool {
        self.by_digits.iter().all(Spans::is_empty) && self.codes.is_empty() && self.odd.is_empty()
    }

    pub(super) fn union(&self, other: &Numbers) -> Numbers {
        Numbers {
            by_digits: self.each(other, Spans::union),
            codes: &self.codes | &other.codes,
            odd: &self.odd | &other.odd,
        }
    }

    /// `None` where it cannot be told exactly.
    pub(super) fn intersection(&self, other: &Numbers) -> Option<Numbers> {
        if !self.odd.is_empty() || !other.odd.is_empty() {
            return None;
        }
        let by_digits = self.each(other, Spans::intersection);
        Some(Numbers { by_digits, codes: &self.codes & &other.codes, odd: BTreeSet::new() })
    }
}
