//! Rule files in one form: spacing, quotes and commas, and the spacing inside conditions. Tables, keys and comments stay
//! as and where their author put them, and what a file means never changes: a text that would read otherwise is refused.

mod condition;
#[cfg(test)]
mod tests;

use toml::{Table, Value};
use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

/// Spaces, at least, before a comment that follows something on its line.
const COMMENT_GAP: usize = 1;
/// What one more level of brackets is indented by.
const INDENT: usize = 2;
/// Keys whose texts are conditions; so are all values of `[macros]`.
const CONDITIONS: [&str; 2] = ["when", "where"];
const MACROS: &str = "macros";

/// The text in its form; the first mistake of one that is not TOML.
pub fn format(text: &str) -> Result<String, String> {
    let before: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        format!("line {line}: {}", e.message().trim_end())
    })?;
    let source = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let tokens = Source::new(&source).lex().into_vec();
    let mut writer = Writer { source: &source, tokens: &tokens, at: 0, out: String::new(), is_macros: false };
    writer.file();
    let formatted = writer.out;
    // A net under the writer: a form that means something else is no form.
    let after = formatted.parse::<Table>().map(Value::Table);
    if after.is_ok_and(|after| is_same(&Value::Table(before), &after)) {
        return Ok(formatted);
    }
    Err("left as it is: its form could not be changed without changing what it means".to_owned())
}

/// Equal but for the spaces within conditions.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a == b || condition::is_same(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Table(a), Value::Table(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && is_same(a, b))
        }
        _ => a == b,
    }
}

/// Walks over the tokens once and writes what they stand for. The text is known to be TOML.
struct Writer<'s> {
    source: &'s str,
    tokens: &'s [Token],
    at: usize,
    out: String,
    /// Inside `[macros]`.
    is_macros: bool,
}

impl<'s> Writer<'s> {
    fn kind(&self) -> TokenKind {
        self.tokens.get(self.at).map_or(TokenKind::Eof, |token| token.kind())
    }

