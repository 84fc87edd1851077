//! A set of ISO 3166 countries.

use crate::clock::Timestamp;
use crate::event::Country;

/// A bit for each pair of letters, and beside them the few that expire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountrySet {
    bits: [u64; 11],
    expiring: Vec<(Country, Timestamp)>,
}

impl CountrySet {
    pub fn new() -> CountrySet {
        CountrySet::default()
    }

    pub fn insert(&mut self, country: Country, expires: Option<Timestamp>) {
        match expires {
            Some(until) => self.expiring.push((country, until)),
            None => {
                let (word, bit) = place(country);
                if let Some(bits) = self.bits.get_mut(word) {
                    *bits |= bit;
                }
            }
        }
    }

    pub fn len(&self) -> usize {
        self.bits.iter().map(|b| b.count_ones() as usize).sum::<usize>() + self.expiring.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// None of them expires.
    pub(super) fn is_lasting(&self) -> bool {
        self.expiring.is_empty()
    }

    /// Of sets that last: a part of the other.
    pub(super) fn is_within(&self, other: &CountrySet) -> bool {
        self.bits.iter().zip(&other.bits).all(|(a, b)| a & !b == 0)
    }

    /// Of sets that last.
    pub(super) fn union(&self, other: &CountrySet) -> CountrySet {
        self.joined(other, |a, b| a | b)
    }

    /// Of sets that last.
    pub(super) fn intersection(&self, other: &CountrySet) -> CountrySet {
        self.joined(other, |a, b| a & b)
    }

    fn joined(&self, other: &CountrySet, join: impl Fn(u64, u64) -> u64) -> CountrySet {
        let mut set = CountrySet::new();
        for (bits, (a, b)) in set.bits.iter_mut().zip(self.bits.iter().zip(&other.bits)) {
            *bits = join(*a, *b);
        }
        set
    }

    pub fn contains(&self, country: Country, at: Timestamp) -> bool {
        let (word, bit) = place(country);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
            || self.expiring.iter().any(|(c, until)| *c == country && at < *until)
    }
}

fn place(country: Country) -> (usize, u64) {
    let place =
        country.as_str().bytes().fold(0, |place, letter| place * 26 + usize::from(letter.wrapping_sub(b'A').min(25)));
    (place / 64, 1 << (place % 64))
}
