//! A rule that is new is told of the past while calls go on: from then on its windows are those of a rule that was there
//! from the beginning, and what is past raises no alarm.

use std::collections::BTreeSet;

use super::saved::{Draw, Step, options_of, pieces, rules_of, steps_of, timers_of};
use super::*;
use crate::engine::{Lack, Lane, Past, Quiet, Restored};
use crate::window::Reading;

/// What came of one batch.
#[derive(Clone, Debug, Default)]
struct Found {
    verdicts: String,
    /// By rule, with the key.
    violations: Vec<(String, String)>,
    /// Of the violations.
    times: Vec<i64>,
    /// The same in full, and the episodes that closed.
    all: Vec<(String, String)>,
    is_warm: bool,
}

/// Rule, hash of the key, and what it shows as its items leave.
type Window = (String, u64, Vec<(i64, Reading)>);

/// An engine from its start to its end.
struct Life {
    engine: Engine,
    lanes: Vec<Lane>,
    context: Arc<FeedContext>,
    found: Arc<Mutex<Vec<Found>>>,
    journal: Arc<Mutex<Vec<Recording>>>,
}

impl Life {
    fn new(rules: &str, names: &Arc<Names>, options: [LaneOptions; 2], n_threads: usize) -> Life {
        let policy = Arc::new(policy(rules));
        let found: Arc<Mutex<Vec<Found>>> = Arc::default();
        let journal: Arc<Mutex<Vec<Recording>>> = Arc::default();
        let emit = {
            let (found, journal, policy) = (Arc::clone(&found), Arc::clone(&journal), Arc::clone(&policy));
            Box::new(move |judged: &mut Judged| {
                if judged.marker.is_none() {
                    found.lock().unwrap().push(found_in(judged, &policy));
                    journal.lock().unwrap().push(Recording::of(judged));
                }
            })
        };
        let settings = Settings { n_threads, hash_seed: 3, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
        let engine = Engine::new(policy, Arc::clone(names), settings, emit);
        let lanes = options.map(|options| engine.lane(options)).into();
        let context = Arc::new(FeedContext::file(Arc::clone(names), DialPlan::default()));
        Life { engine, lanes, context, found, journal }
    }

    /// What came of it.
    fn step(&mut self, step: &Step) -> Found {
        match step {
            Step::Tick(at) => self.engine.tick(Timestamp(START_MS + at)),
            Step::Lines(lane, lines) => {
                let bytes: String = lines.lines().map(|line| json(line) + "\n").collect();
                let mut batch = Batch::default();
                Decoder::new(&Format::Ndjson, Arc::clone(&self.context)).decode(bytes.into_bytes(), None, &mut batch);
                self.lanes[*lane].ticket().submit(batch, None);
            }
        }
        self.last()
    }

    fn last(&self) -> Found {
        self.found.lock().unwrap().last().cloned().unwrap()
    }

    fn recover(&mut self, recording: Recording, quiet: &Quiet) -> Found {
        let Recording { batch, recorded, options, tick } = recording;
        match tick {
            Some(at) => self.lanes[0].ticket().tick(at),
            None => {
                let recorded = Recorded { quiet: quiet.clone(), ..recorded };
                self.lanes[0].ticket().submit_recorded(batch, options, recorded);
            }
        }
        self.last()
    }

    fn tell(&mut self, recording: Recording, past: &Past) {
        let Recording { batch, recorded, tick, .. } = recording;
        if tick.is_none() {
            self.lanes[0].ticket().submit_past(batch, recorded.verdicts, past, None);
            let found = self.last();
            assert!(found.is_warm && found.violations.is_empty(), "the past raises nothing: {found:?}");
        }
    }

    fn restored(&self, saved: &[Vec<u8>]) -> Restored {
        self.engine.restore(saved.iter().map(Ok)).unwrap()
    }

    fn id(&self, rule: RuleRef) -> String {
        output::rule_id(&self.engine.policy(), rule).to_owned()
    }

    /// The windows of the rules whose ids begin with `new`, without what is older than the newest event allows.
    fn windows(&self, newest: Option<i64>) -> Vec<Window> {
        let mut windows = Vec::new();
        let generation = self.engine.0.generation();
        for (counter, of) in generation.plan.counters.iter().enumerate() {
            let id = self.id(of.rule);
            if !id.starts_with("new") {
                continue;
            }
            let edge = newest.map_or(i64::MIN / 2, |newest| newest - of.terms.width.window_ms);
            for seat in &generation.seats {
                let of_shard = super::super::enter(&seat.shard).windows(counter as u16, edge);
                windows.extend(of_shard.into_iter().map(|(key, shown)| (id.clone(), key, shown)));
            }
        }
        windows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        windows
    }
}

fn found_in(judged: &Judged, policy: &Policy) -> Found {
    let mut found = Found { verdicts: format!("{:?}", judged.verdicts), is_warm: judged.is_warm, ..Found::default() };
    for violation in &judged.violations {
        let id = output::rule_id(policy, violation.rule).to_owned();
        found.times.push(violation.time.0);
        found.violations.push((id.clone(), format!("{:?}", violation.key)));
        let of_number = RuleRef::Default;
        // The journal leaves duplicates out.
        let violation = crate::engine::Violation { event: 0, rule: of_number, ..violation.clone() };
        found.all.push((id, format!("{violation:?}")));
    }
    for closed in &judged.closed {
        let id = output::rule_id(policy, closed.rule).to_owned();
        let of_number = RuleRef::Default;
        found.all.push((id, format!("{:?}", crate::engine::Closed { rule: of_number, ..closed.clone() })));
    }
    found.all.sort();
    found
}

/// Rules that have a past, of every kind of meter, with ids that begin with `new`. None blocks: a rule that would have
/// blocked has another past.
fn new_rules(draw: &mut Draw) -> String {
    let mut rules = String::new();
    for n in 0..1 + draw.below(5) {
        let (on, measure) = draw.measure(&[
            ("attempt", "measure = 'count'; warning = '>= 3'; critical = '>= 9'"),
            ("attempt", "measure = 'count'; warning = '>= 2'; where = 'callee in {+46811*}'"),
            ("attempt", "measure = 'distinct(callee)'; warning = '>= 3'"),
            ("attempt", "measure = 'distinct(callee)'; warning = '>= 60'"),
            ("end", "measure = 'sum(duration)'; warning = '>= 20s'; critical = '>= 60s'"),
            ("end", "measure = 'avg(ring)'; min_count = 2; warning = '>= 3s'"),
            ("end", "measure = 'share(status == busy)'; min_count = 3; warning = '>= 30%'; clear = '< 10%'"),
            ("attempt", "measure = 'run(callee, 2)'; warning = '>= 3'"),
            ("answer", "measure = 'count'; count_blocked = false; warning = '>= 2'"),
            ("end", "measure = 'sum(duration)'; count_blocked = false; warning = '>= 20s'"),
            ("attempt", "measure = 'count'; count_blocked = false; warning = '>= 3'"),
            ("attempt", "measure = 'count'; warning = '< 2'"),
            ("attempt", "measure = 'distinct(callee)'; also = ['count >= 3']; warning = '<= 1'"),
            ("attempt", "measure = 'count'; also = ['distinct(callee) <= 1']; warning = '>= 3'"),
            ("attempt", "measure = 'first_seen(callee)'; memory = '5m'; warning = '>= 2'"),
            ("attempt", "measure = 'count'; also = ['first_seen(callee) >= 2']; warning = '>= 2'"),
            ("end", "measure = 'share(status == answered)'; min_count = 2; warning = '< 50%'"),
            (
                "end",
                "measure = 'sum(duration)'; also = ['share(status == busy) < 30%']; min_count = 2; warning = '>= 20s'",
            ),
        ]);
        let per = draw.one(&["'caller'", "'trunk'", "'account'", "'trunk', 'caller'", "'prefix(caller, 8)'"]);
        let (window, cooldown) = (draw.one(&["2s", "10s", "1m", "10m"]), draw.one(&["0s", "1s", "30s", "5m"]));
        rules += &format!("[[threshold]]; id = 'new{n}'; on = '{on}'; per = [{per}]; window = '{window}'; ");
        rules += &format!("cooldown = '{cooldown}'; {measure}; {}", timers_of(draw));
    }
    rules
}

fn of_base(found: &Found) -> Vec<&(String, String)> {
    found.all.iter().filter(|(id, _)| !id.starts_with("new")).collect()
}

fn newest(journal: &[Recording]) -> i64 {
    journal.iter().flat_map(|r| &r.batch.events).map(|e| e.time.0).max().unwrap_or(START_MS)
}

/// How late events of [`steps_of`] are.
const LATE_MS: i64 = 20_000;

/// One life has the new rules from the beginning. Another begins without them, is saved, ends, and goes on with them.
// long: two lives side by side, from their beginning to their end.
fn is_told_of_the_past(seed: u64) -> u64 {
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (base, new) = (rules_of(&mut draw), new_rules(&mut draw));
    let (steps, options) = (steps_of(&mut draw), [options_of(&mut draw), options_of(&mut draw)]);
    let both = format!("{base}{new}");
    let place = draw.below(steps.len() as u64) as usize;
    let end = place + draw.below((steps.len() - place) as u64 + 1) as usize;
    let n_threads = |draw: &mut Draw| [1, 2, 8][draw.below(3) as usize];
    let names = Arc::new(Names::new());
    let mut whole = Life::new(&both, &names, options, n_threads(&mut draw));
    let mut before = Life::new(&base, &names, options, n_threads(&mut draw));
    let mut saved = Vec::new();
    for (i, step) in steps[..end].iter().enumerate() {
        if i == place {
            saved = pieces(&mut before.engine.mark().unwrap());
        }
        before.step(step);
    }
    if end == place {
        saved = pieces(&mut before.engine.mark().unwrap());
    }
    let expected: Vec<Found> = steps[..end].iter().map(|step| whole.step(step)).collect();
    let mut journal = std::mem::take(&mut *before.journal.lock().unwrap());
    let tail = journal.split_off(place);
    let mut again = Life::new(&both, &names, options, n_threads(&mut draw));
    let restored = again.restored(&saved);
    let ids: Vec<String> = restored.new.iter().map(|rule| again.id(*rule).to_owned()).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| id.starts_with("new")), "seed {seed}: {ids:?}");
    let lacking = again.engine.lacking();
    assert!(lacking.len() == ids.len() && lacking.iter().all(|of| of.lack == Lack::Past));
    let policy = again.engine.policy();
    let quiet = again.engine.quiet(|rule| output::rule_id(&policy, rule).starts_with("new"));
    let mut raised: BTreeSet<(String, String)> =
        expected[..place].iter().flat_map(|found| found.violations.clone()).collect();
    for (recording, expected) in tail.into_iter().zip(&expected[place..]) {
        let found = again.recover(recording, &quiet);
        assert_eq!(of_base(&found), of_base(expected), "seed {seed}: the tail, other rules");
        assert!(found.all.iter().all(|(id, _)| !id.starts_with("new")), "seed {seed}: the past raised {found:?}");
        raised.extend(expected.violations.clone());
    }
    // Options of lanes are what the tail's records say; now they are the feeds' own.
    let since = newest(&journal).max(newest(&whole.journal.lock().unwrap()));
    let is_bounded = draw.is(50);
    let from = |window: i64| if is_bounded { since - window - LATE_MS } else { i64::MIN };
    let from: Vec<_> = lacking.iter().map(|of| (of.rule, Timestamp(from(of.window_ms)))).collect();
    let past = again.engine.past(&from);
    let mut journal = journal.into_iter();
    let (mut is_warm, mut n_compared) = (false, 0);
    for i in end..=steps.len() {
        for _ in 0..if i == steps.len() { usize::MAX } else { draw.below(8) as usize } {
            let Some(recording) = journal.next() else { break };
            again.tell(recording, &past);
        }
        if !is_warm && journal.len() == 0 {
            let told = lacking.iter().filter(|of| of.settles_ms == 0);
            told.for_each(|of| again.engine.set_lack(of.rule, None));
            is_warm = true;
        }
        if is_warm {
            let now = is_bounded.then(|| newest(&whole.journal.lock().unwrap()).max(since));
            let settles: Vec<String> =
                lacking.iter().filter(|of| of.settles_ms > 0).map(|of| again.id(of.rule)).collect();
            let settled = |windows: Vec<Window>| -> Vec<Window> {
                windows.into_iter().filter(|(id, ..)| !settles.contains(id)).collect()
            };
            let (mine, theirs) = (settled(again.windows(now)), settled(whole.windows(now)));
            assert_eq!(mine, theirs, "seed {seed}: windows before step {i} of {place}..{end}\n{both}");
            n_compared += mine.len() as u64;
        }
        let Some(step) = steps.get(i) else { break };
        let before = newest(&whole.journal.lock().unwrap()).max(since);
        let (found, expected) = (again.step(step), whole.step(step));
        assert_eq!(found.verdicts, expected.verdicts, "seed {seed}: step {i}");
        assert_eq!(of_base(&found), of_base(&expected), "seed {seed}: step {i}, other rules");
        raised.extend(expected.violations.clone());
        for (violation, time) in found.violations.iter().zip(&found.times) {
            // One that is too late for a key that knows the past is not too late for one that does not: its level held,
            // when it was.
            let of_rule = |of: &&crate::engine::Lacking| again.id(of.rule) == violation.0;
            if lacking.iter().find(of_rule).is_some_and(|of| *time <= before - of.window_ms) {
                continue;
            }
            assert!(raised.contains(violation), "seed {seed}: step {i}: {violation:?} of too little\n{both}");
        }
    }
    n_compared
}

