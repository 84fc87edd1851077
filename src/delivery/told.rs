//! Who was told of something, by which ways, and what became of each: with those whom the customer's file names and whom
//! nothing was sent, and why not.
//!
//! Plain sentences made of rows and of the file. It reads nothing, decides nothing, and puts no time into a sentence: whoever
//! shows it knows the reader's clock.

use crate::clock::Timestamp;
use crate::customer::{Channel, Contact, Customer, Distribution};
use crate::incident::{About, Page, Purpose, delivery_name};
use crate::store::DeliveryRow;

use super::digest;
use super::route::{ACD, CALL_SHEET, SMS};

/// What is asked about: everything that was sent of an incident, or of one of its messages.
#[derive(Debug)]
pub struct Subject<'s> {
    pub customer: &'s Customer,
    /// 1 to 4: that of what was released last.
    pub severity: u8,
    /// Something of it was released.
    pub is_released: bool,
    /// The oldest first.
    pub sent: Vec<Sent>,
    /// How far the calling of those on call has come, where that is asked for too.
    pub page: Option<&'s Page>,
}

/// A delivery, and the first and the last of its steps in words.
#[derive(Clone, Debug)]
pub struct Sent {
    pub row: DeliveryRow,
    pub about: About,
    /// Why there is one.
    pub why: String,
    /// Who did the last step.
    pub who: String,
}

/// Somebody, and every way to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As people know them; of a program the name of its channel.
    pub name: String,
    /// In the customer's file; empty where it is nobody of it.
    pub contact: String,
    /// What it is there for: an audience of the file, `on-call`, `escalation`, `program`.
    pub audience: String,
    pub stands: Stands,
    pub ways: Vec<Way>,
}

/// Whether a notice has come to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// By one way at least.
    Told,
    /// Not yet: it is under way, or nothing was released.
    Waiting,
    /// It was to come, and did not.
    Missed,
    /// Only called, to look after the incident.
    Called,
    /// The customer's file does not want them told.
    NotMeant,
}

impl Stands {
    pub fn as_str(self) -> &'static str {
        match self {
            Stands::Told => "told",
            Stands::Waiting => "waiting",
            Stands::Missed => "missed",
            Stands::Called => "called",
            Stands::NotMeant => "not-meant",
        }
    }
}

/// One way to somebody, taken or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub delivery: Option<i64>,
    pub message: Option<i64>,
    /// `notice` or `page`.
    pub purpose: Purpose,
    /// Kind of the notice.
    pub kit: String,
    /// Empty where no channel would be the right one.
    pub channel: String,
    pub address: String,
    /// Of the delivery; `none` where there is none.
    pub state: String,
    /// When it came into that state; of what is still to come, when that is.
    pub at: Option<Timestamp>,
    /// What became of it.
    pub became: String,
    /// Why it was to be sent at all.
    pub why: String,
    pub attempts: u32,
}

/// Whoever was told first, first; then those who were not, in the order of the file.
pub fn people(subject: &Subject<'_>) -> Vec<Person> {
    let mut people: Vec<Person> = Vec::new();
    for sent in &subject.sent {
        let about = &sent.about;
        // The escalation contact is nobody of the list, whatever an id of the list is.
        let contact = if about.audience == "escalation" { "" } else { about.contact.as_str() };
        let is_same = |p: &&mut Person| p.contact == contact && (!p.contact.is_empty() || p.name == about.person);
        let person = match people.iter_mut().find(is_same) {
            Some(person) => person,
            None => {
                people.push(Person {
                    name: about.person.clone(),
                    contact: contact.to_owned(),
                    audience: about.audience.clone(),
                    stands: Stands::NotMeant,
                    ways: Vec::new(),
                });
                people.last_mut().expect("one was just put there")
            }
        };
        person.ways.push(way(sent, &subject.sent));
    }
    for contact in &subject.customer.contacts {
        let mut ways = not_told(subject, contact);
        ways.extend(not_called(subject, contact));
        match people.iter_mut().find(|person| person.contact == contact.id) {
            Some(person) => person.ways.extend(ways),
            None => people.push(Person {
                name: contact.name.clone(),
                contact: contact.id.clone(),
                audience: audience(subject.customer, contact),
                stands: Stands::NotMeant,
                ways,
            }),
        }
    }
    for person in &mut people {
        person.stands = stands(subject, person);
    }
    people
}

