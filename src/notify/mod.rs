//! Telling people and programs what the engine found.
//!
//! [`Notifier::take`] is what the engine calls with every judged batch: it renders and hands over, never waits, and
//! never fails. What was found is told when the journal has the events it was found in, so that after a crash nobody has
//! heard of what never happened. Behind it each sink has a bounded queue (or book) and a task of its own, so a dead web
//! server is a counter, not a delay. Rules in monitor mode are written and counted, but tell nobody; so do violations that a rule mutes.

mod alertmanager;
mod findings;
mod http;
mod lines;
mod queue;
mod record;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;

use alertmanager::{Alertmanager, Facts, Id};
use findings::{Findings, Held};
use lines::Lines;
pub use lines::Output;
use record::Recorder;
use webhook::Webhook;

use crate::clock::{Clock, Timestamp};
use crate::current::Current;
use crate::engine::{Judged, OpenEpisode, RuleRef, Violation, output};
use crate::event::{CallEvent, CustomerId, Flags, Names};
use crate::metrics::{Holdings, Metrics, RuleMetrics, RulesMetrics};
pub use crate::outbound::{Endpoint, Secret, reach};
use crate::policy::{Action, Cause, Mode, Policy, Reaction, Severity};
use crate::store::{Change, Store};

/// Name of the Alertmanager channel in the metrics.
pub const ALERTMANAGER_CHANNEL: &str = "alertmanager";

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub output: Output,
    /// Every one of a cluster: Alertmanagers agree among themselves who tells.
    pub alertmanagers: Vec<Endpoint>,
    pub webhooks: BTreeMap<String, WebhookSettings>,
}

#[derive(Clone, Debug)]
pub struct WebhookSettings {
    pub endpoint: Endpoint,
    pub age_max: Duration,
    /// What its messages are signed with.
    pub secret: Option<Secret>,
}

impl Settings {
    /// Names of the channels in the metrics.
    pub fn channels(&self) -> Vec<String> {
        let alertmanager = (!self.alertmanagers.is_empty()).then(|| ALERTMANAGER_CHANNEL.to_owned());
        let output = self.output.channel().map(str::to_owned);
        output.into_iter().chain(alertmanager).chain(self.webhooks.keys().map(|n| format!("webhook:{n}"))).collect()
    }
}

/// Called with every judged batch beside the sinks: the demo looks on this way.
pub type Observer = Box<dyn Fn(&Judged, &Names) + Send + Sync>;

/// Hands what the engine says to whoever listens. See the module.
pub struct Notifier {
    /// The rules in force. What was found before goes by those that found it.
    policy: Current<Policy>,
    names: Arc<Names>,
    metrics: Arc<Metrics>,
    lines: Option<Lines>,
    alertmanagers: Vec<Arc<Alertmanager>>,
    webhooks: BTreeMap<String, Webhook>,
    observer: Option<Observer>,
    recorder: OnceLock<Recorder>,
    /// Position of the last event that was seen.
    position: AtomicU64,
    held: Held,
    /// Tells the ids of this run from those of others, where no journal counts events: when it started.
    run: i64,
    tally: Mutex<Tally>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("lines", &self.lines).finish_non_exhaustive()
    }
}

/// Rules that are about to come into force, as those who tell of them want them.
#[derive(Debug)]
pub struct Succession {
    policy: Arc<Policy>,
    rules: Arc<RulesMetrics>,
    gone: Vec<Holdings>,
}

impl Succession {
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }
}

/// Counts since the start, for the closing line of the log.
#[derive(Debug, Default)]
struct Tally {
    n_violations: u64,
    n_judged: u64,
}

/// The tasks behind a [`Notifier`].
#[derive(Debug)]
pub struct Workers {
    tasks: Vec<JoinHandle<()>>,
}

/// What was told since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub judged: u64,
    pub violations: u64,
}

