//! Orders of people about incidents. Whether somebody may give one, and whether it fits, the desk says.

use super::call::{Call, Reply, wrong};
use super::operation::{Access, Operation};
use super::problem::Problem;
use super::wire::{AssignOrder, Done, FindingsOrder, FoldOrder, NoteOrder, OpenOrder, SeverityOrder, WhyOrder};
use crate::incident::{Command, Position, Severity, parse_name};
use crate::people::Scope;

pub(super) fn operations() -> Vec<Operation> {
    let order = |path, name, summary, run| {
        Operation::post(path, name, summary, run).needs(Access::Scope(Scope::Incidents)).gives::<Done>()
    };
    vec![
        order("/incidents", "open", "Open an incident that no rule has seen", open).takes::<OpenOrder>(),
        order("/incidents/{id}/suspect", "suspect", "Say that it may be real", suspect).takes::<WhyOrder>(),
        order("/incidents/{id}/confirm", "confirm", "Say that it is real", confirm).takes::<WhyOrder>(),
        order("/incidents/{id}/dismiss", "dismiss", "Say that it is a false alarm, with a reason", dismiss)
            .takes::<WhyOrder>(),
        order("/incidents/{id}/mitigate", "mitigate", "Say that it is being mitigated", mitigate).takes::<WhyOrder>(),
        order("/incidents/{id}/monitor", "monitor", "Say that it is mitigated and being watched", monitor)
            .takes::<WhyOrder>(),
        order("/incidents/{id}/resolve", "resolve", "Say that it is over", resolve).takes::<WhyOrder>(),
        order("/incidents/{id}/review", "review", "Say that it was reviewed", review).takes::<WhyOrder>(),
        order("/incidents/{id}/reopen", "reopen", "Say that it is not over after all, with a reason", reopen)
            .takes::<WhyOrder>(),
        order("/incidents/{id}/severity", "severity", "Set its severity, with a reason", severity)
            .takes::<SeverityOrder>(),
        order("/incidents/{id}/assign", "assign", "Make somebody its commander, scribe or responder", assign)
            .takes::<AssignOrder>(),
        order("/incidents/{id}/fold", "fold", "Make it a part of another incident", fold).takes::<FoldOrder>(),
        order("/incidents/{id}/unfold", "unfold", "Make it an incident of its own again", unfold).takes::<WhyOrder>(),
        order("/incidents/{id}/findings", "findings", "Write what was found and what is recommended", findings)
            .takes::<FindingsOrder>(),
        order(
            "/incidents/{id}/acknowledge",
            "acknowledge",
            "Say that one looks after it: nobody further is called",
            acknowledge,
        )
        .takes::<WhyOrder>(),
        order("/incidents/{id}/notes", "note", "Write something into its record", note).takes::<NoteOrder>(),
    ]
}

fn severity_of(number: u8) -> Result<Severity, Problem> {
    Severity::new(number).ok_or_else(|| wrong("severity", &number.to_string(), "is none of 1, 2, 3, 4"))
}

fn why(call: &Call<'_>) -> Result<(i64, String), Problem> {
    let WhyOrder { why } = call.body()?;
    Ok((call.incident()?, why))
}

fn open(call: &Call<'_>) -> Result<Reply, Problem> {
    let OpenOrder { customer, what, severity, why } = call.body()?;
    let severity = severity_of(severity)?;
    call.order(Command::Open { customer, what, severity, why }).map(Reply::created)
}

fn suspect(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Suspect { incident, why })
}

fn confirm(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Confirm { incident, why })
}

fn dismiss(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Dismiss { incident, why })
}

fn mitigate(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Mitigate { incident, why })
}

fn monitor(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Monitor { incident, why })
}

fn resolve(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Resolve { incident, why })
}

fn review(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Review { incident, why })
}

fn reopen(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Reopen { incident, why })
}

fn unfold(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Unfold { incident, why })
}

fn acknowledge(call: &Call<'_>) -> Result<Reply, Problem> {
    let (incident, why) = why(call)?;
    call.order(Command::Acknowledge { incident, why })
}

fn severity(call: &Call<'_>) -> Result<Reply, Problem> {
    let SeverityOrder { severity, why } = call.body()?;
    let severity = severity_of(severity)?;
    call.order(Command::SetSeverity { incident: call.incident()?, severity, why })
}

fn assign(call: &Call<'_>) -> Result<Reply, Problem> {
    let AssignOrder { position, person } = call.body()?;
    let names = || Position::ALL.map(Position::as_str).join(", ");
    let position =
        Position::parse(&position).ok_or_else(|| wrong("position", &position, &format!("is none of {}", names())))?;
    call.order(Command::Assign { incident: call.incident()?, position, person })
}

fn fold(call: &Call<'_>) -> Result<Reply, Problem> {
    let FoldOrder { into, why } = call.body()?;
    let into = parse_name(&into, "INC").ok_or_else(|| wrong("into", &into, "is no incident such as INC-000123"))?;
    call.order(Command::Fold { incident: call.incident()?, into, why })
}

fn findings(call: &Call<'_>) -> Result<Reply, Problem> {
    let FindingsOrder { findings, recommendations } = call.body()?;
    if findings.is_none() && recommendations.is_none() {
        return Err(Problem::Invalid(vec!["findings, recommendations: at least one is needed".to_owned()]));
    }
    call.order(Command::Findings { incident: call.incident()?, findings, recommendations })
}

fn note(call: &Call<'_>) -> Result<Reply, Problem> {
    let NoteOrder { text } = call.body()?;
    call.order(Command::Note { incident: call.incident()?, text })
}
