//! A violation that a test expects.

use toml::de::DeValue;

use super::file::{self, Rules};
use crate::policy::Severity;
use crate::policy::document::{Key, Section, key, short};
use crate::policy::literal;
use crate::policy::problem::Problem;

/// One entry of `expect`.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Where it stands, counted from 1.
    pub(super) line: usize,
    /// After the start of the test.
    pub(super) at_ms: i64,
    pub(super) rule: String,
    pub(super) level: Severity,
    /// The values of the rule's `per`, in their order; `None`: whichever key.
    pub(super) key: Option<Vec<String>>,
    pub(super) customer: Option<String>,
    /// As violations show it.
    pub(super) value: Option<f64>,
    pub(super) late: Option<bool>,
}

const AT: Key = key("at", "at = \"1m22s\"");
const RULE: Key = key("rule", "rule = \"ips-wangiri\"");
const LEVEL: Key = key("level", "level = \"warning\"");
const KEY: Key = key("key", "key = [\"+2235550*\"]");
const CUSTOMER: Key = key("customer", "customer = \"acme\"");
const VALUE: Key = key("value", "value = 5");
const LATE: Key = key("late", "late = true");

const KEYS: &[Key] = &[AT, RULE, LEVEL, KEY, CUSTOMER, VALUE, LATE];

const LEVELS: [(&str, Severity); 2] = [("warning", Severity::Warning), ("critical", Severity::Critical)];

/// Reads one entry. `watched` are the rules the test names, where it names any.
pub(super) fn parse(
    section: &Section<'_, '_>,
    watched: Option<&[&str]>,
    rules: &Rules<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Expected> {
    let section = section.clone().keyed(KEYS);
    section.check_keys(problems);
    if section.lacks(&AT) {
        problems.push(section.missing(&AT));
    }
    if section.lacks(&LEVEL) {
        problems.push(section.missing(&LEVEL));
    }
    let at_ms = file::bounded(&section, &AT, problems);
    let level = section.word(&LEVEL, &LEVELS, problems);
    let rule = section.required_text(&RULE, problems);
    let rule = rule.filter(|rule| rules.check(&section, rule, problems));
    if let (Some(rule), Some(watched)) = (&rule, watched)
        && !watched.contains(&rule.value)
    {
        let message = format!("`rules` of this test does not name `{}`", short(rule.value));
        let problem = section.problem("E006", message, rule.span.clone());
        problems.push(problem.help(format!("add \"{}\" to `rules`, or leave `rules` out to watch all", rule.value)));
    }
    let parts = section.texts(&KEY, problems);
    if let (Some(rule), Some(parts)) = (&rule, &parts) {
        check_parts(&section, rule.value, parts.len(), rules, problems);
    }
    let value = value(&section, problems);
    let customer = section.text(&CUSTOMER, problems).map(|c| c.value.to_owned());
    let late = section.boolean(&LATE, problems);
    Some(Expected {
        line: file::line_of(&section, &section.span),
        at_ms: at_ms?,
        rule: rule?.value.to_owned(),
        level: level?,
        key: parts.map(|parts| parts.iter().map(|part| part.value.to_owned()).collect()),
        customer,
        value,
        late,
    })
}

fn check_parts(section: &Section<'_, '_>, rule: &str, n: usize, rules: &Rules<'_>, problems: &mut Vec<Problem>) {
    let threshold = rules.policy.thresholds.iter().find(|r| r.id == rule);
    let names: Vec<&str> = match threshold.and_then(|r| rules.policy.keys.get(r.key)) {
        Some(spec) => spec.parts.iter().map(|part| part.name.as_str()).collect(),
        // A firewall rule that is tracked.
        None => vec!["caller"],
    };
    if names.len() != n {
        let count = if names.len() == 1 { "one value".to_owned() } else { format!("{} values", names.len()) };
        let message = format!("a key of `{rule}` has {count}, not {n}");
        let span = section.value(KEY.name).map_or(section.span.clone(), |value| value.span());
        problems.push(section.problem("E006", message, span).help(format!("its keys are: {}", names.join(", "))));
    }
}

/// A figure, or a text with the unit of the measure: `5`, `"15m"`, `"82.5%"`.
fn value(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<f64> {
    let value = section.value(VALUE.name)?;
    let found = match value.get_ref() {
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n as f64),
        DeValue::Float(n) => n.as_str().parse::<f64>().ok().filter(|n| n.is_finite()),
        DeValue::String(text) => shown(text),
        _ => None,
    };
    if found.is_none() {
        let problem = section.problem("E004", "`value` is a number, a duration or a percentage", value.span());
        problems.push(problem.help("write: value = 5, value = \"15m\" or value = \"82.5%\""));
    }
    found
}

fn shown(text: &str) -> Option<f64> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.trim_end().parse::<f64>().ok().filter(|n| n.is_finite());
    }
    literal::duration(text).ok().map(|ms| ms as f64 / 1000.0)
}
