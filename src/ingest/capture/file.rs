//! The two kinds of capture file, as packets in their order: pcap and pcapng.
//!
//! Owns where a packet begins and ends, its time and its link type; never looks into one.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use pcap_parser::pcapng::{
    InterfaceDescriptionBlock, OptionCode, parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le, parse_sectionheaderblock,
    parse_simplepacketblock_be, parse_simplepacketblock_le,
};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header};

use crate::limits::{BLOCK_BYTES, CAPTURE_INTERFACES_MAX, CAPTURE_RECORD_BYTES_MAX};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// Written by tools of before 2010 only.
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Length of a pcapng block without anything in it: type, length, length again.
const EMPTY_BLOCK_BYTES: usize = 12;

/// Whether a file that starts so is a capture.
pub(crate) fn is_capture(magic: [u8; 4]) -> bool {
    matches!(
        magic,
        [0xd4, 0xc3, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0xc3, 0xd4]
            | [0x4d, 0x3c, 0xb2, 0xa1]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0x34, 0xcd, 0xb2, 0xa1]
            | [0x0a, 0x0d, 0x0d, 0x0a]
    )
}

/// One captured packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Microseconds since 1970.
    pub time_us: i64,
    /// As registered for `LINKTYPE_`.
    pub link: u16,
    pub bytes: &'a [u8],
}

/// How far a capture could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// The file ends inside a packet.
    pub is_cut_off: bool,
    /// From some place on nothing says where the next packet begins.
    pub is_broken: bool,
    /// Blocks that contradict themselves, left out.
    pub blocks: u64,
}

/// The packets of one file.
pub(super) struct Packets {
    window: Window,
    container: Container,
    damage: Damage,
    /// Of the last packet; a simple packet block has no time of its own.
    time_us: i64,
    link: u16,
    current: Range<usize>,
}

enum Container {
    Pcap(Pcap),
    Pcapng(Section),
    /// What is left cannot be read.
    Ended,
}

#[derive(Clone, Copy)]
struct Pcap {
    is_big_endian: bool,
    is_nanoseconds: bool,
    /// Alexey Kuznetsov's patched libpcap: longer headers.
    is_modified: bool,
    link: u16,
}

impl Pcap {
    fn header_bytes(self) -> usize {
        if self.is_modified { 24 } else { 16 }
    }
}

#[derive(Default)]
struct Section {
    is_big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    /// 0: not told.
    snaplen: u32,
    /// Exponent of ten, or of two where the highest bit is set.
    resolution: u8,
    offset_s: i64,
}

impl Interface {
    /// Microseconds since 1970 of a time in this interface's units.
    fn time_us(self, high: u32, low: u32) -> i64 {
        let ticks = (u128::from(high) << 32) | u128::from(low);
        let us = match self.resolution {
            // No hardware counts in less than 10^-30 s; such an exponent is a mistake.
            exponent @ 0..=6 => ticks * 10u128.pow(6 - u32::from(exponent)),
            exponent @ 7..=36 => ticks / 10u128.pow(u32::from(exponent) - 6),
            37..=127 => 0,
            binary => (ticks * 1_000_000) >> (binary & 0x7f),
        };
        let us = i128::try_from(us).unwrap_or(i128::MAX);
        let us = us.saturating_add(i128::from(self.offset_s) * 1_000_000);
        i64::try_from(us).unwrap_or(if us < 0 { i64::MIN } else { i64::MAX })
    }
}

impl Packets {
    /// Reads the head of a file that [`is_capture`].
    pub(super) fn new(reader: Box<dyn Read + Send>) -> io::Result<Packets> {
        let mut window = Window::new(reader);
        window.need(24)?;
        let mut damage = Damage::default();
        let container = match parse_pcap_header(window.rest()) {
            _ if window.rest().starts_with(&SECTION_HEADER.to_be_bytes()) => Container::Pcapng(Section::default()),
            Ok((_, header)) => Container::Pcap(Pcap {
                is_big_endian: header.is_bigendian(),
                is_nanoseconds: header.is_nanosecond_precision(),
                is_modified: header.is_modified_format(),
                // The upper half tells of frame check sequences.
                link: (header.network.0 & 0xffff) as u16,
            }),
            Err(_) => {
                (damage.is_cut_off, damage.is_broken) = (window.ended, !window.ended);
                Container::Ended
            }
        };
        if let Container::Pcap(_) = container {
            window.take(24);
        }
        Ok(Packets { window, container, damage, time_us: 0, link: 0, current: 0..0 })
    }

