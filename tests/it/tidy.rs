//! The house rules that a compiler does not know: who may import whom, where clocks, metrics and files may be touched,
//! how long a function may be, and that what operators meet is written down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{project, ringfence};

/// `use crate::...` of the module on the left may name the modules on the right and its own. The first entry that
/// fits a file counts. `Settings` are read by `config` alone and may be anyone's.
const IMPORTS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("clock", &[]),
    ("codec", &[]),
    ("current", &[]),
    ("calendar", &["clock", "limits"]),
    ("objective", &["calendar", "clock", "limits"]),
    ("event", &["limits", "clock"]),
    ("logging", &[]),
    ("metrics", &["clock", "current", "limits"]),
    ("storage", &["limits"]),
    ("printed", &[]),
    ("journal", &["storage", "engine", "policy", "event", "clock", "limits"]),
    ("store", &["limits", "clock", "storage"]),
    ("ingest", &["event", "clock", "limits", "metrics"]),
    // Read with the rules and by the same machinery: a policy has its customers.
    ("policy", &["customer", "event", "calendar", "clock", "limits"]),
    ("customer", &["policy", "event", "calendar", "clock", "limits"]),
    ("window", &["limits", "codec"]),
    ("engine/shard", &["policy", "event", "window", "clock", "codec", "limits"]),
    ("engine", &["policy", "event", "window", "clock", "codec", "limits", "metrics"]),
    // The conversation with a gateway: the one place where events that come in meet the verdicts that answer them.
    ("gateway", &["ingest", "engine", "policy", "event", "clock", "current", "limits", "metrics"]),
    ("kit", &["policy", "limits"]),
    ("incident", &["customer", "kit", "policy", "calendar", "objective", "clock", "limits"]),
    // The past through an engine of its own, for whoever asks why.
    (
        "explain",
        &["archive", "journal", "engine", "policy", "calendar", "event", "storage", "clock", "limits", "printed"],
    ),
    (
        "findings",
        &[
            "archive", "journal", "engine", "store", "incident", "customer", "policy", "event", "storage", "clock",
            "current", "limits",
        ],
    ),
    // Every channel is a file of its own below it.
    (
        "delivery",
        &[
            "acd", "desk", "kit", "incident", "customer", "store", "storage", "outbound", "notify", "clock", "current",
            "limits", "metrics",
        ],
    ),
    // Telling the callers of a queue what is known.
    ("acd", &["incident", "customer", "kit", "store", "storage", "outbound", "clock", "limits"]),
    // The way out by HTTP.
    ("outbound", &["clock", "limits"]),
    // Alerts of other programs come in.
    ("upstream", &["store", "notify", "clock", "limits"]),
    // Standard output is where both may write, until there are channels.
    ("desk", &["incident", "store", "storage", "policy", "notify", "clock", "limits"]),
    ("people", &["incident", "store", "storage", "clock", "limits"]),
    ("case/mailbox", &["event", "policy", "calendar", "clock", "limits", "metrics"]),
    ("case", &["event", "policy", "calendar", "objective", "clock", "limits"]),
    // Until incidents stand between them, sinks are told of what the engine judged.
    (
        "notify",
        &[
            "outbound", "engine", "policy", "event", "incident", "case", "store", "storage", "clock", "current",
            "limits", "metrics",
        ],
    ),
    ("archive", &["journal", "engine", "event", "policy", "incident", "case", "storage", "clock", "limits", "metrics"]),
    ("report", &["archive", "incident", "case", "calendar", "clock"]),
    // Records may be posted: their feeds' doors are the gateways' side of it.
    (
        "portal",
        &[
            "acd",
            "delivery",
            "upstream",
            "gateway",
            "engine",
            "event",
            "explain",
            "findings",
            "incident",
            "desk",
            "people",
            "store",
            "kit",
            "customer",
            "policy",
            "calendar",
            "objective",
            "case",
            "report",
            "metrics",
            "reload",
            "clock",
            "current",
            "limits",
        ],
    ),
    // Asked for by signals and the API, done by the service.
    ("reload", &["clock", "limits"]),
    ("snapshot", &["storage", "limits"]),
    ("replay", &["ingest", "event", "policy", "engine", "incident", "archive", "clock", "limits", "printed"]),
];

