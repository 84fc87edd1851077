//! A call as bytes, for a snapshot of the table and for what a block says it changed.
//!
//! A million calls are saved at once, and some hundred thousand messages a second change one each: what a call does not
//! have takes no room, and times are told from its beginning.

use std::num::NonZeroU32;

use super::super::bytes::{array, byte, distant, hash, key, put_distance, put_number, small};
use super::super::packed::{Packed, Words};
use super::{ANSWER, Branches, Call, END, HELD, Offset};
use crate::clock::Timestamp;
use crate::limits::SIP_FORKS_MAX;

/// What follows, and what is known by a bit. The rest has a place of its own.
const PROGRESS: u16 = 1;
const ANSWERED: u16 = 1 << 1;
const HELD_AT: u16 = 1 << 2;
const CALLEE_TAG: u16 = 1 << 3;
const REFRESHED: u16 = 1 << 4;
const USES: u16 = 1 << 5;
const MORE: u16 = 1 << 6;
const FAILED: u16 = 1 << 7;
const HUNTED: u16 = 1 << 8;
const PARTIES: u16 = 1 << 9;

/// A call that was read, and whether its parties were told with it. If not they are those that were told last.
pub(in super::super) struct Read {
    pub(in super::super) call: Call,
    pub(in super::super) has_parties: bool,
}

impl Call {
    /// For a snapshot, which says all.
    pub(in super::super) fn write(&self, words: &Words, out: &mut Vec<u8>) {
        self.write_state(PARTIES, out);
        self.parties.spell(words, out);
    }

    /// For an annex. Its parties are told where they have changed since.
    pub(in super::super) fn note(&mut self, words: &Words, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_noted, true) {
            self.write_state(0, out);
        } else {
            self.write(words, out);
        }
    }

    fn write_state(&self, has_parties: u16, out: &mut Vec<u8>) {
        let mut more = self.branches.each();
        let (first, has_failed) = more.next().unwrap_or_default();
        let n_more = more.clone().count();
        let bit = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        let fields = has_parties
            | bit(self.progress.is_some(), PROGRESS)
            | bit(self.answered.is_some(), ANSWERED)
            | bit(self.held_at != 0, HELD_AT)
            | bit(self.callee_tag != 0, CALLEE_TAG)
            | bit(self.refreshed != 0, REFRESHED)
            | bit(self.uses | self.last_use != 0, USES)
            | bit(n_more > 0, MORE)
            | bit(has_failed, FAILED)
            | bit(self.is_hunted, HUNTED);
        out.extend_from_slice(&self.key().to_le_bytes());
        out.extend_from_slice(&fields.to_le_bytes());
        out.extend_from_slice(&[self.state, self.q850]);
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.caller_tag.to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
        put_distance(out, self.at, self.ends);
        put_number(out, u64::from(self.cseq));
        put_number(out, u64::from(self.n_vias));
        put_number(out, u64::from(self.code));
        for offset in [self.progress, self.answered].into_iter().flatten() {
            put_number(out, u64::from(offset.0.get()));
        }
        if fields & HELD_AT != 0 {
            put_distance(out, self.at, self.held_at);
        }
        for tag in [self.callee_tag, self.refreshed].into_iter().filter(|tag| *tag != 0) {
            out.extend_from_slice(&tag.to_le_bytes());
        }
        if fields & USES != 0 {
            put_number(out, u64::from(self.uses));
            put_number(out, u64::from(self.last_use));
        }
        if fields & MORE != 0 {
            put_number(out, n_more as u64);
            for (hash, failed) in more {
                out.extend_from_slice(&hash.to_le_bytes());
                out.push(u8::from(failed));
            }
        }
    }

    /// One off the front of bytes that nobody has vouched for. `None`: it is none, or one that cannot be.
    pub(in super::super) fn read(rest: &mut &[u8], words: &mut Words) -> Option<Read> {
        let key = key(rest)?;
        let fields = u16::from_le_bytes([byte(rest)?, byte(rest)?]);
        let has = |field| fields & field != 0;
        let (state, q850) = (byte(rest)?, byte(rest)?);
        let at = i64::from_le_bytes(array(rest)?);
        let caller_tag = hash(rest)?;
        let first = (hash(rest)?, has(FAILED));
        let ends = distant(rest, at)?;
        let (cseq, n_vias, code) = (small(rest)?, small(rest)?, small(rest)?);
        let mut offset = |field| match has(field) {
            true => small(rest).and_then(NonZeroU32::new).map(|ms| Some(Offset(ms))),
            false => Some(None),
        };
        let (progress, answered) = (offset(PROGRESS)?, offset(ANSWERED)?);
        let held_at = if has(HELD_AT) { distant(rest, at)? } else { 0 };
        let callee_tag = if has(CALLEE_TAG) { hash(rest)? } else { 0 };
        let refreshed = if has(REFRESHED) { hash(rest)? } else { 0 };
        let (uses, last_use) = if has(USES) { (small(rest)?, small(rest)?) } else { (0, 0) };
        let mut branches = Branches::of_first(first);
        let n_more: usize = if has(MORE) { small(rest)? } else { 0 };
        for _ in 0..Some(n_more).filter(|n| *n <= SIP_FORKS_MAX)? {
            branches.put_back((hash(rest)?, byte(rest)? != 0));
        }
        let parties = if has(PARTIES) { Packed::read(rest, words)? } else { Packed::default() };
        let is_time = |time: &i64| (Timestamp::MIN.0..=TIME_MAX).contains(time);
        let is_possible = state & (HELD | END) != HELD | END && is_time(&at) && is_time(&held_at);
        let call = Call {
            key: [(key >> 64) as u64, key as u64],
            ends,
            at,
            progress,
            answered,
            held_at,
            cseq,
            caller_tag,
            callee_tag,
            refreshed,
            branches,
            n_vias,
            code,
            q850,
            state,
            is_hunted: has(HUNTED),
            is_noted: true,
            uses,
            last_use,
            parties,
        };
        is_possible.then_some(Read { call, has_parties: has(PARTIES) })
    }

    /// Takes the parties of an earlier account of it: this one did not tell them.
    pub(in super::super) fn inherit(&mut self, earlier: &mut Call) {
        self.parties = std::mem::take(&mut earlier.parties);
        if self.has(ANSWER) {
            self.parties.drop_call_id();
        }
    }
}

/// The last beginning of a call whose end can still be told.
const TIME_MAX: i64 = Timestamp::MAX.0 - u32::MAX as i64;
