//! Keeps what must outlive the process in shape: takes snapshots, has the archive written, lets go of the journal behind
//! them. One thread of its own; the flow of calls never waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::calls::Calls;
use crate::clock::Clock;
use crate::config::SnapshotSettings;
use crate::engine::{Engine, Save, SaveProgress};
use crate::journal::{Journal, Mark};
use crate::limits::SNAPSHOTS_KEPT;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::snapshot::{self, Cut, Section, SnapshotWriter};
use crate::storage::Disk;
use crate::store::Store;

/// How often it looks whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Rest after something failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest wait for a marker to come through the engine, and for the journal to be as far as it.
const MARK_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle service takes one in this time; ticks alone are not worth more.
const IDLE_EVERY: Duration = Duration::from_secs(3600);
const IDLE_BYTES: u64 = 64 << 10;

/// The thread.
#[derive(Debug)]
pub(super) struct Keeper {
    thread: JoinHandle<()>,
    stop: Sender<()>,
}

/// What it works with.
pub(super) struct Charge {
    pub(super) disk: Disk,
    pub(super) snapshots: PathBuf,
    pub(super) engine: Engine,
    pub(super) journal: Journal,
    pub(super) store: Arc<Store>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) calls: Calls,
    pub(super) settings: SnapshotSettings,
    pub(super) metrics: Arc<Metrics>,
    /// The first record that is not in the archive, where there is one.
    pub(super) archived: Option<Arc<AtomicU64>>,
    /// Somebody wants one soon.
    pub(super) is_wanted: Arc<AtomicBool>,
    /// Where the journal was when a marker came out of the engine, by the number of the save.
    pub(super) marks: Receiver<(u64, Mark)>,
}

impl Keeper {
    pub(super) fn start(charge: Charge) -> std::io::Result<Keeper> {
        let (stop, stopping) = bounded(1);
        let thread = thread::Builder::new().name("keeper".into()).spawn(move || Work::new(charge).run(&stopping))?;
        Ok(Keeper { thread, stop })
    }

    /// A last snapshot, and the thread ends. Nothing may be submitted to the engine any more.
    pub(super) fn stop(self) {
        self.stop.send(()).unwrap_or_default();
        // A panic was printed where it happened.
        drop(self.thread.join());
    }
}

struct Work {
    charge: Charge,
    /// When the last snapshot was taken, or tried, and how long the journal was.
    taken_at: Instant,
    taken_bytes: u64,
    retry_at: Option<Instant>,
}

impl Work {
    fn new(charge: Charge) -> Work {
        Work { charge, taken_at: Clock.monotonic(), taken_bytes: 0, retry_at: None }
    }

