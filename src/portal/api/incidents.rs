//! Looking at incidents, and what belongs to them.

use super::call::{Call, Reply, wrong};
use super::messages;
use super::next_step::next_step;
use super::operation::Operation;
use super::problem::Problem;
use super::wire::{
    AlertView, ClockView, FindingsDraft, IncidentList, IncidentPage, IncidentView, Pair, TransitionList,
    TransitionView, ViolationList, ViolationView,
};
use crate::clock::Timestamp;
use crate::incident::{
    Alert, Incident, IncidentState, Message, NotifyClock, Pairs, Severity, delivery_name, incident_name, message_name,
};
use crate::limits::{API_ALERTS_MAX, API_INCIDENTS_SCANNED_MAX, API_ROWS_MAX};
use crate::store::{Cursor, Query, SubjectKind, SubjectQuery, SubjectRow, TransitionRow, Violation};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/incidents", "list_incidents", "Incidents, the newest first", list)
            .gives::<IncidentList>()
            .query(&[
                ("open", "`true`: only those to which somebody is still to do something"),
                ("state", "Only those in this state"),
                ("severity", "Only those of this severity, 1 to 4"),
                ("customer", "Only this customer's"),
                ("limit", "How many at most"),
                ("cursor", "`next` of the page before"),
            ]),
        Operation::get("/incidents/{id}", "show_incident", "An incident with all that belongs to it", show)
            .gives::<IncidentPage>(),
        Operation::get(
            "/incidents/{id}/transitions",
            "list_transitions",
            "Every step of an incident, its messages and its clock, the oldest first",
            transitions,
        )
        .gives::<TransitionList>()
        .query(&[("limit", "How many at most"), ("cursor", "`next` of the page before")]),
        Operation::get(
            "/incidents/{id}/violations",
            "list_violations",
            "What the rules found that folded into an incident: alert by alert, the newest first",
            violations,
        )
        .gives::<ViolationList>()
        .query(&[("limit", "How many at most"), ("cursor", "`next` of the page before")]),
        Operation::get(
            "/incidents/{id}/findings/draft",
            "draft_findings",
            "Findings and recommendations drafted from the calls, which takes a moment; nothing is written",
            draft_findings,
        )
        .gives::<FindingsDraft>(),
    ]
}

fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = call.limit()?;
    let severity = severity_asked(call)?;
    let state = call.query("state");
    if let Some(state) = state.filter(|state| IncidentState::parse(state).is_none()) {
        let names = IncidentState::ALL.map(IncidentState::as_str).join(", ");
        return Err(wrong("state", state, &format!("is no state; there are {names}")));
    }
    let mut query = SubjectQuery {
        open_only: call.query_flag("open")?,
        customer: call.query("customer").map(str::to_owned),
        state: state.map(str::to_owned),
        after: call.cursor()?,
        rows: if severity.is_some() { API_ROWS_MAX } else { limit + 1 },
        ..SubjectQuery::default()
    };
    let (mut found, mut n_scanned) = (Vec::new(), 0);
    let mut next = None;
    'pages: loop {
        let page = call.office.store.subjects(SubjectKind::Incident, &query)?;
        n_scanned += page.rows.len();
        for incident in page.rows.iter().filter_map(read::<Incident>) {
            if severity.is_some_and(|severity| severity != incident.severity) {
                continue;
            }
            if found.len() == limit {
                next = found.last().map(|incident: &Incident| incident.id.to_string());
                break 'pages;
            }
            found.push(incident);
        }
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
        if n_scanned >= API_INCIDENTS_SCANNED_MAX {
            next = page.next.map(|next| next.to_string());
            break;
        }
    }
    let clocks = clocks(call, found.iter().map(|incident| incident.id).collect())?;
    let view = |incident: &Incident| {
        let clock = clocks.iter().find(|clock| clock.incident == incident.id);
        incident_view(call, incident, clock, &[])
    };
    Ok(Reply::json(&IncidentList { incidents: found.iter().map(view).collect(), next }))
}

pub(super) fn severity_asked(call: &Call<'_>) -> Result<Option<Severity>, Problem> {
    let Some(text) = call.query("severity") else { return Ok(None) };
    let severity = text.parse().ok().and_then(Severity::new);
    severity.map(Some).ok_or_else(|| wrong("severity", text, "is none of 1, 2, 3, 4"))
}

fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    let incident = known(call)?;
    let clock = clocks(call, vec![incident.id])?.pop();
    let messages = messages::of_incident(call, &incident)?;
    let (transitions, next) = steps(call, &incident, 0, API_ROWS_MAX)?;
    Ok(Reply::json(&IncidentPage {
        alerts: alerts(call, &incident)?.iter().map(alert_view).collect(),
        incident: incident_view(call, &incident, clock.as_ref(), &messages),
        messages: messages.iter().map(messages::view).collect(),
        transitions,
        more_transitions: next.is_some(),
    }))
}

