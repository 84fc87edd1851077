//! Tree to predicate: names resolved, types checked, each mistake told where it stands.
//!
//! A test that is wrong is left out and the next one is checked; the whole is then `None`.

use std::ops::Range;
use std::sync::Arc;

use regex::bytes::RegexBuilder;

use super::ast::{Affix, Comparison, Expr, Function, Item, Literal, Node, Spanned, Term};
use super::expression::{ListKind, Macro, Scope, find_macro};
use super::field::{FIELDS, Phases, Spec, Type, Vocabulary};
use super::literal::{self, Fault};
use super::measure::Measure;
use super::operand::WEEKDAYS;
use super::origin::{Origin, Reporter};
use super::predicate::{Flag, Operand, Predicate};
use super::problem::{Place, Problem, suggest};
use super::syntax::MeasureTree;
use super::text_set::{SEARCH_BYTES_MAX, search};
use super::{On, membership};
use crate::calendar::LocalClock;
use crate::event::Field;
use crate::limits::{E164_DIGITS_MAX, EXPRESSION_TESTS_MAX, MACRO_DEPTH_MAX};

/// One expression being checked.
pub(super) struct Typer<'t> {
    pub(super) scope: &'t Scope<'t>,
    /// Of the text being checked: the rule's, or a macro's.
    origin: &'t Origin,
    problems: &'t mut Vec<Problem>,
    /// Macros being filled in, outermost first.
    filling: Vec<&'t str>,
    /// Where the outermost of them is used.
    used_at: Option<Place>,
    /// Tests so far, macros filled in.
    tests: usize,
}

/// An operand with what is known of its field.
pub(super) struct Typed {
    pub(super) operand: Operand,
    pub(super) spec: &'static Spec,
    pub(super) ty: Type,
    pub(super) span: Range<usize>,
}

