//! Rows of deliveries: what goes to whom by which channel, and how far each has come.
//!
//! States and reasons are texts here: what may follow what is for the outbox to know. A step names the state it comes
//! from, and where the row is in another one by then nothing happens: people and the outbox may both act on a row, and
//! the first one wins.

use rusqlite::types::Value;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row, params};

use super::book::{self, SubjectKind, TransitionRow};
use super::entry::{Audit, Sum, Written};
use super::lookup::{Page, Pages};
use super::rows;
use crate::clock::Timestamp;

/// A delivery that is to be made. Where there is one of the same [`once`](NewDelivery::once), nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    pub once: String,
    pub customer: String,
    pub incident: Option<i64>,
    pub message: Option<i64>,
    /// 1 to 4.
    pub severity: u8,
    pub channel: String,
    pub address: String,
    /// The same for everything that goes to one person, by whatever channel.
    pub person: String,
    pub is_contact: bool,
    /// JSON, which never changes.
    pub body: String,
    pub queued: Timestamp,
    pub due: Timestamp,
    pub valid_until: Timestamp,
    /// Why there is one.
    pub why: String,
}

/// A delivery as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: i64,
    pub once: String,
    pub customer: String,
    pub incident: Option<i64>,
    pub message: Option<i64>,
    pub severity: u8,
    pub channel: String,
    pub address: String,
    pub person: String,
    pub is_contact: bool,
    pub body: String,
    pub state: String,
    /// Why it is in this state, where that needs saying.
    pub reason: String,
    /// Who has it, or had it last.
    pub provider: String,
    /// The provider's own number of it.
    pub receipt: String,
    pub attempts: u32,
    pub fell_back: bool,
    pub queued: Timestamp,
    pub due: Timestamp,
    pub valid_until: Timestamp,
    pub changed: Timestamp,
    pub handed: Option<Timestamp>,
}

/// One step of a delivery. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStep {
    pub id: i64,
    pub from: String,
    pub to: String,
    pub time: Timestamp,
    /// In a word or two: `leased`, `retried`.
    pub what: String,
    pub who: String,
    pub came_from: String,
    pub why: String,
    pub provider: Option<String>,
    pub receipt: Option<String>,
    pub due: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
    pub attempts: Option<u32>,
    pub fell_back: Option<bool>,
    pub handed: Option<Timestamp>,
}

/// Steps and what they lead to, written together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryChange {
    pub steps: Vec<DeliveryStep>,
    pub queue: Vec<NewDelivery>,
    pub audit: Vec<Audit>,
}

/// Why queued deliveries are not sent any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A later message of the incident says more, to those who get it. `name`: as people write it.
    Superseded { incident: i64, message: i64, name: String },
    /// The message was taken back.
    Withdrawn { message: i64, why: String },
    /// Nobody needs to be called about the incident any more.
    Calls { incident: i64, why: String },
}

/// Which deliveries. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    pub states: Option<Vec<String>>,
    pub customer: Option<String>,
    pub incident: Option<i64>,
    pub message: Option<i64>,
    pub channel: Option<String>,
    pub ids: Option<Vec<i64>>,
    /// Goes on where a page ended.
    pub after: Option<i64>,
    /// Rows of a page; 0 and what is above [`crate::limits::STORE_PAGE_ROWS_MAX`] are that.
    pub rows: usize,
}

/// Columns of [`delivery`], in their order.
pub(super) const DELIVERY: &str = "id, once, customer, incident, message, severity, channel, address, person, is_contact, body, \
                                   state, reason, provider, receipt, attempts, fell_back, queued, due, valid_until, \
                                   changed, handed, sum";

/// States in which something is still to be done.
const OPEN: &str = "('queued', 'leased', 'unknown')";

impl DeliveryRow {
    fn sum(&self) -> i64 {
        let option = |sum: Sum, n: Option<i64>| sum.int(i64::from(n.is_some())).int(n.unwrap_or_default());
        let sum = Sum::default().int(self.id).text(&self.once).text(&self.customer);
        let sum = option(option(sum, self.incident), self.message).int(i64::from(self.severity));
        let sum = sum
            .text(&self.channel)
            .text(&self.address)
            .text(&self.person)
            .int(i64::from(self.is_contact))
            .text(&self.body);
        let sum = sum.text(&self.state).text(&self.reason).text(&self.provider).text(&self.receipt);
        let sum = sum.int(i64::from(self.attempts)).int(i64::from(self.fell_back)).int(self.queued.0).int(self.due.0);
        sum.int(self.valid_until.0).int(self.changed.0).time(self.handed).end()
    }
}

