//! The book as people meet it: violations and orders in, rows and messages out.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::customer::Customers;
use crate::kit::Kits;
use crate::policy::Severity as Level;

impl Book {
    /// Released messages that no provider has accepted yet.
    pub(super) fn unsent(&self) -> Vec<&Message> {
        let is_unsent = |m: &&Message| m.state == MessageState::Released && m.accepted.is_none();
        self.messages.values().filter(is_unsent).collect()
    }
}

/// Tuesday 2 June 2026, 10:00 in Chicago.
pub(super) const START: i64 = 1_780_412_400_000;
pub(super) const MINUTE: i64 = 60_000;

pub(super) struct Desk {
    pub(super) book: Book,
    pub(super) rows: Vec<Row>,
    /// As they were last written.
    pub(super) bodies: BTreeMap<(SubjectKind, i64), serde_json::Value>,
    /// What was to go out, and at which message of an incident the ones before it were out of date.
    pub(super) tellings: Vec<Telling>,
    pub(super) supersede: Vec<(i64, i64, Timestamp)>,
    n: u64,
}

pub(super) fn terms() -> Terms {
    Terms {
        customers: Arc::new(Customers::open(TimeZone::UTC)),
        kits: Arc::new(Kits::shipped()),
        own_kits: BTreeMap::new(),
    }
}

impl Desk {
    fn new() -> Desk {
        Desk::of(terms())
    }

    pub(super) fn of(terms: Terms) -> Desk {
        Desk {
            book: Book::new(terms, [], Timestamp(0)),
            rows: Vec::new(),
            bodies: BTreeMap::new(),
            tellings: Vec::new(),
            supersede: Vec::new(),
            n: 0,
        }
    }

    /// A violation after so many minutes.
    pub(super) fn sees(&mut self, minute: i64, rule: &str, key: &str, level: Level) -> i64 {
        self.n += 1;
        let at = Timestamp(START + minute * MINUTE);
        let key: Pairs = vec![("callee".to_owned(), key.to_owned())];
        let sighting = Sighting {
            violation: format!("{}/{rule}/{}", self.n, level.as_str()),
            time: at,
            customer: "acme".to_owned(),
            rule: rule.to_owned(),
            target: key.clone(),
            key,
            group: "tdos".to_owned(),
            level,
            is_silent: rule.starts_with("watch"),
            is_muted: rule.starts_with("mute"),
            what: "many calls to one number".to_owned(),
        };
        self.book.take(&sighting, at);
        self.keep();
        self.rows.iter().rev().find(|row| row.kind == SubjectKind::Incident).map_or(0, |row| row.id)
    }

    fn ends(&mut self, minute: i64, rule: &str, key: &str) {
        let time = Timestamp(START + minute * MINUTE);
        let key = vec![("callee".to_owned(), key.to_owned())];
        self.book.end(&Ending { time, customer: "acme".to_owned(), rule: rule.to_owned(), key }, time);
        self.keep();
    }

    pub(super) fn passes(&mut self, minute: i64) {
        self.book.pass(Timestamp(START + minute * MINUTE));
        self.keep();
    }

    pub(super) fn orders(&mut self, minute: i64, by: &Actor, command: Command) -> Result<Answer, Refusal> {
        let answer = self.book.order(by, &command, Timestamp(START + minute * MINUTE));
        self.keep();
        answer
    }

    pub(super) fn confirms(&mut self, incident: i64) {
        self.orders(0, &anna(), Command::Confirm { incident, why: String::new() }).unwrap();
    }

    pub(super) fn keep(&mut self) {
        let entries = self.book.drain();
        self.rows.extend(entries.rows);
        self.tellings.extend(entries.tellings);
        self.supersede.extend(entries.supersede);
        self.bodies.extend(entries.subjects.into_iter().map(|subject| ((subject.kind, subject.id), subject.body)));
    }

    /// `what` of the rows of a kind, in order.
    pub(super) fn said(&self, kind: SubjectKind) -> Vec<&str> {
        self.rows.iter().filter(|row| row.kind == kind).map(|row| row.what).collect()
    }

    pub(super) fn state(&self, incident: i64) -> IncidentState {
        self.book.incident(incident).expect("is there").state
    }
}

pub(super) fn person(name: &str, role: Role) -> Actor {
    Actor { name: name.to_owned(), roles: Roles::new([role]), from: "127.0.0.1".to_owned() }
}

pub(super) fn anna() -> Actor {
    person("anna", Role::Responder)
}

