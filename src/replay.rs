//! Recorded events through the very engine that judges live ones: `ringfence replay`.
//!
//! Workers take the next block of the input in turn, decode it and submit it; results come out in the order of the
//! input, whatever the number of workers. Nothing here reads the wall clock but for the speed that is told at the end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write};
use std::mem::discriminant;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use crossbeam::channel;

use crate::archive::{Archive, Events, Query};
use crate::clock::{Clock, Timestamp};
use crate::engine::{Engine, Judged, Lane, LaneOptions, RuleRef, Settings, Ticket, output};
use crate::event::{Batch, CallEvent, CustomerId, Flags, Kind, Names};
use crate::ingest::source::{Source, SourceError};
use crate::ingest::{Decoder, FeedContext, Format};
use crate::limits::{BLOCK_BYTES, EMERGENCY_CALLBACK_MS};
use crate::policy::{Action, Mode, Policy, Severity};

/// Spreads keys the same way in every replay.
const HASH_SEED: u64 = 0;
/// Blocks under way at once, per worker: enough that none waits for another's.
const BLOCKS_PER_WORKER: usize = 6;
/// What decoders say of an event. The rest of what an archive has is the engine's, which says it anew.
const DECODED: u16 =
    Flags::ANONYMOUS.0 | Flags::AUTH_FAILED.0 | Flags::EMERGENCY.0 | Flags::FUTURE.0 | Flags::B_RECORD.0;

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

/// Judges the events of the files in their order and writes the results to `out`. `format` is what `--input-format`
/// says; without it the name of each file tells.
pub fn replay(
    policy: Policy,
    context: FeedContext,
    format: Option<&str>,
    paths: Vec<PathBuf>,
    options: &Options,
    out: impl Write + Send + 'static,
) -> anyhow::Result<Outcome> {
    let started = Clock.monotonic();
    let names = Arc::clone(&context.names);
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
    let emit = {
        let report = Arc::clone(&report);
        Box::new(move |judged: &mut Judged| lock(&report).take(judged))
    };
    let n_threads = options.n_threads.max(1);
    let settings = Settings { n_threads, hash_seed: HASH_SEED, emergency_callback_ms: EMERGENCY_CALLBACK_MS };
    let engine = Engine::new(policy, Arc::clone(&names), settings, emit);
    let lane_options = LaneOptions { merge: options.merge, dedup: options.dedup, ..LaneOptions::default() };
    let filter = Filter {
        from: options.from,
        to: options.to,
        customer: options.customer.as_ref().and_then(|name| names.customer(name)),
    };
    let archives = Archives::open(&paths, options, &names)?;
    let mut input = Input {
        paths: if archives.is_some() { Vec::new() } else { paths }.into_iter(),
        format,
        context: Arc::new(context),
        lane: engine.lane(lane_options),
        spare: None,
        file: None,
        n_opened: 0,
        held: VecDeque::new(),
    };
    match (archives, options.sort) {
        (Some(archives), true) => submit_sorted(&mut input.lane, archives.collect::<anyhow::Result<Vec<Batch>>>()?),
        (Some(archives), false) => replay_archives(archives, &mut input.lane, n_threads)?,
        (None, true) => replay_sorted(input, &filter)?,
        (None, false) => replay_as_it_came(input, &filter, n_threads)?,
    }
    let latest = lock(&report).summary.last;
    if let Some(latest) = latest {
        engine.tick(latest);
    }
    drop(engine);
    let mut report = lock(&report);
    report.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome { events: report.summary.events, seconds, loudest: report.loudest })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The files, in order, and the lane their blocks go through.
struct Input<'a> {
    paths: std::vec::IntoIter<PathBuf>,
    format: Option<&'a str>,
    context: Arc<FeedContext>,
    lane: Lane,
    spare: Option<Vec<u8>>,
    file: Option<OpenFile>,
    n_opened: usize,
    /// Stateful decoders whose file has ended: what it left open may end in another file of the same format.
    held: VecDeque<(Format, Decoder)>,
}

struct OpenFile {
    path: PathBuf,
    format: Format,
    source: Source,
    /// Knows what the first block tells; workers decode with clones, unless it is stateful: then it decodes itself, in
    /// the order of the input, so that the number of workers changes nothing.
    decoder: Decoder,
    is_learned: bool,
}

/// A block and its place.
struct Block {
    bytes: Vec<u8>,
    ticket: Ticket,
    /// Which file it is of, so that a worker knows when it needs another decoder.
    file: usize,
}

