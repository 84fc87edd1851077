//! Rows of the incident book: what its subjects went through, which nobody changes any more, and how they stand.
//!
//! States, people and reasons are texts here: what may follow what is for the book to know. What it made of a part of
//! its inbox is one [`BookChange`], written whole or not at all.

use rusqlite::types::Value;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};

use super::deliveries::{self, NewDelivery, Stop};
use super::entry::{Audit, Sum, Written};
use super::lookup::{Page, Pages};
use super::{inbox, rows};
use crate::clock::Timestamp;

/// What the book keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    Alert,
    Incident,
    Message,
    Objective,
    /// Its rows stand in a table of their own; here are its steps.
    Delivery,
}

impl SubjectKind {
    pub const ALL: [SubjectKind; 5] = [
        SubjectKind::Alert,
        SubjectKind::Incident,
        SubjectKind::Message,
        SubjectKind::Objective,
        SubjectKind::Delivery,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            SubjectKind::Alert => "alert",
            SubjectKind::Incident => "incident",
            SubjectKind::Message => "message",
            SubjectKind::Objective => "objective",
            SubjectKind::Delivery => "delivery",
        }
    }
}

/// A step of a subject. Once written it is never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionRow {
    pub time: Timestamp,
    pub kind: SubjectKind,
    pub subject: i64,
    /// Empty where the subject begins.
    pub from: String,
    /// The same as `from` where something else changed, which `data` tells.
    pub to: String,
    /// In a word or two: `opened`, `severity`, `asked`.
    pub what: String,
    /// A person, a rule, or a part of the service that acts by itself.
    pub who: String,
    /// An address, `local` for the machine itself.
    pub came_from: String,
    pub why: String,
    /// JSON.
    pub data: String,
}

/// How a subject stands after its last step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRow {
    pub kind: SubjectKind,
    /// The book's own number, from 1, each kind by itself.
    pub id: i64,
    pub customer: String,
    /// What an alert or a message belongs to.
    pub incident: Option<i64>,
    pub state: String,
    pub is_open: bool,
    pub changed: Timestamp,
    /// JSON.
    pub body: String,
}

/// What the book made of a part of its inbox, or of what a person asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BookChange {
    /// Numbers of the inbox. One that is not there any more, and nothing of this is written: [`Written::Stale`].
    pub take: Vec<i64>,
    pub transitions: Vec<TransitionRow>,
    /// As they stand now, whatever they were.
    pub subjects: Vec<SubjectRow>,
    /// Ids of violations, and the alert that took each. A violation is taken once.
    pub folded: Vec<(String, i64)>,
    /// What is to go out of it.
    pub deliveries: Vec<NewDelivery>,
    /// What is not to go out any more, and when that was decided.
    pub stop: Vec<(Timestamp, Stop)>,
    pub audit: Vec<Audit>,
}

/// Which subjects. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectQuery {
    pub open_only: bool,
    pub customer: Option<String>,
    pub incident: Option<i64>,
    pub state: Option<String>,
    pub ids: Option<Vec<i64>>,
    /// Goes on where a page ended.
    pub after: Option<i64>,
    /// Rows of a page; 0 and what is above [`crate::limits::STORE_PAGE_ROWS_MAX`] are that.
    pub rows: usize,
}

/// Columns of [`transition`] and [`subject`], in their order; the first is the number of the row.
pub(super) const TRANSITION: &str =
    "seq, time, subject_kind, subject, from_state, to_state, what, who, came_from, why, data, sum";
pub(super) const SUBJECT: &str = "row, kind, id, customer, incident, state, is_open, changed, body, sum";

impl TransitionRow {
    fn sum(&self, seq: i64) -> i64 {
        let sum = Sum::default().int(seq).int(self.time.0).text(self.kind.as_str()).int(self.subject);
        let sum = sum.text(&self.from).text(&self.to).text(&self.what).text(&self.who).text(&self.came_from);
        sum.text(&self.why).text(&self.data).end()
    }
}

impl SubjectRow {
    fn sum(&self) -> i64 {
        let sum = Sum::default().text(self.kind.as_str()).int(self.id).text(&self.customer).text(&self.state);
        let sum = sum.int(i64::from(self.incident.is_some())).int(self.incident.unwrap_or_default());
        sum.int(i64::from(self.is_open)).int(self.changed.0).text(&self.body).end()
    }
}

fn kind(row: &Row<'_>, column: usize) -> Result<SubjectKind> {
    let text: String = row.get(column)?;
    SubjectKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| rows::damaged(column))
}

pub(super) fn transition(row: &Row<'_>) -> Result<(i64, TransitionRow)> {
    let seq = row.get(0)?;
    let transition = TransitionRow {
        time: rows::time(row, 1)?,
        kind: kind(row, 2)?,
        subject: row.get(3)?,
        from: row.get(4)?,
        to: row.get(5)?,
        what: row.get(6)?,
        who: row.get(7)?,
        came_from: row.get(8)?,
        why: row.get(9)?,
        data: row.get(10)?,
    };
    if transition.sum(seq) == row.get::<_, i64>(11)? { Ok((seq, transition)) } else { Err(rows::damaged(11)) }
}

pub(super) fn subject(row: &Row<'_>) -> Result<SubjectRow> {
    let subject = SubjectRow {
        kind: kind(row, 1)?,
        id: row.get(2)?,
        customer: row.get(3)?,
        incident: row.get(4)?,
        state: row.get(5)?,
        is_open: row.get(6)?,
        changed: rows::time(row, 7)?,
        body: row.get(8)?,
    };
    if subject.sum() == row.get::<_, i64>(9)? { Ok(subject) } else { Err(rows::damaged(9)) }
}

