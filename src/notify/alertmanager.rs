//! Episodes as alerts of an Alertmanager, API v2.
//!
//! What is told is a state, not a stream of messages: a book of alerts, each firing or resolved, and whether the other
//! side knows. So a long outage costs no memory beyond the book, nothing overtakes anything, and whoever was told of a
//! start is told of the end. The engine's side only edits the book; one task posts what changed, and every firing
//! alert again each minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::http::{Backoff, Failure, Poster};
use crate::clock::{Clock, Timestamp};
use crate::metrics::ChannelMetrics;
use crate::outbound::Endpoint;
use crate::policy::Severity;

/// A firing alert that is not sent again within this is taken for over by Alertmanager.
const ENDS_AFTER_MS: i64 = 5 * 60_000;
const AGAIN_EVERY: Duration = Duration::from_secs(60);
/// Alerts of one POST.
const POST_ALERTS_MAX: usize = 500;
/// Alerts the book holds. A new one past it is dropped and counted; one that is known is always ended properly.
const ALERTS_MAX: usize = 100_000;

/// Identity of an alert: the labels Alertmanager sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub rule: String,
    pub customer: String,
    /// `caller=+46..,trunk=x`.
    pub key: String,
}

/// What a firing alert says besides its labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub starts: Timestamp,
    pub summary: String,
    pub annotations: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Alert {
    facts: Facts,
    /// The wall clock at which it was over.
    ended: Option<Timestamp>,
    /// Alertmanager has heard that it fires.
    told_firing: bool,
    /// There is something it has not heard.
    dirty: bool,
    changed: Instant,
}

/// One Alertmanager and what it is to know.
#[derive(Debug)]
pub(super) struct Alertmanager {
    book: Mutex<Book>,
    wake: Notify,
    metrics: Arc<ChannelMetrics>,
}

#[derive(Debug, Default)]
struct Book {
    alerts: BTreeMap<(Id, Severity), Alert>,
    closed: bool,
}

impl Alertmanager {
    pub(super) fn start(
        endpoint: Endpoint,
        metrics: Arc<ChannelMetrics>,
    ) -> Result<(Arc<Alertmanager>, JoinHandle<()>), String> {
        metrics.capacity.set(ALERTS_MAX as f64);
        let poster = Poster::new(&endpoint)?;
        let alertmanager = Arc::new(Alertmanager { book: Mutex::default(), wake: Notify::new(), metrics });
        let worker = tokio::spawn(Arc::clone(&alertmanager).tell(poster));
        Ok((alertmanager, worker))
    }

    /// The level begins to hold for the key. A critical one ends the warning it grew from.
    pub(super) fn fire(&self, id: Id, severity: Severity, facts: Facts) {
        let mut book = self.lock();
        if severity == Severity::Critical {
            book.end(&id, Severity::Warning);
        }
        if book.alerts.len() >= ALERTS_MAX && !book.alerts.contains_key(&(id.clone(), severity)) {
            self.metrics.dropped.increment(1);
        } else {
            let alert = Alert { facts, ended: None, told_firing: false, dirty: true, changed: Clock.monotonic() };
            book.alerts.insert((id, severity), alert);
        }
        self.metrics.depth.set(book.alerts.len() as f64);
        drop(book);
        self.wake.notify_one();
    }

    /// The key's episode is closed.
    pub(super) fn resolve(&self, id: &Id) {
        let mut book = self.lock();
        for severity in Severity::ALL {
            book.end(id, *severity);
        }
        drop(book);
        self.wake.notify_one();
    }

