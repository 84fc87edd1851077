//! `ringfence delivery`: what went to whom, why something did not come, and the call sheet, over the service's API.
//!
//! Only arguments, asking and printing: what is sent when and how, the outbox knows.

mod page;

use std::process::ExitCode;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::clock::Clock;
use crate::incident::{delivery_name, incident_name, message_name, parse_name};
use crate::incident_command::page::Look;
use crate::incident_command::service_args::{Service, ServiceArgs, Stop, parsed};
use crate::incident_command::{printed, query};
use crate::portal::api::wire::WhyOrder;
use crate::portal::api::wire::deliveries::{CallSheet, DeliveryDone, DeliveryList, DeliveryPage, TickOrder, ToldPage};
use crate::printed::print;

/// Deliveries: what went to whom, why something did not come, and whom to phone
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Did everybody hear?
  ringfence delivery why INC-000001             each person, each way: what became of it, or why there is none
  ringfence delivery why MSG-000002 \"Anna Berg\" the same of one message and one person
  ringfence delivery why anna@acme.example      what went to somebody lately
  ringfence delivery list --dead                what was given up, of everybody
  ringfence delivery show DLV-000007            one delivery: what it says, and every step of it
  ringfence delivery retry DLV-000007           try it again at once

Where neither mail nor texts get through, somebody phones:
  ringfence delivery callsheet                  whom to phone, the gravest first, and what to read out
  ringfence delivery tick DLV-000009 --reached --note \"will tell her team\"
  ringfence delivery tick DLV-000009 --not-reached --note \"voice mail\"

Exit codes: 0 done, 1 refused, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What went to whom, the newest first
    List {
        /// Only what was given up: failed, or expired
        #[arg(long)]
        dead: bool,
        /// Only this state: queued, leased, handed, delivered, unknown, failed, expired, suppressed, superseded
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only this incident's
        #[arg(long, value_name = "INCIDENT")]
        incident: Option<String>,
        /// Only this message's
        #[arg(long, value_name = "MESSAGE")]
        message: Option<String>,
        /// Only this channel's: mail, sms, call-sheet, webhook:NAME
        #[arg(long, value_name = "CHANNEL")]
        channel: Option<String>,
        /// Only this person's: a name, an id of the customer's file, or an address
        #[arg(long, value_name = "PERSON")]
        person: Option<String>,
        /// Only this customer's
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// One delivery: what it says, and every step: who, when, why
    Show {
        #[arg(value_name = "DELIVERY")]
        id: String,
    },
    /// Try it again at once, also where it was given up
    Retry {
        #[arg(value_name = "DELIVERY")]
        id: String,
    },
    /// Who was told, who was not, and why, in sentences
    Why {
        /// An incident, a message, or people; people behind an incident or a message narrow it to them
        #[arg(value_name = "INCIDENT|MESSAGE|PERSON", required = true)]
        of: Vec<String>,
    },
    /// Whom to phone, the gravest first, and what to read out
    #[command(visible_alias = "call-sheet")]
    Callsheet {
        /// Only this customer's
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
    },
    /// Say what came of a call on the sheet
    #[command(group(clap::ArgGroup::new("outcome").required(true)))]
    Tick {
        #[arg(value_name = "DELIVERY")]
        id: String,
        /// The person was told
        #[arg(long, group = "outcome")]
        reached: bool,
        /// The person was not told
        #[arg(long, group = "outcome")]
        not_reached: bool,
        /// A sentence for the record
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
    },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let look = Look { zone: TimeZone::system(), now: Clock.now() };
    let done = answer(&service, &args.command, &look).and_then(|text| print(&text).map_err(Stop::Could));
    service.end(done)
}

