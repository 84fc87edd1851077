//! The inbox and the incident book: what comes is waiting until the book has made something of it, and what the book
//! writes is written whole or not at all.

use rusqlite::Connection;

use super::tests::{audit, block, store, violation, violations, write};
use super::*;

pub(super) fn closing(n: i64) -> Closing {
    Closing {
        id: format!("{n}/wangiri/closed/0123456789abcdef"),
        position: n as u64 + 5,
        time: Timestamp(1_000 * n),
        customer: "customer-1".into(),
        rule: "wangiri".into(),
        key: Key(vec![("caller".into(), "+46700000001".into())]),
    }
}

pub(super) fn transition(n: i64) -> TransitionRow {
    TransitionRow {
        time: Timestamp(1_000 * n),
        kind: SubjectKind::Incident,
        subject: 1,
        from: if n == 1 { String::new() } else { format!("state-{}", n - 1) },
        to: format!("state-{n}"),
        who: "anna".into(),
        what: "confirmed".into(),
        came_from: "127.0.0.1".into(),
        why: "cåller says so".into(),
        data: r#"{"severity":1.10}"#.into(),
    }
}

pub(super) fn subject(kind: SubjectKind, id: i64, state: &str) -> SubjectRow {
    SubjectRow {
        incident: (kind == SubjectKind::Alert).then_some(id % 2),
        kind,
        id,
        customer: format!("customer-{}", id % 2),
        state: state.into(),
        is_open: state != "closed",
        changed: Timestamp(1_000 * id),
        body: format!(r#"{{"count":{id}}}"#),
    }
}

pub(super) fn user() -> User {
    User {
        name: "anna".into(),
        display: "Anna Å".into(),
        roles: vec!["commander".into(), "scribe".into()],
        password: None,
        is_disabled: false,
        created: Timestamp(1),
        changed: Timestamp(1),
    }
}

pub(super) fn token() -> Token {
    Token {
        id: "t1".into(),
        user: "anna".into(),
        label: "board".into(),
        hash: "00ff".into(),
        scopes: vec!["read".into()],
        created: Timestamp(2),
        expires: None,
        last_used: None,
        revoked: None,
    }
}

/// What the book makes of all that waits: the violations are one alert's.
fn folding(store: &Store, alert: i64) -> BookChange {
    let waiting = store.inbox(0, 0).unwrap().rows;
    let id = |inbox: &Inbox| match inbox {
        Inbox::Violation(violation) => Some((violation.id.clone(), alert)),
        Inbox::Closed(_) => None,
    };
    BookChange {
        take: waiting.iter().map(|(seq, _)| *seq).collect(),
        transitions: vec![transition(1)],
        subjects: vec![subject(SubjectKind::Alert, alert, "open"), subject(SubjectKind::Incident, 1, "candidate")],
        folded: waiting.iter().filter_map(|(_, inbox)| id(inbox)).collect(),
        audit: vec![audit(1)],
        ..BookChange::default()
    }
}

fn waiting(store: &Store) -> Vec<Inbox> {
    store.inbox(0, 0).unwrap().rows.into_iter().map(|(_, inbox)| inbox).collect()
}

#[test]
fn what_is_found_and_what_ends_waits_in_its_order_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    let story = vec![Change::Violation(violation(2)), Change::Closed(closing(1)), Change::Violation(violation(1))];
    write(&running, story.clone());
    assert_eq!(write(&running, story), [Written::Known; 3]);
    let expected =
        [Inbox::Violation(Box::new(violation(2))), Inbox::Closed(closing(1)), Inbox::Violation(Box::new(violation(1)))];
    assert_eq!(waiting(&running), expected);
    assert_eq!(running.arrived(), 3);
    running.close();
    assert_eq!(waiting(&store(folder.path())), expected);
}

#[test]
fn the_inbox_is_read_in_pages_behind_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(&store, violations(1..=10));
    let first = store.inbox(0, 4).unwrap();
    assert_eq!((first.rows.len(), first.next), (4, Some(4)));
    let second = store.inbox(4, 6).unwrap();
    assert_eq!((second.rows[0].0, second.rows.len(), second.next), (5, 6, None));
}

#[test]
fn a_violation_and_its_place_in_the_inbox_come_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    db.execute_batch("CREATE TRIGGER t BEFORE INSERT ON inbox BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    for change in [Change::Violation(violation(1)), Change::Closed(closing(1))] {
        assert!(matches!(running.record(vec![change]).unwrap().wait(), Err(StoreError::Refused(_))));
    }
    assert_eq!(running.violations(&Query::default()).unwrap().rows, []);
    db.execute_batch("DROP TRIGGER t").unwrap();
    let again = write(&running, vec![Change::Violation(violation(1)), Change::Closed(closing(1))]);
    assert!(again.iter().all(|written| matches!(written, Written::Added(_))), "{again:?}");
    assert_eq!(waiting(&running).len(), 2);
}

