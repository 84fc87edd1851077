//! A TOML file with its places, and tables read key by key, every mistake noted where it stands.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::problem::{Problem, suggest};

/// A parsed file. What could be read of a broken one is there too, and `is_broken` says that it is not all.
pub(crate) struct Document<'t> {
    pub(crate) path: &'t str,
    pub(crate) text: &'t str,
    pub(crate) root: Spanned<DeTable<'t>>,
    /// Where it is broken: whole lines, by bytes.
    pub(crate) broken: Vec<Range<usize>>,
}

/// A text value and where it stands, quotes included.
#[derive(Clone, Debug)]
pub(crate) struct TextValue<'d> {
    pub(crate) value: &'d str,
    pub(crate) span: Range<usize>,
}

/// One key a table may have.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What to write, for advice: `window = "10m"`.
    pub(crate) example: &'static str,
}

pub(crate) const fn key(name: &'static str, example: &'static str) -> Key {
    Key { name, example }
}

impl<'t> Document<'t> {
    /// Every error of syntax is noted, but for those that only follow from another; what stands between them is
    /// read all the same.
    pub(crate) fn parse(path: &'t str, text: &'t str, problems: &mut Vec<Problem>) -> Document<'t> {
        let (root, mut errors) = DeTable::parse_recoverable(text);
        errors.sort_by_key(|e| e.span().map_or(0, |span| span.start));
        let mut broken: Vec<Range<usize>> = Vec::new();
        let mut unclosed_until = 0;
        for (i, error) in errors.iter().enumerate() {
            let span = error.span().unwrap_or(0..0);
            let line = line_at(text, span.start);
            let follows = i < unclosed_until || broken.contains(&line);
            broken.push(line);
            if follows {
                continue;
            }
            // An array that is not closed swallows the lines after it, each a mistake to the parser.
            if error.message().contains("array") {
                let end = errors.iter().skip(i).position(|e| e.message().starts_with("unclosed array"));
                unclosed_until = end.map_or(0, |end| i + end + 1);
            }
            problems.push(syntax_problem(path, text, error.message().trim_end(), span, unclosed_until > i));
        }
        Document { path, text, root, broken }
    }

    /// Does the place stand where the file is broken?
    pub(crate) fn is_broken_at(&self, at: usize) -> bool {
        self.broken.iter().any(|line| (line.start..=line.end).contains(&at))
    }

    pub(crate) fn table(&self) -> Section<'_, 't> {
        let named = "this file".to_owned();
        Section { document: self, table: self.root.get_ref(), span: self.root.span(), named, keys: &[] }
    }
}

fn syntax_problem(path: &str, text: &str, message: &str, span: Range<usize>, is_unclosed: bool) -> Problem {
    if message.starts_with("duplicate key") {
        let key = short(text.get(span.clone()).unwrap_or(""));
        return Problem::error("E007", format!("key `{key}` is written twice in one table")).at(path, span);
    }
    let problem = Problem::error("E001", message).at(path, span.clone());
    if is_unclosed {
        return problem.help("close the array above with `]`");
    }
    match unquoted(text, span.start) {
        Some(line) => problem.help(format!("text stands in quotes: {line}")),
        None => problem,
    }
}

/// Bytes of the line that holds the byte `at`, its end not included.
fn line_at(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    let start = memchr::memrchr(b'\n', bytes.get(..at).unwrap_or(&[])).map_or(0, |n| n + 1);
    let end = memchr::memchr(b'\n', bytes.get(at..).unwrap_or(&[])).map_or(bytes.len(), |n| at + n);
    start..end
}

/// For a line such as `where = direction == inbound`: the same line with its quotes.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |n| n + 1);
    let line = text.get(start..)?.lines().next()?;
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let is_bare = value.starts_with(|c: char| c.is_alphabetic() || c == '@' || c == '>' || c == '<' || c == '$');
    let is_word = key.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let fits = is_bare && is_word && !value.contains('\'') && value.len() < 100;
    fits.then(|| format!("{} = '{value}'", key.trim()))
}

/// A table of a document.
#[derive(Clone)]
pub(crate) struct Section<'d, 't> {
    pub(crate) document: &'d Document<'t>,
    table: &'d DeTable<'t>,
    /// The header, or the whole of an inline table.
    pub(crate) span: Range<usize>,
    /// `[[threshold]] ips-wangiri`, for messages.
    pub(crate) named: String,
    /// The keys it may have.
    keys: &'static [Key],
}

impl<'d, 't> Section<'d, 't> {
    /// The same table, called otherwise.
    pub(crate) fn named(self, named: impl Into<String>) -> Section<'d, 't> {
        Section { named: named.into(), ..self }
    }

