//! People who use the service: who they are, how they prove it, what they may do.
//!
//! Users and the tokens of their programs stand in the store, sessions in memory: a restart logs everybody's browser out.
//! Nothing has a default password: while nobody can manage users, a token of one use lies in the data folder for whoever
//! the service runs as. Everything here blocks, some of it for as long as a password takes to be hashed; it reads no
//! clock, and of HTTP it knows nothing.

mod password;
mod scope;
mod secret;
mod session;
mod setup;
mod throttle;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

pub use scope::{Scope, Scopes};
pub use setup::ADMIN_TOKEN;

use self::password::Hasher;
use self::session::Sessions;
use self::setup::Setup;
use self::throttle::Throttle;
use crate::clock::Timestamp;
use crate::incident::{Role, Roles};
use crate::limits::{
    PEOPLE_MAX, PERSON_NAME_BYTES_MAX, TOKEN_DAYS_MAX, TOKEN_LABEL_CHARS_MAX, TOKEN_USED_EVERY_MS, TOKENS_PER_USER_MAX,
};
use crate::store::{Audit, Change, Store, StoreError, Token, User};

/// Why somebody is not let in, or something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// One sentence for all the ways in which it can be so, or guessing would pay.
    #[error("{0}")]
    Unknown(&'static str),
    #[error("{0}")]
    Forbidden(String),
    #[error("too many attempts: come again in {wait_s} s")]
    TooMany { wait_s: u64 },
    #[error("too many logins at once: come again")]
    Busy,
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// Everything that is wrong with what was handed in.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How somebody proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Token(String),
    /// A browser, which sends its cookie along whoever asks it to: what changes something needs the second secret too.
    Session {
        csrf: String,
    },
    /// The token of one use.
    Setup,
}

/// Somebody who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub display: String,
    pub roles: Roles,
    pub scopes: Scopes,
    pub proof: Proof,
}

impl Caller {
    /// Rights are those of the role and of the token, both.
    pub fn manages_people(&self) -> bool {
        self.scopes.has(Scope::Admin) && self.roles.has(Role::Admin)
    }
}

/// A login that was taken. Both secrets are shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub caller: Caller,
    pub cookie: String,
    pub csrf: String,
}

/// Who asks for a change, and from where: for the audit.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub caller: &'a Caller,
    pub from: &'a str,
    pub now: Timestamp,
}

/// A new user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUser {
    pub name: String,
    pub display: String,
    pub roles: Vec<String>,
    pub password: Option<String>,
}

/// A new token. Without scopes: all that whoever makes it has, but for managing people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewToken {
    pub user: String,
    pub label: String,
    pub scopes: Vec<String>,
    /// None: never.
    pub days: Option<u32>,
}

/// The one place where somebody becomes known.
#[derive(Debug)]
pub struct People {
    store: Arc<Store>,
    hasher: Hasher,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
    setup: Mutex<Option<Setup>>,
    /// One change of users at a time: the last admin stays.
    changes: Mutex<()>,
}

const BAD_LOGIN: &str = "name or password is wrong";
const BAD_TOKEN: &str = "the token is unknown, expired or revoked";

impl People {
    /// Where nobody can manage users, `folder` gets a token of one use.
    pub fn open(store: Arc<Store>, folder: &Path, now: Timestamp) -> Result<People, Denied> {
        let hasher = Hasher::new()?;
        let people = People {
            store,
            hasher,
            sessions: Mutex::default(),
            throttle: Mutex::default(),
            setup: Mutex::default(),
            changes: Mutex::default(),
        };
        let setup = Setup::renew(folder, people.n_admins(None)? > 0, now)?;
        *lock(&people.setup) = setup;
        Ok(people)
    }

    /// The file of the token of one use, while it waits for somebody.
    pub fn admin_token(&self) -> Option<PathBuf> {
        lock(&self.setup).as_ref().map(|setup| setup.path().to_owned())
    }

    /// A token as it stands behind `Bearer`.
    pub fn by_token(&self, text: &str, now: Timestamp) -> Result<Caller, Denied> {
        if let Some(setup) = lock(&self.setup).as_ref().filter(|setup| setup.is(text, now)) {
            return Ok(setup.caller());
        }
        let (id, hash) = secret::parse_token(text).ok_or(Denied::Unknown(BAD_TOKEN))?;
        let token = self.store.token(id)?.ok_or(Denied::Unknown(BAD_TOKEN))?;
        let is_good = secret::is_same(&token.hash, &hash);
        let is_alive = token.revoked.is_none() && token.expires.is_none_or(|at| now < at);
        let user = self.store.user(&token.user)?.filter(|user| !user.is_disabled && is_good && is_alive);
        let user = user.ok_or(Denied::Unknown(BAD_TOKEN))?;
        if token.last_used.is_none_or(|at| now.0.saturating_sub(at.0) >= TOKEN_USED_EVERY_MS) {
            // Nobody waits for it; the next use tells it again.
            drop(self.store.record(vec![Change::TokenUsed { id: token.id.clone(), at: now }]));
        }
        Ok(caller(&user, Scopes::parse(&token.scopes), Proof::Token(token.id)))
    }

