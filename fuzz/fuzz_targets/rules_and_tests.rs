//! A rule file and its test file, of any text: refused with reasons, or played to the end.
#![no_main]

use ringfence::rule_test::property::any_rules_and_tests;

libfuzzer_sys::fuzz_target!(|text: &str| any_rules_and_tests(text));
