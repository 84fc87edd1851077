//! Bytes to content lines: folded ones put together, each with the number it starts at.

use super::Mistakes;
use crate::limits::{ICAL_LINE_BYTES_MAX, ICAL_LINES_MAX};

/// `NAME;PARAM=VALUE:value`. Names are in upper case; quotes around the values of parameters are gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) name: String,
    params: Vec<(String, String)>,
    pub(super) value: String,
}

impl Line {
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

pub(super) fn unfold(bytes: &[u8], mistakes: &mut Mistakes) -> Vec<Line> {
    let mut lines = Vec::new();
    // A fold may lie within a character, so bytes are put together before they are read as text.
    let mut open: Option<(usize, Vec<u8>)> = None;
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut is_cut = false;
    for (index, raw) in body.split(|b| *b == b'\n').enumerate() {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let number = index + 1;
        match (raw.first(), &mut open) {
            // Some writers put a blank line after every line.
            (None, _) => {}
            (Some(b' ' | b'\t'), Some((at, held))) => {
                let room = ICAL_LINE_BYTES_MAX.saturating_sub(held.len());
                let rest = raw.get(1..).unwrap_or_default();
                if rest.len() > room && !is_cut {
                    mistakes
                        .tell(*at, format!("a line of more than {ICAL_LINE_BYTES_MAX} bytes; the rest was left out"));
                    is_cut = true;
                }
                held.extend(rest.iter().take(room));
            }
            _ => {
                lines.extend(open.take().and_then(|(at, held)| line(at, &held, mistakes)));
                is_cut = raw.len() > ICAL_LINE_BYTES_MAX;
                if is_cut {
                    mistakes.tell(
                        number,
                        format!("a line of more than {ICAL_LINE_BYTES_MAX} bytes; the rest was left out"),
                    );
                }
                open = Some((number, raw.iter().take(ICAL_LINE_BYTES_MAX).copied().collect()));
            }
        }
        if lines.len() >= ICAL_LINES_MAX {
            mistakes.tell(number, format!("more than {ICAL_LINES_MAX} lines; the rest was not read"));
            return lines;
        }
    }
    lines.extend(open.and_then(|(at, held)| line(at, &held, mistakes)));
    lines
}

fn line(number: usize, bytes: &[u8], mistakes: &mut Mistakes) -> Option<Line> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            mistakes.tell(number, "not UTF-8; taken as Latin-1");
            bytes.iter().map(|b| char::from(*b)).collect()
        }
    };
    let parsed = split(number, &text);
    if parsed.is_none() {
        mistakes
            .tell(number, format!("`{}` is no line of iCalendar; expected `NAME:value`", super::event::short(&text)));
    }
    parsed
}

/// Cuts at the first colon outside quotes, and what stands before it at semicolons outside quotes.
fn split(number: usize, text: &str) -> Option<Line> {
    let mut is_quoted = false;
    let outside = |wanted: char| {
        move |c: char| {
            if c == '"' {
                is_quoted = !is_quoted;
            }
            c == wanted && !is_quoted
        }
    };
    let colon = text.find(outside(':'))?;
    let (head, value) = text.split_at(colon);
    let mut parts = head.split(outside(';'));
    let name = parts.next()?.trim().to_ascii_uppercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return None;
    }
    let param = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_uppercase(), value.trim().trim_matches('"').to_owned()))
    };
    let params = parts.filter_map(param).collect();
    Some(Line { number, name, params, value: value.strip_prefix(':').unwrap_or(value).trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<Line>, Mistakes) {
        let mut mistakes = Mistakes::default();
        (unfold(text, &mut mistakes), mistakes)
    }

    #[test]
    fn folded_lines_are_one_even_where_a_character_is_cut() {
        let (lines, mistakes) = read("SUMMARY:F\u{fc}\r\nX:1".as_bytes());
        assert_eq!((lines.len(), mistakes.n), (2, 0));
        let mut cut = b"SUMMARY:F\xc3\r\n \xbcnf\r\n".to_vec();
        cut.extend(b"X:1\r\n");
        let (lines, mistakes) = read(&cut);
        assert_eq!((lines[0].value.as_str(), lines[1].number, mistakes.n), ("F\u{fc}nf", 3, 0));
    }

    #[test]
    fn colons_and_semicolons_in_quotes_do_not_end_a_parameter() {
        let (lines, _) = read(b"dtstart;TZID=\"a;b:c\";VALUE=DATE:20260101");
        assert_eq!(lines[0].name, "DTSTART");
        assert_eq!((lines[0].param("TZID"), lines[0].param("VALUE")), (Some("a;b:c"), Some("DATE")));
        assert_eq!(lines[0].value, "20260101");
    }

    #[test]
    fn what_is_no_line_is_told_with_its_number() {
        let (lines, mistakes) = read(b"A:1\n\nnonsense\nB:caf\xe9\n");
        assert_eq!(lines.iter().map(|l| l.value.as_str()).collect::<Vec<_>>(), ["1", "caf\u{e9}"]);
        assert_eq!(mistakes.kept.iter().map(|m| m.line).collect::<Vec<_>>(), [3, 4]);
    }
}
