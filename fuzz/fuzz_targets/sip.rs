//! SIP of any bytes: total, every text inside of the message, which ends where framing says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::ingest::property::sip_holds(bytes));