impl Notifier {
    pub fn start(
        settings: &Settings,
        policy: Arc<Policy>,
        names: Arc<Names>,
        metrics: Arc<Metrics>,
        observer: Option<Observer>,
    ) -> Result<(Notifier, Workers), String> {
        let mut tasks = Vec::new();
        let channel = settings.output.channel().unwrap_or_default();
        let lines = Lines::start(&settings.output, metrics.channel(channel));
        let lines =
            lines.map_err(|e| format!("cannot write violations to the output file: {e}"))?.map(|(lines, task)| {
                tasks.push(task);
                lines
            });
        let mut alertmanagers = Vec::new();
        for endpoint in &settings.alertmanagers {
            let (alertmanager, task) = Alertmanager::start(endpoint.clone(), metrics.channel(ALERTMANAGER_CHANNEL))
                .map_err(|e| format!("alertmanager {}: {e}", endpoint.url))?;
            alertmanagers.push(alertmanager);
            tasks.push(task);
        }
        let mut webhooks = BTreeMap::new();
        for (name, webhook) in &settings.webhooks {
            let channel = metrics.channel(&format!("webhook:{name}"));
            let (webhook, task) =
                Webhook::start(name, webhook.clone(), channel).map_err(|e| format!("webhook `{name}`: {e}"))?;
            webhooks.insert(name.clone(), webhook);
            tasks.push(task);
        }
        let (run, tally) = (Clock.now().0, Mutex::default());
        Ok((
            Notifier {
                policy: Current::from(policy),
                names,
                metrics,
                lines,
                alertmanagers,
                webhooks,
                observer,
                recorder: OnceLock::new(),
                position: AtomicU64::new(0),
                held: Held::default(),
                run,
                tally,
            },
            Workers { tasks },
        ))
    }

    /// Violations and blocks are written down there from now on.
    pub fn record_in(&self, store: Arc<Store>) {
        self.take_over(&store);
        let recorder = Recorder { store, names: Arc::clone(&self.names) };
        self.recorder.set(recorder).unwrap_or_default();
    }

    /// What Alertmanagers were told before is theirs to end.
    fn take_over(&self, store: &Arc<Store>) {
        let mut found = Vec::new();
        let mut after = Some(0);
        while let Some(place) = after {
            match store.firing(place, 0) {
                Ok(page) => {
                    after = page.next;
                    found.extend(page.rows);
                }
                Err(error) => {
                    tracing::error!(%error, "what alertmanagers were told before is not known: its ends are not told");
                    break;
                }
            }
        }
        self.alertmanagers.iter().for_each(|alertmanager| alertmanager.go_on(Arc::clone(store), &found));
        // Of those that are not in the settings any more, nobody is told.
        found.retain(|firing| !self.alertmanagers.iter().any(|a| a.endpoint() == firing.endpoint));
        if !found.is_empty() {
            drop(store.record(found.into_iter().map(Change::FiringEnded).collect()));
        }
    }

    /// Everything that goes on across a restart has been told of: of what was told before and does not, the end is told.
    pub fn settle(&self) {
        self.alertmanagers.iter().for_each(|alertmanager| alertmanager.settle());
    }

    /// What is made of other rules before they come into force. `begins_anew`: ids of the rules whose keys are let go of.
    pub fn prepare(&self, policy: &Arc<Policy>, begins_anew: &[&str]) -> Succession {
        let firewall = policy.firewall.iter().map(|rule| rule.id.as_str());
        let thresholds = policy.thresholds.iter().map(|rule| rule.id.as_str());
        let rules = self.metrics.register_rules(firewall, thresholds);
        let gone = self.metrics.rules().of_gone(&rules, begins_anew);
        Succession { policy: Arc::clone(policy), rules: Arc::new(rules), gone }
    }

    /// Other rules judge from here on: to be called between two batches, in the engine's order. Gives what was in force,
    /// to be let go of where nothing waits.
    pub fn swap(&self, succession: Succession) -> Succession {
        let Succession { policy, rules, gone } = succession;
        self.metrics.policy.set_version(&policy.version);
        gone.iter().for_each(Holdings::hold_nothing);
        Succession { policy: self.policy.set(policy), rules: self.metrics.set_rules(rules), gone }
    }

    /// Takes note of a judged batch. The engine calls it for one batch at a time.
    pub fn take(&self, judged: &Judged) {
        if !judged.is_recovered {
            self.count(judged);
        }
        self.hold(judged);
        if let Some(observer) = &self.observer {
            observer(judged, &self.names);
        }
    }

    fn hold(&self, judged: &Judged) {
        if judged.position > 0 {
            let behind = judged.position + judged.batch.events.len() as u64;
            self.position.fetch_max(behind.saturating_sub(1), Ordering::Relaxed);
        }
        if judged.violations.is_empty() && judged.closed.is_empty() {
            return;
        }
        let findings = self.find(judged);
        self.held.hold(judged.record, findings, Clock.monotonic());
        self.tell_held();
    }

    /// These went on across a restart: whoever keeps alerts alive is told of them anew. No line is written.
    pub fn open(&self, episodes: Vec<OpenEpisode>) {
        let policy = self.policy.get();
        for OpenEpisode { rule, level, since, is_muted, customer, key } in episodes {
            let violation = Violation {
                event: 0,
                is_timed: true,
                is_reminder: false,
                rule,
                level,
                time: since,
                value: f64::NAN,
                usual: None,
                late: false,
                is_muted,
                customer,
                key,
            };
            if wants_alert(&policy, &violation).is_some_and(|reaction| reaction.is_none_or(|r| r.alert)) {
                self.alert(&policy, &violation);
            }
        }
    }

