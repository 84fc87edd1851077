//! Several notices in one, for an address that got too many in a short time.

use super::limit;
use super::route::SMS;
use crate::clock::Timestamp;
use crate::incident::{About, Purpose, incident_name, message_name};
use crate::store::{DeliveryRow, NewDelivery, Store, StoreError};

/// How long a digest is worth sending.
const DIGEST_MS: i64 = 24 * 3_600_000;

/// The digest a delivery goes out with, where it may not go by itself now. `n_sending`: what the address is being handed
/// at this moment.
pub(super) fn instead(
    row: &DeliveryRow,
    n_sending: usize,
    store: &Store,
    now: Timestamp,
) -> Result<Option<NewDelivery>, StoreError> {
    let Some(reach_ms) = limit::reach_ms(&row.channel) else { return Ok(None) };
    if row.severity < limit::SEVERITY_MIN {
        return Ok(None);
    }
    let Ok(about) = serde_json::from_str::<About>(&row.body) else { return Ok(None) };
    if about.purpose != Purpose::Notice {
        return Ok(None);
    }
    let mut handed = store.handed_since(&row.channel, &row.address, now.plus_ms(-reach_ms))?;
    handed.extend(std::iter::repeat_n(now, n_sending));
    let Some(mut due) = limit::next(&row.channel, &handed, now) else { return Ok(None) };
    let address = row.address.to_lowercase();
    let mut once = format!("digest/{}/{address}/{}", row.channel, due.0);
    if let Some(waiting) = store.digest_for(&row.channel, &row.address)? {
        // One digest holds all of it.
        (due, once) = (waiting.due, waiting.once);
    }
    let about = About {
        purpose: Purpose::Digest,
        kit: "digest".to_owned(),
        is_end: false,
        subject: "Notices that were held back".to_owned(),
        ..about
    };
    Ok(Some(NewDelivery {
        once,
        customer: row.customer.clone(),
        incident: None,
        message: None,
        severity: row.severity,
        channel: row.channel.clone(),
        address: row.address.clone(),
        person: row.person.clone(),
        is_contact: false,
        body: serde_json::to_string(&about).expect("texts always serialise"),
        queued: now,
        due,
        valid_until: due.plus_ms(DIGEST_MS),
        why: limit::reason(&row.channel).to_owned(),
    }))
}

/// Between why a delivery was held back and the digest it goes out with.
const GOES_WITH: &str = ": goes out with ";

/// What is written of a delivery that goes out with a digest.
pub(super) fn reason(row: &DeliveryRow, digest: &NewDelivery) -> String {
    format!("{}{GOES_WITH}{}", limit::reason(&row.channel), digest.once)
}

/// Why it was held back, where it goes out with a digest; what was stopped for another reason goes out no more.
pub(super) fn held_why(row: &DeliveryRow) -> Option<&str> {
    let (why, _) = row.reason.split_once(GOES_WITH)?;
    (row.state == "suppressed").then_some(why)
}

/// What goes out with a digest.
pub(super) fn held(digest: &DeliveryRow, store: &Store) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut held = store.deliveries_held(&digest.channel, &digest.address)?;
    held.retain(|row| row.reason.ends_with(&digest.once));
    Ok(held)
}

/// What a digest says: the newest notice of each incident that was held back for it.
pub(super) fn text(digest: &DeliveryRow, store: &Store) -> Result<String, StoreError> {
    let mut lines: Vec<String> = Vec::new();
    let mut incidents: Vec<i64> = Vec::new();
    for row in &held(digest, store)? {
        let (Some(incident), Some(message)) = (row.incident, row.message) else { continue };
        if incidents.contains(&incident) {
            continue;
        }
        incidents.push(incident);
        let kit = serde_json::from_str::<About>(&row.body).map(|about| about.kit).unwrap_or_default();
        lines.push(match digest.channel.as_str() {
            SMS => format!("{} {kit}", incident_name(incident)),
            _ => format!("{}, severity {}: {kit} ({})", incident_name(incident), row.severity, message_name(message)),
        });
    }
    let n = lines.len();
    Ok(match digest.channel.as_str() {
        SMS => {
            const ROOM: usize = 5;
            let more = if n > ROOM { format!(" and {} more", n - ROOM) } else { String::new() };
            format!(
                "{n} incidents have news: {}{more}. Details by mail or on the portal.",
                lines.get(..n.min(ROOM)).unwrap_or_default().join(", ")
            )
        }
        _ => format!("So many notices came in a short time that these were held back:\n\n{}\n", lines.join("\n")),
    })
}
