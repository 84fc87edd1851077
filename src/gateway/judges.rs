//! Threads that decode and judge full blocks, and the order of the blocks of one connection.
//!
//! The runtime's own threads read, answer, and judge what little came at once. A full block is a millisecond's work:
//! done there, it would hold up every connection whose turn has come on that thread.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::feed::Job;

/// Blocks that wait for a thread, each thread. Past that they are judged where they were read.
const QUEUE_BLOCKS_PER_THREAD: usize = 64;

/// The threads. They end when the last who may give them work is gone.
#[derive(Debug)]
pub struct Judges {
    queue: Sender<Box<Job>>,
}

impl Judges {
    pub fn start(n_threads: usize) -> io::Result<Judges> {
        let (queue, jobs) = bounded(QUEUE_BLOCKS_PER_THREAD * n_threads);
        for _ in 0..n_threads {
            let jobs = jobs.clone();
            thread::Builder::new().name("judge".into()).spawn(move || work(&jobs))?;
        }
        Ok(Judges { queue })
    }

    /// Has a block decoded and judged, here where all threads have more than enough to do.
    pub(super) fn judge(&self, job: Box<Job>) {
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job.run(),
        }
    }
}

fn work(jobs: &Receiver<Box<Job>>) {
    while let Ok(job) = jobs.recv() {
        // A panic is a bug, and printed where it happens. Its connection finds that its block was lost; others go on.
        drop(catch_unwind(AssertUnwindSafe(|| job.run())));
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
