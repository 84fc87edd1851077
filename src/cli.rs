//! The command line: arguments, printing, exit codes, nothing else.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::clock::{Clock, Timestamp};
use crate::event::Country;
use crate::event::dialplan::{DialPlan, DialPlanSettings};
use crate::event::numbering::Numbering;
use crate::policy::check::{ReportFormat, check_report};
use crate::policy::load::{LoadOptions, Loaded, load};
use crate::policy::{Policy, RuleSource};
use crate::printed::{self, counted};
use crate::{
    acd_command, archive_command, backup, baseline, calendar, calendar_command, check_command, config,
    delivery_command, demo, doctor, explain_command, format_command, incident_command, keys_command, kit_command,
    oncall_command, portal, reload_command, replay_command, rule_test, schema_command, send, service, simulate,
    user_command,
};

/// Voice firewall and voice intrusion prevention: call events in, verdicts and violations out.
#[derive(Debug, Parser)]
#[command(
    name = "ringfence",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 fine, 1 findings, 2 could not do it."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeArgs),
    Demo(demo::Args),
    Check(check_command::Args),
    Test(rule_test::Args),
    Fmt(format_command::Args),
    Schema(schema_command::Args),
    Replay(replay_command::Args),
    Explain(explain_command::Args),
    Baseline(baseline::Args),
    Send(send::Args),
    Simulate(simulate::Args),
    Backup(backup::command::BackupArgs),
    Restore(backup::command::RestoreArgs),
    Doctor(doctor::Args),
    Archive(archive_command::Args),
    Incident(incident_command::Args),
    Delivery(delivery_command::Args),
    Oncall(oncall_command::Args),
    Acd(acd_command::Args),
    Reload(reload_command::Args),
    Keys(keys_command::Args),
    User(user_command::Args),
    Kit(kit_command::Args),
    Calendar(calendar_command::Args),
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Api,
    /// Print a completion script for a shell
    Completions {
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

const FAILURE: u8 = 2;

/// Parses the arguments and does what they say.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check_command::run(&args),
        Command::Test(args) => rule_test::run(&args),
        Command::Fmt(args) => format_command::run(&args),
        Command::Schema(args) => schema_command::run(&args),
        Command::Replay(args) => replay_command::run(args),
        Command::Explain(args) => explain_command::run(&args),
        Command::Baseline(args) => baseline::run(args),
        Command::Send(args) => send::run(&args),
        Command::Simulate(args) => simulate::run(&args, &mut io::stdout().lock()).map(|()| ExitCode::SUCCESS),
        Command::Backup(args) => backup::command::run_backup(&args, &mut say),
        Command::Restore(args) => backup::command::run_restore(&args, &mut say),
        Command::Doctor(args) => doctor::run(&args, &mut say),
        Command::Archive(args) => archive_command::run(&args),
        Command::Incident(args) => incident_command::run(&args),
        Command::Delivery(args) => delivery_command::run(&args),
        Command::Oncall(args) => oncall_command::run(&args),
        Command::Acd(args) => acd_command::run(&args),
        Command::Reload(args) => reload_command::run(&args),
        Command::Keys(args) => keys_command::run(&args),
        Command::User(args) => user_command::run(&args),
        Command::Api => print_api(),
        Command::Kit(args) => kit_command::run(&args),
        Command::Calendar(args) => calendar_command::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "ringfence", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => clap_mangen::Man::new(Cli::command())
            .render(&mut io::stdout())
            .map(|()| ExitCode::SUCCESS)
            .context("cannot print the manual page"),
    };
    done.unwrap_or_else(|error| {
        // A reader that has seen enough is no failure; whoever has findings to tell prints by `printed`.
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        if error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(gone)) {
            return ExitCode::SUCCESS;
        }
        eprintln!("ringfence: {error:#}");
        ExitCode::from(FAILURE)
    })
}

fn print_api() -> anyhow::Result<ExitCode> {
    printed::print(&format!("{:#}\n", portal::api::describe()))?;
    Ok(ExitCode::SUCCESS)
}

