//! Incidents and messages as people read them in a terminal.

use jiff::tz::TimeZone;

use super::service_args::plain;
use crate::calendar::duration_text;
use crate::clock::Timestamp;
use crate::portal::api::wire::{
    AlertView, ClockView, FormsView, IncidentList, IncidentPage, IncidentView, MessageView, Pair, TransitionView,
};

/// Digits of a hash that are shown, and enough to name it.
const HASH_DIGITS: usize = 8;
/// Of what an incident is, in a table.
const WHAT_CHARS_MAX: usize = 60;
/// Alerts that are shown; the API has the others.
const ALERTS_SHOWN: usize = 20;

/// For whom it is printed.
pub(crate) struct Look {
    pub(crate) zone: TimeZone,
    pub(crate) now: Timestamp,
}

pub(super) fn digits(hash: &str) -> &str {
    hash.get(..HASH_DIGITS).unwrap_or(hash)
}

pub(super) fn list(list: &IncidentList, all: bool, look: &Look) -> String {
    if list.incidents.is_empty() {
        let hint = if all { "" } else { " `--all` shows closed ones." };
        return format!("No incident{}.{hint}\n", if all { "" } else { " is open" });
    }
    let head = ["INCIDENT", "SEVERITY", "STATE", "CUSTOMER", "SINCE", "CLOCK", "COMMANDER", "WHAT"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(list.incidents.iter().map(|incident| row(incident, look)));
    let mut out = table(&rows);
    if list.incidents.iter().any(is_unsure) {
        out += "? suspected, not confirmed yet\n";
    }
    if list.next.is_some() {
        out += "There are more: --limit N shows them.\n";
    }
    out
}

fn row(incident: &IncidentView, look: &Look) -> [String; 8] {
    let what: String = incident.what.chars().take(WHAT_CHARS_MAX).collect();
    let cut = if what.len() < incident.what.len() { "..." } else { "" };
    [
        incident.id.clone(),
        format!("{} {}", incident.severity, incident.severity_word),
        format!("{}{}", incident.state, if is_unsure(incident) { "?" } else { "" }),
        plain(&incident.customer),
        time(&incident.first, look),
        incident.clock.as_ref().map_or_else(|| "-".to_owned(), clock_short),
        incident.commander.as_deref().map_or_else(|| "-".to_owned(), plain),
        format!("{}{cut}", plain(&what).replace('\n', " ")),
    ]
}

fn is_unsure(incident: &IncidentView) -> bool {
    incident.is_open && incident.certainty == "suspected"
}

pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// `42 min left`, `2 h late`, `told`.
fn clock_short(clock: &ClockView) -> String {
    match (clock.left_s, clock.business_left_s, clock.state.as_str()) {
        (Some(left), _, _) if left < 0 => format!("{} late", minutes(-left)),
        (Some(_), Some(business), _) => format!("{} left", minutes(business)),
        (_, _, "met") => "told in time".to_owned(),
        (_, _, "late") => "told late".to_owned(),
        _ => "-".to_owned(),
    }
}

fn clock_long(clock: &ClockView, look: &Look) -> String {
    let commit = time(&clock.commit, look);
    match (clock.left_s, clock.business_left_s) {
        (Some(left), _) if left < 0 => {
            format!("{} LATE: the customer should have heard by {commit}", minutes(-left))
        }
        (Some(_), Some(business)) => {
            format!("{} of business time left: the customer must have heard by {commit}", minutes(business))
        }
        _ => format!("{} (the customer had to hear by {commit})", clock_short(clock)),
    }
}

fn minutes(seconds: i64) -> String {
    duration_text(seconds / 60 * 60_000)
}

/// `Mon 2 Mar 10:04 UTC`, with the year where it is another.
pub(crate) fn time(text: &str, look: &Look) -> String {
    shown(text, "%H:%M %Z", look)
}

fn shown(text: &str, clock: &str, look: &Look) -> String {
    let (Ok(at), Ok(now)) = (text.parse::<jiff::Timestamp>(), jiff::Timestamp::from_millisecond(look.now.0)) else {
        return text.to_owned();
    };
    let (at, now) = (at.to_zoned(look.zone.clone()), now.to_zoned(look.zone.clone()));
    let date = if at.year() == now.year() { "%a %-d %b" } else { "%a %-d %b %Y" };
    at.strftime(&format!("{date} {clock}")).to_string()
}

pub(super) fn incident(page: &IncidentPage, look: &Look) -> String {
    let incident = &page.incident;
    let state = if is_unsure(incident) { "suspected" } else { &incident.state };
    let state = if incident.state == "candidate" { "suspected, nobody has looked yet" } else { state };
    let mut out = format!(
        "{}  severity {} ({}), {state}  customer {}\n{}\n\n",
        incident.id,
        incident.severity,
        incident.severity_word,
        plain(&incident.customer),
        plain(&incident.what)
    );
    for (name, value) in fields(page, look) {
        out += &format!("  {name:<11} {value}\n");
    }
    for (title, text) in [("Findings", &incident.findings), ("Recommendations", &incident.recommendations)] {
        if let Some(text) = text {
            out += &format!("\n{title}\n{}", indented(text));
        }
    }
    out += "\nTimeline\n";
    let steps: Vec<[String; 4]> = page.transitions.iter().map(|step| step_row(step, look)).collect();
    out += &table(&steps);
    if page.more_transitions {
        out += "  and more: GET /api/v1/incidents/ID/transitions has them all\n";
    }
    if !page.alerts.is_empty() {
        out += &format!("\nAlerts, {} open of {}\n", incident.open_alerts, incident.alerts);
        let alerts: Vec<[String; 4]> = page.alerts.iter().take(ALERTS_SHOWN).map(alert_row).collect();
        out += &table(&alerts);
    }
    for view in &page.messages {
        out += "\n";
        out += &message(view, look);
    }
    out
}

fn fields(page: &IncidentPage, look: &Look) -> Vec<(&'static str, String)> {
    let incident = &page.incident;
    let name = |name: &Option<String>| name.as_deref().map_or_else(|| "nobody yet".to_owned(), plain);
    let mut fields = vec![
        ("since", time(&incident.first, look)),
        ("commander", name(&incident.commander)),
        ("scribe", name(&incident.scribe)),
    ];
    if incident.violations > 0 {
        let n = incident.violations;
        fields.insert(1, ("last seen", format!("{}, {n} violations in all", time(&incident.last, look))));
    }
    if !incident.responders.is_empty() {
        fields.push(("responders", plain(&incident.responders.join(", "))));
    }
    if !incident.target.is_empty() {
        fields.push(("target", pairs(&incident.target)));
    }
    let told = match (&incident.notified, incident.severity_told) {
        (Some(at), Some(n)) if n != incident.severity => format!("{}, that it is of severity {n}", time(at, look)),
        (Some(at), _) => time(at, look),
        (None, _) => "the customer does not know yet".to_owned(),
    };
    fields.push(("told", told));
    if let Some(clock) = &incident.clock {
        fields.push(("clock", clock_long(clock, look)));
    }
    if let Some(next) = &incident.next {
        let who = if next.who.is_empty() { String::new() } else { format!(": {}", plain(&next.who.join(", "))) };
        let due = next.due.as_ref().map(|due| format!(", by {}", time(due, look))).unwrap_or_default();
        fields.push(("NEXT", format!("{}{who}{due}", plain(&next.what))));
    }
    fields
}

fn step_row(step: &TransitionView, look: &Look) -> [String; 4] {
    let own = if step.of.starts_with("INC-") { String::new() } else { format!("{}: ", step.of) };
    let why = plain(&step.why).replace('\n', " ");
    let to = if step.from == step.to || step.to == step.what { String::new() } else { format!(" -> {}", step.to) };
    let at = shown(&step.time, "%H:%M:%S", look);
    [format!("  {at}"), format!("{own}{}{to}", step.what), plain(&step.who), why]
}

fn alert_row(alert: &AlertView) -> [String; 4] {
    let level = if alert.is_critical { "critical" } else { "warning" };
    let flaps = if alert.is_flapping { ", flapping" } else { "" };
    [
        format!("  {}", alert.state),
        plain(&alert.rule),
        pairs(&alert.key),
        format!("{} violations, {level}{flaps}", alert.violations),
    ]
}

fn pairs(pairs: &[Pair]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|pair| format!("{}={}", plain(&pair.name), plain(&pair.value))).collect();
    pairs.join(", ")
}

