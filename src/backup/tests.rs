//! Backups and restores on a disk that fails at any step: whole, or not there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Request, restore, take};
use crate::journal::{Identity, NamesFile};
use crate::snapshot::{Cut, Section, SnapshotWriter};
use crate::storage::{Disk, Faults};
use crate::store::Store;

/// A data folder with a little of everything but a segment.
fn data_folder(folder: &Path) -> PathBuf {
    let (disk, data) = (Disk::real(), folder.join("data"));
    let journal = data.join("journal");
    Identity::open(&disk, &journal).unwrap();
    let (mut names, _) = NamesFile::open(&disk, &journal).unwrap();
    names.names().customer("acme").unwrap();
    names.catch_up().unwrap();
    let cut = Cut { record: 7, next_position: 70, ..Cut::default() };
    let mut snapshot = SnapshotWriter::create(&disk, &data.join("snapshots"), &cut).unwrap();
    snapshot.frame(Section::Engine, &[1; 1000]).unwrap();
    snapshot.finish().unwrap();
    disk.create_folder(&data.join("archive/acme")).unwrap();
    for file in ["archive/acme/1.parquet", "archive/_manifest", "archive-key"] {
        disk.replace_file(&data.join(file), |to| to.write_all(file.as_bytes())).unwrap();
    }
    Store::open(&data).unwrap().0.close();
    data
}

fn request<'a>(data: &'a Path, to: &'a Path) -> Request<'a> {
    Request { data, settings: None, rules: None, to }
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = Disk::real().list_below(folder, 100).unwrap();
    let files = files.into_iter().filter(|path| path != "lock");
    files.map(|path| (path.clone(), std::fs::read(folder.join(&path)).unwrap())).collect()
}

#[test]
fn a_backup_is_whole_or_not_there_whatever_fails() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_folder(folder.path());
    let mut n_failed = 0;
    for k in 1..500 {
        let to = folder.path().join(format!("backup-{k}"));
        let faults = Arc::new(Faults::default());
        faults.fail(None, k, 1);
        match take(&Disk::failing(Arc::clone(&faults)), &request(&data, &to)) {
            Ok(taken) => {
                assert_eq!((taken.contents.snapshot, taken.contents.record), (Some(7), 7), "{:?}", taken.problems);
                restore(&Disk::real(), &to, &folder.path().join(format!("restored-{k}"))).unwrap();
            }
            // The last sync of all may fail when it has its name.
            Err(_) if to.exists() => drop(restore(&Disk::real(), &to, &folder.path().join(format!("r-{k}"))).unwrap()),
            Err(_) => n_failed += 1,
        }
        if faults.n_begun() < k {
            assert!(n_failed > 20, "{n_failed}");
            return;
        }
    }
    panic!("more operations than thought");
}

#[test]
fn a_restore_that_fails_anywhere_is_done_again_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_folder(folder.path());
    let backup = folder.path().join("backup");
    take(&Disk::real(), &request(&data, &backup)).unwrap();
    let whole = folder.path().join("whole");
    restore(&Disk::real(), &backup, &whole).unwrap();
    for k in 1..500 {
        let target = folder.path().join(format!("target-{k}"));
        let faults = Arc::new(Faults::default());
        faults.fail(None, k, 1);
        let failed = restore(&Disk::failing(Arc::clone(&faults)), &backup, &target).is_err();
        if failed && !target.join("journal").exists() {
            restore(&Disk::real(), &backup, &target).unwrap_or_else(|e| panic!("fault {k}: {e:#}"));
        }
        assert_eq!(contents(&target), contents(&whole), "fault {k}");
        if faults.n_begun() < k {
            return;
        }
    }
    panic!("more operations than thought");
}

#[test]
fn a_backup_never_lies_in_the_data_folder_and_leaves_nothing_where_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_folder(folder.path());
    for to in ["b", "deep/er/b", "archive/b"] {
        let refused = take(&Disk::real(), &request(&data, &data.join(to))).unwrap_err().to_string();
        assert!(refused.ends_with("would lie in the data folder; choose another place"), "{refused}");
        assert!(!data.join("deep").exists() && !data.join("b.part").exists());
    }
    let none = folder.path().join("none");
    let refused = take(&Disk::real(), &request(&none, &folder.path().join("b"))).unwrap_err().to_string();
    assert!(refused.ends_with("there is no journal in it"), "{refused}");
}

#[test]
fn a_damaged_snapshot_or_store_is_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = data_folder(folder.path());
    let cut = Cut { record: 9, next_position: 90, ..Cut::default() };
    SnapshotWriter::create(&Disk::real(), &data.join("snapshots"), &cut).unwrap().finish().unwrap();
    let newest = data.join("snapshots/00000000000000000009.snap");
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    std::fs::write(data.join(crate::store::DATABASE), [7; 9000]).unwrap();
    let to = folder.path().join("backup");
    let taken = take(&Disk::real(), &request(&data, &to)).unwrap();
    assert_eq!((taken.contents.snapshot, taken.problems.len()), (Some(7), 2), "{:?}", taken.problems);
    assert!(taken.problems[0].contains("left out, since it is damaged"));
    assert!(taken.problems[1].starts_with("store ringfence.db: left out"), "{:?}", taken.problems);
    restore(&Disk::real(), &to, &folder.path().join("restored")).unwrap();
}
