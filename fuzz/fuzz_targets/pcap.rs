//! Capture files, and packets of every kind in them: total, and what comes out is whole packets of HEP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::captures_hold(bytes));
