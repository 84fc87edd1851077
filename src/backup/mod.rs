//! `ringfence backup` and `ringfence restore`: a copy of the data folder, taken while the service runs and without asking
//! it, and put back onto an empty machine.
//!
//! What a backup holds is the state of one moment, as a crash at that moment would have left it: a snapshot, the journal
//! from there up to a whole record, the names its numbers stand for, a store and an archive that know nothing of later
//! records. That follows from the order alone. The service makes a record durable before the store or the archive hears
//! of it, and writes names before the records that use them; so the snapshot is taken first, then archive and store, then
//! the journal, the names last. What the service lets go of meanwhile is held open and read all the same.
//!
//! A backup is read back before it gets its name. One that was cut short has none.

mod archive_copy;
pub mod command;
mod contents;
mod packed;
mod pinned;
mod restore;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};

pub use contents::{Contents, Kept};
pub(crate) use restore::STAGE as RESTORING;
pub use restore::{Restored, restore};

use self::archive_copy::ArchiveCopy;
use self::contents::sum_of;
use self::pinned::Pinned;
use crate::archive;
use crate::clock::Clock;
use crate::delivery::link;
use crate::journal::{NamesFile, Reader};
use crate::limits::{BACKUP_FILES_MAX, BACKUP_TRIES_MAX, RULE_FILES_MAX};
use crate::policy::{LoadOptions, RuleSource, load};
use crate::snapshot::{self, SnapshotError, SnapshotReader};
use crate::storage::{Disk, FolderLock};
use crate::store;

/// Folders of a backup.
const DATA: &str = "data";
const SETTINGS: &str = "settings";
/// What the data folder has beside its folders, where it has it.
const SECRETS: [&str; 2] = [archive::KEY_FILE, link::KEY_FILE];

/// What to copy, and where to.
#[derive(Debug)]
pub struct Request<'a> {
    pub data: &'a Path,
    /// The settings' file and the folder of the rules; `None`: those that are built in.
    pub settings: Option<&'a Path>,
    pub rules: Option<&'a Path>,
    /// A folder that is not there yet.
    pub to: &'a Path,
}

/// A backup that was taken.
#[derive(Debug)]
pub struct Taken {
    pub contents: Contents,
    /// What is wrong with what was copied: it was so in the data folder already.
    pub problems: Vec<String>,
}

/// Takes a backup. Nothing has the name `to` before it is whole and on the disk for good.
pub fn take(disk: &Disk, request: &Request<'_>) -> anyhow::Result<Taken> {
    let (data, to) = (request.data, request.to);
    ensure!(data.join("journal").is_dir(), "data folder {}: there is no journal in it", data.display());
    ensure!(!to.exists(), "backup {}: is there already; name one that is not", to.display());
    ensure!(!lies_in(to, data), "backup {}: would lie in the data folder; choose another place", to.display());
    let part = beside(to, ".part");
    let lock = begin(disk, &part)?;
    let taken = Backup { disk, request, part: part.clone(), problems: Vec::new() }.fill();
    let taken = taken.and_then(|taken| {
        disk.remove(&part.join("lock"))?;
        disk.sync_folders(&part)?;
        disk.rename(&part, to)?;
        disk.sync_folder(&parent_of(to))?;
        Ok(taken)
    });
    if taken.is_err() {
        // What is left of it has no name a backup has, and goes with the next attempt.
        drop(disk.remove_folder(&part));
    }
    drop(lock);
    taken
}

/// Whether a path, of which not all need be there, lies in a folder.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let or_here = |above: &Path| if above.as_os_str().is_empty() { PathBuf::from(".") } else { above.to_owned() };
    let there = parent_of(path).ancestors().find_map(|above| or_here(above).canonicalize().ok());
    there.is_some_and(|there| folder.canonicalize().is_ok_and(|folder| there.starts_with(folder)))
}

/// An empty folder that is ours alone; what an attempt before left in it goes.
fn begin(disk: &Disk, part: &Path) -> anyhow::Result<FolderLock> {
    let what = || format!("cannot write to {}", part.display());
    if !part.is_dir() {
        disk.create_folder(&parent_of(part)).with_context(what)?;
        disk.create_private_folder(part).with_context(what)?;
    }
    let lock = FolderLock::take(part).with_context(what)?;
    for folder in [DATA, SETTINGS] {
        disk.remove_folder(&part.join(folder)).with_context(what)?;
    }
    Ok(lock)
}

/// One that is being taken.
struct Backup<'a> {
    disk: &'a Disk,
    request: &'a Request<'a>,
    part: PathBuf,
    problems: Vec<String>,
}

/// What recovery will find in it.
struct Reached {
    snapshot: Option<u64>,
    record: u64,
    next_position: u64,
}

