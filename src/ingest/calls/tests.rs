//! What becomes of calls as they are seen on the wire: each test is a flow, and what is told of it.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::ingest::sip;

/// Bytes of a message from a line: seconds, first line's words, and what differs from the usual.
///
/// `0.1 INVITE` is a request of the caller; `0.2 180` a response to it. Then, in any order: `cid=`, `cseq=`, `ft=` and
/// `tt=` (tags; `-` for none), `br=` (branch), `vias=`, `to=`, `auth`, `m=` (method of CSeq), `+Header: value` to the end.
fn message(line: &str) -> (Timestamp, Vec<u8>) {
    let (line, header) = line.split_once(" +").unwrap_or((line, ""));
    let mut words = line.split_whitespace();
    let seconds: f64 = words.next().unwrap().parse().unwrap();
    let first = words.next().unwrap();
    let is_response = first.parse::<u16>().is_ok();
    let rest: Vec<&str> = words.collect();
    let value = |name: &str| rest.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let method = value("m").unwrap_or(if is_response { "INVITE" } else { first });
    let to = value("to").unwrap_or("+46840001");
    let mut text = match is_response {
        true => format!("SIP/2.0 {first} Whatever\r\n"),
        false => format!("{first} sip:{to}@pbx.example SIP/2.0\r\n"),
    };
    let vias: usize = value("vias").map_or(1, |v| v.parse().unwrap());
    for i in 0..vias {
        let branch = if i == 0 { value("br").unwrap_or("z9hG4bK1") } else { "z9hG4bKearlier" };
        writeln!(text, "Via: SIP/2.0/UDP 10.0.0.{};branch={branch}\r", i + 1).unwrap();
    }
    let tag = |name, usual: &str| match value(name).unwrap_or(usual) {
        "-" | "" => String::new(),
        tag => format!(";tag={tag}"),
    };
    let in_dialog = matches!(first, "BYE" | "UPDATE" | "ACK") || is_response && first != "100";
    writeln!(text, "From: \"Anna\" <sip:+46700001@pbx.example>{}\r", tag("ft", "caller")).unwrap();
    writeln!(text, "To: <sip:{to}@pbx.example>{}\r", tag("tt", if in_dialog { "callee" } else { "" })).unwrap();
    writeln!(text, "Call-ID: {}\r", value("cid").unwrap_or("1@pbx")).unwrap();
    writeln!(text, "CSeq: {} {method}\r", value("cseq").unwrap_or("1")).unwrap();
    if rest.contains(&"auth") {
        text.push_str("Proxy-Authorization: Digest username=\"anna\", realm=\"x\", response=\"0\"\r\n");
    }
    if !header.is_empty() {
        writeln!(text, "{header}\r").unwrap();
    }
    text.push_str("\r\n");
    (Timestamp((seconds * 1000.0).round() as i64), text.into_bytes())
}

fn line(told: &Told<'_>) -> String {
    let Told { event, call_id, is_b_leg, parties } = told;
    let mut line = format!("{:.3} {}", event.time.0 as f64 / 1000.0, event.kind.as_str());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if *call_id != b"1@pbx" {
        write!(line, " {}", text(call_id)).unwrap();
    }
    if !matches!(event.kind, Kind::Attempt | Kind::Interim | Kind::Options | Kind::Message) {
        write!(line, " {} {}", event.status.as_str(), event.sip_code).unwrap();
    }
    for (name, ms) in [("setup", event.setup_ms), ("ring", event.ring_ms), ("duration", event.duration_ms)] {
        if ms != CallEvent::NO_TIME {
            write!(line, " {name}={}", f64::from(ms) / 1000.0).unwrap();
        }
    }
    if event.kind == Kind::End {
        write!(line, " by {}", event.hangup_by.as_str()).unwrap();
    }
    if event.q850 != 0 {
        write!(line, " q850={}", event.q850).unwrap();
    }
    for (name, party) in [("diverting", &parties.diverting), ("account", &parties.account)] {
        if !party.is_empty() {
            write!(line, " {name}={}", text(party)).unwrap();
        }
    }
    if event.flags.has(crate::event::Flags::AUTH_FAILED) {
        line.push_str(" auth_failed");
    }
    if *is_b_leg {
        line.push_str(" leg b");
    }
    line
}

