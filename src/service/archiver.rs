//! Has what the journal holds written to the archive, in rounds, and what is old there forgotten. One thread of its own,
//! which gives way to everything else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::archive::{Archive, PseudonymKey, Retention};
use crate::clock::Clock;
use crate::config::ArchiveSettings;
use crate::event::Names;
use crate::journal::{Journal, Reader};
use crate::metrics::Metrics;
use crate::storage::Disk;

/// How often it looks whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Rest after something failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How often old hours are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// What it yields to others: rounds may wait, calls may not.
const NICE: i32 = 10;
const DAY_MS: i64 = 86_400_000;

/// The thread.
#[derive(Debug)]
pub(super) struct Archiver {
    thread: JoinHandle<()>,
    stop: Sender<()>,
    reached: Arc<AtomicU64>,
}

/// What it works with.
pub(super) struct Task {
    pub(super) disk: Disk,
    pub(super) archive: PathBuf,
    pub(super) journal_folder: PathBuf,
    /// Of pseudonyms; made when it is first needed.
    pub(super) key: PathBuf,
    pub(super) journal: Journal,
    pub(super) names: Arc<Names>,
    pub(super) settings: ArchiveSettings,
    pub(super) metrics: Arc<Metrics>,
}

impl Archiver {
    pub(super) fn start(task: Task) -> anyhow::Result<Archiver> {
        let archive = Archive::open(&task.disk, &task.archive).context("cannot open the archive")?;
        let reached = Arc::new(AtomicU64::new(archive.reached()));
        let (stop, stopping) = bounded(1);
        let now = Clock.monotonic();
        let work = Work {
            task,
            archive,
            reached: Arc::clone(&reached),
            round_at: now,
            round_bytes: 0,
            forgot_at: None,
            retry_at: None,
        };
        let thread = thread::Builder::new().name("archiver".into()).spawn(move || work.run(&stopping))?;
        Ok(Archiver { thread, stop, reached })
    }

    /// The first record that is not in files; all before it may go from the journal.
    pub(super) fn reached(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.reached)
    }

    /// A last round, and the thread ends.
    pub(super) fn stop(self) {
        self.stop.send(()).unwrap_or_default();
        // A panic was printed where it happened.
        drop(self.thread.join());
    }
}

struct Work {
    task: Task,
    archive: Archive,
    reached: Arc<AtomicU64>,
    /// When the last round was, and how long the journal was then.
    round_at: Instant,
    round_bytes: u64,
    forgot_at: Option<Instant>,
    retry_at: Option<Instant>,
}

impl Work {
    fn run(mut self, stopping: &Receiver<()>) {
        // Where the system does not let it, it competes.
        rustix::process::nice(NICE).unwrap_or_default();
        loop {
            let stops = !matches!(stopping.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout));
            if stops || self.is_due() {
                self.try_round();
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
        let written = self.task.journal.counts().bytes.saturating_sub(self.round_bytes);
        let settings = &self.task.settings;
        written >= settings.every_bytes || now.saturating_duration_since(self.round_at) >= settings.every
    }

    fn try_round(&mut self) {
        let bytes = self.task.journal.counts().bytes;
        match self.round().and_then(|()| self.forget()) {
            Ok(()) => (self.round_at, self.round_bytes, self.retry_at) = (Clock.monotonic(), bytes, None),
            Err(error) => {
                self.task.metrics.journal.archive_failures.increment(1);
                tracing::error!(
                    error = format!("{error:#}"),
                    "the archive is behind: the journal keeps what is missing"
                );
                self.retry_at = Some(Clock.monotonic() + RETRY_AFTER);
            }
        }
    }

    fn round(&mut self) -> anyhow::Result<()> {
        let begun = Clock.monotonic();
        let (first, last) = (self.archive.reached(), self.task.journal.committed());
        if last < first {
            return Ok(());
        }
        let mut reader = Reader::open(&self.task.disk, &self.task.journal_folder, first..=last)?;
        let records = std::iter::from_fn(|| {
            let raw = reader.next_raw()?;
            Some(raw.and_then(|raw| raw.decode()).map_err(anyhow::Error::from))
        });
        let round = self.archive.write_round(&self.task.names, records, last + 1)?;
        let report = reader.report();
        if report.n_lost_events > 0 {
            let (events, records) = (report.n_lost_events, report.n_lost_records);
            tracing::error!(events, records, "the journal is damaged: these events are not in the archive");
        }
        self.reached.store(self.archive.reached(), Ordering::Release);
        let metrics = &self.task.metrics.journal;
        metrics.archived_events.increment(round.events);
        metrics.archived_position.set(self.archive.next_position().saturating_sub(1) as f64);
        if round.events > 0 {
            let (events, files, bytes) = (round.events, round.files, round.bytes);
            tracing::info!(events, files, bytes, took = ?begun.elapsed(), "archived");
        }
        Ok(())
    }

    /// What is too old goes, and people in what is less old.
    fn forget(&mut self) -> anyhow::Result<()> {
        let now = Clock.monotonic();
        if self.forgot_at.is_some_and(|at| now.saturating_duration_since(at) < FORGET_EVERY) {
            return Ok(());
        }
        let settings = &self.task.settings;
        let days = |days: Option<u32>| days.map(|days| i64::from(days) * DAY_MS);
        let retention = Retention {
            age_ms_max: days(settings.age_max_days),
            bytes_max: settings.bytes_max,
            pseudonymise_after_ms: days(settings.pseudonymise_days),
            erase_after_ms: days(settings.erase_days),
        };
        let gone = self.archive.retain(Clock.now(), &retention)?;
        if gone.files > 0 {
            tracing::info!(files = gone.files, bytes = gone.bytes, "old hours of the archive are gone");
        }
        if retention.pseudonymise_after_ms.is_some() || retention.erase_after_ms.is_some() {
            let key = PseudonymKey::of_file(&self.task.key)?;
            let changed = self.archive.age(Clock.now(), &retention, &key)?;
            if changed.files > 0 {
                tracing::info!(
                    files = changed.files,
                    rows = changed.rows,
                    "in old hours of the archive, numbers are pseudonyms or gone"
                );
            }
        }
        self.forgot_at = Some(now);
        Ok(())
    }
}
