//! The one thread that writes: all that waits goes into one transaction, and what a disk refuses is tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::entry::{Change, Written};
use super::{Shared, StoreError, file, readers, rows};
use crate::clock::Timestamp;
use crate::limits::{STORE_GROUP_MAX, STORE_PRUNE_ROWS, STORE_RETRY_MS, STORE_RETRY_MS_MAX};

/// What the thread is asked for. Answers nobody waits for are dropped.
#[derive(Debug)]
pub(super) enum Job {
    Write(Write),
    /// Deletes some of what is older; answers how many rows went.
    Prune(Timestamp, Sender<Result<usize, StoreError>>),
    /// Moves the log into the database.
    Checkpoint(Sender<Result<(), StoreError>>),
    Stop,
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) changes: Vec<Change>,
    pub(super) reply: Sender<Result<Vec<Written>, StoreError>>,
}

/// What helps against an error.
#[derive(Debug, PartialEq, Eq)]
enum Cure {
    /// Room on the disk, or a lock that is given back.
    Patience,
    /// Another file: this one is damaged.
    NewFile,
    /// Nothing: it is the change itself that cannot be written.
    Refusal,
}

fn cure(e: &rusqlite::Error) -> Cure {
    if readers::is_damage(e) {
        return Cure::NewFile;
    }
    match e.sqlite_error_code() {
        None | Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => Cure::Refusal,
        Some(_) => Cure::Patience,
    }
}

pub(super) struct Writer {
    pub(super) path: PathBuf,
    /// None while there is no file that can be written.
    pub(super) db: Option<Connection>,
    /// What was found wrong with the file that is to be set aside.
    pub(super) damage: Option<String>,
    pub(super) jobs: Receiver<Job>,
    pub(super) shared: Arc<Shared>,
}

impl Writer {
    /// Runs until it is told to stop, or nobody is left who could ask.
    pub(super) fn run(mut self) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| self.jobs.recv().ok()) {
            match job {
                Job::Write(first) => next = self.write_what_waits(first),
                Job::Prune(before, reply) => answer(&reply, self.insist(|db| prune(db, before))),
                Job::Checkpoint(reply) => answer(&reply, self.insist(|db| file::empty_log(db))),
                Job::Stop => break,
            }
        }
        // What came in beside the stop.
        while let Ok(job) = self.jobs.try_recv() {
            if let Job::Write(write) = job {
                self.shared.done(write, Err(StoreError::Closed));
            }
        }
        // While somebody still reads, the log is in use: it stays, and the next open reads it.
        let Some(db) = self.db.take() else { return };
        if let Some(Err(e)) = self.shared.readers.without(move || file::end_session(&db)) {
            self.shared.failed(&e.to_string());
        }
    }

    /// Takes what waits behind the first, up to a bound, as one group. Returns what came up that is no write.
    fn write_what_waits(&mut self, first: Write) -> Option<Job> {
        let mut n = first.changes.len();
        let mut group = vec![first];
        let mut next = None;
        while n < STORE_GROUP_MAX && next.is_none() {
            match self.jobs.try_recv() {
                Ok(Job::Write(write)) => {
                    n += write.changes.len();
                    group.push(write);
                }
                Ok(other) => next = Some(other),
                Err(_) => break,
            }
        }
        self.write(group);
        next
    }

    fn write(&mut self, group: Vec<Write>) {
        match self.insist(|db| write_all(db, &group)) {
            Ok(written) => group.into_iter().zip(written).for_each(|(write, w)| self.shared.done(write, Ok(w))),
            // Each by itself, so that only those are refused that cannot be written.
            Err(StoreError::Refused(_)) if group.len() > 1 => {
                group.into_iter().for_each(|write| self.write(vec![write]));
            }
            Err(e) => group.into_iter().for_each(|write| {
                let e = if let StoreError::Refused(why) = &e {
                    StoreError::Refused(why.clone())
                } else {
                    StoreError::Closed
                };
                self.shared.done(write, Err(e));
            }),
        }
    }

    /// Tries until it works, until nothing will help, or until a stop has waited long enough.
    fn insist<T>(&mut self, mut attempt: impl FnMut(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut pause = Duration::from_millis(STORE_RETRY_MS);
        loop {
            if self.db.is_none() {
                self.open_again();
            }
            if let Some(db) = &mut self.db {
                #[cfg(test)]
                self.shared.limit_pages(db);
                match attempt(db) {
                    Ok(done) => {
                        self.shared.works();
                        return Ok(done);
                    }
                    Err(e) => match cure(&e) {
                        Cure::Refusal => return Err(StoreError::Refused(e.to_string())),
                        Cure::Patience => self.shared.failed(&e.to_string()),
                        Cure::NewFile => self.give_up_file(e.to_string()),
                    },
                }
            }
            if self.shared.has_waited_for_stop() {
                return Err(StoreError::Closed);
            }
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(Duration::from_millis(STORE_RETRY_MS_MAX));
        }
    }

    fn give_up_file(&mut self, why: String) {
        self.shared.failed(&why);
        self.damage = Some(why);
        if let Some(Err(e)) = self.db.take().map(|db| file::leave_log(&db)) {
            self.shared.failed(&e.to_string());
        }
    }

    /// Sets aside what is damaged and begins a new file, while nobody reads.
    fn open_again(&mut self) {
        let damage = self.damage.clone();
        let opened = self.shared.readers.without(|| match damage {
            Some(why) => file::renew(&self.path, why).map(|(db, aside)| (db, Some(aside))),
            None => file::open(&self.path).map(|(db, report)| (db, report.set_aside)),
        });
        match opened {
            Some(Ok((db, set_aside))) => {
                self.db = Some(db);
                self.damage = None;
                self.shared.set_aside(set_aside);
            }
            Some(Err(e)) => self.shared.failed(&e.to_string()),
            None => self.shared.failed("somebody reads the damaged file"),
        }
    }
}