fn indented(text: &str) -> String {
    plain(text).lines().map(|line| format!("  {line}\n")).collect()
}

/// A message, the exact text of every form, and the step that follows.
pub(super) fn message(message: &MessageView, look: &Look) -> String {
    let mut out = format!(
        "{}  {}  kit {}, severity {}, written by {}  hash {}\n",
        message.id,
        message.state,
        message.kit,
        message.severity,
        plain(&message.author),
        digits(&message.hash)
    );
    if let (Some(by), Some(at)) = (&message.checked_by, &message.checked) {
        out += &format!("  checked by {}, {}\n", plain(by), time(at, look));
    }
    if let Some(comment) = &message.comment {
        out += &format!("  returned: {}\n", plain(comment));
    }
    if let Some(at) = &message.released {
        let by = message.released_by.as_deref().map(|by| format!(" by {}", plain(by))).unwrap_or_default();
        let before = if message.is_before_check { ", before anybody checked it" } else { "" };
        out += &format!("  released{by}, {}{before}\n", time(at, look));
    }
    out += &forms(&message.forms);
    let hash = digits(&message.hash);
    out += &match message.state.as_str() {
        "drafted" => format!(
            "Next: ringfence incident check {id} --hash {hash}\n\
             or:   ringfence incident return {id} --comment TEXT\n",
            id = message.id
        ),
        "checked" => format!("Next: ringfence incident release {} --hash {hash}\n", message.id),
        "returned" => format!("Next: ringfence incident redraft {} --hash {hash} --set NAME=TEXT\n", message.id),
        _ => String::new(),
    };
    out
}

