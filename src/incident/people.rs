//! Who may do what.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What a person is there for. One may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Tunes rules, writes findings.
    Analyst,
    /// The back office: confirms, drafts.
    Responder,
    /// The Incident Commander: checks and releases.
    Commander,
    /// Authorises changes of customers' rules and lists.
    Authoriser,
    /// Manages users.
    Admin,
}

impl Role {
    pub const ALL: [Role; 6] =
        [Role::Viewer, Role::Analyst, Role::Responder, Role::Commander, Role::Authoriser, Role::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Analyst => "analyst",
            Role::Responder => "responder",
            Role::Commander => "commander",
            Role::Authoriser => "authoriser",
            Role::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Roles of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Roles {
        let mut roles: Vec<Role> = roles.into_iter().collect();
        roles.sort();
        roles.dedup();
        Roles(roles)
    }

    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    pub fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Role> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|role| role.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

/// Who asks for something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub name: String,
    pub roles: Roles,
    /// An address, or `local`.
    pub from: String,
}

/// The service itself, which does only what this module tells it to.
pub(super) static ITSELF: LazyLock<Actor> =
    LazyLock::new(|| Actor { name: super::SELF.to_owned(), roles: Roles::default(), from: "local".to_owned() });
