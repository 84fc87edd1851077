//! Comparisons held against two replays of their own, and labels against cases made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::event::dialplan::DialPlan;
use crate::policy::{LoadOptions, RuleSource, load};

/// 2026-03-02T10:00:00Z, a Monday.
const START_MS: i64 = 1_772_445_600_000;

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn policy(rules: &str) -> Policy {
    let text = format!("ringfence = 1\ndefault_action = 'allow'\n{rules}");
    let loaded = load(&RuleSource::memory([("ruleset.toml", text)]), LoadOptions::default());
    let problems: Vec<String> = loaded.problems.iter().map(|p| p.message.clone()).collect();
    loaded.policy.unwrap_or_else(|| panic!("the rules are wrong: {problems:?}"))
}

pub(super) fn options(n_threads: usize) -> Options {
    Options {
        output: Output::Violations,
        n_threads,
        merge: false,
        dedup: false,
        sort: false,
        from: None,
        to: None,
        customer: None,
    }
}

pub(super) fn recording(path: &Path) -> Recording {
    let context = FeedContext::file(Arc::new(Names::new()), DialPlan::default());
    Recording { context, format: None, paths: vec![path.to_owned()] }
}

pub(super) fn file_of(folder: &tempfile::TempDir, lines: &[Value]) -> PathBuf {
    let path = folder.path().join("calls.ndjson");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).unwrap();
    path
}

/// What `replay` prints of a file, as JSON.
fn replayed(rules: &str, path: &Path, output: Output, from: Option<Timestamp>) -> Vec<Value> {
    let out = Collected::default();
    let options = Options { output, from, ..options(2) };
    replay(policy(rules), recording(path), &options, out.clone()).unwrap();
    let bytes = lock(&out.0).clone();
    bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

/// Numbers that look like chance and are the same in every run.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Calls of a few people over some days, a few late.
fn calls(seed: u64, n: usize) -> Vec<Value> {
    let mut draw = Draw(seed);
    let mut time = START_MS;
    let mut lines = Vec::new();
    for i in 0..n {
        time += draw.below(40_000) as i64;
        let late = if draw.below(20) == 0 { draw.below(90_000) as i64 } else { 0 };
        lines.push(json!({
            "time": time - late,
            "kind": "attempt",
            "call_id": format!("c{i}"),
            "direction": "inbound",
            "customer": format!("c{}", draw.below(2)),
            "caller": format!("+4670000000{}", draw.below(6)),
            "callee": format!("+46840000{:02}", draw.below(30)),
        }));
    }
    lines
}

const BEFORE: &str = r#"
[[firewall]]
id = "fw-marked"
when = 'callee in {+4684000011}'
action = "flag"
flag = "odd"
[[firewall]]
id = "fw-one"
when = 'caller in {+46700000001}'
action = "block"
[[firewall]]
id = "fw-watched"
mode = "monitor"
when = 'callee in {+468400000*}'
action = "block"
[[threshold]]
id = "ips-rate"
on = "attempt"
measure = "count"
per = ["caller"]
window = "2m"
warning = ">= 4"
critical = ">= 6"
[[threshold]]
id = "ips-same"
on = "attempt"
measure = "distinct(callee)"
per = ["caller", "direction"]
window = "1m"
warning = ">= 3"
[[threshold]]
id = "ips-gone"
on = "attempt"
measure = "count"
per = ["callee"]
window = "10m"
warning = ">= 5"
"#;

const AFTER: &str = r#"
[[firewall]]
id = "fw-marked"
when = 'callee in {+4684000011}'
action = "flag"
flag = "odd"
[[firewall]]
id = "fw-first"
when = 'caller in {+46700000001} and callee in {+468400001*}'
action = "allow"
[[firewall]]
id = "fw-one"
when = 'caller in {+46700000001, +46700000002}'
action = "block"
[[firewall]]
id = "fw-watched"
mode = "monitor"
when = 'callee in {+468400000*, +4684000011}'
action = "block"
[[threshold]]
id = "ips-rate"
on = "attempt"
measure = "count"
per = ["caller"]
window = "2m"
warning = ">= 3"
critical = ">= 7"
[[threshold]]
id = "ips-same"
on = "attempt"
measure = "distinct(callee)"
per = ["caller", "direction"]
window = "1m"
warning = ">= 3"
"#;

fn compared(path: &Path, options: &Options, labels: Option<&str>) -> Difference {
    let sets = [(policy(BEFORE), "before".to_owned()), (policy(AFTER), "after".to_owned())];
    compare(sets, recording(path), options, labels).unwrap()
}

/// `(rule, level)` with the call and the key of each violation.
fn violations(rules: &str, path: &Path) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for line in replayed(rules, path, Output::Violations, None) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let told = format!("{} {} {} {}", text("time"), text("call_id"), text("customer"), line["key"]);
        assert!(found.entry((text("rule"), text("level"))).or_default().insert(told));
    }
    found
}