    /// Goes on to the next packet; `false` at the end.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        match &self.container {
            Container::Pcap(pcap) => {
                let pcap = *pcap;
                self.advance_pcap(pcap)
            }
            Container::Pcapng(_) => self.advance_pcapng(),
            Container::Ended => Ok(false),
        }
    }

    /// The packet that [`Packets::advance`] came to.
    pub(super) fn packet(&self) -> Packet<'_> {
        let bytes = self.window.bytes.get(self.current.clone()).unwrap_or(&[]);
        Packet { time_us: self.time_us, link: self.link, bytes }
    }

    pub(super) fn damage(&self) -> Damage {
        self.damage
    }

    /// Whether the next packet needs another read, which may wait where the file is a pipe.
    pub(super) fn is_drained(&self) -> bool {
        self.window.rest().is_empty()
    }

    fn advance_pcap(&mut self, pcap: Pcap) -> io::Result<bool> {
        let header_bytes = pcap.header_bytes();
        if !self.window.need(header_bytes)? {
            return Ok(self.end(!self.window.rest().is_empty(), false));
        }
        let length = self.window.rest().get(8..12).and_then(|b| b.first_chunk().copied()).unwrap_or_default();
        let length = if pcap.is_big_endian { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) } as usize;
        if length > CAPTURE_RECORD_BYTES_MAX {
            return Ok(self.end(false, true));
        }
        if !self.window.need(header_bytes + length)? {
            return Ok(self.end(true, false));
        }
        let rest = self.window.rest().get(..header_bytes + length).unwrap_or(&[]);
        let frame = match pcap {
            Pcap { is_modified: true, .. } => parse_pcap_frame_modified(rest),
            Pcap { is_big_endian: true, .. } => parse_pcap_frame_be(rest),
            _ => parse_pcap_frame(rest),
        };
        let Ok((_, frame)) = frame else { return Ok(self.end(false, true)) };
        let fraction = i64::from(frame.ts_usec) / if pcap.is_nanoseconds { 1000 } else { 1 };
        self.time_us = i64::from(frame.ts_sec) * 1_000_000 + fraction;
        self.link = pcap.link;
        let record = self.window.take(header_bytes + length);
        self.current = record.start + header_bytes..record.end;
        Ok(true)
    }

    fn advance_pcapng(&mut self) -> io::Result<bool> {
        loop {
            if !self.window.need(EMPTY_BLOCK_BYTES)? {
                return Ok(self.end(!self.window.rest().is_empty(), false));
            }
            let Container::Pcapng(section) = &mut self.container else { return Ok(false) };
            let word = |rest: &[u8], at: usize, big: bool| {
                let bytes = rest.get(at..).and_then(|b| b.first_chunk().copied()).unwrap_or_default();
                if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
            };
            let mut kind = word(self.window.rest(), 0, section.is_big_endian);
            if kind == SECTION_HEADER {
                // Reads the same in either byte order; the order of the section stands behind the length.
                section.is_big_endian = word(self.window.rest(), 8, true) == 0x1a2b_3c4d;
                section.interfaces.clear();
            }
            let length = word(self.window.rest(), 4, section.is_big_endian) as usize;
            if length < EMPTY_BLOCK_BYTES {
                return Ok(self.end(false, true));
            }
            let is_read =
                [SECTION_HEADER, INTERFACE_DESCRIPTION, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET].contains(&kind);
            if is_read && length > CAPTURE_RECORD_BYTES_MAX {
                self.damage.blocks += 1;
                kind = 0;
            }
            if !is_read || kind == 0 {
                if !self.window.skip(length)? {
                    return Ok(self.end(true, false));
                }
                continue;
            }
            if !self.window.need(length)? {
                return Ok(self.end(true, false));
            }
            let block = self.window.rest().get(..length).unwrap_or(&[]);
            let found = section.read(kind, block, self.time_us);
            let record = self.window.take(length);
            match found {
                Some(Found::Packet { time_us, link, at }) => {
                    (self.time_us, self.link) = (time_us, link);
                    self.current = record.start + at.start..record.start + at.end;
                    return Ok(true);
                }
                Some(Found::Nothing) => {}
                None if kind == SECTION_HEADER => return Ok(self.end(false, true)),
                None => self.damage.blocks += 1,
            }
        }
    }

    /// Nothing more is read; always `false`.
    fn end(&mut self, is_cut_off: bool, is_broken: bool) -> bool {
        self.damage.is_cut_off |= is_cut_off;
        self.damage.is_broken |= is_broken;
        self.container = Container::Ended;
        false
    }
}

/// What a block of a section held.
enum Found {
    /// A packet, and where it stands in its block.
    Packet {
        time_us: i64,
        link: u16,
        at: Range<usize>,
    },
    Nothing,
}

