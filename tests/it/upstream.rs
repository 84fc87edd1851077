//! Alerts of other programs, as those programs post them: over real HTTP to a real service.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringfence::store::{Query, SubjectKind, SubjectQuery};
use serde_json::{Value, json};

use crate::service::Fixture;

fn begin() -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("token"), "s3cret\n").expect("writes");
    std::fs::write(folder.path().join("other"), "other\n").expect("writes");
    go_on(folder)
}

fn go_on(folder: tempfile::TempDir) -> Fixture {
    let rest = "[receiver.noc]\ncustomer = \"acme\"\ntoken_file = \"token\"\n\
                [receiver.lab]\ncustomer = \"globex\"\ntoken_file = \"other\"\n";
    Fixture::in_folder(folder, "", rest)
}

/// Status, head and body of the answer.
fn post(fixture: &Fixture, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(fixture.running().http.expect("there is HTTP")).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    // A refusal may cut off what was still being sent.
    drop(stream.write_all((head + body).as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

const BEARER: &str = "Authorization: Bearer s3cret\r\n";

fn webhook(alerts: &Value) -> String {
    json!({ "version": "4", "status": "firing", "receiver": "x", "alerts": alerts, "new_in_0_99": [] }).to_string()
}

fn alert(host: &str, status: &str) -> Value {
    json!({
        "status": status, "labels": { "alertname": "DiskFull", "severity": "critical", "host": host },
        "annotations": { "summary": "a disk is full" }, "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-01-01T00:10:00Z" },
    })
}

fn incidents(fixture: &Fixture) -> Vec<Value> {
    let (_, store) = fixture.running().desk().expect("it lasts");
    let page = store.subjects(SubjectKind::Incident, &SubjectQuery::default()).expect("reads");
    page.rows.iter().map(|row| serde_json::from_str(&row.body).expect("JSON")).collect()
}

fn n_violations(fixture: &Fixture) -> usize {
    fixture.running().desk().expect("it lasts").1.violations(&Query::default()).expect("reads").rows.len()
}

fn wait_for(fixture: &Fixture, what: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = incidents(fixture);
        if what(&found) {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{found:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn alerts_of_one_name_are_one_incident_of_the_customer_whose_token_it_is() {
    let mut fixture = begin();
    let body = webhook(&json!([alert("db1", "firing"), alert("db2", "firing")]));
    for _ in 0..3 {
        let (status, _, answer) = post(&fixture, "/receive/alertmanager", BEARER, &body);
        assert_eq!((status, answer), (200, Value::Null));
    }
    let found = wait_for(&fixture, |found| found.first().is_some_and(|i| i["violations"] == 2));
    assert_eq!(found.len(), 1);
    for (name, value) in [
        ("customer", json!("acme")),
        ("group", json!("DiskFull")),
        ("what", json!("a disk is full")),
        ("severity", json!(2)),
        ("state", json!("suspected")),
        ("open_alerts", json!(2)),
    ] {
        assert_eq!(found[0][name], value, "{name}");
    }
    // The same from elsewhere is somebody else's.
    let other = "Authorization: Basic eDpvdGhlcg==\r\n";
    assert_eq!(post(&fixture, "/receive/alertmanager", other, &body).0, 200);
    wait_for(&fixture, |found| found.len() == 2);
    let over = webhook(&json!([alert("db1", "resolved"), alert("db2", "resolved")]));
    assert_eq!(post(&fixture, "/receive/alertmanager", BEARER, &over).0, 200);
    wait_for(&fixture, |found| found.iter().any(|i| i["customer"] == "acme" && i["open_alerts"] == 0));
    assert_eq!(n_violations(&fixture), 4);
    fixture.stop();
}

#[test]
fn what_stays_open_over_a_restart_is_open_and_is_not_told_to_be_of_a_rule_that_is_no_more() {
    let mut fixture = begin();
    let body = json!([{ "labels": { "alertname": "A" }, "startsAt": "2026-01-01T00:00:00Z" }]).to_string();
    assert_eq!(post(&fixture, "/api/v2/alerts", BEARER, &body).0, 200);
    let trigger = json!({ "routing_key": "s3cret", "event_action": "trigger", "dedup_key": "k/1",
        "payload": { "summary": "a light is red", "source": "rack 4", "severity": "warning" } });
    let (status, _, answer) = post(&fixture, "/v2/enqueue", "", &trigger.to_string());
    assert_eq!(
        (status, answer),
        (202, json!({ "status": "success", "message": "Event processed", "dedup_key": "k/1" }))
    );
    wait_for(&fixture, |found| found.len() == 2);
    fixture = go_on(fixture.into_folder());
    for (path, body) in [("/api/v2/alerts", &body), ("/v2/enqueue", &trigger.to_string())] {
        assert!(matches!(post(&fixture, path, BEARER, body).0, 200 | 202));
    }
    assert!(incidents(&fixture).iter().all(|incident| incident["open_alerts"] == 1), "{:#?}", incidents(&fixture));
    assert_eq!(n_violations(&fixture), 2);
    let resolve = json!({ "routing_key": "s3cret", "event_action": "resolve", "dedup_key": "k/1" }).to_string();
    assert_eq!(post(&fixture, "/v2/enqueue", "", &resolve).0, 202);
    let found = wait_for(&fixture, |found| found.iter().any(|incident| incident["open_alerts"] == 0));
    let over: Vec<&Value> = found.iter().filter(|i| i["open_alerts"] == 0).map(|i| &i["what"]).collect();
    assert_eq!(over, [&json!("a light is red (rack 4)")]);
    fixture.stop();
}

#[test]
fn good_alerts_are_kept_where_others_of_the_post_are_not_and_the_answer_says_which() {
    let mut fixture = begin();
    let body = json!([{ "labels": { "alertname": "Good" } }, { "labels": { "a": 5 } }]).to_string();
    let (status, _, answer) = post(&fixture, "/api/v2/alerts", BEARER, &body);
    assert_eq!((status, answer), (400, json!("alert 2: a label is no text")));
    wait_for(&fixture, |found| found.first().is_some_and(|incident| incident["group"] == "Good"));
    let (status, _, answer) = post(&fixture, "/v2/enqueue", "", "{\"routing_key\":\"s3cret\"}");
    assert_eq!((status, &answer["status"]), (400, &json!("invalid event")));
    assert_eq!(answer["errors"], json!(["'event_action' is missing or invalid"]));
    for path in ["/api/v2/alerts", "/receive/alertmanager"] {
        assert_eq!(post(&fixture, path, BEARER, "{").0, 400);
    }
    fixture.stop();
}

#[test]
fn strangers_and_what_is_too_long_are_refused_and_whatever_passes_is_to_come_again() {
    let mut fixture = begin();
    for (path, headers, body) in [
        ("/api/v2/alerts", "", "[]"),
        ("/api/v2/alerts", "Authorization: Bearer s3cre\r\n", "[]"),
        ("/receive/alertmanager", "Authorization: Basic s3cret\r\n", "{}"),
        ("/v2/enqueue", BEARER, r#"{"routing_key":"x","event_action":"resolve","dedup_key":"y"}"#),
    ] {
        let (status, head, _) = post(&fixture, path, headers, body);
        assert_eq!(status, 401, "{path} {headers}");
        assert!(head.contains("www-authenticate: Bearer"), "{head}");
    }
    let long = format!("[{}]", " ".repeat(1 << 20));
    assert_eq!(post(&fixture, "/api/v2/alerts", BEARER, &long).0, 413);
    fixture.running().desk().expect("it lasts").1.close();
    let body = json!([{ "labels": { "alertname": "Late" } }]).to_string();
    let (status, head, _) = post(&fixture, "/api/v2/alerts", BEARER, &body);
    assert!(status == 503 && head.contains("retry-after: "), "{status} {head}");
    fixture.stop();
}
