//! Tests as analysts write them, against rules as analysts write them, and what is said of both.

use std::path::PathBuf;

use expect_test::{Expect, expect};

use super::command::play;
use super::file::{self, Rules, TestFile};
use super::junit;
use super::report::{Outcomes, Style};
use crate::policy::coverage::Named;
use crate::policy::render::{self, Texts};
use crate::policy::{LoadOptions, Policy, RuleSource, load};

/// The rules of the examples of the language, those that tests here are about.
const RULES: &str = r#"
[lists]
own_numbers = { type = "number", items = ["+4684000000..+4684009999"] }
irsf_ranges = { type = "number", items = ["+2235550*"] }
pstn_trunks = { type = "text", items = ["pstn-1", "pstn-2"] }
auto_block  = { type = "number", dynamic = true }
[calendars]
business = { open = ["Mon-Fri 07:00-18:00"], closed_dates = ["2026-12-24..2026-12-26"] }
[[firewall]]
id = "fw-auto-block"
when = 'caller in $auto_block'
action = "block"
[[firewall]]
id = "fw-spoofed-own"
mode = "monitor"
when = 'direction == inbound and trunk in $pstn_trunks and caller in $own_numbers and attestation != A'
action = "block"
track = ["log", "alert:warning"]
[[firewall]]
id = "fw-attest-c"
when = 'direction == inbound and attestation in {failed, C}'
action = "flag"
flag = "suspect-id"
[[threshold]]
id = "ips-wangiri"
on = "end"
where = 'direction == inbound and not answered and ring < 6s'
measure = "distinct(callee)"
per = ["prefix(caller, 7)"]
window = "10m"
warning = ">= 5"
critical = ">= 15"
on_critical = { do = ["alert"], block = { list = "auto_block", ttl = "6h", field = "prefix(caller, 7)" } }
[[threshold]]
id = "ips-irsf-after-hours"
on = "attempt"
where = 'direction == outbound and callee in $irsf_ranges and outside(business)'
measure = "count"
per = ["account"]
window = "1h"
warning = ">= 3"
critical = ">= 8"
cooldown = "2h"
[[threshold]]
id = "ips-tdos-callee"
on = "attempt"
where = 'direction == inbound'
measure = "count"
per = ["callee"]
window = "1m"
warning = ">= 30"
[[threshold]]
id = "ips-pumping"
on = "end"
where = 'direction == outbound and answered'
measure = "sum(duration)"
per = ["prefix(callee, 7)"]
window = "1h"
warning = ">= 300m"
[[threshold]]
id = "ips-robocall"
on = "end"
where = 'direction == inbound and answered'
measure = "share(duration < 10s)"
per = ["trunk"]
window = "30m"
min_count = 4
warning = ">= 70%"
[[threshold]]
id = "ips-brute-force"
on = "register"
where = 'auth_failed'
measure = "count"
per = ["source_ip"]
window = "5m"
warning = ">= 3"
"#;

const RULESET: &str =
    "ringfence = 1\ndefault_action = \"allow\"\ntime_zone = \"Europe/Stockholm\"\ninclude = [\"all.toml\"]\n";

fn policy() -> Policy {
    let loaded = load(&RuleSource::memory([("ruleset.toml", RULESET), ("all.toml", RULES)]), LoadOptions::default());
    loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems))
}

fn read(policy: &Policy, text: &str) -> (TestFile, Vec<String>) {
    let mut problems = Vec::new();
    let file = file::parse("a.test.toml", text, &Rules::of(policy), &mut problems);
    let mut texts = Texts::default();
    texts.insert("a.test.toml", text);
    (file, problems.iter().map(|problem| render::line(problem, &texts)).collect())
}

fn outcomes(text: &str) -> Outcomes {
    let policy = policy();
    let (file, problems) = read(&policy, text);
    assert_eq!(problems, [""; 0]);
    let mut named = Named::default();
    named.add(text);
    play(policy, &[file], &named, None).unwrap()
}

/// What is told of the tests; the line that sums up is left out.
fn check(text: &str, expected: Expect) {
    let told = outcomes(text).text(Style::default());
    let lines: Vec<&str> = told.lines().collect();
    expected.assert_eq(&lines[..lines.len() - 1].join("\n"));
}

/// Every mistake that is told of a file.
fn refused(text: &str, expected: Expect) {
    let (file, problems) = read(&policy(), text);
    expected.assert_eq(&problems.join("\n"));
    assert!(!problems.is_empty() || !file.tests.is_empty());
}

/// A test of the given rules with these calls and expectations.
fn one(rules: &str, calls: &str, expect: &str) -> String {
    format!(
        "[[test]]\nname = \"t\"\nrules = [{rules}]\nstart = \"2026-03-02T10:00:00+01:00\"\ncalls = [\n{calls}\n]\nexpect = [\n{expect}\n]\n"
    )
}

const WANGIRI: &str = r#"{ at = "0s", every = "20s", times = 16, direction = "inbound", caller = "+2235550{n:4}", callee = "+46840000{n:2}", ring = "2s" },"#;
const WARNING: &str = r#"{ at = "1m22s", rule = "ips-wangiri", key = ["+2235550*"], level = "warning", value = 5 },"#;
const CRITICAL: &str =
    r#"{ at = "4m42s", rule = "ips-wangiri", key = ["+2235550*"], level = "critical", value = 15 },"#;

