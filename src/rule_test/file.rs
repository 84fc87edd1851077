//! A test file, `tests/*.test.toml`: from text to tests, or to every mistake in it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::call::{self, Call};
use super::expected::{self, Expected};
use crate::clock::Timestamp;
use crate::limits::{TEST_EVENTS_MAX, TEST_SPAN_MS_MAX};
use crate::policy::document::{Document, Key, Section, TextValue, key, short};
use crate::policy::problem::{Place, Problem, suggest};
use crate::policy::{Mode, Policy, rules};

/// What one file holds.
#[derive(Debug, Default)]
pub(super) struct TestFile {
    /// As it is shown.
    pub(super) path: String,
    pub(super) tests: Vec<Test>,
}

/// `[[test]]`
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// Rules whose violations must all be expected; `None`: all there are.
    pub(super) rules: Option<Vec<String>>,
    pub(super) start: Timestamp,
    /// What all rules are set to instead of their own mode.
    pub(super) force_mode: Option<Mode>,
    pub(super) calls: Vec<Call>,
    /// Recorded events, and how the test names them.
    pub(super) events: Option<(PathBuf, String)>,
    pub(super) expect: Vec<Expected>,
    /// When the test ends, after its start; `None`: with its last event.
    pub(super) until_ms: Option<i64>,
}

const TEST: Key = key("test", "[[test]]");

const NAME: Key = key("name", "name = \"wangiri: warns at 5, escalates at 15\"");
const RULES: Key = key("rules", "rules = [\"ips-wangiri\"]");
const START: Key = key("start", "start = \"2026-03-02T10:00:00+01:00\"");
const FORCE_MODE: Key = key("force_mode", "force_mode = \"enforce\"");
const CUSTOMER: Key = key("customer", "customer = \"acme\"");
const CALLS: Key = key("calls", "calls = [ { at = \"0s\", caller = \"+46701234567\", callee = \"+46840000001\" } ]");
const EVENTS: Key = key("events", "events = \"fixtures/calls.jsonl\"");
const EXPECT: Key = key(
    "expect",
    "expect = [ { at = \"1m22s\", rule = \"ips-wangiri\", key = [\"+2235550*\"], level = \"warning\" } ]",
);
const UNTIL: Key = key("until", "until = \"2h\"");

const TEST_KEYS: &[Key] = &[NAME, RULES, START, FORCE_MODE, CUSTOMER, CALLS, EVENTS, EXPECT, UNTIL];

const FORCED: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];

/// The rules that tests may name.
pub(super) struct Rules<'p> {
    pub(super) policy: &'p Policy,
    /// In evaluation order.
    pub(super) ids: Vec<&'p str>,
}

impl<'p> Rules<'p> {
    pub(super) fn of(policy: &'p Policy) -> Rules<'p> {
        let mut ids: Vec<(u32, &str)> = policy.firewall.iter().map(|r| (r.position, r.id.as_str())).collect();
        ids.extend(policy.thresholds.iter().map(|r| (r.position, r.id.as_str())));
        ids.sort_unstable();
        Rules { policy, ids: ids.into_iter().map(|(_, id)| id).collect() }
    }

    /// Notes a name that no rule has.
    pub(super) fn check(&self, section: &Section<'_, '_>, name: &TextValue<'_>, problems: &mut Vec<Problem>) -> bool {
        if self.ids.contains(&name.value) {
            return true;
        }
        let called = format!("unknown rule `{}`", short(name.value));
        // A rule that is gone is told once a file, not in every test of it.
        let path = section.document.path;
        let is_same = |problem: &Problem| {
            problem.message.starts_with(&called) && problem.place.as_ref().is_some_and(|place| place.path == path)
        };
        if problems.iter().any(is_same) {
            return false;
        }
        problems.push(match suggest(name.value, self.ids.iter().copied()) {
            Some(near) => {
                let message = format!("unknown rule `{}`; did you mean `{near}`?", short(name.value));
                section.problem("E050", message, name.span.clone())
            }
            None => section.problem("E050", format!("unknown rule `{}`", short(name.value)), name.span.clone()).help(
                "rules with mode = \"off\" are not there for a test either; `ringfence check` tells how many rules are",
            ),
        });
        false
    }
}

/// At most 64 characters of what somebody wrote.
pub(super) fn brief(text: &str) -> String {
    short(text)
}

/// Reads a file. Tests with mistakes are left out; each mistake is in `problems`.
pub(super) fn parse(path: &str, text: &str, rules: &Rules<'_>, problems: &mut Vec<Problem>) -> TestFile {
    let n_before = problems.len();
    let document = Document::parse(path, text, problems);
    let root = document.table().named("a test file").keyed(&[TEST]);
    root.check_keys(problems);
    let mut tests = Vec::new();
    let mut names: HashMap<String, Place> = HashMap::new();
    for section in root.sections(&TEST, problems) {
        let section = section.keyed(TEST_KEYS);
        let n_problems = problems.len();
        let found = test(&section, path, rules, &mut names, problems);
        // What only follows from a line that is no TOML is kept back.
        if !document.broken.is_empty() {
            problems.truncate(n_problems);
        }
        tests.extend(found.filter(|_| problems.len() == n_problems));
    }
    if let Some(own) = problems.get_mut(n_before..) {
        own.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.span.start));
    }
    if tests.is_empty() && problems.len() == n_before {
        let problem = Problem::error("E005", "the file has no [[test]]").at(path, 0..0);
        problems.push(problem.help("begin a test with the line: [[test]]"));
    }
    TestFile { path: path.to_owned(), tests }
}

