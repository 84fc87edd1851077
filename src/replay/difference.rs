//! What a comparison of two rule sets came to, and how it is printed.

use serde::Serialize;

use super::compare::{Comparison, Part, Row, Side};
use super::detection::{Detected, median};
use super::found;
use super::rules::Effect;
use super::table::{Table, signed};
use crate::clock::Timestamp;
use crate::engine::RuleRef;
use crate::policy::{Action, Policy};
use crate::printed::{plural, put, thousands};

/// Everything that differs between two rule sets over the same calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub before: Set,
    pub after: Set,
    pub calls: u64,
    pub events: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    pub days: usize,
    /// Windows hold events from this time on, where `--from` says which are reported.
    pub warmed_from: Option<String>,
    pub verdicts: Vec<Verdicts>,
    /// What differs, the largest change first.
    pub changed: Vec<Changed>,
    /// Rules that said the same of the same calls.
    pub unchanged: Vec<String>,
    pub only_before: Vec<String>,
    pub only_after: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled: Option<Labelled>,
    pub note: &'static str,
}

/// One of the two rule sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Set {
    pub path: String,
    pub version: String,
}

/// Calls that were told one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdicts {
    pub action: &'static str,
    pub before: u64,
    pub after: u64,
}

/// What both sets found of labelled attacks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Labelled {
    pub before: Detected,
    pub after: Detected,
}

/// One rule at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    pub rule: String,
    pub level: String,
    pub before: Volume,
    pub after: Volume,
    pub only_before: u64,
    pub only_after: u64,
    pub earlier: u64,
    pub later: u64,
    pub other_action: u64,
    pub samples: Vec<Sample>,
}

/// How much one set has of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Volume {
    /// Of thresholds; `null` of firewall rules.
    pub episodes: Option<u64>,
    pub keys: u64,
    /// Of episodes, of firewall rules of calls.
    pub per_day_median: f64,
    pub per_day_max: u64,
    /// Calls that a firewall rule met, or that were counted for a key in alarm.
    pub calls: u64,
}

/// In what way two sets differ over a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    OnlyBefore,
    OnlyAfter,
    Earlier,
    Later,
    Changed,
}

impl Change {
    pub(super) fn only(set: usize) -> Change {
        if set == 0 { Change::OnlyBefore } else { Change::OnlyAfter }
    }

    fn as_str(self) -> &'static str {
        match self {
            Change::OnlyBefore => "gone",
            Change::OnlyAfter => "new",
            Change::Earlier => "earlier",
            Change::Later => "later",
            Change::Changed => "changed",
        }
    }
}

/// One call of which the two sets say different things.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    pub change: Change,
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    pub call_id: String,
    pub customer: String,
    pub caller: String,
    pub callee: String,
    /// Of violations.
    #[serde(serialize_with = "as_object")]
    pub key: Vec<(String, String)>,
    /// What each set said; empty where it said nothing.
    pub before: String,
    pub after: String,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

fn as_object<S: serde::Serializer>(key: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(key.iter().map(|(name, value)| (name, value)))
}

pub(super) const NOTE: &str = "counterfactual: calls recorded after a would-be block are replayed as they happened";

