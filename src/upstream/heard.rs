//! What another program says of one alert, as ours goes on with it: within bounds, in one line each.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Settings;
use crate::clock::Timestamp;
use crate::limits::{
    UPSTREAM_LABEL_BYTES_MAX, UPSTREAM_LABELS_MAX, UPSTREAM_NAME_BYTES_MAX, UPSTREAM_PROBLEMS_MAX,
    UPSTREAM_WHAT_CHARS_MAX,
};

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Of all that tells it from other alerts, whatever of that is kept.
    pub fingerprint: String,
    /// What tells it from other alerts, in the order of the names.
    pub key: Vec<(String, String)>,
    /// What it folds with; the receiver's alerts without a name fold with each other.
    pub group: Option<String>,
    /// In one line.
    pub what: String,
    pub is_critical: bool,
    /// None where it was not said: now.
    pub starts: Option<Timestamp>,
    /// When it was over; none where it fires.
    pub ended: Option<Timestamp>,
}

/// What a post held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub heard: Vec<Heard>,
    /// Why some of it is no alert, the first of them.
    pub problems: Vec<String>,
    /// Alerts that the sender says it left out: nobody will hear of them from this post.
    pub left_out: u64,
}

impl Parsed {
    pub(super) fn bad(&mut self, why: String) {
        if self.problems.len() < UPSTREAM_PROBLEMS_MAX {
            self.problems.push(why);
        }
    }
}

/// Text values of an object by their names, in the order of the names; empty ones say nothing. None where one is no text.
pub(super) fn texts(object: &Map<String, Value>) -> Option<Vec<(&str, &str)>> {
    let mut texts = Vec::with_capacity(object.len());
    for (name, value) in object {
        match value.as_str() {
            Some("") => {}
            Some(text) => texts.push((name.as_str(), text)),
            None => return None,
        }
    }
    texts.sort_unstable();
    Some(texts)
}

/// Fingerprint and key of what tells an alert from others. Longer than what is kept, it is cut with a mark that tells the
/// whole apart.
pub(super) fn identity(parts: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
    let fingerprint = hash(parts.iter().flat_map(|(name, value)| [*name, *value]));
    let name = |name: &str| cut(name, UPSTREAM_NAME_BYTES_MAX);
    let pair = |(label, value): &(&str, &str)| (name(label), cut(value, UPSTREAM_LABEL_BYTES_MAX));
    let mut key: Vec<_> = parts.iter().take(UPSTREAM_LABELS_MAX).map(pair).collect();
    if let Some(rest) = parts.get(UPSTREAM_LABELS_MAX..).filter(|rest| !rest.is_empty()) {
        let mark = hash(rest.iter().flat_map(|(name, value)| [*name, *value]));
        key.push(("~more".to_owned(), format!("{} ~{}", rest.len(), mark.get(..8).unwrap_or_default())));
    }
    (fingerprint, key)
}

/// At most so many bytes of the text, as one line.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= bytes_max {
        return clean;
    }
    let mark = format!("...~{}", hash([text]).get(..8).unwrap_or_default());
    let end = clean.floor_char_boundary(bytes_max.saturating_sub(mark.len()));
    format!("{}{mark}", clean.get(..end).unwrap_or_default())
}

/// The first of these that says something, in one line that people read.
pub(super) fn line<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let text = texts.into_iter().find(|text| text.chars().any(|c| !c.is_whitespace() && !c.is_control()))?;
    // No more of a long text than could be shown is looked at.
    let head = text.chars().take(8 * UPSTREAM_WHAT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    let words = head.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= UPSTREAM_WHAT_CHARS_MAX {
        return Some(words);
    }
    let kept: String = words.chars().take(UPSTREAM_WHAT_CHARS_MAX - 3).collect();
    Some(format!("{}...", kept.trim_end()))
}

/// An instant of RFC 3339. What is not after 1970 is how others say that there is none.
pub(super) fn instant(value: Option<&Value>) -> Result<Option<Timestamp>, ()> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(value) => {
            let at: Timestamp = serde_json::from_value(value.clone()).map_err(drop)?;
            Ok(Some(at).filter(|at| at.0 > 0))
        }
    }
}

impl Settings {
    /// Does the label say nothing but who sent it?
    pub(super) fn ignores(&self, label: &str) -> bool {
        self.ignored_labels.iter().any(|ignored| ignored == label)
    }
}

/// 128 bits, as hexadecimal digits: they stand in the database and must not change.
pub(super) fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_with_a_mark_that_tells_it_apart() {
        let long = |end: &str| format!("{}{end}", "\u{e5}".repeat(600));
        let (a, b) = (cut(&long("a"), 512), cut(&long("b"), 512));
        assert!(a.len() <= 512 && a != b && a.starts_with("\u{e5}\u{e5}") && a.contains("...~"), "{a}");
        let names: Vec<String> = (0..UPSTREAM_LABELS_MAX + 3).map(|n| format!("l{n:03}")).collect();
        let parts: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let (fingerprint, key) = identity(&parts);
        assert_eq!(key.len(), UPSTREAM_LABELS_MAX + 1);
        let mut other = parts.clone();
        other.last_mut().unwrap().1 = "y";
        assert_ne!(identity(&other), (fingerprint, key));
    }

    #[test]
    fn the_first_text_that_says_something_is_shown_in_one_line() {
        assert_eq!(line([" \n", "disk\tis\r\nfull ", "x"]).as_deref(), Some("disk is full"));
        assert_eq!(line(["", "\u{0}"]), None);
        let long = line([&*"word ".repeat(10_000)]).unwrap();
        assert!(long.chars().count() <= UPSTREAM_WHAT_CHARS_MAX && long.ends_with("..."), "{long}");
    }

    #[test]
    fn the_year_one_is_no_time() {
        let at = |text: &str| instant(Some(&Value::String(text.into())));
        assert_eq!(at("0001-01-01T00:00:00Z"), Ok(None));
        assert_eq!(at("2026-01-01T01:00:00.123456789+01:00"), Ok(Some(Timestamp(1_767_225_600_123))));
        assert_eq!(at("yesterday"), Err(()));
        assert_eq!(instant(Some(&Value::from(5))), Err(()));
        assert_eq!(instant(None), Ok(None));
    }

    #[test]
    fn a_fingerprint_is_for_ever() {
        assert_eq!(hash(["alertname", "DiskFull"]), "11f990d9c5758997db9e80f2abd183c9");
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
    }
}
