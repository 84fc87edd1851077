//! One event told rule by rule, as the engine judged it and as its words explain it.

use std::collections::BTreeMap;

use super::answer::{CallAnswer, CountAnswer, EventAnswer, RuleAnswer, TestAnswer};
use super::follow::{Follower, Trail, why_not_counted};
use super::value::{self, Sample};
use crate::clock::Timestamp;
use crate::engine::{RuleRef, Verdict, Violation, output};
use crate::event::Flags;
use crate::limits::EXPLAIN_TESTS_MAX;
use crate::policy::measure::Unit;
use crate::policy::trace::{self, Key, Rule, Shape, Step, explain_rule};
use crate::policy::{Action, Cause, FirewallRule, Measure, Mode, On, Predicate, ThresholdRule, View};

/// What is told of an event, and how.
pub(super) struct Teller<'t> {
    pub(super) follower: &'t Follower,
    pub(super) verdict: Verdict,
    pub(super) raised: Vec<&'t Violation>,
    /// What it was told when it came, where that is known.
    pub(super) told_then: Option<&'t (Action, String)>,
    /// Only this rule.
    pub(super) only: Option<&'t str>,
    pub(super) has_history: bool,
    pub(super) calls_max: usize,
}

impl Teller<'_> {
    pub(super) fn event(&self, view: &View<'_>) -> EventAnswer {
        let (policy, verdict) = (view.policy, self.verdict);
        let decided_by = output::rule_id(policy, verdict.rule).to_owned();
        let told_then = self.told_then.filter(|(action, rule)| *action != verdict.action || *rule != decided_by);
        let mut told = EventAnswer {
            time: view.event.time.to_string(),
            kind: view.event.kind.as_str().to_owned(),
            fields: trace::fields(view).map(|(name, value)| (name.to_owned(), value)).collect(),
            action: verdict.action.as_str().to_owned(),
            decided: self.decided(view, &decided_by),
            decided_by,
            told_then: told_then.map(|(action, rule)| format!("{} by {rule}", action.as_str())),
            ..EventAnswer::default()
        };
        self.firewall(view, &mut told);
        self.thresholds(view, &mut told);
        told
    }

    fn decided(&self, view: &View<'_>, id: &str) -> String {
        let action = self.verdict.action.as_str();
        match self.verdict.rule {
            RuleRef::Emergency if view.event.flags.has(Flags::EMERGENCY) => {
                format!("{action} by builtin:emergency: emergency calls are let through before any rule is asked")
            }
            RuleRef::Emergency => {
                format!("{action} by builtin:emergency: it may be the call back to somebody who called for help")
            }
            RuleRef::Default => format!("{action} by default_action: no firewall rule decided"),
            RuleRef::Firewall(i) => {
                let rule = view.policy.firewall.get(usize::from(i));
                let more = rule.map_or(String::new(), |rule| match (rule.sip_code, &rule.divert_to) {
                    (Some(code), _) => format!(", SIP {code}"),
                    (None, Some(to)) => format!(" to {to}"),
                    (None, None) => String::new(),
                });
                format!("{action} by {id}{more}")
            }
            RuleRef::Threshold(_) => format!("{action} by {id}"),
        }
    }

    /// In the order in which the engine asks: attempt, answer, end; each in written order.
    fn firewall(&self, view: &View<'_>, told: &mut EventAnswer) {
        let stage = |on: On| match on {
            On::Answer => 1,
            On::End => 2,
            _ => 0,
        };
        let rules = view.policy.firewall.iter().enumerate();
        let (mut asked, others): (Vec<_>, Vec<_>) =
            rules.partition(|(_, rule)| trace::runs(Rule::Firewall(rule), view.event));
        told.other_rules += others.len() as u64;
        let n = asked.len();
        asked.retain(|(_, rule)| Rule::Firewall(rule).concerns(view));
        told.other_customers += (n - asked.len()) as u64;
        asked.sort_by_key(|(_, rule)| stage(rule.on));
        let is_emergency = self.verdict.rule == RuleRef::Emergency;
        let decider = asked.iter().position(|(i, _)| self.verdict.rule == RuleRef::Firewall(*i as u16));
        let n_asked = if is_emergency { 0 } else { decider.map_or(asked.len(), |at| at + 1) };
        told.not_asked = (asked.len() - n_asked) as u64;
        for (place, (_, rule)) in asked.into_iter().take(n_asked).enumerate() {
            if self.only.is_none_or(|only| only == rule.id) {
                told.firewall.push(self.firewall_rule(view, rule, decider == Some(place)));
            }
        }
    }

    fn firewall_rule(&self, view: &View<'_>, rule: &FirewallRule, decides: bool) -> RuleAnswer {
        let explained = explain_rule(view.policy, Rule::Firewall(rule), view);
        let does = match (rule.action, &rule.flag) {
            (Action::Flag, Some(flag)) => format!("flag {flag}"),
            (action, _) => action.as_str().to_owned(),
        };
        let mut told = self.rule(view, &rule.id, rule.mode, does, explained.condition.as_ref());
        told.overridden = Rule::Firewall(rule).overridden(&view.policy.time_zone);
        told.met = explained.holds || decides;
        told.why_not = if told.met { None } else { explained.why_not() };
        if explained.holds {
            told.because = explained.deciding().iter().map(|step| step.told()).collect();
        }
        if told.met && rule.cause == Cause::Analytics {
            let placed = self.placed(view, &rule.when);
            if !placed.is_empty() {
                // That it is on the list is said by who put it there.
                told.because.retain(|test| !test.ends_with(trace::PUT_BY_A_THRESHOLD));
            }
            told.because.extend(placed);
        }
        if told.met && told.because.is_empty() {
            // The lists that thresholds fill are followed here, but the engine's word is the one that counted.
            told.because = vec!["a value on a dynamic list met it at that moment".to_owned()];
        }
        told
    }

    /// Which threshold put on a list what the rule found there, and when.
    fn placed(&self, view: &View<'_>, condition: &Predicate) -> Vec<String> {
        let call_id = view.batch.text(view.event.call_id);
        let told = self.follower.met_by(condition, view.batch, view.event).into_iter().map(|placed| {
            let list = view.policy.lists.get(placed.list).map_or("", |list| &list.name);
            let own = placed.time == view.event.time && placed.call_id.as_bytes() == call_id;
            let by = match (own, placed.call_id.as_str()) {
                (true, _) => "for this very call".to_owned(),
                (false, "") => format!("at {}", trace::moment(placed.time, &view.policy.time_zone)),
                (false, call) => format!("at {} for call {call}", trace::moment(placed.time, &view.policy.time_zone)),
            };
            format!("\"{}\" was put on ${list} by {} {by}", placed.text, placed.rule)
        });
        told.collect()
    }

    fn thresholds(&self, view: &View<'_>, told: &mut EventAnswer) {
        for (i, rule) in view.policy.thresholds.iter().enumerate() {
            if !trace::runs(Rule::Threshold(rule), view.event) {
                told.other_rules += 1;
                continue;
            }
            if !Rule::Threshold(rule).concerns(view) {
                told.other_customers += 1;
                continue;
            }
            if self.only.is_none_or(|only| only == rule.id) {
                told.thresholds.push(self.threshold(view, i, rule));
            }
        }
        told.thresholds.sort_by_key(|rule| !rule.met);
    }

    fn threshold(&self, view: &View<'_>, index: usize, rule: &ThresholdRule) -> RuleAnswer {
        let explained = explain_rule(view.policy, Rule::Threshold(rule), view);
        let written = view.policy.written.rule(&rule.id).map(|written| written.measure.clone());
        let measure = written.filter(|text| !text.is_empty()).unwrap_or_else(|| rule.measure.as_str().to_owned());
        let mut told = self.rule(view, &rule.id, rule.mode, measure, explained.condition.as_ref());
        told.overridden = Rule::Threshold(rule).overridden(&view.policy.time_zone);
        if let Some(reason) = explained.why_not() {
            told.why_not = Some(reason);
            return told;
        }
        if let Some(reason) = why_not_counted(rule, view, self.verdict) {
            told.why_not = Some(reason.to_owned());
            return told;
        }
        told.met = true;
        told.muted = Rule::Threshold(rule).muted(view);
        told.because = explained.deciding().iter().map(|step| step.told()).collect();
        let key = explained.key.and_then(Result::ok).unwrap_or_default();
        let trail = self.follower.trail(index, view.event.customer, &key).filter(|_| self.has_history);
        told.count = Some(self.counted(index, rule, &key, (trail, None)));
        told
    }

    /// A level that was raised because time passed: no event is to blame.
    pub(super) fn timer(&self, violation: &Violation) -> Option<EventAnswer> {
        let RuleRef::Threshold(i) = violation.rule else { return None };
        let policy = &self.follower.policy;
        let rule = policy.thresholds.get(usize::from(i))?;
        let key: Key = violation.key.to_vec();
        let trail = self.follower.trail(usize::from(i), violation.customer, &key);
        let written = policy.written.rule(&rule.id);
        let told = RuleAnswer {
            rule: rule.id.clone(),
            mode: rule.mode.as_str().to_owned(),
            does: written.map(|written| written.measure.clone()).unwrap_or_default(),
            met: true,
            because: vec!["time passed: no event of its own raised it".to_owned()],
            place: written.map(|written| format!("{}:{}", written.path, written.line)).unwrap_or_default(),
            count: Some(self.counted(usize::from(i), rule, &key, (trail, Some(violation.time)))),
            ..RuleAnswer::default()
        };
        Some(EventAnswer {
            time: violation.time.to_string(),
            kind: "timer".to_owned(),
            thresholds: vec![told],
            ..EventAnswer::default()
        })
    }

    fn rule(&self, view: &View<'_>, id: &str, mode: Mode, does: String, condition: Option<&Step>) -> RuleAnswer {
        let place = view.policy.written.rule(id).map(|written| format!("{}:{}", written.path, written.line));
        let mut tests = Vec::new();
        if let Some(condition) = condition {
            list_tests(condition, 0, &mut tests);
        }
        RuleAnswer {
            rule: id.to_owned(),
            mode: mode.as_str().to_owned(),
            does,
            tests,
            place: place.unwrap_or_default(),
            ..RuleAnswer::default()
        }
    }

    fn counted(
        &self,
        index: usize,
        rule: &ThresholdRule,
        key: &Key,
        (trail, now): (Option<&Trail>, Option<Timestamp>),
    ) -> CountAnswer {
        let raised = self.raised.iter().find(|v| v.rule == RuleRef::Threshold(index as u16) && !v.is_reminder);
        let mut told = CountAnswer {
            key: key.iter().cloned().collect::<BTreeMap<_, _>>(),
            measure: rule.measure.as_str().to_owned(),
            window: if rule.measure.is_of_calls() { String::new() } else { rule.window_text.clone() },
            warning: rule.levels.warning.as_ref().map(|level| level.text.clone()),
            critical: rule.levels.critical.as_ref().map(|level| level.text.clone()),
            held_for: (rule.hold_ms > 0).then(|| value::amount(rule.hold_ms as f64, Unit::Milliseconds)),
            raised: raised.map(|violation| violation.level.as_str().to_owned()),
            ..CountAnswer::default()
        };
        let Some(trail) = trail else { return told };
        // What has held for a while held up to that instant, also where something leaves at it.
        let until = now.map_or(trail.clock, |now| now.0 - i64::from(rule.hold_ms > 0));
        let now = now.map_or(trail.clock, |now| now.0);
        let edge = if rule.measure.is_of_calls() { i64::MIN } else { until.saturating_sub(rule.window_ms) };
        let window = || trail.window.iter().filter(|counted| counted.time.0 > edge);
        let longest_ms = window().next().map_or(0, |oldest| now.saturating_sub(oldest.time.0));
        let shown = value::shown(&rule.measure, window().map(|counted| &counted.sample), longest_ms);
        told.value = shown.map(|shown| value::amount(shown.value, rule.measure.unit()));
        told.level = trail.open.map(|open| open.level.as_str().to_owned());
        told.since = trail.open.map(|open| open.since.to_string());
        let written = self.follower.policy.written.rule(&rule.id);
        told.also = (rule.also.iter().zip(0..))
            .map(|(also, i)| {
                let text = written.and_then(|written| written.also.get(i)).cloned();
                let text = text.unwrap_or_else(|| format!("{} {}", also.measure.as_str(), also.level.text));
                let samples = window().filter_map(|counted| counted.also.get(i));
                match value::shown(&also.measure, samples, longest_ms) {
                    Some(shown) => format!("{text}: it is {}", value::amount(shown.value, also.measure.unit())),
                    None => format!("{text}: nothing to go by yet"),
                }
            })
            .collect();
        let needs = matches!(rule.measure, Measure::Share(_) | Measure::Avg(_));
        if let Some(shown) = shown.filter(|shown| needs && (shown.items as u64) < u64::from(rule.min_count)) {
            told.held_back = Some(format!("{} of the {} events it waits for", shown.items, rule.min_count));
        }
        let calls = window().rev().filter(|counted| counted.sample != Sample::Nothing);
        told.more_calls = calls.clone().count().saturating_sub(self.calls_max) as u64;
        told.calls = calls
            .take(self.calls_max)
            .map(|counted| CallAnswer {
                call_id: counted.call_id.clone(),
                time: counted.time.to_string(),
                caller: counted.caller.clone(),
                callee: counted.callee.clone(),
                adds: counted.sample.text(&rule.measure),
            })
            .collect();
        told
    }
}

/// Every test, outermost first; past the bound the rest is left out.
fn list_tests(step: &Step, depth: u64, tests: &mut Vec<TestAnswer>) {
    if tests.len() >= EXPLAIN_TESTS_MAX {
        return;
    }
    // `and` at the outermost says nothing that its parts do not.
    let is_frame = depth == 0 && step.shape == Shape::All;
    if !is_frame {
        tests.push(TestAnswer {
            depth,
            test: step.test.clone(),
            holds: step.holds,
            wanted: step.wanted,
            because: step.because.clone(),
        });
    }
    let below = if is_frame { depth } else { depth + 1 };
    step.parts.iter().for_each(|part| list_tests(part, below, tests));
}
