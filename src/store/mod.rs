//! The store: audit, violations and blocks that people look at, the incident book with its inbox, and people, in SQLite.
//! All SQL of the project stands below here; others hand in plain values and get them back.
//!
//! It decides nothing: the truth of what runs is the journal and the snapshots, and what recovery tells again is known
//! by its journal position and changes nothing. One thread writes, in groups, each fsynced; a few connections read
//! beside it. A file that is damaged is set aside and a new one begun, so that the service always comes up.

mod book;
mod deliveries;
mod entry;
mod file;
mod firing;
mod inbox;
mod lookup;
mod people;
mod readers;
mod rows;
mod verify;
mod wal;
mod writer;

#[cfg(test)]
mod book_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};

pub use book::{BookChange, SubjectKind, SubjectQuery, SubjectRow, TransitionRow};
pub use deliveries::{DeliveryChange, DeliveryQuery, DeliveryRow, DeliveryStep, NewDelivery, Stop};
pub use entry::{Audit, Block, Change, Key, MUTED, Violation, Written};
pub use firing::Firing;
pub use inbox::{Closing, Inbox};
pub use lookup::{Cursor, Page, Query};
pub use people::{Token, User};

use crate::clock::{Clock, Timestamp};
use crate::limits::{STORE_JOBS_MAX, STORE_STOP_MS, STORE_WAIT_MS, STORE_WAITING_MAX};
use readers::Readers;
use writer::{Job, Write, Writer};

/// Name of the database in the data folder.
pub const DATABASE: &str = "ringfence.db";

/// Why the store cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store {DATABASE}: schema {found} is newer than this build reads ({reads})")]
    Newer { found: i64, reads: i64 },
    #[error("store {DATABASE}: belongs to another application (id {0:#x})")]
    Foreign(i32),
    #[error("store {DATABASE}: keeps no write-ahead log here (journal mode `{0}`); use a local file system")]
    NoLog(String),
    #[error("store {DATABASE}: cannot be begun: {0}")]
    Begin(String),
    #[error("store {DATABASE}: cannot {0}: {1}")]
    Sqlite(&'static str, rusqlite::Error),
    #[error("store {0}: {1}")]
    Folder(PathBuf, io::Error),
    #[error("store {DATABASE}: cannot hold what it was given: {0}")]
    Refused(String),
    #[error("store {DATABASE}: all readers are busy")]
    Busy,
    #[error("store {DATABASE}: not written yet: {0}")]
    NotYet(String),
    #[error("store {DATABASE}: {waiting} changes wait, it takes no more")]
    Full { waiting: usize },
    #[error("store {DATABASE}: closed")]
    Closed,
}

/// What an open found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no database, or none that could be used. Where there is a journal, somebody took it away.
    pub created: bool,
    /// The schema it had before this build brought it forward.
    pub migrated_from: Option<i64>,
    /// A damaged database that was replaced by a new one: an operator must know.
    pub set_aside: Option<SetAside>,
    /// What was damaged and could be mended, and what is missing since: sentences for the log.
    pub mended: Vec<String>,
}

/// A damaged database, kept for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    pub path: PathBuf,
    pub why: String,
    /// Rows that were still what was written; the new database has them.
    pub rows_saved: usize,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Changes that are not durable yet.
    pub waiting: usize,
    /// Changes written since the start.
    pub written: u64,
    /// Changes that were not taken, or that could not be written at all.
    pub refused: u64,
    /// Since when writing fails, and why. It is tried again until it works.
    pub failing: Option<(Timestamp, String)>,
    /// Databases set aside while running.
    pub set_aside: Vec<SetAside>,
}

/// Changes that found no room; they are the caller's again.
#[derive(Debug)]
pub struct NoRoom {
    pub changes: Vec<Change>,
    pub why: StoreError,
}

/// The answer to [`Store::record`], when it comes.
#[derive(Debug)]
pub struct Receipt(Receiver<Result<Vec<Written>, StoreError>>);

impl Receipt {
    /// Waits until the changes are durable: what became of each. [`StoreError::NotYet`] leaves them waiting to be
    /// written.
    pub fn wait(self) -> Result<Vec<Written>, StoreError> {
        wait_for(&self.0)
    }
}

/// The database of one data folder. Dropping it closes it.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer tells everybody.
#[derive(Debug)]
struct Shared {
    readers: Readers,
    waiting: AtomicUsize,
    written: AtomicU64,
    refused: AtomicU64,
    arrived: AtomicU64,
    queued: AtomicU64,
    is_closed: AtomicBool,
    state: Mutex<State>,
    #[cfg(test)]
    pages_max: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    failing: Option<(Timestamp, String)>,
    set_aside: Vec<SetAside>,
    stopping_since: Option<Instant>,
}