/// By rule: the calls it decided.
fn decided(rules: &str, path: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in replayed(rules, path, Output::Verdicts, None) {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        found.entry(text("rule")).or_default().insert(text("call_id"));
    }
    found
}

#[test]
fn a_comparison_says_what_two_replays_differ_in() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..6 {
        let path = file_of(&folder, &calls(seed, 3_000));
        let found = compared(&path, &options(2), None);
        let row =
            |rule: &str, level: &str| found.changed.iter().find(|row| row.rule == rule && row.level == level).cloned();
        let (before, after) = (violations(BEFORE, &path), violations(AFTER, &path));
        let none = BTreeSet::new();
        for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (before.get(key).unwrap_or(&none), after.get(key).unwrap_or(&none));
            let (lost, gained) = (was.difference(is).count() as u64, is.difference(was).count() as u64);
            let row = row(&key.0, &key.1);
            assert_eq!(row.is_some(), lost + gained > 0, "{key:?} of {seed}: {row:?}");
            let Some(row) = row else { continue };
            let moved = row.earlier + row.later;
            assert_eq!((row.only_before + moved, row.only_after + moved), (lost, gained), "{key:?} of {seed}");
            assert_eq!(row.before.episodes, Some(was.len() as u64));
            assert_eq!(row.after.episodes, Some(is.len() as u64));
            assert!(row.samples.len() <= 3 * 4 && !row.samples.is_empty());
        }
        assert!(row("ips-rate", "warning").unwrap().earlier > 0, "a lower level is reached sooner");
        let (before, after) = (decided(BEFORE, &path), decided(AFTER, &path));
        for (rule, was) in &before {
            let (was, is) = (was, &after[rule]);
            if let Some(row) = row(rule, "block") {
                let found = (row.only_before, row.only_after, row.before.calls, row.after.calls);
                let differ = (was.difference(is).count(), is.difference(was).count(), was.len(), is.len());
                assert_eq!(found, (differ.0 as u64, differ.1 as u64, differ.2 as u64, differ.3 as u64), "{rule}");
            }
        }
        assert!(row("fw-one", "block").is_some_and(|row| row.only_before > 0 && row.only_after > 0));
        // Of some of its calls another rule is the first to decide.
        assert!(row("fw-watched", "would block").is_some_and(|row| row.only_after > 0 && row.only_before > 0));
        assert_eq!(found.unchanged, ["fw-marked", "ips-same"]);
        assert_eq!((found.only_before, found.only_after), (vec!["ips-gone".to_owned()], vec!["fw-first".to_owned()]));
        assert_eq!(found.calls, 3_000);
    }
}

#[test]
fn a_comparison_is_the_same_on_any_number_of_threads_and_in_any_order_of_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(&folder, &calls(9, 4_000));
    let one = compared(&path, &options(1), Some("label"));
    for n_threads in [2, 5] {
        assert_eq!(one, compared(&path, &options(n_threads), Some("label")));
    }
    let text = one.text();
    assert!(text.contains("<- largest change") && text.contains(difference::NOTE), "{text}");
}

#[test]
fn a_set_against_itself_has_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(&folder, &calls(3, 2_000));
    let sets = [(policy(BEFORE), "a".to_owned()), (policy(BEFORE), "a".to_owned())];
    let found = compare(sets, recording(&path), &options(2), None).unwrap();
    assert!(found.is_empty() && found.unchanged.len() == 6, "{found:?}");
    assert!(found.text().contains("no rule says anything different"));
}

#[test]
fn what_comes_before_the_reported_time_fills_windows_and_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(&folder, &calls(5, 3_000));
    let from = Timestamp(START_MS + 20_000 * 1_500);
    let all = replayed(BEFORE, &path, Output::Violations, None);
    let told = replayed(BEFORE, &path, Output::Violations, Some(from));
    let is_later = |line: &&Value| line["time"].as_str().unwrap() >= from.to_string().as_str();
    // A late event may tell of its key's newest time; here none crosses the edge.
    let expected: Vec<&Value> = all.iter().filter(is_later).collect();
    assert!(expected.len() > 20 && expected.len() < all.len());
    assert_eq!(told.iter().collect::<Vec<_>>(), expected);
    let summary = |from| replayed(BEFORE, &path, Output::Summary, from).pop().unwrap();
    let verdicts = replayed(BEFORE, &path, Output::Verdicts, Some(from)).len();
    assert_eq!(summary(Some(from))["events"], verdicts);
    assert_eq!(summary(None)["events"], 3_000);
    let matched = summary(Some(from))["rules"]["ips-rate"]["matched"].as_u64().unwrap();
    assert_eq!(matched, verdicts as u64, "what fills windows is not counted as matched");
}

