//! The proof of the thresholds: random rule sets and streams, judged by the Python oracle of the specification, by the
//! brute-force model and by the program itself, which must agree, whatever the number of threads.
//!
//! `RINGFENCE_CASES` sets how many cases run, `RINGFENCE_SEED` where they start.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::brute::{Outcome, Row, judge};
use crate::cases::{Case, Reach};
use crate::support::{replay, shared};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = setting("RINGFENCE_SEED", 1);
    let n = setting("RINGFENCE_CASES", default);
    eprintln!("seeds {first}..{} (RINGFENCE_SEED, RINGFENCE_CASES)", first + n);
    first..first + n
}

/// Runs the oracle over many cases in one interpreter: reads folders, one a line; prints their violations, then a dot.
const DRIVER: &str = r#"
import sys, json, pathlib
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import oracle
for folder in sys.stdin.read().split():
    rules = oracle.load_rules(folder + "/rules")
    with open(folder + "/events.ndjson") as f:
        for row in oracle.run(rules, (json.loads(line) for line in f)):
            print(json.dumps(row))
    print(".")
"#;

fn write_case(case: &Case, folder: &Path) {
    std::fs::create_dir_all(folder.join("rules")).expect("a folder for the case");
    std::fs::write(folder.join("rules/ruleset.toml"), case.rules.toml()).expect("the rules are written");
    std::fs::write(folder.join("events.ndjson"), case.ndjson()).expect("the events are written");
}

fn oracle_violations(place: &Path, folders: &[String]) -> Vec<Vec<Json>> {
    let mut child = Command::new("python3")
        .args(["-B", "-c", DRIVER])
        .arg(place.join("oracle"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(folders.join("\n").as_bytes()).expect("the oracle reads its folders");
    drop(stdin);
    let out = child.wait_with_output().expect("the oracle ends");
    assert!(out.status.success(), "the oracle refused a case: {}", out.status);
    let text = String::from_utf8(out.stdout).expect("the oracle prints UTF-8");
    let mut cases = vec![Vec::new()];
    for line in text.lines() {
        if line == "." {
            cases.push(Vec::new());
        } else {
            cases.last_mut().expect("one is open").push(json(line));
        }
    }
    cases.pop();
    cases
}

fn json(line: &str) -> Json {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}: {line}"))
}

fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).expect("a time of this century");
    format!("{}.{:03}Z", time.strftime("%Y-%m-%dT%H:%M:%S"), ms.rem_euclid(1_000))
}

/// Why the line is not the violation the model says; `None` where it is. A shown value may saturate above its level.
fn difference(want: &Row, got: &Json) -> Option<String> {
    let texts = [
        ("time", rfc3339(want.time_ms)),
        ("customer", want.customer.clone()),
        ("rule", want.rule.clone()),
        ("level", want.level.to_owned()),
        ("measure", want.measure.to_owned()),
        ("window", want.window.clone()),
        ("mode", want.mode.to_owned()),
    ];
    for (name, value) in texts {
        if got[name].as_str() != Some(value.as_str()) {
            return Some(format!("{name}: expected {value}, got {}", got[name]));
        }
    }
    if got["call_id"].as_str() != want.call_id.as_deref() || got["call_id"].is_string() != want.call_id.is_some() {
        return Some(format!("call_id: expected {:?}, got {}", want.call_id, got["call_id"]));
    }
    if want.late != (got["late"] == Json::Bool(true)) {
        return Some(format!("late: expected {}, got {}", want.late, got["late"]));
    }
    let key = got["key"].as_object()?;
    if key.len() != want.key.len() {
        return Some(format!("key: expected {:?}, got {}", want.key, got["key"]));
    }
    for (name, value) in &want.key {
        let same = match value {
            Some(value) => key.get(name).and_then(Json::as_str) == Some(value),
            None => key.get(name).is_some_and(|v| v.as_str() != Some("")),
        };
        if !same {
            return Some(format!("key: expected {:?}, got {}", want.key, got["key"]));
        }
    }
    let (value, threshold) = (got["value"].as_f64()?, got["threshold"].as_f64()?);
    let saturated = value < want.value && value >= want.threshold;
    if (threshold - want.threshold).abs() > 1e-3 || ((value - want.value).abs() > 1e-3 && !saturated) {
        return Some(format!("expected {} of {}, got {value} of {threshold}", want.value, want.threshold));
    }
    None
}

/// What is wrong with these violations, if anything.
fn compare(want: &Outcome, got: &[Json]) -> Result<(), String> {
    for (n, row) in want.violations.iter().enumerate() {
        let line = got.get(n).ok_or_else(|| format!("violation {n} is missing: {row:?}"))?;
        // A field that is not there at all is as wrong as one of the wrong value.
        if !(line["key"].is_object() && line["value"].is_number() && line["threshold"].is_number()) {
            return Err(format!("violation {n} is not complete: {line}"));
        }
        if let Some(why) = difference(row, line) {
            return Err(format!("violation {n}: {why}\nexpected {row:?}\n     got {line}"));
        }
    }
    got.get(want.violations.len()).map_or(Ok(()), |extra| Err(format!("one violation too many: {extra}")))
}

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(json).collect()
}

