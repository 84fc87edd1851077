//! Sets: `==`, `in { ... }` and the text operators, against the type of their field.

use std::ops::Range;

use super::ast::{Affix, Item, Literal, Spanned};
use super::field::Type;
use super::literal::{self, Fault};
use super::predicate::{AddressRange, AddressSet, CountrySet, Predicate};
use super::problem::Problem;
use super::typing::{Typed, Typer, named};
use crate::event::{Field, Number, NumberPattern, NumberRange};

/// Is the field one of the items? Every item is checked, whatever the others are.
pub(super) fn within(typer: &mut Typer<'_>, left: &Typed, items: &[Item]) -> Option<Predicate> {
    let mut any = Vec::new();
    let mut is_whole = true;
    let mut plain: Vec<&Item> = Vec::new();
    for item in items {
        match item {
            Item::List(name) => match typer.list(name, left) {
                Some(list) => any.push(Predicate::List(left.operand.clone(), list)),
                None => is_whole = false,
            },
            other => plain.push(other),
        }
    }
    if !plain.is_empty() {
        match values(typer, left, &plain) {
            Some(found) => any.splice(0..0, found).for_each(drop),
            None => is_whole = false,
        }
    }
    is_whole.then(|| one_of(any))
}

fn one_of(mut any: Vec<Predicate>) -> Predicate {
    match (any.pop(), any.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Predicate::Any(any.into_iter().chain(last).collect()),
    }
}

fn values(typer: &mut Typer<'_>, left: &Typed, items: &[&Item]) -> Option<Vec<Predicate>> {
    let operand = || left.operand.clone();
    match left.ty {
        Type::Number => numbers(typer, left, items),
        Type::Text => {
            let texts = each(typer, left, items, |l| literal::text(l).map(|t| Box::<[u8]>::from(t.as_bytes())))?;
            let mut texts: Vec<Box<[u8]>> = texts;
            texts.sort_unstable();
            texts.dedup();
            Some(vec![Predicate::Text(operand(), texts.into())])
        }
        Type::Word(vocabulary) => {
            let words = vocabulary.words();
            let found = each(typer, left, items, |l| literal::word(l, left.spec.name, &words))?;
            let mask = found.into_iter().fold(0u16, |mask, word| mask | 1 << word);
            Some(vec![Predicate::Words { field: left.spec.field, mask }])
        }
        Type::Country => {
            let found = each(typer, left, items, |l| literal::country(l, left.spec.name))?;
            let mut set = CountrySet::new();
            found.into_iter().for_each(|c| set.insert(c, None));
            match left.spec.field {
                Field::Country(which) => Some(vec![Predicate::Country(which, set)]),
                _ => None,
            }
        }
        Type::Ip => {
            let ranges = ranges(typer, items, literal::address, AddressRange::span)?;
            let ranges = ranges.into_iter().map(|r| (r, None)).collect();
            Some(vec![Predicate::Address(AddressSet::new(ranges))])
        }
        _ => integers(typer, left, items),
    }
}

/// The values of a type that has no ranges.
fn each<T>(
    typer: &mut Typer<'_>,
    left: &Typed,
    items: &[&Item],
    read: impl Fn(&Literal) -> Result<T, Fault>,
) -> Option<Vec<T>> {
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        found.push(match item {
            Item::One(literal) => typer.settle(read(&literal.node), &literal.span),
            _ => typer.report(Problem::error("E044", format!("{} and has no ranges", named(left))), item.span()),
        });
    }
    found.into_iter().collect()
}

/// The values of a type that has ranges; a value alone is a range of one.
fn ranges<T, R>(
    typer: &mut Typer<'_>,
    items: &[&Item],
    read: impl Fn(&Literal) -> Result<T, Fault>,
    join: impl Fn(T, T) -> Result<R, String>,
) -> Option<Vec<R>>
where
    T: Copy,
{
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        let (low, high) = match item {
            Item::One(literal) => {
                let value = typer.settle(read(&literal.node), &literal.span);
                (value, value)
            }
            Item::Range(low, high) => {
                (typer.settle(read(&low.node), &low.span), typer.settle(read(&high.node), &high.span))
            }
            Item::List(_) => (None, None),
        };
        found.push(match (low, high) {
            (Some(low), Some(high)) => match join(low, high) {
                Ok(range) => Some(range),
                Err(why) => typer.report(Problem::error("E052", why), item.span()),
            },
            _ => None,
        });
    }
    found.into_iter().collect()
}

fn integers(typer: &mut Typer<'_>, left: &Typed, items: &[&Item]) -> Option<Vec<Predicate>> {
    // Days and times go round; everything else has a least and a most.
    let wraps = matches!(left.ty, Type::Time | Type::Weekday);
    let join = |low: i64, high: i64| match low <= high {
        true => Ok(vec![(low, high)]),
        false if wraps => Ok(vec![(low, i64::MAX), (i64::MIN, high)]),
        false => Err("the range ends before it begins".to_owned()),
    };
    let found = ranges(typer, items, |l| literal::integer(l, left.ty), join)?;
    let clock = typer.clock_for(left.spec.field);
    let ranges = found.into_iter().flatten().collect();
    Some(vec![Predicate::Within { operand: left.operand.clone(), clock, ranges }])
}

