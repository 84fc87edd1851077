//! The spacing of conditions: one space between words, none inside brackets; every word and literal as it is spelt.

use super::super::origin::{Origin, Reporter};
use super::super::token::{Placed, Token, tokens};

/// Words that a bracket may follow and that are no functions.
const NO_FUNCTIONS: [&str; 9] = ["and", "or", "not", "in", "contains", "startswith", "endswith", "matches", "is"];

/// The condition in its form; `None` where it cannot be read.
pub(super) fn format(text: &str) -> Option<String> {
    let found = read(text)?;
    let mut out = String::with_capacity(text.len());
    let mut before: Option<&Token<'_>> = None;
    for (token, span) in &found {
        if before.is_some_and(|before| is_apart(before, token)) {
            out.push(' ');
        }
        out += text.get(span.clone())?;
        before = Some(token);
    }
    // Two tokens that would read as one keep their spaces.
    is_same(text, &out).then_some(out)
}

/// Do both read as the same words?
pub(super) fn is_same(a: &str, b: &str) -> bool {
    let words = |text: &str| read(text).map(|found| found.into_iter().map(|(token, _)| format!("{token:?}")).collect());
    let a: Option<Vec<String>> = words(a);
    a.is_some() && a == words(b)
}

fn read(text: &str) -> Option<Vec<Placed<'_>>> {
    let origin = Origin::at("", 0);
    let mut problems = Vec::new();
    let found = tokens(text, &mut Reporter::new(&origin, &mut problems));
    found.filter(|_| problems.is_empty())
}

fn is_apart(before: &Token<'_>, after: &Token<'_>) -> bool {
    match (before, after) {
        (Token::Open | Token::BraceOpen | Token::Range, _) => false,
        (_, Token::Close | Token::BraceClose | Token::Comma | Token::Range) => false,
        (Token::Word(word), Token::Open) => NO_FUNCTIONS.contains(word),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_one_space_between_words_and_none_inside_brackets() {
        for (text, wanted) in [
            ("direction==inbound", "direction == inbound"),
            ("  not( a  and( b or c ) )", "not (a and (b or c))"),
            ("caller.country in{ SE,NO , DK }", "caller.country in {SE, NO, DK}"),
            ("prefix ( caller,4 )in{+4670 .. +4679}", "prefix(caller, 4) in {+4670..+4679}"),
            ("time in {22:00 .. 06:00}", "time in {22:00..06:00}"),
            ("user_agent matches  /a b/", "user_agent matches /a b/"),
            ("domain==\"a  b\"", "domain == \"a  b\""),
            ("outside( business )and @high_risk", "outside(business) and @high_risk"),
            ("callee in $a or callee in{$b}", "callee in $a or callee in {$b}"),
            ("source_ip in {fe80::1 .. fe80::9}", "source_ip in {fe80::1..fe80::9}"),
        ] {
            assert_eq!(format(text).as_deref(), Some(wanted), "{text}");
            assert_eq!(format(wanted).as_deref(), Some(wanted));
        }
        assert_eq!(format("a = 1"), None, "a slip is told, not mended");
        assert_eq!(format("a == \"x"), None);
    }
}
