//! Contacts, rosters, distributions, the command chain and the escalation contact of a customer's file.

use std::collections::BTreeSet;
use std::ops::Range;

use super::address::{mail_fault, phone};
use super::claims::Claims;
use super::{Audience, Channel, CommandChain, Contact, Distribution, Escalation, Rights, Roster, keys};
use crate::policy::declared::Names;
use crate::policy::document::{Key, Section, TextValue, short};
use crate::policy::load::value_span;
use crate::policy::problem::{Place, Problem, suggest};
use crate::policy::rules::duration;

/// Severities, least to most.
const SEVERITIES: std::ops::RangeInclusive<u64> = 1..=4;
/// Longest name of a user of the API, and of a person.
const NAME_BYTES_MAX: usize = 100;
/// Nobody waits longer for an answer before somebody else is asked.
const ANSWER_MS_MAX: i64 = 24 * 3_600_000;

/// Everybody a file names.
pub(super) struct People {
    pub(super) contacts: Vec<Contact>,
    pub(super) rosters: Vec<Roster>,
    pub(super) distributions: Vec<Distribution>,
}

/// `[[contact]]`, `[[roster]]` and `[[distribution]]`.
pub(super) fn read(file: &Section<'_, '_>, customer: &str, claims: &mut Claims, problems: &mut Vec<Problem>) -> People {
    // Distributions name both, so that no roster is called as a contact is.
    let mut names = Names::default();
    let mut contacts = Vec::new();
    for section in file.sections(&keys::CONTACT, problems) {
        let section = section.keyed(keys::CONTACT_KEYS);
        if let Some(contact) = contact(&section, &mut names, problems) {
            let place = Place::new(section.document.path, value_span(&section, keys::EMAIL.name));
            claims.requester(customer, &contact, place, problems);
            contacts.push(contact);
        }
    }
    let mut rosters = Vec::new();
    for section in file.sections(&keys::ROSTER, problems) {
        rosters.extend(roster(&section.keyed(keys::ROSTER_KEYS), &contacts, &mut names, problems));
    }
    let sections = file.sections(&keys::DISTRIBUTION, problems);
    let mut people = People { contacts, rosters, distributions: Vec::new() };
    for section in sections {
        let distribution = distribution(&section.keyed(keys::DISTRIBUTION_KEYS), &people, problems);
        people.distributions.extend(distribution);
    }
    people
}

/// Calls the table by its name, which must be there, good and new.
fn identified<'d>(
    section: &Section<'d, '_>,
    key: &Key,
    what: &str,
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Option<&'d str> {
    let text = section.required_text(key, problems)?;
    let place = Place::new(section.document.path, text.span);
    names.take(what, text.value, place, problems).then_some(text.value)
}

fn contact(section: &Section<'_, '_>, names: &mut Names, problems: &mut Vec<Problem>) -> Option<Contact> {
    let id = identified(section, &keys::ID, "contact", names, problems);
    let section = &section.clone().named(id.map_or("[[contact]]".to_owned(), |id| format!("contact `{id}`")));
    section.check_keys(problems);
    let name = line(section, &keys::CONTACT_NAME, problems);
    let user = user(section, problems);
    let (email, mobile) = (email(section, problems), number(section, &keys::MOBILE, problems));
    let mut verified = |flag: &Key, of: &Key| {
        let is_verified = section.boolean(flag, problems).unwrap_or(false);
        if is_verified && section.lacks(of) {
            let message = format!("`{}` says that an address is verified, but there is no `{}`", flag.name, of.name);
            problems.push(section.problem("E008", message, section.key_span(flag.name)));
        }
        is_verified
    };
    let email_verified = verified(&keys::EMAIL_VERIFIED, &keys::EMAIL);
    let mobile_verified = verified(&keys::MOBILE_VERIFIED, &keys::MOBILE);
    let rights = rights(section, problems);
    let is_reachable = section.has(keys::EMAIL.name) || section.has(keys::MOBILE.name);
    if !is_reachable && (rights.receive || rights.request) {
        let message = format!("{} has neither a mail address nor a mobile number", section.named);
        let problem = section.problem("E035", message, value_span(section, keys::RIGHTS.name));
        let problem = problem.label("but these rights need one");
        problems.push(problem.help(format!("add a line such as: {}", keys::EMAIL.example)));
    }
    let id = id?.to_owned();
    let name = name.unwrap_or_else(|| id.clone());
    Some(Contact { id, name, user, email, email_verified, mobile, mobile_verified, rights })
}

