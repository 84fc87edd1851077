//! What each part of a message reads as, and what is held against bad ones.

use proptest::prelude::*;

use super::*;
use crate::event::Attestation;
use crate::event::dialplan::{DialPlan, Scratch};

const INVITE: &[u8] = b"INVITE sip:+4684004000@example.com;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKnashds8;rport=40000;received=198.51.100.7, SIP/2.0/TCP b\r\n\
    v: SIP/2.0/TCP c\r\n\
    f: \"Bob \\\"B\\\" <x>\" <sip:+46701234567;verstat=TN-Validation-Passed-B@example.com>;tag=9fxced76sl\r\n\
    To: <sip:+4684004000@example.com>\r\n\
    i: 3848276298220188511@atlanta.example.com\r\n\
    CSeq: 7 INVITE\r\n\
    Contact: <sip:bob@[2001:db8::1]:5070;transport=udp>\r\n\
    User-Agent: phone\r\n\
    l: 3\r\n\
    \r\n\
    abcdef";

/// An INVITE with these header lines besides the four that must be.
fn with(lines: &str) -> Vec<u8> {
    let four = "From: <sip:1001@a.example>;tag=1\r\nTo: <sip:1002@b.example>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n";
    format!("INVITE sip:1002@b.example SIP/2.0\r\n{four}{lines}\r\n\r\n").into_bytes()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_invite_gives_its_parts() {
    let m = parse(INVITE).unwrap();
    let Start::Request { method, uri } = m.start else { panic!("a request") };
    assert_eq!((method, uri.user, uri.host), (&b"INVITE"[..], &b"+4684004000"[..], &b"example.com"[..]));
    assert_eq!(uri.param("USER"), Some(&b"phone"[..]));
    assert_eq!((m.cseq, m.cseq_method, m.n_vias), (7, &b"INVITE"[..], 3));
    assert_eq!((m.via.port, m.via.rport, m.via.received), (Some(5062), Some(40000), &b"198.51.100.7"[..]));
    assert_eq!((m.via.transport, m.via.branch), (&b"UDP"[..], &b"z9hG4bKnashds8"[..]));
    assert_eq!(m.call_id, b"3848276298220188511@atlanta.example.com");
    assert_eq!((m.from.tag, m.to.tag, m.user_agent), (&b"9fxced76sl"[..], &b""[..], &b"phone"[..]));
    assert_eq!(display(m.from.name, &mut Vec::new()), Some("Bob \"B\" <x>"));
    let contact = m.contact.unwrap().uri;
    assert_eq!((contact.host, contact.port), (&b"[2001:db8::1]"[..], Some(5070)));
    assert_eq!(m.body, b"abc");
    property::sip_holds(INVITE);
}

#[test]
fn a_start_line_is_lenient_about_space_and_strict_about_what_it_is() {
    let start = |line: &str| match Start::parse(line.as_bytes()) {
        Ok(Start::Request { method, uri }) => format!("{} {}", lossy(method), lossy(uri.whole)),
        Ok(Start::Response { code, reason }) => format!("{code} [{}]", lossy(reason)),
        Err(fault) => format!("{fault:?}"),
    };
    for (line, expected) in [
        ("INVITE sip:a@b SIP/2.0\r", "INVITE sip:a@b"),
        ("INVITE\tsip:a@b\tsip/2.0", "INVITE sip:a@b"),
        ("INVITE  <sip:a@b>  SIP/2.0  ", "INVITE sip:a@b"),
        ("RE%47IST%45R sip:a SIP/2.0", "RE%47IST%45R sip:a"),
        ("invite tel:+1 SIP/2.0", "invite tel:+1"),
        ("SIP/2.0 100 ", "100 []"),
        ("SIP/2.0 183", "183 []"),
        ("SIP/2.0  404  Not  Found", "404 [Not  Found]"),
        ("SIP/2.0 4294967301 better not break the receiver", "NotSip"),
        ("SIP/2.0 65636 a", "NotSip"),
        ("SIP/2.0 099 low", "NotSip"),
        ("SIP/2.0 700 high", "NotSip"),
        ("SIP/2.0 200OK", "NotSip"),
        ("SIP/2.0 +20 OK", "NotSip"),
        ("SIP/2.0", "NotSip"),
        ("SIP/2.0 ", "NotSip"),
        ("INVITE SIP/2.0", "NotSip"),
        ("INVITE  SIP/2.0", "NotSip"),
        ("INVITE sip:a@bSIP/2.0", "NotSip"),
        ("INVITE sip:a@b SIP/2.00", "NotSip"),
        ("INVITE sip:a@b", "NotSip"),
        ("GET / HTTP/1.1", "NotSip"),
        ("Via: SIP/2.0/UDP a SIP/2.0", "NotSip"),
        ("hello", "NotSip"),
        ("{\"a\": 1} SIP/2.0", "NotSip"),
        ("\u{e9} sip:a SIP/2.0", "NotSip"),
    ] {
        assert_eq!(start(line), expected, "{line}");
    }
}

#[test]
fn without_who_called_whom_in_which_call_there_is_no_message() {
    let lines = ["From: <sip:a@x>", "To: <sip:b@x>", "Call-ID: 1", "CSeq: 1 BYE"];
    let faults = [Fault::NoFrom, Fault::NoTo, Fault::NoCallId, Fault::NoCseq];
    for (i, fault) in faults.into_iter().enumerate() {
        for bad in ["X: y", ": ", &lines[i].replace(':', ";"), lines[i].split_inclusive(':').next().unwrap()] {
            let mut lines = lines;
            lines[i] = bad;
            let text = format!("BYE sip:b SIP/2.0\r\n{}\r\n\r\n", lines.join("\r\n"));
            assert_eq!(parse(text.as_bytes()).unwrap_err(), fault, "{text}");
        }
        assert_eq!(fault.reject(), Some(Reject::MissingHeader));
    }
    for keep_alive in ["", "\r\n\r\n", "\0\0\0\0", "\n"] {
        assert_eq!(parse(keep_alive.as_bytes()).unwrap_err(), Fault::KeepAlive);
        assert_eq!(Fault::KeepAlive.reject(), None);
    }
    assert_eq!(parse(b"\x80\x00jaK\r\n").unwrap_err().reject(), Some(Reject::NotSip));
}

#[test]
fn sequence_numbers_have_their_method_and_never_wrap() {
    let cseq = |value: &str| {
        let text = format!("BYE sip:b SIP/2.0\nf: sip:a\nt: sip:b\ni: 1\nCSeq: {value}\n");
        parse(text.as_bytes()).map(|m| (m.cseq, lossy(m.cseq_method)))
    };
    assert_eq!(cseq("0009\n  INVITE"), Ok((9, "INVITE".into())));
    assert_eq!(cseq("4294967296 BYE"), Ok((u32::MAX, "BYE".into())));
    assert_eq!(cseq(&format!("{} BYE", "9".repeat(50))), Ok((u32::MAX, "BYE".into())));
    for bad in ["BYE", "1", "-1 BYE", "1BYE", "0x1 BYE", ""] {
        assert_eq!(cseq(bad), Err(Fault::NoCseq), "{bad}");
    }
}

#[test]
fn names_of_headers_may_be_short_or_spaced_or_in_any_case() {
    let text = b"REGISTER sip:x SIP/2.0\nF : sip:a@x;tag=1\nT\t: sip:b@x\nI:1\ncSEQ:2 REGISTER\nM: <sip:c@x>\nL: 4\n\
        c : application/sdp\ny: a.b.c\nB: <sip:r@x>\nr: <sip:t@x>\nexpires: 60\n\nbody and more";
    let m = parse(text).unwrap();
    assert_eq!((m.from.uri.user, m.from.tag, m.to.uri.user), (&b"a"[..], &b"1"[..], &b"b"[..]));
    assert_eq!((m.call_id, m.cseq, m.content_type), (&b"1"[..], 2, &b"application/sdp"[..]));
    assert_eq!((m.contact.unwrap().uri.user, m.referred_by.unwrap().uri.user), (&b"c"[..], &b"r"[..]));
    assert_eq!((m.refer_to.unwrap().uri.user, m.identity), (&b"t"[..], Some(&b"a.b.c"[..])));
    assert_eq!((m.expires, m.body), (Some(60), &b"body"[..]));
}

#[test]
fn a_datagram_may_lack_its_end_and_the_first_of_two_headers_counts() {
    let text = "BYE sip:b SIP/2.0\r\nFrom: <sip:a>;tag=1\r\nFrom: <sip:z>\r\nTo: <sip:b>\r\nTo: <sip:y>\r\nCall-ID: 1\r\n\
        Call-ID: 2\r\nCSeq: 1 BYE\r\nCSeq: 2 BYE\r\nUser-Agent: u";
    let m = parse(text.as_bytes()).unwrap();
    assert_eq!((m.from.uri.host, m.to.uri.host, m.call_id, m.cseq), (&b"a"[..], &b"b"[..], &b"1"[..], 1));
    assert_eq!((m.user_agent, m.body), (&b"u"[..], &b""[..]));
}

/// `name|uri|user|host|tag` of a From.
fn address(value: &str) -> String {
    let a = Address::parse(value.as_bytes());
    [a.name, a.uri.whole, a.uri.user, a.uri.host, a.tag].map(lossy).join("|")
}

#[test]
fn addresses_are_read_with_and_without_names_and_brackets() {
    for (value, expected) in [
        ("<sip:a@b>;tag=1", "|sip:a@b|a|b|1"),
        ("caller<sip:a@b>;x=\";tag=2\";TAG = 1", "caller|sip:a@b|a|b|1"),
        ("A. B. \"C\" <sip:a@b>", "A. B. \"C\"|sip:a@b|a|b|"),
        ("Watson, Thomas <sip:a@b>;tag=1", "Watson, Thomas|sip:a@b|a|b|1"),
        ("\"a\\\\\\\" <sip:x@y>\" <sip:a@b>", "a\\\\\\\" <sip:x@y>|sip:a@b|a|b|"),
        ("\"\"<sip:a:secret@b:5060;lr?h=v>", "|sip:a:secret@b:5060;lr?h=v|a|b|"),
        ("sip:a@b;tag=1;x=y", "|sip:a@b|a|b|1"),
        ("sip:a;par=u%40x@b;tag=1", "|sip:a;par=u%40x@b|a;par=u%40x|b|1"),
        ("sip:b;tag=1@2", "|sip:b||b|1@2"),
        ("tel:7042;phone-context=+46;tag=1", "|tel:7042;phone-context=+46|7042||1"),
        ("<tel:+46-8-40;ext=1>", "|tel:+46-8-40;ext=1|+46-8-40||"),
        ("<SIPS:a@[::1]:5061>", "|SIPS:a@[::1]:5061|a|[::1]|"),
        ("< sip:a@b >", "|sip:a@b|a|b|"),
        ("<sip:a@b;tag=9", "|sip:a@b;tag=9|a|b|"),
        ("\"open <sip:a@b>;tag=1", "open|sip:a@b|a|b|1"),
        ("<1001@b>", "|1001@b|1001|b|"),
        ("\"Anonymous\"", "|Anonymous|||"),
        ("Anonymous", "|Anonymous|||"),
        ("<urn:service:sos>", "|urn:service:sos|||"),
        ("<mailto:a@b>", "|mailto:a@b|||"),
        ("<>", "||||"),
        ("", "||||"),
    ] {
        assert_eq!(address(value), expected, "{value}");
    }
}

#[test]
fn the_text_of_a_uri_is_what_a_dial_plan_reads() {
    let meaning = |value: &str| {
        let address = Address::parse(value.as_bytes());
        DialPlan::default().normalise(address.uri.whole, &mut Scratch::default())
    };
    let number = meaning("\"+1\" <sip:+46701234567;phone-context=x@b;user=phone>;tag=+2").number;
    assert_eq!(number, DialPlan::default().normalise(b"+46701234567", &mut Scratch::default()).number);
    assert_eq!(meaning("tel:070-123 45 67;phone-context=+46;tag=7").number, number);
    assert!(meaning("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1").anonymous);
    assert!(meaning("<sip:112@b;user=phone>").emergency && meaning("<urn:service:sos.fire>").emergency);
}

#[test]
fn folds_and_escapes_are_taken_off_when_asked() {
    let mut scratch = Vec::new();
    assert_eq!(text(b"plain  text", &mut scratch), Some("plain  text"));
    assert_eq!(text(b"a \r\n\t b\n c", &mut scratch), Some("a b c"));
    assert_eq!(text(b"\xff", &mut scratch), None);
    assert_eq!(text(b"\xff\r\n a", &mut scratch), None);
    assert_eq!(display(br#"a \"b\" \\ c\"#, &mut scratch), Some(r#"a "b" \ c"#));
    assert_eq!(display(b"a\r\n \\\"b", &mut scratch), Some("a \"b"));
    let m = with("User-Agent: a\r\n  b \r\n\tc\r\nServer:\r\n x");
    assert_eq!(text(parse(&m).unwrap().user_agent, &mut scratch), Some("a b c"));
    assert_eq!(parse(&m).unwrap().server, b"x");
}

#[test]
fn identities_lists_and_privacy_are_told_apart() {
    let lines = "P-Asserted-Identity: \"A, B\" <sip:+1@x;a=\",\">, <tel:+2>\r\nP-Asserted-Identity: <tel:+3>\r\n\
        Remote-Party-ID: <sip:+4@x>;party=called;privacy=full\r\n\
        Remote-Party-ID: \"n\" <sip:+5@x>;party=calling;privacy=off\r\nPrivacy: Header; ID ;critical";
    let bytes = with(lines);
    let m = parse(&bytes).unwrap();
    assert_eq!((m.asserted.unwrap().uri.user, m.asserted_second.unwrap().uri.user), (&b"+1"[..], &b"+2"[..]));
    assert_eq!(m.remote_party.unwrap().uri.user, b"+5");
    assert_eq!(m.privacy, Privacy { id: true, header: true, ..Privacy::default() });
    assert!(m.privacy.hides_number());
    for (line, hides) in [
        ("Privacy: none", false),
        ("Privacy: header", false),
        ("Privacy: user", true),
        ("Remote-Party-ID: <sip:1@x>;privacy=\"FULL\"", true),
        ("Remote-Party-ID: <sip:1@x>;privacy=uri;screen=no", true),
        ("Remote-Party-ID: <sip:1@x>;privacy=name", false),
        ("Remote-Party-ID: <sip:1@x>;privacy=full;party=called", false),
    ] {
        assert_eq!(parse(&with(line)).unwrap().privacy.hides_number(), hides, "{line}");
    }
}

#[test]
fn the_most_recent_redirection_is_told() {
    let bytes = with("Diversion: <sip:+2@x>;reason=no-answer;counter=1, <sip:+1@x>\r\nDiversion: <sip:+0@x>");
    let m = parse(&bytes).unwrap();
    assert_eq!(m.diversion.unwrap().uri.user, b"+2");
    assert_eq!(m.diversion.unwrap().param("reason"), Some(&b"no-answer"[..]));
}

#[test]
fn history_tells_who_the_call_left_last_and_why() {
    let left = |lines: &str| {
        let bytes = with(lines);
        let m = parse(&bytes).unwrap();
        m.history.map(|h| (lossy(h.uri.user), m.history_cause))
    };
    let said = |user: &str, cause| Some((user.to_owned(), cause));
    assert_eq!(left("History-Info: <sip:1@x>;index=1"), None);
    assert_eq!(left("History-Info: <sip:1@x>;index=1,<sip:2@x;cause=302>;index=1.1"), said("1", Some(302)));
    let hunting = "History-Info: <sip:1@x>;index=1, <sip:2@x?Reason=SIP%3Bcause%3D486>;index=1.1\r\n\
        History-Info: <sip:3@x>;index=1.2";
    assert_eq!(left(hunting), said("2", Some(486)));
    let unsorted = "History-Info: <sip:10@x>;index=1.10,<sip:2@x>;index=1.2,<sip:9@x>;index=1.9,<sip:1@x>;index=1";
    assert_eq!(left(unsorted), said("9", None));
    // Where a party is reached is no other party.
    assert_eq!(left("History-Info: <sip:1@x>;index=1,<sip:c@y>;index=1.1;rc=1"), None);
    let mapped = "History-Info: <sip:1@x>;index=1, <sip:2@x>;index=1.1;mp=1, <sip:2@gw>;index=1.1.1;np=1.1";
    assert_eq!(left(mapped), said("1", None));
    assert_eq!(left("History-Info: <sip:1@x>, <sip:2@x>, <sip:3@x>"), said("2", None));
}

#[test]
fn causes_are_read_of_either_protocol() {
    let reason = |lines: &str| parse(&with(lines)).unwrap().reason;
    let both = "Reason: SIP ;cause=200 ;text=\"Call, completed; cause=1\", Q.850;cause=16\r\nReason: q.850;cause=17";
    assert_eq!(reason(both), Reason { q850: Some(16), sip: Some(200) });
    assert_eq!(reason("Reason: Q.850;cause=300\r\nReason: Q.850;text=x"), Reason::default());
    assert_eq!(reason("X-Asterisk-HangupCauseCode: 17").q850, Some(17));
}

#[test]
fn credentials_tell_their_user() {
    let user = |value: &str| {
        let bytes = with(&format!("Proxy-Authorization: {value}"));
        let m = parse(&bytes).unwrap();
        (m.credentials.is_some(), m.username().map(lossy))
    };
    assert_eq!(user("Digest realm=\"username=x, y\", UserName = \"bob\",uri=\"a\""), (true, Some("bob".into())));
    assert_eq!(user("Digest username=\"\""), (true, Some(String::new())));
    assert_eq!(user("Bearer abc"), (true, None));
    assert!(parse(INVITE).unwrap().credentials.is_none());
}

#[test]
fn a_stale_nonce_is_known_however_it_is_written() {
    let is_stale = |lines: &str| parse(&with(lines)).unwrap().nonce_is_stale;
    assert!(is_stale("WWW-Authenticate: Digest realm=\"a, stale=false\", nonce=\"1\", stale=TRUE, algorithm=MD5"));
    assert!(is_stale("proxy-authenticate: Digest Stale = \"true\""));
    assert!(is_stale("WWW-Authenticate: Digest algorithm=SHA-256\r\nWWW-Authenticate: Digest stale=true"));
    for fresh in ["Digest stale=false", "Digest realm=\"x, stale=true\"", "Digest", "stale=true", ""] {
        assert!(!is_stale(&format!("WWW-Authenticate: {fresh}")), "{fresh}");
    }
}

#[test]
fn attestation_is_what_was_verified_then_what_is_claimed() {
    let said = |lines: &str| attestation(&parse(&with(lines)).unwrap()).as_str();
    // {"attest":"C"} and {}
    let (c, none) = ("Identity: e30.eyJhdHRlc3QiOiJDIn0.s;info=<https://x>;ppt=shaken", "Identity: e30.e30.s");
    for (lines, expected) in [
        ("X: y".into(), "unknown"),
        ("P-Asserted-Identity: <sip:1@x;verstat=TN-Validation-Passed>".into(), "A"),
        ("P-Asserted-Identity: <tel:1>,<tel:2;verstat=tn-validation-passed-c>".into(), "C"),
        ("P-Asserted-Identity: <sip:+1;verstat=TN-Validation-Failed@x>".into(), "failed"),
        ("P-Asserted-Identity: <tel:+1>;verstat=TN-Validation-Failed-No-Certificate".into(), "failed"),
        (format!("P-Asserted-Identity: <tel:+1;verstat=No-TN-Validation>\r\n{c}"), "none"),
        (format!("P-Asserted-Identity: <tel:+1;verstat=TN-Validation-Passed>\r\n{c}"), "C"),
        (format!("P-Asserted-Identity: <tel:+1;verstat=TN-Validation-Failed>\r\n{c}"), "failed"),
        ("X-Twilio-VerStat: TN-Validation-Passed-B".into(), "B"),
        ("Attestation-Info: b".into(), "B"),
        ("P-Attestation-Indicator: A;x".into(), "A"),
        (format!("P-Attestation-Indicator: B\r\n{c}"), "B"),
        (c.into(), "C"),
        (format!("{none}\r\n{c}"), "C"),
        (none.into(), "unknown"),
        ("Identity: e30.eyJhdHRlc3QiOjF9.s".into(), "unknown"),
        ("Identity: \"old+signature/of/RFC4474=\";x".into(), "unknown"),
        ("Identity: ..s;ppt=shaken".into(), "unknown"),
        ("Identity: e30.!!.s".into(), "unknown"),
        (format!("Identity: e30.{}.s", "ICAg".repeat(1000)), "unknown"),
        (format!("Identity: e30.{}.s", "W1tb".repeat(500)), "unknown"),
    ] {
        assert_eq!(said(&lines), expected, "{lines}");
    }
    assert_eq!(attestation(&parse(INVITE).unwrap()), Attestation::B);
}

#[test]
fn what_a_call_carries_is_what_its_description_offers() {
    let said = |kind: &str, body: &str| {
        let mut bytes = with(&format!("Content-Type: {kind}"));
        bytes.extend_from_slice(body.as_bytes());
        call_type(&parse(&bytes).unwrap()).as_str()
    };
    let audio = "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=x\r\n";
    for (kind, body, expected) in [
        ("application/sdp", audio, "voice"),
        ("Application/SDP ;charset=x", "v=0\nm=audio 4000/2 RTP/AVP 0\nm=video 0 RTP/AVP 31", "voice"),
        ("application/sdp", "v=0\nm=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31\n", "video"),
        ("application/sdp", "v=0\nm=audio 0 RTP/AVP 0\nm=image 4002 udptl t38\n", "fax"),
        ("application/sdp", "v=0\nm=message 9 TCP/MSRP *\n", "data"),
        ("application/sdp", "v=0\ns=m=audio 1\n", "unknown"),
        ("multipart/mixed;boundary=b", &format!("--b\r\nContent-Type:application/sdp\r\n\r\n{audio}--b--"), "voice"),
        ("text/plain", audio, "unknown"),
        ("application/sdp", "", "unknown"),
    ] {
        assert_eq!(said(kind, body), expected, "{body}");
    }
}

#[test]
fn a_stream_gives_message_after_message_until_its_end_cannot_be_told() {
    let mut stream = [INVITE.get(..INVITE.len() - 3).unwrap(), b"\r\n\r\n", &with("l: 0"), b"\r\n"].concat();
    let mut found = Vec::new();
    while let Framed::Whole { skip, len } = first_message(&stream) {
        found.push((skip, parse(&stream[skip..skip + len]).unwrap().cseq));
        stream.drain(..skip + len);
    }
    assert_eq!((found, first_message(&stream)), (vec![(0, 7), (4, 1)], Framed::Incomplete));
    assert_eq!(first_message(&with("l: 1")), Framed::Incomplete);
    assert_eq!(first_message(&with("l: x")), Framed::Broken);
    assert_eq!(first_message(b"GET / HTTP/1.1\r\n\r\n"), Framed::Broken);
}

/// Messages that a quadratic reader would need minutes for.
#[test]
fn hostile_messages_take_linear_time() {
    let vias = with(&"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n".repeat(10_000));
    assert_eq!(parse(&vias).unwrap().n_vias, 10_000);
    let n = 1_000_000;
    let many = |one: &str| one.repeat(n / one.len());
    let long = "1".repeat(n);
    let lines = [
        format!("History-Info: <x>;index={long},{}", many("<y>;index=1.1,")),
        format!("History-Info: <x>;a={long};index=2,{}", many("<y>;index=1,")),
        format!("Identity: a;b={long};ppt=shaken\r\n{}", many("y:a;ppt=shaken\r\n")),
        format!("Identity: a;b={long}\r\n{}", many("y:a;ppt=x\r\n")),
    ];
    lines.iter().for_each(|lines| assert!(parse(&with(lines)).is_ok()));
    for (name, part) in [
        ("P-Asserted-Identity: ", "\\\""),
        ("P-Asserted-Identity: \"", "\\\""),
        ("Contact: ,", "<\"\\"),
        ("History-Info: ", ","),
        ("History-Info: ", "<x>;index=1.1.1,"),
        ("Via: ", ","),
        ("Via: ", "SIP/2.0/UDP a,"),
        ("Reason: ", "Q.850;a=\"\\\","),
        ("Authorization: Digest ", "\"\\\"=,"),
        ("User-Agent: x", "\r\n "),
        ("X", "\r\r\n"),
        ("Content-Type: application/sdp\r\n\r\n", "m=x \n"),
        ("X", "\n:"),
    ] {
        let bytes = with(&format!("{name}{}", many(part)));
        let m = parse(&bytes).unwrap();
        let said = (m.username().map(<[u8]>::len), m.from.param_anywhere("verstat"), attestation(&m), call_type(&m));
        assert!(said.1.is_none(), "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        property::sip_holds(&bytes);
    }

    #[test]
    fn messages_with_any_parts_hold(
        parts in proptest::collection::vec(prop_oneof![
            4 => Just("\r\n".to_owned()), 1 => Just("\n".to_owned()), 1 => Just("\r\n ".to_owned()),
            2 => Just("INVITE sip:a@b SIP/2.0\r\nf: <sip:c@d>;tag=1\r\nt: sip:e\r\ni: 1\r\nCSeq: 1 INVITE\r\n".to_owned()),
            1 => Just("SIP/2.0 200 OK\r\n".to_owned()),
            6 => "(Via|f|t|i|CSeq|m|l|P-Asserted-Identity|History-Info|Reason|Identity|Remote-Party-ID|Diversion): ?",
            6 => "[ -~é]{0,12}", 6 => "[0-9<>\",;=@:\\[\\]\\\\?. ]{1,6}",
            2 => Just("SIP/2.0/UDP h:1;branch=z9hG4bK".to_owned()), 1 => Just("l: 5\r\n\r\nhello".to_owned()),
        ], 0..40),
    ) {
        property::sip_holds(parts.concat().as_bytes());
    }

    #[test]
    fn quoted_names_come_back_as_they_were_written(name in "[ -~]{0,20}") {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let value = format!("\"{quoted}\" <sip:a@b>;tag=1");
        let address = Address::parse(value.as_bytes());
        let mut scratch = Vec::new();
        prop_assert_eq!(display(address.name, &mut scratch), Some(name.as_str()));
        prop_assert_eq!((address.uri.user, address.tag), (&b"a"[..], &b"1"[..]));
        let list = [&value; 3].map(String::as_str).join(" , ");
        prop_assert_eq!(items(list.as_bytes()).collect::<Vec<_>>(), [value.as_bytes(); 3]);
    }
}
