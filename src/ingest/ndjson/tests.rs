//! The NDJSON codec from outside: lines in, events and rejects out.

use proptest::prelude::*;

use crate::clock::Timestamp;
use crate::event::dialplan::DialPlan;
use crate::event::{Batch, CallEvent, CustomerId, Flags, GatewayId, Names, Reject};
use crate::ingest::property::{self, decoder};
use crate::ingest::{Counts, Decoder, FeedContext, Format};
use crate::limits::{LINE_BYTES_MAX, TEXT_BYTES_MAX};
use std::sync::Arc;

fn decode(text: &str) -> Batch {
    let mut batch = Batch::default();
    decoder(&Format::Ndjson).decode(text.as_bytes().to_vec(), None, &mut batch);
    batch
}

fn event(members: &str) -> (CallEvent, Batch) {
    let batch = decode(&format!("{{\"time\":1767225600000,{members}}}\n"));
    assert_eq!(batch.rejects, [], "{members}");
    (batch.events[0], batch)
}

fn reason(line: &str) -> Option<Reject> {
    decode(line).rejects.first().map(|r| r.reason)
}

fn context() -> FeedContext {
    FeedContext::file(Arc::new(Names::new()), DialPlan::default())
}

#[test]
fn a_line_of_the_workload_becomes_its_event() {
    let batch = decode(
        "{\"time\":1767225600123,\"kind\":\"cdr\",\"call_id\":\"0a1b-7@sbc01.example.net\",\"direction\":\"inbound\",\
         \"caller\":\"+46700001234\",\"callee\":\"+12100000001\",\"trunk\":\"trk-07\",\"source_ip\":\"10.7.1.2\",\
         \"status\":\"answered\",\"sip_code\":200,\"duration\":12.345}\n",
    );
    assert_eq!(
        property::describe(&batch, &batch.events[0]),
        "2026-01-01T00:00:00.123Z cdr direction=inbound caller=+46700001234 callee=+12100000001 status=answered \
         duration=12.345 sip_code=200 source_ip=10.7.1.2 trunk=trk-07 call_id=0a1b-7@sbc01.example.net 0/0"
    );
    assert_eq!(batch.events[0].caller.number.to_string(), "+46700001234");
}

#[test]
fn keys_come_in_any_order_with_any_spacing_and_escapes() {
    let lines = "{\"caller\":\"+4670\",\"time\":1767225600}\n\
                 {\"time\":1767225600,\"caller\":\"+4670\"}\r\n\
                 \t{ \"time\" : 1767225600 , \"caller\" : \"+4670\" } \n\
                 {\"\\u0074ime\":1767225600,\"caller\":\"\\u002b4670\"}\n\
                 {\"x\":[{\"time\":1},[]],\"time\":1767225600,\"caller\":\"+4670\",\"y\":null}";
    let batch = decode(lines);
    assert_eq!(batch.rejects, []);
    assert_eq!(batch.events.len(), 5);
    for event in &batch.events {
        assert_eq!(event.time.0, 1_767_225_600_000);
        assert_eq!(batch.text(event.caller.raw), b"+4670");
        assert_eq!(event.caller.number.to_string(), "+4670");
    }
}

#[test]
fn escapes_become_the_characters_they_stand_for() {
    let (event, batch) = event(r#""caller_name":"\"J\u00f6rg\" \ud83d\ude00\/\\\n","trunk":"t""#);
    assert_eq!(batch.text(event.caller_name), "\"Jörg\" 😀/\\\n".as_bytes());
    assert_eq!(batch.text(event.trunk), b"t");
    for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\x""#, r#""\u12""#, "\"\t\""] {
        assert_eq!(reason(&format!("{{\"time\":1,\"trunk\":{bad}}}")), Some(Reject::Malformed), "{bad}");
    }
}

