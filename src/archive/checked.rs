//! Files whose every block has a checksum, which the manifest keeps: what is damaged is never handed to a decoder.
//!
//! A query reads a few blocks of a file, so one sum over the whole would cost more than the query.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::limits::ARCHIVE_BLOCK_BYTES;

/// The sum of each block of a file; the last block may be short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums(Vec<u32>);

impl Sums {
    pub(crate) fn to_hex(&self) -> String {
        self.0.iter().map(|sum| format!("{sum:08x}")).collect()
    }

    /// `None` where it is no such text.
    pub(crate) fn from_hex(text: &str) -> Option<Sums> {
        let chunks = text.as_bytes().chunks(8);
        let sum = |chunk: &[u8]| u32::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok();
        text.len().is_multiple_of(8).then(|| chunks.map(sum).collect::<Option<Vec<u32>>>())?.map(Sums)
    }

    /// Whether there is one for each block of a file of this length.
    pub(crate) fn fit(&self, bytes: u64) -> bool {
        self.0.len() as u64 == bytes.div_ceil(ARCHIVE_BLOCK_BYTES as u64)
    }
}

/// Passes on what is written, and sums it.
#[derive(Debug)]
pub(crate) struct Summing<W> {
    to: W,
    sums: Vec<u32>,
    block: crc32fast::Hasher,
    in_block: usize,
    bytes: u64,
}

impl<W: Write> Summing<W> {
    pub(crate) fn new(to: W) -> Summing<W> {
        Summing { to, sums: Vec::new(), block: crc32fast::Hasher::new(), in_block: 0, bytes: 0 }
    }

