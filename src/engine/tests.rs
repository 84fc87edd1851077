//! What the engine says of short timelines: rules as analysts write them, events as a feed reads them, on one thread
//! and on several, in one block and in many. Random rules and streams are held against a model in `tests/it`; here
//! stand the points of 2-rules 2.9 that those do not reach, a test each.

use std::sync::{Arc, Mutex};

use expect_test::{Expect, expect};

use super::{Engine, Judged, LaneOptions, Recorded, RuleRef, Settings, output};
use crate::clock::Timestamp;
use crate::event::dialplan::DialPlan;
use crate::event::{Batch, Flags, Names};
use crate::ingest::{Decoder, FeedContext, Format};
use crate::limits::EMERGENCY_CALLBACK_MS;
use crate::policy::{LoadOptions, Policy, RuleSource, load};

mod calls;
mod chains;
mod counting;
mod dynamic;
mod firewall;
mod joint;
mod keys;
mod running;
mod saved;
mod scope;
mod swap;
mod timed;
mod usual;
mod warming;

/// 2026-03-02T10:00:00Z, the `t=0` of timelines.
const START_MS: i64 = 1_772_445_600_000;

const PLAIN: LaneOptions = LaneOptions { merge: false, dedup: false, verdict: false, both_legs: false };
const MERGE: LaneOptions = LaneOptions { merge: true, ..PLAIN };
const VERDICT: LaneOptions = LaneOptions { verdict: true, ..PLAIN };
const DEDUP: LaneOptions = LaneOptions { dedup: true, ..PLAIN };

/// What came of a timeline, a line each.
#[derive(Debug, Default, PartialEq)]
struct Said {
    verdicts: Vec<String>,
    violations: Vec<String>,
    closed: Vec<String>,
    /// Of each rule: counted, late, too late, evicted, refused, keys.
    counts: Vec<(String, [i64; 6])>,
    /// Smallest, largest and last sum of the bytes all rules tell they hold.
    bytes: [i64; 3],
    duplicates: u32,
}

impl Said {
    /// The other is that of an engine which was told all of it again, duplicates left out.
    fn holds_after_a_crash(&self, other: &Said) {
        assert_eq!(self.violations, other.violations, "violations after a crash");
        assert_eq!(sorted(&self.closed), sorted(&other.closed), "closed after a crash");
        if self.duplicates == 0 {
            assert_eq!(self.verdicts, other.verdicts, "verdicts after a crash");
        }
    }

    fn count(&self, rule: &str) -> [i64; 6] {
        self.counts.iter().find(|(id, _)| id == rule).map_or([0; 6], |(_, counts)| *counts)
    }
}

/// Violations of a timeline on a plain feed.
fn check(rules: &str, timeline: &str, expected: Expect) {
    expected.assert_eq(&said(rules, timeline, PLAIN).violations.join("\n"));
}

/// Verdicts of a timeline.
fn check_verdicts(options: LaneOptions, rules: &str, timeline: &str, expected: Expect) {
    expected.assert_eq(&said(rules, timeline, options).verdicts.join("\n"));
}

/// Violations and, behind them, the episodes that closed.
fn check_closed(options: LaneOptions, rules: &str, timeline: &str, expected: Expect) {
    let said = said(rules, timeline, options);
    expected.assert_eq(&[said.violations, said.closed].concat().join("\n"));
}

/// The same however many threads submit and however the stream is cut.
fn said(rules: &str, timeline: &str, options: LaneOptions) -> Said {
    let one = run(rules, timeline, options, 1, usize::MAX);
    for (n_threads, lines_per_block) in [(1, 1), (2, 3), (8, 1)] {
        let other = run(rules, timeline, options, n_threads, lines_per_block);
        let here = format!("{n_threads} threads, {lines_per_block} lines a block");
        assert_eq!(one.verdicts, other.verdicts, "verdicts: {here}");
        assert_eq!(one.violations, other.violations, "violations: {here}");
        assert_eq!(sorted(&one.closed), sorted(&other.closed), "closed: {here}");
        assert_eq!((&one.counts, one.duplicates), (&other.counts, other.duplicates), "counts: {here}");
    }
    for n_threads in [1, 8] {
        one.holds_after_a_crash(&recovered(rules, timeline, options, n_threads));
    }
    one
}

