//! Words of the rule language: from characters to tokens with their places.
//!
//! Owns what a token looks like; what it means against a field is [`super::literal`]'s work. Slips from other
//! languages (`=`, `&&`, `'text'`) are told once and read as what was meant, so that the rest is checked too.

use std::borrow::Cow;
use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, one_of, satisfy};
use nom::combinator::{map, opt, recognize, value, verify};
use nom::multi::many0_count;
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};

use super::ast::Comparison;
use super::origin::Reporter;
use super::problem::Problem;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A name, keyword or dotted path.
    Word(&'t str),
    /// A number or pattern, with its `+`.
    Plus(&'t str),
    /// The symbols after `short:`.
    Short(&'t str),
    /// Without quotes and escapes.
    Text(Cow<'t, str>),
    /// What stands between the slashes.
    Regex(&'t str),
    /// Everything else that begins with a digit, and IPv6 addresses: told apart by the type it meets.
    Figure(&'t str),
    List(&'t str),
    Macro(&'t str),
    Compare(Comparison),
    Open,
    Close,
    BraceOpen,
    BraceClose,
    Comma,
    Range,
}

pub(super) type Placed<'t> = (Token<'t>, Range<usize>);

/// All tokens of `text`. What cannot be read is reported and ends the reading: `None`.
pub(super) fn tokens<'t>(text: &'t str, reporter: &mut Reporter<'_>) -> Option<Vec<Placed<'t>>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = text.len() - rest.len();
        if rest.is_empty() {
            return Some(found);
        }
        if let Ok((after, token)) = token(rest) {
            found.push((token, at..text.len() - after.len()));
            rest = after;
        } else if let Some((len, token, problem)) = slip(rest) {
            reporter.report(problem, at..at + len);
            found.push((token, at..at + len));
            rest = rest.get(len..).unwrap_or_default();
        } else {
            let (problem, len) = unreadable(rest);
            reporter.report(problem, at..at + len);
            return None;
        }
    }
}

fn token(input: &str) -> IResult<&str, Token<'_>> {
    alt((
        map(preceded(tag("short:"), take_while1(|c: char| c.is_ascii_digit() || c == '*' || c == '#')), Token::Short),
        map(address, Token::Figure),
        map(path, Token::Word),
        map(recognize(pair(char('+'), take_while1(is_pattern))), Token::Plus),
        map(verify(take_figure, |f: &str| !f.is_empty()), Token::Figure),
        text,
        map(regex, Token::Regex),
        map(preceded(char('$'), name), Token::List),
        map(preceded(char('@'), name), Token::Macro),
        comparison,
        punctuation,
    ))
    .parse(input)
}

fn punctuation(input: &str) -> IResult<&str, Token<'_>> {
    alt((
        value(Token::Open, char('(')),
        value(Token::Close, char(')')),
        value(Token::BraceOpen, char('{')),
        value(Token::BraceClose, char('}')),
        value(Token::Comma, char(',')),
        value(Token::Range, tag("..")),
    ))
    .parse(input)
}

fn comparison(input: &str) -> IResult<&str, Token<'_>> {
    map(
        alt((
            value(Comparison::Equal, tag("==")),
            value(Comparison::NotEqual, tag("!=")),
            value(Comparison::AtMost, tag("<=")),
            value(Comparison::AtLeast, tag(">=")),
            value(Comparison::Below, (char('<'), nom::combinator::not(char('>'))).map(|_| ())),
            value(Comparison::Above, char('>').map(|_| ())),
        )),
        Token::Compare,
    )
    .parse(input)
}

fn name(input: &str) -> IResult<&str, &str> {
    recognize(pair(satisfy(|c| c.is_ascii_alphabetic()), take_while(is_name))).parse(input)
}

/// `caller.country`; the dots of a range are left alone.
fn path(input: &str) -> IResult<&str, &str> {
    recognize(pair(name, many0_count(preceded(char('.'), name)))).parse(input)
}

/// An IPv6 address or network; words and times have fewer colons.
fn address(input: &str) -> IResult<&str, &str> {
    let plain = verify(
        |i| take_before_range(i, |c| c.is_ascii_hexdigit() || c == ':' || c == '.'),
        |a: &str| a.contains("::") || a.bytes().filter(|b| *b == b':').count() > 1,
    );
    recognize(pair(plain, opt(pair(char('/'), take_while1(|c: char| c.is_ascii_digit()))))).parse(input)
}

/// Digits and what clings to them: `30`, `1h30m`, `22:00`, `2026-12-24`, `10.0.0.0/8`, `99.5%`.
fn take_figure(input: &str) -> IResult<&str, &str> {
    let plain = |i| take_before_range(i, |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '%' | '_' | '-'));
    let begins = |i| nom::combinator::peek(one_of("0123456789")).parse(i);
    recognize((begins, plain, opt(pair(char('/'), take_while1(|c: char| c.is_ascii_digit()))))).parse(input)
}

/// The longest run of such characters that does not swallow a `..`.
fn take_before_range(input: &str, belongs: impl Fn(char) -> bool) -> IResult<&str, &str> {
    let run = input.find(|c| !belongs(c)).unwrap_or(input.len());
    let end = input.get(..run).and_then(|r| r.find("..")).unwrap_or(run);
    match (input.get(end..), input.get(..end)) {
        (Some(rest), Some(taken)) if end > 0 => Ok((rest, taken)),
        _ => Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::TakeWhile1))),
    }
}

