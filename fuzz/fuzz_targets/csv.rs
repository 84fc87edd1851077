//! CSV of any dialect: total, and the same however it is cut into reads.
#![no_main]

use ringfence::ingest::property::{csv_formats, splitting_changes_nothing};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for format in csv_formats() {
        splitting_changes_nothing(&format, bytes);
    }
});