#[test]
fn what_the_book_takes_is_gone_and_what_it_made_of_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let running = store(folder.path());
    write(&running, violations(1..=3));
    write(&running, vec![Change::Closed(closing(1))]);
    let change = folding(&running, 7);
    assert_eq!(write(&running, vec![Change::Book(change)]), [Written::Added(1)]);
    running.close();

    let again = store(folder.path());
    assert_eq!(waiting(&again), []);
    assert_eq!(again.transitions(SubjectKind::Incident, 1, 0, 0).unwrap().rows, [(1, transition(1))]);
    assert_eq!(again.subject(SubjectKind::Alert, 7).unwrap(), Some(subject(SubjectKind::Alert, 7, "open")));
    assert_eq!(again.subject(SubjectKind::Alert, 1).unwrap(), None);
    let taken = again.violations(&Query { alert: Some(7), ..Query::default() }).unwrap().rows;
    let expected: Vec<_> = (1..=3).rev().map(|n| Violation { alert: Some(7), ..violation(n) }).collect();
    assert_eq!(taken, expected);
    assert_eq!(again.audits(&Query::default()).unwrap().rows, [(1, audit(1))]);
    assert_eq!(again.verify().unwrap(), Vec::<String>::new());
    // Told again by recovery, it stays taken; and numbers are never given again.
    assert_eq!(write(&again, violations([1])), [Written::Known]);
    write(&again, violations([4]));
    assert_eq!(again.inbox(0, 0).unwrap().rows, [(5, Inbox::Violation(Box::new(violation(4))))]);
}

#[test]
fn a_change_that_takes_what_is_taken_writes_nothing_and_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(&store, violations(1..=2));
    let change = folding(&store, 7);
    write(&store, vec![Change::Book(change.clone())]);
    write(&store, violations([3]));
    let twice = BookChange { take: vec![3, 2], ..change };
    let written = write(&store, vec![Change::Violation(violation(4)), Change::Book(twice), Change::Audit(audit(2))]);
    assert!(matches!(written[..], [Written::Added(_), Written::Stale, Written::Added(2)]), "{written:?}");
    assert_eq!(waiting(&store), [Inbox::Violation(Box::new(violation(3))), Inbox::Violation(Box::new(violation(4)))]);
    assert_eq!(store.transitions_since(0, 0).unwrap().rows.len(), 1);
}

#[test]
fn a_change_of_which_one_row_cannot_be_written_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(&store, violations(1..=2));
    let good = folding(&store, 7);
    let mut unknown = good.clone();
    unknown.folded.push(("77/wangiri/critical".into(), 7));
    let refused = store.record(vec![Change::Book(unknown)]).unwrap().wait().unwrap_err().to_string();
    assert!(refused.contains("violation `77/wangiri/critical` is not there"), "{refused}");
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    db.execute_batch(
        "CREATE TRIGGER t BEFORE INSERT ON subjects WHEN NEW.kind = 'incident' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .unwrap();
    // In one group with others, which are written.
    let other = store.record(violations([3])).unwrap();
    let refused = store.record(vec![Change::Book(good.clone())]).unwrap();
    assert!(matches!(refused.wait(), Err(StoreError::Refused(_))));
    other.wait().unwrap();
    assert_eq!(waiting(&store).len(), 3);
    assert_eq!(store.transitions_since(0, 0).unwrap().rows, []);
    assert_eq!(store.subjects(SubjectKind::Alert, &SubjectQuery::default()).unwrap().rows, []);
    assert_eq!(store.audits(&Query::default()).unwrap().rows, []);
    assert_eq!(store.violations(&Query { alert: Some(7), ..Query::default() }).unwrap().rows, []);
    db.execute_batch("DROP TRIGGER t").unwrap();
    assert_eq!(write(&store, vec![Change::Book(good)]), [Written::Added(1)]);
}

#[test]
fn a_violation_is_taken_by_one_alert_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(&store, violations(1..=2));
    write(&store, vec![Change::Book(folding(&store, 7))]);
    let fold = |alert| BookChange { folded: vec![(violation(1).id, alert)], ..BookChange::default() };
    let other = store.record(vec![Change::Book(fold(8))]).unwrap().wait().unwrap_err().to_string();
    assert!(other.contains("is another alert's already"), "{other}");
    assert_eq!(write(&store, vec![Change::Book(fold(7))]), [Written::Added(0)]);
}

#[test]
fn transitions_are_never_changed_deleted_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let change = BookChange { transitions: vec![transition(1), transition(2)], ..BookChange::default() };
    assert_eq!(write(&store, vec![Change::Book(change)]), [Written::Added(2)]);
    let db = Connection::open(folder.path().join(DATABASE)).unwrap();
    for sql in [
        "UPDATE transitions SET who = 'nobody'",
        "DELETE FROM transitions",
        "INSERT OR REPLACE INTO transitions SELECT seq, time, subject_kind, subject, from_state, to_state, what, 'nobody', \
         came_from, why, data, sum FROM transitions",
    ] {
        let refused = db.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("transitions: rows are never"), "{sql}: {refused}");
    }
    store.prune(Timestamp::MAX).unwrap();
    assert_eq!(store.transitions_since(0, 0).unwrap().rows, [(1, transition(1)), (2, transition(2))]);
}

