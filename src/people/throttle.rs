//! Logins that fail make the next one wait: by name, and by address.
//!
//! A name waits for half a minute at most: nobody keeps a commander out for longer by typing nonsense for them. An address
//! waits for up to a quarter of an hour. Tokens and open sessions never wait.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::limits::{LOGIN_ADDRESS_WAIT_MS_MAX, LOGIN_MEMORY_MS, LOGIN_NAME_WAIT_MS_MAX, LOGINS_REMEMBERED_MAX};

/// Failures that cost nothing: people mistype, and behind one address may be many of them.
const FREE_BY_NAME: u32 = 4;
const FREE_BY_ADDRESS: u32 = 20;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    names: Failures,
    addresses: Failures,
}

#[derive(Debug, Default)]
struct Failures(HashMap<String, (u32, Timestamp)>);

impl Failures {
    fn wait_ms(&self, key: &str, free: u32, wait_ms_max: u64, now: Timestamp) -> u64 {
        let Some((n, last)) = self.0.get(key) else { return 0 };
        let Some(extra) = n.checked_sub(free + 1) else { return 0 };
        let wait = (1000u64 << extra.min(20)).min(wait_ms_max);
        let since = u64::try_from(now.0.saturating_sub(last.0)).unwrap_or(0);
        wait.saturating_sub(since)
    }

    fn failed(&mut self, key: &str, now: Timestamp) {
        if self.0.len() >= LOGINS_REMEMBERED_MAX && !self.0.contains_key(key) {
            self.0.retain(|_, (_, last)| now.0.saturating_sub(last.0) < LOGIN_MEMORY_MS);
            // All of them fresh: the one that has failed least makes room.
            if self.0.len() >= LOGINS_REMEMBERED_MAX {
                let least = self.0.iter().min_by_key(|(_, failed)| **failed).map(|(key, _)| key.clone());
                least.map(|key| self.0.remove(&key));
            }
        }
        let (n, last) = self.0.entry(key.to_owned()).or_insert((0, now));
        if now.0.saturating_sub(last.0) >= LOGIN_MEMORY_MS {
            *n = 0;
        }
        *n = n.saturating_add(1);
        *last = now;
    }
}

impl Throttle {
    /// How long the next try has to wait.
    pub(super) fn wait_ms(&self, name: &str, from: &str, now: Timestamp) -> u64 {
        let by_name = self.names.wait_ms(&key(name), FREE_BY_NAME, LOGIN_NAME_WAIT_MS_MAX, now);
        by_name.max(self.addresses.wait_ms(from, FREE_BY_ADDRESS, LOGIN_ADDRESS_WAIT_MS_MAX, now))
    }

    pub(super) fn failed(&mut self, name: &str, from: &str, now: Timestamp) {
        self.names.failed(&key(name), now);
        self.addresses.failed(from, now);
    }

    /// The address goes on counting: somebody with one good password tries others' no faster.
    pub(super) fn passed(&mut self, name: &str) {
        self.names.0.remove(&key(name));
    }
}

/// Strangers may send any name at all.
fn key(name: &str) -> String {
    name.chars().take(crate::limits::PERSON_NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_waits_longer_each_time_but_never_long_and_a_login_ends_it() {
        let mut throttle = Throttle::default();
        let mut now = Timestamp(0);
        let mut waits = Vec::new();
        for n in 0..12 {
            throttle.failed("anna", &format!("192.0.2.{n}"), now);
            let wait = throttle.wait_ms("anna", "198.51.100.1", now);
            waits.push(wait / 1000);
            now = now.plus_ms(wait as i64);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(throttle.wait_ms("bert", "198.51.100.1", now), 0);
        throttle.failed("anna", "192.0.2.1", now);
        throttle.passed("anna");
        assert_eq!(throttle.wait_ms("anna", "198.51.100.1", now), 0);
    }

    #[test]
    fn an_address_waits_whatever_names_it_tries() {
        let mut throttle = Throttle::default();
        let now = Timestamp(0);
        for n in 0..60 {
            throttle.failed(&format!("user{n}"), "192.0.2.1", now);
        }
        assert_eq!(throttle.wait_ms("anna", "192.0.2.1", now), LOGIN_ADDRESS_WAIT_MS_MAX);
        assert_eq!(throttle.wait_ms("anna", "192.0.2.2", now), 0);
        assert_eq!(throttle.wait_ms("anna", "192.0.2.1", now.plus_ms(LOGIN_ADDRESS_WAIT_MS_MAX as i64)), 0);
        throttle.failed("anna", "192.0.2.1", now.plus_ms(LOGIN_MEMORY_MS));
        assert_eq!(throttle.wait_ms("anna", "192.0.2.1", now.plus_ms(LOGIN_MEMORY_MS)), 0);
    }

    #[test]
    fn it_remembers_no_more_than_it_may_and_keeps_the_worst() {
        let mut failures = Failures::default();
        for _ in 0..50 {
            failures.failed("worst", Timestamp(0));
        }
        for n in 0..LOGINS_REMEMBERED_MAX + 500 {
            failures.failed(&n.to_string(), Timestamp(1));
        }
        assert!(failures.0.len() <= LOGINS_REMEMBERED_MAX && failures.0.contains_key("worst"));
    }
}
