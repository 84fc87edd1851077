//! Packets of real agents against what independent decoders say of them, and packets that are wrong on purpose.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::property::what_is_read_can_be_written_and_read_again;
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

/// Octets of a version 3 packet that may be wrong in any way.
struct Crafted(Vec<u8>);

impl Crafted {
    fn new() -> Crafted {
        Crafted(b"HEP3\0\0".to_vec())
    }

    /// A chunk as it should be.
    fn chunk(self, vendor: u16, kind: u16, content: &[u8]) -> Crafted {
        self.chunk_saying(vendor, kind, content.len() as u16 + 6, content)
    }

    fn chunk_saying(mut self, vendor: u16, kind: u16, length: u16, content: &[u8]) -> Crafted {
        for word in [vendor, kind, length] {
            self.0.extend_from_slice(&word.to_be_bytes());
        }
        self.0.extend_from_slice(content);
        self
    }

    fn whole(self) -> Vec<u8> {
        let length = self.0.len() as u16;
        self.saying(length)
    }

    fn saying(mut self, length: u16) -> Vec<u8> {
        self.0[4..6].copy_from_slice(&length.to_be_bytes());
        self.0
    }

    /// With its datagram's length, and not that, in the header.
    fn of_magic(magic: &[u8; 4]) -> Crafted {
        Crafted([magic.as_slice(), &[0, 0]].concat())
    }
}

const INVITE: &[u8] = b"INVITE sip:bob SIP/2.0\r\nCall-ID: 1\r\n\r\nbody";

#[test]
fn mapped_addresses_in_chunks_for_ipv4_and_a_length_beyond_the_datagram_are_read() {
    let mapped = |last: u8| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 79, 142, 86, last];
    let agent = Crafted::new()
        .chunk(0, 1, &[2])
        .chunk(0, 3, &mapped(118))
        .chunk(0, 4, &mapped(119))
        .chunk(0, 7, &5063u16.to_be_bytes())
        .chunk(0, 15, INVITE);
    let datagram = agent.saying(544);
    let packet = parse_datagram(&datagram).unwrap();
    assert_eq!((packet.source, packet.source_port), ("79.142.86.118".parse().ok(), 5063));
    assert_eq!((packet.destination, plain(&packet)), ("79.142.86.119".parse().ok(), INVITE));
    assert_eq!(parse(&datagram), Err(Fault::Length), "a stream's packet has no other end");
    let six = Crafted::new().chunk(0, 5, &mapped(1)).chunk(0, 6, &[0xfe; 16]).whole();
    let packet = parse(&six).unwrap();
    assert_eq!(packet.source, "79.142.86.1".parse().ok());
    assert_eq!(packet.destination, "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe".parse().ok());
    let plain_six = Crafted::new().chunk(0, 3, &[0xfe; 16]).chunk(0, 6, &[10, 0, 0, 1]).whole();
    let packet = parse(&plain_six).unwrap();
    assert!(packet.source.unwrap().is_ipv6());
    assert_eq!(packet.destination, "10.0.0.1".parse().ok());
}

#[test]
fn a_length_short_of_the_datagram_is_believed_where_chunks_end_there() {
    let one = Crafted::new().chunk(0, 11, &[1]).chunk(0, 15, INVITE).whole();
    let two = [one.as_slice(), b"\r\n", &one].concat();
    assert_eq!(parse_datagram(&two), parse(&one));
    let short = Crafted::new().chunk(0, 11, &[1]).chunk(0, 15, INVITE).saying(20);
    assert_eq!(parse_datagram(&short), parse(&one));
}

#[test]
fn chunks_of_other_vendors_and_unknown_types_are_skipped_by_their_length() {
    for vendor in [1, 2, 5, 0x0100, 0xffff] {
        let packet = Crafted::new()
            .chunk(vendor, 1, &[10; 9])
            .chunk(vendor, 3, &[9; 4])
            .chunk(vendor, 15, b"not it")
            .chunk(0, 0x1234, b"unknown")
            .chunk(0, 3, &[10, 0, 0, 1])
            .chunk(0, 15, INVITE)
            .whole();
        let packet = parse(&packet).unwrap();
        assert_eq!((packet.source, plain(&packet)), ("10.0.0.1".parse().ok(), INVITE), "{vendor}");
    }
}

