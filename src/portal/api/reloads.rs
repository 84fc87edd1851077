//! Rules and settings are read again, and which are in force.

use super::call::{Call, Reply};
use super::operation::{Access, Operation};
use super::problem::Problem;
use crate::incident::Role;
use crate::people::Scope;
use crate::reload::{Asker, Report, Standing};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/reload", "show_reload", "Which rules are in force, and whether the files say something else", show)
            .gives::<Standing>(),
        Operation::post(
            "/reload",
            "reload",
            "Read rules, lists, customers' files, kits and settings again: all of it or nothing; for analysts and admins",
            reload,
        )
        .needs(Access::Scope(Scope::Incidents))
        .gives::<Report>(),
    ]
}

fn show(call: &Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::json(&call.office.reloads.standing()))
}

fn reload(call: &Call<'_>) -> Result<Reply, Problem> {
    let caller = call.caller()?;
    if !caller.roles.has_any(&[Role::Analyst, Role::Admin]) {
        return Err(Problem::Forbidden("rules are changed by somebody who is an analyst or an admin".to_owned()));
    }
    let by = Asker::Person { name: caller.name.clone(), from: call.guest.from.clone() };
    let undecided = "it is not known yet what came of it: the service is busy reading; ask again what is in force";
    let report = call.office.reloads.order(by).ok_or_else(|| Problem::Undecided(undecided.to_owned()))?;
    Ok(Reply::json(&report))
}
