//! What was found, for the store: violations, the ends of their episodes, and blocks, for the incident book and for people
//! who look them up later.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::engine::{Closed, Judged, RuleRef, Violation, output};
use crate::event::Names;
use crate::policy::{Mode, Policy, ThresholdRule};
use crate::store::{Block, Change, Closing, Key, MUTED, Store, Violation as Row};

/// Writes into the store, without ever waiting for it.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) store: Arc<Store>,
    pub(super) names: Arc<Names>,
}

impl Recorder {
    pub(super) fn violation(&self, judged: &Judged, violation: &Violation, id: &str, position: u64) -> Option<Change> {
        let policy = &*judged.policy;
        let (value, threshold) = output::shown(policy, violation)?;
        let call_id = judged.event_of(violation).map_or(&b""[..], |event| judged.batch.text(event.call_id));
        let rule = threshold_rule(policy, violation.rule);
        let (group, target) = fold_terms(policy, violation);
        Some(Change::Violation(Row {
            id: id.to_owned(),
            position,
            time: violation.time,
            customer: self.names.customer_name(violation.customer),
            rule: output::rule_id(policy, violation.rule).to_owned(),
            level: violation.level.as_str().to_owned(),
            key: Key(violation.key.to_vec()),
            group,
            target,
            measure: rule.map_or("match", |rule| rule.measure.as_str()).to_owned(),
            value,
            threshold,
            window: rule.map_or("0s", |rule| &rule.window_text).to_owned(),
            call_id: String::from_utf8_lossy(call_id).into_owned(),
            mode: mode(output::rule_mode(policy, violation.rule), violation.is_muted).to_owned(),
            late: violation.late,
            told_at: None,
            alert: None,
            what: String::new(),
        }))
    }

    /// The end of an episode, under a name that recovery gives it again. `position`: of the last event so far.
    pub(super) fn closing(&self, policy: &Policy, closed: &Closed, position: u64) -> Change {
        let rule = output::rule_id(policy, closed.rule).to_owned();
        let customer = self.names.customer_name(closed.customer);
        let id = format!("{}/{rule}/closed/{}", closed.time.0, digest(&customer, &closed.key));
        let key = Key(closed.key.to_vec());
        Change::Closed(Closing { id, position, time: closed.time, customer, rule, key })
    }

    /// What thresholds put on lists.
    pub(super) fn blocks(&self, judged: &Judged, position: impl Fn(u32) -> u64) -> Vec<Change> {
        let policy = &*judged.policy;
        let block = |put: &crate::engine::Put| {
            Some(Change::Block(Block {
                list: policy.lists.get(put.list)?.name.clone(),
                value: put.value.clone(),
                customer: self.names.customer_name(put.customer),
                rule: output::rule_id(policy, put.rule).to_owned(),
                position: position(put.event),
                added: put.time,
                until: None,
                removed: None,
            }))
        };
        judged.listed.iter().filter_map(block).collect()
    }

    /// The end of what an episode put on lists: the field of a `block` is an entry of its key. `position`: of the last
    /// event so far.
    pub(super) fn ends(&self, policy: &Policy, closed: &Closed, position: u64) -> Vec<Change> {
        let Some(rule) = threshold_rule(policy, closed.rule) else { return Vec::new() };
        let reactions = [&rule.on_warning, &rule.on_critical];
        let blocks = reactions.into_iter().filter_map(|reaction| reaction.block.as_ref());
        let end = |block: &crate::policy::Block| {
            let entry = policy.keys.get(rule.key)?.parts.iter().position(|part| part.operand == block.field)?;
            Some(Change::BlockEnds {
                list: policy.lists.get(block.list)?.name.clone(),
                value: closed.key.get(entry)?.1.clone(),
                customer: self.names.customer_name(closed.customer),
                rule: rule.id.clone(),
                position,
                closed: closed.time,
                until: closed.time.plus_ms(block.ttl_ms),
            })
        };
        blocks.filter_map(end).collect()
    }

    /// Hands changes to the store, which writes them when it can. Counted there where it cannot take them.
    pub(super) fn write(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        if let Err(refused) = self.store.record(changes) {
            tracing::error!(why = %refused.why, n = refused.changes.len(), "violations and blocks are not on record");
        }
    }
}

