//! What holds for every input of the codecs. Called by the tests of this crate and by the fuzz targets.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::csv::{Dialect, DialectName, Settings};
pub use super::sip::property::sip_holds;
use super::wire::{self, Origin, WireField};
use super::{Decoder, FeedContext, Format, Framer, json_cdr, value};
use crate::clock::Timestamp;
use crate::event::dialplan::DialPlan;
use crate::event::{Batch, CallEvent, CallType, Direction, Flags, HangupBy, Kind, Names, Reject, Status};
use crate::limits::{JSON_CDR_BYTES_MAX, LINE_BYTES_MAX};

/// Any arrival will do; it makes future times meet their clamp.
const ARRIVAL: Timestamp = Timestamp(1_800_000_000_000);

/// A decoder as file readers have it.
pub fn decoder(format: &Format) -> Decoder {
    Decoder::new(format, Arc::new(FeedContext::file(Arc::new(Names::new()), DialPlan::default())))
}

/// A stream decoded as one batch a block, cut by `reads`.
pub fn batches(format: &Format, stream: &[u8], reads: &[usize]) -> Vec<Batch> {
    let (mut framer, mut decoder) = (Framer::new(format.style()), decoder(format));
    let mut batches = Vec::new();
    let mut decode = |block| {
        let mut batch = Batch::default();
        decoder.decode(block, None, &mut batch);
        check(&batch);
        batches.push(batch);
    };
    let (mut rest, mut reads) = (stream, reads.iter().cycle());
    while !rest.is_empty() {
        let len = reads.next().map_or(rest.len(), |len| (*len).clamp(1, rest.len()));
        let (now, later) = rest.split_at(len);
        framer.space(len).extend_from_slice(now);
        rest = later;
        while let Some(block) = framer.block() {
            decode(block);
        }
    }
    if let Some(block) = framer.finish() {
        decode(block);
    }
    let mut open = Batch::default();
    decoder.finish(None, &mut open);
    if !open.events.is_empty() || !open.rejects.is_empty() {
        check(&open);
        batches.push(open);
    }
    batches
}

/// What must be true of every batch.
fn check(batch: &Batch) {
    for event in &batch.events {
        assert!((Timestamp::MIN..=Timestamp::MAX).contains(&event.time), "{}", event.time);
        for field in WireField::ALL {
            let (mut event, mut origin) = (*event, Origin::default());
            if let Some((text, len_max)) = wire::text_place(*field, &mut event, &mut origin) {
                assert!(text.len as usize <= len_max);
                let bytes = batch.text(*text);
                assert_eq!(bytes.len(), text.len as usize, "a text points outside of its batch");
                assert!(std::str::from_utf8(bytes).is_ok());
            }
        }
    }
    assert!(batch.rejects.is_sorted_by_key(|r| r.before));
    assert!(batch.rejects.iter().all(|r| r.before as usize <= batch.events.len()));
}

/// Everything a batch says, without where it stands.
pub(crate) fn said(batches: &[Batch]) -> Vec<String> {
    let mut all = Vec::new();
    for batch in batches {
        let mut rejects = batch.rejects.iter().peekable();
        for (at, event) in batch.events.iter().enumerate() {
            while let Some(reject) = rejects.next_if(|r| r.before as usize <= at) {
                all.push(format!("{} {}", reject.seq, reject.reason.as_str()));
            }
            all.push(describe(batch, event));
        }
        all.extend(rejects.map(|r| format!("{} {}", r.seq, r.reason.as_str())));
    }
    all
}

