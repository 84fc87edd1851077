//! The files of a replay, block by block, decoded once and judged by one engine or by several.
//!
//! Workers take the next block of the input in turn, decode it and submit it to the first engine; what that one is done
//! with goes to the next. What all of them said of a block is handed on in the order of the input, whatever the number
//! of workers.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam::channel::{self, Receiver, Sender};

use super::labels::{Label, Labels};
use super::progress::Progress;
use super::{Options, lock};
use crate::archive::{Archive, Events, Query};
use crate::clock::Timestamp;
use crate::engine::{Engine, Judged, Lane, LaneOptions, Ticket};
use crate::event::{Batch, CustomerId, Flags, Names};
use crate::ingest::source::{Source, SourceError};
use crate::ingest::{Decoder, FeedContext, Format};

/// Blocks under way at once, per worker: enough that none waits for another's.
const BLOCKS_PER_WORKER: usize = 6;
/// What decoders say of an event. The rest of what an archive has is the engine's, which says it anew.
const DECODED: u16 =
    Flags::ANONYMOUS.0 | Flags::AUTH_FAILED.0 | Flags::EMERGENCY.0 | Flags::FUTURE.0 | Flags::B_RECORD.0;

/// What every engine said of one block.
pub(super) struct Told {
    /// An engine each, in their order. Only the last has the batch.
    pub(super) judged: Vec<Judged>,
    /// What every engine but the last made of the flags of the events.
    pub(super) flags: Vec<Vec<Flags>>,
    /// One an event, where labels are read; else empty.
    pub(super) labels: Vec<Label>,
    /// From before the time that is reported: it fills windows.
    pub(super) is_warm: bool,
    permit: Option<Permit>,
}

/// Called with every block, in the order of the input.
pub(super) type Take = Box<dyn Fn(&mut Told) + Send + Sync>;

/// Where what was judged goes.
struct After {
    take: Take,
    /// Time of the latest event.
    latest: AtomicI64,
}

/// To have one more block under way. Comes back when the block is told of, or lost to a panic.
struct Permit {
    give: Sender<Batch>,
    batch: Batch,
}

impl Drop for Permit {
    fn drop(&mut self) {
        drop(self.give.send(std::mem::take(&mut self.batch)));
    }
}

/// What to read.
pub(super) struct Reader<'a> {
    pub(super) context: FeedContext,
    /// What `--input-format` says.
    pub(super) format: Option<String>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) options: &'a Options,
    /// Read beside the events.
    pub(super) labels: Option<Arc<Labels>>,
    /// How long before `--from` events are counted.
    pub(super) warm_ms: i64,
    /// Results are printed while it is read.
    pub(super) has_lines: bool,
}

impl Reader<'_> {
    /// Judges all of it; the engines' own ticks are at the end, at the time of the latest event.
    pub(super) fn judge(self, engines: &[Engine], take: Take) -> anyhow::Result<()> {
        let Reader { context, format, paths, options, labels, warm_ms, has_lines } = self;
        let names = Arc::clone(&context.names);
        let n_threads = options.n_threads.max(1);
        let lane_options = LaneOptions { merge: options.merge, dedup: options.dedup, ..LaneOptions::default() };
        let filter = Filter {
            from: options.from.map(|from| from.minus_ms(warm_ms)),
            to: options.to,
            customer: options.customer.as_ref().and_then(|name| names.customer(name)),
        };
        let archives = Archives::open(&paths, options, filter.from, &names)?;
        anyhow::ensure!(
            archives.is_none() || labels.is_none(),
            "an archive has no labels: give the files it was made of"
        );
        let paths = if archives.is_some() { Vec::new() } else { paths };
        let after = Arc::new(After { take, latest: AtomicI64::new(i64::MIN) });
        let mut input = Input {
            progress: Progress::new(&paths, has_lines),
            paths: paths.into_iter(),
            format,
            context: Arc::new(context),
            lanes: engines.iter().map(|engine| engine.lane(lane_options)).collect(),
            from: options.from,
            column: labels.as_ref().map(|labels| labels.field().to_owned()),
            spare: None,
            file: None,
            n_opened: 0,
            held: VecDeque::new(),
        };
        let desk = Desk { filter, from: options.from, labels, after: Arc::clone(&after) };
        match (archives, options.sort) {
            (Some(archives), true) => {
                let read = archives.map(|batch| batch.map(|batch| (batch, Vec::new())));
                let batches = read.collect::<anyhow::Result<Vec<_>>>()?;
                desk.submit_sorted(&mut input, batches);
            }
            (Some(archives), false) => desk.judge_archives(archives, &mut input, n_threads)?,
            (None, true) => desk.judge_sorted(&mut input)?,
            (None, false) => desk.judge_as_it_came(&mut input, n_threads)?,
        }
        // Lanes end, so that nothing waits behind them.
        drop(input);
        let latest = after.latest.load(Ordering::SeqCst);
        if latest > i64::MIN {
            engines.iter().for_each(|engine| engine.tick(Timestamp(latest)));
        }
        Ok(())
    }
}