impl Store {
    /// Opens the store of a data folder, which is made where it is missing. Refuses what belongs to somebody else or to
    /// a newer build; what is damaged is set aside and reported.
    pub fn open(folder: &Path) -> Result<(Store, OpenReport), StoreError> {
        std::fs::create_dir_all(folder).map_err(|e| StoreError::Folder(folder.to_owned(), e))?;
        let path = folder.join(DATABASE);
        let (db, report) = file::open(&path)?;
        let shared = Arc::new(Shared {
            readers: Readers::new(&path),
            waiting: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            state: Mutex::default(),
            #[cfg(test)]
            pages_max: AtomicUsize::new(0),
        });
        let (jobs, work) = bounded(STORE_JOBS_MAX);
        let writer = Writer { path, db: Some(db), damage: None, jobs: work, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run());
        let thread = thread.map_err(|e| StoreError::Folder(folder.to_owned(), e))?;
        Ok((Store { shared, jobs, thread: Mutex::new(Some(thread)) }, report))
    }

    /// Queues changes to be written together, in the order of the calls, and never waits. Without room they come back,
    /// counted in [`Health::refused`].
    pub fn record(&self, changes: Vec<Change>) -> Result<Receipt, NoRoom> {
        let n = changes.len();
        let waiting = self.shared.waiting.fetch_add(n, Ordering::Relaxed);
        // More than the bound at once takes its place alone, or it never would.
        let has_room = waiting + n <= STORE_WAITING_MAX || waiting == 0;
        let (reply, answer) = bounded(1);
        let back = if !has_room || self.shared.is_closed.load(Ordering::Acquire) {
            changes
        } else {
            match self.jobs.try_send(Job::Write(Write { changes, reply })) {
                Ok(()) => return Ok(Receipt(answer)),
                Err(e) => match e.into_inner() {
                    Job::Write(write) => write.changes,
                    _ => Vec::new(),
                },
            }
        };
        self.shared.waiting.fetch_sub(n, Ordering::Relaxed);
        self.shared.refused.fetch_add(n as u64, Ordering::Relaxed);
        let is_closed = self.shared.is_closed.load(Ordering::Acquire);
        let why = if is_closed { StoreError::Closed } else { StoreError::Full { waiting } };
        Err(NoRoom { changes: back, why })
    }

    /// Writes an audit entry and waits until it is durable; its number. What it tells of should not be done before.
    /// Blocks for an fsync or two.
    pub fn audit(&self, audit: Audit) -> Result<i64, StoreError> {
        let written = self.record(vec![Change::Audit(audit)]).map_err(|e| e.why)?.wait()?;
        match written.first() {
            Some(Written::Added(id)) => Ok(*id),
            _ => Err(StoreError::Closed),
        }
    }

