//! A CGRateS call record becomes an event, bare or in the envelope of its services.
//!
//! CGRateS writes a record of a call for each of its charging runs. `*raw` and `*default` are the call; the others are the
//! same call charged to somebody else, and are leg `b`.

use super::draft::Draft;
use super::members::Member;
use crate::clock::Timestamp;
use crate::event::{CallEvent, CallType, Direction, Kind, Reject, Status};
use crate::ingest::value::{self, Decimal};
use crate::ingest::wire::WireField;

/// What tells that a record is of CGRateS at all.
pub(super) const SIGNS: [Member; 4] =
    [Member::CgrOriginId, Member::CgrSetupTime, Member::CgrAnswerTime, Member::CgrUsage];

pub(super) fn read(draft: &mut Draft<'_, '_>) {
    draft.set(WireField::Caller, &[Member::CgrSubject, Member::CgrAccount]);
    draft.set(WireField::Callee, &[Member::CgrDestination]);
    draft.set(WireField::Account, &[Member::CgrAccount]);
    draft.set(WireField::CallId, &[Member::CgrOriginId]);
    draft.set(WireField::Customer, &[Member::CgrTenant]);
    draft.set(WireField::Gateway, &[Member::CgrOriginHost]);
    draft.set(WireField::Trunk, &[Member::CgrTrunk]);
    draft.set(WireField::UserAgent, &[Member::CgrUserAgent]);
    if draft.text(Member::CgrRunId).is_some_and(|run| !matches!(&*run, "*default" | "*raw")) {
        draft.set_text(WireField::Leg, "b");
    }
    match draft.text(Member::CgrTor).as_deref() {
        Some("*voice") => draft.event.call_type = CallType::Voice,
        Some("*data") => draft.event.call_type = CallType::Data,
        Some("*sms" | "*mms") => draft.event.kind = Kind::Message,
        _ => {}
    }
    if let Some(text) = draft.text(Member::CgrSourceIp) {
        match value::ip(text.as_bytes()) {
            Some(ip) => draft.event.source_ip = Some(ip),
            None => draft.problem(Reject::BadValue),
        }
    }
    if let Some(word) = draft.text(Member::CgrDirection) {
        match Direction::parse(word.as_bytes()) {
            Some(direction) => draft.event.direction = direction,
            // `*out` is what every record said while there was such a field: it tells nothing.
            None => draft.n_unknown_words += u64::from(word != "*out"),
        }
    }
    // -1 is a call that has not been rated yet.
    if let Some(cost) = draft.number(Member::CgrCost).filter(|cost| !cost.negative) {
        draft.event.cost = cost.ten_thousandths().unwrap_or(CallEvent::NO_COST);
    }
    times(draft);
    ending(draft);
}

fn times(draft: &mut Draft<'_, '_>) {
    let setup = instant(draft, Member::CgrSetupTime);
    let answer = instant(draft, Member::CgrAnswerTime);
    let usage_ms = span(draft, Member::CgrUsage);
    if let Some(ms) = span(draft, Member::CgrPdd) {
        draft.event.setup_ms = ms;
    }
    let known = |ms: u32| if ms == CallEvent::NO_TIME { 0 } else { ms };
    match (answer, setup) {
        (Some(answer), setup) => {
            let talk_ms = usage_ms.unwrap_or(CallEvent::NO_TIME);
            draft.event.duration_ms = talk_ms;
            draft.event.time = answer.plus_ms(i64::from(known(talk_ms)));
            if let Some(setup) = setup {
                let waited = u32::try_from(answer.0.saturating_sub(setup.0).max(0)).unwrap_or(0);
                draft.event.ring_ms = waited.saturating_sub(known(draft.event.setup_ms));
            }
            draft.event.status = Status::Answered;
        }
        (None, Some(setup)) => {
            draft.event.duration_ms = 0;
            draft.event.time = setup.plus_ms(i64::from(known(usage_ms.unwrap_or(0))));
        }
        (None, None) => draft.problem(Reject::NoTime),
    }
    if draft.event.time > Timestamp::MAX {
        draft.problem(Reject::BadTime);
    }
}

/// Go's zero time, the year 1, says that it never came.
fn instant(draft: &mut Draft<'_, '_>, name: Member) -> Option<Timestamp> {
    let text = draft.text(name)?;
    if text.starts_with("0001-01-01") || text == "0" {
        return None;
    }
    let number = || Decimal::parse(text.as_bytes()).and_then(|number| number.epoch());
    let time = value::rfc3339(text.as_bytes()).or_else(number);
    if time.is_none() {
        draft.problem(Reject::BadTime);
    }
    time
}

/// Nanoseconds, or with units: `10s`, `1m30s`.
fn span(draft: &mut Draft<'_, '_>, name: Member) -> Option<u32> {
    let text = draft.text(name)?;
    let ns = match Decimal::parse(text.as_bytes()) {
        Some(number) if number.negative => Some(0),
        Some(number) => number.scaled(0),
        None => go_duration_ns(text.as_bytes()),
    };
    let ms = ns.and_then(|ns| u32::try_from((ns.saturating_add(500_000)) / 1_000_000).ok());
    let ms = ms.filter(|ms| *ms != CallEvent::NO_TIME);
    if ms.is_none() {
        draft.problem(Reject::BadValue);
    }
    ms
}

/// `1h2m3.5s`: numbers with units, one after the other.
fn go_duration_ns(text: &[u8]) -> Option<u64> {
    const UNITS: [(&[u8], u64); 7] = [
        (b"ns", 1),
        (b"us", 1_000),
        ("µs".as_bytes(), 1_000),
        (b"ms", 1_000_000),
        (b"s", 1_000_000_000),
        (b"m", 60_000_000_000),
        (b"h", 3_600_000_000_000),
    ];
    let (mut rest, mut total) = (text, 0u64);
    while !rest.is_empty() {
        let len = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let number = Decimal::parse(rest.get(..len)?)?;
        rest = rest.get(len..)?;
        let (unit, ns) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = rest.get(unit.len()..)?;
        let billionths = number.scaled(9)?;
        let ns = u128::from(billionths) * u128::from(*ns) / 1_000_000_000;
        total = total.checked_add(u64::try_from(ns).ok()?)?;
    }
    (!text.is_empty()).then_some(total)
}

fn ending(draft: &mut Draft<'_, '_>) {
    let cause = draft.text(Member::CgrCause);
    // `486 Busy Here` and `17` begin with their number.
    let word = cause.as_deref().map(|text| text.split_ascii_whitespace().next().unwrap_or_default());
    let code = word.and_then(|word| word.parse::<u16>().ok());
    match code {
        Some(cause @ 1..=127) => draft.event.q850 = cause as u8,
        Some(code @ 200..=699) => draft.event.sip_code = code,
        _ => {}
    }
    if draft.event.status == Status::Answered || draft.event.kind == Kind::Message {
        return;
    }
    match word {
        Some(word) => draft.unanswered(word),
        None => draft.event.status = Status::NoAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_with_units_are_those_of_go() {
        for (text, ns) in [
            ("10s", Some(10_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1h0m0.5s", Some(3_600_500_000_000)),
            ("1.5ms", Some(1_500_000)),
            ("7µs", Some(7_000)),
            ("0ns", Some(0)),
            ("10", None),
            ("s", None),
            ("1s ", None),
            ("-1s", None),
            ("99999999999999h", None),
            ("", None),
        ] {
            assert_eq!(go_duration_ns(text.as_bytes()), ns, "{text}");
        }
    }
}