pub(super) fn carl() -> Actor {
    person("carl", Role::Commander)
}

pub(super) fn dora() -> Actor {
    person("dora", Role::Commander)
}

pub(super) fn scope(text: &str) -> Given {
    let mut given = Given { next_update: Some(Timestamp(START + 60 * MINUTE)), ..Given::default() };
    given.texts.insert("scope".to_owned(), text.to_owned());
    given
}

pub(super) fn draft(incident: i64, kit: &str, given: Given) -> Command {
    Command::Draft { incident, kit: kit.to_owned(), given }
}

#[test]
fn alerts_of_one_group_and_target_fold_and_others_do_not() {
    let mut desk = Desk::new();
    let first = desk.sees(0, "calls", "+1", Level::Critical);
    assert_eq!(desk.sees(1, "seconds", "+1", Level::Warning), first);
    let other = desk.sees(2, "calls", "+2", Level::Critical);
    assert_ne!(other, first);
    assert_eq!(desk.sees(20, "calls", "+1", Level::Critical), other, "no new row of an incident");
    let incident = desk.book.incident(first).expect("is there");
    assert_eq!((incident.violations, incident.alerts, incident.open_alerts), (3, 2, 2));
    assert_eq!(incident.state, IncidentState::Suspected);
}

#[test]
fn half_an_hour_after_its_last_alert_ended_a_quiet_incident_takes_no_more() {
    let mut desk = Desk::new();
    let first = desk.sees(0, "calls", "+1", Level::Critical);
    desk.ends(10, "calls", "+1");
    assert_eq!(desk.sees(30, "seconds", "+1", Level::Critical), first);
    desk.ends(31, "seconds", "+1");
    let second = desk.sees(62, "minutes", "+1", Level::Critical);
    assert_ne!(second, first);
    // One whose threshold is still crossed has its alerts now, whenever they began.
    assert_eq!(desk.sees(300, "hours", "+1", Level::Critical), second);
}

#[test]
fn an_alert_that_goes_to_another_incident_is_written_off_where_it_was() {
    let mut desk = Desk::new();
    let first = desk.sees(0, "calls", "+1", Level::Warning);
    desk.orders(1, &carl(), Command::Dismiss { incident: first, why: "a drill".to_owned() }).unwrap();
    assert_eq!(desk.bodies[&(SubjectKind::Incident, first)]["open_alerts"], 1);
    let second = desk.sees(45, "calls", "+1", Level::Warning);
    assert_ne!(second, first);
    let open = |id| desk.bodies[&(SubjectKind::Incident, id)]["open_alerts"].clone();
    assert_eq!((open(first), open(second)), (0.into(), 1.into()));
}

#[test]
fn an_alert_that_comes_back_too_often_flaps_once() {
    let mut desk = Desk::new();
    for round in 0..8 {
        desk.sees(round * 2, "calls", "+1", Level::Warning);
        desk.ends(round * 2 + 1, "calls", "+1");
    }
    let said = desk.said(SubjectKind::Alert);
    assert_eq!(said.iter().filter(|what| **what == "flapping").count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|what| **what == "opened").count(), 1);
    desk.passes(16 + 15);
    assert_eq!(desk.said(SubjectKind::Alert).last(), Some(&"closed"));
}

#[test]
fn a_rule_that_only_watches_is_recorded_and_makes_no_incident() {
    let mut desk = Desk::new();
    desk.sees(0, "watch-calls", "+1", Level::Critical);
    assert_eq!(desk.said(SubjectKind::Incident), [""; 0]);
    assert_eq!(desk.said(SubjectKind::Alert), ["opened"]);
}

#[test]
fn a_storm_of_keys_stays_bounded_and_loses_no_violation() {
    let mut book = Book::new(terms(), [], Timestamp(0));
    let mut folded = 0;
    for n in 0..5_000 {
        let sighting = Sighting {
            violation: format!("{n}/calls/critical"),
            time: Timestamp(START),
            customer: "acme".to_owned(),
            rule: "calls".to_owned(),
            key: vec![("caller".to_owned(), format!("+{n}")), ("callee".to_owned(), format!("+{}", n % 5))],
            group: "calls".to_owned(),
            target: vec![("callee".to_owned(), format!("+{}", n % 5))],
            level: Level::Critical,
            is_silent: false,
            is_muted: false,
            what: String::new(),
        };
        book.take(&sighting, Timestamp(START));
        folded += book.drain().folded.len();
    }
    assert_eq!(folded, 5_000);
    assert_eq!(book.counts().incidents.iter().map(|(_, _, n)| n).sum::<u64>(), 5);
    let of_incidents: u64 = (1..=5).map(|id| book.incident(id).expect("is there").violations).sum();
    assert_eq!(of_incidents, 5_000);
    let counted: u64 = (1..=5).map(|id| book.incident(id).expect("is there").alerts).sum();
    assert!(counted <= 1_005, "{counted} alerts");
}

