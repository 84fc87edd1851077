//! People who use the service, and the tokens of their programs, as plain values. Nothing is hashed or compared here.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::entry::{Sum, Written};
use super::lookup::{Page, Pages};
use super::rows;
use crate::clock::Timestamp;

/// Somebody who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// The name as people read it.
    pub display: String,
    pub roles: Vec<String>,
    /// A PHC string; None where there is no password to log in with.
    pub password: Option<String>,
    pub is_disabled: bool,
    pub created: Timestamp,
    pub changed: Timestamp,
}

/// What a program logs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    /// Whose rights it has; there is such a user.
    pub user: String,
    pub label: String,
    /// Of the secret, as hexadecimal digits.
    pub hash: String,
    pub scopes: Vec<String>,
    pub created: Timestamp,
    /// None: never.
    pub expires: Option<Timestamp>,
    pub last_used: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
}

/// Columns of [`user`] and [`token`], in their order; the first is the number of the row.
pub(super) const USER: &str = "row, name, display, roles, password, is_disabled, created, changed, sum";
pub(super) const TOKEN: &str = "row, id, user, label, hash, scopes, created, expires, last_used, revoked, sum";

/// Hashes are not for logs.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let User { name, roles, is_disabled, .. } = self;
        let user = &mut f.debug_struct("User");
        user.field("name", name).field("roles", roles).field("is_disabled", is_disabled).finish_non_exhaustive()
    }
}

/// Hashes are not for logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Token { id, user, scopes, revoked, .. } = self;
        let token = &mut f.debug_struct("Token");
        let token = token.field("id", id).field("user", user).field("scopes", scopes);
        token.field("revoked", revoked).finish_non_exhaustive()
    }
}

impl User {
    fn sum(&self) -> i64 {
        let sum = Sum::default().text(&self.name).text(&self.display).text(&list(&self.roles));
        let sum = sum.int(i64::from(self.password.is_some())).text(self.password.as_deref().unwrap_or_default());
        sum.int(i64::from(self.is_disabled)).int(self.created.0).int(self.changed.0).end()
    }
}

impl Token {
    fn sum(&self) -> i64 {
        let sum = Sum::default().text(&self.id).text(&self.user).text(&self.label).text(&self.hash);
        let sum = sum.text(&list(&self.scopes)).int(self.created.0).time(self.expires);
        sum.time(self.last_used).time(self.revoked).end()
    }
}

fn list(texts: &[String]) -> String {
    serde_json::to_string(texts).expect("texts always serialise")
}

fn texts(row: &Row<'_>, column: usize) -> Result<Vec<String>> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|_| rows::damaged(column))
}

pub(super) fn user(row: &Row<'_>) -> Result<User> {
    let user = User {
        name: row.get(1)?,
        display: row.get(2)?,
        roles: texts(row, 3)?,
        password: row.get(4)?,
        is_disabled: row.get(5)?,
        created: rows::time(row, 6)?,
        changed: rows::time(row, 7)?,
    };
    if user.sum() == row.get::<_, i64>(8)? { Ok(user) } else { Err(rows::damaged(8)) }
}

pub(super) fn token(row: &Row<'_>) -> Result<Token> {
    let token = Token {
        id: row.get(1)?,
        user: row.get(2)?,
        label: row.get(3)?,
        hash: row.get(4)?,
        scopes: texts(row, 5)?,
        created: rows::time(row, 6)?,
        expires: rows::time_or_none(row, 7)?,
        last_used: rows::time_or_none(row, 8)?,
        revoked: rows::time_or_none(row, 9)?,
    };
    if token.sum() == row.get::<_, i64>(10)? { Ok(token) } else { Err(rows::damaged(10)) }
}

