//! What `ringfence check` says of a rule set: every problem, then one line that sums up; and the same for programs.

use serde::Serialize;
use serde_json::json;

use super::load::Loaded;
use super::render::Told;
use super::{Concern, Mode, Policy, ThresholdRule, memory, render};

/// Rules that are named for what they may come to hold.
const LARGEST_SHOWN: usize = 3;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// Drawn with carets; in colour where a terminal shows it.
    Text {
        colour: bool,
    },
    Json,
}

/// The whole report, a line end at its end.
pub fn check_report(loaded: &Loaded, format: ReportFormat) -> String {
    let ReportFormat::Text { colour } = format else { return format!("{}\n", json!(Report::of(loaded))) };
    let mut out = drawings(loaded, colour);
    if let Some(memory) = memory_line(loaded) {
        out.push_str(&memory);
        out.push('\n');
    }
    out.push_str(&summary(loaded));
    out.push('\n');
    out
}

/// What was found, for programs. Its names are a promise to whoever reads them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub problems: Vec<Told>,
    pub errors: usize,
    pub warnings: usize,
    pub checked: Checked,
    /// Of the rules, where they can be used.
    pub version: Option<String>,
    /// The most that thresholds may come to hold, all together.
    pub memory_bytes_max: Option<u64>,
    /// Each of them, the largest first.
    pub memory: Vec<RuleMemory>,
    /// Rules that no test file names; absent where there are no tests at all.
    pub untested: Option<Vec<String>>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Checked {
    pub firewall: usize,
    pub thresholds: usize,
    pub lists: usize,
    pub entries: usize,
    pub customers: usize,
    pub kits: usize,
}

/// What one threshold may come to hold.
#[derive(Clone, Debug, Serialize)]
pub struct RuleMemory {
    pub id: String,
    pub bytes_max: u64,
    pub keys_max: u64,
}

impl Report {
    pub fn of(loaded: &Loaded) -> Report {
        let counts = loaded.counts;
        let memory = |rule: &ThresholdRule| RuleMemory {
            id: rule.concern.name(&rule.id).to_string(),
            bytes_max: rule.memory_bytes_max(),
            keys_max: rule.max_keys,
        };
        Report {
            problems: loaded.problems.iter().map(|p| render::told(p, &loaded.texts)).collect(),
            errors: loaded.n_errors(),
            warnings: loaded.n_warnings(),
            checked: Checked {
                firewall: counts.firewall,
                thresholds: counts.thresholds,
                lists: counts.lists,
                entries: counts.entries,
                customers: counts.customers,
                kits: 0,
            },
            version: loaded.policy.as_ref().map(|p| p.version.clone()),
            memory_bytes_max: loaded.policy.as_ref().map(Policy::memory_bytes_max),
            memory: loaded.policy.iter().flat_map(Policy::largest).map(memory).collect(),
            untested: None,
        }
    }

    /// Adds what was found elsewhere; of two rule sets the first is the one with a version.
    pub fn join(&mut self, other: Report) {
        self.problems.extend(other.problems);
        self.errors += other.errors;
        self.warnings += other.warnings;
        self.checked.firewall += other.checked.firewall;
        self.checked.thresholds += other.checked.thresholds;
        self.checked.lists += other.checked.lists;
        self.checked.entries += other.checked.entries;
        self.checked.customers += other.checked.customers;
        self.checked.kits += other.checked.kits;
        self.version = self.version.take().or(other.version);
        self.memory_bytes_max = match (self.memory_bytes_max, other.memory_bytes_max) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        self.memory.extend(other.memory);
        self.untested = match (self.untested.take(), other.untested) {
            (Some(mut a), Some(b)) => {
                a.extend(b);
                Some(a)
            }
            (a, b) => a.or(b),
        };
    }

    /// Adds one that has no place in a text.
    pub fn push(&mut self, told: Told) {
        if told.severity == "error" {
            self.errors += 1;
        } else {
            self.warnings += 1;
        }
        self.problems.push(told);
    }
}

/// Every problem with its carets, an empty line behind each.
pub fn drawings(loaded: &Loaded, colour: bool) -> String {
    loaded.problems.iter().map(|problem| render::drawing(problem, &loaded.texts, colour) + "\n").collect()
}

/// `checked 14 firewall rules, 10 thresholds, 9 lists (48,213 entries): 4 errors, 1 warning`
pub fn summary(loaded: &Loaded) -> String {
    let counts = loaded.counts;
    let (errors, warnings) = (loaded.n_errors(), loaded.n_warnings());
    let findings = match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (0, w) => plural(w, "warning"),
        (e, 0) => plural(e, "error"),
        (e, w) => format!("{}, {}", plural(e, "error"), plural(w, "warning")),
    };
    let customers = match counts.customers {
        0 => String::new(),
        n => format!(", {}", plural(n, "customer")),
    };
    format!(
        "checked {}, {}, {} ({}){customers}: {findings}",
        plural(counts.firewall, "firewall rule"),
        plural(counts.thresholds, "threshold"),
        plural(counts.lists, "list"),
        if counts.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", thousands(counts.entries)) },
    )
}

