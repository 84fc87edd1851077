//! What holds of a table that was put together again: it goes on as if nothing had happened, and bytes that nobody has
//! vouched for make a table all the same, or none. Called by tests and by the fuzz target.

use std::sync::Arc;

use super::property::{Step, steps};
use super::*;
#[cfg(test)]
use crate::limits::CALLS_MAX;

/// Of what is shown to a table that was made of damaged bytes: each message there is, of few calls.
const MESSAGES: &[u8] = &[0; 64];

/// Pieces of a length each: parts of a table, and what blocks changed. The first byte of a piece says which.
pub(crate) fn whatever_was_kept_makes_a_table(bytes: &[u8]) {
    let table = Arc::new(CallTable::with_room(7, PARTS).with_annex());
    let mut recovery = Recovery::new(Arc::clone(&table));
    let mut rest = bytes;
    while let Some(([what, low, high], after)) = rest.split_first_chunk() {
        let (piece, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        rest = after;
        // Whether it was refused is for the table to show.
        let _is_refused = match usize::from(*what) {
            part @ 0..PARTS => recovery.restore_part(part, piece),
            _ => recovery.apply(piece),
        };
    }
    recovery.finish();
    let mut counts = CallCounts::default();
    table.check_invariants(&mut counts);
    let again = restored(&saved(&table), &[], PARTS);
    assert_same(&again, &table, "saved and read back");
    for step in steps(MESSAGES).chain(steps(bytes)) {
        take(&step, &table, &mut Changes::default(), &mut Vec::new());
    }
    table.settle(Timestamp(i64::MAX), &mut Changes::default(), |_| {});
    table.check_invariants(&mut counts);
}

/// All parts of a table.
fn saved(table: &CallTable) -> Vec<Vec<u8>> {
    let save = |part| {
        let mut bytes = Vec::new();
        table.save_part(part, &mut bytes);
        bytes
    };
    (0..CallTable::PARTS).map(save).collect()
}

fn assert_same(one: &CallTable, other: &CallTable, when: &str) {
    for (number, (one, other)) in saved(one).iter().zip(&saved(other)).enumerate() {
        assert_eq!(one, other, "part {number}, {when}");
    }
}

fn restored(parts: &[Vec<u8>], annexes: &[Vec<u8>], room: usize) -> Arc<CallTable> {
    let table = Arc::new(CallTable::with_room(7, room).with_annex());
    let mut recovery = Recovery::new(Arc::clone(&table));
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(recovery.restore_part(number, part), Ok(()));
    }
    for annex in annexes {
        assert_eq!(recovery.apply(annex), Ok(()));
    }
    recovery.finish();
    table
}

fn take(step: &Step, table: &CallTable, changes: &mut Changes, told: &mut Vec<String>) {
    let tell = |t: Told<'_>| told.push(format!("{:?} {:?} {} {:?}", t.event, t.call_id, t.is_b_leg, t.parties));
    match step {
        Step::See(draft, is_correlated) => {
            let correlation_id: &[u8] = if *is_correlated { b"0@fuzz" } else { b"" };
            draft.show_and_note(table, correlation_id, changes, tell);
        }
        Step::Settle(now) => table.settle(Timestamp(*now), changes, tell),
    }
}

/// Streams that show messages to one table, and what their blocks have written by now.
#[cfg(test)]
struct Feeds<'a> {
    streams: [Changes; 3],
    picks: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    journal: Vec<Vec<u8>>,
}

#[cfg(test)]
impl Feeds<'_> {
    fn new<'a>(table: &CallTable, picks: &'a [u8]) -> Feeds<'a> {
        let mut streams = [(); 3].map(|()| Changes::default());
        streams.iter_mut().for_each(|changes| table.begin_block(changes));
        Feeds { streams, picks: picks.iter().cycle(), journal: Vec::new() }
    }

    /// A step in the block of one stream, which may end with it.
    fn take(&mut self, step: &Step, table: &CallTable, told: &mut Vec<String>) {
        let pick = usize::from(self.picks.next().copied().unwrap_or_default());
        let changes = &mut self.streams[pick % 3];
        take(step, table, changes, told);
        if pick / 3 % 4 == 0 {
            end_block(table, changes, &mut self.journal);
        }
    }

    fn end(&mut self, table: &CallTable) {
        self.streams.iter_mut().for_each(|changes| end_block(table, changes, &mut self.journal));
    }
}

#[cfg(test)]
fn end_block(table: &CallTable, changes: &mut Changes, journal: &mut Vec<Vec<u8>>) {
    let mut annex = Vec::new();
    table.write_annex(changes, &mut annex);
    table.begin_block(changes);
    journal.push(annex);
}

