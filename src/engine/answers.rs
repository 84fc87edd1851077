//! Verdicts of calls that may be asked for again, and the rules that marked them, by the slot the gate gave them. Read
//! and written in the engine's order, as batches are emitted.
//!
//! There may be millions. A clone is cheap, and costs a part when that is next written to; rules that change their numbers
//! cost a part when that is next looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use super::judged::{RuleRef, Verdict};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    parts: Vec<Part>,
    /// How often firewall rules changed their numbers.
    epoch: u64,
    /// By epoch, the last of them the one before this: where the rules of then are now.
    since: VecDeque<Vec<Option<u16>>>,
}

/// Answers that are allocated together: growing never moves the millions there are, and a save copies no more at once.
#[derive(Clone, Debug)]
struct Part {
    answers: Arc<Vec<Answer>>,
    /// Whose numbers they have.
    epoch: u64,
}

type Answer = (Verdict, Box<[u16]>);

pub(crate) const ANSWERS: usize = 4096;

/// Parts that are looked at with each change, oldest first, so that no numbers are too old to be known.
const RENUMBERED_AT_ONCE: usize = 4;

impl Answers {
    pub(crate) fn get(&mut self, slot: u32) -> (Verdict, &[u16]) {
        let slot = slot as usize;
        let answer = self.part(slot / ANSWERS).and_then(|part| part.get(slot % ANSWERS));
        answer.map_or((Verdict::default(), &[]), |(verdict, flags)| (*verdict, flags))
    }

    pub(crate) fn set(&mut self, slot: u32, verdict: Verdict, flags: Box<[u16]>) {
        let (number, place) = (slot as usize / ANSWERS, slot as usize % ANSWERS);
        let epoch = self.epoch;
        if self.parts.len() <= number {
            let blank = || Part { answers: Arc::new(vec![Default::default(); ANSWERS]), epoch };
            self.parts.resize_with(number + 1, blank);
        }
        self.renumber_part(number);
        let part = self.parts.get_mut(number).map(|part| Arc::make_mut(&mut part.answers));
        if let Some(answer) = part.and_then(|part| part.get_mut(place)) {
            *answer = (verdict, flags);
        }
    }

    /// The answers of slots from `4096 * part` on; `None`: there are no more.
    pub(crate) fn part(&mut self, number: usize) -> Option<&[Answer]> {
        self.renumber_part(number);
        self.parts.get(number).map(|part| part.answers.as_slice())
    }

    /// `places`: where the firewall rules are now, by their numbers so far. What was told stays told, though the rule that
    /// said it may be gone.
    pub(crate) fn renumber(&mut self, places: &[Option<u16>]) {
        let is_same = places.iter().enumerate().all(|(rule, place)| *place == Some(rule as u16));
        if is_same {
            return;
        }
        let now = |rule: u16| places.get(usize::from(rule)).copied().flatten();
        for before in &mut self.since {
            before.iter_mut().for_each(|place| *place = place.and_then(now));
        }
        self.since.push_back(places.to_vec());
        self.epoch += 1;
        let oldest = self.epoch - self.since.len() as u64;
        let old = (0..self.parts.len()).filter(|number| self.parts[*number].epoch == oldest);
        let old: Vec<usize> = old.take(RENUMBERED_AT_ONCE).collect();
        old.into_iter().for_each(|number| self.renumber_part(number));
        let oldest = self.parts.iter().map(|part| part.epoch).min().unwrap_or(self.epoch);
        while self.epoch - (self.since.len() as u64) < oldest {
            self.since.pop_front();
        }
    }

    fn renumber_part(&mut self, number: usize) {
        let Some(part) = self.parts.get_mut(number).filter(|part| part.epoch < self.epoch) else { return };
        let ago = (self.epoch - part.epoch) as usize;
        let places = self.since.len().checked_sub(ago).and_then(|at| self.since.get(at));
        let now = |rule: u16| places.and_then(|places| places.get(usize::from(rule)).copied().flatten());
        for (verdict, flags) in Arc::make_mut(&mut part.answers) {
            if let RuleRef::Firewall(rule) = verdict.rule {
                verdict.rule = now(rule).map_or(RuleRef::Default, RuleRef::Firewall);
            }
            if !flags.is_empty() {
                *flags = flags.iter().filter_map(|rule| now(*rule)).collect();
            }
        }
        part.epoch = self.epoch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Cause};

    fn block(rule: RuleRef) -> Verdict {
        Verdict { action: Action::Block, cause: Cause::Policy, rule }
    }

    #[test]
    fn answers_follow_their_rules_through_many_changes_and_outlive_them() {
        let mut answers = Answers::default();
        let n_parts = 2 * RENUMBERED_AT_ONCE as u32 + 1;
        for part in 0..n_parts {
            answers.set(part * ANSWERS as u32, block(RuleRef::Firewall(1)), Box::new([0, 2]));
        }
        // Three rules that go round and round.
        for _ in 0..20 {
            answers.renumber(&[Some(1), Some(2), Some(0)]);
        }
        assert!(answers.since.len() <= 4, "{}", answers.since.len());
        for part in 0..n_parts {
            // 21 changes would be none.
            assert_eq!(answers.get(part * ANSWERS as u32), (block(RuleRef::Firewall(0)), &[2, 1][..]), "{part}");
        }
        answers.renumber(&[None, Some(0), None]);
        for part in 0..n_parts {
            assert_eq!(answers.get(part * ANSWERS as u32), (block(RuleRef::Default), &[0][..]), "{part}");
        }
    }
}
