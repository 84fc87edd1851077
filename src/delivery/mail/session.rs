//! One conversation with a mail server, from the greeting to the answer to the last dot.
//!
//! What a try came to is decided by where it ended. Before the dot that ends a letter has been written, nothing was
//! taken, whatever happened; after it, only an answer says what became of it. The conversation is held here and not by
//! a library, since those known do not tell the two apart, believe what was said in the clear before TLS began, and read
//! lines without end. One question is asked at a time, and a server that speaks unasked is left: its answers could no
//! longer be told from each other. After anything but a definite answer a conversation is not used again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::Auth;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::letter::Letter;
use super::reply::{self, Reply};
use super::{Login, Settings, Tls, Waits};
use crate::limits::{MAIL_ADDRESSES_MAX, MAIL_QUIT_MS};

/// How one letter fared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server has it; what it said.
    Taken(String),
    Later(String),
    Never(String),
    /// The conversation broke off before the letter could have been taken.
    Lost(String),
    /// The dot went out, and no answer came that says what became of it.
    Unclear(String),
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(into).await,
            Wire::Tls(stream) => stream.read(into).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.write_all(bytes).await,
            Wire::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

/// How to begin: the name the certificate must have, and whom it must be from.
#[derive(Clone)]
pub(super) struct Greeter {
    pub(super) name: ServerName<'static>,
    pub(super) connector: TlsConnector,
}

pub(super) struct Session {
    wire: Wire,
    waits: Waits,
    /// What came and was not taken yet.
    came: Vec<u8>,
    /// What the server says it can: the lines of its answer to EHLO, in capitals.
    offers: Vec<String>,
    /// Nothing is under way that was not answered.
    is_settled: bool,
    /// A letter was begun and refused; the server still waits for the rest.
    is_begun: bool,
}

impl Session {
    /// Connects, greets, encrypts and logs in, as the settings say.
    pub(super) async fn open(settings: &Settings, greeter: Option<&Greeter>) -> Result<Session, String> {
        let waits = settings.waits;
        let stream = connect(settings).await?;
        // A dot that waits for the acknowledgement of what went before it costs 40 ms a letter.
        stream.set_nodelay(true).map_err(|e| format!("cannot connect: {e}"))?;
        let hello = match &settings.hello {
            Some(name) => name.clone(),
            None => literal(stream.local_addr().map_err(|e| format!("cannot connect: {e}"))?),
        };
        let wire = Wire::Plain(stream);
        let (came, offers) = (Vec::new(), Vec::new());
        let mut session = Session { wire, waits, came, offers, is_settled: true, is_begun: false };
        if let (Tls::Implicit, Some(greeter)) = (settings.tls, greeter) {
            session = session.encrypt(greeter).await?;
        }
        session.expect("greeting", "", 220).await?;
        session.hello(&hello).await?;
        if let (Tls::StartTls, Some(greeter)) = (settings.tls, greeter) {
            if session.offer("STARTTLS").is_none() {
                return Err("the server does not offer STARTTLS, and nothing is sent in the clear".into());
            }
            session.expect("STARTTLS", "STARTTLS\r\n", 220).await?;
            session = session.encrypt(greeter).await?;
            session.hello(&hello).await?;
        }
        if let Some(login) = &settings.login {
            session.log_in(login).await?;
        }
        Ok(session)
    }

