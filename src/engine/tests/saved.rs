//! State that is saved while calls flow on, and read again by another engine, is that of the place it was marked at.

use super::*;
use crate::engine::{Lane, RestoreError, Restored, Save, SaveProgress};

/// A small generator of its own: a case is its seed.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    pub(super) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    pub(super) fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// `on`, and the measure with its levels.
    pub(super) fn measure<'a>(&mut self, of: &[(&'a str, &'a str)]) -> (&'a str, &'a str) {
        of[self.below(of.len() as u64) as usize]
    }
}

pub(super) enum Step {
    Lines(usize, String),
    Tick(i64),
}

/// Often nothing: what brings violations without an event.
pub(super) fn timers_of(draw: &mut Draw) -> String {
    let hold = draw.one(&["", "", "for = '1ms'; ", "for = '2s'; ", "for = '30s'; "]);
    let remind = draw.one(&["", "", "", "remind = '1m'; ", "remind = '90s'; "]);
    format!("{hold}{remind}")
}

/// A few rules of every kind, with little room.
// long: the kinds, a line each
pub(super) fn rules_of(draw: &mut Draw) -> String {
    let mut rules = String::from(
        "[lists]; dyn = { type = 'number', dynamic = true, max_entries = 4 }; own_numbers = { type = 'number', items = ['+46700003'] }; ",
    );
    if draw.is(60) {
        rules += "[[firewall]]; id = 'dyn'; when = 'caller in $dyn'; action = 'block'; ";
    }
    if draw.is(50) {
        rules += "[[firewall]]; id = 'no'; when = 'caller in {+4670000*} and callee in {+4681*}'; action = 'block'; ";
    }
    if draw.is(50) {
        rules += "[[firewall]]; id = 'mark'; when = 'callee in {+46811}'; action = 'flag'; flag = 'x'; ";
    }
    if draw.is(50) {
        rules +=
            "[[firewall]]; id = 'hit'; when = 'trunk == \"b\"'; action = 'allow'; track = ['log', 'alert:warning']; ";
    }
    let (mut overrides, mut first_per) = (String::new(), "");
    for n in 0..1 + draw.below(6) {
        let (on, measure) = draw.measure(&[
            ("attempt", "measure = 'count'; warning = '>= 3'; critical = '>= 9'"),
            ("attempt", "measure = 'distinct(callee)'; warning = '>= 3'"),
            ("attempt", "measure = 'distinct(callee)'; warning = '>= 60'"),
            ("end", "measure = 'sum(duration)'; warning = '>= 20s'; critical = '>= 60s'"),
            ("end", "measure = 'avg(ring)'; min_count = 2; warning = '>= 3s'"),
            ("end", "measure = 'share(status == busy)'; min_count = 3; warning = '>= 30%'; clear = '< 10%'"),
            ("attempt", "measure = 'run(callee, 2)'; warning = '>= 3'"),
            ("call", "measure = 'concurrent'; warning = '>= 2'; critical = '>= 4'"),
            ("answer", "measure = 'count'; count_blocked = false; warning = '>= 2'"),
            ("attempt", "measure = 'count'; count_blocked = false; warning = '>= 3'"),
            ("call", "measure = 'longest'; warning = '>= 4s'; critical = '>= 30s'"),
            ("call", "measure = 'concurrent'; warning = '< 3'"),
            ("attempt", "measure = 'count'; warning = '< 4'; critical = '< 2'"),
            ("end", "measure = 'share(status == answered)'; min_count = 2; warning = '< 50%'; clear = '> 60%'"),
            ("end", "measure = 'sum(duration)'; warning = '<= 30s'"),
            ("attempt", "measure = 'first_seen(callee)'; memory = '30s'; warning = '>= 1'; critical = '>= 4'"),
            ("end", "measure = 'share(status == busy)'; min_count = 2; also = ['distinct(callee) >= 2', 'avg(ring) > 2s']; warning = '>= 20%'"),
            ("attempt", "measure = 'count'; also = ['first_seen(callee) <= 1', 'run(callee, 9) < 9']; warning = '>= 2'; critical = '>= 5'"),
        ]);
        let per = draw.one(&["'caller'", "'trunk'", "'account'", "'trunk', 'caller'", "'prefix(caller, 8)'"]);
        rules += &format!("[[threshold]]; id = 'r{n}'; on = '{on}'; per = [{per}]; {measure}; ");
        if on != "call" {
            rules += &format!("window = '{}'; ", draw.one(&["2s", "10s", "1m", "10m"]));
        }
        if draw.is(60) {
            rules += &format!("cooldown = '{}'; ", draw.one(&["0s", "1s", "30s", "5m"]));
        }
        rules += &timers_of(draw);
        if n == 0 {
            first_per = per;
        } else if on != "call" && draw.is(20) && (first_per.contains(per) || per.contains(first_per)) {
            rules += &format!("after = {{ rule = 'r0', within = '{}' }}; ", draw.one(&["1s", "20s", "5m"]));
        }
        rules += draw.one(&["", "", "", "customers = ['other']; ", "customers = ['default', 'else']; "]);
        rules += draw.one(&["", "", "except = [{ where = 'account == \"account-3\"', reason = 'r' }]; "]);
        rules += draw.one(&["", "", "mute = [{ where = 'trunk == \"a\"', reason = 'r', expires = '2099-01-01' }]; "]);
        match draw.below(5) {
            0 => rules += "max_keys = 1; ",
            1 => rules += "max_keys = 128; ",
            2 => rules += "max_bytes = 65536; ",
            _ => {}
        }
        if draw.is(70) && per.contains("'caller'") {
            let ttl = draw.one(&["0s", "3s", "2m"]);
            let level = if measure.contains("critical") && draw.is(50) { "on_critical" } else { "on_warning" };
            rules += &format!("{level} = {{ block = {{ list = 'dyn', ttl = '{ttl}', field = 'caller' }} }}; ");
        }
        if draw.is(25) {
            let change = draw.one(&["cooldown = '2s'", "mode = 'monitor'", "mode = 'off'"]);
            overrides += &format!("[[override]]; customer = 'other'; rule = 'r{n}'; reason = 'r'; {change}; ");
        }
    }
    rules + &overrides
}

