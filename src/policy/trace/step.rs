//! One expression asked test by test: what held, what not, and what the event says.

use super::super::ast::{Affix, Comparison, Expr, Item, Node, Spanned, Term};
use super::super::expression::{Scope, find_macro};
use super::super::origin::{Origin, Reporter};
use super::super::predicate::{Flag, Operand, Predicate, Value, write_value};
use super::super::syntax;
use super::super::typing::Typer;
use super::super::{View, Written};
use super::{found, hours};
use crate::calendar::duration_text;
use crate::event::Field;

/// A test, or tests put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// As written: `direction == inbound`, `@high_risk`.
    pub test: String,
    pub holds: bool,
    /// What it must be for the whole to hold: false below a `not`.
    pub wanted: bool,
    /// What the event says: `direction is outbound`. Empty where `parts` say it.
    pub because: String,
    pub shape: Shape,
    /// What it is made of.
    pub parts: Vec<Step>,
}

/// How the parts of a step make it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Without parts.
    Test,
    /// `during`, `outside`: a test of the clock, not of a field.
    Schedule,
    All,
    Any,
    Not,
    /// One part: the expression it stands for.
    Macro,
}

/// Longest set that is told again beside the value that is not in it.
const SET_CHARS_MAX: usize = 60;
/// Longest text of an event that is told whole.
const TEXT_CHARS_MAX: usize = 80;

impl Step {
    pub(super) fn both(a: Step, b: Step) -> Step {
        let holds = a.holds && b.holds;
        let test = format!("{} and {}", a.test, b.test);
        Step { test, holds, wanted: true, because: String::new(), shape: Shape::All, parts: vec![a, b] }
    }

    fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
        let below = wanted != (self.shape == Shape::Not);
        self.parts.iter_mut().for_each(|part| part.want(below));
    }

    /// The smallest steps that make it what it is. A macro is one step, its own parts told with it.
    pub fn deciding(&self) -> Vec<&Step> {
        match (self.shape, self.holds) {
            (Shape::Test | Shape::Schedule | Shape::Macro, _) => vec![self],
            (Shape::All, true) | (Shape::Any, false) | (Shape::Not, _) => self.deciding_parts(),
            (Shape::All, false) | (Shape::Any, true) => {
                let deciding = self.parts.iter().filter(|part| part.holds == self.holds);
                deciding.map(Step::deciding).min_by_key(|steps| weight(steps)).unwrap_or_default()
            }
        }
    }

    /// What the step says of the event, in a phrase: `direction is outbound`, `@nordic: caller.country is SE`. Of steps
    /// put together, what decides; of several reasons that each suffice, the one that takes the fewest tests.
    pub fn told(&self) -> String {
        let is = match (self.holds, self.wanted) {
            (true, true) => "",
            (true, false) => " holds",
            (false, _) => " is false",
        };
        let deciding = match self.shape {
            Shape::Test => return self.because.clone(),
            Shape::Schedule => return format!("{}{is}: {}", self.test, self.because),
            Shape::Macro => self.deciding_parts(),
            _ => self.deciding(),
        };
        let phrases = deciding.iter().map(|step| step.told()).collect::<Vec<_>>().join(", ");
        if self.shape == Shape::Macro { format!("{}{is}: {phrases}", self.test) } else { phrases }
    }

    fn deciding_parts(&self) -> Vec<&Step> {
        self.parts.iter().flat_map(Step::deciding).collect()
    }
}

/// How much there is to tell.
fn weight(steps: &[&Step]) -> usize {
    let of = |step: &&Step| if step.shape == Shape::Macro { 1 + weight(&step.deciding_parts()) } else { 1 };
    steps.iter().map(of).sum()
}

/// Asks expressions about one event.
pub(super) struct Tracer<'t> {
    scope: Scope<'t>,
    written: &'t Written,
    view: &'t View<'t>,
}

