//! Alerts of other programs over HTTP, at the paths where those programs post them: `/receive/alertmanager` for webhooks of
//! Alertmanager, `/api/v2/alerts` for whatever takes us for one, `/v2/enqueue` for events of PagerDuty's format.
//!
//! It reads the request, within bounds, and answers as the originals do when what was posted is durable. Whatever passes is
//! a 503: those programs take any 4xx for final. What a body means is for the receivers to know.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::Peer;
use crate::clock::{Clock, Timestamp};
use crate::gateway::post::credentials;
use crate::limits::{UPSTREAM_BODY_MS, UPSTREAM_EVENT_BYTES_MAX, UPSTREAM_POST_BYTES_MAX};
use crate::upstream::{Parsed, Receivers, Settings, alertmanager, pagerduty};

/// How long whoever is put off is asked to wait.
const AGAIN_S: &str = "5";

type Read = fn(&[u8], &Settings, Timestamp) -> Result<Parsed, String>;

/// Adds the paths, where there are receivers.
pub(super) fn routes(router: Router, receivers: Option<Arc<Receivers>>) -> Router {
    let Some(receivers) = receivers else { return router };
    let posts = Router::new()
        .route("/receive/alertmanager", post(webhook))
        .route("/api/v2/alerts", post(alerts))
        .route("/v2/enqueue", post(event))
        .with_state(receivers);
    router.merge(posts)
}

async fn webhook(State(receivers): State<Arc<Receivers>>, request: Request) -> Response {
    take_alerts(&receivers, request, alertmanager::webhook).await.unwrap_or_else(|refusal| refusal)
}

async fn alerts(State(receivers): State<Arc<Receivers>>, request: Request) -> Response {
    take_alerts(&receivers, request, alertmanager::posted).await.unwrap_or_else(|refusal| refusal)
}

async fn event(State(receivers): State<Arc<Receivers>>, request: Request) -> Response {
    take_event(&receivers, request).await.unwrap_or_else(|refusal| refusal)
}

async fn take_alerts(receivers: &Receivers, request: Request, read: Read) -> Result<Response, Response> {
    let (head, body) = request.into_parts();
    let token = token(&head);
    let Some(receiver) = receivers.of_token(token.as_deref(), &from(&head)) else { return Err(stranger()) };
    let _place = receivers.place().map_err(|why| later(&why.to_string()))?;
    let bytes = bytes(&head, body, UPSTREAM_POST_BYTES_MAX).await?;
    let now = Clock.now();
    let told = |why: &str| (StatusCode::BAD_REQUEST, axum::Json(why)).into_response();
    let Parsed { heard, problems, left_out } = read(&bytes, receiver.settings(), now).map_err(|why| told(&why))?;
    if left_out > 0 {
        let name = &receiver.settings().name;
        tracing::warn!(
            receiver = name,
            left_out,
            "alerts were left out of a post by its sender: raise its `max_alerts`"
        );
    }
    // Those that are good are kept, also where others are not.
    receivers.take(receiver, heard, now).await.map_err(|why| later(&why.to_string()))?;
    if problems.is_empty() { Ok(StatusCode::OK.into_response()) } else { Err(told(&problems.join("; "))) }
}

async fn take_event(receivers: &Receivers, request: Request) -> Result<Response, Response> {
    let (head, body) = request.into_parts();
    // Who posts stands in the event itself.
    let _place = receivers.strange_place().map_err(|why| later(&why.to_string()))?;
    let bytes = bytes(&head, body, UPSTREAM_EVENT_BYTES_MAX).await?;
    let now = Clock.now();
    let event = pagerduty::event(&bytes).map_err(|errors| {
        let answer = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
        as_json(StatusCode::BAD_REQUEST, &answer)
    })?;
    let Some(receiver) = receivers.of_token(Some(&event.routing_key), &from(&head)) else { return Err(stranger()) };
    let heard = event.heard(receiver.settings(), now).into_iter().collect::<Vec<_>>();
    if heard.is_empty() {
        let name = &receiver.settings().name;
        tracing::info!(receiver = name, dedup_key = event.dedup_key(), "somebody looks after an alert elsewhere");
    }
    receivers.take(receiver, heard, now).await.map_err(|why| later(&why.to_string()))?;
    let answer = json!({ "status": "success", "message": "Event processed", "dedup_key": event.dedup_key() });
    Ok(as_json(StatusCode::ACCEPTED, &answer))
}

/// The token of `Bearer`, or the password of `Basic`, whoever the user is.
fn token(head: &request::Parts) -> Option<String> {
    let header = head.headers.get(header::AUTHORIZATION)?.as_bytes();
    if let Some(pair) = credentials(header) {
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn from(head: &request::Parts) -> String {
    head.extensions.get().map_or_else(String::new, |Peer(peer)| peer.ip().to_canonical().to_string())
}

async fn bytes(head: &request::Parts, body: Body, bytes_max: usize) -> Result<Vec<u8>, Response> {
    let too_long =
        || closing(told(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is longer than {bytes_max} bytes")));
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_long());
    }
    match tokio::time::timeout(Duration::from_millis(UPSTREAM_BODY_MS), to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(Vec::from(bytes)),
        Ok(Err(error)) => {
            let is_limit =
                std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
            // What was cut off on its way may come whole another time.
            Err(if is_limit { too_long() } else { closing(later("the body was cut off")) })
        }
        Err(_) => Err(closing(later("the body did not come in time"))),
    }
}

fn stranger() -> Response {
    let mut response = told(StatusCode::UNAUTHORIZED, "the token of a receiver is needed");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ringfence\""));
    closing(response)
}

/// Come again.
fn later(why: &str) -> Response {
    let mut response = told(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(AGAIN_S));
    response
}

/// What is left of the body is not waited for.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn as_json(status: StatusCode, value: &Value) -> Response {
    (status, axum::Json(value)).into_response()
}

fn told(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
