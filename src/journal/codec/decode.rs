//! Bytes into a batch. What the bytes claim is believed only as far as they go.

use std::io::Write;
use std::net::IpAddr;

use super::super::bytes::Bytes;
use super::super::record::Entry;
use super::{HEAD_BYTES_MIN, options, word};
use crate::clock::Timestamp;
use crate::engine::{RuleRef, Verdict};
use crate::event::{
    Attestation, Batch, CallEvent, CallType, CustomerId, Direction, Flags, GatewayId, HangupBy, Kind, Number, Party,
    Status, Text,
};
use crate::policy::{Action, Cause};

/// What [`super::Encoder::encode`] wrote; `None` of anything else. `position` is that of its first event.
pub fn decode(payload: &[u8], position: u64) -> Option<Entry> {
    let mut bytes = Bytes::new(payload);
    let options = options::from_bits(bytes.integer()?)?;
    let mut batch = Batch::default();
    batch.source.arrival = Timestamp(bytes.signed()?);
    batch.source.feed = bytes.small()?;
    batch.source.gateway = GatewayId(bytes.small()?);
    batch.source.highest_seq = bytes.integer()?;
    let [n_events, n_flags, n_tracked, heads, texts] =
        [bytes.small()?, bytes.small()?, bytes.small()?, bytes.small()?, bytes.small()?];
    let (heads, texts): (&[u8], &[u8]) = (bytes.take(heads)?, bytes.take(texts)?);
    let verdicts = events(heads, texts, n_events, &mut batch)?;
    let (flags, tracked) = (hits(&mut bytes, n_flags, n_events)?, hits(&mut bytes, n_tracked, n_events)?);
    batch.annex = bytes.rest().to_vec();
    Some(Entry::Batch { position, options, batch, verdicts, flags, tracked })
}

fn hits(bytes: &mut Bytes<'_>, n: usize, n_events: usize) -> Option<Vec<(u32, u16)>> {
    // Two bytes each at the least.
    if n > bytes.rest().len() / 2 {
        return None;
    }
    let mut hits = Vec::with_capacity(n);
    for _ in 0..n {
        let event: u32 = bytes.small()?;
        if event as usize >= n_events {
            return None;
        }
        hits.push((event, bytes.small()?));
    }
    Some(hits)
}

/// Reads the events into the batch and gives their verdicts.
fn events(heads: &[u8], texts: &[u8], n_events: usize, batch: &mut Batch) -> Option<Vec<Verdict>> {
    // A text names its place with 31 bits; those that numbers print are added behind.
    let printed_bytes_max = n_events.checked_mul(4 * PRINTED_BYTES_MAX)?;
    if n_events > heads.len() / HEAD_BYTES_MIN || texts.len().checked_add(printed_bytes_max)? >= Text::SIDE as usize {
        return None;
    }
    let mut verdicts = Vec::with_capacity(n_events);
    batch.events.reserve_exact(n_events);
    // Most events print caller and callee.
    batch.side.reserve_exact(texts.len() + n_events * 2 * PRINTED_BYTES_MAX);
    batch.side.extend_from_slice(texts);
    let mut reader = Events {
        heads: Bytes::new(heads),
        texts_at: 0,
        texts_end: texts.len() as u32,
        before: CallEvent { time: batch.source.arrival, gateway: batch.source.gateway, ..CallEvent::BLANK },
        verdict: Verdict::default(),
    };
    for _ in 0..n_events {
        let event = reader.next(&mut batch.side)?;
        batch.events.push(event);
        verdicts.push(reader.verdict);
    }
    (reader.heads.is_empty() && reader.texts_at == reader.texts_end).then_some(verdicts)
}

struct Events<'a> {
    heads: Bytes<'a>,
    texts_at: u32,
    texts_end: u32,
    /// Time, seq, customer and gateway of the event before.
    before: CallEvent,
    verdict: Verdict,
}

fn one_of<T: Copy>(all: &[T], word: u64, at: u32, n_bits: u32) -> Option<T> {
    all.get((word >> at & ((1 << n_bits) - 1)) as usize).copied()
}

