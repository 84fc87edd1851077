//! What becomes of an archive with time: hours that go, pseudonyms, erasure, and what verification says of damage.

use std::path::Path;
use std::sync::Arc;

use super::rewrite::{Done, Erase, Retention};
use super::tests::{START, archive_of, calls, decoded, read_all};
use super::*;
use crate::clock::Timestamp;
use crate::event::Names;
use crate::storage::{Disk, Faults};

const HOUR: i64 = 3_600_000;
/// Stands in lines of its own: as a party, within other texts, and alone.
const NUMBER: &str = "+46700000003";

fn filled(folder: &Path) -> (Archive, Arc<Names>) {
    let names = Arc::new(Names::new());
    let told = format!(
        "{{\"time\":{START},\"customer\":\"c0\",\"caller\":\"{NUMBER}\",\"callee\":\"+12120000001\",\"caller_name\":\"Ada\",\
         \"call_id\":\"x-46700000003@host\",\"asserted\":\"{NUMBER}\",\"source_ip\":\"10.1.2.3\",\"account\":\"acc-7\",\
         \"user_agent\":\"Phone/1.2 0015\"}}\n"
    );
    let archive = archive_of(folder, &names, vec![decoded(&(calls(0, 300) + &told), &names)]);
    (archive, names)
}

/// Whether the files have the text in any place, as it is or compressed: every value is read and looked through.
fn holds(archive: &Archive, names: &Arc<Names>, text: &str) -> bool {
    let in_bytes = files_below(&archive.folder).unwrap().iter().any(|file| {
        let bytes = std::fs::read(archive.folder.join(file)).unwrap();
        memchr::memmem::find(&bytes, text.as_bytes()).is_some()
    });
    let mut in_values = false;
    for slice in archive.events(&Query::default(), Arc::clone(names)) {
        let slice = slice.unwrap();
        in_values |= memchr::memmem::find(&slice.batch.side, text.as_bytes()).is_some();
        in_values |=
            slice.batch.events.iter().any(|e| {
                [e.caller, e.callee, e.asserted, e.diverting].iter().any(|p| p.number.to_string().contains(text))
            });
    }
    in_bytes || in_values
}

#[test]
fn the_oldest_hours_go_by_age_and_then_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let (mut archive, names) = filled(folder.path());
    let hours = |archive: &Archive| {
        let mut hours: Vec<i64> = archive.files().map(|file| file.hour - START / HOUR).collect();
        hours.sort();
        hours.dedup();
        hours
    };
    assert_eq!(hours(&archive), [0, 1, 2]);
    let age = Retention { age_ms_max: Some(HOUR), ..Retention::default() };
    assert_eq!(archive.retain(Timestamp(START + 2 * HOUR - 1), &age).unwrap(), Done::default());
    let done = archive.retain(Timestamp(START + 2 * HOUR), &age).unwrap();
    assert_eq!((done.files, hours(&archive)), (3, vec![1, 2]));
    let bytes: u64 = archive.files().map(|file| file.bytes).sum();
    let size = Retention { bytes_max: Some(bytes - 1), ..Retention::default() };
    assert_eq!(archive.retain(Timestamp(START), &size).unwrap().files, 1);
    assert_eq!(
        read_all(&archive, &Query::default(), &names).len() as u64,
        archive.files().map(|f| f.rows).sum::<u64>()
    );
    assert_eq!(archive.verify(|_| {}).unwrap(), []);
    let reached = archive.reached();
    drop(archive);
    assert_eq!(Archive::open(&Disk::real(), folder.path()).unwrap().reached(), reached);
}

#[test]
fn pseudonyms_take_the_place_of_people_and_are_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (mut archive, names) = filled(folder.path());
    let key = PseudonymKey::new(b"a secret of this test");
    let due = Retention { pseudonymise_after_ms: Some(0), ..Retention::default() };
    let before = read_all(&archive, &Query::default(), &names).len();
    let of_number = |archive: &Archive, number: &str| {
        read_all(archive, &Query { number: Some(number.into()), ..Query::default() }, &names).len()
    };
    let n_calls = of_number(&archive, NUMBER);
    assert!(n_calls > 10);
    archive.age(Timestamp(START + 9 * HOUR), &due, &key).unwrap();
    for text in [NUMBER, "46700000003", "Ada", "acc-7", "10.1.2.3", "0015"] {
        assert!(!holds(&archive, &names, text), "{text}");
    }
    assert_eq!(read_all(&archive, &Query::default(), &names).len(), before);
    assert_eq!(of_number(&archive, &key.number(NUMBER)), n_calls);
    assert!(archive.files().all(|file| file.state == State::Pseudonymous && file.generation == 1));
    assert_eq!(archive.age(Timestamp(START + 9 * HOUR), &due, &key).unwrap(), Done::default());
    assert_eq!(archive.verify(|_| {}).unwrap(), []);
    let pseudonym = Some(key.number(NUMBER));
    archive.erase(&Erase::Number { number: NUMBER.into(), pseudonym }).unwrap();
    assert!(!holds(&archive, &names, &key.number(NUMBER)));
}

