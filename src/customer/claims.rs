//! What only one customer can have: a trunk of a gateway, an address that requests come from, a name that differs by
//! more than the case of its letters.

use std::collections::HashMap;

use super::{Contact, Trunk};
use crate::policy::problem::{Place, Problem};

/// What the files read so far lay claim to.
#[derive(Default)]
pub(super) struct Claims {
    /// By name of the trunk.
    trunks: HashMap<String, Vec<Claim>>,
    /// By mail address in lower case, of contacts that may request.
    requesters: HashMap<String, Claim>,
    /// By id in lower case.
    ids: HashMap<String, Claim>,
}

struct Claim {
    /// Of trunks; `None` is all.
    gateway: Option<String>,
    customer: String,
    place: Place,
}

impl Claims {
    /// A file's name. On disks that tell `Acme` from `acme`, both may be there.
    pub(super) fn id(&mut self, id: &str, place: Place, problems: &mut Vec<Problem>) {
        if let Some(first) = self.ids.get(&id.to_lowercase()) {
            let message = format!("`{id}` and `{}` differ only in the case of their letters", first.customer);
            let problem = Problem::warning("W122", message).at(&place.path, place.span);
            problems.push(problem.help("events name a customer exactly as its file is called"));
            return;
        }
        self.ids.insert(id.to_lowercase(), Claim { gateway: None, customer: id.to_owned(), place });
    }

    /// A trunk is one customer's; without a gateway it is claimed of all.
    pub(super) fn trunk(&mut self, customer: &str, trunk: &Trunk, place: Place, problems: &mut Vec<Problem>) {
        let claims = self.trunks.entry(trunk.name.clone()).or_default();
        let meets =
            |claim: &&Claim| claim.gateway.is_none() || trunk.gateway.is_none() || claim.gateway == trunk.gateway;
        if let Some(first) = claims.iter().find(meets) {
            let of = match &trunk.gateway {
                Some(gateway) => format!(" of gateway `{gateway}`"),
                None => String::new(),
            };
            let whose = if first.customer == customer { "this customer's already" } else { "another customer's" };
            let problem = Problem::error("E036", format!("trunk `{}`{of} is {whose}", trunk.name));
            let problem = problem.at(&place.path, place.span).context(
                &first.place.path,
                first.place.span.clone(),
                format!("`{}` claims it here", first.customer),
            );
            problems.push(problem.help("the trunk tells whose a call is: only one file may name it"));
            return;
        }
        claims.push(Claim { gateway: trunk.gateway.clone(), customer: customer.to_owned(), place });
    }

    /// A request is known by the address it comes from.
    pub(super) fn requester(&mut self, customer: &str, contact: &Contact, place: Place, problems: &mut Vec<Problem>) {
        let Some(email) = contact.email.as_deref().filter(|_| contact.rights.request) else { return };
        let address = email.to_ascii_lowercase();
        if let Some(first) = self.requesters.get(&address) {
            let message = format!("requests from {email} could be of `{}` or of `{customer}`", first.customer);
            let problem = Problem::warning("W123", message).at(&place.path, place.span).context(
                &first.place.path,
                first.place.span.clone(),
                "the same address here",
            );
            problems.push(problem.help("a person who asks for several customers needs an address for each"));
            return;
        }
        self.requesters.insert(address, Claim { gateway: None, customer: customer.to_owned(), place });
    }
}