/// Whoever the contact is among the service's own people.
fn user(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<String> {
    let text = section.text(&keys::USER, problems)?;
    let is_plain = !text.value.is_empty() && !text.value.chars().any(|c| c.is_whitespace() || c.is_control());
    if is_plain && text.value.len() <= NAME_BYTES_MAX {
        return Some(text.value.to_owned());
    }
    let problem = section.problem("E024", format!("`{}` is no name of a user", short(text.value)), text.span);
    problems.push(problem.help("the name the person signs in with, as `ringfence user list` shows it"));
    None
}

fn rights(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Rights {
    let mut rights = Rights::default();
    for text in section.texts(&keys::RIGHTS, problems).unwrap_or_default() {
        match text.value {
            "request" => rights.request = true,
            "authorise" => rights.authorise = true,
            "receive" => rights.receive = true,
            _ => {
                let words = ["request", "authorise", "receive"];
                problems.push(section.not_a_word(keys::RIGHTS.name, &text, words.into_iter()));
            }
        }
    }
    rights
}

/// One line of text that people read.
pub(super) fn line(section: &Section<'_, '_>, key: &Key, problems: &mut Vec<Problem>) -> Option<String> {
    let text = section.text(key, problems)?;
    let is_plain = !text.value.trim().is_empty() && !text.value.chars().any(char::is_control);
    if !is_plain || text.value.len() > NAME_BYTES_MAX {
        let message = format!("`{}` is one line of text, at most {NAME_BYTES_MAX} bytes", key.name);
        problems.push(section.problem("E006", message, text.span).help(format!("write: {}", key.example)));
        return None;
    }
    Some(text.value.trim().to_owned())
}

fn email(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<String> {
    let text = section.text(&keys::EMAIL, problems)?;
    let Some(fault) = mail_fault(text.value) else { return Some(text.value.to_owned()) };
    let problem = section.problem("E032", format!("mail address `{}` {fault}", short(text.value)), text.span);
    problems.push(problem.help(format!("one address, without a name: {}", keys::EMAIL.example)));
    None
}

fn number(section: &Section<'_, '_>, key: &Key, problems: &mut Vec<Problem>) -> Option<String> {
    let value = section.value(key.name)?;
    if let Some(integer) = value.get_ref().as_integer() {
        let problem = section.problem("E014", "phone number written as an integer", value.span());
        let digits = integer.as_str().trim_start_matches('+');
        problems.push(problem.help(format!("write it as text: {} = \"+{digits}\"", key.name)));
        return None;
    }
    let text = section.text(key, problems)?;
    let found = phone(text.value);
    if found.is_none() {
        let message = format!("`{}` is no telephone number with its country code", short(text.value));
        let problem = section.problem("E032", message, text.span);
        problems.push(problem.help(format!("a plus, the country code and the number: {}", key.example)));
    }
    found
}

fn roster(
    section: &Section<'_, '_>,
    contacts: &[Contact],
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Option<Roster> {
    let name = identified(section, &keys::ROSTER_NAME, "roster", names, problems);
    let section = &section.clone().named(name.map_or("[[roster]]".to_owned(), |name| format!("roster `{name}`")));
    section.check_keys(problems);
    if section.lacks(&keys::PEOPLE) {
        problems.push(section.missing(&keys::PEOPLE));
    }
    let texts = section.texts(&keys::PEOPLE, problems)?;
    if texts.is_empty() && !section.value(keys::PEOPLE.name)?.get_ref().as_array()?.iter().any(|_| true) {
        let message = format!("{} has nobody on it", section.named);
        problems
            .push(section.problem("E033", message, value_span(section, keys::PEOPLE.name)).help(keys::PEOPLE.example));
    }
    let known: Vec<&str> = contacts.iter().map(|contact| contact.id.as_str()).collect();
    let people = named(section, &keys::PEOPLE, texts, "contact", &known, problems);
    Some(Roster { name: name?.to_owned(), people })
}

/// Those that are known, each once; the others are noted.
fn named(
    section: &Section<'_, '_>,
    key: &Key,
    texts: Vec<TextValue<'_>>,
    what: &str,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts {
        let name = short(text.value);
        let problem = match known.contains(&text.value) {
            true if found.iter().any(|known| known == text.value) => {
                section.problem("E007", format!("`{name}` is named twice in `{}`", key.name), text.span)
            }
            true => {
                found.push(text.value.to_owned());
                continue;
            }
            false => {
                let message = match suggest(text.value, known.iter().copied()) {
                    Some(near) => format!("unknown {what} `{name}`; did you mean `{near}`?"),
                    None => format!("unknown {what} `{name}`"),
                };
                let help = format!("write a [[contact]] with id = \"{name}\", or take it out of `{}`", key.name);
                section.problem("E033", message, text.span).help(help)
            }
        };
        problems.push(problem);
    }
    found
}

fn distribution(section: &Section<'_, '_>, people: &People, problems: &mut Vec<Problem>) -> Option<Distribution> {
    section.check_keys(problems);
    let required = [&keys::SEVERITIES, &keys::AUDIENCE, &keys::CHANNELS];
    for key in required.into_iter().filter(|key| section.lacks(key)) {
        problems.push(section.missing(key));
    }
    let severities = severities(section, problems);
    let words: Vec<(&str, Audience)> = Audience::ALL.iter().map(|a| (a.as_str(), *a)).collect();
    let audience = section.word(&keys::AUDIENCE, &words, problems);
    let channels = channels(section, problems);
    let is_for_people = channels.iter().any(Channel::is_personal) || channels.is_empty();
    let is_empty =
        section.value(keys::TO.name).is_none_or(|to| to.get_ref().as_array().is_some_and(|to| to.is_empty()));
    if is_empty && is_for_people {
        let message = "this distribution names nobody: `to` is empty";
        let problem = section.problem("E033", message, value_span(section, keys::TO.name));
        problems.push(problem.help(format!("write contacts and rosters: {}", keys::TO.example)));
    }
    let to = named_people(section, people, &channels, problems).unwrap_or_default();
    Some(Distribution { severities, audience: audience?, to, channels })
}

/// Contacts and rosters that `to` names, where it is there; checks that they can be reached.
pub(super) fn named_people(
    section: &Section<'_, '_>,
    people: &People,
    channels: &[Channel],
    problems: &mut Vec<Problem>,
) -> Option<Vec<String>> {
    let contacts = people.contacts.iter().map(|contact| contact.id.as_str());
    let known: Vec<&str> = contacts.chain(people.rosters.iter().map(|roster| roster.name.as_str())).collect();
    let texts = section.texts(&keys::TO, problems)?;
    let spans: Vec<(String, Range<usize>)> =
        texts.iter().map(|text| (text.value.to_owned(), text.span.clone())).collect();
    let to = named(section, &keys::TO, texts, "contact or roster", &known, problems);
    reachable(section, people, &spans, channels, problems);
    Some(to)
}

/// Every channel once; what is wrong with `channels` is noted.
pub(super) fn channels(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Vec<Channel> {
    let mut channels = Vec::new();
    let texts = section.texts(&keys::CHANNELS, problems);
    for text in texts.as_deref().unwrap_or_default() {
        match Channel::parse(text.value) {
            Some(channel) if channels.contains(&channel) => {
                let message = format!("`{}` is named twice in `channels`", text.value);
                problems.push(section.problem("E007", message, text.span.clone()));
            }
            Some(channel) => channels.push(channel),
            None => {
                let words = Channel::PLAIN.iter().map(Channel::as_str).chain(["webhook:NAME"]);
                problems.push(section.not_a_word(keys::CHANNELS.name, text, words));
            }
        }
    }
    if texts.is_some_and(|texts| texts.is_empty()) {
        let problem = section.problem("E033", "`channels` names none", value_span(section, keys::CHANNELS.name));
        problems.push(problem.help(format!("write: {}", keys::CHANNELS.example)));
    }
    channels
}

pub(super) fn severities(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Vec<u8> {
    let mut found = BTreeSet::new();
    let Some(array) = section.array(&keys::SEVERITIES, problems) else { return Vec::new() };
    for item in array.iter() {
        let number = item.get_ref().as_integer().and_then(|n| n.as_str().parse::<u64>().ok());
        match number.filter(|n| SEVERITIES.contains(n)).and_then(|n| u8::try_from(n).ok()) {
            Some(severity) => {
                found.insert(severity);
            }
            None => {
                let problem = section.problem("E006", "a severity is 1, 2, 3 or 4", item.span());
                problems.push(problem.help("1 is a disaster, 4 the least"));
            }
        }
    }
    if array.is_empty() {
        let span = value_span(section, keys::SEVERITIES.name);
        let problem = section.problem("E006", "`severities` names none", span);
        problems.push(problem.help(format!("write: {}", keys::SEVERITIES.example)));
    }
    found.into_iter().collect()
}

/// Can everybody a distribution names be told, and by addresses that somebody has tried?
fn reachable(
    section: &Section<'_, '_>,
    people: &People,
    named: &[(String, Range<usize>)],
    channels: &[Channel],
    problems: &mut Vec<Problem>,
) {
    let personal: Vec<Channel> = channels.iter().filter(|channel| channel.is_personal()).cloned().collect();
    for (name, span) in named {
        let roster = people.rosters.iter().find(|roster| roster.name == *name);
        let ids = roster.map_or_else(|| vec![name.clone()], |roster| roster.people.clone());
        for contact in people.contacts.iter().filter(|contact| ids.contains(&contact.id)) {
            let at = |problem: Problem| problem.at(section.document.path, span.clone());
            let id = &contact.id;
            if !contact.rights.receive {
                let message = format!("contact `{id}` has no right to receive");
                let help = format!("add \"{}\" to the rights of `{id}`, or take it out here", "receive");
                problems.push(at(Problem::error("E035", message)).help(help));
                continue;
            }
            let lacking: Vec<&str> =
                personal.iter().filter(|c| c.address(contact).is_none()).map(|c| c.as_str()).collect();
            if !personal.is_empty() && lacking.len() == personal.len() {
                let message = format!("contact `{id}` cannot be reached by {}", lacking.join(" or "));
                problems
                    .push(at(Problem::error("E035", message)).help("give the contact the address, or another channel"));
                continue;
            }
            if !lacking.is_empty() {
                let message = format!("contact `{id}` has no address for {}", lacking.join(" and "));
                problems.push(at(Problem::warning("W124", message)));
            }
            let by_mail = personal.contains(&Channel::Mail) && contact.email.is_some() && !contact.email_verified;
            let by_phone = personal.iter().any(|c| *c != Channel::Mail);
            let by_phone = by_phone && contact.mobile.is_some() && !contact.mobile_verified;
            for (is_unverified, what, key) in
                [(by_mail, "mail address", "email_verified"), (by_phone, "mobile number", "mobile_verified")]
            {
                if is_unverified {
                    let message = format!("the {what} of contact `{id}` is not verified");
                    let help = format!("send a test message, and write {key} = true once it has come");
                    problems.push(at(Problem::warning("W125", message)).help(help));
                }
            }
        }
    }
}

/// `[command]`: names of users of the API.
pub(super) fn command(file: &Section<'_, '_>, problems: &mut Vec<Problem>) -> CommandChain {
    let usual = CommandChain::default();
    let section = file.section(&keys::COMMAND, problems).map(|section| section.keyed(keys::COMMAND_KEYS));
    let place = section.as_ref().map_or(0..0, |section| section.span.clone());
    let chain = section.as_ref().map_or_else(CommandChain::default, |section| {
        section.check_keys(problems);
        let mut users = |key: &Key| users(section, key, problems);
        let (commanders, deputies, managers) =
            (users(&keys::COMMANDERS), users(&keys::DEPUTIES), users(&keys::MANAGERS));
        let mut after = |key: &Key, usual: i64| {
            let ms = duration(section, key, problems).unwrap_or(usual);
            if !(0..=ANSWER_MS_MAX).contains(&ms) {
                let problem =
                    section.problem("E009", format!("`{}` is at most 24h", key.name), value_span(section, key.name));
                problems.push(problem);
            }
            ms
        };
        let deputy_after_ms = after(&keys::DEPUTY_AFTER, usual.deputy_after_ms);
        let manager_after_ms = after(&keys::MANAGER_AFTER, usual.manager_after_ms.max(deputy_after_ms));
        if manager_after_ms < deputy_after_ms {
            let message = "the managers would be asked before the deputies";
            problems.push(section.problem("E009", message, value_span(section, keys::MANAGER_AFTER.name)));
        }
        CommandChain { commanders, deputies, managers, deputy_after_ms, manager_after_ms }
    });
    // Where somebody stands there who cannot be read, that is the mistake.
    let is_written = section.is_some_and(|s| {
        [&keys::COMMANDERS, &keys::DEPUTIES, &keys::MANAGERS]
            .iter()
            .any(|key| s.value(key.name).is_some_and(|v| v.get_ref().as_array().is_none_or(|a| !a.is_empty())))
    });
    if chain.is_empty() && !is_written {
        let message = "nobody checks and releases this customer's notices: the escalation contact is told instead";
        let problem = Problem::warning("W126", message).at(file.document.path, place);
        problems.push(problem.help(format!("add under [command]: {}", keys::COMMANDERS.example)));
    }
    chain
}

fn users(section: &Section<'_, '_>, key: &Key, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut users: Vec<String> = Vec::new();
    for text in section.texts(key, problems).unwrap_or_default() {
        let is_plain = !text.value.is_empty() && !text.value.chars().any(|c| c.is_whitespace() || c.is_control());
        let problem = if !is_plain || text.value.len() > NAME_BYTES_MAX {
            let problem = section.problem("E024", format!("`{}` is no name of a user", short(text.value)), text.span);
            problem.help("the names that people sign in with, as `ringfence user list` shows them")
        } else if users.iter().any(|known| known == text.value) {
            section.problem("E007", format!("`{}` is named twice in `{}`", text.value, key.name), text.span)
        } else {
            users.push(text.value.to_owned());
            continue;
        };
        problems.push(problem);
    }
    users
}

/// `[escalation]`.
pub(super) fn escalation(file: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Escalation> {
    let Some(section) = file.section(&keys::ESCALATION, problems) else {
        if file.lacks(&keys::ESCALATION) {
            let message = "there is no escalation contact: nobody is told when nobody answers";
            let problem = Problem::warning("W127", message).at(file.document.path, 0..0);
            problems.push(problem.help("add: escalation = { name = \"Service desk\", phone = \"+4684000100\" }"));
        }
        return None;
    };
    let section = section.keyed(keys::ESCALATION_KEYS);
    section.check_keys(problems);
    if section.lacks(&keys::ESCALATION_NAME) {
        problems.push(section.missing(&keys::ESCALATION_NAME));
    }
    let name = line(&section, &keys::ESCALATION_NAME, problems);
    let (phone, email) = (number(&section, &keys::PHONE, problems), email(&section, problems));
    if !section.has(keys::PHONE.name) && !section.has(keys::EMAIL.name) {
        let message = "the escalation contact has neither `phone` nor `email`";
        let problem = section.problem("E035", message, section.span.clone());
        problems.push(problem.help(format!("add a line such as: {}", keys::PHONE.example)));
    }
    Some(Escalation { name: name?, phone, email })
}
