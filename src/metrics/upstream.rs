//! Alerts of other programs: what was taken of them, and what has to come again.

use metrics::{Counter, Unit, counter};

/// See the module.
#[derive(Debug)]
pub struct UpstreamMetrics {
    taken: Counter,
    unauthorised: Counter,
    put_off: Counter,
}

pub(super) const COUNTERS: [(&str, Unit, &str); 2] = [
    ("ringfence_upstream_alerts_total", Unit::Count, "Alerts of other programs, and their ends, that were new."),
    ("ringfence_upstream_posts_refused_total", Unit::Count, "Posts of alerts that were not taken, by reason."),
];

impl UpstreamMetrics {
    pub(super) fn register() -> UpstreamMetrics {
        let refused = |reason: &'static str| counter!("ringfence_upstream_posts_refused_total", "reason" => reason);
        UpstreamMetrics {
            taken: counter!("ringfence_upstream_alerts_total"),
            unauthorised: refused("unauthorised"),
            put_off: refused("put_off"),
        }
    }

    /// All since the start.
    pub fn measure(&self, taken: u64, strangers: u64, put_off: u64) {
        self.taken.absolute(taken);
        self.unauthorised.absolute(strangers);
        self.put_off.absolute(put_off);
    }
}