    /// Ends the task once everything has been told.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Age of the oldest change the other side has not heard of.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let book = self.lock();
        let oldest = book.alerts.values().filter(|a| a.dirty).map(|a| a.changed).min()?;
        Some(Clock.monotonic().saturating_duration_since(oldest))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn tell(self: Arc<Self>, poster: Poster) {
        let mut backoff = Backoff::default();
        let mut all_told_at = Clock.monotonic();
        loop {
            let again = all_told_at.elapsed() >= AGAIN_EVERY;
            if again {
                self.lock().say_again();
                all_told_at = Clock.monotonic();
            }
            let told = self.lock().next_post(Clock.now());
            if told.is_empty() {
                if self.lock().closed {
                    return;
                }
                let until_again = AGAIN_EVERY.saturating_sub(all_told_at.elapsed());
                // Either somebody woke us or a minute has gone by; both mean: look again.
                timeout(until_again, self.wake.notified()).await.unwrap_or_default();
                continue;
            }
            let body = Value::Array(told.iter().map(|t| t.body.clone()).collect()).to_string();
            match poster.post(Bytes::from(body), HeaderMap::new()).await {
                Ok(()) => {
                    backoff.reset();
                    self.metrics.delivered.increment(told.len() as u64);
                    self.lock().heard(&told);
                }
                Err(Failure::Never(why)) => {
                    tracing::error!(%why, n_alerts = told.len(), "alertmanager refused alerts");
                    self.metrics.failed.increment(told.len() as u64);
                    self.lock().heard(&told);
                }
                Err(Failure::Later(why)) => {
                    let wait = backoff.next();
                    self.metrics.retried.increment(1);
                    if backoff.worth_a_line() {
                        tracing::warn!(%why, "cannot reach alertmanager; trying again");
                    }
                    tokio::time::sleep(wait).await;
                }
            }
            self.metrics.depth.set(self.lock().alerts.len() as f64);
        }
    }
}

/// One alert of a POST, and which state of it was told.
#[derive(Debug)]
struct Told {
    at: (Id, Severity),
    as_ended: bool,
    changed: Instant,
    body: Value,
}

impl Book {
    fn end(&mut self, id: &Id, severity: Severity) {
        if let Some(alert) = self.alerts.get_mut(&(id.clone(), severity)).filter(|a| a.ended.is_none()) {
            alert.ended = Some(Clock.now());
            alert.dirty = true;
            alert.changed = Clock.monotonic();
        }
    }

    fn say_again(&mut self) {
        for alert in self.alerts.values_mut().filter(|a| !a.dirty) {
            alert.dirty = true;
            alert.changed = Clock.monotonic();
        }
    }

    /// What has changed, as it is to be told now. An alert that began and ended since is told of first as firing.
    fn next_post(&self, now: Timestamp) -> Vec<Told> {
        let dirty = self.alerts.iter().filter(|(_, a)| a.dirty).take(POST_ALERTS_MAX);
        dirty
            .map(|(at, alert)| {
                let ended = alert.ended.filter(|_| alert.told_firing);
                let body = body(&at.0, at.1, &alert.facts, ended, now);
                Told { at: at.clone(), as_ended: ended.is_some(), changed: alert.changed, body }
            })
            .collect()
    }

    fn heard(&mut self, told: &[Told]) {
        for t in told {
            let Some(alert) = self.alerts.get_mut(&t.at) else { continue };
            if alert.changed != t.changed && alert.ended.is_none() {
                // It fired anew meanwhile: that is still to be told.
                continue;
            }
            if t.as_ended {
                self.alerts.remove(&t.at);
            } else {
                alert.told_firing = true;
                alert.dirty = alert.ended.is_some();
            }
        }
    }
}