/// May stand above everything: the only places where parts meet, and the programs that stand beside the service.
const MEETING_PLACES: &[&str] = &[
    "config",
    "service",
    "cli",
    "acd_command",
    "archive_command",
    "backup",
    "baseline",
    "calendar_command",
    "check_command",
    "delivery_command",
    "doctor",
    "explain_command",
    "format_command",
    "incident_command",
    "keys_command",
    "kit_command",
    "oncall_command",
    "reload_command",
    "replay_command",
    "rule_test",
    "schema_command",
    "demo",
    "send",
    "simulate",
    "user_command",
    "main",
    "lib",
    "bin",
];

const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    /// Below `src/`, without `.rs` and `/mod`: `engine/shard`.
    module: String,
    path: PathBuf,
    text: String,
}

impl Source {
    fn top(&self) -> &str {
        self.module.split('/').next().unwrap_or_default()
    }

    /// Lines with their numbers, up to the tests at the end of the file, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let n = self.text.lines().position(|l| l.starts_with("#[cfg(test)]")).unwrap_or(usize::MAX);
        let bare = |line| <str>::split(line, "//").next().unwrap_or_default();
        self.text.lines().take(n).enumerate().map(move |(i, line)| (i + 1, bare(line)))
    }

    fn is_test(&self) -> bool {
        self.module.ends_with("/tests") || self.module.ends_with("_tests")
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        rust_files(&project().join(folder), &mut paths);
    }
    paths.sort();
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
        let below = path.strip_prefix(project()).expect("below the project").with_extension("");
        let below = below.to_str().expect("plain names").trim_start_matches("src/");
        Source { module: below.trim_end_matches("/mod").to_owned(), path, text }
    };
    paths.into_iter().map(source).collect()
}

fn assert_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// Every line of `src/` that has one of the words, outside the places that may.
fn words_outside(words: &[&str], homes: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources(&["src"]).iter().filter(|s| !s.is_test()) {
        let at_home = homes.iter().any(|h| source.module == *h || source.module.starts_with(&format!("{h}/")));
        for (n, line) in source.code().filter(|_| !at_home) {
            if let Some(word) = words.iter().find(|w| line.contains(*w)) {
                found.push(format!("{}:{n}: {word}", source.path.display()));
            }
        }
    }
    found
}

/// The modules that a line imports: `use crate::event::Names` is `event`, `use crate::{clock, limits::X}` both.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split(',').collect(),
            None => vec![rest],
        };
        let word =
            |n: &str| n.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
        found.extend(names.into_iter().map(word).filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase())));
    }
    found
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut found = Vec::new();
    for source in sources(&["src"]).iter().filter(|s| !MEETING_PLACES.contains(&s.top()) && !s.is_test()) {
        let fits = |m: &str| source.module == m || source.module.starts_with(&format!("{m}/"));
        let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| fits(module)) else {
            found.push(format!("{}: not in the table of tests/it/tidy.rs", source.path.display()));
            continue;
        };
        for (n, line) in source.code() {
            for name in imports(line) {
                if name != source.top() && !allowed.contains(&name.as_str()) && !line.contains("Settings") {
                    found.push(format!("{}:{n}: {} may not import {name}", source.path.display(), source.module));
                }
            }
        }
    }
    assert_none("imports against the table", found);
}

#[test]
fn the_import_table_sees_groups_and_paths_in_code() {
    assert_eq!(imports("use crate::{clock, limits::X};"), ["clock", "limits"]);
    assert_eq!(imports("let x: crate::event::Batch = crate::engine::y();"), ["event", "engine"]);
    assert!(imports("pub(crate) fn f() {} use std::fmt;").is_empty());
}

#[test]
fn only_the_clock_reads_the_clock() {
    let words = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "Utc::now"];
    assert_none("time comes from clock.rs", words_outside(&words, &["clock"]));
}

#[test]
fn only_metrics_rs_declares_metrics() {
    let words = ["metrics::counter!", "metrics::gauge!", "metrics::histogram!", "counter!(", "gauge!(", "histogram!("];
    assert_none("metrics are declared in metrics.rs", words_outside(&words, &["metrics"]));
}

#[test]
fn only_storage_writes_files() {
    // The demo writes its rules into a temporary folder, for people to read.
    let words = ["File::create", "fs::rename", "fs::write("];
    assert_none("files are replaced and appended to by storage.rs", words_outside(&words, &["storage", "bin", "demo"]));
}

