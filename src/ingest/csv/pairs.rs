//! Rows of transactions become calls: INVITE, ACK, BYE and CANCEL of one dialog are one `cdr`.
//!
//! Rows may come in any order. A call is told when its INVITE, its answer and its BYE have been read, or its INVITE failed;
//! what stays open leaves after [`CALL_AGE_MS_MAX`] of the rows' own time, where there is no more room, or with the
//! end of the stream. An answered call that leaves so has no duration; a BYE without an INVITE tells nothing of its call and
//! is rejected as `incomplete`. Nothing here reads a clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::event::{CallEvent, HangupBy, Kind, Reject, Status, Text};
use crate::ingest::cause;
use crate::ingest::origin::{bytes, keep};
use crate::ingest::wire::Origin;
use crate::limits::{CALL_AGE_MS_MAX, CALL_LINGER_MS, PAIRED_BYTES_MAX, PAIRED_CALLS_MAX, PAIRED_LEGS_MAX};

use super::row::NEVER;
use super::when::TimeReader;

/// Calls of one stream that are not told yet, and for a while those that are, so that a copy is known.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    /// How the rows' times were read.
    times: TimeReader,
    /// By Call-ID; several where a call was forked.
    calls: HashMap<Box<[u8]>, Vec<Call>>,
    /// Call-IDs by age of what they hold.
    open: BTreeMap<u64, Box<[u8]>>,
    over: BTreeMap<u64, Box<[u8]>>,
    next_serial: u64,
    n_bytes: usize,
    /// What has left and waits to be taken.
    left: VecDeque<Result<Kept, Reject>>,
}

/// What is known of one dialog.
#[derive(Clone, Debug)]
struct Call {
    serial: u64,
    /// The caller's tag and the callee's, once an INVITE was read.
    from: Box<[u8]>,
    to: Box<[u8]>,
    /// Of the row that made it.
    seen: Timestamp,
    invite: Option<Kept>,
    /// The row of `invite` is that of a CANCEL.
    cancelled: bool,
    answered_at: Option<Timestamp>,
    bye: Option<Bye>,
    over: Option<Over>,
}

#[derive(Clone, Debug)]
struct Bye {
    at: Timestamp,
    tag: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Answered,
    Failed,
}

/// An event with its texts, out of its block.
#[derive(Clone, Debug)]
struct Kept {
    event: CallEvent,
    origin: Origin,
    texts: Box<[u8]>,
}

/// What the call is known by, as one row has it.
#[derive(Clone, Copy)]
struct Dialog<'a> {
    id: &'a [u8],
    from: &'a [u8],
    to: &'a [u8],
}

/// A row, and the bytes its texts stand in.
struct Transaction<'a> {
    event: CallEvent,
    origin: Origin,
    block: &'a [u8],
    side: &'a [u8],
}