fn body(id: &Id, severity: Severity, facts: &Facts, ended: Option<Timestamp>, now: Timestamp) -> Value {
    // Alertmanager takes an end before the start for an error, and the gateway's clock may be ahead of ours.
    let starts = facts.starts.min(now);
    let ends = ended.map_or_else(|| now.plus_ms(ENDS_AFTER_MS), |at| at.max(starts));
    let mut annotations = Map::new();
    annotations.insert("summary".into(), json!(facts.summary));
    for (name, text) in &facts.annotations {
        annotations.insert((*name).into(), json!(text));
    }
    json!({
        "labels": {
            "alertname": id.rule,
            "customer": id.customer,
            "key": id.key,
            "severity": severity.as_str(),
        },
        "annotations": annotations,
        "startsAt": starts.to_string(),
        "endsAt": ends.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Id {
        Id { rule: "ips-wangiri".into(), customer: "acme".into(), key: "prefix(caller, 7)=+2235550*".into() }
    }

    fn alertmanager() -> Alertmanager {
        let metrics = crate::metrics::Metrics::new(&crate::metrics::Labels::default());
        Alertmanager { book: Mutex::default(), wake: Notify::new(), metrics: metrics.channel("none") }
    }

    /// `severity firing|resolved` of everything that would be posted now, which then counts as heard.
    fn post(alertmanager: &Alertmanager) -> Vec<String> {
        let now = Clock.now();
        let told = alertmanager.lock().next_post(now);
        alertmanager.lock().heard(&told);
        let show = |t: &Told| {
            let text =
                |a: &str, b: &str| t.body.get(a).and_then(|v| v.get(b)).and_then(Value::as_str).map(str::to_owned);
            let ends = t.body.get("endsAt").and_then(Value::as_str).unwrap_or_default().to_owned();
            let state = if ends > now.to_string() { "firing" } else { "resolved" };
            format!("{} {state}", text("labels", "severity").unwrap_or_default())
        };
        told.iter().map(show).collect()
    }

    #[test]
    fn an_escalation_resolves_the_warning_and_the_close_resolves_the_rest() {
        let alertmanager = alertmanager();
        alertmanager.fire(id(), Severity::Warning, Facts::default());
        assert_eq!(post(&alertmanager), ["warning firing"]);
        alertmanager.fire(id(), Severity::Critical, Facts::default());
        assert_eq!(post(&alertmanager), ["warning resolved", "critical firing"]);
        alertmanager.resolve(&id());
        assert_eq!(post(&alertmanager), ["critical resolved"]);
        assert_eq!(post(&alertmanager), [""; 0]);
        assert_eq!(alertmanager.lock().alerts.len(), 0);
    }

    #[test]
    fn a_short_episode_is_told_of_from_start_to_end() {
        let alertmanager = alertmanager();
        alertmanager.fire(id(), Severity::Warning, Facts::default());
        alertmanager.resolve(&id());
        assert_eq!(post(&alertmanager), ["warning firing"]);
        assert_eq!(post(&alertmanager), ["warning resolved"]);
    }

    #[test]
    fn firing_alerts_are_said_again_and_what_fires_while_a_post_is_under_way_is_not_forgotten() {
        let alertmanager = alertmanager();
        alertmanager.fire(id(), Severity::Warning, Facts::default());
        assert_eq!(post(&alertmanager), ["warning firing"]);
        alertmanager.resolve(&id());
        let told = alertmanager.lock().next_post(Clock.now());
        alertmanager.fire(id(), Severity::Warning, Facts::default());
        alertmanager.lock().heard(&told);
        assert_eq!(post(&alertmanager), ["warning firing"]);
        assert_eq!(post(&alertmanager), [""; 0]);
        alertmanager.lock().say_again();
        assert_eq!(post(&alertmanager), ["warning firing"]);
    }

    #[test]
    fn labels_are_the_rule_the_customer_the_key_and_the_severity() {
        let facts = Facts {
            starts: Timestamp(1_767_225_600_000),
            summary: "s".into(),
            annotations: vec![("window", "10m".into())],
        };
        let body = body(&id(), Severity::Critical, &facts, None, Timestamp(1_767_225_660_000));
        let expected = json!({
            "labels": { "alertname": "ips-wangiri", "customer": "acme", "key": "prefix(caller, 7)=+2235550*", "severity": "critical" },
            "annotations": { "summary": "s", "window": "10m" },
            "startsAt": "2026-01-01T00:00:00.000Z",
            "endsAt": "2026-01-01T00:06:00.000Z",
        });
        assert_eq!(body, expected);
    }
}