fn text(input: &str) -> IResult<&str, Token<'_>> {
    let (rest, body) = quoted(input, '"')?;
    let token = if body.contains('\\') { Cow::Owned(unescape(body)) } else { Cow::Borrowed(body) };
    Ok((rest, Token::Text(token)))
}

fn regex(input: &str) -> IResult<&str, &str> {
    quoted(input, '/')
}

/// What stands between two marks; a backslash keeps the mark after it from ending the text.
fn quoted(input: &str, mark: char) -> IResult<&str, &str> {
    let body = recognize(many0_count(alt((
        recognize(pair(char('\\'), satisfy(|c| c != '\n'))),
        recognize(satisfy(|c| c != mark && c != '\\' && c != '\n')),
    ))));
    preceded(char(mark), terminated(body, char(mark))).parse(input)
}

/// `\"` and `\\`; before any other character a backslash is a backslash.
fn unescape(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut letters = body.chars().peekable();
    while let Some(c) = letters.next() {
        match (c, letters.peek()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                out.push(*next);
                letters.next();
            }
            _ => out.push(c),
        }
    }
    out
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn is_pattern(c: char) -> bool {
    c.is_ascii_digit() || c == '?' || c == '*'
}

/// Habits of other languages, with the token that was meant.
fn slip(rest: &str) -> Option<(usize, Token<'static>, Problem)> {
    const SLIPS: [(&str, Token<'static>, &str, &str); 6] = [
        ("&&", Token::Word("and"), "`&&` is no operator here", "write `and`"),
        ("||", Token::Word("or"), "`||` is no operator here", "write `or`"),
        ("=~", Token::Word("matches"), "`=~` is no operator here", "write `matches`"),
        ("<>", Token::Compare(Comparison::NotEqual), "`<>` is no operator here", "write `!=`"),
        ("=", Token::Compare(Comparison::Equal), "`=` is no operator here", "write `==`"),
        ("!", Token::Word("not"), "`!` is no operator here", "write `not`"),
    ];
    SLIPS
        .into_iter()
        .find(|(written, ..)| rest.starts_with(written))
        .map(|(written, token, message, help)| (written.len(), token, Problem::error("E041", message).help(help)))
}

/// Why nothing can be read here, and how many bytes to point at.
fn unreadable(rest: &str) -> (Problem, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    let line = rest.lines().next().unwrap_or_default().len();
    let shown = if first.is_control() { first.escape_default().to_string() } else { first.to_string() };
    let problem = Problem::error("E041", format!("unexpected character `{shown}`"));
    match first {
        '"' => (Problem::error("E041", "text without its closing `\"`"), line),
        '/' => (Problem::error("E041", "regular expression without its closing `/`"), line),
        '\'' | '`' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => {
            (problem.help("text stands in straight double quotes: \"...\""), first.len_utf8())
        }
        '+' => (problem.help("a number is `+` and its digits, without spaces: +46701234567"), 1),
        '$' => (problem.help("a list is written `$name`"), 1),
        '@' => (problem.help("a macro is written `@name`"), 1),
        _ => (problem, first.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let origin = super::super::origin::Origin::at("t", 0);
        let mut problems = Vec::new();
        let found = tokens(text, &mut Reporter::new(&origin, &mut problems)).unwrap_or_default();
        (
            found.iter().map(|(_, span)| text.get(span.clone()).unwrap_or_default().to_owned()).collect(),
            problems.into_iter().map(|p| p.message).collect(),
        )
    }

    #[test]
    fn every_token_ends_where_the_next_begins() {
        for (text, wanted) in [
            ("caller.country in {SE,NO..ZA}", "caller.country|in|{|SE|,|NO|..|ZA|}"),
            ("time in {22:00..06:00}", "time|in|{|22:00|..|06:00|}"),
            (
                "source_ip in {10.0.0.0/8, 2001:db8::/32, fe80::1..fe80::9}",
                "source_ip|in|{|10.0.0.0/8|,|2001:db8::/32|,|fe80::1|..|fe80::9|}",
            ),
            ("date in {2026-12-24..2026-12-26}", "date|in|{|2026-12-24|..|2026-12-26|}"),
            (
                "caller in {+1???976*, +46100..+46199, short:*21#}",
                "caller|in|{|+1???976*|,|+46100|..|+46199|,|short:*21#|}",
            ),
            (r#"a matches /x\/[0-9]"y/ and b=="q\"r""#, r#"a|matches|/x\/[0-9]"y/|and|b|==|"q\"r""#),
            ("10.0.0.1..10.0.0.9", "10.0.0.1|..|10.0.0.9"),
            ("ring<1m30s and cost>=1.25", "ring|<|1m30s|and|cost|>=|1.25"),
        ] {
            assert_eq!(read(text), (wanted.split('|').map(str::to_owned).collect(), vec![]), "{text}");
        }
    }

    #[test]
    fn slips_from_other_languages_are_told_and_read_as_meant() {
        let (found, problems) = read("a = 1 && !b || c <> 2");
        assert_eq!(found.len(), 10);
        assert_eq!(problems.len(), 5);
        assert_eq!(read("a == 'x'").1, ["unexpected character `'`"]);
        assert_eq!(read("a == \"x").1, ["text without its closing `\"`"]);
    }
}
