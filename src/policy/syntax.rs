//! Rule text to tree: the grammar of the rule language, by recursive descent over [`super::token`].
//!
//! Knows no field and no type. A mistake is told once and skipped to the next `and`, `or` or `)`, so that the
//! rest of the expression is read as well.

use std::ops::Range;

use super::ast::{Affix, Expr, Function, Item, Literal, Node, Spanned, Term};
use super::origin::Reporter;
use super::problem::Problem;
use super::token::{Placed, Token, tokens};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// Reads a whole expression. `None` where nothing of it could be read; what was wrong is reported.
pub(super) fn parse(text: &str, reporter: &mut Reporter<'_>) -> Option<Node> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!("expression of {} bytes; at most {EXPRESSION_BYTES_MAX} are read", text.len());
        reporter.report(Problem::error("E054", message).help("put long sets into a list"), 0..0);
        return None;
    }
    let tokens = tokens(text, reporter)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, spent: false, end: text.len(), reporter };
    let node = parser.expr();
    if parser.at < parser.tokens.len() {
        let extra = parser.here();
        let problem = match parser.peek() {
            Some(Token::Close) => Problem::error("E041", "`)` closes nothing").help("remove it, or open it with `(`"),
            _ => parser.unexpected("`and`, `or` or the end"),
        };
        parser.reporter.report(problem, extra);
        return Some(Spanned { node: Expr::Broken, span: node.span });
    }
    Some(node)
}

/// Reads `caller` or `prefix(caller, 7)` and nothing more.
pub(super) fn parse_term(text: &str, reporter: &mut Reporter<'_>) -> Option<Spanned<Term>> {
    if text.len() > EXPRESSION_BYTES_MAX {
        reporter.report(Problem::error("E054", "text is too long for a field"), 0..0);
        return None;
    }
    let tokens = tokens(text, reporter)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, spent: false, end: text.len(), reporter };
    let term = parser.term().ok()?;
    if parser.at < parser.tokens.len() {
        let (extra, problem) = (parser.here(), parser.unexpected("the end"));
        parser.reporter.report(problem, extra);
        return None;
    }
    Some(term)
}

/// `measure`, as written.
#[derive(Debug)]
pub(super) enum MeasureTree {
    /// `count`, `concurrent`, ...
    Plain(Spanned<String>),
    /// `distinct(field)`, `sum(field)`, `avg(field)`, ...
    Of(Spanned<String>, Spanned<Term>),
    Share(Node),
    /// `run(field, step)`
    Run(Spanned<Term>, Spanned<String>),
}

/// Reads a measure.
pub(super) fn parse_measure(text: &str, reporter: &mut Reporter<'_>) -> Option<MeasureTree> {
    if text.len() > EXPRESSION_BYTES_MAX {
        reporter.report(Problem::error("E054", "text is too long for a measure"), 0..0);
        return None;
    }
    let tokens = tokens(text, reporter)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, spent: false, end: text.len(), reporter };
    let measure = parser.measure().ok()?;
    if parser.at < parser.tokens.len() {
        let (extra, problem) = (parser.here(), parser.unexpected("the end"));
        parser.reporter.report(problem, extra);
        return None;
    }
    Some(measure)
}

/// A mistake that is reported already.
struct Told;

struct Parser<'p, 'r> {
    tokens: &'p [Placed<'p>],
    at: usize,
    /// Open parentheses and `not`s around.
    depth: usize,
    /// The rest was given up on; what it lacks is nobody's mistake.
    spent: bool,
    /// Length of the text.
    end: usize,
    reporter: &'p mut Reporter<'r>,
}

