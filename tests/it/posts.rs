//! Call records as FreeSWITCH posts them: over real HTTP to a real service, and as a stream to its feed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::service::Fixture;
use crate::support::{replay, shared};

const FEED: &str = "name = \"pbx\"\nformat = \"json-cdr\"";

/// A call that ended `n` seconds into 2026, without `encode-values`.
fn record(n: u64, more: &str) -> String {
    let end = 1_767_225_600_000_000 + n * 1_000_000;
    format!(
        r#"{{"switchname":"fs1","variables":{{"uuid":"u{n}","direction":"inbound","sip_call_id":"c{n}@x","sip_from_user":"+46700000001","sip_to_user":"+46840000{n:02}","hangup_cause":"NORMAL_CLEARING","billmsec":"1500","end_uepoch":"{end}"{more}}}}}"#
    )
}

fn answer_of(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let mut answer = Vec::new();
    // A refusal may cut off what was still being sent.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).expect("text")
}

/// Posts and gives the whole answer.
fn post(fixture: &Fixture, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(fixture.running().http.expect("there is HTTP")).expect("connects");
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    drop(stream.write_all((head + body).as_bytes()));
    answer_of(stream)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// In lines of 72, as FreeSWITCH breaks them.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i > three.len() { '=' } else { char::from(digit) });
            if out.len() % 73 == 72 {
                out.push('\n');
            }
        }
    }
    out
}

#[test]
fn a_record_is_applied_before_its_post_is_answered_however_it_is_wrapped() {
    let mut fixture = Fixture::start(FEED, "");
    let events = |n: u64| format!("ringfence_ingest_events_total{{feed=\"pbx\",kind=\"cdr\"}} {n}");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let base64_form = "Content-Type: application/x-www-form-base64-encoded\r\n";
    for (n, path, headers, body) in [
        (1, "/cdr?uuid=a_u1", "Content-Type: application/json\r\n", record(1, "")),
        (2, "/api/feeds/pbx/cdr?uuid=u2", form, format!("cdr={}", escaped(&record(2, "")))),
        (3, "/api/feeds/pbx/cdr", base64_form, format!("cdr={}", base64(&record(3, "")))),
        // Told not to wait for `100 Continue`, FreeSWITCH forgets its content type.
        (4, "/cdr", form, record(4, "")),
    ] {
        let answer = post(&fixture, path, headers, &body);
        assert_eq!(status(&answer), "200", "{n}: {answer}");
        let metrics = fixture.metrics();
        assert!(metrics.lines().any(|line| line == events(n)), "{n}: {metrics}");
    }
    let found = fixture.stop();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["rule"], &found[0]["value"]), (&json!("ips-many"), &json!(3)));
}

