//! The API: `/api/v1/...`, JSON in and out, for programs, for the commands, and for the portal's pages.
//!
//! One table says which operations there are, what each takes and gives and what right it needs; the routes and the
//! description at `/api/v1/openapi.json` are both made of it. What an operation does blocks, so it runs on a thread of its
//! own; how many do at once is bounded. It decides nothing about incidents: that is for the desk.

mod announcements;
mod call;
mod catalogue;
mod deliveries;
mod description;
mod explain;
mod guest;
mod incidents;
mod keys;
mod messages;
mod next_step;
mod oncall;
mod operation;
mod orders;
mod persons;
mod problem;
mod reloads;
mod told;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, request};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::description::describe;

use self::call::{Call, Reply};
use self::guest::Guest;
use self::operation::{Access, Operation};
use self::problem::Problem;
use crate::acd::Board;
use crate::clock::Clock;
use crate::current::Current;
use crate::delivery::Outbox;
use crate::delivery::link::Links;
use crate::delivery::sms::Receipts;
use crate::desk::Desk;
use crate::engine::Engine;
use crate::findings::Drafter;
use crate::gateway::clocks::Clocks;
use crate::incident::Terms;
use crate::limits::{API_BODY_MS, API_BYTES_MAX, API_CALLS_MAX, API_LOGINS_MAX, API_TURN_MS, LOGIN_BYTES_MAX};
use crate::people::People;
use crate::reload::Reloads;
use crate::store::Store;
use crate::upstream::Receivers;

/// Below which all of it stands.
pub const ROOT: &str = "/api/v1";

/// What the operations work with.
#[derive(Debug)]
pub struct Office {
    pub store: Arc<Store>,
    pub desk: Desk,
    /// The customers' files and the kits.
    pub terms: Current<Terms>,
    /// What rules count, and how far event time has come.
    pub engine: Engine,
    pub clocks: Arc<Clocks>,
    /// Has a snapshot taken soon.
    pub wants_snapshot: Arc<AtomicBool>,
    /// Who reads rules and settings again.
    pub reloads: Reloads,
    pub people: People,
    pub drafter: Arc<Drafter>,
    /// Those who take alerts of other programs, where there are any.
    pub receivers: Option<Arc<Receivers>>,
    /// Where deliveries stand.
    pub outbox: Outbox,
    /// By which somebody on call says that they look after something.
    pub links: Links,
    /// Those who take what providers of text messages tell later.
    pub receipts: Option<Receipts>,
    /// What callers hear.
    pub acd: Arc<Board>,
    /// People reach it by `https://` only: browsers are told so.
    pub is_https: bool,
}

static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let mut all = incidents::operations();
    all.extend(orders::operations());
    all.extend(messages::operations());
    all.extend(deliveries::operations());
    all.extend(told::operations());
    all.extend(oncall::operations());
    all.extend(catalogue::operations());
    all.extend(explain::operations());
    all.extend(persons::operations());
    all.extend(announcements::operations());
    all.extend(reloads::operations());
    all.extend(keys::operations());
    all
});

/// What every request goes through.
#[derive(Clone)]
struct Desks {
    office: Option<Arc<Office>>,
    calls: Arc<Semaphore>,
    logins: Arc<Semaphore>,
}

/// Adds the API. Without an office, which takes a data folder, it says what is missing.
pub(super) fn routes(router: Router, office: Option<Arc<Office>>) -> Router {
    let places = |n| Arc::new(Semaphore::new(n));
    let desks = Desks { office, calls: places(API_CALLS_MAX), logins: places(API_LOGINS_MAX) };
    let mut api = Router::new();
    for operation in OPERATIONS.iter() {
        let desks = desks.clone();
        let answer = move |params: RawPathParams, request: Request| async move {
            let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            sealed(answer(operation, &desks, params, request).await.unwrap_or_else(Problem::into_response))
        };
        api = api.route(operation.path, on(operation.filter(), answer));
    }
    let description =
        on(MethodFilter::GET, || async { sealed(Reply::json(&*description::DESCRIPTION).into_response()) });
    let api = api.route("/openapi.json", description);
    let api = api.method_not_allowed_fallback(|| async { sealed(Problem::NoMethod.into_response()) });
    router.nest(ROOT, api.fallback(|| async { sealed(Problem::NoPath.into_response()) }))
}

/// Answers are for whoever asked, now, and are never taken for pages.
fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn answer(
    operation: &'static Operation,
    desks: &Desks,
    params: Vec<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let office = desks.office.clone().ok_or(Problem::NoOffice)?;
    let (head, body) = request.into_parts();
    let guest = Guest::of(&head)?;
    let is_open = operation.access == Access::Open;
    let places = if is_open { &desks.logins } else { &desks.calls };
    let place = turn(places).await?;
    let (guest, caller) = {
        let office = Arc::clone(&office);
        blocking(move || guest.admit(operation, &office.people, Clock.now()).map(|caller| (guest, caller))).await?
    };
    // Whoever sends slowly holds no place meanwhile.
    drop(place);
    let body = read(&head, body, if is_open { LOGIN_BYTES_MAX } else { API_BYTES_MAX }).await?;
    let query = call::query_pairs(head.uri.query().unwrap_or_default());
    let place = turn(places).await?;
    let reply = blocking(move || {
        let call =
            Call { office: &office, caller: caller.as_ref(), guest: &guest, now: Clock.now(), params, query, body };
        let reply = (operation.run)(&call);
        drop(place);
        reply
    });
    Ok(reply.await?.into_response())
}

async fn turn(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = tokio::time::timeout(Duration::from_millis(API_TURN_MS), Arc::clone(places).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or(Problem::Busy)
}

/// Somewhere else than where sockets are served.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::Internal))
}

async fn read(head: &request::Parts, body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(Problem::TooLong);
    }
    let read = tokio::time::timeout(Duration::from_millis(API_BODY_MS), to_bytes(body, bytes_max)).await;
    let bytes = read.map_err(|_| Problem::Slow)?.map(Vec::from).map_err(|error| {
        let is_limit = std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
        if is_limit { Problem::TooLong } else { Problem::CutOff }
    })?;
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    // A page of somebody else's cannot make a browser say this without being asked about it.
    if !bytes.is_empty() && !is_json { Err(Problem::NotJson) } else { Ok(bytes) }
}

fn status_of(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
