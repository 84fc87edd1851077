//! What a restart does before anybody is let in: the newest snapshot that is whole, and the journal behind it, through the
//! very engine that will go on from there.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Context as _;

use super::calls::Calls;
use crate::archive::Archive;
use crate::engine::{Engine, Lane, Quiet, Recorded, Restored, RuleRef, Ticket, Verdict};
use crate::event::GatewayId;
use crate::ingest::{CallRecovery, CallTable};
use crate::journal::{Context, Cut, Entry, RawRecord, Reader, Record, Report, Start};
use crate::policy::Policy;
use crate::snapshot::{self, Section, SnapshotReader};
use crate::storage::Disk;

/// Where the state stands after a restart.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// The last record that is in the state, and the position of the event that comes next.
    pub(super) record: u64,
    pub(super) next_position: u64,
    /// Highest `seq` by gateway.
    pub(super) ledger: HashMap<GatewayId, u64>,
    /// The snapshot it began from, and what came behind it.
    pub(super) snapshot: Option<PathBuf>,
    pub(super) n_events: u64,
    /// Ids of customers and gateways that were met are below these.
    pub(super) n_names: (usize, usize),
    /// A torn end of the journal, to be cut off.
    pub(super) cut: Option<Cut>,
    /// What became of the rules.
    pub(super) rules: Restored,
    /// What was wrong, for people.
    pub(super) problems: Vec<String>,
}

impl Recovered {
    /// The archive must not know what the journal does not: were a journal to begin anew beside it, records of the same
    /// numbers would be taken for archived.
    pub(super) fn go_behind(&mut self, archive: &Archive) {
        if archive.reached() <= self.record + 1 {
            return;
        }
        let (known, told) = (self.record, archive.reached() - 1);
        self.problems.push(format!(
            "journal and snapshots end at record {known}, and the archive has {told}: what the windows knew since then is gone; restore a backup, or go on without"
        ));
        self.record = told;
        self.next_position = self.next_position.max(archive.next_position());
    }

    /// Where the journal goes on.
    pub(super) fn into_start(self) -> Start {
        let Recovered { record, next_position, ledger, cut, .. } = self;
        Start { last_record: record, next_position, ledger, cut }
    }
}

/// The call tables that are put together again, each by the name of the feed that was the first to use it.
pub(super) struct Tables {
    names: HashMap<String, usize>,
    recoveries: Vec<Mutex<CallRecovery>>,
}

impl Tables {
    pub(super) fn new(calls: &Calls) -> Tables {
        let recovery = |table: &Arc<CallTable>| Mutex::new(CallRecovery::new(Arc::clone(table)));
        Tables { names: calls.of_feed.clone(), recoveries: calls.tables.iter().map(|(_, t)| recovery(t)).collect() }
    }

    /// They are used from now on.
    pub(super) fn finish(self) {
        for recovery in self.recoveries {
            recovery.into_inner().unwrap_or_else(|e| e.into_inner()).finish();
        }
    }

    /// A feed that is gone from the settings has no calls any more.
    fn of(&self, feed: &str) -> Option<std::sync::MutexGuard<'_, CallRecovery>> {
        let recovery = self.recoveries.get(*self.names.get(feed)?)?;
        Some(recovery.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

/// Restores the newest snapshot that can be used. `fresh` makes an engine that holds nothing: one into which a damaged
/// snapshot was read half-way is of no use.
pub(super) fn restore_snapshot(
    disk: &Disk,
    folder: &Path,
    mut fresh: impl FnMut() -> (Engine, Calls),
) -> anyhow::Result<(Engine, Calls, Tables, Recovered)> {
    let mut recovered = Recovered { next_position: 1, ..Recovered::default() };
    let snapshots = snapshot::list(disk, folder).context("cannot list the snapshots")?;
    for (_, path) in snapshots {
        let (engine, calls) = fresh();
        let tables = Tables::new(&calls);
        match read_snapshot(disk, &path, &engine, &tables) {
            Ok((cut, restored)) => {
                recovered.record = cut.record;
                recovered.next_position = cut.next_position;
                recovered.ledger = cut.ledger.iter().map(|(gateway, seq)| (GatewayId(*gateway), *seq)).collect();
                recovered.snapshot = Some(path);
                recovered.rules = restored;
                return Ok((engine, calls, tables, recovered));
            }
            Err(problem) => {
                recovered.problems.push(format!("{problem:#}; an older snapshot is used, or the journal alone"));
            }
        }
    }
    let (engine, calls) = fresh();
    let tables = Tables::new(&calls);
    Ok((engine, calls, tables, recovered))
}

fn read_snapshot(
    disk: &Disk,
    path: &Path,
    engine: &Engine,
    tables: &Tables,
) -> anyhow::Result<(snapshot::Cut, Restored)> {
    let (mut reader, cut) = SnapshotReader::open(disk, path)?;
    let mut failed = None;
    let pieces = std::iter::from_fn(|| {
        loop {
            let read = match reader.next() {
                Ok(Some((Section::Engine, bytes))) => return Some(Ok(bytes)),
                Ok(Some((Section::Calls, bytes))) => restore_calls(tables, &bytes),
                Ok(Some(_)) => Ok(()),
                Ok(None) => return None,
                Err(problem) => Err(problem.into()),
            };
            if let Err(problem) = read {
                failed = Some(problem);
                return Some(Err(io::Error::other("cut short")));
            }
        }
    });
    let restored = engine.restore(pieces);
    match failed {
        Some(problem) => Err(problem),
        None => Ok((cut, restored.with_context(|| format!("snapshot `{}`", path.display()))?)),
    }
}

/// A part of one table: the feed by whose name the table is known, the part, its state.
fn restore_calls(tables: &Tables, bytes: &[u8]) -> anyhow::Result<()> {
    let (name_bytes, rest) = bytes.split_first().context("a part of a call table is empty")?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_bytes)).context("a part of a call table is cut")?;
    let (part, state) = rest.split_first().context("a part of a call table is cut")?;
    let name = std::str::from_utf8(name).context("a part of a call table has no name")?;
    match tables.of(name) {
        Some(mut table) => {
            table.restore_part(usize::from(*part), state).with_context(|| format!("calls of feed `{name}`"))
        }
        None => Ok(()),
    }
}

