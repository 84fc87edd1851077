//! Why a call was let through or not, and what it counted towards, of the calls that the service keeps.

use std::sync::Arc;

use super::call::{Call, Reply, short, wrong};
use super::operation::Operation;
use super::problem::Problem;
use crate::calendar;
use crate::clock::Timestamp;
use crate::engine::LaneOptions;
use crate::explain::history::History;
use crate::explain::{About, Answer, Crossing, Failure, Ground, Question, answer};
use crate::limits::{EXPLAIN_CALLS, EXPLAIN_CALLS_MAX};
use crate::policy::Severity;
use crate::store::Query;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/explain",
            "explain_call",
            "Why a call was let through or not, rule by rule, and what it counted towards",
            explain,
        )
        .gives::<Answer>()
        .query(&[
            ("call", "Its Call-ID"),
            ("violation", "In its place, the id of a violation: `4711/ips-wangiri/warning`"),
            ("customer", "Only a call of this customer"),
            ("from", "Look for the call from here on: RFC 3339, or a date in the time zone of the rules"),
            ("to", "Look for the call before this: RFC 3339, or a date in the time zone of the rules, itself included"),
            ("calls", "How many calls of each window are named"),
        ]),
    ]
}

fn explain(call: &Call<'_>) -> Result<Reply, Problem> {
    let question = question(call)?;
    let known = &call.office.drafter;
    let ground = Ground {
        policy: known.policy.get(),
        names: Arc::clone(&known.names),
        options: LaneOptions::default(),
        newest: Some(call.now),
    };
    let history =
        History { archive: &known.archive, journal: Some((&known.disk, &known.journal)), names: &known.names };
    let mut notes = Vec::new();
    let told = answer(&ground, &question, |stretch, take| history.read(stretch, &mut notes, take));
    match told {
        Ok(told) => Ok(Reply::json(&Answer { notes: notes.into_iter().chain(told.notes.clone()).collect(), ..told })),
        Err(Failure::NotFound(sentence)) => Err(Problem::NotFound(sentence)),
        Err(Failure::Read(error)) => {
            tracing::error!(%error, "the archive cannot be read to explain a call");
            Err(Problem::Internal)
        }
    }
}

/// A violation by its id: of an event, where that stands in the journal; of time, when that was, and whose key.
fn of_violation(call: &Call<'_>, id: &str) -> Result<About, Problem> {
    let bad = || wrong("violation", id, "is no id of a violation, such as 4711/ips-wangiri/warning");
    let parts: Vec<&str> = id.split('/').collect();
    match parts.as_slice() {
        [position, rule, _] => {
            let position = position.parse().map_err(|_| bad())?;
            Ok(About::Position { position, rule: (*rule).to_owned() })
        }
        [time, rule, level, _] => {
            let time = Timestamp(time.parse().map_err(|_| bad())?);
            let level = Severity::ALL.iter().find(|severity| severity.as_str() == *level).ok_or_else(bad)?;
            let mut query = Query {
                from: Some(time),
                until: Some(time.plus_ms(1)),
                rule: Some((*rule).to_owned()),
                level: Some(level.as_str().to_owned()),
                ..Query::default()
            };
            loop {
                let page = call.office.store.violations(&query)?;
                if let Some(row) = page.rows.into_iter().find(|row| row.id == id) {
                    let (rule, level, call_id) = (row.rule, *level, None);
                    let key = row.key.0.into_iter().collect();
                    return Ok(About::Crossing(Crossing {
                        id: Some(row.id),
                        rule,
                        level,
                        time,
                        customer: row.customer,
                        key,
                        call_id,
                    }));
                }
                // Many keys may have had their time at once.
                query.after =
                    Some(page.next.ok_or_else(|| Problem::NotFound(format!("there is no violation {}", short(id))))?);
            }
        }
        _ => Err(bad()),
    }
}

fn question(call: &Call<'_>) -> Result<Question, Problem> {
    let about = match (call.query("call"), call.query("violation")) {
        (Some(id), None) => About::Call(id.to_owned()),
        (None, Some(text)) => of_violation(call, text)?,
        _ => {
            return Err(Problem::Invalid(vec!["call: say which call, or with `violation` which violation".to_owned()]));
        }
    };
    let calls_max = match call.query("calls") {
        None => EXPLAIN_CALLS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n <= EXPLAIN_CALLS_MAX)
            .ok_or_else(|| wrong("calls", &short(text), &format!("is no number up to {EXPLAIN_CALLS_MAX}")))?,
    };
    let policy = call.office.drafter.policy.get();
    let instant = |name: &str, is_end: bool| {
        let Some(text) = call.query(name) else { return Ok(None) };
        let found = calendar::instant(text, &policy.time_zone, is_end);
        found
            .map(Some)
            .ok_or_else(|| wrong(name, &short(text), "is neither a date nor a time such as 2026-03-02T10:00:00Z"))
    };
    let (from, to) = (instant("from", false)?, instant("to", true)?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Problem::Invalid(vec!["to: is not behind `from`: there is no time between them".to_owned()]));
    }
    Ok(Question { about, customer: call.query("customer").map(str::to_owned), from, to, calls_max })
}
