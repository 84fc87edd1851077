//! The rules that ship: each has tests and passes them, and attacks are found where clean calls raise no alarm.

use std::path::Path;

use serde_json::Value;

use crate::support::{project, ringfence};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_rule_that_ships_has_tests_and_passes_them() {
    let rules = project().join("rules");
    let out = ringfence(&["test".as_ref(), rules.as_os_str()]);
    let told = text(&out.stdout);
    assert!(out.status.success(), "{told}{}", text(&out.stderr));
    assert!(told.ends_with(" tests, all as expected\n"), "{told}");
}

/// The rules with the lists of the carrier that `simulate` plays.
fn site(folder: &Path) {
    let rules = project().join("rules");
    for part in ["", "firewall", "ips", "lists"] {
        std::fs::create_dir_all(folder.join(part)).expect("a folder");
        for file in std::fs::read_dir(rules.join(part)).expect("the rules") {
            let path = file.expect("a file").path();
            if path.is_file() {
                std::fs::copy(&path, folder.join(part).join(path.file_name().expect("a name"))).expect("copied");
            }
        }
    }
    for file in std::fs::read_dir(rules.join("simulate/lists")).expect("its lists") {
        let path = file.expect("a file").path();
        let place = folder.join("lists").join(path.file_name().expect("a name"));
        assert!(place.is_file(), "{} is a list of no rule set", path.display());
        std::fs::copy(&path, place).expect("copied");
    }
}

#[test]
fn every_medium_attack_among_clean_calls_of_a_week_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rules, calls) = (folder.path().join("rules"), folder.path().join("calls.ndjson"));
    site(&rules);
    let traffic = "simulate --calls 20000 --duration 7d --start 2026-03-02T00:00:00Z --kind events --attack all";
    let out = ringfence(&traffic.split(' ').collect::<Vec<_>>());
    assert!(out.status.success(), "{}", text(&out.stderr));
    std::fs::write(&calls, out.stdout).expect("written");
    let (rules, calls) = (rules.to_str().expect("plain names"), calls.to_str().expect("plain names"));
    let out = ringfence(&["replay", "--rules", rules, "--labels", "--format", "json", calls]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(found["missed"], serde_json::json!([]));
    assert!(found["attacks"].as_array().is_some_and(|attacks| attacks.len() > 30));
}
