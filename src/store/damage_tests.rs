//! Databases of other versions and owners, databases that a crash left, and damaged ones.

use std::path::Path;

use rusqlite::Connection;

use super::book_tests::{closing, subject, token, transition, user};
use super::tests::{audit, block, store, violation, violations, write};
use super::*;

/// A file as the first version of the schema left it.
const SCHEMA_1: &str = "
    INSERT INTO audit VALUES (1, 1000, 'user-1', '127.0.0.1', 'list.add', 'list/1', NULL, '\"x\"', 123);
    INSERT INTO migrations VALUES (1, 5, '0.0.1');
    PRAGMA application_id = 0x5246656e; PRAGMA user_version = 1;";

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|n| !n.ends_with("-shm")).collect();
    names.sort();
    names
}

fn make(folder: &Path, sql: &[&str]) {
    let db = Connection::open(folder.join(DATABASE)).unwrap();
    sql.iter().for_each(|sql| db.execute_batch(sql).unwrap());
}

fn tables(folder: &Path) -> Vec<(String, Option<String>)> {
    let db = Connection::open(folder.join(DATABASE)).unwrap();
    let mut all = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY 1").unwrap();
    all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(|r| r.unwrap()).collect()
}

/// A copy of a folder as a kill at this moment would leave it.
fn killed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    // The log first: a database that is newer than its log is what a checkpoint between the two copies would make.
    for name in ["ringfence.db-wal", "ringfence.db"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn every_older_schema_is_brought_forward_and_keeps_its_rows() {
    let new = tempfile::tempdir().unwrap();
    let (store, report) = Store::open(new.path()).unwrap();
    assert_eq!(report, OpenReport { created: true, ..OpenReport::default() });
    store.close();
    let sql_1 = include_str!("migrations/001-audit.sql");
    let sql_2 = include_str!("migrations/002-violations.sql");
    let to_2 = "INSERT INTO migrations VALUES (2, 6, '0.0.2'); PRAGMA user_version = 2;";
    let sql_3 = include_str!("migrations/003-blocks.sql");
    let old = Violation { group: String::new(), target: Key::default(), ..violation(9) };
    let to_3 = format!(
        "INSERT INTO violations VALUES (1, '{}', 9, 9000, 'customer-1', 'wangiri', 'critical', '{}', 'count', {:?}, \
         30.0, '10s', '{}', 'enforce', 0, NULL, {}); \
         INSERT INTO migrations VALUES (3, 7, '0.0.3'); PRAGMA user_version = 3;",
        old.id,
        old.key.to_json(),
        old.value,
        old.call_id,
        old.sum(),
    );
    let to_2 = [sql_1, SCHEMA_1, sql_2, to_2];
    let to_3 = [&to_2[..], &[sql_3, &to_3]].concat();
    for (version, sql) in [(1, vec![sql_1, SCHEMA_1]), (2, to_2.to_vec()), (3, to_3)] {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &sql);
        let (store, report) = Store::open(folder.path()).unwrap();
        assert_eq!(report, OpenReport { migrated_from: Some(version), ..OpenReport::default() });
        write(&store, violations([1]));
        let waiting = store.inbox(0, 0).unwrap().rows;
        assert_eq!(waiting, [(1, Inbox::Violation(Box::new(violation(1))))], "what was found before is not news");
        let found = store.violations(&Query::default()).unwrap();
        let expected = if version == 3 { vec![old.clone(), violation(1)] } else { vec![violation(1)] };
        assert_eq!((found.rows, found.damaged), (expected, 0));
        assert_eq!(store.audit(audit(2)).unwrap(), 2);
        store.close();
        assert_eq!(tables(folder.path()), tables(new.path()));
    }
}

