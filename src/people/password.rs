//! Passwords: argon2id with the least parameters that OWASP recommends (19 MiB, 2 passes, 1 lane), since the same small
//! machine judges calls meanwhile; no more than a few at once, for the same reason.

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordVerifier, Version};
use crossbeam::channel::{Receiver, Sender, bounded};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;

use super::Denied;
use crate::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PASSWORDS_AT_ONCE, PASSWORDS_WAIT_MS};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

#[derive(Debug)]
pub(super) struct Hasher {
    give: Sender<()>,
    take: Receiver<()>,
    /// What is compared with where there is nothing to compare with: no password fits it.
    decoy: String,
}

impl Hasher {
    pub(super) fn new() -> Result<Hasher, Denied> {
        let (give, take) = bounded(PASSWORDS_AT_ONCE);
        let decoy = hash(&super::secret::new_secret()?)?;
        let hasher = Hasher { give, take, decoy };
        (0..PASSWORDS_AT_ONCE).for_each(|_| hasher.put_back());
        Ok(hasher)
    }

    /// A PHC string.
    pub(super) fn hash(&self, password: &str) -> Result<String, Denied> {
        self.in_turn(|| hash(password))
    }

    /// Takes as long where there is nothing stored, and where the password could never have been one.
    pub(super) fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, Denied> {
        let fits = password.len() <= PASSWORD_BYTES_MAX;
        let tried = if fits { password } else { "" };
        let stored_or_decoy = stored.unwrap_or(&self.decoy);
        self.in_turn(|| {
            let is_right = PasswordHash::new(stored_or_decoy)
                .is_ok_and(|hash| argon2().is_ok_and(|a| a.verify_password(tried.as_bytes(), &hash).is_ok()));
            Ok(is_right && fits && stored.is_some())
        })
    }

    fn in_turn<T>(&self, work: impl FnOnce() -> Result<T, Denied>) -> Result<T, Denied> {
        self.take.recv_timeout(Duration::from_millis(PASSWORDS_WAIT_MS)).map_err(|_| Denied::Busy)?;
        let done = work();
        self.put_back();
        done
    }

    fn put_back(&self) {
        let put = self.give.try_send(());
        debug_assert!(put.is_ok(), "a place that was taken is free");
    }
}

fn argon2() -> Result<Argon2<'static>, Denied> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| Denied::Busy)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, Denied> {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| Denied::Busy)?;
    let hash: PasswordHash = argon2()?.hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| Denied::Busy)?;
    Ok(hash.to_string())
}

/// What is wrong with a new password. Length is what counts; it asks for no odd characters.
pub(super) fn problem(password: &str) -> Option<String> {
    let n = password.chars().count();
    if n < PASSWORD_CHARS_MIN {
        return Some(format!("password: has {n} characters, at least {PASSWORD_CHARS_MIN} are needed"));
    }
    let is_long = password.len() > PASSWORD_BYTES_MAX;
    is_long.then(|| format!("password: is longer than {PASSWORD_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_nothing_else_is() {
        let hasher = Hasher::new().unwrap();
        let stored = hasher.hash("correct horse battery").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(hasher.hash("correct horse battery").unwrap(), stored);
        for (password, stored, expected) in [
            ("correct horse battery", Some(stored.as_str()), true),
            ("correct horse batterz", Some(stored.as_str()), false),
            ("correct horse battery", None, false),
            ("correct horse battery", Some("no hash"), false),
            (&"x".repeat(100_000), Some(stored.as_str()), false),
        ] {
            assert_eq!(hasher.verify(password, stored).unwrap(), expected, "{stored:?}");
        }
    }

    #[test]
    fn a_new_password_is_long_enough_and_not_endless() {
        assert!(problem("short").is_some());
        assert!(problem(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_some());
        assert_eq!(problem("one two three four"), None);
    }
}