#[test]
fn what_agents_always_add_is_read_or_skipped_and_an_empty_key_is_a_key() {
    let packet = Crafted::new()
        .chunk(0, 0x12, &[0, 0])
        .chunk(0, 0x13, b"2001")
        .chunk(0, 14, b"")
        .chunk(0, 11, &[0])
        .chunk(0, 0x0d, &[0, 30])
        .chunk(0, 0x17, &[2])
        .whole();
    let packet = parse(&packet).unwrap();
    assert_eq!((packet.node_name, packet.auth_key, packet.protocol), (&b"2001"[..], Some(&b""[..]), 0));
    assert_eq!((packet.payload, packet.time_us, packet.source), (Payload::None, None, None));
    assert_eq!(parse(b"HEP3\0\x06"), Ok(Packet::default()));
}

#[test]
fn protocol_types_that_no_specification_names_are_told_as_they_are() {
    for protocol in [38, 100, 255] {
        let packet = Crafted::new().chunk(0, 11, &[protocol]).chunk(0, 15, b"{\"a\":1}").whole();
        assert_eq!(parse(&packet).unwrap().protocol, protocol);
    }
}

#[test]
fn a_payload_that_its_agent_cut_inside_of_a_character_is_passed_on_as_bytes() {
    let packet = Crafted::new().chunk(0, 15, b"Subject: \xc3").whole();
    assert_eq!(plain(&parse(&packet).unwrap()), b"Subject: \xc3");
}

#[test]
fn microseconds_past_a_second_are_added() {
    let seconds = 1_700_000_000u32.to_be_bytes();
    let packet = Crafted::new().chunk(0, 10, &2_500_000u32.to_be_bytes()).chunk(0, 9, &seconds).whole();
    assert_eq!(parse(&packet).unwrap().time_us, Some(1_700_000_002_500_000));
    let only_us = Crafted::new().chunk(0, 10, &5u32.to_be_bytes()).whole();
    assert_eq!(parse(&only_us).unwrap().time_us, None);
    let all_ones = Crafted::new().chunk(0, 9, &[0xff; 4]).chunk(0, 10, &[0xff; 4]).whole();
    assert_eq!(parse(&all_ones).unwrap().time_us, Some(4_294_967_295_000_000 + 4_294_967_295));
}

#[test]
fn of_a_chunk_that_comes_twice_the_first_counts() {
    let packet = Crafted::new()
        .chunk(0, 3, &[10, 0, 0, 1])
        .chunk(0, 15, INVITE)
        .chunk(0, 11, &[1])
        .chunk(0, 3, &[10, 0, 0, 2])
        .chunk(0, 15, b"second")
        .chunk(0, 11, &[5])
        .whole();
    let packet = parse(&packet).unwrap();
    assert_eq!((packet.source, packet.protocol, plain(&packet)), ("10.0.0.1".parse().ok(), SIP, INVITE));
}

#[test]
fn a_chunk_whose_length_is_no_length_is_refused() {
    for length in 0..6 {
        let packet = Crafted::new().chunk_saying(0, 15, length, INVITE).whole();
        assert_eq!(parse(&packet), Err(Fault::Chunk), "{length}");
        assert_eq!(parse_datagram(&packet), Err(Fault::Chunk), "{length}");
        let foreign = Crafted::new().chunk_saying(7, 15, length, INVITE).saying(9000);
        assert_eq!(parse_datagram(&foreign), Err(Fault::Chunk), "{length}");
    }
    let beyond = Crafted::new().chunk_saying(0, 15, 100, INVITE).whole();
    assert_eq!((parse(&beyond), parse_datagram(&beyond)), (Err(Fault::Chunk), Err(Fault::Chunk)));
    for n_octets in 1..6 {
        let packet = [b"HEP3\0\0".as_slice(), &[0; 5][..n_octets]].concat();
        assert_eq!(parse(&Crafted(packet).whole()), Err(Fault::Chunk), "{n_octets}");
    }
}

#[test]
fn a_chunk_of_a_known_type_has_the_size_of_its_type() {
    for (kind, sizes) in [
        (2, vec![1]),
        (3, vec![4, 16]),
        (4, vec![4, 16]),
        (5, vec![4, 16]),
        (6, vec![4, 16]),
        (7, vec![2]),
        (8, vec![2]),
        (9, vec![4]),
        (10, vec![4]),
        (11, vec![1]),
        (12, vec![4]),
    ] {
        for size in 0..20 {
            let packet = Crafted::new().chunk(0, kind, &[0; 20][..size]).whole();
            assert_eq!(parse(&packet).is_ok(), sizes.contains(&size), "{kind} of {size}");
            let again = Crafted::new().chunk(0, kind, &[0; 20][..sizes[0]]).chunk(0, kind, &[0; 20][..size]).whole();
            assert_eq!(parse(&again).is_ok(), sizes.contains(&size), "second {kind} of {size}");
        }
    }
}

