//! Writing what the gate knows while batches go on passing it, and reading it again.

use super::{Call, Gate, Id, Up, UpKey};
use crate::codec::{Malformed, Put, Take, Written, require};
use crate::engine::answers::Answers;
use crate::engine::expiring::Expiring;
use crate::engine::key::{Key, KeyBytes};
use crate::engine::plan::Plan;
use crate::engine::saved::frames::Frames;
use crate::event::{Flags, Number};
use crate::limits::{CALLS_MAX, DEDUP_ENTRIES_MAX, NAMES_MAX};

/// What an entry is of. The numbers are part of the format.
const CALLBACKS: u8 = 0;
const CALLS: u8 = 1;
const ASKED: u8 = 2;
const UP: u8 = 3;
const SEEN: u8 = 4;

/// The maps of calls hand out slots, one a call; they hold a few more than they should until the next one comes.
const SLOTS_MAX: usize = 4 * CALLS_MAX;

impl Written for Call {
    fn put(&self, out: &mut Put<'_>) {
        out.u32(self.slot);
        out.u16(self.phases.0);
        out.u64(self.diverting.bits());
    }
}

impl Call {
    fn take(from: &mut Take<'_>) -> Result<Call, Malformed> {
        let (slot, phases, diverting) = (from.u32()?, Flags(from.u16()?), Number::from_bits(from.u64()?));
        require((slot as usize) < SLOTS_MAX)?;
        Ok(Call { slot, phases, diverting })
    }
}

impl Written for Up {
    fn put(&self, out: &mut Put<'_>) {
        out.u8(u8::from(self.ended));
        out.u16(self.keys.len() as u16);
        for key in &self.keys {
            out.u16(key.number);
            key.key.put_with(key.long.as_deref().unwrap_or_default(), out);
        }
    }
}

impl Gate {
    /// From here on, what the gate knows is written as it is now.
    pub(crate) fn mark(&mut self) {
        self.callbacks.mark();
        self.calls.mark();
        self.asked.mark();
        self.up.mark();
        self.seen.iter_mut().flatten().for_each(Expiring::mark);
    }

    /// Ends a save, complete or not.
    pub(crate) fn forget_save(&mut self) {
        self.callbacks.forget_save();
        self.calls.forget_save();
        self.asked.forget_save();
        self.up.forget_save();
        self.seen.iter_mut().flatten().for_each(Expiring::forget_save);
    }

    /// Writes a piece; true when there is no more.
    pub(crate) fn save_some(&mut self, out: &mut Frames<'_>) -> bool {
        self.callbacks.save_some(&id(CALLBACKS, 0), out)
            && self.calls.save_some(&id(CALLS, 0), out)
            && self.asked.save_some(&id(ASKED, 0), out)
            && self.up.save_some(&id(UP, 0), out)
            && self.seen.iter_mut().enumerate().all(|(gateway, seen)| {
                // One that came after the mark is not part of it.
                seen.as_mut().is_none_or(|seen| seen.save_some(&id(SEEN, gateway as u32), out))
            })
    }

    /// What a part of one of the maps knows beside its entries.
    pub(crate) fn restore_part(&mut self, from: &mut Take<'_>) -> Result<(), Malformed> {
        match (from.u8()?, from.u32()?) {
            (CALLBACKS, 0) => self.callbacks.restore_part(from),
            (CALLS, 0) => self.calls.restore_part(from),
            (ASKED, 0) => self.asked.restore_part(from),
            (UP, 0) => self.up.restore_part(from),
            (SEEN, gateway) => self.seen_by(gateway)?.restore_part(from),
            _ => Err(Malformed),
        }
    }

    /// `calls`: where the rules are now that count calls, by their numbers of then.
    pub(crate) fn restore_entries(&mut self, from: &mut Take<'_>, calls: &[Option<u16>]) -> Result<(), Malformed> {
        let of_id = |from: &mut Take<'_>| -> Result<Id, Malformed> { Ok([from.u64()?, from.u64()?]) };
        let nothing = |_: &mut Take<'_>| Ok(());
        match (from.u8()?, from.u32()?) {
            (CALLBACKS, 0) => self.callbacks.restore_entries(from, |from| Ok((from.u32()?, from.u64()?)), nothing),
            (CALLS, 0) => self.calls.restore_entries(from, of_id, Call::take),
            (ASKED, 0) => self.asked.restore_entries(from, of_id, Call::take),
            (UP, 0) => {
                let mut up = std::mem::replace(&mut self.up, Expiring::new(0));
                let result = up.restore_entries(from, of_id, |from| self.take_up(from, calls));
                self.up = up;
                result
            }
            (SEEN, gateway) => self.seen_by(gateway)?.restore_entries(from, of_id, nothing),
            _ => Err(Malformed),
        }
    }

    fn seen_by(&mut self, gateway: u32) -> Result<&mut Expiring<Id, ()>, Malformed> {
        let gateway = gateway as usize;
        require(gateway < NAMES_MAX)?;
        if self.seen.len() <= gateway {
            self.seen.resize_with(gateway + 1, || None);
        }
        let seen = self.seen.get_mut(gateway).ok_or(Malformed)?;
        Ok(seen.get_or_insert_with(|| Expiring::new(DEDUP_ENTRIES_MAX)))
    }

    fn take_up(&mut self, from: &mut Take<'_>, calls: &[Option<u16>]) -> Result<Up, Malformed> {
        let ended = from.bool()?;
        let mut keys = Vec::new();
        for _ in 0..from.u16()? {
            let counter = calls.get(usize::from(from.u16()?)).ok_or(Malformed)?;
            let (key, long) = Key::take_with(from)?;
            // What a rule counts that is no longer the same is counted anew.
            let Some(counter) = *counter else { continue };
            let mut bytes = KeyBytes::default();
            let hit_key = key.restore(long, &mut bytes);
            let hash = self.hasher.hash(hit_key, &bytes);
            // Numbers begin with the places.
            keys.push(UpKey { number: counter, hash, key: hit_key, long: self.long_keys.share(hash, long.into()) });
        }
        Ok(Up { ended, keys: keys.into_boxed_slice() })
    }

    /// Everything is read: which slots are free follows, and what calls were told is known.
    pub(crate) fn finish_restore(&mut self, answers: &Answers, plan: &Plan) -> Result<(), Malformed> {
        let seen = self.seen.iter().flatten().all(Expiring::is_restored);
        require(seen && self.callbacks.is_restored() && self.up.is_restored())?;
        require(self.calls.is_restored() && self.asked.is_restored())?;
        let taken: Vec<u32> = self.calls.values().chain(self.asked.values()).map(|call| call.slot).collect();
        self.slots = taken.iter().max().map_or(0, |last| last + 1);
        let mut is_free = vec![true; self.slots as usize];
        for slot in taken {
            let place = is_free.get_mut(slot as usize).ok_or(Malformed)?;
            // No two calls have one slot.
            require(std::mem::replace(place, false))?;
        }
        let free = is_free.iter().enumerate().filter(|(_, is_free)| **is_free);
        self.free_slots = free.map(|(slot, _)| slot as u32).collect();
        if plan.minds_blocked && !plan.is_coupled {
            self.answers = answers.clone();
        }
        Ok(())
    }
}

fn id(map: u8, gateway: u32) -> [u8; 5] {
    let [a, b, c, d] = gateway.to_le_bytes();
    [map, a, b, c, d]
}
