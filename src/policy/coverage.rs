//! Which rules the test files of a rule set speak of. What the tests say, and whether they hold, is not looked at here.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::{Policy, RuleSource};
use crate::limits::RULE_FILE_BYTES_MAX;

/// Keys of a test file that name rules: of a test, of a call, of what is expected.
const NAMING: [&str; 3] = ["rules", "by", "rule"];
/// What a call must be marked with names the rules that do so.
const FLAGS: &str = "flags";
/// How deep folders of tests may lie in each other.
pub const TEST_FOLDERS_MAX: usize = 4;

/// Rules that tests speak of.
#[derive(Clone, Debug, Default)]
pub struct Named {
    ids: BTreeSet<String>,
    flags: BTreeSet<String>,
}

impl Named {
    /// By the test files of a rule set: all `*.test.toml` in its `tests/` and below; `None` where there is none.
    pub fn of(source: &RuleSource) -> Option<Named> {
        let folders = (0..=TEST_FOLDERS_MAX).map(|depth| format!("tests/{}*.test.toml", "*/".repeat(depth)));
        let paths: Vec<String> = folders.flat_map(|pattern| source.glob(&pattern).unwrap_or_default()).collect();
        let mut named = Named::default();
        for path in &paths {
            // A test file that cannot be read is told by whoever runs it.
            if let Ok(file) = source.read(path, RULE_FILE_BYTES_MAX) {
                named.add(&String::from_utf8_lossy(&file.bytes));
            }
        }
        (!paths.is_empty()).then_some(named)
    }

    /// What one more test file speaks of.
    pub fn add(&mut self, text: &str) {
        self.gather(DeTable::parse_recoverable(text).0.get_ref());
    }

    /// Is the rule with this id, that marks calls with this flag, among them?
    pub fn has(&self, id: &str, flag: Option<&str>) -> bool {
        self.ids.contains(id) || flag.is_some_and(|flag| self.flags.contains(flag))
    }

    fn gather(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let key = key.get_ref().as_ref();
            let is_naming = NAMING.contains(&key);
            self.visit(value.get_ref(), is_naming, key == FLAGS);
        }
    }

    /// The parser bounds how deep values lie.
    fn visit(&mut self, value: &DeValue<'_>, names_rules: bool, names_flags: bool) {
        match value {
            DeValue::String(text) if names_rules => drop(self.ids.insert(text.to_string())),
            DeValue::String(text) if names_flags => drop(self.flags.insert(text.to_string())),
            DeValue::Array(items) => {
                items.iter().for_each(|item| self.visit(item.get_ref(), names_rules, names_flags));
            }
            DeValue::Table(table) => self.gather(table),
            _ => {}
        }
    }
}

/// Ids of rules that no test of the set speaks of, in evaluation order; `None` where it has no test file.
pub fn untested<'p>(source: &RuleSource, policy: &'p Policy) -> Option<Vec<&'p str>> {
    let named = Named::of(source)?;
    let firewall = policy.firewall.iter().map(|rule| (rule.position, rule.id.as_str(), rule.flag.as_deref()));
    let thresholds = policy.thresholds.iter().map(|rule| (rule.position, rule.id.as_str(), None));
    let mut rules: Vec<_> = firewall.chain(thresholds).filter(|(_, id, flag)| !named.has(id, *flag)).collect();
    rules.sort_unstable();
    // Variants of a rule for some customers have its id and place.
    rules.dedup();
    Some(rules.into_iter().map(|(_, id, _)| id).collect())
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
        let nested = RuleSource::memory([("ruleset.toml", rules.as_str()), ("tests/fraud/irsf/a.test.toml", tests)]);
        assert_eq!(untested(&nested, &policy), Some(vec!["fw-d"]), "folders of tests count too");
        let marked = rules.replace("id = \"fw-d\"", "id = \"fw-d\"\nflag = \"odd\"");
        let flags = tests.replace("by = 'fw-b'", "by = 'fw-b', flags = ['odd']");
        let by_flag = RuleSource::memory([("ruleset.toml", marked.as_str()), ("tests/a.test.toml", flags.as_str())]);
        let policy = load(&by_flag, LoadOptions::default()).policy.unwrap();
        assert_eq!(untested(&by_flag, &policy), Some(vec![]), "what marks a call is named by its flag");
    }
}
