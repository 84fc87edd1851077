//! What was kept of the call table, in any state: it is refused, or makes a table that goes on.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::call_parts_hold(bytes));