#[test]
fn the_brute_force_model_equals_the_oracle() {
    let Some(place) = shared("the_brute_force_model_equals_the_oracle") else { return };
    let temp = tempfile::tempdir().expect("a temporary folder");
    let cases: Vec<Case> = seeds(600).map(|seed| Case::new(seed, Reach::Oracle)).collect();
    let folder = |case: &Case| temp.path().join(case.seed.to_string());
    for case in &cases {
        write_case(case, &folder(case));
    }
    let folders: Vec<String> = cases.iter().map(|c| folder(c).display().to_string()).collect();
    let expected = oracle_violations(&place, &folders);
    assert_eq!(expected.len(), cases.len());
    let (mut n_violations, mut n_late, mut n_too_late, mut n_silent) = (0, 0, 0, 0);
    for (case, expected) in cases.iter().zip(&expected) {
        let outcome = judge(&case.rules, &case.events);
        if let Err(why) = compare(&outcome, expected) {
            panic!("seed {}: the oracle disagrees with the model: {why}\n{}", case.seed, case.rules.toml());
        }
        n_violations += outcome.violations.len();
        n_late += outcome.violations.iter().filter(|v| v.late).count();
        n_too_late += outcome.too_late;
        n_silent += usize::from(outcome.violations.is_empty());
    }
    eprintln!(
        "{} cases, {n_silent} of them silent: {n_violations} violations, {n_late} late, {n_too_late} events too late",
        cases.len()
    );
    if cases.len() >= 100 {
        assert!(n_violations > cases.len() * 5 && n_late > 20 && n_too_late > 100 && n_silent < cases.len() / 4);
    }
}

/// A case through `replay` with 1, 2 and 8 threads, against the model.
fn check_replay(case: &Case, folder: &Path, reach: Reach) -> Result<(), String> {
    write_case(case, folder);
    let (rules, events) = (folder.join("rules"), folder.join("events.ndjson"));
    let want = judge(&case.rules, &case.events);
    let one = replay(&rules, &events, "violations", &["--threads", "1"]);
    compare(&want, &lines(&one))?;
    for threads in ["2", "8"] {
        if one != replay(&rules, &events, "violations", &["--threads", threads]) {
            return Err(format!("{threads} threads give other bytes than one"));
        }
    }
    if reach == Reach::Beyond {
        return compare_verdicts(case, &want, &replay(&rules, &events, "verdicts", &["--threads", "2"]));
    }
    let summary = json(&replay(&rules, &events, "summary", &["--threads", "2"]));
    for (name, n) in [("late", want.late), ("too_late", want.too_late), ("events", case.events.len() as u64)] {
        if summary[name].as_u64() != Some(n) {
            return Err(format!("summary: {name}: expected {n}, got {}", summary[name]));
        }
    }
    Ok(())
}

fn compare_verdicts(case: &Case, want: &Outcome, got: &str) -> Result<(), String> {
    let got = lines(got);
    if got.len() != want.verdicts.len() {
        return Err(format!("expected {} verdicts, one an event, got {}", want.verdicts.len(), got.len()));
    }
    for (n, (want, got)) in want.verdicts.iter().zip(&got).enumerate() {
        let flags: Vec<&str> = got["flags"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let same = got["action"] == want.action && got["rule"] == want.rule && got["cause"] == want.cause;
        if !same || flags != want.flags {
            return Err(format!("verdict {n}: expected {want:?}, got {got} of {}", case.events[n].line(0)));
        }
    }
    Ok(())
}

/// Leaves out rules and events as long as the case goes on to fail.
fn shrink(mut case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut tries = 1_500;
    let mut attempt = |case: &mut Case, change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        tries -= 1;
        let shrunk = tries > 0 && fails(&smaller);
        if shrunk {
            *case = smaller;
        }
        shrunk
    };
    for index in (0..case.rules.thresholds.len()).rev() {
        attempt(&mut case, &|c| drop(c.rules.thresholds.remove(index)));
    }
    for index in (0..case.rules.firewall.len()).rev() {
        attempt(&mut case, &|c| drop(c.rules.firewall.remove(index)));
    }
    let mut step = case.events.len().div_ceil(2);
    while step > 0 {
        let mut at = 0;
        while at < case.events.len() {
            let end = (at + step).min(case.events.len());
            if !attempt(&mut case, &|c| drop(c.events.drain(at..end))) {
                at += step;
            }
        }
        step /= 2;
    }
    attempt(&mut case, &|c| c.events.iter_mut().for_each(|e| e.padding = 0));
    for index in 0..case.rules.thresholds.len() {
        attempt(&mut case, &|c| c.rules.thresholds[index].condition = None);
    }
    case
}

fn check_many(reach: Reach, default: u64) {
    let temp = tempfile::tempdir().expect("a temporary folder");
    for seed in seeds(default) {
        let case = Case::new(seed, reach);
        if let Err(why) = check_replay(&case, temp.path(), reach) {
            eprintln!("seed {seed}: {why}\nlooking for the smallest part of it that fails ...");
            let small = shrink(case, |c| check_replay(c, temp.path(), reach).is_err());
            let why = check_replay(&small, temp.path(), reach).err().unwrap_or_default();
            panic!("seed {seed}, shrunk: {why}\n{}\n{}", small.rules.toml(), small.ndjson());
        }
    }
}

#[test]
fn replay_equals_the_model_on_random_rules_and_streams() {
    check_many(Reach::Oracle, 500);
}

#[test]
fn replay_equals_the_model_with_blocks_merged_keys_and_concurrent_calls() {
    check_many(Reach::Beyond, 300);
}
