//! Snapshots, each read whole: which one a restart would use, and what its state comes to.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Area, Report, SnapshotFigures};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::saved_frames;
use crate::snapshot::{self, Cut, Section, SnapshotError, SnapshotReader};
use crate::storage::Disk;

/// An idle service takes a snapshot this seldom.
const IDLE_MS: i64 = 3_600_000;

/// The last record of the snapshot that a restart would use; 0 where there is none.
pub(super) fn look(disk: &Disk, config: &Config, data: &Path, report: &mut Report) -> u64 {
    let mut used: Option<Cut> = None;
    let mut n_damaged = 0;
    let listed = snapshot::list(disk, &data.join("snapshots"));
    let listed = listed.unwrap_or_else(|e| {
        report.error(Area::Snapshots, format!("cannot be listed: {e}"), "run the doctor as the service's user");
        Vec::new()
    });
    for (_, path) in listed {
        match read(disk, &path) {
            Ok((cut, figures)) => {
                report.snapshots.push(figures);
                used.get_or_insert(cut);
            }
            // Its turn is over: a newer one came.
            Err(SnapshotError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                n_damaged += 1;
                let mend = match used {
                    Some(_) => "nothing: a newer one is whole, and the next one takes its place",
                    None => {
                        "nothing by hand: the next start uses an older one or the journal alone; look for the cause in \
                             `dmesg`, memory and disk, and keep a backup"
                    }
                };
                report.error(Area::Snapshots, e.to_string(), mend);
            }
        }
    }
    let Some(cut) = used else {
        if n_damaged > 0 {
            let mend = "restore a backup unless the journal goes back to its first record";
            report.error(Area::Snapshots, "none of them can be used: a restart has the journal alone", mend);
        }
        return 0;
    };
    let age_ms = Clock.now().0.saturating_sub(cut.taken_at);
    let late_ms = 2 * IDLE_MS + 3 * i64::try_from(config.snapshot.every.as_millis()).unwrap_or(IDLE_MS);
    if age_ms < -60_000 {
        let what = format!("the newest is of a time to come, {} s from now", -age_ms / 1000);
        report.warning(Area::Clock, what, "set the clock right; it went back since the snapshot was taken");
    } else if report.is_running() && age_ms > late_ms {
        let what = format!("the newest is {} min old although the service runs", age_ms / 60_000);
        report.error(
            Area::Snapshots,
            what,
            "look for `no snapshot` in the log; a restart takes longer with every minute",
        );
    }
    let n = report.snapshots.len();
    let (record, age) = (cut.record, age_ms / 1000);
    report.ok(Area::Snapshots, format!("{n} read whole; a restart begins from that of record {record}, {age} s old"));
    cut.record
}

/// Reads all of it. Frames come in any order, and so they count.
fn read(disk: &Disk, path: &Path) -> Result<(Cut, SnapshotFigures), SnapshotError> {
    let (mut reader, cut) = SnapshotReader::open(disk, path)?;
    let mut sums: Vec<[u8; 32]> = Vec::new();
    while let Some((section, bytes)) = reader.next()? {
        let frames = match section {
            Section::Engine => saved_frames(&bytes).ok_or_else(|| SnapshotError::Damaged {
                path: path.to_owned(),
                problem: "a frame of the engine's is damaged".into(),
            })?,
            _ => vec![bytes.as_slice()],
        };
        for frame in frames {
            sums.push(Sha256::new().chain_update([section as u8]).chain_update(frame).finalize().into());
        }
    }
    sums.sort_unstable();
    let state = Sha256::digest(sums.concat());
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let state = state.iter().map(|byte| format!("{byte:02x}")).collect();
    let figures = SnapshotFigures { record: cut.record, next_position: cut.next_position, bytes, state };
    Ok((cut, figures))
}
