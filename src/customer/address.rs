//! Mail addresses and telephone numbers of people, as they stand in files: good ones, or what is wrong with them.

use crate::event::Number;

/// RFC 5321, 4.5.3.1.
const MAIL_BYTES_MAX: usize = 254;
const LOCAL_PART_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;
/// No subscriber's number is shorter, its country code included.
const PHONE_DIGITS_MIN: usize = 7;

/// What keeps `text` from being one mail address that can stand in a header.
pub(super) fn mail_fault(text: &str) -> Option<&'static str> {
    if text.chars().any(|c| matches!(c, '\n' | '\r')) {
        return Some("holds a line break");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("holds a space or a control character");
    }
    if text.len() > MAIL_BYTES_MAX {
        return Some("is too long");
    }
    if !text.is_ascii() {
        return Some("holds letters that not every mail server takes");
    }
    let Some((local, domain)) = text.split_once('@') else { return Some("has no @") };
    if domain.contains('@') {
        return Some("has more than one @");
    }
    let is_local = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let is_dotted = local.split('.').all(|part| !part.is_empty());
    if !is_dotted || local.len() > LOCAL_PART_BYTES_MAX || !local.bytes().all(is_local) {
        return Some("is wrong before the @");
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match domain.contains('.') && domain.split('.').all(is_label) {
        true => None,
        false => Some("is wrong after the @"),
    }
}

/// `+` and the digits of a telephone number, which may be written with spaces, dots, hyphens and brackets.
pub(super) fn phone(text: &str) -> Option<String> {
    let digits: String =
        text.strip_prefix('+')?.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let is_plain = digits.len() >= PHONE_DIGITS_MIN && digits.bytes().all(|b| b.is_ascii_digit());
    let is_number = is_plain && !digits.starts_with('0') && Number::e164(digits.as_bytes()).is_some();
    is_number.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_address_is_one_address_and_nothing_that_breaks_a_header() {
        for good in ["anna.berg@acme.example", "a+b@x-y.co.uk", "o'neil@acme.se"] {
            assert_eq!(mail_fault(good), None, "{good}");
        }
        for (bad, why) in [
            ("anna@acme.se\r\nBcc: all@acme.se", "line break"),
            ("anna@acme.se, bo@acme.se", "space"),
            ("Anna<anna@acme.se>", "before"),
            ("anna", "no @"),
            ("a@b@c.se", "more than one"),
            ("@acme.se", "before"),
            ("a..b@acme.se", "before"),
            ("anna@acme", "after"),
            ("anna@-acme.se", "after"),
            ("anna@acme..se", "after"),
            ("åsa@acme.se", "letters"),
        ] {
            assert!(mail_fault(bad).is_some_and(|fault| fault.contains(why)), "{bad}: {:?}", mail_fault(bad));
        }
        assert!(mail_fault(&format!("{}@acme.se", "x".repeat(65))).is_some());
        assert!(mail_fault(&format!("x@{}.se", "a.".repeat(130))).is_some());
    }

    #[test]
    fn a_telephone_number_starts_with_its_country() {
        assert_eq!(phone("+46 (70) 123-45.67").as_deref(), Some("+46701234567"));
        for bad in ["0701234567", "+0701234567", "+46", "46701234567", "+4670123456a", "", "+", "+46701234567890123"] {
            assert_eq!(phone(bad), None, "{bad}");
        }
    }
}
