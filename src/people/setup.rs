//! The token of one use, while nobody can manage users: in a file that only the service's own user can read. It looks, and
//! adds the first admin; with that it is gone. A start makes a new one, so the day it lives for is the service's.

use std::path::{Path, PathBuf};

use super::{Caller, Denied, Proof, Scope, Scopes, secret};
use crate::clock::Timestamp;
use crate::incident::{Role, Roles};
use crate::limits::SETUP_TOKEN_MS;
use crate::storage::{Disk, create_secret, remove_if_there};

/// Its file in the data folder.
pub const ADMIN_TOKEN: &str = "admin-token";
/// Who does what is done with it.
pub(super) const NAME: &str = "setup";
const PREFIX: &str = "rf_setup_";

#[derive(Debug)]
pub(super) struct Setup {
    hash: String,
    expires: Timestamp,
    path: PathBuf,
}

impl Setup {
    /// Removes what an earlier start left, and makes a new one where it is needed.
    pub(super) fn renew(folder: &Path, is_set_up: bool, now: Timestamp) -> Result<Option<Setup>, Denied> {
        let (disk, path) = (Disk::real(), folder.join(ADMIN_TOKEN));
        let told = |e: std::io::Error| Denied::Conflict(format!("admin token {}: {e}", path.display()));
        remove_if_there(&disk, &path).map_err(told)?;
        if is_set_up {
            return Ok(None);
        }
        let secret = secret::new_secret()?;
        create_secret(&disk, &path, format!("{PREFIX}{secret}\n").as_bytes()).map_err(told)?;
        Ok(Some(Setup { hash: secret::hash(&secret), expires: now.plus_ms(SETUP_TOKEN_MS), path }))
    }

    pub(super) fn is(&self, text: &str, now: Timestamp) -> bool {
        let secret = text.strip_prefix(PREFIX);
        secret.is_some_and(|secret| secret::is_same(&secret::hash(secret), &self.hash)) && now < self.expires
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn caller(&self) -> Caller {
        Caller {
            name: NAME.to_owned(),
            display: "the first admin to be".to_owned(),
            roles: Roles::new([Role::Viewer, Role::Admin]),
            scopes: Scopes::new(&[Scope::Read, Scope::Admin]),
            proof: Proof::Setup,
        }
    }

    pub(super) fn remove(self) {
        if let Err(error) = remove_if_there(&Disk::real(), &self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the used admin token stays, and is good for nothing");
        }
    }
}
