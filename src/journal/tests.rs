//! Tests of the journal as a whole: what was announced as durable is read back, whatever the disk does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::clock::Timestamp;
use crate::engine::{Judged, Verdict};
use crate::event::{CallEvent, Flags, GatewayId};
use crate::storage::{Disk, Faults, Operation};

const GATEWAY: GatewayId = GatewayId(1);

/// A journal of small groups and segments on a disk, and what it announced.
struct Bench {
    journal: Journal,
    committed: Arc<Mutex<Vec<Committed>>>,
    /// What was appended, by record.
    appended: BTreeMap<u64, String>,
    next_seq: u64,
}

/// In memory where there is such a disk: these tests sync some thousand times.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

fn settings(durability: Durability) -> Settings {
    Settings {
        durability,
        group_commit: Duration::ZERO,
        fsync_interval: Duration::ZERO,
        segment_bytes: 700,
        retry: Duration::from_millis(1),
        ..Settings::default()
    }
}

/// What recovery reads: the records in order, as texts, and the report.
fn read(folder: &Path) -> (BTreeMap<u64, String>, Report, Ledger) {
    let mut reader = Reader::open(&Disk::real(), folder, 1..=u64::MAX).expect("the folder can be listed");
    let (mut found, mut ledger) = (BTreeMap::new(), Ledger::new());
    let mut last = 0;
    for record in reader.by_ref() {
        let record = record.expect("what is whole is understood");
        assert!(record.number > last, "in order, none twice");
        last = record.number;
        if let Entry::Batch { batch, .. } = &record.entry {
            pending::note(&mut ledger, batch.source.gateway, batch.source.highest_seq);
        }
        found.insert(record.number, told(&record));
    }
    (found, reader.report().clone(), ledger)
}

fn told(record: &Record) -> String {
    match &record.entry {
        Entry::Tick(at) => format!("tick {}", at.0),
        Entry::Batch { position, batch, .. } => {
            let texts = batch.events.iter().map(|e| String::from_utf8_lossy(batch.text(e.call_id)).into_owned());
            format!("{position} {} {:?}", batch.source.highest_seq, texts.collect::<Vec<_>>())
        }
    }
}

fn batch(call_ids: &[String], highest_seq: u64) -> Judged {
    let mut judged = Judged::default();
    judged.batch.source.gateway = GATEWAY;
    judged.batch.source.highest_seq = highest_seq;
    for call_id in call_ids {
        let call_id = judged.batch.keep(call_id.as_bytes());
        judged.batch.events.push(CallEvent { call_id, gateway: GATEWAY, ..CallEvent::BLANK });
        judged.verdicts.push(Verdict::default());
    }
    judged
}

impl Bench {
    fn open(folder: &Path, disk: Disk, settings: Settings) -> std::io::Result<Bench> {
        let real = Disk::real();
        let identity = Identity::open(&real, folder)?;
        let (appended, report, ledger) = read(folder);
        let start =
            Start { last_record: report.last_record, next_position: report.next_position, ledger, cut: report.cut };
        let (names, _) = NamesFile::open(&disk, folder)?;
        names.names().gateway("g1");
        let committed = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&committed);
        let next_seq = start.ledger.get(&GATEWAY).copied().unwrap_or(0) + 1;
        let journal = Journal::open(Options {
            disk,
            folder: folder.to_owned(),
            settings,
            identity,
            names,
            context: Arc::default(),
            start,
            listener: Box::new(move |commit| told.lock().expect("no panic").push(commit)),
        })?;
        Ok(Bench { journal, committed, appended, next_seq })
    }

    /// Appends a batch of one to three events, or a tick.
    fn append(&mut self) -> u64 {
        let n = self.appended.len() as u64;
        let mut judged = Judged { tick: Some(Timestamp(n as i64)), ..Judged::default() };
        let seq = self.next_seq;
        if n % 4 != 3 {
            let call_ids: Vec<String> = (0..=n % 3).map(|i| format!("call-{n}-{i}")).collect();
            judged = batch(&call_ids, seq);
            self.next_seq += 1;
        }
        let Appended::Record { number, position } = self.journal.append(&mut judged) else { panic!("there is room") };
        assert_eq!(judged.record, number);
        let entry = match judged.tick {
            Some(at) => Entry::Tick(at),
            None => Entry::Batch {
                position,
                options: judged.options,
                batch: judged.batch,
                verdicts: judged.verdicts,
                flags: Vec::new(),
                tracked: Vec::new(),
            },
        };
        self.appended.insert(number, told(&Record { number, context: Arc::default(), entry }));
        number
    }

    /// Until the record is durable, or it is clear that it does not become so for now.
    fn wait(&self, record: u64) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.journal.committed() < record && self.journal.stuck().is_none() {
            assert!(Instant::now() < end, "neither durable nor stuck");
            std::thread::yield_now();
        }
    }

    fn last_committed(&self) -> (u64, u64) {
        let committed = self.committed.lock().expect("no panic");
        assert!(committed.is_sorted_by_key(|c| c.record));
        let seqs = committed.iter().flat_map(|c| c.accounts.iter()).map(|(gateway, seq)| {
            assert_eq!(*gateway, GATEWAY);
            *seq
        });
        (committed.last().map_or(0, |c| c.record), seqs.max().unwrap_or(0))
    }

    /// What is read is what was appended, from the first on and at least as far as was announced.
    fn check(&self, folder: &Path, what: &str) -> Report {
        let (found, report, ledger) = read(folder);
        let (record, seq) = self.last_committed();
        let n = found.len() as u64;
        assert!(n >= record, "{what}: {n} records of {record} announced: {report:?}");
        assert!(ledger.get(&GATEWAY).copied().unwrap_or(0) >= seq, "{what}: seq {seq} was announced");
        let expected: Vec<_> = self.appended.iter().take(found.len()).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{what}");
        assert_eq!((report.n_lost_records, report.n_mended), (0, 0), "{what}: {report:?}");
        report
    }
}