impl Difference {
    pub(super) fn of(comparison: &mut Comparison, paths: [String; 2], warmed_from: Option<Timestamp>) -> Difference {
        comparison.finish();
        let days = comparison.n_days();
        let [before, after] = [0, 1].map(|set| comparison.policies[set].clone());
        let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
        let (mut only_before, mut only_after) = (Vec::new(), Vec::new());
        for (at, line) in comparison.rules.lines.iter().enumerate() {
            let rows = &mut comparison.rows[at];
            let found: Vec<Changed> = Part::ALL
                .into_iter()
                .filter_map(|part| {
                    let row = &mut rows[part as usize];
                    let level = level(&line.places, part, &before, &after);
                    row.differs().then(|| changed_row(row, &line.id, level, part, days))
                })
                .collect();
            match (line.places[0], line.places[1]) {
                (Some(_), None) => only_before.push(line.id.clone()),
                (None, Some(_)) => only_after.push(line.id.clone()),
                _ if found.is_empty() => unchanged.push(line.id.clone()),
                _ => {}
            }
            changed.extend(found);
        }
        // Of equal changes the rules' own order holds.
        changed.sort_by_key(|changed| std::cmp::Reverse(changed.size()));
        let verdicts = Action::ALL.iter().filter(|action| **action != Action::Flag).map(|action| Verdicts {
            action: action.as_str(),
            before: comparison.actions[0][*action as usize],
            after: comparison.actions[1][*action as usize],
        });
        let labelled = comparison.detection.as_ref().map(|detection| detection.finish(&comparison.rules));
        let labelled = labelled.and_then(|both| <[Detected; 2]>::try_from(both).ok());
        let [path, other_path] = paths;
        Difference {
            calls: comparison.calls,
            events: comparison.events,
            first: comparison.first.map(|time| time.to_string()),
            last: comparison.last.map(|time| time.to_string()),
            days,
            warmed_from: warmed_from.map(|time| time.to_string()),
            verdicts: verdicts.collect(),
            changed,
            unchanged,
            only_before,
            only_after,
            labelled: labelled.map(|[before, after]| Labelled { before, after }),
            before: Set { path, version: before.version.clone() },
            after: Set { path: other_path, version: after.version.clone() },
            note: NOTE,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.verdicts.iter().all(|verdicts| verdicts.before == verdicts.after)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let (before, after) = (&self.before.path, &self.after.path);
        put(&mut out, format_args!("{} calls ({} events)", thousands(self.calls), thousands(self.events)));
        if let (Some(first), Some(last)) = (&self.first, &self.last) {
            put(&mut out, format_args!(", {first} to {last}, {} day{}", self.days, plural(self.days)));
        }
        if let Some(from) = &self.warmed_from {
            put(&mut out, format_args!("; windows warmed from {from}"));
        }
        put(&mut out, format_args!("\nwhat `{after}` says, against `{before}`:"));
        let verdict = |v: &Verdicts| {
            let change = v.after as i64 - v.before as i64;
            format!(" {} {} ({})", v.action, thousands(v.after), signed(change))
        };
        let verdicts: Vec<String> = self.verdicts.iter().map(verdict).collect();
        put(&mut out, format_args!("{}\n\n", verdicts.join(",")));
        self.table(&mut out);
        let list = |out: &mut String, what: &str, rules: &[String]| {
            if !rules.is_empty() {
                put(out, format_args!("{what}: {}\n", rules.join(", ")));
            }
        };
        list(&mut out, &format!("only in {before}"), &self.only_before);
        list(&mut out, &format!("only in {after}"), &self.only_after);
        let n = self.unchanged.len();
        list(&mut out, &format!("{n} rule{} without a difference", plural(n)), &self.unchanged);
        if let Some(Labelled { before: was, after: is }) = &self.labelled {
            found::put_both(&mut out, [before, after], [was, is]);
        }
        put(&mut out, format_args!("note: {}\n", self.note));
        out
    }

    fn table(&self, out: &mut String) {
        if self.changed.is_empty() {
            out.push_str("no rule says anything different\n");
            return;
        }
        let mut table =
            Table::new(&["rule", "level", ">episodes", ">keys", ">per day med/max", ">calls hit", ">change", "of it"]);
        for (i, row) in self.changed.iter().enumerate() {
            let Volume { episodes, keys, per_day_median, per_day_max, calls } = row.after;
            let mut of_it = row.parts();
            if i == 0 && self.changed.len() > 1 {
                of_it.push_str("  <- largest change");
            }
            table.row(&[
                row.rule.clone(),
                row.level.clone(),
                episodes.map_or("-".to_owned(), thousands),
                thousands(keys),
                format!("{per_day_median} / {per_day_max}"),
                thousands(calls),
                signed(row.volume_change()),
                of_it,
            ]);
            for sample in &row.samples {
                table.note(sample.line());
            }
        }
        out.push_str(&table.text());
    }
}

impl Changed {
    /// How many things differ.
    fn size(&self) -> u64 {
        self.only_before + self.only_after + self.earlier + self.later + self.other_action
    }

