//! How batches of events meet the state they count in, on any number of threads, as if on one.
//!
//! Sources submit batches through a [`Lane`], each in its own order. Every batch takes these steps:
//!
//! 1. **Gate**: batches pass one at a time, which fixes the engine's order; duplicates, repeated calls and emergency
//!    call-backs are marked ([`gate`]).
//! 2. **Prepare**: the rules that need nothing but the event are decided, and what they count is listed by shard
//!    ([`prepare`]). Any thread, in parallel.
//! 3. **Admission**: in the engine's order, the batch is queued at every shard it has work for.
//! 4. **Shards** ([`shard`]): whoever finds a shard free runs what is queued there, for everybody. Nobody waits.
//! 5. **Emission**: in the engine's order, results are handed out.
//!
//! There are no threads here: those that submit do the work. A shard sees its batches in the engine's order, a key
//! lives in one shard, and shards own whole partitions of the keys, so neither the number of threads nor of shards
//! changes a result. A policy in which a rule reads what thresholds write (a dynamic list) is *coupled*: it has one
//! shard, which judges and counts event by event.
//!
//! Rules change while calls flow ([`swap`]): the gate stops, what has passed it comes out, the tables of the rules that
//! count as before are handed to shards of the new policy, and the gate goes on.

mod answers;
mod blocks;
mod episode;
mod expiring;
mod gate;
pub mod judged;
mod kept;
mod key;
mod keys;
mod numbers;
pub mod output;
mod pending;
mod plan;
mod prepare;
#[cfg(any(test, feature = "fuzzing"))]
pub mod property;
mod saved;
mod shard;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod warming;
mod work;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};

pub use judged::{
    Closed, Counts, Judged, Observation, OpenEpisode, Put, Recorded, RuleCounts, RuleRef, Successor, Verdict,
    Violation, Watch,
};
pub use keys::{KeyQuery, RunningKey, RunningKeys, joined};
pub use saved::{RestoreError, Restored, Save, SaveProgress, saved_frames};
pub use swap::{Leftover, Prepared, Swapped};
pub use warming::{Lack, Lacking, Past, Quiet};

use self::answers::Answers;
use self::gate::Gate;
use self::key::KeyHasher;
use self::plan::Plan;
use self::saved::Marker;
use self::shard::Shard;
use self::swap::Swap;
use self::warming::{PastWork, Warming};
use self::work::{Lists, Outcome, Tally, Work};
use crate::clock::Timestamp;
use crate::event::{Batch, Flags, Names};
use crate::policy::{DynamicLists, Policy, View};

/// How an engine is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that will submit batches; decides the number of shards, never the result.
    pub n_threads: usize,
    /// Seed of the hash that spreads keys: random in `serve`, constant in `replay`.
    pub hash_seed: u64,
    /// How long an emergency call keeps the way open for the call-back, ms of event time.
    pub emergency_callback_ms: i64,
}

/// What a source promises of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneOptions {
    /// Its calls are merged with those of the other merging lanes by customer and Call-ID.
    pub merge: bool,
    /// Repeated events are found by gateway, call id, leg, kind and time.
    pub dedup: bool,
    /// Its attempts are verdict requests: one asked again soon gets the same answer.
    pub verdict: bool,
    /// B-legs are judged too.
    pub both_legs: bool,
}

/// Called with every judged batch, in the engine's order.
pub type Emit = Box<dyn Fn(&mut Judged) + Send + Sync>;
/// Takes a batch back when it is judged.
pub type Done = Box<dyn FnOnce(Judged) + Send>;

/// The engine. Cheap to clone; threads that submit batches do its work.
#[derive(Clone)]
pub struct Engine(Arc<Core>);

