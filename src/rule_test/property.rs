//! What holds of test files whatever they say, for tests and fuzzing.

use super::command::play;
use super::file::{self, Rules};
use crate::policy::coverage::Named;
use crate::policy::{LoadOptions, RuleSource, load};

/// Events of a file that is played; reading must be total for longer ones too.
const EVENTS_MAX: u64 = 500;
/// Time that is let pass: an episode that goes on for years is told again every minute where a rule says so.
const UNTIL_MS_MAX: i64 = 2 * 86_400_000;

/// A file of any text is refused with its mistakes, or its tests are played to the end; both as often as one likes, with
/// the same result.
pub fn any_test_file(text: &str) {
    play_any(&RuleSource::shipped(), text);
}

/// What parts a rule file from a test file in one text.
const PARTING: &str = "\n=== tests\n";

/// A rule file and a test file of any text, one behind the other: refused with their mistakes, or played to the end.
pub fn any_rules_and_tests(text: &str) {
    let (rules, tests) = text.split_once(PARTING).unwrap_or((text, ""));
    play_any(&RuleSource::memory([("ruleset.toml", rules.to_owned())]), tests);
}

fn play_any(rules: &RuleSource, text: &str) {
    let loaded = load(rules, LoadOptions::default());
    let Some(policy) = loaded.policy else { return };
    let mut problems = Vec::new();
    let file = file::parse("a.test.toml", text, &Rules::of(&policy), &mut problems);
    assert!(!problems.is_empty() || !file.tests.is_empty(), "a file without tests is a mistake");
    let n_events: u64 = file.tests.iter().flat_map(|test| &test.calls).map(|call| call.n_events()).sum();
    let is_long = file.tests.iter().any(|test| test.until_ms.is_some_and(|until_ms| until_ms > UNTIL_MS_MAX));
    if !problems.is_empty() || n_events > EVENTS_MAX || is_long || file.tests.iter().any(|test| test.events.is_some()) {
        return;
    }
    let n_tests = file.tests.len();
    let files = [file];
    let outcomes = play(policy, &files, &Named::default(), None).map(|outcomes| outcomes.json());
    let total = outcomes.ok().and_then(|value| value["total"].as_u64());
    assert_eq!(total, Some(n_tests as u64), "every test is told of");
}

#[cfg(test)]
mod tests {
    use super::{any_rules_and_tests, any_test_file};

    #[test]
    fn examples_cut_and_twisted_anywhere_never_panic() {
        let text = include_str!("../../rules/tests/examples.test.toml");
        let head: String = text.chars().take(1_800).collect();
        for at in (0..head.len()).step_by(131) {
            let cut = head.get(..at).unwrap_or_default();
            any_test_file(cut);
            for twist in ["\"", "{", "]", "=9999999999999999999\n", "\u{0}", "å"] {
                any_test_file(&format!("{cut}{twist}{}", head.get(at..).unwrap_or_default()));
            }
        }
    }

    #[test]
    fn the_corpus_of_rules_with_tests_is_played_and_cut_and_twisted_anywhere_never_panics() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rules_and_tests");
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert!(!texts.is_empty());
        for text in texts {
            let (rules, tests) = text.split_once(super::PARTING).expect("rules, then tests");
            let loaded =
                super::load(&super::RuleSource::memory([("ruleset.toml", rules)]), super::LoadOptions::default());
            let mut problems = loaded.problems;
            let policy = loaded.policy.expect("its rules are right");
            super::file::parse("a.test.toml", tests, &super::Rules::of(&policy), &mut problems);
            assert!(problems.iter().all(|problem| !problem.is_error), "{problems:?}");
            any_rules_and_tests(&text);
            for at in (0..text.len()).step_by(37) {
                let (head, tail) = (text.get(..at).unwrap_or_default(), text.get(at..).unwrap_or_default());
                any_rules_and_tests(head);
                for twist in ["'", "9", "]", "-", "\u{0}", "\n[[threshold]]\n"] {
                    any_rules_and_tests(&format!("{head}{twist}{tail}"));
                }
            }
        }
    }
}
