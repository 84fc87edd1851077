//! The branches of one request, where a proxy tries several callees at once or in turn and nothing nearer to the caller
//! is seen. Most calls have one.

use crate::limits::SIP_FORKS_MAX;

/// Known by hashes of their Via branches.
#[derive(Debug)]
pub(super) struct Branches {
    first: Branch,
    #[allow(clippy::box_collection, reason = "rare, and 16 bytes more in each of a million calls")]
    more: Option<Box<Vec<Branch>>>,
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    hash: u32,
    failed: bool,
}

impl Branches {
    pub(super) fn new(hash: u32) -> Branches {
        Branches { first: Branch { hash, failed: false }, more: None }
    }

    pub(super) fn has(&self, hash: u32) -> bool {
        self.all().any(|branch| branch.hash == hash)
    }

    /// One more than are kept apart is not waited for.
    pub(super) fn add(&mut self, hash: u32) {
        let more = self.more.get_or_insert_default();
        if more.len() < SIP_FORKS_MAX {
            more.push(Branch { hash, failed: false });
        }
    }

    /// Whether it had not failed before.
    pub(super) fn fail(&mut self, hash: u32) -> bool {
        let more = self.more.iter_mut().flat_map(|more| more.iter_mut());
        let branch = std::iter::once(&mut self.first).chain(more).find(|branch| branch.hash == hash);
        branch.is_some_and(|branch| !std::mem::replace(&mut branch.failed, true))
    }

    pub(super) fn any_failed(&self) -> bool {
        self.all().any(|branch| branch.failed)
    }

    pub(super) fn all_failed(&self) -> bool {
        self.all().all(|branch| branch.failed)
    }

    /// Frees what memory it can, of a call that is over.
    pub(super) fn release(&mut self) {
        self.more = None;
    }

    /// Each with whether it failed. There is one at least.
    pub(super) fn each(&self) -> impl Iterator<Item = (u32, bool)> + Clone {
        self.all().map(|branch| (branch.hash, branch.failed))
    }

    /// Puts one back behind those that are there, as [`Branches::each`] told it.
    pub(super) fn put_back(&mut self, (hash, failed): (u32, bool)) {
        self.more.get_or_insert_default().push(Branch { hash, failed });
    }

    pub(super) fn of_first((hash, failed): (u32, bool)) -> Branches {
        Branches { first: Branch { hash, failed }, more: None }
    }

    fn all(&self) -> impl Iterator<Item = &Branch> + Clone {
        std::iter::once(&self.first).chain(self.more.iter().flat_map(|more| more.iter()))
    }
}
