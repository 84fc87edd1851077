//! Customers: whose a call is, how their numbers are dialled, who may do what, who is told, how grave a finding is, and
//! when people work.
//!
//! One file a customer, `customers/<id>.toml` beside the rules; [`compile`] checks them all and tells every mistake at
//! once. Where the folder exists, nobody else is a customer. Nothing here reads a clock or a socket, tells anybody
//! anything, or knows a password.

mod address;
mod channel;
mod claims;
mod file;
mod hours;
mod keys;
mod oncall;
mod people;
pub mod schema;
mod severity;

use std::sync::Arc;

use jiff::tz::TimeZone;

pub use channel::Channel;
pub use oncall::{OnCall, Step};
pub use severity::SeverityTable;

use crate::calendar::Calendar;
use crate::event::Country;
use crate::event::dialplan::DialPlanSettings;
use crate::event::numbering::Numbering;
use crate::policy::document::Document;
use crate::policy::load::{ListReads, Settings};
use crate::policy::number_set::NumberSet;
use crate::policy::problem::Problem;

/// The folder of customers' files, beside `ruleset.toml`.
pub const FOLDER: &str = "customers";
/// How long the commanders of a customer have to answer before their deputies are asked as well.
const DEPUTY_AFTER_MS: i64 = 5 * 60_000;
/// The same, before the managers are asked.
const MANAGER_AFTER_MS: i64 = 10 * 60_000;

/// All customers of an installation.
#[derive(Debug)]
pub struct Customers {
    /// By id.
    all: Vec<Arc<Customer>>,
    /// Whoever it is, where there is no folder.
    anybody: Arc<Customer>,
    is_closed: bool,
    has_own_numbers: bool,
}

impl Customers {
    /// Without a folder: every id is a customer, with the settings that nothing sets otherwise.
    pub fn open(time_zone: TimeZone) -> Customers {
        Customers {
            all: Vec::new(),
            anybody: Arc::new(Customer::anybody(time_zone)),
            is_closed: false,
            has_own_numbers: false,
        }
    }

    /// The customer of this id. Where there is no folder, the one that stands for all, whose own id is `default`.
    pub fn get(&self, id: &str) -> Option<&Arc<Customer>> {
        match self.all.binary_search_by(|customer| customer.id.as_str().cmp(id)) {
            Ok(at) => self.all.get(at),
            Err(_) if self.is_closed => None,
            Err(_) => Some(&self.anybody),
        }
    }

    /// The settings that hold for this id, whoever it is: what was found before a file went is still somebody's.
    pub fn of(&self, id: &str) -> &Customer {
        self.get(id).unwrap_or(&self.anybody)
    }

    /// The folder is there: an event of anybody else is rejected.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Those that have a file, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Customer>> {
        self.all.iter()
    }

    /// Some customer has numbers in its file: where none has, nobody need ask whose an event is.
    pub(crate) fn has_own_numbers(&self) -> bool {
        self.has_own_numbers
    }

    /// The numbers of this customer's file.
    pub(crate) fn own_numbers(&self, id: &str) -> Option<&NumberSet> {
        self.all.binary_search_by(|customer| customer.id.as_str().cmp(id)).ok().and_then(|at| {
            let customer = self.all.get(at)?;
            customer.own_numbers.as_ref()
        })
    }
}

/// One customer, as its file says.
#[derive(Debug)]
pub struct Customer {
    /// As events name it, and its file.
    pub id: String,
    /// As people call it.
    pub name: String,
    pub country: Option<Country>,
    pub time_zone: TimeZone,
    /// `None`: the list of that name holds.
    pub own_numbers: Option<NumberSet>,
    pub trunks: Vec<Trunk>,
    /// `None`: each feed's own holds.
    pub dial_plan: Option<DialPlanSettings>,
    pub contacts: Vec<Contact>,
    pub rosters: Vec<Roster>,
    pub distributions: Vec<Distribution>,
    pub command: CommandChain,
    pub oncall: Vec<OnCall>,
    pub severity: SeverityTable,
    /// When requests are worked on.
    pub service: Arc<Calendar>,
    /// When violations are answered; `service` unless the file says otherwise.
    pub response: Arc<Calendar>,
    /// Kinds of action that need nobody's word: `block:fraud`.
    pub pre_authorised: Vec<String>,
    pub escalation: Option<Escalation>,
    /// Name or folder of its kits, where it has its own.
    pub kits: Option<String>,
}

