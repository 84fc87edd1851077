//! A TOML table that knows which of its keys were asked for, and where each of them stands.
//!
//! Reading goes on after a mistake, with the default in its place, so that all are found in one run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::notify::Secret;

/// Not TOML, or not there.
const SYNTAX: &str = "E301";
const UNKNOWN: &str = "E302";
const VALUE: &str = "E303";

/// A mistake in the settings, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    path: String,
    /// Line and column, from 1.
    place: Option<(usize, usize)>,
    message: String,
    code: &'static str,
}

impl Problem {
    pub(super) fn of_file(path: &Path, message: String) -> Problem {
        Problem { path: path.display().to_string(), place: None, message, code: SYNTAX }
    }

    /// As [`super::codes`] explains it.
    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Line and column, from 1, where the mistake has a place in its file.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// A parsed file and what is wrong with it.
pub(super) struct Document<'t> {
    text: &'t str,
    path: &'t Path,
    table: Spanned<DeTable<'t>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str, path: &'t Path) -> Document<'t> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let document = Document { text, path, table, problems: RefCell::default() };
        for error in errors {
            document.problem(SYNTAX, error.span().unwrap_or_default(), error.message().trim_end().to_owned());
        }
        document
    }

    pub(super) fn root(&self) -> Section<'_, 't> {
        Section {
            document: self,
            name: String::new(),
            table: self.table.get_ref(),
            span: 0..0,
            asked: RefCell::default(),
        }
    }

    /// In order of place.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems.dedup();
        problems
    }

    fn problem(&self, code: &'static str, span: Range<usize>, message: String) {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let path = self.path.display().to_string();
        self.problems.borrow_mut().push(Problem { path, place: Some((line, column)), message, code });
    }
}

