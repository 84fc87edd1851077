//! A feed's door for records that are posted over HTTP: who may, how many at once, and one record's way to the engine.
//!
//! A post is answered when its event is in the journal, as an `ack` is: the gateway then may forget it. It never
//! looks at HTTP itself; the portal does.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::clocks::FeedClock;
use super::feed::{Decoders, Feed, Job};
use super::listener::Close;
use super::reply::Mode;
use crate::clock::Clock;
use crate::engine::{Judged, Lane};
use crate::event::{Batch, Flags, GatewayId, Text};
use crate::ingest::Decoder;
use crate::ingest::json_cdr::{self, Leg, leg_of_query};
use crate::limits::ID_BYTES_MAX;

/// Posts of one feed that are read or judged at once; more are told to come again. FreeSWITCH posts a channel at a time.
const POSTS_MAX: u32 = 64;

/// A feed that takes posts. One a feed and service.
pub struct Door {
    feed: Arc<Feed>,
    /// A body must have come within this.
    pub body_timeout: Duration,
    permits: Arc<Semaphore>,
    lane: Mutex<Lane>,
    /// Opened by the first post: a feed that nobody posts to holds no time back.
    clock: OnceLock<Arc<FeedClock>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("feed", &self.feed.counters.name).finish_non_exhaustive()
    }
}

/// Where a post comes from, as far as HTTP tells.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub peer: std::net::SocketAddr,
    /// The connection is this machine's own, and nothing says that the request is passed on for somebody else.
    pub is_local: bool,
    /// The `Authorization` header.
    pub authorization: Option<&'a [u8]>,
}

/// Whoever posts, let in: holds one of the places for posts.
#[derive(Debug)]
pub struct Guest {
    gateway: GatewayId,
    _permit: OwnedSemaphorePermit,
}

/// Why a post was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Credentials are missing or wrong.
    Unauthorised,
    /// The feed has no token, and this is another machine.
    Stranger,
    /// All places are taken, or the service stops: come again.
    Busy,
    /// The body is not one record that gives an event, for this reason.
    Bad(&'static str),
    /// What was posted cannot be stored.
    Full,
    /// The engine did not give it back: it must have panicked.
    Lost,
}

impl Door {
    pub fn new(feed: Arc<Feed>, body_timeout: Duration) -> Door {
        let permits = Arc::new(Semaphore::new(POSTS_MAX as usize));
        let lane = Mutex::new(feed.engine.lane(feed.lane_options(Mode::None)));
        Door { feed, body_timeout, permits, lane, clock: OnceLock::new() }
    }

    pub fn name(&self) -> &str {
        &self.feed.counters.name
    }

    /// Waits until `stop` turns true, and then for the posts under way; others find no place any more.
    pub async fn close(self: Arc<Door>, mut stop: watch::Receiver<bool>) {
        // A sender that is gone stops everything too.
        stop.wait_for(|stop| *stop).await.map(drop).unwrap_or_default();
        self.permits.acquire_many(POSTS_MAX).await.map(|permits| permits.forget()).unwrap_or_default();
    }

