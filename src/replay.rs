//! Recorded events through the very engine that judges live ones: `ringfence replay`.
//!
//! Results come out in the order of the input, whatever the number of threads ([`input`]): the lines of a replay, what
//! was found of labelled attacks ([`detection`]), or what two rule sets say differently ([`compare`](mod@compare)). Nothing here
//! reads the wall clock but for the speed that is told at the end, and how far it has come.

mod compare;
mod detection;
mod difference;
mod found;
mod input;
mod labels;
mod progress;
mod rules;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;

pub use self::detection::{AttackFound, Detected, FoundBy, RuleFound};
pub use self::difference::{Change, Changed, Difference, Labelled, Sample, Set, Verdicts, Volume};

use self::compare::Comparison;
use self::detection::Detection;
use self::input::{Reader, Take, Told};
use self::labels::Labels;
use self::rules::Rules;
use self::summary::Summary;
use crate::clock::{Clock, Timestamp};
use crate::engine::{Emit, Engine, Judged, Settings, Watch, output};
use crate::event::Names;
use crate::ingest::FeedContext;
use crate::limits::{BLOCK_BYTES, CALL_AGE_MS_MAX, EMERGENCY_CALLBACK_MS};
use crate::policy::{Mode, Policy, Severity};

/// Spreads keys the same way in every replay.
const HASH_SEED: u64 = 0;

/// The field in which simulated traffic says what it belongs to.
pub const LABEL: &str = "label";

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line for each crossing of a threshold.
    Violations,
    /// One line for each event: what the firewall says of it.
    Verdicts,
    /// One object for the whole input: events, rejects, verdicts, and what each rule counted.
    Summary,
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub output: Output,
    pub n_threads: usize,
    pub merge: bool,
    pub dedup: bool,
    /// Order events by their time before they are judged; ties stay as they came.
    pub sort: bool,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub customer: Option<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub events: u64,
    pub seconds: f64,
    /// Of the violations of rules that are in force.
    pub loudest: Option<Severity>,
}

/// What to read, and how it is decoded.
#[derive(Debug)]
pub struct Recording {
    pub context: FeedContext,
    /// What `--input-format` says; without it the name of each file tells.
    pub format: Option<String>,
    pub paths: Vec<PathBuf>,
}

impl Recording {
    fn reader<'a>(self, options: &'a Options, policies: &[Arc<Policy>]) -> Reader<'a> {
        let Recording { context, format, paths } = self;
        let lookback = policies.iter().map(|policy| policy.lookback_ms(&policy.thresholds)).max().unwrap_or(0);
        // What is merged hangs on what was told of the call before.
        let warm_ms = if options.merge { lookback.max(CALL_AGE_MS_MAX) } else { lookback };
        Reader { context, format, paths, options, labels: None, warm_ms, has_lines: false }
    }
}

/// Judges the events of the files in their order and writes the results to `out`.
pub fn replay(
    policy: Policy,
    recording: Recording,
    options: &Options,
    out: impl Write + Send + 'static,
) -> anyhow::Result<Outcome> {
    let started = Clock.monotonic();
    let names = Arc::clone(&recording.context.names);
    let policy = Arc::new(policy);
    let report = Arc::new(Mutex::new(Report {
        out: Box::new(io::BufWriter::with_capacity(BLOCK_BYTES, out)),
        failed: None,
        line: Vec::new(),
        summary: Summary::new(&policy),
        output: options.output,
        loudest: None,
        policy: Arc::clone(&policy),
        names: Arc::clone(&names),
    }));
    let (of_ticks, of_blocks) = (Arc::clone(&report), Arc::clone(&report));
    let emit: Emit = Box::new(move |judged| {
        if judged.tick.is_some() {
            lock(&of_ticks).take(judged);
        }
    });
    let take: Take = Box::new(move |told| {
        if let (false, Some(judged)) = (told.is_warm, told.judged.last()) {
            lock(&of_blocks).take(judged);
        }
    });
    let engine = engine(&policy, &names, options, emit, Watch::Nothing);
    let reader = recording.reader(options, &[policy]);
    tell_warming(options, reader.warm_ms);
    let has_lines = options.output != Output::Summary;
    Reader { has_lines, ..reader }.judge(&[engine], take)?;
    let mut report = lock(&report);
    report.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome { events: report.summary.events, seconds, loudest: report.loudest })
}

