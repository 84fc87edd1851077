//! Call records in JSON: total, the same however they are cut into reads, and however they are posted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ringfence::ingest::property::json_cdr_holds(bytes);
});
