//! Another policy comes into force while calls flow, and no count is lost (2-rules 2.9 point 18).
//!
//! What takes long is done before, by whoever asks ([`Engine::prepare`]): the policy is laid out, its rules are compared
//! with those in force as those of saved state are ([`super::saved`]), and shards are made for it. The swap itself takes a
//! place in the engine's order like a batch. From then on nothing passes the gate; when the swap is handed out, nothing is
//! under way in the engine, and the tables of the rules that count as before change hands, a pointer each. Then the gate
//! goes on with what has come meanwhile. No thread waits but the one that asked, and it is the one that frees what is left.
//!
//! What calls were told, duplicates, calls that are up, entries of lists and open episodes go on. An episode whose rule is
//! gone, begins anew, or is another one for the customer by now, closes.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};

use super::judged::{Closed, Judged, Successor};
use super::plan::{MeterKind, Plan};
use super::saved::Restored;
use super::saved::shape::{self, Mapping};
use super::shard::{Shard, hand_over};
use super::warming::{Lack, Warming};
use super::{Core, Engine, Generation, LaneOptions, enter};
use crate::clock::Timestamp;
use crate::codec::{Put, Take};
use crate::event::Batch;
use crate::policy::Policy;

/// A policy that is ready to come into force.
pub struct Prepared {
    generation: Generation,
    before: Arc<Generation>,
    lacks: Vec<Option<Lack>>,
    mapping: Mapping,
    rules: Restored,
}

/// What became of the rules, by their numbers of now.
pub type Swapped = Restored;

/// What was in force, to be let go of where no calls wait: the tables of millions of keys may be among it.
#[derive(Debug)]
pub struct Leftover {
    _rest: [Option<Arc<Generation>>; 2],
}

/// A swap under way, as its work and the one who waits for it know it.
pub(crate) struct Swap {
    prepared: Mutex<Option<Prepared>>,
    at: Timestamp,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    has_ended: bool,
    /// What was in force, to be freed.
    rest: Option<Arc<Generation>>,
    swapped: Option<Swapped>,
}

impl Swap {
    /// Whoever waits for it goes on.
    pub(super) fn end(&self) {
        enter(&self.state).has_ended = true;
        self.ended.notify_all();
    }

    fn wait(&self) -> State {
        let mut state = enter(&self.state);
        while !state.has_ended {
            state = self.ended.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        std::mem::take(&mut *state)
    }
}

impl Engine {
    /// Lays out a policy and compares its rules with those in force. Takes as long as it takes; calls flow on.
    pub fn prepare(&self, policy: Arc<Policy>) -> Prepared {
        let (before, lacks) = {
            let turnstile = enter(&self.0.turnstile);
            (Arc::clone(&turnstile.generation), turnstile.warming.lacks.clone())
        };
        let settings = &self.0.settings;
        let mut plan = Plan::new(policy, Arc::clone(&self.0.names), before.plan.hasher, settings.n_threads);
        let mut rules = Restored::default();
        let mapping = compare(&before.plan, &lacks, &plan, &mut rules);
        rules.write_notes(&plan.policy);
        let was = &before.plan;
        let counts_calls =
            |counter: usize| plan.counters.get(counter).is_some_and(|c| c.meter == MeterKind::Concurrent);
        let n = plan.counters.len();
        let calls = was.call_numbers.next(&mapping.counters, n, counts_calls, true);
        plan.rule_numbers = was.rule_numbers.next(&mapping.counters, n, |_| true, false);
        plan.list_numbers = was.list_numbers.next(&mapping.list_places, plan.policy.lists.len(), |_| true, true);
        plan.call_numbers = calls;
        Prepared { generation: Generation::new(plan), before, lacks, mapping, rules }
    }

    /// Puts a policy in force, at its place in the engine's order; waits until it is. `at`: the event time that idle keys
    /// have reached, at which episodes close whose rules do not go on. Given back where a save is under way, or where what
    /// it was prepared for is no longer in force: to be tried again, or prepared anew.
    pub fn swap(&self, prepared: Prepared, at: Timestamp) -> Result<(Swapped, Leftover), Box<Prepared>> {
        let core = &self.0;
        if core.is_saving.swap(true, Ordering::SeqCst) {
            return Err(Box::new(prepared));
        }
        let mut work = Box::new(core.work(LaneOptions::default(), Batch::default(), None));
        let (generation, swap) = {
            let mut turnstile = enter(&core.turnstile);
            let is_in_force = Arc::ptr_eq(&turnstile.generation, &prepared.before);
            if !is_in_force || turnstile.warming.lacks != prepared.lacks {
                core.is_saving.store(false, Ordering::SeqCst);
                return Err(Box::new(prepared));
            }
            turnstile.held = Some(Vec::new());
            let (prepared, state) = (Mutex::new(Some(prepared)), Mutex::default());
            let swap = Arc::new(Swap { prepared, at, state, ended: Condvar::new() });
            work.swap = Some(Arc::clone(&swap));
            work.sequence = turnstile.next_sequence;
            turnstile.next_sequence += 1;
            (Arc::clone(&turnstile.generation), swap)
        };
        core.admit(&generation, work);
        core.run_shards(&generation);
        let State { rest, swapped, .. } = swap.wait();
        core.is_saving.store(false, Ordering::SeqCst);
        let leftover = Leftover { _rest: [Some(generation), rest] };
        Ok((swapped.unwrap_or_default(), leftover))
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({})", self.generation.plan.policy.version)
    }
}

impl Prepared {
    /// What will become of the rules.
    pub fn rules(&self) -> &Restored {
        &self.rules
    }

