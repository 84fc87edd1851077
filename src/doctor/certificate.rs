//! When a certificate ends: the one field of X.509 that the doctor reads. Whether it is any good is for TLS to say.

use crate::clock::{Timestamp, days_from_civil};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which the oldest form does not have.
const VERSION: u8 = 0xa0;

/// `notAfter` of a certificate in DER; `None` where it is no certificate that this understands.
pub(super) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest, VERSION)?.1;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = element(rest, tag)?.1;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, ends) = any(validity)?;
    let (tag, text, _) = element_of(ends)?;
    time(tag, text)
}

/// The contents of an element of this kind, and what is behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = element_of(bytes)?;
    (found == tag).then_some((contents, rest))
}

fn any(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, contents, rest) = element_of(bytes)?;
    Some((contents, rest))
}

fn element_of(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length & 0x80 != 0 {
        let (digits, behind) = rest.split_at_checked(length & 0x7f)?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = behind;
    }
    let (contents, behind) = rest.split_at_checked(length)?;
    Some((*tag, contents, behind))
}

/// `YYMMDDhhmmssZ`, or with four digits of the year.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u32>().ok();
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    is_date.then(|| Timestamp((days_from_civil(year, month, day) * 86_400 + seconds) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_and_no_cut_or_flip_panics() {
        let mut params = rcgen::CertificateParams::new(vec!["x.example".to_owned()]).expect("a name");
        for (year, expected) in [(2031, "2031-05-06T00:00:00.000Z"), (2075, "2075-05-06T00:00:00.000Z")] {
            params.not_after = rcgen::date_time_ymd(year, 5, 6);
            let key = rcgen::KeyPair::generate().expect("a key");
            let der = params.self_signed(&key).expect("signs").der().to_vec();
            assert_eq!(not_after(&der).expect("reads").to_string(), expected);
            for n in 0..der.len() {
                assert_eq!(not_after(&der[..n]), None);
            }
            for bit in 0..der.len() * 8 {
                let mut flipped = der.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                std::hint::black_box(not_after(&flipped));
            }
        }
    }
}