    /// Of episodes, of firewall rules of calls.
    fn volume_change(&self) -> i64 {
        let of = |volume: &Volume| volume.episodes.unwrap_or(volume.calls) as i64;
        of(&self.after) - of(&self.before)
    }

    fn parts(&self) -> String {
        let parts = [
            (self.only_after, "new"),
            (self.only_before, "gone"),
            (self.earlier, "earlier"),
            (self.later, "later"),
            (self.other_action, "with another action"),
        ];
        let told = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", thousands(*n)));
        let hit = self.after.calls as i64 - self.before.calls as i64;
        let is_told = self.after.episodes.is_none() || hit == 0;
        let hits = (!is_told).then(|| format!("{} calls hit", signed(hit)));
        told.chain(hits).collect::<Vec<_>>().join(", ")
    }
}

impl Sample {
    fn line(&self) -> String {
        let Sample { change, time, call_id, caller, callee, key, before, after, .. } = self;
        let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let mut line =
            format!("    {:<8} {time} {}  {} -> {}", change.as_str(), shown(call_id), shown(caller), shown(callee));
        if !key.is_empty() {
            let parts: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            put(&mut line, format_args!("  [{}]", parts.join(" ")));
        }
        match change {
            Change::OnlyBefore if !key.is_empty() => put(&mut line, format_args!("  was {before}")),
            Change::OnlyAfter if !key.is_empty() => put(&mut line, format_args!("  {after}")),
            _ => put(&mut line, format_args!("  was {before}, is {after}")),
        }
        line
    }
}

fn changed_row(row: &mut Row, rule: &str, level: String, part: Part, days: usize) -> Changed {
    let [before, after] = [0, 1].map(|set| volume(&row.sides[set], part, days));
    Changed {
        rule: rule.to_owned(),
        level,
        before,
        after,
        only_before: row.only[0],
        only_after: row.only[1],
        earlier: row.earlier,
        later: row.later,
        other_action: row.changed,
        samples: row.samples.take(),
    }
}

fn volume(side: &Side, part: Part, days: usize) -> Volume {
    let mut per_day: Vec<f64> = side.by_day.values().map(|n| *n as f64).collect();
    per_day.resize(days.max(per_day.len()), 0.0);
    Volume {
        episodes: (part != Part::Firewall).then_some(side.episodes),
        keys: side.keys.len() as u64,
        per_day_median: median(per_day).unwrap_or(0.0),
        per_day_max: side.by_day.values().copied().max().unwrap_or(0),
        calls: side.calls,
    }
}

impl Row {
    fn differs(&self) -> bool {
        self.only != [0, 0]
            || self.earlier + self.later + self.changed > 0
            || self.sides[0].calls != self.sides[1].calls
            || self.sides[0].episodes != self.sides[1].episodes
    }
}

/// `block`, `would block` where the rule is not in force, or the level; both where they differ.
fn level(places: &[Option<RuleRef>], part: Part, before: &Policy, after: &Policy) -> String {
    match part {
        Part::Warning => return "warning".to_owned(),
        Part::Critical => return "critical".to_owned(),
        Part::Firewall => {}
    }
    let word = |place: Option<RuleRef>, policy: &Policy| match place {
        Some(RuleRef::Firewall(rule)) => Some(Effect::of(policy, rule).text()),
        _ => None,
    };
    match (word(places[0], before), word(places[1], after)) {
        (Some(was), Some(is)) if was != is => format!("{is} (was {was})"),
        (was, is) => is.or(was).unwrap_or_default(),
    }
}
