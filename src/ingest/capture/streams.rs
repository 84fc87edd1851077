//! TCP streams put in order, each direction its own: retransmissions and overlaps dropped, gaps given up in time.
//!
//! A stream is followed from its first segment with data, or from the middle where the capture began later. It stays
//! known after it ended, so that late copies of its segments are; what is bounded is how many are known at once.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::messages::{Cutter, Piece};
use super::outlet::{Envelope, Outlet};
use crate::limits::{
    CAPTURE_HELD_AGE_US, CAPTURE_HELD_BYTES_MAX, CAPTURE_HELD_SEGMENTS_MAX, CAPTURE_STREAMS_BYTES_MAX,
    CAPTURE_STREAMS_MAX,
};

/// Further than this from what is expected, a segment belongs to another connection of the same ports.
const JUMP_BYTES_MAX: i64 = 16 << 20;

/// Position of the first byte: what a joined stream held before it has one too. Whole turns of sequence numbers.
const BEGINNING: u64 = 1 << 32;

/// Segments between two looks for gaps that nobody fills.
const SEGMENTS_PER_SWEEP: u64 = 1024;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Way {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// A segment as it was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub time_us: i64,
    pub sequence: u32,
    pub is_syn: bool,
    /// The sender has no more to say, or breaks the connection off.
    pub is_last: bool,
    pub payload: &'a [u8],
    /// Bytes behind the payload that were sent and not captured.
    pub missing: usize,
}

/// The streams that are followed.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: HashMap<Way, Stream>,
    n_segments: u64,
    held_bytes: usize,
}

#[derive(Debug)]
struct Stream {
    cutter: Cutter,
    /// Sequence number of the first byte.
    first: u32,
    /// Bytes in order so far, from [`BEGINNING`] on.
    position: u64,
    /// What came before its turn, by position.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// When the last byte in order came.
    last_us: i64,
    /// The last segment, by running number.
    last: u64,
    /// As counted in [`Streams::held_bytes`].
    charged: usize,
}

#[derive(Debug)]
struct Held {
    time_us: i64,
    payload: Vec<u8>,
    missing: usize,
}

impl Stream {
    fn new(first: u32, is_joined: bool) -> Stream {
        Stream {
            cutter: Cutter::new(is_joined),
            first,
            position: BEGINNING,
            held: BTreeMap::new(),
            held_bytes: 0,
            last_us: 0,
            last: 0,
            charged: 0,
        }
    }

    /// Where a sequence number stands, in bytes from what is expected next.
    fn distance(&self, sequence: u32) -> i64 {
        let expected = self.first.wrapping_add(self.position as u32);
        i64::from(sequence.wrapping_sub(expected) as i32)
    }

    /// Takes a segment's bytes, now or when their turn comes.
    fn take(&mut self, way: Way, segment: &Segment<'_>, outlet: &mut Outlet) {
        let Segment { time_us, payload, missing, .. } = *segment;
        let distance = self.distance(segment.sequence);
        let Some(at) = self.position.checked_add_signed(distance) else { return };
        if distance > 0 {
            self.hold(at, time_us, payload, missing);
        } else {
            self.deliver(way, at, time_us, payload, missing, outlet);
            self.deliver_held(way, outlet);
        }
        while self.held_bytes > CAPTURE_HELD_BYTES_MAX || self.held.len() > CAPTURE_HELD_SEGMENTS_MAX {
            self.give_up_gap(way, outlet);
        }
        if self.is_waiting_in_vain(time_us) {
            self.give_up_gap(way, outlet);
        }
    }

    /// Whether something has been missing for long. Clocks of two interfaces may differ, and be set back: a little
    /// before is no time, and long before another one.
    fn is_waiting_in_vain(&self, now_us: i64) -> bool {
        let waited_us = self.held.values().next().map(|held| now_us.saturating_sub(held.time_us));
        waited_us.is_some_and(|us| us.unsigned_abs() >= CAPTURE_HELD_AGE_US)
    }

    fn hold(&mut self, at: u64, time_us: i64, payload: &[u8], missing: usize) {
        let (mut at, mut payload) = (at, payload);
        // The first copy wins; what a longer one adds stands behind it.
        while let Some(first) = self.held.get(&at) {
            let known = first.payload.len();
            let Some(fresh) = payload.get(known..) else { return };
            (at, payload) = (at + known as u64, fresh);
        }
        if !payload.is_empty() {
            self.held_bytes += payload.len();
            self.held.insert(at, Held { time_us, payload: payload.to_vec(), missing });
        }
    }

    /// Cuts messages out of what is next, up to one that is not whole.
    fn deliver(&mut self, way: Way, at: u64, time_us: i64, payload: &[u8], missing: usize, outlet: &mut Outlet) {
        let end = at + payload.len() as u64;
        let old = usize::try_from(self.position.saturating_sub(at)).unwrap_or(usize::MAX);
        if let Some(fresh) = payload.get(old..).filter(|fresh| !fresh.is_empty()) {
            (self.position, self.last_us) = (end, time_us);
            self.cutter.push(fresh);
            self.cut(way, time_us, outlet);
        }
        if missing > 0 && self.position == end {
            self.break_off(way, outlet);
            self.position = end + missing as u64;
        }
    }

