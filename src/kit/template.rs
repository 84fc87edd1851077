//! One text with its holes, filled in: strictly, within bounds, from nothing but its values.
//!
//! A small closed part of minijinja: `if` and `for`, three filters, no functions, no files, no names that a text gives
//! itself (with those, a short text can double a value until memory ends). What is undefined cannot be printed, only
//! asked for with `if`. Values are plain text: nothing in them is read as a template.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::clean;
use crate::limits::{KIT_FORM_BYTES_MAX, KIT_FUEL};

const TAGS: [&str; 5] = ["if", "elif", "else", "endif", "for"];
const TAG_FOR_END: &str = "endfor";

/// Why a text cannot be read or made.
#[derive(Clone, Debug)]
pub(crate) struct TemplateError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
    /// Bytes of the template.
    pub(crate) range: Option<Range<usize>>,
}

/// The names a template takes from outside, once it can be read.
pub(crate) fn names(text: &str) -> Result<BTreeSet<String>, TemplateError> {
    closed(text)?;
    let text = without_tag_lines(text);
    let environment = environment();
    let template = environment.template_from_str(&text).map_err(|e| told(&e))?;
    Ok(template.undeclared_variables(false).into_iter().collect())
}

/// The text with its values, without the white space around it.
pub(crate) fn fill(text: &str, values: &BTreeMap<&str, Value>) -> Result<String, TemplateError> {
    closed(text)?;
    let text = without_tag_lines(text);
    let environment = environment();
    let template = environment.template_from_str(&text).map_err(|e| told(&e))?;
    let mut out = Bounded(Vec::new());
    template.render_captured_to(Value::from(values.clone()), &mut out).map_err(|e| told(&e))?;
    Ok(String::from_utf8_lossy(&out.0).trim().to_owned())
}

/// Refuses what minijinja could do and texts do not need.
///
/// Multiplication repeats texts as well as it counts: a product of three is a text of a hundred megabytes.
fn closed(text: &str) -> Result<(), TemplateError> {
    if let Some(at) = product(text) {
        let message = "texts do not multiply".to_owned();
        return Err(TemplateError { code: "E201", message, help: None, range: Some(at..at + 1) });
    }
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("{%")) {
        let start = at + found;
        at = start + 2;
        let inside = text.get(at..).unwrap_or("").trim_start_matches(['-', '+']).trim_start();
        let word: String = inside.chars().take_while(char::is_ascii_alphanumeric).take(20).collect();
        if !word.is_empty() && word != TAG_FOR_END && !TAGS.contains(&word.as_str()) {
            return Err(TemplateError {
                code: "E201",
                message: format!("texts do not take `{{% {word} %}}`"),
                help: Some(
                    "texts take {% if name %}, {% elif %}, {% else %}, {% endif %} and {% for item in list %}, {% endfor %}",
                ),
                range: Some(start..at),
            });
        }
    }
    Ok(())
}

/// The first `*` that stands inside braces and outside quotes.
fn product(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_inside = false;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match (is_inside, quote) {
            (false, _) => is_inside = before == '{' && matches!(c, '{' | '%'),
            (true, Some(q)) if c == q && before != '\\' => quote = None,
            (true, Some(_)) => {}
            (true, None) if matches!(c, '"' | '\'') => quote = Some(c),
            (true, None) if c == '*' => return Some(at),
            (true, None) => is_inside = !(c == '}' && matches!(before, '}' | '%')),
        }
        before = c;
    }
    None
}

/// A line that holds one tag and nothing else leaves no line behind: its white space is moved into the tag, where it
/// means nothing. Bytes stay where they are, so that errors point to the right place.
fn without_tag_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let tag = line.trim();
        let inside = tag.strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}"));
        match inside.filter(|inside| !inside.starts_with(['-', '+']) && !inside.ends_with(['-', '+'])) {
            Some(inside) if !inside.contains("%}") => {
                let (indent, _) = line.split_once('{').unwrap_or_default();
                let end = line.rsplit_once('}').map_or("", |(_, end)| end);
                out.extend(["{%", indent, inside, end, "%}"]);
            }
            _ => out.push_str(line),
        }
    }
    out
}

