//! How a stream of lines is cut into reads changes nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ringfence::ingest::property::splitting_changes_nothing(&ringfence::ingest::Format::Ndjson, bytes);
});
