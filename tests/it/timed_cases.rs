//! The proof of what time brings: random rules, events and ticks, of which the engine must say what the judge of
//! [`crate::timers`] says, input by input; and ticks must only bring to light what would be said anyway.
//!
//! `RINGFENCE_CASES` sets how many cases run, `RINGFENCE_SEED` where they start.

use std::sync::{Arc, Mutex};

use ringfence::clock::Timestamp;
use ringfence::engine::{Engine, Judged, LaneOptions, Settings, output};
use ringfence::event::dialplan::DialPlan;
use ringfence::event::{Batch, Names};
use ringfence::ingest::{Decoder, FeedContext, Format};
use ringfence::policy::{Action, LoadOptions, RuleSource, load};

use crate::support::Random;
use crate::timers::{Event, Input, Level, Measure, Rule, Said, Sign, held, judge};

const START_MS: i64 = 1_772_442_000_000;

#[derive(Clone, Debug)]
struct Case {
    rules: Vec<Rule>,
    inputs: Vec<Input>,
}

/// What a family of cases has.
#[derive(Clone, Copy, Debug, Default)]
struct Family {
    /// Events that are older than the newest of their key.
    late: bool,
    /// Rules of calls that are up.
    calls: bool,
    /// No levels to fall below, which are seen at ticks and events alone.
    upward: bool,
    /// Ticks are ahead of events to come, as where a feed was away.
    ahead: bool,
    /// Rules that come after others.
    chains: bool,
}

impl Case {
    fn new(seed: u64, family: Family) -> Case {
        let mut random = Random::new(seed);
        let r = &mut random;
        let unit_ms = r.pick(&[1_000, 10_000, 30_000]);
        let n_rules = r.between(1, 3);
        let mut rules: Vec<Rule> = (0..n_rules).map(|n| rule(r, n, unit_ms, family)).collect();
        if family.chains {
            let per = rules[0].per.clone();
            for rule in &mut rules[1..] {
                rule.per = per.clone();
                rule.after = r.chance(80).then(|| ("r0".to_owned(), span(r, unit_ms, 12)));
            }
        }
        let inputs = Stream::new(r, unit_ms, &rules, family).inputs(r);
        Case { rules, inputs }
    }

    fn toml(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(Rule::toml).collect();
        format!("ringfence = 1\ndefault_action = \"allow\"\n{}", rules.concat())
    }

    /// The inputs as people read them, with what each side says.
    fn shown(&self, left: &[Vec<Said>], right: &[Vec<Said>]) -> String {
        let said = |said: Option<&Vec<Said>>| {
            let lines = said.into_iter().flatten().map(|s| format!("{} {} {} at {}", s.rule, s.key, s.what, s.time));
            lines.collect::<Vec<_>>().join("; ")
        };
        let mut out = self.toml();
        for (i, input) in self.inputs.iter().enumerate() {
            let line = match input {
                Input::Tick(at) => format!("tick {at}"),
                Input::Event(e) => format!(
                    "{} {} call {} {} -> {:?} duration {:?} answered {}",
                    e.at_ms, e.kind, e.call, e.caller, e.callee, e.duration_ms, e.is_answered
                ),
            };
            out += &format!("{line}\n    one: {}\n    two: {}\n", said(left.get(i)), said(right.get(i)));
        }
        out
    }
}

fn rule(r: &mut Random, n: i64, unit_ms: i64, family: Family) -> Rule {
    let is_of_calls = family.calls && r.chance(70);
    let on = if is_of_calls { "call" } else { r.pick(&["attempt", "end"]) };
    let window_ms = if is_of_calls { 0 } else { span(r, unit_ms, 8) };
    let measure =
        if is_of_calls { r.pick(&[Measure::Concurrent, Measure::Longest]) } else { windowed(r, on, window_ms) };
    let is_downward = !family.upward && r.chance(30) && measure != Measure::Longest;
    let (warning, critical, clear) = levels(r, &measure, is_downward, unit_ms);
    let mut also = Vec::new();
    while !is_of_calls && also.len() < 2 && r.chance(25) {
        let forever = 30 * 86_400_000;
        let measure = match windowed(r, on, window_ms) {
            Measure::FirstSeen(_) => Measure::FirstSeen(forever),
            measure => measure,
        };
        let level = level(r, &measure, unit_ms);
        also.push((measure, level));
    }
    Rule {
        id: format!("r{n}"),
        on,
        per: r.pick(&[vec!["caller"], vec!["caller"], vec!["customer"], vec!["caller", "callee"]]),
        measure,
        also,
        window_ms,
        warning,
        critical,
        clear,
        cooldown_ms: r.pick(&[0, 1, unit_ms, unit_ms * 2, unit_ms * 7, window_ms.max(unit_ms)]),
        hold_ms: if r.chance(55) { span(r, unit_ms, 10) } else { 0 },
        remind_ms: r.chance(35).then(|| 60_000 + r.pick(&[0, 1, unit_ms, unit_ms * 3])),
        min_count: r.between(1, 4) as usize,
        after: None,
    }
}

