//! The archive as a whole: what is written comes back, exactly once, whatever happens in between.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::engine::{LaneOptions, RuleRef, Verdict};
use crate::event::dialplan::DialPlan;
use crate::event::{
    Attestation, Batch, CallEvent, CallType, Direction, Flags, HangupBy, Kind, Names, Number, Party, Status,
};
use crate::ingest::{Decoder, FeedContext, Format};
use crate::journal::{Context, Entry as JournalEntry, Record};
use crate::policy::{Action, Cause};
use crate::storage::Faults;

/// 2026-01-01T00:00:00Z.
pub(super) const START: i64 = 1_767_225_600_000;

pub(super) fn context() -> Arc<Context> {
    Arc::new(Context {
        policy_version: "v1".into(),
        feeds: vec!["main".into()],
        firewall: vec!["fw-a".into(), "fw-b".into()],
        thresholds: vec!["ips-a".into()],
    })
}

/// Records of these batches, one each, and the number that follows them.
pub(super) fn records(batches: Vec<Batch>) -> (Vec<Record>, u64) {
    let (context, mut position) = (context(), 1);
    let mut records = Vec::new();
    for (i, mut batch) in batches.into_iter().enumerate() {
        batch.source.arrival = Timestamp(START + i as i64);
        let n = batch.events.len();
        let verdict = |i: usize| match i % 3 {
            0 => Verdict::default(),
            1 => Verdict { action: Action::Block, cause: Cause::List, rule: RuleRef::Firewall(1) },
            _ => Verdict { action: Action::Allow, cause: Cause::Policy, rule: RuleRef::Emergency },
        };
        let verdicts = (0..n).map(verdict).collect();
        let flags = if n > 1 { vec![(1, 0), (1, 1)] } else { Vec::new() };
        let entry =
            JournalEntry::Batch { position, options: LaneOptions::default(), batch, verdicts, flags, tracked: vec![] };
        records.push(Record { number: records.len() as u64 + 1, context: Arc::clone(&context), entry });
        position += n as u64;
        records.push(Record {
            number: records.len() as u64 + 1,
            context: Arc::clone(&context),
            entry: JournalEntry::Tick(Timestamp(START)),
        });
    }
    let end = records.len() as u64 + 1;
    (records, end)
}

/// What a gateway wrote, as the engine would have taken it.
pub(super) fn decoded(lines: &str, names: &Arc<Names>) -> Batch {
    let context = Arc::new(FeedContext::file(Arc::clone(names), DialPlan::default()));
    let mut batch = Batch::default();
    Decoder::new(&Format::Ndjson, context).decode(lines.as_bytes().to_vec(), None, &mut batch);
    assert!(batch.rejects.is_empty(), "{:?}", batch.rejects);
    batch
}

/// `n` calls over some hours, customers and numbers.
pub(super) fn calls(from: u64, n: u64) -> String {
    let line = |i: u64| {
        format!(
            "{{\"time\":{},\"kind\":\"attempt\",\"customer\":\"c{}\",\"call_id\":\"{i:x}@host\",\"caller\":\"+4670{:07}\",\
             \"callee\":\"+1212{:07}\",\"trunk\":\"t{}\"}}\n",
            START + (i * 7_919_000) as i64 % 10_800_000,
            i % 3,
            i % 17,
            i % 29,
            i % 5
        )
    };
    (from..from + n).map(line).collect()
}

pub(super) fn archive_of(folder: &Path, names: &Names, batches: Vec<Batch>) -> Archive {
    let mut archive = Archive::open(&Disk::real(), folder).unwrap();
    let (records, end) = records(batches);
    write(&mut archive, names, &records, end).unwrap();
    archive
}

pub(super) fn write(archive: &mut Archive, names: &Names, records: &[Record], end: u64) -> Result<Round, ArchiveError> {
    // A record is read again for each try, as from the journal.
    let again = |record: &Record| Record {
        number: record.number,
        context: Arc::clone(&record.context),
        entry: match &record.entry {
            JournalEntry::Tick(time) => JournalEntry::Tick(*time),
            JournalEntry::Batch { position, options, batch, verdicts, flags, tracked } => {
                let mut copy = Batch { source: batch.source, ..Batch::default() };
                batch.events.iter().for_each(|event| copy.adopt(batch, event));
                JournalEntry::Batch {
                    position: *position,
                    options: *options,
                    batch: copy,
                    verdicts: verdicts.clone(),
                    flags: flags.clone(),
                    tracked: tracked.clone(),
                }
            }
        },
    };
    archive.write_round::<ArchiveError>(names, records.iter().map(|record| Ok(again(record))), end)
}