impl Backup<'_> {
    fn from(&self, name: &str) -> PathBuf {
        self.request.data.join(name)
    }

    fn to(&self, name: &str) -> PathBuf {
        self.part.join(DATA).join(name)
    }

    fn fill(mut self) -> anyhow::Result<Taken> {
        let taken_at = Clock.now().to_string();
        for folder in ["journal", "snapshots", "archive"] {
            self.disk.create_folder(&self.to(folder))?;
        }
        let segments = self.copy_what_follows_the_journal()?;
        for segment in &segments {
            let name = segment.path.file_name().context("a segment has a name")?;
            let copied = self.disk.copy(&mut segment.read(), &self.to("journal").join(name), u64::MAX, |_| {});
            copied.with_context(|| format!("cannot copy {}", segment.path.display()))?;
        }
        drop(segments);
        self.copy_names()?;
        let reached = self.read_back()?;
        self.copy_settings()?;
        let mut contents = Contents::new(taken_at, reached.snapshot, reached.record, reached.next_position);
        for path in self.disk.list_below(&self.part, BACKUP_FILES_MAX)?.into_iter().filter(|path| path != "lock") {
            let file = File::open(self.part.join(&path)).with_context(|| format!("cannot read back {path}"))?;
            let (bytes, sha256) = sum_of(file).with_context(|| format!("cannot read back {path}"))?;
            contents.files.push(Kept { path, bytes, sha256 });
        }
        let encoded = contents.encode()?;
        self.disk.replace_file(&self.part.join(contents::FILE), |file| file.write_all(&encoded))?;
        Ok(Taken { contents, problems: self.problems })
    }

    /// Copies snapshot, archive and store, in this order, and returns the journal that knows all that they know, held open.
    fn copy_what_follows_the_journal(&mut self) -> anyhow::Result<Vec<Pinned>> {
        let (disk, journal) = (self.disk, self.from("journal"));
        let archive = ArchiveCopy::new(disk, &self.from("archive"), &self.to("archive"));
        // What takes long goes first, while nothing is held.
        archive.catch_up().context("cannot copy the archive")?;
        for _ in 0..BACKUP_TRIES_MAX {
            let snapshots = pinned::snapshots(disk, &self.from("snapshots")).context("cannot read the snapshots")?;
            let before = pinned::segments(disk, &journal).context("cannot read the journal")?;
            self.copy_snapshot(&snapshots)?;
            archive.catch_up().context("cannot copy the archive")?;
            self.copy_secrets()?;
            self.copy_store()?;
            let after = pinned::segments(disk, &journal).context("cannot read the journal")?;
            if let Some(segments) = joined(before, after) {
                return Ok(segments);
            }
        }
        Err(anyhow!("the journal changes faster than it can be copied"))
    }

    /// The newest that is whole, alone.
    fn copy_snapshot(&mut self, snapshots: &[Pinned]) -> anyhow::Result<()> {
        let folder = self.to("snapshots");
        for (_, path) in snapshot::list(self.disk, &folder)? {
            self.disk.remove(&path)?;
        }
        self.problems.clear();
        for snapshot in snapshots {
            let name = snapshot.path.file_name().context("a snapshot has a name")?;
            let to = folder.join(name);
            let copied = self.disk.copy(&mut snapshot.read(), &to, u64::MAX, |_| {});
            copied.with_context(|| format!("cannot copy {}", snapshot.path.display()))?;
            match read_to_end(self.disk, &to) {
                Ok(()) => return Ok(()),
                Err(SnapshotError::Damaged { problem, .. }) => {
                    self.disk.remove(&to)?;
                    let path = snapshot.path.display();
                    self.problems.push(format!("snapshot {path}: left out, since it is damaged: {problem}"));
                }
                Err(e) => return Err(e).context("cannot read a snapshot back"),
            }
        }
        Ok(())
    }

    fn copy_secrets(&self) -> anyhow::Result<()> {
        for name in SECRETS.into_iter().filter(|name| self.from(name).is_file()) {
            let mut from = File::open(self.from(name)).with_context(|| format!("cannot read {name}"))?;
            self.disk.copy(&mut from, &self.to(name), u64::MAX, |_| {})?;
            self.disk.make_private(&self.to(name))?;
        }
        Ok(())
    }

    fn copy_store(&mut self) -> anyhow::Result<()> {
        if !self.from(store::DATABASE).is_file() {
            return Ok(());
        }
        let to = self.to(store::DATABASE);
        match store::copy(self.request.data, &to) {
            Ok(()) => Ok(()),
            // What runs does not need it, and what is in the journal is worth more than a refusal.
            Err(store::StoreError::Refused(why)) => {
                self.problems.push(format!("store {}: left out: {why}", store::DATABASE));
                if to.exists() { self.disk.remove(&to).context("cannot remove a copy") } else { Ok(()) }
            }
            Err(e) => Err(e).context("cannot copy the store"),
        }
    }

    /// Names are on the disk before the records that have their numbers: those of the journal that was read are there.
    fn copy_names(&mut self) -> anyhow::Result<()> {
        for name in ["identity", "names"] {
            let from = self.from("journal").join(name);
            if let Ok(mut file) = File::open(&from) {
                let copied = self.disk.copy(&mut file, &self.to("journal").join(name), u64::MAX, |_| {});
                copied.with_context(|| format!("cannot copy {}", from.display()))?;
            } else {
                self.problems.push(format!("journal {name}: cannot be read; it is made anew from what else is there"));
            }
        }
        // A name that was being written is no part of it.
        let names = NamesFile::open(self.disk, &self.to("journal"));
        let (mut names, n_lost) = names.context("cannot read the names")?;
        names.catch_up().context("cannot write the names")?;
        if n_lost > 0 {
            self.problems.push(format!("journal names: {n_lost} names cannot be read"));
        }
        Ok(())
    }

    /// Reads the journal as recovery will, and cuts off what was being written.
    fn read_back(&mut self) -> anyhow::Result<Reached> {
        let snapshots = snapshot::list(self.disk, &self.to("snapshots"))?;
        let (mut record, mut next_position, mut taken) = (0, 1, None);
        if let Some((_, path)) = snapshots.first() {
            let (_, cut) = SnapshotReader::open(self.disk, path)?;
            (record, next_position, taken) = (cut.record, cut.next_position, Some(cut.record));
        }
        let mut reader = Reader::open(self.disk, &self.to("journal"), record + 1..=u64::MAX)?;
        while let Some(raw) = reader.next_raw() {
            raw.context("cannot read the journal back")?;
        }
        let report = reader.report();
        if let Some(cut) = &report.cut {
            self.disk.truncate(&cut.segment, cut.at).context("cannot cut off what was being written")?;
        }
        if report.n_lost_records > 0 {
            let (records, events) = (report.n_lost_records, report.n_lost_events);
            self.problems
                .push(format!("journal: {records} records are gone, with {events} events; see `ringfence doctor`"));
        }
        record = report.last_record.max(record);
        next_position = report.next_position.max(next_position);
        Ok(Reached { snapshot: taken, record, next_position })
    }

    /// Settings and rules, so that a machine can be made again. What they name elsewhere, secrets above all, stays there.
    fn copy_settings(&mut self) -> anyhow::Result<()> {
        let folder = self.part.join(SETTINGS);
        self.disk.create_folder(&folder)?;
        if let Some(settings) = self.request.settings {
            let mut file = File::open(settings).with_context(|| format!("cannot read {}", settings.display()))?;
            let to = folder.join("ringfence.toml");
            self.disk.copy(&mut file, &to, u64::MAX, |_| {})?;
        }
        let Some(rules) = self.request.rules else { return Ok(()) };
        let is_part = |path: &String| !path.split('/').any(|name| name.starts_with('.')) && is_of_rules(path);
        let listed = self.disk.list_below(rules, 10 * RULE_FILES_MAX);
        let listed = listed.with_context(|| format!("cannot read the rules of {}", rules.display()))?;
        for path in listed.iter().filter(|path| is_part(path)) {
            let (from, to) = (rules.join(path), folder.join("rules").join(path));
            if let Some(folder) = to.parent() {
                self.disk.create_folder(folder)?;
            }
            let mut file = File::open(&from).with_context(|| format!("cannot read {}", from.display()))?;
            self.disk.copy(&mut file, &to, u64::MAX, |_| {})?;
        }
        // The version is the sum over all files that the rules are read from.
        let version = |folder: &Path| Some(load(&RuleSource::at(folder), LoadOptions::default()).policy?.version);
        if version(rules) != version(&folder.join("rules")) {
            let rules = rules.display();
            self.problems.push(format!("rules {rules}: not all of their files are copied; keep them elsewhere too"));
        }
        Ok(())
    }
}

/// Segments of two looks at one journal, the second of which has the first's last: nothing is missing in between.
fn joined(before: Vec<Pinned>, after: Vec<Pinned>) -> Option<Vec<Pinned>> {
    let Some(last) = before.last().map(|segment| segment.number) else { return Some(after) };
    let first = after.first().map(|segment| segment.number)?;
    if !after.iter().any(|segment| segment.number == last) {
        return None;
    }
    Some(before.into_iter().filter(|segment| segment.number < first).chain(after).collect())
}

fn read_to_end(disk: &Disk, path: &Path) -> Result<(), SnapshotError> {
    let (mut reader, _) = SnapshotReader::open(disk, path)?;
    while reader.next()?.is_some() {}
    Ok(())
}

/// Files that rules are made of; a folder of rules may be one where other things lie too.
fn is_of_rules(path: &str) -> bool {
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ["toml", "csv", "txt", "tsv", "list", "json"].contains(&ending))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn parent_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}
