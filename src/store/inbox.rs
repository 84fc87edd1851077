//! The inbox of the incident book: what was found and what has ended, until the book has made something of it.
//!
//! A row names the violation or the closing that it came with, in one transaction, and holds nothing of it: there is
//! one truth, and what waits costs the store little. Rows are read in the order of their numbers and go in the
//! transaction that writes what the book made of them.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::entry::{Key, Sum, Violation, Written, stored};
use super::lookup::{Page, limited};
use super::rows;
use crate::clock::Timestamp;

/// The end of an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// `TIME/RULE/closed/HASH`.
    pub id: String,
    /// Of the last event before it was noticed.
    pub position: u64,
    /// The instant from which the episode counts as closed.
    pub time: Timestamp,
    pub customer: String,
    pub rule: String,
    pub key: Key,
}

/// What waits for the book.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbox {
    Violation(Box<Violation>),
    Closed(Closing),
}

/// What a row of the inbox names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Violation,
    Closed,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Violation => "violation",
            Kind::Closed => "closed",
        }
    }
}

/// A row of the inbox as it is stored.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) seq: i64,
    pub(super) kind: Kind,
    pub(super) subject: String,
}

/// Columns of [`waiting`] and [`closing`], in their order; the first is the number of the row.
pub(super) const WAITING: &str = "seq, kind, subject, sum";
pub(super) const CLOSING: &str = "row, id, position, time, customer, rule, key, sum";

impl Closing {
    fn sum(&self) -> i64 {
        let sum = Sum::default().text(&self.id).int(stored(self.position)).int(self.time.0).text(&self.customer);
        sum.text(&self.rule).text(&self.key.to_json()).end()
    }
}

impl Waiting {
    fn sum(&self) -> i64 {
        Sum::default().int(self.seq).text(self.kind.as_str()).text(&self.subject).end()
    }
}

pub(super) fn closing(row: &Row<'_>) -> Result<(i64, Closing)> {
    let closing = Closing {
        id: row.get(1)?,
        position: rows::position(row, 2)?,
        time: rows::time(row, 3)?,
        customer: row.get(4)?,
        rule: row.get(5)?,
        key: rows::key(row, 6)?,
    };
    if closing.sum() == row.get::<_, i64>(7)? { Ok((row.get(0)?, closing)) } else { Err(rows::damaged(7)) }
}

pub(super) fn waiting(row: &Row<'_>) -> Result<Waiting> {
    let kind: String = row.get(1)?;
    let kind = [Kind::Violation, Kind::Closed].into_iter().find(|known| known.as_str() == kind);
    let waiting = Waiting { seq: row.get(0)?, kind: kind.ok_or_else(|| rows::damaged(1))?, subject: row.get(2)? };
    if waiting.sum() == row.get::<_, i64>(3)? { Ok(waiting) } else { Err(rows::damaged(3)) }
}

/// Writes down an end, and puts it into the inbox where it is new.
pub(super) fn close(db: &Connection, closing: &Closing) -> Result<Written> {
    let written = put_closing(db, closing)?;
    if matches!(written, Written::Added(_)) {
        append(db, Kind::Closed, &closing.id)?;
    }
    Ok(written)
}

/// Writes down an end, and tells nobody.
pub(super) fn put_closing(db: &Connection, closing: &Closing) -> Result<Written> {
    let sql = format!(
        "INSERT INTO closings ({CLOSING}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING"
    );
    let Closing { id, position, time, customer, rule, key } = closing;
    let all = params![id, stored(*position), time.0, customer, rule, key.to_json(), closing.sum()];
    let n = db.prepare_cached(&sql)?.execute(all)?;
    Ok(if n == 0 { Written::Known } else { Written::Added(db.last_insert_rowid()) })
}

/// Puts a name at the end of the inbox.
pub(super) fn append(db: &Connection, kind: Kind, subject: &str) -> Result<()> {
    let seq = rows::last_number(db, "inbox")? + 1;
    put_waiting(db, &Waiting { seq, kind, subject: subject.to_owned() })
}