    /// Where it went, how much it was, and its sums.
    pub(crate) fn finish(mut self) -> (W, u64, Sums) {
        if self.in_block > 0 {
            self.sums.push(self.block.finalize());
        }
        (self.to, self.bytes, Sums(self.sums))
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        let mut rest = bytes.get(..n).unwrap_or(bytes);
        self.bytes += n as u64;
        while !rest.is_empty() {
            let (now, after) = rest.split_at(rest.len().min(ARCHIVE_BLOCK_BYTES - self.in_block));
            self.block.update(now);
            self.in_block += now.len();
            if self.in_block == ARCHIVE_BLOCK_BYTES {
                self.sums.push(std::mem::take(&mut self.block).finalize());
                self.in_block = 0;
            }
            rest = after;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file that is read with its sums at hand. Cheap to clone; every read is at a place of its own.
#[derive(Clone, Debug)]
pub(crate) struct Checked(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    bytes: u64,
    sums: Sums,
}

impl Checked {
    pub(crate) fn open(path: &Path, bytes: u64, sums: Sums) -> io::Result<Checked> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if found != bytes {
            return Err(io::Error::other(format!("it has {found} bytes instead of {bytes}")));
        }
        Ok(Checked(Arc::new(Inner { file, bytes, sums })))
    }

    /// Reads it whole.
    pub(crate) fn verify(&self) -> io::Result<()> {
        let mut at = 0;
        while at < self.0.bytes {
            let step = (ARCHIVE_BLOCK_BYTES as u64 * 16).min(self.0.bytes - at);
            self.read(at, step as usize)?;
            at += step;
        }
        Ok(())
    }

    fn read(&self, start: u64, len: usize) -> io::Result<Bytes> {
        let Inner { file, bytes, sums } = &*self.0;
        let end = start.checked_add(len as u64).filter(|end| end <= bytes);
        let end = end.ok_or_else(|| io::Error::other(format!("{len} bytes at {start} are beyond its end")))?;
        let block = ARCHIVE_BLOCK_BYTES as u64;
        let first = start / block;
        let aligned = first * block;
        let aligned_end = end.next_multiple_of(block).min(*bytes);
        let mut read = vec![0; (aligned_end - aligned) as usize];
        file.read_exact_at(&mut read, aligned)?;
        for (i, piece) in read.chunks(ARCHIVE_BLOCK_BYTES).enumerate() {
            if sums.0.get(first as usize + i) != Some(&crc32fast::hash(piece)) {
                let at = aligned + (i * ARCHIVE_BLOCK_BYTES) as u64;
                return Err(io::Error::other(format!(
                    "it is damaged between byte {at} and {}",
                    at + piece.len() as u64
                )));
            }
        }
        let from = (start - aligned) as usize;
        Ok(Bytes::from(read).slice(from..from + len))
    }
}

impl Length for Checked {
    fn len(&self) -> u64 {
        self.0.bytes
    }
}

impl ChunkReader for Checked {
    type T = Reading;

    fn get_read(&self, start: u64) -> Result<Reading, ParquetError> {
        Ok(Reading { file: self.clone(), at: start, held: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.read(start, length).map_err(ParquetError::from)
    }
}

/// Reads on from a place, a block at a time.
#[derive(Debug)]
pub(crate) struct Reading {
    file: Checked,
    /// Where the bytes behind those that are held stand.
    at: u64,
    held: Bytes,
}

impl Read for Reading {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let block = ARCHIVE_BLOCK_BYTES as u64;
            let to_end = self.file.0.bytes.saturating_sub(self.at);
            let len = (block - self.at % block).min(to_end);
            self.held = self.file.read(self.at, len as usize)?;
            self.at += len;
        }
        let n = out.len().min(self.held.len());
        let now = self.held.split_to(n);
        if let Some(place) = out.get_mut(..n) {
            place.copy_from_slice(&now);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(len: usize) -> (tempfile::NamedTempFile, Vec<u8>, Sums) {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
        let mut summing = Summing::new(Vec::new());
        for piece in bytes.chunks(1000) {
            summing.write_all(piece).unwrap();
        }
        let (whole, n, sums) = summing.finish();
        assert_eq!((whole.len(), n), (len, len as u64));
        assert_eq!(Sums::from_hex(&sums.to_hex()), Some(sums.clone()));
        assert!(sums.fit(len as u64) && !sums.fit(len as u64 + ARCHIVE_BLOCK_BYTES as u64));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&whole).unwrap();
        (file, bytes, sums)
    }

    #[test]
    fn any_range_reads_as_it_was_written() {
        for len in [1, ARCHIVE_BLOCK_BYTES, 3 * ARCHIVE_BLOCK_BYTES + 17] {
            let (file, bytes, sums) = written(len);
            let checked = Checked::open(file.path(), len as u64, sums).unwrap();
            checked.verify().unwrap();
            for (from, to) in [(0, len), (len / 3, len / 2), (len - 1, len), (len, len)] {
                assert_eq!(checked.get_bytes(from as u64, to - from).unwrap(), bytes[from..to]);
            }
            let mut rest = Vec::new();
            checked.get_read(len as u64 / 3).unwrap().read_to_end(&mut rest).unwrap();
            assert_eq!(rest, bytes[len / 3..]);
            assert!(checked.get_bytes(1, len).is_err());
            assert!(checked.get_bytes(u64::MAX, 2).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_is_found_in_its_block_and_nowhere_else() {
        let len = 3 * ARCHIVE_BLOCK_BYTES;
        let (file, mut bytes, sums) = written(len);
        bytes[ARCHIVE_BLOCK_BYTES + 5] ^= 4;
        std::fs::write(file.path(), &bytes).unwrap();
        let checked = Checked::open(file.path(), len as u64, sums.clone()).unwrap();
        assert!(checked.get_bytes(0, ARCHIVE_BLOCK_BYTES).is_ok());
        assert!(checked.get_bytes(ARCHIVE_BLOCK_BYTES as u64, 1).is_err());
        assert!(checked.verify().is_err());
        std::fs::write(file.path(), &bytes[1..]).unwrap();
        assert!(Checked::open(file.path(), len as u64, sums).is_err());
    }
}
