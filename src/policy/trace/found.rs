//! Which entry of a list a value was found by, and where it stands.

use super::super::ast::Affix;
use super::super::number_set::{EntryRef, NumberSet};
use super::super::operand::country;
use super::super::written::ListPlace;
use super::super::{ListContent, Operand, View, Written};
use super::step::shown;
use crate::event::{Field, Number};

/// How a match on a dynamic list ends: the list itself does not know more.
pub const PUT_BY_A_THRESHOLD: &str = "(put there by a threshold)";

/// Longest comment of an entry that is told.
const COMMENT_CHARS_MAX: usize = 60;

/// `$irsf_ranges "+2235550*" (lists/irsf.csv:118)`. The value is known to be found.
pub(super) fn entry(
    operand: &Operand,
    list: usize,
    affix: Option<Affix>,
    view: &View<'_>,
    written: &Written,
) -> String {
    let Some(found) = view.policy.lists.get(list) else { return String::new() };
    let (name, at) = (&found.name, view.event.time);
    let value = || shown(operand, view).unwrap_or_default();
    let plain = |entry: &str| format!("${name} \"{}\" ({})", entry.trim_matches('"'), place(written, list, None));
    match &found.content {
        ListContent::Numbers(set) => {
            let is_own = view.policy.own_numbers == Some(list);
            let own = if is_own { view.policy.customers_own(view) } else { None };
            let number = operand.number(view).unwrap_or(Number::ABSENT);
            match own {
                Some(own) => {
                    let customer = view.names.customer_text(view.event.customer);
                    of_numbers(name, own, number, view, |_| format!("customers/{customer}.toml"))
                }
                None => of_numbers(name, set, number, view, |note| place(written, list, Some(note))),
            }
        }
        ListContent::Texts(set) => {
            let inside = affix.and_then(|affix| {
                operand
                    .with_text(view, |text| set.found(affix, text, at).map(|t| String::from_utf8_lossy(t).into_owned()))
            });
            match inside.flatten() {
                Some(entry) => plain(&entry),
                None => plain(&value()),
            }
        }
        ListContent::Addresses(set) => match view.event.source_ip.and_then(|ip| set.entry(ip, at)) {
            Some(range) => plain(&range.to_string()),
            None => plain(&value()),
        },
        ListContent::Countries(_) => match operand {
            Operand::Field(Field::Country(which)) => match country(*which, view) {
                Some(country) => plain(country.as_str()),
                None => plain(&value()),
            },
            _ => plain(&value()),
        },
        ListContent::Dynamic(_) => plain(&value()),
    }
}

fn of_numbers(
    name: &str,
    set: &NumberSet,
    number: Number,
    view: &View<'_>,
    place: impl Fn(&EntryRef<'_>) -> String,
) -> String {
    let Some((entry, note)) = set.entry(number, view.event.time) else { return format!("${name} \"{number}\"") };
    let comment = note.comment.map(|c| c.chars().take(COMMENT_CHARS_MAX).collect::<String>());
    let said: Vec<String> =
        [Some(place(&note)), note.category.map(str::to_owned), comment, note.ticket.map(str::to_owned)]
            .into_iter()
            .flatten()
            .collect();
    format!("${name} \"{entry}\" ({})", said.join("; "))
}

/// `lists/irsf.csv:118`, `ruleset.toml, entry 2`.
fn place(written: &Written, list: usize, note: Option<&EntryRef<'_>>) -> String {
    match (written.place(list), note) {
        (Some(ListPlace::File(path)), Some(note)) => format!("{path}:{}", note.line),
        (Some(ListPlace::Items(path)), Some(note)) => format!("{path}, entry {}", note.line),
        (Some(ListPlace::File(path) | ListPlace::Items(path)), None) => path.clone(),
        (Some(ListPlace::Dynamic), _) => PUT_BY_A_THRESHOLD.trim_matches(['(', ')']).to_owned(),
        (None, _) => "of the rules".to_owned(),
    }
}
