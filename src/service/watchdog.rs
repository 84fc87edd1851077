//! Who watches those who tell people: dead letters, incidents that nothing moves any more, and the heartbeat by which
//! somebody outside hears that all of this lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::delivery::Outbox;
use crate::desk::Desk;
use crate::incident::incident_name;
use crate::journal::Journal;
use crate::notify::Notifier;
use crate::outbound::{Answer, Client, Endpoint, Request};
use crate::store::Store;

/// `[heartbeat]`: an address that is asked for as long as everything goes on.
#[derive(Clone, Debug)]
pub struct Settings {
    pub endpoint: Endpoint,
    pub every: Duration,
}

/// Names of the alerts.
const DEAD_LETTERS: &str = "ringfence:dead-letters";
const NOTHING_DUE: &str = "ringfence:incident-without-next-step";
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A round of the outbox takes milliseconds, and half a minute where a disk is very slow.
const ROUND_MS_MAX: i64 = 30_000;

/// What is watched.
pub(super) struct Watchdog {
    pub(super) outbox: Outbox,
    pub(super) desk: Desk,
    pub(super) store: Arc<Store>,
    pub(super) journal: Journal,
    pub(super) notifier: Arc<Notifier>,
}

impl Watchdog {
    /// Tells of trouble where it begins and where it ends, until `stopping` turns true.
    pub(super) async fn watch(self: Arc<Watchdog>, mut stopping: watch::Receiver<bool>) {
        let mut told = [None, None];
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            for ((name, trouble), told) in [self.dead_letters(), self.nothing_due()].into_iter().zip(&mut told) {
                if trouble.is_some() == told.is_some() && trouble.as_ref() == told.as_ref().map(|(_, why)| why) {
                    continue;
                }
                let since = told.as_ref().map_or_else(|| Clock.now(), |(since, _)| *since);
                match &trouble {
                    Some(why) => tracing::error!(why, "{name}"),
                    None => tracing::info!("{name}: over"),
                }
                self.notifier.alarm(name, trouble.as_deref().map(|why| (since, why)));
                *told = trouble.map(|why| (since, why));
            }
        }
    }

    fn dead_letters(&self) -> (&'static str, Option<String>) {
        let n = self.outbox.dead_letters();
        let why = || format!("{n} deliveries of the last day were given up: `ringfence delivery list --dead` has them");
        (DEAD_LETTERS, (n > 0).then(why))
    }

    fn nothing_due(&self) -> (&'static str, Option<String>) {
        let still = self.desk.counts().still;
        let names: Vec<String> = still.iter().map(|id| incident_name(*id)).collect();
        let why = || format!("nobody is asked and nothing is due any more: {}", names.join(", "));
        (NOTHING_DUE, (!names.is_empty()).then(why))
    }

    /// Everything that must go on does.
    fn is_well(&self, now: Timestamp) -> Result<(), &'static str> {
        if now.0.saturating_sub(self.outbox.last_round().0) > ROUND_MS_MAX {
            return Err("the outbox stands still");
        }
        if self.store.health().failing.is_some() {
            return Err("the store cannot be written");
        }
        if self.journal.stuck().is_some() {
            return Err("the journal cannot be written");
        }
        Ok(())
    }

    /// Asks for the address as long as everything is well: whoever listens there tells people when it stops.
    pub(super) async fn beat(self: Arc<Watchdog>, settings: Settings, mut stopping: watch::Receiver<bool>) {
        let client = match Client::new(&settings.endpoint) {
            Ok(client) => client,
            Err(error) => return tracing::error!(error, "no heartbeat"),
        };
        let mut was_heard = true;
        let mut every = tokio::time::interval(settings.every);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            if let Err(why) = self.is_well(Clock.now()) {
                tracing::error!(why, "no heartbeat: something stands still");
                continue;
            }
            let answer = client.ask(Request::get(client.url().clone())).await;
            let is_heard = matches!(&answer, Answer::Answered { status, .. } if status.is_success());
            match (&answer, was_heard && !is_heard) {
                (Answer::Answered { status, .. }, true) => tracing::warn!(%status, "the heartbeat is refused"),
                (Answer::NotSent(why) | Answer::Unanswered(why), true) => {
                    tracing::warn!(why, "the heartbeat is not heard")
                }
                _ => {}
            }
            was_heard = is_heard;
        }
    }
}
