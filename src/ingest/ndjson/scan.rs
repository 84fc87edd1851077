//! A flat scanner of one line of JSON: tokens in place, nothing built, nothing copied but escapes.
//!
//! It works on the whole block and never passes a newline, which JSON allows nowhere inside a token and NDJSON
//! nowhere inside a value; so lines need not be found before they are read.

use crate::event::{Reject, Text};

/// Deepest nesting of a value that is skipped. No gateway nests a tenth of it.
const DEPTH_MAX: u32 = 64;

/// Everything that is no JSON is this.
const BAD: Reject = Reject::Malformed;

pub(crate) struct Scanner<'a> {
    pub(crate) block: &'a [u8],
    pub(crate) at: usize,
}

/// The byte at `at`; a block that ends without a newline reads as if it had one.
#[inline]
pub(crate) fn peek(block: &[u8], at: usize) -> u8 {
    block.get(at).copied().unwrap_or(b'\n')
}

#[inline]
pub(crate) fn skip_space(block: &[u8], mut at: usize) -> usize {
    while matches!(peek(block, at), b' ' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

impl Scanner<'_> {
    pub(crate) fn peek(&self) -> u8 {
        peek(self.block, self.at)
    }

    pub(crate) fn skip_space(&mut self) {
        self.at = skip_space(self.block, self.at);
    }

    /// The text of a string whose opening quote is next; escapes are decoded into `side`.
    pub(crate) fn string(&mut self, side: &mut Vec<u8>) -> Result<Text, Reject> {
        let first = self.at + 1;
        let end = plain_len_from(self.block, first);
        match self.block.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Text { at: first as u32, len: (end - first) as u32 })
            }
            Some(b'\\') => self.escaped(first, end, side),
            _ => Err(BAD),
        }
    }

    /// A string with escapes, the first of which stands at `escape`.
    #[cold]
    fn escaped(&mut self, first: usize, mut escape: usize, side: &mut Vec<u8>) -> Result<Text, Reject> {
        let kept = side.len();
        let mut from = first;
        loop {
            side.extend_from_slice(self.block.get(from..escape).unwrap_or(&[]));
            match self.block.get(escape) {
                Some(b'"') => break,
                Some(b'\\') => {}
                _ => {
                    side.truncate(kept);
                    return Err(BAD);
                }
            }
            let Some((symbol, len)) = unescape(self.block.get(escape..).unwrap_or(&[])) else {
                side.truncate(kept);
                return Err(BAD);
            };
            side.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
            from = escape + len;
            escape = plain_len_from(self.block, from);
        }
        self.at = escape + 1;
        let len = (side.len() - kept) as u32;
        Ok(if len == 0 { Text::ABSENT } else { Text { at: kept as u32 | Text::SIDE, len } })
    }

    /// Takes `word` if it is next.
    pub(crate) fn word(&mut self, word: &[u8]) -> Result<(), Reject> {
        let end = self.at + word.len();
        if self.block.get(self.at..end) != Some(word) {
            return Err(BAD);
        }
        self.at = end;
        Ok(())
    }

    /// Passes over one value of any type.
    pub(crate) fn skip_value(&mut self) -> Result<(), Reject> {
        // One bit a level: 1 in an object.
        let (mut levels, mut depth) = (0u64, 0u32);
        loop {
            self.skip_space();
            match self.peek() {
                open @ (b'{' | b'[') => {
                    if depth == DEPTH_MAX {
                        return Err(BAD);
                    }
                    self.at += 1;
                    self.skip_space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek() != close {
                        depth += 1;
                        levels = levels << 1 | u64::from(open == b'{');
                        if open == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.skip_scalar()?,
            }
            // After a value: close what ends here, or go on to the next member.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.skip_space();
                let in_object = levels & 1 == 1;
                match self.peek() {
                    b',' => {
                        self.at += 1;
                        if in_object {
                            self.skip_space();
                            self.skip_key()?;
                        }
                        break;
                    }
                    b'}' if in_object => {}
                    b']' if !in_object => {}
                    _ => return Err(BAD),
                }
                self.at += 1;
                levels >>= 1;
                depth -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Reject> {
        self.skip_string()?;
        self.skip_space();
        self.word(b":")
    }

    fn skip_scalar(&mut self) -> Result<(), Reject> {
        match self.peek() {
            b'"' => self.skip_string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => {
                let rest = self.block.get(self.at..).unwrap_or(&[]);
                let (_, len) = crate::ingest::value::Decimal::scan(rest).ok_or(BAD)?;
                self.at += len;
                Ok(())
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), Reject> {
        if self.peek() != b'"' {
            return Err(BAD);
        }
        let mut at = self.at + 1;
        loop {
            at = plain_len_from(self.block, at);
            match self.block.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += unescape(self.block.get(at..).unwrap_or(&[])).ok_or(BAD)?.1,
                _ => return Err(BAD),
            }
        }
        self.at = at + 1;
        Ok(())
    }
}

/// How many plain string bytes come first: up to a quote, a backslash or a control byte. `None` where they are more
/// than 15 or fewer than 16 bytes follow; most texts are short and ask for no loop.
#[inline(always)]
pub(super) fn short_plain_len(bytes: &[u8]) -> Option<usize> {
    let both = u128::from_le_bytes(*bytes.first_chunk::<16>()?);
    let found = plain_stops(both as u64);
    if found != 0 {
        return Some((found.trailing_zeros() / 8) as usize);
    }
    let found = plain_stops((both >> 64) as u64);
    (found != 0).then(|| 8 + (found.trailing_zeros() / 8) as usize)
}

/// Where the first quote stands, of the next 16 bytes. For words: what else a text may not hold is in no vocabulary.
#[inline(always)]
pub(super) fn short_word_len(bytes: &[u8]) -> Option<usize> {
    // The top bit of the lowest quote; bits above it may lie.
    let quotes = |bytes: u64| {
        let bytes = bytes ^ each(b'"');
        bytes.wrapping_sub(each(1)) & !bytes & each(0x80)
    };
    let both = u128::from_le_bytes(*bytes.first_chunk::<16>()?);
    let found = quotes(both as u64);
    if found != 0 {
        return Some((found.trailing_zeros() / 8) as usize);
    }
    let found = quotes((both >> 64) as u64);
    (found != 0).then(|| 8 + (found.trailing_zeros() / 8) as usize)
}

/// As [`short_plain_len`], of any length, or up to the end of the block; those before `at` are known to be plain.
#[inline(never)]
pub(super) fn plain_len_from(bytes: &[u8], at: usize) -> usize {
    let (words, _) = bytes.get(at..).unwrap_or(&[]).as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let found = plain_stops(u64::from_le_bytes(*word));
        if found != 0 {
            return at + 8 * n + (found.trailing_zeros() / 8) as usize;
        }
    }
    plain_len_bytewise(bytes, at + 8 * words.len())
}

#[cold]
fn plain_len_bytewise(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}

const fn each(b: u8) -> u64 {
    u64::from_le_bytes([b; 8])
}

/// Sets the top bit of the lowest byte that ends a run of plain bytes; bits above it may lie.
#[inline(always)]
fn plain_stops(bytes: u64) -> u64 {
    // Changing one bit puts the quote, 0x22, just above the control bytes and none between.
    let quote_or_control = (bytes ^ each(0x02)).wrapping_sub(each(0x21));
    let backslash = (bytes ^ each(b'\\')).wrapping_sub(each(1));
    (quote_or_control | backslash) & !bytes & each(0x80)
}

/// The character an escape stands for, and its length in bytes.
fn unescape(bytes: &[u8]) -> Option<(char, usize)> {
    let simple = |c| Some((c, 2));
    match bytes.get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let high = hex4(bytes.get(2..6)?)?;
            if !(0xd800..0xdc00).contains(&high) {
                // A low half without its high half is no character.
                return Some((char::from_u32(high)?, 6));
            }
            if bytes.get(6..8)? != b"\\u" {
                return None;
            }
            let low = hex4(bytes.get(8..12)?)?;
            if !(0xdc00..0xe000).contains(&low) {
                return None;
            }
            Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12))
        }
        _ => None,
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, b| Some(value << 4 | char::from(*b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_their_quote_wherever_it_falls() {
        for len in 0..40 {
            let text = format!("\"{}\"rest of the line", "å".repeat(len / 2) + &"x".repeat(len % 2));
            let mut scanner = Scanner { block: text.as_bytes(), at: 0 };
            let span = scanner.string(&mut Vec::new()).unwrap();
            let bytes = text.as_bytes();
            assert_eq!(&bytes[span.at as usize..][..span.len as usize], &bytes[1..scanner.at - 1]);
            assert!(bytes[scanner.at..].starts_with(b"rest"));
        }
    }

    #[test]
    fn control_bytes_end_no_string() {
        for b in 0..0x20u8 {
            let text = [b"\"abcdefghijk".as_slice(), &[b], b"lmn\""].concat();
            assert_eq!(Scanner { block: &text, at: 0 }.string(&mut Vec::new()), Err(BAD), "{b}");
        }
    }

    #[test]
    fn nesting_is_skipped_to_its_limit_and_refused_past_it() {
        for (depth, fine) in [(1, true), (DEPTH_MAX as usize, true), (DEPTH_MAX as usize + 1, false)] {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            let mut scanner = Scanner { block: text.as_bytes(), at: 0 };
            assert_eq!(scanner.skip_value().is_ok() && scanner.at == text.len(), fine, "{depth}");
        }
    }
}
