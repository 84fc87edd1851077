//! HEP and SIP feeds of a running service: over TCP and UDP, as agents and mirrors send them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::service::Fixture;

const HEP: &str = "name = \"hep\"\nformat = \"hep\"";
const SIP: &str = "name = \"hep\"\nformat = \"sip\"";

/// A message of a call: `INVITE`, `BYE`, or a code for the answer to the INVITE.
fn sip(what: &str, call: &str, callee: &str) -> Vec<u8> {
    let is_answer = what.starts_with(|c: char| c.is_ascii_digit());
    let (start, method) = match is_answer {
        true => (format!("SIP/2.0 {what} Whatever"), "INVITE"),
        false => (format!("{what} {callee} SIP/2.0"), what),
    };
    let tag = if is_answer || what == "BYE" { ";tag=callee" } else { "" };
    let cseq = if what == "BYE" { 2 } else { 1 };
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{call}\r\nFrom: <sip:+46700000001@192.0.2.7>;tag=c\r\n\
         To: <{callee}>{tag}\r\nCall-ID: {call}@192.0.2.7\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn now() -> (u32, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (now.as_secs() as u32, now.subsec_micros())
}

/// A packet as agents write it, of protocol type `protocol`, with a key if it is not empty.
fn hep(payload: &[u8], key: &str, protocol: u8) -> Vec<u8> {
    let (seconds, micros) = now();
    let chunk = |kind: u16, content: &[u8]| {
        let mut chunk = vec![0, 0];
        chunk.extend_from_slice(&kind.to_be_bytes());
        chunk.extend_from_slice(&(content.len() as u16 + 6).to_be_bytes());
        chunk.extend_from_slice(content);
        chunk
    };
    let mut chunks = [
        chunk(1, &[2]),
        chunk(2, &[17]),
        chunk(3, &Ipv4Addr::new(192, 0, 2, 7).octets()),
        chunk(4, &Ipv4Addr::new(192, 0, 2, 8).octets()),
        chunk(7, &5060u16.to_be_bytes()),
        chunk(8, &5060u16.to_be_bytes()),
        chunk(9, &seconds.to_be_bytes()),
        chunk(10, &micros.to_be_bytes()),
        chunk(11, &[protocol]),
        chunk(12, &7u32.to_be_bytes()),
    ]
    .concat();
    if !key.is_empty() {
        chunks.extend(chunk(14, key.as_bytes()));
    }
    chunks.extend(chunk(15, payload));
    [b"HEP3".as_slice(), &(chunks.len() as u16 + 6).to_be_bytes(), &chunks].concat()
}

/// Version 2, without a magic of its own.
fn hep_2(payload: &[u8]) -> Vec<u8> {
    let (seconds, micros) = now();
    let mut packet = vec![2, 16, 2, 17];
    packet.extend_from_slice(&5060u16.to_be_bytes());
    packet.extend_from_slice(&5060u16.to_be_bytes());
    packet.extend_from_slice(&[192, 0, 2, 7, 192, 0, 2, 8]);
    packet.extend_from_slice(&seconds.to_le_bytes());
    packet.extend_from_slice(&micros.to_le_bytes());
    packet.extend_from_slice(&[7, 0, 0, 0]);
    [packet, payload.to_vec()].concat()
}

fn call(id: &str) -> Vec<Vec<u8>> {
    ["INVITE", "180", "200", "BYE"].map(|what| sip(what, id, "sip:+46840001@192.0.2.8")).into()
}

fn expect_events(fixture: &Fixture, kinds: &[(&str, u32)]) {
    for (kind, n) in kinds {
        fixture.wait_for_metric(&format!("ringfence_ingest_events_total{{feed=\"hep\",kind=\"{kind}\"}} {n}"));
    }
}

fn rejects(fixture: &Fixture, reason: &str, n: u32) {
    fixture.wait_for_metric(&format!("ringfence_ingest_rejects_total{{feed=\"hep\",reason=\"{reason}\"}} {n}"));
}

fn udp(fixture: &Fixture) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(fixture.running().feeds[0].1).expect("an address");
    socket
}

#[test]
fn calls_come_over_tcp_and_udp_at_once_and_count_once() {
    let mut fixture = Fixture::start(HEP, "");
    let (mut tcp, udp) = (fixture.tcp(), udp(&fixture));
    for id in ["a", "b", "c"] {
        for message in call(id) {
            let packet = hep(&message, "", 1);
            // Cut anywhere on the stream; a datagram is whole.
            let (one, two) = packet.split_at(packet.len() / 3);
            tcp.write_all(one).expect("sends");
            tcp.write_all(two).expect("sends");
            udp.send(&packet).expect("sends");
        }
    }
    udp.send(&hep(b"{\"report\":1}", "", 5)).expect("sends");
    fixture.wait_for_metric("ringfence_ingest_messages_total{feed=\"hep\"} 24");
    fixture.wait_for_metric("ringfence_ingest_other_payloads_total{feed=\"hep\"} 1");
    expect_events(&fixture, &[("attempt", 3), ("answer", 3), ("end", 3)]);
    let found = fixture.stop();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0]["level"].as_str(), found[0]["key"]["caller"].as_str()),
        (Some("warning"), Some("+46700000001"))
    );
}