    /// Takes as long whatever differs.
    pub fn is_same_secret(&self, one: &str, other: &str) -> bool {
        secret::is_same(one, other)
    }

    /// A browser's cookie.
    pub fn by_session(&self, cookie: &str, now: Timestamp) -> Result<Caller, Denied> {
        let ended = Denied::Unknown("the session has ended: log in again");
        let Some((name, csrf)) = lock(&self.sessions).look_up(cookie, now) else { return Err(ended) };
        // As the user is now: what was taken away is gone at once.
        let user = self.store.user(&name)?.filter(|user| !user.is_disabled).ok_or(ended)?;
        Ok(caller(&user, Scopes::all(), Proof::Session { csrf }))
    }

    /// Takes the same time and says the same whether there is such a user or not.
    pub fn log_in(&self, name: &str, password: &str, from: &str, now: Timestamp) -> Result<Entry, Denied> {
        let wait_ms = lock(&self.throttle).wait_ms(name, from, now);
        if wait_ms > 0 {
            return Err(Denied::TooMany { wait_s: wait_ms.div_ceil(1000) });
        }
        let user = self.store.user(name)?.filter(|user| !user.is_disabled);
        let stored = user.as_ref().and_then(|user| user.password.as_deref());
        let is_right = self.hasher.verify(password, stored)?;
        let Some(user) = user.filter(|_| is_right) else {
            lock(&self.throttle).failed(name, from, now);
            self.note(name, from, now, "login refused", name, json!({}));
            return Err(Denied::Unknown(BAD_LOGIN));
        };
        lock(&self.throttle).passed(name);
        let (cookie, csrf) = lock(&self.sessions).begin(&user.name, now)?;
        self.note(&user.name, from, now, "login", &user.name, json!({}));
        let caller = caller(&user, Scopes::all(), Proof::Session { csrf: csrf.clone() });
        Ok(Entry { caller, cookie, csrf })
    }

    pub fn log_out(&self, cookie: &str, by: By<'_>) {
        lock(&self.sessions).end(cookie);
        self.note(&by.caller.name, by.from, by.now, "logout", &by.caller.name, json!({}));
    }

    pub fn users(&self) -> Result<Vec<User>, Denied> {
        Ok(self.store.users(0, PEOPLE_MAX)?.rows)
    }

    pub fn user(&self, name: &str) -> Result<User, Denied> {
        self.store.user(name)?.ok_or_else(|| Denied::NotFound(format!("there is no user `{name}`")))
    }

    /// The first admin uses up the token of one use.
    pub fn add_user(&self, new: &NewUser, by: By<'_>) -> Result<User, Denied> {
        let _one = lock(&self.changes);
        let mut wrong = name_problems(&new.name);
        let roles = roles(&new.roles, &mut wrong);
        wrong.extend(new.password.as_deref().and_then(password::problem));
        if new.display.chars().count() > PERSON_NAME_BYTES_MAX || new.display.chars().any(char::is_control) {
            wrong.push(format!("display: has at most {PERSON_NAME_BYTES_MAX} characters, all of which show"));
        }
        let is_setup = by.caller.proof == Proof::Setup;
        if is_setup && !roles.contains(&Role::Admin.as_str().to_owned()) {
            wrong.push("roles: the first user has to be an `admin`, or nobody could add a second".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Denied::Invalid(wrong));
        }
        if self.store.user(&new.name)?.is_some() {
            return Err(Denied::Conflict(format!("there is a user `{}` already", new.name)));
        }
        if self.users()?.len() >= PEOPLE_MAX {
            return Err(Denied::Conflict(format!("there are {PEOPLE_MAX} users: no more fit")));
        }
        let password = new.password.as_deref().map(|password| self.hasher.hash(password)).transpose()?;
        let display = if new.display.trim().is_empty() { &new.name } else { new.display.trim() };
        let user = User {
            name: new.name.clone(),
            display: display.to_owned(),
            roles,
            password,
            is_disabled: false,
            created: by.now,
            changed: by.now,
        };
        let mut setup = lock(&self.setup);
        // A disk that was slow may have made an admin although nobody was told so.
        if is_setup && (setup.is_none() || self.n_admins(None)? > 0) {
            return Err(Denied::Unknown(BAD_TOKEN));
        }
        self.write(by, "user add", Change::User(user.clone()), Value::Null, shown(&user))?;
        if is_setup && let Some(used) = setup.take() {
            used.remove();
        }
        Ok(user)
    }

