//! Levels of thresholds: `">= 30"`, `"> 1h"`, `">= 99.95%"`, held in the unit of their measure.

use std::ops::Range;

use super::literal;
use super::measure::{Level, Levels, Measure, Operator, Unit};
use super::origin::{Origin, Reporter};
use super::problem::{Place, Problem};

/// Which key a level stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelKey {
    Warning,
    Critical,
    Clear,
}

/// Reads a level against the measure of its rule. `None`: what is wrong is reported.
pub fn compile_level(
    text: &str,
    origin: &Origin,
    key: LevelKey,
    measure: &Measure,
    problems: &mut Vec<Problem>,
) -> Option<Level> {
    match read(text, key, measure) {
        Ok(level) => Some(level),
        Err((problem, span)) => {
            Reporter::new(origin, problems).report(*problem, span);
            None
        }
    }
}

type Fault = (Box<Problem>, Range<usize>);

fn read(text: &str, key: LevelKey, measure: &Measure) -> Result<Level, Fault> {
    let fault = |problem: Problem, span: Range<usize>| (Box::new(problem), span);
    let start = text.len() - text.trim_start().len();
    let rest = text.trim();
    let signs = [(">=", Operator::AtLeast), ("<=", Operator::AtMost), (">", Operator::Above), ("<", Operator::Below)];
    let Some((sign, operator, value)) =
        signs.into_iter().find_map(|(sign, operator)| Some((sign, operator, rest.strip_prefix(sign)?)))
    else {
        let problem = Problem::error("E056", "a level begins with its operator").help(format!("write \">= {rest}\""));
        return Err(fault(problem, start..start + rest.len()));
    };
    let value_at = start + rest.len() - value.trim_start().len();
    let (sign_span, value) = (start..start + sign.len(), value.trim());
    let value_span = value_at..value_at + value.len();
    let times = times(value, measure).map_err(|problem| fault(*problem, value_span.clone()))?;
    let is_of_usual = times.is_some();
    let limit = match times {
        Some(times) => times,
        None => limit(value, measure).map_err(|problem| fault(*problem, value_span.clone()))?,
    };
    let level = Level { operator, limit, is_of_usual, text: rest.to_owned() };
    if key != LevelKey::Clear && !level.is_upward() && matches!(measure, Measure::Longest) {
        let problem =
            Problem::error("E056", "`longest` only rises while a call is up").help(format!("write \">= {value}\""));
        return Err(fault(problem, sign_span));
    }
    let is_percent = measure.unit() == Unit::Percent && !is_of_usual;
    let always = match operator {
        Operator::AtLeast | Operator::Above => level.smallest() <= 0,
        Operator::AtMost => is_percent && limit >= Level::SHARE_SCALE,
        Operator::Below => false,
    };
    let never = match operator {
        Operator::Above => is_percent && limit >= Level::SHARE_SCALE,
        Operator::Below => limit == 0,
        Operator::AtLeast | Operator::AtMost => false,
    };
    if always || never {
        let how = if always { "always" } else { "never" };
        return Err(fault(Problem::error("E056", format!("`{rest}` {how} holds")), value_span));
    }
    Ok(level)
}

/// `3x`: how often what is usual of the key in that hour of the week.
fn times(value: &str, measure: &Measure) -> Result<Option<i128>, Box<Problem>> {
    let Some(times) = value.strip_suffix('x').and_then(|n| literal::decimal(n.trim_end(), 4)) else { return Ok(None) };
    if measure.is_of_calls() {
        let message = format!("`{}` has no window, and what is usual is known of windows", measure.as_str());
        return Err(Box::new(Problem::error("E056", message).help("write a number of calls or a duration")));
    }
    Ok(Some(i128::from(times)))
}