fn span(r: &mut Random, unit_ms: i64, most: i64) -> i64 {
    unit_ms * r.between(1, most) + r.pick(&[0, 0, 0, -1, 1])
}

fn windowed(r: &mut Random, on: &str, window_ms: i64) -> Measure {
    let times: &[Measure] =
        if on == "end" { &[Measure::Sum, Measure::Avg, Measure::Share, Measure::Share] } else { &[] };
    let memory_ms = window_ms * r.between(1, 4);
    let any = [
        Measure::Count,
        Measure::Count,
        Measure::Distinct,
        Measure::Run(r.between(1, 2)),
        Measure::FirstSeen(memory_ms),
    ];
    r.pick(&[&any, times].concat())
}

/// One that may hold, and may fail.
fn level(r: &mut Random, measure: &Measure, unit_ms: i64) -> Level {
    let sign = r.pick(&[Sign::AtLeast, Sign::AtLeast, Sign::Above, Sign::Below, Sign::AtMost]);
    Level { sign, limit: limit(r, measure, unit_ms) }
}

fn limit(r: &mut Random, measure: &Measure, unit_ms: i64) -> i64 {
    match measure {
        Measure::Share => r.pick(&[20, 25, 34, 50, 60, 75]),
        Measure::Sum | Measure::Avg => r.between(1, 8) * 2_000,
        Measure::Longest => span(r, unit_ms, 12),
        Measure::FirstSeen(_) => r.between(1, 2),
        _ => r.between(1, 4),
    }
}

/// Warning, critical, and a `clear` that does not hold where they do.
fn levels(
    r: &mut Random,
    measure: &Measure,
    is_downward: bool,
    unit_ms: i64,
) -> (Option<Level>, Option<Level>, Option<Level>) {
    let lowest = limit(r, measure, unit_ms) + i64::from(is_downward);
    let step = match measure {
        Measure::Share => r.pick(&[0, 5, 15]),
        Measure::Sum | Measure::Avg | Measure::Longest => r.pick(&[0, 1, 1_000, unit_ms]),
        _ => r.between(0, 3),
    };
    let sign = match (is_downward, r.chance(70)) {
        (false, true) => Sign::AtLeast,
        (false, false) => Sign::Above,
        (true, true) => Sign::Below,
        (true, false) => Sign::AtMost,
    };
    let further = if is_downward { (lowest - step).max(1) } else { lowest + step };
    let which = r.between(0, 3);
    let clear = r.chance(30).then(|| match is_downward {
        false => Level { sign: Sign::Below, limit: (lowest - r.between(0, 1)).max(1) },
        true => Level { sign: Sign::Above, limit: lowest + r.between(0, 1) },
    });
    let warning = (which != 0).then_some(Level { sign, limit: lowest });
    let critical = (which < 2).then_some(Level { sign, limit: if which == 0 { lowest } else { further } });
    (warning, critical, clear)
}

/// Events that come at awkward times.
struct Stream {
    unit_ms: i64,
    /// What the rules wait for.
    spans: Vec<i64>,
    /// Between ticks at which a level to fall below is looked at: a busy engine skips some that come sooner.
    tick_ms: i64,
    family: Family,
    callers: Vec<&'static str>,
}

impl Stream {
    fn new(r: &mut Random, unit_ms: i64, rules: &[Rule], family: Family) -> Stream {
        let mut spans = vec![unit_ms];
        for rule in rules {
            let ages = [rule.warning, rule.critical, rule.clear].into_iter().flatten().map(|level| level.limit);
            let ages: Vec<i64> = ages.filter(|_| rule.measure == Measure::Longest).collect();
            let alone = [rule.window_ms, rule.hold_ms, rule.cooldown_ms, rule.remind_ms.unwrap_or(0)];
            spans.extend(alone);
            spans.extend(ages.iter().flat_map(|age| [*age, age + rule.hold_ms, age + rule.cooldown_ms]));
            spans.extend([rule.hold_ms, rule.cooldown_ms].map(|more| rule.window_ms + more));
        }
        let windows = rules.iter().filter(|rule| rule.is_downward()).map(|rule| rule.window_ms / 256 + 1);
        let tick_ms = windows.max().unwrap_or(1);
        let callers: Vec<_> = ["+46700001", "+46700002"][..r.between(1, 2) as usize].to_vec();
        spans.retain(|span| *span > 0);
        Stream { unit_ms, spans, tick_ms, family, callers }
    }

