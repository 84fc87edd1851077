//! Incidents that are open or lately were, and the clocks of what customers are owed.

use metrics::{Counter, Gauge, Unit, counter, gauge};

/// See the module.
#[derive(Debug)]
pub struct IncidentMetrics {
    /// By severity from 1, then state.
    incidents: Vec<Vec<Gauge>>,
    notify_remaining_s: Gauge,
    notify_breaches: Counter,
}

pub(super) const COUNTERS: [(&str, Unit, &str); 1] =
    [("ringfence_objective_breaches_total", Unit::Count, "Commitments to customers that were missed, by clock.")];

pub(super) const GAUGES: [(&str, Unit, &str); 2] = [
    ("ringfence_incidents", Unit::Count, "Incidents that are open or were half an hour ago, by severity and state."),
    (
        "ringfence_objective_remaining_seconds",
        Unit::Seconds,
        "Until the nearest commitment by clock, below 0 once it is missed; +Inf while none runs.",
    ),
];

impl IncidentMetrics {
    /// `n_severities` from 1 on, and the states in their order.
    pub(super) fn register(n_severities: u8, states: &[&'static str]) -> IncidentMetrics {
        let of = |severity: u8| {
            let one = |state: &&'static str| gauge!("ringfence_incidents", "severity" => severity.to_string(), "state" => *state);
            states.iter().map(one).collect()
        };
        let metrics = IncidentMetrics {
            incidents: (1..=n_severities).map(of).collect(),
            notify_remaining_s: gauge!("ringfence_objective_remaining_seconds", "clock" => "notify"),
            notify_breaches: counter!("ringfence_objective_breaches_total", "clock" => "notify"),
        };
        metrics.notify_remaining_s.set(f64::INFINITY);
        metrics
    }

    /// `counts`: severity, place of the state, how many; what is not there is none.
    pub fn measure(&self, counts: impl IntoIterator<Item = (u8, usize, u64)>, left_ms: Option<i64>, breaches: u64) {
        let mut left: Vec<Vec<u64>> = self.incidents.iter().map(|states| vec![0; states.len()]).collect();
        for (severity, state, n) in counts {
            let of = left.get_mut(usize::from(severity).wrapping_sub(1)).and_then(|states| states.get_mut(state));
            if let Some(count) = of {
                *count = n;
            }
        }
        for (gauge, n) in self.incidents.iter().flatten().zip(left.iter().flatten()) {
            gauge.set(*n as f64);
        }
        self.notify_remaining_s.set(left_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0));
        self.notify_breaches.absolute(breaches);
    }
}
