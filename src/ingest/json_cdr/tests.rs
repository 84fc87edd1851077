//! Records as FreeSWITCH and CGRateS write them, and what becomes of them.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::event::{Batch, CallType, Flags};
use crate::ingest::Format;
use crate::ingest::property::{decoder, describe, json_cdr_holds};
use crate::limits::JSON_CDR_BYTES_MAX;

fn decode(stream: &str) -> Batch {
    let mut batch = Batch::default();
    decoder(&Format::JsonCdr).decode(stream.as_bytes().to_vec(), None, &mut batch);
    batch
}

/// Every event and reject of a stream, with what golden lines leave out.
fn told(batch: &Batch) -> String {
    let mut lines = String::new();
    for event in &batch.events {
        lines += &describe(batch, event);
        if event.call_type != CallType::Unknown {
            lines += &format!(" type={}", event.call_type.as_str());
        }
        lines += "\n";
    }
    for reject in &batch.rejects {
        lines += &format!("{} before {}\n", reject.reason.as_str(), reject.before);
    }
    lines
}

#[track_caller]
fn check(stream: &str, expected: Expect) {
    expected.assert_eq(&told(&decode(stream)));
}

/// A record of FreeSWITCH with these variables.
fn channel(variables: &str) -> String {
    format!(r#"{{"core-uuid":"c","switchname":"fs1","variables":{{{variables}}}}}"#)
}

const TIMES: &str = r#""start_uepoch":"1767225600000000","progress_uepoch":"1767225601500000",
    "answer_uepoch":"1767225604000400","end_uepoch":"1767225614000900","billmsec":"10000","mduration":"14001""#;
const UNANSWERED: &str = r#""start_epoch":"1767225600","start_uepoch":"1767225600000000","answer_uepoch":"0",
    "end_uepoch":"1767225607500000","billsec":"0","duration":"7""#;

#[test]
fn the_record_of_a_real_switch_is_read_whole() {
    let place = std::env::var_os("RINGFENCE_SHARED")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), Into::into);
    let path = place.join("data/cdr/freeswitch/json_cdr_body.json");
    let Ok(record) = std::fs::read_to_string(&path) else {
        eprintln!("NOT RUN: no real record at {} (set RINGFENCE_SHARED)", path.display());
        return;
    };
    // 1001 called 1002 on the same switch, rang 60 ms later, talked 67.54 s, and 1002 hung up.
    let real = expect![[r#"
        2018-01-11T10:26:55.494Z cdr direction=internal caller=1001 callee=1002 status=answered duration=67.540 ring=3.360 setup=0.060 sip_code=200 q850=16 hangup_by=callee source_ip=10.10.10.100 trunk=internal caller_name=1001 call_id=818e26f805701988c1a330175d7d2629@0:0:0:0:0:0:0:0 domain=10.10.10.204 user_agent=Jitsi2.10.5550Linux 0/1
    "#]];
    check(&record, real);
}

#[test]
fn a_call_of_a_user_who_has_logged_in_goes_out_whatever_the_channel_says() {
    check(
        &channel(&format!(
            r#"{TIMES},"uuid":"u1","direction":"inbound","sip_call_id":"c1@x","sip_from_user":"1001","sip_authorized":"true",
            "sip_auth_username":"1001","user_name":"1001","accountcode":"acme-17","sip_req_user":"+46700000001",
            "sip_network_ip":"192.0.2.7","sip_user_agent":"Phone 1.2","hangup_cause":"NORMAL_CLEARING",
            "hangup_cause_q850":"16","sip_term_status":"200","sip_hangup_disposition":"recv_bye","bridge_uuid":"u2""#
        )),
        expect![[r#"
            2026-01-01T00:00:14.000Z cdr direction=outbound caller=1001 callee=+46700000001 status=answered duration=10.000 ring=2.501 setup=1.500 sip_code=200 q850=16 hangup_by=caller source_ip=192.0.2.7 account=acme-17 extension=1001 call_id=c1@x user_agent=Phone 1.2 0/1
        "#]],
    );
}

#[test]
fn values_may_be_escaped_or_not_and_mean_the_same() {
    let plain = channel(&format!(
        r#"{TIMES},"channel_name":"sofia/external/a@b","direction":"inbound","sip_call_id":"9f 2c@[2001:db8::1]",
        "sip_from_user":"+4670","sip_req_user":"+4684000001","sip_user_agent":"Ünit 5%"{}"#,
        ""
    ));
    let escaped = channel(&format!(
        r#"{TIMES},"channel_name":"sofia/external/a%40b","direction":"inbound","sip_call_id":"9f%202c%40%5B2001%3Adb8%3A%3A1%5D",
        "sip_from_user":"%2B4670","sip_req_user":"%2B4684000001","sip_user_agent":"%C3%9Cnit%205%25"{}"#,
        ""
    ));
    assert_eq!(told(&decode(&plain)), told(&decode(&escaped)));
    check(
        &escaped,
        expect![[r#"
            2026-01-01T00:00:14.000Z cdr direction=inbound caller=+4670 callee=+4684000001 status=answered duration=10.000 ring=2.501 setup=1.500 call_id=9f 2c@[2001:db8::1] user_agent=Ünit 5% 0/1
        "#]],
    );
}

#[test]
fn a_leg_that_another_channel_called_out_is_leg_b_of_its_callers_channel() {
    let called_out = r#""uuid":"u2","direction":"outbound","sip_call_id":"c2@x","hangup_cause":"NORMAL_CLEARING""#;
    let leg = |more: &str| {
        let batch = decode(more);
        let event = batch.events.first().unwrap_or_else(|| panic!("{:?}", batch.rejects));
        let text = |t| String::from_utf8(batch.text(t).to_vec()).unwrap();
        (text(event.leg), text(event.call_id))
    };
    let flow = |more: &str| {
        let record = channel(&format!("{TIMES},{called_out},\"signal_bond\":\"u1\""));
        let open = record.strip_suffix('}').unwrap().to_owned();
        open + &format!(r#","callflow":[{{"caller_profile":{{"uuid":"u2"{more}}}}}]}}"#)
    };
    let b = |id: &str| ("b".to_owned(), id.to_owned());
    assert_eq!(leg(&flow(r#","originator":{"originator_caller_profiles":[{"uuid":"u1","originator":{}}]}"#)), b("u1"));
    assert_eq!(leg(&channel(&format!("{TIMES},{called_out},\"call_uuid\":\"u1\""))), b("u1"));
    assert_eq!(leg(&channel(&format!("{TIMES},{called_out},\"originating_leg_uuid\":\"u1\""))), b("u1"));
    assert_eq!(leg(&channel(&format!("{TIMES},{called_out},\"signal_bond\":\"u1\""))), b("u1"));
    // Calls that the switch makes by itself begin with a leg that nobody called out.
    assert_eq!(leg(&flow("")), (String::new(), "c2@x".to_owned()));
    assert_eq!(
        leg(&channel(&format!("{TIMES},{called_out},\"call_uuid\":\"u2\""))),
        (String::new(), "c2@x".to_owned())
    );
    let caller = r#""uuid":"u1","direction":"inbound","signal_bond":"u2","call_uuid":"u1""#;
    assert_eq!(leg(&channel(&format!("{TIMES},{caller}"))), (String::new(), "u1".to_owned()));
}

#[test]
fn calls_that_nobody_answered_say_why_by_their_cause() {
    for (more, status) in [
        (r#""hangup_cause":"USER_BUSY","sip_term_status":"486""#, "busy"),
        (r#""hangup_cause":"NO_ANSWER""#, "no_answer"),
        (r#""hangup_cause":"ORIGINATOR_CANCEL""#, "cancelled"),
        (r#""hangup_cause":"NORMAL_CLEARING","sip_hangup_disposition":"recv_cancel""#, "cancelled"),
        (r#""hangup_cause":"CALL_REJECTED""#, "rejected"),
        (r#""hangup_cause":"UNALLOCATED_NUMBER","hangup_cause_q850":"1""#, "failed"),
        (r#""hangup_cause":"NORMAL_CLEARING","last_bridge_hangup_cause":"USER_BUSY""#, "busy"),
        (r#""hangup_cause":"NORMAL_CLEARING","originate_disposition":"NO_ANSWER""#, "no_answer"),
        (r#""hangup_cause":"NORMAL_CLEARING","originate_disposition":"SUCCESS""#, "no_answer"),
        (r#""hangup_cause_q850":"17""#, "busy"),
        (r#""sip_invite_failure_status":"603""#, "rejected"),
    ] {
        let batch = decode(&channel(&format!("{UNANSWERED},{more}")));
        let event = batch.events.first().unwrap_or_else(|| panic!("{more}: {:?}", batch.rejects));
        assert_eq!(event.status.as_str(), status, "{more}");
        assert_eq!((event.duration_ms, event.ring_ms), (0, 7000), "{more}");
    }
}

#[test]
fn directions_are_the_customers() {
    for (more, direction) in [
        (r#""direction":"inbound""#, "inbound"),
        (r#""direction":"outbound""#, "outbound"),
        (r#""direction":"inbound","sip_gateway":"carrier","dialed_user":"1001""#, "inbound"),
        (r#""direction":"inbound","user_name":"1001""#, "outbound"),
        (r#""direction":"inbound","user_name":"1001","dialed_user":"1002""#, "internal"),
        (r#""direction":"inbound","dialed_user":"1002","dialed_domain":"pbx","sip_from_host":"pbx""#, "internal"),
        (r#""direction":"inbound","dialed_user":"1002","dialed_domain":"pbx","sip_from_host":"carrier""#, "inbound"),
        (r#""direction":"inbound","user_name":"1001","call_direction":"inbound""#, "inbound"),
        (r#""direction":"inbound","call_direction":"local""#, "internal"),
        (r#""direction":"inbound","call_direction":"sideways""#, "inbound"),
        (r#""hangup_cause":"NONE""#, "unknown"),
    ] {
        let batch = decode(&channel(&format!("{TIMES},{more}")));
        assert_eq!(batch.events.first().map(|e| e.direction.as_str()), Some(direction), "{more}");
    }
}

#[test]
fn after_a_transfer_the_callee_is_still_the_number_that_was_dialled() {
    let record = r#"{"variables":{"end_epoch":"1767225614","uuid":"u1"},"callflow":[
        {"caller_profile":{"caller_id_number":"1001","destination_number":"park","rdnis":"112"},"times":{"hangup_time":"1767225614000900","answered_time":"1767225604000000","created_time":"1767225600000000"}},
        {"caller_profile":{"caller_id_number":"1001","destination_number":"112","rdnis":"","uuid":"u1","network_addr":"192.0.2.9"},"times":{"hangup_time":"0","answered_time":"0","created_time":"1767225600000000"}}]}"#;
    check(
        record,
        expect![[r#"
            2026-01-01T00:00:14.000Z cdr caller=1001 callee=112 status=answered duration=10.001 ring=4.000 source_ip=192.0.2.9 call_id=u1 0/0
        "#]],
    );
    assert!(decode(record).events[0].flags.has(Flags::EMERGENCY));
}

#[test]
fn identities_privacy_and_diversion_are_those_of_the_headers() {
    check(
        &channel(&format!(
            r#"{TIMES},"sip_from_user":"anonymous","sip_P-Asserted-Identity":"\"A\" <sip:+46700000002@x>","sip_Privacy":"id",
            "sip_h_Diversion":"<sip:+46700000003@x>;reason=unconditional","sip_req_user":"+46700000001",
            "sip_verstat":"TN-Validation-Passed","customer":"acme","sip_gateway":"carrier-1","sip_call_id":"c@x""#
        )),
        expect![[r#"
            2026-01-01T00:00:14.000Z cdr direction=inbound caller=anonymous callee=+46700000001 asserted="A" <sip:+46700000002@x> diverting=<sip:+46700000003@x>;reason=unconditional status=answered duration=10.000 ring=2.501 setup=1.500 anonymous=yes trunk=carrier-1 call_id=c@x 1/1
        "#]],
    );
    let several = r#""sip_P-Asserted-Identity":"ARRAY::<sip:+4670@x>|:<tel:+4671>""#;
    let batch = decode(&channel(&format!("{TIMES},{several}")));
    assert_eq!(batch.text(batch.events[0].asserted.raw), b"<sip:+4670@x>");
    let batch = decode(&channel(&format!(r#"{TIMES},"sip_verstat":"TN-Validation-Passed","sip_Privacy":"none""#)));
    assert_eq!(batch.events[0].attestation.as_str(), "A");
    assert!(!batch.events[0].flags.has(Flags::ANONYMOUS));
}

#[test]
fn who_hung_up_is_told_by_which_way_the_last_request_went() {
    for (more, by) in [
        (r#""sip_hangup_disposition":"recv_bye","bridge_uuid":"u2""#, "caller"),
        (r#""sip_hangup_disposition":"send_bye","bridge_uuid":"u2""#, "callee"),
        (r#""sip_hangup_disposition":"send_bye""#, "network"),
        (r#""sip_hangup_disposition":"send_bye","bridge_uuid":"u2","hangup_cause":"ALLOTTED_TIMEOUT""#, "network"),
        (r#""sip_hangup_disposition":"recv_bye","direction":"outbound""#, "callee"),
        (r#""hangup_cause":"NORMAL_CLEARING""#, "unknown"),
    ] {
        let batch = decode(&channel(&format!("{TIMES},{more}")));
        assert_eq!(batch.events.first().map(|e| e.hangup_by.as_str()), Some(by), "{more}");
    }
}

const CGRATES: &str = r#"{"CGRID":"1","RunID":"*default","OrderID":7,"OriginHost":"10.0.0.5","Source":"x","OriginID":"dsafdsaf",
    "ToR":"*voice","RequestType":"*rated","Tenant":"cgrates.org","Category":"call","Account":"1001","Subject":"1001",
    "Destination":"+4986517174963","SetupTime":"2026-01-01T00:00:00Z","AnswerTime":"2026-01-01T00:00:05.25Z","Usage":10000000000,
    "ExtraFields":{"Supplier":"carrier-1","DisconnectCause":"16","any":{"x":1}},"Cost":1.01}"#;

#[test]
fn a_record_of_cgrates_is_read_bare_and_in_its_envelope() {
    let enveloped = format!(r#"{{"Tenant":"other","ID":"1","Event":{CGRATES}}}"#);
    assert_eq!(told(&decode(CGRATES)), told(&decode(&enveloped)));
    check(
        CGRATES,
        expect![[r#"
            2026-01-01T00:00:15.250Z cdr caller=1001 callee=+4986517174963 status=answered duration=10.000 ring=5.250 q850=16 trunk=carrier-1 account=1001 call_id=dsafdsaf 1/1 type=voice
        "#]],
    );
    assert_eq!(decode(CGRATES).events[0].cost, 10_100);
}

#[test]
fn what_cgrates_leaves_out_or_writes_otherwise_is_understood() {
    let zero = r#""0001-01-01T00:00:00Z""#;
    let unanswered = CGRATES.replace(r#""2026-01-01T00:00:05.25Z""#, zero).replace("10000000000", "\"0s\"");
    let other_run = CGRATES.replace("*default", "supplier1").replace("1.01", "-1").replace("10000000000", "\"1m30s\"");
    let busy = unanswered.replace("\"16\"", "\"486 Busy Here\"").replace("*voice", "*data");
    let sms = unanswered.replace("*voice", "*sms");
    check(
        &[unanswered, other_run, busy, sms].join("\n"),
        expect![[r#"
            2026-01-01T00:00:00.000Z cdr caller=1001 callee=+4986517174963 status=no_answer duration=0.000 q850=16 trunk=carrier-1 account=1001 call_id=dsafdsaf 1/1 type=voice
            2026-01-01T00:01:35.250Z cdr caller=1001 callee=+4986517174963 status=answered duration=90.000 ring=5.250 q850=16 trunk=carrier-1 account=1001 call_id=dsafdsaf leg=b 1/1 type=voice
            2026-01-01T00:00:00.000Z cdr caller=1001 callee=+4986517174963 status=busy duration=0.000 sip_code=486 trunk=carrier-1 account=1001 call_id=dsafdsaf 1/1 type=data
            2026-01-01T00:00:00.000Z message caller=1001 callee=+4986517174963 duration=0.000 q850=16 trunk=carrier-1 account=1001 call_id=dsafdsaf 1/1
        "#]],
    );
}

#[test]
fn values_that_do_not_fit_reject_the_record_and_no_other() {
    for (record, reason) in [
        (channel(r#""end_epoch":"soon""#), "bad_time"),
        (channel(r#""sip_from_user":"1""#), "no_time"),
        (channel(r#""end_uepoch":"18446744073709551615""#), "bad_time"),
        (channel(&format!(r#"{TIMES},"sip_from_user":["1"]"#)), "wrong_type"),
        (channel(&format!(r#"{TIMES},"sip_from_user":4670"#)), "number_not_text"),
        (channel(&format!(r#"{TIMES},"hangup_cause_q850":"300""#)), "bad_value"),
        (channel(&format!(r#"{TIMES},"sip_user_agent":"{}""#, "x".repeat(1025))), "field_too_long"),
        (channel(&format!(r#"{TIMES},"sip_call_id":"{}""#, "x".repeat(256))), "field_too_long"),
        (CGRATES.replace("10000000000", "\"ten\""), "bad_value"),
        (CGRATES.replace("2026-01-01T00:00:05.25Z", "later"), "bad_time"),
        ("{}".into(), "no_time"),
        (r#"{"variables":{"a":tru}}"#.into(), "malformed"),
        ("{\"variables\":{\"a\":\"\u{1}\"}}".into(), "malformed"),
        (r#"{"variables":{"#.into(), "malformed"),
        ("GET / HTTP/1.1".into(), "malformed"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(JSON_CDR_BYTES_MAX)), "line_too_long"),
    ] {
        let stream = format!("{CGRATES}\n{record}\n{CGRATES}\n");
        let batch = decode(&stream);
        let reasons: Vec<_> = batch.rejects.iter().map(|r| (r.before, r.reason.as_str())).collect();
        assert_eq!(reasons, [(1, reason)], "{}", record.get(..200).unwrap_or(&record));
        assert_eq!(batch.events.len(), 2, "{record}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_reject_their_record_alone() {
    let mut stream = channel(&format!("{TIMES},\"sip_from_display\":\"J?rgen\"")).into_bytes();
    let at = stream.iter().position(|b| *b == b'?').unwrap();
    stream[at] = 0xf6;
    stream.extend_from_slice(CGRATES.as_bytes());
    let mut batch = Batch::default();
    decoder(&Format::JsonCdr).decode(stream, None, &mut batch);
    assert_eq!((batch.events.len(), batch.rejects[0].reason.as_str()), (1, "not_utf8"));
}

proptest! {
    // Some streams are long.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn records_are_the_same_however_the_stream_is_split(
        cut in any::<u8>(),
        stream in proptest::collection::vec(prop_oneof![
            4 => Just(CGRATES.to_owned()), 4 => Just(channel(TIMES)), 2 => Just(channel(UNANSWERED)),
            4 => proptest::sample::select(vec!["\n", " ", "{", "}", "\"", ",", "[", "]", ":", "\\", "1", "{\"a\":", "[{}"])
                .prop_map(str::to_owned),
            1 => (0..CGRATES.len()).prop_map(|len| CGRATES.get(..len).unwrap_or_default().to_owned()),
            1 => Just(format!("{{\"a\":\"{}", "x".repeat(JSON_CDR_BYTES_MAX - 6))),
        ], 0..12),
    ) {
        json_cdr_holds(&[&[cut], stream.concat().as_bytes()].concat());
    }

    #[test]
    fn any_values_of_known_members_give_an_event_or_a_reject(
        members in proptest::collection::vec((
            proptest::sample::select(vec!["end_uepoch", "end_epoch", "start_uepoch", "billmsec", "billsec", "duration", "mduration",
                "answer_epoch", "progress_uepoch", "hangup_cause", "hangup_cause_q850", "sip_term_status", "sip_network_ip",
                "sip_from_user", "sip_verstat", "nibble_total_billed", "Usage", "SetupTime", "AnswerTime", "Cost", "PDD"]),
            prop_oneof!["\"-?[0-9]{1,20}(\\.[0-9]{1,4})?\"", "-?[1-9][0-9]{0,18}", "\"[A-Z_%+ ]{0,9}\"", Just("null".to_owned()),
                Just("[[]]".to_owned()), Just("true".to_owned()), Just("1e99".to_owned()), Just("\"2026-01-01T00:00:00Z\"".to_owned())],
        ), 0..12),
        wrapped in any::<bool>(),
    ) {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let record = if wrapped { channel(&members.join(",")) } else { format!("{{{}}}", members.join(",")) };
        json_cdr_holds(format!("x{record}").as_bytes());
    }
}
