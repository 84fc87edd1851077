//! What was found, for the store: violations, the ends of their episodes, and blocks, for the incident book and for people
//! who look them up later.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::engine::{Closed, Judged, RuleRef, Violation, output};
use crate::event::Names;
use crate::policy::{Policy, ThresholdRule};
use crate::store::{Block, Change, Closing, Key, Store, Violation as Row};

/// Writes into the store, without ever waiting for it.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) store: Arc<Store>,
    pub(super) policy: Arc<Policy>,
    pub(super) names: Arc<Names>,
}

impl Recorder {
    pub(super) fn violation(&self, judged: &Judged, violation: &Violation, id: &str, position: u64) -> Option<Change> {
        let (value, threshold) = output::shown(&self.policy, violation)?;
        let event = judged.batch.events.get(violation.event as usize)?;
        let rule = self.threshold(violation.rule);
        let (group, target) = self.fold_terms(violation.rule);
        Some(Change::Violation(Row {
            id: id.to_owned(),
            position,
            time: violation.time,
            customer: self.names.customer_name(violation.customer),
            rule: output::rule_id(&self.policy, violation.rule).to_owned(),
            level: violation.level.as_str().to_owned(),
            key: Key(violation.key.to_vec()),
            group,
            target,
            measure: rule.map_or("match", |rule| rule.measure.as_str()).to_owned(),
            value,
            threshold,
            window: rule.map_or("0s", |rule| &rule.window_text).to_owned(),
            call_id: String::from_utf8_lossy(judged.batch.text(event.call_id)).into_owned(),
            mode: output::rule_mode(&self.policy, violation.rule).as_str().to_owned(),
            late: violation.late,
            told_at: None,
            alert: None,
        }))
    }

    /// The group that a violation folds with, and what tells the incidents of the group apart.
    fn fold_terms(&self, rule: RuleRef) -> (String, Key) {
        (output::rule_id(&self.policy, rule).to_owned(), Key::default())
    }

    /// The end of an episode, under a name that recovery gives it again. `position`: of the last event so far.
    pub(super) fn closing(&self, closed: &Closed, position: u64) -> Change {
        let rule = output::rule_id(&self.policy, closed.rule).to_owned();
        let customer = self.names.customer_name(closed.customer);
        let id = format!("{}/{rule}/closed/{}", closed.time.0, digest(&customer, &closed.key));
        let key = Key(closed.key.to_vec());
        Change::Closed(Closing { id, position, time: closed.time, customer, rule, key })
    }

    /// What thresholds put on lists.
    pub(super) fn blocks(&self, judged: &Judged, position: impl Fn(u32) -> u64) -> Vec<Change> {
        let block = |put: &crate::engine::Put| {
            let event = judged.batch.events.get(put.event as usize)?;
            Some(Change::Block(Block {
                list: self.policy.lists.get(put.list)?.name.clone(),
                value: put.value.clone(),
                customer: self.names.customer_name(put.customer),
                rule: output::rule_id(&self.policy, put.rule).to_owned(),
                position: position(put.event),
                added: event.time,
                until: None,
                removed: None,
            }))
        };
        judged.listed.iter().filter_map(block).collect()
    }

    /// The end of what an episode put on lists: the field of a `block` is an entry of its key. `position`: of the last
    /// event so far.
    pub(super) fn ends(&self, closed: &Closed, position: u64) -> Vec<Change> {
        let Some(rule) = self.threshold(closed.rule) else { return Vec::new() };
        let reactions = [&rule.on_warning, &rule.on_critical];
        let blocks = reactions.into_iter().filter_map(|reaction| reaction.block.as_ref());
        let end = |block: &crate::policy::Block| {
            let entry = self.policy.keys.get(rule.key)?.parts.iter().position(|part| part.operand == block.field)?;
            Some(Change::BlockEnds {
                list: self.policy.lists.get(block.list)?.name.clone(),
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

    fn threshold(&self, rule: RuleRef) -> Option<&ThresholdRule> {
        match rule {
            RuleRef::Threshold(rule) => self.policy.thresholds.get(usize::from(rule)),
            _ => None,
        }
    }
}

/// 64 bits of a hash over customer and key: many episodes of one rule end at one instant.
fn digest(customer: &str, key: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for text in std::iter::once(customer).chain(key.iter().flat_map(|(name, value)| [name.as_str(), value])) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let bytes = hash.finalize();
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