impl Customer {
    fn anybody(time_zone: TimeZone) -> Customer {
        let hours = hours::shipped();
        Customer {
            id: "default".to_owned(),
            name: "default".to_owned(),
            country: None,
            time_zone,
            own_numbers: None,
            trunks: Vec::new(),
            dial_plan: None,
            contacts: Vec::new(),
            rosters: Vec::new(),
            distributions: Vec::new(),
            command: CommandChain::default(),
            oncall: Vec::new(),
            severity: SeverityTable::default(),
            service: Arc::clone(&hours),
            response: hours,
            pre_authorised: Vec::new(),
            escalation: None,
            kits: None,
        }
    }

    pub fn contact(&self, id: &str) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.id == id)
    }

    pub fn roster(&self, name: &str) -> Option<&Roster> {
        self.rosters.iter().find(|roster| roster.name == name)
    }

    /// When whom is called at this severity, in ms from the beginning, in that order; and how it goes on after that.
    /// Where the file has no chain, those who command are called as they are asked.
    pub fn calls(&self, severity: u8) -> Calls<'_> {
        let Some(chain) = self.oncall.iter().find(|chain| chain.severities.contains(&severity)) else {
            return self.command_calls();
        };
        let mut calls: Vec<(i64, &Contact)> = Vec::new();
        for step in &chain.steps {
            for name in &step.to {
                let roster = self.roster(name).into_iter().flat_map(|roster| roster.people.iter().zip(0_i64..));
                let spread = roster.map(|(id, n)| (id.as_str(), step.after_ms + n * step.each_ms));
                let people = spread.chain(self.contact(name).map(|contact| (contact.id.as_str(), step.after_ms)));
                calls.extend(people.filter_map(|(id, at)| Some((at, self.contact(id)?))));
            }
        }
        calls.sort_by_key(|(at, _)| *at);
        Calls {
            calls,
            channels: chain.channels.clone(),
            repeats: chain.repeats,
            repeat_after_ms: chain.repeat_after_ms,
        }
    }

    fn command_calls(&self) -> Calls<'_> {
        let command = &self.command;
        let of = |names: &[String], after_ms: i64| -> Vec<(i64, &Contact)> {
            let is_named = |c: &&Contact| c.user.as_ref().is_some_and(|user| names.contains(user));
            self.contacts.iter().filter(is_named).map(|contact| (after_ms, contact)).collect()
        };
        let mut calls = of(&command.commanders, 0);
        calls.extend(of(&command.deputies, command.deputy_after_ms));
        calls.extend(of(&command.managers, command.manager_after_ms));
        let channels = vec![Channel::Sms, Channel::Mail];
        Calls { calls, channels, repeats: oncall::REPEATS, repeat_after_ms: oncall::REPEAT_AFTER_MS }
    }

    /// Whom a distribution reaches: its contacts and those of its rosters, each once, in written order.
    pub fn people(&self, distribution: &Distribution) -> Vec<&Contact> {
        let mut people: Vec<&Contact> = Vec::new();
        for name in &distribution.to {
            let roster = self.roster(name).into_iter().flat_map(|roster| roster.people.iter());
            for id in roster.chain(std::iter::once(name)) {
                if let Some(contact) = self.contact(id)
                    && !people.iter().any(|known| known.id == contact.id)
                {
                    people.push(contact);
                }
            }
        }
        people
    }
}

/// A trunk, or the address signalling comes from, that is a customer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    pub name: String,
    /// `None`: of every gateway.
    pub gateway: Option<String>,
}

/// Who is called when; see [`Customer::calls`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls<'c> {
    pub calls: Vec<(i64, &'c Contact)>,
    pub channels: Vec<Channel>,
    pub repeats: u32,
    pub repeat_after_ms: i64,
}

/// A person of the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub id: String,
    pub name: String,
    /// As the person signs in, where that is one of the service's own people.
    pub user: Option<String>,
    pub email: Option<String>,
    pub email_verified: bool,
    /// `+` and digits.
    pub mobile: Option<String>,
    pub mobile_verified: bool,
    pub rights: Rights,
}

