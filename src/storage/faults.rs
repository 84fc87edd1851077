//! What goes wrong with a disk, by plan: for tests of those who must not lose anything by it.
//!
//! Operations are counted from 1 in the order in which they begin. A service has no plan, and nothing here is asked.

use std::io;
use std::sync::Mutex;

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Write,
    Sync,
    Rename,
    Remove,
    Truncate,
    SyncFolder,
    Read,
}

impl Operation {
    pub const ALL: &'static [(Operation, &'static str)] = &[
        (Operation::Create, "create"),
        (Operation::Write, "write"),
        (Operation::Sync, "sync"),
        (Operation::Rename, "rename"),
        (Operation::Remove, "remove"),
        (Operation::Truncate, "truncate"),
        (Operation::SyncFolder, "sync-folder"),
        (Operation::Read, "read"),
    ];
}

/// A plan of faults, shared by whoever arms it and the disk that suffers it.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Plan>);

#[derive(Debug, Default)]
struct Plan {
    /// Operations begun, all kinds together and each alone.
    n_begun: u64,
    n_by_kind: [u64; Operation::ALL.len()],
    failures: Vec<Failure>,
    /// Bytes that may still be written before the disk is full.
    room: Option<u64>,
    /// A write takes at most so many bytes at once.
    write_bytes_max: Option<usize>,
}

#[derive(Debug)]
struct Failure {
    /// Any kind where there is none.
    operation: Option<Operation>,
    first: u64,
    times: u64,
}

impl Faults {
    /// The `nth` operation from the start (of that kind, or of any) fails, and so do the `times - 1` after it. A write
    /// that fails has written half; a sync that fails has lost what was written since the last one that did not.
    pub fn fail(&self, operation: Option<Operation>, nth: u64, times: u64) {
        self.plan().failures.push(Failure { operation, first: nth, times });
    }

    /// Operations fail no more.
    pub fn heal(&self) {
        self.plan().failures.clear();
    }

    /// The disk is full after so many bytes more; `None`: it has room again.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.plan().room = bytes;
    }

    /// Writes are short: each takes at most so many bytes.
    pub fn set_write_bytes_max(&self, bytes: Option<usize>) {
        self.plan().write_bytes_max = bytes;
    }

    /// Operations begun so far.
    pub fn n_begun(&self) -> u64 {
        self.plan().n_begun
    }

    /// Operations of a kind begun so far.
    pub fn n_begun_of(&self, operation: Operation) -> u64 {
        self.plan().n_by_kind[operation as usize]
    }

    /// Counts the operation and says whether it is to fail.
    pub(super) fn begin(&self, operation: Operation) -> io::Result<()> {
        let mut plan = self.plan();
        plan.n_begun += 1;
        plan.n_by_kind[operation as usize] += 1;
        let (any, of_kind) = (plan.n_begun, plan.n_by_kind[operation as usize]);
        let is_met = |f: &Failure| match f.operation {
            None => (f.first..f.first.saturating_add(f.times)).contains(&any),
            Some(kind) => kind == operation && (f.first..f.first.saturating_add(f.times)).contains(&of_kind),
        };
        match plan.failures.iter().any(is_met) {
            true => Err(io::Error::other(format!("planned fault of {operation:?} {of_kind} (operation {any})"))),
            false => Ok(()),
        }
    }

    /// How many of the bytes a write may take; an error where the disk is full.
    pub(super) fn allowance(&self, bytes: usize) -> io::Result<usize> {
        let mut plan = self.plan();
        let mut allowed = bytes.min(plan.write_bytes_max.unwrap_or(usize::MAX).max(1));
        if let Some(room) = &mut plan.room {
            allowed = allowed.min(usize::try_from(*room).unwrap_or(usize::MAX));
            *room -= allowed as u64;
            if allowed == 0 && bytes > 0 {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "planned: no space left on device"));
            }
        }
        Ok(allowed)
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A plan in words: `write:100` or `sync:3x50` (the 3rd and the 49 after it), `any:17`, `room:1000000`,
    /// `short:7`, with commas between.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn parse(text: &str) -> Option<Faults> {
        let faults = Faults::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (word, value) = part.split_once(':')?;
            let (nth, times) = value.split_once('x').unwrap_or((value, "1"));
            let (nth, times): (u64, u64) = (nth.parse().ok()?, times.parse().ok()?);
            match (word, Operation::ALL.iter().find(|(_, name)| *name == word)) {
                ("any", _) => faults.fail(None, nth, times),
                ("room", _) => faults.set_room(Some(nth)),
                ("short", _) => faults.set_write_bytes_max(usize::try_from(nth).ok()),
                (_, Some((operation, _))) => faults.fail(Some(*operation), nth, times),
                (_, None) => return None,
            }
        }
        Some(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_in_words_fails_what_it_says_and_nothing_else() {
        let faults = Faults::parse("write:2x2, any:5, room:3, short:2").expect("it is a plan");
        let outcome = |op| faults.begin(op).is_ok();
        assert_eq!([outcome(Operation::Write), outcome(Operation::Write)], [true, false]);
        assert_eq!([outcome(Operation::Sync), outcome(Operation::Write)], [true, false]);
        assert_eq!([outcome(Operation::Sync), outcome(Operation::Write)], [false, true]);
        assert_eq!(faults.n_begun_of(Operation::Write), 4);
        assert_eq!(
            [faults.allowance(9).ok(), faults.allowance(9).ok(), faults.allowance(9).ok()],
            [Some(2), Some(1), None]
        );
        faults.set_room(None);
        assert_eq!(faults.allowance(9).ok(), Some(2));
        assert!(Faults::parse("burn:1").is_none());
    }

    #[test]
    fn each_operation_stands_at_its_own_place() {
        for (i, (operation, _)) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, i);
        }
    }
}
