//! A list of texts: is this one of them, does it hold one of them?

use std::collections::HashMap;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::ast::Affix;
use crate::clock::Timestamp;

/// Texts, each with the time from which it no longer counts. Exact look-ups are by hash; `contains` and its
/// like go through an automaton that is built when first asked for.
#[derive(Debug, Default)]
pub struct TextSet {
    /// Ends at [`Timestamp::MAX`] where it does not expire.
    texts: HashMap<Box<[u8]>, Timestamp>,
    searches: [OnceLock<Search>; 3],
}

/// Looks for many texts at once, in either case.
#[derive(Debug)]
struct Search {
    lasting: Vec<Regex>,
    expiring: Vec<(Regex, Timestamp)>,
}

/// Texts one automaton looks for. More would not fit the regex crate's default size.
const SEARCH_TEXTS_MAX: usize = 500;

impl TextSet {
    pub fn new() -> TextSet {
        TextSet::default()
    }

    /// Of the same text twice the one that stays longer counts. False for what was there.
    pub fn insert(&mut self, text: &str, expires: Option<Timestamp>) -> bool {
        let until = expires.unwrap_or(Timestamp::MAX);
        self.searches = Default::default();
        match self.texts.get_mut(text.as_bytes()) {
            Some(there) => {
                *there = (*there).max(until);
                false
            }
            None => self.texts.insert(text.as_bytes().into(), until).is_none(),
        }
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    pub fn contains(&self, text: &[u8], at: Timestamp) -> bool {
        self.texts.get(text).is_some_and(|until| at < *until)
    }

    /// One of them that `text` contains, starts with or ends with; the longest.
    pub(super) fn found(&self, affix: Affix, text: &[u8], at: Timestamp) -> Option<&[u8]> {
        let is_in = |entry: &&[u8]| search(affix, &[entry]).is_some_and(|r| r.is_match(text));
        let valid = self.texts.iter().filter(|(_, until)| at < **until).map(|(entry, _)| entry.as_ref());
        valid.filter(is_in).max_by_key(|entry| (entry.len(), *entry))
    }

    /// Does `text` contain, start with or end with one of them, in either case?
    pub(super) fn matches(&self, affix: Affix, text: &[u8], at: Timestamp) -> bool {
        let Some(slot) = self.searches.get(affix as usize) else { return false };
        let search = slot.get_or_init(|| self.search(affix));
        search.lasting.iter().any(|r| r.is_match(text))
            || search.expiring.iter().any(|(r, until)| at < *until && r.is_match(text))
    }

    fn search(&self, affix: Affix) -> Search {
        let mut lasting: Vec<&[u8]> =
            self.texts.iter().filter(|(_, until)| **until == Timestamp::MAX).map(|(text, _)| text.as_ref()).collect();
        lasting.sort_unstable();
        Search {
            lasting: lasting.chunks(SEARCH_TEXTS_MAX).filter_map(|chunk| search(affix, chunk)).collect(),
            expiring: self
                .texts
                .iter()
                .filter(|(_, until)| **until != Timestamp::MAX)
                .filter_map(|(text, until)| Some((search(affix, &[text.as_ref()])?, *until)))
                .collect(),
        }
    }
}

/// One automaton for all `texts`; `None` where they are too long for one.
pub(super) fn search(affix: Affix, texts: &[&[u8]]) -> Option<Regex> {
    let any: Vec<String> = texts.iter().map(|t| regex::escape(&String::from_utf8_lossy(t))).collect();
    let any = any.join("|");
    let pattern = match affix {
        Affix::Contains => any,
        Affix::Starts => format!(r"\A(?:{any})"),
        Affix::Ends => format!(r"(?:{any})\z"),
    };
    RegexBuilder::new(&pattern).case_insensitive(true).size_limit(SEARCH_BYTES_MAX).build().ok()
}

/// A compiled search or `matches`; the regex crate's default, written down.
pub(super) const SEARCH_BYTES_MAX: usize = 10 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_whole_and_inside_until_they_expire() {
        let mut set = TextSet::new();
        assert!(set.insert("SIPVicious", None) && !set.insert("SIPVicious", Some(Timestamp(1))));
        set.insert("Öl", Some(Timestamp(100)));
        assert!(set.contains(b"SIPVicious", Timestamp(5)) && !set.contains(b"sipvicious", Timestamp(5)));
        let found = |how, text: &str, at| set.matches(how, text.as_bytes(), Timestamp(at));
        assert!(found(Affix::Contains, "x sipvicious/1", 0) && !found(Affix::Starts, "x sipvicious/1", 0));
        assert!(found(Affix::Ends, "x SIPVICIOUS", 0) && !found(Affix::Ends, "sipvicious.", 0));
        assert!(found(Affix::Starts, "ÖLSAND", 99) && !found(Affix::Starts, "ÖLSAND", 100));
    }

    #[test]
    fn a_list_of_thousands_is_searched_too() {
        let mut set = TextSet::new();
        for i in 0..3000 {
            set.insert(&format!("agent-{i:05}."), None);
        }
        assert!(set.matches(Affix::Contains, b"my AGENT-02999. here", Timestamp(0)));
        assert!(!set.matches(Affix::Contains, b"my agent-03000. here", Timestamp(0)));
    }
}
