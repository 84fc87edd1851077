//! Ringfence: call events in, verdicts and violations out.

pub mod clock;
pub mod limits;

pub mod calendar;

pub mod event;

pub mod policy;

pub mod engine;

pub mod simulate;

pub mod send;
