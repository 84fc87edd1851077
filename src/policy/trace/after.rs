//! What a rule with `after` says of an event: which violation it follows, or that there is none.

use super::super::dynamic::Probe;
use super::super::predicate::sought;
use super::super::{Policy, ThresholdRule, View};
use super::moment;
use super::step::{Shape, Step, lasting, shown};

/// `None` where the rule follows no other.
pub(super) fn step(policy: &Policy, rule: &ThresholdRule, view: &View<'_>) -> Option<Step> {
    let after = rule.after.as_ref()?;
    let (list, same) = rule.condition.as_ref()?.after()?;
    let within = lasting(after.within_ms);
    // Entries that both rules have, by the other's name for them.
    let named = same.iter().map(|operand| {
        let name = after.same.iter().find(|(_, own)| own == operand).map_or("", |(name, _)| name.as_str());
        (name, shown(operand, view))
    });
    let values: Vec<(&str, Option<String>)> = named.collect();
    let noted = sought(same, view);
    let until = noted.as_ref().and_then(|noted| view.dynamic.until(list, Probe::Text(noted)));
    let holds = until.is_some_and(|until| view.event.time < until);
    let id = &after.rule;
    let because = match (until.filter(|_| holds), values.iter().find(|(_, value)| value.is_none())) {
        (_, Some((name, None))) => format!("nothing is there to follow {id} by, which counts per {name}"),
        (Some(until), _) => {
            let at = until.minus_ms(after.within_ms);
            let ago = lasting(view.event.time.0.saturating_sub(at.0));
            format!("it follows {id} of {}, violated at {}, {ago} before", told(&values), moment(at, &policy.time_zone))
        }
        (None, _) => format!("no violation of {id} of {} in the {within} before", told(&values)),
    };
    let test = format!("after {id} within {within}");
    Some(Step { test, holds, wanted: true, because, shape: Shape::Test, parts: Vec::new() })
}

/// `caller=+46700000001, trunk="pstn-1"`
fn told(values: &[(&str, Option<String>)]) -> String {
    let said = values.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default()));
    said.collect::<Vec<_>>().join(", ")
}