impl<'t> Typer<'t> {
    pub(super) fn new(scope: &'t Scope<'t>, origin: &'t Origin, problems: &'t mut Vec<Problem>) -> Typer<'t> {
        Typer { scope, origin, problems, filling: Vec::new(), used_at: None, tests: 0 }
    }

    pub(super) fn report<T>(&mut self, problem: Problem, span: Range<usize>) -> Option<T> {
        let context = problem.context.or_else(|| self.used_at.clone().map(|place| (place, "used here".to_owned())));
        Reporter::new(self.origin, self.problems).report(Problem { context, ..problem }, span);
        None
    }

    /// What a literal gave, or its fault told at its place.
    pub(super) fn settle<T>(&mut self, found: Result<T, Fault>, span: &Range<usize>) -> Option<T> {
        found.map_err(|problem| self.report::<T>(*problem, span.clone())).ok()
    }

    pub(super) fn macro_alone(&mut self, alone: &'t Macro) {
        self.filling.push(&alone.name);
        self.condition(&alone.node);
    }

    pub(super) fn condition(&mut self, node: &Node) -> Option<Predicate> {
        match &node.node {
            Expr::All(parts) => self.conditions(parts).map(Predicate::All),
            Expr::Any(parts) => self.conditions(parts).map(Predicate::Any),
            Expr::Not(inner) => self.condition(inner).map(not),
            Expr::Macro(name) => self.fill(name, &node.span),
            Expr::Schedule { inside, calendar } => self.schedule(*inside, calendar),
            Expr::Broken => None,
            _ => {
                self.tests += 1;
                if self.tests > EXPRESSION_TESTS_MAX {
                    let message = format!("more than {EXPRESSION_TESTS_MAX} tests once the macros are filled in");
                    return self.report(Problem::error("E054", message), node.span.clone());
                }
                self.test(node)
            }
        }
    }

    fn conditions(&mut self, parts: &[Node]) -> Option<Box<[Predicate]>> {
        let compiled: Vec<Option<Predicate>> = parts.iter().map(|part| self.condition(part)).collect();
        compiled.into_iter().collect()
    }

    fn fill(&mut self, name: &str, span: &Range<usize>) -> Option<Predicate> {
        let Some((_, found)) = find_macro(self.scope, name) else {
            let near = suggest(name, self.scope.macros.iter().map(Macro::name));
            return self.report(unknown("E049", "macro", "@", name, near), span.clone());
        };
        if self.filling.contains(&found.name.as_str()) {
            let problem = Problem::error("E060", format!("macro `@{name}` uses itself"));
            return self.report(problem, span.clone());
        }
        if self.filling.len() >= MACRO_DEPTH_MAX || self.tests > EXPRESSION_TESTS_MAX {
            let problem = Problem::error("E054", format!("macros within macros, more than {MACRO_DEPTH_MAX} deep"));
            return self.report(problem, span.clone());
        }
        let outermost = self.used_at.is_none();
        if outermost {
            self.used_at = Some(self.origin.place(span.clone()));
        }
        self.filling.push(&found.name);
        let around = std::mem::replace(&mut self.origin, &found.origin);
        let filled = self.condition(&found.node);
        self.origin = around;
        self.filling.pop();
        if outermost {
            self.used_at = None;
        }
        filled
    }

    fn schedule(&mut self, inside: bool, calendar: &Spanned<String>) -> Option<Predicate> {
        let name = &calendar.node;
        match self.scope.calendars.iter().position(|c| c == name) {
            Some(calendar) => Some(Predicate::Schedule { calendar, inside }),
            None => {
                let near = suggest(name, self.scope.calendars.iter().map(String::as_str));
                self.report(unknown("E051", "calendar", "", name, near), calendar.span.clone())
            }
        }
    }

    fn test(&mut self, node: &Node) -> Option<Predicate> {
        match &node.node {
            Expr::Bare(term) => self.bare(term),
            Expr::Compare { left, operator, right } => self.compare(left, operator, right),
            Expr::In { left, negated, set } => {
                let typed = self.field(left)?;
                membership::within(self, &typed, set).map(|p| negate(p, *negated))
            }
            Expr::Affix { left, negated, affix, set } => {
                let typed = self.field(left)?;
                membership::affix(self, &typed, *affix, set).map(|p| negate(p, *negated))
            }
            Expr::Matches { left, negated, regex } => {
                let typed = self.field(left)?;
                self.matches(&typed, regex).map(|p| negate(p, *negated))
            }
            Expr::Present { left, negated } => self.present(left).map(|p| negate(p, *negated)),
            _ => None,
        }
    }

    fn bare(&mut self, term: &Spanned<Term>) -> Option<Predicate> {
        let typed = self.field(term)?;
        match Flag::of(typed.spec.field) {
            Some(flag) if typed.operand.is_bool(typed.ty) => Some(Predicate::Flag(flag)),
            _ => {
                let name = typed.spec.name;
                let message = format!("`{name}` is {}; by itself it is neither true nor false", typed.ty.describe());
                let problem = Problem::error("E062", message).help(format!("compare it, or write `{name} is present`"));
                self.report(problem, term.span.clone())
            }
        }
    }

    fn present(&mut self, term: &Spanned<Term>) -> Option<Predicate> {
        let typed = self.field(term)?;
        let may_be_unknown = matches!(typed.ty, Type::Word(v) if v != Vocabulary::Bool);
        if !typed.spec.may_be_absent && !may_be_unknown {
            let problem =
                Problem::error("E061", format!("`{}` is always present", typed.spec.name)).help("remove the test");
            return self.report(problem, term.span.clone());
        }
        Some(Predicate::Present(typed.operand))
    }

    fn compare(
        &mut self,
        left: &Spanned<Term>,
        operator: &Spanned<Comparison>,
        right: &Spanned<Term>,
    ) -> Option<Predicate> {
        if !is_field(left) && is_field(right) {
            let mirrored = Spanned { node: operator.node.mirrored(), span: operator.span.clone() };
            return self.compare(right, &mirrored, left);
        }
        let typed = self.field(left)?;
        let is_equality = matches!(operator.node, Comparison::Equal | Comparison::NotEqual);
        if !is_equality && !typed.ty.is_ordered() {
            return self.report(unordered(&typed, operator.node), operator.span.clone());
        }
        match self.right_side(&typed, right) {
            Side::Field => self.compare_fields(&typed, operator.node, right),
            Side::Literal(literal) => {
                let literal = Spanned { node: literal, span: right.span.clone() };
                match operator.node {
                    Comparison::Equal => membership::within(self, &typed, &[Item::One(literal)]),
                    Comparison::NotEqual => membership::within(self, &typed, &[Item::One(literal)]).map(not),
                    ordering => self.ordered(typed, ordering, &literal),
                }
            }
        }
    }

    /// A word on the right is a value of the left's type where it can be, else a field.
    fn right_side(&self, left: &Typed, right: &Spanned<Term>) -> Side {
        let word = match &right.node {
            Term::Literal(literal) => return Side::Literal(literal.clone()),
            Term::Call(..) => return Side::Field,
            Term::Word(word) => word,
        };
        let is_value = match left.ty {
            Type::Word(vocabulary) => vocabulary.words().contains(&word.as_str()),
            Type::Weekday => WEEKDAYS.contains(&word.as_str()),
            _ => false,
        };
        let names_field = Field::named(word).is_some() || word.contains('.');
        if names_field && !is_value { Side::Field } else { Side::Literal(Literal::Word(word.clone())) }
    }

    fn compare_fields(&mut self, left: &Typed, operator: Comparison, right: &Spanned<Term>) -> Option<Predicate> {
        let other = self.field(right)?;
        if left.ty != other.ty {
            let message = format!(
                "`{}` is {} and `{}` is {}",
                left.spec.name,
                left.ty.describe(),
                other.spec.name,
                other.ty.describe()
            );
            return self.report(Problem::error("E045", message), left.span.start..right.span.end);
        }
        let clock = self.clock_for(left.spec.field).or_else(|| self.clock_for(other.spec.field));
        let compare =
            |operator| Predicate::Compare { left: left.operand.clone(), operator, right: other.operand, clock };
        Some(match operator {
            Comparison::NotEqual => not(compare(Comparison::Equal)),
            operator => compare(operator),
        })
    }

    fn ordered(&mut self, left: Typed, operator: Comparison, right: &Spanned<Literal>) -> Option<Predicate> {
        let value = literal::integer(&right.node, left.ty);
        let value = self.settle(value, &right.span)?;
        let range = match operator {
            Comparison::Below => (i64::MIN, value.saturating_sub(1)),
            Comparison::AtMost => (i64::MIN, value),
            Comparison::Above => (value.saturating_add(1), i64::MAX),
            _ => (value, i64::MAX),
        };
        let clock = self.clock_for(left.spec.field);
        Some(Predicate::Within { operand: left.operand, clock, ranges: [range].into() })
    }

    /// The wall clock, for the fields that are read off it.
    pub(super) fn clock_for(&self, field: Field) -> Option<Arc<LocalClock>> {
        matches!(field, Field::Time | Field::Weekday | Field::Date).then(|| Arc::clone(self.scope.clock))
    }

    fn matches(&mut self, left: &Typed, regex: &Spanned<String>) -> Option<Predicate> {
        if left.ty != Type::Text {
            let problem = Problem::error("E044", format!("`matches` does not work here: {}", named(left)));
            let problem = match left.ty {
                Type::Number => problem.help(
                    "numbers are matched by their digits: +4670*, +1???976*, a range +46100..+46199, or a list; what the gateway wrote is in `.raw`",
                ),
                _ => problem,
            };
            return self.report(problem, left.span.clone());
        }
        let pattern = regex.node.replace("\\/", "/");
        match RegexBuilder::new(&pattern).case_insensitive(true).size_limit(SEARCH_BYTES_MAX).build() {
            Ok(compiled) => Some(Predicate::Matches(left.operand.clone(), compiled)),
            Err(error) => {
                let text = error.to_string();
                let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                self.report(Problem::error("E053", format!("regular expression: {why}")), regex.span.clone())
            }
        }
    }

    /// A side that must be a field, or a function of one.
    pub(super) fn field(&mut self, term: &Spanned<Term>) -> Option<Typed> {
        match &term.node {
            Term::Word(name) => {
                let spec = self.named(name, &term.span)?;
                Some(Typed { operand: Operand::Field(spec.field), spec, ty: spec.ty, span: term.span.clone() })
            }
            Term::Call(function, name, n) => self.call(*function, name, n.as_ref(), &term.span),
            Term::Literal(literal) => {
                let message =
                    format!("`{}` is no field: a test asks about a field of the event", literal::written(literal));
                self.report(
                    Problem::error("E041", message).help("write the field first: `caller == +46...`"),
                    term.span.clone(),
                )
            }
        }
    }

    fn call(
        &mut self,
        function: Function,
        name: &Spanned<String>,
        n: Option<&Spanned<String>>,
        span: &Range<usize>,
    ) -> Option<Typed> {
        let spec = self.named(&name.node, &name.span)?;
        let wrong = |wants: &str| {
            let message = format!("`{}` is {}, and this function takes {wants}", spec.name, spec.ty.describe());
            Problem::error("E044", message)
        };
        let operand = match (function, spec.ty, n) {
            (Function::Prefix, Type::Number, Some(n)) => Operand::Prefix(spec.field, self.count_of_digits(n)?),
            (Function::Prefix, Type::Number, None) => {
                let problem = Problem::error("E041", "`prefix` needs a count of digits")
                    .help(format!("write prefix({}, 7)", spec.name));
                return self.report(problem, span.clone());
            }
            (Function::Len | Function::Lower, _, Some(n)) => {
                return self.report(Problem::error("E041", "only `prefix` takes a second value"), n.span.clone());
            }
            (Function::Len, Type::Number | Type::Text, None) => Operand::Len(spec.field),
            (Function::Lower, Type::Text, None) => Operand::Lower(spec.field),
            (Function::Prefix, ..) => return self.report(wrong("a phone number"), name.span.clone()),
            (Function::Len, ..) => return self.report(wrong("a phone number or a text"), name.span.clone()),
            (Function::Lower, ..) => return self.report(wrong("a text"), name.span.clone()),
        };
        let ty = operand.ty(spec.ty);
        Some(Typed { operand, spec, ty, span: span.clone() })
    }

    fn count_of_digits(&mut self, n: &Spanned<String>) -> Option<u32> {
        match n.node.parse() {
            Ok(digits) if (1..=E164_DIGITS_MAX as u32).contains(&digits) => Some(digits),
            _ => {
                let message = format!("`{}` is no count of digits: 1 to {E164_DIGITS_MAX}", n.node);
                self.report(Problem::error("E045", message), n.span.clone())
            }
        }
    }

    /// The field of this name, known when the rule runs.
    fn named(&mut self, name: &str, span: &Range<usize>) -> Option<&'static Spec> {
        let Some(spec) = Field::named(name) else {
            // From the end: `calle` has more likely lost one of two equal letters of `callee` than the r of `caller`.
            let spelt = suggest(name, FIELDS.iter().rev().map(|f| f.name));
            let part =
                || FIELDS.iter().map(|f| f.name).find(|f| f.split_once('.').is_some_and(|(_, part)| part == name));
            let problem = unknown("E043", "field", "", name, spelt.or_else(part));
            let problem =
                if problem.message.contains("; did you mean") { problem } else { problem.help(self.fields()) };
            return self.report(problem, span.clone());
        };
        match self.scope.on {
            Some(on) if !spec.phases.include(on) => self.unknown_yet(spec, on, span),
            _ => Some(spec),
        }
    }

    /// The fields that this rule may name.
    fn fields(&self) -> String {
        let is_known =
            |spec: &&Spec| self.scope.on.is_none_or(|on| spec.phases.include(on)) && !spec.name.contains('.');
        let names: Vec<&str> = FIELDS.iter().filter(is_known).map(|spec| spec.name).collect();
        format!("the fields known here are {}", names.join(", "))
    }

    fn unknown_yet<T>(&mut self, spec: &Spec, on: On, span: &Range<usize>) -> Option<T> {
        let comes_later = matches!(on, On::Attempt | On::Answer | On::Call) && spec.phases.describe().contains("from");
        let yet = if comes_later { " yet" } else { "" };
        let mut problem = Problem::error("E040", format!("`{}` is not known{yet} when this rule runs", spec.name))
            .label(spec.phases.describe())
            .help(format!("use on = \"{}\"", Phases::advice(spec.phases)));
        problem.context = self.scope.on_place.map(|place| (place.clone(), runs(on).to_owned()));
        let Some(used_at) = self.used_at.clone() else { return self.report(problem, span.clone()) };
        // The macro is right by itself; the rule that uses it is not.
        let name = self.filling.first().copied().unwrap_or_default();
        problem.message = format!("`@{name}` uses `{}`, which is not known{yet} when this rule runs", spec.name);
        let told = |p: &Problem| p.message == problem.message && p.place.as_ref() == Some(&used_at);
        if !self.problems.iter().any(told) {
            problem.place = Some(used_at);
            self.problems.push(problem);
        }
        None
    }

    /// `distinct(caller)`, `share(...)`.
    pub(super) fn measure(&mut self, tree: &MeasureTree) -> Option<Measure> {
        match tree {
            MeasureTree::Plain(name) => self.plain_measure(name),
            MeasureTree::Share(node) => self.condition(node).map(Measure::Share),
            MeasureTree::Run(term, step) => {
                let typed = self.field(term)?;
                if !matches!((&typed.operand, typed.ty), (Operand::Field(_), Type::Number)) {
                    let message =
                        format!("`run` takes a phone number; `{}` is {}", typed.spec.name, typed.ty.describe());
                    return self.report(Problem::error("E059", message), term.span.clone());
                }
                match step.node.parse() {
                    Ok(step @ 1..=1_000_000) => Some(Measure::Run(typed.operand, step)),
                    _ => {
                        let message = format!("`{}` is no step: 1 to 1000000", step.node);
                        self.report(Problem::error("E059", message), step.span.clone())
                    }
                }
            }
            MeasureTree::Of(name, term) => self.measure_of(name, term),
        }
    }

    fn plain_measure(&mut self, name: &Spanned<String>) -> Option<Measure> {
        let problem = match name.node.as_str() {
            "count" => return Some(Measure::Count),
            "concurrent" => return Some(Measure::Concurrent),
            "longest" => return Some(Measure::Longest),
            "distinct" | "sum" | "avg" | "share" | "run" | "first_seen" => {
                Problem::error("E059", format!("`{}` needs to know of what", name.node)).help(MEASURES)
            }
            other => {
                let known = ["count", "concurrent", "longest", "distinct", "sum", "avg", "share", "run", "first_seen"];
                let problem = unknown("E059", "measure", "", other, suggest(other, known));
                if problem.help.is_some() { problem } else { problem.help(MEASURES) }
            }
        };
        self.report(problem, name.span.clone())
    }

    fn measure_of(&mut self, name: &Spanned<String>, term: &Spanned<Term>) -> Option<Measure> {
        match name.node.as_str() {
            "distinct" => self.key_part(term).map(Measure::Distinct),
            "sum" | "avg" => {
                let typed = self.field(term)?;
                if !matches!((&typed.operand, typed.ty), (Operand::Field(_), Type::Duration | Type::Money)) {
                    let message = format!("`{}` adds up duration, ring, setup or cost", name.node);
                    return self.report(Problem::error("E059", message), term.span.clone());
                }
                Some(if name.node == "sum" { Measure::Sum(typed.spec.field) } else { Measure::Avg(typed.spec.field) })
            }
            // Until the rule says otherwise.
            "first_seen" => {
                self.key_part(term).map(|operand| Measure::FirstSeen(operand, crate::limits::MEMORY_MS_DEFAULT))
            }
            "count" | "concurrent" | "longest" => {
                let message = format!("`{}` takes no field", name.node);
                self.report(Problem::error("E059", message).help("write it without parentheses"), term.span.clone())
            }
            _ => self.plain_measure(name),
        }
    }

    /// What keys are made of.
    pub(super) fn key_part(&mut self, term: &Spanned<Term>) -> Option<Operand> {
        let typed = self.field(term)?;
        match typed.operand {
            Operand::Field(_) | Operand::Prefix(..) => Some(typed.operand),
            Operand::Len(_) | Operand::Lower(_) => {
                let problem = Problem::error("E044", "only a field or `prefix(field, n)` may stand here");
                self.report(problem, term.span.clone())
            }
        }
    }

    /// The index of a list that holds what `left` is.
    pub(super) fn list(&mut self, name: &Spanned<String>, left: &Typed) -> Option<usize> {
        let Some(index) = self.scope.lists.iter().position(|l| l.name == name.node) else {
            let near = suggest(&name.node, self.scope.lists.iter().map(|l| l.name.as_str()));
            return self.report(unknown("E047", "list", "$", &name.node, near), name.span.clone());
        };
        let kind = self.scope.lists.get(index).map(|l| l.kind)?;
        let fits = matches!(
            (kind, left.ty),
            (ListKind::Numbers, Type::Number)
                | (ListKind::Texts, Type::Text)
                | (ListKind::Addresses, Type::Ip)
                | (ListKind::Countries, Type::Country)
        );
        if fits {
            return Some(index);
        }
        let message = format!("list `${}` holds {}; {}", name.node, kind.describe(), named(left));
        self.report(Problem::error("E048", message), name.span.clone())
    }

    /// Compiles what `contains` and its like look for.
    pub(super) fn search(
        &mut self,
        left: &Typed,
        affix: Affix,
        texts: &[&str],
        span: &Range<usize>,
    ) -> Option<Predicate> {
        if let ([text], true) = (texts, affix != Affix::Contains)
            && text.is_ascii()
        {
            let lower = text.to_ascii_lowercase().into_bytes().into();
            return Some(Predicate::Affix(left.operand.clone(), affix, lower));
        }
        let bytes: Vec<&[u8]> = texts.iter().map(|t| t.as_bytes()).collect();
        match search(affix, &bytes) {
            Some(regex) => Some(Predicate::Matches(left.operand.clone(), regex)),
            None => self
                .report(Problem::error("E054", "too much text to look for").help("put it into a list"), span.clone()),
        }
    }
}

