//! The journal, read from its first segment to its last, and the names its numbers stand for.

use std::path::Path;

use super::{Area, JournalFigures, Report};
use crate::clock::{Clock, Timestamp};
use crate::journal::{self, Entry, NamesFile, RawRecord, ReadError, Reader};
use crate::storage::Disk;

/// Segments go while a running journal is read; it is begun again so often.
const TRIES: usize = 5;
/// Clocks of two machines are never quite alike.
const FUTURE_MS: i64 = 60_000;
const HARDWARE: &str =
    "a disk or memory is failing: look at `dmesg` and `smartctl -a`, and move the data folder elsewhere";
const FROM_BACKUP: &str = "restore the newest backup elsewhere and compare, or have the gateways send these events again (`ringfence send` does)";

/// `covered`: the last record of the snapshot that a restart begins from.
pub(super) fn look(disk: &Disk, data: &Path, covered: u64, report: &mut Report) {
    let folder = data.join("journal");
    if !folder.is_dir() {
        if covered > 0 {
            report.error(Area::Journal, format!("{}: is missing", folder.display()), FROM_BACKUP);
        }
        return;
    }
    for attempt in 1..=TRIES {
        match read(disk, &folder, covered) {
            Err(ReadError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && report.is_running() && attempt < TRIES => {}
            Err(e) => {
                let mend = match e {
                    ReadError::Newer { .. } => "use the version of ringfence that wrote it, or a newer one",
                    ReadError::OtherIdentity { .. } => "somebody copied it here from another data folder: move it away",
                    _ => "run the doctor as the service's user; if that is what it is, the disk cannot be read",
                };
                return report.error(Area::Journal, chain(&e), mend);
            }
            Ok(found) => return tell(&found, covered, report),
        }
    }
}

/// What was read.
struct Found {
    report: journal::Report,
    first_record: u64,
    /// Of the last batch.
    arrival: Option<Timestamp>,
}

/// Reads everything, and decodes the last batch.
fn read(disk: &Disk, folder: &Path, covered: u64) -> Result<Found, ReadError> {
    let segments = journal::segments(disk, folder);
    let segments = segments.map_err(|source| ReadError::Io { path: folder.to_owned(), source })?;
    let first = segments.first().map_or(1, |segment| segment.first);
    let mut reader = Reader::open(disk, folder, first.min(covered + 1)..=u64::MAX)?;
    let mut last: Option<RawRecord> = None;
    while let Some(record) = reader.next_raw() {
        let record = record?;
        if record.n_events > 0 {
            last = Some(record);
        }
    }
    let arrival = match last.map(|record| record.decode()).transpose()?.map(|record| record.entry) {
        Some(Entry::Batch { batch, .. }) => Some(batch.source.arrival),
        _ => None,
    };
    Ok(Found { report: reader.report().clone(), first_record: first, arrival })
}

fn tell(found: &Found, covered: u64, report: &mut Report) {
    let Found { report: found, first_record, arrival } = found;
    if found.n_mended > 0 {
        let what = format!("{} flipped bits were found, and mended while reading", found.n_mended);
        report.warning(Area::Journal, what, HARDWARE);
    }
    for damage in &found.damages {
        let (path, from, to) = (damage.segment.display(), damage.bytes.start, damage.bytes.end);
        report.error(Area::Journal, format!("{path}: bytes {from} to {to} are damaged and cannot be mended"), HARDWARE);
    }
    for lost in &found.lost {
        let (from, to) = (lost.records.start, lost.records.end.saturating_sub(1));
        let events = match lost.positions.is_empty() {
            true => String::new(),
            false => format!(", with the events {} to {}", lost.positions.start, lost.positions.end.saturating_sub(1)),
        };
        if to <= covered {
            let what = format!("records {from} to {to} are gone{events}; the snapshots have what they did");
            report.warning(Area::Journal, what, "nothing for the running state; they may be missing from the archive");
        } else {
            report.error(Area::Journal, format!("records {from} to {to} are gone{events}"), FROM_BACKUP);
        }
    }
    if let Some(cut) = &found.cut
        && !report.is_running()
    {
        let (path, n) = (cut.segment.display(), cut.bytes);
        let what = format!(
            "{path}: the last {n} bytes were being written when the service ended; nothing in them was acknowledged"
        );
        report.warning(Area::Journal, what, "nothing: the next start cuts them off");
    }
    let future_ms = arrival.map_or(0, |arrival| arrival.0.saturating_sub(Clock.now().0));
    if future_ms > FUTURE_MS {
        let what = format!("the newest events came in {} s from now, by this machine's clock", future_ms / 1000);
        report.error(
            Area::Clock,
            what,
            "set the clock right: it went back, and time in the service stands still until then",
        );
    }
    report.journal = JournalFigures {
        first_record: *first_record,
        last_record: found.last_record,
        next_position: found.next_position,
        bytes: found.bytes,
    };
    let (last, position) = (found.last_record, found.next_position);
    report.ok(Area::Journal, format!("read whole, up to record {last}; the next event has position {position}"));
}

/// Names are what records have numbers for.
pub(super) fn look_at_names(disk: &Disk, data: &Path, report: &mut Report) {
    let folder = data.join("journal");
    let has_records = journal::segments(disk, &folder).is_ok_and(|segments| !segments.is_empty());
    if !has_records {
        return;
    }
    if !folder.join("identity").is_file() {
        let mend = "nothing: the next start makes it anew from the segments";
        report.warning(Area::Names, format!("{}/identity: is missing", folder.display()), mend);
    }
    if !folder.join("names").is_file() {
        let mend = "copy it from a backup while the service is stopped: without it customers and gateways are called `lost-ID`";
        return report.error(Area::Names, format!("{}/names: is missing", folder.display()), mend);
    }
    match NamesFile::open(disk, &folder) {
        Ok((file, 0)) => {
            let (n_customers, n_gateways) = file.names().n_known();
            report.ok(Area::Names, format!("{n_customers} customers and {n_gateways} gateways are known"));
        }
        Ok((_, n_lost)) => {
            let mend =
                "copy the file from a backup while the service is stopped; else they are called `lost-ID` for ever";
            report.error(Area::Names, format!("{n_lost} names cannot be read"), mend);
        }
        Err(e) => report.error(Area::Names, format!("cannot be read: {e}"), "run the doctor as the service's user"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
