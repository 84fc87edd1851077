//! Who is told of what: distributions in, tellings out; and that nobody who heard of a start misses the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{Desk, MINUTE, START, anna, carl, dora, draft, scope, terms};
use super::*;
use crate::clock::Timestamp;
use crate::policy::{LoadOptions, RuleSource, Severity as Level, load};

/// Terms of a service whose one customer, `acme`, has this file.
pub(super) fn terms_of(file: &str) -> Terms {
    let rules = "ringfence = 1\ndefault_action = 'allow'\n";
    let source = RuleSource::memory([("ruleset.toml", rules), ("customers/acme.toml", file)]);
    let loaded = load(&source, LoadOptions::default());
    let told: Vec<String> = loaded.problems.iter().map(|p| format!("{} {}", p.code, p.message)).collect();
    let policy = loaded.policy.unwrap_or_else(|| panic!("{told:?}"));
    Terms { customers: Arc::clone(&policy.customers), ..terms() }
}

/// A contact with a mail address and a mobile number of its own.
pub(super) fn contact(id: &str, number: u8) -> String {
    format!(
        "[[contact]]\nid = '{id}'\nname = 'The {id}'\nuser = '{id}'\nemail = '{id}@acme.example'\n\
         mobile = '+131255501{number:02}'\nrights = ['receive']\n"
    )
}

pub(super) const ESCALATION: &str =
    "[escalation]\nname = 'Desk'\nphone = '+13125550199'\nemail = 'desk@acme.example'\n";

/// Notices, as `channel address (audience)`, in order.
fn told(tellings: &[Telling]) -> Vec<String> {
    let notices = tellings.iter().filter(|telling| telling.about.purpose == Purpose::Notice);
    let line = |telling: &Telling| {
        let Recipient { channel, address, audience, .. } = &telling.recipient;
        format!("{channel} {address} ({audience})")
    };
    notices.map(line).collect()
}

/// Drafts a notice, has it checked, and releases it.
fn release(desk: &mut Desk, minute: i64, incident: i64, kit: &str, given: Given) -> i64 {
    let message = desk.orders(minute, &anna(), draft(incident, kit, given)).unwrap().message.unwrap();
    send(desk, minute, message);
    message
}

fn send(desk: &mut Desk, minute: i64, message: i64) {
    let hash = desk.book.message(message).expect("is there").hash.clone();
    desk.orders(minute, &carl(), Command::Check { message, hash: hash.clone() }).unwrap();
    desk.orders(minute, &dora(), Command::Release { message, hash }).unwrap();
}

/// An incident of a severity, opened by a person and confirmed, and what is told at its first notice.
fn first_notice(file: &str, severity: Severity) -> Vec<String> {
    let mut desk = Desk::of(terms_of(file));
    let id = opens(&mut desk, severity);
    release(&mut desk, 1, id, "confirmed", scope("two numbers"));
    told(&desk.tellings)
}

fn opens(desk: &mut Desk, severity: Severity) -> i64 {
    let (customer, what, why) = ("acme".to_owned(), "no calls come in".to_owned(), String::new());
    let id = desk.orders(0, &anna(), Command::Open { customer, what, severity, why }).unwrap().incident.unwrap();
    desk.confirms(id);
    id
}

fn accept(desk: &mut Desk, minute: i64, message: i64) {
    desk.book.accepted(message, "DLV-000001: mail took it", Timestamp(START + minute * MINUTE));
    desk.keep();
}

/// Resolves it as the customer was told of it, and releases the end.
fn ends(desk: &mut Desk, minute: i64, incident: i64) -> i64 {
    let text = Some("one caller".to_owned());
    let findings = Command::Findings { incident, findings: text.clone(), recommendations: text };
    desk.orders(minute, &anna(), findings).unwrap();
    let resolve = Command::Resolve { incident, why: "it stopped".to_owned() };
    let answer = desk.orders(minute, &anna(), resolve).unwrap();
    let message = answer.message.unwrap_or_else(|| panic!("{:?}", answer.hints));
    send(desk, minute, message);
    message
}

