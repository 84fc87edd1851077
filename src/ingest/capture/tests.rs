//! Captures made here, packet by packet, and those of the shared folder against what others read in them.

use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;

use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder, UdpHeader};
use serde_json::Value;

use super::*;
use crate::ingest::hep::{self, Framed, Payload};
use crate::ingest::property::shared;
use crate::limits::{CAPTURE_STREAMS_BYTES_MAX, CAPTURE_STREAMS_MAX};

const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n";
const INVITE: &[u8] = b"INVITE sip:a@b SIP/2.0\r\nCall-ID: 2\r\nl : 4\r\n\r\nv=0\n";
const OK: &[u8] = b"SIP/2.0 200 OK\r\nCall-ID: 2\r\nContent-Length:0\r\n\r\n";

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [192, 0, 2, 2];

/// A message as it comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    time_us: i64,
    source: String,
    destination: String,
    ip_protocol: u8,
    payload: Vec<u8>,
}

fn messages(stream: &[u8]) -> Vec<Message> {
    let (mut rest, mut all) = (stream, Vec::new());
    while !rest.is_empty() {
        let Framed::Whole(length) = hep::first_packet(rest) else { panic!("no packet in {rest:?}") };
        let packet = hep::parse(&rest[..length]).unwrap();
        let Payload::Plain(payload) = packet.payload else { panic!("no payload") };
        all.push(Message {
            time_us: packet.time_us.unwrap(),
            source: format!("{} {}", packet.source.unwrap(), packet.source_port),
            destination: format!("{} {}", packet.destination.unwrap(), packet.destination_port),
            ip_protocol: packet.ip_protocol,
            payload: payload.to_vec(),
        });
        rest = &rest[length..];
    }
    all
}

fn read(file: Vec<u8>) -> (Vec<Message>, CaptureCounts) {
    let mut reader = CaptureReader::new(Box::new(Cursor::new(file)), false).unwrap();
    let (mut all, mut block) = (Vec::new(), Vec::new());
    while reader.fill(&mut block).unwrap() {
        all.append(&mut messages(&block));
        block.clear();
    }
    (all, reader.counts())
}

fn payloads(file: Vec<u8>) -> Vec<String> {
    read(file).0.into_iter().map(|m| String::from_utf8_lossy(&m.payload).into_owned()).collect()
}

fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

/// A capture of one message, and what it becomes.
pub(crate) fn sample() -> (Vec<u8>, Vec<u8>) {
    let file = pcap(&[udp(b"\r\n\r\n"), udp(OPTIONS)]);
    let mut stream = Vec::new();
    let mut reader = CaptureReader::new(Box::new(Cursor::new(file.clone())), false).unwrap();
    while reader.fill(&mut stream).unwrap() && !reader.ended {}
    assert_eq!(messages(&stream).len(), 1);
    (file, stream)
}

/// A pcap file of Ethernet frames, a second apart.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let timed: Vec<(u32, Vec<u8>)> = frames.iter().enumerate().map(|(i, f)| (i as u32, f.clone())).collect();
    timed_pcap(&timed)
}

fn timed_pcap(frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
    pcap_of(1, 0xa1b2_c3d4, u32::to_le_bytes, frames)
}

fn pcap_of(link: u32, magic: u32, order: fn(u32) -> [u8; 4], frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let version = if order(1)[0] == 1 { [2, 0, 4, 0] } else { [0, 2, 0, 4] };
    let mut file = [&order(magic)[..], &version, &order(0), &order(0), &order(65_535), &order(link)].concat();
    for (seconds, frame) in frames {
        for word in [*seconds, 250_000, frame.len() as u32, frame.len() as u32] {
            file.extend(order(word));
        }
        file.extend(frame);
    }
    file
}

fn udp(payload: &[u8]) -> Vec<u8> {
    udp_from(5060, payload)
}