/// Everything of an event that is not where its texts stand.
pub(super) fn shown(batch: &Batch, event: &CallEvent) -> String {
    let text = |text| String::from_utf8_lossy(batch.text(text)).into_owned();
    let party = |p: &Party| format!("{:x} [{}] [{}]", p.number.bits(), text(p.raw), text(p.text));
    let texts = [
        event.call_id,
        event.leg,
        event.trunk,
        event.account,
        event.extension,
        event.caller_name,
        event.domain,
        event.user_agent,
        event.method,
    ];
    let mut bare = *event;
    bare.texts_mut().into_iter().for_each(|text| *text = crate::event::Text::ABSENT);
    format!(
        "{bare:?} {} {} {} {} {:?}",
        party(&event.caller),
        party(&event.callee),
        party(&event.asserted),
        party(&event.diverting),
        texts.map(text)
    )
}

pub(super) fn read_all(archive: &Archive, query: &Query, names: &Arc<Names>) -> Vec<(u64, String, String)> {
    let mut found = Vec::new();
    for slice in archive.events(query, Arc::clone(names)) {
        let slice = slice.unwrap();
        for ((position, event), told) in slice.positions.iter().zip(&slice.batch.events).zip(&slice.told) {
            let text = |text| String::from_utf8_lossy(slice.batch.text(text)).into_owned();
            let told = format!("{:?} {:?} {} {}", told.action, told.cause, text(told.rule), text(told.flags));
            found.push((*position, shown(&slice.batch, event), told));
        }
    }
    found
}

fn expected(records: &[Record]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for record in records {
        let JournalEntry::Batch { position, batch, .. } = &record.entry else { continue };
        all.extend(batch.events.iter().enumerate().map(|(i, e)| (position + i as u64, shown(batch, e))));
    }
    all
}

fn any_party() -> impl Strategy<Value = (Number, String, String)> {
    let e164 = "[1-9][0-9]{2,14}".prop_map(|d| {
        let number = Number::e164(d.as_bytes()).unwrap();
        (number, format!("+{d}"), String::new())
    });
    let raw = "[1-9][0-9]{4,12}".prop_map(|d| (Number::e164(d.as_bytes()).unwrap(), format!("00 {d}"), String::new()));
    let short = "[0-9*#]{1,20}".prop_map(|d| (Number::short(d.as_bytes()).unwrap(), d.clone(), d));
    let national = "0[0-9]{1,20}".prop_map(|d| (Number::national(d.as_bytes()).unwrap(), format!("x{d}"), d));
    let invalid = "[+a-zü. ]{1,20}".prop_map(|t| (Number::INVALID, t.clone(), t));
    let anonymous = Just((Number::ANONYMOUS, "Anonymous".to_owned(), "anonymous".to_owned()));
    let unwritten = Just((Number::e164(b"46700000001").unwrap(), String::new(), String::new()));
    let blank = " {0,2}".prop_map(|raw| (Number::ABSENT, raw, String::new()));
    prop_oneof![e164, raw, short, national, invalid, anonymous, unwritten, blank]
}

type Words = (usize, usize, usize, usize, usize, usize);