/// What a contact may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Ask for a block or a report.
    pub request: bool,
    /// Allow what somebody asked for.
    pub authorise: bool,
    /// Be told of incidents.
    pub receive: bool,
}

/// People in the order in which they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub name: String,
    /// Ids of contacts.
    pub people: Vec<String>,
}

/// Who is told of which severities, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// 1 to 4.
    pub severities: Vec<u8>,
    pub audience: Audience,
    /// Ids of contacts and names of rosters; see [`Customer::people`].
    pub to: Vec<String>,
    pub channels: Vec<Channel>,
}

/// For whom a distribution's texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    Customer,
    Cio,
    Helpdesk,
    Staff,
    Service,
}

impl Audience {
    pub const ALL: &'static [Audience] =
        &[Audience::Customer, Audience::Cio, Audience::Helpdesk, Audience::Staff, Audience::Service];

    pub fn as_str(self) -> &'static str {
        match self {
            Audience::Customer => "customer",
            Audience::Cio => "cio",
            Audience::Helpdesk => "helpdesk",
            Audience::Staff => "staff",
            Audience::Service => "service",
        }
    }
}

/// Who checks and releases what the customer is told: names of users of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandChain {
    pub commanders: Vec<String>,
    pub deputies: Vec<String>,
    pub managers: Vec<String>,
    /// After the commanders were asked, ms.
    pub deputy_after_ms: i64,
    /// After the commanders were asked, ms; not before the deputies are.
    pub manager_after_ms: i64,
}

impl Default for CommandChain {
    fn default() -> CommandChain {
        CommandChain {
            commanders: Vec::new(),
            deputies: Vec::new(),
            managers: Vec::new(),
            deputy_after_ms: DEPUTY_AFTER_MS,
            manager_after_ms: MANAGER_AFTER_MS,
        }
    }
}

impl CommandChain {
    /// There is nobody to ask: the escalation contact is told instead.
    pub fn is_empty(&self) -> bool {
        self.commanders.is_empty() && self.deputies.is_empty() && self.managers.is_empty()
    }
}

/// Whom a customer calls when nothing moves, and who is called when nobody else answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    pub name: String,
    /// `+` and digits.
    pub phone: Option<String>,
    pub email: Option<String>,
}

/// What customers' files may name, and what they start from.
pub(crate) struct Surroundings<'s> {
    pub(crate) settings: &'s Settings,
    pub(crate) numbering: &'s Numbering,
    pub(crate) calendars: &'s [Arc<Calendar>],
    /// Ids of all rules, of whatever mode.
    pub(crate) rules: Vec<&'s str>,
    /// Groups of thresholds, ids where they have none.
    pub(crate) groups: Vec<&'s str>,
}

/// The customer that a file of the folder is of, by its name: `customers/acme.toml`, `customers/acme.baseline.toml`.
pub(crate) fn id_of(path: &str) -> &str {
    let name = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    let id = name.strip_suffix(".toml").unwrap_or(name);
    id.strip_suffix(".baseline").unwrap_or(id)
}

/// Compiles the files of the folder, where there is one, noting everything that is wrong with them.
pub(crate) fn compile<'d, 't: 'd>(
    documents: impl Iterator<Item = &'d Document<'t>>,
    is_closed: bool,
    around: &Surroundings<'_>,
    reads: &mut ListReads<'_>,
    problems: &mut Vec<Problem>,
) -> Customers {
    let mut claims = claims::Claims::default();
    let mut all: Vec<Arc<Customer>> =
        documents.map(|document| Arc::new(file::read(document, around, reads, &mut claims, problems))).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    if is_closed && all.is_empty() {
        let problem = Problem::warning("W120", format!("`{FOLDER}/` holds no customer: every event will be rejected"));
        problems.push(problem.at(FOLDER, 0..0).help(
            "write customers/<id>.toml (deploy/customers/example.toml shows all keys), or remove the folder: then \
             every customer id is taken as it stands",
        ));
    }
    let has_own_numbers = all.iter().any(|customer| customer.own_numbers.is_some());
    Customers { all, is_closed, has_own_numbers, ..Customers::open(around.settings.time_zone.clone()) }
}

#[cfg(test)]
mod tests;
