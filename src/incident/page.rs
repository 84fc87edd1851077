//! Calling those on call, one after the other and again, until somebody says that they look after the incident.

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::command::{Answer, Refusal};
use super::entry::Event;
use super::facts;
use super::orders::of;
use super::people::Actor;
use super::record::IncidentState;
use super::telling::{About, Purpose, Recipient, Telling, once};
use super::{Severity, incident_name};
use crate::clock::Timestamp;
use crate::customer::Channel;

/// How long a call is worth making: by then the chain has gone on.
const PAGE_MS: i64 = 30 * 60_000;
/// Longest part of what an incident is about that a text message has room for.
const WHAT_CHARS_MAX: usize = 60;

/// How far the calling has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub since: Timestamp,
    pub severity: Severity,
    /// Rounds that are over, and calls of the present one that were made.
    pub round: u32,
    pub made: usize,
    /// When the present round began.
    pub round_since: Timestamp,
    /// When the next call is due; none once it is over.
    pub next: Option<Timestamp>,
    /// Who said that they look after it, and when.
    pub acknowledged: Option<(String, Timestamp)>,
}

impl Book {
    /// Somebody on call must look after it. Called again, the chain of a graver severity begins anew.
    pub(super) fn call(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let severity = incident.severity;
        if incident.page.as_ref().is_some_and(|page| page.severity <= severity && page.since >= incident.called_from())
        {
            return;
        }
        incident.page = Some(Page {
            since: now,
            severity,
            round: 0,
            made: 0,
            round_since: now,
            next: Some(now),
            acknowledged: None,
        });
        self.touch_incident(id);
        self.call_due(id, now);
    }

    /// Makes the calls whose time has come.
    pub(super) fn call_due(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let Some(mut page) = incident.page.clone().filter(|page| page.next.is_some()) else { return };
        let is_open = incident.state.is_open() && incident.state != IncidentState::Candidate;
        if !is_open {
            page.next = None;
            return self.put_page(id, page);
        }
        let customer = self.terms.customer(&incident.customer);
        let calls = customer.calls(page.severity.number());
        let mut people: Vec<Recipient> = Vec::new();
        let mut made = page.made;
        for (after, contact) in calls.calls.iter().skip(page.made) {
            if page.round_since.plus_ms(*after) > now {
                break;
            }
            made += 1;
            people.extend(calls.channels.iter().filter_map(|channel| {
                let address = if channel.is_personal() { channel.address(contact)? } else { "" };
                Some(Recipient {
                    channel: channel.text(),
                    address: address.to_owned(),
                    contact: contact.id.clone(),
                    person: contact.name.clone(),
                    audience: "on-call".to_owned(),
                    is_contact: false,
                })
            }));
        }
        page.made = made;
        let is_round_over = made >= calls.calls.len();
        page.next = match calls.calls.get(made) {
            Some((after, _)) => Some(page.round_since.plus_ms(*after)),
            None if calls.calls.is_empty() => None,
            None => Some(now.plus_ms(calls.repeat_after_ms)),
        };
        let (is_exhausted, repeats) = (is_round_over && page.round >= calls.repeats, calls.repeats);
        let ends_unanswered = people.is_empty() && is_round_over && !calls.calls.is_empty();
        if ends_unanswered && is_exhausted {
            page.next = None;
        } else if ends_unanswered {
            // The wait after the last call is over: from the top.
            (page.round, page.made, page.round_since, page.next) = (page.round + 1, 0, now, Some(now));
        }
        let round = page.round;
        let is_unanswered = page.next.is_none() && !calls.calls.is_empty();
        self.put_page(id, page);
        if is_unanswered {
            let why = format!("nobody on call answered, after {} rounds", repeats + 1);
            self.note(id, Event::own(now, "unanswered", &why));
            self.tell_escalation(id, now);
        } else if ends_unanswered {
            self.call_due(id, now);
        } else if !people.is_empty() {
            let names: Vec<&str> = people.iter().map(|r| r.person.as_str()).collect();
            let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            names.dedup();
            self.note(id, Event::own(now, "called", &names.join(", ")).with([("round", round)]));
            for recipient in people {
                self.page_one(id, recipient, round, now);
            }
        }
    }

