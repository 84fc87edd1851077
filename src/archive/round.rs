//! Writing: the records of a round become files, one for each customer and hour, and then all at once the archive's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::checked::Summing;
use super::event::{Archived, RowMaker};
use super::manifest::{Change, Entry, State};
use super::partition;
use super::rows::Rows;
use super::schema;
use super::{Archive, ArchiveError, file_error, io_error};
use crate::clock::Timestamp;
use crate::event::Names;
use crate::journal::{Entry as JournalEntry, Record};
use crate::limits::{ARCHIVE_BUFFER_BYTES_MAX, ARCHIVE_OPEN_FILES_MAX, ARCHIVE_ROW_GROUP_ROWS};
use crate::storage::{self, Disk, Staged};

/// Where the versions of the rules stand in a file.
pub(super) const POLICIES: &str = "ringfence.policies";

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub events: u64,
    pub files: u64,
    pub bytes: u64,
}

impl Archive {
    /// Archives the records up to `end`, which is not among them, and begins where the last round ended: `records` may
    /// start earlier. After an error nothing of the round is in the archive, and it can be tried again. The same
    /// records give the same files. How many events a round has bounds what a reader holds in memory: a few million.
    pub fn write_round<E: From<ArchiveError>>(
        &mut self,
        names: &Names,
        records: impl Iterator<Item = Result<Record, E>>,
        end: u64,
    ) -> Result<Round, E> {
        let [first_record, next_position] = self.manifest.next;
        debug_assert!(self.lock.is_some(), "opened for reading");
        // Until the round is there, its files are nobody's.
        let was_whole = std::mem::replace(&mut self.is_whole, false);
        let mut files = Files::new(&self.disk, &self.folder);
        let mut next = [end.max(first_record), next_position];
        for record in records {
            let record = record?;
            if record.number >= end {
                break;
            }
            if record.number >= first_record {
                next[1] = next[1].max(files.add(names, &record)?);
            }
        }
        let entries = files.finish()?;
        let round = Round {
            events: entries.iter().map(|entry| entry.rows).sum(),
            files: entries.len() as u64,
            bytes: entries.iter().map(|entry| entry.bytes).sum(),
        };
        self.manifest.commit(&self.disk, &Change { next: Some(next), add: entries, ..Change::default() })?;
        // What an earlier try left, and this one has not written anew under the same name, is over now.
        if let Err(error) = self.find_leftovers(!was_whole) {
            tracing::warn!(%error, "what an unfinished round left stays until the archive is opened again");
        }
        self.is_whole = true;
        Ok(round)
    }
}

/// The files of a round that are being written.
pub(super) struct Files<'a> {
    disk: &'a Disk,
    folder: &'a Path,
    maker: RowMaker,
    /// By customer and hour.
    open: BTreeMap<(u32, i64), Pending>,
    /// How many of them have a file, and the bytes that all of them hold.
    n_open: usize,
    bytes: usize,
    done: Vec<Entry>,
    folders: BTreeSet<String>,
    bounds: Bounds,
}

/// What may be held at once.
struct Bounds {
    bytes: usize,
    open: usize,
}

/// What an hour of a customer takes before its first event, about: a row of columns. A feed whose clock is wild has
/// each event in an hour of its own.
const PENDING_BYTES: usize = 6 * 1024;

struct Pending {
    rows: Rows,
    file: OpenFile,
}

