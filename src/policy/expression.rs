//! The rule language as the rest of `policy` uses it: texts of rule files in, compiled values out.
//!
//! Every function reports what is wrong and gives `None`, so that a caller goes on and all mistakes of a rule
//! set are told at once.

use std::sync::Arc;

pub use super::literal::{DurationFault, duration};

use super::ast::{Expr, Node, Spanned};
use super::measure::Measure;
use super::origin::{Origin, Reporter};
use super::predicate::{Operand, Predicate};
use super::problem::{Place, Problem};
use super::typing::Typer;
use super::{On, negation, syntax};
use crate::calendar::LocalClock;

/// What an expression may name, and when it runs.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `None`: a macro by itself; any field may be named.
    pub on: Option<On>,
    /// Where the rule says `on`, for messages about fields that are not known then.
    pub on_place: Option<&'a Place>,
    /// In the order of [`super::Policy::lists`].
    pub lists: &'a [ListDecl],
    pub macros: &'a [Macro],
    /// Names, in the order of [`super::Policy::calendars`].
    pub calendars: &'a [String],
    /// The wall clock of the rule set.
    pub clock: &'a Arc<LocalClock>,
}

/// A list as expressions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDecl {
    pub name: String,
    pub kind: ListKind,
    /// Filled while calls flow.
    pub is_dynamic: bool,
}

/// `type` of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    Numbers,
    Texts,
    Addresses,
    Countries,
}

impl ListKind {
    pub(super) fn describe(self) -> &'static str {
        match self {
            ListKind::Numbers => "phone numbers",
            ListKind::Texts => "texts",
            ListKind::Addresses => "IP addresses",
            ListKind::Countries => "country codes",
        }
    }
}

/// A named expression: a tree, filled in where it is used, never pasted text.
#[derive(Clone, Debug)]
pub struct Macro {
    pub(super) name: String,
    pub(super) origin: Origin,
    /// As written; what `node` has places in.
    pub(super) text: String,
    pub(super) node: Node,
}

impl Macro {
    /// Reads a macro. One that cannot be read is there all the same, so that its users are not blamed for it.
    pub fn parse(name: &str, text: &str, origin: Origin, problems: &mut Vec<Problem>) -> Macro {
        let node = syntax::parse(text, &mut Reporter::new(&origin, problems));
        let node = node.unwrap_or(Spanned { node: Expr::Broken, span: 0..text.len() });
        Macro { name: name.to_owned(), origin, text: text.to_owned(), node }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks a macro by itself, so that one that no rule uses is checked too.
    pub fn check(&self, scope: &Scope<'_>, problems: &mut Vec<Problem>) {
        let free = Scope { on: None, on_place: None, ..*scope };
        Typer::new(&free, &self.origin, problems).macro_alone(self);
    }
}

/// `when`, `where`.
pub fn compile_condition(
    text: &str,
    origin: &Origin,
    scope: &Scope<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Predicate> {
    let told = problems.len();
    let node = syntax::parse(text, &mut Reporter::new(origin, problems))?;
    let predicate = Typer::new(scope, origin, problems).condition(&node)?;
    if has_errors(problems, told) {
        return None;
    }
    negation::warn(&node, scope, &mut Reporter::new(origin, problems));
    Some(predicate)
}

/// `measure`.
pub fn compile_measure(text: &str, origin: &Origin, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Option<Measure> {
    let told = problems.len();
    let tree = syntax::parse_measure(text, &mut Reporter::new(origin, problems))?;
    let measure = Typer::new(scope, origin, problems).measure(&tree)?;
    if has_errors(problems, told) {
        return None;
    }
    if let syntax::MeasureTree::Share(node) = &tree {
        negation::warn(node, scope, &mut Reporter::new(origin, problems));
    }
    Some(measure)
}

/// A `per` entry: a field, or `prefix(field, n)`.
pub fn compile_operand(text: &str, origin: &Origin, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Option<Operand> {
    let term = syntax::parse_term(text, &mut Reporter::new(origin, problems))?;
    Typer::new(scope, origin, problems).key_part(&term)
}

/// Some mistakes (`=` for `==`) are read as what was meant, so that the rest is checked; they are errors all the same.
fn has_errors(problems: &[Problem], from: usize) -> bool {
    problems.get(from..).unwrap_or_default().iter().any(|p| p.is_error)
}

/// A macro by its name.
pub(super) fn find_macro<'a>(scope: &Scope<'a>, name: &str) -> Option<(usize, &'a Macro)> {
    scope.macros.iter().enumerate().find(|(_, m)| m.name == name)
}

#[cfg(test)]
mod tests;
