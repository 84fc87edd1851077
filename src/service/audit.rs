//! What the service itself writes into the audit log.

use serde_json::{Value, json};

use super::recovery::Recovered;
use crate::clock::Clock;
use crate::policy::Policy;
use crate::reload::{Asker, Report};
use crate::store::{Audit, Change, Store};

/// Who did it, where it was no person.
const SERVICE: &str = "ringfence";

/// A start: what it began from, and what was wrong.
pub(super) fn started(store: &Store, policy: &Policy, recovered: &Recovered) {
    let Recovered { record, next_position, n_events, snapshot, problems, .. } = recovered;
    let snapshot = snapshot.as_ref().map(|path| path.display().to_string());
    let details = json!({
        "rules": policy.version,
        "record": record,
        "next_position": next_position,
        "events_replayed": n_events,
        "snapshot": snapshot,
        "problems": problems,
    });
    note(store, "start", details);
}

/// A clean stop.
pub(super) fn stopped(store: &Store, events: u64, violations: u64) {
    note(store, "stop", json!({ "events": events, "violations": violations }));
}

/// Rules whose windows lack nothing any more, and how many events of the past they were told of.
pub(super) fn warmed(store: &Store, rules: &[&str], events: u64) {
    note(store, "backfill", json!({ "rules": rules, "events": events }));
}

/// Rules were read again, and what came of it.
pub(super) fn reloaded(store: &Store, by: &Asker, report: &Report) {
    let who = match by {
        Asker::Person { name, from } => (name.as_str(), from.as_str()),
        Asker::Files | Asker::Signal => (SERVICE, "local"),
    };
    let details = serde_json::to_value(report).unwrap_or_default();
    note_by(store, who, "reload", details);
}

fn note(store: &Store, action: &str, details: Value) {
    note_by(store, (SERVICE, "local"), action, details);
}

fn note_by(store: &Store, (who, from): (&str, &str), action: &str, details: Value) {
    let audit = Audit {
        time: Clock.now(),
        who: who.to_owned(),
        from: from.to_owned(),
        action: action.to_owned(),
        subject: "service".to_owned(),
        before: Value::Null,
        after: details,
    };
    if let Err(refused) = store.record(vec![Change::Audit(audit)]) {
        tracing::error!(why = %refused.why, action, "not in the audit log");
    }
}
