//! The demo's own border controller: asks for a verdict on every call over TCP, and does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::event::Kind;
use crate::simulate::call::{Call, Names};

/// Nothing the service does takes this long; longer means that it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection in verdict mode, one event at a time.
pub(super) struct Gateway {
    names: Names,
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    line: Vec<u8>,
}

/// What the service answered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Verdict {
    pub action: String,
    pub rule: String,
    #[serde(default)]
    pub late: bool,
}

impl Gateway {
    pub(super) fn connect(feed: SocketAddr, names: Names) -> Result<Gateway> {
        let writer = TcpStream::connect(feed).with_context(|| format!("cannot connect to the demo's feed {feed}"))?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(writer.try_clone()?);
        let mut gateway = Gateway { names, writer, reader, line: Vec::new() };
        gateway.writer.write_all(b"{\"hello\":{\"gateway\":\"demo-sbc\",\"reply\":\"verdict\"}}\n")?;
        let welcome = gateway.read_line()?;
        if !welcome.contains("\"welcome\"") {
            bail!("the demo's feed did not welcome its gateway: {}", welcome.trim());
        }
        Ok(gateway)
    }

    /// Tells the service of this moment of a call and waits for its word.
    pub(super) fn ask(&mut self, call: &Call, kind: Kind) -> Result<Verdict> {
        self.line.clear();
        self.names.write_line(call, kind, &mut self.line);
        self.writer.write_all(&self.line).context("send an event")?;
        loop {
            let line = self.read_line()?;
            if line.starts_with("{\"ack\"") {
                continue;
            }
            return serde_json::from_str(&line).with_context(|| format!("not a verdict: {}", line.trim()));
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("wait for the service's answer")? == 0 {
            bail!("the service closed the connection");
        }
        Ok(line)
    }
}
