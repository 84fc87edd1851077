//! Tells rules that are new of the past: events of the last window before the state began, from the archive and, where
//! that ends, from the journal, counted as late ones while calls go on.
//!
//! A thread of its own, and only where a rule is warming. It rests as long as it works, so that it takes half a core at
//! the most. It is not made to give way by the scheduler: whoever submits works for all, and one who holds a shard and is
//! not let run would hold up calls. It judges nothing and writes nothing; a stop ends it at the next batch, and the next
//! start begins again.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

use super::audit;
use super::recovery::{Mapping, Recovered};
use crate::archive::{Archive, Query, State, Told};
use crate::clock::{Clock, Timestamp};
use crate::engine::output::rule_name;
use crate::engine::{Engine, Lack, Lacking, Lane, LaneOptions, Past, RuleRef, Verdict};
use crate::event::Batch;
use crate::journal::{Context, Entry, Mark, Reader};
use crate::limits::BACKFILL_BATCHES_MAX;
use crate::storage::Disk;
use crate::store::Store;

/// How often rules that nobody can tell are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest rest between two batches.
const REST_MAX: Duration = Duration::from_millis(50);
/// The journal may be trimmed while it is read: then the archive has what is gone from it.
const ATTEMPTS: usize = 3;

/// Where the state began: what comes behind it was counted as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The last record before it.
    record: u64,
    /// The position of the first event behind it.
    position: u64,
}

impl Place {
    /// Where other rules came into force: what comes behind it they count as it comes.
    pub(super) fn at(mark: &Mark) -> Place {
        Place { record: mark.last_record, position: mark.next_position }
    }

    /// To be asked before the journal's tail is read. Where no snapshot could be read and the journal does not go back to
    /// its beginning, every rule lacks the past.
    pub(super) fn of(disk: &Disk, journal: &Path, engine: &Engine, recovered: &Recovered) -> anyhow::Result<Place> {
        let place = Place { record: recovered.record, position: recovered.next_position };
        if recovered.snapshot.is_some() {
            return Ok(place);
        }
        let mut reader = Reader::open(disk, journal, 1..=u64::MAX)?;
        if reader.report().n_lost_records == 0 {
            return Ok(place);
        }
        let Some(first) = reader.next_raw().transpose()? else { return Ok(place) };
        engine.lack_all();
        Ok(Place { record: first.number.saturating_sub(1), position: first.position })
    }
}

/// A handle to the thread, where there is one; clones are the same.
#[derive(Clone)]
pub(super) struct Backfill(Arc<Handle>);

struct Handle {
    task: Mutex<Task>,
    thread: Mutex<Option<(JoinHandle<()>, Sender<()>)>>,
    n_warming: Arc<AtomicUsize>,
}

impl fmt::Debug for Backfill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backfill({} rules)", self.0.n_warming.load(Ordering::Relaxed))
    }
}

/// What it works with.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) disk: Disk,
    pub(super) archive: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) engine: Engine,
    pub(super) store: Arc<Store>,
    pub(super) place: Place,
    /// How long after its time an event may come: so much older events still stand in a window.
    pub(super) delay_ms: i64,
    /// Set when rules are warm: until a snapshot says so, a restart begins again.
    pub(super) wants_snapshot: Arc<AtomicBool>,
}

impl Backfill {
    pub(super) fn start(task: Task) -> std::io::Result<Backfill> {
        let (task, thread) = (Mutex::new(task), Mutex::default());
        let backfill = Backfill(Arc::new(Handle { task, thread, n_warming: Arc::default() }));
        backfill.go_on(None)?;
        Ok(backfill)
    }

    /// Begins with the rules that are warming now. `place`: where the state begins that those of them have which were told
    /// nothing yet, where that is another one.
    pub(super) fn go_on(&self, place: Option<Place>) -> std::io::Result<()> {
        let mut task = self.0.task.lock().unwrap_or_else(|e| e.into_inner());
        task.place = place.unwrap_or(task.place);
        let (stop, stopping) = bounded(1);
        let mut work = Work { task: task.clone(), stopping, n_warming: Arc::clone(&self.0.n_warming) };
        let tellable = work.settle();
        if work.count() == 0 {
            return Ok(());
        }
        let thread = thread::Builder::new().name("backfill".into()).spawn(move || work.run(&tellable))?;
        *self.0.thread.lock().unwrap_or_else(|e| e.into_inner()) = Some((thread, stop));
        Ok(())
    }

