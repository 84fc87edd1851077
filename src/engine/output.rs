//! The lines the engine's results are read as: violations and verdicts, one JSON object each (spec 5.1, 1.3).

use std::io::Write;

use super::judged::{Judged, RuleRef, Verdict, Violation};
use crate::event::Names;
use crate::policy::measure::Unit;
use crate::policy::{Level, Mode, Policy, Severity, Usual};

/// What a violation says of its rule.
struct Told<'a> {
    id: &'a str,
    measure: &'a str,
    unit: Unit,
    limit: i128,
    /// Of a level of what is usual: how often that, and the least it comes to.
    times: Option<(i128, i128)>,
    window: &'a str,
    mode: Mode,
}

/// Id of a deciding or violated rule.
pub fn rule_id(policy: &Policy, rule: RuleRef) -> &str {
    match rule {
        RuleRef::Default => "default",
        RuleRef::Emergency => "builtin:emergency",
        RuleRef::Firewall(i) => policy.firewall.get(i as usize).map_or("", |r| &r.id),
        RuleRef::Threshold(i) => policy.thresholds.get(i as usize).map_or("", |r| &r.id),
    }
}

/// As [`rule_id`], and of a variant whose it is: `ips-tdos-callee for acme`.
pub fn rule_name(policy: &Policy, rule: RuleRef) -> String {
    let id = rule_id(policy, rule);
    match rule {
        RuleRef::Firewall(i) => policy.firewall.get(i as usize).map_or(id.to_owned(), |r| r.concern.name(id)),
        RuleRef::Threshold(i) => policy.thresholds.get(i as usize).map_or(id.to_owned(), |r| r.concern.name(id)),
        RuleRef::Default | RuleRef::Emergency => id.to_owned(),
    }
}

/// The mode of the rule, `enforce` for what has none.
pub fn rule_mode(policy: &Policy, rule: RuleRef) -> Mode {
    match rule {
        RuleRef::Firewall(i) => policy.firewall.get(i as usize).map_or(Mode::Enforce, |r| r.mode),
        RuleRef::Threshold(i) => policy.thresholds.get(i as usize).map_or(Mode::Enforce, |r| r.mode),
        _ => Mode::Enforce,
    }
}

fn told(policy: &Policy, rule: RuleRef, level: Severity) -> Option<Told<'_>> {
    match rule {
        RuleRef::Threshold(i) => {
            let rule = policy.thresholds.get(i as usize)?;
            let level = match level {
                Severity::Warning => rule.levels.warning.as_ref(),
                Severity::Critical => rule.levels.critical.as_ref(),
            };
            Some(Told {
                id: &rule.id,
                measure: rule.measure.as_str(),
                unit: rule.measure.unit(),
                limit: level?.limit,
                times: level.filter(|level| level.is_of_usual).map(|level| {
                    let least = if level.is_upward() { rule.least } else { 0 };
                    (level.limit, least)
                }),
                window: &rule.window_text,
                mode: rule.mode,
            })
        }
        RuleRef::Firewall(i) => {
            let rule = policy.firewall.get(i as usize)?;
            Some(Told {
                id: &rule.id,
                measure: "match",
                unit: Unit::Count,
                limit: 1,
                times: None,
                window: "0s",
                mode: rule.mode,
            })
        }
        _ => None,
    }
}

/// Value and threshold of a violation as people read them: counts, seconds, money, percent.
pub fn shown(policy: &Policy, violation: &Violation) -> Option<(f64, f64)> {
    let told = told(policy, violation.rule, violation.level)?;
    let limit = match told.times {
        None => told.limit as f64,
        Some((times, least)) => {
            let usual = violation.usual.unwrap_or_default() as f64 / Usual::SCALE as f64;
            (usual * times as f64 / Level::TIMES_SCALE as f64).max(least as f64)
        }
    };
    Some((value_in(told.unit, violation.value), limit / scale(told.unit)))
}

/// What a rule measures, as people read it.
pub fn in_units(policy: &Policy, rule: RuleRef, value: f64) -> f64 {
    let unit = match rule {
        RuleRef::Threshold(i) => policy.thresholds.get(usize::from(i)).map_or(Unit::Count, |rule| rule.measure.unit()),
        _ => Unit::Count,
    };
    value_in(unit, value)
}

fn value_in(unit: Unit, value: f64) -> f64 {
    if matches!(unit, Unit::Percent) { value * 100.0 } else { value / scale(unit) }
}

fn scale(unit: Unit) -> f64 {
    match unit {
        Unit::Count => 1.0,
        Unit::Milliseconds => 1000.0,
        Unit::Money => 10_000.0,
        Unit::Percent => Level::SHARE_SCALE as f64 / 100.0,
    }
}

