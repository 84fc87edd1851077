//! Violations become alerts, and alerts that are the same problem one incident.

use super::alert::{Alert, AlertState};
use super::book::{ALERTS_PER_RULE_MAX, Book, FOLD_MS, Fingerprint, INCIDENTS_PER_GROUP_MAX, REOPEN_MS};
use super::entry::Event;
use super::record::{Incident, IncidentState};
use super::{Pairs, Severity};
use crate::clock::Timestamp;
use crate::policy::Severity as Level;

/// A violation as the book takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// `POSITION/RULE/LEVEL`.
    pub violation: String,
    pub time: Timestamp,
    pub customer: String,
    pub rule: String,
    pub key: Pairs,
    pub group: String,
    pub target: Pairs,
    pub level: Level,
    /// Of a rule in `monitor` mode.
    pub is_silent: bool,
    /// It is an incident, of which nobody is told.
    pub is_muted: bool,
    /// What the rule looks for, in a sentence.
    pub what: String,
}

/// The end of an episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub time: Timestamp,
    pub customer: String,
    pub rule: String,
    pub key: Pairs,
}

/// Keys of a rule past those that have alerts of their own.
const OTHERS: &str = "(others)";

impl Book {
    /// Takes a violation that was not taken before.
    pub fn take(&mut self, sighting: &Sighting, now: Timestamp) {
        let now = self.now(now);
        let id = self.alert_of(sighting, now);
        self.entries.folded.push((sighting.violation.clone(), id));
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        // What was critical and muted was news to nobody.
        let was_critical = alert.is_critical && !alert.is_muted;
        let is_worse = sighting.level == Level::Critical && !was_critical;
        alert.count += 1;
        alert.is_critical |= sighting.level == Level::Critical;
        alert.first = alert.first.min(sighting.time);
        alert.last = alert.last.max(sighting.time);
        alert.seen = now;
        // A rule that only watched may be in force by now.
        alert.is_silent &= sighting.is_silent;
        alert.is_muted &= sighting.is_muted;
        self.touch_alert(id);
        if !sighting.is_silent {
            let incident = self.incident_of(id, sighting, is_worse, now);
            self.grow(incident, sighting, now);
        }
    }

    /// An episode is over.
    pub fn end(&mut self, ending: &Ending, now: Timestamp) {
        let now = self.now(now);
        let of = (ending.customer.clone(), ending.rule.clone(), ending.key.clone());
        let Some(id) = self.alert_by_key.get(&of).copied() else { return };
        // It lasted until now, so what comes back is measured from here.
        let incident = self.alerts.get_mut(&id).and_then(|alert| {
            alert.last = alert.last.max(ending.time);
            alert.incident
        });
        self.touch_alert(id);
        if let Some(incident) = incident.and_then(|incident| self.incidents.get_mut(&incident)) {
            incident.last = incident.last.max(ending.time);
            let incident = incident.id;
            self.touch_incident(incident);
        }
        if self.alerts.get(&id).is_some_and(|alert| alert.state == AlertState::Open) {
            self.move_alert(id, AlertState::Quiet, Event::own(now, "quiet", "the episode is over"));
        }
    }

