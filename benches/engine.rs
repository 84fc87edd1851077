//! How many decoded events a second does the whole engine judge, with one thread and with two?
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
    let mut group = c.benchmark_group("engine");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(N_EVENTS));
    for (name, n_threads) in [("1 thread", 1), ("2 threads", 2)] {
        let n_violations = Arc::new(AtomicU64::new(0));
        let mut round = None;
        group.bench_function(name, |b| {
            let new = || Round::new(Arc::clone(&policy), n_threads, Arc::clone(&n_violations));
            let round = round.get_or_insert_with(new);
            b.iter_batched(|| round.later(), |batches| round.judge(batches), BatchSize::PerIteration);
        });
        if round.is_some() {
            eprintln!("violations found: {}", n_violations.load(Ordering::Relaxed));
        }
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
