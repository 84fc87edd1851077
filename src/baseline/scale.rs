//! Values as a rule counts them and as people write them, and what to suggest from one.

use super::distribution::Suggestion;
use crate::policy::measure::Unit;
use crate::policy::{Level, Levels, Measure, Operator};

/// How a measure's values are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale(Unit);

/// Where a suggestion lies above what was seen.
const ABOVE: (u128, u128) = (5, 4);
/// Beyond that, spans are told in minutes, and money in whole units.
const MINUTES_FROM_MS: u64 = 10 * 60_000;
const WHOLE_MONEY_FROM: u64 = 10 * 10_000;
const PERCENT: u64 = (Level::SHARE_SCALE / 100) as u64;

impl Scale {
    pub(crate) fn of(measure: &Measure) -> Scale {
        Scale(measure.unit())
    }

    pub(crate) fn unit(self) -> &'static str {
        match self.0 {
            Unit::Count => "count",
            Unit::Milliseconds => "seconds",
            Unit::Money => "money",
            Unit::Percent => "percent",
        }
    }

    fn divisor(self) -> f64 {
        match self.0 {
            Unit::Count => 1.0,
            Unit::Milliseconds => 1000.0,
            Unit::Money => 10_000.0,
            Unit::Percent => PERCENT as f64,
        }
    }

    /// As a violation tells it: counts, seconds, money, percent.
    pub(crate) fn shown(self, value: u64) -> f64 {
        self.shown_f64(value as f64)
    }

    pub(crate) fn shown_f64(self, value: f64) -> f64 {
        value / self.divisor()
    }

    /// As a level is written: `48`, `300m`, `90s`, `12.5`, `85%`.
    pub(crate) fn text(self, value: u64) -> String {
        match self.0 {
            Unit::Count => value.to_string(),
            Unit::Milliseconds if value.is_multiple_of(60_000) && value > 0 => format!("{}m", value / 60_000),
            Unit::Milliseconds if value.is_multiple_of(1000) => format!("{}s", value / 1000),
            Unit::Milliseconds => format!("{value}ms"),
            Unit::Money => decimals(value as f64 / 10_000.0, 4),
            Unit::Percent => format!("{}%", decimals(value as f64 / PERCENT as f64, 6)),
        }
    }

    /// The next value that people would write.
    fn round_up(self, value: u64) -> u64 {
        let step = match self.0 {
            Unit::Count => 1,
            Unit::Milliseconds if value >= MINUTES_FROM_MS => 60_000,
            Unit::Milliseconds => 1000,
            Unit::Money if value >= WHOLE_MONEY_FROM => 10_000,
            Unit::Money => 100,
            Unit::Percent => PERCENT,
        };
        value.div_ceil(step).saturating_mul(step)
    }

    /// The next value below that is written with few digits: what reached the one reaches the other.
    pub(crate) fn round_down(self, value: u64) -> u64 {
        let step = match self.0 {
            Unit::Count => 1,
            Unit::Milliseconds => 1000,
            Unit::Money => 100,
            Unit::Percent => PERCENT / 10,
        };
        if value < step { value } else { value - value % step }
    }

    /// A warning a quarter above what nearly all peaks stay below, and a critical level at twice that. `None`: nothing is
    /// above it.
    pub(crate) fn suggest(self, seen: u64) -> Option<(u64, Option<u64>)> {
        let raised = (u128::from(seen) * ABOVE.0).div_ceil(ABOVE.1);
        // A level that holds of nothing but one event would hold of every event.
        let warning = self.round_up(u64::try_from(raised).ok()?).max(self.round_up(1)).max(seen.saturating_add(1));
        if self.0 != Unit::Percent {
            return Some((warning, warning.checked_mul(2)));
        }
        let whole = 100 * PERCENT;
        match warning {
            warning if warning > whole => {
                // Half of the way that is left.
                let between = self.round_up(seen + whole.saturating_sub(seen) / 2);
                (between > seen && between <= whole).then_some((between, None))
            }
            warning if warning * 2 <= whole => Some((warning, Some(warning * 2))),
            warning => {
                let between = self.round_up(warning + (whole - warning) / 2);
                Some((warning, (between > warning).then_some(between)))
            }
        }
    }

    pub(crate) fn suggestion(self, (warning, critical): (u64, Option<u64>)) -> Suggestion {
        let level = |value: u64| format!(">= {}", self.text(value));
        Suggestion { warning: level(warning), critical: critical.map(level), clear: None }
    }

    /// `clear` as far below a new warning as it was below the lowest level, where it would hold at that warning.
    pub(crate) fn clear(self, was: &Levels, warning: u64) -> Option<String> {
        let (clear, lowest) = (was.clear.as_ref()?, was.lowest()?);
        if was.has_usual() {
            return None;
        }
        let (is_inclusive, new) = (clear.operator == Operator::AtMost, i128::from(warning));
        if clear.limit < new || clear.limit == new && !is_inclusive {
            return None;
        }
        let scaled = new * clear.limit / lowest.limit.max(1);
        let highest = if is_inclusive { new - 1 } else { new };
        let limit = self.round_down(u64::try_from(scaled.clamp(1, highest.max(1))).ok()?);
        Some(format!("{} {}", if is_inclusive { "<=" } else { "<" }, self.text(limit)))
    }

    /// A value that was reckoned, for people.
    pub(crate) fn amount(self, shown: f64) -> String {
        match self.0 {
            Unit::Count => decimals(shown, 1),
            Unit::Milliseconds if shown >= 600.0 => format!("{}m", decimals(shown / 60.0, 1)),
            Unit::Milliseconds => format!("{}s", decimals(shown, 1)),
            Unit::Money => decimals(shown, 2),
            Unit::Percent => format!("{}%", decimals(shown, 1)),
        }
    }
}

