//! The call table under any messages in any order: each thing is told once, and nothing grows without end.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::calls_hold(bytes));