pub(super) fn delivery(row: &Row<'_>) -> Result<DeliveryRow> {
    let delivery = DeliveryRow {
        id: row.get(0)?,
        once: row.get(1)?,
        customer: row.get(2)?,
        incident: row.get(3)?,
        message: row.get(4)?,
        severity: row.get(5)?,
        channel: row.get(6)?,
        address: row.get(7)?,
        person: row.get(8)?,
        is_contact: row.get(9)?,
        body: row.get(10)?,
        state: row.get(11)?,
        reason: row.get(12)?,
        provider: row.get(13)?,
        receipt: row.get(14)?,
        attempts: row.get(15)?,
        fell_back: row.get(16)?,
        queued: rows::time(row, 17)?,
        due: rows::time(row, 18)?,
        valid_until: rows::time(row, 19)?,
        changed: rows::time(row, 20)?,
        handed: rows::time_or_none(row, 21)?,
    };
    if delivery.sum() == row.get::<_, i64>(22)? { Ok(delivery) } else { Err(rows::damaged(22)) }
}

/// Writes a row with the number it has; false where there is one of that number or purpose.
pub(super) fn add(db: &Connection, row: &DeliveryRow) -> Result<bool> {
    let sql = format!(
        "INSERT OR IGNORE INTO deliveries ({DELIVERY}) VALUES \
         (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)"
    );
    let all = params![
        row.id,
        row.once,
        row.customer,
        row.incident,
        row.message,
        row.severity,
        row.channel,
        row.address,
        row.person,
        row.is_contact,
        row.body,
        row.state,
        row.reason,
        row.provider,
        row.receipt,
        row.attempts,
        row.fell_back,
        row.queued.0,
        row.due.0,
        row.valid_until.0,
        row.changed.0,
        row.handed.map(|at| at.0),
        row.sum(),
    ];
    Ok(db.prepare_cached(&sql)?.execute(all)? > 0)
}

/// Queues a new one, with the row that says so; its number, or `None` where there is one already.
pub(super) fn queue(db: &Connection, new: &NewDelivery) -> Result<Option<i64>> {
    let there = "SELECT 1 FROM deliveries WHERE once = ?1";
    if db.prepare_cached(there)?.exists([&new.once])? || later(db, (new.incident, new.message, &new.person))? {
        return Ok(None);
    }
    let id = rows::last_number(db, "deliveries")? + 1;
    let row = DeliveryRow {
        id,
        once: new.once.clone(),
        customer: new.customer.clone(),
        incident: new.incident,
        message: new.message,
        severity: new.severity,
        channel: new.channel.clone(),
        address: new.address.clone(),
        person: new.person.clone(),
        is_contact: new.is_contact,
        body: new.body.clone(),
        state: "queued".to_owned(),
        reason: String::new(),
        provider: String::new(),
        receipt: String::new(),
        attempts: 0,
        fell_back: false,
        queued: new.queued,
        due: new.due,
        valid_until: new.valid_until,
        changed: new.queued,
        handed: None,
    };
    add(db, &row)?;
    let from = String::new();
    let step = transition(id, new.queued, (from, "queued"), ("queued", "ringfence", "local"), &new.why);
    put_transition(db, &step)?;
    Ok(Some(id))
}

fn transition(
    id: i64,
    time: Timestamp,
    (from, to): (String, &str),
    (what, who, came_from): (&str, &str, &str),
    why: &str,
) -> TransitionRow {
    TransitionRow {
        time,
        kind: SubjectKind::Delivery,
        subject: id,
        from,
        to: to.to_owned(),
        what: what.to_owned(),
        who: who.to_owned(),
        came_from: came_from.to_owned(),
        why: why.to_owned(),
        data: String::new(),
    }
}

fn put_transition(db: &Connection, transition: &TransitionRow) -> Result<()> {
    let seq = rows::last_number(db, "transitions")? + 1;
    book::put_transition(db, seq, transition)
}

