//! The past of a service: its archive, and its journal where that ends.
//!
//! What cannot be read is told and not held against the rest, as long as the answer says so.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{Piece, Stretch};
use crate::archive::{Archive, ArchiveError, Query, State};
use crate::clock::Timestamp;
use crate::engine::RuleRef;
use crate::event::{Batch, Flags, Names};
use crate::journal::{Context, Entry, Reader};
use crate::limits::{EXPLAIN_EVENTS_MAX, EXPLAIN_READ_TRIES};
use crate::policy::Action;
use crate::storage::Disk;

/// What decoders and the gate say of an event: what was counted of its call before is known, and nobody has to find it
/// out again. The rest is the engine's to say anew.
const KEPT: u16 = Flags::ANONYMOUS.0
    | Flags::AUTH_FAILED.0
    | Flags::EMERGENCY.0
    | Flags::FUTURE.0
    | Flags::B_RECORD.0
    | Flags::BY_GATE.0;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct History<'h> {
    pub archive: &'h Path,
    /// The folder of the journal; without one the archive is all there is.
    pub journal: Option<(&'h Disk, &'h Path)>,
    /// Those of the service: the journal's events name customers by them.
    pub names: &'h Arc<Names>,
}

/// Where a reading ended.
enum End {
    /// Whoever listens has heard enough.
    Heard,
    /// The journal let go of what the archive has by now.
    Moved,
}

impl History<'_> {
    /// Hands out the events of a stretch, in order of position. What could not be read is added to `notes`.
    pub fn read(&self, stretch: &Stretch, notes: &mut Vec<String>, take: super::Take<'_>) -> Result<(), ArchiveError> {
        let mut next = 0;
        for tries_left in (0..EXPLAIN_READ_TRIES).rev() {
            let mut reading = Reading { history: self, stretch, notes, next, n_events: 0 };
            match reading.run(tries_left > 0, take) {
                Ok(Some(End::Moved)) => next = reading.next,
                Ok(_) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct Reading<'r, 'h> {
    history: &'r History<'h>,
    stretch: &'r Stretch,
    notes: &'r mut Vec<String>,
    /// The position of the first event that was not handed out yet.
    next: u64,
    n_events: u64,
}

impl Reading<'_, '_> {
    fn run(&mut self, tries_left: bool, take: super::Take<'_>) -> Result<Option<End>, ArchiveError> {
        let mut reached = 1;
        let is_archived = Archive::is_at(self.history.archive);
        if is_archived || self.history.journal.is_none() {
            let archive = Archive::read(self.history.archive)?;
            reached = archive.reached();
            if !self.archive(&archive, take)? {
                return Ok(Some(End::Heard));
            }
        }
        match self.history.journal {
            Some((disk, folder)) => Ok(self.journal((disk, folder), reached, is_archived && tries_left, take)),
            None => Ok(None),
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn positions(&self) -> Range<u64> {
        match self.stretch.position {
            Some(position) => position.max(self.next)..position.saturating_add(1),
            None => self.next..u64::MAX,
        }
    }

    /// Hands a piece out; false where no more is wanted.
    fn give(&mut self, piece: Piece, take: &mut dyn FnMut(Piece) -> bool) -> bool {
        self.next = piece.positions.last().map_or(self.next, |last| last + 1);
        self.n_events += piece.batch.events.len() as u64;
        if !take(piece) {
            return false;
        }
        if self.n_events >= EXPLAIN_EVENTS_MAX {
            self.note(format!("only the first {EXPLAIN_EVENTS_MAX} events of that time were read: there are more"));
            return false;
        }
        true
    }

    fn archive(&mut self, archive: &Archive, take: &mut dyn FnMut(Piece) -> bool) -> Result<bool, ArchiveError> {
        let (from, to) = (self.stretch.from.unwrap_or(Timestamp::MIN), self.stretch.to.unwrap_or(Timestamp::MAX));
        let customer = &self.stretch.customer;
        let is_wanted = |customer_of: &str| customer.as_ref().is_none_or(|customer| customer == customer_of);
        let files = archive.files().filter(|file| is_wanted(&file.customer) && file.from < to.0 && from.0 <= file.to);
        let n_unclear = files.filter(|file| file.state != State::Clear).count();
        if n_unclear > 0 {
            self.note("the phone numbers of part of that time are erased or replaced by made-up ones".to_owned());
        }
        let query = Query {
            from: self.stretch.from,
            to: self.stretch.to,
            customers: customer.iter().cloned().collect(),
            positions: Some(self.positions()),
            ..Query::default()
        };
        for slice in archive.events(&query, Arc::clone(self.history.names)) {
            let slice = slice?;
            let told = slice.told.iter().map(|told| {
                let rule = String::from_utf8_lossy(slice.batch.text(told.rule)).into_owned();
                (told.action, rule)
            });
            let told = told.collect();
            let mut batch = slice.batch;
            batch.events.iter_mut().for_each(|event| event.flags.0 &= KEPT);
            if !self.give(Piece { batch, positions: slice.positions, told }, take) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn journal(
        &mut self,
        (disk, folder): (&Disk, &Path),
        reached: u64,
        minds_moves: bool,
        take: &mut dyn FnMut(Piece) -> bool,
    ) -> Option<End> {
        let mut reader = match Reader::open(disk, folder, reached..=u64::MAX) {
            Ok(reader) => reader,
            Err(error) => {
                self.note(format!("the newest calls cannot be read: {error}"));
                return None;
            }
        };
        if minds_moves && reader.report().n_lost_records > 0 {
            return Some(End::Moved);
        }
        while let Some(raw) = reader.next_raw() {
            let record = match raw.and_then(|raw| raw.decode()) {
                Ok(record) => record,
                Err(error) => {
                    self.note(format!("the newest calls cannot all be read: {error}"));
                    return None;
                }
            };
            let Entry::Batch { position, batch, verdicts, .. } = record.entry else { continue };
            let told: Vec<(Action, String)> =
                verdicts.iter().map(|v| (v.action, rule_id(&record.context, v.rule).to_owned())).collect();
            let piece = self.chosen(position, &batch, &told);
            if !piece.positions.is_empty() && !self.give(piece, take) {
                return Some(End::Heard);
            }
        }
        None
    }

    /// The events of a record that are wanted.
    fn chosen(&self, first: u64, batch: &Batch, told: &[(Action, String)]) -> Piece {
        let (from, to) = (self.stretch.from.unwrap_or(Timestamp::MIN), self.stretch.to.unwrap_or(Timestamp::MAX));
        let customer = self.stretch.customer.as_deref().and_then(|name| self.history.names.customer(name));
        let positions = self.positions();
        let mut piece = Piece::default();
        for ((event, position), i) in batch.events.iter().zip(first..).zip(0..) {
            let is_wanted = customer.is_none_or(|customer| customer == event.customer)
                && (from <= event.time && event.time < to)
                && positions.contains(&position);
            if is_wanted {
                piece.batch.adopt(batch, event);
                piece.positions.push(position);
                piece.told.push(told.get(i).cloned().unwrap_or_default());
            }
        }
        piece.batch.events.iter_mut().for_each(|event| event.flags.0 &= KEPT);
        piece
    }
}

fn rule_id(context: &Context, rule: RuleRef) -> &str {
    match rule {
        RuleRef::Default => "default",
        RuleRef::Emergency => "builtin:emergency",
        RuleRef::Firewall(i) => context.firewall.get(usize::from(i)).map_or("", String::as_str),
        RuleRef::Threshold(i) => context.thresholds.get(usize::from(i)).map_or("", String::as_str),
    }
}
