//! What outlives the process, from its restoration at the start to its last snapshot at the stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam::channel::{Sender, bounded};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::archiver::{self, Archiver};
use super::backfill::{self, Backfill};
use super::calls::Calls;
use super::data::{self, DataFolder};
use super::files;
use super::keeper::{Charge, Keeper};
use super::outgoing::Outgoing;
use super::recovery::{self, Recovered};
use super::reload::Readers;
use super::watchdog::Watchdog;
use crate::archive::{Archive, KEY_FILE};
use crate::clock::Clock;
use crate::config::{Config, Durability};
use crate::current::Current;
use crate::customer::Customers;
use crate::delivery::Outbox;
use crate::desk::{self, Desk, Renewal};
use crate::engine::output::rule_id;
use crate::engine::{self, Engine, Judged, Successor};
use crate::event::Names;
use crate::findings::Drafter;
use crate::gateway::durable::Durable;
use crate::gateway::sequence::Ledger;
use crate::incident::Terms;
use crate::ingest::CallTable;
use crate::journal::{self, Appended, Journal, Mark, Stuck};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::policy::{Policy, RuleSource};
use crate::storage::{Disk, FolderLock};
use crate::store::Store;

/// Marks of saves that nobody has fetched; there is one save at a time.
const MARKS_MAX: usize = 4;
/// Name of the alert that the journal cannot be written.
const STUCK: &str = "ringfence:journal-stuck";
/// How often gateways that are held back are asked whether they may go on.
const ROOM_EVERY: Duration = Duration::from_millis(50);

/// An engine as it was left, and what goes on around it.
pub(super) struct Begun {
    pub(super) engine: Engine,
    pub(super) outlet: Arc<Outlet>,
    pub(super) calls: Calls,
    pub(super) ledger: Arc<Ledger>,
    pub(super) durable: Durable,
    /// Somebody was served before, by this state.
    pub(super) is_resumed: bool,
    pub(super) lasting: Option<Lasting>,
}

/// What outlives the process, as long as it runs.
#[derive(Debug)]
pub(super) struct Lasting {
    keeper: Keeper,
    archiver: Option<Archiver>,
    backfill: Backfill,
    wants_snapshot: Arc<AtomicBool>,
    pub(super) desk: Desk,
    pub(super) outgoing: Outgoing,
    pub(super) drafter: Arc<Drafter>,
    pub(super) terms: Current<Terms>,
    customers: Current<Customers>,
    policy: Current<Policy>,
    pub(super) journal: Journal,
    pub(super) store: Arc<Store>,
    room: Arc<watch::Sender<bool>>,
    _lock: FolderLock,
}

/// See [`Lasting::measured`].
pub(super) type Measured = (Journal, Arc<AtomicUsize>, Desk, Outbox);

/// Where the engine's results go, in its order.
pub(super) struct Outlet {
    notifier: Arc<Notifier>,
    /// Names of the feeds, for the journal.
    feeds: Vec<String>,
    /// Not before recovery has ended: what it reads is in the journal.
    journal: OnceLock<Journal>,
    marks: Sender<(u64, Mark)>,
    /// Where the journal was when other rules came into force.
    renewed_at: Mutex<Option<Mark>>,
}

impl Outlet {
    fn take(&self, judged: &mut Judged) {
        if let Some(successor) = judged.swapped.take() {
            self.swap(judged, &successor);
            return;
        }
        if judged.is_warm {
            self.take_warm(judged);
            return;
        }
        if let Some(journal) = self.journal.get() {
            if let Some(save) = judged.marker {
                // Nobody fetches it where the save was given up.
                drop(self.marks.try_send((save, journal.mark())));
                return;
            }
            match journal.append(judged) {
                Appended::Record { position, .. } => judged.position = position,
                Appended::Nothing => {}
                Appended::Outside => judged.is_outside = true,
            }
        }
        self.notifier.take(judged);
    }

    /// What ends is told by the rules that were in force, whatever comes behind by those that are.
    fn swap(&self, judged: &mut Judged, successor: &Successor) {
        let Successor { policy, rules } = successor;
        self.notifier.take(judged);
        let begins_anew = rules.changed.iter().chain(&rules.new).map(|rule| rule_id(policy, *rule));
        self.notifier.swap(policy, &begins_anew.collect::<Vec<&str>>());
        if let Some(journal) = self.journal.get() {
            journal.set_context(Arc::new(context(policy, &self.feeds)));
            *self.renewed_at.lock().unwrap_or_else(|e| e.into_inner()) = Some(journal.mark());
        }
    }