/// A new user, or all of one that is there.
pub(super) fn put_user(db: &Connection, user: &User) -> Result<Written> {
    match user_by_name(db, &user.name) {
        Ok(Some(known)) if known == *user => return Ok(Written::Known),
        // One that is damaged is written anew.
        Ok(Some(_)) | Err(rusqlite::Error::FromSqlConversionFailure(..)) => {
            let sql = "UPDATE users SET display = ?2, roles = ?3, password = ?4, is_disabled = ?5, created = ?6, \
                       changed = ?7, sum = ?8 WHERE name = ?1";
            return write_user(db, sql, user).map(Written::Changed);
        }
        Ok(None) => {}
        Err(e) => return Err(e),
    }
    write_user(db, &format!("INSERT INTO users ({USER}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"), user)?;
    Ok(Written::Added(db.last_insert_rowid()))
}

fn write_user(db: &Connection, sql: &str, user: &User) -> Result<usize> {
    let User { name, display, roles, password, is_disabled, created, changed } = user;
    let all = params![name, display, list(roles), password, is_disabled, created.0, changed.0, user.sum()];
    db.prepare_cached(sql)?.execute(all)
}

/// A new token. One that is there stays as it is.
pub(super) fn put_token(db: &Connection, token: &Token) -> Result<Written> {
    let sql = format!(
        "INSERT INTO tokens ({TOKEN}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING"
    );
    let Token { id, user, label, hash, created, .. } = token;
    let [expires, last_used, revoked] = [token.expires, token.last_used, token.revoked].map(|at| at.map(|t| t.0));
    let scopes = list(&token.scopes);
    let all = params![id, user, label, hash, scopes, created.0, expires, last_used, revoked, token.sum()];
    let n = db.prepare_cached(&sql)?.execute(all)?;
    Ok(if n == 0 { Written::Known } else { Written::Added(db.last_insert_rowid()) })
}

/// A token that was revoked stays so.
pub(super) fn revoke(db: &Connection, id: &str, at: Timestamp) -> Result<Written> {
    change_token(db, id, |token| token.revoked.is_none().then(|| token.revoked = Some(at)))
}

/// Never back in time.
pub(super) fn used(db: &Connection, id: &str, at: Timestamp) -> Result<Written> {
    change_token(db, id, |token| (token.last_used < Some(at)).then(|| token.last_used = Some(at)))
}

fn change_token(db: &Connection, id: &str, change: impl FnOnce(&mut Token) -> Option<()>) -> Result<Written> {
    let Some(mut token) = token_by_id(db, id)? else { return Ok(Written::Changed(0)) };
    if change(&mut token).is_none() {
        return Ok(Written::Changed(0));
    }
    let mut update = db.prepare_cached("UPDATE tokens SET last_used = ?2, revoked = ?3, sum = ?4 WHERE id = ?1")?;
    let (last_used, revoked) = (token.last_used.map(|t| t.0), token.revoked.map(|t| t.0));
    update.execute(params![id, last_used, revoked, token.sum()]).map(Written::Changed)
}

pub(super) fn user_by_name(db: &Connection, name: &str) -> Result<Option<User>> {
    db.prepare_cached(&format!("SELECT {USER} FROM users WHERE name = ?1"))?.query_row([name], user).optional()
}

pub(super) fn token_by_id(db: &Connection, id: &str) -> Result<Option<Token>> {
    db.prepare_cached(&format!("SELECT {TOKEN} FROM tokens WHERE id = ?1"))?.query_row([id], token).optional()
}

/// In the order in which they came.
pub(super) fn users(db: &Connection, after: i64, rows: usize) -> Result<Page<User, i64>> {
    let mut pages = Pages::new(USER, "users", "row", rows);
    pages.and("row > ?", Value::Integer(after));
    pages.read(db, "ASC", user)
}

/// In the order in which they came; of one user or of all.
pub(super) fn tokens(db: &Connection, of: Option<&str>, after: i64, rows: usize) -> Result<Page<Token, i64>> {
    let mut pages = Pages::new(TOKEN, "tokens", "row", rows);
    if let Some(user) = of {
        pages.and("user = ?", Value::Text(user.to_owned()));
    }
    pages.and("row > ?", Value::Integer(after));
    pages.read(db, "ASC", token)
}
