//! Every line means what serde_json and the table of fields say.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::ndjson_agrees_with_serde(bytes));
