//! What the callers of one queue are told: which announcements, in which order, and in which words. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::incident::{Message, MessageState, Severity};
use crate::kit::speech;
use crate::limits::{ACD_LEFT_OUT_MAX, ACD_SAID_MAX, ACD_SECONDS_MAX};

/// The announcement of one released message. There is no other way to make one, so what nobody released cannot be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    incident: i64,
    message: i64,
    customer: String,
    severity: Severity,
    released: Timestamp,
    text: String,
}

impl Announcement {
    /// `None`: it is not released, its texts are not those that were released, or it has nothing to say.
    pub fn of(message: &Message) -> Option<Announcement> {
        let released = message.released.filter(|_| message.state == MessageState::Released)?;
        if message.forms.hash() != message.hash {
            return None;
        }
        let text = one_line(&message.forms.acd);
        (!text.is_empty()).then(|| Announcement {
            incident: message.incident,
            message: message.id,
            customer: message.customer.clone(),
            severity: message.severity,
            released,
            text,
        })
    }

    pub fn incident(&self) -> i64 {
        self.incident
    }

    pub fn message(&self) -> i64 {
        self.message
    }

    pub fn customer(&self) -> &str {
        &self.customer
    }

    pub fn severity(&self) -> Severity {
        self.severity
    }

    pub fn released(&self) -> Timestamp {
        self.released
    }

    /// One line of characters that XML may hold.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn one_line(text: &str) -> String {
    let is_unfit = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.split(is_unfit).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Why callers do not hear of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unsaid {
    /// A later message of its incident is said, or would be.
    Older,
    /// As many as callers can keep in mind are said already.
    TooMany,
    /// With what is said before it, it takes so many seconds.
    TooLong(f64),
}

impl Unsaid {
    /// As people read it.
    pub fn text(self) -> String {
        match self {
            Unsaid::Older => "a later message of the same incident says more".to_owned(),
            Unsaid::TooMany => format!("{ACD_SAID_MAX} graver or newer ones are said already"),
            Unsaid::TooLong(seconds) => {
                format!("with those before it, it would take {seconds:.1} s; callers listen for {ACD_SECONDS_MAX} s")
            }
        }
    }
}

/// What one queue says and what it leaves out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// In the order in which they are said. Several may have the same text, which is said once.
    pub(super) said: Vec<Announcement>,
    /// What is said, each text once.
    pub(super) texts: Vec<String>,
    /// The first of what is not said.
    pub(super) left_out: Vec<(Announcement, Unsaid)>,
    pub(super) n_left_out: usize,
}

impl Plan {
    /// The gravest first, of equal ones the newest. One that is too long to go with the first gives way to the next that
    /// fits: nothing is ever cut. The first is said however long it is: its length was looked at when it was released.
    pub(super) fn of(customers: Option<&[String]>, all: &[Announcement]) -> Plan {
        let is_for_it = |a: &&Announcement| customers.is_none_or(|customers| customers.contains(&a.customer));
        let mut waiting: Vec<&Announcement> = all.iter().filter(is_for_it).collect();
        waiting.sort_by_key(|a| (a.severity, Reverse(a.released), Reverse(a.message)));
        let mut newest: HashMap<i64, (Timestamp, i64)> = HashMap::new();
        for a in &waiting {
            let found = newest.entry(a.incident).or_insert((a.released, a.message));
            *found = (*found).max((a.released, a.message));
        }
        let mut plan = Plan::default();
        for a in waiting {
            let is_newest = newest.get(&a.incident) == Some(&(a.released, a.message));
            match if is_newest { plan.room_for(&a.text) } else { Err(Unsaid::Older) } {
                Ok(()) => plan.say(a),
                Err(why) => {
                    plan.n_left_out += 1;
                    if plan.left_out.len() < ACD_LEFT_OUT_MAX {
                        plan.left_out.push((a.clone(), why));
                    }
                }
            }
        }
        plan
    }

    fn room_for(&self, text: &str) -> Result<(), Unsaid> {
        if self.texts.iter().any(|said| said == text) {
            return Ok(());
        }
        let seconds = self.seconds() + speech::seconds(text);
        match self.texts.len() {
            0 => Ok(()),
            n if n >= ACD_SAID_MAX => Err(Unsaid::TooMany),
            _ if seconds > ACD_SECONDS_MAX => Err(Unsaid::TooLong(seconds)),
            _ => Ok(()),
        }
    }

    fn say(&mut self, a: &Announcement) {
        if !self.texts.contains(&a.text) {
            self.texts.push(a.text.clone());
        }
        // Handed in twice, it is said once.
        if !self.said.contains(a) {
            self.said.push(a.clone());
        }
    }

    /// To say all of it, as kits reckon.
    pub(super) fn seconds(&self) -> f64 {
        // The sum of no numbers is -0.
        self.texts.iter().fold(0.0, |seconds, text| seconds + speech::seconds(text))
    }

