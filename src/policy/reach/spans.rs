//! Sets of integers as disjoint spans.

/// In rising order, no two of them touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<(u128, u128)>);

/// No integer.
pub(super) static NONE: Spans = Spans(Vec::new());

impl Spans {
    /// Both ends included; a span that ends before it begins holds nothing.
    pub(super) fn new(spans: impl IntoIterator<Item = (u128, u128)>) -> Spans {
        let mut spans: Vec<_> = spans.into_iter().filter(|(low, high)| low <= high).collect();
        spans.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(spans.len());
        for (low, high) in spans {
            match joined.last_mut() {
                Some((_, end)) if low <= end.saturating_add(1) => *end = high.max(*end),
                _ => joined.push((low, high)),
            }
        }
        Spans(joined)
    }

    /// Of signed integers, in their order.
    pub(super) fn signed(spans: &[(i64, i64)]) -> Spans {
        let place = |value: i64| (i128::from(value) - i128::from(i64::MIN)) as u128;
        Spans::new(spans.iter().map(|(low, high)| (place(*low), place(*high))))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_within(&self, other: &Spans) -> bool {
        self.0.iter().all(|(low, high)| {
            let after = other.0.partition_point(|(start, _)| start <= low);
            after.checked_sub(1).and_then(|at| other.0.get(at)).is_some_and(|(_, end)| high <= end)
        })
    }

    pub(super) fn union(&self, other: &Spans) -> Spans {
        Spans::new(self.0.iter().chain(&other.0).copied())
    }

    pub(super) fn intersection(&self, other: &Spans) -> Spans {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some((a_low, a_high)), Some((b_low, b_high))) = (a.peek(), b.peek()) {
            let (low, high) = ((*a_low).max(*b_low), (*a_high).min(*b_high));
            if low <= high {
                both.push((low, high));
            }
            if a_high <= b_high {
                a.next();
            } else {
                b.next();
            }
        }
        Spans(both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_are_the_sets_they_stand_for(
            a in prop::collection::vec((0u128..40, 0u128..8), 0..6),
            b in prop::collection::vec((0u128..40, 0u128..8), 0..6),
        ) {
            let spans = |s: &[(u128, u128)]| Spans::new(s.iter().map(|(low, n)| (*low, low + n)));
            let has = |s: &[(u128, u128)], x: u128| s.iter().any(|(low, n)| *low <= x && x <= low + n);
            let (one, other) = (spans(&a), spans(&b));
            let point = |x: u128| Spans::new([(x, x)]);
            for x in 0..50 {
                prop_assert_eq!(point(x).is_within(&one), has(&a, x));
                prop_assert_eq!(point(x).is_within(&one.union(&other)), has(&a, x) || has(&b, x));
                prop_assert_eq!(point(x).is_within(&one.intersection(&other)), has(&a, x) && has(&b, x));
            }
            prop_assert_eq!(one.is_within(&other), (0..50).all(|x| !has(&a, x) || has(&b, x)));
        }
    }

    #[test]
    fn signed_integers_keep_their_order_up_to_their_ends() {
        let all = Spans::signed(&[(i64::MIN, -1), (0, i64::MAX)]);
        assert_eq!(all, Spans::signed(&[(i64::MIN, i64::MAX)]));
        assert!(Spans::signed(&[(-5, 5)]).is_within(&all) && !all.is_within(&Spans::signed(&[(-5, 5)])));
    }
}