#[test]
fn an_erased_number_is_nowhere_and_all_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (mut archive, names) = filled(folder.path());
    let told = |archive: &Archive| -> Vec<(u64, String)> {
        read_all(archive, &Query::default(), &names).into_iter().map(|(position, _, told)| (position, told)).collect()
    };
    let before = told(&archive);
    assert!(holds(&archive, &names, "46700000003") && holds(&archive, &names, "46700000004"));
    let done = archive.erase(&Erase::Number { number: NUMBER.into(), pseudonym: None }).unwrap();
    assert_eq!(done.rows, 300 / 17 + 2);
    for text in ["46700000003", "Ada"] {
        assert!(!holds(&archive, &names, text), "{text}");
    }
    assert!(holds(&archive, &names, "46700000004") && holds(&archive, &names, "12120000003"));
    assert_eq!(told(&archive), before);
    assert_eq!(archive.verify(|_| {}).unwrap(), []);
    let before_all = Erase::Before { before: Timestamp(START + HOUR), customer: Some("c0".into()) };
    assert_eq!(archive.erase(&before_all).unwrap().files, 1);
    assert_eq!(archive.files().filter(|file| file.state == State::Erased).count(), 1);
    archive.erase(&Erase::Before { before: Timestamp(START + 9 * HOUR), customer: None }).unwrap();
    assert!(!holds(&archive, &names, "4670000") && !holds(&archive, &names, "@host"));
    assert_eq!(told(&archive), before);
}

#[test]
fn a_crash_while_a_number_is_erased_loses_no_event_and_the_next_try_erases_it() {
    let mut n = 1;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let (archive, names) = filled(folder.path());
        drop(archive);
        let faults = Arc::new(Faults::default());
        let mut archive = Archive::open(&Disk::failing(Arc::clone(&faults)), folder.path()).unwrap();
        let events = read_all(&archive, &Query::default(), &names).len();
        let what = Erase::Number { number: NUMBER.into(), pseudonym: None };
        faults.fail(None, faults.n_begun() + n, u64::MAX);
        let crashed = archive.erase(&what).is_err();
        drop(archive);
        let mut archive = Archive::open(&Disk::real(), folder.path()).unwrap();
        assert_eq!(read_all(&archive, &Query::default(), &names).len(), events, "step {n}");
        archive.erase(&what).unwrap();
        assert!(!holds(&archive, &names, "46700000003"), "step {n}");
        assert_eq!(archive.verify(|_| {}).unwrap(), [], "step {n}");
        if !crashed {
            break;
        }
        n += 9;
    }
    assert!(n > 20);
}

#[test]
fn verification_names_what_is_damaged_missing_and_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, _) = filled(folder.path());
    let paths: Vec<String> = archive.files().map(|file| file.path.clone()).collect();
    let at = |i: usize| folder.path().join(&paths[i]);
    let whole: Vec<Vec<u8>> = (0..3).map(|i| std::fs::read(at(i)).unwrap()).collect();
    let places = |bytes: &[u8]| [0, bytes.len() / 2, bytes.len() - 1];
    for place in places(&whole[0]) {
        let mut flipped = whole[0].clone();
        flipped[place] ^= 1;
        std::fs::write(at(0), &flipped).unwrap();
        std::fs::write(at(1), &whole[1][..place.min(whole[1].len() - 1)]).unwrap();
        std::fs::remove_file(at(2)).unwrap();
        std::fs::write(folder.path().join("customer_id=c0/x.parquet"), b"x").unwrap();
        let mut n = 0;
        let findings = archive.verify(|_| n += 1).unwrap();
        let mut found: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
        found.sort();
        let mut wanted = vec![paths[0].as_str(), &paths[1], &paths[2], "customer_id=c0/x.parquet"];
        wanted.sort();
        assert_eq!((found, n), (wanted, paths.len()));
        assert!(findings.iter().any(|f| f.path == paths[2] && f.problem == "it is missing"));
        (0..3).for_each(|i| std::fs::write(at(i), &whole[i]).unwrap());
    }
    std::fs::remove_file(folder.path().join("customer_id=c0/x.parquet")).unwrap();
    assert_eq!(archive.verify(|_| {}).unwrap(), []);
}
