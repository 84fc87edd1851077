//! The frame around each record: what makes damage known, and mends it where one bit is wrong.
//!
//! A header of fixed length with a checksum of its own, then the payload. The checksum of the payload is a CRC, which
//! is linear: the difference between the stored and the computed one tells which bit would explain it, if it was one.
//! A second checksum of another kind says whether it was. The header's place, magic and version are the same in every
//! version of the format, so that an older build knows a newer file for what it is.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;
use rapidhash::v3::rapidhash_v3;

use crate::limits::JOURNAL_RECORD_BYTES_MAX;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 48;

/// Newest version of the format that is read, and the one that is written.
pub(super) const VERSION: u8 = 1;

/// No text can hold it: it is not UTF-8.
const MAGIC: [u8; 4] = *b"\xffRFJ";

/// What the CRC of the header covers.
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// CRC-32 of IEEE 802.3, its lowest term first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    /// First of a segment: identity and context.
    Opening,
    /// What the numbers of the records that follow stand for.
    Context,
    Batch,
    Tick,
    /// Of the file of names.
    Customer,
    Gateway,
    /// Of the file of that name.
    Identity,
}

impl FrameKind {
    const ALL: &'static [FrameKind] = &[
        FrameKind::Opening,
        FrameKind::Context,
        FrameKind::Batch,
        FrameKind::Tick,
        FrameKind::Customer,
        FrameKind::Gateway,
        FrameKind::Identity,
    ];

    /// It has a number of its own; the others bear that of the record that follows.
    pub(super) fn is_record(self) -> bool {
        matches!(self, FrameKind::Batch | FrameKind::Tick)
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: FrameKind,
    /// Events of the record.
    pub(super) n_events: u32,
    /// Number of the record.
    pub(super) number: u64,
    /// Position of its first event, or where it has none of the next that comes.
    pub(super) position: u64,
    /// How many records up to this one were not known to be durable when it was appended.
    pub(super) n_uncommitted: u32,
}

impl Header {
    /// The newest record that was durable when this one was appended.
    pub(super) fn committed(&self) -> u64 {
        self.number.saturating_sub(u64::from(self.n_uncommitted))
    }
}

/// Appends a frame whose payload `write` appends; gives what that returned.
pub(super) fn append(header: &Header, out: &mut Vec<u8>, payload: &[u8]) {
    let start = begin(out);
    out.extend_from_slice(payload);
    finish(header, out, start);
}

/// Leaves room for a header; the payload is appended behind, then [`finish`] is called with what this gave.
pub(super) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    start
}

/// Writes the header before the payload that was appended since [`begin`].
pub(super) fn finish(header: &Header, out: &mut [u8], start: usize) {
    let Some((head, payload)) = out.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<HEADER_BYTES>())
    else {
        return;
    };
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(4, &[VERSION, header.kind as u8, 0, 0]);
    put(8, &(payload.len() as u32).to_le_bytes());
    put(12, &header.n_events.to_le_bytes());
    put(16, &header.number.to_le_bytes());
    put(24, &header.position.to_le_bytes());
    put(32, &header.n_uncommitted.to_le_bytes());
    put(36, &crc32fast::hash(payload).to_le_bytes());
    put(40, &second(payload).to_le_bytes());
    let crc = crc32fast::hash(&head[..CHECKED_BYTES]);
    head[CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());
}

/// A checksum that has nothing in common with the CRC.
fn second(payload: &[u8]) -> u32 {
    rapidhash_v3(payload) as u32
}

/// What stands at a place of a file.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Frame(Frame<'a>),
    /// Nothing that can be read, up to the next frame that can, or the end.
    Damage(Range<usize>),
    /// A frame of a format that is newer than this build.
    Newer(u8),
    End,
}

#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: Header,
    pub(super) payload: Cow<'a, [u8]>,
    /// Where the payload stands, and ends.
    pub(super) place: Range<usize>,
    /// Bits that were wrong and are mended: of the header, of the payload.
    pub(super) n_mended: u32,
}

/// Reads what stands at a place; the next is behind the frame or the damage.
pub(super) fn step(bytes: &[u8], at: usize) -> Step<'_> {
    match frame(bytes, at, true) {
        Ok(frame) => Step::Frame(frame),
        Err(Wrong::Version(version)) => Step::Newer(version),
        Err(Wrong::Damaged) if at >= bytes.len() => Step::End,
        Err(Wrong::Damaged) => Step::Damage(at..next_frame(bytes, at + 1)),
    }
}

/// Where the next whole frame begins, at `from` or behind it; the end if none does.
fn next_frame(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let places = memmem::find_iter(rest, &MAGIC).map(|at| from + at);
    // A version that is newer is an answer too.
    places.into_iter().find(|at| !matches!(frame(bytes, *at, false), Err(Wrong::Damaged))).unwrap_or(bytes.len())
}

enum Wrong {
    Damaged,
    Version(u8),
}

fn frame(bytes: &[u8], at: usize, is_mended: bool) -> Result<Frame<'_>, Wrong> {
    let rest = bytes.get(at..).unwrap_or_default();
    let (head, rest) = rest.split_first_chunk::<HEADER_BYTES>().ok_or(Wrong::Damaged)?;
    let (head, mended) = mend_header(head, is_mended).ok_or(Wrong::Damaged)?;
    let word = |at: usize| head.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if head[4] > VERSION {
        return Err(Wrong::Version(head[4]));
    }
    let kind = *FrameKind::ALL.get(usize::from(head[5])).ok_or(Wrong::Damaged)?;
    let length = word(8) as usize;
    if length > JOURNAL_RECORD_BYTES_MAX {
        return Err(Wrong::Damaged);
    }
    let payload = rest.get(..length).ok_or(Wrong::Damaged)?;
    let (payload, n_mended) = mend_payload(payload, word(36), word(40), is_mended).ok_or(Wrong::Damaged)?;
    let header = Header { kind, n_events: word(12), number: long(16), position: long(24), n_uncommitted: word(32) };
    let place = at + HEADER_BYTES..at + HEADER_BYTES + length;
    Ok(Frame { header, payload, place, n_mended: n_mended + mended })
}

