//! Which `seq` of which gateway has come, over all its connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dashmap::DashMap;

use crate::event::{Batch, GatewayId};

/// One per service. As many entries as gateways have names.
#[derive(Debug, Default)]
pub struct Ledger {
    gateways: DashMap<GatewayId, Arc<Account>>,
}

/// What one gateway has sent.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Highest `seq` handed to the engine.
    accepted: Mutex<u64>,
    /// Highest `seq` that the journal holds or, without one, that the engine has applied.
    kept: AtomicU64,
}

impl Ledger {
    pub(super) fn account(&self, gateway: GatewayId) -> Arc<Account> {
        Arc::clone(&self.gateways.entry(gateway).or_default())
    }

    /// The journal holds everything of a gateway up to this `seq`.
    pub fn keep(&self, gateway: GatewayId, seq: u64) {
        self.account(gateway).keep(seq);
    }

    /// What the journal held when the service started.
    pub fn restore(&self, gateway: GatewayId, seq: u64) {
        let account = self.account(gateway);
        account.keep(seq);
        let mut accepted = account.accepted.lock().unwrap_or_else(|e| e.into_inner());
        *accepted = seq.max(*accepted);
    }
}

impl Account {
    /// Takes the events out whose `seq` is not above all before it; says how many. Events of one gateway must pass here
    /// in their order. An event without `seq` stays: where one is required, the decoder has rejected it.
    pub(super) fn admit(&self, batch: &mut Batch) -> u64 {
        let mut accepted = self.accepted.lock().unwrap_or_else(|e| e.into_inner());
        let n_before = batch.events.len();
        let rejects = &mut batch.rejects;
        let (mut index, mut n_gone) = (0u32, 0u32);
        let mut next_reject = 0;
        batch.events.retain(|event| {
            // A reject stands before an event; it moves up by the events that went before it.
            while let Some(reject) = rejects.get_mut(next_reject).filter(|r| r.before <= index) {
                reject.before -= n_gone;
                next_reject += 1;
            }
            index += 1;
            let fresh = event.seq == 0 || event.seq > *accepted;
            *accepted = event.seq.max(*accepted);
            n_gone += u32::from(!fresh);
            fresh
        });
        for reject in rejects.iter_mut().skip(next_reject) {
            reject.before = reject.before.saturating_sub(n_gone);
        }
        let last_rejected = batch.rejects.iter().map(|r| r.seq).max().unwrap_or(0);
        *accepted = last_rejected.max(*accepted);
        (n_before - batch.events.len()) as u64
    }

    pub(super) fn keep(&self, seq: u64) {
        self.kept.fetch_max(seq, Ordering::Relaxed);
    }

    pub(super) fn last_kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }
}

/// The highest `seq` a batch brought, rejected records included: those too are dealt with. 0: none.
pub(super) fn highest(batch: &Batch) -> u64 {
    let events = batch.events.iter().map(|e| e.seq).max().unwrap_or(0);
    batch.rejects.iter().map(|r| r.seq).max().unwrap_or(0).max(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CallEvent, Reject, Rejected};

    fn batch(seqs: &[u64]) -> Batch {
        let events = seqs.iter().map(|seq| CallEvent { seq: *seq, ..CallEvent::BLANK }).collect();
        Batch { events, ..Batch::default() }
    }

    fn seqs(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|e| e.seq).collect()
    }

    #[test]
    fn what_goes_back_is_a_duplicate_also_over_connections() {
        let ledger = Ledger::default();
        let mut first = batch(&[1, 2, 2, 3]);
        assert_eq!(ledger.account(GatewayId(1)).admit(&mut first), 1);
        assert_eq!(seqs(&first), [1, 2, 3]);
        let mut again = batch(&[2, 3, 4, 5]);
        assert_eq!(ledger.account(GatewayId(1)).admit(&mut again), 2);
        assert_eq!(seqs(&again), [4, 5]);
        let mut other = batch(&[1]);
        assert_eq!(ledger.account(GatewayId(2)).admit(&mut other), 0);
    }

    #[test]
    fn rejects_keep_their_place_among_the_events_that_stay() {
        let account = Account::default();
        account.admit(&mut batch(&[2]));
        let mut mixed = batch(&[1, 2, 3, 4]);
        let reject = |before| Rejected { before, seq: 0, reason: Reject::NoTime };
        mixed.rejects = vec![reject(0), reject(1), reject(3), reject(4)];
        assert_eq!(account.admit(&mut mixed), 2);
        assert_eq!(seqs(&mixed), [3, 4]);
        assert_eq!(mixed.rejects.iter().map(|r| r.before).collect::<Vec<_>>(), [0, 0, 1, 2]);
    }

    #[test]
    fn a_rejected_record_is_dealt_with_too() {
        let account = Account::default();
        let mut rejected = batch(&[]);
        rejected.rejects = vec![Rejected { before: 0, seq: 9, reason: Reject::NoTime }];
        assert_eq!(highest(&rejected), 9);
        account.admit(&mut rejected);
        assert_eq!(account.admit(&mut batch(&[9])), 1);
    }
}