    /// The same table, with mistakes of the whole told elsewhere.
    pub(crate) fn at(self, span: Range<usize>) -> Section<'d, 't> {
        Section { span, ..self }
    }

    pub(crate) fn problem(&self, code: &'static str, message: impl Into<String>, span: Range<usize>) -> Problem {
        Problem::error(code, message).at(self.document.path, span)
    }

    /// Keys in the order they are written.
    pub(crate) fn keys(&self) -> Vec<(&'d str, Range<usize>, &'d Spanned<DeValue<'t>>)> {
        let mut keys: Vec<_> = self.table.iter().map(|(k, v)| (k.get_ref().as_ref(), k.span(), v)).collect();
        keys.sort_by_key(|(_, span, _)| span.start);
        keys
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.table.get(name)
    }

    /// Where the key of that name stands.
    pub(crate) fn key_span(&self, name: &str) -> Range<usize> {
        self.table.get_key_value(name).map_or(self.span.clone(), |(k, _)| k.span())
    }

    /// The same table, of which is known what it may hold.
    pub(crate) fn keyed(self, keys: &'static [Key]) -> Section<'d, 't> {
        Section { keys, ..self }
    }

    /// Is the key not there, nor one that is clearly a slip for it? That is told as an unknown key.
    pub(crate) fn lacks(&self, key: &Key) -> bool {
        let is_slip = |name: &str| {
            !self.keys.iter().any(|k| k.name == name)
                && suggest(name, self.keys.iter().map(|k| k.name)) == Some(key.name)
        };
        !self.has(key.name) && !self.table.keys().any(|k| is_slip(k.get_ref()))
    }

    /// Notes every key that the table may not have.
    pub(crate) fn check_keys(&self, problems: &mut Vec<Problem>) {
        let unknown = self.keys().into_iter().filter(|(name, ..)| !self.keys.iter().any(|key| key.name == *name));
        problems.extend(unknown.map(|(name, span, _)| self.unknown_key(name, span)));
    }

    fn unknown_key(&self, name: &str, span: Range<usize>) -> Problem {
        let names = || self.keys.iter().map(|k| k.name);
        let message = match suggest(name, names()) {
            Some(near) => format!("unknown key `{}`; did you mean `{near}`?", short(name)),
            None => format!("unknown key `{}`", short(name)),
        };
        let problem = self.problem("E002", message, span);
        match suggest(name, names()) {
            Some(_) => problem,
            None => problem.help(format!("{} takes: {}", self.named, names().collect::<Vec<_>>().join(", "))),
        }
    }

    pub(crate) fn missing(&self, key: &Key) -> Problem {
        self.problem("E005", format!("{} has no `{}`", self.named, key.name), self.span.clone())
            .help(format!("add a line such as: {}", key.example))
    }

    pub(crate) fn wrong_type(&self, name: &str, value: &Spanned<DeValue<'_>>, wanted: &str, example: &str) -> Problem {
        let found = article(value.get_ref().type_str());
        let problem = self.problem("E004", format!("`{name}` is {wanted}, not {found}"), value.span());
        if example.is_empty() { problem } else { problem.help(format!("write: {example}")) }
    }

