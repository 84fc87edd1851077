//! The conversation with gateways: who gets in, what they send and what they hear back, spec 1.3.
//!
//! A [`Listener`](listener::Listener) accepts, a connection reads blocks, has [`ingest`](crate::ingest) decode them and
//! submits them to the engine, and writes the replies. What a connection cannot know stands in its [`Feed`].

pub mod clocks;
pub mod datagrams;
pub mod durable;
pub mod greeting;
pub mod judges;
pub mod listener;
pub mod post;
pub mod sequence;
pub mod tls;

mod connection;
mod feed;
mod reply;

pub use feed::{Feed, Sample};
