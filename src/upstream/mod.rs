//! Alerts of other programs: what an Alertmanager, a Prometheus or a sender of PagerDuty events posts becomes a violation
//! in the inbox of the incident book, and its end a closing, as if a rule of ours had found it.
//!
//! A post is answered when that is durable. What is sent again, as all of them do for as long as something lasts, changes
//! nothing: an alert is known by its labels, and one time that it fires by when it began. It speaks no HTTP itself.

pub mod alertmanager;
mod heard;
pub mod pagerduty;
#[cfg(any(test, feature = "fuzzing"))]
pub mod property;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::heard::{Heard, Parsed};
use crate::clock::Timestamp;
use crate::limits::{UPSTREAM_POSTS_MAX, UPSTREAM_TURN_MS};
use crate::notify::Secret;
use crate::store::{Change, Closing, Key, Store, StoreError, Violation};

/// What rules of receivers are called: `upstream:NAME`.
pub const RULE_PREFIX: &str = "upstream:";
/// An alert that was over and comes again as if it had never been is a copy under way until then; later it is back.
const ECHO_MS: i64 = 5 * 60_000;
/// What goes on is noted once a day, so that nobody takes it for over.
const DAY_MS: i64 = 86_400_000;

/// `[receiver.NAME]`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    /// Whose alerts these are.
    pub customer: String,
    pub token: Secret,
    /// Values of the label `severity` that mean critical, in small letters; all others are a warning.
    pub critical: Vec<String>,
    /// Labels that do not tell alerts apart: which of several equal senders it was.
    pub ignored_labels: Vec<String>,
}

impl Settings {
    /// The id of its rule.
    pub fn rule(&self) -> String {
        format!("{RULE_PREFIX}{}", self.name)
    }

    fn is_critical(&self, severity: Option<&str>) -> bool {
        severity.is_some_and(|word| self.critical.iter().any(|known| known.eq_ignore_ascii_case(word.trim())))
    }
}

/// Why something was not taken: whoever sent it comes again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("too many posts at once: come again")]
    Busy,
    #[error("it cannot be stored now: come again")]
    Store(#[from] StoreError),
}

/// What came in since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Alerts and ends of alerts that were new.
    pub taken: u64,
    /// Posts without a token that is known.
    pub strangers: u64,
    /// Posts that had to come again.
    pub put_off: u64,
}

/// All that take alerts of others.
#[derive(Debug)]
pub struct Receivers {
    all: Vec<Arc<Receiver>>,
    places: Arc<Semaphore>,
    /// Of those who have not said yet who they are.
    strange_places: Arc<Semaphore>,
    taken: AtomicU64,
    strangers: AtomicU64,
    put_off: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub struct Receiver {
    settings: Settings,
    rule: String,
    /// Of the token: what is compared takes as long whatever was sent.
    token: [u8; 32],
    store: Arc<Store>,
    turn: Arc<Semaphore>,
    /// What was recorded last may not be written yet.
    is_behind: AtomicBool,
}

/// One time that an alert fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Episode {
    start: i64,
    over: Option<Timestamp>,
}

impl Receivers {
    pub fn new(settings: &[Settings], store: &Arc<Store>) -> Receivers {
        let all = settings.iter().map(|settings| Arc::new(Receiver::new(settings.clone(), Arc::clone(store))));
        Receivers {
            all: all.collect(),
            places: Arc::new(Semaphore::new(UPSTREAM_POSTS_MAX)),
            strange_places: Arc::new(Semaphore::new(UPSTREAM_POSTS_MAX)),
            taken: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
        }
    }

    /// Whose token it is. A stranger is counted, and told of in the log ever more seldom.
    pub fn of_token(&self, token: Option<&str>, from: &str) -> Option<Arc<Receiver>> {
        let sent = token.map(digest);
        let found = self.all.iter().find(|receiver| Some(receiver.token) == sent).cloned();
        if found.is_none() {
            let n = self.strangers.fetch_add(1, Ordering::Relaxed) + 1;
            if n.is_power_of_two() {
                tracing::warn!(from, n, "an alert was posted without a token that a receiver knows");
            }
        }
        found
    }