fn stands(subject: &Subject<'_>, person: &Person) -> Stands {
    let notices = || person.ways.iter().filter(|way| way.purpose == Purpose::Notice);
    // One mail to an address that two people have is for both.
    let is_of = |way: &Way, sent: &Sent| {
        let is_same = way.channel == sent.row.channel && way.address.eq_ignore_ascii_case(&sent.row.address);
        sent.about.purpose == Purpose::Notice && is_same && !(way.delivery.is_none() && way.address.is_empty())
    };
    let came = |way: &Way| subject.sent.iter().any(|sent| is_of(way, sent) && has_come(&sent.row));
    let is_under_way = |way: &Way| match way.state.as_str() {
        "queued" | "leased" | "unknown" => true,
        "suppressed" => subject.sent.iter().any(|sent| is_of(way, sent) && digest::held_why(&sent.row).is_some()),
        "handed" => way.channel == CALL_SHEET,
        _ => way.delivery.is_none() && !way.channel.is_empty() && !subject.is_released,
    };
    let is_meant = |way: &Way| way.delivery.is_some() || !way.channel.is_empty();
    if notices().any(came) {
        Stands::Told
    } else if notices().any(is_under_way) {
        Stands::Waiting
    } else if notices().any(is_meant) {
        Stands::Missed
    } else if person.ways.iter().any(|way| way.delivery.is_some()) {
        Stands::Called
    } else {
        Stands::NotMeant
    }
}

/// The person has it, as far as anybody knows.
fn has_come(row: &DeliveryRow) -> bool {
    row.handed.is_some() && row.state != "failed"
}

fn way(sent: &Sent, all: &[Sent]) -> Way {
    let Sent { row, about, why, who } = sent;
    let mut became = became(row, Some(who));
    if let Some(other) = all.iter().find(|other| other.about.instead_of == Some(row.id)) {
        became += &format!("; {} by {} instead", delivery_name(other.row.id), other.row.channel);
    }
    Way {
        delivery: Some(row.id),
        message: row.message,
        purpose: about.purpose,
        kit: about.kit.clone(),
        channel: row.channel.clone(),
        address: row.address.clone(),
        state: row.state.clone(),
        at: Some(row.changed),
        became,
        why: why.clone(),
        attempts: row.attempts,
    }
}

/// What became of a delivery, in a sentence. `who`: whoever did its last step, where that was looked up.
pub fn became(row: &DeliveryRow, who: Option<&str>) -> String {
    let tries = |n: u32| if n == 1 { "1 try".to_owned() } else { format!("{n} tries") };
    let (by_phone, is_announced) = (row.channel == CALL_SHEET, row.channel == ACD);
    let said = |text: &str| if row.reason.is_empty() { text.to_owned() } else { format!("{text}: {}", row.reason) };
    match row.state.as_str() {
        "queued" if row.attempts == 0 => said("waits to be sent"),
        "queued" => said(&format!("waits for another try, after {}", tries(row.attempts))),
        "leased" if by_phone => "is being put on the call sheet".to_owned(),
        "leased" => format!("is being handed to {}", row.provider),
        "unknown" => format!("{}; nobody knows whether it came, and it is asked for", row.reason),
        "handed" if is_announced => "callers hear it".to_owned(),
        "delivered" if is_announced => {
            "callers hear it: it was fetched as they get it, and is what was released".to_owned()
        }
        "handed" if by_phone => "stands on the call sheet: nobody has phoned yet".to_owned(),
        "handed" if row.attempts > 1 => format!("{} took it, at the {} try", row.provider, nth(row.attempts)),
        "handed" => format!("{} took it", row.provider),
        "delivered" if by_phone => {
            let who = who.map(|who| format!(" by {who}")).unwrap_or_default();
            said(&format!("was reached by phone{who}"))
        }
        "delivered" => format!("has come, {} says", row.provider),
        "failed" if by_phone => said("was not reached by phone"),
        "failed" => said("failed for good"),
        "expired" => said("was given up"),
        // The name of the digest is for programs.
        "suppressed" => match digest::held_why(row) {
            Some(why) => format!("was held back ({why}): it goes out in one with the others"),
            None => said("was stopped"),
        },
        "superseded" => said("was not sent any more"),
        other => said(other),
    }
}

