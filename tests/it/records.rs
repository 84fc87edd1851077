//! Call records that are told in several rows, through `replay`: over blocks and files, whatever the number of threads.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::support::ringfence;

/// Calls enough for many blocks: each BYE stands some hundred rows behind its INVITE, every seventh call never ends.
const N_CALLS: usize = 30_000;
const APART: usize = 300;

fn rows(calls: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    let dialog = |n: usize| format!("a{n}|b{n}|call-{n}@192.0.2.1");
    for n in calls {
        let (time, user) = (1_772_445_600 + n, n % 50);
        // As `fmt::Write` has it, this cannot fail.
        writeln!(text, "INVITE|{}|200|OK|{time}|u{user}|example.net|192.0.2.{user}|9|9|example.net", dialog(n))
            .expect("memory takes it");
        if let Some(ended) = n.checked_sub(APART).filter(|n| n % 7 != 0) {
            writeln!(text, "BYE|{}|200|OK|{time}||||||", dialog(ended)).expect("memory takes it");
        }
    }
    text
}

fn replay(rules: &Path, output: &str, more: &[&str], files: &[PathBuf]) -> String {
    let mut args = vec!["replay", "--rules", rules.to_str().expect("UTF-8"), "--output", output];
    args.extend(["--input-format", "kamailio-acc"].iter().chain(more));
    args.extend(files.iter().map(|file| file.to_str().expect("UTF-8")));
    let out = ringfence(&args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("replay prints UTF-8")
}

#[test]
fn rows_are_paired_over_blocks_and_files_alike_for_every_number_of_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a folder for the rules");
    let rule = "ringfence = 1\ndefault_action = \"allow\"\n[[threshold]]\nid = \"many\"\non = \"end\"\nmeasure = \"count\"\n\
                per = [\"caller\"]\nwindow = \"1h\"\nwarning = \">= 40\"\n";
    std::fs::write(rules.join("ruleset.toml"), rule).expect("the rules are written");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the rows are written");
        path
    };
    let whole = vec![write("whole", rows(0..N_CALLS))];
    let parts = vec![write("one", rows(0..N_CALLS / 3)), write("two", rows(N_CALLS / 3..N_CALLS))];
    let expected = replay(&rules, "violations", &["--threads", "1"], &whole);
    assert!(expected.lines().count() >= 50, "every caller crosses:\n{expected}");
    for threads in ["1", "2", "8"] {
        for files in [&whole, &parts] {
            assert_eq!(replay(&rules, "violations", &["--threads", threads], files), expected, "{threads} threads");
        }
        let summary = replay(&rules, "summary", &["--threads", threads], &parts);
        let summary: serde_json::Value = serde_json::from_str(&summary).expect("a summary is JSON");
        assert_eq!(summary["events"], N_CALLS, "one event a call: {summary}");
        assert_eq!(summary["rejects"], serde_json::json!({}), "{summary}");
    }
    let sorted = replay(&rules, "summary", &["--sort"], &parts);
    let sorted: serde_json::Value = serde_json::from_str(&sorted).expect("a summary is JSON");
    assert_eq!(sorted["events"], N_CALLS);
}

#[test]
fn a_file_whose_header_lacks_a_column_is_an_error_and_not_a_file_without_violations() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a folder for the rules");
    std::fs::write(rules.join("ruleset.toml"), "ringfence = 1\ndefault_action = \"allow\"\n").expect("written");
    let calls = folder.path().join("calls.csv");
    std::fs::write(&calls, "a,b,c\n1,2,3\n").expect("written");
    let out = ringfence(&[
        "replay".as_ref(),
        "--rules".as_ref(),
        rules.as_os_str(),
        "--input-format".as_ref(),
        "cucm".as_ref(),
        calls.as_os_str(),
    ]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("the first row is no header of this dialect"), "{said}");
}
