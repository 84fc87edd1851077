//! Messages: looking at them, and what becomes of them.

use std::collections::BTreeMap;

use super::call::{Call, Reply, short, wrong};
use super::incidents::{self, read};
use super::operation::{Access, Operation};
use super::problem::Problem;
use super::wire::{Done, DraftOrder, FormsView, HashOrder, MessageView, RedraftOrder, ReturnOrder, WhyOrder};
use crate::clock::Timestamp;
use crate::incident::{Command, Given, Incident, Message, message_name};
use crate::kit::Kind;
use crate::people::Scope;
use crate::store::{SubjectKind, SubjectQuery};

pub(super) fn operations() -> Vec<Operation> {
    let order = |path, name, summary, run| {
        Operation::post(path, name, summary, run).needs(Access::Scope(Scope::Messages)).gives::<Done>()
    };
    vec![
        Operation::get("/messages/{id}", "show_message", "A message with the exact text of every form", show)
            .gives::<MessageView>(),
        order("/incidents/{id}/messages", "draft", "Draft a message of an incident from a kit", draft)
            .takes::<DraftOrder>(),
        order("/messages/{id}/redraft", "redraft", "Write another text; a check of the one before is void", redraft)
            .takes::<RedraftOrder>(),
        order("/messages/{id}/check", "check", "Approve of the exact text of every form", check).takes::<HashOrder>(),
        order("/messages/{id}/return", "return_message", "Give it back to its author, with a comment", give_back)
            .takes::<ReturnOrder>(),
        order("/messages/{id}/release", "release", "Send it: what goes out is what was checked", release)
            .takes::<HashOrder>(),
        order("/messages/{id}/withdraw", "withdraw", "Take it back, with a reason", withdraw).takes::<WhyOrder>(),
    ]
}

fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::json(&view(&known(call)?)))
}

/// The message that the path names.
pub(super) fn known(call: &Call<'_>) -> Result<Message, Problem> {
    let id = call.message()?;
    let row = call.office.store.subject(SubjectKind::Message, id)?;
    let row = row.ok_or_else(|| Problem::NotFound(format!("there is no message {}", message_name(id))))?;
    read(&row).ok_or(Problem::Failing)
}

/// A name that the kit does not have says nothing to anybody: it was mistyped.
fn fits(call: &Call<'_>, customer: &str, kit: &str, texts: &BTreeMap<String, String>) -> Result<(), Problem> {
    let Some(kind) = Kind::parse(kit) else { return Ok(()) };
    let terms = call.office.terms.get();
    let variables = terms.kit(customer, kind).variables();
    let find = |name: &str| variables.iter().find(|v| v.name == name);
    let free =
        || variables.iter().filter(|v| v.fixed.is_none()).map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut wrong = Vec::new();
    for name in texts.keys() {
        match find(name) {
            None => wrong.push(format!("texts: kit `{kit}` has no `{}`; it has {}", short(name), free())),
            Some(v) if v.fixed.is_some() => wrong.push(format!("texts: kit `{kit}` fixes `{name}`")),
            Some(_) => {}
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Problem::Invalid(wrong)) }
}

fn draft(call: &Call<'_>) -> Result<Reply, Problem> {
    let DraftOrder { kit, texts, next_update } = call.body()?;
    fits(call, &incidents::known(call)?.customer, &kit, &texts)?;
    let given = Given { texts, next_update: time(next_update)? };
    call.order(Command::Draft { incident: call.incident()?, kit, given }).map(Reply::created)
}

fn redraft(call: &Call<'_>) -> Result<Reply, Problem> {
    let RedraftOrder { hash, texts, next_update } = call.body()?;
    let message = known(call)?;
    fits(call, &message.customer, &message.kit, &texts)?;
    let given = Given { texts, next_update: time(next_update)? };
    call.order(Command::Redraft { message: call.message()?, hash, given })
}

fn check(call: &Call<'_>) -> Result<Reply, Problem> {
    let HashOrder { hash } = call.body()?;
    call.order(Command::Check { message: call.message()?, hash })
}

fn give_back(call: &Call<'_>) -> Result<Reply, Problem> {
    let ReturnOrder { comment } = call.body()?;
    call.order(Command::Return { message: call.message()?, comment })
}

fn release(call: &Call<'_>) -> Result<Reply, Problem> {
    let HashOrder { hash } = call.body()?;
    call.order(Command::Release { message: call.message()?, hash })
}

fn withdraw(call: &Call<'_>) -> Result<Reply, Problem> {
    let WhyOrder { why } = call.body()?;
    call.order(Command::Withdraw { message: call.message()?, why })
}

fn time(text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let read = serde_json::from_value(serde_json::Value::String(text.clone())).ok();
    let read = read.filter(|at: &Timestamp| (Timestamp::MIN..=Timestamp::MAX).contains(at));
    read.map(Some).ok_or_else(|| wrong("next_update", &text, "is no time such as 2026-03-02T10:00:00Z"))
}

/// In the order of their numbers.
pub(super) fn of_incident(call: &Call<'_>, incident: &Incident) -> Result<Vec<Message>, Problem> {
    let query = SubjectQuery { ids: Some(incident.messages.clone()), ..SubjectQuery::default() };
    let page = call.office.store.subjects(SubjectKind::Message, &query)?;
    let mut messages: Vec<Message> = page.rows.iter().filter_map(read).collect();
    messages.sort_by_key(|message| message.id);
    Ok(messages)
}

pub(super) fn view(message: &Message) -> MessageView {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let forms = &message.forms;
    MessageView {
        id: message_name(message.id),
        incident: crate::incident::incident_name(message.incident),
        customer: message.customer.clone(),
        kit: message.kit.clone(),
        author: message.author.clone(),
        state: message.state.as_str().to_owned(),
        severity: message.severity.number(),
        texts: message.given.texts.clone(),
        next_update: time(message.given.next_update),
        forms: FormsView {
            mail_subject: forms.mail_subject.clone(),
            mail: forms.mail.clone(),
            sms: forms.sms.clone(),
            portal: forms.portal.clone(),
            acd: forms.acd.clone(),
        },
        hash: message.hash.clone(),
        checked_by: message.check.as_ref().map(|check| check.by.clone()),
        checked: message.check.as_ref().map(|check| check.at.to_string()),
        is_check_good: message.is_check_good(),
        comment: message.comment.clone(),
        is_before_check: message.is_before_check,
        drafted: message.drafted.to_string(),
        changed: message.changed.to_string(),
        released: time(message.released),
        released_by: message.released_by.clone(),
        accepted: time(message.accepted),
    }
}
