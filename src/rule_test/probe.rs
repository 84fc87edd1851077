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

/// The highest value that `rule` reached for a key that is `wanted`, where that is below `level`. `None` where nothing was
/// counted for it or the level was reached, where the level is no upward one, or where looking would take too long.
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
    let best = search(level.smallest(), &mut |limit| reaches(stage, test, index, limit, wanted));
    if let Some(rule) = Arc::get_mut(&mut stage.policy).and_then(|policy| policy.thresholds.get_mut(index)) {
        rule.levels = written;
    }
    best
}

/// The largest limit below `top` that is reached, where `top` is not, by halves.
fn search(top: i128, reaches: &mut dyn FnMut(i128) -> Option<Reached>) -> Option<Reached> {
    if reaches(top).is_some() {
        return None;
    }
    let mut best = None;
    // Reached at `low`, if at all; not reached at `high`.
    let (mut low, mut high) = (0, top);
    while high - low > 1 {
        let limit = low + (high - low) / 2;
        match reaches(limit) {
            Some(reached) => (low, best) = (limit, Some(reached)),
            None => high = limit,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_limit_that_is_reached_is_found() {
        for highest in 0..20 {
            let mut reaches = |limit: i128| (limit <= highest).then(|| Reached { value: limit as f64, at_ms: 0 });
            let found = search(20, &mut reaches).map(|reached| reached.value as i128);
            assert_eq!(found, (highest > 0).then_some(highest), "{highest}");
        }
        assert_eq!(search(20, &mut |_| Some(Reached { value: 25.0, at_ms: 0 })), None, "the level itself was reached");
    }
}