/// A level's value in the unit of its measure.
pub(super) fn limit(value: &str, measure: &Measure) -> Result<i128, Box<Problem>> {
    let unit = measure.unit();
    let found = match unit {
        Unit::Count => value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse::<i64>().ok()).flatten(),
        Unit::Milliseconds => literal::duration(value).ok(),
        Unit::Money => literal::decimal(value, 4),
        Unit::Percent => value
            .strip_suffix('%')
            .and_then(|n| literal::decimal(n.trim_end(), 6))
            .filter(|limit| i128::from(*limit) <= Level::SHARE_SCALE),
    };
    found.map(i128::from).ok_or_else(|| Box::new(misfit(value, measure)))
}

/// Why a value is none of its measure.
fn misfit(value: &str, measure: &Measure) -> Problem {
    let name = measure.as_str();
    let is_bare = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let (wants, example) = match measure.unit() {
        Unit::Count => ("a whole number", "30".to_owned()),
        Unit::Milliseconds => ("a duration", if is_bare { format!("{value}s") } else { "300m".to_owned() }),
        Unit::Money => ("an amount with at most 4 decimals", "12.50".to_owned()),
        Unit::Percent => ("a percentage up to 100%", if is_bare { format!("{value}%") } else { "70%".to_owned() }),
    };
    let message = match (is_bare, measure.unit()) {
        (true, Unit::Milliseconds | Unit::Percent) => format!("level `{value}` without its unit: `{name}` is {wants}"),
        _ => format!("`{value}` is no level of `{name}`, which is {wants}"),
    };
    Problem::error("E056", message).help(format!("write \">= {example}\""))
}

/// Where the levels of a rule stand.
#[derive(Clone, Debug, Default)]
pub struct LevelPlaces {
    pub warning: Option<Place>,
    pub critical: Option<Place>,
    pub clear: Option<Place>,
}

/// Levels against each other: a critical one weaker than the warning, a `clear` that holds where a level does.
pub fn check_levels(levels: &Levels, measure: &Measure, places: &LevelPlaces, problems: &mut Vec<Problem>) {
    let is_whole = !matches!(measure, Measure::Avg(_) | Measure::Share(_));
    let mut is_weaker = false;
    // What is usual may be anything: a number and a multiple of it have no order.
    let are_alike = |a: &Level, b: &Level| a.is_of_usual == b.is_of_usual;
    let is_whole = is_whole && !levels.has_usual();
    if let (Some(warning), Some(critical)) = (&levels.warning, &levels.critical) {
        is_weaker = are_alike(warning, critical) && asks(critical, is_whole) < asks(warning, is_whole);
        let fault = match (warning.is_upward() == critical.is_upward(), is_weaker) {
            (false, _) => Some(("of another direction than", "both rise or both fall")),
            (true, true) => Some(("weaker than", "swap them, or make `critical` ask for more")),
            (true, false) => None,
        };
        if let Some((how, help)) = fault {
            let message = format!("critical level `{}` is {how} warning `{}`", critical.text, warning.text);
            let mut problem = Problem::error("E057", message).help(help);
            problem.place = places.critical.clone();
            problem.context = places.warning.clone().map(|place| (place, "the warning".to_owned()));
            problems.push(problem);
        }
    }
    let lowest = if is_weaker { levels.critical.as_ref() } else { levels.lowest() };
    let (Some(clear), Some(lowest)) = (&levels.clear, lowest) else { return };
    let (message, help) = if clear.is_upward() == lowest.is_upward() {
        let value = clear.text.trim_start_matches(['<', '>', '=', ' ']);
        let (way, sign) = if lowest.is_upward() { ("come down", "<") } else { ("rise", ">") };
        (format!("`clear` is a level to {way} to"), format!("write \"{sign} {value}\""))
    } else if are_alike(clear, lowest) && overlaps(clear, lowest, is_whole) {
        let way = if lowest.is_upward() { "below" } else { "above" };
        let advice = format!("an episode ends {way} its lowest level: move `clear` away from it");
        (format!("clear `{}` holds while `{}` does", clear.text, lowest.text), advice)
    } else {
        return;
    };
    let code = if clear.is_upward() == lowest.is_upward() { "E056" } else { "E058" };
    let mut problem = Problem::error(code, message).help(help);
    problem.place = places.clear.clone();
    let place = if levels.warning.is_some() { places.warning.clone() } else { places.critical.clone() };
    problem.context = place.map(|place| (place, "the lowest level".to_owned()));
    problems.push(problem);
}

