//! Another way to tell somebody who must know now: from mail to a text message, from there to a telephone call that a
//! person makes.

use super::route::{CALL_SHEET, MAIL, SMS};
use crate::clock::Timestamp;
use crate::customer::Customers;
use crate::incident::{About, Purpose};
use crate::store::{DeliveryRow, NewDelivery, Store, StoreError};

/// Severities up to this one go another way at once.
pub(super) const SEVERITY_MAX: u8 = 2;

/// What is to be queued instead of a delivery that does not get through; `None` where nothing is, or need be.
pub(super) fn instead(
    row: &DeliveryRow,
    why: &str,
    customers: &Customers,
    store: &Store,
    now: Timestamp,
) -> Result<Option<NewDelivery>, StoreError> {
    let is_personal = matches!(row.channel.as_str(), MAIL | SMS);
    if row.severity > SEVERITY_MAX || row.fell_back || !is_personal {
        return Ok(None);
    }
    let Ok(about) = serde_json::from_str::<About>(&row.body) else { return Ok(None) };
    if about.purpose == Purpose::Digest || row.message.is_some() && store.is_told_otherwise(row)? {
        return Ok(None);
    }
    let number = number(row, &about, customers);
    let (channel, address) = match (row.channel.as_str(), number) {
        (MAIL, Some(number)) => (SMS, number),
        (_, Some(number)) => (CALL_SHEET, number),
        // Nobody wrote down a number: whoever makes the calls may know one.
        (_, None) => (CALL_SHEET, about.person.clone()),
    };
    let name = crate::incident::delivery_name(row.id);
    let why = format!("instead of {name} by {}: {why}", row.channel);
    let about = About { instead_of: Some(row.id), ..about };
    Ok(Some(NewDelivery {
        once: crate::incident::once(purpose_of(row), channel, &address),
        customer: row.customer.clone(),
        incident: row.incident,
        message: row.message,
        severity: row.severity,
        channel: channel.to_owned(),
        address,
        person: row.person.clone(),
        is_contact: row.is_contact,
        body: serde_json::to_string(&about).expect("texts always serialise"),
        queued: now,
        due: now,
        valid_until: row.valid_until,
        why,
    }))
}

/// What must not be done twice, without the way it is done.
fn purpose_of(row: &DeliveryRow) -> &str {
    let way = row.channel.len() + row.address.len() + 2;
    row.once.len().checked_sub(way).and_then(|end| row.once.get(..end)).unwrap_or(&row.once)
}

fn number(row: &DeliveryRow, about: &About, customers: &Customers) -> Option<String> {
    if row.channel == SMS {
        return Some(row.address.clone());
    }
    let customer = customers.of(&row.customer);
    match customer.contact(&about.contact) {
        Some(contact) => contact.mobile.clone(),
        None => customer.escalation.as_ref().filter(|e| e.name == about.person)?.phone.clone(),
    }
}
