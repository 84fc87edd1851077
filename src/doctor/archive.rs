//! The archive: what its manifest names against what is there, by length at once, byte by byte where that is asked for.

use std::path::Path;

use super::{Area, Report};
use crate::archive::{Archive, ArchiveError, LOCK, MANIFEST};
use crate::config::Config;

/// Files that are told one by one.
const TOLD_MAX: usize = 20;
/// Records behind which the archive is when a round is due: with bytes instead of them, what the settings say.
const ROUNDS_BEHIND_MAX: u64 = 3;
const FROM_BACKUP: &str = "copy it from a backup; what the journal still holds is not in it";

/// `covered`: the last record of the snapshot that a restart begins from.
pub(super) fn look(config: &Config, data: &Path, covered: u64, deep: bool, report: &mut Report) {
    let folder = data.join("archive");
    if !folder.is_dir() {
        return;
    }
    let archive = match Archive::read(&folder) {
        Ok(archive) => archive,
        Err(ArchiveError::Damaged { problem, .. }) if !has_files(&folder) => {
            // The first start makes the folder before the manifest.
            return report.ok(Area::Archive, format!("nothing is in it: {problem}"));
        }
        Err(e) => {
            let mend = "copy the archive from a backup while the service is stopped; it does not start without";
            return report.error(Area::Archive, e.to_string(), mend);
        }
    };
    let wrong = if deep { read_whole(&archive) } else { compare_lengths(&archive) };
    let n = wrong.len();
    for what in wrong.into_iter().take(TOLD_MAX) {
        report.error(Area::Archive, what, FROM_BACKUP);
    }
    if n > TOLD_MAX {
        report.error(Area::Archive, format!("{} more files are not as they should be", n - TOLD_MAX), FROM_BACKUP);
    }
    look_at_lag(config, &archive, covered, report);
    let n_files = archive.files().count();
    let read = if deep { "read whole" } else { "all there" };
    report.ok(Area::Archive, format!("{n_files} files, {read}, up to record {}", archive.reached().saturating_sub(1)));
}

fn has_files(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name()).any(|name| name != LOCK && name != MANIFEST)
}

fn compare_lengths(archive: &Archive) -> Vec<String> {
    let wrong = |path: &str, expected: u64| match std::fs::metadata(archive.folder().join(path)) {
        Err(e) => Some(format!("{path}: {e}")),
        Ok(there) if there.len() != expected => {
            Some(format!("{path}: has {} bytes instead of {expected}", there.len()))
        }
        Ok(_) => None,
    };
    let first: Vec<String> = archive.files().filter_map(|file| wrong(&file.path, file.bytes)).collect();
    if first.is_empty() {
        return first;
    }
    // A file that was replaced meanwhile is not missing: the manifest no longer names it.
    let Ok(again) = Archive::read(archive.folder()) else { return first };
    again.files().filter_map(|file| wrong(&file.path, file.bytes)).collect()
}

fn read_whole(archive: &Archive) -> Vec<String> {
    match archive.verify(|_| {}) {
        Err(e) => vec![e.to_string()],
        // What no reader sees is no harm; the next round takes it away.
        Ok(found) => {
            let named = |path: &str| archive.files().any(|file| file.path == path);
            let found = found.into_iter().filter(|finding| named(&finding.path));
            found.map(|finding| format!("{}: {}", finding.path, finding.problem)).collect()
        }
    }
}

/// The journal keeps what the archive does not have yet; it is never behind.
fn look_at_lag(config: &Config, archive: &Archive, covered: u64, report: &mut Report) {
    let (archived, known) = (archive.reached().saturating_sub(1), report.journal.last_record.max(covered));
    if archived > known && !report.is_running() {
        let what =
            format!("it has records up to {archived}, but journal and snapshots end at {known}: their end is gone");
        let mend = "do not start the service: it would use the same positions again; restore a backup, or move archive and \
                    store away and begin anew";
        report.error(Area::Archive, what, mend);
    }
    let behind = report.journal.last_record.saturating_sub(archive.reached().saturating_sub(1));
    let bytes_max = config.archive.every_bytes.saturating_mul(ROUNDS_BEHIND_MAX);
    if config.archive.is_on && behind > 0 && report.journal.bytes > bytes_max {
        let what =
            format!("{behind} records are not in it, and the journal has grown to {} bytes", report.journal.bytes);
        let mend =
            "look for `the archive is behind` in the log; the journal keeps what is missing as long as there is room";
        report.warning(Area::Archive, what, mend);
    }
}
