//! How long a text is when it is read aloud.

/// Words a second of an announcement that people follow on a telephone.
const WORDS_PER_SECOND: f64 = 2.5;
/// Longest number that is said as one; longer ones are said digit by digit.
const CARDINAL_DIGITS_MAX: usize = 6;
/// Longest run of capitals that is spelled.
const SPELLED_LETTERS_MAX: usize = 4;

/// Seconds to say a text.
pub fn seconds(text: &str) -> f64 {
    words(text) as f64 / WORDS_PER_SECOND
}

/// Words as they are spoken: `14:30` is two, `+46` is three, `SMS` is three.
pub fn words(text: &str) -> usize {
    let mut n = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let class = Class::of(first);
        let end = rest.find(|c| Class::of(c) != class || class == Class::Sign).unwrap_or(rest.len());
        let end = if class == Class::Sign { first.len_utf8() } else { end };
        let (piece, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        n += match class {
            Class::Digits => number_words(piece),
            Class::Letters => letter_words(piece),
            Class::Sign if first == '+' && after.starts_with(|c: char| c.is_ascii_digit()) => 1,
            // `2,400`: two thousand four hundred.
            Class::Sign if first == ',' && after.starts_with(|c: char| c.is_ascii_digit()) => 1,
            Class::Sign if matches!(first, '%' | '&' | '=' | '@' | '/' | '€' | '$' | '£') => 1,
            Class::Sign => 0,
        };
        rest = after;
    }
    n
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Digits,
    Letters,
    Sign,
}

impl Class {
    fn of(c: char) -> Class {
        match c {
            c if c.is_ascii_digit() => Class::Digits,
            c if c.is_alphanumeric() || c == '\'' || c == '’' => Class::Letters,
            _ => Class::Sign,
        }
    }
}

fn letter_words(piece: &str) -> usize {
    let n = piece.chars().count();
    let is_spelled = (2..=SPELLED_LETTERS_MAX).contains(&n) && piece.chars().all(char::is_uppercase);
    if is_spelled { n } else { 1 }
}

fn number_words(digits: &str) -> usize {
    let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
    match digits.parse::<usize>() {
        Ok(n) if digits.len() <= CARDINAL_DIGITS_MAX && !has_leading_zero => cardinal(n),
        _ => digits.len(),
    }
}

fn cardinal(n: usize) -> usize {
    let rest = |n: usize| if n == 0 { 0 } else { cardinal(n) };
    match n {
        0..=20 => 1,
        21..=99 => 1 + rest(n % 10),
        100..=999 => 2 + rest(n % 100),
        _ => cardinal(n / 1000) + 1 + rest(n % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_count_as_they_are_said() {
        for (text, n) in [
            ("", 0),
            ("Calls abroad may fail.", 4),
            ("14:30", 2),
            ("at 9:05", 4),
            ("incident 1 2 3", 4),
            ("123", 4),
            ("2,400 calls", 5),
            ("+46701234567", 12),
            ("100 %", 3),
            ("an SMS", 4),
            ("we don't know", 3),
            ("Zürich", 1),
        ] {
            assert_eq!(words(text), n, "{text}");
        }
        assert_eq!(seconds(&"word ".repeat(50)), 20.0);
    }
}