    /// It can be swapped in as long as the rules in force are those that it was prepared for.
    pub fn is_for(&self, engine: &Engine) -> bool {
        let turnstile = enter(&engine.0.turnstile);
        Arc::ptr_eq(&turnstile.generation, &self.before) && turnstile.warming.lacks == self.lacks
    }

    pub fn policy(&self) -> &Arc<Policy> {
        &self.generation.plan.policy
    }
}

/// As if the state had been saved and were read by an engine of the new rules.
fn compare(was: &Plan, lacks: &[Option<Lack>], plan: &Plan, rules: &mut Restored) -> Mapping {
    let mut header = Vec::new();
    shape::put_header(was, lacks, &mut Put(&mut header));
    // What was written a moment ago is read; otherwise every rule would begin anew.
    shape::take_header(plan, &mut Take::new(&header), rules).unwrap_or_default()
}

impl Core {
    /// The swap's place has come, and nothing is under way.
    pub(super) fn exchange(&self, swap: &Swap, judged: &mut Judged) {
        let Some(Prepared { generation, before, mapping, rules, .. }) = enter(&swap.prepared).take() else { return };
        let mut turnstile = enter(&self.turnstile);
        let mut emission = enter(&self.emission);
        let (was, plan) = (&before.plan, &generation.plan);
        {
            let mut old: Vec<_> = before.seats.iter().map(|seat| enter(&seat.shard)).collect();
            let mut new: Vec<_> = generation.seats.iter().map(|seat| enter(&seat.shard)).collect();
            let mut old: Vec<&mut Shard> = old.iter_mut().map(|shard| &mut **shard).collect();
            let mut new: Vec<&mut Shard> = new.iter_mut().map(|shard| &mut **shard).collect();
            let ends = |counter: usize, customer| match mapping.counters.get(counter).copied().flatten() {
                // Where an override stands in the rule's place from now on, it counts the customer's calls.
                Some(place) => !plan.concerns(&plan.counters[usize::from(place)], customer, swap.at),
                None => true,
            };
            judged.closed = old.iter_mut().flat_map(|shard| shard.close_gone(ends, swap.at)).collect();
            hand_over(&mut old, &mut new, &mapping);
            emission.answers.renumber(&mapping.firewall);
            if plan.is_coupled {
                new.iter_mut().for_each(|shard| shard.set_answers(emission.answers.clone()));
            }
        }
        judged.closed.sort_by(|a: &Closed, b: &Closed| (a.time, a.rule, &a.key).cmp(&(b.time, b.rule, &b.key)));
        turnstile.gate.swap(was, plan, &mapping, &emission.answers);
        turnstile.warming = Warming::new(mapping.lacks, plan);
        judged.swapped = Some(Box::new(Successor { policy: Arc::clone(&plan.policy), rules: rules.clone() }));
        turnstile.generation = Arc::new(generation);
        let mut state = enter(&swap.state);
        (state.rest, state.swapped) = (Some(before), Some(rules));
    }

    /// Lets pass what has come while a swap was on its way.
    pub(super) fn release(&self) {
        let (generation, ready, visits) = {
            let mut turnstile = enter(&self.turnstile);
            let held = turnstile.held.take().unwrap_or_default();
            let mut lanes: Vec<u64> = turnstile.lanes.keys().copied().collect();
            lanes.sort_unstable();
            let ready: Vec<_> = lanes.into_iter().flat_map(|lane| turnstile.pass(lane)).collect();
            let visits: Vec<_> = held.into_iter().map(|work| turnstile.visit(work)).collect();
            (Arc::clone(&turnstile.generation), ready, visits)
        };
        visits.into_iter().for_each(|work| self.admit(&generation, work));
        self.take_on(&generation, ready);
        self.run_shards(&generation);
    }
}
