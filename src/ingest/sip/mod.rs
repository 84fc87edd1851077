//! SIP messages (RFC 3261) as a passive reader sees them: what tells of a call is read wherever a phone or proxy would
//! have read it, and only what leaves no call to tell of is a [`Fault`].
//!
//! A [`Message`] borrows from the bytes and allocates nothing; every part of it is what stands there, with folds and
//! escapes, which [`text`] and [`display`] take off. A malformed optional header counts as absent. The time taken is
//! linear in the bytes, whatever they are. Transactions, dialogs and calls are not known here.

mod address;
mod attestation;
mod header;
mod history;
mod line;
mod media;
#[cfg(any(test, feature = "fuzzing"))]
pub mod property;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
mod uri;
mod value;
mod via;

use nom::Parser;
use nom::character::complete::{digit1, multispace1};
use nom::combinator::{all_consuming, rest};
use nom::sequence::separated_pair;

pub use address::Address;
pub use attestation::attestation;
pub use media::call_type;
pub use uri::{Scheme, Uri};
pub use via::Via;

use super::framing::{self, FirstMessage};
use crate::event::Reject;
use header::Header;
use history::History;
use line::{Fields, first_line};
use value::{integer, items, param, separated};

/// A request or response. Of a header that may stand only once the first counts.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub start: Start<'a>,
    pub call_id: &'a [u8],
    /// `u32::MAX` stands for what is larger.
    pub cseq: u32,
    pub cseq_method: &'a [u8],
    pub from: Address<'a>,
    pub to: Address<'a>,
    /// The topmost.
    pub via: Via<'a>,
    pub n_vias: u32,
    /// The first.
    pub contact: Option<Address<'a>>,
    /// P-Asserted-Identity; a `sip:` and a `tel:` URI may stand side by side.
    pub asserted: Option<Address<'a>>,
    pub asserted_second: Option<Address<'a>>,
    /// Remote-Party-ID of the calling party.
    pub remote_party: Option<Address<'a>>,
    pub privacy: Privacy,
    /// The topmost Diversion: the most recent redirection.
    pub diversion: Option<Address<'a>>,
    /// The party that the call left last, by History-Info.
    pub history: Option<Address<'a>>,
    /// Why it left it, in the numbers of SIP (from 300 on) or of Q.850.
    pub history_cause: Option<u16>,
    pub refer_to: Option<Address<'a>>,
    pub referred_by: Option<Address<'a>>,
    pub reason: Reason,
    /// The first Identity header, or the first of a shaken PASSporT.
    pub identity: Option<&'a [u8]>,
    identity_is_shaken: bool,
    /// The level of attestation a carrier writes into a header of its own. Empty where none does.
    pub attestation_info: &'a [u8],
    /// The verification status a carrier writes into a header of its own. Empty where none does.
    pub verstat: &'a [u8],
    pub user_agent: &'a [u8],
    pub server: &'a [u8],
    /// Authorization or Proxy-Authorization: credentials were sent.
    pub credentials: Option<&'a [u8]>,
    /// WWW-Authenticate or Proxy-Authenticate says that credentials were right, but made of a nonce that is too old.
    pub nonce_is_stale: bool,
    pub replaces: bool,
    pub expires: Option<u32>,
    pub content_type: &'a [u8],
    pub content_length: Option<u32>,
    /// As much of it as came; what follows `content_length` bytes is no part of it.
    pub body: &'a [u8],
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    Request { method: &'a [u8], uri: Uri<'a> },
    Response { code: u16, reason: &'a [u8] },
}

/// What the caller wants hidden, by Privacy (RFC 3323) and Remote-Party-ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    pub id: bool,
    pub header: bool,
    pub user: bool,
    /// It is said that nothing is to be hidden.
    pub none: bool,
    /// Remote-Party-ID of the caller with `privacy=full` or `privacy=uri`.
    pub remote_party: bool,
}

impl Privacy {
    /// The caller's number is not to be shown to the callee.
    pub fn hides_number(self) -> bool {
        self.id || self.user || self.remote_party
    }
}

/// Causes of the Reason headers (RFC 3326), each kind's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    pub q850: Option<u8>,
    pub sip: Option<u16>,
}

/// Why bytes are no message that tells of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but line ends and NULs, which hold NAT bindings open.
    KeepAlive,
    /// No start line of SIP/2.0.
    NotSip,
    NoCallId,
    NoCseq,
    NoFrom,
    NoTo,
}

