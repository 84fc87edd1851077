//! One call, from the messages that were seen of it: when it was tried, answered and over.
//!
//! A message may be seen on every hop it takes, again when it is sent again, and in another order than it was sent. A
//! call is judged on the hop nearest to the caller: there a proxy has one request and one final answer, wherever it
//! searched for the callee.

mod saved;

use std::num::NonZeroU32;

pub(super) use saved::Read;

use super::branches::Branches;
use super::packed::{Packed, Words};
use super::parties::Parties;
use super::{Hop, Key, Sight, Told, tag_hash};
use crate::clock::Timestamp;
use crate::event::{CallEvent, HangupBy, Kind, Status};
use crate::ingest::cause::status_of_sip;
use crate::limits::{CALL_AGE_MS_MAX, CALL_LINGER_MS, SIP_HUNT_MS, SIP_RETRY_MS, SIP_SETUP_MS_MAX};

/// What is known of a call, in few bytes: a million may be up.
#[derive(Debug)]
pub(super) struct Call {
    /// In halves: whole it would be laid out by sixteen bytes.
    key: [u64; 2],
    /// It is forgotten after.
    pub(super) ends: i64,
    /// Its attempt, or the first that was seen of it.
    at: i64,
    /// Offsets from `at`.
    progress: Option<Offset>,
    answered: Option<Offset>,
    /// Since when it is over but for the chance of another try, see [`Call::hold`].
    pub(super) held_at: i64,
    cseq: u32,
    caller_tag: u32,
    /// Of the callee that answered; 0: not known.
    callee_tag: u32,
    /// The request within the call that was told last.
    refreshed: u32,
    branches: Branches,
    n_vias: u16,
    /// The final answer that counts most.
    code: u16,
    q850: u8,
    state: u8,
    /// What it is held for is a proxy's next try, not one of the caller.
    is_hunted: bool,
    /// Its parties stand in an annex, or in a part that was saved. They change once or twice, and are most of it.
    is_noted: bool,
    /// How often this Call-ID was used for a new call.
    uses: u16,
    /// The highest number that was given to a use of it.
    last_use: u16,
    parties: Packed,
}

const _: () = assert!(size_of::<Option<Call>>() <= 112);

/// What was told or seen, bits of [`Call::state`].
const ATTEMPT: u8 = 1;
const ANSWER: u8 = 1 << 1;
const END: u8 = 1 << 2;
/// The caller has given up; the callee may still answer first.
const CANCELLED: u8 = 1 << 3;
/// It is over unless tried again.
const HELD: u8 = 1 << 4;
/// Hung up before its beginning was seen.
const HUNG_UP: u8 = 1 << 5;
const B_LEG: u8 = 1 << 6;
/// The callee's tag is the one that the caller was shown.
const CALLEE_KNOWN: u8 = 1 << 7;

impl Call {
    /// Of which this is the first that is seen.
    pub(super) fn new(key: Key, sight: &Sight<'_>, is_b_leg: bool) -> Call {
        let Hop { n_vias, branch } = sight.hop();
        Call {
            key: [(key >> 64) as u64, key as u64],
            ends: sight.time.0.saturating_add(SIP_SETUP_MS_MAX),
            at: sight.time.0,
            progress: None,
            answered: None,
            held_at: 0,
            cseq: sight.message.cseq,
            caller_tag: tag_hash(sight.message.from.tag),
            callee_tag: 0,
            refreshed: 0,
            branches: Branches::new(branch),
            n_vias,
            code: 0,
            q850: 0,
            state: if is_b_leg { B_LEG } else { 0 },
            is_hunted: false,
            is_noted: false,
            uses: 0,
            last_use: 0,
            parties: Packed::default(),
        }
    }

    pub(super) fn key(&self) -> Key {
        u128::from(self.key[0]) << 64 | u128::from(self.key[1])
    }

    fn has(&self, state: u8) -> bool {
        self.state & state != 0
    }

    pub(super) fn is_over(&self) -> bool {
        self.has(END)
    }

    pub(super) fn is_answered(&self) -> bool {
        self.has(ANSWER)
    }

    pub(super) fn is_held(&self) -> bool {
        self.has(HELD)
    }

