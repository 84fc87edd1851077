//! The chunks of a version 3 packet. A type is looked at only under the generic vendor: the same number of another
//! vendor is another thing, and is skipped by its length as unknown types are.

use std::net::{IpAddr, Ipv6Addr};

use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::be_u16;

use super::{Fault, Magic, Packet, Payload};

/// Octets before a chunk's content, part of its length.
const CHUNK_HEADER_BYTES: usize = 6;

const GENERIC: u16 = 0;

/// Chunk types of the generic vendor that are read.
pub(super) mod types {
    pub(crate) const FAMILY: u16 = 0x01;
    pub(crate) const IP_PROTOCOL: u16 = 0x02;
    pub(crate) const SOURCE_V4: u16 = 0x03;
    pub(crate) const DESTINATION_V4: u16 = 0x04;
    pub(crate) const SOURCE_V6: u16 = 0x05;
    pub(crate) const DESTINATION_V6: u16 = 0x06;
    pub(crate) const SOURCE_PORT: u16 = 0x07;
    pub(crate) const DESTINATION_PORT: u16 = 0x08;
    pub(crate) const SECONDS: u16 = 0x09;
    pub(crate) const MICROSECONDS: u16 = 0x0a;
    pub(crate) const PROTOCOL: u16 = 0x0b;
    pub(crate) const CAPTURE_ID: u16 = 0x0c;
    pub(crate) const AUTH_KEY: u16 = 0x0e;
    pub(crate) const PAYLOAD: u16 = 0x0f;
    pub(crate) const COMPRESSED: u16 = 0x10;
    pub(crate) const CORRELATION_ID: u16 = 0x11;
    pub(crate) const NODE_NAME: u16 = 0x13;
}

/// The first chunk of each type. Whoever passes a packet on adds to its end, so that what comes first is what the
/// agent next to the wire wrote.
#[derive(Default)]
struct Seen<'a> {
    seconds: Option<u32>,
    microseconds: Option<u32>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    ip_protocol: Option<u8>,
    protocol: Option<u8>,
    capture_id: Option<u32>,
    node_name: Option<&'a [u8]>,
    auth_key: Option<&'a [u8]>,
    correlation_id: Option<&'a [u8]>,
    plain: Option<&'a [u8]>,
    compressed: Option<&'a [u8]>,
}

/// Chunks up to the last octet. Where `may_be_cut`, the packet said it was longer than what came: one that ends in its
/// payload, as captures with a snap length do, still has lines worth reading.
pub(super) fn parse(magic: Magic, mut chunks: &[u8], may_be_cut: bool) -> Result<Packet<'_>, Fault> {
    let mut seen = Seen::default();
    while !chunks.is_empty() {
        match chunk(chunks) {
            Ok((rest, (vendor, kind, content))) => {
                if vendor == GENERIC {
                    seen.take(magic, kind, content)?;
                }
                chunks = rest;
            }
            Err(_) => {
                let begun = if may_be_cut { cut_payload(chunks) } else { None };
                seen.plain.get_or_insert(begun.ok_or(Fault::Chunk)?);
                break;
            }
        }
    }
    Ok(seen.packet())
}

/// What came of a payload chunk that goes on past the end.
fn cut_payload(chunks: &[u8]) -> Option<&[u8]> {
    let (begun, (vendor, kind, length)) = chunk_header(chunks).ok()?;
    let is_payload = (vendor, kind) == (GENERIC, types::PAYLOAD) && length > CHUNK_HEADER_BYTES + begun.len();
    (is_payload && !begun.is_empty()).then(|| whole_lines(begun))
}

/// What can be read of a message that was cut: all of it where the cut is in the body, else no half header line,
/// since half a number is another number.
fn whole_lines(message: &[u8]) -> &[u8] {
    let has_head =
        memchr::memmem::find(message, b"\n\r\n").is_some() || memchr::memmem::find(message, b"\n\n").is_some();
    match memchr::memrchr(b'\n', message) {
        Some(newline) if !has_head => message.get(..=newline).unwrap_or(message),
        _ => message,
    }
}

type Parsed<'a, T> = Result<(&'a [u8], T), nom::Err<()>>;