impl Input<'_> {
    /// The next block; `None` at the end of the last file.
    fn next(&mut self) -> Result<Option<Block>, SourceError> {
        loop {
            if let Some(file) = &mut self.file {
                if let Some(spare) = self.spare.take() {
                    file.source.recycle(spare);
                }
                if let Some(bytes) = file.source.block()? {
                    if !file.is_learned {
                        file.decoder.learn(&bytes);
                        file.is_learned = true;
                        if let Some(problem) = file.decoder.problem() {
                            let (path, problem) = (file.path.clone(), problem.to_owned());
                            return Err(SourceError::Settings { path, problem });
                        }
                    }
                    return Ok(Some(Block { bytes, ticket: self.lane.ticket(), file: self.n_opened }));
                }
            }
            self.close_file();
            let Some(path) = self.paths.next() else { return Ok(None) };
            let format = Format::of_file(&path, self.format)?;
            let source = Source::open(&path, format.style())?;
            let format = if source.capture().is_some() { Format::Hep } else { format };
            let decoder = self.decoder(&format);
            self.file = Some(OpenFile { path, format, source, decoder, is_learned: false });
            self.n_opened += 1;
        }
    }

    /// Says what a capture held beside events: where something is missing, people should know.
    fn close_file(&mut self) {
        let Some(OpenFile { path, format, source, decoder, .. }) = self.file.take() else { return };
        if let Some(held) = source.capture() {
            eprintln!("{}: {held}", path.display());
        } else if source.is_broken() {
            eprintln!("{}: ends inside of a record, or nothing tells where the next one starts", path.display());
        }
        if decoder.is_stateful() {
            self.held.push_back((format, decoder));
        }
    }

    /// One that goes on where a file of this format ended, or a new one. All files of one dialect have one set of
    /// settings, so that the kind of the format is enough.
    fn decoder(&mut self, format: &Format) -> Decoder {
        let is_alike = |(held, _): &(Format, Decoder)| discriminant(held) == discriminant(format);
        match self.held.iter().position(is_alike).and_then(|at| self.held.remove(at)) {
            Some((_, mut decoder)) => {
                decoder.begin_file();
                decoder
            }
            None => Decoder::new(format, Arc::clone(&self.context)),
        }
    }

    /// Decodes a block here and now, where its decoder must see all blocks in order; gives it back where not.
    fn decode_in_order(&mut self, bytes: Vec<u8>, batch: &mut Batch) -> Option<Vec<u8>> {
        match &mut self.file {
            Some(file) if file.decoder.is_stateful() => {
                file.decoder.decode(bytes, None, batch);
                None
            }
            _ => Some(bytes),
        }
    }

    /// What the files left open, a format at a time, and its place behind all blocks; `None` once all is told.
    fn finish(&mut self, batch: &mut Batch) -> Option<Ticket> {
        let (_, mut decoder) = self.held.pop_front()?;
        decoder.finish(None, batch);
        Some(self.lane.ticket())
    }
}

/// `--from`, `--to`, `--customer`.
struct Filter {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    customer: Option<CustomerId>,
}

impl Filter {
    fn apply(&self, batch: &mut Batch) {
        if self.from.is_none() && self.to.is_none() && self.customer.is_none() {
            return;
        }
        batch.events.retain(|e| {
            self.from.is_none_or(|from| e.time >= from)
                && self.to.is_none_or(|to| e.time < to)
                && self.customer.is_none_or(|customer| e.customer == customer)
        });
    }
}

fn replay_as_it_came(input: Input<'_>, filter: &Filter, n_threads: usize) -> anyhow::Result<()> {
    let input = Mutex::new(input);
    let (give, take) = channel::bounded(n_threads * BLOCKS_PER_WORKER);
    // There is room for all of them.
    (0..n_threads * BLOCKS_PER_WORKER).for_each(|_| give.send(Batch::default()).unwrap_or_default());
    let worker = || -> anyhow::Result<()> {
        let mut decoder = None;
        let mut decodes = 0;
        // A batch is the permit to have one more block under way.
        while let Ok(mut batch) = take.recv() {
            let (ticket, apart) = {
                let mut input = lock(&input);
                input.spare = Some(std::mem::take(&mut batch.block));
                match input.next()? {
                    Some(block) => {
                        let apart = input.decode_in_order(block.bytes, &mut batch);
                        if apart.is_some() && decodes != block.file {
                            decoder = input.file.as_ref().map(|file| file.decoder.clone());
                            decodes = block.file;
                        }
                        (block.ticket, apart)
                    }
                    None => match input.finish(&mut batch) {
                        Some(ticket) => (ticket, None),
                        None => break,
                    },
                }
            };
            if let (Some(bytes), Some(decoder)) = (apart, &mut decoder) {
                decoder.decode(bytes, None, &mut batch);
            }
            filter.apply(&mut batch);
            let give = give.clone();
            ticket.submit(batch, Some(Box::new(move |judged: Judged| drop(give.send(judged.batch)))));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked"))))
    })
}

