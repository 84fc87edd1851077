//! Hostile values in every shipped kit: what goes out is whole and harmless, what does not says why.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| ringfence::kit::property::hostile_values_come_out_harmless(text));
