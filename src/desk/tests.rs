//! The desk with a real store: what comes in is durable, once, also over an end and a new start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::customer::Customers;
use crate::incident::{Role, Roles};
use crate::kit::Kits;
use crate::store::{Change, Key, SubjectKind, SubjectQuery, Violation};

fn begin(folder: &Path) -> (Arc<Store>, Desk) {
    begin_for(folder, Arc::new(Customers::open(TimeZone::UTC)))
}

fn begin_for(folder: &Path, customers: Arc<Customers>) -> (Arc<Store>, Desk) {
    let mut charge = charge(folder);
    charge.terms.customers = customers;
    (Arc::clone(&charge.store), Desk::start(charge).unwrap())
}

pub(super) fn charge(folder: &Path) -> Charge {
    let store = Arc::new(Store::open(folder).unwrap().0);
    let customers = Arc::new(Customers::open(TimeZone::UTC));
    let terms = Terms { customers, kits: Arc::new(Kits::shipped()), own_kits: BTreeMap::new() };
    Charge { store, terms, rules: vec!["calls".to_owned()], renamed: BTreeMap::new(), whats: BTreeMap::new() }
}

fn violation(n: u64, rule: &str) -> Change {
    Change::Violation(Violation {
        id: format!("{n}/{rule}/critical"),
        position: n,
        time: Clock.now(),
        customer: "acme".into(),
        rule: rule.into(),
        level: "critical".into(),
        key: Key(vec![("callee".into(), format!("+{}", n % 3))]),
        measure: "count".into(),
        value: 9.0,
        threshold: 5.0,
        window: "1m".into(),
        call_id: String::new(),
        mode: "enforce".into(),
        late: false,
        told_at: None,
        group: "tdos".into(),
        target: Key(Vec::new()),
        alert: None,
        what: String::new(),
    })
}

fn record(store: &Store, changes: Vec<Change>) {
    store.record(changes).unwrap().wait().unwrap();
}

fn wait_for(what: impl Fn() -> bool) {
    let until = Clock.monotonic() + Duration::from_secs(20);
    while !what() {
        assert!(Clock.monotonic() < until, "it did not come");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn anna() -> Actor {
    Actor { name: "anna".into(), roles: Roles::new([Role::Responder, Role::Commander]), from: "local".into() }
}

fn bodies(store: &Store, kind: SubjectKind) -> Vec<serde_json::Value> {
    let page = store.subjects(kind, &SubjectQuery::default()).unwrap();
    page.rows.iter().map(|row| serde_json::from_str(&row.body).unwrap()).collect()
}

#[test]
fn what_the_store_holds_is_taken_once_and_goes_on_after_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let (store, desk) = begin(folder.path());
    record(&store, (1..=4).map(|n| violation(n, "calls")).collect());
    wait_for(|| !bodies(&store, SubjectKind::Incident).is_empty());
    desk.stop();
    // Told again after a crash, with more behind it, while nobody is at the desk.
    record(&store, (3..=6).map(|n| violation(n, "calls")).collect());
    drop((store, desk));
    let (store, desk) = begin(folder.path());
    wait_for(|| bodies(&store, SubjectKind::Incident).first().is_some_and(|i| i["violations"] == 6));
    assert_eq!(bodies(&store, SubjectKind::Incident).len(), 1);
    assert_eq!(bodies(&store, SubjectKind::Alert).len(), 3);
    assert!(store.violations(&crate::store::Query::default()).unwrap().rows.iter().all(|v| v.alert.is_some()));
    desk.stop();
}

#[test]
fn an_order_is_durable_when_it_is_answered_and_a_notice_goes_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, desk) = begin(folder.path());
    let (what, why) = ("mail is down".to_owned(), String::new());
    let open = Command::Open { customer: "acme".into(), what, severity: crate::incident::Severity::MINOR, why };
    let incident = desk.order(anna(), open).unwrap().incident.unwrap();
    assert_eq!(bodies(&store, SubjectKind::Incident)[0]["state"], "suspected");
    let draft = Command::Draft { incident, kit: "holding".into(), given: crate::incident::Given::default() };
    let message = desk.order(anna(), draft).unwrap().message.unwrap();
    let hash = bodies(&store, SubjectKind::Message)[0]["hash"].as_str().unwrap().to_owned();
    desk.order(anna(), Command::Check { message, hash: hash.clone() }).unwrap();
    desk.order(anna(), Command::Release { message, hash }).unwrap();
    assert_eq!(store.deliveries(&Default::default()).unwrap().rows.len(), 1, "it is queued with its release");
    desk.accepted(message, Clock.now(), "DLV-000001: mail took it".into());
    wait_for(|| bodies(&store, SubjectKind::Message)[0]["accepted"].is_string());
    assert!(desk.order(anna(), Command::Confirm { incident: 99, why: String::new() }).is_err());
    desk.stop();
    assert!(matches!(
        desk.order(anna(), Command::Note { incident, text: "x".into() }),
        Err(OrderError::Busy | OrderError::Unknown)
    ));
    drop((store, desk));
    let (store, desk) = begin(folder.path());
    desk.stop();
    assert_eq!(store.deliveries(&Default::default()).unwrap().rows.len(), 1);
}

#[test]
fn an_incident_that_was_forgotten_is_taken_in_again_when_somebody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (store, desk) = begin(folder.path());
    record(&store, vec![violation(1, "calls")]);
    wait_for(|| !bodies(&store, SubjectKind::Incident).is_empty());
    desk.order(anna(), Command::Dismiss { incident: 1, why: "a drill".into() }).unwrap();
    desk.stop();
    // As it would be half an hour later.
    let mut row = store.subject(SubjectKind::Incident, 1).unwrap().unwrap();
    row.is_open = false;
    let change = crate::store::BookChange { subjects: vec![row], ..Default::default() };
    record(&store, vec![Change::Book(change)]);
    drop((store, desk));
    let (store, desk) = begin(folder.path());
    desk.order(anna(), Command::Note { incident: 1, text: "it was the fire drill".into() }).unwrap();
    let last = store.transitions(SubjectKind::Incident, 1, 0, 0).unwrap().rows.pop().unwrap().1;
    assert_eq!((last.what.as_str(), last.time > Timestamp(0)), ("note", true));
    desk.stop();
}
