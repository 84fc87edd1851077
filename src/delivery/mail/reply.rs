//! Answers of an SMTP server: bytes as they come become an answer, or a stated reason why they are none.
//!
//! The bytes are a stranger's. Whatever they are, they are bounded, and nothing in them is ever taken for more than text.

use crate::limits::{MAIL_REPLY_BYTES_MAX, MAIL_REPLY_CHARS_MAX};

/// One answer, of one line or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// What follows the code, a line each.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// Its text as one line that may be shown and stored, without the code.
    pub(super) fn text(&self) -> String {
        let joined = self.lines.join(" ");
        let plain: String = joined.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words: Vec<&str> = plain.split_whitespace().collect();
        words.join(" ").chars().take(MAIL_REPLY_CHARS_MAX).collect()
    }

    /// The code and the text: `550 5.1.1 no such user`.
    pub(super) fn said(&self) -> String {
        format!("{} {}", self.code, self.text()).trim_end().to_owned()
    }

    pub(super) fn is_positive(&self) -> bool {
        self.code < 300
    }
}

/// Takes the first whole answer out of what came. `None`: there is more to come.
pub(super) fn take(came: &mut Vec<u8>) -> Result<Option<Reply>, String> {
    let mut reply: Option<Reply> = None;
    let mut from = 0;
    while let Some(n) = memchr::memchr(b'\n', came.get(from..).unwrap_or_default()) {
        let line = came.get(from..from + n).unwrap_or_default();
        from += n + 1;
        let (code, is_last, text) = line_of(line)?;
        let reply = reply.get_or_insert(Reply { code, lines: Vec::new() });
        if reply.code != code {
            return Err(format!("an answer that is {} and {code} at once", reply.code));
        }
        reply.lines.push(text);
        if is_last {
            let whole = reply.clone();
            came.drain(..from);
            return Ok(Some(whole));
        }
    }
    match came.len() > MAIL_REPLY_BYTES_MAX {
        true => Err(format!("an answer of more than {MAIL_REPLY_BYTES_MAX} bytes")),
        false => Ok(None),
    }
}

/// `250-SIZE` and `250 ok`: the code, whether no other line follows, the text.
fn line_of(line: &[u8]) -> Result<(u16, bool, String), String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let strange = || format!("an answer that is none of SMTP: {:?}", start_of(line));
    let (digits, rest) = line.split_at_checked(3).ok_or_else(strange)?;
    let code = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    let code: u16 = code.and_then(|d| d.parse().ok()).filter(|c| (200..600).contains(c)).ok_or_else(strange)?;
    let is_last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return Err(strange()),
    };
    Ok((code, is_last, String::from_utf8_lossy(rest.get(1..).unwrap_or_default()).into_owned()))
}

fn start_of(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take_all(bytes: &[u8]) -> Vec<Result<Option<Reply>, String>> {
        let mut came = bytes.to_vec();
        let mut found = Vec::new();
        loop {
            let reply = take(&mut came);
            let goes_on = matches!(reply, Ok(Some(_)));
            found.push(reply);
            if !goes_on {
                return found;
            }
        }
    }

    #[test]
    fn an_answer_has_a_code_and_lines_and_what_follows_it_stays() {
        let mut came = b"250-mx.example\r\n250-SIZE 1000\r\n250 HELP\r\n354".to_vec();
        let reply = take(&mut came).expect("an answer").expect("a whole one");
        assert_eq!(reply, Reply { code: 250, lines: ["mx.example", "SIZE 1000", "HELP"].map(String::from).to_vec() });
        assert_eq!(came, b"354");
        assert_eq!(take(&mut came), Ok(None));
        let short = take(&mut b"250\n".to_vec()).expect("an answer").expect("a whole one");
        assert_eq!(short.said(), "250");
    }

    #[test]
    fn what_is_no_answer_is_told_with_its_start() {
        for strange in ["HTTP/1.1 400 Bad Request\r\n", "99 no\r\n", "2x0 ok\r\n", "250_ok\r\n", "650 what\r\n", "\r\n"]
        {
            assert!(take(&mut strange.into()).is_err(), "{strange}");
        }
        assert!(take(&mut b"250-a\r\n550 b\r\n".to_vec()).is_err());
    }

    #[test]
    fn an_answer_without_end_is_given_up() {
        assert!(take(&mut vec![b'2'; MAIL_REPLY_BYTES_MAX + 1]).is_err());
        assert!(take(&mut b"250-x\r\n".repeat(MAIL_REPLY_BYTES_MAX / 4)).is_err());
    }

    #[test]
    fn what_is_shown_of_it_is_one_short_line() {
        let reply = Reply { code: 550, lines: vec!["5.1.1 no\u{1b}[31m such".into(), "x".repeat(5_000)] };
        let said = reply.said();
        assert!(said.starts_with("550 5.1.1 no [31m such x"), "{said}");
        assert!(said.chars().count() <= MAIL_REPLY_CHARS_MAX + 4 && !said.contains(char::is_control));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for reply in take_all(&bytes).into_iter().flatten().flatten() {
                prop_assert!((200..600).contains(&reply.code) && !reply.said().contains('\n'));
            }
        }

        #[test]
        fn answers_are_the_same_however_their_bytes_come(cut in 0usize..60) {
            let bytes = b"220 hello\r\n250-a\r\n250-b\r\n250 c\r\n354 go on\r\n";
            let (first, rest) = bytes.split_at(cut.min(bytes.len()));
            let mut came = first.to_vec();
            let mut found = Vec::new();
            while let Ok(Some(reply)) = take(&mut came) { found.push(reply.code) }
            came.extend_from_slice(rest);
            while let Ok(Some(reply)) = take(&mut came) { found.push(reply.code) }
            prop_assert_eq!(found, [220, 250, 354]);
        }
    }
}
