//! A mistake of an operator: code, place, caret, advice.

use std::ops::Range;

/// One root cause, with its place. `Severity::Error` keeps a policy from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable: `E014`, `W101`.
    pub code: &'static str,
    pub is_error: bool,
    pub message: String,
    pub place: Option<Place>,
    /// What the caret says.
    pub label: String,
    /// A second place that explains the first.
    pub context: Option<(Place, String)>,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

/// Bytes `span` of the file `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: String,
    pub span: Range<usize>,
}
