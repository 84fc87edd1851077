//! Compiled conditions: what `when` and `where` mean for one event.
//!
//! A [`Predicate`] is evaluated once an event and rule, so it allocates nothing, takes no lock but that of a
//! customer's name, and compares bytes and integers. What rules say of absent fields is decided here: every
//! positive test is false of one, so that its negation is true.

use std::sync::Arc;

use regex::bytes::Regex;

use super::ast::{Affix, Comparison};
use super::dynamic::Probe;
use super::{DynamicKind, DynamicLists, ListContent, Policy};
use crate::calendar::LocalClock;
use crate::event::{Batch, CallEvent, CustomerId, Field, Flags, Names, Number, NumberPattern, NumberRange, Which};

pub use super::address_set::{AddressRange, AddressSet};
pub use super::country_set::CountrySet;
pub use super::operand::{Operand, Value, write_value};
pub use super::text_set::TextSet;

/// What a predicate may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub event: &'a CallEvent,
    pub batch: &'a Batch,
    pub policy: &'a Policy,
    pub names: &'a Names,
    pub dynamic: &'a DynamicLists,
}

/// A condition of the rule language, typed and resolved.
#[derive(Debug)]
pub enum Predicate {
    Always,
    Not(Box<Predicate>),
    /// `and`
    All(Box<[Predicate]>),
    /// `or`, and sets of unlike items.
    Any(Box<[Predicate]>),
    Flag(Flag),
    Present(Operand),
    /// Enums: bit i of `mask` is the word of value i.
    Words {
        field: Field,
        mask: u16,
    },
    Country(Which, CountrySet),
    /// One number or pattern.
    Number(Operand, NumberPattern),
    /// E.164 numbers from one to another of the same length. Of equal lengths the bits are in the numbers' order.
    NumberSpan(Operand, Number, Number),
    /// Any other range: of short codes.
    NumberRange(Operand, NumberRange),
    /// Exact numbers, sorted by their bits.
    NumberOf(Operand, Box<[Number]>),
    /// Inside one of the ranges, both ends included: integers, ms, 1/10,000, and on `clock` minutes, days.
    Within {
        operand: Operand,
        clock: Option<Arc<LocalClock>>,
        ranges: Box<[(i64, i64)]>,
    },
    Address(AddressSet),
    /// One of the texts, sorted.
    Text(Operand, Box<[Box<[u8]>]>),
    /// A pattern found in the text; `contains` and its like are compiled to one as well.
    Matches(Operand, Regex),
    /// Begins or ends so; ASCII in lower case.
    Affix(Operand, Affix, Box<[u8]>),
    /// Index into [`Policy::lists`].
    List(Operand, usize),
    /// The texts of a list, looked for inside the field.
    ListAffix(Operand, Affix, usize),
    /// Two fields.
    Compare {
        left: Operand,
        operator: Comparison,
        right: Operand,
        clock: Option<Arc<LocalClock>>,
    },
    /// `after`: another rule was violated lately with the same values; index into [`Policy::lists`].
    After {
        list: usize,
        same: Box<[Operand]>,
    },
    /// `during`, or `outside`; index into [`Policy::calendars`].
    Schedule {
        calendar: usize,
        inside: bool,
    },
}

/// A field that is yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    Answered,
    Anonymous,
    AuthFailed,
}

impl Flag {
    pub(super) fn of(field: Field) -> Option<Flag> {
        match field {
            Field::Answered => Some(Flag::Answered),
            Field::Anonymous => Some(Flag::Anonymous),
            Field::AuthFailed => Some(Flag::AuthFailed),
            _ => None,
        }
    }

    pub(super) fn get(self, event: &CallEvent) -> bool {
        match self {
            Flag::Answered => event.answered(),
            Flag::Anonymous => event.flags.has(Flags::ANONYMOUS),
            Flag::AuthFailed => event.flags.has(Flags::AUTH_FAILED),
        }
    }
}