/// With the number it has: the next one, or the one it had in a file that is being saved.
pub(super) fn put_waiting(db: &Connection, waiting: &Waiting) -> Result<()> {
    let sql = format!("INSERT INTO inbox ({WAITING}) VALUES (?1, ?2, ?3, ?4)");
    let all = params![waiting.seq, waiting.kind.as_str(), waiting.subject, waiting.sum()];
    db.prepare_cached(&sql)?.execute(all).map(drop)
}

/// Are all of these still there?
pub(super) fn has(db: &Connection, seqs: &[i64]) -> Result<bool> {
    let mut there = db.prepare_cached("SELECT 1 FROM inbox WHERE seq = ?1")?;
    for seq in seqs {
        if !there.exists([seq])? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn take(db: &Connection, seqs: &[i64]) -> Result<()> {
    let mut gone = db.prepare_cached("DELETE FROM inbox WHERE seq = ?1")?;
    seqs.iter().try_for_each(|seq| gone.execute([seq]).map(drop))
}

/// What waits behind a number, the oldest first. What cannot be read is left out, counted, and stays.
pub(super) fn page(db: &Connection, after: i64, rows: usize) -> Result<Page<(i64, Inbox), i64>> {
    let rows = limited(rows);
    let mut statement = db.prepare_cached(&format!("SELECT {WAITING} FROM inbox WHERE seq > ?1 ORDER BY seq"))?;
    // While its rows are read, everything that is asked for is of one moment.
    let mut found = statement.query([Value::Integer(after)])?;
    let mut page = Page { rows: Vec::new(), next: None, damaged: 0 };
    let mut last = after;
    while let Some(row) = found.next()? {
        if page.rows.len() == rows {
            page.next = Some(last);
            break;
        }
        last = row.get(0)?;
        match waiting(row).and_then(|waiting| named(db, &waiting)) {
            Ok(Some(named)) => page.rows.push((last, named)),
            _ => page.damaged += 1,
        }
    }
    Ok(page)
}

/// The violation or closing that a row names.
pub(super) fn named(db: &Connection, waiting: &Waiting) -> Result<Option<Inbox>> {
    match waiting.kind {
        Kind::Violation => Ok(rows::violation_by_id(db, &waiting.subject)?.map(|(_, v)| Inbox::Violation(Box::new(v)))),
        Kind::Closed => {
            let mut by_id = db.prepare_cached(&format!("SELECT {CLOSING} FROM closings WHERE id = ?1"))?;
            let found = by_id.query_row([&waiting.subject], closing).optional()?;
            Ok(found.map(|(_, closing)| Inbox::Closed(closing)))
        }
    }
}

/// When an episode was over, by the id of its closing.
pub(super) fn closed_at(db: &Connection, id: &str) -> Result<Option<Timestamp>> {
    let mut by_id = db.prepare_cached("SELECT time FROM closings WHERE id = ?1")?;
    by_id.query_row([id], |row| rows::time(row, 0)).optional()
}

/// Mends the inbox of a database that was saved: what it names is there, and every violation that no alert took is named.
/// Told twice is better than never: a violation that the book took without an alert comes again.
pub(super) fn put_in_order(db: &Connection, now: Timestamp) -> Result<()> {
    let orphans = "DELETE FROM inbox WHERE NOT EXISTS (SELECT 1 FROM violations WHERE id = subject) \
                   AND NOT EXISTS (SELECT 1 FROM closings WHERE id = subject)";
    db.execute(orphans, [])?;
    // A change of the book that is on its way names numbers of the file that was set aside. By the time in microseconds
    // they go on behind any that were ever given there.
    rows::go_on_behind(db, "inbox", now.0.saturating_mul(1_000))?;
    let forgotten = "SELECT id FROM violations WHERE alert IS NULL AND rule_group <> '' \
                     AND NOT EXISTS (SELECT 1 FROM inbox WHERE subject = id) ORDER BY time, row";
    let ids = db.prepare(forgotten)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>>>()?;
    ids.iter().try_for_each(|id| append(db, Kind::Violation, id))
}