#[test]
fn the_author_of_a_grave_notice_does_not_check_it_and_a_commander_does() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    let message = desk.orders(1, &carl(), draft(id, "confirmed", scope("two numbers"))).unwrap().message.unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    let check = || Command::Check { message, hash: hash.clone() };
    assert!(matches!(desk.orders(2, &carl(), check()), Err(Refusal::Forbidden(_))));
    assert!(matches!(desk.orders(2, &anna(), check()), Err(Refusal::Forbidden(_))));
    let release = || Command::Release { message, hash: hash.clone() };
    assert!(matches!(desk.orders(2, &dora(), release()), Err(Refusal::Conflict(_))));
    desk.orders(3, &dora(), check()).unwrap();
    // Two commanders at once: the second learns who was quicker.
    let Err(Refusal::Conflict(why)) = desk.orders(3, &dora(), check()) else { panic!("checked twice") };
    assert!(why.contains("checked by dora"), "{why}");
    desk.orders(4, &carl(), release()).unwrap();
    assert_eq!(desk.book.unsent().len(), 1);
    desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + 5 * MINUTE));
    desk.keep();
    assert_eq!(desk.said(SubjectKind::Objective), ["started", "met"]);
}

#[test]
fn a_change_of_text_or_of_the_incident_voids_the_check() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    let message = desk.orders(1, &anna(), draft(id, "confirmed", scope("one number"))).unwrap().message.unwrap();
    let hash = |desk: &Desk| desk.book.message(message).expect("is there").hash.clone();
    let looked_at = hash(&desk);
    desk.orders(2, &carl(), Command::Check { message, hash: looked_at.clone() }).unwrap();
    let redraft = Command::Redraft { message, hash: looked_at.clone(), given: scope("all numbers") };
    desk.orders(3, &anna(), redraft).unwrap();
    assert_ne!(hash(&desk), looked_at);
    assert!(desk.orders(4, &carl(), Command::Release { message, hash: looked_at.clone() }).is_err());
    assert!(desk.orders(4, &carl(), Command::Check { message, hash: looked_at }).is_err(), "of the text of before");
    let now = hash(&desk);
    desk.orders(5, &carl(), Command::Check { message, hash: now.clone() }).unwrap();
    let severity = Severity::DISASTER;
    let raise = Command::SetSeverity { incident: id, severity, why: "the hospital".to_owned() };
    desk.orders(6, &anna(), raise).unwrap();
    assert!(desk.orders(7, &carl(), Command::Release { message, hash: now.clone() }).is_err());
    assert_eq!(desk.book.message(message).expect("is there").state, MessageState::Drafted);
    let Err(Refusal::Conflict(why)) = desk.orders(8, &carl(), Command::Check { message, hash: now }) else {
        panic!("a text that says another severity was checked")
    };
    assert!(why.contains("says severity 2, and it is 1 now"), "{why}");
}

#[test]
fn a_kit_that_was_edited_after_the_check_voids_it() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    let message = desk.orders(1, &anna(), draft(id, "confirmed", scope("one number"))).unwrap().message.unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    desk.orders(2, &carl(), Command::Check { message, hash: hash.clone() }).unwrap();
    let mut draft = desk.book.message(message).expect("is there").clone();
    draft.kit_version = "of before".to_owned();
    desk.book.adopt(SubjectKind::Message, message, &serde_json::to_value(&draft).unwrap());
    let Err(Refusal::Conflict(why)) = desk.orders(3, &carl(), Command::Release { message, hash }) else {
        panic!("released")
    };
    assert!(why.contains("was edited"), "{why}");
    assert_eq!(desk.book.message(message).expect("is there").state, MessageState::Drafted);
}

