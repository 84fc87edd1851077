//! Calling those on call: who is called when, what ends it, and what begins it again.

use super::telling_tests::{ESCALATION, contact, terms_of};
use super::tests::{Desk, MINUTE, START, anna, carl, dora, draft, scope};
use super::*;
use crate::policy::Severity as Level;

/// Two of a roster, five minutes apart, and the chief after a quarter of an hour; all of it twice.
const CHAIN: &str = "
[[roster]]
name = 'night'
people = ['ann', 'ben']
[[oncall]]
severities = [1, 2]
channels = ['sms']
steps = [{ to = ['night'], each = '5m' }, { to = ['chief'], after = '15m' }]
repeat = 1
repeat_after = '10m'
";

fn file(chain: &str) -> String {
    format!("name = 'Acme'\n{}{}{}{ESCALATION}{chain}", contact("ann", 1), contact("ben", 2), contact("chief", 3))
}

fn desk(chain: &str) -> Desk {
    Desk::of(terms_of(&file(chain)))
}

/// Calls as `minute channel contact`, in order.
fn calls(desk: &Desk) -> Vec<String> {
    let pages = desk.tellings.iter().filter(|telling| telling.about.purpose == Purpose::Page);
    let line = |telling: &Telling| {
        let minute = (telling.queued.0 - START) / MINUTE;
        format!("{minute} {} {}", telling.recipient.channel, telling.recipient.contact)
    };
    pages.map(line).collect()
}

fn passes_to(desk: &mut Desk, minute: i64) {
    (0..=minute).for_each(|minute| desk.passes(minute));
}

fn acknowledge(desk: &mut Desk, minute: i64, by: &Actor, incident: i64) -> Answer {
    desk.orders(minute, by, Command::Acknowledge { incident, why: String::new() }).unwrap()
}

fn severity(desk: &mut Desk, minute: i64, incident: i64, severity: Severity) {
    let command = Command::SetSeverity { incident, severity, why: "looked again".to_owned() };
    desk.orders(minute, &anna(), command).unwrap();
}

#[test]
fn a_roster_is_called_one_after_the_other_then_the_next_step_then_all_again_and_then_the_escalation_contact() {
    let mut desk = desk(CHAIN);
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 120);
    let round = ["0 sms ann", "5 sms ben", "15 sms chief", "25 sms ann", "30 sms ben", "40 sms chief"];
    let last = ["50 mail escalation", "50 sms escalation", "50 call-sheet escalation"];
    assert_eq!(calls(&desk), [&round[..], &last].concat());
    let unanswered: Vec<&Row> = desk.rows.iter().filter(|row| row.what == "unanswered").collect();
    assert_eq!(unanswered.len(), 1);
    assert_eq!(unanswered[0].why, "nobody on call answered, after 2 rounds");
    let called: Vec<&str> = desk.rows.iter().filter(|r| r.what == "called").map(|r| r.why.as_str()).collect();
    assert_eq!(called, ["The ann", "The ben", "The chief", "The ann", "The ben", "The chief"]);
}

#[test]
fn contacts_of_a_step_are_called_at_once_by_every_way_they_have() {
    let mut desk = desk(
        "[[contact]]\nid = 'eve'\nemail = 'eve@acme.example'\nrights = ['receive']\n\
         [[oncall]]\nseverities = [2]\nsteps = [{ to = ['ann', 'eve'] }, { to = ['ben'], after = '7m' }]\n",
    );
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 7);
    assert_eq!(calls(&desk), ["0 sms ann", "0 mail ann", "0 mail eve", "7 sms ben", "7 mail ben"]);
    let page = desk.tellings.iter().find(|t| t.about.purpose == Purpose::Page).expect("is there");
    assert_eq!(page.valid_until, page.queued.plus_ms(30 * MINUTE));
    assert!(page.about.text.contains("INC-000001") && page.why == "on call, round 1", "{page:?}");
}

