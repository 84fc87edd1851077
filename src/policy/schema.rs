//! The JSON Schema of rule files, made of the keys that the loader knows ([`super::tables`]): a key that is added there is
//! in the schema as well, with the type of its example.
//!
//! A schema is draft 07, which editors for TOML take. It knows keys, types and words; what conditions mean is not its
//! work.

mod described;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod validate;

use serde_json::{Map, Value, json};

use super::document::{Key, key};
use super::tables;

#[cfg(test)]
pub(crate) use validate::mistakes;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The tables that are the value of a key.
pub(crate) struct Inner {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    pub(crate) keys: &'static [Key],
    pub(crate) required: &'static [&'static str],
}

/// How a key holds tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    /// `[[key]]`
    Each,
    /// By names of their own: `[key.NAME]`.
    Named,
    /// Or a text in its place.
    TextOrOne,
    /// Or an array of texts.
    ArrayOrOne,
}

/// What a text may be.
pub(crate) struct Words {
    pub(crate) table: &'static str,
    pub(crate) key: &'static str,
    pub(crate) words: &'static [&'static str],
}

/// Of rules, wherever they stand.
pub(crate) const RULES: &[Inner] = &[
    Inner { key: "firewall", shape: Shape::Each, keys: tables::FIREWALL_KEYS, required: &["id", "when", "action"] },
    Inner {
        key: "threshold",
        shape: Shape::Each,
        keys: tables::THRESHOLD_KEYS,
        required: &["id", "on", "measure", "per"],
    },
    Inner { key: "on_warning", shape: Shape::One, keys: tables::REACTION_KEYS, required: &[] },
    Inner { key: "on_critical", shape: Shape::One, keys: tables::REACTION_KEYS, required: &[] },
    Inner { key: "block", shape: Shape::One, keys: tables::BLOCK_KEYS, required: &["list"] },
    Inner { key: "override", shape: Shape::Each, keys: tables::OVERRIDE_KEYS, required: &["rule", "reason"] },
    Inner { key: "except", shape: Shape::Each, keys: tables::EXCEPT_KEYS, required: &["where", "reason"] },
    Inner { key: "mute", shape: Shape::Each, keys: tables::EXCEPT_KEYS, required: &["where", "reason"] },
];
const INNER: &[Inner] = &[
    Inner { key: "lists", shape: Shape::Named, keys: tables::LIST_KEYS, required: &["type"] },
    Inner { key: "calendars", shape: Shape::Named, keys: tables::CALENDAR_KEYS, required: &["open"] },
];

const WORDS: &[Words] = &[
    Words { table: "", key: "default_action", words: &["allow", "block"] },
    Words { table: "lists", key: "type", words: &["number", "text", "ip", "country"] },
    Words { table: "lists", key: "on_error", words: &["keep-last", "fail"] },
];
/// Of rules, wherever they stand.
pub(crate) const RULE_WORDS: &[Words] = &[
    Words { table: "firewall", key: "on", words: &["attempt", "answer", "end", "request"] },
    Words { table: "firewall", key: "action", words: &["allow", "block", "divert", "flag"] },
    Words { table: "firewall", key: "mode", words: &["enforce", "monitor", "off"] },
    Words { table: "firewall", key: "track", words: &["log", "alert:warning", "alert:critical"] },
    Words { table: "threshold", key: "on", words: &["attempt", "answer", "end", "call", "register", "request"] },
    Words { table: "threshold", key: "mode", words: &["enforce", "monitor", "off"] },
    Words { table: "threshold", key: "missing_key", words: &["skip", "merge"] },
    Words { table: "override", key: "mode", words: &["enforce", "monitor", "off"] },
    Words { table: "firewall", key: "position", words: &["pre", "post"] },
];

const FILE: &[&[Key]] = &[tables::SETTINGS, tables::TABLES];

/// Keys of test files, as `ringfence test` reads them.
const TEST_FILE: &[&[Key]] = &[&[key("test", "[[test]]")]];
const TEST_INNER: &[Inner] = &[Inner {
    key: "test",
    shape: Shape::Each,
    keys: &[
        key("name", "name = \"wangiri: warns at 5\""),
        key("rules", "rules = [\"ips-wangiri\"]"),
        key("start", "start = \"2026-03-02T10:00:00+01:00\""),
        key("force_mode", "force_mode = \"enforce\""),
        key("customer", "customer = \"acme\""),
        key("calls", "calls = [{ at = \"0s\", caller = \"+46701234567\" }]"),
        key("events", "events = \"fixtures/calls.jsonl\""),
        key("expect", "expect = [{ at = \"1m22s\", rule = \"ips-wangiri\", level = \"warning\" }]"),
        key("until", "until = \"2h\""),
    ],
    required: &["name"],
}];
const TEST_WORDS: &[Words] = &[Words { table: "test", key: "force_mode", words: &["enforce", "monitor"] }];

