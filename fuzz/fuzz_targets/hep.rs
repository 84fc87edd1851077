//! HEP datagrams and streams of any version: total, and what is read can be written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::hep_agrees_with_itself(bytes));
