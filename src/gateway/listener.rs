//! A feed's door: who gets in, and how many.
//!
//! A [`Listener`] binds, accepts and counts; each connection then is a task of its own, so that nothing that arrives on
//! one can stop the others.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection;
use super::feed::Feed;
use super::tls::{self, TlsSettings};

/// What a feed lets through its door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    pub listen: SocketAddr,
    pub tls: Option<TlsSettings>,
    pub connections_max: u32,
    pub connections_per_address_max: u32,
    /// TLS, and the hello where one is required.
    pub handshake_timeout: Duration,
    /// Nothing at all came.
    pub idle_timeout: Duration,
    /// A record was begun and not ended, or replies are not read.
    pub slow_timeout: Duration,
}

impl ListenerSettings {
    /// The usual limits at this address.
    pub fn at(listen: SocketAddr) -> ListenerSettings {
        ListenerSettings {
            listen,
            tls: None,
            connections_max: 16_384,
            connections_per_address_max: 16_384,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(900),
            slow_timeout: Duration::from_secs(30),
        }
    }
}

/// Connections the kernel holds for us while we accept; it cuts this to its own limit.
const BACKLOG: i32 = 4096;

/// How a connection came to its end: a label of `ringfence_ingest_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Close {
    /// The gateway ended it.
    Ended,
    /// The service stops.
    Stopped,
    Idle,
    HandshakeTimeout,
    SlowSender,
    SlowReader,
    Unauthorised,
    BadHello,
    Tls,
    TooManyConnections,
    TooManyFromAddress,
    TooManyNames,
    /// Nothing told where the next record starts.
    FramingLost,
    /// The network failed.
    Broken,
}

impl Close {
    pub const ALL: &'static [Close] = &[
        Close::Ended,
        Close::Stopped,
        Close::Idle,
        Close::HandshakeTimeout,
        Close::SlowSender,
        Close::SlowReader,
        Close::Unauthorised,
        Close::BadHello,
        Close::Tls,
        Close::TooManyConnections,
        Close::TooManyFromAddress,
        Close::TooManyNames,
        Close::FramingLost,
        Close::Broken,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Close::Ended => "ended",
            Close::Stopped => "stopped",
            Close::Idle => "idle",
            Close::HandshakeTimeout => "handshake_timeout",
            Close::SlowSender => "slow_sender",
            Close::SlowReader => "slow_reader",
            Close::Unauthorised => "unauthorised",
            Close::BadHello => "bad_hello",
            Close::Tls => "tls",
            Close::TooManyConnections => "too_many_connections",
            Close::TooManyFromAddress => "too_many_from_address",
            Close::TooManyNames => "too_many_names",
            Close::FramingLost => "framing_lost",
            Close::Broken => "broken",
        }
    }
}

/// A bound feed.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    settings: ListenerSettings,
    feed: Arc<Feed>,
    /// A permit a connection.
    permits: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    open: Mutex<HashMap<IpAddr, u32>>,
}

/// The place of one connection; given back when it drops, also by a panic.
struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
    feed: Arc<Feed>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(n) = open.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                open.remove(&self.address);
            }
        }
        self.feed.counters.connections.decrement(1.0);
    }
}

impl Listener {
    pub fn bind(settings: ListenerSettings, feed: Arc<Feed>) -> Result<Listener, String> {
        let name = &feed.counters.name;
        let tls =
            settings.tls.as_ref().map(tls::acceptor).transpose().map_err(|e| format!("listener `{name}`: {e}"))?;
        let socket = bind(settings.listen)
            .map_err(|e| format!("cannot bind listener `{name}` to {}: {}", settings.listen, plain(&e)))?;
        let permits = Arc::new(Semaphore::new(settings.connections_max as usize));
        Ok(Listener { socket, tls, settings, feed, permits, addresses: Arc::default() })
    }

    /// Where it listens: the port that was given where the settings say 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop` turns true, then waits for its connections to finish what they have read.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, stop.clone()),
                Err(e) => {
                    if let Some(held_back) = self.feed.problems.next(1) {
                        let feed = &self.feed.counters.name;
                        tracing::error!(feed, error = %e, held_back, "cannot accept a connection");
                    }
                    // Out of descriptors, most likely: some time for others to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.socket);
        // All permits back: every connection has ended.
        self.permits.acquire_many(self.settings.connections_max).await.map(drop).unwrap_or_default();
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, stop: watch::Receiver<bool>) {
        self.feed.counters.accepted.increment(1);
        let place = match self.place(peer.ip()) {
            Ok(place) => place,
            Err(close) => {
                self.feed.closed(close, peer);
                return;
            }
        };
        let (feed, tls) = (Arc::clone(&self.feed), self.tls.clone());
        let settings = self.settings.clone();
        tokio::spawn(async move {
            let place = place;
            let close = match tls {
                None => {
                    set_options(&stream);
                    connection::serve(stream, peer, &feed, &settings, stop).await
                }
                Some(tls) => over_tls(tls, stream, peer, &feed, &settings, stop).await,
            };
            feed.closed(close, peer);
            drop(place);
        });
    }

    fn place(&self, address: IpAddr) -> Result<Place, Close> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Close::TooManyConnections)?;
        let mut open = self.addresses.open.lock().unwrap_or_else(|e| e.into_inner());
        let n = open.entry(address).or_default();
        if *n >= self.settings.connections_per_address_max {
            return Err(Close::TooManyFromAddress);
        }
        *n += 1;
        drop(open);
        self.feed.counters.connections.increment(1.0);
        let (addresses, feed) = (Arc::clone(&self.addresses), Arc::clone(&self.feed));
        Ok(Place { addresses, address, feed, _permit: permit })
    }
}

async fn over_tls(
    tls: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    feed: &Arc<Feed>,
    settings: &ListenerSettings,
    stop: watch::Receiver<bool>,
) -> Close {
    set_options(&stream);
    match timeout(settings.handshake_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection::serve(stream, peer, feed, settings, stop).await,
        Ok(Err(e)) => {
            tracing::debug!(feed = feed.counters.name, %peer, error = %e, "no TLS with the gateway");
            Close::Tls
        }
        Err(_) => Close::HandshakeTimeout,
    }
}

/// Replies go out at once, and a peer that is gone without a word is noticed. A socket that refuses either still works.
fn set_options(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap_or_default();
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    SockRef::from(stream).set_tcp_keepalive(&keepalive).unwrap_or_default();
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart need not wait for the last run's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The error's own words without the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