/// One table of the file.
pub(super) struct Section<'d, 't> {
    document: &'d Document<'t>,
    /// As written, for messages: `feed`.
    name: String,
    table: &'d DeTable<'t>,
    span: Range<usize>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'d, 't> Section<'d, 't> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key)
    }

    /// A mistake at the value of `key`, or at the section where it has none.
    pub(super) fn problem(&self, key: &str, message: String) {
        let span = self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.document.problem(VALUE, span, format!("`{}`: {message}", self.full(key)));
    }

    pub(super) fn problem_here(&self, message: String) {
        self.document.problem(VALUE, self.span.clone(), message);
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn wrong_type(&self, key: &str, wanted: &str, found: &DeValue<'_>) {
        self.problem(key, format!("expected {wanted}, found {}", found.type_str()));
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let value = self.value(key)?.get_ref();
        match value.as_str() {
            Some("") => {
                self.problem(key, "empty; leave it out for the default".into());
                None
            }
            Some(text) => Some(text.to_owned()),
            None => {
                self.wrong_type(key, "a text", value);
                None
            }
        }
    }

    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let value = self.value(key)?.get_ref();
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.wrong_type(key, "an array of texts", value);
        }
        texts
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?.get_ref();
        let found = value.as_bool();
        if found.is_none() {
            self.wrong_type(key, "true or false", value);
        }
        found
    }

    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?.get_ref();
        let Some(integer) = value.as_integer() else {
            self.wrong_type(key, "a whole number", value);
            return None;
        };
        let n = i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok();
        let inside = n.filter(|n| range.contains(n));
        if inside.is_none() {
            let text = integer.as_str();
            self.problem(key, format!("{text} is outside of {} to {}", range.start(), range.end()));
        }
        inside
    }

    /// Statuses of HTTP.
    pub(super) fn statuses(&self, key: &'static str) -> Option<Vec<u16>> {
        let value = self.value(key)?.get_ref();
        let status = |item: &Spanned<DeValue<'t>>| {
            let n: u16 = item.get_ref().as_integer()?.as_str().parse().ok()?;
            (100..=599).contains(&n).then_some(n)
        };
        let statuses = value.as_array().and_then(|items| items.iter().map(status).collect::<Option<Vec<_>>>());
        if statuses.is_none() {
            self.problem(key, "expected an array of HTTP statuses, 100 to 599".to_owned());
        }
        statuses
    }

    pub(super) fn seconds(&self, key: &'static str, range: RangeInclusive<i64>, usual: Duration) -> Duration {
        self.integer(key, range).map_or(usual, |n| Duration::from_secs(n.unsigned_abs()))
    }

    pub(super) fn milliseconds(&self, key: &'static str, range: RangeInclusive<i64>, usual: Duration) -> Duration {
        self.integer(key, range).map_or(usual, |n| Duration::from_millis(n.unsigned_abs()))
    }

    pub(super) fn address(&self, key: &'static str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.problem(key, format!("`{text}` is no address with a port, such as `127.0.0.1:7060` or `[::1]:7060`"));
        }
        address
    }

    /// A path, relative to the folder of the settings.
    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        let text = self.text(key)?;
        let folder = self.document.path.parent().unwrap_or(Path::new(""));
        Some(folder.join(text))
    }

    /// A file of this name in the folder of the settings.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.document.path.parent().unwrap_or(Path::new("")).join(name)
    }

    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.problem(key, format!("unknown `{text}`{}; one of {}", suggestion(&text, &known), known.join(", ")));
        }
        found
    }

    /// The secret of `<key>_file` or of the environment variable named by `<key>_env`. Written out in the settings it
    /// would be read by whoever sees them, so that is a mistake.
    pub(super) fn secret(&self, key: &'static str) -> Option<Secret> {
        // Names of keys live as long as the program; these few are made once a section.
        let (file_key, env_key) = match key {
            "token" => ("token_file", "token_env"),
            "secret" => ("secret_file", "secret_env"),
            "password" => ("password_file", "password_env"),
            "auth_token" => ("auth_token_file", "auth_token_env"),
            "routing_key" => ("routing_key_file", "routing_key_env"),
            _ => ("bearer_token_file", "bearer_token_env"),
        };
        if self.has(key) {
            self.value(key);
            self.problem(key, format!("a secret does not belong here: set `{file_key}` or `{env_key}`"));
        }
        let (file, variable) = (self.path(file_key), self.text(env_key));
        match (file, variable) {
            (Some(_), Some(_)) => {
                self.problem(file_key, format!("set at most one of `{file_key}` and `{env_key}`"));
                None
            }
            (Some(path), None) => match std::fs::read_to_string(&path) {
                Ok(text) if !text.trim().is_empty() => Some(Secret(text.trim().to_owned())),
                Ok(_) => {
                    self.problem(file_key, format!("{} is empty", path.display()));
                    None
                }
                Err(e) => {
                    self.problem(file_key, format!("cannot read {}: {e}", path.display()));
                    None
                }
            },
            (None, Some(name)) => {
                let secret = std::env::var(&name).ok().filter(|s| !s.is_empty());
                if secret.is_none() {
                    self.problem(env_key, format!("the environment has no `{name}`"));
                }
                secret.map(Secret)
            }
            (None, None) => None,
        }
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Section<'d, 't>> {
        let value = self.value(key)?;
        let section = self.as_section(self.full(key), value);
        if section.is_none() {
            self.wrong_type(key, "a table", value.get_ref());
        }
        section
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d, 't>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.get_ref().as_array();
        let sections: Option<Vec<_>> =
            items.and_then(|items| items.iter().map(|item| self.as_section(self.full(key), item)).collect());
        sections.unwrap_or_else(|| {
            self.wrong_type(key, &format!("tables, each headed `[[{key}]]`"), value.get_ref());
            Vec::new()
        })
    }

    /// Its tables by their own names: `[webhook.NAME]`.
    pub(super) fn named_sections(&self) -> Vec<(String, Section<'d, 't>)> {
        let mut sections = Vec::new();
        for (name, value) in self.table {
            let name = name.get_ref().to_string();
            match self.as_section(self.full(&name), value) {
                Some(section) => sections.push((name, section)),
                None => self.problem(&name, format!("expected a table, found {}", value.get_ref().type_str())),
            }
        }
        sections
    }

    fn as_section(&self, name: String, value: &'d Spanned<DeValue<'t>>) -> Option<Section<'d, 't>> {
        let table = value.get_ref().as_table()?;
        Some(Section { document: self.document, name, table, span: value.span(), asked: RefCell::default() })
    }

    /// Text values by their keys, of a table whose keys are the operator's own.
    pub(super) fn text_map(&self, key: &'static str) -> Vec<(String, String)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        let mut map = Vec::new();
        for (name, value) in section.table {
            match value.get_ref().as_str() {
                Some(text) => map.push((name.get_ref().to_string(), text.to_owned())),
                None => section.wrong_type(name.get_ref(), "a text", value.get_ref()),
            }
        }
        map
    }

    /// A table that another module defines by serde. Its first mistake is reported at the table.
    pub(super) fn foreign<T: DeserializeOwned>(&self, key: &'static str) -> Option<T> {
        let value = self.value(key)?;
        let plain = plain(value.get_ref());
        match T::deserialize(plain) {
            Ok(settings) => Some(settings),
            Err(e) => {
                self.problem(key, e.message().trim().to_owned());
                None
            }
        }
    }

    /// Reports every key that nobody asked for. Called last.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        let known: Vec<&str> = asked.iter().copied().collect();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !asked.contains(name) {
                let message = format!("unknown key `{}`{}", self.full(name), suggestion(name, &known));
                self.document.problem(UNKNOWN, key.span(), message);
            }
        }
    }
}

/// The value without places, as serde of other modules wants it.
fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(n) => {
            let parsed = i64::from_str_radix(&n.as_str().replace('_', ""), n.radix());
            parsed.map_or_else(|_| toml::Value::String(n.to_string()), toml::Value::Integer)
        }
        DeValue::Float(n) => {
            let parsed = n.as_str().replace('_', "").parse();
            parsed.map_or_else(|_| toml::Value::String(n.to_string()), toml::Value::Float)
        }
        DeValue::Boolean(b) => toml::Value::Boolean(*b),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())));
            toml::Value::Table(entries.collect())
        }
    }
}

/// `; did you mean ...?` where a known word is near.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (distance(word, k), *k)).min();
    match near {
        Some((d, k)) if d <= 1 + word.chars().count() / 4 => format!("; did you mean `{k}`?"),
        _ => String::new(),
    }
}

/// Edits between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, cb) in row.iter_mut().skip(1).zip(&b) {
            let here = (diagonal + usize::from(ca != *cb)).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

pub(super) fn parse_url(section: &Section<'_, '_>, key: &'static str, text: &str) -> Option<Uri> {
    let url: Option<Uri> = text.parse().ok();
    let usable = url.filter(|u: &Uri| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some());
    if usable.is_none() {
        section.problem(key, format!("`{text}` is no URL of the form http://HOST:PORT/PATH"));
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_words_only() {
        assert_eq!(suggestion("lisen", &["listen", "name"]), "; did you mean `listen`?");
        assert_eq!(suggestion("colour", &["listen", "name"]), "");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