#[test]
fn people_find_subjects_by_state_and_customer_and_steps_behind_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let state = |id| if id % 3 == 0 { "closed" } else { "open" };
    let change = BookChange {
        transitions: (1..=5).map(transition).collect(),
        subjects: (1..=10).map(|id| subject(SubjectKind::Alert, id, state(id))).collect(),
        ..BookChange::default()
    };
    write(&store, vec![Change::Book(change)]);
    let found = |query: SubjectQuery| {
        let page = store.subjects(SubjectKind::Alert, &query).unwrap();
        (page.rows.iter().map(|s| s.id).collect::<Vec<_>>(), page.next)
    };
    let all = SubjectQuery::default();
    assert_eq!(found(SubjectQuery { rows: 3, ..all.clone() }), (vec![10, 9, 8], Some(8)));
    assert_eq!(found(SubjectQuery { after: Some(8), rows: 3, ..all.clone() }), (vec![7, 6, 5], Some(5)));
    assert_eq!(found(SubjectQuery { open_only: true, after: Some(5), ..all.clone() }), (vec![4, 2, 1], None));
    assert_eq!(found(SubjectQuery { state: Some("closed".into()), ..all.clone() }).0, [9, 6, 3]);
    assert_eq!(found(SubjectQuery { customer: Some("customer-1".into()), ..all.clone() }).0, [9, 7, 5, 3, 1]);
    assert_eq!(found(SubjectQuery { ids: Some(vec![2, 11, 9]), ..all.clone() }).0, [9, 2]);
    assert_eq!(found(SubjectQuery { ids: Some(Vec::new()), ..all }).0, [0; 0], "none were asked for");
    assert_eq!(store.subjects(SubjectKind::Message, &SubjectQuery::default()).unwrap().rows, []);
    let steps = store.transitions_since(2, 2).unwrap();
    assert_eq!((steps.rows, steps.next), (vec![(3, transition(3)), (4, transition(4))], Some(4)));
    assert_eq!(SubjectKind::ALL.map(|kind| store.highest(kind).unwrap()), [10, 1, 0, 0, 0]);
}

#[test]
fn retention_leaves_what_the_book_has_not_taken_and_all_of_the_book() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(&store, violations(1..=4));
    write(&store, vec![Change::Closed(closing(1))]);
    write(&store, vec![Change::Book(folding(&store, 7))]);
    write(&store, violations(5..=6));
    write(&store, vec![Change::Closed(closing(2)), Change::Block(block("x", 1))]);
    assert_eq!(store.prune(Timestamp::MAX).unwrap(), 5, "four violations and a closing");
    assert_eq!(waiting(&store).len(), 3);
    assert_eq!(store.violations(&Query::default()).unwrap().rows.len(), 2);
    assert_eq!(store.subject(SubjectKind::Alert, 7).unwrap(), Some(subject(SubjectKind::Alert, 7, "open")));
    assert_eq!(store.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn people_and_tokens_are_written_once_changed_and_revoked_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (anna, token) = (user(), token());
    let orphan = store.record(vec![Change::Token(token.clone())]).unwrap();
    assert!(matches!(orphan.wait(), Err(StoreError::Refused(_))), "a token belongs to somebody");
    let story = vec![Change::User(anna.clone()), Change::Token(token.clone())];
    assert!(write(&store, story.clone()).iter().all(|w| matches!(w, Written::Added(_))));
    assert_eq!(write(&store, story), [Written::Known, Written::Known]);
    let changed = User { password: Some("$argon2id$x".into()), is_disabled: true, changed: Timestamp(9), ..anna };
    assert_eq!(write(&store, vec![Change::User(changed.clone())]), [Written::Changed(1)]);
    let used = |at| Change::TokenUsed { id: "t1".into(), at: Timestamp(at) };
    let revoked = |at| Change::TokenRevoked { id: "t1".into(), at: Timestamp(at) };
    let written = write(&store, vec![used(7), used(5), revoked(8), revoked(9)]);
    assert_eq!(written, [1, 0, 1, 0].map(Written::Changed));
    // Told again as it was made, it does not come to life.
    assert_eq!(write(&store, vec![Change::Token(token.clone())]), [Written::Known]);
    let token = Token { last_used: Some(Timestamp(7)), revoked: Some(Timestamp(8)), ..token };
    assert_eq!(store.token("t1").unwrap(), Some(token.clone()));
    assert_eq!(store.tokens(Some("anna"), 0, 0).unwrap().rows, [token]);
    assert_eq!(store.tokens(Some("bert"), 0, 0).unwrap().rows, []);
    assert_eq!(store.users(0, 0).unwrap().rows, std::slice::from_ref(&changed));
    assert_eq!(store.user("anna").unwrap(), Some(changed.clone()));
    assert!(!format!("{changed:?}").contains("argon2id"));
    assert_eq!(store.verify().unwrap(), Vec::<String>::new());
}
