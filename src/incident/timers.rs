//! What happens because time passes.

use super::alert::AlertState;
use super::book::{Book, FOLD_MS, REOPEN_MS};
use super::entry::{Event, SubjectKind};
use super::message::{Message, MessageState};
use super::people::ITSELF;
use super::record::{Incident, IncidentState};
use super::terms::CHAIN;
use crate::clock::Timestamp;

/// A quiet alert is closed after this time.
const HOLD_MS: i64 = 15 * 60_000;
/// An alert of which nothing was heard for so long is over, whatever became of its rule. So is an incident at which
/// nobody looked while it was quiet, and a notice that nobody takes.
const SILENT_MS: i64 = 7 * 24 * 3_600_000;
/// Rest before a holding notice that could not be made is tried again.
const HOLD_AGAIN_MS: i64 = 5 * 60_000;

impl Book {
    /// Lets time pass until `now`.
    pub fn pass(&mut self, now: Timestamp) {
        let now = self.now(now);
        while let Some((kind, id)) = self.pop_due(now) {
            match kind {
                SubjectKind::Alert => self.alert_due(id, now),
                SubjectKind::Incident => self.incident_due(id, now),
                SubjectKind::Message => self.let_go(kind, id),
                SubjectKind::Objective => self.clock_due(id, now),
            }
        }
    }

    /// Alerts of rules that are no more are over.
    pub fn keep_rules(&mut self, exists: impl Fn(&str) -> bool, now: Timestamp) {
        let now = self.now(now);
        let is_gone = |(_, alert): &(&i64, &super::Alert)| alert.state == AlertState::Open && !exists(&alert.rule);
        let gone: Vec<i64> = self.alerts.iter().filter(is_gone).map(|(id, _)| *id).collect();
        for id in gone {
            self.move_alert(id, AlertState::Quiet, Event::own(now, "quiet", "its rule is no more"));
        }
    }

    /// When a subject has something to do by itself.
    pub(super) fn next_due(&self, kind: SubjectKind, id: i64) -> Option<Timestamp> {
        match kind {
            SubjectKind::Alert => {
                let alert = self.alerts.get(&id)?;
                Some(match alert.state {
                    AlertState::Open if alert.is_others => alert.seen.plus_ms(HOLD_MS),
                    AlertState::Open => alert.seen.plus_ms(SILENT_MS),
                    AlertState::Quiet => alert.changed.plus_ms(HOLD_MS),
                    AlertState::Closed => alert.changed.plus_ms(REOPEN_MS),
                })
            }
            SubjectKind::Incident => {
                let incident = self.incidents.get(&id)?;
                if incident.state == IncidentState::Candidate {
                    return Some(incident.changed.plus_ms(SILENT_MS));
                }
                if incident.state.is_open() {
                    let call = incident.page.as_ref().and_then(|page| page.next);
                    return call.into_iter().chain(self.next_asking(incident)).min();
                }
                let is_unsent = |m: &&Message| m.state == MessageState::Released && m.accepted.is_none();
                let unsent = self.messages_of(id).filter(is_unsent).filter_map(|m| m.released).max();
                // What was released is still to be handed out, and what was folded in goes with the whole.
                Some(unsent.map_or(incident.changed.plus_ms(FOLD_MS), |at| at.plus_ms(SILENT_MS)))
            }
            SubjectKind::Message => {
                let message = self.messages.get(&id)?;
                let is_over = matches!(message.state, MessageState::Superseded | MessageState::Withdrawn);
                is_over.then(|| message.changed.plus_ms(FOLD_MS))
            }
            SubjectKind::Objective => {
                let clock = self.clocks.get(&id)?;
                clock.next().or_else(|| clock.ended.map(|at| at.plus_ms(FOLD_MS)))
            }
        }
    }

    /// Nothing will move it by itself, and the customer does not know, or was promised to hear more by now.
    pub(super) fn is_still(&self, incident: &Incident) -> bool {
        let is_open = incident.state.is_open() && incident.state != IncidentState::Candidate;
        let is_called = incident.page.as_ref().is_some_and(|page| page.next.is_some());
        if !is_open || !incident.severity.is_grave() || is_called || self.next_asking(incident).is_some() {
            return false;
        }
        let mut released = self.messages_of(incident.id).filter(|m| m.state == MessageState::Released).peekable();
        // What is released and not taken yet is the outbox's.
        let is_under_way = released.peek().is_some_and(|m| m.accepted.is_none());
        let is_owed = |m: &Message| m.given.next_update.is_some_and(|at| at < self.time());
        if incident.is_told() { released.any(is_owed) } else { !is_under_way }
    }

    /// When the next is asked who may see to the first notice; never while there is nothing to ask for, or the same
    /// moment would come for ever.
    fn next_asking(&self, incident: &Incident) -> Option<Timestamp> {
        let (since, customer) = (incident.asked_since?, &incident.customer);
        if incident.is_told() || !self.wants_notice(incident) || self.has_news(incident, since) {
            return None;
        }
        match incident.asked {
            1 => Some(since.plus_ms(self.terms.deputy_after_ms(customer))),
            2 => Some(since.plus_ms(self.terms.manager_after_ms(customer))),
            _ => None,
        }
    }

    fn alert_due(&mut self, id: i64, now: Timestamp) {
        let Some(alert) = self.alerts.get_mut(&id) else { return };
        match alert.state {
            AlertState::Open => {
                let why = "nothing was heard of it";
                self.move_alert(id, AlertState::Quiet, Event::own(now, "quiet", why));
            }
            AlertState::Quiet => {
                let ends = alert.settle(now);
                let why = if ends { "it stayed quiet, and flaps no more" } else { "it stayed quiet" };
                self.move_alert(id, AlertState::Closed, Event::own(now, "closed", why));
            }
            AlertState::Closed => self.let_go(SubjectKind::Alert, id),
        }
    }