    pub(crate) fn text(&self, key: &Key, problems: &mut Vec<Problem>) -> Option<TextValue<'d>> {
        let value = self.value(key.name)?;
        match value.get_ref().as_str() {
            Some(text) => Some(TextValue { value: text, span: value.span() }),
            None => {
                problems.push(self.wrong_type(key.name, value, "text", key.example));
                None
            }
        }
    }

    /// As [`Section::text`], and noted where it is not there.
    pub(crate) fn required_text(&self, key: &Key, problems: &mut Vec<Problem>) -> Option<TextValue<'d>> {
        if self.lacks(key) {
            problems.push(self.missing(key));
        }
        self.text(key, problems)
    }

    pub(crate) fn boolean(&self, key: &Key, problems: &mut Vec<Problem>) -> Option<bool> {
        let value = self.value(key.name)?;
        let answer = value.get_ref().as_bool();
        if answer.is_none() {
            problems.push(self.wrong_type(key.name, value, "true or false", key.example));
        }
        answer
    }

    /// An integer inside `bounds`.
    pub(crate) fn integer(&self, key: &Key, bounds: Range<u64>, problems: &mut Vec<Problem>) -> Option<u64> {
        let value = self.value(key.name)?;
        let Some(integer) = value.get_ref().as_integer() else {
            problems.push(self.wrong_type(key.name, value, "an integer", key.example));
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|n| u64::try_from(n).ok()).filter(|n| bounds.contains(n));
        if number.is_none() {
            let message = format!("`{}` lies between {} and {}, not {integer}", key.name, bounds.start, bounds.end - 1);
            problems.push(self.problem("E006", message, value.span()));
        }
        number
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, key: &Key, words: &[(&str, T)], problems: &mut Vec<Problem>) -> Option<T> {
        let text = self.text(key, problems)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            problems.push(self.not_a_word(key.name, &text, words.iter().map(|(word, _)| *word)));
        }
        found
    }

    pub(crate) fn not_a_word<'w>(
        &self,
        name: &str,
        text: &TextValue<'_>,
        words: impl Iterator<Item = &'w str> + Clone,
    ) -> Problem {
        let near = suggest(text.value, words.clone());
        let message = match near {
            Some(near) => format!("`{}` is not a value of `{name}`; did you mean `{near}`?", short(text.value)),
            None => format!("`{}` is not a value of `{name}`", short(text.value)),
        };
        let problem = self.problem("E006", message, text.span.clone());
        if near.is_some() { problem } else { problem.help(format!("one of: {}", words.collect::<Vec<_>>().join(", "))) }
    }

    pub(crate) fn array(&self, key: &Key, problems: &mut Vec<Problem>) -> Option<&'d DeArray<'t>> {
        let value = self.value(key.name)?;
        let array = value.get_ref().as_array();
        if array.is_none() {
            problems.push(self.wrong_type(key.name, value, "an array", key.example));
        }
        array
    }

    /// An array of texts; what is no text is noted and left out.
    pub(crate) fn texts(&self, key: &Key, problems: &mut Vec<Problem>) -> Option<Vec<TextValue<'d>>> {
        let mut texts = Vec::new();
        for item in self.array(key, problems)?.iter() {
            match item.get_ref().as_str() {
                Some(value) => texts.push(TextValue { value, span: item.span() }),
                None => problems.push(self.wrong_type(key.name, item, "an array of texts", key.example)),
            }
        }
        Some(texts)
    }

    /// The table as what `T` takes of it; a value of another shape is noted where it stands.
    pub(crate) fn foreign<T: DeserializeOwned>(&self, problems: &mut Vec<Problem>) -> Option<T> {
        let table = Spanned::new(self.span.clone(), DeValue::Table(self.table.clone()));
        let error = match T::deserialize(ValueDeserializer::from(table)) {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        let at = error.span().unwrap_or_else(|| self.span.clone());
        let holds = |value: &Spanned<DeValue<'_>>| value.span().contains(&at.start);
        let key = self.keys().into_iter().find(|(_, _, value)| holds(value));
        let key = key.and_then(|(name, ..)| self.keys.iter().find(|key| key.name == name));
        problems.push(match key {
            Some(key) => {
                let problem = self.problem("E004", format!("`{}` does not take this value", key.name), at);
                problem.help(format!("write: {}", key.example))
            }
            None => self.problem("E004", error.message().trim(), at),
        });
        None
    }

    /// A table that is the value of a key: `[lists]`, `on_warning = { ... }`.
    pub(crate) fn section(&self, key: &Key, problems: &mut Vec<Problem>) -> Option<Section<'d, 't>> {
        let value = self.value(key.name)?;
        let Some(table) = value.get_ref().as_table() else {
            problems.push(self.wrong_type(key.name, value, "a table", key.example));
            return None;
        };
        Some(self.inner(table, value.span(), key.name))
    }

    pub(crate) fn inner(&self, table: &'d DeTable<'t>, span: Range<usize>, named: &str) -> Section<'d, 't> {
        Section { document: self.document, table, span, named: format!("`{named}`"), keys: &[] }
    }

    /// The tables of an array of tables, in the order they are written.
    pub(crate) fn sections(&self, key: &Key, problems: &mut Vec<Problem>) -> Vec<Section<'d, 't>> {
        let Some(value) = self.value(key.name) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            let header = format!("[[{}]], in double brackets", key.name);
            problems.push(self.wrong_type(key.name, value, "an array of tables", &header));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(self.inner(table, item.span(), key.name).named(format!("[[{}]]", key.name)))
                }
                None => problems.push(self.wrong_type(key.name, item, "a table", key.example)),
            }
        }
        sections
    }
}

fn article(type_name: &str) -> String {
    match type_name {
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" | "array" => format!("an {type_name}"),
        other => format!("a {other}"),
    }
}

/// At most 64 characters of what an operator wrote, for a message of one line.
pub(crate) fn short(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut shown: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
