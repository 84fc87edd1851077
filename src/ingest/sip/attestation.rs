//! STIR/SHAKEN: what a message says of its caller's right to the number.
//!
//! Nothing is verified here. A verdict of the network's own verification counts before anything else; a signed token
//! is read for what it claims.

use std::borrow::Cow;

use serde::Deserialize;

use super::Message;
use super::value::{param, unquoted};
use crate::event::Attestation;
use crate::ingest::wire;

/// What `verstat` says for a signature that holds, where it does not say of which level.
const PASSED: &[u8] = b"TN-Validation-Passed";

/// Longest claims of a PASSporT, decoded. A shaken one has under 300 bytes.
const CLAIMS_BYTES_MAX: usize = 2048;

/// The `verstat` of the asserted identity, else of From, else of a header of its own; else the level that the carrier
/// writes; else what the Identity header claims.
pub fn attestation(message: &Message<'_>) -> Attestation {
    let parties = [message.asserted.as_ref(), message.asserted_second.as_ref(), Some(&message.from)];
    let mut verstats = parties.into_iter().flatten().filter_map(|party| party.param_anywhere("verstat"));
    let verstat = verstats.next().unwrap_or(message.verstat);
    let level = || letter(message.attestation_info).or_else(|| claimed(message.identity?));
    if verstat.eq_ignore_ascii_case(PASSED) {
        // Telnyx says `A` so, others leave the level to the token they pass on.
        return level().unwrap_or(Attestation::A);
    }
    let failed = verstat.get(..20).is_some_and(|v| v.eq_ignore_ascii_case(b"TN-Validation-Failed"));
    let said = if failed { Some(Attestation::Failed) } else { wire::attestation(verstat) };
    said.or_else(level).unwrap_or_default()
}

/// The level of `Attestation-Info: A`.
fn letter(value: &[u8]) -> Option<Attestation> {
    let value = value.split(|b| *b == b';').next()?;
    wire::attestation(unquoted(value.trim_ascii()))
}

/// The `attest` claim of an Identity header's PASSporT (RFC 8225, RFC 8588).
fn claimed(identity: &[u8]) -> Option<Attestation> {
    let token = unquoted(identity.split(|b| *b == b';').next()?.trim_ascii());
    let claims = token.split(|b| *b == b'.').nth(1)?;
    let mut decoded = [0; CLAIMS_BYTES_MAX];
    let claims: Claims<'_> = serde_json::from_slice(decode_base64url(claims, &mut decoded)?).ok()?;
    wire::attestation(claims.attest?.as_bytes())
}

/// Whether an Identity header's token is of the kind that has a level.
pub(super) fn is_shaken(identity: &[u8]) -> bool {
    let params = memchr::memchr(b';', identity).and_then(|at| identity.get(at..)).unwrap_or_default();
    param(params, b"ppt").is_some_and(|ppt| ppt.eq_ignore_ascii_case(b"shaken"))
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    attest: Option<Cow<'a, str>>,
}

/// Without padding or with it; line folds are skipped. `None` where it is too long or something else.
pub(super) fn decode_base64url<'a>(text: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let (mut bits, mut n_bits, mut len) = (0u32, 0, 0);
    for byte in text.trim_ascii() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            b'=' => break,
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            *out.get_mut(len)? = (bits >> n_bits & 0xff) as u8;
            len += 1;
        }
    }
    out.get(..len)
}