    /// This one goes on under another name of its rule: whoever keeps alerts alive hears that the old one is over, and of the
    /// new one.
    pub fn renamed(&self, episode: OpenEpisode, old: &str) {
        let customer = self.names.customer_name(episode.customer);
        let id = Id { rule: old.to_owned(), customer, key: flat(&episode.key) };
        self.alertmanagers.iter().for_each(|alertmanager| alertmanager.resolve(&id));
        self.open(vec![episode]);
    }

    /// Something about the service itself that people must hear of, since when and why; `None`: it is over.
    pub fn alarm(&self, name: &str, trouble: Option<(Timestamp, &str)>) {
        let id = Id { rule: name.to_owned(), customer: String::new(), key: String::new() };
        for alertmanager in &self.alertmanagers {
            match trouble {
                Some((starts, why)) => {
                    let summary = format!("{name}: {why}");
                    alertmanager.fire(id.clone(), Severity::Critical, Facts { starts, summary, ..Facts::default() });
                }
                None => alertmanager.resolve(&id),
            }
        }
    }

    /// The journal has all records up to this one.
    pub fn committed(&self, record: u64) {
        self.held.committed(record);
        self.tell_held();
    }

    fn tell_held(&self) {
        self.held.tell(Clock.monotonic(), |findings| self.tell(findings));
    }

    fn count(&self, judged: &Judged) {
        let mut tally = self.tally.lock().unwrap_or_else(|e| e.into_inner());
        let mut verdicts = [[0u64; Cause::ALL.len()]; Action::ALL.len()];
        for verdict in &judged.verdicts {
            if let Some(n) = verdicts.get_mut(verdict.action as usize).and_then(|c| c.get_mut(verdict.cause as usize)) {
                *n += 1;
            }
        }
        for (action, causes) in verdicts.into_iter().enumerate() {
            for (cause, n) in causes.into_iter().enumerate() {
                self.metrics.verdicts(action, cause, n);
            }
        }
        tally.n_judged += judged.verdicts.len() as u64;
        tally.n_violations += judged.violations.len() as u64;
        drop(tally);
        if judged.duplicates > 0 {
            self.metrics.duplicates.increment(u64::from(judged.duplicates));
        }
        let rules = self.metrics.rules();
        for (rule, n) in judged.counts.firewall.iter().enumerate().filter(|(_, n)| **n > 0) {
            if let Some(metrics) = rules.firewall(rule) {
                metrics.matches.increment(u64::from(*n));
            }
        }
        for counts in &judged.counts.rules {
            if let Some(metrics) = rule_metrics(&rules, counts.rule) {
                metrics.matches.increment(counts.counted);
                metrics.late.increment(counts.late);
                metrics.too_late.increment(counts.too_late);
                metrics.evictions.increment(counts.evicted);
                metrics.refused.increment(counts.refused);
                metrics.keys.increment(counts.keys as f64);
                metrics.bytes.increment(counts.bytes as f64);
            }
        }
    }

    fn find(&self, judged: &Judged) -> Findings {
        let (policy, rules) = (&judged.policy, self.metrics.rules());
        let mut findings = Findings { policy: Arc::clone(policy), ..Findings::default() };
        let positions = (judged.position > 0).then(|| Positions::new(judged));
        for violation in &judged.violations {
            if let Some(metrics) = rule_metrics(&rules, violation.rule) {
                metrics.violation(violation.level as usize);
            }
            let (sequence, event) = (judged.sequence, violation.event);
            let (rule, level) = (output::rule_id(policy, violation.rule), violation.level.as_str());
            let id = match &positions {
                // Many keys may have their time at once.
                _ if violation.is_timed => {
                    let customer = self.names.customer_name(violation.customer);
                    format!("{}/{rule}/{level}/{}", violation.time.0, record::digest(&customer, &violation.key))
                }
                Some(positions) => format!("{}/{rule}/{level}", positions.of(violation.event)),
                None => format!("{:x}-{sequence}.{event}/{rule}/{level}", self.run),
            };
            let lines = &mut findings.lines;
            output::violation_line(lines, judged, violation, policy, &self.names, Some(&id));
            lines.push(b'\n');
            findings.line_ends.push(lines.len());
            let position = match &positions {
                Some(positions) => Some(positions.of(violation.event)),
                None => violation.is_timed.then(|| self.position.load(Ordering::Relaxed)),
            };
            // What is only said again is no second violation.
            if let (Some(recorder), Some(position), false) = (self.recorder.get(), position, violation.is_reminder) {
                findings.changes.extend(recorder.violation(judged, violation, &id, position));
            }
        }
        if let Some(recorder) = self.recorder.get() {
            let position = self.position.load(Ordering::Relaxed);
            let position_of = |event| positions.as_ref().map_or(position, |positions| positions.of(event));
            findings.changes.extend(recorder.blocks(judged, position_of));
            findings.changes.extend(judged.closed.iter().flat_map(|closed| recorder.ends(policy, closed, position)));
            findings.changes.extend(judged.closed.iter().map(|closed| recorder.closing(policy, closed, position)));
        }
        findings.violations = judged.violations.clone();
        findings.closed = judged.closed.clone();
        findings
    }

