//! The engine's whole state, saved at one place in its order while calls flow on, and read again.
//!
//! A save begins with a marker that takes a place in the order like a batch ([`Engine::mark`]). Where it passes, what is
//! there is written as it is then: by whoever asks for the next piece ([`Save::piece`]), or right before the first
//! change that comes after, whichever is sooner. So no batch ever waits for more than one piece, and what is read again
//! is the state between two batches: fed with what followed, it says what the engine would have said that was never
//! stopped.
//!
//! What is written names rules by id and keys by partition, so that it fits an engine of any number of shards, and of
//! other rules as far as they are the same ([`shape`]).

pub(crate) mod frames;
pub(crate) mod shape;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock};

pub use self::frames::saved_frames;
use self::frames::{Frames, Kind, take_frame};
use self::shape::{HeaderFault, Mapping};
use super::answers::{ANSWERS, Answers};
use super::blocks::Places;
use super::gate::Gate;
use super::judged::{OpenEpisode, RuleRef, Verdict};
use super::output::rule_name;
use super::shard::{Shard, restore_subjects};
use super::warming::{Lack, Warming};
use super::{Engine, Generation, enter};
use crate::codec::{Malformed, Put, Take, require};
use crate::limits::{CALLS_MAX, SAVE_PIECE_BYTES};
use crate::policy::{Action, Cause, Policy};

/// The place of a save in the engine's order.
#[derive(Debug, Default)]
pub(crate) struct Marker {
    pub(crate) number: u64,
    /// Nobody will ask for more.
    is_dropped: AtomicBool,
    /// It has passed everything.
    is_emitted: AtomicBool,
    /// What rules were short of where it passed.
    lacks: OnceLock<Vec<Option<Lack>>>,
}

impl Marker {
    pub(crate) fn new(number: u64) -> Marker {
        Marker { number, ..Marker::default() }
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn set_lacks(&self, lacks: Vec<Option<Lack>>) {
        // Once, at its place in the order.
        self.lacks.set(lacks).unwrap_or_default();
    }

    pub(crate) fn set_emitted(&self) {
        self.is_emitted.store(true, Ordering::SeqCst);
    }
}

/// A save under way, the only one of its engine. Dropped, it is over, whole or not, and costs nothing more.
#[derive(Debug)]
pub struct Save {
    engine: Engine,
    generation: Arc<Generation>,
    marker: Arc<Marker>,
    stage: Stage,
    n_frames: u64,
    answers: Option<Answers>,
    /// About how long a piece is; tests have short ones.
    pub(super) piece_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Header,
    Gate,
    Shard(usize),
    Answers(usize),
    Done,
}

/// What [`Save::piece`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveProgress {
    /// Nothing: the marker has not come as far as this yet. Ask again, a millisecond later.
    Waiting,
    /// Added a piece; there are more.
    More,
    /// Added the last piece.
    Done,
    /// The marker was lost where a panic hit it. There is no save; drop it.
    Failed,
}

impl Save {
    pub(super) fn new(engine: Engine, generation: Arc<Generation>, marker: Arc<Marker>) -> Save {
        let (stage, piece_bytes) = (Stage::Header, SAVE_PIECE_BYTES);
        Save { engine, generation, marker, stage, n_frames: 0, answers: None, piece_bytes }
    }

    /// What [`super::Judged::marker`] says where this save has its place.
    pub fn number(&self) -> u64 {
        self.marker.number
    }

