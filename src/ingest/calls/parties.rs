//! Who takes part in a call, and what else its first message says: borrowed from a message, and kept in few bytes for
//! the events that come after it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::event::{Attestation, CallType};
use crate::ingest::sip::{self, Address, Message, Start};
use crate::limits::TEXT_BYTES_MAX;

type Words<'a> = Cow<'a, [u8]>;

/// Texts are UTF-8, on one line, and no longer than [`TEXT_BYTES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parties<'a> {
    /// URIs, as a dial plan reads them.
    pub(crate) caller: Words<'a>,
    pub(crate) callee: Words<'a>,
    pub(crate) asserted: Words<'a>,
    pub(crate) diverting: Words<'a>,
    pub(crate) caller_name: Words<'a>,
    pub(crate) domain: Words<'a>,
    pub(crate) user_agent: Words<'a>,
    pub(crate) account: Words<'a>,
    pub(crate) trunk: Words<'a>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) attestation: Attestation,
    pub(crate) call_type: CallType,
    pub(crate) anonymous: bool,
}

impl<'a> Parties<'a> {
    /// What an initial request says. `source` is who sent it.
    pub(crate) fn of_request(message: &Message<'a>, source: Option<IpAddr>) -> Parties<'a> {
        let callee = match message.start {
            Start::Request { uri, .. } => uri.whole,
            Start::Response { .. } => message.to.uri.whole,
        };
        let whole = |address: &Option<Address<'a>>| address.map_or(&[][..], |a| a.uri.whole);
        let diverting = [&message.diversion, &message.history, &message.referred_by].map(whole);
        let asserted = [&message.asserted, &message.remote_party].map(whole);
        Parties {
            callee: words(callee),
            asserted: words(first(&asserted)),
            diverting: words(first(&diverting)),
            user_agent: words(message.user_agent),
            account: words(message.username().unwrap_or_default()),
            trunk: words(trunk_group(message)),
            source,
            attestation: sip::attestation(message),
            call_type: sip::call_type(message),
            anonymous: message.privacy.hides_number(),
            ..Parties::of_dialog(&message.from, &message.to)
        }
    }

    /// What every message of a dialog says, given who is who.
    pub(crate) fn of_dialog(caller: &Address<'a>, callee: &Address<'a>) -> Parties<'a> {
        Parties {
            caller: words(caller.uri.whole),
            callee: words(callee.uri.whole),
            caller_name: name(caller.name),
            domain: words(caller.uri.host),
            ..Parties::default()
        }
    }

    /// Few bytes that [`unpack`] reads. `call_id` goes with them.
    pub(super) fn pack(&self, call_id: &[u8]) -> Box<[u8]> {
        let texts = self.texts().map(|text| text.as_ref());
        let mut out = Vec::with_capacity(32 + call_id.len() + texts.iter().map(|t| t.len()).sum::<usize>());
        out.push(self.attestation as u8 | (self.call_type as u8) << 4 | u8::from(self.anonymous) << 7);
        match self.source {
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
        for text in [call_id].into_iter().chain(texts) {
            let len = text.len().min(TEXT_BYTES_MAX);
            // Nearly all are shorter than 255 bytes; `TEXT_BYTES_MAX` is written with a second byte of 256s.
            match u8::try_from(len) {
                Ok(len) if len < LONG => out.push(len),
                _ => out.extend_from_slice(&[LONG, (len >> 8) as u8, len as u8]),
            }
            out.extend_from_slice(text.get(..len).unwrap_or(text));
        }
        out.into_boxed_slice()
    }

    fn texts(&self) -> [&Words<'a>; 9] {
        let Parties { caller, callee, asserted, diverting, caller_name, domain, user_agent, account, trunk, .. } = self;
        [caller, callee, asserted, diverting, caller_name, domain, user_agent, account, trunk]
    }
}

const LONG: u8 = 255;
const _: () = assert!(Attestation::ALL.len() <= 16 && CallType::ALL.len() <= 8);

/// The parties that were packed, and the Call-ID.
pub(super) fn unpack(packed: &[u8]) -> (Parties<'_>, &[u8]) {
    let mut rest = packed;
    let flags = take(&mut rest, 1).first().copied().unwrap_or_default();
    let source = match take(&mut rest, 1) {
        [4] => take(&mut rest, 4).first_chunk().map(|octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*octets))),
        [6] => take(&mut rest, 16).first_chunk().map(|octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets))),
        _ => None,
    };
    let mut text = || match take(&mut rest, 1) {
        [LONG] => match take(&mut rest, 2) {
            [high, low] => take(&mut rest, usize::from(*high) << 8 | usize::from(*low)),
            _ => &[],
        },
        [len] => take(&mut rest, usize::from(*len)),
        _ => &[],
    };
    let call_id = text();
    let [caller, callee, asserted, diverting, caller_name, domain, user_agent, account, trunk] =
        std::array::from_fn(|_| Cow::Borrowed(text()));
    let attestation = Attestation::ALL.get(usize::from(flags & 0xf)).copied().unwrap_or_default();
    let call_type = CallType::ALL.get(usize::from(flags >> 4 & 7)).copied().unwrap_or_default();
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
        anonymous: flags >> 7 != 0,
    };
    (parties, call_id)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at_checked(len).unwrap_or((&[], &[]));
    *rest = left;
    taken
}

