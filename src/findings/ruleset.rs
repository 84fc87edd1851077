//! Where things stand in the files of a rule set, so that an edit can say what it takes the place of.
//!
//! Reads the files as they are now, which need not be those that run: what is not found is not proposed.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::limits::RULE_FILE_BYTES_MAX;
use crate::policy::source::RULESET;
use crate::policy::{Policy, RuleSource};

/// A key of a rule, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
    /// `warning = ">= 30"`.
    pub(super) text: String,
    /// Where it is a text.
    pub(super) value: String,
}

/// See the module.
pub(super) struct Ruleset<'a> {
    source: &'a RuleSource,
    /// Path and text, `ruleset.toml` first.
    files: Vec<(String, String)>,
}

impl<'a> Ruleset<'a> {
    pub(super) fn read(source: &'a RuleSource) -> Ruleset<'a> {
        let mut paths = vec![RULESET.to_owned()];
        let is_other = |path: &String| path.starts_with("customers/") || path.starts_with("tests/") || path == RULESET;
        paths.extend(source.all_toml().unwrap_or_default().into_iter().filter(|path| !is_other(path)));
        let text = |path: String| {
            let bytes = source.read(&path, RULE_FILE_BYTES_MAX).ok()?.bytes;
            Some((path, String::from_utf8(bytes).ok()?))
        };
        Ruleset { source, files: paths.into_iter().filter_map(text).collect() }
    }

    /// A key of a rule.
    pub(super) fn key_of_rule(&self, id: &str, key: &str) -> Option<Written> {
        self.files.iter().find_map(|(path, text)| {
            let (root, _) = DeTable::parse_recoverable(text);
            let tables =
                ["threshold", "firewall"].into_iter().filter_map(|kind| root.get_ref().get(kind)?.get_ref().as_array());
            let rule = tables.flatten().filter_map(|rule| rule.get_ref().as_table());
            let rule = rule.into_iter().find(|rule| rule.get("id").and_then(|id| id.get_ref().as_str()) == Some(id))?;
            let (name, value) = rule.get_key_value(key)?;
            written(path, text, name.span(), value.span(), value.get_ref())
        })
    }

    /// The file of a list that has one, by its path beside `ruleset.toml`.
    pub(super) fn file_of_list(&self, name: &str) -> Option<String> {
        self.files.iter().find_map(|(_, text)| {
            let (root, _) = DeTable::parse_recoverable(text);
            let list = root.get_ref().get("lists")?.get_ref().as_table()?.get(name)?.get_ref().as_table()?;
            list.get("file")?.get_ref().as_str().map(str::to_owned)
        })
    }

    /// The columns of a list's file; of one without them, the value alone.
    pub(super) fn columns(&self, file: &str) -> Option<Vec<String>> {
        let bytes = self.source.read(file, RULE_FILE_BYTES_MAX).ok()?.bytes;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let first =
            text.trim_start_matches('\u{feff}').lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
        let columns = first.unwrap_or_default().split(',').map(|column| column.trim().trim_matches('"').to_lowercase());
        let columns: Vec<String> = columns.collect();
        let has_names = columns.iter().any(|column| column == "value");
        Some(if has_names { columns } else { vec!["value".to_owned()] })
    }

    /// The file to which a firewall rule may be added: that of the last firewall rule that runs.
    pub(super) fn file_for_firewall(&self, policy: &Policy) -> String {
        let last = policy.firewall.iter().rev().find_map(|rule| self.key_of_rule(&rule.id, "id"));
        last.map_or_else(|| RULESET.to_owned(), |written| written.file)
    }

    /// An id that no rule has, which begins so.
    pub(super) fn free_id(&self, wanted: &str) -> String {
        let is_taken = |id: &str| self.key_of_rule(id, "id").is_some();
        let numbered = (2..100).map(|n| format!("{wanted}-{n}"));
        let mut ids = std::iter::once(wanted.to_owned()).chain(numbered);
        ids.find(|id| !is_taken(id)).unwrap_or_else(|| wanted.to_owned())
    }
}

fn written(path: &str, text: &str, key: Range<usize>, value: Range<usize>, is: &DeValue<'_>) -> Option<Written> {
    let line = text.get(..key.start)?.bytes().filter(|b| *b == b'\n').count() + 1;
    let value_text = is.as_str().unwrap_or_default().to_owned();
    Some(Written { file: path.to_owned(), line, text: text.get(key.start..value.end)?.to_owned(), value: value_text })
}