fn answer<T>(reply: &Sender<T>, what: T) {
    // Who asked may have stopped waiting.
    drop(reply.try_send(what));
}

fn write_all(db: &mut Connection, group: &[Write]) -> rusqlite::Result<Vec<Vec<Written>>> {
    let all = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let apply = |write: &Write| write.changes.iter().map(|change| rows::apply(&all, change)).collect();
    let written = group.iter().map(apply).collect::<rusqlite::Result<Vec<Vec<Written>>>>()?;
    all.commit()?;
    if group.iter().flat_map(|write| &write.changes).any(Change::is_told_once) {
        // It does not stand in the log alone. It is durable either way, and a checkpoint that finds no room is made up
        // for by the next.
        drop(db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
    }
    Ok(written)
}

/// Some of the violations and closings that nobody waits for, and of the blocks that are over.
fn prune(db: &mut Connection, before: Timestamp) -> rusqlite::Result<usize> {
    let some = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // What the book has not taken yet is not old, whatever its time.
    let old = "DELETE FROM violations WHERE row IN (SELECT row FROM violations WHERE time < ?1 AND NOT EXISTS \
               (SELECT 1 FROM inbox WHERE subject = id AND kind = 'violation') LIMIT ?2)";
    let ended = "DELETE FROM closings WHERE row IN (SELECT row FROM closings WHERE time < ?1 AND NOT EXISTS \
                 (SELECT 1 FROM inbox WHERE subject = id AND kind = 'closed') LIMIT ?2)";
    let over = "DELETE FROM blocks WHERE row IN \
                (SELECT row FROM blocks WHERE added < ?1 AND (until < ?1 OR removed < ?1) LIMIT ?2)";
    let rows = STORE_PRUNE_ROWS as i64;
    let mut n = 0;
    for sql in [old, ended, over] {
        n += some.execute(sql, (before.0, rows))?;
    }
    some.commit()?;
    Ok(n)
}
