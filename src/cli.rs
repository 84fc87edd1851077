//! The command line: arguments, printing, exit codes, nothing else.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::clock::{Clock, Timestamp};
use crate::event::dialplan::{DialPlan, DialPlanSettings};
use crate::event::numbering::Numbering;
use crate::event::{Country, Names};
use crate::ingest::FeedContext;
use crate::policy::check::{ReportFormat, check_report};
use crate::policy::load::{LoadOptions, Loaded, load};
use crate::policy::{Policy, RuleSource, Severity};
use crate::{
    acd_command, archive_command, backup, baseline, calendar_command, check_command, config, delivery_command, demo,
    doctor, explain_command, format_command, incident_command, keys_command, kit_command, oncall_command, portal,
    reload_command, replay, rule_test, schema_command, send, service, simulate, user_command,
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
    Replay(ReplayArgs),
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

/// Findings are no failure to do the work.
const FINDINGS: u8 = 1;
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
        Command::Replay(args) => run_replay(args),
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
        // A reader that has seen enough is no failure.
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        if error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(gone)) {
            return ExitCode::SUCCESS;
        }
        eprintln!("ringfence: {error:#}");
        ExitCode::from(FAILURE)
    })
}

fn print_api() -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{:#}", portal::api::describe()).context("cannot print the description")?;
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
    anyhow::ensure!(path.exists(), "cannot read rules `{}`: there is no such file or folder", path.display());
    let loaded = load(&RuleSource::at(path), LoadOptions { now: Some(Clock.now()) });
    use_policy(loaded, &format!("the rules of `{}`", path.display()))
}

pub(crate) fn use_policy(loaded: Loaded, what: &str) -> anyhow::Result<Policy> {
    let colour = wants_colour(io::stderr().is_terminal());
    let n_errors = loaded.n_errors();
    if !loaded.problems.is_empty() {
        eprint!("{}", check_report(&loaded, ReportFormat::Text { colour }));
    }
    loaded.policy.with_context(|| format!("{what} cannot be used: {n_errors} errors"))
}

