//! What those beside the engine go by: made of the policy, the customers' files and the kits, at the start and whenever these
//! are read again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Config;
use crate::desk::Renewal;
use crate::incident::{Renamed, Terms};
use crate::kit::Kits;
use crate::policy::Policy;

/// The customers' files and the kits.
pub(super) fn terms(config: &Config, policy: &Policy) -> anyhow::Result<Terms> {
    let kits = config.kits.as_deref().map_or_else(|| Ok(Kits::shipped()), load_kits).map(Arc::new)?;
    let rules = config.rules.as_deref().unwrap_or(Path::new(""));
    let rules = if rules.is_file() { rules.parent().unwrap_or(Path::new("")) } else { rules };
    let mut own_kits = BTreeMap::new();
    for customer in policy.customers.iter() {
        if let Some(folder) = &customer.kits {
            own_kits.insert(customer.id.clone(), Arc::new(load_kits(&rules.join(folder))?));
        }
    }
    Ok(Terms { customers: Arc::clone(&policy.customers), kits, own_kits })
}

/// What the desk knows of rules.
pub(super) fn renewal(config: &Config, policy: &Policy, terms: &Terms) -> Renewal {
    let said = |text: [&Option<String>; 2], id: &str| {
        let text = text.into_iter().flatten().next().cloned();
        (id.to_owned(), text.unwrap_or_else(|| id.to_owned()))
    };
    let firewall = policy.firewall.iter().map(|rule| said([&rule.message, &None], &rule.id));
    let thresholds = policy.thresholds.iter().map(|rule| said([&rule.message, &rule.description], &rule.id));
    let whats: BTreeMap<String, String> = firewall.chain(thresholds).collect();
    let rules = whats.keys().cloned().chain(config.receivers.iter().map(|r| r.rule())).collect();
    let renamed = policy.thresholds.iter().filter_map(|rule| {
        let (id, group) = (rule.id.clone(), rule.group.clone());
        Some((rule.renamed_from.clone()?, Renamed { rule: id, group }))
    });
    Renewal { terms: terms.clone(), rules, renamed: renamed.collect(), whats }
}

fn load_kits(folder: &Path) -> anyhow::Result<Kits> {
    let (kits, problems) = Kits::load(folder);
    let (n, folder) = (problems.iter().filter(|p| p.is_error).count(), folder.display());
    kits.with_context(|| format!("kits of `{folder}`: {n} errors; `ringfence kit lint {folder}` shows them"))
}