/// The files, in order, and the lanes their blocks go through.
struct Input {
    paths: std::vec::IntoIter<PathBuf>,
    format: Option<String>,
    context: Arc<FeedContext>,
    /// An engine each.
    lanes: Vec<Lane>,
    /// Where the time begins that is reported.
    from: Option<Timestamp>,
    /// Of labels, where they are asked for.
    column: Option<String>,
    spare: Option<Vec<u8>>,
    file: Option<OpenFile>,
    n_opened: usize,
    /// Stateful decoders whose file has ended: what it left open may end in another file of the same format.
    held: VecDeque<(Format, Decoder)>,
    progress: Option<Progress>,
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

/// A block and its places.
struct Block {
    bytes: Vec<u8>,
    places: Places,
    /// Which file it is of, so that a worker knows when it needs another decoder.
    file: usize,
}

/// The places of a block in the order of every engine.
struct Places {
    /// Of its events from before the time that is reported; none where all of it is.
    warm: VecDeque<Ticket>,
    own: VecDeque<Ticket>,
}

impl Input {
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
                    if let Some(progress) = &mut self.progress {
                        progress.read(bytes.len());
                    }
                    return Ok(Some(Block { bytes, places: self.places(), file: self.n_opened }));
                }
            }
            self.close_file();
            let Some(path) = self.paths.next() else { return Ok(None) };
            let format = Format::of_file(&path, self.format.as_deref())?;
            let source = Source::open(&path, format.style())?;
            let format = if source.capture().is_some() { Format::Hep } else { format };
            let decoder = self.decoder(&format);
            self.file = Some(OpenFile { path, format, source, decoder, is_learned: false });
            self.n_opened += 1;
        }
    }

    fn places(&mut self) -> Places {
        let warm = self.from.map(|_| self.lanes.iter_mut().map(Lane::ticket).collect()).unwrap_or_default();
        Places { warm, own: self.lanes.iter_mut().map(Lane::ticket).collect() }
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
            None => {
                let mut decoder = Decoder::new(format, Arc::clone(&self.context));
                if let Some(column) = &self.column {
                    decoder.note(column);
                }
                decoder
            }
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

    /// What the files left open, a format at a time, and its places behind all blocks; `None` once all is told.
    fn finish(&mut self, batch: &mut Batch) -> Option<Places> {
        let (_, mut decoder) = self.held.pop_front()?;
        decoder.finish(None, batch);
        Some(self.places())
    }
}

/// `--from`, less what fills windows, `--to`, `--customer`.
struct Filter {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    customer: Option<CustomerId>,
}

impl Filter {
    fn apply(&self, batch: &mut Batch, labels: &mut Vec<Label>) {
        if self.from.is_none() && self.to.is_none() && self.customer.is_none() {
            return;
        }
        let mut of_event = labels.iter().copied();
        let mut kept = Vec::with_capacity(labels.len());
        batch.events.retain(|e| {
            let label = of_event.next();
            let is_wanted = self.from.is_none_or(|from| e.time >= from)
                && self.to.is_none_or(|to| e.time < to)
                && self.customer.is_none_or(|customer| e.customer == customer);
            kept.extend(label.filter(|_| is_wanted));
            is_wanted
        });
        *labels = kept;
    }
}

/// Takes blocks in and hands them to the engines.
struct Desk {
    filter: Filter,
    from: Option<Timestamp>,
    labels: Option<Arc<Labels>>,
    after: Arc<After>,
}