#[test]
fn each_misfit_has_its_reason() {
    for (members, expected) in [
        (r#""caller":46701234567"#, Reject::NumberNotText),
        (r#""caller":true"#, Reject::WrongType),
        (r#""call_id":7"#, Reject::WrongType),
        (r#""duration":"12""#, Reject::WrongType),
        (r#""duration":-1"#, Reject::BadValue),
        (r#""duration":{}"#, Reject::WrongType),
        (r#""sip_code":200.5"#, Reject::BadValue),
        (r#""sip_code":70000"#, Reject::BadValue),
        (r#""anonymous":1"#, Reject::WrongType),
        (r#""anonymous":"yes""#, Reject::WrongType),
        (r#""kind":"ringing""#, Reject::UnknownKind),
        (r#""source_ip":"10.0.0""#, Reject::BadValue),
        (r#""time":"yesterday""#, Reject::BadTime),
        (r#""time":1767225600.5"#, Reject::BadTime),
        (r#""time":true"#, Reject::WrongType),
        (r#""time":null"#, Reject::NoTime),
        (r#""trunk":"x"#, Reject::Malformed),
        (r#""trunk":"x",}"#, Reject::Malformed),
        (r#""duration":01"#, Reject::Malformed),
    ] {
        let line = format!("{{\"time\":1767225600,{members}}}");
        assert_eq!(reason(&line), Some(expected), "{line}");
    }
    for (line, expected) in [
        ("[1]", Reject::NotAnObject),
        ("\"x\"", Reject::NotAnObject),
        ("{}", Reject::NoTime),
        ("{\"time\":1}x", Reject::Malformed),
        ("{\"time\":1", Reject::Malformed),
        ("\u{feff}{\"time\":1}", Reject::Malformed),
        ("nonsense", Reject::Malformed),
    ] {
        assert_eq!(reason(line), Some(expected), "{line}");
    }
}

#[test]
fn texts_have_bounds() {
    let id = |len: usize| format!("{{\"time\":1,\"call_id\":\"{}\"}}", "x".repeat(len));
    assert_eq!((reason(&id(255)), reason(&id(256))), (None, Some(Reject::FieldTooLong)));
    let name = |len: usize| format!("{{\"time\":1,\"caller_name\":\"{}\"}}", "x".repeat(len));
    assert_eq!((reason(&name(TEXT_BYTES_MAX)), reason(&name(TEXT_BYTES_MAX + 1))), (None, Some(Reject::FieldTooLong)));
    let line = |len: usize| format!("{{\"time\":1,\"x\":\"{}\"}}", "x".repeat(len - 17));
    assert_eq!(line(100).len(), 100);
    assert_eq!(reason(&line(LINE_BYTES_MAX)), None);
    assert_eq!(reason(&line(LINE_BYTES_MAX + 1)), Some(Reject::LineTooLong));
}

#[test]
fn a_bad_line_costs_no_neighbour_and_tells_its_place_and_seq() {
    let mut block = b"{\"time\":1,\"seq\":1}\nnoise\n\n{\"caller\":1,\"time\":1,\"seq\":3}\n".to_vec();
    block.extend_from_slice(
        b"{\"time\":1,\"seq\":4}\n{\"time\":1,\"trunk\":\"\xff\",\"seq\":5}\n{\"time\":1,\"seq\":6}",
    );
    let mut batch = Batch::default();
    decoder(&Format::Ndjson).decode(block, None, &mut batch);
    assert_eq!(batch.events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 4, 6]);
    let rejects: Vec<_> = batch.rejects.iter().map(|r| (r.before, r.seq, r.reason)).collect();
    assert_eq!(rejects, [(1, 0, Reject::Malformed), (1, 3, Reject::NumberNotText), (2, 5, Reject::NotUtf8)]);
}

#[test]
fn the_last_of_two_values_counts_and_null_takes_back() {
    let (event, batch) =
        event(r#""caller":"+1","caller":"+46701","trunk":"x","trunk":null,"sip_code":200,"sip_code":"""#);
    assert_eq!(batch.text(event.caller.raw), b"+46701");
    assert!(event.trunk.is_absent());
    assert_eq!(event.sip_code, 0);
}

#[test]
fn a_number_is_that_of_the_last_value_whatever_came_before() {
    for (last, number) in [("\"4711\"", "4711"), ("\"anonymous\"", ""), ("null", ""), ("\"+4670222\"", "+4670222")] {
        let line = format!("{{\"time\":1767225600,\"caller\":\"+4670111\",\"caller\":{last},\"duration\":1.5}}\n");
        let batch = decode(&line.repeat(3));
        assert_eq!(batch.events.len(), 3);
        for event in &batch.events {
            assert_eq!(event.caller.number.to_string(), number, "{last}");
            assert_eq!(event.caller.number.is_absent(), last == "null");
            assert_eq!(event.duration_ms, 1500);
        }
    }
}

#[test]
fn decimals_of_every_length_are_read_alike_whether_keys_are_remembered_or_not() {
    for (duration, ms) in [
        ("0", 0),
        ("7", 7000),
        ("999999", 999_999_000),
        ("1000000", 1_000_000_000),
        ("0.001", 1),
        ("12.5", 12_500),
        ("244.243", 244_243),
        ("1.0005", 1001),
        ("1e2", 100_000),
        ("999999.999", 999_999_999),
        ("0.25e1", 2500),
    ] {
        let line = format!("{{\"time\":1767225600,\"duration\":{duration},\"sip_code\":200,\"trunk\":\"t\"}}\n");
        let batch = decode(&line.repeat(2));
        assert_eq!(
            batch.events.iter().map(|e| (e.duration_ms, e.sip_code)).collect::<Vec<_>>(),
            [(ms, 200); 2],
            "{line}"
        );
    }
    for bad in ["00", "01", "1.", "1.5.5", "12a", "1.123x", "200 1"] {
        let line = format!(
            "{{\"time\":1767225600,\"duration\":1}}\n{{\"time\":1767225600,\"duration\":{bad},\"trunk\":\"text\"}}\n"
        );
        assert_eq!(reason(&line), Some(Reject::Malformed), "{bad}");
    }
}

#[test]
fn what_is_unknown_is_counted_and_no_error() {
    let mut decoder = decoder(&Format::Ndjson);
    let lines = b"{\"time\":1,\"a\":1,\"b\":{\"c\":[]}}\n{\"time\":1,\"status\":\"gone\",\"direction\":\"up\"}\n";
    decoder.decode(lines.to_vec(), None, &mut Batch::default());
    assert_eq!(decoder.take_counts(), Counts { unknown_fields: 1, unknown_words: 2, ..Counts::default() });
    assert_eq!(decoder.take_counts(), Counts::default());
}

#[test]
fn a_time_in_the_future_is_clamped_to_arrival_where_there_is_one() {
    let arrival = Timestamp(1_000_000_000_000);
    for (ahead_ms, clamped) in [(0, false), (5_000, false), (5_001, true)] {
        let mut batch = Batch::default();
        let line = format!("{{\"time\":{}}}", arrival.0 + ahead_ms);
        decoder(&Format::Ndjson).decode(line.clone().into_bytes(), Some(arrival), &mut batch);
        assert_eq!(batch.events[0].flags.has(Flags::FUTURE), clamped);
        assert_eq!(batch.events[0].time == arrival, clamped || ahead_ms == 0);
        decoder(&Format::Ndjson).decode(line.into_bytes(), None, &mut batch);
        assert_eq!(batch.events[0].time, arrival.plus_ms(ahead_ms));
    }
}

#[test]
fn the_customer_is_the_events_own_else_the_feeds_else_the_trunks() {
    let line = b"{\"time\":1,\"customer\":\"acme\",\"trunk\":\"t1\",\"gateway\":\"g\"}\n{\"time\":1,\"trunk\":\"t1\"}\n{\"time\":1}";
    let customers = |set: &dyn Fn(&mut FeedContext)| {
        let mut context = context();
        let feed = context.names.customer("feed").unwrap();
        assert_eq!(context.names.customer("acme"), Some(CustomerId(2)));
        assert_eq!(feed, CustomerId(1));
        set(&mut context);
        let mut batch = Batch::default();
        Decoder::new(&Format::Ndjson, Arc::new(context)).decode(line.to_vec(), None, &mut batch);
        batch.events.iter().map(|e| e.customer.0).collect::<Vec<_>>()
    };
    assert_eq!(customers(&|_| {}), [2, 0, 0]);
    assert_eq!(customers(&|c| c.customer = Some(CustomerId(1))), [2, 1, 1]);
    let trunks = |c: &mut FeedContext| {
        c.customer_from_event = false;
        c.trunks.insert((*b"t1").into(), CustomerId(1));
    };
    assert_eq!(customers(&trunks), [1, 1, 0]);
}

#[test]
fn the_gateway_is_the_hellos_and_in_files_the_events_own() {
    let line = b"{\"time\":1,\"gateway\":\"g\"}\n{\"time\":1}";
    let mut batch = Batch::default();
    decoder(&Format::Ndjson).decode(line.to_vec(), None, &mut batch);
    assert_eq!(batch.events.iter().map(|e| e.gateway.0).collect::<Vec<_>>(), [1, 0]);
    let mut decoder = Decoder::new(&Format::Ndjson, Arc::new(FeedContext { gateway_from_event: false, ..context() }));
    decoder.greet(GatewayId(9), true);
    decoder.decode(b"{\"time\":1,\"gateway\":\"g\",\"seq\":1}\n{\"time\":1}".to_vec(), None, &mut batch);
    assert_eq!(batch.events[0].gateway, GatewayId(9));
    assert_eq!(batch.rejects[0].reason, Reject::NoSeq);
}

fn json_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        (0u32..5000, 0u32..100_000).prop_map(|(a, b)| format!("{a}.{b:05}")),
        (0i64..2_000_000_000_000).prop_map(|n| n.to_string()),
        (-20i32..20).prop_map(|e| format!("2.5e{e}")),
        "[ -~åß😀]{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        "[+0-9]{1,15}".prop_map(|s| format!("\"{s}\"")),
        proptest::sample::select(&[
            "answered", "inbound", "cdr", "end", "A", "none", "10.1.2.3", "::1", "2026-03-02T10:00:00Z", "caller",
        ][..]).prop_map(|s| format!("\"{s}\"")),
        Just(r#""\u0041\ud83d\ude00\n""#.to_owned()),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(" , "))),
            proptest::collection::vec(("[a-z]{1,4}", inner), 0..3).prop_map(|v| {
                let members: Vec<_> = v.iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn json_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => proptest::sample::select(crate::ingest::WireField::ALL).prop_map(|f| f.as_str().to_owned()),
        1 => "[a-z]{1,20}",
    ];
    let time = prop_oneof![4 => Just("\"time\":1767225600123".to_owned()), 1 => Just("\"x\":0".to_owned())];
    (time, proptest::collection::vec((name, json_value()), 0..8)).prop_map(|(time, members)| {
        let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{{{}}}", [vec![time], members].concat().join(","))
    })
}

proptest! {
    #[test]
    fn every_object_is_read_as_serde_json_reads_it(lines in proptest::collection::vec(json_line(), 1..6)) {
        property::ndjson_agrees_with_serde(lines.join("\n").as_bytes());
    }

    #[test]
    fn damaged_lines_are_judged_as_serde_json_judges_them(
        line in json_line(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut line = line.into_bytes();
        let at = at.index(line.len());
        if cut { line.remove(at); } else { line[at] = byte; }
        property::ndjson_agrees_with_serde(&line);
    }

    #[test]
    fn any_bytes_are_taken_however_they_are_split(
        bytes in proptest::collection::vec(prop_oneof![
            any::<u8>(), Just(b'\n'), Just(b'"'), Just(b'{'), Just(b'}'), Just(b','), Just(b'\\')], 0..400),
    ) {
        property::splitting_changes_nothing(&Format::Ndjson, &bytes);
    }
}
