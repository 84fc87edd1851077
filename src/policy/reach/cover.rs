//! Does one condition follow from another? Yes only where that is certain.
//!
//! Conditions become `and`, `or` and tests, with every `not` at a test. A test is a field and a set of values; what is
//! no set (comparing two fields, lists that change by themselves) is compared as it is written.

use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::Regex;

use super::super::ast::Affix;
use super::super::field::Type;
use super::super::predicate::{CountrySet, Flag, Predicate, affix_matches};
use super::numbers::Numbers;
use super::spans::Spans;
use crate::event::Field;

/// Ways of being true in which a condition is taken apart.
const CASES_MAX: usize = 64;

/// Small numbers for what is compared often: fields, and tests as they are written.
#[derive(Default)]
pub(super) struct Names(HashMap<String, u32>);

impl Names {
    fn of(&mut self, text: String) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(text).or_insert(next)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// All of them; of none: always.
    All(Vec<Condition>),
    /// One of them; of none: never.
    Any(Vec<Condition>),
    Test(Test),
}

/// A field has one of some values, or has not; an absent one has none.
#[derive(Clone, Debug)]
pub(super) struct Test {
    is_positive: bool,
    subject: u32,
    set: Set,
}

#[derive(Clone, Debug)]
enum Set {
    /// Any value at all.
    Present,
    /// The words that are meant, and all there are.
    Words(u16, u16),
    Countries(Arc<CountrySet>),
    Numbers(Arc<Numbers>),
    Integers(Arc<Spans>),
    Texts(Arc<[Box<[u8]>]>),
    Affix(Affix, Arc<[u8]>),
    Pattern(Regex),
    /// Only the same as itself.
    Written(u32),
}

impl Condition {
    pub(super) fn of(predicate: &Predicate, names: &mut Names) -> Condition {
        read(predicate, true, names)
    }