/// One line of `--output violations`, without the line's end. `id` is what a sink tells repeats by.
pub fn violation_line(
    out: &mut Vec<u8>,
    judged: &Judged,
    violation: &Violation,
    policy: &Policy,
    names: &Names,
    id: Option<&str>,
) {
    let Some(told) = told(policy, violation.rule, violation.level) else { return };
    let (value, threshold) = shown(policy, violation).unwrap_or_default();
    out.extend_from_slice(b"{");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        string(out, id.as_bytes());
        out.push(b',');
    }
    put(out, format_args!("\"time\":\"{}\",\"customer\":", violation.time));
    string(out, names.customer_name(violation.customer).as_bytes());
    out.extend_from_slice(b",\"rule\":");
    string(out, told.id.as_bytes());
    put(out, format_args!(",\"level\":\"{}\",\"key\":{{", violation.level.as_str()));
    for (i, (name, value)) in violation.key.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name.as_bytes());
        out.push(b':');
        string(out, value.as_bytes());
    }
    put(out, format_args!("}},\"measure\":\"{}\",\"value\":", told.measure));
    number(out, value);
    out.extend_from_slice(b",\"threshold\":");
    number(out, threshold);
    out.extend_from_slice(b",\"window\":");
    string(out, told.window.as_bytes());
    out.extend_from_slice(b",\"call_id\":");
    let call_id = judged.event_of(violation).map_or(&b""[..], |e| judged.batch.text(e.call_id));
    text_or_null(out, call_id);
    put(out, format_args!(",\"mode\":\"{}\"", told.mode.as_str()));
    if violation.late {
        out.extend_from_slice(b",\"late\":true");
    }
    if violation.is_reminder {
        out.extend_from_slice(b",\"reminder\":true");
    }
    out.push(b'}');
}

/// The answer to one event, without the line's end. `with_time` for `--output verdicts`, `is_late` where the deadline
/// was missed and `verdict` is the default.
pub fn verdict_line(
    out: &mut Vec<u8>,
    judged: &Judged,
    index: usize,
    verdict: Verdict,
    policy: &Policy,
    with_time: bool,
    is_late: bool,
) {
    let Some(event) = judged.batch.events.get(index) else { return };
    out.push(b'{');
    if with_time {
        put(out, format_args!("\"time\":\"{}\",", event.time));
    }
    out.extend_from_slice(b"\"seq\":");
    if event.seq == 0 {
        out.extend_from_slice(b"null")
    } else {
        put(out, format_args!("{}", event.seq))
    }
    out.extend_from_slice(b",\"call_id\":");
    text_or_null(out, judged.batch.text(event.call_id));
    put(out, format_args!(",\"action\":\"{}\",\"rule\":", verdict.action.as_str()));
    string(out, rule_id(policy, verdict.rule).as_bytes());
    put(out, format_args!(",\"cause\":\"{}\"", verdict.cause.as_str()));
    if let RuleRef::Firewall(i) = verdict.rule
        && let Some(rule) = policy.firewall.get(i as usize)
    {
        if let Some(code) = rule.sip_code {
            put(out, format_args!(",\"sip\":{code}"));
        }
        if let Some(to) = &rule.divert_to {
            out.extend_from_slice(b",\"divert_to\":");
            string(out, to.as_bytes());
        }
    }
    let first = judged.flags.partition_point(|(event, _)| (*event as usize) < index);
    let flags = judged.flags[first..].iter().take_while(|(event, _)| *event as usize == index);
    let mut opened = false;
    for (_, rule) in flags {
        out.extend_from_slice(if opened { b"," } else { b",\"flags\":[" });
        opened = true;
        let flag = policy.firewall.get(*rule as usize).and_then(|r| r.flag.as_deref()).unwrap_or_default();
        string(out, flag.as_bytes());
    }
    if opened {
        out.push(b']');
    }
    if is_late {
        out.extend_from_slice(b",\"late\":true");
    }
    if judged.is_outside {
        out.extend_from_slice(b",\"durable\":false");
    }
    out.push(b'}');
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

/// Whole where it is, else up to six decimals.
fn number(out: &mut Vec<u8>, value: f64) {
    if value == value.trunc() && value.abs() < 1e15 {
        put(out, format_args!("{}", value as i64));
        return;
    }
    let at = out.len();
    put(out, format_args!("{value:.6}"));
    while out.len() > at && out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
}

fn text_or_null(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() { out.extend_from_slice(b"null") } else { string(out, text) }
}

/// A JSON string (RFC 8259). Bytes that are no UTF-8 become U+FFFD.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    let plain = text.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    let written = serde_json::to_writer(out, &String::from_utf8_lossy(text));
    debug_assert!(written.is_ok(), "a string always serialises");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_where_they_are_and_short_where_they_are_not() {
        let shown = |value| {
            let mut out = Vec::new();
            number(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([shown(30.0), shown(0.25), shown(66.666_666_7), shown(-2.5)], ["30", "0.25", "66.666667", "-2.5"]);
    }

    #[test]
    fn texts_are_escaped_as_json_wants() {
        let mut out = Vec::new();
        string(&mut out, b"a\"b\\c\n\xff");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"b\\\\c\\n\u{fffd}\"");
    }
}