    fn inputs(&self, r: &mut Random) -> Vec<Input> {
        let events = self.events(r);
        // A tick is not ahead of what comes.
        let mut bounds: Vec<i64> = events.iter().map(|e| e.at_ms).collect();
        if self.family.ahead {
            bounds.iter_mut().for_each(|bound| *bound += self.unit_ms * 4);
        }
        for i in (1..bounds.len()).rev() {
            bounds[i - 1] = bounds[i - 1].min(bounds[i]);
        }
        let mut seen: Vec<i64> = Vec::new();
        let (mut inputs, mut last) = (Vec::new(), i64::MIN);
        for i in 0..=events.len() {
            let bound = bounds.get(i).copied();
            for _ in 0..if bound.is_none() { r.between(1, 7) } else { r.between(-3, 3).max(0) } {
                let Some(newest) = seen.iter().max().copied() else { break };
                let at = if r.chance(60) { self.edge(r, &seen) } else { newest + r.between(0, self.unit_ms * 4) };
                let at = if bound.is_none() && r.chance(15) { newest + 700_000 } else { at };
                let at = bound.map_or(at, |bound| at.min(bound));
                if at >= last.saturating_add(self.tick_ms) {
                    inputs.push(Input::Tick(at));
                    last = at;
                }
            }
            if let Some(event) = events.get(i) {
                seen.push(event.at_ms);
                inputs.push(Input::Event(event.clone()));
            }
        }
        inputs
    }

    /// Just before, at, or just after something of late may be due.
    fn edge(&self, r: &mut Random, seen: &[i64]) -> i64 {
        r.pick(&seen[seen.len().saturating_sub(8)..]) + r.pick(&self.spans) + r.pick(&[0, 0, -1, 1])
    }

    fn events(&self, r: &mut Random) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        let mut up: Vec<Event> = Vec::new();
        let (mut newest, mut seen) = (0, vec![0]);
        for call in 0..r.between(3, 30) as usize {
            let ahead = match r.between(0, 9) {
                0 | 1 => newest,
                2..=4 => self.edge(r, &seen).max(newest),
                5 => newest + r.pick(&self.spans) * 2,
                _ => newest + r.between(0, self.unit_ms * 2),
            };
            let is_late = self.family.late && r.chance(25);
            let at_ms = if is_late { (newest - r.between(0, self.unit_ms * 3)).max(0) } else { ahead };
            newest = newest.max(at_ms);
            seen.push(at_ms);
            let is_over = self.family.calls && r.chance(45) && !up.is_empty();
            let mut event = Event {
                at_ms,
                kind: if self.family.calls { "attempt" } else { r.pick(&["attempt", "end", "end"]) },
                call,
                caller: r.pick(&self.callers),
                callee: r.chance(85).then(|| 46_850_000 + r.between(0, 4)),
                duration_ms: r.chance(80).then(|| r.pick(&[0, 1, 2_000, 5_000, 7_500, 12_000])),
                is_answered: r.chance(50),
            };
            if is_over {
                let begun = up.swap_remove(r.between(0, up.len() as i64 - 1) as usize);
                event = Event { at_ms, kind: "end", ..begun };
            } else if event.kind == "attempt" {
                up.push(event.clone());
            }
            events.push(event);
        }
        events
    }
}

