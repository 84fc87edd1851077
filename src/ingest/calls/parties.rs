//! Who takes part in a call, and what else its first message says.

use std::borrow::Cow;
use std::net::IpAddr;

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
        // A number where one is asserted: `sip:anna@x` and `tel:+46700001` may stand side by side.
        let is_number = |a: &Address<'a>| a.uri.user.first().is_some_and(|b| *b == b'+' || b.is_ascii_digit());
        let number = message
            .asserted_second
            .filter(|second| is_number(second) && !message.asserted.is_some_and(|a| is_number(&a)));
        let asserted = [&number, &message.asserted, &message.remote_party].map(whole);
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

    /// Without the bytes it was borrowed from.
    pub(super) fn into_owned(self) -> Parties<'static> {
        let own = |text: Words<'a>| Cow::Owned(text.into_owned());
        Parties {
            caller: own(self.caller),
            callee: own(self.callee),
            asserted: own(self.asserted),
            diverting: own(self.diverting),
            caller_name: own(self.caller_name),
            domain: own(self.domain),
            user_agent: own(self.user_agent),
            account: own(self.account),
            trunk: own(self.trunk),
            source: self.source,
            attestation: self.attestation,
            call_type: self.call_type,
            anonymous: self.anonymous,
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
pub(super) fn words(raw: &[u8]) -> Words<'_> {
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
    fn trunk_groups_stand_with_the_user_or_behind_the_host() {
        assert_eq!(group(b"sip:+1630;tgrp=TG-1;trunk-context=isp.net@isp.net"), b"TG-1");
        assert_eq!(group(b"sip:1630@isp.net;user=phone;tgrp=b"), b"b");
        assert_eq!(group(b"sip:1630@isp.net"), b"");
    }
}
