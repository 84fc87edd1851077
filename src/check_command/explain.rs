//! `ringfence check --explain`: what a code means, the mistake as `check` shows it, and its mend.

use anyhow::bail;

use super::example::{self, Example};
use crate::config::codes::SETTINGS;
use crate::kit::codes::KITS;
use crate::policy::codes::{self, Code};
use crate::policy::problem::suggest;

/// Every code there is, errors before warnings, by number.
pub(super) fn all() -> Vec<&'static Code> {
    let mut all: Vec<_> = codes::all().chain(KITS).chain(SETTINGS).collect();
    all.sort_by_key(|code| code.code);
    all
}

/// The explanation of one code, or the list of all where none is named.
pub(super) fn explain(named: &str, colour: bool) -> anyhow::Result<String> {
    if named.is_empty() {
        return Ok(list());
    }
    let all = all();
    let Some(code) = all.iter().find(|code| code.code.eq_ignore_ascii_case(named.trim())) else {
        let near = suggest(named, all.iter().map(|code| code.code));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        bail!("there is no code `{named}`{near} (`ringfence check --explain` lists all)");
    };
    Ok(page(code, example::of(code.code).as_ref(), colour))
}

fn list() -> String {
    let mut out = String::new();
    for code in all() {
        out += &format!("{}  {}\n", code.code, code.title);
    }
    out + "\nringfence check --explain CODE says more of one, with an example.\n"
}

fn page(code: &Code, example: Option<&Example>, colour: bool) -> String {
    let severity = if code.code.starts_with('E') { "error" } else { "warning" };
    let mut out = format!("{severity}[{}]: {}\n\n{}\n", code.code, code.title, wrapped(code.explanation));
    let Some(example) = example else { return out };
    out += &format!("\nThe mistake, in {}:\n\n{}", example.home(), indented(&example.wrong));
    let drawn = example.drawn(code.code, colour);
    if !drawn.is_empty() {
        out += &format!("\nWhat `ringfence check` says of it:\n\n{}", indented(&drawn));
    }
    for also in &example.also {
        out += &format!("\n{also} is told beside it.\n");
    }
    out + &format!("\nMended:\n\n{}", indented(&example.right))
}

fn indented(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") };
    text.trim_end().lines().map(line).collect()
}

/// Lines of at most 80 characters.
fn wrapped(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut out = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > CHARS_MAX {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out += word;
        width += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_explained_with_its_mistake_as_drawn_and_its_mend() {
        let text = explain("e014", false).unwrap();
        for part in [
            "error[E014]: phone number written as an integer\n\nA number is text",
            "\nThe mistake, in a rule file:\n",
            "error[E014]: phone number written as an integer\n     -->",
            "Mended:",
            "\"+14735550100\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 150), "{text}");
    }

    #[test]
    fn codes_of_kits_and_settings_are_explained_too_and_a_slip_is_met_with_a_suggestion() {
        assert!(explain("E205", false).unwrap().contains("form leaves out"));
        assert!(explain("W106", false).unwrap().contains("calls may count twice"));
        let slip = explain("E14", false).unwrap_err().to_string();
        assert!(slip.starts_with("there is no code `E14`; did you mean E014?"), "{slip}");
        assert!(explain("", false).unwrap().contains("\nW101  rule can never match\n"));
    }

    #[test]
    fn codes_are_unique_over_all_parts() {
        let all = all();
        assert!(all.windows(2).all(|pair| pair[0].code < pair[1].code));
    }
}
