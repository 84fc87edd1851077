//! The call table as it was before a crash: of a snapshot of its parts, and of what the blocks since then say they changed.
//!
//! Parts are saved one at a time while messages flow. What a block says may stand in the part already, and two blocks may
//! be read in another order than they changed a call in; the later account counts, whichever is read last.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bytes::{array, byte, key, number};
use super::call::{Call, Read};
use super::changes::{ANNEX_VERSION, ENTRY, PLACE, REQUEST, STATE};
use super::requests::Request;
use super::{CallTable, Held, Key, PARTS, Part, part_of};

/// Of a saved part, and of nothing else.
const PART_VERSION: u8 = 1;

/// Why a table cannot be had again from what was kept of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    #[error("call table: saved part {0} is damaged or of another version")]
    Part(usize),
    #[error("call table: what a block changed is damaged or of another version")]
    Annex,
}

/// Puts a table together: first the saved parts, each once, then all annexes that may be younger than they. The table
/// must have the seed of the one that was saved, and nobody may use it before the end.
#[derive(Debug)]
pub struct Recovery {
    table: Arc<CallTable>,
    marks: Vec<Marks>,
}

/// Which account of what counts by now.
#[derive(Debug, Default)]
struct Marks {
    /// How far the part had counted when it was saved; what was told before stands in it.
    saved: u64,
    newest: u64,
    calls: HashMap<Key, Mark>,
    requests: HashMap<Key, Mark>,
}

/// How far the part had counted when its state, its parties and its place were told.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    state: u64,
    parties: u64,
    place: u64,
}

impl Mark {
    /// Of what was saved. The part had counted further when it was: at least once for each.
    fn at(place: u32) -> Mark {
        Mark { place: u64::from(place) + 1, ..Mark::default() }
    }
}

impl CallTable {
    /// Parts that [`CallTable::save_part`] knows: 0 and on.
    pub const PARTS: usize = PARTS;

    /// Appends all that a part knows. Holds only the lock of this part.
    pub fn save_part(&self, part: usize, out: &mut Vec<u8>) {
        let Some(part) = self.parts.get(part) else { return };
        let part = &*part.lock().unwrap_or_else(|e| e.into_inner());
        out.push(PART_VERSION);
        out.extend_from_slice(&part.n_changes.to_le_bytes());
        out.extend_from_slice(&(part.order.len() as u32).to_le_bytes());
        for slot in &part.order {
            if let Some(call) = part.calls.get(*slot as usize).and_then(|call| call.as_ref()) {
                call.write(&part.words, out);
            }
        }
        part.requests.save(&part.words, out);
    }
}

impl Recovery {
    pub fn new(table: Arc<CallTable>) -> Recovery {
        Recovery { table, marks: (0..PARTS).map(|_| Marks::default()).collect() }
    }

    /// What [`CallTable::save_part`] wrote of this part. After an error the part is empty.
    pub fn restore_part(&mut self, number: usize, bytes: &[u8]) -> Result<(), RecoveryError> {
        let error = RecoveryError::Part(number);
        let (Some(part), Some(marks)) = (self.table.parts.get(number), self.marks.get_mut(number)) else {
            return Err(error);
        };
        let mut part = part.lock().unwrap_or_else(|e| e.into_inner());
        part.forget();
        *marks = Marks::default();
        if part.restore(number, bytes, marks).is_none() {
            part.forget();
            *marks = Marks::default();
            return Err(error);
        }
        Ok(())
    }

    /// What a block changed. Of an annex that is damaged, what stands before the damage may have been taken.
    pub fn apply(&mut self, annex: &[u8]) -> Result<(), RecoveryError> {
        if annex.is_empty() {
            return Ok(());
        }
        self.read(annex).ok_or(RecoveryError::Annex)
    }

    fn read(&mut self, annex: &[u8]) -> Option<()> {
        let rest = &mut &*annex;
        if byte(rest)? != ANNEX_VERSION {
            return None;
        }
        while !rest.is_empty() {
            let number = usize::from(byte(rest)?);
            let (part, marks) = (self.table.parts.get(number)?, self.marks.get_mut(number)?);
            part.lock().unwrap_or_else(|e| e.into_inner()).apply(number, rest, marks)?;
        }
        Some(())
    }

    /// The table may be used.
    pub fn finish(self) {
        for (part, marks) in self.table.parts.iter().zip(&self.marks) {
            let mut part = part.lock().unwrap_or_else(|e| e.into_inner());
            part.line_up(marks);
            if let Some(Reverse(first)) = part.held.peek() {
                self.table.due.fetch_min(first.due, Ordering::Relaxed);
            }
        }
    }
}

impl Part {
    fn forget(&mut self) {
        *self = Part { calls_max: self.calls_max, ..Part::default() };
    }

    fn restore(&mut self, number: usize, bytes: &[u8], marks: &mut Marks) -> Option<()> {
        let rest = &mut &*bytes;
        if byte(rest)? != PART_VERSION {
            return None;
        }
        marks.saved = u64::from_le_bytes(array(rest)?);
        for place in 0..u32::from_le_bytes(array(rest)?) {
            let Read { call, has_parties: true } = Call::read(rest, &mut self.words)? else { return None };
            let (key, mark) = (call.key(), Mark::at(place));
            if part_of(key) != number || marks.calls.insert(key, mark).is_some() {
                return None;
            }
            self.put_back(call);
        }
        for place in 0..u32::from_le_bytes(array(rest)?) {
            let (key, request) = Request::read(rest, &mut self.words)?;
            if marks.requests.insert(key, Mark::at(place)).is_some() {
                return None;
            }
            self.requests.put_back(key, request);
        }
        rest.is_empty().then_some(())
    }

