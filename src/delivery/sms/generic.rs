//! Any other provider: its request is written down as templates in the settings.
//!
//! Templates are strict: what is misspelt is told at the start, by a trial with made-up values. They fill in the path, the
//! query, headers and the body, never the server.

use std::collections::BTreeMap;
use std::io;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};

use super::{Letter, Outcome, judge};
use crate::clock::{Clock, Timestamp};
use crate::delivery::Parcel;
use crate::limits::{SMS_TEMPLATE_BYTES_MAX, SMS_TEMPLATE_FUEL};
use crate::outbound::{Answer, Client, Endpoint, Request, Secret, basic, escaped};

#[derive(Clone, Debug)]
pub struct Settings {
    pub method: Method,
    /// With the server; a template behind it.
    pub url: String,
    pub body: Option<String>,
    pub content_type: Option<String>,
    /// Names, and templates of their values.
    pub headers: Vec<(String, String)>,
    /// With a password, both are sent as HTTP basic.
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub from: Option<String>,
    /// Answers that say it was taken, besides which nothing does.
    pub success: Vec<u16>,
    /// Answers that say it certainly was not taken and may be another time.
    pub later: Vec<u16>,
    /// Where in the JSON of the answer its own number for the message stands: `/data/id`.
    pub receipt: Option<String>,
}