/// One event as text, for golden files and comparisons.
pub fn describe(batch: &Batch, event: &CallEvent) -> String {
    let mut line = format!("{} {}", event.time, event.kind.as_str());
    let seconds = |ms: u32| (ms != CallEvent::NO_TIME).then(|| format!("{}.{:03}", ms / 1000, ms % 1000));
    let text = |text| Some(String::from_utf8_lossy(batch.text(text)).into_owned()).filter(|t| !t.is_empty());
    let mut add = |name: &str, value: Option<String>| line += &value.map_or(String::new(), |v| format!(" {name}={v}"));
    add("direction", Some(event.direction.as_str().into()).filter(|w: &String| w != "unknown"));
    for (name, party) in [
        ("caller", &event.caller),
        ("callee", &event.callee),
        ("asserted", &event.asserted),
        ("diverting", &event.diverting),
    ] {
        add(name, text(party.raw));
    }
    add("status", Some(event.status.as_str().into()).filter(|w: &String| w != "unknown"));
    add("duration", seconds(event.duration_ms));
    add("ring", seconds(event.ring_ms));
    add("setup", seconds(event.setup_ms));
    add("sip_code", (event.sip_code != 0).then(|| event.sip_code.to_string()));
    add("q850", (event.q850 != 0).then(|| event.q850.to_string()));
    add("hangup_by", Some(event.hangup_by.as_str().into()).filter(|w: &String| w != "unknown"));
    add("anonymous", event.flags.has(Flags::ANONYMOUS).then(|| "yes".into()));
    add("source_ip", event.source_ip.map(|ip| ip.to_string()));
    for (name, span) in [
        ("trunk", event.trunk),
        ("account", event.account),
        ("extension", event.extension),
        ("caller_name", event.caller_name),
        ("call_id", event.call_id),
        ("leg", event.leg),
        ("domain", event.domain),
        ("user_agent", event.user_agent),
        ("method", event.method),
    ] {
        add(name, text(span));
    }
    line + &format!(" {}/{}", event.customer.0, event.gateway.0)
}

/// Arbitrary bytes: nothing panics, and how the stream is cut into reads changes nothing.
/// The first byte says how it is cut.
pub fn splitting_changes_nothing(format: &Format, bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let reads = [usize::from(*first) + 1, usize::from(first % 7) + 1];
    assert_eq!(said(&batches(format, stream, &reads)), said(&batches(format, stream, &[])));
}

/// Arbitrary bytes in every style of framing: how they are cut into reads changes nothing. The first byte says how.
pub fn framing_changes_nothing(bytes: &[u8]) {
    super::framing::property::records_are_the_same_however_split(bytes);
}

/// Arbitrary bytes as HEP.
pub fn hep_agrees_with_itself(bytes: &[u8]) {
    super::hep::property::what_is_read_can_be_written_and_read_again(bytes);
}

/// Arbitrary bytes as messages of a few calls: [`CallTable`](super::CallTable) tells each thing once, and a feed of them
/// is the same however it is cut.
pub fn calls_hold(bytes: &[u8]) {
    super::calls::property::whatever_comes_is_told_once(bytes);
    let stream = super::calls::property::captured(bytes);
    let first = bytes.first().copied().unwrap_or_default();
    let reads = [usize::from(first) * 7 + 1, usize::from(first % 11) + 300];
    assert_eq!(said(&batches(&Format::Hep, &stream, &reads)), said(&batches(&Format::Hep, &stream, &[])));
}

/// Arbitrary bytes as what was kept of a call table: it is refused, or the table holds what a table must.
pub fn call_parts_hold(bytes: &[u8]) {
    super::calls::recovery_property::whatever_was_kept_makes_a_table(bytes);
}

/// Arbitrary bytes as captures.
pub fn captures_hold(bytes: &[u8]) {
    super::capture::property::what_comes_out_is_hep(bytes);
}

