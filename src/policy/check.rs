//! What `ringfence check` says of a rule set: every problem, then one line that sums up.

use serde_json::{Value, json};

use super::load::Loaded;
use super::{memory, render};

/// How the report is written.
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
    match format {
        ReportFormat::Text { colour } => {
            let mut out = String::new();
            for problem in &loaded.problems {
                out.push_str(&render::drawing(problem, &loaded.texts, colour));
                out.push('\n');
            }
            if let Some(memory) = memory_line(loaded) {
                out.push_str(&memory);
                out.push('\n');
            }
            out.push_str(&summary(loaded));
            out.push('\n');
            out
        }
        ReportFormat::Json => format!("{}\n", report_json(loaded)),
    }
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

/// What the rules can come to hold, once they can run at all.
fn memory_line(loaded: &Loaded) -> Option<String> {
    let (total, largest) = loaded.policy.as_ref()?.memory_bytes_max();
    let largest = largest?;
    let (id, most) = (largest.concern.name(&largest.id), memory::in_words(largest.memory_bytes_max()));
    Some(format!("memory of thresholds: at most {} in all, {most} of it for {id}", memory::in_words(total)))
}

/// One line a problem, for logs: `path:line:col: message; help`.
pub fn log_lines(loaded: &Loaded) -> impl Iterator<Item = (bool, String)> {
    loaded.problems.iter().map(|problem| (problem.is_error, render::line(problem, &loaded.texts)))
}

fn report_json(loaded: &Loaded) -> Value {
    let counts = loaded.counts;
    json!({
        "problems": loaded.problems.iter().map(|p| render::to_json(p, &loaded.texts)).collect::<Vec<_>>(),
        "checked": {
            "firewall": counts.firewall,
            "thresholds": counts.thresholds,
            "lists": counts.lists,
            "entries": counts.entries,
            "customers": counts.customers,
        },
        "errors": loaded.n_errors(),
        "warnings": loaded.n_warnings(),
        "memory_bytes_max": loaded.policy.as_ref().map(|p| p.memory_bytes_max().0),
        "version": loaded.policy.as_ref().map(|p| p.version.as_str()),
    })
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
    use super::*;

    #[test]
    fn counts_are_told_in_words_and_groups_of_three() {
        assert_eq!(plural(1, "error"), "1 error");
        assert_eq!(plural(48_213, "list"), "48,213 lists");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(thousands(0), "0");
    }
}
