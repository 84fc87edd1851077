//! Millions of numbers, prefixes, ranges and patterns, and the question whether one is among them.
//!
//! Exact numbers stand in one hash table, prefixes in one asked once a length that occurs, patterns in one a
//! shape, ranges as disjoint pieces. What people wrote about an entry stands beside the index and is only
//! looked at when a match is explained or when an entry of the list can expire.

mod ranges;
mod table;

use std::collections::{BTreeMap, HashMap};

use self::ranges::Ranges;
use self::table::{LANES, Table};
use crate::clock::Timestamp;
use crate::event::number_pattern::Shape;
use crate::event::{Number, NumberPattern, NumberRange};

/// A list of numbers, filled once by [`NumberSetBuilder`].
#[derive(Clone, Debug, Default)]
pub struct NumberSet {
    exact: Table,
    prefixes: Box<Prefixes>,
    patterns: Vec<(Shape, Table)>,
    ranges: Box<Ranges>,
    notes: Box<Notes>,
    len: usize,
}

/// What a list says of one entry beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryNote<'a> {
    /// Line of the file, or place among `items`, counted from 1. Tells the entries of a list apart.
    pub line: u32,
    pub category: Option<&'a str>,
    pub comment: Option<&'a str>,
    pub ticket: Option<&'a str>,
    /// The entry matches before this instant, not at it.
    pub expires: Option<Timestamp>,
}

/// The entry that a number was found by.
pub type EntryRef<'a> = EntryNote<'a>;

/// Collects the entries of a list. An entry that comes twice stays once: the one that expires last, then the first.
#[derive(Debug, Default)]
pub struct NumberSetBuilder {
    exact: Vec<(u64, u32)>,
    prefixes: Vec<(u64, u32)>,
    patterns: BTreeMap<Shape, Vec<(u64, u32)>>,
    ranges: Vec<(NumberRange, u32)>,
    notes: Notes,
    categories: HashMap<Box<str>, u32>,
    len: usize,
}

impl NumberSetBuilder {
    pub fn new() -> NumberSetBuilder {
        NumberSetBuilder::default()
    }

    /// Room for about `n` exact numbers.
    pub fn with_capacity(n: usize) -> NumberSetBuilder {
        NumberSetBuilder { exact: Vec::with_capacity(n), ..NumberSetBuilder::default() }
    }

    /// An E.164 number or a short code. Numbers only their text tells apart never match and are not kept.
    pub fn exact(&mut self, number: Number, note: EntryNote<'_>) {
        if !number.is_text() && !number.is_absent() {
            self.exact.push((number.bits(), note.line));
            self.added(note);
        }
    }

    /// Every number that begins with these digits, and these digits themselves.
    pub fn prefix(&mut self, digits: Number, note: EntryNote<'_>) {
        if digits.is_e164() {
            self.prefixes.push((digits.bits(), note.line));
            self.added(note);
        }
    }

    pub fn range(&mut self, range: NumberRange, note: EntryNote<'_>) {
        self.ranges.push((range, note.line));
        self.added(note);
    }

    pub fn pattern(&mut self, pattern: NumberPattern, note: EntryNote<'_>) {
        match pattern {
            NumberPattern::Exact(number) => self.exact(number, note),
            NumberPattern::Prefix(digits) => self.prefix(digits, note),
            NumberPattern::Digits(digits) => {
                self.patterns.entry(digits.shape()).or_default().push((digits.key(), note.line));
                self.added(note);
            }
        }
    }

