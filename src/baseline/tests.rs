//! Baselines held against a count by hand, and what is written of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::distribution::quantile;
use super::peaks::{day_number, day_text, weekday};
use super::*;
use crate::clock::Timestamp;
use crate::event::Names;
use crate::event::dialplan::DialPlan;
use crate::ingest::FeedContext;
use crate::policy::{LoadOptions, RuleSource, load};

/// 2026-03-02T10:00:00Z, a Monday.
const START_MS: i64 = 1_772_445_600_000;
const DAY_MS: i64 = 86_400_000;

const RULES: &str = r#"ringfence = 1
default_action = "allow"
time_zone = "Europe/Stockholm"
[[threshold]]
id = "rate"
on = "attempt"
measure = "count"
per = ["caller"]
window = "10m"
warning = ">= 3"
critical = ">= 6"
[[threshold]]
id = "share"
on = "end"
measure = "share(answered)"
per = ["trunk"]
window = "1h"
min_count = 3
warning = ">= 90%"
[[threshold]]
id = "minutes"
on = "end"
measure = "sum(duration)"
per = ["caller", "trunk"]
window = "1h"
warning = ">= 10m"
[[threshold]]
id = "never"
on = "register"
measure = "count"
per = ["source_ip"]
window = "1h"
warning = ">= 10"
"#;

#[derive(Clone, Debug)]
struct Call {
    time: i64,
    caller: String,
    trunk: String,
    seconds: i64,
    answered: bool,
}

/// Three weeks of a few callers, each call a record at its end.
fn calls() -> Vec<Call> {
    let mut state = 11u64;
    let mut draw = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut time = START_MS;
    let mut calls = Vec::new();
    while time < START_MS + 21 * DAY_MS {
        // Bursts, so that windows hold something, and quiet in between.
        time += if draw(8) == 0 { draw(9 * 3_600_000) } else { draw(180_000) } as i64;
        let caller = if draw(3) == 0 { 0 } else { draw(12) };
        let (answered, seconds) = (draw(3) > 0, 10 + draw(900) as i64);
        let seconds = if answered { seconds } else { 0 };
        calls.push(Call {
            time,
            caller: format!("+467000000{caller:02}"),
            trunk: format!("t{}", draw(3)),
            seconds,
            answered,
        });
    }
    calls
}

fn file_of(folder: &Path, calls: &[Call]) -> PathBuf {
    let line = |(i, call): (usize, &Call)| {
        let status = if call.answered { "answered" } else { "no_answer" };
        let line: Value = json!({
            "time": call.time, "kind": "cdr", "call_id": format!("c{i}"), "caller": call.caller, "callee": "+4684000000",
            "trunk": call.trunk, "duration": call.seconds, "status": status, "direction": "outbound", "customer": "acme",
        });
        format!("{line}\n")
    };
    let path = folder.join("calls.ndjson");
    std::fs::write(&path, calls.iter().enumerate().map(line).collect::<String>()).unwrap();
    path
}

fn baseline_of(path: &Path, n_threads: usize, chosen: &Chosen<'_>) -> anyhow::Result<Baseline> {
    baseline_from(path, n_threads, chosen, None)
}

fn baseline_from(
    path: &Path,
    n_threads: usize,
    chosen: &Chosen<'_>,
    from: Option<Timestamp>,
) -> anyhow::Result<Baseline> {
    let loaded = load(&RuleSource::memory([("ruleset.toml", RULES)]), LoadOptions::default());
    let problems: Vec<String> = loaded.problems.iter().map(|p| p.message.clone()).collect();
    let policy = loaded.policy.unwrap_or_else(|| panic!("{problems:?}"));
    let context = FeedContext::file(Arc::new(Names::new()), DialPlan::default());
    let recording = Recording { context, format: None, paths: vec![path.to_owned()] };
    let options = Options {
        output: Output::Summary,
        n_threads,
        merge: false,
        dedup: false,
        sort: false,
        from,
        to: None,
        customer: chosen.customer.map(str::to_owned),
    };
    Baseline::of(policy, recording, &options, chosen)
}

