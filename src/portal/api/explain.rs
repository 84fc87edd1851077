//! Why a call was let through or not, and what it counted towards, of the calls that the service keeps.

use std::sync::Arc;

use super::call::{Call, Reply, short, wrong};
use super::catalogue::instant;
use super::operation::Operation;
use super::problem::Problem;
use crate::engine::LaneOptions;
use crate::explain::history::History;
use crate::explain::{About, Answer, Failure, Ground, Question, answer};
use crate::limits::{EXPLAIN_CALLS, EXPLAIN_CALLS_MAX};

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
            ("from", "Look for the call from here on, RFC 3339"),
            ("to", "Look for the call before this, RFC 3339"),
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
        is_indexed: true,
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

fn question(call: &Call<'_>) -> Result<Question, Problem> {
    let about = match (call.query("call"), call.query("violation")) {
        (Some(id), None) => About::Call(id.to_owned()),
        (None, Some(text)) => {
            let parts = text
                .split_once('/')
                .and_then(|(position, rest)| Some((position.parse().ok()?, rest.rsplit_once('/')?.0.to_owned())));
            let (position, rule) = parts
                .ok_or_else(|| wrong("violation", text, "is no id of a violation, such as 4711/ips-wangiri/warning"))?;
            About::Position { position, rule }
        }
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
    Ok(Question {
        about,
        customer: call.query("customer").map(str::to_owned),
        from: instant(call, "from")?,
        to: instant(call, "to")?,
        calls_max,
    })
}