#[test]
fn a_packet_cut_anywhere_is_refused_or_says_the_same_of_what_came() {
    let whole = Crafted::new()
        .chunk(0, 3, &[10, 0, 0, 1])
        .chunk(0, 9, &[1; 4])
        .chunk(0, 14, b"key")
        .chunk(0, 15, INVITE)
        .whole();
    let expected = parse(&whole).unwrap();
    let payload_at = whole.len() - INVITE.len();
    for len in 0..whole.len() {
        let cut = &whole[..len];
        assert!(parse(cut).is_err(), "{len}");
        let parsed = parse_datagram(cut);
        if len <= payload_at {
            let ends_between_chunks = [6, 16, 26, 35].contains(&len);
            assert_eq!(parsed.is_ok(), ends_between_chunks, "{len}");
            continue;
        }
        let packet = parsed.unwrap();
        assert_eq!(Packet { payload: Payload::None, ..packet }, Packet { payload: Payload::None, ..expected });
        let came = plain(&packet);
        assert!(INVITE.starts_with(came) && came.len() <= len - payload_at);
        let is_whole_line = came.ends_with(b"\n") || memchr::memchr(b'\n', came).is_none();
        assert!(is_whole_line || came.len() == len - payload_at && came.len() > INVITE.len() - 4, "{len}");
    }
    let cut_key = Crafted::new().chunk(0, 15, INVITE).chunk_saying(0, 14, 50, b"secr").saying(999);
    assert_eq!(parse_datagram(&cut_key), Err(Fault::Chunk));
    let cut_foreign = Crafted::new().chunk_saying(9, 15, 50, b"secr").saying(999);
    assert_eq!(parse_datagram(&cut_foreign), Err(Fault::Chunk));
}

#[test]
fn a_header_that_says_less_than_itself_is_refused() {
    for length in 0..6 {
        let packet = Crafted::new().chunk(0, 15, INVITE).saying(length);
        let expected = (Err(Fault::Length), Err(Fault::Length), Framed::Broken);
        assert_eq!((parse(&packet), parse_datagram(&packet), first_packet(&packet)), expected, "{length}");
    }
    let expected = (Err(Fault::NotHep), Err(Fault::NotHep), Framed::Incomplete);
    assert_eq!((parse(b""), parse_datagram(b""), first_packet(b"")), expected);
    assert_eq!(parse_datagram(b"HEP3"), Err(Fault::Length));
}

#[test]
fn eep_packets_are_read_and_the_two_types_that_the_draft_used_otherwise_are_not_misread() {
    let of = |magic| {
        let packet = Crafted::of_magic(magic).chunk(0, 16, &[0; 4]).chunk(0, 17, &[0; 2]).chunk(0, 15, INVITE).whole();
        let packet = parse(&packet).unwrap();
        assert_eq!(plain(&packet), INVITE);
        packet.correlation_id.len()
    };
    assert_eq!((of(b"HEP3"), of(b"EEP3"), of(b"EEP1")), (2, 2, 0));
    let only = Crafted::of_magic(b"EEP1").chunk(0, 16, &[0; 4]).whole();
    assert_eq!(parse(&only).unwrap().payload, Payload::None);
}

/// The fixed header of the old versions.
fn old(version: u8, length: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [&[version, length, family, 17, 0x13, 0xc4, 0x13, 0xc6], rest].concat()
}