/// Call records in JSON: [`splitting_changes_nothing`], and what serde_json takes for objects one behind the other gives an
/// event or a reject each. A body that holds a record holds the same one however it is wrapped.
pub fn json_cdr_holds(bytes: &[u8]) {
    splitting_changes_nothing(&Format::JsonCdr, bytes);
    let stream = bytes.get(1..).unwrap_or(&[]);
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(stream).into_iter().collect();
    // Past a limit of ours serde_json may take what we do not.
    let is_small =
        stream.len() <= JSON_CDR_BYTES_MAX && stream.iter().filter(|b| matches!(b, b'{' | b'[')).count() < 64;
    if let (Ok(values), true) = (values, is_small)
        && values.iter().all(Value::is_object)
    {
        let batches = batches(&Format::JsonCdr, stream, &[]);
        let n: usize = batches.iter().map(|batch| batch.events.len() + batch.rejects.len()).sum();
        assert_eq!(n, values.len(), "{}", String::from_utf8_lossy(stream));
    }
    let bare = json_cdr::unwrap(stream.to_vec());
    let escaped: String = stream.iter().map(|b| format!("%{b:02x}")).collect();
    let wrapped = json_cdr::unwrap(format!("x=1&cdr={escaped}").into_bytes());
    if let (Ok(bare), true) = (bare, stream.trim_ascii_start().starts_with(b"{")) {
        assert_eq!(wrapped, Ok(bare));
    }
}

/// The formats that take any bytes without settings of their own.
pub fn csv_formats() -> Vec<Format> {
    let asterisk = Settings { dialect: DialectName::Asterisk, time_zone: Some("UTC".into()), ..Settings::default() };
    let custom = "delimiter = ';'\ncolumns = { time = 'end', caller = 'from', callee = 'to', duration = 'secs' }";
    [Some(asterisk), toml::from_str(custom).ok()]
        .into_iter()
        .flatten()
        .filter_map(|settings| Dialect::new(&settings).ok())
        .map(|dialect| Format::Csv(Arc::new(dialect)))
        .collect()
}

/// Every dialect of call records, with times in UTC where they carry no zone.
pub fn cdr_formats() -> Vec<Format> {
    let settings = |dialect| Settings { dialect, time_zone: Some("UTC".into()), ..Settings::default() };
    DialectName::ALL
        .into_iter()
        .filter_map(|dialect| Dialect::new(&settings(dialect)).ok())
        .map(|dialect| Format::Csv(Arc::new(dialect)))
        .collect()
}

/// As [`splitting_changes_nothing`], in the dialect that the first byte names.
pub fn any_cdr_is_taken(bytes: &[u8]) {
    let (Some((first, rest)), formats) = (bytes.split_first(), cdr_formats()) else { return };
    if let Some(format) = formats.get(usize::from(*first) % formats.len().max(1)) {
        splitting_changes_nothing(format, rest);
    }
}

/// One object as serde_json reads it: every member, in order.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// NDJSON says of every line what serde_json and the table of spec 1.2 say.
pub fn ndjson_agrees_with_serde(bytes: &[u8]) {
    let (mut decoder, mut batch) = (decoder(&Format::Ndjson), Batch::default());
    for line in bytes.split(|b| *b == b'\n') {
        decoder.decode(line.to_vec(), Some(ARRIVAL), &mut batch);
        let first = format!("{:?} {:?}", batch.events, batch.rejects);
        // Now its keys are remembered, and bytes follow for reading whole words.
        let again = [line, b"\n", &[b' '; 16]].concat();
        decoder.decode(again, Some(ARRIVAL), &mut batch);
        assert_eq!(format!("{:?} {:?}", batch.events, batch.rejects), first);
        check(&batch);
        let is_blank = line.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'));
        assert_eq!(batch.events.len() + batch.rejects.len(), usize::from(!is_blank));
        let reject = batch.rejects.first().map(|r| r.reason);
        if line.len() > LINE_BYTES_MAX || is_blank {
            continue;
        }
        if std::str::from_utf8(line).is_err() {
            assert_eq!(reject, Some(Reject::NotUtf8));
        } else if serde_json::from_slice::<IgnoredAny>(line).is_err() {
            assert_eq!(reject, Some(Reject::Malformed), "{}", String::from_utf8_lossy(line));
        } else if let Ok(value) = serde_json::from_slice::<Value>(line) {
            match serde_json::from_slice::<Members>(line) {
                _ if depth(&value) > 50 => {}
                // serde reads the integer `-0` as a float, and cannot be asked which it was.
                Ok(members) if members.0.iter().any(|(_, v)| is_minus_zero(v)) => {}
                Err(_) => assert_eq!(reject, Some(Reject::NotAnObject)),
                Ok(members) => agrees(&members.0, &batch, reject),
            }
        }
    }
}

