//! Every provider against servers that do their worst: what became of one try.

use std::time::Duration;

use hyper::Method;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::outbound::Secret;
use crate::outbound::scripted::{Scripted, Turn, endpoint};

pub(crate) fn parcel(text: &str) -> Parcel {
    let now = Clock.now();
    Parcel {
        name: "DLV-000001".into(),
        customer: "acme".into(),
        incident: "INC-000001".into(),
        message: Some("MSG-000001".into()),
        kit: "holding".into(),
        severity: 1,
        is_end: false,
        person: "Ada".into(),
        address: "+46700000001".into(),
        subject: String::new(),
        text: text.into(),
        link: None,
        queued: now,
        valid_until: now.plus_ms(3_600_000),
    }
}

pub(crate) fn kannel(url: &str) -> Settings {
    let kind = Kind::Kannel(KannelSettings {
        user: "ringfence".into(),
        password: Secret("s3cret".into()),
        from: Some("Ringfence".into()),
        extras: vec![("smsc".into(), "fake".into())],
    });
    Settings { name: "kannel".into(), endpoint: hasty(url), kind, per_minute: None }
}

pub(crate) fn twilio(url: &str) -> Settings {
    let sender = TwilioSender::From("+15005550006".into());
    let kind = Kind::Twilio(TwilioSettings { account: "AC1".into(), auth_token: Secret("s3cret".into()), sender });
    Settings { name: "twilio".into(), endpoint: hasty(url), kind, per_minute: None }
}

pub(crate) fn generic(url: &str) -> Settings {
    let kind = Kind::Generic(Box::new(GenericSettings {
        method: Method::POST,
        url: format!("{url}send"),
        body: Some("{\"to\": {{ to|json }}, \"text\": {{ text|json }}}".into()),
        content_type: Some("application/json".into()),
        headers: Vec::new(),
        user: Some("ringfence".into()),
        password: Some(Secret("s3cret".into())),
        from: None,
        success: vec![200, 202],
        later: Vec::new(),
        receipt: Some("/id".into()),
    }));
    Settings { name: "generic".into(), endpoint: hasty(url), kind, per_minute: None }
}

fn hasty(url: &str) -> Endpoint {
    Endpoint { request_timeout: Duration::from_millis(500), ..endpoint(url) }
}