#[test]
fn who_stands_in_the_chain_twice_is_called_twice_and_programs_once_at_a_time() {
    let mut desk = desk(
        "[[oncall]]\nseverities = [2]\nchannels = ['sms', 'pagerduty']\nrepeat = 0\n\
         steps = [{ to = ['ann', 'ben'] }, { to = ['ann'], after = '5m' }]\n",
    );
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 6);
    assert_eq!(calls(&desk), ["0 sms ann", "0 pagerduty ann", "0 sms ben", "5 sms ann", "5 pagerduty ann"]);
    let mut once: Vec<&str> = desk.tellings.iter().map(|telling| telling.once.as_str()).collect();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), desk.tellings.len());
}

#[test]
fn without_a_chain_those_who_command_are_called_by_their_names_as_users() {
    let mut desk = desk(
        "[command]\ncommanders = ['chief', 'nobody-here']\ndeputies = ['ben']\nmanagers = ['ann']\n\
         deputy_after = '3m'\nmanager_after = '8m'\n",
    );
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 8);
    assert_eq!(calls(&desk), ["0 sms chief", "0 mail chief", "3 sms ben", "3 mail ben", "8 sms ann", "8 mail ann"]);
}

#[test]
fn where_nobody_is_on_call_the_escalation_contact_is_called_at_once() {
    let mut desk = desk("");
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 60);
    assert_eq!(calls(&desk), ["0 mail escalation", "0 sms escalation", "0 call-sheet escalation"]);
    let mut nobody = Desk::of(terms_of("name = 'Acme'\n"));
    nobody.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut nobody, 60);
    assert!(calls(&nobody).is_empty());
}

#[test]
fn a_call_that_reaches_nobody_does_not_end_the_round_early() {
    let mut desk = desk("[[contact]]\nid = 'eve'\nuser = 'eve'\n[command]\ncommanders = ['ann']\nmanagers = ['eve']\n");
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 39);
    assert_eq!(calls(&desk), ["0 sms ann", "0 mail ann", "20 sms ann", "20 mail ann"]);
}

#[test]
fn what_is_not_grave_calls_nobody_and_neither_does_a_candidate() {
    let mut desk = desk(CHAIN);
    desk.sees(0, "calls", "+1", Level::Warning);
    passes_to(&mut desk, 30);
    assert!(calls(&desk).is_empty());
}

#[test]
fn after_a_long_downtime_everybody_whose_time_has_come_is_called_once() {
    for (after, expected) in [
        // In the middle of a round: the rest of it.
        (14 * 60, vec!["0 sms ann", "840 sms ben", "840 sms chief"]),
        (12, vec!["0 sms ann", "12 sms ben"]),
    ] {
        let mut desk = desk(CHAIN);
        desk.sees(0, "calls", "+1", Level::Critical);
        desk.passes(after);
        desk.passes(after);
        assert_eq!(calls(&desk), expected);
    }
    // After a round: the next one begins, and only begins.
    let mut desk = desk(CHAIN);
    desk.sees(0, "calls", "+1", Level::Critical);
    passes_to(&mut desk, 16);
    desk.passes(24 * 60);
    assert_eq!(calls(&desk)[3..], ["1440 sms ann"]);
    desk.passes(24 * 60 + 5);
    assert_eq!(calls(&desk)[4..], ["1445 sms ben"]);
}

#[test]
fn rounds_without_a_wait_between_them_are_still_rounds() {
    let mut desk = desk(
        "[[oncall]]\nseverities = [2]\nchannels = ['sms']\nsteps = [{ to = ['ann'] }]\nrepeat = 3\nrepeat_after = '0s'\n",
    );
    desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(0);
    assert_eq!(calls(&desk), ["0 sms ann"]);
    desk.passes(600);
    desk.passes(600);
    assert_eq!(calls(&desk), ["0 sms ann", "600 sms ann"]);
}

#[test]
fn a_clock_that_is_set_back_calls_nobody_twice() {
    let mut desk = desk(CHAIN);
    desk.sees(10, "calls", "+1", Level::Critical);
    for minute in [0, 15, 3, 14, 15, 24, 25, 1] {
        desk.passes(minute);
    }
    assert_eq!(calls(&desk), ["10 sms ann", "15 sms ben", "25 sms chief"]);
}