    /// Lets in whoever may post, before any of the body is read.
    pub fn admit(&self, origin: Origin<'_>) -> Result<Guest, Refusal> {
        let gateway = match self.gateway(origin) {
            Ok(gateway) => gateway,
            Err(refusal) => {
                self.feed.closed(Close::Unauthorised, origin.peer);
                return Err(refusal);
            }
        };
        let Some(gateway) = self.feed.names.gateway(&gateway) else {
            self.feed.closed(Close::TooManyNames, origin.peer);
            return Err(Refusal::Unauthorised);
        };
        if !self.feed.durable.has_room() {
            return Err(Refusal::Full);
        }
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Ok(Guest { gateway, _permit: permit }),
            Err(_) => {
                self.feed.closed(Close::TooManyConnections, origin.peer);
                Err(Refusal::Busy)
            }
        }
    }

    /// A body that did not come in time.
    pub fn gave_up(&self, origin: Origin<'_>) {
        self.feed.closed(Close::SlowSender, origin.peer);
    }

    /// Whose records they are. The user is the feed or, where its token allows, a gateway.
    fn gateway(&self, origin: Origin<'_>) -> Result<String, Refusal> {
        let own = &self.feed.gateway;
        if self.feed.tokens.is_empty() {
            return if origin.is_local { Ok(own.clone()) } else { Err(Refusal::Stranger) };
        }
        let shown = origin.authorization.and_then(credentials).ok_or(Refusal::Unauthorised)?;
        let (user, token) = shown.split_once(':').ok_or(Refusal::Unauthorised)?;
        let gateway = if user.is_empty() || user == self.name() { own } else { user };
        if gateway.len() > ID_BYTES_MAX || !self.feed.tokens.iter().any(|t| t.fits(token, gateway)) {
            return Err(Refusal::Unauthorised);
        }
        Ok(gateway.to_owned())
    }

    /// Hands the record of a body to the engine; returns when it is in the journal. What the address says of its leg, in `query`,
    /// goes before what the record says.
    pub async fn post(&self, guest: Guest, body: Vec<u8>, query: &str) -> Result<(), Refusal> {
        let read_at = Clock.monotonic();
        self.feed.counters.bytes.increment(body.len() as u64);
        let record = json_cdr::unwrap(body).map_err(|problem| {
            self.feed.reject_body();
            Refusal::Bad(problem)
        })?;
        let clock = Arc::clone(self.clock.get_or_init(|| Arc::new(self.feed.clocks.open(self.feed.delay_ms))));
        let arrival = Clock.now();
        clock.received(arrival);
        let mut decoder = Decoder::new(&self.feed.format, self.feed.context.get());
        decoder.greet(guest.gateway, false);
        let (done, finished) = oneshot::channel();
        let mut job = Box::new(Job {
            feed: Arc::clone(&self.feed),
            decoders: Arc::new(Decoders::new(decoder)),
            clock,
            account: None,
            mode: Mode::None,
            turn: None,
            ticket: self.lane.lock().unwrap_or_else(|e| e.into_inner()).ticket(),
            block: Some(record),
            batch: Batch::default(),
            read_at,
            arrival,
            overdue: None,
            highest_seq: 0,
            done,
        });
        job.decode();
        let verdict = only_event(&mut job.batch, leg_of_query(query));
        // Also of a record that gives no event: the lane's order needs every ticket.
        job.submit();
        verdict.map_err(Refusal::Bad)?;
        let Judged { record, is_outside, .. } = finished.await.map_err(|_| Refusal::Lost)?.judged;
        if is_outside {
            return Err(Refusal::Full);
        }
        // It is posted again, and known again, if it is not answered.
        let mut durable = self.feed.durable.clone();
        timeout(self.body_timeout, durable.reached(record)).await.map_err(|_| Refusal::Full)
    }
}

/// The batch has the event of one record and nothing else, or is emptied.
fn only_event(batch: &mut Batch, leg: Option<Leg>) -> Result<(), &'static str> {
    let problem = match (batch.rejects.first(), batch.events.len()) {
        (None, 1) => None,
        (Some(reject), _) => Some(reject.reason.as_str()),
        (None, 0) => Some("no record"),
        (None, _) => Some("more than one record"),
    };
    if let Some(problem) = problem {
        batch.events.clear();
        return Err(problem);
    }
    let (text, flags) = match leg {
        None => return Ok(()),
        Some(Leg::A) => (Text::ABSENT, Flags::default()),
        Some(Leg::B) => (batch.keep(b"b"), Flags::B_RECORD),
    };
    if let Some(event) = batch.events.first_mut() {
        event.leg = text;
        event.flags.clear(Flags::B_RECORD);
        event.flags.set(flags);
    }
    Ok(())
}

/// `user:password` of HTTP basic.
pub fn credentials(header: &[u8]) -> Option<String> {
    let (scheme, encoded) = header.trim_ascii().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    String::from_utf8(json_cdr::base64(encoded)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_basic_credentials_are_understood() {
        assert_eq!(credentials(b"Basic cGJ4OnMzY3JldA==").as_deref(), Some("pbx:s3cret"));
        assert_eq!(credentials(b"bAsIc  cGJ4Og==").as_deref(), Some("pbx:"));
        for header in ["", "Basic", "Basic *", "Bearer cGJ4Og==", "Basic /w=="] {
            assert_eq!(credentials(header.as_bytes()), None, "{header}");
        }
    }
}