    /// A place for a post, for as long as it is read and worked on.
    pub fn place(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| self.put_off(Trouble::Busy))
    }

    /// The same for a post whose sender is known only by what it holds: strangers keep nobody out.
    pub fn strange_place(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        Arc::clone(&self.strange_places).try_acquire_owned().map_err(|_| self.put_off(Trouble::Busy))
    }

    /// Makes durable what a receiver heard, in the order of the posts. Whatever went wrong passes.
    pub async fn take(&self, receiver: Arc<Receiver>, heard: Vec<Heard>, now: Timestamp) -> Result<(), Trouble> {
        let wait = Duration::from_millis(UPSTREAM_TURN_MS);
        let turn = tokio::time::timeout(wait, Arc::clone(&receiver.turn).acquire_owned()).await;
        let Some(turn) = turn.ok().and_then(Result::ok) else { return Err(self.put_off(Trouble::Busy)) };
        let work = move || {
            let taken = receiver.take(&heard, now);
            drop(turn);
            taken
        };
        let taken = tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed));
        let n = taken.map_err(|why| self.put_off(Trouble::Store(why)))?;
        self.taken.fetch_add(n as u64, Ordering::Relaxed);
        Ok(())
    }

    pub fn counts(&self) -> UpstreamCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        UpstreamCounts { taken: read(&self.taken), strangers: read(&self.strangers), put_off: read(&self.put_off) }
    }

    fn put_off(&self, why: Trouble) -> Trouble {
        let n = self.put_off.fetch_add(1, Ordering::Relaxed) + 1;
        if n.is_power_of_two() {
            tracing::warn!(%why, n, "alerts of others were not taken, and have to come again");
        }
        why
    }
}

