//! `ringfence incident`: what an incident commander and the back office do, over the service's API.
//!
//! Only arguments, asking and printing: who may do what, and what follows what, the service knows.

pub(crate) mod page;
pub(crate) mod service_args;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use self::page::Look;
use self::service_args::{Service, ServiceArgs, Stop, parsed, plain};
use crate::clock::{Clock, Timestamp};
use crate::incident::{Position, parse_name};
use crate::portal::api::wire::{
    AssignOrder, Done, DraftOrder, FindingsOrder, FoldOrder, HashOrder, IncidentList, IncidentPage, MessageView,
    NoteOrder, OpenOrder, RedraftOrder, ReturnOrder, SeverityOrder, WhyOrder,
};
use crate::portal::client::Failure;
use crate::printed::{Printed, print};
use crate::storage::Disk;

/// Incidents: look, decide, tell the customer
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
An incident, from the first alert to its end:
  ringfence incident list                                     what is open, the newest first
  ringfence incident show INC-000001                          all of it, and what is to be done next
  ringfence incident acknowledge INC-000001                   you look after it: nobody further is called
  ringfence incident confirm INC-000001 --why \"seen in the trace\"
  ringfence incident draft INC-000001 confirmed --next-update 30m
  ringfence incident check MSG-000001 --hash 1a2b3c4d         by a commander who did not write it
  ringfence incident release MSG-000001 --hash 1a2b3c4d
  ringfence incident findings INC-000001 --findings \"...\" --recommendations \"...\"
  ringfence incident resolve INC-000001

A hash stands for the exact text of every form; its first 8 digits are enough. The kits that `draft` takes, and the
names that `--set` gives values to: `ringfence kit list`, `ringfence kit show KIT`.

Exit codes: 0 done, 1 refused, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Why {
    #[arg(value_name = "INCIDENT")]
    incident: String,
    /// A sentence for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    why: String,
}

#[derive(Debug, clap::Args)]
struct Because {
    #[arg(value_name = "INCIDENT")]
    incident: String,
    /// A sentence for the record
    #[arg(long, value_name = "TEXT")]
    why: String,
}