/// One try at each kind of provider.
async fn each(turn: Turn) -> Vec<(Outcome, Vec<String>)> {
    let mut all = Vec::new();
    for settings in [kannel, twilio, generic] {
        let server = Scripted::start(vec![turn.clone()]).await;
        let sms = Sms::new(settings(&format!("{}/", server.url)), None).unwrap();
        all.push((sms.send(&parcel("hello")).await, server.requests()));
    }
    all
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_unknown() {
    for turn in [Turn::Silence, Turn::Last(Vec::new()), Turn::Last(b"HTTP/1.1 202 Acc".to_vec())] {
        for (outcome, requests) in each(turn).await {
            assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
            assert_eq!(requests.len(), 1);
        }
    }
    for status in ["502 Bad Gateway", "504 Gateway Time-out"] {
        for (outcome, _) in each(Turn::answer(status, "", "")).await {
            assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_never_left_comes_later() {
    for settings in [kannel, twilio, generic] {
        for url in ["http://127.0.0.1:1/", "http://169.254.169.254/", "http://no-such-host.invalid/"] {
            let outcome = Sms::new(settings(url), None).unwrap().send(&parcel("hello")).await;
            assert!(matches!(outcome, Outcome::Later(_)), "{url}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_in_trouble_is_not_the_end_of_a_message() {
    let away = "Location: http://169.254.169.254/latest/meta-data/\r\n";
    for (status, headers) in [("302 Found", away), ("401 No", ""), ("403 No", ""), ("404 None", ""), ("429 Slow", "")] {
        for (outcome, requests) in each(Turn::answer(status, headers, "s3cret")).await {
            assert!(matches!(&outcome, Outcome::Later(why) if !why.contains("s3cret")), "{status}: {outcome:?}");
            assert_eq!(requests.len(), 1);
        }
    }
}

#[tokio::test]
async fn five_megabytes_are_an_answer_like_any_other() {
    for (outcome, _) in each(Turn::answer("400 Bad", "", &"x".repeat(5 << 20))).await {
        assert!(matches!(&outcome, Outcome::Never(why) if why.len() < 300), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_no_number_is_never_sent() {
    let server = Scripted::start(vec![Turn::Silence]).await;
    for address in [
        "",
        "+",
        "0701234567",
        "+0701234567",
        "+46 70",
        "+4670000\n",
        "+46;70",
        "ada@example.com",
        "+1234",
        "+1234567890123456",
    ] {
        let sms = Sms::new(kannel(&format!("{}/", server.url)), None).unwrap();
        let outcome = sms.send(&Parcel { address: address.into(), ..parcel("hello") }).await;
        assert!(matches!(outcome, Outcome::Never(_)), "{address}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn kannel_is_asked_for_everything_in_one_query() {
    let server = Scripted::start(vec![Turn::answer("202 Accepted", "", "0: Accepted for delivery")]).await;
    let callback = Callback::new("https://ringfence.example.com", b"key");
    let sms = Sms::new(kannel(&format!("{}/cgi-bin/sendsms", server.url)), Some(callback)).unwrap();
    let mut one = parcel("Åsa: 100 % & more");
    one.link = Some("https://ringfence.example.com/a/1".into());
    assert_eq!(sms.send(&one).await, Outcome::Handed { receipt: String::new() });
    assert!(matches!(sms.send(&parcel("Łódź")).await, Outcome::Handed { .. }));
    let requests = server.requests();
    let line = requests[0].lines().next().unwrap();
    assert!(
        line.starts_with("GET /cgi-bin/sendsms?username=ringfence&password=s3cret&to=%2B46700000001&text="),
        "{line}"
    );
    for part in [
        "&text=%C3%85sa%3A%20100%20%25%20%26%20more%0Ahttps%3A%2F%2Fringfence.example.com%2Fa%2F1&",
        "&charset=UTF-8&coding=0&validity=60&from=Ringfence&dlr-mask=31&dlr-url=https%3A%2F%2Fringfence.example.com%2Freceipts%2Fsms%2Fkannel%2FDLV-000001%2F",
        "%3Ftype%3D%25d%26answer%3D%25A&smsc=fake HTTP/1.1",
    ] {
        assert!(line.contains(part), "{part}\n{line}");
    }
    assert!(requests[1].contains("&coding=2&"), "{}", requests[1]);
}

#[tokio::test]
async fn a_text_that_costs_more_than_anybody_would_pay_is_not_sent() {
    let server = Scripted::start(vec![Turn::answer("202 Accepted", "", "0: Accepted for delivery")]).await;
    let sms = Sms::new(kannel(&format!("{}/", server.url)), None).unwrap();
    assert!(matches!(sms.send(&parcel(&"x".repeat(1530))).await, Outcome::Handed { .. }));
    for text in ["x".repeat(1531), "Ł".repeat(671), " ".to_owned()] {
        assert!(matches!(sms.send(&parcel(&text)).await, Outcome::Never(_)));
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn twilio_is_posted_a_form_and_names_the_message() {
    let limited = Turn::answer("429 Too Many", "Retry-After: 7\r\n", r#"{"code":20429}"#);
    let taken = Turn::answer("201 Created", "", r#"{"sid":"SM1","status":"queued"}"#);
    let server = Scripted::start(vec![limited, taken]).await;
    let callback = Callback::new("https://ringfence.example.com", b"key");
    let sms = Sms::new(twilio(&server.url), Some(callback)).unwrap();
    assert!(matches!(sms.send(&parcel("a&b")).await, Outcome::Later(why) if why.contains("7 s")));
    assert_eq!(sms.send(&parcel("a&b")).await, Outcome::Handed { receipt: "SM1".into() });
    let request = server.requests().remove(1);
    assert!(request.starts_with("POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Basic QUMxOnMzY3JldA==\r\n"), "{request}");
    assert!(request.contains("\r\n\r\nTo=%2B46700000001&Body=a%26b&From=%2B15005550006&ValidityPeriod=3"), "{request}");
    assert!(
        request
            .contains("&StatusCallback=https%3A%2F%2Fringfence.example.com%2Freceipts%2Fsms%2Ftwilio%2FDLV-000001%2F")
    );
}

fn list(rows: &str, next: &str) -> Turn {
    Turn::answer("200 OK", "", &format!(r#"{{"messages":[{rows}],"next_page_uri":{next}}}"#))
}

#[tokio::test]
async fn twilio_is_asked_what_it_took() {
    let other = r#"{"sid":"SM0","to":"+46700000001","body":"something else","date_created":null}"#;
    let ours = r#"{"sid":"SM1","to":"+46700000001","body":"hello","status":"queued","date_created":null}"#;
    let found = |turns: Vec<Turn>| async {
        let server = Scripted::start(turns).await;
        let sms = Sms::new(twilio(&server.url), None).unwrap();
        (sms.find(&parcel("hello")).await, server.requests())
    };
    let next = r#""/2010-04-01/Accounts/AC1/Messages.json?To=%2B46700000001&Page=1&PageToken=x""#;
    let (two_pages, requests) = found(vec![list(other, next), list(ours, "null")]).await;
    assert_eq!(two_pages, Found::Handed { receipt: "SM1".into() });
    assert!(
        requests[0].contains("?To=%2B46700000001&DateSent=20") && requests[1].contains("&PageToken=x"),
        "{requests:?}"
    );
    // Taken, and waiting to be sent: it has no day yet.
    let (waiting, _) = found(vec![list(other, "null"), list(ours, "null")]).await;
    assert_eq!(waiting, Found::Handed { receipt: "SM1".into() });
    let (absent, requests) = found(vec![list(other, "null")]).await;
    assert_eq!(absent, Found::Absent);
    // By day, and once without one.
    let (undated, by_day) = requests.split_last().unwrap();
    assert!(
        !undated.contains("DateSent=") && by_day.iter().all(|request| request.contains("DateSent=")),
        "{requests:?}"
    );
    for turns in [
        vec![Turn::answer("503 Busy", "", "")],
        vec![Turn::Silence],
        vec![Turn::answer("200 OK", "", "<html>")],
        vec![Turn::answer("200 OK", "", &"x".repeat(5 << 20))],
        vec![list(other, r#""//169.254.169.254/""#)],
        vec![list(other, r#""/elsewhere""#)],
        vec![list(other, next)],
    ] {
        let (unclear, requests) = found(turns).await;
        assert!(matches!(unclear, Found::Unclear(_)), "{unclear:?}");
        assert!(requests.len() <= crate::limits::SMS_LIST_PAGES_MAX);
    }
}

#[tokio::test]
async fn nobody_knows_of_kannel_what_only_its_receipts_tell() {
    let sms = Sms::new(kannel("http://127.0.0.1:1/"), None).unwrap();
    assert!(matches!(sms.find(&parcel("hello")).await, Found::Unclear(_)));
}

#[test]
fn passwords_are_in_no_output() {
    for settings in [kannel, twilio, generic] {
        let sms = Sms::new(settings("http://127.0.0.1:1/"), None).unwrap();
        assert!(!format!("{sms:?}").contains("s3cret"));
    }
}

#[test]
fn a_time_that_is_long_past_is_still_a_minute() {
    let mut old = parcel("hello");
    old.valid_until = Timestamp(0);
    assert_eq!(text(&old), "hello");
}
