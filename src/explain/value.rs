//! What a window shows: the value of a measure over the events that one key counted.
//!
//! The engine keeps as little of a window as decides (2-rules 2.9 points 5-7); here all of it is there, and the value is
//! that of the specification's words.

use std::collections::BTreeSet;

use crate::calendar::duration_text;
use crate::event::{CallEvent, Field};
use crate::policy::measure::Unit;
use crate::policy::predicate::{Value, write_value};
use crate::policy::{Measure, View};

/// What a measure takes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// The event itself.
    One,
    /// A value, as people write it.
    Text(String),
    /// A quantity in its own small unit, or a place among numbers.
    Number(i128),
    /// The condition of a share.
    Holds(bool),
    /// The field is absent: it counts for `min_count` only.
    Nothing,
}

/// What a window shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) value: f64,
    pub(super) items: usize,
}

impl Sample {
    pub(super) fn of(measure: &Measure, view: &View<'_>) -> Sample {
        match measure {
            Measure::Distinct(operand) | Measure::FirstSeen(operand, _) => match operand.value(view) {
                Some(value) => {
                    let mut text = Vec::new();
                    write_value(&value, &mut text);
                    Sample::Text(String::from_utf8_lossy(&text).into_owned())
                }
                None => Sample::Nothing,
            },
            Measure::Sum(field) | Measure::Avg(field) => quantity(*field, view.event),
            Measure::Share(condition) => Sample::Holds(condition.eval(view)),
            Measure::Run(operand, _) => match operand.value(view) {
                Some(Value::Number(number, _)) => {
                    number.ordinal().map_or(Sample::Nothing, |place| Sample::Number(place.into()))
                }
                _ => Sample::Nothing,
            },
            _ => Sample::One,
        }
    }

    /// What it added, in words; nothing where it is one like all others.
    pub(super) fn text(&self, measure: &Measure) -> String {
        match (self, measure) {
            (Sample::Text(text), _) => text.clone(),
            (Sample::Number(n), Measure::Sum(_) | Measure::Avg(_)) => amount(*n as f64, measure.unit()),
            (Sample::Holds(true), _) => "is of the share".to_owned(),
            (Sample::Holds(false), _) => "is not".to_owned(),
            (Sample::Nothing, _) => "nothing: the field is absent".to_owned(),
            _ => String::new(),
        }
    }
}

fn quantity(field: Field, event: &CallEvent) -> Sample {
    let ms = |ms: u32| if ms == CallEvent::NO_TIME { Sample::Nothing } else { Sample::Number(ms.into()) };
    match field {
        Field::Duration => ms(event.duration_ms),
        Field::Ring => ms(event.ring_ms),
        Field::Setup => ms(event.setup_ms),
        Field::Cost if event.cost >= 0 => Sample::Number(event.cost.into()),
        _ => Sample::Nothing,
    }
}

/// The value of the samples of one window, of which the oldest began `longest_ms` ago; `None` where there is nothing to divide by.
pub(super) fn shown<'s>(
    measure: &Measure,
    samples: impl Iterator<Item = &'s Sample> + Clone,
    longest_ms: i64,
) -> Option<Shown> {
    let items = samples.clone().count();
    let numbers = || samples.clone().filter_map(|s| if let Sample::Number(n) = s { Some(*n) } else { None });
    let value = match measure {
        Measure::Distinct(_) => {
            samples.filter(|s| **s != Sample::Nothing).map(|s| s.text(measure)).collect::<BTreeSet<_>>().len() as f64
        }
        Measure::Sum(_) => numbers().sum::<i128>() as f64,
        Measure::Avg(_) => {
            let n = numbers().count();
            if n == 0 {
                return None;
            }
            numbers().sum::<i128>() as f64 / n as f64
        }
        Measure::Share(_) => {
            if items == 0 {
                return None;
            }
            samples.filter(|s| **s == Sample::Holds(true)).count() as f64 / items as f64
        }
        // What was there before is nothing.
        Measure::FirstSeen(..) => samples.filter(|s| **s != Sample::Nothing).count() as f64,
        Measure::Longest => longest_ms as f64,
        Measure::Run(_, step) => longest_chain(numbers().collect(), i128::from(*step)) as f64,
        _ => items as f64,
    };
    Some(Shown { value, items })
}

/// Distinct neighbours at most `step` apart.
fn longest_chain(places: BTreeSet<i128>, step: i128) -> usize {
    let (mut longest, mut length, mut last) = (0, 0, None);
    for place in places {
        length = if last.is_some_and(|last| place - last <= step) { length + 1 } else { 1 };
        longest = longest.max(length);
        last = Some(place);
    }
    longest
}

/// A value in the unit of its measure, as people write it.
pub(super) fn amount(value: f64, unit: Unit) -> String {
    let decimals = |value: f64, n: usize| {
        let text = format!("{value:.n$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match unit {
        Unit::Count => decimals(value, 2),
        Unit::Milliseconds if value < 60_000.0 => format!("{}s", decimals(value / 1000.0, 1)),
        Unit::Milliseconds => {
            let seconds = (value / 1000.0).round() as i64;
            duration_text(seconds * 1000).replace(' ', "").replace("min", "m")
        }
        Unit::Money => decimals(value / 10_000.0, 4),
        Unit::Percent => format!("{}%", decimals(value * 100.0, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        assert_eq!(amount(7.0, Unit::Count), "7");
        assert_eq!(amount(2_400.0, Unit::Milliseconds), "2.4s");
        assert_eq!(amount(18_723_400.0, Unit::Milliseconds), "5h12m3s");
        assert_eq!(amount(0.8333, Unit::Percent), "83.3%");
        assert_eq!(amount(100.0, Unit::Count), "100");
        assert_eq!(amount(12_500.0, Unit::Money), "1.25");
    }

    #[test]
    fn a_chain_is_of_neighbours_in_any_order_and_counts_each_once() {
        assert_eq!(longest_chain([9, 1, 4, 3, 3, 20, 6].into_iter().collect(), 3), 5);
        assert_eq!(longest_chain([9, 1, 4, 3, 3, 20, 14].into_iter().collect(), 3), 3);
        assert_eq!(longest_chain(BTreeSet::new(), 3), 0);
    }
}
