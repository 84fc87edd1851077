use std::sync::Arc;
use ringfence::policy::*;
use ringfence::policy::measure::*;
use ringfence::policy::number_set::*;
use ringfence::event::*;
use ringfence::ingest::{FeedContext, Format, source::Source};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args[2].parse().unwrap();
    let mut b = NumberSetBuilder::with_capacity(1_000_000);
    let csv = std::fs::read_to_string("/work/w1/rules/lists/blocked.csv").unwrap();
    let t = std::time::Instant::now();
    for l in csv.lines().skip(1) { let v = l.split(',').next().unwrap(); b.exact(Number::e164(&v.as_bytes()[1..]).unwrap(), EntryNote::default()); }
    let set = b.build();
    eprintln!("list {:?} {} bytes", t.elapsed(), set.memory_bytes());
    let caller = Operand::Field(Field::Party(Which::Caller));
    let callee = Operand::Field(Field::Party(Which::Callee));
    let trunk = Operand::Field(Field::Trunk);
    let th = |id: &str, position, measure, key, window_ms, limit, condition| ThresholdRule { id: id.into(), position, on: On::End, mode: Mode::Enforce, condition, measure, key, window_ms, window_text: format!("{}s", window_ms/1000), levels: Levels { warning: Some(Level{operator: Operator::AtLeast, limit, text: String::new()}), critical: None, clear: None }, cooldown_ms: window_ms, min_count: 20, count_blocked: true, max_keys: 2_000_000, max_bytes: 1<<30, on_warning: Default::default(), on_critical: Default::default(), message: None, description: None, owner: None, ticket: None, references: vec![] };
    let key = |name: &str, operand| KeySpec { parts: vec![KeyPart { name: name.into(), operand }], merge_missing: false };
    let policy = Policy { version: "x".into(), default_action: Action::Allow, time_zone: jiff::tz::TimeZone::UTC, lateness_ms: 5000,
        firewall: vec![FirewallRule { id: "blocked-callers".into(), position: 0, on: On::Attempt, mode: Mode::Enforce, action: Action::Block, when: Predicate::List(caller.clone(), 0), sip_code: None, divert_to: None, flag: None, track: None, message: None, cause: Cause::List }],
        thresholds: vec![ th("caller-rate", 1, Measure::Count, 0, 60_000, 30, None), th("caller-fan-out", 2, Measure::Distinct(callee.clone()), 0, 600_000, 20, None), th("trunk-minutes", 3, Measure::Sum(Field::Duration), 1, 3_600_000, 360_000_000, None), th("short-calls", 4, Measure::Count, 2, 300_000, 10, Some(Predicate::All([Predicate::Flag(ringfence::policy::predicate::Flag::Answered), Predicate::Within{operand: Operand::Field(Field::Duration), clock: None, ranges: vec![(i64::MIN, 2999)].into()}].into()))) ],
        keys: vec![key("caller", caller), key("trunk", trunk), key("callee", callee)], lists: vec![List { name: "blocked".into(), content: ListContent::Numbers(set), max_entries: None }], calendars: vec![], numbering: ringfence::event::numbering::Numbering::builtin(), own_numbers: None };
    let names = Arc::new(Names::new());
    let o = ringfence::replay::Options { output: if args.len() > 3 { ringfence::replay::Output::Summary } else { ringfence::replay::Output::Violations }, n_threads: n, merge: false, dedup: false, sort: false, from: None, to: None, customer: None };
    let out = ringfence::replay::replay(policy, names.clone(), FeedContext::file(names), &Format::Ndjson, vec![Source::open(std::path::Path::new(&args[1])).unwrap()], &o, std::io::stdout()).unwrap();
    eprintln!("events/s: {:.0}", out.events as f64 / out.seconds);
}
