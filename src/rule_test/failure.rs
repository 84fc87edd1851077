//! What is not as a test says.

use crate::engine::RuleRef;

/// One thing that is not as the test says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) kind: What,
    /// Where the test says otherwise, counted from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// What explains it, a line each.
    pub(super) notes: Vec<String>,
    /// The violation, as `replay` prints it.
    pub(super) violation: Option<String>,
    /// Which entry of `expect` it is about.
    pub(super) expected: Option<usize>,
    /// Which rule of the id that is expected it is about: the rule itself, or what overrides it for a customer.
    pub(super) rule: Option<RuleRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An expected violation did not come.
    Missing,
    /// One came that nobody expects.
    Unexpected,
    /// It came, but at another time, with another value, level or key.
    Different,
    /// The firewall said something else.
    Verdict,
    /// A call of the test, or a record, is no event.
    Unreadable,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            What::Missing => "missing",
            What::Unexpected => "unexpected",
            What::Different => "different",
            What::Verdict => "verdict",
            What::Unreadable => "unreadable",
        }
    }
}

impl Failure {
    pub(super) fn new(kind: What, line: usize, text: String) -> Failure {
        Failure { kind, line, text, notes: Vec::new(), violation: None, expected: None, rule: None }
    }
}
