//! The book: every alert, incident, message and clock that something may still happen to, and the rows of what did.
//!
//! It changes at once and hands out what to write afterwards ([`Book::drain`]); whoever owns it answers nobody before that
//! is durable. What nothing can happen to any more is forgotten, and taken in again when a person asks for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::alert::{Alert, AlertState};
use super::command::Answer;
use super::deadline::{ClockState, NotifyClock};
use super::entry::{Entries, Event, Stop, Subject, SubjectKind};
use super::message::Message;
use super::record::{Incident, IncidentState};
use super::terms::Terms;
use super::{Pairs, Severity};
use crate::clock::Timestamp;

/// An alert joins an incident that had its last one within this time.
pub(super) const FOLD_MS: i64 = 30 * 60_000;
/// A closed alert that comes back within this time is the same alert.
pub(super) const REOPEN_MS: i64 = 30 * 60_000;
/// Alerts of one rule and customer that are told apart. The rest are counted as one for each target: a storm of ever-new
/// keys must not fill the memory.
pub(super) const ALERTS_PER_RULE_MAX: usize = 1_000;
/// Incidents of one group and customer that are told apart. More at once are nobody's to look at one by one.
pub(super) const INCIDENTS_PER_GROUP_MAX: usize = 200;
/// How far what was written may lie ahead of the clock: further is a clock that was wrong then.
const AHEAD_MS_MAX: i64 = 24 * 3_600_000;

/// Customer, group, and the values of the target.
pub(super) type Fingerprint = (String, String, Pairs);
/// Customer, rule, key.
pub(super) type AlertKey = (String, String, Pairs);

/// See the module.
#[derive(Debug)]
pub struct Book {
    pub(super) terms: Terms,
    pub(super) alerts: BTreeMap<i64, Alert>,
    pub(super) alert_by_key: HashMap<AlertKey, i64>,
    /// By customer and rule.
    pub(super) alerts_by_rule: HashMap<(String, String), usize>,
    pub(super) incidents: BTreeMap<i64, Incident>,
    /// The newest of each.
    pub(super) by_print: HashMap<Fingerprint, i64>,
    /// By customer and group.
    pub(super) incidents_by_group: HashMap<(String, String), usize>,
    pub(super) messages: BTreeMap<i64, Message>,
    /// By incident.
    pub(super) clocks: BTreeMap<i64, NotifyClock>,
    pub(super) entries: Entries,
    /// What changed since the last drain.
    dirty: BTreeSet<(SubjectKind, i64)>,
    /// When each has something to do, and the same the other way round.
    schedule: BTreeSet<(Timestamp, SubjectKind, i64)>,
    due: HashMap<(SubjectKind, i64), Timestamp>,
    /// Forgotten by the last timers; written once more as such.
    forgotten: BTreeSet<(SubjectKind, i64)>,
    highest: HashMap<SubjectKind, i64>,
    /// The book's own time: never goes back.
    time: Timestamp,
    /// What is adopted moves it no further.
    time_max: Timestamp,
}

/// How many of what there are, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookCounts {
    /// By severity, then state.
    pub incidents: Vec<(Severity, IncidentState, u64)>,
    /// What is left until the nearest commitment, ms; below zero past it.
    pub objective_left_ms: Option<i64>,
    /// Grave incidents that are open and of which nobody is asked or called, and nothing is under way.
    pub still: Vec<i64>,
}

impl Book {
    /// Nothing has happened yet. `highest`: numbers that were given before.
    pub fn new(terms: Terms, highest: impl IntoIterator<Item = (SubjectKind, i64)>, time: Timestamp) -> Book {
        Book {
            terms,
            alerts: BTreeMap::new(),
            alert_by_key: HashMap::new(),
            alerts_by_rule: HashMap::new(),
            incidents: BTreeMap::new(),
            by_print: HashMap::new(),
            incidents_by_group: HashMap::new(),
            messages: BTreeMap::new(),
            clocks: BTreeMap::new(),
            entries: Entries::default(),
            dirty: BTreeSet::new(),
            schedule: BTreeSet::new(),
            due: HashMap::new(),
            forgotten: BTreeSet::new(),
            highest: highest.into_iter().collect(),
            time,
            time_max: time.plus_ms(AHEAD_MS_MAX),
        }
    }

