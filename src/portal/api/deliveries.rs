//! Deliveries: looking at them, trying one again, and the call sheet.

use std::collections::BTreeMap;

use super::call::{Call, Reply, short, wrong};
use super::incidents::{read, transition_view};
use super::operation::{Access, Operation};
use super::problem::Problem;
use super::wire::deliveries::{CallSheet, CallView, DeliveryDone, DeliveryList, DeliveryPage, DeliveryView, TickOrder};
use crate::clock::Timestamp;
use crate::delivery::told::{became, number};
use crate::delivery::{By, CALL_SHEET, Order, OrderError, Tick, says};
use crate::incident::{
    About, Incident, Message, MessageState, Purpose, Role, Severity, delivery_name, incident_name, message_name,
    parse_name,
};
use crate::limits::{API_CALLS_ON_SHEET_MAX, API_DELIVERIES_SCANNED_MAX, API_ROWS_MAX};
use crate::people::Scope;
use crate::store::{DeliveryQuery, DeliveryRow, SubjectKind, SubjectQuery, TransitionRow};

const STATES: [&str; 9] =
    ["queued", "leased", "handed", "delivered", "unknown", "failed", "expired", "suppressed", "superseded"];
/// Those that nobody tries any more, and that did not come.
const DEAD: [&str; 2] = ["failed", "expired"];

pub(super) fn operations() -> Vec<Operation> {
    let order =
        |path, name, summary, run| Operation::post(path, name, summary, run).needs(Access::Scope(Scope::Incidents));
    vec![
        Operation::get("/deliveries", "list_deliveries", "What went to whom by which channel, the newest first", list)
            .gives::<DeliveryList>()
            .query(&[
                ("state", "Only those in this state"),
                ("dead", "`true`: only those that were given up: failed, or expired"),
                ("customer", "Only this customer's"),
                ("incident", "Only this incident's"),
                ("message", "Only this message's"),
                ("channel", "Only this channel's: `mail`, `sms`, `call-sheet`, `webhook:NAME`"),
                ("person", "Only this person's: a name, an id of the customer's file, or an address"),
                ("limit", "How many at most"),
                ("cursor", "`next` of the page before"),
            ]),
        Operation::get("/deliveries/{id}", "show_delivery", "A delivery with every step, who did it and why", show)
            .gives::<DeliveryPage>(),
        order("/deliveries/{id}/retry", "retry_delivery", "Try it again at once, also where it was given up", retry)
            .gives::<DeliveryDone>(),
        Operation::get("/callsheet", "show_call_sheet", "Whom to phone, the gravest first", call_sheet)
            .gives::<CallSheet>()
            .query(&[("customer", "Only this customer's")]),
        order("/callsheet/{id}", "tick_off", "Say what came of a call on the sheet", tick)
            .takes::<TickOrder>()
            .gives::<DeliveryDone>(),
    ]
}

fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = call.limit()?;
    let person = call.query("person").map(str::to_lowercase);
    let mut query = asked(call)?;
    query.rows = if person.is_some() { API_ROWS_MAX } else { limit + 1 };
    let (mut found, mut n_scanned, mut next) = (Vec::new(), 0, None);
    'pages: loop {
        let page = call.office.store.deliveries(&query)?;
        n_scanned += page.rows.len();
        for (row, about) in page.rows.into_iter().filter_map(known_about) {
            if person.as_ref().is_some_and(|person| !is_of(person, &row, &about)) {
                continue;
            }
            if found.len() == limit {
                next = found.last().map(|(row, _): &(DeliveryRow, About)| row.id.to_string());
                break 'pages;
            }
            found.push((row, about));
        }
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
        if n_scanned >= API_DELIVERIES_SCANNED_MAX {
            next = page.next.map(|next| next.to_string());
            break;
        }
    }
    let deliveries = found.iter().map(|(row, about)| view(row, about, None)).collect();
    Ok(Reply::json(&DeliveryList { deliveries, next }))
}

fn asked(call: &Call<'_>) -> Result<DeliveryQuery, Problem> {
    let state = call.query("state");
    if let Some(state) = state.filter(|state| !STATES.contains(state)) {
        return Err(wrong("state", state, &format!("is no state; there are {}", STATES.join(", "))));
    }
    let is_dead = call.query_flag("dead")?;
    if let Some(state) = state.filter(|state| is_dead && !DEAD.contains(state)) {
        return Err(wrong("state", state, "goes with `dead` only where it is failed or expired"));
    }
    let states = match state {
        Some(state) => Some(vec![state.to_owned()]),
        None => is_dead.then(|| DEAD.map(str::to_owned).to_vec()),
    };
    let numbered = |name: &str, prefix: &str| match call.query(name) {
        None => Ok(None),
        Some(text) => {
            let number = parse_name(text, prefix);
            number.map(Some).ok_or_else(|| wrong(name, text, &format!("is not such as {prefix}-000123")))
        }
    };
    Ok(DeliveryQuery {
        states,
        customer: call.query("customer").map(str::to_owned),
        incident: numbered("incident", "INC")?,
        message: numbered("message", "MSG")?,
        channel: call.query("channel").map(str::to_owned),
        after: call.cursor()?,
        ..DeliveryQuery::default()
    })
}

