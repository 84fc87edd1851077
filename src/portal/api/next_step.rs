//! What is to be done next about an incident, by whom and until when: so that nobody has to know the tables by heart.

use super::wire::NextStep;
use crate::customer::CommandChain;
use crate::incident::{Incident, IncidentState, Message, MessageState, NotifyClock, incident_name, message_name};

/// `messages`: those of the incident, or none where they were not looked up.
pub(super) fn next_step(
    incident: &Incident,
    clock: Option<&NotifyClock>,
    messages: &[Message],
    command: &CommandChain,
) -> Option<NextStep> {
    let due = clock.filter(|clock| clock.state.is_open()).map(|clock| clock.commit.to_string());
    let step = |what: String, who: Vec<String>| Some(NextStep { what, who, due: due.clone() });
    let responder = || incident.responders.first().cloned().map_or_else(|| vec!["a responder".to_owned()], |r| vec![r]);
    if incident.state.is_open()
        && let Some((what, who)) = messages.iter().rev().find_map(|message| of_message(message, incident, command))
    {
        return step(what, who);
    }
    match incident.state {
        IncidentState::Candidate | IncidentState::Suspected if incident.asked_since.is_some() => {
            step("confirm or dismiss it, and tell the customer".to_owned(), asked(incident, command))
        }
        IncidentState::Candidate | IncidentState::Suspected => step("confirm or dismiss it".to_owned(), responder()),
        IncidentState::Confirmed if !incident.is_notified() => {
            step("draft a notice to the customer: kit `confirmed`".to_owned(), responder())
        }
        IncidentState::Confirmed => step("mitigate it".to_owned(), responder()),
        IncidentState::Mitigating => step("once it is mitigated, monitor it".to_owned(), responder()),
        IncidentState::Monitoring if incident.is_notified() && (is_blank(incident)) => {
            step("write the findings and recommendations, then resolve it".to_owned(), responder())
        }
        IncidentState::Monitoring => step("once it stays quiet, resolve it".to_owned(), responder()),
        IncidentState::Resolved => step("review it".to_owned(), commanders(incident, command)),
        IncidentState::Merged => {
            let whole = incident.merged_into.map(incident_name).unwrap_or_default();
            step(format!("goes on as {whole}"), Vec::new())
        }
        IncidentState::Dismissed | IncidentState::Reviewed => None,
    }
}

fn is_blank(incident: &Incident) -> bool {
    let is_blank = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().is_empty());
    is_blank(&incident.findings) || is_blank(&incident.recommendations)
}

fn of_message(message: &Message, incident: &Incident, command: &CommandChain) -> Option<(String, Vec<String>)> {
    let name = message_name(message.id);
    match message.state {
        MessageState::Drafted if message.severity.is_grave() => {
            let mut who = asked(incident, command);
            who.retain(|person| *person != message.author);
            Some((format!("check {name}, which {} wrote", message.author), who))
        }
        MessageState::Drafted => Some((format!("check {name}"), vec!["a responder or commander".to_owned()])),
        MessageState::Checked => Some((format!("release {name}"), commanders(incident, command))),
        MessageState::Returned => Some((format!("redraft {name}, which came back"), vec![message.author.clone()])),
        MessageState::Released | MessageState::Superseded | MessageState::Withdrawn => None,
    }
}

fn commanders(incident: &Incident, command: &CommandChain) -> Vec<String> {
    match &incident.commander {
        Some(commander) => vec![commander.clone()],
        None if command.commanders.is_empty() => vec!["a commander".to_owned()],
        None => command.commanders.clone(),
    }
}

/// Whose turn it is while a notice waits: the deputy's, then the manager's, where nobody answers.
fn asked(incident: &Incident, command: &CommandChain) -> Vec<String> {
    let chain = match incident.asked {
        0 | 1 => return commanders(incident, command),
        2 => &command.deputies,
        _ => &command.managers,
    };
    if chain.is_empty() { commanders(incident, command) } else { chain.clone() }
}
