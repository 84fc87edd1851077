//! `ringfence explain`: what it says of events, calls and violations, and that it finds the calls that were counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};
use ringfence::clock::Clock;
use serde_json::{Value, json};

use crate::api::{House, assert_fits, out, types};
use crate::deliveries::wait_for;
use crate::findings::send;
use crate::support::{Random, project, replay, ringfence};

fn rules() -> PathBuf {
    project().join("tests/data/example")
}

fn explain(args: &[&str]) -> Output {
    let rules = rules();
    let mut all = vec!["explain", "--rules", rules.to_str().expect("UTF-8")];
    all.extend(args);
    ringfence(&all)
}

fn text(out: &[u8]) -> String {
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

fn told(args: &[&str], expected: Expect) {
    let out = explain(args);
    assert!(out.status.success(), "{}", text(&out.stderr));
    expected.assert_eq(&text(&out.stdout));
    assert_eq!(text(&out.stderr), "");
}

/// Eight calls to a listed range after hours, a minute apart; the third warns and the eighth is critical.
fn irsf(folder: &Path) -> PathBuf {
    let call = |i: usize| {
        serde_json::json!({
            "time": format!("2026-03-02T21:{:02}:07Z", 34 + i), "kind": "attempt", "call_id": format!("c{i}@sbc1"),
            "direction": "outbound", "account": if i == 4 { "pbx-9" } else { "pbx-22" },
            "caller": "+4684000007", "callee": format!("+2235550{i:04}"),
        })
        .to_string()
            + "\n"
    };
    let path = folder.join("irsf.ndjson");
    std::fs::write(&path, (0..12).map(call).collect::<String>()).expect("the calls are written");
    path
}

#[test]
fn a_call_is_told_with_the_counts_of_its_moment_and_the_calls_that_made_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = irsf(folder.path());
    told(
        &["--input", input.to_str().expect("UTF-8"), "--call", "c6@sbc1"],
        expect![[r#"
        Mon 2026-03-02 22:40:07 Europe/Stockholm, outbound call attempt
          +4684000007 -> +22355500006
          call c6@sbc1, customer default
          account "pbx-22"

        allow by default_action: no firewall rule decided
          no   fw-harassers          direction is outbound
          no   fw-scanner-ua         user_agent is absent
          no   fw-spoofed-own        direction is outbound
          no   fw-attest-c           direction is outbound
          no   fw-auto-block         caller +4684000007 is not in $auto_block, source_ip is absent

        counted
          YES  ips-irsf-after-hours  account=pbx-22
                 6 in 1h: warning since 22:36:07, critical at >= 8
                 direction is outbound
                 @high_risk: callee in $irsf_ranges "+2235550*" (lists/irsf.csv:2; irsf; Mali premium range; NOC-118)
                 outside(business): Mon 22:40 Europe/Stockholm, "business" is Mon-Fri 07:00-18:00
                 6 calls:
                   22:40:07  c6@sbc1  +4684000007 -> +22355500006
                   22:39:07  c5@sbc1  +4684000007 -> +22355500005
                   22:37:07  c3@sbc1  +4684000007 -> +22355500003
                   22:36:07  c2@sbc1  +4684000007 -> +22355500002
                   22:35:07  c1@sbc1  +4684000007 -> +22355500001
                   22:34:07  c0@sbc1  +4684000007 -> +22355500000

        not counted
          no   ips-tdos-callee       direction is outbound
          no   ips-war-dialing       direction is outbound
          no   ips-trunk-concurrent  trunk is absent: no key
        5 rules run on other events than an attempt
    "#]],
    );
}

#[test]
fn an_event_by_itself_is_told_by_every_rule() {
    told(
        &[
            r#"{"time":"2026-03-02T10:00:00Z","kind":"attempt","call_id":"a1","direction":"inbound","trunk":"pstn-1","caller":"+46705550199","callee":"+4684000007"}"#,
        ],
        expect![[r#"
            Mon 2026-03-02 11:00:00 Europe/Stockholm, inbound call attempt
              +46705550199 -> +4684000007
              call a1, customer default
              trunk "pstn-1"

            block by fw-harassers, SIP 603
              YES  fw-harassers          block
                     direction is inbound
                     caller in $harassers "+46705550199" (lists/harassers.csv:2; calls the reception every night)
              and 4 more rules were not asked

            would count
              YES  ips-tdos-callee       callee=+4684000007
                     count in 1m: warning at >= 30, critical at >= 80
                     direction is inbound
              YES  ips-war-dialing       caller=+46705550199
                     run(callee, 3) in 15m: warning at >= 8, critical at >= 20
                     direction is inbound

            not counted
              no   ips-irsf-after-hours  direction is inbound
              no   ips-trunk-concurrent  the call was blocked and never is up
            5 rules run on other events than an attempt

            note: how many there were before is not looked at here: `--input FILE` or `--archive DIR` with `--call` tells
        "#]],
    );
    told(
        &[
            "--all",
            r#"{"time":"2026-12-25T10:00:05Z","kind":"end","direction":"inbound","caller":"+46701234567","callee":"+4684000007","ring":7.5,"status":"cancelled"}"#,
        ],
        expect![[r#"
            Fri 2026-12-25 11:00:05 Europe/Stockholm, inbound call, over
              +46701234567 -> +4684000007
              customer default
              status cancelled, ring 7.5s

            allow by default_action: no firewall rule decided

            not counted
              no   ips-wangiri          ring is 7.5s, not < 6s
                     true  direction == inbound: direction is inbound
                     true  not answered
                     false   answered: the call was not answered (status is cancelled)
                     false ring < 6s: ring is 7.5s, not < 6s
                     false not @nordic
                     true    @nordic
                     true      caller.country in {SE, NO, DK, FI}: caller.country is SE
              no   ips-robocall-short   the call was not answered (status is cancelled)
                     true  direction == inbound: direction is inbound
                     false answered: the call was not answered (status is cancelled)
              no   ips-traffic-pumping  direction is inbound
                     false direction == outbound: direction is inbound
                     false answered: the call was not answered (status is cancelled)
                     false callee.class in {highcost, premium}: callee.class is geographic
              no   ips-asr-drop         trunk is absent: no key
            10 rules run on other events than an end
        "#]],
    );
}

/// Calls, of which only those of one rule and key must be told.
fn mixed(folder: &Path, seed: u64) -> PathBuf {
    let mut random = Random::new(seed);
    let mut lines = String::new();
    let mut time = 1_772_445_600_000i64;
    for i in 0..600 {
        time += random.between(0, 4_000);
        let (prefix, inbound) = (random.pick(&["+2235550", "+4479460", "+4670555"]), random.chance(80));
        let event = serde_json::json!({
            // Some come late.
            "time": time - if random.chance(10) { random.between(0, 30_000) } else { 0 },
            "kind": "cdr", "call_id": format!("m{i}"), "direction": if inbound { "inbound" } else { "outbound" },
            "caller": format!("{prefix}{:04}", random.between(0, 30)),
            "callee": format!("+468400{:04}", random.between(0, 60)),
            "account": random.pick(&["a", "b"]), "trunk": random.pick(&["pstn-1", "sip-2"]),
            "ring": random.between(0, 9), "duration": random.between(0, 20),
            "status": random.pick(&["answered", "cancelled", "busy"]),
        });
        lines += &(event.to_string() + "\n");
    }
    let path = folder.join("mixed.ndjson");
    std::fs::write(&path, lines).expect("the calls are written");
    path
}

#[test]
fn a_violation_is_told_with_exactly_the_calls_that_were_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = mixed(folder.path(), 7);
    let events: Vec<Value> = std::fs::read_to_string(&input)
        .expect("the calls are there")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let violations = replay(&rules(), &input, "violations", &[]);
    let wangiri: Vec<&str> = violations.lines().filter(|line| line.contains("\"ips-wangiri\"")).collect();
    assert!(!wangiri.is_empty(), "there is something to explain:\n{violations}");
    for line in wangiri {
        let violation: Value = serde_json::from_str(line).expect("JSON");
        let out = explain(&[
            "--input",
            input.to_str().expect("UTF-8"),
            "--violation",
            line,
            "--calls",
            "1000",
            "--format",
            "json",
        ]);
        assert!(out.status.success(), "{line}\n{}", text(&out.stderr));
        let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let count = &answer["events"][0]["thresholds"][0]["count"];
        // The rule, read literally: what of the calls up to this one stands in its window.
        let at = |event: &Value| event["time"].as_i64().expect("ms");
        let last = events.iter().position(|event| event["call_id"] == violation["call_id"]).expect("it is there");
        let counts = |event: &&Value| {
            event["direction"] == "inbound"
                && event["status"] != "answered"
                && event["ring"].as_i64() < Some(6)
                && event["caller"].as_str().is_some_and(|c| c.starts_with("+2235550") == line.contains("+2235550"))
                && event["caller"].as_str().is_some_and(|c| !c.starts_with("+467"))
        };
        let counted: Vec<&Value> = events[..=last].iter().filter(counts).collect();
        let now = counted.iter().map(|event| at(event)).max().expect("the call itself");
        let wanted: BTreeSet<String> = counted
            .iter()
            .filter(|event| at(event) > now - 600_000)
            .map(|event| event["call_id"].as_str().expect("text").to_owned())
            .collect();
        let calls = count["calls"].as_array().expect("calls");
        let found: BTreeSet<String> = calls.iter().map(|c| c["call_id"].as_str().expect("text").to_owned()).collect();
        assert_eq!(found, wanted, "{line}");
        assert_eq!(count["value"], violation["value"].to_string().as_str(), "{line}");
        assert_eq!(count["raised"], violation["level"], "{line}");
    }
}

#[test]
fn the_value_that_is_told_is_that_of_every_violation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = mixed(folder.path(), 11);
    let violations = replay(&rules(), &input, "violations", &[]);
    assert!(violations.lines().count() > 3, "{violations}");
    for line in violations.lines() {
        let violation: Value = serde_json::from_str(line).expect("JSON");
        if violation["measure"] == "match" {
            continue;
        }
        let out = explain(&["--input", input.to_str().expect("UTF-8"), "--violation", line, "--format", "json"]);
        assert!(out.status.success(), "{line}\n{}", text(&out.stderr));
        let answer: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let count = &answer["events"][0]["thresholds"][0]["count"];
        let shown = count["value"].as_str().expect("a value").trim_end_matches('%').to_owned();
        let value: f64 = shown.parse().expect("a number");
        let wanted = violation["value"].as_f64().expect("a number");
        assert!((value - wanted).abs() < 0.051, "{value} is not {wanted}: {line}");
        assert_eq!(count["raised"], violation["level"], "{line}");
    }
}

#[test]
fn the_service_tells_of_its_newest_calls_and_the_archive_of_them_later() {
    let mut house = House::with("", Vec::new());
    let anna = house.with_anna();
    let start = Clock.now();
    let call = |i: usize| {
        let time = start.plus_ms(i as i64 * 1000 - 20_000).to_string();
        let caller = if i == 3 { "+46700000009" } else { "+46700000001" };
        json!({ "time": time, "kind": "attempt", "call_id": format!("c{i}"), "caller": caller, "callee": "+4684000007" })
    };
    send(house.running(), &(0..6).map(call).collect::<Vec<_>>());
    let answer = anna.sees("/explain?call=c4");
    let count = &answer["events"][0]["thresholds"][0]["count"];
    assert_eq!((&count["value"], &count["level"]), (&json!("4"), &json!("warning")), "{answer:#}");
    let ids = |count: &Value| {
        let calls = count["calls"].as_array().expect("calls");
        calls.iter().map(|c| c["call_id"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(count), ["c4", "c2", "c1", "c0"]);
    assert_eq!(answer["events"][0]["told_then"], Value::Null);
    let described = house.ask("GET", "/openapi.json", "", "").1;
    let schemas = &described["components"]["schemas"];
    assert_fits(&answer, &json!({ "$ref": "#/components/schemas/Answer" }), schemas, "explain");

    // The third call of the caller stands at the third place of the journal.
    let violation = anna.sees("/explain?violation=3/ips-many/warning&calls=1");
    let count = &violation["events"][0]["thresholds"][0]["count"];
    assert_eq!(
        (ids(count), &count["more_calls"], &count["raised"]),
        (vec!["c2".to_owned()], &json!(2), &json!("warning"))
    );
    for (asked, status) in [
        ("call=none", 404),
        ("violation=99/ips-many/warning", 404),
        ("violation=x", 422),
        ("calls=x&call=c1", 422),
        ("from=x&call=c1", 422),
        ("call=c1&customer=acme", 404),
        ("", 422),
    ] {
        assert_eq!(anna.get(&format!("/explain?{asked}")).0, status, "{asked}");
    }
    assert_eq!(house.ask("GET", "/explain?call=c1", "", "").0, 401);

    let home = tempfile::tempdir().expect("a folder");
    let token = anna.headers.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a token").to_owned();
    let typed = types(&house, home.path(), Some(&token), &["explain", "--call", "c4"]);
    assert!(typed.status.success() && out(&typed).contains("4 in 1m: warning since"), "{}", out(&typed));
    assert_eq!(types(&house, home.path(), Some(&token), &["explain", "--call", "c9"]).status.code(), Some(1));

    house.stop();
    let rules = house.folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a folder for the rules");
    std::fs::write(rules.join("ruleset.toml"), crate::service::RULES.replace("+46700000666", "+46700000001"))
        .expect("rules");
    let archive = house.folder.path().join("ringfence-data/archive");
    let by_others = ringfence(&[
        "explain",
        "--rules",
        rules.to_str().expect("UTF-8"),
        "--archive",
        archive.to_str().expect("UTF-8"),
        "--call",
        "c4",
    ]);
    let said = text(&by_others.stdout);
    assert!(said.contains("block by fw-harasser, SIP 603\n  when it came it was told: allow by default\n"), "{said}");
    assert!(said.contains("4 in 1m: warning since"), "{said}");
}

const HELD: &str = r#"
name = "Acme Ltd"
time_zone = "Europe/Stockholm"
[[threshold]]
id = "held"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 3"
for = "5s"
"#;

#[test]
fn what_time_brought_is_told_by_the_id_that_the_service_gave_it() {
    let house = House::with("", vec![("customers/acme.toml", HELD.to_owned())]);
    let anna = house.with_anna();
    let start = Clock.now();
    // The level holds from the third call on; the fourth comes when it has held for long enough.
    let call = |i: i64| {
        let time = start.plus_ms([0, 1, 2, 15][i as usize] * 1000 - 20_000).to_string();
        let of = json!({ "time": time, "kind": "attempt", "customer": "acme", "call_id": format!("c{i}") });
        let parties = json!({ "caller": "+46700000001", "callee": "+4684000007" });
        let mut event = of.as_object().expect("an object").clone();
        event.extend(parties.as_object().expect("an object").clone());
        Value::Object(event)
    };
    send(house.running(), &(0..4).map(call).collect::<Vec<_>>());
    let violation = wait_for("the violation", || {
        let incidents = anna.sees("/incidents");
        let number = incidents["incidents"].as_array()?.first()?["id"].as_str()?.to_owned();
        let found = anna.sees(&format!("/incidents/{number}/violations"));
        Some(found["violations"].as_array()?.first()?.clone())
    });
    let id = violation["id"].as_str().expect("an id");
    let held = start.plus_ms(2_000 - 20_000 + 5_000);
    assert!(id.starts_with(&format!("{}/held/warning/", held.0)), "{id}");
    let answer = anna.sees(&format!("/explain?violation={id}"));
    let count = &answer["events"][0]["thresholds"][0]["count"];
    let calls: Vec<_> = count["calls"].as_array().expect("calls").iter().map(|c| c["call_id"].as_str()).collect();
    assert_eq!(calls, [Some("c2"), Some("c1"), Some("c0")], "{answer:#}");
    // The line that a sink was told names no call, and its id does.
    let home = tempfile::tempdir().expect("a folder");
    let token = anna.headers.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a token").to_owned();
    let line = json!({ "id": id, "time": held.to_string(), "customer": "acme", "rule": "held", "level": "warning",
        "key": { "caller": "+46700000001" }, "call_id": null });
    let typed = types(&house, home.path(), Some(&token), &["explain", "--violation", &line.to_string()]);
    assert!(typed.status.success() && out(&typed).contains("c2"), "{}", out(&typed));
    for (asked, status) in [(format!("{id}0"), 404), ("x/held/warning/0".to_owned(), 422)] {
        assert_eq!(anna.get(&format!("/explain?violation={asked}")).0, status, "{asked}");
    }
}

fn refused(args: &[&str], code: i32, words: &str) {
    let out = explain(args);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(words), "{args:?}: {said}");
    assert!(out.stdout.is_empty(), "{}", text(&out.stdout));
}

#[test]
fn what_is_not_there_and_what_cannot_be_read_is_told_plainly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = irsf(folder.path());
    let (input, folder) = (input.to_str().expect("UTF-8"), folder.path().to_str().expect("UTF-8"));
    refused(&["--input", input, "--call", "nosuch"], 1, "call `nosuch` is not among the 12 events that were read");
    refused(&["--input", input, "--call", "c1@sbc1", "--customer", "acme"], 1, "is not among the 12 events");
    refused(&["--archive", folder, "--call", "c1@sbc1"], 2, "there is no manifest here");
    refused(&["--archive", "/nowhere", "--call", "c1@sbc1"], 2, "there is no such folder");
    refused(&["--input", "/nowhere.ndjson", "--call", "c1@sbc1"], 2, "there is no file `/nowhere.ndjson`");
    refused(&["--input", "-", "--call", "c1@sbc1"], 2, "standard input can be read once only");
    refused(&["{\"time\":"], 2, "the event is no JSON object");
    refused(&["[]"], 2, "there is no file `[]`");
    refused(&["{\"kind\":\"attempt\"}"], 2, "no_time");
    refused(&["nosuch.json"], 2, "there is no file `nosuch.json`");
    refused(&["--call", "c1@sbc1"], 2, "`--input FILE` or `--archive DIR`");
    refused(&[], 2, "what is to be explained?");
    refused(
        &["--input", input, "--call", "c1@sbc1", "--from", "2026-03-02", "--to", "2026-03-01"],
        2,
        "is not before --to",
    );
    refused(&["--from", "2026-03-02", "{}"], 2, "cannot be used with");
    refused(&["--input", input, "--call", "c1@sbc1", "--from", "2026-03-03"], 1, "is not among");
    refused(&["--input", input, "--violation", "x"], 2, "neither a violation's line of JSON nor its id");
    refused(&["--input", input, "--violation", "1/ips-wangiri/warning"], 2, "`--archive DIR`");
    refused(&["--input", input, "--violation", "{\"rule\":\"x\"}"], 2, "it has no `time`");
    let none = r#"{"time":"2026-03-02T21:41:07Z","customer":"default","rule":"nosuch","level":"warning","key":{},"call_id":null}"#;
    refused(&["--input", input, "--violation", none], 1, "names no call");
    let other = r#"{"time":"2026-03-02T21:41:07Z","customer":"default","rule":"ips-irsf-after-hours","level":"warning","key":{"account":"pbx-22"},"call_id":"c7@sbc1"}"#;
    refused(&["--input", input, "--violation", other], 1, "raise no warning of ips-irsf-after-hours");
}

#[test]
fn events_come_from_standard_input_and_files_as_well() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = irsf(folder.path());
    let from_file = explain(&[input.to_str().expect("UTF-8")]);
    assert!(from_file.status.success(), "{}", text(&from_file.stderr));
    assert_eq!(text(&from_file.stdout).matches("call attempt").count(), 12);
    let program = env!("CARGO_BIN_EXE_ringfence");
    let mut child = Command::new(program)
        .args(["explain", "--rules", rules().to_str().expect("UTF-8"), "-"])
        .stdin(Stdio::from(std::fs::File::open(&input).expect("the calls")))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("piped"), &mut out).expect("UTF-8");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(out, text(&from_file.stdout));
}