fn is_minus_zero(value: &Value) -> bool {
    value.as_f64().is_some_and(|v| v == 0.0 && v.is_sign_negative())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn agrees(members: &[(String, Value)], batch: &Batch, reject: Option<Reject>) {
    let problem = members.iter().find_map(|(name, value)| misfit(WireField::parse(name.as_bytes())?, value));
    let last = |field: WireField| {
        let value = members.iter().rev().find(|(name, _)| name == field.as_str()).map(|(_, value)| value);
        value.filter(|v| !v.is_null() && v.as_str() != Some(""))
    };
    let expected = problem.or_else(|| last(WireField::Time).is_none().then_some(Reject::NoTime));
    assert_eq!(reject, expected, "{members:?}");
    let Some(event) = batch.events.first() else { return };
    let word = |field| last(field).and_then(Value::as_str).unwrap_or_default().as_bytes();
    for field in WireField::ALL {
        let (mut event, mut origin) = (*event, Origin::default());
        if matches!(field, WireField::Customer | WireField::Gateway) {
            continue;
        }
        if let Some((text, _)) = wire::text_place(*field, &mut event, &mut origin) {
            assert_eq!(batch.text(*text), word(*field), "{}", field.as_str());
        }
    }
    assert_eq!(event.kind, Kind::parse(word(WireField::Kind)).unwrap_or_default());
    assert_eq!(event.direction, Direction::parse(word(WireField::Direction)).unwrap_or_default());
    assert_eq!(event.status, Status::parse(word(WireField::Status)).unwrap_or_default());
    assert_eq!(event.call_type, CallType::parse(word(WireField::CallType)).unwrap_or_default());
    assert_eq!(event.hangup_by, HangupBy::parse(word(WireField::HangupBy)).unwrap_or_default());
    assert_eq!(event.attestation, wire::attestation(word(WireField::Attestation)).unwrap_or_default());
    assert_eq!(event.source_ip, value::ip(word(WireField::SourceIp)));
    let whole = |field| last(field).and_then(Value::as_u64);
    if let Some(seq) = whole(WireField::Seq) {
        assert_eq!(event.seq, seq);
    }
    if let Some(code) = whole(WireField::SipCode) {
        assert_eq!(u64::from(event.sip_code), code);
    }
    for (field, ms) in
        [(WireField::Duration, event.duration_ms), (WireField::Ring, event.ring_ms), (WireField::Setup, event.setup_ms)]
    {
        match last(field).and_then(Value::as_f64) {
            None => assert_eq!(ms, CallEvent::NO_TIME),
            Some(seconds) => assert!((f64::from(ms) - seconds * 1000.0).abs() < 1.0, "{seconds} {ms}"),
        }
    }
}

/// Why a value does not fit its field, by the table of spec 1.2.
fn misfit(field: WireField, value: &Value) -> Option<Reject> {
    use WireField as F;
    let (mut event, mut origin) = (CallEvent::BLANK, Origin::default());
    let text_len_max = wire::text_place(field, &mut event, &mut origin).map(|(_, len)| len);
    let number = |fits: bool, otherwise| (!fits).then_some(otherwise);
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => match field {
            _ if text_len_max.is_some() => (text.len() > text_len_max?).then_some(Reject::FieldTooLong),
            F::Time => value::rfc3339(text.as_bytes()).is_none().then_some(Reject::BadTime),
            F::Kind => Kind::parse(text.as_bytes()).is_none().then_some(Reject::UnknownKind),
            F::SourceIp => value::ip(text.as_bytes()).is_none().then_some(Reject::BadValue),
            F::Direction | F::Status | F::CallType | F::HangupBy | F::Attestation => None,
            _ => Some(Reject::WrongType),
        },
        Value::Number(n) => match field {
            F::Time => {
                let whole = n.as_i64().filter(|v| (-60_000_000_000..=200_000_000_000_000_000).contains(v));
                number(whole.is_some(), Reject::BadTime)
            }
            F::Duration | F::Ring | F::Setup => {
                number(n.as_f64().is_some_and(|v| (0.0..4_294_967.294_5).contains(&v)), Reject::BadValue)
            }
            F::SipCode => number(whole(n, f64::from(u16::MAX)), Reject::BadValue),
            F::Q850 => number(whole(n, f64::from(u8::MAX)), Reject::BadValue),
            F::Seq => number(n.as_u64().is_some() || whole(n, 1.8e19), Reject::BadValue),
            F::Cost => number(n.as_f64().is_some_and(|v| v.abs() < 9.2e14), Reject::BadValue),
            F::Caller | F::Callee | F::Asserted | F::Diverting => Some(Reject::NumberNotText),
            _ => Some(Reject::WrongType),
        },
        Value::Bool(_) => (!matches!(field, F::Anonymous | F::AuthFailed)).then_some(Reject::WrongType),
        Value::Array(_) | Value::Object(_) => Some(Reject::WrongType),
    }
}

