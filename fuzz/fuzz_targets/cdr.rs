//! Call records of any dialect: total, and the same however they are cut into reads.
#![no_main]

use ringfence::ingest::property::any_cdr_is_taken;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| any_cdr_is_taken(bytes));
