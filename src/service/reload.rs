//! Reads rules, lists, customers' files, kits and settings again, and puts them in force all at once, or changes nothing
//! and says why.
//!
//! One thread of its own, since reading a list of millions takes seconds. It also looks whether files have changed: what
//! changes while it is read, and what an editor has written by half, is read again when it has stood still. Settings are
//! read at the start only; where those have changed, nothing is put in force, and it is said what takes a restart.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam::channel::{Receiver, RecvTimeoutError};

use super::audit;
use super::backfill::{self, Backfill};
use super::feeds::Feeds;
use super::files::{renewal, terms};
use super::lasting::Outlet;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config, cross_check};
use crate::current::Current;
use crate::customer::Customers;
use crate::desk::Desk;
use crate::engine::output::rule_id;
use crate::engine::{Engine, Lack, Prepared, RuleRef, Swapped};
use crate::gateway::clocks::Clocks;
use crate::incident::Terms;
use crate::limits::{RELOAD_FILES_MAX, RELOAD_LOOK_MS};
use crate::metrics::Metrics;
use crate::policy::check::log_lines;
use crate::policy::{LoadOptions, Policy, RuleSource, load};
use crate::reload::{Asked, Asker, Outcome, Reloads, Report};
use crate::store::Store;

const LOOK_EVERY: Duration = Duration::from_millis(RELOAD_LOOK_MS);
/// A swap waits for a snapshot that is being written.
const RETRY_EVERY: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Folders below a folder of rules.
const DEPTH_MAX: usize = 8;

/// The thread; it ends when told to stop.
#[derive(Debug)]
pub(super) struct Reloader {
    thread: JoinHandle<()>,
    is_stopping: Arc<AtomicBool>,
}

/// What it works with.
pub(super) struct Charge {
    pub(super) config: Config,
    pub(super) engine: Engine,
    pub(super) outlet: Arc<Outlet>,
    pub(super) feeds: Feeds,
    pub(super) clocks: Arc<Clocks>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reloads: Reloads,
    pub(super) asked: Receiver<Asked>,
    /// What goes by the files too, where data outlive the process.
    pub(super) lasting: Option<Readers>,
}

/// Those beside the engine who go by rules, customers' files and kits.
pub(super) struct Readers {
    pub(super) backfill: Backfill,
    pub(super) store: Arc<Store>,
    pub(super) desk: Desk,
    pub(super) terms: Current<Terms>,
    pub(super) customers: Current<Customers>,
    pub(super) policy: Current<Policy>,
    pub(super) wants_snapshot: Arc<AtomicBool>,
}

impl Reloader {
    pub(super) fn start(charge: Charge) -> std::io::Result<Reloader> {
        let is_stopping: Arc<AtomicBool> = Arc::default();
        let stops = Arc::clone(&is_stopping);
        let mut work = Work::new(charge);
        let thread = thread::Builder::new().name("reload".into()).spawn(move || work.run(&stops))?;
        Ok(Reloader { thread, is_stopping })
    }

    /// What is under way is finished. Blocks for as long.
    pub(super) fn stop(self) {
        self.is_stopping.store(true, Ordering::Release);
        // A panic was printed where it happened.
        drop(self.thread.join());
    }
}

/// What tells one state of the files from another: where links lead, and of each file its place on the disk, its length
/// and when it last changed.
type Print = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

struct Work {
    charge: Charge,
    /// The settings as they were at the start.
    settings: Option<toml::Table>,
    /// The files as they were when they were last read, and as they were last seen.
    read: Print,
    seen: Print,
}

/// Everything that is to come into force.
struct Ready {
    policy: Arc<Policy>,
    terms: Option<Terms>,
    notes: Vec<String>,
}

/// Why nothing comes into force.
struct Refusal {
    outcome: Outcome,
    problems: Vec<String>,
}

impl Refusal {
    fn failed(error: &anyhow::Error) -> Refusal {
        Refusal { outcome: Outcome::Failed, problems: vec![format!("{error:#}")] }
    }
}

impl Work {
    fn new(charge: Charge) -> Work {
        let settings = charge.config.file.as_deref().and_then(|file| read_table(file).ok());
        let mut work = Work { charge, settings, read: Print::default(), seen: Print::default() };
        work.read = work.print();
        work.seen = work.read.clone();
        work
    }

