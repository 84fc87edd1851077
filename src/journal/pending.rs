//! What was appended and waits for the writer: groups of encoded records, in the engine's order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::bytes::{INTEGER_BYTES_MAX, fold, put};
use super::codec::Encoder;
use super::frame::{self, FrameKind, Header};
use super::record::Context;
use super::segment::encode_context;
use crate::engine::Judged;
use crate::event::GatewayId;
use crate::limits::{JOURNAL_GROUP_BYTES, JOURNAL_RECORD_BYTES_MAX};

/// The highest `seq` held of each gateway.
pub type Ledger = HashMap<GatewayId, u64>;

/// Notes that a gateway's events are held up to this `seq`.
pub(super) fn note(ledger: &mut Ledger, gateway: GatewayId, highest_seq: u64) {
    if highest_seq > 0 {
        let seq = ledger.entry(gateway).or_default();
        *seq = highest_seq.max(*seq);
    }
}

/// Records that are written together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) bytes: Vec<u8>,
    /// First and last record; 0: none yet.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Position of the first event.
    pub(super) position: u64,
    pub(super) context: Arc<Context>,
    pub(super) accounts: Vec<Account>,
    /// Bytes of its records.
    pub(super) weight: usize,
}

/// What may be told a gateway once its record is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) gateway: GatewayId,
    pub(super) highest_seq: u64,
    /// Records that were left out before this one: it is told only when a snapshot holds them.
    pub(super) n_outside: u64,
}

/// A snapshot that is durable: what it holds needs the journal no more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resume {
    pub(super) record: u64,
    pub(super) n_outside: u64,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    encoder: Encoder,
    open: Group,
    /// Groups that are full, before the open one.
    full: VecDeque<Group>,
    pub(super) bytes: usize,
    pub(super) next_record: u64,
    pub(super) next_position: u64,
    pub(super) ledger: Ledger,
    pub(super) context: Arc<Context>,
    /// Batches that were left out, and what their gateways sent with them.
    pub(super) n_outside: u64,
    pub(super) left_out: Vec<Account>,
    pub(super) resume: Option<Resume>,
    pub(super) is_stopping: bool,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
}

/// Buffers kept for the next groups; each is of a group's size at the most that is usual.
const SPARE_MAX: usize = 4;

impl Pending {
    /// Goes on behind a record.
    pub(super) fn new(last_record: u64, next_position: u64, ledger: Ledger, context: Arc<Context>) -> Pending {
        let (next_record, next_position) = (last_record + 1, next_position.max(1));
        Pending { next_record, next_position, ledger, context, ..Pending::default() }
    }

    /// Appends the record of a batch or tick; its number, the position of its first event, and its bytes. `None` where
    /// it would be too long to be read again.
    pub(super) fn append(&mut self, judged: &Judged, committed: u64) -> Option<(u64, u64, usize)> {
        let (number, position) = (self.next_record, self.next_position);
        let n_uncommitted = u32::try_from(number.saturating_sub(committed)).unwrap_or(u32::MAX);
        let Pending { open, encoder, .. } = self;
        if open.bytes.capacity() == 0 {
            open.bytes = self.spare.pop().unwrap_or_default();
        }
        let start = frame::begin(&mut open.bytes);
        let (kind, n_events) = match judged.tick {
            Some(at) => {
                let mut bytes = [0; INTEGER_BYTES_MAX];
                let n = put(&mut bytes, 0, fold(at.0));
                open.bytes.extend_from_slice(bytes.get(..n).unwrap_or_default());
                (FrameKind::Tick, 0)
            }
            None => (FrameKind::Batch, encoder.encode(judged, &mut open.bytes)),
        };
        if open.bytes.len() - start - frame::HEADER_BYTES > JOURNAL_RECORD_BYTES_MAX {
            open.bytes.truncate(start);
            return None;
        }
        frame::finish(&Header { kind, n_events, number, position, n_uncommitted }, &mut open.bytes, start);
        let weight = open.bytes.len() - start;
        open.weight += weight;
        self.bytes += weight;
        if open.first == 0 {
            (open.first, open.position, open.context) = (number, position, Arc::clone(&self.context));
        }
        open.last = number;
        self.next_record += 1;
        self.next_position += u64::from(n_events);
        self.owe(judged);
        if self.open.bytes.len() >= JOURNAL_GROUP_BYTES {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        Some((number, position, weight))
    }

    /// What its gateway may be told once the record is durable.
    fn owe(&mut self, judged: &Judged) {
        let source = &judged.batch.source;
        if source.highest_seq == 0 {
            return;
        }
        note(&mut self.ledger, source.gateway, source.highest_seq);
        let n_outside = self.n_outside;
        match self.open.accounts.last_mut() {
            Some(last) if last.gateway == source.gateway && last.n_outside == n_outside => {
                last.highest_seq = last.highest_seq.max(source.highest_seq);
            }
            _ => {
                self.open.accounts.push(Account { gateway: source.gateway, highest_seq: source.highest_seq, n_outside })
            }
        }
    }

    /// The batch is not journaled: neither it nor what comes behind it may be acknowledged until a snapshot has it.
    pub(super) fn leave_out(&mut self, judged: &Judged) {
        self.n_outside += 1;
        let source = &judged.batch.source;
        if source.highest_seq == 0 {
            return;
        }
        note(&mut self.ledger, source.gateway, source.highest_seq);
        let account = Account { gateway: source.gateway, highest_seq: source.highest_seq, n_outside: self.n_outside };
        // One a gateway: what is told of it is cumulative anyway.
        match self.left_out.iter_mut().find(|known| known.gateway == account.gateway) {
            Some(known) => {
                *known = Account { highest_seq: account.highest_seq.max(known.highest_seq), ..account };
            }
            None => self.left_out.push(account),
        }
    }

    /// What numbers stand for from the next record on.
    pub(super) fn set_context(&mut self, context: Arc<Context>) {
        if self.open.first != 0 {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        self.context = context;
        self.open.bytes.clear();
        // It counts as bytes of the record that follows and goes with it.
        let mut payload = Vec::new();
        encode_context(&self.context, &mut payload);
        let (number, position) = (self.next_record, self.next_position);
        let header = Header { kind: FrameKind::Context, n_events: 0, number, position, n_uncommitted: u32::MAX };
        frame::append(&header, &mut self.open.bytes, &payload);
    }

    /// Moves every group that has a record to the writer.
    pub(super) fn take(&mut self, taken: &mut VecDeque<Group>) {
        taken.append(&mut self.full);
        if self.open.first != 0 {
            taken.push_back(std::mem::take(&mut self.open));
        }
        self.bytes = 0;
    }

    /// Keeps the buffer of a group that is durable.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() <= 2 * JOURNAL_GROUP_BYTES {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
