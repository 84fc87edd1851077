//! Tests of the codec: any batch comes back as it was, and any bytes are read without harm.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::record::Entry;
use super::{Encoder, decode};
use crate::clock::Timestamp;
use crate::engine::{Judged, LaneOptions, RuleRef, Verdict};
use crate::event::{
    Attestation, Batch, CallEvent, CallType, CustomerId, Direction, Flags, GatewayId, HangupBy, Kind, Number, Party,
    Source, Status, Text,
};
use crate::policy::{Action, Cause};

/// A party and the two texts it names.
type Told = (Number, String, String);

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        Just(Number::ABSENT),
        Just(Number::ANONYMOUS),
        Just(Number::INVALID),
        "[1-9][0-9]{2,14}".prop_map(|d| Number::e164(d.as_bytes()).expect("digits")),
        "[0-9*#]{1,20}".prop_map(|s| Number::short(s.as_bytes()).expect("symbols")),
        "[0-9*#]{1,20}".prop_map(|s| Number::national(s.as_bytes()).expect("symbols")),
    ]
}

fn party() -> impl Strategy<Value = Told> {
    (number(), 0..4, "[+0-9a-zé ]{0,20}", "[a-z]{0,9}").prop_map(|(number, how, raw, text)| {
        let raw = match how {
            0 => number.to_string(),
            1 => number.to_string().trim_start_matches('+').to_owned(),
            2 => format!("+{number}"),
            _ => raw,
        };
        (number, raw, text)
    })
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

fn optional<T: Copy + std::fmt::Debug + 'static>(
    absent: T,
    some: impl Strategy<Value = T>,
) -> impl Strategy<Value = T> {
    prop_oneof![Just(absent), some]
}

fn ip() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(|ip| Some(IpAddr::V4(Ipv4Addr::from(ip)))),
        any::<u128>().prop_map(|ip| Some(IpAddr::V6(Ipv6Addr::from(ip)))),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let rule = prop_oneof![
        Just(RuleRef::Default),
        Just(RuleRef::Emergency),
        any::<u16>().prop_map(RuleRef::Firewall),
        any::<u16>().prop_map(RuleRef::Threshold),
    ];
    (one_of(Action::ALL), one_of(Cause::ALL), rule).prop_map(|(action, cause, rule)| Verdict { action, cause, rule })
}

/// An event without its texts; their owner follows.
fn numbers_of_event() -> impl Strategy<Value = CallEvent> {
    let words = (
        one_of(Kind::ALL),
        one_of(Direction::ALL),
        one_of(CallType::ALL),
        one_of(Status::ALL),
        one_of(HangupBy::ALL),
        one_of(Attestation::ALL),
    );
    let ids = (any::<i64>(), optional(0, any::<u64>()), optional(0, any::<u32>()), optional(0, any::<u32>()));
    let codes = (optional(0, any::<u8>()), 0..1u16 << 14, optional(0, any::<u16>()));
    let time = || optional(CallEvent::NO_TIME, any::<u32>());
    let amounts = (time(), time(), time(), optional(CallEvent::NO_COST, any::<i64>()), ip());
    (words, ids, codes, amounts).prop_map(|(words, ids, codes, amounts)| CallEvent {
        kind: words.0,
        direction: words.1,
        call_type: words.2,
        status: words.3,
        hangup_by: words.4,
        attestation: words.5,
        time: Timestamp(ids.0),
        seq: ids.1,
        customer: CustomerId(ids.2),
        gateway: GatewayId(ids.3),
        q850: codes.0,
        flags: Flags(codes.1),
        sip_code: codes.2,
        duration_ms: amounts.0,
        ring_ms: amounts.1,
        setup_ms: amounts.2,
        cost: amounts.3,
        source_ip: amounts.4,
        ..CallEvent::BLANK
    })
}

prop_compose! {
    fn told()(
        event in numbers_of_event(),
        parties in vec(party(), 4),
        texts in vec("[ -~]{0,4}|[ -~]{200,300}", 9),
        verdict in verdict(),
    ) -> (CallEvent, Vec<Told>, Vec<String>, Verdict) {
        (event, parties, texts, verdict)
    }
}

/// The batch of these events; texts stand in the block and at its side by turns.
fn judged(told: Vec<(CallEvent, Vec<Told>, Vec<String>, Verdict)>, source: Source, annex: Vec<u8>) -> Judged {
    let mut judged = Judged {
        batch: Batch { source, annex, ..Batch::default() },
        options: LaneOptions { merge: true, dedup: false, verdict: true, both_legs: false },
        ..Judged::default()
    };
    let batch = &mut judged.batch;
    let mut is_side = false;
    let mut keep = |batch: &mut Batch, text: &str| {
        is_side = !is_side;
        if is_side || text.is_empty() {
            return batch.keep(text.as_bytes());
        }
        let at = batch.block.len() as u32;
        batch.block.extend_from_slice(text.as_bytes());
        Text { at, len: text.len() as u32 }
    };
    for (mut event, parties, texts, verdict) in told {
        for ((number, raw, text), party) in
            parties.iter().zip([&mut event.caller, &mut event.callee, &mut event.asserted, &mut event.diverting])
        {
            *party = Party { number: *number, raw: keep(batch, raw), text: keep(batch, text) };
        }
        let fields = [
            &mut event.call_id,
            &mut event.leg,
            &mut event.trunk,
            &mut event.account,
            &mut event.extension,
            &mut event.caller_name,
            &mut event.domain,
            &mut event.user_agent,
            &mut event.method,
        ];
        for (field, text) in fields.into_iter().zip(&texts) {
            *field = keep(batch, text);
        }
        batch.events.push(event);
        judged.verdicts.push(verdict);
    }
    judged
}