#[test]
fn when_nobody_answers_the_deputy_and_the_manager_are_asked_and_the_holding_notice_goes_out() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(4);
    assert!(desk.book.unsent().is_empty());
    desk.passes(5);
    desk.passes(10);
    let unsent = desk.book.unsent();
    let [message] = unsent.as_slice() else { panic!("{} messages", unsent.len()) };
    assert!(message.is_before_check && message.kit == "holding" && message.incident == id);
    let asked: Vec<&str> = desk.rows.iter().filter(|row| row.what == "asked").map(|row| row.why.as_str()).collect();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].starts_with("commander") && asked[1].starts_with("deputy") && asked[2].starts_with("manager"));
    desk.passes(60);
    assert_eq!(desk.book.unsent().len(), 1, "once");
}

#[test]
fn a_first_notice_in_time_leaves_the_deputy_alone() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    let message = desk.orders(1, &anna(), draft(id, "confirmed", scope("x"))).unwrap().message.unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    desk.orders(2, &carl(), Command::Check { message, hash: hash.clone() }).unwrap();
    desk.orders(2, &carl(), Command::Release { message, hash }).unwrap();
    desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + 2 * MINUTE));
    desk.passes(30);
    assert_eq!(desk.rows.iter().filter(|row| row.what == "asked").count(), 1);
    assert_eq!(desk.rows.iter().filter(|row| row.what == "released").count(), 1);
}

#[test]
fn a_breach_stands_at_its_deadline_whenever_somebody_looks() {
    let mut desk = Desk::new();
    desk.sees(0, "calls", "+1", Level::Critical);
    // The service was down; the first look is the next day.
    desk.passes(24 * 60);
    let rows: Vec<&Row> = desk.rows.iter().filter(|row| row.kind == SubjectKind::Objective).collect();
    let breach = rows.iter().find(|row| row.what == "breached").expect("is there");
    assert_eq!(breach.time, Timestamp(START + 60 * MINUTE));
    assert_eq!(rows.iter().filter(|row| row.what == "warned").count(), 2, "{rows:?}");
    let message = desk.book.unsent()[0].id;
    desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + 25 * 60 * MINUTE));
    desk.keep();
    assert_eq!(desk.said(SubjectKind::Objective).last(), Some(&"late"));
}

#[test]
fn who_is_told_at_the_very_deadline_is_told_in_time() {
    for (late_ms, expected) in [(0, ClockState::Met), (1, ClockState::Late)] {
        let mut desk = Desk::new();
        let id = desk.sees(0, "calls", "+1", Level::Critical);
        desk.passes(10);
        let message = desk.book.unsent()[0].id;
        desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + 60 * MINUTE + late_ms));
        assert_eq!(desk.book.clock(id).map(|clock| clock.state), Some(expected));
    }
}

#[test]
fn a_clock_that_is_set_back_makes_no_row_older_than_the_one_before() {
    let mut desk = Desk::new();
    desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(1);
    desk.passes(-59);
    desk.passes(5);
    desk.passes(-55);
    let id = 1;
    desk.orders(-54, &anna(), Command::Note { incident: id, text: "looked".to_owned() }).unwrap();
    let times: Vec<i64> = desk.rows.iter().filter(|r| r.kind == SubjectKind::Incident).map(|r| r.time.0).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn fold_and_unfold_lose_nothing() {
    let mut desk = Desk::new();
    let one = desk.sees(0, "calls", "+1", Level::Critical);
    let two = desk.sees(1, "calls", "+2", Level::Critical);
    let fold = |from, into| Command::Fold { incident: from, into, why: "one attack".to_owned() };
    desk.orders(2, &anna(), fold(two, one)).unwrap();
    assert_eq!(desk.state(two), IncidentState::Merged);
    desk.sees(3, "calls", "+2", Level::Critical);
    assert!(desk.orders(4, &anna(), fold(one, two)).is_err(), "into a part of itself");
    desk.orders(5, &anna(), Command::Unfold { incident: two, why: "two after all".to_owned() }).unwrap();
    assert_eq!(desk.state(two), IncidentState::Suspected);
    let counts = |id| desk.book.incident(id).map(|i| (i.violations, i.alerts)).expect("is there");
    assert_eq!((counts(one), counts(two)), ((1, 1), (2, 1)));
}

#[test]
fn a_dismissed_false_alarm_goes_on_being_one_but_hides_no_new_attack() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.orders(1, &anna(), Command::Dismiss { incident: id, why: "a drill".to_owned() }).unwrap();
    desk.sees(2, "calls", "+1", Level::Critical);
    assert_eq!(desk.book.incident(id).expect("is there").violations, 2);
    assert_ne!(desk.sees(3, "seconds", "+1", Level::Critical), id);
    assert_eq!(desk.said(SubjectKind::Objective), ["started", "stopped", "started"]);
}

