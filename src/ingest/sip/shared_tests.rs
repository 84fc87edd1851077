//! Messages that others collected, read as a passive reader must: the torture tests of RFC 4475 and RFC 5118, those of
//! Kamailio and SIP3, captures, and what Zeek's parser says of the same packets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::attestation::decode_base64url;
use super::*;
use crate::event::Attestation;

/// A folder of the shared test data, which is no part of the project: its files by name.
fn shared(folder: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("RINGFENCE_SHARED").map_or(beside, PathBuf::from);
    let Ok(entries) = std::fs::read_dir(root.join("data").join(folder)) else {
        eprintln!("NOT RUN: {folder} is not in RINGFENCE_SHARED");
        return None;
    };
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let file = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap());
    Some(files.map(file).collect())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `start cseq call-id from-user to-user body-length`, or the fault. Long words are cut.
fn said(bytes: &[u8]) -> String {
    let m = match parse(bytes) {
        Ok(message) => message,
        Err(fault) => return format!("{fault:?}"),
    };
    let start = match m.start {
        Start::Request { method, .. } => lossy(method),
        Start::Response { code, .. } => code.to_string(),
    };
    let word = |b: &[u8]| lossy(if b.is_empty() { b"-" } else { b.get(..40).unwrap_or(b) });
    let (call_id, from, to) = (word(m.call_id), word(m.from.uri.user), word(m.to.uri.user));
    format!("{start} {} {call_id} {from} {to} {}", m.cseq, m.body.len())
}