const DISTRIBUTIONS: &str = "
[[distribution]]
severities = [1, 2]
audience = 'customer'
to = ['anna', 'bo']
channels = ['mail', 'sms']
[[distribution]]
severities = [2, 3]
audience = 'helpdesk'
to = ['bo']
channels = ['mail']
[[distribution]]
severities = [1, 2, 3]
audience = 'staff'
channels = ['syslog', 'portal', 'webhook:noc']
";

#[test]
fn each_severity_has_its_own_people_and_ways() {
    let file = format!("name = 'Acme'\n{}{}{ESCALATION}{DISTRIBUTIONS}", contact("anna", 1), contact("bo", 2));
    let programs = ["syslog  (program)", "webhook:noc  (program)"];
    let customer = [
        "mail anna@acme.example (customer)",
        "mail bo@acme.example (customer)",
        "sms +13125550101 (customer)",
        "sms +13125550102 (customer)",
    ];
    assert_eq!(first_notice(&file, Severity::DISASTER), [&customer[..], &programs].concat());
    // Bo is in two of its lists and hears once.
    assert_eq!(first_notice(&file, Severity::MAJOR), [&customer[..], &programs].concat());
    assert_eq!(first_notice(&file, Severity::MINOR), [&["mail bo@acme.example (helpdesk)"][..], &programs].concat());
    let desk = ["mail desk@acme.example (escalation)", "sms +13125550199 (escalation)"];
    assert_eq!(first_notice(&file, Severity::LOW), desk);
}

#[test]
fn contacts_who_share_an_address_are_one_telling_and_it_counts_for_the_customer() {
    let file = "name = 'Acme'
[[contact]]
id = 'ours'
email = 'Voice@Acme.example'
rights = ['receive']
[[contact]]
id = 'theirs'
email = 'voice@acme.example'
rights = ['receive']
[[distribution]]
severities = [2]
audience = 'staff'
to = ['ours']
channels = ['mail']
[[distribution]]
severities = [2]
audience = 'customer'
to = ['theirs']
channels = ['mail']
";
    let mut desk = Desk::of(terms_of(file));
    let id = opens(&mut desk, Severity::MAJOR);
    release(&mut desk, 1, id, "confirmed", scope("two numbers"));
    assert_eq!(told(&desk.tellings), ["mail Voice@Acme.example (staff)"]);
    assert!(desk.tellings[0].recipient.is_contact, "the customer has it with that");
}

#[test]
fn who_has_no_address_for_a_way_is_told_by_the_others() {
    let file = "name = 'Acme'
[[contact]]
id = 'mail'
email = 'mail@acme.example'
rights = ['receive']
[[roster]]
name = 'all'
people = ['mail']
[[distribution]]
severities = [2]
audience = 'customer'
to = ['all']
channels = ['mail', 'sms', 'call-sheet']
";
    assert_eq!(first_notice(file, Severity::MAJOR), ["mail mail@acme.example (customer)"]);
}

#[test]
fn where_the_file_names_no_person_the_escalation_contact_hears_and_else_standard_output() {
    let programs = "[[distribution]]\nseverities = [2]\naudience = 'staff'\nchannels = ['pagerduty', 'acd']\n";
    let desk = ["mail desk@acme.example (escalation)", "sms +13125550199 (escalation)"];
    let found = first_notice(&format!("name = 'Acme'\n{ESCALATION}{programs}"), Severity::MAJOR);
    assert_eq!(found, [&["pagerduty  (program)", "acd  (program)"][..], &desk].concat());
    let found = first_notice(&format!("name = 'Acme'\n{programs}"), Severity::MAJOR);
    assert_eq!(found, ["pagerduty  (program)", "acd  (program)", "stdout  (default)"]);
    assert_eq!(first_notice("name = 'Acme'\n", Severity::MAJOR), ["stdout  (default)"]);
    let phone = "name = 'Acme'\n[escalation]\nname = 'Desk'\nphone = '+13125550199'\n";
    assert_eq!(first_notice(phone, Severity::MAJOR), ["sms +13125550199 (escalation)"]);
}

