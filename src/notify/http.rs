//! POST of JSON to somebody else's server, and what its answer means for a retry.
//!
//! Whoever is told here can be told twice: an alert is a state, and a violation has its id. So what was not answered is
//! sent again like what was not sent.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;

use crate::outbound::{Answer, Client, Endpoint, Request};

/// What to do about a POST.
#[derive(Debug)]
pub(super) enum Failure {
    /// The other side, or the way to it, is in trouble: try again.
    Later(String),
    /// It will not take this message, however often it comes.
    Never(String),
}

#[derive(Debug)]
pub(super) struct Poster {
    client: Client,
}

impl Poster {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Poster, String> {
        Ok(Poster { client: Client::new(endpoint)? })
    }

    pub(super) async fn post(&self, body: Bytes, headers: HeaderMap) -> Result<(), Failure> {
        let mut request = Request::post(self.client.url().clone(), "application/json", body);
        request.headers.extend(headers);
        match self.client.ask(request).await {
            Answer::Answered { status, head, .. } => judge(status, || self.client.said(status, &head, &[])),
            Answer::NotSent(why) | Answer::Unanswered(why) => Err(Failure::Later(why)),
        }
    }
}

fn judge(status: StatusCode, said: impl FnOnce() -> String) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let said = said();
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(if passing { Failure::Later(said) } else { Failure::Never(said) })
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
        let judge = |status, said: &str| judge(status, || said.to_owned());
        assert!(judge(StatusCode::OK, "").is_ok());
        assert!(matches!(judge(StatusCode::SERVICE_UNAVAILABLE, ""), Err(Failure::Later(_))));
        assert!(matches!(judge(StatusCode::TOO_MANY_REQUESTS, ""), Err(Failure::Later(_))));
        assert!(
            matches!(judge(StatusCode::BAD_REQUEST, "no labels"), Err(Failure::Never(m)) if m.contains("no labels"))
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
}