struct Core {
    names: Arc<Names>,
    settings: Settings,
    turnstile: Mutex<Turnstile>,
    admission: Mutex<Admission>,
    emission: Mutex<Emission>,
    emit: Emit,
    /// What dynamic lists hold where nothing writes to them.
    nothing: DynamicLists,
    /// Buffers of works that are done.
    lists: Mutex<Vec<Lists>>,
    /// There is a [`Save`], or a swap is on its way: each wants the other's place.
    is_saving: AtomicBool,
    /// The number of the last one.
    saves: AtomicU64,
}

/// Buffers kept for the next works; more are in flight only in bursts.
const LISTS_KEPT: usize = 64;

/// A policy in force, and the shards that count for it. Batches of two of them are never under way at once.
struct Generation {
    plan: Arc<Plan>,
    seats: Vec<Seat>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({} shards)", self.seats.len())
    }
}

impl Generation {
    fn new(plan: Plan) -> Generation {
        let plan = Arc::new(plan);
        let seat = |number| Seat {
            queue: Mutex::default(),
            is_taken: AtomicBool::new(false),
            shard: Mutex::new(Shard::new(Arc::clone(&plan), number)),
        };
        Generation { seats: (0..plan.n_shards).map(seat).collect(), plan }
    }

    fn all_shards(&self) -> u64 {
        u64::MAX >> (64 - self.plan.n_shards)
    }
}

/// Where batches get their place in the engine's order.
struct Turnstile {
    generation: Arc<Generation>,
    /// While a swap is on its way nothing passes: batches wait in their lanes, ticks here.
    #[expect(clippy::vec_box, reason = "works are large, and go on as they came")]
    held: Option<Vec<Box<Work>>>,
    gate: Gate,
    lanes: HashMap<u64, LaneState>,
    next_lane: u64,
    next_sequence: u64,
    warming: Warming,
}

impl Turnstile {
    /// Gives the batches of a lane whose turn it is their place in the engine's order.
    #[allow(clippy::vec_box, reason = "a work is moved between queues; moving a pointer is cheaper")]
    fn pass(&mut self, lane: u64) -> Vec<Box<Work>> {
        let Turnstile { generation, gate, lanes, next_sequence, warming, .. } = self;
        let Some(state) = lanes.get_mut(&lane) else { return Vec::new() };
        let mut ready = Vec::new();
        while let Some(mut work) = state.waiting.remove(&state.next) {
            if work.past.is_none() {
                gate.pass(&mut work, &generation.plan);
                work.quiet = warming.quiet.clone();
            }
            work.sequence = *next_sequence;
            *next_sequence += 1;
            state.next += 1;
            ready.push(work);
        }
        if state.last.is_some_and(|last| state.next > last) {
            lanes.remove(&lane);
        }
        ready
    }

    /// Gives work that is of no lane its place, at every shard.
    fn visit(&mut self, mut work: Box<Work>) -> Box<Work> {
        work.shards = self.generation.all_shards();
        work.quiet = self.warming.quiet.clone();
        work.sequence = self.next_sequence;
        self.next_sequence += 1;
        if let Some(marker) = &work.marker {
            self.gate.mark();
            marker.set_lacks(self.warming.lacks.clone());
        }
        work
    }
}

/// Batches of a lane that came before their turn.
#[derive(Default)]
struct LaneState {
    next: u64,
    /// The number behind which nothing comes.
    last: Option<u64>,
    waiting: BTreeMap<u64, Box<Work>>,
}

/// Lets prepared batches on to the shards in order.
#[derive(Default)]
struct Admission {
    next: u64,
    waiting: BTreeMap<u64, Box<Work>>,
}

/// One shard, its queue, and whether somebody is at work there.
struct Seat {
    queue: Mutex<VecDeque<Arc<Work>>>,
    is_taken: AtomicBool,
    shard: Mutex<Shard>,
}

/// Hands results out in order.
#[derive(Default)]
struct Emission {
    /// A thread is handing out; it will see what is added.
    is_taken: bool,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    answers: Answers,
    /// The answers as they were where the marker of a save passed.
    saved: Option<Answers>,
}

