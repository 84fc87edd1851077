//! A row of the store as a parcel.

use super::{Parcel, digest};
use crate::incident::{About, Message, Purpose, delivery_name, incident_name, message_name, words};
use crate::store::{DeliveryRow, Store, StoreError, SubjectKind};

/// Subject and text of a delivery as it goes out, or would go out now.
pub fn says(row: &DeliveryRow, about: &About, store: &Store) -> Result<(String, String), StoreError> {
    let message = match row.message {
        Some(id) => store.subject(SubjectKind::Message, id)?,
        None => None,
    };
    let message = message.and_then(|row| serde_json::from_str::<Message>(&row.body).ok());
    let parcel = parcel(row, about, message.as_ref(), None);
    let text = if about.purpose == Purpose::Digest { digest::text(row, store)? } else { parcel.text };
    Ok((parcel.subject, text))
}

pub(super) fn parcel(row: &DeliveryRow, about: &About, message: Option<&Message>, link: Option<String>) -> Parcel {
    let (subject, text) = match message.filter(|_| about.purpose == Purpose::Notice) {
        Some(message) => words(message, &row.channel),
        None => (about.subject.clone(), about.text.clone()),
    };
    Parcel {
        name: delivery_name(row.id),
        customer: row.customer.clone(),
        incident: row.incident.map(incident_name).unwrap_or_default(),
        message: row.message.map(message_name),
        kit: about.kit.clone(),
        severity: row.severity,
        is_end: about.is_end,
        person: about.person.clone(),
        address: row.address.clone(),
        subject,
        text,
        link,
        queued: row.queued,
        valid_until: row.valid_until,
    }
}