    /// The files have changed: what comes from now on goes by these.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Takes in a subject as it was written; false where it cannot be read.
    pub fn adopt(&mut self, kind: SubjectKind, id: i64, body: &serde_json::Value) -> bool {
        fn read<T: DeserializeOwned>(body: &serde_json::Value) -> Option<T> {
            T::deserialize(body).ok()
        }
        match kind {
            SubjectKind::Alert => {
                let Some(alert) = read::<Alert>(body) else { return false };
                self.time = self.time.max(alert.changed.min(self.time_max));
                let key = (alert.customer.clone(), alert.rule.clone(), alert.key.clone());
                // Numbers rise: a later one of the same key is the one that goes on.
                let newest = self.alert_by_key.entry(key).or_insert(id);
                *newest = id.max(*newest);
                if self.alerts.insert(id, alert.clone()).is_none() {
                    *self.alerts_by_rule.entry((alert.customer, alert.rule)).or_default() += 1;
                }
            }
            SubjectKind::Incident => {
                let Some(mut incident) = read::<Incident>(body) else { return false };
                self.time = self.time.max(incident.changed.min(self.time_max));
                // They may have ended while the incident was forgotten.
                let is_open = |alert: &&Alert| alert.incident == Some(id) && alert.state == AlertState::Open;
                incident.open_alerts = self.alerts.values().filter(is_open).count() as u64;
                self.put_incident(incident);
            }
            SubjectKind::Message => {
                let Some(message) = read::<Message>(body) else { return false };
                self.time = self.time.max(message.changed.min(self.time_max));
                self.messages.insert(id, message);
            }
            SubjectKind::Objective => {
                let Some(clock) = read::<NotifyClock>(body) else { return false };
                self.clocks.insert(id, clock);
            }
        }
        let highest = self.highest.entry(kind).or_default();
        *highest = id.max(*highest);
        self.plan(kind, id);
        true
    }

    pub fn incident(&self, id: i64) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    pub fn message(&self, id: i64) -> Option<&Message> {
        self.messages.get(&id)
    }

    pub fn clock(&self, incident: i64) -> Option<&NotifyClock> {
        self.clocks.get(&incident)
    }

    /// Messages that were released, of which it is not known that anybody has them, whatever became of them since.
    pub fn unheard(&self) -> Vec<i64> {
        let is_unheard = |m: &&Message| m.released.is_some() && m.accepted.is_none();
        self.messages.values().filter(is_unheard).map(|m| m.id).collect()
    }

    /// What is to be written, all or nothing. Forgets what was said to be forgotten.
    pub fn drain(&mut self) -> Entries {
        let mut entries = std::mem::take(&mut self.entries);
        for (kind, id) in std::mem::take(&mut self.dirty) {
            entries.subjects.extend(self.subject(kind, id));
        }
        for (kind, id) in std::mem::take(&mut self.forgotten) {
            self.forget(kind, id);
        }
        entries
    }

