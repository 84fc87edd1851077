//! `ringfence doctor`: everything that is wrong at once, each with how to mend it, in the order of the harm it does.
//!
//! It changes nothing, needs no lock, and works while the service runs and while it does not. What it reads may be
//! damaged in any way, or change under its eyes.

mod archive;
mod certificate;
mod command;
mod folder;
mod journal;
mod machine;
mod network;
mod service;
mod settings;
mod snapshots;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

pub use command::{Args, run};

use crate::config::Config;
use crate::storage::Disk;

/// Where something is wrong, in the order of harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    DataFolder,
    Disk,
    Journal,
    Snapshots,
    Names,
    Store,
    Archive,
    Service,
    Clock,
    Settings,
    Rules,
    Listeners,
    Sinks,
    Certificates,
    Limits,
}

impl Area {
    pub fn as_str(self) -> &'static str {
        match self {
            Area::DataFolder => "data folder",
            Area::Disk => "disk",
            Area::Journal => "journal",
            Area::Snapshots => "snapshots",
            Area::Names => "names",
            Area::Store => "store",
            Area::Archive => "archive",
            Area::Service => "service",
            Area::Clock => "clock",
            Area::Settings => "settings",
            Area::Rules => "rules",
            Area::Listeners => "listeners",
            Area::Sinks => "sinks",
            Area::Certificates => "certificates",
            Area::Limits => "limits",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is lost, or does not work.
    Error,
    /// It works, and may not for long.
    Warning,
    Ok,
}

/// What was found at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub area: Area,
    pub severity: Severity,
    pub what: String,
    /// How to mend it; empty where nothing is to be done.
    pub mend: String,
}

/// One snapshot, read whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotFigures {
    pub record: u64,
    pub next_position: u64,
    pub bytes: u64,
    /// SHA-256 over the state without its order: two that were taken while nothing came are alike if it is.
    pub state: String,
}

/// The journal, read whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalFigures {
    pub first_record: u64,
    pub last_record: u64,
    pub next_position: u64,
    pub bytes: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// In the order of harm.
    pub findings: Vec<Finding>,
    /// Those that are whole, newest first.
    pub snapshots: Vec<SnapshotFigures>,
    pub journal: JournalFigures,
    /// The process that has the data folder.
    pub process: Option<String>,
}

impl Report {
    fn note(&mut self, area: Area, severity: Severity, what: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(Finding { area, severity, what: what.into(), mend: mend.into() });
    }

    fn error(&mut self, area: Area, what: impl Into<String>, mend: impl Into<String>) {
        self.note(area, Severity::Error, what, mend);
    }

    fn warning(&mut self, area: Area, what: impl Into<String>, mend: impl Into<String>) {
        self.note(area, Severity::Warning, what, mend);
    }

    fn ok(&mut self, area: Area, what: impl Into<String>) {
        self.note(area, Severity::Ok, what, "");
    }

    fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Is anything wrong?
    pub fn has_findings(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity != Severity::Ok)
    }

    /// Errors before warnings, each in the order of harm; of areas in which something is wrong, only that.
    fn finish(mut self) -> Report {
        let wrong = self.findings.iter().filter(|finding| finding.severity != Severity::Ok);
        let wrong: BTreeSet<Area> = wrong.map(|finding| finding.area).collect();
        self.findings.retain(|finding| finding.severity != Severity::Ok || !wrong.contains(&finding.area));
        self.findings.sort_by_key(|finding| (finding.severity, finding.area));
        self
    }
}

/// Looks at everything the settings name. `path` is the file they came from. `deep` reads the archive whole too.
pub fn examine(disk: &Disk, config: &Config, path: Option<&Path>, deep: bool) -> Report {
    let mut report = Report::default();
    match &config.data {
        Some(data) => examine_data(disk, config, data, deep, &mut report),
        None => report.warning(
            Area::DataFolder,
            "data is `off`: nothing outlives the service, and gateways are told so",
            "set `data` in the settings to a folder",
        ),
    }
    service::look(config, &mut report);
    machine::look(config, &mut report);
    settings::look(config, path, &mut report);
    network::look(config, &mut report);
    report.finish()
}

fn examine_data(disk: &Disk, config: &Config, data: &Path, deep: bool, report: &mut Report) {
    if !folder::look(data, report) {
        return;
    }
    let covered = snapshots::look(disk, config, data, report);
    journal::look(disk, data, covered, report);
    journal::look_at_names(disk, data, report);
    folder::look_at_store(data, report);
    archive::look(config, data, covered, deep, report);
    folder::look_at_disk(disk, data, report);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_before_warnings_in_the_order_of_harm_and_hide_what_is_well_there() {
        let mut report = Report::default();
        report.ok(Area::Journal, "read");
        report.warning(Area::Disk, "nearly full", "make room");
        report.error(Area::Sinks, "unreachable", "look");
        report.error(Area::Journal, "records are gone", "restore");
        report.ok(Area::Clock, "right");
        assert!(report.has_findings());
        let areas: Vec<Area> = report.finish().findings.iter().map(|finding| finding.area).collect();
        assert_eq!(areas, [Area::Journal, Area::Sinks, Area::Disk, Area::Clock]);
    }
}
