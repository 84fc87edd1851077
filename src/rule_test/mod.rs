//! Unit tests of rules: `ringfence test`.
//!
//! A [`file`](mod@file) of tests says which calls come and what the rules must say of them. A test is played on a [`stage`]: the
//! very engine of `serve` and `replay`, on one thread, in the time of the test. What came of it is held against what was
//! expected by the [`judge`], and where the two differ, [`probe`] and [`reason`] find out how far a rule got and which
//! calls it did not count. Nothing here reads the clock.

mod call;
mod command;
mod coverage;
mod expected;
mod failure;
mod file;
mod judge;
mod junit;
mod probe;
#[cfg(any(test, feature = "fuzzing"))]
pub mod property;
mod reason;
mod report;
mod stage;
mod template;
#[cfg(test)]
mod tests;
mod verdicts;

pub use command::{Args, run};
