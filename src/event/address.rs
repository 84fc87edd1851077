//! The part of a party's address that says who it is: display names, brackets, `tel:` and `sip:` URIs taken off.

use std::ops::Range;

/// Where in the raw bytes the parts stand. Every range ends at ASCII signs, so UTF-8 stays whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    /// Number or user, percent-encoded as it came.
    pub(super) user: Range<usize>,
    /// Empty where there is none.
    pub(super) host: Range<usize>,
    /// Value of `phone-context`; empty where there is none.
    pub(super) context: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    None,
    Tel,
    Sip,
    /// `short:`, as rules and tests write short codes.
    Short,
    /// `urn:service:sos`, `urn:service:sos.fire` (RFC 5031).
    Sos,
}

impl Address {
    pub(super) fn parse(raw: &[u8]) -> Address {
        let inner = trimmed(raw, bracketed(raw));
        let (scheme, rest) = scheme(raw, &inner);
        let nothing = rest.start..rest.start;
        match scheme {
            Scheme::Sos | Scheme::Short => Address { scheme, user: rest, host: nothing.clone(), context: nothing },
            Scheme::Tel => {
                let user = rest.start..find(raw, &rest, |b| b == b';');
                let context = context(raw, user.end..rest.end);
                Address { scheme, user: trimmed(raw, user), host: nothing, context }
            }
            Scheme::Sip | Scheme::None => {
                let at = find(raw, &rest, |b| b == b'@');
                let userinfo = rest.start..at;
                let host = match at < rest.end {
                    true => at + 1..find(raw, &(at + 1..rest.end), |b| matches!(b, b':' | b';' | b'?')),
                    false => nothing,
                };
                let ends = |b| b == b';' || (b == b':' && (scheme == Scheme::Sip || at < rest.end));
                let user = userinfo.start..find(raw, &userinfo, ends);
                // Some write the parameters of a telephone number behind the host.
                let context = context(raw, user.end..rest.end);
                Address { scheme, user: trimmed(raw, user), host, context }
            }
        }
    }
}

/// Inside `<...>`, else inside a quoted string that is all there is, else everything.
fn bracketed(raw: &[u8]) -> Range<usize> {
    let all = trimmed(raw, 0..raw.len());
    let mut from = all.start;
    if raw.get(from) == Some(&b'"') {
        let mut escaped = false;
        let closing = raw.iter().enumerate().skip(from + 1).find_map(|(i, b)| match b {
            _ if escaped => {
                escaped = false;
                None
            }
            b'\\' => {
                escaped = true;
                None
            }
            b'"' => Some(i),
            _ => None,
        });
        match closing {
            Some(end) if end + 1 == all.end => return from + 1..end,
            Some(end) => from = end + 1,
            None => {}
        }
    }
    let open = find(raw, &(from..all.end), |b| b == b'<');
    match open < all.end {
        true => open + 1..find(raw, &(open + 1..all.end), |b| b == b'>'),
        false => from..all.end,
    }
}

fn scheme(raw: &[u8], inner: &Range<usize>) -> (Scheme, Range<usize>) {
    let text = raw.get(inner.clone()).unwrap_or(&[]);
    let begins = |prefix: &[u8]| text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    let sos = b"urn:service:sos";
    if begins(sos) && matches!(text.get(sos.len()), None | Some(b'.' | b';')) {
        return (Scheme::Sos, inner.clone());
    }
    let known: [(&[u8], Scheme); 4] =
        [(b"sip:", Scheme::Sip), (b"tel:", Scheme::Tel), (b"sips:", Scheme::Sip), (b"short:", Scheme::Short)];
    let found = known.into_iter().find(|(prefix, _)| begins(prefix));
    let (prefix, scheme) = found.unwrap_or((b"", Scheme::None));
    (scheme, trimmed(raw, inner.start + prefix.len()..inner.end))
}

/// Value of `;phone-context=` in the parameters.
fn context(raw: &[u8], params: Range<usize>) -> Range<usize> {
    const NAME: &[u8] = b";phone-context=";
    let text = raw.get(params.clone()).unwrap_or(&[]);
    let found = text.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME));
    let Some(at) = found else { return params.start..params.start };
    let start = params.start + at + NAME.len();
    start..find(raw, &(start..params.end), |b| matches!(b, b';' | b'@' | b'?' | b'>'))
}

/// Place of the first byte of the range that fits, else the range's end.
fn find(raw: &[u8], range: &Range<usize>, fits: impl Fn(u8) -> bool) -> usize {
    let text = raw.get(range.clone()).unwrap_or(&[]);
    range.start + text.iter().position(|b| fits(*b)).unwrap_or(text.len())
}

fn trimmed(raw: &[u8], range: Range<usize>) -> Range<usize> {
    let text = raw.get(range.clone()).unwrap_or(&[]);
    let start = range.start + (text.len() - text.trim_ascii_start().len());
    start..start + text.trim_ascii().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scheme user host context`
    fn parts(raw: &str) -> String {
        let a = Address::parse(raw.as_bytes());
        let text = |range: Range<usize>| raw.get(range).unwrap();
        format!("{:?} [{}] [{}] [{}]", a.scheme, text(a.user), text(a.host), text(a.context))
    }

    #[test]
    fn uris_and_display_names_are_taken_off() {
        assert_eq!(parts("+46701234567"), "None [+46701234567] [] []");
        assert_eq!(parts(r#""Bob" <sip:+4670@x.se:5060;user=phone>;tag=1"#), "Sip [+4670] [x.se] []");
        assert_eq!(parts(r#""B <o> \"b" <sips:bob:secret@x>"#), "Sip [bob] [x] []");
        assert_eq!(parts("Bob Smith <2001>"), "None [2001] [] []");
        assert_eq!(parts(r#""2001""#), "None [2001] [] []");
        assert_eq!(parts(r#""" <>"#), "None [] [] []");
        assert_eq!(parts(" TEL:+46-8-40 ;ext=1 "), "Tel [+46-8-40] [] []");
        assert_eq!(parts("tel:7042;isub=1;phone-context=+46"), "Tel [7042] [] [+46]");
        assert_eq!(parts("sip:0701;Phone-Context=+46@x;user=phone"), "Sip [0701] [x] [+46]");
        assert_eq!(parts("sip:0701@x;phone-context=+46;a=b"), "Sip [0701] [x] [+46]");
        assert_eq!(parts("alice@example.com"), "None [alice] [example.com] []");
        assert_eq!(parts("sip:[2001:db8::1]:5060"), "Sip [[2001] [] []");
        assert_eq!(parts("urn:service:sos.fire"), "Sos [urn:service:sos.fire] [] []");
        assert_eq!(parts("urn:service:sosx"), "None [urn:service:sosx] [] []");
        assert_eq!(parts("short:*21#"), "Short [*21#] [] []");
        assert_eq!(parts("\"unclosed <sip:1@x"), "Sip [1] [x] []");
        assert_eq!(parts("<"), "None [] [] []");
    }
}
