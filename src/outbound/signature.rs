//! Signatures: what goes out is signed so that its receiver can tell it from anybody else's, what comes back is checked.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::Secret;
use crate::clock::Timestamp;

const DELIVERY: HeaderName = HeaderName::from_static("x-ringfence-delivery");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-ringfence-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-ringfence-signature");

/// Marks a body that goes to a webhook: which delivery it is, the same however often it comes; when it is sent, in Unix
/// seconds; and with a secret, `sha256=` and the HMAC-SHA256 of `TIMESTAMP.BODY` in hex.
pub(crate) fn sign(headers: &mut HeaderMap, delivery: &str, now: Timestamp, body: &[u8], secret: Option<&Secret>) {
    let seconds = now.0.div_euclid(1000).to_string();
    let mut set = |name, value: &str| {
        // All of it is plain ASCII but for a name nobody gives; without its name it is still delivered.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(DELIVERY, delivery);
    set(TIMESTAMP, &seconds);
    if let Some(Secret(secret)) = secret {
        let code = hmac_sha256(secret.as_bytes(), &[seconds.as_bytes(), b".", body]);
        set(SIGNATURE, &format!("sha256={}", hex(&code)));
    }
}

pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut code = [0; 32];
    code.copy_from_slice(context.sign().as_ref());
    code
}

/// Is it the HMAC-SHA1 of the parts? Twilio signs so. Compared in constant time.
pub(crate) fn is_hmac_sha1(key: &[u8], parts: &[&[u8]], code: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    hmac::verify(&key, &parts.concat(), code).is_ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compared without telling by its time how much of it is right.
pub(crate) fn is_same(expected: &str, given: &str) -> bool {
    let differs = expected.bytes().zip(given.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    expected.len() == given.len() && differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_the_time_and_the_body() {
        // RFC 4231, test case 2.
        let code = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&code), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let mut headers = HeaderMap::new();
        let secret = Secret("s3cret".into());
        sign(&mut headers, "DLV-000007", Timestamp(1_767_225_600_999), b"{}", Some(&secret));
        assert_eq!(headers[&TIMESTAMP], "1767225600");
        assert_eq!(headers[&DELIVERY], "DLV-000007");
        let expected = hex(&hmac_sha256(b"s3cret", &[b"1767225600.{}"]));
        assert_eq!(headers[&SIGNATURE], format!("sha256={expected}"));
        let mut unsigned = HeaderMap::new();
        sign(&mut unsigned, "DLV-000007", Timestamp(0), b"{}", None);
        assert!(unsigned.get(&SIGNATURE).is_none() && unsigned.len() == 2);
    }

    #[test]
    fn sha1_is_checked_as_twilio_signs() {
        // RFC 2202, test case 2.
        let code = [
            0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c, 0x25, 0x9a,
            0x7c, 0x79,
        ];
        assert!(is_hmac_sha1(b"Jefe", &[b"what do ya want", b" for nothing?"], &code));
        assert!(!is_hmac_sha1(b"Jefe", &[b"what do ya want for nothing"], &code));
    }
}
