//! What holds of any post of another program: asked by tests and by the fuzz targets alike.

use super::{Heard, Parsed, Settings, alertmanager, pagerduty};
use crate::clock::Timestamp;
use crate::limits::{
    UPSTREAM_ALERTS_MAX, UPSTREAM_GROUP_BYTES_MAX, UPSTREAM_LABEL_BYTES_MAX, UPSTREAM_LABELS_MAX,
    UPSTREAM_NAME_BYTES_MAX, UPSTREAM_PROBLEMS_MAX, UPSTREAM_WHAT_CHARS_MAX,
};
use crate::notify::Secret;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn settings() -> Settings {
    Settings {
        name: "noc".to_owned(),
        customer: "acme".to_owned(),
        token: Secret("s3cret".to_owned()),
        critical: vec!["critical".to_owned(), "page".to_owned()],
        ignored_labels: vec!["replica".to_owned()],
    }
}

/// Any bytes are alerts within bounds, or are refused with reasons; read again they are the same.
pub fn a_post_of_alerts_is_read_or_refused(bytes: &[u8]) {
    for read in [alertmanager::webhook, alertmanager::posted] {
        let parsed = read(bytes, &settings(), NOW);
        assert_eq!(parsed, read(bytes, &settings(), NOW));
        let Ok(Parsed { heard, problems, .. }) = parsed else { continue };
        assert!(heard.len() <= UPSTREAM_ALERTS_MAX && problems.len() <= UPSTREAM_PROBLEMS_MAX);
        heard.iter().for_each(is_within_bounds);
    }
}

/// Any bytes are an event within bounds, or are refused with reasons.
pub fn an_event_is_read_or_refused(bytes: &[u8]) {
    match pagerduty::event(bytes) {
        Ok(event) => event.heard(&settings(), NOW).iter().for_each(is_within_bounds),
        Err(problems) => assert!(!problems.is_empty()),
    }
}

fn is_within_bounds(heard: &Heard) {
    let is_line = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    assert!(is_line(&heard.what) && heard.what.chars().count() <= UPSTREAM_WHAT_CHARS_MAX, "{heard:?}");
    assert!(heard.group.as_ref().is_none_or(|group| group.len() <= UPSTREAM_GROUP_BYTES_MAX), "{heard:?}");
    assert!((1..=UPSTREAM_LABELS_MAX + 1).contains(&heard.key.len()), "{heard:?}");
    for (name, value) in &heard.key {
        assert!(name.len() <= UPSTREAM_NAME_BYTES_MAX && value.len() <= UPSTREAM_LABEL_BYTES_MAX, "{heard:?}");
        assert!(!value.is_empty() && !value.chars().any(char::is_control), "{heard:?}");
    }
    assert_eq!(heard.fingerprint.len(), 32);
}
