//! The journal as those see it who append to it: never waiting, never failing, and told when what they appended is
//! durable.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::names_file::NamesFile;
use super::pending::{Ledger, Pending, Resume};
use super::reader::Cut;
use super::record::Context;
use super::segment::{self, Identity};
use super::writer::Writer;
use crate::clock::Timestamp;
use crate::engine::Judged;
use crate::event::GatewayId;
use crate::limits::{
    JOURNAL_BACKLOG_BYTES, JOURNAL_BACKLOG_BYTES_MAX, JOURNAL_GROUP_BYTES, JOURNAL_RETRY_MS,
    JOURNAL_SEGMENT_BYTES_DEFAULT, JOURNAL_SEGMENT_BYTES_MAX,
};
use crate::storage::Disk;

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Synced as soon as something waits, in groups.
    #[default]
    Ack,
    /// Synced now and then.
    Interval,
    /// Handed to the system and never synced: what survives the end of the process, but not that of the machine.
    None,
}

/// How the journal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub durability: Durability,
    /// Shortest time between two writes; with [`Durability::Ack`] between two syncs.
    pub group_commit: Duration,
    /// Bytes that are written without waiting for that time.
    pub group_bytes: usize,
    /// Time between syncs with [`Durability::Interval`].
    pub fsync_interval: Duration,
    /// At [`JOURNAL_SEGMENT_BYTES_MAX`] at the most.
    pub segment_bytes: u64,
    /// How long a disk that failed is left alone before it is tried again.
    pub retry: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            durability: Durability::default(),
            group_commit: Duration::from_millis(5),
            group_bytes: JOURNAL_GROUP_BYTES / 4,
            fsync_interval: Duration::from_millis(200),
            segment_bytes: JOURNAL_SEGMENT_BYTES_DEFAULT,
            retry: Duration::from_millis(JOURNAL_RETRY_MS),
        }
    }
}

/// Where the journal goes on, as recovery found it: the later of what the newest snapshot and the reader's
/// [`super::Report`] say.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub last_record: u64,
    /// Position of the next event; they begin with 1.
    pub next_position: u64,
    pub ledger: Ledger,
    /// A torn end that is cut off before anything is written.
    pub cut: Option<Cut>,
}

/// What a journal is opened with.
pub struct Options {
    pub disk: Disk,
    pub folder: PathBuf,
    pub settings: Settings,
    pub identity: Identity,
    pub names: NamesFile,
    pub context: Arc<Context>,
    pub start: Start,
    /// Called by the writer's thread with each commit, in order; it should be quick.
    pub listener: Box<dyn Fn(Committed) + Send>,
}

/// What became durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// All records up to this one.
    pub record: u64,
    /// What may be told these gateways: cumulative, each gateway once.
    pub accounts: Vec<(GatewayId, u64)>,
    /// How long the sync took that made it so.
    pub sync: Option<Duration>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Record {
        number: u64,
        /// Of the first event that is no duplicate.
        position: u64,
    },
    /// There was nothing to be kept.
    Nothing,
    /// The disk has been behind for too long: the batch is not in the journal and took no position.
    Outside,
}

/// Where the journal is, in the order of appends: what a snapshot cut at this very moment contains.
#[derive(Clone, Debug)]
pub struct Mark {
    pub last_record: u64,
    pub next_position: u64,
    pub ledger: Ledger,
    n_outside: u64,
}

/// Why nothing becomes durable at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub since: Timestamp,
    pub why: String,
}

/// What the journal did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    pub bytes: u64,
    pub syncs: u64,
    pub sync_us: u64,
    pub segments: u64,
    /// Writes and syncs that failed.
    pub failures: u64,
    /// Batches left out.
    pub outside: u64,
    /// Bytes that are not durable yet.
    pub backlog_bytes: u64,
}

/// The counters behind [`Counts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_us: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) outside: AtomicU64,
    pub(super) backlog_bytes: AtomicU64,
}

/// What appenders and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pending: Mutex<Pending>,
    /// The writer waits here, for work or for its time.
    pub(super) wake: Condvar,
    /// The writer has nothing to do and must be woken by the next append.
    pub(super) is_idle: AtomicBool,
    pub(super) committed: AtomicU64,
    /// Batches left out that a durable snapshot contains.
    pub(super) n_resumed: AtomicU64,
    pub(super) is_stuck: AtomicBool,
    pub(super) stuck: Mutex<Option<Stuck>>,
    pub(super) durable: Mutex<Ledger>,
    pub(super) counters: Counters,
    group_bytes: usize,
}

