//! Telephone numbers in a text, to keep lists of them off what the public sees and hears.

use std::sync::LazyLock;

use regex::Regex;

/// Digits from which on a row of them can be somebody's number.
const DIGITS_MIN: usize = 7;

/// Dates, times of day and the numbers of incidents and cases have digits and are nobody's.
static OTHER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}:\d{2}(?::\d{2})?\b|\b[A-Z]{2,}-\d+\b").expect("a constant pattern")
});
/// Digits in groups, as people write them.
static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\+?\d(?:[ \-./()\u{a0}]{0,2}\d)*").expect("a constant pattern"));

/// The digits of every telephone number in the text, in its order.
pub(crate) fn numbers(text: &str) -> Vec<String> {
    let text = OTHER.replace_all(text, "|");
    let digits = |found: &str| found.chars().filter(char::is_ascii_digit).collect::<String>();
    NUMBER.find_iter(&text).map(|found| digits(found.as_str())).filter(|d| d.len() >= DIGITS_MIN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_however_they_are_grouped() {
        for (text, found) in [
            ("call +46 70 123 45 67 now", "46701234567"),
            ("(312) 555-0123 or 08-123 45 67", "3125550123 081234567"),
            ("+46701234567, +46701234568", "46701234567 46701234568"),
            ("0046.70.1234567", "0046701234567"),
            ("since 2026-03-02 14:30 and 2026-03-02 15:30", ""),
            ("incident INC-000123456, CASE-1234567", ""),
            ("incident 1 2 3 4 5 6: 12,500,000 calls in 120 minutes", ""),
        ] {
            assert_eq!(numbers(text).join(" "), found, "{text}");
        }
    }
}