/// What the rules find of attacks that are labelled in `field` of each record.
pub fn detect(policy: Policy, recording: Recording, options: &Options, field: &str) -> anyhow::Result<Detected> {
    let names = Arc::clone(&recording.context.names);
    let policies = [Arc::new(policy)];
    let labels = Arc::new(Labels::new(field));
    let rules = Arc::new(Rules::new(&[&policies[0]]));
    let detection: Arc<Mutex<Option<Detection>>> = Arc::default();
    let emit: Emit = {
        let (detection, rules) = (Arc::clone(&detection), Arc::clone(&rules));
        Box::new(move |judged| {
            if let (Some(detection), true) = (&mut *lock(&detection), judged.tick.is_some()) {
                detection.tick(0, judged, &rules);
            }
        })
    };
    let engine = engine(&policies[0], &names, options, emit, detection::watch(&policies));
    *lock(&detection) = Some(Detection::new(Arc::clone(&labels), &rules, vec![engine.clone()]));
    let take: Take = {
        let (detection, rules, policies) = (Arc::clone(&detection), Arc::clone(&rules), policies.clone());
        Box::new(move |told: &mut Told| {
            if let Some(detection) = &mut *lock(&detection) {
                detection.take(told, &rules, &policies);
            }
        })
    };
    let reader = recording.reader(options, &policies);
    tell_warming(options, reader.warm_ms);
    let met = Arc::clone(&labels);
    Reader { labels: Some(labels), ..reader }.judge(&[engine], take)?;
    ensure_met(&met)?;
    // Taken out, so that the engine, which tells it of ticks, is not held by what it holds.
    let found = lock(&detection).take().and_then(|detection| detection.finish(&rules).pop());
    found.context("there is nothing to tell")
}

/// What `sets[1]` says differently than `sets[0]` of the same calls, each named by its path. `labels`: the field that
/// says what a record belongs to.
pub fn compare(
    sets: [(Policy, String); 2],
    recording: Recording,
    options: &Options,
    labels: Option<&str>,
) -> anyhow::Result<Difference> {
    let names = Arc::clone(&recording.context.names);
    let [(before, path), (after, other_path)] = sets;
    let policies = [Arc::new(before), Arc::new(after)];
    let rules = Rules::new(&[&policies[0], &policies[1]]);
    let labels = labels.map(|field| Arc::new(Labels::new(field)));
    let comparison: Arc<Mutex<Option<Comparison>>> = Arc::default();
    let watch = if labels.is_some() { detection::watch(&policies) } else { Watch::Open };
    let engines = [0, 1].map(|set| {
        let comparison = Arc::clone(&comparison);
        let emit: Emit = Box::new(move |judged| {
            if let (Some(comparison), true) = (&mut *lock(&comparison), judged.tick.is_some()) {
                comparison.tick(set, judged);
            }
        });
        engine(&policies[set], &names, options, emit, watch)
    });
    let detection = labels.as_ref().map(|labels| Detection::new(Arc::clone(labels), &rules, engines.to_vec()));
    *lock(&comparison) = Some(Comparison::new(policies.clone(), Arc::clone(&names), rules, detection));
    let take: Take = {
        let comparison = Arc::clone(&comparison);
        Box::new(move |told: &mut Told| {
            if let Some(comparison) = &mut *lock(&comparison) {
                comparison.take(told);
            }
        })
    };
    let reader = recording.reader(options, &policies);
    let warmed_from = options.from.map(|from| from.minus_ms(reader.warm_ms));
    Reader { labels: labels.clone(), ..reader }.judge(&engines, take)?;
    labels.iter().try_for_each(|labels| ensure_met(labels))?;
    let mut comparison = lock(&comparison).take().context("there is nothing to tell")?;
    Ok(Difference::of(&mut comparison, [path, other_path], warmed_from))
}

