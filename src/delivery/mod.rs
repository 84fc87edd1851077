//! Deliveries: one for each message, person and channel, each tried until a provider took it or it makes no sense any more.

mod cef;
mod parcel;
pub mod syslog;

pub use parcel::{Found, Outcome, Parcel};