    /// Appends the next piece: a whole number of frames, about [`SAVE_PIECE_BYTES`] of them and one key more, however
    /// large that is. Holds one lock of the engine meanwhile.
    pub fn piece(&mut self, out: &mut Vec<u8>) -> SaveProgress {
        let mut frames = Frames::new(out, self.n_frames, self.piece_bytes);
        let core = &self.engine.0;
        let progress = match self.stage {
            Stage::Header => {
                let lacks = self.marker.lacks.get().map_or(&[][..], Vec::as_slice);
                frames.frame(Kind::Header, |put, _| shape::put_header(&self.generation.plan, lacks, put));
                self.stage = Stage::Gate;
                SaveProgress::More
            }
            Stage::Gate => {
                if enter(&core.turnstile).gate.save_some(&mut frames) {
                    self.stage = Stage::Shard(0);
                }
                SaveProgress::More
            }
            Stage::Shard(number) => match self.generation.seats.get(number) {
                None => {
                    self.stage = Stage::Answers(0);
                    SaveProgress::More
                }
                Some(seat) => {
                    // Read before the shard is looked at: once it has passed everything, it has been there.
                    let is_emitted = self.marker.is_emitted.load(Ordering::SeqCst);
                    let mut shard = enter(&seat.shard);
                    if !shard.is_marked(&self.marker) {
                        return if is_emitted { SaveProgress::Failed } else { SaveProgress::Waiting };
                    }
                    if shard.save_some(&mut frames) {
                        shard.forget_save();
                        self.stage = Stage::Shard(number + 1);
                    }
                    SaveProgress::More
                }
            },
            Stage::Answers(part) => {
                self.answers = self.answers.take().or_else(|| enter(&core.emission).saved.take());
                let Some(answers) = &mut self.answers else { return SaveProgress::Waiting };
                match answers.part(part) {
                    Some(answers) => {
                        frames.frame(Kind::Answers, |put, _| put_answers(part, answers, put));
                        self.stage = Stage::Answers(part + 1);
                        SaveProgress::More
                    }
                    None => {
                        let n = frames.n;
                        frames.frame(Kind::End, |put, _| put.u64(n));
                        self.stage = Stage::Done;
                        SaveProgress::Done
                    }
                }
            }
            Stage::Done => SaveProgress::Done,
        };
        self.n_frames = frames.n;
        progress
    }
}

impl Drop for Save {
    fn drop(&mut self) {
        let core = &self.engine.0;
        self.marker.is_dropped.store(true, Ordering::SeqCst);
        enter(&core.turnstile).gate.forget_save();
        for seat in &self.generation.seats {
            let mut shard = enter(&seat.shard);
            if shard.is_marked(&self.marker) {
                shard.forget_save();
            }
        }
        enter(&core.emission).saved = None;
        core.is_saving.store(false, Ordering::SeqCst);
    }
}

fn put_answers(part: usize, answers: &[(Verdict, Box<[u16]>)], out: &mut Put<'_>) {
    out.u32(part as u32);
    for (place, (verdict, flags)) in answers.iter().enumerate() {
        if *verdict == Verdict::default() && flags.is_empty() {
            continue;
        }
        out.u16(place as u16);
        out.u8(verdict.action as u8);
        out.u8(verdict.cause as u8);
        let (kind, rule) = match verdict.rule {
            RuleRef::Default => (0, 0),
            RuleRef::Emergency => (1, 0),
            RuleRef::Firewall(rule) => (2, rule),
            RuleRef::Threshold(rule) => (3, rule),
        };
        out.u8(kind);
        out.u16(rule);
        out.u16(flags.len() as u16);
        flags.iter().for_each(|rule| out.u16(*rule));
    }
}

/// What was told stays told, though the rule that said it may be gone.
fn take_answers(from: &mut Take<'_>, mapping: &Mapping, answers: &mut Answers) -> Result<(), Malformed> {
    let part = from.u32()? as usize;
    require(part <= 4 * CALLS_MAX / ANSWERS)?;
    while !from.is_empty() {
        let place = usize::from(from.u16()?);
        require(place < ANSWERS)?;
        let action = *Action::ALL.get(usize::from(from.u8()?)).ok_or(Malformed)?;
        let cause = *Cause::ALL.get(usize::from(from.u8()?)).ok_or(Malformed)?;
        let rule = match (from.u8()?, from.u16()?) {
            (1, _) => RuleRef::Emergency,
            (2, rule) => match mapping.firewall.get(usize::from(rule)).ok_or(Malformed)? {
                Some(rule) => RuleRef::Firewall(*rule),
                None => RuleRef::Default,
            },
            // Thresholds give no verdicts.
            (0 | 3, _) => RuleRef::Default,
            _ => return Err(Malformed),
        };
        let mut flags = Vec::new();
        for _ in 0..from.u16()? {
            flags.extend(mapping.firewall.get(usize::from(from.u16()?)).ok_or(Malformed)?);
        }
        answers.set((part * ANSWERS + place) as u32, Verdict { action, cause, rule }, flags.into_boxed_slice());
    }
    Ok(())
}

