//! A parcel in the Common Event Format, one line: for collectors of security events that read nothing else.

use std::fmt::Write;

use super::Parcel;
use crate::limits::SYSLOG_VALUE_CHARS_MAX;

/// Longest text of a message, in characters, as the format has it.
const TEXT_CHARS_MAX: usize = 1023;
/// Longest name of an event.
const NAME_CHARS_MAX: usize = 512;

/// `CEF:0|Ringfence|Ringfence|VERSION|KIT|SUBJECT|SEVERITY|key=value ...`. `host`: the machine that says it, where it has a
/// name.
pub(super) fn line(parcel: &Parcel, host: Option<&str>) -> String {
    let mut out = format!(
        "CEF:0|Ringfence|Ringfence|{}|{}|{}|{}|",
        header(env!("CARGO_PKG_VERSION")),
        header(&cut(&parcel.kit, SYSLOG_VALUE_CHARS_MAX)),
        header(&cut(&parcel.subject, NAME_CHARS_MAX)),
        severity(parcel)
    );
    let mut field = |name: &str, value: &str, chars_max: usize| {
        if !value.is_empty() {
            let gap = if out.ends_with('|') { "" } else { " " };
            // Writing into a text does not fail.
            write!(out, "{gap}{name}={}", extension(&cut(value, chars_max))).unwrap_or_default();
        }
    };
    let mut short = |name: &str, value: &str| field(name, value, SYSLOG_VALUE_CHARS_MAX);
    short("rt", &parcel.queued.0.to_string());
    short("dvchost", host.unwrap_or_default());
    short("externalId", &parcel.incident);
    short("cat", "incident");
    short("outcome", if parcel.is_end { "ended" } else { "open" });
    short("duser", &parcel.person);
    for (name, label, value) in [
        ("cs1", "delivery", &parcel.name),
        ("cs2", "message", parcel.message.as_ref().unwrap_or(&String::new())),
        ("cs3", "customer", &parcel.customer),
    ] {
        if !value.is_empty() {
            short(name, value);
            short(&format!("{name}Label"), label);
        }
    }
    short("cn1", &parcel.severity.to_string());
    short("cn1Label", "severity");
    if let Some(link) = &parcel.link {
        field("request", link, TEXT_CHARS_MAX);
    }
    field("msg", &parcel.text, TEXT_CHARS_MAX);
    out
}

/// 0 to 10, of ours of 1 to 4; the end of an incident alarms nobody.
fn severity(parcel: &Parcel) -> u8 {
    match parcel.severity {
        _ if parcel.is_end => 2,
        1 => 10,
        2 => 8,
        3 => 5,
        _ => 3,
    }
}

/// At most so many characters; `...` says that more stood there.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(chars_max.saturating_sub(3)).collect();
    kept.push_str("...");
    kept
}

/// A bar and a backslash say what they are; no line ends in a header.
fn header(text: &str) -> String {
    escaped(text, |c| match c {
        '|' => Some("\\|"),
        '\\' => Some("\\\\"),
        _ => None,
    })
}

/// An equals sign and a backslash say what they are, and a line may end inside a value.
fn extension(text: &str) -> String {
    escaped(text.trim(), |c| match c {
        '=' => Some("\\="),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        _ => None,
    })
}

fn escaped(text: &str, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match escape(c) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(if c.is_control() { ' ' } else { c }),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Timestamp;

    pub(crate) fn parcel() -> Parcel {
        Parcel {
            name: "DLV-000007".into(),
            customer: "acme".into(),
            incident: "INC-000123".into(),
            message: Some("MSG-000009".into()),
            kit: "confirmed".into(),
            severity: 1,
            is_end: false,
            person: "SOC \"night\" [desk]".into(),
            address: "siem".into(),
            subject: "[INC-000123] Confirmed: calls | fraud".into(),
            text: "Line one = 1\nback\\slash\r\nthe end".into(),
            link: None,
            queued: Timestamp(1_767_225_600_123),
            valid_until: Timestamp(1_767_229_200_000),
        }
    }

    #[test]
    fn a_parcel_is_a_line_with_everything_escaped_where_it_stands() {
        let expected = format!(
            r"CEF:0|Ringfence|Ringfence|{}|confirmed|[INC-000123] Confirmed: calls \| fraud|10|rt=1767225600123 dvchost=rf1 externalId=INC-000123 cat=incident outcome=open duser=SOC {} [desk] cs1=DLV-000007 cs1Label=delivery cs2=MSG-000009 cs2Label=message cs3=acme cs3Label=customer cn1=1 cn1Label=severity msg=Line one \= 1\nback\\slash\r\nthe end",
            env!("CARGO_PKG_VERSION"),
            "\"night\""
        );
        assert_eq!(line(&parcel(), Some("rf1")), expected);
    }

    #[test]
    fn nothing_that_a_text_holds_ends_a_header_or_a_line() {
        let hostile = "a|b\\|c\nd=e\u{0}f|";
        let parcel = Parcel { subject: hostile.into(), kit: hostile.into(), text: hostile.into(), ..parcel() };
        let line = line(&parcel, None);
        assert!(!line.contains('\n') && !line.contains('\u{0}'));
        // Bars that are not escaped: those of the header alone.
        let bare = line.replace("\\\\", "").replace("\\|", "");
        let (head, _) = bare.split_once("rt=").unwrap();
        assert_eq!(head.matches('|').count(), 7, "{line}");
    }

    #[test]
    fn long_texts_are_cut_and_the_end_of_an_incident_is_no_alarm() {
        let parcel = Parcel { text: "\u{e5}".repeat(5_000), is_end: true, ..parcel() };
        let line = line(&parcel, None);
        assert!(line.ends_with("\u{e5}...") && line.chars().count() < 2_000 && line.contains("|2|rt="), "{line}");
    }
}