pub(super) fn steps_of(draw: &mut Draw) -> Vec<Step> {
    let mut now = 0;
    let (n_callers, n_ids) = (1 + draw.below(60), 1 + draw.below(80));
    let mut steps = Vec::new();
    for _ in 0..8 + draw.below(20) {
        if draw.is(20) {
            steps.push(Step::Tick(now + draw.below(60_000) as i64 - 10_000));
            continue;
        }
        let mut lines = String::new();
        for _ in 0..draw.below(40) {
            now += if draw.is(2) { draw.below(400_000) } else { draw.below(700) } as i64;
            let late = if draw.is(15) { draw.below(20_000) as i64 } else { 0 };
            let kind =
                draw.one(&["attempt", "attempt", "attempt", "answer", "end", "end", "cdr", "interim", "register"]);
            lines += &format!("t={} {kind} +46700{:03}", (now - late) as f64 / 1000.0, draw.below(n_callers));
            lines += &format!(" -> +4681{} id=c{}", 1 + draw.below(90), draw.below(n_ids));
            lines += &format!(" trunk={} account=account-{}", draw.one(&["a", "b", "long-trunk-c"]), draw.below(9));
            lines += draw.one(&["", "", " customer=other", " leg=b", " diverting=+46855", " gateway=g2"]);
            if kind == "end" || kind == "cdr" {
                lines += &format!(" duration={} ring={}", draw.below(30), draw.below(8));
                lines += draw.one(&[" status=answered", " status=busy", " status=failed"]);
            }
            lines.push('\n');
            // Told again, soon or much later.
            let earlier = steps.iter().rev().find_map(|step| match step {
                Step::Lines(_, lines) => lines.lines().next(),
                Step::Tick(_) => None,
            });
            if draw.is(8) {
                lines += lines.lines().last().map(|line| format!("{line}\n")).unwrap_or_default().as_str();
            } else if let Some(earlier) = earlier.filter(|_| draw.is(8)) {
                lines += &format!("{earlier}\n");
            }
        }
        steps.push(Step::Lines(draw.below(2) as usize, lines));
    }
    steps
}

