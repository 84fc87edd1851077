//! Who is told of what by which channel: the customer's distributions, made into one telling for each person and channel.
//!
//! What a telling becomes, the outbox knows; here is only who must hear. Whoever was told of an incident is remembered
//! with it, so that they are told of its end, whatever the files say by then.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::message::Message;
use super::{Severity, incident_name, message_name};
use crate::clock::Timestamp;
use crate::customer::{Audience, Channel, Contact, Customer};
use crate::kit::{Form, Kind};

/// How long a notice is worth sending.
const NOTICE_MS: i64 = 24 * 3_600_000;
/// Name of the channel that stands in where a customer's file names nobody.
pub const STDOUT: &str = "stdout";

/// Somebody, and a way to reach them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Recipient {
    /// As [`Channel::text`] writes it, or [`STDOUT`].
    pub channel: String,
    /// A mail address, a number; empty where the channel knows by itself.
    pub address: String,
    /// Id in the customer's file; empty where it is nobody of it.
    pub contact: String,
    /// As people know them.
    pub person: String,
    pub audience: String,
    /// The customer counts as told when this one has it.
    pub is_contact: bool,
}

impl Recipient {
    /// The same address by the same channel, however it is written.
    pub(super) fn is_same(&self, other: &Recipient) -> bool {
        self.channel == other.channel && self.address.to_lowercase() == other.address.to_lowercase()
    }
}

/// What the outbox reads of a telling, and nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub purpose: Purpose,
    pub contact: String,
    pub person: String,
    pub audience: String,
    /// Kind of the notice.
    pub kit: String,
    pub is_end: bool,
    /// Its own words; a notice's are those of its message.
    pub subject: String,
    pub text: String,
    /// Delivery that this one stands in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<i64>,
}

/// Why somebody is told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A released message.
    Notice,
    /// Somebody on call is to look after an incident.
    Page,
    /// Several notices in one, for somebody who got too many.
    Digest,
}

/// One delivery that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// What must not be done twice.
    pub once: String,
    pub customer: String,
    pub incident: i64,
    pub message: Option<i64>,
    pub severity: Severity,
    pub recipient: Recipient,
    pub about: About,
    pub queued: Timestamp,
    pub valid_until: Timestamp,
    pub why: String,
}

impl Telling {
    /// Of a released message.
    fn notice(message: &Message, kind: Option<Kind>, recipient: &Recipient, why: String, now: Timestamp) -> Telling {
        let Recipient { channel, address, contact, person, audience, .. } = recipient;
        Telling {
            once: once(&message_name(message.id), channel, address),
            customer: message.customer.clone(),
            incident: message.incident,
            message: Some(message.id),
            severity: message.severity,
            recipient: recipient.clone(),
            about: About {
                purpose: Purpose::Notice,
                contact: contact.clone(),
                person: person.clone(),
                audience: audience.clone(),
                kit: message.kit.clone(),
                is_end: kind.is_some_and(is_end),
                subject: String::new(),
                text: String::new(),
                instead_of: None,
            },
            queued: now,
            valid_until: now.plus_ms(NOTICE_MS),
            why,
        }
    }
}

/// One message for each person, channel and release: the address decides, however it is written.
pub fn once(what: &str, channel: &str, address: &str) -> String {
    format!("{what}/{channel}/{}", address.to_lowercase())
}

/// What a message says in a channel: subject and text.
pub fn words(message: &Message, channel: &str) -> (String, String) {
    let form = match channel {
        "sms" => Form::Sms,
        "acd" => Form::Acd,
        "mail" | "call-sheet" => Form::Mail,
        _ => Form::Portal,
    };
    let subject = message.forms.get(Form::MailSubject).to_owned();
    (subject, message.forms.get(form).to_owned())
}

fn is_end(kind: Kind) -> bool {
    matches!(kind, Kind::Resolved | Kind::FalseAlarm)
}

/// Kinds of notice that go to everybody who was told before: an end, and what puts right what they were told.
fn is_for_all(kind: Kind) -> bool {
    is_end(kind) || kind == Kind::Severity
}

