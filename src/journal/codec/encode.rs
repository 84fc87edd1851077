//! A batch into bytes. Every event the service takes goes through here: nothing is allocated for one, and no text is
//! looked at but to be copied.

use std::net::IpAddr;

use super::super::bytes::{INTEGER_BYTES_MAX, fold, push, put};
use super::{options, texts, word};
use crate::engine::{Judged, RuleRef, Verdict};
use crate::event::{Batch, CallEvent, Flags, Number, Party};

/// Longest head of an event: the word and every field at its longest fits, with room for the last store.
const HEAD_BYTES_MAX: usize = 512;
const _: () = assert!(8 + (12 + 4 + 4 * 3 + 9) * INTEGER_BYTES_MAX + 16 < HEAD_BYTES_MAX);

/// Encodes batches, with the buffers it needs meanwhile.
#[derive(Debug)]
pub struct Encoder {
    heads: Vec<u8>,
    texts: Vec<u8>,
    /// Indices of events that are left out.
    left_out: Vec<u32>,
    head: Box<[u8; HEAD_BYTES_MAX]>,
}

impl Default for Encoder {
    fn default() -> Encoder {
        let head = Box::new([0; HEAD_BYTES_MAX]);
        Encoder { heads: Vec::new(), texts: Vec::new(), left_out: Vec::new(), head }
    }
}

/// What the next event is told as a difference to.
struct Before {
    time: i64,
    seq: u64,
    customer: u32,
    gateway: u32,
    verdict: Verdict,
}

impl Encoder {
    /// Appends the batch and what was said of it, without duplicates, and gives the number of its events.
    pub fn encode(&mut self, judged: &Judged, out: &mut Vec<u8>) -> u32 {
        let batch = &judged.batch;
        self.heads.clear();
        self.texts.clear();
        self.left_out.clear();
        let source = &batch.source;
        let mut before = Before {
            time: source.arrival.0,
            seq: 0,
            customer: 0,
            gateway: source.gateway.0,
            verdict: Verdict::default(),
        };
        for (i, event) in batch.events.iter().enumerate() {
            if event.flags.has(Flags::DUPLICATE) {
                self.left_out.push(i as u32);
                continue;
            }
            let verdict = judged.verdicts.get(i).copied().unwrap_or_default();
            self.event(batch, event, verdict, &mut before);
        }
        let n_events = (batch.events.len() - self.left_out.len()) as u32;
        push(out, options::to_bits(judged.options));
        push(out, fold(source.arrival.0));
        let is_kept = |(event, _): &&(u32, u16)| self.left_out.binary_search(event).is_err();
        let n_hits = |hits: &[(u32, u16)]| hits.iter().filter(is_kept).count() as u64;
        for value in [
            u64::from(source.feed),
            u64::from(source.gateway.0),
            source.highest_seq,
            u64::from(n_events),
            n_hits(&judged.flags),
            n_hits(&judged.tracked),
            self.heads.len() as u64,
            self.texts.len() as u64,
        ] {
            push(out, value);
        }
        out.extend_from_slice(&self.heads);
        out.extend_from_slice(&self.texts);
        for hits in [&judged.flags, &judged.tracked] {
            for (event, rule) in hits.iter().filter(is_kept) {
                // Counted without those left out, as whoever reads them will count.
                push(out, u64::from(*event) - self.left_out.partition_point(|left| left < event) as u64);
                push(out, u64::from(*rule));
            }
        }
        out.extend_from_slice(&batch.annex);
        n_events
    }

