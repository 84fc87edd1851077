//! Edits as they are typed: lines of lists, rules, and keys of rules. Nothing that came with a call goes into one
//! unless it is a number, an address, or a name of plain letters.

use std::net::IpAddr;

use jiff::tz::TimeZone;

use super::watch::operand;
use crate::clock::Timestamp;
use crate::event::{Field, Number};
use crate::incident::Alert;
use crate::policy::Operand;

const DAY_MS: i64 = 86_400_000;

/// How long a block of single numbers lasts, and one of ranges, in days.
pub(super) const DAYS_OF_NUMBERS: i64 = 30;
pub(super) const DAYS_OF_RANGES: i64 = 7;

/// The date so many days from now, on the customer's clock.
pub(super) fn date(now: Timestamp, days: i64, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_millisecond(now.plus_ms(days * DAY_MS).0).unwrap_or_default();
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string()
}

/// One line of a list's file, by its columns.
pub(super) fn list_line(columns: &[String], value: &str, comment: &str, category: &str, expires: &str) -> String {
    let cell = |column: &String| match column.as_str() {
        "value" => value,
        "comment" => comment,
        "category" => category,
        "expires" => expires,
        _ => "",
    };
    // Nothing here has a comma or a quote in it.
    columns.iter().map(cell).collect::<Vec<_>>().join(",")
}

/// A firewall rule that blocks.
pub(super) fn firewall(id: &str, on: Option<&str>, description: &str, when: &str) -> String {
    let on = on.map(|on| format!("on = \"{on}\"\n")).unwrap_or_default();
    format!("\n[[firewall]]\nid = \"{id}\"\ndescription = \"{description}\"\n{on}when = '{when}'\naction = \"block\"\n")
}

/// `{a, b}`
pub(super) fn set<'v>(values: impl Iterator<Item = &'v str>) -> String {
    format!("{{{}}}", values.collect::<Vec<_>>().join(", "))
}

/// A text as the rule language writes it, where it is harmless in a rule file.
pub(super) fn literal(text: &str) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+' | b':');
    (!text.is_empty() && text.bytes().all(is_plain)).then(|| format!("\"{text}\""))
}

/// A number as it is printed.
pub(super) fn number(text: &str) -> Option<Number> {
    Number::e164(text.strip_prefix('+')?.as_bytes())
}

/// The condition that an event has the key of an alert; none where it cannot be written safely.
pub(super) fn has_key(alert: &Alert) -> Option<String> {
    let parts: Option<Vec<String>> = alert.key.iter().map(|(name, value)| has_value(name, value)).collect();
    parts.filter(|parts| !parts.is_empty() && !alert.is_others).map(|parts| parts.join(" and "))
}

fn has_value(name: &str, value: &str) -> Option<String> {
    let is_prefix = |text: &str| text.strip_suffix('*').and_then(|t| t.strip_prefix('+')).is_some_and(is_digits);
    match operand(name)? {
        Operand::Field(field @ Field::Party(_)) => {
            number(value).map(|n| format!("{} == {n}", field.spec().map_or(name, |s| s.name)))
        }
        Operand::Prefix(field @ Field::Party(_), _) => {
            let name = field.spec()?.name;
            match is_prefix(value) {
                true => Some(format!("{name} in {{{value}}}")),
                false => number(value).map(|n| format!("{name} == {n}")),
            }
        }
        Operand::Field(Field::SourceIp) => value.parse::<IpAddr>().ok().map(|ip| format!("source_ip == {ip}")),
        Operand::Field(field @ (Field::Account | Field::Trunk | Field::Extension | Field::Domain | Field::Gateway)) => {
            Some(format!("{} == {}", field.spec()?.name, literal(value)?))
        }
        _ => None,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