/// Tells `each` everything that thresholds count, block by block in the order of the input, and gives back what it made.
pub(crate) fn observe<T: Send + 'static>(
    policy: Arc<Policy>,
    recording: Recording,
    options: &Options,
    state: T,
    each: fn(&mut T, &Judged, &Engine),
) -> anyhow::Result<T> {
    let names = Arc::clone(&recording.context.names);
    let engine = engine(&policy, &names, options, Box::new(|_| {}), Watch::All);
    let state = Arc::new(Mutex::new(Some(state)));
    let take: Take = {
        let (state, engine) = (Arc::clone(&state), engine.clone());
        Box::new(move |told: &mut Told| {
            // What comes before the time that is asked about fills windows, and is no part of it.
            if let (false, Some(state), Some(judged)) = (told.is_warm, &mut *lock(&state), told.judged.last()) {
                each(state, judged, &engine);
            }
        })
    };
    let reader = recording.reader(options, &[policy]);
    tell_warming(options, reader.warm_ms);
    reader.judge(&[engine], take)?;
    let made = lock(&state).take();
    made.context("there is nothing to tell")
}

fn engine(policy: &Arc<Policy>, names: &Arc<Names>, options: &Options, emit: Emit, watch: Watch) -> Engine {
    let n_threads = options.n_threads.max(1);
    let settings = Settings { n_threads, hash_seed: HASH_SEED, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
    Engine::watched(Arc::clone(policy), Arc::clone(names), settings, emit, watch)
}

/// Says from when on events are counted, where not all that count are reported.
fn tell_warming(options: &Options, warm_ms: i64) {
    if let Some(from) = options.from {
        eprintln!("windows warmed from {}", from.minus_ms(warm_ms));
    }
}

/// A record without the usual field is clean; one that somebody names is somewhere.
fn ensure_met(labels: &Labels) -> anyhow::Result<()> {
    let field = labels.field();
    anyhow::ensure!(field == LABEL || labels.is_met(), "--label: no record says anything in a field `{field}`");
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Where results go, in order.
struct Report {
    out: Box<dyn Write + Send>,
    /// Output that could not be written; said once, at the end.
    failed: Option<io::Error>,
    line: Vec<u8>,
    summary: Summary,
    output: Output,
    loudest: Option<Severity>,
    policy: Arc<Policy>,
    names: Arc<Names>,
}

impl Report {
    fn take(&mut self, judged: &Judged) {
        self.summary.add(judged, self.output == Output::Summary);
        for violation in &judged.violations {
            if output::rule_mode(&self.policy, violation.rule) == Mode::Enforce {
                self.loudest = self.loudest.max(Some(violation.level));
            }
        }
        self.line.clear();
        match self.output {
            Output::Violations => {
                for violation in &judged.violations {
                    output::violation_line(&mut self.line, judged, violation, &self.policy, &self.names, None);
                    self.line.push(b'\n');
                }
            }
            Output::Verdicts => {
                for (i, verdict) in judged.verdicts.iter().enumerate() {
                    output::verdict_line(&mut self.line, judged, i, *verdict, &self.policy, true, false);
                    self.line.push(b'\n');
                }
            }
            Output::Summary => {}
        }
        if let Err(error) = self.out.write_all(&self.line) {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.output == Output::Summary {
            let object = self.summary.to_json(&self.policy);
            writeln!(self.out, "{object}").context("cannot write the summary")?;
        }
        if let Some(error) = self.failed.take() {
            return Err(error).context("cannot write the results");
        }
        self.out.flush().context("cannot write the results")
    }
}
