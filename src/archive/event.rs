//! An event as a row, and a row as an event again.
//!
//! What was written comes back equal in everything a rule can see: numbers with their kind, texts, times, marks.

use std::io::Write;

use super::rows::Rows;
use super::schema::Column as C;
use crate::clock::Timestamp;
use crate::engine::{RuleRef, Verdict};
use crate::event::{
    Attestation, Batch, CallEvent, CallType, Direction, Flags, HangupBy, Kind, Names, Number, Party, Status, Text,
};
use crate::journal::Context;
use crate::policy::{Action, Cause};

/// Flags that have columns of their own; the others stand together in `marks`.
const NAMED: [(C, Flags); 3] =
    [(C::Anonymous, Flags::ANONYMOUS), (C::Emergency, Flags::EMERGENCY), (C::AuthFailed, Flags::AUTH_FAILED)];

/// Where each party stands.
const PARTIES: [[C; 3]; 4] = [
    [C::Caller, C::CallerKind, C::CallerRaw],
    [C::Callee, C::CalleeKind, C::CalleeRaw],
    [C::Asserted, C::AssertedKind, C::AssertedRaw],
    [C::Diverting, C::DivertingKind, C::DivertingRaw],
];

/// What an archived event was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub action: Action,
    pub cause: Cause,
    /// Id of the rule that decided, `default` or `builtin:emergency`; a text of the batch.
    pub rule: Text,
    /// Ids of the `flag` rules that were met, with commas between; a text of the batch.
    pub flags: Text,
}

/// Writes rows of events of one round. Keeps what is made anew for each, so that it is not allocated each time.
#[derive(Debug, Default)]
pub(crate) struct RowMaker {
    scratch: Vec<u8>,
}

/// One event of a record, with what the record says of it.
#[derive(Clone, Copy)]
pub(crate) struct Archived<'a> {
    pub(crate) position: u64,
    pub(crate) context: &'a Context,
    pub(crate) batch: &'a Batch,
    pub(crate) event: &'a CallEvent,
    pub(crate) verdict: Verdict,
    /// Firewall rules that flagged it.
    pub(crate) flags: &'a [(u32, u16)],
}

impl RowMaker {
    pub(crate) fn add(&mut self, rows: &mut Rows, archived: &Archived<'_>, names: &Names) {
        let Archived { position, context, batch, event, verdict, flags } = *archived;
        rows.number(C::Position, position as i64);
        rows.number(C::Time, event.time.0);
        if batch.source.arrival.0 != 0 {
            rows.number(C::Arrival, batch.source.arrival.0);
        }
        if let Some(feed) = context.feeds.get(batch.source.feed as usize) {
            rows.text(C::Feed, feed.as_bytes());
        }
        rows.text(C::Gateway, names.gateway_text(event.gateway).as_bytes());
        rows.text(C::Customer, names.customer_text(event.customer).as_bytes());
        for (column, word) in words(event) {
            rows.text(column, word.as_bytes());
        }
        for (column, text) in texts(event) {
            rows.text_if_any(column, batch.text(text));
        }
        let parties = [&event.caller, &event.callee, &event.asserted, &event.diverting];
        for (columns, party) in PARTIES.iter().zip(parties) {
            self.party(rows, *columns, batch, party);
        }
        if let Some(address) = event.source_ip {
            rows.text(C::SourceIp, self.print(format_args!("{address}")));
        }
        for (column, value) in numbers(event) {
            if let Some(value) = value {
                rows.number(column, value);
            }
        }
        let mut marks = event.flags;
        for (column, flag) in NAMED {
            rows.number(column, i64::from(marks.has(flag)));
            marks.clear(flag);
        }
        rows.number(C::Marks, i64::from(marks.0));
        rows.text(C::Action, verdict.action.as_str().as_bytes());
        rows.text(C::Cause, verdict.cause.as_str().as_bytes());
        let rule = match verdict.rule {
            RuleRef::Default => Some("default"),
            RuleRef::Emergency => Some("builtin:emergency"),
            RuleRef::Firewall(i) => context.firewall.get(i as usize).map(String::as_str),
            RuleRef::Threshold(i) => context.thresholds.get(i as usize).map(String::as_str),
        };
        rows.text(C::Rule, rule.unwrap_or_default().as_bytes());
        if !flags.is_empty() {
            let ids: Vec<&str> =
                flags.iter().filter_map(|(_, rule)| context.firewall.get(*rule as usize)).map(String::as_str).collect();
            rows.text(C::Flags, ids.join(",").as_bytes());
        }
        rows.end_row();
    }

    fn party(&mut self, rows: &mut Rows, [text, kind, raw]: [C; 3], batch: &Batch, party: &Party) {
        let written = batch.text(party.raw);
        let Some(is) = party.number.kind() else {
            // Of nothing that is a number, only what came is known.
            rows.text_if_any(raw, written);
            return;
        };
        let own = batch.text(party.text);
        let meant = if party.number.is_e164() || own.is_empty() { self.digits(party.number) } else { own };
        rows.text(text, meant);
        rows.text(kind, is.as_str().as_bytes());
        // An empty text: nothing came, which is not the same as nothing to add.
        if written != meant {
            rows.text(raw, written);
        }
    }

    /// What a number prints as, without the costs of printing for the commonest kind.
    fn digits(&mut self, number: Number) -> &[u8] {
        let Some((mut value, len)) = number.digits() else { return self.print(format_args!("{number}")) };
        self.scratch.clear();
        self.scratch.resize(len as usize + 1, b'0');
        for place in self.scratch.iter_mut().skip(1).rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
        if let Some(first) = self.scratch.first_mut() {
            *first = b'+';
        }
        &self.scratch
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) -> &[u8] {
        self.scratch.clear();
        let written = self.scratch.write_fmt(text);
        debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
        &self.scratch
    }
}

