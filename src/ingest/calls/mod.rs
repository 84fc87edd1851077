//! The call table: SIP messages become the few things that happen to each call, once each.
//!
//! One table serves all feeds that merge, so a call that several agents see is one call. It is bounded, and everything
//! in it ends by a time of its own. Event time alone counts: nothing here reads a clock.

mod branches;
mod bytes;
mod call;
mod changes;
mod packed;
mod parties;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod property;
mod recovery;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod recovery_property;
mod requests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_whole_calls;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use hashbrown::HashTable;
use rapidhash::v3::{RapidSecrets, rapidhash_v3, rapidhash_v3_seeded};

pub(crate) use changes::Changes;
pub(crate) use parties::Parties;
pub use recovery::{Recovery, RecoveryError};

use super::sip::{Message, Start};
use crate::clock::Timestamp;
use crate::event::{CallEvent, Kind};
use crate::limits::{CALLS_MAX, SIP_HUNT_MS, SIP_RETRY_MS, SIP_SETUP_MS_MAX};
use call::Call;
use changes::Pen;
use packed::Words;
use requests::Requests;

/// Parts of the table, each with a lock: feeds meet only where they tell of calls of the same part.
const PARTS: usize = 64;

/// Calls at the front of a full part of which one has to go.
const LOOKED_AT: usize = 8;

/// By customer and Call-ID.
type Key = u128;

/// One message, where and when it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) time: Timestamp,
    /// Whose call it is, as far as the feed knows; calls of different customers are different calls.
    pub(crate) customer: u32,
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    /// The Call-ID of the call that this one belongs to, where the agent knows; else empty.
    pub(crate) correlation_id: &'a [u8],
    pub(crate) message: &'a Message<'a>,
}

/// On which part of its way a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    /// Every proxy adds one.
    n_vias: u16,
    branch: u32,
}

impl Sight<'_> {
    fn hop(&self) -> Hop {
        let n_vias = u16::try_from(self.message.n_vias).unwrap_or(u16::MAX);
        Hop { n_vias, branch: tag_hash(self.message.via.branch) }
    }
}

/// What happened to a call, a registration or a server.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// All but texts, parties and ids.
    pub(crate) event: CallEvent,
    pub(crate) call_id: &'a [u8],
    pub(crate) is_b_leg: bool,
    pub(crate) parties: Parties<'a>,
}

/// See the module.
#[derive(Debug)]
pub struct CallTable {
    secrets: [RapidSecrets; 2],
    parts: Vec<Mutex<Part>>,
    /// No held call of any part is due before.
    due: AtomicI64,
    /// What changes is to be written down.
    has_annex: bool,
}

/// What a table holds and has given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls and what is remembered of them.
    pub held: u64,
    /// Calls that were answered and never ended, since the last time it was asked.
    pub expired: u64,
    /// Calls that were forgotten for want of room, since the last time it was asked.
    pub evicted: u64,
}

#[derive(Debug, Default)]
struct Part {
    calls_max: usize,
    index: HashTable<u32>,
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
    /// About in the order in which they came.
    order: VecDeque<u32>,
    /// Held calls, the first that is due on top. Which they are and when, the calls say; some of these are void.
    held: BinaryHeap<Reverse<Held>>,
    requests: Requests,
    words: Words,
    /// See [`changes`]. What is counted is written down or saved under the lock of the part.
    n_changes: u64,
    n_expired: u64,
    n_evicted: u64,
}

/// In the order of its fields; of calls that are due at once the order is that of their keys, wherever they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: i64,
    key: [u64; 2],
    slot: u32,
}

impl CallTable {
    /// `seed` spreads the calls: random where others choose Call-IDs, constant in `replay`.
    pub fn new(seed: u64) -> CallTable {
        CallTable::with_room(seed, CALLS_MAX)
    }