    pub(super) fn any(parts: Vec<Condition>) -> Condition {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Condition::Any(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        Condition::Any(flat)
    }

    fn all(parts: Vec<Condition>) -> Condition {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Condition::All(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        Condition::All(flat)
    }
}

/// `not` is carried down to the tests.
fn read(predicate: &Predicate, is_positive: bool, names: &mut Names) -> Condition {
    match predicate {
        Predicate::Always if is_positive => Condition::All(Vec::new()),
        Predicate::Always => Condition::Any(Vec::new()),
        Predicate::Not(inner) => read(inner, !is_positive, names),
        Predicate::All(parts) | Predicate::Any(parts) => {
            let parts = parts.iter().map(|part| read(part, is_positive, names)).collect();
            match matches!(predicate, Predicate::All(_)) == is_positive {
                true => Condition::all(parts),
                false => Condition::any(parts),
            }
        }
        test => Condition::Test(read_test(test, is_positive, names)),
    }
}

fn read_test(predicate: &Predicate, is_positive: bool, names: &mut Names) -> Test {
    let (subject, set) = match predicate {
        Predicate::Present(operand) => (format!("{operand:?}"), Set::Present),
        Predicate::Words { field, mask } => {
            return words(*field, *mask, is_positive, names);
        }
        Predicate::Flag(flag) => {
            let field = match flag {
                Flag::Answered => Field::Answered,
                Flag::Anonymous => Field::Anonymous,
                Flag::AuthFailed => Field::AuthFailed,
            };
            return words(field, 0b10, is_positive, names);
        }
        Predicate::Schedule { calendar, inside } => {
            // A calendar is open or it is not.
            let mask = if *inside == is_positive { 0b10 } else { 0b01 };
            let subject = names.of(format!("calendar {calendar}"));
            return Test { is_positive: true, subject, set: Set::Words(mask, 0b11) };
        }
        Predicate::Country(which, set) if set.is_lasting() => {
            (format!("{:?}", super::super::Operand::Field(Field::Country(*which))), Set::Countries(set.clone().into()))
        }
        Predicate::Number(operand, pattern) => (format!("{operand:?}"), Set::Numbers(Numbers::pattern(pattern).into())),
        Predicate::NumberSpan(operand, low, high) => match Numbers::between(*low, *high) {
            Some(numbers) => (format!("{operand:?}"), Set::Numbers(numbers.into())),
            None => (format!("{operand:?}"), Set::Written(names.of(format!("{predicate:?}")))),
        },
        Predicate::NumberRange(operand, range) => (format!("{operand:?}"), Set::Numbers(Numbers::range(range).into())),
        Predicate::NumberOf(operand, numbers) => {
            let all = numbers.iter().map(|number| Numbers::exact(*number));
            (format!("{operand:?}"), Set::Numbers(all.fold(Numbers::default(), |all, one| all.union(&one)).into()))
        }
        Predicate::Within { operand, ranges, .. } => {
            (format!("{operand:?}"), Set::Integers(Spans::signed(ranges).into()))
        }
        Predicate::Address(set) => {
            let operand = super::super::Operand::Field(Field::SourceIp);
            match set.lasting_spans() {
                Some(spans) => (format!("{operand:?}"), Set::Integers(Spans::new(spans).into())),
                None => (format!("{operand:?}"), Set::Written(names.of(format!("{predicate:?}")))),
            }
        }
        Predicate::Text(operand, texts) => (format!("{operand:?}"), Set::Texts(texts.as_ref().into())),
        Predicate::Affix(operand, affix, text) => (format!("{operand:?}"), Set::Affix(*affix, text.as_ref().into())),
        Predicate::Matches(operand, regex) => (format!("{operand:?}"), Set::Pattern(regex.clone())),
        Predicate::List(operand, _) | Predicate::ListAffix(operand, ..) => {
            (format!("{operand:?}"), Set::Written(names.of(format!("{predicate:?}"))))
        }
        other => (format!("{other:?}"), Set::Written(names.of(format!("{other:?}")))),
    };
    Test { is_positive, subject: names.of(subject), set }
}

/// Most words have a value in every event, `unknown` or false at the least; so what is not one word is another.
fn words(field: Field, mask: u16, is_positive: bool, names: &mut Names) -> Test {
    let subject = names.of(format!("word of {field:?}"));
    let spec = field.spec();
    let n_words = match spec.map(|spec| spec.ty) {
        Some(Type::Word(vocabulary)) => vocabulary.words().len() as u32,
        _ => u16::BITS,
    };
    let all = u16::MAX >> (u16::BITS - n_words.clamp(1, u16::BITS));
    let is_total = spec.is_some_and(|spec| !spec.may_be_absent);
    let (is_positive, mask) = if is_total && !is_positive { (true, !mask & all) } else { (is_positive, mask & all) };
    Test { is_positive, subject, set: Set::Words(mask, if is_total { all } else { u16::MAX }) }
}

/// A condition taken apart: each way in which it can be true, with all that is then known.
#[derive(Clone, Debug)]
pub(super) struct Cases(Vec<Case>);

/// Tests that all hold.
#[derive(Clone, Debug)]
struct Case {
    tests: Vec<Test>,
    /// What the positive ones say, one a subject.
    facts: Vec<Test>,
}

impl Cases {
    /// Ways beyond [`CASES_MAX`] are not told apart, so that less is known of each, and nothing that is wrong.
    pub(super) fn of(condition: &Condition) -> Cases {
        let ways = split(condition, vec![Vec::new()]);
        let case = |tests: Vec<Test>| Case { facts: facts(&tests), tests };
        let possible = |case: &Case| !case.facts.iter().any(|fact| is_contradicted(fact, &case.tests));
        Cases(ways.into_iter().map(case).filter(possible).collect())
    }

    /// Certainly: nothing passes.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Certainly: whatever passes the condition passes the other.
    pub(super) fn imply(&self, other: &Condition) -> bool {
        self.0.iter().all(|case| case.implies(other))
    }
}

/// The ways so far, each with those of the condition.
fn split(condition: &Condition, ways: Vec<Vec<Test>>) -> Vec<Vec<Test>> {
    match condition {
        Condition::Test(test) => ways.into_iter().map(|way| [way, vec![test.clone()]].concat()).collect(),
        Condition::All(parts) => parts.iter().fold(ways, |ways, part| split(part, ways)),
        Condition::Any(parts) if parts.len() * ways.len() > CASES_MAX => ways,
        Condition::Any(parts) => parts.iter().flat_map(|part| split(part, ways.clone())).collect(),
    }
}

impl Case {
    fn implies(&self, wanted: &Condition) -> bool {
        match wanted {
            Condition::Test(test) => self.says(test),
            Condition::All(parts) => parts.iter().all(|part| self.implies(part)),
            Condition::Any(parts) => {
                // A part that holds but for one test may be made whole by another.
                let mut open: Vec<&Test> = Vec::new();
                for part in parts {
                    match part {
                        Condition::Test(test) if self.says(test) => return true,
                        Condition::Test(test) => open.push(test),
                        Condition::Any(_) if self.implies(part) => return true,
                        Condition::Any(_) => {}
                        Condition::All(all) => {
                            let mut missing = all.iter().filter(|one| !self.implies(one));
                            match (missing.next(), missing.next()) {
                                (None, _) => return true,
                                (Some(Condition::Test(test)), None) => open.push(test),
                                _ => {}
                            }
                        }
                    }
                }
                together(&self.facts, &open)
            }
        }
    }

    /// Does one test follow from what is known?
    fn says(&self, wanted: &Test) -> bool {
        let mut facts = self.facts.iter().filter(|fact| fact.subject == wanted.subject);
        if wanted.is_positive {
            return facts.any(|fact| fact.set.is_within(&wanted.set));
        }
        let is_ruled_out =
            |test: &Test| !test.is_positive && test.subject == wanted.subject && wanted.set.is_within(&test.set);
        facts.any(|fact| fact.set.is_disjoint(&wanted.set)) || self.tests.iter().any(is_ruled_out)
    }
}

/// One positive test a subject: all that is known of its value.
fn facts(tests: &[Test]) -> Vec<Test> {
    let mut facts: Vec<Test> = Vec::new();
    for test in tests.iter().filter(|test| test.is_positive) {
        let met = facts.iter_mut().find_map(|fact| {
            let both = if fact.subject == test.subject { fact.set.intersection(&test.set) } else { None };
            both.map(|both| (fact, both))
        });
        match met {
            Some((fact, both)) => fact.set = both,
            None => facts.push(test.clone()),
        }
    }
    facts
}

/// A value that is nothing, or that another test rules out.
fn is_contradicted(fact: &Test, tests: &[Test]) -> bool {
    fact.set.is_empty()
        || tests.iter().any(|test| {
            test.subject == fact.subject
                && match test.is_positive {
                    true => fact.set.is_disjoint(&test.set),
                    false => fact.set.is_within(&test.set),
                }
        })
}

/// Of these tests one holds, whatever else: their sets together hold what is known of the value, or one of them is
/// what another is not.
fn together(facts: &[Test], open: &[&Test]) -> bool {
    let mut unions: Vec<Test> = Vec::new();
    for test in open.iter().filter(|test| test.is_positive) {
        let met = unions.iter_mut().find_map(|union| {
            let both = if union.subject == test.subject { union.set.union(&test.set) } else { None };
            both.map(|both| (union, both))
        });
        match met {
            Some((union, both)) => union.set = both,
            None => unions.push((*test).clone()),
        }
    }
    let is_known = |union: &Test| facts.iter().any(|f| f.subject == union.subject && f.set.is_within(&union.set));
    let is_all = |union: &Test| {
        matches!(union.set, Set::Words(mask, all) if mask == all)
            || open.iter().any(|t| !t.is_positive && t.subject == union.subject && t.set.is_within(&union.set))
    };
    unions.iter().any(|union| is_known(union) || is_all(union))
}

impl Set {
    /// Certainly a part of the other.
    fn is_within(&self, other: &Set) -> bool {
        match (self, other) {
            (Set::Words(a, _), Set::Words(b, _)) => a & !b == 0,
            (Set::Words(..), _) | (_, Set::Words(..)) => false,
            (_, Set::Present) => true,
            (Set::Countries(a), Set::Countries(b)) => a.is_within(b),
            (Set::Numbers(a), Set::Numbers(b)) => a.is_within(b),
            (Set::Integers(a), Set::Integers(b)) => a.is_within(b),
            (Set::Texts(a), b) => a.iter().all(|text| b.takes(text)),
            (Set::Affix(a, text), Set::Affix(b, part)) if a == b => affix_matches(text, *b, part),
            (Set::Pattern(a), Set::Pattern(b)) => a.as_str() == b.as_str(),
            (Set::Written(a), Set::Written(b)) => a == b,
            _ => false,
        }
    }

    /// Certainly nothing in common.
    fn is_disjoint(&self, other: &Set) -> bool {
        match (self, other) {
            (Set::Texts(texts), set) | (set, Set::Texts(texts)) => texts.iter().all(|text| set.never_takes(text)),
            (Set::Affix(a, text), Set::Affix(b, part)) if a == b && *a != Affix::Contains => {
                !affix_matches(text, *a, part) && !affix_matches(part, *a, text)
            }
            _ => self.intersection(other).is_some_and(|both| both.is_empty()),
        }
    }

    /// Certainly one of them.
    fn takes(&self, text: &[u8]) -> bool {
        match self {
            Set::Present => true,
            Set::Texts(texts) => texts.iter().any(|t| t.as_ref() == text),
            Set::Affix(affix, part) => affix_matches(text, *affix, part),
            Set::Pattern(regex) => regex.is_match(text),
            _ => false,
        }
    }

    /// Certainly none of them.
    fn never_takes(&self, text: &[u8]) -> bool {
        matches!(self, Set::Texts(_) | Set::Affix(..) | Set::Pattern(_)) && !self.takes(text)
    }

    /// Certainly nothing.
    fn is_empty(&self) -> bool {
        match self {
            Set::Words(mask, _) => *mask == 0,
            Set::Countries(set) => set.is_empty(),
            Set::Numbers(numbers) => numbers.is_empty(),
            Set::Integers(spans) => spans.is_empty(),
            Set::Texts(texts) => texts.is_empty(),
            Set::Present | Set::Affix(..) | Set::Pattern(_) | Set::Written(_) => false,
        }
    }

    /// `None` where it cannot be told exactly.
    fn intersection(&self, other: &Set) -> Option<Set> {
        Some(match (self, other) {
            (Set::Words(a, all), Set::Words(b, _)) => Set::Words(a & b, *all),
            (Set::Countries(a), Set::Countries(b)) => Set::Countries(a.intersection(b).into()),
            (Set::Numbers(a), Set::Numbers(b)) => Set::Numbers(a.intersection(b)?.into()),
            (Set::Integers(a), Set::Integers(b)) => Set::Integers(a.intersection(b).into()),
            (Set::Texts(texts), set @ (Set::Texts(_) | Set::Affix(..) | Set::Pattern(_)))
            | (set @ (Set::Affix(..) | Set::Pattern(_)), Set::Texts(texts)) => {
                Set::Texts(texts.iter().filter(|text| set.takes(text)).cloned().collect())
            }
            _ => return None,
        })
    }

    /// `None` where it cannot be told exactly.
    fn union(&self, other: &Set) -> Option<Set> {
        Some(match (self, other) {
            (Set::Words(a, all), Set::Words(b, _)) => Set::Words(a | b, *all),
            (Set::Countries(a), Set::Countries(b)) => Set::Countries(a.union(b).into()),
            (Set::Numbers(a), Set::Numbers(b)) => Set::Numbers(a.union(b).into()),
            (Set::Integers(a), Set::Integers(b)) => Set::Integers(a.union(b).into()),
            (Set::Texts(a), Set::Texts(b)) => Set::Texts(a.iter().chain(b.iter()).cloned().collect()),
            _ => return None,
        })
    }
}
