//! Threads that decode and judge full blocks, and the order of the blocks of one connection.
//!
//! The runtime's own threads read, answer, and judge what little came at once. A full block is a millisecond's work:
//! done there, it would hold up every connection whose turn has come on that thread.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::feed::Job;

/// Blocks that wait for a thread, each thread. Past that they are judged where they were read.
const QUEUE_BLOCKS_PER_THREAD: usize = 64;

/// The threads. They end when the last who may give them work is gone.
#[derive(Clone, Debug)]
pub struct Judges {
    queue: Sender<Task>,
}

#[derive(Debug)]
enum Task {
    /// To be decoded and judged.
    Block(Box<Job>),
    /// To be judged.
    Decoded(Box<Job>),
    /// Blocks to be decoded one after the other.
    Strand(Arc<Strand>, Judges),
}

impl Task {
    fn run(self) {
        match self {
            Task::Block(job) => job.run(),
            Task::Decoded(job) => job.pass_on(),
            Task::Strand(strand, judges) => strand.run(&judges),
        }
    }
}

impl Judges {
    pub fn start(n_threads: usize) -> io::Result<Judges> {
        let (queue, tasks) = bounded(QUEUE_BLOCKS_PER_THREAD * n_threads);
        for _ in 0..n_threads {
            let tasks = tasks.clone();
            thread::Builder::new().name("judge".into()).spawn(move || work(&tasks))?;
        }
        Ok(Judges { queue })
    }

    /// Has a block decoded and judged, here where all threads have more than enough to do.
    pub(super) fn judge(&self, job: Box<Job>) {
        if let Some(task) = self.offer(Task::Block(job)) {
            task.run();
        }
    }

    /// Gives a task to the threads, or back where they have more than enough to do.
    fn offer(&self, task: Task) -> Option<Task> {
        match self.queue.try_send(task) {
            Ok(()) => None,
            Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) => Some(task),
        }
    }
}

fn work(tasks: &Receiver<Task>) {
    while let Ok(task) = tasks.recv() {
        // A panic is a bug, and printed where it happens. Its connection finds that its block was lost; others go on.
        drop(catch_unwind(AssertUnwindSafe(|| task.run())));
    }
}

/// Lets the blocks of one connection pass the check of their `seq` in the order they came, whoever decoded them.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Decoded before its turn; `None`: lost, and nobody waits for it.
    early: BTreeMap<u64, Option<Box<Job>>>,
}

/// The place of one block. Dropped without being used, it is free for the next.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    is_used: bool,
}

impl Turn {
    pub(super) fn new(turns: &Arc<Turns>, number: u64) -> Turn {
        Turn { turns: Arc::clone(turns), number, is_used: false }
    }

    /// Admits a decoded block, now or when those before it have come, and hands those to the engine whose turn it is.
    pub(super) fn pass(mut self, job: Box<Job>) {
        self.is_used = true;
        self.turns.pass(self.number, Some(job));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_used {
            self.turns.pass(self.number, None);
        }
    }
}

impl Turns {
    fn pass(&self, number: u64, job: Option<Box<Job>>) {
        let mut ready = Vec::new();
        {
            let mut waiting = self.0.lock().unwrap_or_else(|e| e.into_inner());
            waiting.early.insert(number, job);
            loop {
                let next = waiting.next;
                let Some(job) = waiting.early.remove(&next) else { break };
                waiting.next += 1;
                ready.extend(job.map(|mut job| {
                    job.admit();
                    job
                }));
            }
        }
        ready.into_iter().for_each(|job| job.submit());
    }
}

/// The blocks of one stream that say what they mean only in their order: decoded one at a time, by whoever has time.
#[derive(Debug, Default)]
pub(super) struct Strand(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Box<Job>>,
    /// Somebody is decoding, and will see what is added.
    is_taken: bool,
}

impl Strand {
    /// Decodes a small block at once, if none is ahead of it, and has any other decoded in its turn.
    pub(super) fn take(self: &Arc<Self>, job: Box<Job>, is_small: bool, judges: &Judges) {
        let mut line = self.0.lock().unwrap_or_else(|e| e.into_inner());
        line.waiting.push_back(job);
        if std::mem::replace(&mut line.is_taken, true) {
            return;
        }
        drop(line);
        let task = Task::Strand(Arc::clone(self), judges.clone());
        if let Some(task) = if is_small { Some(task) } else { judges.offer(task) } {
            task.run();
        }
    }

    fn next(&self) -> Option<(Box<Job>, bool)> {
        let mut line = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let job = line.waiting.pop_front();
        line.is_taken = job.is_some();
        job.map(|job| (job, line.waiting.is_empty()))
    }

    fn run(&self, judges: &Judges) {
        while let Some((mut job, is_last)) = self.next() {
            // Bugs that panic are caught where they happen; the stream goes on without the block.
            let decoded = catch_unwind(AssertUnwindSafe(|| {
                job.decode();
                job
            }));
            let Ok(job) = decoded else { continue };
            // While one judges, another may decode what comes next.
            let task = Task::Decoded(job);
            if let Some(task) = if is_last { Some(task) } else { judges.offer(task) } {
                // What panics here must not keep the line taken: nobody would decode what comes behind.
                drop(catch_unwind(AssertUnwindSafe(|| task.run())));
            }
        }
    }
}
