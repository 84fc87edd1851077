//! Deliveries, their reasons and the call sheet as people read them in a terminal.

use crate::incident_command::page::{Look, table, time};
use crate::incident_command::service_args::plain;
use crate::portal::api::wire::TransitionView;
use crate::portal::api::wire::deliveries::{
    CallSheet, CallView, DeliveryDone, DeliveryList, DeliveryPage, DeliveryView, ToldPage, ToldPerson, ToldWay,
};

/// Deliveries that tell what went to a person lately.
pub(super) const LATELY: usize = 20;
/// Of a reason, in a table.
const BECAME_CHARS_MAX: usize = 70;

pub(super) fn list(list: &DeliveryList, dead: bool, look: &Look) -> String {
    if list.deliveries.is_empty() {
        return if dead { "Nothing was given up.\n".to_owned() } else { "There is no such delivery.\n".to_owned() };
    }
    let head = ["DELIVERY", "STATE", "CHANGED", "INCIDENT", "SEV", "WHAT", "PERSON", "CHANNEL", "WHAT BECAME OF IT"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(list.deliveries.iter().map(|view| row(view, look)));
    let mut out = table(&rows);
    if dead {
        out += "Next: ringfence delivery show DLV, ringfence delivery retry DLV\n";
    }
    if list.next.is_some() {
        out += "There are more: --limit N shows them.\n";
    }
    out
}

fn row(view: &DeliveryView, look: &Look) -> [String; 9] {
    [
        view.id.clone(),
        view.state.clone(),
        time(&view.changed, look),
        view.incident.clone().unwrap_or_else(|| "-".to_owned()),
        view.severity.to_string(),
        plain(&view.kit),
        line(&view.person),
        plain(&view.channel),
        cut(&line(&view.became)),
    ]
}

/// On one line of a terminal.
fn line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(BECAME_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default().trim_end()),
        None => text.to_owned(),
    }
}

pub(super) fn delivery(page: &DeliveryPage, look: &Look) -> String {
    let view = &page.delivery;
    let mut out = format!(
        "{}  {}  severity {}, {} by {} to {}\n{}\n\n",
        view.id,
        view.state,
        view.severity,
        plain(&view.kit),
        plain(&view.channel),
        line(&view.person),
        sentence(&view.became),
    );
    let mut fields = vec![("why", line(&page.why)), ("customer", plain(&view.customer))];
    if !view.address.is_empty() {
        fields.insert(0, ("address", plain(&view.address)));
    }
    fields.extend(view.incident.iter().map(|id| ("incident", id.clone())));
    fields.extend(view.message.iter().map(|id| ("message", id.clone())));
    fields.extend(view.instead_of.iter().map(|id| ("instead of", id.clone())));
    fields.push(("queued", time(&view.queued, look)));
    fields.extend(view.due.iter().map(|due| ("next try", time(due, look))));
    fields.push(("worth it until", time(&view.valid_until, look)));
    if !view.receipt.is_empty() {
        fields.push(("receipt", format!("{} of {}", line(&view.receipt), plain(&view.provider))));
    }
    if view.attempts > 0 {
        fields.push(("tries", view.attempts.to_string()));
    }
    out += &fields.into_iter().map(|(name, value)| format!("  {name:<14} {value}\n")).collect::<String>();
    out += "\nSteps\n";
    let steps: Vec<[String; 4]> = page.steps.iter().map(|step| step_row(step, look)).collect();
    out += &table(&steps);
    out += &format!("\n--- {}\n{}\n", line(&page.subject), plain(page.text.trim_end_matches('\n')));
    if matches!(view.state.as_str(), "failed" | "expired") {
        out += &format!("\nNext: ringfence delivery retry {}\n", view.id);
    }
    out
}

fn step_row(step: &TransitionView, look: &Look) -> [String; 4] {
    let to = if step.to == step.what { String::new() } else { format!(" -> {}", step.to) };
    let from = if step.came_from == "local" { String::new() } else { format!(" ({})", plain(&step.came_from)) };
    [
        format!("  {}", time(&step.time, look)),
        format!("{}{to}", step.what),
        format!("{}{from}", line(&step.who)),
        line(&step.why),
    ]
}

/// Begins as a sentence does and ends as one.
fn sentence(text: &str) -> String {
    let text = line(text);
    let mut chars = text.trim_end_matches('.').chars();
    let begin: String = chars.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{begin}{}.", chars.as_str())
}

pub(super) fn done(done: &DeliveryDone, what: &str) -> String {
    let view = &done.delivery;
    let hints = done.hints.iter().map(|hint| format!("  {}\n", plain(hint)));
    format!("{}: {} {what}.\n", view.id, line(&view.person)) + &hints.collect::<String>()
}

