//! What has to be known in arrival order before any rule sees an event: was it seen before, is it part of a call that
//! another feed has told of, does an emergency call keep the way open for it, which calls are up.
//!
//! One gate serves all lanes. Batches pass it one at a time, in the order that becomes the engine's; those that have
//! nothing to ask pass without a look at their events.

mod saved;
mod swap;

use std::collections::HashMap;
use std::sync::Arc;

use super::LaneOptions;
use super::answers::Answers;
use super::expiring::Expiring;
use super::judged::Verdict;
use super::key::{Key, KeyBytes, KeyHasher};
use super::plan::Plan;
use super::prepare;
use super::table::{Act, Hit};
use super::work::{Decided, Work};
use crate::event::{Batch, CallEvent, Direction, Flags, Kind, Number, NumberKind};
use crate::limits::{CALL_AGE_MS_MAX, CALL_LINGER_MS, CALLS_MAX, DEDUP_ENTRIES_MAX, DEDUP_SPAN_MS, VERDICT_REPEAT_MS};
use crate::policy::{Action, DynamicLists, View};

/// 128 bits of hash of a customer and a Call-ID, or of an event.
type Id = [u64; 2];

/// Events whose calls are looked up together.
const TOUCHED: usize = 16;

/// Numbers that made an emergency call and may be called back. More than can be real; the oldest goes.
const CALLBACKS_MAX: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    hasher: KeyHasher,
    callback_ms: i64,
    /// By customer and number, as two words.
    callbacks: Expiring<(u32, u64), ()>,
    /// Events seen, per gateway, by 128 bits of hash.
    seen: Vec<Option<Expiring<Id, ()>>>,
    calls: Expiring<Id, Call>,
    /// Calls of verdict feeds that do not merge, for as long as a request may be repeated.
    asked: Expiring<Id, Call>,
    /// Calls that are up, with the keys they hold of `concurrent` rules.
    up: Expiring<Id, Up>,
    long_keys: LongKeys,
    free_slots: Vec<u32>,
    slots: u32,
    nothing: DynamicLists,
    scratch: Vec<u8>,
    /// What the firewall said of calls, where a rule wants to know of their answers and ends.
    answers: Answers,
    decided: Decided,
}

/// What is known of a call that several feeds may tell of.
#[derive(Clone, Copy, Debug, Default)]
struct Call {
    /// Where its verdict is kept, see [`super::answers::Answers`].
    slot: u32,
    phases: Flags,
    /// The diverting number of its attempt: another one makes a new attempt (302, REFER).
    diverting: Number,
}

#[derive(Debug, Default)]
struct Up {
    ended: bool,
    keys: Box<[UpKey]>,
}

#[derive(Debug)]
struct UpKey {
    /// Of the rule that counts it, see [`Plan::call_numbers`].
    number: u16,
    hash: u64,
    key: Key,
    /// Shared by the calls of a key: domains and trunks have many.
    long: Option<Arc<[u8]>>,
}

/// Long keys of late, each kept once for all its calls.
#[derive(Debug, Default)]
struct LongKeys(HashMap<u64, Arc<[u8]>>);

/// Keys past these are forgotten all at once; the calls that have them keep them.
const LONG_KEYS_MAX: usize = 4096;

impl LongKeys {
    fn share(&mut self, hash: u64, bytes: Box<[u8]>) -> Option<Arc<[u8]>> {
        if bytes.is_empty() {
            return None;
        }
        if let Some(shared) = self.0.get(&hash).filter(|shared| ***shared == *bytes) {
            return Some(Arc::clone(shared));
        }
        if self.0.len() >= LONG_KEYS_MAX {
            self.0.clear();
        }
        let shared: Arc<[u8]> = bytes.into();
        self.0.insert(hash, Arc::clone(&shared));
        Some(shared)
    }
}

impl Gate {
    pub(crate) fn new(hasher: KeyHasher, callback_ms: i64) -> Gate {
        Gate {
            hasher,
            callback_ms,
            callbacks: Expiring::new(CALLBACKS_MAX),
            seen: Vec::new(),
            calls: Expiring::new(CALLS_MAX),
            asked: Expiring::new(CALLS_MAX),
            up: Expiring::new(CALLS_MAX),
            long_keys: LongKeys::default(),
            free_slots: Vec::new(),
            slots: 0,
            nothing: DynamicLists::default(),
            scratch: Vec::new(),
            answers: Answers::default(),
            decided: Decided::default(),
        }
    }