/// What waits to be handed out.
struct Waiting {
    judged: Judged,
    done: Option<Done>,
    slots: Vec<u32>,
    marker: Option<Arc<Marker>>,
    swap: Option<Arc<Swap>>,
}

impl Emission {
    /// The next result, if it has come. Without one, the place is free again.
    fn take_next(&mut self) -> Option<(Judged, Option<Done>, Option<Arc<Swap>>)> {
        let Some(Waiting { mut judged, done, slots, marker, swap }) = self.waiting.remove(&self.next) else {
            self.is_taken = false;
            return None;
        };
        self.next += 1;
        answer(&mut judged, &slots, &mut self.answers);
        if let Some(marker) = marker {
            if !marker.is_dropped() {
                self.saved = Some(self.answers.clone());
            }
            marker.set_emitted();
        }
        Some((judged, done, swap))
    }
}

/// Frees the place if the one who hands out panics: the results behind are for the next.
struct EmissionPlace<'a>(&'a Mutex<Emission>);

impl Drop for EmissionPlace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            enter(self.0).is_taken = false;
        }
    }
}

/// A lock whose holder panicked is entered all the same: a panic is a bug that is reported by itself, and the calls
/// behind it still want their verdicts.
fn enter<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A panic here is a bug. It is printed where it happens; the batch goes on with what was decided before, so that the
/// calls in it and behind it get their verdicts.
fn unless_it_panics<R>(work: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Engine {
    pub fn new(policy: Arc<Policy>, names: Arc<Names>, settings: Settings, emit: Emit) -> Engine {
        Engine::watched(policy, names, settings, emit, Watch::Nothing)
    }

    /// One that tells of single events what [`Watch`] says.
    pub fn watched(policy: Arc<Policy>, names: Arc<Names>, settings: Settings, emit: Emit, watch: Watch) -> Engine {
        let hasher = KeyHasher::new(settings.hash_seed);
        let plan = Plan { watch, ..Plan::new(policy, Arc::clone(&names), hasher, settings.n_threads) };
        Engine(Arc::new(Core {
            names,
            settings,
            turnstile: Mutex::new(Turnstile {
                generation: Arc::new(Generation::new(plan)),
                held: None,
                gate: Gate::new(hasher, settings.emergency_callback_ms),
                lanes: HashMap::new(),
                next_lane: 0,
                next_sequence: 0,
                warming: Warming::default(),
            }),
            admission: Mutex::default(),
            emission: Mutex::default(),
            emit,
            nothing: DynamicLists::default(),
            lists: Mutex::default(),
            is_saving: AtomicBool::new(false),
            saves: AtomicU64::new(0),
        }))
    }

    /// A new ordered source of batches.
    pub fn lane(&self, options: LaneOptions) -> Lane {
        let mut turnstile = enter(&self.0.turnstile);
        let id = turnstile.next_lane;
        turnstile.next_lane += 1;
        turnstile.lanes.insert(id, LaneState::default());
        Lane { engine: self.clone(), id, options, next: 0 }
    }

    /// Lets event time pass for keys that are idle: closes the episodes that end by `at`.
    pub fn tick(&self, at: Timestamp) {
        let mut work = Box::new(self.0.work(LaneOptions::default(), Batch::default(), None));
        work.tick = Some(at.0);
        self.0.visit_all(work);
    }

    /// Begins to save the engine's state as it is at this place in its order. `None` while another save or a swap is under
    /// way.
    pub fn mark(&self) -> Option<Save> {
        if self.0.is_saving.swap(true, Ordering::SeqCst) {
            return None;
        }
        let marker = Arc::new(Marker::new(self.0.saves.fetch_add(1, Ordering::SeqCst) + 1));
        let save = Save::new(self.clone(), self.0.generation(), Arc::clone(&marker));
        let mut work = Box::new(self.0.work(LaneOptions::default(), Batch::default(), None));
        work.marker = Some(marker);
        self.0.visit_all(work);
        Some(save)
    }

    /// The key under which a threshold counted an event, as a violation names it.
    pub fn key_of(&self, batch: &Batch, seen: &Observation) -> Vec<(String, String)> {
        let generation = self.0.generation();
        let plan = &generation.plan;
        let counter = plan.counters.iter().find(|counter| counter.rule == seen.rule);
        let (Some(counter), Some(event)) = (counter, batch.events.get(seen.event as usize)) else { return Vec::new() };
        let view = View { event, batch, policy: &plan.policy, names: &plan.names, dynamic: &self.0.nothing };
        prepare::key_text(&view, plan, counter, seen.other)
    }

    /// The rules in force: those of batches under way may be older, see [`Judged::policy`].
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.generation().plan.policy)
    }

    pub fn names(&self) -> &Arc<Names> {
        &self.0.names
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} shards)", self.0.generation().seats.len())
    }
}