/// All events at once, ordered by time. Costs the memory of the whole input.
fn replay_sorted(mut input: Input<'_>, filter: &Filter) -> anyhow::Result<()> {
    let mut batches = Vec::new();
    loop {
        let mut batch = Batch::default();
        let ticket = match (input.next()?, &mut input.file) {
            (Some(Block { bytes, ticket, .. }), Some(file)) => {
                file.decoder.decode(bytes, None, &mut batch);
                ticket
            }
            _ => match input.finish(&mut batch) {
                Some(ticket) => ticket,
                None => break,
            },
        };
        filter.apply(&mut batch);
        // Rejects are told in the place they came from; the events follow below.
        let rejects = std::mem::take(&mut batch.rejects);
        ticket.submit(Batch { rejects, ..Batch::default() }, None);
        batches.push(batch);
    }
    submit_sorted(&mut input.lane, batches);
    Ok(())
}

fn submit_sorted(lane: &mut Lane, batches: Vec<Batch>) {
    let mut order: Vec<(Timestamp, u32, u32)> = Vec::new();
    for (b, batch) in batches.iter().enumerate() {
        order.extend(batch.events.iter().enumerate().map(|(e, event)| (event.time, b as u32, e as u32)));
    }
    order.sort_unstable();
    for part in order.chunks(1024) {
        let mut batch = Batch::default();
        for (_, b, e) in part {
            let from = &batches[*b as usize];
            batch.adopt(from, &from.events[*e as usize]);
        }
        lane.ticket().submit(batch, None);
    }
}

/// The events of archives, one archive after the other, each in the order in which they came.
struct Archives(std::iter::Flatten<std::vec::IntoIter<Events>>);

impl Archives {
    /// `None` where no archive is among the paths.
    fn open(paths: &[PathBuf], options: &Options, names: &Arc<Names>) -> anyhow::Result<Option<Archives>> {
        let n_archives = paths.iter().filter(|path| Archive::is_at(path)).count();
        anyhow::ensure!(
            n_archives == 0 || n_archives == paths.len(),
            "an archive and other files cannot be replayed together: one knows the order of its events, the others do not"
        );
        if n_archives == 0 {
            return Ok(None);
        }
        let query = Query {
            from: options.from,
            to: options.to,
            customers: options.customer.iter().cloned().collect(),
            n_threads: options.n_threads,
            ..Query::default()
        };
        let open = |path: &PathBuf| Ok(Archive::read(path)?.events(&query, Arc::clone(names)));
        let events = paths.iter().map(open).collect::<anyhow::Result<Vec<Events>>>()?;
        Ok(Some(Archives(events.into_iter().flatten())))
    }
}

impl Iterator for Archives {
    type Item = anyhow::Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let slice = match self.0.next()? {
            Ok(slice) => slice,
            Err(error) => return Some(Err(error.into())),
        };
        let mut batch = slice.batch;
        batch.events.iter_mut().for_each(|event| event.flags.0 &= DECODED);
        Some(Ok(batch))
    }
}

