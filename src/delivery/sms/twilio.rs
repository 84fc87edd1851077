//! Twilio's Messages: a form by POST, and a list that can be asked what was taken.
//!
//! An answer of 5xx may come after the message was taken, so it counts as unknown and the list decides. Nothing is put into
//! the text to tell messages apart: number, text and time do.

use std::collections::BTreeSet;

use hyper::header::AUTHORIZATION;
use hyper::{StatusCode, Uri};
use serde::Deserialize;

use super::{Found, Letter, Outcome, judge};
use crate::clock::{Clock, Timestamp, civil_from_days};
use crate::delivery::Parcel;
use crate::limits::{SMS_LIST_PAGES_MAX, SMS_LIST_ROWS};
use crate::outbound::{Answer, Client, Request, Secret, basic, form, http_date};

#[derive(Clone, Debug)]
pub struct Settings {
    /// `AC...`
    pub account: String,
    pub auth_token: Secret,
    pub sender: Sender,
}

#[derive(Clone, Debug)]
pub enum Sender {
    /// A number of the account, or a name where names are allowed.
    From(String),
    /// `MG...`: Twilio picks one.
    Service(String),
}

/// What Twilio takes at most.
const TEXT_CHARS_MAX: usize = 1600;
const VALIDITY_S_MAX: i64 = 36_000;

/// Twilio puts it before every text of an account that is not paid for yet.
const TRIAL: &str = "Sent from your Twilio trial account - ";

/// How far a message may lie before the time at which it was queued here, by a clock that was compared with ours, and by
/// one that was not.
const SLACK_MS: i64 = 60_000;
const SLACK_UNCOMPARED_MS: i64 = 65 * 60_000;

/// What Twilio says of an error.
#[derive(Debug, Default, Deserialize)]
struct Trouble {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
struct Message {
    sid: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    date_created: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    messages: Vec<Message>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), String> {
        let is_account = !self.account.is_empty() && self.account.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_account { Ok(()) } else { Err("`account` is letters and digits, such as `AC0123...`".to_owned()) }
    }

    pub(super) async fn send(&self, client: &Client, letter: &Letter<'_>) -> Outcome {
        if letter.text.chars().count() > TEXT_CHARS_MAX {
            return Outcome::Never(format!(
                "the text is longer than the {TEXT_CHARS_MAX} characters that Twilio takes"
            ));
        }
        let body = self.form(letter, Clock.now());
        let request = match self.authorised(client.url(), &self.path(), |url| Request::post(url, FORM, body)) {
            Ok(request) => request,
            Err(why) => return Outcome::Later(why),
        };
        match client.ask(request).await {
            Answer::Answered { status, head, retry_after, .. } => {
                let pause = retry_after.map(|pause| format!("; it asks for {} s", pause.as_secs())).unwrap_or_default();
                match judge_twilio(status, &head, client.said(status, &head, &[&self.auth_token.0])) {
                    Outcome::Later(why) => Outcome::Later(why + &pause),
                    other => other,
                }
            }
            Answer::NotSent(why) => Outcome::Later(why),
            Answer::Unanswered(why) => Outcome::Unknown(why),
        }
    }

    fn form(&self, letter: &Letter<'_>, now: Timestamp) -> String {
        let seconds = letter.parcel.valid_until.0.saturating_sub(now.0) / 1000;
        let validity = seconds.max(1).to_string();
        let mut pairs = vec![("To", letter.parcel.address.as_str()), ("Body", letter.text.as_str())];
        pairs.push(match &self.sender {
            Sender::From(from) => ("From", from),
            Sender::Service(service) => ("MessagingServiceSid", service),
        });
        if matches!(self.sender, Sender::Service(_)) {
            // A service may be set to replace letters; the list is asked for the text as it is.
            pairs.push(("SmartEncoded", "false"));
        }
        // Longer than it takes, its own is the nearest.
        if seconds <= VALIDITY_S_MAX {
            pairs.push(("ValidityPeriod", &validity));
        }
        pairs.extend(letter.callback.as_deref().map(|callback| ("StatusCallback", callback)));
        form(&pairs)
    }

