//! Integers in few bytes, written and read without a loop.
//!
//! The lowest set bit of the first byte tells how many bytes follow, so one load and one shift read what took a byte
//! or eight. Small numbers take one byte; signed ones are folded so that small means near zero.

/// Longest form of an integer.
pub(super) const INTEGER_BYTES_MAX: usize = 9;

/// Room that [`put`] wants behind the place it writes to.
const WORD: usize = 8;

/// Writes an integer at `at` and gives the place behind it. The buffer must have [`INTEGER_BYTES_MAX`] bytes there.
#[inline(always)]
pub(super) fn put(buffer: &mut [u8], at: usize, value: u64) -> usize {
    let n_bits = 64 - (value | 1).leading_zeros() as usize;
    if n_bits > 56 {
        buffer[at] = 0;
        buffer[at + 1..at + 1 + WORD].copy_from_slice(&value.to_le_bytes());
        return at + INTEGER_BYTES_MAX;
    }
    // Divided by seven, rounded up.
    let n_bytes = (n_bits * 37 + 222) >> 8;
    let word = (value << 1 | 1) << (n_bytes - 1);
    buffer[at..at + WORD].copy_from_slice(&word.to_le_bytes());
    at + n_bytes
}

/// Appends an integer.
pub(super) fn push(buffer: &mut Vec<u8>, value: u64) {
    let mut bytes = [0; INTEGER_BYTES_MAX];
    let n = put(&mut bytes, 0, value);
    buffer.extend_from_slice(&bytes[..n]);
}

/// Folds the sign into the lowest bit.
#[inline(always)]
pub(super) fn fold(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// Undoes [`fold`].
#[inline(always)]
pub(super) fn unfold(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads what [`put`] wrote. Past the end of the bytes everything is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline(always)]
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline(always)]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    #[inline(always)]
    pub(super) fn integer(&mut self) -> Option<u64> {
        let Some(word) = self.rest.first_chunk::<WORD>() else { return self.integer_near_end() };
        let word = u64::from_le_bytes(*word);
        let n_more = (word as u8).trailing_zeros() as usize;
        if n_more >= WORD {
            return self.long_integer();
        }
        self.rest = self.rest.get(n_more + 1..)?;
        let kept = u64::MAX >> (WORD * (WORD - 1 - n_more));
        Some((word & kept) >> (n_more + 1))
    }

    #[cold]
    fn long_integer(&mut self) -> Option<u64> {
        self.take(1)?;
        self.array().map(u64::from_le_bytes)
    }

    #[cold]
    fn integer_near_end(&mut self) -> Option<u64> {
        let n_bytes = self.rest.first()?.trailing_zeros() as usize + 1;
        let taken = self.take(n_bytes)?;
        let mut word = [0; WORD];
        word.get_mut(..n_bytes)?.copy_from_slice(taken);
        Some(u64::from_le_bytes(word) >> n_bytes)
    }

    #[inline(always)]
    pub(super) fn signed(&mut self) -> Option<i64> {
        self.integer().map(unfold)
    }

    /// An integer that fits a smaller type.
    #[inline(always)]
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.integer()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_is_read_as_written_also_at_the_very_end() {
        let edges = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, (1 << bit) + 1, u64::MAX >> bit]);
        for value in edges {
            let mut written = Vec::new();
            push(&mut written, value);
            for room in 0..9 {
                let mut bytes = written.clone();
                bytes.resize(written.len() + room, 0xff);
                let mut reader = Bytes::new(&bytes);
                assert_eq!(reader.integer(), Some(value));
                assert_eq!(reader.rest().len(), room);
            }
            for cut in 0..written.len() {
                assert_eq!(Bytes::new(&written[..cut]).integer(), None, "{value}");
            }
        }
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unfold(fold(value)), value);
        }
    }

    #[test]
    fn small_integers_are_short() {
        for (value, n) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), ((1 << 56) - 1, 8), (1 << 56, 9)] {
            let mut written = Vec::new();
            push(&mut written, value);
            assert_eq!(written.len(), n, "{value}");
        }
    }
}
