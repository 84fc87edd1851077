//! What feeds know of the settings and the customers' files: made at the start, and again when the files are read again.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::admission::admission;
use super::calls::Calls;
use crate::config::{Config, CustomerSource, FeedSettings};
use crate::current::Current;
use crate::event::Names;
use crate::event::dialplan::DialPlan;
use crate::ingest::{Admission, CallTable, FeedContext};
use crate::policy::Policy;

/// See the module.
pub(super) struct Feeds {
    pub(super) config: Config,
    pub(super) names: Arc<Names>,
    pub(super) calls: Calls,
    /// In the order of the settings; empty until they are opened.
    pub(super) places: Vec<Current<FeedContext>>,
}

impl Feeds {
    /// Of every feed of the settings.
    pub(super) fn contexts(&self, policy: &Policy) -> anyhow::Result<Vec<Arc<FeedContext>>> {
        let admission = admission(policy, &self.config.emergency_numbers, &self.names)?;
        let feeds = self.config.feeds.iter();
        feeds.map(|settings| self.context(settings, policy, &admission).map(Arc::new)).collect()
    }

    /// From each feed's next block on.
    pub(super) fn renew(&self, contexts: Vec<Arc<FeedContext>>) {
        for (place, context) in self.places.iter().zip(contexts) {
            drop(place.set(context));
        }
    }

    fn context(
        &self,
        settings: &FeedSettings,
        policy: &Policy,
        admission: &Option<Arc<Admission>>,
    ) -> anyhow::Result<FeedContext> {
        let mut dial_plan = settings.dial_plan.clone();
        dial_plan.emergency.extend(self.config.emergency_numbers.iter().cloned());
        let dial_plan = DialPlan::new(&dial_plan, &policy.numbering);
        let dial_plan = dial_plan.map_err(|e| anyhow!("feed `{}`: {}", settings.name, e.join("; ")))?;
        let calls = self.calls.of(&settings.name).map_or_else(|| Arc::new(CallTable::new(0)), Arc::clone);
        let customer = |name: &str| self.names.customer(name).context("too many customers in the settings");
        let mut trunks = HashMap::new();
        for (trunk, name) in &settings.trunks {
            trunks.insert(trunk.as_bytes().into(), customer(name)?);
        }
        Ok(FeedContext {
            names: Arc::clone(&self.names),
            dial_plan,
            customer_from_event: settings.customer == CustomerSource::Event,
            customer: match &settings.customer {
                CustomerSource::One(name) => Some(customer(name)?),
                CustomerSource::Event | CustomerSource::Trunk => None,
            },
            trunks,
            admission: admission.clone(),
            gateway_from_event: false,
            gateway: self.names.gateway(&settings.gateway).context("too many gateways in the settings")?,
            seq_required: false,
            calls,
            capture_key: settings.capture_key.clone(),
        })
    }
}
