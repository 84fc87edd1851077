//! What carries an IP packet: link layers and tunnels. Finds where the IP packet begins; total on any bytes.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};

/// VLAN tags, MPLS labels and the like within each other, on one packet.
const TAGS_MAX: usize = 8;

/// IPv6 extension headers of one packet.
const EXTENSIONS_MAX: usize = 16;

pub(super) mod protocol {
    //! IP protocol numbers, as IANA assigns them.
    pub(in super::super) const IPV4: u8 = 4;
    pub(in super::super) const TCP: u8 = 6;
    pub(in super::super) const UDP: u8 = 17;
    pub(in super::super) const IPV6: u8 = 41;
    pub(in super::super) const GRE: u8 = 47;
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// The IP packet of a captured frame; `link` as registered for `LINKTYPE_`.
pub(super) fn ip_of(link: u16, frame: &[u8]) -> Option<&[u8]> {
    match link {
        // BSD loopback: an address family in some byte order, and the version says it anyway.
        0 | 108 => frame.get(4..),
        1 => ethernet(frame),
        // Raw IP: as registered, and as some systems number it.
        12 | 14 | 101 | 228 | 229 => Some(frame),
        // Linux "any": protocol and addresses of the device.
        113 => under(ether_type(frame, 14)?, frame.get(16..)?),
        276 => under(ether_type(frame, 0)?, frame.get(20..)?),
        _ => None,
    }
}

/// The IP packet of an Ethernet frame.
pub(super) fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    under(ether_type(frame, 12)?, frame.get(14..)?)
}

fn ether_type(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The IP packet under tags.
fn under(mut kind: u16, mut bytes: &[u8]) -> Option<&[u8]> {
    for _ in 0..TAGS_MAX {
        match kind {
            0x0800 | 0x86dd => return Some(bytes),
            // VLAN, in all spellings.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                kind = ether_type(bytes, 2)?;
                bytes = bytes.get(4..)?;
            }
            // MPLS: the last label has a bit set, and IP is told by its version.
            0x8847 | 0x8848 => {
                if bytes.get(2)? & 1 == 1 {
                    kind = 0x0800;
                }
                bytes = bytes.get(4..)?;
            }
            // PPPoE.
            0x8864 => {
                if !matches!(ether_type(bytes, 6)?, 0x0021 | 0x0057) {
                    return None;
                }
                return bytes.get(8..);
            }
            _ => return None,
        }
    }
    None
}

/// The IP packet in a GRE tunnel, which may carry Ethernet: switches mirror so.
pub(super) fn gre(bytes: &[u8]) -> Option<&[u8]> {
    let flags = ether_type(bytes, 0)?;
    let (has_checksum, has_key, has_sequence) = (flags & 0x8000 != 0, flags & 0x2000 != 0, flags & 0x1000 != 0);
    // Version 0, and no source routes, which nobody sends.
    if flags & 0x4007 != 0 {
        return None;
    }
    let options = 4 * (usize::from(has_checksum) + usize::from(has_key) + usize::from(has_sequence));
    let carried = bytes.get(4 + options..)?;
    match ether_type(bytes, 2)? {
        0x6558 => ethernet(carried),
        // ERSPAN: a header of its own where there is a sequence number.
        0x88be => ethernet(if has_sequence { carried.get(8..)? } else { carried }),
        kind => under(kind, carried),
    }
}

/// The IP packet in a VXLAN datagram: clouds mirror so.
pub(super) fn vxlan(bytes: &[u8]) -> Option<&[u8]> {
    ethernet(bytes.get(8..).filter(|_| bytes.first() == Some(&0x08))?)
}

/// An IP packet's head, and what it carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub payload: &'a [u8],
    /// Bytes of the payload that were sent and not captured.
    pub missing: usize,
    pub fragment: Option<Fragment>,
}

/// Which part of a datagram a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub identification: u32,
    pub offset: usize,
    pub has_more: bool,
}

impl<'a> Ip<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Ip<'a>> {
        match bytes.first()? >> 4 {
            4 => Ip::parse_v4(bytes),
            6 => Ip::parse_v6(bytes),
            _ => None,
        }
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Ip<'a>> {
        let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
        let rest = bytes.get(header.slice().len()..)?;
        // A length of 0 is what the sending host captures when its network card does the cutting.
        let told = usize::from(header.total_len()).checked_sub(header.slice().len()).unwrap_or(rest.len());
        let fragment = Fragment {
            identification: u32::from(header.identification()),
            offset: usize::from(header.fragments_offset().value()) * 8,
            has_more: header.more_fragments(),
        };
        let ip = Ip {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: header.protocol().0,
            payload: rest.get(..told).unwrap_or(rest),
            missing: told.saturating_sub(rest.len()),
            fragment: header.is_fragmenting_payload().then_some(fragment),
        };
        if ip.fragment.is_some() { Some(ip) } else { ip.past_extensions() }
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Ip<'a>> {
        let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
        let rest = bytes.get(header.slice().len()..)?;
        let told = Some(usize::from(header.payload_length())).filter(|n| *n > 0).unwrap_or(rest.len());
        let ip = Ip {
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: header.next_header().0,
            payload: rest.get(..told).unwrap_or(rest),
            missing: told.saturating_sub(rest.len()),
            fragment: None,
        };
        ip.past_extensions()
    }

    /// The datagram that this packet was cut from, of which `missing` bytes at the end never came.
    pub(super) fn with_payload<'b>(&self, payload: &'b [u8], missing: usize) -> Option<Ip<'b>> {
        let Ip { source, destination, protocol, .. } = *self;
        Ip { source, destination, protocol, payload, missing, fragment: None }.past_extensions()
    }

    /// Up to what the packet is for, or to where it was cut into fragments.
    fn past_extensions(mut self) -> Option<Ip<'a>> {
        for _ in 0..EXTENSIONS_MAX {
            let units = |at: usize| self.payload.get(at).map(|n| usize::from(*n));
            let (length, is_fragment) = match self.protocol {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS if self.source.is_ipv6() => {
                    (8 * (units(1)? + 1), false)
                }
                protocol::FRAGMENT if self.source.is_ipv6() => (8, true),
                protocol::AUTHENTICATION => (4 * (units(1)? + 2), false),
                _ => return Some(self),
            };
            let head = self.payload;
            self.protocol = *head.first()?;
            self.payload = head.get(length..)?;
            if is_fragment {
                let header = Ipv6FragmentHeaderSlice::from_slice(head).ok()?;
                if header.is_fragmenting_payload() {
                    self.fragment = Some(Fragment {
                        identification: header.identification(),
                        offset: usize::from(header.fragment_offset().value()) * 8,
                        has_more: header.more_fragments(),
                    });
                    // What follows may be the middle of anything.
                    return Some(self);
                }
            }
        }
        None
    }
}
