//! Captured and mirrored SIP: HEP packets and SIP messages become call events, by way of the call table.
//!
//! What one block means depends on what the table has seen before, so the blocks of a stream are decoded in their order.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::calls::{CallTable, Changes, Sight, Told};
use super::framing::{FirstMessage, first_message};
use super::hep::{self, Packet, Payload};
use super::origin::{Attribution, keep};
use super::sip::{self, Start, Via};
use super::value;
use super::wire::Origin;
use super::{Counts, Format};
use crate::clock::Timestamp;
use crate::event::{Batch, Flags, Kind, Reject, Rejected};
use crate::limits::{FUTURE_MS_MAX, ID_BYTES_MAX, SIP_HUNT_MS, SIP_MESSAGE_BYTES_MAX};

/// What a capture agent must show in every packet.
#[derive(Clone, PartialEq, Eq)]
pub struct CaptureKey(Box<[u8]>);

impl CaptureKey {
    pub fn new(key: &str) -> CaptureKey {
        CaptureKey(key.as_bytes().into())
    }

    /// In a time that tells nothing of how much of it was right.
    fn is(&self, shown: &[u8]) -> bool {
        let differs = self.0.iter().zip(shown).fold(0, |differs, (a, b)| differs | a ^ b);
        self.0.len() == shown.len() && std::hint::black_box(differs) == 0
    }
}

impl fmt::Debug for CaptureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaptureKey")
    }
}

/// What came at once from one sender.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    pub bytes: &'a [u8],
    pub source: SocketAddr,
}

impl Datagram<'_> {
    /// Appends it to a block of HEP packets, for a decoder [of datagrams](super::Decoder::of_datagrams).
    pub fn wrap(&self, format: &Format, block: &mut Vec<u8>) -> Result<(), Reject> {
        let packet = match format {
            Format::Sip => Packet {
                source: Some(self.source.ip()),
                source_port: self.source.port(),
                ip_protocol: 17,
                protocol: hep::SIP,
                payload: Payload::Plain(self.bytes),
                ..Packet::default()
            },
            _ if hep::first_packet(self.bytes) == hep::Framed::Whole(self.bytes.len()) => {
                block.extend_from_slice(self.bytes);
                return Ok(());
            }
            _ => hep::parse_datagram(self.bytes).map_err(hep::Fault::reject)?,
        };
        if hep::encode(&packet, block) { Ok(()) } else { Err(Reject::MessageTooLong) }
    }
}

/// What the blocks of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Packets of a capture agent, which knows who sent what to whom.
    Hep,
    /// Messages one behind the other.
    Sip,
    /// Messages in packets of our own making: what is known of a sender is who passed it on.
    Datagrams,
}

/// Decodes the blocks of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    carrier: Carrier,
    inflated: Vec<u8>,
    clock: StreamClock,
    /// Of one block; kept for its memory.
    changes: Changes,
}

/// The time of a stream, by its messages alone: what is over by it does not depend on how the stream was cut.
#[derive(Clone, Copy, Debug)]
struct StreamClock {
    newest: Timestamp,
    settled: Timestamp,
}

/// How far the time of a stream goes on until it is asked what is over by now. What waits does so for a second at least.
const SETTLE_EVERY_MS: i64 = 10;
const _: () = assert!(SETTLE_EVERY_MS * 10 <= SIP_HUNT_MS);

/// What a block becomes, and by whom.
struct Target<'a> {
    table: &'a CallTable,
    attribution: &'a mut Attribution,
    counts: &'a mut Counts,
    out: &'a mut Batch,
    arrival: Option<Timestamp>,
    clock: StreamClock,
    changes: Changes,
}

/// One message and what is known of its way.
struct Seen<'a> {
    time: Option<Timestamp>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    correlation_id: &'a [u8],
    node_name: &'a [u8],
    /// The sender is a gateway's mirror: what the message says of its own sender counts more.
    is_mirrored: bool,
    bytes: &'a [u8],
}

