//! What people look up: pages of audit entries, violations and blocks, the newest first.

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, params_from_iter};

use super::entry::{Audit, Block, Violation};
use super::rows;
use crate::clock::Timestamp;
use crate::limits::STORE_PAGE_ROWS_MAX;

/// Which rows. What is `None` does not narrow; what a table does not know finds nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// From this time on, and before that one. Of blocks: when they were added.
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub customer: Option<String>,
    pub rule: Option<String>,
    /// A value of the violation's key, under whichever name; the value on a list; the subject of an audit entry.
    pub value: Option<String>,
    pub level: Option<String>,
    pub list: Option<String>,
    /// Violations only: those that this alert took.
    pub alert: Option<i64>,
    /// Who did it (audit).
    pub who: Option<String>,
    /// Blocks only: those that hold at this time.
    pub holding_at: Option<Timestamp>,
    /// Goes on where a page ended.
    pub after: Option<Cursor>,
    /// Rows of a page; 0 and what is above [`STORE_PAGE_ROWS_MAX`] are that.
    pub rows: usize,
}

/// The last row of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub time: Timestamp,
    pub row: i64,
}

/// Rows of one page, the newest first unless it is said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, C = Cursor> {
    pub rows: Vec<T>,
    /// None where no more follow.
    pub next: Option<C>,
    /// Rows that are left out because they are not what was written.
    pub damaged: usize,
}

/// The conditions of one query and what stands for their question marks.
struct Question {
    sql: String,
    values: Vec<Value>,
    time: &'static str,
    row: &'static str,
    rows: usize,
}

impl Question {
    fn new(query: &Query, columns: &str, table: &str, time: &'static str, row: &'static str) -> Question {
        let rows = limited(query.rows);
        // Number and time stand by themselves too, so that a page goes on past a row that cannot be read.
        let sql = format!("SELECT {columns}, {row} AS page_row, {time} AS page_time FROM {table} WHERE 1");
        let mut question = Question { sql, values: Vec::new(), time, row, rows };
        if let Some(from) = query.from {
            question.and(&format!("{time} >= ?"), [Value::Integer(from.0)]);
        }
        if let Some(until) = query.until {
            question.and(&format!("{time} < ?"), [Value::Integer(until.0)]);
        }
        if let Some(after) = query.after {
            let at = [Value::Integer(after.time.0), Value::Integer(after.row)];
            question.and(&format!("({time}, {row}) < (?, ?)"), at);
        }
        question
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn is(&mut self, column: &str, text: &Option<String>) {
        if let Some(text) = text {
            self.and(&format!("{column} = ?"), [Value::Text(text.clone())]);
        }
    }

    /// The table has no such column: what is asked for is not there.
    fn lacks(&mut self, asked: bool) {
        if asked {
            self.and("0", []);
        }
    }

    fn page<T>(mut self, db: &Connection, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Page<T>> {
        let Question { time, row, rows, .. } = self;
        self.sql.push_str(&format!(" ORDER BY {time} DESC, {row} DESC LIMIT {}", rows + 1));
        let mut statement = db.prepare_cached(&self.sql)?;
        let mut found = statement.query(params_from_iter(self.values))?;
        let mut page = Page { rows: Vec::new(), next: None, damaged: 0 };
        let mut last = None;
        let mut n = 0;
        while let Some(row) = found.next()? {
            if n == rows {
                page.next = last;
                break;
            }
            n += 1;
            last = Some(Cursor { time: Timestamp(row.get("page_time")?), row: row.get("page_row")? });
            match read(row) {
                Ok(value) => page.rows.push(value),
                Err(_) => page.damaged += 1,
            }
        }
        Ok(page)
    }
}

/// Rows of a page that asks for so many.
pub(super) fn limited(rows: usize) -> usize {
    if rows == 0 { STORE_PAGE_ROWS_MAX } else { rows.min(STORE_PAGE_ROWS_MAX) }
}

/// A question to a table whose rows follow each other by number.
pub(super) struct Pages {
    sql: String,
    values: Vec<Value>,
    number: &'static str,
    rows: usize,
}

impl Pages {
    pub(super) fn new(columns: &str, table: &str, number: &'static str, rows: usize) -> Pages {
        // The number stands by itself too, so that a page goes on past a row that cannot be read.
        let sql = format!("SELECT {columns}, {number} AS page_number FROM {table} WHERE 1");
        Pages { sql, values: Vec::new(), number, rows: limited(rows) }
    }

    pub(super) fn and(&mut self, condition: &str, value: Value) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.push(value);
    }

    pub(super) fn read<T>(
        mut self,
        db: &Connection,
        order: &str,
        read: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Page<T, i64>> {
        self.sql.push_str(&format!(" ORDER BY {} {order} LIMIT {}", self.number, self.rows + 1));
        let mut statement = db.prepare_cached(&self.sql)?;
        let mut found = statement.query(params_from_iter(self.values))?;
        let mut page = Page { rows: Vec::new(), next: None, damaged: 0 };
        let mut last = None;
        while let Some(row) = found.next()? {
            if page.rows.len() + page.damaged == self.rows {
                page.next = last;
                break;
            }
            last = Some(row.get("page_number")?);
            match read(row) {
                Ok(value) => page.rows.push(value),
                Err(_) => page.damaged += 1,
            }
        }
        Ok(page)
    }
}

pub(super) fn audits(db: &Connection, query: &Query) -> Result<Page<(i64, Audit)>> {
    let mut question = Question::new(query, rows::AUDIT, "audit", "time", "id");
    question.is("who", &query.who);
    question.is("subject", &query.value);
    question.lacks(query.customer.is_some() || query.rule.is_some() || query.level.is_some());
    question.lacks(query.list.is_some() || query.holding_at.is_some() || query.alert.is_some());
    question.page(db, rows::audit)
}

pub(super) fn violations(db: &Connection, query: &Query) -> Result<Page<Violation>> {
    // A value of a key may have thousands of violations: they are walked in the order of their time.
    let keyed = "violation_keys CROSS JOIN violations ON row = violation";
    let mut question = match &query.value {
        None => Question::new(query, rows::VIOLATION, "violations", "time", "row"),
        Some(_) => Question::new(query, rows::VIOLATION, keyed, "at", "violation"),
    };
    question.is("text", &query.value);
    question.is("customer", &query.customer);
    question.is("rule", &query.rule);
    question.is("level", &query.level);
    if let Some(alert) = query.alert {
        question.and("alert = ?", [Value::Integer(alert)]);
    }
    question.lacks(query.list.is_some() || query.who.is_some() || query.holding_at.is_some());
    question.page(db, |row| rows::violation(row).map(|(_, violation)| violation))
}

pub(super) fn blocks(db: &Connection, query: &Query) -> Result<Page<Block>> {
    let mut question = Question::new(query, rows::BLOCK, "blocks", "added", "row");
    question.is("customer", &query.customer);
    question.is("rule", &query.rule);
    question.is("value", &query.value);
    question.is("list", &query.list);
    if let Some(at) = query.holding_at {
        let at = Value::Integer(at.0);
        let holds = "added <= ? AND (until IS NULL OR until > ?) AND (removed IS NULL OR removed > ?)";
        question.and(holds, [at.clone(), at.clone(), at]);
    }
    question.lacks(query.level.is_some() || query.who.is_some() || query.alert.is_some());
    question.page(db, |row| rows::block(row).map(|(_, block)| block))
}
