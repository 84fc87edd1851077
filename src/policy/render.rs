//! How problems are told: drawn with a caret for people, one line for logs, JSON for programs.

use std::collections::BTreeMap;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::problem::{Place, Problem};

/// Columns of a drawn line that still help; a list on one line of a megabyte does not.
const COLUMNS_MAX: usize = 140;
/// Lines between a caret and its context that are drawn as one picture.
const CONTEXT_LINES_MAX: usize = 40;

/// The texts that problems point into.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// What stands before a path when it is shown: the folder as the operator wrote it.
    pub prefix: String,
    files: BTreeMap<String, String>,
}

/// A place as people count: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    pub line: usize,
    pub column: usize,
}

impl Texts {
    pub fn new(prefix: impl Into<String>) -> Texts {
        Texts { prefix: prefix.into(), files: BTreeMap::new() }
    }

    pub fn insert(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.files.insert(path.into(), text.into());
    }

    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub fn n_files(&self) -> usize {
        self.files.len()
    }

    pub fn line_column(&self, path: &str, offset: usize) -> Option<LineColumn> {
        let before = self.get(path)?.get(..offset)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1;
        Some(LineColumn { line, column: before.get(start..)?.chars().count() + 1 })
    }

    fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

/// `path:line:col: message; help`, for logs and on start.
pub fn line(problem: &Problem, texts: &Texts) -> String {
    let mut out = String::new();
    if let Some(place) = &problem.place {
        out.push_str(&texts.shown(&place.path));
        if let Some(at) = texts.line_column(&place.path, place.span.start) {
            out.push_str(&format!(":{}:{}", at.line, at.column));
        }
        out.push_str(": ");
    }
    out.push_str(&problem.message);
    if let Some(help) = &problem.help {
        out.push_str("; ");
        out.push_str(help);
    }
    out
}

/// As a compiler draws it. Ends with a line end.
pub fn drawing(problem: &Problem, texts: &Texts, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(COLUMNS_MAX);
    let level = if problem.is_error { Level::ERROR } else { Level::WARNING };
    let mut elements: Vec<Element<'_>> = pictures(problem, texts);
    elements.extend(problem.notes.iter().map(|note| Level::NOTE.message(note.as_str()).into()));
    elements.extend(problem.help.iter().map(|help| Level::HELP.message(help.as_str()).into()));
    let group = level.primary_title(problem.message.as_str()).id(problem.code).elements(elements);
    let mut out = renderer.render(&[group]);
    out.push('\n');
    out
}

/// The source under the carets: one picture where place and context are near, else one each.
fn pictures<'a>(problem: &'a Problem, texts: &'a Texts) -> Vec<Element<'a>> {
    let Some(place) = &problem.place else { return Vec::new() };
    let caret = |place: &Place| (place.span.clone(), AnnotationKind::Primary, problem.label.as_str());
    if texts.get(&place.path).is_none() {
        return vec![Origin::path(texts.shown(&place.path)).into()];
    }
    let Some((other, label)) = &problem.context else {
        return picture(texts, place, &[caret(place)]).into_iter().collect();
    };
    let context = (other.span.clone(), AnnotationKind::Context, label.as_str());
    if other.path == place.path {
        let lines = |p: &Place| texts.line_column(&p.path, p.span.start).map_or(0, |at| at.line);
        if lines(other).abs_diff(lines(place)) <= CONTEXT_LINES_MAX {
            return picture(texts, place, &[caret(place), context]).into_iter().collect();
        }
    }
    [picture(texts, place, &[caret(place)]), picture(texts, other, &[context])].into_iter().flatten().collect()
}

fn picture<'a>(
    texts: &'a Texts,
    place: &Place,
    marks: &[(Range<usize>, AnnotationKind, &'a str)],
) -> Option<Element<'a>> {
    let text = texts.get(&place.path)?;
    let fit = |span: &Range<usize>| {
        let start = floor(text, span.start);
        start..floor(text, span.end).max(start)
    };
    let spans: Vec<_> = marks.iter().map(|(span, ..)| fit(span)).collect();
    let first = spans.iter().map(|s| s.start).min()?;
    let last = spans.iter().map(|s| s.end).max()?;
    // Only the lines that matter: the renderer counts through all it is given.
    let from = text.get(..first)?.rfind('\n').map_or(0, |at| at + 1);
    let to = text.get(last..)?.find('\n').map_or(text.len(), |at| last + at);
    let line = memchr::memchr_iter(b'\n', text.get(..from)?.as_bytes()).count() + 1;
    let annotations = spans.iter().zip(marks).map(|(span, (_, kind, label))| -> Annotation<'a> {
        let annotation = kind.span(span.start - from..span.end - from);
        if label.is_empty() { annotation } else { annotation.label(*label) }
    });
    let snippet = Snippet::source(text.get(from..to)?)
        .line_start(line)
        .path(texts.shown(&place.path))
        .annotations(annotations.collect::<Vec<_>>());
    Some(snippet.into())
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A problem for programs: everything a drawing shows. What `check --format json` prints, so its shape is a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    pub code: &'static str,
    pub severity: &'static str,
    pub message: String,
    #[serde(flatten)]
    pub place: Spot,
    /// What the caret says.
    pub label: String,
    pub help: Option<String>,
    pub notes: Vec<String>,
    /// Other places that explain it.
    pub context: Vec<ToldContext>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldContext {
    #[serde(flatten)]
    pub place: Spot,
    pub label: String,
}

/// Lines and columns count from 1, columns in characters; the end is the first character that is no longer meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spot {
    pub path: Option<String>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub end_line: Option<usize>,
    pub end_column: Option<usize>,
}

