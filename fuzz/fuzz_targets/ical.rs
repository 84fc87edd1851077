//! An iCalendar file of any bytes gives closed dates that a calendar takes, and its mistakes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringfence::calendar::ical::check_any(bytes));
