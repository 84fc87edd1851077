//! History-Info (RFC 7044): who a call was for before it was for whom it is now.

use std::cmp::Ordering;

use super::address::Address;
use super::value::integer;

/// The two newest entries of a history, in the order of their indexes.
///
/// An entry that is only where its predecessor is reached (`rc`, `np`) is no new party and does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History<'a> {
    newest: Option<Address<'a>>,
    left: Option<Address<'a>>,
}

impl<'a> History<'a> {
    /// Entries come one by one, in any order. Where indexes are missing or alike the later entry is the newer.
    pub(super) fn add(&mut self, entry: Address<'a>) {
        let is_first = !index(&entry).contains(&b'.');
        let is_same_party = entry.param("mp").is_none() && ["rc", "np"].iter().any(|p| entry.param(p).is_some());
        if is_same_party && !is_first {
            return;
        }
        let is_newer = |than: &Option<Address<'a>>| {
            than.as_ref().is_none_or(|than| order(index(&entry), index(than)) != Ordering::Less)
        };
        if is_newer(&self.newest) {
            self.left = self.newest.replace(entry);
        } else if is_newer(&self.left) {
            self.left = Some(entry);
        }
    }

    /// The party that the call left last, and the cause: of the redirection that the entry itself tells (its escaped
    /// Reason), or that the next one does (`cause`, RFC 4458).
    pub(super) fn left(&self) -> Option<(Address<'a>, Option<u16>)> {
        let left = self.left?;
        let cause = || self.newest.and_then(|to| to.param_anywhere("cause")).and_then(integer);
        let cause = escaped_cause(left.uri.whole).or_else(cause).and_then(|cause| u16::try_from(cause).ok());
        Some((left, cause))
    }
}

fn index<'a>(entry: &Address<'a>) -> &'a [u8] {
    entry.param("index").unwrap_or_default()
}

/// `1.2` before `1.10`; no index is as new as any.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    if a.is_empty() || b.is_empty() {
        return Ordering::Equal;
    }
    let numbers = |index| <[u8]>::split(index, |b| *b == b'.').map(integer);
    numbers(a).cmp(numbers(b))
}

/// The cause of `?Reason=SIP%3Bcause%3D302`, which stands in the URI.
fn escaped_cause(uri: &[u8]) -> Option<u64> {
    let headers = uri.get(memchr::memchr(b'?', uri)?..)?;
    let names = [b"cause%3D".as_slice(), b"cause="];
    let at = names.iter().find_map(|name| {
        let found = headers.windows(name.len()).position(|w| w.eq_ignore_ascii_case(name))?;
        Some(found + name.len())
    })?;
    let digits = headers.get(at..)?;
    integer(digits.get(..digits.iter().take_while(|b| b.is_ascii_digit()).count())?)
}
