//! Calling those on call, one after the other and again, until somebody says that they look after the incident.

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::command::{Answer, Refusal};
use super::entry::{Event, Stop};
use super::facts;
use super::orders::of;
use super::people::Actor;
use super::record::IncidentState;
use super::telling::{About, Purpose, Recipient, Telling, once};
use super::{Severity, incident_name};
use crate::clock::Timestamp;
use crate::customer::{Calls, Channel, Contact};

/// How long a call is worth making: by then the chain has gone on.
const PAGE_MS: i64 = 30 * 60_000;
/// Shortest wait before a chain begins again: a round that follows at once is the same call.
const REPEAT_MS_MIN: i64 = 60_000;
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
        if incident.page.as_ref().is_some_and(|page| page.severity <= severity) {
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

    /// Makes the calls whose time has come: once each, however long ago that was.
    pub(super) fn call_due(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let Some(mut page) = incident.page.clone().filter(|page| page.next.is_some()) else { return };
        let is_open = incident.state.is_open() && incident.state != IncidentState::Candidate;
        if !is_open {
            page.next = None;
            return self.put_page(id, page);
        }
        let chain = self.terms.customer(&incident.customer).calls(page.severity.number());
        let (repeats, repeat_after_ms) = (chain.repeats, chain.repeat_after_ms.max(REPEAT_MS_MIN));
        let calls = ways(&chain);
        let is_nobody = calls.iter().all(|(_, ways)| ways.is_empty());
        let is_over = page.made >= calls.len();
        if is_nobody || is_over && page.round >= repeats {
            page.next = None;
            self.put_page(id, page);
            let why = match is_nobody {
                true => "nobody is on call who can be reached".to_owned(),
                false => format!("nobody on call answered, after {} rounds", repeats.saturating_add(1)),
            };
            return self.tell_escalation(id, is_nobody, &why, now);
        }
        if is_over {
            // The wait after the last call is over: from the top.
            (page.round, page.made, page.round_since) = (page.round.saturating_add(1), 0, now);
        }
        let (began, first) = (page.round_since, page.made);
        let is_due = |call: &&(i64, Vec<Recipient>)| began.plus_ms(call.0) <= now;
        let due = calls.iter().skip(first).take_while(is_due).count();
        page.made += due;
        let next = calls.get(page.made).map(|(after, _)| began.plus_ms(*after));
        page.next = Some(next.unwrap_or(now.plus_ms(repeat_after_ms)));
        let round = page.round;
        self.put_page(id, page);
        let mut called: Vec<(usize, Recipient)> = Vec::new();
        for (place, (_, ways)) in calls.into_iter().enumerate().skip(first).take(due) {
            // Who stands there twice, or shares an address, is called once at a time.
            let is_new = |way: &Recipient| !called.iter().any(|(_, known)| known.is_same(way));
            let new: Vec<Recipient> = ways.into_iter().filter(is_new).collect();
            called.extend(new.into_iter().map(|way| (place, way)));
        }
        if called.is_empty() {
            return;
        }
        let mut names: Vec<&str> = called.iter().map(|(_, recipient)| recipient.person.as_str()).collect();
        names.dedup();
        let names = names.join(", ");
        self.note(id, Event::own(now, "called", &names).with([("round", round)]));
        for (place, recipient) in called {
            let why = format!("on call, round {}", round.saturating_add(1));
            self.page_one(id, recipient, &format!("{round}.{place}"), why, now);
        }
    }

    fn put_page(&mut self, id: i64, page: Page) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.page = Some(page);
        }
        self.touch_incident(id);
    }

    /// `call`: which one it is of this calling.
    fn page_one(&mut self, id: i64, recipient: Recipient, call: &str, why: String, now: Timestamp) {
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
        // Times alone do not tell two callings apart: the book's own stands still while a clock is set back.
        let calling = format!("{}.{}.{}", page.since.0, page.severity.number(), incident.reopened);
        let what = format!("{name}/page/{calling}/{call}");
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
            why,
            recipient,
            queued: now,
            valid_until: now.plus_ms(PAGE_MS),
        };
        self.entries.tellings.push(telling);
    }

    /// Nobody on call answered, or is there: the last who is called is the customer's escalation contact.
    fn tell_escalation(&mut self, id: i64, is_chainless: bool, why: &str, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let contact = self.terms.customer(&incident.customer).escalation.clone();
        if contact.is_some() || !is_chainless {
            self.note(id, Event::own(now, "unanswered", why));
        }
        let Some(contact) = contact else { return };
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
            self.page_one(id, recipient, "escalation", why.to_owned(), now);
        }
    }

    /// A person looks after it: nobody further is called, and the first notice waits once more for its commander.
    pub(super) fn acknowledge(&mut self, by: &Actor, id: i64, why: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let incident = self.known(id)?;
        if let Some(whole) = incident.merged_into {
            // Whoever was called for a part looks after the whole.
            return self.acknowledge(by, whole, why, now);
        }
        if !incident.state.is_open() {
            let (name, state) = (incident_name(id), incident.state.as_str());
            return Err(Refusal::Conflict(format!("{name} is {state}: nobody needs to look after it")));
        }
        if let Some((who, at)) = incident.page.as_ref().and_then(|page| page.acknowledged.clone()) {
            let hint = format!("{who} has looked after {} since {at}", incident_name(id));
            return Ok(Answer { hints: vec![hint], ..of(id) });
        }
        let (severity, waits) = (incident.severity, self.waits_for_commander(incident));
        if let Some(incident) = self.incidents.get_mut(&id) {
            let page = incident.page.get_or_insert(Page {
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
            if waits {
                (incident.asked_since, incident.asked) = (Some(now), 1);
            }
        }
        let stopped = format!("{} looks after it", by.name);
        self.entries.stops.push((now, Stop::Calls { incident: id, why: stopped }));
        self.note(id, Event::new(now, by, "acknowledged", why));
        Ok(of(id))
    }
}

/// The calls of a chain in their order: when, and by which ways. Those that reach nobody keep their place.
fn ways(chain: &Calls<'_>) -> Vec<(i64, Vec<Recipient>)> {
    let call = |(after, contact): &(i64, &Contact)| {
        let way = |channel: &Channel| {
            let address = if channel.is_personal() { channel.address(contact)? } else { "" };
            Some(Recipient {
                channel: channel.text(),
                address: address.to_owned(),
                contact: contact.id.clone(),
                person: contact.name.clone(),
                audience: "on-call".to_owned(),
                is_contact: false,
            })
        };
        (*after, chain.channels.iter().filter_map(way).collect::<Vec<_>>())
    };
    chain.calls.iter().map(call).collect()
}
