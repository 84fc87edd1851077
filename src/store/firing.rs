//! What Alertmanagers were told that it fires, until they took the end of it: whoever was told of a start is told of the
//! end, over a crash too.

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, params};

use super::entry::{Sum, Written};
use super::lookup::{Page, Pages};
use super::rows;
use crate::clock::Timestamp;

/// One alert, as one Alertmanager knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The address that alerts are posted to.
    pub endpoint: String,
    pub rule: String,
    pub customer: String,
    /// As its label says.
    pub key: String,
    pub level: String,
    pub starts: Timestamp,
    /// What it says besides, JSON.
    pub facts: String,
}

/// Columns of [`firing`], in their order; the first is the number of the row.
pub(super) const FIRING: &str = "row, endpoint, rule, customer, key, level, starts, facts, sum";

impl Firing {
    fn sum(&self) -> i64 {
        let sum = Sum::default().text(&self.endpoint).text(&self.rule).text(&self.customer).text(&self.key);
        sum.text(&self.level).int(self.starts.0).text(&self.facts).end()
    }
}

pub(super) fn firing(row: &Row<'_>) -> Result<Firing> {
    let firing = Firing {
        endpoint: row.get(1)?,
        rule: row.get(2)?,
        customer: row.get(3)?,
        key: row.get(4)?,
        level: row.get(5)?,
        starts: rows::time(row, 6)?,
        facts: row.get(7)?,
    };
    if firing.sum() == row.get::<_, i64>(8)? { Ok(firing) } else { Err(rows::damaged(8)) }
}

/// A new one, or all of one that is there.
pub(super) fn put(db: &Connection, firing: &Firing) -> Result<Written> {
    let sql = format!(
        "INSERT INTO firing ({FIRING}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (endpoint, rule, customer, key, level) \
         DO UPDATE SET starts = excluded.starts, facts = excluded.facts, sum = excluded.sum"
    );
    let Firing { endpoint, rule, customer, key, level, starts, facts } = firing;
    let all = params![endpoint, rule, customer, key, level, starts.0, facts, firing.sum()];
    db.prepare_cached(&sql)?.execute(all).map(Written::Changed)
}

/// The end was taken.
pub(super) fn end(db: &Connection, firing: &Firing) -> Result<Written> {
    let sql = "DELETE FROM firing WHERE endpoint = ?1 AND rule = ?2 AND customer = ?3 AND key = ?4 AND level = ?5";
    let Firing { endpoint, rule, customer, key, level, .. } = firing;
    db.prepare_cached(sql)?.execute(params![endpoint, rule, customer, key, level]).map(Written::Changed)
}

/// Of all endpoints, in the order in which they came.
pub(super) fn page(db: &Connection, after: i64, rows: usize) -> Result<Page<Firing, i64>> {
    let mut pages = Pages::new(FIRING, "firing", "row", rows);
    pages.and("row > ?", Value::Integer(after));
    pages.read(db, "ASC", firing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Store};

    fn one(key: &str, starts: i64) -> Firing {
        Firing {
            endpoint: "http://127.0.0.1:9093/api/v2/alerts".into(),
            rule: "ips-a".into(),
            customer: "acme".into(),
            key: key.into(),
            level: "critical".into(),
            starts: Timestamp(starts),
            facts: r#"{"summary":"s"}"#.into(),
        }
    }

    #[test]
    fn what_was_told_stands_there_once_until_its_end_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        let record = |change| store.record(vec![change]).unwrap().wait().unwrap();
        record(Change::Firing(one("a", 1)));
        record(Change::Firing(one("b", 2)));
        record(Change::Firing(one("a", 3)));
        assert_eq!(store.firing(0, 0).unwrap().rows, [one("a", 3), one("b", 2)]);
        record(Change::FiringEnded(one("a", 9)));
        assert_eq!(record(Change::FiringEnded(one("a", 9))), [Written::Changed(0)]);
        drop(store);
        let (store, _) = Store::open(folder.path()).unwrap();
        assert_eq!(store.firing(0, 0).unwrap().rows, [one("b", 2)]);
        assert_eq!(store.verify().unwrap(), [""; 0]);
    }
}