    // long: one field after the other, in the order in which they are read
    #[inline]
    fn event(&mut self, batch: &Batch, event: &CallEvent, verdict: Verdict, before: &mut Before) {
        let head = &mut *self.head;
        let mut word = event.kind as u64
            | (event.direction as u64) << word::DIRECTION
            | (event.call_type as u64) << word::CALL_TYPE
            | (event.status as u64) << word::STATUS
            | (event.hangup_by as u64) << word::HANGUP_BY
            | (event.attestation as u64) << word::ATTESTATION;
        let mut at = put(head, size_of::<u64>(), fold(event.time.0.wrapping_sub(before.time)));
        before.time = event.time.0;
        // An array of tables would be shorter and cost a branch a field more.
        if event.seq != 0 {
            word |= word::SEQ;
            at = put(head, at, fold(event.seq.wrapping_sub(before.seq) as i64));
            before.seq = event.seq;
        }
        if event.customer.0 != before.customer {
            word |= word::CUSTOMER;
            at = put(head, at, u64::from(event.customer.0));
            before.customer = event.customer.0;
        }
        if event.gateway.0 != before.gateway {
            word |= word::GATEWAY;
            at = put(head, at, u64::from(event.gateway.0));
            before.gateway = event.gateway.0;
        }
        for (bit, value, absent) in [
            (word::FLAGS, u32::from(event.flags.0), 0),
            (word::Q850, u32::from(event.q850), 0),
            (word::SIP_CODE, u32::from(event.sip_code), 0),
            (word::DURATION, event.duration_ms, CallEvent::NO_TIME),
            (word::RING, event.ring_ms, CallEvent::NO_TIME),
            (word::SETUP, event.setup_ms, CallEvent::NO_TIME),
        ] {
            if value != absent {
                word |= bit;
                at = put(head, at, u64::from(value));
            }
        }
        if event.cost != CallEvent::NO_COST {
            word |= word::COST;
            at = put(head, at, fold(event.cost));
        }
        match event.source_ip {
            None => {}
            Some(IpAddr::V4(ip)) => {
                word |= word::IPV4;
                head[at..at + 4].copy_from_slice(&ip.octets());
                at += 4;
            }
            Some(IpAddr::V6(ip)) => {
                word |= word::IPV6;
                head[at..at + 16].copy_from_slice(&ip.octets());
                at += 16;
            }
        }
        if verdict != before.verdict {
            word |= word::VERDICT;
            at = put_verdict(head, at, verdict);
            before.verdict = verdict;
        }
        for (i, party) in [&event.caller, &event.callee, &event.asserted, &event.diverting].into_iter().enumerate() {
            if party.number.is_absent() && party.raw.is_absent() && party.text.is_absent() {
                continue;
            }
            let bits;
            (bits, at) = put_party(head, at, batch, party, &mut self.texts);
            word |= bits << (word::PARTIES + i as u32 * word::PARTY_BITS);
        }
        for (i, text) in texts(event).into_iter().enumerate() {
            if !text.is_absent() {
                let text = batch.text(text);
                if !text.is_empty() {
                    word |= 1 << (word::TEXTS + i as u32);
                    at = put(head, at, text.len() as u64);
                    self.texts.extend_from_slice(text);
                }
            }
        }
        head[..size_of::<u64>()].copy_from_slice(&word.to_le_bytes());
        self.heads.extend_from_slice(&head[..at]);
    }
}

/// Action and cause in two bits each, the kind of rule in the next two, its number behind.
fn put_verdict(head: &mut [u8], at: usize, verdict: Verdict) -> usize {
    let (kind, rule) = match verdict.rule {
        RuleRef::Default => (0, 0),
        RuleRef::Emergency => (1, 0),
        RuleRef::Firewall(rule) => (2, rule),
        RuleRef::Threshold(rule) => (3, rule),
    };
    let said = verdict.action as u64 | (verdict.cause as u64) << 2 | kind << 4 | u64::from(rule) << 6;
    put(head, at, said)
}

/// The bits of a party, and the place behind it.
#[inline(always)]
fn put_party(head: &mut [u8], mut at: usize, batch: &Batch, party: &Party, texts: &mut Vec<u8>) -> (u64, usize) {
    let mut bits = 0;
    if !party.number.is_absent() {
        bits |= word::NUMBER;
        // The form stands in the top four bits and would make every number long.
        at = put(head, at, party.number.bits().rotate_left(4));
    }
    if !party.raw.is_absent() {
        let raw = batch.text(party.raw);
        let form = raw_form(raw, party.number);
        bits |= form << word::RAW;
        if form == word::RAW_TEXT {
            at = put(head, at, raw.len() as u64);
            texts.extend_from_slice(raw);
        }
    }
    if !party.text.is_absent() {
        let text = batch.text(party.text);
        if !text.is_empty() {
            bits |= word::TEXT;
            at = put(head, at, text.len() as u64);
            texts.extend_from_slice(text);
        }
    }
    (bits, at)
}

/// How much of what the gateway wrote the number tells by itself.
#[inline(always)]
fn raw_form(raw: &[u8], number: Number) -> u64 {
    let Some(first) = raw.first() else { return 0 };
    if number.is_e164() {
        let digits = if *first == b'+' { raw.get(1..).unwrap_or_default() } else { raw };
        return match (Number::e164(digits) == Some(number), *first == b'+') {
            (true, true) => word::RAW_PRINTED,
            (true, false) => word::RAW_DIGITS,
            (false, _) => word::RAW_TEXT,
        };
    }
    let prints = !number.is_text() && (Number::short(raw) == Some(number) || Number::national(raw) == Some(number));
    if prints { word::RAW_PRINTED } else { word::RAW_TEXT }
}
