//! Country and class of a number, by longest prefix of the tables that ship under `rules/numbering`.

#[derive(Debug, Default)]
pub struct Numbering;