impl Fault {
    /// As it is counted; a keep-alive is nothing that was lost.
    pub fn reject(self) -> Option<Reject> {
        match self {
            Fault::KeepAlive => None,
            Fault::NotSip => Some(Reject::NotSip),
            Fault::NoCallId | Fault::NoCseq | Fault::NoFrom | Fault::NoTo => Some(Reject::MissingHeader),
        }
    }
}

/// What stands at the start of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A message of `len` bytes behind `skip` bytes of keep-alives.
    Whole { skip: usize, len: usize },
    /// More must come, or nothing more does.
    Incomplete,
    /// Nothing that follows can be read.
    Broken,
}

/// The first message of a stream, as [`super::framing`] cuts it: there is one opinion of where it ends.
pub fn first_message(stream: &[u8]) -> Framed {
    match framing::first_message(stream) {
        FirstMessage::Whole { skip, len } => Framed::Whole { skip, len },
        FirstMessage::Incomplete | FirstMessage::Between => Framed::Incomplete,
        FirstMessage::Broken(_) => Framed::Broken,
    }
}

/// Parses the first message of `bytes`: a datagram, a HEP payload, or what [`first_message`] finds in a
/// stream.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, Fault> {
    let skip = bytes.iter().take_while(|b| is_keep_alive(**b)).count();
    let bytes = bytes.get(skip..).filter(|b| !b.is_empty()).ok_or(Fault::KeepAlive)?;
    let (start, fields) = first_line(bytes);
    let mut message = Message::blank(Start::parse(start)?);
    let (mut fields, mut history) = (Fields::new(fields), History::default());
    for (name, value) in fields.by_ref() {
        if let Some(header) = Header::of(name) {
            message.read(header, value, &mut history);
        }
    }
    if let Some((left, cause)) = history.left() {
        (message.history, message.history_cause) = (Some(left), cause);
    }
    let body = fields.rest();
    let len = message.content_length.and_then(|len| usize::try_from(len).ok());
    message.body = len.and_then(|len| body.get(..len)).unwrap_or(body);
    match &message {
        m if m.call_id.is_empty() => Err(Fault::NoCallId),
        m if m.cseq_method.is_empty() => Err(Fault::NoCseq),
        m if m.from.uri.whole.is_empty() => Err(Fault::NoFrom),
        m if m.to.uri.whole.is_empty() => Err(Fault::NoTo),
        _ => Ok(message),
    }
}