impl<'t> Tracer<'t> {
    /// `None` where nothing is kept of what was written.
    pub(super) fn new(written: &'t Written, view: &'t View<'t>) -> Option<Tracer<'t>> {
        Some(Tracer { scope: written.scope()?, written, view })
    }

    /// A whole condition. `None` for a text that does not compile: then there is no policy with it either.
    pub(super) fn condition(&mut self, text: &str) -> Option<Step> {
        let origin = Origin::whole("", 0..0);
        let mut problems = Vec::new();
        let node = syntax::parse(text, &mut Reporter::new(&origin, &mut problems))?;
        let mut step = self.node(&node, text)?;
        step.want(true);
        (!problems.iter().any(|p| p.is_error)).then_some(step)
    }

    /// Recursion is bounded by the depth the parser and the macros allow: what is asked here was compiled before.
    fn node(&mut self, node: &Node, text: &str) -> Option<Step> {
        let test = text.get(node.span.clone()).unwrap_or_default().to_owned();
        let of = |shape, holds, parts| Step {
            test: test.clone(),
            holds,
            wanted: true,
            because: String::new(),
            shape,
            parts,
        };
        Some(match &node.node {
            Expr::All(parts) => {
                let parts = self.parts(parts, text)?;
                of(Shape::All, parts.iter().all(|p| p.holds), parts)
            }
            Expr::Any(parts) => {
                let parts = self.parts(parts, text)?;
                of(Shape::Any, parts.iter().any(|p| p.holds), parts)
            }
            Expr::Not(inner) => {
                let inner = self.node(inner, text)?;
                of(Shape::Not, !inner.holds, vec![inner])
            }
            Expr::Macro(name) => {
                let (_, filled) = find_macro(&self.scope, name)?;
                let inner = self.node(&filled.node, &filled.text)?;
                of(Shape::Macro, inner.holds, vec![inner])
            }
            Expr::Broken => return None,
            Expr::Schedule { calendar, .. } => {
                let holds = self.compiled(node)?.eval(self.view);
                let place = self.scope.calendars.iter().position(|c| *c == calendar.node)?;
                let because = hours::said(self.view.policy.calendars.get(place)?, self.view.event.call_start());
                Step { test, holds, wanted: true, because, shape: Shape::Schedule, parts: Vec::new() }
            }
            _ => {
                let holds = self.compiled(node)?.eval(self.view);
                let because = self.because(node, holds, text)?;
                Step { test, holds, wanted: true, because, shape: Shape::Test, parts: Vec::new() }
            }
        })
    }

    fn parts(&mut self, parts: &[Node], text: &str) -> Option<Vec<Step>> {
        parts.iter().map(|part| self.node(part, text)).collect()
    }

    /// The test as the policy has it.
    fn compiled(&self, node: &Node) -> Option<Predicate> {
        let origin = Origin::whole("", 0..0);
        Typer::new(&self.scope, &origin, &mut Vec::new()).condition(node)
    }

    fn operand(&self, term: &Spanned<Term>) -> Option<(Operand, String)> {
        let origin = Origin::whole("", 0..0);
        let typed = Typer::new(&self.scope, &origin, &mut Vec::new()).field(term)?;
        let name = match &typed.operand {
            Operand::Field(_) => typed.spec.name.to_owned(),
            Operand::Prefix(_, n) => format!("prefix({}, {n})", typed.spec.name),
            Operand::Len(_) => format!("len({})", typed.spec.name),
            Operand::Lower(_) => format!("lower({})", typed.spec.name),
        };
        Some((typed.operand, name))
    }

    /// What the event says to one test.
    fn because(&self, node: &Node, holds: bool, text: &str) -> Option<String> {
        match &node.node {
            Expr::Bare(term) => Some(self.bare(&self.operand(term)?)),
            Expr::Compare { left, operator, right } => {
                // A word on the right may be the name of a field and yet a value of the left.
                let is_two_fields = match self.compiled(node)? {
                    Predicate::Not(inner) => matches!(*inner, Predicate::Compare { .. }),
                    other => matches!(other, Predicate::Compare { .. }),
                };
                self.compared(left, operator.node, right, (holds, is_two_fields), text)
            }
            Expr::In { left, negated, set } => {
                let operand = self.operand(left)?;
                let one = |item: &Item| Expr::In { left: left.clone(), negated: false, set: vec![item.clone()] };
                Some(self.of_set(&operand, set, one, None, holds != *negated, text))
            }
            Expr::Affix { left, negated, affix, set } => {
                let operand = self.operand(left)?;
                let one = |item: &Item| Expr::Affix {
                    left: left.clone(),
                    negated: false,
                    affix: *affix,
                    set: vec![item.clone()],
                };
                Some(self.of_set(&operand, set, one, Some(*affix), holds != *negated, text))
            }
            Expr::Matches { left, .. } | Expr::Present { left, .. } => Some(self.says(&self.operand(left)?)),
            _ => None,
        }
    }

    /// `direction is outbound`, `caller is absent`.
    fn says(&self, (operand, name): &(Operand, String)) -> String {
        match shown(operand, self.view) {
            Some(value) => format!("{name} is {value}"),
            None => format!("{name} is absent"),
        }
    }

    fn bare(&self, operand: &(Operand, String)) -> String {
        let event = self.view.event;
        let Some(flag) = Flag::of(operand.0.field()) else { return self.says(operand) };
        match (flag, flag.get(event)) {
            (Flag::Answered, true) => "the call was answered".to_owned(),
            (Flag::Answered, false) => format!("the call was not answered (status is {})", event.status.as_str()),
            (Flag::Anonymous, true) => "the caller withheld the number".to_owned(),
            (Flag::Anonymous, false) => "the caller did not withhold the number".to_owned(),
            (Flag::AuthFailed, true) => "the login was refused".to_owned(),
            (Flag::AuthFailed, false) => "no login was refused".to_owned(),
        }
    }

    fn compared(
        &self,
        left: &Spanned<Term>,
        operator: Comparison,
        right: &Spanned<Term>,
        (holds, is_two_fields): (bool, bool),
        text: &str,
    ) -> Option<String> {
        let is_field = |term: &Spanned<Term>| match &term.node {
            Term::Word(word) => Field::named(word).is_some(),
            Term::Call(..) => true,
            Term::Literal(_) => false,
        };
        // A literal may stand on the left.
        let (left, other, operator) = match is_field(left) {
            true => (left, right, operator),
            false => (right, left, operator.mirrored()),
        };
        let operand = self.operand(left)?;
        let said = self.says(&operand);
        let is_ordered = !matches!(operator, Comparison::Equal | Comparison::NotEqual);
        if is_two_fields {
            return Some(format!("{said}, {}", self.says(&self.operand(other)?)));
        }
        if is_ordered && !holds && operand.0.is_present(self.view) {
            let limit = text.get(other.span.clone()).unwrap_or_default();
            return Some(format!("{said}, not {} {limit}", operator.as_str()));
        }
        Some(said)
    }

    /// Which item matched, or the value that none did.
    fn of_set(
        &self,
        operand: &(Operand, String),
        set: &[Item],
        one: impl Fn(&Item) -> Expr,
        affix: Option<Affix>,
        is_in: bool,
        text: &str,
    ) -> String {
        let said = self.says(operand);
        let whole = |items: &[Item]| match (items.first(), items.last()) {
            (Some(first), Some(last)) => text.get(first.span().start..last.span().end).unwrap_or_default(),
            _ => "",
        };
        let names_list = set.iter().any(|item| matches!(item, Item::List(_)));
        if !is_in {
            let Some(value) = shown(&operand.0, self.view) else { return said };
            let (verb, set) = match (affix, set) {
                (None, [Item::List(_)]) => ("is not in", whole(set).to_owned()),
                (None, _) => ("is not in", format!("{{{}}}", whole(set))),
                (Some(affix), _) => (no_affix(affix), whole(set).to_owned()),
            };
            let is_short = set.chars().count() <= SET_CHARS_MAX;
            return match is_short && (names_list || affix.is_some()) {
                true => format!("{} {value} {verb} {set}", operand.1),
                false => said,
            };
        }
        for item in set {
            let alone = Spanned { node: one(item), span: item.span() };
            if !self.compiled(&alone).is_some_and(|test| test.eval(self.view)) {
                continue;
            }
            return match item {
                Item::List(name) => match self.scope.lists.iter().position(|l| l.name == name.node) {
                    Some(list) => {
                        let entry = found::entry(&operand.0, list, affix, self.view, self.written);
                        let verb = affix.map_or("in", Affix::as_str);
                        format!("{} {verb} {entry}", operand.1)
                    }
                    None => said,
                },
                item => self.beside(said, operand, whole(std::slice::from_ref(item))),
            };
        }
        said
    }

    /// The value, and the item where it is not the value's own words: a range, a pattern, a part of a text.
    fn beside(&self, said: String, operand: &(Operand, String), item: &str) -> String {
        let value = shown(&operand.0, self.view).unwrap_or_default();
        let same = item == value || item.trim_matches('"') == value.trim_matches('"');
        if same { said } else { format!("{said} ({item})") }
    }
}

fn no_affix(affix: Affix) -> &'static str {
    match affix {
        Affix::Contains => "does not contain",
        Affix::Starts => "does not start with",
        Affix::Ends => "does not end with",
    }
}

