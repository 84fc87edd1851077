//! What a text-to-speech program gives, any bytes: a recording within bounds, or refused with a reason.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::acd::property::any_wav_is_converted_or_refused(bytes));
