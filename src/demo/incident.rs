//! What becomes of the attacks: the gravest incident, from its first look to the notice that its customer reads.
//!
//! Two people are played: one who drafts and one who checks, since at this severity nobody checks their own text. They do
//! it through the desk, as the API does.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::site::Site;
use super::story::Story;
use crate::clock::{Clock, Timestamp};
use crate::incident::{
    Actor, Answer, Command, Given, Incident, IncidentState, Message, Role, Roles, incident_name, message_name,
};
use crate::store::{SubjectKind, SubjectQuery};

/// How long the desk may take to make incidents of what was found.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When the customer hears more.
const NEXT_UPDATE_MS: i64 = 30 * 60_000;

/// Tells of the incidents and takes the gravest to its notice.
pub(super) fn tell(site: &Site, story: &mut Story<'_>) -> Result<()> {
    let incidents = incidents(site)?;
    story.say("");
    story.heading("What was found is folded into incidents; somebody looks at the gravest.");
    for incident in &incidents {
        let (name, severity, state) = (incident_name(incident.id), incident.severity, incident.state.as_str());
        let (n, word) = (incident.violations, severity.word());
        story.say(&format!(
            "  {name}  severity {} ({word}), {state:<9}  {n:>2} violations  {}",
            severity.number(),
            incident.what
        ));
    }
    let gravest = incidents.first().context("the attacks made no incident")?;
    let name = incident_name(gravest.id);
    story.say("");
    let (rita, carl) = (person("rita", Role::Responder), person("carl", Role::Commander));
    let id = gravest.id;
    order(site, &rita, Command::Confirm { incident: id, why: "the calls are in the log".to_owned() })?;
    story.say(&format!("rita   confirms {name}"));
    let found = site.drafter()?.draft(gravest, Clock.now())?;
    let (findings, recommendations) = (found.findings(), found.recommendations());
    let both = (Some(findings.clone()), Some(recommendations.clone()));
    order(site, &rita, Command::Findings { incident: id, findings: both.0, recommendations: both.1 })?;
    story.say("rita   has the findings drafted from the calls:");
    quote(&findings, story);
    story.say("\n  and what to do:");
    quote(&recommendations, story);
    story.say("");
    let mut given = Given { next_update: Some(Clock.now().plus_ms(NEXT_UPDATE_MS)), ..Given::default() };
    let scope = format!("{} calls since {}, {} of them turned away", found.calls, clock(gravest.first), found.blocked);
    given.texts.insert("scope".to_owned(), scope);
    let drafted = order(site, &rita, Command::Draft { incident: id, kit: "confirmed".to_owned(), given })?;
    let message = message(site, drafted.message.context("a draft has a number")?)?;
    let short: String = message.hash.chars().take(8).collect();
    story.say(&format!(
        "rita   drafts {} from the kit `confirmed`: four forms, one hash, {short}",
        message_name(message.id)
    ));
    order(site, &carl, Command::Check { message: message.id, hash: message.hash.clone() })?;
    story.say(&format!("carl   reads it and checks {short}; rita could not have: she wrote it"));
    order(site, &carl, Command::Release { message: message.id, hash: message.hash.clone() })?;
    story.say("carl   releases it; this goes out:");
    show(&message, story);
    Ok(())
}

/// The gravest first, of those the one with the most violations.
fn incidents(site: &Site) -> Result<Vec<Incident>> {
    let (desk, store) = site.desk()?;
    let until = Clock.monotonic() + PATIENCE;
    loop {
        let is_idle = desk.is_idle();
        let rows = store.subjects(SubjectKind::Incident, &SubjectQuery::default())?.rows;
        let mut found: Vec<Incident> = rows.iter().filter_map(|row| serde_json::from_str(&row.body).ok()).collect();
        if is_idle && !found.is_empty() {
            found.retain(|incident| incident.state != IncidentState::Dismissed);
            found.sort_by_key(|incident| (incident.severity, std::cmp::Reverse(incident.violations), incident.id));
            return Ok(found);
        }
        if Clock.monotonic() >= until {
            bail!("no incident was made of what was found");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn order(site: &Site, by: &Actor, command: Command) -> Result<Answer> {
    let what = command.name();
    site.desk()?.0.order(by.clone(), command).with_context(|| format!("{} could not {what}", by.name))
}

fn message(site: &Site, id: i64) -> Result<Message> {
    let row = site.desk()?.1.subject(SubjectKind::Message, id)?.context("the draft is on record")?;
    serde_json::from_str(&row.body).context("the draft can be read")
}

fn show(message: &Message, story: &mut Story<'_>) {
    let forms = &message.forms;
    let mail = format!("Subject: {}\n\n{}", forms.mail_subject, forms.mail);
    for (name, text) in [("mail", mail.as_str()), ("SMS", &forms.sms), ("portal", &forms.portal), ("ACD", &forms.acd)] {
        story.say(&format!("\n  {name}"));
        quote(text, story);
    }
}

fn quote(text: &str, story: &mut Story<'_>) {
    text.trim_end().lines().for_each(|line| story.say(&format!("  | {line}")));
}

fn person(name: &str, role: Role) -> Actor {
    Actor { name: name.to_owned(), roles: Roles::new([role]), from: "local".to_owned() }
}

fn clock(at: Timestamp) -> String {
    format!("{} UTC", at.to_string().get(11..16).unwrap_or_default())
}
