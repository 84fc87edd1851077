//! What holds of the call table whatever messages come, in whatever order. Called by the tests beside it and by the fuzz
//! target.
//!
//! Bytes drive a generator: few Call-IDs, tags, branches, numbers and hops, so that messages meet, and times that jump.

use std::collections::HashMap;

use super::*;
use crate::event::Status;
use crate::ingest::hep::{self, Packet, Payload};
use crate::ingest::sip;
use crate::limits::{CALL_LINGER_MS, SIP_REQUESTS_MAX, SIP_TRANSACTION_MS};

/// When the first message is sent. Far from zero, so that times may jump back.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// One message to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) time_ms: i64,
    pub(crate) call_id: String,
    /// A method, or a status code.
    pub(crate) first: &'static str,
    /// The method of CSeq.
    pub(crate) method: &'static str,
    pub(crate) cseq: u32,
    pub(crate) from_tag: &'static str,
    pub(crate) to_tag: &'static str,
    pub(crate) branch: String,
    pub(crate) n_vias: usize,
    pub(crate) has_credentials: bool,
}

impl Draft {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Draft { first, method, cseq, call_id, branch, .. } = self;
        let first = match first.parse::<u16>() {
            Ok(code) => format!("SIP/2.0 {code} So\r\n"),
            Err(_) => format!("{first} sip:+46840001@pbx.example SIP/2.0\r\n"),
        };
        let via = |branch: &str| format!("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{branch}\r\n");
        let tag = |tag: &str| if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        let account = "Proxy-Authorization: Digest username=\"anna\", realm=\"x\", response=\"0\"\r\n";
        [
            first,
            via(branch),
            via("earlier").repeat(self.n_vias.saturating_sub(1)),
            format!("From: <sip:+46700001@pbx.example>{}\r\n", tag(self.from_tag)),
            format!("To: <sip:+46840001@pbx.example>{}\r\n", tag(self.to_tag)),
            format!("Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"),
            if self.has_credentials { account } else { "" }.into(),
            "Content-Length: 0\r\n\r\n".into(),
        ]
        .concat()
        .into_bytes()
    }

    pub(crate) fn show(&self, table: &CallTable, correlation_id: &[u8], tell: impl FnMut(Told<'_>)) {
        self.show_and_note(table, correlation_id, &mut Changes::default(), tell);
    }

    pub(crate) fn show_and_note(
        &self,
        table: &CallTable,
        correlation_id: &[u8],
        changes: &mut Changes,
        tell: impl FnMut(Told<'_>),
    ) {
        let bytes = self.bytes();
        let message = sip::parse(&bytes).expect("what is written can be read");
        let time = Timestamp(self.time_ms);
        let (source, destination) = (None, None);
        let sight = Sight { time, customer: 0, source, destination, correlation_id, message: &message };
        table.see(&sight, changes, tell);
    }

    fn packet(&self, out: &mut Vec<u8>) {
        let bytes = self.bytes();
        let (payload, time_us) = (Payload::Plain(&bytes), Some(self.time_ms * 1000));
        let packet = Packet { time_us, ip_protocol: 17, protocol: hep::SIP, payload, ..Packet::default() };
        // A time that HEP cannot say is left out.
        let _is_written = hep::encode(&packet, out);
    }
}

/// First line and method of CSeq. A request within a call has a tag in To.
const MESSAGES: [(&str, &str); 28] = [
    ("INVITE", "INVITE"),
    ("INVITE", "INVITE"),
    ("INVITE", "INVITE"),
    ("100", "INVITE"),
    ("180", "INVITE"),
    ("183", "INVITE"),
    ("200", "INVITE"),
    ("202", "INVITE"),
    ("302", "INVITE"),
    ("401", "INVITE"),
    ("407", "INVITE"),
    ("422", "INVITE"),
    ("486", "INVITE"),
    ("487", "INVITE"),
    ("503", "INVITE"),
    ("603", "INVITE"),
    ("CANCEL", "CANCEL"),
    ("200", "CANCEL"),
    ("BYE", "BYE"),
    ("BYE", "BYE"),
    ("200", "BYE"),
    ("ACK", "ACK"),
    ("UPDATE", "UPDATE"),
    ("REGISTER", "REGISTER"),
    ("200", "REGISTER"),
    ("401", "REGISTER"),
    ("OPTIONS", "OPTIONS"),
    ("MESSAGE", "MESSAGE"),
];

/// How far times jump: within one call's remembrance, and at all.
const CALM_MS: [i64; 16] = [0, 0, 1, 1, 5, 20, 50, 200, 500, 1100, 33_000, -1, -5, -50, -500, -2000];
const WILD_MS: [i64; 16] = [
    0,
    1,
    40,
    600,
    2_000,
    33_000,
    -40,
    -2_000,
    -33_000,
    125_000,
    -125_000,
    601_000,
    -700_000,
    50_000_000,
    -50_000_000,
    3_000_000_000,
];

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// And whether its agent says that it belongs to another call.
    See(Draft, bool),
    Settle(i64),
}