fn first<'a>(texts: &[&'a [u8]]) -> &'a [u8] {
    texts.iter().copied().find(|text| !text.is_empty()).unwrap_or_default()
}

/// The trunk group (RFC 4904) the call came over, else the one it is sent to.
fn trunk_group<'a>(message: &Message<'a>) -> &'a [u8] {
    let to = match message.start {
        Start::Request { uri, .. } => uri.whole,
        Start::Response { .. } => &[],
    };
    let from = message.contact.map_or(&[][..], |contact| contact.uri.whole);
    first(&[from, to].map(group))
}

fn group(uri: &[u8]) -> &[u8] {
    const NAME: &[u8] = b";tgrp=";
    let at = memchr::memmem::find(uri, NAME).map(|at| at + NAME.len());
    let value = at.and_then(|at| uri.get(at..)).unwrap_or_default();
    value.split(|b| matches!(b, b';' | b'@' | b'?' | b'>')).next().unwrap_or_default()
}

fn name(raw: &[u8]) -> Words<'_> {
    if !raw.contains(&b'\\') {
        return words(raw);
    }
    let mut scratch = Vec::new();
    match sip::display(raw, &mut scratch) {
        Some(text) => Cow::Owned(cut(text).as_bytes().to_vec()),
        None => words(raw),
    }
}

/// A value as the text of an event. What is not UTF-8 is shown as such: a caller must not escape by it.
fn words(raw: &[u8]) -> Words<'_> {
    if raw.len() <= TEXT_BYTES_MAX && memchr::memchr2(b'\r', b'\n', raw).is_none() && std::str::from_utf8(raw).is_ok() {
        return Cow::Borrowed(raw);
    }
    let mut scratch = Vec::new();
    match sip::text(raw, &mut scratch) {
        Some(text) => Cow::Owned(cut(text).as_bytes().to_vec()),
        None => Cow::Owned(cut(&String::from_utf8_lossy(raw)).as_bytes().to_vec()),
    }
}

/// As much of a text as a field may hold.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_comes_out() {
        let long = vec![b'x'; 3 * TEXT_BYTES_MAX];
        let texts: [&[u8]; 4] = [b"sip:+46700001@a", &long, "räksmörgås".as_bytes(), b"bad \xff bytes"];
        for source in [None, Some("10.1.2.3".parse().unwrap()), Some("2001:db8::1".parse().unwrap())] {
            let [caller, callee, caller_name, account] = texts.map(words);
            let (attestation, call_type) = (Attestation::None, CallType::Data);
            let parties = Parties {
                caller,
                callee,
                caller_name,
                account,
                source,
                attestation,
                call_type,
                anonymous: true,
                ..Parties::default()
            };
            let packed = parties.pack(b"id@host");
            assert_eq!(unpack(&packed), (parties, &b"id@host"[..]));
        }
        assert_eq!(words(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(unpack(b""), (Parties::default(), &b""[..]));
    }

    #[test]
    fn trunk_groups_stand_with_the_user_or_behind_the_host() {
        assert_eq!(group(b"sip:+1630;tgrp=TG-1;trunk-context=isp.net@isp.net"), b"TG-1");
        assert_eq!(group(b"sip:1630@isp.net;user=phone;tgrp=b"), b"b");
        assert_eq!(group(b"sip:1630@isp.net"), b"");
    }
}
