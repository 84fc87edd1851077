//! `ringfence explain`: why a call was let through or not, condition by condition, and what it counted towards.
//!
//! Only arguments, reading and printing; what is told stands in [`crate::explain`]. Calls come from files, from an archive
//! or, where neither is named, from the running service, which knows those of the last minute too.

mod input;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

use self::input::{Files, violation};
use crate::archive::Archive;
use crate::cli::{dial_plan, load_rules, rules_of, span, use_policy};
use crate::clock::Timestamp;
use crate::engine::LaneOptions;
use crate::event::Names;
use crate::explain::history::History;
use crate::explain::{About, Answer, Crossing, Detail, Failure, Ground, Question, answer, page};
use crate::incident_command::query;
use crate::incident_command::service_args::{ServiceArgs, Stop, parsed, plain};
use crate::ingest::FeedContext;
use crate::limits::{EXPLAIN_CALLS, EXPLAIN_CALLS_MAX};
use crate::policy::Policy;
use crate::printed::{self, Printed};
use crate::service;

/// Why a call was let through or not, rule by rule, and what it counted towards
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
An event by itself, by the rules of a folder: which firewall rule decides, what would be counted, and why not:
  ringfence explain --rules rules/ '{\"time\":\"2026-03-02T21:41:07Z\",\"kind\":\"attempt\",\"caller\":\"+46700000001\",\"callee\":\"+22355501234\"}'
  tail -1 calls.ndjson | ringfence explain --rules rules/ -

A call of the running service, with the counts as they were when it came and the calls that stood in each window:
  ringfence explain --call 9f2c1@sbc1

The same from an archive or from files, by rules that may be others than those in force:
  ringfence explain --call 9f2c1@sbc1 --rules rules/ --archive ringfence-data/archive
  ringfence explain --call 9f2c1@sbc1 --rules rules/ --input calls.ndjson

Why a violation was raised: its line of `replay`, or the id that the service gave it:
  ringfence replay --rules rules/ calls.ndjson | head -1 | ringfence explain --rules rules/ --input calls.ndjson --violation -
  ringfence explain --violation 4711/ips-wangiri/warning

How to read it: the verdict comes first; YES is a rule that was met, with what made it so; each other rule has the one
shortest reason why not. `--all` tells every test of every rule.

Exit codes: 0 told, 1 the call or violation is not there, 2 it could not be done.")]
pub struct Args {
    /// Rule folder, its ruleset.toml, or one rule file
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// The call, by its Call-ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["event", "violation"])]
    call: Option<String>,
    /// The violation: its line of JSON, `-` for standard input, or its id: POSITION/RULE/LEVEL
    #[arg(long, value_name = "VIOLATION", conflicts_with = "event")]
    violation: Option<String>,
    /// Folder of an archive in which the call is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["event", "input"])]
    archive: Option<PathBuf>,
    /// Files in which the call is, with what came before it; may be given more than once
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "event")]
    input: Vec<PathBuf>,
    /// What the files hold, as for `replay`; by each file's name or first bytes unless set
    #[arg(long, value_name = "F", requires = "input")]
    input_format: Option<String>,
    /// Merge records of one call of the files by customer and Call-ID
    #[arg(long, requires = "input")]
    merge: bool,
    /// Dial plan for national numbers: the country they are dialled in
    #[arg(long, value_name = "CC")]
    country: Option<String>,
    /// Only a call of this customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Look for the call from here on: a date or an RFC 3339 time
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    from: Option<String>,
    /// Look for the call up to here: a date, itself included, or an RFC 3339 time, itself not
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    to: Option<String>,
    /// How many calls of a window to name; unless set, ten, and three where nothing is raised
    #[arg(long, value_name = "N")]
    calls: Option<usize>,
    /// Every test of every rule, not only what decides
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    service: ServiceArgs,
    /// An event: one line of ndjson, a file of such lines, or `-` for standard input
    #[arg(value_name = "EVENT")]
    event: Option<String>,
}

/// It is not there.
const NOT_FOUND: u8 = 1;

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let calls_max = args.calls.unwrap_or(EXPLAIN_CALLS);
    ensure!(calls_max <= EXPLAIN_CALLS_MAX, "--calls: {calls_max} is more than {EXPLAIN_CALLS_MAX}");
    let is_here = args.archive.is_some() || !args.input.is_empty();
    let told = match (&args.event, args.call.is_some() || args.violation.is_some()) {
        (Some(event), _) => of_event(args, event)?,
        (None, false) => bail!("what is to be explained? Give an event, `--call ID` or `--violation ID`"),
        (None, true) if is_here => of_past(args)?,
        (None, true) if args.rules.is_some() => bail!(
            "where are the calls? `--input FILE` or `--archive DIR` says it; without `--rules` the running service is asked"
        ),
        (None, true) => return of_service(args),
    };
    match told {
        Ok(answer) => print(args, &answer).map(|()| ExitCode::SUCCESS),
        Err(sentence) => {
            eprintln!("ringfence: {}", plain(&sentence));
            Ok(ExitCode::from(NOT_FOUND))
        }
    }
}

/// An answer, or why there is none to be found.
type Told = Result<Answer, String>;