fn see(table: &CallTable, flow: &str, correlation_id: &[u8], told: &mut Vec<String>) {
    for text in flow.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (time, bytes) = message(text);
        let message = sip::parse(&bytes).unwrap();
        let sight = Sight { time, customer: 0, source: None, destination: None, correlation_id, message: &message };
        table.settle(time, &mut Changes::default(), |t| told.push(line(&t)));
        table.see(&sight, &mut Changes::default(), |t| told.push(line(&t)));
    }
}

fn told(flow: &str) -> Vec<String> {
    let (table, mut told) = (CallTable::new(1), Vec::new());
    see(&table, flow, b"", &mut told);
    table.settle(Timestamp(i64::MAX), &mut Changes::default(), |t| told.push(line(&t)));
    told
}

fn check(flow: &str, expect: Expect) {
    expect.assert_eq(&told(flow).join("\n"));
}

#[test]
fn an_answered_call_is_one_attempt_one_answer_and_one_end() {
    check(
        "0 INVITE\n0.01 100\n0.5 180\n3.5 200\n3.6 ACK\n63.5 BYE cseq=2\n63.6 200 cseq=2 m=BYE",
        expect![[r#"
            0.000 attempt
            3.500 answer answered 200 setup=0.5 ring=3
            63.500 end answered 200 setup=0.5 ring=3 duration=60 by caller"#]],
    );
    check(
        "0 INVITE\n1 200\n9 BYE ft=callee tt=caller +Reason: Q.850;cause=31\n9.5 BYE ft=callee tt=caller",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            9.000 end answered 200 duration=8 by callee q850=31"#]],
    );
}

#[test]
fn what_is_sent_again_or_seen_behind_a_proxy_counts_once() {
    check(
        "0 INVITE\n0.002 INVITE vias=2 br=z9hG4bKproxy to=+46840002\n0.5 INVITE\n0.7 180 vias=2 br=z9hG4bKproxy
         0.71 180\n2 200 vias=2 br=z9hG4bKproxy\n2.001 200\n2.5 200\n5 BYE\n5.001 BYE vias=2\n5.5 BYE",
        expect![[r#"
            0.000 attempt
            2.000 answer answered 200 setup=0.7 ring=1.3
            5.000 end answered 200 setup=0.7 ring=1.3 duration=3 by caller"#]],
    );
}

#[test]
fn a_challenge_is_no_end_and_the_answer_to_it_no_second_attempt() {
    check(
        "0 INVITE\n0.1 407\n0.15 ACK\n0.2 INVITE cseq=2 br=z9hG4bK2 auth\n0.4 100 cseq=2 br=z9hG4bK2
         1 486 cseq=2 br=z9hG4bK2",
        expect![[r#"
            0.000 attempt
            1.000 end busy 486 duration=0 by callee account=anna"#]],
    );
    check(
        "0 INVITE\n0.1 401\n70 OPTIONS cid=2@pbx",
        expect![[r#"
            0.000 attempt
            0.100 end rejected 401 duration=0 by network
            70.000 options 2@pbx"#]],
    );
}

#[test]
fn forks_end_when_the_last_has_failed_and_by_the_answer_that_counts_most() {
    check(
        "0 INVITE br=a vias=2\n0 INVITE br=b vias=2\n0 INVITE br=c vias=2\n1 486 br=a vias=2\n2 404 br=b vias=2
         9 503 br=c vias=2\n12 OPTIONS cid=2@pbx",
        expect![[r#"
            0.000 attempt
            9.000 end busy 486 duration=0 by callee
            12.000 options 2@pbx"#]],
    );
    check(
        "0 INVITE br=a vias=2\n0 INVITE br=b vias=2\n1 486 br=a vias=2\n2 200 br=b vias=2 tt=two\n2.1 200 br=a vias=2 tt=one
         3 BYE tt=one\n8 BYE tt=two",
        expect![[r#"
            0.000 attempt
            2.000 answer answered 200
            8.000 end answered 200 duration=6 by caller"#]],
    );
}

#[test]
fn a_proxy_that_tries_one_callee_after_the_other_makes_one_attempt() {
    check(
        "0 INVITE br=a vias=2\n20 408 br=a vias=2\n20.01 INVITE br=b vias=2 to=+46840002\n21 180 br=b vias=2
         25 200 br=b vias=2\n30 BYE",
        expect![[r#"
            0.000 attempt
            25.000 answer answered 200 setup=21 ring=4
            30.000 end answered 200 setup=21 ring=4 duration=5 by caller"#]],
    );
}

#[test]
fn a_cancelled_call_ends_once_unless_an_answer_crosses_the_cancel() {
    check(
        "0 INVITE\n1 180\n5 CANCEL\n5.01 200 m=CANCEL\n5.02 487",
        expect![[r#"
            0.000 attempt
            5.020 end cancelled 487 setup=1 ring=4.02 duration=0 by caller"#]],
    );
    check(
        "0 INVITE\n5 CANCEL\n5.01 200\n5.02 200 m=CANCEL\n5.1 BYE",
        expect![[r#"
            0.000 attempt
            5.010 answer answered 200
            5.100 end answered 200 duration=0.09 by caller"#]],
    );
    check(
        "0 INVITE\n5 CANCEL",
        expect![[r#"
            0.000 attempt
            5.000 end cancelled 487 duration=0 by caller"#]],
    );
}

#[test]
fn a_redirected_call_is_a_new_attempt_that_says_who_diverted_it() {
    check(
        "0 INVITE\n1 302\n1.1 INVITE cseq=2 br=b to=+46840009\n2 200 cseq=2 br=b\n3 BYE cseq=3",
        expect![[r#"
            0.000 attempt
            1.000 end unknown 302 duration=0 by network
            1.100 attempt diverting=sip:+46840001@pbx.example
            2.000 answer answered 200 diverting=sip:+46840001@pbx.example
            3.000 end answered 200 duration=1 by caller diverting=sip:+46840001@pbx.example"#]],
    );
    check("0 INVITE +Referred-By: <sip:boss@pbx.example>", expect!["0.000 attempt diverting=sip:boss@pbx.example"]);
}

#[test]
fn within_a_call_nothing_is_another_call() {
    check(
        "0 INVITE\n1 200\n60 INVITE cseq=2 tt=callee\n60 INVITE cseq=2 tt=callee vias=2\n60.1 200 cseq=2\n90 UPDATE cseq=3\n99 INVITE ft=callee tt=caller cseq=7
         99.1 488 cseq=7\n100 BYE cseq=4",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            60.000 interim
            90.000 interim
            99.000 interim
            100.000 end answered 200 duration=99 by caller"#]],
    );
}

#[test]
fn messages_in_the_wrong_order_tell_the_same_call() {
    check(
        "5 BYE\n0 INVITE\n1 200",
        expect![[r#"
            0.000 attempt
            5.000 end answered 200 by unknown
            1.000 answer answered 200"#]],
    );
    check(
        "1 200\n0 INVITE\n5 BYE",
        expect![[r#"
            1.000 answer answered 200
            0.000 attempt
            5.000 end answered 200 duration=4 by caller"#]],
    );
    // Its CSeq is past that of the INVITE.
    check(
        "5 BYE cseq=2\n0 INVITE\n1 200",
        expect![[r#"
            0.000 attempt
            5.000 end answered 200 by unknown
            1.000 answer answered 200"#]],
    );
    check("5 BYE\n6 BYE", expect![""]);
}

#[test]
fn a_refusal_that_overtakes_its_invite_is_that_of_the_call() {
    check(
        "0.1 486\n0 INVITE\n0.1 ACK\n0.5 INVITE",
        expect![[r#"
            0.000 attempt
            0.100 end busy 486 duration=0 by callee"#]],
    );
    // The one on the caller's side counts, and a try is followed by another one.
    check(
        "0.1 503 vias=2\n0 INVITE vias=2\n0.2 407\n0 INVITE\n0.4 486 cseq=2 br=b\n0.3 INVITE cseq=2 br=b auth",
        expect![[r#"
            0.000 attempt
            0.400 end busy 486 duration=0 by callee"#]],
    );
    check("0.1 407\n0.4 INVITE cseq=2 auth", expect!["0.400 attempt account=anna"]);
    // Too old to be of the call, or of another request of the callee.
    check("0 486\n900 INVITE", expect!["900.000 attempt"]);
    check("0 INVITE\n9 488 cseq=7000 ft=callee tt=caller", expect!["0.000 attempt"]);
}

#[test]
fn what_the_last_try_is_answered_counts_and_not_why_there_was_another_one() {
    check(
        "0 INVITE\n0.1 422\n0.2 INVITE cseq=2 br=b ft=new\n3 486 cseq=2 br=b ft=new",
        expect![[r#"
            0.000 attempt
            3.000 end busy 486 duration=0 by callee"#]],
    );
}

#[test]
fn clocks_that_differ_make_no_call_end_before_it_begins() {
    check(
        "5 INVITE\n4.9 200\n4.8 BYE",
        expect![[r#"
            5.000 attempt
            5.000 answer answered 200
            5.000 end answered 200 duration=0 by caller"#]],
    );
    check(
        "5 INVITE\n4.9 486",
        expect![[r#"
            5.000 attempt
            5.000 end busy 486 duration=0 by callee"#]],
    );
    check(
        "0 INVITE\n9 180\n5 200\n10 BYE",
        expect![[r#"
            0.000 attempt
            5.000 answer answered 200 setup=5 ring=0
            10.000 end answered 200 setup=5 ring=0 duration=5 by caller"#]],
    );
}

#[test]
fn a_call_that_was_hung_up_was_not_redirected() {
    check(
        "0 INVITE vias=2 br=a\n0 INVITE vias=2 br=b\n1 302 vias=2 br=a\n9 BYE cseq=2\n9.1 INVITE cseq=3",
        expect![[r#"
            0.000 attempt
            9.000 end answered 200 by caller"#]],
    );
}

#[test]
fn a_call_id_that_is_used_again_hides_no_call() {
    check(
        "0 INVITE\n1 200\n2 BYE\n3 INVITE ft=other\n4 486 ft=other",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            2.000 end answered 200 duration=1 by caller
            3.000 attempt 1@pbx;2
            4.000 end 1@pbx;2 busy 486 duration=0 by callee"#]],
    );
}

#[test]
fn nobody_hangs_up_a_call_who_is_not_in_it() {
    let whole = ["0.000 attempt", "1.000 answer answered 200", "9.000 end answered 200 duration=8 by caller"];
    for flow in [
        "0 INVITE\n0.5 BYE ft=evil tt=evil\n1 200\n2 BYE ft=evil tt=evil\n9 BYE",
        "-1 BYE ft=evil tt=evil\n0 INVITE\n1 200\n9 BYE",
    ] {
        assert_eq!(told(flow), whole, "{flow}");
    }
}

#[test]
fn one_call_that_is_up_hides_no_others_of_its_call_id() {
    check(
        "0 INVITE\n1 200\n2 INVITE ft=x\n2 INVITE ft=x vias=2\n3 INVITE ft=y\n4 200 ft=x tt=ax\n5 486 ft=y tt=ay
         6 INVITE ft=z\n7 CANCEL ft=z\n7 487 ft=z tt=az\n8 INVITE ft=x tt=ax cseq=2\n9 BYE ft=ax tt=x\n10 BYE",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            2.000 attempt 1@pbx;2
            3.000 attempt 1@pbx;3
            4.000 answer 1@pbx;2 answered 200
            5.000 end 1@pbx;3 busy 486 duration=0 by callee
            6.000 attempt 1@pbx;4
            7.000 end 1@pbx;4 cancelled 487 duration=0 by caller
            8.000 interim 1@pbx;2
            9.000 end 1@pbx;2 answered 200 duration=5 by callee
            10.000 end answered 200 duration=9 by caller"#]],
    );
}

#[test]
fn a_call_id_that_is_used_again_long_after_its_call_is_a_new_call_whoever_looked_in_between() {
    for others in ["", "150 INVITE cid=2@pbx\n151 486 cid=2@pbx\n"] {
        let flow = format!("0 INVITE\n1 200\n2 BYE\n100 INVITE\n{others}200 INVITE\n1000 INVITE\n1001 200\n1003 BYE");
        let lines: Vec<String> = told(&flow).into_iter().filter(|line| !line.contains("2@pbx")).collect();
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            2.000 end answered 200 duration=1 by caller
            200.000 attempt
            800.000 end no_answer 408 duration=0 by network
            1000.000 attempt
            1001.000 answer answered 200
            1003.000 end answered 200 duration=2 by caller"#]]
        .assert_eq(&lines.join("\n"));
    }
}

#[test]
fn of_two_tags_the_last_counts_and_without_any_nobody_is_told_to_have_hung_up() {
    // As an IMS core had it: what the callee answered with two tags went on with the second.
    check(
        "0 INVITE vias=2\n1 200 vias=2 tt=one;tag=two\n1.5 200 tt=two\n9 BYE tt=two",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            9.000 end answered 200 duration=8 by caller"#]],
    );
    check(
        "0 INVITE ft=-\n1 200 ft=- tt=-\n9 BYE ft=- tt=-",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            9.000 end answered 200 duration=8 by unknown"#]],
    );
}

#[test]
fn credentials_of_an_old_nonce_are_not_refused() {
    check(
        "0 REGISTER auth\n0.1 401 m=REGISTER +WWW-Authenticate: Digest realm=\"x\", nonce=\"2\", stale=true
         0.2 REGISTER cseq=2 auth\n0.3 401 m=REGISTER cseq=2 +WWW-Authenticate: Digest realm=\"x\", nonce=\"3\", stale=false",
        expect![[r#"
            0.100 register unknown 401 account=anna
            0.300 register unknown 401 account=anna auth_failed"#]],
    );
}

#[test]
fn a_call_that_is_tried_again_after_it_was_given_up_is_another_call() {
    check(
        "0 INVITE\n0.1 407\n70 INVITE cseq=2 br=b auth\n71 200 cseq=2 br=b\n99 BYE cseq=3",
        expect![[r#"
            0.000 attempt
            0.100 end rejected 407 duration=0 by network
            70.000 attempt 1@pbx;2 account=anna
            71.000 answer 1@pbx;2 answered 200 account=anna
            99.000 end 1@pbx;2 answered 200 duration=28 by caller account=anna"#]],
    );
}

#[test]
fn a_registration_is_told_with_its_answer_and_only_refused_credentials_count_as_such() {
    check(
        "0 REGISTER\n0.1 401 m=REGISTER\n0.2 REGISTER cseq=2 auth\n0.3 200 m=REGISTER cseq=2\n0.4 200 m=REGISTER cseq=2
         9 REGISTER cseq=3 auth\n9.1 REGISTER cseq=3 auth\n9.2 403 m=REGISTER cseq=3",
        expect![[r#"
            0.100 register unknown 401
            0.300 register unknown 200 account=anna
            9.200 register unknown 403 account=anna auth_failed"#]],
    );
}

#[test]
fn guesses_that_do_not_count_up_are_told_each() {
    check(
        "0 REGISTER auth br=a\n0.1 403 m=REGISTER br=a\n0.2 REGISTER auth br=b\n0.3 403 m=REGISTER br=b",
        expect![[r#"
            0.100 register unknown 403 account=anna auth_failed
            0.300 register unknown 403 account=anna auth_failed"#]],
    );
    check(
        "0 REGISTER auth br=a\n0 REGISTER auth br=b\n0.1 403 m=REGISTER br=a\n0.2 403 m=REGISTER br=b
         0.3 REGISTER auth br=a\n0.4 REGISTER auth br=b\n0.5 403 m=REGISTER br=a\n0.5 403 m=REGISTER br=b",
        expect![[r#"
            0.100 register unknown 403 account=anna auth_failed
            0.200 register unknown 403 account=anna auth_failed"#]],
    );
    check("0 OPTIONS\n0.1 OPTIONS vias=2 br=p\n0.5 OPTIONS", expect!["0.000 options"]);
}

#[test]
fn a_second_leg_is_known_where_the_agent_says_whose_it_is() {
    let (table, mut lines) = (CallTable::new(1), Vec::new());
    see(&table, "0 INVITE", b"1@pbx", &mut lines);
    see(&table, "0.1 INVITE cid=2@pbx\n1 200 cid=2@pbx", b"1@pbx", &mut lines);
    see(&table, "0.1 INVITE cid=3@pbx", b"unheard-of", &mut lines);
    assert_eq!(
        lines,
        ["0.000 attempt", "0.100 attempt 2@pbx leg b", "1.000 answer 2@pbx answered 200 leg b", "0.100 attempt 3@pbx"]
    );
}

#[test]
fn a_call_nobody_answers_or_refuses_ends_after_the_longest_time_to_ring() {
    let (table, mut lines) = (CallTable::new(1), Vec::new());
    see(&table, "0 INVITE\n2 180", b"", &mut lines);
    for i in 0..8 * PARTS {
        see(&table, &format!("1000 INVITE cid={i}"), b"", &mut lines);
    }
    let end = lines.iter().find(|l| l.contains(" end ")).unwrap();
    assert_eq!(end, "600.000 end no_answer 408 setup=2 ring=598 duration=0 by network");
}

#[test]
fn a_flood_of_call_ids_costs_the_table_no_answered_call() {
    const ROOM: usize = 64 * PARTS;
    let (table, mut lines) = (CallTable::with_room(1, ROOM), Vec::new());
    see(&table, "0 INVITE\n1 200", b"", &mut lines);
    let (_, template) = message("2 INVITE cid=CCCCCCCC");
    let at = memchr::memmem::find(&template, b"CCCCCCCC").unwrap();
    for i in 0..20 * ROOM {
        let mut bytes = template.clone();
        bytes[at..at + 8].copy_from_slice(format!("{i:08x}").as_bytes());
        let message = sip::parse(&bytes).unwrap();
        let time = Timestamp(2000 + i as i64 / 1000);
        let sight =
            Sight { time, customer: 0, source: None, destination: None, correlation_id: b"", message: &message };
        table.see(&sight, &mut Changes::default(), |_| {});
    }
    let counts = table.take_counts();
    assert!(counts.held <= 2 * ROOM as u64 && counts.evicted > 0, "{counts:?}");
    see(&table, "1500 BYE", b"", &mut lines);
    assert_eq!(lines.last().unwrap(), "1500.000 end answered 200 duration=1499 by caller");
}

#[test]
fn a_call_that_a_proxy_gives_up_was_not_answered_and_not_cancelled() {
    check(
        "
        0     INVITE br=a
        0.01  INVITE br=b vias=2
        0.1   180 br=b vias=2
        0.11  180 br=a
        30    CANCEL br=b
        30.01 487 br=b vias=2
        30.02 408 br=a
        ",
        expect![[r#"
            0.000 attempt
            30.020 end no_answer 408 setup=0.1 ring=29.92 duration=0 by network"#]],
    );
}

#[test]
fn a_callee_whose_tag_differs_from_hop_to_hop_is_known_by_the_one_the_caller_sees() {
    check(
        "
        0     INVITE br=a
        0.01  INVITE br=b vias=2
        3     200 br=b vias=2 tt=far
        3.01  200 br=a tt=near
        9     BYE br=c tt=near
        9.01  BYE br=d vias=2 tt=near
        ",
        expect![[r#"
            0.000 attempt
            3.000 answer answered 200
            9.000 end answered 200 duration=6 by caller"#]],
    );
}

#[test]
fn no_two_calls_of_a_call_id_have_the_same_number() {
    check(
        "0 INVITE ft=a
         1 200 ft=a
         2 INVITE ft=b br=2
         3 486 ft=b br=2 tt=y
         4 INVITE ft=b br=3 cseq=2
         5 486 ft=b br=3 cseq=2 tt=z
         6 INVITE ft=c br=4",
        expect![[r#"
            0.000 attempt
            1.000 answer answered 200
            2.000 attempt 1@pbx;2
            3.000 end 1@pbx;2 busy 486 duration=0 by callee
            4.000 attempt 1@pbx;3
            5.000 end 1@pbx;3 busy 486 duration=0 by callee
            6.000 attempt 1@pbx;4"#]],
    );
}

#[test]
fn a_call_that_waits_for_another_try_is_told_before_it_is_forgotten_for_want_of_room() {
    let (table, mut lines) = (CallTable::with_room(1, 1), Vec::new());
    for i in 0..20 * PARTS {
        see(&table, &format!("0 INVITE cid={i}\n0 401 cid={i}"), b"", &mut lines);
    }
    assert!(table.take_counts().evicted > 0);
    table.settle(Timestamp(i64::MAX), &mut Changes::default(), |told| lines.push(line(&told)));
    assert_eq!(lines.iter().filter(|l| l.contains(" end ")).count(), 20 * PARTS);
}

#[test]
fn a_call_that_is_tried_again_and_again_in_no_time_is_held_once() {
    let (table, mut lines) = (CallTable::new(1), Vec::new());
    for cseq in 1..2000 {
        see(&table, &format!("0 INVITE cseq={cseq}\n0 401 cseq={cseq}"), b"", &mut lines);
    }
    let n_held: usize = table.parts.iter().map(|part| part.lock().unwrap().held.len()).sum();
    assert!(n_held <= 20, "{n_held} entries for one call");
    table.settle(Timestamp(i64::MAX), &mut Changes::default(), |told| lines.push(line(&told)));
    assert_eq!(lines, ["0.000 attempt", "0.000 end rejected 401 duration=0 by network"]);
}