fn transitions(call: &Call<'_>) -> Result<Reply, Problem> {
    let incident = known(call)?;
    let (transitions, next) = steps(call, &incident, call.cursor()?.unwrap_or(0), call.limit()?)?;
    Ok(Reply::json(&TransitionList { transitions, next }))
}

/// In the order in which they were written.
fn steps(
    call: &Call<'_>,
    incident: &Incident,
    after: i64,
    limit: usize,
) -> Result<(Vec<TransitionView>, Option<String>), Problem> {
    let own = [(SubjectKind::Incident, incident.id), (SubjectKind::Objective, incident.id)];
    let of = own.into_iter().chain(incident.messages.iter().map(|id| (SubjectKind::Message, *id)));
    let mut found = Vec::new();
    for (kind, id) in of {
        found.extend(call.office.store.transitions(kind, id, after, limit + 1)?.rows);
    }
    found.sort_by_key(|(seq, _)| *seq);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|(seq, _)| seq.to_string());
    Ok((found.into_iter().map(transition_view).collect(), next))
}

fn draft_findings(call: &Call<'_>) -> Result<Reply, Problem> {
    let incident = known(call)?;
    let draft = call.office.drafter.draft(&incident, call.now)?;
    let (findings, recommendations, chart) = (draft.findings(), draft.recommendations(), draft.svg());
    Ok(Reply::json(&FindingsDraft { findings, recommendations, chart }))
}

fn violations(call: &Call<'_>) -> Result<Reply, Problem> {
    let incident = known(call)?;
    let limit = call.limit()?;
    let begin = call.query("cursor").map(|text| place(text).ok_or_else(|| wrong("cursor", text, "is no `next`")));
    let begin = begin.transpose()?;
    let (mut found, mut next) = (Vec::new(), None);
    for alert in alerts(call, &incident)? {
        let mut after = None;
        if let Some((at, cursor)) = begin {
            if alert.id > at {
                continue;
            }
            after = cursor.filter(|_| alert.id == at);
        }
        let rows = limit - found.len();
        if rows == 0 {
            next = Some(alert.id.to_string());
            break;
        }
        let query = Query { alert: Some(alert.id), after, rows, ..Query::default() };
        let page = call.office.store.violations(&query)?;
        found.extend(page.rows);
        if let Some(Cursor { time, row }) = page.next {
            next = Some(format!("{}.{}.{row}", alert.id, time.0));
            break;
        }
    }
    Ok(Reply::json(&ViolationList { violations: found.into_iter().map(violation_view).collect(), next }))
}

/// `ALERT`, or `ALERT.TIME.ROW` inside one.
fn place(text: &str) -> Option<(i64, Option<Cursor>)> {
    let mut parts = text.split('.').map(|part| part.parse::<i64>().ok());
    let alert = parts.next()??;
    match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => Some((alert, None)),
        (Some(Some(time)), Some(Some(row)), None) => Some((alert, Some(Cursor { time: Timestamp(time), row }))),
        _ => None,
    }
}

/// The incident that the path names.
pub(super) fn known(call: &Call<'_>) -> Result<Incident, Problem> {
    let id = call.incident()?;
    let row = call.office.store.subject(SubjectKind::Incident, id)?;
    let row = row.ok_or_else(|| Problem::NotFound(format!("there is no incident {}", incident_name(id))))?;
    read(&row).ok_or(Problem::Failing)
}

/// The newest of an incident, the newest first.
fn alerts(call: &Call<'_>, incident: &Incident) -> Result<Vec<Alert>, Problem> {
    let query = SubjectQuery { incident: Some(incident.id), rows: API_ALERTS_MAX, ..SubjectQuery::default() };
    Ok(call.office.store.subjects(SubjectKind::Alert, &query)?.rows.iter().filter_map(read).collect())
}

pub(super) fn clocks(call: &Call<'_>, ids: Vec<i64>) -> Result<Vec<NotifyClock>, Problem> {
    let query = SubjectQuery { ids: Some(ids), ..SubjectQuery::default() };
    Ok(call.office.store.subjects(SubjectKind::Objective, &query)?.rows.iter().filter_map(read).collect())
}

/// The book wrote it; what cannot be read is told in the log and left out.
pub(super) fn read<T: serde::de::DeserializeOwned>(row: &SubjectRow) -> Option<T> {
    let read = serde_json::from_str(&row.body);
    if let Err(error) = &read {
        tracing::error!(kind = row.kind.as_str(), id = row.id, %error, "a row of the incident book cannot be read");
    }
    read.ok()
}