    fn run(mut self, stopping: &Receiver<()>) {
        loop {
            let stops = !matches!(stopping.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout));
            if stops || self.is_due() {
                self.keep();
            }
            if stops {
                return;
            }
        }
    }

    fn is_due(&self) -> bool {
        let now = Clock.monotonic();
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        let Charge { journal, settings, .. } = &self.charge;
        let written = journal.counts().bytes.saturating_sub(self.taken_bytes);
        let age = now.saturating_duration_since(self.taken_at);
        let is_idle = written < IDLE_BYTES && age < IDLE_EVERY;
        let is_wanted = self.charge.is_wanted.load(Ordering::Acquire);
        is_wanted || journal.needs_snapshot() || written >= settings.every_bytes || age >= settings.every && !is_idle
    }

    fn keep(&mut self) {
        let bytes = self.charge.journal.counts().bytes;
        let was_wanted = self.charge.is_wanted.swap(false, Ordering::AcqRel);
        match self.snapshot() {
            Ok(()) => (self.taken_at, self.taken_bytes, self.retry_at) = (Clock.monotonic(), bytes, None),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "no snapshot: a restart would take longer");
                self.charge.is_wanted.fetch_or(was_wanted, Ordering::AcqRel);
                self.retry_at = Some(Clock.monotonic() + RETRY_AFTER);
            }
        }
    }

    fn snapshot(&self) -> anyhow::Result<()> {
        let Charge { disk, snapshots, journal, metrics, .. } = &self.charge;
        let begun = Clock.monotonic();
        let (mark, bytes) = self.write(disk, snapshots)?;
        journal.resume(&mark);
        metrics.journal.snapshot_taken(Clock.now());
        let took = begun.elapsed();
        tracing::info!(record = mark.last_record, bytes, ?took, "snapshot taken");
        self.trim(snapshots)
    }

    /// Writes the state at a place in the engine's order, piece by piece.
    fn write(&self, disk: &Disk, folder: &Path) -> anyhow::Result<(Mark, u64)> {
        let Charge { engine, calls, .. } = &self.charge;
        let mut save = self.begin()?;
        let mark = self.mark(save.number())?;
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let (customers, gateways) = engine.names().all();
        let cut = Cut {
            customers: owned(customers),
            gateways: owned(gateways),
            record: mark.last_record,
            next_position: mark.next_position,
            ledger: mark.ledger.iter().map(|(gateway, seq)| (gateway.0, *seq)).collect(),
            taken_at: Clock.now().0,
            policy_version: engine.policy().version.clone(),
        };
        let mut writer = SnapshotWriter::create(disk, folder, &cut).context("cannot begin a snapshot")?;
        let written = (|| {
            let mut piece = Vec::new();
            loop {
                piece.clear();
                let progress = save.piece(&mut piece);
                if !piece.is_empty() {
                    writer.frame(Section::Engine, &piece)?;
                }
                match progress {
                    SaveProgress::More => {}
                    SaveProgress::Waiting => thread::sleep(Duration::from_millis(1)),
                    SaveProgress::Done => break,
                    SaveProgress::Failed => return Err(anyhow!("the engine lost its place")),
                }
            }
            drop(save);
            calls.save(|piece| writer.frame(Section::Calls, piece))?;
            // The calls are newer than the mark; what they have told must not be lost either.
            self.wait_for(self.charge.journal.mark().last_record)?;
            self.settle(mark.last_record)
        })();
        if let Err(error) = written {
            // It is no snapshot, and is written over by the next.
            drop(writer.abandon());
            return Err(error).context("cannot write a snapshot");
        }
        let bytes = writer.finish().context("cannot finish a snapshot")?;
        Ok((mark, bytes))
    }

    /// Other rules may be coming into force: that takes milliseconds.
    fn begin(&self) -> anyhow::Result<Save> {
        let until = Clock.monotonic() + MARK_TIMEOUT;
        loop {
            if let Some(save) = self.charge.engine.mark() {
                return Ok(save);
            }
            anyhow::ensure!(Clock.monotonic() < until, "another one is under way");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn mark(&self, number: u64) -> anyhow::Result<Mark> {
        loop {
            let (of, mark) = self.charge.marks.recv_timeout(MARK_TIMEOUT).context("its marker was lost")?;
            // Others are of saves that were given up.
            if of == number {
                return Ok(mark);
            }
        }
    }

    /// A snapshot must not know what the journal does not: the archive is written from there.
    fn wait_for(&self, record: u64) -> anyhow::Result<()> {
        let until = Clock.monotonic() + MARK_TIMEOUT;
        while self.charge.journal.committed() < record {
            if self.charge.journal.needs_snapshot() {
                // What was left out waits for this very snapshot.
                return Ok(());
            }
            anyhow::ensure!(Clock.monotonic() < until, "the journal does not get as far");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What was found before the mark will not be found again once the snapshot is there: the store must have it by then.
    fn settle(&self, record: u64) -> anyhow::Result<()> {
        // The journal says that it has a record before it tells those who wait for it.
        self.charge.notifier.committed(record);
        self.charge.store.flush()?;
        Ok(())
    }

    /// Lets go of what neither the older of the snapshots nor the archive needs.
    fn trim(&self, folder: &Path) -> anyhow::Result<()> {
        let snapshots = snapshot::list(&self.charge.disk, folder).context("cannot list the snapshots")?;
        if let Some((record, _)) = snapshots.get(SNAPSHOTS_KEPT - 1) {
            // A store that lost the end of its log is told again what the journal holds.
            self.charge.store.checkpoint()?;
            let archived = self.charge.archived.as_ref().map_or(u64::MAX, |reached| reached.load(Ordering::Acquire));
            self.charge
                .journal
                .trim(archived.min(record + 1))
                .context("cannot let go of old segments of the journal")?;
        }
        Ok(())
    }
}