/// What phones send between messages.
fn is_keep_alive(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

impl<'a> Start<'a> {
    /// Of a first line. White space around its parts, and inside of a URI, is let pass as RFC 4475 allows.
    fn parse(line: &'a [u8]) -> Result<Start<'a>, Fault> {
        let line = line.trim_ascii();
        if let Some(status) =
            line.get(..VERSION.len()).filter(|v| is_version(v)).and_then(|_| line.get(VERSION.len()..))
        {
            let mut parts = (multispace1::<_, ()>, digit1, rest);
            let (_, (_, code, reason)) = parts.parse(status).map_err(|_| Fault::NotSip)?;
            let code = integer(code).filter(|_| code.len() == 3 && starts_a_word(reason));
            let code = code.and_then(|c| u16::try_from(c).ok()).filter(|c| (100..700).contains(c));
            return Ok(Start::Response { code: code.ok_or(Fault::NotSip)?, reason: reason.trim_ascii() });
        }
        let method = line.iter().position(u8::is_ascii_whitespace).ok_or(Fault::NotSip)?;
        let (method, rest) = line.split_at_checked(method).ok_or(Fault::NotSip)?;
        let uri = rest.get(..rest.len().saturating_sub(VERSION.len())).unwrap_or_default();
        let version = rest.get(uri.len()..).unwrap_or_default();
        if !is_version(version) || !uri.last().is_some_and(u8::is_ascii_whitespace) || !method.iter().all(is_token) {
            return Err(Fault::NotSip);
        }
        let uri = uri.trim_ascii();
        // Not allowed, and understood by all.
        let uri = uri.strip_prefix(b"<").and_then(|u| u.strip_suffix(b">")).unwrap_or(uri);
        if uri.is_empty() { Err(Fault::NotSip) } else { Ok(Start::Request { method, uri: Uri::parse(uri) }) }
    }
}

const VERSION: &[u8] = b"SIP/2.0";

fn is_version(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(VERSION)
}

/// What methods are made of.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte)
}

fn starts_a_word(text: &[u8]) -> bool {
    text.first().is_none_or(u8::is_ascii_whitespace)
}

impl<'a> Message<'a> {
    /// Of which nothing but the first line is known.
    fn blank(start: Start<'a>) -> Message<'a> {
        Message {
            start,
            call_id: &[],
            cseq: 0,
            cseq_method: &[],
            from: Address::default(),
            to: Address::default(),
            via: Via::default(),
            n_vias: 0,
            contact: None,
            asserted: None,
            asserted_second: None,
            remote_party: None,
            privacy: Privacy::default(),
            diversion: None,
            history: None,
            history_cause: None,
            refer_to: None,
            referred_by: None,
            reason: Reason::default(),
            identity: None,
            identity_is_shaken: false,
            attestation_info: &[],
            verstat: &[],
            user_agent: &[],
            server: &[],
            credentials: None,
            nonce_is_stale: false,
            replaces: false,
            expires: None,
            content_type: &[],
            content_length: None,
            body: &[],
        }
    }

    /// Takes in one header field.
    fn read(&mut self, header: Header, value: &'a [u8], history: &mut History<'a>) {
        match header {
            Header::Via => self.read_via(value),
            Header::From if self.from.uri.whole.is_empty() => self.from = Address::parse(value),
            Header::To if self.to.uri.whole.is_empty() => self.to = Address::parse(value),
            Header::CallId => first(&mut self.call_id, value),
            Header::Cseq if self.cseq_method.is_empty() => self.read_cseq(value),
            Header::Contact => first_address(&mut self.contact, value),
            Header::ContentLength => first_integer(&mut self.content_length, value),
            Header::Expires => first_integer(&mut self.expires, value),
            Header::ContentType => first(&mut self.content_type, value),
            Header::UserAgent => first(&mut self.user_agent, value),
            Header::Server => first(&mut self.server, value),
            Header::AttestationInfo => first(&mut self.attestation_info, value),
            Header::Verstat => first(&mut self.verstat, value),
            Header::Diversion => first_address(&mut self.diversion, value),
            Header::ReferTo => first_address(&mut self.refer_to, value),
            Header::ReferredBy => first_address(&mut self.referred_by, value),
            Header::HistoryInfo => items(value).for_each(|entry| history.add(Address::parse(entry))),
            Header::AssertedIdentity => self.read_asserted(value),
            Header::RemoteParty => self.read_remote_party(value),
            Header::Privacy => self.read_privacy(value),
            Header::Reason => self.read_reason(value),
            Header::HangupCause => self.reason.q850 = self.reason.q850.or_else(|| u8::try_from(integer(value)?).ok()),
            Header::Identity => self.read_identity(value),
            Header::Authorization => _ = self.credentials.get_or_insert(value),
            Header::Challenge => self.nonce_is_stale |= is_stale(value),
            Header::Replaces => self.replaces = true,
            Header::From | Header::To | Header::Cseq => {}
        }
    }

    fn read_via(&mut self, value: &'a [u8]) {
        let mut entries = items(value);
        if self.n_vias == 0 {
            let Some(topmost) = entries.next() else { return };
            (self.via, self.n_vias) = (Via::parse(topmost), 1);
        }
        self.n_vias += entries.count() as u32;
    }

    fn read_cseq(&mut self, value: &'a [u8]) {
        let mut cseq = separated_pair(digit1::<_, ()>, multispace1, all_consuming(rest));
        let Ok((_, (number, method))) = cseq.parse(value) else { return };
        let number = integer(number).unwrap_or_default();
        (self.cseq, self.cseq_method) = (u32::try_from(number).unwrap_or(u32::MAX), method);
    }

    fn read_asserted(&mut self, value: &'a [u8]) {
        for entry in items(value) {
            match (&self.asserted, &self.asserted_second) {
                (None, _) => self.asserted = Some(Address::parse(entry)),
                (_, None) => self.asserted_second = Some(Address::parse(entry)),
                _ => return,
            }
        }
    }

    fn read_remote_party(&mut self, value: &'a [u8]) {
        for party in items(value).map(Address::parse) {
            // Without saying of whom it is the calling party's.
            let is_called = party.param("party").is_some_and(|p| p.eq_ignore_ascii_case(b"called"));
            if is_called || self.remote_party.is_some() {
                continue;
            }
            let privacy = party.param("privacy").unwrap_or_default();
            self.privacy.remote_party = [&b"full"[..], b"uri"].iter().any(|word| word.eq_ignore_ascii_case(privacy));
            self.remote_party = Some(party);
        }
    }

    fn read_privacy(&mut self, value: &'a [u8]) {
        let privacy = &mut self.privacy;
        for word in value.split(|b| matches!(b, b';' | b',')).map(<[u8]>::trim_ascii) {
            privacy.id |= word.eq_ignore_ascii_case(b"id");
            privacy.header |= word.eq_ignore_ascii_case(b"header");
            privacy.user |= word.eq_ignore_ascii_case(b"user");
            privacy.none |= word.eq_ignore_ascii_case(b"none");
        }
    }

    fn read_reason(&mut self, value: &'a [u8]) {
        for entry in items(value) {
            let at = memchr::memchr(b';', entry).unwrap_or(entry.len());
            let Some((protocol, params)) = entry.split_at_checked(at) else { return };
            let cause = || param(params, b"cause").and_then(integer);
            let protocol = protocol.trim_ascii();
            let Reason { q850, sip } = &mut self.reason;
            if protocol.eq_ignore_ascii_case(b"Q.850") {
                *q850 = q850.or_else(|| u8::try_from(cause()?).ok());
            } else if protocol.eq_ignore_ascii_case(b"SIP") {
                *sip = sip.or_else(|| u16::try_from(cause()?).ok());
            }
        }
    }

    fn read_identity(&mut self, value: &'a [u8]) {
        let is_shaken = !self.identity_is_shaken && attestation::is_shaken(value);
        if self.identity.is_none() || is_shaken {
            (self.identity, self.identity_is_shaken) = (Some(value), is_shaken);
        }
    }

    /// The `username` of the credentials.
    pub fn username(&self) -> Option<&'a [u8]> {
        digest_value(self.credentials?, b"username")
    }
}

/// Of `Digest name=value, ...`: credentials, or a challenge.
fn digest_value<'a>(digest: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let scheme = digest.iter().position(u8::is_ascii_whitespace)?;
    let mut pairs = separated(digest.get(scheme..)?, b',');
    pairs.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
}