#[test]
fn a_newer_schema_and_the_database_of_another_application_are_refused_and_left_alone() {
    let newer = tempfile::tempdir().unwrap();
    store(newer.path()).close();
    let reads = super::file::version();
    let next = reads + 1;
    make(newer.path(), &[&format!("INSERT INTO migrations VALUES ({next}, 9, '9.0'); PRAGMA user_version = {next};")]);
    let error = Store::open(newer.path()).unwrap_err().to_string();
    assert_eq!(error, format!("store ringfence.db: schema {next} is newer than this build reads ({reads})"));

    let foreign = tempfile::tempdir().unwrap();
    make(foreign.path(), &["CREATE TABLE songs (title TEXT); PRAGMA application_id = 77; PRAGMA user_version = 3;"]);
    let error = Store::open(foreign.path()).unwrap_err().to_string();
    assert_eq!(error, "store ringfence.db: belongs to another application (id 0x4d)");
    for folder in [newer, foreign] {
        assert!(files(folder.path()).iter().all(|name| !name.contains("damaged")));
    }
}

#[test]
fn one_flipped_bit_in_the_version_or_owner_of_the_header_is_mended() {
    for (offset, word) in [(60, "schema"), (71, "application id")] {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path()).close();
        let path = folder.path().join(DATABASE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[offset] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        let (store, report) = Store::open(folder.path()).unwrap();
        assert_eq!((report.set_aside, report.mended.len()), (None, 1));
        assert!(report.mended[0].contains(word), "{:?}", report.mended);
        store.close();
        tests::store(folder.path());
    }
}

#[test]
fn what_a_kill_leaves_has_every_row_that_was_told_to_be_durable() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    for n in 1..=30 {
        write(&running, violations(10 * n..10 * (n + 1)));
        if n % 10 == 0 {
            running.audit(audit(1)).unwrap();
        }
        let copy = killed(folder.path());
        let copy = store(copy.path());
        assert_eq!(copy.violations(&Query::default()).unwrap().rows.len() as u64, 10 * n);
        assert_eq!(copy.audits(&Query::default()).unwrap().rows.len() as u64, n / 10);
        assert_eq!(copy.verify().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_copy_taken_in_the_middle_of_writing_opens_and_has_whole_groups() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    write(&running, violations(0..10));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (1..200).for_each(|n| drop(write(&running, violations(10 * n..10 * (n + 1))))));
        while !writing.is_finished() {
            let n_before = running.violations(&Query::default()).unwrap().rows.len();
            let copy = killed(folder.path());
            let (copy, report) = Store::open(copy.path()).unwrap();
            assert_eq!(report.set_aside, None);
            let n = copy.violations(&Query::default()).unwrap().rows.len();
            assert!(n >= n_before && n % 10 == 0, "{n_before} before, {n} in the copy");
            assert_eq!(copy.verify().unwrap(), Vec::<String>::new());
        }
        writing.join().unwrap();
    });
}

/// Violations that an alert has taken, in [`killed_with_both`].
const N_TAKEN: u64 = 100;

/// What was written of a violation there.
fn as_written(n: u64) -> Violation {
    Violation { alert: (1..=N_TAKEN).contains(&n).then_some(7), ..violation(n) }
}

/// A folder as a kill leaves it: 200 violations, a book, people and an audit entry in the database, 100 violations in the
/// log.
fn killed_with_both() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    write(&running, violations(1..=200));
    write(&running, vec![Change::Block(block("x", 7)), Change::User(user()), Change::Token(token())]);
    write(&running, (1..=10).map(|n| Change::Closed(closing(n))).collect());
    let book = BookChange {
        take: (1..=N_TAKEN as i64).collect(),
        transitions: (1..=40).map(transition).collect(),
        subjects: (1..=20).map(|id| subject(SubjectKind::Alert, id, "open")).collect(),
        folded: (1..=N_TAKEN).map(|n| (violation(n).id, 7)).collect(),
        ..BookChange::default()
    };
    write(&running, vec![Change::Book(book)]);
    running.audit(audit(1)).unwrap();
    running.checkpoint().unwrap();
    (0..10).for_each(|n| drop(write(&running, violations(201 + 10 * n..211 + 10 * n))));
    killed(folder.path())
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Truncate,
    Flip,
    Delete,
}

