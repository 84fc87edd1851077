//! The successive check: from a draft to its release. Who wrote the text does not check it where the incident is grave,
//! what is checked is the hash of the exact text of every form, and any later change voids the check.

use super::book::Book;
use super::command::{Answer, Refusal, need};
use super::entry::{Event, Stop, SubjectKind};
use super::facts::{Given, of_incident};
use super::message::{Check, Message, MessageState};
use super::orders::{checkers, of};
use super::people::{Actor, ITSELF};
use super::record::{Incident, IncidentState};
use super::{SELF, Severity, incident_name, message_name};
use crate::clock::Timestamp;
use crate::kit::{Forms, Kind};

/// Messages of one incident that wait to be released. More is somebody's script gone wrong.
const DRAFTS_MAX: usize = 50;

impl Book {
    pub(super) fn draft(
        &mut self,
        by: &Actor,
        id: i64,
        kit: &str,
        given: &Given,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        let incident = self.known(id)?;
        let kinds = || Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let kind = Kind::parse(kit)
            .ok_or_else(|| Refusal::Invalid(vec![format!("there is no kit `{kit}`; known are {}", kinds())]))?;
        if incident.state == IncidentState::Merged {
            let into = incident.merged_into.map(incident_name).unwrap_or_default();
            return Err(Refusal::Conflict(format!("{} is part of {into}: say it there", incident_name(id))));
        }
        fits(kind, incident)?;
        let unknown = self.unknown_names(&incident.customer, kind, given);
        if !unknown.is_empty() {
            return Err(Refusal::Invalid(unknown));
        }
        if self.messages_of(id).filter(|m| m.state.is_open()).count() >= DRAFTS_MAX {
            return Err(Refusal::Conflict(format!("{} has {DRAFTS_MAX} drafts that wait", incident_name(id))));
        }
        let message = self.put_draft(by, id, kind, given.clone(), now)?;
        Ok(Answer { message: Some(message), ..of(id) })
    }

    /// The holding kit's text as it is now, with nothing that a person wrote.
    pub(super) fn draft_holding(&mut self, id: i64, now: Timestamp) -> Result<i64, Refusal> {
        self.put_draft(&ITSELF, id, Kind::Holding, Given::default(), now)
    }

    /// A correction where the customer believes something else; one that was drafted before says too little by now.
    pub(super) fn correct(&mut self, by: &Actor, id: i64, is_wanted: bool, why: &str, now: Timestamp) -> Answer {
        let is_stale = |m: &&Message| m.kit == Kind::Severity.as_str() && m.state.is_open();
        let stale: Vec<i64> = self.messages_of(id).filter(is_stale).map(|m| m.id).collect();
        for message in stale {
            let event = Event::new(now, by, "withdrawn", "the severity was changed again");
            self.move_message(message, MessageState::Withdrawn, event);
        }
        if is_wanted { self.draft_at_once(by, id, Kind::Severity, why, now) } else { of(id) }
    }

    /// Texts that were handed in for variables the kit does not have.
    fn unknown_names(&self, customer: &str, kind: Kind, given: &Given) -> Vec<String> {
        let variables = self.terms.kit(customer, kind).variables();
        let free = || variables.iter().filter(|v| v.is_free).map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
        let is_known = |name: &&String| variables.iter().any(|v| v.name == **name);
        let say = |name: &String| format!("the kit `{}` has no text `{name}`; it has {}", kind.as_str(), free());
        given.texts.keys().filter(|name| !is_known(name)).map(say).collect()
    }

    /// A draft that follows from what was just done. What the kit wants besides is for its author to add.
    pub(super) fn draft_at_once(&mut self, by: &Actor, id: i64, kit: Kind, why: &str, now: Timestamp) -> Answer {
        let mut given = Given::default();
        if !why.trim().is_empty() {
            for name in ["reason", "changed"] {
                given.texts.insert(name.to_owned(), why.to_owned());
            }
        }
        match self.put_draft(by, id, kit, given, now) {
            Ok(message) => {
                let hint = format!("{} is drafted, to tell the customer: it wants a check", message_name(message));
                Answer { message: Some(message), hints: vec![hint], ..of(id) }
            }
            Err(refusal) => {
                let (name, kit) = (incident_name(id), kit.as_str());
                let hint = format!("the customer is to be told: draft the kit `{kit}` of {name} ({refusal})");
                Answer { hints: vec![hint], ..of(id) }
            }
        }
    }

