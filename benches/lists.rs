//! What does a list of a million numbers cost: to load, to keep, to look a number up in, one by one and batched?
//! And what do a plain number and a look-up in the numbering tables cost beside it?

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringfence::clock::Timestamp;
use ringfence::event::dialplan::{DialPlan, Scratch};
use ringfence::event::numbering::{Numbering, NumberingFiles};
use ringfence::event::{Number, NumberPattern};
use ringfence::policy::number_set::{EntryNote, NumberSet, NumberSetBuilder};

const N: u64 = 1_000_000;
const PROBES: usize = 4_096;
const AT: Timestamp = Timestamp(0);

/// The i-th listed number for even i, else one that is not listed.
fn value(i: u64) -> u64 {
    46_000_000_000 + (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30) % 5_000_000_000 * 2 + i % 2
}

fn number(i: u64) -> Number {
    Number::e164(value(i).to_string().as_bytes()).unwrap_or_default()
}

fn texts() -> Vec<String> {
    (0..N).map(|i| format!("+{}", value(i * 2))).collect()
}

fn load(texts: &[String]) -> NumberSet {
    let mut builder = NumberSetBuilder::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        if let Ok(pattern) = NumberPattern::parse(text.as_bytes()) {
            builder.pattern(pattern, EntryNote { line: i as u32 + 1, ..EntryNote::default() });
        }
    }
    builder.build()
}

fn lists(c: &mut Criterion) {
    let texts = texts();
    let set = load(&texts);
    eprintln!("{} numbers, {:.1} bytes each", set.len(), set.memory_bytes() as f64 / set.len() as f64);
    let mut group = c.benchmark_group("list of 1M");
    group.sample_size(10);
    group.throughput(Throughput::Elements(N));
    group.bench_function("load", |b| b.iter_batched(|| (), |()| load(&texts), BatchSize::PerIteration));
    group.throughput(Throughput::Elements(PROBES as u64));
    for (name, odd) in [("hit", 0), ("miss", 1)] {
        // Probes wander over the list, or the same few lines would stay in the cache.
        let probes: Vec<Vec<Number>> = (0..64u64)
            .map(|round| (0..PROBES as u64).map(|i| number((round * PROBES as u64 + i) * 7919 % N * 2 + odd)).collect())
            .collect();
        let mut round = 0;
        group.bench_function(format!("{name}, one by one"), |b| {
            b.iter(|| {
                round += 1;
                probes[round % 64].iter().filter(|n| set.contains(**n, AT)).count()
            })
        });
        let mut found = Vec::new();
        group.bench_function(format!("{name}, batched"), |b| {
            b.iter(|| {
                round += 1;
                found.clear();
                set.contains_many(&probes[round % 64], AT, &mut found);
                found.iter().filter(|hit| **hit).count()
            })
        });
    }
    group.finish();
}

fn numbers(c: &mut Criterion) {
    let numbering = Numbering::builtin();
    let (plan, mut scratch) = (DialPlan::default(), Scratch::default());
    let texts: Vec<String> = (0..PROBES as u64).map(|i| format!("+{}", value(i))).collect();
    let numbers: Vec<Number> = (0..PROBES as u64).map(number).collect();
    let mut group = c.benchmark_group("numbers");
    group.throughput(Throughput::Elements(PROBES as u64));
    group.bench_function("normalise +digits", |b| {
        b.iter(|| texts.iter().map(|t| plan.normalise(t.as_bytes(), &mut scratch).number.bits()).fold(0, |a, b| a ^ b))
    });
    group.bench_function("country", |b| b.iter(|| numbers.iter().filter(|n| numbering.country(**n).is_some()).count()));
    group.bench_function("class", |b| b.iter(|| numbers.iter().map(|n| numbering.class(*n) as u64).sum::<u64>()));
    group.throughput(Throughput::Elements(1));
    group.bench_function("build tables", |b| b.iter(|| Numbering::parse(black_box(NumberingFiles::BUILTIN)).is_ok()));
    group.finish();
}

criterion_group!(benches, lists, numbers);
criterion_main!(benches);
