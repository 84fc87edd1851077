//! HEP versions 1 and 2: one fixed header before the payload, which is always SIP. They have no magic, so whatever
//! their header says of itself must agree.
//!
//! The layout was a C structure, sent as it lay in memory: times and the agent's id have the byte order of the
//! agent's machine, and two octets of padding follow them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Fault, Packet, Payload, SIP};

/// Version, length, family, protocol and ports.
const PORTS_BYTES: usize = 8;

/// Seconds, microseconds and the agent's id of version 2, and the padding of the structure they are.
const TIME_BYTES: usize = 10;
const PADDING_BYTES: usize = 2;

/// 2000 to 2100: read in the wrong order, a time of these years is hardly ever one of these years.
const SECONDS: std::ops::Range<u32> = 946_684_800..4_102_444_800;

pub(super) fn parse(datagram: &[u8]) -> Result<Packet<'_>, Fault> {
    let (ports, rest) = datagram.split_first_chunk::<PORTS_BYTES>().ok_or(Fault::NotHep)?;
    let [version @ 1..=2, length, family, ip_protocol, s0, s1, d0, d1] = *ports else { return Err(Fault::NotHep) };
    let (source, destination, rest) = addresses(family, rest).ok_or(Fault::NotHep)?;
    if !is_transport(ip_protocol) {
        return Err(Fault::NotHep);
    }
    // The length counts the addresses; agents are not at one whether it counts the time.
    let base = datagram.len() - rest.len();
    let beyond = usize::from(length).checked_sub(base).ok_or(Fault::Length)?;
    let mut packet = Packet {
        source: Some(source),
        destination: Some(destination),
        source_port: u16::from_be_bytes([s0, s1]),
        destination_port: u16::from_be_bytes([d0, d1]),
        ip_protocol,
        protocol: SIP,
        ..Packet::default()
    };
    let payload = match (version, beyond) {
        (1, 0) => rest,
        (2, 0 | TIME_BYTES | 12) => {
            let (time, after) = rest.split_first_chunk().ok_or(Fault::Length)?;
            (packet.time_us, packet.capture_id) = time_and_agent(time);
            match after {
                // What is not padded goes on with the first word of a message.
                [b'A'..=b'Z', b'A'..=b'Z', ..] => after,
                _ if beyond == TIME_BYTES => after,
                _ => after.get(PADDING_BYTES..).unwrap_or(&[]),
            }
        }
        _ => return Err(Fault::Length),
    };
    packet.payload = Payload::Plain(payload);
    Ok(packet)
}

/// The addresses, and what follows them. IPv6 has another family number on each kind of system.
fn addresses(family: u8, rest: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    match family {
        2 => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let (destination, rest) = rest.split_first_chunk::<4>()?;
            Some((Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), rest))
        }
        10 | 23 | 24 | 26 | 28 | 30 => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            let plain = |octets: [u8; 16]| Ipv6Addr::from(octets).to_canonical();
            Some((plain(*source), plain(*destination), rest))
        }
        _ => None,
    }
}

/// TCP, UDP and SCTP, and the numbers that Kamailio writes for TLS and WebSocket.
fn is_transport(ip_protocol: u8) -> bool {
    matches!(ip_protocol, 6 | 17 | 132 | 22 | 50)
}

/// Read in the order in which the time makes sense; little-endian where both do.
fn time_and_agent(octets: &[u8; TIME_BYTES]) -> (Option<i64>, u32) {
    let [s0, s1, s2, s3, u0, u1, u2, u3, a0, a1] = *octets;
    let (seconds, microseconds) = ([s0, s1, s2, s3], [u0, u1, u2, u3]);
    let makes_sense = |seconds, microseconds| SECONDS.contains(&seconds) && microseconds < 1_000_000;
    let little = (u32::from_le_bytes(seconds), u32::from_le_bytes(microseconds), u16::from_le_bytes([a0, a1]));
    let big = (u32::from_be_bytes(seconds), u32::from_be_bytes(microseconds), u16::from_be_bytes([a0, a1]));
    let use_big = makes_sense(big.0, big.1) && !makes_sense(little.0, little.1);
    let (seconds, microseconds, agent) = if use_big { big } else { little };
    (Some(i64::from(seconds) * 1_000_000 + i64::from(microseconds)), u32::from(agent))
}
