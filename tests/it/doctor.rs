//! The doctor against real damage in a real data folder: what is wrong is named, with its mend, and what is well is not.

use std::path::{Path, PathBuf};

use ringfence::config::{self, Config};
use ringfence::doctor::{self, Area, Report, Severity};
use ringfence::storage::Disk;

use crate::backup::feed;
use crate::service::Fixture;
use crate::support::ringfence;

fn config(folder: &Path, more: &str) -> Config {
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"off\"\n{more}\n[[feed]]\nlisten = \"127.0.0.1:0\"\n"
    );
    let (config, problems) = config::parse(&text, &folder.join("ringfence.toml"));
    config.unwrap_or_else(|| panic!("{problems:?}"))
}

/// Looks at `FOLDER/ringfence-data`.
pub(crate) fn examine(folder: &Path, deep: bool) -> Report {
    doctor::examine(&Disk::real(), &config(folder, ""), None, deep)
}

/// Of the data; what else the machine lacks is not the test's.
pub(crate) fn errors_of(report: &Report) -> Vec<String> {
    told(report, Severity::Error)
}

fn told(report: &Report, severity: Severity) -> Vec<String> {
    let of_data = |area| area <= Area::Archive && area != Area::Disk;
    let found = report.findings.iter().filter(|finding| of_data(finding.area) && finding.severity == severity);
    found.map(|finding| format!("{}: {}", finding.area.as_str(), finding.what)).collect()
}

/// A folder in which a service ran twice, so that it has two snapshots, a journal, a store and an archive.
fn used() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    let mut first = Fixture::in_folder(folder, "", "");
    feed(&first, 2_000);
    first.stop();
    // The fixture takes its folder with it.
    let kept = tempfile::tempdir().expect("a temporary folder");
    copy(&path, kept.path());
    drop(first);
    let mut second = Fixture::in_folder(kept, "", "");
    feed(&second, 2_000);
    second.stop();
    let end = tempfile::tempdir().expect("a temporary folder");
    copy(second.path(), end.path());
    let path = end.path().to_owned();
    (end, path)
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&to).expect("creates");
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copies");
        }
    }
}

/// The files of a folder below the data folder with this ending, in order.
fn files(folder: &Path, below: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("ringfence-data").join(below)).expect("lists");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

/// Copies the folder, does harm to it, and tells what the doctor says of data, errors first.
fn harmed(used: &Path, harm: impl FnOnce(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(used, folder.path());
    harm(folder.path());
    let report = examine(folder.path(), true);
    for finding in report.findings.iter().filter(|finding| finding.severity != Severity::Ok) {
        assert!(!finding.mend.is_empty(), "{finding:?}");
    }
    let mut found = told(&report, Severity::Error);
    found.extend(told(&report, Severity::Warning));
    found
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("reads");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("writes");
}

fn assert_told(found: &[String], words: &str) {
    assert!(found.iter().any(|what| what.contains(words)), "no `{words}` in {found:#?}");
}

// long: one folder is made for many kinds of harm
#[test]
fn every_kind_of_harm_to_a_data_folder_is_named() {
    let (_kept, used) = used();
    assert_eq!(harmed(&used, |_| {}), [""; 0], "nothing is wrong");

    let newest = |folder: &Path| files(folder, "snapshots", ".snap").pop().expect("there are two");
    for at in [0, 1, 2] {
        let place = move |bytes: &[u8]| [0, bytes.len() / 2, bytes.len() - 1][at];
        let flipped = harmed(&used, |folder| {
            change(&newest(folder), |bytes| {
                let at = place(bytes);
                bytes[at] ^= 1;
            });
        });
        assert_told(&flipped, "snapshots: snapshot ");
        let cut = harmed(&used, |folder| change(&newest(folder), |bytes| bytes.truncate(place(bytes))));
        assert_told(&cut, "snapshots: snapshot ");
    }
    let none =
        harmed(&used, |folder| files(folder, "snapshots", ".snap").iter().for_each(|path| change(path, Vec::clear)));
    assert_told(&none, "none of them can be used");

    let segment = |folder: &Path| files(folder, "journal", ".seg").remove(0);
    let bit = harmed(&used, |folder| change(&segment(folder), |bytes| bytes[200] ^= 4));
    assert_told(&bit, "journal: 1 flipped bits were found, and mended");
    let hole = harmed(&used, |folder| change(&segment(folder), |bytes| bytes[100..400].fill(0x55)));
    assert_told(&hole, "are damaged and cannot be mended");
    let remove = |paths: Vec<PathBuf>| paths.iter().for_each(|path| std::fs::remove_file(path).expect("removes"));
    let gone = harmed(&used, |folder| remove(files(folder, "snapshots", ".snap")));
    assert_told(&gone, "journal: records 1 to ");
    let all_gone = harmed(&used, |folder| {
        remove(files(folder, "snapshots", ".snap"));
        remove(files(folder, "journal", ".seg"));
    });
    assert_told(&all_gone, "but journal and snapshots end at 0: their end is gone");
    let torn = harmed(&used, |folder| {
        let last = files(folder, "journal", ".seg").pop().expect("there is one");
        change(&last, |bytes| bytes.extend([1; 30]));
    });
    assert_told(&torn, "nothing in them was acknowledged");

    let names =
        harmed(&used, |folder| std::fs::remove_file(folder.join("ringfence-data/journal/names")).expect("removes"));
    assert_told(&names, "journal/names: is missing");
    let identity =
        harmed(&used, |folder| std::fs::remove_file(folder.join("ringfence-data/journal/identity")).expect("removes"));
    assert_told(&identity, "journal/identity: is missing");

    let store = |folder: &Path| folder.join("ringfence-data/ringfence.db");
    let no_store = harmed(&used, |folder| std::fs::remove_file(store(folder)).expect("removes"));
    assert_told(&no_store, "store: ringfence.db: is missing");
    let bad_store = harmed(&used, |folder| change(&store(folder), |bytes| bytes[4096..12_000].fill(0x55)));
    assert_told(&bad_store, "store: ");

    let parquet = |folder: &Path| {
        let mut folders = vec![folder.join("ringfence-data/archive")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("lists") {
                let path = entry.expect("readable").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.extension().is_some_and(|ending| ending == "parquet") => return path,
                    false => {}
                }
            }
        }
        panic!("no file in the archive");
    };
    let missing = harmed(&used, |folder| std::fs::remove_file(parquet(folder)).expect("removes"));
    assert_told(&missing, "archive: ");
    let flipped = harmed(&used, |folder| {
        change(&parquet(folder), |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    });
    assert_told(&flipped, "archive: ");
    let manifest =
        harmed(&used, |folder| change(&folder.join("ringfence-data/archive/_manifest"), |bytes| bytes[5] ^= 1));
    assert_told(&manifest, "archive: ");
}

#[test]
fn a_running_service_is_told_from_one_that_is_stopped_and_its_ports_from_those_of_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    let mut fixture = Fixture::in_folder(folder, "", "");
    feed(&fixture, 100);
    let taken = fixture.running().feeds[0].1;
    let with_port = config(&path, &format!("[[feed]]\nname = \"taken\"\nlisten = \"{taken}\"\n"));
    let running = doctor::examine(&Disk::real(), &with_port, None, false);
    assert_eq!(running.process, Some(std::process::id().to_string()));
    let of = |report: &Report, area: Area| -> Vec<String> {
        let found = report.findings.iter().filter(|finding| finding.area == area && finding.severity != Severity::Ok);
        found.map(|finding| finding.what.clone()).collect()
    };
    assert_eq!(of(&running, Area::Listeners), [""; 0], "its own ports are its own");
    assert_eq!(errors_of(&running), [""; 0]);
    fixture.stop();
    let other = std::net::TcpListener::bind(taken).expect("free again");
    let stopped = doctor::examine(&Disk::real(), &with_port, None, false);
    assert_eq!(stopped.process, None);
    let found = of(&stopped, Area::Listeners);
    assert!(found.len() == 1 && found[0].starts_with("feed `taken`: "), "{found:?}");
    drop(other);
}

