//! What is usual of a rule's keys in each hour of the week: `baselines/RULE.csv`, which `ringfence baseline --write` makes
//! and people review. Levels such as `>= 3x` are held against it.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::literal;
use super::load::{ListReads, reason};
use super::measure::{Level, Measure, Unit};
use super::problem::{Place, Problem};
use super::rules::Rules;
use crate::clock::Timestamp;
use crate::limits::{EXACT_ITEMS_MAX, USUAL_FILE_BYTES_MAX};

/// Where the files lie, beside `ruleset.toml`.
pub(super) const FOLDER: &str = "baselines";
/// The key that stands for all keys of its customer that have no rows of their own.
pub(super) const ALL: &str = "*";
const HOURS: usize = 7 * 24;

/// Of one rule. Values are in thousandths of what its levels are in.
#[derive(Debug)]
pub struct Usual {
    zone: TimeZone,
    /// By customer, then by key, its values joined with `|`.
    weeks: HashMap<String, HashMap<String, u32>>,
    /// From Monday midnight.
    hours: Vec<[u64; HOURS]>,
}

impl Usual {
    /// Thousandths: files have one decimal, and shares are divided further.
    pub const SCALE: i128 = 1000;

    fn new(zone: TimeZone) -> Usual {
        Usual { zone, weeks: HashMap::new(), hours: Vec::new() }
    }

    /// The week of a key: its own, or that of all of its customer. `None`: nothing is known of either.
    pub(crate) fn week(&self, customer: &str, key: &str) -> Option<u32> {
        let of_customer = self.weeks.get(customer)?;
        of_customer.get(key).or_else(|| of_customer.get(ALL)).copied()
    }

    /// What is usual in a week at an instant, by the clock of the rules' time zone.
    pub(crate) fn at(&self, week: u32, at: Timestamp) -> Option<u64> {
        let hours = self.hours.get(week as usize)?;
        hours.get(hour_of_week(&self.zone, at)?).copied()
    }

    fn largest(&self) -> u64 {
        self.hours.iter().flat_map(|hours| hours.iter().copied()).max().unwrap_or(0)
    }

    fn add(&mut self, customer: String, key: String, hour: usize, value: u64) {
        let of_customer = self.weeks.entry(customer).or_default();
        let week = *of_customer.entry(key).or_insert_with(|| {
            self.hours.push([0; HOURS]);
            (self.hours.len() - 1) as u32
        });
        if let Some(place) = self.hours.get_mut(week as usize).and_then(|hours| hours.get_mut(hour)) {
            *place = value;
        }
    }
}

fn hour_of_week(zone: &TimeZone, at: Timestamp) -> Option<usize> {
    let instant = jiff::Timestamp::from_millisecond(at.0).ok()?;
    let local = at.0.div_euclid(1000) + i64::from(zone.to_offset(instant).seconds());
    // 1 January 1970 was a Thursday.
    usize::try_from((local.div_euclid(3600) + 3 * 24).rem_euclid(HOURS as i64)).ok()
}

/// A line of the file.
#[derive(Debug, Deserialize)]
struct Row {
    rule: String,
    customer: String,
    key: String,
    hour_of_week: usize,
    value: String,
}

/// Reads the files of the rules that ask for them.
pub(super) fn read(rules: &mut Rules, zone: &TimeZone, reads: &mut ListReads<'_>, problems: &mut Vec<Problem>) {
    let mut known: HashMap<String, Option<std::sync::Arc<Usual>>> = HashMap::new();
    let Rules { thresholds, usual_at, .. } = rules;
    for rule in thresholds.iter_mut().filter(|rule| rule.levels.has_usual()) {
        let place = usual_at.get(&rule.id);
        let usual = known
            .entry(rule.id.clone())
            .or_insert_with(|| one(&rule.id, &rule.measure, place, zone, reads, problems).map(Into::into));
        rule.usual.clone_from(usual);
        if let Some(usual) = usual {
            check_reach(&rule.id, &rule.measure, rule.levels.all(), usual, place, problems);
        }
    }
}

fn one(
    id: &str,
    measure: &Measure,
    place: Option<&Place>,
    zone: &TimeZone,
    reads: &mut ListReads<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Usual> {
    let path = format!("{FOLDER}/{id}.csv");
    let file = match reads.source.read(&path, USUAL_FILE_BYTES_MAX) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("rule `{id}` is held against what is usual, and there is no `{path}`");
            let help = format!(
                "until there is, it never fires; `ringfence baseline --rule {id} --write FILE` makes it from your calls"
            );
            problems.push(located(Problem::warning("W112", message).help(help), place));
            return None;
        }
        Err(error) => {
            let message = format!("`{path}` cannot be read: {}", reason(&error));
            problems.push(located(Problem::error("E010", message), place));
            return None;
        }
    };
    reads.was_read(&path, &file.bytes);
    let mut usual = Usual::new(zone.clone());
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file.bytes.as_slice());
    let mut is_bad = false;
    let mut line = 1;
    for row in reader.deserialize::<Row>() {
        line += 1;
        let fault = match row {
            Ok(row) if row.rule != id => Some(format!("the rule is `{}`, not `{id}`", row.rule)),
            Ok(row) if row.hour_of_week >= HOURS => Some(format!("hour {} of a week of 168", row.hour_of_week)),
            Ok(row) => match thousandths(&row.value, measure.unit()) {
                Some(value) => {
                    usual.add(row.customer, row.key, row.hour_of_week, value);
                    None
                }
                None => Some(format!("`{}` is no value", row.value)),
            },
            Err(error) => Some(error.to_string()),
        };
        if let Some(fault) = fault {
            let problem = Problem::error("E011", format!("`{path}`, line {line}: {fault}"));
            let help = "columns are rule,customer,key,hour_of_week,value, as `ringfence baseline --write` makes them";
            problems.push(problem.at(&path, 0..0).help(help));
            is_bad = true;
            // One shows what is wrong with all of them.
            break;
        }
    }
    (!is_bad).then_some(usual)
}