impl Section {
    /// `None`: the block contradicts itself.
    fn read(&mut self, kind: u32, block: &[u8], last_us: i64) -> Option<Found> {
        match kind {
            SECTION_HEADER => parse_sectionheaderblock(block).ok().map(|_| Found::Nothing),
            INTERFACE_DESCRIPTION => {
                let parse = if self.is_big_endian {
                    parse_interfacedescriptionblock_be
                } else {
                    parse_interfacedescriptionblock_le
                };
                let (_, described) = parse(block).ok()?;
                let interface = self.interface(&described);
                (self.interfaces.len() < CAPTURE_INTERFACES_MAX).then(|| self.interfaces.push(interface))?;
                Some(Found::Nothing)
            }
            ENHANCED_PACKET => {
                let parse =
                    if self.is_big_endian { parse_enhancedpacketblock_be } else { parse_enhancedpacketblock_le };
                let (_, packet) = parse(block).ok()?;
                let interface = self.interfaces.get(packet.if_id as usize)?;
                let time_us = interface.time_us(packet.ts_high, packet.ts_low);
                Some(Found::Packet { time_us, link: interface.link, at: 28..28 + packet.packet_data().len() })
            }
            SIMPLE_PACKET => {
                let parse = if self.is_big_endian { parse_simplepacketblock_be } else { parse_simplepacketblock_le };
                let (_, packet) = parse(block).ok()?;
                let interface = self.interfaces.first()?;
                // Padding follows a packet that was cut; only the interface tells where.
                let cut = if interface.snaplen == 0 { usize::MAX } else { interface.snaplen as usize };
                let length = packet.packet_data().len().min(cut);
                Some(Found::Packet { time_us: last_us, link: interface.link, at: 12..12 + length })
            }
            _ => self.old_packet(block),
        }
    }

    fn interface(&self, described: &InterfaceDescriptionBlock<'_>) -> Interface {
        let offset = described.options.iter().find(|o| o.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|o| o.value().first_chunk().copied()).unwrap_or_default();
        Interface {
            link: (described.linktype.0 & 0xffff) as u16,
            snaplen: described.snaplen,
            resolution: described.if_tsresol,
            offset_s: if self.is_big_endian { i64::from_be_bytes(offset) } else { i64::from_le_bytes(offset) },
        }
    }

    fn old_packet(&self, block: &[u8]) -> Option<Found> {
        let bytes = |at: usize| block.get(at..)?.first_chunk::<4>().copied();
        let word = |at: usize| {
            bytes(at).map(|b| if self.is_big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
        };
        let [a, b, ..] = bytes(8)?;
        let interface = if self.is_big_endian { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) };
        let interface = self.interfaces.get(usize::from(interface))?;
        let length = word(20)? as usize;
        block.get(28..block.len().checked_sub(4)?)?.get(..length)?;
        let time_us = interface.time_us(word(12)?, word(16)?);
        Some(Found::Packet { time_us, link: interface.link, at: 28..28 + length })
    }
}

/// What is read of the file and not used up yet.
struct Window {
    reader: Box<dyn Read + Send>,
    /// As long as it ever was; what was read stands in `at..end`.
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
}

impl Window {
    fn new(reader: Box<dyn Read + Send>) -> Window {
        Window { reader, bytes: Vec::new(), at: 0, end: 0, ended: false }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..self.end).unwrap_or(&[])
    }

    /// Reads until there are `n` bytes; `false` where the file has fewer.
    fn need(&mut self, n: usize) -> io::Result<bool> {
        while self.end - self.at < n {
            if self.ended {
                return Ok(false);
            }
            if self.at > 0 {
                self.bytes.copy_within(self.at..self.end, 0);
                (self.at, self.end) = (0, self.end - self.at);
            }
            if self.bytes.len() < n || self.bytes.len() == self.end {
                self.bytes.resize(n + BLOCK_BYTES, 0);
            }
            let read = loop {
                match self.reader.read(self.bytes.get_mut(self.end..).unwrap_or(&mut [])) {
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            self.end += read;
            self.ended = read == 0;
        }
        Ok(true)
    }

    /// Uses up `n` bytes that are there, and says where they stand.
    fn take(&mut self, n: usize) -> Range<usize> {
        let start = self.at;
        self.at = (self.at + n).min(self.end);
        start..self.at
    }

    /// Passes over `n` bytes, however many; `false` where the file has fewer.
    fn skip(&mut self, mut n: usize) -> io::Result<bool> {
        while n > 0 {
            if !self.need(1)? {
                return Ok(false);
            }
            let now = n.min(self.rest().len());
            self.take(now);
            n -= now;
        }
        Ok(true)
    }
}
