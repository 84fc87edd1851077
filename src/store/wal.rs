//! SQLite's log, looked at before SQLite does. SQLite ends silently at the first frame that is not whole; whether good
//! ones follow, which means damage and not a crash, only the file tells (<https://sqlite.org/fileformat2.html#walformat>).
//! Writes nothing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Checksums read words in the order of the machine that began the log: this, and one more, for the other order.
const MAGIC: u32 = 0x377f_0682;

/// What the log looks like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogState {
    Missing,
    /// As a checkpoint leaves it.
    Empty,
    /// Without a whole header.
    Unreadable,
    /// Whole up to its end, or up to where a crash cut what was not committed.
    Good,
    /// A frame that ends a transaction cannot be reached.
    Damaged {
        at: u64,
    },
}

/// Anything that cannot be read is for SQLite to refuse.
pub(super) fn inspect(path: &Path) -> LogState {
    match File::open(path) {
        Ok(file) => walk(BufReader::with_capacity(1 << 20, file)).unwrap_or(LogState::Unreadable),
        Err(_) => LogState::Missing,
    }
}

/// The checksum of the format, carried from frame to frame.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sum {
    a: u32,
    b: u32,
    big_endian: bool,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8; 4]| match self.big_endian {
            true => u32::from_be_bytes(*bytes),
            false => u32::from_le_bytes(*bytes),
        };
        let (mut a, mut b) = (self.a, self.b);
        for [first, second] in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
            a = a.wrapping_add(word(first)).wrapping_add(b);
            b = b.wrapping_add(word(second)).wrapping_add(a);
        }
        (self.a, self.b) = (a, b);
    }
}

fn walk(mut log: impl Read) -> io::Result<LogState> {
    let mut header = [0; HEADER_BYTES];
    match read_whole(&mut log, &mut header)? {
        0 => return Ok(LogState::Empty),
        HEADER_BYTES => {}
        _ => return Ok(LogState::Unreadable),
    }
    let [magic, _, page_bytes, _, salt_1, salt_2, sum_a, sum_b] = words::<8>(&header);
    let mut sum = Sum { a: 0, b: 0, big_endian: magic == MAGIC + 1 };
    sum.add(header.first_chunk::<24>().expect("24 of 32"));
    let is_page = page_bytes.is_power_of_two() && (512..=65_536).contains(&page_bytes);
    if magic & !1 != MAGIC || !is_page || (sum.a, sum.b) != (sum_a, sum_b) {
        return Ok(LogState::Unreadable);
    }
    let mut frame_header = [0; FRAME_HEADER_BYTES];
    let mut page = vec![0; page_bytes as usize];
    let mut at = HEADER_BYTES as u64;
    loop {
        let n_header = read_whole(&mut log, &mut frame_header)?;
        if n_header < FRAME_HEADER_BYTES || read_whole(&mut log, &mut page)? < page.len() {
            return Ok(LogState::Good);
        }
        let [_, _, salt_a, salt_b, sum_a, sum_b] = words::<6>(&frame_header);
        sum.add(frame_header.first_chunk::<8>().expect("8 of 24"));
        sum.add(&page);
        if (salt_a, salt_b) != (salt_1, salt_2) || (sum.a, sum.b) != (sum_a, sum_b) {
            let rest = frame_header.as_slice().chain(page.as_slice()).chain(log);
            let is_missed = has_commit(rest, header.get(16..24).expect("24 of 32"))?;
            return Ok(if is_missed { LogState::Damaged { at } } else { LogState::Good });
        }
        at += (FRAME_HEADER_BYTES + page.len()) as u64;
    }
}

/// Is there a frame that ends a transaction? Looked for at every byte: where some are missing, frames do not stand where
/// they should. Frames of an earlier round of the log have other salts.
fn has_commit(mut rest: impl Read, salts: &[u8]) -> io::Result<bool> {
    let mut piece = vec![0; 1 << 20];
    let mut kept = 0;
    loop {
        let n = kept + read_whole(&mut rest, piece.get_mut(kept..).unwrap_or_default())?;
        let found = piece.get(..n).unwrap_or_default();
        // How many pages there are after the commit, 0 in other frames, stands before the salts.
        if found.windows(12).any(|at| at.ends_with(salts) && !at.starts_with(&[0; 4])) {
            return Ok(true);
        }
        if n < piece.len() {
            return Ok(false);
        }
        kept = 11;
        piece.copy_within(n - kept.., 0);
    }
}

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// As many bytes as there are, up to a full buffer.
fn read_whole(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while let Some(rest) = into.get_mut(n..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