    fn put_draft(&mut self, by: &Actor, id: i64, kind: Kind, given: Given, now: Timestamp) -> Result<i64, Refusal> {
        let forms = self.render(id, kind, &given, now)?;
        let incident = self.known(id)?;
        let (customer, severity) = (incident.customer.clone(), incident.severity);
        let certainty = incident.certainty().to_owned();
        let kit_version = self.terms.kit(&customer, kind).version();
        let message = self.next_id(SubjectKind::Message);
        let hash = forms.hash();
        let event = Event::new(now, by, "drafted", "").with([("kit", kind.as_str()), ("hash", &hash)]);
        self.entries.rows.push(event.row(SubjectKind::Message, message, "", MessageState::Drafted.as_str()));
        let draft = Message {
            id: message,
            incident: id,
            customer,
            kit: kind.as_str().to_owned(),
            kit_version,
            author: by.name.clone(),
            authors: vec![by.name.clone()],
            state: MessageState::Drafted,
            severity,
            certainty,
            given,
            forms,
            hash,
            check: None,
            comment: None,
            is_before_check: false,
            drafted: now,
            changed: now,
            released: None,
            released_by: None,
            accepted: None,
        };
        self.messages.insert(message, draft);
        self.touch(SubjectKind::Message, message);
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.messages.push(message);
            self.touch_incident(id);
        }
        Ok(message)
    }

    fn render(&self, id: i64, kind: Kind, given: &Given, now: Timestamp) -> Result<Forms, Refusal> {
        let incident = self.known(id)?;
        let customer = self.terms.customer(&incident.customer);
        let (name, escalation) = (&customer.name, self.terms.escalation(&incident.customer));
        let facts = of_incident(incident, name, &escalation, &self.terms.zone(&incident.customer), given, now);
        let kit = self.terms.kit(&incident.customer, kind);
        kit.render(&facts).map_err(|lints| Refusal::Invalid(lints.iter().map(ToString::to_string).collect()))
    }

    fn written(&self, id: i64) -> Result<&Message, Refusal> {
        self.messages.get(&id).ok_or_else(|| Refusal::NotFound(format!("there is no message {}", message_name(id))))
    }

    /// Refuses unless the message is in one of these states and its text the one that was looked at.
    fn at_hand(&self, id: i64, states: &[MessageState], hash: Option<&str>, what: &str) -> Result<&Message, Refusal> {
        let (message, name) = (self.written(id)?, message_name(id));
        if !states.contains(&message.state) {
            let wanted: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            let (is, wanted) = (message.state.as_str(), wanted.join(" or "));
            let checked = message.check.as_ref().filter(|_| message.state == MessageState::Checked);
            let by = checked.map(|check| format!(" by {}", check.by)).unwrap_or_default();
            let text = format!("{what}: {name} is {is}{by}, and would have to be {wanted}");
            return Err(Refusal::Conflict(text));
        }
        // The first digits of a hash are enough for a person to name it.
        if hash.is_some_and(|hash| hash.len() < HASH_DIGITS_MIN) {
            let text = format!("{what}: give at least the first {HASH_DIGITS_MIN} digits of the text's hash");
            return Err(Refusal::Invalid(vec![text]));
        }
        if hash.is_some_and(|hash| !message.hash.starts_with(&hash.to_ascii_lowercase())) {
            let text = format!("{what}: the text of {name} is not the one you looked at; look at it again");
            return Err(Refusal::Conflict(text));
        }
        Ok(message)
    }

    pub(super) fn redraft(
        &mut self,
        by: &Actor,
        id: i64,
        hash: &str,
        given: &Given,
        now: Timestamp,
    ) -> Result<Answer, Refusal> {
        use MessageState::{Checked, Drafted, Returned};
        let message = self.at_hand(id, &[Drafted, Returned, Checked], Some(hash), "redraft")?;
        let (of_incident, given) = (message.incident, message.given.clone().with(given.clone()));
        let kind = Kind::parse(&message.kit)
            .ok_or_else(|| Refusal::Conflict(format!("the kit `{}` is no more: draft anew", message.kit)))?;
        let forms = self.render(of_incident, kind, &given, now)?;
        let incident = self.known(of_incident)?;
        fits(kind, incident)?;
        let (severity, kit_version) = (incident.severity, self.terms.kit(&incident.customer, kind).version());
        let certainty = incident.certainty().to_owned();
        let Some(message) = self.messages.get_mut(&id) else { return Ok(of(of_incident)) };
        let (from, hash) = (message.state, forms.hash());
        let event = Event::new(now, by, "redrafted", "").with([("hash", &hash)]);
        let mut authors = std::mem::take(&mut message.authors);
        if !authors.contains(&by.name) {
            authors.push(by.name.clone());
        }
        *message = Message {
            author: by.name.clone(),
            authors,
            state: Drafted,
            severity,
            certainty,
            given,
            forms,
            hash,
            kit_version,
            check: None,
            changed: now,
            ..message.clone()
        };
        self.entries.rows.push(event.row(SubjectKind::Message, id, from.as_str(), Drafted.as_str()));
        self.touch(SubjectKind::Message, id);
        Ok(Answer { message: Some(id), ..of(of_incident) })
    }

    pub(super) fn check(&mut self, by: &Actor, id: i64, hash: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let message = self.at_hand(id, &[MessageState::Drafted], Some(hash), "check")?;
        let severity = self.gravest(message);
        need(by, checkers(severity), "check")?;
        if severity.is_grave() && message.authors.contains(&by.name) {
            let (name, severity) = (message_name(id), severity.number());
            let text = format!("check: {} wrote at {name}; at severity {severity} somebody else checks it", by.name);
            return Err(Refusal::Forbidden(text));
        }
        self.kit_is_the_same(message)?;
        self.says_what_is_so(message, now)?;
        let (of_incident, hash) = (message.incident, message.hash.clone());
        let check = Check { by: by.name.clone(), at: now, hash: hash.clone() };
        let event = Event::new(now, by, "checked", "").with([("hash", hash)]);
        self.move_message(id, MessageState::Checked, event);
        if let Some(message) = self.messages.get_mut(&id) {
            message.check = Some(check);
        }
        Ok(Answer { message: Some(id), ..of(of_incident) })
    }

    pub(super) fn give_back(&mut self, by: &Actor, id: i64, comment: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let message = self.at_hand(id, &[MessageState::Drafted, MessageState::Checked], None, "return")?;
        let of_incident = message.incident;
        self.move_message(id, MessageState::Returned, Event::new(now, by, "returned", comment));
        if let Some(message) = self.messages.get_mut(&id) {
            message.check = None;
            message.comment = Some(comment.to_owned());
        }
        Ok(Answer { message: Some(id), ..of(of_incident) })
    }

    pub(super) fn release(&mut self, by: &Actor, id: i64, hash: &str, now: Timestamp) -> Result<Answer, Refusal> {
        let message = self.at_hand(id, &[MessageState::Checked], Some(hash), "release")?;
        let of_incident = message.incident;
        need(by, checkers(self.gravest(message)), "release")?;
        if self.known(of_incident)?.state == IncidentState::Merged {
            let name = incident_name(of_incident);
            return Err(Refusal::Conflict(format!("release: {name} is part of another incident: say it there")));
        }
        let is_good = message.is_check_good();
        if let Err(refusal) = self.kit_is_the_same(message).and_then(|()| self.says_what_is_so(message, now)) {
            self.void(id, "what it says is not so any more", now);
            return Err(refusal);
        }
        if !is_good {
            self.void(id, "the check was of another text", now);
            return Err(Refusal::Conflict(format!("release: the check of {} was of another text", message_name(id))));
        }
        self.release_message(id, by, "", now);
        Ok(Answer { message: Some(id), ..of(of_incident) })
    }

    /// Whoever calls has made sure that it may go out.
    pub(super) fn release_message(&mut self, id: i64, by: &Actor, why: &str, now: Timestamp) {
        let Some(message) = self.messages.get(&id) else { return };
        let (of_incident, hash) = (message.incident, message.hash.clone());
        let is_older = |m: &&Message| m.id != id && m.state == MessageState::Released;
        let older: Vec<i64> = self.messages_of(of_incident).filter(is_older).map(|m| m.id).collect();
        for older in older {
            let name = message_name(id);
            self.move_message(older, MessageState::Superseded, Event::new(now, by, "superseded", &name));
        }
        self.move_message(id, MessageState::Released, Event::new(now, by, "released", why).with([("hash", hash)]));
        if let Some(message) = self.messages.get_mut(&id) {
            message.released = Some(now);
            message.released_by = Some(by.name.clone());
        }
        self.tell(id, now);
        // It stays until this was handed out, however long it has been over.
        self.touch_incident(of_incident);
    }

    pub(super) fn withdraw(&mut self, by: &Actor, id: i64, why: &str, now: Timestamp) -> Result<Answer, Refusal> {
        use MessageState::{Checked, Drafted, Released, Returned};
        let message = self.at_hand(id, &[Drafted, Checked, Returned, Released], None, "withdraw")?;
        let of_incident = message.incident;
        if message.state == Released {
            need(by, checkers(self.gravest(message)), "withdraw")?;
        }
        self.move_message(id, MessageState::Withdrawn, Event::new(now, by, "withdrawn", why));
        self.entries.stops.push((now, Stop::Withdrawn { message: id, why: why.to_owned() }));
        // The first notice may be somebody's to release again.
        self.touch_incident(of_incident);
        Ok(Answer { message: Some(id), ..of(of_incident) })
    }

    /// The texts of an incident no longer say what is so: they are checked again.
    pub(super) fn void_checks(&mut self, incident: i64, now: Timestamp, why: &str) {
        let is_checked = |m: &&Message| m.state == MessageState::Checked;
        let checked: Vec<i64> = self.messages_of(incident).filter(is_checked).map(|m| m.id).collect();
        checked.into_iter().for_each(|id| self.void(id, why, now));
    }

    fn void(&mut self, id: i64, why: &str, now: Timestamp) {
        self.move_message(id, MessageState::Drafted, Event::own(now, "voided", why));
        if let Some(message) = self.messages.get_mut(&id) {
            message.check = None;
        }
    }

    fn move_message(&mut self, id: i64, to: MessageState, event: Event<'_>) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        let from = message.state;
        let is_holding = message.is_before_check && message.kit == Kind::Holding.as_str() && message.author == SELF;
        debug_assert!(from.may_become(to, is_holding), "{from:?} to {to:?}");
        message.state = to;
        message.changed = event.time;
        self.entries.rows.push(event.row(SubjectKind::Message, id, from.as_str(), to.as_str()));
        self.touch(SubjectKind::Message, id);
    }

    /// Lowering the severity spares no message the second person.
    fn gravest(&self, message: &Message) -> Severity {
        self.incidents.get(&message.incident).map_or(message.severity, |i| i.gravest.graver(message.severity))
    }

    /// Refuses a text that was overtaken since it was drafted.
    fn says_what_is_so(&self, message: &Message, now: Timestamp) -> Result<(), Refusal> {
        let (incident, name) = (self.known(message.incident)?, message_name(message.id));
        let redraft = |what: String| Err(Refusal::Conflict(format!("{name} {what}: redraft it")));
        if message.severity != incident.severity {
            let (says, is) = (message.severity.number(), incident.severity.number());
            return redraft(format!("says severity {says}, and it is {is} now"));
        }
        if message.certainty != incident.certainty() {
            return redraft(format!("says {}, and it is {} now", message.certainty, incident.certainty()));
        }
        if message.given.next_update.is_some_and(|at| at <= now) {
            return redraft("promises an update for a time that is past".to_owned());
        }
        Kind::parse(&message.kit).map_or(Ok(()), |kind| fits(kind, incident))
    }

    fn kit_is_the_same(&self, message: &Message) -> Result<(), Refusal> {
        let now = Kind::parse(&message.kit).map(|kind| self.terms.kit(&message.customer, kind).version());
        if now.as_deref() == Some(message.kit_version.as_str()) {
            return Ok(());
        }
        let name = message_name(message.id);
        Err(Refusal::Conflict(format!("the kit `{}` was edited since {name} was drafted: redraft it", message.kit)))
    }
}

/// Refuses a notice that says what the incident is not.
fn fits(kind: Kind, incident: &Incident) -> Result<(), Refusal> {
    use IncidentState::{Dismissed, Resolved, Reviewed};
    let (state, is_open) = (incident.state, incident.state.is_open());
    let fits = match kind {
        Kind::Holding | Kind::Update | Kind::Action | Kind::Severity => is_open,
        Kind::Confirmed | Kind::Monitoring => is_open && incident.certainty() == "confirmed",
        Kind::Resolved => matches!(state, Resolved | Reviewed),
        Kind::FalseAlarm => state == Dismissed,
        Kind::Review => matches!(state, Resolved | Reviewed | Dismissed),
        _ => return Err(Refusal::Conflict(format!("the kit `{}` is for cases", kind.as_str()))),
    };
    if fits {
        return Ok(());
    }
    let (name, kit, state) = (incident_name(incident.id), kind.as_str(), state.as_str());
    Err(Refusal::Conflict(format!("{name} is {state}: the kit `{kit}` says something else")))
}

/// Digits of a hash that name a text: as many as people type.
const HASH_DIGITS_MIN: usize = 8;