fn test(
    section: &Section<'_, '_>,
    path: &str,
    rules: &Rules<'_>,
    names: &mut HashMap<String, Place>,
    problems: &mut Vec<Problem>,
) -> Option<Test> {
    section.check_keys(problems);
    let name = section.required_text(&NAME, problems);
    if let Some(name) = &name {
        take_name(section, name, names, problems);
    }
    let watched = section.has(RULES.name).then(|| section.texts(&RULES, problems).unwrap_or_default());
    let n_checked = watched.iter().flatten().filter(|name| !rules.check(section, name, problems)).count();
    let start = start(section, problems);
    let force_mode = section.word(&FORCE_MODE, &FORCED, problems);
    let customer = section.text(&CUSTOMER, problems).map(|c| c.value.to_owned());
    let until_ms = bounded(section, &UNTIL, problems);
    if section.lacks(&CALLS) && section.lacks(&EVENTS) {
        problems.push(section.missing(&CALLS));
    }
    let mut calls = Vec::new();
    let mut n_events = 0u64;
    for one in section.sections(&CALLS, problems) {
        let Some(call) = call::parse(&one.named("a call"), customer.as_deref(), rules, problems) else { continue };
        n_events = n_events.saturating_add(call.n_events());
        if until_ms.is_some_and(|until| call.at_ms > until) {
            let problem = section.problem("E006", "the test has ended before this call begins", call.span.clone());
            problems.push(problem.context(path, section.key_span(UNTIL.name), "ends here").help("raise `until`"));
        }
        calls.push(call);
    }
    if n_events > TEST_EVENTS_MAX {
        let message = format!("the calls of this test make {n_events} events; a test takes at most {TEST_EVENTS_MAX}");
        problems.push(section.problem("E027", message, section.key_span(CALLS.name)));
    }
    let events = section.text(&EVENTS, problems).and_then(|text| fixture(section, path, &text, problems));
    let mut expect = Vec::new();
    for one in section.sections(&EXPECT, problems) {
        let named: Vec<&str> = watched.iter().flatten().map(|name| name.value).collect();
        let watched = (watched.is_some() && n_checked == 0).then_some(named.as_slice());
        expect.extend(expected::parse(&one.named("an expected violation"), watched, rules, problems));
    }
    let line = section.document.text.get(..section.span.start)?.matches('\n').count() + 1;
    Some(Test {
        name: name?.value.to_owned(),
        line,
        rules: watched.map(|names| names.iter().map(|name| name.value.to_owned()).collect()),
        start: start?,
        force_mode,
        calls,
        events,
        expect,
        until_ms,
    })
}

fn take_name(
    section: &Section<'_, '_>,
    name: &TextValue<'_>,
    names: &mut HashMap<String, Place>,
    problems: &mut Vec<Problem>,
) {
    if name.value.trim().is_empty() {
        problems.push(
            section.problem("E006", "a test has a name", name.span.clone()).help(format!("write: {}", NAME.example)),
        );
        return;
    }
    let place = Place::new(section.document.path, name.span.clone());
    if let Some(first) = names.insert(name.value.to_owned(), place) {
        let message = format!("two tests are called `{}`", short(name.value));
        let problem = section.problem("E007", message, name.span.clone());
        problems.push(problem.context(&first.path, first.span, "the first"));
    }
}

/// `start`, as text or as TOML's own date and time.
fn start(section: &Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Timestamp> {
    if section.lacks(&START) {
        problems.push(section.missing(&START));
        return None;
    }
    let value = section.value(START.name)?;
    let text = match value.get_ref() {
        DeValue::Datetime(at) => at.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => {
            problems.push(section.wrong_type(START.name, value, "a date and time", START.example));
            return None;
        }
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(at.as_millisecond()));
    }
    let problem = match text.parse::<jiff::civil::DateTime>() {
        Ok(_) => section.problem("E006", format!("`{}` has no time zone", short(&text)), value.span()),
        Err(_) => section.problem("E006", format!("`{}` is no date and time", short(&text)), value.span()),
    };
    problems.push(problem.help(format!("write: {}", START.example)));
    None
}

/// The file of recorded events, beside the test file.
fn fixture(
    section: &Section<'_, '_>,
    path: &str,
    text: &TextValue<'_>,
    problems: &mut Vec<Problem>,
) -> Option<(PathBuf, String)> {
    let found = Path::new(path).parent().unwrap_or(Path::new("")).join(text.value);
    if !found.is_file() {
        let message = format!("there is no file `{}`", found.display());
        let problem = section.problem("E010", message, text.span.clone());
        problems.push(problem.help("the path is relative to the folder of the test file"));
        return None;
    }
    Some((found, text.value.to_owned()))
}

/// A duration that a test can last.
pub(super) fn bounded(section: &Section<'_, '_>, key: &Key, problems: &mut Vec<Problem>) -> Option<i64> {
    let ms = rules::duration(section, key, problems)?;
    if ms > TEST_SPAN_MS_MAX {
        let span = section.value(key.name).map_or(0..0, |value| value.span());
        let days = TEST_SPAN_MS_MAX / 86_400_000;
        problems.push(section.problem("E006", format!("`{}` is longer than {days} days", key.name), span));
        return None;
    }
    Some(ms)
}

/// Where a table begins, counted from 1.
pub(super) fn line_of(section: &Section<'_, '_>, span: &Range<usize>) -> usize {
    section.document.text.get(..span.start).map_or(0, |before| before.matches('\n').count()) + 1
}