fn udp_from(port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(HERE, THERE, 64).udp(port, port);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn ip(frame: &[u8]) -> Vec<u8> {
    frame[14..].to_vec()
}

/// A segment; `flags` of `s`yn and `f`in.
fn tcp(sequence: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(HERE, THERE, 64).tcp(5060, 5061, sequence, 1024);
    if flags.contains('s') {
        builder = builder.syn();
    }
    if flags.contains('f') {
        builder = builder.fin();
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// A datagram cut into fragments of `size` bytes.
fn fragments(payload: &[u8], identification: u16, size: usize) -> Vec<Vec<u8>> {
    let header =
        UdpHeader::with_ipv4_checksum(5060, 5060, &Ipv4Header::new(0, 64, 17.into(), HERE, THERE).unwrap(), payload);
    let datagram = [&header.unwrap().to_bytes()[..], payload].concat();
    let n = datagram.len().div_ceil(size);
    let cut = |(i, part): (usize, &[u8])| {
        let mut header = Ipv4Header::new(part.len() as u16, 64, 17.into(), HERE, THERE).unwrap();
        header.identification = identification;
        header.fragment_offset = IpFragOffset::try_new((i * size / 8) as u16).unwrap();
        header.more_fragments = i + 1 < n;
        [&[0; 12][..], &[8, 0], &header.to_bytes(), part].concat()
    };
    datagram.chunks(size).enumerate().map(cut).collect()
}

#[test]
fn a_datagram_becomes_a_packet_with_its_time_addresses_and_ports() {
    let (all, counts) = read(pcap(&[udp(OPTIONS), udp(b"\r\n\r\n"), udp_from(4000, &[0x80, 0, 1, 2]), udp(INVITE)]));
    let message = |seconds: i64, payload: &[u8]| Message {
        time_us: seconds * 1_000_000 + 250_000,
        source: "192.0.2.1 5060".into(),
        destination: "192.0.2.2 5060".into(),
        ip_protocol: 17,
        payload: payload.to_vec(),
    };
    assert_eq!(all, [message(0, OPTIONS), message(3, INVITE)]);
    assert_eq!(counts, CaptureCounts { packets: 4, sip: 2, other: 2, ..CaptureCounts::default() });
    assert_eq!(counts.to_string(), "4 packets: 2 SIP messages, 0 HEP packets, 2 other");
}

#[test]
fn both_byte_orders_and_both_units_of_pcap_are_read() {
    let frames = [(7, udp(OPTIONS))];
    for (magic, order, us) in [
        (0xa1b2_c3d4, u32::to_le_bytes as fn(u32) -> [u8; 4], 250_000),
        (0xa1b2_c3d4, u32::to_be_bytes, 250_000),
        (0xa1b2_3c4d, u32::to_le_bytes, 250),
        (0xa1b2_3c4d, u32::to_be_bytes, 250),
    ] {
        let (all, _) = read(pcap_of(1, magic, order, &frames));
        assert_eq!(all.iter().map(|m| m.time_us).collect::<Vec<_>>(), [7_000_000 + us], "{magic:x}");
    }
}

#[test]
fn every_link_type_and_tunnel_leads_to_the_message() {
    let frame = udp(OPTIONS);
    let (head, inner) = (&frame[..12], ip(&frame));
    let tagged = [head, &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0], &inner].concat();
    let mpls = [head, &[0x88, 0x47, 0, 0, 0, 64, 0, 0, 1, 64], &inner].concat();
    let pppoe = [head, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 9, 0, 0x21], &inner].concat();
    let sll = [&[0; 14][..], &[8, 0], &inner].concat();
    let sll2 = [&[8, 0][..], &[0; 18], &inner].concat();
    let null = [&[2, 0, 0, 0][..], &inner].concat();
    let outer = |protocol: u8, carried: &[u8]| {
        let header = Ipv4Header::new(carried.len() as u16, 64, protocol.into(), THERE, HERE).unwrap();
        [&header.to_bytes()[..], carried].concat()
    };
    let gre = outer(47, &[&[0x20, 0, 8, 0, 0, 0, 0, 9][..], &inner].concat());
    let erspan = outer(47, &[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..], &[0; 8], &frame].concat());
    let vxlan = ip(&udp_from(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &frame].concat()));
    let cases = [
        (1, frame.clone()),
        (1, tagged),
        (1, mpls),
        (1, pppoe),
        (113, sll),
        (276, sll2),
        (0, null.clone()),
        (108, null),
        (101, inner.clone()),
        (228, inner.clone()),
        (101, outer(4, &inner)),
        (101, outer(4, &outer(4, &inner))),
        (101, gre),
        (101, erspan),
        (101, vxlan),
    ];
    for (i, (link, bytes)) in cases.into_iter().enumerate() {
        let (all, _) = read(pcap_of(link, 0xa1b2_c3d4, u32::to_le_bytes, &[(0, bytes)]));
        assert_eq!(all.len(), 1, "case {i}, link {link}");
        assert_eq!((all[0].source.as_str(), &all[0].payload[..]), ("192.0.2.1 5060", OPTIONS), "case {i}");
    }
    let mut nested = inner;
    for _ in 0..=TUNNELS_MAX {
        nested = outer(4, &nested);
    }
    assert_eq!(read(pcap_of(101, 0xa1b2_c3d4, u32::to_le_bytes, &[(0, nested)])).1.other, 1);
}