    /// Where the journal was when the rules in force came into force; `None`: they were from the start.
    pub(super) fn renewed_at(&self) -> Option<Mark> {
        self.renewed_at.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Of events of the past only the episodes are news that they ended, by making room or by being newer than their
    /// key. Nothing is counted again.
    fn take_warm(&self, judged: &mut Judged) {
        if !judged.closed.is_empty() {
            let closed = std::mem::take(&mut judged.closed);
            let policy = Arc::clone(&judged.policy);
            self.notifier.take(&Judged { closed, policy, is_recovered: true, ..Judged::default() });
        }
    }
}

/// Where it is kept.
struct Home {
    disk: Disk,
    folder: PathBuf,
}

/// What the parts are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) policy: &'a Arc<Policy>,
    pub(super) names: &'a Arc<Names>,
    pub(super) notifier: &'a Arc<Notifier>,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) n_threads: usize,
}

/// What numbers in the journal stand for.
fn context(policy: &Policy, feeds: &[String]) -> journal::Context {
    journal::Context {
        policy_version: policy.version.clone(),
        feeds: feeds.to_vec(),
        firewall: policy.firewall.iter().map(|rule| rule.id.clone()).collect(),
        thresholds: policy.thresholds.iter().map(|rule| rule.id.clone()).collect(),
    }
}

