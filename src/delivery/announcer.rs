//! Which announcements callers hear now: of every open incident the message that is released and that its customer's file
//! wants announced.

use crate::acd::Announcement;
use crate::incident::{Incident, Message};
use crate::kit::Kind;
use crate::store::{DeliveryQuery, Store, StoreError, SubjectKind, SubjectQuery};

use super::route::ACD;

/// The whole set. An incident that is over is announced no more, whatever was said of it last.
pub(super) fn all(store: &Store) -> Result<Vec<Announcement>, StoreError> {
    let mut query = SubjectQuery { open_only: true, state: Some("released".to_owned()), ..SubjectQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = store.subjects(SubjectKind::Message, &query)?;
        for row in &page.rows {
            let Ok(message) = serde_json::from_str::<Message>(&row.body) else { continue };
            if is_announced(&message, store)? {
                found.extend(Announcement::of(&message));
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
    }
}

fn is_announced(message: &Message, store: &Store) -> Result<bool, StoreError> {
    if Kind::parse(&message.kit).is_none_or(|kind| matches!(kind, Kind::Resolved | Kind::FalseAlarm | Kind::Review)) {
        return Ok(false);
    }
    let Some(incident) = store.subject(SubjectKind::Incident, message.incident)? else { return Ok(false) };
    let is_open = serde_json::from_str::<Incident>(&incident.body).is_ok_and(|incident| incident.state.is_open());
    let wanted =
        DeliveryQuery { message: Some(message.id), channel: Some(ACD.to_owned()), rows: 1, ..Default::default() };
    Ok(is_open && !store.deliveries(&wanted)?.rows.is_empty())
}
