//! From the customers' files to what feeds, and readers of files, let in.

use std::sync::Arc;

use anyhow::{Context, anyhow};

use crate::event::Names;
use crate::event::dialplan::DialPlan;
use crate::ingest::Admission;
use crate::policy::Policy;

/// `None` where customers have no files: then everybody's events are taken. `emergency` are numbers that the settings
/// name besides those of the countries.
pub fn admission(policy: &Policy, emergency: &[String], names: &Names) -> anyhow::Result<Option<Arc<Admission>>> {
    if !policy.customers.is_closed() {
        return Ok(None);
    }
    let mut admission = Admission::default();
    for customer in policy.customers.iter() {
        let plan = customer.dial_plan.clone().map(|mut plan| {
            plan.emergency.extend(emergency.iter().cloned());
            DialPlan::new(&plan, &policy.numbering)
        });
        let plan = plan.transpose().map_err(|e| anyhow!("customer `{}`: {}", customer.id, e.join("; ")))?;
        let id = admission.admit(&customer.id, plan, names).context("too many customers")?;
        for trunk in &customer.trunks {
            let gateway = trunk.gateway.as_deref().map(|name| names.gateway(name).context("too many gateways"));
            admission.claim(&trunk.name, gateway.transpose()?, id);
        }
    }
    Ok(Some(Arc::new(admission)))
}