    /// Asks the list for messages to this number, with this text, from about this time.
    ///
    /// Twice: by the day of queuing, the next and today, which Twilio looks up however many there are, and without one, since what was taken and waits has
    /// not been sent on any day.
    pub(super) async fn find(&self, client: &Client, parcel: &Parcel, text: &str) -> Found {
        let to = parcel.address.as_str();
        let rows = SMS_LIST_ROWS.to_string();
        let day_of = |at: Timestamp| at.0.div_euclid(86_400_000);
        let (first, now) = (day_of(parcel.queued.minus_ms(SLACK_UNCOMPARED_MS)), Clock.now());
        let last = day_of(now.plus_ms(SLACK_UNCOMPARED_MS));
        let days: BTreeSet<i64> = [first, first + 1, day_of(now), last].into();
        let by_day = days.into_iter().filter(|number| *number <= last);
        let by_day = by_day.map(|number| (form(&[("To", to), ("DateSent", &day(number)), ("PageSize", &rows)]), true));
        let mut queries: Vec<(String, bool)> = by_day.collect();
        queries.push((form(&[("To", to), ("PageSize", &rows)]), false));
        for (query, must_end) in queries {
            let path = format!("{}?{query}", self.path());
            match self.find_from(client, path, must_end, parcel, text).await {
                Ok(Some(receipt)) => return Found::Handed { receipt },
                Ok(None) => {}
                Err(why) => return Found::Unclear(why),
            }
        }
        Found::Absent
    }

    /// `must_end`: to stop before the last page is to know nothing.
    async fn find_from(
        &self,
        client: &Client,
        mut path: String,
        must_end: bool,
        parcel: &Parcel,
        text: &str,
    ) -> Result<Option<String>, String> {
        for _ in 0..SMS_LIST_PAGES_MAX {
            let request = self.authorised(client.url(), &path, Request::get)?;
            let (status, head, date) = match client.ask(request).await {
                Answer::Answered { status, head, date, .. } => (status, head, date),
                Answer::NotSent(why) | Answer::Unanswered(why) => return Err(why),
            };
            if status != StatusCode::OK {
                return Err(client.said(status, &head, &[&self.auth_token.0]));
            }
            let page: Page =
                serde_json::from_slice(&head).map_err(|_| "Twilio's list of messages cannot be read".to_owned())?;
            let since = since(parcel.queued, date, Clock.now());
            if let Some(message) = page.messages.iter().find(|message| is_it(message, &parcel.address, text, since)) {
                return Ok(Some(message.sid.chars().take(64).collect()));
            }
            match page.next_page_uri {
                None => return Ok(None),
                Some(next) if next.starts_with(&self.path()) => path = next,
                Some(_) => return Err("Twilio's list goes on somewhere else".to_owned()),
            }
        }
        if must_end { Err(format!("Twilio's list is longer than {SMS_LIST_PAGES_MAX} pages")) } else { Ok(None) }
    }

    fn path(&self) -> String {
        format!("/2010-04-01/Accounts/{}/Messages.json", self.account)
    }

    fn authorised(&self, base: &Uri, path: &str, request: impl FnOnce(Uri) -> Request) -> Result<Request, String> {
        let url = format!("{}{path}", base.to_string().trim_end_matches('/'));
        let url = url.parse().map_err(|_| "the list goes on at an address that is none".to_owned())?;
        Ok(request(url).with(AUTHORIZATION, basic(&self.account, &self.auth_token)?))
    }
}

