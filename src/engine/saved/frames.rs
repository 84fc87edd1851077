//! Frames: what saved state is cut into, so that the order in which its pieces were written does not matter.
//!
//! `[kind u8][payload length u32][CRC-32 of kind, length and payload, u32][payload]`, little-endian. A piece of a save
//! is a whole number of frames.

use crate::codec::{Malformed, Put, Take, require};

/// What a frame holds. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Versions, the rules and what their numbers stand for. The first of all.
    Header = 1,
    /// One partition of a rule: what it knows beside its keys. Before the keys of the partition.
    Partition = 2,
    /// Some keys of a partition, with their windows and episodes.
    Keys = 3,
    /// One part of a map whose entries end: what it knows beside them. Before the entries of the part.
    Part = 4,
    Entries = 5,
    /// Verdicts that may be told again.
    Answers = 6,
    /// Who the open episodes of a rule are about.
    Subjects = 7,
    /// What dynamic lists know beside their entries and who made them.
    Lists = 8,
    Made = 9,
    Holders = 10,
    /// The last of all.
    End = 11,
}

const KINDS: [Kind; 11] = [
    Kind::Header,
    Kind::Partition,
    Kind::Keys,
    Kind::Part,
    Kind::Entries,
    Kind::Answers,
    Kind::Subjects,
    Kind::Lists,
    Kind::Made,
    Kind::Holders,
    Kind::End,
];

impl Kind {
    pub(crate) fn of(byte: u8) -> Option<Kind> {
        KINDS.into_iter().find(|kind| *kind as u8 == byte)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Header => "header",
            Kind::Partition => "partition",
            Kind::Keys => "keys",
            Kind::Part => "part",
            Kind::Entries => "entries",
            Kind::Answers => "answers",
            Kind::Subjects => "subjects",
            Kind::Lists => "lists",
            Kind::Made => "made",
            Kind::Holders => "holders",
            Kind::End => "end",
        }
    }
}

const HEAD_BYTES: usize = 9;
/// Bytes of a frame's head that come before its checksum.
const BEFORE_CHECKSUM: usize = 5;

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Appends frames to a piece.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    out: &'a mut Vec<u8>,
    /// Frames of the whole save so far.
    pub(crate) n: u64,
    /// Length of the piece past which nothing more is begun.
    limit: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, n: u64, piece_bytes: usize) -> Frames<'a> {
        let limit = out.len() + piece_bytes;
        Frames { out, n, limit }
    }

    /// Is the piece as long as it should get?
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= self.limit
    }

    /// A frame of what `write` puts. It is told the length of `out` at which it should stop.
    pub(crate) fn frame<R>(&mut self, kind: Kind, write: impl FnOnce(&mut Put<'_>, usize) -> R) -> R {
        let start = self.out.len();
        self.out.push(kind as u8);
        self.out.extend_from_slice(&[0; HEAD_BYTES - 1]);
        let result = write(&mut Put(self.out), self.limit);
        let length = (self.out.len() - start - HEAD_BYTES) as u32;
        let Some(frame) = self.out.get_mut(start..) else { return result };
        if let Some(place) = frame.get_mut(1..BEFORE_CHECKSUM) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        if let Some((head, payload)) = frame.split_at_mut_checked(HEAD_BYTES)
            && let Some((covered, place)) = head.split_at_mut_checked(BEFORE_CHECKSUM)
        {
            place.copy_from_slice(&checksum(covered, payload).to_le_bytes());
        }
        self.n += 1;
        result
    }
}

/// Takes the next frame of a piece; `None` at its end.
pub(crate) fn take_frame<'a>(piece: &mut Take<'a>) -> Option<Result<(Kind, Take<'a>), Malformed>> {
    if piece.is_empty() {
        return None;
    }
    let mut frame = || {
        let covered = piece.exact(BEFORE_CHECKSUM)?;
        let mut head = Take::new(covered);
        let (kind, length) = (head.u8()?, head.u32()?);
        let expected = piece.u32()?;
        let payload = piece.exact(length as usize)?;
        require(checksum(covered, payload) == expected)?;
        Ok((Kind::of(kind).ok_or(Malformed)?, Take::new(payload)))
    };
    Some(frame())
}

/// The frames of a piece, each as it stands; `None` where one is damaged. For comparing two saves without reading what
/// they hold.
pub fn saved_frames(piece: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, mut bytes, mut found) = (Take::new(piece), piece, Vec::new());
    while let Some(frame) = take_frame(&mut rest) {
        frame.ok()?;
        let length = bytes.get(1..BEFORE_CHECKSUM)?.first_chunk::<4>()?;
        let (frame, behind) = bytes.split_at_checked(HEAD_BYTES + u32::from_le_bytes(*length) as usize)?;
        found.push(frame);
        bytes = behind;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_were_joined_and_a_damaged_one_is_found() {
        let mut piece = Vec::new();
        let mut frames = Frames::new(&mut piece, 0, 1000);
        frames.frame(Kind::Lists, |put, _| put.u64(7));
        frames.frame(Kind::End, |_, _| ());
        let found = saved_frames(&piece).expect("whole");
        assert_eq!(found.iter().map(|frame| frame.len()).collect::<Vec<_>>(), [HEAD_BYTES + 8, HEAD_BYTES]);
        assert_eq!(found.concat(), piece);
        piece[HEAD_BYTES] ^= 1;
        assert_eq!(saved_frames(&piece), None);
        assert_eq!(saved_frames(&piece[..5]), None);
    }
}