    /// For so many calls at once, and some more: not every part gets the same share.
    pub fn with_room(seed: u64, calls_max: usize) -> CallTable {
        let part = || Part { calls_max: (calls_max / PARTS).max(1) * 5 / 4 + 1, ..Part::default() };
        CallTable {
            secrets: [seed, !seed].map(RapidSecrets::seed),
            parts: (0..PARTS).map(|_| Mutex::new(part())).collect(),
            due: AtomicI64::new(i64::MAX),
            has_annex: false,
        }
    }

    /// The same, and every [`Batch`](crate::event::Batch) says in its annex what its block has changed here, so that a
    /// [`Recovery`] can have it again.
    pub fn with_annex(self) -> CallTable {
        CallTable { has_annex: true, ..self }
    }

    /// Takes in a message and tells what happened by it, if anything did.
    // long: one arm for each message that says something
    pub(crate) fn see(&self, sight: &Sight<'_>, changes: &mut Changes, mut tell: impl FnMut(Told<'_>)) {
        let message = sight.message;
        let key = self.key(sight.customer, message.call_id);
        changes.enter(part_of(key));
        let enter = || self.part(key).lock().unwrap_or_else(|e| e.into_inner());
        match (message.start, message.cseq_method) {
            (Start::Request { method: b"INVITE", .. }, _) if message.to.tag.is_empty() => {
                let is_b_leg = self.is_b_leg(sight);
                let mut part = enter();
                let (key, use_number) = part.begins(key, sight, changes);
                let (call, slot, words) = part.call_or_new(key, sight, is_b_leg, changes, &mut tell);
                call.number(use_number);
                if call.invited(sight, is_b_leg, words, &mut tell) {
                    self.hold(&mut part, slot);
                }
            }
            (Start::Request { method: b"INVITE" | b"UPDATE", .. }, _) => {
                let mut part = enter();
                let key = part.dialog(key, sight);
                if let Some((call, _, words)) = part.call(key) {
                    changes.call(key);
                    call.refreshed(sight, words, &mut tell);
                }
            }
            (Start::Request { method: b"CANCEL", .. }, _) => {
                let mut part = enter();
                let key = part.dialog(key, sight);
                if let Some((call, slot, _)) = part.call(key)
                    && call.cancelled(sight)
                {
                    changes.call(key);
                    self.hold(&mut part, slot);
                }
            }
            (Start::Request { method: b"BYE", .. }, _) => {
                let mut part = enter();
                let key = part.dialog(key, sight);
                let (call, _, words) = part.call_or_new(key, sight, false, changes, &mut tell);
                call.hung_up(sight, words, &mut tell);
            }
            (Start::Request { method: b"REGISTER", .. }, _) => {
                let Part { requests, words, n_changes, .. } = &mut *enter();
                requests.ask(self.transaction(key, sight), sight, words, Pen { changes, n_changes });
            }
            (Start::Request { method: method @ (b"OPTIONS" | b"MESSAGE"), .. }, _) => {
                let kind = if method == b"OPTIONS" { Kind::Options } else { Kind::Message };
                let Part { requests, n_changes, .. } = &mut *enter();
                requests.tell(kind, self.transaction(key, sight), sight, Pen { changes, n_changes }, &mut tell);
            }
            (Start::Response { code: code @ 200.., .. }, b"REGISTER") => {
                let Part { requests, words, n_changes, .. } = &mut *enter();
                let (transaction, pen) = (self.transaction(key, sight), Pen { changes, n_changes });
                requests.answer(code, transaction, sight, words, pen, &mut tell);
            }
            (Start::Response { code, .. }, b"INVITE") => {
                let mut part = enter();
                let key = part.dialog(key, sight);
                self.answered(code, &mut part, key, sight, changes, &mut tell);
            }
            _ => {}
        }
    }

    fn answered(
        &self,
        code: u16,
        part: &mut Part,
        key: Key,
        sight: &Sight<'_>,
        changes: &mut Changes,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        match code {
            ..180 => {}
            180..200 => {
                if let Some((call, ..)) = part.call(key) {
                    changes.call(key);
                    call.progressed(sight);
                }
            }
            200..300 => {
                let (call, _, words) = part.call_or_new(key, sight, false, changes, tell);
                call.accepted(sight, words, tell);
            }
            _ => {
                let (call, slot, words) = part.call_or_new(key, sight, false, changes, tell);
                if call.refused(code, sight, words, tell) {
                    self.hold(part, slot);
                }
            }
        }
    }

    /// Tells of the calls that were over by `now` but for the chance of another try, which did not come.
    pub(crate) fn settle(&self, now: Timestamp, changes: &mut Changes, mut tell: impl FnMut(Told<'_>)) {
        if self.due.load(Ordering::Relaxed) > now.0 {
            return;
        }
        // Whoever holds a call from here on lowers it again.
        self.due.store(i64::MAX, Ordering::Relaxed);
        let mut due = i64::MAX;
        for (number, part) in self.parts.iter().enumerate() {
            changes.enter(number);
            due = due.min(part.lock().unwrap_or_else(|e| e.into_inner()).settle(now.0, changes, &mut tell));
        }
        self.due.fetch_min(due, Ordering::Relaxed);
    }

    /// What it holds, and what it has given up since this was last asked.
    pub fn take_counts(&self) -> CallCounts {
        let mut counts = CallCounts::default();
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(|e| e.into_inner());
            counts.held += part.index.len() as u64;
            counts.expired += std::mem::take(&mut part.n_expired);
            counts.evicted += std::mem::take(&mut part.n_evicted);
        }
        counts
    }

    fn hold(&self, part: &mut Part, slot: u32) {
        if let Some(due) = part.hold(slot) {
            self.due.fetch_min(due, Ordering::Relaxed);
        }
    }

    /// Another Call-ID of a call that is known: a gateway's second leg, where its agent tells the two belong together.
    fn is_b_leg(&self, sight: &Sight<'_>) -> bool {
        let first_leg = sight.correlation_id;
        if first_leg.is_empty() || first_leg == sight.message.call_id {
            return false;
        }
        let key = self.key(sight.customer, first_leg);
        self.part(key).lock().unwrap_or_else(|e| e.into_inner()).call(key).is_some()
    }

    fn key(&self, customer: u32, call_id: &[u8]) -> Key {
        let [high, low] = [0, 1].map(|i| u128::from(rapidhash_v3_seeded(call_id, &self.secrets[i])));
        (high << 64 | low) ^ spread(u64::from(customer))
    }

    fn transaction(&self, key: Key, sight: &Sight<'_>) -> Key {
        let message = sight.message;
        key ^ spread(u64::from(message.cseq) << 32 | u64::from(tag_hash(message.cseq_method)))
    }

    fn part(&self, key: Key) -> &Mutex<Part> {
        &self.parts[part_of(key)]
    }
}