    /// What the server showed, in DER.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        match &self.wire {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec()),
        }
    }

    async fn encrypt(self, greeter: &Greeter) -> Result<Session, String> {
        // Whoever stands between us and the server could have said it.
        if !self.came.is_empty() {
            return Err("TLS: the server, or somebody in between, spoke before it began".into());
        }
        let Wire::Plain(stream) = self.wire else { return Err("TLS: begun already".into()) };
        let greeted = timeout(self.waits.connect, greeter.connector.connect(greeter.name.clone(), stream)).await;
        let greeted = greeted.map_err(|_| format!("TLS: no answer in {:?}", self.waits.connect))?;
        let stream = greeted.map_err(|e| format!("TLS: {e}"))?;
        Ok(Session { wire: Wire::Tls(Box::new(stream)), offers: Vec::new(), ..self })
    }

    async fn hello(&mut self, name: &str) -> Result<(), String> {
        let reply = self.expect("EHLO", &format!("EHLO {name}\r\n"), 250).await?;
        self.offers = reply.lines.into_iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    /// The words behind a keyword that the server offers.
    fn offer(&self, keyword: &str) -> Option<Vec<&str>> {
        let words = |line: &'_ String| line.split([' ', '=']).next() == Some(keyword);
        let line = self.offers.iter().find(|line| words(line))?;
        Some(line.split_ascii_whitespace().skip(1).collect())
    }

    /// Trouble here is the provider's or the settings', never the letter's.
    async fn log_in(&mut self, login: &Login) -> Result<(), String> {
        let ways = self.offer("AUTH").unwrap_or_default();
        let (plain, by_turns) = (ways.contains(&"PLAIN"), ways.contains(&"LOGIN"));
        let credentials = Credentials::new(login.user.clone(), login.password.0.clone());
        let command = |mechanism, challenge: Option<&str>| {
            let command = Auth::new(mechanism, credentials.clone(), challenge.map(str::to_owned));
            command.map(|c| c.to_string()).map_err(|_| "AUTH: cannot be put together".to_owned())
        };
        if plain {
            self.expect("AUTH", &command(Mechanism::Plain, None)?, 235).await?;
        } else if by_turns {
            self.expect("AUTH", "AUTH LOGIN\r\n", 334).await?;
            self.expect("AUTH", &command(Mechanism::Login, Some("Username:"))?, 334).await?;
            self.expect("AUTH", &command(Mechanism::Login, Some("Password:"))?, 235).await?;
        } else {
            return Err("AUTH: the server offers neither PLAIN nor LOGIN".into());
        }
        Ok(())
    }

    /// Tries one letter. Ends within the time-outs.
    pub(super) async fn deliver(&mut self, letter: &Letter) -> End {
        let wanted = match (letter.to.is_ascii(), self.offer("SMTPUTF8").is_some()) {
            (true, _) => "",
            (false, true) => " BODY=8BITMIME SMTPUTF8",
            (false, false) => {
                return End::Never(format!("the server takes only addresses in plain letters, not {}", letter.to));
            }
        };
        self.is_settled = false;
        let end = self.converse(letter, wanted).await.unwrap_or_else(|end| end);
        // Refused before the text came up: the conversation goes on, with what was begun taken back.
        self.is_settled |= matches!(end, End::Later(_) | End::Never(_)) && self.is_begun;
        end
    }

    async fn converse(&mut self, letter: &Letter, wanted: &str) -> Result<End, End> {
        if self.is_begun {
            self.step("RSET", "RSET\r\n", Reply::is_positive).await?;
            self.is_begun = false;
        }
        self.is_begun = true;
        self.step("MAIL", &format!("MAIL FROM:<{}>{wanted}\r\n", letter.from), Reply::is_positive).await?;
        self.step("RCPT", &format!("RCPT TO:<{}>\r\n", letter.to), Reply::is_positive).await?;
        self.step("DATA", "DATA\r\n", |reply| reply.code == 354).await?;
        self.transfer(letter).await
    }

    /// The letter itself, when the server waits for it.
    async fn transfer(&mut self, letter: &Letter) -> Result<End, End> {
        let wait = self.waits.data;
        let body = stuffed(&letter.bytes);
        let written = timeout(wait, self.wire.write(&body)).await;
        match written {
            Err(_) => return Err(End::Lost(format!("the server did not take the text in {wait:?}"))),
            Ok(Err(e)) => return Err(End::Lost(format!("broken off in the text: {e}"))),
            Ok(Ok(())) => {}
        }
        // What was said or closed by now spares the doubt.
        self.check_silence("text").await.map_err(End::Lost)?;
        let answered = timeout(wait, async {
            self.wire.write(b".\r\n").await.map_err(|e| format!("broken off after the text: {e}"))?;
            self.answer().await.map_err(|why| format!("after the text: {why}"))
        });
        let reply = match answered.await {
            Err(_) => return Err(End::Unclear(format!("no answer in {wait:?} after the text"))),
            Ok(Err(why)) => return Err(End::Unclear(why)),
            Ok(Ok(reply)) => reply,
        };
        self.is_begun = false;
        self.is_settled = reply.code != 421;
        let said = format!("after the text: {}", reply.said());
        match reply.code {
            200..=299 => Ok(End::Taken(reply.text())),
            400..=499 => Err(End::Later(said)),
            500..=599 => Err(End::Never(said)),
            _ => {
                self.is_settled = false;
                Err(End::Unclear(said))
            }
        }
    }

    /// A question before the text, and an answer to it that lets the conversation go on.
    async fn step(&mut self, phase: &str, line: &str, goes_on: impl Fn(&Reply) -> bool) -> Result<(), End> {
        let reply = self.ask(phase, line).await.map_err(End::Lost)?;
        if goes_on(&reply) {
            return Ok(());
        }
        let said = format!("{phase}: {}", reply.said());
        Err(match reply.code {
            // Not of this letter, but of this conversation: it ends, it is out of step, it should have logged in.
            421 | 503 | 530 | 534 | 535 | 538 => End::Lost(said),
            400..=499 => End::Later(said),
            500..=599 => End::Never(said),
            _ => End::Lost(format!("{said}, which is no answer to it")),
        })
    }

    async fn expect(&mut self, phase: &str, line: &str, code: u16) -> Result<Reply, String> {
        let reply = self.ask(phase, line).await?;
        if reply.code == code { Ok(reply) } else { Err(format!("{phase}: {}", reply.said())) }
    }

    /// Says a line, nothing for the greeting, and waits for the answer.
    async fn ask(&mut self, phase: &str, line: &str) -> Result<Reply, String> {
        if !line.is_empty() {
            self.check_silence(phase).await?;
        }
        let wait = self.waits.command;
        let answered = timeout(wait, async {
            self.wire.write(line.as_bytes()).await.map_err(|e| e.to_string())?;
            self.answer().await
        });
        let answered = answered.await.map_err(|_| format!("{phase}: no answer in {wait:?}"))?;
        answered.map_err(|why| format!("{phase}: {why}"))
    }

    async fn answer(&mut self) -> Result<Reply, String> {
        loop {
            if let Some(reply) = reply::take(&mut self.came)? {
                return Ok(reply);
            }
            if self.read().await.map_err(|e| e.to_string())? == 0 {
                return Err("the server hung up".into());
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let mut piece = [0; 2048];
        let n = self.wire.read(&mut piece).await?;
        self.came.extend_from_slice(piece.get(..n).unwrap_or_default());
        Ok(n)
    }

    /// It is our turn to speak: what came is out of turn, and who hung up does not listen.
    async fn check_silence(&mut self, phase: &str) -> Result<(), String> {
        // Looks once and does not wait.
        let looked = tokio::select! {
            biased;
            read = self.read() => Some(read),
            () = std::future::ready(()) => None,
        };
        if !self.came.is_empty() {
            let said = reply::take(&mut self.came).ok().flatten().map(|reply| reply.said());
            return Err(format!("{phase}: the server spoke out of turn: {}", said.unwrap_or_default()));
        }
        match looked {
            Some(Ok(0)) => Err(format!("{phase}: the server hung up")),
            Some(Err(e)) => Err(format!("{phase}: {e}")),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Whether another letter may go this way: nothing is open, and the server neither hung up nor spoke meanwhile.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.is_settled && self.check_silence("idle").await.is_ok()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Says goodbye, and does not wait long for the other side to do so.
    pub(super) async fn quit(mut self) {
        let parting = async {
            if self.wire.write(b"QUIT\r\n").await.is_ok() {
                drop(self.answer().await);
            }
        };
        drop(timeout(Duration::from_millis(MAIL_QUIT_MS), parting).await);
    }
}

/// To the first of its addresses that answers, each with its own time: one way may be dead, by IPv6 say, and another not.
async fn connect(settings: &Settings) -> Result<TcpStream, String> {
    let wait = settings.waits.connect;
    let found = timeout(wait, lookup_host((settings.host.as_str(), settings.port))).await;
    let found = found.map_err(|_| format!("cannot connect: no address of {} in {wait:?}", settings.host))?;
    let found = found.map_err(|e| format!("cannot connect: no address of {}: {e}", settings.host))?;
    let mut why = format!("cannot connect: {} has no address", settings.host);
    for address in found.take(MAIL_ADDRESSES_MAX) {
        match timeout(wait, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => why = format!("cannot connect to {address}: {e}"),
            Err(_) => why = format!("cannot connect to {address}: no answer in {wait:?}"),
        }
    }
    Err(why)
}

/// The address of this end as SMTP writes it where there is no name: `[192.0.2.1]`.
fn literal(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// With a second dot where a line begins with one: a dot alone would be the end.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(bytes.len() + 16);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_dot_is_not_the_end() {
        assert_eq!(stuffed(b".\r\n..a\r\nb.\r\n"), b"..\r\n...a\r\nb.\r\n");
    }

    #[test]
    fn an_end_without_a_name_gives_its_address() {
        assert_eq!(literal("192.0.2.1:5".parse().expect("an address")), "[192.0.2.1]");
        assert_eq!(literal("[2001:db8::1]:5".parse().expect("an address")), "[IPv6:2001:db8::1]");
    }
}
