//! `ringfence check`: rules, lists, customers, settings and kits, for people, for programs, and code by code.
//!
//! Only arguments and printing; what is a mistake is decided where it is read: in [`crate::policy`],
//! [`crate::customer`], [`crate::config`] and [`crate::kit`].

mod example;
mod explain;
mod sarif;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::wants_colour;
use crate::clock::Clock;
use crate::config::{self, Config, Mismatch};
use crate::kit_command;
use crate::policy::check::{self, Report};
use crate::policy::load::{LoadOptions, Loaded, load};
use crate::policy::render::{Spot, Told};
use crate::policy::{Policy, RuleSource, coverage};
use crate::printed::print;

/// Check rules, lists, settings and kits: every mistake at once, with its place and advice
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence check rules/
  ringfence check rules/ips/wangiri.toml     one file, read as part of the set around it
  ringfence check --explain E014             what a code means, with the mistake and its mend
  ringfence check --explain                  every code there is
  ringfence check --order rules/             in which order rules are asked
  ringfence check --format json rules/       for pipelines: one object, whatever the number of paths
  ringfence check --format sarif rules/      for editors and code review (SARIF 2.1.0)
  ringfence check ringfence.toml             settings, the rules they name, and whether the two fit
  ringfence check kits/                      the texts of messages, as `ringfence kit lint` does

The object of --format json: `problems`, each with `code`, `severity` (error or warning), `message`, `path`, `line`,
`column`, `end_line`, `end_column`, `label`, `help`, `notes` and `context` (more places, each with its `label`); `errors`
and `warnings`; `checked` (how much was looked at); `version`, `memory_bytes_max` and `memory` of rules that can be used;
`untested`. Lines and columns count from 1, columns in characters; what is not known is null. Names are not changed and
not taken away; more may come.

