//! Results as JUnit writes them, which CI systems read.

use super::report::{Outcome, Outcomes};
use crate::printed::put;

/// The whole document: a suite a file, in the order in which they were read.
pub(super) fn document(outcomes: &Outcomes) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = &outcomes.tests;
    put(&mut out, format_args!("<testsuites name=\"ringfence test\" {}>\n", numbers(all.iter())));
    let mut rest = all.as_slice();
    while let Some(first) = rest.first() {
        let n = rest.iter().take_while(|outcome| outcome.file == first.file).count();
        let (suite, after) = rest.split_at(n);
        rest = after;
        let file = escaped(&first.file);
        put(&mut out, format_args!("  <testsuite name=\"{file}\" {}>\n", numbers(suite.iter())));
        suite.iter().for_each(|outcome| case(outcome, &file, &mut out));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn numbers<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> String {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.clone().filter(|o| wanted(o)).count();
    let (failed, broken) = (count(|o| !o.is_ok() && o.broken.is_none()), count(|o| o.broken.is_some()));
    format!("tests=\"{}\" failures=\"{failed}\" errors=\"{broken}\"", count(|_| true))
}

fn case(outcome: &Outcome, file: &str, out: &mut String) {
    let name = escaped(&outcome.name);
    put(
        out,
        format_args!("    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{}\"", outcome.line),
    );
    if outcome.is_ok() {
        out.push_str("/>\n");
        return;
    }
    out.push_str(">\n");
    if let Some(why) = &outcome.broken {
        put(out, format_args!("      <error message=\"{}\"/>\n", escaped(why)));
    }
    for failure in &outcome.failures {
        let (kind, text) = (failure.kind.as_str(), escaped(&failure.text));
        put(out, format_args!("      <failure type=\"{kind}\" message=\"{kind} {text}\">"));
        put(out, format_args!("{}:{}", escaped(&outcome.file), failure.line));
        for note in failure.notes.iter().chain(&failure.violation) {
            put(out, format_args!("\n{}", escaped(note)));
        }
        out.push_str("</failure>\n");
    }
    out.push_str("    </testcase>\n");
}

/// Text for an attribute or an element. XML 1.0 has no place for most control characters, escaped or not.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => put(&mut out, format_args!("&#{};", u32::from(c))),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escaped("a<b>&\"c\"\n\u{1}\u{ffff}å"), "a&lt;b&gt;&amp;&quot;c&quot;&#10;\u{fffd}\u{fffd}å");
    }
}
