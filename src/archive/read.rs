//! Reading: the events of a query, in order of position, whatever files they stand in.
//!
//! Files are ruled out by what the manifest says of them, row groups by their statistics and filters, pages by their
//! rows. What is left is decoded by all threads, a wave at a time, and merged: positions rise over the whole answer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::event::{self, Told};
use super::group::{self, Group, Wanted};
use super::manifest::Entry;
use super::rows::Rows;
use super::schema::{Column, Columns};
use super::{Archive, ArchiveError};
use crate::clock::Timestamp;
use crate::event::{Batch, Names};

/// Events of one slice at the most.
const SLICE_EVENTS_MAX: usize = 4096;

/// Files whose ends are read at once, and row groups that are looked through at once, for each thread. A row group that
/// is read whole takes some 20 MiB.
const FILES_PER_THREAD: usize = 8;
const GROUPS_PER_THREAD: usize = 2;
const SEARCHES_PER_THREAD: usize = 16;

/// Which party a number is looked for as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parties {
    #[default]
    Either,
    Caller,
    Callee,
}

/// What is asked for; everything unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Event time, from this instant on.
    pub from: Option<Timestamp>,
    /// Event time, before this instant.
    pub to: Option<Timestamp>,
    /// Empty: all.
    pub customers: Vec<String>,
    /// As it is normalised: `+46701234567`, `2001`.
    pub number: Option<String>,
    pub parties: Parties,
    pub positions: Option<Range<u64>>,
    /// 0: as many as there are cores.
    pub n_threads: usize,
}

/// Some events of the answer.
#[derive(Debug, Default)]
pub struct Slice {
    /// One an event, rising within and over slices.
    pub positions: Vec<u64>,
    /// What is not known any more is left out: its source, its block.
    pub batch: Batch,
    /// One an event.
    pub told: Vec<Told>,
}

impl Archive {
    /// The events of a query, in order of position over all files.
    pub fn events(&self, query: &Query, names: Arc<Names>) -> Events {
        Events::new(self.folder.clone(), self.files(), query, names, Columns::ALL)
    }
}

/// See [`Archive::events`]. Holds one wave of row groups, and those whose positions overlap it: what one round wrote.
#[derive(Debug)]
pub struct Events {
    folder: PathBuf,
    names: Arc<Names>,
    wanted: Wanted,
    n_threads: usize,
    /// Not yet opened, in order of their first position.
    files: VecDeque<Entry>,
    /// Not yet read, in order of their first position.
    groups: VecDeque<Group>,
    /// Read, and the next row of each.
    ready: Vec<Option<(Rows, usize)>>,
    /// Position of the next row of each, and its place in `ready`.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    has_failed: bool,
}