prop_compose! {
    fn any_event()(
        hour in prop_oneof![Just(-2_000_000_000_000i64), Just(0), Just(START)],
        in_hour in -1i64..3_600_000,
        seq in prop_oneof![Just(0), any::<u64>()],
        codes in (0u16..700, any::<u8>(), 0u16..1 << 14),
        durations in (any::<u32>(), any::<u32>(), any::<u32>()),
        cost in prop_oneof![Just(CallEvent::NO_COST), -1_000_000_000i64..1_000_000_000_000],
        address in proptest::option::of(any::<std::net::IpAddr>()),
        words in any::<Words>(),
        parties in [any_party(), any_party(), any_party(), any_party()],
        texts in proptest::collection::vec("\\PC{0,12}", 9),
        customer in 0usize..3,
    ) -> (CallEvent, [(Number, String, String); 4], Vec<String>, usize) {
        let event = CallEvent {
            time: Timestamp(hour + in_hour),
            seq,
            sip_code: codes.0,
            q850: codes.1,
            flags: Flags(codes.2),
            duration_ms: durations.0,
            ring_ms: durations.1,
            setup_ms: durations.2,
            cost,
            source_ip: address,
            kind: Kind::ALL[words.0 % Kind::ALL.len()],
            direction: Direction::ALL[words.1 % Direction::ALL.len()],
            call_type: CallType::ALL[words.2 % CallType::ALL.len()],
            status: Status::ALL[words.3 % Status::ALL.len()],
            hangup_by: HangupBy::ALL[words.4 % HangupBy::ALL.len()],
            attestation: Attestation::ALL[words.5 % Attestation::ALL.len()],
            ..CallEvent::BLANK
        };
        (event, parties, texts, customer)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_event_comes_back_equal_in_all_that_a_rule_can_see(
        events in proptest::collection::vec(any_event(), 1..60),
        per_batch in 1usize..20,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::new());
        let mut batches = Vec::new();
        for part in events.chunks(per_batch) {
            let mut batch = Batch::default();
            for (event, parties, texts, customer) in part {
                let mut event = *event;
                event.customer = names.customer(["default", "a/b ü", "0815"][*customer]).unwrap();
                event.gateway = names.gateway(["sbc", "pbx", "file"][*customer]).unwrap();
                let [caller, callee, asserted, diverting] = parties.clone().map(|(number, raw, text)| Party {
                    number,
                    raw: batch.keep(raw.as_bytes()),
                    text: batch.keep(text.as_bytes()),
                });
                (event.caller, event.callee, event.asserted, event.diverting) = (caller, callee, asserted, diverting);
                let places = [
                    &mut event.call_id, &mut event.leg, &mut event.trunk, &mut event.account, &mut event.extension,
                    &mut event.caller_name, &mut event.domain, &mut event.user_agent, &mut event.method,
                ];
                for (place, text) in places.into_iter().zip(texts) {
                    *place = batch.keep(text.as_bytes());
                }
                batch.events.push(event);
            }
            batches.push(batch);
        }
        let (records, end) = records(batches);
        let mut archive = Archive::open(&Disk::real(), folder.path()).unwrap();
        write(&mut archive, &names, &records, end).unwrap();
        let found = read_all(&archive, &Query::default(), &names);
        let found: Vec<(u64, String)> = found.into_iter().map(|(position, event, _)| (position, event)).collect();
        prop_assert_eq!(found, expected(&records));
    }
}

#[test]
fn verdicts_flags_and_rules_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::new());
    let archive = archive_of(folder.path(), &names, vec![decoded(&calls(0, 3), &names)]);
    let told: Vec<String> =
        read_all(&archive, &Query::default(), &names).into_iter().map(|(_, _, told)| told).collect();
    assert_eq!(told, ["Allow None default ", "Block List fw-b fw-a,fw-b", "Allow Policy builtin:emergency "]);
}

