//! A kit of any text is read, or refused with reasons; one that is read can be filled.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| ringfence::kit::property::a_kit_is_read_or_refused(text));
