//! Rules that have another id than they had: what is open under the old one goes on under the new.

use std::collections::BTreeMap;

use super::book::Book;
use super::entry::{Event, SubjectKind};
use crate::clock::Timestamp;

/// What a rule is called now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    pub rule: String,
    pub group: String,
}

impl Book {
    /// Alerts of the old ids are those of the rules as they are called now, and so are the incidents of groups that were
    /// called by them.
    pub fn rename_rules(&mut self, renamed: &BTreeMap<String, Renamed>, now: Timestamp) {
        let now = self.now(now);
        if renamed.is_empty() {
            return;
        }
        let alerts: Vec<i64> =
            self.alerts.values().filter(|alert| renamed.contains_key(&alert.rule)).map(|alert| alert.id).collect();
        alerts.into_iter().for_each(|id| self.rename_alert(id, renamed, now));
        let incidents = self.incidents.values().filter(|incident| renamed.contains_key(&incident.group));
        let incidents: Vec<i64> = incidents.map(|incident| incident.id).collect();
        incidents.into_iter().for_each(|id| self.rename_incident(id, renamed, now));
    }

    fn rename_alert(&mut self, id: i64, renamed: &BTreeMap<String, Renamed>, now: Timestamp) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        let Some(to) = renamed.get(&alert.rule) else { return };
        let old = std::mem::replace(&mut alert.rule, to.rule.clone());
        let (customer, key, state) = (alert.customer.clone(), alert.key.clone(), alert.state.as_str());
        let was = (customer.clone(), old.clone(), key.clone());
        if self.alert_by_key.get(&was) == Some(&id) {
            self.alert_by_key.remove(&was);
            let newest = self.alert_by_key.entry((customer.clone(), to.rule.clone(), key)).or_insert(id);
            *newest = id.max(*newest);
        }
        if let Some(n) = self.alerts_by_rule.get_mut(&(customer.clone(), old.clone())) {
            *n = n.saturating_sub(1);
        }
        *self.alerts_by_rule.entry((customer, to.rule.clone())).or_default() += 1;
        let why = format!("{old} is called {} now", to.rule);
        self.entries.rows.push(Event::own(now, "renamed", &why).row(SubjectKind::Alert, id, state, state));
        self.touch_alert(id);
    }

    fn rename_incident(&mut self, id: i64, renamed: &BTreeMap<String, Renamed>, now: Timestamp) {
        let Some(to) = self.incidents.get(&id).and_then(|incident| renamed.get(&incident.group)) else { return };
        let Some(mut incident) = self.incidents.remove(&id) else { return };
        let old = std::mem::replace(&mut incident.group, to.group.clone());
        let print = (incident.customer.clone(), old.clone(), incident.target.clone());
        if self.by_print.get(&print) == Some(&id) {
            self.by_print.remove(&print);
        }
        if let Some(n) = self.incidents_by_group.get_mut(&(incident.customer.clone(), old.clone())) {
            *n = n.saturating_sub(1);
        }
        self.put_incident(incident);
        let why = format!("group {old} is called {} now", to.group);
        self.note(id, Event::own(now, "renamed", &why));
    }
}