impl Parts<'_> {
    fn outlet(&self, marks: Sender<(u64, Mark)>) -> Arc<Outlet> {
        let feeds = self.config.feeds.iter().map(|feed| feed.name.clone()).collect();
        let (notifier, journal, renewed_at) = (Arc::clone(self.notifier), OnceLock::new(), Mutex::default());
        Arc::new(Outlet { notifier, feeds, journal, marks, renewed_at })
    }

    fn engine(&self, hash_seed: u64, outlet: &Arc<Outlet>) -> Engine {
        let outlet = Arc::clone(outlet);
        let settings = engine::Settings {
            n_threads: self.n_threads,
            hash_seed,
            emergency_callback_ms: self.config.emergency_callback_ms,
        };
        let emit = Box::new(move |judged: &mut Judged| outlet.take(judged));
        Engine::new(Arc::clone(self.policy), Arc::clone(self.names), settings, emit)
    }

    /// Nothing outlives the process. `seed` is not to be guessed: whoever chooses keys must not choose where they are
    /// stored.
    pub(super) fn begin_anew(&self, seed: u64) -> Begun {
        let (marks, _) = bounded(MARKS_MAX);
        self.notifier.committed(u64::MAX);
        let outlet = self.outlet(marks);
        Begun {
            engine: self.engine(seed, &outlet),
            outlet,
            calls: Calls::new(&self.config.feeds, || CallTable::new(seed)),
            ledger: Arc::default(),
            durable: Durable::off(),
            is_resumed: false,
            lasting: None,
        }
    }

    /// Puts the state together again and goes on behind it.
    // long: one step after the other, each of which needs what came before.
    pub(super) fn begin_again(&self, data: DataFolder) -> anyhow::Result<Begun> {
        let begun = Clock.monotonic();
        let seed = data.identity.hash_seed;
        let (marks, taken) = bounded(MARKS_MAX);
        let outlet = self.outlet(marks);
        let fresh = || {
            let calls = Calls::new(&self.config.feeds, || CallTable::new(seed).with_annex());
            (self.engine(seed, &outlet), calls)
        };
        let (engine, calls, tables, mut recovered) =
            recovery::restore_snapshot(&data.disk, &data.snapshots(), fresh).context("cannot read the snapshots")?;
        self.notifier.record_in(Arc::clone(&data.store));
        self.notifier.open(engine.open_episodes());
        let place = backfill::Place::of(&data.disk, &data.journal(), &engine, &recovered)?;
        recovery::replay_tail(&data.disk, &data.journal(), &engine, &tables, self.n_threads, &mut recovered)?;
        tables.finish();
        if let Ok(archive) = Archive::read(&data.path.join("archive")) {
            recovered.go_behind(&archive);
        }
        recovered.problems.splice(0..0, data.problems.iter().cloned());
        let (n_customers, n_gateways) = recovered.n_names;
        recovered.problems.extend(data::names_lost(data.names_file.cover(n_customers, n_gateways)));
        self.tell(&recovered, &data.store, begun.elapsed());

        let ledger = Arc::new(Ledger::default());
        recovered.ledger.iter().for_each(|(gateway, seq)| ledger.restore(*gateway, *seq));
        let is_resumed = recovered.record > 0;
        let (committed, committed_seen) = watch::channel(recovered.record);
        let (room, room_seen) = watch::channel(true);
        self.notifier.committed(recovered.record);
        self.notifier.settle();
        let DataFolder { disk, path, identity, names_file, store, lock, .. } = data;
        let home = Home { disk: disk.clone(), folder: path };
        let (home_disk, home_folder) = (home.disk.clone(), home.folder.clone());
        let journal = Journal::open(journal::Options {
            disk,
            folder: data::journal_of(&home.folder),
            settings: self.config.journal,
            identity,
            names: names_file,
            context: Arc::new(context(self.policy, &outlet.feeds)),
            start: recovered.into_start(),
            listener: self.listener(committed, &ledger),
        })
        .context("cannot open the journal")?;
        // Set once, here.
        outlet.journal.set(journal.clone()).unwrap_or_default();
        let archiver = self.archiver(&home, &journal);
        let wants_snapshot: Arc<AtomicBool> = Arc::default();
        let backfill = Backfill::start(backfill::Task {
            disk: home.disk.clone(),
            archive: home.folder.join("archive"),
            journal: data::journal_of(&home.folder),
            engine: engine.clone(),
            store: Arc::clone(&store),
            place,
            delay_ms: self.delay_ms(),
            wants_snapshot: Arc::clone(&wants_snapshot),
        })
        .context("cannot start a thread")?;
        let keeper = Keeper::start(Charge {
            archived: self.archived(archiver.as_ref()),
            snapshots: data::snapshots_of(&home.folder),
            disk: home.disk,
            engine: engine.clone(),
            journal: journal.clone(),
            store: Arc::clone(&store),
            notifier: Arc::clone(self.notifier),
            calls: calls.clone(),
            settings: self.config.snapshot.clone(),
            metrics: Arc::clone(self.metrics),
            is_wanted: Arc::clone(&wants_snapshot),
            marks: taken,
        })
        .context("cannot start a thread")?;
        let terms = files::terms(self.config, self.policy)?;
        let Renewal { terms, rules, renamed, whats } = files::renewal(self.config, self.policy, &terms);
        let (policy, customers) =
            (Current::from(Arc::clone(self.policy)), Current::from(Arc::clone(&self.policy.customers)));
        let charge = desk::Charge { store: Arc::clone(&store), terms: terms.clone(), rules, renamed, whats };
        let desk = Desk::start(charge)?;
        let outgoing = Outgoing::start(self.config, &home_folder, &store, &desk, &customers)?;
        let drafter = Arc::new(Drafter {
            disk: home_disk,
            archive: home_folder.join("archive"),
            journal: data::journal_of(&home_folder),
            store: Arc::clone(&store),
            policy: policy.clone(),
            names: Arc::clone(self.names),
            rules: self.config.rules.as_deref().map_or_else(RuleSource::shipped, RuleSource::at),
        });
        let promises = self.config.journal.durability != Durability::None;
        let durable = Durable::new(committed_seen, room_seen, promises);
        let lasting = Lasting {
            keeper,
            archiver,
            backfill,
            desk,
            outgoing,
            drafter,
            terms: Current::from(Arc::new(terms)),
            customers,
            policy,
            wants_snapshot,
            journal,
            store,
            room: Arc::new(room),
            _lock: lock,
        };
        Ok(Begun { engine, outlet, calls, ledger, durable, is_resumed, lasting: Some(lasting) })
    }

    /// An archive that cannot be opened is no reason to let calls go unwatched: the journal keeps what is missing there.
    fn archiver(&self, home: &Home, journal: &Journal) -> Option<Archiver> {
        let task = || archiver::Task {
            disk: home.disk.clone(),
            archive: home.folder.join("archive"),
            journal_folder: data::journal_of(&home.folder),
            key: home.folder.join(KEY_FILE),
            journal: journal.clone(),
            names: Arc::clone(self.names),
            settings: self.config.archive.clone(),
            metrics: Arc::clone(self.metrics),
        };
        let started = self.config.archive.is_on.then(|| Archiver::start(task()))?;
        let told = started.inspect_err(|error| {
            self.metrics.journal.archive_failures.increment(1);
            tracing::error!(
                error = format!("{error:#}"),
                "nothing is archived: the journal keeps everything until this is mended and the service started again"
            );
        });
        told.ok()
    }

    /// The first record that the archive misses, where there is to be one.
    fn archived(&self, archiver: Option<&Archiver>) -> Option<Arc<AtomicU64>> {
        self.config.archive.is_on.then(|| archiver.map_or_else(Arc::default, Archiver::reached))
    }

    /// How long after its time an event of any feed may come.
    fn delay_ms(&self) -> i64 {
        let lateness_ms = self.policy.lateness_ms;
        self.config.feeds.iter().map(|feed| feed.delay_ms(lateness_ms)).max().unwrap_or(lateness_ms)
    }

    /// What the journal does when more of it is durable: gateways hear of it, and people of what was found in it.
    fn listener(&self, committed: watch::Sender<u64>, ledger: &Arc<Ledger>) -> Box<dyn Fn(journal::Committed) + Send> {
        let (ledger, notifier, metrics) = (Arc::clone(ledger), Arc::clone(self.notifier), Arc::clone(self.metrics));
        Box::new(move |news| {
            news.accounts.iter().for_each(|(gateway, seq)| ledger.keep(*gateway, *seq));
            committed.send_replace(news.record);
            notifier.committed(news.record);
            if let Some(took) = news.sync {
                metrics.journal.synced(took);
            }
        })
    }

    fn tell(&self, recovered: &Recovered, store: &Store, took: Duration) {
        for problem in &recovered.problems {
            tracing::error!(problem, "found at the start");
        }
        let Recovered { record, n_events, snapshot, .. } = recovered;
        let snapshot = snapshot.as_ref().map(|path| path.display().to_string());
        tracing::info!(record, n_events, snapshot, ?took, "state restored");
        super::audit::started(store, self.policy, recovered);
    }
}

