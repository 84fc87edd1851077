//! The data folder, the disk it lies on, and the store in it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::{Area, Report};
use crate::clock::Clock;
use crate::journal;
use crate::limits::{DOCTOR_FREE_BYTES_MIN, DOCTOR_FREE_FILES_MIN};
use crate::storage::{Disk, holder_of};
use crate::store;

const DAY_S: f64 = 86_400.0;
/// A journal that is younger says little of a day.
const MEASURED_S_MIN: f64 = 60.0;

/// Whether there is anything to look at.
pub(super) fn look(data: &Path, report: &mut Report) -> bool {
    let shown = data.display();
    let there = match std::fs::metadata(data) {
        Ok(there) if there.is_dir() => there,
        Ok(_) => {
            let mend = "move it away, or name another folder as `data` in the settings";
            report.error(Area::DataFolder, format!("{shown}: is no folder"), mend);
            return false;
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mend = "nothing, if the service was never started here; else mount its disk, name the right folder as \
                        `data` in the settings, or restore a backup with `ringfence restore`";
            report.warning(Area::DataFolder, format!("{shown}: is not there"), mend);
            return false;
        }
        Err(e) => {
            let mend = "run the doctor as the service's user";
            report.error(Area::DataFolder, format!("{shown}: cannot be looked at: {e}"), mend);
            return false;
        }
    };
    match holder_of(data) {
        Ok(process) => report.process = process,
        Err(e) => report.warning(
            Area::DataFolder,
            format!("{shown}/lock: cannot be read: {e}; whether the service runs is not known"),
            "run the doctor as the service's user",
        ),
    }
    look_at_owner(data, &there, report);
    if access(data, Access::READ_OK | Access::EXEC_OK).is_err() {
        let mend = "run the doctor as the service's user";
        report.error(Area::DataFolder, format!("{shown}: may not be read by this user"), mend);
        return false;
    }
    let who = match report.process.as_deref() {
        Some("") => "in use by another process".to_owned(),
        Some(process) => format!("in use by process {process}"),
        None => "not in use: the service does not run".to_owned(),
    };
    report.ok(Area::DataFolder, format!("{shown}: {who}"));
    true
}

/// Whoever starts the service must be able to write all of it.
fn look_at_owner(data: &Path, there: &Metadata, report: &mut Report) {
    let (shown, owner) = (data.display(), there.uid());
    let mut strange = Vec::new();
    for below in ["journal", "snapshots", "archive", "lock", store::DATABASE, "ringfence.db-wal", "archive-key"] {
        let path = data.join(below);
        let Ok(one) = std::fs::metadata(&path) else { continue };
        if one.uid() != owner {
            strange.push(format!("{below} (user {})", one.uid()));
        }
        let in_folder = std::fs::read_dir(&path).into_iter().flatten().flatten();
        let others = in_folder.filter(|entry| entry.metadata().is_ok_and(|one| one.uid() != owner)).count();
        if others > 0 {
            strange.push(format!("{others} files in {below}"));
        }
    }
    if !strange.is_empty() {
        let what = format!("{shown}: belongs to user {owner}, but what is in it does not: {}", strange.join(", "));
        let mend = format!("chown -R {owner}:{} {shown}; do not start the service as another user", there.gid());
        report.error(Area::DataFolder, what, mend);
    }
    let me = rustix::process::geteuid().as_raw();
    if me != owner && me != 0 {
        let mend = "start it as the folder's owner, and run the doctor as that user";
        report.warning(Area::DataFolder, format!("{shown}: belongs to user {owner}, this is user {me}"), mend);
    } else if access(data, Access::WRITE_OK).is_err() {
        let mend = format!("chmod u+rwx {shown}, or mount the disk for writing");
        report.error(Area::DataFolder, format!("{shown}: cannot be written by its owner"), mend);
    }
}