impl Pairs {
    pub(super) fn new(times: TimeReader) -> Pairs {
        let (calls, open, over, left) = (HashMap::new(), BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Pairs { times, calls, open, over, next_serial: 0, n_bytes: 0, left }
    }

    /// Takes a row; the event it completes, if it does.
    pub(super) fn take(
        &mut self,
        mut event: CallEvent,
        origin: Origin,
        tags: (Text, Text),
        block: &[u8],
        side: &mut Vec<u8>,
    ) -> Result<Option<(CallEvent, Origin)>, Reject> {
        let told = {
            let text = |text| bytes(block, side, text);
            let dialog = Dialog { id: text(event.call_id), from: text(tags.0), to: text(tags.1) };
            let method = text(event.method);
            let request = match method {
                b"REGISTER" => Some(Kind::Register),
                b"MESSAGE" => Some(Kind::Message),
                b"OPTIONS" => Some(Kind::Options),
                _ => None,
            };
            if let Some(kind) = request {
                event.kind = kind;
                return if event.time == NEVER { Err(Reject::NoTime) } else { Ok(Some((event, origin))) };
            }
            if !matches!(method, b"INVITE" | b"ACK" | b"BYE" | b"CANCEL") {
                return Ok(None);
            }
            if dialog.id.is_empty() {
                return Err(Reject::BadValue);
            }
            (event.kind, event.status) = (Kind::Cdr, Status::Unknown);
            let is_invite = method == b"INVITE";
            let (is_ack, is_bye) = (method == b"ACK", method == b"BYE");
            event.method = Text::ABSENT;
            let row = Transaction { event, origin, block, side };
            let challenged = matches!(event.sip_code, 401 | 407);
            match event.sip_code {
                // Asked for credentials, a client sends its request again.
                _ if challenged => Ok(None),
                0..=199 if is_invite => Ok(None),
                200..=299 if is_invite && event.duration_ms != CallEvent::NO_TIME && event.time != NEVER => {
                    Ok(self.whole(dialog, &row))
                }
                200..=299 if is_invite => Ok(self.answered(dialog, &row)),
                _ if is_ack => Ok(self.acknowledged(dialog, event.time)),
                _ if event.time == NEVER => Err(Reject::NoTime),
                _ if is_invite => Ok(self.failed(dialog, &row)),
                _ if is_bye => Ok(self.ended(dialog, event.time)),
                200..=299 => Ok(self.cancelled(dialog, &row)),
                // The proxy knew of nothing to cancel.
                _ => Ok(None),
            }
        };
        self.expire(event.time);
        self.make_room(PAIRED_CALLS_MAX);
        self.check_invariants();
        told.map(|told| told.map(|kept| kept.into_side(side)))
    }

    /// Every call stands in one of the two orders, and what they hold is added up.
    fn check_invariants(&self) {
        // In tests of many calls it would take all the time there is.
        if !cfg!(test) || self.calls.len() > 64 {
            return;
        }
        let calls = || self.calls.values().flatten();
        assert_eq!(calls().count(), self.open.len() + self.over.len());
        assert_eq!(calls().map(Call::n_bytes).sum::<usize>(), self.n_bytes);
        for (id, call) in self.calls.iter().flat_map(|(id, legs)| legs.iter().map(move |call| (id, call))) {
            let order = if call.over.is_some() { &self.over } else { &self.open };
            assert_eq!(order.get(&call.serial), Some(id));
        }
        assert!(self.calls.values().all(|legs| (1..=PAIRED_LEGS_MAX).contains(&legs.len())));
    }

    /// The next call that has left without its end, or why it cannot be told.
    pub(super) fn take_left(&mut self, side: &mut Vec<u8>) -> Option<Result<(CallEvent, Origin), Reject>> {
        self.left.pop_front().map(|left| left.map(|kept| kept.into_side(side)))
    }

    /// The stream has ended: everything leaves, oldest first.
    pub(super) fn close(&mut self) {
        for (serial, id) in std::mem::take(&mut self.open) {
            self.leave(serial, &id);
        }
        (self.calls, self.over, self.n_bytes) = (HashMap::new(), BTreeMap::new(), 0);
    }

    pub(super) fn holds_calls(&self) -> bool {
        !self.open.is_empty()
    }

    fn answered(&mut self, dialog: Dialog<'_>, row: &Transaction<'_>) -> Option<Kept> {
        let at = Some(row.event.time).filter(|time| *time != NEVER);
        if self.find(dialog).is_none() {
            self.insert(dialog, row.event.time);
        }
        let call = self.find(dialog)?;
        if call.over == Some(Over::Answered) || (call.invite.is_some() && !call.cancelled && call.over.is_none()) {
            // A re-INVITE, or a copy.
            call.answered_at = call.answered_at.or(at);
        } else {
            // A failed branch was told before; the call went on to another.
            let (serial, was_over, before) = (call.serial, call.over.take().is_some(), call.n_bytes());
            (call.cancelled, call.invite) = (false, Some(row.keep()));
            (call.from, call.to) = (dialog.from.into(), dialog.to.into());
            call.answered_at = call.answered_at.or(at);
            let after = call.n_bytes();
            self.n_bytes = (self.n_bytes + after).saturating_sub(before);
            if was_over && let Some(id) = self.over.remove(&serial) {
                self.open.insert(serial, id);
            }
        }
        self.complete(dialog)
    }

    /// OpenSIPS can pair by itself: the row of the INVITE then has the duration, and no other follows.
    fn whole(&mut self, dialog: Dialog<'_>, row: &Transaction<'_>) -> Option<Kept> {
        if self.find(dialog).is_none() {
            self.insert(dialog, row.event.time);
        }
        if self.find(dialog)?.over.is_some() {
            return None;
        }
        let mut kept = row.keep();
        kept.event.status = Status::Answered;
        kept.event.time = kept.event.time.plus_ms(i64::from(kept.event.duration_ms));
        self.end(dialog, Over::Answered);
        Some(kept)
    }

    fn failed(&mut self, dialog: Dialog<'_>, row: &Transaction<'_>) -> Option<Kept> {
        if self.find(dialog).is_none() {
            self.insert(dialog, row.event.time);
        }
        let call = self.find(dialog)?;
        let is_within_call = call.invite.is_some() && !call.cancelled;
        if is_within_call || call.over.is_some() {
            return None;
        }
        let mut kept = row.keep();
        kept.event.status = cause::status_of_sip(kept.event.sip_code);
        kept.event.duration_ms = 0;
        self.end(dialog, Over::Failed);
        Some(kept)
    }

    fn acknowledged(&mut self, dialog: Dialog<'_>, time: Timestamp) -> Option<Kept> {
        if time == NEVER {
            return None;
        }
        match self.find(dialog) {
            None => self.insert(dialog, time).answered_at = Some(time),
            Some(call) if call.over.is_none() => call.answered_at = call.answered_at.or(Some(time)),
            Some(_) => {}
        }
        self.complete(dialog)
    }

    fn ended(&mut self, dialog: Dialog<'_>, at: Timestamp) -> Option<Kept> {
        let bye = Bye { at, tag: dialog.from.into() };
        match self.find(dialog) {
            None => self.insert(dialog, at).bye = Some(bye),
            Some(call) if call.over.is_none() && call.bye.is_none() => call.bye = Some(bye),
            Some(_) => return None,
        }
        self.n_bytes += dialog.from.len();
        self.complete(dialog)
    }

    fn cancelled(&mut self, dialog: Dialog<'_>, row: &Transaction<'_>) -> Option<Kept> {
        if self.find(dialog).is_none() {
            let mut kept = row.keep();
            // The code of the CANCEL is not that of the call.
            kept.event.sip_code = 0;
            let call = self.insert(dialog, row.event.time);
            let before = call.n_bytes();
            (call.invite, call.cancelled) = (Some(kept), true);
            let after = call.n_bytes();
            self.n_bytes += after - before;
        }
        None
    }

    /// The call, once all that belongs to it has been read.
    fn complete(&mut self, dialog: Dialog<'_>) -> Option<Kept> {
        let call = self.find(dialog)?;
        let is_whole = call.answered_at.is_some() && call.bye.is_some() && !call.cancelled && call.over.is_none();
        if !is_whole {
            return None;
        }
        let (call, invite) = (call.clone(), call.invite.clone()?);
        let told = call.told(invite, &self.times);
        self.end(dialog, Over::Answered);
        told.ok()
    }

    fn find(&mut self, dialog: Dialog<'_>) -> Option<&mut Call> {
        self.calls.get_mut(dialog.id)?.iter_mut().find(|call| call.is_of(dialog))
    }

    fn insert(&mut self, dialog: Dialog<'_>, seen: Timestamp) -> &mut Call {
        self.make_room(PAIRED_CALLS_MAX - 1);
        let oldest = self.calls.get(dialog.id).filter(|legs| legs.len() >= PAIRED_LEGS_MAX).and_then(|l| l.first());
        if let Some(serial) = oldest.map(|call| call.serial) {
            self.open.remove(&serial);
            self.over.remove(&serial);
            self.leave(serial, dialog.id);
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let call = Call {
            serial,
            from: dialog.from.into(),
            to: dialog.to.into(),
            seen,
            invite: None,
            cancelled: false,
            answered_at: None,
            bye: None,
            over: None,
        };
        self.n_bytes += call.n_bytes();
        self.open.insert(serial, dialog.id.into());
        let legs = self.calls.entry(dialog.id.into()).or_default();
        legs.push(call);
        legs.last_mut().expect("it was pushed just now")
    }

    /// Lets the oldest leave until there are so many calls at most, and no more bytes than may be.
    fn make_room(&mut self, n_calls_max: usize) {
        while self.open.len() + self.over.len() > n_calls_max || self.n_bytes > PAIRED_BYTES_MAX {
            let Some((serial, id)) = self.over.pop_first().or_else(|| self.open.pop_first()) else { break };
            self.leave(serial, &id);
        }
    }

    /// Keeps what remains of a call that was told, so that a copy of a row is known for one.
    fn end(&mut self, dialog: Dialog<'_>, over: Over) {
        let Some(call) = self.find(dialog) else { return };
        let before = call.n_bytes();
        (call.invite, call.bye, call.over) = (None, None, Some(over));
        let (serial, after) = (call.serial, call.n_bytes());
        self.n_bytes = self.n_bytes.saturating_sub(before.saturating_sub(after));
        if let Some(id) = self.open.remove(&serial) {
            self.over.insert(serial, id);
        }
    }

    /// Two at most of each kind, so that one row with a wild time costs two calls and not all.
    fn expire(&mut self, now: Timestamp) {
        if now == NEVER {
            return;
        }
        for _ in 0..2 {
            self.expire_first(now, CALL_AGE_MS_MAX, false);
            self.expire_first(now, CALL_LINGER_MS, true);
        }
    }

    fn expire_first(&mut self, now: Timestamp, age_ms_max: i64, over: bool) {
        let order = if over { &mut self.over } else { &mut self.open };
        let Some(first) = order.first_entry() else { return };
        let legs = self.calls.get_mut(first.get()).map(Vec::as_mut_slice).unwrap_or_default();
        if let Some(call) = legs.iter_mut().find(|call| call.serial == *first.key()) {
            // A row without a time is as old as the next that has one.
            call.seen = if call.seen == NEVER { now } else { call.seen };
            if now.0.saturating_sub(call.seen.0) <= age_ms_max {
                return;
            }
        }
        let (serial, id) = first.remove_entry();
        self.leave(serial, &id);
    }

    /// Takes a call out of the table and tells what is known of it.
    fn leave(&mut self, serial: u64, id: &[u8]) {
        let Some(legs) = self.calls.get_mut(id) else { return };
        let Some(at) = legs.iter().position(|call| call.serial == serial) else { return };
        let mut call = legs.remove(at);
        let n_bytes = call.n_bytes();
        if legs.is_empty() {
            self.calls.remove(id);
        }
        self.n_bytes = self.n_bytes.saturating_sub(n_bytes);
        if call.over.is_some() {
            return;
        }
        let told = match call.invite.take() {
            Some(invite) => call.told(invite, &self.times),
            None => Err(Reject::Incomplete),
        };
        self.left.push_back(told);
    }
}

impl Call {
    /// A row belongs to a dialog whichever side sent it; a row without the callee's tag is that of any branch.
    fn is_of(&self, dialog: Dialog<'_>) -> bool {
        let is =
            |from: &[u8], to: &[u8]| *self.from == *from && (*self.to == *to || self.to.is_empty() || to.is_empty());
        is(dialog.from, dialog.to) || (!dialog.to.is_empty() && is(dialog.to, dialog.from))
    }

    /// What is known of an answered or cancelled call. Without a BYE its end is not known, nor how long it was.
    fn told(&self, mut kept: Kept, times: &TimeReader) -> Result<Kept, Reject> {
        let event = &mut kept.event;
        if self.cancelled {
            (event.status, event.duration_ms, event.hangup_by) = (Status::Cancelled, 0, HangupBy::Caller);
            return Ok(kept);
        }
        event.status = Status::Answered;
        match (&self.bye, self.answered_at) {
            (Some(bye), answered_at) => {
                // A clock that was put back during the call.
                let is_before = answered_at.is_some_and(|at| bye.at < at);
                let ended = if is_before { times.second_pass(bye.at).unwrap_or(bye.at) } else { bye.at };
                let talked = answered_at.map(|at| (ended.0 - at.0).max(0));
                let talked = talked.and_then(|ms| u32::try_from(ms).ok());
                (event.time, event.duration_ms) = (ended, talked.unwrap_or(CallEvent::NO_TIME));
                event.hangup_by = match &*bye.tag {
                    tag if *tag == *self.from => HangupBy::Caller,
                    tag if *tag == *self.to => HangupBy::Callee,
                    _ => HangupBy::Unknown,
                };
            }
            (None, Some(at)) => event.time = at,
            (None, None) => return Err(Reject::NoTime),
        }
        Ok(kept)
    }

    /// What its texts take beside its Call-ID.
    fn n_bytes(&self) -> usize {
        let kept = self.invite.as_ref().map_or(0, |kept| kept.texts.len());
        let bye = self.bye.as_ref().map_or(0, |bye| bye.tag.len());
        self.from.len() + self.to.len() + kept + bye
    }
}

impl Transaction<'_> {
    fn keep(&self) -> Kept {
        let (mut event, mut origin) = (self.event, self.origin);
        let mut texts = Vec::new();
        for text in event.texts_mut().into_iter().chain([&mut origin.customer, &mut origin.gateway]) {
            *text = keep(&mut texts, bytes(self.block, self.side, *text));
        }
        Kept { event, origin, texts: texts.into() }
    }
}

impl Kept {
    /// The event with its texts where a batch has them.
    fn into_side(self, side: &mut Vec<u8>) -> (CallEvent, Origin) {
        let Kept { mut event, mut origin, texts } = self;
        for text in event.texts_mut().into_iter().chain([&mut origin.customer, &mut origin.gateway]) {
            *text = keep(side, bytes(&[], &texts, *text));
        }
        (event, origin)
    }
}