#[test]
fn an_acknowledgement_ends_the_calling_and_a_second_one_says_who_was_first() {
    let mut desk = desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(5);
    assert!(acknowledge(&mut desk, 6, &carl(), id).hints.is_empty());
    let again = acknowledge(&mut desk, 7, &dora(), id);
    assert!(again.hints[0].starts_with("carl has looked after INC-000001 since "), "{:?}", again.hints);
    passes_to(&mut desk, 120);
    assert_eq!(calls(&desk), ["0 sms ann", "5 sms ben"]);
    assert_eq!(desk.rows.iter().filter(|row| row.what == "acknowledged").count(), 1);
    let page = desk.book.incident(id).and_then(|incident| incident.page.clone()).expect("is there");
    assert_eq!(page.acknowledged.map(|(who, _)| who).as_deref(), Some("carl"));
}

#[test]
fn an_acknowledgement_gives_the_commander_the_whole_time_for_the_first_notice_once() {
    let mut desk = desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    let asked = |desk: &Desk| desk.rows.iter().filter(|row| row.what == "asked").count();
    acknowledge(&mut desk, 4, &carl(), id);
    acknowledge(&mut desk, 8, &dora(), id);
    desk.passes(8);
    assert_eq!(asked(&desk), 1, "the deputy is left alone until the ninth minute");
    desk.passes(9);
    assert_eq!(asked(&desk), 2);
    desk.passes(13);
    assert!(desk.book.unsent().is_empty());
    desk.passes(14);
    assert_eq!(desk.book.unsent().len(), 1, "the holding notice");
}

#[test]
fn an_acknowledgement_after_the_first_notice_was_released_makes_no_second_one() {
    let mut desk = desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(10);
    assert_eq!(desk.book.unsent().len(), 1, "the holding notice is on its way");
    acknowledge(&mut desk, 11, &carl(), id);
    passes_to(&mut desk, 120);
    assert_eq!(desk.book.unsent().len(), 1);

    let mut desk = self::desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    let message = desk.orders(1, &anna(), draft(id, "confirmed", scope("x"))).unwrap().message.unwrap();
    let hash = desk.book.message(message).expect("is there").hash.clone();
    desk.orders(2, &carl(), Command::Check { message, hash: hash.clone() }).unwrap();
    desk.orders(2, &dora(), Command::Release { message, hash }).unwrap();
    acknowledge(&mut desk, 3, &carl(), id);
    passes_to(&mut desk, 120);
    assert_eq!(desk.book.unsent().len(), 1);
    // Taken back before anybody had it: the first notice waits again, and nobody answers.
    desk.orders(121, &carl(), Command::Withdraw { message, why: "wrong".to_owned() }).unwrap();
    (121..=140).for_each(|minute| desk.passes(minute));
    assert_eq!(desk.book.unsent().iter().map(|message| message.kit.as_str()).collect::<Vec<_>>(), ["holding"]);
}

#[test]
fn a_graver_severity_begins_the_calling_anew_and_a_lesser_one_does_not() {
    let mut desk = desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    acknowledge(&mut desk, 1, &carl(), id);
    severity(&mut desk, 2, id, Severity::DISASTER);
    assert_eq!(calls(&desk), ["0 sms ann", "2 sms ann"]);
    acknowledge(&mut desk, 3, &dora(), id);
    severity(&mut desk, 4, id, Severity::MAJOR);
    severity(&mut desk, 5, id, Severity::DISASTER);
    passes_to(&mut desk, 120);
    assert_eq!(calls(&desk).len(), 2);
}

#[test]
fn two_callings_that_begin_at_one_instant_are_two() {
    let mut desk = desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    severity(&mut desk, 0, id, Severity::DISASTER);
    assert_eq!(calls(&desk), ["0 sms ann", "0 sms ann"]);
    assert_ne!(desk.tellings[0].once, desk.tellings[1].once);
}

