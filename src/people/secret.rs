//! Secrets that the service makes: random, shown once, kept as their hashes.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use super::Denied;

const PREFIX: &str = "rf";
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 6;
/// Longest text that is looked at as a token.
const TOKEN_BYTES_MAX: usize = 128;

/// 32 random bytes as letters, digits, `-` and `_`.
pub(super) fn new_secret() -> Result<String, Denied> {
    random::<SECRET_BYTES>().map(|bytes| base64url(&bytes))
}

fn random<const N: usize>() -> Result<[u8; N], Denied> {
    let mut bytes = [0; N];
    // The system has no randomness to give: nobody is let in rather than with a secret that can be guessed.
    SystemRandom::new().fill(&mut bytes).map_err(|_| Denied::Busy)?;
    Ok(bytes)
}

/// The id of a new token, its text, and the hash of its secret.
pub(super) fn new_token() -> Result<(String, String, String), Denied> {
    let id = hex(&random::<ID_BYTES>()?);
    let secret = new_secret()?;
    let hash = hash(&secret);
    Ok((id.clone(), format!("{PREFIX}_{id}_{secret}"), hash))
}

/// Id and hash of the secret of `rf_<id>_<secret>`.
pub(super) fn parse_token(text: &str) -> Option<(&str, String)> {
    if text.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (id, secret) = text.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|b| b.is_ascii_hexdigit());
    (is_id && !secret.is_empty()).then(|| (id, hash(secret)))
}

/// Of a secret of 32 random bytes, which needs no salt and no slowness.
pub(super) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Takes as long whatever differs.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for i in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_the_rfc_has_them() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn a_token_is_found_again_by_its_text_and_no_other() {
        let (id, text, hash) = new_token().unwrap();
        assert_eq!(parse_token(&text), Some((id.as_str(), hash.clone())));
        assert_eq!(text.len(), 3 + 12 + 1 + 43);
        assert_ne!(new_token().unwrap().1, text);
        let other = parse_token(&format!("{text}x")).unwrap().1;
        assert!(is_same(&hash, &hash.clone()) && !is_same(&hash, &other) && !is_same(&hash, ""));
        for bad in ["", "rf", "rf_", "rf_0123_x", "rf_zzzzzzzzzzzz_x", "rf_0123456789ab_", "xx_0123456789ab_x"] {
            assert_eq!(parse_token(bad), None, "{bad}");
        }
        assert_eq!(parse_token(&"rf_0123456789ab_".repeat(20)), None);
        assert_eq!(parse_token("rf_0123456789a\u{e9}_x"), None);
    }
}
