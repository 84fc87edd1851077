//! `ringfence doctor` on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{Area, Report, Severity, examine};
use crate::config::{self, Config};
use crate::printed::Printed;
use crate::storage::Disk;

const FINDINGS: u8 = 1;

/// Name everything that is wrong, and how to mend it
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence doctor --config /etc/ringfence/ringfence.toml
  ringfence doctor --config /etc/ringfence/ringfence.toml --deep             the archive is read whole too
  ringfence doctor --config /etc/ringfence/ringfence.toml --format json      for programs

Looks, in the order of harm, at: data folder, disk, journal, snapshots, names, store, archive, what the running service
says of itself, clock, settings, rules and lists, listeners, sinks (reached, and told nothing), certificates, limits. It reads
journal, snapshots and store whole, changes nothing, and works while the service runs and while it does not. Run it as the
service's user.

Exit codes: 0 nothing is wrong, 1 there are findings, 2 it could not look.")]
pub struct Args {
    /// Settings of the service; without them it is the service that runs in this folder without settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Printed::Text)]
    format: Printed,
    /// Read every file of the archive too, which takes as long as reading it does
    #[arg(long)]
    deep: bool,
}

/// Looks, and tells.
pub fn run(args: &Args, say: &mut dyn FnMut(&str)) -> anyhow::Result<ExitCode> {
    let report = diagnose(args)?;
    match args.format {
        Printed::Json => say(&serde_json::to_string(&report).context("cannot print the findings")?),
        Printed::Text => lines(&report).iter().for_each(|line| say(line)),
    }
    Ok(if report.has_findings() { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

fn diagnose(args: &Args) -> anyhow::Result<Report> {
    let Some(path) = &args.config else { return Ok(examine(&Disk::real(), &Config::default(), None, args.deep)) };
    anyhow::ensure!(path.is_file(), "cannot read `{}`: there is no such file", path.display());
    let (config, problems) = config::load(path);
    if let Some(config) = config {
        return Ok(examine(&Disk::real(), &config, Some(path), args.deep));
    }
    // Without settings nobody knows where to look further.
    let mut report = Report::default();
    let mend = format!("ringfence check {}", path.display());
    problems.iter().for_each(|problem| report.error(Area::Settings, problem.to_string(), mend.as_str()));
    Ok(report.finish())
}

/// What is wrong with its mend below it, then what is well.
fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &report.findings {
        let word = match finding.severity {
            Severity::Error => "ERROR  ",
            Severity::Warning => "warning",
            Severity::Ok => "ok     ",
        };
        lines.push(format!("{word} {}: {}", finding.area.as_str(), finding.what));
        if !finding.mend.is_empty() {
            lines.push(format!("        mend: {}", finding.mend));
        }
    }
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    lines.push(match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "nothing is wrong".to_owned(),
        (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
    });
    lines
}
