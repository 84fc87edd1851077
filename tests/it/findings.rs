//! Findings drafted from what a real service kept of simulated attacks: the attacker comes first, the counts are those
//! of a plain count over what was sent, and what is proposed can be typed and passes `check`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence::archive::{Archive, Erase};
use ringfence::clock::{Clock, Timestamp};
use ringfence::findings::{Draft, FindingsError, Recommendation, Sources, draft};
use ringfence::incident::{Alert, Incident, IncidentState};
use ringfence::journal::NamesFile;
use ringfence::policy::{LoadOptions, Policy, RuleSource, load};
use ringfence::service::{self, Running, Setup};
use ringfence::storage::Disk;
use ringfence::store::{Store, SubjectKind, SubjectQuery};
use ringfence::{config, findings};
use serde_json::{Value, json};

use crate::support::ringfence;

const RULESET: &str = r#"
ringfence = 1
default_action = "allow"
include = ["firewall/*.toml", "ips/*.toml"]

[macros]
high_risk = 'callee.class in {premium, satellite} or callee.country in {SO, MV, GM, CU, LV}'

[lists]
auto = { type = "number", dynamic = true }
blocked_callers = { type = "number", file = "lists/blocked-callers.csv" }
"#;

const FIREWALL: &str = r#"
[[firewall]]
id = "fw-partner"
when = 'direction == inbound and caller == +46709999999'
action = "allow"

[[firewall]]
id = "fw-tracked"
when = 'direction == inbound and caller == +4790000002'
action = "block"
track = ["alert:warning"]

[[firewall]]
id = "fw-auto"
when = 'direction == inbound and caller in $auto'
action = "block"

[[firewall]]
id = "fw-night"
when = 'direction == inbound and callee == +4684000999'
action = "divert"
divert_to = "+4684000998"

[[firewall]]
id = "fw-blocked-callers"
mode = "monitor"
when = 'direction == inbound and caller in $blocked_callers'
action = "block"
"#;

const IPS: &str = r#"
[[threshold]]
id = "ips-wangiri"
description = "one ring and gone"
on = "end"
where = 'direction == inbound and not answered and ring < 6s'
measure = "distinct(callee)"
per = ["prefix(caller, 7)"]
window = "10m"
warning = ">= 5"
critical = ">= 15"

[[threshold]]
id = "ips-toll-fraud"
on = "attempt"
where = 'direction == outbound and @high_risk'
measure = "count"
per = ["account"]
window = "1h"
warning = ">= 3"
critical = ">= 6"

[[threshold]]
id = "ips-war-dialing"
on = "attempt"
where = 'direction == inbound'
measure = "run(callee, 3)"
per = ["caller"]
window = "15m"
warning = ">= 8"
critical = ">= 20"
on_critical = { do = ["alert"], block = { list = "auto", ttl = "1h" } }

[[threshold]]
id = "ips-tdos"
on = "attempt"
where = 'direction == inbound'
measure = "count"
per = ["callee"]
window = "1m"
warning = ">= 30"
critical = ">= 60"

[[threshold]]
id = "ips-register"
on = "register"
where = 'auth_failed'
measure = "count"
per = ["source_ip"]
window = "5m"
warning = ">= 10"
critical = ">= 30"
"#;

const LIST: &str = "# numbers\nvalue,comment,category,expires,ticket\n+46700000001,before,Fraud,,\n";

fn files() -> [(&'static str, &'static str); 4] {
    [
        ("ruleset.toml", RULESET),
        ("firewall/10-lists.toml", FIREWALL),
        ("ips/10-all.toml", IPS),
        ("lists/blocked-callers.csv", LIST),
    ]
}

fn policy(source: &RuleSource) -> Arc<Policy> {
    let loaded = load(source, LoadOptions::default());
    Arc::new(loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems)))
}

