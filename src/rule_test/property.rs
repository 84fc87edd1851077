//! What holds of test files whatever they say, for tests and fuzzing.

use super::command::play;
use super::file::{self, Rules};
use crate::policy::coverage::Named;
use crate::policy::{LoadOptions, RuleSource, load};

/// Events of a file that is played; reading must be total for longer ones too.
const EVENTS_MAX: u64 = 500;

/// A file of any text is refused with its mistakes, or its tests are played to the end; both as often as one likes, with
/// the same result.
pub fn any_test_file(text: &str) {
    let loaded = load(&RuleSource::shipped(), LoadOptions::default());
    let Some(policy) = loaded.policy else { return };
    let mut problems = Vec::new();
    let file = file::parse("a.test.toml", text, &Rules::of(&policy), &mut problems);
    assert!(!problems.is_empty() || !file.tests.is_empty(), "a file without tests is a mistake");
    let n_events: u64 = file.tests.iter().flat_map(|test| &test.calls).map(|call| call.n_events()).sum();
    if !problems.is_empty() || n_events > EVENTS_MAX || file.tests.iter().any(|test| test.events.is_some()) {
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
    use super::any_test_file;

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
}
