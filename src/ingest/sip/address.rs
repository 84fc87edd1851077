//! Parties in headers: `"Name" <uri>;params`, `Name <uri>` and a URI alone.

use super::uri::{Scheme, Uri};
use super::value::{closing_quote, param, separated};

/// One entry of From, To, Contact, P-Asserted-Identity and their like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// Display name without its quotes; escapes and folds stay, see [`super::display`]. Empty where there is none.
    pub name: &'a [u8],
    /// Its `whole` is what a dial plan takes.
    pub uri: Uri<'a>,
    /// Empty where there is none.
    pub tag: &'a [u8],
    /// The header's own parameters, from their first `;` on.
    pub params: &'a [u8],
}

impl<'a> Address<'a> {
    /// Of one entry. A quote or bracket that is not closed costs nothing but itself.
    pub(super) fn parse(entry: &'a [u8]) -> Address<'a> {
        let entry = entry.trim_ascii();
        let (quoted, rest) = match entry.strip_prefix(b"\"") {
            Some(inner) => match closing_quote(inner) {
                Some(len) => (inner.get(..len), inner.get(len + 1..).unwrap_or_default()),
                None => (None, inner),
            },
            None => (None, entry),
        };
        let Some(open) = rest.iter().position(|b| *b == b'<') else {
            return Address::bare(quoted.unwrap_or_default(), rest.trim_ascii_start());
        };
        let name = quoted.unwrap_or_else(|| rest.get(..open).unwrap_or_default().trim_ascii());
        let inner = rest.get(open + 1..).unwrap_or_default();
        let close = memchr::memchr(b'>', inner).unwrap_or(inner.len());
        let params = inner.get(close + 1..).unwrap_or_default();
        Address::new(name, inner.get(..close).unwrap_or_default(), params)
    }

    fn new(name: &'a [u8], uri: &'a [u8], params: &'a [u8]) -> Address<'a> {
        let tag = match params {
            // As nearly all are written.
            [b';', b't', b'a', b'g', b'=', tag @ ..] if memchr::memchr3(b';', b'"', b' ', tag).is_none() => tag,
            [] => &[],
            _ => last_tag(params),
        };
        Address { name, uri: Uri::parse(uri), tag, params }
    }

    /// Without brackets parameters are the header's, but for two kinds that are written so nevertheless: those of a
    /// telephone number, and those of a user before the `@`.
    fn bare(name: &'a [u8], text: &'a [u8]) -> Address<'a> {
        // Only a quoted string: someone's idea of an address.
        let (name, text) = if text.is_empty() { (&[][..], name) } else { (name, text) };
        let semicolon = memchr::memchr(b';', text).unwrap_or(text.len());
        let params = text.get(semicolon..).unwrap_or_default();
        let uri = Uri::parse(text);
        let end = match (uri.scheme, memchr::memchr(b'@', params)) {
            (Scheme::Tel, _) => tag_at(params).map_or(text.len(), |at| semicolon + at),
            (Scheme::Sip | Scheme::Sips, Some(at)) if !uri.user.is_empty() && tag_at(params).is_none_or(|t| at < t) => {
                let behind = params.get(at..).unwrap_or_default();
                semicolon + at + memchr::memchr(b';', behind).unwrap_or(behind.len())
            }
            _ => semicolon,
        };
        let (uri, params) = text.split_at_checked(end).unwrap_or((text, &[]));
        Address::new(name, uri, params)
    }

    /// The value of one of the header's parameters; empty where it has none.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        param(self.params, name.as_bytes())
    }

    /// A parameter wherever it is written: in the URI, in the user's part of it, or behind it.
    pub fn param_anywhere(&self, name: &str) -> Option<&'a [u8]> {
        let of_user = || {
            let at = memchr::memchr(b';', self.uri.user)?;
            param(self.uri.user.get(at..)?, name.as_bytes())
        };
        self.uri.param(name).or_else(of_user).or_else(|| self.param(name))
    }
}

/// Of several, which nobody should write, the last: so proxies and phones were seen to read it.
fn last_tag(params: &[u8]) -> &[u8] {
    let tags = separated(params, b';').filter(|(name, tag)| name.eq_ignore_ascii_case(b"tag") && !tag.is_empty());
    tags.last().map_or(&[], |(_, tag)| tag)
}

/// Where `;tag` stands.
fn tag_at(params: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b';', params).find(|at| {
        let name = params.get(at + 1..).unwrap_or_default().trim_ascii_start();
        name.get(..3).is_some_and(|n| n.eq_ignore_ascii_case(b"tag"))
    })
}
