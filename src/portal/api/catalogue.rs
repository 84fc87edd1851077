//! What people work with: kits, clocks, calendars.

use super::call::{Call, Reply, short, wrong};
use super::incidents::{clock_view, read};
use super::operation::Operation;
use super::problem::Problem;
use super::wire::{CalendarTrace, FormsView, KitList, KitView, ObjectiveList, VariableView};
use crate::clock::Timestamp;
use crate::incident::NotifyClock;
use crate::kit::{Form, Kind, Kit};
use crate::store::{SubjectKind, SubjectQuery};

const OF_CUSTOMER: &[(&str, &str)] = &[("customer", "As this customer gets it")];

/// Longest stretch that is explained, two years: a line a day.
const TRACE_MS_MAX: i64 = 2 * 366 * 86_400_000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/kits", "list_kits", "The texts that messages are drafted from", kits)
            .gives::<KitList>()
            .query(OF_CUSTOMER),
        Operation::get("/kits/{kind}", "show_kit", "One of them", kit).gives::<KitView>().query(OF_CUSTOMER),
        Operation::get("/objectives", "list_objectives", "Clocks that run, the most urgent first", objectives)
            .gives::<ObjectiveList>(),
        Operation::get(
            "/calendars/explain",
            "explain_calendar",
            "Business time between two instants, step by step",
            explain,
        )
        .gives::<CalendarTrace>()
        .query(&[
            ("customer", "Whose response hours"),
            ("from", "RFC 3339; now unless set"),
            ("to", "RFC 3339; a week later unless set"),
        ]),
    ]
}

fn kits(call: &Call<'_>) -> Result<Reply, Problem> {
    let terms = call.office.terms.get();
    let kit = |kind: &Kind| kit_view(terms.kit(call.query("customer").unwrap_or_default(), *kind));
    Ok(Reply::json(&KitList { kits: Kind::ALL.iter().map(kit).collect() }))
}

fn kit(call: &Call<'_>) -> Result<Reply, Problem> {
    let word = call.param("kind");
    let kind = Kind::parse(word).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        Problem::NotFound(format!("there is no kit `{}`; there are {}", short(word), names.join(", ")))
    })?;
    Ok(Reply::json(&kit_view(call.office.terms.get().kit(call.query("customer").unwrap_or_default(), kind))))
}

fn kit_view(kit: &Kit) -> KitView {
    let text = |form: Form| kit.text(form).to_owned();
    let variable = |v: &crate::kit::Variable| VariableView {
        name: v.name.clone(),
        of: v.of.as_str().to_owned(),
        is_required: v.is_required,
        is_free: v.is_free,
        chars_max: v.chars_max,
        default: v.default.clone(),
        fixed: v.fixed.clone(),
    };
    KitView {
        kind: kit.kind().as_str().to_owned(),
        title: kit.title().to_owned(),
        audience: kit.audience().to_owned(),
        version: kit.version(),
        variables: kit.variables().iter().map(variable).collect(),
        forms: FormsView {
            mail_subject: text(Form::MailSubject),
            mail: text(Form::Mail),
            sms: text(Form::Sms),
            portal: text(Form::Portal),
            acd: text(Form::Acd),
        },
    }
}

fn objectives(call: &Call<'_>) -> Result<Reply, Problem> {
    let query = SubjectQuery { open_only: true, ..SubjectQuery::default() };
    let page = call.office.store.subjects(SubjectKind::Objective, &query)?;
    let mut clocks: Vec<NotifyClock> = page.rows.iter().filter_map(read).collect();
    clocks.sort_by_key(|clock| clock.commit);
    let clocks = clocks.iter().map(|clock| clock_view(call, clock)).collect();
    Ok(Reply::json(&ObjectiveList { clocks, breaches: call.office.desk.breaches() }))
}

fn explain(call: &Call<'_>) -> Result<Reply, Problem> {
    let id = call.query("customer").unwrap_or("default");
    let terms = call.office.terms.get();
    let customers = &terms.customers;
    if customers.is_closed() && customers.get(id).is_none() {
        return Err(Problem::NotFound(format!("there is no customer `{}`", short(id))));
    }
    let from = instant(call, "from")?.unwrap_or(call.now);
    let to = instant(call, "to")?.unwrap_or(from.plus_ms(7 * 86_400_000));
    if from > to || to.0 - from.0 > TRACE_MS_MAX {
        let text = "to: lies behind `from`, and no more than two years".to_owned();
        return Err(Problem::Invalid(vec![text]));
    }
    let calendar = &customers.of(id).response;
    let steps = calendar.steps(from, to);
    Ok(Reply::json(&CalendarTrace {
        customer: id.to_owned(),
        from: from.to_string(),
        to: to.to_string(),
        zone: calendar.zone().iana_name().unwrap_or("UTC").to_owned(),
        business_s: calendar.between(from, to) / 1000,
        steps: steps.iter().map(|step| calendar.step_text(step)).collect(),
    }))
}

pub(super) fn instant(call: &Call<'_>, name: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = call.query(name) else { return Ok(None) };
    let read = text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_millisecond()));
    read.map(Some).ok_or_else(|| wrong(name, text, "is no time such as 2026-03-02T10:00:00Z"))
}
