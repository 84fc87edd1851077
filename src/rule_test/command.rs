//! The command line of `ringfence test`: which tests, of which rules, and how the results are told.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, anyhow, ensure};
use serde_json::{Value, json};

use super::coverage::{Coverage, Met};
use super::file::{self, Rules, Test, TestFile};
use super::judge;
use super::junit;
use super::report::{Outcome, Outcomes, Style};
use super::stage::Stage;
use crate::cli::{load_rules, rules_of, wants_colour};
use crate::event::Names;
use crate::event::dialplan::DialPlan;
use crate::ingest::FeedContext;
use crate::limits::{RULE_FILE_BYTES_MAX, TEST_FILES_MAX};
use crate::policy::coverage::{Named, TEST_FOLDERS_MAX};
use crate::policy::problem::Problem;
use crate::policy::render::{self, Texts};
use crate::policy::source::RULESET;
use crate::policy::{Mode, Policy, RuleSource};
use crate::printed::{Printed, counted, print};
use crate::service;
use crate::storage::Disk;

/// Try rules on calls: unit tests in tests/*.test.toml beside the rules
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence test                                     every test of rules/
  ringfence test rules/tests/wangiri.test.toml       one file, against the rules around it
  ringfence test --filter wangiri                    tests whose name has the word
  ringfence test --coverage                          which rules were met, which fired, which have no test
  ringfence test --junit report.xml                  for CI
  ringfence test --rules candidate/ rules/tests/     the same tests, against other rules

