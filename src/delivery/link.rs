//! Links by which somebody on call says that they look after an incident: signed, so that nobody else can make one, and
//! good for a day. Looking at one changes nothing; only a press of the button there does.

use std::fmt;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use crate::clock::Timestamp;
use crate::incident::incident_name;
use crate::limits::{LINK_BYTES_MAX, LINK_MS};
use crate::outbound::{hex, hmac_sha256, is_same};
use crate::storage::{self, Disk};

/// Name of the key's file in the data folder.
pub const KEY_FILE: &str = "link.key";
const KEY_BYTES: usize = 32;
/// Of the signature: 128 bits are not guessed.
const PROOF_BYTES: usize = 16;

/// Makes and reads links.
#[derive(Clone)]
pub struct Links {
    key: Vec<u8>,
    /// How people reach the service; none where nobody said so.
    url: Option<String>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a good link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub incident: i64,
    pub person: String,
}

/// Why a link says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("this link is not one of ours, or not whole: copy all of it")]
    Foreign,
    #[error("this link has expired: use `ringfence incident acknowledge {}`", incident_name(*.incident))]
    Expired { incident: i64 },
}

impl Links {
    /// With the key of a data folder, which is made where it is missing.
    pub fn open(folder: &Path, url: Option<String>) -> std::io::Result<Links> {
        let path = folder.join(KEY_FILE);
        let key = match std::fs::read(&path) {
            Ok(bytes) if bytes.len() == KEY_BYTES => bytes,
            // A kill cut it off before anybody used it.
            Ok(bytes) if bytes.len() < KEY_BYTES => make_key(&path)?,
            Ok(_) => return Err(std::io::Error::other(format!("{}: is no key", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => make_key(&path)?,
            Err(e) => return Err(e),
        };
        Ok(Links { key, url })
    }

    /// The key's bytes for other proofs: a text that says what for keeps them apart.
    pub fn proof(&self, what_for: &str, of: &str) -> String {
        let code = hmac_sha256(&self.key, &[what_for.as_bytes(), b"\n", of.as_bytes()]);
        hex(code.get(..PROOF_BYTES).unwrap_or_default())
    }

    /// Where somebody says that they look after an incident.
    pub fn acknowledge(&self, incident: i64, person: &str, from: Timestamp) -> Option<String> {
        let url = self.url.as_deref()?;
        Some(format!("{url}/ack/{}", self.token(incident, person, from.plus_ms(LINK_MS))))
    }

    /// `INCIDENT.UNTIL.PERSON.PROOF`, the person in hexadecimal digits.
    fn token(&self, incident: i64, person: &str, until: Timestamp) -> String {
        let person = hex(person.as_bytes());
        let said = format!("{incident}.{}.{person}", until.0);
        let proof = self.proof("acknowledge", &said);
        format!("{said}.{proof}")
    }

    /// What a link says, where it was made here and is not too old; or why not, for whoever followed it.
    pub fn read(&self, token: &str, now: Timestamp) -> Result<Grant, LinkError> {
        if token.len() > LINK_BYTES_MAX {
            return Err(LinkError::Foreign);
        }
        let (said, proof) = token.rsplit_once('.').ok_or(LinkError::Foreign)?;
        if !is_same(&self.proof("acknowledge", said), proof) {
            return Err(LinkError::Foreign);
        }
        let mut parts = said.split('.');
        let (incident, until, person) = (parts.next(), parts.next(), parts.next());
        let incident = incident.and_then(|n| n.parse().ok()).ok_or(LinkError::Foreign)?;
        let until: i64 = until.and_then(|n| n.parse().ok()).ok_or(LinkError::Foreign)?;
        let person = person.and_then(text).ok_or(LinkError::Foreign)?;
        if now.0 > until {
            return Err(LinkError::Expired { incident });
        }
        Ok(Grant { incident, person })
    }
}

fn make_key(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    let made = SystemRandom::new().fill(&mut key);
    made.map_err(|_| std::io::Error::other("the system has no randomness to give"))?;
    let disk = Disk::from_environment();
    storage::remove_if_there(&disk, path)?;
    storage::create_secret(&disk, path, &key)?;
    Ok(key)
}

/// The text in hexadecimal digits.
fn text(digits: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> =
        digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(folder: &Path) -> Links {
        Links::open(folder, Some("https://ringfence.example".into())).unwrap()
    }

    #[test]
    fn a_link_names_one_person_and_one_incident_for_a_day_and_cannot_be_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let links = links(folder.path());
        let at = Timestamp(1_700_000_000_000);
        let url = links.acknowledge(7, "Åsa \"B\"", at).unwrap();
        let token = url.strip_prefix("https://ringfence.example/ack/").unwrap();
        let grant = Grant { incident: 7, person: "Åsa \"B\"".into() };
        assert_eq!(links.read(token, at), Ok(grant.clone()));
        assert_eq!(links.read(token, at.plus_ms(LINK_MS + 1)), Err(LinkError::Expired { incident: 7 }));
        for i in 0..token.len() {
            let mut bytes = token.as_bytes().to_vec();
            bytes[i] = if bytes[i] == b'1' { b'2' } else { b'1' };
            let other = String::from_utf8(bytes).unwrap();
            assert!(other == token || links.read(&other, at).is_err(), "{other}");
        }
        for wrong in ["", ".", "7", "7.1.2", &format!("{token}0"), &"1".repeat(10_000)] {
            assert!(links.read(wrong, at).is_err());
        }
        // The key stays, is not printed, and one that a kill cut off is made anew.
        assert!(!format!("{links:?}").contains("key"));
        assert_eq!(super::tests::links(folder.path()).read(token, at), Ok(grant));
        std::fs::write(folder.path().join(KEY_FILE), b"half").unwrap();
        assert!(super::tests::links(folder.path()).read(token, at).is_err());
        assert_eq!(std::fs::read(folder.path().join(KEY_FILE)).unwrap().len(), KEY_BYTES);
    }
}
