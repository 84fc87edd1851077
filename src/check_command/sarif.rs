//! The report as SARIF 2.1.0, which editors and code review read: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>.

use serde_json::{Value, json};

use crate::policy::codes::Code;
use crate::policy::render::{Spot, Told};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One log with one run. `codes` are all there are, so that a reader can look any of them up.
pub(super) fn log(problems: &[Told], codes: &[&'static Code]) -> Value {
    let results: Vec<Value> = problems.iter().map(|told| result(told, codes)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "ringfence",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": codes.iter().map(|code| rule(code)).collect::<Vec<_>>(),
                },
            },
            // As columns are counted everywhere else in the report: by characters.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &Code) -> Value {
    json!({
        "id": code.code,
        "name": code.title,
        "shortDescription": { "text": code.title },
        "fullDescription": { "text": code.explanation },
        "help": { "text": format!("{} See: ringfence check --explain {}", code.explanation, code.code) },
        "defaultConfiguration": { "level": if code.code.starts_with('E') { "error" } else { "warning" } },
    })
}

fn result(told: &Told, codes: &[&'static Code]) -> Value {
    let mut text = told.message.clone();
    for more in told.notes.iter().chain(&told.help) {
        text += "; ";
        text += more;
    }
    let mut result = json!({ "ruleId": told.code, "level": told.severity, "message": { "text": text } });
    if let Some(index) = codes.iter().position(|code| code.code == told.code) {
        result["ruleIndex"] = index.into();
    }
    result["locations"] = location(&told.place, &told.label).into_iter().collect();
    let related: Vec<Value> = told.context.iter().filter_map(|c| location(&c.place, &c.label)).collect();
    if !related.is_empty() {
        result["relatedLocations"] = related.into();
    }
    result
}

fn location(spot: &Spot, label: &str) -> Option<Value> {
    let mut physical = json!({ "artifactLocation": { "uri": uri(spot.path.as_deref()?) } });
    if let (Some(line), Some(column)) = (spot.line, spot.column) {
        physical["region"] = json!({ "startLine": line, "startColumn": column });
        if let (Some(end_line), Some(end_column)) = (spot.end_line, spot.end_column) {
            physical["region"]["endLine"] = end_line.into();
            physical["region"]["endColumn"] = end_column.into();
        }
    }
    let mut location = json!({ "physicalLocation": physical });
    if !label.is_empty() {
        location["message"] = json!({ "text": label });
    }
    Some(location)
}

/// A path as a URI reference: relative as it is, whole ones as `file:`.
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::explain;
    use super::*;
    use crate::policy::check::Report;
    use crate::policy::{LoadOptions, RuleSource, load};

    /// What the standard requires of the parts that are used here.
    fn assert_is_sarif(log: &Value) {
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert!(["unicodeCodePoints", "utf16CodeUnits"].contains(&run["columnKind"].as_str().unwrap()));
        assert!(!run["tool"]["driver"]["name"].as_str().unwrap().is_empty());
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let ids: std::collections::BTreeSet<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), rules.len(), "ids of rules are unique");
        for result in run["results"].as_array().unwrap() {
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
            let related = result["relatedLocations"].as_array().into_iter().flatten();
            for location in result["locations"].as_array().unwrap().iter().chain(related) {
                let physical = &location["physicalLocation"];
                let uri = physical["artifactLocation"]["uri"].as_str().unwrap();
                assert!(uri.is_ascii() && !uri.contains([' ', '\\', '#', '?']), "{uri}");
                let region = &physical["region"];
                let at = |key: &str| region[key].as_u64().unwrap_or(0);
                if !region.is_null() {
                    assert!(at("startLine") > 0 && at("startColumn") > 0, "{result}");
                    assert!((at("startLine"), at("startColumn")) <= (at("endLine"), at("endColumn")), "{result}");
                }
            }
        }
    }

    #[test]
    fn a_report_is_sarif_and_its_columns_are_characters() {
        let rules = "ringfence = 1\ndefault_action = \"allow\"\n[macros]\nå = 'x'\n[[firewall]]\nid = \"a\"\n\
                     description = \"åäö\" # ö\nwhen = 'domain == \"åö\" and calle == +46701'\naction = \"block\"\n\
                     [[firewall]]\nid = \"a\"\nwhen = 'anonymous'\naction = \"block\"\n";
        let source = RuleSource::memory([("ruleset.toml", rules), ("firewall/a b#å.toml", "x = 1\n")]);
        let report = Report::of(&load(&source, LoadOptions::default()));
        let log = log(&report.problems, &explain::all());
        assert_is_sarif(&log);
        let results = log["runs"][0]["results"].as_array().unwrap();
        assert!(results.len() >= 3, "{log:#}");
        let unknown = results.iter().find(|r| r["ruleId"] == "E043").unwrap();
        let region = &unknown["locations"][0]["physicalLocation"]["region"];
        assert_eq!((&region["startLine"], &region["startColumn"]), (&8.into(), &28.into()), "{unknown:#}");
        assert_eq!((&region["endLine"], &region["endColumn"]), (&8.into(), &33.into()));
        let twice = results.iter().find(|r| r["ruleId"] == "E007").unwrap();
        assert_eq!(twice["relatedLocations"][0]["message"]["text"], "first here");
        assert!(results.iter().any(|r| {
            r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "firewall/a%20b%23%C3%A5.toml"
        }));
        assert_is_sarif(&super::log(&[], &explain::all()));
    }

    #[test]
    fn whole_paths_are_file_uris() {
        assert_eq!(uri("/etc/ringfence/rules/a.toml"), "file:///etc/ringfence/rules/a.toml");
        assert_eq!(uri("rules/a.toml"), "rules/a.toml");
    }
}
