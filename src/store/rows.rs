//! How each value stands in its table: one insert and one read a table, side by side. A row whose sum does not fit is an
//! error, never a value.

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};

use super::entry::{Audit, Block, Change, Key, Violation, Written, json, stored};
use super::{book, deliveries, firing, inbox, people};
use crate::clock::Timestamp;

/// Columns of [`audit`], [`violation`] and [`block`], in their order; the first is the number of the row.
pub(super) const AUDIT: &str = "id, time, who, came_from, action, subject, before, after, sum";
pub(super) const VIOLATION: &str = "row, id, position, time, customer, rule, level, key, measure, value, threshold, \
                                    window, call_id, mode, late, told_at, rule_group, target, alert, what, sum";
pub(super) const BLOCK: &str = "row, list, value, customer, rule, position, added, until, removed, sum";

/// A row that is not what was written.
pub(super) fn damaged(column: usize) -> Error {
    Error::FromSqlConversionFailure(column, Type::Integer, "the row is not what was written".into())
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp)
}

pub(super) fn time_or_none(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

pub(super) fn position(row: &Row<'_>, column: usize) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| damaged(column))
}

pub(super) fn key(row: &Row<'_>, column: usize) -> Result<Key> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|_| damaged(column))
}

/// What is no number is stored as null.
fn real(row: &Row<'_>, column: usize) -> Result<f64> {
    Ok(row.get::<_, Option<f64>>(column)?.unwrap_or(f64::NAN))
}

pub(super) fn audit(row: &Row<'_>) -> Result<(i64, Audit)> {
    let id = row.get(0)?;
    let (before, after) = (row.get::<_, Option<String>>(6)?, row.get::<_, Option<String>>(7)?);
    let value = |text: &Option<String>, column| match text {
        None => Ok(serde_json::Value::Null),
        Some(text) => serde_json::from_str(text).map_err(|_| damaged(column)),
    };
    let audit = Audit {
        time: time(row, 1)?,
        who: row.get(2)?,
        from: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        before: value(&before, 6)?,
        after: value(&after, 7)?,
    };
    let sum = audit.sum(id, before.as_deref(), after.as_deref());
    if sum == row.get::<_, i64>(8)? { Ok((id, audit)) } else { Err(damaged(8)) }
}

pub(super) fn violation(row: &Row<'_>) -> Result<(i64, Violation)> {
    let violation = Violation {
        id: row.get(1)?,
        position: position(row, 2)?,
        time: time(row, 3)?,
        customer: row.get(4)?,
        rule: row.get(5)?,
        level: row.get(6)?,
        key: key(row, 7)?,
        measure: row.get(8)?,
        value: real(row, 9)?,
        threshold: real(row, 10)?,
        window: row.get(11)?,
        call_id: row.get(12)?,
        mode: row.get(13)?,
        late: row.get(14)?,
        told_at: time_or_none(row, 15)?,
        group: row.get(16)?,
        target: key(row, 17)?,
        alert: row.get(18)?,
        what: row.get(19)?,
    };
    if violation.sum() == row.get::<_, i64>(20)? { Ok((row.get(0)?, violation)) } else { Err(damaged(20)) }
}

pub(super) fn violation_by_id(db: &Connection, id: &str) -> Result<Option<(i64, Violation)>> {
    let sql = format!("SELECT {VIOLATION} FROM violations WHERE id = ?1");
    db.prepare_cached(&sql)?.query_row([id], violation).optional()
}

/// The last id that begins with this text and a `/`.
pub(super) fn last_violation_of(db: &Connection, prefix: &str) -> Result<Option<String>> {
    // The character behind the slash.
    let sql = "SELECT id FROM violations WHERE id > ?1 || '/' AND id < ?1 || '0' ORDER BY id DESC LIMIT 1";
    db.prepare_cached(sql)?.query_row([prefix], |row| row.get(0)).optional()
}

pub(super) fn block(row: &Row<'_>) -> Result<(i64, Block)> {
    let block = Block {
        list: row.get(1)?,
        value: row.get(2)?,
        customer: row.get(3)?,
        rule: row.get(4)?,
        position: position(row, 5)?,
        added: time(row, 6)?,
        until: time_or_none(row, 7)?,
        removed: time_or_none(row, 8)?,
    };
    if block.sum() == row.get::<_, i64>(9)? { Ok((row.get(0)?, block)) } else { Err(damaged(9)) }
}

/// Writes one change inside the transaction that is open.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<Written> {
    match change {
        Change::Audit(audit) => add_audit(db, audit).map(Written::Added),
        Change::Violation(violation) => {
            let written = put_violation(db, violation)?;
            if matches!(written, Written::Added(_)) {
                inbox::append(db, inbox::Kind::Violation, &violation.id)?;
            }
            Ok(written)
        }
        Change::Told { id, at } => tell(db, id, *at),
        Change::Block(block) => put_block(db, block),
        Change::BlockEnds { list, value, customer, rule, position, closed, until } => {
            let sql = format!(
                "SELECT {BLOCK} FROM blocks WHERE list = ?1 AND value = ?2 AND customer = ?3 AND rule = ?4 \
                 AND position <= ?5 AND added < ?6 AND until IS NULL"
            );
            let of = params![list, value, customer, rule, stored(*position), closed.0];
            change_blocks(db, &sql, of, |block| block.until = Some(*until))
        }
        Change::BlockRemoved { list, value, position, removed } => {
            let sql = format!(
                "SELECT {BLOCK} FROM blocks WHERE list = ?1 AND value = ?2 AND position <= ?3 AND removed IS NULL \
                 AND (until IS NULL OR until > ?4)"
            );
            let of = params![list, value, stored(*position), removed.0];
            change_blocks(db, &sql, of, |block| block.removed = Some(*removed))
        }
        Change::Closed(closing) => inbox::close(db, closing),
        Change::Book(change) => book::apply(db, change),
        Change::Deliveries(change) => deliveries::apply(db, change),
        Change::User(user) => people::put_user(db, user),
        Change::Token(token) => people::put_token(db, token),
        Change::TokenUsed { id, at } => people::used(db, id, *at),
        Change::TokenRevoked { id, at } => people::revoke(db, id, *at),
        Change::Firing(told) => firing::put(db, told),
        Change::FiringEnded(told) => firing::end(db, told),
    }
}

