//! A row of the store as a parcel.

use super::Parcel;
use crate::incident::{About, Message, Purpose, delivery_name, incident_name, message_name, words};
use crate::store::DeliveryRow;

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
