//! The demo's rules against the demo's calls, other clean calls, and real ones, through the engine without a network.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::event::Names;
use crate::event::dialplan::{DialPlan, DialPlanSettings};
use crate::event::numbering::Numbering;
use crate::ingest::FeedContext;
use crate::policy::RuleSource;
use crate::policy::load::{LoadOptions, load};
use crate::replay::{Options, Output, Recording, replay};
use crate::simulate::Plan;

/// 2026-03-02T09:00:00Z.
const START_MS: i64 = 1_772_442_000_000;

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the demo's rules say of a file.
fn judge(path: &Path, format: Option<&str>, dial_plan: DialPlan, output: Output, sort: bool) -> Vec<Value> {
    let loaded = load(&RuleSource::memory(site::files(START_MS)), LoadOptions::default());
    let policy = loaded.policy.expect("the demo's rules are right");
    let context = FeedContext::file(Arc::new(Names::new()), dial_plan);
    let options =
        Options { output, n_threads: 2, merge: true, dedup: false, sort, from: None, to: None, customer: None };
    let out = Collected::default();
    let recording = Recording { context, format: format.map(str::to_owned), paths: vec![path.to_owned()] };
    replay(policy, recording, &options, out.clone()).expect("it replays");
    let bytes = out.0.lock().expect("nobody panicked").clone();
    let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    lines.map(|l| serde_json::from_slice(l).expect("JSON")).collect()
}

fn file_of(plan: &Plan) -> tempfile::NamedTempFile {
    let traffic = Traffic::new(plan).expect("a plan");
    let names = traffic.names.clone();
    let mut lines = Vec::new();
    for moment in Moments::new(traffic, Records::Events) {
        names.write_line(&moment.call, moment.kind, &mut lines);
    }
    let mut file = tempfile::Builder::new().suffix(".ndjson").tempfile().expect("a file");
    file.write_all(&lines).expect("it writes");
    file
}

#[test]
fn the_demo_itself_finds_every_attack_over_tcp() {
    let start_ms = site::whole_minute(Clock.now()) - LENGTH_MS;
    let site = Site::start(start_ms).expect("it starts");
    let mut out = Vec::new();
    let mut story = Story::new(&mut out, false, start_ms);
    let found_all = play(&site, &mut story, start_ms, 1, Duration::ZERO).expect("it plays");
    let told = String::from_utf8(out).expect("text");
    assert!(found_all, "{told}");
    for sentence in ["demo-wangiri", "demo-tdos", "demo-toll-fraud", "Allowed by builtin:emergency", "clean calls: 0"] {
        assert!(told.contains(sentence), "{sentence}: {told}");
    }
    let folder = site.rules();
    drop(site);
    assert!(!folder.exists(), "nothing is left behind");
}

#[test]
fn each_attack_is_found_by_its_rule_and_nothing_else_is() {
    for seed in [1, 2] {
        let file = file_of(&script::plan(START_MS, seed).expect("a plan"));
        let found = judge(file.path(), None, DialPlan::default(), Output::Violations, false);
        let told: Vec<(&str, &str)> =
            found.iter().map(|v| (v["rule"].as_str().unwrap_or(""), v["level"].as_str().unwrap_or(""))).collect();
        let expected: Vec<(&str, &str)> =
            ACTS.iter().flat_map(|act| [(act.rule, "warning"), (act.rule, "critical")]).collect();
        assert_eq!(told, expected, "seed {seed}");
    }
}

#[test]
fn clean_hours_raise_no_alarm() {
    for seed in 10..16 {
        let plan = Plan { attacks: Vec::new(), ..script::plan(START_MS, seed).expect("a plan") };
        let found = judge(file_of(&plan).path(), None, DialPlan::default(), Output::Violations, false);
        assert!(found.is_empty(), "seed {seed}: {found:?}");
    }
}

#[test]
fn eight_thousand_real_calls_of_handsets_raise_no_alarm() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("RINGFENCE_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let calls = shared.join("data/cdr/mobile/real_handset_calls.csv");
    if !calls.exists() {
        eprintln!("NOT RUN: {} is not there; set RINGFENCE_SHARED", calls.display());
        return;
    }
    let format = format!("csv:{}", root.join("tests/data/csv/handset.toml").display());
    let british = DialPlanSettings { country: Some("GB".to_owned()), ..DialPlanSettings::default() };
    let british = || DialPlan::new(&british, &Numbering::builtin()).expect("a dial plan");
    for (plan, sort) in [(DialPlan::default(), false), (british(), false), (british(), true)] {
        let found = judge(&calls, Some(&format), plan, Output::Violations, sort);
        assert!(found.is_empty(), "{found:?}");
    }
    let summary = judge(&calls, Some(&format), british(), Output::Summary, false);
    assert_eq!(summary[0]["events"], 8_452);
    assert_eq!(summary[0]["verdicts"]["block"], 0);
}
