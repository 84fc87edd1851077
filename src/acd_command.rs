//! `ringfence acd`: what the callers of each queue hear now, and whether they do, over the service's API.

use std::process::ExitCode;

use jiff::tz::TimeZone;

use crate::acd::is_queue_name;
use crate::incident_command::service_args::{Service, ServiceArgs, Stop, parsed, plain};
use crate::portal::api::wire::{AnnouncementView, QueueList, QueueView};
use crate::printed::{Printed, print};

/// Announcements: what callers of a queue hear while an incident is known
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence acd list                     every queue, and what its callers hear
  ringfence acd show support             one queue: what is said, what is left out and why, recording, read-back
  ringfence acd show all --format json

Announcements come from released messages alone, and go when their incident is over: `ringfence incident` does both.
Telephone systems fetch them from /acd/QUEUE.txt, .ssml, .vxml, .wav and .ulaw; deploy/acd/README.md says how.

Exit codes: 0 done, 1 there is no such queue, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every queue, and what its callers hear
    List,
    /// One queue, with everything that is known of it
    Show {
        #[arg(value_name = "QUEUE")]
        queue: String,
    },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let done = answer(&service, &args.command).and_then(|text| print(&text).map_err(Stop::Could));
    service.end(done)
}

fn answer(service: &Service, command: &Command) -> Result<String, Stop> {
    let zone = TimeZone::system();
    match command {
        Command::List => {
            let value = service.get("/acd")?;
            let list: QueueList = parsed(&value)?;
            let text = || list.queues.iter().map(|queue| in_list(queue, &zone)).collect::<Vec<_>>().join("\n");
            Ok(if service.format == Printed::Json { format!("{value}\n") } else { text() })
        }
        Command::Show { queue } => {
            if !is_queue_name(queue) {
                return Err(Stop::Could(anyhow::anyhow!("`{queue}` is no name of a queue: `ringfence acd list`")));
            }
            let value = service.get(&format!("/acd/{queue}"))?;
            let view: QueueView = parsed(&value)?;
            Ok(if service.format == Printed::Json { format!("{value}\n") } else { alone(&view, &zone) })
        }
    }
}

/// Two lines or three.
fn in_list(queue: &QueueView, zone: &TimeZone) -> String {
    let Some(text) = &queue.text else { return format!("{}  {}\n", queue.queue, nothing(queue)) };
    let incidents: Vec<&str> = queue.announcements.iter().map(|a| a.incident.as_str()).collect();
    let since = queue.since.as_deref().map_or_else(String::new, |since| format!("since {}", time(since, zone)));
    let mut out = format!("{}  {}  {:.1} s  {since}\n", queue.queue, incidents.join(", "), queue.seconds);
    out += &format!("  {}\n", plain(text));
    for line in troubles(queue) {
        out += &format!("  {line}\n");
    }
    out
}

fn nothing(queue: &QueueView) -> &'static str {
    if queue.is_known { "nothing is announced" } else { "not known yet: the service has just begun" }
}

/// What somebody has to look at.
fn troubles(queue: &QueueView) -> Vec<String> {
    let why = |why: &Option<String>| plain(why.as_deref().unwrap_or("the service's log says why"));
    let mut found = Vec::new();
    if queue.read_back == "failed" {
        found.push(format!("CALLERS MAY NOT HEAR IT: {}", why(&queue.read_back_why)));
    }
    if queue.recording == "failed" {
        found.push(format!("not recorded: {}", why(&queue.recording_why)));
    }
    if queue.push == "failed" {
        found.push(format!("not pushed: {}", why(&queue.push_why)));
    }
    if queue.left_out_count > 0 {
        found.push(format!("{} left out: `ringfence acd show {}` says why", queue.left_out_count, queue.queue));
    }
    found
}