Exit codes: 0 no errors (warnings may be there), 1 errors, 2 nothing could be read.")]
pub struct Args {
    /// Rule folders, their ruleset.toml, single rule files, settings, or kits
    #[arg(default_value = "rules", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Explain a code, such as E014, with an example; without one, list them all
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
    /// In which order rules are asked
    #[arg(long)]
    order: bool,
    /// What every threshold may come to hold, and every rule without a test
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

const FINDINGS: u8 = 1;
/// Rules without a test that one line names; `--verbose` names all.
const UNTESTED_SHOWN: usize = 8;

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let colour = wants_colour(io::stdout().is_terminal());
    if let Some(code) = &args.explain {
        print(&explain::explain(code, colour)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::ensure!(
        !args.order || args.format == Format::Text,
        "--order tells people in which order rules are asked: leave out --format"
    );
    let mut checker = Checker { args, colour, report: Report::default() };
    for path in &args.paths {
        anyhow::ensure!(path.exists(), "cannot read `{}`: there is no such file or folder", path.display());
        let settings = std::fs::read_to_string(path).ok().filter(|text| config::is_settings(text));
        match settings {
            None if kit_command::is_kits(path) => checker.kits(path)?,
            Some(text) => checker.settings(path, &text)?,
            None => drop(checker.rules(path)?),
        }
    }
    match args.format {
        Format::Text => {}
        Format::Json => print(&format!("{}\n", serde_json::json!(checker.report)))?,
        Format::Sarif => print(&format!("{:#}\n", sarif::log(&checker.report.problems, &explain::all())))?,
    }
    Ok(if checker.report.errors > 0 { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

/// Looks at one path after the other: prints for people as it goes, and gathers for programs.
struct Checker<'a> {
    args: &'a Args,
    colour: bool,
    report: Report,
}

impl Checker<'_> {
    fn is_text(&self) -> bool {
        self.args.format == Format::Text
    }

    fn kits(&mut self, path: &Path) -> anyhow::Result<()> {
        let (report, text) = kit_command::report(path, self.colour)?;
        self.report.join(report);
        if self.is_text() { print(&text) } else { Ok(()) }
    }

    /// The policy, where there are no errors.
    fn rules(&mut self, path: &Path) -> anyhow::Result<Option<Policy>> {
        let source = RuleSource::at(path);
        let loaded = load(&source, LoadOptions { now: Some(Clock.now()) });
        let untested = loaded.policy.as_ref().and_then(|policy| coverage::untested(&source, policy));
        let mut report = Report::of(&loaded);
        report.untested = untested.as_ref().map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        if self.is_text() {
            print(&self.text(&loaded, untested.as_deref().unwrap_or_default()))?;
        }
        self.report.join(report);
        Ok(loaded.policy)
    }

    fn text(&self, loaded: &Loaded, untested: &[&str]) -> String {
        let mut out = check::drawings(loaded, self.colour);
        if self.args.order {
            out += &check::order(loaded);
        }
        if self.args.verbose {
            out += &check::memory_table(loaded);
        }
        out.extend(check::memory_line(loaded).map(|line| line + "\n"));
        if !untested.is_empty() {
            let shown = if self.args.verbose { untested.len() } else { UNTESTED_SHOWN };
            let more = untested.len().saturating_sub(shown);
            let names: Vec<&str> = untested.iter().take(shown).copied().collect();
            let more = if more > 0 { format!(" and {more} more (--verbose names them)") } else { String::new() };
            out += &format!("rules without a test: {}{more}\n", names.join(", "));
        }
        out + &check::summary(loaded) + "\n"
    }

    /// Settings, the rules and kits they name, and what they say of each other.
    fn settings(&mut self, path: &Path, text: &str) -> anyhow::Result<()> {
        let (config, problems) = config::parse(text, path);
        let mut found: Vec<Told> = problems.iter().map(of_setting).collect();
        if let Some(config) = config {
            let policy = match &config.rules {
                Some(rules) if rules.exists() => self.rules(rules)?,
                Some(_) => None,
                None => load(&RuleSource::shipped(), LoadOptions::default()).policy,
            };
            for folder in kit_folders(&config, policy.as_ref()).iter().filter(|folder| folder.exists()) {
                self.kits(folder)?;
            }
            found.extend(against_rules(path, &config, policy.as_ref()));
        }
        if self.is_text() {
            let lines: String = found.iter().map(line).collect();
            let none = format!("{}: no problems\n", path.display());
            print(if lines.is_empty() { &none } else { &lines })?;
        }
        found.into_iter().for_each(|told| self.report.push(told));
        Ok(())
    }
}

/// What good settings name and there is not, and what they and the rules say of each other.
fn against_rules(path: &Path, config: &Config, policy: Option<&Policy>) -> Vec<Told> {
    let rules = config.rules.iter().filter(|rules| !rules.exists()).map(|rules| missing(path, "rules", rules));
    let folders = kit_folders(config, policy);
    let kits = folders.iter().filter(|folder| !folder.exists()).map(|folder| missing(path, "kits", folder));
    let mismatches = policy.into_iter().flat_map(|policy| config::cross_check(config, policy));
    rules.chain(kits).chain(mismatches.map(|mismatch| of_mismatch(path, &mismatch))).collect()
}

/// Of the settings, and of customers that have their own.
fn kit_folders(config: &Config, policy: Option<&Policy>) -> Vec<PathBuf> {
    let own = policy.into_iter().flat_map(|policy| policy.customers.iter()).filter_map(|c| c.kits.as_ref());
    let rules = config.rules.clone().unwrap_or_default();
    config.kits.iter().cloned().chain(own.map(|folder| rules.join(folder))).collect()
}

fn of_setting(problem: &config::Problem) -> Told {
    let (line, column) = problem.place().unzip();
    let place = Spot { path: Some(problem.path().to_owned()), line, column, end_line: line, end_column: column };
    plain(problem.code(), true, problem.message().to_owned(), place)
}

fn of_mismatch(path: &Path, mismatch: &Mismatch) -> Told {
    let place = Spot { path: Some(path.display().to_string()), ..Spot::default() };
    plain(mismatch.code, mismatch.is_error, mismatch.message.clone(), place)
}

fn missing(path: &Path, what: &str, wanted: &Path) -> Told {
    let place = Spot { path: Some(path.display().to_string()), ..Spot::default() };
    plain("E304", true, format!("{what}: there is no `{}`", wanted.display()), place)
}

fn plain(code: &'static str, is_error: bool, message: String, place: Spot) -> Told {
    let severity = if is_error { "error" } else { "warning" };
    let (label, notes, context) = (String::new(), Vec::new(), Vec::new());
    Told { code, severity, message, place, label, help: None, notes, context }
}

/// `ringfence.toml:3:7: error[E303]: ...`
fn line(told: &Told) -> String {
    let at = match (told.place.line, told.place.column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    let path = told.place.path.as_deref().unwrap_or_default();
    format!("{path}{at}: {}[{}]: {}\n", told.severity, told.code, told.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_with_code_and_place() {
        let (_, problems) = config::parse("threads = 0\n[http]\nlisten = 7\nlisen = 3\n", Path::new("r.toml"));
        let lines: Vec<String> = problems.iter().map(|p| line(&of_setting(p))).collect();
        assert!(lines[0].starts_with("r.toml:1:11: error[E303]: `threads`"), "{lines:?}");
        assert!(lines.iter().any(|l| l.contains("error[E302]: unknown key `http.lisen`")), "{lines:?}");
        let told = of_mismatch(
            Path::new("r.toml"),
            &Mismatch { code: "W106", is_error: false, message: "feeds count twice".to_owned() },
        );
        assert_eq!(line(&told), "r.toml: warning[W106]: feeds count twice\n");
    }
}
