//! The events of one customer and time, from the archive and, where that ends, from the journal.
//!
//! What cannot be read is told and not held against the rest: during an incident half of the truth is better than none,
//! as long as it says that it is half.

use std::sync::Arc;

use super::Sources;
use crate::archive::{Archive, Query, State};
use crate::clock::Timestamp;
use crate::engine::RuleRef;
use crate::event::{Batch, CallEvent};
use crate::journal::{Context, Entry, Reader};
use crate::limits::{FINDINGS_EVENTS_MAX, FINDINGS_READ_TRIES};
use crate::policy::Action;

/// What is read.
pub(super) struct Wanted<'a> {
    pub(super) customer: &'a str,
    /// Event time, both ends included.
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// An event and what it was told.
pub(super) struct Heard<'a> {
    pub(super) batch: &'a Batch,
    pub(super) event: &'a CallEvent,
    pub(super) position: u64,
    pub(super) action: Action,
    /// Id of the rule that decided; `default` where none did.
    pub(super) rule: &'a str,
}

/// What became of a reading.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) n_events: u64,
    /// Sentences on what could not be read.
    pub(super) notes: Vec<String>,
}

/// Why a reading goes on no further.
enum Stop {
    /// The bound was reached.
    Enough,
    /// The journal let go of what the archive has by now.
    Moved,
}

/// Gives every event to the listener that `listener` makes, in order of position, and gives that back. It is made anew
/// where the reading has to begin again.
pub(super) fn read<T>(
    sources: &Sources<'_>,
    wanted: &Wanted<'_>,
    listener: impl Fn() -> T,
    hear: impl Fn(&mut T, &Heard<'_>),
) -> (T, Outcome) {
    let mut tries = 1;
    loop {
        let mut heard = listener();
        let mut reading =
            Reading { sources, wanted, outcome: Outcome::default(), tries_left: tries < FINDINGS_READ_TRIES };
        match reading.run(&mut |event| hear(&mut heard, event)) {
            Err(Stop::Moved) => tries += 1,
            Ok(()) | Err(Stop::Enough) => return (heard, reading.outcome),
        }
    }
}

struct Reading<'a> {
    sources: &'a Sources<'a>,
    wanted: &'a Wanted<'a>,
    outcome: Outcome,
    tries_left: bool,
}

type Hear<'h> = &'h mut dyn FnMut(&Heard<'_>);

impl Reading<'_> {
    fn run(&mut self, hear: Hear<'_>) -> Result<(), Stop> {
        let is_archived = Archive::is_at(self.sources.archive);
        let mut next = (1, 1);
        if is_archived {
            match Archive::read(self.sources.archive) {
                Ok(archive) => {
                    next = (archive.reached(), archive.next_position());
                    self.archive(&archive, hear)?;
                }
                Err(error) => self.note(format!("The archive of calls cannot be read ({error}).")),
            }
        }
        self.journal(next.0, is_archived, hear)
    }

    fn note(&mut self, text: String) {
        self.outcome.notes.push(text);
    }

    fn count(&mut self) -> Result<(), Stop> {
        if self.outcome.n_events >= FINDINGS_EVENTS_MAX {
            self.note(format!("Only the first {FINDINGS_EVENTS_MAX} records of that time were read: there are more."));
            return Err(Stop::Enough);
        }
        self.outcome.n_events += 1;
        Ok(())
    }

    fn archive(&mut self, archive: &Archive, hear: Hear<'_>) -> Result<(), Stop> {
        let (from, to) = (self.wanted.from, self.wanted.to);
        let mut hours = [0u64; 2];
        for file in archive.files().filter(|f| f.customer == self.wanted.customer && f.from <= to.0 && from.0 <= f.to) {
            match file.state {
                State::Clear => {}
                State::Pseudonymous => hours[0] += 1,
                State::Erased => hours[1] += 1,
            }
        }
        let unknown = [(hours[0], "replaced by made-up ones"), (hours[1], "erased")];
        for (n, what) in unknown.into_iter().filter(|(n, _)| *n > 0) {
            let files = if n == 1 { "one file".to_owned() } else { format!("{n} files") };
            self.note(format!(
                "The phone numbers in {files} of that time have been {what}, as the rules of keeping ask."
            ));
        }
        let query = Query {
            from: Some(from),
            to: Some(to.plus_ms(1)),
            customers: vec![self.wanted.customer.to_owned()],
            n_threads: 1,
            ..Query::default()
        };
        for slice in archive.events(&query, Arc::clone(self.sources.names)) {
            let slice = match slice {
                Ok(slice) => slice,
                Err(error) => {
                    self.note(format!("Part of the archive of calls cannot be read ({error})."));
                    return Ok(());
                }
            };
            for ((event, told), position) in slice.batch.events.iter().zip(&slice.told).zip(&slice.positions) {
                self.count()?;
                let rule = std::str::from_utf8(slice.batch.text(told.rule)).unwrap_or_default();
                hear(&Heard { batch: &slice.batch, event, position: *position, action: told.action, rule });
            }
        }
        Ok(())
    }

    fn journal(&mut self, reached: u64, is_archived: bool, hear: Hear<'_>) -> Result<(), Stop> {
        let Some(customer) = self.sources.names.customer(self.wanted.customer) else { return Ok(()) };
        let mut reader = match Reader::open(self.sources.disk, self.sources.journal, reached..=u64::MAX) {
            Ok(reader) => reader,
            Err(error) => {
                self.note(format!("The newest calls cannot be read ({error})."));
                return Ok(());
            }
        };
        if is_archived && reader.report().n_lost_records > 0 && self.tries_left {
            return Err(Stop::Moved);
        }
        while let Some(raw) = reader.next_raw() {
            let record = match raw.and_then(|raw| raw.decode()) {
                Ok(record) => record,
                Err(error) => {
                    self.note(format!("The newest calls cannot all be read ({error})."));
                    return Ok(());
                }
            };
            let Entry::Batch { position, batch, verdicts, .. } = record.entry else { continue };
            for (i, event) in batch.events.iter().enumerate() {
                let is_wanted =
                    event.customer == customer && self.wanted.from <= event.time && event.time <= self.wanted.to;
                if !is_wanted {
                    continue;
                }
                self.count()?;
                let verdict = verdicts.get(i).copied().unwrap_or_default();
                let rule = rule_id(&record.context, verdict.rule);
                let position = position + i as u64;
                hear(&Heard { batch: &batch, event, position, action: verdict.action, rule });
            }
        }
        let report = reader.report();
        if report.n_damages > 0 {
            self.note(format!("The newest calls are damaged on the disk: {} records are gone.", report.n_lost_events));
        } else if report.n_lost_records > 0 {
            self.note("Some of the newest calls are neither in the archive nor in the journal any more.".to_owned());
        }
        Ok(())
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