impl Predicate {
    /// Recursion is bounded by the depth the parser and the macros allow.
    pub fn eval(&self, view: &View<'_>) -> bool {
        match self {
            Predicate::Always => true,
            Predicate::Not(inner) => !inner.eval(view),
            Predicate::All(parts) => parts.iter().all(|p| p.eval(view)),
            Predicate::Any(parts) => parts.iter().any(|p| p.eval(view)),
            Predicate::After { list, same } => follows(*list, same, view),
            Predicate::Flag(flag) => flag.get(view.event),
            Predicate::Present(operand) => operand.is_present(view),
            Predicate::Words { field, mask } => super::operand::word(*field, view).is_some_and(|w| mask >> w & 1 != 0),
            Predicate::Country(which, set) => {
                super::operand::country(*which, view).is_some_and(|c| set.contains(c, view.event.time))
            }
            Predicate::Number(operand, pattern) => operand.number(view).is_some_and(|n| pattern.matches(n)),
            Predicate::NumberSpan(operand, low, high) => operand
                .number(view)
                .is_some_and(|n| *low <= n && n <= *high && n.digits().map(|d| d.1) == low.digits().map(|d| d.1)),
            Predicate::NumberRange(operand, range) => operand.number(view).is_some_and(|n| range.contains(n)),
            Predicate::NumberOf(operand, numbers) => {
                operand.number(view).is_some_and(|n| numbers.binary_search(&n).is_ok())
            }
            Predicate::Within { operand, clock, ranges } => operand
                .integer(view, clock.as_deref())
                .is_some_and(|v| ranges.iter().any(|(low, high)| *low <= v && v <= *high)),
            Predicate::Address(set) => view.event.source_ip.is_some_and(|ip| set.contains(ip, view.event.time)),
            Predicate::Text(operand, texts) => operand
                .with_text(view, |text| texts.binary_search_by(|t| t.as_ref().cmp(text)).is_ok())
                .unwrap_or(false),
            Predicate::Matches(operand, regex) => operand.with_text(view, |t| regex.is_match(t)).unwrap_or(false),
            Predicate::Affix(operand, affix, wanted) => {
                operand.with_text(view, |text| affix_matches(text, *affix, wanted)).unwrap_or(false)
            }
            Predicate::List(operand, list) => listed(operand, *list, view),
            Predicate::ListAffix(operand, affix, list) => match view.policy.lists.get(*list).map(|l| &l.content) {
                Some(ListContent::Texts(set)) => {
                    operand.with_text(view, |text| set.matches(*affix, text, view.event.time)).unwrap_or(false)
                }
                _ => false,
            },
            Predicate::Compare { left, operator, right, clock } => {
                compare(left, *operator, right, clock.as_deref(), view)
            }
            Predicate::Schedule { calendar, inside } => {
                view.policy.calendars.get(*calendar).is_some_and(|c| c.is_open(view.event.call_start()) == *inside)
            }
        }
    }

    /// Does the answer depend on a list, of whatever kind?
    pub fn uses_list(&self) -> bool {
        self.any_list(&mut |_| true)
    }

    /// Does the answer depend on a list that thresholds fill? `is_dynamic` knows by the list's index.
    pub fn uses_dynamic(&self, is_dynamic: &dyn Fn(usize) -> bool) -> bool {
        self.any_list(&mut |list| is_dynamic(list))
    }

    /// Visits the index of every list until one is `wanted`.
    pub fn any_list(&self, wanted: &mut dyn FnMut(usize) -> bool) -> bool {
        match self {
            Predicate::Not(inner) => inner.any_list(wanted),
            Predicate::All(parts) | Predicate::Any(parts) => parts.iter().any(|p| p.any_list(wanted)),
            Predicate::List(_, list) | Predicate::ListAffix(_, _, list) | Predicate::After { list, .. } => {
                wanted(*list)
            }
            _ => false,
        }
    }

    /// The list of `after` and what of an event is looked for there.
    pub fn after(&self) -> Option<(usize, &[Operand])> {
        match self {
            Predicate::After { list, same } => Some((*list, same)),
            Predicate::All(parts) => parts.iter().find_map(Predicate::after),
            _ => None,
        }
    }

    /// The tests of membership in a list: what is looked up, and the list's index.
    pub fn list_tests<'p>(&'p self, found: &mut Vec<(&'p Operand, usize)>) {
        match self {
            Predicate::Not(inner) => inner.list_tests(found),
            Predicate::All(parts) | Predicate::Any(parts) => parts.iter().for_each(|p| p.list_tests(found)),
            Predicate::List(operand, list) => found.push((operand, *list)),
            _ => {}
        }
    }

    /// Both must hold; what always holds adds nothing.
    pub fn and(self, other: Predicate) -> Predicate {
        match (self, other) {
            (Predicate::Always, only) | (only, Predicate::Always) => only,
            (a, b) => Predicate::All([a, b].into()),
        }
    }
}