#[test]
fn what_the_customer_was_told_of_ends_with_findings_and_a_last_notice() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(10);
    let holding = desk.book.unsent()[0].id;
    desk.book.accepted(holding, "DLV-000001: mail took it", Timestamp(START + 10 * MINUTE));
    let resolve = || Command::Resolve { incident: id, why: "it stopped".to_owned() };
    desk.orders(11, &anna(), Command::Confirm { incident: id, why: String::new() }).unwrap();
    let Err(Refusal::Conflict(why)) = desk.orders(12, &anna(), resolve()) else { panic!("resolved") };
    assert!(why.contains("findings and recommendations"), "{why}");
    let text = |t: &str| Some(t.to_owned());
    let findings = Command::Findings { incident: id, findings: text("one caller"), recommendations: text("block it") };
    desk.orders(13, &anna(), findings).unwrap();
    let done = desk.orders(14, &anna(), resolve()).unwrap();
    assert_eq!(done.hints.len(), 1, "{:?}", done.hints);
    assert_eq!(
        desk.book.message(done.message.unwrap_or_else(|| panic!("{:?}", done.hints))).expect("is there").kit,
        "resolved"
    );
    assert_eq!(desk.state(id), IncidentState::Resolved);
    // It comes back a moment later: it was not over.
    desk.sees(15, "calls", "+1", Level::Critical);
    assert_eq!(desk.state(id), IncidentState::Confirmed);
    let steps: Vec<&str> =
        desk.rows.iter().filter(|r| r.kind == SubjectKind::Incident && r.from != r.to).map(|r| r.to).collect();
    assert_eq!(steps, ["candidate", "suspected", "confirmed", "mitigating", "monitoring", "resolved", "confirmed"],);
}

#[test]
fn a_severity_that_the_customer_was_told_is_corrected() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(10);
    let holding = desk.book.unsent()[0].id;
    desk.book.accepted(holding, "DLV-000001: mail took it", Timestamp(START + 10 * MINUTE));
    let lower = Command::SetSeverity { incident: id, severity: Severity::MINOR, why: "two numbers only".to_owned() };
    let done = desk.orders(11, &anna(), lower).unwrap();
    let message = desk.book.message(done.message.expect("a correction")).expect("is there");
    assert_eq!((message.kit.as_str(), message.severity), ("severity", Severity::MINOR));
    // It was grave when it was told: the correction is checked as that.
    let (id, hash) = (message.id, message.hash.clone());
    assert!(matches!(desk.orders(12, &anna(), Command::Check { message: id, hash }), Err(Refusal::Forbidden(_))));
    // The rules no longer change what a person has set.
    desk.sees(13, "seconds", "+1", Level::Critical);
    assert_eq!(desk.book.incident(1).expect("is there").severity, Severity::MINOR);
}

#[test]
fn a_notice_that_is_released_long_after_the_end_still_goes_out() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.orders(1, &anna(), Command::Dismiss { incident: id, why: "a drill".to_owned() }).unwrap();
    desk.passes(20);
    let mut given = Given::default();
    given.texts.insert("reason".to_owned(), "a drill".to_owned());
    let message = desk.orders(25, &anna(), draft(id, "false-alarm", given)).unwrap().message.unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    desk.orders(26, &carl(), Command::Check { message, hash: hash.clone() }).unwrap();
    desk.orders(50, &carl(), Command::Release { message, hash }).unwrap();
    desk.passes(90);
    assert_eq!(desk.book.unsent().len(), 1);
    desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + 91 * MINUTE));
    desk.passes(130);
    assert!(desk.book.incident(id).is_none() && desk.book.message(message).is_none(), "it is over");
}

#[test]
fn what_is_folded_into_another_makes_that_graver_and_starts_its_clock() {
    let mut desk = Desk::new();
    let whole = desk.sees(0, "calls", "+1", Level::Warning);
    let part = desk.sees(0, "calls", "+2", Level::Warning);
    desk.orders(1, &anna(), Command::Fold { incident: part, into: whole, why: String::new() }).unwrap();
    desk.sees(2, "seconds", "+2", Level::Critical);
    let incident = desk.book.incident(whole).expect("is there");
    assert_eq!((incident.state, incident.severity), (IncidentState::Suspected, Severity::MAJOR));
    assert!(desk.book.clock(whole).is_some() && incident.asked_since.is_some());
    assert_eq!(desk.book.incident(part).map(|part| part.violations), Some(2));
}