fn whole(number: &serde_json::Number, max: f64) -> bool {
    number.as_f64().is_some_and(|v| v.fract() == 0.0 && (0.0..=max).contains(&v))
}

/// Real data, from `RINGFENCE_SHARED` or the folder beside the project; says so where it is not there.
#[cfg(test)]
pub fn shared(path: &str) -> Option<std::path::PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let found = std::env::var_os("RINGFENCE_SHARED").map_or(beside, Into::into).join("data").join(path);
    if !found.exists() {
        eprintln!("NOT RUN: {path} is not in RINGFENCE_SHARED");
        return None;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuzzing found, and seeds it started from.
    fn corpus(target: &str, property: impl Fn(&[u8])) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut n_files = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            property(&std::fs::read(entry.unwrap().path()).unwrap());
            n_files += 1;
        }
        assert!(n_files > 0, "{} is empty", folder.display());
    }

    #[test]
    fn the_corpus_of_framing_holds() {
        corpus("framing", |bytes| splitting_changes_nothing(&Format::Ndjson, bytes));
        corpus("framing", framing_changes_nothing);
    }

    #[test]
    fn the_corpus_of_hep_holds() {
        corpus("hep", hep_agrees_with_itself);
    }

    #[test]
    fn the_corpus_of_captures_holds() {
        corpus("pcap", captures_hold);
    }

    #[test]
    fn the_corpus_of_calls_holds() {
        corpus("calls", calls_hold);
    }

    #[test]
    fn the_corpus_of_ndjson_holds() {
        corpus("ndjson", ndjson_agrees_with_serde);
    }

    #[test]
    fn the_corpus_of_json_cdr_holds() {
        corpus("json_cdr", json_cdr_holds);
    }

    #[test]
    fn the_corpus_of_cdr_holds() {
        assert_eq!(cdr_formats().len(), DialectName::ALL.len() - 1, "all but the custom one need no settings");
        corpus("cdr", any_cdr_is_taken);
    }

    #[test]
    fn the_corpus_of_csv_holds() {
        assert_eq!(csv_formats().len(), 2);
        corpus("csv", |bytes| csv_formats().iter().for_each(|format| splitting_changes_nothing(format, bytes)));
    }

    #[test]
    fn the_corpus_of_sip_holds() {
        corpus("sip", sip_holds);
    }
}