#[test]
fn nothing_is_unbounded() {
    assert_none("every queue has a bound", words_outside(&["unbounded"], &[]));
}

#[test]
fn every_file_says_what_it_owns() {
    let files = sources(&["src", "tests", "benches", "fuzz"]);
    let silent = |s: &&Source| !s.text.trim_start().starts_with("//!") && !s.text.starts_with("#![");
    let found = files.iter().filter(silent).map(|s| s.path.display().to_string()).collect();
    assert_none("every file begins with //!", found);
}

#[test]
fn long_functions_say_why() {
    let mut found = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (n, length, excused) in functions(&source.text) {
            if length > FUNCTION_LINES_MAX && !excused {
                found.push(format!("{}:{n}: {length} lines and no `// long: <why>` above", source.path.display()));
            }
        }
    }
    assert_none("functions are short, or say why not", found);
}

/// First line, length and whether a `// long:` stands above, of every function. Relies on rustfmt: a function ends at
/// the first brace that is indented as its `fn` is.
fn functions(text: &str) -> Vec<(usize, usize, bool)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_head = |line: &str| {
        let words =
            line.trim_start().trim_start_matches("pub").trim_start_matches("(crate)").trim_start_matches("(super)");
        let words = words.trim_start().trim_start_matches("const ").trim_start_matches("async ");
        words.starts_with("fn ")
    };
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate().filter(|(_, l)| is_head(l)) {
        let ends = |l: &&str| indent(l) == indent(line) && l.trim_start().starts_with('}');
        if line.trim_end().ends_with([';', '}']) {
            continue;
        }
        let length = lines[i..].iter().position(ends).map_or(1, |n| n + 1);
        let above = lines[..i].iter().rev().take_while(|l| l.trim_start().starts_with(['/', '#']));
        found.push((i + 1, length, above.into_iter().any(|l| l.contains("// long: "))));
    }
    found
}

#[test]
fn the_length_of_a_function_is_from_its_head_to_its_brace() {
    let text =
        "impl X {\n    // long: a table\n    pub fn a(\n    ) {\n        {\n        }\n    }\n    fn b() {}\n}\n";
    assert_eq!(functions(text), [(3, 5, true)]);
}

/// README and what `deploy/` ships, as one text.
fn manual() -> String {
    let mut text = std::fs::read_to_string(project().join("README.md")).unwrap_or_default();
    let mut folders = vec![project().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                text += &std::fs::read_to_string(entry.path()).unwrap_or_default();
            }
        }
    }
    text
}

/// Names in quotes of the source that look like ours: `"ringfence_..."`.
fn metric_names(text: &str) -> Vec<String> {
    let is_name = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_';
    let name = |s: &str| s.chars().take_while(is_name).collect::<String>();
    let family = |s: String| s.trim_end_matches("_count").trim_end_matches("_sum").to_owned();
    let mut found: Vec<String> = text.split("\"ringfence_").skip(1).map(name).map(family).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_metric_is_in_the_manual() {
    let Ok(text) = std::fs::read_to_string(project().join("src/metrics.rs")) else {
        eprintln!("not yet: there is no src/metrics.rs");
        return;
    };
    let manual = manual();
    let unknown = metric_names(&text).into_iter().map(|n| format!("ringfence_{n}")).filter(|n| !manual.contains(n));
    assert_none("metrics that neither README nor deploy/ names", unknown.collect());
}

#[test]
fn every_command_is_in_the_manual() {
    let out = ringfence(&["--help"]);
    let help = String::from_utf8_lossy(&out.stdout).into_owned();
    let commands = help.lines().skip_while(|l| !l.starts_with("Commands:")).skip(1);
    let commands = commands.take_while(|l| l.starts_with("  ")).filter(|l| !l.starts_with("   "));
    let mut found = BTreeMap::new();
    for name in commands.filter_map(|l| l.split_whitespace().next()).filter(|n| *n != "help") {
        found.insert(name.to_owned(), manual().contains(&format!("ringfence {name}")));
    }
    if found.is_empty() {
        eprintln!("not yet: the program has no commands");
    }
    let missing = found.into_iter().filter(|(_, known)| !known).map(|(name, _)| name).collect();
    assert_none("commands that neither README nor deploy/ names", missing);
}