/// What a service left behind that was sent these lines.
struct Kept {
    folder: tempfile::TempDir,
    lines: Vec<Value>,
    source: RuleSource,
    policy: Arc<Policy>,
}

impl Kept {
    fn of(lines: Vec<Value>) -> Kept {
        let folder = tempfile::tempdir().expect("a folder");
        let source = RuleSource::memory(files());
        let policy = policy(&source);
        let text = format!(
            "data = \"{0}/data\"\n[output]\nviolations = \"{0}/violations.jsonl\"\nnotices = \"off\"\n\
             [[feed]]\nlisten = \"127.0.0.1:0\"\nmerge = true\n",
            folder.path().to_str().expect("a plain path")
        );
        let (config, problems) = config::parse(&text, &folder.path().join("ringfence.toml"));
        let mut config = config.unwrap_or_else(|| panic!("{problems:?}"));
        (config.http, config.metrics) = (None, None);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let setup = Setup { config, policy: Arc::clone(&policy), observer: None };
        let running = runtime.block_on(service::start(setup)).expect("starts");
        send(&running, &lines);
        let begun = Instant::now();
        while !running.desk().is_some_and(|(desk, _)| desk.is_idle()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the desk takes what was found");
            std::thread::sleep(Duration::from_millis(20));
        }
        runtime.block_on(running.stop());
        Kept { folder, lines, source, policy }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The incident of a rule, and the alerts of it.
    fn incident(&self, store: &Store, rule: &str) -> (Incident, Vec<Alert>) {
        let bodies = |kind| {
            let page = store.subjects(kind, &SubjectQuery::default()).expect("reads");
            page.rows.into_iter().map(|row| row.body).collect::<Vec<String>>()
        };
        let alerts = bodies(SubjectKind::Alert);
        let alerts = alerts.iter().map(|body| serde_json::from_str::<Alert>(body).expect("an alert"));
        let alerts: Vec<Alert> = alerts.filter(|alert| alert.rule == rule).collect();
        let id = alerts.iter().find_map(|alert| alert.incident).expect("an incident");
        let incidents = bodies(SubjectKind::Incident);
        let incidents = incidents.iter().map(|body| serde_json::from_str::<Incident>(body).expect("an incident"));
        let incident = incidents.into_iter().find(|incident| incident.id == id).expect("it is there");
        (incident, alerts.into_iter().filter(|alert| alert.incident == Some(id)).collect())
    }

    fn draft(&self, rule: &str) -> Draft {
        self.draft_of(rule, |_, _| ())
    }

    /// With an incident as it is not, or no longer.
    fn draft_of(&self, rule: &str, change: impl Fn(&mut Incident, &mut Vec<Alert>)) -> Draft {
        let (store, _) = Store::open(&self.data()).expect("a store");
        let (mut incident, mut alerts) = self.incident(&store, rule);
        change(&mut incident, &mut alerts);
        let disk = Disk::real();
        let (names, _) = NamesFile::open(&disk, &self.data().join("journal")).expect("names");
        let sources = Sources {
            disk: &disk,
            archive: &self.data().join("archive"),
            journal: &self.data().join("journal"),
            store: &store,
            policy: &self.policy,
            names: names.names(),
            rules: &self.source,
            now: Clock.now(),
        };
        let draft = draft(&sources, &incident, &alerts).expect("a draft");
        let written = serde_json::to_string(&draft).expect("JSON");
        assert!(written.len() < 100_000, "{} bytes", written.len());
        assert!(draft.svg().len() < 30 * 1024, "{} bytes", draft.svg().len());
        draft
    }

    /// The call ids of a label's calls, of those `is` true of one of their events.
    fn calls(&self, label: &str, is: impl Fn(&Value) -> bool) -> BTreeSet<String> {
        let lines = self.lines.iter().filter(|line| line["label"] == label && is(line));
        lines.filter_map(|line| line["call_id"].as_str().map(str::to_owned)).collect()
    }
}

/// Sends the lines, numbered, and waits until they are on the disk.
pub(crate) fn send(running: &Running, lines: &[Value]) {
    let mut stream = TcpStream::connect(running.feeds[0].1).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let answers = stream.try_clone().expect("a second handle");
    let n = lines.len() as u64;
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(answers).lines() {
            let line: Value = serde_json::from_str(&line.expect("an answer")).expect("JSON");
            if line["ack"].as_u64().is_some_and(|ack| ack >= n) {
                return;
            }
        }
        panic!("no acknowledgement of {n}");
    });
    let mut text = format!("{}\n", json!({ "hello": { "gateway": "sbc", "reply": "ack" } }));
    for (line, seq) in lines.iter().zip(1u64..) {
        let mut line = line.clone();
        line["seq"] = json!(seq);
        text.push_str(&format!("{line}\n"));
    }
    stream.write_all(text.as_bytes()).expect("sends");
    reader.join().expect("all are acknowledged");
}

