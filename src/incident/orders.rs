//! What people order: each order is checked against who asks, and against how things stand, before anything changes.

use super::book::Book;
use super::command::{Answer, Command, Refusal, need};
use super::entry::{Event, SubjectKind};
use super::people::{Actor, Role};
use super::record::{Incident, IncidentState, Position};
use super::{Pairs, Severity, incident_name};
use crate::clock::Timestamp;
use crate::kit::Kind;

/// People that may be named as responders of one incident.
const RESPONDERS_MAX: usize = 50;

impl Book {
    /// Does what is ordered, or says why not. Also a refusal may leave something to be written: a check that it voided.
    pub fn order(&mut self, by: &Actor, command: &Command, now: Timestamp) -> Result<Answer, Refusal> {
        let now = self.now(now);
        need(by, command.roles(), command.name())?;
        command.check_texts()?;
        match command {
            Command::Open { customer, what, severity, why } => self.open(by, (customer, what, *severity, why), now),
            Command::Draft { incident, kit, given } => self.draft(by, *incident, kit, given, now),
            Command::Redraft { message, hash, given } => self.redraft(by, *message, hash, given, now),
            Command::Check { message, hash } => self.check(by, *message, hash, now),
            Command::Return { message, comment } => self.give_back(by, *message, comment, now),
            Command::Release { message, hash } => self.release(by, *message, hash, now),
            Command::Withdraw { message, why } => self.withdraw(by, *message, why, now),
            _ => {
                let id = command.incident().ok_or_else(|| Refusal::NotFound("no incident was named".to_owned()))?;
                self.known(id)?;
                self.order_of(by, id, command, now)
            }
        }
    }

    /// Orders about one incident that is there.
    fn order_of(&mut self, by: &Actor, id: i64, command: &Command, now: Timestamp) -> Result<Answer, Refusal> {
        use IncidentState::{Confirmed, Mitigating, Monitoring, Resolved, Reviewed, Suspected};
        let event = |what, why| Event::new(now, by, what, why);
        match command {
            Command::Suspect { why, .. } => self.go(id, Suspected, event("suspected", why)),
            Command::Confirm { why, .. } => self.go(id, Confirmed, event("confirmed", why)),
            Command::Mitigate { why, .. } => self.go(id, Mitigating, event("mitigating", why)),
            Command::Monitor { why, .. } => self.go(id, Monitoring, event("monitoring", why)),
            Command::Resolve { why, .. } => {
                self.has_findings(id)?;
                self.go(id, Resolved, event("resolved", why))?;
                let mut answer = self.tell_the_end(by, id, Kind::Resolved, why, now);
                answer.hints.extend(self.owed(id));
                Ok(answer)
            }
            Command::Review { why, .. } => {
                self.has_findings(id)?;
                self.go(id, Reviewed, event("reviewed", why))
            }
            Command::Dismiss { why, .. } => self.dismiss(by, id, why, now),
            Command::Reopen { why, .. } => {
                self.expect(id, Resolved, "reopen")?;
                self.reopen(id, event("reopened", why));
                Ok(of(id))
            }
            Command::SetSeverity { severity, why, .. } => self.set_severity(by, id, *severity, why, now),
            Command::Assign { position, person, .. } => self.assign(by, id, *position, person, now),
            Command::Fold { into, why, .. } => self.fold(by, id, *into, why, now),
            Command::Unfold { why, .. } => self.unfold(by, id, why, now),
            Command::Findings { findings, recommendations, .. } => {
                self.put_findings(id, findings.as_deref(), recommendations.as_deref(), event("findings", ""))
            }
            Command::Acknowledge { why, .. } => self.acknowledge(by, id, why, now),
            Command::Note { text, .. } => {
                self.note(id, event("note", text));
                Ok(of(id))
            }
            _ => Err(Refusal::Conflict(format!("{} is no order about an incident", command.name()))),
        }
    }

    pub(super) fn known(&self, id: i64) -> Result<&Incident, Refusal> {
        self.incidents.get(&id).ok_or_else(|| Refusal::NotFound(format!("there is no incident {}", incident_name(id))))
    }

    fn expect(&self, id: i64, state: IncidentState, what: &str) -> Result<(), Refusal> {
        let is = self.known(id)?.state;
        if is == state {
            return Ok(());
        }
        let (name, is, state) = (incident_name(id), is.as_str(), state.as_str());
        Err(Refusal::Conflict(format!("{what}: {name} is {is}, and would have to be {state}")))
    }