/// What is printed.
fn answer(service: &Service, command: &Command, look: &Look) -> Result<String, Stop> {
    match command {
        Command::List { dead, state, incident, message, channel, person, customer, limit } => {
            let asked = [
                ("dead", dead.then(|| "true".to_owned())),
                ("state", state.clone()),
                ("incident", incident.clone()),
                ("message", message.clone()),
                ("channel", channel.clone()),
                ("person", person.clone()),
                ("customer", customer.clone()),
                ("limit", Some(limit.to_string())),
            ];
            let value = service.get(&format!("/deliveries{}", query(asked)))?;
            let list: DeliveryList = parsed(&value)?;
            Ok(printed(service, &value, || page::list(&list, *dead, look)))
        }
        Command::Show { id } => {
            let value = service.get(&format!("/deliveries/{}", delivery(id)?))?;
            let view: DeliveryPage = parsed(&value)?;
            Ok(printed(service, &value, || page::delivery(&view, look)))
        }
        Command::Retry { id } => {
            let path = format!("/deliveries/{}/retry", delivery(id)?);
            let value = service.post(&path, &WhyOrder::default())?;
            let done: DeliveryDone = parsed(&value)?;
            Ok(printed(service, &value, || page::done(&done, "is sent it again now")))
        }
        Command::Why { of } => why(service, of, look),
        Command::Callsheet { customer } => {
            let value = service.get(&format!("/callsheet{}", query([("customer", customer.clone())])))?;
            let sheet: CallSheet = parsed(&value)?;
            Ok(printed(service, &value, || page::call_sheet(&sheet, look)))
        }
        Command::Tick { id, reached, note, .. } => {
            let order = TickOrder { reached: *reached, note: note.clone() };
            let value = service.post(&format!("/callsheet/{}", delivery(id)?), &order)?;
            let done: DeliveryDone = parsed(&value)?;
            let what = if *reached { "was told by phone" } else { "was not reached by phone" };
            Ok(printed(service, &value, || page::done(&done, what)))
        }
    }
}

/// Incidents and messages first, each narrowed to the people behind it; people alone by what went to them.
fn why(service: &Service, of: &[String], look: &Look) -> Result<String, Stop> {
    let path = |text: &String| {
        let incident = prefixed(text, "INC").map(|id| format!("/incidents/{}/told", incident_name(id)));
        incident.or_else(|| prefixed(text, "MSG").map(|id| format!("/messages/{}/told", message_name(id))))
    };
    let (subjects, people): (Vec<&String>, Vec<&String>) = of.iter().partition(|text| path(text).is_some());
    let mut out = String::new();
    for path in subjects.iter().filter_map(|text| path(text)) {
        let value = service.get(&path)?;
        let told: ToldPage = parsed(&value)?;
        out += &printed(service, &value, || page::told(&told, &people, look));
    }
    for person in people.iter().filter(|_| subjects.is_empty()) {
        let asked = [("person", Some((*person).clone())), ("limit", Some(page::LATELY.to_string()))];
        let value = service.get(&format!("/deliveries{}", query(asked)))?;
        let list: DeliveryList = parsed(&value)?;
        out += &printed(service, &value, || page::lately(person, &list, look));
    }
    Ok(out)
}

/// The number of what is written as `INC-000123`: a number alone may be an id of a person.
fn prefixed(text: &str, prefix: &str) -> Option<i64> {
    let is_prefixed = text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    parse_name(text, prefix).filter(|_| is_prefixed)
}

fn delivery(text: &str) -> anyhow::Result<String> {
    let id = parse_name(text, "DLV").map(delivery_name);
    id.with_context(|| format!("`{text}` is no delivery: write DLV-000123, or 123"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_and_messages_are_told_from_people() {
        assert_eq!(prefixed("inc-7", "INC"), Some(7));
        assert_eq!(prefixed("MSG-000012", "MSG"), Some(12));
        for person in ["7", "ingrid", "Inc", "msg.office@acme.example", "Åsa"] {
            assert_eq!((prefixed(person, "INC"), prefixed(person, "MSG")), (None, None), "{person}");
        }
        assert_eq!(delivery("dlv-9").unwrap(), "DLV-000009");
        assert!(delivery("INC-1").is_err());
    }
}
