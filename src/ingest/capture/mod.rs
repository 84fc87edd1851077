//! Capture files become a stream of HEPv3 packets: SIP and HEP out of whatever else was captured.
//!
//! The path of a packet: [`mod@file`] says where it is, [`link`] finds IP in it, [`fragments`] and [`streams`] put
//! together what was cut, [`messages`] tells what is inside, and [`outlet`] writes it down. All of it in the order of
//! the file, bounded in memory, and the same each time. Never reads what a message says.

mod file;
mod fragments;
mod link;
mod messages;
mod outlet;
mod streams;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod property;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::net::SocketAddr;

use etherparse::{TcpSlice, UdpHeader, UdpSlice};

pub use outlet::CaptureCounts;

pub(crate) use file::is_capture;
#[cfg(test)]
pub(crate) use tests::sample;

use crate::limits::BLOCK_BYTES;
use file::Packets;
use fragments::{Datagram, Fragments};
use link::{Ip, protocol};
use outlet::{Envelope, Outlet};
use streams::{Segment, Streams, Way};

/// Tunnels within each other, on one packet.
const TUNNELS_MAX: usize = 4;

/// Where agents of HEP versions 1 and 2 send to, which have no magic.
const HEP_PORT: u16 = 9060;
const SIP_PORTS: std::ops::RangeInclusive<u16> = 5060..=5061;
const VXLAN_PORT: u16 = 4789;

/// One capture being read.
pub(crate) struct CaptureReader {
    packets: Packets,
    dissector: Dissector,
    /// Gives what it has at once: somebody may be watching the other end of the pipe.
    is_pipe: bool,
    ended: bool,
}

impl CaptureReader {
    /// Reads what begins as [`is_capture`] knows it.
    pub(crate) fn new(reader: Box<dyn Read + Send>, is_pipe: bool) -> io::Result<CaptureReader> {
        let packets = Packets::new(reader)?;
        Ok(CaptureReader { packets, dissector: Dissector::default(), is_pipe, ended: false })
    }

    /// Appends whole packets of HEPv3, about [`BLOCK_BYTES`] of them; `false` at the end.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        std::mem::swap(out, &mut self.dissector.outlet.packets);
        let filled = self.fill_outlet();
        std::mem::swap(out, &mut self.dissector.outlet.packets);
        filled.map(|()| !self.ended || !out.is_empty())
    }

    fn fill_outlet(&mut self) -> io::Result<()> {
        while !self.ended && self.dissector.outlet.packets.len() < BLOCK_BYTES {
            if self.is_pipe && self.packets.is_drained() && !self.dissector.outlet.packets.is_empty() {
                break;
            }
            if self.packets.advance()? {
                self.dissector.packet(self.packets.packet());
            } else {
                self.ended = true;
                self.dissector.finish();
            }
        }
        Ok(())
    }

    /// What it held, so far.
    pub(crate) fn counts(&self) -> CaptureCounts {
        let file::Damage { is_cut_off, is_broken, blocks } = self.packets.damage();
        CaptureCounts { damaged_blocks: blocks, is_cut_off, is_broken, ..self.dissector.outlet.counts }
    }
}

/// Takes packets apart, one after the other.
#[derive(Default)]
struct Dissector {
    fragments: Fragments,
    streams: Streams,
    outlet: Outlet,
    time_us: i64,
}

impl Dissector {
    fn packet(&mut self, packet: file::Packet<'_>) {
        self.time_us = packet.time_us;
        self.outlet.counts.packets += 1;
        while let Some(lost) = self.fragments.expire(packet.time_us) {
            self.lose(&lost);
        }
        match link::ip_of(packet.link, packet.bytes) {
            Some(bytes) => self.ip(bytes, 0),
            None => self.outlet.counts.other += 1,
        }
    }

    /// At the end of the file.
    fn finish(&mut self) {
        while let Some(lost) = self.fragments.finish() {
            self.lose(&lost);
        }
        self.streams.finish(&mut self.outlet);
        self.outlet.counts.fragments_dropped += std::mem::take(&mut self.fragments.n_refused);
    }