/// `person` in small letters.
fn is_of(person: &str, row: &DeliveryRow, about: &About) -> bool {
    [&about.person, &about.contact, &row.address].into_iter().any(|text| text.to_lowercase() == person)
}

/// What a row is about; one that cannot be read is told in the log and left out.
pub(super) fn known_about(row: DeliveryRow) -> Option<(DeliveryRow, About)> {
    match serde_json::from_str(&row.body) {
        Ok(about) => Some((row, about)),
        Err(error) => {
            tracing::error!(id = row.id, %error, "what a delivery is about cannot be read");
            None
        }
    }
}

fn known(call: &Call<'_>) -> Result<(DeliveryRow, About), Problem> {
    let text = call.param("id");
    let none = || Problem::NotFound(format!("there is no delivery `{}`", short(text)));
    let id = parse_name(text, "DLV").ok_or_else(none)?;
    known_about(call.office.store.delivery(id)?.ok_or_else(none)?).ok_or(Problem::Failing)
}

fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let (row, about) = known(call)?;
    let steps = call.office.store.transitions(SubjectKind::Delivery, row.id, 0, API_ROWS_MAX)?.rows;
    let (subject, text) = says(&row, &about, &call.office.store)?;
    let last = steps.last().map(|(_, step)| step.who.clone());
    Ok(Reply::json(&DeliveryPage {
        delivery: view(&row, &about, last.as_deref()),
        subject,
        text,
        why: steps.first().map(|(_, step)| step.why.clone()).unwrap_or_default(),
        steps: steps.into_iter().map(transition_view).collect(),
    }))
}

fn retry(call: &Call<'_>) -> Result<Reply, Problem> {
    let (row, _) = known(call)?;
    order(call, "retry", Order::Retry { delivery: row.id })
}

fn tick(call: &Call<'_>) -> Result<Reply, Problem> {
    let TickOrder { reached, note } = call.body()?;
    let (row, _) = known(call)?;
    let tick = if reached { Tick::Reached } else { Tick::NotReached };
    order(call, "tick off", Order::Tick { delivery: row.id, tick, note })
}

/// Has the outbox do it, where the person may ask for that.
fn order(call: &Call<'_>, what: &str, order: Order) -> Result<Reply, Problem> {
    let caller = call.caller()?;
    if !caller.roles.has_any(&[Role::Responder, Role::Commander]) {
        let (name, roles) = (&caller.name, &caller.roles);
        return Err(Problem::Forbidden(format!("{what}: it takes a responder or a commander; {name} is {roles}")));
    }
    let reaches = matches!(order, Order::Tick { tick: Tick::Reached, .. });
    call.office.outbox.order(By::person(caller.name.clone(), call.guest.from.clone()), order)?;
    let (row, about) = known(call)?;
    let hints = match (row.channel.as_str(), about.purpose, row.incident) {
        (CALL_SHEET, Purpose::Page, Some(incident)) if reaches => {
            let incident = incident_name(incident);
            let person = &about.person;
            vec![format!("if {person} looks after it, say so: ringfence incident acknowledge {incident}")]
        }
        _ => Vec::new(),
    };
    Ok(Reply::json(&DeliveryDone { delivery: view(&row, &about, Some(&caller.name)), hints }))
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Problem {
        match error {
            OrderError::NotFound(text) => Problem::NotFound(text),
            OrderError::Refused(text) => Problem::Conflict(text),
            OrderError::Busy => Problem::Busy,
        }
    }
}

fn call_sheet(call: &Call<'_>) -> Result<Reply, Problem> {
    let query = DeliveryQuery {
        states: Some(vec!["handed".to_owned()]),
        channel: Some(CALL_SHEET.to_owned()),
        customer: call.query("customer").map(str::to_owned),
        rows: API_CALLS_ON_SHEET_MAX,
        ..DeliveryQuery::default()
    };
    let page = call.office.store.deliveries(&query)?;
    let mut rows = page.rows;
    rows.sort_by_key(|row| (row.severity, row.changed, row.id));
    let mut later = Later { call, incidents: BTreeMap::new() };
    let mut calls = Vec::new();
    for (row, about) in rows.into_iter().filter_map(known_about) {
        calls.push(on_sheet(call, &row, &about, &mut later)?);
    }
    Ok(Reply::json(&CallSheet { calls, more: page.next.is_some() }))
}