/// As people write it in rules: `2.4s`, `5h12m`.
pub(super) fn lasting(ms: i64) -> String {
    match ms {
        ..60_000 => format!("{}s", ms as f64 / 1000.0),
        _ => duration_text(ms).replace(' ', "").replace("min", "m"),
    }
}

/// The value as people write it in rules; `None` where the event does not say.
pub(super) fn shown(operand: &Operand, view: &View<'_>) -> Option<String> {
    let value = match (operand.value(view)?, operand) {
        (Value::Duration(ms), _) => return Some(lasting(ms)),
        (Value::Text(text) | Value::Lower(text), _) => {
            let text = String::from_utf8_lossy(text);
            let short: String = text.chars().take(TEXT_CHARS_MAX).collect();
            let more = if short.len() < text.len() { "..." } else { "" };
            let short = if matches!(operand, Operand::Lower(_)) { short.to_lowercase() } else { short };
            return Some(format!("\"{}{more}\"", short.escape_debug()));
        }
        (value, _) => value,
    };
    let mut text = Vec::new();
    write_value(&value, &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    Some(match value {
        // Neither E.164 nor withheld: an extension, a star code, a name.
        Value::Number(number, _) if matches!(number.kind(), Some(crate::event::NumberKind::Short)) => {
            format!("short:{text}")
        }
        _ => text,
    })
}
