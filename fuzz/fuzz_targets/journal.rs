//! The journal's records and segments, damaged in any way: total, what is read was written, what is missing is told.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::journal::property::journal_holds(bytes));