impl Settings {
    /// Everything is made once, with values that nobody has.
    pub(super) fn check(&self, endpoint: &Endpoint) -> Result<(), String> {
        let parcel = Parcel {
            name: "DLV-000001".into(),
            customer: "acme".into(),
            incident: "INC-000001".into(),
            message: None,
            kit: "holding".into(),
            severity: 1,
            is_end: false,
            person: "Ada".into(),
            address: "+46700000001".into(),
            subject: "trial".into(),
            text: "trial".into(),
            link: None,
            queued: Timestamp(0),
            valid_until: Timestamp(0),
        };
        let callback = Some("https://ringfence.example.com/receipts".to_owned());
        let letter = Letter { parcel: &parcel, text: "trial".into(), is_unicode: false, callback };
        let request = self.request(&letter)?;
        if request.url.authority() != endpoint.url.authority() {
            return Err("`url` must name its server without a template".to_owned());
        }
        if self.receipt.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
            return Err("`receipt` is a JSON pointer, such as `/id` or `/messages/0/id`".to_owned());
        }
        Ok(())
    }

    pub(super) async fn send(&self, client: &Client, letter: &Letter<'_>) -> Outcome {
        let request = match self.request(letter) {
            Ok(request) => request,
            Err(why) => return Outcome::Never(why),
        };
        match client.ask(request).await {
            Answer::Answered { status, head, .. } => {
                let password = self.password.as_ref().map_or("", |secret| &secret.0);
                self.judge(status, &head, client.said(status, &head, &[password]))
            }
            Answer::NotSent(why) => Outcome::Later(why),
            Answer::Unanswered(why) => Outcome::Unknown(why),
        }
    }

    fn judge(&self, status: StatusCode, head: &[u8], said: String) -> Outcome {
        if self.success.contains(&status.as_u16()) {
            return Outcome::Handed { receipt: self.receipt_in(head).unwrap_or_default() };
        }
        if self.later.contains(&status.as_u16()) {
            return Outcome::Later(said);
        }
        match status.is_success() {
            true => Outcome::Unknown(format!("{said}: not among the statuses of `success`")),
            false => judge(status, said),
        }
    }

    fn receipt_in(&self, head: &[u8]) -> Option<String> {
        let answer: serde_json::Value = serde_json::from_slice(head).ok()?;
        let found = answer.pointer(self.receipt.as_ref()?)?;
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        let is_number = found.is_string() || found.is_number();
        is_number.then(|| text.chars().filter(|c| !c.is_control()).take(120).collect())
    }

    fn request(&self, letter: &Letter<'_>) -> Result<Request, String> {
        let values = self.values(letter);
        let secret = self.password.as_ref();
        let fill = |what: &str, template: &str| fill(template, &values).map_err(|e| format!("`{what}`: {e}"));
        let url: Uri =
            fill("url", &self.url)?.parse().map_err(|_| "`url` makes no address that can be asked".to_owned())?;
        let mut headers = HeaderMap::new();
        if let Some(content_type) = &self.content_type {
            headers
                .insert(CONTENT_TYPE, HeaderValue::try_from(content_type).map_err(|e| format!("`content_type`: {e}"))?);
        }
        if let (Some(user), Some(password)) = (&self.user, secret) {
            headers.insert(AUTHORIZATION, basic(user, password)?);
        }
        for (name, template) in &self.headers {
            let key = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no name of a header"))?;
            let mut value = HeaderValue::try_from(fill(name, template)?)
                .map_err(|_| format!("header `{name}` gets a character that no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let body = self.body.as_ref().map(|body| fill("body", body)).transpose()?.unwrap_or_default();
        Ok(Request { method: self.method.clone(), url, headers, body: body.into() })
    }

    fn values(&self, letter: &Letter<'_>) -> BTreeMap<&'static str, Value> {
        let parcel = letter.parcel;
        let seconds = (parcel.valid_until.0.saturating_sub(Clock.now().0) / 1000).max(1);
        let text = |text: &str| Value::from(text.to_owned());
        let or_empty = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
        BTreeMap::from([
            ("to", text(&parcel.address)),
            ("to_digits", text(parcel.address.trim_start_matches('+'))),
            ("from", or_empty(&self.from)),
            ("text", text(&letter.text)),
            ("is_unicode", Value::from(letter.is_unicode)),
            ("delivery", text(&parcel.name)),
            ("incident", text(&parcel.incident)),
            ("customer", text(&parcel.customer)),
            ("severity", Value::from(parcel.severity)),
            ("valid_s", Value::from(seconds)),
            ("callback", or_empty(&letter.callback)),
            ("user", or_empty(&self.user)),
            ("password", text(self.password.as_ref().map_or("", |secret| &secret.0))),
        ])
    }
}

fn fill(template: &str, values: &BTreeMap<&'static str, Value>) -> Result<String, String> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(SMS_TEMPLATE_FUEL));
    environment.set_debug(false);
    environment.add_filter("json", |value: Value| match value.as_str() {
        Some(text) => serde_json::Value::from(text).to_string(),
        None => value.to_string(),
    });
    environment.add_filter("urlencode", |value: Value| match value.as_str() {
        Some(text) => escaped(text),
        None => escaped(&value.to_string()),
    });
    let told = |e: minijinja::Error| e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
    let template = environment.template_from_str(template).map_err(told)?;
    let known: Vec<&str> = values.keys().copied().collect();
    if let Some(name) = template.undeclared_variables(false).iter().find(|name| !values.contains_key(name.as_str())) {
        return Err(format!("there is no `{name}`; there are {}", known.join(", ")));
    }
    let mut out = Bounded(Vec::new());
    template.render_captured_to(Value::from(values.clone()), &mut out).map_err(told)?;
    String::from_utf8(out.0).map_err(|e| e.to_string())
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > SMS_TEMPLATE_BYTES_MAX {
            return Err(io::Error::other("full"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::scripted::endpoint;

    fn settings() -> Settings {
        Settings {
            method: Method::POST,
            url: "https://sms.example.com/v1/{{ user|urlencode }}/send?to={{ to|urlencode }}".into(),
            body: Some(
                r#"{"msisdn": {{ to_digits|json }}, "text": {{ text|json }}, "ref": {{ delivery|json }}}"#.into(),
            ),
            content_type: Some("application/json".into()),
            headers: vec![("X-Key".into(), "{{ password }}".into())],
            user: Some("a/b".into()),
            password: Some(Secret("s3cret".into())),
            from: Some("Ringfence".into()),
            success: vec![200, 201, 202],
            later: vec![502],
            receipt: Some("/data/0/id".into()),
        }
    }

    fn checked(settings: &Settings) -> Result<(), String> {
        settings.check(&endpoint("https://sms.example.com/"))
    }

    #[test]
    fn values_cannot_break_out_of_their_places() {
        let settings = settings();
        let parcel = crate::delivery::sms::tests::parcel("\"}, {\"text\": \"två\\\n");
        let letter = Letter { parcel: &parcel, text: parcel.text.clone(), is_unicode: false, callback: None };
        let request = settings.request(&letter).unwrap();
        assert_eq!(request.url.to_string(), "https://sms.example.com/v1/a%2Fb/send?to=%2B46700000001");
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["text"], parcel.text);
        assert_eq!(body["msisdn"], "46700000001");
        assert_eq!(request.headers["x-key"], "s3cret");
    }

    #[test]
    fn what_cannot_be_made_is_told_at_the_start() {
        assert_eq!(checked(&settings()), Ok(()));
        let broken = |change: fn(&mut Settings), told: &str| {
            let mut settings = settings();
            change(&mut settings);
            let why = checked(&settings).unwrap_err();
            assert!(why.contains(told), "{why}");
        };
        broken(|s| s.body = Some("{{ txt }}".into()), "there is no `txt`");
        broken(|s| s.body = Some("{{ text".into()), "`body`");
        broken(
            |s| s.body = Some("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".into()),
            "`body`",
        );
        broken(|s| s.url = "https://evil.example/{{ to }}".into(), "its server");
        broken(|s| s.url = "https://{{ to }}/".into(), "its server");
        broken(|s| s.url = "https://sms.example.com/a b".into(), "makes no address");
        broken(|s| s.headers = vec![("X Y".into(), "1".into())], "no name of a header");
        broken(|s| s.headers = vec![("X-Y".into(), "a\nb".into())], "no header can carry");
        broken(|s| s.receipt = Some("id".into()), "JSON pointer");
    }

    #[test]
    fn only_the_statuses_that_were_named_say_yes() {
        let judged = |status: u16, body: &str| {
            settings().judge(StatusCode::from_u16(status).unwrap(), body.as_bytes(), format!("HTTP {status}"))
        };
        assert_eq!(judged(200, r#"{"data":[{"id":17}]}"#), Outcome::Handed { receipt: "17".into() });
        assert_eq!(judged(202, r#"{"data":[{"id":"x-1"}]}"#), Outcome::Handed { receipt: "x-1".into() });
        assert_eq!(judged(202, r#"{"data":[{"id":{"a":1}}]}"#), Outcome::Handed { receipt: String::new() });
        assert_eq!(judged(201, "thanks"), Outcome::Handed { receipt: String::new() });
        assert!(matches!(judged(204, ""), Outcome::Unknown(_)));
        assert!(matches!(judged(502, ""), Outcome::Later(_)));
        assert!(matches!(judged(500, ""), Outcome::Unknown(_)));
        assert!(matches!(judged(400, ""), Outcome::Never(_)));
    }
}
