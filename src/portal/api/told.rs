//! Who was told of an incident or of a message, who was not, and why.

use super::call::{Call, Reply};
use super::deliveries::{known_about, purpose};
use super::operation::Operation;
use super::problem::Problem;
use super::wire::deliveries::{ToldPage, ToldPerson, ToldWay};
use super::{incidents, messages};
use crate::clock::Timestamp;
use crate::delivery::told::{Person, Sent, Subject, Way, people};
use crate::incident::{Incident, Message, MessageState, Page, delivery_name, incident_name, message_name};
use crate::limits::API_TOLD_ROWS_MAX;
use crate::store::{DeliveryQuery, SubjectKind};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/incidents/{id}/told",
            "told_of_incident",
            "Who was told of an incident, or called for it, who was not, and why",
            of_incident,
        )
        .gives::<ToldPage>(),
        Operation::get(
            "/messages/{id}/told",
            "told_of_message",
            "Who was told by a message, who not, and why",
            of_message,
        )
        .gives::<ToldPage>(),
    ]
}

fn of_incident(call: &Call<'_>) -> Result<Reply, Problem> {
    let incident = incidents::known(call)?;
    let all = messages::of_incident(call, &incident)?;
    let last = all.iter().rev().find(|message| is_released(message));
    let query = DeliveryQuery { incident: Some(incident.id), ..DeliveryQuery::default() };
    let severity = last.map_or(incident.severity, |message| message.severity).number();
    let of = incident_name(incident.id);
    told(call, of, &incident, severity, last.is_some(), incident.page.as_ref(), query)
}

fn of_message(call: &Call<'_>) -> Result<Reply, Problem> {
    let message = messages::known(call)?;
    let incident = call.office.store.subject(SubjectKind::Incident, message.incident)?;
    let incident: Incident = incident.as_ref().and_then(incidents::read).ok_or(Problem::Failing)?;
    let query = DeliveryQuery { message: Some(message.id), ..DeliveryQuery::default() };
    let of = message_name(message.id);
    told(call, of, &incident, message.severity.number(), is_released(&message), None, query)
}

fn is_released(message: &Message) -> bool {
    message.released.is_some() && message.state != MessageState::Withdrawn
}

fn told(
    call: &Call<'_>,
    of: String,
    incident: &Incident,
    severity: u8,
    is_released: bool,
    page: Option<&Page>,
    query: DeliveryQuery,
) -> Result<Reply, Problem> {
    let store = &call.office.store;
    let found = store.deliveries(&DeliveryQuery { rows: API_TOLD_ROWS_MAX, ..query })?;
    let mut sent = Vec::new();
    for (row, about) in found.rows.into_iter().rev().filter_map(known_about) {
        let steps = store.transitions(SubjectKind::Delivery, row.id, 0, 0)?.rows;
        let why = steps.first().map(|(_, step)| step.why.clone()).unwrap_or_default();
        let who = steps.last().map(|(_, step)| step.who.clone()).unwrap_or_default();
        sent.push(Sent { row, about, why, who });
    }
    let terms = call.office.terms.get();
    let customer = terms.customers.of(&incident.customer);
    let people = people(&Subject { customer, severity, is_released, sent, page });
    Ok(Reply::json(&ToldPage {
        of,
        incident: incident_name(incident.id),
        customer: incident.customer.clone(),
        severity,
        is_released,
        people: people.into_iter().map(person).collect(),
        more: found.next.is_some(),
    }))
}

fn person(person: Person) -> ToldPerson {
    ToldPerson {
        person: person.name,
        contact: Some(person.contact).filter(|contact| !contact.is_empty()),
        audience: person.audience,
        stands: person.stands.as_str().to_owned(),
        ways: person.ways.into_iter().map(way).collect(),
    }
}

fn way(way: Way) -> ToldWay {
    ToldWay {
        delivery: way.delivery.map(delivery_name),
        message: way.message.map(message_name),
        purpose: purpose(way.purpose).to_owned(),
        kit: way.kit,
        channel: way.channel,
        address: way.address,
        state: way.state,
        at: way.at.map(|at: Timestamp| at.to_string()),
        became: way.became,
        why: way.why,
        attempts: way.attempts,
    }
}
