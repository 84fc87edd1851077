//! Where in a file an expression stands, so that carets point into the file and not into the expression.

use std::ops::Range;

use super::problem::{Place, Problem};

/// Maps bytes of an expression to bytes of the file it was written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    path: String,
    map: Map,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Map {
    /// The text stands in the file as it is, from here on.
    Shifted(usize),
    /// A text with escapes: steps `(in the expression, in the file)`, rising.
    Steps(Vec<(usize, usize)>),
    /// It does not say where: everything points at the whole.
    Whole(Range<usize>),
}

impl Origin {
    /// The text stands unchanged in the file from byte `start` on.
    pub fn at(path: impl Into<String>, start: usize) -> Origin {
        Origin { path: path.into(), map: Map::Shifted(start) }
    }

    /// Every mistake points at the whole of `span`.
    pub fn whole(path: impl Into<String>, span: Range<usize>) -> Origin {
        Origin { path: path.into(), map: Map::Whole(span) }
    }

    /// A TOML string, quotes included, at `span` of the file's `source`.
    pub fn toml(path: impl Into<String>, source: &str, span: Range<usize>) -> Origin {
        let path = path.into();
        let Some(written) = source.get(span.clone()) else { return Origin::whole(path, span) };
        let map = ["'''", "\"\"\"", "'", "\""]
            .into_iter()
            .find_map(|quote| body(written, quote).map(|(skip, body)| (skip, body, quote)))
            .map_or(Map::Whole(span.clone()), |(skip, body, quote)| {
                let start = span.start + skip;
                if quote.starts_with('\'') || !body.contains('\\') { Map::Shifted(start) } else { steps(body, start) }
            });
        Origin { path, map }
    }

    /// Of what stands behind the first bytes of the expression.
    pub(crate) fn behind(&self, n: usize) -> Origin {
        let map = match &self.map {
            Map::Shifted(start) => Map::Shifted(start + n),
            Map::Whole(whole) => Map::Whole(whole.clone()),
            Map::Steps(steps) => {
                let rest = steps.iter().filter(|(at, _)| *at > n).map(|(at, file)| (at - n, *file));
                Map::Steps(std::iter::once((0, step(steps, n))).chain(rest).collect())
            }
        };
        Origin { path: self.path.clone(), map }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// The place of bytes `span` of the expression.
    pub fn place(&self, span: Range<usize>) -> Place {
        let mapped = match &self.map {
            Map::Shifted(start) => start + span.start..start + span.end,
            Map::Whole(whole) => whole.clone(),
            Map::Steps(steps) => step(steps, span.start)..step(steps, span.end),
        };
        Place::new(self.path.clone(), mapped)
    }
}

/// What stands between the quotes, and how many bytes come before it.
fn body<'s>(written: &'s str, quote: &str) -> Option<(usize, &'s str)> {
    let inner = written.strip_prefix(quote)?.strip_suffix(quote)?;
    let trimmed = if quote.len() == 3 {
        inner.strip_prefix("\r\n").or_else(|| inner.strip_prefix('\n')).unwrap_or(inner)
    } else {
        inner
    };
    Some((quote.len() + inner.len() - trimmed.len(), trimmed))
}

/// Follows the escapes of a basic string.
fn steps(body: &str, start: usize) -> Map {
    let mut steps = vec![(0, start)];
    let (mut read, mut made) = (0, 0);
    while let Some(rest) = body.get(read..).filter(|r| !r.is_empty()) {
        let (took, gave) = match rest.strip_prefix('\\') {
            None => rest.chars().next().map_or((1, 1), |c| (c.len_utf8(), c.len_utf8())),
            Some(escape) => escaped(escape),
        };
        (read, made) = (read + took, made + gave);
        if took != gave {
            steps.push((made, start + read));
        }
    }
    Map::Steps(steps)
}

/// Bytes an escape takes in the file, its backslash included, and bytes it stands for.
fn escaped(after: &str) -> (usize, usize) {
    let code = |n: usize| {
        let c = after.get(1..=n).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        (n + 2, c.map_or(1, char::len_utf8))
    };
    match after.chars().next() {
        Some('u') => code(4),
        Some('U') => code(8),
        Some('x') => code(2),
        // A backslash at the end of a line swallows the white space up to the next word.
        Some(c) if c.is_whitespace() => (1 + after.len() - after.trim_start().len(), 0),
        Some(c) => (1 + c.len_utf8(), 1),
        None => (1, 0),
    }
}

fn step(steps: &[(usize, usize)], at: usize) -> usize {
    let i = steps.partition_point(|(made, _)| *made <= at).saturating_sub(1);
    steps.get(i).map_or(0, |(made, read)| read + (at - made.min(&at)))
}

/// Collects problems of one expression and puts them where they stand in the file.
#[derive(Debug)]
pub(super) struct Reporter<'r> {
    origin: &'r Origin,
    problems: &'r mut Vec<Problem>,
}

impl<'r> Reporter<'r> {
    pub(super) fn new(origin: &'r Origin, problems: &'r mut Vec<Problem>) -> Reporter<'r> {
        Reporter { origin, problems }
    }

    /// A mistake in a macro is met once by each rule that uses it, and told once.
    pub(super) fn report(&mut self, problem: Problem, span: Range<usize>) {
        let place = Some(self.origin.place(span));
        let told = |p: &Problem| p.code == problem.code && p.place == place && p.message == problem.message;
        if !self.problems.iter().any(told) {
            self.problems.push(Problem { place, ..problem });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caret(source: &str, word: &str) -> String {
        let span = source.find("= ").unwrap() + 2..source.trim_end().len();
        let value: toml::Table = toml::from_str(source).unwrap();
        let text = value["a"].as_str().unwrap();
        let at = text.find(word).unwrap();
        let place = Origin::toml("f", source, span).place(at..at + word.len());
        source.get(place.span).unwrap_or_default().to_owned()
    }

    #[test]
    fn carets_find_their_word_in_every_kind_of_toml_string() {
        assert_eq!(caret("a = 'x == wrong'", "wrong"), "wrong");
        assert_eq!(caret("a = '''\r\nx ==\r\n  wrong'''", "wrong"), "wrong");
        assert_eq!(caret("a = \"\"\"x\r\n\\\r\n  wrong\"\"\"", "wrong"), "wrong");
        assert_eq!(caret("a = '''\nx == wrong'''", "wrong"), "wrong");
        assert_eq!(caret("a = '''x == wrong\n'''", "wrong"), "wrong");
        assert_eq!(caret(r#"a = "x == wrong""#, "wrong"), "wrong");
        assert_eq!(caret(r#"a = "\"é\\\u00e9\" == wrong \t and later""#, "wrong"), "wrong");
        assert_eq!(caret(r#"a = "\"é\\\u00e9\" == wrong \t and later""#, "later"), "later");
        assert_eq!(caret("a = \"\"\"\none \\\n   two \\\" wrong\"\"\"", "wrong"), "wrong");
    }
}