#[test]
fn b_legs_and_what_is_posted_again_count_once() {
    let mut fixture = Fixture::start(FEED, "");
    for (path, body) in [
        ("/cdr?uuid=b_u1", record(1, "")),
        ("/cdr?uuid=b_u2", record(2, "")),
        ("/cdr", record(3, r#","call_uuid":"u0","direction":"outbound""#)),
        ("/cdr", record(4, "")),
        ("/cdr", record(4, "")),
        ("/cdr", record(5, "")),
        ("/cdr", record(5, "")),
    ] {
        assert_eq!(status(&post(&fixture, path, "", &body)), "200");
    }
    assert_eq!(fixture.stop(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_bad_body_is_refused_with_its_reason_and_counted() {
    let fixture = Fixture::start(FEED, "");
    for (path, body, expected) in [
        ("/cdr", "", "400"),
        ("/cdr", "{", "400"),
        ("/cdr", "cdr=***", "400"),
        ("/cdr", "{}", "400"),
        ("/cdr", "{}{}", "400"),
        ("/api/feeds/other/cdr", "{}", "404"),
    ] {
        let answer = post(&fixture, path, "", body);
        assert_eq!(status(&answer), expected, "{body}: {answer}");
    }
    assert!(post(&fixture, "/cdr", "", "{}").ends_with("\r\n\r\nno_time\n"));
    assert!(fixture.get(fixture.running().http, "/cdr").starts_with("HTTP/1.1 405"));
    assert!(fixture.get(fixture.running().metrics_address, "/cdr").starts_with("HTTP/1.1 404"));
    fixture.wait_for_metric("ringfence_ingest_rejects_total{feed=\"pbx\",reason=\"no_time\"} 4");
    fixture.wait_for_metric("ringfence_ingest_rejects_total{feed=\"pbx\",reason=\"malformed\"} 3");
}

#[test]
fn a_body_past_its_limit_is_not_read() {
    let fixture = Fixture::start(FEED, "");
    let length = 256 * 1024;
    let long = record(1, &format!(",\"x\":\"{}\"", "y".repeat(length - record(1, "").len() - 7)));
    assert_eq!(long.len(), length);
    assert_eq!(status(&post(&fixture, "/cdr", "", &long)), "200");
    assert_eq!(status(&post(&fixture, "/cdr", "", &format!("{long} "))), "413");
    // Nor where its length is not told beforehand.
    let mut stream = TcpStream::connect(fixture.running().http.expect("there is HTTP")).expect("connects");
    let head = "POST /cdr HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
    drop(stream.write_all((head.to_owned() + &chunk.repeat(5)).as_bytes()));
    assert_eq!(status(&answer_of(stream)), "413");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let fixture = Fixture::start(&format!("{FEED}\nslow_timeout_s = 1"), "");
    let mut stream = TcpStream::connect(fixture.running().http.expect("there is HTTP")).expect("connects");
    stream.write_all(b"POST /cdr HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").expect("sends");
    assert_eq!(status(&answer_of(stream)), "408");
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"pbx\",reason=\"slow_sender\"} 1");
}

fn authorization(user: &str, token: &str) -> String {
    format!("Authorization: Basic {}\r\n", base64(&format!("{user}:{token}")))
}

#[test]
fn a_feed_with_tokens_asks_for_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("any"), "s3cret\n").expect("writes");
    std::fs::write(folder.path().join("east"), "e4st\n").expect("writes");
    let feed = format!(
        "{FEED}\ninsecure = true\ntoken_file = \"any\"\ngateways = [{{ name = \"fs-east\", token_file = \"east\" }}]"
    );
    let fixture = Fixture::in_folder(folder, &feed, "");
    let tried = |headers: &str| post(&fixture, "/cdr", headers, &record(1, ""));
    for headers in [
        String::new(),
        authorization("pbx", "wrong"),
        authorization("pbx", ""),
        // A gateway's token is its own.
        authorization("pbx", "e4st"),
        authorization("fs-west", "e4st"),
        "Authorization: Bearer s3cret\r\n".to_owned(),
    ] {
        let answer = tried(&headers);
        assert_eq!(status(&answer), "401", "{headers}");
        assert!(answer.to_lowercase().contains("\r\nwww-authenticate: basic realm="), "{answer}");
    }
    for (user, token) in [("pbx", "s3cret"), ("fs-east", "e4st"), ("fs-west", "s3cret")] {
        assert_eq!(status(&tried(&authorization(user, token))), "200", "{user}");
    }
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"pbx\",reason=\"unauthorised\"} 6");
}

#[test]
fn a_feed_without_a_token_takes_nothing_that_is_passed_on_for_others() {
    let fixture = Fixture::start(FEED, "");
    for header in ["Origin: http://page.example\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=192.0.2.1\r\n"]
    {
        assert_eq!(status(&post(&fixture, "/cdr", header, &record(1, ""))), "403", "{header}");
    }
    assert_eq!(status(&post(&fixture, "/cdr", "", &record(1, ""))), "200");
}

#[test]
fn the_short_path_is_for_the_only_feed_and_a_feed_without_listen_takes_posts_alone() {
    let second = "[[feed]]\nname = \"pbx2\"\nformat = \"json-cdr\"";
    let fixture = Fixture::start(FEED, second);
    assert_eq!(fixture.running().feeds.len(), 1);
    assert_eq!(status(&post(&fixture, "/cdr", "", &record(1, ""))), "404");
    assert_eq!(status(&post(&fixture, "/api/feeds/pbx/cdr", "", &record(1, ""))), "200");
    assert_eq!(status(&post(&fixture, "/api/feeds/pbx2/cdr", "", &record(1, ""))), "200");
    let closed = Fixture::start(&format!("{FEED}\nhttp = false"), "");
    assert_eq!(status(&post(&closed, "/cdr", "", &record(1, ""))), "404");
}

#[test]
fn a_stream_of_records_comes_over_tcp_too() {
    let fixture = Fixture::start(FEED, "");
    let pretty = record(1, "").replace(',', ",\n    ");
    let mut stream = fixture.tcp();
    stream
        .write_all(format!("{pretty}\n{}{}\nnoise\n{}", record(2, ""), record(3, ""), record(4, "")).as_bytes())
        .expect("sends");
    fixture.wait_for_metric("ringfence_ingest_events_total{feed=\"pbx\",kind=\"cdr\"} 4");
    fixture.wait_for_metric("ringfence_ingest_rejects_total{feed=\"pbx\",reason=\"malformed\"} 1");
}

#[test]
fn the_record_of_a_real_switch_is_taken() {
    let Some(shared) = shared("the_record_of_a_real_switch_is_taken") else { return };
    let body = std::fs::read_to_string(shared.join("data/cdr/freeswitch/json_cdr_body.json")).expect("the record");
    let fixture = Fixture::start(FEED, "");
    assert_eq!(status(&post(&fixture, "/cdr?uuid=a_3da8bf84-c133-4959-9e24-e72875cb33a1", "", &body)), "200");
    fixture.wait_for_metric("ringfence_ingest_events_total{feed=\"pbx\",kind=\"cdr\"} 1");
}

#[test]
fn files_of_records_are_replayed_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("ruleset.toml");
    std::fs::write(&rules, crate::service::RULES).expect("writes");
    let events = folder.path().join("a_u1.cdr.json");
    let records: Vec<_> =
        (1..60).flat_map(|n| [record(n, ""), record(n, ""), record(n, "").replace("\"u", "{")]).collect();
    std::fs::write(&events, format!("[{}]", records.join(",\n"))).expect("writes");
    let told = |threads: &str| replay(&rules, &events, "violations", &["--threads", threads, "--dedup"]);
    let one = told("1");
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(one.lines().all(|line| line.contains("+46700000001")), "{one}");
    assert_eq!(told("2"), one);
    assert_eq!(told("7"), one);
}
