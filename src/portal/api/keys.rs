//! What rules hold of the keys they count: looked at, and taken back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::call::{Call, Reply, short, wrong};
use super::operation::{Access, Operation};
use super::problem::Problem;
use super::wire::keys::{KeyList, KeyReset, KeyResetDone, KeyView};
use crate::clock::{Clock, Timestamp};
use crate::engine::{KeyQuery, RunningKey, joined};
use crate::event::CustomerId;
use crate::incident::Role;
use crate::limits::{KEYS_LISTED_MAX, KEYS_NAMED_MAX};
use crate::people::Scope;
use crate::policy::Policy;
use crate::store::{Audit, Change};

/// Keys that are listed unless it is said otherwise.
const LISTED: usize = 50;
/// A snapshot that is under way must end before keys are taken back.
const RETRY_EVERY: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(20);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/rules/{rule}/keys", "list_keys", "What a rule holds of its keys, the largest first", list)
            .gives::<KeyList>()
            .query(&[
                ("customer", "Only this customer's"),
                ("key", "Only this key: its values in the order of `per`, with `,` between them"),
                ("limit", "At most so many; 50 unless set"),
            ]),
        Operation::post(
            "/rules/{rule}/keys/reset",
            "reset_keys",
            "Forget what a rule holds of keys, and end their open alerts; for analysts and admins",
            reset,
        )
        .needs(Access::Scope(Scope::Incidents))
        .takes::<KeyReset>()
        .gives::<KeyResetDone>(),
    ]
}

fn no_rule(call: &Call<'_>) -> Problem {
    let rule = short(call.param("rule"));
    Problem::NotFound(format!("no rule `{rule}` counts anything: it is not in force, is off, or only decides"))
}

fn customer(call: &Call<'_>, name: Option<&str>) -> Result<Option<CustomerId>, Problem> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    // A name that was never met is not remembered for it.
    let (known, _) = call.office.engine.names().all();
    let place = known.iter().position(|known| *known == name);
    let id = place.map(|place| CustomerId(place as u32));
    id.map(Some).ok_or_else(|| wrong("customer", name, "has sent nothing yet"))
}

fn reached(call: &Call<'_>) -> Timestamp {
    let lateness_ms = call.office.engine.policy().lateness_ms;
    call.office.clocks.reached(call.now, lateness_ms)
}

fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    let limit = match call.query("limit") {
        None => LISTED,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=KEYS_LISTED_MAX).contains(n))
            .ok_or_else(|| wrong("limit", text, &format!("is no number from 1 to {KEYS_LISTED_MAX}")))?,
    };
    let keys: Vec<String> = call.query("key").map(str::to_owned).into_iter().collect();
    let query = KeyQuery { customer: customer(call, call.query("customer"))?, keys: &keys };
    let at = reached(call);
    let engine = &call.office.engine;
    let found = engine.keys(call.param("rule"), &query, limit, at).ok_or_else(|| no_rule(call))?;
    let view = |key: &RunningKey| KeyView {
        customer: engine.names().customer_name(key.customer),
        key: key.key.iter().cloned().collect(),
        name: joined(&key.key),
        value: key.value,
        level: key.level.map(|level| level.as_str().to_owned()),
        since: key.since.map(|since| since.to_string()),
        newest: key.newest.to_string(),
    };
    let keys = found.keys.iter().map(view).collect();
    Ok(Reply::json(&described(&engine.policy(), call.param("rule"), at, keys, found.n)))
}

fn described(policy: &Policy, rule: &str, at: Timestamp, keys: Vec<KeyView>, n: u64) -> KeyList {
    let threshold = policy.thresholds.iter().find(|threshold| threshold.id == rule);
    let level = |of: Option<&crate::policy::Level>| of.map(|level| level.text.clone());
    KeyList {
        rule: rule.to_owned(),
        measure: threshold.map_or("match", |threshold| threshold.measure.as_str()).to_owned(),
        window: threshold.map_or("0s", |threshold| &threshold.window_text).to_owned(),
        warning: level(threshold.and_then(|threshold| threshold.levels.warning.as_ref())),
        critical: level(threshold.and_then(|threshold| threshold.levels.critical.as_ref())),
        at: at.to_string(),
        keys,
        n,
    }
}

fn reset(call: &Call<'_>) -> Result<Reply, Problem> {
    let caller = call.caller()?;
    if !caller.roles.has_any(&[Role::Analyst, Role::Admin]) {
        return Err(Problem::Forbidden("keys are reset by somebody who is an analyst or an admin".to_owned()));
    }
    let order: KeyReset = call.body()?;
    if order.keys.is_empty() != order.all || order.keys.len() > KEYS_NAMED_MAX {
        let text = format!("keys: name 1 to {KEYS_NAMED_MAX}, or say `all`, not both");
        return Err(Problem::Invalid(vec![text]));
    }
    let query = KeyQuery { customer: customer(call, order.customer.as_deref())?, keys: &order.keys };
    let rule = call.param("rule");
    let office = call.office;
    let until = Clock.monotonic() + RETRY_MAX;
    let n = loop {
        if !office.engine.counts(rule) {
            return Err(no_rule(call));
        }
        if let Some(n) = office.engine.reset_keys(rule, &query, reached(call)) {
            break n;
        }
        if Clock.monotonic() >= until {
            return Err(Problem::Busy);
        }
        std::thread::sleep(RETRY_EVERY);
    };
    // Until it is there, a crash would bring the keys back.
    office.wants_snapshot.store(true, Ordering::Release);
    let audit = Audit {
        time: call.now,
        who: caller.name.clone(),
        from: call.guest.from.clone(),
        action: "reset_keys".to_owned(),
        subject: rule.to_owned(),
        before: serde_json::Value::Null,
        after: json!({ "keys": order.keys, "all": order.all, "customer": order.customer, "n": n }),
    };
    office.store.record(vec![Change::Audit(audit)]).map_err(|refused| Problem::from(refused.why))?;
    let hints =
        if n == 0 { vec!["no such key is held: `ringfence keys` lists those that are".to_owned()] } else { Vec::new() };
    Ok(Reply::json(&KeyResetDone { rule: rule.to_owned(), n, hints }))
}