#[derive(Debug, clap::Args)]
struct Texts {
    /// A value of the kit's, such as `changed=Calls are blocked.`; may be given several times
    #[arg(long, value_name = "NAME=TEXT")]
    set: Vec<String>,
    /// When the customer hears more: `30m`, `2h`, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    next_update: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Hashed {
    #[arg(value_name = "MESSAGE")]
    message: String,
    /// Of the text you looked at, as `show` and `draft` print it; 8 digits do
    #[arg(long, value_name = "HASH")]
    hash: String,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What is open, the newest first
    List {
        /// Closed ones too
        #[arg(long)]
        all: bool,
        /// Only this state
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only this severity, 1 to 4
        #[arg(long, value_name = "N")]
        severity: Option<u8>,
        /// Only this customer's
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// One incident, or one message, with all that belongs to it
    Show {
        #[arg(value_name = "INCIDENT|MESSAGE")]
        id: String,
    },
    /// Open one that no rule has seen
    Open {
        #[arg(long, value_name = "ID")]
        customer: String,
        /// 1 disaster, 2 major, 3 minor, 4 low; unsure means the smaller number
        #[arg(long, value_name = "N")]
        severity: u8,
        /// What it is, in a sentence
        #[arg(long, value_name = "TEXT")]
        what: String,
        /// Who said so, or how you know
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        why: String,
    },
    /// It may be real
    Suspect(Why),
    /// It is real
    Confirm(Why),
    /// It is a false alarm
    Dismiss(Because),
    /// Somebody is working against it
    Mitigate(Why),
    /// It is mitigated and being watched
    Monitor(Why),
    /// It is over
    Resolve(Why),
    /// It was reviewed; nothing of it changes any more
    Review(Why),
    /// It is not over after all
    Reopen(Because),
    /// Set its severity
    Severity {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// 1 disaster, 2 major, 3 minor, 4 low
        #[arg(value_name = "N")]
        severity: u8,
        /// A sentence for the record, and for the customer's correction
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Make somebody its commander, scribe or responder
    Assign {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// commander, scribe or responder
        #[arg(value_name = "POSITION", value_parser = clap::builder::PossibleValuesParser::new(Position::ALL.map(Position::as_str)))]
        position: String,
        #[arg(value_name = "NAME")]
        person: String,
    },
    /// Write what was found and what is recommended
    Findings {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        #[arg(long, value_name = "TEXT", required_unless_present_any = ["recommendations", "draft"])]
        findings: Option<String>,
        #[arg(long, value_name = "TEXT")]
        recommendations: Option<String>,
        /// Have them drafted from the calls, for you to read and better
        #[arg(long, conflicts_with_all = ["findings", "recommendations"])]
        draft: bool,
        /// Write the picture of the calls over time here, as SVG
        #[arg(long, value_name = "FILE", requires = "draft")]
        chart: Option<std::path::PathBuf>,
    },
    /// You look after it: nobody further is called
    Acknowledge(Why),
    /// Write something into its record
    Note {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        #[arg(value_name = "TEXT")]
        text: String,
    },
    /// Make it a part of another incident
    Fold {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// The one that takes it in
        #[arg(long, value_name = "INCIDENT")]
        into: String,
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        why: String,
    },
    /// Make it an incident of its own again
    Unfold(Why),
    /// Draft a message to the customer from a kit
    Draft {
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// holding, confirmed, update, action, severity, monitoring, resolved, false-alarm, review
        #[arg(value_name = "KIT")]
        kit: String,
        #[command(flatten)]
        texts: Texts,
    },
    /// Write another text of a message; a check of the one before is void
    Redraft {
        #[command(flatten)]
        of: Hashed,
        #[command(flatten)]
        texts: Texts,
    },
    /// Approve of the exact text of every form, which is printed
    Check(Hashed),
    /// Give a message back to its author
    Return {
        #[arg(value_name = "MESSAGE")]
        message: String,
        /// What is to be better
        #[arg(long, value_name = "TEXT")]
        comment: String,
    },
    /// Send what was checked
    Release(Hashed),
    /// Take a message back
    Withdraw {
        #[arg(value_name = "MESSAGE")]
        message: String,
        /// A sentence for the record
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let look = Look { zone: TimeZone::system(), now: Clock.now() };
    let done = answer(&service, &args.command, &look);
    if let (Err(Stop::Failed(Failure::Refused(422, _))), Command::Draft { kit, .. }) = (&done, &args.command) {
        eprintln!("`ringfence kit show {kit}` shows the names that `--set NAME=TEXT` gives values to.");
    }
    let done = done.and_then(|text| print(&text).map_err(Stop::Could));
    service.end(done)
}

/// What is printed.
fn answer(service: &Service, command: &Command, look: &Look) -> Result<String, Stop> {
    match command {
        Command::List { all, state, severity, customer, limit } => {
            let severity = severity.map(|n| n.to_string());
            // Who asks for a state wants those in it, open or not.
            let open = (!all && state.is_none()).then(|| "true".to_owned());
            let limit = Some(limit.to_string());
            let asked = [("open", open), ("state", state.clone()), ("severity", severity), ("limit", limit)];
            let asked = asked.into_iter().chain([("customer", customer.clone())]);
            let value = service.get(&format!("/incidents{}", query(asked)))?;
            let list: IncidentList = parsed(&value)?;
            Ok(printed(service, &value, || page::list(&list, *all, look)))
        }
        Command::Show { id } if id.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("msg")) => {
            let value = service.get(&format!("/messages/{}", message(id)?))?;
            let view: MessageView = parsed(&value)?;
            Ok(printed(service, &value, || page::message(&view, look)))
        }
        Command::Show { id } => {
            let value = service.get(&format!("/incidents/{}", incident(id)?))?;
            let view: IncidentPage = parsed(&value)?;
            Ok(printed(service, &value, || page::incident(&view, look)))
        }
        Command::Open { customer, severity, what, why } => {
            let (customer, what, why) = (customer.clone(), what.clone(), why.clone());
            let order = OpenOrder { customer, what, severity: *severity, why };
            ordered(service, "/incidents", &order, "open, as suspected")
        }
        Command::Suspect(why) => go(service, why, "suspect", "suspected"),
        Command::Confirm(why) => go(service, why, "confirm", "confirmed"),
        Command::Mitigate(why) => go(service, why, "mitigate", "being mitigated"),
        Command::Monitor(why) => go(service, why, "monitor", "mitigated, and being watched"),
        Command::Resolve(why) => go(service, why, "resolve", "resolved"),
        Command::Review(why) => go(service, why, "review", "reviewed"),
        Command::Unfold(why) => go(service, why, "unfold", "an incident of its own again"),
        Command::Acknowledge(why) => {
            go(service, why, "acknowledge", "somebody looks after it, and nobody further is called")
        }
        Command::Dismiss(because) => because.go(service, "dismiss", "dismissed as a false alarm"),
        Command::Reopen(because) => because.go(service, "reopen", "open again"),
        Command::Severity { incident: id, severity, why } => {
            let order = SeverityOrder { severity: *severity, why: why.clone() };
            ordered(service, &of_incident(id, "severity")?, &order, &format!("now of severity {severity}"))
        }
        Command::Assign { incident: id, position, person } => {
            let order = AssignOrder { position: position.clone(), person: person.clone() };
            ordered(service, &of_incident(id, "assign")?, &order, &format!("{position}: {}", plain(person)))
        }
        Command::Findings { incident: id, draft: true, chart, .. } => draft_findings(service, id, chart.as_deref()),
        Command::Findings { incident: id, findings, recommendations, .. } => {
            let (findings, recommendations) = (findings.clone(), recommendations.clone());
            ordered(
                service,
                &of_incident(id, "findings")?,
                &FindingsOrder { findings, recommendations },
                "written down",
            )
        }
        Command::Note { incident: id, text } => {
            ordered(service, &of_incident(id, "notes")?, &NoteOrder { text: text.clone() }, "noted")
        }
        Command::Fold { incident: id, into, why } => {
            let order = FoldOrder { into: incident(into)?, why: why.clone() };
            ordered(service, &of_incident(id, "fold")?, &order, &format!("has taken in {}", incident(id)?))
        }
        _ => of_message(service, command, look),
    }
}

fn of_message(service: &Service, command: &Command, look: &Look) -> Result<String, Stop> {
    match command {
        Command::Draft { incident: id, kit, texts } => {
            let order = DraftOrder { kit: kit.clone(), texts: texts.pairs()?, next_update: texts.next(look)? };
            let value = service.post(&of_incident(id, "messages")?, &order)?;
            let done: Done = parsed(&value)?;
            shown(service, &value, &done, "drafted", look)
        }
        Command::Redraft { of, texts } => {
            let (hash, texts, next_update) = (of.hash.clone(), texts.pairs()?, texts.next(look)?);
            let order = RedraftOrder { hash, texts, next_update };
            let value = service.post(&of_path(&of.message, "redraft")?, &order)?;
            let done: Done = parsed(&value)?;
            shown(service, &value, &done, "drafted anew", look)
        }
        Command::Check(of) => {
            // What is approved of is on the screen, whatever was looked at before.
            let before = service.get(&format!("/messages/{}", message(&of.message)?))?;
            let view: MessageView = parsed(&before)?;
            let value = service.post(&of_path(&of.message, "check")?, &HashOrder { hash: of.hash.clone() })?;
            let done: Done = parsed(&value)?;
            Ok(printed(service, &value, || {
                let next =
                    format!("Next: ringfence incident release {} --hash {}\n", view.id, page::digits(&view.hash));
                page::forms(&view.forms) + "\n" + &said(&done, "checked: this exact text") + &next
            }))
        }
        Command::Return { message: id, comment } => {
            ordered(service, &of_path(id, "return")?, &ReturnOrder { comment: comment.clone() }, "back with its author")
        }
        Command::Release(of) => {
            ordered(service, &of_path(&of.message, "release")?, &HashOrder { hash: of.hash.clone() }, "released")
        }
        Command::Withdraw { message: id, why } => {
            ordered(service, &of_path(id, "withdraw")?, &WhyOrder { why: why.clone() }, "withdrawn")
        }
        _ => Err(Stop::Could(anyhow!("this command is none about a message"))),
    }
}

fn go(service: &Service, Why { incident, why }: &Why, verb: &str, done: &str) -> Result<String, Stop> {
    ordered(service, &of_incident(incident, verb)?, &WhyOrder { why: why.clone() }, done)
}

impl Because {
    fn go(&self, service: &Service, verb: &str, done: &str) -> Result<String, Stop> {
        ordered(service, &of_incident(&self.incident, verb)?, &WhyOrder { why: self.why.clone() }, done)
    }
}

impl Texts {
    fn pairs(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').with_context(|| format!("--set {text}: write name=text"))?;
            Ok((name.trim().to_owned(), value.to_owned()))
        };
        self.set.iter().map(pair).collect()
    }

    fn next(&self, look: &Look) -> anyhow::Result<Option<String>> {
        let Some(text) = &self.next_update else { return Ok(None) };
        let (number, unit) = text.trim().split_at(text.trim().find(|c: char| !c.is_ascii_digit()).unwrap_or(0));
        let minutes = match unit.trim() {
            "m" | "min" => 1,
            "h" => 60,
            _ => 0,
        };
        if let (Ok(n @ 1..=10_000), 1..) = (number.parse::<i64>(), minutes) {
            return Ok(Some(look.now.plus_ms(n * minutes * 60_000).to_string()));
        }
        let at = text.parse::<jiff::Timestamp>();
        let at =
            at.with_context(|| format!("--next-update {text}: write 30m, 2h, or a time as 2026-03-02T10:00:00Z"))?;
        Ok(Some(Timestamp(at.as_millisecond()).to_string()))
    }
}

/// Writes down what the service drafts from the calls.
fn draft_findings(service: &Service, id: &str, chart: Option<&std::path::Path>) -> Result<String, Stop> {
    let drafted = service.get(&format!("{}/draft", of_incident(id, "findings")?))?;
    let text = |name: &str| drafted.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    if let (Some(path), Some(svg)) = (chart, text("chart")) {
        let written = Disk::real().replace_file(path, |file| file.write_all(svg.as_bytes()));
        written.with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let order = FindingsOrder { findings: text("findings"), recommendations: text("recommendations") };
    ordered(service, &of_incident(id, "findings")?, &order, "drafted from the calls; `incident show` has it")
}

pub(crate) fn ordered(service: &Service, path: &str, order: &impl Serialize, what: &str) -> Result<String, Stop> {
    let value = service.post(path, order)?;
    let mut done: Done = parsed(&value)?;
    // Of a message that follows from it the hints tell.
    if done.incident.is_some() {
        done.message = None;
    }
    Ok(printed(service, &value, || said(&done, what)))
}

/// A message as it stands after an order, and the step that follows.
fn shown(service: &Service, value: &Value, done: &Done, what: &str, look: &Look) -> Result<String, Stop> {
    let id = done.message.clone().unwrap_or_default();
    let view: MessageView = parsed(&service.get(&format!("/messages/{}", message(&id)?))?)?;
    Ok(printed(service, value, || page::message(&view, look) + "\n" + &said(done, what)))
}

fn said(done: &Done, what: &str) -> String {
    let id = done.message.as_ref().or(done.incident.as_ref());
    let hints = done.hints.iter().map(|hint| format!("  {}\n", plain(hint)));
    format!("{}: {what}.\n", id.map_or("", String::as_str)) + &hints.collect::<String>()
}

pub(crate) fn printed(service: &Service, value: &Value, text: impl FnOnce() -> String) -> String {
    if service.format == Printed::Json { format!("{value}\n") } else { text() }
}

fn incident(text: &str) -> anyhow::Result<String> {
    let id = parse_name(text, "INC").map(crate::incident::incident_name);
    id.with_context(|| format!("`{text}` is no incident: write INC-000123, or 123"))
}

fn message(text: &str) -> anyhow::Result<String> {
    let id = parse_name(text, "MSG").map(crate::incident::message_name);
    id.with_context(|| format!("`{text}` is no message: write MSG-000123, or 123"))
}

pub(crate) fn of_incident(id: &str, verb: &str) -> anyhow::Result<String> {
    Ok(format!("/incidents/{}/{verb}", incident(id)?))
}

fn of_path(id: &str, verb: &str) -> anyhow::Result<String> {
    Ok(format!("/messages/{}/{verb}", message(id)?))
}

/// For a part of a path or a query (RFC 3986).
pub(crate) fn escaped(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// `?a=b&c=d` of those that have a value.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(&value?))));
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_escaped_in_the_query() {
        let asked = [("customer", Some("a b&c".to_owned())), ("state", None), ("open", Some("true".to_owned()))];
        assert_eq!(query(asked), "?customer=a%20b%26c&open=true");
        assert_eq!(query([("state", None)]), "");
    }

    #[test]
    fn the_next_update_is_a_time_or_so_many_minutes_from_now() {
        let look = Look { zone: TimeZone::UTC, now: Timestamp(1_767_225_600_000) };
        let next = |text: &str| Texts { set: Vec::new(), next_update: Some(text.to_owned()) }.next(&look);
        assert_eq!(next("30m").unwrap().as_deref(), Some("2026-01-01T00:30:00.000Z"));
        assert_eq!(next("2h").unwrap().as_deref(), Some("2026-01-01T02:00:00.000Z"));
        assert_eq!(next("2026-01-01T02:00:00+01:00").unwrap().as_deref(), Some("2026-01-01T01:00:00.000Z"));
        for bad in ["", "soon", "0m", "-5m", "30", "99999999m", "\u{e9}m"] {
            assert!(next(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_written_as_people_like() {
        assert_eq!(incident("inc-7").unwrap(), "INC-000007");
        assert_eq!(message("12").unwrap(), "MSG-000012");
        assert!(incident("MSG-1").is_err() && message("INC-1").is_err() && incident("../x").is_err());
    }
}
