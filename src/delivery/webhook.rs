//! Notices as JSON to a URL, one POST each, signed where the webhook has a secret.
//!
//! The receiver tells repeats by `X-Ringfence-Delivery`, which stays the same however often a delivery is tried. So what
//! was not answered may simply be sent again.

use hyper::StatusCode;
use serde::Serialize;

use super::{Found, Outcome, Parcel};
use crate::clock::{Clock, Timestamp};
use crate::notify::WebhookSettings;
use crate::outbound::{Answer, Client, Request, Secret, sign};

/// One `[webhook.NAME]`.
#[derive(Debug)]
pub struct Webhook {
    name: String,
    client: Client,
    secret: Option<Secret>,
}

/// What it is told. Members are added, none is taken away.
#[derive(Serialize)]
struct Body<'a> {
    delivery: &'a str,
    incident: &'a str,
    message: Option<&'a str>,
    customer: &'a str,
    severity: u8,
    kit: &'a str,
    is_end: bool,
    person: &'a str,
    subject: &'a str,
    text: &'a str,
    link: Option<&'a str>,
    queued: Timestamp,
}

impl Webhook {
    pub fn new(name: &str, settings: &WebhookSettings) -> Result<Webhook, String> {
        let client = Client::new(&settings.endpoint)?;
        Ok(Webhook { name: name.to_owned(), client, secret: settings.secret.clone() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn send(&self, parcel: &Parcel) -> Outcome {
        let body = match serde_json::to_vec(&Body::of(parcel)) {
            Ok(body) => body,
            Err(e) => return Outcome::Never(e.to_string()),
        };
        let mut request = Request::post(self.client.url().clone(), "application/json", body);
        sign(&mut request.headers, &parcel.name, Clock.now(), &request.body, self.secret.as_ref());
        match self.client.ask(request).await {
            Answer::Answered { status, head, .. } => judge(status, self.client.said(status, &head, &[])),
            Answer::NotSent(why) => Outcome::Later(why),
            Answer::Unanswered(why) => Outcome::Unknown(why),
        }
    }

    /// It cannot be asked and need not be: what comes twice says so itself.
    pub async fn find(&self, _: &Parcel) -> Found {
        Found::Absent
    }
}

impl<'a> Body<'a> {
    fn of(parcel: &'a Parcel) -> Body<'a> {
        Body {
            delivery: &parcel.name,
            incident: &parcel.incident,
            message: parcel.message.as_deref(),
            customer: &parcel.customer,
            severity: parcel.severity,
            kit: &parcel.kit,
            is_end: parcel.is_end,
            person: &parcel.person,
            subject: &parcel.subject,
            text: &parcel.text,
            link: parcel.link.as_deref(),
            queued: parcel.queued,
        }
    }
}

fn judge(status: StatusCode, said: String) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Handed { receipt: String::new() },
        300..=399 => Outcome::Never(format!("{said}: it points elsewhere, and no redirect is followed")),
        408 | 425 | 429 | 500..=599 => Outcome::Later(said),
        _ => Outcome::Never(said),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::sms::tests::parcel;
    use crate::outbound::scripted::{Scripted, Turn};
    use crate::outbound::{hex, hmac_sha256};

    async fn sent(turn: Turn) -> (Outcome, Vec<String>) {
        let server = Scripted::start(vec![turn]).await;
        let mut endpoint = server.endpoint("/hooks/secret-path");
        endpoint.request_timeout = Duration::from_millis(500);
        let settings = WebhookSettings { endpoint, age_max: Duration::ZERO, secret: Some(Secret("s3cret".into())) };
        let webhook = Webhook::new("noc", &settings).unwrap();
        (webhook.send(&parcel("Calls to +8811 are blocked")).await, server.requests())
    }

    #[tokio::test]
    async fn a_notice_arrives_whole_and_its_signature_holds() {
        let (outcome, requests) = sent(Turn::answer("200 OK", "", "thanks")).await;
        assert_eq!(outcome, Outcome::Handed { receipt: String::new() });
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned();
        assert_eq!(header("x-ringfence-delivery"), "DLV-000001");
        let expected = hmac_sha256(b"s3cret", &[header("x-ringfence-timestamp").as_bytes(), b".", body.as_bytes()]);
        assert_eq!(header("x-ringfence-signature"), format!("sha256={}", hex(&expected)));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["delivery"], &body["incident"]), (&"DLV-000001".into(), &"INC-000001".into()));
        assert_eq!((&body["severity"], &body["text"]), (&1.into(), &"Calls to +8811 are blocked".into()));
    }

    #[tokio::test]
    async fn each_answer_means_one_thing() {
        for (status, redirect) in
            [("302 Found", "Location: http://169.254.169.254/\r\n"), ("400 Bad", ""), ("410 Gone", "")]
        {
            let (outcome, requests) = sent(Turn::answer(status, redirect, "Cannot POST /hooks/secret-path")).await;
            // Its path is its key.
            assert!(matches!(&outcome, Outcome::Never(why) if !why.contains("secret-path")), "{status}: {outcome:?}");
            assert_eq!(requests.len(), 1);
        }
        for status in ["408 Slow", "425 Early", "429 Busy", "500 Oops", "503 Busy"] {
            let (outcome, _) = sent(Turn::answer(status, "", "")).await;
            assert!(matches!(outcome, Outcome::Later(_)), "{status}: {outcome:?}");
        }
        for turn in [Turn::Silence, Turn::Last(b"HTTP/1.1 2".to_vec())] {
            let (outcome, _) = sent(turn).await;
            assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        }
        let (outcome, _) = sent(Turn::answer("200 OK", "", &"x".repeat(5 << 20))).await;
        assert!(matches!(outcome, Outcome::Handed { .. }), "{outcome:?}");
    }
}
