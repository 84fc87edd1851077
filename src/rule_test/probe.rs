//! How far a rule got that did not reach its level: the same test, played against lower levels.
//!
//! Asking the engine itself keeps the answer exact for every measure; a second way of counting could differ from it.

use std::sync::Arc;

use super::file::Test;
use super::stage::{Found, Stage};
use crate::engine::RuleRef;
use crate::policy::{Also, Level, Levels, Operator, ThresholdRule};

/// Events of a test that is played again and again; longer ones only say that the level was not reached.
const EVENTS_MAX: usize = 20_000;
/// More than any measure is: a year in ms, a billion of money in 1/10,000.
const VALUE_MAX: i128 = 10_000_000_000_000;

/// How near to a level a key came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reached {
    /// As violations show it.
    pub(super) value: f64,
    /// When, after the start of the test.
    pub(super) at_ms: i64,
    /// The level was met, and what else the rule wants was not.
    pub(super) but: Option<But>,
}

/// What a rule wants beside its level.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum But {
    /// `for`, ms.
    NotForLong(i64),
    /// `also`.
    NotAlso,
}

/// A rule that is probed, and what belongs to it.
struct Probe<'a> {
    stage: &'a mut Stage,
    test: &'a Test,
    index: usize,
    level: &'a Level,
    wanted: &'a dyn Fn(&Found) -> bool,
    /// Taken from the rule for the time being.
    also: Vec<Also>,
}

/// The value nearest to `level` that `rule` had for a key that is `wanted`, where it did not reach it. `None` where nothing
/// was counted for it or the level was reached, or where looking would take too long.
pub(super) fn nearest(
    stage: &mut Stage,
    test: &Test,
    n_events: usize,
    rule: RuleRef,
    level: &Level,
    wanted: &dyn Fn(&Found) -> bool,
) -> Option<Reached> {
    let RuleRef::Threshold(index) = rule else { return None };
    if n_events > EVENTS_MAX {
        return None;
    }
    let index = usize::from(index);
    let rule = Arc::get_mut(&mut stage.policy)?.thresholds.get(index)?;
    let (levels, hold_ms) = (rule.levels.clone(), rule.hold_ms);
    let mut probe = Probe { stage, test, index, level, wanted, also: Vec::new() };
    let found = probe.look();
    let also = std::mem::take(&mut probe.also);
    if let Some(rule) = probe.rule() {
        (rule.levels, rule.hold_ms) = (levels, hold_ms);
        rule.also.extend(also);
    }
    found
}

impl Probe<'_> {
    fn rule(&mut self) -> Option<&mut ThresholdRule> {
        Arc::get_mut(&mut self.stage.policy)?.thresholds.get_mut(self.index)
    }

    fn look(&mut self) -> Option<Reached> {
        let level = self.level;
        if level.is_of_usual {
            return None;
        }
        let is_upward = matches!(level.operator, Operator::AtLeast | Operator::Above);
        let sign = if is_upward { 1 } else { -1 };
        // As `>= limit` or `<= limit`, whichever way the level goes.
        let top = match level.operator {
            Operator::Above => level.limit + 1,
            Operator::Below => level.limit - 1,
            _ => level.limit,
        };
        if self.reaches(top, is_upward).is_some() {
            return None;
        }
        if self.rule()?.hold_ms > 0 {
            let hold_ms = std::mem::take(&mut self.rule()?.hold_ms);
            if let Some(reached) = self.reaches(top, is_upward) {
                return Some(Reached { but: Some(But::NotForLong(hold_ms)), ..reached });
            }
        }
        if !self.rule()?.also.is_empty() {
            self.also = std::mem::take(&mut self.rule()?.also);
            if let Some(reached) = self.reaches(top, is_upward) {
                return Some(Reached { but: Some(But::NotAlso), ..reached });
            }
        }
        // Upward, nothing is below 0; downward, nothing is above what no measure can be.
        let far = if is_upward { top } else { (VALUE_MAX - top).max(0) };
        search(far, &mut |steps| self.reaches(top - sign * steps, is_upward))
    }

    /// What is found where the level is `>= limit`, or `<= limit`.
    fn reaches(&mut self, limit: i128, is_upward: bool) -> Option<Reached> {
        if is_upward && limit <= 0 {
            return None;
        }
        let operator = if is_upward { Operator::AtLeast } else { Operator::AtMost };
        let warning = Level { operator, limit, is_of_usual: false, text: String::new() };
        self.rule()?.levels = Levels { warning: Some(warning), critical: None, clear: None };
        let play = self.stage.play(self.test).ok()?;
        let rule = RuleRef::Threshold(self.index as u16);
        let found = play.violations(self.stage, self.test.start);
        let found = found.into_iter().find(|found| found.rule == rule && (self.wanted)(found))?;
        Some(Reached { value: found.value, at_ms: found.at_ms, but: None })
    }
}

/// The fewest steps away, at most `far`, that are reached, by halves; what is far enough is asked last.
fn search(far: i128, reaches: &mut dyn FnMut(i128) -> Option<Reached>) -> Option<Reached> {
    // Not reached at `near`; nothing is known of `away` and beyond.
    let (mut near, mut away, mut best) = (0, far + 1, None);
    while away - near > 1 {
        let steps = near + (away - near) / 2;
        match reaches(steps) {
            Some(reached) => (away, best) = (steps, Some(reached)),
            None => near = steps,
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_steps_that_are_reached_are_found() {
        for fewest in 1..25 {
            let reached = Reached { value: 0.0, at_ms: 0, but: None };
            let mut reaches =
                |steps: i128| (steps >= fewest).then_some(Reached { value: steps as f64, ..reached.clone() });
            let found = search(20, &mut reaches).map(|reached| reached.value as i128);
            assert_eq!(found, (fewest <= 20).then_some(fewest), "{fewest}");
        }
    }
}
