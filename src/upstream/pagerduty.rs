//! Events as the PagerDuty Events API v2 takes them.

use serde::Deserialize;

use super::Settings;
use super::heard::{Heard, cut, hash, identity, line};
use crate::clock::Timestamp;
use crate::limits::UPSTREAM_GROUP_BYTES_MAX;

/// Of all that an event may have, what says something here.
#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    routing_key: Option<String>,
    #[serde(default)]
    event_action: Option<String>,
    #[serde(default)]
    dedup_key: Option<String>,
    #[serde(default)]
    payload: Option<Payload>,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    severity: Option<String>,
}

/// An event that can be read, whoever sent it.
pub struct Event {
    pub routing_key: String,
    action: Action,
    dedup_key: String,
    summary: String,
    severity: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Trigger,
    /// Somebody looks after it elsewhere: noted, and changes nothing.
    Acknowledge,
    Resolve,
}

/// Reads an event. Errors: it never can be read, for these reasons.
pub fn event(body: &[u8]) -> Result<Event, Vec<String>> {
    let posted: Posted = serde_json::from_slice(body).map_err(|e| vec![format!("not an event: {e}")])?;
    let mut problems = Vec::new();
    let mut need = |is_there: bool, why: &str| {
        if !is_there {
            problems.push(why.to_owned());
        }
    };
    let action = match posted.event_action.as_deref() {
        Some("trigger") => Some(Action::Trigger),
        Some("acknowledge") => Some(Action::Acknowledge),
        Some("resolve") => Some(Action::Resolve),
        _ => None,
    };
    need(action.is_some(), "'event_action' is missing or invalid");
    let has_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    need(has_text(&posted.routing_key), "'routing_key' is missing or blank");
    let payload = posted.payload.as_ref();
    if action == Some(Action::Trigger) {
        need(payload.is_some_and(|p| has_text(&p.summary)), "'payload.summary' is missing or blank");
    } else if action.is_some() {
        need(has_text(&posted.dedup_key), "'dedup_key' is missing or blank");
    }
    let (Some(action), Some(routing_key), true) = (action, posted.routing_key, problems.is_empty()) else {
        return Err(problems);
    };
    // The same event posted again because it was not answered is the same alert.
    let made = || hash([&*String::from_utf8_lossy(body)]);
    let Payload { summary, source, severity } = posted.payload.unwrap_or_default();
    let summary = summary.unwrap_or_default();
    Ok(Event {
        routing_key,
        action,
        dedup_key: posted.dedup_key.filter(|key| !key.trim().is_empty()).unwrap_or_else(made),
        summary: source
            .filter(|s| !s.is_empty() && !summary.contains(s))
            .map_or(summary.clone(), |source| format!("{summary} ({source})")),
        severity,
    })
}

impl Event {
    /// By which its end is told later.
    pub fn dedup_key(&self) -> &str {
        &self.dedup_key
    }

    /// What became of the alert; none where nothing did.
    pub fn heard(&self, settings: &Settings, now: Timestamp) -> Option<Heard> {
        let (fingerprint, key) = identity(&[("dedup_key", &self.dedup_key)]);
        Some(Heard {
            fingerprint,
            key,
            group: Some(cut(&self.dedup_key, UPSTREAM_GROUP_BYTES_MAX)),
            what: line([&*self.summary, &*self.dedup_key]).unwrap_or_else(|| format!("an event of {}", settings.name)),
            is_critical: settings.is_critical(self.severity.as_deref()),
            // The time of an event is not that of the alert: every repeat has its own.
            starts: None,
            ended: match self.action {
                Action::Trigger => None,
                Action::Acknowledge => return None,
                Action::Resolve => Some(now),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests::settings;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    #[test]
    fn an_event_is_read_and_what_says_nothing_here_is_passed_over() {
        let body = r#"{"routing_key":"s3cret","event_action":"trigger","dedup_key":"srv/42","client":"Nagios",
            "links":[{"href":"http://x"}],"images":5,"payload":{"summary":"Disk is full","source":"db1","severity":"error",
            "timestamp":12,"component":"c","group":"g","class":"k","custom_details":{"a":[1,{}]}}}"#;
        let read = event(body.as_bytes()).unwrap();
        assert_eq!((read.routing_key.as_str(), read.dedup_key()), ("s3cret", "srv/42"));
        let heard = read.heard(&settings(), NOW).unwrap();
        assert_eq!((heard.what.as_str(), heard.is_critical, heard.ended), ("Disk is full (db1)", true, None));
        assert_eq!(heard.key, [("dedup_key".to_owned(), "srv/42".to_owned())]);
        assert_eq!(heard.group.as_deref(), Some("srv/42"));
        let over = event(br#"{"routing_key":"s3cret","event_action":"resolve","dedup_key":"srv/42"}"#).unwrap();
        let over = over.heard(&settings(), NOW).unwrap();
        assert_eq!((over.fingerprint, over.ended), (heard.fingerprint, Some(NOW)));
        let seen = event(br#"{"routing_key":"s3cret","event_action":"acknowledge","dedup_key":"srv/42"}"#).unwrap();
        assert_eq!(seen.heard(&settings(), NOW), None);
    }

    #[test]
    fn an_event_without_a_key_gets_one_that_is_the_same_when_it_is_posted_again() {
        let body =
            |text: &str| format!(r#"{{"routing_key":"x","event_action":"trigger","payload":{{"summary":"{text}"}}}}"#);
        let key = |text: &str| event(body(text).as_bytes()).unwrap().dedup_key().to_owned();
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn what_is_missing_is_said_all_at_once() {
        let problems = |body: &str| event(body.as_bytes()).err().unwrap();
        assert_eq!(problems("{}").len(), 2);
        assert_eq!(
            problems(r#"{"routing_key":"x","event_action":"trigger"}"#),
            ["'payload.summary' is missing or blank"]
        );
        assert_eq!(problems(r#"{"routing_key":"x","event_action":"resolve"}"#), ["'dedup_key' is missing or blank"]);
        assert!(problems("7")[0].starts_with("not an event"));
        assert!(problems(r#"{"routing_key":5}"#)[0].starts_with("not an event"));
    }
}