#[test]
fn a_telling_says_what_it_is_of_and_why() {
    let file = format!("name = 'Acme'\n{}{DISTRIBUTIONS}", contact("anna", 1) + &contact("bo", 2));
    let mut desk = Desk::of(terms_of(&file));
    let id = opens(&mut desk, Severity::DISASTER);
    let message = release(&mut desk, 1, id, "confirmed", scope("two numbers"));
    let telling = &desk.tellings.iter().find(|t| t.about.purpose == Purpose::Notice).expect("some");
    assert_eq!(telling.once, "MSG-000001/mail/anna@acme.example");
    assert_eq!((telling.incident, telling.message, telling.severity), (id, Some(message), Severity::DISASTER));
    assert_eq!((telling.about.kit.as_str(), telling.about.is_end), ("confirmed", false));
    assert_eq!((telling.about.person.as_str(), telling.about.contact.as_str()), ("The anna", "anna"));
    assert_eq!(telling.why, "audience customer, severity 1");
    assert_eq!(telling.valid_until, telling.queued.plus_ms(24 * 60 * MINUTE));
    assert_eq!(desk.supersede, [(id, message, telling.queued)]);
}

#[test]
fn a_correction_and_the_end_go_to_all_who_were_told_of_the_severity_before() {
    let file = format!("name = 'Acme'\n{}{}{ESCALATION}{DISTRIBUTIONS}", contact("anna", 1), contact("bo", 2));
    let mut desk = Desk::of(terms_of(&file));
    let id = opens(&mut desk, Severity::DISASTER);
    let start = release(&mut desk, 1, id, "confirmed", scope("two numbers"));
    accept(&mut desk, 2, start);
    let first: BTreeSet<String> = told(&desk.tellings).into_iter().collect();
    desk.tellings.clear();
    let lower = Command::SetSeverity { incident: id, severity: Severity::LOW, why: "one number only".to_owned() };
    let correction = desk.orders(3, &anna(), lower).unwrap().message.expect("a correction");
    send(&mut desk, 3, correction);
    let corrected: BTreeSet<String> = told(&desk.tellings).into_iter().collect();
    assert!(corrected.is_superset(&first), "{corrected:?}");
    assert!(corrected.contains("mail desk@acme.example (escalation)"), "severity 4 names nobody: {corrected:?}");
    assert!(desk.tellings.iter().any(|telling| telling.why == format!("was told of {} before", incident_name(id))));
    desk.tellings.clear();
    let end = ends(&mut desk, 4, id);
    let ended: BTreeSet<String> = told(&desk.tellings).into_iter().collect();
    assert_eq!(ended, corrected);
    assert!(desk.tellings.iter().all(|telling| telling.about.is_end));
    let superseding: Vec<i64> = desk.supersede.iter().map(|(_, message, _)| *message).collect();
    assert_eq!(superseding, [start, correction, end]);
}

#[test]
fn the_end_of_what_took_another_in_goes_to_those_who_were_told_of_either() {
    let file = format!("name = 'Acme'\n{}{}{DISTRIBUTIONS}", contact("anna", 1), contact("bo", 2));
    let mut desk = Desk::of(terms_of(&file));
    let (part, whole) = (opens(&mut desk, Severity::DISASTER), opens(&mut desk, Severity::MINOR));
    let start = release(&mut desk, 1, part, "confirmed", scope("two numbers"));
    accept(&mut desk, 2, start);
    let fold = Command::Fold { incident: part, into: whole, why: "one attack".to_owned() };
    desk.orders(3, &anna(), fold.clone()).unwrap();
    desk.orders(4, &anna(), Command::Unfold { incident: part, why: "two after all".to_owned() }).unwrap();
    desk.orders(5, &anna(), fold).unwrap();
    desk.tellings.clear();
    let back = Command::SetSeverity { incident: whole, severity: Severity::MINOR, why: "small".to_owned() };
    drop(desk.orders(6, &anna(), back));
    ends(&mut desk, 7, whole);
    let ended = told(&desk.tellings);
    for of_part in ["mail anna@acme.example (customer)", "sms +13125550102 (customer)"] {
        assert!(ended.iter().any(|line| line == of_part), "{ended:?}");
    }
}