    /// Waits until everything that was recorded before is durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = bounded(1);
        self.ask(Job::Write(Write { changes: Vec::new(), reply }))?;
        wait_for(&answer).map(drop)
    }

    /// Moves the log into the database. What was recorded before this survives the loss of the log, so whoever lets go
    /// of the journal that could tell it again calls it first.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let (reply, answer) = bounded(1);
        self.ask(Job::Checkpoint(reply))?;
        wait_for(&answer)
    }

    /// Deletes violations and closings of before that time that the incident book has taken, and blocks that were over by
    /// then; never audit entries, nor anything of the book. What is recorded meanwhile is not held up. How many went.
    pub fn prune(&self, before: Timestamp) -> Result<usize, StoreError> {
        let mut n = 0;
        loop {
            let (reply, answer) = bounded(1);
            self.ask(Job::Prune(before, reply))?;
            match wait_for(&answer)? {
                0 => return Ok(n),
                more => n += more,
            }
        }
    }

    /// Numbers and entries of the audit. `value` asks for a subject.
    pub fn audits(&self, query: &Query) -> Result<Page<(i64, Audit)>, StoreError> {
        self.shared.readers.with(|db| lookup::audits(db, query).map_err(cannot("read")))
    }

    pub fn violations(&self, query: &Query) -> Result<Page<Violation>, StoreError> {
        self.shared.readers.with(|db| lookup::violations(db, query).map_err(cannot("read")))
    }

    pub fn blocks(&self, query: &Query) -> Result<Page<Block>, StoreError> {
        self.shared.readers.with(|db| lookup::blocks(db, query).map_err(cannot("read")))
    }

    /// What the incident book has not taken, behind a number of the inbox (0: all), the oldest first. What cannot be read
    /// is left out and stays.
    pub fn inbox(&self, after: i64, rows: usize) -> Result<Page<(i64, Inbox), i64>, StoreError> {
        self.shared.readers.with(|db| inbox::page(db, after, rows).map_err(cannot("read")))
    }

    /// What was put into the inbox since the store was opened: who watches this need not ask the database.
    pub fn arrived(&self) -> u64 {
        self.shared.arrived.load(Ordering::Acquire)
    }

    /// How often deliveries were queued since the store was opened.
    pub fn queued(&self) -> u64 {
        self.shared.queued.load(Ordering::Acquire)
    }

    /// Subjects of the incident book, the newest first.
    pub fn subjects(&self, kind: SubjectKind, query: &SubjectQuery) -> Result<Page<SubjectRow, i64>, StoreError> {
        self.shared.readers.with(|db| book::subjects(db, kind, query).map_err(cannot("read")))
    }

    pub fn subject(&self, kind: SubjectKind, id: i64) -> Result<Option<SubjectRow>, StoreError> {
        self.shared.readers.with(|db| book::subject_by_id(db, kind, id).map_err(cannot("read")))
    }

    /// Numbers and steps of one subject behind a number (0: all), the oldest first.
    pub fn transitions(
        &self,
        kind: SubjectKind,
        id: i64,
        after: i64,
        rows: usize,
    ) -> Result<Page<(i64, TransitionRow), i64>, StoreError> {
        let of = Some((kind, id));
        self.shared.readers.with(|db| book::transitions(db, of, after, rows).map_err(cannot("read")))
    }

    /// Numbers and steps of all subjects behind a number (0: all), the oldest first.
    pub fn transitions_since(&self, after: i64, rows: usize) -> Result<Page<(i64, TransitionRow), i64>, StoreError> {
        self.shared.readers.with(|db| book::transitions(db, None, after, rows).map_err(cannot("read")))
    }

    /// The highest number that a subject of this kind has, 0 without any: the next one is the book's.
    pub fn highest(&self, kind: SubjectKind) -> Result<i64, StoreError> {
        self.shared.readers.with(|db| book::highest(db, kind).map_err(cannot("read")))
    }

    /// The newest first.
    pub fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryRow, i64>, StoreError> {
        self.shared.readers.with(|db| deliveries::page(db, query).map_err(cannot("read")))
    }

    pub fn delivery(&self, id: i64) -> Result<Option<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::by_id(db, id).map_err(cannot("read")))
    }

    /// Queued deliveries of a channel that may be sent now, the gravest first.
    pub fn deliveries_due(&self, channel: &str, now: Timestamp, n: usize) -> Result<Vec<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::due(db, channel, now, n).map_err(cannot("read")))
    }

    /// Deliveries of which nobody knows what became, where it is time to ask.
    pub fn deliveries_unknown(&self, now: Timestamp, n: usize) -> Result<Vec<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::in_state(db, "unknown", now, n).map_err(cannot("read")))
    }

    /// Deliveries that somebody was sending.
    pub fn deliveries_leased(&self, n: usize) -> Result<Vec<DeliveryRow>, StoreError> {
        let ever = Timestamp(i64::MAX);
        self.shared.readers.with(|db| deliveries::in_state(db, "leased", ever, n).map_err(cannot("read")))
    }

    /// Grave deliveries that wait for a channel while no other one was given the same.
    pub fn deliveries_stranded(&self, channel: &str, n: usize) -> Result<Vec<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::stranded(db, channel, n).map_err(cannot("read")))
    }

    /// Deliveries that were given up since then, and for which no other way was found.
    pub fn deliveries_dead(&self, since: Timestamp) -> Result<u64, StoreError> {
        self.shared.readers.with(|db| deliveries::dead(db, since).map_err(cannot("read")))
    }

    /// Whether the person has the same message by another way.
    pub fn is_told_otherwise(&self, row: &DeliveryRow) -> Result<bool, StoreError> {
        self.shared.readers.with(|db| deliveries::is_told_otherwise(db, row).map_err(cannot("read")))
    }

    /// What was held back from an address, the newest first.
    pub fn deliveries_held(&self, channel: &str, address: &str) -> Result<Vec<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::held(db, channel, address).map_err(cannot("read")))
    }

    /// The digest that waits for an address.
    pub fn digest_for(&self, channel: &str, address: &str) -> Result<Option<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::digest(db, channel, address).map_err(cannot("read")))
    }

    /// Those on the call sheet whom nobody phoned while it made sense.
    pub fn deliveries_unphoned(&self, now: Timestamp, n: usize) -> Result<Vec<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::unphoned(db, now, n).map_err(cannot("read")))
    }

    /// Channels for which a delivery is queued.
    pub fn delivery_channels(&self) -> Result<Vec<String>, StoreError> {
        self.shared.readers.with(|db| deliveries::channels(db).map_err(cannot("read")))
    }

    /// When the next delivery has something to do.
    pub fn deliveries_next(&self) -> Result<Option<Timestamp>, StoreError> {
        self.shared.readers.with(|db| deliveries::next_due(db).map_err(cannot("read")))
    }

    /// When the oldest delivery was queued that nobody has got yet, and how many of those there are.
    pub fn deliveries_waiting(&self) -> Result<(Option<Timestamp>, u64), StoreError> {
        self.shared.readers.with(|db| deliveries::waiting(db).map_err(cannot("read")))
    }

    /// When an address was handed something by a channel since then, the oldest first.
    pub fn handed_since(&self, channel: &str, address: &str, since: Timestamp) -> Result<Vec<Timestamp>, StoreError> {
        self.shared.readers.with(|db| deliveries::handed(db, channel, address, since).map_err(cannot("read")))
    }

    /// The first delivery of a message by which its customer was told.
    pub fn told_by(&self, message: i64) -> Result<Option<DeliveryRow>, StoreError> {
        self.shared.readers.with(|db| deliveries::told(db, message).map_err(cannot("read")))
    }

    pub fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        self.shared.readers.with(|db| people::user_by_name(db, name).map_err(cannot("read")))
    }

    /// In the order in which they came; `after`: where a page ended, 0 for the first.
    pub fn users(&self, after: i64, rows: usize) -> Result<Page<User, i64>, StoreError> {
        self.shared.readers.with(|db| people::users(db, after, rows).map_err(cannot("read")))
    }

    pub fn token(&self, id: &str) -> Result<Option<Token>, StoreError> {
        self.shared.readers.with(|db| people::token_by_id(db, id).map_err(cannot("read")))
    }

    /// Of one user or of all, in the order in which they came; `after`: where a page ended, 0 for the first.
    pub fn tokens(&self, of: Option<&str>, after: i64, rows: usize) -> Result<Page<Token, i64>, StoreError> {
        self.shared.readers.with(|db| people::tokens(db, of, after, rows).map_err(cannot("read")))
    }

    /// What Alertmanagers were told and have not been told the end of, in the order in which it came; `after`: where a page
    /// ended, 0 for the first.
    pub fn firing(&self, after: i64, rows: usize) -> Result<Page<Firing, i64>, StoreError> {
        self.shared.readers.with(|db| firing::page(db, after, rows).map_err(cannot("read")))
    }

    /// The last of the violations whose ids begin with this text up to a `/`, in the order of their ids.
    pub fn last_violation_of(&self, prefix: &str) -> Result<Option<String>, StoreError> {
        self.shared.readers.with(|db| rows::last_violation_of(db, prefix).map_err(cannot("read")))
    }

    /// When the episode of the closing of this id was over, where there is such a closing.
    pub fn closed_at(&self, id: &str) -> Result<Option<Timestamp>, StoreError> {
        self.shared.readers.with(|db| inbox::closed_at(db, id).map_err(cannot("read")))
    }

    /// Reads everything and compares it with its sums and indices: what is wrong, in sentences. Takes as long as reading
    /// the file does.
    pub fn verify(&self) -> Result<Vec<String>, StoreError> {
        self.shared.readers.with(|db| verify::verify(db).map_err(cannot("verify")))
    }

    /// A copy of one moment, while everything goes on. It is checked before it gets its name, and needs no other file.
    pub fn backup_to(&self, path: &Path) -> Result<(), StoreError> {
        self.shared.readers.with(|db| verify::backup(db, path))
    }

    pub fn health(&self) -> Health {
        let state = self.shared.state();
        Health {
            waiting: self.shared.waiting.load(Ordering::Relaxed),
            written: self.shared.written.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            failing: state.failing.clone(),
            set_aside: state.set_aside.clone(),
        }
    }

    /// Writes what waits and closes the file. A disk that still refuses is waited for no longer than [`STORE_STOP_MS`];
    /// [`Health::refused`] says what was given up.
    pub fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take() else { return };
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.state().stopping_since = Some(Clock.monotonic());
        thread.thread().unpark();
        // Full, it is being emptied: by writing, or by giving up.
        let told = self.jobs.send(Job::Stop);
        let ended = thread.join();
        debug_assert!(ended.is_ok(), "the writer does not panic");
        drop(told);
    }

    fn ask(&self, job: Job) -> Result<(), StoreError> {
        if self.shared.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let wait = Duration::from_millis(STORE_WAIT_MS);
        self.jobs.send_timeout(job, wait).map_err(|_| StoreError::Full { waiting: self.health().waiting })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is wrong with the store of a data folder that nobody, or another process, has open.
pub fn examine(folder: &Path) -> Result<Vec<String>, StoreError> {
    let db = file::connect_reader(&folder.join(DATABASE)).map_err(cannot("open"))?;
    verify::verify(&db).map_err(cannot("verify"))
}

/// A copy of the store of a data folder that another process may have open, as [`Store::backup_to`] makes it. Damage is
/// [`StoreError::Refused`].
pub fn copy(folder: &Path, to: &Path) -> Result<(), StoreError> {
    let db = file::connect_reader(&folder.join(DATABASE)).map_err(cannot("open"))?;
    match verify::backup(&db, to) {
        Err(StoreError::Sqlite(_, e)) if readers::is_damage(&e) => Err(StoreError::Refused(e.to_string())),
        other => other,
    }
}

fn cannot(what: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |e| StoreError::Sqlite(what, e)
}

fn wait_for<T>(answer: &Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    use crossbeam::channel::RecvTimeoutError::{Disconnected, Timeout};
    match answer.recv_timeout(Duration::from_millis(STORE_WAIT_MS)) {
        Ok(answer) => answer,
        Err(Timeout) => Err(StoreError::NotYet("it waits, and is written when the disk lets it".into())),
        Err(Disconnected) => Err(StoreError::Closed),
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn done(&self, write: Write, written: Result<Vec<Written>, StoreError>) {
        let n = write.changes.len();
        self.waiting.fetch_sub(n, Ordering::Relaxed);
        let counter = if written.is_ok() { &self.written } else { &self.refused };
        counter.fetch_add(n as u64, Ordering::Relaxed);
        if let Ok(written) = &written {
            let is_news = |(change, written): &(&Change, &Written)| {
                matches!(change, Change::Violation(_) | Change::Closed(_)) && matches!(written, Written::Added(_))
            };
            let arrived = write.changes.iter().zip(written).filter(is_news).count();
            self.arrived.fetch_add(arrived as u64, Ordering::Release);
            let queues = |change: &Change| match change {
                Change::Book(change) => !change.deliveries.is_empty(),
                Change::Deliveries(change) => !change.queue.is_empty(),
                _ => false,
            };
            self.queued
                .fetch_add(write.changes.iter().filter(|change| queues(change)).count() as u64, Ordering::Release);
        }
        // Most callers do not wait.
        drop(write.reply.try_send(written));
    }

    fn failed(&self, why: &str) {
        let mut state = self.state();
        let since = state.failing.as_ref().map_or_else(|| Clock.now(), |(since, _)| *since);
        if state.failing.is_none() {
            tracing::error!(error = why, "store cannot write, and tries again");
        }
        state.failing = Some((since, why.to_owned()));
    }

    fn works(&self) {
        if let Some((since, _)) = self.state().failing.take() {
            tracing::info!(%since, "store writes again");
        }
    }

    fn set_aside(&self, aside: Option<SetAside>) {
        if let Some(aside) = aside {
            tracing::error!(path = %aside.path.display(), why = aside.why, "store was damaged and has been set aside");
            self.state().set_aside.push(aside);
        }
    }

    fn has_waited_for_stop(&self) -> bool {
        let waited = |since: Instant| Clock.monotonic().saturating_duration_since(since);
        self.state().stopping_since.is_some_and(|since| waited(since) >= Duration::from_millis(STORE_STOP_MS))
    }

    /// A disk that is full from so many pages on, 0: none; and nothing cached, so that the disk is what counts.
    #[cfg(test)]
    fn limit_pages(&self, db: &rusqlite::Connection) {
        db.execute_batch("PRAGMA shrink_memory").unwrap();
        let pages = self.pages_max.load(Ordering::Relaxed);
        let pages = if pages == 0 { 1_000_000_000 } else { pages as i64 };
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }
}
