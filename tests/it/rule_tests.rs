//! `ringfence test` as a pipeline calls it: where it looks, what it prints where, and how it exits.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::ringfence;

const RULES: &str = r#"
ringfence = 1
default_action = "allow"
[[threshold]]
id = "flood"
on = "attempt"
measure = "count"
per = ["callee"]
window = "1m"
warning = ">= 3"
[[threshold]]
id = "quiet"
on = "end"
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 30"
"#;

const GOOD: &str = r#"
[[test]]
name = "three calls are a flood"
rules = ["flood"]
start = "2026-03-02T10:00:00Z"
calls = [ { at = "0s", every = "10s", times = 3, caller = "+467010000{n:2}", callee = "+4684000001" } ]
expect = [ { at = "20s", rule = "flood", key = ["+4684000001"], level = "warning", value = 3 } ]
"#;

/// A rule set with one file of tests.
fn set(tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("tests")).expect("a folder");
    std::fs::write(folder.path().join("ruleset.toml"), RULES).expect("a file");
    std::fs::write(folder.path().join("tests/a.test.toml"), tests).expect("a file");
    folder
}

/// Exit code, standard output, standard error.
fn run(path: &Path, more: &[&str]) -> (i32, String, String) {
    let path = path.to_str().expect("a plain name");
    let out = ringfence(&[&["test", path], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

#[test]
fn tests_are_found_from_the_rules_their_folder_or_their_own_file() {
    let folder = set(GOOD);
    for path in ["", "tests", "tests/a.test.toml", "ruleset.toml"] {
        let (code, out, err) = run(&folder.path().join(path), &[]);
        let last = "1 test, all as expected; rules without a test: quiet\n";
        assert_eq!((code, err.as_str()), (0, ""), "{path}: {out}");
        assert_eq!(out, format!("ok    three calls are a flood  3 calls\n{last}"), "{path}");
    }
}

#[test]
fn a_failure_is_1_and_its_reason_stands_on_standard_output() {
    let folder = set(&GOOD.replace("times = 3", "times = 2"));
    let (code, out, err) = run(folder.path(), &[]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.contains("missing     flood warning, callee=+4684000001, +20s (value reached 2 at +10s, needs >= 3)"));
    assert!(out.starts_with("FAIL  three calls are a flood  ") && out.contains("1 test, 1 failed"), "{out}");
    assert!(!out.contains('\u{1b}'), "no colours where nobody looks");
}

#[test]
fn what_cannot_be_used_of_one_set_takes_nothing_from_another() {
    let (good, bad) = (set(GOOD), set(GOOD));
    std::fs::write(bad.path().join("ruleset.toml"), RULES.replace("measure", "mesure")).expect("a file");
    let report = good.path().join("report.xml");
    let both = [good.path(), bad.path()].map(|path| path.to_str().expect("UTF-8").to_owned());
    let out = ringfence(&["test", &both[0], &both[1], "--junit", report.to_str().expect("UTF-8")]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stdout).contains("ok    three calls are a flood"));
    let report = std::fs::read_to_string(report).expect("a report");
    assert!(report.contains("name=\"three calls are a flood\"") && report.contains("<error message="), "{report}");
}

#[test]
fn a_reader_that_goes_away_does_not_make_a_failure_a_success() {
    let folder = set(&GOOD.replace("times = 3", "times = 2"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .arg("test")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn what_cannot_be_used_is_2_and_is_told_on_standard_error() {
    let folder = set(&GOOD.replace("times", "tmes"));
    let (code, out, err) = run(folder.path(), &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("unknown key `tmes`; did you mean `times`?") && err.contains("a.test.toml:6:39"), "{err}");
    let (code, out, _) = run(folder.path(), &["--format", "json"]);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, value["problems"][0]["line"].as_u64()), (2, Some(6)));

    let folder = set(GOOD);
    std::fs::write(folder.path().join("ruleset.toml"), RULES.replace("measure", "mesure")).expect("a file");
    let (code, out, err) = run(folder.path(), &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("did you mean `measure`?") && err.contains("cannot be used: 2 errors"), "{err}");

    let folder = set(&GOOD.replace("calls", "events = \"gone.jsonl\"\ncalls"));
    let (code, _, err) = run(folder.path(), &[]);
    assert_eq!(code, 2);
    assert!(err.contains("gone.jsonl"), "{err}");
}

#[test]
fn what_is_not_there_is_2() {
    let folder = set(GOOD);
    for (path, says) in [("none", "no such file"), ("tests/b.test.toml", "no such file")] {
        let (code, _, err) = run(&folder.path().join(path), &[]);
        assert_eq!(code, 2);
        assert!(err.contains(says), "{err}");
    }
    let (code, _, err) = run(folder.path(), &["--filter", "nothing like it"]);
    assert_eq!(code, 2);
    assert!(err.contains("no test has `nothing like it` in its name; left out: 1"), "{err}");
    std::fs::remove_file(folder.path().join("tests/a.test.toml")).expect("a file");
    let (code, _, err) = run(folder.path(), &[]);
    assert_eq!(code, 2);
    assert!(err.contains("there are no tests (*.test.toml)"), "{err}");
    let stray = tempfile::tempdir().expect("a temporary folder");
    let path = stray.path().join("a.test.toml");
    std::fs::write(&path, GOOD).expect("a file");
    let (code, _, err) = run(&path, &[]);
    assert_eq!(code, 2);
    assert!(err.contains("name the rules with --rules"), "{err}");
    let rules = set(GOOD);
    let (code, out, _) = run(&path, &["--rules", rules.path().to_str().expect("a plain name")]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn a_report_for_machines_says_the_same() {
    let folder = set(&format!("{GOOD}{}", GOOD.replace("three", "two").replace("times = 3", "times = 2")));
    let junit = folder.path().join("report.xml");
    let more = ["--format", "json", "--junit", junit.to_str().expect("a plain name")];
    let (code, out, err) = run(folder.path(), &more);
    assert_eq!((code, err.as_str()), (1, ""));
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((value["total"].as_u64(), value["failed"].as_u64()), (Some(2), Some(1)));
    assert_eq!(value["rules_without_a_test"], serde_json::json!(["quiet"]));
    assert_eq!(value["tests"][1]["failures"][0]["kind"], "missing");
    let document = std::fs::read_to_string(&junit).expect("a report");
    assert!(document.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{document}");
}