/// Does a step, where the row is in the state that it comes from.
fn step(db: &Connection, step: &DeliveryStep) -> Result<bool> {
    let found = match by_id(db, step.id) {
        // A damaged row is told by the verification; others must not wait for it.
        Err(Error::FromSqlConversionFailure(..)) => None,
        found => found?,
    };
    let Some(mut row) = found.filter(|row| row.state == step.from) else { return Ok(false) };
    let mut step = step.clone();
    let comes_back = step.to == "queued" && matches!(step.from.as_str(), "leased" | "unknown");
    if comes_back && later(db, (row.incident, row.message, &row.person))? {
        // While it was with a provider something newer was said: it must not come behind that, or hold it up.
        (step.to, step.what) = ("superseded".to_owned(), "superseded".to_owned());
        step.why = format!("a later message says more; {}", step.why);
    }
    row.state.clone_from(&step.to);
    row.reason.clone_from(&step.why);
    row.changed = step.time;
    row.provider = step.provider.clone().unwrap_or(row.provider);
    row.receipt = step.receipt.clone().unwrap_or(row.receipt);
    row.due = step.due.unwrap_or(row.due);
    row.valid_until = step.valid_until.unwrap_or(row.valid_until);
    row.attempts = step.attempts.unwrap_or(row.attempts);
    row.fell_back = step.fell_back.unwrap_or(row.fell_back);
    row.handed = step.handed.or(row.handed);
    let sql = "UPDATE deliveries SET state = ?2, reason = ?3, provider = ?4, receipt = ?5, attempts = ?6, \
               fell_back = ?7, due = ?8, changed = ?9, handed = ?10, valid_until = ?11, sum = ?12 WHERE id = ?1";
    db.prepare_cached(sql)?.execute(params![
        row.id,
        row.state,
        row.reason,
        row.provider,
        row.receipt,
        row.attempts,
        row.fell_back,
        row.due.0,
        row.changed.0,
        row.handed.map(|at| at.0),
        row.valid_until.0,
        row.sum(),
    ])?;
    let by = (step.what.as_str(), step.who.as_str(), step.came_from.as_str());
    put_transition(db, &transition(step.id, step.time, (step.from.clone(), &step.to), by, &step.why))?;
    Ok(true)
}

/// How many of the steps were done.
pub(super) fn apply(db: &Connection, change: &DeliveryChange) -> Result<Written> {
    let mut n = 0;
    for one in &change.steps {
        n += usize::from(step(db, one)?);
    }
    change.queue.iter().try_for_each(|new| queue(db, new).map(drop))?;
    change.audit.iter().try_for_each(|audit| rows::add_audit(db, audit).map(drop))?;
    Ok(Written::Changed(n))
}

/// What is queued, or stands on the call sheet, is not sent any more; what is with a provider is let go.
pub(super) fn stop(db: &Connection, time: Timestamp, stop: &Stop) -> Result<()> {
    let waits = "(d.state = 'queued' OR d.state = 'handed' AND d.channel = 'call-sheet')";
    let (which, to, why, incident, message) = match stop {
        Stop::Superseded { incident, message, name } => (
            "d.incident = ?1 AND d.message != ?2 AND EXISTS \
             (SELECT 1 FROM deliveries AS n WHERE n.message = ?2 AND n.person = d.person)",
            "superseded",
            format!("{name} says more"),
            *incident,
            *message,
        ),
        Stop::Withdrawn { message, why } => {
            ("?1 = 0 AND d.message = ?2", "suppressed", format!("the message was withdrawn: {why}"), 0, *message)
        }
        Stop::Calls { incident, why } => {
            ("d.incident = ?1 AND d.message IS NULL AND ?2 = 0", "suppressed", why.clone(), *incident, 0)
        }
    };
    let sql = format!("SELECT d.id, d.state FROM deliveries AS d WHERE {which} AND {waits}");
    let found = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
    let rows: Vec<(i64, String)> =
        db.prepare_cached(&sql)?.query_map([incident, message], found)?.collect::<Result<_>>()?;
    for (id, from) in rows {
        let stopped = DeliveryStep {
            id,
            from,
            to: to.to_owned(),
            time,
            what: if to == "superseded" { "superseded" } else { "stopped" }.to_owned(),
            who: "ringfence".to_owned(),
            came_from: "local".to_owned(),
            why: why.clone(),
            ..DeliveryStep::default()
        };
        step(db, &stopped)?;
    }
    Ok(())
}

