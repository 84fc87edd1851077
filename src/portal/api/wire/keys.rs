//! JSON about the keys that a rule holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The keys of a rule, the largest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    pub rule: String,
    /// `count`, `distinct`, ...; `match` of a firewall rule.
    pub measure: String,
    pub window: String,
    /// The levels as they are written.
    pub warning: Option<String>,
    pub critical: Option<String>,
    /// As of this event time.
    pub at: String,
    pub keys: Vec<KeyView>,
    /// How many there are, listed or not.
    pub n: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    pub customer: String,
    /// By `per` entry.
    pub key: BTreeMap<String, String>,
    /// How the key is named: its values in the order of `per`, with `,` between them.
    pub name: String,
    /// Counts, seconds, money, percent.
    pub value: f64,
    /// `warning` or `critical`, while an alert is open.
    pub level: Option<String>,
    /// Since when it is.
    pub since: Option<String>,
    /// Time of the newest event.
    pub newest: String,
}

/// Keys to be forgotten: those that are named, or all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyReset {
    pub keys: Vec<String>,
    pub all: bool,
    /// Only this customer's.
    pub customer: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyResetDone {
    pub rule: String,
    /// How many were forgotten.
    pub n: u64,
    pub hints: Vec<String>,
}