/// Judge recorded events: what the rules would have said and found
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence replay --rules rules/ calls.ndjson
  ringfence replay --rules rules/ --output summary --sort Master.csv
  zcat calls.ndjson.gz | ringfence replay --rules rules/ --output verdicts -
  ringfence replay --rules rules/ --compare changed/ --from 2026-02-01 --to 2026-02-28 calls/*.ndjson
  ringfence simulate --attack tdos,wangiri | ringfence replay --rules rules/ --labels -

The same input gives the same bytes, whatever the number of threads. Windows run on the time of the events; nothing
reads the clock of this machine.

--compare tells what the changed rules would have done differently, the largest change first, with calls to look up:
`new` and `gone` are said by one set only, `earlier` and `later` are the same alarm at another call. A threshold has
`episodes` (alarms that opened or grew to that level), of `keys` different keys; its `calls hit` are those counted for a
key in alarm. Calls that were recorded after a would-be block are replayed as they happened.

--labels tells what the rules found of attacks that the recording names: after how many calls, how soon after the
attack's first, and how often a rule told of a clean call. Without a label, with an empty one, or with `clean`, a record
is clean; each other label is one attack, so give every attack a name of its own.

Exit codes: 0 done, 1 what --fail-on asks for was found, 2 it could not be done.")]
struct ReplayArgs {
    /// Rule folder, its ruleset.toml, or one rule file
    #[arg(long, value_name = "DIR")]
    rules: PathBuf,
    /// What the files hold: ndjson, hep, sip, pcap, json-cdr, a dialect of CDRs (asterisk, freeswitch, cucm, acme,
    /// broadworks, kamailio-acc), or csv:SETTINGS.toml; by each file's name or first bytes unless set
    #[arg(long, value_name = "F")]
    input_format: Option<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t = replay::Output::Violations)]
    output: replay::Output,
    /// Threads to work with; all cores unless set
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Order the events by time first; for files that are not, at the cost of holding them in memory
    #[arg(long)]
    sort: bool,
    /// Merge records of one call by customer and Call-ID: at most one attempt, one answer, one end
    #[arg(long)]
    merge: bool,
    /// Leave out events that were there before, by gateway, Call-ID, leg, kind and time
    #[arg(long)]
    dedup: bool,
    /// Report nothing earlier: a date or an RFC 3339 time; windows are warmed by what comes shortly before
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Leave out what is later: a date, itself included, or an RFC 3339 time, itself not
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events of this customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Tell what these rules would have done differently than those of --rules
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "fail_on"])]
    compare: Option<PathBuf>,
    /// Tell which attacks the rules found; the records say in `label` what they belong to
    #[arg(long, conflicts_with_all = ["output", "fail_on"])]
    labels: bool,
    /// As --labels, where another field of the records says it
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["output", "fail_on"])]
    label: Option<String>,
    /// How to print what --compare and --labels tell
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Dial plan for national numbers: the country they are dialled in
    #[arg(long, value_name = "CC")]
    country: Option<String>,
    /// Exit with 1 if a rule that is in force raised this level
    #[arg(long, value_enum, value_name = "LEVEL")]
    fail_on: Option<FailOn>,
    /// Files of events, plain, .gz or .zst; `-` is standard input; a folder is an archive
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Warning,
    Critical,
}

fn run_replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let policy = load_policy(&args.rules)?;
    let names = Arc::new(Names::new());
    let zone = policy.time_zone.clone();
    let options = replay::Options {
        output: args.output,
        n_threads: args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        merge: args.merge,
        dedup: args.dedup,
        sort: args.sort,
        from: args.from.as_deref().map(|t| instant(t, &zone, false)).transpose().context("--from")?,
        to: args.to.as_deref().map(|t| instant(t, &zone, true)).transpose().context("--to")?,
        customer: args.customer,
    };
    let admission = service::admission(&policy, &[], &names)?;
    let context = FeedContext { admission, ..FeedContext::file(names, dial_plan(args.country.as_deref())?) };
    let field = args.label.as_deref().or(args.labels.then_some("label"));
    if let Some(other) = &args.compare {
        let paths = [&args.rules, other].map(|path| path.display().to_string());
        let [path, other_path] = paths;
        let sets = [(policy, path), (load_policy(other)?, other_path)];
        let recording = replay::Recording { context, format: args.input_format, paths: args.files };
        let difference = replay::compare(sets, recording, &options, field)?;
        return print_report(args.format, &difference, || difference.text());
    }
    if let Some(field) = field {
        let recording = replay::Recording { context, format: args.input_format, paths: args.files };
        let detected = replay::detect(policy, recording, &options, field)?;
        return print_report(args.format, &detected, || detected.text());
    }
    let outcome = replay::replay(policy, context, args.input_format.as_deref(), args.files, &options, io::stdout())?;
    eprintln!("events/s: {:.0}", outcome.events as f64 / outcome.seconds.max(1e-9));
    let fails = match args.fail_on {
        Some(FailOn::Warning) => outcome.loudest.is_some(),
        Some(FailOn::Critical) => outcome.loudest == Some(Severity::Critical),
        None => false,
    };
    Ok(if fails { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn print_report(
    format: Format,
    report: &impl serde::Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<ExitCode> {
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(report).context("cannot print the report")?),
        Format::Text => text(),
    };
    io::stdout().write_all(text.as_bytes()).context("cannot print the report")?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn dial_plan(country: Option<&str>) -> anyhow::Result<DialPlan> {
    let Some(country) = country else { return Ok(DialPlan::default()) };
    anyhow::ensure!(Country::parse(country.as_bytes()).is_some(), "--country: `{country}` is no ISO 3166 country code");
    let settings = DialPlanSettings { country: Some(country.to_owned()), ..DialPlanSettings::default() };
    DialPlan::new(&settings, &Numbering::builtin()).map_err(|problems| anyhow::anyhow!(problems.join("; ")))
}

/// A date in the rules' time zone, its end where `is_end`; or an RFC 3339 time.
pub(crate) fn instant(text: &str, zone: &jiff::tz::TimeZone, is_end: bool) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(time.as_millisecond()));
    }
    let no_time = || format!("`{text}` is neither a date (2026-02-28) nor an RFC 3339 time (2026-02-28T12:00:00Z)");
    let mut date = text.parse::<jiff::civil::Date>().with_context(no_time)?;
    if is_end {
        date = date.tomorrow().with_context(no_time)?;
    }
    Ok(Timestamp(date.to_zoned(zone.clone()).with_context(no_time)?.timestamp().as_millisecond()))
}