    fn put_page(&mut self, id: i64, page: Page) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.page = Some(page);
        }
        self.touch_incident(id);
    }

    fn page_one(&mut self, id: i64, recipient: Recipient, round: u32, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let Some(page) = &incident.page else { return };
        let name = incident_name(id);
        let customer = self.terms.customer(&incident.customer);
        let what: String = incident.what.chars().take(WHAT_CHARS_MAX).collect();
        let since = facts::local(incident.first, &self.terms.zone(&incident.customer));
        let severity = incident.severity;
        let subject = format!("Severity {}: {name}, {}: {what}", severity.number(), customer.name);
        let is_short = recipient.channel == Channel::Sms.as_str();
        let text = if is_short {
            format!("Sev {} {name} {}: {what}. Since {since}. Please look after it.", severity.number(), customer.name)
        } else {
            format!(
                "{name} is an incident of severity {} ({}) of {}.\n\n{}\n\nFirst seen {since}; {} violations so far.\n\
                 Please look after it, and say so: whoever is next is called until somebody does.\n\n\
                 ringfence incident acknowledge {name}",
                severity.number(),
                severity.word(),
                customer.name,
                incident.what,
                incident.violations,
            )
        };
        let what = format!("{name}/page/{}/{round}.{}", page.since.0, recipient.contact);
        let telling = Telling {
            once: once(&what, &recipient.channel, &recipient.address),
            customer: incident.customer.clone(),
            incident: id,
            message: None,
            severity,
            about: About {
                purpose: Purpose::Page,
                contact: recipient.contact.clone(),
                person: recipient.person.clone(),
                audience: recipient.audience.clone(),
                kit: "page".to_owned(),
                is_end: false,
                subject,
                text,
                instead_of: None,
            },
            why: format!("on call, round {}", round + 1),
            recipient,
            queued: now,
            valid_until: now.plus_ms(PAGE_MS),
        };
        self.entries.tellings.push(telling);
    }

    /// Nobody on call answered: the last who is called is the customer's escalation contact.
    fn tell_escalation(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let Some(contact) = self.terms.customer(&incident.customer).escalation.clone() else { return };
        let ways = [
            (Channel::Mail, contact.email),
            (Channel::Sms, contact.phone.clone()),
            (Channel::CallSheet, contact.phone),
        ];
        for (channel, address) in ways {
            let Some(address) = address else { continue };
            let recipient = Recipient {
                channel: channel.text(),
                address,
                contact: "escalation".to_owned(),
                person: contact.name.clone(),
                audience: "escalation".to_owned(),
                is_contact: false,
            };
            self.page_one(id, recipient, u32::MAX, now);
        }
    }

    /// A person looks after it: nobody further is called, and the first notice waits once more for its commander.
    pub(super) fn acknowledge(&mut self, by: &Actor, id: i64, why: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let incident = self.known(id)?;
        if !incident.state.is_open() {
            let (name, state) = (incident_name(id), incident.state.as_str());
            return Err(Refusal::Conflict(format!("{name} is {state}: nobody needs to look after it")));
        }
        if let Some((who, at)) = incident.page.as_ref().and_then(|page| page.acknowledged.clone()) {
            let hint = format!("{who} has looked after {} since {at}", incident_name(id));
            return Ok(Answer { hints: vec![hint], ..of(id) });
        }
        let severity = incident.severity;
        if let Some(incident) = self.incidents.get_mut(&id) {
            let page = incident.page.get_or_insert_with(|| Page {
                since: now,
                severity,
                round: 0,
                made: 0,
                round_since: now,
                next: None,
                acknowledged: None,
            });
            page.next = None;
            page.acknowledged = Some((by.name.clone(), now));
            if incident.asked_since.is_some() {
                (incident.asked_since, incident.asked) = (Some(now), 1);
            }
        }
        self.note(id, Event::new(now, by, "acknowledged", why));
        Ok(of(id))
    }
}