#[test]
fn a_rule_that_is_told_of_the_past_counts_what_one_does_that_was_there_from_the_beginning() {
    let first: u64 = std::env::var("RINGFENCE_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let n: u64 = std::env::var("RINGFENCE_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(80);
    let n_compared: u64 = (first..first + n).map(is_told_of_the_past).sum();
    assert!(n_compared > 50 * n, "hardly any window was compared: {n_compared}");
}

const NEW: &str = "[[threshold]]; id = 'new-count'; on = 'attempt'; per = ['caller']; measure = 'count'; window = '1m'; warning = '>= 4'; \
    [[threshold]]; id = 'new-share'; on = 'attempt'; per = ['caller']; measure = 'share(callee in {+46811})'; min_count = 2; window = '1m'; warning = '>= 60%'; \
    [[threshold]]; id = 'new-up'; on = 'call'; per = ['caller']; measure = 'concurrent'; warning = '>= 9'; ";
const OLD: &str =
    "[[threshold]]; id = 'old'; on = 'attempt'; per = ['caller']; measure = 'count'; window = '1m'; warning = '>= 9'; ";

/// One that was saved without the new rules, after two calls.
fn began_anew(names: &Arc<Names>) -> (Life, Vec<Recording>) {
    let mut before = Life::new(OLD, names, [PLAIN, PLAIN], 1);
    before.step(&Step::Lines(0, "t=0 +46700001 -> +46812\nt=1 +46700001 -> +46812".into()));
    let saved = pieces(&mut before.engine.mark().unwrap());
    let life = Life::new(&format!("{OLD}{NEW}"), names, [PLAIN, PLAIN], 2);
    assert_eq!(life.restored(&saved).new.len(), 3);
    let journal = std::mem::take(&mut *before.journal.lock().unwrap());
    (life, journal)
}

fn call(life: &mut Life, line: &str) -> Vec<String> {
    let found = life.step(&Step::Lines(0, line.to_owned()));
    found.violations.into_iter().map(|(id, _)| id).collect()
}

fn lack_of(life: &Life, id: &str) -> Option<Lack> {
    life.engine.lacking().into_iter().find(|of| life.id(of.rule) == id).map(|of| of.lack)
}

#[test]
fn the_first_violation_of_a_warm_rule_comes_with_the_next_event_that_holds_its_level() {
    let (mut life, journal) = began_anew(&Arc::default());
    assert_eq!(call(&mut life, "t=2 +46700001 -> +46811"), [""; 0], "one of one is 100%, but a rule that is warming");
    assert_eq!(call(&mut life, "t=3 +46700001 -> +46811"), [""; 0], "cannot know");
    let from: Vec<_> = life.engine.lacking().iter().map(|of| (of.rule, Timestamp(i64::MIN))).collect();
    let past = life.engine.past(&from);
    journal.into_iter().for_each(|recording| life.tell(recording, &past));
    assert!(life.engine.open_episodes().is_empty(), "four are in the window, and nobody called");
    assert_eq!(call(&mut life, "t=3 +46700002 -> +46811"), [""; 0], "of another key");
    life.engine.lacking().iter().for_each(|of| life.engine.set_lack(of.rule, None));
    assert_eq!(call(&mut life, "t=4 +46700001 -> +46811"), ["new-count", "new-share"]);
}

#[test]
fn what_counts_too_little_is_right_when_it_fires_and_a_quotient_waits() {
    let (mut life, _) = began_anew(&Arc::default());
    for t in 2..5 {
        assert_eq!(call(&mut life, &format!("t={t} +46700001 -> +46811")), [""; 0]);
    }
    assert_eq!(call(&mut life, "t=5 +46700001 -> +46811"), ["new-count"], "four since it began");
    assert_eq!(call(&mut life, "t=6 +46700001 -> +46811"), [""; 0]);
    let share = life.engine.lacking().into_iter().find(|of| life.id(of.rule) == "new-share").unwrap();
    life.engine.set_lack(share.rule, None);
    assert_eq!(call(&mut life, "t=7 +46700001 -> +46811"), ["new-share"]);
}

#[test]
fn only_calls_that_are_up_cannot_be_told_of() {
    let (life, _) = began_anew(&Arc::default());
    let told: Vec<(String, bool)> =
        life.engine.lacking().iter().map(|of| (life.id(of.rule).to_owned(), of.can_be_told)).collect();
    let expected = [("new-count", true), ("new-share", true), ("new-up", false)];
    assert_eq!(told, expected.map(|(id, can)| (id.to_owned(), can)));
}

#[test]
fn a_rule_that_is_saved_before_it_was_told_of_the_past_begins_anew_and_one_that_waits_goes_on_waiting() {
    let names = Arc::new(Names::new());
    let (mut life, _) = began_anew(&names);
    let until = Lack::Until(Timestamp(START_MS + 77));
    let up = life.engine.lacking().into_iter().find(|of| life.id(of.rule) == "new-up").unwrap();
    life.engine.set_lack(up.rule, Some(until));
    call(&mut life, "t=2 +46700001 -> +46811 id=c1");
    // What changes behind the marker is not in the save, though its first piece is written later.
    let mut save = life.engine.mark().unwrap();
    life.engine.lacking().iter().for_each(|of| life.engine.set_lack(of.rule, None));
    let saved = pieces(&mut save);
    drop(save);
    let again = Life::new(&format!("{OLD}{NEW}"), &names, [PLAIN, PLAIN], 1);
    let restored = again.restored(&saved);
    let ids = |rules: &[RuleRef]| rules.iter().map(|rule| again.id(*rule).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&restored.restored), ["old"]);
    assert_eq!(ids(&restored.warming), ["new-up"]);
    assert_eq!(ids(&restored.new), ["new-count", "new-share"]);
    assert_eq!([lack_of(&again, "new-count"), lack_of(&again, "new-up")], [Some(Lack::Past), Some(until)]);
    assert!(again.windows(None).iter().all(|(id, ..)| id == "new-up"), "what was counted was read again");
    let saved = pieces(&mut life.engine.mark().unwrap());
    let warm = Life::new(&format!("{OLD}{NEW}"), &names, [PLAIN, PLAIN], 1);
    assert_eq!(warm.restored(&saved).restored.len(), 4);
    assert!(warm.engine.lacking().is_empty());
    assert_eq!(warm.windows(None), life.windows(None));
}