    /// One line. Voices pause at the end of a sentence, so what another text follows ends in one.
    pub(super) fn text(&self) -> String {
        let mut line = String::new();
        for text in &self.texts {
            if !line.is_empty() {
                let is_sentence = line.ends_with(['.', '!', '?', '\u{2026}', '\u{3002}']);
                line.push_str(if is_sentence { " " } else { ". " });
            }
            line.push_str(text);
        }
        line
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kit::Forms;

    /// A message that was released at this second, and its announcement.
    pub(crate) fn message(incident: i64, id: i64, severity: u8, second: i64, text: &str) -> Message {
        let said = |s: &str| s.to_owned();
        let forms =
            Forms { mail_subject: said("a"), mail: said("b"), sms: said("c"), portal: said("d"), acd: text.to_owned() };
        let json = serde_json::json!({
            "id": id, "incident": incident, "customer": format!("c{}", incident % 2), "kit": "confirmed",
            "kit_version": "1", "author": "anna", "authors": ["anna"], "state": "released", "severity": severity,
            "certainty": "confirmed", "given": crate::incident::Given::default(), "hash": forms.hash(), "forms": forms,
            "check": null, "comment": null, "is_before_check": false, "drafted": "2026-03-02T10:00:00Z",
            "changed": "2026-03-02T10:00:00Z", "released": Timestamp(second * 1000), "released_by": "bert", "accepted": null,
        });
        serde_json::from_value(json).unwrap()
    }

    pub(crate) fn announced(incident: i64, id: i64, severity: u8, second: i64, text: &str) -> Announcement {
        Announcement::of(&message(incident, id, severity, second, text)).unwrap()
    }

    fn said(plan: &Plan) -> Vec<i64> {
        plan.said.iter().map(Announcement::message).collect()
    }

    #[test]
    fn only_a_message_that_is_released_and_unchanged_since_makes_an_announcement() {
        let released = message(1, 1, 2, 60, "Calls\tabroad may\u{0} fail.");
        assert_eq!(Announcement::of(&released).unwrap().text(), "Calls abroad may fail.");
        for state in MessageState::ALL.into_iter().filter(|state| *state != MessageState::Released) {
            assert_eq!(Announcement::of(&Message { state, ..released.clone() }), None, "{state:?}");
        }
        assert_eq!(Announcement::of(&Message { released: None, ..released.clone() }), None);
        let mut changed = released.clone();
        changed.forms.acd += "!";
        assert_eq!(Announcement::of(&changed), None);
        assert_eq!(Announcement::of(&message(1, 1, 2, 60, " \n\u{1}")), None);
    }

    #[test]
    fn the_gravest_come_first_then_the_newest_and_never_more_than_two() {
        let all = [
            announced(2, 1, 3, 90, "Three."),
            announced(4, 2, 1, 10, "One, older."),
            announced(6, 3, 1, 20, "One, newer."),
            announced(8, 4, 1, 5, "One, oldest."),
        ];
        let plan = Plan::of(None, &all);
        assert_eq!((said(&plan), plan.text().as_str()), (vec![3, 2], "One, newer. One, older."));
        assert_eq!(
            plan.left_out.iter().map(|(a, why)| (a.message, *why)).collect::<Vec<_>>(),
            [(4, Unsaid::TooMany), (1, Unsaid::TooMany)]
        );
        let mut turned = all.to_vec();
        turned.reverse();
        assert_eq!(Plan::of(None, &turned), plan, "whatever the order in which they are handed in");
    }

    #[test]
    fn a_second_one_that_is_too_long_gives_way_to_one_that_fits_and_nothing_is_cut() {
        let long = "word ".repeat(40);
        let all = [
            announced(2, 1, 1, 10, &long),
            announced(4, 2, 2, 10, &"other ".repeat(11)),
            announced(6, 3, 3, 10, &"short ".repeat(10)),
        ];
        let plan = Plan::of(None, &all);
        assert_eq!((said(&plan), plan.seconds()), (vec![1, 3], 20.0));
        assert_eq!(plan.left_out[0].1, Unsaid::TooLong(20.4));
        assert_eq!(plan.text(), format!("{}. {}", long.trim(), "short ".repeat(10).trim()));
        let alone = Plan::of(None, &[announced(2, 1, 1, 10, &"word ".repeat(60))]);
        assert_eq!((said(&alone), alone.seconds()), (vec![1], 24.0));
    }

    #[test]
    fn of_one_incident_the_newest_is_said_even_where_an_older_one_was_graver() {
        let all = [announced(2, 1, 1, 10, "Before."), announced(2, 2, 3, 20, "After.")];
        let plan = Plan::of(None, &all);
        assert_eq!((said(&plan), plan.left_out[0].1), (vec![2], Unsaid::Older));
    }

    #[test]
    fn a_queue_hears_of_its_customers_only_and_the_same_text_once() {
        let all = [announced(1, 1, 2, 10, "Same."), announced(2, 2, 2, 20, "Same."), announced(4, 3, 2, 5, "Other.")];
        let of = |customer: &str| said(&Plan::of(Some(&[customer.to_owned()]), &all));
        assert_eq!((of("c1"), of("c0"), of("c2")), (vec![1], vec![2, 3], vec![]));
        let plan = Plan::of(None, &all);
        assert_eq!((said(&plan), plan.text().as_str()), (vec![2, 1, 3], "Same. Other."));
        assert_eq!(Plan::of(None, &[all[0].clone(), all[0].clone()]).said.len(), 1);
    }

    #[test]
    fn nothing_takes_no_time() {
        assert_eq!(format!("{:?}", Plan::of(None, &[]).seconds()), "0.0");
    }

    #[test]
    fn what_is_left_out_is_bounded_and_counted() {
        let all: Vec<_> = (0..500).map(|n| announced(n, n, 4, n, &format!("Number {n}."))).collect();
        let plan = Plan::of(None, &all);
        assert_eq!((plan.said.len(), plan.left_out.len(), plan.n_left_out), (2, ACD_LEFT_OUT_MAX, 498));
    }
}
