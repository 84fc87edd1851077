//! A mistake of an operator: code, place, caret, advice.
//!
//! Whoever finds one says what is wrong and where; how it is drawn stands in [`super::render`], what its code
//! means in [`super::codes`].

use std::ops::Range;

/// One root cause, with its place. An error keeps a policy from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable: `E014`, `W101`.
    pub code: &'static str,
    pub is_error: bool,
    pub message: String,
    pub place: Option<Place>,
    /// What the caret says.
    pub label: String,
    /// A second place that explains the first.
    pub context: Option<(Place, String)>,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

/// Bytes `span` of the file `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: String,
    pub span: Range<usize>,
}

impl Place {
    pub fn new(path: impl Into<String>, span: Range<usize>) -> Place {
        Place { path: path.into(), span }
    }
}

impl Problem {
    pub fn error(code: &'static str, message: impl Into<String>) -> Problem {
        debug_assert!(code.starts_with('E'));
        Problem {
            code,
            is_error: true,
            message: message.into(),
            place: None,
            label: String::new(),
            context: None,
            notes: Vec::new(),
            help: None,
        }
    }

    /// Something to look at; the policy works all the same.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Problem {
        debug_assert!(code.starts_with('W'));
        Problem { is_error: false, ..Problem::error("E000", message).coded(code) }
    }

    fn coded(self, code: &'static str) -> Problem {
        Problem { code, ..self }
    }

    pub fn at(self, path: &str, span: Range<usize>) -> Problem {
        Problem { place: Some(Place::new(path, span)), ..self }
    }

    pub fn label(self, label: impl Into<String>) -> Problem {
        Problem { label: label.into(), ..self }
    }

    pub fn context(self, path: &str, span: Range<usize>, label: impl Into<String>) -> Problem {
        Problem { context: Some((Place::new(path, span), label.into())), ..self }
    }

    pub fn note(mut self, note: impl Into<String>) -> Problem {
        self.notes.push(note.into());
        self
    }

    pub fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }
}

/// The candidate nearest to a misspelt word, where one is near enough to be meant: a third of the word's
/// letters may be wrong, swapped neighbours count once, case does not count.
pub(crate) fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// No key, field, list or rule is longer; bounds the work on hostile input.
    const WORD_CHARS_MAX: usize = 64;
    let letters: Vec<char> = word.chars().take(WORD_CHARS_MAX + 1).map(|c| c.to_ascii_lowercase()).collect();
    if letters.len() > WORD_CHARS_MAX {
        return None;
    }
    let reach = (letters.len() / 3).max(1);
    candidates
        .into_iter()
        .filter(|c| c.len() <= 4 * WORD_CHARS_MAX)
        .map(|c| (edits(&letters, &c.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>()), c))
        .filter(|(n, c)| *n <= reach && *n < c.chars().count().max(2))
        .min_by_key(|(n, _)| *n)
        .map(|(_, c)| c)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(x != y);
            row[j + 1] = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let keys = ["warning", "critical", "window", "when", "measure"];
        assert_eq!(suggest("warnign", keys), Some("warning"));
        assert_eq!(suggest("Critical", keys), Some("critical"));
        assert_eq!(suggest("windw", keys), Some("window"));
        assert_eq!(suggest("colour", keys), None);
        assert_eq!(suggest("", keys), None);
        assert_eq!(suggest(&"x".repeat(100_000), keys), None);
    }

    #[test]
    fn swapped_neighbours_count_once() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        assert_eq!(edits(&chars("abcd"), &chars("acbd")), 1);
        assert_eq!(edits(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(edits(&chars(""), &chars("abc")), 3);
    }
}