impl Events {
    pub(super) fn new<'a>(
        folder: PathBuf,
        files: impl Iterator<Item = &'a Entry>,
        query: &Query,
        names: Arc<Names>,
        columns: Columns,
    ) -> Events {
        let times = query.from.unwrap_or(Timestamp(i64::MIN)).0..query.to.unwrap_or(Timestamp(i64::MAX)).0;
        let clamp = |position: u64| i64::try_from(position).unwrap_or(i64::MAX);
        let positions = query.positions.as_ref().map_or(0..i64::MAX, |p| clamp(p.start)..clamp(p.end));
        let searched = match query.parties {
            Parties::Either => vec![Column::Caller, Column::Callee],
            Parties::Caller => vec![Column::Caller],
            Parties::Callee => vec![Column::Callee],
        };
        let number = query.number.as_ref().map(|number| (number.as_bytes().into(), searched));
        let mut files: Vec<Entry> = files
            .filter(|file| {
                (query.customers.is_empty() || query.customers.contains(&file.customer))
                    && (file.from < times.end && times.start <= file.to)
                    && (clamp(file.first) < positions.end && positions.start <= clamp(file.last))
            })
            .cloned()
            .collect();
        files.sort_by(|a, b| (a.first, &a.path).cmp(&(b.first, &b.path)));
        let n_cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Events {
            folder,
            names,
            wanted: Wanted { times, positions, number, columns },
            n_threads: if query.n_threads == 0 { n_cores() } else { query.n_threads },
            files: files.into(),
            groups: VecDeque::new(),
            ready: Vec::new(),
            next: BinaryHeap::new(),
            has_failed: false,
        }
    }

    /// The position before which everything is decoded.
    fn bound(&self) -> i64 {
        let file = self.files.front().map_or(i64::MAX, |file| i64::try_from(file.first).unwrap_or(i64::MAX));
        file.min(self.groups.front().map_or(i64::MAX, |group| group.first))
    }

    /// Opens the next files, or reads the next row groups, whichever begins first.
    fn advance(&mut self) -> Result<(), ArchiveError> {
        let opens = self.files.front().is_some_and(|file| {
            self.groups.front().is_none_or(|group| i64::try_from(file.first).is_ok_and(|first| first <= group.first))
        });
        if opens {
            let n = self.files.len().min(self.n_threads * FILES_PER_THREAD);
            let wave: Vec<Entry> = self.files.drain(..n).collect();
            let found = in_parallel(wave, self.n_threads, |entry| group::open(&self.folder, &entry, &self.wanted));
            for groups in found {
                self.groups.extend(groups?);
            }
            self.groups.make_contiguous().sort_by_key(|group| group.first);
            return Ok(());
        }
        let per_thread = if self.wanted.number.is_some() { SEARCHES_PER_THREAD } else { GROUPS_PER_THREAD };
        let n = self.groups.len().min(self.n_threads * per_thread);
        let wave: Vec<Group> = self.groups.drain(..n).collect();
        for rows in in_parallel(wave, self.n_threads, |group| group.find(&self.wanted)) {
            let rows = rows?;
            if let Some(position) = rows.number_at(Column::Position, 0) {
                let place = self.ready.iter().position(Option::is_none).unwrap_or(self.ready.len());
                match self.ready.get_mut(place) {
                    Some(free) => *free = Some((rows, 0)),
                    None => self.ready.push(Some((rows, 0))),
                }
                self.next.push(Reverse((position, place)));
            }
        }
        Ok(())
    }

    /// The next row, if all that could come before it is decoded; `take` gets the rows it stands in and its place.
    fn row<T>(&mut self, bound: i64, take: impl FnOnce(&Rows, usize, i64) -> T) -> Option<T> {
        let Reverse((position, place)) = *self.next.peek().filter(|Reverse((position, _))| *position < bound)?;
        self.next.pop();
        let slot = self.ready.get_mut(place)?;
        let (rows, row) = slot.as_mut()?;
        let taken = take(rows, *row, position);
        *row += 1;
        match rows.number_at(Column::Position, *row) {
            Some(position) => self.next.push(Reverse((position, place))),
            None => *slot = None,
        }
        Some(taken)
    }

    fn slice(&mut self) -> Result<Option<Slice>, ArchiveError> {
        let names = Arc::clone(&self.names);
        loop {
            let bound = self.bound();
            let mut slice = Slice::default();
            while slice.positions.len() < SLICE_EVENTS_MAX
                && let Some(told) = self.row(bound, |rows, row, position| {
                    slice.positions.push(position as u64);
                    event::read(rows, row, &names, &mut slice.batch)
                })
            {
                slice.told.push(told.ok_or(ArchiveError::Names)?);
            }
            if !slice.positions.is_empty() {
                return Ok(Some(slice));
            }
            if self.files.is_empty() && self.groups.is_empty() {
                return Ok(None);
            }
            self.advance()?;
        }
    }
}

impl Iterator for Events {
    type Item = Result<Slice, ArchiveError>;

    /// After an error there is nothing more: what follows would not be the whole answer.
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let slice = self.slice();
        self.has_failed = slice.is_err();
        slice.transpose()
    }
}

/// Does the work of each item on one of the threads; results are in the order of the items.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, n_threads: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let n_threads = n_threads.min(items.len());
    if n_threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let lock = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    let worker = || {
        let mut done = Vec::new();
        while let Some((i, item)) = lock() {
            done.push((i, work(item)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().flat_map(join).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}