/// Vendor, type and length, which includes these octets.
#[inline]
fn chunk_header(chunks: &[u8]) -> Parsed<'_, (u16, u16, usize)> {
    (be_u16, be_u16, be_u16.map(usize::from)).parse(chunks)
}

/// Vendor, type and content.
#[inline]
fn chunk(chunks: &[u8]) -> Parsed<'_, (u16, u16, &[u8])> {
    let (rest, (vendor, kind, length)) = chunk_header(chunks)?;
    let length = length.checked_sub(CHUNK_HEADER_BYTES).ok_or(nom::Err::Error(()))?;
    let (rest, content) = take(length).parse(rest)?;
    Ok((rest, (vendor, kind, content)))
}

impl<'a> Seen<'a> {
    #[inline]
    fn take(&mut self, magic: Magic, kind: u16, content: &'a [u8]) -> Result<(), Fault> {
        match kind {
            types::IP_PROTOCOL => keep(&mut self.ip_protocol, fixed(content).map(u8::from_be_bytes)),
            types::SOURCE_V4 | types::SOURCE_V6 => keep(&mut self.source, address(content)),
            types::DESTINATION_V4 | types::DESTINATION_V6 => keep(&mut self.destination, address(content)),
            types::SOURCE_PORT => keep(&mut self.source_port, fixed(content).map(u16::from_be_bytes)),
            types::DESTINATION_PORT => keep(&mut self.destination_port, fixed(content).map(u16::from_be_bytes)),
            types::SECONDS => keep(&mut self.seconds, fixed(content).map(u32::from_be_bytes)),
            types::MICROSECONDS => keep(&mut self.microseconds, fixed(content).map(u32::from_be_bytes)),
            types::PROTOCOL => keep(&mut self.protocol, fixed(content).map(u8::from_be_bytes)),
            types::CAPTURE_ID => keep(&mut self.capture_id, fixed(content).map(u32::from_be_bytes)),
            types::AUTH_KEY => keep(&mut self.auth_key, Ok(content)),
            types::PAYLOAD => keep(&mut self.plain, Ok(content)),
            types::NODE_NAME => keep(&mut self.node_name, Ok(content)),
            // A number in the EEP draft.
            types::COMPRESSED if magic == Magic::Three => keep(&mut self.compressed, Ok(content)),
            types::CORRELATION_ID if magic == Magic::Three => keep(&mut self.correlation_id, Ok(content)),
            _ => Ok(()),
        }
    }

    fn packet(self) -> Packet<'a> {
        let microseconds = i64::from(self.microseconds.unwrap_or(0));
        Packet {
            time_us: self.seconds.map(|seconds| i64::from(seconds) * 1_000_000 + microseconds),
            source: self.source,
            destination: self.destination,
            source_port: self.source_port.unwrap_or(0),
            destination_port: self.destination_port.unwrap_or(0),
            ip_protocol: self.ip_protocol.unwrap_or(0),
            protocol: self.protocol.unwrap_or(0),
            capture_id: self.capture_id.unwrap_or(0),
            node_name: self.node_name.unwrap_or(&[]),
            auth_key: self.auth_key,
            correlation_id: self.correlation_id.unwrap_or(&[]),
            // Both are the same message, and agents are seen that leave one of them empty.
            payload: match (self.plain, self.compressed) {
                (Some(plain), None) => Payload::Plain(plain),
                (Some(plain), Some(_)) if !plain.is_empty() => Payload::Plain(plain),
                (_, Some(compressed)) => Payload::Compressed(compressed),
                (None, None) => Payload::None,
            },
        }
    }
}

/// A later chunk of the same type has its size checked and is not kept.
#[inline]
fn keep<T>(place: &mut Option<T>, value: Result<T, Fault>) -> Result<(), Fault> {
    let value = value?;
    place.get_or_insert(value);
    Ok(())
}

#[inline]
fn fixed<const N: usize>(content: &[u8]) -> Result<[u8; N], Fault> {
    content.try_into().map_err(|_| Fault::ChunkSize)
}

/// Agents write IPv4 addresses of sockets that speak both as 16 octets, also into chunks meant for 4.
fn address(content: &[u8]) -> Result<IpAddr, Fault> {
    match content.len() {
        4 => fixed::<4>(content).map(IpAddr::from),
        _ => fixed::<16>(content).map(|octets| Ipv6Addr::from(octets).to_canonical()),
    }
}
