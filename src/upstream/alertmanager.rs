//! What Alertmanager and Prometheus post: the payload of a webhook, and the array of the Alertmanager API v2.
//!
//! Members that are not known say nothing; one alert that is none costs itself alone.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::heard::{Heard, Parsed, cut, identity, instant, line, texts};
use super::{Settings, heard};
use crate::clock::Timestamp;
use crate::limits::{UPSTREAM_ALERTS_MAX, UPSTREAM_GROUP_BYTES_MAX};

#[derive(Deserialize)]
struct Webhook {
    alerts: Vec<Value>,
    #[serde(default, rename = "truncatedAlerts")]
    left_out: Value,
}

/// The payload of a webhook. An error: it never can be read.
pub fn webhook(body: &[u8], settings: &Settings, now: Timestamp) -> Result<Parsed, String> {
    let post: Webhook = serde_json::from_slice(body).map_err(|e| format!("not the payload of a webhook: {e}"))?;
    let parsed = all(&post.alerts, settings, |alert, starts, ends| match alert.get("status").and_then(Value::as_str) {
        // One that is over has an end; it is not always told.
        Some("resolved") => Ok(Some(ends.unwrap_or(now))),
        Some("firing") => Ok(None),
        _ => over(starts, ends, now),
    });
    Ok(Parsed { left_out: post.left_out.as_u64().unwrap_or(0), ..parsed })
}

/// The array of `POST /api/v2/alerts`. An error: it never can be read.
pub fn posted(body: &[u8], settings: &Settings, now: Timestamp) -> Result<Parsed, String> {
    let alerts: Vec<Value> = serde_json::from_slice(body).map_err(|e| format!("not an array of alerts: {e}"))?;
    Ok(all(&alerts, settings, |_, starts, ends| over(starts, ends, now)))
}

/// When it was over, by its end.
fn over(starts: Option<Timestamp>, ends: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    match (starts, ends) {
        (Some(starts), Some(ends)) if ends < starts => Err("it ends before it starts".to_owned()),
        (_, ends) => Ok(ends.filter(|ends| *ends <= now)),
    }
}

type Times = (Option<Timestamp>, Option<Timestamp>);

fn all(
    alerts: &[Value],
    settings: &Settings,
    over: impl Fn(&Map<String, Value>, Option<Timestamp>, Option<Timestamp>) -> Result<Option<Timestamp>, String>,
) -> Parsed {
    let mut parsed = Parsed::default();
    for (n, alert) in alerts.iter().take(UPSTREAM_ALERTS_MAX).enumerate() {
        match one(alert, settings, |alert, (starts, ends)| over(alert, starts, ends)) {
            Ok(heard) => parsed.heard.push(heard),
            Err(why) => parsed.bad(format!("alert {}: {why}", n + 1)),
        }
    }
    if alerts.len() > UPSTREAM_ALERTS_MAX {
        parsed.bad(format!("{} alerts: only the first {UPSTREAM_ALERTS_MAX} of a post are taken", alerts.len()));
    }
    parsed
}

