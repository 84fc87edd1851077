//! The data folder: one process at a time, and what in it must be as it was before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::backup::RESTORING;
use crate::event::Names;
use crate::journal::{Identity, NamesFile};
use crate::snapshot::{self, SnapshotReader};
use crate::storage::{Disk, FolderLock};
use crate::store::{DATABASE, OpenReport, Store};

/// An open data folder. Nobody else has it while this lives.
pub(super) struct DataFolder {
    pub(super) disk: Disk,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) names_file: NamesFile,
    pub(super) store: Arc<Store>,
    /// What was wrong, for people.
    pub(super) problems: Vec<String>,
    pub(super) lock: FolderLock,
}

impl DataFolder {
    pub(super) fn open(path: &Path) -> anyhow::Result<DataFolder> {
        let disk = Disk::from_environment();
        let lock = FolderLock::take(path).with_context(|| format!("cannot use the data folder {}", path.display()))?;
        let journal = journal_of(path);
        // The journal is the last that a restore puts in its place.
        let is_half = path.join(RESTORING).exists() && !journal.exists();
        anyhow::ensure!(!is_half, "data folder {}: a restore was cut short here; do it again", path.display());
        snapshot::clear(&disk, &snapshots_of(path)).context("cannot clear the snapshots")?;
        let identity = Identity::open(&disk, &journal).context("cannot read which journal this is")?;
        let (names_file, n_lost) = NamesFile::open(&disk, &journal).context("cannot read the names of the journal")?;
        let mut problems = Vec::new();
        recall_names(&disk, &snapshots_of(path), names_file.names(), &mut problems);
        let (store, report) = Store::open(path)?;
        // Passwords' hashes are in it.
        disk.make_private(&path.join(DATABASE)).context("cannot make the database private")?;
        problems.extend(problems_of(&report));
        problems.extend(names_lost(n_lost));
        let store = Arc::new(store);
        Ok(DataFolder { disk, path: path.to_owned(), identity, names_file, store, problems, lock })
    }

    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(self.names_file.names())
    }

    pub(super) fn journal(&self) -> PathBuf {
        journal_of(&self.path)
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        snapshots_of(&self.path)
    }
}

/// Names that the journal has lost the end of, as the newest snapshot knows them: with other ids, customers and gateways
/// would not be who they were.
fn recall_names(disk: &Disk, snapshots: &Path, names: &Names, problems: &mut Vec<String>) {
    let newest = snapshot::list(disk, snapshots).unwrap_or_default().into_iter();
    let Some(cut) = newest.filter_map(|(_, path)| SnapshotReader::open(disk, &path).ok()).map(|(_, cut)| cut).next()
    else {
        return;
    };
    let (n_customers, n_gateways) = names.n_known();
    let (customers, gateways) = (cut.customers.get(n_customers..), cut.gateways.get(n_gateways..));
    let (customers, gateways) = (customers.unwrap_or_default(), gateways.unwrap_or_default());
    // In the order of their ids, each gets the one it had.
    for name in customers {
        names.customer(name);
    }
    for name in gateways {
        names.gateway(name);
    }
    let n = customers.len() + gateways.len();
    if n > 0 {
        problems.push(format!("journal names: damaged or gone; {n} names were read from the newest snapshot"));
    }
}

/// What is said of names that are gone.
pub(super) fn names_lost(n: u64) -> Option<String> {
    (n > 0).then(|| format!("journal names: {n} names are gone; they are called lost-ID from now on"))
}

pub(super) fn snapshots_of(folder: &Path) -> PathBuf {
    folder.join("snapshots")
}

pub(super) fn journal_of(folder: &Path) -> PathBuf {
    folder.join("journal")
}

fn problems_of(report: &OpenReport) -> Vec<String> {
    let aside = report.set_aside.iter().map(|aside| {
        let (path, why, rows) = (aside.path.display(), &aside.why, aside.rows_saved);
        format!("store: damaged ({why}); it is kept as {path}, and a new one begun with {rows} rows of it")
    });
    aside.chain(report.mended.iter().map(|mended| format!("store: {mended}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Cut, SnapshotWriter};

    #[test]
    fn names_that_the_journal_lost_are_read_from_the_newest_snapshot_with_their_ids() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::real();
        let names = Names::new();
        names.customer("acme");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (customers, gateways) = (words(&["default", "acme", "globex"]), words(&["file", "sbc"]));
        let cut = Cut { record: 1, customers, gateways, ..Cut::default() };
        SnapshotWriter::create(&disk, folder.path(), &cut).and_then(SnapshotWriter::finish).expect("writes");
        let mut problems = Vec::new();
        recall_names(&disk, folder.path(), &names, &mut problems);
        assert_eq!(names.all(), (vec!["default", "acme", "globex"], vec!["file", "sbc"]));
        assert_eq!(problems.len(), 1);
        recall_names(&disk, folder.path(), &names, &mut problems);
        assert_eq!(problems.len(), 1, "nothing is missing any more");
    }
}