    fn ip(&mut self, bytes: &[u8], depth: usize) {
        let ip = Ip::parse(bytes).filter(|_| depth <= TUNNELS_MAX);
        let Some(ip) = ip else {
            self.outlet.counts.other += 1;
            return;
        };
        match ip.fragment {
            None => self.transport(&ip, self.time_us, depth),
            Some(fragment) => {
                if let Some(datagram) = self.fragments.add(self.time_us, &ip, fragment)
                    && let Some(whole) = datagram.ip()
                {
                    self.transport(&whole, self.time_us, depth);
                }
            }
        }
    }

    /// The beginning of a datagram may well be a message up to its body.
    fn lose(&mut self, lost: &Datagram) {
        self.outlet.counts.fragments_dropped += lost.n_fragments;
        if let Some(ip) = lost.ip().filter(|ip| !ip.payload.is_empty()) {
            let others = self.outlet.counts.other;
            self.transport(&ip, lost.time_us, TUNNELS_MAX);
            // Its fragments are counted.
            self.outlet.counts.other = others;
        }
    }

    fn transport(&mut self, ip: &Ip<'_>, time_us: i64, depth: usize) {
        let inner = match ip.protocol {
            protocol::UDP => return self.udp(ip, time_us, depth),
            protocol::TCP => return self.tcp(ip, time_us),
            protocol::IPV4 | protocol::IPV6 => Some(ip.payload),
            protocol::GRE => link::gre(ip.payload),
            _ => None,
        };
        match inner {
            Some(inner) => self.ip(inner, depth + 1),
            None => self.outlet.counts.other += 1,
        }
    }

    fn udp(&mut self, ip: &Ip<'_>, time_us: i64, depth: usize) {
        let Ok(udp) = UdpSlice::from_slice_lax(ip.payload) else {
            self.outlet.counts.other += 1;
            return;
        };
        let envelope = Envelope {
            time_us,
            source: SocketAddr::new(ip.source, udp.source_port()),
            destination: SocketAddr::new(ip.destination, udp.destination_port()),
            ip_protocol: protocol::UDP,
        };
        let told = Some(usize::from(udp.length())).filter(|told| *told >= UdpHeader::LEN);
        let missing = told.map_or(ip.missing, |told| told.saturating_sub(ip.payload.len()));
        let has_port = |port| udp.source_port() == port || udp.destination_port() == port;
        let is_sip_port = SIP_PORTS.contains(&udp.source_port()) || SIP_PORTS.contains(&udp.destination_port());
        let payload = udp.payload();
        if payload.get(1..3) == Some(b"EP") && matches!(payload.first(), Some(b'H' | b'E')) {
            self.outlet.hep(payload, missing);
        } else if let Some(message) = messages::sip_of(payload, is_sip_port) {
            if missing > 0 {
                self.outlet.cut_sip(&envelope, message);
            } else {
                self.outlet.sip(&envelope, message);
            }
        } else if has_port(HEP_PORT) && matches!(payload.first(), Some(1 | 2)) {
            self.outlet.hep(payload, missing);
        } else if let Some(inner) = Some(payload).filter(|_| has_port(VXLAN_PORT)).and_then(link::vxlan) {
            self.ip(inner, depth + 1);
        } else {
            self.outlet.counts.other += 1;
        }
    }

    fn tcp(&mut self, ip: &Ip<'_>, time_us: i64) {
        let Ok(tcp) = TcpSlice::from_slice(ip.payload) else {
            self.outlet.counts.other += 1;
            return;
        };
        let way = Way {
            source: SocketAddr::new(ip.source, tcp.source_port()),
            destination: SocketAddr::new(ip.destination, tcp.destination_port()),
        };
        let segment = Segment {
            time_us,
            sequence: tcp.sequence_number(),
            is_syn: tcp.syn(),
            is_last: tcp.fin() || tcp.rst(),
            payload: tcp.payload(),
            missing: ip.missing,
        };
        self.streams.take(way, &segment, &mut self.outlet);
    }
}