    /// Begins again after a pause, where the tables are those of before: what it was at has been told by half and would
    /// count twice. Those rules are warm when a window has passed.
    pub(super) fn give_up(&self) -> std::io::Result<()> {
        {
            let engine = &self.0.task.lock().unwrap_or_else(|e| e.into_inner()).engine;
            let begun = engine.lacking().into_iter().filter(|of| of.lack == Lack::Past && of.can_be_told);
            begun.for_each(|of| engine.set_lack(of.rule, Some(Lack::Until(Timestamp::MAX))));
        }
        self.go_on(None)
    }

    /// Rules that are warming.
    pub(super) fn warming(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0.n_warming)
    }

    /// Ends the thread; what it has not told is told when it goes on, or after the next start.
    pub(super) fn pause(&self) {
        let thread = self.0.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some((thread, stop)) = thread {
            stop.try_send(()).unwrap_or_default();
            // A panic was printed where it happened.
            drop(thread.join());
        }
    }
}

struct Work {
    task: Task,
    stopping: Receiver<()>,
    n_warming: Arc<AtomicUsize>,
}

/// Told to stop.
struct Stopped;

impl Work {
    /// Says when the rules are warm that nobody can tell; gives the others.
    fn settle(&mut self) -> Vec<Lacking> {
        let lacking = self.task.engine.lacking();
        let (tellable, others): (Vec<Lacking>, Vec<Lacking>) =
            lacking.into_iter().partition(|of| of.lack == Lack::Past && of.can_be_told);
        for of in others.iter().filter(|of| matches!(of.lack, Lack::Past | Lack::Until(Timestamp::MAX))) {
            let until = self.wait_out(of);
            let rule = rule_name(&self.task.engine.policy(), of.rule);
            tracing::warn!(rule, %until, "the rule's past cannot be told: it may count too little until then");
        }
        tellable
    }

    /// From one window after now on, nothing is missing any more.
    fn wait_out(&self, of: &Lacking) -> Timestamp {
        let until = Clock.now().plus_ms(of.window_ms).plus_ms(self.task.delay_ms);
        self.task.engine.set_lack(of.rule, Some(Lack::Until(until)));
        until
    }

    fn count(&self) -> usize {
        let n = self.task.engine.lacking().len();
        self.n_warming.store(n, Ordering::Relaxed);
        n
    }

    fn run(self, tellable: &[Lacking]) {
        if !tellable.is_empty() && self.tell(tellable).is_err() {
            return;
        }
        while self.count() > 0 {
            if self.stopping.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let now = Clock.now();
            for of in self.task.engine.lacking() {
                if let Lack::Until(until) = of.lack
                    && until <= now
                {
                    self.is_warm(&[of], 0);
                }
            }
        }
    }

    fn tell(&self, rules: &[Lacking]) -> Result<(), Stopped> {
        let begun = Clock.monotonic();
        let mut telling = Telling::new(self, rules);
        let failed = match telling.run() {
            Ok(()) => None,
            Err(Ended::Stopped) => return Err(Stopped),
            Err(Ended::Failed(error)) => Some(format!("{error:#}")),
        };
        let (n_events, known_from) = (telling.n_events, telling.known_from());
        let is_told = |of: &Lacking| failed.is_none() && telling.horizon(of) >= known_from;
        let (warm, short): (Vec<Lacking>, Vec<Lacking>) = rules.iter().partition(|of| is_told(of));
        drop(telling);
        if let Some(error) = failed {
            tracing::error!(error, "the past of new rules cannot be read");
        }
        for of in short {
            let (until, rule) = (self.wait_out(&of), rule_name(&self.task.engine.policy(), of.rule));
            tracing::warn!(rule, %until, "not all of the rule's past is there: it may count too little until then");
        }
        let (warm, settling): (Vec<Lacking>, Vec<Lacking>) = warm.into_iter().partition(|of| of.settles_ms == 0);
        for of in settling {
            let until = Clock.now().plus_ms(of.settles_ms).plus_ms(self.task.delay_ms);
            self.task.engine.set_lack(of.rule, Some(Lack::Until(until)));
            let rule = rule_name(&self.task.engine.policy(), of.rule);
            tracing::info!(rule, %until, "the past is told; what came meanwhile may look new until then");
        }
        if !warm.is_empty() {
            tracing::info!(n_events, took = ?begun.elapsed(), "the past is told");
            self.is_warm(&warm, n_events);
        }
        Ok(())
    }