    pub fn set_roles(&self, name: &str, words: &[String], by: By<'_>) -> Result<User, Denied> {
        let mut wrong = Vec::new();
        let roles = roles(words, &mut wrong);
        if !wrong.is_empty() {
            return Err(Denied::Invalid(wrong));
        }
        self.change_user(name, "user roles", by, |user| user.roles = roles)
    }

    pub fn set_disabled(&self, name: &str, is_disabled: bool, by: By<'_>) -> Result<User, Denied> {
        let action = if is_disabled { "user disable" } else { "user enable" };
        let user = self.change_user(name, action, by, |user| user.is_disabled = is_disabled)?;
        if is_disabled {
            lock(&self.sessions).end_all_of(name);
        }
        Ok(user)
    }

    /// One's own needs the one before, where there is one; an admin sets anybody's. Sessions of the user end.
    pub fn set_password(&self, name: &str, new: &str, before: Option<&str>, by: By<'_>) -> Result<User, Denied> {
        if let Some(problem) = password::problem(new) {
            return Err(Denied::Invalid(vec![problem]));
        }
        if !by.caller.manages_people() {
            let wait_ms = lock(&self.throttle).wait_ms(name, by.from, by.now);
            if wait_ms > 0 {
                return Err(Denied::TooMany { wait_s: wait_ms.div_ceil(1000) });
            }
            let stored = self.user(name)?.password;
            if stored.is_some() && !self.hasher.verify(before.unwrap_or_default(), stored.as_deref())? {
                lock(&self.throttle).failed(name, by.from, by.now);
                return Err(Denied::Forbidden("the password that held before is wrong".to_owned()));
            }
        }
        let hash = self.hasher.hash(new)?;
        let user = self.change_user(name, "user password", by, |user| user.password = Some(hash))?;
        lock(&self.sessions).end_all_of(name);
        Ok(user)
    }

    fn change_user(
        &self,
        name: &str,
        action: &str,
        by: By<'_>,
        change: impl FnOnce(&mut User),
    ) -> Result<User, Denied> {
        let _one = lock(&self.changes);
        let before = self.user(name)?;
        let mut user = before.clone();
        change(&mut user);
        user.changed = by.now;
        if is_admin(&before) && !is_admin(&user) && self.n_admins(Some(name))? == 0 {
            return Err(Denied::Conflict(format!("{name} is the last admin: make another one first")));
        }
        self.write(by, action, Change::User(user.clone()), shown(&before), shown(&user))?;
        Ok(user)
    }

    /// Of one user, or of all.
    pub fn tokens(&self, of: Option<&str>) -> Result<Vec<Token>, Denied> {
        Ok(self.store.tokens(of, 0, 0)?.rows)
    }

    /// The token and its text, which is shown once. Nobody gives more rights than they have.
    pub fn add_token(&self, new: &NewToken, by: By<'_>) -> Result<(Token, String), Denied> {
        let _one = lock(&self.changes);
        let user = self.user(&new.user)?;
        let mut wrong = Vec::new();
        let scopes = by.caller.scopes.lend(&new.scopes, &mut wrong);
        if new.label.chars().count() > TOKEN_LABEL_CHARS_MAX || new.label.chars().any(char::is_control) {
            wrong.push(format!("label: has at most {TOKEN_LABEL_CHARS_MAX} characters, all of which show"));
        }
        if new.days.is_some_and(|days| days == 0 || days > TOKEN_DAYS_MAX) {
            wrong.push(format!("days: is 1 to {TOKEN_DAYS_MAX}, or left out"));
        }
        if !wrong.is_empty() {
            return Err(Denied::Invalid(wrong));
        }
        let is_alive = |token: &Token| token.revoked.is_none() && token.expires.is_none_or(|at| by.now < at);
        if self.tokens(Some(&new.user))?.into_iter().filter(is_alive).count() >= TOKENS_PER_USER_MAX {
            let text = format!("{} has {TOKENS_PER_USER_MAX} tokens: revoke one that is not used", new.user);
            return Err(Denied::Conflict(text));
        }
        let (id, text, hash) = secret::new_token()?;
        let token = Token {
            id,
            user: user.name,
            label: new.label.trim().to_owned(),
            hash,
            scopes: scopes.words(),
            created: by.now,
            expires: new.days.map(|days| by.now.plus_ms(i64::from(days) * 86_400_000)),
            last_used: None,
            revoked: None,
        };
        let after = json!({ "user": token.user, "label": token.label, "scopes": token.scopes });
        let audit = audit(by, "token add", &token.id, Value::Null, after);
        self.write_all(vec![Change::Token(token.clone()), Change::Audit(audit)])?;
        Ok((token, text))
    }