/// Bytes as messages: four each, after a first one that says how wild times are and how much room there is.
pub(super) struct Steps<'a> {
    rest: &'a [u8],
    is_wild: bool,
    pub(super) is_crowded: bool,
    /// Of calm times.
    span_ms: i64,
    now: i64,
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let ([what, who, hop, when], rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        let jumps = if self.is_wild { WILD_MS } else { CALM_MS };
        self.now += jumps.get(usize::from(when & 15)).copied().unwrap_or_default();
        if !self.is_wild {
            self.now = self.now.clamp(EPOCH_MS, EPOCH_MS + self.span_ms);
        }
        let Some((first, method)) = MESSAGES.get(usize::from(what & 31)) else {
            return Some(Step::Settle(self.now));
        };
        let number = if self.is_crowded { who & 3 | when >> 4 << 2 } else { who & 3 };
        let is_in_dialog = matches!(*first, "BYE" | "ACK" | "UPDATE") || first.parse::<u16>().is_ok();
        let to_tag = match hop >> 4 & 3 {
            3 => "other",
            _ if is_in_dialog => "callee",
            _ => "",
        };
        let is_backwards = what & 0xe0 == 0xe0;
        let from_tag = if hop >> 6 == 3 { "other" } else { "caller" };
        let (from_tag, to_tag) = if is_backwards { (to_tag, from_tag) } else { (from_tag, to_tag) };
        let draft = Draft {
            time_ms: self.now,
            call_id: format!("{number}@fuzz"),
            first,
            method,
            cseq: u32::from(who >> 4 & 3) + 1,
            from_tag,
            to_tag,
            branch: format!("{}", hop & 3),
            n_vias: usize::from(hop >> 2 & 3).max(1),
            has_credentials: who & 0x40 != 0,
        };
        Some(Step::See(draft, who & 0x80 != 0))
    }
}

pub(super) fn steps(bytes: &[u8]) -> Steps<'_> {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let span_ms = if first & 4 != 0 { CALL_LINGER_MS } else { SIP_TRANSACTION_MS };
    Steps { rest, is_wild: first & 3 == 3, is_crowded: first & 10 == 10, span_ms, now: EPOCH_MS }
}

/// What was told of one Call-ID since its last attempt that followed a redirection.
#[derive(Clone, Copy, Debug, Default)]
struct Story {
    attempt: Option<Timestamp>,
    answer: Option<Timestamp>,
    is_answer_first: bool,
    end: Option<(Timestamp, u16)>,
}

/// What must be true of all that is told. Much of it only while nothing was forgotten, which is known at the end.
#[derive(Debug)]
struct Witness {
    oldest: i64,
    newest: i64,
    stories: HashMap<Vec<u8>, Story>,
    requests: HashMap<(&'static str, String, u32, String), usize>,
    longest_ms: u64,
    first_told: i64,
    last_told: i64,
    /// The first thing that is only right if something was forgotten.
    doubt: Option<String>,
}

impl Witness {
    fn new() -> Witness {
        Witness {
            oldest: i64::MAX,
            newest: i64::MIN,
            stories: HashMap::new(),
            requests: HashMap::new(),
            longest_ms: 0,
            first_told: i64::MAX,
            last_told: i64::MIN,
            doubt: None,
        }
    }

