//! How values are written into requests: percent escapes, base64, and `Authorization: Basic`.

use hyper::header::HeaderValue;

use super::Secret;

/// With all but letters, digits and `-._~` escaped, so that it can stand in any part of an address or form.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `a=1&b=two%20words`: a query or the body of a form.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

/// RFC 4648, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            let letter = ALPHABET.get(index).copied().map_or('=', char::from);
            out.push(if digit as usize <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

/// The value of `Authorization` for a name and a password.
pub(crate) fn basic(user: &str, password: &Secret) -> Result<HeaderValue, String> {
    let both = base64(format!("{user}:{}", password.0).as_bytes());
    let mut value = HeaderValue::try_from(format!("Basic {both}")).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_to_the_last_reserved_character() {
        assert_eq!(escaped("+46 70/å&=#%"), "%2B46%2070%2F%C3%A5%26%3D%23%25");
        assert_eq!(form(&[("to", "+1"), ("a b", "c")]), "to=%2B1&a%20b=c");
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        // The test vectors of RFC 4648.
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_password_does_not_show() {
        let value = basic("Aladdin", &Secret("open sesame".into())).unwrap();
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
