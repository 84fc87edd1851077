//! Packets of real agents against what independent decoders say of them, and packets that are wrong on purpose.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

/// A file of the shared test data, which is no part of the project.
fn shared(path: &str) -> Option<Vec<u8>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("RINGFENCE_SHARED").map_or(beside, PathBuf::from);
    let bytes = std::fs::read(root.join("data/hep").join(path));
    if bytes.is_err() {
        eprintln!("NOT RUN: {path} is not in RINGFENCE_SHARED");
    }
    bytes.ok()
}

const STREAMS: [(&str, usize); 12] = [
    ("hepgen_b2bcall", 39),
    ("hepgen_b2bcall_reg_auth", 4),
    ("hepgen_b2bcall_rfc7206_rtcp", 43),
    ("hepgen_b2bcall_rtcp_huge", 2535),
    ("hepgen_default", 8),
    ("hepgen_isup_json", 2),
    ("hepgen_log", 3),
    ("hepgen_loop_simple", 6),
    ("hepgen_scanner", 1),
    ("hepgen_xrtp_stats", 3),
    ("real_captures", 246),
    ("sipp_branch_scenario", 3007),
];

fn plain<'a>(packet: &Packet<'a>) -> &'a [u8] {
    match packet.payload {
        Payload::Plain(payload) => payload,
        _ => panic!("no plain payload: {packet:?}"),
    }
}

fn first_line(payload: &[u8]) -> String {
    let line = payload.split(|b| *b == b'\n').next().unwrap();
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).chars().take(120).collect()
}

/// A packet in the words of the expectations beside the streams.
fn told(packet: &Packet<'_>, length: usize, offset: usize) -> Value {
    let text = |bytes: &[u8]| Value::from(String::from_utf8(bytes.to_vec()).unwrap());
    let time_us = packet.time_us.unwrap();
    let mut told = serde_json::json!({
        "offset": offset, "length": length, "family": if packet.source.unwrap().is_ipv4() { 2 } else { 10 },
        "protocol": packet.ip_protocol, "src": packet.source.unwrap().to_string(),
        "dst": packet.destination.unwrap().to_string(), "sport": packet.source_port, "dport": packet.destination_port,
        "ts_sec": time_us / 1_000_000, "ts_usec": time_us % 1_000_000, "proto_type": packet.protocol,
        "capture_id": packet.capture_id, "payload_len": plain(packet).len(), "first_line": first_line(plain(packet)),
    });
    let members = told.as_object_mut().unwrap();
    if !packet.node_name.is_empty() {
        members.insert("node_name".into(), text(packet.node_name));
    }
    if let Some(auth_key) = packet.auth_key {
        members.insert("auth_key".into(), text(auth_key));
    }
    if !packet.correlation_id.is_empty() {
        members.insert("correlation_id".into(), text(packet.correlation_id));
    }
    told
}

#[test]
fn every_packet_of_every_stream_says_what_an_independent_decoder_says() {
    for (name, n_packets) in STREAMS {
        let Some(stream) = shared(&format!("streams/{name}.hep")) else { return };
        let expected = shared(&format!("streams/{name}.expected.jsonl")).unwrap();
        let mut expected = expected.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let (mut rest, mut n) = (stream.as_slice(), 0);
        while let Framed::Whole(len) = first_packet(rest) {
            let (packet, later) = rest.split_at(len);
            let parsed = parse(packet).unwrap();
            let expected: Value = serde_json::from_slice(expected.next().unwrap()).unwrap();
            assert_eq!(told(&parsed, len, stream.len() - rest.len()), expected, "{name} {n}");
            assert_eq!(parse_datagram(packet), Ok(parsed), "{name} {n}");
            let mut again = Vec::new();
            assert!(encode(&parsed, &mut again));
            assert_eq!(parse(&again), Ok(parsed), "{name} {n}");
            (rest, n) = (later, n + 1);
        }
        assert_eq!((rest.len(), n, expected.next()), (0, n_packets, None), "{name}");
    }
}

#[test]
fn every_single_packet_says_what_its_owner_says_of_it() {
    let Some(example) = shared("vectors/spec_example.bin") else { return };
    let packet = parse(&example).unwrap();
    assert_eq!(
        packet,
        Packet {
            time_us: Some(1_313_440_459_120_000),
            source: "212.202.0.1".parse().ok(),
            destination: "82.116.0.211".parse().ok(),
            source_port: 12010,
            destination_port: 5060,
            ip_protocol: 17,
            protocol: SIP,
            capture_id: 228,
            payload: Payload::Plain(b"INVITE sip:bob"),
            ..Packet::default()
        }
    );
    let empty_key = shared("vectors/heplify_server_hepPacket.bin").unwrap();
    let packet = parse(&empty_key).unwrap();
    assert_eq!((packet.auth_key, packet.capture_id, packet.protocol), (Some(&b""[..]), 0, SIP));
    assert_eq!((packet.time_us, packet.source), (Some(1_520_606_104_119_540), "192.168.247.250".parse().ok()));
    assert_eq!((packet.destination, packet.source_port), ("192.168.245.250".parse().ok(), 5060));
    assert_eq!((plain(&packet).len(), first_line(plain(&packet)).as_str()), (673, "SIP/2.0 200 OK"));
    let rtcp = shared("vectors/sip3_packet_3.bin").unwrap();
    let packet = parse(&rtcp).unwrap();
    assert_eq!((packet.protocol, packet.time_us), (5, Some(1_602_657_480_066_334)));
    assert_eq!((packet.source, packet.source_port), ("192.168.9.119".parse().ok(), 17969));
    assert_eq!((packet.destination, packet.destination_port), ("192.168.4.140".parse().ok(), 5005));
    assert_eq!(plain(&packet).len(), 546);
    let second = shared("vectors/sip3_packet_1.bin").unwrap();
    let packet = parse_datagram(&second).unwrap();
    assert_eq!((packet.protocol, packet.capture_id), (SIP, 1));
    assert_eq!((packet.source, packet.source_port), ("10.0.0.4".parse().ok(), 5060));
    assert_eq!((packet.destination, packet.destination_port), ("10.0.0.4".parse().ok(), 5062));
    assert_eq!((packet.time_us, plain(&packet)), (Some(1_571_254_062_044_436), &b"SIP/2.0"[..]));
    assert_eq!(parse(&second), Err(Fault::NotHep), "only a datagram may be of an old version");
}