fn call(at_s: i64, id: &str, caller: &str, label: Option<&str>) -> Value {
    let mut line = json!({
        "time": START_MS + at_s * 1000, "kind": "attempt", "call_id": id, "direction": "inbound",
        "caller": caller, "callee": "+4684000001",
    });
    if let Some(label) = label {
        line["belongs"] = label.into();
    }
    line
}

#[test]
fn labels_tell_what_was_found_after_how_many_calls_and_what_was_a_false_alarm() {
    let (folder, rules) = (
        tempfile::tempdir().unwrap(),
        "[[threshold]]\nid = 'r'\non = 'attempt'\nmeasure = 'count'\nper = ['caller']\nwindow = '1m'\nwarning = '>= 3'\n\
         [[firewall]]\nid = 'f'\nwhen = 'caller in {+46700000009}'\naction = 'block'\n",
    );
    let (one, two, quiet, other) = ("+46700000001", "+46700000002", "+46700000003", "+46700000009");
    let mut lines = vec![
        call(0, "a", one, Some("loud")),
        call(1, "b", two, Some("slow")),
        call(4, "c", one, Some("loud")),
        call(5, "d", quiet, Some("small")),
        call(10, "e", one, Some("loud")),
        call(11, "f", two, Some("slow")),
        call(12, "g", two, Some("slow")),
        call(13, "h", two, Some("slow")),
        call(14, "i", other, Some("clean")),
    ];
    // Three clean calls of one caller, the third a false alarm; a fourth opens nothing new.
    lines.extend((0..4).map(|n| call(200 + n, &format!("x{n}"), quiet, None)));
    lines.insert(3, json!("no event"));
    let path = file_of(&folder, &lines);
    for n_threads in [1, 3] {
        let found = detect(policy(rules), recording(&path), &options(n_threads), "belongs").unwrap();
        assert_eq!(found.clean_calls, 5);
        assert_eq!(found.missed, ["small"]);
        let rule = |id: &str| found.rules.iter().find(|rule| rule.rule == id).unwrap();
        let of = |id: &str| {
            let rule = rule(id);
            (rule.found.clone(), rule.median_calls, rule.median_lead_seconds, rule.alarms, rule.false_alarms)
        };
        let loud_and_slow = vec!["loud".to_owned(), "slow".to_owned()];
        // Third call each, 10 s and 11 s after the first.
        assert_eq!(of("r"), (loud_and_slow, Some(3.0), Some(10.5), 3, 1));
        assert_eq!(of("f"), (vec![], None, None, 1, 1));
        assert_eq!(rule("r").false_alarms_per_million_clean_calls, 200_000.0);
        let slow = found.attacks.iter().find(|attack| attack.attack == "slow").unwrap();
        let by = FoundBy { rule: "r".to_owned(), calls: 3, lead_seconds: 11.0 };
        assert_eq!((slow.calls, slow.found_by.clone()), (4, vec![by]));
        let text = found.text();
        assert!(text.contains("missed: small") && text.contains("2 of 3"), "{text}");
    }
}

#[test]
fn attacks_and_clean_calls_from_before_the_time_that_is_reported_are_not_counted() {
    let (folder, one, two) = (tempfile::tempdir().unwrap(), "+46700000001", "+46700000002");
    let rules = "[[threshold]]\nid = 'r'\non = 'attempt'\nmeasure = 'count'\nper = ['caller']\nwindow = '1m'\n\
                 warning = '>= 3'\n";
    let lines = [
        call(0, "a", two, Some("early")),
        call(1, "b", one, Some("long")),
        call(2, "c", two, None),
        call(20, "d", one, Some("long")),
        call(30, "e", one, Some("long")),
        call(31, "f", two, None),
    ];
    let path = file_of(&folder, &lines);
    let options = Options { from: Some(Timestamp(START_MS + 10_000)), ..options(2) };
    let found = detect(policy(rules), recording(&path), &options, "belongs").unwrap();
    assert_eq!(found.clean_calls, 1);
    let by = FoundBy { rule: "r".to_owned(), calls: 2, lead_seconds: 10.0 };
    assert_eq!(found.attacks, [AttackFound { attack: "long".to_owned(), calls: 2, found_by: vec![by] }]);
    assert_eq!((found.rules[0].alarms, found.rules[0].false_alarms), (2, 1), "the third of the other is a clean call");
}

