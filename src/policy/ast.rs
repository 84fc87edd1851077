//! The rule language as it was written: a tree with places, before any meaning.

use std::ops::Range;

/// Something with the bytes of the expression it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spanned<T> {
    pub(super) node: T,
    pub(super) span: Range<usize>,
}

pub(super) type Node = Spanned<Expr>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Macro(String),
    Schedule {
        /// `during`; else `outside`.
        inside: bool,
        calendar: Spanned<String>,
    },
    /// A field on its own.
    Bare(Spanned<Term>),
    Compare {
        left: Spanned<Term>,
        operator: Spanned<Comparison>,
        right: Spanned<Term>,
    },
    In {
        left: Spanned<Term>,
        negated: bool,
        set: Vec<Item>,
    },
    Affix {
        left: Spanned<Term>,
        negated: bool,
        affix: Affix,
        set: Vec<Item>,
    },
    Matches {
        left: Spanned<Term>,
        negated: bool,
        regex: Spanned<String>,
    },
    Present {
        left: Spanned<Term>,
        negated: bool,
    },
    /// Reported already.
    Broken,
}

/// What may stand on a side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// A field, or a word of an enum: the other side decides.
    Word(String),
    Call(Function, Spanned<String>, Option<Spanned<String>>),
    Literal(Literal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Prefix,
    Len,
    Lower,
}

/// As written; its type is that of the field it meets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// With its `+`.
    Number(String),
    /// Without its `short:`.
    Short(String),
    Text(String),
    /// Integer, duration, percent, address, time or date.
    Figure(String),
    Word(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    One(Spanned<Literal>),
    /// Both ends belong.
    Range(Spanned<Literal>, Spanned<Literal>),
    List(Spanned<String>),
}

impl Item {
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Item::One(literal) => literal.span.clone(),
            Item::Range(low, high) => low.span.start..high.span.end,
            Item::List(name) => name.span.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Comparison {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
        }
    }

    /// The same question with its sides changed.
    pub(super) fn mirrored(self) -> Comparison {
        match self {
            Comparison::Below => Comparison::Above,
            Comparison::AtMost => Comparison::AtLeast,
            Comparison::Above => Comparison::Below,
            Comparison::AtLeast => Comparison::AtMost,
            same => same,
        }
    }
}

/// Where in a text another is looked for; letters match in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affix {
    Contains,
    Starts,
    Ends,
}

impl Affix {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Affix::Contains => "contains",
            Affix::Starts => "startswith",
            Affix::Ends => "endswith",
        }
    }
}