#[test]
fn times_of_version_2_are_read_in_the_order_in_which_they_make_sense() {
    let time = |seconds: [u8; 4], microseconds: [u8; 4], agent: [u8; 2]| {
        let rest = [&[10, 0, 0, 4, 10, 0, 0, 5][..], &seconds, &microseconds, &agent, &[0, 0], INVITE].concat();
        let datagram = old(2, 16, 2, &rest);
        let packet = parse_datagram(&datagram).unwrap();
        assert_eq!(plain(&packet), INVITE);
        (packet.time_us.unwrap(), packet.capture_id)
    };
    let (seconds, microseconds) = (1_571_254_062u32, 44_436u32);
    let expected = (1_571_254_062_044_436, 7);
    assert_eq!(time(seconds.to_le_bytes(), microseconds.to_le_bytes(), [7, 0]), expected);
    assert_eq!(time(seconds.to_be_bytes(), microseconds.to_be_bytes(), [0, 7]), expected);
    assert_eq!(time(seconds.to_be_bytes(), [0; 4], [0, 7]), (1_571_254_062_000_000, 7));
    assert_eq!(time(seconds.to_le_bytes(), [0; 4], [7, 0]), (1_571_254_062_000_000, 7));
}

#[test]
fn old_versions_are_told_by_everything_their_header_says_of_itself() {
    let v4 = [&[10, 0, 0, 4, 10, 0, 0, 5][..], INVITE].concat();
    let first = old(1, 16, 2, &v4);
    let packet = parse_datagram(&first).unwrap();
    assert_eq!((packet.time_us, packet.protocol, plain(&packet)), (None, SIP, INVITE));
    assert_eq!((packet.source, packet.source_port), ("10.0.0.4".parse().ok(), 5060));
    assert_eq!((packet.destination, packet.destination_port), ("10.0.0.5".parse().ok(), 5062));
    for family in [10, 23, 28, 30] {
        let v6 = old(1, 40, family, &[&[0xfe; 32], INVITE].concat());
        assert!(parse_datagram(&v6).unwrap().source.unwrap().is_ipv6(), "{family}");
    }
    let not_hep = [old(0, 16, 2, &v4), old(3, 16, 2, &v4), old(1, 16, 3, &v4), INVITE.to_vec(), b"\r\n\r\n".to_vec()];
    for datagram in not_hep {
        assert_eq!(parse_datagram(&datagram), Err(Fault::NotHep), "{datagram:?}");
    }
    for datagram in [old(1, 28, 2, &v4), old(1, 15, 2, &v4), old(2, 20, 2, &v4), old(2, 16, 2, &v4[..12])] {
        assert_eq!(parse_datagram(&datagram), Err(Fault::Length), "{datagram:?}");
    }
    let mut other = first;
    other[3] = 1;
    assert_eq!(parse_datagram(&other), Err(Fault::NotHep), "ICMP carries no SIP");
}

#[test]
fn version_2_is_read_with_and_without_padding_and_whatever_its_length_counts() {
    let addresses = [10, 0, 0, 4, 10, 0, 0, 5];
    let time = [0x2e, 0x6f, 0xa7, 0x5d, 0x94, 0xad, 0, 0, 1, 0];
    for (length, padding) in [(16, &[0, 0][..]), (16, &[]), (26, &[]), (28, &[0, 0]), (16, &[0x80, 0x41])] {
        let datagram = old(2, length, 2, &[&addresses, &time[..], padding, INVITE].concat());
        let packet = parse_datagram(&datagram).unwrap();
        assert_eq!((plain(&packet), packet.capture_id), (INVITE, 1), "{length} {padding:?}");
    }
    let empty = old(2, 16, 2, &[&addresses, &time[..]].concat());
    assert_eq!(plain(&parse_datagram(&empty).unwrap()), b"");
}

fn packed(level: u32, message: &[u8]) -> [Vec<u8>; 3] {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;
    let level = Compression::new(level);
    let (mut gzip, mut zlib, mut bare) = (
        GzEncoder::new(Vec::new(), level),
        ZlibEncoder::new(Vec::new(), level),
        DeflateEncoder::new(Vec::new(), level),
    );
    gzip.write_all(message).unwrap();
    zlib.write_all(message).unwrap();
    bare.write_all(message).unwrap();
    [gzip.finish().unwrap(), zlib.finish().unwrap(), bare.finish().unwrap()]
}

#[test]
fn compressed_payloads_are_inflated_whatever_was_used_and_damage_is_told() {
    let mut scratch = Vec::new();
    for (form, packed) in [0, 1, 6, 9].into_iter().flat_map(|level| packed(level, INVITE)).enumerate() {
        let packet = Crafted::new().chunk(0, 11, &[1]).chunk(0, 16, &packed).whole();
        let packet = parse(&packet).unwrap();
        assert_eq!(packet.payload, Payload::Compressed(&packed));
        let Payload::Compressed(compressed) = packet.payload else { panic!("{packet:?}") };
        assert_eq!(inflate(compressed, &mut scratch), Some(INVITE), "{form}");
        assert_eq!(inflate(&compressed[..compressed.len() - 3], &mut scratch), None, "{form}");
    }
    for junk in [&b""[..], b"\x1f", b"\x1f\x8b", b"\x78\x9c", b"INVITE sip:bob SIP/2.0\r\n\r\n"] {
        assert_eq!(inflate(junk, &mut scratch), None, "{junk:?}");
    }
}

