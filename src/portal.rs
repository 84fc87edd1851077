//! The HTTP side: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts us, posts of call records and of
//! other programs' alerts, the announcements that telephone systems fetch, the page by which somebody on call answers, the API. Later the pages.

pub mod acd;
mod ack;
pub mod api;
mod cdr;
pub mod client;
pub mod receipts;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use self::api::Office;
use crate::gateway::post::Door;
use crate::metrics::Metrics;

/// Connections at once; the next ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// A request's head must have come within this; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest life of a connection: nobody holds a place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// What requests look at.
#[derive(Clone, Debug)]
pub struct Status {
    pub metrics: Arc<Metrics>,
    /// Feeds accept and nothing is being stopped.
    pub ready: Arc<AtomicBool>,
}

/// Which paths an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// Health, and the API.
    pub health: bool,
    pub metrics: bool,
}

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// A bound HTTP address.
#[derive(Debug)]
pub struct Portal {
    socket: TcpListener,
    router: Router,
}

impl Portal {
    /// `doors` are the feeds that take posts here; the API works with `office`.
    pub async fn bind(
        address: SocketAddr,
        pages: Pages,
        status: Status,
        doors: &[Arc<Door>],
        office: Option<Arc<Office>>,
    ) -> std::io::Result<Portal> {
        let mut router = cdr::routes(router(pages, status), doors);
        if pages.health {
            router = upstream::routes(router, office.as_ref().and_then(|office| office.receivers.clone()));
            if let Some(office) = &office {
                router = receipts::routes(router, office.receipts.clone());
                router = acd::routes(router, Arc::clone(&office.acd));
                router = ack::routes(router, Arc::clone(office));
            }
            router = api::routes(router, office);
        }
        Ok(Portal { socket: TcpListener::bind(address).await?, router })
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let router = self.router.clone();
            tokio::spawn(async move {
                let _place = place;
                // Given up after its time; whatever it still wanted, it may ask again.
                drop(tokio::time::timeout(CONNECTION_TIMEOUT, answer(stream, peer, router)).await);
            });
        }
    }
}

async fn answer(stream: TcpStream, peer: SocketAddr, router: Router) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection failed");
    }
}

fn router(pages: Pages, status: Status) -> Router {
    let mut router = Router::new();
    if pages.health {
        let ready = Arc::clone(&status.ready);
        router = router.route("/healthz", get(|| async { "ok\n" })).route(
            "/readyz",
            get(move || async move {
                match ready.load(Ordering::Relaxed) {
                    true => (StatusCode::OK, "ready\n"),
                    false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
                }
            }),
        );
    }
    if pages.metrics {
        let metrics = status.metrics;
        router = router.route(
            "/metrics",
            get(
                move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()) },
            ),
        );
    }
    router
}
