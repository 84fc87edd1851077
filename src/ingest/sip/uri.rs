//! URIs of requests and parties. Nothing is decoded: escapes are the dial plan's to understand.

use super::value::{leading_port, param};

/// What a URI begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    /// `urn:`, `http:`, `isbn:`, or none at all.
    #[default]
    Other,
}

/// The parts of a URI. Of another scheme than `sip:` and `tel:` only `whole` is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uri<'a> {
    pub scheme: Scheme,
    /// User or telephone number with what `;` adds to it before the `@`; without a password.
    pub user: &'a [u8],
    /// As written: IPv6 in its brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
    /// From the first `;` behind the host (or number); without headers behind `?`.
    pub params: &'a [u8],
    /// The text of it all, as a dial plan reads it.
    pub whole: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Of any text.
    pub fn parse(text: &'a [u8]) -> Uri<'a> {
        let whole = text.trim_ascii();
        let (scheme, rest) = Scheme::split(whole);
        match scheme {
            Scheme::Sip | Scheme::Sips => Uri::of_host(scheme, rest, whole),
            Scheme::Tel => {
                let (user, params) = cut(rest, |b| b == b';');
                Uri { scheme, user: user.trim_ascii(), params, whole, ..Uri::default() }
            }
            // Some leave `sip:` away.
            Scheme::Other if has_user(whole) => Uri::of_host(scheme, whole, whole),
            Scheme::Other => Uri { scheme, whole, ..Uri::default() },
        }
    }

    fn of_host(scheme: Scheme, rest: &'a [u8], whole: &'a [u8]) -> Uri<'a> {
        let (user, host) = match memchr::memchr(b'@', rest) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
            None => (&[][..], rest),
        };
        let (user, _password) = cut(user, |b| b == b':');
        let (host, rest) = split_host(host);
        let port = rest.strip_prefix(b":").and_then(leading_port);
        let (_port, rest) = cut(rest, |b| matches!(b, b';' | b'?'));
        let (params, _headers) = cut(rest, |b| b == b'?');
        Uri { scheme, user, host, port, params, whole }
    }

    /// The value of a parameter; empty where it has none.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        param(self.params, name.as_bytes())
    }
}

impl Scheme {
    fn split(text: &[u8]) -> (Scheme, &[u8]) {
        let (scheme, len) = match text {
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', ..] => (Scheme::Sip, 4),
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b's' | b'S', b':', ..] => (Scheme::Sips, 5),
            [b't' | b'T', b'e' | b'E', b'l' | b'L', b':', ..] => (Scheme::Tel, 4),
            _ => (Scheme::Other, 0),
        };
        (scheme, text.get(len..).unwrap_or_default())
    }
}

/// `user@host`, not `mailto:user@host`.
fn has_user(text: &[u8]) -> bool {
    memchr::memchr2(b'@', b':', text).is_some_and(|at| text.get(at) == Some(&b'@'))
}

/// A host as written and what follows it: a colon, parameters, headers or nothing.
pub(super) fn split_host(text: &[u8]) -> (&[u8], &[u8]) {
    let closing = text.first().filter(|b| **b == b'[').and_then(|_| memchr::memchr(b']', text));
    match closing {
        Some(at) => text.split_at_checked(at + 1).unwrap_or((text, &[])),
        None => {
            let (host, rest) = cut(text, |b| matches!(b, b':' | b';' | b'?'));
            (host.trim_ascii(), rest)
        }
    }
}

/// Before the first byte that fits, and from it on.
fn cut(text: &[u8], fits: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = text.iter().position(|b| fits(*b)).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, &[]))
}
