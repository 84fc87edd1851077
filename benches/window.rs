//! What does one update of a window cost, by measure, by the items a key's window holds, and by the number of keys?
//!
//! `cargo bench --bench window`. Events go through the whole engine with one rule; `no rule` is what the engine itself
//! takes of each figure. Windows are full before anything is measured: every update also expires an item.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringfence::clock::Timestamp;
use ringfence::engine::{Engine, Judged, Lane, LaneOptions, Settings};
use ringfence::event::{Batch, CallEvent, Kind, Names, Number, Party, Status};

mod workload;
use workload::{START_MS, Seeded, is_measuring, number, policy};

const N_EVENTS: usize = 1024;
const WINDOW_MS: u64 = 60_000;
const CALLEES: u64 = 100_000;

/// Measure, and a level that about twice the items of a window would reach: what most keys of a good rule are at.
const MEASURES: [(&str, Level); 5] = [
    ("count", |items| format!(">= {}", items * 2)),
    ("distinct(callee)", |items| format!(">= {}", items * 2)),
    ("sum(duration)", |items| format!(">= {}m", items * 10)),
    ("share(duration < 10s)", |_| ">= 20%".to_owned()),
    ("run(callee, 3)", |_| ">= 20".to_owned()),
];
/// The level for so many items in a window.
type Level = fn(u64) -> String;
/// `(items in the window of a key, keys)`.
const SHAPES: [(u64, u64); 3] = [(10, 1_000), (500, 1_000), (10, 100_000)];

/// An engine with one rule, and the one batch that goes through it again and again, later each time.
struct Stream {
    lane: Lane,
    spare: Arc<Mutex<Batch>>,
    r: Seeded,
    keys: Vec<Number>,
    callees: Vec<Number>,
    n: u64,
    events_per_minute: u64,
}

impl Stream {
    fn new(rule: &str, items: u64, n_keys: u64) -> Stream {
        let ruleset = format!("ringfence = 1\ndefault_action = \"allow\"\n{rule}");
        let settings = Settings { n_threads: 1, hash_seed: 0, emergency_callback_ms: 0 };
        let policy = policy([("ruleset.toml", ruleset)]);
        let engine = Engine::new(policy, Arc::new(Names::new()), settings, Box::new(|_| {}));
        let event = CallEvent { kind: Kind::End, status: Status::Answered, ..CallEvent::BLANK };
        let mut stream = Stream {
            lane: engine.lane(LaneOptions::default()),
            spare: Arc::new(Mutex::new(Batch { events: vec![event; N_EVENTS], ..Batch::default() })),
            r: Seeded(42),
            keys: (0..n_keys).map(|i| number(46_700_000_000 + i)).collect(),
            callees: (0..CALLEES).map(|i| number(46_840_000_000 + i)).collect(),
            n: 0,
            events_per_minute: items * n_keys,
        };
        let n_warm = if is_measuring() { items * n_keys * 5 / 4 } else { 0 };
        while stream.n < n_warm {
            let batch = stream.next();
            stream.judge(batch);
        }
        stream
    }

    fn next(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut *self.spare.lock().expect("nobody panics"));
        for event in &mut batch.events {
            let pick = |r: &mut Seeded, of: &[Number]| of[r.below(of.len() as u64) as usize];
            event.time = Timestamp(START_MS + (self.n * WINDOW_MS / self.events_per_minute) as i64);
            event.caller = Party { number: pick(&mut self.r, &self.keys), ..Party::default() };
            event.callee = Party { number: pick(&mut self.r, &self.callees), ..Party::default() };
            event.duration_ms = self.r.below(600_000) as u32;
            self.n += 1;
        }
        batch
    }

    fn judge(&mut self, batch: Batch) {
        let spare = Arc::clone(&self.spare);
        let done = Box::new(move |judged: Judged| {
            *spare.lock().expect("nobody panics") = judged.batch;
        });
        self.lane.ticket().submit(batch, Some(done));
    }
}

fn window(c: &mut Criterion) {
    let mut group = c.benchmark_group("window");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(N_EVENTS as u64));
    let mut bench = |name: String, rule: String, items, n_keys| {
        // Made when first run, so that a filter on the command line spares the others.
        let mut stream = None;
        group.bench_function(name, |b| {
            let stream = stream.get_or_insert_with(|| RefCell::new(Stream::new(&rule, items, n_keys)));
            let (next, judge) = (|| stream.borrow_mut().next(), |batch| stream.borrow_mut().judge(batch));
            b.iter_batched(next, judge, BatchSize::PerIteration);
        });
    };
    bench("no rule".into(), String::new(), 10, 1_000);
    for (measure, level) in MEASURES {
        for (items, n_keys) in SHAPES {
            let rule = format!(
                "[[threshold]]\nid = \"ips-bench\"\non = \"end\"\nmeasure = \"{measure}\"\nper = [\"caller\"]\n\
                 window = \"1m\"\nmax_keys = 200000\nwarning = \"{}\"\n",
                level(items)
            );
            bench(format!("{measure}, {items} items, {n_keys} keys"), rule, items, n_keys);
        }
    }
    group.finish();
}

criterion_group!(benches, window);
criterion_main!(benches);