/// What stands on the right of a comparison.
enum Side {
    Field,
    Literal(Literal),
}

const MEASURES: &str =
    "there are count, concurrent, distinct(field), sum(field), avg(field), share(condition) and run(field, step)";

fn is_field(term: &Spanned<Term>) -> bool {
    match &term.node {
        Term::Word(word) => Field::named(word).is_some(),
        Term::Call(..) => true,
        Term::Literal(_) => false,
    }
}

pub(super) fn not(predicate: Predicate) -> Predicate {
    match predicate {
        Predicate::Not(inner) => *inner,
        other => Predicate::Not(Box::new(other)),
    }
}

fn negate(predicate: Predicate, negated: bool) -> Predicate {
    if negated { not(predicate) } else { predicate }
}

/// `` `caller` is a phone number ``
pub(super) fn named(left: &Typed) -> String {
    format!("`{}` is {}", left.spec.name, left.ty.describe())
}

fn unordered(left: &Typed, operator: Comparison) -> Problem {
    let problem = Problem::error("E044", format!("`{}` needs an order; {}", operator.as_str(), named(left)));
    match left.ty {
        Type::Number => problem.help("numbers have ranges: `in {+46100..+46199}`"),
        Type::Weekday => problem.help("days have ranges: `in {Mon..Fri}`"),
        Type::Word(_) | Type::Country | Type::Text => problem.help("use ==, != or `in { ... }`"),
        _ => problem,
    }
}

fn unknown(code: &'static str, what: &str, sign: &str, name: &str, near: Option<&str>) -> Problem {
    match near {
        Some(near) => Problem::error(code, format!("unknown {what} `{sign}{name}`; did you mean `{sign}{near}`?")),
        None => Problem::error(code, format!("unknown {what} `{sign}{name}`")),
    }
}

fn runs(on: On) -> &'static str {
    match on {
        On::Attempt => "runs at call start",
        On::Answer => "runs when a call is answered",
        On::End => "runs when a call has ended",
        On::Call => "runs at call start, for the life of the call",
        On::Register => "runs on registrations",
        On::Request => "runs on SIP requests",
    }
}
