//! What each part of a message reads as.

use super::*;

const INVITE: &[u8] = b"INVITE sip:+4684004000@example.com;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKnashds8;rport=40000;received=198.51.100.7, SIP/2.0/TCP b\r\n\
    v: SIP/2.0/TCP c\r\n\
    f: \"Bob \\\"B\\\" <x>\" <sip:+46701234567;verstat=TN-Validation-Passed-B@example.com>;tag=9fxced76sl\r\n\
    To: <sip:+4684004000@example.com>\r\n\
    i: 3848276298220188511@atlanta.example.com\r\n\
    CSeq: 7 INVITE\r\n\
    Contact: <sip:bob@[2001:db8::1]:5070;transport=udp>\r\n\
    User-Agent: phone\r\n\
    l: 3\r\n\
    \r\n\
    abcdef";

#[test]
fn an_invite_gives_its_parts() {
    let m = parse(INVITE).unwrap();
    let Start::Request { method, uri } = m.start else { panic!() };
    assert_eq!((method, uri.user, uri.host), (&b"INVITE"[..], &b"+4684004000"[..], &b"example.com"[..]));
    assert_eq!(uri.param("user"), Some(&b"phone"[..]));
    assert_eq!((m.cseq, m.cseq_method, m.n_vias), (7, &b"INVITE"[..], 3));
    assert_eq!((m.via.port, m.via.rport, m.via.received), (Some(5062), Some(40000), &b"198.51.100.7"[..]));
    assert_eq!((m.via.transport, m.via.branch), (&b"UDP"[..], &b"z9hG4bKnashds8"[..]));
    assert_eq!(m.from.tag, b"9fxced76sl");
    assert_eq!(display(m.from.name, &mut Vec::new()), Some("Bob \"B\" <x>"));
    assert_eq!(m.contact.unwrap().uri.host, b"[2001:db8::1]");
    assert_eq!(m.contact.unwrap().uri.port, Some(5070));
    assert_eq!(m.body, b"abc");
    assert_eq!(attestation(&m), crate::event::Attestation::B);
    property::sip_holds(INVITE);
}
