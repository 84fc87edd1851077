//! Drafts for whoever has a service: it knows where everything is.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Draft, FindingsError, Sources, draft};
use crate::clock::Timestamp;
use crate::current::Current;
use crate::event::Names;
use crate::incident::{Alert, Incident};
use crate::limits::FINDINGS_ALERTS_MAX;
use crate::policy::{Policy, RuleSource};
use crate::storage::Disk;
use crate::store::{Store, SubjectKind, SubjectQuery, SubjectRow};

/// [`Sources`] of one data folder.
pub struct Drafter {
    pub disk: Disk,
    pub archive: PathBuf,
    pub journal: PathBuf,
    pub store: Arc<Store>,
    pub policy: Current<Policy>,
    pub names: Arc<Names>,
    pub rules: RuleSource,
}

impl std::fmt::Debug for Drafter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Drafter({})", self.journal.display())
    }
}

impl Drafter {
    /// Of an incident with its alerts as they stand. Blocks for as long as the calls take to be read.
    pub fn draft(&self, incident: &Incident, now: Timestamp) -> Result<Draft, FindingsError> {
        let sources = Sources {
            disk: &self.disk,
            archive: &self.archive,
            journal: &self.journal,
            store: &self.store,
            policy: &self.policy.get(),
            names: &self.names,
            rules: &self.rules,
            now,
        };
        draft(&sources, incident, &self.alerts(incident.id)?)
    }

    /// The newest first.
    fn alerts(&self, id: i64) -> Result<Vec<Alert>, FindingsError> {
        let read = |row: &SubjectRow| serde_json::from_str::<Alert>(&row.body).ok();
        let mut query = SubjectQuery { incident: Some(id), ..SubjectQuery::default() };
        let mut alerts = Vec::new();
        loop {
            let page = self.store.subjects(SubjectKind::Alert, &query)?;
            alerts.extend(page.rows.iter().filter_map(read));
            query.after = page.next;
            if query.after.is_none() || alerts.len() >= FINDINGS_ALERTS_MAX {
                return Ok(alerts);
            }
        }
    }
}
