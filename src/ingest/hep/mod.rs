//! HEP packets: what a capture agent saw on the wire, with who sent it to whom and when. Parsed, written, cut from
//! streams; version 3 whole, 1 and 2 as datagrams.
//!
//! Every feed of captured signalling is a stream of these: captures and datagrams are made version 3 before they are
//! decoded. What the payload says is not looked at here, and nothing is kept from one packet to the next.

mod chunk;
mod compressed;
mod encode;
mod old;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod property;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

pub(crate) use compressed::inflate;
pub(crate) use encode::encode;

use crate::event::Reject;

/// One captured message. Texts are as they came, in any encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// When the agent saw it, since the epoch; `None` where it does not say.
    pub(crate) time_us: Option<i64>,
    /// Of the captured packet, not of the agent. Never an IPv4 address in IPv6 clothes.
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: Option<IpAddr>,
    /// 0 where the agent does not say, as the other numbers are.
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// By IANA: 6 TCP, 17 UDP, 132 SCTP.
    pub(crate) ip_protocol: u8,
    /// What the payload is: [`SIP`], or something to be counted and skipped.
    pub(crate) protocol: u8,
    pub(crate) capture_id: u32,
    pub(crate) node_name: &'a [u8],
    /// Plain text, and empty from agents that were given none.
    pub(crate) auth_key: Option<&'a [u8]>,
    pub(crate) correlation_id: &'a [u8],
    pub(crate) payload: Payload<'a>,
}

/// The captured message itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    #[default]
    None,
    Plain(&'a [u8]),
    /// To be [`inflate`]d.
    Compressed(&'a [u8]),
}

/// The protocol type of SIP.
pub(crate) const SIP: u8 = 1;

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They begin like no version of HEP.
    NotHep,
    /// The length in the header is under the header's own, or not that of the packet.
    Length,
    /// A chunk's length is under that of its own header, or goes beyond the packet.
    Chunk,
    /// A chunk of a known type has not the size of its type.
    ChunkSize,
}

impl Fault {
    pub(crate) fn reject(self) -> Reject {
        match self {
            Fault::NotHep | Fault::Length | Fault::Chunk | Fault::ChunkSize => Reject::Malformed,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::NotHep => "hep: neither version 1, 2 nor 3",
            Fault::Length => "hep: the length in the header is not that of the packet",
            Fault::Chunk => "hep: a chunk goes beyond the packet, or is shorter than its own header",
            Fault::ChunkSize => "hep: a chunk of a known type has another size than its type",
        })
    }
}

/// What a stream of packets begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A packet of so many bytes.
    Whole(usize),
    Incomplete,
    /// No packet, nor the beginning of one: nothing tells where the next one starts.
    Broken,
}

/// Octets of version 3 before the first chunk.
const HEADER_BYTES: usize = 6;

/// One packet of version 3 that fills the slice.
pub(crate) fn parse(packet: &[u8]) -> Result<Packet<'_>, Fault> {
    let (magic, length) = header(packet)?;
    if length != packet.len() {
        return Err(Fault::Length);
    }
    chunk::parse(magic, packet.get(HEADER_BYTES..).unwrap_or(&[]), false)
}

/// One datagram of any version. What its header says of its length is a hint: agents are seen that write another
/// one (544 for 140 bytes that hold all their chunks), and the datagram has an end of its own.
pub(crate) fn parse_datagram(datagram: &[u8]) -> Result<Packet<'_>, Fault> {
    let Ok((magic, length)) = header(datagram) else {
        return match datagram.first_chunk() {
            Some(first) if Magic::of(first).is_some() => Err(Fault::Length),
            _ => old::parse(datagram),
        };
    };
    let chunks = datagram.get(HEADER_BYTES..).unwrap_or(&[]);
    if length > datagram.len() {
        return chunk::parse(magic, chunks, true);
    }
    let said = datagram.get(HEADER_BYTES..length).unwrap_or(chunks);
    match chunk::parse(magic, said, false) {
        Err(_) if said.len() < chunks.len() => chunk::parse(magic, chunks, false),
        parsed => parsed,
    }
}

/// How long the first packet of a stream is.
#[inline]
pub(crate) fn first_packet(stream: &[u8]) -> Framed {
    match header(stream) {
        Ok((_, length)) if length <= stream.len() => Framed::Whole(length),
        Ok(_) => Framed::Incomplete,
        Err(_) if stream.len() < HEADER_BYTES && Magic::may_begin(stream) => Framed::Incomplete,
        Err(_) => Framed::Broken,
    }
}

/// Of which draft a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    /// Revision 37 writes EEP3 as well.
    Three,
    /// The EEP draft, in which two of the chunk types mean something else.
    Eep1,
}

impl Magic {
    const ALL: [(&'static [u8; 4], Magic); 3] =
        [(b"HEP3", Magic::Three), (b"EEP3", Magic::Three), (b"EEP1", Magic::Eep1)];

    fn of(bytes: &[u8; 4]) -> Option<Magic> {
        Magic::ALL.iter().find(|(magic, _)| *magic == bytes).map(|(_, magic)| *magic)
    }

    fn may_begin(stream: &[u8]) -> bool {
        let begun = stream.get(..4).unwrap_or(stream);
        Magic::ALL.iter().any(|(magic, _)| magic.starts_with(begun))
    }
}

fn header(packet: &[u8]) -> Result<(Magic, usize), Fault> {
    let (magic, rest) = packet.split_first_chunk().ok_or(Fault::NotHep)?;
    let magic = Magic::of(magic).ok_or(Fault::NotHep)?;
    let length = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
    length.filter(|length| *length >= HEADER_BYTES).map(|length| (magic, length)).ok_or(Fault::Length)
}
