//! Numbers by which rules and lists are known as long as they are there, wherever the policy of the day has them.
//!
//! What is kept by the hundred thousand (calls that are up, entries of lists) names rules and lists by these, so that
//! nothing of it is touched when rules are added, moved or taken away.

/// Of one kind of thing: places in the policy to numbers, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// By place.
    of: Vec<u16>,
    /// By number.
    places: Vec<Option<u16>>,
}

/// Of what has no number.
pub(crate) const NO_NUMBER: u16 = u16::MAX;

impl Numbers {
    /// Each place is its number.
    pub(crate) fn first(n: usize) -> Numbers {
        Numbers { of: (0..n as u16).collect(), places: (0..n as u16).map(Some).collect() }
    }

    /// Of `n` places. `moved`: where those so far are now. Only what `is_known` needs a number. Where something may know
    /// what is gone by its number, that is not given again (`keeps_gone`), unless there is no other left.
    pub(crate) fn next(
        &self,
        moved: &[Option<u16>],
        n: usize,
        is_known: impl Fn(usize) -> bool,
        keeps_gone: bool,
    ) -> Numbers {
        let mut places: Vec<Option<u16>> = self.places.clone();
        for place in &mut places {
            *place = place.and_then(|place| moved.get(usize::from(place)).copied().flatten());
        }
        let mut of = vec![NO_NUMBER; n];
        for (number, place) in places.iter().enumerate() {
            if let Some(place) = place.and_then(|place| of.get_mut(usize::from(place))) {
                *place = number as u16;
            }
        }
        let mut free = (0..places.len()).filter(|number| !keeps_gone && places[*number].is_none());
        let mut given: Vec<(usize, usize)> = Vec::new();
        let mut next = places.len();
        for place in (0..n).filter(|place| of[*place] == NO_NUMBER && is_known(*place)) {
            let number = free.next().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            given.push((place, number));
        }
        drop(free);
        if next >= usize::from(NO_NUMBER) && keeps_gone {
            return self.next(moved, n, is_known, false);
        }
        places.resize(next, None);
        for (place, number) in given {
            (of[place], places[number]) = (number as u16, Some(place as u16));
        }
        Numbers { of, places }
    }

    pub(crate) fn of(&self, place: usize) -> u16 {
        self.of.get(place).copied().unwrap_or(NO_NUMBER)
    }

    /// By place.
    pub(crate) fn all(&self) -> &[u16] {
        &self.of
    }

    pub(crate) fn place(&self, number: u16) -> Option<u16> {
        self.places.get(usize::from(number)).copied().flatten()
    }

    /// By number; what is gone has no place.
    pub(crate) fn places(&self) -> &[Option<u16>] {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_keeps_its_number_wherever_it_is_moved() {
        let first = Numbers::first(3);
        let next = first.next(&[Some(2), None, Some(0)], 4, |_| true, true);
        assert_eq!(next.all(), [2, 3, 0, 4]);
        assert_eq!(next.places(), [Some(2), None, Some(0), Some(1), Some(3)]);
        let again = next.next(&[Some(0), Some(1), None, Some(2)], 4, |place| place != 3, false);
        // Of those that are gone, the first is given again where one is wanted.
        assert_eq!(again.all(), [2, 3, 4, NO_NUMBER]);
        let again = again.next(&[Some(0), Some(1), Some(2), None], 5, |_| true, false);
        assert_eq!(again.all(), [2, 3, 4, 0, 1]);
    }

    #[test]
    fn numbers_that_run_out_are_given_again() {
        let mut numbers = Numbers::first(40_000);
        for _ in 0..3 {
            numbers = numbers.next(&vec![None; 40_000], 40_000, |_| true, true);
            assert!(numbers.all().iter().all(|number| *number != NO_NUMBER));
        }
    }
}
