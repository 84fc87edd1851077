//! `ringfence baseline`: what is usual of every key of every threshold, and which levels that suggests.
//!
//! Runs recorded calls through the engine with levels that nothing reaches, so that windows are whole, and keeps the
//! largest value of each key in each hour. Suggests; never changes a rule.

mod distribution;
mod files;
mod page;
mod peaks;
mod scale;
#[cfg(test)]
mod tests;
mod text;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde::Serialize;

use self::distribution::RuleBaseline;
use self::peaks::{Days, Peaks, day_number, day_text};
use crate::cli::load_policy;
use crate::clock::Clock;
use crate::limits::BASELINE_KEY_HOURS_MAX;
use crate::policy::{Level, Levels, Measure, Mode, Operator, Policy, Reaction, ThresholdRule};
use crate::printed::{Printed, print_report};
use crate::replay::{Options, Output, Recording, observe};
use crate::replay_command::RecordingArgs;
use crate::storage::Disk;

/// No value comes near it, and sums of it still fit.
const OUT_OF_REACH: i128 = 1 << 52;

/// Derive thresholds from recorded calls: what is usual, and what each level would have raised
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence baseline --rules rules/ calls/*.ndjson
  ringfence baseline --rules rules/ --rule ips-tdos-callee --customer acme --days 28 --leave-out 2026-02-11 \\
      --write rules/customers/acme.baseline.toml --html acme.html calls/*.ndjson.gz
  ringfence baseline --rules rules/ --archive ringfence-data/archive --format json

Every value is the largest that a key's window showed in a day (its daily peak), on the clock of the rules' time zone;
levels of the rules do not matter, and nothing is blocked for them. A quantile is a value that was there: the smallest
that so many of a hundred peaks are no greater than. Suggested are p99.9 x 1.25 for a warning and twice that for a
critical alarm. A key that reaches the suggested warning on most of its days stands out: it gets a suggestion of its own.
Leave out days on which there was an attack, or they will be what is usual.

--write FILE makes a file of [[override]] entries to be reviewed, with where its numbers come from, and baselines/RULE.csv
beside it, or beside ruleset.toml where FILE is among rules: a level such as `>= 3x` reads it there. Without --customer all
entries are comments; with it, what stands in baselines/RULE.csv of other customers stays. Its columns:
  rule          id of the rule
  customer      whose calls
  key           values of its `per` entries, joined by `|`: of the 1,000 keys with the largest peaks;
                `*` is the largest of all keys of the customer
  hour_of_week  0 is Monday 00:00 to 01:00 on the clock of the rules' time zone, 167 Sunday 23:00
  value         mean, over the weeks, of the largest value in that hour, as violations tell it; not there: 0

Nothing is in force until somebody has put it among the rules.

Exit codes: 0 done, 2 it could not be done.")]
pub struct Args {
    /// Rule folder, its ruleset.toml, or one rule file
    #[arg(long, value_name = "DIR")]
    rules: PathBuf,
    /// Only this rule; may be given more than once
    #[arg(long, value_name = "ID")]
    rule: Vec<String>,
    /// Only the last so many days of the recording
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    days: Option<u32>,
    /// Days that are not usual: a date, or two as FROM..TO, both included
    #[arg(long, value_name = "DATE[..DATE]")]
    leave_out: Vec<String>,
    /// Write suggestions to this file, and what is usual to baselines/ beside it or beside the rules
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write a page with pictures to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Printed::Text)]
    format: Printed,
    #[command(flatten)]
    recording: RecordingArgs,
    /// The folder of an archive
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    archive: Option<PathBuf>,
    /// Files of events, plain, .gz or .zst; `-` is standard input; a folder is an archive
    #[arg(required_unless_present = "archive", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Baseline {
    /// Of the rules.
    pub(crate) version: String,
    pub(crate) sources: Vec<String>,
    pub(crate) customer: Option<String>,
    pub(crate) time_zone: String,
    pub(crate) calls: u64,
    /// The days that count, and those in between that do not.
    pub(crate) first_day: String,
    pub(crate) last_day: String,
    pub(crate) days: usize,
    pub(crate) left_out: Vec<String>,
    pub(crate) rules: Vec<RuleBaseline>,
    /// Rules whose levels are for values that are too low, or for the age of calls.
    pub(crate) not_measured: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let disk = Disk::real();
    if let Some(path) = &args.write {
        files::check(path, &disk)?;
    }
    let policy = load_policy(&args.rules)?;
    let spans = args.leave_out.iter().map(|text| span(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let paths: Vec<PathBuf> = args.archive.iter().cloned().chain(args.files.iter().cloned()).collect();
    let customer = args.recording.customer.clone();
    let (recording, options) = args.recording.recording(&policy, paths, Output::Summary)?;
    let chosen = Chosen { rules: &args.rule, customer: customer.as_deref(), days: args.days, left_out: &spans };
    let baseline = Baseline::of(policy, recording, &options, &chosen)?;
    if let Some(path) = &args.html {
        let page = baseline.page();
        disk.replace_file(path, |file| file.write_all(page.as_bytes()))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    if let Some(path) = &args.write {
        files::write(&baseline, path, &disk, Clock.now())?;
    }
    print_report(args.format, &baseline, || baseline.text())?;
    Ok(ExitCode::SUCCESS)
}

/// What was asked for.
pub(crate) struct Chosen<'a> {
    pub(crate) rules: &'a [String],
    pub(crate) customer: Option<&'a str>,
    pub(crate) days: Option<u32>,
    /// Days from and to, both included.
    pub(crate) left_out: &'a [(i64, i64)],
}

impl Baseline {
    pub(crate) fn of(
        mut policy: Policy,
        recording: Recording,
        options: &Options,
        chosen: &Chosen<'_>,
    ) -> anyhow::Result<Baseline> {
        let has = |id: &String| policy.thresholds.iter().any(|rule| rule.id == *id);
        if let Some(id) = chosen.rules.iter().find(|id| !has(id)) {
            let known: Vec<&str> = policy.thresholds.iter().map(|rule| rule.id.as_str()).collect();
            anyhow::bail!("--rule: there is no threshold `{id}`; there are {}", known.join(", "));
        }
        policy.thresholds.retain(|rule| chosen.rules.is_empty() || chosen.rules.contains(&rule.id));
        let not_measured =
            policy.thresholds.iter().filter(|rule| !has_peaks(rule)).map(|rule| rule.id.clone()).collect();
        policy.thresholds.retain(has_peaks);
        ensure!(!policy.thresholds.is_empty(), "the rules have no threshold that grows with what it counts");
        let levels = put_levels_out_of_reach(&mut policy);
        let names = Arc::clone(&recording.context.names);
        let sources = recording.paths.iter().map(|path| path.display().to_string()).collect();
        let rules = Arc::new(policy);
        let mut peaks = observe(Arc::clone(&rules), recording, options, Peaks::new(&rules), Peaks::take)?;
        ensure!(
            !peaks.is_full,
            "there are more than {BASELINE_KEY_HOURS_MAX} hours of keys: choose rules with --rule, a customer with \
             --customer, or less time with --from and --to"
        );
        let span = peaks.days().context("there is no event in it")?;
        let days = Days::choose(span, chosen.days, chosen.left_out);
        ensure!(!days.kept.is_empty(), "every day of the recording is left out");
        let of_rule = |(i, was): (usize, &Levels)| RuleBaseline::of(i, &rules, was, &peaks, &days, &names);
        let day = |day: Option<&i64>| day.map_or(String::new(), |day| day_text(*day));
        Ok(Baseline {
            version: rules.version.clone(),
            sources,
            customer: chosen.customer.map(str::to_owned),
            time_zone: rules.time_zone.iana_name().unwrap_or("UTC").to_owned(),
            calls: peaks.calls(&days),
            first_day: day(days.kept.first()),
            last_day: day(days.kept.last()),
            days: days.kept.len(),
            left_out: days.left_out.iter().map(|day| day_text(*day)).collect(),
            rules: levels.iter().enumerate().map(of_rule).collect(),
            not_measured,
        })
    }
}

/// Whether there is anything to learn from the largest values of a rule.
fn has_peaks(rule: &ThresholdRule) -> bool {
    // What is usual is learnt from them, whichever way its levels go.
    let is_low = |level: &Level| !level.is_upward() && !level.is_of_usual;
    !matches!(rule.measure, Measure::Longest) && !rule.levels.lowest().is_some_and(is_low)
}

/// Windows keep what their levels need: with these they keep everything, and nothing is blocked. Gives the levels of each
/// rule as they were.
fn put_levels_out_of_reach(policy: &mut Policy) -> Vec<Levels> {
    let out_of_reach = |rule: &mut ThresholdRule| {
        let level = Level { operator: Operator::AtLeast, limit: OUT_OF_REACH, is_of_usual: false, text: String::new() };
        (rule.on_warning, rule.on_critical) = (Reaction::default(), Reaction::default());
        rule.mode = Mode::Monitor;
        rule.also.clear();
        (rule.hold_ms, rule.remind_ms) = (0, None);
        std::mem::replace(&mut rule.levels, Levels { warning: Some(level), ..Levels::default() })
    };
    policy.thresholds.iter_mut().map(out_of_reach).collect()
}

/// `DATE` or `DATE..DATE`, as days.
fn span(text: &str) -> anyhow::Result<(i64, i64)> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let day = |date: &str| {
        let parsed = date.trim().parse::<jiff::civil::Date>();
        parsed.map(day_number).ok().with_context(|| {
            format!("--leave-out: `{text}` is neither a date (2026-02-11) nor two (2026-02-11..2026-02-13)")
        })
    };
    let (from, to) = (day(from)?, day(to)?);
    ensure!(from <= to, "--leave-out: `{text}` ends before it begins");
    Ok((from, to))
}