    pub fn counts(&self) -> BookCounts {
        let mut incidents: BTreeMap<(Severity, &'static str), (IncidentState, u64)> = BTreeMap::new();
        for incident in self.incidents.values() {
            let count = incidents.entry((incident.severity, incident.state.as_str())).or_insert((incident.state, 0));
            count.1 += 1;
        }
        let left = |clock: &NotifyClock| clock.state.is_open().then(|| clock.left_ms(self.time));
        BookCounts {
            incidents: incidents.into_iter().map(|((severity, _), (state, n))| (severity, state, n)).collect(),
            objective_left_ms: self.clocks.values().filter_map(left).min(),
            still: self.incidents.values().filter(|incident| self.is_still(incident)).map(|i| i.id).collect(),
        }
    }

    /// The latest it knows.
    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    /// The book's time, which goes on from the latest it knows: a clock that is set back stops nothing and makes no row
    /// older than the one before.
    pub(super) fn now(&mut self, now: Timestamp) -> Timestamp {
        self.time = self.time.max(now);
        self.time
    }

    pub(super) fn next_id(&mut self, kind: SubjectKind) -> i64 {
        let highest = self.highest.entry(kind).or_default();
        *highest += 1;
        *highest
    }

    pub(super) fn touch_alert(&mut self, id: i64) {
        self.touch(SubjectKind::Alert, id);
    }

    pub(super) fn touch_incident(&mut self, id: i64) {
        self.touch(SubjectKind::Incident, id);
    }

    pub(super) fn touch(&mut self, kind: SubjectKind, id: i64) {
        // It comes back before it was forgotten.
        self.forgotten.remove(&(kind, id));
        self.dirty.insert((kind, id));
        self.plan(kind, id);
    }

    /// Takes in an incident that is not there yet.
    pub(super) fn put_incident(&mut self, incident: Incident) {
        let id = incident.id;
        if !incident.group.is_empty() {
            let print = (incident.customer.clone(), incident.group.clone(), incident.target.clone());
            let newest = self.by_print.entry(print).or_insert(id);
            *newest = id.max(*newest);
            let of_group = (incident.customer.clone(), incident.group.clone());
            *self.incidents_by_group.entry(of_group).or_default() += usize::from(!self.incidents.contains_key(&id));
        }
        self.incidents.insert(id, incident);
    }

    /// Messages of an incident that the book has at hand.
    pub(super) fn messages_of(&self, incident: i64) -> impl Iterator<Item = &Message> {
        let ids = self.incidents.get(&incident).map(|incident| incident.messages.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.messages.get(id))
    }

    /// What was folded into an incident.
    pub(super) fn parts(&self, incident: i64) -> Vec<i64> {
        self.incidents.values().filter(|part| part.merged_into == Some(incident)).map(|part| part.id).collect()
    }

    pub(super) fn severity_of(&self, incident: i64) -> Option<Severity> {
        self.incidents.get(&incident).map(|incident| incident.severity)
    }

    /// Moves an alert along its table, with the row.
    pub(super) fn move_alert(&mut self, id: i64, to: AlertState, event: Event<'_>) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        let from = alert.state;
        debug_assert!(from.may_become(to), "{from:?} to {to:?}");
        alert.state = to;
        alert.changed = event.time;
        let (incident, time) = (alert.incident, event.time);
        self.entries.rows.push(event.row(SubjectKind::Alert, id, from.as_str(), to.as_str()));
        self.touch_alert(id);
        if let Some(of) = incident.and_then(|of| self.incidents.get_mut(&of)) {
            let of_id = of.id;
            match (from == AlertState::Open, to == AlertState::Open) {
                (false, true) => of.open_alerts += 1,
                (true, false) => of.open_alerts = of.open_alerts.saturating_sub(1),
                _ => {}
            }
            if from == AlertState::Open && of.open_alerts == 0 && of.state.is_open() {
                let state = of.state.as_str();
                let event = Event::own(time, "quiet", "no alert of it is open any more");
                self.entries.rows.push(event.row(SubjectKind::Incident, of_id, state, state));
            }
            self.touch_incident(of_id);
        }
    }

    /// Moves an incident one step along its table, with the row.
    pub(super) fn move_incident(&mut self, id: i64, to: IncidentState, event: Event<'_>) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let from = incident.state;
        debug_assert!(from.may_become(to), "{from:?} to {to:?}");
        let was_unsure = incident.certainty();
        incident.state = to;
        incident.changed = event.time;
        if to == IncidentState::Resolved {
            incident.resolved = Some(event.time);
        }
        if matches!(to, IncidentState::Resolved | IncidentState::Dismissed) {
            (incident.asked_since, incident.asked) = (None, 0);
            incident.page.iter_mut().for_each(|page| page.next = None);
        }
        if matches!(to, IncidentState::Resolved | IncidentState::Dismissed | IncidentState::Merged) {
            let why = format!("nobody needs to be called: it is {}", to.as_str());
            self.entries.stops.push((event.time, Stop::Calls { incident: id, why }));
        }
        let (time, is_changed) = (event.time, incident.certainty() != was_unsure);
        self.entries.rows.push(event.row(SubjectKind::Incident, id, from.as_str(), to.as_str()));
        self.touch_incident(id);
        if is_changed {
            self.void_checks(id, time, "the incident was confirmed, and the text says otherwise");
        }
        match to {
            IncidentState::Suspected if from == IncidentState::Candidate => self.raise(id, time),
            IncidentState::Dismissed => {
                self.void_checks(id, time, "the incident was dismissed");
                self.stop_clocks(id, "it was a false alarm", time);
            }
            IncidentState::Resolved => self.void_checks(id, time, "the incident was resolved"),
            IncidentState::Reviewed => self.stop_clocks(id, "it was reviewed, and nobody was told", time),
            _ => {}
        }
    }

    /// Says what happened to an incident without moving it.
    pub(super) fn note(&mut self, id: i64, event: Event<'_>) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.changed = event.time;
        let state = incident.state.as_str();
        self.entries.rows.push(event.row(SubjectKind::Incident, id, state, state));
        self.touch_incident(id);
    }

    /// Another severity, and where the customer was told of the one before, the draft of a correction.
    pub(super) fn change_severity(&mut self, id: i64, severity: Severity, event: Event<'_>) -> Answer {
        let Some(incident) = self.incidents.get_mut(&id) else { return Answer::default() };
        let (before, time, by, why) = (incident.severity, event.time, event.by, event.why);
        let told = incident.severity_told;
        incident.severity = severity;
        incident.gravest = incident.gravest.graver(severity);
        let wants_a_look = severity.is_grave() && incident.state == IncidentState::Candidate;
        self.note(id, event.with([("from", before), ("to", severity)]));
        self.void_checks(id, time, "the severity was changed, and the text says another");
        if wants_a_look {
            self.move_incident(id, IncidentState::Suspected, Event::new(time, by, "suspected", why));
        }
        self.raise(id, time);
        self.correct(by, id, told.is_some_and(|told| told != severity), why, time)
    }

    /// Back from `resolved`: it was not over.
    pub(super) fn reopen(&mut self, id: i64, event: Event<'_>) {
        let time = event.time;
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.reopened += 1;
            incident.resolved = None;
            incident.page = None;
            incident.is_to_be_told_again = incident.is_notified();
        }
        self.move_incident(id, IncidentState::Confirmed, event);
        self.void_checks(id, time, "the incident came back");
        self.raise(id, time);
    }

