//! What holds for any bytes that are taken for SIP. Called by the tests of this crate and by the fuzz target.

use super::{Address, Framed, Message, Start, Uri, attestation, call_type, display, first_message, parse, text};

/// Parsing is total, also of every part of a message; what is told stands in the bytes; and a stream's messages end
/// where framing says.
pub fn sip_holds(bytes: &[u8]) {
    told(bytes);
    for cut in 0..bytes.len().min(256) {
        told(bytes.get(..cut).unwrap_or_default());
        told(bytes.get(cut..).unwrap_or_default());
    }
    framed(bytes);
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
    call_type(&message);
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

/// What framing takes for a message of a stream the parser does too: its body ends where the message does.
fn framed(mut stream: &[u8]) {
    while let Framed::Whole { skip, len } = first_message(stream) {
        let (message, rest) = stream.get(skip..).and_then(|s| s.split_at_checked(len)).expect("it is whole");
        if let Ok(parsed) = parse(message) {
            assert!(message.ends_with(parsed.body));
            assert!(parsed.content_length.is_none_or(|len| len as usize == parsed.body.len()));
            let head = message.len() - parsed.body.len();
            assert!([b"\n\n".as_slice(), b"\n\r\n"].iter().any(|end| message[..head].ends_with(end)));
        }
        stream = rest;
    }
}
