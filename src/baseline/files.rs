//! What a baseline leaves behind for people to review: overrides, and what is usual of each hour of the week.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use csv::StringRecord;

use super::Baseline;
use super::distribution::{Key, RuleBaseline, Suggestion};
use crate::clock::Timestamp;
use crate::limits::USUAL_FILE_BYTES_MAX;
use crate::policy::source::RULESET;
use crate::printed::{plural, put, thousands};
use crate::storage::Disk;

/// How a file begins that this program wrote, and may write again.
const HEAD: &str = "# Suggested by `ringfence baseline`";
/// What is read of a file that is there, to see whose it is.
const HEAD_BYTES_MAX: u64 = 16 << 20;
const COLUMNS: [&str; 5] = ["rule", "customer", "key", "hour_of_week", "value"];

/// Writes both, and says on standard error what was written.
pub(super) fn write(baseline: &Baseline, path: &Path, disk: &Disk, now: Timestamp) -> anyhow::Result<()> {
    let cannot = |path: &Path| format!("cannot write `{}`", path.display());
    check(path, disk)?;
    let folder = beside_rules(path).join("baselines");
    // A rule and its variants for customers are one rule to people, each for customers of its own.
    let mut by_id: BTreeMap<&str, Vec<&RuleBaseline>> = BTreeMap::new();
    for rule in baseline.rules.iter().filter(|rule| rule.peaks.is_some()) {
        by_id.entry(&rule.rule).or_default().push(rule);
    }
    let mut files = Vec::new();
    for (id, rules) in by_id {
        // Ids are words of letters, digits, `-` and `_`; nothing else may become a path.
        let name: String = id.chars().map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect();
        let path = folder.join(format!("{name}.csv"));
        let others = match &baseline.customer {
            Some(customer) if path.exists() => rows_of_others(&path, customer, disk)?,
            _ => Vec::new(),
        };
        files.push((path, usual(&rules, others)?));
    }
    let text = overrides(baseline, now);
    disk.replace_file(path, |file| file.write_all(text.as_bytes())).with_context(|| cannot(path))?;
    disk.create_folder(&folder).with_context(|| cannot(&folder))?;
    for (path, rows) in &files {
        disk.replace_file(path, |file| file.write_all(rows)).with_context(|| cannot(path))?;
    }
    let n_files = files.len();
    eprintln!(
        "wrote {} and {n_files} file{} in {}; nothing is active until committed and loaded",
        path.display(),
        plural(n_files),
        folder.display()
    );
    Ok(())
}

/// The folder of the rules that a file is among, where levels look for what is usual; else its own.
fn beside_rules(path: &Path) -> &Path {
    let own = path.parent().unwrap_or(Path::new(""));
    let has_rules = |folder: &&Path| folder.join(RULESET).is_file();
    [Some(own), own.parent()].into_iter().flatten().find(has_rules).unwrap_or(own)
}

/// Whether the file may be written: asked before hours of calls are read for it.
pub(super) fn check(path: &Path, disk: &Disk) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(folder.is_dir(), "cannot write `{}`: there is no folder `{}`", path.display(), folder.display());
    if path.exists() {
        let there = disk.read(path, HEAD_BYTES_MAX).with_context(|| format!("cannot write `{}`", path.display()))?;
        ensure!(
            there.starts_with(HEAD.as_bytes()),
            "`{}` was not written by this command: name another file, or move it away",
            path.display()
        );
    }
    Ok(())
}

/// Entries to be reviewed; comments where no customer was chosen.
pub(super) fn overrides(baseline: &Baseline, now: Timestamp) -> String {
    let mut out = String::new();
    let Baseline { first_day, last_day, days, left_out, version, .. } = baseline;
    let date: String = now.to_string().chars().take(10).collect();
    put(&mut out, format_args!("{HEAD} on {date}, to be reviewed: nothing is active until it is loaded.\n"));
    put(&mut out, format_args!("# From {} calls of {days} days, {first_day} to {last_day}", thousands(baseline.calls)));
    put(&mut out, format_args!(", {} ({}),\n", baseline.time_zone, rule_set(version)));
    if !left_out.is_empty() {
        put(&mut out, format_args!("# without {},\n", left_out.join(", ")));
    }
    put(&mut out, format_args!("# read from {}.\n", plain(&baseline.sources.join(", "))));
    out.push_str("# A warning is p99.9 of the daily peaks of all keys x 1.25, a critical level twice that.\n");
    if baseline.customer.is_none() {
        out.push_str("# No customer was chosen: put the levels into the rules themselves, or name a customer.\n");
    }
    for rule in &baseline.rules {
        put_rule(&mut out, baseline, rule);
    }
    out
}

fn rule_set(version: &str) -> String {
    format!("rules {version}")
}