/// What became of the rules when state was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Go on as if nothing had been.
    pub restored: Vec<RuleRef>,
    /// Go on, but are short of something: a level was raised beyond what their keys kept, or they were warming when the
    /// state was saved. They count too little for a while.
    pub warming: Vec<RuleRef>,
    /// Another `on`, `where`, `measure`, `per` or `window`: they begin anew.
    pub changed: Vec<RuleRef>,
    /// Not in the saved state, or had not yet been told of the past there.
    pub new: Vec<RuleRef>,
    /// In the saved state alone.
    pub gone: Vec<String>,
    notes: Vec<String>,
}

impl Restored {
    /// What an operator should know: which rules do not go on as they were, a line a kind.
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    pub(super) fn write_notes(&mut self, policy: &Policy) {
        let ids = |rules: &[RuleRef]| rules.iter().map(|rule| rule_name(policy, *rule)).collect::<Vec<_>>().join(", ");
        let kinds = [
            (
                ids(&self.warming),
                "a level was raised beyond what was kept, or it was warming; counts too little for a while",
            ),
            (ids(&self.changed), "`on`, `where`, `measure`, `per` or `window` changed; counts from nothing"),
            (ids(&self.new), "not in the snapshot; counts from nothing"),
            (self.gone.join(", "), "no longer in the rules; what was counted is dropped"),
        ];
        let told = kinds.iter().filter(|(rules, _)| !rules.is_empty());
        self.notes = told.map(|(rules, what)| format!("{rules}: {what}")).collect();
    }
}

/// Saved state that cannot be read. The engine that tried has read some of it and is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("saved state: {0}")]
    Read(io::Error),
    #[error("saved state: frame {number} ({kind}) is damaged")]
    Damaged { number: u64, kind: &'static str },
    #[error("saved state: format {found:?} is not the one that this build reads")]
    Version { found: [u8; 4] },
    #[error("saved state: its keys were spread by another hash seed")]
    OtherSeed,
    #[error("saved state: ends after {frames} frames, before its last")]
    Unfinished { frames: u64 },
    #[error("saved state: an engine that has judged cannot take it")]
    NotFresh,
}

/// An engine that is being filled.
struct Filling<'a> {
    generation: &'a Generation,
    gate: &'a mut Gate,
    shards: Vec<MutexGuard<'a, Shard>>,
    answers: Answers,
    mapping: Option<Mapping>,
    restored: Restored,
    n_frames: u64,
    is_done: bool,
}