impl<'a> Files<'a> {
    fn new(disk: &'a Disk, folder: &'a Path) -> Files<'a> {
        let (open, done, folders) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let bounds = Bounds { bytes: ARCHIVE_BUFFER_BYTES_MAX, open: ARCHIVE_OPEN_FILES_MAX };
        Files { disk, folder, maker: RowMaker::default(), open, n_open: 0, bytes: 0, done, folders, bounds }
    }

    /// Takes the events of a record; returns the position that follows them.
    fn add(&mut self, names: &Names, record: &Record) -> Result<u64, ArchiveError> {
        let JournalEntry::Batch { position, batch, verdicts, flags, .. } = &record.entry else { return Ok(0) };
        let mut flags = flags.as_slice();
        for (i, event) in batch.events.iter().enumerate() {
            let n_flags = flags.partition_point(|(event, _)| *event as usize <= i);
            let (now, later) = flags.split_at(n_flags);
            flags = later;
            let key = (event.customer.0, partition::hour_of(event.time));
            let position = position + i as u64;
            let bytes = &mut self.bytes;
            let pending = self.open.entry(key).or_insert_with(|| {
                *bytes += PENDING_BYTES;
                let file = OpenFile::new(names.customer_text(event.customer), key.1, 0, State::Clear);
                Pending { rows: Rows::default(), file }
            });
            let before = pending.rows.bytes();
            let verdict = verdicts.get(i).copied().unwrap_or_default();
            let archived = Archived { position, context: &record.context, batch, event, verdict, flags: now };
            self.maker.add(&mut pending.rows, &archived, names);
            pending.file.see(position, event.time);
            pending.file.judged_by([record.context.policy_version.as_str()]);
            self.bytes += pending.rows.bytes() - before;
            if pending.rows.len() >= ARCHIVE_ROW_GROUP_ROWS {
                self.bytes -= pending.rows.bytes();
                self.n_open += usize::from(!pending.file.is_begun());
                pending.file.write(self.disk, self.folder, &mut pending.rows)?;
                self.folders.insert(pending.file.folder.clone());
            }
        }
        if self.bytes > self.bounds.bytes {
            self.make_room()?;
        }
        while self.n_open > self.bounds.open {
            // Who was not heard of for longest is the least likely to say more.
            let begun = self.open.iter().filter(|(_, pending)| pending.file.is_begun());
            let quietest = begun.min_by_key(|(_, pending)| pending.file.last).map(|(key, _)| *key);
            let Some(key) = quietest else { break };
            self.close(key)?;
        }
        Ok(position + batch.events.len() as u64)
    }

    /// Finishes the file that holds most; or all, where none holds much: looking for the largest again and again among
    /// thousands would take longer than beginning anew.
    fn make_room(&mut self) -> Result<(), ArchiveError> {
        let largest = self.open.iter().max_by_key(|(_, pending)| pending.rows.bytes());
        match largest.map(|(key, pending)| (*key, pending.rows.bytes())) {
            Some((key, bytes)) if bytes >= self.bounds.bytes / 8 => self.close(key),
            _ => self.close_all(),
        }
    }

    fn close_all(&mut self) -> Result<(), ArchiveError> {
        while let Some(key) = self.open.keys().next().copied() {
            self.close(key)?;
        }
        Ok(())
    }

    /// Finishes one file; what follows of its hour goes into another.
    fn close(&mut self, key: (u32, i64)) -> Result<(), ArchiveError> {
        let Some(Pending { mut rows, mut file }) = self.open.remove(&key) else { return Ok(()) };
        self.bytes -= rows.bytes() + PENDING_BYTES;
        self.n_open -= usize::from(file.is_begun());
        if rows.len() > 0 {
            file.write(self.disk, self.folder, &mut rows)?;
        }
        self.folders.insert(file.folder.clone());
        self.done.push(file.finish(self.folder)?);
        Ok(())
    }

    /// All files, whole and on the disk.
    fn finish(mut self) -> Result<Vec<Entry>, ArchiveError> {
        self.close_all()?;
        for folder in &self.folders {
            let path = self.folder.join(folder);
            self.disk.sync_folder(&path).map_err(io_error("sync", &path))?;
        }
        Ok(self.done)
    }
}

/// One file, from its first row group to its place in the manifest.
pub(super) struct OpenFile {
    folder: String,
    customer: String,
    hour: i64,
    generation: u32,
    state: State,
    writer: Option<SerializedFileWriter<Summing<Staged>>>,
    first: u64,
    last: u64,
    rows: u64,
    from: i64,
    to: i64,
    /// Of the rules that judged its events.
    policies: Vec<String>,
}