    fn hear(&mut self, told: &Told<'_>, draft: Option<&Draft>) {
        let event = &told.event;
        self.first_told = self.first_told.min(event.time.0);
        self.last_told = self.last_told.max(event.time.0);
        let ms = |ms: u32| if ms == CallEvent::NO_TIME { 0 } else { u64::from(ms) };
        self.longest_ms = self.longest_ms.max(ms(event.setup_ms) + ms(event.ring_ms) + ms(event.duration_ms));
        assert_eq!(event.setup_ms == CallEvent::NO_TIME, event.ring_ms == CallEvent::NO_TIME);
        match event.kind {
            Kind::Attempt | Kind::Answer | Kind::End => {
                let problem = self.story(told.call_id, event).err();
                let told = || format!("{} of {}", event.kind.as_str(), String::from_utf8_lossy(told.call_id));
                self.doubt = self.doubt.take().or(problem.map(|problem| format!("{}: {problem}", told())));
            }
            Kind::Interim => {}
            Kind::Register | Kind::Options | Kind::Message => {
                let draft = draft.expect("what is no call is told when it is seen");
                let key = (draft.method, draft.call_id.clone(), draft.cseq, draft.branch.clone());
                *self.requests.entry(key).or_default() += 1;
            }
            Kind::Cdr => panic!("no record of a call was seen"),
        }
    }