/// Everybody a customer's file wants told at a severity, each address once a channel, and why.
fn by_file(customer: &Customer, severity: Severity) -> Vec<(Recipient, String)> {
    let mut found: Vec<(Recipient, String)> = Vec::new();
    let mut add = |recipient: Recipient, why: String| {
        match found.iter_mut().find(|(known, _)| known.is_same(&recipient)) {
            // Two lists, one message; it counts if either does.
            Some((known, _)) => known.is_contact |= recipient.is_contact,
            None => found.push((recipient, why)),
        }
    };
    let number = severity.number();
    for distribution in customer.distributions.iter().filter(|d| d.severities.contains(&number)) {
        let audience = distribution.audience;
        let why = format!("audience {}, severity {number}", audience.as_str());
        for channel in &distribution.channels {
            if channel.is_personal() {
                for contact in customer.people(distribution).into_iter().filter(|c| c.rights.receive) {
                    if let Some(address) = channel.address(contact) {
                        add(person(contact, channel, address, audience.as_str(), is_customers(audience)), why.clone());
                    }
                }
            } else if *channel != Channel::Portal {
                add(program(channel), why.clone());
            }
        }
    }
    found
}

/// The customer's own people, whatever they are there for; staff and service are ours.
fn is_customers(audience: Audience) -> bool {
    matches!(audience, Audience::Customer | Audience::Cio | Audience::Helpdesk)
}

fn person(contact: &Contact, channel: &Channel, address: &str, audience: &str, is_contact: bool) -> Recipient {
    Recipient {
        channel: channel.text(),
        address: address.to_owned(),
        contact: contact.id.clone(),
        person: contact.name.clone(),
        audience: audience.to_owned(),
        is_contact,
    }
}

fn program(channel: &Channel) -> Recipient {
    let (contact, audience) = (String::new(), "program".to_owned());
    Recipient {
        person: channel.text(),
        channel: channel.text(),
        address: String::new(),
        contact,
        audience,
        is_contact: false,
    }
}

/// Whom to tell where the file names no person: the customer's escalation contact, and whoever reads standard output
/// where there is none either.
fn nobody_else(customer: &Customer) -> Vec<(Recipient, String)> {
    let Some(contact) = &customer.escalation else {
        let recipient = Recipient {
            channel: STDOUT.to_owned(),
            address: String::new(),
            contact: String::new(),
            person: "standard output".to_owned(),
            audience: "default".to_owned(),
            is_contact: true,
        };
        return vec![(recipient, "the customer's file names nobody".to_owned())];
    };
    let ways = [(Channel::Mail, &contact.email), (Channel::Sms, &contact.phone)];
    let recipient = |(channel, address): (Channel, &Option<String>)| {
        let recipient = Recipient {
            channel: channel.text(),
            address: address.clone()?,
            contact: String::new(),
            person: contact.name.clone(),
            audience: "escalation".to_owned(),
            is_contact: true,
        };
        Some((recipient, "no distribution names anybody: the escalation contact is told".to_owned()))
    };
    ways.into_iter().filter_map(recipient).collect()
}

impl Book {
    /// Queues a released message for everybody who is to hear of it.
    pub(super) fn tell(&mut self, id: i64, now: Timestamp) {
        let Some(message) = self.messages.get(&id) else { return };
        let (of, kind) = (message.incident, Kind::parse(&message.kit));
        let customer = self.terms.customer(&message.customer);
        let mut recipients = by_file(customer, message.severity);
        let is_personal = |r: &Recipient| Channel::parse(&r.channel).is_some_and(|channel| channel.is_personal());
        if !recipients.iter().any(|(recipient, _)| is_personal(recipient)) {
            recipients.extend(nobody_else(customer));
        }
        if kind.is_some_and(is_for_all) {
            for told in self.told_of(of) {
                if !recipients.iter().any(|(recipient, _)| recipient.is_same(&told)) {
                    recipients.push((told, format!("was told of {} before", incident_name(of))));
                }
            }
        }
        let tellings: Vec<Telling> =
            recipients.iter().map(|(r, why)| Telling::notice(message, kind, r, why.clone(), now)).collect();
        self.entries.supersede.push((of, id, now));
        self.entries.tellings.extend(tellings);
        if let Some(incident) = self.incidents.get_mut(&of) {
            incident.told.extend(recipients.into_iter().map(|(recipient, _)| recipient));
            self.touch_incident(of);
        }
    }

    /// Everybody who was told of an incident or of what is folded into it.
    fn told_of(&self, id: i64) -> BTreeSet<Recipient> {
        let all = self.parts(id).into_iter().chain([id]).filter_map(|id| self.incidents.get(&id));
        all.flat_map(|incident| incident.told.iter().cloned()).collect()
    }
}

impl Recipient {
    /// The same for everything that goes to one person, by whatever channel.
    pub fn key(&self) -> String {
        format!("{}/{}", self.contact, self.person)
    }
}