    fn tell(&self, findings: Findings) {
        if let Some(recorder) = self.recorder.get() {
            recorder.write(findings.changes);
        }
        let mut from = 0;
        for (violation, end) in findings.violations.iter().zip(&findings.line_ends) {
            self.tell_one(&findings.policy, violation, findings.lines.get(from..*end).unwrap_or_default());
            from = *end;
        }
        for closed in &findings.closed {
            let id = self.alert_id(&findings.policy, closed.rule, closed.customer, &closed.key);
            self.alertmanagers.iter().for_each(|a| a.resolve(&id));
        }
        if let (Some(lines), false) = (&self.lines, findings.lines.is_empty()) {
            lines.push(findings.lines, findings.violations.len() as u64);
        }
    }

    fn tell_one(&self, policy: &Policy, violation: &Violation, line: &[u8]) {
        let Some(reaction) = wants_alert(policy, violation) else { return };
        if reaction.is_none_or(|r| r.alert) && !self.alertmanagers.is_empty() {
            self.alert(policy, violation);
        }
        for name in reaction.map_or(&[][..], |r| &r.webhooks) {
            if let Some(webhook) = self.webhooks.get(name) {
                webhook.push(line.trim_ascii_end());
            }
        }
    }

    fn alert(&self, policy: &Policy, violation: &Violation) {
        let id = self.alert_id(policy, violation.rule, violation.customer, &violation.key);
        let facts = facts(policy, violation, &id);
        for alertmanager in &self.alertmanagers {
            alertmanager.fire(id.clone(), violation.level, facts.clone());
        }
    }

    fn alert_id(&self, policy: &Policy, rule: RuleRef, customer: CustomerId, key: &[(String, String)]) -> Id {
        let rule = output::rule_id(policy, rule).to_owned();
        Id { rule, customer: self.names.customer_name(customer), key: flat(key) }
    }

    /// Tells what has waited for the journal for too long, and sets the age of the oldest undelivered message; called now
    /// and then.
    pub fn measure(&self, oldest_elsewhere: Duration) {
        self.tell_held();
        let lines = self.lines.iter().filter_map(|l| l.queue.oldest());
        let alerts = self.alertmanagers.iter().filter_map(|a| a.oldest());
        let webhooks = self.webhooks.values().filter_map(|w| w.queue.oldest());
        let oldest = lines.chain(alerts).chain(webhooks).max().unwrap_or_default().max(oldest_elsewhere);
        self.metrics.delivery_oldest_s.set(oldest.as_secs_f64());
    }

    pub fn totals(&self) -> Totals {
        let tally = self.tally.lock().unwrap_or_else(|e| e.into_inner());
        Totals { judged: tally.n_judged, violations: tally.n_violations }
    }

    /// No batch will come any more.
    pub fn close(&self) {
        self.held.committed(u64::MAX);
        self.tell_held();
        self.lines.iter().for_each(|l| l.queue.close());
        self.alertmanagers.iter().for_each(|a| a.close());
        self.webhooks.values().for_each(|w| w.queue.close());
    }
}

impl Workers {
    /// Waits until everything is delivered, or as long as `within`; says whether it was.
    pub async fn finish(self, within: Duration) -> bool {
        let deadline = tokio::time::Instant::from_std(Clock.monotonic() + within);
        let mut all = true;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                all = false;
            }
        }
        all
    }
}

fn rule_metrics(rules: &RulesMetrics, rule: RuleRef) -> Option<&RuleMetrics> {
    match rule {
        RuleRef::Firewall(rule) => rules.firewall(usize::from(rule)),
        RuleRef::Threshold(rule) => rules.threshold(usize::from(rule)),
        RuleRef::Default | RuleRef::Emergency => None,
    }
}

