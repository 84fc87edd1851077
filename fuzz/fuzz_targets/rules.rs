//! A rule file of any text is compiled, or refused with reasons.
#![no_main]

use ringfence::policy::{LoadOptions, RuleSource, load};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let loaded = load(&RuleSource::memory([("rules.toml", text)]), LoadOptions::default());
    assert_eq!(loaded.policy.is_none(), loaded.problems.iter().any(|problem| problem.is_error));
});
