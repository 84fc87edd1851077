//! What holds of every capture. Called by the tests beside it and by the fuzz target.

use std::io::Read;

use super::{CaptureCounts, CaptureReader, is_capture};
use crate::ingest::hep::{self, Framed};

/// Arbitrary bytes, as a capture file where they begin like one, and as the packets of one: what comes out is whole
/// packets of HEP, as many as were counted, and the same however the file is read.
pub(crate) fn what_comes_out_is_hep(bytes: &[u8]) {
    if bytes.first_chunk().is_some_and(|magic| is_capture(*magic)) {
        holds(bytes);
    }
    holds(&packets(bytes));
}

fn holds(file: &[u8]) {
    let (stream, counts) = read(file, usize::MAX);
    let (mut rest, mut n_packets) = (stream.as_slice(), 0);
    while !rest.is_empty() {
        let Framed::Whole(length) = hep::first_packet(rest) else { panic!("what comes out is no packet") };
        rest = rest.get(length..).expect("a whole packet is there");
        n_packets += 1;
    }
    assert_eq!(n_packets, counts.sip + counts.hep);
    assert!(counts.other <= counts.packets && counts.cut_short <= counts.sip + counts.too_long);
    assert!(read(file, 7) == (stream, counts));
}

fn read(file: &[u8], size: usize) -> (Vec<u8>, CaptureCounts) {
    let file = Dribble { rest: file.to_vec().into(), size };
    let mut reader = CaptureReader::new(Box::new(file), size == 7).expect("memory can be read");
    let (mut all, mut block) = (Vec::new(), Vec::new());
    while reader.fill(&mut block).expect("memory can be read") {
        all.append(&mut block);
    }
    (all, reader.counts())
}

/// Gives so many bytes a read at most.
struct Dribble {
    rest: std::collections::VecDeque<u8>,
    size: usize,
}

impl Read for Dribble {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        let most = space.len().min(self.size);
        self.rest.read(space.get_mut(..most).unwrap_or_default())
    }
}

/// A file of raw IP or Ethernet, as the first byte says; before each packet stands how long it is and, in the upper
/// bits, how much later it came.
fn packets(bytes: &[u8]) -> Vec<u8> {
    let Some((first, mut rest)) = bytes.split_first() else { return Vec::new() };
    let links = [101u32, 1, 113, 276, 0];
    let link = links.get(usize::from(*first) % links.len()).copied().unwrap_or(1);
    let mut file = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, link].map(u32::to_le_bytes).concat();
    let mut seconds = 0u32;
    while let Some(([low, high], after)) = rest.split_first_chunk() {
        let length = (usize::from(*low) | usize::from(high & 7) << 8).min(after.len());
        let (packet, after) = after.split_at(length);
        seconds += u32::from(high >> 3);
        file.extend([seconds, 0, length as u32, length as u32].map(u32::to_le_bytes).concat());
        file.extend(packet);
        rest = after;
    }
    file
}