fn nth(n: u32) -> String {
    let ending = match (n % 10, n % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// Where the file first names somebody.
fn audience(customer: &Customer, contact: &Contact) -> String {
    let names = |d: &&Distribution| customer.people(d).iter().any(|person| person.id == contact.id);
    customer.distributions.iter().find(names).map_or_else(String::new, |d| d.audience.as_str().to_owned())
}

/// No way was taken, and why not.
fn none(purpose: Purpose, channel: &str, became: String) -> Way {
    Way {
        delivery: None,
        message: None,
        purpose,
        kit: String::new(),
        channel: channel.to_owned(),
        address: String::new(),
        state: "none".to_owned(),
        at: None,
        became,
        why: String::new(),
        attempts: 0,
    }
}

/// Ways by which the file might have had a notice sent to a contact, and by which it was not.
fn not_told(subject: &Subject<'_>, contact: &Contact) -> Vec<Way> {
    let customer = subject.customer;
    let notices = || subject.sent.iter().filter(|sent| sent.about.purpose == Purpose::Notice);
    let has_one = notices().any(|sent| sent.about.contact == contact.id);
    let none = |channel: &str, why: String| none(Purpose::Notice, channel, why);
    let names = |d: &&Distribution| customer.people(d).iter().any(|person| person.id == contact.id);
    let (of_it, others): (Vec<&Distribution>, Vec<&Distribution>) =
        customer.distributions.iter().filter(names).partition(|d| d.severities.contains(&subject.severity));
    if of_it.is_empty() {
        let why = if others.is_empty() {
            "no distribution of the customer's file names them".to_owned()
        } else {
            let severities: Vec<u8> = (1..=4).filter(|n| others.iter().any(|d| d.severities.contains(n))).collect();
            format!("is told of severity {} only, and this is {}", list(&severities), subject.severity)
        };
        return if has_one { Vec::new() } else { vec![none("", why)] };
    }
    if !contact.rights.receive {
        return if has_one { Vec::new() } else { vec![none("", "has no right to receive".to_owned())] };
    }
    let mut ways: Vec<Way> = Vec::new();
    for channel in of_it.iter().flat_map(|d| &d.channels).filter(|channel| channel.is_personal()) {
        let name = channel.text();
        if ways.iter().any(|way| way.channel == name) {
            continue;
        }
        let is_here = |sent: &&Sent| sent.about.contact == contact.id && sent.row.channel == name;
        if notices().any(|sent| is_here(&sent)) {
            continue;
        }
        let Some(address) = channel.address(contact) else {
            ways.push(none(&name, lacks(channel)));
            continue;
        };
        let is_shared = |sent: &&Sent| sent.row.channel == name && sent.row.address.eq_ignore_ascii_case(address);
        let why = match notices().find(is_shared) {
            Some(sent) => format!("has the same address as {}: one message for both", sent.about.person),
            None if subject.is_released => "was not in the file like this when it was released".to_owned(),
            None => "nothing was released yet".to_owned(),
        };
        ways.push(Way { address: address.to_owned(), ..none(&name, why) });
    }
    if ways.is_empty() && !has_one {
        let published: Vec<String> = of_it.iter().flat_map(|d| &d.channels).map(Channel::text).collect();
        ways.push(none("", format!("gets nothing by name: it is published ({})", published.join(", "))));
    }
    ways
}

fn lacks(channel: &Channel) -> String {
    let what = if *channel == Channel::Mail { "mail address" } else { "mobile number" };
    format!("the customer's file has no {what} for them")
}

/// Calls of the chain that were not made to a contact, or not yet.
fn not_called(subject: &Subject<'_>, contact: &Contact) -> Vec<Way> {
    let Some(page) = subject.page else { return Vec::new() };
    let calls = subject.customer.calls(page.severity.number());
    let mine = calls.calls.iter().enumerate().find(|(_, (_, called))| called.id == contact.id);
    let Some((place, (after_ms, _))) = mine else { return Vec::new() };
    let of_page = |sent: &&Sent| sent.about.purpose == Purpose::Page && sent.row.queued >= page.since;
    let has_one = |channel: &str| {
        let mut pages = subject.sent.iter().filter(of_page).filter(|sent| sent.about.contact == contact.id);
        pages.any(|sent| sent.row.channel == channel)
    };
    let is_called = calls.channels.iter().any(|channel| has_one(&channel.text()));
    if is_called || page.made > place || page.round > 0 {
        let personal = calls.channels.iter().filter(|c| c.is_personal() && c.address(contact).is_none());
        let lacking = personal.map(|channel| none(Purpose::Page, &channel.text(), lacks(channel)));
        return lacking.filter(|way| !has_one(&way.channel)).collect();
    }
    let way = |why: String, at: Option<Timestamp>| vec![Way { at, ..none(Purpose::Page, "", why) }];
    match (&page.acknowledged, page.next) {
        (Some((who, _)), _) => way(format!("was not called: {who} looked after it before their turn"), None),
        (None, Some(_)) => {
            let at = page.round_since.plus_ms(*after_ms);
            way("will be called unless somebody looks after it by then".to_owned(), Some(at))
        }
        (None, None) => way("was not called: the incident was over before".to_owned(), None),
    }
}

/// `1`, `1 and 2`, `1, 2 and 3`.
fn list(numbers: &[u8]) -> String {
    let texts: Vec<String> = numbers.iter().map(u8::to_string).collect();
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => texts.concat(),
    }
}

/// A number that can be phoned; none where the sheet has a name alone.
pub fn number(row: &DeliveryRow) -> Option<&str> {
    let has_number = matches!(row.channel.as_str(), CALL_SHEET | SMS) && row.address.starts_with('+');
    has_number.then_some(row.address.as_str())
}

#[cfg(test)]
mod tests;
