//! The parties of a call in few bytes, for as long as it is up.
//!
//! A million calls come from few machines: hosts and user agents are kept once, in [`Words`], and named by number.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::split;
use super::parties::Parties;
use crate::event::{Attestation, CallType};
use crate::ingest::sip::Uri;
use crate::limits::TEXT_BYTES_MAX;

/// Words that are numbered. Whoever makes up hosts fills them, and what comes after is kept in full.
const WORDS_MAX: usize = 4096;

/// Shorter ones are no longer than their number, longer ones not worth a place.
const WORD_BYTES: std::ops::RangeInclusive<usize> = 4..=128;

/// Texts that many calls have, each kept once, and room to put texts together again.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: HashMap<Box<[u8]>, u16>,
    texts: Vec<Box<[u8]>>,
    room: Vec<u8>,
}

impl Words {
    fn number(&mut self, text: &[u8]) -> Option<u16> {
        if let Some(number) = self.numbers.get(text) {
            return Some(*number);
        }
        if !WORD_BYTES.contains(&text.len()) || self.texts.len() >= WORDS_MAX {
            return None;
        }
        let number = u16::try_from(self.texts.len()).ok()?;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        Some(number)
    }
}

/// What is kept of a call's first message. Empty: nothing.
#[derive(Debug, Default)]
pub(super) struct Packed(Box<[u8]>);

/// How the end of a text is kept.
const IN_FULL: u8 = 0;
const NUMBERED: u8 = 1;

/// Whether anything was kept, where it is spelled.
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// A length that takes two bytes more.
const LONG: u8 = 255;

const _: () = assert!(Attestation::ALL.len() <= 8 && CallType::ALL.len() <= 8);