#[test]
fn sinks_that_cannot_be_reached_and_rules_that_cannot_be_used_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let there = listener.local_addr().expect("an address");
    std::fs::create_dir(folder.path().join("rules")).expect("creates");
    std::fs::write(folder.path().join("rules/ruleset.toml"), "ringfence = 1\n[[firewall]]\nid = 7\n").expect("writes");
    let more = format!(
        "[webhook.noc]\nurl = \"http://{there}/x\"\n[webhook.gone]\nurl = \"http://127.0.0.1:1/x\"\n\
         [webhook.plain]\nurl = \"https://{there}/x\"\nconnect_timeout_ms = 200\nrequest_timeout_ms = 300\n"
    );
    let mut config = config(folder.path(), &more);
    config.rules = Some(folder.path().join("rules"));
    let report = doctor::examine(&Disk::real(), &config, None, false);
    let errors: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| format!("{}: {}", finding.area.as_str(), finding.what))
        .collect();
    assert!(
        errors[0].starts_with("rules: ") && errors[0].contains(" errors, the service would not start"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("sinks: webhook `gone`: 127.0.0.1:1: cannot connect"), "{errors:?}");
    assert!(errors[2].starts_with(&format!("sinks: webhook `plain`: {there}: no answer in")), "{errors:?}");
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn the_command_prints_for_people_and_for_programs() {
    let (_kept, path) = used();
    let settings = path.join("ringfence.toml");
    let text = "[http]\nlisten = \"off\"\n[metrics]\nlisten = \"off\"\n[[feed]]\nlisten = \"127.0.0.1:0\"\nconnections_max = 10\n";
    std::fs::write(&settings, text).expect("writes");
    let settings = settings.to_str().expect("a plain path");
    let out = ringfence(&["doctor", "--config", settings, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let snapshots = report["snapshots"].as_array().expect("a list");
    assert_eq!((snapshots.len(), snapshots[0]["next_position"].as_u64()), (2, Some(4_001)));
    assert_eq!(snapshots[0]["state"].as_str().map(str::len), Some(64));
    assert_ne!(snapshots[0]["state"], snapshots[1]["state"]);
    let finding = &report["findings"][0];
    assert!(["area", "severity", "what", "mend"].iter().all(|key| finding[key].is_string()), "{finding}");
    let wrong = report["findings"].as_array().expect("a list").iter().any(|finding| finding["severity"] != "ok");
    assert_eq!(out.status.code(), Some(i32::from(wrong)));

    std::fs::write(settings, "thread = 2\n").expect("writes");
    let out = ringfence(&["doctor", "--config", settings]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains("ERROR   settings:") && said.contains("did you mean `threads`?"), "{said}");
    assert!(said.contains("mend: ringfence check"), "{said}");
    assert_eq!(ringfence(&["doctor", "--config", "/none"]).status.code(), Some(2));
}