#[test]
fn fragments_are_put_together_and_a_first_one_alone_still_tells_its_header() {
    let long = [INVITE, &[b'x'; 100]].concat();
    let mut parts = fragments(&long, 1, 64);
    parts.reverse();
    let at_once: Vec<_> = parts.into_iter().map(|part| (0, part)).collect();
    assert_eq!(payloads(timed_pcap(&at_once)), [text(&long)]);
    let first = fragments(&long, 1, 64).swap_remove(0);
    let (all, counts) = read(timed_pcap(&[(0, first), (0, udp(OPTIONS)), (9, udp(OK))]));
    let got: Vec<(i64, &[u8])> = all.iter().map(|m| (m.time_us, &m.payload[..])).collect();
    assert_eq!(got, [(250_000, OPTIONS), (250_000, &long[..56]), (9_250_000, OK)]);
    assert_eq!((counts.fragments_dropped, counts.cut_short, counts.other), (1, 1, 0));
}

#[test]
fn a_stream_is_put_in_order_and_what_came_twice_is_dropped() {
    let stream = [OPTIONS, INVITE, b"\r\n\r\n", OK].concat();
    let (one, rest) = stream.split_at(30);
    let (two, three) = rest.split_at(60);
    let at = |n: usize| 1001 + n as u32;
    let file = pcap(&[
        tcp(1000, "s", b""),
        tcp(1000, "s", b""),
        tcp(at(0), "", one),
        tcp(at(0), "", &stream[..40]),
        tcp(at(90), "", three),
        tcp(at(90), "", three),
        tcp(at(30), "", two),
        tcp(at(20), "", &stream[20..95]),
        tcp(at(stream.len()), "f", b""),
    ]);
    let (all, counts) = read(file);
    let got: Vec<_> = all.iter().map(|m| (m.time_us / 1_000_000, text(&m.payload), m.ip_protocol)).collect();
    assert_eq!(got, [(6, text(OPTIONS), 6), (4, text(INVITE), 6), (4, text(OK), 6)]);
    assert_eq!((counts.sip, counts.tcp_gaps), (3, 0));
}

#[test]
fn a_stream_of_which_parts_were_not_captured_goes_on_with_the_next_message() {
    let middle = b"body of something\r\nVia: SIP/2.0/UDP x\r\n\r\nmore\r\n";
    let after = 5000 + middle.len() as u32;
    let lost = 700;
    let file = pcap(&[
        tcp(5000, "", middle),
        tcp(after, "", OPTIONS),
        tcp(after + OPTIONS.len() as u32, "", b"INVITE sip:a@b SIP/2.0\r\nCall-"),
        tcp(after + lost, "", b"ID: 5\r\n\r\n"),
        tcp(after + lost + 9, "", OK),
    ]);
    let (all, counts) = read(file);
    assert_eq!(all.iter().map(|m| text(&m.payload)).collect::<Vec<_>>(), [text(OPTIONS), text(OK)]);
    assert_eq!(counts.tcp_gaps, 1);
}

