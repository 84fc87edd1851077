//! Compiled conditions: what `when` and `where` mean for one event.

use super::{DynamicLists, Policy};
use crate::event::{Batch, CallEvent, Field, Names};

/// What a predicate may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub event: &'a CallEvent,
    pub batch: &'a Batch,
    pub policy: &'a Policy,
    pub names: &'a Names,
    pub dynamic: &'a DynamicLists,
}

/// A field, or a function of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    Field(Field),
    /// The first n digits.
    Prefix(Field, u32),
    /// Count of digits or characters.
    Len(Field),
    Lower(Field),
}

/// A condition of the rule language, typed and resolved.
#[derive(Debug)]
pub enum Predicate {
    Always,
}

impl Predicate {
    pub fn eval(&self, _view: &View<'_>) -> bool {
        true
    }
}

/// A list of texts.
#[derive(Debug, Default)]
pub struct TextSet;
/// A list of addresses and networks.
#[derive(Debug, Default)]
pub struct AddressSet;
/// A list of ISO 3166 countries.
#[derive(Debug, Default)]
pub struct CountrySet;