    /// For a user who was added just now: whatever their roles are good for.
    pub fn add_first_token(&self, user: &User, by: By<'_>) -> Result<String, Denied> {
        let is_needed = |scope: &Scope| *scope != Scope::Admin || is_admin(user);
        let scopes: Vec<String> = Scope::ALL.iter().filter(|s| is_needed(s)).map(|s| s.as_str().to_owned()).collect();
        let new = NewToken { user: user.name.clone(), label: "first".to_owned(), scopes, days: None };
        // The setup token lends what it does not have itself: it makes an admin, who could.
        let lender = Caller { scopes: Scopes::all(), ..by.caller.clone() };
        self.add_token(&new, By { caller: &lender, ..by }).map(|(_, text)| text)
    }

    /// One's own; an admin anybody's.
    pub fn revoke_token(&self, id: &str, by: By<'_>) -> Result<(), Denied> {
        let is_mine = |token: &Token| token.user == by.caller.name || by.caller.manages_people();
        let token = self.store.token(id)?.filter(is_mine);
        let token = token.ok_or_else(|| Denied::NotFound(format!("you have no token `{id}`")))?;
        let audit = audit(by, "token revoke", id, Value::Null, json!({ "user": token.user }));
        self.write_all(vec![Change::TokenRevoked { id: id.to_owned(), at: by.now }, Change::Audit(audit)])
    }

    /// Users who could let others in, besides one.
    fn n_admins(&self, but: Option<&str>) -> Result<usize, Denied> {
        let users = self.users()?;
        Ok(users.iter().filter(|user| is_admin(user) && but != Some(user.name.as_str())).count())
    }

    fn write(&self, by: By<'_>, action: &str, change: Change, before: Value, after: Value) -> Result<(), Denied> {
        let subject = after.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let audit = audit(by, action, &subject, before, after);
        self.write_all(vec![change, Change::Audit(audit)])
    }

    fn write_all(&self, changes: Vec<Change>) -> Result<(), Denied> {
        self.store.record(changes).map_err(|refused| refused.why)?.wait()?;
        Ok(())
    }

    /// Into the audit, where there is room: nobody is kept out because it is full.
    fn note(&self, who: &str, from: &str, now: Timestamp, action: &str, subject: &str, after: Value) {
        // Names of strangers are any text at all.
        let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(PERSON_NAME_BYTES_MAX).collect();
        let (who, subject, from, action) = (short(who), short(subject), from.to_owned(), action.to_owned());
        let audit = Audit { time: now, who, from, action, subject, before: Value::Null, after };
        if let Err(refused) = self.store.record(vec![Change::Audit(audit)]) {
            tracing::error!(why = %refused.why, "a login is not in the audit log");
        }
    }
}

fn caller(user: &User, scopes: Scopes, proof: Proof) -> Caller {
    let roles = Roles::new(user.roles.iter().filter_map(|role| Role::parse(role)));
    Caller { name: user.name.clone(), display: user.display.clone(), roles, scopes, proof }
}

fn is_admin(user: &User) -> bool {
    !user.is_disabled && user.roles.iter().any(|role| role == Role::Admin.as_str())
}

fn audit(by: By<'_>, action: &str, subject: &str, before: Value, after: Value) -> Audit {
    Audit {
        time: by.now,
        who: by.caller.name.clone(),
        from: by.from.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        before,
        after,
    }
}

/// What the audit keeps of a user: never a hash.
fn shown(user: &User) -> Value {
    json!({
        "name": user.name,
        "display": user.display,
        "roles": user.roles,
        "disabled": user.is_disabled,
        "has_password": user.password.is_some(),
    })
}

fn name_problems(name: &str) -> Vec<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@".contains(&b);
    let is_fine = (1..=PERSON_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits);
    if !is_fine {
        let text = "name: is made of lower-case letters, digits and `._-@`, up to";
        return vec![format!("{text} {PERSON_NAME_BYTES_MAX} of them")];
    }
    let is_taken = [crate::incident::SELF, setup::NAME, "local"].contains(&name);
    is_taken.then(|| format!("name: `{name}` is the service's own")).into_iter().collect()
}

fn roles(words: &[String], wrong: &mut Vec<String>) -> Vec<String> {
    let names = || Role::ALL.map(Role::as_str).join(", ");
    let mut found = Vec::new();
    for word in words {
        match Role::parse(word) {
            Some(role) => found.push(role),
            None => wrong.push(format!("roles: there is no `{word}`; there are {}", names())),
        }
    }
    if words.is_empty() {
        wrong.push(format!("roles: at least one is needed of {}", names()));
    }
    Roles::new(found).iter().map(|role| role.as_str().to_owned()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