/// Writes it inside the transaction that is open; the number of its last transition, 0 without any.
pub(super) fn apply(db: &Connection, change: &BookChange) -> Result<Written> {
    // Before anything is written: what is refused here leaves the others of the transaction alone.
    if !inbox::has(db, &change.take)? {
        return Ok(Written::Stale);
    }
    inbox::take(db, &change.take)?;
    change.folded.iter().try_for_each(|(violation, alert)| fold(db, violation, *alert))?;
    let mut seq = rows::last_number(db, "transitions")?;
    for transition in &change.transitions {
        seq += 1;
        put_transition(db, seq, transition)?;
    }
    change.subjects.iter().try_for_each(|subject| put_subject(db, subject))?;
    change.deliveries.iter().try_for_each(|new| deliveries::queue(db, new).map(drop))?;
    change.stop.iter().try_for_each(|(time, stop)| deliveries::stop(db, *time, stop))?;
    change.audit.iter().try_for_each(|audit| rows::add_audit(db, audit).map(drop))?;
    Ok(Written::Added(if change.transitions.is_empty() { 0 } else { seq }))
}

/// With the number it has: the next one, or the one it had in a file that is being saved.
pub(super) fn put_transition(db: &Connection, seq: i64, transition: &TransitionRow) -> Result<()> {
    let sql =
        format!("INSERT INTO transitions ({TRANSITION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
    let TransitionRow { time, kind, subject, from, to, what, who, came_from, why, data } = transition;
    let sum = transition.sum(seq);
    let all = params![seq, time.0, kind.as_str(), subject, from, to, what, who, came_from, why, data, sum];
    db.prepare_cached(&sql)?.execute(all).map(drop)
}

pub(super) fn put_subject(db: &Connection, subject: &SubjectRow) -> Result<()> {
    let sql = format!(
        "INSERT INTO subjects ({SUBJECT}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (kind, id) DO UPDATE \
         SET customer = ?3, incident = ?4, state = ?5, is_open = ?6, changed = ?7, body = ?8, sum = ?9"
    );
    let SubjectRow { kind, id, customer, incident, state, is_open, changed, body } = subject;
    let all = params![kind.as_str(), id, customer, incident, state, is_open, changed.0, body, subject.sum()];
    db.prepare_cached(&sql)?.execute(all).map(drop)
}

/// Of a file that is being saved: where there is one already, it stays.
pub(super) fn add_subject(db: &Connection, subject: &SubjectRow) -> Result<bool> {
    let is_new = subject_by_id(db, subject.kind, subject.id)?.is_none();
    if is_new {
        put_subject(db, subject)?;
    }
    Ok(is_new)
}

/// Nobody takes a violation that another alert has: the two would count it twice.
fn fold(db: &Connection, id: &str, alert: i64) -> Result<()> {
    let refused = |why: &str| Error::ToSqlConversionFailure(format!("violation `{id}` {why}").into());
    let (row, mut violation) = rows::violation_by_id(db, id)?.ok_or_else(|| refused("is not there"))?;
    if violation.alert.is_some_and(|other| other != alert) {
        return Err(refused("is another alert's already"));
    }
    violation.alert = Some(alert);
    let mut update = db.prepare_cached("UPDATE violations SET alert = ?2, sum = ?3 WHERE row = ?1")?;
    update.execute(params![row, alert, violation.sum()]).map(drop)
}

/// The newest first.
pub(super) fn subjects(db: &Connection, kind: SubjectKind, query: &SubjectQuery) -> Result<Page<SubjectRow, i64>> {
    let mut pages = Pages::new(SUBJECT, "subjects", "id", query.rows);
    pages.and("kind = ?", Value::Text(kind.as_str().to_owned()));
    if query.open_only {
        pages.and("is_open = ?", Value::Integer(1));
    }
    for (column, text) in [("customer = ?", &query.customer), ("state = ?", &query.state)] {
        if let Some(text) = text {
            pages.and(column, Value::Text(text.clone()));
        }
    }
    if let Some(incident) = query.incident {
        pages.and("incident = ?", Value::Integer(incident));
    }
    if let Some(ids) = &query.ids {
        pages.and("id IN (SELECT value FROM json_each(?))", Value::Text(format!("{ids:?}")));
    }
    if let Some(after) = query.after {
        pages.and("id < ?", Value::Integer(after));
    }
    pages.read(db, "DESC", subject)
}

pub(super) fn subject_by_id(db: &Connection, kind: SubjectKind, id: i64) -> Result<Option<SubjectRow>> {
    let sql = format!("SELECT {SUBJECT} FROM subjects WHERE kind = ?1 AND id = ?2");
    db.prepare_cached(&sql)?.query_row(params![kind.as_str(), id], subject).optional()
}

/// The oldest first; of one subject or of all.
pub(super) fn transitions(
    db: &Connection,
    of: Option<(SubjectKind, i64)>,
    after: i64,
    rows: usize,
) -> Result<Page<(i64, TransitionRow), i64>> {
    let mut pages = Pages::new(TRANSITION, "transitions", "seq", rows);
    if let Some((kind, id)) = of {
        pages.and("subject_kind = ?", Value::Text(kind.as_str().to_owned()));
        pages.and("subject = ?", Value::Integer(id));
    }
    pages.and("seq > ?", Value::Integer(after));
    pages.read(db, "ASC", transition)
}

/// The highest number that was given, 0 where none was.
pub(super) fn highest(db: &Connection, kind: SubjectKind) -> Result<i64> {
    // Of either table: one of them may have been damaged and saved without its last rows.
    let sql = "SELECT max(coalesce((SELECT max(id) FROM subjects WHERE kind = ?1), 0), \
               coalesce((SELECT max(subject) FROM transitions WHERE subject_kind = ?1), 0))";
    db.prepare_cached(sql)?.query_row([kind.as_str()], |row| row.get(0))
}