    fn run(&mut self, is_stopping: &AtomicBool) {
        while !is_stopping.load(Ordering::Acquire) {
            match self.charge.asked.recv_timeout(LOOK_EVERY) {
                Ok(Asked { by, reply }) => {
                    let report = self.reload(&by);
                    // Whoever asked may have gone.
                    reply.map(|reply| reply.try_send(report).unwrap_or_default()).unwrap_or_default();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Reads again what has changed and stands still.
    fn look(&mut self) {
        if self.charge.lasting.is_none() {
            self.warm();
        }
        let now = self.print();
        let stands_still = now == self.seen;
        self.seen = now;
        if stands_still && self.seen != self.read {
            self.reload(&Asker::Files);
        }
    }

    /// Without data nobody tells rules of the past: they are warm when a window has passed.
    fn warm(&self) {
        let Charge { engine, .. } = &self.charge;
        let now = Clock.now();
        let lateness_ms = engine.policy().lateness_ms;
        for of in engine.lacking() {
            match of.lack {
                Lack::Until(until) if until <= now => engine.set_lack(of.rule, None),
                Lack::Past | Lack::Until(Timestamp::MAX) => {
                    let until = now.plus_ms(of.window_ms).plus_ms(lateness_ms);
                    engine.set_lack(of.rule, Some(Lack::Until(until)));
                }
                Lack::Until(_) => {}
            }
        }
    }

    fn reload(&mut self, by: &Asker) -> Report {
        let begun = Clock.monotonic();
        let mut report = Report::new(by, Clock.now());
        report.version_before.clone_from(&self.charge.engine.policy().version);
        // Before anything is read: what changes meanwhile is another state.
        let mut print = self.print();
        match self.attempt(&mut report) {
            Ok(()) => {}
            Err(Refusal { outcome, problems }) => (report.outcome, report.problems) = (outcome, problems),
        }
        let policy = self.charge.engine.policy();
        policy.files.iter().for_each(|place| stamp(place, 0, &mut print));
        self.read = print;
        report.version.clone_from(&self.charge.engine.policy().version);
        report.at = Clock.now().to_string();
        report.took_ms = begun.elapsed().as_millis() as u64;
        self.tell(by, &report);
        report
    }

    fn attempt(&mut self, report: &mut Report) -> Result<(), Refusal> {
        let ready = self.read_all()?;
        report.notes.clone_from(&ready.notes);
        if ready.policy.version == self.charge.engine.policy().version {
            report.outcome = Outcome::Unchanged;
            self.renew(&ready);
            return Ok(());
        }
        let contexts = self.charge.feeds.contexts(&ready.policy).map_err(|error| Refusal::failed(&error))?;
        let before = self.charge.engine.policy();
        let (swapped, pause) = self.swap(&ready.policy).map_err(|error| Refusal::failed(&error))?;
        self.charge.outlet.rename(&before, &ready.policy, &self.charge.engine);
        self.charge.feeds.renew(contexts);
        self.renew(&ready);
        report.outcome = Outcome::Done;
        report.pause_us = pause.as_micros() as u64;
        let ids = |rules: &[RuleRef]| rules.iter().map(|rule| rule_id(&ready.policy, *rule).to_owned()).collect();
        let Swapped { restored, warming, changed, new, gone, .. } = &swapped;
        report.kept = restored.len() as u64;
        (report.warming, report.restarted) = (ids(warming), ids(changed));
        (report.added, report.gone) = (ids(new), gone.clone());
        Ok(())
    }

    /// Reads and checks all there is. Nothing is changed yet.
    fn read_all(&self) -> Result<Ready, Refusal> {
        let refused = |problems| Refusal { outcome: Outcome::Refused, problems };
        let config = &self.charge.config;
        if let (Some(file), Some(before)) = (&config.file, &self.settings) {
            let (_, problems) = config::load(file);
            if !problems.is_empty() {
                return Err(refused(problems.iter().map(ToString::to_string).collect()));
            }
            let now = read_table(file).map_err(|error| refused(vec![format!("{error:#}")]))?;
            let changed = differing(before, &now);
            if !changed.is_empty() {
                let problems = changed.iter().map(|key| {
                    format!(
                        "{}: `{key}` has changed, and is read at the start only: restart, or put it back",
                        file.display()
                    )
                });
                return Err(Refusal { outcome: Outcome::NeedsRestart, problems: problems.collect() });
            }
        }
        let source = config.rules.as_deref().map_or_else(RuleSource::shipped, RuleSource::at);
        let loaded = load(&source, LoadOptions { now: Some(Clock.now()) });
        let (errors, notes): (Vec<_>, Vec<_>) = log_lines(&loaded).partition(|(is_error, _)| *is_error);
        let lines = |of: Vec<(bool, String)>| of.into_iter().map(|(_, line)| line).collect::<Vec<String>>();
        let Some(policy) = loaded.policy else { return Err(refused(lines(errors))) };
        let mismatches = cross_check(config, &policy);
        let (wrong, odd): (Vec<_>, Vec<_>) = mismatches.into_iter().partition(|mismatch| mismatch.is_error);
        if !wrong.is_empty() {
            return Err(refused(wrong.into_iter().map(|mismatch| mismatch.message).collect()));
        }
        let mut notes = lines(notes);
        notes.extend(odd.into_iter().map(|mismatch| mismatch.message));
        if policy.lateness_ms != self.charge.engine.policy().lateness_ms {
            notes.push(
                "`lateness` has changed: feeds that name no delay of their own keep theirs until a restart".into(),
            );
        }
        let terms = self.charge.lasting.is_some().then(|| terms(config, &policy)).transpose();
        let terms = terms.map_err(|error| refused(vec![format!("{error:#}")]))?;
        Ok(Ready { policy: Arc::new(policy), terms, notes })
    }

    /// Puts the rules in force; how long calls waited at the most.
    fn swap(&self, policy: &Arc<Policy>) -> anyhow::Result<(Swapped, Duration)> {
        let Charge { engine, lasting, outlet, clocks, .. } = &self.charge;
        // Whoever tells rules of the past knows them by their numbers.
        let backfill = lasting.as_ref().map(|lasting| &lasting.backfill);
        backfill.inspect(|backfill| backfill.pause());
        let swapped = self.swap_in(engine.prepare(Arc::clone(policy)), clocks, policy);
        if let Some(backfill) = backfill {
            let began = match &swapped {
                Ok(_) => backfill.go_on(outlet.renewed_at().map(|mark| backfill::Place::at(&mark))),
                Err(_) => backfill.give_up(),
            };
            began.context("cannot start a thread")?;
        }
        swapped
    }

    fn swap_in(
        &self,
        mut prepared: Prepared,
        clocks: &Clocks,
        policy: &Arc<Policy>,
    ) -> anyhow::Result<(Swapped, Duration)> {
        let engine = &self.charge.engine;
        let until = Clock.monotonic() + RETRY_MAX;
        loop {
            self.charge.outlet.prepare(Some((policy, prepared.rules())));
            let begun = Clock.monotonic();
            let at = clocks.reached(Clock.now(), policy.lateness_ms);
            match engine.swap(prepared, at) {
                Ok((swapped, leftover)) => {
                    let pause = begun.elapsed();
                    self.charge.outlet.prepare(None);
                    drop(leftover);
                    return Ok((swapped, pause));
                }
                Err(again) if again.is_for(engine) => prepared = *again,
                Err(_) => prepared = engine.prepare(Arc::clone(policy)),
            }
            anyhow::ensure!(Clock.monotonic() < until, "a snapshot takes so long that the rules could not be changed");
            thread::sleep(RETRY_EVERY);
        }
    }

    /// Those beside the engine go by the new files from now on.
    fn renew(&self, ready: &Ready) {
        let (Some(readers), Some(terms)) = (&self.charge.lasting, &ready.terms) else { return };
        drop(readers.policy.set(Arc::clone(&ready.policy)));
        drop(readers.customers.set(Arc::clone(&terms.customers)));
        drop(readers.terms.set(Arc::new(terms.clone())));
        readers.desk.renew(renewal(&self.charge.config, &ready.policy, terms));
        readers.wants_snapshot.store(true, Ordering::Release);
    }

    fn tell(&self, by: &Asker, report: &Report) {
        let Charge { metrics, reloads, lasting, .. } = &self.charge;
        metrics.policy.reloaded(report.outcome.as_str());
        metrics.policy.set_stale(!report.outcome.is_good());
        reloads.told(report);
        let (outcome, version, asked_by) = (report.outcome.as_str(), &report.version, &report.by);
        match report.outcome {
            Outcome::Unchanged => tracing::info!(asked_by, version, "rules were read again: nothing has changed"),
            Outcome::Done => {
                metrics.policy.swap_s.set(report.pause_us as f64 / 1e6);
                let Report { kept, warming, restarted, added, gone, pause_us, took_ms, .. } = report;
                tracing::info!(
                    asked_by,
                    version,
                    before = report.version_before,
                    kept,
                    ?warming,
                    ?restarted,
                    ?added,
                    ?gone,
                    pause_us,
                    took_ms,
                    "other rules are in force"
                );
            }
            _ => {
                tracing::error!(asked_by, outcome, version, "rules stay as they were");
                report.problems.iter().for_each(|problem| tracing::error!(problem, "why rules stay as they were"));
            }
        }
        if let Some(lasting) = lasting {
            let is_asked = matches!(by, Asker::Person { .. }) || report.outcome != Outcome::Unchanged;
            if is_asked {
                audit::reloaded(&lasting.store, by, report);
            }
        }
    }

    fn print(&self) -> Print {
        let mut print = Print::new();
        let config = &self.charge.config;
        let kits = self.charge.lasting.as_ref().and(config.kits.as_deref());
        let terms = self.charge.lasting.as_ref().map(|readers| readers.terms.get());
        let own_kits =
            terms.iter().flat_map(|terms| terms.customers.iter()).filter_map(|customer| customer.kits.clone());
        let rules = config.rules.as_deref();
        let folder = rules.map(|rules| if rules.is_dir() { rules } else { rules.parent().unwrap_or(Path::new(".")) });
        let own_kits: Vec<PathBuf> = own_kits.filter_map(|kits| Some(folder?.join(kits))).collect();
        for place in folder.into_iter().chain(kits).chain(config.file.as_deref()) {
            stamp(place, 0, &mut print);
        }
        // Lists may lie elsewhere.
        for place in own_kits.iter().chain(&self.charge.engine.policy().files) {
            stamp(place, 0, &mut print);
        }
        print
    }
}

/// Notes a file, or all that is in a folder.
fn stamp(place: &Path, depth: usize, print: &mut Print) {
    if print.len() >= RELOAD_FILES_MAX || depth > DEPTH_MAX || print.contains_key(place) {
        return;
    }
    let Ok(meta) = std::fs::metadata(place) else { return };
    let changed = meta.ctime().wrapping_mul(1_000_000_000).wrapping_add(meta.ctime_nsec());
    let modified = meta.mtime().wrapping_mul(1_000_000_000).wrapping_add(meta.mtime_nsec());
    if !meta.is_dir() {
        print.insert(place.to_owned(), (meta.ino(), meta.len(), modified, changed));
        return;
    }
    // Of a folder only which it is: a link may lead to another one.
    print.insert(place.to_owned(), (meta.ino(), 0, 0, 0));
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let is_hidden = entry.file_name().as_encoded_bytes().first() == Some(&b'.');
        if !is_hidden {
            stamp(&entry.path(), depth + 1, print);
        }
    }
}

fn read_table(file: &Path) -> anyhow::Result<toml::Table> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    text.parse().with_context(|| format!("cannot read `{}`", file.display()))
}

/// The keys at the top that are not the same in both.
fn differing(before: &toml::Table, now: &toml::Table) -> Vec<String> {
    let all = before.keys().chain(now.keys().filter(|key| !before.contains_key(*key)));
    all.filter(|key| before.get(*key) != now.get(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_elsewhere_and_a_file_that_is_written_again_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join("a.toml"), "a").unwrap();
        }
        std::os::unix::fs::symlink(path("one"), path("rules")).unwrap();
        let print = || {
            let mut print = Print::new();
            stamp(&path("rules"), 0, &mut print);
            print
        };
        let first = print();
        assert_eq!(first.len(), 2);
        assert_eq!(print(), first);
        std::os::unix::fs::symlink(path("two"), path("next")).unwrap();
        std::fs::rename(path("next"), path("rules")).unwrap();
        let second = print();
        assert_ne!(second, first);
        std::fs::write(path("rules").join(".a.toml.swp"), "half").unwrap();
        assert_eq!(print(), second, "what an editor hides is not a rule");
        std::fs::write(path("rules").join("a.toml"), "longer").unwrap();
        assert_ne!(print(), second);
    }

    #[test]
    fn settings_that_differ_are_named_by_their_table() {
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        let before = table("threads = 2\n[http]\nlisten = 'off'\n[log]\nlevel = 'info'");
        let now = table("[http]\nlisten = '127.0.0.1:1'\n[log]\nlevel = 'info'\n[kits]\nfolder = 'x'");
        assert_eq!(differing(&before, &now), ["http", "threads", "kits"]);
        assert_eq!(differing(&before, &before), [""; 0]);
    }
}