fn simulated(args: &str) -> Vec<Value> {
    let words: Vec<&str> = std::iter::once("simulate").chain(args.split_whitespace()).collect();
    let out = ringfence(&words);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The rule set with these edits made, as a person would make them, passes `check`.
fn assert_can_be_typed(recommended: &[Recommendation]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    // From the end of each file up, so that lines stay where they are.
    let mut edits: Vec<&Recommendation> = recommended.iter().filter(|one| !one.edit.is_empty()).collect();
    edits.sort_by_key(|one| std::cmp::Reverse(one.line.unwrap_or(usize::MAX)));
    let mut all = String::new();
    for one in edits {
        let path = folder.path().join(&one.file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", one.file));
        let text = match (&one.replaces, one.line) {
            (Some(old), Some(line)) => {
                let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
                let (head, tail) = text.split_at(start);
                assert!(tail.lines().next().is_some_and(|l| l.contains(old.as_str())), "line {line} has {old}");
                format!("{head}{}", tail.replacen(old.as_str(), &one.edit, 1))
            }
            _ => format!("{text}{}\n", one.edit),
        };
        std::fs::write(&path, &text).expect("written");
        all.push_str(&one.edit);
        all.push('\n');
    }
    let out = ringfence(&["check".as_ref(), folder.path().as_os_str()]);
    assert!(out.status.success(), "{}{}\n{all}", text(&out.stdout), text(&out.stderr));
    // It is an edit that does something, not one that is passed over.
    policy(&RuleSource::at(folder.path()));
    all
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_wangiri_attack_is_counted_and_its_range_proposed() {
    let kept = Kept::of(simulated(
        "--calls 400 --attack wangiri:strong@5m --duration 30m --kind events --customer acme --seed 3",
    ));
    let draft = kept.draft("ips-wangiri");
    let rang =
        |line: &Value| line["kind"] == "end" && line["status"] != "answered" && line["ring"].as_f64() < Some(6.0);
    let expected = kept.calls("wangiri", rang);
    assert_eq!(draft.calls, expected.len() as u64);
    assert_eq!((draft.blocked, draft.answered), (0, 0));
    assert_eq!(draft.keys.top[0].value, "+2235550*");
    assert_eq!(draft.caller_prefixes.top[0].value, "+2235550");
    assert_eq!(draft.caller_prefixes.top[0].count, draft.calls);
    let starts = kept.lines.iter().filter(|l| l["label"] == "wangiri" && l["kind"] == "attempt");
    let starts = starts.filter(|l| expected.contains(l["call_id"].as_str().unwrap_or_default()));
    let starts: Vec<i64> = starts.filter_map(|l| l["time"].as_i64()).collect();
    assert_eq!(draft.first_call.map(|t| t.0), starts.iter().min().copied());
    assert_eq!(draft.last_call.map(|t| t.0), starts.iter().max().copied());
    let points: u64 = draft.series.points.iter().map(|point| point.passed + point.blocked).sum();
    assert_eq!(points, draft.calls);
    assert!(draft.series.peak > Some(15.0), "{:?}", draft.series.peak);

    let beside = kept.calls("wangiri", |line| line["kind"] == "attempt").len() - expected.len();
    let why = &draft.recommended[0].why;
    assert!(why.contains(&format!("{beside} other calls of that time")), "{why}");
    let findings = draft.findings();
    assert!(findings.contains("against a warning level of 5 and a critical level of 15"), "{findings}");
    assert!(findings.contains("No call was turned away, "), "{findings}");
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(typed.contains("+2235550*,INC-000001: "), "{typed}");
    // The rule that the list is for only watches: that is proposed to be changed as well.
    assert!(typed.contains("mode = \"enforce\""), "{typed}");
}

#[test]
fn what_the_archive_has_not_comes_from_the_journal_and_is_the_same() {
    let kept = Kept::of(simulated("--calls 100 --attack wangiri:strong --duration 5m --kind events --customer acme"));
    let archived = kept.draft("ips-wangiri");
    std::fs::remove_dir_all(kept.data().join("archive")).expect("an archive");
    let journaled = kept.draft("ips-wangiri");
    assert!(archived.calls > 100);
    assert_eq!(Draft { made: archived.made, ..journaled }, archived);
}

#[test]
fn toll_fraud_is_told_by_account_with_minutes_and_destinations() {
    let kept = Kept::of(simulated(
        "--calls 300 --attack irsf:medium@10m --duration 3h --kind events --customer acme --start 2026-03-02T19:00:00Z",
    ));
    let draft = kept.draft("ips-toll-fraud");
    let attempts = kept.calls("irsf", |line| line["kind"] == "attempt");
    assert!(attempts.len() > 10, "{}", attempts.len());
    assert_eq!(draft.calls, attempts.len() as u64, "clean calls do not go there");
    let talk: f64 = kept
        .lines
        .iter()
        .filter(|l| l["label"] == "irsf" && l["kind"] == "end" && l["status"] == "answered")
        .filter_map(|l| l["duration"].as_f64())
        .sum();
    assert_eq!(draft.risk.talk_ms, (talk * 1000.0).round() as i64);
    let answered = kept.calls("irsf", |line| line["kind"] == "answer");
    assert_eq!(draft.risk.calls, answered.len() as u64);
    assert_eq!(draft.accounts.values, 1);
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(typed.contains("direction == outbound and account in {\"pbx-"), "{typed}");
    assert!(draft.findings().contains("At risk: "), "{}", draft.findings());
}

#[test]
fn one_caller_is_put_on_the_list_and_addresses_into_a_rule() {
    let kept = Kept::of(simulated(
        "--calls 200 --attack war-dialing:medium,reg-bruteforce:medium --duration 30m --kind events --customer acme",
    ));
    let draft = kept.draft("ips-war-dialing");
    assert_eq!(draft.calls, kept.calls("war-dialing", |line| line["kind"] == "attempt").len() as u64);
    assert_eq!(draft.callers.values, 1);
    let first_block = draft.first_block.expect("its own rule blocks it");
    let late = |line: &Value| line["kind"] == "attempt" && line["time"].as_i64() >= Some(first_block.0);
    assert_eq!(draft.blocked, kept.calls("war-dialing", late).len() as u64);
    assert!(draft.first_violation < first_block && draft.blocked_by.top[0].value == "fw-auto");
    let caller = &draft.callers.top[0].value;
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(typed.contains(&format!("{caller},INC-")), "{typed}");
    assert_eq!(draft.series.peak, None, "a run does not add up");

    let draft = kept.draft("ips-register");
    let n = kept.lines.iter().filter(|l| l["label"] == "reg-bruteforce").count();
    assert_eq!((draft.calls, draft.addresses.top[0].value.as_str()), (n as u64, "203.0.113.66"));
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(typed.contains("on = \"request\"\nwhen = 'source_ip in {203.0.113.66}'"), "{typed}");
}

#[test]
fn a_flooded_number_is_defended_by_what_tells_its_calls_apart() {
    let kept = Kept::of(simulated("--calls 200 --attack tdos:strong --duration 20m --kind events --customer acme"));
    let draft = kept.draft("ips-tdos");
    assert_eq!(draft.callees.values, 1);
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(typed.contains(" and attestation in {C, failed, none}'"), "{typed}\n{}", draft.recommendations());
}

/// Many people call one number, which is nothing but a busy day.
fn busy(n_callers: u64, talk_s: u64, name: &str) -> Vec<Value> {
    flood(
        n_callers,
        talk_s,
        |i| json!({ "caller": format!("+4670{:07}", i * 7_919 % 10_000_000), "caller_name": name }),
    )
}

/// Calls to one number, second by second, and what is special of each.
fn flood(n_calls: u64, talk_s: u64, special: impl Fn(u64) -> Value) -> Vec<Value> {
    let mut lines = Vec::new();
    for i in 0..n_calls {
        let (time, id) = (1_772_438_400_000u64 + i * 1_000, format!("b{i}"));
        let mut call = json!({ "call_id": id, "direction": "inbound", "callee": "+4684000001", "customer": "acme",
            "label": "busy" });
        for (key, value) in special(i).as_object().into_iter().flatten() {
            call[key] = value.clone();
        }
        let with = |more: Value| {
            let mut line = call.clone();
            for (key, value) in more.as_object().into_iter().flatten() {
                line[key] = value.clone();
            }
            line
        };
        lines.push(with(json!({ "kind": "attempt", "time": time })));
        lines.push(with(json!({ "kind": "answer", "time": time + 3_000, "ring": 3 })));
        let end = time + 3_000 + talk_s * 1000;
        lines.push(with(json!({ "kind": "end", "time": end, "status": "answered", "ring": 3, "duration": talk_s })));
    }
    lines.sort_by_key(|line| line["time"].as_i64());
    lines
}

#[test]
fn hostile_names_come_out_harmless() {
    let name = "<script>alert(1)</script>\r\nBcc: all@example.com\u{202e} & \"x\" ]]>";
    let kept = Kept::of(busy(70, 5, name));
    let draft = kept.draft("ips-tdos");
    for text in [draft.findings(), draft.recommendations(), draft.svg(), draft.svg().replace("<text", "")] {
        assert!(!text.contains("<script") && !text.contains("\nBcc") && !text.contains(['\r', '\u{202e}']), "{text}");
    }
    assert!(draft.samples[0].caller_name.starts_with("(script)alert(1)(/script) Bcc: all@example.com &"));
    assert!(draft.findings().contains("\"(script)alert(1)(/scr...\""), "{}", draft.findings());
    assert_can_be_typed(&draft.recommended);
}

#[test]
fn a_false_alarm_is_left_out_of_its_rule() {
    let kept = Kept::of(busy(70, 120, "Anna"));
    let draft = kept.draft_of("ips-tdos", |incident, _| incident.state = IncidentState::Dismissed);
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(typed.contains("where = '(direction == inbound) and not (callee == +4684000001)'"), "{typed}");
    // The same of one that comes back again and again, and only of it.
    let draft = kept.draft_of("ips-tdos", |_, alerts| alerts[0].is_flapping = true);
    assert!(draft.recommendations().contains("Leave callee=+4684000001 out of rule ips-tdos."));
    let draft = kept.draft("ips-tdos");
    assert!(!draft.recommendations().contains("Leave "), "{}", draft.recommendations());
}

#[test]
fn what_must_not_be_blocked_is_named_and_not_proposed() {
    // Four callers, of which the first three make most of it: listed already, let through on purpose, and own.
    let callers = ["+46700000001", "+46709999999", "+4684000055", "+4790000001"];
    let mut lines = flood(120, 5, |i| json!({ "caller": callers[i as usize % 4] }));
    lines.extend(flood(1, 5, |_| json!({ "call_id": "in", "caller": "+46701111111", "callee": "+4684000055" })));
    let kept = Kept::of(lines);
    let draft = kept.draft("ips-tdos");
    assert_eq!(draft.calls, 120);
    let notes = draft.notes.join("\n");
    for said in [
        "No block is proposed for +46700000001: it is on list blocked_callers already.",
        "No block is proposed for +46709999999: rule fw-partner lets it through on purpose.",
        "No block is proposed for +4684000055: calls come in to it: it is one of the customer's own.",
    ] {
        assert!(notes.contains(said), "{notes}");
    }
    let typed = assert_can_be_typed(&draft.recommended);
    assert!(callers.iter().all(|caller| !typed.contains(caller)), "{typed}");
}

#[test]
fn a_level_that_is_crossed_by_little_is_raised_above_what_is_normal() {
    let mut lines = Vec::new();
    for callee in 0..26u64 {
        let n = if callee == 0 { 31 } else { 25 };
        lines.extend(flood(n, 60, |i| {
            json!({ "call_id": format!("r{callee}-{i}"), "caller": format!("+4670{:07}", callee * 1000 + i),
                "callee": format!("+46840001{callee:02}") })
        }));
    }
    lines.sort_by_key(|line| line["time"].as_i64());
    let draft = Kept::of(lines).draft("ips-tdos");
    assert_eq!((draft.calls, draft.series.peak), (31, Some(31.0)));
    let normal = draft.normal.clone().expect("other keys");
    assert_eq!((normal.keys, normal.median, normal.p99, normal.highest), (25, 25.0, 25.0, 25.0));
    assert_eq!(draft.recommended.len(), 1, "{}", draft.recommendations());
    assert_eq!(draft.recommended[0].replaces.as_deref(), Some("warning = \">= 30\""));
    assert_eq!(assert_can_be_typed(&draft.recommended), "warning = \">= 32\"\n");
}

#[test]
fn a_flood_is_blocked_where_it_withholds_its_number_and_else_goes_elsewhere() {
    let kept = Kept::of(flood(70, 5, |_| json!({ "caller": "anonymous" })));
    let typed = assert_can_be_typed(&kept.draft("ips-tdos").recommended);
    assert!(typed.contains("callee == +4684000001 and anonymous'\naction = \"block\""), "{typed}");
    let typed = assert_can_be_typed(&Kept::of(busy(70, 5, "Anna")).draft("ips-tdos").recommended);
    assert!(typed.contains("callee == +4684000001'\naction = \"divert\"\ndivert_to = \"+4684000998\""), "{typed}");
    // Not to itself.
    let there =
        Kept::of(flood(70, 5, |i| json!({ "caller": format!("+4670{:07}", i * 7_919), "callee": "+4684000998" })));
    let draft = there.draft("ips-tdos");
    assert!(
        draft.recommendations().contains("Ask the carrier to limit calls to +4684000998"),
        "{}",
        draft.recommendations()
    );
}

#[test]
fn the_picture_marks_what_was_told_and_stays_small_whatever_it_shows() {
    let kept =
        Kept::of(simulated("--calls 50 --attack war-dialing:medium --duration 30m --kind events --customer acme"));
    let mut draft = kept.draft("ips-war-dialing");
    draft.notices = vec![draft.first_violation.plus_ms(120_000), draft.first_violation.plus_ms(600_000)];
    draft.customer = "A & B <i>".to_owned();
    let svg = draft.svg();
    for part in ["first violation 08:", "first block 08:", "notice 08:", "A &amp; B &lt;i&gt;", "class=\"b\"", "<desc"]
    {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert_eq!(svg, draft.svg());
    let mut most = draft.clone();
    let point = most.series.points[0].clone();
    most.series.points = (0..90)
        .map(|i| findings::Point { at: point.at.plus_ms(i * 1000), passed: 1, blocked: 1, value: Some(i as f64) })
        .collect();
    most.series.key = "k".repeat(500);
    most.notices = (0..500).map(|i| point.at.plus_ms(i * 100)).collect();
    assert!(most.svg().len() < 30 * 1024, "{}", most.svg().len());
}

#[test]
fn a_tracked_rule_that_turns_everything_away_asks_for_nothing_more() {
    let kept = Kept::of(flood(20, 5, |_| json!({ "caller": "+4790000002" })));
    let draft = kept.draft("fw-tracked");
    assert_eq!((draft.calls, draft.blocked, draft.risk.calls), (20, 20, 0));
    assert_eq!((draft.rules[0].measure.as_str(), draft.recommended.len()), ("match", 0));
    let findings = draft.findings();
    assert!(findings.contains("All 20 calls were turned away by rule fw-tracked as it stands"), "{findings}");
}

#[test]
fn a_rule_that_is_gone_is_looked_for_by_its_key_and_erased_numbers_are_told() {
    let mut kept = Kept::of(busy(70, 5, "Anna"));
    let without = files().map(|(path, text)| match path {
        "ips/10-all.toml" => (path, text.replace("id = \"ips-tdos\"", "id = \"ips-other\"")),
        _ => (path, text.to_owned()),
    });
    kept.source = RuleSource::memory(without);
    kept.policy = policy(&kept.source);
    let draft = kept.draft("ips-tdos");
    assert_eq!((draft.calls, draft.series.peak), (70, None));
    assert!(draft.findings().contains("Rule ips-tdos is not there any more: its calls are those with the same key."));

    let (disk, folder) = (Disk::real(), kept.data().join("archive"));
    let what = Erase::Before { before: Timestamp::MAX, customer: None };
    Archive::open(&disk, &folder).and_then(|mut archive| archive.erase(&what)).expect("erases");
    let draft = kept.draft("ips-tdos");
    let findings = draft.findings();
    assert!(findings.contains("The phone numbers in one file of that time have been erased"), "{findings}");
    assert!(findings.contains("no call kept here fits its rules"), "{findings}");
}

#[test]
fn without_calls_the_draft_says_so() {
    let kept = Kept::of(busy(70, 5, "Anna"));
    for part in ["archive", "journal"] {
        let mut folders = vec![kept.data().join(part)];
        while let Some(below) = folders.pop() {
            for entry in std::fs::read_dir(&below).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                match entry.is_dir() {
                    true => folders.push(entry),
                    false if is_data(&entry) => std::fs::remove_file(entry).expect("goes"),
                    false => {}
                }
            }
        }
    }
    let draft = kept.draft("ips-tdos");
    assert_eq!((draft.calls, draft.recommended.as_slice()), (0, [].as_slice()));
    let findings = draft.findings();
    assert!(
        findings.contains("cannot be read") && findings.contains("no calls of that time are kept here"),
        "{findings}"
    );
    assert!(draft.svg().contains("there is nothing to draw"), "{}", draft.svg());
}

fn is_data(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.ends_with(".parquet") || name.ends_with(".journal") || name.ends_with(".seg")
}

#[test]
fn an_incident_without_alerts_has_no_findings() {
    let kept = Kept::of(busy(70, 5, "Anna"));
    let (store, _) = Store::open(&kept.data()).expect("a store");
    let (incident, _) = kept.incident(&store, "ips-tdos");
    let names = Arc::default();
    let nowhere = kept.folder.path().join("nowhere");
    let sources = Sources {
        disk: &Disk::real(),
        archive: &nowhere,
        journal: &nowhere,
        store: &store,
        policy: &kept.policy,
        names: &names,
        rules: &kept.source,
        now: Timestamp(0),
    };
    assert!(
        matches!(findings::draft(&sources, &incident, &[]), Err(FindingsError::NoAlerts(name)) if name == "INC-000001")
    );
}