/// Messages in blocks of three streams, parts that are saved one by one on the way, and two crashes. The table that was
/// put together again tells what the other tells, and in the end holds the same.
#[cfg(test)]
pub(super) fn a_crash_changes_nothing(steps: &[Step], picks: &[u8], room: Option<usize>) {
    let room = room.unwrap_or(CALLS_MAX);
    let pick = |at: usize| picks.get(at % picks.len().max(1)).map_or(0, |pick| usize::from(*pick));
    let first_crash = steps.len() * (pick(0) + 128) / 384;
    let (begin, pace) = (first_crash * pick(1) / 256, pick(2) % 16 + 1);
    let (before, after) = steps.split_at(first_crash);

    let table = CallTable::with_room(7, room).with_annex();
    let (mut feeds, mut parts) = (Feeds::new(&table, picks), vec![Vec::new(); PARTS]);
    let mut n_saved = 0;
    for at in 0..=before.len() {
        let is_last = at == before.len();
        let due = if is_last { PARTS } else { (at.saturating_sub(begin) * pace).min(PARTS) };
        while n_saved < due {
            table.save_part(n_saved, &mut parts[n_saved]);
            n_saved += 1;
        }
        if let Some(step) = before.get(at) {
            feeds.take(step, &table, &mut Vec::new());
        }
    }
    feeds.end(&table);
    let mut journal = feeds.journal;
    if pick(3) % 2 == 0 {
        // Feeds do not meet in the journal in the order in which they met in the table.
        journal.reverse();
    }

    let second = restored(&parts, &journal, room);
    assert_same(&second, &table, "after the first crash");
    let (mut said, mut said_again) = (Vec::new(), Vec::new());
    let mut feeds = Feeds::new(&second, picks);
    for step in after {
        take(step, &table, &mut Changes::default(), &mut said);
        feeds.take(step, &second, &mut said_again);
    }
    feeds.end(&second);
    assert_eq!(said_again, said);
    assert_eq!(second.take_counts().held, table.take_counts().held);

    journal.extend(feeds.journal);
    let third = restored(&parts, &journal, room);
    assert_same(&third, &second, "after the second crash");
    for table in [&second, &third] {
        let mut told = Vec::new();
        table.settle(Timestamp(i64::MAX), &mut Changes::default(), |t| told.push(format!("{:?}", t.event)));
        table.check_invariants(&mut CallCounts::default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_goes_on_after_a_crash_whatever_messages_came(
            bytes in prop::collection::vec(any::<u8>(), 0..800),
            picks in prop::collection::vec(any::<u8>(), 4..60),
        ) {
            let steps = steps(&bytes);
            let room = if steps.is_crowded { PARTS } else { 64 * PARTS };
            a_crash_changes_nothing(&steps.collect::<Vec<_>>(), &picks, Some(room));
        }
    }

    /// A table that knows a bit of everything, and what its blocks wrote.
    fn grown() -> (CallTable, Vec<Vec<u8>>) {
        let table = CallTable::with_room(7, 64 * PARTS).with_annex();
        let mut feeds = Feeds::new(&table, &[0, 3, 7, 11, 5]);
        let mut random = 1u32;
        let bytes: Vec<u8> = (0..1600)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            })
            .collect();
        steps(&bytes).for_each(|step| feeds.take(&step, &table, &mut Vec::new()));
        feeds.end(&table);
        (table, feeds.journal)
    }

    fn piece(what: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[what, length[0], length[1]], bytes].concat()
    }

    #[test]
    fn damage_is_refused_or_makes_another_table_and_never_a_panic() {
        let (table, journal) = grown();
        let parts = saved(&table).into_iter().zip(0..).map(|(bytes, number)| (number, bytes));
        let annexes = journal.into_iter().map(|bytes| (255, bytes));
        let mut n_refused = 0;
        for (what, bytes) in parts.chain(annexes).filter(|(_, bytes)| bytes.len() > 20) {
            for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x11;
                let mut without = bytes.clone();
                without.remove(at);
                for damaged in [&flipped[..], &without, &bytes[..at]] {
                    whatever_was_kept_makes_a_table(&piece(what, damaged));
                    let mut recovery = Recovery::new(Arc::new(CallTable::with_room(7, PARTS)));
                    n_refused += usize::from(match usize::from(what) {
                        part @ 0..PARTS => recovery.restore_part(part, damaged).is_err(),
                        _ => recovery.apply(damaged).is_err(),
                    });
                }
            }
        }
        assert!(n_refused > 100, "{n_refused}");
    }

    #[test]
    fn a_part_that_was_cut_is_refused_and_leaves_nothing() {
        let (table, _) = grown();
        for (number, bytes) in saved(&table).iter().enumerate() {
            for cut in 0..bytes.len() {
                let table = Arc::new(CallTable::with_room(7, PARTS));
                let mut recovery = Recovery::new(Arc::clone(&table));
                assert_eq!(recovery.restore_part(number, &bytes[..cut]), Err(RecoveryError::Part(number)));
                recovery.finish();
                assert_eq!(table.take_counts().held, 0);
            }
        }
    }

    #[test]
    fn a_table_without_annex_writes_none() {
        let table = CallTable::new(7);
        let mut feeds = Feeds::new(&table, &[0]);
        steps(MESSAGES).for_each(|step| feeds.take(&step, &table, &mut Vec::new()));
        feeds.end(&table);
        assert!(feeds.journal.iter().all(Vec::is_empty));
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_table_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            whatever_was_kept_makes_a_table(&bytes);
        }
    }
}