/// Has the same person been queued another message of the incident since this one? Messages are released in another order
/// than they are drafted, so their numbers say nothing.
fn later(db: &Connection, row: (Option<i64>, Option<i64>, &str)) -> Result<bool> {
    let (Some(incident), Some(message), person) = row else { return Ok(false) };
    let sql = "SELECT 1 FROM deliveries WHERE incident = ?1 AND message != ?2 AND person = ?3 \
               AND id > (SELECT max(id) FROM deliveries WHERE message = ?2 AND person = ?3)";
    db.prepare_cached(sql)?.exists(params![incident, message, person])
}

pub(super) fn by_id(db: &Connection, id: i64) -> Result<Option<DeliveryRow>> {
    let sql = format!("SELECT {DELIVERY} FROM deliveries WHERE id = ?1");
    db.prepare_cached(&sql)?.query_row([id], delivery).optional()
}

/// The newest first.
pub(super) fn page(db: &Connection, query: &DeliveryQuery) -> Result<Page<DeliveryRow, i64>> {
    let mut pages = Pages::new(DELIVERY, "deliveries", "id", query.rows);
    if let Some(states) = &query.states {
        let list = serde_json::to_string(states).expect("texts always serialise");
        pages.and("state IN (SELECT value FROM json_each(?))", Value::Text(list));
    }
    if let Some(ids) = &query.ids {
        pages.and("id IN (SELECT value FROM json_each(?))", Value::Text(format!("{ids:?}")));
    }
    let texts = [("customer = ?", &query.customer), ("channel = ?", &query.channel)];
    for (column, text) in texts {
        if let Some(text) = text {
            pages.and(column, Value::Text(text.clone()));
        }
    }
    for (column, number) in [("incident = ?", query.incident), ("message = ?", query.message), ("id < ?", query.after)]
    {
        if let Some(number) = number {
            pages.and(column, Value::Integer(number));
        }
    }
    pages.read(db, "DESC", delivery)
}

/// Rows that can be read of what a query gives.
fn readable(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<DeliveryRow>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        // A damaged one is told by the verification; what lies behind it must not wait for it.
        found.extend(delivery(row).ok());
    }
    Ok(found)
}

/// Queued ones of a channel that are due, the gravest first, then the longest due: none before an earlier one of the same
/// incident, channel and address has been settled.
pub(super) fn due(db: &Connection, channel: &str, now: Timestamp, n: usize) -> Result<Vec<DeliveryRow>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries AS d \
         WHERE state = 'queued' AND channel = ?1 AND severity = ?2 AND due <= ?3 AND NOT EXISTS \
         (SELECT 1 FROM deliveries AS e WHERE e.incident = d.incident AND e.channel = d.channel \
          AND e.address = d.address AND e.id < d.id AND e.state IN {OPEN}) \
         ORDER BY due, id LIMIT ?4"
    );
    let mut found = Vec::new();
    for severity in 1..=4_i64 {
        let left = n - found.len().min(n);
        if left > 0 {
            found.extend(readable(db, &sql, params![channel, severity, now.0, left as i64])?);
        }
    }
    Ok(found)
}

/// Of a state whose time has come, the longest due first.
pub(super) fn in_state(db: &Connection, state: &str, now: Timestamp, n: usize) -> Result<Vec<DeliveryRow>> {
    // Written out, so that SQLite sees that the index covers it.
    let state = if state == "leased" { "leased" } else { "unknown" };
    let sql =
        format!("SELECT {DELIVERY} FROM deliveries WHERE state = '{state}' AND due <= ?1 ORDER BY due, id LIMIT ?2");
    readable(db, &sql, params![now.0, n as i64])
}

/// Grave ones that are queued for a channel and for which no other channel was tried.
pub(super) fn stranded(db: &Connection, channel: &str, n: usize) -> Result<Vec<DeliveryRow>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries WHERE state = 'queued' AND channel = ?1 AND severity <= 2 \
         AND fell_back = 0 ORDER BY severity, due LIMIT ?2"
    );
    readable(db, &sql, params![channel, n as i64])
}

