//! `ringfence replay`: which recorded calls, by which rules, and how what came of them is printed. The work is done in
//! [`crate::replay`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use crate::cli::{dial_plan, load_policy, load_rules, rules_of, span, use_policy};
use crate::event::Names;
use crate::ingest::FeedContext;
use crate::policy::{Policy, Severity};
use crate::printed::{Printed, Results, print_report};
use crate::replay::{self, LABEL, Options, Output, Recording};
use crate::service;

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
pub struct Args {
    /// Rule folder, its ruleset.toml, or one rule file
    #[arg(long, value_name = "DIR")]
    rules: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Violations)]
    output: Output,
    #[command(flatten)]
    recording: RecordingArgs,
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
    #[arg(long, value_enum, default_value_t = Printed::Text)]
    format: Printed,
    /// Exit with 1 if a rule that is in force raised this level
    #[arg(long, value_enum, value_name = "LEVEL")]
    fail_on: Option<FailOn>,
    /// Files of events, plain, .gz or .zst; `-` is standard input; a folder is an archive
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Which calls of recorded files, and how they are read: the same for all that replay.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordingArgs {
    /// What the files hold: ndjson, hep, sip, pcap, json-cdr, a dialect of CDRs (asterisk, freeswitch, cucm, acme,
    /// broadworks, kamailio-acc), or csv:SETTINGS.toml; by each file's name or first bytes unless set
    #[arg(long, value_name = "F")]
    input_format: Option<String>,
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
    /// Tell of nothing earlier: a date or an RFC 3339 time; windows are warmed by what comes shortly before
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Leave out what is later: a date, itself included, or an RFC 3339 time, itself not
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events of this customer
    #[arg(long, value_name = "ID")]
    pub(crate) customer: Option<String>,
    /// Dial plan for national numbers: the country they are dialled in
    #[arg(long, value_name = "CC")]
    country: Option<String>,
}

impl RecordingArgs {
    /// What is read, and how it is judged by these rules.
    pub(crate) fn recording(
        self,
        policy: &Policy,
        paths: Vec<PathBuf>,
        output: Output,
    ) -> anyhow::Result<(Recording, Options)> {
        let (from, to) = span(self.from.as_deref(), self.to.as_deref(), &policy.time_zone)?;
        let options = Options {
            output,
            n_threads: self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            merge: self.merge,
            dedup: self.dedup,
            sort: self.sort,
            from,
            to,
            customer: self.customer,
        };
        let names = Arc::new(Names::new());
        let admission = service::admission(policy, &[], &names)?;
        let context = FeedContext { admission, ..FeedContext::file(names, dial_plan(self.country.as_deref())?) };
        Ok((Recording { context, format: self.input_format, paths }, options))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Warning,
    Critical,
}

/// Findings are no failure to do the work.
const FINDINGS: u8 = 1;

/// Does what the arguments say.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (policy, other) = policies(&args.rules, args.compare.as_deref())?;
    let (recording, options) = args.recording.recording(&policy, args.files, args.output)?;
    let field = args.label.as_deref().or(args.labels.then_some(LABEL));
    let named = |path: &Path| path.display().to_string();
    if let Some((path, other)) = args.compare.as_deref().zip(other) {
        let sets = [(policy, named(&args.rules)), (other, named(path))];
        let difference = replay::compare(sets, recording, &options, field)?;
        return print_report(args.format, &difference, || difference.text()).map(|()| ExitCode::SUCCESS);
    }
    if let Some(field) = field {
        let detected = replay::detect(policy, recording, &options, field)?;
        return print_report(args.format, &detected, || detected.text()).map(|()| ExitCode::SUCCESS);
    }
    let outcome = replay::replay(policy, recording, &options, Results)?;
    eprintln!("events/s: {:.0}", outcome.events as f64 / outcome.seconds.max(1e-9));
    let fails = match args.fail_on {
        Some(FailOn::Warning) => outcome.loudest.is_some(),
        Some(FailOn::Critical) => outcome.loudest == Some(Severity::Critical),
        None => false,
    };
    Ok(if fails { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

/// The rules, and those they are compared with: their lists may be long, so both are read at once.
fn policies(path: &Path, other: Option<&Path>) -> anyhow::Result<(Policy, Option<Policy>)> {
    let Some(other) = other else { return Ok((load_policy(path)?, None)) };
    let (loaded, loaded_other) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load_rules(other));
        (load_rules(path), loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    Ok((use_policy(loaded?, &rules_of(path))?, Some(use_policy(loaded_other?, &rules_of(other))?)))
}
