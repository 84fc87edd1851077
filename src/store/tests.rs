//! What the store promises while its disk is sound: what is written is read back, twice told is once written, and what
//! cannot be written waits.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::limits::STORE_PRUNE_ROWS;

pub(super) fn store(folder: &Path) -> Store {
    let (store, report) = Store::open(folder).unwrap();
    assert_eq!((report.set_aside, report.mended), (None, Vec::new()));
    store
}

pub(super) fn audit(n: i64) -> Audit {
    Audit {
        time: Timestamp(1_000 * n),
        who: format!("user-{}", n % 3),
        from: "127.0.0.1".into(),
        action: "list.add".into(),
        subject: format!("list/{n}"),
        before: serde_json::Value::Null,
        after: json!({ "entries": n, "share": 0.1 + n as f64 / 3.0, "why": "cåller" }),
    }
}

pub(super) fn violation(n: u64) -> Violation {
    Violation {
        id: format!("{n}/wangiri/critical"),
        position: n,
        time: Timestamp(1_000 * n as i64),
        customer: format!("customer-{}", n % 2),
        rule: "wangiri".into(),
        level: "critical".into(),
        key: Key(vec![("caller".into(), format!("+4670000{:04}", n % 5)), ("trunk".into(), "t1".into())]),
        group: "fraud".into(),
        target: Key(vec![("trunk".into(), "t1".into())]),
        measure: "count".into(),
        value: n as f64 / 7.0,
        threshold: 30.0,
        window: "10s".into(),
        call_id: if n.is_multiple_of(4) { String::new() } else { format!("call-{n}@example") },
        mode: "enforce".into(),
        late: n.is_multiple_of(6),
        told_at: None,
        alert: None,
        what: String::new(),
    }
}

pub(super) fn block(value: &str, position: u64) -> Block {
    Block {
        list: "blocked".into(),
        value: value.into(),
        customer: "customer-1".into(),
        rule: "wangiri".into(),
        position,
        added: Timestamp(1_000 * position as i64),
        until: None,
        removed: None,
    }
}

pub(super) fn write(store: &Store, changes: Vec<Change>) -> Vec<Written> {
    store.record(changes).unwrap().wait().unwrap()
}

pub(super) fn violations(numbers: impl IntoIterator<Item = u64>) -> Vec<Change> {
    numbers.into_iter().map(|n| Change::Violation(violation(n))).collect()
}

fn positions(page: &Page<Violation>) -> Vec<u64> {
    page.rows.iter().map(|v| v.position).collect()
}

#[test]
fn what_is_written_is_read_back_after_a_reopen_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path());
    write(&first, violations(1..=9));
    assert_eq!([first.audit(audit(1)).unwrap(), first.audit(audit(2)).unwrap()], [1, 2]);
    write(&first, vec![Change::Block(block("+46700001", 3))]);
    first.close();
    assert!(!folder.path().join("ringfence.db-wal").exists(), "a clean end leaves one file");

    let again = store(folder.path());
    let expected: Vec<Violation> = (1..=9).rev().map(violation).collect();
    assert_eq!(again.violations(&Query::default()).unwrap().rows, expected);
    assert_eq!(again.audits(&Query::default()).unwrap().rows, [(2, audit(2)), (1, audit(1))]);
    assert_eq!(again.blocks(&Query::default()).unwrap().rows, [block("+46700001", 3)]);
    assert_eq!(again.audit(audit(3)).unwrap(), 3);
    assert_eq!(again.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn numbers_that_are_none_and_texts_of_any_kind_survive() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let odd = Violation { value: f64::INFINITY, threshold: -0.0, customer: "a\0b'\"\u{1f4de}".into(), ..violation(1) };
    let none = Violation { value: f64::NAN, position: u64::MAX, ..violation(2) };
    write(&store, vec![Change::Violation(odd.clone()), Change::Violation(none)]);
    let page = store.violations(&Query::default()).unwrap();
    assert_eq!(page.damaged, 0);
    assert_eq!(page.rows[1], odd);
    assert!(page.rows[0].value.is_nan());
}

#[test]
fn a_violation_told_again_changes_nothing_and_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(&store, violations([1, 2]));
    let told = Change::Told { id: violation(1).id, at: Timestamp(77) };
    assert_eq!(write(&store, vec![told.clone()]), [Written::Changed(1)]);
    let changed = Violation { value: 99.0, ..violation(1) };
    let again = write(&store, vec![Change::Violation(changed), Change::Violation(violation(3)), told]);
    assert!(matches!(again[..], [Written::Known, Written::Added(_), Written::Changed(0)]), "{again:?}");
    let page = store.violations(&Query::default()).unwrap();
    assert_eq!(page.rows[2], Violation { told_at: Some(Timestamp(77)), ..violation(1) });
}