    fn open(
        &mut self,
        by: &Actor,
        (customer, what, severity, why): (&str, &str, Severity, &str),
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        if self.terms.customers.is_closed() && self.terms.customers.get(customer).is_none() {
            return Err(Refusal::NotFound(format!("there is no customer `{customer}`")));
        }
        let id = self.next_id(SubjectKind::Incident);
        let incident = Incident {
            what: what.trim().to_owned(),
            severity_is_set: true,
            opened: now,
            changed: now,
            first: now,
            last: now,
            ..Incident::new(id, customer.to_owned(), String::new(), Pairs::new(), severity)
        };
        let event = Event::new(now, by, "opened", why);
        self.entries.rows.push(event.row(SubjectKind::Incident, id, "", IncidentState::Candidate.as_str()));
        self.incidents.insert(id, incident);
        self.touch_incident(id);
        self.move_incident(id, IncidentState::Suspected, Event::new(now, by, "suspected", why));
        Ok(of(id))
    }

    /// Along the table to a state that lies ahead, one row a step.
    fn go(&mut self, id: i64, to: IncidentState, event: Event<'_>) -> Result<Answer, Refusal> {
        let from = self.known(id)?.state;
        let Some(way) = from.way(to) else {
            let (name, from_text, to_text) = (incident_name(id), from.as_str(), to.as_str());
            let whole = self.known(id)?.merged_into.map(incident_name);
            return Err(Refusal::Conflict(match whole {
                Some(whole) => format!("{name} is part of {whole}: order it there"),
                None if from == to => format!("{name} is {to_text} already"),
                None => format!("{name} is {from_text} and cannot become {to_text}"),
            }));
        };
        for state in way {
            let what = if state == to { event.what } else { state.as_str() };
            self.move_incident(id, state, Event::new(event.time, event.by, what, event.why));
        }
        Ok(of(id))
    }

