//! Episodes as alerts of an Alertmanager, API v2.
//!
//! What is told is a state, not a stream of messages: a book of alerts, each firing or resolved, and whether the other
//! side knows. So a long outage costs no memory beyond the book, nothing overtakes anything, and whoever was told of a
//! start is told of the end. The engine's side only edits the book; one task posts what changed, and every firing
//! alert again each minute. Where there is a store, what fires is on record before it is told, until its end was taken:
//! so the end is told by the next process, where this one does not live to do it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
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
use crate::store::{Change, Firing, Store, StoreError};

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
    starts: Timestamp,
    annotations: Map<String, Value>,
    /// The wall clock at which it was over.
    ended: Option<Timestamp>,
    /// Alertmanager has heard that it fires.
    told_firing: bool,
    /// That it fires stands in the store.
    on_record: bool,
    /// The process before this one told it, and nobody said yet whether it still fires.
    is_doubtful: bool,
    /// There is something it has not heard.
    dirty: bool,
    changed: Instant,
}

/// One Alertmanager and what it is to know.
#[derive(Debug)]
pub(super) struct Alertmanager {
    /// The address it is reached at: whose record it is.
    endpoint: String,
    book: Mutex<Book>,
    store: OnceLock<Arc<Store>>,
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
        let alertmanager = Arc::new(Alertmanager::new(endpoint.url.to_string(), metrics));
        let worker = tokio::spawn(Arc::clone(&alertmanager).tell(poster));
        Ok((alertmanager, worker))
    }

    fn new(endpoint: String, metrics: Arc<ChannelMetrics>) -> Alertmanager {
        Alertmanager { endpoint, book: Mutex::default(), store: OnceLock::new(), wake: Notify::new(), metrics }
    }

    /// Keeps the record from now on, and takes over what the last process told: of the `found`, what is this endpoint's.
    pub(super) fn go_on(&self, store: Arc<Store>, found: &[Firing]) {
        let mut book = self.lock();
        for firing in found.iter().filter(|firing| firing.endpoint == self.endpoint) {
            let Some(severity) = Severity::ALL.iter().find(|level| level.as_str() == firing.level) else { continue };
            let id = Id { rule: firing.rule.clone(), customer: firing.customer.clone(), key: firing.key.clone() };
            let annotations = serde_json::from_str(&firing.facts).unwrap_or_default();
            let alert = Alert { is_doubtful: true, on_record: true, ..Alert::new(firing.starts, annotations) };
            book.alerts.insert((id, *severity), Alert { told_firing: true, dirty: false, ..alert });
        }
        drop(book);
        // Once, at the start.
        self.store.set(store).unwrap_or_default();
    }

    /// Everything that goes on has been said again: what was told before and was not is over.
    pub(super) fn settle(&self) {
        let mut book = self.lock();
        let doubtful: Vec<_> = book.alerts.iter().filter(|(_, a)| a.is_doubtful).map(|(at, _)| at.clone()).collect();
        doubtful.iter().for_each(|(id, severity)| book.end(id, *severity));
        drop(book);
        self.wake.notify_one();
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The level begins to hold for the key. A critical one ends the warning it grew from.
    pub(super) fn fire(&self, id: Id, severity: Severity, facts: Facts) {
        let mut annotations = Map::new();
        annotations.insert("summary".into(), json!(facts.summary));
        annotations.extend(facts.annotations.into_iter().map(|(name, text)| (name.to_owned(), json!(text))));
        let mut book = self.lock();
        if severity == Severity::Critical {
            book.end(&id, Severity::Warning);
        }
        let known = book.alerts.get(&(id.clone(), severity)).map(|alert| alert.on_record);
        if book.alerts.len() >= ALERTS_MAX && known.is_none() {
            self.metrics.dropped.increment(1);
        } else {
            let alert = Alert { on_record: known.unwrap_or(false), ..Alert::new(facts.starts, annotations) };
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
            self.put_on_record(&told).await;
            let body = Value::Array(told.iter().map(|t| t.body.clone()).collect()).to_string();
            match poster.post(Bytes::from(body), HeaderMap::new()).await {
                Ok(()) => {
                    backoff.reset();
                    self.metrics.delivered.increment(told.len() as u64);
                    self.heard(&told);
                }
                Err(Failure::Never(why)) => {
                    tracing::error!(%why, n_alerts = told.len(), "alertmanager refused alerts");
                    self.metrics.failed.increment(told.len() as u64);
                    self.heard(&told);
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

impl Alertmanager {
    /// Whatever is told to fire is on record first. A store that is in trouble keeps nobody from being told: it is tried
    /// again with what is told next.
    async fn put_on_record(&self, told: &[Told]) {
        let Some(store) = self.store.get() else { return };
        let is_new = |t: &&Told| !t.as_ended && !t.on_record;
        let changes: Vec<Change> = told.iter().filter(is_new).map(|t| Change::Firing(self.firing(t))).collect();
        if changes.is_empty() || store.health().failing.is_some() {
            return;
        }
        let store = Arc::clone(store);
        let write = move || -> Result<(), StoreError> {
            store.record(changes).map_err(|refused| refused.why)?.wait().map(drop)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => self.lock().put_on_record(told),
            Ok(Err(StoreError::Closed)) | Err(_) => {}
            Ok(Err(why)) => tracing::warn!(%why, "what an alertmanager is told is not on record yet"),
        }
    }

    /// What it took the end of is off the record: nobody waits for that, since an end that is told twice is no harm.
    fn heard(&self, told: &[Told]) {
        let ended = self.lock().heard(told);
        let Some(store) = self.store.get().filter(|_| !ended.is_empty()) else { return };
        let changes = ended.into_iter().map(|t| Change::FiringEnded(self.firing(t))).collect();
        // Where it is not taken, the next process tells the end once more.
        drop(store.record(changes));
    }

    fn firing(&self, told: &Told) -> Firing {
        let (id, severity) = &told.at;
        Firing {
            endpoint: self.endpoint.clone(),
            rule: id.rule.clone(),
            customer: id.customer.clone(),
            key: id.key.clone(),
            level: severity.as_str().to_owned(),
            starts: told.starts,
            facts: told.body.get("annotations").map(Value::to_string).unwrap_or_default(),
        }
    }
}

/// One alert of a POST, and which state of it was told.
#[derive(Debug)]
struct Told {
    at: (Id, Severity),
    starts: Timestamp,
    as_ended: bool,
    on_record: bool,
    changed: Instant,
    body: Value,
}

impl Alert {
    /// One that fires, and of which nobody was told.
    fn new(starts: Timestamp, annotations: Map<String, Value>) -> Alert {
        Alert {
            starts,
            annotations,
            ended: None,
            told_firing: false,
            on_record: false,
            is_doubtful: false,
            dirty: true,
            changed: Clock.monotonic(),
        }
    }
}

impl Book {
    fn end(&mut self, id: &Id, severity: Severity) {
        if let Some(alert) = self.alerts.get_mut(&(id.clone(), severity)).filter(|a| a.ended.is_none()) {
            alert.ended = Some(Clock.now());
            alert.is_doubtful = false;
            alert.dirty = true;
            alert.changed = Clock.monotonic();
        }
    }

    fn say_again(&mut self) {
        for alert in self.alerts.values_mut().filter(|a| !a.dirty && !a.is_doubtful) {
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
                let body = body(&at.0, at.1, (alert.starts, &alert.annotations), ended, now);
                let Alert { starts, on_record, changed, .. } = *alert;
                Told { at: at.clone(), starts, as_ended: ended.is_some(), on_record, changed, body }
            })
            .collect()
    }

    fn put_on_record(&mut self, told: &[Told]) {
        for t in told.iter().filter(|t| !t.as_ended) {
            if let Some(alert) = self.alerts.get_mut(&t.at) {
                alert.on_record = true;
            }
        }
    }

    /// Those of which the end is known now, and that are forgotten.
    fn heard<'t>(&mut self, told: &'t [Told]) -> Vec<&'t Told> {
        let mut ended = Vec::new();
        for t in told {
            let Some(alert) = self.alerts.get_mut(&t.at) else { continue };
            if alert.changed != t.changed && alert.ended.is_none() {
                // It fired anew meanwhile: that is still to be told.
                continue;
            }
            if t.as_ended {
                self.alerts.remove(&t.at);
                ended.push(t);
            } else {
                alert.told_firing = true;
                alert.dirty = alert.ended.is_some();
            }
        }
        ended
    }
}

fn body(
    id: &Id,
    severity: Severity,
    (starts, annotations): (Timestamp, &Map<String, Value>),
    ended: Option<Timestamp>,
    now: Timestamp,
) -> Value {
    // Alertmanager takes an end before the start for an error, and the gateway's clock may be ahead of ours.
    let starts = starts.min(now);
    let ends = ended.map_or_else(|| now.plus_ms(ENDS_AFTER_MS), |at| at.max(starts));
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
        Alertmanager::new("http://127.0.0.1:9093/".into(), metrics.channel("none"))
    }

    /// `severity firing|resolved` of everything that would be posted now, which then counts as heard.
    fn post(alertmanager: &Alertmanager) -> Vec<String> {
        let now = Clock.now();
        let told = alertmanager.lock().next_post(now);
        alertmanager.heard(&told);
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
        alertmanager.heard(&told);
        assert_eq!(post(&alertmanager), ["warning firing"]);
        assert_eq!(post(&alertmanager), [""; 0]);
        alertmanager.lock().say_again();
        assert_eq!(post(&alertmanager), ["warning firing"]);
    }

    #[test]
    fn labels_are_the_rule_the_customer_the_key_and_the_severity() {
        let alertmanager = alertmanager();
        let starts = Timestamp(1_767_225_600_000);
        let facts = Facts { starts, summary: "s".into(), annotations: vec![("window", "10m".into())] };
        alertmanager.fire(id(), Severity::Critical, facts);
        let body = alertmanager.lock().next_post(Timestamp(1_767_225_660_000)).remove(0).body;
        let expected = json!({
            "labels": { "alertname": "ips-wangiri", "customer": "acme", "key": "prefix(caller, 7)=+2235550*", "severity": "critical" },
            "annotations": { "summary": "s", "window": "10m" },
            "startsAt": "2026-01-01T00:00:00.000Z",
            "endsAt": "2026-01-01T00:06:00.000Z",
        });
        assert_eq!(body, expected);
    }

    /// One that keeps a record in this folder, as a process that begins has it.
    fn with_record(folder: &std::path::Path) -> (Alertmanager, Arc<Store>) {
        let store = Arc::new(Store::open(folder).unwrap().0);
        let alertmanager = alertmanager();
        alertmanager.go_on(Arc::clone(&store), &store.firing(0, 0).unwrap().rows);
        (alertmanager, store)
    }

    /// [`post`] as the task does it.
    async fn post_on_record(alertmanager: &Alertmanager) -> Vec<String> {
        let told = alertmanager.lock().next_post(Clock.now());
        alertmanager.put_on_record(&told).await;
        post(alertmanager)
    }

    #[tokio::test]
    async fn what_was_told_and_is_over_after_a_crash_is_resolved_and_what_goes_on_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let other = || Id { rule: "ips-other".into(), ..id() };
        let (alertmanager, store) = with_record(folder.path());
        alertmanager.fire(id(), Severity::Warning, Facts { starts: Timestamp(7_000), ..Facts::default() });
        alertmanager.fire(other(), Severity::Critical, Facts::default());
        assert_eq!(post_on_record(&alertmanager).await, ["critical firing", "warning firing"]);
        assert_eq!(store.firing(0, 0).unwrap().rows.len(), 2);
        // It ends, and the process with it before anybody is told.
        alertmanager.resolve(&id());
        drop((alertmanager, store));

        let (alertmanager, store) = with_record(folder.path());
        alertmanager.lock().say_again();
        assert_eq!(post(&alertmanager), [""; 0], "nobody knows yet what goes on");
        alertmanager.fire(other(), Severity::Critical, Facts::default());
        alertmanager.settle();
        let told = alertmanager.lock().next_post(Clock.now());
        assert_eq!(told[1].body["startsAt"], "1970-01-01T00:00:07.000Z");
        assert_eq!(post_on_record(&alertmanager).await, ["critical firing", "warning resolved"]);
        store.flush().unwrap();
        let left = store.firing(0, 0).unwrap().rows;
        assert_eq!(left.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>(), ["ips-other"]);
        alertmanager.resolve(&other());
        assert_eq!(post_on_record(&alertmanager).await, ["critical resolved"]);
        store.flush().unwrap();
        assert_eq!(store.firing(0, 0).unwrap().rows, []);
    }

    #[tokio::test]
    async fn an_end_that_was_not_taken_stays_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let (alertmanager, store) = with_record(folder.path());
        alertmanager.fire(id(), Severity::Warning, Facts::default());
        post_on_record(&alertmanager).await;
        alertmanager.resolve(&id());
        let told = alertmanager.lock().next_post(Clock.now());
        alertmanager.put_on_record(&told).await;
        store.flush().unwrap();
        assert_eq!(store.firing(0, 0).unwrap().rows.len(), 1, "the post may never arrive");
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_keeps_nobody_from_being_told() {
        let folder = tempfile::tempdir().unwrap();
        let (alertmanager, store) = with_record(folder.path());
        store.close();
        alertmanager.fire(id(), Severity::Warning, Facts::default());
        assert_eq!(post_on_record(&alertmanager).await, ["warning firing"]);
        alertmanager.resolve(&id());
        assert_eq!(post_on_record(&alertmanager).await, ["warning resolved"]);
    }
}
