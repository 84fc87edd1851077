//! Reading a whole database against its sums, copying it while it is written, and saving what is good of a damaged one.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, Result, Row};

use super::entry::{Change, Written};
use super::{StoreError, book, cannot, deliveries, file, firing, inbox, people, rows};
use crate::clock::Clock;
use crate::limits::{STORE_FINDINGS_MAX, STORE_SAVE_MS};
use crate::storage;

/// Audit entries that could not be brought over from a damaged database: told then, and no damage of this one.
const AUDIT_LOST: &str = "audit_lost";

/// What is wrong, in sentences; empty where nothing is.
pub(super) fn verify(db: &Connection) -> Result<Vec<String>> {
    // One moment for all of it: writing goes on beside.
    let moment = db.unchecked_transaction()?;
    let mut found = file::findings(&moment, "integrity_check")?;
    let mut n_audits = 0;
    each(&moment, &mut found, ("audit", rows::AUDIT), rows::audit, |_| {
        n_audits += 1;
        Ok(None)
    })?;
    let last: i64 = moment.query_row("SELECT coalesce(max(id), 0) FROM audit", [], |row| row.get(0))?;
    let lost = file::value(&moment, AUDIT_LOST)?.unwrap_or(0);
    if n_audits + lost != last {
        found.push(format!("audit: {} entries were written, {n_audits} can be read", last - lost));
    }
    let keyed = "SELECT count(*) FROM violation_keys WHERE violation = ?1 AND text = ?2 AND at = ?3";
    let mut keyed = moment.prepare(keyed)?;
    each(&moment, &mut found, ("violations", rows::VIOLATION), rows::violation, |(row, violation)| {
        for (name, value) in &violation.key.0 {
            let n: i64 = keyed.query_row((row, value, violation.time.0), |row| row.get(0))?;
            if n != 1 {
                return Ok(Some(format!("violations: {} is not found by its {name}", violation.id)));
            }
        }
        Ok(None)
    })?;
    each(&moment, &mut found, ("blocks", rows::BLOCK), rows::block, |_| Ok(None))?;
    verify_book(&moment, &mut found)?;
    each(&moment, &mut found, ("users", people::USER), people::user, |_| Ok(None))?;
    each(&moment, &mut found, ("tokens", people::TOKEN), people::token, |_| Ok(None))?;
    each(&moment, &mut found, ("firing", firing::FIRING), firing::firing, |_| Ok(None))?;
    Ok(found)
}

fn verify_book(db: &Connection, found: &mut Vec<String>) -> Result<()> {
    each(db, found, ("closings", inbox::CLOSING), inbox::closing, |_| Ok(None))?;
    each(db, found, ("inbox", inbox::WAITING), inbox::waiting, |waiting| {
        // What is there and damaged was told above.
        let is_gone = inbox::named(db, &waiting).is_ok_and(|named| named.is_none());
        Ok(is_gone.then(|| format!("inbox: row {}: `{}` is not there", waiting.seq, waiting.subject)))
    })?;
    each(db, found, ("transitions", book::TRANSITION), book::transition, |_| Ok(None))?;
    each(db, found, ("subjects", book::SUBJECT), book::subject, |_| Ok(None))?;
    each(db, found, ("deliveries", deliveries::DELIVERY), deliveries::delivery, |_| Ok(None))
}

/// Reads every row of a table; those that are not what was written are findings, and so is what `judge` says.
fn each<T>(
    db: &Connection,
    found: &mut Vec<String>,
    (table, columns): (&str, &str),
    read: impl Fn(&Row<'_>) -> Result<T>,
    mut judge: impl FnMut(T) -> Result<Option<String>>,
) -> Result<()> {
    let mut statement = db.prepare(&format!("SELECT {columns} FROM {table}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let finding = match read(row) {
            Ok(value) => judge(value)?,
            Err(e) => Some(format!("{table}: row {}: {e}", row.get::<_, i64>(0)?)),
        };
        found.extend(finding.filter(|_| found.len() < STORE_FINDINGS_MAX));
    }
    Ok(())
}

/// Copies the database as it is at one moment. The copy is one file, checked before it gets its name.
pub(super) fn backup(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let unfinished = file::with_ending(path, ".partial");
    match std::fs::remove_file(&unfinished) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::Folder(unfinished, e)),
        _ => {}
    }
    let findings = copy(db, &unfinished).map_err(cannot("back up"))?;
    if let Some(first) = findings.first() {
        return Err(StoreError::Refused(format!("the copy is damaged: {first}")));
    }
    storage::put_in_place(&unfinished, path).map_err(|e| StoreError::Folder(path.to_owned(), e))
}