#[test]
fn whom_the_file_names_no_more_is_told_of_the_end_once_however_the_address_is_written_by_then() {
    let people = contact("anna", 1) + &contact("bo", 2);
    let mut desk = Desk::of(terms_of(&format!("name = 'Acme'\n{people}{DISTRIBUTIONS}")));
    let id = opens(&mut desk, Severity::MAJOR);
    let start = release(&mut desk, 1, id, "confirmed", scope("two numbers"));
    accept(&mut desk, 2, start);
    // The service starts again with another file: anna has left, and bo's address is written otherwise.
    let now = format!("name = 'Acme'\n{}{}", contact("bo", 2), DISTRIBUTIONS.replace("'anna', ", ""));
    let mut later = Desk::of(terms_of(&now.replace("bo@acme", "Bo@Acme")));
    for ((kind, id), body) in &desk.bodies {
        assert!(later.book.adopt(*kind, *id, body));
    }
    ends(&mut later, 3, id);
    let mut ended = told(&later.tellings);
    ended.sort();
    assert_eq!(
        ended,
        [
            "mail Bo@Acme.example (customer)",
            "mail anna@acme.example (customer)",
            "sms +13125550101 (customer)",
            "sms +13125550102 (customer)",
            "syslog  (program)",
            "webhook:noc  (program)",
        ]
    );
}

#[test]
fn an_incident_that_was_written_before_anybody_was_remembered_is_read() {
    let mut desk = Desk::of(terms_of("name = 'Acme'\n"));
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    let mut body = desk.bodies[&(SubjectKind::Incident, id)].clone();
    let fields = body.as_object_mut().expect("an object");
    assert!(fields.remove("told").is_some() && fields.remove("page").is_some());
    // Of a version that remembered when it came back.
    fields.insert("came_back".to_owned(), serde_json::Value::Null);
    let mut later = Desk::of(terms_of("name = 'Acme'\n"));
    assert!(later.book.adopt(SubjectKind::Incident, id, &body));
    let incident = later.book.incident(id).expect("is there");
    assert!(incident.told.is_empty() && incident.page.is_none());
}

#[test]
fn words_are_those_of_the_form_that_fits_the_channel() {
    let mut desk = Desk::of(terms_of("name = 'Acme'\n"));
    let id = opens(&mut desk, Severity::MAJOR);
    let message = release(&mut desk, 1, id, "confirmed", scope("two numbers"));
    let message = desk.book.message(message).expect("is there");
    let text = |channel: &str| words(message, channel).1;
    assert_eq!(text("mail"), text("call-sheet"));
    assert_eq!(text("webhook:noc"), text("stdout"));
    assert!(text("sms").chars().count() <= 160);
    assert_ne!(text("sms"), text("acd"));
    assert!(!words(message, "mail").0.is_empty());
}

/// One step of a desk: what, who, which.
type Attempt = (u8, u8, u8);

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    proptest::collection::vec((0..16_u8, 0..3_u8, 0..6_u8), 1..80)
}

