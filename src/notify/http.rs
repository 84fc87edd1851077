//! POST of JSON to somebody else's server: time-outs on every phase, and what its answer means for a retry.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Whom to reach and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub url: Uri,
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte of the answer.
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

/// What to do about a POST.
#[derive(Debug)]
pub(super) enum Failure {
    /// The other side, or the way to it, is in trouble: try again.
    Later(String),
    /// It will not take this message, however often it comes.
    Never(String),
}

/// Largest part of an answer that is read; only its start is ever shown.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
}

impl Poster {
    pub(super) fn new(endpoint: Endpoint) -> Result<Poster, String> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(endpoint.connect_timeout));
        http.enforce_http(false);
        http.set_nodelay(true);
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let https = match &endpoint.ca_file {
            Some(path) => builder.with_tls_config(trusting(path)?),
            None => builder
                .with_provider_and_webpki_roots(ring::default_provider())
                .map_err(|e| format!("cannot set up TLS: {e}"))?,
        };
        let connector = https.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Poster { client, endpoint })
    }

    pub(super) async fn post(&self, body: Bytes) -> Result<(), Failure> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("ringfence/", env!("CARGO_PKG_VERSION")));
        if let Some(Secret(token)) = &self.endpoint.bearer_token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|e| Failure::Never(e.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| Failure::Later(chain(&e)))?;
            let status = answer.status();
            // Read to the end, so that the connection can be used again.
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let text = body.map(|b| b.to_bytes()).unwrap_or_default();
            judge(status, &text)
        };
        let waited = timeout(self.endpoint.request_timeout, exchange).await;
        waited.unwrap_or_else(|_| Err(Failure::Later(format!("no answer in {:?}", self.endpoint.request_timeout))))
    }
}

/// Connects, and where the URL says so greets by TLS, then hangs up: nothing is sent. The certificate that was shown, in
/// DER.
pub async fn reach(endpoint: Endpoint) -> Result<Option<Vec<u8>>, String> {
    let host = endpoint.url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_tls = endpoint.url.scheme_str() == Some("https");
    let port = endpoint.url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let greet = async {
        let connected = timeout(endpoint.connect_timeout, TcpStream::connect((host.as_str(), port))).await;
        let connected = connected.map_err(|_| format!("no connection in {:?}", endpoint.connect_timeout))?;
        let stream = connected.map_err(|e| format!("cannot connect: {e}"))?;
        if !is_tls {
            return Ok(None);
        }
        let config = match &endpoint.ca_file {
            Some(path) => trusting(path)?,
            None => {
                let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
                let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
                builder.with_webpki_roots().with_no_client_auth()
            }
        };
        let name = ServerName::try_from(host.clone()).map_err(|e| e.to_string())?;
        let greeted = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let greeted = greeted.map_err(|e| format!("no TLS: {e}"))?;
        let shown = greeted.get_ref().1.peer_certificates().and_then(|all| all.first());
        Ok(shown.map(|certificate| certificate.to_vec()))
    };
    let waited = timeout(endpoint.request_timeout, greet).await;
    waited.unwrap_or_else(|_| Err(format!("no answer in {:?}", endpoint.request_timeout)))
}

fn judge(status: StatusCode, body: &[u8]) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(body).chars().take(200).collect();
    let said = format!("HTTP {} {}", status.as_u16(), shown.trim());
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(if passing { Failure::Later(said) } else { Failure::Never(said) })
}

fn trusting(path: &Path) -> Result<ClientConfig, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| format!("cannot read {shown}: {e}"))?;
        roots.add(certificate).map_err(|e| format!("{shown}: not a usable authority: {e}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{shown}: no certificate in it"));
    }
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An error with its causes; hyper's own says only `client error (Connect)`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Waits between tries: doubling from half a second to a minute, each shortened by up to a half at random, so that many
/// senders do not come back at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    n_failed: u32,
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let whole_ms = (500u64 << self.n_failed.min(7)).min(60_000);
        self.n_failed += 1;
        let random = RandomState::new().hash_one(self.n_failed);
        Duration::from_millis(whole_ms - random % (whole_ms / 2))
    }

    pub(super) fn reset(&mut self) {
        self.n_failed = 0;
    }

    /// True at the first failure and then ever more seldom: when to say so in the log.
    pub(super) fn worth_a_line(&self) -> bool {
        self.n_failed.is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_passes_but_a_refusal_stays() {
        assert!(judge(StatusCode::OK, b"").is_ok());
        assert!(matches!(judge(StatusCode::SERVICE_UNAVAILABLE, b""), Err(Failure::Later(_))));
        assert!(matches!(judge(StatusCode::TOO_MANY_REQUESTS, b""), Err(Failure::Later(_))));
        assert!(
            matches!(judge(StatusCode::BAD_REQUEST, b"no labels"), Err(Failure::Never(m)) if m.contains("no labels"))
        );
    }

    #[test]
    fn waits_grow_to_a_minute_and_never_vanish() {
        let mut backoff = Backoff::default();
        for n in 0..40 {
            let wait = backoff.next();
            assert!(wait >= Duration::from_millis(250) && wait <= Duration::from_secs(60), "try {n} waits {wait:?}");
        }
        assert!(backoff.next() > Duration::from_secs(29));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(500));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "(secret)");
    }
}
