//! Registrations and single requests: told once each, however often and wherever they were seen.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::bytes::{byte, distant, hash, key, put_distance, put_number, small};
use super::changes::Pen;
use super::packed::{Packed, Words};
use super::parties::Parties;
use super::{Hop, Key, Sight, Told, spread};
use crate::event::{CallEvent, Flags, Kind};
use crate::limits::{SIP_REQUESTS_MAX, SIP_TRANSACTION_MS};

/// Transactions that are under way or were so shortly before. When there is no room the oldest goes.
#[derive(Debug, Default)]
pub(super) struct Requests {
    entries: HashMap<Key, Request>,
    order: VecDeque<Key>,
}

#[derive(Debug)]
pub(super) struct Request {
    ends: i64,
    hop: Hop,
    /// What the answer will be told with; `None` once it was.
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    had_credentials: bool,
    parties: Packed,
}

impl Requests {
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.order.len(), self.entries.len());
        self.entries.len()
    }

    /// OPTIONS and MESSAGE: an event at once.
    pub(super) fn tell(
        &mut self,
        kind: Kind,
        key: Key,
        sight: &Sight<'_>,
        pen: Pen<'_>,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        let key = self.place(key, sight);
        if self.is_known(&key, sight) {
            return;
        }
        self.insert(key, sight, None, pen);
        let parties = Parties::of_request(sight.message, sight.source);
        let event = CallEvent { kind, time: sight.time, ..CallEvent::BLANK };
        tell(Told { event, call_id: sight.message.call_id, is_b_leg: false, parties });
    }

    /// REGISTER: an event when its answer is known.
    pub(super) fn ask(&mut self, key: Key, sight: &Sight<'_>, words: &mut Words, pen: Pen<'_>) {
        let key = self.place(key, sight);
        if self.is_known(&key, sight) {
            return;
        }
        let had_credentials = sight.message.credentials.is_some();
        let parties = Packed::new(&Parties::of_request(sight.message, sight.source), &[], words);
        self.insert(key, sight, Some(Asked { had_credentials, parties }), pen);
    }

    /// The final response to a REGISTER.
    pub(super) fn answer(
        &mut self,
        code: u16,
        key: Key,
        sight: &Sight<'_>,
        words: &mut Words,
        mut pen: Pen<'_>,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        let (message, key) = (sight.message, self.place(key, sight));
        let mut event = CallEvent { kind: Kind::Register, time: sight.time, sip_code: code, ..CallEvent::BLANK };
        let mut tell = |event, parties| tell(Told { event, call_id: message.call_id, is_b_leg: false, parties });
        if self.entries.get(&key).is_none_or(|request| request.ends < sight.time.0) {
            // The request was not seen. The response went to whoever sent it.
            self.insert(key, sight, None, pen);
            let parties = Parties { source: sight.destination, ..Parties::of_dialog(&message.from, &message.to) };
            return tell(event, parties);
        }
        let request = self.entries.get_mut(&key).filter(|request| request.hop == sight.hop());
        let Some(asked) = request.and_then(|request| request.asked.take()) else { return };
        pen.request(key);
        // A nonce that is too old says nothing of the credentials.
        if asked.had_credentials && matches!(code, 401 | 403 | 407) && !message.nonce_is_stale {
            event.flags.set(Flags::AUTH_FAILED);
        }
        tell(event, asked.parties.unpack(words).0);
    }

    /// Where a transaction is kept. Another one of the same numbers on the same hop is another request: who guesses
    /// passwords may not care to count, nor wait for the answers.
    fn place(&self, key: Key, sight: &Sight<'_>) -> Key {
        let hop = sight.hop();
        let is_other = |known: &Hop| known.n_vias == hop.n_vias && known.branch != hop.branch;
        match self.entries.get(&key) {
            Some(first) if sight.time.0 <= first.ends && is_other(&first.hop) => key ^ spread(!u64::from(hop.branch)),
            _ => key,
        }
    }

    /// Seen before, or on its way through a proxy.
    fn is_known(&self, key: &Key, sight: &Sight<'_>) -> bool {
        self.entries.get(key).is_some_and(|request| sight.time.0 <= request.ends)
    }

    fn insert(&mut self, key: Key, sight: &Sight<'_>, asked: Option<Asked>, mut pen: Pen<'_>) {
        let now = sight.time.0;
        for _ in 0..2 {
            let Some(front) = self.order.pop_front() else { break };
            let over = self.entries.get(&front).is_none_or(|request| request.ends < now);
            if over || self.entries.len() >= SIP_REQUESTS_MAX / super::PARTS {
                self.entries.remove(&front);
                pen.request(front);
            } else {
                self.order.push_back(front);
                pen.request_moved(front);
            }
        }
        let request = Request { ends: now.saturating_add(SIP_TRANSACTION_MS), hop: sight.hop(), asked };
        pen.request(key);
        if self.entries.insert(key, request).is_none() {
            self.order.push_back(key);
            pen.request_moved(key);
        }
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// All of them, in their order.
    pub(super) fn save(&self, words: &Words, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.order.len() as u32).to_le_bytes());
        self.order.iter().for_each(|key| self.write(key, words, out));
    }

    pub(super) fn write(&self, key: &Key, words: &Words, out: &mut Vec<u8>) {
        let Some(Request { ends, hop, asked }) = self.entries.get(key) else { return };
        let bits = asked.as_ref().map_or(0, |asked| ASKED | if asked.had_credentials { CREDENTIALS } else { 0 });
        out.extend_from_slice(&key.to_le_bytes());
        out.push(bits);
        put_distance(out, 0, *ends);
        put_number(out, u64::from(hop.n_vias));
        out.extend_from_slice(&hop.branch.to_le_bytes());
        if let Some(asked) = asked {
            asked.parties.spell(words, out);
        }
    }

    /// Back among the others, without a place in the order.
    pub(super) fn put_back(&mut self, key: Key, request: Request) {
        self.entries.insert(key, request);
    }

    pub(super) fn take_out(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    /// Makes the order anew, by the place of each.
    pub(super) fn line_up(&mut self, place: impl Fn(Key) -> u64) {
        let mut order: Vec<Key> = self.entries.keys().copied().collect();
        order.sort_unstable_by_key(|key| (place(*key), *key));
        let n_too_many = order.len().saturating_sub(SIP_REQUESTS_MAX / super::PARTS);
        for key in order.drain(..n_too_many) {
            self.entries.remove(&key);
        }
        self.order = order.into();
    }
}

/// What a request that is written has.
const ASKED: u8 = 1;
const CREDENTIALS: u8 = 1 << 1;

impl Request {
    /// One off the front of bytes that nobody has vouched for.
    pub(super) fn read(rest: &mut &[u8], words: &mut Words) -> Option<(Key, Request)> {
        let (key, bits) = (key(rest)?, byte(rest)?);
        let (ends, hop) = (distant(rest, 0)?, Hop { n_vias: small(rest)?, branch: hash(rest)? });
        let had_credentials = bits & CREDENTIALS != 0;
        let asked = match bits & ASKED != 0 {
            true => Some(Asked { had_credentials, parties: Packed::read(rest, words)? }),
            false => None,
        };
        Some((key, Request { ends, hop, asked }))
    }
}
