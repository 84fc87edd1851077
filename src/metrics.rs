//! Every metric: name, kind, unit, help and closed label values, made once and held as handles.
//!
//! Nothing here is touched once an event: stages add up what a batch gave and flush it. Label values are fixed when the
//! service starts and stand at zero from then on; a number, address or call id is never one. Each service has its own
//! recorder, so that two of them in one process (tests, the demo) do not add up.

mod deliveries;
mod incidents;
mod journal;
mod latency;
mod policy;
mod process;
mod rules;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use deliveries::DeliveryMetrics;
pub use incidents::IncidentMetrics;
pub use journal::{JournalFigures, JournalMetrics};
pub use latency::Latency;
pub use policy::PolicyMetrics;
pub use rules::{Holdings, RuleMetrics, RulesMetrics};
pub use upstream::UpstreamMetrics;

use crate::current::Current;

/// The values of the labels, in the order of the enums they come from: a handle is found by `value as usize`.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub feeds: Vec<String>,
    pub kinds: Vec<&'static str>,
    pub reject_reasons: Vec<&'static str>,
    pub close_reasons: Vec<&'static str>,
    pub actions: Vec<&'static str>,
    pub causes: Vec<&'static str>,
    pub levels: Vec<&'static str>,
    /// Ids of the firewall rules, then of the thresholds.
    pub rules: Vec<String>,
    pub n_firewall_rules: usize,
    pub channels: Vec<String>,
    /// Of the outbox.
    pub delivery_channels: Vec<String>,
    pub n_severities: u8,
    pub incident_states: Vec<&'static str>,
    pub policy_version: String,
}

/// All metrics of one service.
#[derive(Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
    pub latency: Latency,
    feeds: Vec<Arc<FeedMetrics>>,
    rules: Current<RulesMetrics>,
    /// For rules that come later.
    recorder: Arc<PrometheusRecorder>,
    levels: Vec<&'static str>,
    pub policy: PolicyMetrics,
    channels: Vec<(String, Arc<ChannelMetrics>)>,
    /// By action, then cause.
    verdicts: Vec<Vec<Counter>>,
    pub duplicates: Counter,
    pub delivery_oldest_s: Gauge,
    pub calls: Gauge,
    pub calls_expired: Counter,
    pub calls_evicted: Counter,
    pub journal: JournalMetrics,
    pub incidents: IncidentMetrics,
    pub deliveries: DeliveryMetrics,
    pub upstream: UpstreamMetrics,
    started: process::Started,
}

/// What one feed counts. Connections add a batch at a time.
#[derive(Debug)]
pub struct FeedMetrics {
    pub name: String,
    events: Vec<Counter>,
    rejects: Vec<Counter>,
    closed: Vec<Counter>,
    pub bytes: Counter,
    pub connections: Gauge,
    pub accepted: Counter,
    pub duplicates: Counter,
    pub future: Counter,
    pub unknown_fields: Counter,
    /// SIP messages read.
    pub messages: Counter,
    /// Captured packets with something other than SIP.
    pub other_payloads: Counter,
    /// Datagrams the kernel had no room for, and those that came while the journal had none.
    pub dropped_by_kernel: Counter,
    pub dropped_no_room: Counter,
    pub late_verdicts: Counter,
    pub lag_s: Gauge,
}

/// What became of what was handed to one sink.
#[derive(Debug)]
pub struct ChannelMetrics {
    pub delivered: Counter,
    /// Tries that failed and are tried again.
    pub retried: Counter,
    /// Refused for good by the other side.
    pub failed: Counter,
    /// Pushed out of a full queue, oldest first, or left over at the stop.
    pub dropped: Counter,
    pub depth: Gauge,
    pub capacity: Gauge,
}

impl FeedMetrics {
    pub fn events(&self, kind: usize, n: u64) {
        add(self.events.get(kind), n);
    }

    pub fn rejects(&self, reason: usize, n: u64) {
        add(self.rejects.get(reason), n);
    }

    pub fn closed(&self, reason: usize) {
        add(self.closed.get(reason), 1);
    }
}

fn add(counter: Option<&Counter>, n: u64) {
    if let (Some(counter), 1..) = (counter, n) {
        counter.increment(n);
    }
}

impl Metrics {
    pub fn new(labels: &Labels) -> Metrics {
        let recorder = Arc::new(PrometheusBuilder::new().build_recorder());
        metrics::with_local_recorder(&*recorder, || Metrics::register(labels, &recorder))
    }