const ALL: Chosen<'_> = Chosen { rules: &[], customer: None, days: None, left_out: &[] };

/// By key, then hour since 1970 in Stockholm, which is an hour ahead in all of this time: the largest value.
fn brute(
    calls: &[Call],
    key: impl Fn(&Call) -> String,
    value: impl Fn(&[&Call]) -> Option<f64>,
    window: i64,
) -> BTreeMap<String, BTreeMap<i64, f64>> {
    let mut peaks: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
    for (i, call) in calls.iter().enumerate() {
        let inside: Vec<&Call> =
            calls[..=i].iter().filter(|other| key(other) == key(call) && other.time > call.time - window).collect();
        let Some(value) = value(&inside) else { continue };
        let hour = (call.time + 3_600_000).div_euclid(3_600_000);
        let peak = peaks.entry(key(call)).or_default().entry(hour).or_insert(value);
        *peak = peak.max(value);
    }
    peaks
}

fn daily(peaks: &BTreeMap<String, BTreeMap<i64, f64>>, is_kept: impl Fn(i64) -> bool) -> Vec<(String, i64, f64)> {
    let mut found = Vec::new();
    for (key, hours) in peaks {
        let mut days: BTreeMap<i64, f64> = BTreeMap::new();
        for (hour, value) in hours.iter().filter(|(hour, _)| is_kept(hour.div_euclid(24))) {
            let peak = days.entry(hour.div_euclid(24)).or_insert(*value);
            *peak = peak.max(*value);
        }
        found.extend(days.into_iter().map(|(day, value)| (key.clone(), day, value)));
    }
    found
}

fn check(baseline: &Baseline, rule: &str, peaks: &BTreeMap<String, BTreeMap<i64, f64>>, is_kept: impl Fn(i64) -> bool) {
    let found = baseline.rules.iter().find(|found| found.rule == rule).unwrap();
    let daily = daily(peaks, is_kept);
    // In parts of a millionth, so that what is held against each other is whole.
    let mut values: Vec<u64> = daily.iter().map(|(.., value)| (value * 1e6).round() as u64).collect();
    values.sort_unstable();
    let at = |q| quantile(&values, q).unwrap() as f64 / 1e6;
    let told = found.peaks.unwrap();
    let near = |a: f64, b: f64| assert!((a - b).abs() < 2e-6 * b.abs().max(1.0), "{rule}: {a} and {b}");
    assert_eq!((told.n, found.keys), (values.len(), daily.iter().map(|(key, ..)| key).collect::<BTreeSet<_>>().len()));
    for (told, q) in [(told.p50, 0.5), (told.p95, 0.95), (told.p99, 0.99), (told.p99_9, 0.999), (told.max, 1.0)] {
        near(told, at(q));
    }
    for candidate in &found.candidates {
        let raised: Vec<_> = daily.iter().filter(|(.., value)| *value >= candidate.value - 1e-6).collect();
        let days: BTreeSet<i64> = raised.iter().map(|(_, day, _)| *day).collect();
        let keys: BTreeSet<&String> = raised.iter().map(|(key, ..)| key).collect();
        let told = (candidate.key_days, candidate.days, candidate.keys);
        assert_eq!(told, (raised.len(), days.len(), keys.len()), "{rule} {}", candidate.level);
    }
}

