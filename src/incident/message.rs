//! One notice of an incident, in every form at once, from its draft to its release.

use serde::{Deserialize, Serialize};

use super::Severity;
use super::facts::Given;
use crate::clock::Timestamp;
use crate::kit::Forms;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    Drafted,
    /// A second person approved of the exact text of every form.
    Checked,
    /// Back with its author, with a comment.
    Returned,
    Released,
    /// A later release of the same incident says more.
    Superseded,
    Withdrawn,
}

impl MessageState {
    pub const ALL: [MessageState; 6] = [
        MessageState::Drafted,
        MessageState::Checked,
        MessageState::Returned,
        MessageState::Released,
        MessageState::Superseded,
        MessageState::Withdrawn,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            MessageState::Drafted => "drafted",
            MessageState::Checked => "checked",
            MessageState::Returned => "returned",
            MessageState::Released => "released",
            MessageState::Superseded => "superseded",
            MessageState::Withdrawn => "withdrawn",
        }
    }

    /// The table of legal transitions. A holding kit was checked as a kit: it alone goes from `drafted` to `released`.
    pub fn may_become(self, next: MessageState, is_holding: bool) -> bool {
        use MessageState::{Checked, Drafted, Released, Returned, Superseded, Withdrawn};
        match (self, next) {
            (Drafted, Checked)
            | (Checked, Released)
            | (Drafted | Checked, Returned)
            // Any later change of the text voids the check.
            | (Checked | Returned, Drafted)
            | (Drafted | Checked | Returned | Released, Withdrawn)
            | (Released, Superseded) => true,
            (Drafted, Released) => is_holding,
            _ => false,
        }
    }

    /// Somebody is still to do something about it.
    pub fn is_open(self) -> bool {
        matches!(self, MessageState::Drafted | MessageState::Checked | MessageState::Returned)
    }
}

/// Who approved of which text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub by: String,
    pub at: Timestamp,
    pub hash: String,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: i64,
    pub incident: i64,
    pub customer: String,
    pub kit: String,
    /// Of the kit it was rendered from. With another one it has to be drafted again.
    pub kit_version: String,
    /// Who wrote the text as it stands.
    pub author: String,
    /// Everybody who wrote at it: none of them is the second person.
    pub authors: Vec<String>,
    pub state: MessageState,
    pub severity: Severity,
    /// What it calls the incident: `suspected` or `confirmed`.
    pub certainty: String,
    /// What its author handed in.
    pub given: Given,
    pub forms: Forms,
    /// Of the exact text of every form.
    pub hash: String,
    pub check: Option<Check>,
    /// Why it was returned.
    pub comment: Option<String>,
    /// It went out without a check, since nobody answered in time: the holding kit, which was checked as a kit.
    pub is_before_check: bool,
    pub drafted: Timestamp,
    pub changed: Timestamp,
    pub released: Option<Timestamp>,
    pub released_by: Option<String>,
    /// When a provider took it for a customer's contact.
    pub accepted: Option<Timestamp>,
}

impl Message {
    /// The check covers the very text that stands there now.
    pub fn is_check_good(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.hash == self.hash && self.hash == self.forms.hash())
    }
}
