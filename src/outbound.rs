//! The way out by HTTP: one request to one server, and exactly how far it got.
//!
//! Whoever tells people must know whether a request that failed was taken all the same. So connecting and asking are two
//! steps here: what fails before the first byte of a request is written was certainly not taken
//! ([`Answer::NotSent`]), what fails after it may have been ([`Answer::Unanswered`]). Nothing is tried twice unless the
//! connection says that it never began to write, no redirect is followed, and no answer is read beyond its bound.

mod connect;
mod encoding;
#[cfg(test)]
pub(crate) mod scripted;
mod signature;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;
use tokio_rustls::rustls::ClientConfig;

pub use connect::reach;
#[cfg(test)]
pub(crate) use encoding::base64;
pub(crate) use encoding::{basic, escaped, form};
pub(crate) use signature::{hex, hmac_sha256, is_hmac_sha1, is_same, sign};

use crate::clock::{Clock, Timestamp};
use crate::limits::{
    OUTBOUND_ANSWER_BYTES_MAX, OUTBOUND_HEAD_BYTES_MAX, OUTBOUND_IDLE_MAX, OUTBOUND_IDLE_MS, OUTBOUND_SECRET_PATH_MIN,
};

/// Whom to reach and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub url: Uri,
    /// To find the name and to connect.
    pub connect_timeout: Duration,
    /// From the look-up of the name to the last byte of the answer.
    pub request_timeout: Duration,
    /// Sent as `Authorization: Bearer`.
    pub bearer_token: Option<Secret>,
    /// PEM of the authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// A text that never reaches a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a server is asked. Not printable: passwords may stand in its address.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    /// At the server of the client; anywhere else is refused.
    pub url: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn get(url: Uri) -> Request {
        Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub fn post(url: Uri, content_type: &'static str, body: impl Into<Bytes>) -> Request {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Request { method: Method::POST, url, headers, body: body.into() }
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Request {
        self.headers.insert(name, value);
        self
    }
}

/// How far a request got.
#[derive(Debug)]
pub enum Answer {
    /// The server said something: at least a status came.
    Answered {
        status: StatusCode,
        /// The answer's beginning; what is longer, or broke off, is known by its start only.
        head: Bytes,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
        /// The server's clock.
        date: Option<Timestamp>,
    },
    /// Nothing of it was written: certainly nobody took it.
    NotSent(String),
    /// It was written, or begun, and nobody knows what became of it.
    Unanswered(String),
}

/// One server, with the connections that are kept to it.
pub struct Client {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Vec<(Lane, Instant)>>,
}

/// Where it goes, without the path: that may be a secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.endpoint.url.host()).finish_non_exhaustive()
    }
}

/// One connection, used by one request at a time.
struct Lane {
    sender: http1::SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Lane {
    /// Whatever the other side still sends, nobody reads it.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    pub fn new(endpoint: &Endpoint) -> Result<Client, String> {
        let tls = match endpoint.url.scheme_str() {
            Some("https") => Some(Arc::new(connect::trusting(endpoint.ca_file.as_deref())?)),
            Some("http") => None,
            _ => return Err("the URL is neither http:// nor https://".to_owned()),
        };
        if endpoint.url.host().is_none_or(str::is_empty) {
            return Err("the URL names no host".to_owned());
        }
        Ok(Client { endpoint: endpoint.clone(), tls, idle: Mutex::default() })
    }

    pub fn url(&self) -> &Uri {
        &self.endpoint.url
    }

    /// [`shown`] without what this client knows to be secret: servers repeat in their answers what they were sent, and
    /// the path of many a webhook is its key.
    pub(crate) fn said(&self, status: StatusCode, head: &[u8], secrets: &[&str]) -> String {
        let mut all = secrets.to_vec();
        all.extend(self.endpoint.bearer_token.as_ref().map(|token| token.0.as_str()));
        let path = self.endpoint.url.path_and_query().map_or("", |path| path.as_str());
        all.extend(Some(path).filter(|path| path.len() >= OUTBOUND_SECRET_PATH_MIN));
        shown(status, head, &all)
    }