    fn is_warm(&self, rules: &[Lacking], n_events: u64) {
        let policy = &self.task.engine.policy();
        for of in rules {
            self.task.engine.set_lack(of.rule, None);
            tracing::info!(rule = rule_name(policy, of.rule), "the rule is warm: its windows lack nothing");
        }
        let ids: Vec<String> = rules.iter().map(|of| rule_name(policy, of.rule)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        audit::warmed(&self.task.store, &ids, n_events);
        self.count();
        self.task.wants_snapshot.store(true, Ordering::Release);
    }
}

/// Why telling ended before its end.
enum Ended {
    Stopped,
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Failed(error.into())
    }
}

/// One run through the past.
struct Telling<'a> {
    work: &'a Work,
    rules: &'a [Lacking],
    lane: Lane,
    /// Since when each rule counts; known once the first of the past is looked at.
    past: Option<Past>,
    /// Places of batches under way.
    give: Sender<()>,
    take: Receiver<()>,
    rested_at: Instant,
    /// The position that comes next.
    next: u64,
    n_events: u64,
    /// Time of the newest event that was met, and that from which on nothing is missing.
    newest: i64,
    oldest: i64,
    /// The first position of all is known.
    is_whole: bool,
    /// The archive has some of it.
    is_archived: bool,
}

