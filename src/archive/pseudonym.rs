//! Pseudonyms: keyed hashes that stand for numbers and for people, the same one for the same value.
//!
//! HMAC-SHA-256 with a key that only the data folder has. Whoever has the files alone cannot go back, nor try all
//! numbers; who has the key can look a known number up. A key that is thrown away makes it final.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::rows::{Kept, Rows};
use super::schema::Column as C;
use super::{ArchiveError, damaged, io_error};
use crate::event::Number;
use crate::event::numbering::Numbering;
use crate::storage::{self, Disk};

const KEY_BYTES: usize = 32;
/// Bytes of the hash that are kept: among a thousand million numbers, two share one with a chance of one to a million.
const HASH_BYTES: usize = 10;
/// What no number and no name begins with.
const MARK: &str = "p-";

/// The key of pseudonyms.
pub struct PseudonymKey {
    key: hmac::Key,
    numbering: Arc<Numbering>,
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(..)")
    }
}

impl PseudonymKey {
    pub fn new(secret: &[u8]) -> PseudonymKey {
        PseudonymKey { key: hmac::Key::new(hmac::HMAC_SHA256, secret), numbering: Numbering::builtin() }
    }

    /// The key in this file, which is made where there is none.
    pub fn of_file(path: &Path) -> Result<PseudonymKey, ArchiveError> {
        if !path.exists() {
            let mut secret = [0; KEY_BYTES];
            SystemRandom::new().fill(&mut secret).map_err(|_| damaged(path, "the system gives no random numbers"))?;
            let text: String = secret.iter().map(|b| format!("{b:02x}")).collect();
            storage::create_secret(&Disk::real(), path, format!("{text}\n").as_bytes())
                .map_err(io_error("create", path))?;
        }
        let text = std::fs::read_to_string(path).map_err(io_error("read", path))?;
        let text = text.trim();
        // A short key would make every hash a riddle that is soon solved.
        if text.len() < 2 * KEY_BYTES {
            return Err(damaged(path, format!("a key of pseudonyms has at least {} characters", 2 * KEY_BYTES)));
        }
        Ok(PseudonymKey::new(text.as_bytes()))
    }

    /// Of a number as it is normalised: `p-SE-9c0f...`. Its country stays, for statistics.
    pub fn number(&self, text: &str) -> String {
        let number = text.strip_prefix('+').and_then(|digits| Number::e164(digits.as_bytes()));
        let country = number.and_then(|number| self.numbering.country(number));
        let country = country.map_or(String::new(), |country| format!("{}-", country.as_str()));
        format!("{MARK}{country}{}", self.hash("number", text.as_bytes()))
    }

    /// What is the same text in two columns of other meaning is not the same pseudonym.
    fn hash(&self, meaning: &str, text: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(meaning.as_bytes());
        context.update(b"\0");
        context.update(text);
        context.sign().as_ref().iter().take(HASH_BYTES).map(|b| format!("{b:02x}")).collect()
    }

    /// What becomes of a text of an archived event.
    ///
    /// Hashed: numbers, names, accounts, extensions, and the ids of calls and legs, which often have numbers or
    /// addresses in them; what belongs to one call still shows. An address keeps its network (24 bits of IPv4, 48 of
    /// IPv6), a user agent the name of its product, without serial numbers. As they were: trunk, domain, method,
    /// customer, gateway, and what the event and its verdict were.
    pub(super) fn change(&self, rows: &Rows, row: usize, column: C, value: &[u8], out: &mut Vec<u8>) -> Kept {
        let text = String::from_utf8_lossy(value);
        let changed = match column {
            C::Caller | C::Callee | C::Asserted | C::Diverting => {
                let kind = match column {
                    C::Caller => C::CallerKind,
                    C::Callee => C::CalleeKind,
                    C::Asserted => C::AssertedKind,
                    _ => C::DivertingKind,
                };
                // `anonymous` names nobody, and rules ask for it.
                if rows.text_at(kind, row) == Some(b"anonymous") {
                    return Kept::AsItIs;
                }
                self.number(&text)
            }
            C::CallerRaw | C::CalleeRaw | C::AssertedRaw | C::DivertingRaw => return Kept::Not,
            C::CallerName | C::Account | C::Extension | C::CallId | C::Leg => {
                format!("{MARK}{}", self.hash(column.spec().name, value))
            }
            C::SourceIp => match text.parse().ok().map(network) {
                Some(network) => network.to_string(),
                None => return Kept::Not,
            },
            C::UserAgent => match text.split([' ', '/', '(', ';', '-', '_']).find(|word| !word.is_empty()) {
                Some(product) => product.to_owned(),
                None => return Kept::Not,
            },
            _ => return Kept::AsItIs,
        };
        out.extend_from_slice(changed.as_bytes());
        Kept::Changed
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & 0xffff_ff00).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !(u128::MAX >> 48)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_pseudonym_a_key_and_keeps_its_country() {
        let (one, other) = (PseudonymKey::new(b"one"), PseudonymKey::new(b"other"));
        let pseudonym = one.number("+46701234567");
        assert_eq!(pseudonym, one.number("+46701234567"));
        assert_ne!(pseudonym, one.number("+46701234568"));
        assert_ne!(pseudonym, other.number("+46701234567"));
        assert!(pseudonym.starts_with("p-SE-") && pseudonym.len() == 25, "{pseudonym}");
        assert_eq!(one.number("2001").len(), 22);
        assert_ne!(one.hash("account", b"2001"), one.hash("number", b"2001"));
    }

    #[test]
    fn the_key_is_made_once_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive-key");
        let first = PseudonymKey::of_file(&path).unwrap().number("+46701234567");
        assert_eq!(PseudonymKey::of_file(&path).unwrap().number("+46701234567"), first);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(PseudonymKey::of_file(&path).is_err());
    }

    #[test]
    fn addresses_keep_their_network() {
        assert_eq!(network("10.1.2.3".parse().unwrap()).to_string(), "10.1.2.0");
        assert_eq!(network("2001:db8:1:2::3".parse().unwrap()).to_string(), "2001:db8:1::");
    }
}
