//! Incidents as events of PagerDuty, Events API v2.
//!
//! Everything of one incident has one key, so that whatever comes twice folds into the same alert there, and the end of it
//! resolves it. What was not answered may therefore be sent again.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Found, Outcome, Parcel};
use crate::limits::{PAGERDUTY_KEY_CHARS_MAX, PAGERDUTY_SUMMARY_CHARS_MAX, PAGERDUTY_TEXT_CHARS_MAX};
use crate::outbound::{Answer, Client, Endpoint, Request, Secret};

/// `[pagerduty]`
#[derive(Clone, Debug)]
pub struct Settings {
    pub endpoint: Endpoint,
    /// Of an integration of the kind "Events API v2".
    pub routing_key: Secret,
    /// Tells this installation from others that use the same key.
    pub installation: String,
}

#[derive(Debug)]
pub struct PagerDuty {
    settings: Settings,
    client: Client,
}

impl PagerDuty {
    pub fn new(settings: Settings) -> Result<PagerDuty, String> {
        let client = Client::new(&settings.endpoint)?;
        Ok(PagerDuty { settings, client })
    }

    pub async fn send(&self, parcel: &Parcel) -> Outcome {
        let body = self.event(parcel).to_string();
        let request = Request::post(self.client.url().clone(), "application/json", body);
        match self.client.ask(request).await {
            Answer::Answered { status, head, .. } => {
                self.judge(status, self.client.said(status, &head, &[&self.settings.routing_key.0]), parcel)
            }
            Answer::NotSent(why) => Outcome::Later(why),
            Answer::Unanswered(why) => Outcome::Unknown(why),
        }
    }

    /// It cannot be asked with this key and need not be: the same event twice is one.
    pub async fn find(&self, _: &Parcel) -> Found {
        Found::Absent
    }