/// The engine, told of one input after the other.
fn engine_says(toml: &str, inputs: &[Input]) -> Vec<Vec<Said>> {
    let loaded = load(&RuleSource::memory([("ruleset.toml", toml.to_owned())]), LoadOptions::default());
    let problems: Vec<String> = loaded.problems.iter().map(|p| p.message.clone()).collect();
    let policy = Arc::new(loaded.policy.unwrap_or_else(|| panic!("the rules are wrong: {problems:?}\n{toml}")));
    let names = Arc::new(Names::new());
    let told: Arc<Mutex<Vec<Said>>> = Arc::default();
    let emit = {
        let told = Arc::clone(&told);
        Box::new(move |judged: &mut Judged| told.lock().expect("nobody panicked").extend(said_of(judged)))
    };
    let settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: 1 };
    let engine = Engine::new(policy, Arc::clone(&names), settings, emit);
    let context = Arc::new(FeedContext::file(names, DialPlan::default()));
    let mut lane = engine.lane(LaneOptions { merge: false, dedup: false, verdict: false, both_legs: false });
    let mut said = Vec::new();
    for input in inputs {
        match input {
            Input::Tick(at) => engine.tick(Timestamp(START_MS + at)),
            Input::Event(event) => {
                let mut batch = Batch::default();
                let bytes = line(event).into_bytes();
                Decoder::new(&Format::Ndjson, Arc::clone(&context)).decode(bytes, None, &mut batch);
                assert!(batch.rejects.is_empty(), "no event: {:?}", batch.rejects);
                lane.ticket().submit(batch, None);
            }
        }
        let mut now = std::mem::take(&mut *told.lock().expect("nobody panicked"));
        now.sort();
        said.push(now);
    }
    said
}

fn said_of(judged: &Judged) -> Vec<Said> {
    let key = |key: &[(String, String)]| {
        let parts: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        parts.join(" ")
    };
    let rule = |rule| output::rule_id(&judged.policy, rule).to_owned();
    let violations = judged.violations.iter().map(|v| Said {
        time: v.time.0 - START_MS,
        rule: rule(v.rule),
        key: key(&v.key),
        what: format!("{}{}", v.level.as_str(), if v.is_reminder { " again" } else { "" }),
    });
    let closed = judged.closed.iter().map(|c| Said {
        time: c.time.0 - START_MS,
        rule: rule(c.rule),
        key: key(&c.key),
        what: "closed".to_owned(),
    });
    let blocked = judged.batch.events.iter().zip(&judged.verdicts).filter(|(_, v)| v.action == Action::Block);
    let blocked = blocked.map(|(event, verdict)| Said {
        time: event.time.0 - START_MS,
        rule: rule(verdict.rule),
        key: String::new(),
        what: "blocked".to_owned(),
    });
    violations.chain(closed).chain(blocked).collect()
}

fn line(event: &Event) -> String {
    let mut fields = serde_json::json!({
        "time": START_MS + event.at_ms,
        "kind": event.kind,
        "call_id": format!("call-{}", event.call),
        "caller": event.caller,
    });
    if let Some(callee) = event.callee {
        fields["callee"] = format!("+{callee}").into();
    }
    if let (Some(ms), "end") = (event.duration_ms, event.kind) {
        fields["duration"] = (ms as f64 / 1_000.0).into();
    }
    if event.kind == "end" {
        fields["status"] = if event.is_answered { "answered" } else { "failed" }.into();
    }
    format!("{fields}\n")
}

/// Leaves out rules and inputs as long as the case goes on to fail.
fn shrink(mut case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    let attempt = |case: &mut Case, change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        let shrunk = fails(&smaller);
        if shrunk {
            *case = smaller;
        }
        shrunk
    };
    for rule in (0..case.rules.len()).rev() {
        let id = case.rules[rule].id.clone();
        let is_led = case.rules.iter().any(|rule| rule.after.as_ref().is_some_and(|(leader, _)| *leader == id));
        if !is_led {
            attempt(&mut case, &|c| drop(c.rules.remove(rule)));
        }
    }
    for rule in 0..case.rules.len() {
        attempt(&mut case, &|c| c.rules[rule].after = None);
        attempt(&mut case, &|c| c.rules[rule].also.clear());
        attempt(&mut case, &|c| c.rules[rule].remind_ms = None);
        attempt(&mut case, &|c| c.rules[rule].clear = None);
        attempt(&mut case, &|c| c.rules[rule].hold_ms = 0);
        attempt(&mut case, &|c| c.rules[rule].cooldown_ms = 0);
        attempt(&mut case, &|c| {
            c.rules[rule].critical = c.rules[rule].critical.filter(|_| c.rules[rule].warning.is_none())
        });
    }
    let mut last = usize::MAX;
    while case.inputs.len() < last {
        last = case.inputs.len();
        for at in (0..case.inputs.len()).rev() {
            attempt(&mut case, &|c| {
                c.inputs.remove(at);
            });
        }
    }
    case
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Runs cases of a family, and gives how many of each thing were said.
fn check_many(family: Family, default: u64) -> std::collections::BTreeMap<String, usize> {
    let (first, n) = (setting("RINGFENCE_SEED", 1), setting("RINGFENCE_CASES", default));
    let mut counts = std::collections::BTreeMap::new();
    for seed in first..first + n {
        let case = Case::new(seed, family);
        let of_judge = judge(&case.rules, &case.inputs);
        for said in of_judge.iter().flatten() {
            *counts.entry(said.what.clone()).or_default() += 1;
        }
        let differs = |case: &Case| judge(&case.rules, &case.inputs) != engine_says(&case.toml(), &case.inputs);
        if of_judge != engine_says(&case.toml(), &case.inputs) {
            let small = shrink(case, differs);
            let (one, two) = (judge(&small.rules, &small.inputs), engine_says(&small.toml(), &small.inputs));
            panic!("seed {seed}: the judge (one) and the engine (two) differ\n{}", small.shown(&one, &two));
        }
    }
    eprintln!("{n} cases: {counts:?}");
    counts
}