/// Everything an event says, as text: spans are no part of it, what they name is.
fn said(batch: &Batch, event: &CallEvent) -> String {
    let mut bare = *event;
    let texts: Vec<_> = bare.texts_mut().map(|text| String::from_utf8_lossy(batch.text(*text)).into_owned()).into();
    for text in bare.texts_mut() {
        *text = Text::ABSENT;
    }
    format!("{bare:?} {texts:?}")
}

fn batch_of(entry: Entry) -> (Batch, Judged) {
    let Entry::Batch { options, batch, verdicts, flags, tracked, .. } = entry else { panic!("a batch was written") };
    (batch, Judged { options, verdicts, flags, tracked, ..Judged::default() })
}

fn encoded(judged: &Judged) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::default().encode(judged, &mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_batch_comes_back_as_it_was_but_for_its_duplicates(
        told in vec(told(), 0..12),
        duplicates in any::<u16>(),
        hits in vec((0..12u32, any::<u16>()), 0..9),
        arrival in any::<i64>(),
        ids in (any::<u16>(), any::<u32>(), any::<u64>()),
        annex in vec(any::<u8>(), 0..40),
    ) {
        let source = Source {
            arrival: Timestamp(arrival), feed: ids.0, gateway: GatewayId(ids.1), highest_seq: ids.2,
        };
        let mut judged = judged(told, source, annex);
        for (i, event) in judged.batch.events.iter_mut().enumerate() {
            event.flags.clear(Flags::DUPLICATE);
            if duplicates >> i & 1 != 0 {
                event.flags.set(Flags::DUPLICATE);
            }
        }
        let n_events = judged.batch.events.len() as u32;
        judged.flags = hits.iter().copied().filter(|(event, _)| *event < n_events).collect();
        judged.flags.sort();
        judged.tracked = judged.flags.iter().rev().take(3).copied().collect();

        let bytes = encoded(&judged);
        let entry = decode(&bytes, 7).expect("what was written is read");
        let is_at_7 = matches!(entry, Entry::Batch { position: 7, .. });
        prop_assert!(is_at_7);
        let (batch, said_of) = batch_of(entry);
        let kept: Vec<usize> =
            (0..n_events as usize).filter(|i| !judged.batch.events[*i].flags.has(Flags::DUPLICATE)).collect();
        prop_assert_eq!(batch.source, judged.batch.source);
        prop_assert_eq!(&batch.annex, &judged.batch.annex);
        prop_assert_eq!(said_of.options, judged.options);
        let before: Vec<_> = kept.iter().map(|i| said(&judged.batch, &judged.batch.events[*i])).collect();
        let after: Vec<_> = batch.events.iter().map(|event| said(&batch, event)).collect();
        prop_assert_eq!(before, after);
        prop_assert_eq!(said_of.verdicts, kept.iter().map(|i| judged.verdicts[*i]).collect::<Vec<_>>());
        for (before, after) in [(&judged.flags, said_of.flags), (&judged.tracked, said_of.tracked)] {
            let place = |event: u32| kept.iter().position(|i| *i == event as usize);
            let before: Vec<_> =
                before.iter().filter_map(|(event, rule)| Some((place(*event)? as u32, *rule))).collect();
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_or_read_as_something_else_but_does_no_harm(
        told in vec(told(), 1..4),
        cut in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&judged(told, Source::default(), Vec::new()));
        prop_assert!(decode(&bytes[..cut.index(bytes.len())], 1).is_none());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(Entry::Batch { batch, .. }) = decode(&bytes, 1) {
            batch.events.iter().for_each(|event| drop(said(&batch, event)));
        }
    }
}

#[test]
fn a_call_record_of_the_usual_kind_takes_under_100_bytes() {
    let mut event = CallEvent {
        time: Timestamp(1_767_225_600_003),
        kind: Kind::Cdr,
        direction: Direction::Outbound,
        status: Status::Answered,
        sip_code: 200,
        duration_ms: 244_243,
        source_ip: Some(IpAddr::V4(Ipv4Addr::new(10, 17, 185, 116))),
        ..CallEvent::BLANK
    };
    let mut judged = Judged::default();
    let batch = &mut judged.batch;
    batch.source.arrival = Timestamp(1_767_225_600_100);
    let mut party = |digits: &str| Party {
        number: Number::e164(digits.as_bytes()).expect("digits"),
        raw: batch.keep(format!("+{digits}").as_bytes()),
        text: Text::ABSENT,
    };
    (event.caller, event.callee) = (party("13050007919"), party("12109349492"));
    event.call_id = batch.keep(b"5508e04de0429000-2@sbc01.example.net");
    event.trunk = batch.keep(b"trk-17");
    batch.events.extend([event; 100]);
    judged.verdicts = vec![Verdict::default(); 100];
    assert_eq!(encoded(&judged).len() / 100, 74);
}