fn judge_twilio(status: StatusCode, head: &[u8], said: String) -> Outcome {
    if status.is_success() {
        return match serde_json::from_slice::<Message>(head) {
            Ok(message) => Outcome::Handed { receipt: message.sid.chars().take(64).collect() },
            // The status alone says that there is one now.
            Err(_) if status == StatusCode::CREATED => Outcome::Handed { receipt: String::new() },
            Err(_) => Outcome::Unknown(format!("{said}: Twilio does not say yes like this")),
        };
    }
    let trouble: Trouble = serde_json::from_slice(head).unwrap_or_default();
    match (trouble.code, meaning(trouble.code)) {
        (code, Meaning::Never(why)) if status.is_client_error() => Outcome::Never(format!("Twilio {code}: {why}")),
        (code, Meaning::Later(why)) if status.is_client_error() => Outcome::Later(format!("Twilio {code}: {why}")),
        // It may have been taken; the list tells.
        _ if status.is_server_error() => Outcome::Unknown(said),
        (1.., _) if status == StatusCode::BAD_REQUEST => {
            let line: String = trouble.message.chars().filter(|c| !c.is_control()).take(200).collect();
            Outcome::Never(format!("Twilio {}: {line}", trouble.code))
        }
        _ => judge(status, said),
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The earliest time, by their clock, at which it can have been made. Their clock says in each answer how far it is off.
fn since(queued: Timestamp, their_now: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match their_now {
        Some(theirs) => queued.plus_ms(theirs.0.saturating_sub(now.0)).minus_ms(SLACK_MS),
        None => queued.minus_ms(SLACK_UNCOMPARED_MS),
    }
}

fn is_it(message: &Message, to: &str, text: &str, since: Timestamp) -> bool {
    let body = message.body.strip_prefix(TRIAL).unwrap_or(&message.body);
    let made = message.date_created.as_deref().and_then(http_date);
    message.to == to && body == text && made.is_none_or(|made| made >= since)
}

/// `2026-03-02`
fn day(number: i64) -> String {
    let (year, month, day) = civil_from_days(number);
    format!("{year:04}-{month:02}-{day:02}")
}

enum Meaning {
    Never(&'static str),
    Later(&'static str),
    Unlisted,
}

/// Of an error of Twilio, at once or in a receipt.
pub(super) fn told(code: u32) -> Option<&'static str> {
    match meaning(code) {
        Meaning::Never(why) | Meaning::Later(why) => Some(why),
        Meaning::Unlisted => None,
    }
}

fn meaning(code: u32) -> Meaning {
    use Meaning::{Later, Never, Unlisted};
    match code {
        21211 => Never("this is no phone number"),
        21214 => Never("this number cannot be reached"),
        21217 => Never("this number does not look right"),
        21408 => Never("the account may not send to this country"),
        21602 | 21619 => Never("there is no text"),
        21605 | 21617 => Never("the text is too long"),
        21610 => Never("the receiver has opted out"),
        21612 => Never("this number cannot be reached from this sender"),
        21614 => Never("this is no mobile number"),
        30004 => Never("the receiver has blocked it"),
        30005 => Never("there is no such phone any more, or it is off"),
        30006 => Never("a landline, or an operator that takes no text messages"),
        30007 => Never("the operator took it for spam"),
        20003 => Later("it does not accept our name and password"),
        20005 | 30002 => Later("the account is suspended"),
        20429 | 14107 => Later("too many requests"),
        21606 | 21603 => Later("the sender is none of this account"),
        21611 | 30001 => Later("too many messages wait for this sender"),
        30003 => Later("the phone cannot be reached"),
        30008 => Later("the operator does not say why"),
        _ => Unlisted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Outcome {
        judge_twilio(StatusCode::from_u16(status).unwrap(), body.as_bytes(), format!("HTTP {status}"))
    }

    #[test]
    fn only_a_message_with_a_number_of_its_own_was_taken() {
        assert_eq!(judged(201, r#"{"sid":"SM1","status":"queued"}"#), Outcome::Handed { receipt: "SM1".into() });
        assert_eq!(judged(201, r#"{"sid":"SM1","stat"#), Outcome::Handed { receipt: String::new() });
        assert!(matches!(judged(200, "<html>"), Outcome::Unknown(_)));
    }

    #[test]
    fn a_landline_and_an_opted_out_receiver_are_not_tried_again() {
        for code in [21211, 21214, 21408, 21610, 21612, 21614, 30004, 30005, 30006, 30007, 99999] {
            let outcome = judged(400, &format!(r#"{{"code":{code},"message":"no","status":400}}"#));
            assert!(matches!(outcome, Outcome::Never(_)), "{code}: {outcome:?}");
        }
        for (status, code) in [(429, 20429), (401, 20003), (403, 20005), (400, 21611), (400, 21606), (429, 0)] {
            let outcome = judged(status, &format!(r#"{{"code":{code},"message":"no"}}"#));
            assert!(matches!(outcome, Outcome::Later(_)), "{code}: {outcome:?}");
        }
        for status in [500, 502, 503, 504] {
            assert!(matches!(judged(status, r#"{"code":20500}"#), Outcome::Unknown(_)), "{status}");
        }
        assert!(matches!(judged(404, "nginx"), Outcome::Later(_)));
        assert!(matches!(judged(307, ""), Outcome::Later(_)));
    }

    #[test]
    fn a_clock_that_is_an_hour_off_finds_the_message_and_not_the_one_before() {
        let now = Timestamp(1_772_445_600_000);
        let hour = 3_600_000;
        for off in [-hour, 0, hour] {
            let since = since(now.minus_ms(30_000), Some(now.plus_ms(off)), now);
            let message = |before_ms: i64| Message {
                sid: "SM1".into(),
                body: "x".into(),
                to: "+46700000001".into(),
                date_created: Some(as_twilio(now.plus_ms(off).minus_ms(before_ms))),
            };
            assert!(is_it(&message(25_000), "+46700000001", "x", since));
            assert!(!is_it(&message(5 * 60_000), "+46700000001", "x", since), "that was the page before");
            assert!(!is_it(&message(25_000), "+46700000002", "x", since));
            assert!(!is_it(&message(25_000), "+46700000001", "y", since));
        }
    }

    fn as_twilio(at: Timestamp) -> String {
        let at = jiff::Timestamp::from_millisecond(at.0).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        jiff::fmt::rfc2822::to_string(&at).unwrap()
    }

    #[test]
    fn days_are_written_as_twilio_asks_for_them() {
        assert_eq!(day(Timestamp(1_772_445_600_000).0.div_euclid(86_400_000)), "2026-03-02");
    }
}
