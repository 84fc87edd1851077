//! SIP of any bytes: total, every text inside of the message, and the same however a stream is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::sip_holds(bytes));