/// Header, middle and tail of a file of so many bytes.
fn places(length: usize) -> [usize; 3] {
    [length.min(21), length / 2, length.saturating_sub(100)]
}

fn harm(path: &Path, harm: Harm, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    match harm {
        Harm::Truncate => bytes.truncate(at),
        Harm::Flip => bytes[at] ^= 0x10,
        Harm::Delete => drop(bytes.drain(at..(at + 512).min(bytes.len()))),
    }
    std::fs::write(path, bytes).unwrap();
}

/// What is read is what was written, and what is missing was reported. Returns how many violations are left.
fn assert_honest(folder: &Path, what: &str) -> usize {
    let (store, report) = Store::open(folder).unwrap_or_else(|e| panic!("{what}: {e}"));
    let page = store.violations(&Query::default()).unwrap();
    for found in &page.rows {
        assert_eq!(*found, as_written(found.position), "{what}");
    }
    let is_book_whole = is_book_honest(&store, what);
    let audits = store.audits(&Query::default()).unwrap();
    assert!(audits.rows.iter().all(|(id, a)| (*id, a) == (1, &audit(1))), "{what}");
    let is_whole = page.rows.len() == 300 && audits.rows.len() == 1 && is_book_whole;
    let is_reported = report.set_aside.is_some() || !report.mended.is_empty() || !store.verify().unwrap().is_empty();
    assert!(is_whole || is_reported, "{what}: {} violations and {report:?}", page.rows.len());
    if let Some(aside) = report.set_aside {
        assert!(aside.path.exists(), "{what}");
    }
    // It is of use again, and the next open finds nothing that is new.
    write(&store, violations([1_000]));
    store.close();
    let (store, report) = Store::open(folder).unwrap();
    assert_eq!(report, OpenReport::default(), "{what}");
    assert_eq!(store.violations(&Query::default()).unwrap().rows[0], violation(1_000), "{what}");
    page.rows.len()
}

/// The same of the book, its inbox, and people. Is all of it there?
fn is_book_honest(store: &Store, what: &str) -> bool {
    let inbox = store.inbox(0, 0).unwrap();
    for (_, found) in &inbox.rows {
        match found {
            Inbox::Violation(found) => assert_eq!(**found, violation(found.position), "{what}"),
            Inbox::Closed(found) => assert_eq!(*found, closing(found.time.0 / 1_000), "{what}"),
        }
    }
    let steps = store.transitions_since(0, 0).unwrap();
    assert!(steps.rows.iter().all(|(seq, step)| *step == transition(*seq)), "{what}");
    let alerts = store.subjects(SubjectKind::Alert, &SubjectQuery::default()).unwrap();
    assert!(alerts.rows.iter().all(|alert| *alert == subject(SubjectKind::Alert, alert.id, "open")), "{what}");
    let (users, tokens) = (store.users(0, 0).unwrap().rows, store.tokens(None, 0, 0).unwrap().rows);
    assert!(users.iter().all(|found| *found == user()) && tokens.iter().all(|found| *found == token()), "{what}");
    let numbers = [inbox.rows.len(), steps.rows.len(), alerts.rows.len(), users.len(), tokens.len()];
    numbers == [300 - N_TAKEN as usize + 10, 40, 20, 1, 1]
}

#[test]
fn a_damaged_database_is_set_aside_or_mended_and_never_read_as_true() {
    let made = killed_with_both();
    for kind in [Harm::Truncate, Harm::Flip, Harm::Delete] {
        for place in 0..3 {
            let folder = killed(made.path());
            let path = folder.path().join(DATABASE);
            let at = places(std::fs::metadata(&path).unwrap().len() as usize)[place];
            harm(&path, kind, at);
            assert_honest(folder.path(), &format!("{kind:?} at {at} of the database"));
        }
    }
}