fn is_stale(challenge: &[u8]) -> bool {
    digest_value(challenge, b"stale").is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
}

/// The first of its kind counts.
fn first<'a>(held: &mut &'a [u8], value: &'a [u8]) {
    if held.is_empty() {
        *held = value;
    }
}

fn first_address<'a>(held: &mut Option<Address<'a>>, value: &'a [u8]) {
    if held.is_none() {
        *held = items(value).next().map(Address::parse);
    }
}

/// What is no number, or larger than any SIP allows, counts as absent.
fn first_integer(held: &mut Option<u32>, value: &[u8]) {
    *held = held.or_else(|| u32::try_from(integer(value)?).ok());
}

/// A value as text: UTF-8, and where it is folded each fold one space. `None` where it is not UTF-8.
pub fn text<'a>(raw: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<&'a str> {
    if memchr::memchr2(b'\r', b'\n', raw).is_none() {
        return std::str::from_utf8(raw).ok();
    }
    scratch.clear();
    unfold(raw, scratch);
    std::str::from_utf8(scratch).ok()
}

/// A display name as text: as [`text`], and without its escapes.
pub fn display<'a>(name: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<&'a str> {
    if memchr::memchr3(b'\r', b'\n', b'\\', name).is_none() {
        return std::str::from_utf8(name).ok();
    }
    scratch.clear();
    unfold(name, scratch);
    let mut escaped = false;
    scratch.retain(|byte| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    });
    std::str::from_utf8(scratch).ok()
}

/// White space around a line break becomes one space.
fn unfold(raw: &[u8], out: &mut Vec<u8>) {
    let mut lines = raw.split(|b| *b == b'\n');
    out.extend_from_slice(lines.next().unwrap_or_default());
    for line in lines {
        out.truncate(out.trim_ascii_end().len());
        out.push(b' ');
        out.extend_from_slice(line.trim_ascii_start());
    }
}