fn located(problem: Problem, place: Option<&Place>) -> Problem {
    match place {
        Some(place) => problem.at(&place.path, place.span.clone()),
        None => problem,
    }
}

/// As violations tell values: counts, seconds, money, percent.
fn thousandths(text: &str, unit: Unit) -> Option<u64> {
    let value = i128::from(literal::decimal(text, 6)?);
    let per_shown = match unit {
        Unit::Count => 1,
        Unit::Milliseconds => 1000,
        Unit::Money => 10_000,
        Unit::Percent => Level::SHARE_SCALE / 100,
    };
    u64::try_from(value * per_shown * Usual::SCALE / 1_000_000).ok()
}

/// No more items of a key are kept than that: a level beyond is never seen to be reached.
fn check_reach<'l>(
    id: &str,
    measure: &Measure,
    levels: impl Iterator<Item = &'l Level>,
    usual: &Usual,
    place: Option<&Place>,
    problems: &mut Vec<Problem>,
) {
    if !matches!(measure, Measure::Count | Measure::Distinct(_) | Measure::FirstSeen(..)) {
        return;
    }
    for level in levels.filter(|level| level.is_of_usual && level.is_upward()) {
        let asked = level.limit * i128::from(usual.largest()) / (Level::TIMES_SCALE * Usual::SCALE);
        if asked > EXACT_ITEMS_MAX as i128 {
            let message = format!(
                "`{}` of rule `{id}` comes to {asked} at its busiest, and it counts up to {EXACT_ITEMS_MAX}",
                level.text
            );
            let problem = Problem::error("E027", message).help("a shorter window has fewer of them");
            problems.push(located(problem, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, RuleSource, load};
    use crate::clock::Timestamp;

    const RULE: &str = "ringfence = 1\ndefault_action = \"allow\"\ntime_zone = \"Europe/Stockholm\"\n[[threshold]]\nid = \"a\"\n\
                        on = \"end\"\nmeasure = \"sum(duration)\"\nper = [\"trunk\"]\nwindow = \"1h\"\nwarning = \">= 3x\"\n";

    fn loaded(csv: Option<&str>) -> super::super::Loaded {
        let files = [("ruleset.toml", Some(RULE)), ("baselines/a.csv", csv)];
        let files = files.into_iter().filter_map(|(path, text)| Some((path, text?.to_owned())));
        load(&RuleSource::memory(files), LoadOptions::default())
    }

    fn problem(csv: Option<&str>) -> (String, String) {
        let loaded = loaded(csv);
        let problem = loaded.problems.first().unwrap();
        (problem.code.to_owned(), problem.message.clone())
    }

    #[test]
    fn weeks_are_those_of_the_key_else_of_its_customer_on_the_clock_of_the_rules() {
        let csv = "rule,customer,key,hour_of_week,value\na,acme,t1,0,1.5\na,acme,*,0,20\na,acme,*,167,7\n";
        let policy = loaded(Some(csv)).policy.unwrap();
        let usual = policy.thresholds[0].usual.as_ref().unwrap();
        let at = |customer: &str, key: &str, at: &str| {
            let at: jiff::Timestamp = at.parse().unwrap();
            usual.at(usual.week(customer, key)?, Timestamp(at.as_millisecond()))
        };
        // Monday at midnight in Stockholm, in winter and in summer; seconds are ms in thousandths.
        assert_eq!(at("acme", "t1", "2026-03-01T23:00:00Z"), Some(1_500_000));
        assert_eq!(at("acme", "t1", "2026-07-05T22:59:59Z"), Some(1_500_000));
        assert_eq!(at("acme", "t1", "2026-07-05T23:00:00Z"), Some(0), "an hour without a row");
        assert_eq!(at("acme", "t2", "2026-03-01T23:59:59Z"), Some(20_000_000));
        assert_eq!(at("acme", "t2", "2026-03-01T22:59:59Z"), Some(7_000_000));
        assert_eq!(at("globex", "t1", "2026-03-01T23:00:00Z"), None);
    }

    #[test]
    fn without_a_file_the_rule_is_there_and_said_to_wait_for_it() {
        assert_eq!(problem(None).0, "W112");
        assert!(loaded(None).policy.unwrap().thresholds[0].usual.is_none());
    }

    #[test]
    fn a_file_with_a_bad_line_is_refused() {
        let line = |rest: &str| problem(Some(&format!("rule,customer,key,hour_of_week,value\n{rest}\n")));
        let bad = |rest: &str, what: &str| {
            assert_eq!(line(rest), ("E011".into(), format!("`baselines/a.csv`, line 2: {what}")))
        };
        bad("b,acme,t1,0,1", "the rule is `b`, not `a`");
        bad("a,acme,t1,168,1", "hour 168 of a week of 168");
        bad("a,acme,t1,0,-1", "`-1` is no value");
        bad("a,acme,t1,0,many", "`many` is no value");
        assert_eq!(line("a,acme").0, "E011");
    }
}
