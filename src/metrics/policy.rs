//! Which rules are in force, and what became of attempts to put others in their place.

use std::sync::Mutex;

use metrics::{Counter, Gauge, Unit, counter, gauge};

/// See the module.
#[derive(Debug)]
pub struct PolicyMetrics {
    /// One series at a time: that of the version in force.
    version: Mutex<String>,
    stale: Gauge,
    pub swap_s: Gauge,
    reloads: Vec<(&'static str, Counter)>,
}

/// What may come of a reload: other rules are in force; nothing has changed; what is there cannot be used; what changed
/// takes a restart; it could not be done.
const RELOAD_OUTCOMES: [&str; 5] = ["done", "unchanged", "refused", "needs_restart", "failed"];

pub(super) const COUNTERS: [(&str, Unit, &str); 1] =
    [("ringfence_reloads_total", Unit::Count, "Times rules and settings were read again, by what came of it.")];

pub(super) const GAUGES: [(&str, Unit, &str); 2] = [
    ("ringfence_policy_stale", Unit::Count, "1 while the files of rules cannot be used: older rules are in force."),
    ("ringfence_reload_pause_seconds", Unit::Seconds, "How long calls waited for the last swap of rules, at the most."),
];

impl PolicyMetrics {
    pub(super) fn register(version: &str) -> PolicyMetrics {
        let reload = |outcome: &'static str| (outcome, counter!("ringfence_reloads_total", "outcome" => outcome));
        PolicyMetrics {
            version: Mutex::new(version.to_owned()),
            stale: gauge!("ringfence_policy_stale"),
            swap_s: gauge!("ringfence_reload_pause_seconds"),
            reloads: RELOAD_OUTCOMES.into_iter().map(reload).collect(),
        }
    }

    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut self.version.lock().unwrap_or_else(|e| e.into_inner()));
    }

    pub fn set_stale(&self, is_stale: bool) {
        self.stale.set(f64::from(u8::from(is_stale)));
    }

    pub fn reloaded(&self, outcome: &str) {
        super::add(self.reloads.iter().find(|(name, _)| *name == outcome).map(|(_, counter)| counter), 1);
    }

    pub(super) fn render(&self, text: &mut String) {
        // Eight hex digits: nothing to escape.
        let version = self.version.lock().unwrap_or_else(|e| e.into_inner()).clone();
        text.push_str("# HELP ringfence_policy_info 1, labelled with the version of the rules in force.\n");
        text.push_str("# TYPE ringfence_policy_info gauge\n");
        text.push_str(&format!("ringfence_policy_info{{version=\"{version}\"}} 1\n\n"));
    }
}