/// `people`: only these, where there are any.
pub(super) fn told(page: &ToldPage, people: &[&String], look: &Look) -> String {
    let of = if page.of == page.incident { page.of.clone() } else { format!("{} of {}", page.of, page.incident) };
    let mut out = format!("{of}  severity {}, customer {}\n", page.severity, plain(&page.customer));
    if !page.is_released {
        out += "Nothing was released yet: nobody was sent a notice.\n";
    }
    let is_asked = |person: &&ToldPerson| people.is_empty() || people.iter().any(|asked| is_of(asked, person));
    let shown: Vec<&ToldPerson> = page.people.iter().filter(is_asked).collect();
    for asked in people.iter().filter(|asked| !page.people.iter().any(|person| is_of(asked, person))) {
        out += &format!("\n{}\n  Neither the customer's file nor any delivery of it names them.\n", line(asked));
    }
    if shown.is_empty() && people.is_empty() {
        out += "\nNobody was told, and the customer's file names nobody.\n";
    }
    for person in shown {
        out += &one_person(person, look);
    }
    let n = |stands: &[&str]| page.people.iter().filter(|person| stands.contains(&person.stands.as_str())).count();
    if people.is_empty() && page.is_released {
        out += &format!("\n{} of {} have it.\n", n(&["told"]), n(&["told", "waiting", "missed"]));
    }
    if page.more {
        out += "There were more deliveries than these, older ones: ringfence delivery list shows them.\n";
    }
    out
}

fn is_of(asked: &str, person: &ToldPerson) -> bool {
    let same = |text: &str| text.to_lowercase() == asked.to_lowercase();
    same(&person.person)
        || person.contact.as_deref().is_some_and(same)
        || person.ways.iter().any(|way| !way.address.is_empty() && same(&way.address))
}

fn one_person(person: &ToldPerson, look: &Look) -> String {
    let audience = if person.audience.is_empty() { String::new() } else { format!(" ({})", plain(&person.audience)) };
    let stands = match person.stands.as_str() {
        "told" => "has it",
        "waiting" => "does not have it yet",
        "missed" => "DOES NOT HAVE IT",
        "called" => "was called",
        _ => "not to be told",
    };
    let ways = person.ways.iter().map(|way| format!("  {}\n", one_way(way, look)));
    format!("\n{}{audience}: {stands}\n", line(&person.person)) + &ways.collect::<String>()
}

/// `mail to anna@acme.example: relay took it (Mon 2 Mar 10:04 UTC, DLV-000001 of MSG-000001 holding), because: audience
/// customer, severity 1`.
fn one_way(way: &ToldWay, look: &Look) -> String {
    let to = if way.address.is_empty() { String::new() } else { format!(" to {}", plain(&way.address)) };
    let what = match (way.purpose.as_str(), way.channel.is_empty()) {
        ("page", true) => "call".to_owned(),
        ("page", false) => format!("call by {}{to}", plain(&way.channel)),
        (_, true) => "notice".to_owned(),
        (_, false) => format!("{}{to}", plain(&way.channel)),
    };
    let mut rest: Vec<String> = way.at.iter().map(|at| time(at, look)).collect();
    match (&way.delivery, &way.message) {
        (Some(delivery), Some(message)) => rest.push(format!("{delivery} of {message} {}", plain(&way.kit))),
        (Some(delivery), None) => rest.push(delivery.clone()),
        (None, _) => {}
    }
    let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
    let why = if way.why.is_empty() { String::new() } else { format!(", because: {}", line(&way.why)) };
    format!("{what}: {}{rest}{why}", line(&way.became))
}

/// What went to somebody, of whatever incident.
pub(super) fn lately(person: &str, list: &DeliveryList, look: &Look) -> String {
    if list.deliveries.is_empty() {
        return format!(
            "{}\n  Nothing went to anybody of this name, id or address. `ringfence delivery why INC-000001` says who was \
             told of an incident, who was not, and why.\n",
            line(person)
        );
    }
    let mut out = format!("{}, the newest first\n", line(person));
    for view in &list.deliveries {
        let to = if view.address.is_empty() { String::new() } else { format!(" to {}", plain(&view.address)) };
        let of: Vec<&str> = view.message.iter().chain(&view.incident).map(String::as_str).collect();
        let of = if of.is_empty() { String::new() } else { format!(" of {}", of.join(", ")) };
        out += &format!(
            "  {} {}{to}: {} ({}, {}{of})\n",
            plain(&view.kit),
            plain(&view.channel),
            line(&view.became),
            time(&view.changed, look),
            view.id,
        );
    }
    if list.next.is_some() {
        out += &format!("  and more: ringfence delivery list --person \"{}\"\n", line(person));
    }
    out
}

pub(super) fn call_sheet(sheet: &CallSheet, look: &Look) -> String {
    if sheet.calls.is_empty() {
        return "Nobody has to be phoned.\n".to_owned();
    }
    let n = sheet.calls.len();
    let mut out = format!("{n} to phone, the gravest first\n");
    out += &sheet.calls.iter().map(|call| one_call(call, look)).collect::<String>();
    if sheet.more {
        out += "\nThere are more: they come up as these are ticked off.\n";
    }
    out
}

