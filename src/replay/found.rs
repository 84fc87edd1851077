//! What was found of labelled attacks, for people.

use super::detection::{AttackFound, Detected, RuleFound};
use super::table::Table;
use crate::printed::{plural, put, thousands};

impl Detected {
    /// A table of the rules, and one of the attacks.
    pub fn text(&self) -> String {
        let mut out = String::new();
        put_head(&mut out, self);
        put_rules(&mut out, self);
        put_attacks(&mut out, self);
        put_missed(&mut out, self);
        out
    }
}

/// What two sets found: each its rules, and which attacks changed sides.
pub(super) fn put_both(out: &mut String, paths: [&str; 2], [before, after]: [&Detected; 2]) {
    out.push('\n');
    put_head(out, after);
    let found = |detected: &Detected| detected.attacks.len() - detected.missed.len();
    let n = after.attacks.len();
    put(
        out,
        format_args!("found by {}: {} of {n}; by {}: {} of {n}\n", paths[1], found(after), paths[0], found(before)),
    );
    let gained = before.missed.iter().filter(|name| !after.missed.contains(name));
    let lost = after.missed.iter().filter(|name| !before.missed.contains(name));
    for (what, names) in
        [("found now", gained.cloned().collect::<Vec<_>>()), ("found no more", lost.cloned().collect())]
    {
        if !names.is_empty() {
            put(out, format_args!("{what}: {}\n", names.join(", ")));
        }
    }
    for (path, detected) in paths.into_iter().zip([before, after]) {
        put(out, format_args!("with {path}:\n"));
        put_rules(out, detected);
    }
    put_missed(out, after);
    out.push('\n');
}

fn put_head(out: &mut String, detected: &Detected) {
    let calls: u64 = detected.attacks.iter().map(|attack| attack.calls).sum();
    let n = detected.attacks.len();
    put(
        out,
        format_args!(
            "labelled: {n} attack{} with {} calls among {} clean calls\n",
            plural(n),
            thousands(calls),
            thousands(detected.clean_calls)
        ),
    );
}

/// Rules that never told of anything are named in one line.
fn put_rules(out: &mut String, detected: &Detected) {
    let mut table =
        Table::new(&["rule", ">found", ">calls to it", ">lead", ">false alarms", ">per million clean", "attacks"]);
    for rule in detected.rules.iter().filter(|rule| rule.alarms > 0) {
        let RuleFound { found, median_calls, median_lead_seconds, .. } = rule;
        table.row(&[
            rule.rule.clone(),
            format!("{} of {}", found.len(), detected.attacks.len()),
            median_calls.map_or("-".to_owned(), |calls| calls.to_string()),
            median_lead_seconds.map_or("-".to_owned(), span),
            thousands(rule.false_alarms),
            format!("{:.2}", rule.false_alarms_per_million_clean_calls),
            found.join(", "),
        ]);
    }
    let silent: Vec<&str> = detected.rules.iter().filter(|r| r.alarms == 0).map(|r| r.rule.as_str()).collect();
    if silent.len() < detected.rules.len() {
        out.push_str(&table.text());
    }
    if !silent.is_empty() {
        put(out, format_args!("never told of anything: {}\n", silent.join(", ")));
    }
}

fn put_attacks(out: &mut String, detected: &Detected) {
    if detected.attacks.is_empty() {
        return;
    }
    let mut table = Table::new(&["attack", ">calls", "first found by", ">at call", ">after", "and by"]);
    for AttackFound { attack, calls, found_by } in &detected.attacks {
        let first = found_by.first();
        let others: Vec<&str> = found_by.iter().skip(1).map(|by| by.rule.as_str()).collect();
        table.row(&[
            attack.clone(),
            thousands(*calls),
            first.map_or("-".to_owned(), |by| by.rule.clone()),
            first.map_or("-".to_owned(), |by| thousands(by.calls)),
            first.map_or("-".to_owned(), |by| span(by.lead_seconds)),
            others.join(", "),
        ]);
    }
    out.push('\n');
    out.push_str(&table.text());
}

fn put_missed(out: &mut String, detected: &Detected) {
    if !detected.missed.is_empty() {
        put(out, format_args!("missed: {}\n", detected.missed.join(", ")));
    }
}

/// `42s`, `6m 5s`, `2h 10m`, `3d 4h`.
fn span(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    let two = |large: u64, small: u64, words: [&str; 2]| match small {
        0 => format!("{large}{}", words[0]),
        _ => format!("{large}{} {small}{}", words[0], words[1]),
    };
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => two(whole / 60, whole % 60, ["m", "s"]),
        3600..86_400 => two(whole / 3600, whole % 3600 / 60, ["h", "m"]),
        _ => two(whole / 86_400, whole % 86_400 / 3600, ["d", "h"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        let told = [4.4, 60.0, 365.0, 7200.0, 7800.0, 90_000.0].map(span);
        assert_eq!(told, ["4s", "1m", "6m 5s", "2h", "2h 10m", "1d 1h"]);
    }
}
