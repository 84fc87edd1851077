//! Facts: what a message is about, as the incident book hands it over; and the variables that kits declare for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    Text(String),
    Number(i64),
    /// As it is read, and as it is said: `Tue 2 June 14:30 CDT`, `half past two in the afternoon`.
    Time {
        display: String,
        spoken: String,
    },
    List(Vec<String>),
}

impl Fact {
    pub fn text(text: impl Into<String>) -> Fact {
        Fact::Text(text.into())
    }

    pub fn time(display: impl Into<String>, spoken: impl Into<String>) -> Fact {
        Fact::Time { display: display.into(), spoken: spoken.into() }
    }
}

/// Facts by name. A kit takes those that it declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, Fact>);

impl Facts {
    pub fn set(&mut self, name: impl Into<String>, fact: Fact) {
        self.0.insert(name.into(), fact);
    }

    pub fn with(mut self, name: impl Into<String>, fact: Fact) -> Facts {
        self.set(name, fact);
        self
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.get(name)
    }

    /// In the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    Text,
    Number,
    Time,
    List,
}

impl Type {
    pub(crate) const WORDS: [(&str, Type); 4] =
        [("text", Type::Text), ("number", Type::Number), ("time", Type::Time), ("list", Type::List)];

    pub fn as_str(self) -> &'static str {
        Type::WORDS.iter().find(|(_, t)| *t == self).map_or("", |(word, _)| word)
    }

    /// Texts may be given as numbers: an amount is one or the other by currency.
    pub(crate) fn takes(self, fact: &Fact) -> bool {
        match (self, fact) {
            (Type::Text, Fact::Text(_) | Fact::Number(_)) => true,
            (Type::Number, Fact::Number(_)) | (Type::Time, Fact::Time { .. }) | (Type::List, Fact::List(_)) => true,
            (Type::Text | Type::Number | Type::Time | Type::List, _) => false,
        }
    }
}

/// What a kit says of one name that its texts use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    pub name: String,
    #[serde(rename = "type")]
    pub of: Type,
    pub is_required: bool,
    /// Typed by a person, at the time.
    pub is_free: bool,
    /// Longest value in characters; data is cut there, a person is asked to shorten.
    pub chars_max: usize,
    pub example: Fact,
    /// What is said where nobody gives a value.
    pub default: Option<String>,
    /// Always this, whatever is given.
    pub fixed: Option<String>,
}

/// A fact that the incident book knows.
#[derive(Clone, Copy, Debug)]
pub struct Offered {
    pub name: &'static str,
    pub of: Type,
    pub is_free: bool,
}

const fn data(name: &'static str, of: Type) -> Offered {
    Offered { name, of, is_free: false }
}

const fn typed(name: &'static str) -> Offered {
    Offered { name, of: Type::Text, is_free: true }
}

/// Everything a kit may ask for.
pub const OFFERED: &[Offered] = &[
    data("customer", Type::Text),
    data("incident", Type::Text),
    data("case", Type::Text),
    data("severity", Type::Number),
    data("severity_word", Type::Text),
    data("old_severity", Type::Number),
    data("certainty", Type::Text),
    data("what", Type::Text),
    data("as_of", Type::Time),
    data("since", Type::Time),
    data("next_update", Type::Time),
    data("duration", Type::Text),
    data("n_violations", Type::Number),
    data("minutes", Type::Number),
    data("cost", Type::Text),
    data("escalation", Type::Text),
    typed("action"),
    typed("scope"),
    typed("changed"),
    typed("workaround"),
    typed("reason"),
    typed("findings"),
    typed("recommendations"),
    // Cases. What a requester wrote is data: it is not the words of those who answer.
    data("subject", Type::Text),
    data("missing", Type::List),
    data("change", Type::Text),
    data("authorise_by", Type::Time),
    data("clock", Type::Text),
    data("deadline", Type::Time),
    typed("result"),
];

pub(crate) fn offered(name: &str) -> Option<&'static Offered> {
    OFFERED.iter().find(|o| o.name == name)
}

/// Is it a number such as `INC-000123`, which is said digit by digit, without what stands before?
pub(crate) fn is_reference(name: &str) -> bool {
    matches!(name, "incident" | "case")
}
