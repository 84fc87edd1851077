//! How long does it take to save an engine of ten million keys, how long does one piece hold a lock, and how long does it
//! take to read all of it again?
//!
//! `cargo bench --bench saved`. One rule that counts attempts a caller; every caller called once, each tenth five times.

#![allow(clippy::print_stdout, reason = "the figures are the result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence::clock::Timestamp;
use ringfence::engine::{Engine, LaneOptions, SaveProgress, Settings};
use ringfence::event::{Batch, CallEvent, Kind, Names, Party};
use ringfence::policy::Policy;

mod workload;
use workload::{START_MS, is_measuring, number, policy};

const KEYS: u64 = 10_000_000;
const EVENTS_PER_BATCH: u64 = 1_000;

const RULES: &str = "ringfence = 1
default_action = 'allow'
[[threshold]]
id = 'rate'
on = 'attempt'
measure = 'count'
per = ['caller']
window = '1h'
warning = '>= 1000'
max_keys = 20000000
";

fn engine(policy: &Arc<Policy>) -> Engine {
    let settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: 0 };
    Engine::new(Arc::clone(policy), Arc::new(Names::new()), settings, Box::new(|_| {}))
}

fn fill(engine: &Engine, n_keys: u64) {
    let mut lane = engine.lane(LaneOptions::default());
    let callers = (0..n_keys).chain((0..4 * n_keys / 10).map(|n| n % (n_keys / 10) * 10));
    let mut batch = Batch::default();
    for (n, caller) in callers.enumerate() {
        let caller = Party { number: number(4_670_000_000 + caller), ..Party::default() };
        let time = Timestamp(START_MS + n as i64 / 10_000);
        batch.events.push(CallEvent { time, kind: Kind::Attempt, caller, ..CallEvent::BLANK });
        if batch.events.len() as u64 == EVENTS_PER_BATCH {
            lane.ticket().submit(std::mem::take(&mut batch), None);
        }
    }
    lane.ticket().submit(batch, None);
}

fn main() {
    let n_keys = if is_measuring() { KEYS } else { KEYS / 1000 };
    let policy = policy([("ruleset.toml", RULES.to_owned())]);
    let first = engine(&policy);
    fill(&first, n_keys);

    let begun = Instant::now();
    let mut save = first.mark().expect("no other save is under way");
    let mark = begun.elapsed();
    let (mut pieces, mut times) = (Vec::new(), Vec::new());
    loop {
        let mut piece = Vec::with_capacity(64 << 10);
        let begun = Instant::now();
        let progress = save.piece(&mut piece);
        times.push(begun.elapsed());
        pieces.push(piece);
        match progress {
            SaveProgress::More => {}
            SaveProgress::Done => break,
            other => panic!("nothing stands in the way: {other:?}"),
        }
    }
    drop(save);
    times.sort_unstable();
    let total: Duration = times.iter().sum();
    let bytes: usize = pieces.iter().map(Vec::len).sum();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("mark: {mark:?}");
    println!("save: {n_keys} keys, {bytes} bytes in {} pieces, {total:?}", pieces.len());
    println!("piece: median {:?}, 99 % {:?}, longest {:?}", at(0.5), at(0.99), at(1.0));

    drop(first);
    let second = engine(&policy);
    let begun = Instant::now();
    second.restore(pieces.iter().map(Ok)).expect("what was saved can be read");
    println!("restore: {:?}", begun.elapsed());
    black_box(second);
}