/// One ordered source: a connection or a file.
#[derive(Debug)]
pub struct Lane {
    engine: Engine,
    id: u64,
    options: LaneOptions,
    next: u64,
}

impl Lane {
    /// The place of the next block in this lane's order. Taken when the block is read; the block may be decoded
    /// on any thread. Every ticket must be submitted, an unreadable block as an empty batch.
    pub fn ticket(&mut self) -> Ticket {
        let number = self.next;
        self.next += 1;
        Ticket {
            engine: self.engine.clone(),
            lane: self.id,
            options: self.options,
            number,
            is_last: false,
            is_used: false,
        }
    }

    /// What the source promises changes with its greeting; for the tickets that follow.
    pub fn set_options(&mut self, options: LaneOptions) {
        self.options = options;
    }
}

impl Drop for Lane {
    /// The lane ends after the tickets it has given out.
    fn drop(&mut self) {
        let mut last = self.ticket();
        last.is_last = true;
        last.submit(Batch::default(), None);
    }
}

/// See [`Lane::ticket`].
///
/// A ticket that is dropped instead of submitted, by a panic in between, counts as an empty batch: what comes behind it
/// must not wait for ever.
#[derive(Debug)]
pub struct Ticket {
    engine: Engine,
    lane: u64,
    options: LaneOptions,
    number: u64,
    is_last: bool,
    is_used: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_used {
            self.enter(self.work(Batch::default(), None));
        }
    }
}

impl Ticket {
    /// Judges the batch, now or when the batches before it have come. The calling thread does whatever work is
    /// ready, its own or others'; it never waits.
    pub fn submit(mut self, batch: Batch, done: Option<Done>) {
        self.enter(self.work(batch, done));
    }

    /// [`Ticket::submit`] of a batch that was judged before a crash, with what its source promised then.
    pub fn submit_recorded(mut self, mut batch: Batch, options: LaneOptions, recorded: Recorded) {
        for event in &mut batch.events {
            event.flags.clear(Flags::BY_GATE);
        }
        let mut work = self.work(batch, None);
        (work.options, work.recorded) = (options, Some(recorded));
        self.enter(work);
    }

    /// Events of the past, as they were taken and judged then, for the windows of the rules that `past` names: late ones,
    /// that meet no gate, no firewall and no level. What comes of it says [`Judged::is_warm`].
    pub fn submit_past(mut self, batch: Batch, verdicts: Vec<Verdict>, past: &Past, done: Option<Done>) {
        let mut work = self.work(batch, done);
        work.past = Some(PastWork { past: past.clone(), verdicts });
        self.enter(work);
    }

    /// [`Engine::tick`] in its place among the batches of a lane.
    pub fn tick(mut self, at: Timestamp) {
        let mut work = self.work(Batch::default(), None);
        work.tick = Some(at.0);
        self.enter(work);
    }

    fn work(&self, batch: Batch, done: Option<Done>) -> Box<Work> {
        Box::new(self.engine.0.work(self.options, batch, done))
    }

