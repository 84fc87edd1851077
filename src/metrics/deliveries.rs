//! What becomes of deliveries, by channel.

use std::collections::HashMap;

use metrics::{Counter, Gauge, Unit, counter, gauge};

/// See the module.
#[derive(Debug)]
pub struct DeliveryMetrics {
    /// By channel and outcome.
    outcomes: HashMap<(String, &'static str), Counter>,
    pub waiting: Gauge,
    pub providers_down: Gauge,
    pub mail_down: Gauge,
}

/// States that a delivery may come to.
const OUTCOMES: [&str; 8] =
    ["handed", "delivered", "queued", "unknown", "failed", "expired", "suppressed", "superseded"];

pub(super) const GAUGES: [(&str, Unit, &str); 3] = [
    ("ringfence_deliveries_waiting", Unit::Count, "Deliveries that nobody has got yet and that are not given up."),
    ("ringfence_delivery_providers_down", Unit::Count, "Providers that failed several times in a row and rest."),
    ("ringfence_delivery_mail_down", Unit::Count, "1 while the mail canary does not come through."),
];

impl DeliveryMetrics {
    pub(super) fn register(channels: &[String]) -> DeliveryMetrics {
        let of = |channel: &String| {
            let one = |outcome: &'static str| {
                let counter =
                    counter!("ringfence_deliveries_total", "channel" => channel.clone(), "outcome" => label(outcome));
                ((channel.clone(), outcome), counter)
            };
            OUTCOMES.map(one)
        };
        DeliveryMetrics {
            outcomes: channels.iter().flat_map(of).collect(),
            waiting: gauge!("ringfence_deliveries_waiting"),
            providers_down: gauge!("ringfence_delivery_providers_down"),
            mail_down: gauge!("ringfence_delivery_mail_down"),
        }
    }

    /// `n` deliveries of a channel came to a state. A channel that is not in the settings counts with none.
    pub fn outcome(&self, channel: &str, state: &str, n: u64) {
        let Some(outcome) = OUTCOMES.iter().find(|outcome| **outcome == state) else { return };
        if let Some(counter) = self.outcomes.get(&(channel.to_owned(), *outcome)) {
            counter.increment(n);
        }
    }
}

/// Back in the queue is a try that failed.
fn label(outcome: &'static str) -> &'static str {
    if outcome == "queued" { "retried" } else { outcome }
}