/// The last number that a table gave, also where its row is gone.
pub(super) fn last_number(db: &Connection, table: &str) -> Result<i64> {
    let mut given = db.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?;
    Ok(given.query_row([table], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Numbers of the table go on behind this one, where they have not got further by themselves.
pub(super) fn go_on_behind(db: &Connection, table: &str, number: i64) -> Result<()> {
    if last_number(db, table)? >= number {
        return Ok(());
    }
    db.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table, number)).map(drop)
}

/// Its number.
pub(super) fn add_audit(db: &Connection, audit: &Audit) -> Result<i64> {
    let next = "SELECT coalesce(max(id), 0) + 1 FROM audit";
    let id = db.prepare_cached(next)?.query_row([], |row| row.get(0))?;
    put_audit(db, id, audit).map(|()| id)
}

/// With the number it has: the next one, or the one it had in a file that is being saved.
pub(super) fn put_audit(db: &Connection, id: i64, audit: &Audit) -> Result<()> {
    let (before, after) = (json(&audit.before), json(&audit.after));
    let sum = audit.sum(id, before.as_deref(), after.as_deref());
    let sql = format!("INSERT INTO audit ({AUDIT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    let Audit { time, who, from, action, subject, .. } = audit;
    db.prepare_cached(&sql)?.execute(params![id, time.0, who, from, action, subject, before, after, sum])?;
    Ok(())
}

/// Writes down a violation, and tells nobody.
pub(super) fn put_violation(db: &Connection, v: &Violation) -> Result<Written> {
    let sql = format!(
        "INSERT INTO violations ({VIOLATION}) \
         VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) \
         ON CONFLICT (id) DO NOTHING"
    );
    let n = db.prepare_cached(&sql)?.execute(params![
        v.id,
        stored(v.position),
        v.time.0,
        v.customer,
        v.rule,
        v.level,
        v.key.to_json(),
        v.measure,
        v.value,
        v.threshold,
        v.window,
        v.call_id,
        v.mode,
        v.late,
        v.told_at.map(|t| t.0),
        v.group,
        v.target.to_json(),
        v.alert,
        v.what,
        v.sum(),
    ])?;
    if n == 0 {
        return Ok(Written::Known);
    }
    let row = db.last_insert_rowid();
    let key = "INSERT INTO violation_keys (text, at, violation) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let mut key = db.prepare_cached(key)?;
    for (_, value) in &v.key.0 {
        key.execute(params![value, v.time.0, row])?;
    }
    Ok(Written::Added(row))
}

fn tell(db: &Connection, id: &str, at: Timestamp) -> Result<Written> {
    let sql = format!("SELECT {VIOLATION} FROM violations WHERE id = ?1 AND told_at IS NULL");
    let Some((row, mut found)) = db.prepare_cached(&sql)?.query_row([id], violation).optional()? else {
        return Ok(Written::Changed(0));
    };
    found.told_at = Some(at);
    let mut update = db.prepare_cached("UPDATE violations SET told_at = ?2, sum = ?3 WHERE row = ?1")?;
    update.execute(params![row, at.0, found.sum()]).map(Written::Changed)
}

fn put_block(db: &Connection, block: &Block) -> Result<Written> {
    let sql = format!(
        "INSERT INTO blocks ({BLOCK}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (list, value, customer, rule, position) DO NOTHING"
    );
    let Block { list, value, customer, rule, added, .. } = block;
    let (until, removed) = (block.until.map(|t| t.0), block.removed.map(|t| t.0));
    let position = stored(block.position);
    let all = params![list, value, customer, rule, position, added.0, until, removed, block.sum()];
    let n = db.prepare_cached(&sql)?.execute(all)?;
    Ok(if n == 0 { Written::Known } else { Written::Added(db.last_insert_rowid()) })
}

fn change_blocks(
    db: &Connection,
    sql: &str,
    of: &[&dyn rusqlite::ToSql],
    change: impl Fn(&mut Block),
) -> Result<Written> {
    let found = db.prepare_cached(sql)?.query_map(of, block)?.collect::<Result<Vec<_>>>()?;
    let mut update = db.prepare_cached("UPDATE blocks SET until = ?2, removed = ?3, sum = ?4 WHERE row = ?1")?;
    let mut n = 0;
    for (row, mut block) in found {
        change(&mut block);
        n += update.execute(params![row, block.until.map(|t| t.0), block.removed.map(|t| t.0), block.sum()])?;
    }
    Ok(Written::Changed(n))
}