    /// The alert that takes the sighting: its own, one that comes back, or a new one.
    fn alert_of(&mut self, sighting: &Sighting, now: Timestamp) -> i64 {
        let own = (sighting.customer.clone(), sighting.rule.clone(), sighting.key.clone());
        if let Some(id) = self.known_alert(&own, sighting, now) {
            return id;
        }
        let of_rule = (sighting.customer.clone(), sighting.rule.clone());
        let mut key = sighting.key.clone();
        if self.alerts_by_rule.get(&of_rule).is_some_and(|n| *n >= ALERTS_PER_RULE_MAX) {
            // A target stays told apart: each is an incident of its own.
            let is_full = self.is_full(sighting);
            let kept = |name: &str| !is_full && sighting.target.iter().any(|(target, _)| target == name);
            for (_, value) in key.iter_mut().filter(|(name, _)| !kept(name)) {
                OTHERS.clone_into(value);
            }
            let others = (of_rule.0.clone(), of_rule.1.clone(), key.clone());
            if let Some(id) = self.known_alert(&others, sighting, now) {
                return id;
            }
        }
        let id = self.next_id(super::SubjectKind::Alert);
        let alert = Alert {
            id,
            customer: sighting.customer.clone(),
            rule: sighting.rule.clone(),
            is_others: key != sighting.key,
            key: key.clone(),
            is_silent: sighting.is_silent,
            is_muted: sighting.is_muted,
            state: AlertState::Open,
            is_critical: sighting.level == Level::Critical,
            count: 0,
            first: sighting.time,
            last: sighting.time,
            opened: now,
            changed: now,
            seen: now,
            incident: None,
            flaps: Vec::new(),
            n_flaps: 0,
            is_flapping: false,
        };
        let event = Event::own(now, "opened", "").with(&sighting.violation);
        self.entries.rows.push(event.row(super::SubjectKind::Alert, id, "", AlertState::Open.as_str()));
        self.alerts.insert(id, alert);
        self.alert_by_key.insert((of_rule.0.clone(), of_rule.1.clone(), key), id);
        *self.alerts_by_rule.entry(of_rule).or_default() += 1;
        id
    }

    /// The group has so many incidents that further ones are one.
    fn is_full(&self, sighting: &Sighting) -> bool {
        let of_group = (sighting.customer.clone(), sighting.group.clone());
        self.incidents_by_group.get(&of_group).is_some_and(|n| *n >= INCIDENTS_PER_GROUP_MAX)
    }

    /// An alert of this key that the sighting belongs to; it is open afterwards.
    fn known_alert(&mut self, key: &(String, String, Pairs), sighting: &Sighting, now: Timestamp) -> Option<i64> {
        let id = self.alert_by_key.get(key).copied()?;
        let alert = self.alerts.get_mut(&id)?;
        match alert.state {
            AlertState::Open => return Some(id),
            // Another problem by now, if it comes back so much later.
            AlertState::Closed if sighting.time.0.saturating_sub(alert.last.0) > REOPEN_MS => return None,
            AlertState::Quiet | AlertState::Closed => {}
        }
        let (begins, n_flaps) = (alert.flap(now), alert.n_flaps);
        let event = Event::own(now, "came back", "").with(&sighting.violation);
        self.move_alert(id, AlertState::Open, event);
        if begins {
            let why = format!("it came back {n_flaps} times");
            let event = Event::own(now, "flapping", &why);
            let state = AlertState::Open.as_str();
            self.entries.rows.push(event.row(super::SubjectKind::Alert, id, state, state));
        }
        Some(id)
    }

    /// The incident of an alert, found or opened.
    fn incident_of(&mut self, alert: i64, sighting: &Sighting, is_worse: bool, now: Timestamp) -> i64 {
        let before = self.alerts.get(&alert).and_then(|alert| alert.incident);
        if let Some(id) = before.filter(|id| self.is_still_of(*id, sighting, is_worse)) {
            return id;
        }
        let mut print: Fingerprint = (sighting.customer.clone(), sighting.group.clone(), sighting.target.clone());
        if self.is_full(sighting) && !self.by_print.get(&print).is_some_and(|id| self.folds(*id, sighting)) {
            print.2.iter_mut().for_each(|(_, value)| OTHERS.clone_into(value));
        }
        let found = self.by_print.get(&print).copied().filter(|id| self.folds(*id, sighting));
        let id = found.unwrap_or_else(|| self.open_incident(print, sighting, now));
        if let Some(alert) = self.alerts.get_mut(&alert) {
            let was_of = alert.incident.replace(id);
            let is_new = was_of != Some(id);
            let is_open = alert.state == AlertState::Open;
            if is_new && let Some(incident) = self.incidents.get_mut(&id) {
                incident.alerts += 1;
                incident.open_alerts += u64::from(is_open);
            }
            if is_new && let Some(old) = was_of.and_then(|old| self.incidents.get_mut(&old)) {
                old.open_alerts = old.open_alerts.saturating_sub(u64::from(is_open));
                let old = old.id;
                self.touch_incident(old);
            }
        }
        id
    }

