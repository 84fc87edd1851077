//! The book as the store holds it, and the rows of the store as the book gives them.

use crate::clock::Timestamp;
use crate::incident::{self, Book, Entries, Sighting, Terms};
use crate::policy::Severity as Level;
use crate::store::{
    Audit, BookChange, Closing, Store, StoreError, SubjectKind, SubjectQuery, SubjectRow, TransitionRow, Violation,
};

/// Reads everything to which something may still happen.
pub(super) fn book(store: &Store, terms: Terms, now: Timestamp) -> Result<Book, StoreError> {
    let mut highest = Vec::new();
    for kind in incident::SubjectKind::ALL {
        highest.push((kind, store.highest(stored(kind))?));
    }
    let mut book = Book::new(terms, highest, now);
    for kind in incident::SubjectKind::ALL {
        let mut query = SubjectQuery { open_only: true, ..SubjectQuery::default() };
        loop {
            let page = store.subjects(stored(kind), &query)?;
            if page.damaged > 0 {
                tracing::error!(kind = kind.as_str(), rows = page.damaged, "rows of the incident book are damaged");
            }
            page.rows.iter().for_each(|row| {
                adopt(&mut book, kind, row);
            });
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
    }
    Ok(book)
}

/// Takes in an incident that was forgotten, with its messages and its clock. Whether there is one.
pub(super) fn recall(book: &mut Book, store: &Store, id: i64) -> Result<bool, StoreError> {
    let kind = incident::SubjectKind::Incident;
    let Some(row) = store.subject(SubjectKind::Incident, id)?.filter(|row| adopt(book, kind, row)) else {
        return Ok(false);
    };
    if let Some(clock) = store.subject(SubjectKind::Objective, id)? {
        adopt(book, incident::SubjectKind::Objective, &clock);
    }
    let messages = book.incident(row.id).map(|incident| incident.messages.clone()).unwrap_or_default();
    let query = SubjectQuery { ids: Some(messages), ..SubjectQuery::default() };
    for message in store.subjects(SubjectKind::Message, &query)?.rows {
        adopt(book, incident::SubjectKind::Message, &message);
    }
    Ok(true)
}

/// The incident of a message that the book may have forgotten.
pub(super) fn incident_of(store: &Store, message: i64) -> Result<Option<i64>, StoreError> {
    let row = store.subject(SubjectKind::Message, message)?;
    let body = row.and_then(|row| serde_json::from_str::<serde_json::Value>(&row.body).ok());
    Ok(body.and_then(|body| body.get("incident")?.as_i64()))
}

fn adopt(book: &mut Book, kind: incident::SubjectKind, row: &SubjectRow) -> bool {
    let is_read = serde_json::from_str(&row.body).is_ok_and(|body| book.adopt(kind, row.id, &body));
    if !is_read {
        tracing::error!(kind = kind.as_str(), id = row.id, "a row of the incident book cannot be read");
    }
    is_read
}

pub(super) fn stored(kind: incident::SubjectKind) -> SubjectKind {
    match kind {
        incident::SubjectKind::Alert => SubjectKind::Alert,
        incident::SubjectKind::Incident => SubjectKind::Incident,
        incident::SubjectKind::Message => SubjectKind::Message,
        incident::SubjectKind::Objective => SubjectKind::Objective,
    }
}

pub(super) fn change(entries: Entries, take: Vec<i64>, audit: Vec<Audit>) -> BookChange {
    let transition = |row: incident::Row| TransitionRow {
        time: row.time,
        kind: stored(row.kind),
        subject: row.id,
        from: row.from.to_owned(),
        to: row.to.to_owned(),
        what: row.what.to_owned(),
        who: row.who,
        came_from: row.came_from,
        why: row.why,
        data: if row.data.is_null() { String::new() } else { row.data.to_string() },
    };
    let subject = |subject: incident::Subject| SubjectRow {
        kind: stored(subject.kind),
        id: subject.id,
        customer: subject.customer,
        incident: subject.incident,
        state: subject.state.to_owned(),
        is_open: subject.is_open,
        changed: subject.changed,
        body: subject.body.to_string(),
    };
    BookChange {
        take,
        transitions: entries.rows.into_iter().map(transition).collect(),
        subjects: entries.subjects.into_iter().map(subject).collect(),
        folded: entries.folded,
        audit,
    }
}

pub(super) fn sighting(violation: Violation, what: Option<&String>) -> Sighting {
    let what = what.cloned().unwrap_or_else(|| format!("{}: {}", violation.rule, violation.measure));
    let group = if violation.group.is_empty() { violation.rule.clone() } else { violation.group };
    Sighting {
        violation: violation.id,
        time: violation.time,
        customer: violation.customer,
        rule: violation.rule,
        key: violation.key.0,
        group,
        target: violation.target.0,
        level: if violation.level == "critical" { Level::Critical } else { Level::Warning },
        is_silent: violation.mode == "monitor",
        what,
    }
}

pub(super) fn ending(closing: Closing) -> incident::Ending {
    incident::Ending { time: closing.time, customer: closing.customer, rule: closing.rule, key: closing.key.0 }
}
