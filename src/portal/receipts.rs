//! Receipts of text messages: `GET` and `POST /receipts/sms/PROVIDER/DELIVERY/PROOF`.
//!
//! Anybody can reach these addresses and nobody can guess one. It reads the request, within bounds, and says in HTTP what
//! became of it: 200 when it is written down, 503 where the provider should come again. What a request means is for
//! [`Receipts`].

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::delivery::sms::{Post, Receipts, Verdict};
use crate::limits::{API_BODY_MS, RECEIPT_BYTES_MAX, RECEIPT_TURN_MS, RECEIPTS_AT_ONCE};

const SIGNATURE: &str = "x-twilio-signature";

#[derive(Clone)]
struct Desk {
    receipts: Receipts,
    places: Arc<Semaphore>,
}

/// Adds the addresses of receipts; none where no provider sends any.
pub fn routes(router: Router, receipts: Option<Receipts>) -> Router {
    let Some(receipts) = receipts else { return router };
    let desk = Desk { receipts, places: Arc::new(Semaphore::new(RECEIPTS_AT_ONCE)) };
    let path = "/receipts/sms/{provider}/{delivery}/{proof}";
    router.merge(Router::new().route(path, get(take).post(take)).with_state(desk))
}

async fn take(
    State(desk): State<Desk>,
    Path((provider, delivery, proof)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match timeout(Duration::from_millis(API_BODY_MS), to_bytes(body, RECEIPT_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return closing(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return closing(StatusCode::REQUEST_TIMEOUT),
    };
    let turn = timeout(Duration::from_millis(RECEIPT_TURN_MS), desk.places.acquire_owned()).await;
    let Ok(Ok(place)) = turn else { return answer(Verdict::Busy) };
    let judged = tokio::task::spawn_blocking(move || {
        let _place = place;
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let signature = head.headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
        let post =
            Post { provider: &provider, delivery: &delivery, proof: &proof, query: &query, body: &body, signature };
        desk.receipts.take(&post)
    });
    // A receipt that made us stumble is to come again.
    answer(judged.await.unwrap_or(Verdict::Busy))
}

fn answer(verdict: Verdict) -> Response {
    match verdict {
        // Without a word: Kannel would make a message of it.
        Verdict::Taken => StatusCode::OK.into_response(),
        Verdict::Unknown => StatusCode::NOT_FOUND.into_response(),
        Verdict::Forged => StatusCode::FORBIDDEN.into_response(),
        Verdict::Unreadable => StatusCode::BAD_REQUEST.into_response(),
        Verdict::Busy => {
            let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}

/// What is left of the body is not waited for.
fn closing(status: StatusCode) -> Response {
    let mut response = status.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::delivery::sms::{Callback, Receipt, State as Fate};
    use crate::delivery::sms::{KannelSettings, Kind, Settings};
    use crate::outbound::scripted::endpoint;
    use crate::outbound::{Answer, Client, Request, Secret};

    /// A service with one Kannel; `is_up`: receipts can be written down.
    async fn served(is_up: bool) -> (String, Callback, Arc<Mutex<Vec<Receipt>>>) {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let callback = Callback::new(&url, b"key");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kannel = KannelSettings { user: "u".into(), password: Secret("p".into()), from: None, extras: Vec::new() };
        let settings = Settings {
            name: "beside".into(),
            endpoint: endpoint("http://k/"),
            kind: Kind::Kannel(kannel),
            per_minute: None,
        };
        let into = Arc::clone(&taken);
        let receipts = Receipts::new(
            callback.clone(),
            &[settings],
            Arc::new(move |receipt| {
                into.lock().unwrap().push(receipt);
                is_up
            }),
        );
        let router = routes(Router::new(), Some(receipts));
        tokio::spawn(async move { axum::serve(socket, router).await });
        (url, callback, taken)
    }

    async fn status(request: Request) -> u16 {
        let client = Client::new(&endpoint(&request.url.to_string())).unwrap();
        match client.ask(request).await {
            Answer::Answered { status, .. } => status.as_u16(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_receipt_is_taken_at_its_own_address_and_nowhere_else() {
        let (url, callback, taken) = served(true).await;
        let own = callback.url("beside", "DLV-000001");
        assert_eq!(status(Request::get(format!("{own}?type=8").parse().unwrap())).await, 200);
        let form = Request::post(own.parse().unwrap(), "application/x-www-form-urlencoded", "type=1");
        assert_eq!(status(form).await, 200);
        let states: Vec<Fate> = taken.lock().unwrap().iter().map(|receipt| receipt.state.clone()).collect();
        assert_eq!(states, [Fate::Accepted, Fate::Delivered]);
        for (path, expected) in [
            (format!("{own}?type=x"), 400),
            (format!("{own}0?type=1"), 404),
            (format!("{url}/receipts/sms/other/DLV-000001/00?type=1"), 404),
            (format!("{url}/receipts/sms/beside/%00%FF/00?type=1"), 400),
            (format!("{url}/receipts/sms/beside?type=1"), 404),
        ] {
            assert_eq!(status(Request::get(path.parse().unwrap())).await, expected, "{path}");
        }
        let long = Request::post(own.parse().unwrap(), "text/plain", vec![b'x'; RECEIPT_BYTES_MAX + 1]);
        assert_eq!(status(long).await, 413);
        assert_eq!(taken.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_comes_again() {
        let (_, callback, taken) = served(false).await;
        let own = callback.url("beside", "DLV-000001");
        assert_eq!(status(Request::get(format!("{own}?type=1").parse().unwrap())).await, 503);
        assert_eq!(taken.lock().unwrap().len(), 1);
    }
}