/// Every file of a folder is in the table, reads as the table says, and keeps the property.
fn all_read_as(folder: &str, suffix: &str, table: &[(&str, &str, &str)]) {
    let Some(files) = shared(folder) else { return };
    let mut wrong = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(suffix)) {
        let is = said(bytes);
        match table.iter().find(|(file, ..)| file == name) {
            Some((_, expected, _)) if is == *expected => {}
            Some((_, expected, why)) => wrong.push(format!("{name}: {is}\n  and not {expected}: {why}")),
            None => wrong.push(format!("{name} is not in the table: {is}")),
        }
        property::sip_holds(bytes);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// long: a table
#[test]
fn the_torture_tests_of_rfc_4475_read_as_a_phone_or_proxy_would_have_read_them() {
    let longreq =
        "INVITE 3882340 longreq.onereallyreallyreallyreallyreall amazinglylongcallernameamazinglylongcall user 150";
    let intmeth = "!interesting-Method0123456789_*+`.%indeed'~ 139122385 intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][? mundane \
                   1_unusual.URI~(to-be!sure)&isn't+it$/cra 0";
    let table = [
        (
            "badaspec.dat",
            "OPTIONS 3923239 badaspec.sdf0234n2nds0a099u23h3hnnw009cd a.g.bell t.watson 0",
            "leniency allowed",
        ),
        (
            "badbranch.dat",
            "OPTIONS 8 badbranch.sadonfo23i420jv0as0derf3j3n caller user 0",
            "a branch is nothing we need",
        ),
        ("baddate.dat", "INVITE 1392934 baddate.239423mnsadf3j23lj42--sedfnm234 caller user 150", "Date is ignored"),
        ("badinv01.dat", "INVITE 8 badinv01.0ha0isndaksdjasdf3234nas caller j.user 152", "who calls whom is plain"),
        ("badvers.dat", "NotSip", "no version of SIP that there is"),
        (
            "bcast.dat",
            "200 35 bcast.0384840201234ksdfak3j2erwedfsASdf user user 154",
            "seen on the wire; Via is not judged",
        ),
        ("clerr.dat", "INVITE 8 clerr.0ha0isndaksdjweiafasdk3 caller j.user 154", "the body is what came"),
        ("cparam01.dat", "REGISTER 2 cparam01.70710@saturn.example.com watson watson 0", "valid"),
        (
            "dblreq.dat",
            "REGISTER 8 dblreq.0ha0isndaksdj99sdfafnl3lk233412 j.user j.user 0",
            "the second one is no message",
        ),
        (
            "esc01.dat",
            "INVITE 234234 esc01.239409asdfakjkn23onasd0-3234 I%20have%20spaces %75se%72 150",
            "escapes stay",
        ),
        (
            "escnull.dat",
            "REGISTER 14398234 escnull.39203ndfvkjdasfkq3w4otrq0adsfdfn null-%00-null null-%00-null 0",
            "valid",
        ),
        ("insuf.dat", "NoCallId", "no call to tell of"),
        ("intmeth.dat", intmeth, "valid"),
        (
            "inv2543.dat",
            "INVITE 56 inv2543.1717@ift.client.example.com +13035551111 +16505552222 105",
            "must be accepted",
        ),
        ("invut.dat", "INVITE 235448 invut.0ha0isndaksdjadsfij34n23d caller j.user 40", "bodies are not judged"),
        ("longreq.dat", longreq, "valid"),
        (
            "lwsruri.dat",
            "INVITE 2130706432 lwsruri.asdfasdoeoi2323-asdfwrn23-asd834 caller user 159",
            "the parts are plain",
        ),
        ("lwsstart.dat", "INVITE 1893884 lwsstart.dfknq234oi243099adsdfnawe3@exam caller user 150", "leniency allowed"),
        ("mcl01.dat", "OPTIONS 15932 mcl01.fhn2323orihawfdoa3o4r52o3irsdf other user 13", "the first counts"),
        ("mismatch01.dat", "OPTIONS 8 mismatch01.dj0234sxdfl3 caller j.user 0", "answered 400 on the wire, if at all"),
        ("ncl.dat", "INVITE 0 ncl.0ha0isndaksdj2193423r542w35 caller j.user 152", "no length is none"),
        ("quotbal.dat", "INVITE 8 quotbal.aksdj caller j.user 152", "the URI is plain"),
        ("regaut01.dat", "REGISTER 9338 regaut01.0ha0isndaksdj j.user j.user 0", "valid"),
        ("regescrt.dat", "REGISTER 14398234 regescrt.k345asrl3fdbv@192.0.2.1 user user 0", "valid"),
        (
            "scalar02.dat",
            "REGISTER 4294967295 scalar02.23o0pd9vanlq3wnrlnewofjas9ui32 user user 0",
            "larger than any, never wrapped",
        ),
        ("semiuri.dat", "OPTIONS 8 semiuri.0ha0isndaksdj caller j_user 0", "valid"),
        ("transports.dat", "OPTIONS 60 transports.kijh4akdnaqjkwendsasfdj caller user 0", "valid"),
        (
            "trws.dat",
            "OPTIONS 238923 trws.oicu34958239neffasdhr2345r local-resource remote-target 0",
            "leniency allowed",
        ),
        ("unkscm.dat", "OPTIONS 3923423 unkscm.nasdfasser0q239nwsdfasdkl34 caller user 0", "schemes are not judged"),
        (
            "unksm2.dat",
            "REGISTER 234902 unksm2.daksdj@hyphenated-host.example.co - - 0",
            "users of other schemes are unknown",
        ),
        ("unreason.dat", "200 35 unreason.1234ksdfak3j2erwedfsASdf user user 154", "valid"),
        ("wsinv.dat", "INVITE 9 wsinv.ndaksdj@192.0.2.1 jdrosen vivekg 150", "valid"),
        ("zeromf.dat", "OPTIONS 39234321 zeromf.jfasdlfnm2o2l43r5u0asdfas caller user 0", "valid"),
    ];
    all_read_as("sip/rfc4475", ".dat", &table);
}

#[test]
fn the_traps_of_rfc_4475_are_read_in_their_parts() {
    let Some(files) = shared("sip/rfc4475") else { return };
    let message = |name: &str| parse(&files[name]).unwrap();
    let wsinv = message("wsinv.dat");
    assert_eq!((wsinv.via.host, wsinv.via.branch, wsinv.n_vias), (&b"192.0.2.2"[..], &b"390skdjuw"[..], 3));
    assert_eq!((wsinv.from.tag, wsinv.to.tag), (&b"98asjd8"[..], &b"1918181833n"[..]));
    assert_eq!(display(wsinv.from.name, &mut Vec::new()), Some("J Rosenberg \\\""));
    assert_eq!(wsinv.contact.unwrap().param("newparam"), Some(&b"newvalue"[..]));
    assert_eq!((wsinv.content_length, wsinv.contact.unwrap().param("q")), (Some(150), Some(&b"0.33"[..])));
    let intmeth = message("intmeth.dat");
    assert_eq!(display(intmeth.to.name, &mut Vec::new()), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(intmeth.from.tag, b"_token~1'+`*%!-.");
    assert_eq!(lossy(intmeth.from.param("fromParam''~+*_!.-%").unwrap()), "работающий");
    let Start::Request { uri, .. } = intmeth.start else { panic!("a request") };
    assert_eq!(uri.host, b"example.com");
    let Start::Request { uri, .. } = message("semiuri.dat").start else { panic!("a request") };
    assert_eq!((uri.user, uri.host), (&b"user;par=u%40example.net"[..], &b"example.com"[..]));
    let Start::Request { uri, .. } = message("lwsruri.dat").start else { panic!("a request") };
    assert_eq!((uri.host, uri.param("lr")), (&b"example.com"[..], Some(&b""[..])));
    let Start::Response { reason, .. } = message("unreason.dat").start else { panic!("a response") };
    assert!(text(reason, &mut Vec::new()).unwrap().starts_with("= 2**3 * 5**2 но сто"));
    assert_eq!((message("transports.dat").n_vias, message("transports.dat").via.transport), (5, &b"UDP"[..]));
    assert_eq!(message("badinv01.dat").via.host, b"192.0.2.15");
    assert_eq!(message("scalar02.dat").expires, None);
    assert_eq!((message("ncl.dat").content_length, message("clerr.dat").content_length), (None, Some(9999)));
    assert!(message("regaut01.dat").credentials.is_some() && message("regaut01.dat").username().is_none());
    assert_eq!(message("quotbal.dat").to.uri.whole, b"sip:j.user@example.com");
    assert_eq!(message("unksm2.dat").from.uri.whole, b"http://www.example.com");
    assert_eq!(message("mismatch01.dat").cseq_method, b"INVITE");
    assert_eq!(message("inv2543.dat").to.param_anywhere("user"), Some(&b"phone"[..]));
}

#[test]
fn a_stream_of_each_torture_test_is_framed_or_given_up_as_rfc_4475_says() {
    let Some(files) = shared("sip/rfc4475") else { return };
    for (name, framed) in [
        ("wsinv.dat", Some(true)),
        ("longreq.dat", Some(true)),
        ("inv2543.dat", Some(true)),
        ("dblreq.dat", Some(true)),
        ("clerr.dat", Some(false)),
        ("ncl.dat", None),
        ("mcl01.dat", None),
        // Wherever it ends, that is told.
        ("badvers.dat", Some(true)),
    ] {
        let is = match first_message(&files[name]) {
            Framed::Whole { .. } => Some(true),
            Framed::Incomplete => Some(false),
            Framed::Broken => None,
        };
        assert_eq!(is, framed, "{name}");
    }
}

#[test]
fn addresses_of_version_6_read_as_rfc_5118_says() {
    let table = [
        ("sec4_1.sip", "REGISTER 98176 SSG9559905523997077@hlau_4100 user user 0", "valid"),
        (
            "sec4_2.sip",
            "REGISTER 98176 SSG9559905523997077@hlau_4100 user user 0",
            "only the registrar's address is unclear",
        ),
        ("sec4_4.sip", "REGISTER 98176 SSG9559905523997077@hlau_4100 user user 0", "valid"),
        ("sec4_5_2.sip", "OPTIONS 921 SSG95523997077@hlau_4100 user user 0", "valid"),
        ("sec4_6.sip", "INVITE 8612 SSG9559905523997077@hlau_4100 user user 251", "valid"),
        ("sec4_7.sip", "BYE 89187 997077@lau_4100 user user 0", "valid"),
        ("sec4_9.sip", "INVITE 612 SSG9559905523997077@hlau_4100 user user 245", "valid"),
        ("sec4_10_2.sip", "OPTIONS 689 G9559905523997077@hlau_4100 user user 0", "valid"),
    ];
    all_read_as("sip/rfc5118", ".sip", &table);
    let Some(files) = shared("sip/rfc5118") else { return };
    let target = |name: &str| match parse(&files[name]).unwrap().start {
        Start::Request { uri, .. } => (lossy(uri.host), uri.port),
        Start::Response { .. } => panic!("{name} is a request"),
    };
    assert_eq!(target("sec4_1.sip"), ("[2001:db8::10]".into(), None));
    assert_eq!(target("sec4_4.sip"), ("[2001:db8::10]".into(), Some(5070)));
    assert_eq!(target("sec4_10_2.sip"), ("[2001:db8::192.0.2.1]".into(), None));
    let via = |name: &str| parse(&files[name]).unwrap().via;
    assert_eq!((via("sec4_7.sip").host, via("sec4_7.sip").port), (&b"[2001:db8::9:1]"[..], Some(6050)));
    assert_eq!(via("sec4_5_2.sip").received, b"2001:db8::9:255");
    assert_eq!((via("sec4_9.sip").host, via("sec4_9.sip").port), (&b"[::ffff:192.0.2.10]"[..], Some(19823)));
}

#[test]
fn the_parser_tests_of_kamailio_read_although_most_have_bare_newlines() {
    let jiri = "d10815e0-bf17-4afa-8412-d9130a793d96@213";
    let cisco = "b96b0300-88d30f-66da-63aa@195.37.78.190";
    let r = jiri.replacen('d', "r", 1);
    let lines = [
        ("bad_uri.sip", format!("INVITE 2 {jiri} jiri jiri 432"), ""),
        ("bad_via1.sip", "NoCallId".into(), "no header but Via"),
        ("bad_via3.sip", "NotSip".into(), "SIP/2.0/UDP is no version"),
        ("bc2.sip", "BYE 102 axxxxxef5cec10dd5f4dca871b764cb83ee73c@1 xxx christian 0".into(), ""),
        ("bye_chris.sip", "BYE 102 xxxef5cec10dd5f4dca871b764cb83ee73c@192. xxx christian 0".into(), ""),
        ("dns.sip", format!("OPTIONS 101 {cisco} jiri tester 218"), ""),
        ("invite00.sip", format!("INVITE 2 {jiri} jiri jiri 432"), ""),
        ("invite01.sip", format!("INVITE 2 {jiri} jiri jiri 452"), ""),
        ("invite03.sip", format!("INVITE 2 {r} jiri jiri 451"), ""),
        ("invite04.sip", format!("INVITE 2 {r} jiri jiri 451"), ""),
        ("invite1.sip", "NoTo".into(), "no To"),
        ("invite3-callid.sip", "NoCallId".into(), "it is the fold of To"),
        ("invite5-callid.sip", "NoCallId".into(), "a semicolon is no colon"),
        ("invite6-badbranch-via.sip", format!("INVITE 101 {cisco} jiri p2 218"), ""),
        ("message.sip", "MESSAGE 7 02b1191c-447e-4bd0-b771-c039fc0d9d84@195 bogdan cucu 0".into(), ""),
        ("message02.sip", "NoCallId".into(), "xCall-ID is none, and there is no To"),
        ("ms-invite-00-rpl.sip", "180 2 83cd6524-386b-4e78-8975-ab96a0f78590@212 jiri jirim 0".into(), "cut in a Via"),
        ("ms-invite-00.sip", "OPTIONS 2 83cd6524-386b-4e78-8975-ab96a0f78590@212 jiri jirim 433".into(), ""),
        ("msbye.sip", "BYE 2 ef4832152f944621847e3bf729fd4c27@131.107 mstest - 0".into(), "To has a host alone"),
        ("nmr.sip", "INVITE 38975 7937AAC5-AE9E-41BA-9918-EF0C9DD96B37@192 876543210123 ** 288".into(), ""),
        ("pingtel.sip", "REGISTER 61 1023638012-reg@24.114.138.250 shawn.lipman blb 0".into(), ""),
        ("register.sip", "REGISTER 2 aa@195.37.78.208 janakj janakj 0".into(), ""),
        ("register03.sip", "REGISTER 4 7138115741688223740@195.37.78.226 jiri jiri 0".into(), ""),
        ("register04.sip", "REGISTER 4 7138115741688223740@195.37.78.226 jiri bear 0".into(), "a URI without `sip:`"),
        ("req-test1.sip", "INVITE 143 9437892232b@foo.bar x y 1".into(), "two spaces in the first line"),
        ("req-tm1.sip", "INVITE 143 9437892232b@foo.bar x y 1".into(), "two spaces in the first line"),
        ("req2.sip", "NoCallId".into(), "no header but Via"),
        ("route.sip", format!("INVITE 101 {cisco} janakj janakj2 218"), ""),
        ("sg.sip", "INVITE 123456 1953014-jQ4MzYwNzUw-2137014 Acaller theCallee 153".into(), "CR CR LF"),
        ("short_nonce.sip", "REGISTER 18 f3969dea-6401-427c-bdaf-ec92beedf8e7@213 jiri jiri 0".into(), "an open quote"),
    ];
    let table: Vec<_> = lines.iter().map(|(name, expected, why)| (*name, expected.as_str(), *why)).collect();
    all_read_as("sip/kamailio", ".sip", &table);
    let Some(files) = shared("sip/kamailio") else { return };
    let message = |name: &str| parse(&files[name]).unwrap();
    assert_eq!(message("sg.sip").from.tag, b"MTU3MT");
    assert_eq!(message("short_nonce.sip").username(), Some(&b"jiri"[..]));
    assert_eq!(message("nmr.sip").username(), Some(&b"876543210123"[..]));
    assert_eq!((message("nmr.sip").n_vias, message("nmr.sip").from.name), (2, &b"8..123"[..]));
    assert_eq!(message("message.sip").to.tag, b"xyz");
}

#[test]
fn messages_back_to_back_are_cut_by_their_lengths_with_binary_bodies() {
    let ok = "200 2 0211070C568140000EEA01FB@SFESIP1-id2-ext 79250140777 79067587248 0";
    all_read_as("sip/sip3", ".sip", &[("packet_1.sip", ok, ""), ("packet_2.sip", ok, "the first of two")]);
    let Some(files) = shared("sip/sip3") else { return };
    let mut stream = files["packet_2.sip"].as_slice();
    let mut found = Vec::new();
    while let Framed::Whole { skip, len } = first_message(stream) {
        found.push(said(&stream[skip..skip + len]));
        stream = &stream[skip + len..];
    }
    assert_eq!(found, [ok, "INVITE 1 03F41ACCA6C2175E68F67D97@0d70ffffffff +79116439999 +79262909400 660"]);
    assert_eq!(first_message(stream), Framed::Incomplete);
    let at = memchr::memmem::find(&files["packet_2.sip"], b"INVITE ").unwrap();
    let m = parse(&files["packet_2.sip"][at..]).unwrap();
    assert_eq!((m.from.uri.user, m.to.uri.user), (&b"+79116439999"[..], &b"+79262909400"[..]));
    assert_eq!(m.content_type, b"multipart/mixed;boundary=84A632250C157998F4B0D0F62EEE8758AA95F7B2");
}

/// Every message of a capture.
fn payloads(jsonl: &[u8]) -> Vec<Vec<u8>> {
    let payload = |line: &[u8]| {
        let line: Value = serde_json::from_slice(line).unwrap();
        match (line["payload"].as_str(), line["payload_b64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, text) => decode_base64url(text.unwrap().as_bytes(), &mut [0; 1 << 17]).unwrap().to_vec(),
        }
    };
    jsonl.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(payload).collect()
}

#[test]
fn every_message_of_every_capture_parses() {
    let Some(captures) = shared("sip/captures") else { return };
    let mut n_messages = 0;
    for (name, jsonl) in &captures {
        for payload in payloads(jsonl) {
            let parsed = parse(&payload);
            assert!(parsed.is_ok(), "{name}: {parsed:?}\n{}", lossy(&payload));
            n_messages += 1;
        }
    }
    assert!(n_messages >= 3_000, "{n_messages}");
}

#[test]
fn the_flows_of_homer_parse_and_tell_the_call_that_their_agent_names() {
    let Some(flows) = shared("hep/messages") else { return };
    let (mut n_messages, mut n_named) = (0, 0);
    for (name, jsonl) in &flows {
        for line in jsonl.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            let Some(payload) = line["payload"].as_str().filter(|_| line["rcinfo"]["proto_type"] == 1) else {
                continue;
            };
            let parsed = parse(payload.as_bytes());
            let Ok(m) = parsed else { panic!("{name}: {parsed:?}\n{payload}") };
            n_messages += 1;
            n_named += usize::from(line["rcinfo"]["correlation_id"].as_str() == Some(&lossy(m.call_id)));
        }
    }
    // Of the others the agent names the call of another leg.
    assert!(n_messages >= 90 && n_named >= 30, "{n_messages} {n_named}");
}

/// What Zeek says of one request and the response that ended it, by column.
type Row = BTreeMap<String, String>;

fn zeek(log: &[u8]) -> Vec<Row> {
    let log = std::str::from_utf8(log).unwrap();
    let mut lines = log.lines().filter(|l| l.starts_with("#fields") || !l.starts_with('#')).map(|l| l.split('\t'));
    let columns: Vec<&str> = lines.next().unwrap().filter(|c| *c != "#fields").collect();
    lines.map(|row| columns.iter().zip(row).map(|(c, v)| ((*c).to_owned(), v.to_owned())).collect()).collect()
}

/// What disagrees, of a message that Zeek's row is about. Zeek drops the tag of From and writes `-` for what is not there.
fn disagreements(row: &Row, m: &Message<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |column: &str, is: String| {
        let expected = row.get(column).filter(|v| *v != "-" && *v != "(empty)");
        if let Some(expected) = expected.filter(|expected| **expected != is) {
            wrong.push(format!("{column}: {expected} and not {is}"));
        }
    };
    let address = |a: Address<'_>, tag: &[u8]| {
        let name = if a.name.is_empty() { String::new() } else { format!("\"{}\" ", lossy(a.name)) };
        let tag = if tag.is_empty() { String::new() } else { format!(";tag={}", lossy(tag)) };
        format!("{name}<{}>{tag}", lossy(a.uri.whole))
    };
    same("call_id", lossy(m.call_id));
    let len = m.content_length.map_or("-".to_owned(), |len| len.to_string());
    match m.start {
        Start::Request { method, uri } => {
            // Zeek takes the final response of an INVITE for that of its CANCEL: the sequence is the request's.
            same("seq", format!("{} {}", m.cseq, lossy(m.cseq_method)));
            same("method", lossy(method));
            same("uri", lossy(uri.whole));
            same("request_from", address(m.from, b""));
            same("request_to", address(m.to, m.to.tag));
            same("user_agent", lossy(m.user_agent));
            same("request_body_len", len);
        }
        Start::Response { code, reason } => {
            same("status_code", code.to_string());
            same("status_msg", lossy(reason));
            same("response_from", address(m.from, b""));
            same("response_to", address(m.to, m.to.tag));
            same("response_body_len", len);
            let via = format!("SIP/2.0/{} {}", lossy(m.via.transport), lossy(m.via.host));
            let path = row.get("response_path").map_or("", String::as_str);
            if !path.is_empty() && !path.starts_with(&via) {
                wrong.push(format!("response_path: {path} and not {via}"));
            }
            // What stands behind the branch it leaves away.
            let first = path.split(',').next().unwrap_or_default();
            if first.contains(";received=") && !first.contains(&format!(";received={}", lossy(m.via.received))) {
                wrong.push(format!("response_path: {path} and not received={}", lossy(m.via.received)));
            }
        }
    }
    wrong
}

#[test]
fn zeek_agrees_field_by_field_on_the_same_packets() {
    let (Some(logs), Some(captures)) = (shared("sip/expected"), shared("sip/captures")) else { return };
    let mut n_rows = 0;
    for (name, log) in &logs {
        let capture = name.replace('-', "_").replace(".sip.log", ".sip.jsonl");
        let Some(capture) = captures.get(&capture) else { panic!("{capture} belongs to {name}") };
        let payloads = payloads(capture);
        let messages: Vec<Message<'_>> = payloads.iter().map(|p| parse(p).unwrap()).collect();
        for row in zeek(log) {
            // Some message of the transaction is the one that Zeek wrote down.
            let best = |is_request: bool| {
                let kind = messages.iter().filter(|m| matches!(m.start, Start::Request { .. }) == is_request);
                kind.map(|m| disagreements(&row, m)).min_by_key(Vec::len).unwrap()
            };
            assert_eq!(best(true), [""; 0], "{name}: request of {row:?}");
            let is_answered = row.get("status_code").is_some_and(|code| code != "-");
            assert!(!is_answered || best(false).is_empty(), "{name}: {:?} of {row:?}", best(false));
            if let Some(kind) = row.get("content_type").filter(|k| *k != "-") {
                assert!(messages.iter().any(|m| m.content_type == kind.as_bytes()), "{kind}");
            }
            n_rows += 1;
        }
    }
    assert!(n_rows >= 30, "{n_rows}");
}

#[test]
fn the_claims_of_real_passports_are_read_and_nothing_else_is_taken_for_one() {
    let Some(files) = shared("stir") else { return };
    let mut n_levels = 0;
    for line in files["identity_vectors.jsonl"].split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let vector: Value = serde_json::from_slice(line).unwrap();
        let head = "INVITE sip:b@x SIP/2.0\r\nFrom: <sip:a@x>\r\nTo: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n";
        let invite = format!("{head}Identity: {}\r\n\r\n", vector["identity"].as_str().unwrap());
        let expected = vector["claims"]["attest"].as_str().and_then(|a| Attestation::parse(a.as_bytes()));
        n_levels += usize::from(expected.is_some());
        assert_eq!(attestation(&parse(invite.as_bytes()).unwrap()), expected.unwrap_or_default(), "{vector}");
    }
    assert!(n_levels > 0);
}
