//! Sessions of browsers, in memory, bounded.

use std::collections::HashMap;

use super::{Denied, secret};
use crate::clock::Timestamp;
use crate::limits::{SESSION_IDLE_MS, SESSION_MS, SESSIONS_MAX, SESSIONS_PER_USER_MAX};

#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By the hash of the cookie: whoever reads our memory has no cookie.
    open: HashMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    user: String,
    csrf: String,
    begun: Timestamp,
    used: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now.0 - self.begun.0 >= SESSION_MS || now.0 - self.used.0 >= SESSION_IDLE_MS
    }
}

impl Sessions {
    /// The cookie and the second secret. Where there are too many, the one that was not used for longest ends: of the
    /// same user first.
    pub(super) fn begin(&mut self, user: &str, now: Timestamp) -> Result<(String, String), Denied> {
        self.open.retain(|_, session| !session.is_over(now));
        let n_own = self.open.values().filter(|session| session.user == user).count();
        if n_own >= SESSIONS_PER_USER_MAX {
            self.end_stalest(|session| session.user == user);
        } else if self.open.len() >= SESSIONS_MAX {
            self.end_stalest(|_| true);
        }
        let (cookie, csrf) = (secret::new_secret()?, secret::new_secret()?);
        let session = Session { user: user.to_owned(), csrf: csrf.clone(), begun: now, used: now };
        self.open.insert(secret::hash(&cookie), session);
        Ok((cookie, csrf))
    }

    fn end_stalest(&mut self, of: impl Fn(&Session) -> bool) {
        let stalest = self.open.iter().filter(|(_, s)| of(s)).min_by_key(|(_, s)| s.used).map(|(key, _)| key.clone());
        stalest.map(|key| self.open.remove(&key));
    }

    /// Its user and second secret; the session goes on.
    pub(super) fn look_up(&mut self, cookie: &str, now: Timestamp) -> Option<(String, String)> {
        let key = secret::hash(cookie);
        let session = self.open.get_mut(&key)?;
        if session.is_over(now) {
            self.open.remove(&key);
            return None;
        }
        session.used = session.used.max(now);
        Some((session.user.clone(), session.csrf.clone()))
    }

    pub(super) fn end(&mut self, cookie: &str) {
        self.open.remove(&secret::hash(cookie));
    }

    pub(super) fn end_all_of(&mut self, user: &str) {
        self.open.retain(|_, session| session.user != user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_idle_or_old_or_told_to() {
        let mut sessions = Sessions::default();
        let at = Timestamp;
        let (cookie, csrf) = sessions.begin("anna", at(0)).unwrap();
        assert_eq!(sessions.look_up(&cookie, at(SESSION_IDLE_MS - 1)), Some(("anna".into(), csrf)));
        assert_eq!(sessions.look_up("other", at(1)), None);
        assert_eq!(sessions.look_up(&cookie, at(2 * SESSION_IDLE_MS - 1)), None);
        let (cookie, _) = sessions.begin("anna", at(0)).unwrap();
        let mut now = 0;
        while now < SESSION_MS - SESSION_IDLE_MS / 2 {
            assert!(sessions.look_up(&cookie, at(now)).is_some(), "{now}");
            now += SESSION_IDLE_MS / 2;
        }
        assert_eq!(sessions.look_up(&cookie, at(SESSION_MS)), None);
        let (cookie, _) = sessions.begin("anna", at(0)).unwrap();
        sessions.end(&cookie);
        assert_eq!(sessions.look_up(&cookie, at(1)), None);
    }

    #[test]
    fn a_user_with_too_many_loses_the_one_not_used_for_longest_and_nobody_elses() {
        let mut sessions = Sessions::default();
        let (bert, _) = sessions.begin("bert", Timestamp(0)).unwrap();
        let all: Vec<String> =
            (0..=SESSIONS_PER_USER_MAX as i64).map(|n| sessions.begin("anna", Timestamp(n)).unwrap().0).collect();
        let now = Timestamp(1000);
        assert!(sessions.look_up(&all[0], now).is_none() && sessions.look_up(&all[1], now).is_some());
        assert!(sessions.look_up(&bert, now).is_some());
        sessions.end_all_of("anna");
        assert!(sessions.look_up(&all[1], now).is_none() && sessions.look_up(&bert, now).is_some());
    }
}