/// The header with at most one bit mended, and how many were.
fn mend_header(head: &[u8; HEADER_BYTES], is_mended: bool) -> Option<([u8; HEADER_BYTES], u32)> {
    let (checked, stored) = head.split_first_chunk::<CHECKED_BYTES>()?;
    let stored = u32::from_le_bytes(*stored.first_chunk()?);
    let difference = crc32fast::hash(checked) ^ stored;
    if difference == 0 {
        return head.starts_with(&MAGIC).then_some((*head, 0));
    }
    if !is_mended {
        return None;
    }
    let mut mended = *head;
    // One bit of difference is a bit of the checksum itself: what it covers is right.
    if difference.count_ones() > 1 {
        let (byte, bit) = bit_of(difference, CHECKED_BYTES)?;
        *mended.get_mut(byte)? ^= 1 << bit;
    }
    mended.starts_with(&MAGIC).then_some((mended, 1))
}

fn mend_payload(payload: &[u8], crc: u32, other: u32, is_mended: bool) -> Option<(Cow<'_, [u8]>, u32)> {
    let difference = crc32fast::hash(payload) ^ crc;
    if difference == 0 {
        return (second(payload) == other).then_some((Cow::Borrowed(payload), 0));
    }
    if !is_mended {
        return None;
    }
    let (byte, bit) = bit_of(difference, payload.len())?;
    let mut mended = payload.to_vec();
    *mended.get_mut(byte)? ^= 1 << bit;
    (second(&mended) == other).then_some((Cow::Owned(mended), 1))
}

/// The bit of so many bytes that changes their CRC by `difference` if it alone is flipped: byte and place in it.
///
/// A bit's share in a CRC is a power of x, which grows by one a bit toward the front; no two powers are alike below
/// 2^32 - 1.
fn bit_of(difference: u32, n_bytes: usize) -> Option<(usize, u32)> {
    let mut share: u32 = 1;
    for from_end in 0..n_bytes.checked_mul(8)? {
        share = share >> 1 ^ if share & 1 != 0 { POLYNOMIAL } else { 0 };
        if share == difference {
            return Some((n_bytes - 1 - from_end / 8, 7 - (from_end % 8) as u32));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64) -> Header {
        Header { kind: FrameKind::Batch, n_events: 3, number, position: 3 * number, n_uncommitted: 2 }
    }

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, payload) in [(8, "first payload"), (9, "second"), (10, "")] {
            append(&header(number), &mut bytes, payload.as_bytes());
        }
        bytes
    }

    /// Number and payload of what is read, with `!` where bits were mended; `~` for damage.
    fn told(bytes: &[u8]) -> String {
        let (mut at, mut told) = (0, String::new());
        loop {
            match step(bytes, at) {
                Step::Frame(frame) => {
                    let payload = String::from_utf8_lossy(&frame.payload).into_owned();
                    told += &format!("{}={payload}{} ", frame.header.number, "!".repeat(frame.n_mended as usize));
                    assert_eq!(frame.header, header(frame.header.number));
                    at = frame.place.end;
                }
                Step::Damage(place) => {
                    told += "~ ";
                    at = place.end;
                }
                Step::Newer(version) => return format!("{told}version {version}"),
                Step::End => return told,
            }
        }
    }

    #[test]
    fn every_single_bit_that_flips_is_found_and_mended() {
        let bytes = three();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (told, whole) = (told(&flipped), "8=first payload 9=second 10= ");
            assert_eq!(told.replace('!', ""), whole, "bit {bit}");
            assert_eq!(told.matches('!').count(), 1, "bit {bit}");
        }
    }

    #[test]
    fn what_cannot_be_mended_costs_its_own_frame_alone() {
        let bytes = three();
        let first = HEADER_BYTES + 13;
        for at in 0..first {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0b0101_1010;
            assert_eq!(told(&damaged), "~ 9=second 10= ", "byte {at}");
        }
        for cut in 0..first {
            let mut damaged = bytes.clone();
            damaged.drain(cut..cut + 1);
            assert_eq!(told(&damaged), "~ 9=second 10= ", "byte {cut} is missing");
            assert_eq!(told(&bytes[..cut]), if cut == 0 { "" } else { "~ " });
        }
    }

    #[test]
    fn a_newer_format_is_known_for_what_it_is() {
        let mut bytes = three();
        bytes[4] = VERSION + 1;
        let crc = crc32fast::hash(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(told(&bytes), format!("version {}", VERSION + 1));
    }

    #[test]
    fn a_long_payload_is_mended_at_its_first_and_last_bit() {
        let mut bytes = Vec::new();
        append(&header(1), &mut bytes, &vec![0x5a; 100_000]);
        for at in [HEADER_BYTES, HEADER_BYTES + 50_001, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x80;
            let Step::Frame(frame) = step(&flipped, 0) else { panic!("it is mended") };
            assert_eq!((frame.n_mended, &*frame.payload), (1, &bytes[HEADER_BYTES..]));
        }
    }
}