    /// Until when it is held. Nothing but the call itself says so: a queue of those that wait can be made of them.
    pub(super) fn held_until(&self) -> i64 {
        self.held_at.saturating_add(if self.is_hunted { SIP_HUNT_MS } else { SIP_RETRY_MS })
    }

    /// Refused everywhere, and yet neither told nor waiting.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn is_left_refused(&self) -> bool {
        self.is_open() && self.is_refused()
    }

    /// Nobody waits for it: over, or only heard of by the answer to a message that was not seen.
    pub(super) fn is_idle(&self) -> bool {
        self.is_over() || !self.has(ATTEMPT | ANSWER)
    }

    /// Answered, and not over.
    pub(super) fn is_up(&self) -> bool {
        self.has(ANSWER) && !self.has(END)
    }

    /// Whether a message with these tags is of this call. One without tags may be.
    pub(super) fn is_of(&self, tags: [u32; 2]) -> bool {
        tags.contains(&self.caller_tag) || self.callee_tag != 0 && tags.contains(&self.callee_tag)
    }

    /// The number of one more call under its Call-ID.
    pub(super) fn next_use(&mut self) -> u16 {
        self.last_use = self.last_use.saturating_add(1);
        self.last_use
    }

    /// Says which call under its Call-ID it is, of a new one, or will be, of one that is to begin again.
    pub(super) fn number(&mut self, use_number: u16) {
        match use_number.checked_sub(1) {
            None => {}
            Some(before) if self.has(ATTEMPT) => self.last_use = before,
            Some(_) => (self.uses, self.last_use) = (use_number, use_number),
        }
    }

    /// Whether an INVITE is of another call than this one, which is over: whoever uses a Call-ID again does not hide a
    /// call by it, nor does whoever tries again when the call was over, and is answered then.
    pub(super) fn is_followed_by(&self, sight: &Sight<'_>) -> bool {
        let is_other = tag_hash(sight.message.from.tag) != self.caller_tag;
        let is_again = !self.has(ANSWER | HUNG_UP) && sight.message.cseq > self.cseq;
        self.has(ATTEMPT) && self.has(END) && !self.is_redirected_by(sight) && (is_other || is_again)
    }

    /// Whether an INVITE goes on with this call elsewhere, as a 3xx has asked.
    fn is_redirected_by(&self, sight: &Sight<'_>) -> bool {
        self.has(END)
            && !self.has(ANSWER | HUNG_UP)
            && (300..400).contains(&self.code)
            && sight.message.cseq > self.cseq
    }

    /// Tried, and neither answered nor refused.
    pub(super) fn is_open(&self) -> bool {
        self.has(ATTEMPT) && !self.has(ANSWER | END)
    }

    /// An INVITE without a tag in To. Says whether to wait for another one: this one may be known to have been
    /// refused.
    pub(super) fn invited(
        &mut self,
        sight: &Sight<'_>,
        is_b_leg: bool,
        words: &mut Words,
        tell: &mut impl FnMut(Told<'_>),
    ) -> bool {
        let message = sight.message;
        if !self.has(ATTEMPT) {
            if self.is_idle() && !self.has(END) && self.ends < sight.time.0 {
                // What was heard of it is too old to be of this one.
                *self = Call::new(self.key(), sight, is_b_leg);
            }
            self.state |= if is_b_leg { B_LEG } else { 0 };
            return self.begin(sight, words, tell);
        }
        if self.has(END) {
            let is_redirected = self.is_redirected_by(sight);
            if is_redirected || self.is_followed_by(sight) {
                self.begin_again(sight, is_redirected, words, tell);
            }
            return false;
        }
        if !self.has(ANSWER) {
            if message.cseq > self.cseq {
                // Some phones take a new tag for each try.
                self.caller_tag = tag_hash(message.from.tag);
            }
            self.follow(sight);
            // The answer to a try may have come before it.
            if message.cseq == self.cseq {
                self.note_account(sight, words);
            }
        }
        false
    }

    /// Takes in which try a message belongs to, on which hop and which branch: where it is a later try, the try counts,
    /// where it is nearer to the caller, that hop; else it may be one of several branches.
    fn follow(&mut self, sight: &Sight<'_>) {
        let (hop, cseq) = (sight.hop(), sight.message.cseq);
        if cseq > self.cseq || cseq == self.cseq && hop.n_vias < self.n_vias {
            if cseq > self.cseq {
                self.state &= !(HELD | CANCELLED);
                (self.code, self.q850) = (0, 0);
            }
            (self.cseq, self.n_vias) = (cseq, hop.n_vias);
            self.branches = Branches::new(hop.branch);
        } else if cseq == self.cseq && hop.n_vias == self.n_vias && !self.branches.has(hop.branch) {
            self.branches.add(hop.branch);
            self.resume();
        }
    }

    fn begin(&mut self, sight: &Sight<'_>, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) -> bool {
        let parties = Parties::of_request(sight.message, sight.source);
        if self.has(HUNG_UP) && !self.has(ANSWER) {
            let tag = tag_hash(sight.message.from.tag);
            // Of somebody who was not in this call: it goes on.
            if !self.is_of([tag, tag]) {
                self.state &= !HUNG_UP;
                self.q850 = 0;
            }
            self.callee_tag = 0;
        }
        self.start(sight, &parties, words);
        self.tell(Kind::Attempt, sight.time, sight.message.call_id, parties, tell);
        if self.has(HUNG_UP | ANSWER) {
            if self.has(HUNG_UP) && !self.has(END) {
                self.end(Timestamp(self.held_at), HangupBy::Unknown, sight.message.call_id, words, tell);
            }
            return false;
        }
        self.ends = self.at.saturating_add(SIP_SETUP_MS_MAX);
        self.follow(sight);
        // It may have been refused before it was seen.
        self.decide(Timestamp(self.held_at.max(self.at)), sight, words, tell)
    }

    fn start(&mut self, sight: &Sight<'_>, parties: &Parties<'_>, words: &mut Words) {
        let before = self.at;
        self.at = sight.time.0;
        let at = self.at;
        let moved = |old: Option<Offset>| old.map(|old| Offset::new(at, before.saturating_add(i64::from(old.ms()))));
        (self.progress, self.answered) = (moved(self.progress), moved(self.answered));
        self.caller_tag = tag_hash(sight.message.from.tag);
        // What was answered says its Call-ID from then on.
        let call_id = if self.has(ANSWER) { &[] } else { sight.message.call_id };
        self.keep(Packed::new(parties, call_id, words));
        self.state |= ATTEMPT;
    }

    /// A call that went on elsewhere after a 3xx, or another one of the same Call-ID.
    fn begin_again(
        &mut self,
        sight: &Sight<'_>,
        is_redirected: bool,
        words: &mut Words,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        let old = std::mem::take(&mut self.parties);
        let mut parties = Parties::of_request(sight.message, sight.source);
        if is_redirected && parties.diverting.is_empty() {
            parties.diverting = old.unpack(words).0.callee.into_owned().into();
        }
        let uses = if is_redirected { self.uses } else { self.next_use() };
        let is_b_leg = self.has(B_LEG);
        *self = Call { uses, last_use: self.last_use, ..Call::new(self.key(), sight, is_b_leg) };
        self.start(sight, &parties, words);
        self.tell(Kind::Attempt, sight.time, sight.message.call_id, parties, tell);
    }

    /// The credentials come with the second try.
    fn note_account(&mut self, sight: &Sight<'_>, words: &mut Words) {
        let Some(username) = sight.message.username() else { return };
        let mut kept = self.parties.unpack(words).0.into_owned();
        if kept.account.is_empty() {
            kept.account = super::parties::words(username).into_owned().into();
            self.keep(Packed::new(&kept, sight.message.call_id, words));
        }
    }

    fn keep(&mut self, parties: Packed) {
        self.parties = parties;
        self.is_noted = false;
    }

    fn resume(&mut self) {
        self.state &= !HELD;
    }

    /// A provisional answer of 180 and above: the callee's phone rings, or is said to.
    pub(super) fn progressed(&mut self, sight: &Sight<'_>) {
        if self.is_open() && self.progress.is_none() {
            self.progress = Some(Offset::new(self.at, sight.time.0));
        }
    }

    /// A 2xx to the INVITE.
    pub(super) fn accepted(&mut self, sight: &Sight<'_>, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) {
        if sight.message.cseq < self.cseq {
            return;
        }
        self.note_callee(sight);
        if self.has(ANSWER) {
            return;
        }
        self.resume();
        // Clocks of two agents may differ; a call is not answered before it is tried.
        if !self.has(ATTEMPT) {
            self.at = sight.time.0;
        }
        let time = sight.time.max(Timestamp(self.at));
        self.answered = Some(Offset::new(self.at, time.0));
        self.state |= ANSWER;
        if !self.has(END) {
            self.ends = time.0.saturating_add(CALL_AGE_MS_MAX).max(self.ends);
        }
        if self.parties.is_empty() {
            // Its INVITE was not seen. The response went to whoever sent it.
            let message = sight.message;
            let parties = Parties { source: sight.destination, ..Parties::of_dialog(&message.from, &message.to) };
            self.keep(Packed::new(&parties, &[], words));
        }
        let (parties, _) = self.parties.unpack(words);
        self.tell(Kind::Answer, time, sight.message.call_id, parties, tell);
        // From here on whatever tells of it says its Call-ID.
        self.parties.drop_call_id();
        if self.has(HUNG_UP) && !self.has(END) {
            self.end(Timestamp(self.held_at), HangupBy::Unknown, sight.message.call_id, words, tell);
        }
    }

    /// The callee by the tag that the first 2xx has where the caller sees it: an agent between may give it another.
    fn note_callee(&mut self, sight: &Sight<'_>) {
        let hop = sight.hop();
        let is_near = hop.n_vias == self.n_vias && self.branches.has(hop.branch);
        if !self.has(ANSWER) || is_near && !self.has(CALLEE_KNOWN) {
            self.callee_tag = tag_hash(sight.message.to.tag);
        }
        if is_near {
            self.state |= CALLEE_KNOWN;
        }
    }

    /// A final answer of 300 and above to the INVITE. Says whether to wait for another try.
    pub(super) fn refused(
        &mut self,
        code: u16,
        sight: &Sight<'_>,
        words: &mut Words,
        tell: &mut impl FnMut(Told<'_>),
    ) -> bool {
        let hop = sight.hop();
        let is_later = sight.message.cseq > self.cseq;
        // What the callee asks for within the call, and is refused, is not the call.
        let is_other = is_later && tag_hash(sight.message.from.tag) != self.caller_tag;
        if self.has(ANSWER | END | HUNG_UP) || is_other {
            return false;
        }
        // It carries the Vias of its request, which may not have been seen yet.
        self.follow(sight);
        if sight.message.cseq != self.cseq || hop.n_vias != self.n_vias {
            return false;
        }
        let is_first = !self.branches.any_failed();
        if !self.branches.fail(hop.branch) {
            return false;
        }
        // What was heard further from the caller is not what the caller hears.
        if is_first || counts_more(code, self.code) {
            self.code = code;
        }
        self.q850 = sight.message.reason.q850.unwrap_or(self.q850);
        if !self.has(ATTEMPT) {
            self.held_at = sight.time.0;
            self.ends = sight.time.0.saturating_add(CALL_LINGER_MS);
            return false;
        }
        self.decide(sight.time, sight, words, tell)
    }

    fn is_refused(&self) -> bool {
        self.branches.all_failed()
    }

    /// Ends the call if all its branches were refused, unless another try may come; says whether to wait for it.
    fn decide(
        &mut self,
        time: Timestamp,
        sight: &Sight<'_>,
        words: &mut Words,
        tell: &mut impl FnMut(Told<'_>),
    ) -> bool {
        if !self.is_refused() {
            return false;
        }
        let is_decided = self.has(CANCELLED) || matches!(self.code, 487 | 600..);
        let wait_ms = match self.code {
            _ if is_decided => 0,
            // To be tried again with credentials, or otherwise (RFC 3261 8.1.3.5, RFC 4028, RFC 3329).
            401 | 407 | 413 | 415 | 416 | 420 | 421 | 422 | 494 => SIP_RETRY_MS,
            // A proxy between may try the next callee.
            _ if self.n_vias > 1 => SIP_HUNT_MS,
            _ => 0,
        };
        if wait_ms > 0 {
            return self.hold(time.0, wait_ms);
        }
        self.end(time, self.refused_by(), sight.message.call_id, words, tell);
        false
    }

    fn refused_by(&self) -> HangupBy {
        match status_of_sip(self.code) {
            _ if self.has(CANCELLED) => HangupBy::Caller,
            Status::Cancelled => HangupBy::Caller,
            Status::Rejected if matches!(self.code, 401 | 407) => HangupBy::Network,
            Status::Busy | Status::Rejected => HangupBy::Callee,
            _ => HangupBy::Network,
        }
    }

    /// A CANCEL: over, unless an answer crosses it. One with another branch than the caller's INVITE is a proxy's, that
    /// has an answer elsewhere or has waited enough. Says whether to wait.
    pub(super) fn cancelled(&mut self, sight: &Sight<'_>) -> bool {
        let is_ours = sight.message.cseq == self.cseq && self.branches.has(sight.hop().branch);
        if !self.is_open() || !is_ours || self.has(CANCELLED) {
            return false;
        }
        self.state |= CANCELLED;
        self.q850 = sight.message.reason.q850.unwrap_or(self.q850);
        self.hold(sight.time.0, SIP_RETRY_MS)
    }

    /// Always true: it is to be waited for.
    fn hold(&mut self, now: i64, wait_ms: i64) -> bool {
        self.state |= HELD;
        self.held_at = now;
        self.is_hunted = wait_ms == SIP_HUNT_MS;
        true
    }

    /// Nothing came that would have gone on with it: it was over when it seemed so.
    pub(super) fn let_go(&mut self, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) {
        if self.has(HELD) && !self.has(END) {
            self.end(Timestamp(self.held_at), self.refused_by(), &[], words, tell);
        }
    }

    /// Neither answered nor refused for longer than any proxy waits: its messages were lost, or nobody was there.
    pub(super) fn give_up(&mut self, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) {
        if self.is_open() {
            let end = Timestamp(self.at.saturating_add(SIP_SETUP_MS_MAX));
            if self.code == 0 && !self.has(CANCELLED) {
                self.code = 408;
            }
            self.end(end, HangupBy::Network, &[], words, tell);
        }
    }

    /// A BYE of either side.
    pub(super) fn hung_up(&mut self, sight: &Sight<'_>, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) {
        let tags = [sight.message.from.tag, sight.message.to.tag].map(tag_hash);
        let [from, to] = tags;
        // A fork that answered too late is hung up on; the call goes on.
        let is_other = self.callee_tag != 0 && !tags.contains(&self.callee_tag);
        // Nor does anybody hang up who is not in the call.
        let is_foreign = self.has(ATTEMPT) && self.caller_tag != 0 && !tags.contains(&self.caller_tag);
        if self.has(END | HUNG_UP) || is_other || is_foreign {
            return;
        }
        self.q850 = sight.message.reason.q850.unwrap_or(self.q850);
        if !self.has(ATTEMPT | ANSWER) {
            self.state |= HUNG_UP;
            self.callee_tag = to;
            self.held_at = sight.time.0;
            self.ends = sight.time.0.saturating_add(CALL_LINGER_MS);
            // It counts on from its INVITE, or for itself.
            self.cseq = 0;
            return;
        }
        let by = match self.caller_tag {
            _ if from == to => HangupBy::Unknown,
            tag if tag == from => HangupBy::Caller,
            tag if tag == to => HangupBy::Callee,
            _ => HangupBy::Unknown,
        };
        // Who hangs up a call was in it, whether or not its answer was seen.
        self.state |= HUNG_UP;
        self.end(sight.time, by, sight.message.call_id, words, tell);
    }

    /// A request within the call: it is still up.
    pub(super) fn refreshed(&mut self, sight: &Sight<'_>, words: &mut Words, tell: &mut impl FnMut(Told<'_>)) {
        if !self.has(ANSWER) || self.has(END) {
            return;
        }
        // Sent again, or on another hop.
        let told = tag_hash(sight.message.from.tag) ^ sight.message.cseq;
        if std::mem::replace(&mut self.refreshed, told) == told {
            return;
        }
        self.ends = self.ends.max(sight.time.0.saturating_add(CALL_AGE_MS_MAX));
        let (parties, _) = self.parties.unpack(words);
        self.tell(Kind::Interim, sight.time, sight.message.call_id, parties, tell);
    }

    /// An empty `call_id` is the one that was kept.
    fn end(
        &mut self,
        time: Timestamp,
        by: HangupBy,
        call_id: &[u8],
        words: &mut Words,
        tell: &mut impl FnMut(Told<'_>),
    ) {
        // Clocks of two agents may differ; a call is not over before it has begun.
        let begun = self.at.saturating_add(i64::from(self.answered.map_or(0, Offset::ms)));
        let time = time.max(Timestamp(begun));
        self.resume();
        self.state |= END;
        self.ends = time.0.saturating_add(CALL_LINGER_MS);
        let packed = std::mem::take(&mut self.parties);
        self.is_noted = false;
        let (parties, kept_id) = packed.unpack(words);
        let mut event = self.event(Kind::End, time);
        event.hangup_by = by;
        self.pass_on(event, if call_id.is_empty() { kept_id } else { call_id }, parties, tell);
        // What is left is only there to be known again; but a 3xx needs to know whom it diverted.
        if (300..400).contains(&self.code) {
            self.parties = packed;
        }
        self.branches.release();
    }

    fn tell(&self, kind: Kind, time: Timestamp, call_id: &[u8], parties: Parties<'_>, tell: &mut impl FnMut(Told<'_>)) {
        self.pass_on(self.event(kind, time), call_id, parties, tell);
    }

    fn pass_on(&self, event: CallEvent, call_id: &[u8], parties: Parties<'_>, tell: &mut impl FnMut(Told<'_>)) {
        let is_b_leg = self.has(B_LEG);
        if self.uses == 0 {
            return tell(Told { event, call_id, is_b_leg, parties });
        }
        let numbered = [call_id, format!(";{}", u32::from(self.uses) + 1).as_bytes()].concat();
        tell(Told { event, call_id: &numbered, is_b_leg, parties });
    }

    /// What is known by now, but for texts.
    fn event(&self, kind: Kind, time: Timestamp) -> CallEvent {
        let mut event = CallEvent { kind, time, ..CallEvent::BLANK };
        if matches!(kind, Kind::Attempt | Kind::Interim) {
            return event;
        }
        let until = self.answered.unwrap_or(Offset::new(self.at, time.0)).ms();
        if let Some(progress) = self.progress.map(Offset::ms) {
            event.setup_ms = progress.min(until);
            event.ring_ms = until.saturating_sub(progress);
        }
        let is_answered = self.has(ANSWER | HUNG_UP);
        event.status = if is_answered { Status::Answered } else { self.refused_status() };
        event.sip_code = match self.code {
            _ if is_answered => 200,
            0 if self.has(CANCELLED) => 487,
            code => code,
        };
        if kind == Kind::End {
            event.q850 = self.q850;
            event.duration_ms = match self.answered.map(Offset::ms) {
                Some(answered) => offset_ms(self.at, time.0).saturating_sub(answered),
                // Hung up, and nobody knows since when it was answered.
                None if is_answered => CallEvent::NO_TIME,
                None => 0,
            };
        }
        event
    }

    fn refused_status(&self) -> Status {
        match self.code {
            _ if self.has(CANCELLED) => Status::Cancelled,
            // It goes on elsewhere.
            300..400 => Status::Unknown,
            code => status_of_sip(code),
        }
    }
}

/// Of several callees that a call was tried at, the answer that a proxy would pass on (RFC 3261 16.7): a 6xx, else of
/// the lowest class.
fn counts_more(code: u16, than: u16) -> bool {
    let rank = |code: u16| match code {
        0 => 9,
        600.. => 0,
        // A challenge says less than what another callee says.
        401 | 407 => 8,
        code => code / 100,
    };
    rank(code) < rank(than)
}

/// Milliseconds from the beginning of a call, in four bytes also where there are none.
#[derive(Clone, Copy, Debug)]
struct Offset(NonZeroU32);

impl Offset {
    fn new(from: i64, to: i64) -> Offset {
        Offset(NonZeroU32::MIN.saturating_add(offset_ms(from, to)))
    }

    fn ms(self) -> u32 {
        self.0.get() - 1
    }
}

fn offset_ms(from: i64, to: i64) -> u32 {
    u32::try_from(to.saturating_sub(from).max(0)).unwrap_or(CallEvent::NO_TIME - 1).min(CallEvent::NO_TIME - 1)
}