/// Runs the journal behind the snapshot through the engine.
pub(super) fn replay_tail(
    disk: &Disk,
    folder: &Path,
    engine: &Engine,
    tables: &Tables,
    n_threads: usize,
    recovered: &mut Recovered,
) -> anyhow::Result<()> {
    let reader = Reader::open(disk, folder, recovered.record + 1..=u64::MAX)?;
    let tail = Mutex::new(Tail { reader, lane: engine.lane(Default::default()), mapping: None });
    let rules = recovered.rules.clone();
    let done: Vec<anyhow::Result<Worker>> = thread::scope(|scope| {
        let work = || -> anyhow::Result<Worker> {
            let mut worker = Worker::default();
            loop {
                let next = tail.lock().unwrap_or_else(|e| e.into_inner()).next(engine, &rules)?;
                let Some((raw, ticket, mapping)) = next else { return Ok(worker) };
                worker.take(raw.decode()?, ticket, &mapping, tables)?;
            }
        };
        let workers: Vec<_> = (0..n_threads.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|w| w.join());
        joined.map(|done| done.unwrap_or_else(|_| Err(anyhow::anyhow!("recovery panicked")))).collect()
    });
    for worker in done {
        let worker = worker.context("cannot read the journal")?;
        recovered.n_events += worker.n_events;
        let (customers, gateways) = recovered.n_names;
        recovered.n_names = (customers.max(worker.n_names.0), gateways.max(worker.n_names.1));
        for (gateway, seq) in worker.ledger {
            let known = recovered.ledger.entry(gateway).or_default();
            *known = seq.max(*known);
        }
    }
    let tail = tail.into_inner().unwrap_or_else(|e| e.into_inner());
    let report = tail.reader.report().clone();
    recovered.record = recovered.record.max(report.last_record);
    recovered.next_position = recovered.next_position.max(report.next_position);
    recovered.problems.extend(told(&report));
    recovered.cut = report.cut;
    Ok(())
}

/// What workers share: records are handed out in their order, each with its place in the engine's.
struct Tail {
    reader: Reader,
    lane: Lane,
    mapping: Option<(Arc<Context>, Arc<Mapping>)>,
}

impl Tail {
    fn next(&mut self, engine: &Engine, rules: &Restored) -> anyhow::Result<Option<(RawRecord, Ticket, Arc<Mapping>)>> {
        let Some(raw) = self.reader.next_raw().transpose()? else { return Ok(None) };
        let mapping = match &self.mapping {
            Some((context, mapping)) if Arc::ptr_eq(context, &raw.context) => Arc::clone(mapping),
            _ => {
                let mapping = Arc::new(Mapping::of_tail(&raw.context, engine, rules));
                self.mapping = Some((Arc::clone(&raw.context), Arc::clone(&mapping)));
                mapping
            }
        };
        Ok(Some((raw, self.lane.ticket(), mapping)))
    }
}

/// What one thread has read.
#[derive(Default)]
struct Worker {
    n_events: u64,
    n_names: (usize, usize),
    ledger: HashMap<GatewayId, u64>,
}

