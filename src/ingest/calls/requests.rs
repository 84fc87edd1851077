//! Registrations and single requests: told once each, however often and wherever they were seen.

use std::collections::VecDeque;

use hashbrown::HashMap;

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
struct Request {
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
    pub(super) fn tell(&mut self, kind: Kind, key: Key, sight: &Sight<'_>, tell: &mut impl FnMut(Told<'_>)) {
        let key = self.place(key, sight);
        if self.is_known(&key, sight) {
            return;
        }
        self.insert(key, sight, None);
        let parties = Parties::of_request(sight.message, sight.source);
        let event = CallEvent { kind, time: sight.time, ..CallEvent::BLANK };
        tell(Told { event, call_id: sight.message.call_id, is_b_leg: false, parties });
    }

    /// REGISTER: an event when its answer is known.
    pub(super) fn ask(&mut self, key: Key, sight: &Sight<'_>, words: &mut Words) {
        let key = self.place(key, sight);
        if self.is_known(&key, sight) {
            return;
        }
        let had_credentials = sight.message.credentials.is_some();
        let parties = Packed::new(&Parties::of_request(sight.message, sight.source), &[], words);
        self.insert(key, sight, Some(Asked { had_credentials, parties }));
    }

    /// The final response to a REGISTER.
    pub(super) fn answer(
        &mut self,
        code: u16,
        key: Key,
        sight: &Sight<'_>,
        words: &mut Words,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        let (message, key) = (sight.message, self.place(key, sight));
        let mut event = CallEvent { kind: Kind::Register, time: sight.time, sip_code: code, ..CallEvent::BLANK };
        let mut tell = |event, parties| tell(Told { event, call_id: message.call_id, is_b_leg: false, parties });
        if self.entries.get(&key).is_none_or(|request| request.ends < sight.time.0) {
            // The request was not seen. The response went to whoever sent it.
            self.insert(key, sight, None);
            let parties = Parties { source: sight.destination, ..Parties::of_dialog(&message.from, &message.to) };
            return tell(event, parties);
        }
        let request = self.entries.get_mut(&key).filter(|request| request.hop == sight.hop());
        let Some(asked) = request.and_then(|request| request.asked.take()) else { return };
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

    fn insert(&mut self, key: Key, sight: &Sight<'_>, asked: Option<Asked>) {
        let now = sight.time.0;
        for _ in 0..2 {
            let Some(front) = self.order.pop_front() else { break };
            let over = self.entries.get(&front).is_none_or(|request| request.ends < now);
            if over || self.entries.len() >= SIP_REQUESTS_MAX / super::PARTS {
                self.entries.remove(&front);
            } else {
                self.order.push_back(front);
            }
        }
        let request = Request { ends: now.saturating_add(SIP_TRANSACTION_MS), hop: sight.hop(), asked };
        if self.entries.insert(key, request).is_none() {
            self.order.push_back(key);
        }
    }
}
