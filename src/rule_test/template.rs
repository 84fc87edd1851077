//! `+2235550{n:4}`: texts of a call in which its running number stands.

use std::fmt::Write;

/// Digits a running number may be written with: those of a phone number.
const DIGITS_MAX: usize = 15;

/// A text with places for the running number of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The number as it is.
    Plain,
    /// Its last digits, with zeros before it.
    Digits(usize),
}

impl Template {
    /// `{n}` and `{n:4}`; `{{` stands for a brace. An error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('{') {
                plain.push('{');
                rest = after;
                continue;
            }
            let Some((inside, after)) = after.split_once('}') else {
                return Err("`{` is not closed".to_owned());
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::parse(inside)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The text of the call with this number; the first is 1.
    pub(super) fn fill(&self, number: u64) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            let written = match piece {
                Piece::Text(text) => out.write_str(text),
                Piece::Plain => write!(out, "{number}"),
                Piece::Digits(n) => {
                    let last = 10u64.checked_pow(*n as u32).map_or(number, |all| number % all);
                    write!(out, "{last:0n$}")
                }
            };
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        out
    }
}

impl Piece {
    fn parse(inside: &str) -> Result<Piece, String> {
        if inside == "n" {
            return Ok(Piece::Plain);
        }
        let digits = inside.strip_prefix("n:").and_then(|n| n.parse::<usize>().ok());
        match digits.filter(|n| (1..=DIGITS_MAX).contains(n)) {
            Some(n) => Ok(Piece::Digits(n)),
            None => Err(format!("`{{{}}}` stands for nothing", super::file::brief(inside))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, number: u64) -> String {
        Template::parse(text).unwrap().fill(number)
    }

    #[test]
    fn the_running_number_stands_where_its_place_is() {
        assert_eq!(filled("+2235550{n:4}", 7), "+22355500007");
        assert_eq!(filled("{n}-{n:2}@host", 112), "112-12@host");
        assert_eq!(filled("plain", 3), "plain");
        assert_eq!(filled("", 3), "");
        assert_eq!(filled("a{{n}", 3), "a{n}");
        assert_eq!(filled("{n:15}", 42), "000000000000042");
    }

    #[test]
    fn a_place_of_so_many_digits_never_grows_and_begins_again() {
        assert_eq!([filled("{n:2}", 99), filled("{n:2}", 100), filled("{n:2}", 101)], ["99", "00", "01"]);
    }

    #[test]
    fn other_places_are_mistakes() {
        for text in ["{m}", "{n:}", "{n:0}", "{n:16}", "{n:x}", "{", "a{n", "{}", "{n:-1}", "{n: 4}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