    fn clock_due(&mut self, id: i64, now: Timestamp) {
        let is_open = self.clocks.get(&id).is_some_and(|clock| clock.state.is_open());
        if is_open { self.say_marks(id, now) } else { self.let_go(SubjectKind::Objective, id) }
    }

    fn incident_due(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        if incident.state == IncidentState::Candidate {
            if incident.open_alerts == 0 {
                let why = "nobody looked at it, and it stayed quiet";
                self.move_incident(id, IncidentState::Dismissed, Event::own(now, "dismissed", why));
            }
            return;
        }
        if incident.state.is_open() {
            if self.next_asking(incident).is_some_and(|at| at <= now) {
                self.ask_further(id, now);
            }
            if self.incidents.get(&id).and_then(|i| i.page.as_ref()?.next).is_some_and(|at| at <= now) {
                self.call_due(id, now);
            }
            self.touch_incident(id);
            return;
        }
        if incident.merged_into.is_some_and(|whole| self.incidents.contains_key(&whole)) {
            return;
        }
        for id in self.parts(id).into_iter().chain([id]) {
            let messages: Vec<i64> = self.messages_of(id).map(|message| message.id).collect();
            messages.into_iter().for_each(|message| self.let_go(SubjectKind::Message, message));
            self.let_go(SubjectKind::Incident, id);
        }
    }

    /// Somebody must see to it that the customer hears: of what is grave, and of what a clock runs for.
    fn ask_for_notice(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let is_open = incident.state.is_open() && incident.state != IncidentState::Candidate;
        if !self.wants_notice(incident) || !is_open || incident.is_told() || incident.asked_since.is_some() {
            return;
        }
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.asked_since = Some(now);
        }
        self.ask(id, now);
    }

    /// It is to be looked after: those on call are called, and somebody is asked for the first notice.
    pub(super) fn raise(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let is_open = incident.state.is_open() && incident.state != IncidentState::Candidate;
        if is_open && self.wants_notice(incident) {
            self.call(id, now);
        }
        self.ask_for_notice(id, now);
        // Whether somebody is to be asked may have changed without them.
        self.touch_incident(id);
    }

    fn wants_notice(&self, incident: &Incident) -> bool {
        let runs = |id: i64| self.clocks.get(&id).is_some_and(|clock| clock.state.is_open());
        incident.severity.is_grave() || runs(incident.id) || self.parts(incident.id).into_iter().any(runs)
    }

    /// Asks who stands next in the chain.
    fn ask(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let step = usize::from(incident.asked);
        let Some(whom) = CHAIN.get(step) else { return };
        incident.asked += 1;
        let names = self.terms.asked(&incident.customer, step);
        let why = format!("{whom}: {}", names.join(", "));
        self.note(id, Event::own(now, "asked", &why).with(names));
    }

    /// Nobody answered: the next is asked, and after the last the holding kit goes out.
    fn ask_further(&mut self, id: i64, now: Timestamp) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let is_last = usize::from(incident.asked) + 1 == CHAIN.len();
        self.ask(id, now);
        if is_last {
            self.hold(id, now);
        }
    }

    /// Something was released since then. What was said before it came back tells nobody that it did.
    fn has_news(&self, incident: &Incident, since: Timestamp) -> bool {
        let is_news = |m: &Message| m.state == MessageState::Released && m.released >= Some(since);
        self.messages_of(incident.id).any(is_news)
    }

    /// The first notice is still a person's to release: nothing is on its way.
    pub(super) fn waits_for_commander(&self, incident: &Incident) -> bool {
        let is_asked = usize::from(incident.asked) < CHAIN.len();
        is_asked && incident.asked_since.is_some_and(|since| !self.has_news(incident, since))
    }

    /// Releases the holding kit, which was checked as a kit: the first notice waits for nobody any longer.
    fn hold(&mut self, id: i64, now: Timestamp) {
        match self.draft_holding(id, now) {
            Ok(message) => {
                if let Some(message) = self.messages.get_mut(&message) {
                    message.is_before_check = true;
                }
                let why = "nobody answered in time; released before the check";
                self.release_message(message, &ITSELF, why, now);
            }
            Err(refusal) => {
                let why = format!("the holding notice cannot go out: {refusal}");
                self.note(id, Event::own(now, "not told", &why));
                let after_ms = self.incidents.get(&id).map(|i| self.terms.manager_after_ms(&i.customer));
                if let (Some(incident), Some(after_ms)) = (self.incidents.get_mut(&id), after_ms) {
                    incident.asked -= 1;
                    incident.asked_since = Some(now.plus_ms(HOLD_AGAIN_MS - after_ms));
                }
                self.touch_incident(id);
            }
        }
    }

    /// A provider took a released message for a contact of the customer.
    pub fn accepted(&mut self, message: i64, by: &str, now: Timestamp) {
        let now = self.now(now);
        let Some(found) = self.messages.get_mut(&message) else { return };
        if found.released.is_none() || found.accepted.is_some() {
            return;
        }
        found.accepted = Some(now);
        found.changed = now;
        let (of, severity, state) = (found.incident, found.severity, found.state.as_str());
        let event = Event::own(now, "accepted", by);
        self.entries.rows.push(event.row(SubjectKind::Message, message, state, state));
        self.touch(SubjectKind::Message, message);
        if let Some(incident) = self.incidents.get_mut(&of) {
            incident.notified.get_or_insert(now);
            incident.severity_told = Some(severity);
            (incident.asked_since, incident.asked) = (None, 0);
            incident.is_to_be_told_again = false;
            self.touch_incident(of);
        }
        self.meet_clock(of, now);
    }
}