impl Reader {
    pub(crate) fn new(carrier: Carrier) -> Reader {
        let clock = StreamClock { newest: Timestamp::MIN, settled: Timestamp::MIN };
        Reader { carrier, inflated: Vec::new(), clock, changes: Changes::default() }
    }

    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        arrival: Option<Timestamp>,
        attribution: &mut Attribution,
        counts: &mut Counts,
        out: &mut Batch,
    ) {
        let table = Arc::clone(&attribution.context().calls);
        let mut target = self.target(&table, attribution, counts, out, arrival);
        let mut rest = block;
        while !rest.is_empty() {
            let (skip, len) = match self.carrier {
                Carrier::Sip => match first_message(rest) {
                    FirstMessage::Whole { skip, len } => (skip, len),
                    // The last of a stream; what can be read of it is.
                    FirstMessage::Incomplete | FirstMessage::Broken(_) => (0, rest.len()),
                    FirstMessage::Between => break,
                },
                Carrier::Hep | Carrier::Datagrams => match hep::first_packet(rest) {
                    hep::Framed::Whole(len) => (0, len),
                    hep::Framed::Incomplete | hep::Framed::Broken => (0, rest.len()),
                },
            };
            let (record, after) = rest.get(skip..).unwrap_or(&[]).split_at_checked(len).unwrap_or((rest, &[]));
            rest = after;
            let read = match self.carrier {
                Carrier::Sip => target.message(&Seen::raw(record)),
                Carrier::Hep | Carrier::Datagrams => self.packet(record, &mut target),
            };
            if let Err(Some(reason)) = read {
                target.reject(reason);
            }
        }
        (self.clock, self.changes) = target.close();
    }

    /// What is over by now; with `None`, what was over when the input ended.
    pub(crate) fn finish(
        &mut self,
        now: Option<Timestamp>,
        attribution: &mut Attribution,
        counts: &mut Counts,
        out: &mut Batch,
    ) {
        let table = Arc::clone(&attribution.context().calls);
        let mut target = self.target(&table, attribution, counts, out, None);
        target.settle(now.unwrap_or(Timestamp(i64::MAX)));
        (_, self.changes) = target.close();
    }

    fn target<'a>(
        &mut self,
        table: &'a CallTable,
        attribution: &'a mut Attribution,
        counts: &'a mut Counts,
        out: &'a mut Batch,
        arrival: Option<Timestamp>,
    ) -> Target<'a> {
        let mut changes = std::mem::take(&mut self.changes);
        table.begin_block(&mut changes);
        Target { table, attribution, counts, out, arrival, clock: self.clock, changes }
    }

    /// `Err(None)`: nothing to be told or counted.
    fn packet(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<(), Option<Reject>> {
        let packet = hep::parse(bytes).map_err(|fault| Some(fault.reject()))?;
        if let Some(key) = &target.attribution.context().capture_key
            && self.carrier == Carrier::Hep
            && !key.is(packet.auth_key.unwrap_or_default())
        {
            return Err(Some(Reject::BadKey));
        }
        if packet.protocol != hep::SIP {
            target.counts.other_payloads += 1;
            return Err(None);
        }
        let bytes = match packet.payload {
            Payload::Plain(bytes) => bytes,
            Payload::Compressed(bytes) => hep::inflate(bytes, &mut self.inflated).ok_or(Some(Reject::Malformed))?,
            Payload::None => return Err(Some(Reject::Malformed)),
        };
        let mut seen = Seen::captured(&packet, bytes);
        seen.is_mirrored = self.carrier == Carrier::Datagrams;
        target.message(&seen)
    }
}

impl<'a> Seen<'a> {
    fn raw(bytes: &'a [u8]) -> Seen<'a> {
        Seen {
            time: None,
            source: None,
            destination: None,
            correlation_id: &[],
            node_name: &[],
            is_mirrored: true,
            bytes,
        }
    }

    fn captured(packet: &Packet<'a>, bytes: &'a [u8]) -> Seen<'a> {
        Seen {
            time: packet.time_us.map(|us| Timestamp(us.div_euclid(1000))),
            source: packet.source,
            destination: packet.destination,
            correlation_id: packet.correlation_id,
            node_name: packet.node_name,
            is_mirrored: false,
            bytes,
        }
    }
}

