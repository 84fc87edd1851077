//! The few connections that read, opened when they are needed.
//!
//! They stand in a queue of fixed length: who takes one holds a place, and who takes them all knows that nobody reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, ErrorCode};

use super::{StoreError, file};
use crate::limits::{STORE_READERS, STORE_WAIT_MS};

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    give: Sender<Option<Connection>>,
    take: Receiver<Option<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Readers {
        let (give, take) = bounded(STORE_READERS);
        let readers = Readers { path: path.to_owned(), give, take };
        (0..STORE_READERS).for_each(|_| readers.put_back(None));
        readers
    }

    /// Asks with a connection of its own; waits while all are taken.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let place = self.take.recv_timeout(Duration::from_millis(STORE_WAIT_MS)).map_err(|_| StoreError::Busy)?;
        let db = match place.map_or_else(|| file::connect_reader(&self.path), Ok) {
            Ok(db) => db,
            Err(e) => {
                self.put_back(None);
                return Err(StoreError::Sqlite("read", e));
            }
        };
        let answer = ask(&db);
        let is_usable = !matches!(&answer, Err(StoreError::Sqlite(_, e)) if is_damage(e));
        self.put_back(is_usable.then_some(db));
        answer
    }

    /// Waits until nobody reads, closes every connection, and lets nobody in before `change` is done. False, and nothing
    /// done, where somebody reads for too long.
    pub(super) fn without<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let wait = Duration::from_millis(STORE_WAIT_MS);
        let n_taken = (0..STORE_READERS).take_while(|_| self.take.recv_timeout(wait).map(drop).is_ok()).count();
        let done = (n_taken == STORE_READERS).then(change);
        (0..n_taken).for_each(|_| self.put_back(None));
        done
    }

    fn put_back(&self, place: Option<Connection>) {
        let put = self.give.try_send(place);
        debug_assert!(put.is_ok(), "a place that was taken is free");
    }
}

/// Does the error say that the file is not what SQLite wrote?
pub(super) fn is_damage(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