/// Tries something, allowed or not, at a minute that may lie before the last one.
fn attempt(desk: &mut Desk, minute: i64, (what, who, which): Attempt) {
    let people = [anna(), carl(), dora()];
    let by = &people[usize::from(who) % people.len()];
    let incident = i64::from(which) % 2 + 1;
    let message = i64::from(which) + 1 + desk.book.incident(incident).map_or(0, |i| i.messages.len() as i64 / 2);
    let hash = desk.book.message(message).map(|m| m.hash.clone()).unwrap_or_default();
    let why = || "why".to_owned();
    let text = || Some("text".to_owned());
    let mut reason = Given::default();
    reason.texts.insert("reason".to_owned(), "a drill".to_owned());
    let command = match what {
        0 => draft(incident, "confirmed", scope(&format!("at {minute}"))),
        1 | 2 => Command::Check { message, hash },
        3 | 4 => Command::Release { message, hash },
        5 => Command::SetSeverity { incident, severity: Severity::ALL[usize::from(which) % 4], why: why() },
        6 => Command::Confirm { incident, why: why() },
        7 => Command::Fold { incident, into: 3 - incident, why: why() },
        8 => Command::Unfold { incident, why: why() },
        9 => Command::Findings { incident, findings: text(), recommendations: text() },
        10 => Command::Resolve { incident, why: why() },
        11 => Command::Dismiss { incident, why: why() },
        12 => Command::Acknowledge { incident, why: why() },
        13 => Command::Reopen { incident, why: why() },
        14 => {
            let (key, level) = (format!("+{incident}"), [Level::Warning, Level::Critical][usize::from(which) % 2]);
            desk.sees(minute, "calls", &key, level);
            return;
        }
        _ => {
            // An end that somebody waits for is released, if it can be.
            let kit = if who == 0 { "resolved" } else { "false-alarm" };
            if let Ok(Answer { message: Some(message), .. }) =
                desk.orders(minute, &anna(), draft(incident, kit, reason))
            {
                let hash = desk.book.message(message).expect("is there").hash.clone();
                drop(desk.orders(minute, &carl(), Command::Check { message, hash: hash.clone() }));
                drop(desk.orders(minute, &dora(), Command::Release { message, hash }));
            }
            return;
        }
    };
    drop(desk.orders(minute, by, command));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_tried_only_released_texts_are_told_each_once_and_whoever_heard_of_it_hears_the_end(
        attempts in attempts(), steps in proptest::collection::vec(-3..12_i64, 80),
    ) {
        let chain = "[[oncall]]\nseverities = [1, 2, 3, 4]\nrepeat = 1\nsteps = [{ to = ['anna'] }, { to = ['bo', 'anna'], after = '5m' }]\n";
        let file = format!(
            "name = 'Acme'\n{}{}{ESCALATION}{DISTRIBUTIONS}{chain}", contact("anna", 1), contact("bo", 2),
        );
        let mut desk = Desk::of(terms_of(&file));
        desk.sees(0, "calls", "+1", Level::Critical);
        desk.sees(0, "calls", "+2", Level::Warning);
        let (mut minute, mut looked_at) = (0, 0);
        let mut heard: BTreeMap<i64, BTreeSet<(String, String)>> = BTreeMap::new();
        for (attempt_, step) in attempts.into_iter().zip(steps) {
            minute += step;
            desk.passes(minute);
            attempt(&mut desk, minute, attempt_);
            let tellings = desk.tellings[looked_at..].to_vec();
            looked_at = desk.tellings.len();
            let mut ended: BTreeMap<i64, BTreeSet<(String, String)>> = BTreeMap::new();
            for telling in tellings.iter().filter(|telling| telling.about.purpose == Purpose::Notice) {
                let message = telling.message.and_then(|id| desk.book.message(id)).expect("is there");
                prop_assert_eq!(message.released, Some(telling.queued));
                prop_assert_eq!((message.incident, &message.kit), (telling.incident, &telling.about.kit));
                let way = (telling.recipient.channel.clone(), telling.recipient.address.clone());
                heard.entry(telling.incident).or_default().insert(way.clone());
                if telling.about.is_end {
                    ended.entry(telling.incident).or_default().insert(way);
                }
            }
            for (id, ended) in ended {
                prop_assert_eq!(&ended, &heard[&id], "of incident {}", id);
            }
        }
        let once: BTreeSet<&str> = desk.tellings.iter().map(|telling| telling.once.as_str()).collect();
        prop_assert_eq!(once.len(), desk.tellings.len(), "what must not be done twice is asked for once");
        let begun = desk.rows.iter().filter(|row| matches!(row.what, "suspected" | "severity" | "reopened")).count();
        let pages = desk.tellings.iter().filter(|telling| telling.about.purpose == Purpose::Page).count();
        prop_assert!(pages <= begun * (2 * 3 * 2 + 3), "{pages} calls of {begun} beginnings");
    }
}