    fn subject(&self, kind: SubjectKind, id: i64) -> Option<Subject> {
        fn body(value: &impl Serialize) -> serde_json::Value {
            serde_json::to_value(value).expect("texts and numbers always serialise")
        }
        let is_open = !self.forgotten.contains(&(kind, id));
        let subject = |customer: &str, incident, state, changed, body| {
            Some(Subject { kind, id, customer: customer.to_owned(), incident, state, is_open, changed, body })
        };
        match kind {
            SubjectKind::Alert => {
                let alert = self.alerts.get(&id)?;
                subject(&alert.customer, alert.incident, alert.state.as_str(), alert.changed, body(alert))
            }
            SubjectKind::Incident => {
                let incident = self.incidents.get(&id)?;
                subject(
                    &incident.customer,
                    incident.merged_into,
                    incident.state.as_str(),
                    incident.changed,
                    body(incident),
                )
            }
            SubjectKind::Message => {
                let message = self.messages.get(&id)?;
                subject(
                    &message.customer,
                    Some(message.incident),
                    message.state.as_str(),
                    message.changed,
                    body(message),
                )
            }
            SubjectKind::Objective => {
                let clock = self.clocks.get(&id)?;
                subject(
                    &clock.customer,
                    Some(clock.incident),
                    clock.state.as_str(),
                    clock.ended.unwrap_or(clock.start),
                    body(clock),
                )
            }
        }
    }

    /// Notes when the subject has something to do next.
    fn plan(&mut self, kind: SubjectKind, id: i64) {
        let next = self.next_due(kind, id);
        let before = match next {
            Some(at) => self.due.insert((kind, id), at),
            None => self.due.remove(&(kind, id)),
        };
        if let Some(before) = before {
            self.schedule.remove(&(before, kind, id));
        }
        self.schedule.extend(next.map(|at| (at, kind, id)));
    }

