//! How many decoded events a second does the whole engine judge, with one thread and with two? What do rules cost that an
//! event does not reach: those of other trunks, and those of other customers?
//!
//! `cargo bench --bench engine`. Rules and events in the manner of workload W1, from memory: no reading, no decoding,
//! and violations are counted, not printed. The events come round again, later each time, so that windows stay full.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringfence::engine::{Engine, Judged, Lane, LaneOptions, Settings};
use ringfence::event::{Batch, Names};
use ringfence::policy::Policy;

mod workload;
use workload::{CALLS_PER_HOUR, Call, Seeded, is_measuring, rules};

/// About what a block of 256 KiB holds.
const EVENTS_PER_BATCH: u64 = 1_000;
const N_BATCHES: u64 = 200;
const N_EVENTS: u64 = EVENTS_PER_BATCH * N_BATCHES;
/// Event time that one round of all batches takes.
const ROUND_MS: i64 = (N_EVENTS * 3_600_000 / CALLS_PER_HOUR) as i64;
/// Fills the window of ten minutes, and with it all keys that come often.
const WARM_ROUNDS: u32 = 5;

/// An engine and the batches that go round through it.
struct Round {
    lane: Mutex<Lane>,
    spare: Arc<Mutex<Vec<Batch>>>,
    n_threads: usize,
}

impl Round {
    fn new(policy: Arc<Policy>, n_threads: usize, n_violations: Arc<AtomicU64>) -> Round {
        let settings = Settings { n_threads, hash_seed: 0, emergency_callback_ms: 0 };
        let emit = move |judged: &mut Judged| {
            n_violations.fetch_add(judged.violations.len() as u64, Ordering::Relaxed);
        };
        let engine = Engine::new(policy, Arc::new(Names::new()), settings, Box::new(emit));
        let mut r = Seeded(42);
        let batch = |b: u64| {
            let mut batch = Batch::default();
            for n in b * EVENTS_PER_BATCH..(b + 1) * EVENTS_PER_BATCH {
                Call::draw(&mut r, n).add_to(&mut batch);
            }
            batch
        };
        let batches = (0..N_BATCHES).map(batch).collect();
        let lane = Mutex::new(engine.lane(LaneOptions::default()));
        let round = Round { lane, spare: Arc::new(Mutex::new(batches)), n_threads };
        for _ in 0..if is_measuring() { WARM_ROUNDS } else { 0 } {
            round.judge(round.later());
        }
        round
    }

    /// The batches, in order, a round later than they were.
    fn later(&self) -> Vec<Batch> {
        let mut batches = std::mem::take(&mut *self.spare.lock().expect("nobody panics"));
        assert_eq!(batches.len() as u64, N_BATCHES);
        for event in batches.iter_mut().flat_map(|b| &mut b.events) {
            event.time = event.time.plus_ms(ROUND_MS);
        }
        batches
    }

    /// As `replay` does: each thread takes the next batch and submits it.
    fn judge(&self, batches: Vec<Batch>) {
        let queue = Mutex::new(batches.into_iter());
        let work = || {
            loop {
                let (ticket, batch) = {
                    let mut queue = queue.lock().expect("nobody panics");
                    let Some(batch) = queue.next() else { return };
                    (self.lane.lock().expect("nobody panics").ticket(), batch)
                };
                let spare = Arc::clone(&self.spare);
                let done = move |judged: Judged| spare.lock().expect("nobody panics").push(judged.batch);
                ticket.submit(batch, Some(Box::new(done)));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.n_threads {
                scope.spawn(work);
            }
            work();
        });
    }
}

fn engine(c: &mut Criterion) {
    let policy = rules();
    measure(c, "engine", &[("1 thread", Arc::clone(&policy), 1), ("2 threads", policy, 2)]);
}

/// A thousand rules of which an event reaches twenty, found by its trunk and, written so that nothing is found by them,
/// asked one by one; and one rule, alone and with a thousand variants for customers who do not call.
fn reach(c: &mut Criterion) {
    let cases = [
        ("1,000 rules by trunk", of_trunks("trunk == \"NAME\"")),
        ("1,000 rules asked", of_trunks("(trunk == \"NAME\" or user_agent == \"nobody\")")),
        ("1 rule", of_customers(0)),
        ("1 rule, 1,000 variants", of_customers(1_000)),
    ];
    measure(c, "reach", &cases.map(|(name, policy)| (name, policy, 1)));
}

const HEAD: &str = "ringfence = 1\ndefault_action = \"allow\"\n";

fn of_trunks(condition: &str) -> Arc<Policy> {
    let mut rules = HEAD.to_owned();
    for n in 0..1_000 {
        let condition = condition.replace("NAME", &format!("trk-{:02}", n % 50));
        let rule = format!(
            "[[threshold]]\nid = \"r{n}\"\non = \"attempt\"\nwhere = '{condition} and callee in {{+1210{}*}}'\n\
             measure = \"count\"\nper = [\"caller\"]\nwindow = \"1m\"\nwarning = \">= 30\"\n",
            n % 7
        );
        rules.push_str(&rule);
    }
    workload::policy([("ruleset.toml", rules)])
}

fn of_customers(n_variants: usize) -> Arc<Policy> {
    let mut rules = HEAD.to_owned();
    rules.push_str(
        "[[threshold]]\nid = \"r\"\non = \"attempt\"\nmeasure = \"count\"\nper = [\"caller\"]\nwindow = \"1m\"\n\
         warning = \">= 30\"\n",
    );
    for n in 0..n_variants {
        let variant = format!("[[override]]\ncustomer = \"c{n}\"\nrule = \"r\"\nreason = \"x\"\nwarning = \">= 40\"\n");
        rules.push_str(&variant);
    }
    workload::policy([("ruleset.toml", rules)])
}

fn measure(c: &mut Criterion, name: &str, cases: &[(&str, Arc<Policy>, usize)]) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(N_EVENTS));
    for (name, policy, n_threads) in cases {
        let n_violations = Arc::new(AtomicU64::new(0));
        let mut round = None;
        group.bench_function(*name, |b| {
            let new = || Round::new(Arc::clone(policy), *n_threads, Arc::clone(&n_violations));
            let round = round.get_or_insert_with(new);
            b.iter_batched(|| round.later(), |batches| round.judge(batches), BatchSize::PerIteration);
        });
        if round.is_some() {
            eprintln!("violations found: {}", n_violations.load(Ordering::Relaxed));
        }
    }
    group.finish();
}

criterion_group!(benches, engine, reach);
criterion_main!(benches);
