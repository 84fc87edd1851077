//! A test file of any text is refused with reasons, or played to the end.
#![no_main]

use ringfence::rule_test::property::any_test_file;

libfuzzer_sys::fuzz_target!(|text: &str| any_test_file(text));