#[test]
fn what_would_inflate_past_the_longest_message_is_refused() {
    use crate::limits::SIP_MESSAGE_BYTES_MAX;
    let mut scratch = Vec::new();
    for (len, fits) in [(SIP_MESSAGE_BYTES_MAX, true), (SIP_MESSAGE_BYTES_MAX + 1, false), (50_000_000, false)] {
        for packed in packed(9, &vec![b'a'; len]) {
            assert_eq!(inflate(&packed, &mut scratch).is_some(), fits, "{len}");
            assert!(scratch.capacity() <= 4 * SIP_MESSAGE_BYTES_MAX, "{}", scratch.capacity());
        }
    }
}

#[test]
fn a_plain_payload_counts_before_a_compressed_one_unless_it_is_empty() {
    let both = |plain: &[u8]| Crafted::new().chunk(0, 16, b"packed").chunk(0, 15, plain).whole();
    assert_eq!(parse(&both(INVITE)).unwrap().payload, Payload::Plain(INVITE));
    assert_eq!(parse(&both(b"")).unwrap().payload, Payload::Compressed(b"packed"));
}

#[test]
fn what_hep_cannot_say_is_not_written() {
    let mut out = b"before".to_vec();
    let payload = vec![b'x'; 65_535];
    let overhead = {
        let mut one = Vec::new();
        assert!(encode(&Packet { payload: Payload::Plain(b"x"), ..Packet::default() }, &mut one));
        one.len() - 1
    };
    let with = |len: usize| Packet { payload: Payload::Plain(&payload[..len]), ..Packet::default() };
    for len in [65_535, 65_530, 65_529, 65_536 - overhead] {
        assert!(!encode(&with(len), &mut out), "{len}");
        assert_eq!(out, b"before");
    }
    for time_us in [-1, i64::MIN, i64::MAX, 4_294_967_296_000_000] {
        assert!(!encode(&Packet { time_us: Some(time_us), ..Packet::default() }, &mut out), "{time_us}");
        assert_eq!(out, b"before");
    }
    assert!(encode(&with(65_535 - overhead), &mut out));
    assert_eq!(parse(&out[6..]), Ok(with(65_535 - overhead)));
    assert_eq!(first_packet(&out[6..]), Framed::Whole(65_535));
}

#[test]
fn faults_are_told_in_words() {
    let faults = [Fault::NotHep, Fault::Length, Fault::Chunk, Fault::ChunkSize];
    let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(told.iter().all(|text| text.starts_with("hep: ") && !text.ends_with('.')), "{told:?}");
    assert!(faults.iter().all(|fault| fault.reject() == Reject::Malformed));
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        what_is_read_can_be_written_and_read_again(&bytes);
    }

    #[test]
    fn any_chunks_are_a_packet_or_none(
        magic in proptest::sample::select(vec![b"HEP3", b"EEP3", b"EEP1"]),
        chunks in proptest::collection::vec(
            (0u16..2, 0u16..24, prop_oneof![9 => Just(0), 1 => -3i32..3], proptest::collection::vec(any::<u8>(), 0..18)),
            0..12
        ),
        lie in prop_oneof![4 => Just(0), 1 => -40i32..40],
    ) {
        let mut packet = Crafted::of_magic(magic);
        for (vendor, kind, lie, content) in chunks {
            packet = packet.chunk_saying(vendor, kind, (content.len() as i32 + 6 + lie) as u16, &content);
        }
        let length = packet.0.len() as i32 + lie;
        what_is_read_can_be_written_and_read_again(&packet.saying(length as u16));
    }

    #[test]
    fn any_header_of_an_old_version_is_a_packet_or_none(
        version in 1u8..3, length in prop_oneof![Just(16u8), Just(40), Just(28), any::<u8>()],
        family in prop_oneof![Just(2u8), Just(10), any::<u8>()], rest in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        what_is_read_can_be_written_and_read_again(&old(version, length, family, &rest));
    }
}