#[test]
fn a_gap_is_given_up_when_it_gets_old_and_a_message_keeps_its_header() {
    let cut = b"MESSAGE sip:a SIP/2.0\r\nContent-Length: 900\r\n\r\nbegun";
    let (next, options) = (1 + cut.len() as u32, OPTIONS.len() as u32);
    let file = timed_pcap(&[
        (0, tcp(0, "s", b"")),
        (1, tcp(1, "", cut)),
        (2, tcp(next + 895, "", OPTIONS)),
        (3, tcp(next + 895 + options, "", OK)),
        (60, tcp(next + 895 + options + OK.len() as u32, "", INVITE)),
    ]);
    let got: Vec<_> = read(file).0.iter().map(|m| (m.time_us / 1_000_000, text(&m.payload))).collect();
    assert_eq!(got, [(1, text(cut)), (2, text(OPTIONS)), (3, text(OK)), (60, text(INVITE))]);
}

#[test]
fn hep_passes_as_it_is_over_both_transports_and_version_two_is_written_anew() {
    let packet = |payload: &'static [u8]| {
        let ip = Some(IpAddr::from([10, 0, 0, 1]));
        let mut bytes = Vec::new();
        assert!(hep::encode(
            &hep::Packet {
                time_us: Some(1_500_000),
                source: ip,
                destination: ip,
                ip_protocol: 17,
                protocol: hep::SIP,
                payload: Payload::Plain(payload),
                ..hep::Packet::default()
            },
            &mut bytes
        ));
        bytes
    };
    let (one, two) = (packet(OPTIONS), packet(OK));
    let mut long = packet(INVITE);
    long[4..6].copy_from_slice(&9000u16.to_be_bytes());
    let old =
        [&[2, 16, 2, 17, 19, 196, 19, 196, 10, 0, 0, 1, 10, 0, 0, 2][..], &[1, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0], OK]
            .concat();
    let stream = [&two[..], &one].concat();
    let file = pcap(&[
        udp_from(9060, &one),
        udp_from(9060, &long),
        udp_from(9060, &old),
        udp_from(4000, &old),
        tcp(0, "s", &stream[..80]),
        tcp(81, "", &stream[80..]),
    ]);
    let (all, counts) = read(file);
    let got: Vec<_> = all.iter().map(|m| text(&m.payload)).collect();
    assert_eq!(got, [text(OPTIONS), text(INVITE), text(OK), text(OK), text(OPTIONS)]);
    assert_eq!(all[2].time_us, 0x5000_0001 * 1_000_000);
    assert_eq!((counts.hep, counts.sip, counts.other), (5, 0, 1));
}

#[test]
fn a_message_that_fills_more_than_a_packet_of_hep_loses_its_body() {
    let head = b"INVITE sip:a SIP/2.0\r\nContent-Length: 65450\r\n\r\n";
    let message = [&head[..], &vec![b'x'; 65_450]].concat();
    let segments: Vec<Vec<u8>> =
        message.chunks(1400).enumerate().map(|(i, part)| tcp(1400 * i as u32, "", part)).collect();
    let (all, counts) = read(pcap(&segments));
    assert_eq!(all.iter().map(|m| text(&m.payload)).collect::<Vec<_>>(), [text(head)]);
    assert_eq!((counts.sip, counts.too_long), (1, 0));
    let head = b"INVITE sip:a SIP/2.0\r\nContent-Length: 65536\r\n\r\n";
    let message = [&head[..], &vec![b'x'; 65_536], OK].concat();
    let segments: Vec<Vec<u8>> =
        message.chunks(1400).enumerate().map(|(i, part)| tcp(1400 * i as u32, "", part)).collect();
    let (all, counts) = read(pcap(&segments));
    assert_eq!(all.iter().map(|m| text(&m.payload)).collect::<Vec<_>>(), [text(OK)]);
    assert_eq!((counts.sip, counts.too_long), (1, 1));
}

#[test]
fn a_packet_cut_by_the_capture_gives_its_whole_lines() {
    let mut frame = udp(OPTIONS);
    frame.truncate(14 + 20 + 8 + 30);
    let mut in_body = udp(INVITE);
    in_body.truncate(in_body.len() - 2);
    let (all, counts) = read(pcap(&[frame, in_body]));
    let got: Vec<_> = all.iter().map(|m| text(&m.payload)).collect();
    assert_eq!(got, ["OPTIONS sip:a@b SIP/2.0\r\n".to_owned(), text(&INVITE[..INVITE.len() - 2])]);
    assert_eq!((counts.sip, counts.cut_short), (2, 2));
}