fn incident_view(
    call: &Call<'_>,
    incident: &Incident,
    clock: Option<&NotifyClock>,
    messages: &[Message],
) -> IncidentView {
    let terms = call.office.terms.get();
    let command = &terms.customers.of(&incident.customer).command;
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    IncidentView {
        id: incident_name(incident.id),
        customer: incident.customer.clone(),
        group: incident.group.clone(),
        target: pairs(&incident.target),
        what: incident.what.clone(),
        state: incident.state.as_str().to_owned(),
        is_open: incident.state.is_open(),
        certainty: incident.certainty().to_owned(),
        severity: incident.severity.number(),
        severity_word: incident.severity.word().to_owned(),
        severity_told: incident.severity_told.map(Severity::number),
        opened: incident.opened.to_string(),
        changed: incident.changed.to_string(),
        first: incident.first.to_string(),
        last: incident.last.to_string(),
        violations: incident.violations,
        alerts: incident.alerts,
        open_alerts: incident.open_alerts,
        commander: incident.commander.clone(),
        scribe: incident.scribe.clone(),
        responders: incident.responders.clone(),
        findings: incident.findings.clone(),
        recommendations: incident.recommendations.clone(),
        messages: incident.messages.iter().map(|id| message_name(*id)).collect(),
        merged_into: incident.merged_into.map(incident_name),
        reopened: incident.reopened,
        notified: time(incident.notified),
        resolved: time(incident.resolved),
        clock: clock.map(|clock| clock_view(call, clock)),
        next: next_step(incident, clock, messages, command),
    }
}

pub(super) fn clock_view(call: &Call<'_>, clock: &NotifyClock) -> ClockView {
    let left = clock.state.is_open().then(|| clock.left_ms(call.now));
    let business = left.map(|left| {
        let terms = call.office.terms.get();
        let calendar = &terms.customers.of(&clock.customer).response;
        // Past it, how much business time is gone since.
        if left >= 0 { calendar.between(call.now, clock.commit) } else { -calendar.between(clock.commit, call.now) }
    });
    ClockView {
        incident: incident_name(clock.incident),
        customer: clock.customer.clone(),
        state: clock.state.as_str().to_owned(),
        start: clock.start.to_string(),
        target: clock.target.to_string(),
        commit: clock.commit.to_string(),
        ended: clock.ended.map(|at| at.to_string()),
        left_s: left.map(|ms| ms.div_euclid(1000)),
        business_left_s: business.map(|ms| ms.div_euclid(1000)),
    }
}

fn pairs(pairs: &Pairs) -> Vec<Pair> {
    pairs.iter().map(|(name, value)| Pair { name: name.clone(), value: value.clone() }).collect()
}

fn alert_view(alert: &Alert) -> AlertView {
    AlertView {
        number: alert.id,
        rule: alert.rule.clone(),
        key: pairs(&alert.key),
        state: alert.state.as_str().to_owned(),
        is_critical: alert.is_critical,
        is_flapping: alert.is_flapping,
        is_others: alert.is_others,
        violations: alert.count,
        first: alert.first.to_string(),
        last: alert.last.to_string(),
    }
}

pub(super) fn transition_view((number, row): (i64, TransitionRow)) -> TransitionView {
    let of = match row.kind {
        SubjectKind::Incident => incident_name(row.subject),
        SubjectKind::Message => message_name(row.subject),
        SubjectKind::Objective => "clock".to_owned(),
        SubjectKind::Alert => format!("alert {}", row.subject),
        SubjectKind::Delivery => delivery_name(row.subject),
    };
    TransitionView {
        number,
        time: row.time.to_string(),
        of,
        from: row.from,
        to: row.to,
        what: row.what,
        who: row.who,
        came_from: row.came_from,
        why: row.why,
        data: serde_json::from_str(&row.data).unwrap_or_default(),
    }
}

fn violation_view(violation: Violation) -> ViolationView {
    ViolationView {
        id: violation.id,
        time: violation.time.to_string(),
        rule: violation.rule,
        level: violation.level,
        key: pairs(&violation.key.0),
        measure: violation.measure,
        value: violation.value,
        threshold: violation.threshold,
        window: violation.window,
        call_id: violation.call_id,
        mode: violation.mode,
        alert: violation.alert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_among_violations_is_read_as_it_is_written() {
        let cursor = Cursor { time: Timestamp(5), row: 9 };
        assert_eq!(place("7"), Some((7, None)));
        assert_eq!(place("7.5.9"), Some((7, Some(cursor))));
        for bad in ["", ".", "7.", "7.5", "7.5.9.1", "x", "7.x.9", "99999999999999999999"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