fn put_rule(out: &mut String, baseline: &Baseline, rule: &RuleBaseline) {
    let Some(peaks) = &rule.peaks else { return };
    let [p50, p95, p99, p99_9, max] = rule.amounts(peaks);
    let n = thousands(rule.keys as u64);
    put(out, format_args!("\n# {}: {}\n", rule.rule, plain(&rule.what())));
    put(out, format_args!("# daily peaks of {n} keys: p50 {p50}, p95 {p95}, p99 {p99}, p99.9 {p99_9}, max {max}\n"));
    if rule.evicted > 0 {
        let n = thousands(rule.evicted);
        put(out, format_args!("# {n} keys gave way to others: values may be too small\n"));
    }
    let Some(Suggestion { warning, critical, clear }) = &rule.suggested else {
        out.push_str("# nothing to suggest: the largest values leave no room above them\n");
        return;
    };
    for level in std::iter::once(warning).chain(critical) {
        if let Some(found) = rule.candidates.iter().find(|candidate| candidate.level == *level) {
            let (days, keys) = (found.days, found.keys);
            let (d, k) = (plural(days), plural(keys));
            put(out, format_args!("# {level} would have raised alarms on {days} day{d}, of {keys} key{k}\n"));
        }
    }
    let remark = if baseline.customer.is_some() { "" } else { "# " };
    put(out, format_args!("{remark}[[override]]\n"));
    let customer = baseline.customer.as_deref().unwrap_or("NAME");
    let span = format!("{} to {}", baseline.first_day, baseline.last_day);
    for (key, value) in [
        ("customer", Some(customer)),
        ("rule", Some(&rule.rule)),
        ("warning", Some(warning)),
        ("critical", critical.as_deref()),
        ("clear", clear.as_deref()),
        ("reason", Some(&format!("baseline of {span}: p99.9 {p99_9}, max {max}"))),
    ] {
        if let Some(value) = value {
            put(out, format_args!("{remark}{key} = {}\n", quoted(value)));
        }
    }
    for key in rule.top_keys.iter().filter(|key| key.stands_out) {
        put_outlier(out, rule, key);
    }
}

/// A key that needs levels of its own: an override cannot say them, so what to do is said.
fn put_outlier(out: &mut String, rule: &RuleBaseline, key: &Key) {
    let [p50, .., max] = rule.amounts(&key.peaks);
    let name = plain(&format!("{} of {}", key.key, key.customer));
    put(out, format_args!("# {name} is above that on most days: p50 {p50}, max {max} of {} days.\n", key.peaks.n));
    if let Some(Suggestion { warning, critical, .. }) = &key.suggested {
        let critical = critical.as_ref().map_or(String::new(), |critical| format!(", critical = {}", quoted(critical)));
        put(
            out,
            format_args!(
                "#   Except it from this rule (`except`), and give it one of its own: warning = {}{critical}\n",
                quoted(warning)
            ),
        );
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// For a comment: on one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What stands in a file already of other customers than the one that is written for.
fn rows_of_others(path: &Path, customer: &str, disk: &Disk) -> anyhow::Result<Vec<StringRecord>> {
    let cannot = || format!("cannot add to `{}`", path.display());
    let bytes = disk.read(path, USUAL_FILE_BYTES_MAX).with_context(cannot)?;
    let mut csv = csv::Reader::from_reader(bytes.as_slice());
    let head = csv.headers().with_context(cannot)?;
    ensure!(head == COLUMNS.as_slice(), "`{}` was not written by this command: move it away", path.display());
    let rows = csv.records().collect::<Result<Vec<_>, _>>().with_context(cannot)?;
    Ok(rows.into_iter().filter(|row| row.get(1) != Some(customer)).collect())
}

/// What is usual of a rule: see `ringfence baseline --help`. `others`: rows that stay as they are.
pub(super) fn usual(rules: &[&RuleBaseline], others: Vec<StringRecord>) -> anyhow::Result<Vec<u8>> {
    let mut rows = others;
    let is_alone = rows.is_empty();
    for rule in rules {
        for expected in &rule.expected {
            let key = expected.key.as_deref().unwrap_or("*");
            for (hour, value) in &expected.hours {
                let (hour, value) = (hour.to_string(), format!("{value:.1}"));
                rows.push(StringRecord::from(vec![&rule.rule, expected.customer.as_str(), key, &hour, &value]));
            }
        }
    }
    if !is_alone {
        // Whoever is written last, the file is the same.
        rows.sort_by(|a, b| a.get(1).cmp(&b.get(1)));
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(COLUMNS)?;
    rows.iter().try_for_each(|row| csv.write_record(row))?;
    csv.into_inner().context("cannot finish the csv")
}