#[test]
fn what_time_brings_is_what_the_judge_says() {
    let counts = check_many(Family::default(), 1_000);
    let of = |what: &str| counts.get(what).copied().unwrap_or(0);
    assert!(
        of("warning") > 500 && of("critical") > 100 && of("warning again") > 100 && of("closed") > 500,
        "{counts:?}"
    );
}

#[test]
fn what_time_brings_is_what_the_judge_says_where_events_come_late() {
    check_many(Family { late: true, ..Family::default() }, 1_000);
}

#[test]
fn what_time_brings_to_calls_that_are_up_is_what_the_judge_says() {
    check_many(Family { calls: true, ..Family::default() }, 1_000);
}

#[test]
fn what_comes_after_a_violation_is_counted_as_the_judge_says() {
    check_many(Family { chains: true, ..Family::default() }, 1_000);
    check_many(Family { chains: true, late: true, ..Family::default() }, 1_000);
}

/// The list of all that was said, in no order.
fn all(said: Vec<Vec<Said>>) -> Vec<Said> {
    let mut all = said.concat();
    all.sort();
    all
}

#[test]
fn ticks_bring_to_light_earlier_what_is_said_anyway() {
    let (first, n) = (setting("RINGFENCE_SEED", 1), setting("RINGFENCE_CASES", 1_000));
    for seed in first..first + n {
        let family = Family { late: seed % 3 == 0, calls: seed % 3 == 1, upward: true, ..Family::default() };
        let case = Case::new(seed, family);
        let without = |case: &Case| {
            let last = case.inputs.iter().rposition(|input| matches!(input, Input::Tick(_)));
            let is_kept = |(i, input): &(usize, &Input)| matches!(input, Input::Event(_)) || Some(*i) == last;
            let kept: Vec<Input> =
                case.inputs.iter().enumerate().filter(is_kept).map(|(_, input)| input.clone()).collect();
            engine_says(&case.toml(), &kept)
        };
        let differs = |case: &Case| all(without(case)) != all(engine_says(&case.toml(), &case.inputs));
        if differs(&case) {
            let small = shrink(case, differs);
            let few = all(without(&small));
            let many = engine_says(&small.toml(), &small.inputs);
            panic!("seed {seed}: with one tick {few:?}, with all of them (one)\n{}", small.shown(&many, &[]));
        }
    }
}

/// More events never take away from what these measure.
fn only_grows(rule: &Rule) -> bool {
    let grows =
        |measure: &Measure| matches!(measure, Measure::Count | Measure::Distinct | Measure::Run(_) | Measure::Sum);
    let is_upward = |level: &Level| matches!(level.sign, Sign::AtLeast | Sign::Above);
    grows(&rule.measure) && rule.also.iter().all(|(measure, level)| grows(measure) && is_upward(level))
}

/// Is what was said of one key and rule, in this order, a row of episodes, of which each level did hold?
fn is_true(rule: &Rule, events: &[Event], said: &[&Said]) -> Result<(), String> {
    let mut open: Option<usize> = None;
    for (n, s) in said.iter().enumerate() {
        let level = usize::from(s.what.starts_with("critical"));
        let is_right = match s.what.as_str() {
            "closed" => open.take().is_some(),
            what if what.ends_with("again") => open == Some(level),
            _ => open.is_none_or(|open| open < level) && held(rule, events, &s.key, level, s.time),
        };
        // An episode that a tick ended may open again, but not with what had opened it.
        if !is_right || rule.hold_ms > 0 && s.what != "closed" && said[..n].contains(s) {
            return Err(format!("{s:?} behind {:?}", &said[..n]));
        }
        if s.what != "closed" {
            open = Some(level);
        }
    }
    Ok(())
}