fn words(event: &CallEvent) -> [(C, &'static str); 6] {
    [
        (C::Kind, event.kind.as_str()),
        (C::Direction, event.direction.as_str()),
        (C::CallType, event.call_type.as_str()),
        (C::Status, event.status.as_str()),
        (C::HangupBy, event.hangup_by.as_str()),
        (C::Attestation, event.attestation.as_str()),
    ]
}

fn texts(event: &CallEvent) -> [(C, Text); 9] {
    [
        (C::CallId, event.call_id),
        (C::Leg, event.leg),
        (C::CallerName, event.caller_name),
        (C::Account, event.account),
        (C::Extension, event.extension),
        (C::Trunk, event.trunk),
        (C::Domain, event.domain),
        (C::UserAgent, event.user_agent),
        (C::Method, event.method),
    ]
}

fn numbers(event: &CallEvent) -> [(C, Option<i64>); 7] {
    let unless = |none: i64, value: i64| (value != none).then_some(value);
    let ms = |value: u32| unless(i64::from(CallEvent::NO_TIME), i64::from(value));
    [
        // Beyond what a signed number holds it comes back by the same bits.
        (C::Seq, unless(0, event.seq as i64)),
        (C::SipCode, unless(0, i64::from(event.sip_code))),
        (C::Q850, unless(0, i64::from(event.q850))),
        (C::DurationMs, ms(event.duration_ms)),
        (C::RingMs, ms(event.ring_ms)),
        (C::SetupMs, ms(event.setup_ms)),
        (C::Cost, unless(CallEvent::NO_COST, event.cost)),
    ]
}

/// Adds the event of a row to a batch. `None` where a name cannot be taken any more.
pub(crate) fn read(rows: &Rows, row: usize, names: &Names, batch: &mut Batch) -> Option<Told> {
    let word = |column| rows.text_at(column, row).unwrap_or_default();
    let mut text = |column| batch.keep(rows.text_at(column, row).unwrap_or_default());
    let number = |column| rows.number_at(column, row);
    let name = |column| String::from_utf8_lossy(rows.text_at(column, row).unwrap_or_default());
    let ms = |column| number(column).and_then(|ms| u32::try_from(ms).ok()).unwrap_or(CallEvent::NO_TIME);
    let mut event = CallEvent {
        time: Timestamp(number(C::Time).unwrap_or_default()),
        seq: number(C::Seq).unwrap_or_default() as u64,
        customer: names.customer(&name(C::Customer))?,
        gateway: names.gateway(&name(C::Gateway))?,
        kind: Kind::parse(word(C::Kind)).unwrap_or_default(),
        direction: Direction::parse(word(C::Direction)).unwrap_or_default(),
        call_type: CallType::parse(word(C::CallType)).unwrap_or_default(),
        status: Status::parse(word(C::Status)).unwrap_or_default(),
        hangup_by: HangupBy::parse(word(C::HangupBy)).unwrap_or_default(),
        attestation: Attestation::parse(word(C::Attestation)).unwrap_or_default(),
        q850: number(C::Q850).and_then(|q850| u8::try_from(q850).ok()).unwrap_or_default(),
        flags: Flags(number(C::Marks).unwrap_or_default() as u16),
        sip_code: number(C::SipCode).and_then(|code| u16::try_from(code).ok()).unwrap_or_default(),
        duration_ms: ms(C::DurationMs),
        ring_ms: ms(C::RingMs),
        setup_ms: ms(C::SetupMs),
        cost: number(C::Cost).unwrap_or(CallEvent::NO_COST),
        source_ip: std::str::from_utf8(word(C::SourceIp)).ok().and_then(|address| address.parse().ok()),
        call_id: text(C::CallId),
        leg: text(C::Leg),
        trunk: text(C::Trunk),
        account: text(C::Account),
        extension: text(C::Extension),
        caller_name: text(C::CallerName),
        domain: text(C::Domain),
        user_agent: text(C::UserAgent),
        method: text(C::Method),
        ..CallEvent::BLANK
    };
    for (column, flag) in NAMED {
        if number(column) == Some(1) {
            event.flags.set(flag);
        }
    }
    let told = Told {
        action: Action::ALL.iter().copied().find(|a| a.as_str().as_bytes() == word(C::Action)).unwrap_or_default(),
        cause: Cause::ALL.iter().copied().find(|c| c.as_str().as_bytes() == word(C::Cause)).unwrap_or_default(),
        rule: text(C::Rule),
        flags: text(C::Flags),
    };
    let [caller, callee, asserted, diverting] = PARTIES.map(|columns| read_party(rows, row, columns, batch));
    batch.events.push(CallEvent { caller, callee, asserted, diverting, ..event });
    Some(told)
}

fn read_party(rows: &Rows, row: usize, [text, kind, raw]: [C; 3], batch: &mut Batch) -> Party {
    let raw = rows.text_at(raw, row);
    let Some(meant) = rows.text_at(text, row) else {
        return Party { raw: batch.keep(raw.unwrap_or_default()), ..Party::default() };
    };
    let symbols = |of: fn(&[u8]) -> Option<Number>| of(meant).unwrap_or(Number::INVALID);
    let number = match rows.text_at(kind, row).unwrap_or_default() {
        b"e164" => meant.strip_prefix(b"+").and_then(Number::e164).unwrap_or(Number::INVALID),
        b"short" => symbols(Number::short),
        b"national" => symbols(Number::national),
        b"anonymous" => Number::ANONYMOUS,
        _ => Number::INVALID,
    };
    let kept = batch.keep(meant);
    let raw = raw.map_or(kept, |raw| batch.keep(raw));
    Party { number, raw, text: if number.is_e164() { Text::ABSENT } else { kept } }
}
