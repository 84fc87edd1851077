//! Violations as JSON to a URL, one POST each, in order.
//!
//! A message that the other side cannot take now is tried again until it is too old; meanwhile those behind it wait in
//! a bounded queue that gives up its oldest. Each is marked with its id and, where the webhook has a secret, signed.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderMap;
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::WebhookSettings;
use super::http::{Backoff, Failure, Poster};
use super::queue::Queue;
use crate::clock::Clock;
use crate::metrics::ChannelMetrics;
use crate::outbound::sign;

/// Messages waiting for one web server.
const WAITING_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) queue: Arc<Queue<Bytes>>,
}

impl Webhook {
    pub(super) fn start(
        name: &str,
        settings: WebhookSettings,
        metrics: Arc<ChannelMetrics>,
    ) -> Result<(Webhook, JoinHandle<()>), String> {
        let poster = Poster::new(&settings.endpoint)?;
        let queue = Arc::new(Queue::new(WAITING_MAX, Arc::clone(&metrics)));
        let worker = tokio::spawn(deliver(name.to_owned(), Arc::clone(&queue), poster, settings, metrics));
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
    settings: WebhookSettings,
    metrics: Arc<ChannelMetrics>,
) {
    loop {
        let Some(entry) = queue.take(1).await.pop() else { return };
        let mut backoff = Backoff::default();
        loop {
            let headers = marks(&entry.item, &settings);
            match poster.post(entry.item.clone(), headers).await {
                Ok(()) => {
                    metrics.delivered.increment(1);
                    break;
                }
                Err(Failure::Later(why)) if entry.since.elapsed() < settings.age_max => {
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

/// Of one violation, at this moment.
fn marks(body: &[u8], settings: &WebhookSettings) -> HeaderMap {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, default)]
        id: Cow<'a, str>,
    }
    let id = serde_json::from_slice::<Line<'_>>(body).map(|line| line.id).unwrap_or_default();
    let mut headers = HeaderMap::new();
    sign(&mut headers, &id, Clock.now(), body, settings.secret.as_ref());
    headers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Labels, Metrics};
    use crate::outbound::Secret;
    use crate::outbound::scripted::{Scripted, Turn};

    #[tokio::test]
    async fn a_violation_carries_its_id_and_is_signed_anew_at_each_try() {
        let server =
            Scripted::start(vec![Turn::HangUp, Turn::answer("503 Busy", "", ""), Turn::answer("204 None", "", "")])
                .await;
        let settings = WebhookSettings {
            endpoint: server.endpoint("/hook"),
            age_max: Duration::from_secs(3600),
            secret: Some(Secret("s3cret".into())),
        };
        let metrics = Metrics::new(&Labels { channels: vec!["test".into()], ..Labels::default() });
        let (webhook, worker) = Webhook::start("test", settings, metrics.channel("test")).unwrap();
        webhook.push(br#"{"id":"7/ips-wangiri/critical","rule":"ips-wangiri"}"#);
        webhook.queue.close();
        worker.await.unwrap();
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert!(request.contains("x-ringfence-delivery: 7/ips-wangiri/critical\r\n"), "{request}");
            assert!(request.contains("x-ringfence-signature: sha256="), "{request}");
            assert!(request.contains("x-ringfence-timestamp: "), "{request}");
        }
    }
}