    /// Entries so far, repeated ones counted each time.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn added(&mut self, note: EntryNote<'_>) {
        self.len += 1;
        if note == (EntryNote { line: note.line, ..EntryNote::default() }) {
            return;
        }
        let category = note.category.map(|text| match self.categories.get(text) {
            Some(index) => *index,
            None => {
                let index = self.notes.categories.len() as u32;
                self.notes.categories.push(text.into());
                self.categories.insert(text.into(), index);
                index
            }
        });
        let (comment, ticket) = (self.notes.keep(note.comment), self.notes.keep(note.ticket));
        let expires = note.expires.unwrap_or(NEVER);
        self.notes.can_expire |= note.expires.is_some();
        self.notes.details.push(Detail { line: note.line, category, comment, ticket, expires });
    }

    pub fn build(mut self) -> NumberSet {
        self.notes.details.sort_by_key(|d| d.line);
        self.notes.details.shrink_to_fit();
        self.notes.texts.shrink_to_fit();
        let notes = self.notes;
        let by_expiry = |mut entries: Vec<(u64, u32)>| {
            if notes.can_expire {
                entries.sort_by_cached_key(|(_, line)| std::cmp::Reverse(notes.expires(*line)));
            }
            Table::new(entries.into_iter())
        };
        let ranges: Vec<_> = self.ranges.iter().map(|(range, line)| (*range, *line, notes.expires(*line))).collect();
        let mut set = NumberSet {
            prefixes: Box::new(Prefixes::new(&self.prefixes, by_expiry(self.prefixes.clone()))),
            exact: by_expiry(self.exact),
            patterns: self.patterns.into_iter().map(|(shape, keys)| (shape, by_expiry(keys))).collect(),
            ranges: Box::new(Ranges::new(&ranges)),
            notes: Box::default(),
            len: 0,
        };
        set.len = set.exact.len()
            + set.prefixes.table.len()
            + set.patterns.iter().map(|(_, table)| table.len()).sum::<usize>()
            + ranges.len();
        set.notes = Box::new(notes);
        set
    }
}

/// Lists below it stay in the second-level cache by themselves.
const WARM_MIN: usize = 20_000;

impl NumberSet {
    /// Is the number in the list at this instant of event time?
    pub fn contains(&self, number: Number, at: Timestamp) -> bool {
        match self.notes.can_expire {
            true => self.line(number, at).is_some(),
            false => self.exact.contains(number.bits()) || self.contains_wide(number, at),
        }
    }

    /// [`NumberSet::contains`] of many numbers, faster where the list is larger than the caches: the memory's
    /// latency is paid once for several numbers. Appends one answer a number.
    pub fn contains_many(&self, numbers: &[Number], at: Timestamp, out: &mut Vec<bool>) {
        if self.notes.can_expire {
            out.extend(numbers.iter().map(|number| self.contains(*number, at)));
            return;
        }
        for chunk in numbers.chunks(LANES) {
            let mut keys = [0; LANES];
            for (key, number) in keys.iter_mut().zip(chunk) {
                *key = number.bits();
            }
            let found = self.exact.contains_lanes(&keys);
            out.extend(chunk.iter().zip(found).map(|(number, hit)| hit || self.contains_wide(*number, at)));
        }
    }

    /// Brings what [`NumberSet::contains`] of these numbers reads into the caches, all at once: a list of a million
    /// numbers is larger than they are.
    pub fn warm(&self, numbers: impl Iterator<Item = Number>) {
        if self.exact.len() >= WARM_MIN {
            self.exact.warm(numbers.map(Number::bits));
        }
    }

    /// The entry the number is in the list by: exact before prefix (the longest) before pattern before range.
    pub fn find(&self, number: Number, at: Timestamp) -> Option<EntryRef<'_>> {
        self.line(number, at).map(|line| self.notes.note(line))
    }

    /// As [`NumberSet::find`], with the entry as it may be written; of ranges that overlap, the part that is its own.
    pub fn entry(&self, number: Number, at: Timestamp) -> Option<(String, EntryRef<'_>)> {
        let note = self.find(number, at)?;
        let valid = |line: &u32| *line == note.line;
        let exact = self.exact.get(number.bits()).filter(valid).map(|_| NumberPattern::Exact(number).to_string());
        let text = exact
            .or_else(|| {
                let digits = (1..=number.digits()?.1).rev().find_map(|n| {
                    let digits = number.prefix(n)?;
                    self.prefixes.table.get(digits.bits()).filter(valid).map(|_| digits)
                })?;
                Some(NumberPattern::Prefix(digits).to_string())
            })
            .or_else(|| {
                let found = self.patterns.iter().find_map(|(shape, table)| {
                    let key = shape.key(number)?;
                    table.get(key).filter(valid).map(|_| shape.pattern(key))
                })?;
                Some(NumberPattern::Digits(found).to_string())
            })
            .or_else(|| self.ranges.text(number))?;
        Some((text, note))
    }

    /// Entries, repeated ones counted once but for ranges.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes of index and notes.
    pub fn memory_bytes(&self) -> usize {
        let tables = self.patterns.iter().map(|(_, table)| table.memory_bytes() + size_of::<(Shape, Table)>());
        self.exact.memory_bytes()
            + self.prefixes.table.memory_bytes()
            + tables.sum::<usize>()
            + self.ranges.memory_bytes()
            + self.notes.memory_bytes()
    }

    fn contains_wide(&self, number: Number, at: Timestamp) -> bool {
        let none = self.prefixes.lengths == 0 && self.ranges.is_empty() && self.patterns.is_empty();
        !none && self.wide_line(number, at).is_some()
    }

    fn line(&self, number: Number, at: Timestamp) -> Option<u32> {
        let exact = self.exact.get(number.bits()).filter(|line| self.notes.is_valid(*line, at));
        exact.or_else(|| self.wide_line(number, at))
    }

    fn wide_line(&self, number: Number, at: Timestamp) -> Option<u32> {
        let valid = |line: &u32| self.notes.is_valid(*line, at);
        self.prefixes
            .find(number, valid)
            .or_else(|| {
                self.patterns
                    .iter()
                    .find_map(|(shape, table)| shape.key(number).and_then(|key| table.get(key)).filter(valid))
            })
            .or_else(|| self.ranges.get(number).filter(valid))
    }
}