fn false_of(case: &Case) -> Option<String> {
    let said = engine_says(&case.toml(), &case.inputs);
    let events =
        case.inputs.iter().filter_map(|input| if let Input::Event(event) = input { Some(event.clone()) } else { None });
    let events: Vec<Event> = events.collect();
    let keys: std::collections::BTreeSet<(&str, &str)> =
        said.iter().flatten().map(|s| (s.rule.as_str(), s.key.as_str())).collect();
    keys.into_iter().find_map(|(id, key)| {
        let rule = case.rules.iter().find(|rule| rule.id == id)?;
        // What one input brings comes in no order: by time, and an end at an instant before or behind what begins there.
        let in_order = |ends_first: bool| {
            let mut of: Vec<&Said> = Vec::new();
            for step in &said {
                let mut step: Vec<&Said> = step.iter().filter(|s| s.rule == id && s.key == key).collect();
                step.sort_by_key(|s| (s.time, (s.what != "closed") == ends_first));
                of.extend(step);
            }
            is_true(rule, &events, &of)
        };
        in_order(true).or_else(|_| in_order(false)).err()
    })
}

#[test]
fn what_comes_behind_a_tick_makes_nothing_false_and_tells_nothing_twice() {
    let (first, n) = (setting("RINGFENCE_SEED", 1), setting("RINGFENCE_CASES", 1_000));
    for seed in first..first + n {
        let mut case = Case::new(seed, Family { late: true, upward: true, ahead: true, ..Family::default() });
        case.rules.retain(only_grows);
        if false_of(&case).is_some() {
            let small = shrink(case, |case| false_of(case).is_some());
            let said = engine_says(&small.toml(), &small.inputs);
            panic!("seed {seed}: {}\n{}", false_of(&small).unwrap_or_default(), small.shown(&said, &[]));
        }
    }
}

/// What the engine says of a rule with the id `r` over a timeline `SECONDS KIND CALL CALLEE [DURATION]`, `tick SECONDS`.
fn says(rule: &str, timeline: &str) -> String {
    rules_say(&format!("[[threshold]]; id = 'r'; per = ['caller']; {rule}"), timeline)
}

fn rules_say(rules: &str, timeline: &str) -> String {
    let ms = |text: &str| (text.parse::<f64>().expect("seconds") * 1_000.0).round() as i64;
    let input = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["tick", at] = words[..] {
            return Input::Tick(ms(at));
        }
        Input::Event(Event {
            at_ms: ms(words[0]),
            kind: if words[1] == "end" { "end" } else { "attempt" },
            call: words[2].bytes().map(usize::from).sum(),
            caller: "+46700001",
            callee: words[3].parse().ok(),
            duration_ms: words.get(4).map(|text| ms(text)),
            is_answered: false,
        })
    };
    let inputs: Vec<Input> = timeline.split(';').map(|line| input(line.trim())).collect();
    let toml = format!("ringfence = 1\ndefault_action = 'allow'\n{}", rules.replace("; ", "\n"));
    let said = engine_says(&toml, &inputs).concat();
    said.iter().map(|s| format!("{} at {}", s.what, s.time as f64 / 1_000.0)).collect::<Vec<_>>().join(", ")
}

const COUNT: &str = "on = 'attempt'; measure = 'count'; window = '60s'";

#[test]
fn a_tick_at_the_very_instant_at_which_a_window_empties_forgets_nothing() {
    let rule = format!("{COUNT}; warning = '>= 1'; for = '10s'; cooldown = '0s'");
    assert_eq!(says(&rule, "0 attempt a 46850001; tick 61"), "warning at 10, closed at 60");
    assert_eq!(says(&rule, "0 attempt a 46850001; tick 60; tick 61"), "warning at 10, closed at 60");
}

#[test]
fn a_second_tick_goes_on_where_the_first_one_was() {
    let rule = format!("{COUNT}; warning = '>= 1'; remind = '90s'; cooldown = '20s'");
    assert_eq!(says(&rule, "0 attempt a 46850001; tick 200"), "warning at 0, closed at 80");
    assert_eq!(says(&rule, "0 attempt a 46850001; tick 65; tick 200"), "warning at 0, closed at 80");
}