impl Events<'_> {
    // long: one field after the other, in the order in which they were written
    #[inline(always)]
    fn next(&mut self, side: &mut Vec<u8>) -> Option<CallEvent> {
        let word = u64::from_le_bytes(self.heads.array()?);
        if word >> word::END != 0 {
            return None;
        }
        let heads = &mut self.heads;
        let mut event = CallEvent {
            kind: one_of(Kind::ALL, word, 0, 3)?,
            direction: one_of(Direction::ALL, word, word::DIRECTION, 2)?,
            call_type: one_of(CallType::ALL, word, word::CALL_TYPE, 3)?,
            status: one_of(Status::ALL, word, word::STATUS, 3)?,
            hangup_by: one_of(HangupBy::ALL, word, word::HANGUP_BY, 2)?,
            attestation: one_of(Attestation::ALL, word, word::ATTESTATION, 3)?,
            ..CallEvent::BLANK
        };
        event.time = Timestamp(self.before.time.0.wrapping_add(heads.signed()?));
        self.before.time = event.time;
        let has = |bit: u64| word & bit != 0;
        if has(word::SEQ) {
            event.seq = self.before.seq.wrapping_add(heads.signed()? as u64);
            self.before.seq = event.seq;
        }
        if has(word::CUSTOMER) {
            self.before.customer = CustomerId(heads.small()?);
        }
        if has(word::GATEWAY) {
            self.before.gateway = GatewayId(heads.small()?);
        }
        (event.customer, event.gateway) = (self.before.customer, self.before.gateway);
        if has(word::FLAGS) {
            event.flags = Flags(heads.small()?);
        }
        if has(word::Q850) {
            event.q850 = heads.small()?;
        }
        if has(word::SIP_CODE) {
            event.sip_code = heads.small()?;
        }
        for (bit, field) in [
            (word::DURATION, &mut event.duration_ms),
            (word::RING, &mut event.ring_ms),
            (word::SETUP, &mut event.setup_ms),
        ] {
            if has(bit) {
                *field = heads.small()?;
            }
        }
        if has(word::COST) {
            event.cost = heads.signed()?;
        }
        if has(word::IPV4) {
            event.source_ip = Some(IpAddr::from(heads.array::<4>()?));
        } else if has(word::IPV6) {
            event.source_ip = Some(IpAddr::from(heads.array::<16>()?));
        }
        if has(word::VERDICT) {
            self.verdict = verdict(heads.integer()?)?;
        }
        let parties = [&mut event.caller, &mut event.callee, &mut event.asserted, &mut event.diverting];
        for (i, party) in parties.into_iter().enumerate() {
            let bits = word >> (word::PARTIES + i as u32 * word::PARTY_BITS) & ((1 << word::PARTY_BITS) - 1);
            if bits != 0 {
                *party = self.party(bits, side)?;
            }
        }
        let fields = [
            &mut event.call_id,
            &mut event.trunk,
            &mut event.leg,
            &mut event.account,
            &mut event.extension,
            &mut event.caller_name,
            &mut event.domain,
            &mut event.user_agent,
            &mut event.method,
        ];
        for (i, field) in fields.into_iter().enumerate() {
            if has(1 << (word::TEXTS + i as u32)) {
                *field = self.text()?;
            }
        }
        Some(event)
    }

    #[inline(always)]
    fn party(&mut self, bits: u64, side: &mut Vec<u8>) -> Option<Party> {
        let mut party = Party::default();
        if bits & word::NUMBER != 0 {
            party.number = Number::from_bits(self.heads.integer()?.rotate_right(4));
        }
        match bits >> word::RAW & 3 {
            0 => {}
            word::RAW_TEXT => party.raw = self.text()?,
            form => party.raw = print(party.number, form == word::RAW_PRINTED, side),
        }
        if bits & word::TEXT != 0 {
            party.text = self.text()?;
        }
        Some(party)
    }

    /// The next of the texts.
    #[inline(always)]
    fn text(&mut self) -> Option<Text> {
        let len: u32 = self.heads.small()?;
        let at = self.texts_at;
        self.texts_at = at.checked_add(len).filter(|end| *end <= self.texts_end)?;
        Some(Text { at: at | Text::SIDE, len })
    }
}

/// Longest form in which a number prints: `+` and the digits.
const PRINTED_BYTES_MAX: usize = 16;

/// Keeps the number as it prints, with or without its `+`.
#[inline(always)]
fn print(number: Number, with_plus: bool, side: &mut Vec<u8>) -> Text {
    let at = side.len() as u32 | Text::SIDE;
    let mut printed = [b'0'; PRINTED_BYTES_MAX];
    let Some((mut value, n_digits)) = number.digits() else {
        let mut room = printed.as_mut_slice();
        let told = write!(room, "{number}");
        debug_assert!(told.is_ok(), "no form is longer");
        let len = PRINTED_BYTES_MAX - room.len();
        side.extend_from_slice(printed.get(..len).unwrap_or_default());
        return Text { at, len: len as u32 };
    };
    // Never more than fifteen digits, whatever the bits say: four of them count.
    let mut place = PRINTED_BYTES_MAX;
    for _ in 0..n_digits {
        place -= 1;
        printed[place & (PRINTED_BYTES_MAX - 1)] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    if with_plus {
        place -= 1;
        printed[place & (PRINTED_BYTES_MAX - 1)] = b'+';
    }
    let text = printed.get(place..).unwrap_or_default();
    side.extend_from_slice(text);
    Text { at, len: text.len() as u32 }
}

fn verdict(bits: u64) -> Option<Verdict> {
    let rule = u16::try_from(bits >> 6).ok()?;
    let rule = match (bits >> 4 & 3, rule) {
        (0, 0) => RuleRef::Default,
        (1, 0) => RuleRef::Emergency,
        (2, rule) => RuleRef::Firewall(rule),
        (3, rule) => RuleRef::Threshold(rule),
        _ => return None,
    };
    Some(Verdict { action: one_of(Action::ALL, bits, 0, 2)?, cause: one_of(Cause::ALL, bits, 2, 2)?, rule })
}