#[test]
fn what_is_appended_is_read_back_and_the_journal_goes_on_behind_it() {
    for durability in [Durability::Ack, Durability::Interval, Durability::None] {
        let folder = folder();
        let mut next = 1;
        for _ in 0..3 {
            let mut bench = Bench::open(folder.path(), Disk::real(), settings(durability)).expect("opens");
            for _ in 0..20 {
                assert_eq!(bench.append(), next);
                next += 1;
            }
            bench.journal.close().expect("the disk is well");
            assert_eq!(bench.last_committed().0, next - 1);
            assert_eq!(bench.journal.durable_seq(GATEWAY), bench.next_seq - 1);
            assert_eq!(bench.journal.counts().backlog_bytes, 0);
            let report = bench.check(folder.path(), "no faults");
            assert_eq!((report.last_record, report.cut), (next - 1, None));
        }
        assert!(segments(&Disk::real(), folder.path()).expect("lists").len() > 1, "segments roll");
    }
}

#[test]
fn whatever_operation_fails_what_was_announced_is_read_back() {
    for (durability, times) in [
        (Durability::Ack, 1),
        (Durability::Ack, 3),
        (Durability::Ack, u64::MAX),
        (Durability::Interval, 2),
        (Durability::None, 2),
    ] {
        for k in 1.. {
            let folder = folder();
            let faults = Arc::new(Faults::default());
            faults.fail(None, k, times);
            let what = format!("{durability:?}, operation {k} and {times} on");
            let disk = Disk::failing(Arc::clone(&faults));
            let Ok(mut bench) = Bench::open(folder.path(), disk, settings(durability)) else { continue };
            for _ in 0..12 {
                let record = bench.append();
                bench.wait(record);
            }
            if times < 4 {
                bench.wait_for(|bench| bench.last_committed().0 == 12);
            }
            let closed = bench.journal.close();
            bench.check(folder.path(), &what);
            if times < 4 {
                assert_eq!(closed, Ok(()), "{what}");
            }
            let (found, ..) = read(folder.path());
            let mut again = Bench::open(folder.path(), Disk::real(), settings(durability)).expect("opens");
            assert_eq!(again.append(), found.len() as u64 + 1, "{what}");
            again.journal.close().expect("the disk is well");
            again.check(folder.path(), &what);
            if faults.n_begun() < k {
                assert!(k > 20, "the faults were met");
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_holds_acknowledgements_back_and_nothing_else() {
    let folder = folder();
    let faults = Arc::new(Faults::default());
    let disk = Disk::failing(Arc::clone(&faults));
    let mut bench = Bench::open(folder.path(), disk, settings(Durability::Ack)).expect("opens");
    let first = bench.append();
    bench.wait(first);
    faults.set_room(Some(20));
    let second = bench.append();
    bench.wait(second);
    assert!(bench.journal.stuck().is_some_and(|stuck| stuck.why.contains("no space left")));
    assert!(!bench.journal.has_room());
    for _ in 0..5 {
        bench.append();
    }
    assert_eq!(bench.last_committed().0, first);
    bench.check(folder.path(), "full");
    faults.set_room(None);
    bench.journal.close().expect("there is room again");
    assert_eq!(bench.last_committed().0, 7);
    assert!(bench.journal.has_room());
    bench.check(folder.path(), "room again");
}

#[test]
fn short_writes_change_nothing() {
    let folder = folder();
    let faults = Arc::new(Faults::default());
    faults.set_write_bytes_max(Some(3));
    let mut bench = Bench::open(folder.path(), Disk::failing(faults), settings(Durability::Ack)).expect("opens");
    for _ in 0..9 {
        bench.append();
    }
    bench.journal.close().expect("it takes longer");
    assert_eq!(bench.last_committed().0, 9);
    bench.check(folder.path(), "short writes");
}

#[test]
fn what_is_left_out_holds_acknowledgements_until_a_snapshot_has_it() {
    let folder = folder();
    let faults = Arc::new(Faults::default());
    faults.fail(Some(Operation::Create), 1, u64::MAX);
    let disk = Disk::failing(Arc::clone(&faults));
    let mut bench = Bench::open(folder.path(), disk, settings(Durability::Ack)).expect("opens");
    let first = bench.append();
    bench.wait(first);
    let large = vec!["c".repeat(1000); 20_000];
    let mut seq = 100;
    while bench.journal.append(&mut batch(&large, seq)) != Appended::Outside {
        seq += 1;
    }
    assert!(bench.journal.needs_snapshot());
    let mark = bench.journal.mark();
    assert_eq!(mark.ledger.get(&GATEWAY), Some(&seq), "a snapshot knows of what was left out");
    assert_eq!(mark.last_record, 1 + seq - 100, "it took no number");
    faults.heal();
    bench.wait_for(|bench| bench.last_committed().0 == mark.last_record);
    bench.wait_for(|bench| bench.journal.has_room());
    let Appended::Record { number, .. } = bench.journal.append(&mut batch(&["late".into()], seq + 1)) else {
        panic!("there is room again")
    };
    bench.wait_for(|bench| bench.last_committed().0 == number);
    assert_eq!(bench.last_committed(), (number, seq - 1), "what came behind is held");
    bench.journal.resume(&mark);
    bench.wait_for(|bench| !bench.journal.needs_snapshot());
    bench.journal.close().expect("the disk is well");
    assert_eq!(bench.last_committed(), (number, seq + 1));
    assert_eq!(bench.journal.durable_seq(GATEWAY), seq + 1);
}

impl Bench {
    fn wait_for(&self, is_so: impl Fn(&Bench) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(Instant::now() < end, "it does not come: {:?}", self.journal.counts());
            std::thread::yield_now();
        }
    }
}

#[test]
fn duplicates_and_empty_batches_take_no_position() {
    let folder = folder();
    let bench = Bench::open(folder.path(), Disk::real(), settings(Durability::None)).expect("opens");
    assert_eq!(bench.journal.append(&mut Judged::default()), Appended::Nothing);
    let mut twice = batch(&["a".into(), "a".into(), "b".into()], 3);
    twice.batch.events[1].flags.set(Flags::DUPLICATE);
    assert_eq!(bench.journal.append(&mut twice), Appended::Record { number: 1, position: 1 });
    assert_eq!(bench.journal.append(&mut batch(&[], 9)), Appended::Record { number: 2, position: 3 });
    assert_eq!(bench.journal.append(&mut batch(&["c".into()], 0)), Appended::Record { number: 3, position: 3 });
    bench.journal.close().expect("the disk is well");
    let (found, ..) = read(folder.path());
    assert_eq!(found.into_values().collect::<Vec<_>>(), ["1 3 [\"a\", \"b\"]", "3 9 []", "3 0 [\"c\"]"]);
    assert_eq!(bench.journal.durable_seq(GATEWAY), 9);
    assert_eq!(bench.journal.append(&mut batch(&["d".into()], 0)), Appended::Outside, "it is closed");
}

#[test]
fn records_know_the_context_they_were_written_in_and_readers_may_begin_anywhere() {
    let folder = folder();
    let context = |version: &str| Arc::new(Context { policy_version: version.into(), ..Context::default() });
    let mut bench = Bench::open(folder.path(), Disk::real(), settings(Durability::Ack)).expect("opens");
    for n in 1..=30 {
        if n % 3 == 0 {
            bench.journal.set_context(context("never used"));
            bench.journal.set_context(context(&format!("v{}", n / 3)));
        }
        let record = bench.append();
        bench.wait(record);
    }
    bench.journal.close().expect("the disk is well");
    for from in 1..=31 {
        let records = Reader::open(&Disk::real(), folder.path(), from..=20).expect("opens");
        let found: Vec<_> = records.map(|r| r.expect("whole")).map(|r| (r.number, r.context)).collect();
        let version = |n: u64| if n < 3 { String::new() } else { format!("v{}", n / 3) };
        let expected: Vec<_> = (from..=20).map(|n| (n, context(&version(n)))).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn trimming_takes_whole_segments_and_never_the_last() {
    let folder = folder();
    let mut bench = Bench::open(folder.path(), Disk::real(), settings(Durability::Ack)).expect("opens");
    for _ in 0..30 {
        let record = bench.append();
        bench.wait(record);
    }
    let all = segments(&Disk::real(), folder.path()).expect("lists");
    assert!(all.len() > 3);
    assert_eq!(bench.journal.trim(all[2].first - 1).expect("trims"), 1);
    assert_eq!(bench.journal.trim(u64::MAX).expect("trims"), all.len() - 2);
    let last = all.last().expect("there are some").first;
    let reader = Reader::open(&Disk::real(), folder.path(), 1..=u64::MAX).expect("opens");
    assert_eq!(reader.report().lost, [Lost { records: 1..last, positions: 0..0 }], "what is gone is told");
    let reader = Reader::open(&Disk::real(), folder.path(), last..=u64::MAX).expect("opens");
    assert_eq!(reader.report().lost, []);
    assert_eq!(reader.count() as u64, 31 - last);
}

#[test]
fn a_segment_cut_at_any_length_gives_the_records_before_the_cut() {
    let folder = folder();
    let big = Settings { segment_bytes: 1 << 20, ..settings(Durability::Ack) };
    let mut bench = Bench::open(folder.path(), Disk::real(), big).expect("opens");
    for _ in 0..8 {
        let record = bench.append();
        bench.wait(record);
    }
    bench.journal.close().expect("the disk is well");
    let path = segments(&Disk::real(), folder.path()).expect("lists")[0].path.clone();
    let whole = std::fs::read(&path).expect("reads");
    let mut n_before = 8;
    for len in (0..whole.len()).rev() {
        std::fs::write(&path, &whole[..len]).expect("writes");
        let (found, report, _) = read(folder.path());
        assert!(found.len() <= n_before && found.len() + 1 >= n_before, "one record at a time");
        n_before = found.len();
        assert_eq!(found, bench.appended.iter().take(n_before).map(|(n, t)| (*n, t.clone())).collect());
        let good = report.cut.as_ref().map_or(len as u64, |cut| cut.at);
        assert!(good <= len as u64 && report.n_lost_records == 0);
        if len % 7 == 0 {
            let mut again = Bench::open(folder.path(), Disk::real(), big).expect("opens");
            assert_eq!(again.append(), n_before as u64 + 1);
            again.journal.close().expect("the disk is well");
            let report = again.check(folder.path(), "behind a cut");
            assert_eq!((report.cut, report.n_damages), (None, 0), "it was cut off");
            for segment in segments(&Disk::real(), folder.path()).expect("lists") {
                std::fs::remove_file(segment.path).expect("removes");
            }
        }
    }
    assert_eq!(n_before, 0);
}

#[test]
fn damage_in_the_middle_costs_what_it_hit_and_says_which() {
    let folder = folder();
    let mut bench = Bench::open(folder.path(), Disk::real(), settings(Durability::Ack)).expect("opens");
    for _ in 0..12 {
        let record = bench.append();
        bench.wait(record);
    }
    bench.journal.close().expect("the disk is well");
    for segment in segments(&Disk::real(), folder.path()).expect("lists") {
        let whole = std::fs::read(&segment.path).expect("reads");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&segment.path, &flipped).expect("writes");
            let (found, report, _) = read(folder.path());
            assert_eq!((&found, report.n_mended), (&bench.appended, 1), "one bit is mended");

            flipped[at] = !whole[at];
            std::fs::write(&segment.path, &flipped).expect("writes");
            let (found, report, _) = read(folder.path());
            let missing: Vec<u64> = bench.appended.keys().copied().filter(|n| !found.contains_key(n)).collect();
            assert!(missing.len() <= 1, "{missing:?}");
            let told: Vec<u64> = report.lost.iter().flat_map(|lost| lost.records.clone()).collect();
            match &report.cut {
                // The very last record: nobody can tell whether it was ever announced.
                Some(_) => assert_eq!((told, missing), (vec![], vec![12])),
                None => assert_eq!(told, missing),
            }
            assert!(found.iter().all(|(n, text)| bench.appended[n] == *text));
            assert!(report.n_damages > 0 || report.cut.is_some());
        }
        std::fs::write(&segment.path, &whole).expect("writes");
    }
    bench.check(folder.path(), "as it was");
}

#[test]
fn a_segment_that_is_gone_or_empty_is_told_with_its_positions() {
    let folder = folder();
    let mut bench = Bench::open(folder.path(), Disk::real(), settings(Durability::Ack)).expect("opens");
    for _ in 0..30 {
        let record = bench.append();
        bench.wait(record);
    }
    bench.journal.close().expect("the disk is well");
    let all = segments(&Disk::real(), folder.path()).expect("lists");
    let position = |n: u64| bench.appended.range(n..).find_map(|(_, t)| t.split(' ').next()?.parse().ok());
    for remove in [false, true] {
        let (gone, next) = (&all[1], &all[2]);
        let whole = std::fs::read(&gone.path).expect("reads");
        std::fs::write(&gone.path, b"").expect("writes");
        if remove {
            std::fs::remove_file(&gone.path).expect("removes");
        }
        let (found, report, _) = read(folder.path());
        assert_eq!(found.len() as u64, 30 - (next.first - gone.first));
        let positions = position(gone.first).expect("events")..position(next.first).expect("events");
        assert_eq!(report.lost, [Lost { records: gone.first..next.first, positions: positions.clone() }]);
        assert_eq!(report.n_lost_events, positions.end - positions.start);
        std::fs::write(&gone.path, whole).expect("writes");
    }
}

#[test]
fn what_was_never_announced_behind_a_hole_does_not_count() {
    let folder = folder();
    let slow =
        Settings { segment_bytes: 1 << 20, group_commit: Duration::from_secs(3600), ..settings(Durability::Ack) };
    let mut bench = Bench::open(folder.path(), Disk::real(), slow).expect("opens");
    // One group: when it is torn, its later records may have reached the disk and the earlier ones not.
    for _ in 0..6 {
        bench.append();
    }
    bench.journal.close().expect("the disk is well");
    let path = segments(&Disk::real(), folder.path()).expect("lists")[0].path.clone();
    let mut bytes = std::fs::read(&path).expect("reads");
    let at = bytes.windows(8).position(|w| w == b"call-1-0").expect("it is there");
    bytes[at..at + 8].fill(0);
    std::fs::write(&path, &bytes).expect("writes");
    let (found, report, _) = read(folder.path());
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1]);
    assert!(report.cut.is_some() && report.lost.is_empty());
}

#[test]
fn another_journals_segment_is_refused() {
    let folders = [folder(), folder()];
    for folder in &folders {
        let mut bench = Bench::open(folder.path(), Disk::real(), settings(Durability::Ack)).expect("opens");
        for _ in 0..30 {
            let record = bench.append();
            bench.wait(record);
        }
    }
    let [own, other] = folders.each_ref().map(|f| segments(&Disk::real(), f.path()).expect("lists"));
    std::fs::copy(&other[1].path, &own[1].path).expect("copies");
    let reader = Reader::open(&Disk::real(), folders[0].path(), 1..=u64::MAX).expect("opens");
    let outcomes: Vec<_> = reader.collect();
    assert!(matches!(outcomes.last(), Some(Err(ReadError::OtherIdentity { .. }))));
    assert!(outcomes.iter().rev().skip(1).all(Result::is_ok));
}

#[test]
fn a_writer_that_panics_is_told_like_a_disk_that_fails() {
    let folder = folder();
    let disk = Disk::real();
    let journal = Journal::open(Options {
        identity: Identity::open(&disk, folder.path()).expect("opens"),
        names: NamesFile::open(&disk, folder.path()).expect("opens").0,
        disk,
        folder: folder.path().to_owned(),
        settings: settings(Durability::Ack),
        context: Arc::default(),
        start: Start::default(),
        listener: Box::new(|_| panic!("as planned")),
    })
    .expect("opens");
    journal.append(&mut batch(&["a".into()], 1));
    let stuck = journal.close().expect_err("nobody writes any more");
    assert!(stuck.why.contains("panicked"));
    assert!(!journal.has_room());
}