fn one_call(call: &CallView, look: &Look) -> String {
    let number = call.number.as_deref().map_or_else(|| "no number is written down".to_owned(), plain);
    let of: Vec<&str> = call.message.iter().chain(&call.incident).map(String::as_str).collect();
    let mut out = format!(
        "\n{}  {}  {number}\n  severity {} ({}), {}, {}; since {}\n  because: {}\n",
        call.id,
        line(&call.person),
        call.severity,
        call.severity_word,
        line(&call.customer_name),
        of.join(" of "),
        time(&call.since, look),
        line(&call.why),
    );
    if let Some(warning) = &call.warning {
        out += &format!("  CAREFUL: {}\n", line(warning));
    }
    out += &format!("  read out: {}\n", line(&call.subject));
    out +=
        &plain(&call.text).lines().map(|text| format!("    {text}").trim_end().to_owned() + "\n").collect::<String>();
    out + &format!(
        "  then: ringfence delivery tick {id} --reached, or ringfence delivery tick {id} --not-reached\n",
        id = call.id
    )
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Timestamp;

    fn look() -> Look {
        Look { zone: TimeZone::UTC, now: Timestamp(1_772_445_840_000) }
    }

    fn told_page(stands: &str, way: &Value) -> ToldPage {
        let usual = json!({
            "delivery": "DLV-000001", "message": "MSG-000001", "purpose": "notice", "kit": "holding", "channel": "mail",
            "address": "anna@acme.example", "state": "handed", "at": "2026-03-02T10:04:00Z", "became": "relay took it",
            "why": "audience customer, severity 1", "attempts": 1,
        });
        let mut fields = usual.as_object().unwrap().clone();
        fields.extend(way.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "of": "MSG-000001", "incident": "INC-000001", "customer": "acme", "severity": 1, "is_released": true,
            "people": [{ "person": "Anna \u{1b}[2J\nBerg", "contact": "anna", "audience": "customer", "stands": stands,
                         "ways": [fields] }],
            "more": false,
        }))
        .unwrap()
    }

    #[test]
    fn a_way_is_a_sentence_and_those_who_lack_it_stand_out() {
        let page = told_page("told", &json!({}));
        let out = told(&page, &[], &look());
        let way = "  mail to anna@acme.example: relay took it (Mon 2 Mar 10:04 UTC, DLV-000001 of MSG-000001 holding), \
                   because: audience customer, severity 1";
        assert!(out.lines().any(|line| line == way) && out.ends_with("1 of 1 have it.\n"), "{out}");
        assert!(out.starts_with("MSG-000001 of INC-000001  severity 1, customer acme\n"), "{out}");
        assert!(!out.contains('\u{1b}'), "{out:?}");
        let none = json!({ "delivery": null, "message": null, "channel": "sms", "address": "", "at": null, "why": "",
                           "state": "none", "became": "the customer's file has no mobile number for them" });
        let out = told(&told_page("missed", &none), &[], &look());
        assert!(out.contains("(customer): DOES NOT HAVE IT\n  sms: the customer's file has no mobile"), "{out}");
        assert!(out.ends_with("0 of 1 have it.\n"), "{out}");
    }

    #[test]
    fn people_are_asked_for_by_name_by_id_and_by_address_and_strangers_are_told_as_such() {
        let page = told_page("told", &json!({}));
        for asked in ["ANNA", "Anna@Acme.example"] {
            assert!(told(&page, &[&asked.to_owned()], &look()).contains("relay took it"), "{asked}");
        }
        let out = told(&page, &[&"sven".to_owned()], &look());
        assert!(out.contains("sven\n  Neither the customer's file") && !out.contains("relay took it"), "{out}");
    }

    #[test]
    fn a_call_says_whom_to_phone_why_and_what_to_read_out() {
        let call = json!({
            "id": "DLV-000009", "person": "Anna Berg", "number": null, "customer": "acme", "customer_name": "Acme Ltd",
            "incident": "INC-000001", "message": "MSG-000001", "kit": "holding", "severity": 1,
            "severity_word": "disaster", "since": "2026-03-02T10:04:00Z", "why": "instead of DLV-000003 by sms: 401",
            "subject": "Calls fail", "text": "Dear customer,\ncalls fail.", "warning": "MSG-000002 says more",
        });
        let sheet: CallSheet = serde_json::from_value(json!({ "calls": [call], "more": true })).unwrap();
        let out = call_sheet(&sheet, &look());
        for said in [
            "DLV-000009  Anna Berg  no number is written down\n",
            "severity 1 (disaster), Acme Ltd, MSG-000001 of INC-000001; since Mon 2 Mar 10:04 UTC\n",
            "  because: instead of DLV-000003 by sms: 401\n",
            "  CAREFUL: MSG-000002 says more\n",
            "    Dear customer,\n    calls fail.\n",
            "ringfence delivery tick DLV-000009 --reached",
            "There are more",
        ] {
            assert!(out.contains(said), "{said} in {out}");
        }
    }
}