    fn text(&self) -> &'s str {
        let span = self.tokens.get(self.at).map(|token| token.span());
        span.and_then(|span| self.source.get(span.start()..span.end())).unwrap_or("")
    }

    fn skip_spaces(&mut self) {
        while self.kind() == TokenKind::Whitespace {
            self.at += 1;
        }
    }

    fn file(&mut self) {
        let mut is_after_blank = true;
        // Where the lines of comments right above begin, and whether an empty line stands before them.
        let mut comments: Option<(usize, bool)> = None;
        loop {
            self.skip_spaces();
            match self.kind() {
                TokenKind::Eof => break,
                TokenKind::Newline => {
                    self.at += 1;
                    if !is_after_blank {
                        self.out.push('\n');
                    }
                    (is_after_blank, comments) = (true, None);
                }
                TokenKind::Comment => {
                    comments = comments.or(Some((self.out.len(), is_after_blank)));
                    self.comment(0);
                    self.end_line();
                    is_after_blank = false;
                }
                TokenKind::LeftSquareBracket => {
                    // A header stands apart, with the comment that belongs to it.
                    let (at, is_apart) = comments.unwrap_or((self.out.len(), is_after_blank));
                    if !is_apart {
                        self.out.insert(at, '\n');
                    }
                    self.header();
                    (is_after_blank, comments) = (false, None);
                }
                _ => {
                    self.pair(0);
                    self.trailing_comment();
                    self.end_line();
                    (is_after_blank, comments) = (false, None);
                }
            }
        }
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// `[a.b]`, `[[c]]`.
    fn header(&mut self) {
        let from = self.out.len();
        while !matches!(self.kind(), TokenKind::Newline | TokenKind::Comment | TokenKind::Eof) {
            if self.kind() != TokenKind::Whitespace {
                self.out += self.text();
            }
            self.at += 1;
        }
        let name = self.out.get(from..).unwrap_or("").trim_matches(['[', ']']);
        self.is_macros = name == MACROS;
        self.trailing_comment();
        self.end_line();
    }

    fn end_line(&mut self) {
        self.skip_spaces();
        if self.kind() == TokenKind::Newline {
            self.at += 1;
        }
        self.out.push('\n');
    }

    fn comment(&mut self, indent: usize) {
        self.out.push_str(&" ".repeat(indent));
        self.out += self.text().trim_end();
        self.at += 1;
    }

    /// A comment behind something keeps its column where it can, so that a row of them stays one.
    fn trailing_comment(&mut self) {
        self.skip_spaces();
        if self.kind() != TokenKind::Comment {
            return;
        }
        let start = self.tokens.get(self.at).map_or(0, |token| token.span().start());
        let column = width(self.source.get(..start).unwrap_or(""));
        let end = width(&self.out);
        self.out.push_str(&" ".repeat(column.max(end + COMMENT_GAP) - end));
        self.comment(0);
    }

    /// `key = value`.
    fn pair(&mut self, indent: usize) {
        let from = self.out.len();
        while !matches!(self.kind(), TokenKind::Equals | TokenKind::Eof) {
            if self.kind() != TokenKind::Whitespace {
                self.out += self.text();
            }
            self.at += 1;
        }
        self.at += 1;
        let key = self.out.get(from..).unwrap_or("");
        let last = key.rsplit('.').next().unwrap_or(key).trim_matches(['"', '\'']);
        let is_macro = self.is_macros && indent == 0 || key.split('.').next() == Some(MACROS);
        let is_condition = is_macro || CONDITIONS.contains(&last);
        self.out += " = ";
        self.skip_spaces();
        self.value(indent, is_condition);
    }

    fn value(&mut self, indent: usize, is_condition: bool) {
        match self.kind() {
            TokenKind::LeftSquareBracket => self.collection(indent, ']'),
            TokenKind::LeftCurlyBracket => self.collection(indent, '}'),
            TokenKind::LiteralString | TokenKind::BasicString => {
                self.out += &string(self.text(), is_condition);
                self.at += 1;
            }
            TokenKind::MlLiteralString | TokenKind::MlBasicString => {
                self.out += self.text();
                self.at += 1;
            }
            _ => self.scalar(),
        }
    }

    /// Numbers, dates (which may hold one space), true and false.
    fn scalar(&mut self) {
        while matches!(self.kind(), TokenKind::Atom | TokenKind::Dot) {
            self.out += self.text();
            self.at += 1;
            let next = self.tokens.get(self.at + 1).map(|token| token.kind());
            if self.kind() == TokenKind::Whitespace && next == Some(TokenKind::Atom) {
                self.out.push(' ');
                self.at += 1;
            }
        }
    }

    /// An array or an inline table: on one line, or, where its author broke it, a line for each of theirs.
    fn collection(&mut self, indent: usize, close: char) {
        let is_table = close == '}';
        let is_broken = self.is_broken();
        self.out += self.text();
        self.at += 1;
        let inner = if is_broken { indent + INDENT } else { indent };
        let mut n_items = 0;
        // What has been written of the line is an item, or nothing yet.
        let mut is_line_open = false;
        let mut is_first_line = true;
        loop {
            self.skip_spaces();
            match self.kind() {
                TokenKind::Newline => {
                    self.at += 1;
                    (is_line_open, is_first_line) = (false, false);
                }
                TokenKind::Comment if is_line_open || is_first_line => self.trailing_comment(),
                TokenKind::Comment => {
                    self.out.push('\n');
                    self.comment(inner);
                }
                TokenKind::Comma => self.at += 1,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket | TokenKind::Eof => break,
                _ => {
                    match (is_broken, is_line_open) {
                        (true, false) => self.out += &format!("\n{}", " ".repeat(inner)),
                        (_, true) => self.out.push(' '),
                        (false, false) if is_table => self.out.push(' '),
                        (false, false) => {}
                    }
                    if is_table {
                        self.pair(inner.max(1))
                    } else {
                        self.value(inner, false)
                    }
                    n_items += 1;
                    is_line_open = true;
                    if is_broken || self.has_more() {
                        self.out.push(',');
                    }
                }
            }
        }
        if is_broken {
            self.out += &format!("\n{}", " ".repeat(indent));
        } else if is_table && n_items > 0 {
            self.out.push(' ');
        }
        self.out.push(close);
        self.at += 1;
    }

    /// Is another item to come before the bracket closes?
    fn has_more(&self) -> bool {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let mut kinds = rest.iter().map(|token| token.kind());
        let passed = |kind: &TokenKind| {
            matches!(kind, TokenKind::Whitespace | TokenKind::Newline | TokenKind::Comment | TokenKind::Comma)
        };
        let next = kinds.find(|kind| !passed(kind));
        !matches!(next, Some(TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket) | None)
    }

    /// Does the collection that opens here have a line end of its own?
    fn is_broken(&self) -> bool {
        let mut depth = 0;
        for token in self.tokens.get(self.at..).unwrap_or_default() {
            match token.kind() {
                TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => depth += 1,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket if depth == 1 => return false,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => depth -= 1,
                TokenKind::Newline | TokenKind::Comment if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }
}

/// Characters of the last line.
fn width(text: &str) -> usize {
    text.rsplit('\n').next().unwrap_or("").chars().count()
}

/// Conditions stand in 'single quotes', since they hold double ones; everything else in "double quotes".
fn string(written: &str, is_condition: bool) -> String {
    let Some(value) = decoded(written) else { return written.to_owned() };
    let is_plain = |mark: char| !value.chars().any(|c| c.is_control() || c == mark || mark == '"' && c == '\\');
    if is_condition {
        let value = condition::format(&value).unwrap_or_else(|| value.clone());
        if is_plain('\'') {
            return format!("'{value}'");
        }
    } else if is_plain('"') {
        return format!("\"{value}\"");
    }
    written.to_owned()
}

fn decoded(written: &str) -> Option<String> {
    let table: Table = format!("v = {written}").parse().ok()?;
    table.get("v").and_then(Value::as_str).map(str::to_owned)
}