    /// An alert that goes on stays with its incident, also where that was dismissed: it is the false alarm still, unless
    /// it reaches its critical level only now.
    fn is_still_of(&self, incident: i64, sighting: &Sighting, is_worse: bool) -> bool {
        self.incidents.get(&incident).is_some_and(|incident| match incident.state {
            IncidentState::Reviewed => false,
            IncidentState::Dismissed => !is_worse && is_near(incident, sighting),
            IncidentState::Resolved => is_near(incident, sighting),
            _ => incident.open_alerts > 0 || is_near(incident, sighting),
        })
    }

    /// Whether a new alert joins the incident. One that was resolved a moment ago was not over; one that was dismissed
    /// takes no new ones, or a false alarm would hide an attack.
    fn folds(&self, incident: i64, sighting: &Sighting) -> bool {
        self.incidents.get(&incident).is_some_and(|incident| match incident.state {
            IncidentState::Dismissed | IncidentState::Reviewed => false,
            IncidentState::Resolved => is_near(incident, sighting),
            _ => incident.open_alerts > 0 || is_near(incident, sighting),
        })
    }

    fn open_incident(&mut self, print: Fingerprint, sighting: &Sighting, now: Timestamp) -> i64 {
        let id = self.next_id(super::SubjectKind::Incident);
        let (customer, group, target) = print.clone();
        let level = sighting.level.as_str();
        // Nobody need look at what is muted, until there is more to it.
        let severity = match sighting.is_muted {
            true => Severity::LOW,
            false => self.terms.severity(&customer, &sighting.rule, &group, sighting.level),
        };
        let incident = Incident {
            what: sighting.what.clone(),
            opened: now,
            changed: now,
            first: sighting.time,
            last: sighting.time,
            ..Incident::new(id, customer, group, target, severity)
        };
        let muted = if sighting.is_muted { ", muted: nobody is told" } else { "" };
        let why = format!("{} reached its {level} level{muted}", sighting.rule);
        let event = Event::own(now, "opened", &why).with(&sighting.violation);
        self.entries.rows.push(event.row(super::SubjectKind::Incident, id, "", IncidentState::Candidate.as_str()));
        self.put_incident(incident);
        id
    }

    /// One more violation of an incident: it is graver, or goes on, or comes back. What is folded into another one counts
    /// for itself; what follows from it is the other's. From what is muted nothing follows.
    fn grow(&mut self, part: i64, sighting: &Sighting, now: Timestamp) {
        let Some(incident) = self.incidents.get_mut(&part) else { return };
        incident.violations += 1;
        incident.first = incident.first.min(sighting.time);
        incident.last = incident.last.max(sighting.time);
        let id = incident.merged_into.unwrap_or(part);
        let group = incident.group.clone();
        self.touch_incident(part);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.last = incident.last.max(sighting.time);
        if sighting.is_muted {
            return self.touch_incident(id);
        }
        let (state, is_set, before) = (incident.state, incident.severity_is_set, incident.severity);
        self.touch_incident(id);
        let severity = self.terms.severity(&sighting.customer, &sighting.rule, &group, sighting.level);
        if severity < before && !is_set && state.is_open() {
            let why = format!("{} reached a graver level", sighting.rule);
            self.change_severity(id, severity, Event::own(now, "severity", &why));
        }
        let is_critical = sighting.level == Level::Critical;
        let is_worse = is_critical || self.severity_of(id).is_some_and(Severity::is_grave);
        let state = self.incidents.get(&id).map_or(state, |incident| incident.state);
        if state == IncidentState::Candidate && is_worse {
            let why = format!("{} reached its critical level", sighting.rule);
            let why = if is_critical { why } else { "its severity asks for it".to_owned() };
            self.move_incident(id, IncidentState::Suspected, Event::own(now, "suspected", &why));
        } else if state == IncidentState::Resolved {
            let why = format!("{} came back", sighting.rule);
            self.reopen(id, Event::own(now, "reopened", &why));
        }
        if is_critical {
            self.start_clock(id, sighting.time, now);
        }
    }
}

/// Not later than half an hour after the incident's last alert.
fn is_near(incident: &Incident, sighting: &Sighting) -> bool {
    sighting.time.0.saturating_sub(incident.last.0) <= FOLD_MS
}