fn numbers(typer: &mut Typer<'_>, left: &Typed, items: &[&Item]) -> Option<Vec<Predicate>> {
    let mut is_whole = true;
    let (mut exact, mut found): (Vec<Number>, Vec<Predicate>) = (Vec::new(), Vec::new());
    for item in items {
        match number_item(typer, item) {
            Some(NumberItem::Pattern(NumberPattern::Exact(number))) => exact.push(number),
            Some(NumberItem::Pattern(pattern)) => found.push(Predicate::Number(left.operand.clone(), pattern)),
            Some(NumberItem::Range(range)) if range.low().is_e164() => {
                found.push(Predicate::NumberSpan(left.operand.clone(), range.low(), range.high()));
            }
            Some(NumberItem::Range(range)) => found.push(Predicate::NumberRange(left.operand.clone(), range)),
            None => is_whole = false,
        }
    }
    exact.sort_unstable();
    exact.dedup();
    match exact.as_slice() {
        [] => {}
        [only] => found.insert(0, Predicate::Number(left.operand.clone(), NumberPattern::Exact(*only))),
        _ => found.insert(0, Predicate::NumberOf(left.operand.clone(), exact.into())),
    }
    is_whole.then_some(found)
}

enum NumberItem {
    Pattern(NumberPattern),
    Range(NumberRange),
}

fn number_item(typer: &mut Typer<'_>, item: &Item) -> Option<NumberItem> {
    match item {
        Item::One(literal) => {
            let pattern = typer.settle(literal::number(&literal.node), &literal.span);
            pattern.map(NumberItem::Pattern)
        }
        Item::Range(low, high) => {
            let low = typer.settle(literal::number(&low.node), &low.span);
            let high = typer.settle(literal::number(&high.node), &high.span);
            match NumberRange::new(low?, high?) {
                Ok(range) => Some(NumberItem::Range(range)),
                Err(why) => typer.report(Problem::error("E052", why.to_string()), item.span()),
            }
        }
        Item::List(_) => None,
    }
}

/// `contains`, `startswith`, `endswith`.
pub(super) fn affix(typer: &mut Typer<'_>, left: &Typed, affix: Affix, items: &[Item]) -> Option<Predicate> {
    match (left.ty, affix) {
        (Type::Text, _) => text_affix(typer, left, affix, items),
        (Type::Number, Affix::Starts) => number_starts(typer, left, items),
        _ => {
            let message = format!("`{}` does not work here: {}", affix.as_str(), named(left));
            let problem = Problem::error("E044", message);
            let problem = match left.ty {
                Type::Number => problem.help(
                    "numbers are matched from their first digit: +4670*, +1???976*; what the gateway wrote is in `.raw`",
                ),
                _ => problem,
            };
            typer.report(problem, left.span.clone())
        }
    }
}

fn number_starts(typer: &mut Typer<'_>, left: &Typed, items: &[Item]) -> Option<Predicate> {
    let found: Vec<Option<Predicate>> = items
        .iter()
        .map(|item| match item {
            Item::One(literal) => {
                let pattern = typer.settle(literal::number_start(&literal.node), &literal.span)?;
                Some(Predicate::Number(left.operand.clone(), pattern))
            }
            _ => {
                let problem = Problem::error("E044", "`startswith` takes the first digits of numbers")
                    .help("use `in` with lists and ranges; a list holds prefixes as +4670*");
                typer.report(problem, item.span())
            }
        })
        .collect();
    found.into_iter().collect::<Option<Vec<_>>>().map(one_of)
}

fn text_affix(typer: &mut Typer<'_>, left: &Typed, affix: Affix, items: &[Item]) -> Option<Predicate> {
    let mut is_whole = true;
    let (mut texts, mut any): (Vec<&str>, Vec<Predicate>) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::One(literal) => match settle_text(typer, literal) {
                Some(text) => texts.push(text),
                None => is_whole = false,
            },
            Item::List(name) => match list_affix(typer, left, affix, name) {
                Some(found) => any.push(found),
                None => is_whole = false,
            },
            Item::Range(..) => {
                is_whole = false;
                typer.report::<()>(Problem::error("E044", "texts have no ranges"), item.span());
            }
        }
    }
    let span = whole(items);
    if !texts.is_empty() {
        match typer.search(left, affix, &texts, &span) {
            Some(found) => any.insert(0, found),
            None => is_whole = false,
        }
    }
    is_whole.then(|| one_of(any))
}

fn settle_text<'l>(typer: &mut Typer<'_>, literal: &'l Spanned<Literal>) -> Option<&'l str> {
    let text = typer.settle(literal::text(&literal.node), &literal.span)?;
    if text.is_empty() {
        let problem =
            Problem::error("E045", "every text contains the empty text").help("to ask for any text, use `is present`");
        return typer.report(problem, literal.span.clone());
    }
    Some(text)
}

fn list_affix(typer: &mut Typer<'_>, left: &Typed, affix: Affix, name: &Spanned<String>) -> Option<Predicate> {
    let list = typer.list(name, left)?;
    if typer.scope.lists.get(list).is_some_and(|l| l.is_dynamic) {
        let message = format!("`{}` does not work with the dynamic list `${}`", affix.as_str(), name.node);
        let problem = Problem::error("E048", message).help("dynamic lists hold whole values: use `in`");
        return typer.report(problem, name.span.clone());
    }
    Some(Predicate::ListAffix(left.operand.clone(), affix, list))
}

fn whole(items: &[Item]) -> Range<usize> {
    let start = items.first().map_or(0, |i| i.span().start);
    start..items.last().map_or(start, |i| i.span().end)
}