#[test]
fn a_damaged_log_loses_only_what_stood_in_it_and_says_so() {
    let made = killed_with_both();
    for kind in [Harm::Truncate, Harm::Flip, Harm::Delete] {
        for place in 0..3 {
            let folder = killed(made.path());
            let path = folder.path().join("ringfence.db-wal");
            let at = places(std::fs::metadata(&path).unwrap().len() as usize)[place];
            harm(&path, kind, at);
            let n_left =
                if (matches!(kind, Harm::Truncate) && place > 0) || (matches!(kind, Harm::Delete) && place == 2) {
                    // A log that ends early looks like one that was written less: the journal tells the rest again.
                    let (store, _) = Store::open(folder.path()).unwrap();
                    assert_eq!(store.verify().unwrap(), Vec::<String>::new());
                    assert_eq!(store.audits(&Query::default()).unwrap().rows.len(), 1);
                    store.violations(&Query::default()).unwrap().rows.len()
                } else {
                    assert_honest(folder.path(), &format!("{kind:?} at {at} of the log"))
                };
            assert!(n_left >= 200, "{kind:?} at {at} of the log: {n_left} left");
        }
    }
}

#[test]
fn a_log_that_a_checkpoint_has_emptied_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    write(&store, violations([1]));
    store.checkpoint().unwrap();
    let copy = killed(folder.path());
    assert_eq!(std::fs::metadata(copy.path().join("ringfence.db-wal")).unwrap().len(), 0);
    let (after, report) = Store::open(copy.path()).unwrap();
    assert_eq!(report, OpenReport::default());
    assert_eq!(after.violations(&Query::default()).unwrap().rows.len(), 1);
}

#[test]
fn a_file_that_is_gone_is_missed() {
    let without_log = killed_with_both();
    std::fs::remove_file(without_log.path().join("ringfence.db-wal")).unwrap();
    assert_eq!(assert_honest(without_log.path(), "no log"), 200);

    let alone = killed_with_both();
    std::fs::remove_file(alone.path().join(DATABASE)).unwrap();
    let (store, report) = Store::open(alone.path()).unwrap();
    assert!(report.created);
    assert!(report.set_aside.is_some(), "a log without its database is kept for people to look at");
    write(&store, violations([1]));
}

#[test]
fn bytes_of_any_kind_in_place_of_the_database_are_set_aside() {
    for bytes in [&b""[..], b"x", &[0; 100], &[0xff; 8192], b"SQLite format 3\0 and then nothing that makes sense"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(DATABASE), bytes).unwrap();
        let (store, report) = Store::open(folder.path()).unwrap();
        assert_eq!(report.set_aside.is_some(), !bytes.is_empty(), "{} bytes", bytes.len());
        write(&store, violations([1]));
    }
}

#[test]
fn a_folder_in_place_of_the_database_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(DATABASE)).unwrap();
    let (store, report) = Store::open(folder.path()).unwrap();
    assert!(report.set_aside.is_some_and(|aside| aside.path.is_dir()));
    write(&store, violations([1]));
}

#[test]
fn audit_entries_survive_the_loss_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    for n in 1..=20 {
        write(&running, violations(10 * n..10 * (n + 1)));
        running.audit(audit(n as i64)).unwrap();
        let copy = killed(folder.path());
        std::fs::remove_file(copy.path().join("ringfence.db-wal")).unwrap();
        let (copy, report) = Store::open(copy.path()).unwrap();
        assert_eq!(report.mended.len(), 1, "{report:?}");
        assert_eq!(copy.audits(&Query::default()).unwrap().rows.len() as u64, n);
    }
}

