//! The other end of the API: what the commands ask the service with. It blocks, and knows nothing but JSON and refusals.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_rustls::rustls::crypto::ring;

use super::api::ROOT;
use super::api::wire::{ErrorAnswer, ErrorBody};
use crate::limits::{CLIENT_ANSWER_BYTES_MAX, CLIENT_WAIT_MS};

/// Why there is no answer, or not the one that was wanted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The service understood and said no.
    #[error("{}", .1.message)]
    Refused(u16, ErrorBody),
    #[error("{0}")]
    Unreachable(String),
}

/// A service that can be asked.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    token: Option<String>,
}

impl Client {
    /// `url`: of the service, without the path of the API.
    pub fn new(url: &str, token: Option<String>) -> Result<Client, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("cannot begin: {e}"))?;
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(Duration::from_millis(CLIENT_WAIT_MS)));
        http.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring::default_provider())
            .map_err(|e| format!("cannot set up TLS: {e}"))?;
        let pool = Pool::builder(TokioExecutor::new()).build(https.https_or_http().enable_http1().wrap_connector(http));
        Ok(Client { runtime, pool, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `path`: below the root of the API, with its query.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, Bytes::new())
    }

    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::Unreachable(e.to_string()))?;
        self.ask(Method::POST, path, body.into())
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, Failure> {
        let url = &self.url;
        let unreachable = |text: String| Failure::Unreachable(format!("{url}: {text}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{url}{ROOT}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("ringfence/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|e| unreachable(e.to_string()))?;
        let exchange = async {
            let answer = self.pool.request(request).await.map_err(|e| unreachable(cause(&e)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), CLIENT_ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| unreachable(format!("the answer was cut off: {e}")))?.to_bytes();
            judge(status, &body).map_err(|failure| match failure {
                Failure::Unreachable(text) => unreachable(text),
                refused => refused,
            })
        };
        let wait = Duration::from_millis(CLIENT_WAIT_MS);
        let waited = self.runtime.block_on(async { tokio::time::timeout(wait, exchange).await });
        waited.unwrap_or_else(|_| Err(unreachable(format!("no answer in {wait:?}"))))
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|_| Failure::Unreachable("the answer is no JSON".to_owned()));
    }
    match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(answer) => Err(Failure::Refused(status.as_u16(), answer.error)),
        Err(_) => Err(Failure::Unreachable(format!("HTTP {}; is this Ringfence?", status.as_u16()))),
    }
}

/// The last of its causes says what people understand: `Connection refused`.
fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_json_a_refusal_says_why_and_the_rest_is_somebody_else() {
        assert_eq!(judge(StatusCode::OK, b"{\"a\":1}").unwrap()["a"], 1);
        assert!(matches!(judge(StatusCode::OK, b"<html>"), Err(Failure::Unreachable(_))));
        let no = br#"{"error":{"code":"conflict","message":"it is over","details":[]}}"#;
        let refused = judge(StatusCode::CONFLICT, no).unwrap_err();
        assert!(matches!(&refused, Failure::Refused(409, _)) && refused.to_string() == "it is over");
        assert!(judge(StatusCode::NOT_FOUND, b"nginx").unwrap_err().to_string().contains("is this Ringfence?"));
    }

    #[test]
    fn nobody_at_the_other_end_is_told_plainly() {
        let client = Client::new("http://127.0.0.1:1/", None).unwrap();
        let failure = client.get("/me").unwrap_err();
        let text = failure.to_string();
        assert!(text.starts_with("http://127.0.0.1:1: ") && text.contains("refused"), "{text}");
    }
}
