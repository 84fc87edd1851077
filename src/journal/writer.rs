//! The writer's thread: groups go to the segment, are synced, and are told of. Where the disk fails, nothing is let go:
//! the segment is given up and everything that is not durable is written again into the next.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::frame::{self, FrameKind, Header};
use super::handle::{Committed, Durability, Settings, Shared, Stuck, enter};
use super::names_file::NamesFile;
use super::pending::{Account, Group, Ledger, Resume, note};
use super::segment::{self, Identity, encode_context, encode_identity};
use crate::clock::Clock;
use crate::limits::JOURNAL_UNSYNCED_BYTES_MAX;
use crate::storage::{Disk, DiskFile};

pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    folder: PathBuf,
    settings: Settings,
    identity: Identity,
    names: NamesFile,
    listener: Box<dyn Fn(Committed) + Send>,
    segment: Option<Open>,
    /// Groups that are not written yet, and behind them those that are and wait for a sync; both in order.
    unwritten: VecDeque<Group>,
    unsynced: VecDeque<Group>,
    unsynced_bytes: usize,
    last_write: Instant,
    last_sync: Instant,
    /// What gateways are not told until a snapshot has what was left out before it.
    held: HashMap<crate::event::GatewayId, Account>,
    resume: Option<Resume>,
    n_resumed: u64,
}

/// The segment that is written.
struct Open {
    file: DiskFile,
    path: PathBuf,
    /// How much of it is durable and told: what stays if it is given up.
    good_bytes: u64,
    has_committed: bool,
}

/// A writer that panics, or a listener in its thread, leaves nobody who would make anything durable: that is told like a
/// disk that fails for good.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the journal's thread panicked; restart the service".to_owned();
            *enter(&self.0.stuck) = Some(Stuck { since: Clock.now(), why });
            self.0.is_stuck.store(true, Ordering::Release);
        }
    }
}

