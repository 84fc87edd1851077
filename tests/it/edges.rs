//! Windows that other systems get wrong at their edges: each defect, as it was found in their source or documents, is a
//! stream here, and a test that it does not happen.

use serde_json::Value as Json;

use crate::support::replay;

/// `(time, level, value, call)` of the violations of one rule over calls at these times, ms, from one caller.
fn violations(rule: &str, times_ms: &[i64]) -> Vec<(i64, String, f64, String)> {
    let lines = times_ms.iter().enumerate().map(|(n, at)| {
        let time = START_MS + at;
        format!(r#"{{"time":{time},"kind":"attempt","call_id":"{}","caller":"+46700001","callee":"+46850001"}}"#, n + 1)
    });
    judged(rule, &lines.collect::<Vec<_>>())
}

fn judged(rule: &str, lines: &[String]) -> Vec<(i64, String, f64, String)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a folder for the rules");
    let head = "ringfence = 1\ndefault_action = \"allow\"\n[[threshold]]\nid = \"edge\"\n";
    std::fs::write(rules.join("ruleset.toml"), format!("{head}{rule}\n")).expect("the rules are written");
    let events = folder.path().join("events.ndjson");
    std::fs::write(&events, lines.join("\n")).expect("the events are written");
    let found = replay(&rules, &events, "violations", &[]);
    found.lines().map(|line| read(&serde_json::from_str(line).expect("violations are JSON"))).collect()
}

fn read(line: &Json) -> (i64, String, f64, String) {
    let time: jiff::Timestamp = line["time"].as_str().expect("a time").parse().expect("RFC 3339");
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    (time.as_millisecond() - START_MS, text("level"), line["value"].as_f64().expect("a value"), text("call_id"))
}

fn found(at_ms: i64, level: &str, value: f64, call: usize) -> (i64, String, f64, String) {
    (at_ms, level.to_owned(), value, call.to_string())
}

const START_MS: i64 = 1_772_442_000_000;
const COUNT: &str = "on = \"attempt\"\nmeasure = \"count\"\nper = [\"caller\"]\n";

/// A counter of 60 one-second slots that forgets to shift when exactly 60 s went by counts 1, 1, 2, 3, ... 11.
#[test]
fn w1_one_call_a_minute_never_adds_up_as_in_opensips_cpm() {
    let rule = format!("{COUNT}window = \"60s\"\nwarning = \">= 2\"");
    let every = |gap_ms: i64| (0..12).map(|n| n * gap_ms).collect::<Vec<_>>();
    assert_eq!(violations(&rule, &every(60_000)), []);
    assert_eq!(violations(&rule, &every(61_000)), []);
    assert_eq!(violations(&rule, &every(90_000)), []);
    for gap_ms in [59_999, 59_000, 45_000, 30_000] {
        assert_eq!(violations(&rule, &every(gap_ms)), [found(gap_ms, "warning", 2.0, 2)], "gap {gap_ms} ms");
    }
    let three = format!("{COUNT}window = \"60s\"\nwarning = \">= 3\"");
    for gap_ms in [30_000, 45_000, 59_000, 60_000] {
        assert_eq!(violations(&three, &every(gap_ms)), [], "gap {gap_ms} ms: never three in one minute");
    }
}

/// A window that starts at its first hit and tumbles sees 9 and 9 of these 18 hits, and no 10 in 60 s.
#[test]
fn w2_a_burst_across_a_tumbling_windows_edge_is_seen_as_suricata_does_not() {
    let times: Vec<i64> =
        [0].into_iter().chain((0..8).map(|n| 56_000 + n * 500)).chain((0..9).map(|n| 60_500 + n * 500)).collect();
    assert_eq!(times.len(), 18);
    let rule = format!("{COUNT}window = \"60s\"\nwarning = \">= 10\"\ncritical = \">= 17\"");
    // At 61.0 s the first has left and the eight and two more are in: ten. At 64.5 s all but the first: seventeen.
    assert_eq!(violations(&rule, &times), [found(61_000, "warning", 10.0, 11), found(64_500, "critical", 17.0, 18)]);
}

