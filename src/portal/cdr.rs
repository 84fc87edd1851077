//! Call records over HTTP: `POST /api/feeds/NAME/cdr`, and `/cdr` where there is one such feed.
//!
//! It reads the request, within bounds, and says in HTTP what became of it: 200 when the engine has applied the event,
//! 503 where the gateway should come again. Who may post, and what a body means, is for the feed's [`Door`].

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::Peer;
use crate::gateway::post::{Door, Origin, Refusal};
use crate::limits::POST_BYTES_MAX;

/// The doors by the names of their feeds.
type Doors = Arc<HashMap<String, Arc<Door>>>;

/// Adds the paths of these feeds.
pub(super) fn routes(router: Router, doors: &[Arc<Door>]) -> Router {
    let by_name: Doors = Arc::new(doors.iter().map(|door| (door.name().to_owned(), Arc::clone(door))).collect());
    let mut posts = Router::new().route("/api/feeds/{feed}/cdr", post(to_named)).with_state(by_name);
    if let [only] = doors {
        posts = posts.merge(Router::new().route("/cdr", post(to_only)).with_state(Arc::clone(only)));
    }
    router.merge(posts)
}

async fn to_named(State(doors): State<Doors>, Path(feed): Path<String>, request: Request) -> Response {
    match doors.get(&feed) {
        Some(door) => take(door, request).await,
        None => told(StatusCode::NOT_FOUND, "no feed of this name takes posts"),
    }
}

async fn to_only(State(door): State<Arc<Door>>, request: Request) -> Response {
    take(&door, request).await
}

async fn take(door: &Door, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(Peer(peer)) = head.extensions.get().copied() else {
        return told(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    };
    let origin = Origin {
        peer,
        is_local: peer.ip().to_canonical().is_loopback() && !is_passed_on(&head.headers),
        authorization: head.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes),
    };
    let guest = match door.admit(origin) {
        Ok(guest) => guest,
        Err(refusal) => return refused(refusal),
    };
    let bytes = match tokio::time::timeout(door.body_timeout, read(&head, body)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(response)) => return response,
        Err(_) => {
            door.gave_up(origin);
            return closing(told(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"));
        }
    };
    match door.post(guest, bytes, head.uri.query().unwrap_or_default()).await {
        Ok(()) => told(StatusCode::OK, "applied"),
        Err(refusal) => refused(refusal),
    }
}

async fn read(head: &request::Parts, body: Body) -> Result<Vec<u8>, Response> {
    let too_long = || closing(told(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"));
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > POST_BYTES_MAX as u64) {
        return Err(too_long());
    }
    to_bytes(body, POST_BYTES_MAX).await.map(Vec::from).map_err(|error| {
        let is_limit = std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
        if is_limit { too_long() } else { closing(told(StatusCode::BAD_REQUEST, "the body was cut off")) }
    })
}

/// Does a request that comes from this machine speak for another? Proxies say so, and browsers name the page that made
/// them post.
fn is_passed_on(headers: &HeaderMap) -> bool {
    const SIGNS: [HeaderName; 6] = [
        header::ORIGIN,
        header::REFERER,
        header::FORWARDED,
        header::VIA,
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-real-ip"),
    ];
    SIGNS.iter().any(|sign| headers.contains_key(sign))
}

fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Unauthorised => {
            let mut response = told(StatusCode::UNAUTHORIZED, "the feed's name and its token are needed");
            let challenge = HeaderValue::from_static("Basic realm=\"ringfence\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            closing(response)
        }
        Refusal::Stranger => {
            closing(told(StatusCode::FORBIDDEN, "a feed without a token takes posts of its own machine only"))
        }
        Refusal::Busy => {
            let mut response = told(StatusCode::SERVICE_UNAVAILABLE, "too many posts at once, or stopping: come again");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            closing(response)
        }
        Refusal::Bad(reason) => told(StatusCode::BAD_REQUEST, reason),
        Refusal::Full => {
            let mut response = told(StatusCode::SERVICE_UNAVAILABLE, "it cannot be stored now: come again");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            closing(response)
        }
        Refusal::Lost => told(StatusCode::SERVICE_UNAVAILABLE, "not applied: come again"),
    }
}

/// What is left of the body is not waited for.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn told(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