#[test]
fn a_block_ends_with_its_own_episode_also_when_recovery_tells_of_an_older_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let ends = |position, until| Change::BlockEnds {
        list: "blocked".into(),
        value: "x".into(),
        customer: "customer-1".into(),
        rule: "wangiri".into(),
        position,
        closed: Timestamp(until - 10_000),
        until: Timestamp(until),
    };
    let story = [Change::Block(block("x", 10)), ends(30, 40_000), Change::Block(block("x", 50))];
    assert_eq!(write(&store, story.to_vec())[1], Written::Changed(1));
    assert_eq!(write(&store, story.to_vec()), [Written::Known, Written::Changed(0), Written::Known]);
    let holding = |at| {
        let query = Query { holding_at: Some(Timestamp(at)), ..Query::default() };
        store.blocks(&query).unwrap().rows.iter().map(|b| b.position).collect::<Vec<_>>()
    };
    assert_eq!(
        [holding(9_999), holding(10_000), holding(40_000), holding(50_000)],
        [vec![], vec![10], vec![], vec![50]]
    );
    let removed = |position| Change::BlockRemoved {
        list: "blocked".into(),
        value: "x".into(),
        position,
        removed: Timestamp(60_000),
    };
    assert_eq!(
        write(&store, vec![removed(49), removed(55), removed(55)])[..2],
        [Written::Changed(0), Written::Changed(1)]
    );
    assert_eq!(holding(60_000), [0; 0]);
    assert_eq!(store.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn an_end_that_comes_in_one_batch_with_the_next_block_does_not_end_that() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (first, next) = (block("x", 10), block("x", 50));
    // Told with the position of the last event of their batch.
    let end = Change::BlockEnds {
        list: first.list.clone(),
        value: first.value.clone(),
        customer: first.customer.clone(),
        rule: first.rule.clone(),
        position: 60,
        closed: next.added,
        until: next.added.plus_ms(20_000),
    };
    assert_eq!(write(&store, vec![Change::Block(first), Change::Block(next), end])[2], Written::Changed(1));
}

#[test]
fn people_find_violations_by_time_customer_rule_level_and_any_value_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let other = Violation { id: "100/x/warning".into(), rule: "x".into(), level: "warning".into(), ..violation(4) };
    write(&store, violations(1..=10));
    write(&store, vec![Change::Violation(other)]);
    let found = |query: Query| store.violations(&query).unwrap().rows.len();
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(found(Query { from: Some(Timestamp(3_000)), until: Some(Timestamp(5_000)), ..Query::default() }), 3);
    assert_eq!(found(Query { customer: text("customer-1"), ..Query::default() }), 5);
    assert_eq!(found(Query { rule: text("x"), ..Query::default() }), 1);
    assert_eq!(found(Query { level: text("warning"), ..Query::default() }), 1);
    assert_eq!(found(Query { value: text("+46700000004"), ..Query::default() }), 3);
    assert_eq!(found(Query { value: text("t1"), customer: text("customer-1"), ..Query::default() }), 5);
    assert_eq!(found(Query { list: text("blocked"), ..Query::default() }), 0, "violations stand on no list");
    store.audit(audit(4)).unwrap();
    let audits = |query: Query| store.audits(&query).unwrap().rows.len();
    assert_eq!(audits(Query { who: text("user-1"), ..Query::default() }), 1);
    assert_eq!(audits(Query { value: text("list/4"), ..Query::default() }), 1);
    assert_eq!(audits(Query { customer: text("customer-1"), ..Query::default() }), 0, "the audit knows no customers");
}

#[test]
fn pages_follow_each_other_without_gaps_also_where_times_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let at_once = |n| Change::Violation(Violation { time: Timestamp(5), ..violation(n) });
    write(&store, (1..=10).map(at_once).collect());
    let mut query = Query { rows: 4, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.violations(&query).unwrap();
        seen.extend(positions(&page));
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=10).rev().collect::<Vec<_>>());
}

#[test]
fn audit_entries_are_never_changed_deleted_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.audit(audit(1)).unwrap();
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    for sql in [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT id, time, 'nobody', came_from, action, subject, before, after, sum FROM audit",
    ] {
        let refused = db.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("audit: entries are never"), "{sql}: {refused}");
    }
    assert_eq!(store.prune(Timestamp::MAX).unwrap(), 0);
    assert_eq!(store.audits(&Query::default()).unwrap().rows, [(1, audit(1))]);
}