#[test]
fn a_query_gives_what_a_scan_of_everything_gives_in_order_of_position() {
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::new());
    let mut archive = Archive::open(&Disk::real(), folder.path()).unwrap();
    let batches = (0..40).map(|i| decoded(&calls(i * 50, 50), &names)).collect();
    let (records, end) = records(batches);
    for until in (9..end + 8).step_by(8) {
        write(&mut archive, &names, &records, until.min(end)).unwrap();
    }
    let all = read_all(&archive, &Query::default(), &names);
    assert_eq!(all.len(), 2000);
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let filtered = |query: Query, keeps: &dyn Fn(&CallEvent, u64) -> bool| {
        let found: Vec<u64> = read_all(&archive, &query, &names).into_iter().map(|(position, ..)| position).collect();
        let mut wanted = Vec::new();
        for record in &records {
            let JournalEntry::Batch { position, batch, .. } = &record.entry else { continue };
            let events = batch.events.iter().enumerate().map(|(i, e)| (position + i as u64, e));
            wanted.extend(events.filter(|(position, e)| keeps(e, *position)).map(|(position, _)| position));
        }
        assert!(!wanted.is_empty());
        assert_eq!(found, wanted, "{query:?}");
    };
    let (from, to) = (Timestamp(START + 3_000_000), Timestamp(START + 7_200_000));
    let n = Number::e164(b"46700000003").unwrap();
    let number = Some("+46700000003".to_owned());
    filtered(Query { from: Some(from), to: Some(to), ..Query::default() }, &|e, _| e.time >= from && e.time < to);
    filtered(Query { customers: vec!["c1".into()], ..Query::default() }, &|e, _| {
        names.customer_text(e.customer) == "c1"
    });
    filtered(Query { number: number.clone(), n_threads: 3, ..Query::default() }, &|e, _| e.caller.number == n);
    filtered(
        Query { number: number.clone(), from: Some(from), positions: Some(100..1500), ..Query::default() },
        &|e, p| e.caller.number == n && e.time >= from && (100..1500).contains(&p),
    );
    let callee = Query { number, parties: Parties::Callee, ..Query::default() };
    assert!(read_all(&archive, &callee, &names).is_empty());
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let names = Arc::new(Names::new());
    let bytes = || {
        let folder = tempfile::tempdir().unwrap();
        archive_of(folder.path(), &names, vec![decoded(&calls(0, 300), &names)]);
        let files = files_below(folder.path()).unwrap();
        files.iter().map(|file| std::fs::read(folder.path().join(file)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn one_process_writes_and_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::new());
    let archive = archive_of(folder.path(), &names, vec![decoded(&calls(0, 3), &names)]);
    assert!(Archive::open(&Disk::real(), folder.path()).is_err());
    assert_eq!(read_all(&Archive::read(folder.path()).unwrap(), &Query::default(), &names).len(), 3);
    drop(archive);
    assert_eq!(Archive::open(&Disk::real(), folder.path()).unwrap().reached(), 3);
}

/// A disk that does nothing any more from its `n`-th operation on.
pub(super) fn gone_after(n: u64) -> Disk {
    let faults = Faults::default();
    faults.fail(None, n, u64::MAX);
    Disk::failing(Arc::new(faults))
}

/// Rounds of five records each until all are archived, over crashes.
fn go_on(disk: &Disk, folder: &Path, names: &Names, records: &[Record], end: u64) -> Result<(), ArchiveError> {
    let mut archive = Archive::open(disk, folder)?;
    while archive.reached() < end {
        let until = (archive.reached() + 5).min(end);
        write(&mut archive, names, records, until)?;
    }
    Ok(())
}

#[test]
fn a_crash_at_any_step_of_a_round_neither_loses_nor_doubles_an_event() {
    let names = Arc::new(Names::new());
    let (records, end) = records((0..4).map(|i| decoded(&calls(i * 2, 2), &names)).collect());
    let wanted = expected(&records);
    let mut n = 1;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let crashed = go_on(&gone_after(n), folder.path(), &names, &records, end).is_err();
        go_on(&Disk::real(), folder.path(), &names, &records, end).unwrap();
        let archive = Archive::read(folder.path()).unwrap();
        let found = read_all(&archive, &Query::default(), &names);
        let found: Vec<(u64, String)> = found.into_iter().map(|(position, event, _)| (position, event)).collect();
        assert_eq!(found, wanted, "crash after step {n}");
        let known: BTreeSet<String> = archive.files().map(|file| file.path.clone()).collect();
        let there: BTreeSet<String> = files_below(folder.path()).unwrap().into_iter().collect();
        assert_eq!(there, known, "crash after step {n}");
        if !crashed {
            break;
        }
        n += 1;
    }
    assert!(n > 100, "{n} steps");
}

