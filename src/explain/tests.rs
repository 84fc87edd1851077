//! That every violation of mixed traffic is found again with the value it was raised by, and what is told of rules that
//! follow others and of what time brought.

use std::sync::{Arc, Mutex};

use super::value::amount;
use super::*;
use crate::event::dialplan::DialPlan;
use crate::ingest::{Decoder, FeedContext, Format};
use crate::policy::{LoadOptions, RuleSource, load};

/// 2026-03-02T10:00:00Z, a Monday.
const START_MS: i64 = 1_772_445_600_000;

const RULES: &str = "ringfence = 1\ndefault_action = 'allow'\ntime_zone = 'Europe/Stockholm'\nthreshold = [\
    { id = 'lead', on = 'attempt', where = 'trunk == \"t1\"', measure = 'count', per = ['caller'], window = '1m', \
      warning = '>= 3', cooldown = '30s' }, \
    { id = 'next', on = 'attempt', measure = 'count', per = ['caller'], window = '2m', warning = '>= 2', \
      after = { rule = 'lead', within = '3m' } }, \
    { id = 'held', on = 'attempt', measure = 'count', per = ['callee'], window = '2m', warning = '>= 3', for = '20s' }, \
    { id = 'behind', on = 'attempt', measure = 'count', per = ['callee'], window = '2m', warning = '>= 1', \
      after = { rule = 'held', within = '1m' } }, \
    { id = 'long', on = 'call', measure = 'longest', per = ['trunk'], warning = '>= 2m' }, \
    { id = 'up', on = 'call', measure = 'concurrent', per = ['trunk'], warning = '>= 4' }, \
    { id = 'asr', on = 'end', measure = 'share(answered)', per = ['trunk'], window = '3m', min_count = 3, \
      warning = '< 40%', cooldown = '0s' }]";

fn policy(rules: &str) -> Arc<Policy> {
    let loaded = load(&RuleSource::memory([("ruleset.toml", rules)]), LoadOptions::default());
    let problems: Vec<String> = loaded.problems.iter().map(|p| p.message.clone()).collect();
    Arc::new(loaded.policy.unwrap_or_else(|| panic!("{problems:?}")))
}

/// Lines of `t=SECONDS KIND FIELD=VALUE ...`, as a feed would send them.
fn batch(lines: &str, names: &Arc<Names>) -> Batch {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let mut event = serde_json::Map::new();
        let seconds: i64 = words.next().unwrap().trim_start_matches("t=").parse().unwrap();
        event.insert("time".to_owned(), (START_MS + seconds * 1000).into());
        event.insert("kind".to_owned(), words.next().unwrap().into());
        event.insert("direction".to_owned(), "inbound".into());
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            event.insert(name.to_owned(), value.into());
        }
        format!("{}\n", serde_json::Value::Object(event))
    };
    let text: String = lines.lines().map(line).collect();
    let context = FeedContext::file(Arc::clone(names), DialPlan::default());
    let mut batch = Batch::default();
    Decoder::new(&Format::Ndjson, Arc::new(context)).decode(text.into_bytes(), None, &mut batch);
    assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
    batch
}

struct Raised {
    crossing: Crossing,
    value: String,
    is_timed: bool,
}

/// Every violation that the engine finds, those of time alone at the end left out.
fn raised(policy: &Arc<Policy>, names: &Arc<Names>, lines: &str) -> Vec<Raised> {
    let found: Arc<Mutex<Vec<Raised>>> = Arc::default();
    let (all, of, known) = (Arc::clone(&found), Arc::clone(policy), Arc::clone(names));
    let emit = Box::new(move |judged: &mut Judged| {
        for violation in judged.violations.iter().filter(|violation| !violation.is_reminder) {
            let RuleRef::Threshold(i) = violation.rule else { continue };
            let call_id = judged.event_of(violation).map(|event| {
                let id = judged.batch.text(event.call_id);
                String::from_utf8_lossy(id).into_owned()
            });
            let crossing = Crossing {
                id: None,
                rule: output::rule_id(&of, violation.rule).to_owned(),
                level: violation.level,
                time: violation.time,
                customer: known.customer_name(violation.customer),
                key: violation.key.iter().cloned().collect(),
                call_id,
            };
            let value = amount(violation.value, of.thresholds[usize::from(i)].measure.unit());
            all.lock().unwrap().push(Raised { crossing, value, is_timed: violation.is_timed });
        }
    });
    let settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
    let engine = Engine::new(Arc::clone(policy), Arc::clone(names), settings, emit);
    let mut lane = engine.lane(LaneOptions::default());
    lane.ticket().submit(batch(lines, names), None);
    drop((lane, engine));
    std::mem::take(&mut *found.lock().unwrap())
}

fn asked(policy: &Arc<Policy>, names: &Arc<Names>, lines: &str, about: About) -> Answer {
    let ground =
        Ground { policy: Arc::clone(policy), names: Arc::clone(names), options: LaneOptions::default(), newest: None };
    let question = Question { about, customer: None, from: None, to: None, calls_max: 1000 };
    let told = answer(&ground, &question, |_, take| {
        take(Piece { batch: batch(lines, names), ..Piece::default() });
        Ok::<(), String>(())
    });
    told.unwrap_or_else(|failure| panic!("{:?}: {failure}", question.about))
}

