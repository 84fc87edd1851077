//! What header values are made of: comma lists, parameters, quoted strings, integers.
//!
//! Everything here is linear whatever comes: a quote or bracket that is never closed is looked for once, then it is an
//! ordinary byte. White space includes line breaks, since a folded value keeps its folds.

use memchr::memchr2;

/// The entries of a comma list, in order, without white space around them; empty ones are left out.
pub(super) fn items(list: &[u8]) -> Items<'_> {
    Items { rest: list, quotes: true, brackets: true }
}

/// See [`items`].
pub(super) struct Items<'a> {
    rest: &'a [u8],
    /// A quote still may close: none did not before.
    quotes: bool,
    brackets: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = self.item_end();
            let item = self.rest.get(..end).unwrap_or_default().trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

impl Items<'_> {
    /// Place of the first comma outside of quotes and brackets.
    fn item_end(&mut self) -> usize {
        let text = self.rest;
        if memchr::memchr(b',', text).is_none() {
            return text.len();
        }
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            at += match byte {
                b',' => return at,
                b'"' if self.quotes => match closing_quote(text.get(at + 1..).unwrap_or_default()) {
                    Some(len) => len + 2,
                    None => {
                        self.quotes = false;
                        1
                    }
                },
                b'<' if self.brackets => match memchr::memchr(b'>', text.get(at..).unwrap_or_default()) {
                    Some(len) => len + 1,
                    None => {
                        self.brackets = false;
                        1
                    }
                },
                _ => 1,
            };
        }
        text.len()
    }
}

/// Bytes before the quote that closes a string; `text` begins behind the one that opened it.
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// The value of a parameter of `;name=value;...`: without quotes, empty where there is no `=`. The first of its name.
pub(super) fn param<'a>(params: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    separated(params, b';').find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
}

/// Names and values that stand between separators: `;` in parameters, `,` in credentials.
pub(super) fn separated(text: &[u8], separator: u8) -> Pairs<'_> {
    Pairs { rest: text, separator, quotes: true }
}

/// See [`separated`].
pub(super) struct Pairs<'a> {
    rest: &'a [u8],
    separator: u8,
    quotes: bool,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        while !self.rest.is_empty() {
            let (mut at, mut equals) = (0, None);
            while let Some(byte) = self.rest.get(at) {
                at += match byte {
                    b if *b == self.separator => break,
                    b'=' => {
                        equals.get_or_insert(at);
                        1
                    }
                    b'"' if self.quotes => match closing_quote(self.rest.get(at + 1..).unwrap_or_default()) {
                        Some(len) => len + 2,
                        None => {
                            self.quotes = false;
                            1
                        }
                    },
                    _ => 1,
                };
            }
            let pair = self.rest.get(..at).unwrap_or_default();
            self.rest = self.rest.get(at + 1..).unwrap_or_default();
            let name = pair.get(..equals.unwrap_or(pair.len())).unwrap_or_default().trim_ascii();
            if name.is_empty() {
                continue;
            }
            let value = equals.and_then(|at| pair.get(at + 1..)).unwrap_or_default();
            return Some((name, unquoted(value.trim_ascii())));
        }
        None
    }
}

/// Without the quotes around it; escapes stay.
pub(super) fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => text,
    }
}

/// Digits and nothing else, saturating: what overflows stays larger than any limit.
pub(super) fn integer(text: &[u8]) -> Option<u64> {
    let digit = |value: u64, byte: &u8| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(byte & 15)))
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

/// The digits a text begins with, as a port: 0 and what does not fit is none.
pub(super) fn leading_port(text: &[u8]) -> Option<u16> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    integer(text.get(..len)?).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}