    /// Marks the events of a batch.
    pub(crate) fn pass(&mut self, work: &mut Work, plan: &Plan) {
        let options = work.options;
        let drops_records = !options.both_legs && work.batch.events.iter().any(|e| e.flags.has(Flags::B_RECORD));
        let asks = options.merge || options.dedup || options.verdict || plan.has_call_rules || drops_records;
        if !asks && !work.has_emergency && self.callbacks.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut work.batch.events);
        if options.merge || options.verdict {
            work.slots.resize(events.len(), Work::NO_SLOT);
        }
        let knows_calls = options.merge || options.verdict || plan.has_call_rules;
        for (n, chunk) in events.chunks_mut(TOUCHED).enumerate() {
            let ids = if knows_calls { self.touch(chunk, &work.batch, options, plan) } else { [None; TOUCHED] };
            for ((event, id), i) in chunk.iter_mut().zip(ids).zip(n * TOUCHED..) {
                if options.dedup && self.is_duplicate(event, &work.batch) {
                    event.flags.set(Flags::DUPLICATE);
                    work.duplicates += 1;
                    if let Some(slot) = self.known_slot(event, id, options) {
                        event.flags.set(Flags::REPEATED);
                        work.slots[i] = slot;
                    }
                    continue;
                }
                self.emergency(event, &work.batch);
                let mut is_diverted = false;
                if options.merge {
                    (work.slots[i], is_diverted) = self.merge(event, id, &work.batch, options.both_legs);
                    if plan.minds_blocked && !plan.is_coupled && work.slots[i] != Work::NO_SLOT {
                        let told = work.recorded.as_ref().and_then(|recorded| recorded.own(i, event));
                        self.mind_block(event, &work.batch, work.slots[i], told, plan);
                    }
                } else if options.verdict && event.kind == Kind::Attempt {
                    work.slots[i] = self.ask_again(event, id);
                }
                if drops_records && event.flags.has(Flags::B_RECORD) {
                    event.flags.set(Flags(Flags::ATTEMPT_SEEN.0 | Flags::ANSWER_SEEN.0 | Flags::END_SEEN.0));
                }
                if plan.has_call_rules && !(options.merge && !options.both_legs && is_b_leg(event, &work.batch)) {
                    self.follow(event, id, i as u32, is_diverted, work, plan);
                }
            }
        }
        work.batch.events = events;
    }

    fn id(&mut self, words: [u64; 2], texts: [&[u8]; 2]) -> Id {
        self.scratch.clear();
        for text in texts {
            self.scratch.extend_from_slice(text);
            self.scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
        }
        words.iter().for_each(|w| self.scratch.extend_from_slice(&w.to_le_bytes()));
        let wide = self.hasher.hash_wide(&self.scratch);
        [wide as u64, (wide >> 64) as u64]
    }

    /// The calls of some events. What is known of them is looked at for all of them first: the memory of a million calls
    /// is far away, and many ways to it take no longer than one.
    fn touch(
        &mut self,
        events: &[CallEvent],
        batch: &Batch,
        options: LaneOptions,
        plan: &Plan,
    ) -> [Option<Id>; TOUCHED] {
        let mut ids = [None; TOUCHED];
        for (id, event) in ids.iter_mut().zip(events) {
            let call_id = batch.text(event.call_id);
            if !call_id.is_empty() {
                let b_leg = u64::from(is_b_leg(event, batch));
                *id = Some(self.id([u64::from(event.customer.0), b_leg], [call_id, &[]]));
            }
        }
        let mut seen = 0;
        for id in ids.iter().flatten() {
            seen ^= if options.merge { self.calls.touch(id) } else { 0 };
            seen ^= if plan.has_call_rules { self.up.touch(id) } else { 0 };
        }
        std::hint::black_box(seen);
        ids
    }

    fn is_duplicate(&mut self, event: &CallEvent, batch: &Batch) -> bool {
        let call_id = batch.text(event.call_id);
        if call_id.is_empty() {
            return false;
        }
        let print = self.id([event.time.0 as u64, event.kind as u64], [call_id, batch.text(event.leg)]);
        let gateway = event.gateway.0 as usize;
        if self.seen.len() <= gateway {
            self.seen.resize_with(gateway + 1, || None);
        }
        let seen = self.seen[gateway].get_or_insert_with(|| Expiring::new(DEDUP_ENTRIES_MAX));
        let at = event.time.0;
        if seen.get_mut(&print, at).is_some() {
            return true;
        }
        seen.insert(print, (), at, at + DEDUP_SPAN_MS, |()| {});
        false
    }

    fn emergency(&mut self, event: &mut CallEvent, batch: &Batch) {
        let at = event.time.0;
        let word = |hasher: &KeyHasher, party: &crate::event::Party| {
            let text = if party.number.is_text() { batch.text(party.text) } else { &[] };
            if text.is_empty() { party.number.bits() } else { hasher.hash_bytes(text) }
        };
        if event.flags.has(Flags::EMERGENCY) {
            // The asserted number is the one that emergency services see and call.
            for party in [&event.caller, &event.asserted] {
                if matches!(party.number.kind(), None | Some(NumberKind::Anonymous)) {
                    continue;
                }
                let who = (event.customer.0, word(&self.hasher, party));
                let ends = at + self.callback_ms;
                // One that is told late shortens nothing.
                if self.callbacks.get_mut(&who, ends).is_none() {
                    self.callbacks.insert(who, (), at, ends, |()| {});
                }
            }
        } else if !self.callbacks.is_empty() && event.direction == Direction::Inbound {
            let who = (event.customer.0, word(&self.hasher, &event.callee));
            if self.callbacks.get_mut(&who, at).is_some() {
                event.flags.set(Flags::EMERGENCY_CALLBACK);
            }
        }
    }

    fn take_slot(&mut self) -> u32 {
        self.free_slots.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        })
    }

    /// 2.9 point 15: at most one attempt, one answer and one end a call, whatever feeds told of it. Gives the slot of
    /// its verdict, and whether the call begins anew because it was diverted.
    fn merge(&mut self, event: &mut CallEvent, id: Option<Id>, batch: &Batch, both_legs: bool) -> (u32, bool) {
        let b_leg = is_b_leg(event, batch);
        let counted = match event.kind {
            Kind::Attempt => Flags::ATTEMPT_SEEN,
            Kind::Answer => Flags::ANSWER_SEEN,
            Kind::End => Flags::END_SEEN,
            Kind::Cdr if event.answered() => Flags(Flags::ATTEMPT_SEEN.0 | Flags::ANSWER_SEEN.0 | Flags::END_SEEN.0),
            Kind::Cdr => Flags(Flags::ATTEMPT_SEEN.0 | Flags::END_SEEN.0),
            Kind::Interim => Flags(0),
            Kind::Register | Kind::Options | Kind::Message => return (Work::NO_SLOT, false),
        };
        if b_leg && !both_legs {
            event.flags.set(counted);
            return (Work::NO_SLOT, false);
        }
        let Some(id) = id else { return (Work::NO_SLOT, false) };
        let at = event.time.0;
        let over = counted.has(Flags::END_SEEN);
        let Some(call) = self.calls.get_mut(&id, at) else {
            if event.kind == Kind::Interim {
                return (Work::NO_SLOT, false);
            }
            let slot = self.take_slot();
            let call = Call { slot, phases: counted, diverting: event.diverting.number };
            let ends = at + if over { CALL_LINGER_MS } else { CALL_AGE_MS_MAX };
            let free = &mut self.free_slots;
            self.calls.insert(id, call, at, ends, |gone| free.push(gone.slot));
            return (slot, false);
        };
        let diverted = event.kind == Kind::Attempt
            && !event.diverting.number.is_absent()
            && event.diverting.number != call.diverting
            && call.phases.has(Flags::ATTEMPT_SEEN);
        let is_first = event.kind == Kind::Attempt && !call.phases.has(Flags::ATTEMPT_SEEN);
        if diverted || is_first {
            call.diverting = event.diverting.number;
        }
        if diverted {
            // An attempt of its own, with an answer and an end to come.
            call.phases = Flags(0);
        } else {
            event.flags.set(Flags(call.phases.0 & counted.0));
            if call.phases.has(Flags::ATTEMPT_SEEN) {
                event.flags.set(Flags::REPEATED);
            }
        }
        let ended_before = call.phases.has(Flags::END_SEEN);
        call.phases.set(counted);
        let slot = call.slot;
        if diverted {
            self.calls.set_end(&id, at + CALL_AGE_MS_MAX);
        } else if over && !ended_before {
            self.calls.set_end(&id, at + CALL_LINGER_MS);
        } else if event.kind == Kind::Interim && !ended_before {
            self.calls.prolong(&id, at + CALL_AGE_MS_MAX);
        }
        (slot, diverted)
    }

    /// Marks what follows a blocked attempt. The attempt is judged here as it will be again, as all else in a batch is
    /// judged out of turn; a coupled shard, which judges in turn, sees to it itself.
    fn mind_block(&mut self, event: &mut CallEvent, batch: &Batch, slot: u32, told: Option<Verdict>, plan: &Plan) {
        if event.flags.has(Flags::REPEATED) {
            if self.answers.get(slot).0.action == Action::Block {
                event.flags.set(Flags::CALL_BLOCKED);
            }
            return;
        }
        if let Some(told) = told {
            self.answers.set(slot, told, Box::default());
            return;
        }
        let view = View { event, batch, policy: &plan.policy, names: &plan.names, dynamic: &self.nothing };
        self.decided.matched.resize(plan.policy.firewall.len(), 0);
        let verdict = prepare::judge(&view, plan, 0, &mut self.decided, &mut KeyBytes::default(), &mut |_, _| {});
        self.decided.flags.clear();
        self.decided.tracked.clear();
        self.decided.would.clear();
        self.answers.set(slot, verdict, Box::default());
    }

    /// Where the verdict of a call is kept whose event came twice: a duplicate must not be the way past a block.
    fn known_slot(&mut self, event: &CallEvent, id: Option<Id>, options: LaneOptions) -> Option<u32> {
        let (at, id) = (event.time.0, id?);
        if options.merge {
            let call = self.calls.get_mut(&id, at)?;
            return call.phases.has(Flags::ATTEMPT_SEEN).then_some(call.slot);
        }
        let asks = options.verdict && event.kind == Kind::Attempt;
        if asks { self.asked.get_mut(&id, at).map(|call| call.slot) } else { None }
    }

    /// 2.9 point 16: the same question again, on a feed that does not merge.
    fn ask_again(&mut self, event: &mut CallEvent, id: Option<Id>) -> u32 {
        let Some(id) = id else { return Work::NO_SLOT };
        let at = event.time.0;
        if let Some(call) = self.asked.get_mut(&id, at) {
            event.flags.set(Flags::ATTEMPT_SEEN);
            event.flags.set(Flags::REPEATED);
            return call.slot;
        }
        let slot = self.take_slot();
        let call = Call { slot, phases: Flags::ATTEMPT_SEEN, diverting: Number::ABSENT };
        let free = &mut self.free_slots;
        self.asked.insert(id, call, at, at + VERDICT_REPEAT_MS, |gone| free.push(gone.slot));
        slot
    }

    /// Which calls are up, for `concurrent`: a set of call ids, never a counter. The keys a call was counted under are
    /// kept, since its end may not repeat the fields they come from.
    fn follow(
        &mut self,
        event: &CallEvent,
        id: Option<Id>,
        index: u32,
        is_diverted: bool,
        work: &mut Work,
        plan: &Plan,
    ) {
        let Some(id) = id else { return };
        let at = event.time.0;
        let seen = |phase| event.flags.has(phase);
        match event.kind {
            Kind::Attempt | Kind::Answer => {
                if seen(Flags::END_SEEN) || seen(Flags::ATTEMPT_SEEN) && event.kind == Kind::Attempt {
                    return;
                }
                if self.up.get_mut(&id, at).is_some_and(|up| !(is_diverted && up.ended)) {
                    return;
                }
                let mut keys = Vec::new();
                let call = (id[0] ^ id[1].rotate_left(32)) >> 1;
                for counter in prepare::call_counters(event, &work.batch, plan, &self.nothing) {
                    let keyed =
                        prepare::call_key(event, &work.batch, &mut work.key_bytes, plan, counter, &self.nothing);
                    let Some((hash, key, is_muted)) = keyed else { continue };
                    let hit = Hit { hash, key, value: call, time: at, event: index, act: Act::Count, is_muted };
                    work.call_hits.push((counter, hit));
                    let long = self.long_keys.share(hash, key.long_bytes(&work.key_bytes));
                    keys.push(UpKey { number: plan.call_numbers.of(usize::from(counter)), hash, key, long });
                }
                let up = Up { ended: false, keys: keys.into_boxed_slice() };
                self.up.insert(id, up, at, at + CALL_AGE_MS_MAX, |_| {});
            }
            Kind::End | Kind::Cdr | Kind::Interim => {
                let act = if event.kind == Kind::Interim { Act::Refresh } else { Act::Remove };
                let call = (id[0] ^ id[1].rotate_left(32)) >> 1;
                let Some(up) = self.up.get_mut(&id, at) else {
                    if event.kind == Kind::End {
                        // Its attempt may still come, and must not count for twelve hours.
                        self.up.insert(id, Up { ended: true, keys: Box::default() }, at, at + CALL_LINGER_MS, |_| {});
                    }
                    return;
                };
                for up_key in &up.keys {
                    // A rule that counted it may be gone.
                    let Some(counter) = plan.call_numbers.place(up_key.number) else { continue };
                    let long = up_key.long.as_deref().unwrap_or_default();
                    let key = up_key.key.restore(long, &mut work.key_bytes);
                    let hit = Hit { hash: up_key.hash, key, value: call, time: at, event: index, act, is_muted: false };
                    work.call_hits.push((counter, hit));
                }
                if up.ended {
                    return;
                }
                if act == Act::Remove {
                    *up = Up { ended: true, keys: Box::default() };
                    self.up.set_end(&id, at + CALL_LINGER_MS);
                } else {
                    self.up.prolong(&id, at + CALL_AGE_MS_MAX);
                }
            }
            Kind::Register | Kind::Options | Kind::Message => {}
        }
    }
}

/// The other half of a call that the gateway bridges.
fn is_b_leg(event: &CallEvent, batch: &Batch) -> bool {
    batch.text(event.leg) == b"b"
}
