//! How long a text is as SMS: septets of the GSM 7-bit alphabet, or UCS-2 units where one character is not in it.

use serde::Serialize;

/// 3GPP TS 23.038, the default alphabet; one septet each.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension table; each costs an escape and itself.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// What one part holds, and what each of several holds beside its header.
const SEPTETS_ALONE: usize = 160;
const SEPTETS_JOINED: usize = 153;
const UNITS_ALONE: usize = 70;
const UNITS_JOINED: usize = 67;

/// What a text costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SmsLength {
    /// The first character that the GSM alphabet lacks; units are UCS-2 then, septets else.
    pub forces_ucs2: Option<char>,
    pub n_units: usize,
    pub n_parts: usize,
}

impl SmsLength {
    pub fn of(text: &str) -> SmsLength {
        let forces_ucs2 = text.chars().find(|c| septets(*c).is_none());
        let (cost, alone, joined): (fn(char) -> usize, _, _) = match forces_ucs2 {
            Some(_) => (char::len_utf16, UNITS_ALONE, UNITS_JOINED),
            None => (|c| septets(c).unwrap_or(0), SEPTETS_ALONE, SEPTETS_JOINED),
        };
        let n_units: usize = text.chars().map(cost).sum();
        let n_parts = if n_units <= alone { 1 } else { parts(text, cost, joined) };
        SmsLength { forces_ucs2, n_units, n_parts }
    }

    /// What one part of this alphabet holds.
    pub fn n_units_max(&self) -> usize {
        if self.forces_ucs2.is_some() { UNITS_ALONE } else { SEPTETS_ALONE }
    }

    /// `septets` or `UCS-2 units`.
    pub fn unit(&self) -> &'static str {
        if self.forces_ucs2.is_some() { "UCS-2 units" } else { "septets" }
    }
}

/// A character of two units is never divided between parts.
fn parts(text: &str, cost: fn(char) -> usize, joined: usize) -> usize {
    let mut n = 1;
    let mut filled = 0;
    for units in text.chars().map(cost) {
        if filled + units > joined {
            n += 1;
            filled = 0;
        }
        filled += units;
    }
    n
}

fn septets(c: char) -> Option<usize> {
    match c {
        c if BASIC.contains(c) => Some(1),
        c if EXTENSION.contains(c) => Some(2),
        _ => None,
    }
}

/// Letters and signs that have a near one in the alphabet.
const NEAR: &[(&str, &str)] = &[
    ("a", "áâãāăąǎ"),
    ("A", "ÁÀÂÃĀĂĄǍ"),
    ("c", "çćĉċč"),
    ("C", "ĆĈĊČ"),
    ("d", "ďđð"),
    ("D", "ĎĐÐ"),
    ("e", "êëēĕėęě"),
    ("E", "ÈÊËĒĔĖĘĚ"),
    ("g", "ĝğġģ"),
    ("G", "ĜĞĠĢ"),
    ("h", "ĥħ"),
    ("H", "ĤĦ"),
    ("i", "íîïĩīĭįı"),
    ("I", "ÍÌÎÏĨĪĬĮİ"),
    ("j", "ĵ"),
    ("J", "Ĵ"),
    ("k", "ķ"),
    ("K", "Ķ"),
    ("l", "ĺļľł"),
    ("L", "ĹĻĽŁ"),
    ("n", "ńņňŋ"),
    ("N", "ŃŅŇŊ"),
    ("o", "óôõōŏő"),
    ("O", "ÓÒÔÕŌŎŐ"),
    ("oe", "œ"),
    ("OE", "Œ"),
    ("r", "ŕŗř"),
    ("R", "ŔŖŘ"),
    ("s", "śŝşšș"),
    ("S", "ŚŜŞŠȘ"),
    ("t", "ţťŧț"),
    ("T", "ŢŤŦȚ"),
    ("th", "þ"),
    ("Th", "Þ"),
    ("u", "úûũūŭůűų"),
    ("U", "ÚÙÛŨŪŬŮŰŲ"),
    ("w", "ŵ"),
    ("W", "Ŵ"),
    ("y", "ýÿŷ"),
    ("Y", "ÝŶŸ"),
    ("z", "źżž"),
    ("Z", "ŹŻŽ"),
    ("'", "‘’‚‹›´`"),
    ("\"", "“”„«»"),
    ("-", "‐‑‒–—•·−"),
    ("...", "…"),
    ("x", "×"),
    ("->", "→"),
];

/// A value in the letters of the GSM alphabet where they are near: one foreign accent in a name would else make the
/// whole message dearer and shorter. What has no near letter stays.
pub(crate) fn nearest(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match NEAR.iter().find(|(_, letters)| septets(c).is_none() && letters.contains(c)) {
            Some((near, _)) => out.push_str(near),
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (usize, usize, Option<char>) {
        let length = SmsLength::of(text);
        (length.n_units, length.n_parts, length.forces_ucs2)
    }

    #[test]
    fn the_alphabet_has_127_characters_and_ten_more_that_cost_two() {
        // The 128th is the escape to the extension.
        assert_eq!((BASIC.chars().count(), EXTENSION.chars().count()), (127, 10));
        assert_eq!(of("Åsa: 3 > 2"), (10, 1, None));
        assert_eq!(of("[€]"), (6, 1, None));
    }

    #[test]
    fn one_foreign_character_makes_all_of_it_ucs2() {
        assert_eq!(of("Łódź"), (4, 1, Some('Ł')));
        assert_eq!(of(&"😀".repeat(35)), (70, 1, Some('😀')));
        // 67 is odd: the last unit of each part stays empty.
        assert_eq!(of(&"😀".repeat(67)), (134, 3, Some('😀')));
    }

    #[test]
    fn parts_have_room_for_their_headers() {
        assert_eq!(of(&"x".repeat(160)).1, 1);
        assert_eq!(of(&"x".repeat(161)).1, 2);
        assert_eq!(of(&"x".repeat(306)).1, 2);
        assert_eq!(of(&"x".repeat(307)).1, 3);
        assert_eq!(of(&format!("{}€{}", "x".repeat(152), "x".repeat(152))).1, 3);
    }

    #[test]
    fn near_letters_save_the_alphabet_and_far_ones_stay() {
        assert_eq!(nearest("Łódź – “Šiška”…"), "Lodz - \"Siska\"...");
        assert_eq!(nearest("Åsa Ñ à"), "Åsa Ñ à");
        assert_eq!(nearest("Киев"), "Киев");
        for (near, letters) in NEAR {
            assert!(near.chars().all(|c| septets(c).is_some()), "{near}");
            assert!(letters.chars().all(|c| septets(c).is_none()), "{letters}");
        }
    }
}