/// An interval that is tested before the limit tells of a limit reached in its first second when it is over.
#[test]
fn w3_the_alert_is_at_the_call_that_reaches_the_limit_not_at_the_intervals_end_as_in_voipmonitor() {
    let rule = format!("{COUNT}window = \"1h\"\nwarning = \">= 5\"");
    assert_eq!(violations(&rule, &[0, 200, 400, 600, 800]), [found(800, "warning", 5.0, 5)]);
    let register = "on = \"register\"\nwhere = 'auth_failed'\nmeasure = \"count\"\nper = [\"source_ip\"]\nwindow = \"1h\"\nwarning = \">= 5\"";
    let lines = (1..=5).map(|n| {
        let time = START_MS + n * 200;
        format!(r#"{{"time":{time},"kind":"register","call_id":"{n}","source_ip":"192.0.2.7","auth_failed":true}}"#)
    });
    assert_eq!(judged(register, &lines.collect::<Vec<_>>()), [found(1_000, "warning", 5.0, 5)]);
}

/// Counters that are reset at midnight forget the calls that are up, and never hear of their ends.
#[test]
fn w4_calls_that_are_up_over_midnight_stay_counted_unlike_in_opensips() {
    let rule = "on = \"call\"\nmeasure = \"concurrent\"\nper = [\"caller\"]\nwarning = \">= 3\"\ncooldown = \"0s\"";
    let midnight = 1_772_496_000_000 - START_MS;
    let line = |at_ms: i64, kind: &str, call: usize| {
        let time = START_MS + midnight + at_ms;
        format!(r#"{{"time":{time},"kind":"{kind}","call_id":"{call}","caller":"+46700001","callee":"+46850001"}}"#)
    };
    let before_and_after = [line(-2_000, "attempt", 1), line(-1_000, "attempt", 2), line(1_000, "attempt", 3)];
    assert_eq!(judged(rule, &before_and_after), [found(midnight + 1_000, "warning", 3.0, 3)]);
    let ended_after = [
        line(-2_000, "attempt", 1),
        line(-1_000, "attempt", 2),
        line(500, "end", 1),
        line(600, "end", 1),
        line(1_000, "attempt", 3),
        line(2_000, "attempt", 4),
    ];
    assert_eq!(judged(rule, &ended_after), [found(midnight + 2_000, "warning", 3.0, 4)]);
}

/// An estimate of the rate, decayed over the find time, counts five failures where two are inside.
#[test]
fn w5_two_failures_inside_the_window_are_two_not_five_as_in_fail2ban() {
    let times = [0, 1_000, 2_000, 3_000, 590_000, 700_000];
    let at_least = |n: u32| format!("{COUNT}window = \"10m\"\ncooldown = \"0s\"\nwarning = \">= {n}\"");
    // Four in the first seconds, five with the one at 590 s; at 700 s only 590 and 700 are inside (100, 700].
    assert_eq!(violations(&at_least(5), &times), [found(590_000, "warning", 5.0, 5)]);
    assert_eq!(violations(&at_least(6), &times), []);
    let last_two = violations(&at_least(2), &[0, 1_000, 2_000, 3_000, 700_000, 790_000]);
    assert_eq!(last_two, [found(1_000, "warning", 2.0, 2), found(790_000, "warning", 2.0, 6)]);
    assert_eq!(violations(&at_least(3), &[0, 1_000, 590_000, 601_000]), [found(590_000, "warning", 3.0, 3)]);
}

/// Two half-windows summed block one source anywhere between the limit and three times it.
#[test]
fn w6_the_limit_is_the_limit_and_not_up_to_three_times_it_as_in_kamailio_pike() {
    let rule = format!("{COUNT}window = \"2s\"\nwarning = \">= 16\"");
    for phase_ms in [0, 1, 499, 500, 999, 1_000, 1_999] {
        let times: Vec<i64> = (0..48).map(|n| phase_ms + n * 100).collect();
        let at_the_limit = found(phase_ms + 1_500, "warning", 16.0, 16);
        assert_eq!(violations(&rule, &times), [at_the_limit], "phase {phase_ms} ms");
    }
}