#[test]
fn labels_are_refused_where_records_cannot_tell_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.sip");
    std::fs::write(&path, "").unwrap();
    std::fs::write(&path, "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    let error = detect(policy(BEFORE), recording(&path), &options(1), "label").unwrap_err().to_string();
    assert!(error.contains("labels are read from ndjson and csv"), "{error}");
    let unlabelled = file_of(&folder, &[call(0, "a", "+46700000001", Some("x"))]);
    let error = detect(policy(BEFORE), recording(&unlabelled), &options(1), "belong").unwrap_err().to_string();
    assert_eq!(error, "--label: no record says anything in a field `belong`");
    detect(policy(BEFORE), recording(&unlabelled), &options(1), LABEL).unwrap();
    let missing = recording(&folder.path().join("none.ndjson"));
    let error = detect(policy(BEFORE), missing, &options(1), "label").unwrap_err().to_string();
    assert!(error.contains("cannot open"), "{error}");
}

#[test]
fn what_time_brings_belongs_to_the_attack_its_key_was_counted_for() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "[[threshold]]\nid = 'r'\non = 'attempt'\nmeasure = 'count'\nper = ['caller']\nwindow = '5m'\nwarning = '>= 3'\nfor = '1m'\nremind = '2m'\n";
    let (bad, good, other) = ("+46700000001", "+46700000002", "+46700000003");
    let mut lines: Vec<Value> = (0..3).map(|n| call(n * 10, &format!("a{n}"), bad, Some("loud"))).collect();
    lines.extend((0..3).map(|n| call(200 + n * 10, &format!("b{n}"), good, None)));
    // Another's call lets the time pass that both of them have held their level for.
    lines.push(call(299, "c", other, None));
    let path = file_of(&folder, &lines);
    let told = replayed(rules, &path, Output::Violations, None);
    let n_reminders = told.iter().filter(|line| line["reminder"] == true).count();
    let found = detect(policy(rules), recording(&path), &options(2), "belongs").unwrap();
    let rule = &found.rules[0];
    assert_eq!(rule.found, ["loud"], "{told:?}");
    assert_eq!((rule.alarms as usize, rule.false_alarms), (told.len() - n_reminders, 1), "{told:?}");
    // Against a set that waits half as long, the same alarms are earlier.
    let sooner = rules.replace("'1m'", "'30s'");
    let sets = [(policy(rules), "a".to_owned()), (policy(&sooner), "b".to_owned())];
    let found = compare(sets, recording(&path), &options(2), None).unwrap();
    let changed = &found.changed[0];
    assert_eq!((changed.earlier, changed.only_before, changed.only_after), (2, 0, 0), "{found:?}");
    assert_eq!(changed.before.episodes, Some(2));
}

#[test]
fn labels_of_csv_stand_in_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let (path, settings) = (folder.path().join("calls.csv"), folder.path().join("settings.toml"));
    let columns = "time = 'end'\ncaller = 'from'\ncallee = 'to'\n";
    std::fs::write(&settings, format!("[columns]\n{columns}")).unwrap();
    let row = |n: i64, label: &str| format!("{},+46700000001,+4684000001,\"{label}\"\n", START_MS / 1000 + n);
    let rows =
        [row(0, "one, loud"), "not,a,row\n".to_owned(), row(1, ""), row(2, "one, loud"), row(3, "clean")].concat();
    std::fs::write(&path, format!("end,from,to,What\n{rows}")).unwrap();
    let rules = "[[threshold]]\nid = 'r'\non = 'attempt'\nmeasure = 'count'\nper = ['caller']\nwindow = '1m'\nwarning = '>= 3'\n";
    let of = |field: &str| {
        let format = Some(format!("csv:{}", settings.display()));
        detect(policy(rules), Recording { format, ..recording(&path) }, &options(2), field)
    };
    for field in ["what", "4"] {
        let found = of(field).unwrap();
        let by = FoundBy { rule: "r".to_owned(), calls: 2, lead_seconds: 2.0 };
        let attack = AttackFound { attack: "one, loud".to_owned(), calls: 2, found_by: vec![by] };
        assert_eq!((found.attacks, found.clean_calls), (vec![attack], 2));
    }
    let error = format!("{:#}", of("label").unwrap_err());
    assert!(error.contains("the header has no column `label`"), "{error}");
}

#[test]
fn a_rule_that_was_renamed_is_compared_with_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(&folder, &calls(2, 500));
    let after = BEFORE.replace("\"ips-rate\"", "\"ips-pace\"\nrenamed_from = \"ips-rate\"");
    let sets = [(policy(BEFORE), "a".to_owned()), (policy(&after), "b".to_owned())];
    let found = compare(sets, recording(&path), &options(2), None).unwrap();
    assert!(found.is_empty() && found.unchanged.contains(&"ips-pace".to_owned()), "{found:?}");
    assert!(found.only_before.is_empty() && found.only_after.is_empty(), "{found:?}");
}
