//! What holds for any bytes that are taken for SIP. Called by the tests of this crate and by the fuzz target.

use super::{
    Address, Framed, Message, Start, Uri, attestation, display, first_message, first_message_after, parse, text,
};
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// Parsing is total, also of every part of a message; what is told stands in the bytes; and a stream has the same
/// messages however it is cut. The first byte says how it is cut.
pub fn sip_holds(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    told(stream);
    for cut in 0..stream.len().min(256) {
        told(stream.get(..cut).unwrap_or_default());
        told(stream.get(cut..).unwrap_or_default());
    }
    let (whole, end) = frames(stream, stream.len());
    for read in [1, usize::from(*first) + 2] {
        // Bytes that come one by one are looked at one by one: enough of a long stream.
        if stream.len() / read < 10_000 {
            assert_eq!(frames(stream, read), (whole.clone(), end), "read by {read}");
        }
    }
}

/// Every text of a message is a part of it.
fn told(bytes: &[u8]) {
    let Ok(message) = parse(bytes) else { return };
    let inside = |part: &[u8]| {
        let (start, all) = (part.as_ptr() as usize, bytes.as_ptr_range());
        assert!(part.is_empty() || (all.start as usize <= start && start + part.len() <= all.end as usize));
    };
    for part in texts(&message) {
        inside(part);
    }
    let mut scratch = Vec::new();
    for part in texts(&message) {
        for said in [text(part, &mut scratch).map(str::len), display(part, &mut scratch).map(str::len)] {
            assert!(said.is_none_or(|len| len <= part.len()));
        }
    }
    assert!(!message.call_id.is_empty() && !message.cseq_method.is_empty());
    attestation(&message);
}

fn texts<'a>(message: &Message<'a>) -> Vec<&'a [u8]> {
    let m = message;
    let mut texts = vec![m.call_id, m.cseq_method, m.user_agent, m.server, m.content_type, m.body, m.verstat];
    texts.extend([m.attestation_info, m.via.transport, m.via.host, m.via.branch, m.via.received]);
    texts.extend([m.identity, m.credentials, m.username()].into_iter().flatten());
    let uri = |u: &Uri<'a>| [u.user, u.host, u.params, u.whole];
    match &m.start {
        Start::Request { method, uri: target } => texts.extend([&[*method][..], &uri(target)].concat()),
        Start::Response { reason, .. } => texts.push(reason),
    }
    let optional = [m.contact, m.asserted, m.asserted_second, m.remote_party, m.diversion, m.history, m.refer_to];
    for address in [Some(m.from), Some(m.to), m.referred_by].into_iter().chain(optional).flatten() {
        let Address { name, uri: target, tag, params } = address;
        texts.extend([&[name, tag, params][..], &uri(&target)].concat());
        texts.extend(address.param_anywhere("verstat"));
    }
    texts
}

/// Places of the messages of a stream that comes in reads of so many bytes, and whether its framing was lost.
fn frames(stream: &[u8], read: usize) -> (Vec<(usize, usize)>, bool) {
    let (mut found, mut at, mut come, mut seen) = (Vec::new(), 0, 0, 0);
    loop {
        let pending = stream.get(at..come).unwrap_or_default();
        let framed = first_message_after(pending, seen);
        assert_eq!(framed, first_message(pending), "what was seen before changes nothing");
        match framed {
            Framed::Whole { skip, len } => {
                assert!(len <= SIP_MESSAGE_BYTES_MAX && skip + len <= pending.len());
                found.push((at + skip, len));
                (at, seen) = (at + skip + len, 0);
            }
            Framed::Incomplete { skip, need, seen: so_far } => {
                assert!(need > pending.len() - skip && need <= SIP_MESSAGE_BYTES_MAX);
                at += skip;
                seen = so_far;
                if come == stream.len() {
                    return (found, false);
                }
                come = (come + read).min(stream.len());
            }
            Framed::Broken => return (found, true),
        }
    }
}
