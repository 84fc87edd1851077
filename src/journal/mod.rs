//! The journal: what the engine took, in its order, durable before it is acknowledged, and read again after a crash.
//!
//! It is a row of segments of checksummed records in one folder. A record is a batch of events with the verdicts they
//! were told, or a tick. Records are numbered from 1 without a gap; events have positions of their own, counted from 1.

mod bytes;
mod codec;
mod frame;
mod handle;
mod identity;
mod names_file;
mod pending;
#[cfg(any(test, feature = "fuzzing"))]
pub mod property;
mod reader;
mod record;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use codec::{Encoder, decode};
pub use handle::{Appended, Committed, Counts, Durability, Journal, Mark, Options, Settings, Start, Stuck};
pub use names_file::NamesFile;
pub use pending::Ledger;
pub use reader::{Cut, Damage, Lost, RawRecord, ReadError, Reader, Report};
pub use record::{Context, Entry, Record};
pub use segment::{Identity, Segment, segments};