    fn register(labels: &Labels, recorder: &Arc<PrometheusRecorder>) -> Metrics {
        describe();
        gauge!("ringfence_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let verdict = |action: &&'static str| {
            let one =
                |cause: &&'static str| counter!("ringfence_verdicts_total", "action" => *action, "cause" => *cause);
            labels.causes.iter().map(one).collect()
        };
        Metrics {
            handle: recorder.handle(),
            latency: Latency::new(
                "ringfence_event_latency_seconds",
                "From the read that brought an event to its verdict; quantiles of the last 60 s, 1 is the longest.",
            ),
            feeds: labels.feeds.iter().map(|name| Arc::new(feed(name, labels))).collect(),
            rules: Current::from(Arc::new(RulesMetrics::register(
                labels.rules.iter().take(labels.n_firewall_rules).map(String::as_str),
                labels.rules.iter().skip(labels.n_firewall_rules).map(String::as_str),
                &labels.levels,
            ))),
            recorder: Arc::clone(recorder),
            levels: labels.levels.clone(),
            policy: PolicyMetrics::register(&labels.policy_version),
            channels: labels.channels.iter().map(|name| (name.clone(), Arc::new(channel(name)))).collect(),
            verdicts: labels.actions.iter().map(verdict).collect(),
            duplicates: counter!("ringfence_duplicates_total"),
            delivery_oldest_s: gauge!("ringfence_delivery_oldest_seconds"),
            calls: gauge!("ringfence_calls"),
            calls_expired: counter!("ringfence_calls_expired_total"),
            calls_evicted: counter!("ringfence_calls_evicted_total"),
            journal: JournalMetrics::register(),
            incidents: IncidentMetrics::register(labels.n_severities, &labels.incident_states),
            deliveries: DeliveryMetrics::register(&labels.delivery_channels),
            upstream: UpstreamMetrics::register(),
            started: process::Started::read(),
        }
    }

    /// The feed of this place in [`Labels::feeds`].
    pub fn feed(&self, index: usize) -> Option<&Arc<FeedMetrics>> {
        self.feeds.get(index)
    }

    /// Those of the rules in force.
    pub fn rules(&self) -> Arc<RulesMetrics> {
        self.rules.get()
    }

    /// Those of rules that are about to come into force: from now on, what is new stands at zero.
    pub fn register_rules<'a>(
        &self,
        firewall: impl Iterator<Item = &'a str>,
        thresholds: impl Iterator<Item = &'a str>,
    ) -> RulesMetrics {
        metrics::with_local_recorder(&*self.recorder, || RulesMetrics::register(firewall, thresholds, &self.levels))
    }

    /// These rules are in force. What those that are gone counted stays until the service ends.
    pub fn set_rules(&self, rules: Arc<RulesMetrics>) -> Arc<RulesMetrics> {
        self.rules.set(rules)
    }

    /// The handles of a sink; sinks are named in [`Labels::channels`].
    pub fn channel(&self, name: &str) -> Arc<ChannelMetrics> {
        let known = self.channels.iter().find(|(n, _)| n == name).map(|(_, m)| Arc::clone(m));
        known.unwrap_or_else(|| Arc::new(unlisted_channel()))
    }

    pub fn verdicts(&self, action: usize, cause: usize, n: u64) {
        add(self.verdicts.get(action).and_then(|causes| causes.get(cause)), n);
    }

    /// The text a Prometheus scrapes.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        self.latency.render(&mut text);
        self.journal.syncs.render(&mut text);
        self.policy.render(&mut text);
        self.started.render(&mut text);
        text
    }

    /// Housekeeping of the exporter; called every few seconds.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// How often [`Metrics::run_upkeep`] wants to be called.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

fn feed(name: &str, labels: &Labels) -> FeedMetrics {
    let name = name.to_owned();
    let events =
        |kind: &&'static str| counter!("ringfence_ingest_events_total", "feed" => name.clone(), "kind" => *kind);
    let rejects =
        |reason: &&'static str| counter!("ringfence_ingest_rejects_total", "feed" => name.clone(), "reason" => *reason);
    let closed = |reason: &&'static str| counter!("ringfence_ingest_connections_closed_total", "feed" => name.clone(), "reason" => *reason);
    FeedMetrics {
        events: labels.kinds.iter().map(events).collect(),
        rejects: labels.reject_reasons.iter().map(rejects).collect(),
        closed: labels.close_reasons.iter().map(closed).collect(),
        bytes: counter!("ringfence_ingest_bytes_total", "feed" => name.clone()),
        connections: gauge!("ringfence_ingest_connections", "feed" => name.clone()),
        accepted: counter!("ringfence_ingest_connections_accepted_total", "feed" => name.clone()),
        duplicates: counter!("ringfence_ingest_duplicates_total", "feed" => name.clone()),
        future: counter!("ringfence_ingest_future_total", "feed" => name.clone()),
        unknown_fields: counter!("ringfence_ingest_unknown_fields_total", "feed" => name.clone()),
        messages: counter!("ringfence_ingest_messages_total", "feed" => name.clone()),
        other_payloads: counter!("ringfence_ingest_other_payloads_total", "feed" => name.clone()),
        dropped_by_kernel: counter!("ringfence_ingest_dropped_total", "feed" => name.clone(), "reason" => "kernel"),
        dropped_no_room: counter!("ringfence_ingest_dropped_total", "feed" => name.clone(), "reason" => "journal_full"),
        late_verdicts: counter!("ringfence_verdicts_late_total", "feed" => name.clone()),
        lag_s: gauge!("ringfence_event_lag_seconds", "feed" => name.clone()),
        name,
    }
}