impl Part {
    fn find(&self, key: Key) -> Option<u32> {
        let is_it =
            |slot: &u32| self.calls.get(*slot as usize).and_then(|c| c.as_ref()).is_some_and(|c| c.key() == key);
        self.index.find(key as u64, is_it).copied()
    }

    /// The call that a message is of. A call keeps its Call-ID while it is up; who begins another one under it, by a tag
    /// of his own, makes another call, or one call that is up could hide any number.
    fn dialog(&self, key: Key, sight: &Sight<'_>) -> Key {
        let tags = [sight.message.from.tag, sight.message.to.tag].map(tag_hash);
        if self.get(key).is_some_and(|call| call.is_of(tags)) {
            return key;
        }
        let others = tags.into_iter().filter(|tag| *tag != 0).map(|tag| other_dialog(key, tag));
        others.into_iter().find(|other| self.find(*other).is_some()).unwrap_or(key)
    }

    /// As [`Part::dialog`], of an INVITE that may begin one; with the number of a new one under a Call-ID that is used.
    /// The first call of a Call-ID gives the numbers, also to those that begin again where another one stands.
    fn begins(&mut self, key: Key, sight: &Sight<'_>, changes: &mut Changes) -> (Key, u16) {
        let found = self.dialog(key, sight);
        let is_followed = found != key && self.get(found).is_some_and(|call| call.is_followed_by(sight));
        let tag = tag_hash(sight.message.from.tag);
        let Some((first, ..)) = self.call(key) else { return (found, 0) };
        let is_new = found == key && tag != 0 && first.is_up() && !first.is_of([tag, tag]);
        if !is_new && !is_followed {
            return (found, 0);
        }
        changes.call(key);
        (if is_new { other_dialog(key, tag) } else { found }, first.next_use())
    }