#[test]
fn the_one_who_waits_for_a_commander_waits_no_longer_because_of_a_fold() {
    let mut desk = Desk::new();
    let part = desk.sees(0, "calls", "+1", Level::Critical);
    let whole = desk.sees(4, "calls", "+2", Level::Warning);
    desk.orders(5, &anna(), Command::Fold { incident: part, into: whole, why: String::new() }).unwrap();
    desk.passes(10);
    let unsent = desk.book.unsent();
    assert_eq!(unsent.iter().map(|m| (m.incident, m.kit.as_str())).collect::<Vec<_>>(), [(whole, "holding")]);
    let message = unsent[0].id;
    desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + 11 * MINUTE));
    desk.keep();
    assert_eq!(desk.book.clock(part).map(|clock| clock.state), Some(ClockState::Met));
}

#[test]
fn a_rule_that_came_into_force_is_silent_no_longer() {
    let mut desk = Desk::new();
    desk.sees(0, "watch-calls", "+1", Level::Critical);
    let key: Pairs = vec![("callee".to_owned(), "+1".to_owned())];
    let (at, rule) = (Timestamp(START + MINUTE), "watch-calls".to_owned());
    let (violation, customer, group) = ("9/watch-calls/critical".to_owned(), "acme".to_owned(), rule.clone());
    let what = String::new();
    let (level, target) = (Level::Critical, Pairs::new());
    let is_silent = false;
    let sighting =
        Sighting { violation, time: at, customer, rule, key, group, target, level, is_silent, is_muted: false, what };
    desk.book.take(&sighting, at);
    desk.keep();
    assert_eq!(desk.book.incident(1).map(|incident| incident.state), Some(IncidentState::Suspected));
}

#[test]
fn what_comes_back_after_the_end_is_told_again_and_the_end_is_not() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(10);
    let holding = desk.book.unsent()[0].id;
    desk.book.accepted(holding, "DLV-000001: mail took it", Timestamp(START + 10 * MINUTE));
    desk.confirms(id);
    let text = Some("one caller".to_owned());
    let both = Command::Findings { incident: id, findings: text.clone(), recommendations: text };
    desk.orders(12, &anna(), both).unwrap();
    let end = desk.orders(13, &anna(), Command::Resolve { incident: id, why: "blocked".to_owned() }).unwrap();
    let end = end.message.expect("a draft");
    let hash = desk.book.message(end).expect("is there").hash.clone();
    desk.orders(14, &carl(), Command::Check { message: end, hash: hash.clone() }).unwrap();
    desk.sees(15, "calls", "+1", Level::Critical);
    assert!(desk.orders(16, &carl(), Command::Release { message: end, hash }).is_err(), "it is not over");
    desk.passes(20);
    assert!(desk.book.unsent().is_empty(), "the commander has ten minutes again");
    desk.passes(25);
    assert_eq!(desk.book.unsent().len(), 1);
}

#[test]
fn lowering_the_severity_spares_nobody_the_second_person() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    let set = |severity| Command::SetSeverity { incident: id, severity, why: "small".to_owned() };
    desk.orders(1, &anna(), set(Severity::MINOR)).unwrap();
    desk.confirms(id);
    let message = desk.orders(2, &carl(), draft(id, "confirmed", scope("x"))).unwrap().message.unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    assert!(matches!(
        desk.orders(3, &carl(), Command::Check { message, hash: hash.clone() }),
        Err(Refusal::Forbidden(_))
    ));
    // Nor does having somebody else touch it.
    desk.orders(4, &dora(), Command::Redraft { message, hash, given: scope("y") }).unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    assert!(matches!(desk.orders(5, &carl(), Command::Check { message, hash }), Err(Refusal::Forbidden(_))));
}

#[test]
fn a_storm_of_targets_stays_bounded() {
    let mut book = Book::new(terms(), [], Timestamp(0));
    for n in 0..3_000 {
        let pairs: Pairs = vec![("caller".to_owned(), format!("+{n}"))];
        let sighting = Sighting {
            violation: format!("{n}/calls/critical"),
            time: Timestamp(START),
            customer: "acme".to_owned(),
            rule: "calls".to_owned(),
            key: pairs.clone(),
            group: "calls".to_owned(),
            target: pairs,
            level: Level::Critical,
            is_silent: false,
            is_muted: false,
            what: String::new(),
        };
        book.take(&sighting, Timestamp(START));
        drop(book.drain());
    }
    assert_eq!(book.counts().incidents.iter().map(|(_, _, n)| n).sum::<u64>(), 201);
}

