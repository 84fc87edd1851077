//! What the callers of a queue hear while an incident is known: one released text, as text, SSML, VoiceXML and a recording.
//!
//! The [`Board`] is shown everything that is released, open and to be announced, and publishes for each queue what its
//! callers hear of it. Text is current at once; a recording follows when text-to-speech has made it, and one of another
//! text is never served. What is published is fetched again as a telephone system fetches it, and compared; and it is
//! posted to whoever wants to be told. It decides nothing about incidents, and serves nothing: `portal::acd` does.

mod board;
#[cfg(test)]
mod board_tests;
mod plan;
mod push;
mod read_back;
mod recordings;
mod ssml;
mod tts;
mod vxml;
mod wav;

use std::time::Duration;

pub use board::{Board, Document, Format, Published, Pushed, ReadBack, Recording};
pub use plan::{Announcement, Unsaid};
pub use push::push;
pub use read_back::read_back;
pub(crate) use tts::FILE_MARK;

/// What the fuzz target asks.
#[cfg(any(test, feature = "fuzzing"))]
pub mod property {
    pub use super::wav::any_wav_is_converted_or_refused;
}

use crate::limits::{ACD_QUEUE_NAME_BYTES_MAX, ACD_RETRY_MS, ACD_RETRY_MS_MAX};
use crate::outbound::Endpoint;

/// Name of the one queue there is where none is set.
pub const ALL: &str = "all";

/// `[acd]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `None`: nothing is recorded.
    pub tts: Option<TtsSettings>,
    /// How long a telephone system may go on with what it fetched.
    pub expiry: Duration,
    /// Of the texts, as XML names it.
    pub language: String,
    pub queues: Vec<QueueSettings>,
}

impl Default for Settings {
    fn default() -> Settings {
        let all = QueueSettings { name: ALL.to_owned(), customers: None, push: None };
        Settings { tts: None, expiry: Duration::from_secs(60), language: "en-US".to_owned(), queues: vec![all] }
    }
}

/// The program that reads texts aloud. A text is its standard input, a line; what it says is a WAV file, on standard
/// output or where `{wav}` stands among its arguments.
#[derive(Clone, Debug)]
pub struct TtsSettings {
    /// The program and its arguments. Never empty.
    pub command: Vec<String>,
    pub timeout: Duration,
}

impl TtsSettings {
    fn writes_file(&self) -> bool {
        self.command.iter().any(|word| word.contains(FILE_MARK))
    }
}

/// `[acd.queue.NAME]`.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    pub name: String,
    /// Whose incidents its callers hear of; `None`: everybody's.
    pub customers: Option<Vec<String>>,
    /// Who is told of every change.
    pub push: Option<Endpoint>,
}

/// A name that can stand in a path and in a dial plan.
pub fn is_queue_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=ACD_QUEUE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// Before something that failed so many times is tried again.
fn retry_wait(n_failed: u32) -> Duration {
    Duration::from_millis((ACD_RETRY_MS << n_failed.saturating_sub(1).min(16)).min(ACD_RETRY_MS_MAX))
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    /// What an XML document says, its pieces apart by spaces. Panics where it is not well-formed.
    pub(super) fn xml_text(document: &str) -> String {
        let mut reader = Reader::from_str(document);
        let mut text = String::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Text(piece) => text += &piece,
                Event::GeneralRef(name) => {
                    text += quick_xml::escape::resolve_predefined_entity(&name).unwrap();
                }
                Event::Eof => return text.split_whitespace().collect::<Vec<_>>().join(" "),
                _ => {}
            }
        }
    }

    #[test]
    fn names_of_queues_are_plain() {
        for name in ["all", "Support-2", "a_b", &"x".repeat(64)] {
            assert!(super::is_queue_name(name), "{name}");
        }
        for name in ["", "a b", "a.b", "..", "ö", "a/b", &"x".repeat(65)] {
            assert!(!super::is_queue_name(name), "{name}");
        }
    }
}
