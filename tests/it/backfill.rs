//! A rule that is new at a start knows of the calls before it: a real service that stops, is given one rule more, and
//! starts again on the same folder.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence::config;
use ringfence::policy::{LoadOptions, RuleSource, load};
use ringfence::service::{self, Running, Setup};
use serde_json::{Value, json};

const RULES: &str = r#"
ringfence = 1
default_action = "allow"

[[threshold]]
id = "ips-old"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1h"
warning = ">= 1000"
"#;

const NEW: &str = r#"
[[threshold]]
id = "ips-new"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1h"
warning = ">= 5"

[[threshold]]
id = "ips-share"
on = "attempt"
measure = "share(callee in {+46840*})"
per = ["caller"]
min_count = 4
window = "1h"
warning = ">= 90%"
"#;

/// A service on a folder.
struct Served {
    runtime: tokio::runtime::Runtime,
    running: Running,
}

impl Served {
    fn start(folder: &Path, rules: &str) -> Served {
        let text = format!(
            "data = \"{0}/data\"\n[output]\nviolations = \"{0}/violations.jsonl\"\n\
             [[feed]]\nlisten = \"127.0.0.1:0\"\n",
            folder.to_str().expect("a plain path")
        );
        let (config, problems) = config::parse(&text, &folder.join("ringfence.toml"));
        let mut config = config.unwrap_or_else(|| panic!("{problems:?}"));
        (config.http, config.metrics) = (None, None);
        let loaded = load(&RuleSource::memory([("ruleset.toml", rules)]), LoadOptions::default());
        let policy = Arc::new(loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let running = runtime.block_on(service::start(Setup { config, policy, observer: None })).expect("starts");
        Served { runtime, running }
    }

    /// Sends these, and waits until they are on the disk.
    fn send(&self, seqs: std::ops::RangeInclusive<u64>) {
        let mut stream = TcpStream::connect(self.running.feeds[0].1).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let mut text = format!("{}\n", json!({ "hello": { "gateway": "sbc", "reply": "ack" } }));
        text.extend(seqs.clone().map(attempt));
        stream.write_all(text.as_bytes()).expect("sends");
        for line in BufReader::new(stream).lines() {
            let line: Value = serde_json::from_str(&line.expect("an answer")).expect("JSON");
            if line["ack"].as_u64().is_some_and(|ack| ack >= *seqs.end()) {
                return;
            }
        }
        panic!("no acknowledgement of {}", seqs.end());
    }

    fn wait_until_warm(&self) {
        let begun = Instant::now();
        while self.running.warming() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "{} rules are warming", self.running.warming());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(self) {
        self.runtime.block_on(self.running.stop());
    }
}

fn attempt(seq: u64) -> String {
    let time = 1_767_225_600_000 + seq * 1000;
    format!(
        "{{\"time\":{time},\"seq\":{seq},\"kind\":\"attempt\",\"call_id\":\"c{seq}\",\"direction\":\"inbound\",\
         \"caller\":\"+46700000001\",\"callee\":\"+4684{}00002\"}}\n",
        if seq == 1 { 1 } else { 0 }
    )
}

/// Id, which begins with the position of the event, and value of what was found so far.
fn found(folder: &Path) -> Vec<(String, f64)> {
    let lines = std::fs::read_to_string(folder.join("violations.jsonl")).unwrap_or_default();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| (line["id"].as_str().expect("an id").to_owned(), line["value"].as_f64().expect("one"))).collect()
}

fn with_new() -> String {
    format!("{RULES}{NEW}")
}

#[test]
fn a_new_rule_counts_the_calls_of_before_and_the_past_alone_raises_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), RULES);
    served.send(1..=8);
    served.stop();

    let served = Served::start(folder.path(), &with_new());
    served.wait_until_warm();
    served.send(9..=9);
    served.stop();
    // Eight before, of which the first was to somebody else.
    assert_eq!(found(folder.path()), [("9/ips-new/warning".to_owned(), 5.0)]);

    let served = Served::start(folder.path(), &with_new());
    assert_eq!(served.running.warming(), 0, "a snapshot has said that they are warm");
    served.send(10..=10);
    served.stop();
    assert_eq!(found(folder.path()).last(), Some(&("10/ips-share/warning".to_owned(), 90.0)), "nine of ten");
}

#[test]
fn what_the_archive_has_not_comes_from_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), RULES);
    served.send(1..=4);
    served.stop();
    std::fs::remove_dir_all(folder.path().join("data/archive")).expect("an archive");

    let served = Served::start(folder.path(), &with_new());
    served.wait_until_warm();
    served.send(5..=5);
    served.stop();
    assert_eq!(found(folder.path()), [("5/ips-new/warning".to_owned(), 5.0)]);
}

#[test]
fn with_an_archive_that_cannot_be_read_a_new_rule_counts_from_its_beginning() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), RULES);
    served.send(1..=8);
    served.stop();
    let mut folders = vec![folder.path().join("data/archive")];
    let mut n_gone = 0;
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(below).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "parquet") {
                std::fs::remove_file(entry).expect("goes");
                n_gone += 1;
            }
        }
    }
    assert!(n_gone > 0);

    let served = Served::start(folder.path(), &with_new());
    served.send(9..=12);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((served.running.warming(), found(folder.path())), (2, vec![]), "four are not five");
    served.send(13..=13);
    served.stop();
    assert_eq!(found(folder.path()), [("13/ips-new/warning".to_owned(), 5.0)], "and a share of some is not one of all");
}

#[test]
fn a_crash_before_the_first_snapshot_and_a_new_rule_raise_nothing_of_the_past() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), RULES);
    served.send(1..=8);
    // As the disk is where the process ends here.
    let after = tempfile::tempdir().expect("a folder");
    copy(&folder.path().join("data"), &after.path().join("data"));
    served.stop();

    let served = Served::start(after.path(), &with_new());
    served.wait_until_warm();
    assert_eq!(found(after.path()), []);
    served.send(9..=9);
    served.stop();
    assert_eq!(found(after.path()), [("9/ips-new/warning".to_owned(), 5.0)]);
}

#[test]
fn what_recovery_has_counted_is_not_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), RULES);
    served.send(1..=2);
    served.stop();
    let served = Served::start(folder.path(), RULES);
    served.send(3..=3);
    // Two calls in the snapshot and the archive, one in the journal behind them.
    let after = tempfile::tempdir().expect("a folder");
    copy(&folder.path().join("data"), &after.path().join("data"));
    served.stop();

    let served = Served::start(after.path(), &with_new());
    served.wait_until_warm();
    served.send(4..=4);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(found(after.path()), [], "four are not five");
    served.send(5..=5);
    served.stop();
    assert_eq!(found(after.path()), [("5/ips-new/warning".to_owned(), 5.0)]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("copies");
        }
    }
}