#[test]
fn two_disasters_at_once_are_two_incidents_each_with_its_own_people_and_notices() {
    let mut desk = Desk::new();
    let ids = [desk.sees(0, "calls", "+1", Level::Critical), desk.sees(0, "calls", "+2", Level::Critical)];
    for (id, commander) in ids.into_iter().zip(["carl", "dora"]) {
        let (position, person) = (Position::Commander, commander.to_owned());
        desk.orders(1, &carl(), Command::Assign { incident: id, position, person }).unwrap();
        let (severity, why) = (Severity::DISASTER, "the hospital".to_owned());
        desk.orders(1, &carl(), Command::SetSeverity { incident: id, severity, why }).unwrap();
    }
    let commanders = ids.map(|id| desk.book.incident(id).expect("is there").commander.clone());
    assert_eq!(commanders.map(Option::unwrap), ["carl", "dora"]);
    desk.passes(11);
    let told: Vec<i64> = desk.book.unsent().iter().map(|message| message.incident).collect();
    assert_eq!(told, ids, "nobody answered for either");
}

#[test]
fn an_alert_whose_rule_was_removed_is_over_and_its_incident_is_still_there() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.sees(0, "seconds", "+1", Level::Critical);
    desk.book.keep_rules(|rule| rule == "seconds", Timestamp(START + MINUTE));
    desk.keep();
    assert_eq!(desk.book.incident(id).expect("is there").open_alerts, 1);
    assert!(desk.rows.iter().any(|row| row.what == "quiet" && row.why == "its rule is no more"));
    desk.orders(2, &anna(), Command::Confirm { incident: id, why: String::new() }).unwrap();
}

#[test]
fn every_step_along_the_tables_and_no_other_is_legal() {
    let moves = |from: IncidentState| IncidentState::ALL.into_iter().filter(move |to| from.may_become(*to));
    assert_eq!(moves(IncidentState::Reviewed).count(), 0);
    assert_eq!(moves(IncidentState::Dismissed).count(), 0);
    assert_eq!(moves(IncidentState::Candidate).count(), 3);
    assert!(MessageState::Drafted.may_become(MessageState::Released, true));
    for from in MessageState::ALL {
        let may = from.may_become(MessageState::Released, false);
        assert_eq!(may, from == MessageState::Checked, "{from:?}");
    }
}

/// What a person may try, in any order.
fn attempts() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    proptest::collection::vec((0..12_u8, 0..4_u8, 0..3_u8), 1..60)
}

proptest! {
    #[test]
    fn no_message_is_released_without_a_check_of_its_exact_text(attempts in attempts()) {
        let people = [anna(), carl(), dora(), person("vera", Role::Viewer)];
        let mut desk = Desk::new();
        desk.sees(0, "calls", "+1", Level::Critical);
        desk.sees(0, "calls", "+2", Level::Critical);
        for (minute, (what, who, which)) in attempts.into_iter().enumerate() {
            let (minute, by, id) = (minute as i64, &people[usize::from(who)], i64::from(which) % 2 + 1);
            let message = i64::from(which) + 1;
            let hash = desk.book.message(message).map(|m| m.hash.clone()).unwrap_or_default();
            let why = || "why".to_owned();
            let command = match what {
                0 => draft(id, "confirmed", scope(&format!("at {minute}"))),
                1 => Command::Redraft { message, hash, given: scope(&format!("again at {minute}")) },
                2 | 3 => Command::Check { message, hash },
                4 | 5 => Command::Release { message, hash },
                6 => Command::Return { message, comment: why() },
                7 => Command::SetSeverity { incident: id, severity: Severity::ALL[usize::from(which)], why: why() },
                8 => Command::Confirm { incident: id, why: why() },
                9 => Command::Withdraw { message, why: why() },
                10 => Command::Fold { incident: id, into: 3 - id, why: why() },
                _ => Command::Unfold { incident: id, why: why() },
            };
            if desk.orders(minute, by, command.clone()).is_ok() && matches!(command, Command::Check { .. }) {
                let message = desk.book.message(message).expect("is there");
                prop_assert!(!message.authors.contains(&by.name) || !message.severity.is_grave());
            }
        }
        let mut checked = std::collections::HashMap::new();
        for row in desk.rows.iter().filter(|row| row.kind == SubjectKind::Message) {
            let hash = row.data.get("hash").cloned();
            match row.what {
                "checked" => drop(checked.insert(row.id, hash)),
                "released" if row.from == "drafted" => {
                    let message = desk.book.message(row.id).expect("is there");
                    prop_assert!(message.is_before_check && message.kit == "holding");
                    prop_assert!(row.why.contains("before the check"));
                }
                "released" => prop_assert_eq!(checked.get(&row.id), Some(&hash)),
                "redrafted" | "returned" | "voided" => drop(checked.remove(&row.id)),
                _ => {}
            }
        }
    }
}