impl Worker {
    fn take(&mut self, record: Record, ticket: Ticket, mapping: &Mapping, tables: &Tables) -> anyhow::Result<()> {
        let Record { number, context, entry } = record;
        let (position, options, batch, verdicts, flags, tracked) = match entry {
            Entry::Tick(at) => {
                ticket.tick(at);
                return Ok(());
            }
            Entry::Batch { position, options, batch, verdicts, flags, tracked } => {
                (position, options, batch, verdicts, flags, tracked)
            }
        };
        let source = batch.source;
        if source.highest_seq > 0 {
            let known = self.ledger.entry(source.gateway).or_default();
            *known = source.highest_seq.max(*known);
        }
        if !batch.annex.is_empty()
            && let Some(feed) = context.feeds.get(usize::from(source.feed))
            && let Some(mut table) = tables.of(feed)
        {
            table.apply(&batch.annex).with_context(|| format!("record {number}: calls of feed `{feed}`"))?;
        }
        self.n_events += batch.events.len() as u64;
        for event in &batch.events {
            let (customers, gateways) = &mut self.n_names;
            *customers = (event.customer.0 as usize + 1).max(*customers);
            *gateways = (event.gateway.0 as usize + 1).max(*gateways);
        }
        let recorded = Recorded {
            verdicts: verdicts.into_iter().map(|verdict| mapping.verdict(verdict)).collect(),
            flags: mapping.rules(flags),
            tracked: mapping.rules(tracked),
            record: number,
            position,
            quiet: mapping.quiet.clone(),
        };
        ticket.submit_recorded(batch, options, recorded);
        Ok(())
    }
}

/// Rules of then by their numbers of now: files may have changed in between.
pub(super) struct Mapping {
    firewall: Vec<Option<u16>>,
    /// Rules that were not there then, as they are now.
    quiet: Quiet,
}

impl Mapping {
    pub(super) fn new(context: &Context, policy: &Policy) -> Mapping {
        // Of a rule and its variants, the first: which of them judges an event, the engine knows.
        let mut now: HashMap<&str, u16> = HashMap::new();
        for (rule, n) in policy.firewall.iter().zip(0..) {
            now.entry(rule.id.as_str()).or_insert(n);
        }
        let firewall = context.firewall.iter().map(|id| now.get(id.as_str()).copied()).collect();
        Mapping { firewall, quiet: Quiet::default() }
    }

    /// Of records that other rules judged, none that is new or changed may raise an alarm.
    fn of_tail(context: &Context, engine: &Engine, rules: &Restored) -> Mapping {
        let policy = &engine.policy();
        let was_there = |rule: RuleRef| {
            let known = match rule {
                RuleRef::Threshold(i) => policy.thresholds.get(usize::from(i)),
                // Those count what the record says that they met.
                _ => return true,
            };
            let begins_anew = rules.new.contains(&rule) || rules.changed.contains(&rule);
            let mut ids = known.into_iter().flat_map(|rule| [Some(&rule.id), rule.renamed_from.as_ref()]).flatten();
            !begins_anew && ids.any(|id| context.thresholds.contains(id))
        };
        let is_of_now = context.policy_version == policy.version;
        let quiet = if is_of_now { Quiet::default() } else { engine.quiet(|rule| !was_there(rule)) };
        Mapping { quiet, ..Mapping::new(context, policy) }
    }

    fn rule(&self, number: u16) -> Option<u16> {
        self.firewall.get(usize::from(number)).copied().flatten()
    }

    /// The action stands, whatever became of the rule.
    pub(super) fn verdict(&self, verdict: Verdict) -> Verdict {
        match verdict.rule {
            RuleRef::Firewall(number) => {
                Verdict { rule: self.rule(number).map_or(RuleRef::Default, RuleRef::Firewall), ..verdict }
            }
            _ => verdict,
        }
    }

    fn rules(&self, of_events: Vec<(u32, u16)>) -> Vec<(u32, u16)> {
        of_events.into_iter().filter_map(|(event, number)| Some((event, self.rule(number)?))).collect()
    }
}

/// What was wrong with the journal, a sentence each.
fn told(report: &Report) -> Vec<String> {
    let mut told = Vec::new();
    if report.n_mended > 0 {
        told.push(format!("journal: {} flipped bits were found and mended", report.n_mended));
    }
    for damage in &report.damages {
        let (path, bytes) = (damage.segment.display(), &damage.bytes);
        told.push(format!("journal {path}: bytes {} to {} are damaged and cannot be mended", bytes.start, bytes.end));
    }
    for lost in &report.lost {
        let (records, positions) = (&lost.records, &lost.positions);
        told.push(format!(
            "journal: records {} to {} are gone, with the events {} to {}; restore them from a backup, or have the gateways send them again",
            records.start,
            records.end.saturating_sub(1),
            positions.start,
            positions.end.saturating_sub(1),
        ));
    }
    if let Some(cut) = &report.cut {
        let (path, n) = (cut.segment.display(), cut.bytes);
        told.push(format!(
            "journal {path}: the last {n} bytes are no whole record and are cut off: they were being written when the process ended, and were not acknowledged, unless the file was damaged since"
        ));
    }
    told
}