#[test]
fn quantiles_and_alarms_are_those_of_a_count_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let calls = calls();
    assert!(calls.len() > 500);
    let path = file_of(folder.path(), &calls);
    let day = |n: i64| (START_MS + 3_600_000).div_euclid(DAY_MS) + n;
    let left_out = [(day(15), day(16))];
    let chosen = Chosen { days: Some(14), left_out: &left_out, ..ALL };
    let last = (calls.last().unwrap().time + 3_600_000).div_euclid(DAY_MS);
    let minutes = 60_000;
    let rate = brute(&calls, |c| c.caller.clone(), |calls| Some(calls.len() as f64), 10 * minutes);
    let share = |calls: &[&Call]| {
        let answered = calls.iter().filter(|call| call.answered).count();
        (calls.len() >= 3).then_some(answered as f64 * 100.0 / calls.len() as f64)
    };
    let share = brute(&calls, |c| c.trunk.clone(), share, 60 * minutes);
    let sum = |calls: &[&Call]| Some(calls.iter().map(|call| call.seconds as f64).sum());
    let sum = brute(&calls, |c| format!("{}|{}", c.caller, c.trunk), sum, 60 * minutes);
    for n_threads in [1, 3] {
        let all = baseline_of(&path, n_threads, &ALL).unwrap();
        let some = baseline_of(&path, n_threads, &chosen).unwrap();
        let is_kept = |of: i64| of > last - 14 && of != day(15) && of != day(16);
        for (rule, peaks) in [("rate", &rate), ("share", &share), ("minutes", &sum)] {
            check(&all, rule, peaks, |_| true);
            check(&some, rule, peaks, is_kept);
        }
        assert_eq!((some.days, some.left_out.len(), all.calls), (12, 2, calls.len() as u64));
        let n_some = calls.iter().filter(|call| is_kept((call.time + 3_600_000).div_euclid(DAY_MS))).count();
        assert_eq!(some.calls, n_some as u64, "calls of other days are none of these");
        assert_eq!(some.first_day, day_text(last - 13));
        assert!(all.rules.iter().find(|rule| rule.rule == "never").unwrap().peaks.is_none());
    }
}

#[test]
fn what_comes_before_the_time_that_is_asked_about_fills_windows_and_is_not_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let call = |minute: i64| Call {
        time: START_MS + minute * 60_000,
        caller: "+46700000001".to_owned(),
        trunk: "t".to_owned(),
        seconds: 1,
        answered: true,
    };
    // Five calls before, of which two are in the window of the first call behind.
    let path = file_of(folder.path(), &[0, 1, 2, 9, 10, 12, 30].map(call));
    let from = Timestamp(START_MS + 11 * 60_000 + 30_000);
    let chosen = Chosen { rules: &["rate".to_owned()], ..ALL };
    let told = baseline_from(&path, 2, &chosen, Some(from)).unwrap();
    assert_eq!(told.calls, 2);
    // Those of minutes 9 and 10, and itself: the one of minute 2 has left.
    assert_eq!(told.rules[0].peaks.unwrap().max, 3.0);
    assert_eq!(baseline_of(&path, 2, &chosen).unwrap().rules[0].peaks.unwrap().max, 4.0);
}

#[test]
fn what_is_usual_of_an_hour_is_the_mean_over_the_weeks_of_its_largest_value() {
    let folder = tempfile::tempdir().unwrap();
    let calls = calls();
    let path = file_of(folder.path(), &calls);
    let baseline = baseline_of(&path, 2, &Chosen { rules: &["rate".to_owned()], ..ALL }).unwrap();
    let peaks = brute(&calls, |c| c.caller.clone(), |calls| Some(calls.len() as f64), 600_000);
    let days: BTreeSet<i64> = {
        let day = |call: &Call| (call.time + 3_600_000).div_euclid(DAY_MS);
        (day(&calls[0])..=day(calls.last().unwrap())).collect()
    };
    let usual = |of: &dyn Fn(i64) -> f64, at: usize| {
        let days: Vec<i64> = days.iter().copied().filter(|day| weekday(*day) == at / 24).collect();
        days.iter().map(|day| of(day * 24 + at as i64 % 24)).sum::<f64>() / days.len() as f64
    };
    let text = String::from_utf8(files::usual(&[&baseline.rules[0]], Vec::new()).unwrap()).unwrap();
    let mut told: BTreeMap<(String, usize), String> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[..2], ["rate", "acme"]);
        told.insert((cells[2].to_owned(), cells[3].parse().unwrap()), cells[4].to_owned());
    }
    assert_eq!(text.lines().next(), Some("rule,customer,key,hour_of_week,value"));
    for at in 0..168 {
        let largest = |hour: i64| peaks.values().filter_map(|hours| hours.get(&hour)).copied().fold(0.0, f64::max);
        let mut expected: Vec<(String, f64)> = vec![("*".to_owned(), usual(&largest, at))];
        for (key, hours) in &peaks {
            expected.push((key.clone(), usual(&|hour| hours.get(&hour).copied().unwrap_or(0.0), at)));
        }
        for (key, value) in expected {
            let found = told.get(&(key.clone(), at)).cloned();
            assert_eq!(found, (value > 0.0).then(|| format!("{value:.1}")), "{key} {at}");
        }
    }
}