    fn get(&self, key: Key) -> Option<&Call> {
        self.calls.get(self.find(key)? as usize)?.as_ref()
    }

    fn call(&mut self, key: Key) -> Option<(&mut Call, u32, &mut Words)> {
        let slot = self.find(key)?;
        let Part { calls, words, .. } = self;
        calls.get_mut(slot as usize)?.as_mut().map(|call| (call, slot, words))
    }

    fn call_or_new(
        &mut self,
        key: Key,
        sight: &Sight<'_>,
        is_b_leg: bool,
        changes: &mut Changes,
        tell: &mut impl FnMut(Told<'_>),
    ) -> (&mut Call, u32, &mut Words) {
        changes.call(key);
        let slot = match self.find(key) {
            Some(slot) => {
                self.renew(slot, sight, is_b_leg, tell);
                slot
            }
            None => {
                self.make_room(sight.time.0, changes, tell);
                let slot = self.new_slot(key);
                self.line_up_last(key, slot, changes);
                slot
            }
        };
        let Part { calls, words, .. } = self;
        (calls[slot as usize].get_or_insert_with(|| Call::new(key, sight, is_b_leg)), slot, words)
    }

    /// An empty one, that is found by `key`.
    fn new_slot(&mut self, key: Key) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() as u32 - 1
        });
        let calls = &self.calls;
        let rehash = |slot: &u32| calls.get(*slot as usize).and_then(|c| c.as_ref()).map_or(0, |c| c.key() as u64);
        self.index.insert_unique(key as u64, slot, rehash);
        slot
    }

    fn line_up_last(&mut self, key: Key, slot: u32, changes: &mut Changes) {
        self.order.push_back(slot);
        self.n_changes += 1;
        changes.call_moved(key, self.n_changes);
    }

    /// An INVITE that comes when the time of its call has passed is of another call: whether somebody looked at the old
    /// one in between depends on other calls, and what is told must not.
    fn renew(&mut self, slot: u32, sight: &Sight<'_>, is_b_leg: bool, tell: &mut impl FnMut(Told<'_>)) {
        let Start::Request { method: b"INVITE", .. } = sight.message.start else { return };
        let Some(call) = self.calls.get_mut(slot as usize).and_then(|c| c.as_mut()) else { return };
        if is_past(call, sight.time.0, &mut self.words, tell) {
            self.n_expired += u64::from(call.is_answered() && !call.is_over());
            *call = Call::new(call.key(), sight, is_b_leg);
        }
    }

    /// Looks at two calls, so that those that are over are gone after as many new calls as there are, and no
    /// message does more than constant work. Where there is no room one goes whose loss costs least.
    fn make_room(&mut self, now: i64, changes: &mut Changes, tell: &mut impl FnMut(Told<'_>)) {
        for _ in 0..2 {
            let Some(slot) = self.order.pop_front() else { return };
            let Some(call) = self.calls.get_mut(slot as usize).and_then(|c| c.as_mut()) else { continue };
            let (key, was_told) = (call.key(), call.is_over());
            let is_past = is_past(call, now, &mut self.words, tell);
            let is_over = call.is_over();
            if is_over != was_told || is_past {
                changes.call(key);
            }
            if !is_past {
                self.line_up_last(key, slot, changes);
                continue;
            }
            self.n_expired += u64::from(call.is_answered() && !is_over);
            self.remove(slot);
        }
        if self.index.len() >= self.calls_max {
            let call = |slot: &u32| self.calls.get(*slot as usize).and_then(|c| c.as_ref());
            let costs = |slot: &u32| call(slot).map_or(0, |c| u8::from(!c.is_idle()) + u8::from(c.is_answered()));
            let front = self.order.iter().take(LOOKED_AT).enumerate();
            let Some((at, _)) = front.min_by_key(|(_, slot)| costs(slot)) else { return };
            if let Some(slot) = self.order.remove(at) {
                self.n_evicted += 1;
                if let Some(call) = self.calls.get_mut(slot as usize).and_then(|c| c.as_mut()) {
                    // Nobody will know it when it is tried again.
                    changes.call(call.key());
                    call.let_go(&mut self.words, tell);
                }
                self.remove(slot);
            }
        }
    }

    /// Takes a call out whose slot is no longer in the order.
    fn remove(&mut self, slot: u32) {
        let Some(key) = self.calls.get(slot as usize).and_then(|c| c.as_ref()).map(Call::key) else { return };
        if let Ok(entry) = self.index.find_entry(key as u64, |s| *s == slot) {
            entry.remove();
        }
        self.calls[slot as usize] = None;
        self.free.push(slot);
    }

    /// Says until when.
    fn hold(&mut self, slot: u32) -> Option<i64> {
        let Part { calls, held, .. } = self;
        let entry = Held::of(calls.get(slot as usize)?.as_ref()?, slot);
        if held.len() >= held_max(calls.len()) {
            // One entry for each call that waits; of a call that is tried again and again most are void.
            let mut is_kept = vec![false; calls.len()];
            held.retain(|Reverse(held)| {
                let is_kept = is_kept.get_mut(held.slot as usize);
                is_waiting(calls, held) && is_kept.is_some_and(|kept| !std::mem::replace(kept, true))
            });
        }
        held.push(Reverse(entry));
        Some(entry.due)
    }

    /// When the next held call is due.
    fn settle(&mut self, now: i64, changes: &mut Changes, tell: &mut impl FnMut(Told<'_>)) -> i64 {
        while let Some(Reverse(held)) = self.held.peek().copied() {
            if held.due > now {
                return held.due;
            }
            self.held.pop();
            if is_waiting(&self.calls, &held)
                && let Some(call) = self.calls.get_mut(held.slot as usize).and_then(|c| c.as_mut())
            {
                changes.call(call.key());
                call.let_go(&mut self.words, tell);
            }
        }
        i64::MAX
    }
}

impl Held {
    fn of(call: &Call, slot: u32) -> Held {
        let key = call.key();
        Held { due: call.held_until(), key: [(key >> 64) as u64, key as u64], slot }
    }
}

/// Whether a held call still is: it may have gone on, or be another call by now, or be held anew.
fn is_waiting(calls: &[Option<Call>], held: &Held) -> bool {
    let call = calls.get(held.slot as usize).and_then(|c| c.as_ref());
    call.is_some_and(|call| call.is_held() && Held::of(call, held.slot) == *held)
}

/// Entries for held calls, given how many calls there are: each has one that counts.
fn held_max(n_calls: usize) -> usize {
    2 * n_calls + 16
}

/// Whether the time of a call has passed. An end that was still to be told is told; then a late copy of it must be known
/// for a while.
fn is_past(call: &mut Call, now: i64, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) -> bool {
    if call.ends >= now {
        return false;
    }
    call.let_go(words, tell);
    call.give_up(words, tell);
    call.ends < now
}

fn part_of(key: Key) -> usize {
    (key >> 64) as usize % PARTS
}

/// Where a second call of a Call-ID stands: in the part of the first.
fn other_dialog(key: Key, tag: u32) -> Key {
    key ^ u128::from(u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Different bits for different numbers.
fn spread(number: u64) -> u128 {
    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// Of tags and branches, compared only within a call. An empty one is 0.
fn tag_hash(tag: &[u8]) -> u32 {
    if tag.is_empty() { 0 } else { (rapidhash_v3(tag) as u32).max(1) }
}

const _: () = assert!(SIP_HUNT_MS < SIP_RETRY_MS && SIP_RETRY_MS < SIP_SETUP_MS_MAX);