#[derive(Clone, Debug, Default)]
struct Prefixes {
    table: Table,
    /// Bit n: there is a prefix of n digits.
    lengths: u32,
    /// Of each three leading digits, whether a prefix begins so; most numbers are told by this alone.
    leads: Box<[u64]>,
}

const LEAD_DIGITS: u32 = 3;

impl Prefixes {
    fn new(keys: &[(u64, u32)], table: Table) -> Prefixes {
        let mut prefixes = Prefixes { table, lengths: 0, leads: vec![0; 1000 / 64 + 1].into() };
        for digits in keys.iter().filter_map(|(bits, _)| Number::from_bits(*bits).digits()) {
            let (value, len) = digits;
            prefixes.lengths |= 1 << len;
            let scale = 10u64.pow(LEAD_DIGITS.saturating_sub(len));
            let lead = value / 10u64.pow(len.saturating_sub(LEAD_DIGITS));
            for lead in lead * scale..(lead + 1) * scale {
                if let Some(word) = prefixes.leads.get_mut(lead as usize / 64) {
                    *word |= 1 << (lead % 64);
                }
            }
        }
        prefixes
    }

    /// The line of the longest prefix of the number that passes.
    fn find(&self, number: Number, valid: impl Fn(&u32) -> bool) -> Option<u32> {
        let (mut value, mut len) = number.digits()?;
        if self.lengths == 0 || !self.may_begin(number) {
            return None;
        }
        while len > 0 {
            if self.lengths >> len & 1 == 1 {
                let key = Number::e164_from_value(value, len).bits();
                if let Some(line) = self.table.get(key).filter(&valid) {
                    return Some(line);
                }
            }
            value /= 10;
            len -= 1;
        }
        None
    }

    fn may_begin(&self, number: Number) -> bool {
        let Some((lead, LEAD_DIGITS)) = number.prefix(LEAD_DIGITS).and_then(Number::digits) else {
            return true;
        };
        self.leads.get(lead as usize / 64).is_some_and(|word| word >> (lead % 64) & 1 == 1)
    }
}

/// Category, comment, ticket and expiry of the entries that have any, by line.
#[derive(Clone, Debug, Default)]
struct Notes {
    details: Vec<Detail>,
    categories: Vec<Box<str>>,
    texts: String,
    can_expire: bool,
}

#[derive(Clone, Copy, Debug)]
struct Detail {
    line: u32,
    category: Option<u32>,
    comment: Span,
    ticket: Span,
    expires: Timestamp,
}

/// Bytes of [`Notes::texts`].
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u32,
    len: u32,
}

/// Later than every event.
const NEVER: Timestamp = Timestamp(i64::MAX);

impl Notes {
    fn keep(&mut self, text: Option<&str>) -> Span {
        let text = text.unwrap_or("");
        // Past 4 GiB of comments a list goes without: they decide nothing.
        let fits = self.texts.len() + text.len() <= u32::MAX as usize;
        let text = if fits { text } else { "" };
        let span = Span { at: self.texts.len() as u32, len: text.len() as u32 };
        self.texts.push_str(text);
        span
    }

