//! Results for people, and as JSON.

use serde_json::{Value, json};

use super::coverage::Coverage;
use super::failure::Failure;
use crate::printed::counted;

/// Longest name that other lines are aligned to.
const NAME_CHARS_MAX: usize = 68;

/// What came of one test.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// Of the test file, as it is shown.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) calls: u64,
    pub(super) records: u64,
    pub(super) failures: Vec<Failure>,
    /// Why it could not be played.
    pub(super) broken: Option<String>,
}

impl Outcome {
    pub(super) fn is_ok(&self) -> bool {
        self.failures.is_empty() && self.broken.is_none()
    }
}

/// What came of all of them.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) tests: Vec<Outcome>,
    /// One a rule set.
    pub(super) coverage: Vec<Coverage>,
    /// Left out by `--filter`.
    pub(super) n_left_out: usize,
    /// What is wrong with rules and test files that could not be used, for programs.
    pub(super) problems: Vec<Value>,
}

/// How the report is made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) colour: bool,
    /// Only what fails.
    pub(super) quiet: bool,
    pub(super) coverage: bool,
}

impl Outcomes {
    /// Adds those of another rule set.
    pub(super) fn join(&mut self, more: Outcomes) {
        self.tests.extend(more.tests);
        self.coverage.extend(more.coverage);
        self.n_left_out += more.n_left_out;
        self.problems.extend(more.problems);
    }

    pub(super) fn n_failed(&self) -> usize {
        self.tests.iter().filter(|outcome| !outcome.is_ok()).count()
    }

    pub(super) fn has_broken(&self) -> bool {
        self.tests.iter().any(|outcome| outcome.broken.is_some())
    }

    fn untested(&self) -> Vec<&str> {
        self.coverage.iter().flat_map(Coverage::untested).collect()
    }

    /// A line a test, what is wrong with it below, and one line that sums up.
    pub(super) fn text(&self, style: Style) -> String {
        let paint = |code: &str, text: &str| {
            if style.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let shown = || self.tests.iter().filter(|outcome| !style.quiet || !outcome.is_ok());
        let width = |outcome: &Outcome| outcome.name.chars().count();
        let column = shown().map(width).filter(|n| *n <= NAME_CHARS_MAX).max().unwrap_or(0);
        let mut out = String::new();
        for outcome in shown() {
            let name = plain(&outcome.name);
            if outcome.is_ok() {
                out.push_str(&format!("{}    {name:column$}  {}\n", paint("32", "ok"), outcome.size()));
                continue;
            }
            let place = match outcome.line {
                0 => outcome.file.clone(),
                line => format!("{}:{line}", outcome.file),
            };
            out.push_str(&format!("{}  {name:column$}  {place}\n", paint("1;31", "FAIL")));
            if let Some(why) = &outcome.broken {
                out.push_str(&format!("      {}  {}\n", paint("31", "unreadable"), plain(why)));
            }
            for failure in &outcome.failures {
                let kind = failure.kind.as_str();
                let gap = " ".repeat(10usize.saturating_sub(kind.len()));
                let line = format!("line {}", failure.line);
                out.push_str(&format!("      {}{gap}  {}  ({line})\n", paint("31", kind), plain(&failure.text)));
                for note in &failure.notes {
                    out.push_str(&format!("        {}\n", plain(note)));
                }
            }
        }
        if style.coverage {
            for coverage in &self.coverage {
                out.push('\n');
                out.push_str(&coverage.text());
            }
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }

    /// `2 tests, 1 failed; rules without a test: fw-attest-c, ips-asr-drop`
    fn summary(&self) -> String {
        let n = self.tests.len();
        let mut out = counted(n, "test");
        out.push_str(&match self.n_failed() {
            0 if n > 0 => ", all as expected".to_owned(),
            0 => String::new(),
            failed => format!(", {failed} failed"),
        });
        if self.n_left_out > 0 {
            out.push_str(&format!(", {} left out by --filter", self.n_left_out));
        }
        let untested = self.untested();
        if !untested.is_empty() {
            out.push_str(&format!("; rules without a test: {}", untested.join(", ")));
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let failure = |failure: &Failure| {
            json!({
                "kind": failure.kind.as_str(),
                "line": failure.line,
                "text": failure.text,
                "notes": failure.notes,
                "violation": failure.violation.as_deref().and_then(|line| serde_json::from_str::<Value>(line).ok()),
            })
        };
        let test = |outcome: &Outcome| {
            json!({
                "name": outcome.name,
                "file": outcome.file,
                "line": outcome.line,
                "ok": outcome.is_ok(),
                "calls": outcome.calls,
                "events_recorded": outcome.records,
                "unreadable": outcome.broken,
                "failures": outcome.failures.iter().map(failure).collect::<Vec<_>>(),
            })
        };
        json!({
            "tests": self.tests.iter().map(test).collect::<Vec<_>>(),
            "total": self.tests.len(),
            "failed": self.n_failed(),
            "left_out": self.n_left_out,
            "rules_without_a_test": self.untested(),
            "problems": self.problems,
            "coverage": self.coverage.iter().map(Coverage::json).collect::<Vec<_>>(),
        })
    }
}

impl Outcome {
    /// `16 calls`, `2 calls and 112 events`
    fn size(&self) -> String {
        let count = |n: u64, what: &str| counted(n as usize, what);
        match (self.calls, self.records) {
            (calls, 0) => count(calls, "call"),
            (0, records) => count(records, "event"),
            (calls, records) => format!("{} and {}", count(calls, "call"), count(records, "event")),
        }
    }
}

/// Texts of a test file are shown on terminals: one line, and nothing that moves the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
