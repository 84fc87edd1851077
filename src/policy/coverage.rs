//! Which rules the test files of a rule set speak of. What the tests say, and whether they hold, is not looked at here.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::{Policy, RuleSource};
use crate::limits::RULE_FILE_BYTES_MAX;

/// Keys of a test file that name rules: of a test, of a call, of what is expected.
const NAMING: [&str; 3] = ["rules", "by", "rule"];

/// Ids of rules that no `tests/*.test.toml` names, in evaluation order; `None` where there is no such file.
pub fn untested<'p>(source: &RuleSource, policy: &'p Policy) -> Option<Vec<&'p str>> {
    let paths = source.glob("tests/*.test.toml").ok().filter(|paths| !paths.is_empty())?;
    let mut named = BTreeSet::new();
    for path in paths {
        // A test file that cannot be read is told by whoever runs it.
        let Ok(file) = source.read(&path, RULE_FILE_BYTES_MAX) else { continue };
        let text = String::from_utf8_lossy(&file.bytes);
        gather(DeTable::parse_recoverable(&text).0.get_ref(), &mut named);
    }
    let firewall = policy.firewall.iter().map(|rule| (rule.position, rule.id.as_str()));
    let thresholds = policy.thresholds.iter().map(|rule| (rule.position, rule.id.as_str()));
    let mut rules: Vec<_> = firewall.chain(thresholds).filter(|(_, id)| !named.contains(*id)).collect();
    rules.sort_unstable();
    // Variants of a rule for some customers have its id and place.
    rules.dedup();
    Some(rules.into_iter().map(|(_, id)| id).collect())
}

fn gather(table: &DeTable<'_>, named: &mut BTreeSet<String>) {
    for (key, value) in table {
        let names_rules = NAMING.contains(&key.get_ref().as_ref());
        visit(value.get_ref(), names_rules, named);
    }
}

/// The parser bounds how deep values lie.
fn visit(value: &DeValue<'_>, names_rules: bool, named: &mut BTreeSet<String>) {
    match value {
        DeValue::String(text) if names_rules => {
            named.insert(text.to_string());
        }
        DeValue::Array(items) => items.iter().for_each(|item| visit(item.get_ref(), names_rules, named)),
        DeValue::Table(table) => gather(table, named),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, load};
    use super::*;

    #[test]
    fn a_rule_is_tested_where_a_test_a_call_or_an_expectation_names_it() {
        let rule = |id: &str| format!("[[firewall]]\nid = \"{id}\"\nwhen = 'caller == +46701'\naction = \"flag\"\n");
        let rules = "ringfence = 1\ndefault_action = \"allow\"\n".to_owned()
            + &["fw-a", "fw-b", "fw-c", "fw-d"].map(rule).concat();
        let tests = "[[test]]\nname = 'fw-d'\nrules = ['fw-a']\ncalls = [{ at = '0s', by = 'fw-b' }]\n\
                     expect = [{ rule = 'fw-c' }]\n";
        let with = RuleSource::memory([("ruleset.toml", rules.as_str()), ("tests/a.test.toml", tests)]);
        let without = RuleSource::memory([("ruleset.toml", rules.as_str())]);
        let policy = load(&with, LoadOptions::default()).policy.unwrap();
        assert_eq!(untested(&with, &policy), Some(vec!["fw-d"]));
        assert_eq!(untested(&without, &policy), None);
    }
}
