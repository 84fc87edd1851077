//! Messages to a syslog server: RFC 5424 over TCP or TLS, as text or with CEF inside.
//!
//! Syslog acknowledges nothing. `Handed` says that the system took the whole line while the connection was open: looked at
//! just before, and once more behind it. A server that dies with lines it has not written down takes them along, and nobody
//! can know. A line that went out in part, or whole into a connection that was found closed behind it, is `Unknown`.

mod connection;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use self::connection::{Connection, Connector};
use super::cef::{self, cut};
use super::{Outcome, Parcel};
use crate::limits::{SYSLOG_LINE_BYTES_MAX, SYSLOG_VALUE_BYTES_MAX, SYSLOG_VALUE_CHARS_MAX};

/// `[syslog]`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    /// None: in the clear.
    pub tls: Option<Tls>,
    pub format: Format,
    pub framing: Framing,
    /// 0 to 23.
    pub facility: u8,
    pub app_name: String,
    /// What this machine is called there; None: as it calls itself.
    pub hostname: Option<String>,
    /// Private enterprise number in the name of the structured data.
    pub enterprise: u32,
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
}

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show where the server asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rfc5424,
    /// CEF as the text of the line.
    Cef,
}

/// Where a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Its length stands before it (RFC 5425, RFC 6587).
    OctetCounting,
    Newline,
}

/// One server, and the connection to it that all share.
#[derive(Debug)]
pub struct Syslog {
    settings: Settings,
    host: String,
    connector: Connector,
    connection: Mutex<Option<Connection>>,
}

impl Syslog {
    pub fn new(settings: &Settings) -> Result<Syslog, String> {
        let own = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = header(settings.hostname.clone().unwrap_or_else(own).trim(), 255);
        let connector = Connector::new(settings)?;
        Ok(Syslog { settings: settings.clone(), host, connector, connection: Mutex::new(None) })
    }

    /// Connects, greets by TLS where that is set, and hangs up: nothing is sent. The certificate that was shown, in DER.
    pub async fn reach(&self) -> Result<Option<Vec<u8>>, String> {
        let patience = self.settings.connect_timeout;
        let connected = timeout(patience, self.connector.connect()).await;
        let connection = connected.map_err(|_| format!("no connection in {patience:?}"))??;
        Ok(connection.certificate())
    }

    /// One try, which ends within the time-outs of the settings.
    pub async fn send(&self, parcel: &Parcel) -> Outcome {
        let frame = self.frame(parcel);
        let Settings { connect_timeout, send_timeout, .. } = &self.settings;
        let Ok(mut kept) = timeout(*send_timeout, self.connection.lock()).await else {
            return Outcome::Later(format!("others waited for the syslog server for {send_timeout:?}"));
        };
        // Taken out: whatever goes wrong, or gives up half way, leaves no broken connection behind.
        let mut connection = kept.take();
        if let Some(open) = &mut connection
            && !open.is_open().await
        {
            connection = None;
        }
        let mut connection = match connection {
            Some(connection) => connection,
            None => match timeout(*connect_timeout, self.connector.connect()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(why)) => return Outcome::Later(why),
                Err(_) => return Outcome::Later(format!("no connection in {connect_timeout:?}")),
            },
        };
        let before = connection.n_sent();
        let problem = match timeout(*send_timeout, connection.write(&frame)).await {
            Ok(Ok(())) if connection.is_open().await => {
                *kept = Some(connection);
                return Outcome::Handed { receipt: String::new() };
            }
            Ok(Ok(())) => "the server closed the connection when the line was sent".to_owned(),
            Ok(Err(e)) => format!("the line was cut off: {e}"),
            Err(_) => format!("the server did not take the line in {send_timeout:?}"),
        };
        if connection.n_sent() == before { Outcome::Later(problem) } else { Outcome::Unknown(problem) }
    }

    fn frame(&self, parcel: &Parcel) -> Vec<u8> {
        let line = self.line(parcel);
        match self.settings.framing {
            Framing::OctetCounting => format!("{} {line}", line.len()).into_bytes(),
            Framing::Newline => (line + "\n").into_bytes(),
        }
    }

    /// `<PRI>1 TIME HOST APP PROCID MSGID [DATA] TEXT`, in one line.
    fn line(&self, parcel: &Parcel) -> String {
        let priority = u32::from(self.settings.facility) * 8 + u32::from(severity(parcel));
        let (app, id) = (header(&self.settings.app_name, 48), header(&parcel.kit, 32));
        let (time, host, process) = (parcel.queued, &self.host, std::process::id());
        let head = format!("<{priority}>1 {time} {host} {app} {process} {id} {} ", self.data(parcel));
        let named = Some(self.host.as_str()).filter(|host| *host != NOTHING);
        let text = match self.settings.format {
            // Readers look for `CEF:` as the first thing, so nothing says that it is UTF-8.
            Format::Cef => cef::line(parcel, named),
            Format::Rfc5424 => format!("\u{feff}{} | {}", one_line(&parcel.subject), one_line(&parcel.text)),
        };
        let room = SYSLOG_LINE_BYTES_MAX.saturating_sub(head.len());
        if text.len() <= room {
            return head + &text;
        }
        let end = text.floor_char_boundary(room.saturating_sub(3));
        // Nothing is cut behind the first half of an escape.
        format!("{head}{}...", text.get(..end).unwrap_or_default().trim_end_matches('\\'))
    }

    /// What programs go by.
    fn data(&self, parcel: &Parcel) -> String {
        let mut data = format!("[ringfence@{}", self.settings.enterprise);
        let severity = parcel.severity.to_string();
        let fields = [
            ("delivery", Some(&*parcel.name)),
            ("incident", Some(&*parcel.incident)),
            ("message", parcel.message.as_deref()),
            ("customer", Some(&*parcel.customer)),
            ("kit", Some(&*parcel.kit)),
            ("severity", Some(&*severity)),
            ("end", Some(if parcel.is_end { "true" } else { "false" })),
            ("person", Some(&*parcel.person)),
            ("link", parcel.link.as_deref()),
        ];
        for (name, value) in fields {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let value = cut(value, SYSLOG_VALUE_CHARS_MAX);
            let end = value.floor_char_boundary(SYSLOG_VALUE_BYTES_MAX);
            data.push_str(&format!(" {name}=\"{}\"", quoted(value.get(..end).unwrap_or_default())));
        }
        data + "]"
    }
}

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// As syslog counts, 0 the gravest; the end of an incident is for information.
fn severity(parcel: &Parcel) -> u8 {
    match parcel.severity {
        _ if parcel.is_end => 6,
        1 => 1,
        2 => 2,
        3 => 4,
        _ => 5,
    }
}

/// A field of the header: printable ASCII without spaces.
fn header(text: &str, bytes_max: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(bytes_max).collect();
    if field.is_empty() { NOTHING.to_owned() } else { field }
}

/// A value of structured data.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' | '\\' | ']' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Lines of a text behind each other.
fn one_line(text: &str) -> String {
    let bare = |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let lines = text.lines().map(|line| bare(line.trim())).filter(|line| !line.trim().is_empty());
    lines.collect::<Vec<_>>().join(" | ")
}
