//! An event of PagerDuty's format is read within bounds, or refused with reasons.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::upstream::property::an_event_is_read_or_refused(bytes));