    fn enter(&mut self, mut work: Box<Work>) {
        self.is_used = true;
        let core = &self.engine.0;
        work.has_emergency = work.batch.events.iter().any(|e| e.flags.has(Flags::EMERGENCY));
        let (generation, ready) = core.pass(self.lane, self.number, self.is_last, work);
        core.take_on(&generation, ready);
    }
}

impl Core {
    fn work(&self, options: LaneOptions, batch: Batch, done: Option<Done>) -> Work {
        let lists = enter(&self.lists).pop().unwrap_or_default();
        Work::new(options, batch, done, lists)
    }

    fn generation(&self) -> Arc<Generation> {
        Arc::clone(&enter(&self.turnstile).generation)
    }

    /// Sends work that is of no lane to every shard, at its place in the order.
    fn visit_all(&self, work: Box<Work>) {
        let (generation, work) = {
            let mut turnstile = enter(&self.turnstile);
            if let Some(held) = &mut turnstile.held {
                held.push(work);
                return;
            }
            let work = turnstile.visit(work);
            (Arc::clone(&turnstile.generation), work)
        };
        self.admit(&generation, work);
        self.run_shards(&generation);
    }

    /// Gives the batches of a lane whose turn it is their place in the engine's order.
    #[allow(clippy::vec_box, reason = "a work is moved between queues; moving a pointer is cheaper")]
    fn pass(&self, lane: u64, number: u64, is_last: bool, work: Box<Work>) -> (Arc<Generation>, Vec<Box<Work>>) {
        let mut turnstile = enter(&self.turnstile);
        if let Some(state) = turnstile.lanes.get_mut(&lane) {
            state.waiting.insert(number, work);
            state.last = state.last.or(is_last.then_some(number));
        }
        let ready = if turnstile.held.is_none() { turnstile.pass(lane) } else { Vec::new() };
        (Arc::clone(&turnstile.generation), ready)
    }

    /// Does what is to be done with batches that have passed the gate.
    #[allow(clippy::vec_box, reason = "a work is moved between queues; moving a pointer is cheaper")]
    fn take_on(&self, generation: &Generation, ready: Vec<Box<Work>>) {
        if ready.is_empty() {
            return;
        }
        let plan = &generation.plan;
        for mut work in ready {
            if work.tick.is_some() {
                work.shards = generation.all_shards();
            } else if work.past.is_some() {
                unless_it_panics(|| prepare::prepare_past(&mut work, plan, &self.nothing));
            } else if !plan.is_coupled {
                unless_it_panics(|| prepare::prepare(&mut work, plan, &self.nothing));
            } else if !work.batch.events.is_empty() {
                work.shards = 1;
            }
            self.admit(generation, work);
        }
        self.run_shards(generation);
    }

    /// All that is admitted at one time is of one generation: see [`swap`].
    fn admit(&self, generation: &Generation, work: Box<Work>) {
        let mut admission = enter(&self.admission);
        admission.waiting.insert(work.sequence, work);
        let mut idle = Vec::new();
        loop {
            let next = admission.next;
            let Some(work) = admission.waiting.remove(&next) else { break };
            admission.next += 1;
            let work: Arc<Work> = Arc::from(work);
            for (number, seat) in generation.seats.iter().enumerate() {
                if work.shards >> number & 1 != 0 {
                    enter(&seat.queue).push_back(Arc::clone(&work));
                }
            }
            idle.push(work);
        }
        drop(admission);
        // Whoever lets go of a work last finishes it; that is here where no shard had anything to do.
        idle.into_iter().filter_map(Arc::into_inner).for_each(|work| self.finish(generation, work));
    }

    /// Runs every shard that has work and nobody at it.
    fn run_shards(&self, generation: &Generation) {
        for seat in &generation.seats {
            self.run_seat(generation, seat);
        }
    }

