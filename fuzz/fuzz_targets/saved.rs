//! Saved state of any bytes is refused, or the engine goes on from it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::engine::property::whatever_was_saved_is_read(bytes));