impl Target<'_> {
    /// The block is over: says what it has changed.
    fn close(mut self) -> (StreamClock, Changes) {
        self.table.write_annex(&mut self.changes, &mut self.out.annex);
        (self.clock, self.changes)
    }

    fn reject(&mut self, reason: Reject) {
        self.out.rejects.push(Rejected { before: self.out.events.len() as u32, seq: 0, reason });
    }

    fn message(&mut self, seen: &Seen<'_>) -> Result<(), Option<Reject>> {
        if seen.bytes.len() > SIP_MESSAGE_BYTES_MAX {
            return Err(Some(Reject::MessageTooLong));
        }
        let message = sip::parse(seen.bytes).map_err(sip::Fault::reject)?;
        let mut time = seen.time.or(self.arrival).ok_or(Some(Reject::NoTime))?;
        let mut is_future = false;
        if let Some(arrival) = self.arrival
            && time > arrival.plus_ms(FUTURE_MS_MAX)
        {
            (time, is_future) = (arrival, true);
            self.counts.future += 1;
        }
        self.counts.messages += 1;
        self.advance(time);
        let sight = Sight {
            time,
            customer: self.attribution.context().customer.map_or(0, |id| id.0),
            source: if seen.is_mirrored { sender(&message).or(seen.source) } else { seen.source },
            destination: seen.destination,
            correlation_id: seen.correlation_id,
            message: &message,
        };
        let (table, mut problem) = (self.table, None);
        let mut changes = std::mem::take(&mut self.changes);
        table.see(&sight, &mut changes, |told| {
            problem = self.tell(&told, seen.node_name, is_future).err().or(problem);
        });
        self.changes = changes;
        problem.map_or(Ok(()), |reason| Err(Some(reason)))
    }

    /// Before a message of this time: what was over by then comes first.
    fn advance(&mut self, time: Timestamp) {
        self.clock.newest = self.clock.newest.max(time);
        if self.clock.newest.0.saturating_sub(self.clock.settled.0) >= SETTLE_EVERY_MS {
            self.clock.settled = self.clock.newest;
            self.settle(self.clock.newest);
        }
    }

    fn settle(&mut self, now: Timestamp) {
        let table = self.table;
        let mut changes = std::mem::take(&mut self.changes);
        table.settle(now, &mut changes, |told| {
            if let Err(reason) = self.tell(&told, &[], false) {
                self.reject(reason);
            }
        });
        self.changes = changes;
    }

    fn tell(&mut self, told: &Told<'_>, node_name: &[u8], is_future: bool) -> Result<(), Reject> {
        let side = &mut self.out.side;
        let (mut event, parties) = (told.event, &told.parties);
        event.caller.raw = keep(side, &parties.caller);
        event.callee.raw = keep(side, &parties.callee);
        event.asserted.raw = keep(side, &parties.asserted);
        event.diverting.raw = keep(side, &parties.diverting);
        event.caller_name = keep(side, &parties.caller_name);
        event.domain = keep(side, &parties.domain);
        event.user_agent = keep(side, &parties.user_agent);
        event.account = keep(side, &parties.account);
        event.trunk = keep(side, &parties.trunk);
        event.source_ip = parties.source;
        event.attestation = parties.attestation;
        event.call_type = parties.call_type;
        event.call_id = keep(side, &call_id(told.call_id));
        event.leg = if told.is_b_leg { keep(side, b"b") } else { event.leg };
        event.method = keep(side, method(event.kind));
        if parties.anonymous {
            event.flags.set(Flags::ANONYMOUS);
        }
        if is_future {
            event.flags.set(Flags::FUTURE);
        }
        let mut origin = Origin::default();
        if node_name.len() <= ID_BYTES_MAX && std::str::from_utf8(node_name).is_ok() {
            origin.gateway = keep(side, node_name);
        }
        self.attribution.complete(&mut event, origin, None, &[], side, self.counts)?;
        self.out.events.push(event);
        Ok(())
    }
}

/// A Call-ID as an event may carry it: UTF-8 and not too long. What is neither keeps apart by a hash.
fn call_id(raw: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    const KEPT: usize = 200;
    if raw.len() <= ID_BYTES_MAX && std::str::from_utf8(raw).is_ok() {
        return raw.into();
    }
    let text = String::from_utf8_lossy(raw);
    let kept = text.get(..text.floor_char_boundary(KEPT)).unwrap_or_default();
    format!("{kept}~{:016x}", rapidhash::v3::rapidhash_v3(raw)).into_bytes().into()
}

fn method(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Register => b"REGISTER",
        Kind::Options => b"OPTIONS",
        Kind::Message => b"MESSAGE",
        Kind::Cdr | Kind::Attempt | Kind::Answer | Kind::Interim | Kind::End => b"INVITE",
    }
}

/// Who sent a request, by what the next hop wrote into it, else by what it says itself.
fn sender(message: &sip::Message<'_>) -> Option<IpAddr> {
    let Start::Request { .. } = message.start else { return None };
    let Via { received, host, .. } = message.via;
    address(received).or_else(|| address(host))
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let bare = text.strip_prefix(b"[").and_then(|t| t.strip_suffix(b"]")).unwrap_or(text);
    value::ip(bare)
}