#[test]
fn a_key_that_is_large_every_day_stands_out_and_one_attack_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut calls = Vec::new();
    let mut add = |day: i64, caller: String, n: i64| {
        let call = |i| Call {
            time: START_MS + day * DAY_MS + i * 1000,
            caller: caller.clone(),
            trunk: "t".to_owned(),
            seconds: 1,
            answered: true,
        };
        calls.extend((0..n).map(call));
    };
    for day in 0..10 {
        (0..150).for_each(|n| add(day, format!("+4670000{n:04}"), 2));
        add(day, "+46709999999".to_owned(), 40 + day);
        if day == 5 {
            add(day, "+46708888888".to_owned(), 90);
        }
    }
    calls.sort_by_key(|call| call.time);
    let path = file_of(folder.path(), &calls);
    let chosen = Chosen { rules: &["rate".to_owned()], customer: Some("acme"), ..ALL };
    let mut baseline = baseline_of(&path, 2, &chosen).unwrap();
    let rule = &baseline.rules[0];
    // 1,511 peaks, eleven of them large: the largest two are above p99.9.
    assert_eq!(rule.peaks.unwrap().p99_9, 49.0);
    let find = |key: &str| rule.top_keys.iter().find(|k| k.key == key).unwrap();
    assert!(!find("+46708888888").stands_out, "a single day is no habit");
    let levels = |s: &Option<distribution::Suggestion>| s.clone().map(|s| (s.warning, s.critical.unwrap_or_default()));
    assert_eq!(levels(&rule.suggested), Some((">= 62".to_owned(), ">= 124".to_owned())));
    // Without the attack, and with fewer large days, the rest is what is usual.
    let attack = day_number("2026-03-07".parse().unwrap());
    let days = [(attack, attack)];
    let mut many = calls.clone();
    many.extend((0..9_000).map(|n| Call {
        time: START_MS + (n % 10) * DAY_MS + 3_600_000,
        caller: format!("+4671000{:04}", n / 10),
        trunk: "t".to_owned(),
        seconds: 1,
        answered: false,
    }));
    many.sort_by_key(|call| call.time);
    let path = file_of(folder.path(), &many);
    baseline = baseline_of(&path, 2, &Chosen { left_out: &days, ..chosen }).unwrap();
    let rule = &baseline.rules[0];
    assert_eq!(rule.peaks.unwrap().p99_9, 2.0);
    assert_eq!(levels(&rule.suggested), Some((">= 3".to_owned(), ">= 6".to_owned())));
    let one = rule.top_keys.iter().find(|k| k.key == "+46709999999").unwrap();
    assert!(one.stands_out && one.share_above == 1.0);
    assert_eq!(levels(&one.suggested), Some((">= 62".to_owned(), ">= 124".to_owned())));
    let text = files::overrides(&baseline, Timestamp(START_MS));
    assert!(text.starts_with("# Suggested by `ringfence baseline` on 2026-03-02"), "{text}");
    let read: toml::Table = toml::from_str(&text).unwrap();
    let entry = &read["override"][0];
    assert_eq!((entry["rule"].as_str(), entry["warning"].as_str()), (Some("rate"), Some(">= 3")));
    assert!(text.contains("+46709999999 of acme is above that on most days"), "{text}");
    assert!(baseline.text().contains("<- stands out; 100 % of all peaks above p99.9"), "{}", baseline.text());
    let page = baseline.page();
    for part in ["<title", "prefers-color-scheme:dark", "+46709999999", "stands out", "suggested warning"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("http"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<figure>").count(), page.matches("</figure>").count());
}

#[test]
fn a_file_that_somebody_else_wrote_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(folder.path(), &calls());
    let baseline = baseline_of(&path, 1, &ALL).unwrap();
    let (disk, file) = (Disk::real(), folder.path().join("out.toml"));
    std::fs::write(&file, "[[override]]\n").unwrap();
    let error = files::write(&baseline, &file, &disk, Timestamp(START_MS)).unwrap_err().to_string();
    assert!(error.contains("was not written by this command"), "{error}");
    std::fs::remove_file(&file).unwrap();
    files::write(&baseline, &file, &disk, Timestamp(START_MS)).unwrap();
    files::write(&baseline, &file, &disk, Timestamp(START_MS + DAY_MS)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(toml::from_str::<toml::Table>(&text).unwrap().is_empty(), "without a customer all of it is comments");
    assert!(folder.path().join("baselines/rate.csv").is_file());
    assert!(!folder.path().join("baselines/never.csv").exists());
}

#[test]
fn what_is_usual_of_other_customers_stays_where_one_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(folder.path(), &calls());
    let text = std::fs::read_to_string(&path).unwrap();
    let two = text.replace("\"acme\"", "\"zenith\"") + &text;
    std::fs::write(&path, two).unwrap();
    let (disk, usual) = (Disk::real(), folder.path().join("baselines/rate.csv"));
    std::fs::create_dir(folder.path().join("customers")).unwrap();
    std::fs::write(folder.path().join("ruleset.toml"), "").unwrap();
    let write = |customer: &'static str| {
        let chosen = Chosen { rules: &["rate".to_owned()], customer: Some(customer), ..ALL };
        let baseline = baseline_of(&path, 1, &chosen).unwrap();
        let file = folder.path().join(format!("customers/{customer}.baseline.toml"));
        files::write(&baseline, &file, &disk, Timestamp(START_MS))
    };
    let read = || std::fs::read_to_string(&usual).unwrap();
    let rows = |customer: &str| read().lines().filter(|line| line.contains(customer)).count();
    write("zenith").unwrap();
    let n = rows("zenith");
    write("acme").unwrap();
    assert!(n > 0 && rows("zenith") == n && rows("acme") == n, "{n} {} {}", rows("zenith"), rows("acme"));
    let both = read();
    write("zenith").unwrap();
    assert_eq!(read(), both, "written again it says the same");
    std::fs::write(&usual, "when,what\n").unwrap();
    let error = write("acme").unwrap_err().to_string();
    assert!(error.contains("was not written by this command"), "{error}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_of(folder.path(), &calls()[..5]);
    let told = |chosen: &Chosen<'_>| baseline_of(&path, 1, chosen).unwrap_err().to_string();
    let unknown = told(&Chosen { rules: &["rat".to_owned()], ..ALL });
    assert_eq!(unknown, "--rule: there is no threshold `rat`; there are rate, share, minutes, never");
    let everything = [(0, 1_000_000)];
    assert_eq!(told(&Chosen { left_out: &everything, ..ALL }), "every day of the recording is left out");
    let empty = folder.path().join("none.ndjson");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(baseline_of(&empty, 1, &ALL).unwrap_err().to_string(), "there is no event in it");
    assert!(span("2026-02-30").is_err() && span("2026-02-03..2026-02-01").is_err() && span("x..y").is_err());
    assert_eq!(span("1970-01-02..1970-01-03").unwrap(), (1, 2));
}
