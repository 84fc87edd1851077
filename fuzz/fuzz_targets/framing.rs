//! How a stream of any style is cut into reads changes nothing.
#![no_main]

use ringfence::ingest::{Format, property};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    property::splitting_changes_nothing(&Format::Ndjson, bytes);
    property::framing_changes_nothing(bytes);
});