/// Of `ruleset.toml` and every other rule file.
pub fn rules() -> Value {
    whole("Rules of Ringfence", FILE, &[], &[INNER, RULES], &[WORDS, RULE_WORDS])
}

/// Of `tests/*.test.toml`.
pub fn tests() -> Value {
    whole("Tests of rules of Ringfence", TEST_FILE, &[], &[TEST_INNER], &[TEST_WORDS])
}

/// A schema of one kind of file.
pub(crate) fn whole(
    title: &str,
    file: &[&'static [Key]],
    required: &[&str],
    inner: &[&[Inner]],
    words: &[&[Words]],
) -> Value {
    let maker = Maker { inner, words };
    let keys: Vec<&Key> = file.iter().flat_map(|keys| keys.iter()).collect();
    let mut schema = maker.object("", &keys, required);
    let definitions: Map<String, Value> = inner
        .iter()
        .flat_map(|some| some.iter())
        .map(|one| (one.key.to_owned(), maker.object(one.key, &one.keys.iter().collect::<Vec<_>>(), one.required)))
        .collect();
    schema["$schema"] = DRAFT.into();
    schema["title"] = title.into();
    schema["definitions"] = definitions.into();
    schema
}

struct Maker<'m> {
    inner: &'m [&'m [Inner]],
    words: &'m [&'m [Words]],
}

impl Maker<'_> {
    fn object(&self, table: &str, keys: &[&Key], required: &[&str]) -> Value {
        let properties: Map<String, Value> =
            keys.iter().map(|key| (key.name.to_owned(), self.property(table, key))).collect();
        let mut object = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        object
    }

    fn property(&self, table: &str, key: &Key) -> Value {
        let mut property = match self.inner.iter().flat_map(|some| some.iter()).find(|inner| inner.key == key.name) {
            Some(inner) => shaped(inner),
            None => self.plain(table, key),
        };
        let about = described::key(table, key.name);
        let example = format!("Example: {}", key.example);
        property["description"] = match about {
            Some(about) => format!("{about}\n\n{example}").into(),
            None => example.into(),
        };
        property
    }

    /// By the type of the example.
    fn plain(&self, table: &str, key: &Key) -> Value {
        let mut words = self.words.iter().flat_map(|some| some.iter());
        let words = words.find(|words| words.table == table && words.key == key.name);
        let text = || match words {
            Some(words) => json!({ "type": "string", "enum": words.words }),
            None => json!({ "type": "string" }),
        };
        if key.example.starts_with("[[") {
            return json!({ "type": "array", "items": { "type": "object" } });
        }
        if key.example.starts_with('[') {
            // `[macros]`: names of its own, each a text.
            return json!({ "type": "object", "additionalProperties": { "type": "string" } });
        }
        let example: Option<toml::Table> = key.example.parse().ok();
        match example.as_ref().and_then(|example| example.get(key.name)) {
            Some(toml::Value::Array(items)) => {
                let items =
                    items.first().map_or_else(|| json!({}), |item| if item.is_str() { text() } else { typed(item) });
                let array = json!({ "type": "array", "items": items });
                // Hours of a calendar may be one text.
                if key.name == tables::OPEN.name { json!({ "anyOf": [array, text()] }) } else { array }
            }
            Some(toml::Value::String(_)) => text(),
            Some(value) => typed(value),
            None => json!({}),
        }
    }
}

fn shaped(inner: &Inner) -> Value {
    let one = json!({ "$ref": format!("#/definitions/{}", inner.key) });
    match inner.shape {
        // Beside a reference nothing else is read in this draft.
        Shape::One => json!({ "allOf": [one] }),
        Shape::Each => json!({ "type": "array", "items": one }),
        Shape::Named => json!({ "type": "object", "additionalProperties": one }),
        Shape::TextOrOne => json!({ "anyOf": [{ "type": "string" }, one] }),
        Shape::ArrayOrOne => json!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, one] }),
    }
}

fn typed(value: &toml::Value) -> Value {
    let name = match value {
        toml::Value::String(_) => "string",
        toml::Value::Integer(_) => "integer",
        toml::Value::Float(_) => "number",
        toml::Value::Boolean(_) => "boolean",
        toml::Value::Array(_) => "array",
        toml::Value::Table(_) => "object",
        toml::Value::Datetime(_) => return json!({}),
    };
    json!({ "type": name })
}
