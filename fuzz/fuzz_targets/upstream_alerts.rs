//! A post of alerts of another program is read within bounds, or refused with reasons.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::upstream::property::a_post_of_alerts_is_read_or_refused(bytes));
