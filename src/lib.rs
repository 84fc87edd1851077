//! Ringfence: call events in, verdicts and violations out.

pub mod clock;
pub mod limits;
pub mod metrics;
pub mod storage;

pub mod calendar;

pub mod event;

pub mod ingest;

pub mod policy;

mod window;

pub mod engine;

pub mod gateway;

pub mod notify;

pub mod config;
pub mod logging;
pub mod portal;
pub mod replay;
pub mod service;

pub mod demo;
pub mod send;
pub mod simulate;

pub mod cli;