    /// What the customer was told of ends with what was found and what is to be done.
    fn has_findings(&self, id: i64) -> Result<(), Refusal> {
        let incident = self.known(id)?;
        let is_blank = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().is_empty());
        let fields = [("findings", &incident.findings), ("recommendations", &incident.recommendations)];
        let missing: Vec<&str> = fields.into_iter().filter(|(_, text)| is_blank(text)).map(|(name, _)| name).collect();
        if self.was_told(id) && !missing.is_empty() {
            let (name, missing) = (incident_name(id), missing.join(" and "));
            return Err(Refusal::Conflict(format!("{name}: the customer was told of it, so it needs {missing} first")));
        }
        Ok(())
    }

    fn dismiss(&mut self, by: &Actor, id: i64, why: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let from = self.known(id)?.state;
        if !from.may_become(IncidentState::Dismissed) {
            let (name, from) = (incident_name(id), from.as_str());
            return Err(Refusal::Conflict(format!("{name} is {from}: only what is not confirmed can be dismissed")));
        }
        self.move_incident(id, IncidentState::Dismissed, Event::new(now, by, "dismissed", why));
        Ok(self.tell_the_end(by, id, Kind::FalseAlarm, why, now))
    }

    /// Who was told of the start is told of the end: the draft is there at once.
    fn tell_the_end(&mut self, by: &Actor, id: i64, kit: Kind, why: &str, now: Timestamp) -> Answer {
        if self.was_told(id) { self.draft_at_once(by, id, kit, why, now) } else { of(id) }
    }

    /// The customer was told of it, or of what was folded into it.
    fn was_told(&self, id: i64) -> bool {
        let is_notified = |id: i64| self.incidents.get(&id).is_some_and(Incident::is_notified);
        is_notified(id) || self.parts(id).into_iter().any(is_notified)
    }

    /// What is left to say of an incident that is resolved.
    fn owed(&self, id: i64) -> Option<String> {
        let clock = self.clocks.get(&id).filter(|clock| clock.state.is_open())?;
        let name = incident_name(id);
        Some(format!("the customer was not told of {name} and is owed that until {}", clock.commit))
    }

    fn set_severity(
        &mut self,
        by: &Actor,
        id: i64,
        severity: Severity,
        why: &str,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let incident = self.known(id)?;
        if !incident.state.is_open() {
            let (name, state) = (incident_name(id), incident.state.as_str());
            return Err(Refusal::Conflict(format!("{name} is {state}: its severity stays as it is")));
        }
        if incident.severity == severity {
            return Err(Refusal::Conflict(format!("{} has severity {} already", incident_name(id), severity.number())));
        }
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.severity_is_set = true;
        }
        Ok(self.change_severity(id, severity, Event::new(now, by, "severity", why)))
    }

    fn assign(
        &mut self,
        by: &Actor,
        id: i64,
        position: Position,
        person: &str,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let person = person.trim().to_owned();
        let Some(incident) = self.incidents.get_mut(&id) else { return Ok(of(id)) };
        let before = match position {
            Position::Commander => incident.commander.replace(person.clone()),
            Position::Scribe => incident.scribe.replace(person.clone()),
            Position::Responder => {
                if incident.responders.len() >= RESPONDERS_MAX {
                    return Err(Refusal::Conflict(format!("an incident has at most {RESPONDERS_MAX} responders")));
                }
                if !incident.responders.contains(&person) {
                    incident.responders.push(person.clone());
                }
                None
            }
        };
        let position = position.as_str();
        let why = match before.filter(|before| *before != person) {
            Some(before) => format!("{position}: {person}, after {before}"),
            None => format!("{position}: {person}"),
        };
        self.note(id, Event::new(now, by, "assigned", &why));
        Ok(of(id))
    }

    fn fold(&mut self, by: &Actor, id: i64, into: i64, why: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let (part, whole) = (self.known(id)?, self.known(into)?);
        let (name, whole_name) = (incident_name(id), incident_name(into));
        let refuse = |why: String| Err(Refusal::Conflict(why));
        if id == into {
            return refuse(format!("{name} cannot be folded into itself"));
        }
        if part.customer != whole.customer {
            return refuse(format!("{name} is of {}, and {whole_name} of {}", part.customer, whole.customer));
        }
        for (name, incident) in [(&name, part), (&whole_name, whole)] {
            if !incident.state.is_open() {
                return refuse(format!("{name} is {}: only open incidents are folded", incident.state.as_str()));
            }
        }
        if self.incidents.values().any(|incident| incident.merged_into == Some(id)) {
            return refuse(format!("others are folded into {name}: unfold them, or fold {whole_name} into {name}"));
        }
        let (last, severity, is_set) = (part.last, part.severity, whole.severity_is_set);
        let is_graver = !is_set && severity < whole.severity;
        let is_further = whole.state == IncidentState::Candidate && part.state != IncidentState::Candidate;
        // The customer waits since whichever was asked for first.
        let asked_since = [part.asked_since, whole.asked_since].into_iter().flatten().min();
        let asked = part.asked.max(whole.asked);
        if let Some(part) = self.incidents.get_mut(&id) {
            part.merged_into = Some(into);
            part.state_before = Some(part.state);
            part.asked_since = None;
            part.asked = 0;
        }
        self.move_incident(id, IncidentState::Merged, Event::new(now, by, "folded", why).with(&whole_name));
        if let Some(whole) = self.incidents.get_mut(&into) {
            whole.last = whole.last.max(last);
            if !whole.is_told() {
                (whole.asked_since, whole.asked) = (asked_since, asked);
            }
        }
        self.note(into, Event::new(now, by, "took in", &name));
        self.void_checks(into, now, "another incident was folded into it");
        if is_graver {
            let why = format!("{name} was folded into it");
            self.change_severity(into, severity, Event::new(now, by, "severity", &why));
        }
        if is_further && self.known(into)?.state == IncidentState::Candidate {
            self.move_incident(into, IncidentState::Suspected, Event::new(now, by, "suspected", &name));
        }
        self.raise(into, now);
        Ok(of(into))
    }

    fn unfold(&mut self, by: &Actor, id: i64, why: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let incident = self.known(id)?;
        let (Some(into), Some(before)) = (incident.merged_into, incident.state_before) else {
            return Err(Refusal::Conflict(format!("{} is not folded into another", incident_name(id))));
        };
        let event = Event::new(now, by, "unfolded", why).with(incident_name(into));
        self.move_incident(id, before, event);
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.merged_into = None;
            incident.state_before = None;
        }
        self.note(into, Event::new(now, by, "let go", &incident_name(id)));
        self.void_checks(into, now, "an incident was unfolded from it");
        self.raise(id, now);
        self.touch_incident(id);
        Ok(of(id))
    }

    fn put_findings(
        &mut self,
        id: i64,
        findings: Option<&str>,
        recommendations: Option<&str>,
        event: Event<'_>,
    ) -> Result<Answer, Refusal> {
        let Some(incident) = self.incidents.get_mut(&id) else { return Ok(of(id)) };
        if incident.state == IncidentState::Reviewed {
            return Err(Refusal::Conflict(format!("{} was reviewed: its findings stay", incident_name(id))));
        }
        let mut data = serde_json::Map::new();
        for (name, field, text) in [
            ("findings", &mut incident.findings, findings),
            ("recommendations", &mut incident.recommendations, recommendations),
        ] {
            if let Some(text) = text {
                *field = Some(text.trim().to_owned());
                data.insert(name.to_owned(), text.trim().into());
            }
        }
        self.note(id, event.with(data));
        Ok(of(id))
    }
}

/// Roles that check and release what is grave, and what is not.
pub(super) fn checkers(severity: Severity) -> &'static [Role] {
    if severity.is_grave() { &[Role::Commander] } else { &[Role::Commander, Role::Responder] }
}

pub(super) fn of(incident: i64) -> Answer {
    Answer { incident: Some(incident), ..Answer::default() }
}