/// Why the writer woke up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Work,
    /// The last: nothing is appended any more.
    Stop,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Disk,
        folder: PathBuf,
        settings: Settings,
        identity: Identity,
        names: NamesFile,
        listener: Box<dyn Fn(Committed) + Send>,
    ) -> Writer {
        let now = Clock.monotonic();
        Writer {
            shared,
            disk,
            folder,
            settings,
            identity,
            names,
            listener,
            segment: None,
            unwritten: VecDeque::new(),
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            last_write: now,
            last_sync: now,
            held: HashMap::new(),
            resume: None,
            n_resumed: 0,
        }
    }

    pub(super) fn run(mut self) {
        let _end = End(Arc::clone(&self.shared));
        loop {
            let turn = self.wait();
            if let Err(e) = self.work(turn) {
                self.fail(&e);
                self.try_again(turn);
            }
            self.release_held();
            if turn == Turn::Stop {
                return;
            }
        }
    }

    /// Sleeps until it is time to write or sync, and takes what was appended.
    fn wait(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let mut pending = enter(&shared.pending);
        loop {
            let now = Clock.monotonic();
            let is_resumed = pending.resume.is_some();
            let due = self.due(pending.bytes);
            if pending.is_stopping || is_resumed || due.is_some_and(|due| due <= now) {
                break;
            }
            pending = match due {
                Some(due) => match shared.wake.wait_timeout(pending, due - now) {
                    Ok((pending, _)) => pending,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => {
                    // Set under the lock that every append takes before it looks.
                    shared.is_idle.store(true, Ordering::Release);
                    shared.wake.wait(pending).unwrap_or_else(|poisoned| poisoned.into_inner())
                }
            };
        }
        shared.is_idle.store(false, Ordering::Release);
        pending.take(&mut self.unwritten);
        self.resume = pending.resume.take().or(self.resume);
        if pending.is_stopping { Turn::Stop } else { Turn::Work }
    }

    /// When there is something to do next; `None` while there is nothing.
    fn due(&self, pending_bytes: usize) -> Option<Instant> {
        let since = |last: Instant, span: Duration| last.checked_add(span).unwrap_or(last);
        let write = match pending_bytes {
            0 => None,
            n if n >= self.settings.group_bytes => Some(self.last_write),
            _ => Some(since(self.last_write, self.settings.group_commit)),
        };
        let sync = (!self.unsynced.is_empty()).then(|| since(self.last_sync, self.settings.fsync_interval));
        [write, sync].into_iter().flatten().min()
    }

    /// Writes what there is, and syncs it if it is time.
    fn work(&mut self, turn: Turn) -> io::Result<()> {
        if !self.unwritten.is_empty() {
            self.names.catch_up()?;
            self.last_write = Clock.monotonic();
        }
        while let Some(group) = self.unwritten.front() {
            self.make_segment_for(group.first)?;
            let (Some(open), Some(group)) = (&mut self.segment, self.unwritten.pop_front()) else { break };
            let written = open.file.write_all(&group.bytes);
            // Also a group that is half written must be written again, before those behind it.
            self.unsynced_bytes += group.weight;
            self.unsynced.push_back(group);
            written?;
            if self.settings.durability == Durability::None {
                self.commit(None);
            } else if self.unsynced_bytes >= JOURNAL_UNSYNCED_BYTES_MAX {
                self.sync()?;
            }
        }
        let is_due = match self.settings.durability {
            Durability::None => turn == Turn::Stop,
            Durability::Ack => true,
            Durability::Interval => {
                turn == Turn::Stop || Clock.monotonic() - self.last_sync >= self.settings.fsync_interval
            }
        };
        if is_due { self.sync() } else { Ok(()) }
    }

    /// Opens the segment that this record goes to, where there is none or it is full.
    fn make_segment_for(&mut self, record: u64) -> io::Result<()> {
        let is_full = |open: &Open| open.file.bytes() >= self.settings.segment_bytes;
        if self.segment.as_ref().is_some_and(|open| !is_full(open)) {
            return Ok(());
        }
        // The next segment's name says that everything before it is durable.
        self.sync()?;
        self.segment = None;
        let Some(group) = self.unwritten.front() else { return Ok(()) };
        let mut payload = Vec::new();
        encode_identity(&self.identity, &mut payload);
        encode_context(&group.context, &mut payload);
        let mut bytes = Vec::new();
        let (number, position) = (record, group.position);
        let header = Header { kind: FrameKind::Opening, n_events: 0, number, position, n_uncommitted: 1 };
        frame::append(&header, &mut bytes, &payload);
        let path = segment::path(&self.folder, record);
        let mut file = self.disk.create(&path)?;
        file.write_all(&bytes)?;
        if self.settings.durability != Durability::None {
            self.disk.sync_folder(&self.folder)?;
        }
        self.shared.counters.segments.fetch_add(1, Ordering::Relaxed);
        self.segment = Some(Open { file, path, good_bytes: 0, has_committed: false });
        Ok(())
    }

    /// Makes durable what is written, and tells of it.
    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let Some(open) = &mut self.segment else { return Ok(()) };
        let begun = Clock.monotonic();
        self.last_sync = begun;
        open.file.sync()?;
        let took = Clock.monotonic() - begun;
        let counters = &self.shared.counters;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.sync_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.commit(Some(took));
        Ok(())
    }

    /// Everything written is durable.
    fn commit(&mut self, sync: Option<Duration>) {
        let Some(record) = self.unsynced.back().map(|group| group.last) else { return };
        if let Some(open) = &mut self.segment {
            (open.good_bytes, open.has_committed) = (open.file.bytes(), true);
        }
        let mut told = Ledger::new();
        let (mut n_bytes, mut n_records) = (0, 0);
        for group in self.unsynced.drain(..) {
            n_bytes += group.weight as u64;
            n_records += group.last + 1 - group.first;
            for account in &group.accounts {
                if account.n_outside <= self.n_resumed {
                    note(&mut told, account.gateway, account.highest_seq);
                } else {
                    hold(&mut self.held, account);
                }
            }
            enter(&self.shared.pending).give_back(group.bytes);
        }
        self.unsynced_bytes = 0;
        let counters = &self.shared.counters;
        counters.records.fetch_add(n_records, Ordering::Relaxed);
        counters.bytes.fetch_add(n_bytes, Ordering::Relaxed);
        counters.backlog_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
        self.shared.committed.store(record, Ordering::Release);
        self.tell(record, told, sync);
    }

    fn tell(&self, record: u64, told: Ledger, sync: Option<Duration>) {
        let mut durable = enter(&self.shared.durable);
        for (gateway, highest_seq) in &told {
            note(&mut durable, *gateway, *highest_seq);
        }
        drop(durable);
        (self.listener)(Committed { record, accounts: told.into_iter().collect(), sync });
    }

    /// A snapshot may have come to hold what was left out: tells of what waited for it.
    fn release_held(&mut self) {
        let committed = self.shared.committed.load(Ordering::Acquire);
        let Some(resume) = self.resume.take_if(|resume| resume.record <= committed) else { return };
        self.n_resumed = self.n_resumed.max(resume.n_outside);
        self.shared.n_resumed.store(self.n_resumed, Ordering::Release);
        let mut left_out = std::mem::take(&mut enter(&self.shared.pending).left_out);
        left_out.iter().for_each(|account| hold(&mut self.held, account));
        left_out.clear();
        let mut told = Ledger::new();
        let n_resumed = self.n_resumed;
        self.held.retain(|gateway, account| {
            let is_told = account.n_outside <= n_resumed;
            if is_told {
                note(&mut told, *gateway, account.highest_seq);
            }
            !is_told
        });
        if !told.is_empty() {
            self.tell(committed, told, None);
        }
    }

    /// Gives the segment up: what is not durable must be written again, elsewhere.
    fn fail(&mut self, error: &io::Error) {
        self.shared.counters.failures.fetch_add(1, Ordering::Relaxed);
        let mut stuck = enter(&self.shared.stuck);
        let since = stuck.as_ref().map_or_else(|| Clock.now(), |stuck| stuck.since);
        *stuck = Some(Stuck { since, why: error.to_string() });
        drop(stuck);
        self.shared.is_stuck.store(true, Ordering::Release);
        if let Some(mut open) = self.segment.take() {
            // Readers let the next segment rule, so this only spares them what they would pass over.
            if open.has_committed {
                drop(open.file.truncate(open.good_bytes));
            } else {
                drop(open.file);
                drop(self.disk.remove(&open.path));
            }
        }
        while let Some(group) = self.unsynced.pop_back() {
            self.unwritten.push_front(group);
        }
        self.unsynced_bytes = 0;
    }

    /// Tries until the disk takes it. When the journal is to end, once.
    fn try_again(&mut self, turn: Turn) {
        let mut turn = turn;
        loop {
            let was_stopping = turn == Turn::Stop;
            if !was_stopping {
                turn = self.rest();
            }
            match self.work(Turn::Stop) {
                Ok(()) => break,
                Err(e) => self.fail(&e),
            }
            if was_stopping || turn == Turn::Stop {
                return;
            }
        }
        *enter(&self.shared.stuck) = None;
        self.shared.is_stuck.store(false, Ordering::Release);
    }

    /// Waits before the disk is asked again; appended records gather meanwhile.
    fn rest(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let until = Clock.monotonic() + self.settings.retry;
        let mut pending = enter(&shared.pending);
        while !pending.is_stopping {
            let left = until.saturating_duration_since(Clock.monotonic());
            if left.is_zero() {
                break;
            }
            pending = match shared.wake.wait_timeout(pending, left) {
                Ok((pending, _)) => pending,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        if pending.is_stopping { Turn::Stop } else { Turn::Work }
    }
}

/// Keeps what a gateway is not told yet: of what it waits for, the later.
fn hold(held: &mut HashMap<crate::event::GatewayId, Account>, account: &Account) {
    let known = held.entry(account.gateway).or_insert(*account);
    known.highest_seq = known.highest_seq.max(account.highest_seq);
    known.n_outside = known.n_outside.max(account.n_outside);
}
