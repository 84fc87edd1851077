//! A packet written as HEPv3, the one form that captures and datagrams are decoded from.

use std::net::IpAddr;

use super::chunk::types;
use super::{Packet, Payload};

/// Families as agents on Linux write them.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Appends the packet. `false`, and nothing appended, where HEP cannot say it: past the 65,535 octets of its length
/// field, or at a time before 1970 or after 2106.
#[must_use]
pub(crate) fn encode(packet: &Packet<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = write(packet, out, start);
    if written.is_none() {
        out.truncate(start);
    }
    written.is_some()
}

fn write(packet: &Packet<'_>, out: &mut Vec<u8>, start: usize) -> Option<()> {
    out.extend_from_slice(b"HEP3\0\0");
    let family = match packet.source.or(packet.destination) {
        Some(IpAddr::V6(_)) => AF_INET6,
        _ => AF_INET,
    };
    chunk(out, types::FAMILY, &[family])?;
    chunk(out, types::IP_PROTOCOL, &[packet.ip_protocol])?;
    address(out, packet.source, types::SOURCE_V4, types::SOURCE_V6)?;
    address(out, packet.destination, types::DESTINATION_V4, types::DESTINATION_V6)?;
    chunk(out, types::SOURCE_PORT, &packet.source_port.to_be_bytes())?;
    chunk(out, types::DESTINATION_PORT, &packet.destination_port.to_be_bytes())?;
    if let Some(time_us) = packet.time_us {
        let seconds = u32::try_from(time_us.div_euclid(1_000_000)).ok()?;
        let microseconds = time_us.rem_euclid(1_000_000) as u32;
        chunk(out, types::SECONDS, &seconds.to_be_bytes())?;
        chunk(out, types::MICROSECONDS, &microseconds.to_be_bytes())?;
    }
    chunk(out, types::PROTOCOL, &[packet.protocol])?;
    chunk(out, types::CAPTURE_ID, &packet.capture_id.to_be_bytes())?;
    if !packet.node_name.is_empty() {
        chunk(out, types::NODE_NAME, packet.node_name)?;
    }
    if let Some(auth_key) = packet.auth_key {
        chunk(out, types::AUTH_KEY, auth_key)?;
    }
    if !packet.correlation_id.is_empty() {
        chunk(out, types::CORRELATION_ID, packet.correlation_id)?;
    }
    match packet.payload {
        Payload::None => {}
        Payload::Plain(payload) => chunk(out, types::PAYLOAD, payload)?,
        Payload::Compressed(payload) => chunk(out, types::COMPRESSED, payload)?,
    }
    let length = u16::try_from(out.len() - start).ok()?;
    out.get_mut(start + 4..start + 6)?.copy_from_slice(&length.to_be_bytes());
    Some(())
}

fn address(out: &mut Vec<u8>, address: Option<IpAddr>, v4: u16, v6: u16) -> Option<()> {
    match address {
        Some(IpAddr::V4(address)) => chunk(out, v4, &address.octets()),
        Some(IpAddr::V6(address)) => chunk(out, v6, &address.octets()),
        None => Some(()),
    }
}

fn chunk(out: &mut Vec<u8>, kind: u16, content: &[u8]) -> Option<()> {
    let length = u16::try_from(content.len() + 6).ok()?;
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(content);
    Some(())
}