fn print(args: &Args, answer: &Answer) -> anyhow::Result<()> {
    let text = match args.service.format {
        Printed::Json => format!("{:#}\n", serde_json::to_value(answer)?),
        Printed::Text => plain(&page(answer, Detail { every_test: args.all, every_call: args.calls.is_some() })),
    };
    printed::print(&text)
}

fn policy_of(args: &Args) -> anyhow::Result<Arc<Policy>> {
    let path = args.rules.as_ref().context("by which rules? `--rules DIR` says it")?;
    let mut loaded = load_rules(path)?;
    // Whoever asks about a call did not ask what might be better about the rules.
    loaded.problems.retain(|problem| problem.is_error);
    Ok(Arc::new(use_policy(loaded, &rules_of(path))?))
}

fn context(args: &Args, policy: &Policy, names: &Arc<Names>) -> anyhow::Result<Arc<FeedContext>> {
    let admission = service::admission(policy, &[], names)?;
    let file = FeedContext::file(Arc::clone(names), dial_plan(args.country.as_deref())?);
    Ok(Arc::new(FeedContext { admission, ..file }))
}

fn of_event(args: &Args, event: &str) -> anyhow::Result<Told> {
    let policy = policy_of(args)?;
    let names = Arc::new(Names::new());
    let piece = input::events(event, &context(args, &policy, &names)?)?;
    let ground = Ground { policy, names, options: LaneOptions::default(), newest: None };
    let mut piece = Some(piece);
    let question = question(args, About::Each, &ground.policy)?;
    let told = answer(&ground, &question, |_, take| {
        if let Some(piece) = piece.take() {
            take(piece);
        }
        Ok::<(), anyhow::Error>(())
    });
    sentence(told)
}

fn of_past(args: &Args) -> anyhow::Result<Told> {
    let policy = policy_of(args)?;
    let names = Arc::new(Names::new());
    let about = match (&args.call, &args.violation) {
        (Some(call), _) => About::Call(call.clone()),
        (None, Some(text)) => violation(text)?,
        (None, None) => bail!("which call?"),
    };
    ensure!(
        args.archive.is_some() || !matches!(about, About::Position { .. }),
        "an id of the service tells a place in its archive: `--archive DIR`, or give the line of the violation"
    );
    let question = question(args, about, &policy)?;
    let mut notes = Vec::new();
    let told = match &args.archive {
        Some(folder) => {
            let newest = Archive::read(folder)?.files().map(|file| file.to).max();
            let newest = newest.map(Timestamp);
            ensure!(newest.is_some(), "archive `{}` is empty: no calls are archived yet", folder.display());
            let history = History { archive: folder, journal: None, names: &names };
            let ground = Ground { policy, names: Arc::clone(&names), options: LaneOptions::default(), newest };
            let told = answer(&ground, &question, |stretch, take| history.read(stretch, &mut notes, take));
            sentence(told.map_err(|failure| failure.map(anyhow::Error::from)))?
        }
        None => {
            let made = || context(args, &policy, &names);
            let files = Files::new(&args.input, args.input_format.as_deref(), made)?;
            let options = LaneOptions { merge: args.merge, ..LaneOptions::default() };
            let ground = Ground { policy: Arc::clone(&policy), names: Arc::clone(&names), options, newest: None };
            sentence(answer(&ground, &question, |_, take| files.read(take)))?
        }
    };
    Ok(told.map(|answer| Answer { notes: notes.into_iter().chain(answer.notes.clone()).collect(), ..answer }))
}

fn question(args: &Args, about: About, policy: &Policy) -> anyhow::Result<Question> {
    let (from, to) = span(args.from.as_deref(), args.to.as_deref(), &policy.time_zone)?;
    Ok(Question { about, customer: args.customer.clone(), from, to, calls_max: args.calls.unwrap_or(EXPLAIN_CALLS) })
}

fn sentence(told: Result<Answer, Failure<anyhow::Error>>) -> anyhow::Result<Told> {
    match told {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failure::NotFound(sentence)) => Ok(Err(sentence)),
        Err(Failure::Read(error)) => Err(error),
    }
}

fn of_service(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut call, mut customer, mut position) = (args.call.clone(), args.customer.clone(), None);
    if let Some(text) = &args.violation {
        match violation(text)? {
            About::Position { .. } => position = Some(text.trim().to_owned()),
            // Its line says which call it was; what time brought has none.
            About::Crossing(Crossing { call_id: Some(id), customer: of, .. }) => {
                (call, customer) = (Some(id), Some(of))
            }
            About::Crossing(crossing) => {
                let none = "this violation names neither a call nor an id: is it of a running service?";
                position = Some(crossing.id.context(none)?);
            }
            _ => bail!("--violation: neither a line of a violation nor an id"),
        }
    }
    let query = query([
        ("call", call),
        ("violation", position),
        ("customer", customer),
        ("from", args.from.clone()),
        ("to", args.to.clone()),
        ("calls", args.calls.map(|calls| calls.to_string())),
    ]);
    let service = args.service.connect()?;
    let told = || -> Result<(), Stop> {
        let answer: Answer = parsed(&service.get(&format!("/explain{query}"))?)?;
        print(args, &answer).map_err(Stop::Could)
    };
    let done = told();
    service.end(done)
}