pub(super) fn affix_matches(text: &[u8], affix: Affix, wanted: &[u8]) -> bool {
    let part = match affix {
        Affix::Starts => text.get(..wanted.len()),
        Affix::Ends => text.len().checked_sub(wanted.len()).and_then(|at| text.get(at..)),
        Affix::Contains => return text.windows(wanted.len().max(1)).any(|w| w.eq_ignore_ascii_case(wanted)),
    };
    part.is_some_and(|p| p.eq_ignore_ascii_case(wanted))
}

fn listed(operand: &Operand, list: usize, view: &View<'_>) -> bool {
    let Some(content) = view.policy.lists.get(list).map(|l| &l.content) else { return false };
    let at = view.event.time;
    match content {
        ListContent::Numbers(set) => {
            let is_own = view.policy.own_numbers == Some(list);
            let own = if is_own { view.policy.customers_own(view) } else { None };
            operand.number(view).is_some_and(|n| own.unwrap_or(set).contains(n, at))
        }
        ListContent::Texts(set) => operand.with_text(view, |text| set.contains(text, at)).unwrap_or(false),
        ListContent::Addresses(set) => view.event.source_ip.is_some_and(|ip| set.contains(ip, at)),
        ListContent::Countries(set) => match operand {
            Operand::Field(Field::Country(which)) => {
                super::operand::country(*which, view).is_some_and(|c| set.contains(c, at))
            }
            _ => false,
        },
        ListContent::Dynamic(kind) => dynamically(operand, *kind, list, view),
    }
}

fn dynamically(operand: &Operand, kind: DynamicKind, list: usize, view: &View<'_>) -> bool {
    let holds = |probe: Probe<'_>| view.dynamic.holds(list, probe, view.event.time);
    match kind {
        DynamicKind::Addresses => view.event.source_ip.is_some_and(|ip| holds(Probe::Address(ip))),
        DynamicKind::Texts => operand.with_text(view, |text| holds(Probe::Text(text))).unwrap_or(false),
        DynamicKind::Numbers => match operand.value(view) {
            Some(Value::Number(number, text)) if number.is_text() => holds(Probe::Text(text)),
            Some(Value::Number(number, _) | Value::Prefix(number)) => {
                // A prefix on the list may cover a number that itself never may be there.
                let whole = match operand {
                    Operand::Field(Field::Party(which)) | Operand::Prefix(Field::Party(which), _) => {
                        view.event.party(*which).number
                    }
                    _ => number,
                };
                holds(Probe::Number(number)) && !view.policy.is_protected(whole, view)
            }
            _ => false,
        },
    }
}

fn compare(left: &Operand, operator: Comparison, right: &Operand, clock: Option<&LocalClock>, view: &View<'_>) -> bool {
    let ordered = |holds: fn(&i64, &i64) -> bool| match (left.integer(view, clock), right.integer(view, clock)) {
        (Some(a), Some(b)) => holds(&a, &b),
        _ => false,
    };
    let equal = || match (left.value(view), right.value(view)) {
        (Some(a), Some(b)) => a.equals(&b),
        _ => false,
    };
    match operator {
        Comparison::Equal => equal(),
        Comparison::NotEqual => !equal(),
        Comparison::Below => ordered(i64::lt),
        Comparison::AtMost => ordered(i64::le),
        Comparison::Above => ordered(i64::gt),
        Comparison::AtLeast => ordered(i64::ge),
    }
}

/// Ends one value among several: control characters stand in none.
const VALUE_END: u8 = 0x1f;

/// What a violation notes for the rules that follow it, and they look for: whose it is, and the values they share.
pub(crate) fn chained<'t>(customer: CustomerId, values: impl Iterator<Item = &'t str>) -> Vec<u8> {
    let mut noted = customer.0.to_le_bytes().to_vec();
    for value in values {
        noted.extend_from_slice(value.as_bytes());
        noted.push(VALUE_END);
    }
    noted
}

fn follows(list: usize, same: &[Operand], view: &View<'_>) -> bool {
    let noted = sought(same, view);
    noted.is_some_and(|noted| view.dynamic.holds(list, Probe::Text(&noted), view.event.time))
}

/// What of an event a rule with `after` looks for; `None` where a value is absent.
pub(super) fn sought(same: &[Operand], view: &View<'_>) -> Option<Vec<u8>> {
    let mut noted = chained(view.event.customer, std::iter::empty());
    for operand in same {
        write_value(&operand.value(view)?, &mut noted);
        noted.push(VALUE_END);
    }
    Some(noted)
}