/// How many were given up since then, of people whom the same did not reach, and will not, by any other way.
pub(super) fn dead(db: &Connection, since: Timestamp) -> Result<u64> {
    let sql = "SELECT count(*) FROM deliveries AS d WHERE state IN ('failed', 'expired') AND changed >= ?1 AND NOT EXISTS \
               (SELECT 1 FROM deliveries AS o WHERE o.incident = d.incident AND o.message IS d.message \
                AND o.person = d.person AND o.state NOT IN ('failed', 'expired'))";
    let n: i64 = db.prepare_cached(sql)?.query_row([since.0], |row| row.get(0))?;
    Ok(n.unsigned_abs())
}

/// Has the person the same message by another way?
pub(super) fn is_told_otherwise(db: &Connection, row: &DeliveryRow) -> Result<bool> {
    let sql = "SELECT 1 FROM deliveries WHERE message = ?1 AND person = ?2 AND id != ?3 AND handed IS NOT NULL \
               AND state != 'failed'";
    db.prepare_cached(sql)?.exists(params![row.message, row.person, row.id])
}

/// What was held back from an address, the newest first.
pub(super) fn held(db: &Connection, channel: &str, address: &str) -> Result<Vec<DeliveryRow>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries WHERE channel = ?1 AND address = ?2 AND state = 'suppressed' ORDER BY id DESC"
    );
    readable(db, &sql, params![channel, address])
}

/// The digest that waits for an address.
pub(super) fn digest(db: &Connection, channel: &str, address: &str) -> Result<Option<DeliveryRow>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries WHERE channel = ?1 AND address = ?2 AND state = 'queued' \
         AND incident IS NULL LIMIT 1"
    );
    Ok(readable(db, &sql, params![channel, address])?.pop())
}

/// Those on the call sheet whom nobody phoned while it made sense.
pub(super) fn unphoned(db: &Connection, now: Timestamp, n: usize) -> Result<Vec<DeliveryRow>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries WHERE state = 'handed' AND channel = 'call-sheet' AND valid_until <= ?1 LIMIT ?2"
    );
    readable(db, &sql, params![now.0, n as i64])
}

/// Channels for which something is queued.
pub(super) fn channels(db: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT channel FROM deliveries WHERE state = 'queued'";
    db.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// When the next one has something to do.
pub(super) fn next_due(db: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(due) FROM (SELECT min(due) AS due FROM deliveries WHERE state = 'queued' \
               UNION ALL SELECT min(due) FROM deliveries WHERE state = 'unknown')";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp))
}

/// When the oldest was queued that nobody has got, and how many there are.
pub(super) fn waiting(db: &Connection) -> Result<(Option<Timestamp>, u64)> {
    let sql = format!(
        "SELECT (SELECT min(queued) FROM deliveries WHERE state IN {OPEN}), \
         (SELECT count(*) FROM deliveries WHERE state IN {OPEN})"
    );
    let waiting = |row: &Row<'_>| {
        let n: i64 = row.get(1)?;
        Ok((row.get::<_, Option<i64>>(0)?.map(Timestamp), n.unsigned_abs()))
    };
    db.prepare_cached(&sql)?.query_row([], waiting)
}

/// Times at which an address was handed something by a channel since then, the oldest first.
pub(super) fn handed(db: &Connection, channel: &str, address: &str, since: Timestamp) -> Result<Vec<Timestamp>> {
    let sql = "SELECT handed FROM deliveries WHERE channel = ?1 AND address = ?2 AND handed > ?3 ORDER BY handed";
    let mut statement = db.prepare_cached(sql)?;
    statement.query_map(params![channel, address, since.0], |row| row.get(0).map(Timestamp))?.collect()
}

/// The first delivery of a message by which its customer was told, if one was.
pub(super) fn told(db: &Connection, message: i64) -> Result<Option<DeliveryRow>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries WHERE message = ?1 AND is_contact = 1 AND handed IS NOT NULL \
         ORDER BY handed LIMIT 1"
    );
    Ok(readable(db, &sql, [message])?.pop())
}
