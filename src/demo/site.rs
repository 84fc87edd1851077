//! The service the demo watches: the real one, with the demo's rules, on free ports, in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, Result, bail};

use super::script::OFFICE_CLOSES_MS;
use super::story::Sighting;
use crate::clock::Timestamp;
use crate::config::{Config, CustomerSource, FeedSettings};
use crate::desk::Desk;
use crate::engine::output;
use crate::findings::Drafter;
use crate::gateway::listener::ListenerSettings;
use crate::notify::{Observer, Output};
use crate::policy::load::{LoadOptions, load};
use crate::policy::{Policy, RuleSource};
use crate::service::{self, Running, Setup};
use crate::store::Store;

const RULESET: &str = include_str!("../../rules/demo/ruleset.toml");
const CUSTOMER: &str = include_str!("../../rules/demo/customer.toml");
/// As the service knows it.
const CUSTOMER_ID: &str = "nordkontor";
const HARASSERS: &str = include_str!("../../rules/demo/lists/harassers.csv");
/// The office hours as the rule file has them.
const HOURS: &str = "Mon-Sun 07:00-18:00";
/// Violations that may wait to be told. The demo has a handful; a full queue loses the newest.
const SIGHTINGS_MAX: usize = 10_000;

/// A running service and what it finds.
pub(super) struct Site {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    folder: PathBuf,
    pub feed: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub n_rules: usize,
    sightings: Receiver<Sighting>,
}

impl Site {
    /// Starts the service; the office closes [`OFFICE_CLOSES_MS`] after `start_ms`.
    pub(super) fn start(start_ms: i64) -> Result<Site> {
        let folder = folder()?;
        let rules = write_rules(&folder, start_ms)?;
        let loaded = load(&RuleSource::at(&rules), LoadOptions::default());
        let Some(policy) = loaded.policy.map(Arc::new) else {
            bail!("the demo's rules do not compile: {:?}", loaded.problems);
        };
        let (observer, sightings) = observe(Arc::clone(&policy));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
        let n_rules = policy.firewall.len() + policy.thresholds.len();
        let setup = Setup { config: config(&folder), policy, observer: Some(observer) };
        let running = runtime.block_on(service::start(setup)).context("start the service")?;
        let feed = running.feeds.first().map(|(_, address)| *address).context("the service has a feed")?;
        let metrics = running.metrics_address;
        Ok(Site { runtime, running: Some(running), folder, feed, metrics, n_rules, sightings })
    }

    pub(super) fn rules(&self) -> PathBuf {
        self.folder.join("rules")
    }

    pub(super) fn violations(&self) -> PathBuf {
        self.folder.join("violations.ndjson")
    }

    pub(super) fn notices(&self) -> PathBuf {
        self.folder.join("notices.ndjson")
    }

    /// Where incidents are made, and where they stand.
    pub(super) fn desk(&self) -> Result<(&Desk, &Store)> {
        self.running.as_ref().and_then(Running::desk).context("the service has a data folder, so it has a desk")
    }

    pub(super) fn drafter(&self) -> Result<&Drafter> {
        self.running.as_ref().and_then(Running::drafter).context("the service has a data folder to draft from")
    }

    /// What was found since the last look.
    pub(super) fn look(&self) -> Vec<Sighting> {
        self.sightings.try_iter().collect()
    }

    /// Waits for Ctrl-C or a request to end.
    pub(super) fn wait_for_signal(&self) -> Result<()> {
        self.runtime.block_on(async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                done = tokio::signal::ctrl_c() => done,
                _ = terminate.recv() => Ok(()),
            }
        })?;
        Ok(())
    }
}

impl Drop for Site {
    /// Stops the service and takes the folder away, however the demo ended.
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A new folder that nobody else has prepared.
fn folder() -> Result<PathBuf> {
    for attempt in 0..100 {
        let path = std::env::temp_dir().join(format!("ringfence-demo-{}-{attempt}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| format!("cannot make `{}`", path.display())),
        }
    }
    bail!("cannot make a folder in `{}`: too many are left from before", std::env::temp_dir().display())
}

fn write_rules(folder: &std::path::Path, start_ms: i64) -> Result<PathBuf> {
    let rules = folder.join("rules");
    for below in ["lists", "customers"] {
        std::fs::create_dir_all(rules.join(below)).context("make the rules' folder")?;
    }
    for (name, text) in files(start_ms) {
        std::fs::write(rules.join(name), text).with_context(|| format!("write the demo's {name}"))?;
    }
    Ok(rules)
}

/// The rule set, by path.
pub(super) fn files(start_ms: i64) -> [(&'static str, String); 3] {
    [
        ("ruleset.toml", ruleset(start_ms)),
        ("lists/harassers.csv", HARASSERS.to_owned()),
        ("customers/nordkontor.toml", CUSTOMER.to_owned()),
    ]
}

/// The rules with the office closing when the script wants it, whatever the time of day is now.
fn ruleset(start_ms: i64) -> String {
    let minute_of_day = |ms: i64| (ms.rem_euclid(86_400_000)) / 60_000;
    let hours = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let closes = minute_of_day(start_ms + OFFICE_CLOSES_MS);
    // Eleven hours, as in the file; an interval over midnight is one.
    let opens = (closes + 13 * 60) % (24 * 60);
    RULESET.replace(HOURS, &format!("Mon-Sun {}-{}", hours(opens), hours(closes)))
}

fn config(folder: &std::path::Path) -> Config {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config {
        feeds: vec![FeedSettings {
            listener: ListenerSettings::at(free),
            customer: CustomerSource::One(CUSTOMER_ID.to_owned()),
            ..FeedSettings::default()
        }],
        rules: Some(folder.join("rules")),
        http: Some(free),
        metrics: Some(free),
        data: Some(folder.join("data")),
        ..Config::default()
    };
    let file = |name| Output::File { path: folder.join(name), rotate_bytes: 100 << 20, n_kept: 1 };
    config.notify.output = file("violations.ndjson");
    config.notices = file("notices.ndjson");
    config
}

/// Every violation as its output line says it: the demo sees what any other reader would.
fn observe(policy: Arc<Policy>) -> (Observer, Receiver<Sighting>) {
    let (found, sightings) = sync_channel(SIGHTINGS_MAX);
    let observer: Observer = Box::new(move |judged, names| {
        for violation in &judged.violations {
            let mut line = Vec::new();
            output::violation_line(&mut line, judged, violation, &policy, names, None);
            if let Ok(sighting) = serde_json::from_slice(&line) {
                // Full or nobody left to tell: the service goes on.
                drop(found.try_send(sighting));
            }
        }
    });
    (observer, sightings)
}

/// The whole minute at or before an instant: an office closes on the minute.
pub(super) fn whole_minute(at: Timestamp) -> i64 {
    at.0 - at.0.rem_euclid(60_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::script::MINUTE_MS;

    #[test]
    fn the_office_closes_within_the_hour_whatever_the_time_of_day() {
        assert!(RULESET.contains(HOURS));
        // 23:30: closes at 00:12, opened at 13:12 the day before.
        assert!(ruleset(23 * 3_600_000 + 30 * MINUTE_MS).contains("open = [\"Mon-Sun 13:12-00:12\"]"));
        assert!(ruleset(9 * 3_600_000).contains("open = [\"Mon-Sun 22:42-09:42\"]"));
    }

    #[test]
    fn the_demo_rules_compile_without_a_warning() {
        let loaded = load(&RuleSource::memory(files(0)), LoadOptions::default());
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert!(loaded.policy.is_some());
    }
}
