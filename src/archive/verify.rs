//! Whether the archive is what its manifest says: every file whole, nothing missing, nothing beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::checked::Checked;
use super::manifest::Entry;
use super::read::Events;
use super::schema::{Column, Columns};
use super::{Archive, ArchiveError, Query, files_below};
use crate::event::Names;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Below the archive's folder.
    pub path: String,
    pub problem: String,
}

impl Archive {
    /// Reads every file whole. `seen` is told of each that was read.
    pub fn verify(&self, mut seen: impl FnMut(&Entry)) -> Result<Vec<Finding>, ArchiveError> {
        let mut findings = Vec::new();
        let there: BTreeSet<String> = files_below(&self.folder)?.into_iter().collect();
        for entry in self.files() {
            if !there.contains(&entry.path) {
                findings.push(Finding { path: entry.path.clone(), problem: "it is missing".into() });
            } else if let Err(problem) = self.verify_file(entry) {
                findings.push(Finding { path: entry.path.clone(), problem });
            }
            seen(entry);
        }
        for path in there.into_iter().filter(|path| !self.manifest.files.contains_key(path)) {
            let problem = "the manifest does not name it; no reader sees it, and it goes with the next round".into();
            findings.push(Finding { path, problem });
        }
        Ok(findings)
    }

    fn verify_file(&self, entry: &Entry) -> Result<(), String> {
        let checked = Checked::open(&self.folder.join(&entry.path), entry.bytes, entry.sums.clone());
        checked.and_then(|file| file.verify()).map_err(|error| error.to_string())?;
        // What is damaged shows above; this is for a file that was written wrongly.
        let query = Query { n_threads: 1, ..Query::default() };
        let names = Arc::new(Names::new());
        let one = std::iter::once(entry);
        let events = Events::new(self.folder.clone(), one, &query, names, Columns::ALL);
        let (mut rows, mut last) = (0, 0);
        for slice in events {
            let slice = slice.map_err(|error| error_text(&error))?;
            for position in &slice.positions {
                if *position <= last || !(entry.first..=entry.last).contains(position) {
                    return Err(format!("{} {position} is out of order", Column::Position.spec().name));
                }
                last = *position;
            }
            rows += slice.positions.len() as u64;
        }
        if rows != entry.rows {
            return Err(format!("it has {rows} rows instead of {}", entry.rows));
        }
        Ok(())
    }
}

/// An error with what caused it.
fn error_text(error: &ArchiveError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
