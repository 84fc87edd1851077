//! What commands print: data on standard output, as text or as JSON, and the few words that all of them spell alike.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Printed {
    Text,
    Json,
}

/// Standard output for results. A reader that has seen enough, such as `head`, is no failure: nothing more is written,
/// and what the command found it has found.
#[derive(Debug, Default)]
pub struct Results;

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match io::stdout().write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// Prints all of it.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = Results;
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot print")
}

/// Prints a report, as a value or in words.
pub(crate) fn print_report(
    format: Printed,
    report: &impl serde::Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    print(&match format {
        Printed::Json => format!("{}\n", serde_json::to_string_pretty(report).context("cannot print the report")?),
        Printed::Text => text(),
    })
}

/// Adds to a text.
pub(crate) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let written = fmt::Write::write_fmt(out, text);
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

/// What stands behind a noun: `1 call`, `2 calls`.
pub(crate) fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// `1 call`, `2 calls`
pub(crate) fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", plural(n))
}

/// `1,611,902`
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
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
    fn large_numbers_have_commas() {
        assert_eq!([0, 999, 1000, 1_611_902].map(thousands), ["0", "999", "1,000", "1,611,902"]);
    }
}