/// A line of what was done. Nobody may be reading it.
fn say(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}

/// Run the service: feeds in, verdicts and violations out
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence serve
  ringfence serve --config /etc/ringfence/ringfence.toml

Without settings: the rules that ship, gateways on 127.0.0.1:7060 (ndjson) and 127.0.0.1:9060 (hep, TCP and UDP), health
and the API on 127.0.0.1:8080, metrics on 127.0.0.1:9464/metrics, violations on standard output, one JSON object a line. SIGTERM or
Ctrl-C stops it and loses nothing that was accepted.

Exit codes: 0 after a signal, 2 where it could not start.")]
struct ServeArgs {
    /// Settings; every key is explained in deploy/ringfence.example.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = config::of_command(args.config.as_deref())?;
    let policy = match &config.rules {
        Some(path) => load_policy(path)?,
        None => use_policy(load(&RuleSource::shipped(), LoadOptions::default()), "the rules that ship")?,
    };
    let mismatches = config::cross_check(&config, &policy);
    mismatches.iter().for_each(|mismatch| eprintln!("{mismatch}"));
    anyhow::ensure!(!mismatches.iter().any(|m| m.is_error), "the rules do not fit the settings");
    service::run(config, Arc::new(policy))?;
    Ok(ExitCode::SUCCESS)
}

/// <https://no-color.org>
pub(crate) fn wants_colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// A policy, or every problem on standard error.
pub(crate) fn load_policy(path: &Path) -> anyhow::Result<Policy> {
    use_policy(load_rules(path)?, &rules_of(path))
}

/// What stands there, with what is wrong with it.
pub(crate) fn load_rules(path: &Path) -> anyhow::Result<Loaded> {
    anyhow::ensure!(path.exists(), "cannot read rules `{}`: there is no such file or folder", path.display());
    Ok(load(&RuleSource::at(path), LoadOptions { now: Some(Clock.now()) }))
}

/// What people call them.
pub(crate) fn rules_of(path: &Path) -> String {
    format!("the rules of `{}`", path.display())
}

pub(crate) fn use_policy(loaded: Loaded, what: &str) -> anyhow::Result<Policy> {
    let colour = wants_colour(io::stderr().is_terminal());
    let n_errors = loaded.n_errors();
    if !loaded.problems.is_empty() {
        eprint!("{}", check_report(&loaded, ReportFormat::Text { colour }));
    }
    loaded.policy.with_context(|| format!("{what} cannot be used: {}", counted(n_errors, "error")))
}

pub(crate) fn dial_plan(country: Option<&str>) -> anyhow::Result<DialPlan> {
    let Some(country) = country else { return Ok(DialPlan::default()) };
    anyhow::ensure!(Country::parse(country.as_bytes()).is_some(), "--country: `{country}` is no ISO 3166 country code");
    let settings = DialPlanSettings { country: Some(country.to_owned()), ..DialPlanSettings::default() };
    DialPlan::new(&settings, &Numbering::builtin()).map_err(|problems| anyhow::anyhow!(problems.join("; ")))
}

/// A stretch of event time: each end a date in the rules' time zone, the last one itself included, or an RFC 3339 time.
pub(crate) fn span(
    from: Option<&str>,
    to: Option<&str>,
    zone: &jiff::tz::TimeZone,
) -> anyhow::Result<(Option<Timestamp>, Option<Timestamp>)> {
    let instant = |text: Option<&str>, is_end: bool| {
        let bad =
            |text: &str| format!("`{text}` is neither a date (2026-02-28) nor an RFC 3339 time (2026-02-28T12:00:00Z)");
        text.map(|text| calendar::instant(text, zone, is_end).with_context(|| bad(text))).transpose()
    };
    let (start, end) = (instant(from, false).context("--from")?, instant(to, true).context("--to")?);
    if let (Some(start), Some(end)) = (start, end) {
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        anyhow::ensure!(start < end, "--from: `{from}` is not before --to `{to}`: there is no time between them");
    }
    Ok((start, end))
}