impl Desk {
    fn judge_as_it_came(&self, input: &mut Input, n_threads: usize) -> anyhow::Result<()> {
        let input = Mutex::new(input);
        let (give, take) = permits(n_threads)?;
        let worker = || -> anyhow::Result<()> {
            let mut decoder: Option<(usize, Decoder)> = None;
            // A batch is the permit to have one more block under way.
            while let Ok(mut batch) = take.recv() {
                let mut labels = Vec::new();
                let (places, apart) = {
                    let mut input = lock(&input);
                    input.spare = Some(std::mem::take(&mut batch.block));
                    match input.next()? {
                        Some(block) => {
                            self.check_labels(input.file.as_ref())?;
                            let apart = input.decode_in_order(block.bytes, &mut batch);
                            if apart.is_some() && decoder.as_ref().is_none_or(|(file, _)| *file != block.file) {
                                decoder = input.file.as_ref().map(|file| (block.file, file.decoder.clone()));
                            }
                            (block.places, apart)
                        }
                        None => match input.finish(&mut batch) {
                            Some(places) => (places, None),
                            None => break,
                        },
                    }
                };
                if let (Some(bytes), Some((_, decoder))) = (apart, &mut decoder) {
                    labels = self.decode(decoder, bytes, &mut batch);
                }
                self.submit(places, batch, labels, Some(&give));
            }
            Ok(())
        };
        on_threads(n_threads, worker)
    }

    /// All events at once, ordered by time. Costs the memory of the whole input.
    fn judge_sorted(&self, input: &mut Input) -> anyhow::Result<()> {
        let mut batches = Vec::new();
        loop {
            let (mut batch, mut labels) = (Batch::default(), Vec::new());
            let block = input.next()?;
            self.check_labels(input.file.as_ref())?;
            let places = match (block, &mut input.file) {
                (Some(Block { bytes, places, .. }), Some(file)) => {
                    labels = self.decode(&mut file.decoder, bytes, &mut batch);
                    places
                }
                _ => match input.finish(&mut batch) {
                    Some(places) => places,
                    None => break,
                },
            };
            self.filter.apply(&mut batch, &mut labels);
            // Rejects are told in the place they came from; the events follow below.
            let rejects = std::mem::take(&mut batch.rejects);
            self.submit(places, Batch { rejects, ..Batch::default() }, Vec::new(), None);
            batches.push((batch, labels));
        }
        self.submit_sorted(input, batches);
        Ok(())
    }

    fn submit_sorted(&self, input: &mut Input, batches: Vec<(Batch, Vec<Label>)>) {
        let mut order: Vec<(Timestamp, u32, u32)> = Vec::new();
        for (b, (batch, _)) in batches.iter().enumerate() {
            order.extend(batch.events.iter().enumerate().map(|(e, event)| (event.time, b as u32, e as u32)));
        }
        order.sort_unstable();
        for part in order.chunks(1024) {
            let (mut batch, mut labels) = (Batch::default(), Vec::new());
            for (_, b, e) in part {
                let (from, from_labels) = &batches[*b as usize];
                batch.adopt(from, &from.events[*e as usize]);
                labels.extend(from_labels.get(*e as usize).copied());
            }
            let places = input.places();
            self.submit(places, batch, labels, None);
        }
    }

    /// Judges the events of archives on all threads; decoding has threads of its own.
    fn judge_archives(&self, archives: Archives, input: &mut Input, n_threads: usize) -> anyhow::Result<()> {
        let input = Mutex::new((archives, input));
        let (give, take) = permits(n_threads)?;
        let worker = || -> anyhow::Result<()> {
            // As above: a batch that comes back is the permit for another.
            while take.recv().is_ok() {
                let (batch, places) = {
                    let mut input = lock(&input);
                    let Some(batch) = input.0.next() else { break };
                    (batch?, input.1.places())
                };
                self.submit(places, batch, Vec::new(), Some(&give));
            }
            Ok(())
        };
        on_threads(n_threads, worker)
    }

    /// Whether the file can tell labels, where they are asked for.
    fn check_labels(&self, file: Option<&OpenFile>) -> anyhow::Result<()> {
        match (&self.labels, file) {
            (Some(labels), Some(file)) => labels.check(&file.format, file.decoder.is_stateful(), &file.path),
            _ => Ok(()),
        }
    }

    fn decode(&self, decoder: &mut Decoder, bytes: Vec<u8>, batch: &mut Batch) -> Vec<Label> {
        let Some(labels) = &self.labels else {
            decoder.decode(bytes, None, batch);
            return Vec::new();
        };
        if decoder.notes() {
            decoder.decode(bytes, None, batch);
            return labels.of_cells(&decoder.take_noted());
        }
        let lines = labels.of_lines(&bytes);
        decoder.decode(bytes, None, batch);
        Labels::of_events(&lines, batch)
    }