impl OpenFile {
    pub(super) fn new(customer: &str, hour: i64, generation: u32, state: State) -> OpenFile {
        OpenFile {
            folder: partition::folder(customer, hour),
            customer: customer.to_owned(),
            hour,
            generation,
            state,
            writer: None,
            first: u64::MAX,
            last: 0,
            rows: 0,
            from: i64::MAX,
            to: i64::MIN,
            policies: Vec::new(),
        }
    }

    /// Notes what the next row is.
    pub(super) fn see(&mut self, position: u64, time: Timestamp) {
        self.first = self.first.min(position);
        self.last = self.last.max(position);
        self.rows += 1;
        self.from = self.from.min(time.0);
        self.to = self.to.max(time.0);
    }

    /// Notes which rules judged it.
    pub(super) fn judged_by<'p>(&mut self, policies: impl IntoIterator<Item = &'p str>) {
        for policy in policies {
            if !self.policies.iter().rev().any(|known| known == policy) {
                self.policies.push(policy.to_owned());
            }
        }
    }

    fn is_begun(&self) -> bool {
        self.writer.is_some()
    }

    /// Writes the rows that wait as a row group.
    pub(super) fn write(&mut self, disk: &Disk, archive: &Path, rows: &mut Rows) -> Result<(), ArchiveError> {
        let path = archive.join(&self.folder).join(self.temporary());
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let folder = archive.join(&self.folder);
                storage::create_folders(disk, &folder).map_err(io_error("create", &folder))?;
                let file = Staged::create(disk, &path).map_err(io_error("create", &path))?;
                SerializedFileWriter::new(Summing::new(file), schema::schema(), schema::properties())
                    .map_err(file_error(&path))?
            }
        };
        rows.write(&mut writer).map_err(file_error(&path))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn temporary(&self) -> String {
        format!("{}.{}.tmp", self.first, self.generation)
    }

    /// Gives the file its end and its name. Its folder is still to be synced.
    pub(super) fn finish(self, archive: &Path) -> Result<Entry, ArchiveError> {
        let temporary = archive.join(&self.folder).join(self.temporary());
        let Some(mut writer) = self.writer else {
            return Err(super::damaged(&temporary, "a file without rows was to be finished"));
        };
        let told = [
            ("ringfence.format", "1".to_owned()),
            ("ringfence.state", self.state.as_str().to_owned()),
            (POLICIES, self.policies.join(",")),
        ];
        for (key, value) in told {
            writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        let (file, bytes, sums) = writer.into_inner().map_err(file_error(&temporary))?.finish();
        let path = partition::file(&self.folder, self.first, self.last, self.generation);
        let full = archive.join(&path);
        file.commit(&full).map_err(io_error("finish", &full))?;
        Ok(Entry {
            path,
            customer: self.customer,
            hour: self.hour,
            first: self.first,
            last: self.last,
            rows: self.rows,
            bytes,
            from: self.from,
            to: self.to,
            state: self.state,
            generation: self.generation,
            sums,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{calls, decoded, records};
    use super::*;

    #[test]
    fn a_file_ends_where_memory_or_open_files_run_out_and_another_goes_on() {
        let names = Arc::new(Names::new());
        let (records, _) = records((0..30).map(|i| decoded(&calls(i * 10, 10), &names)).collect());
        let rows = |bounds: Bounds| {
            let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::real());
            let mut files = Files { bounds, ..Files::new(&disk, folder.path()) };
            for record in &records {
                files.add(&names, record).unwrap();
            }
            let entries = files.finish().unwrap();
            assert!(entries.iter().all(|entry| folder.path().join(&entry.path).is_file()));
            (entries.len(), entries.iter().map(|entry| entry.rows).sum::<u64>())
        };
        assert_eq!(rows(Bounds { bytes: usize::MAX, open: 64 }), (9, 300));
        let (n_files, n_rows) = rows(Bounds { bytes: 9 * PENDING_BYTES + 3000, open: 64 });
        assert!(n_files > 9 && n_rows == 300, "{n_files} {n_rows}");
        let (n_files, n_rows) = rows(Bounds { bytes: 2000, open: 64 });
        assert!(n_files >= 30 && n_rows == 300, "{n_files} {n_rows}");
    }
}
