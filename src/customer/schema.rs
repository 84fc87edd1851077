//! The JSON Schema of a customer's file, made of the same keys that its reader takes.

use serde_json::{Value, json};

use super::keys;
use crate::policy::document::Key;
use crate::policy::schema::{self, Inner, Shape, Words, whole};
use crate::policy::tables;

const INNER: &[Inner] = &[
    Inner { key: "trunk", shape: Shape::Each, keys: keys::TRUNK_KEYS, required: &["name"] },
    Inner { key: "dial_plan", shape: Shape::One, keys: keys::DIAL_PLAN_KEYS, required: &[] },
    Inner { key: "contact", shape: Shape::Each, keys: keys::CONTACT_KEYS, required: &["id"] },
    Inner { key: "roster", shape: Shape::Each, keys: keys::ROSTER_KEYS, required: &["name", "people"] },
    Inner { key: "distribution", shape: Shape::Each, keys: keys::DISTRIBUTION_KEYS, required: &["severities"] },
    Inner { key: "oncall", shape: Shape::Each, keys: keys::ONCALL_KEYS, required: &["severities", "steps"] },
    Inner { key: "steps", shape: Shape::Each, keys: keys::STEP_KEYS, required: &["to"] },
    Inner { key: "command", shape: Shape::One, keys: keys::COMMAND_KEYS, required: &[] },
    Inner { key: "severity", shape: Shape::One, keys: keys::SEVERITY_KEYS, required: &[] },
    Inner { key: "rules", shape: Shape::Named, keys: keys::GRADE_KEYS, required: &[] },
    Inner { key: "groups", shape: Shape::Named, keys: keys::GRADE_KEYS, required: &[] },
    Inner { key: "calendars", shape: Shape::One, keys: keys::CALENDARS_KEYS, required: &[] },
    Inner { key: "service", shape: Shape::TextOrOne, keys: tables::CALENDAR_KEYS, required: &["open"] },
    Inner { key: "response", shape: Shape::TextOrOne, keys: tables::CALENDAR_KEYS, required: &["open"] },
    Inner { key: "own_numbers", shape: Shape::ArrayOrOne, keys: tables::OWN_NUMBERS_KEYS, required: &[] },
    Inner { key: "escalation", shape: Shape::One, keys: keys::ESCALATION_KEYS, required: &["name"] },
    Inner {
        key: "exception",
        shape: Shape::Each,
        keys: tables::EXCEPTION_KEYS,
        required: &["rule", "where", "reason"],
    },
];

const WORDS: &[Words] = &[
    Words { table: "contact", key: "rights", words: &["request", "authorise", "receive"] },
    Words { table: "own_numbers", key: "on_error", words: &["keep-last", "fail"] },
    Words { table: "exception", key: "kind", words: &["except", "mute"] },
];

const FILE: &[&[Key]] = &[keys::FILE];

/// Of `customers/<id>.toml`, and of what `ringfence baseline` writes beside it: overrides and exceptions, and nothing else.
pub fn file() -> Value {
    let mut schema = whole("A customer of Ringfence", FILE, &[], &[INNER, schema::RULES], &[WORDS, schema::RULE_WORDS]);
    let beside: serde_json::Map<String, Value> =
        tables::BASELINE_TABLES.iter().map(|key| (key.name.to_owned(), json!({}))).collect();
    schema["anyOf"] = json!([{ "required": ["name"] }, { "properties": beside, "additionalProperties": false }]);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::schema::mistakes;

    #[test]
    fn the_file_that_ships_passes_and_mistakes_do_not() {
        let schema = file();
        let told = |text: &str| mistakes(&schema, text);
        assert_eq!(told(include_str!("../../deploy/customers/example.toml")), Vec::<String>::new());
        assert_eq!(told("name = 'x'\nlanguages = ['sv']\n").len(), 1);
        assert_eq!(told("country = 'SE'\n").len(), 1, "no name");
        assert_eq!(told("name = 'x'\n[[contact]]\nid = 'a'\nrights = ['recieve']\n").len(), 1);
        let baseline = "[[override]]\ncustomer = 'x'\nrule = 'a'\nreason = 'b'\nwarning = '>= 60'\n";
        assert_eq!(told(baseline), Vec::<String>::new(), "a file that `baseline --write` makes");
        assert_eq!(told(&format!("country = 'SE'\n{baseline}")).len(), 1, "neither of both");
        assert_eq!(told("name = 'x'\nown_numbers = { file = 'a.csv' }\ncalendars.service = 'office'\n").len(), 0);
        assert_eq!(told("name = 'x'\nown_numbers = 4684000000\n").len(), 1);
        assert_eq!(told("name = 'x'\n[[override]]\nrule = 'a'\nreason = 'b'\nwarning = '>= 60'\n").len(), 0);
        assert_eq!(told("name = 'x'\n[[exception]]\nrule = 'a'\nreason = 'b'\nkind = 'muted'\n").len(), 2);
    }

    #[test]
    fn every_key_that_works_is_there() {
        let schema = file();
        for key in keys::FILE {
            let is_there = schema["properties"].get(key.name).is_some();
            assert!(is_there, "{}", key.name);
        }
        for inner in INNER {
            assert!(schema["definitions"].get(inner.key).is_some(), "{}", inner.key);
        }
    }
}