impl Filling<'_> {
    fn piece(&mut self, piece: &[u8]) -> Result<(), RestoreError> {
        let mut rest = Take::new(piece);
        while let Some(frame) = take_frame(&mut rest) {
            let damaged = |kind| RestoreError::Damaged { number: self.n_frames + 1, kind };
            let (kind, mut payload) = frame.map_err(|Malformed| damaged("unreadable"))?;
            let error = damaged(kind.as_str());
            if kind == Kind::Header {
                self.header(&mut payload, error)?;
            } else {
                self.frame(kind, &mut payload).map_err(|Malformed| error)?;
            }
            self.n_frames += 1;
        }
        Ok(())
    }

    fn header(&mut self, payload: &mut Take<'_>, error: RestoreError) -> Result<(), RestoreError> {
        if self.mapping.is_some() {
            return Err(error);
        }
        let mapping = shape::take_header(&self.generation.plan, payload, &mut self.restored);
        self.mapping = Some(mapping.map_err(|fault| match fault {
            HeaderFault::Malformed => error,
            HeaderFault::Version(found) => RestoreError::Version { found },
            HeaderFault::OtherSeed => RestoreError::OtherSeed,
        })?);
        Ok(())
    }

    fn frame(&mut self, kind: Kind, from: &mut Take<'_>) -> Result<(), Malformed> {
        require(!self.is_done)?;
        let Filling { gate, shards, answers, .. } = self;
        let mapping = self.mapping.as_ref().ok_or(Malformed)?;
        let counter = |from: &mut Take<'_>| -> Result<Option<u16>, Malformed> {
            mapping.counters.get(usize::from(from.u16()?)).copied().ok_or(Malformed)
        };
        match kind {
            Kind::Partition | Kind::Keys => {
                let (counter, partition) = (counter(from)?, from.u8()?);
                let Some(counter) = counter else { return Ok(()) };
                let n_shards = shards.len().max(1);
                let shard = shards.get_mut(usize::from(partition) % n_shards).ok_or(Malformed)?;
                shard.restore_partition(kind, counter, partition, from)
            }
            Kind::Subjects => match counter(from)? {
                Some(counter) => restore_subjects(shards, counter, from),
                None => Ok(()),
            },
            Kind::Part => gate.restore_part(from),
            Kind::Entries => gate.restore_entries(from, &mapping.calls),
            Kind::Answers => take_answers(from, mapping, answers),
            Kind::Lists | Kind::Made | Kind::Holders => {
                let places = Places { rules: &mapping.rules, lists: &mapping.lists };
                shards.first_mut().ok_or(Malformed)?.restore_lists(kind, from, places)
            }
            Kind::End => {
                require(from.u64()? == self.n_frames)?;
                self.is_done = true;
                from.end()
            }
            Kind::Header => Err(Malformed),
        }
    }

    fn finish(mut self) -> Result<(Restored, Answers, Vec<Option<Lack>>), RestoreError> {
        if !self.is_done {
            return Err(RestoreError::Unfinished { frames: self.n_frames });
        }
        let whole = |result: Result<(), Malformed>| {
            result.map_err(|Malformed| RestoreError::Damaged { number: self.n_frames, kind: "end" })
        };
        whole(self.gate.finish_restore(&self.answers, &self.generation.plan))?;
        for shard in &mut self.shards {
            whole(shard.finish_restore(&self.answers))?;
        }
        self.restored.write_notes(&self.generation.plan.policy);
        Ok((self.restored, self.answers, self.mapping.map(|mapping| mapping.lacks).unwrap_or_default()))
    }
}

impl Engine {
    /// Reads what the pieces of a save, joined or cut in any way between frames, hold. Before any batch; after an error
    /// the engine is of no use.
    pub fn restore<B: AsRef<[u8]>>(
        &self,
        pieces: impl IntoIterator<Item = io::Result<B>>,
    ) -> Result<Restored, RestoreError> {
        let mut turnstile = enter(&self.0.turnstile);
        if turnstile.next_sequence > 0 {
            return Err(RestoreError::NotFresh);
        }
        let generation = Arc::clone(&turnstile.generation);
        let mut filling = Filling {
            generation: &generation,
            gate: &mut turnstile.gate,
            shards: generation.seats.iter().map(|seat| enter(&seat.shard)).collect(),
            answers: Answers::default(),
            mapping: None,
            restored: Restored::default(),
            n_frames: 0,
            is_done: false,
        };
        for piece in pieces {
            filling.piece(piece.map_err(RestoreError::Read)?.as_ref())?;
        }
        let (restored, answers, lacks) = filling.finish()?;
        turnstile.warming = Warming::new(lacks, &generation.plan);
        enter(&self.0.emission).answers = answers;
        Ok(restored)
    }

    /// Episodes that are open, of all rules, in no order. What waits in the engine may still open and close some.
    pub fn open_episodes(&self) -> Vec<OpenEpisode> {
        let generation = self.0.generation();
        let shards = generation.seats.iter();
        shards.flat_map(|seat| enter(&seat.shard).open_episodes().collect::<Vec<_>>()).collect()
    }
}