A test says which calls come and every violation that must come of them:

  [[test]]
  name = \"wangiri: ring-and-run warns at 5, escalates at 15\"
  rules = [\"ips-wangiri\"]                  # left out: every violation of every rule must be expected
  start = \"2026-03-02T10:00:00+01:00\"
  calls = [ { at = \"0s\", every = \"20s\", times = 16, direction = \"inbound\",
              caller = \"+2235550{n:4}\", callee = \"+46840000{n:2}\", ring = \"2s\" } ]
  expect = [
    { at = \"1m22s\", rule = \"ips-wangiri\", key = [\"+2235550*\"], level = \"warning\", value = 5 },
    { at = \"4m42s\", rule = \"ips-wangiri\", key = [\"+2235550*\"], level = \"critical\", value = 15 },
  ]

A call begins `at` and ends at `at` + `ring` + `talk`; without `talk` it is not answered. `kind` makes it something else: a
register, options, message or cdr, or only one event of a call. Any field of an event may be said of it as ndjson spells
it. {n:4} is the last four digits of its running number, from 1; without `:4` it is the whole number. `verdict`, `by` and
`flags` say what the firewall must answer.
`delay` lets its events come in late, `until` ends the test at a time, so that time alone may bring something, and
`events` plays recorded events, from `ringfence archive export`. `force_mode` sets the mode of all rules.

Exit codes: 0 all as expected, 1 a test failed, 2 tests or rules cannot be used.")]
pub struct Args {
    /// Rule folders, folders of tests, or test files
    #[arg(default_value = "rules", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Rules to test, in place of those around the tests
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Only tests whose name has this text, whatever its case
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = Printed::Text)]
    format: Printed,
    /// Print only tests that fail
    #[arg(long, short)]
    quiet: bool,
    /// Print for each rule how many tests name it, what it matched, and which levels fired
    #[arg(long)]
    coverage: bool,
    /// Write the results to a file as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Findings are no failure to do the work.
const FINDINGS: u8 = 1;
const FAILURE: u8 = 2;
/// How test files end.
const ENDING: &str = ".test.toml";

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sets = rule_sets(args)?;
    let mut outcomes = Outcomes::default();
    for (root, files) in &sets {
        // What cannot be used of one set takes nothing from the others.
        match play_set(root, files, args)? {
            Ok(more) => outcomes.join(more),
            Err(Unusable { what, why, problems }) => {
                eprintln!("ringfence: {why}");
                outcomes.problems.extend(problems);
                outcomes.tests.push(Outcome {
                    name: what.clone(),
                    file: what,
                    broken: Some(why),
                    ..Outcome::default()
                });
            }
        }
    }
    if let Some(filter) = args.filter.as_ref().filter(|_| outcomes.tests.is_empty()) {
        return Err(anyhow!("no test has `{filter}` in its name; left out: {}", outcomes.n_left_out));
    }
    if let Some(path) = &args.junit {
        let document = junit::document(&outcomes);
        let written = Disk::real().replace_file(path, |file| file.write_all(document.as_bytes()));
        written.with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let colour = wants_colour(io::stdout().is_terminal());
    // Where nothing was played, all there is to say was said.
    let is_told = args.format == Printed::Text && outcomes.coverage.is_empty();
    let report = match args.format {
        _ if is_told => String::new(),
        Printed::Text => outcomes.text(Style { colour, quiet: args.quiet, coverage: args.coverage }),
        Printed::Json => format!("{}\n", outcomes.json()),
    };
    print(&report)?;
    Ok(match outcomes.n_failed() {
        _ if outcomes.has_broken() => ExitCode::from(FAILURE),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(FINDINGS),
    })
}

/// Test files by the folder of the rules they are tests of.
fn rule_sets(args: &Args) -> anyhow::Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut sets: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for path in &args.paths {
        ensure!(path.exists(), "cannot read `{}`: there is no such file or folder", path.display());
        let (folder, files) = tests_at(path)?;
        let root = match &args.rules {
            Some(rules) => rules.clone(),
            None => root_of(&folder).with_context(|| {
                format!("`{}`: no {RULESET} stands above it; name the rules with --rules", path.display())
            })?,
        };
        ensure!(!files.is_empty(), "there are no tests (*{ENDING}) in `{}`", folder.display());
        let known = sets.entry(root).or_default();
        files.into_iter().for_each(|file| {
            if !known.contains(&file) {
                known.push(file);
            }
        });
    }
    Ok(sets)
}

/// The folder that was meant and its test files, in the order of their names.
fn tests_at(path: &Path) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let parent = || match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let is_test = path.to_string_lossy().ends_with(ENDING);
    if is_test && !path.is_dir() {
        return Ok((parent(), vec![path.to_owned()]));
    }
    let folder = if path.is_dir() { path.to_owned() } else { parent() };
    let is_ruleset = path.file_name().is_some_and(|name| name == RULESET);
    ensure!(path.is_dir() || is_ruleset, "`{}` is no test file: their names end with {ENDING}", path.display());
    let folder = if folder.join(RULESET).is_file() { folder.join("tests") } else { folder };
    let mut files = Vec::new();
    if folder.is_dir() {
        collect(&folder, TEST_FOLDERS_MAX, &mut files)
            .with_context(|| format!("cannot read `{}`", folder.display()))?;
    }
    files.sort();
    ensure!(
        files.len() <= TEST_FILES_MAX,
        "`{}` holds {} test files; at most {TEST_FILES_MAX} are read",
        folder.display(),
        files.len()
    );
    Ok((folder, files))
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if path.to_string_lossy().ends_with(ENDING) {
            files.push(path);
        }
    }
    Ok(())
}

/// The nearest folder, at it or above, that holds a rule set.
fn root_of(folder: &Path) -> Option<PathBuf> {
    let folder = if folder.is_dir() { folder } else { folder.parent()? };
    let mut at = folder.to_owned();
    for _ in 0..=TEST_FOLDERS_MAX {
        if at.join(RULESET).is_file() {
            return Some(at);
        }
        at = match at.parent() {
            Some(up) if !up.as_os_str().is_empty() => up.to_owned(),
            // `tests` stands in the folder we are in.
            Some(_) => PathBuf::from("."),
            None => return None,
        };
    }
    None
}

/// Rules or tests of which nothing can be played.
struct Unusable {
    what: String,
    why: String,
    /// For programs; people were told.
    problems: Vec<Value>,
}

/// Plays the tests of one rule set.
fn play_set(root: &Path, paths: &[PathBuf], args: &Args) -> anyhow::Result<Result<Outcomes, Unusable>> {
    let mut loaded = load_rules(root)?;
    loaded.problems.retain(|problem| problem.is_error);
    let Some(policy) = loaded.policy else {
        let problems = told(&loaded.problems, &loaded.texts, args);
        let why = format!("{} cannot be used: {}", rules_of(root), counted(loaded.problems.len(), "error"));
        return Ok(Err(Unusable { what: root.display().to_string(), why, problems }));
    };
    let mut texts = Texts::default();
    let mut problems = Vec::new();
    let mut files = Vec::new();
    let mut named = Named::of(&RuleSource::at(root)).unwrap_or_default();
    for path in paths {
        let shown = path.strip_prefix(".").unwrap_or(path).display().to_string();
        let text = read(path)?;
        named.add(&text);
        files.push(file::parse(&shown, &text, &Rules::of(&policy), &mut problems));
        texts.insert(shown, text);
    }
    if !problems.is_empty() {
        let what = root.join("tests").display().to_string();
        let why = format!("no test was played: {} in test files", counted(problems.len(), "mistake"));
        return Ok(Err(Unusable { what, why, problems: told(&problems, &texts, args) }));
    }
    play(policy, &files, &named, args.filter.as_deref()).map(Ok)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes =
        Disk::real().read(path, RULE_FILE_BYTES_MAX).with_context(|| format!("cannot read `{}`", path.display()))?;
    String::from_utf8(bytes).map_err(|_| anyhow!("`{}` is not UTF-8", path.display()))
}

/// Tells people of problems now; gives them to programs as values.
fn told(problems: &[Problem], texts: &Texts, args: &Args) -> Vec<Value> {
    if args.format == Printed::Json {
        return problems.iter().map(|problem| json!(render::told(problem, texts))).collect();
    }
    let colour = wants_colour(io::stderr().is_terminal());
    problems.iter().for_each(|problem| eprintln!("{}", render::drawing(problem, texts, colour)));
    Vec::new()
}

/// Plays the tests of the files that the filter lets through, on all cores, and puts the results in order.
pub(super) fn play(
    policy: Policy,
    files: &[TestFile],
    named: &Named,
    filter: Option<&str>,
) -> anyhow::Result<Outcomes> {
    let names = Arc::new(Names::new());
    let admission = service::admission(&policy, &[], &names)?;
    let context = FeedContext { admission, ..FeedContext::file(names, DialPlan::default()) };
    let mut coverage = Coverage::new(&policy);
    coverage.tested(named);
    let mut stage = Stage { policy: Arc::new(policy), context: Arc::new(context) };
    let wanted = filter.map(str::to_lowercase).unwrap_or_default();
    let mut chosen: Vec<(&TestFile, &Test)> = Vec::new();
    let mut n_left_out = 0;
    for file in files {
        coverage.name(&file.tests);
        for test in &file.tests {
            if test.name.to_lowercase().contains(&wanted) {
                chosen.push((file, test));
            } else {
                n_left_out += 1;
            }
        }
    }
    let mut outcomes: Vec<Option<Outcome>> = vec![None; chosen.len()];
    // The rules are there once: those who want another mode come after those who want their own.
    for mode in [None, Some(Mode::Enforce), Some(Mode::Monitor)] {
        let round: Vec<usize> = (0..chosen.len()).filter(|i| chosen[*i].1.force_mode == mode).collect();
        if round.is_empty() {
            continue;
        }
        if let Some(mode) = mode {
            stage.force(mode);
        }
        for (i, played) in play_round(&stage, &coverage, &chosen, &round) {
            let (file, test) = chosen[i];
            let mut outcome = played.outcome;
            coverage.add(&played.met);
            judge::explain(test, &mut outcome.failures, played.n_events, &mut stage);
            outcome.file = file.path.clone();
            outcomes[i] = Some(outcome);
        }
    }
    let tests = outcomes.into_iter().flatten().collect();
    Ok(Outcomes { tests, coverage: vec![coverage], n_left_out, ..Outcomes::default() })
}

/// One test, played and judged.
struct Played {
    outcome: Outcome,
    met: Vec<Met>,
    n_events: usize,
}

/// Plays tests on all cores.
fn play_round(
    stage: &Stage,
    coverage: &Coverage,
    chosen: &[(&TestFile, &Test)],
    round: &[usize],
) -> Vec<(usize, Played)> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut played = Vec::new();
        while let Some(i) = round.get(next.fetch_add(1, Ordering::Relaxed)) {
            played.push((*i, play_one(stage, coverage, chosen[*i].1)));
        }
        played
    };
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(round.len());
    let mut all: Vec<(usize, Played)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    all.sort_by_key(|(i, _)| *i);
    all
}

fn play_one(stage: &Stage, coverage: &Coverage, test: &Test) -> Played {
    let mut outcome = Outcome { name: test.name.clone(), line: test.line, ..Outcome::default() };
    outcome.calls = test.calls.iter().map(|call| call.times).sum();
    let play = match stage.play(test) {
        Ok(play) => play,
        Err(why) => {
            outcome.broken = Some(why);
            return Played { outcome, met: Vec::new(), n_events: 0 };
        }
    };
    let found = play.violations(stage, test.start);
    let met = coverage.met(&play, &found);
    outcome.records = play.n_records();
    outcome.failures = judge::judge(test, &play, &found, stage);
    Played { outcome, met, n_events: play.n_events() }
}
