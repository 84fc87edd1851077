//! That the schemas know what the loader knows, pass what ships and refuse what is wrong.

use super::super::{LoadOptions, RuleSource, load};
use super::*;

#[test]
fn the_rules_that_ship_and_every_valid_rule_set_pass() {
    let schema = rules();
    let mut folders = vec!["rules/firewall".to_owned(), "rules/ips".to_owned(), "rules/demo".to_owned()];
    folders.push("rules".to_owned());
    let valid = std::fs::read_dir("tests/data/rules/valid").unwrap();
    folders.extend(valid.map(|entry| entry.unwrap().path().display().to_string()));
    let mut n = 0;
    for folder in folders {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") && !path.ends_with("customer.toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(mistakes(&schema, &text), Vec::<String>::new(), "{}", path.display());
                n += 1;
            }
        }
    }
    assert!(n >= 8, "{n} files");
}

#[test]
fn mistakes_of_keys_types_and_words_do_not_pass() {
    let schema = rules();
    for (text, wanted) in [
        ("defualt_action = 'allow'", ".defualt_action: unknown"),
        ("default_action = 'deny'", ".default_action: \"deny\" is none of"),
        ("[[firewall]]\nid = 'a'\nwhen = 'x'\naction = 'blok'", ".firewall[0].action: \"blok\""),
        ("[[firewall]]\nid = 'a'\naction = 'block'", ".firewall[0]: lacks when"),
        ("[[firewall]]\nid = 'a'\nwhen = 'x'\naction = 'block'\nsip_code = '603'", "sip_code: no \"integer\""),
        ("[[threshold]]\nid = 'a'\non = 'end'\nmeasure = 'count'\nper = 'caller'", ".per: no \"array\""),
        ("[lists]\na = { typ = 'number' }", ".lists.a"),
        ("[macros]\na = 3", ".macros.a: no \"string\""),
        ("[calendars]\na = { closed_dates = [] }", "lacks open"),
        (
            "[[threshold]]\nid = 'a'\non = 'end'\nmeasure = 'count'\nper = ['caller']\non_warning = { blok = {} }",
            "on_warning.blok: unknown",
        ),
    ] {
        let found = mistakes(&schema, text);
        assert!(found.iter().any(|mistake| mistake.contains(wanted)), "{text}: {found:?}");
    }
    assert!(mistakes(&schema, "[calendars]\na = { open = 'Mon-Fri 07:00-18:00' }").is_empty());
}

#[test]
fn every_key_that_the_loader_takes_is_in_the_schema_and_no_other() {
    let schema = rules();
    let has = |table: &Value, key: &Key| table["properties"].get(key.name).is_some();
    for key in FILE.iter().flat_map(|keys| keys.iter()) {
        assert!(has(&schema, key), "{}", key.name);
    }
    for inner in INNER.iter().chain(RULES) {
        let table = &schema["definitions"][inner.key];
        for key in inner.keys {
            assert!(has(table, key), "{}.{}", inner.key, key.name);
        }
    }
}

#[test]
fn every_key_says_what_it_is_for_and_of_what_type_it_is() {
    for schema in [rules(), tests(), crate::customer::schema::file()] {
        let tables = schema["definitions"].as_object().unwrap().iter().map(|(name, table)| (name.as_str(), table));
        for (name, table) in tables.chain([("", &schema)]) {
            for (key, property) in table["properties"].as_object().unwrap() {
                let words = property.as_object().unwrap();
                assert!(words.len() > 1, "{name}.{key} has no type");
                assert!(words["description"].as_str().unwrap().contains("Example: "), "{name}.{key}");
            }
        }
    }
}

#[test]
fn descriptions_are_sentences() {
    for (table, key, about) in described::all() {
        assert!(about.ends_with('.') && about.len() > 10, "{table}.{key}");
    }
}

#[test]
fn every_word_of_the_schema_is_one_that_the_loader_takes() {
    for words in RULE_WORDS.iter().filter(|words| ["firewall", "threshold"].contains(&words.table)) {
        for word in words.words {
            let value = if words.key == "track" { format!("[\"{word}\"]") } else { format!("\"{word}\"") };
            let rest =
                if words.table == "firewall" { "when = 'anonymous'\naction = 'block'" } else { "measure = 'count'" };
            let rest: String =
                rest.lines().filter(|line| !line.starts_with(words.key)).map(|l| format!("{l}\n")).collect();
            let rule = format!("[[{}]]\nid = 'a'\n{} = {value}\n{rest}", words.table, words.key);
            let text = format!("ringfence = 1\ndefault_action = 'allow'\n{rule}");
            let loaded = load(&RuleSource::memory([("ruleset.toml", text)]), LoadOptions::default());
            let refused = loaded.problems.iter().any(|p| p.code == "E006" && p.message.contains(words.key));
            assert!(!refused, "{} {} {word}: {:?}", words.table, words.key, loaded.problems);
        }
    }
}
