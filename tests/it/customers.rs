//! Customers with files, through `replay`: whose a call is, how its numbers are dialled, and what is nobody's.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::replay;

const RULES: &str = r#"
ringfence = 1
default_action = "allow"

[lists]
auto = { type = "number", dynamic = true }

[[firewall]]
id = "spoofed"
when = 'direction == inbound and caller in $own_numbers'
action = "block"

[[firewall]]
id = "counted"
when = 'caller in $auto'
action = "block"

[[threshold]]
id = "many"
on = "attempt"
where = 'direction == outbound'
measure = "count"
per = ["caller"]
window = "1m"
warning = ">= 3"
on_warning = { block = { list = "auto", ttl = "1h" } }
"#;

const ACME: &str = r#"
name = "Acme"
country = "US"
own_numbers = ["+13125550100..+13125550199"]
[[trunk]]
name = "acme-1"
gateway = "sbc"
[[trunk]]
name = "192.0.2.17"
"#;

const BETA: &str = r#"
name = "Beta"
country = "SE"
own_numbers = ["+4684000*"]
[dial_plan]
"#;

/// No own numbers of its own.
const GAMMA: &str = "name = 'Gamma'\n";

/// Two customers, calls of theirs and of nobody's; what each is named for is what should come of it.
fn calls() -> Vec<Value> {
    let inbound = |call: &str, caller: &str, more: Value| {
        let mut event = json!({ "kind": "attempt", "call_id": call, "direction": "inbound", "caller": caller });
        for (key, value) in more.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        event
    };
    let own = "+13125550100";
    let mut calls = vec![
        inbound("acme-own", own, json!({ "customer": "acme" })),
        inbound("beta-not-own", own, json!({ "customer": "beta" })),
        inbound("gamma-has-none", own, json!({ "customer": "gamma" })),
        inbound("trunk-own", own, json!({ "trunk": "acme-1", "gateway": "sbc" })),
        inbound("trunk-of-other-gateway", own, json!({ "trunk": "acme-1", "gateway": "other" })),
        inbound("address-own", own, json!({ "source_ip": "192.0.2.17" })),
        inbound("nobodys", own, json!({})),
        inbound("unknown", own, json!({ "customer": "delta" })),
        inbound("national-own", "08-400 01 23", json!({ "customer": "beta" })),
        inbound("national-elsewhere", "08-400 01 23", json!({ "customer": "acme" })),
    ];
    let out = |call: String, customer: &str| json!({ "kind": "attempt", "call_id": call, "direction": "outbound", "customer": customer, "caller": "+4684000007" });
    calls.extend((1..=4).map(|n| out(format!("beta-out-{n}"), "beta")));
    calls.extend((1..=4).map(|n| out(format!("acme-out-{n}"), "acme")));
    calls.push(out("beta-out-5".to_owned(), "beta"));
    for (n, call) in calls.iter_mut().enumerate() {
        call["time"] = json!(format!("2026-03-02T09:00:{n:02}Z"));
    }
    calls
}

fn run(folder: &Path, files: &[(&str, &str)], output: &str, threads: &str) -> String {
    let rules = folder.join("rules");
    std::fs::create_dir_all(rules.join("customers")).expect("a folder for the rules");
    for (name, text) in files {
        std::fs::write(rules.join(name), text).expect("the rules are written");
    }
    if files.len() == 1 {
        std::fs::remove_dir(rules.join("customers")).expect("an empty folder");
    }
    let events = folder.join("calls.ndjson");
    let lines: Vec<String> = calls().iter().map(Value::to_string).collect();
    std::fs::write(&events, lines.join("\n") + "\n").expect("the calls are written");
    replay(&rules, &events, output, &["--threads", threads])
}

fn verdicts(text: &str) -> Vec<String> {
    let verdict = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a verdict is JSON");
        let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("call_id"), word("action"), word("rule"))
    };
    text.lines().map(verdict).collect()
}

#[test]
fn a_call_is_its_customers_by_name_trunk_or_address_and_its_numbers_mean_what_that_customers_file_says() {
    let files = [
        ("ruleset.toml", RULES),
        ("customers/acme.toml", ACME),
        ("customers/beta.toml", BETA),
        ("customers/gamma.toml", GAMMA),
    ];
    for threads in ["1", "2", "8"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let said = verdicts(&run(folder.path(), &files, "verdicts", threads));
        let expected = [
            "acme-own block spoofed",
            "beta-not-own allow default",
            "gamma-has-none allow default",
            "trunk-own block spoofed",
            "address-own block spoofed",
            "national-own block spoofed",
            "national-elsewhere allow default",
            "beta-out-1 allow default",
            "beta-out-2 allow default",
            // Counting never blocks a customer's own number ...
            "beta-out-3 allow default",
            "beta-out-4 allow default",
            "acme-out-1 allow default",
            "acme-out-2 allow default",
            "acme-out-3 block counted",
            "acme-out-4 block counted",
            // ... also where it is on the list because of another customer's calls.
            "beta-out-5 allow default",
        ];
        assert_eq!(said, expected, "{threads} threads");
        let summary = run(folder.path(), &files, "summary", threads);
        let summary: Value = serde_json::from_str(&summary).expect("a summary is JSON");
        assert_eq!(summary["rejects"], json!({ "unknown_customer": 3 }), "{summary}");
    }
}

#[test]
fn without_customers_files_every_customer_is_taken_as_it_stands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = RULES.replace("[lists]", "[lists]\nown_numbers = { type = \"number\", items = [\"+13125550100\"] }");
    let summary = run(folder.path(), &[("ruleset.toml", &rules)], "summary", "2");
    let summary: Value = serde_json::from_str(&summary).expect("a summary is JSON");
    assert_eq!((&summary["rejects"], &summary["events"]), (&json!({}), &json!(calls().len())), "{summary}");
}
