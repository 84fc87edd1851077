//! What the journal, the snapshots and the archive behind it do.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, gauge};

use super::Latency;
use crate::clock::{Clock, Timestamp};

/// See the module.
#[derive(Debug)]
pub struct JournalMetrics {
    pub(super) syncs: Latency,
    bytes: Counter,
    records: Counter,
    failures: Counter,
    outside: Counter,
    backlog_bytes: Gauge,
    stuck: Gauge,
    snapshots: Counter,
    snapshot_age_s: Gauge,
    /// ms of the machine's clock; 0: none yet.
    snapshot_at: AtomicI64,
    pub archived_events: Counter,
    pub archive_failures: Counter,
    /// Position of the last event that is in files.
    pub archived_position: Gauge,
    pub rules_warming: Gauge,
}

/// What a journal did since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct JournalFigures {
    pub bytes: u64,
    pub records: u64,
    /// Writes and syncs that failed.
    pub failures: u64,
    /// Batches that were left out.
    pub outside: u64,
    pub backlog_bytes: u64,
    pub is_stuck: bool,
}

pub(super) const COUNTERS: [(&str, Unit, &str); 7] = [
    ("ringfence_journal_bytes_total", Unit::Bytes, "Bytes written to the journal."),
    ("ringfence_journal_records_total", Unit::Count, "Records of the journal: batches of events, and ticks."),
    ("ringfence_journal_failures_total", Unit::Count, "Writes and syncs of the journal that failed."),
    ("ringfence_journal_outside_total", Unit::Count, "Batches that were judged but for which the journal had no room."),
    ("ringfence_snapshots_total", Unit::Count, "Snapshots taken."),
    ("ringfence_archive_events_total", Unit::Count, "Events written to files of the archive."),
    ("ringfence_archive_failures_total", Unit::Count, "Times the archive could not be written."),
];

pub(super) const GAUGES: [(&str, Unit, &str); 5] = [
    ("ringfence_journal_backlog_bytes", Unit::Bytes, "Bytes of the journal that are not on the disk for good."),
    ("ringfence_journal_stuck", Unit::Count, "1 while the journal cannot be written; nothing is acknowledged then."),
    ("ringfence_snapshot_age_seconds", Unit::Seconds, "Since the last snapshot was taken, or the start."),
    ("ringfence_rules_warming", Unit::Count, "Rules that are new and not yet told of all of their past."),
    ("ringfence_archive_position", Unit::Count, "Position in the journal of the last event that is in the archive."),
];

impl JournalMetrics {
    pub(super) fn register() -> JournalMetrics {
        let help = "Syncs of the journal; quantiles of the last 60 s, 1 is the longest.";
        JournalMetrics {
            syncs: Latency::new("ringfence_journal_fsync_seconds", help),
            bytes: counter!("ringfence_journal_bytes_total"),
            records: counter!("ringfence_journal_records_total"),
            failures: counter!("ringfence_journal_failures_total"),
            outside: counter!("ringfence_journal_outside_total"),
            backlog_bytes: gauge!("ringfence_journal_backlog_bytes"),
            stuck: gauge!("ringfence_journal_stuck"),
            snapshots: counter!("ringfence_snapshots_total"),
            snapshot_age_s: gauge!("ringfence_snapshot_age_seconds"),
            snapshot_at: AtomicI64::new(Clock.now().0),
            archived_events: counter!("ringfence_archive_events_total"),
            archive_failures: counter!("ringfence_archive_failures_total"),
            archived_position: gauge!("ringfence_archive_position"),
            rules_warming: gauge!("ringfence_rules_warming"),
        }
    }

    pub fn synced(&self, took: Duration) {
        self.syncs.record(took, 1);
    }

    pub fn snapshot_taken(&self, at: Timestamp) {
        self.snapshots.increment(1);
        self.snapshot_at.store(at.0, Ordering::Relaxed);
    }

    /// Called now and then.
    pub fn measure(&self, figures: &JournalFigures) {
        self.bytes.absolute(figures.bytes);
        self.records.absolute(figures.records);
        self.failures.absolute(figures.failures);
        self.outside.absolute(figures.outside);
        self.backlog_bytes.set(figures.backlog_bytes as f64);
        self.stuck.set(f64::from(u8::from(figures.is_stuck)));
        let age_ms = Clock.now().0.saturating_sub(self.snapshot_at.load(Ordering::Relaxed));
        self.snapshot_age_s.set(age_ms.max(0) as f64 / 1000.0);
    }
}