    fn detail(&self, line: u32) -> Option<&Detail> {
        let at = self.details.partition_point(|d| d.line < line);
        self.details.get(at).filter(|d| d.line == line)
    }

    fn expires(&self, line: u32) -> Timestamp {
        self.detail(line).map_or(NEVER, |d| d.expires)
    }

    fn is_valid(&self, line: u32, at: Timestamp) -> bool {
        !self.can_expire || at < self.expires(line)
    }

    fn note(&self, line: u32) -> EntryNote<'_> {
        let Some(detail) = self.detail(line) else {
            return EntryNote { line, ..EntryNote::default() };
        };
        let text = |span: Span| {
            let at = span.at as usize;
            self.texts.get(at..at + span.len as usize).filter(|text| !text.is_empty())
        };
        EntryNote {
            line,
            category: detail.category.and_then(|index| self.categories.get(index as usize)).map(|text| &**text),
            comment: text(detail.comment),
            ticket: text(detail.ticket),
            expires: (detail.expires != NEVER).then_some(detail.expires),
        }
    }

    fn memory_bytes(&self) -> usize {
        let categories = self.categories.iter().map(|text| text.len() + size_of::<Box<str>>());
        self.details.capacity() * size_of::<Detail>() + self.texts.capacity() + categories.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn pattern(text: &str) -> NumberPattern {
        NumberPattern::parse(text.as_bytes()).unwrap()
    }

    fn number(text: &str) -> Number {
        match pattern(text) {
            NumberPattern::Exact(number) => number,
            other => panic!("{other}"),
        }
    }

    fn line(line: u32) -> EntryNote<'static> {
        EntryNote { line, ..EntryNote::default() }
    }

    fn set(entries: &[&str]) -> NumberSet {
        let mut builder = NumberSetBuilder::new();
        for (i, text) in entries.iter().enumerate() {
            match text.split_once("..") {
                Some((low, high)) => {
                    builder.range(NumberRange::new(pattern(low), pattern(high)).unwrap(), line(i as u32 + 1))
                }
                None => builder.pattern(pattern(text), line(i as u32 + 1)),
            }
        }
        builder.build()
    }

    #[test]
    fn each_kind_of_entry_is_found_by_its_line() {
        let set = set(&["+46701234567", "+4484*", "+1???976*", "+4684000000..+4684009999", "short:2001", "+4*"]);
        let found = |text| set.find(number(text), NOW).map(|note| note.line);
        assert_eq!(found("+46701234567"), Some(1));
        assert_eq!(found("+4484"), Some(2));
        assert_eq!(found("+448412345"), Some(2));
        assert_eq!(found("+12129761234"), Some(3));
        assert_eq!(found("+4684004711"), Some(6));
        assert_eq!(found("short:2001"), Some(5));
        assert_eq!(found("short:448"), None);
        assert_eq!(found("+12129751234"), None);
        assert_eq!(found("+35312345678"), None);
        assert_eq!(set.len(), 6);
        for kindless in [Number::ABSENT, Number::ANONYMOUS, Number::INVALID] {
            assert!(!set.contains(kindless, NOW));
        }
    }

    #[test]
    fn an_entry_holds_until_it_expires_and_the_later_of_two_wins() {
        let mut builder = NumberSetBuilder::new();
        let until = |line, ms| EntryNote { line, expires: Some(Timestamp(ms)), ..EntryNote::default() };
        let n = number("+46701234567");
        builder.exact(n, until(1, 10));
        builder.exact(n, until(2, 30));
        builder.exact(n, until(3, 20));
        builder.pattern(pattern("+447*"), until(4, 40));
        builder.pattern(pattern("+44*"), until(5, 50));
        let range = |low, high| NumberRange::new(pattern(low), pattern(high)).unwrap();
        builder.range(range("+35800000", "+35809999"), until(6, 60));
        builder.range(range("+35805000", "+35805999"), line(7));
        let set = builder.build();
        let found = |text, ms| set.find(number(text), Timestamp(ms)).map(|note| note.line);
        assert_eq!((found("+46701234567", 29), found("+46701234567", 30)), (Some(2), None));
        assert_eq!((found("+447123", 39), found("+447123", 40), found("+447123", 50)), (Some(4), Some(5), None));
        assert_eq!((found("+35804999", 59), found("+35804999", 60)), (Some(6), None));
        assert_eq!((found("+35805000", 1_000), found("+35806000", 59)), (Some(7), Some(6)));
        let mut many = Vec::new();
        set.contains_many(&[number("+46701234567"), number("+447123")], Timestamp(35), &mut many);
        assert_eq!(many, [false, true]);
    }

    #[test]
    fn what_people_wrote_comes_back_with_the_match() {
        let mut builder = NumberSetBuilder::new();
        let note = EntryNote {
            line: 12,
            category: Some("fraud"),
            comment: Some("seen in May"),
            ticket: None,
            expires: Some(Timestamp(9_000)),
        };
        builder.exact(number("+46701234567"), note);
        builder.exact(number("+46701234568"), EntryNote { line: 13, category: Some("fraud"), ..EntryNote::default() });
        let set = builder.build();
        assert_eq!(set.find(number("+46701234567"), NOW), Some(note));
        assert_eq!(set.find(number("+46701234568"), NOW).and_then(|note| note.category), Some("fraud"));
        assert_eq!(set.find(number("+46701234569"), NOW), None);
    }

    #[test]
    fn an_empty_list_has_nothing() {
        assert!(NumberSet::default().is_empty());
        assert!(!NumberSet::default().contains(number("+46701234567"), NOW));
        assert!(!set(&[]).contains(number("+46701234567"), NOW));
    }

    /// One entry as text, over few digits so that entries and numbers meet.
    fn entry() -> impl Strategy<Value = String> {
        prop_oneof![
            "[+]1[0-2]{2,5}",
            "[+]1[0-2]{0,3}[*]",
            "[+]1[0-2?]{1,4}[?][*]?".prop_filter("few", |t| t.matches('?').count() <= 4 && t.len() > 3),
            "short:[0-2]{1,4}",
            ("[0-2]{3}", "[0-2]{3}").prop_map(|(a, b)| format!("+1{}..+1{}", a.clone().min(b.clone()), a.max(b))),
        ]
    }

    proptest! {
        #[test]
        fn a_set_equals_a_linear_scan(
            entries in proptest::collection::vec((entry(), proptest::option::of(0i64..5)), 0..40),
            numbers in proptest::collection::vec(prop_oneof!["[+]1[0-2]{2,5}", "short:[0-2]{1,4}"], 1..70),
            at in 0i64..5,
            may_expire: bool,
        ) {
            let mut builder = NumberSetBuilder::new();
            let at = Timestamp(at);
            let mut tests: Vec<Box<dyn Fn(Number) -> bool>> = Vec::new();
            for (i, (text, expires)) in entries.iter().enumerate() {
                let expires = expires.filter(|_| may_expire).map(Timestamp);
                let note = EntryNote { line: i as u32 + 1, expires, ..EntryNote::default() };
                let is_valid = expires.is_none_or(|end| at < end);
                match text.split_once("..") {
                    Some((low, high)) => {
                        let range = NumberRange::new(pattern(low), pattern(high)).unwrap();
                        builder.range(range, note);
                        tests.push(Box::new(move |n| is_valid && range.contains(n)));
                    }
                    None => {
                        let pattern = pattern(text);
                        builder.pattern(pattern, note);
                        tests.push(Box::new(move |n| is_valid && pattern.matches(n)));
                    }
                }
            }
            let set = builder.build();
            let numbers: Vec<_> = numbers.iter().map(|text| number(text)).collect();
            let mut many = Vec::new();
            set.contains_many(&numbers, at, &mut many);
            for (n, batched) in numbers.iter().zip(many) {
                let expected = tests.iter().any(|test| test(*n));
                prop_assert_eq!(set.contains(*n, at), expected, "{}", n);
                prop_assert_eq!(batched, expected);
                let found = set.find(*n, at);
                prop_assert_eq!(found.is_some(), expected);
                if let Some(note) = found {
                    prop_assert!(tests[note.line as usize - 1](*n), "line {}", note.line);
                }
            }
        }
    }
}