#[test]
fn what_is_good_of_a_damaged_database_is_in_the_new_one() {
    let made = killed_with_both();
    store(made.path()).close();
    let path = made.path().join(DATABASE);
    let length = std::fs::metadata(&path).unwrap().len() as usize;
    // A page in the middle, all of it: the pages around it can still be read.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().skip(length / 2 / 4096 * 4096).take(4096).for_each(|b| *b = 0xff);
    std::fs::write(&path, bytes).unwrap();
    let (store, report) = Store::open(made.path()).unwrap();
    let aside = report.set_aside.unwrap();
    let n = store.violations(&Query::default()).unwrap().rows.len();
    assert!(n > 200, "{n} of 300");
    assert_eq!(store.audits(&Query::default()).unwrap().rows, [(1, audit(1))]);
    assert_eq!(store.blocks(&Query::default()).unwrap().rows, [block("x", 7)]);
    let found = store.violations(&Query::default()).unwrap().rows;
    let is_waiting = |v: &&Violation| v.alert.is_none();
    let waiting = store.inbox(0, 0).unwrap().rows;
    let ids = waiting.iter().filter_map(|(_, inbox)| match inbox {
        Inbox::Violation(v) => Some(v.id.clone()),
        Inbox::Closed(_) => None,
    });
    let mut ids: Vec<String> = ids.collect();
    let mut expected: Vec<String> = found.iter().filter(is_waiting).map(|v| v.id.clone()).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected, "what the book has not taken still waits, and nothing else");
    let others = (store.transitions_since(0, 0).unwrap().rows.len())
        + store.subjects(SubjectKind::Alert, &SubjectQuery::default()).unwrap().rows.len();
    assert_eq!(others, 60);
    let people = store.users(0, 0).unwrap().rows.len() + store.tokens(None, 0, 0).unwrap().rows.len();
    assert_eq!(
        aside.rows_saved,
        n + others + (waiting.len() - ids.len()) + people + 2,
        "an audit entry and a block too"
    );
}

#[test]
fn an_audit_entry_that_could_not_be_saved_is_no_damage_of_the_new_database() {
    let made = tempfile::tempdir().unwrap();
    let (first, _) = Store::open(made.path()).unwrap();
    write(&first, (1..=5).map(|n| Change::Audit(audit(n))).collect());
    first.close();
    drop(first);
    let path = made.path().join(DATABASE);
    let db = Connection::open(&path).unwrap();
    let trigger = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'";
    let drop_all: String = db.query_row(trigger, [], |row| row.get(0)).unwrap();
    db.execute_batch(&drop_all).unwrap();
    db.execute_batch("UPDATE audit SET sum = 1 WHERE id = 3").unwrap();
    let into = tempfile::tempdir().unwrap();
    let (saved, _) = Store::open(into.path()).unwrap();
    saved.close();
    drop(saved);
    let new = Connection::open(into.path().join(DATABASE)).unwrap();
    verify::save(&path, &new).unwrap();
    assert_eq!(verify::verify(&new).unwrap(), [""; 0]);
    new.execute_batch("DELETE FROM audit WHERE id = 5").unwrap_err();
    let (saved, _) = Store::open(into.path()).unwrap();
    write(&saved, vec![Change::Audit(audit(6))]);
    assert_eq!(saved.audits(&Query::default()).unwrap().rows.len(), 5);
    assert_eq!(saved.verify().unwrap(), [""; 0]);
}

#[test]
fn every_page_of_the_database_may_be_damaged_without_a_lie() {
    let made = killed_with_both();
    let length = std::fs::metadata(made.path().join(DATABASE)).unwrap().len() as usize;
    // A prime step visits headers, cell pointers, contents and free space alike.
    for at in (0..length).step_by(2_803) {
        let folder = killed(made.path());
        harm(&folder.path().join(DATABASE), Harm::Flip, at);
        assert_honest(folder.path(), &format!("flip at {at}"));
    }
}

#[test]
fn damage_while_running_is_set_aside_too_and_what_waited_is_written_into_the_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    running.audit(audit(1)).unwrap();
    write(&running, violations(1..=500));
    running.checkpoint().unwrap();
    let path = folder.path().join(DATABASE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.iter_mut().skip(4096).for_each(|b| *b = 0x55);
    std::fs::write(&path, bytes).unwrap();
    let receipt = running.record((501..=3_000).map(|n| Change::Violation(violation(n))).collect()).unwrap();
    receipt.wait().unwrap();
    let health = running.health();
    assert_eq!((health.set_aside.len(), health.failing, health.refused), (1, None, 0));
    let last = running.violations(&Query { rows: 1, ..Query::default() }).unwrap();
    assert_eq!(last.rows, [violation(3_000)]);
    running.close();
    store(folder.path());
}
