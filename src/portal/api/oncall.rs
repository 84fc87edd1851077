//! Who would be called when, and for which incidents people are being called now.

use super::call::{Call, Reply, wrong};
use super::deliveries::known_about;
use super::incidents::{read, severity_asked};
use super::operation::Operation;
use super::problem::Problem;
use super::wire::deliveries::{CalledView, CallingView, ChainCall, ChainView, OnCallPage};
use crate::customer::Customer;
use crate::delivery::told::became;
use crate::incident::{Incident, Page, Purpose, delivery_name, incident_name};
use crate::limits::{API_INCIDENTS_SCANNED_MAX, API_ROWS_MAX, API_TOLD_ROWS_MAX};
use crate::store::{DeliveryQuery, SubjectKind, SubjectQuery};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/oncall", "show_on_call", "Who would be called when, and who is being called now", show)
            .gives::<OnCallPage>()
            .query(&[
                ("customer", "Only this customer's; else those of all that have a file"),
                ("severity", "Only this severity, 1 to 4"),
            ]),
    ]
}

fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let severity = severity_asked(call)?.map(|severity| severity.number());
    let severities: Vec<u8> = severity.map_or_else(|| (1..=4).collect(), |one| vec![one]);
    let terms = call.office.terms.get();
    let customers = &terms.customers;
    let chains: Vec<ChainView> = match call.query("customer") {
        Some(id) => {
            let customer = customers.get(id).ok_or_else(|| wrong("customer", id, "is no customer: it has no file"))?;
            chains(customer, &severities)
        }
        None => customers.iter().flat_map(|customer| chains(customer, &severities)).collect(),
    };
    Ok(Reply::json(&OnCallPage { chains, now: calling(call, severity)? }))
}

/// Severities that are called for alike are one.
fn chains(customer: &Customer, severities: &[u8]) -> Vec<ChainView> {
    let mut chains: Vec<ChainView> = Vec::new();
    for severity in severities {
        let one = chain(customer, *severity);
        let same =
            chains.iter_mut().find(|known| ChainView { severities: one.severities.clone(), ..(*known).clone() } == one);
        match same {
            Some(known) => known.severities.push(*severity),
            None => chains.push(one),
        }
    }
    chains
}

fn chain(customer: &Customer, severity: u8) -> ChainView {
    let calls = customer.calls(severity);
    let has_chain = customer.oncall.iter().any(|chain| chain.severities.contains(&severity));
    let source = match (calls.calls.is_empty(), has_chain) {
        (true, _) => "nobody",
        (false, true) => "oncall",
        (false, false) => "command",
    };
    let ways = |contact| {
        let by = calls.channels.iter().filter_map(|channel| match channel.address(contact) {
            Some(address) => Some(format!("{} {address}", channel.text())),
            None => (!channel.is_personal()).then(|| channel.text()),
        });
        by.collect()
    };
    ChainView {
        customer: customer.id.clone(),
        severities: vec![severity],
        source: source.to_owned(),
        channels: calls.channels.iter().map(|channel| channel.text()).collect(),
        calls: calls
            .calls
            .iter()
            .map(|(after_ms, contact)| ChainCall {
                after_s: after_ms / 1000,
                person: contact.name.clone(),
                contact: contact.id.clone(),
                by: ways(contact),
            })
            .collect(),
        repeats: calls.repeats,
        repeat_after_s: calls.repeat_after_ms / 1000,
        escalation: customer.escalation.as_ref().map(|contact| contact.name.clone()),
    }
}

fn calling(call: &Call<'_>, severity: Option<u8>) -> Result<Vec<CallingView>, Problem> {
    let mut query = SubjectQuery {
        open_only: true,
        customer: call.query("customer").map(str::to_owned),
        rows: API_ROWS_MAX,
        ..SubjectQuery::default()
    };
    let (mut found, mut n_scanned) = (Vec::new(), 0);
    loop {
        let page = call.office.store.subjects(SubjectKind::Incident, &query)?;
        n_scanned += page.rows.len();
        for incident in page.rows.iter().filter_map(read::<Incident>) {
            let is_asked = severity.is_none_or(|severity| severity == incident.severity.number());
            if let Some(page) = incident.page.clone().filter(|_| is_asked && found.len() < API_ROWS_MAX) {
                found.push(calling_for(call, &incident, &page)?);
            }
        }
        query.after = page.next;
        if page.next.is_none() || n_scanned >= API_INCIDENTS_SCANNED_MAX || found.len() >= API_ROWS_MAX {
            return Ok(found);
        }
    }
}

fn calling_for(call: &Call<'_>, incident: &Incident, page: &Page) -> Result<CallingView, Problem> {
    let query = DeliveryQuery { incident: Some(incident.id), rows: API_TOLD_ROWS_MAX, ..DeliveryQuery::default() };
    let rows = call.office.store.deliveries(&query)?.rows;
    let of_page = rows.into_iter().rev().filter(|row| row.queued >= page.since).filter_map(known_about);
    let called = of_page.filter(|(_, about)| about.purpose == Purpose::Page).map(|(row, about)| CalledView {
        delivery: delivery_name(row.id),
        person: about.person,
        channel: row.channel.clone(),
        at: row.queued.to_string(),
        state: row.state.clone(),
        became: became(&row, None),
    });
    let state = match (&page.acknowledged, page.next) {
        (Some(_), _) => "acknowledged",
        (None, Some(_)) => "calling",
        (None, None) => "unanswered",
    };
    Ok(CallingView {
        incident: incident_name(incident.id),
        customer: incident.customer.clone(),
        severity: incident.severity.number(),
        what: incident.what.clone(),
        state: state.to_owned(),
        since: page.since.to_string(),
        round: page.round + 1,
        next: page.next.map(|at| at.to_string()),
        acknowledged_by: page.acknowledged.as_ref().map(|(who, _)| who.clone()),
        acknowledged: page.acknowledged.as_ref().map(|(_, at)| at.to_string()),
        called: called.collect(),
    })
}
