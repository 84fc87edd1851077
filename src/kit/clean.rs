//! Values made harmless on their way into a text: line breaks, controls, what is invisible, what reorders, tags.
//!
//! Every value passes here once, when it enters a form, so no template has to think of it. Kits make plain text; what
//! later carries a form escapes it for its own syntax. What is done here holds even where that is forgotten.

/// A value as one line of at most `chars_max` characters, and whether that cut it. Reads no more of a huge value than
/// it needs.
pub(crate) fn line(text: &str, chars_max: usize) -> (String, bool) {
    let mut out = String::new();
    let mut n = 0;
    let mut is_gap = false;
    let mut last = ' ';
    for c in text.chars().filter(|c| !is_invisible(*c)) {
        if is_space(c) {
            is_gap = n > 0;
            continue;
        }
        let opens_tag = last == '<' && !is_gap && (c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        if n + usize::from(is_gap || opens_tag) >= chars_max {
            return (shortened(&out, chars_max), true);
        }
        if is_gap || opens_tag {
            out.push(' ');
            n += 1;
        }
        out.push(c);
        n += 1;
        is_gap = false;
        last = c;
    }
    (out, false)
}

/// A value of several lines; each is cleaned as [`line()`] does it, and never more than one blank line is left.
pub(crate) fn lines(text: &str, chars_max: usize) -> (String, bool) {
    let mut out = String::new();
    let mut left = chars_max;
    let mut n_blank = 0;
    for part in text.split(['\n', '\u{2028}', '\u{2029}', '\u{85}']) {
        let (clean, is_cut) = line(part, left);
        n_blank = if clean.is_empty() { n_blank + 1 } else { 0 };
        if n_blank < 2 && !(clean.is_empty() && out.is_empty()) {
            out.push_str(&clean);
            out.push('\n');
        }
        left = left.saturating_sub(clean.chars().count() + 1);
        if is_cut {
            return (out.trim_end().to_owned(), true);
        }
    }
    (out.trim_end().to_owned(), false)
}

/// At most `chars_max` characters, cut between words where one ends in the second half; `...` says that more stood
/// there.
pub(crate) fn shortened(text: &str, chars_max: usize) -> String {
    const MORE: &str = "...";
    let room = chars_max.saturating_sub(MORE.len());
    let mut head: String = text.chars().take(room).collect();
    if let Some((words, _)) = head.rsplit_once(' ').filter(|(words, _)| words.chars().count() * 2 >= room) {
        head = words.to_owned();
    }
    format!("{}{}", head.trim_end_matches([' ', ',', ';', ':', '.', '-']), MORE.get(..chars_max.min(3)).unwrap_or(MORE))
}

/// The first character that has no business in a form, line ends allowed or not.
pub(crate) fn unfit(text: &str, has_lines: bool) -> Option<char> {
    text.chars().find(|c| is_invisible(*c) || ((c.is_control() || is_line_end(*c)) && !(has_lines && *c == '\n')))
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_line_end(c)
}

/// Shows as nothing and changes how the rest is read: marks and overrides of direction, joiners, fillers, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line_and_shows_what_is_in_it() {
        for (dirty, clean) in [
            ("Anna\r\nBcc: all@example.com", "Anna Bcc: all@example.com"),
            ("a\u{2028}b\u{85}c\u{b}d\0e", "a b c d e"),
            ("\u{202e}evil\u{202c} \u{200b}name", "evil name"),
            ("<script>alert(1)</script>", "< script>alert(1)< /script>"),
            ("<\u{200b}img src=x>", "< img src=x>"),
            ("  two   words\u{a0}", "two words"),
            ("rate < 3 and > 1", "rate < 3 and > 1"),
        ] {
            assert_eq!(line(dirty, 100), (clean.to_owned(), false), "{dirty:?}");
        }
    }

    #[test]
    fn a_long_value_is_cut_between_words_and_says_so() {
        assert_eq!(line("one two three", 13), ("one two three".to_owned(), false));
        assert_eq!(line("one two three", 12), ("one two...".to_owned(), true));
        assert_eq!(line(&"x".repeat(5_000_000), 10), ("xxxxxxx...".to_owned(), true));
        assert_eq!(line(&"\u{202e}".repeat(5_000_000), 10), (String::new(), false));
        assert_eq!(shortened("abcdef", 2), "..");
        for chars_max in 0..20 {
            assert!(line("a <b cd efgh ijklm nopq", chars_max).0.chars().count() <= chars_max);
        }
    }

    #[test]
    fn lines_of_a_person_are_kept_but_not_their_controls() {
        let (text, is_cut) = lines("\n\nfirst\r\n\n\n\nsecond\u{1b}[2J\n", 100);
        assert_eq!((text.as_str(), is_cut), ("first\n\nsecond [2J", false));
        assert!(lines("first\nsecond", 8).1);
        assert_eq!(unfit("a\nb", true), None);
        assert_eq!(unfit("a\nb", false), Some('\n'));
        assert_eq!(unfit("a\u{2066}b", true), Some('\u{2066}'));
    }
}