/// Exactly what would go out.
pub(super) fn forms(forms: &FormsView) -> String {
    let all = [
        ("mail, subject", &forms.mail_subject),
        ("mail", &forms.mail),
        ("SMS", &forms.sms),
        ("portal", &forms.portal),
        ("announcement", &forms.acd),
    ];
    all.into_iter().map(|(name, text)| format!("--- {name}\n{}\n", plain(text.trim_end_matches('\n')))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look { zone: TimeZone::UTC, now: Timestamp(1_772_445_840_000) }
    }

    fn view(severity: u8, state: &str, what: &str) -> IncidentView {
        serde_json::from_value(serde_json::json!({
            "id": "INC-000001", "customer": "acme", "group": "", "target": [], "what": what, "state": state,
            "is_open": true, "certainty": if state == "suspected" { "suspected" } else { "confirmed" },
            "severity": severity, "severity_word": "disaster", "severity_told": null,
            "opened": "2026-03-02T10:04:00Z", "changed": "2026-03-02T10:04:00Z", "first": "2026-03-02T10:04:00Z",
            "last": "2026-03-02T10:04:00Z", "violations": 3, "alerts": 1, "open_alerts": 1, "commander": "anna",
            "scribe": null, "responders": [], "findings": null, "recommendations": null, "messages": [],
            "merged_into": null, "reopened": 0, "notified": null, "resolved": null,
            "clock": { "incident": "INC-000001", "customer": "acme", "state": "running",
                       "start": "2026-03-02T10:04:00Z", "target": "2026-03-02T11:04:00Z",
                       "commit": "2026-03-02T11:04:00Z", "ended": null, "left_s": 3600, "business_left_s": 2520 },
            "next": null,
        }))
        .unwrap()
    }

    #[test]
    fn suspected_ones_are_told_from_confirmed_ones_and_the_clock_is_business_time() {
        let incidents = vec![view(1, "suspected", "many calls"), view(1, "confirmed", "many calls")];
        let out = list(&IncidentList { incidents, next: None }, false, &look());
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            lines[1],
            "INC-000001  1 disaster  suspected?  acme      Mon 2 Mar 10:04 UTC  42 min left  anna       many calls"
        );
        assert!(lines[2].contains("  confirmed   ") && lines[3].starts_with("? suspected"), "{out}");
        assert!(list(&IncidentList { incidents: Vec::new(), next: None }, false, &look()).contains("--all"));
    }

    #[test]
    fn a_clock_that_is_past_says_how_late() {
        let mut clock = view(1, "confirmed", "x").clock.unwrap();
        (clock.left_s, clock.business_left_s) = (Some(-7500), Some(-7500));
        assert_eq!(clock_short(&clock), "2 h 5 min late");
        assert!(clock_long(&clock, &look()).contains("LATE"));
        (clock.left_s, clock.state) = (None, "met".to_owned());
        assert_eq!(clock_short(&clock), "told in time");
    }

    #[test]
    fn what_strangers_wrote_moves_no_cursor() {
        let incidents = vec![view(1, "suspected", "\u{1b}[2Jgone\r\nnew line")];
        let out = list(&IncidentList { incidents, next: None }, false, &look());
        assert!(!out.contains('\u{1b}') && !out.contains('\r'), "{out:?}");
    }
}
