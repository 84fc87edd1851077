//! Which rows of a store a save under way has yet to write.
//!
//! A save is of one place in the engine's order, and calls flow on while it is written. So each row is written once: by
//! the saver when it comes to it, or right before the first change after that place, whichever is sooner. What is
//! written before a change is gathered here until the saver comes for it.

use crate::codec::Put;
use crate::limits::SAVE_PIECE_BYTES;

/// The rows of one store, `0..n` as they were at the place that is saved; rows added since are not part of it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// A bit a row.
    bits: Vec<u64>,
    /// Word at which the saver goes on.
    hand: usize,
    /// What the store wrote of itself when the save came to it.
    pub(crate) head: Vec<u8>,
    /// Rows that were written before they changed, in chunks that each are a piece.
    changed: Vec<Vec<u8>>,
}

impl Pending {
    pub(crate) fn new(n: usize) -> Pending {
        let mut bits = vec![u64::MAX; n.div_ceil(64)];
        if let Some(last) = bits.last_mut()
            && !n.is_multiple_of(64)
        {
            *last = (1 << (n % 64)) - 1;
        }
        Pending { bits, ..Pending::default() }
    }

    /// Is the row yet to be written? It no longer is: the caller writes it, or knows that it holds nothing.
    pub(crate) fn take(&mut self, row: u32) -> bool {
        let Some(word) = self.bits.get_mut(row as usize / 64) else { return false };
        let bit = 1 << (row % 64);
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    /// Where to write a row that is about to change.
    pub(crate) fn before_change(&mut self) -> Put<'_> {
        if self.changed.last().is_none_or(|chunk| chunk.len() >= SAVE_PIECE_BYTES) {
            self.changed.push(Vec::new());
        }
        let last = self.changed.len() - 1;
        Put(&mut self.changed[last])
    }

    /// Rows that were written before they changed, to be handed on.
    pub(crate) fn take_changed(&mut self) -> Option<Vec<u8>> {
        self.changed.pop()
    }

    /// A row to be written, in the order of their places; `None` when the last was given.
    pub(crate) fn next(&mut self) -> Option<u32> {
        while let Some(word) = self.bits.get_mut(self.hand) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(self.hand as u32 * 64 + bit);
            }
            self.hand += 1;
        }
        None
    }
}

/// How far a save has come with one store.
#[derive(Debug, Default)]
pub(crate) enum Saving {
    /// There is none under way, or it has not come here yet: the owner knows.
    #[default]
    Untouched,
    Under(Box<Pending>),
    Written,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_given_once_in_order_and_none_that_came_later() {
        let mut pending = Pending::new(130);
        assert!(pending.take(5) && !pending.take(5) && pending.take(129));
        assert!(!pending.take(130) && !pending.take(100_000));
        let rows: Vec<u32> = std::iter::from_fn(|| pending.next()).collect();
        assert_eq!(rows, (0..129).filter(|row| *row != 5).collect::<Vec<u32>>());
        assert!(Pending::new(0).next().is_none() && Pending::new(64).bits.len() == 1);
    }
}
