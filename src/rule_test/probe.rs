//! How far a rule got that did not reach its level: the same test, played against lower levels.
//!
//! Asking the engine itself keeps the answer exact for every measure; a second way of counting could differ from it.

use std::sync::Arc;

use super::file::Test;
use super::stage::{Found, Stage};
use crate::engine::RuleRef;
use crate::policy::{Level, Levels, Operator};

/// Events of a test that is played again and again; longer ones only say that the level was not reached.
const EVENTS_MAX: usize = 20_000;

/// The highest value of a key below the level.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reached {
    /// As violations show it.
    pub(super) value: f64,
    /// When, after the start of the test.
    pub(super) at_ms: i64,
}

/// The highest value that `rule` reached below `level` for a key that is `wanted`. `None` where nothing was counted for
/// it, where the level is no upward one, or where looking would take too long.
pub(super) fn highest(
    stage: &mut Stage,
    test: &Test,
    n_events: usize,
    rule: RuleRef,
    level: &Level,
    wanted: &dyn Fn(&Found) -> bool,
) -> Option<Reached> {
    if !matches!(level.operator, Operator::AtLeast | Operator::Above) || n_events > EVENTS_MAX {
        return None;
    }
    let RuleRef::Threshold(index) = rule else { return None };
    let index = usize::from(index);
    let written = Arc::get_mut(&mut stage.policy)?.thresholds.get(index)?.levels.clone();
    let mut best = None;
    // Reached at `low`, if at all; not reached at `high`.
    let (mut low, mut high) = (0, level.smallest());
    while high - low > 1 {
        let limit = low + (high - low) / 2;
        match reaches(stage, test, index, limit, wanted) {
            Some(reached) => (low, best) = (limit, Some(reached)),
            None => high = limit,
        }
    }
    if let Some(rule) = Arc::get_mut(&mut stage.policy).and_then(|policy| policy.thresholds.get_mut(index)) {
        rule.levels = written;
    }
    best
}

/// What is found where the level is `>= limit`.
fn reaches(
    stage: &mut Stage,
    test: &Test,
    index: usize,
    limit: i128,
    wanted: &dyn Fn(&Found) -> bool,
) -> Option<Reached> {
    let warning = Level { operator: Operator::AtLeast, limit, text: String::new() };
    let rule = Arc::get_mut(&mut stage.policy)?.thresholds.get_mut(index)?;
    rule.levels = Levels { warning: Some(warning), critical: None, clear: None };
    let play = stage.play(test).ok()?;
    let rule = RuleRef::Threshold(index as u16);
    let found = play.violations(stage, test.start);
    let found = found.into_iter().find(|found| found.rule == rule && wanted(found))?;
    Some(Reached { value: found.value, at_ms: found.at_ms })
}