/// What the rule says is to be done; `None` where it is only watched, or muted. A firewall rule says nothing of it.
fn wants_alert<'p>(policy: &'p Policy, violation: &Violation) -> Option<Option<&'p Reaction>> {
    if violation.is_muted {
        return None;
    }
    match violation.rule {
        RuleRef::Threshold(rule) => {
            let rule = policy.thresholds.get(usize::from(rule))?;
            let reaction = match violation.level {
                Severity::Warning => &rule.on_warning,
                Severity::Critical => &rule.on_critical,
            };
            (rule.mode == Mode::Enforce).then_some(Some(reaction))
        }
        RuleRef::Firewall(rule) => {
            let rule = policy.firewall.get(usize::from(rule))?;
            (rule.mode == Mode::Enforce).then_some(None)
        }
        RuleRef::Default | RuleRef::Emergency => None,
    }
}

fn facts(policy: &Policy, violation: &Violation, id: &Id) -> Facts {
    let mut facts = Facts { starts: violation.time, ..Facts::default() };
    let value = output::shown(policy, violation).unwrap_or_default().0;
    facts.annotations.push(("value", value.to_string()));
    let firewall = |rule: u16| policy.firewall.get(usize::from(rule));
    let RuleRef::Threshold(rule) = violation.rule else {
        facts.summary = format!("{}: {} matched", id.rule, id.key);
        if let RuleRef::Firewall(rule) = violation.rule
            && let Some(message) = firewall(rule).and_then(|r| r.message.clone())
        {
            facts.annotations.push(("message", message));
        }
        return facts;
    };
    let Some(rule) = policy.thresholds.get(usize::from(rule)) else { return facts };
    let level = match violation.level {
        Severity::Warning => &rule.levels.warning,
        Severity::Critical => &rule.levels.critical,
    };
    let level = level.as_ref().map(|l| l.text.as_str()).unwrap_or_default();
    let (measure, window) = (rule.measure.as_str(), &rule.window_text);
    facts.summary = format!("{}: {}: {measure} {value} ({level}) in {window}", id.rule, id.key);
    let texts = [
        ("threshold", Some(level.to_owned())),
        ("window", Some(window.clone())),
        ("message", rule.message.clone()),
        ("description", rule.description.clone()),
        ("owner", rule.owner.clone()),
        ("ticket", rule.ticket.clone()),
    ];
    facts.annotations.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text?))));
    facts
}

/// The positions of a batch's events in the journal, which counts no duplicates.
struct Positions<'a> {
    events: &'a [CallEvent],
    has_duplicates: bool,
    first: u64,
}

impl Positions<'_> {
    fn new(judged: &Judged) -> Positions<'_> {
        Positions { events: &judged.batch.events, has_duplicates: judged.duplicates > 0, first: judged.position }
    }

    fn of(&self, event: u32) -> u64 {
        let before = self.events.get(..event as usize).unwrap_or_default();
        let is_duplicate = |event: &&CallEvent| event.flags.has(Flags::DUPLICATE);
        let duplicates = if self.has_duplicates { before.iter().filter(is_duplicate).count() as u64 } else { 0 };
        self.first + u64::from(event) - duplicates
    }
}

/// `caller=+46..,trunk=x`.
fn flat(key: &[(String, String)]) -> String {
    key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LoadOptions, RuleSource, load};

    #[test]
    fn what_is_watched_or_muted_is_told_to_no_sink() {
        let rule = |id: &str, mode: &str| {
            format!(
                "[[threshold]]\nid = '{id}'\nmode = '{mode}'\non = 'attempt'\nmeasure = 'count'\nper = ['caller']\n\
                 window = '1m'\nwarning = '>= 5'\non_warning = {{ do = ['alert', 'webhook:noc'] }}\n"
            )
        };
        let rules =
            format!("ringfence = 1\ndefault_action = 'allow'\n{}{}", rule("a", "enforce"), rule("b", "monitor"));
        let loaded = load(&RuleSource::memory([("ruleset.toml", rules)]), LoadOptions::default());
        let policy = loaded.policy.expect("the rules are good");
        let is_told = |rule: u16, is_muted: bool| {
            let (rule, level, time, key) = (RuleRef::Threshold(rule), Severity::Warning, Timestamp(0), Arc::default());
            let customer = CustomerId::default();
            let violation = Violation {
                event: 0,
                is_timed: false,
                is_reminder: false,
                rule,
                level,
                time,
                value: 5.0,
                usual: None,
                late: false,
                is_muted,
                customer,
                key,
            };
            wants_alert(&policy, &violation).is_some()
        };
        assert_eq!([is_told(0, false), is_told(0, true), is_told(1, false)], [true, false, false]);
    }
}