/// At most so many, without zeros at the end.
pub(crate) fn decimals(value: f64, n: usize) -> String {
    let text = format!("{value:.n$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_lie_a_quarter_above_and_are_round() {
        let count = Scale(Unit::Count);
        assert_eq!(count.suggest(38), Some((48, Some(96))));
        assert_eq!(count.suggest(171), Some((214, Some(428))));
        assert_eq!(count.suggest(1), Some((2, Some(4))));
        let span = Scale(Unit::Milliseconds);
        let told = |scale: Scale, seen| {
            let Suggestion { warning, critical, .. } = scale.suggestion(scale.suggest(seen).unwrap());
            (warning, critical.unwrap_or_default())
        };
        assert_eq!(told(span, 7_100), (">= 9s".to_owned(), ">= 18s".to_owned()));
        assert_eq!(told(span, 14_400_000), (">= 300m".to_owned(), ">= 600m".to_owned()));
        assert_eq!(told(Scale(Unit::Money), 51_234), (">= 6.41".to_owned(), ">= 12.82".to_owned()));
    }

    #[test]
    fn a_share_is_never_asked_to_be_more_than_all() {
        let share = Scale(Unit::Percent);
        let told = |percent: u64| share.suggest(percent * PERCENT).map(|levels| share.suggestion(levels));
        let level = |warning: &str, critical: Option<&str>| {
            Some(Suggestion { warning: warning.to_owned(), critical: critical.map(str::to_owned), clear: None })
        };
        assert_eq!(told(20), level(">= 25%", Some(">= 50%")));
        assert_eq!(told(60), level(">= 75%", Some(">= 88%")));
        assert_eq!(told(90), level(">= 95%", None));
        assert_eq!(told(100), None);
    }

    #[test]
    fn a_level_to_come_down_to_stays_below_the_new_warning() {
        let level = |operator, limit| Some(Level { operator, limit, is_of_usual: false, text: String::new() });
        let was = |operator, clear| Levels {
            warning: level(Operator::AtLeast, 30),
            critical: None,
            clear: level(operator, clear),
        };
        let count = Scale(Unit::Count);
        assert_eq!(count.clear(&was(Operator::Below, 20), 48), None, "it fits as it is");
        assert_eq!(count.clear(&was(Operator::Below, 20), 20), None);
        assert_eq!(count.clear(&was(Operator::Below, 20), 5), Some("< 3".to_owned()));
        assert_eq!(count.clear(&was(Operator::AtMost, 29), 29), Some("<= 28".to_owned()));
        assert_eq!(count.clear(&Levels::default(), 5), None);
    }

    #[test]
    fn values_are_written_as_levels_are() {
        let text = |unit, value| Scale(unit).text(value);
        assert_eq!(text(Unit::Milliseconds, 90_000), "90s");
        assert_eq!(text(Unit::Milliseconds, 120_000), "2m");
        assert_eq!(text(Unit::Milliseconds, 1_500), "1500ms");
        assert_eq!(text(Unit::Percent, 99_950_000), "99.95%");
        assert_eq!(text(Unit::Money, 125_000), "12.5");
        assert_eq!(decimals(300.0, 0), "300");
    }
}