    fn deliver_held(&mut self, way: Way, outlet: &mut Outlet) {
        while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() <= self.position) {
            let (at, held) = entry.remove_entry();
            self.held_bytes -= held.payload.len();
            self.deliver(way, at, held.time_us, &held.payload, held.missing, outlet);
        }
    }

    /// What is missing was not captured: on with what came after it.
    fn give_up_gap(&mut self, way: Way, outlet: &mut Outlet) {
        if let Some(at) = self.held.keys().next().copied() {
            self.break_off(way, outlet);
            self.position = self.position.max(at);
            self.deliver_held(way, outlet);
        }
    }

    fn break_off(&mut self, way: Way, outlet: &mut Outlet) {
        outlet.counts.tcp_gaps += u64::from(self.cutter.has_spoken());
        self.cutter.break_off();
        self.cut(way, self.last_us, outlet);
    }

    fn cut(&mut self, way: Way, time_us: i64, outlet: &mut Outlet) {
        let Way { source, destination } = way;
        let envelope = Envelope { time_us, source, destination, ip_protocol: super::link::protocol::TCP };
        while let Some(piece) = self.cutter.next() {
            match piece {
                Piece::Sip(message) => outlet.sip(&envelope, message),
                Piece::Hep(packet) => outlet.hep(packet, 0),
                Piece::TooLong => outlet.counts.too_long += 1,
            }
        }
    }

    /// Nothing more comes: out with all that was held, and with a message that lacks some of its body.
    fn finish(&mut self, way: Way, outlet: &mut Outlet) {
        while !self.held.is_empty() {
            self.give_up_gap(way, outlet);
        }
        self.cutter.break_off();
        self.cut(way, self.last_us, outlet);
    }
}

impl Streams {
    #[cfg(test)]
    pub(super) fn n_open(&self) -> usize {
        self.open.len()
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn take(&mut self, way: Way, segment: &Segment<'_>, outlet: &mut Outlet) {
        self.n_segments += 1;
        if self.n_segments.is_multiple_of(SEGMENTS_PER_SWEEP) {
            self.give_up_old_gaps(segment.time_us, outlet);
        }
        let data = Segment { sequence: segment.sequence.wrapping_add(u32::from(segment.is_syn)), ..*segment };
        let begins_anew = match self.open.get(&way) {
            None => segment.is_syn || !segment.payload.is_empty(),
            // The same connection request again, or a new one from the same port.
            Some(stream) if segment.is_syn => stream.first != data.sequence,
            Some(stream) => {
                !segment.payload.is_empty()
                    && !stream.cutter.is_closed()
                    && stream.distance(data.sequence).abs() > JUMP_BYTES_MAX
            }
        };
        if begins_anew {
            self.close(way, outlet);
            self.open.insert(way, Stream::new(data.sequence, !segment.is_syn));
        }
        let Some(stream) = self.open.get_mut(&way) else { return };
        stream.last = self.n_segments;
        if !segment.payload.is_empty() || segment.missing > 0 {
            if !stream.cutter.is_closed() {
                stream.take(way, &data, outlet);
            }
            outlet.counts.other += u64::from(stream.cutter.is_other());
        }
        // Where something is missing, it may still come after the last segment.
        let end = data.sequence.wrapping_add(segment.payload.len() as u32);
        if segment.is_last && stream.held.is_empty() && stream.distance(end) <= 0 {
            stream.finish(way, outlet);
        }
        let charged = stream.held_bytes + stream.cutter.held_bytes();
        self.held_bytes = self.held_bytes - stream.charged + charged;
        stream.charged = charged;
        self.make_room(outlet);
    }

    /// Gives out what is held of all streams.
    pub(super) fn finish(&mut self, outlet: &mut Outlet) {
        let is_waiting = |s: &Stream| !s.held.is_empty() || s.cutter.is_waiting();
        let mut waiting: Vec<(u64, Way)> =
            self.open.iter().filter(|(_, s)| is_waiting(s)).map(|(way, s)| (s.last, *way)).collect();
        waiting.sort_unstable();
        for (_, way) in waiting {
            self.close(way, outlet);
        }
    }

    fn close(&mut self, way: Way, outlet: &mut Outlet) {
        if let Some(mut stream) = self.open.remove(&way) {
            self.held_bytes -= stream.charged;
            stream.finish(way, outlet);
        }
    }

    /// Streams that have fallen silent in a gap: nothing of their own makes them go on.
    fn give_up_old_gaps(&mut self, now_us: i64, outlet: &mut Outlet) {
        let in_vain = self.open.iter().filter(|(_, s)| s.is_waiting_in_vain(now_us));
        let mut old: Vec<(u64, Way)> = in_vain.map(|(way, s)| (s.last, *way)).collect();
        old.sort_unstable();
        for (_, way) in old {
            if let Some(stream) = self.open.get_mut(&way) {
                stream.give_up_gap(way, outlet);
            }
        }
    }

    /// Closes those that were silent longest, an eighth at a time, so that looking for them is rare.
    fn make_room(&mut self, outlet: &mut Outlet) {
        if self.open.len() <= CAPTURE_STREAMS_MAX && self.held_bytes <= CAPTURE_STREAMS_BYTES_MAX {
            return;
        }
        let mut ways: Vec<(u64, Way)> = self.open.iter().map(|(way, s)| (s.last, *way)).collect();
        ways.sort_unstable();
        for (_, way) in ways {
            let is_roomy =
                self.open.len() < CAPTURE_STREAMS_MAX / 8 * 7 && self.held_bytes <= CAPTURE_STREAMS_BYTES_MAX / 8 * 7;
            if is_roomy {
                return;
            }
            self.close(way, outlet);
        }
    }
}