pub(super) fn look_at_store(data: &Path, report: &mut Report) {
    let set_aside = std::fs::read_dir(data).into_iter().flatten().flatten();
    let is_aside = |name: &str| name.starts_with(store::DATABASE) && name.contains(".damaged-");
    let aside = set_aside.filter(|entry| entry.file_name().to_str().is_some_and(is_aside)).count();
    if aside > 0 {
        report.warning(
            Area::Store,
            format!("{aside} files of a store that was damaged stand beside it"),
            "look at them with sqlite3, or restore a backup elsewhere to compare; then remove them",
        );
    }
    if !data.join(store::DATABASE).is_file() {
        let was_used = data.join("snapshots").is_dir();
        if was_used {
            let mend = "restore it from a backup while the service is stopped; without one the service begins a new one, \
                        and the audit log and what was found before are gone from it";
            report.error(Area::Store, format!("{}: is missing", store::DATABASE), mend);
        }
        return;
    }
    let mend = "stop the service and start it again: it sets a damaged store aside and saves what is good of it; for the \
                rest restore a backup";
    match store::examine(data) {
        Ok(found) if found.is_empty() => report.ok(Area::Store, "read whole"),
        Ok(found) => found.into_iter().for_each(|what| report.error(Area::Store, what, mend)),
        Err(e) => report.error(Area::Store, e.to_string(), mend),
    }
}

/// Room for a day in which nothing of the journal can go, and for the snapshots that are written beside the old ones.
pub(super) fn look_at_disk(disk: &Disk, data: &Path, report: &mut Report) {
    let shown = data.display();
    let figures = match statvfs(data) {
        Ok(figures) => figures,
        Err(e) => return report.warning(Area::Disk, format!("{shown}: cannot tell what is free: {e}"), ""),
    };
    if figures.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let mend = "mount it for writing; a disk that failed mounts itself read-only: see `dmesg`";
        report.error(Area::Disk, format!("{shown}: its disk is mounted read-only"), mend);
    }
    let free = figures.f_bavail.saturating_mul(figures.f_frsize);
    let snapshots = disk.list(&data.join("snapshots")).unwrap_or_default();
    let largest = snapshots.iter().map(|listed| listed.bytes).max().unwrap_or(0);
    let per_day = journal_bytes_per_day(disk, data);
    let day = per_day.map(|bytes| bytes.saturating_add(2 * largest));
    let free_told = told(free);
    let at_once = DOCTOR_FREE_BYTES_MIN.saturating_add(2 * largest);
    let mend = "make room, add disk, or shorten `keep_days` in [archive]; without room nothing is acknowledged";
    if free < at_once {
        report.error(Area::Disk, format!("{shown}: only {free_told} free"), mend);
    } else if let Some(day) = day.filter(|day| free < *day) {
        let day = told(day);
        let what =
            format!("{shown}: {free_told} free, but a day of journal and snapshots at the rate measured is {day}");
        report.warning(Area::Disk, what, mend);
    } else {
        let rate = per_day.map_or_else(String::new, |bytes| format!("; the journal writes {} a day", told(bytes)));
        report.ok(Area::Disk, format!("{shown}: {free_told} free{rate}"));
    }
    // Some file systems have no such bound.
    if figures.f_files > 0 && figures.f_favail < DOCTOR_FREE_FILES_MIN {
        let mend = "remove small files, or make the file system anew with more inodes";
        report.warning(Area::Disk, format!("{shown}: room for {} more files only", figures.f_favail), mend);
    }
}

fn told(bytes: u64) -> String {
    crate::backup::command::told_size(bytes)
}

/// By the segments that are there: when they were last written, and how much stands behind the first.
fn journal_bytes_per_day(disk: &Disk, data: &Path) -> Option<u64> {
    let segments = journal::segments(disk, &data.join("journal")).ok()?;
    let begun = segments.first().and_then(|segment| seconds_ago(&segment.path))?;
    let ended = segments.last().and_then(|segment| seconds_ago(&segment.path))?;
    let span = begun - ended;
    let bytes: u64 = segments.iter().skip(1).map(|segment| segment.bytes).sum();
    (span >= MEASURED_S_MIN).then(|| (bytes as f64 / span * DAY_S) as u64)
}

/// How long ago a file was last written; less than nothing where it says that it will be.
pub(super) fn seconds_ago(path: &Path) -> Option<f64> {
    let metadata = std::fs::metadata(path).ok()?;
    let written_ms = metadata.mtime().checked_mul(1000)?.checked_add(metadata.mtime_nsec() / 1_000_000)?;
    Some((Clock.now().0 - written_ms) as f64 / 1000.0)
}