/// Levels of one direction in the order of how much they ask. Whole measures have a next value, fractions have none.
fn asks(level: &Level, is_whole: bool) -> (i128, bool) {
    let (limit, is_strict) = match level.operator {
        _ if is_whole => (level.smallest(), false),
        operator => (level.limit, matches!(operator, Operator::Above | Operator::Below)),
    };
    (if level.is_upward() { limit } else { -limit }, is_strict)
}

/// Is there a value that is both clear and at the level, which rises where the other falls?
fn overlaps(clear: &Level, lowest: &Level, is_whole: bool) -> bool {
    let (rising, falling) = if lowest.is_upward() { (lowest, clear) } else { (clear, lowest) };
    if is_whole {
        return rising.smallest() < falling.smallest();
    }
    let meet = rising.operator == Operator::AtLeast && falling.operator == Operator::AtMost;
    if meet { falling.limit >= rising.limit } else { falling.limit > rising.limit }
}

#[cfg(test)]
mod tests {
    use super::super::predicate::Predicate;
    use super::*;
    use crate::event::Field;

    fn level(text: &str, key: LevelKey, measure: &Measure) -> Result<(i128, Operator), String> {
        let mut problems = Vec::new();
        let found = compile_level(text, &Origin::at("f", 0), key, measure, &mut problems);
        match (found, problems.as_slice()) {
            (Some(level), []) => Ok((level.limit, level.operator)),
            (None, [problem]) => {
                Err(format!("{}@{:?} {}", problem.code, problem.place.as_ref().unwrap().span, problem.message))
            }
            other => panic!("one or the other: {other:?}"),
        }
    }

    fn share() -> Measure {
        Measure::Share(Predicate::Always)
    }

    #[test]
    fn levels_are_held_in_the_unit_of_their_measure() {
        use LevelKey::*;
        assert_eq!(level(">= 30", Warning, &Measure::Count), Ok((30, Operator::AtLeast)));
        assert_eq!(level(" >30 ", Critical, &Measure::Count), Ok((30, Operator::Above)));
        assert_eq!(level(">= 300m", Warning, &Measure::Sum(Field::Duration)), Ok((18_000_000, Operator::AtLeast)));
        assert_eq!(level(">= 12.5", Warning, &Measure::Sum(Field::Cost)), Ok((125_000, Operator::AtLeast)));
        assert_eq!(level(">= 99.95%", Warning, &share()), Ok((99_950_000, Operator::AtLeast)));
        assert_eq!(level(">= 2.5x", Warning, &share()), Ok((25_000, Operator::AtLeast)));
        assert_eq!(level("< 20", Clear, &Measure::Count), Ok((20, Operator::Below)));
    }