fn channel(name: &str) -> ChannelMetrics {
    let outcome = |outcome: &'static str| counter!("ringfence_deliveries_total", "channel" => name.to_owned(), "outcome" => outcome);
    ChannelMetrics {
        delivered: outcome("delivered"),
        retried: outcome("retried"),
        failed: outcome("failed"),
        dropped: outcome("dropped"),
        depth: gauge!("ringfence_queue_depth", "queue" => name.to_owned()),
        capacity: gauge!("ringfence_queue_capacity", "queue" => name.to_owned()),
    }
}

fn unlisted_channel() -> ChannelMetrics {
    ChannelMetrics {
        delivered: Counter::noop(),
        retried: Counter::noop(),
        failed: Counter::noop(),
        dropped: Counter::noop(),
        depth: Gauge::noop(),
        capacity: Gauge::noop(),
    }
}

fn describe() {
    let counters = [
        ("ringfence_ingest_events_total", Unit::Count, "Call events accepted, by feed and kind."),
        ("ringfence_ingest_rejects_total", Unit::Count, "Records that gave no event, by feed and reason."),
        ("ringfence_ingest_bytes_total", Unit::Bytes, "Bytes read from gateways, after TLS."),
        ("ringfence_ingest_connections_accepted_total", Unit::Count, "Connections accepted, refused ones included."),
        ("ringfence_ingest_connections_closed_total", Unit::Count, "Connections closed, by feed and reason."),
        ("ringfence_ingest_duplicates_total", Unit::Count, "Events dropped because their seq had come before."),
        ("ringfence_ingest_future_total", Unit::Count, "Events whose time was ahead of their arrival and was clamped."),
        ("ringfence_ingest_unknown_fields_total", Unit::Count, "Fields that no event has, ignored."),
        ("ringfence_ingest_messages_total", Unit::Count, "SIP messages read, of which calls are made."),
        ("ringfence_ingest_other_payloads_total", Unit::Count, "Captured packets that hold something other than SIP."),
        (
            "ringfence_ingest_dropped_total",
            Unit::Count,
            "Datagrams lost: the kernel's buffer was full, or the journal was.",
        ),
        ("ringfence_calls_expired_total", Unit::Count, "Answered calls whose end was never seen, given up by age."),
        ("ringfence_calls_evicted_total", Unit::Count, "Calls forgotten because the call table was full."),
        ("ringfence_verdicts_total", Unit::Count, "Verdicts, by action and cause."),
        ("ringfence_verdicts_late_total", Unit::Count, "Verdicts that missed their deadline and were the default."),
        ("ringfence_duplicates_total", Unit::Count, "Events no rule saw because they had come before."),
        ("ringfence_rule_matches_total", Unit::Count, "Events a rule decided, flagged or counted."),
        ("ringfence_violations_total", Unit::Count, "Violations, by rule and level."),
        ("ringfence_rule_evictions_total", Unit::Count, "Keys given up because a rule was at its key limit."),
        ("ringfence_rule_late_total", Unit::Count, "Events inserted behind a key's newest, by rule."),
        ("ringfence_rule_too_late_total", Unit::Count, "Events too old for any window to come, by rule."),
        ("ringfence_rule_blocks_refused_total", Unit::Count, "Blocks that a full or forbidden list refused, by rule."),
        ("ringfence_deliveries_total", Unit::Count, "What became of messages handed to a sink, by outcome."),
    ];
    let counters = counters.into_iter().chain(journal::COUNTERS).chain(incidents::COUNTERS).chain(policy::COUNTERS);
    for (name, unit, help) in counters.chain(upstream::COUNTERS) {
        describe_counter!(name, unit, help);
    }
    let gauges = [
        ("ringfence_ingest_connections", Unit::Count, "Connections open now."),
        (
            "ringfence_event_lag_seconds",
            Unit::Seconds,
            "How far the newest event of the last batch lay behind its arrival.",
        ),
        ("ringfence_calls", Unit::Count, "Calls the call table holds, and those that ended within two minutes."),
        ("ringfence_rule_keys", Unit::Count, "Keys a rule holds now."),
        ("ringfence_rule_bytes", Unit::Bytes, "Memory a rule's keys hold now."),
        ("ringfence_queue_depth", Unit::Count, "What waits in a bounded queue, in the unit of its capacity."),
        ("ringfence_queue_capacity", Unit::Count, "Bound of a queue."),
        ("ringfence_delivery_oldest_seconds", Unit::Seconds, "Age of the oldest message not delivered yet."),
        ("ringfence_build_info", Unit::Count, "1, labelled with the version of this program."),
    ];
    for (name, unit, help) in gauges
        .into_iter()
        .chain(journal::GAUGES)
        .chain(incidents::GAUGES)
        .chain(deliveries::GAUGES)
        .chain(policy::GAUGES)
    {
        describe_gauge!(name, unit, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels {
            delivery_channels: vec!["mail".into()],
            n_severities: 4,
            incident_states: vec!["candidate", "resolved"],
            feeds: vec!["ndjson".into()],
            kinds: vec!["cdr", "attempt"],
            reject_reasons: vec!["malformed"],
            close_reasons: vec!["idle"],
            actions: vec!["allow", "block"],
            causes: vec!["none", "list"],
            levels: vec!["warning", "critical"],
            rules: vec!["fw".into(), "ips".into()],
            n_firewall_rules: 1,
            channels: vec!["stdout".into()],
            policy_version: "abc1234".into(),
        }
    }

    #[test]
    fn every_label_value_stands_at_zero_from_the_start() {
        let text = Metrics::new(&labels()).render();
        for line in [
            "ringfence_ingest_events_total{feed=\"ndjson\",kind=\"attempt\"} 0",
            "ringfence_ingest_rejects_total{feed=\"ndjson\",reason=\"malformed\"} 0",
            "ringfence_verdicts_total{action=\"block\",cause=\"list\"} 0",
            "ringfence_violations_total{rule=\"ips\",level=\"critical\"} 0",
            "ringfence_deliveries_total{channel=\"stdout\",outcome=\"dropped\"} 0",
            "ringfence_upstream_posts_refused_total{reason=\"put_off\"} 0",
            "ringfence_policy_info{version=\"abc1234\"} 1",
            "ringfence_event_latency_seconds_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn two_services_in_one_process_count_apart() {
        let (a, b) = (Metrics::new(&labels()), Metrics::new(&labels()));
        a.feed(0).expect("made above").events(1, 5);
        assert!(a.render().contains("kind=\"attempt\"} 5"));
        assert!(b.render().contains("kind=\"attempt\"} 0"));
    }

    #[test]
    fn rules_are_found_by_kind_and_index() {
        let metrics = Metrics::new(&labels());
        let rules = metrics.rules();
        rules.threshold(0).expect("one threshold").violation(0);
        assert!(rules.firewall(1).is_none());
        assert!(metrics.render().contains("ringfence_violations_total{rule=\"ips\",level=\"warning\"} 1"));
        // Another set: what is gone stays as it was, what is new begins at zero, what stays goes on.
        rules.firewall(0).expect("one firewall rule").keys.set(3.0);
        let next = metrics.register_rules(["new"].into_iter(), ["ips"].into_iter());
        rules.of_gone(&next, &[]).iter().for_each(Holdings::hold_nothing);
        metrics.set_rules(Arc::new(next));
        metrics.policy.set_version("def5678");
        let text = metrics.render();
        for line in [
            "ringfence_violations_total{rule=\"ips\",level=\"warning\"} 1",
            "ringfence_rule_matches_total{rule=\"new\"} 0",
            "ringfence_rule_keys{rule=\"fw\"} 0",
            "ringfence_policy_info{version=\"def5678\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
        assert!(!text.contains("abc1234"), "one version is in force");
    }

    #[test]
    fn every_metric_has_help_and_a_type() {
        let text = Metrics::new(&labels()).render();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let family = name.trim_end_matches("_sum").trim_end_matches("_count");
            assert!(text.contains(&format!("# HELP {family} ")), "no help for {name}");
            assert!(text.contains(&format!("# TYPE {family} ")), "no type for {name}");
        }
    }
}
