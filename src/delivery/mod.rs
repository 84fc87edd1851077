//! Deliveries: one for each message, person and channel, each tried until a provider took it or it makes no sense any more.

pub mod mail;
mod parcel;

pub use parcel::{Found, Outcome, Parcel};