    #[test]
    fn a_level_that_does_not_fit_is_refused_where_it_stands() {
        use LevelKey::*;
        let wrong = |text, key, measure: &Measure| level(text, key, measure).unwrap_err();
        assert_eq!(wrong("30", Warning, &Measure::Count), "E056@0..2 a level begins with its operator");
        assert_eq!(
            wrong(">= 300", Warning, &Measure::Sum(Field::Duration)),
            "E056@3..6 level `300` without its unit: `sum` is a duration"
        );
        assert_eq!(
            wrong(">= 70", Warning, &share()),
            "E056@3..5 level `70` without its unit: `share` is a percentage up to 100%"
        );
        assert_eq!(
            wrong(">= 5m", Warning, &Measure::Count),
            "E056@3..5 `5m` is no level of `count`, which is a whole number"
        );
        assert_eq!(
            wrong(">= 101%", Warning, &share()),
            "E056@3..7 `101%` is no level of `share`, which is a percentage up to 100%"
        );
        assert_eq!(wrong("> 100%", Warning, &share()), "E056@2..6 `> 100%` never holds");
        assert_eq!(wrong(">= 0", Warning, &Measure::Count), "E056@3..4 `>= 0` always holds");
        assert_eq!(wrong("< 0", Warning, &Measure::Count), "E056@2..3 `< 0` never holds");
        assert_eq!(wrong("<= 100%", Warning, &share()), "E056@3..7 `<= 100%` always holds");
        assert_eq!(wrong("< 5m", Warning, &Measure::Longest), "E056@0..1 `longest` only rises while a call is up");
        assert_eq!(wrong(">= 0x", Warning, &Measure::Count), "E056@3..5 `>= 0x` always holds");
        assert_eq!(
            wrong(">= 3x", Critical, &Measure::Concurrent),
            "E056@3..5 `concurrent` has no window, and what is usual is known of windows"
        );
        for text in ["", ">=", ">= ", ">= -1", ">= 1e9", "≥ 3", ">= 99999999999999999999"] {
            assert!(level(text, Warning, &Measure::Count).is_err(), "{text}");
        }
    }

    #[test]
    fn critical_is_not_weaker_and_clear_does_not_overlap() {
        let codes = |warning: Option<&str>, critical: Option<&str>, clear: Option<&str>, measure: &Measure| {
            let read = |text: Option<&str>, key| text.map(|t| read(t, key, measure).unwrap());
            let levels = Levels {
                warning: read(warning, LevelKey::Warning),
                critical: read(critical, LevelKey::Critical),
                clear: read(clear, LevelKey::Clear),
            };
            let mut problems = Vec::new();
            check_levels(&levels, measure, &LevelPlaces::default(), &mut problems);
            problems.into_iter().map(|p| p.code).collect::<Vec<_>>()
        };
        let count = Measure::Count;
        assert_eq!(codes(Some(">= 30"), Some(">= 80"), Some("< 20"), &count), Vec::<&str>::new());
        assert_eq!(codes(Some(">= 30"), Some(">= 29"), None, &count), ["E057"]);
        assert_eq!(codes(Some(">= 30"), Some("> 29"), None, &count), Vec::<&str>::new());
        assert_eq!(codes(Some(">= 30"), None, Some("< 30"), &count), Vec::<&str>::new());
        assert_eq!(codes(Some(">= 30"), None, Some("<= 30"), &count), ["E058"]);
        assert_eq!(codes(None, Some("> 30"), Some("<= 30"), &count), Vec::<&str>::new());
        assert_eq!(codes(None, Some("> 30"), Some("< 32"), &count), ["E058"]);
        assert_eq!(codes(Some(">= 70%"), None, Some("<= 70%"), &share()), ["E058"]);
        assert_eq!(codes(Some("> 70%"), None, Some("<= 70%"), &share()), Vec::<&str>::new());
        assert_eq!(codes(Some("> 70%"), Some(">= 70%"), None, &share()), ["E057"]);
        assert_eq!(codes(Some("< 40%"), Some("< 20%"), Some("> 60%"), &share()), Vec::<&str>::new());
        assert_eq!(codes(Some("< 40%"), Some("< 45%"), None, &share()), ["E057"]);
        assert_eq!(codes(Some("<= 40%"), Some("< 40%"), None, &share()), Vec::<&str>::new());
        assert_eq!(codes(Some("< 40%"), Some(">= 90%"), None, &share()), ["E057"]);
        assert_eq!(codes(Some("<= 4"), None, Some(">= 5"), &count), Vec::<&str>::new());
        assert_eq!(codes(Some("<= 4"), None, Some("> 3"), &count), ["E058"]);
        assert_eq!(codes(Some("<= 40%"), None, Some(">= 40%"), &share()), ["E058"]);
        assert_eq!(codes(Some("< 40%"), None, Some("<= 30%"), &share()), ["E056"]);
        assert_eq!(codes(Some(">= 3"), None, Some(">= 2"), &count), ["E056"]);
    }
}