fn on_sheet(call: &Call<'_>, row: &DeliveryRow, about: &About, later: &mut Later<'_, '_>) -> Result<CallView, Problem> {
    let first = call.office.store.transitions(SubjectKind::Delivery, row.id, 0, 1)?.rows.pop();
    let (subject, text) = says(row, about, &call.office.store)?;
    Ok(CallView {
        id: delivery_name(row.id),
        person: about.person.clone(),
        number: number(row).map(str::to_owned),
        customer: row.customer.clone(),
        customer_name: call.office.terms.get().customers.of(&row.customer).name.clone(),
        incident: row.incident.map(incident_name),
        message: row.message.map(message_name),
        kit: about.kit.clone(),
        severity: row.severity,
        severity_word: Severity::new(row.severity).map_or("", Severity::word).to_owned(),
        since: row.changed.to_string(),
        why: first.map(|(_, step): (i64, TransitionRow)| step.why).unwrap_or_default(),
        subject,
        text,
        warning: later.warning(row, about)?,
    })
}

/// What was said since of the incidents on the sheet: whoever phones must not read out what is no longer so.
struct Later<'c, 'o> {
    call: &'c Call<'o>,
    /// Each with its newest released message.
    incidents: BTreeMap<i64, Option<(Incident, Option<i64>)>>,
}

impl Later<'_, '_> {
    fn warning(&mut self, row: &DeliveryRow, about: &About) -> Result<Option<String>, Problem> {
        let Some(id) = row.incident else { return Ok(None) };
        if !self.incidents.contains_key(&id) {
            let looked_up = self.look_up(id)?;
            self.incidents.insert(id, looked_up);
        }
        let Some(Some((incident, newest))) = self.incidents.get(&id) else { return Ok(None) };
        let name = incident_name(id);
        if let Some(newest) = newest.filter(|newest| row.message.is_some_and(|told| told < *newest)) {
            let newest = message_name(newest);
            return Ok(Some(format!("{newest} says more: read that out instead (ringfence incident show {newest})")));
        }
        if about.purpose == Purpose::Page {
            if let Some((who, _)) = incident.page.as_ref().and_then(|page| page.acknowledged.as_ref()) {
                return Ok(Some(format!("{who} looks after {name} already: this call is not needed any more")));
            }
            if !incident.state.is_open() {
                return Ok(Some(format!("{name} is {}: this call is not needed any more", incident.state.as_str())));
            }
        }
        Ok(None)
    }

    fn look_up(&self, id: i64) -> Result<Option<(Incident, Option<i64>)>, Problem> {
        let store = &self.call.office.store;
        let Some(incident) = store.subject(SubjectKind::Incident, id)?.as_ref().and_then(read::<Incident>) else {
            return Ok(None);
        };
        let query = SubjectQuery { ids: Some(incident.messages.clone()), ..SubjectQuery::default() };
        let messages = store.subjects(SubjectKind::Message, &query)?.rows;
        let released = messages.iter().filter_map(read::<Message>).filter(|m| m.state == MessageState::Released);
        let newest = released.map(|message| message.id).max();
        Ok(Some((incident, newest)))
    }
}

/// `who`: whoever did the last step, where that was looked up.
pub(super) fn view(row: &DeliveryRow, about: &About, who: Option<&str>) -> DeliveryView {
    let time = |at: Timestamp| at.to_string();
    DeliveryView {
        id: delivery_name(row.id),
        customer: row.customer.clone(),
        incident: row.incident.map(incident_name),
        message: row.message.map(message_name),
        severity: row.severity,
        purpose: purpose(about.purpose).to_owned(),
        kit: about.kit.clone(),
        channel: row.channel.clone(),
        address: row.address.clone(),
        person: about.person.clone(),
        contact: Some(about.contact.clone()).filter(|contact| !contact.is_empty()),
        audience: about.audience.clone(),
        is_for_customer: row.is_contact,
        state: row.state.clone(),
        reason: row.reason.clone(),
        became: became(row, who),
        provider: row.provider.clone(),
        receipt: row.receipt.clone(),
        attempts: row.attempts,
        queued: time(row.queued),
        due: (row.state == "queued").then(|| time(row.due)),
        valid_until: time(row.valid_until),
        changed: time(row.changed),
        handed: row.handed.map(time),
        instead_of: about.instead_of.map(delivery_name),
    }
}

pub(super) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Notice => "notice",
        Purpose::Page => "page",
        Purpose::Digest => "digest",
    }
}
