//! W110: negated tests of fields that an event may not have.
//!
//! `caller.country != SE` is true of a caller without a country. That may be meant, and then
//! `caller.country is present` beside it says so.

use std::ops::Range;

use super::ast::{Comparison, Expr, Node, Spanned, Term};
use super::expression::{Scope, find_macro};
use super::field::Spec;
use super::origin::Reporter;
use super::problem::Problem;
use crate::event::Field;
use crate::limits::{EXPRESSION_TESTS_MAX, MACRO_DEPTH_MAX};

/// Warns once a field and place. The tree is well typed.
pub(super) fn warn(node: &Node, scope: &Scope<'_>, reporter: &mut Reporter<'_>) {
    let mut walk = Walk { scope, reporter, guards: Vec::new(), depth: 0, used_at: None, tests: 0 };
    walk.visit(node, true);
}

struct Walk<'w, 'r> {
    scope: &'w Scope<'w>,
    reporter: &'w mut Reporter<'r>,
    /// Fields that a test beside has shown to be there.
    guards: Vec<&'static str>,
    /// Macros around.
    depth: usize,
    /// Where the outermost of them is used.
    used_at: Option<Range<usize>>,
    tests: usize,
}

impl Walk<'_, '_> {
    /// `positive`: an even count of `not`s around.
    fn visit(&mut self, node: &Node, positive: bool) {
        self.tests += 1;
        if self.tests > EXPRESSION_TESTS_MAX {
            return;
        }
        match &node.node {
            Expr::All(parts) | Expr::Any(parts) => {
                let is_conjunction = matches!(node.node, Expr::All(_)) == positive;
                let known = self.guards.len();
                parts.iter().for_each(|part| self.guard(part, positive, is_conjunction));
                parts.iter().for_each(|part| self.visit(part, positive));
                self.guards.truncate(known);
            }
            Expr::Not(inner) => self.visit(inner, !positive),
            Expr::Macro(name) => {
                let Some((_, found)) = find_macro(self.scope, name).filter(|_| self.depth < MACRO_DEPTH_MAX) else {
                    return;
                };
                let outermost = self.used_at.is_none();
                if outermost {
                    self.used_at = Some(node.span.clone());
                }
                self.depth += 1;
                self.visit(&found.node, positive);
                self.depth -= 1;
                if outermost {
                    self.used_at = None;
                }
            }
            _ => {
                for (spec, negated) in tested(node) {
                    if negated == positive {
                        self.found(spec, &node.span);
                    }
                }
            }
        }
    }

    fn found(&mut self, spec: &'static Spec, span: &Range<usize>) {
        if !spec.may_be_absent || self.guards.contains(&spec.name) {
            return;
        }
        let name = spec.name;
        let problem = Problem::warning("W110", format!("true as well where the event has no `{name}`"))
            .help(format!("add `{name} is present`, or `{name} is not present or ...` if that is meant"));
        self.reporter.report(problem, self.used_at.clone().unwrap_or_else(|| span.clone()));
    }

    /// What this part of an `and` (or of an `or`) says about the presence of fields.
    fn guard(&mut self, part: &Node, positive: bool, is_conjunction: bool) {
        match &part.node {
            Expr::Not(inner) => self.guard(inner, !positive, is_conjunction),
            Expr::Present { left, .. } => self.guards.extend(field(left).map(|s| s.name)),
            Expr::All(parts) | Expr::Any(parts)
                if is_conjunction == (matches!(part.node, Expr::All(_)) == positive) =>
            {
                parts.iter().for_each(|p| self.guard(p, positive, is_conjunction));
            }
            _ if is_conjunction => {
                self.guards.extend(tested(part).filter(|(_, negated)| *negated != positive).map(|(spec, _)| spec.name));
            }
            _ => {}
        }
    }
}

/// The fields a test looks at, and whether it is a negated one.
fn tested(node: &Node) -> impl Iterator<Item = (&'static Spec, bool)> {
    let (left, right, negated) = match &node.node {
        Expr::Compare { left, operator, right } => (Some(left), Some(right), operator.node == Comparison::NotEqual),
        Expr::In { left, negated, .. } | Expr::Affix { left, negated, .. } | Expr::Matches { left, negated, .. } => {
            (Some(left), None, *negated)
        }
        _ => (None, None, false),
    };
    [left, right].into_iter().flatten().filter_map(field).map(move |spec| (spec, negated))
}

fn field(term: &Spanned<Term>) -> Option<&'static Spec> {
    match &term.node {
        Term::Word(name) => Field::named(name),
        Term::Call(_, name, _) => Field::named(&name.node),
        Term::Literal(_) => None,
    }
}
