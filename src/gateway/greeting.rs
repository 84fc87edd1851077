//! The first line of an ndjson connection: who the gateway is, and what it wants to hear.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::listener::Close;
use super::reply::Mode;
use crate::limits::ID_BYTES_MAX;

/// Longest hello line. Longer first lines are taken for events.
pub(super) const HELLO_BYTES_MAX: usize = 8 * 1024;

/// A secret a gateway may show. Only its digest is held.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    digest: [u8; 32],
    /// The only gateway that may show it; `None`: any.
    pub gateway: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Token {
    pub fn new(secret: &str, gateway: Option<String>) -> Token {
        Token { digest: Sha256::digest(secret.as_bytes()).into(), gateway }
    }

    /// Comparing digests tells nothing of how much of a guess was right.
    pub(super) fn fits(&self, shown: &str, gateway: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        digest == self.digest && self.gateway.as_deref().is_none_or(|own| own == gateway)
    }
}

/// A gateway that was let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub gateway: String,
    pub mode: Mode,
    /// It said hello, and is owed a welcome.
    pub said_hello: bool,
}

/// Why a gateway was not let in: how it is counted, and what it is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub close: Close,
    pub reason: &'static str,
}

/// Reads the first line. `None`: it is no hello, but an event.
pub(super) fn read(line: &[u8], own_gateway: &str, tokens: &[Token]) -> Result<Option<Greeting>, Refusal> {
    let unauthorised = |reason| Refusal { close: Close::Unauthorised, reason };
    let Some(hello) = hello(line) else {
        return if tokens.is_empty() { Ok(None) } else { Err(unauthorised("no_hello")) };
    };
    let bad = |reason| Refusal { close: Close::BadHello, reason };
    let Value::Object(hello) = hello else { return Err(bad("bad_hello")) };
    let text = |key: &str, otherwise: &'static str| match hello.get(key) {
        None | Some(Value::Null) => Ok(otherwise.to_owned()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(bad("bad_hello")),
    };
    let (gateway, token) = (text("gateway", "")?, text("token", "")?);
    let mode = Mode::parse(&text("reply", "none")?).ok_or(bad("unknown_reply"))?;
    let gateway = if gateway.is_empty() { own_gateway.to_owned() } else { gateway };
    if gateway.len() > ID_BYTES_MAX {
        return Err(bad("field_too_long"));
    }
    if !tokens.is_empty() && !tokens.iter().any(|t| t.fits(&token, &gateway)) {
        return Err(unauthorised("wrong_token"));
    }
    Ok(Some(Greeting { gateway, mode, said_hello: true }))
}

fn hello(line: &[u8]) -> Option<Value> {
    // Most first lines that are events are not parsed twice.
    memchr::memmem::find(line, b"\"hello\"")?;
    match serde_json::from_slice(line) {
        Ok(Value::Object(mut object)) => object.remove("hello"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str, tokens: &[Token]) -> &'static str {
        read(line.as_bytes(), "feed", tokens).expect_err("not let in").reason
    }

    #[test]
    fn a_hello_names_the_gateway_and_the_replies_it_wants() {
        let line = br#"{"hello":{"gateway":"sbc-east","reply":"verdict","later":[1]}}"#;
        let greeting = read(line, "feed", &[]).expect("let in").expect("a hello");
        assert_eq!(greeting, Greeting { gateway: "sbc-east".into(), mode: Mode::Verdict, said_hello: true });
        let plain = read(br#"{"hello":{}}"#, "feed", &[]).expect("let in").expect("a hello");
        assert_eq!((plain.gateway.as_str(), plain.mode), ("feed", Mode::None));
    }

    #[test]
    fn an_event_is_no_hello_even_if_it_says_so() {
        assert_eq!(read(br#"{"time":1,"caller_name":"\"hello\""}"#, "feed", &[]), Ok(None));
        assert_eq!(read(b"\xff\xfe \"hello\"", "feed", &[]), Ok(None));
    }

    #[test]
    fn a_bad_hello_says_what_is_bad() {
        assert_eq!(refused(r#"{"hello":5}"#, &[]), "bad_hello");
        assert_eq!(refused(r#"{"hello":{"gateway":5}}"#, &[]), "bad_hello");
        assert_eq!(refused(r#"{"hello":{"reply":"acks"}}"#, &[]), "unknown_reply");
        assert_eq!(refused(&format!(r#"{{"hello":{{"gateway":"{}"}}}}"#, "g".repeat(300)), &[]), "field_too_long");
    }

    #[test]
    fn a_token_is_needed_where_the_feed_has_some_and_may_belong_to_one_gateway() {
        let tokens = [Token::new("any", None), Token::new("east", Some("sbc-east".into()))];
        assert_eq!(refused(r#"{"time":1}"#, &tokens), "no_hello");
        assert_eq!(refused(r#"{"hello":{}}"#, &tokens), "wrong_token");
        assert_eq!(refused(r#"{"hello":{"gateway":"sbc-west","token":"east"}}"#, &tokens), "wrong_token");
        assert!(read(br#"{"hello":{"gateway":"sbc-east","token":"east"}}"#, "feed", &tokens).is_ok());
        assert!(read(br#"{"hello":{"gateway":"sbc-west","token":"any"}}"#, "feed", &tokens).is_ok());
    }
}
