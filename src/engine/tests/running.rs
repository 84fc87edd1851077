//! Keys that people look at, and take back.

use super::*;
use crate::engine::{KeyQuery, joined};

const RULES: &str = "[[threshold]]; id = 'a'; on = 'attempt'; per = ['caller', 'trunk']; measure = 'count'; window = '1m'; warning = '>= 2'; critical = '>= 4'; [[threshold]]; id = 'b'; on = 'attempt'; per = ['prefix(caller, 8)']; measure = 'distinct(callee)'; window = '1m'; warning = '>= 9'; ";

/// An engine that has judged a timeline, and a place for what closes.
fn played(timeline: &str) -> (Engine, Arc<Mutex<Vec<String>>>) {
    let closed: Arc<Mutex<Vec<String>>> = Arc::default();
    let (names, told) = (Arc::new(Names::new()), Arc::clone(&closed));
    let emit = Box::new(move |judged: &mut Judged| {
        let text = |c: &super::super::Closed| format!("{} {}", seconds(c.time), joined(&c.key));
        told.lock().unwrap().extend(judged.closed.iter().map(text));
    });
    let settings = Settings { n_threads: 2, hash_seed: 0, emergency_callback_ms: 0 };
    let engine = Engine::new(Arc::new(policy(RULES)), Arc::clone(&names), settings, emit);
    submit(&engine, timeline);
    (engine, closed)
}

fn submit(engine: &Engine, timeline: &str) {
    let lines: String = timeline.lines().map(|line| json(line.trim()) + "\n").collect();
    let mut batch = Batch::default();
    let context = Arc::new(FeedContext::file(Arc::clone(engine.names()), DialPlan::default()));
    Decoder::new(&Format::Ndjson, context).decode(lines.into_bytes(), None, &mut batch);
    engine.lane(PLAIN).ticket().submit(batch, None);
}

fn listed(engine: &Engine, rule: &str, query: &KeyQuery<'_>, limit: usize, at: &str) -> Vec<String> {
    let found = engine.keys(rule, query, limit, Timestamp(ms(at))).unwrap();
    let line = |key: &crate::engine::RunningKey| {
        let level = key.level.map_or("-", |level| level.as_str());
        let since = key.since.map_or(String::new(), |since| format!(" since {}", seconds(since)));
        format!("{} {} {level}{since}", joined(&key.key), key.value)
    };
    let mut lines: Vec<String> = found.keys.iter().map(line).collect();
    lines.push(format!("of {}", found.n));
    lines
}

const TIMELINE: &str = "t=0 +46700001 -> +46811 trunk=a
t=1 +46700001 -> +46812 trunk=a
t=2 +46700002 -> +46811 trunk=b
t=3 +46700003 -> +46811 trunk=long-trunk
t=4 +46700003 -> +46812 trunk=long-trunk
t=5 +46700003 -> +46813 trunk=long-trunk
t=6 +46700003 -> +46814 trunk=long-trunk customer=default";

#[test]
fn keys_are_listed_largest_first_as_they_are_now() {
    let (engine, _) = played(TIMELINE);
    let all = KeyQuery::default();
    assert_eq!(
        listed(&engine, "a", &all, 2, "6"),
        ["+46700003,long-trunk 4 critical since 4", "+46700001,a 2 warning since 1", "of 3"]
    );
    assert_eq!(listed(&engine, "b", &all, 9, "6"), ["+46700003 4 -", "+46700001 2 -", "+46700002 1 -", "of 3"]);
    // At t=62, what was before t=2 has left, but an open alert is told of.
    assert_eq!(
        listed(&engine, "a", &all, 9, "62"),
        ["+46700003,long-trunk 4 critical since 4", "+46700001,a 0 warning since 1", "of 2"]
    );
    let keys = ["+46700002,b".to_owned(), "+46700002".to_owned()];
    assert_eq!(listed(&engine, "a", &KeyQuery { keys: &keys, ..all }, 9, "6"), ["+46700002,b 1 -", "of 1"]);
    let other = KeyQuery { customer: engine.names().customer("other"), ..all };
    assert_eq!(listed(&engine, "a", &other, 9, "6"), ["of 0"]);
    assert!(engine.keys("c", &all, 9, Timestamp(0)).is_none() && !engine.counts("c"));
}

#[test]
fn keys_that_are_taken_back_begin_anew_and_their_alerts_end() {
    let (engine, closed) = played(TIMELINE);
    let keys = ["+46700003,long-trunk".to_owned()];
    let one = KeyQuery { keys: &keys, ..KeyQuery::default() };
    assert_eq!(engine.reset_keys("a", &one, Timestamp(ms("7"))), Some(1));
    assert_eq!(*closed.lock().unwrap(), ["7 +46700003,long-trunk"]);
    assert_eq!(engine.reset_keys("a", &one, Timestamp(ms("7"))), Some(0), "it is not there any more");
    submit(&engine, "t=8 +46700003 -> +46811 trunk=long-trunk");
    assert_eq!(listed(&engine, "a", &one, 9, "8"), ["+46700003,long-trunk 1 -", "of 1"]);
    // Not while a save is under way: what it has yet to write must not go.
    let save = engine.mark().unwrap();
    assert_eq!(engine.reset_keys("a", &KeyQuery::default(), Timestamp(ms("8"))), None);
    drop(save);
    assert_eq!(engine.reset_keys("a", &KeyQuery::default(), Timestamp(ms("8"))), Some(3));
    assert_eq!(listed(&engine, "a", &KeyQuery::default(), 9, "8"), ["of 0"]);
    assert_eq!(listed(&engine, "b", &KeyQuery::default(), 9, "8").len(), 4, "of other rules nothing goes");
    assert!(engine.open_episodes().is_empty());
    // What is saved now is read again without them.
    let mut save = engine.mark().unwrap();
    let pieces = super::saved::pieces(&mut save);
    let settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: 0 };
    let again = Engine::new(engine.policy(), Arc::clone(engine.names()), settings, Box::new(|_| {}));
    again.restore(pieces.iter().map(Ok)).unwrap();
    assert_eq!(listed(&again, "a", &KeyQuery::default(), 9, "8"), ["of 0"]);
    assert_eq!(listed(&again, "b", &KeyQuery::default(), 9, "8"), listed(&engine, "b", &KeyQuery::default(), 9, "8"));
}
