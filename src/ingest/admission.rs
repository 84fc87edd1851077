//! Whose events are taken, where customers have files, and what the files say of whose they are and how they are dialled.
//!
//! Made from the files by whoever starts a feed, and anew when they are read again; read by every connection, never changed.

use std::collections::HashMap;

use crate::event::dialplan::DialPlan;
use crate::event::{CustomerId, GatewayId, Names};

/// The customers there are. Nobody else's events are taken.
#[derive(Debug, Default)]
pub struct Admission {
    ids: HashMap<Box<[u8]>, CustomerId>,
    /// By id.
    admitted: Vec<Option<Admitted>>,
    trunks: HashMap<Box<[u8]>, Vec<Claim>>,
}

/// The gateway, where it is not any, and the customer.
type Claim = (Option<GatewayId>, CustomerId);

#[derive(Debug)]
struct Admitted {
    /// In place of the feed's.
    dial_plan: Option<DialPlan>,
}

impl Admission {
    /// Adds a customer; `None` where there are more names than [`Names`] holds.
    pub fn admit(&mut self, name: &str, dial_plan: Option<DialPlan>, names: &Names) -> Option<CustomerId> {
        let id = names.customer(name)?;
        self.ids.insert(name.as_bytes().into(), id);
        let at = id.0 as usize;
        if self.admitted.len() <= at {
            self.admitted.resize_with(at + 1, || None);
        }
        *self.admitted.get_mut(at)? = Some(Admitted { dial_plan });
        Some(id)
    }

    /// What comes in over this trunk, or from this address, is the customer's; of one gateway, or of any.
    pub fn claim(&mut self, trunk: &str, gateway: Option<GatewayId>, customer: CustomerId) {
        self.trunks.entry(trunk.as_bytes().into()).or_default().push((gateway, customer));
    }

    /// No name of anybody else is remembered for it.
    pub(super) fn named(&self, name: &[u8]) -> Option<CustomerId> {
        self.ids.get(name).copied()
    }

    pub(super) fn by_trunk(&self, trunk: &[u8], gateway: GatewayId) -> Option<CustomerId> {
        let claims = self.trunks.get(trunk)?;
        let meets = |of: &Option<GatewayId>| of.is_none_or(|of| of == gateway);
        claims.iter().find(|(of, _)| meets(of)).map(|(_, customer)| *customer)
    }

    pub(super) fn has_trunks(&self) -> bool {
        !self.trunks.is_empty()
    }

    #[inline]
    pub(super) fn is_admitted(&self, customer: CustomerId) -> bool {
        self.admitted.get(customer.0 as usize).is_some_and(Option::is_some)
    }

    #[inline]
    pub(super) fn dial_plan(&self, customer: CustomerId) -> Option<&DialPlan> {
        self.admitted.get(customer.0 as usize)?.as_ref()?.dial_plan.as_ref()
    }
}