#[test]
fn junk_before_a_message_is_passed_over_where_sip_is_expected() {
    let junk = [&b"\0\0keepalive\r\n"[..], OPTIONS].concat();
    let blank = [&b"\r\n\r\n"[..], OPTIONS].concat();
    let log = [&b"<14>kamailio: got\n"[..], OPTIONS].concat();
    assert_eq!(
        payloads(pcap(&[udp(&junk), udp_from(514, &log), udp_from(7000, &blank)])),
        [text(OPTIONS), text(OPTIONS)]
    );
}

#[test]
fn a_file_that_ends_inside_a_packet_gives_what_came_before_and_says_so() {
    let whole = pcap(&[udp(OPTIONS), udp(OK)]);
    let (all, counts) = read(whole[..whole.len() - 5].to_vec());
    assert_eq!((all.len(), counts.is_cut_off, counts.is_broken), (1, true, false));
    let mut wild = whole;
    let second = 24 + 16 + udp(OPTIONS).len();
    wild[second + 8..second + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (all, counts) = read(wild);
    assert_eq!((all.len(), counts.is_cut_off, counts.is_broken), (1, false, true));
    assert!(read(b"\xd4\xc3\xb2\xa1\x02".to_vec()).1.is_cut_off);
}

type Order = fn(u32) -> [u8; 4];

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = order(12 + (body.len() + padding.len()) as u32);
    [&order(kind)[..], &length, body, &padding, &length].concat()
}

fn short(order: Order, value: u16) -> [u8; 2] {
    if order(1)[0] == 1 { value.to_le_bytes() } else { value.to_be_bytes() }
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
    [&short(order, code)[..], &short(order, value.len() as u16), value, &padding].concat()
}

fn section(order: Order) -> Vec<u8> {
    block(order, 0x0a0d_0d0a, &[&order(0x1a2b_3c4d)[..], &short(order, 1), &short(order, 0), &[0xff; 8]].concat())
}

fn interface(order: Order, link: u16, snaplen: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let head = [&short(order, link)[..], &[0, 0], &order(snaplen)].concat();
    block(order, 1, &[head, options.concat()].concat())
}

fn enhanced(order: Order, interface: u32, ticks: u64, packet: &[u8]) -> Vec<u8> {
    let (high, low, length) = ((ticks >> 32) as u32, ticks as u32, packet.len() as u32);
    let head = [interface, high, low, length, length].map(order).concat();
    block(order, 6, &[head, packet.to_vec()].concat())
}

#[test]
fn pcapng_is_read_in_both_byte_orders_with_every_kind_of_packet_and_clock() {
    let frame = udp(OPTIONS);
    let raw = ip(&frame);
    for order in [u32::to_le_bytes as Order, u32::to_be_bytes] {
        let is_little = order(1)[0] == 1;
        let hundred = if is_little { 100i64.to_le_bytes() } else { 100i64.to_be_bytes() };
        let simple = [&order(frame.len() as u32)[..], &frame[..81]].concat();
        let old = [&short(order, 0)[..], &[0, 0], &[0, 5, 99, 99].map(order).concat(), &frame].concat();
        let mut old = old;
        old[12..16].copy_from_slice(&order(frame.len() as u32));
        let file = [
            section(order),
            interface(order, 1, 81, &[]),
            interface(order, 101, 0, &[option(order, 9, &[9]), option(order, 14, &hundred), option(order, 0, &[])]),
            interface(order, 101, 0, &[option(order, 9, &[0x80 | 10])]),
            enhanced(order, 0, 0x5_0000_0001, &frame),
            enhanced(order, 1, 7_000_001_999, &raw),
            enhanced(order, 2, 3 * 1024 + 512, &raw),
            block(order, 3, &simple),
            block(order, 2, &old),
            block(order, 0x0bad, &[1, 2, 3]),
            enhanced(order, 9, 0, &raw),
        ]
        .concat();
        let (all, counts) = read([&file[..], &file].concat());
        let times: Vec<i64> = all.iter().map(|m| m.time_us).collect();
        let of_section = [0x5_0000_0001, 107_000_001, 3_500_000, 3_500_000, 5];
        assert_eq!(times, [of_section, of_section].concat());
        assert_eq!((counts.damaged_blocks, counts.cut_short, counts.packets), (2, 2, 10));
        assert!(!counts.is_broken && !counts.is_cut_off);
    }
}