/// Whether a key is clear at an instant is asked when the instant is over, of rules without timers too: an event of the
/// tick's own instant makes no dip.
#[test]
fn a_tick_closes_nothing_that_an_event_of_its_instant_would_keep_open() {
    let rule = format!("{COUNT}; warning = '>= 1'; cooldown = '0s'");
    assert_eq!(says(&rule, "0 attempt a 46850001; 60 attempt b 46850001"), "warning at 0");
    assert_eq!(says(&rule, "0 attempt a 46850001; tick 60; 60 attempt b 46850001"), "warning at 0");
}

/// As without `for`: an empty window is clear, so it cannot be what a level holds of.
#[test]
fn a_level_to_fall_below_is_not_held_by_an_empty_window() {
    let rule = format!("{COUNT}; warning = '< 3'; cooldown = '0s'");
    assert_eq!(says(&format!("{rule}; for = '70s'"), "0 attempt a 46850001; tick 200"), "");
    assert_eq!(says(&format!("{rule}; for = '70s'"), "0 attempt a 46850001; 200 attempt b 46850001"), "");
    assert_eq!(says(&format!("{rule}; for = '20s'"), "0 attempt a 46850001; tick 200"), "warning at 20, closed at 60");
    let calls = "on = 'call'; measure = 'concurrent'; warning = '< 3'; for = '20s'; cooldown = '0s'";
    assert_eq!(says(calls, "0 attempt a 46850001; 10 end a 46850001; tick 200"), "");
}

/// Twenty calls that nobody talked in are no quiet hour: a sum of 0 is below 10 s for as long as they are in the window.
#[test]
fn a_window_of_events_without_a_value_is_not_empty() {
    let sum = "on = 'end'; measure = 'sum(duration)'; window = '60s'; warning = '< 10s'; cooldown = '0s'";
    let once = "warning at 0, closed at 90";
    assert_eq!(says(sum, "0 end a 46850001 0; 20 end b 46850001 0; 30 end c 46850001; tick 100"), once);
    assert_eq!(says(sum, "0 end a 46850001 0; tick 10; 30 end c 46850001; tick 100"), once);
    let distinct = "on = 'attempt'; measure = 'distinct(callee)'; window = '60s'; warning = '< 2'; cooldown = '0s'";
    assert_eq!(says(distinct, "0 attempt a _; 20 attempt b _; 30 attempt c _; tick 100"), once);
    let run = "on = 'attempt'; measure = 'run(callee, 1)'; window = '60s'; warning = '< 2'; cooldown = '0s'";
    assert_eq!(says(run, "0 attempt a _; 20 attempt b _; 30 attempt c _; tick 100"), once);
    let new = "on = 'attempt'; measure = 'first_seen(callee)'; window = '60s'; warning = '< 2'; cooldown = '0s'";
    assert_eq!(says(new, "0 attempt a _; 20 attempt b _; 30 attempt c _; tick 100"), once);
}

#[test]
fn calls_that_end_bring_the_calls_that_are_up_below_a_level() {
    let rule = "on = 'call'; measure = 'concurrent'; warning = '< 2'; cooldown = '0s'";
    let timeline =
        "0 attempt a 46850001; 10 attempt b 46850001; 20 attempt c 46850001; 30 end a 46850001; 40 end b 46850001";
    assert_eq!(says(rule, timeline), "warning at 0, closed at 10, warning at 40");
}

/// The longest call was over 30 s from 30 on: the first until 45, the second from then on.
#[test]
fn a_longest_call_that_hands_over_to_the_next_goes_on_holding_its_level() {
    let rule = "on = 'call'; measure = 'longest'; warning = '>= 30s'; for = '20s'; cooldown = '0s'";
    let timeline = "0 attempt a 46850001; 10 attempt b 46850001; 45 end a 46850001; 70 end b 46850001; tick 80";
    assert_eq!(says(rule, timeline), "warning at 50, closed at 70");
}

/// After the long call, the one that is up is young; it is no longer clear when it is 10 s old.
#[test]
fn a_longest_call_is_clear_only_while_the_calls_that_are_up_are_as_young_as_clear_says() {
    let rule = "on = 'call'; measure = 'longest'; warning = '>= 30s'; clear = '< 10s'; cooldown = '15s'";
    let timeline = "0 attempt a 46850001; 50 attempt b 46850001; 50 end a 46850001; 70 end b 46850001; tick 100";
    assert_eq!(says(rule, timeline), "warning at 30, closed at 85");
}