pub fn told(problem: &Problem, texts: &Texts) -> Told {
    let context = |(place, label): &(Place, String)| ToldContext { place: spot(place, texts), label: label.clone() };
    Told {
        code: problem.code,
        severity: if problem.is_error { "error" } else { "warning" },
        message: problem.message.clone(),
        place: problem.place.as_ref().map_or_else(Spot::default, |place| spot(place, texts)),
        label: problem.label.clone(),
        help: problem.help.clone(),
        notes: problem.notes.clone(),
        context: problem.context.iter().map(context).collect(),
    }
}

fn spot(place: &Place, texts: &Texts) -> Spot {
    let start = texts.line_column(&place.path, place.span.start);
    let end = texts.line_column(&place.path, place.span.end);
    Spot {
        path: Some(texts.shown(&place.path)),
        line: start.map(|at| at.line),
        column: start.map(|at| at.column),
        end_line: end.map(|at| at.line),
        end_column: end.map(|at| at.column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn texts() -> Texts {
        let mut texts = Texts::new("rules/");
        texts.insert("ips/a.toml", "# åäö\n[[threshold]]\non = \"attempt\"\nwhere = 'duration < 10s'\n");
        texts
    }

    fn problem() -> Problem {
        Problem::error("E040", "`duration` is not known yet when this rule runs")
            .at("ips/a.toml", 47..55)
            .label("known from: end")
            .context("ips/a.toml", 28..37, "runs at call start")
            .help("use on = \"end\"")
    }

    #[test]
    fn a_problem_is_drawn_with_its_context_and_advice() {
        expect![[r#"
            error[E040]: `duration` is not known yet when this rule runs
             --> rules/ips/a.toml:4:10
              |
            3 | on = "attempt"
              |      --------- runs at call start
            4 | where = 'duration < 10s'
              |          ^^^^^^^^ known from: end
              |
              = help: use on = "end"
        "#]]
        .assert_eq(&drawing(&problem(), &texts(), false));
        assert!(drawing(&problem(), &texts(), true).contains('\u{1b}'));
    }

    #[test]
    fn a_problem_is_one_line_in_the_log_with_columns_in_characters() {
        expect!["rules/ips/a.toml:4:10: `duration` is not known yet when this rule runs; use on = \"end\""]
            .assert_eq(&line(&problem(), &texts()));
        let umlaut = Problem::error("E001", "x").at("ips/a.toml", 6..8);
        assert!(line(&umlaut, &texts()).starts_with("rules/ips/a.toml:1:5: "));
    }

    #[test]
    fn places_that_do_not_fit_the_text_never_panic() {
        #[expect(clippy::reversed_empty_ranges, reason = "a span that makes no sense must not panic either")]
        for span in [0..0, 3..4, 4..3, 80..90, 7..10_000, usize::MAX - 1..usize::MAX] {
            let odd = Problem::error("E001", "x").at("ips/a.toml", span.clone()).context("ips/a.toml", span, "y");
            assert!(drawing(&odd, &texts(), false).contains("x"));
            assert!(line(&odd, &texts()).contains("x"));
            assert_eq!(told(&odd, &texts()).message, "x");
        }
        let elsewhere = Problem::error("E010", "cannot be read").at("gone.csv", 0..0);
        assert!(drawing(&elsewhere, &texts(), false).contains("--> rules/gone.csv"));
    }

    #[test]
    fn json_says_what_the_drawing_says() {
        let value = serde_json::to_value(told(&problem(), &texts())).unwrap();
        assert_eq!((&value["line"], &value["column"]), (&4.into(), &10.into()));
        assert_eq!((&value["end_line"], &value["end_column"]), (&4.into(), &18.into()));
        assert_eq!(value["context"][0]["label"], "runs at call start");
        assert_eq!((&value["severity"], &value["path"]), (&"error".into(), &"rules/ips/a.toml".into()));
        let nowhere = serde_json::to_value(told(&Problem::warning("W104", "x"), &texts())).unwrap();
        assert!(nowhere["path"].is_null() && nowhere["line"].is_null());
    }
}