fn one(
    alert: &Value,
    settings: &Settings,
    over: impl Fn(&Map<String, Value>, Times) -> Result<Option<Timestamp>, String>,
) -> Result<Heard, String> {
    let alert = alert.as_object().ok_or("it is no object")?;
    let labels = alert.get("labels").and_then(Value::as_object).ok_or("it has no labels")?;
    let labels = heard::texts(labels).ok_or("a label is no text")?;
    if labels.is_empty() {
        return Err("it has no labels".to_owned());
    }
    let time = |name: &str| instant(alert.get(name)).map_err(|()| format!("`{name}` is no time of RFC 3339"));
    let (starts, ends) = (time("startsAt")?, time("endsAt")?);
    let ended = over(alert, (starts, ends))?;
    let label = |wanted: &str| labels.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let told = alert.get("annotations").and_then(Value::as_object).and_then(texts).unwrap_or_default();
    let annotation = |wanted: &str| told.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let name = label("alertname");
    let what = ["summary", "description", "message", "title"].into_iter().filter_map(annotation).chain(name);
    let own: Vec<(&str, &str)> = labels.iter().filter(|(name, _)| !settings.ignores(name)).copied().collect();
    // Where nothing else is left, what is to be ignored tells it after all.
    let (fingerprint, key) = identity(if own.is_empty() { &labels } else { &own });
    Ok(Heard {
        fingerprint,
        key,
        group: name.map(|name| cut(name, UPSTREAM_GROUP_BYTES_MAX)),
        what: line(what).unwrap_or_else(|| format!("an alert of {}", settings.name)),
        is_critical: settings.is_critical(label("severity")),
        // Without a start, an end is one.
        starts: starts.or(ended),
        ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests::settings;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn show(parsed: &Parsed) -> Vec<String> {
        let key = |h: &Heard| h.key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        let show = |h: &Heard| {
            let state = h.ended.map_or("fires".to_owned(), |at| format!("over {at}"));
            let level = if h.is_critical { "critical" } else { "warning" };
            format!("{} [{}] {level} {state}: {}", h.group.as_deref().unwrap_or("-"), key(h), h.what)
        };
        parsed.heard.iter().map(show).chain(parsed.problems.iter().cloned()).collect()
    }

    #[test]
    fn a_webhook_is_read_to_the_field_and_what_is_new_in_it_is_passed_over() {
        let body = r#"{"version":"4","groupKey":"{}:{alertname=\"DiskFull\"}","truncatedAlerts":12,"status":"firing",
            "receiver":"ringfence","groupLabels":{"alertname":"DiskFull"},"commonLabels":{},"commonAnnotations":{},
            "routeLabels":{"x":"y"},"externalURL":"http://am:9093","notification_reason":"new","alerts":[
            {"status":"firing","labels":{"severity":"page","alertname":"DiskFull","replica":"a","host":"db1","empty":""},
             "annotations":{"description":"less","summary":"disk of db1\nis full"},"startsAt":"2025-12-31T23:00:00Z",
             "endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p/","fingerprint":"0123456789abcdef"},
            {"status":"resolved","labels":{"alertname":"DiskFull","host":"db2"},"annotations":{},
             "startsAt":"2025-12-31T22:00:00Z","endsAt":"2025-12-31T23:30:00Z","generatorURL":"","fingerprint":"x"},
            {"status":"resolved","labels":{"host":"db3"}}]}"#;
        let parsed = webhook(body.as_bytes(), &settings(), NOW).unwrap();
        assert_eq!(
            show(&parsed),
            [
                "DiskFull [alertname=DiskFull,host=db1,severity=page] critical fires: disk of db1 is full",
                "DiskFull [alertname=DiskFull,host=db2] warning over 2025-12-31T23:30:00.000Z: DiskFull",
                "- [host=db3] warning over 2026-01-01T00:00:00.000Z: an alert of noc",
            ]
        );
        assert_eq!((parsed.heard[0].starts, parsed.left_out), (Some(Timestamp(1_767_222_000_000)), 12));
        // Which of two equal senders it was makes no other alert of it.
        let other = webhook(body.replace("\"replica\":\"a\"", "\"replica\":\"b\"").as_bytes(), &settings(), NOW);
        assert_eq!(other.unwrap(), parsed);
    }

    #[test]
    fn an_array_fires_until_its_end_and_bad_ones_cost_themselves_alone() {
        let body = r#"[{"labels":{"alertname":"A"}},{"labels":{"alertname":"B"},"endsAt":"2026-01-01T00:04:00Z"},
            {"labels":{"alertname":"C"},"startsAt":"2025-12-31T00:00:00Z","endsAt":"2025-12-31T01:00:00Z"},
            {"labels":{"alertname":"D"},"endsAt":"2025-12-31T01:00:00Z"},
            {},{"labels":{}},{"labels":{"a":""}},{"labels":{"a":5}},7,{"labels":{"a":"b"},"startsAt":"now"},
            {"labels":{"a":"b"},"startsAt":"2025-12-31T02:00:00Z","endsAt":"2025-12-31T01:00:00Z"}]"#;
        let parsed = posted(body.as_bytes(), &settings(), NOW).unwrap();
        assert_eq!(
            show(&parsed),
            [
                "A [alertname=A] warning fires: A",
                "B [alertname=B] warning fires: B",
                "C [alertname=C] warning over 2025-12-31T01:00:00.000Z: C",
                "D [alertname=D] warning over 2025-12-31T01:00:00.000Z: D",
                "alert 5: it has no labels",
                "alert 6: it has no labels",
                "alert 7: it has no labels",
                "alert 8: a label is no text",
                "alert 9: it is no object",
                "alert 10: `startsAt` is no time of RFC 3339",
                "alert 11: it ends before it starts",
            ]
        );
        assert_eq!(parsed.heard[3].starts, parsed.heard[3].ended);
    }

    #[test]
    fn what_is_no_post_at_all_is_refused() {
        for body in ["", "{", "[]", "[7]", "null", "{\"alerts\":5}", "{}"] {
            assert!(webhook(body.as_bytes(), &settings(), NOW).is_err(), "{body}");
        }
        for body in ["", "{}", "null", "[1", &"[".repeat(100_000)] {
            assert!(posted(body.as_bytes(), &settings(), NOW).is_err(), "{body}");
        }
        assert_eq!(posted(b"[]", &settings(), NOW), Ok(Parsed::default()));
    }

    #[test]
    fn more_alerts_than_a_post_may_hold_are_said_to_be_left() {
        let alert = r#"{"labels":{"alertname":"A"}},"#.repeat(UPSTREAM_ALERTS_MAX);
        let parsed = posted(format!("[{alert}7]").as_bytes(), &settings(), NOW).unwrap();
        assert_eq!((parsed.heard.len(), parsed.problems.len()), (UPSTREAM_ALERTS_MAX, 1));
    }
}