#[test]
fn datagrams_of_the_old_version_and_with_a_wrong_length_are_understood() {
    let fixture = Fixture::start(HEP, "");
    let udp = udp(&fixture);
    udp.send(&hep_2(&sip("INVITE", "old", "sip:+46840001@192.0.2.8"))).expect("sends");
    let mut packet = hep(&sip("INVITE", "long", "sip:+46840001@192.0.2.8"), "", 1);
    packet[4..6].copy_from_slice(&5000u16.to_be_bytes());
    udp.send(&packet).expect("sends");
    udp.send(b"").expect("sends");
    udp.send(b"HEP3\x00\x02").expect("sends");
    udp.send(&[0xff; 300]).expect("sends");
    expect_events(&fixture, &[("attempt", 2)]);
    fixture.wait_for_metric("ringfence_ingest_messages_total{feed=\"hep\"} 2");
}

#[test]
fn a_packet_without_the_key_of_its_feed_is_not_believed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("key"), "s3cret\n").expect("writes");
    let fixture = Fixture::in_folder(folder, &format!("{HEP}\ntoken_file = \"FOLDER/key\""), "");
    let (mut tcp, udp) = (fixture.tcp(), udp(&fixture));
    let invite = |id| sip("INVITE", id, "sip:+46840001@192.0.2.8");
    for (id, key) in [("a", ""), ("b", "s3cre"), ("c", "s3cret2"), ("d", "s3cret")] {
        tcp.write_all(&hep(&invite(id), key, 1)).expect("sends");
        udp.send(&hep(&invite(id), key, 1)).expect("sends");
    }
    udp.send(&hep_2(&invite("e"))).expect("sends");
    rejects(&fixture, "bad_key", 7);
    expect_events(&fixture, &[("attempt", 1)]);
}

#[test]
fn a_stream_that_lost_its_framing_is_closed_after_what_could_be_read() {
    let fixture = Fixture::start(HEP, "");
    let mut tcp = fixture.tcp();
    let packet = hep(&sip("INVITE", "a", "sip:+46840001@192.0.2.8"), "", 1);
    tcp.write_all(&[packet.as_slice(), b"GET / HTTP/1.1\r\n\r\n", &packet].concat()).expect("sends");
    let mut rest = Vec::new();
    assert_eq!(tcp.read_to_end(&mut rest).unwrap_or(0), 0, "nothing is answered");
    rejects(&fixture, "framing_lost", 1);
    fixture.wait_for_metric("ringfence_ingest_connections_closed_total{feed=\"hep\",reason=\"framing_lost\"} 1");
    expect_events(&fixture, &[("attempt", 1)]);
}

#[test]
fn mirrored_sip_is_read_from_a_stream_and_from_datagrams() {
    let mut fixture = Fixture::start(SIP, "");
    let (mut tcp, udp) = (fixture.tcp(), udp(&fixture));
    tcp.write_all(&[b"\r\n\r\n".to_vec(), call("a").concat(), b"\r\n".to_vec()].concat()).expect("sends");
    for message in call("b") {
        udp.send(&message).expect("sends");
    }
    udp.send(b"\r\n\r\n").expect("sends");
    udp.send(b"hello").expect("sends");
    rejects(&fixture, "not_sip", 1);
    expect_events(&fixture, &[("attempt", 2), ("answer", 2), ("end", 2)]);
    tcp.write_all(&[b"INVITE sip:x SIP/2.0\r\n".as_slice(), &[b'x'; 70_000]].concat()).expect("sends");
    rejects(&fixture, "message_too_long", 1);
    assert_eq!(tcp.read(&mut [0; 10]).unwrap_or(0), 0);
    assert_eq!(fixture.stop().len(), 0);
}

#[test]
fn what_came_as_datagrams_before_the_stop_is_judged() {
    let mut fixture = Fixture::start(HEP, "");
    let udp = udp(&fixture);
    for i in 0..5 {
        udp.send(&hep(&sip("INVITE", &format!("c{i}"), "sip:+46840001@192.0.2.8"), "", 1)).expect("sends");
    }
    let levels: Vec<_> = fixture.stop().iter().map(|v| v["level"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(levels, ["warning", "critical"]);
}

#[test]
fn an_emergency_call_is_known_in_every_form_of_its_address_and_its_caller_is_never_blocked() {
    // The first rule of the fixture blocks this caller.
    let fixture = Fixture::start(HEP, "");
    let udp = udp(&fixture);
    let forms = [
        "sip:112@192.0.2.8",
        "sip:112@192.0.2.8;user=phone",
        "tel:112",
        "tel:911;phone-context=+1",
        "urn:service:sos",
        "sip:%31%31%32@192.0.2.8",
        "sips:112@192.0.2.8:5061",
        "urn:service:sos.ambulance",
    ];
    for (i, callee) in forms.iter().enumerate() {
        let invite = sip("INVITE", &format!("e{i}"), callee);
        let invite = String::from_utf8(invite).expect("text").replace("+46700000001", "+46700000666");
        udp.send(&hep(invite.as_bytes(), "", 1)).expect("sends");
    }
    expect_events(&fixture, &[("attempt", forms.len() as u32)]);
    let allowed = format!("ringfence_verdicts_total{{action=\"allow\",cause=\"policy\"}} {}", forms.len());
    fixture.wait_for_metric(&allowed);
    assert!(fixture.metrics().contains("ringfence_verdicts_total{action=\"block\",cause=\"policy\"} 0"));
}
