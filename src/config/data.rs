//! What outlives the process: where it is kept, how soon it is on the disk, and for how long.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::journal::{Durability, Settings as JournalSettings};

use super::Config;
use super::section::Section;
use crate::limits::JOURNAL_SEGMENT_BYTES_MAX;

/// A snapshot is taken when so much time has passed, or so much has been written to the journal, since the last.
#[derive(Clone, Debug)]
pub struct SnapshotSettings {
    pub every: Duration,
    pub every_bytes: u64,
}

impl Default for SnapshotSettings {
    fn default() -> SnapshotSettings {
        SnapshotSettings { every: Duration::from_secs(60), every_bytes: 512 << 20 }
    }
}

#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    pub is_on: bool,
    /// What the journal took since the last time is written to files this often, or when it is so much.
    pub every: Duration,
    pub every_bytes: u64,
    /// `None`: for ever, and as much as there is room for.
    pub age_max_days: Option<u32>,
    pub bytes_max: Option<u64>,
    /// Days after which numbers are replaced by keyed hashes, and after which those go too.
    pub pseudonymise_days: Option<u32>,
    pub erase_days: Option<u32>,
}

impl Default for ArchiveSettings {
    fn default() -> ArchiveSettings {
        ArchiveSettings {
            is_on: true,
            every: Duration::from_secs(3600),
            every_bytes: 256 << 20,
            age_max_days: Some(400),
            bytes_max: None,
            pseudonymise_days: None,
            erase_days: None,
        }
    }
}

pub(super) fn read(root: &Section<'_, '_>, config: &mut Config) {
    match root.text("data").as_deref() {
        None => {
            // What systemd made for the service; else beside the settings, as every path in them is.
            let state = std::env::var_os("STATE_DIRECTORY").filter(|folder| !folder.is_empty());
            config.data = Some(state.map_or_else(|| root.beside("ringfence-data"), PathBuf::from));
        }
        Some("off") => config.data = None,
        Some(_) => config.data = root.path("data"),
    }
    if let Some(section) = root.section("journal") {
        config.journal = read_journal(&section);
        section.finish();
    }
    if let Some(section) = root.section("snapshot") {
        let usual = SnapshotSettings::default();
        config.snapshot = SnapshotSettings {
            every: section.seconds("every_s", 1..=86_400, usual.every),
            every_bytes: mebibytes(&section, "every_mib", 1..=1 << 20).unwrap_or(usual.every_bytes),
        };
        section.finish();
    }
    if let Some(section) = root.section("archive") {
        config.archive = read_archive(&section);
        section.finish();
    }
}

fn read_journal(section: &Section<'_, '_>) -> JournalSettings {
    let usual = JournalSettings::default();
    let words = [("ack", Durability::Ack), ("interval", Durability::Interval), ("none", Durability::None)];
    let group_kib = section.integer("group_commit_kib", 1..=64 * 1024);
    JournalSettings {
        durability: section.word("durability", &words).unwrap_or(usual.durability),
        group_commit: section.milliseconds("group_commit_ms", 0..=1000, usual.group_commit),
        group_bytes: group_kib.map_or(usual.group_bytes, |kib| kib as usize * 1024),
        fsync_interval: section.milliseconds("fsync_interval_ms", 1..=60_000, usual.fsync_interval),
        segment_bytes: mebibytes(section, "segment_mib", 1..=JOURNAL_SEGMENT_BYTES_MAX as i64 >> 20)
            .unwrap_or(usual.segment_bytes),
        retry: usual.retry,
    }
}

fn read_archive(section: &Section<'_, '_>) -> ArchiveSettings {
    let usual = ArchiveSettings::default();
    let days = |key| section.integer(key, 0..=36_500).map(|days| u32::try_from(days).unwrap_or_default());
    // 0 is never.
    let or_never = |days: Option<u32>, usual: Option<u32>| days.map_or(usual, |days| Some(days).filter(|d| *d > 0));
    let settings = ArchiveSettings {
        is_on: section.boolean("enabled").unwrap_or(usual.is_on),
        every: section.seconds("every_s", 1..=86_400, usual.every),
        every_bytes: mebibytes(section, "every_mib", 1..=1 << 20).unwrap_or(usual.every_bytes),
        age_max_days: or_never(days("keep_days"), usual.age_max_days),
        bytes_max: mebibytes(section, "keep_mib", 0..=1 << 40).filter(|bytes| *bytes > 0),
        pseudonymise_days: or_never(days("pseudonymise_days"), None),
        erase_days: or_never(days("erase_days"), None),
    };
    if let (Some(erase), Some(pseudonymise)) = (settings.erase_days, settings.pseudonymise_days)
        && erase <= pseudonymise
    {
        let problem = format!("numbers are erased after {erase} days, before they are replaced after {pseudonymise}");
        section.problem("erase_days", problem);
    }
    settings
}

fn mebibytes(section: &Section<'_, '_>, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<u64> {
    section.integer(key, range).map(|mib| mib as u64 * (1 << 20))
}
