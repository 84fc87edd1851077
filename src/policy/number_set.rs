//! Millions of numbers, prefixes, ranges and patterns, and the question whether one is among them.

#[derive(Debug, Default)]
pub struct NumberSet;
