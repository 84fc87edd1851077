//! Rules that do not change never notice that others do: what an engine says through any number of swaps is what one says
//! that saw none.

use super::saved::{Draw, Step, options_of, rules_of, steps_of};
use super::*;
use crate::engine::{Lack, Lane, Swapped};

/// What is said of one batch, by the names of rules: those that begin with `x` come and go.
#[derive(Debug, Default, PartialEq)]
struct Told {
    verdicts: Vec<String>,
    flags: Vec<String>,
    violations: Vec<String>,
    closed: Vec<String>,
    counted: Vec<String>,
}

struct Play {
    engine: Engine,
    lanes: Vec<Lane>,
    context: Arc<FeedContext>,
    told: Arc<Mutex<Vec<Told>>>,
}

fn told(judged: &Judged) -> Told {
    let id = |rule| output::rule_id(&judged.policy, rule).to_owned();
    let own = |rule: &RuleRef| !id(*rule).starts_with('x');
    let flags = judged.flags.iter().map(|(event, rule)| format!("{event} {}", id(RuleRef::Firewall(*rule))));
    let mut violations: Vec<String> = Vec::new();
    for v in judged.violations.iter().filter(|v| own(&v.rule)) {
        let (value, limit) = output::shown(&judged.policy, v).unwrap();
        violations.push(format!(
            "{} {} {:?} {} {value}/{limit} {} {:?}",
            v.event,
            id(v.rule),
            v.level,
            v.time,
            v.late,
            v.key
        ));
    }
    let closed = judged.closed.iter().filter(|c| own(&c.rule));
    let closed: Vec<String> = closed.map(|c| format!("{} {} {:?}", id(c.rule), c.time, c.key)).collect();
    let counted = judged.counts.rules.iter().filter(|c| own(&c.rule));
    let counted: Vec<String> = counted
        .map(|c| (id(c.rule), c.counted, c.late, c.too_late, c.evicted))
        .filter(|c| (c.1, c.2, c.3, c.4) != (0, 0, 0, 0))
        .map(|c| format!("{c:?}"))
        .collect();
    Told {
        verdicts: judged.verdicts.iter().map(|v| format!("{:?} {}", v.action, id(v.rule))).collect(),
        flags: flags.filter(|flag| !flag.contains(" x")).collect(),
        violations: sorted(&violations),
        closed: sorted(&closed),
        counted: sorted(&counted),
    }
}

impl Play {
    fn new(rules: &str, options: [LaneOptions; 2], n_threads: usize) -> Play {
        let names = Arc::new(Names::new());
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let emit = {
            let told = Arc::clone(&told);
            Box::new(move |judged: &mut Judged| {
                let said = self::told(judged);
                if judged.swapped.is_none() {
                    told.lock().unwrap().push(said);
                } else {
                    assert_eq!(said.closed, [""; 0], "nothing of what stays closes in a swap");
                }
            })
        };
        let settings = Settings { n_threads, hash_seed: 3, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
        let engine = Engine::new(Arc::new(policy(rules)), Arc::clone(&names), settings, emit);
        let lanes = options.map(|options| engine.lane(options)).into();
        Play { engine, lanes, context: Arc::new(FeedContext::file(names, DialPlan::default())), told }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Tick(at) => self.engine.tick(Timestamp(START_MS + at)),
            Step::Lines(lane, lines) => {
                let bytes: String = lines.lines().map(|line| json(line) + "\n").collect();
                let mut batch = Batch::default();
                Decoder::new(&Format::Ndjson, Arc::clone(&self.context)).decode(bytes.into_bytes(), None, &mut batch);
                self.lanes[*lane].ticket().submit(batch, None);
            }
        }
    }

    fn lines(&mut self, lines: &str) {
        self.step(&Step::Lines(0, lines.to_owned()));
    }

    fn swap(&self, rules: &str) -> Swapped {
        let prepared = self.engine.prepare(Arc::new(policy(rules)));
        assert!(prepared.is_for(&self.engine));
        self.engine.swap(prepared, Timestamp(START_MS)).unwrap().0
    }