impl Receiver {
    fn new(settings: Settings, store: Arc<Store>) -> Receiver {
        let (rule, token) = (settings.rule(), digest(&settings.token.0));
        let turn = Arc::new(Semaphore::new(1));
        Receiver { settings, rule, token, store, turn, is_behind: AtomicBool::new(false) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How much of it was new. One at a time; blocks for an fsync or two.
    fn take(&self, heard: &[Heard], now: Timestamp) -> Result<usize, StoreError> {
        // What is asked of the store below must be all of what came before.
        if self.is_behind.load(Ordering::Relaxed) {
            self.store.flush()?;
            self.is_behind.store(false, Ordering::Relaxed);
        }
        let mut changes = Vec::new();
        let mut planned: HashMap<&str, Option<Episode>> = HashMap::new();
        for alert in heard {
            let known = match planned.get(alert.fingerprint.as_str()) {
                Some(known) => *known,
                None => self.last_episode(&alert.fingerprint)?,
            };
            let next = match alert.ended {
                None => self.fire(alert, known, now, &mut changes)?,
                Some(ended) => self.end(alert, ended, known, now, &mut changes),
            };
            planned.insert(&alert.fingerprint, next);
        }
        if changes.is_empty() {
            return Ok(0);
        }
        let receipt = self.store.record(changes).map_err(|refused| refused.why)?;
        let written = receipt.wait().inspect_err(|why| {
            self.is_behind.store(matches!(why, StoreError::NotYet(_)), Ordering::Relaxed);
        })?;
        Ok(written.iter().filter(|written| matches!(written, crate::store::Written::Added(_))).count())
    }

    /// An alert fires, or fires still.
    fn fire(
        &self,
        alert: &Heard,
        known: Option<Episode>,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<Option<Episode>, StoreError> {
        let told = alert.starts.map(|at| at.0);
        let is_echo = |over: Timestamp| told.is_some() && now.0.saturating_sub(over.0) < ECHO_MS;
        let start = match (known, told) {
            (None, told) => told.unwrap_or(now.0),
            (Some(last), Some(told)) if told > last.start => told,
            (Some(Episode { start, over: None }), _) => start,
            (Some(Episode { over: Some(over), .. }), _) if is_echo(over) => return Ok(known),
            (Some(_), _) => now.0,
        };
        let is_new = known.is_none_or(|last| last.start != start);
        // Its end may have come before it.
        let over = if is_new { self.store.closed_at(&self.closing_id(&alert.fingerprint, start))? } else { None };
        let start = match over {
            Some(over) if is_echo(over) => return Ok(Some(Episode { start, over: Some(over) })),
            Some(_) => now.0,
            None => start,
        };
        changes.push(Change::Violation(self.violation(alert, start, now)));
        Ok(Some(Episode { start, over: None }))
    }

    /// An alert is over.
    fn end(
        &self,
        alert: &Heard,
        ended: Timestamp,
        known: Option<Episode>,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Option<Episode> {
        let told = alert.starts.map(|at| at.0);
        let mut close = |start: i64| {
            let over = ended.min(now).max(Timestamp(start.min(now.0)));
            changes.push(Change::Closed(self.closing(alert, start, over)));
            Some(Episode { start, over: Some(over) })
        };
        match (known, told) {
            // Nobody heard of it; should its beginning come behind its end, it is over already.
            (None, Some(told)) => close(told),
            (None, None) => None,
            (Some(last), Some(told)) if told > last.start => {
                if last.over.is_none() {
                    close(last.start);
                }
                close(told)
            }
            // The end of an earlier time.
            (Some(last), Some(told)) if told < last.start && ended.0 < last.start => known,
            (Some(Episode { start, over: None }), _) => close(start),
            (Some(_), _) => known,
        }
    }

    /// The last time that it fired.
    fn last_episode(&self, fingerprint: &str) -> Result<Option<Episode>, StoreError> {
        let prefix = self.prefix(fingerprint);
        let Some(id) = self.store.last_violation_of(&prefix)? else { return Ok(None) };
        let start = id.get(prefix.len() + 1..).and_then(|rest| rest.split('/').next()?.parse().ok());
        let Some(start) = start else { return Ok(None) };
        let over = self.store.closed_at(&self.closing_id(fingerprint, start))?;
        Ok(Some(Episode { start, over }))
    }

    fn prefix(&self, fingerprint: &str) -> String {
        format!("upstream/{}/{fingerprint}", self.settings.name)
    }

    /// Numbers are as wide as they ever get, so that ids are in the order of time.
    fn closing_id(&self, fingerprint: &str, start: i64) -> String {
        format!("{}/{start:015}/closed", self.prefix(fingerprint))
    }

    fn violation(&self, alert: &Heard, start: i64, now: Timestamp) -> Violation {
        let n_days = now.0.saturating_sub(start).max(0) / DAY_MS;
        let level = if alert.is_critical { "critical" } else { "warning" };
        let id = format!("{}/{start:015}/{level}", self.prefix(&alert.fingerprint));
        Violation {
            id: if n_days == 0 { id } else { format!("{id}/{n_days}") },
            // It stands in no journal.
            position: 0,
            time: Timestamp(start).plus_ms(n_days * DAY_MS).min(now),
            customer: self.settings.customer.clone(),
            rule: self.rule.clone(),
            level: level.to_owned(),
            key: Key(alert.key.clone()),
            group: alert.group.clone().unwrap_or_else(|| self.rule.clone()),
            target: Key::default(),
            measure: "alert".to_owned(),
            value: 1.0,
            threshold: 1.0,
            window: "0s".to_owned(),
            call_id: String::new(),
            mode: "enforce".to_owned(),
            late: false,
            told_at: None,
            alert: None,
            what: alert.what.clone(),
        }
    }

    fn closing(&self, alert: &Heard, start: i64, over: Timestamp) -> Closing {
        Closing {
            id: self.closing_id(&alert.fingerprint, start),
            position: 0,
            time: over,
            customer: self.settings.customer.clone(),
            rule: self.rule.clone(),
            key: Key(alert.key.clone()),
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
