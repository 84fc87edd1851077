//! Deliveries: one for each message, person and channel, each tried until a provider took it or it makes no sense any more.

pub mod pagerduty;
mod parcel;
pub mod sms;
pub mod webhook;

pub use parcel::{Found, Outcome, Parcel};