fn threshold_rule(policy: &Policy, rule: RuleRef) -> Option<&ThresholdRule> {
    match rule {
        RuleRef::Threshold(rule) => policy.thresholds.get(usize::from(rule)),
        _ => None,
    }
}

/// The group that a violation folds with, and what tells the incidents of the group apart.
fn fold_terms(policy: &Policy, violation: &Violation) -> (String, Key) {
    match threshold_rule(policy, violation.rule) {
        Some(rule) => {
            let entries = rule.target.iter().filter_map(|entry| violation.key.get(*entry).cloned());
            let mut target: Vec<_> = entries.collect();
            // Rules of one group may write them in different orders.
            target.sort();
            (rule.group.clone(), Key(target))
        }
        None => (output::rule_id(policy, violation.rule).to_owned(), Key::default()),
    }
}

/// What a rule that only watches finds is no incident, muted or not.
fn mode(mode: Mode, is_muted: bool) -> &'static str {
    if is_muted && mode == Mode::Enforce { MUTED } else { mode.as_str() }
}

/// 64 bits of a hash over customer and key: many episodes of one rule end at one instant.
pub(super) fn digest(customer: &str, key: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for text in std::iter::once(customer).chain(key.iter().flat_map(|(name, value)| [name.as_str(), value])) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let bytes = hash.finalize();
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::{LoadOptions, RuleSource, Severity, load};
    use crate::store::Inbox;

    const RULES: &str = r#"
ringfence = 1
default_action = "allow"
[[threshold]]
id = "ips-a"
on = "attempt"
mode = "monitor"
group = "robocalls"
target = ["trunk", "caller"]
measure = "count"
per = ["caller", "callee", "trunk"]
window = "10m"
warning = ">= 5"
"#;

    fn recorder(folder: &std::path::Path) -> Recorder {
        let (store, _) = Store::open(folder).unwrap();
        Recorder { store: Arc::new(store), names: Arc::new(Names::new()) }
    }

    fn policy() -> Policy {
        let loaded = load(&RuleSource::memory([("ruleset.toml", RULES.to_owned())]), LoadOptions::default());
        loaded.policy.unwrap()
    }

    fn key() -> Arc<[(String, String)]> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        [pair("caller", "+46700001"), pair("callee", "+46800001"), pair("trunk", "t1")].into()
    }

    #[test]
    fn an_end_is_put_into_the_inbox_once_however_often_recovery_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, policy) = (recorder(folder.path()), policy());
        let customer = recorder.names.customer("acme").unwrap();
        let closed = Closed { rule: RuleRef::Threshold(0), customer, key: key(), time: Timestamp(9_000) };
        // Recovery may notice it behind another event.
        recorder.write(vec![recorder.closing(&policy, &closed, 5)]);
        recorder.write(vec![recorder.closing(&policy, &closed, 6)]);
        recorder.write(vec![recorder.closing(&policy, &Closed { time: Timestamp(9_001), ..closed }, 7)]);
        recorder.store.flush().unwrap();
        let waiting = recorder.store.inbox(0, 0).unwrap().rows;
        let told = waiting.iter().map(|(_, inbox)| match inbox {
            Inbox::Closed(c) => (c.position, c.time.0, c.rule.as_str(), c.customer.as_str(), c.key.0.len()),
            Inbox::Violation(_) => panic!("nothing was found"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [(5, 9_000, "ips-a", "acme", 3), (7, 9_001, "ips-a", "acme", 3)]);
    }

    #[test]
    fn a_violation_folds_by_the_group_of_its_rule_and_the_values_of_its_target_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, policy) = (recorder(folder.path()), policy());
        let customer = recorder.names.customer("acme").unwrap();
        let (rule, level, time) = (RuleRef::Threshold(0), Severity::Warning, Timestamp(1));
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
            is_muted: false,
            customer,
            key: key(),
        };
        let (group, target) = fold_terms(&policy, &violation);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!((group.as_str(), target.0), ("robocalls", vec![pair("caller", "+46700001"), pair("trunk", "t1")]));
    }

    #[test]
    fn customers_and_keys_that_are_cut_elsewhere_have_other_digests() {
        let key = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_ne!(digest("a", &key("b", "c")), digest("ab", &key("", "c")));
        assert_ne!(digest("a", &key("b", "cd")), digest("a", &key("bc", "d")));
        // It stands in databases: it must not change.
        assert_eq!(digest("acme", &key("caller", "+46700001")), "d8885a2de6c517f9");
    }
}