    fn event(&self, parcel: &Parcel) -> Value {
        let (routing_key, dedup_key) = (&self.settings.routing_key.0, self.key(parcel));
        if parcel.is_end {
            return json!({ "routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup_key });
        }
        let line = [parcel.subject.trim(), parcel.text.trim()].into_iter().find(|text| !text.is_empty());
        let mut event = json!({
            "routing_key": routing_key,
            "event_action": "trigger",
            "dedup_key": dedup_key,
            "client": "Ringfence",
            "payload": {
                "summary": cut(line.unwrap_or(&parcel.incident), PAGERDUTY_SUMMARY_CHARS_MAX),
                "source": self.settings.installation,
                "severity": severity(parcel.severity),
                "timestamp": parcel.queued.to_string(),
                "component": parcel.incident,
                "group": parcel.customer,
                "class": parcel.kit,
                "custom_details": {
                    "incident": parcel.incident,
                    "delivery": parcel.name,
                    "message": parcel.message,
                    "customer": parcel.customer,
                    "severity": parcel.severity,
                    "text": cut(&parcel.text, PAGERDUTY_TEXT_CHARS_MAX),
                },
            },
        });
        if let (Some(link), Some(members)) = (&parcel.link, event.as_object_mut()) {
            members.insert("client_url".into(), json!(link));
            members.insert("links".into(), json!([{ "href": link, "text": "Look after it" }]));
        }
        event
    }

    fn key(&self, parcel: &Parcel) -> String {
        cut(&format!("{}/{}", self.settings.installation, parcel.incident), PAGERDUTY_KEY_CHARS_MAX)
    }

    fn judge(&self, status: StatusCode, said: String, parcel: &Parcel) -> Outcome {
        match status.as_u16() {
            202 => Outcome::Handed { receipt: self.key(parcel) },
            200..=299 => Outcome::Unknown(format!("{said}: PagerDuty does not say yes like this")),
            300..=399 => Outcome::Later(format!("{said}: it points elsewhere, and no redirect is followed")),
            // Whoever answers so is not PagerDuty, or stands before it: nothing was taken.
            401 | 403 | 404 | 405 | 407 | 408 | 425 | 429 | 500..=599 => Outcome::Later(said),
            _ => Outcome::Never(said),
        }
    }
}

fn severity(severity: u8) -> &'static str {
    match severity {
        0 | 1 => "critical",
        2 => "error",
        3 => "warning",
        _ => "info",
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max - 1).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::sms::tests::parcel;
    use crate::outbound::scripted::{Scripted, Turn, endpoint};

    fn pagerduty(endpoint: Endpoint) -> PagerDuty {
        let routing_key = Secret("0123456789abcdef0123456789abcdef".into());
        PagerDuty::new(Settings { endpoint, routing_key, installation: "ringfence-1".into() }).unwrap()
    }

    #[tokio::test]
    async fn a_trigger_and_its_end_have_one_key() {
        let server = Scripted::start(vec![Turn::answer("202 Accepted", "", r#"{"status":"success"}"#)]).await;
        let pagerduty = pagerduty(server.endpoint("/v2/enqueue"));
        let mut parcel = parcel("Calls to +8811 are blocked");
        let handed = Outcome::Handed { receipt: "ringfence-1/INC-000001".into() };
        assert_eq!(pagerduty.send(&parcel).await, handed);
        parcel.is_end = true;
        assert_eq!(pagerduty.send(&parcel).await, handed);
        let events: Vec<Value> = server
            .requests()
            .iter()
            .map(|r| serde_json::from_str(r.split_once("\r\n\r\n").unwrap().1).unwrap())
            .collect();
        assert_eq!(events[0]["event_action"], "trigger");
        assert_eq!(events[0]["payload"]["severity"], "critical");
        assert_eq!(events[1]["event_action"], "resolve");
        assert_eq!(events[0]["dedup_key"], events[1]["dedup_key"]);
    }

    #[tokio::test]
    async fn the_key_is_in_no_error() {
        let echo = r#"{"errors":["routing_key 0123456789abcdef0123456789abcdef is not known"]}"#;
        let server = Scripted::start(vec![Turn::answer("400 Bad", "", echo)]).await;
        let outcome = pagerduty(server.endpoint("/v2/enqueue")).send(&parcel("x")).await;
        assert!(
            matches!(&outcome, Outcome::Never(why) if why.contains("not known") && !why.contains("0123")),
            "{outcome:?}"
        );
    }

    #[test]
    fn an_event_keeps_to_the_bounds_of_pagerduty() {
        let pagerduty = pagerduty(endpoint("http://127.0.0.1:1/"));
        let mut parcel = parcel(&"å".repeat(1 << 20));
        parcel.subject = "ü".repeat(5000);
        parcel.incident = "INC-".repeat(100);
        let event = pagerduty.event(&parcel);
        let chars = |value: &Value| value.as_str().unwrap().chars().count();
        assert_eq!(chars(&event["payload"]["summary"]), PAGERDUTY_SUMMARY_CHARS_MAX);
        assert_eq!(chars(&event["dedup_key"]), PAGERDUTY_KEY_CHARS_MAX);
        assert!(event.to_string().len() < 512 * 1024);
        for (ours, theirs) in [(1, "critical"), (2, "error"), (3, "warning"), (4, "info")] {
            parcel.severity = ours;
            assert_eq!(pagerduty.event(&parcel)["payload"]["severity"], theirs);
        }
    }

    #[test]
    fn only_an_event_that_is_wrong_is_never_sent_again() {
        let pagerduty = pagerduty(endpoint("http://127.0.0.1:1/"));
        let judged = |status: u16| {
            pagerduty.judge(StatusCode::from_u16(status).unwrap(), format!("HTTP {status}"), &parcel("x"))
        };
        assert!(matches!(judged(202), Outcome::Handed { .. }));
        assert!(matches!(judged(400), Outcome::Never(_)));
        assert!(matches!(judged(200), Outcome::Unknown(_)));
        for status in [302, 403, 429, 500, 502, 503] {
            assert!(matches!(judged(status), Outcome::Later(_)), "{status}");
        }
    }
}