    fn run_seat(&self, generation: &Generation, seat: &Seat) {
        // Whoever has queued work either takes the seat or leaves it to the one who has it and will look again.
        while !enter(&seat.queue).is_empty() && !seat.is_taken.swap(true, Ordering::SeqCst) {
            loop {
                let Some(work) = enter(&seat.queue).pop_front() else { break };
                if let Some(outcome) = unless_it_panics(|| enter(&seat.shard).apply(&work)) {
                    enter(&work.outcomes).push(outcome);
                }
                if let Some(work) = Arc::into_inner(work) {
                    self.finish(generation, work);
                }
            }
            seat.is_taken.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// Every shard is done with it: gathers what they found and hands it out when its turn has come.
    fn finish(&self, generation: &Generation, mut work: Work) {
        let outcomes = std::mem::take(work.outcomes.get_mut().unwrap_or_else(|e| e.into_inner()));
        // Those behind it wait for its place in the order, whatever becomes of it.
        let gathered = unless_it_panics(|| gather(&generation.plan, &mut work, outcomes));
        let judged = gathered.unwrap_or_else(|| Judged {
            batch: std::mem::take(&mut work.batch),
            sequence: work.sequence,
            options: work.options,
            tick: work.tick.map(Timestamp),
            marker: work.marker.as_ref().map(|marker| marker.number),
            is_warm: work.past.is_some(),
            policy: Arc::clone(&generation.plan.policy),
            ..Judged::default()
        });
        let (sequence, done, slots) = (work.sequence, enter(&work.done).take(), std::mem::take(&mut work.slots));
        let (marker, swap) = (work.marker.take(), work.swap.take());
        self.keep_lists(work);
        {
            let mut emission = enter(&self.emission);
            emission.waiting.insert(sequence, Waiting { judged, done, slots, marker, swap });
            if std::mem::replace(&mut emission.is_taken, true) {
                return;
            }
        }
        // One thread hands out, and nobody waits for it: a slow sink must not keep others from their deadlines.
        let _place = EmissionPlace(&self.emission);
        loop {
            let next = enter(&self.emission).take_next();
            let Some((mut judged, done, swap)) = next else { return };
            if let Some(swap) = &swap {
                unless_it_panics(|| self.exchange(swap, &mut judged));
            }
            // A sink that panics takes neither the verdicts with it nor the shard that is held meanwhile.
            unless_it_panics(|| (self.emit)(&mut judged));
            if let Some(done) = done {
                unless_it_panics(|| done(judged));
            }
            if let Some(swap) = &swap {
                self.release();
                swap.end();
            }
        }
    }

    fn keep_lists(&self, mut work: Work) {
        for list in work.touched.drain(..) {
            work.hits[list as usize].clear();
        }
        work.key_bytes.0.clear();
        let lists = Lists {
            hits: std::mem::take(&mut work.hits),
            touched: std::mem::take(&mut work.touched),
            key_bytes: std::mem::take(&mut work.key_bytes),
        };
        let mut kept = enter(&self.lists);
        if kept.len() < LISTS_KEPT {
            kept.push(lists);
        }
    }
}

/// Puts together what the shards made of a batch.
fn gather(plan: &Plan, work: &mut Work, outcomes: Vec<Outcome>) -> Judged {
    let mut decided = std::mem::take(&mut work.decided);
    let mut violations = Vec::new();
    let (mut listed, mut closed, mut observed) = (Vec::new(), Vec::new(), Vec::new());
    let mut tallies: BTreeMap<u16, Tally> = BTreeMap::new();
    for outcome in outcomes {
        violations.extend(outcome.violations);
        listed.extend(outcome.listed);
        closed.extend(outcome.closed);
        observed.extend(outcome.observed);
        if let Some(by_shard) = outcome.decided {
            decided = by_shard;
        }
        for (counter, tally) in outcome.tallies {
            tallies.entry(counter).or_default().add(&tally);
        }
    }
    for own in &decided.own_blocks {
        if let Some(event) = work.batch.events.get_mut(*own as usize) {
            event.flags.set(Flags::OWN_BLOCK);
        }
    }
    // Fewer only where a panic cut the work short.
    let default = Verdict { action: plan.policy.default_action, ..Verdict::default() };
    decided.verdicts.resize(work.batch.events.len(), default);
    violations.sort_by(|(a_at, a): &(u32, Violation), (b_at, b)| {
        // Time comes before the event that lets it be seen.
        let place = |at: &u32, v: &Violation| (v.event, *at, !v.is_timed, v.time, v.level);
        place(a_at, a).cmp(&place(b_at, b)).then_with(|| (a.customer, &a.key).cmp(&(b.customer, &b.key)))
    });
    listed.sort_by(|a: &Put, b: &Put| (a.event, a.rule, a.list, &a.value).cmp(&(b.event, b.rule, b.list, &b.value)));
    closed.sort_by(|a: &Closed, b: &Closed| (a.time, a.rule, &a.key).cmp(&(b.time, b.rule, &b.key)));
    observed.sort_by_key(|(position, seen): &(u32, Observation)| (seen.event, *position));
    let rules = tallies.into_iter().map(|(counter, t)| t.told(plan.counters[counter as usize].rule));
    Judged {
        batch: std::mem::take(&mut work.batch),
        verdicts: decided.verdicts,
        flags: decided.flags,
        violations: violations.into_iter().map(|(_, violation)| violation).collect(),
        listed,
        closed,
        duplicates: work.duplicates,
        counts: Counts { firewall: decided.matched, rules: rules.collect() },
        sequence: work.sequence,
        options: work.options,
        tracked: decided.tracked,
        tick: work.tick.map(Timestamp),
        record: work.recorded.as_ref().map_or(0, |recorded| recorded.record),
        position: work.recorded.as_ref().map_or(0, |recorded| recorded.position),
        is_outside: false,
        is_recovered: work.recorded.is_some(),
        is_warm: work.past.is_some(),
        marker: work.marker.as_ref().map(|marker| marker.number),
        observed: observed.into_iter().map(|(_, seen)| seen).collect(),
        would: decided.would,
        policy: Arc::clone(&plan.policy),
        swapped: None,
    }
}

/// Gives events of a call that was judged before the verdict of then, unless a rule of their own decided.
fn answer(judged: &mut Judged, slots: &[u32], answers: &mut Answers) {
    let mut repeated: Vec<(u32, u16)> = Vec::new();
    for (i, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != Work::NO_SLOT) {
        let (event, verdict) = (&mut judged.batch.events[i], &mut judged.verdicts[i]);
        let index = i as u32;
        if !event.flags.has(Flags::REPEATED) {
            let first = judged.flags.partition_point(|(event, _)| *event < index);
            let own = judged.flags[first..].iter().take_while(|(event, _)| *event == index);
            answers.set(*slot, *verdict, own.map(|(_, rule)| *rule).collect());
        } else if verdict.rule == RuleRef::Default {
            let (told, flags) = answers.get(*slot);
            *verdict = told;
            event.flags.set(Flags::TOLD_AGAIN);
            repeated.extend(flags.iter().map(|rule| (index, *rule)));
        }
    }
    if !repeated.is_empty() {
        repeated.append(&mut judged.flags);
        repeated.sort_by_key(|(event, _)| *event);
        judged.flags = repeated;
    }
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.counted += other.counted;
        self.late += other.late;
        self.too_late += other.too_late;
        self.evicted += other.evicted;
        self.refused += other.refused;
        self.keys += other.keys;
        self.bytes += other.bytes;
    }

    fn told(&self, rule: RuleRef) -> RuleCounts {
        let Tally { counted, late, too_late, evicted, refused, keys, bytes } = *self;
        RuleCounts { rule, counted, late, too_late, evicted, refused, keys, bytes }
    }
}