    /// The next subject whose time has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(SubjectKind, i64)> {
        let (_, kind, id) = self.schedule.first().filter(|(at, _, _)| *at <= now).copied()?;
        self.schedule.pop_first();
        self.due.remove(&(kind, id));
        Some((kind, id))
    }

    /// Nothing more can happen to it: it goes with the next [`Book::drain`].
    pub(super) fn let_go(&mut self, kind: SubjectKind, id: i64) {
        self.forgotten.insert((kind, id));
        self.dirty.insert((kind, id));
    }

    fn forget(&mut self, kind: SubjectKind, id: i64) {
        if let Some(at) = self.due.remove(&(kind, id)) {
            self.schedule.remove(&(at, kind, id));
        }
        match kind {
            SubjectKind::Alert => {
                let Some(alert) = self.alerts.remove(&id) else { return };
                let of_rule = (alert.customer.clone(), alert.rule.clone());
                if let Some(n) = self.alerts_by_rule.get_mut(&of_rule) {
                    *n -= 1;
                    if *n == 0 {
                        self.alerts_by_rule.remove(&of_rule);
                    }
                }
                let key = (alert.customer, alert.rule, alert.key);
                if self.alert_by_key.get(&key) == Some(&id) {
                    self.alert_by_key.remove(&key);
                }
            }
            SubjectKind::Incident => {
                let Some(incident) = self.incidents.remove(&id) else { return };
                let of_group = (incident.customer.clone(), incident.group.clone());
                if let Some(n) = self.incidents_by_group.get_mut(&of_group) {
                    *n -= 1;
                    if *n == 0 {
                        self.incidents_by_group.remove(&of_group);
                    }
                }
                let print = (incident.customer, incident.group, incident.target);
                if self.by_print.get(&print) == Some(&id) {
                    self.by_print.remove(&print);
                }
            }
            SubjectKind::Message => drop(self.messages.remove(&id)),
            SubjectKind::Objective => drop(self.clocks.remove(&id)),
        }
    }

    /// Starts the clock of an incident at its first critical violation.
    pub(super) fn start_clock(&mut self, id: i64, at: Timestamp, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id).filter(|i| i.state.is_open() && !i.is_told()) else { return };
        if self.clocks.contains_key(&id) {
            return;
        }
        let Some(clock) = self.terms.clock(id, &incident.customer, at) else {
            let event = Event::own(now, "no clock", "the response calendar does not open again");
            return self.note(id, event);
        };
        let event = Event::own(at, "started", "the first critical violation");
        let event = event.with([("target", clock.target.to_string()), ("commit", clock.commit.to_string())]);
        self.entries.rows.push(event.row(SubjectKind::Objective, id, "", ClockState::Running.as_str()));
        self.clocks.insert(id, clock);
        self.touch(SubjectKind::Objective, id);
        self.raise(id, now);
    }

    /// A message was accepted for the customer: the clocks of the incident, and of what was merged into it, end at `at`.
    pub(super) fn meet_clock(&mut self, id: i64, at: Timestamp) {
        for id in self.parts(id).into_iter().chain([id]) {
            self.say_marks(id, at);
            let Some(state) = self.clocks.get(&id).map(|clock| clock.state) else { continue };
            let end = match state {
                ClockState::Running => ClockState::Met,
                ClockState::Breached => ClockState::Late,
                _ => continue,
            };
            self.end_clock(id, end, Event::own(at, end.as_str(), "a contact of the customer was told"));
        }
    }

    /// Nobody is owed a notice any more, of the incident or of what was folded into it.
    pub(super) fn stop_clocks(&mut self, id: i64, why: &str, at: Timestamp) {
        for id in self.parts(id).into_iter().chain([id]) {
            self.say_marks(id, at);
            if self.clocks.get(&id).is_some_and(|clock| clock.state.is_open()) {
                self.end_clock(id, ClockState::Stopped, Event::own(at, "stopped", why));
            }
        }
    }

    fn end_clock(&mut self, id: i64, to: ClockState, event: Event<'_>) {
        let Some(clock) = self.clocks.get_mut(&id) else { return };
        let from = clock.state;
        debug_assert!(from.may_become(to), "{from:?} to {to:?}");
        clock.state = to;
        clock.ended = Some(event.time);
        self.entries.rows.push(event.row(SubjectKind::Objective, id, from.as_str(), to.as_str()));
        self.touch(SubjectKind::Objective, id);
    }

    /// Says what a clock has to say by `now`, each row at its own time.
    pub(super) fn say_marks(&mut self, id: i64, now: Timestamp) {
        let Some(clock) = self.clocks.get_mut(&id) else { return };
        for mark in clock.due(now) {
            let from = clock.state;
            if mark.is_breach() {
                clock.state = ClockState::Breached;
            }
            let what = if mark.is_breach() { "breached" } else { "warned" };
            let text = mark.text();
            let row =
                Event::own(mark.at, what, &text).row(SubjectKind::Objective, id, from.as_str(), clock.state.as_str());
            self.entries.rows.push(row);
        }
        self.touch(SubjectKind::Objective, id);
    }
}
