//! Where the messages of a capture leave it: as packets of HEPv3, counted.

use std::fmt;
use std::net::SocketAddr;

use super::messages::{head_of, whole_lines};
use crate::ingest::hep::{self, Framed, Packet, Payload};
use crate::limits::SIP_MESSAGE_BYTES_MAX;

/// What a capture held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    pub packets: u64,
    /// SIP messages, over UDP or TCP.
    pub sip: u64,
    /// Packets of HEP, which hold a message each, mostly of SIP.
    pub hep: u64,
    /// Packets with something else, or in something else than IP.
    pub other: u64,
    /// SIP messages of which the capture left the end out.
    pub cut_short: u64,
    /// SIP messages longer than any that is read.
    pub too_long: u64,
    /// Fragments whose datagram never became whole.
    pub fragments_dropped: u64,
    /// Places in TCP streams of messages where segments are missing.
    pub tcp_gaps: u64,
    /// Blocks of the file that contradict themselves.
    pub damaged_blocks: u64,
    /// The file ends inside a packet.
    pub is_cut_off: bool,
    /// From some place on nothing says where the next packet begins.
    pub is_broken: bool,
}

impl fmt::Display for CaptureCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} packets: {} SIP messages, {} HEP packets, {} other",
            self.packets, self.sip, self.hep, self.other
        )?;
        for (n, what) in [
            (self.cut_short, "messages cut short"),
            (self.too_long, "messages too long"),
            (self.fragments_dropped, "fragments without the rest"),
            (self.tcp_gaps, "gaps in TCP streams"),
            (self.damaged_blocks, "damaged blocks"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        if self.is_cut_off {
            f.write_str("; the file ends inside a packet")?;
        }
        if self.is_broken {
            write!(f, "; the file is damaged after packet {}, and nothing was read from there on", self.packets)?;
        }
        Ok(())
    }
}

/// What a packet's headers say of its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub time_us: i64,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub ip_protocol: u8,
}

/// Packets that are ready, and the counts.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    pub packets: Vec<u8>,
    pub counts: CaptureCounts,
}

impl Outlet {
    /// One SIP message. Where it fills more than a packet of HEP its body stays behind, which nobody reads.
    pub(super) fn sip(&mut self, envelope: &Envelope, message: &[u8]) {
        let fits = message.len() <= SIP_MESSAGE_BYTES_MAX
            && (self.write(envelope, message) || self.write(envelope, head_of(message)));
        if fits {
            self.counts.sip += 1;
        } else {
            self.counts.too_long += 1;
        }
    }

    /// One SIP message whose end was not captured.
    pub(super) fn cut_sip(&mut self, envelope: &Envelope, begun: &[u8]) {
        self.counts.cut_short += 1;
        self.sip(envelope, whole_lines(begun));
    }

    /// A packet of HEP, of any version, of which `missing` bytes were not captured.
    pub(super) fn hep(&mut self, packet: &[u8], missing: usize) {
        if missing == 0 && hep::first_packet(packet) == Framed::Whole(packet.len()) {
            self.packets.extend_from_slice(packet);
            self.counts.hep += 1;
            return;
        }
        match hep::parse_datagram(packet) {
            Ok(packet) if hep::encode(&packet, &mut self.packets) => self.counts.hep += 1,
            _ => self.counts.other += 1,
        }
    }

    fn write(&mut self, envelope: &Envelope, message: &[u8]) -> bool {
        let packet = Packet {
            // HEP tells times from 1970 to 2106.
            time_us: Some(envelope.time_us.clamp(0, i64::from(u32::MAX) * 1_000_000)),
            source: Some(envelope.source.ip()),
            destination: Some(envelope.destination.ip()),
            source_port: envelope.source.port(),
            destination_port: envelope.destination.port(),
            ip_protocol: envelope.ip_protocol,
            protocol: hep::SIP,
            payload: Payload::Plain(message),
            ..Packet::default()
        };
        hep::encode(&packet, &mut self.packets)
    }
}