#[test]
fn the_examples_of_the_language_give_what_they_say() {
    check(
        r#"
[[test]]
name = "wangiri: ring-and-run warns at 5, escalates at 15"
rules = ["ips-wangiri"]                  # every alert of these rules must be expected, else FAIL
start = "2026-03-02T10:00:00+01:00"      # {n:4} = running number, 4 digits; a call ends at at + ring + talk
calls = [ { at = "0s", every = "20s", times = 16, direction = "inbound", caller = "+2235550{n:4}", callee = "+46840000{n:2}", ring = "2s" } ]
expect = [
  { at = "1m22s", rule = "ips-wangiri", key = ["+2235550*"], level = "warning", value = 5 },
  { at = "4m42s", rule = "ips-wangiri", key = ["+2235550*"], level = "critical", value = 15 },
]
[[test]]
name = "window edge: a call exactly 60s old is not counted"
rules = ["ips-tdos-callee"]
start = "2026-03-02T10:00:00+01:00"
calls = [
  { at = "0s", every = "1s", times = 29, direction = "inbound", caller = "+4670100{n:4}", callee = "+4684000100" },
  { at = "60s", direction = "inbound", caller = "+46709999999", callee = "+4684000100" },
]
expect = []
[[test]]
name = "own number with attestation C is blocked, 112 always passes"
rules = []
start = "2026-03-02T10:00:00+01:00"
force_mode = "enforce"
calls = [
  { at = "0s", direction = "inbound", trunk = "pstn-1", caller = "+4684001234", callee = "+4684000001", attestation = "C", verdict = "block", by = "fw-spoofed-own" },
  { at = "1s", direction = "outbound", caller = "+4684001234", callee = "short:112", verdict = "allow", by = "builtin:emergency" },
]
"#,
        expect![[r#"
            ok    wangiri: ring-and-run warns at 5, escalates at 15            16 calls
            ok    window edge: a call exactly 60s old is not counted           30 calls
            ok    own number with attestation C is blocked, 112 always passes  2 calls"#]],
    );
}

#[test]
fn one_call_later_than_the_window_edge_is_counted() {
    let calls = r#"{ at = "0s", every = "1s", times = 29, direction = "inbound", caller = "+4670100{n:4}", callee = "+4684000100" },
        { at = "59999ms", direction = "inbound", caller = "+46709999999", callee = "+4684000100" },"#;
    check(
        &one("\"ips-tdos-callee\"", calls, ""),
        expect![[r#"
        FAIL  t  a.test.toml:1
              unexpected  ips-tdos-callee warning, callee=+4684000100, +59.999s (value 30, level >= 30)  (line 7)
                counted 30: calls 1 to 30 (+0s to +59.999s)"#]],
    );
}

#[test]
fn a_wrong_a_missing_and_an_unexpected_violation_each_fail() {
    let rules = "\"ips-wangiri\"";
    assert_eq!(outcomes(&one(rules, WANGIRI, &format!("{WARNING}{CRITICAL}"))).n_failed(), 0);
    check(
        &one(rules, WANGIRI, &format!("{}{CRITICAL}", WARNING.replace("value = 5", "value = 6"))),
        expect![[r#"
        FAIL  t  a.test.toml:1
              different   ips-wangiri warning, prefix(caller, 7)=+2235550*, +1m22s: value 5, not 6  (line 9)
                counted 5: calls 1 to 5 (+2s to +1m22s)"#]],
    );
    check(
        &one(rules, WANGIRI, &format!("{}{CRITICAL}", WARNING.replace("1m22s", "1m02s"))),
        expect![[r#"
        FAIL  t  a.test.toml:1
              different   ips-wangiri warning, prefix(caller, 7)=+2235550*, +1m02s: came at +1m22s with value 5  (line 9)
                counted 5: calls 1 to 5 (+2s to +1m22s)"#]],
    );
    check(
        &one(rules, WANGIRI, &format!("{}{CRITICAL}", WARNING.replace("1m22s", "1m42s"))),
        expect![[r#"
        FAIL  t  a.test.toml:1
              different   ips-wangiri warning, prefix(caller, 7)=+2235550*, +1m42s: came at +1m22s with value 5  (line 9)
                counted 5: calls 1 to 5 (+2s to +1m22s)"#]],
    );
    check(
        &one(rules, WANGIRI, &format!("{}{CRITICAL}", WARNING.replace("+2235550*", "+2235551*"))),
        expect![[r#"
        FAIL  t  a.test.toml:1
              different   ips-wangiri warning, prefix(caller, 7)=+2235551*, +1m22s: came for prefix(caller, 7)=+2235550*  (line 9)
                counted 5: calls 1 to 5 (+2s to +1m22s)"#]],
    );
    check(
        &one(rules, WANGIRI, &format!("{}{CRITICAL}", WARNING.replace("\"warning\"", "\"critical\""))),
        expect![[r#"
            FAIL  t  a.test.toml:1
                  different   ips-wangiri critical, prefix(caller, 7)=+2235550*, +1m22s: came as warning  (line 9)
                    counted 5: calls 1 to 5 (+2s to +1m22s)"#]],
    );
    check(
        &one(rules, WANGIRI, WARNING),
        expect![[r#"
        FAIL  t  a.test.toml:1
              unexpected  ips-wangiri critical, prefix(caller, 7)=+2235550*, +4m42s (value 15, level >= 15)  (line 6)
                counted 15: calls 1 to 15 (+2s to +4m42s)"#]],
    );
    check(
        &one(rules, WANGIRI, ""),
        expect![[r#"
        FAIL  t  a.test.toml:1
              unexpected  ips-wangiri warning, prefix(caller, 7)=+2235550*, +1m22s (value 5, level >= 5)  (line 6)
                counted 5: calls 1 to 5 (+2s to +1m22s)
              unexpected  ips-wangiri critical, prefix(caller, 7)=+2235550*, +4m42s (value 15, level >= 15)  (line 6)
                counted 15: calls 1 to 15 (+2s to +4m42s)"#]],
    );
    check(
        &one(rules, WANGIRI, &format!("{WARNING}{WARNING}{CRITICAL}")),
        expect![[r#"
            FAIL  t  a.test.toml:1
                  missing     ips-wangiri warning, prefix(caller, 7)=+2235550*, +1m22s  (line 9)
                    it raised warning at +1m22s already: an episode is told once, and ends when it was clear for `cooldown`
                    counted 16: calls 1 to 16 (+2s to +5m02s)"#]],
    );
}

#[test]
fn without_rules_every_violation_of_every_rule_is_to_be_expected() {
    let text = one("", WANGIRI, "").replace("rules = []\n", "");
    assert_eq!(outcomes(&text).n_failed(), 1);
    assert_eq!(outcomes(&one("", WANGIRI, "")).n_failed(), 0);
}

#[test]
fn what_did_not_count_is_told_with_its_reason() {
    let calls = r#"
  { at = "0s", every = "2m", times = 14, direction = "outbound", account = "pbx-22", caller = "+46840000{n:2}", callee = "+2235550{n:4}" },
  { at = "21m", direction = "outbound", account = "pbx-23", caller = "+4684000001", callee = "+2235550001" },
  { at = "22m", direction = "outbound", caller = "+4684000001", callee = "+2235550001" },
  { at = "22m", every = "1s", times = 3, direction = "outbound", account = "pbx-22", caller = "+4684000001", callee = "+46701000{n:3}" },"#;
    let expect = r#"{ at = "20m", rule = "ips-irsf-after-hours", key = ["pbx-22"], level = "warning", value = 3 },
        { at = "26m", rule = "ips-irsf-after-hours", key = ["pbx-22"], level = "critical" },"#;
    let text = one("\"ips-irsf-after-hours\"", calls, expect);
    check(
        &text.replace("2026-03-02T10:00:00+01:00", "2026-12-23T17:45:00+01:00"),
        expect![[r#"
            FAIL  t  a.test.toml:1
                  missing     ips-irsf-after-hours critical, account=pbx-22, +26m00s (value reached 6, needs >= 8)  (line 14)
                    counted 6: calls 9 to 14 (+16m00s to +26m00s)
                    call 15 (+21m00s) counted for account=pbx-23
                    calls 1 to 8 (+0s to +14m00s) not counted, the first because outside(business) is false: 2026-12-23 is not in closed_dates of "business"; Wed 17:45 Europe/Stockholm
                    call 16 (+22m00s) not counted: account is absent: no key
                    calls 17 to 19 (+22m00s to +22m02s) not counted, the first because callee +46701000001 is not in $irsf_ranges"#]],
    );
}

#[test]
fn how_far_a_rule_got_is_told_for_every_measure() {
    let calls = r#"
  { at = "0s", every = "20m", times = 5, direction = "outbound", caller = "+4684000001", callee = "+46840000110", talk = "90m" },
  { at = "0s", every = "1m", times = 6, trunk = "a", direction = "inbound", caller = "+46701", callee = "+46840000110", talk = "9s" },
  { at = "0s", every = "1m", times = 6, trunk = "a", direction = "inbound", caller = "+46701", callee = "+46840000110", talk = "10s" },"#;
    let expect = r#"{ at = "1m", rule = "ips-pumping", key = ["+4684000*"], level = "warning" },
        { at = "1m", rule = "ips-robocall", key = ["a"], level = "warning", value = "70%" },
        { at = "1m", rule = "ips-brute-force", key = ["198.51.100.7"], level = "warning", value = "70%" },
        { at = "1m", rule = "ips-brute-force", level = "critical" },
        { at = "1m", rule = "fw-spoofed-own", key = ["+4684000001"], level = "critical" },"#;
    check(
        &one("\"ips-pumping\", \"ips-robocall\", \"ips-brute-force\", \"fw-spoofed-own\"", calls, expect),
        expect![[r#"
            FAIL  t  a.test.toml:1
                  missing     ips-pumping warning, prefix(callee, 7)=+4684000*, +1m00s (value reached 4h30m00s at +2h10m00s, needs >= 300m)  (line 12)
                    counted 5: calls 1 to 5 (+1h30m00s to +2h50m00s)
                    calls 6 to 17 (+9s to +5m10s) not counted: direction is inbound
                  missing     ips-robocall warning, trunk=a, +1m00s (value reached 60% at +2m09s, needs >= 70%)  (line 13)
                    counted 12: calls 6 to 17 (+9s to +5m10s)
                    calls 1 to 5 (+1h30m00s to +2h50m00s) not counted: direction is outbound
                  missing     ips-brute-force warning, source_ip=198.51.100.7, +1m00s  (line 14)
                    nothing was counted for source_ip=198.51.100.7
                    calls 1 to 17 (+0s to +1h20m00s) not counted: the rule runs on register
                  missing     ips-brute-force critical, +1m00s  (line 15)
                    ips-brute-force has no critical level
                  missing     fw-spoofed-own critical, caller=+4684000001, +1m00s  (line 16)
                    fw-spoofed-own raises no critical: it has no track = ["alert:critical"]"#]],
    );
}

#[test]
fn verdicts_are_held_against_what_the_firewall_said_last() {
    let calls = r#"
  { at = "0s", direction = "inbound", trunk = "pstn-1", caller = "+4684001234", callee = "+4684000001", attestation = "C", verdict = "block", by = "fw-spoofed-own" },
  { at = "1s", every = "1s", times = 3, direction = "inbound", trunk = "x-{n}", caller = "+4684001234", callee = "+4684000001", verdict = "block", by = "fw-spoofed-own" },
  { at = "5s", direction = "inbound", caller = "+4670100", callee = "+4684000001", attestation = "C", flags = ["suspect-id"], verdict = "allow", by = "default" },
  { at = "6s", direction = "inbound", caller = "+4670100", callee = "+4684000001", attestation = "A", flags = ["suspect-id"] },
  { at = "7s", direction = "inbound", caller = "+4670100", callee = "+4684000001", attestation = "C", flags = [] },
  { at = "8s", direction = "outbound", caller = "+4670100", callee = "112", verdict = "block" },"#;
    let text = one("", calls, "");
    check(
        &text,
        expect![[r#"
        FAIL  t  a.test.toml:1
              verdict     call 1 (+0s): allow by default, expected block by fw-spoofed-own  (line 7)
                fw-spoofed-own matches, but it is in mode monitor and only watches; force_mode = "enforce" tries it in force
              verdict     calls 2 to 4 (+1s to +3s): allow by default, expected block by fw-spoofed-own  (line 8)
                fw-spoofed-own does not match: trunk "x-1" is not in $pstn_trunks
              verdict     call 6 (+6s): no flags, expected flags suspect-id  (line 10)
              verdict     call 7 (+7s): flags suspect-id, expected no flags  (line 11)
              verdict     call 8 (+8s): allow by builtin:emergency, expected block  (line 12)"#]],
    );
    check(
        &text.replace("rules", "force_mode = \"enforce\"\nrules"),
        expect![[r#"
        FAIL  t  a.test.toml:1
              verdict     calls 2 to 4 (+1s to +3s): allow by default, expected block by fw-spoofed-own  (line 9)
                fw-spoofed-own does not match: trunk "x-1" is not in $pstn_trunks
              verdict     call 6 (+6s): no flags, expected flags suspect-id  (line 11)
              verdict     call 7 (+7s): flags suspect-id, expected no flags  (line 12)
              verdict     call 8 (+8s): allow by builtin:emergency, expected block  (line 13)"#]],
    );
}

#[test]
fn a_block_that_a_threshold_made_is_told_as_what_decided() {
    let calls = WANGIRI.replace("ring = \"2s\"", "ring = \"2s\", verdict = \"allow\"");
    let text = one("", &calls, "").replace("rules", "force_mode = \"enforce\"\nrules");
    check(
        &text,
        expect![[r#"
            FAIL  t  a.test.toml:1
                  verdict     call 16 (+5m00s): block by fw-auto-block, expected allow  (line 7)
                    fw-auto-block matches by $auto_block; ips-wangiri put +2235550* there at +4m42s"#]],
    );
}

#[test]
fn calls_make_events_as_a_feed_would_send_them() {
    let calls = r#"
  { at = "0s", every = "1s", times = 3, kind = "register", source_ip = "198.51.100.7", auth_failed = true, sip_code = 401 },
  { at = "10s", every = "1s", times = 4, kind = "cdr", trunk = "a", direction = "inbound", caller = "+46701", callee = "+46840000110", ring = "1s", talk = "9s" },"#;
    let expect = r#"{ at = "2s", rule = "ips-brute-force", key = ["198.51.100.7"], level = "warning", value = 3 },
        { at = "23s", rule = "ips-robocall", key = ["a"], level = "warning", value = 100 },"#;
    let text = one("", calls, expect).replace("rules = []\n", "");
    check(&text, expect!["ok    t  7 calls"]);
}

#[test]
fn a_call_id_said_twice_is_one_call() {
    let call = |at: u32, id: &str| {
        format!(
            r#"{{ at = "{at}s", direction = "outbound", account = "a", call_id = "{id}", caller = "+4684000001", callee = "+2235550001" }},"#
        )
    };
    let expect = r#"{ at = "3s", rule = "ips-irsf-after-hours", key = ["a"], level = "warning" },"#;
    let calls = [call(0, "x"), call(1, "x"), call(2, "y"), call(3, "z")].concat();
    let text = one("\"ips-irsf-after-hours\"", &calls, expect).replace("T10:00", "T20:00");
    check(&text, expect!["ok    t  4 calls"]);
    check(
        &text.replace("at = \"3s\", rule", "at = \"2s\", rule"),
        expect![[r#"
        FAIL  t  a.test.toml:1
              different   ips-irsf-after-hours warning, account=a, +2s: came at +3s with value 3  (line 9)
                counted 3: calls 1, 3, 4 (+0s to +3s)
                call 2 (+1s) not counted: the attempt of this call was counted before, from another record"#]],
    );
}

#[test]
fn a_late_call_counts_in_its_place_and_is_told_as_late() {
    let calls = r#"
  { at = "0s", every = "1s", times = 28, direction = "inbound", caller = "+4670100{n:4}", callee = "+4684000100" },
  { at = "50s", direction = "inbound", caller = "+46709999999", callee = "+4684000100" },
  { at = "10s", delay = "45s", direction = "inbound", caller = "+46709999998", callee = "+4684000100" },"#;
    let expect = r#"{ at = "50s", rule = "ips-tdos-callee", key = ["+4684000100"], level = "warning", value = 30, late = true },"#;
    check(&one("\"ips-tdos-callee\"", calls, expect), expect!["ok    t  30 calls"]);
    check(
        &one("\"ips-tdos-callee\"", calls, &expect.replace(", late = true", ", late = false")),
        expect![[r#"
        FAIL  t  a.test.toml:1
              different   ips-tdos-callee warning, callee=+4684000100, +50s: came late  (line 12)
                counted 30: calls 1 to 30 (+0s to +50s)"#]],
    );
}

#[test]
fn until_ends_a_test_before_what_comes_later() {
    let text = one("\"ips-wangiri\"", WANGIRI, WARNING).replace("rules", "until = \"4m41s\"\nrules");
    assert_eq!(outcomes(&text).n_failed(), 0);
    assert_eq!(outcomes(&text.replace("4m41s", "4m42s")).n_failed(), 1);
}

#[test]
fn recorded_events_are_played_with_the_calls() {
    let folder = tempfile::tempdir().unwrap();
    let event = |second: u32| {
        format!(
            "{{\"time\":\"2026-03-02T20:00:{second:02}+01:00\",\"kind\":\"attempt\",\"direction\":\"outbound\",\"account\":\"a\",\"call_id\":\"r{second}\",\"caller\":\"+4684000001\",\"callee\":\"+2235550001\"}}\n"
        )
    };
    let fixture = folder.path().join("x.jsonl");
    let write = |text: String| std::fs::write(&fixture, text).unwrap();
    write([event(0), event(5)].concat());
    let path = folder.path().join("a.test.toml");
    let text = r#"[[test]]
name = "recorded"
rules = ["ips-irsf-after-hours"]
start = 2026-03-02T20:00:00+01:00
events = "x.jsonl"
calls = [ { at = "3s", direction = "outbound", account = "a", caller = "+4684000001", callee = "+2235550001" } ]
expect = [ { at = "5s", rule = "ips-irsf-after-hours", key = ["a"], level = "warning", value = 3 } ]
"#;
    let policy = || {
        let policy = policy();
        let mut problems = Vec::new();
        let file = file::parse(path.to_str().unwrap(), text, &Rules::of(&policy), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        play(policy, &[file], &Named::default(), None).unwrap()
    };
    let played = policy();
    assert_eq!((played.n_failed(), played.tests[0].records, played.tests[0].calls), (0, 2, 1));
    write(format!("{}no event\n{}", event(0), event(5)));
    let played = policy();
    assert_eq!(played.n_failed(), 1);
    assert!(played.tests[0].failures[0].text.contains("one record is no event"), "{:?}", played.tests[0]);
    std::fs::remove_file(&fixture).unwrap();
    let (_, problems) = read(&self::policy(), &text.replace("x.jsonl", "gone.jsonl"));
    assert!(problems[0].contains("there is no file `gone.jsonl`"), "{problems:?}");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_and_in_its_place() {
    refused(
        r#"
tests = 3
[[test]]
nam = "a"
rules = ["ips-wangri", 5]
start = "2026-03-02T10:00:00"
force_mode = "on"
calls = [
  { every = "20s", direction = "inbuond", caller = 46701234567, callee = "+4684{m}" },
  { at = "20", times = 0, sip_code = 70000, duration = "3s", by = "fw-atest-c" },
  { at = "1h", talk = "3s", status = "busy", flags = ["suspect"], verdict = "flag", source_ip = "host", by = "ips-wangiri" },
  { at = "3h", status = "answered", anonymous = "yes" },
]
expect = [
  { at = "1m", rule = "ips-wangiri", key = ["a", "b"], level = "waring", value = true },
  { rule = "ips-nothing-like-it", level = "warning", at = "4000d" },
]
until = "2h"
[[test]]
name = "b"
start = 5
[[test]]
name = "b"
rules = ["ips-wangiri"]
start = "2026-03-02T10:00:00Z"
events = "nowhere.jsonl"
expect = [ { at = "1m", rule = "ips-pumping", level = "warning" } ]
"#,
        expect![[r#"
            a.test.toml:2:1: unknown key `tests`; did you mean `test`?
            a.test.toml:4:1: unknown key `nam`; did you mean `name`?
            a.test.toml:5:10: unknown rule `ips-wangri`; did you mean `ips-wangiri`?
            a.test.toml:5:24: `rules` is an array of texts, not an integer; write: rules = ["ips-wangiri"]
            a.test.toml:6:9: `2026-03-02T10:00:00` has no time zone; write: start = "2026-03-02T10:00:00+01:00"
            a.test.toml:7:14: `on` is not a value of `force_mode`; one of: enforce, monitor
            a.test.toml:9:3: a call has no `at`; add a line such as: at = "4m"
            a.test.toml:9:5: `every` says nothing without `times`
            a.test.toml:9:32: `inbuond` is not a value of `direction`; did you mean `inbound`?
            a.test.toml:9:52: phone number written as an integer; write it like: caller = "+4670100{n:4}"
            a.test.toml:9:74: `callee`: `{m}` stands for nothing; {n} is the running number of the call, {n:4} its last four digits
            a.test.toml:10:10: duration `20` without a unit; write 20s for seconds; units are ms, s, m, h and d
            a.test.toml:10:24: `times` lies between 1 and 250000, not 0
            a.test.toml:10:38: `sip_code` does not take this value; write it like: sip_code = 486
            a.test.toml:10:45: `duration` is not said of a call in a test: how long they talk is `talk`; write: talk = "3m"
            a.test.toml:10:67: unknown rule `fw-atest-c`; did you mean `fw-attest-c`?
            a.test.toml:11:38: a call with a `talk` time was answered, not busy
            a.test.toml:11:55: `suspect` is not a value of `flags`; one of: suspect-id
            a.test.toml:11:77: `flag` is not a value of `verdict`; one of: allow, block, divert
            a.test.toml:11:97: `source_ip` does not take this value; write it like: source_ip = "198.51.100.7"
            a.test.toml:11:110: `ips-wangiri` is a threshold: it decides of no call; write the id of a firewall rule, default or builtin:emergency
            a.test.toml:12:25: an answered call has a `talk` time; write: talk = "3m"; `status` then follows from it
            a.test.toml:12:49: `anonymous` does not take this kind of value; write it like: anonymous = true
            a.test.toml:15:44: a key of `ips-wangiri` has one value, not 2; its keys are: prefix(caller, 7)
            a.test.toml:15:64: `waring` is not a value of `level`; did you mean `warning`?
            a.test.toml:15:82: `value` is a number, a duration or a percentage; write: value = 5, value = "15m" or value = "82.5%"
            a.test.toml:16:12: unknown rule `ips-nothing-like-it`; rules with mode = "off" are not there for a test either; `ringfence check` tells how many rules are
            a.test.toml:16:59: `at` is longer than 3660 days
            a.test.toml:19:1: [[test]] has no `calls`; add a line such as: calls = [ { at = "0s", caller = "+46701234567", callee = "+46840000001" } ]
            a.test.toml:21:9: `start` is a date and time, not an integer; write: start = "2026-03-02T10:00:00+01:00"
            a.test.toml:23:8: two tests are called `b`
            a.test.toml:26:10: there is no file `nowhere.jsonl`; the path is relative to the folder of the test file
            a.test.toml:27:32: `rules` of this test does not name `ips-pumping`; add "ips-pumping" to `rules`, or leave `rules` out to watch all"#]],
    );
}

#[test]
fn what_is_no_toml_or_has_no_test_is_told() {
    refused(
        "[[test]]\nname = oops\nstart = 1\ncalls = [ { at = } ]\n",
        expect![[r#"
        a.test.toml:2:8: string values must be quoted, expected literal string; text stands in quotes: name = 'oops'
        a.test.toml:4:18: invalid literal string, expected `'`"#]],
    );
    refused("", expect!["a.test.toml:1:1: the file has no [[test]]; begin a test with the line: [[test]]"]);
    refused(
        "[test]\nname = \"a\"\n",
        expect!["a.test.toml:1:1: `test` is an array of tables, not a table; write: [[test]], in double brackets"],
    );
}

#[test]
fn too_many_events_are_refused() {
    refused(
        "[[test]]\nname = \"a\"\nstart = \"2026-03-02T10:00:00Z\"\ncalls = [ { at = \"0s\", times = 250000 }, { at = \"0s\", every = \"9d\", times = 9000 } ]\n",
        expect![[r#"
            a.test.toml:4:1: the calls of this test make 500000 events; a test takes at most 250000
            a.test.toml:4:42: the last of these calls ends more than 3660 days after the start"#]],
    );
}

#[test]
fn coverage_tells_what_tests_have_shown() {
    let text = one("\"ips-wangiri\"", WANGIRI, &format!("{WARNING}{CRITICAL}"));
    let told = outcomes(&text).text(Style { coverage: true, quiet: true, colour: false });
    expect![[r#"

        rule                  tests  matched  warning  critical
        fw-auto-block             0        1        -         -  no test
        fw-spoofed-own            0        0        0         -  no test, never matched
        fw-attest-c               0        0        -         -  no test, never matched
        ips-wangiri               1       16        1         1
        ips-irsf-after-hours      0        0        0         0  no test, never matched
        ips-tdos-callee           0       16        0         -  no test, warning never fired
        ips-pumping               0        0        0         -  no test, never matched
        ips-robocall              0        0        0         -  no test, never matched
        ips-brute-force           0        0        0         -  no test, never matched
        1 of 9 rules have a test
        1 test, all as expected; rules without a test: fw-auto-block, fw-spoofed-own, fw-attest-c, ips-irsf-after-hours, ips-tdos-callee, ips-pumping, ips-robocall, ips-brute-force
    "#]].assert_eq(&told);
}

#[test]
fn a_filter_leaves_tests_out_and_says_so() {
    let policy = policy();
    let text = one("", WANGIRI, "") + &one("", WANGIRI, "").replace("\"t\"", "\"Other\"");
    let (file, _) = read(&policy, &text);
    let played = play(policy, &[file], &Named::default(), Some("OTH")).unwrap();
    assert_eq!((played.tests.len(), played.n_left_out), (1, 1));
    assert_eq!(played.tests[0].name, "Other");
}

#[test]
fn forced_modes_hold_for_their_tests_alone() {
    let calls = r#"{ at = "0s", direction = "inbound", trunk = "pstn-1", caller = "+4684001234", callee = "+4684000001", verdict = "VERDICT" },"#;
    let test = |name: &str, mode: &str, verdict: &str| {
        let text = one("", &calls.replace("VERDICT", verdict), "").replace("\"t\"", &format!("\"{name}\""));
        text.replace("rules", &format!("{mode}\nrules"))
    };
    let enforce = "force_mode = \"enforce\"";
    let text = [
        test("a", enforce, "block"),
        test("b", "", "allow"),
        test("c", "force_mode = \"monitor\"", "allow"),
        test("d", enforce, "block"),
    ];
    let played = outcomes(&text.concat());
    assert_eq!(played.n_failed(), 0, "{}", played.text(Style::default()));
    let names: Vec<&str> = played.tests.iter().map(|test| test.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"], "in the order of the file");
}

#[test]
fn junit_is_well_formed_and_holds_every_test() {
    let text = one("\"ips-wangiri\"", WANGIRI, "").replace("\"t\"", "\"<a> & \\\"b\\\"\"")
        + &one("\"ips-wangiri\"", WANGIRI, &format!("{WARNING}{CRITICAL}"));
    let document = junit::document(&outcomes(&text));
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="ringfence test" tests="2" failures="1" errors="0">
          <testsuite name="a.test.toml" tests="2" failures="1" errors="0">
            <testcase classname="a.test.toml" name="&lt;a&gt; &amp; &quot;b&quot;" file="a.test.toml" line="1">
              <failure type="unexpected" message="unexpected ips-wangiri warning, prefix(caller, 7)=+2235550*, +1m22s (value 5, level &gt;= 5)">a.test.toml:6
        counted 5: calls 1 to 5 (+2s to +1m22s)
        {&quot;time&quot;:&quot;2026-03-02T09:01:22.000Z&quot;,&quot;customer&quot;:&quot;default&quot;,&quot;rule&quot;:&quot;ips-wangiri&quot;,&quot;level&quot;:&quot;warning&quot;,&quot;key&quot;:{&quot;prefix(caller, 7)&quot;:&quot;+2235550*&quot;},&quot;measure&quot;:&quot;distinct&quot;,&quot;value&quot;:5,&quot;threshold&quot;:5,&quot;window&quot;:&quot;10m&quot;,&quot;call_id&quot;:&quot;call-5&quot;,&quot;mode&quot;:&quot;enforce&quot;}</failure>
              <failure type="unexpected" message="unexpected ips-wangiri critical, prefix(caller, 7)=+2235550*, +4m42s (value 15, level &gt;= 15)">a.test.toml:6
        counted 15: calls 1 to 15 (+2s to +4m42s)
        {&quot;time&quot;:&quot;2026-03-02T09:04:42.000Z&quot;,&quot;customer&quot;:&quot;default&quot;,&quot;rule&quot;:&quot;ips-wangiri&quot;,&quot;level&quot;:&quot;critical&quot;,&quot;key&quot;:{&quot;prefix(caller, 7)&quot;:&quot;+2235550*&quot;},&quot;measure&quot;:&quot;distinct&quot;,&quot;value&quot;:15,&quot;threshold&quot;:15,&quot;window&quot;:&quot;10m&quot;,&quot;call_id&quot;:&quot;call-15&quot;,&quot;mode&quot;:&quot;enforce&quot;}</failure>
            </testcase>
            <testcase classname="a.test.toml" name="t" file="a.test.toml" line="11"/>
          </testsuite>
        </testsuites>
    "#]].assert_eq(&document);
    let mut reader = quick_xml::Reader::from_str(&document);
    let mut depth = 0;
    loop {
        match reader.read_event().expect("well-formed") {
            quick_xml::events::Event::Start(_) => depth += 1,
            quick_xml::events::Event::End(_) => depth -= 1,
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
}

#[test]
fn json_says_what_the_text_says() {
    let value = outcomes(&one("\"ips-wangiri\"", WANGIRI, WARNING)).json();
    assert_eq!((&value["total"], &value["failed"]), (&1.into(), &1.into()));
    let failure = &value["tests"][0]["failures"][0];
    assert_eq!(failure["kind"], "unexpected");
    assert_eq!(failure["violation"]["value"], 15);
    assert_eq!(value["coverage"][0][3]["rule"], "ips-wangiri");
    assert_eq!(value["coverage"][0][3]["critical"], 1);
}

#[test]
fn customers_with_files_have_their_own_calls() {
    let rules = [
        ("ruleset.toml", RULESET),
        ("all.toml", RULES),
        ("customers/acme.toml", "name = \"Acme\"\ntime_zone = \"UTC\"\n[[trunk]]\nname = \"acme-1\"\n"),
    ];
    let policy = || load(&RuleSource::memory(rules), LoadOptions::default()).policy.unwrap();
    let calls = WANGIRI.replace("ring", "trunk = \"acme-1\", ring");
    let expect = format!("{WARNING}{CRITICAL}").replace("value", "customer = \"acme\", value");
    let played = |text: &str| {
        let policy = policy();
        let (file, problems) = read(&policy, text);
        assert_eq!(problems, [""; 0]);
        play(policy, &[file], &Named::default(), None).unwrap()
    };
    let text = one("\"ips-wangiri\"", &calls, &expect);
    let by_trunk = played(&text);
    assert_eq!(by_trunk.n_failed(), 0, "{}", by_trunk.text(Style::default()));
    let by_name = played(&text.replace("trunk = \"acme-1\", ", "").replace("rules", "customer = \"acme\"\nrules"));
    assert_eq!(by_name.n_failed(), 0, "{}", by_name.text(Style::default()));
    let nobody = played(&text.replace("acme-1", "other"));
    let first = &nobody.tests[0].failures[0];
    assert_eq!(first.text, "call 1 is no event: no file in customers/ is its customer's");
}

#[test]
fn overrides_and_exceptions_are_told_as_the_reason() {
    let rules = RULES.replace(
        "per = [\"account\"]",
        "per = [\"account\"]\nexcept = [ { where = 'callee == +2235550009', reason = \"our ship\", expires = \"2027-01-01\" } ]",
    );
    let acme = r#"
name = "Acme"
time_zone = "UTC"
[[override]]
customer = "acme"
rule = "ips-irsf-after-hours"
warning = ">= 5"
critical = ">= 9"
reason = "a travel agency"
expires = "2027-01-01"
"#;
    let set = [
        ("ruleset.toml", RULESET),
        ("all.toml", &rules),
        ("customers/acme.toml", acme),
        ("customers/other.toml", "name = \"Other\"\ntime_zone = \"UTC\"\n"),
    ];
    let loaded = load(&RuleSource::memory(set), LoadOptions::default());
    let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    let calls = |customer: &str| {
        let text = r#"{ at = "0s", every = "1m", times = 4, customer = "CUSTOMER", direction = "outbound", account = "a", caller = "+4684000001", callee = "+223555000{n:1}" },
        { at = "10m", customer = "CUSTOMER", direction = "outbound", account = "a", caller = "+4684000001", callee = "+2235550009" },"#;
        text.replace("CUSTOMER", customer)
    };
    let expect = r#"{ at = "2m", rule = "ips-irsf-after-hours", key = ["a"], level = "warning" },"#;
    let night = |text: String| text.replace("T10:00", "T20:00");
    let rule = "\"ips-irsf-after-hours\"";
    let (acme, _) = read(&policy, &night(one(rule, &calls("acme"), expect)));
    let (other, _) = read(&policy, &night(one(rule, &calls("other"), expect)));
    let played = play(policy, &[acme, other], &Named::default(), None).unwrap().text(Style::default());
    let lines: Vec<&str> = played.lines().collect();
    expect![[r#"
        FAIL  t  a.test.toml:1
              missing     ips-irsf-after-hours warning, account=a, +2m00s (value reached 4 at +3m00s, needs >= 5)  (line 10)
                counted 4: calls 1 to 4 (+0s to +3m00s)
                call 5 (+10m00s) not counted: it is excepted: our ship
        ok    t  5 calls"#]].assert_eq(&lines[..lines.len() - 1].join("\n"));
}

#[test]
fn what_must_hold_for_a_while_is_told_where_it_did_not() {
    let rules =
        RULES.replace("per = [\"callee\"]\nwindow = \"1m\"", "per = [\"callee\"]\nwindow = \"1m\"\nfor = \"2m\"");
    let policy = load(&RuleSource::memory([("ruleset.toml", RULESET), ("all.toml", &rules)]), LoadOptions::default());
    let policy = policy.policy.unwrap();
    let calls = r#"{ at = "0s", every = "1s", times = 30, direction = "inbound", caller = "+4670100{n:4}", callee = "+4684000100" },"#;
    let expect = r#"{ at = "2m29s", rule = "ips-tdos-callee", key = ["+4684000100"], level = "warning" },"#;
    let text = one("\"ips-tdos-callee\"", calls, expect).replace("rules", "until = \"10m\"\nrules");
    let (file, _) = read(&policy, &text);
    let played = play(policy, &[file], &Named::default(), None).unwrap();
    expect![
        "ips-tdos-callee warning, callee=+4684000100, +2m29s (value reached 30 at +29s, but >= 30 must hold for 2m00s)"
    ]
    .assert_eq(&played.tests[0].failures[0].text);
}

#[test]
fn what_else_must_hold_is_told_where_it_did_not() {
    let rules = RULES.replace("min_count = 4", "min_count = 4\nalso = [\"distinct(callee) >= 4\"]");
    let policy = load(&RuleSource::memory([("ruleset.toml", RULESET), ("all.toml", &rules)]), LoadOptions::default());
    let policy = policy.policy.unwrap();
    let calls = r#"{ at = "0s", every = "1m", times = 6, trunk = "a", direction = "inbound", caller = "+46701", callee = "+46840000110", talk = "9s" },"#;
    let expect = r#"{ at = "3m9s", rule = "ips-robocall", key = ["a"], level = "warning" },"#;
    let text = one("\"ips-robocall\"", calls, expect);
    let (first, _) = read(&policy, &text);
    let (other, _) = read(&policy, &text.replace("+46840000110", "+4684000011{n:1}"));
    let (again, _) = read(&policy, &text);
    let played = play(policy, &[first, other, again], &Named::default(), None).unwrap();
    assert_eq!(played.tests[0].failures, played.tests[2].failures, "what was tried is taken back");
    expect!["ips-robocall warning, trunk=a, +3m09s (value reached 100%, which meets >= 70%, but `also` does not hold)"]
        .assert_eq(&played.tests[0].failures[0].text);
    assert!(played.tests[1].is_ok(), "{}", played.text(Style::default()));
}

#[test]
fn time_alone_brings_what_must_hold_for_a_while() {
    let rules =
        RULES.replace("per = [\"callee\"]\nwindow = \"1m\"", "per = [\"callee\"]\nwindow = \"10m\"\nfor = \"2m\"");
    let policy = load(&RuleSource::memory([("ruleset.toml", RULESET), ("all.toml", &rules)]), LoadOptions::default());
    let policy = policy.policy.unwrap();
    let calls = r#"{ at = "0s", every = "1s", times = 30, direction = "inbound", caller = "+4670100{n:4}", callee = "+4684000100" },"#;
    let expect = r#"{ at = "2m29s", rule = "ips-tdos-callee", key = ["+4684000100"], level = "warning", value = 30 },"#;
    let text = one("\"ips-tdos-callee\"", calls, expect);
    let (short, _) = read(&policy, &text);
    let (long, _) = read(&policy, &text.replace("rules", "until = \"3m\"\nrules"));
    let played = play(policy, &[short, long], &Named::default(), None).unwrap();
    let failed: Vec<bool> = played.tests.iter().map(|test| !test.is_ok()).collect();
    assert_eq!(failed, [true, false], "{}", played.text(Style::default()));
}

#[test]
fn what_a_rule_follows_and_what_stood_on_lists_is_known_of_each_call() {
    let rules = "lists = { bad = { type = 'number', dynamic = true } }\nthreshold = [\
        { id = 'lead', on = 'attempt', where = 'trunk == \"a\"', measure = 'count', per = ['caller'], window = '1m', \
          warning = '>= 2', on_warning = { do = ['alert'], block = { list = 'bad', ttl = '1h' } } }, \
        { id = 'next', on = 'attempt', measure = 'count', per = ['caller'], window = '5m', warning = '>= 3', \
          after = { rule = 'lead', within = '2m' } }, \
        { id = 'listed', on = 'attempt', where = 'caller in $bad', measure = 'count', per = ['caller'], \
          window = '5m', warning = '>= 9' }]";
    let policy = load(&RuleSource::memory([("ruleset.toml", RULESET), ("all.toml", rules)]), LoadOptions::default());
    let policy = policy.policy.unwrap_or_else(|| panic!("{:?}", policy.problems));
    let calls = r#"{ at = "0s", every = "1s", times = 2, trunk = "a", caller = "+46701", callee = "+4684000001" },
        { at = "1m", every = "50s", times = 3, trunk = "b", caller = "+46701", callee = "+4684000001" },"#;
    let expect = r#"{ at = "2m40s", rule = "next", key = ["+46701"], level = "warning" },
        { at = "2m40s", rule = "listed", key = ["+46701"], level = "warning" },"#;
    let (file, problems) = read(&policy, &one("\"next\", \"listed\"", calls, expect));
    assert_eq!(problems, [""; 0]);
    let played = play(policy, &[file], &Named::default(), None).unwrap().text(Style::default());
    let lines: Vec<&str> = played.lines().collect();
    expect![[r#"
        FAIL  t  a.test.toml:1
              missing     next warning, caller=+46701, +2m40s (value reached 2 at +1m50s, needs >= 3)  (line 10)
                counted 2: calls 3, 4 (+1m00s to +1m50s)
                calls 1, 2, 5 (+0s to +2m40s) not counted: no violation of lead of caller=+46701 in the 2m before
              missing     listed warning, caller=+46701, +2m40s (value reached 3, needs >= 9)  (line 11)
                counted 3: calls 3 to 5 (+1m00s to +2m40s)
                calls 1, 2 (+0s to +1s) not counted: caller +46701 is not in $bad"#]]
    .assert_eq(&lines[..lines.len() - 1].join("\n"));
}

#[test]
fn tests_of_the_shipped_rules_pass() {
    let policy = load(&RuleSource::at("rules"), LoadOptions::default()).policy.unwrap();
    let mut paths: Vec<PathBuf> = std::fs::read_dir("rules/tests").unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".test.toml"));
    paths.sort();
    let mut problems = Vec::new();
    let files = paths.iter().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        file::parse(path.to_str().unwrap(), &text, &Rules::of(&policy), &mut problems)
    });
    let files: Vec<TestFile> = files.collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(!files.is_empty());
    let played = play(policy, &files, &Named::default(), None).unwrap();
    assert_eq!(played.n_failed(), 0, "{}", played.text(Style { quiet: true, ..Style::default() }));
}
