//! What the table of who was told says, of rows as the store has them.

use std::sync::Arc;

use super::*;
use crate::incident::Severity;
use crate::policy::{LoadOptions, RuleSource, load};

const ACME: &str = r#"
name = "Acme"
[[contact]]
id = "anna"
name = "Anna Berg"
email = "Anna@acme.example"
mobile = "+13125550111"
rights = ["receive"]
[[contact]]
id = "bo"
name = "Bo"
email = "anna@acme.example"
rights = ["receive"]
[[contact]]
id = "cia"
email = "cia@acme.example"
rights = ["receive"]
[[contact]]
id = "dan"
email = "dan@acme.example"
rights = ["receive"]
[[contact]]
id = "eve"
email = "eve@acme.example"
rights = ["request"]
[[contact]]
id = "fay"
email = "fay@acme.example"
rights = ["receive"]
[[distribution]]
severities = [1, 2]
audience = "customer"
to = ["anna", "bo"]
channels = ["mail", "sms"]
[[distribution]]
severities = [3, 4]
audience = "helpdesk"
to = ["cia"]
channels = ["mail"]
[[distribution]]
severities = [1]
audience = "staff"
to = ["fay"]
channels = ["portal"]
[[oncall]]
severities = [1]
channels = ["sms", "mail"]
steps = [{ to = ["anna"] }, { to = ["dan"], after = "5m" }, { to = ["fay"], after = "10m" }]
[command]
commanders = ["carl"]
[escalation]
name = "Desk"
phone = "+13125550999"
"#;

fn acme() -> Arc<Customer> {
    let rules = "ringfence = 1\ndefault_action = \"allow\"\n";
    let source = RuleSource::memory([("ruleset.toml", rules), ("customers/acme.toml", ACME)]);
    let loaded = load(&source, LoadOptions::default());
    let problems = format!("{:?}", loaded.problems);
    Arc::clone(loaded.policy.expect(&problems).customers.get("acme").expect("it has a file"))
}

fn sent(id: i64, purpose: Purpose, contact: &str, channel: &str, address: &str, state: &str) -> Sent {
    let at = Timestamp(1_000_000 + id);
    let has_come = matches!(state, "handed" | "delivered") && channel != CALL_SHEET;
    Sent {
        row: DeliveryRow {
            person: String::new(),
            id,
            once: format!("{id}"),
            customer: "acme".into(),
            incident: Some(1),
            message: (purpose == Purpose::Notice).then_some(1),
            severity: 1,
            channel: channel.into(),
            address: address.into(),
            is_contact: true,
            body: String::new(),
            state: state.into(),
            reason: "550 no".into(),
            provider: "relay".into(),
            receipt: String::new(),
            attempts: 1,
            fell_back: false,
            queued: at,
            due: at,
            valid_until: at,
            changed: at,
            handed: has_come.then_some(at),
        },
        about: About {
            purpose,
            contact: contact.into(),
            person: if contact.is_empty() { "Desk".into() } else { format!("{contact} by name") },
            audience: "customer".into(),
            kit: "holding".into(),
            is_end: false,
            subject: String::new(),
            text: String::new(),
            instead_of: None,
        },
        why: "audience customer, severity 1".into(),
        who: "tom".into(),
    }
}

fn told(severity: u8, is_released: bool, sent: Vec<Sent>, page: Option<&Page>) -> Vec<Person> {
    people(&Subject { customer: &acme(), severity, is_released, sent, page })
}

/// `channel: what became of it` of each way to somebody.
fn ways(people: &[Person], contact: &str) -> Vec<String> {
    let person = people.iter().find(|person| person.contact == contact);
    let way = |way: &Way| format!("{}: {}", way.channel, way.became);
    person.expect("everybody of the file is there").ways.iter().map(way).collect()
}

#[test]
fn whoever_was_not_told_is_there_with_the_reason() {
    let mail = sent(1, Purpose::Notice, "anna", "mail", "anna@acme.example", "handed");
    let people = told(1, true, vec![mail], None);
    let names: Vec<&str> = people.iter().map(|person| person.contact.as_str()).collect();
    assert_eq!(names, ["anna", "bo", "cia", "dan", "eve", "fay"]);
    // Bo's mail is Anna's.
    let stands: Vec<&str> = people.iter().map(|person| person.stands.as_str()).collect();
    assert_eq!(stands, ["told", "told", "not-meant", "not-meant", "not-meant", "not-meant"]);
    let missing = "sms: was not in the file like this when it was released";
    assert_eq!(ways(&people, "anna"), ["mail: relay took it", missing]);
    assert_eq!(people[0].ways[0].why, "audience customer, severity 1");
    assert_eq!(
        ways(&people, "bo"),
        [
            "mail: has the same address as anna by name: one message for both",
            "sms: the customer's file has no mobile number for them"
        ]
    );
    assert_eq!(ways(&people, "cia"), [": is told of severity 3 and 4 only, and this is 1"]);
    assert_eq!(ways(&people, "dan"), [": no distribution of the customer's file names them"]);
    assert_eq!(ways(&people, "fay"), [": gets nothing by name: it is published (portal)"]);
}

#[test]
fn before_anything_is_released_that_is_the_reason() {
    let people = told(1, false, Vec::new(), None);
    let nothing = "nothing was released yet";
    assert_eq!(ways(&people, "anna"), [format!("mail: {nothing}"), format!("sms: {nothing}")]);
    assert_eq!((people[0].stands, people[2].stands), (Stands::Waiting, Stands::NotMeant));
}

