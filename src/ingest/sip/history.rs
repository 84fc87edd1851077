//! History-Info (RFC 7044): who a call was for before it was for whom it is now.

use std::cmp::Ordering;

use super::address::Address;
use super::value::integer;

/// Longest index that is compared: a call retargeted twenty times has one so long. A longer one counts as missing.
const INDEX_BYTES_MAX: usize = 64;

/// The two newest entries of a history, in the order of their indexes.
///
/// An entry that is only where its predecessor is reached (`rc`, `np`) is no new party and does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History<'a> {
    newest: Option<Entry<'a>>,
    left: Option<Entry<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    party: Address<'a>,
    /// Found once, since every entry to come is compared with it.
    index: &'a [u8],
}

impl<'a> History<'a> {
    /// Entries come one by one, in any order. Where indexes are missing or alike the later entry is the newer.
    pub(super) fn add(&mut self, party: Address<'a>) {
        let index = party.param("index").filter(|index| index.len() <= INDEX_BYTES_MAX).unwrap_or_default();
        let is_same_party = party.param("mp").is_none() && ["rc", "np"].iter().any(|p| party.param(p).is_some());
        if is_same_party && index.contains(&b'.') {
            return;
        }
        let is_newer = |than: &Option<Entry<'a>>| than.is_none_or(|than| order(index, than.index) != Ordering::Less);
        let entry = Entry { party, index };
        if is_newer(&self.newest) {
            self.left = self.newest.replace(entry);
        } else if is_newer(&self.left) {
            self.left = Some(entry);
        }
    }

    /// The party that the call left last, and the cause: of the redirection that the entry itself tells (its escaped
    /// Reason), or that the next one does (`cause`, RFC 4458).
    pub(super) fn left(&self) -> Option<(Address<'a>, Option<u16>)> {
        let left = self.left?.party;
        let cause = || self.newest.and_then(|to| to.party.param_anywhere("cause")).and_then(integer);
        let cause = escaped_cause(left.uri.whole).or_else(cause).and_then(|cause| u16::try_from(cause).ok());
        Some((left, cause))
    }
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
