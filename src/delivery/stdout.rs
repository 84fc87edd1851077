//! Standard output, or a file, as the provider where there is no other: one JSON object a line.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::task::spawn_blocking;

use super::{Outcome, Parcel};
use crate::incident::Message;
use crate::notify::Output;
use crate::storage::RotatedFile;

#[derive(Debug)]
enum Sink {
    Stdout,
    File(RotatedFile),
}

#[derive(Clone, Debug)]
pub(super) struct Stdout(Arc<Mutex<Sink>>);

impl Stdout {
    /// None where the settings turn it off.
    pub(super) fn new(output: &Output) -> io::Result<Option<Stdout>> {
        let sink = match output {
            Output::Off => return Ok(None),
            Output::Stdout => Sink::Stdout,
            Output::File { path, rotate_bytes, n_kept } => Sink::File(RotatedFile::open(path, *rotate_bytes, *n_kept)?),
        };
        Ok(Some(Stdout(Arc::new(Mutex::new(sink)))))
    }

    pub(super) async fn send(&self, parcel: &Parcel, channel: &str, message: Option<&Message>) -> Outcome {
        let mut line = line(parcel, channel, message).into_bytes();
        line.push(b'\n');
        let sink = Arc::clone(&self.0);
        // Whoever reads may stop reading: not on the runtime's own threads.
        let written = spawn_blocking(move || match &mut *sink.lock().unwrap_or_else(|e| e.into_inner()) {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&line).and_then(|()| out.flush())
            }
            Sink::File(file) => file.append(&line),
        });
        match written.await {
            Ok(Ok(())) => Outcome::Handed { receipt: String::new() },
            Ok(Err(error)) => Outcome::Later(format!("cannot write it: {error}")),
            Err(_) => Outcome::Unknown("the thread that wrote it is gone".to_owned()),
        }
    }
}

/// What a reader needs to tell people, and to tell a repeat by.
fn line(parcel: &Parcel, channel: &str, message: Option<&Message>) -> String {
    let mut line = json!({
        "delivery": parcel.name,
        "notice": parcel.message,
        "incident": parcel.incident,
        "customer": parcel.customer,
        "kit": parcel.kit,
        "severity": parcel.severity,
        "channel": channel,
        "to": parcel.person,
        "address": parcel.address,
    });
    let more = match message {
        Some(message) => json!({
            "released": message.released.map(|at| at.to_string()),
            "before_check": message.is_before_check,
            "forms": message.forms,
        }),
        None => json!({ "subject": parcel.subject, "text": parcel.text, "link": parcel.link }),
    };
    if let (Some(line), serde_json::Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    line.to_string()
}