/// Of an episode that opened and ended between two events of its key, or by one tick, what it put on the list must go too.
#[test]
fn what_time_has_blocked_is_let_go_when_the_episode_has_ended() {
    let rules = "[lists]; bad = { type = 'number', dynamic = true }; [[firewall]]; id = 'f'; when = 'caller in $bad'; \
                 action = 'block'; [[threshold]]; id = 'r'; on = 'attempt'; measure = 'count'; per = ['caller']; \
                 window = '60s'; warning = '>= 1'; for = '10s'; cooldown = '0s'; \
                 on_warning = { block = { list = 'bad', ttl = '1m' } }";
    let once = "warning at 10, closed at 60";
    assert_eq!(rules_say(rules, "0 attempt a 46850001; 200 attempt b 46850001"), once);
    assert_eq!(rules_say(rules, "0 attempt a 46850001; tick 150; 200 attempt b 46850001"), once);
    let blocked = "warning at 10, blocked at 30, closed at 90, blocked at 110";
    let timeline = "0 attempt a 46850001; 30 attempt b 46850001; 110 attempt c 46850001";
    assert_eq!(rules_say(rules, timeline), blocked);
}

/// What a tick found at an instant is not over at that very instant, before anything came of it.
#[test]
fn an_event_at_the_instant_of_the_tick_that_opened_an_episode_does_not_open_it_again() {
    let rule = format!("{COUNT}; warning = '< 3'; cooldown = '0s'");
    let timeline = "0 attempt a 46850001; 0 attempt b 46850001; 1 attempt c 46850001; tick 60; 60 attempt d 46850001";
    assert_eq!(says(&rule, timeline), "warning at 0, closed at 1, warning at 60");
}

/// A record that arrives when the tick has gone by, of the time that was told of, is no reason to tell of it again.
#[test]
fn what_a_tick_told_is_not_told_again_when_more_of_the_same_time_comes() {
    let rule = format!("{COUNT}; warning = '>= 2'; for = '10s'; cooldown = '0s'");
    let once = "warning at 15, closed at 65";
    let calls = "5 attempt a 46850001; 5 attempt b 46850001; tick 100";
    assert_eq!(says(&rule, &format!("{calls}; 5 attempt c 46850001; tick 200")), once);
    assert_eq!(says(&rule, &format!("{calls}; 0 attempt c 46850001; tick 200")), once);
    // Nor is what held before the end a reason to begin at the end: the window is empty from 65 on.
    let rule = format!("{COUNT}; warning = '>= 2'; for = '10s'; cooldown = '1s'");
    assert_eq!(says(&rule, &format!("{calls}; 0 attempt c 46850001; tick 200")), "warning at 15, closed at 66");
}

/// A call that came too late for the window is still a call before.
#[test]
fn a_value_that_turns_out_to_be_known_holds_no_level() {
    let rule = "on = 'attempt'; measure = 'first_seen(callee)'; memory = '5m'; window = '60s'; warning = '>= 1'; \
                for = '30s'; cooldown = '0s'";
    assert_eq!(says(rule, "100 attempt a 46850001; tick 200"), "warning at 130, closed at 160");
    assert_eq!(says(rule, "100 attempt a 46850001; 10 attempt b 46850001; tick 200"), "");
    assert_eq!(says(rule, "100 attempt a 46850001; 10 attempt b 46850001; 200 attempt c 46850002; tick 220"), "");
}

/// A rule that can never count is refused, or counts.
#[test]
fn calls_that_are_up_are_counted_after_a_violation_or_the_rule_is_refused() {
    let rules = "[[threshold]]; id = 'a'; on = 'attempt'; measure = 'count'; per = ['caller']; window = '60s'; \
                 warning = '>= 1'; [[threshold]]; id = 'b'; on = 'call'; measure = 'concurrent'; per = ['caller']; \
                 warning = '>= 1'; after = { rule = 'a', within = '1h' }";
    let toml = format!("ringfence = 1\ndefault_action = 'allow'\n{}", rules.replace("; ", "\n"));
    let loaded = load(&RuleSource::memory([("ruleset.toml", toml)]), LoadOptions::default());
    if loaded.policy.is_some() {
        let timeline = "0 attempt a 46850001; 10 attempt b 46850001";
        assert_eq!(rules_say(rules, timeline), "warning at 0, warning at 10");
    }
}