fn environment<'t>() -> Environment<'t> {
    let mut environment = Environment::empty();
    // Semi-strict: `if` may ask whether an optional value was given; to print one that was not is an error all the same.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(KIT_FUEL));
    environment.set_debug(false);
    environment.add_filter("default", |value: Value, other: Value| if value.is_undefined() { other } else { value });
    environment.add_filter("join", |items: Vec<String>, between: Option<String>| {
        items.join(between.as_deref().unwrap_or(", "))
    });
    environment.add_filter("shorten", |text: String, chars_max: usize| clean::line(&text, chars_max).0);
    environment
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > KIT_FORM_BYTES_MAX {
            return Err(io::Error::other("full"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn told(error: &Error) -> TemplateError {
    let detail = error.detail().unwrap_or_default();
    let (code, message, help) = match error.kind() {
        ErrorKind::OutOfFuel => {
            ("E210", "the text computes for too long".to_owned(), Some("look for a loop inside a loop"))
        }
        ErrorKind::WriteFailure => (
            "E210",
            format!("the text becomes longer than {KIT_FORM_BYTES_MAX} bytes"),
            Some("shorten the values, or print fewer of them"),
        ),
        ErrorKind::UndefinedError => (
            "E210",
            "the text prints a value that was not given".to_owned(),
            Some(
                "print what is optional inside {% if name %} ... {% endif %}, or with a default: {{ name|default(\"none\") }}",
            ),
        ),
        ErrorKind::UnknownFilter => {
            ("E201", format!("texts do not know this filter: {detail}"), Some("texts know default, join and shorten"))
        }
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod | ErrorKind::UnknownTest => (
            "E201",
            format!("texts have no functions: {detail}"),
            Some("to ask whether a value was given, write {% if name %}"),
        ),
        ErrorKind::SyntaxError => ("E201", format!("the template cannot be read: {detail}"), None),
        kind => (
            "E210",
            format!("the text cannot be made: {kind}{}{detail}", if detail.is_empty() { "" } else { ": " }),
            None,
        ),
    };
    TemplateError { code, message, help, range: error.range() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_with(text: &str, values: &[(&'static str, Value)]) -> Result<String, String> {
        fill(text, &values.iter().cloned().collect()).map_err(|e| format!("{} {}", e.code, e.message))
    }

    fn error(text: &str) -> String {
        fill_with(text, &[("x", Value::from("v")), ("xs", Value::from(vec!["a"; 30]))]).unwrap_err()
    }

    #[test]
    fn what_is_not_given_may_be_asked_for_but_never_printed() {
        let given = [("x", Value::from("v"))];
        assert_eq!(fill_with("{{ x }}{% if y %}{{ y }}{% else %}-{% endif %}", &given).unwrap(), "v-");
        assert_eq!(fill_with("{{ y|default('none') }}", &given).unwrap(), "none");
        for text in ["{{ y }}", "{{ y|shorten(3) }}", "{{ x.y }}", "{{ x ~ y }}", "{% for a in y %}{% endfor %}"] {
            assert!(error(text).starts_with("E210"), "{text}: {}", error(text));
        }
    }

    #[test]
    fn an_endless_loop_ends_with_an_error_that_says_so() {
        let loops = "{% for a in xs %}".repeat(9) + "x" + &"{% endfor %}".repeat(9);
        assert_eq!(error(&loops), "E210 the text computes for too long");
        assert!(error("{% for a in xs recursive %}{{ loop(xs) }}{% endfor %}").starts_with("E210"));
    }

    #[test]
    fn a_text_that_grows_is_stopped() {
        let long = Value::from("x".repeat(10_000));
        let grown =
            fill_with("{% for a in xs %}{{ x }}{% endfor %}", &[("x", long), ("xs", Value::from(vec!["a"; 30]))]);
        assert!(grown.unwrap_err().contains("longer than"));
        assert_eq!(error("{{ '*' ~ x * 90000000 }}"), "E201 texts do not multiply");
        assert_eq!(fill_with("* {{ '*' }} *", &[]).unwrap(), "* * *");
    }

    #[test]
    fn a_line_with_a_tag_alone_leaves_no_line() {
        let text = "one\n  {% if x %}\ntwo {% if x %}{{ x }}{% endif %}\n{% endif %}\n{% for a in xs %}\n- {{ a }}\n{% endfor %}\nend";
        let values = [("x", Value::from("v")), ("xs", Value::from(vec!["a", "b"]))];
        assert_eq!(fill_with(text, &values).unwrap(), "one\ntwo v\n- a\n- b\nend");
        assert_eq!(without_tag_lines(text).len(), text.len());
    }

    #[test]
    fn files_names_and_functions_are_out_of_reach() {
        for text in [
            "{% include 'x' %}",
            "{% import 'x' as y %}",
            "{%- set a = x ~ x %}",
            "{% macro m() %}{% endmacro %}",
            "{% with a = x %}{% endwith %}",
            "{{ range(3) }}",
            "{{ x|upper }}",
            "{{ x.upper() }}",
            "{{ x",
            "{% if x %}",
        ] {
            assert!(error(text).starts_with("E201"), "{text}: {}", error(text));
        }
    }

    #[test]
    fn a_value_is_never_a_template() {
        assert_eq!(fill_with("{{ x }}", &[("x", Value::from("{{ y }}{% set z %}"))]).unwrap(), "{{ y }}{% set z %}");
        assert_eq!(fill_with("{{ x }}", &[("x", Value::from("<b>&"))]).unwrap(), "<b>&");
    }

    #[test]
    fn names_are_those_that_come_from_outside() {
        let names = names("{% if a %}{{ b|shorten(3) }}{% endif %}{% for c in d %}{{ c }}{% endfor %}").unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "d"]);
    }
}
