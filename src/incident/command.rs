//! What people may ask of the book, what they get, and how they are refused.

use super::Severity;
use super::facts::Given;
use super::people::{Actor, Role};
use super::record::Position;

/// Longest text a person may hand in. A page; the rest is somebody's paste gone wrong.
const TEXT_CHARS_MAX: usize = 10_000;

/// One order. Incidents and messages go by their numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A person saw something before any rule did.
    Open {
        customer: String,
        what: String,
        severity: Severity,
        why: String,
    },
    Suspect {
        incident: i64,
        why: String,
    },
    Confirm {
        incident: i64,
        why: String,
    },
    Dismiss {
        incident: i64,
        why: String,
    },
    Mitigate {
        incident: i64,
        why: String,
    },
    Monitor {
        incident: i64,
        why: String,
    },
    Resolve {
        incident: i64,
        why: String,
    },
    Review {
        incident: i64,
        why: String,
    },
    Reopen {
        incident: i64,
        why: String,
    },
    SetSeverity {
        incident: i64,
        severity: Severity,
        why: String,
    },
    Assign {
        incident: i64,
        position: Position,
        person: String,
    },
    Fold {
        incident: i64,
        into: i64,
        why: String,
    },
    Unfold {
        incident: i64,
        why: String,
    },
    /// What is `None` stays as it is.
    Findings {
        incident: i64,
        findings: Option<String>,
        recommendations: Option<String>,
    },
    Note {
        incident: i64,
        text: String,
    },
    /// The person looks after it.
    Acknowledge {
        incident: i64,
        why: String,
    },
    Draft {
        incident: i64,
        kit: String,
        given: Given,
    },
    /// Another text for a message that was not released. `hash`: of the text that was looked at.
    Redraft {
        message: i64,
        hash: String,
        given: Given,
    },
    Check {
        message: i64,
        hash: String,
    },
    Return {
        message: i64,
        comment: String,
    },
    Release {
        message: i64,
        hash: String,
    },
    Withdraw {
        message: i64,
        why: String,
    },
}

impl Command {
    /// The incident that is meant, where one is named.
    pub fn incident(&self) -> Option<i64> {
        match self {
            Command::Open { .. } => None,
            Command::Suspect { incident, .. }
            | Command::Confirm { incident, .. }
            | Command::Dismiss { incident, .. }
            | Command::Mitigate { incident, .. }
            | Command::Monitor { incident, .. }
            | Command::Resolve { incident, .. }
            | Command::Review { incident, .. }
            | Command::Reopen { incident, .. }
            | Command::SetSeverity { incident, .. }
            | Command::Assign { incident, .. }
            | Command::Fold { incident, .. }
            | Command::Unfold { incident, .. }
            | Command::Findings { incident, .. }
            | Command::Note { incident, .. }
            | Command::Acknowledge { incident, .. }
            | Command::Draft { incident, .. } => Some(*incident),
            Command::Redraft { .. }
            | Command::Check { .. }
            | Command::Return { .. }
            | Command::Release { .. }
            | Command::Withdraw { .. } => None,
        }
    }

    pub fn message(&self) -> Option<i64> {
        match self {
            Command::Redraft { message, .. }
            | Command::Check { message, .. }
            | Command::Return { message, .. }
            | Command::Release { message, .. }
            | Command::Withdraw { message, .. } => Some(*message),
            _ => None,
        }
    }

    /// What it is called in the log and the audit.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Open { .. } => "open",
            Command::Suspect { .. } => "suspect",
            Command::Confirm { .. } => "confirm",
            Command::Dismiss { .. } => "dismiss",
            Command::Mitigate { .. } => "mitigate",
            Command::Monitor { .. } => "monitor",
            Command::Resolve { .. } => "resolve",
            Command::Review { .. } => "review",
            Command::Reopen { .. } => "reopen",
            Command::SetSeverity { .. } => "severity",
            Command::Assign { .. } => "assign",
            Command::Fold { .. } => "fold",
            Command::Unfold { .. } => "unfold",
            Command::Findings { .. } => "findings",
            Command::Note { .. } => "note",
            Command::Acknowledge { .. } => "acknowledge",
            Command::Draft { .. } => "draft",
            Command::Redraft { .. } => "redraft",
            Command::Check { .. } => "check",
            Command::Return { .. } => "return",
            Command::Release { .. } => "release",
            Command::Withdraw { .. } => "withdraw",
        }
    }

    /// Roles of which one is needed, before what the incident itself asks for.
    pub(super) fn roles(&self) -> &'static [Role] {
        match self {
            Command::Open { .. } | Command::Suspect { .. } | Command::Note { .. } => {
                &[Role::Analyst, Role::Responder, Role::Commander]
            }
            Command::Findings { .. } => &[Role::Analyst, Role::Responder, Role::Commander],
            _ => &[Role::Responder, Role::Commander],
        }
    }

    /// Refuses texts that are missing or too long.
    pub(super) fn check_texts(&self) -> Result<(), Refusal> {
        let mut wrong = Vec::new();
        let mut look = |name: &str, text: &str, is_needed: bool| {
            if is_needed && text.trim().is_empty() {
                wrong.push(format!("{name}: is needed"));
            }
            let n = text.chars().count();
            if n > TEXT_CHARS_MAX {
                wrong.push(format!("{name}: has {n} characters, at most {TEXT_CHARS_MAX} fit"));
            }
        };
        match self {
            Command::Open { what, why, .. } => {
                look("what", what, true);
                look("why", why, false);
            }
            Command::Dismiss { why, .. }
            | Command::SetSeverity { why, .. }
            | Command::Reopen { why, .. }
            | Command::Withdraw { why, .. } => look("why", why, true),
            Command::Suspect { why, .. }
            | Command::Confirm { why, .. }
            | Command::Mitigate { why, .. }
            | Command::Monitor { why, .. }
            | Command::Resolve { why, .. }
            | Command::Review { why, .. }
            | Command::Fold { why, .. }
            | Command::Unfold { why, .. }
            | Command::Acknowledge { why, .. } => look("why", why, false),
            Command::Assign { person, .. } => look("person", person, true),
            Command::Findings { findings, recommendations, .. } => {
                look("findings", findings.as_deref().unwrap_or_default(), false);
                look("recommendations", recommendations.as_deref().unwrap_or_default(), false);
            }
            Command::Note { text, .. } => look("text", text, true),
            Command::Return { comment, .. } => look("comment", comment, true),
            Command::Draft { given, .. } | Command::Redraft { given, .. } => {
                given.texts.iter().for_each(|(name, text)| look(name, text, true));
            }
            Command::Check { .. } | Command::Release { .. } => {}
        }
        if wrong.is_empty() { Ok(()) } else { Err(Refusal::Invalid(wrong)) }
    }
}

/// What came of a command that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub incident: Option<i64>,
    pub message: Option<i64>,
    /// What to do next, or what else happened, in sentences.
    pub hints: Vec<String>,
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Forbidden(String),
    /// It does not fit how things stand: somebody else was quicker, or a step is missing.
    #[error("{0}")]
    Conflict(String),
    /// Everything that is wrong with what was handed in.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// Refuses who has none of these roles.
pub(super) fn need(actor: &Actor, roles: &[Role], what: &str) -> Result<(), Refusal> {
    if actor.roles.has_any(roles) {
        return Ok(());
    }
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let is = if actor.roles.is_empty() { "nothing".to_owned() } else { actor.roles.to_string() };
    Err(Refusal::Forbidden(format!("{what}: it takes a {}; {} is {is}", names.join(" or a "), actor.name)))
}