    /// Asks once, and ends within the time-outs of the endpoint whatever the other side does.
    pub async fn ask(&self, request: Request) -> Answer {
        let mut request = match self.prepared(request) {
            Ok(request) => request,
            Err(why) => return Answer::NotSent(why),
        };
        let deadline = tokio::time::Instant::from_std(Clock.monotonic() + self.endpoint.request_timeout);
        let late = || format!("no answer in {:?}", self.endpoint.request_timeout);
        loop {
            let (mut lane, is_new) = match self.kept() {
                Some(lane) => (lane, false),
                None => match timeout_at(deadline, self.connected()).await {
                    Ok(Ok(lane)) => (lane, true),
                    Ok(Err(why)) => return Answer::NotSent(why),
                    Err(_) => return Answer::NotSent(late()),
                },
            };
            match timeout_at(deadline, lane.sender.try_send_request(request)).await {
                Ok(Ok(response)) => return self.read(response, lane, deadline).await,
                // It comes back only where not a byte of it was written.
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    Some(_) => return Answer::NotSent(chain(error.error())),
                    None => return Answer::Unanswered(chain(error.error())),
                },
                Err(_) => return Answer::Unanswered(late()),
            }
        }
    }

    fn prepared(&self, request: Request) -> Result<hyper::Request<Full<Bytes>>, String> {
        let ours = &self.endpoint.url;
        if (request.url.scheme(), request.url.authority()) != (ours.scheme(), ours.authority()) {
            return Err("the address is at another server".to_owned());
        }
        let path = request.url.path_and_query().map_or("/", |path| path.as_str());
        let mut prepared =
            hyper::Request::builder().method(request.method).uri(path).body(Full::new(request.body)).map_err(said)?;
        *prepared.headers_mut() = request.headers;
        let headers = prepared.headers_mut();
        // Not the authority as it stands: a name and a password may be in it.
        let host = ours.host().unwrap_or_default();
        let host = ours.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        headers.insert(HOST, HeaderValue::try_from(host).map_err(said)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ringfence/", env!("CARGO_PKG_VERSION"))));
        if let Some(Secret(token)) = &self.endpoint.bearer_token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| "the bearer token has a character that no header can carry".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(prepared)
    }

    /// A connection that was kept and is still good.
    fn kept(&self) -> Option<Lane> {
        let now = Clock.monotonic();
        let mut idle = self.idle();
        let fresh = Duration::from_millis(OUTBOUND_IDLE_MS);
        idle.retain(|(lane, since)| lane.sender.is_ready() && now.saturating_duration_since(*since) < fresh);
        idle.pop().map(|(lane, _)| lane)
    }

    async fn connected(&self) -> Result<Lane, String> {
        let stream = connect::open(&self.endpoint, self.tls.as_ref()).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(OUTBOUND_HEAD_BYTES_MAX);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| chain(&e))?;
        // What goes wrong with it is told to the request that uses it.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let lane_task = task.clone();
        if let Err(error) = sender.ready().await {
            lane_task.abort();
            return Err(chain(&error));
        }
        Ok(Lane { sender, task })
    }

    /// The status counts from here on: a body that breaks off, is late or too long is given up, not the answer.
    async fn read(&self, response: Response<Incoming>, mut lane: Lane, deadline: tokio::time::Instant) -> Answer {
        let (parts, mut body) = response.into_parts();
        let mut head = BytesMut::new();
        let mut is_whole = false;
        while head.len() < OUTBOUND_ANSWER_BYTES_MAX {
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    let n = data.len().min(OUTBOUND_ANSWER_BYTES_MAX - head.len());
                    head.extend_from_slice(data.get(..n).unwrap_or_default());
                }
                Ok(None) => {
                    is_whole = true;
                    break;
                }
                Ok(Some(Err(_))) | Err(_) => break,
            }
        }
        if is_whole && timeout_at(deadline, lane.sender.ready()).await.is_ok_and(|ready| ready.is_ok()) {
            let mut idle = self.idle();
            if idle.len() < OUTBOUND_IDLE_MAX {
                idle.push((lane, Clock.monotonic()));
            }
        }
        let date = parts.headers.get(DATE).and_then(|value| http_date(value.to_str().ok()?));
        let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| pause(value.to_str().ok()?, date));
        Answer::Answered { status: parts.status, head: head.freeze(), retry_after, date }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Lane, Instant)>> {
        self.idle.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// `HTTP 503 come again`: what a server said, as it is told to people. `secrets` are what must not be in it, for servers
/// that repeat what they were sent.
pub(crate) fn shown(status: StatusCode, head: &[u8], secrets: &[&str]) -> String {
    let mut text = String::from_utf8_lossy(head.get(..2048).unwrap_or(head)).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "(secret)").replace(&escaped(secret), "(secret)");
    }
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line: String = words.join(" ").chars().take(200).collect();
    format!("HTTP {} {line}", status.as_u16()).trim_end().to_owned()
}

/// As mail and HTTP write it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text.trim()).ok().map(|at| Timestamp(at.as_millisecond()))
}

/// `Retry-After`: seconds, or a time by the clock of the server.
fn pause(text: &str, date: Option<Timestamp>) -> Option<Duration> {
    let seconds = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from(http_date(text)?.0 - date?.0).ok()? / 1000,
    };
    Some(Duration::from_secs(seconds.min(86_400)))
}

fn said(error: impl fmt::Display) -> String {
    error.to_string()
}

/// An error with its causes; hyper's own says only `connection error`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
