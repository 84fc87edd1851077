//! Standard output as the provider that accepts notices: one JSON object a line, or nothing. A thread of its own, since
//! whoever reads may stop reading.

use std::io::{self, Write};
use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::json;

use super::Input;
use crate::clock::Clock;
use crate::incident::{Message, incident_name, message_name};
use crate::limits::DESK_NOTICES_MAX;
use crate::notify::Output;
use crate::storage::RotatedFile;

enum Sink {
    Stdout,
    File(RotatedFile),
}

/// Hands notices to the thread that writes them.
pub(super) struct Outlet(Option<Sender<(i64, Vec<u8>)>>);

impl Outlet {
    /// What became of each comes back as an input of the desk.
    pub(super) fn start(notices: &Output, desk: Sender<Input>) -> io::Result<Outlet> {
        let sink = match notices {
            Output::Off => return Ok(Outlet(None)),
            Output::Stdout => Sink::Stdout,
            Output::File { path, rotate_bytes, n_kept } => Sink::File(RotatedFile::open(path, *rotate_bytes, *n_kept)?),
        };
        let (notices, waiting) = bounded(DESK_NOTICES_MAX);
        thread::Builder::new().name("notices".into()).spawn(move || write(sink, &waiting, &desk))?;
        Ok(Outlet(Some(notices)))
    }

    /// True where it was taken to be written.
    pub(super) fn hand(&self, message: &Message) -> bool {
        let Some(notices) = &self.0 else { return false };
        let mut line = line(message).into_bytes();
        line.push(b'\n');
        match notices.try_send((message.id, line)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

fn write(mut sink: Sink, waiting: &Receiver<(i64, Vec<u8>)>, desk: &Sender<Input>) {
    for (id, line) in waiting {
        let written = match &mut sink {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&line).and_then(|()| out.flush())
            }
            Sink::File(file) => file.append(&line),
        };
        let told = match written {
            Ok(()) => Input::Accepted(id, Clock.now()),
            Err(error) => {
                tracing::error!(%error, message = message_name(id), "the notice could not be written, it is tried again");
                Input::NotTaken(id)
            }
        };
        if desk.send(told).is_err() {
            return;
        }
    }
}

/// What a reader needs to tell people, and to tell a repeat by.
fn line(message: &Message) -> String {
    json!({
        "notice": message_name(message.id),
        "incident": incident_name(message.incident),
        "customer": message.customer,
        "kit": message.kit,
        "severity": message.severity,
        "released": message.released.map(|at| at.to_string()),
        "before_check": message.is_before_check,
        "forms": message.forms,
    })
    .to_string()
}