impl Lasting {
    /// Lets gateways go on that were held back, and has people told when nothing can be stored; until `stopping` turns
    /// true.
    pub(super) fn watch(
        &self,
        notifier: Arc<Notifier>,
        stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        watch_room(self.journal.clone(), Arc::clone(&self.room), notifier, stopping)
    }

    /// Those who watch over what is told to people, until `stopping` turns true.
    pub(super) fn guard(
        &self,
        config: &Config,
        notifier: &Arc<Notifier>,
        stopping: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let watchdog = Arc::new(Watchdog {
            outbox: self.outgoing.outbox.clone(),
            desk: self.desk.clone(),
            store: Arc::clone(&self.store),
            journal: self.journal.clone(),
            notifier: Arc::clone(notifier),
        });
        let beat = config.heartbeat.clone().map(|settings| Arc::clone(&watchdog).beat(settings, stopping.clone()));
        let beat = beat.map(tokio::spawn);
        beat.into_iter().chain([tokio::spawn(watchdog.watch(stopping.clone()))]).collect()
    }

    /// Those who go by the files, for when these are read again.
    pub(super) fn readers(&self) -> Readers {
        Readers {
            backfill: self.backfill.clone(),
            store: Arc::clone(&self.store),
            desk: self.desk.clone(),
            terms: self.terms.clone(),
            customers: self.customers.clone(),
            policy: self.policy.clone(),
            wants_snapshot: Arc::clone(&self.wants_snapshot),
        }
    }

    /// Has a snapshot taken soon.
    pub(super) fn wants_snapshot(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.wants_snapshot)
    }

    /// What is looked at for the metrics.
    pub(super) fn measured(&self) -> Measured {
        (self.journal.clone(), self.warming(), self.desk.clone(), self.outgoing.outbox.clone())
    }

    /// Rules that do not know all of their past yet.
    pub(super) fn warming(&self) -> Arc<AtomicUsize> {
        self.backfill.warming()
    }

    /// A last snapshot, and everything on the disk. Nothing may come any more.
    pub(super) fn end(self) {
        self.backfill.pause();
        self.keeper.stop();
        if let Some(archiver) = self.archiver {
            archiver.stop();
        }
        self.outgoing.outbox.stop();
        self.desk.stop();
        if let Err(stuck) = self.journal.close() {
            tracing::error!(
                why = stuck.why,
                "the end of the journal could not be written; gateways were not told that it was"
            );
        }
        self.store.close();
    }
}

async fn watch_room(
    journal: Journal,
    room: Arc<watch::Sender<bool>>,
    notifier: Arc<Notifier>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut every = tokio::time::interval(ROOM_EVERY);
    let mut told: Option<Stuck> = None;
    loop {
        tokio::select! {
            _ = every.tick() => {
                let has_room = journal.has_room();
                room.send_if_modified(|known| std::mem::replace(known, has_room) != has_room);
                let stuck = journal.stuck();
                if stuck.is_some() != told.is_some() {
                    tell_stuck(&notifier, stuck.as_ref());
                    told = stuck;
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

fn tell_stuck(notifier: &Notifier, stuck: Option<&Stuck>) {
    notifier.alarm(STUCK, stuck.map(|stuck| (stuck.since, stuck.why.as_str())));
    match stuck {
        Some(stuck) => tracing::error!(
            why = stuck.why,
            "the journal cannot be written: nothing is acknowledged, gateways are held back, verdicts go on"
        ),
        None => tracing::warn!("the journal is written again: gateways go on, and are told what is kept"),
    }
}
