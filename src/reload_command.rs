//! `ringfence reload`: has a running service read its rules again, and tells what became of them.

use std::process::ExitCode;

use crate::incident_command::service_args::{Service, ServiceArgs, Stop, parsed, plain};
use crate::printed::{Printed, print, put};
use crate::reload::{Outcome, Report, Standing};

/// Exit code where the files were not put in force.
const NOT_IN_FORCE: u8 = 1;
/// Rules named in one line.
const NAMED_MAX: usize = 12;

/// Have the service read rules, lists, customers' files and kits again, while calls flow
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence reload                 read the files again and say what became of each rule
  ringfence reload --status        which rules are in force, and whether the files say something else
  ringfence check rules/ && ringfence reload

All of it is put in force at once, or nothing is and it is said why: a mistake in one file keeps the whole set that is in
force. The service also notices by itself that files have changed, a second or two after the last of them was written;
SIGHUP does the same. Counters go on where a rule counts as before: levels, cooldown, actions, texts and exceptions may
change. A rule whose `on`, `where`, `measure`, `per` or `window` changes begins anew, and is told of the past from the
archive. Settings (ringfence.toml) are read at the start: where they changed, this says which take a restart.

Needs the role analyst or admin.

Exit codes: 0 the files are in force, 1 they are not, 2 could not do it.")]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Change nothing: only say what is in force
    #[arg(long)]
    status: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let service = args.service.connect()?;
    let mut is_in_force = true;
    let done = answer(&service, args.status).and_then(|(text, good)| {
        is_in_force = good;
        print(&text).map_err(Stop::Could)
    });
    let code = service.end(done)?;
    Ok(if is_in_force { code } else { ExitCode::from(NOT_IN_FORCE) })
}

fn answer(service: &Service, only_status: bool) -> Result<(String, bool), Stop> {
    let value = if only_status { service.get("/reload")? } else { service.post("/reload", &serde_json::json!({}))? };
    let as_json = || format!("{value:#}\n");
    if only_status {
        let standing: Standing = parsed(&value)?;
        let text = if service.format == Printed::Json { as_json() } else { standing_text(&standing) };
        return Ok((text, !standing.is_stale));
    }
    let report: Report = parsed(&value)?;
    let text = if service.format == Printed::Json { as_json() } else { report_text(&report) };
    Ok((text, report.outcome.is_good()))
}

fn standing_text(standing: &Standing) -> String {
    let mut text = format!("rules {} are in force\n", plain(&standing.version));
    if standing.is_stale {
        text.push_str("the files hold something else, which is not in force:\n");
        standing.problems.iter().for_each(|problem| put(&mut text, format_args!("  {}\n", plain(problem))));
    }
    if let Some(last) = &standing.last {
        let (outcome, at, by) = (last.outcome.as_str(), plain(&last.at), plain(&last.by));
        put(&mut text, format_args!("last reload: {outcome} at {at}, asked for by {by}\n"));
    }
    text
}

fn report_text(report: &Report) -> String {
    let mut text = String::new();
    let version = plain(&report.version);
    match report.outcome {
        Outcome::Done => put(
            &mut text,
            format_args!(
                "rules {version} are in force, in place of {}; calls waited {:.1} ms at the most\n",
                plain(&report.version_before),
                report.pause_us as f64 / 1000.0
            ),
        ),
        Outcome::Unchanged => put(&mut text, format_args!("nothing has changed: rules {version} stay in force\n")),
        Outcome::Refused => put(&mut text, format_args!("nothing was changed: rules {version} stay in force\n")),
        Outcome::NeedsRestart => {
            put(&mut text, format_args!("nothing was changed: rules {version} stay in force until a restart\n"));
        }
        Outcome::Failed => put(&mut text, format_args!("it could not be done: rules {version} stay in force\n")),
    }
    report.problems.iter().for_each(|problem| put(&mut text, format_args!("  {}\n", plain(problem))));
    if report.outcome == Outcome::Done {
        put(&mut text, format_args!("  kept       {} go on from what they have counted\n", report.kept));
    }
    let kinds = [
        ("warming", &report.warming, "a level was raised beyond what was kept: counts too little for a window"),
        ("restarted", &report.restarted, "counts in another way: told of the past from the archive"),
        ("added", &report.added, "told of the past from the archive"),
        ("gone", &report.gone, "its open alerts have ended"),
    ];
    for (kind, rules, what) in kinds.into_iter().filter(|(_, rules, _)| !rules.is_empty()) {
        put(&mut text, format_args!("  {kind:<10} {}: {what}\n", named(rules)));
    }
    report.notes.iter().for_each(|note| put(&mut text, format_args!("note: {}\n", plain(note))));
    text
}

fn named(rules: &[String]) -> String {
    let shown: Vec<String> = rules.iter().take(NAMED_MAX).map(|rule| plain(rule)).collect();
    let more = rules.len().saturating_sub(NAMED_MAX);
    let behind = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{behind}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_rules_is_told_in_a_few_lines() {
        let report = Report {
            outcome: Outcome::Done,
            version: "bbb".into(),
            version_before: "aaa".into(),
            kept: 9,
            gone: (0..14).map(|n| format!("r{n}")).collect(),
            pause_us: 1_260,
            ..Report::default()
        };
        let text = report_text(&report);
        assert!(
            text.starts_with("rules bbb are in force, in place of aaa; calls waited 1.3 ms at the most\n"),
            "{text}"
        );
        assert!(text.contains("r11 and 2 more: its open alerts"), "{text}");
        let refused = Report { outcome: Outcome::Refused, problems: vec!["a.toml:1:2: no".into()], ..report };
        assert!(report_text(&refused).contains("\n  a.toml:1:2: no\n"));
    }
}
