//! How a record is wrapped when it is posted: bare, or as the field `cdr` of a form, with percent escapes or in base64.
//!
//! The content says which. Its type does not: FreeSWITCH leaves it out when it is told not to wait for `100 Continue`.

use super::draft::escaped;

/// What the address of a post says of its record, in `uuid=a_...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    A,
    B,
}

/// The record that a body brings. An error says what is wrong with the body.
pub fn unwrap(body: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let begins_record = |text: &[u8]| text.trim_ascii_start().first() == Some(&b'{');
    if begins_record(&body) {
        return Ok(body);
    }
    let mut fields = body.split(|b| *b == b'&').map(<[u8]>::trim_ascii_start);
    let Some(value) = fields.find_map(|field| field.strip_prefix(b"cdr=")) else {
        return Err("neither a JSON object nor a form with the field `cdr`");
    };
    if begins_record(value) {
        // Not escaped at all: what looks like the next field is the record's.
        let at = memchr::memmem::find(&body, b"cdr=").map_or(0, |at| at + 4);
        return Ok(body.get(at..).unwrap_or_default().to_vec());
    }
    let plain = percent_decoded(value, true);
    if begins_record(&plain) {
        return Ok(plain);
    }
    let record = base64(&percent_decoded(value, false)).ok_or("field `cdr` is neither JSON nor base64")?;
    if begins_record(&record) { Ok(record) } else { Err("field `cdr` holds no JSON object") }
}

/// The leg that the query of an address names, by the prefix that FreeSWITCH puts before the channel's id if told to.
pub fn leg_of_query(query: &str) -> Option<Leg> {
    let uuid = query.split('&').find_map(|field| field.strip_prefix("uuid="))?;
    match uuid.split_once('_')? {
        ("a", _) => Some(Leg::A),
        ("b", _) => Some(Leg::B),
        _ => None,
    }
}

fn percent_decoded(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escape = escaped(text.get(at..).unwrap_or(&[]));
        at += if escape.is_some() { 3 } else { 1 };
        plain.push(escape.unwrap_or(if plus_is_space && *byte == b'+' { b' ' } else { *byte }));
    }
    plain
}

/// Base64 of either alphabet. Spaces and line breaks fall away: FreeSWITCH breaks its lines.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut n_bits, mut padded) = (0u32, 0, false);
    for byte in text.iter().filter(|b| !b.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                padded = true;
                continue;
            }
            _ => return None,
        };
        if padded {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits) as u8);
            bits &= (1 << n_bits) - 1;
        }
    }
    // Six bits alone are no byte.
    (n_bits < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"a":"1 + 1 & more%"}"#;

    #[test]
    fn a_record_comes_bare_or_as_a_field_of_a_form_escaped_or_not_or_in_base64() {
        for body in [
            RECORD,
            r#"cdr={"a":"1 + 1 & more%"}"#,
            "cdr=%7B%22a%22%3A%221%20%2B%201%20%26%20more%25%22%7D",
            "uuid=a_1&cdr=%7b%22a%22:%221+%2B+1+%26+more%25%22%7d&x=1",
            "cdr=eyJhIjoiMSArIDEgJiBtb3Jl\nJSJ9\n",
            "cdr=eyJhIjoiMSArIDEgJiBtb3JlJSJ9",
        ] {
            assert_eq!(unwrap(body.into()).map(|r| String::from_utf8(r).unwrap()).as_deref(), Ok(RECORD), "{body}");
        }
    }

    #[test]
    fn any_other_body_is_refused_with_what_is_wrong() {
        for (body, wrong) in [
            ("", "neither"),
            ("[1]", "neither"),
            ("record={}", "neither"),
            ("cdr=", "holds no JSON object"),
            ("cdr=*", "neither JSON nor base64"),
            ("cdr=eyJhI", "neither JSON nor base64"),
            ("cdr=aGVsbG8=", "holds no JSON object"),
        ] {
            let told = unwrap(body.into()).unwrap_err();
            assert!(told.contains(wrong), "{body}: {told}");
        }
    }

    #[test]
    fn base64_of_either_alphabet_is_read_and_a_half_byte_is_none() {
        for (text, bytes) in [("", Some("")), ("Zg==", Some("f")), ("Zm8=", Some("fo")), ("Zm9v", Some("foo"))] {
            assert_eq!(base64(text.as_bytes()).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
        assert_eq!(base64(b"+/-_"), Some(vec![0xfb, 0xff, 0xbf]));
        for text in ["Z", "Zg==Zg", "Z*=="] {
            assert_eq!(base64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_address_names_the_leg_by_the_prefix_of_its_channel() {
        assert_eq!(leg_of_query("uuid=a_3da8bf84-c133"), Some(Leg::A));
        assert_eq!(leg_of_query("x=1&uuid=b_3da8bf84-c133"), Some(Leg::B));
        assert_eq!(leg_of_query("uuid=3da8bf84-c133"), None);
        assert_eq!(leg_of_query(""), None);
    }
}
