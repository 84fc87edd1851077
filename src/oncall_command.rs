//! `ringfence oncall`: who is called when something grave happens, who is being called now, and saying that one looks after
//! it, over the service's API.

use std::process::ExitCode;

use jiff::tz::TimeZone;

use crate::calendar::duration_text;
use crate::clock::Clock;
use crate::incident_command::page::{Look, table, time};
use crate::incident_command::service_args::{Service, ServiceArgs, Stop, parsed, plain};
use crate::incident_command::{of_incident, ordered, printed, query};
use crate::portal::api::wire::WhyOrder;
use crate::portal::api::wire::deliveries::{CallingView, ChainView, OnCallPage};
use crate::printed::print;

/// On call: who is called when, who is being called now, and answering
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence oncall show                                 who is being called now, and who would be, of every customer
  ringfence oncall show --customer acme --severity 1    whom acme's file has called at severity 1, and when
  ringfence oncall acknowledge INC-000001               you look after it: nobody further is called

Whoever is called may also press the button behind the link in the call. Who stands in which chain, the customer's file
says: [[oncall]], or where there is none the commanders whose contact has `user`.

Exit codes: 0 done, 1 refused, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Who is being called now, and who would be called when
    Show {
        /// Only this customer's
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        /// Only this severity, 1 to 4
        #[arg(long, value_name = "N")]
        severity: Option<u8>,
    },
    /// You look after an incident: nobody further is called
    Acknowledge {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// A sentence for the record
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        why: String,
    },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let done = answer(&service, &args.command).and_then(|text| print(&text).map_err(Stop::Could));
    service.end(done)
}

fn answer(service: &Service, command: &Command) -> Result<String, Stop> {
    match command {
        Command::Show { customer, severity } => {
            let asked = [("customer", customer.clone()), ("severity", severity.map(|n| n.to_string()))];
            let value = service.get(&format!("/oncall{}", query(asked)))?;
            let view: OnCallPage = parsed(&value)?;
            let look = Look { zone: TimeZone::system(), now: Clock.now() };
            Ok(printed(service, &value, || page(&view, &look)))
        }
        Command::Acknowledge { incident, why } => {
            let order = WhyOrder { why: why.clone() };
            ordered(service, &of_incident(incident, "acknowledge")?, &order, ACKNOWLEDGED)
        }
    }
}

/// What is so after an acknowledgement, whoever was first.
const ACKNOWLEDGED: &str = "somebody looks after it, and nobody further is called";

fn page(page: &OnCallPage, look: &Look) -> String {
    let mut out = String::new();
    if page.now.is_empty() {
        out += "Nobody is being called.\n";
    }
    out += &page.now.iter().map(|calling| one_calling(calling, look)).collect::<Vec<_>>().join("\n");
    if page.chains.is_empty() {
        out += "\nNo customer has a file, so nobody would be called: deploy/customers/example.toml shows how.\n";
    }
    out += &page.chains.iter().map(|chain| format!("\n{}", one_chain(chain))).collect::<String>();
    out
}

fn one_calling(calling: &CallingView, look: &Look) -> String {
    let how = match calling.state.as_str() {
        "acknowledged" => {
            let who = calling.acknowledged_by.as_deref().map(plain).unwrap_or_default();
            let at = calling.acknowledged.as_deref().map(|at| time(at, look)).unwrap_or_default();
            format!("{who} has looked after it since {at}")
        }
        "calling" => {
            let next = calling.next.as_deref().map(|at| format!(", the next call {}", time(at, look)));
            format!("NOBODY HAS ANSWERED; round {}{}", calling.round, next.unwrap_or_default())
        }
        _ => format!("NOBODY ANSWERED, after {} rounds", calling.round),
    };
    let mut out = format!(
        "{}  severity {}, customer {}: {}\n  {how}\n",
        calling.incident,
        calling.severity,
        plain(&calling.customer),
        plain(&calling.what).replace('\n', " "),
    );
    let rows: Vec<[String; 5]> = calling
        .called
        .iter()
        .map(|call| {
            let at = format!("  {}", time(&call.at, look));
            [
                at,
                plain(&call.person),
                plain(&call.channel),
                plain(&call.became).replace('\n', " "),
                call.delivery.clone(),
            ]
        })
        .collect();
    out += &table(&rows);
    if calling.state == "calling" {
        out += &format!("  Next: ringfence oncall acknowledge {}\n", calling.incident);
    }
    out
}

fn one_chain(chain: &ChainView) -> String {
    let severities: Vec<String> = chain.severities.iter().map(u8::to_string).collect();
    let head = format!("{}, severity {}", plain(&chain.customer), severities.join(", "));
    if chain.source == "nobody" {
        let help = "the file has no [[oncall]] for it, and no contact whose `user` is a commander";
        return format!("{head}: NOBODY is called: {help}\n");
    }
    let from = if chain.source == "command" { " (those who command, since the file has no chain)" } else { "" };
    let mut out = format!("{head}{from}\n");
    let rows: Vec<[String; 3]> = chain
        .calls
        .iter()
        .map(|call| {
            let after = if call.after_s == 0 { "at once".to_owned() } else { after(call.after_s) };
            let by =
                if call.by.is_empty() { "CANNOT BE CALLED: no address".to_owned() } else { plain(&call.by.join(", ")) };
            [format!("  {after}"), plain(&call.person), by]
        })
        .collect();
    out += &table(&rows);
    let rounds = match chain.repeats {
        0 => "Once".to_owned(),
        n => format!("{} times in all, {} between", n + 1, duration_text(chain.repeat_after_s * 1000)),
    };
    let last = chain.escalation.as_deref().map_or_else(|| "nobody: there is no escalation contact".to_owned(), plain);
    out + &format!("  {rounds}; then {last}\n")
}

fn after(seconds: i64) -> String {
    format!("after {}", duration_text(seconds * 1000))
}
