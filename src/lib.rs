//! Ringfence: call events in, verdicts and violations out.

pub mod clock;
pub mod limits;

pub mod calendar;

pub mod event;

pub mod ingest;

pub mod policy;

mod window;

pub mod engine;

pub mod replay;

pub mod simulate;

pub mod send;

pub mod cli;
