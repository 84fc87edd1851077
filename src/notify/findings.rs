//! What was found and waits for the journal before it is told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::engine::{Closed, Violation};
use crate::policy::Policy;
use crate::store::Change;

/// Longest wait for the journal. A disk that is full or slow must not keep an attack secret: told too early, the worst
/// that can come of it is that a crash makes it be told twice.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What one batch brought, as the sinks want it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What numbers of rules stand for here.
    pub(super) policy: Arc<Policy>,
    /// Violations, one JSON line each, and where each line ends.
    pub(super) lines: Vec<u8>,
    pub(super) line_ends: Vec<usize>,
    pub(super) violations: Vec<Violation>,
    pub(super) closed: Vec<Closed>,
    /// For the store.
    pub(super) changes: Vec<Change>,
}

/// Findings in the order of the engine. As many as batches wait for the journal, or come within [`WAIT_MAX`].
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: Mutex<VecDeque<Waiting>>,
    /// What was told before its time, and is not on record.
    unwritten: Mutex<VecDeque<(u64, Vec<Change>)>>,
    /// Whoever tells holds it, so that two threads cannot overtake each other.
    telling: Mutex<()>,
    committed: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    record: u64,
    since: Instant,
    findings: Findings,
}

impl Held {
    /// `record` 0 waits for nothing but its turn.
    pub(super) fn hold(&self, record: u64, findings: Findings, now: Instant) {
        let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
        waiting.push_back(Waiting { record, since: now, findings });
    }

    pub(super) fn committed(&self, record: u64) {
        self.committed.fetch_max(record, Ordering::Relaxed);
    }

    /// Hands out what need not wait any more. What is told before its record is committed goes on record only then: after
    /// a crash its place in the journal may be another's.
    pub(super) fn tell(&self, now: Instant, mut tell: impl FnMut(Findings)) {
        let _order = self.telling.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            let next = {
                let mut waiting = self.waiting.lock().unwrap_or_else(|e| e.into_inner());
                let committed = self.committed.load(Ordering::Relaxed);
                let is_due = |front: &Waiting| {
                    front.record <= committed || now.saturating_duration_since(front.since) >= WAIT_MAX
                };
                if waiting.front().is_some_and(is_due) { waiting.pop_front() } else { None }
            };
            let Some(Waiting { record, mut findings, .. }) = next else { break };
            if record > self.committed.load(Ordering::Relaxed) {
                let changes = std::mem::take(&mut findings.changes);
                self.unwritten.lock().unwrap_or_else(|e| e.into_inner()).push_back((record, changes));
            }
            tell(findings);
        }
        loop {
            let mut unwritten = self.unwritten.lock().unwrap_or_else(|e| e.into_inner());
            let committed = self.committed.load(Ordering::Relaxed);
            let Some((_, changes)) = unwritten.pop_front_if(|(record, _)| *record <= committed) else { return };
            drop(unwritten);
            tell(Findings { changes, ..Findings::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(held: &Held, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        held.tell(now, |findings| told.push(String::from_utf8(findings.lines).expect("text")));
        told
    }

    #[test]
    fn findings_wait_for_their_record_in_their_order_but_not_for_ever() {
        let (held, now) = (Held::default(), Instant::now());
        for record in [3, 4, 5] {
            let findings = Findings { lines: record.to_string().into_bytes(), ..Findings::default() };
            held.hold(record, findings, now);
        }
        assert_eq!(told(&held, now), [""; 0]);
        held.committed(4);
        assert_eq!(told(&held, now), ["3", "4"]);
        held.committed(3);
        assert_eq!(told(&held, now + WAIT_MAX - Duration::from_millis(1)), [""; 0]);
        assert_eq!(told(&held, now + WAIT_MAX), ["5"]);
    }

    #[test]
    fn what_is_told_before_its_time_goes_on_record_when_it_is_committed() {
        let (held, now) = (Held::default(), Instant::now());
        let change = Change::Told { id: "1/r/warning".to_owned(), at: crate::clock::Timestamp(0) };
        held.hold(1, Findings { changes: vec![change.clone()], ..Findings::default() }, now);
        let mut written = Vec::new();
        held.tell(now + WAIT_MAX, |findings| written.extend(findings.changes));
        assert_eq!(written, []);
        held.committed(1);
        held.tell(now + WAIT_MAX, |findings| written.extend(findings.changes));
        assert_eq!(written, [change]);
    }
}