impl<'a> Telling<'a> {
    fn new(work: &'a Work, rules: &'a [Lacking]) -> Telling<'a> {
        let (give, take) = bounded(BACKFILL_BATCHES_MAX);
        Telling {
            work,
            rules,
            lane: work.task.engine.lane(LaneOptions::default()),
            past: None,
            give,
            take,
            rested_at: Clock.monotonic(),
            next: 1,
            n_events: 0,
            newest: i64::MIN,
            oldest: i64::MAX,
            is_whole: work.task.place.position <= 1,
            is_archived: false,
        }
    }

    /// From this instant on, nothing is missing.
    fn known_from(&self) -> i64 {
        if self.is_whole { i64::MIN } else { self.oldest }
    }

    /// What is older has left the rule's windows, also those that late events look back on. An event of the future moves
    /// no window of others.
    fn horizon(&self, of: &Lacking) -> i64 {
        let newest = self.newest.min(Clock.now().0);
        newest.saturating_sub(of.window_ms).saturating_sub(self.work.task.delay_ms)
    }

    fn run(&mut self) -> Result<(), Ended> {
        if self.work.task.place.position <= 1 {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            let told = self.attempt();
            match told {
                Err(Ended::Failed(error)) if attempt < ATTEMPTS => {
                    tracing::warn!(error = format!("{error:#}"), attempt, "the past cannot be read; trying again");
                }
                told => return told,
            }
            attempt += 1;
        }
    }

    fn attempt(&mut self) -> Result<(), Ended> {
        let reached = if Archive::is_at(&self.work.task.archive) { self.tell_archive()? } else { 1 };
        self.tell_journal(reached)
    }

    /// Tells what the archive has; gives the first record that it has not.
    fn tell_archive(&mut self) -> Result<u64, Ended> {
        let task = &self.work.task;
        let archive = Archive::read(&task.archive)?;
        // Before anything is told: it decides what is worth telling.
        let mut clear_from = i64::MIN;
        for file in archive.files().filter(|file| file.first < task.place.position) {
            self.newest = self.newest.max(file.to);
            self.oldest = self.oldest.min(file.from);
            self.is_whole |= file.first == 1;
            if file.state != State::Clear {
                // Whoever called is not known any more, and must not be counted as somebody else.
                clear_from = clear_from.max(file.to.saturating_add(1));
            }
        }
        if self.newest == i64::MIN {
            return Ok(archive.reached());
        }
        self.is_archived = true;
        let from = self.rules.iter().map(|of| self.horizon(of)).min().unwrap_or(i64::MAX);
        if clear_from > from {
            (self.oldest, self.is_whole) = (clear_from, false);
        }
        self.begin(|telling, of| telling.horizon(of));
        let query = Query {
            from: Some(Timestamp(from.max(clear_from))),
            positions: Some(self.next..task.place.position),
            n_threads: 1,
            ..Query::default()
        };
        let policy = task.engine.policy();
        let ids: HashMap<&str, u16> = policy.firewall.iter().zip(0..).map(|(rule, n)| (rule.id.as_str(), n)).collect();
        for slice in archive.events(&query, Arc::clone(task.engine.names())) {
            let slice = slice?;
            let verdicts = slice.told.iter().map(|told| verdict(told, &slice.batch, &ids)).collect();
            let last = slice.positions.last().copied();
            self.submit(slice.batch, verdicts)?;
            self.next = last.map_or(self.next, |last| last + 1);
        }
        self.next = self.next.max(archive.next_position().min(task.place.position));
        Ok(archive.reached())
    }

    /// Tells what the archive has not yet, up to where the state began.
    fn tell_journal(&mut self, reached: u64) -> Result<(), Ended> {
        let task = &self.work.task;
        if reached > task.place.record {
            return Ok(());
        }
        let mut reader = Reader::open(&task.disk, &task.journal, reached..=task.place.record)?;
        if self.is_archived && reader.report().n_lost_records > 0 {
            return Err(anyhow::anyhow!("the journal does not go back to where the archive ends").into());
        }
        let policy = task.engine.policy();
        let mut mapping: Option<(Arc<Context>, Mapping)> = None;
        while let Some(raw) = reader.next_raw() {
            let raw = raw?;
            if raw.position < self.next || raw.n_events == 0 {
                continue;
            }
            self.is_whole |= raw.position == 1;
            let context = Arc::clone(&raw.context);
            let Entry::Batch { batch, verdicts, .. } = raw.decode()?.entry else { continue };
            let mapping = match &mut mapping {
                Some((of, mapping)) if Arc::ptr_eq(of, &context) => mapping,
                other => &mut other.insert((Arc::clone(&context), Mapping::new(&context, &policy))).1,
            };
            let verdicts = verdicts.into_iter().map(|verdict| mapping.verdict(verdict)).collect();
            let behind = raw.position + u64::from(raw.n_events);
            self.newest = batch.events.iter().map(|event| event.time.0).fold(self.newest, i64::max);
            if self.oldest == i64::MAX {
                // What came before may be as old as this, and was not later than allowed.
                self.oldest = self.newest.saturating_add(task.delay_ms);
            }
            // The journal alone is short, and counted from its beginning.
            self.begin(|_, _| i64::MIN);
            self.submit(batch, verdicts)?;
            self.next = behind;
        }
        let damage = reader.report();
        let is_short = damage.n_damages > 0 || self.is_archived && damage.n_lost_records > 0;
        if is_short {
            return Err(anyhow::anyhow!("the journal is damaged: {} events are gone", damage.n_lost_events).into());
        }
        Ok(())
    }

    /// Fixes since when each rule counts, once.
    fn begin(&mut self, from: impl Fn(&Telling<'_>, &Lacking) -> i64) {
        if self.past.is_none() {
            let from = |of: &Lacking| (of.rule, Timestamp(from(self, of)));
            let from: Vec<(RuleRef, Timestamp)> = self.rules.iter().map(from).collect();
            self.past = Some(self.work.task.engine.past(&from));
        }
    }

    /// Waits while too much is under way, and rests as long as the last batch took to read and count.
    fn submit(&mut self, batch: Batch, verdicts: Vec<Verdict>) -> Result<(), Ended> {
        let stopping = &self.work.stopping;
        let worked = Clock.monotonic().saturating_duration_since(self.rested_at);
        if stopping.recv_timeout(worked.min(REST_MAX)) != Err(RecvTimeoutError::Timeout) {
            return Err(Ended::Stopped);
        }
        self.rested_at = Clock.monotonic();
        while let Err(full) = self.give.send_timeout((), REST_MAX) {
            let is_over = matches!(full, SendTimeoutError::Disconnected(()));
            if is_over || stopping.try_recv() != Err(crossbeam::channel::TryRecvError::Empty) {
                return Err(Ended::Stopped);
            }
        }
        self.n_events += batch.events.len() as u64;
        let Some(past) = &self.past else { return Ok(()) };
        let take = self.take.clone();
        let done = Box::new(move |_| take.try_recv().unwrap_or_default());
        self.lane.ticket().submit_past(batch, verdicts, past, Some(done));
        Ok(())
    }
}

/// The verdict of then, by the numbers of now; the action stands, whatever became of the rule.
fn verdict(told: &Told, batch: &Batch, ids: &HashMap<&str, u16>) -> Verdict {
    let rule = match std::str::from_utf8(batch.text(told.rule)) {
        Ok("builtin:emergency") => RuleRef::Emergency,
        Ok(id) => ids.get(id).map_or(RuleRef::Default, |number| RuleRef::Firewall(*number)),
        Err(_) => RuleRef::Default,
    };
    Verdict { action: told.action, cause: told.cause, rule }
}
