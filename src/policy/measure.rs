//! What a threshold measures, and the levels it is held against.

use super::predicate::{Operand, Predicate};
use super::usual::Usual;
use crate::event::Field;

/// `measure`, compiled.
#[derive(Debug)]
pub enum Measure {
    Count,
    Distinct(Operand),
    /// Of `duration`, `ring`, `setup` (ms) or `cost` (1/10,000).
    Sum(Field),
    Avg(Field),
    Share(Predicate),
    /// `run(field, step)`: the longest chain of numbers at most `step` apart.
    Run(Operand, u64),
    Concurrent,
    /// Values of a field that the key had not had for so long, ms.
    FirstSeen(Operand, i64),
    /// How long the longest call that is up has been up.
    Longest,
}

impl Measure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Measure::Count => "count",
            Measure::Distinct(_) => "distinct",
            Measure::Sum(_) => "sum",
            Measure::Avg(_) => "avg",
            Measure::Share(_) => "share",
            Measure::Run(..) => "run",
            Measure::Concurrent => "concurrent",
            Measure::FirstSeen(..) => "first_seen",
            Measure::Longest => "longest",
        }
    }

    /// Of the life of calls: a level at an instant, not over a window.
    pub fn is_of_calls(&self) -> bool {
        matches!(self, Measure::Concurrent | Measure::Longest)
    }

    /// How values and limits are held and shown.
    pub fn unit(&self) -> Unit {
        match self {
            Measure::Sum(Field::Cost) | Measure::Avg(Field::Cost) => Unit::Money,
            Measure::Sum(_) | Measure::Avg(_) | Measure::Longest => Unit::Milliseconds,
            Measure::Share(_) => Unit::Percent,
            _ => Unit::Count,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    /// Shown as seconds.
    Milliseconds,
    /// Held as 1/10,000, shown with its decimals.
    Money,
    /// Held as parts of [`Level::SHARE_SCALE`], shown as percent.
    Percent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// `>= 30`, `> 1h`, `>= 99.95%`: compiled to one integer comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub operator: Operator,
    /// In the unit of its measure: items, ms, 1/10,000, or parts of [`Level::SHARE_SCALE`]. Of a level such as `>= 3x` how
    /// often what is usual, in parts of [`Level::TIMES_SCALE`].
    pub limit: i128,
    /// See [`super::usual`].
    pub is_of_usual: bool,
    /// As written.
    pub text: String,
}

impl Level {
    /// A share is held against its level as `hits * SCALE` to `limit * items`; six decimals of a percent.
    pub const SHARE_SCALE: i128 = 100_000_000;
    /// Of `3x`: four decimals.
    pub const TIMES_SCALE: i128 = 10_000;

    /// Does `value` meet the level? `value` is a fraction `numerator / denominator`, denominator > 0.
    pub fn holds(&self, numerator: i128, denominator: i128) -> bool {
        self.compares(numerator, self.limit * denominator)
    }

    /// The same of a level of what is usual, in thousandths of the unit.
    pub fn holds_of(&self, usual: u64, numerator: i128, denominator: i128) -> bool {
        self.compares(numerator * Level::TIMES_SCALE * Usual::SCALE, self.limit * i128::from(usual) * denominator)
    }

    fn compares(&self, numerator: i128, limit: i128) -> bool {
        match self.operator {
            Operator::AtLeast => numerator >= limit,
            Operator::Above => numerator > limit,
            Operator::AtMost => numerator <= limit,
            Operator::Below => numerator < limit,
        }
    }

    /// Of a whole measure: what decides it, and more decides nothing. What is usual may be any number.
    pub fn enough(&self) -> u64 {
        if self.is_of_usual {
            return u64::MAX;
        }
        u64::try_from(self.smallest().max(0)).unwrap_or(u64::MAX)
    }

    /// Is it a level to rise to, not one to fall below?
    pub fn is_upward(&self) -> bool {
        matches!(self.operator, Operator::AtLeast | Operator::Above)
    }

    /// The smallest integer that meets an upward level; the smallest that does not meet one from above.
    pub fn smallest(&self) -> i128 {
        match self.operator {
            Operator::AtLeast | Operator::Below => self.limit,
            Operator::Above | Operator::AtMost => self.limit + 1,
        }
    }
}

/// `also`: what must hold beside the level.
#[derive(Debug)]
pub struct Also {
    pub measure: Measure,
    pub level: Level,
}

/// The levels of a rule; at least one of warning and critical is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    pub warning: Option<Level>,
    pub critical: Option<Level>,
    /// `None`: clear when the lowest level no longer holds.
    pub clear: Option<Level>,
}

impl Levels {
    /// Does the rule look for values that are too low?
    pub fn is_downward(&self) -> bool {
        self.lowest().is_some_and(|level| !level.is_upward())
    }

    pub fn lowest(&self) -> Option<&Level> {
        self.warning.as_ref().or(self.critical.as_ref())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Level> {
        [&self.warning, &self.critical, &self.clear].into_iter().flatten()
    }

    /// Is any of them held against what is usual?
    pub fn has_usual(&self) -> bool {
        self.all().any(|level| level.is_of_usual)
    }

    /// The number of items, or the amount, beyond which nothing can change what any of them says.
    pub fn enough(&self) -> u64 {
        self.all().map(Level::enough).max().unwrap_or(0)
    }

    pub fn strictest(&self) -> Option<&Level> {
        self.critical.as_ref().or(self.warning.as_ref())
    }
}