/// What an engine says that is told again what another one took and said, as recovery does.
fn recovered(rules: &str, timeline: &str, options: LaneOptions, n_threads: usize) -> Said {
    let journal: Arc<Mutex<Vec<Recording>>> = Arc::default();
    let note = {
        let journal = Arc::clone(&journal);
        move |judged: &Judged| journal.lock().unwrap().push(Recording::of(judged))
    };
    let names = Arc::new(Names::new());
    run_with(&names, rules, timeline, (options, n_threads, 2), Box::new(note));
    let policy = Arc::new(policy(rules));
    let report = Arc::new(Mutex::new(Said::default()));
    let emit = {
        let (report, policy, names) = (Arc::clone(&report), Arc::clone(&policy), Arc::clone(&names));
        Box::new(move |judged: &mut Judged| report.lock().unwrap().add(judged, &policy, &names))
    };
    let settings = Settings { n_threads, hash_seed: 0, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
    let engine = Engine::new(policy, names, settings, emit);
    let mut lane = engine.lane(options);
    for Recording { batch, recorded, options, tick } in journal.lock().unwrap().drain(..) {
        match tick {
            Some(at) => lane.ticket().tick(at),
            None => lane.ticket().submit_recorded(batch, options, recorded),
        }
    }
    drop(lane);
    std::mem::take(&mut *report.lock().unwrap())
}

/// What a journal keeps of a batch.
struct Recording {
    batch: Batch,
    recorded: Recorded,
    options: LaneOptions,
    tick: Option<Timestamp>,
}

impl Recording {
    fn of(judged: &Judged) -> Recording {
        let (mut batch, mut recorded) = (Batch::default(), Recorded::default());
        for (i, event) in judged.batch.events.iter().enumerate().filter(|(_, e)| !e.flags.has(Flags::DUPLICATE)) {
            let index = batch.events.len() as u32;
            let of_event = |(event, rule): &(u32, u16)| (*event as usize == i).then_some((index, *rule));
            recorded.flags.extend(judged.flags.iter().filter_map(of_event));
            recorded.tracked.extend(judged.tracked.iter().filter_map(of_event));
            recorded.verdicts.push(judged.verdicts[i]);
            batch.adopt(&judged.batch, event);
        }
        Recording { batch, recorded, options: judged.options, tick: judged.tick }
    }
}

/// Episodes that close are told with the batch in which that is found, so their order is that of the blocks.
fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

/// Rules with `;` for line ends, below the head of a rule set. Other files stand behind `--- PATH; `.
fn policy(rules: &str) -> Policy {
    let head =
        if rules.contains("default_action") { "ringfence = 1\n" } else { "ringfence = 1\ndefault_action = 'allow'\n" };
    let mut parts = rules.split("--- ").map(|part| part.replace("; ", "\n"));
    let text = format!("{head}{}", parts.next().unwrap_or_default());
    let files = parts.map(|part| part.split_once('\n').map(|(path, text)| (path.to_owned(), text.to_owned())).unwrap());
    let files = [("ruleset.toml".to_owned(), text)].into_iter().chain(files);
    let loaded = load(&RuleSource::memory(files), LoadOptions::default());
    let problems: Vec<String> = loaded.problems.iter().map(|p| p.message.clone()).collect();
    loaded.policy.unwrap_or_else(|| panic!("the rules are wrong: {problems:?}"))
}

fn run(rules: &str, timeline: &str, options: LaneOptions, n_threads: usize, lines_per_block: usize) -> Said {
    let report = Arc::new(Mutex::new(Said::default()));
    let names = Arc::new(Names::new());
    let take = {
        let (report, policy, names) = (Arc::clone(&report), policy(rules), Arc::clone(&names));
        move |judged: &Judged| report.lock().unwrap().add(judged, &policy, &names)
    };
    run_with(&names, rules, timeline, (options, n_threads, lines_per_block), Box::new(take));
    std::mem::take(&mut *report.lock().unwrap())
}

/// Hands what is judged to `take`.
fn run_with(
    names: &Arc<Names>,
    rules: &str,
    timeline: &str,
    (options, n_threads, lines_per_block): (LaneOptions, usize, usize),
    take: Box<dyn Fn(&Judged) + Send + Sync>,
) {
    let policy = Arc::new(policy(rules));
    let emit = Box::new(move |judged: &mut Judged| take(judged));
    let settings = Settings { n_threads, hash_seed: 0, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
    let engine = Engine::new(policy, Arc::clone(names), settings, emit);
    let context = Arc::new(FeedContext::file(Arc::clone(names), DialPlan::default()));
    let mut lane = engine.lane(options);
    let lines: Vec<&str> = timeline.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    for part in lines.split_inclusive(|line| line.starts_with("tick ")) {
        let tick = part.last().and_then(|last| last.strip_prefix("tick t="));
        let events = &part[..part.len() - usize::from(tick.is_some())];
        let mut blocks: Vec<(super::Ticket, Batch)> = Vec::new();
        for block in events.chunks(lines_per_block.min(events.len()).max(1)) {
            let bytes: String = block.iter().map(|line| json(line) + "\n").collect();
            let mut batch = Batch::default();
            Decoder::new(&Format::Ndjson, Arc::clone(&context)).decode(bytes.into_bytes(), None, &mut batch);
            assert!(batch.rejects.is_empty(), "a line of the timeline is no event: {block:?} {:?}", batch.rejects);
            blocks.push((lane.ticket(), batch));
        }
        let blocks = Mutex::new(blocks);
        std::thread::scope(|scope| {
            for _ in 0..n_threads {
                // From the back, so that batches come before their turn.
                scope.spawn(|| {
                    loop {
                        let Some((ticket, batch)) = blocks.lock().unwrap().pop() else { break };
                        ticket.submit(batch, None);
                        // Sizes are told with ticks; one before all time closes nothing.
                        engine.tick(Timestamp::MIN);
                    }
                });
            }
        });
        if let Some(at) = tick {
            engine.tick(Timestamp(ms(at)));
        }
    }
}

/// `1.5` or `-3` seconds after the start.
fn ms(text: &str) -> i64 {
    START_MS + (text.parse::<f64>().unwrap() * 1000.0).round() as i64
}

fn seconds(at: Timestamp) -> String {
    format!("{}", (at.0 - START_MS) as f64 / 1000.0)
}

/// `t=4 end +46700001 -> +46700002 id=c1 trunk=a` as a feed would send it. Kind `attempt` and direction `inbound`
/// where nothing is said; numbers of a digit or more are text, `_` stands for no caller or callee.
fn json(line: &str) -> String {
    let mut event = serde_json::Map::new();
    event.insert("kind".into(), "attempt".into());
    event.insert("direction".into(), "inbound".into());
    let mut party = "caller";
    for word in line.split_whitespace() {
        match word.split_once('=') {
            Some(("t", at)) => drop(event.insert("time".into(), Timestamp(ms(at)).to_string().into())),
            Some(("id", id)) => drop(event.insert("call_id".into(), id.into())),
            Some((name @ ("duration" | "ring" | "cost" | "seq"), value)) => {
                drop(event.insert(name.into(), serde_json::from_str(value).unwrap()));
            }
            Some((name, value)) => drop(event.insert(name.into(), value.into())),
            None if word == "->" => party = "callee",
            None if word == "_" => {}
            None if word.starts_with('+') || word.starts_with(|c: char| c.is_ascii_digit()) || word == "anonymous" => {
                event.insert(party.into(), word.into());
            }
            None => drop(event.insert("kind".into(), word.into())),
        }
    }
    serde_json::Value::Object(event).to_string()
}

impl Said {
    fn add(&mut self, judged: &Judged, policy: &Policy, names: &Names) {
        for (i, event) in judged.batch.events.iter().enumerate() {
            let verdict = judged.verdicts[i];
            let (rule, cause) = (output::rule_id(policy, verdict.rule), verdict.cause.as_str());
            let flags = judged.flags.iter().filter(|(event, _)| *event as usize == i);
            let flags: Vec<&str> =
                flags.filter_map(|(_, rule)| policy.firewall[*rule as usize].flag.as_deref()).collect();
            let marked = if flags.is_empty() { String::new() } else { format!(" flags={}", flags.join(",")) };
            let at = seconds(event.time);
            self.verdicts.push(format!("t={at} {} {rule} {cause}{marked}", verdict.action.as_str()));
        }
        let key = |key: &[(String, String)]| {
            key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        let customer = |id| match names.customer_text(id) {
            "default" => String::new(),
            name => format!(" of {name}"),
        };
        for v in &judged.violations {
            let (value, _) = output::shown(policy, v).unwrap();
            let late = if v.late { " late" } else { "" };
            let late = if v.is_muted { " muted" } else { late };
            let value = (value * 100.0).round() / 100.0;
            let again = if v.is_reminder { " again" } else { "" };
            self.violations.push(format!(
                "t={} {} {} {} {value}{late}{again}{}",
                seconds(v.time),
                v.level.as_str(),
                output::rule_id(policy, v.rule),
                key(&v.key),
                customer(v.customer),
            ));
        }
        for c in &judged.closed {
            let id = output::rule_id(policy, c.rule);
            self.closed.push(format!("t={} closed {id} {}{}", seconds(c.time), key(&c.key), customer(c.customer)));
        }
        self.duplicates += judged.duplicates;
        for (rule, n) in judged.counts.firewall.iter().enumerate() {
            let id = output::rule_id(policy, RuleRef::Firewall(rule as u16));
            self.tally(id, [i64::from(*n), 0, 0, 0, 0, 0]);
        }
        for c in &judged.counts.rules {
            let n = [c.counted, c.late, c.too_late, c.evicted, c.refused].map(|n| n as i64);
            let id = output::rule_id(policy, c.rule);
            // What a tracked firewall rule counts is told above.
            let counted = if matches!(c.rule, RuleRef::Firewall(_)) { 0 } else { n[0] };
            self.tally(id, [counted, n[1], n[2], n[3], n[4], c.keys]);
            let [least, most, now] = self.bytes;
            let now = now + c.bytes;
            self.bytes = [least.min(now), most.max(now), now];
        }
    }

    fn tally(&mut self, id: &str, n: [i64; 6]) {
        let place = self.counts.iter().position(|(rule, _)| rule == id).unwrap_or(self.counts.len());
        if place == self.counts.len() {
            self.counts.push((id.to_owned(), [0; 6]));
            self.counts.sort();
            return self.tally(id, n);
        }
        self.counts[place].1.iter_mut().zip(n).for_each(|(sum, n)| *sum += n);
    }
}
