//! What came most often, and how much of the whole that is.

use std::collections::HashMap;

use serde::Serialize;

use crate::limits::FINDINGS_RANKS;

/// Values that are named in one line.
pub(super) const NAMED: usize = 5;

/// One value and how often it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ranked {
    pub value: String,
    pub count: u64,
}

/// The values that came most often, of all that came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ranking {
    /// The most frequent first; of equals, in their order as text.
    pub top: Vec<Ranked>,
    /// Different values, those in `top` included.
    pub values: u64,
    /// How often any came.
    pub total: u64,
}

impl Ranking {
    pub(super) fn of<'t>(values: impl Iterator<Item = &'t str>) -> Ranking {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        let mut total = 0;
        for value in values.filter(|value| !value.is_empty()) {
            *counts.entry(value).or_default() += 1;
            total += 1;
        }
        let values = counts.len() as u64;
        let mut top: Vec<(&str, u64)> = counts.into_iter().collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        top.truncate(FINDINGS_RANKS);
        let top = top.into_iter().map(|(value, count)| Ranked { value: value.to_owned(), count }).collect();
        Ranking { top, values, total }
    }

    /// Not the same everywhere: some of them make up much of it.
    pub(super) fn is_steep(&self) -> bool {
        let first: u64 = self.top.iter().take(NAMED).map(|ranked| ranked.count).sum();
        first * 2 >= self.total && self.total > 0
    }

    /// The fewest of the first values that make up so many percent, no more than `n_max`; none where that is not
    /// enough.
    pub(super) fn most(&self, percent: u64, n_max: usize) -> &[Ranked] {
        let mut sum = 0;
        for (at, ranked) in self.top.iter().enumerate().take(n_max) {
            sum += ranked.count;
            if sum * 100 >= self.total * percent {
                return self.top.get(..=at).unwrap_or_default();
            }
        }
        &[]
    }
}