fn copy(db: &Connection, path: &Path) -> Result<Vec<String>> {
    let mut copy = Connection::open(path)?;
    // All in one step: between two of them a write elsewhere would begin it anew.
    let step = Backup::new(db, &mut copy)?.step(-1)?;
    if step != StepResult::Done {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None));
    }
    // A copy has no log, and was left in order.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    file::set_value(&copy, "open", 0)?;
    verify(&copy)
}

/// Brings over the rows of a damaged database that are still what was written, and says how many: what nothing tells
/// again first, audit, people and the book, then blocks and the newest violations, until [`STORE_SAVE_MS`] are over.
pub(super) fn save(from: &Path, into: &Connection) -> Result<usize> {
    let damaged = file::connect_reader(from)?;
    let all = into.unchecked_transaction()?;
    let until = Clock.monotonic() + Duration::from_millis(STORE_SAVE_MS);
    let table = |what, number, put: &dyn Fn(&Row<'_>) -> Result<bool>| save_table(&damaged, what, number, until, put);
    let is_new = |written| matches!(written, Written::Added(_));
    let mut n = table(("audit", rows::AUDIT), "id", &|row| {
        let (id, audit) = rows::audit(row)?;
        rows::put_audit(&all, id, &audit).map(|()| true)
    });
    n += table(("users", people::USER), "row", &|row| people::put_user(&all, &people::user(row)?).map(is_new));
    n += table(("tokens", people::TOKEN), "row", &|row| people::put_token(&all, &people::token(row)?).map(is_new));
    n += table(("transitions", book::TRANSITION), "seq", &|row| {
        let (seq, transition) = book::transition(row)?;
        book::put_transition(&all, seq, &transition).map(|()| true)
    });
    n += table(("subjects", book::SUBJECT), "row", &|row| book::add_subject(&all, &book::subject(row)?));
    n += table(("deliveries", deliveries::DELIVERY), "id", &|row| deliveries::add(&all, &deliveries::delivery(row)?));
    n += table(("firing", firing::FIRING), "row", &|row| firing::put(&all, &firing::firing(row)?).map(|_| true));
    // Names alone: they are worth nothing without what they name.
    table(("inbox", inbox::WAITING), "seq", &|row| inbox::put_waiting(&all, &inbox::waiting(row)?).map(|()| true));
    let block = |row: &Row<'_>| rows::apply(&all, &Change::Block(rows::block(row)?.1)).map(is_new);
    n += table(("blocks", rows::BLOCK), "row", &block);
    let violation = |row: &Row<'_>| rows::put_violation(&all, &rows::violation(row)?.1).map(is_new);
    n += table(("violations", rows::VIOLATION), "row", &violation);
    let closing = |row: &Row<'_>| inbox::put_closing(&all, &inbox::closing(row)?.1).map(is_new);
    n += table(("closings", inbox::CLOSING), "row", &closing);
    // A damaged database may have given numbers whose rows cannot be read any more.
    for table in ["transitions", "deliveries"] {
        let given = rows::last_number(&damaged, table).unwrap_or(0);
        rows::go_on_behind(&all, table, given)?;
    }
    inbox::put_in_order(&all, Clock.now())?;
    let lost: i64 = all.query_row("SELECT coalesce(max(id), 0) - count(*) FROM audit", [], |row| row.get(0))?;
    file::set_value(&all, AUDIT_LOST, lost)?;
    all.commit()?;
    Ok(n)
}

/// How many rows `put` took; one that is damaged, or there already, is passed over. Where SQLite can read no further, it
/// begins again from the other end.
fn save_table(
    db: &Connection,
    (table, columns): (&str, &str),
    number: &str,
    until: Instant,
    put: impl Fn(&Row<'_>) -> Result<bool>,
) -> usize {
    let mut n = 0;
    for order in ["DESC", "ASC"] {
        let statement = db.prepare(&format!("SELECT {columns} FROM {table} ORDER BY {number} {order}"));
        let Ok(mut statement) = statement else { continue };
        let Ok(mut rows) = statement.query([]) else { continue };
        // The clock bounds it too: a damaged tree may lead to the same page again and again.
        while Clock.monotonic() < until
            && let Ok(Some(row)) = rows.next()
        {
            n += usize::from(matches!(put(row), Ok(true)));
        }
    }
    n
}