    fn open(&self) -> Vec<String> {
        let policy = self.engine.policy();
        let open = self.engine.open_episodes().into_iter();
        let open = open.filter(|o| !output::rule_id(&policy, o.rule).starts_with('x'));
        sorted(
            &open
                .map(|o| {
                    format!("{} {o:?}", output::rule_id(&policy, o.rule)).split("rule:").next().unwrap().to_owned()
                })
                .collect::<Vec<_>>(),
        )
    }

    fn violations(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().flat_map(|told| told.violations.clone()).collect()
    }
}

/// The rules, and around them others that decide nothing.
fn disguised(rules: &str, draw: &mut Draw) -> String {
    let mut parts: Vec<String> = Vec::new();
    let (head, own) = rules.split_at(rules.find("[[").unwrap_or(rules.len()));
    let mut head = head.to_owned();
    if draw.is(50) {
        // Lists move: these come first, by name or by place.
        head = head.replace("[lists]; ", "[lists]; aaa = { type = 'number', items = ['+46700001'] }; ");
    }
    let own: Vec<String> = own.split("[[").filter(|part| !part.is_empty()).map(|part| format!("[[{part}")).collect();
    for part in own {
        if draw.is(20) {
            parts.push("[[firewall]]; id = 'x-fw'; mode = 'monitor'; when = 'callee in {+46811}'; action = 'block'; track = ['alert:warning']; ".into());
        }
        if draw.is(20) {
            parts.push(
                "[[firewall]]; id = 'x-dyn'; mode = 'monitor'; when = 'caller in $dyn'; action = 'block'; ".into(),
            );
        }
        if draw.is(20) {
            let measure = draw.one(&[
                "'count'; window = '1m'; on = 'attempt'; warning = '>= 2'",
                "'concurrent'; on = 'call'; warning = '>= 2'",
                "'sum(duration)'; window = '2s'; on = 'end'; warning = '>= 9s'",
            ]);
            parts.push(format!("[[threshold]]; id = 'x-ips'; per = ['caller']; measure = {measure}; "));
        }
        if draw.is(30) && part.contains("threshold") {
            parts.push(part.replace("]]; ", "]]; message = 'said otherwise'; owner = 'somebody'; "));
        } else {
            parts.push(part);
        }
    }
    // Each id once.
    let mut seen = Vec::new();
    parts.retain(|part| {
        let id = part.split("id = '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default().to_owned();
        // Overrides have none.
        let is_new = id.is_empty() || !seen.contains(&id);
        seen.push(id);
        is_new
    });
    head + &parts.concat()
}

fn what_stays_sees_no_swap(seed: u64) {
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (rules, steps) = (rules_of(&mut draw), steps_of(&mut draw));
    let options = [options_of(&mut draw), options_of(&mut draw)];
    let n_threads = 1 + draw.below(4) as usize;
    let (mut plain, mut swapped) = (Play::new(&rules, options, 1), Play::new(&rules, options, n_threads));
    let mut said = Vec::new();
    for step in &steps {
        while draw.is(50) {
            let others = if draw.is(20) { rules.clone() } else { disguised(&rules, &mut draw) };
            let swap = swapped.swap(&others);
            let policy = swapped.engine.policy();
            let is_own = |rule: &&RuleRef| !output::rule_id(&policy, **rule).starts_with('x');
            assert_eq!(
                swap.changed.iter().chain(&swap.new).chain(&swap.warming).find(is_own),
                None,
                "{seed}\n{others}"
            );
            said.push(others);
        }
        plain.step(step);
        swapped.step(step);
        let at = plain.told.lock().unwrap().len() - 1;
        let (a, b) = (plain.told.lock().unwrap(), swapped.told.lock().unwrap());
        assert_eq!(a.get(at), b.get(at), "seed {seed}, step {at}\n{rules}\n{}", said.last().map_or("", String::as_str));
        assert_eq!(a.len(), b.len());
    }
    assert_eq!(plain.open(), swapped.open(), "seed {seed}: open episodes");
}

#[test]
fn rules_that_stay_never_see_a_swap() {
    let first: u64 = std::env::var("RINGFENCE_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let n: u64 = std::env::var("RINGFENCE_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(60);
    (first..first + n).for_each(what_stays_sees_no_swap);
}

const COUNT: &str = "[[threshold]]; id = 'a'; on = 'attempt'; per = ['caller']; measure = 'count'; window = '1m'; ";

#[test]
fn a_level_that_is_lowered_holds_for_what_was_counted_before() {
    let mut play = Play::new(&format!("{COUNT}warning = '>= 9'"), [PLAIN, PLAIN], 2);
    play.lines("t=0 +46700001 -> +46811\nt=1 +46700001 -> +46811");
    let swapped = play.swap(&format!("{COUNT}warning = '>= 3'; cooldown = '5s'"));
    assert_eq!(swapped.restored, [RuleRef::Threshold(0)]);
    play.lines("t=2 +46700001 -> +46811");
    assert_eq!(play.violations().len(), 1, "{:?}", play.violations());
}

#[test]
fn a_level_that_is_raised_is_warming_and_a_window_that_changes_begins_anew() {
    let mut play = Play::new(&format!("{COUNT}warning = '>= 2'"), [PLAIN, PLAIN], 1);
    play.lines("t=0 +46700001 -> +46811\nt=1 +46700001 -> +46811\nt=2 +46700001 -> +46811");
    assert_eq!(play.open().len(), 1);
    let raised = play.swap(&format!("{COUNT}warning = '>= 5'"));
    assert_eq!(raised.warming, [RuleRef::Threshold(0)]);
    assert_eq!(play.engine.lacking()[0].lack, Lack::Until(Timestamp::MAX));
    assert_eq!(play.open().len(), 1, "the episode goes on");
    let closed = Arc::new(Mutex::new(Vec::new()));
    let wider = play.engine.prepare(Arc::new(policy(&format!("{COUNT}warning = '>= 5'").replace("1m", "2m"))));
    assert_eq!(wider.rules().changed, [RuleRef::Threshold(0)]);
    let emitted = {
        let closed = Arc::clone(&closed);
        move |judged: &mut Judged| closed.lock().unwrap().extend(judged.closed.iter().map(|c| c.time))
    };
    // A swap before which others came is refused and can be prepared again.
    play.swap(&format!("{COUNT}warning = '>= 5'"));
    let refused = play.engine.swap(wider, Timestamp(START_MS)).unwrap_err();
    assert!(!refused.is_for(&play.engine));
    let other = Engine::new(
        play.engine.policy(),
        Arc::new(Names::new()),
        Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: 0 },
        Box::new(emitted),
    );
    let mut lane = other.lane(PLAIN);
    let mut batch = Batch::default();
    let context = Arc::new(FeedContext::file(Arc::clone(other.names()), DialPlan::default()));
    let lines: String = (0..5).map(|t| json(&format!("t={t} +46700001 -> +46811")) + "\n").collect();
    Decoder::new(&Format::Ndjson, context).decode(lines.into_bytes(), None, &mut batch);
    lane.ticket().submit(batch, None);
    assert_eq!(other.open_episodes().len(), 1);
    let gone = other.prepare(Arc::new(policy("[lists]")));
    assert_eq!(gone.rules().gone, ["a"]);
    other.swap(gone, Timestamp(START_MS)).unwrap();
    // Not before it began.
    assert_eq!(*closed.lock().unwrap(), [Timestamp(START_MS + 4_000)]);
    assert!(other.open_episodes().is_empty());
}

#[test]
fn an_override_that_comes_ends_what_the_rule_held_of_its_customer() {
    let rule = format!("{COUNT}warning = '>= 2'; ");
    let mut play = Play::new(&rule, [PLAIN, PLAIN], 2);
    let calls = |customer: &str| format!("t=0 +46700001 customer={customer}\nt=1 +46700001 customer={customer}");
    play.lines(&format!("{}\n{}", calls("acme"), calls("globex")));
    let customers = |play: &Play| -> Vec<String> {
        play.engine.open_episodes().iter().map(|o| play.engine.names().customer_name(o.customer)).collect()
    };
    assert_eq!(sorted(&customers(&play)), ["acme", "globex"]);
    play.swap(&format!("{rule}[[override]]; customer = 'acme'; rule = 'a'; reason = 'r'; warning = '>= 5'; "));
    assert_eq!(customers(&play), ["globex"]);
}

#[test]
fn a_save_and_a_swap_wait_for_each_other() {
    let play = Play::new(&format!("{COUNT}warning = '>= 2'"), [PLAIN, PLAIN], 1);
    let prepared = play.engine.prepare(play.engine.policy());
    let save = play.engine.mark().unwrap();
    let prepared = play.engine.swap(prepared, Timestamp(0)).unwrap_err();
    drop(save);
    assert!(prepared.is_for(&play.engine));
    play.engine.swap(*prepared, Timestamp(0)).unwrap();
    assert!(play.engine.mark().is_some());
}

#[test]
fn threads_that_submit_while_rules_change_lose_and_double_nothing() {
    let rules = "[[threshold]]; id = 'a'; on = 'attempt'; per = ['caller', 'trunk']; measure = 'count'; window = '1h'; warning = '>= 50'; ";
    let more = format!(
        "[[threshold]]; id = 'x'; on = 'attempt'; per = ['callee']; measure = 'count'; window = '1h'; warning = '>= 50'; {rules}"
    );
    let names = Arc::new(Names::new());
    let counted = Arc::new(Mutex::new((0u64, 0u64, 0u64, Vec::new())));
    let emit = {
        let counted = Arc::clone(&counted);
        Box::new(move |judged: &mut Judged| {
            let mut sum = counted.lock().unwrap();
            sum.0 += judged.verdicts.len() as u64;
            sum.1 += judged.violations.iter().filter(|v| output::rule_id(&judged.policy, v.rule) == "a").count() as u64;
            sum.2 += judged
                .counts
                .rules
                .iter()
                .filter(|c| output::rule_id(&judged.policy, c.rule) == "a")
                .map(|c| c.counted)
                .sum::<u64>();
            sum.3.push(judged.sequence);
        })
    };
    let settings = Settings { n_threads: 4, hash_seed: 3, emergency_callback_ms: 0 };
    let engine = Engine::new(Arc::new(policy(rules)), Arc::clone(&names), settings, emit);
    let context = Arc::new(FeedContext::file(names, DialPlan::default()));
    let under_way = std::sync::atomic::AtomicUsize::new(4);
    let answered = std::sync::atomic::AtomicU64::new(0);
    let n_swaps = std::thread::scope(|scope| {
        for thread in 0..4 {
            let (mut lane, context, under_way) = (engine.lane(PLAIN), Arc::clone(&context), &under_way);
            let answered = &answered;
            scope.spawn(move || {
                let (give, take) = std::sync::mpsc::channel();
                for n in 0..200 {
                    let lines: String =
                        (0..5).map(|i| json(&format!("t={n} +4670000{i} -> +46811 trunk=t{thread}")) + "\n").collect();
                    let mut batch = Batch::default();
                    Decoder::new(&Format::Ndjson, Arc::clone(&context)).decode(lines.into_bytes(), None, &mut batch);
                    let give = give.clone();
                    lane.ticket()
                        .submit(batch, Some(Box::new(move |judged: Judged| give.send(judged.verdicts.len()).unwrap())));
                }
                drop((give, lane));
                answered.fetch_add(take.iter().sum::<usize>() as u64, std::sync::atomic::Ordering::SeqCst);
                under_way.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        let mut n_swaps = 0;
        while under_way.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            let rules = if n_swaps % 2 == 0 { &more } else { rules };
            let prepared = engine.prepare(Arc::new(policy(rules)));
            engine.swap(prepared, Timestamp(START_MS)).unwrap();
            n_swaps += 1;
        }
        n_swaps
    });
    let (verdicts, violations, of_rule, order) = std::mem::take(&mut *counted.lock().unwrap());
    assert!(n_swaps > 0);
    assert_eq!((verdicts, violations, of_rule), (4_000, 20, 4_000));
    assert_eq!(answered.into_inner(), 4_000);
    assert!(order.is_sorted(), "handed out in the engine's order");
}
