//! Entries for dates, each a date or a stretch of them, found by day however many there are.

/// Entries in the order of their first day, and of their adding where that is the same.
#[derive(Debug)]
pub(super) struct Dated<T> {
    entries: Vec<Entry<T>>,
}

/// Day numbers since 1970-01-01, both included.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) from: i64,
    pub(super) to: i64,
    /// The last day of this entry and all before it: looking back from a day ends where none can reach it.
    reach: i64,
    pub(super) what: T,
}

impl<T> Default for Dated<T> {
    fn default() -> Self {
        Dated { entries: Vec::new() }
    }
}

impl<T> Dated<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn add(&mut self, from: i64, to: i64, what: T) {
        let at = self.entries.partition_point(|e| e.from <= from);
        self.entries.insert(at, Entry { from, to, reach: to, what });
        let mut reach = at.checked_sub(1).and_then(|i| self.entries.get(i)).map_or(i64::MIN, |e| e.reach);
        for entry in self.entries.iter_mut().skip(at) {
            reach = reach.max(entry.to);
            entry.reach = reach;
        }
    }

    /// Those that hold the day, the latest first.
    pub(super) fn on(&self, day: i64) -> impl Iterator<Item = &Entry<T>> {
        let n = self.entries.partition_point(|e| e.from <= day);
        self.entries.iter().take(n).rev().take_while(move |e| e.reach >= day).filter(move |e| e.to >= day)
    }

    /// The last day that any of them names.
    pub(super) fn last_day(&self) -> Option<i64> {
        self.entries.last().map(|e| e.reach)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_found_in_every_entry_that_holds_it_as_a_plain_scan_finds_it() {
        let mut seed = 7_u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % n) as i64
        };
        let (mut dated, mut plain) = (Dated::default(), Vec::new());
        for i in 0..200 {
            let from = random(500);
            let to = from + random(if i % 20 == 0 { 200 } else { 4 });
            dated.add(from, to, i);
            plain.push((from, to, i));
        }
        for day in -5..710 {
            let mut got: Vec<_> = dated.on(day).map(|e| e.what).collect();
            got.sort_unstable();
            let want: Vec<_> = plain.iter().filter(|(f, t, _)| (*f..=*t).contains(&day)).map(|(.., i)| *i).collect();
            assert_eq!(got, want, "day {day}");
        }
        assert_eq!(dated.last_day(), plain.iter().map(|(_, to, _)| *to).max());
    }
}
