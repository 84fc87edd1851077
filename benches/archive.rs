//! What an event costs in the archive, in bytes and in time, and how long one number's calls of a day take to be found.
//!
//! `RINGFENCE_ARCHIVE_HOURS=20` writes 100 million events. With `RINGFENCE_ARCHIVE_FOLDER` they are kept, and a folder
//! that has an archive already is only queried: that is how a cold cache is measured. `RINGFENCE_ARCHIVE_INPUT` names
//! an ndjson file to take the calls of an hour from instead of those the benches share.

#![allow(clippy::print_stdout, reason = "the figures are the result")]

mod workload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ringfence::archive::{Archive, ArchiveError, Query};
use ringfence::clock::Timestamp;
use ringfence::engine::{LaneOptions, Verdict};
use ringfence::event::dialplan::DialPlan;
use ringfence::event::{Batch, Names};
use ringfence::ingest::{Decoder, FeedContext, Format, Source, Style};
use ringfence::journal::{Context, Entry, Record};
use ringfence::storage::Disk;
use workload::{CALLS_PER_HOUR, Call, START_MS, Seeded, is_measuring};

const EVENTS_PER_BATCH: u64 = 1000;
const HOUR_MS: i64 = 3_600_000;
/// Events of a round, about: a file each.
const ROUND_EVENTS: u64 = 1_250_000;

/// The calls of one hour, as a feed brings them.
fn hour(names: &Arc<Names>) -> Vec<Batch> {
    let context = Arc::new(FeedContext::file(Arc::clone(names), DialPlan::default()));
    let mut decoder = Decoder::new(&Format::Ndjson, context);
    let mut decode = |block| {
        let mut batch = Batch::default();
        decoder.decode(block, None, &mut batch);
        batch
    };
    if let Some(path) = std::env::var_os("RINGFENCE_ARCHIVE_INPUT") {
        let mut source = Source::open(Path::new(&path), Style::Lines).expect("opens");
        return std::iter::from_fn(|| source.block().expect("reads").map(&mut decode)).collect();
    }
    let n_calls = if is_measuring() { CALLS_PER_HOUR } else { 10_000 };
    let mut seeded = Seeded(7);
    let lines = |from: u64| {
        let mut text = String::new();
        (from..from + EVENTS_PER_BATCH).for_each(|n| Call::draw(&mut seeded, n).write(&mut text, n + 1, "cdr"));
        decode(text.into_bytes())
    };
    (0..n_calls).step_by(EVENTS_PER_BATCH as usize).map(lines).collect()
}

/// Nanoseconds that this thread has computed.
fn computed_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn fill(archive: &mut Archive, names: &Arc<Names>, hours: i64) {
    let context =
        Arc::new(Context { policy_version: "bench".into(), feeds: vec!["bench".into()], ..Context::default() });
    let mut batches = hour(names);
    let (mut number, mut position, mut computed, mut bytes) = (0, 1, 0, 0);
    for hour in 0..hours {
        let mut rest = std::mem::take(&mut batches).into_iter().peekable();
        while rest.peek().is_some() {
            // As they come from the journal: one after the other, made before and thrown away after.
            let (mut records, mut n) = (Vec::new(), 0);
            while n < ROUND_EVENTS
                && let Some(mut batch) = rest.next()
            {
                number += 1;
                batch.source.arrival = Timestamp(START_MS + hour * HOUR_MS);
                let verdicts = vec![Verdict::default(); batch.events.len()];
                let (options, flags, tracked) = (LaneOptions::default(), Vec::new(), Vec::new());
                let n_events = batch.events.len() as u64;
                let entry = Entry::Batch { position, options, batch, verdicts, flags, tracked };
                records.push(Record { number, context: Arc::clone(&context), entry });
                position += n_events;
                n += n_events;
            }
            let before = computed_ns();
            let handed = records.iter_mut().map(|record| {
                let entry = std::mem::replace(&mut record.entry, Entry::Tick(Timestamp(0)));
                let Entry::Batch { batch, .. } = &entry else { unreachable!("all are batches") };
                let mut next = Batch::default();
                next.block.clone_from(&batch.block);
                next.side.clone_from(&batch.side);
                next.events.extend(batch.events.iter().map(|event| {
                    let mut event = *event;
                    event.time = event.time.plus_ms(HOUR_MS);
                    event
                }));
                batches.push(next);
                Ok::<_, ArchiveError>(Record { number: record.number, context: Arc::clone(&record.context), entry })
            });
            let round = archive.write_round(names, handed, number + 1).expect("archives");
            computed += computed_ns() - before;
            bytes += round.bytes;
        }
    }
    let events = position - 1;
    println!("write: {events} events, {:.1} bytes an event", bytes as f64 / events as f64);
    println!("write: {:.2} us of computing an event, copying the hour included", computed as f64 / events as f64 / 1e3);
}

fn query(archive: &Archive, names: &Arc<Names>, number: &str) {
    let began = Instant::now();
    let query = Query { number: Some(number.to_owned()), n_threads: 2, ..Query::default() };
    let query = Query { from: Some(Timestamp(START_MS)), to: Some(Timestamp(START_MS + 24 * HOUR_MS)), ..query };
    let found: usize =
        archive.events(&query, Arc::clone(names)).map(|slice| slice.expect("reads").positions.len()).sum();
    println!("query: {number}: {found} events of a day in {:.3} s", began.elapsed().as_secs_f64());
}

fn main() {
    let names = Arc::new(Names::new());
    let kept = std::env::var_os("RINGFENCE_ARCHIVE_FOLDER").map(PathBuf::from);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = kept.unwrap_or_else(|| temporary.path().join("archive"));
    if !Archive::is_at(&folder) {
        let hours = std::env::var("RINGFENCE_ARCHIVE_HOURS").ok().and_then(|hours| hours.parse().ok()).unwrap_or(1);
        fill(&mut Archive::open(&Disk::real(), &folder).expect("opens"), &names, hours);
    }
    let archive = Archive::read(&folder).expect("opens");
    let rows: u64 = archive.files().map(|file| file.rows).sum();
    println!("query: over {rows} events in {} files", archive.files().count());
    let numbers = std::env::var("RINGFENCE_ARCHIVE_NUMBERS");
    let numbers = numbers.unwrap_or_else(|_| "+12100006151,+12105425182,+12120000000,+99999999".to_owned());
    for number in numbers.split(',') {
        query(&archive, &names, number);
        query(&archive, &names, number);
    }
}
