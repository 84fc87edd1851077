//! The kinds of notice there are, and what each must say whatever its words are.

use serde::{Deserialize, Serialize};

/// One kind of notice. Every kind has one kit in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Suspected. Goes out before anybody has checked it, so nobody's own words are in it.
    Holding,
    Confirmed,
    Update,
    Action,
    Severity,
    Monitoring,
    Resolved,
    FalseAlarm,
    Review,
    CaseReceived,
    CaseMissing,
    CaseAuthorise,
    CaseRefused,
    CaseDone,
    CaseFindings,
    ObjectiveBreached,
}

/// When the reader hears again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Always known: the variable is required.
    Promised(&'static str),
    /// Said where it is known: every form uses one of these.
    Told(&'static [&'static str]),
    /// This notice is the last one.
    Last,
}

impl Kind {
    pub const ALL: [Kind; 16] = [
        Kind::Holding,
        Kind::Confirmed,
        Kind::Update,
        Kind::Action,
        Kind::Severity,
        Kind::Monitoring,
        Kind::Resolved,
        Kind::FalseAlarm,
        Kind::Review,
        Kind::CaseReceived,
        Kind::CaseMissing,
        Kind::CaseAuthorise,
        Kind::CaseRefused,
        Kind::CaseDone,
        Kind::CaseFindings,
        Kind::ObjectiveBreached,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Holding => "holding",
            Kind::Confirmed => "confirmed",
            Kind::Update => "update",
            Kind::Action => "action",
            Kind::Severity => "severity",
            Kind::Monitoring => "monitoring",
            Kind::Resolved => "resolved",
            Kind::FalseAlarm => "false-alarm",
            Kind::Review => "review",
            Kind::CaseReceived => "case-received",
            Kind::CaseMissing => "case-missing",
            Kind::CaseAuthorise => "case-authorise",
            Kind::CaseRefused => "case-refused",
            Kind::CaseDone => "case-done",
            Kind::CaseFindings => "case-findings",
            Kind::ObjectiveBreached => "objective-breached",
        }
    }

    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The variables of which every form carries one: the number to ask about.
    pub(crate) fn numbers(self) -> &'static [&'static str] {
        match self {
            Kind::ObjectiveBreached => &["incident", "case"],
            Kind::CaseReceived
            | Kind::CaseMissing
            | Kind::CaseAuthorise
            | Kind::CaseRefused
            | Kind::CaseDone
            | Kind::CaseFindings => &["case"],
            _ => &["incident"],
        }
    }

    pub(crate) fn next(self) -> Next {
        match self {
            Kind::Update => Next::Promised("next_update"),
            Kind::CaseAuthorise => Next::Promised("authorise_by"),
            Kind::CaseReceived | Kind::CaseMissing | Kind::CaseFindings => Next::Told(&["deadline", "next_update"]),
            Kind::Resolved | Kind::FalseAlarm | Kind::Review | Kind::CaseRefused | Kind::CaseDone => Next::Last,
            _ => Next::Told(&["next_update"]),
        }
    }

    /// Is it checked once, as a kit, and goes out without a person's look at the text?
    pub fn is_checked_as_kit(self) -> bool {
        self == Kind::Holding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_as_it_is_read_in_files_and_in_json() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(Kind::parse("Holding"), None);
    }
}