pub(super) fn enter<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A handle to the journal, cheap to clone. With the last one the journal is closed.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    disk: Disk,
    folder: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal behind what recovery read. The disk is not touched yet, except to cut a torn end.
    pub fn open(options: Options) -> std::io::Result<Journal> {
        let Options { disk, folder, settings, identity, names, context, start, listener } = options;
        disk.create_folder(&folder)?;
        if let Some(cut) = &start.cut {
            disk.truncate(&cut.segment, cut.at)?;
        }
        let shared = Arc::new(Shared {
            pending: Mutex::new(Pending::new(start.last_record, start.next_position, start.ledger.clone(), context)),
            wake: Condvar::new(),
            is_idle: AtomicBool::new(false),
            committed: AtomicU64::new(start.last_record),
            n_resumed: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
            stuck: Mutex::default(),
            durable: Mutex::new(start.ledger),
            counters: Counters::default(),
            group_bytes: settings.group_bytes,
        });
        let settings = Settings { segment_bytes: settings.segment_bytes.min(JOURNAL_SEGMENT_BYTES_MAX), ..settings };
        let writer =
            Writer::new(Arc::clone(&shared), disk.clone(), folder.clone(), settings, identity, names, listener);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run())?;
        Ok(Journal(Arc::new(Handle { shared, disk, folder, thread: Mutex::new(Some(thread)) })))
    }

    /// Appends what was judged, a batch or a tick, and marks it with its number. To be called in the engine's order, by
    /// one thread at a time; it encodes into memory and returns.
    pub fn append(&self, judged: &mut Judged) -> Appended {
        let batch = &judged.batch;
        let is_empty = batch.events.is_empty() && batch.source.highest_seq == 0 && batch.annex.is_empty();
        if is_empty && judged.tick.is_none() {
            return Appended::Nothing;
        }
        let shared = &*self.0.shared;
        let committed = shared.committed.load(Ordering::Acquire);
        let mut pending = enter(&shared.pending);
        let is_full = shared.counters.backlog_bytes.load(Ordering::Relaxed) >= JOURNAL_BACKLOG_BYTES_MAX as u64;
        let appended = if is_full || pending.is_stopping { None } else { pending.append(judged, committed) };
        let Some((number, position, weight)) = appended else {
            pending.leave_out(judged);
            shared.counters.outside.store(pending.n_outside, Ordering::Release);
            return Appended::Outside;
        };
        shared.counters.backlog_bytes.fetch_add(weight as u64, Ordering::Relaxed);
        let is_due = pending.bytes >= shared.group_bytes && pending.bytes - weight < shared.group_bytes;
        drop(pending);
        // Between two groups the writer sleeps until its time; a wake-up each append would cost more than the append.
        if is_due || shared.is_idle.swap(false, Ordering::AcqRel) {
            shared.wake.notify_one();
        }
        judged.record = number;
        Appended::Record { number, position }
    }

    /// What the numbers in records stand for from the next record on.
    pub fn set_context(&self, context: Arc<Context>) {
        enter(&self.0.shared.pending).set_context(context);
    }

    /// Where the journal is right now. Called in the engine's order, between two appends.
    pub fn mark(&self) -> Mark {
        let pending = enter(&self.0.shared.pending);
        Mark {
            last_record: pending.next_record - 1,
            next_position: pending.next_position,
            ledger: pending.ledger.clone(),
            n_outside: pending.n_outside,
        }
    }

    /// A snapshot taken at this mark is durable. What was left out before it need not be waited for any longer: once the
    /// records up to the mark are durable too, gateways are told of what was held back.
    pub fn resume(&self, mark: &Mark) {
        let shared = &*self.0.shared;
        let mut pending = enter(&shared.pending);
        let before = pending.resume.unwrap_or_default();
        pending.resume = Some(Resume {
            record: mark.last_record.max(before.record),
            n_outside: mark.n_outside.max(before.n_outside),
        });
        drop(pending);
        shared.wake.notify_one();
    }

    /// Batches were left out that no durable snapshot contains: gateways are not told of what came behind them until
    /// one does.
    pub fn needs_snapshot(&self) -> bool {
        let shared = &self.0.shared;
        shared.counters.outside.load(Ordering::Acquire) > shared.n_resumed.load(Ordering::Acquire)
    }

    /// Whether more should come. Sources that can wait, wait while it is not so.
    pub fn has_room(&self) -> bool {
        let shared = &self.0.shared;
        !shared.is_stuck.load(Ordering::Relaxed)
            && shared.counters.backlog_bytes.load(Ordering::Relaxed) <= JOURNAL_BACKLOG_BYTES as u64
    }

    /// Why nothing becomes durable, if it does not.
    pub fn stuck(&self) -> Option<Stuck> {
        enter(&self.0.shared.stuck).clone()
    }

    /// The last durable record.
    pub fn committed(&self) -> u64 {
        self.0.shared.committed.load(Ordering::Acquire)
    }

    /// What gateways may be told is held of them: what a `welcome` says.
    pub fn durable_seq(&self, gateway: GatewayId) -> u64 {
        enter(&self.0.shared.durable).get(&gateway).copied().unwrap_or(0)
    }

    /// The whole of it.
    pub fn durable_ledger(&self) -> Ledger {
        enter(&self.0.shared.durable).clone()
    }

    pub fn counts(&self) -> Counts {
        let counters = &self.0.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            records: read(&counters.records),
            bytes: read(&counters.bytes),
            syncs: read(&counters.syncs),
            sync_us: read(&counters.sync_us),
            segments: read(&counters.segments),
            failures: read(&counters.failures),
            outside: read(&counters.outside),
            backlog_bytes: read(&counters.backlog_bytes),
        }
    }

    /// Deletes the segments that hold nothing but records before this one; the newest is kept in any case. How many
    /// went.
    pub fn trim(&self, before_record: u64) -> std::io::Result<usize> {
        let Handle { disk, folder, .. } = &*self.0;
        let segments = segment::segments(disk, folder)?;
        let mut n_removed = 0;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.first > before_record {
                break;
            }
            disk.remove(&segment.path)?;
            n_removed += 1;
        }
        Ok(n_removed)
    }

    /// Makes durable what was appended and ends the writer. What is appended from now on stays outside. Whether all of
    /// it became durable: a disk that fails is given one more chance, then it is told why.
    pub fn close(&self) -> Result<(), Stuck> {
        self.0.close();
        self.stuck().map_or(Ok(()), Err)
    }
}

impl Handle {
    fn close(&self) {
        enter(&self.shared.pending).is_stopping = true;
        self.shared.wake.notify_one();
        let thread = enter(&self.thread).take();
        // A panic of the writer is printed where it happens; there is nothing left to wait for.
        drop(thread.map(JoinHandle::join));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