#[test]
fn a_pcapng_block_that_is_too_long_or_shorter_than_itself_costs_what_it_must() {
    let order: Order = u32::to_le_bytes;
    let raw = ip(&udp(OPTIONS));
    let start = [section(order), interface(order, 101, 0, &[]), enhanced(order, 0, 1, &raw)].concat();
    let custom = block(order, 0x0bad, &vec![7; 3 << 20]);
    let huge = enhanced(order, 0, 1, &vec![0; 2 << 20]);
    let (all, counts) = read([&start[..], &custom, &huge, &enhanced(order, 0, 1, &raw)].concat());
    assert_eq!((all.len(), counts.damaged_blocks, counts.is_broken), (2, 1, false));
    let (all, counts) = read([&start[..], &[6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]].concat());
    assert_eq!((all.len(), counts.is_broken), (1, true));
    assert!(counts.to_string().ends_with("; the file is damaged after packet 1, and nothing was read from there on"));
    let (all, counts) = read(start[..start.len() - 1].to_vec());
    assert_eq!((all.len(), counts.is_cut_off), (0, true));
}

/// Frames as if each came on a connection of its own.
fn from_port(port: u16, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame
}

#[test]
fn streams_are_bounded_in_number_and_in_bytes_and_those_that_were_silent_longest_go() {
    let mut streams = Streams::default();
    let mut outlet = Outlet::default();
    let segment = |payload| Segment { time_us: 0, sequence: 0, is_syn: false, is_last: false, payload, missing: 0 };
    let address = |n: u32| SocketAddr::new(IpAddr::from(n.to_be_bytes()), 5060);
    for n in 0..CAPTURE_STREAMS_MAX as u32 + 1000 {
        let way = Way { source: address(n), destination: address(0) };
        streams.take(way, &segment(&OPTIONS[..20]), &mut outlet);
        assert!(streams.n_open() <= CAPTURE_STREAMS_MAX);
    }
    assert!(streams.n_open() > CAPTURE_STREAMS_MAX / 2);
    let begun = [&b"INVITE sip:a SIP/2.0\r\nX: "[..], &[b'x'; 60_000]].concat();
    for n in 0..3000 {
        let way = Way { source: address(n), destination: address(1) };
        streams.take(way, &segment(&begun), &mut outlet);
        assert!(streams.held_bytes() <= CAPTURE_STREAMS_BYTES_MAX + 2 * begun.len());
    }
    assert_eq!(outlet.counts.sip, 0);
}

#[test]
fn a_stream_has_the_same_messages_however_it_is_cut_into_segments() {
    let long = [&b"INVITE sip:a SIP/2.0\r\nContent-Length: 3000\r\n\r\n"[..], &[b'x'; 3000]].concat();
    let stream = [OPTIONS, INVITE, b"\r\n\r\n", &long, OK, b"\r\n", INVITE].concat();
    for size in [1, 2, 3, 7, 100, 1400] {
        let mut frames = vec![(0, tcp(u32::MAX - 9, "s", b""))];
        let sequence = |i: usize| (u32::MAX - 8).wrapping_add((i * size) as u32);
        frames.extend(stream.chunks(size).enumerate().map(|(i, part)| (0, tcp(sequence(i), "", part))));
        let expected = [OPTIONS, INVITE, &long, OK, INVITE].map(text);
        assert_eq!(payloads(timed_pcap(&frames)), expected, "segments of {size}");
        // Each two of them swapped.
        frames[1..].chunks_exact_mut(2).for_each(|two| two.swap(0, 1));
        assert_eq!(payloads(timed_pcap(&frames)), expected, "swapped segments of {size}");
    }
}

