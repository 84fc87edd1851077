//! One delivery as a provider is handed it, and what the provider made of it.
//!
//! Every channel is a type with `async fn send(&self, parcel: &Parcel) -> Outcome`, which ends within its own time-outs
//! whatever the other side does, and, where the provider can be asked, `async fn find(&self, parcel: &Parcel) -> Found`.

use crate::clock::Timestamp;

/// What goes to one person, or to one program, by one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// `DLV-000123`: the same however often it is tried, so that whoever gets it twice can tell.
    pub name: String,
    pub customer: String,
    /// `INC-000123`: what belongs together.
    pub incident: String,
    /// `MSG-000123`; none where it is about no released message: a page of somebody on call, a digest.
    pub message: Option<String>,
    /// Kind of the notice: `holding`, `resolved`; `page` and `digest` for what is none.
    pub kit: String,
    /// 1 to 4.
    pub severity: u8,
    /// It says that the incident is over.
    pub is_end: bool,
    /// Whom it is for, as people know them: one line.
    pub person: String,
    /// A mail address, `+` and digits, or what the channel calls its receiver; checked by whoever wrote it down, and
    /// once more by the channel.
    pub address: String,
    /// One line; the subject of a mail.
    pub subject: String,
    /// In the form of the channel.
    pub text: String,
    /// Where the receiver says that somebody looks after it; a page has one.
    pub link: Option<String>,
    pub queued: Timestamp,
    /// After this it is not worth sending.
    pub valid_until: Timestamp,
}

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it over. `receipt`: the provider's own number of it, empty where it gave none.
    Handed { receipt: String },
    /// It certainly did not get there, and may another time: refused for now, no connection, a time-out before anything
    /// that counts was sent.
    Later(String),
    /// It will never be taken like this.
    Never(String),
    /// It was sent, and nobody said whether it was taken. It is asked for before it is sent again.
    Unknown(String),
}

/// What a provider knows of something it may have taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Handed {
        receipt: String,
    },
    /// It never got there.
    Absent,
    /// The provider cannot be asked, or did not answer.
    Unclear(String),
}