fn alone(queue: &QueueView, zone: &TimeZone) -> String {
    let customers = queue.customers.as_ref().map_or_else(|| "all".to_owned(), |names| plain(&names.join(", ")));
    let at = |at: &Option<String>| at.as_deref().map_or_else(String::new, |at| format!(", {}", time(at, zone)));
    let state = |word: &str, moment: &Option<String>, why: &Option<String>| match why {
        Some(why) => format!("{word}: {}", plain(why)),
        None => format!("{word}{}", at(moment)),
    };
    let mut out = format!("{}  {}\n", queue.queue, queue.text.as_deref().map_or(nothing(queue).to_owned(), plain));
    let fields = [
        ("Customers", customers),
        ("Since", queue.since.as_deref().map_or_else(|| "-".to_owned(), |since| time(since, zone))),
        ("Length", format!("{:.1} s", queue.seconds)),
        ("Fetched", format!("again after {} s at the latest", queue.expiry_s)),
        ("Read back", state(&queue.read_back, &queue.read_back_at, &queue.read_back_why)),
        ("Recording", state(&queue.recording, &None, &queue.recording_why)),
        ("Push", state(&queue.push, &queue.push_at, &queue.push_why)),
    ];
    out.push('\n');
    for (name, value) in fields {
        out += &format!("  {name:<10} {value}\n");
    }
    if !queue.announcements.is_empty() {
        out += "\nSaid\n";
        queue.announcements.iter().for_each(|a| out += &announcement(a, zone));
    }
    if !queue.left_out.is_empty() {
        out += "\nLeft out\n";
        for left_out in &queue.left_out {
            out += &format!("{}    {}\n", announcement(&left_out.announcement, zone), plain(&left_out.why));
        }
        let n_more = queue.left_out_count.saturating_sub(queue.left_out.len() as u64);
        if n_more > 0 {
            out += &format!("  and {n_more} more\n");
        }
    }
    out
}

fn announcement(a: &AnnouncementView, zone: &TimeZone) -> String {
    let (customer, released) = (plain(&a.customer), time(&a.released, zone));
    let head = format!("{}  {}  severity {} ({})", a.incident, a.message, a.severity, a.severity_word);
    format!("  {head}  customer {customer}  released {released}\n    {}\n", plain(&a.text))
}

/// `Mon 2 Mar 2026 10:04 UTC`.
fn time(text: &str, zone: &TimeZone) -> String {
    let at = text.parse::<jiff::Timestamp>();
    at.map_or_else(|_| plain(text), |at| at.to_zoned(zone.clone()).strftime("%a %-d %b %Y %H:%M %Z").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queue() -> QueueView {
        let said = json!({
            "incident": "INC-000001", "message": "MSG-000002", "customer": "acme", "severity": 1,
            "severity_word": "disaster", "released": "2026-03-02T10:04:00.000Z", "text": "Calls\u{7} abroad may fail.",
        });
        let value = json!({
            "queue": "support", "customers": null, "is_known": true, "text": "Calls\u{7} abroad may fail.",
            "seconds": 1.6, "since": "2026-03-02T10:04:00.000Z", "expiry_s": 60, "announcements": [said],
            "left_out": [{ "announcement": said, "why": "too long" }], "left_out_count": 3, "recording": "failed",
            "recording_why": "no voice", "read_back": "good", "read_back_at": "2026-03-02T10:04:01.000Z",
            "read_back_why": null, "push": "off", "push_at": null, "push_why": null,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_queue_is_shown_with_what_callers_hear_and_what_is_wrong() {
        let expected = "\
support  INC-000001  1.6 s  since Mon 2 Mar 2026 10:04 UTC
  Calls\u{fffd} abroad may fail.
  not recorded: no voice
  3 left out: `ringfence acd show support` says why
";
        assert_eq!(in_list(&queue(), &TimeZone::UTC), expected);
        let silent = QueueView { text: None, ..queue() };
        assert_eq!(in_list(&silent, &TimeZone::UTC), "support  nothing is announced\n");
        let new = QueueView { is_known: false, ..silent };
        assert_eq!(in_list(&new, &TimeZone::UTC), "support  not known yet: the service has just begun\n");
        let wrong = QueueView { read_back: "failed".to_owned(), read_back_why: Some("HTTP 500".to_owned()), ..queue() };
        assert!(in_list(&wrong, &TimeZone::UTC).contains("  CALLERS MAY NOT HEAR IT: HTTP 500\n"));
    }

    #[test]
    fn one_queue_is_shown_whole() {
        let expected = "\
support  Calls\u{fffd} abroad may fail.

  Customers  all
  Since      Mon 2 Mar 2026 10:04 UTC
  Length     1.6 s
  Fetched    again after 60 s at the latest
  Read back  good, Mon 2 Mar 2026 10:04 UTC
  Recording  failed: no voice
  Push       off

Said
  INC-000001  MSG-000002  severity 1 (disaster)  customer acme  released Mon 2 Mar 2026 10:04 UTC
    Calls\u{fffd} abroad may fail.

Left out
  INC-000001  MSG-000002  severity 1 (disaster)  customer acme  released Mon 2 Mar 2026 10:04 UTC
    Calls\u{fffd} abroad may fail.
    too long
  and 2 more
";
        assert_eq!(alone(&queue(), &TimeZone::UTC), expected);
    }
}