/// What the rules can come to hold, once they can run at all: the sum, and who holds most of it.
pub fn memory_line(loaded: &Loaded) -> Option<String> {
    let policy = loaded.policy.as_ref()?;
    let most = policy.largest();
    let named: Vec<String> = most
        .iter()
        .take(LARGEST_SHOWN)
        .map(|rule| format!("{} {}", rule.concern.name(&rule.id), memory::in_words(rule.memory_bytes_max())))
        .collect();
    let total = memory::in_words(policy.memory_bytes_max());
    let most = if most.len() > 1 { "; most: " } else { ": " };
    (!named.is_empty()).then(|| format!("memory of thresholds: at most {total} in all{most}{}", named.join(", ")))
}

/// A line a threshold: the keys it may have, and what it may come to hold.
pub fn memory_table(loaded: &Loaded) -> String {
    let Some(policy) = &loaded.policy else { return String::new() };
    let mut out = String::new();
    for rule in policy.largest() {
        let (bytes, keys) = (memory::in_words(rule.memory_bytes_max()), thousands(rule.max_keys as usize));
        out += &format!("  {bytes:>10}  {:<40} at most {keys} keys\n", rule.concern.name(&rule.id));
    }
    if out.is_empty() { out } else { format!("memory of each threshold, at most:\n{out}") }
}

/// What is asked of an event, in order: the firewall until a rule decides, then every threshold.
pub fn order(loaded: &Loaded) -> String {
    let Some(policy) = &loaded.policy else { return String::new() };
    let line = |position: u32, id: &str, what: String, mode: Mode, concern: &Concern| {
        let mode = if mode == Mode::Enforce { String::new() } else { format!(", {}", mode.as_str()) };
        let whose = match concern.customers.as_deref() {
            Some(customers) if concern.variant.is_none() => format!(", only for {}", customers.join(", ")),
            _ => String::new(),
        };
        format!("  {:>4}  {}  {what}{mode}{whose}\n", position + 1, concern.name(id))
    };
    let mut out = "order of evaluation: the first firewall rule that matches decides (flag goes on)\n".to_owned();
    out += "     0  builtin:emergency  allow\n";
    for rule in &policy.firewall {
        let what = format!("{} on {}", rule.action.as_str(), rule.on.as_str());
        out += &line(rule.position, &rule.id, what, rule.mode, &rule.concern);
    }
    out += &format!("        default_action  {}\n", policy.default_action.as_str());
    if !policy.thresholds.is_empty() {
        out += "every threshold counts every event that it is about, whatever the others do\n";
    }
    for rule in &policy.thresholds {
        out += &line(rule.position, &rule.id, format!("on {}", rule.on.as_str()), rule.mode, &rule.concern);
    }
    out
}

/// One line a problem, for logs: `path:line:col: message; help`.
pub fn log_lines(loaded: &Loaded) -> impl Iterator<Item = (bool, String)> {
    loaded.problems.iter().map(|problem| (problem.is_error, render::line(problem, &loaded.texts)))
}

fn plural(n: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `48,213`
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, RuleSource, load};
    use super::*;

    fn loaded() -> Loaded {
        let rules = "ringfence = 1\ndefault_action = \"allow\"\n\
            [[firewall]]\nid = \"fw-a\"\nwhen = 'caller == +46701'\naction = \"block\"\nmode = \"monitor\"\n\
            [[threshold]]\nid = \"ips-a\"\non = \"end\"\nmeasure = \"count\"\nper = [\"caller\"]\nwindow = \"1h\"\n\
            warning = \">= 3\"\nmax_keys = 10\n\
            [[threshold]]\nid = \"ips-b\"\non = \"end\"\nmeasure = \"count\"\nper = [\"caller\"]\nwindow = \"1h\"\n\
            warning = \">= 30\"\nmax_keys = 10\ncustomers = [\"acme\"]\n";
        load(&RuleSource::memory([("ruleset.toml", rules)]), LoadOptions::default())
    }

    #[test]
    fn rules_are_told_in_the_order_they_are_asked_and_by_what_they_may_hold() {
        expect_test::expect![[r#"
            order of evaluation: the first firewall rule that matches decides (flag goes on)
                 0  builtin:emergency  allow
                 1  fw-a  block on attempt, monitor
                    default_action  allow
            every threshold counts every event that it is about, whatever the others do
                 2  ips-a  on end
                 3  ips-b  on end, only for acme
        "#]]
        .assert_eq(&order(&loaded()));
        expect_test::expect![[r#"
            memory of each threshold, at most:
                 1.6 KiB  ips-b                                    at most 10 keys
               600 bytes  ips-a                                    at most 10 keys
        "#]]
        .assert_eq(&memory_table(&loaded()));
    }

    #[test]
    fn reports_of_two_rule_sets_are_one() {
        let mut report = Report::of(&loaded());
        let (bytes, version) = (report.memory_bytes_max.unwrap(), report.version.clone());
        report.join(Report::of(&loaded()));
        assert_eq!((report.checked.thresholds, report.memory.len()), (4, 4));
        assert_eq!((report.memory_bytes_max, report.version), (Some(2 * bytes), version));
    }

    #[test]
    fn counts_are_told_in_words_and_groups_of_three() {
        assert_eq!(plural(1, "error"), "1 error");
        assert_eq!(plural(48_213, "list"), "48,213 lists");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(thousands(0), "0");
    }
}