/// Calls of a few people on two trunks, of which some go on and most are over soon.
fn traffic() -> String {
    let mut state = 5u64;
    let mut draw = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut lines: Vec<(u64, String)> = Vec::new();
    let mut time = 0;
    for i in 0..700 {
        time += draw(14);
        let parties =
            format!("call_id=c{i} caller=+4670000000{} callee=+468400000{} trunk=t{}", draw(5), draw(6), draw(3));
        lines.push((time, format!("attempt {parties}")));
        let end = time + if draw(8) == 0 { 90 + draw(80) } else { draw(30) };
        let status = ["answered", "no_answer", "busy"][draw(3) as usize];
        lines.push((end, format!("end {parties} status={status}")));
    }
    lines.sort_by_key(|(time, _)| *time);
    lines.iter().map(|(time, line)| format!("t={time} {line}\n")).collect()
}

#[test]
fn every_violation_is_found_again_with_the_value_it_was_raised_by() {
    let (policy, names, lines) = (policy(RULES), Arc::new(Names::new()), traffic());
    let raised = raised(&policy, &names, &lines);
    for rule in ["lead", "next", "held", "behind", "long", "up", "asr"] {
        let of_rule = |raised: &&Raised| raised.crossing.rule == rule;
        assert!(raised.iter().filter(of_rule).count() > 2, "{rule}: {}", raised.iter().filter(of_rule).count());
    }
    assert!(raised.iter().any(|raised| raised.is_timed && raised.crossing.rule == "long"));
    for Raised { crossing, value, is_timed } in raised {
        let answer = asked(&policy, &names, &lines, About::Crossing(crossing.clone()));
        let told = answer.events[0].thresholds.iter().find(|rule| rule.rule == crossing.rule).unwrap();
        assert!(told.met, "{crossing:?}: {told:?}");
        let count = told.count.as_ref().unwrap();
        let shown = count.value.clone().unwrap();
        // The engine counts no further than its levels ask for.
        let number = |text: &str| text.parse::<f64>().ok();
        let is_more = number(&shown).zip(number(&value)).is_some_and(|(shown, value)| shown > value);
        let is_count = told.does == "count";
        assert!(shown == value || is_count && is_more, "{crossing:?} {is_timed}: {shown}, not {value}");
        assert_eq!(count.level.as_deref(), Some(crossing.level.as_str()), "{crossing:?}");
    }
}

#[test]
fn a_rule_that_follows_another_tells_which_violation_it_follows_or_that_there_is_none() {
    let (policy, names) = (policy(RULES), Arc::new(Names::new()));
    let call = |t: u32, id: &str, trunk: &str| {
        format!("t={t} attempt call_id={id} caller=+46700000001 callee=+4684000001 trunk={trunk}\n")
    };
    let lines = [(0, "a"), (1, "b"), (2, "c")].map(|(t, id)| call(t, id, "t1")).concat()
        + &call(100, "d", "t2")
        + &call(250, "e", "t2");
    let told = |id: &str| {
        let answer = asked(&policy, &names, &lines, About::Call(id.to_owned()));
        answer.events[0].thresholds.iter().find(|rule| rule.rule == "next").cloned().unwrap()
    };
    let none = "no violation of lead of caller=+46700000001 in the 3m before";
    assert_eq!(told("c").why_not.as_deref(), Some(none), "what it did itself it does not follow");
    let follows = told("d");
    assert_eq!(
        follows.because,
        ["it follows lead of caller=+46700000001, violated at 2026-03-02 11:00:02, 1m38s before"]
    );
    assert_eq!(follows.count.unwrap().value.as_deref(), Some("1"));
    assert_eq!(follows.tests[0].test, "after lead within 3m");
    assert_eq!(told("e").why_not.as_deref(), Some(none), "three minutes later it is forgotten");
}

#[test]
fn what_time_brought_is_told_as_it_stood_before_the_call_that_let_it_be_seen() {
    let (policy, names) = (policy(RULES), Arc::new(Names::new()));
    let call = |t: u32, id: &str| format!("t={t} attempt call_id={id} caller=+4670000000{t} callee=+4684000001\n");
    let lines = [(0, "a"), (1, "b"), (2, "c"), (9, "d")].map(|(t, id)| call(t, id)).concat()
        + "t=60 attempt call_id=e caller=+46700000001 callee=+4684000001\n";
    let raised = raised(&policy, &names, &lines);
    let held = raised.iter().find(|raised| raised.crossing.rule == "held").unwrap();
    let answer = asked(&policy, &names, &lines, About::Crossing(held.crossing.clone()));
    let count = answer.events[0].thresholds[0].count.clone().unwrap();
    let calls: Vec<&str> = count.calls.iter().map(|call| call.call_id.as_str()).collect();
    assert_eq!(calls, ["d", "c", "b", "a"], "the last call came when it had held for long");
}
