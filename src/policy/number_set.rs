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
    prefixes: Prefixes,
    patterns: Vec<(Shape, Table)>,
    ranges: Ranges,
    notes: Notes,
    len: usize,
}

/// What a list says of one entry beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryNote<'a> {
    /// Line of the file, or place among `items`, counted from 1.
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
                entries.sort_by_key(|(_, line)| std::cmp::Reverse(notes.expires(*line)));
            }
            Table::new(entries.into_iter())
        };
        let ranges: Vec<_> = self.ranges.iter().map(|(range, line)| (*range, *line, notes.expires(*line))).collect();
        let mut set = NumberSet {
            prefixes: Prefixes::new(&self.prefixes, by_expiry(self.prefixes.clone())),
            exact: by_expiry(self.exact),
            patterns: self.patterns.into_iter().map(|(shape, keys)| (shape, by_expiry(keys))).collect(),
            ranges: Ranges::new(&ranges),
            notes: Notes::default(),
            len: 0,
        };
        set.len = set.exact.len()
            + set.prefixes.table.len()
            + set.patterns.iter().map(|(_, table)| table.len()).sum::<usize>()
            + ranges.len();
        set.notes = notes;
        set
    }
}

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

    /// The entry the number is in the list by: exact before prefix (the longest) before pattern before range.
    pub fn find(&self, number: Number, at: Timestamp) -> Option<EntryRef<'_>> {
        self.line(number, at).map(|line| self.notes.note(line))
    }

    /// Entries, repeated ones counted once.
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