    /// Hands a block to the engines: what comes before the time that is reported, then the rest. Where both are in one
    /// block, the earlier events go first; what fills windows has no other order than its time.
    fn submit(&self, places: Places, mut batch: Batch, mut labels: Vec<Label>, give: Option<&Sender<Batch>>) {
        self.filter.apply(&mut batch, &mut labels);
        let Places { warm, own } = places;
        if let Some(from) = self.from
            && batch.events.iter().any(|event| event.time < from)
        {
            let (early, early_labels) = split_off(&mut batch, &mut labels, from);
            self.pass(warm, early, early_labels, true, None);
        }
        self.pass(own, batch, labels, false, give);
    }

    fn pass(
        &self,
        tickets: VecDeque<Ticket>,
        batch: Batch,
        labels: Vec<Label>,
        is_warm: bool,
        give: Option<&Sender<Batch>>,
    ) {
        if let Some(latest) = batch.events.iter().map(|event| event.time.0).max() {
            self.after.latest.fetch_max(latest, Ordering::SeqCst);
        }
        let permit = give.map(|give| Permit { give: give.clone(), batch: Batch::default() });
        let told = Told { judged: Vec::with_capacity(tickets.len()), flags: Vec::new(), labels, is_warm, permit };
        pass(tickets, batch, told, Arc::clone(&self.after));
    }
}

/// One engine after the other. Results come in their order, so that what is behind one of them is in order too.
fn pass(mut tickets: VecDeque<Ticket>, batch: Batch, mut told: Told, after: Arc<After>) {
    let Some(ticket) = tickets.pop_front() else { return };
    let done = move |mut judged: Judged| {
        if tickets.is_empty() {
            told.judged.push(judged);
            (after.take)(&mut told);
            if let (Some(permit), Some(last)) = (&mut told.permit, told.judged.pop()) {
                permit.batch = last.batch;
            }
            return;
        }
        let mut batch = std::mem::take(&mut judged.batch);
        told.flags.push(batch.events.iter().map(|event| event.flags).collect());
        batch.events.iter_mut().for_each(|event| event.flags.0 &= DECODED);
        told.judged.push(judged);
        pass(tickets, batch, told, after);
    };
    ticket.submit(batch, Some(Box::new(done)));
}

/// Takes the events from before `from` out, with a copy of the bytes they stand in.
fn split_off(batch: &mut Batch, labels: &mut Vec<Label>, from: Timestamp) -> (Batch, Vec<Label>) {
    let is_early: Vec<bool> = batch.events.iter().map(|event| event.time < from).collect();
    let (block, side) = if is_early.iter().all(|early| *early) {
        (std::mem::take(&mut batch.block), std::mem::take(&mut batch.side))
    } else {
        (batch.block.clone(), batch.side.clone())
    };
    let part = |early: bool| is_early.iter().map(move |e| *e == early);
    let events = batch.events.iter().zip(part(true)).filter(|(_, is)| *is).map(|(event, _)| *event).collect();
    let early_labels = labels.iter().zip(part(true)).filter(|(_, is)| *is).map(|(label, _)| *label).collect();
    let early = Batch { source: batch.source, block, side, events, ..Batch::default() };
    let (mut later, mut later_labels) = (part(false), part(false));
    batch.events.retain(|_| later.next().unwrap_or(true));
    labels.retain(|_| later_labels.next().unwrap_or(true));
    (early, early_labels)
}

fn permits(n_threads: usize) -> anyhow::Result<(Sender<Batch>, Receiver<Batch>)> {
    let n = n_threads * BLOCKS_PER_WORKER;
    let (give, take) = channel::bounded(n);
    for _ in 0..n {
        give.send(Batch::default())?;
    }
    Ok((give, take))
}

fn on_threads(n_threads: usize, worker: impl Fn() -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(&worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked"))))
    })
}

/// The events of archives, one archive after the other, each in the order in which they came.
struct Archives(std::iter::Flatten<std::vec::IntoIter<Events>>);

impl Archives {
    /// `None` where no archive is among the paths.
    fn open(
        paths: &[PathBuf],
        options: &Options,
        from: Option<Timestamp>,
        names: &Arc<Names>,
    ) -> anyhow::Result<Option<Archives>> {
        let n_archives = paths.iter().filter(|path| Archive::is_at(path)).count();
        anyhow::ensure!(
            n_archives == 0 || n_archives == paths.len(),
            "an archive and other files cannot be replayed together: one knows the order of its events, the others do not"
        );
        if n_archives == 0 {
            return Ok(None);
        }
        let query = Query {
            from,
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