#[test]
fn retention_takes_old_violations_and_blocks_that_are_over_and_their_numbers_leave_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let n = STORE_PRUNE_ROWS as u64 + 500;
    write(&store, violations(1..=n));
    let take = (1..=n as i64).collect();
    write(&store, vec![Change::Book(BookChange { take, ..BookChange::default() })]);
    let over = Block { until: Some(Timestamp(9_000)), ..block("+46711111111", 1) };
    write(&store, vec![Change::Block(over), Change::Block(block("+46722222222", 2))]);
    assert_eq!(store.prune(Timestamp(1_000 * n as i64)).unwrap() as u64, n - 1 + 1);
    assert_eq!(positions(&store.violations(&Query::default()).unwrap()), [n]);
    assert_eq!(store.blocks(&Query::default()).unwrap().rows, [block("+46722222222", 2)]);
    assert_eq!(store.verify().unwrap(), Vec::<String>::new());
    store.close();
    let bytes = std::fs::read(folder.path().join(DATABASE)).unwrap();
    let stands = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!stands("+46711111111") && stands("+46722222222"));
}

#[test]
fn a_full_disk_is_waited_for_and_what_waits_is_written_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.audit(audit(1)).unwrap();
    store.shared.pages_max.store(1, Ordering::Relaxed);
    let receipts: Vec<Receipt> = (0..10).map(|n| store.record(violations(100 * n..100 * (n + 1))).unwrap()).collect();
    let health = (0..500).map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        store.health()
    });
    let health = health.into_iter().find(|h| h.failing.is_some()).expect("it says so");
    assert!(health.failing.unwrap().1.contains("full"));
    assert!(health.waiting > 0);
    assert_eq!(store.audits(&Query::default()).unwrap().rows.len(), 1, "reading goes on");
    store.shared.pages_max.store(0, Ordering::Relaxed);
    receipts.into_iter().for_each(|r| assert_eq!(r.wait().unwrap().len(), 100));
    let health = store.health();
    assert_eq!((health.failing, health.waiting, health.refused), (None, 0, 0));
    assert_eq!(store.violations(&Query::default()).unwrap().rows.len(), 1000);
}

#[test]
fn a_full_queue_gives_changes_back_and_counts_them_and_a_stop_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.shared.pages_max.store(1, Ordering::Relaxed);
    let mut n = 0;
    let back = loop {
        match store.record(violations(n..n + 10_000)) {
            Ok(_) => n += 10_000,
            Err(back) => break back,
        }
    };
    assert_eq!(n as usize, STORE_WAITING_MAX);
    assert_eq!(back.changes.len(), 10_000);
    assert!(matches!(back.why, StoreError::Full { .. }));
    assert_eq!(store.health().refused, 10_000);
    store.close();
    let health = store.health();
    assert_eq!((health.waiting, health.refused as usize), (0, STORE_WAITING_MAX + 10_000));
    assert!(matches!(store.record(violations([1])).unwrap_err().why, StoreError::Closed));
    assert!(matches!(store.flush(), Err(StoreError::Closed)));
}

#[test]
fn one_change_that_cannot_be_written_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    db.execute_batch(
        "CREATE TRIGGER t BEFORE INSERT ON violations WHEN NEW.position = 5 BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .unwrap();
    let receipts: Vec<Receipt> = (1..=9).map(|n| store.record(violations([n])).unwrap()).collect();
    let refused: Vec<usize> =
        receipts.into_iter().enumerate().filter_map(|(i, r)| r.wait().is_err().then_some(i + 1)).collect();
    assert_eq!(refused, [5]);
    assert_eq!(positions(&store.violations(&Query::default()).unwrap()), [9, 8, 7, 6, 4, 3, 2, 1]);
    assert_eq!(store.health().refused, 1);
}

#[test]
fn readers_see_whole_groups_while_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 200 {
                        let n = store.violations(&Query::default()).unwrap().rows.len();
                        assert!(n >= last && n.is_multiple_of(10), "{last} then {n}");
                        last = n;
                    }
                })
            })
            .collect();
        for n in 0..20 {
            write(&store, violations(10 * n..10 * (n + 1)));
        }
        readers.into_iter().for_each(|r| r.join().unwrap());
    });
}

#[test]
fn a_backup_while_writing_is_one_consistent_file_that_opens_in_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.audit(audit(1)).unwrap();
    let copies = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (0..60).for_each(|n| drop(write(&store, violations(10 * n..10 * (n + 1))))));
        for n in 0..5 {
            let copy = copies.path().join(n.to_string());
            std::fs::create_dir(&copy).unwrap();
            store.backup_to(&copy.join(DATABASE)).unwrap();
            let names: Vec<_> = std::fs::read_dir(&copy).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, [DATABASE]);
            let copy = tests::store(&copy);
            assert_eq!(copy.violations(&Query::default()).unwrap().rows.len() % 10, 0);
            assert_eq!(copy.audits(&Query::default()).unwrap().rows, [(1, audit(1))]);
            assert_eq!(copy.verify().unwrap(), Vec::<String>::new());
        }
        writing.join().unwrap();
    });
    let last = copies.path().join("0").join(DATABASE);
    store.backup_to(&last).unwrap();
    assert_eq!(examine(&copies.path().join("0")).unwrap(), Vec::<String>::new());
}