#[test]
fn what_is_muted_is_an_incident_of_which_nobody_is_told() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "mute-calls", "+1", Level::Critical);
    desk.sees(1, "mute-calls", "+2", Level::Critical);
    desk.passes(60);
    assert_eq!((desk.state(id), desk.book.incidents.len()), (IncidentState::Candidate, 2));
    assert!(desk.book.clocks.is_empty() && desk.tellings.is_empty() && desk.book.messages.is_empty());
    let incident = desk.book.incident(id).unwrap();
    assert_eq!((incident.severity, incident.violations, incident.asked_since), (Severity::LOW, 1, None));
    let opened = desk.rows.iter().find(|row| row.kind == SubjectKind::Incident && row.what == "opened").unwrap();
    assert_eq!(opened.why, "mute-calls reached its critical level, muted: nobody is told");
}

#[test]
fn what_is_not_muted_any_more_is_told_as_if_nothing_had_been_before() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "mute-calls", "+1", Level::Critical);
    assert!(desk.book.alerts.values().all(|alert| alert.is_muted && alert.is_critical));
    let joined = desk.sees(1, "calls", "+1", Level::Critical);
    assert_eq!((joined, desk.state(id)), (id, IncidentState::Suspected));
    let incident = desk.book.incident(id).unwrap();
    assert!(incident.severity.is_grave() && incident.asked_since.is_some());
    assert!(desk.book.clock(id).is_some());
}

#[test]
fn what_is_muted_moves_no_incident_that_people_look_after() {
    let mut desk = Desk::new();
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    let text = Some("one caller".to_owned());
    let both = Command::Findings { incident: id, findings: text.clone(), recommendations: text };
    desk.orders(2, &anna(), both).unwrap();
    desk.orders(3, &anna(), Command::Resolve { incident: id, why: "blocked".to_owned() }).unwrap();
    desk.sees(4, "mute-calls", "+1", Level::Critical);
    assert_eq!(desk.state(id), IncidentState::Resolved);
    assert_eq!(desk.book.incident(id).map(|incident| (incident.violations, incident.reopened)), Some((2, 0)));
    desk.sees(5, "calls", "+1", Level::Critical);
    assert_eq!(desk.state(id), IncidentState::Confirmed, "what is not muted reopens it");
}

#[test]
fn what_is_open_under_the_old_id_of_a_rule_goes_on_under_the_new() {
    let mut desk = Desk::new();
    let old = |minute: i64, rule: &str, desk: &mut Desk| {
        let at = Timestamp(START + minute * MINUTE);
        let key: Pairs = vec![("callee".to_owned(), "+1".to_owned())];
        let sighting = Sighting {
            violation: format!("{minute}/{rule}/critical"),
            time: at,
            customer: "acme".to_owned(),
            rule: rule.to_owned(),
            key: key.clone(),
            group: rule.to_owned(),
            target: key,
            level: Level::Critical,
            is_silent: false,
            is_muted: false,
            what: String::new(),
        };
        desk.book.take(&sighting, at);
        desk.keep();
    };
    old(0, "before", &mut desk);
    let to = super::Renamed { rule: "after".to_owned(), group: "after".to_owned() };
    desk.book.rename_rules(&[("before".to_owned(), to)].into(), Timestamp(START + MINUTE));
    desk.book.keep_rules(|rule| rule == "after", Timestamp(START + MINUTE));
    desk.keep();
    old(2, "after", &mut desk);
    assert_eq!((desk.book.alerts.len(), desk.book.incidents.len()), (1, 1));
    let alert = desk.book.alerts.values().next().unwrap();
    assert_eq!((alert.rule.as_str(), alert.count, alert.state), ("after", 2, AlertState::Open));
    assert_eq!(desk.book.incident(1).map(|incident| incident.group.as_str()), Some("after"));
    desk.ends(3, "after", "+1");
    assert!(desk.book.alerts.values().all(|alert| alert.state == AlertState::Quiet), "its end is found");
    assert!(desk.said(SubjectKind::Alert).contains(&"renamed"));
}