impl Packed {
    pub(super) fn new(parties: &Parties<'_>, call_id: &[u8], words: &mut Words) -> Packed {
        let Parties { caller, callee, asserted, diverting, caller_name, domain, user_agent, account, trunk, .. } =
            parties;
        let mut out = std::mem::take(&mut words.room);
        out.clear();
        let is_own_domain = Uri::parse(caller).host == &**domain;
        let flags = u8::from(parties.anonymous) << 7 | u8::from(is_own_domain) << 6;
        out.push(flags | (parties.call_type as u8) << 3 | parties.attestation as u8);
        match parties.source {
            None => out.push(0),
            Some(IpAddr::V4(address)) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                out.push(6);
                out.extend_from_slice(&address.octets());
            }
        }
        for uri in [caller, callee, asserted, diverting] {
            let at = memchr::memchr(b'@', uri).unwrap_or(uri.len());
            let (user, host) = uri.split_at_checked(at).unwrap_or((uri, &[]));
            put(&mut out, user);
            put_word(&mut out, host, words);
        }
        put_word(&mut out, user_agent, words);
        for text in [&**caller_name, if is_own_domain { &[] } else { domain }, account, trunk, call_id] {
            put(&mut out, text);
        }
        let packed = Packed(out.as_slice().into());
        words.room = out;
        packed
    }

    /// Keeps all but the Call-ID, which stands last.
    pub(super) fn drop_call_id(&mut self) {
        let mut rest = self.0.get(1..).unwrap_or_default();
        let source = take(&mut rest, 1).first().copied().unwrap_or_default();
        take(&mut rest, source_bytes(source));
        for i in 0..N_TEXTS - 1 {
            if i != USER_AGENT {
                get(&mut rest);
            }
            if i <= USER_AGENT {
                get_word(&mut rest, &[]);
            }
        }
        let kept = self.0.len() - rest.len();
        if rest.len() > 1 {
            let mut without = self.0.get(..kept).unwrap_or_default().to_vec();
            without.push(0);
            self.0 = without.into_boxed_slice();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends it with all words in full, for [`Packed::read`] of another table.
    pub(super) fn spell(&self, words: &Words, out: &mut Vec<u8>) {
        if self.is_empty() {
            return out.push(ABSENT);
        }
        out.push(PRESENT);
        // What stands between two words is copied at once.
        let (mut copied, mut rest) = (0, &*self.0);
        take(&mut rest, 1);
        let source = take(&mut rest, 1).first().copied().unwrap_or_default();
        take(&mut rest, source_bytes(source));
        for i in 0..N_TEXTS {
            if i != USER_AGENT {
                get(&mut rest);
            }
            if i <= USER_AGENT {
                let at = self.0.len() - rest.len();
                let is_numbered = rest.first() == Some(&NUMBERED);
                let word = get_word(&mut rest, &words.texts);
                if is_numbered {
                    out.extend_from_slice(self.0.get(copied..at).unwrap_or_default());
                    out.push(IN_FULL);
                    put(out, word);
                    copied = self.0.len() - rest.len();
                }
            }
        }
        out.extend_from_slice(self.0.get(copied..).unwrap_or_default());
    }

    /// What was spelled, off the front of `rest`. `None`: it was not.
    pub(super) fn read(rest: &mut &[u8], words: &mut Words) -> Option<Packed> {
        match split(rest, 1)? {
            [ABSENT] => return Some(Packed::default()),
            [PRESENT] => {}
            _ => return None,
        }
        let mut out = std::mem::take(&mut words.room);
        out.clear();
        let head = split(rest, 2)?;
        out.extend_from_slice(head);
        let source = head.last().copied().filter(|source| matches!(source, 0 | 4 | 6))?;
        out.extend_from_slice(split(rest, source_bytes(source))?);
        for i in 0..N_TEXTS {
            if i != USER_AGENT {
                let is_call_id = i + 1 == N_TEXTS;
                put(&mut out, spelled(rest).filter(|text| is_call_id || is_text(text))?);
            }
            if i <= USER_AGENT {
                let [IN_FULL] = split(rest, 1)? else { return None };
                put_word(&mut out, spelled(rest).filter(|text| is_text(text))?, words);
            }
        }
        let packed = Packed(out.as_slice().into());
        words.room = out;
        Some(packed)
    }

    /// What was kept, put together in the room of `words`.
    pub(super) fn unpack<'a>(&self, words: &'a mut Words) -> (Parties<'a>, &'a [u8]) {
        let Words { texts, room, .. } = words;
        room.clear();
        let mut rest = &*self.0;
        let flags = take(&mut rest, 1).first().copied().unwrap_or_default();
        let source = match take(&mut rest, 1) {
            [4] => take(&mut rest, 4).first_chunk().map(|octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*octets))),
            [6] => take(&mut rest, 16).first_chunk().map(|octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets))),
            _ => None,
        };
        let mut ends = [0; N_TEXTS];
        for (i, end) in ends.iter_mut().enumerate() {
            if i != USER_AGENT {
                room.extend_from_slice(get(&mut rest));
            }
            if i <= USER_AGENT {
                room.extend_from_slice(get_word(&mut rest, texts));
            }
            *end = room.len();
        }
        let mut from = 0;
        let [caller, callee, asserted, diverting, user_agent, caller_name, domain, account, trunk, call_id] =
            ends.map(|end| room.get(std::mem::replace(&mut from, end)..end).unwrap_or_default());
        let domain = if flags >> 6 & 1 != 0 { Uri::parse(caller).host } else { domain };
        let parties = Parties {
            caller: Cow::Borrowed(caller),
            callee: Cow::Borrowed(callee),
            asserted: Cow::Borrowed(asserted),
            diverting: Cow::Borrowed(diverting),
            caller_name: Cow::Borrowed(caller_name),
            domain: Cow::Borrowed(domain),
            user_agent: Cow::Borrowed(user_agent),
            account: Cow::Borrowed(account),
            trunk: Cow::Borrowed(trunk),
            source,
            attestation: Attestation::ALL.get(usize::from(flags & 7)).copied().unwrap_or_default(),
            call_type: CallType::ALL.get(usize::from(flags >> 3 & 7)).copied().unwrap_or_default(),
            anonymous: flags >> 7 != 0,
        };
        (parties, call_id)
    }
}

const N_TEXTS: usize = 10;

/// Its place among the texts. Those before it are URIs.
const USER_AGENT: usize = 4;