impl<'p> Parser<'p, '_> {
    fn peek(&self) -> Option<&'p Token<'p>> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn here(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |(_, span)| span.clone())
    }

    /// End of the token read last.
    fn read_to(&self) -> usize {
        self.at.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(0, |(_, span)| span.end)
    }

    fn take(&mut self, token: &Token<'_>) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.take(&Token::Word(word))
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let found = match self.peek() {
            None => "the expression ends".to_owned(),
            Some(token) => format!("found {}", describe(token)),
        };
        let problem = Problem::error("E041", format!("expected {wanted}, {found}"));
        match (self.peek(), self.at.checked_sub(1).and_then(|i| self.tokens.get(i))) {
            (Some(Token::Word("AND" | "OR" | "NOT" | "IN" | "IS")), _) => problem.help("keywords are lower case"),
            (Some(Token::Figure(_)), Some((Token::Plus(_), _))) => {
                problem.help("write the number without spaces, or as text: \"+46 8 400 00 00\"")
            }
            _ => problem,
        }
    }

    fn fail<T>(&mut self, wanted: &str) -> Result<T, Told> {
        if !self.spent {
            let (span, problem) = (self.here(), self.unexpected(wanted));
            self.reporter.report(problem, span);
        }
        Err(Told)
    }

    fn expect(&mut self, token: &Token<'_>, wanted: &str) -> Result<(), Told> {
        if self.take(token) { Ok(()) } else { self.fail(wanted) }
    }

    fn expr(&mut self) -> Node {
        let first = self.unary();
        let start = first.span.start;
        let Some(joint) = self.joint() else { return first };
        let (mut parts, mut mixed) = (vec![first], false);
        while let Some(next) = self.joint() {
            if next != joint && !mixed {
                mixed = true;
                let problem = Problem::error("E042", "`and` and `or` side by side: which binds first is not defined")
                    .label(format!("`{next}` after `{joint}`"))
                    .help("say it with parentheses: `a and (b or c)` or `(a and b) or c`");
                self.reporter.report(problem, self.here());
            }
            self.at += 1;
            parts.push(self.unary());
        }
        let span = start..self.read_to().max(start);
        let expr = match joint {
            _ if mixed => {
                Expr::All(parts.into_iter().chain([Spanned { node: Expr::Broken, span: span.clone() }]).collect())
            }
            "and" => Expr::All(parts),
            _ => Expr::Any(parts),
        };
        Spanned { node: expr, span }
    }

    fn joint(&self) -> Option<&'static str> {
        match self.peek() {
            Some(Token::Word("and")) => Some("and"),
            Some(Token::Word("or")) => Some("or"),
            _ => None,
        }
    }

    fn unary(&mut self) -> Node {
        let start = self.here().start;
        if self.depth >= EXPRESSION_DEPTH_MAX {
            let message = format!("nested more than {EXPRESSION_DEPTH_MAX} deep");
            let problem = Problem::error("E054", message).help("give parts of it a name under [macros]");
            self.reporter.report(problem, self.here());
            self.at = self.tokens.len();
            self.spent = true;
            return Spanned { node: Expr::Broken, span: start..self.end };
        }
        self.depth += 1;
        let read = if self.take_word("not") {
            let inner = Box::new(self.unary());
            Ok(self.node(Expr::Not(inner), start))
        } else {
            self.primary()
        };
        self.depth -= 1;
        read.unwrap_or_else(|Told| {
            self.skip();
            self.node(Expr::Broken, start)
        })
    }

    fn node(&self, node: Expr, start: usize) -> Node {
        Spanned { node, span: start..self.read_to().max(start) }
    }

    /// To the next place where a test may begin afresh.
    fn skip(&mut self) {
        let mut open = 0usize;
        while let Some(token) = self.peek() {
            match token {
                Token::Open => open += 1,
                Token::Close if open == 0 => return,
                Token::Close => open -= 1,
                Token::Word("and" | "or") if open == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Parentheses belong to no node: what is wrong inside them is told without them.
    fn primary(&mut self) -> Result<Node, Told> {
        let start = self.here().start;
        let expr = match self.peek() {
            Some(Token::Open) => {
                self.at += 1;
                let inner = self.expr();
                self.expect(&Token::Close, "`)`")?;
                return Ok(inner);
            }
            Some(Token::Macro(name)) => {
                self.at += 1;
                Expr::Macro((*name).to_owned())
            }
            Some(Token::Word(word @ ("during" | "outside"))) => {
                self.at += 1;
                self.expect(&Token::Open, "`(` and the name of a calendar")?;
                let calendar = self.name("the name of a calendar")?;
                self.expect(&Token::Close, "`)`")?;
                Expr::Schedule { inside: *word == "during", calendar }
            }
            _ => self.test()?,
        };
        Ok(self.node(expr, start))
    }

    fn name(&mut self, wanted: &str) -> Result<Spanned<String>, Told> {
        let span = self.here();
        match self.peek() {
            Some(Token::Word(name)) if !is_keyword(name) => {
                self.at += 1;
                Ok(Spanned { node: (*name).to_owned(), span })
            }
            _ => self.fail(wanted),
        }
    }

    fn test(&mut self) -> Result<Expr, Told> {
        let left = self.term()?;
        if let Some(Token::Compare(operator)) = self.peek() {
            let operator = Spanned { node: *operator, span: self.here() };
            self.at += 1;
            let right = self.term()?;
            self.refuse_chain()?;
            return Ok(Expr::Compare { left, operator, right });
        }
        if self.take_word("is") {
            let negated = self.take_word("not");
            self.expect(&Token::Word("present"), "`present` or `not present`")?;
            return Ok(Expr::Present { left, negated });
        }
        let negated = self.take_word("not");
        let affix = match self.peek() {
            Some(Token::Word("in")) => None,
            Some(Token::Word("contains")) => Some(Affix::Contains),
            Some(Token::Word("startswith")) => Some(Affix::Starts),
            Some(Token::Word("endswith")) => Some(Affix::Ends),
            Some(Token::Word("matches")) => return self.matches(left, negated),
            _ if negated => return self.fail("`in`, `contains`, `startswith`, `endswith` or `matches`"),
            None | Some(Token::Close | Token::Word("and" | "or")) => return Ok(Expr::Bare(left)),
            _ => {
                let (span, problem) = (self.here(), self.unexpected("an operator, `and`, `or` or the end"));
                let operators =
                    "operators are ==, !=, <, <=, >, >=, in, contains, startswith, endswith, matches and `is present`";
                let problem = if problem.help.is_some() { problem } else { problem.help(operators) };
                self.reporter.report(problem, span);
                return Err(Told);
            }
        };
        self.at += 1;
        let set = self.set(affix.is_some())?;
        Ok(match affix {
            None => Expr::In { left, negated, set },
            Some(affix) => Expr::Affix { left, negated, affix, set },
        })
    }

    /// `1s < ring < 6s`
    fn refuse_chain(&mut self) -> Result<(), Told> {
        if !matches!(self.peek(), Some(Token::Compare(_))) {
            return Ok(());
        }
        let problem = Problem::error("E041", "a comparison has two sides").help("join two comparisons by `and`");
        self.reporter.report(problem, self.here());
        Err(Told)
    }

    fn matches(&mut self, left: Spanned<Term>, negated: bool) -> Result<Expr, Told> {
        self.at += 1;
        let span = self.here();
        let Some(Token::Regex(regex)) = self.peek() else { return self.fail("a regular expression: /.../") };
        self.at += 1;
        Ok(Expr::Matches { left, negated, regex: Spanned { node: (*regex).to_owned(), span } })
    }

    /// `{ ... }` or `$list`; after a text operator also one text alone.
    fn set(&mut self, single: bool) -> Result<Vec<Item>, Told> {
        match self.peek() {
            Some(Token::List(_)) => return Ok(vec![self.item()?]),
            Some(Token::BraceOpen) => self.at += 1,
            _ if single => return Ok(vec![Item::One(self.literal("a text, `{` or a list")?)]),
            Some(Token::Open) => {
                let problem = Problem::error("E041", "a set stands in braces").help("write `in { ... }`");
                self.reporter.report(problem, self.here());
                return Err(Told);
            }
            _ => return self.fail("`{` or a list such as `$name`"),
        }
        let mut items = vec![self.item()?];
        loop {
            let more = self.take(&Token::Comma);
            if self.take(&Token::BraceClose) {
                return Ok(items);
            }
            if !more {
                return self.fail("`,` or `}`");
            }
            items.push(self.item()?);
        }
    }

    fn item(&mut self) -> Result<Item, Told> {
        let span = self.here();
        if let Some(Token::List(name)) = self.peek() {
            self.at += 1;
            return Ok(Item::List(Spanned { node: (*name).to_owned(), span }));
        }
        let low = self.literal("a value")?;
        if self.take(&Token::Range) {
            return Ok(Item::Range(low, self.literal("the end of the range")?));
        }
        Ok(Item::One(low))
    }

    fn literal(&mut self, wanted: &str) -> Result<Spanned<Literal>, Told> {
        let span = self.here();
        let literal = match self.peek() {
            Some(Token::Word(word)) if !is_keyword(word) => Literal::Word((*word).to_owned()),
            Some(token) => match plain(token) {
                Some(literal) => literal,
                None => return self.fail(wanted),
            },
            None => return self.fail(wanted),
        };
        self.at += 1;
        Ok(Spanned { node: literal, span })
    }

    fn term(&mut self) -> Result<Spanned<Term>, Told> {
        let start = self.here().start;
        let node = match self.peek() {
            Some(Token::Word(word)) if !is_keyword(word) => {
                self.at += 1;
                if self.peek() == Some(&Token::Open) { self.call(word, start)? } else { Term::Word((*word).to_owned()) }
            }
            _ => Term::Literal(self.literal("a field")?.node),
        };
        Ok(Spanned { node, span: start..self.read_to() })
    }

    fn measure(&mut self) -> Result<MeasureTree, Told> {
        let name = self.name("a measure")?;
        if !self.take(&Token::Open) {
            return Ok(MeasureTree::Plain(name));
        }
        let measure = match name.node.as_str() {
            "share" => MeasureTree::Share(self.expr()),
            "run" => {
                let field = self.term()?;
                self.expect(&Token::Comma, "`,` and the largest step between neighbours")?;
                let span = self.here();
                let Some(Token::Figure(step)) = self.peek() else { return self.fail("the largest step") };
                self.at += 1;
                MeasureTree::Run(field, Spanned { node: (*step).to_owned(), span })
            }
            _ => MeasureTree::Of(name, self.term()?),
        };
        self.expect(&Token::Close, "`)`")?;
        Ok(measure)
    }

    fn call(&mut self, name: &str, start: usize) -> Result<Term, Told> {
        let function = match name {
            "prefix" => Function::Prefix,
            "len" => Function::Len,
            "lower" => Function::Lower,
            _ => {
                let problem = Problem::error("E041", format!("unknown function `{name}`"))
                    .help("there are prefix(field, n), len(field) and lower(field)");
                self.reporter.report(problem, start..start + name.len());
                return Err(Told);
            }
        };
        self.at += 1;
        let field = self.name("a field")?;
        let mut n = None;
        if self.take(&Token::Comma) {
            let span = self.here();
            let Some(Token::Figure(figure)) = self.peek() else { return self.fail("a count of digits") };
            self.at += 1;
            n = Some(Spanned { node: (*figure).to_owned(), span });
        }
        self.expect(&Token::Close, "`)`")?;
        Ok(Term::Call(function, field, n))
    }
}

fn plain(token: &Token<'_>) -> Option<Literal> {
    Some(match token {
        Token::Plus(number) => Literal::Number((*number).to_owned()),
        Token::Short(symbols) => Literal::Short((*symbols).to_owned()),
        Token::Text(text) => Literal::Text(text.clone().into_owned()),
        Token::Figure(figure) => Literal::Figure((*figure).to_owned()),
        _ => return None,
    })
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "and" | "or" | "not" | "in" | "is" | "contains" | "startswith" | "endswith" | "matches" | "during" | "outside"
    )
}

fn describe(token: &Token<'_>) -> String {
    let plain = match token {
        Token::Word(t) | Token::Plus(t) | Token::Figure(t) => return format!("`{t}`"),
        Token::Short(symbols) => return format!("`short:{symbols}`"),
        Token::List(name) => return format!("`${name}`"),
        Token::Macro(name) => return format!("`@{name}`"),
        Token::Compare(operator) => return format!("`{}`", operator.as_str()),
        Token::Text(_) => "a text",
        Token::Regex(_) => "a regular expression",
        Token::Open => "`(`",
        Token::Close => "`)`",
        Token::BraceOpen => "`{`",
        Token::BraceClose => "`}`",
        Token::Comma => "`,`",
        Token::Range => "`..`",
    };
    plain.to_owned()
}