#[test]
fn a_round_that_failed_can_be_cut_otherwise_and_leaves_nothing_behind() {
    let names = Arc::new(Names::new());
    let (records, end) = records((0..4).map(|i| decoded(&calls(i * 2, 2), &names)).collect());
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let mut archive = Archive::open(&Disk::failing(Arc::clone(&faults)), folder.path()).unwrap();
    faults.fail(None, faults.n_begun() + 60, u64::MAX);
    assert!(write(&mut archive, &names, &records, end).is_err());
    faults.heal();
    assert!(!files_below(folder.path()).unwrap().is_empty());
    for until in [3, 6, end] {
        write(&mut archive, &names, &records, until).unwrap();
    }
    assert_eq!(read_all(&archive, &Query::default(), &names).len(), 8);
    assert_eq!(archive.verify(|_| {}).unwrap(), []);
}

#[test]
fn files_without_a_manifest_are_not_taken_for_leftovers() {
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::new());
    drop(archive_of(folder.path(), &names, vec![decoded(&calls(0, 3), &names)]));
    std::fs::remove_file(folder.path().join(MANIFEST)).unwrap();
    let error = Archive::open(&Disk::real(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("no manifest"), "{error}");
    assert!(!files_below(folder.path()).unwrap().is_empty());
}

#[test]
fn damage_to_a_file_is_an_error_of_the_reader_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::new());
    let archive = archive_of(folder.path(), &names, vec![decoded(&calls(0, 300), &names)]);
    let path = folder.path().join(archive.files().next().unwrap().path.clone());
    let whole = std::fs::read(&path).unwrap();
    let places = [0, whole.len() / 2, whole.len() - 1];
    let mut damages: Vec<Option<Vec<u8>>> = vec![None];
    for at in places {
        damages.push(Some(whole[..at].to_vec()));
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        damages.push(Some(flipped));
        let without = [&whole[..at], &whole[(at + 16).min(whole.len())..]].concat();
        damages.push(Some(without));
    }
    for damage in damages {
        match &damage {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let mut events = archive.events(&Query::default(), Arc::clone(&names));
        assert!(events.any(|slice| slice.is_err()));
        assert!(events.next().is_none());
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read_all(&archive, &Query::default(), &names).len(), 300);
}

/// A rule set that counts calls and refuses some.
const RULES: &str = r#"
ringfence = 1
default_action = "allow"
[[firewall]]
id = "fw-a"
when = 'caller == "+46700000003"'
action = "block"
[[threshold]]
id = "ips-a"
on = "attempt"
measure = "distinct(callee)"
per = ["caller"]
window = "1h"
warning = ">= 4"
[[threshold]]
id = "ips-b"
on = "attempt"
measure = "count"
per = ["trunk", "customer"]
window = "10m"
warning = ">= 5"
"#;

fn replayed(path: &Path, customer: Option<&str>, sort: bool, into: &Path) -> String {
    let policy = crate::policy::load(
        &crate::policy::RuleSource::memory([("ruleset.toml", RULES.to_owned())]),
        crate::policy::LoadOptions::default(),
    );
    let options = crate::replay::Options {
        output: crate::replay::Output::Violations,
        n_threads: 2,
        merge: false,
        dedup: false,
        sort,
        from: None,
        to: None,
        customer: customer.map(str::to_owned),
    };
    let context = FeedContext::file(Arc::new(Names::new()), DialPlan::default());
    let out = std::fs::File::create(into).unwrap();
    let recording = crate::replay::Recording { context, format: None, paths: vec![path.to_owned()] };
    crate::replay::replay(policy.policy.unwrap(), recording, &options, out).unwrap();
    std::fs::read_to_string(into).unwrap()
}

#[test]
fn replaying_an_archive_finds_what_replaying_the_file_found() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, archive, out) = (folder.path().join("c.ndjson"), folder.path().join("a"), folder.path().join("out"));
    std::fs::write(&lines, calls(0, 2000)).unwrap();
    let names = Arc::new(Names::new());
    drop(archive_of(&archive, &names, (0..20).map(|i| decoded(&calls(i * 100, 100), &names)).collect()));
    for customer in [None, Some("c1")] {
        for sort in [false, true] {
            let file = replayed(&lines, customer, sort, &out);
            assert!(file.lines().count() > 20, "{file}");
            assert_eq!(replayed(&archive, customer, sort, &out), file);
        }
    }
}