#[test]
fn another_way_is_named_where_the_first_failed_and_the_sheet_counts_once_somebody_phoned() {
    let first = sent(1, Purpose::Notice, "anna", "mail", "anna@acme.example", "failed");
    let mut second = sent(2, Purpose::Notice, "anna", CALL_SHEET, "+13125550111", "handed");
    second.about.instead_of = Some(1);
    let people = told(1, true, vec![first.clone(), second.clone()], None);
    let both = ways(&people, "anna");
    assert_eq!(both[0], "mail: failed for good: 550 no; DLV-000002 by call-sheet instead");
    assert_eq!(both[1], "call-sheet: stands on the call sheet: nobody has phoned yet");
    assert_eq!(people[0].stands, Stands::Waiting, "a sheet tells nobody");
    second.row.state = "failed".into();
    assert_eq!(told(1, true, vec![first.clone(), second.clone()], None)[0].stands, Stands::Missed);
    (second.row.state, second.row.handed) = ("delivered".into(), Some(Timestamp(5)));
    second.row.reason = "she knows".into();
    let people = told(1, true, vec![first, second], None);
    assert_eq!(people[0].stands, Stands::Told);
    assert_eq!(ways(&people, "anna")[1], "call-sheet: was reached by phone by tom: she knows");
}

#[test]
fn every_state_has_a_sentence() {
    let with = |state: &str, attempts: u32, reason: &str| {
        let mut row = sent(1, Purpose::Notice, "anna", "sms", "+13125550111", state).row;
        (row.attempts, row.reason) = (attempts, reason.to_owned());
        became(&row, None)
    };
    assert_eq!(with("queued", 0, ""), "waits to be sent");
    assert_eq!(with("queued", 2, "relay: 421 later"), "waits for another try, after 2 tries: relay: 421 later");
    assert_eq!(with("leased", 1, ""), "is being handed to relay");
    assert_eq!(with("unknown", 1, "it broke"), "it broke; nobody knows whether it came, and it is asked for");
    assert_eq!(
        (with("handed", 1, "x"), with("handed", 3, "x")),
        ("relay took it".into(), "relay took it, at the 3rd try".into())
    );
    assert_eq!(with("delivered", 1, "x"), "has come, relay says");
    assert_eq!(with("expired", 1, "not worth it"), "was given up: not worth it");
    let held = with("suppressed", 0, "more than 5 texts in 15 min: goes out with digest/sms/+1312/7");
    assert_eq!(held, "was held back (more than 5 texts in 15 min): it goes out in one with the others");
    assert_eq!(with("suppressed", 0, "tom looks after it"), "was stopped: tom looks after it");
    let mut announced = sent(1, Purpose::Notice, "", "acd", "", "handed").row;
    assert_eq!(became(&announced, None), "callers hear it");
    announced.state = "delivered".into();
    assert!(became(&announced, None).ends_with("is what was released"));
    assert_eq!(with("superseded", 0, "MSG-000002 says more"), "was not sent any more: MSG-000002 says more");
    assert_eq!([1, 2, 11, 21, 112].map(nth), ["1st", "2nd", "11th", "21st", "112th"]);
}

#[test]
fn those_whose_turn_never_came_or_is_still_to_come_are_told_so() {
    let mut page = Page {
        since: Timestamp(1_000_000),
        severity: Severity::DISASTER,
        round: 0,
        made: 1,
        round_since: Timestamp(1_000_000),
        next: Some(Timestamp(1_300_000)),
        acknowledged: None,
    };
    let call = sent(1, Purpose::Page, "anna", "sms", "+13125550111", "handed");
    let people = told(1, false, vec![call.clone()], Some(&page));
    let dan = people.iter().find(|person| person.contact == "dan").unwrap().ways.last().unwrap().clone();
    assert_eq!((dan.purpose, dan.at), (Purpose::Page, Some(Timestamp(1_300_000))));
    assert!(dan.became.contains("unless somebody looks after it by then"), "{dan:?}");
    (page.acknowledged, page.next) = (Some(("Anna Berg".into(), Timestamp(1_100_000))), None);
    let people = told(1, false, vec![call.clone()], Some(&page));
    assert_eq!(ways(&people, "dan")[1], ": was not called: Anna Berg looked after it before their turn");
    // Whoever was called is told of the way that could not be gone.
    (page.made, page.acknowledged) = (2, None);
    let second = sent(2, Purpose::Page, "dan", "mail", "dan@acme.example", "handed");
    let people = told(1, false, vec![call, second], Some(&page));
    let stands = |id: &str| people.iter().find(|person| person.contact == id).unwrap().stands;
    assert_eq!((stands("dan"), stands("anna"), stands("eve")), (Stands::Called, Stands::Waiting, Stands::NotMeant));
    assert_eq!(ways(&people, "dan").last().unwrap(), "sms: the customer's file has no mobile number for them");
}

#[test]
fn the_escalation_contact_is_one_person_whether_told_or_called_and_may_share_an_id_with_nobody() {
    let mut notice = sent(1, Purpose::Notice, "", "sms", "+13125550999", "handed");
    let mut call = sent(2, Purpose::Page, "", "sms", "+13125550999", "handed");
    notice.about.audience = "escalation".into();
    (call.about.audience, call.about.contact) = ("escalation".into(), "escalation".into());
    let people = told(1, true, vec![notice, call], None);
    assert_eq!((people[0].name.as_str(), people[0].ways.len(), people.len()), ("Desk", 2, 7));
}