/// Of an address, by the version before it.
fn source_bytes(version: u8) -> usize {
    if version == 6 { 16 } else { usize::from(version) }
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    let len = text.len().min(TEXT_BYTES_MAX);
    match u8::try_from(len) {
        Ok(len) if len < LONG => out.push(len),
        _ => out.extend_from_slice(&[LONG, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(text.get(..len).unwrap_or(text));
}

fn get<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    match take(rest, 1) {
        [LONG] => match take(rest, 2) {
            [high, low] => take(rest, usize::from(*high) << 8 | usize::from(*low)),
            _ => &[],
        },
        [len] => take(rest, usize::from(*len)),
        _ => &[],
    }
}

fn put_word(out: &mut Vec<u8>, text: &[u8], words: &mut Words) {
    match words.number(text) {
        Some(number) => {
            out.push(NUMBERED);
            out.extend_from_slice(&number.to_le_bytes());
        }
        None => {
            out.push(IN_FULL);
            put(out, text);
        }
    }
}

fn get_word<'a>(rest: &mut &'a [u8], texts: &'a [Box<[u8]>]) -> &'a [u8] {
    match take(rest, 1) {
        [NUMBERED] => match take(rest, 2) {
            [low, high] => texts.get(usize::from(*high) << 8 | usize::from(*low)).map_or(&[], |text| text),
            _ => &[],
        },
        [IN_FULL] => get(rest),
        _ => &[],
    }
}

/// A text off the front of bytes that nobody has vouched for.
fn spelled<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = match split(rest, 1)? {
        [LONG] => match split(rest, 2)? {
            [high, low] => usize::from(*high) << 8 | usize::from(*low),
            _ => return None,
        },
        [len] => usize::from(*len),
        _ => return None,
    };
    if len > TEXT_BYTES_MAX { None } else { split(rest, len) }
}

/// As [`Parties`] promises its texts to be.
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(len).unwrap_or((&[], &[]));
    *rest = left;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_comes_out() {
        let long = vec![b'x'; TEXT_BYTES_MAX];
        let texts: [&[u8]; 6] =
            [b"sip:+46700001@a.example", &long, "räksmörgås".as_bytes(), b"tel:+4670", b"", b"Phone 1.0"];
        let mut words = Words::default();
        for source in [None, Some("10.1.2.3".parse().unwrap()), Some("2001:db8::1".parse().unwrap())] {
            for (i, domain) in [(0, "a.example"), (3, ""), (1, "b.example")] {
                let [caller, callee, caller_name, asserted, diverting, user_agent] =
                    std::array::from_fn(|n| Cow::Borrowed(texts[(n + i) % 6]));
                let (attestation, call_type) = (Attestation::None, CallType::Data);
                let (account, trunk, domain) =
                    (Cow::default(), Cow::Borrowed(&b"tg"[..]), Cow::from(domain.as_bytes()));
                let parties = Parties {
                    caller,
                    callee,
                    asserted,
                    diverting,
                    caller_name,
                    domain,
                    user_agent,
                    account,
                    trunk,
                    source,
                    attestation,
                    call_type,
                    anonymous: i == 0,
                };
                let packed = Packed::new(&parties, b"id@host", &mut words);
                assert_eq!(packed.unpack(&mut words), (parties.clone(), &b"id@host"[..]));
                let (mut bytes, mut others) = (Vec::new(), Words::default());
                packed.spell(&words, &mut bytes);
                let read = Packed::read(&mut &bytes[..], &mut others).unwrap();
                assert_eq!(read.unpack(&mut others), (parties.clone(), &b"id@host"[..]));
                assert!((0..bytes.len()).all(|cut| Packed::read(&mut &bytes[..cut], &mut others).is_none()));
                let (mut packed, len) = (packed, 1 + b"id@host".len());
                let before = packed.0.len();
                packed.drop_call_id();
                assert_eq!(packed.unpack(&mut words), (parties, &b""[..]));
                packed.drop_call_id();
                assert_eq!(packed.0.len(), before - len + 1);
            }
        }
        assert_eq!(Packed::default().unpack(&mut words), (Parties::default(), &b""[..]));
    }

    #[test]
    fn hosts_and_agents_are_kept_once_until_there_are_too_many() {
        let mut words = Words::default();
        let parties = |i: usize| Parties {
            caller: Cow::Owned(format!("sip:+46700001@pbx{i:05}.example.net").into_bytes()),
            user_agent: Cow::Borrowed(b"Phone 1.0 of Example"),
            ..Parties::default()
        };
        Packed::new(&parties(1), b"", &mut words);
        assert!(Packed::new(&parties(1), b"", &mut words).0.len() < 50);
        for i in 0..2 * WORDS_MAX {
            let packed = Packed::new(&parties(i), b"", &mut words);
            assert_eq!(packed.unpack(&mut words).0, Parties { domain: Cow::default(), ..parties(i) });
        }
        assert_eq!(words.texts.len(), WORDS_MAX);
    }
}
