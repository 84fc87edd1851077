//! Violations as JSON to a URL, one POST each, in order.
//!
//! A message that the other side cannot take now is tried again until it is too old; meanwhile those behind it wait in
//! a bounded queue that gives up its oldest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::http::{Backoff, Endpoint, Failure, Poster};
use super::queue::Queue;
use crate::metrics::ChannelMetrics;

/// Messages waiting for one web server.
const WAITING_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) queue: Arc<Queue<Bytes>>,
}

impl Webhook {
    /// `age_max`: how long one message is tried.
    pub(super) fn start(
        name: &str,
        endpoint: Endpoint,
        age_max: Duration,
        metrics: Arc<ChannelMetrics>,
    ) -> Result<(Webhook, JoinHandle<()>), String> {
        let poster = Poster::new(endpoint)?;
        let queue = Arc::new(Queue::new(WAITING_MAX, Arc::clone(&metrics)));
        let worker = tokio::spawn(deliver(name.to_owned(), Arc::clone(&queue), poster, age_max, metrics));
        Ok((Webhook { queue }, worker))
    }

    pub(super) fn push(&self, body: &[u8]) {
        self.queue.push(Bytes::copy_from_slice(body), 1, 1);
    }
}

async fn deliver(
    name: String,
    queue: Arc<Queue<Bytes>>,
    poster: Poster,
    age_max: Duration,
    metrics: Arc<ChannelMetrics>,
) {
    loop {
        let Some(entry) = queue.take(1).await.pop() else { return };
        let mut backoff = Backoff::default();
        loop {
            match poster.post(entry.item.clone()).await {
                Ok(()) => {
                    metrics.delivered.increment(1);
                    break;
                }
                Err(Failure::Later(why)) if entry.since.elapsed() < age_max => {
                    let wait = backoff.next();
                    metrics.retried.increment(1);
                    if backoff.worth_a_line() {
                        tracing::warn!(webhook = name, %why, "cannot deliver; trying again");
                    }
                    tokio::time::sleep(wait).await;
                }
                Err(Failure::Later(why) | Failure::Never(why)) => {
                    tracing::error!(webhook = name, %why, "message given up");
                    metrics.failed.increment(1);
                    break;
                }
            }
        }
    }
}