#[test]
fn the_end_stops_the_calling_and_what_comes_back_calls_again() {
    let mut desk = desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.confirms(id);
    desk.orders(1, &anna(), Command::Resolve { incident: id, why: "it stopped".to_owned() }).unwrap();
    assert_eq!(desk.book.incident(id).and_then(|incident| incident.page.as_ref()?.next), None);
    passes_to(&mut desk, 20);
    assert_eq!(calls(&desk), ["0 sms ann"]);
    desk.orders(21, &anna(), Command::Reopen { incident: id, why: "it goes on".to_owned() }).unwrap();
    desk.passes(26);
    assert_eq!(calls(&desk)[1..], ["21 sms ann", "26 sms ben"]);

    let mut desk = self::desk(CHAIN);
    let id = desk.sees(0, "calls", "+1", Level::Critical);
    desk.orders(1, &anna(), Command::Dismiss { incident: id, why: "a drill".to_owned() }).unwrap();
    passes_to(&mut desk, 25);
    assert_eq!(calls(&desk), ["0 sms ann"]);
    let late = desk.orders(26, &anna(), Command::Acknowledge { incident: id, why: String::new() });
    assert!(matches!(late, Err(Refusal::Conflict(_))), "{late:?}");
}

#[test]
fn what_comes_back_at_the_instant_it_began_calls_again_too() {
    // The clock was set back for a while, and the book's time stands still.
    let mut desk = desk(CHAIN);
    let id = desk.sees(10, "calls", "+1", Level::Critical);
    desk.confirms(id);
    desk.orders(1, &anna(), Command::Resolve { incident: id, why: "it stopped".to_owned() }).unwrap();
    desk.orders(2, &anna(), Command::Reopen { incident: id, why: "it goes on".to_owned() }).unwrap();
    assert_eq!(calls(&desk), ["10 sms ann", "10 sms ann"]);
    assert_ne!(desk.tellings[0].once, desk.tellings[1].once);
}

#[test]
fn what_is_folded_into_another_is_called_for_and_looked_after_there() {
    let mut desk = desk(CHAIN);
    let whole = desk.sees(0, "calls", "+1", Level::Critical);
    let part = desk.sees(1, "calls", "+2", Level::Critical);
    desk.orders(2, &anna(), Command::Fold { incident: part, into: whole, why: String::new() }).unwrap();
    passes_to(&mut desk, 5);
    assert_eq!(calls(&desk), ["0 sms ann", "1 sms ann", "5 sms ben"]);
    // Whoever was called for the part looks after the whole.
    let answer = desk.orders(6, &carl(), Command::Acknowledge { incident: part, why: String::new() }).unwrap();
    assert_eq!(answer.incident, Some(whole));
    // Apart again, its own calling goes on where it was.
    desk.orders(7, &anna(), Command::Unfold { incident: part, why: String::new() }).unwrap();
    desk.passes(7);
    assert_eq!(calls(&desk)[3..], ["7 sms ben"]);
}

#[test]
fn the_calling_goes_on_after_a_restart_where_it_was() {
    let mut desk = desk(CHAIN);
    desk.sees(0, "calls", "+1", Level::Critical);
    desk.passes(5);
    let mut later = self::desk(CHAIN);
    for ((kind, id), body) in &desk.bodies {
        assert!(later.book.adopt(*kind, *id, body));
    }
    passes_to(&mut later, 25);
    assert_eq!(calls(&later), ["15 sms chief", "25 sms ann"]);
    let mut shorter =
        Desk::of(terms_of(&file("[[oncall]]\nseverities = [2]\nsteps = [{ to = ['ann'] }]\nrepeat = 0\n")));
    for ((kind, id), body) in &desk.bodies {
        assert!(shorter.book.adopt(*kind, *id, body));
    }
    shorter.passes(15);
    assert_eq!(calls(&shorter).len(), 3, "the chain of today is over: {:?}", calls(&shorter));
}
