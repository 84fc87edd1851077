//! The book as the store holds it, and the rows of the store as the book gives them.

use crate::clock::{Clock, Timestamp};
use crate::incident::{self, Book, Entries, Sighting, Terms};
use crate::policy::Severity as Level;
use crate::store::{
    Audit, BookChange, Closing, DeliveryQuery, DeliveryRow, MUTED, NewDelivery, Stop, Store, StoreError, SubjectKind,
    SubjectQuery, SubjectRow, TransitionRow, Violation,
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
    // What the outbox wrote while nobody was at the desk.
    for message in book.unheard() {
        let of = DeliveryQuery { message: Some(message), rows: 1, ..DeliveryQuery::default() };
        if store.deliveries(&of)?.rows.is_empty() {
            // Released by a version that had no deliveries.
            book.tell_anew(message, now);
        }
        if let Some(told) = store.told_by(message)? {
            book.accepted(message, &told_by(&told), told.handed.unwrap_or(told.changed));
        }
    }
    Ok(book)
}

/// Takes in an incident that was forgotten, with its messages, its clock, and what was folded into it. What the book has
/// is newer than what is written and stays.
pub(super) fn recall(book: &mut Book, store: &Store, id: i64) -> Result<(), StoreError> {
    let of = SubjectQuery { incident: Some(id), ..SubjectQuery::default() };
    let parts = store.subjects(SubjectKind::Incident, &of)?.rows;
    for row in parts.into_iter().chain(store.subject(SubjectKind::Incident, id)?) {
        if book.incident(row.id).is_none() {
            adopt(book, incident::SubjectKind::Incident, &row);
        }
        if book.clock(row.id).is_none()
            && let Some(clock) = store.subject(SubjectKind::Objective, row.id)?
        {
            adopt(book, incident::SubjectKind::Objective, &clock);
        }
        let of = SubjectQuery { incident: Some(row.id), ..SubjectQuery::default() };
        for message in store.subjects(SubjectKind::Message, &of)?.rows {
            if book.message(message.id).is_none() {
                adopt(book, incident::SubjectKind::Message, &message);
            }
        }
    }
    Ok(())
}

/// Takes in a message that was forgotten while its incident was not.
pub(super) fn recall_message(book: &mut Book, store: &Store, id: i64) -> Result<(), StoreError> {
    if book.message(id).is_none()
        && let Some(row) = store.subject(SubjectKind::Message, id)?
    {
        adopt(book, incident::SubjectKind::Message, &row);
    }
    Ok(())
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
        deliveries: entries.tellings.into_iter().map(new_delivery).collect(),
        stop: entries.supersede.into_iter().map(superseded).chain(entries.stops.into_iter().map(stopped)).collect(),
        audit,
    }
}

/// In a few words, for the step of the message.
fn told_by(told: &DeliveryRow) -> String {
    format!("{}: {} took it", incident::delivery_name(told.id), told.provider)
}

fn new_delivery(telling: incident::Telling) -> NewDelivery {
    let person = telling.recipient.key();
    NewDelivery {
        once: telling.once,
        customer: telling.customer,
        incident: Some(telling.incident),
        message: telling.message,
        severity: telling.severity.number(),
        channel: telling.recipient.channel,
        address: telling.recipient.address,
        person,
        is_contact: telling.recipient.is_contact,
        body: serde_json::to_string(&telling.about).expect("texts always serialise"),
        queued: telling.queued,
        // The book's time may lie ahead of a clock that was set back: nobody waits for that.
        due: telling.queued.min(Clock.now()),
        valid_until: telling.valid_until,
        why: telling.why,
    }
}

fn superseded((incident, message, time): (i64, i64, Timestamp)) -> (Timestamp, Stop) {
    (time, Stop::Superseded { incident, message, name: incident::message_name(message) })
}

fn stopped((time, stop): (Timestamp, incident::Stop)) -> (Timestamp, Stop) {
    let stop = match stop {
        incident::Stop::Withdrawn { message, why } => Stop::Withdrawn { message, why },
        incident::Stop::Calls { incident, why } => Stop::Calls { incident, why },
    };
    (time, stop)
}

pub(super) fn sighting(violation: Violation, what: Option<&String>) -> Sighting {
    let what = match what {
        Some(what) => what.clone(),
        None if !violation.what.is_empty() => violation.what,
        None => format!("{}: {}", violation.rule, violation.measure),
    };
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
        is_muted: violation.mode == MUTED,
        what,
    }
}

pub(super) fn ending(closing: Closing) -> incident::Ending {
    incident::Ending { time: closing.time, customer: closing.customer, rule: closing.rule, key: closing.key.0 }
}
