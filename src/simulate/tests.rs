//! Traffic by seed: the same bytes again, clean calls as they should be, attacks as their file says.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn lines(arguments: &str) -> Vec<serde_json::Value> {
    let args = Cli::try_parse_from(["simulate"].into_iter().chain(arguments.split_whitespace())).expect("arguments");
    let mut out = Vec::new();
    run(&args.args, &mut out).expect("a run");
    out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).expect("JSON")).collect()
}

fn fails(arguments: &str) -> String {
    let args = Cli::try_parse_from(["simulate"].into_iter().chain(arguments.split_whitespace())).expect("arguments");
    format!("{:#}", run(&args.args, &mut Vec::new()).expect_err("it must fail"))
}

#[test]
fn the_same_arguments_give_the_same_bytes_and_another_seed_does_not() {
    let arguments = "--calls 300 --attack tdos --seed 4";
    assert_eq!(lines(arguments), lines(arguments));
    assert_ne!(lines(arguments), lines("--calls 300 --attack tdos --seed 5"));
}

#[test]
fn an_attack_changes_no_clean_call() {
    let clean = |arguments: &str| -> Vec<serde_json::Value> {
        lines(arguments).into_iter().filter(|l| l["label"] == "clean").collect()
    };
    assert_eq!(clean("--calls 300"), clean("--calls 300 --attack wangiri,irsf:strong"));
}

#[test]
fn lines_come_in_order_of_time_and_each_has_a_label() {
    for kind in ["cdr", "events"] {
        let lines = lines(&format!("--calls 400 --attack wangiri,reg-bruteforce --kind {kind}"));
        assert!(lines.is_sorted_by_key(|l| l["time"].as_i64()));
        for label in ["clean", "wangiri", "reg-bruteforce"] {
            assert!(lines.iter().any(|l| l["label"] == label), "{kind} {label}");
        }
    }
}

#[test]
fn every_call_of_events_begins_once_and_ends_once() {
    let lines = lines("--calls 400 --kind events --customer acme,beta");
    let count = |kind: &str| lines.iter().filter(|l| l["kind"] == kind).count();
    assert_eq!(count("attempt"), count("end"));
    assert_eq!(count("attempt") + count("register"), 400);
    assert_eq!(count("answer"), lines.iter().filter(|l| l["kind"] == "end" && l["status"] == "answered").count());
    for customer in ["acme", "beta"] {
        assert!(lines.iter().any(|l| l["customer"] == customer));
    }
}

#[test]
fn an_attack_that_comes_several_times_has_a_label_each_time() {
    let labels = |arguments: &str| {
        let mut labels: Vec<String> =
            lines(arguments).iter().filter_map(|l| l["label"].as_str()).map(str::to_owned).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.retain(|label| label != "clean");
        labels
    };
    let day = "--calls 10 --duration 24h --attack wangiri,tdos:weak --intensity weak,medium";
    assert_eq!(labels(day), ["tdos", "wangiri:medium", "wangiri:weak"]);
    assert_eq!(
        labels(&format!("{day} --times 2")),
        ["tdos:weak#1", "tdos:weak#2", "wangiri:medium#1", "wangiri:medium#2", "wangiri:weak#1", "wangiri:weak#2"]
    );
    let all = labels("--calls 10 --duration 7d --attack all --intensity weak --kind events");
    assert_eq!(all.len(), attack::load(None).expect("they are right").len());
}

#[test]
fn an_attack_begins_where_its_offset_says_and_ends_with_the_run() {
    let start = 1_772_438_400_000i64;
    let times: Vec<i64> = lines("--calls 1 --attack tdos:strong@50m")
        .iter()
        .filter(|l| l["label"] == "tdos")
        .filter_map(|l| l["time"].as_i64())
        .collect();
    assert!(times.len() > 1_000, "{}", times.len());
    assert!(times.iter().all(|t| (start + 50 * 60_000..start + 61 * 60_000).contains(t)));
}

#[test]
fn toll_fraud_waits_until_the_offices_close() {
    let lines = lines("--calls 10 --attack irsf --start 2026-03-02T12:00:00Z --duration 10h --kind events");
    let first = lines.iter().find(|l| l["label"] == "irsf").and_then(|l| l["time"].as_i64());
    assert!(first.is_some_and(|t| t >= 1_772_474_400_000), "{first:?}");
}

#[test]
fn a_start_may_be_so_long_ago() {
    let hour_ago = Clock.now().0 - 3_600_000;
    let first = lines("--calls 50 --start=-1h --kind events").first().and_then(|l| l["time"].as_i64());
    assert!(first.is_some_and(|t| (hour_ago - 10_000..hour_ago + 1_800_000).contains(&t)), "{first:?}");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    assert!(fails("--attack tdoz").contains("unknown attack `tdoz`; known are wangiri,"));
    assert!(fails("--attack tdos:huge").contains("`huge` is none of weak, medium, strong"));
    assert!(fails("--duration 1y").contains("1h30m"));
    assert!(fails("--duration 0s").contains("from 1s"));
    assert!(fails("--start yesterday").contains("--start `yesterday`"));
    assert!(fails("--time-zone Mars").contains("Europe/Stockholm"));
    assert!(fails("--customer a\"b").contains("--customer"));
}

#[test]
fn spans_are_written_as_in_rules() {
    assert_eq!(parse_span_ms("1h30m").expect("a span"), 5_400_000);
    assert!(parse_span_ms("").is_err() && parse_span_ms("5").is_err() && parse_span_ms("99999999999999d").is_err());
}