#[test]
fn a_longer_copy_from_before_the_beginning_of_a_joined_stream_adds_what_is_new() {
    let stream = [OPTIONS, OK].concat();
    let frames = [tcp(40, "", &stream[40..60]), tcp(39, "", b"\0"), tcp(0, "", &stream)];
    assert_eq!(payloads(pcap(&frames)), [text(OK)]);
}

#[test]
fn streams_do_not_mix() {
    let frames: Vec<Vec<u8>> = [0, 30]
        .into_iter()
        .flat_map(|at| {
            let part = |bytes: &'static [u8]| if at == 0 { &bytes[..30] } else { &bytes[30..] };
            [from_port(1, &tcp(at, "", part(OPTIONS))), from_port(2, &tcp(at, "", part(OK)))]
        })
        .collect();
    assert_eq!(payloads(pcap(&frames)), [text(OPTIONS), text(OK)]);
}

#[test]
fn what_is_no_sip_is_never_taken_for_it_however_it_comes() {
    let tls = tcp(1, "s", b"");
    let hello = tcp(2, "", b"\x16\x03\x01\x02\x00\x01\x00");
    let later = tcp(9, "", OPTIONS);
    let http = from_port(80, &tcp(1, "", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let (all, counts) = read(pcap(&[tls, hello, later, http, udp(b"GET / HTTP/1.1\r\n\r\n"), udp(b"INVITE")]));
    assert!(all.is_empty());
    assert_eq!(counts.other, 5);
}

#[test]
fn damage_at_any_place_of_the_corpus_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/pcap");
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for at in 0..bytes.len() {
            property::what_comes_out_is_hep(&bytes[..at]);
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                property::what_comes_out_is_hep(&damaged);
            }
        }
    }
}

/// What others read in a capture, each message once.
fn expected(path: &Path) -> Vec<Message> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        assert!(line["payload_b64"].is_null(), "{}", path.display());
        Message {
            time_us: (line["ts"].as_f64().unwrap() * 1e6).round() as i64,
            source: format!("{} {}", word("src"), line["sport"]),
            destination: format!("{} {}", word("dst"), line["dport"]),
            ip_protocol: if word("transport") == "TCP" { 6 } else { 17 },
            payload: word("payload").into_bytes(),
        }
    };
    std::fs::read_to_string(path).unwrap().lines().map(line).collect()
}

/// What was sent in several packets has the time of the last here, and of the first there, where of a datagram in
/// fragments there is the first one only.
fn is_alike(ours: &Message, theirs: &Message, in_parts: bool) -> bool {
    if in_parts && ours != theirs {
        let body = ours.payload.windows(4).position(|w| w == b"\r\n\r\n").map_or(&[][..], |at| &ours.payload[at + 4..]);
        let told = text(&ours.payload).lines().find_map(|l| l.strip_prefix("Content-Length:")?.trim().parse().ok());
        assert_eq!(Some(body.len()), told);
        let begun = Message { payload: ours.payload[..theirs.payload.len()].to_vec(), ..ours.clone() };
        return (0..1000).contains(&(ours.time_us - theirs.time_us))
            && Message { time_us: theirs.time_us, ..begun } == *theirs;
    }
    ours == theirs
}

#[test]
fn captures_give_exactly_the_messages_that_others_read_in_them() {
    let Some(folder) = shared("sip/pcap") else { return };
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let theirs = expected(&path.with_file_name(format!("../captures/{name}.sip.jsonl")));
        let (ours, counts) = read(std::fs::read(&path).unwrap());
        assert_eq!(ours.len(), theirs.len(), "{name}: {counts}");
        let in_parts = ["sngrep_ipv6frag", "sv_tcp_method"].contains(&name.as_str());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(is_alike(ours, theirs, in_parts), "{name}: {}", text(&ours.payload));
        }
        let clean =
            CaptureCounts { packets: counts.packets, sip: counts.sip, other: counts.other, ..CaptureCounts::default() };
        assert_eq!(counts, clean, "{name}");
        n_files += 1;
    }
    assert!(n_files >= 16, "{n_files}");
}