/// Judges the events of archives on all threads; decoding has threads of its own.
fn replay_archives(archives: Archives, lane: &mut Lane, n_threads: usize) -> anyhow::Result<()> {
    let input = Mutex::new((archives, lane));
    let (give, take) = channel::bounded(n_threads * BLOCKS_PER_WORKER);
    for _ in 0..n_threads * BLOCKS_PER_WORKER {
        give.send(Batch::default())?;
    }
    let worker = || -> anyhow::Result<()> {
        // As above: a batch that comes back is the permit for another.
        while take.recv().is_ok() {
            let (batch, ticket) = {
                let mut input = lock(&input);
                let Some(batch) = input.0.next() else { break };
                (batch?, input.1.ticket())
            };
            let give = give.clone();
            ticket.submit(batch, Some(Box::new(move |judged: Judged| drop(give.send(judged.batch)))));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked"))))
    })
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

/// `--output summary`.
struct Summary {
    events: u64,
    attempts: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    rejects: BTreeMap<&'static str, u64>,
    duplicates: u64,
    verdicts: [u64; Action::ALL.len()],
    firewall: Vec<RuleSummary>,
    thresholds: Vec<RuleSummary>,
}

#[derive(Clone, Copy, Debug, Default)]
struct RuleSummary {
    matched: u64,
    late: u64,
    too_late: u64,
    warning: u64,
    critical: u64,
    keys: i64,
    evicted: u64,
}

impl RuleSummary {
    fn add(&mut self, other: &RuleSummary) {
        self.matched += other.matched;
        self.late += other.late;
        self.too_late += other.too_late;
        self.warning += other.warning;
        self.critical += other.critical;
        self.keys += other.keys;
        self.evicted += other.evicted;
    }
}

impl Summary {
    fn new(policy: &Policy) -> Summary {
        Summary {
            events: 0,
            attempts: 0,
            first: None,
            last: None,
            rejects: BTreeMap::new(),
            duplicates: 0,
            verdicts: [0; Action::ALL.len()],
            firewall: vec![RuleSummary::default(); policy.firewall.len()],
            thresholds: vec![RuleSummary::default(); policy.thresholds.len()],
        }
    }

    fn rule(&mut self, rule: RuleRef) -> Option<&mut RuleSummary> {
        match rule {
            RuleRef::Firewall(i) => self.firewall.get_mut(i as usize),
            RuleRef::Threshold(i) => self.thresholds.get_mut(i as usize),
            RuleRef::Default | RuleRef::Emergency => None,
        }
    }

    fn add(&mut self, judged: &Judged, whole: bool) {
        self.events += judged.batch.events.len() as u64;
        let last = judged.batch.events.iter().map(|e| e.time).max();
        self.last = self.last.max(last);
        if !whole {
            return;
        }
        let starts = |e: &&CallEvent| matches!(e.kind, Kind::Attempt | Kind::Cdr);
        self.attempts += judged.batch.events.iter().filter(starts).count() as u64;
        let first = judged.batch.events.iter().map(|e| e.time).min();
        self.first = [self.first, first].into_iter().flatten().min();
        for reject in &judged.batch.rejects {
            *self.rejects.entry(reject.reason.as_str()).or_default() += 1;
        }
        self.duplicates += u64::from(judged.duplicates);
        for verdict in &judged.verdicts {
            self.verdicts[verdict.action as usize] += 1;
        }
        for (rule, matched) in self.firewall.iter_mut().zip(&judged.counts.firewall) {
            rule.matched += u64::from(*matched);
        }
        for counts in &judged.counts.rules {
            let is_threshold = matches!(counts.rule, RuleRef::Threshold(_));
            if let Some(rule) = self.rule(counts.rule) {
                if is_threshold {
                    rule.matched += counts.counted;
                    rule.late += counts.late;
                    rule.too_late += counts.too_late;
                }
                rule.keys += counts.keys;
                rule.evicted += counts.evicted;
            }
        }
        for violation in &judged.violations {
            if let Some(rule) = self.rule(violation.rule) {
                match violation.level {
                    Severity::Warning => rule.warning += 1,
                    Severity::Critical => rule.critical += 1,
                }
            }
        }
    }

    fn to_json(&self, policy: &Policy) -> serde_json::Value {
        let verdicts: serde_json::Map<String, serde_json::Value> = Action::ALL
            .iter()
            .filter(|action| **action != Action::Flag)
            .map(|action| (action.as_str().to_owned(), self.verdicts[*action as usize].into()))
            .collect();
        let rules = self.firewall.iter().enumerate().map(|(i, r)| (RuleRef::Firewall(i as u16), r));
        let rules = rules.chain(self.thresholds.iter().enumerate().map(|(i, r)| (RuleRef::Threshold(i as u16), r)));
        // A rule and its variants for customers are one rule to people.
        let mut by_id: Vec<(&str, RuleSummary)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (rule, counts) in rules {
            let id = output::rule_id(policy, rule);
            let place = *places.entry(id).or_insert_with(|| {
                by_id.push((id, RuleSummary::default()));
                by_id.len() - 1
            });
            by_id[place].1.add(counts);
        }
        let mut told = serde_json::Map::new();
        for (id, counts) in by_id {
            told.insert(
                id.to_owned(),
                serde_json::json!({
                    "matched": counts.matched,
                    "warning": counts.warning,
                    "critical": counts.critical,
                    "keys": counts.keys,
                    "evicted": counts.evicted,
                }),
            );
        }
        let sum = |of: fn(&RuleSummary) -> u64| -> u64 { self.thresholds.iter().map(of).sum() };
        serde_json::json!({
            "events": self.events,
            "attempts": self.attempts,
            "first": self.first.map(|t| t.to_string()),
            "last": self.last.map(|t| t.to_string()),
            "rejects": self.rejects,
            "late": sum(|r| r.late),
            "too_late": sum(|r| r.too_late),
            "duplicates": self.duplicates,
            "verdicts": verdicts,
            "rules": told,
        })
    }
}