/// An engine, its lanes, and what it said.
struct Play {
    engine: Engine,
    lanes: Vec<Lane>,
    context: Arc<FeedContext>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Play {
    fn new(rules: &str, names: &Arc<Names>, options: [LaneOptions; 2], n_threads: usize) -> Play {
        let policy = Arc::new(policy(rules));
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let held: Mutex<Vec<(String, [i64; 2])>> = Mutex::default();
        let emit = {
            let (told, policy) = (Arc::clone(&told), Arc::clone(&policy));
            Box::new(move |judged: &mut Judged| {
                if judged.marker.is_none() {
                    told.lock().unwrap().push(tell(judged, &policy, &mut held.lock().unwrap()));
                }
            })
        };
        let settings = Settings { n_threads, hash_seed: 3, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
        let engine = Engine::new(policy, Arc::clone(names), settings, emit);
        let lanes = options.map(|options| engine.lane(options)).into();
        Play { engine, lanes, context: Arc::new(FeedContext::file(Arc::clone(names), DialPlan::default())), told }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Tick(at) => self.engine.tick(Timestamp(START_MS + at)),
            Step::Lines(lane, lines) => {
                let bytes: String = lines.lines().map(|line| json(line) + "\n").collect();
                let mut batch = Batch::default();
                Decoder::new(&Format::Ndjson, Arc::clone(&self.context)).decode(bytes.into_bytes(), None, &mut batch);
                assert!(batch.rejects.is_empty(), "a line is no event: {:?}", batch.rejects);
                self.lanes[*lane].ticket().submit(batch, None);
            }
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn saved(&self) -> Vec<Vec<u8>> {
        pieces(&mut self.engine.mark().expect("no other save"))
    }
}

/// Everything a batch came to. Sizes are told as they are, not as they changed: an engine that is new begins at 0.
fn tell(judged: &Judged, policy: &Policy, held: &mut Vec<(String, [i64; 2])>) -> String {
    let mut closed: Vec<String> = judged.closed.iter().map(|c| format!("{c:?}")).collect();
    closed.sort();
    closed.extend(sorted(&judged.listed.iter().map(|put| format!("{put:?}")).collect::<Vec<_>>()));
    let flags: Vec<u16> = judged.batch.events.iter().map(|e| e.flags.0).collect();
    let mut counts = Vec::new();
    for c in &judged.counts.rules {
        let id = output::rule_id(policy, c.rule).to_owned();
        if (c.keys, c.bytes) != (0, 0) {
            let place = held.iter().position(|(rule, _)| *rule == id).unwrap_or(held.len());
            if place == held.len() {
                held.push((id.clone(), [0; 2]));
            }
            held[place].1[0] += c.keys;
            held[place].1[1] += c.bytes;
        }
        if (c.counted, c.late, c.too_late, c.evicted, c.refused) != (0, 0, 0, 0, 0) {
            counts.push((id, c.counted, c.late, c.too_late, c.evicted, c.refused));
        }
    }
    held.sort();
    // Only ticks tell sizes.
    let held = if judged.tick.is_some() { held.clone() } else { Vec::new() };
    format!(
        "{:?}\n{flags:?}\n{:?}\n{:?}\n{closed:?}\n{} {:?} {:?}\n{counts:?}\n{held:?}",
        judged.verdicts, judged.flags, judged.violations, judged.duplicates, judged.tracked, judged.counts.firewall,
    )
}

pub(super) fn pieces(save: &mut Save) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    loop {
        let mut piece = Vec::new();
        let progress = save.piece(&mut piece);
        pieces.push(piece);
        match progress {
            SaveProgress::More => {}
            SaveProgress::Done => return pieces,
            other => panic!("{other:?}"),
        }
    }
}

fn restore(play: &Play, pieces: &[Vec<u8>]) -> Result<Restored, RestoreError> {
    play.engine.restore(pieces.iter().map(Ok))
}

pub(super) fn options_of(draw: &mut Draw) -> LaneOptions {
    LaneOptions { merge: draw.is(50), dedup: draw.is(40), verdict: draw.is(40), both_legs: draw.is(30) }
}

/// Marks at a random place, saves in pieces between the batches that follow, and lets another engine go on from there.
fn goes_on_as_if_nothing_had_been(seed: u64) {
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (rules, steps) = (rules_of(&mut draw), steps_of(&mut draw));
    let options = [options_of(&mut draw), options_of(&mut draw)];
    let names = Arc::new(Names::new());
    let place = draw.below(steps.len() as u64) as usize;
    let mut whole = Play::new(&rules, &names, options, [1, 2, 8][draw.below(3) as usize]);
    let (mut saved, mut save, mut open) = (Vec::new(), None, Vec::new());
    for (i, step) in steps.iter().enumerate() {
        if i == place {
            open = sorted_open(&whole.engine);
            let mut begun = whole.engine.mark().unwrap();
            begun.piece_bytes = 1 + draw.below(300) as usize;
            assert!(whole.engine.mark().is_none(), "one save at a time");
            save = Some(begun);
        }
        whole.step(step);
        for _ in 0..draw.below(40) {
            let Some(begun) = &mut save else { break };
            let mut piece = Vec::new();
            let progress = begun.piece(&mut piece);
            saved.push(piece);
            if progress != SaveProgress::More {
                assert_eq!(progress, SaveProgress::Done);
                save = None;
            }
        }
    }
    saved.extend(save.map(|mut save| pieces(&mut save)).unwrap_or_default());
    let mut again = Play::new(&rules, &names, options, [1, 2, 8][draw.below(3) as usize]);
    let restored = restore(&again, &saved).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    assert!(restored.changed.is_empty() && restored.new.is_empty() && restored.gone.is_empty());
    assert_eq!(sorted_open(&again.engine), open, "seed {seed}: open episodes");
    let own = again.saved();
    steps[place..].iter().for_each(|step| again.step(step));
    let (whole, again_told) = (whole.told(), again.told());
    for (i, (a, b)) in whole[place..].iter().zip(&again_told).enumerate() {
        assert_eq!(a, b, "seed {seed}: step {i} after the save of {place}\n{rules}");
    }
    assert_eq!(whole.len(), place + again_told.len());
    // What was read is what would be written.
    let third = Play::new(&rules, &names, options, again.engine.0.generation().plan.n_shards as usize / 2);
    restore(&third, &own).unwrap();
    assert!(third.saved().concat() == own.concat(), "seed {seed}: written again, it is another");
}

fn sorted_open(engine: &Engine) -> Vec<String> {
    sorted(&engine.open_episodes().iter().map(|open| format!("{open:?}")).collect::<Vec<_>>())
}

#[test]
fn an_engine_that_reads_what_another_saved_goes_on_as_if_nothing_had_been() {
    let first: u64 = std::env::var("RINGFENCE_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let n: u64 = std::env::var("RINGFENCE_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(60);
    (first..first + n).for_each(goes_on_as_if_nothing_had_been);
}

/// Some state of every kind, in pieces.
fn some_state() -> (String, Arc<Names>, Vec<Vec<u8>>) {
    let mut draw = Draw(0x5eed);
    let names = Arc::new(Names::new());
    let mut rules = rules_of(&mut draw);
    while !(rules.contains("$dyn") && rules.contains("block = ") && rules.contains("concurrent")) {
        rules = rules_of(&mut draw);
    }
    let mut play = Play::new(&rules, &names, [MERGE, LaneOptions { verdict: true, ..DEDUP }], 1);
    for step in steps_of(&mut draw).iter().take(12) {
        play.step(step);
    }
    let saved = play.saved();
    (rules, names, saved)
}

#[test]
fn damage_anywhere_is_an_error_and_never_a_panic() {
    let (rules, names, saved) = some_state();
    let bytes = saved.concat();
    let read = |bytes: &[u8]| {
        let play = Play::new(&rules, &names, [PLAIN, PLAIN], 2);
        play.engine.restore([Ok(bytes)])
    };
    read(&bytes).unwrap();
    let step = (bytes.len() / 400).max(1);
    for at in (0..bytes.len()).step_by(step).chain(0..40).chain(bytes.len() - 40..bytes.len()) {
        assert!(read(&bytes[..at]).is_err(), "cut after {at} of {}", bytes.len());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(read(&flipped).is_err(), "byte {at} of {} flipped", bytes.len());
        let mut shorter = bytes.clone();
        shorter.drain(at..(at + 7).min(bytes.len()));
        assert!(read(&shorter).is_err(), "bytes taken out at {at} of {}", bytes.len());
    }
}

#[test]
fn a_save_that_is_dropped_leaves_nothing_behind_and_the_next_one_is_whole() {
    let mut draw = Draw(77);
    let names = Arc::new(Names::new());
    let (rules, steps) = (rules_of(&mut draw), steps_of(&mut draw));
    let mut play = Play::new(&rules, &names, [MERGE, DEDUP], 2);
    for step in &steps {
        let mut save = play.engine.mark().unwrap();
        save.piece_bytes = 1;
        play.step(step);
        for _ in 0..draw.below(100) {
            save.piece(&mut Vec::new());
        }
    }
    let saved = play.saved();
    let again = Play::new(&rules, &names, [PLAIN, PLAIN], 1);
    restore(&again, &saved).unwrap();
    assert_eq!(sorted_open(&again.engine), sorted_open(&play.engine));
}

#[test]
fn rules_that_are_the_same_go_on_whatever_their_numbers_and_others_begin_anew() {
    let rule = |id: &str, more: &str| format!("[[threshold]]; id = '{id}'; on = 'attempt'; per = ['caller']; {more}; ");
    let count = |level: u32| format!("measure = 'count'; window = '10s'; warning = '>= {level}'");
    let names = Arc::new(Names::new());
    let then = [
        rule("a", &count(3)),
        rule("raised", &count(3)),
        rule("wider", &count(3)),
        rule("gone", &count(3)),
        "[[firewall]]; id = 'w'; when = 'callee in $bad'; action = 'flag'; flag = 'x'; track = ['alert:warning']; "
            .into(),
    ]
    .concat();
    let now = [
        rule("new", &count(2)),
        "[[firewall]]; id = 'w'; when = 'callee in $bad'; action = 'flag'; flag = 'x'; track = ['alert:warning']; "
            .into(),
        rule("wider", &count(3).replace("10s", "20s")),
        rule("a", &(count(2) + "; cooldown = '1s'; max_keys = 500; count_blocked = false")),
        rule("raised", &count(4)),
    ]
    .concat();
    let lists = "[lists]; bad = { type = 'number', items = ['+46811'] }; ";
    let more = "[lists]; abc = { type = 'text', items = ['x'] }; bad = { type = 'number', items = ['+46811'] }; ";
    let mut play = Play::new(&format!("{lists}{then}"), &names, [PLAIN, PLAIN], 1);
    play.step(&Step::Lines(0, "t=0 +46700001 -> +46811\nt=1 +46700001 -> +46811".into()));
    let mut again = Play::new(&format!("{more}{now}"), &names, [PLAIN, PLAIN], 8);
    let restored = restore(&again, &play.saved()).unwrap();
    let policy = again.engine.policy();
    let ids =
        |rules: &[RuleRef]| rules.iter().map(|rule| output::rule_id(&policy, *rule).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&restored.restored), ["a", "w"]);
    assert_eq!(ids(&restored.warming), ["raised"]);
    assert_eq!(ids(&restored.changed), ["wider"]);
    assert_eq!((ids(&restored.new), &restored.gone[..]), (vec!["new".to_owned()], &["gone".to_owned()][..]));
    assert_eq!(restored.notes().len(), 4);
    // The third attempt of `a` and `raised`, the first of `wider` and `new`; `w` still alarms.
    again.step(&Step::Lines(0, "t=2 +46700001 -> +46811\nt=3 +46700001 -> +46811".into()));
    let told = again.told().concat();
    let open: Vec<String> = again.engine.open_episodes().iter().map(|open| ids(&[open.rule]).concat()).collect();
    assert_eq!(sorted(&open), ["a", "new", "raised", "w"], "{told}");
}

#[test]
fn state_of_another_seed_and_state_for_an_engine_that_has_judged_are_refused() {
    let (rules, names, saved) = some_state();
    let policy = Arc::new(policy(&rules));
    let settings = Settings { n_threads: 1, hash_seed: 4, emergency_callback_ms: 0 };
    let other = Engine::new(policy, Arc::clone(&names), settings, Box::new(|_| {}));
    assert!(matches!(other.restore(saved.iter().map(Ok)), Err(RestoreError::OtherSeed)));
    let mut play = Play::new(&rules, &names, [PLAIN, PLAIN], 1);
    play.step(&Step::Tick(0));
    assert!(matches!(restore(&play, &saved), Err(RestoreError::NotFresh)));
    let part = Play::new(&rules, &names, [PLAIN, PLAIN], 1);
    assert!(matches!(restore(&part, &saved[..2]), Err(RestoreError::Unfinished { .. })));
}

#[test]
fn state_is_found_again_by_the_customer_of_a_variant_and_by_the_id_that_a_rule_had() {
    let rule = |id: &str, rest: &str| {
        format!(
            "[[threshold]]; id = '{id}'; {rest}on = 'attempt'; measure = 'count'; per = ['caller']; window = '10s'; \
             warning = '>= 2'; cooldown = '1m'; [[override]]; customer = 'acme'; rule = '{id}'; reason = 'r'; warning = '>= 3'; "
        )
    };
    let names = Arc::new(Names::new());
    let mut whole = Play::new(&rule("old", ""), &names, [PLAIN, PLAIN], 1);
    let lines = |n: i64, customer: &str| Step::Lines(0, format!("t={n} +46700001 -> +46811 {customer}\n"));
    for n in 0..2 {
        whole.step(&lines(n, "customer=acme"));
        whole.step(&lines(n, "customer=other"));
    }
    let open = whole.engine.open_episodes();
    assert_eq!(open.len(), 1, "two are enough for the other only");
    let saved = whole.saved();
    // Another rule before it, so that numbers are others too.
    let others = rule("first", "customers = ['third', 'acme']; ");
    let mut again = Play::new(&(others + &rule("new", "renamed_from = 'old'; ")), &names, [PLAIN, PLAIN], 2);
    let restored = restore(&again, &saved).unwrap();
    let name = |rule: &RuleRef| output::rule_name(&again.engine.policy(), *rule);
    assert_eq!(restored.restored.iter().map(name).collect::<Vec<_>>(), ["new", "new for acme"]);
    assert_eq!(restored.new.iter().map(name).collect::<Vec<_>>(), ["first", "first for acme"]);
    assert_eq!(restored.gone, [""; 0]);
    let now = again.engine.open_episodes();
    assert_eq!(now.iter().map(|open| name(&open.rule)).collect::<Vec<_>>(), ["new"]);
    again.step(&lines(2, "customer=acme"));
    let found = again.told().concat();
    assert!(found.contains("level: Warning") && found.contains("value: 3.0"), "{found}");
}