const LOOKS: &str = "[[threshold]]; id = 'new-seen'; on = 'attempt'; per = ['caller']; measure = 'first_seen(callee)'; memory = '5m'; window = '1m'; warning = '>= 1'; \
    [[threshold]]; id = 'new-few'; on = 'attempt'; per = ['caller']; measure = 'count'; window = '5m'; warning = '< 3'; \
    [[threshold]]; id = 'new-one'; on = 'attempt'; per = ['caller']; measure = 'count'; also = ['distinct(callee) <= 1']; window = '5m'; warning = '>= 2'; ";

/// Somebody called two numbers, three times; then came rules that ask for the unknown, for few calls, and for one number.
fn began_with_looks() -> (Life, Vec<Recording>) {
    let names = Arc::default();
    let mut before = Life::new(OLD, &names, [PLAIN, PLAIN], 1);
    let calls = "t=0 +46700001 -> +46812\nt=1 +46700001 -> +46813\nt=2 +46700001 -> +46812";
    before.step(&Step::Lines(0, calls.into()));
    let saved = pieces(&mut before.engine.mark().unwrap());
    let life = Life::new(&format!("{OLD}{LOOKS}"), &names, [PLAIN, PLAIN], 2);
    assert_eq!(life.restored(&saved).new.len(), 3);
    let journal = std::mem::take(&mut *before.journal.lock().unwrap());
    (life, journal)
}

#[test]
fn what_only_looks_new_or_too_few_without_the_past_waits_for_it() {
    let (mut life, _) = began_with_looks();
    assert_eq!(call(&mut life, "t=100 +46700001 -> +46812"), [""; 0], "the number is known, and it is the fourth call");
    assert_eq!(call(&mut life, "t=101 +46700001 -> +46812"), [""; 0], "to one of two numbers");
}

#[test]
fn a_value_that_was_counted_as_new_is_so_no_more_when_the_past_tells_of_it() {
    let (mut life, journal) = began_with_looks();
    call(&mut life, "t=100 +46700001 -> +46812");
    let from: Vec<_> = life.engine.lacking().iter().map(|of| (of.rule, Timestamp(i64::MIN))).collect();
    let past = life.engine.past(&from);
    journal.into_iter().for_each(|recording| life.tell(recording, &past));
    life.engine.lacking().iter().for_each(|of| life.engine.set_lack(of.rule, None));
    call(&mut life, "t=102 +46700001 -> +46812");
    let windows = life.windows(Some(START_MS + 102_000));
    assert!(windows.iter().all(|(id, ..)| id != "new-seen"), "no number is new of late: {windows:?}");
}
