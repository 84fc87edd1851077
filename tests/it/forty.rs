//! `ringfence check` of a rule set with forty mistakes, over rules, lists, macros, calendars and a customer's file: each is
//! told, at its place, and nothing else is.
//!
//! What there is to be found is written beside each mistake in `tests/data/rules/forty`: a comment with the code and the
//! text that it stands at.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{project, ringfence};

const N_MISTAKES: usize = 40;

/// `(path, line, column, code)` of every comment such as `# E043 calle`.
fn seeded(folder: &Path, below: &str, found: &mut Vec<(String, u64, u64, String)>) {
    for entry in std::fs::read_dir(folder).expect("the rule set is there") {
        let path = entry.expect("a readable folder").path();
        let name = format!("{below}{}", path.file_name().expect("a name").to_string_lossy());
        if path.is_dir() {
            seeded(&path, &format!("{name}/"), found);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        for (n, line) in text.lines().enumerate() {
            // The comment of a CSV file stands above its lines.
            let (comment, at) = match line.split_once("# ").filter(|(_, comment)| is_marked(comment)) {
                Some((_, comment)) => (comment, Some(n)),
                None => match line.split_once(": ").filter(|(head, tail)| head.starts_with('#') && is_marked(tail)) {
                    Some((_, comment)) => (comment, None),
                    None => continue,
                },
            };
            let (code, wanted) = comment.split_once(' ').expect("a code and a text");
            let holds = |line: &str| line.split("# ").next().and_then(|code| code.find(wanted));
            let mut lines = text.lines().enumerate().filter(|(i, _)| at.is_none_or(|at| at == *i));
            let (n, byte) = lines.find_map(|(n, line)| Some((n, holds(line)?))).expect("the text of the mistake");
            found.push((name.clone(), n as u64 + 1, byte as u64 + 1, code.to_owned()));
        }
    }
}

fn is_marked(comment: &str) -> bool {
    comment.get(..5).is_some_and(|head| {
        head.starts_with(['E', 'W']) && head.ends_with(' ') && head.get(1..4).is_some_and(|n| n.parse::<u16>().is_ok())
    })
}

#[test]
fn forty_mistakes_are_told_each_at_its_place_and_nothing_else() {
    let folder = project().join("tests/data/rules/forty");
    let mut wanted = Vec::new();
    seeded(&folder, "", &mut wanted);
    wanted.sort();
    assert_eq!(wanted.len(), N_MISTAKES, "{wanted:#?}");

    let out = ringfence(&["check", "--format", "json", folder.to_str().expect("plain names")]);
    assert_eq!(out.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one object of JSON");
    let prefix = format!("{}/", folder.display());
    let place = |told: &serde_json::Value| {
        let path = told["path"].as_str().expect("every mistake has a place").trim_start_matches(&prefix).to_owned();
        let code = told["code"].as_str().expect("a code").to_owned();
        (path, told["line"].as_u64().unwrap_or(0), told["column"].as_u64().unwrap_or(0), code)
    };
    let mut found: Vec<_> = report["problems"].as_array().expect("problems").iter().map(place).collect();
    found.sort();
    let told = |all: &[(String, u64, u64, String)], others: &[(String, u64, u64, String)]| -> Vec<String> {
        let others: BTreeSet<_> = others.iter().collect();
        all.iter().filter(|one| !others.contains(one)).map(|(p, l, c, code)| format!("{p}:{l}:{c} {code}")).collect()
    };
    assert_eq!(found, wanted, "not told: {:#?}\ntold besides: {:#?}", told(&wanted, &found), told(&found, &wanted));
    let codes: BTreeSet<_> = wanted.iter().map(|(.., code)| code).collect();
    assert!(codes.len() >= 38, "as many kinds as mistakes, nearly: {}", codes.len());
}