    fn story(&mut self, call_id: &[u8], event: &CallEvent) -> Result<(), &'static str> {
        let story = self.stories.entry(call_id.to_vec()).or_default();
        let time = event.time;
        match (event.kind, *story) {
            (Kind::Attempt, Story { attempt: None, answer, .. }) => {
                story.attempt = Some(time);
                story.is_answer_first = answer.is_some();
            }
            (Kind::Attempt, Story { end: Some((_, 300..400)), .. }) => {
                *story = Story { attempt: Some(time), ..Story::default() };
            }
            (Kind::Attempt, _) => return Err("a second one"),
            (Kind::Answer, Story { answer: Some(_), .. }) => return Err("a second one"),
            (Kind::Answer, Story { attempt, .. }) => {
                story.answer = Some(time);
                if attempt.is_some_and(|attempt| time < attempt) {
                    return Err("before the attempt");
                }
                assert_eq!((event.status, event.sip_code), (Status::Answered, 200));
            }
            (Kind::End, Story { end: Some(_), .. }) => return Err("a second one"),
            (Kind::End, Story { attempt: None, answer: None, .. }) => return Err("of nothing"),
            (Kind::End, Story { attempt, answer, is_answer_first, .. }) => {
                story.end = Some((time, event.sip_code));
                if attempt.max(answer).is_some_and(|begun| time < begun) {
                    return Err("before its beginning");
                }
                let is_answered = event.status == Status::Answered;
                let Some(answer) = answer else {
                    let duration_ms = if is_answered { CallEvent::NO_TIME } else { 0 };
                    return if event.duration_ms == duration_ms { Ok(()) } else { Err("a wrong duration") };
                };
                let duration_ms = time.0 - answer.0;
                match i64::from(event.duration_ms) {
                    _ if !is_answered => return Err("another status than its answer"),
                    ms if ms == duration_ms || is_answer_first && ms < duration_ms => {}
                    _ => return Err("a wrong duration"),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// At the end, with all that was given up.
    fn judge(&self, counts: CallCounts) {
        if self.oldest > self.newest {
            assert!(self.stories.is_empty());
            return;
        }
        let span_ms = self.newest - self.oldest;
        let told = (self.first_told.min(self.newest), self.last_told.max(self.oldest));
        assert!(self.oldest <= told.0 && told.1 <= self.newest, "told of {told:?}, which nobody has seen");
        assert!(self.longest_ms <= span_ms.unsigned_abs(), "{} ms of {span_ms} ms", self.longest_ms);
        if counts.evicted == 0 && span_ms <= CALL_LINGER_MS {
            assert_eq!(self.doubt, None);
            assert_eq!(counts.expired, 0);
        }
        if span_ms <= SIP_TRANSACTION_MS {
            assert!(self.requests.values().all(|n_told| *n_told == 1), "{:?}", self.requests);
        }
    }
}

/// Messages in any order, as bytes say: of each call at most one attempt, one answer and one end is told, none of them
/// before the call began; no time is longer than all that was seen; requests are told once each; the table stays within
/// its bounds, and nothing that was refused is left untold.
///
/// A second attempt of a Call-ID follows the end of one that was redirected. An answer may follow its end: a BYE, or a
/// refusal, may overtake it, and who was told that nobody talks must hear that somebody does.
pub(crate) fn whatever_comes_is_told_once(bytes: &[u8]) {
    let steps = steps(bytes);
    let room = if steps.is_crowded { PARTS } else { 64 * PARTS };
    let table = CallTable::with_room(7, room);
    let mut witness = Witness::new();
    let mut counts = CallCounts::default();
    for (at, step) in steps.enumerate() {
        match step {
            Step::See(draft, is_correlated) => {
                witness.oldest = witness.oldest.min(draft.time_ms);
                witness.newest = witness.newest.max(draft.time_ms);
                let correlation_id: &[u8] = if is_correlated { b"0@fuzz" } else { b"" };
                draft.show(&table, correlation_id, |told| witness.hear(&told, Some(&draft)));
            }
            // As feeds do: to no time that was not seen.
            Step::Settle(now) => table
                .settle(Timestamp(now.min(witness.newest)), &mut Changes::default(), |told| witness.hear(&told, None)),
        }
        if at % 16 == 0 {
            table.check_invariants(&mut counts);
        }
    }
    table.settle(Timestamp(i64::MAX), &mut Changes::default(), |told| witness.hear(&told, None));
    table.check_invariants(&mut counts);
    for part in &table.parts {
        let part = part.lock().expect("nothing has panicked");
        assert!(part.calls.iter().flatten().all(|call| !call.is_held() && !call.is_left_refused()));
        assert!(part.held.is_empty());
    }
    witness.judge(counts);
}

/// The messages of [`whatever_comes_is_told_once`] as a stream of captured packets.
pub(crate) fn captured(bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for step in steps(bytes) {
        if let Step::See(draft, _) = step {
            draft.packet(&mut stream);
        }
    }
    stream
}

/// The same for messages that were made up otherwise.
#[cfg(test)]
pub(crate) fn packets(drafts: &[Draft]) -> Vec<u8> {
    let mut stream = Vec::new();
    drafts.iter().for_each(|draft| draft.packet(&mut stream));
    stream
}

impl CallTable {
    /// Adds to what was counted so far.
    pub(super) fn check_invariants(&self, total: &mut CallCounts) {
        for part in &self.parts {
            let part = part.lock().expect("nothing has panicked");
            assert_eq!(part.order.len(), part.index.len());
            assert_eq!(part.free.len() + part.index.len(), part.calls.len());
            assert_eq!(part.calls.iter().flatten().count(), part.index.len());
            assert!(part.index.len() <= part.calls_max);
            assert!(part.held.len() <= held_max(part.calls.len()));
            assert!(part.requests.len() <= SIP_REQUESTS_MAX / PARTS + 1);
            for call in part.calls.iter().flatten() {
                assert!(part.find(call.key()).is_some());
                assert!(!(call.is_held() && call.is_over()));
            }
        }
        let counts = self.take_counts();
        total.held = counts.held;
        total.expired += counts.expired;
        total.evicted += counts.evicted;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::ingest::property::calls_hold;

    proptest! {
        #[test]
        fn any_messages_in_any_order_hold(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            calls_hold(&bytes);
        }
    }
}