    /// The entries of one part, up to their end.
    fn apply(&mut self, part_number: usize, rest: &mut &[u8], marks: &mut Marks) -> Option<()> {
        let now = number(rest)?;
        marks.newest = marks.newest.max(now);
        loop {
            let tag = byte(rest)?;
            if tag == 0 {
                return Some(());
            }
            if tag & ENTRY == 0 || tag > ENTRY | REQUEST | STATE | PLACE {
                return None;
            }
            let place = if tag & PLACE != 0 { now.checked_sub(number(rest)?)? } else { 0 };
            let account = Account { now, place, is_known: now <= marks.saved };
            match (tag & REQUEST != 0, tag & STATE != 0) {
                (false, true) => {
                    let read = Call::read(rest, &mut self.words)?;
                    if part_of(read.call.key()) != part_number {
                        return None;
                    }
                    account.of_place(marks.saved, marks.calls.entry(read.call.key()).or_default());
                    self.take_call(read, account, marks);
                }
                (true, true) => {
                    let (key, request) = Request::read(rest, &mut self.words)?;
                    let mark = marks.requests.entry(key).or_default();
                    account.of_place(marks.saved, mark);
                    if account.is_news(mark) {
                        self.requests.put_back(key, request);
                    }
                }
                (is_request, false) => {
                    let key = key(rest)?;
                    let all = if is_request { &mut marks.requests } else { &mut marks.calls };
                    let mark = all.entry(key).or_default();
                    account.of_place(marks.saved, mark);
                    if tag & PLACE == 0 && account.is_news(mark) {
                        mark.parties = now;
                        self.take_out(is_request, key);
                    }
                }
            }
        }
    }

    fn take_call(&mut self, read: Read, account: Account, marks: &mut Marks) {
        let Read { mut call, has_parties } = read;
        let mark = marks.calls.entry(call.key()).or_default();
        let slot = self.find(call.key());
        let known = slot.and_then(|slot| self.calls.get_mut(slot as usize)).and_then(|call| call.as_mut());
        if account.is_news(mark) {
            match known {
                _ if has_parties => mark.parties = account.now,
                Some(known) => call.inherit(known),
                None => {}
            }
            self.put_back(call);
        } else if has_parties && !account.is_known && account.now > mark.parties {
            // They were told before what counts, and are read behind it.
            mark.parties = account.now;
            if let Some(known) = known {
                known.inherit(&mut call);
            }
        }
    }

    fn put_back(&mut self, call: Call) {
        let slot = self.find(call.key()).unwrap_or_else(|| self.new_slot(call.key()));
        if let Some(place) = self.calls.get_mut(slot as usize) {
            *place = Some(call);
        }
    }

    fn take_out(&mut self, is_request: bool, key: Key) {
        if is_request {
            self.requests.take_out(&key);
        } else if let Some(slot) = self.find(key) {
            self.remove(slot);
        }
    }

    /// Makes the queues, of what is there.
    fn line_up(&mut self, marks: &Marks) {
        self.n_changes = marks.saved.max(marks.newest);
        // A place that was told in a block that was lost was taken before the state that was told since.
        let place = |marks: &HashMap<Key, Mark>, key| match marks.get(&key) {
            Some(Mark { place: 0, state, .. }) => *state,
            mark => mark.map_or(0, |mark| mark.place),
        };
        let calls = self.calls.iter().zip(0..).filter_map(|(call, slot)| Some((call.as_ref()?.key(), slot)));
        let mut order: Vec<(u64, u32)> = calls.map(|(key, slot)| (place(&marks.calls, key), slot)).collect();
        order.sort_unstable();
        self.order = order.into_iter().map(|(_, slot)| slot).collect();
        while self.order.len() > self.calls_max {
            if let Some(slot) = self.order.pop_front() {
                self.remove(slot);
            }
        }
        self.requests.line_up(|key| place(&marks.requests, key));
        let calls = self.calls.iter().zip(0..).filter_map(|(call, slot)| Some((call.as_ref()?, slot)));
        self.held =
            calls.filter(|(call, _)| call.is_held()).map(|(call, slot)| Reverse(Held::of(call, slot))).collect();
    }
}

/// When what an entry says was so, by the count of its part.
#[derive(Clone, Copy, Debug)]
struct Account {
    now: u64,
    /// 0: it says nothing of it.
    place: u64,
    /// It stands in the part as it was saved.
    is_known: bool,
}

impl Account {
    fn of_place(self, saved: u64, mark: &mut Mark) {
        if self.place > saved {
            mark.place = mark.place.max(self.place);
        }
    }

    /// Whether it is the latest of all so far. Then it is what counts.
    fn is_news(self, mark: &mut Mark) -> bool {
        let is_news = !self.is_known && self.now > mark.state;
        if is_news {
            mark.state = self.now;
        }
        is_news
    }
}
